/*
 * bulk.c - reading many keys in few round trips: mget, scan, key_count.
 *
 * Rows go to a tuplestore, which spills past work_mem; of the answers, that to one
 * request for many keys, or one page of a scan, is in memory at a time.
 */
#include "pg_norikv.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

/* What the answer to a later one should come to. */
#define ANSWER_BYTES (16 * 1024 * 1024)

PG_FUNCTION_INFO_V1(norikv_sql_mget);
PG_FUNCTION_INFO_V1(norikv_sql_mget_bytes);
PG_FUNCTION_INFO_V1(norikv_sql_scan);
PG_FUNCTION_INFO_V1(norikv_sql_scan_bytes);
PG_FUNCTION_INFO_V1(norikv_sql_key_count);

/* ---- Reading many ---- */

/* Rows on their way to the tuplestore. */
typedef struct RowSink
{
	NorikvConnection *connection;
	ReturnSetInfo *result;
	MemoryContext row_context; /* reset after each row */
	bool values_as_text;
	bool keys_as_text;
} RowSink;

static void
init_sink(RowSink *sink, FunctionCallInfo fcinfo, bool values_as_text)
{
	/*
	 * The row type that is expected is the function's. Looking it up anew would leave
	 * some kilobytes in the query's memory at each call of a LATERAL.
	 */
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	sink->result = (ReturnSetInfo *) fcinfo->resultinfo;
	sink->row_context = AllocSetContextCreate(CurrentMemoryContext, "norikv row",
											  ALLOCSET_DEFAULT_SIZES);
	sink->values_as_text = values_as_text;
	sink->connection = NorikvGetConnection();
}

static Datum
make_value(const RowSink *sink, const norikv_entry *entry)
{
	return sink->values_as_text ? NorikvTextFromValue(entry, sink->connection)
								: NorikvByteaFromSlice(entry->value);
}

/* ordinality, key (as it was given), value, version; entry NULL: a NULL key. */
static void
put_asked_row(RowSink *sink, const NorikvElements *elements, int i, const norikv_entry *entry)
{
	MemoryContext old_context = MemoryContextSwitchTo(sink->row_context);
	Datum values[4];
	bool nulls[4] = {false, elements->nulls[i], true, true};

	values[0] = Int64GetDatum(i + 1);
	values[1] = elements->values[i];
	if (entry != NULL && entry->version.index != 0)
	{
		nulls[2] = nulls[3] = false;
		values[2] = make_value(sink, entry);
		values[3] = NorikvVersionGetDatum(entry->version);
	}
	tuplestore_putvalues(sink->result->setResult, sink->result->setDesc, values, nulls);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(sink->row_context);
}

/*
 * One request for the elements from first up to (not including) end; the bytes of the
 * values that came.
 */
static size_t
read_chunk(RowSink *sink, const NorikvElements *elements, int first, int end,
		   norikv_slice *keys, const char *consistency)
{
	int n_keys = 0;
	NorikvCall *call = NULL;
	const norikv_entry *entries = NULL;
	size_t next = 0;
	size_t bytes = 0;

	for (int i = first; i < end; i++)
	{
		if (!elements->nulls[i])
			keys[n_keys++] = NorikvElementKey(elements, i);
	}
	if (n_keys > 0)
	{
		call = NorikvStartMultiGet(sink->connection, keys, n_keys, consistency);
		entries = NorikvFinishMultiGet(call, n_keys);
	}
	for (int i = first; i < end; i++)
	{
		norikv_entry entry;

		if (elements->nulls[i])
		{
			put_asked_row(sink, elements, i, NULL);
			continue;
		}
		entry = entries[next];
		entry.key = keys[next++];
		bytes += entry.value.size;
		put_asked_row(sink, elements, i, &entry);
	}
	if (call != NULL)
		NorikvFree(call);
	return bytes;
}

/* As many as may come to ANSWER_BYTES, for an answer is in memory as a whole. */
int
NorikvNextKeys(int n, size_t bytes, int fetch_size)
{
	double average = (double) bytes / n;

	if (average * fetch_size <= ANSWER_BYTES)
		return fetch_size;
	return Max((int) (ANSWER_BYTES / average), 1);
}

static Datum
read_many(FunctionCallInfo fcinfo, bool values_as_text)
{
	RowSink sink;
	NorikvElements elements;
	norikv_slice *keys;
	const char *consistency = NorikvConsistencyArgument(fcinfo, 1);
	int fetch_size;
	int step;

	init_sink(&sink, fcinfo, values_as_text);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	NorikvKeysArgument(fcinfo, &elements);
	fetch_size = sink.connection->settings.fetch_size;
	keys = palloc(sizeof(norikv_slice) * Max(Min(fetch_size, elements.count), 1));
	step = Min(fetch_size, NORIKV_FIRST_KEYS);
	for (int first = 0; first < elements.count;)
	{
		int end = first + Min(step, elements.count - first);
		size_t bytes;

		CHECK_FOR_INTERRUPTS();
		bytes = read_chunk(&sink, &elements, first, end, keys, consistency);
		step = NorikvNextKeys(end - first, bytes, fetch_size);
		first = end;
	}
	return (Datum) 0;
}

