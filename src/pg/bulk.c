/*
 * bulk.c - many keys in few round trips: mget, mput, mdelete, scan, key_count.
 *
 * Rows go to a tuplestore, which spills past work_mem; of the answers, one request
 * of fetch_size keys, or one page of a scan, is in memory at a time.
 */
#include "pg_norikv.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(norikv_sql_mget);
PG_FUNCTION_INFO_V1(norikv_sql_mget_bytes);
PG_FUNCTION_INFO_V1(norikv_sql_mput);
PG_FUNCTION_INFO_V1(norikv_sql_mdelete);
PG_FUNCTION_INFO_V1(norikv_sql_scan);
PG_FUNCTION_INFO_V1(norikv_sql_scan_bytes);
PG_FUNCTION_INFO_V1(norikv_sql_key_count);

/* ---- Arrays ---- */

typedef struct Elements
{
	Oid type;
	Datum *values;
	bool *nulls;
	int count;
} Elements;

static void
take_apart(ArrayType *array, const char *argument, Elements *elements)
{
	Oid type = ARR_ELEMTYPE(array);

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must have one dimension, but it has %d", argument,
					   ARR_NDIM(array)));
	elements->type = type;
	deconstruct_array(array, type, -1, false, TYPALIGN_INT, &elements->values,
					  &elements->nulls, &elements->count);
}

static bool
is_text_type(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || type == BPCHAROID;
}

static void
reject_type(const char *argument, const char *expected, Oid type)
{
	ereport(ERROR, errcode(ERRCODE_DATATYPE_MISMATCH),
			errmsg("argument \"%s\" must be an array of %s, not of type %s", argument,
				   expected, format_type_be(type)));
}

static void
keys_argument(FunctionCallInfo fcinfo, Elements *elements)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	Oid type = ARR_ELEMTYPE(array);

	if (!is_text_type(type) && type != BYTEAOID)
		reject_type("keys", "text or bytea", get_fn_expr_argtype(fcinfo->flinfo, 0));
	take_apart(array, "keys", elements);
}

/*
 * SQL declares the argument as "any", so that a plain literal resolves: that
 * comes as a C string of no type and is read as an array of text.
 */
static void
values_argument(FunctionCallInfo fcinfo, Elements *elements)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, 1);
	ArrayType *array;

	if (type == UNKNOWNOID)
	{
		Oid input;
		Oid io_param;

		getTypeInputInfo(TEXTARRAYOID, &input, &io_param);
		array = DatumGetArrayTypeP(
			OidInputFunctionCall(input, PG_GETARG_CSTRING(1), io_param, -1));
	}
	else
	{
		Oid element = get_base_element_type(type);

		if (!is_text_type(element) && element != BYTEAOID && element != JSONOID &&
			element != JSONBOID)
			reject_type("vals", "text, bytea, json or jsonb", type);
		array = PG_GETARG_ARRAYTYPE_P(1);
	}
	take_apart(array, "vals", elements);
}

static norikv_slice
element_key(const Elements *elements, int i)
{
	if (elements->nulls[i])
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"%s\" must not contain nulls, but element %d is one",
					   "keys", i + 1));
	return NorikvKeyFromDatum(elements->values[i], elements->type != BYTEAOID, "keys");
}

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
	InitMaterializedSRF(fcinfo, 0);
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
put_asked_row(RowSink *sink, const Elements *elements, int i, const norikv_entry *entry)
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

/* One request for the elements from first up to (not including) end. */
static void
read_chunk(RowSink *sink, const Elements *elements, int first, int end,
		   norikv_slice *keys, const char *consistency)
{
	int n_keys = 0;
	NorikvCall *call = NULL;
	const norikv_entry *entries = NULL;
	size_t next = 0;

	for (int i = first; i < end; i++)
	{
		if (!elements->nulls[i])
			keys[n_keys++] = element_key(elements, i);
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
		put_asked_row(sink, elements, i, &entry);
	}
	if (call != NULL)
		NorikvFree(call);
}

