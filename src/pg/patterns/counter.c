/*
 * counter.c - counters: a key with a number in decimal ASCII.
 *
 * What adding takes is in adder.c.
 */
#include "patterns/pattern.h"

#include "common/int.h"
#include "common/pg_prng.h"

#include "patterns/adder.h"

#define SHARD_INFIX ":shard:"
#define MAX_SHARDS 10000

PG_FUNCTION_INFO_V1(norikv_sql_counter_init);
PG_FUNCTION_INFO_V1(norikv_sql_counter_add);
PG_FUNCTION_INFO_V1(norikv_sql_counter_get);
PG_FUNCTION_INFO_V1(norikv_sql_counter_set);
PG_FUNCTION_INFO_V1(norikv_sql_sharded_counter_add);
PG_FUNCTION_INFO_V1(norikv_sql_sharded_counter_get);

/* ---- Names ---- */

/* A counter of such a name would be a shard of another one. */
static bool
is_shard_name(norikv_slice name)
{
	const char *start = name.data;
	const char *c = start + name.size;
	size_t infix = strlen(SHARD_INFIX);

	while (c > start && c[-1] >= '0' && c[-1] <= '9')
		c--;
	return c < start + name.size && (size_t) (c - start) >= infix &&
		   memcmp(c - infix, SHARD_INFIX, infix) == 0;
}

static norikv_slice
name_argument(FunctionCallInfo fcinfo)
{
	norikv_slice name = NorikvPatternKey("", PG_GETARG_DATUM(0), "name");

	if (is_shard_name(name))
		NorikvRefuseId("name", PG_GETARG_DATUM(0),
					   "Names that end in \":shard:\" and a number are those of the "
					   "shards of sharded counters.");
	return name;
}

static int
shards_argument(FunctionCallInfo fcinfo, int argument)
{
	int shards = PG_GETARG_INT32(argument);

	if (shards < 1 || shards > MAX_SHARDS)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be 1 to %d, but it is %d", "shards",
					   MAX_SHARDS, shards));
	return shards;
}

static norikv_slice
shard_key(norikv_slice name, int shard)
{
	char *key = palloc(name.size + 32);
	size_t size;

	memcpy(key, name.data, name.size);
	size = name.size + snprintf(key + name.size, 32, SHARD_INFIX "%d", shard);
	if (size > NORIKV_MAX_KEY)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" is too long: the key of a shard would have %zu "
					   "bytes, the limit is %d", "name", size, NORIKV_MAX_KEY));
	return (norikv_slice){key, size};
}

/* ---- Adding ---- */

/* name, delta, idempotency_key */
Datum
norikv_sql_counter_add(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.counter_add()");

	NorikvRequireArgument(fcinfo, 0, "name");
	NorikvRequireArgument(fcinfo, 1, "delta");
	PG_RETURN_INT64(NorikvAddToCounter(connection, "counter_add()", name_argument(fcinfo),
									   PG_GETARG_INT64(1),
									   NorikvIdempotencyKeyArgument(fcinfo, 2)));
}

/* name, delta, shards */
Datum
norikv_sql_sharded_counter_add(PG_FUNCTION_ARGS)
{
	const norikv_slice no_idempotency_key = {NULL, 0};
	NorikvConnection *connection =
		NorikvGetWriteConnection("norikv.sharded_counter_add()");
	norikv_slice name;
	int shards;
	int shard;

	NorikvRequireArgument(fcinfo, 0, "name");
	NorikvRequireArgument(fcinfo, 1, "delta");
	NorikvRequireArgument(fcinfo, 2, "shards");
	name = name_argument(fcinfo);
	shards = shards_argument(fcinfo, 2);
	/* that the longest name fits should not be a matter of chance */
	(void) shard_key(name, shards - 1);
	shard = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, shards - 1);
	NorikvAddToCounter(connection, "sharded_counter_add()", shard_key(name, shard),
					   PG_GETARG_INT64(1), no_idempotency_key);
	PG_RETURN_VOID();
}

/* ---- Reading ---- */