Datum
norikv_sql_mget(PG_FUNCTION_ARGS)
{
	return read_many(fcinfo, true);
}

Datum
norikv_sql_mget_bytes(PG_FUNCTION_ARGS)
{
	return read_many(fcinfo, false);
}

/* ---- Scans ---- */

static norikv_slice
bound_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	norikv_slice bound = {NULL, 0};

	if (PG_NARGS() <= argument || PG_ARGISNULL(argument))
		return bound;
	bound = NorikvBytesFromDatum(PG_GETARG_DATUM(argument),
								 NorikvArgumentIsText(fcinfo, argument));
	if (bound.size > NORIKV_MAX_KEY)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be at most %d bytes, but it is %zu", name,
					   NORIKV_MAX_KEY, bound.size));
	return bound;
}

/* Where the prefix and the bounds meet; false: nowhere. */
static bool
range_arguments(FunctionCallInfo fcinfo, norikv_scan_request *request)
{
	norikv_slice prefix = bound_argument(fcinfo, 0, "prefix");
	norikv_slice start = bound_argument(fcinfo, 1, "start_key");
	norikv_slice end = bound_argument(fcinfo, 2, "end_key");
	char *prefix_end = palloc(Max(prefix.size, 1));
	norikv_slice bound = {prefix_end, norikv_prefix_end(prefix, prefix_end)};

	/* An end that is given and empty lies before every key. */
	if (PG_NARGS() > 2 && !PG_ARGISNULL(2) && end.size == 0)
		return false;
	if (start.size == 0 || (prefix.size > 0 && NorikvCompareKeys(prefix, start) > 0))
		start = prefix;
	if (end.size == 0 || (bound.size > 0 && NorikvCompareKeys(bound, end) < 0))
		end = bound;
	request->start = start;
	request->end = end;
	return end.size == 0 || start.size == 0 || NorikvCompareKeys(start, end) < 0;
}

/* prefix, start_key, end_key, max_rows, reverse, keys_only; false: no rows. */
static bool
scan_arguments(FunctionCallInfo fcinfo, norikv_scan_request *request)
{
	if (!PG_ARGISNULL(3))
	{
		int64 max_rows = PG_GETARG_INT64(3);

		if (max_rows < 0)
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"%s\" must not be negative, but it is "
						   INT64_FORMAT, "max_rows", max_rows));
		if (max_rows == 0)
			return false;
		request->max_rows = max_rows;
	}
	request->reverse = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	request->keys_only = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	return range_arguments(fcinfo, request);
}

/* key, value, version, expires_at */
static void
put_scanned_row(RowSink *sink, const norikv_entry *entry, bool keys_only)
{
	MemoryContext old_context = MemoryContextSwitchTo(sink->row_context);
	Datum values[4];
	bool nulls[4] = {false, keys_only, false, false};

	values[0] = sink->keys_as_text ? NorikvTextFromKey(entry->key, sink->connection)
								   : NorikvByteaFromSlice(entry->key);
	values[1] = keys_only ? (Datum) 0 : make_value(sink, entry);
	values[2] = NorikvVersionGetDatum(entry->version);
	values[3] = NorikvTimestampFromMilliseconds(entry->expires_at_ms, &nulls[3]);
	tuplestore_putvalues(sink->result->setResult, sink->result->setDesc, values, nulls);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(sink->row_context);
}

static Datum
scan(FunctionCallInfo fcinfo, bool values_as_text)
{
	norikv_scan_request request = {.max_rows = 0};
	RowSink sink;
	NorikvCall *call;

	init_sink(&sink, fcinfo, values_as_text);
	sink.keys_as_text = NorikvArgumentIsText(fcinfo, 0);
	if (!scan_arguments(fcinfo, &request))
		return (Datum) 0;

	call = NorikvStartScan(sink.connection, &request);
	NorikvFinish(call);
	do
	{
		size_t n_entries;
		const norikv_entry *entries = norikv_call_entries(call->call, &n_entries);

		for (size_t i = 0; i < n_entries; i++)
			put_scanned_row(&sink, &entries[i], request.keys_only);
	} while (NorikvNextPage(call));
	NorikvFree(call);
	return (Datum) 0;
}

Datum
norikv_sql_scan(PG_FUNCTION_ARGS)
{
	return scan(fcinfo, true);
}

Datum
norikv_sql_scan_bytes(PG_FUNCTION_ARGS)
{
	return scan(fcinfo, false);
}

Datum
norikv_sql_key_count(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetConnection();
	norikv_scan_request request = {.count_only = true};
	NorikvCall *call;
	int64 found;

	if (!range_arguments(fcinfo, &request))
		PG_RETURN_INT64(0);
	call = NorikvStartScan(connection, &request);
	NorikvFinish(call);
	while (NorikvNextPage(call))
		continue;
	found = norikv_call_count(call->call);
	NorikvFree(call);
	PG_RETURN_INT64(found);
}