static Datum
read_many(FunctionCallInfo fcinfo, bool values_as_text)
{
	RowSink sink;
	Elements elements;
	norikv_slice *keys;
	const char *consistency = NorikvConsistencyArgument(fcinfo, 1);
	int step;

	init_sink(&sink, fcinfo, values_as_text);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	keys_argument(fcinfo, &elements);
	step = Min(sink.connection->settings.fetch_size, elements.count);
	keys = palloc(sizeof(norikv_slice) * Max(step, 1));
	for (int first = 0; first < elements.count; first += step)
	{
		CHECK_FOR_INTERRUPTS();
		step = Min(step, elements.count - first);
		read_chunk(&sink, &elements, first, first + step, keys, consistency);
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

/* ---- Writing many ---- */

/*
 * The elements to send: two operations on one key are none of a server's business,
 * so of equal keys only the last counts, as if they were written one by one.
 */
static int
last_of_equal_keys(const norikv_slice *keys, int count, int *chosen)
{
	uint32 size = pg_nextpower2_32(Max(count, 1) * 2);
	int *table = palloc(sizeof(int) * size);
	bool *replaced = palloc0(sizeof(bool) * Max(count, 1));
	int n_chosen = 0;

	memset(table, -1, sizeof(int) * size);
	for (int i = 0; i < count; i++)
	{
		uint32 slot = hash_bytes(keys[i].data, keys[i].size) & (size - 1);

		while (table[slot] >= 0 && (keys[table[slot]].size != keys[i].size ||
									memcmp(keys[table[slot]].data, keys[i].data,
										   keys[i].size) != 0))
			slot = (slot + 1) & (size - 1);
		if (table[slot] >= 0)
			replaced[table[slot]] = true;
		table[slot] = i;
	}
	for (int i = 0; i < count; i++)
	{
		if (!replaced[i])
			chosen[n_chosen++] = i;
	}
	pfree(table);
	pfree(replaced);
	return n_chosen;
}

/* A batch is not atomic: an error says how far it got. */
static void
batch_context(void *arg)
{
	errcontext("norikv batch, after " INT64_FORMAT " keys were done", *(int64 *) arg);
}

/*
 * Of several chunks the first would be written before a value of a later one is
 * found to be too large: look at all of them first.
 */
static void
check_values(const Elements *vals, const int *chosen, int n_chosen)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv check", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);

	for (int i = 0; i < n_chosen; i++)
	{
		(void) NorikvValueFromDatum(vals->values[chosen[i]], vals->type);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}

/* Sends the operations, each on its own; for a delete, counts what there was. */
static int64
send_chunk(NorikvConnection *connection, const norikv_operation *operations,
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

/* vals NULL: deletes. */
static int64
write_many(NorikvConnection *connection, const Elements *keys, const Elements *vals,
		   const norikv_operation *pattern)
{
	int64 done = 0;
	int64 effective = 0;
	ErrorContextCallback callback = {error_context_stack, batch_context, &done};
	norikv_slice *slices = palloc(sizeof(norikv_slice) * Max(keys->count, 1));
	int *chosen = palloc(sizeof(int) * Max(keys->count, 1));
	int batch_size = connection->settings.batch_size;
	norikv_operation *operations;
	MemoryContext chunk_context;
	int n_chosen;

	for (int i = 0; i < keys->count; i++)
		slices[i] = element_key(keys, i);
	n_chosen = last_of_equal_keys(slices, keys->count, chosen);
	if (vals != NULL && n_chosen > batch_size)
		check_values(vals, chosen, n_chosen);
	operations = palloc(sizeof(norikv_operation) * Max(Min(batch_size, n_chosen), 1));
	chunk_context = AllocSetContextCreate(CurrentMemoryContext, "norikv batch",
										  ALLOCSET_DEFAULT_SIZES);
	error_context_stack = &callback;
	for (int first = 0; first < n_chosen; first += batch_size)
	{
		int n = Min(batch_size, n_chosen - first);
		MemoryContext old_context = MemoryContextSwitchTo(chunk_context);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			int element = chosen[first + i];

			operations[i] = *pattern;
			operations[i].key = slices[element];
			if (vals != NULL)
				operations[i].value =
					NorikvValueFromDatum(vals->values[element], vals->type);
		}
		effective += send_chunk(connection, operations, n, &done);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(chunk_context);
	}
	error_context_stack = callback.previous;
	return effective;
}

/* keys, vals, ttl */
Datum
norikv_sql_mput(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.mput()");
	norikv_operation pattern = {.kind = NORIKV_OP_PUT};
	Elements keys;
	Elements vals;

	NorikvRequireArgument(fcinfo, 0, "keys");
	NorikvRequireArgument(fcinfo, 1, "vals");
	keys_argument(fcinfo, &keys);
	values_argument(fcinfo, &vals);
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
	Elements keys;

	NorikvRequireArgument(fcinfo, 0, "keys");
	keys_argument(fcinfo, &keys);
	PG_RETURN_INT64(write_many(connection, &keys, NULL, &pattern));
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

static int
compare_slices(norikv_slice a, norikv_slice b)
{
	int order = memcmp(a.data, b.data, Min(a.size, b.size));

	return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
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
	if (start.size == 0 || (prefix.size > 0 && compare_slices(prefix, start) > 0))
		start = prefix;
	if (end.size == 0 || (bound.size > 0 && compare_slices(bound, end) < 0))
		end = bound;
	request->start = start;
	request->end = end;
	return end.size == 0 || start.size == 0 || compare_slices(start, end) < 0;
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
