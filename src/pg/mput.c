/*
 * mput.c - writing many keys in few round trips: mput, mdelete.
 */
#include "pg_norikv.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/*
 * When a request is full, at the latest: past this size a round trip is nothing
 * beside the transfer.
 */
#define REQUEST_BYTES (8 * 1024 * 1024)
/* Every server takes as much; none needs to be asked. */
#define SMALL_REQUEST_BYTES (2 * 1024 * 1024)
/* What a server may need for an operation, beside its key and its value. */
#define OPERATION_BYTES 512

PG_FUNCTION_INFO_V1(norikv_sql_mput);
PG_FUNCTION_INFO_V1(norikv_sql_mdelete);

/* A batch is not atomic: an error says how far it got. */
static void
batch_context(void *arg)
{
	errcontext("norikv batch, after " INT64_FORMAT " keys were done", *(int64 *) arg);
}

/* What write_many() does, and how far it is. */
typedef struct Batch
{
	const norikv_operation *pattern;
	const norikv_slice *keys;
	const NorikvElements *vals; /* NULL: deletes */
	int *chosen;		  /* the elements to send */
	int n_chosen;
	norikv_operation *operations; /* of one request */
	int batch_size;				  /* how many of them there can be */
	size_t request_bytes;		  /* when a request is full */
} Batch;

/* The operations of the next request, for the elements from first on; their number. */
static int
fill_request(const Batch *batch, int first)
{
	int end = Min(batch->n_chosen, first + batch->batch_size);
	size_t bytes = 0;
	int n = 0;

	for (int i = first; i < end; i++)
	{
		norikv_operation *operation = &batch->operations[n];
		int element = batch->chosen[i];

		*operation = *batch->pattern;
		operation->key = batch->keys[element];
		if (batch->vals != NULL)
			operation->value = NorikvValueFromDatum(batch->vals->values[element],
													batch->vals->type);
		bytes += OPERATION_BYTES + operation->key.size + operation->value.size;
		if (n > 0 && bytes > batch->request_bytes)
			break;
		n++;
	}
	return n;
}

/*
 * Of several requests the first would be written before a value of a later one is
 * found to be too large: look at all of them first.
 */
static void
check_values(const Batch *batch, int first)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv check", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);

	for (int i = first; i < batch->n_chosen; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) NorikvValueFromDatum(batch->vals->values[batch->chosen[i]],
									batch->vals->type);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}

/* Sends the operations, each on its own; for a delete, counts what there was. */
static int64
send_request(NorikvConnection *connection, const norikv_operation *operations,
			 int n_operations, int64 *done)
{
	NorikvCall *call = NorikvStartCommit(connection, operations, n_operations, false);
	const norikv_operation_result *results;
	size_t n_results;
	int failed = -1;
	int64 effective = 0;

	NorikvFinish(call);
	results = norikv_call_results(call->call, &n_results);
	if (n_results != n_operations)
		ereport(ERROR, errcode(ERRCODE_PROTOCOL_VIOLATION),
				errmsg("server \"%s\" answered %zu results for %d operations",
					   connection->name, n_results, n_operations));
	for (int i = 0; i < n_operations; i++)
	{
		if (results[i].code != NORIKV_OK)
		{
			failed = failed < 0 ? i : failed;
			continue;
		}
		++*done;
		if (operations[i].kind == NORIKV_OP_PUT || results[i].existed)
			effective++;
	}
	if (failed >= 0)
	{
		call->subject.key = operations[failed].key;
		NorikvRaiseResult(&results[failed], &call->subject);
	}
	NorikvFree(call);
	return effective;
}

/* Servers limit what the operations of a Commit may hold. */
static size_t
request_bytes(NorikvConnection *connection)
{
	uint64 limit = NorikvGetCapabilities(connection)->commit_bytes;

	return limit == 0 ? REQUEST_BYTES : Min(limit, REQUEST_BYTES);
}

/* One request after the other; for a delete, counts what there was. */
static int64
send_all(NorikvConnection *connection, Batch *batch)
{
	int64 done = 0;
	int64 effective = 0;
	ErrorContextCallback callback = {error_context_stack, batch_context, &done};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "norikv batch",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);

	for (int first = 0; first < batch->n_chosen;)
	{
		int n;

		CHECK_FOR_INTERRUPTS();
		n = fill_request(batch, first);
		if (first == 0 && n < batch->n_chosen)
		{
			if (batch->vals != NULL)
				check_values(batch, n);
			batch->request_bytes = request_bytes(connection);
			n = fill_request(batch, first);
		}
		error_context_stack = &callback;
		effective += send_request(connection, batch->operations, n, &done);
		error_context_stack = callback.previous;
		MemoryContextReset(context);
		first += n;
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
	return effective;
}

/* vals NULL: deletes. */
static int64
write_many(NorikvConnection *connection, const NorikvElements *keys,
		   const NorikvElements *vals, const norikv_operation *pattern)
{
	norikv_slice *slices = palloc(sizeof(norikv_slice) * Max(keys->count, 1));
	Batch batch = {.pattern = pattern,
				   .keys = slices,
				   .vals = vals,
				   .request_bytes = SMALL_REQUEST_BYTES};

	for (int i = 0; i < keys->count; i++)
		slices[i] = NorikvElementKey(keys, i);
	batch.chosen = palloc(sizeof(int) * Max(keys->count, 1));
	batch.n_chosen = NorikvLastOfEqualKeys(slices, keys->count, batch.chosen);
	batch.batch_size = Min(connection->settings.batch_size, Max(batch.n_chosen, 1));
	batch.operations = palloc(sizeof(norikv_operation) * batch.batch_size);
	return send_all(connection, &batch);
}

/* keys, vals, ttl */
Datum
norikv_sql_mput(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.mput()");
	norikv_operation pattern = {.kind = NORIKV_OP_PUT};
	NorikvElements keys;
	NorikvElements vals;

	NorikvRequireArgument(fcinfo, 0, "keys");
	NorikvRequireArgument(fcinfo, 1, "vals");
	NorikvKeysArgument(fcinfo, &keys);
	NorikvValuesArgument(fcinfo, &vals);
	if (keys.count != vals.count)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("arguments \"keys\" and \"vals\" must have the same number of "
					   "elements, but they have %d and %d",
					   keys.count, vals.count));
	for (int i = 0; i < vals.count; i++)
	{
		if (vals.nulls[i])
			ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					errmsg("argument \"%s\" must not contain nulls, but element %d is "
						   "one", "vals", i + 1),
					errhint("Use norikv.mdelete() to delete keys."));
	}
	if (!PG_ARGISNULL(2))
	{
		pattern.ttl = NORIKV_TTL_SET;
		pattern.ttl_ms = NorikvMillisecondsFromInterval(PG_GETARG_INTERVAL_P(2), "ttl");
	}
	PG_RETURN_INT64(write_many(connection, &keys, &vals, &pattern));
}

Datum
norikv_sql_mdelete(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.mdelete()");
	norikv_operation pattern = {.kind = NORIKV_OP_DELETE};
	NorikvElements keys;

	NorikvRequireArgument(fcinfo, 0, "keys");
	NorikvKeysArgument(fcinfo, &keys);
	PG_RETURN_INT64(write_many(connection, &keys, NULL, &pattern));
}