/* name */
Datum
norikv_sql_counter_get(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	const norikv_entry *entry;
	NorikvCall *call;
	norikv_slice key;
	int64 value = 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	connection = NorikvGetConnection();
	key = name_argument(fcinfo);
	call = NorikvStartGet(connection, key, NULL);
	NorikvFinish(call);
	entry = norikv_call_entry(call->call);
	fcinfo->isnull = entry->version.index == 0;
	if (!fcinfo->isnull)
		value = NorikvCounterValue(connection, key, entry->value);
	NorikvFree(call);
	PG_RETURN_INT64(value);
}

/* name, shards */
Datum
norikv_sql_sharded_counter_get(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	const norikv_entry *entries;
	NorikvCall *call;
	norikv_slice *keys;
	norikv_slice name;
	int shards;
	int64 sum = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	connection = NorikvGetConnection();
	name = name_argument(fcinfo);
	shards = shards_argument(fcinfo, 1);
	keys = palloc(sizeof(norikv_slice) * shards);
	for (int i = 0; i < shards; i++)
		keys[i] = shard_key(name, i);
	call = NorikvStartMultiGet(connection, keys, shards, NULL);
	entries = NorikvFinishMultiGet(call, shards);
	for (int i = 0; i < shards; i++)
	{
		int64 value = 0;

		if (entries[i].version.index != 0)
			value = NorikvCounterValue(connection, keys[i], entries[i].value);
		if (pg_add_s64_overflow(sum, value, &sum))
			ereport(ERROR, errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					errmsg("sum of the shards of counter %s on server \"%s\" is out of "
						   "range for bigint", NorikvShowKey(name), connection->name));
	}
	NorikvFree(call);
	PG_RETURN_INT64(sum);
}

/* ---- Setting ---- */

static void
init_step(NorikvAttempt *attempt, void *arg)
{
	NorikvDocument *document = &attempt->documents[0];
	int64 *value = arg;

	if (document->present)
		*value = NorikvCounterValue(attempt->connection, document->key, document->value);
	else
		NorikvPutDocument(attempt, document, NorikvShowCounter(*value), NORIKV_TTL_NONE,
						  0);
}

/* name, value */
Datum
norikv_sql_counter_init(PG_FUNCTION_ARGS)
{
	const NorikvStepOptions options = {.sql_name = "counter_init()", .max_retries = -1};
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.counter_init()");
	norikv_slice key;
	int64 value;

	NorikvRequireArgument(fcinfo, 0, "name");
	NorikvRequireArgument(fcinfo, 1, "value");
	key = name_argument(fcinfo);
	value = PG_GETARG_INT64(1);
	NorikvRequireAtomicCas(connection, options.sql_name);
	NorikvRunStep(connection, &key, 1, init_step, &value, &options);
	PG_RETURN_INT64(value);
}

static void
set_step(NorikvAttempt *attempt, void *arg)
{
	NorikvPutDocument(attempt, &attempt->documents[0], NorikvShowCounter(*(int64 *) arg),
					  NORIKV_TTL_KEEP, 0);
}

/* In one round trip, and without a race for the version, where the server can. */
static void
set_on_server(NorikvConnection *connection, norikv_slice key, int64 value)
{
	norikv_operation operation = {.kind = NORIKV_OP_PUT,
								  .key = key,
								  .value = NorikvShowCounter(value),
								  .ttl = NORIKV_TTL_KEEP};
	NorikvCall *call = NorikvStartCommit(connection, &operation, 1, true);

	NorikvFinish(call);
	NorikvFree(call);
}

/* name, value */
Datum
norikv_sql_counter_set(PG_FUNCTION_ARGS)
{
	const NorikvStepOptions options = {
		.sql_name = "counter_set()", .max_retries = -1, .keeps_ttl = true};
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.counter_set()");
	norikv_slice key;
	int64 value;

	NorikvRequireArgument(fcinfo, 0, "name");
	NorikvRequireArgument(fcinfo, 1, "value");
	key = name_argument(fcinfo);
	value = PG_GETARG_INT64(1);
	if (NorikvGetCapabilities(connection)->transactions)
		set_on_server(connection, key, value);
	else
	{
		NorikvRequireAtomicCas(connection, options.sql_name);
		NorikvRunStep(connection, &key, 1, set_step, &value, &options);
	}
	PG_RETURN_INT64(value);
}
