/*
 * buffer.c - writes that wait for COMMIT.
 *
 * Only foreign tables buffer; as long as nothing here can write to one, the
 * buffer of every transaction is empty.
 */
#include "pg_norikv.h"

#include "access/htup_details.h"
#include "funcapi.h"

/* What this transaction has buffered, over all servers. */
static int64 buffered_operations = 0;
static int64 buffered_bytes = 0;

PG_FUNCTION_INFO_V1(norikv_sql_pending_writes);

void
NorikvBufferSize(int64 *operations, int64 *bytes)
{
	*operations = buffered_operations;
	*bytes = buffered_bytes;
}

Datum
norikv_sql_pending_writes(PG_FUNCTION_ARGS)
{
	TupleDesc descriptor;
	Datum values[2];
	bool nulls[2] = {false, false};
	int64 operations;
	int64 bytes;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	NorikvBufferSize(&operations, &bytes);
	values[0] = Int64GetDatum(operations);
	values[1] = Int64GetDatum(bytes);
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
