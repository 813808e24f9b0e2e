/*
 * keys.c - one key: put, get, delete and their kin.
 *
 * Each function exists for text and for bytea keys in SQL; the C function sees
 * by the type of its argument which it is.
 */
#include "pg_norikv.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Of the idempotency keys that libnorikv makes, some of which have a meaning to norikvd. */
#define OWN_KEY_PREFIX "~nk"

PG_FUNCTION_INFO_V1(norikv_sql_put);
PG_FUNCTION_INFO_V1(norikv_sql_try_put);
PG_FUNCTION_INFO_V1(norikv_sql_get);
PG_FUNCTION_INFO_V1(norikv_sql_get_bytes);
PG_FUNCTION_INFO_V1(norikv_sql_get_json);
PG_FUNCTION_INFO_V1(norikv_sql_entry);
PG_FUNCTION_INFO_V1(norikv_sql_delete);
PG_FUNCTION_INFO_V1(norikv_sql_has_key);

void
NorikvRequireArgument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"%s\" must not be null", name));
}

norikv_slice
NorikvKeyArgument(FunctionCallInfo fcinfo, int argument)
{
	return NorikvKeyFromDatum(PG_GETARG_DATUM(argument),
							  NorikvArgumentIsText(fcinfo, argument), "key");
}

const char *
NorikvConsistencyArgument(FunctionCallInfo fcinfo, int argument)
{
	char *given;
	const char *known;

	if (PG_NARGS() <= argument || PG_ARGISNULL(argument))
		return NULL;
	given = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	known = NorikvCheckConsistency(given);
	if (known == NULL)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid value for argument \"%s\": \"%s\"", "consistency", given),
				errhint("Valid values are \"strong\", \"eventual\" and "
						"\"bounded_staleness\"."));
	return known;
}

/* ---- Writing ---- */

norikv_slice
NorikvIdempotencyKeyArgument(FunctionCallInfo fcinfo, int argument)
{
	norikv_slice key = {NULL, 0};

	if (PG_ARGISNULL(argument))
		return key;
	key = NorikvBytesFromDatum(PG_GETARG_DATUM(argument), true);
	if (key.size == 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must not be empty", "idempotency_key"));
	if (key.size >= strlen(OWN_KEY_PREFIX) &&
		memcmp(key.data, OWN_KEY_PREFIX, strlen(OWN_KEY_PREFIX)) == 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must not start with \"%s\"", "idempotency_key",
					   OWN_KEY_PREFIX),
				errdetail("Such keys are those that the client makes itself."));
	return key;
}

static void
set_version_condition(norikv_operation *operation, const NorikvVersion *version)
{
	if (NorikvVersionIsAny(version))
		return;
	if (version->index == 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid value for argument \"%s\": no key has a version with "
					   "index 0", "if_match"),
				errhint("An absent key is NULL."));
	operation->condition = NORIKV_IF_VERSION;
	operation->version = *version;
}

/*
 * if_match NULL says that the key must be absent: the version of an absent key is
 * NULL everywhere, and handed on it must be a condition, not the lack of one.
 */
static void
set_put_condition(FunctionCallInfo fcinfo, int if_match, norikv_operation *operation)
{
	bool if_absent;

	NorikvRequireArgument(fcinfo, if_match + 1, "if_absent");
	if_absent = PG_GETARG_BOOL(if_match + 1);
	if (PG_ARGISNULL(if_match))
		if_absent = true;
	else
		set_version_condition(operation, PG_GETARG_VERSION_P(if_match));
	if (!if_absent)
		return;
	if (operation->condition == NORIKV_IF_VERSION)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("\"if_absent\" and a version in \"if_match\" exclude each other"));
	operation->condition = NORIKV_IF_ABSENT;
}

/* key, value, ttl, if_match, if_absent */
norikv_operation
NorikvPutArguments(FunctionCallInfo fcinfo, int first)
{
	norikv_operation operation = {.kind = NORIKV_OP_PUT};

	NorikvRequireArgument(fcinfo, first, "key");
	NorikvRequireArgument(fcinfo, first + 1, "value");
	operation.key = NorikvKeyArgument(fcinfo, first);
	operation.value = NorikvValueFromDatum(
		PG_GETARG_DATUM(first + 1), get_fn_expr_argtype(fcinfo->flinfo, first + 1));
	if (!PG_ARGISNULL(first + 2))
	{
		operation.ttl = NORIKV_TTL_SET;
		operation.ttl_ms =
			NorikvMillisecondsFromInterval(PG_GETARG_INTERVAL_P(first + 2), "ttl");
	}
	set_put_condition(fcinfo, first + 3, &operation);
	return operation;
}

/* The arguments of a put, and idempotency_key. */
static NorikvCall *
start_put(FunctionCallInfo fcinfo, const char *sql_name)
{
	NorikvConnection *connection = NorikvGetWriteConnection(sql_name);
	norikv_operation operation = NorikvPutArguments(fcinfo, 0);

	return NorikvStartWrite(connection, &operation,
							NorikvIdempotencyKeyArgument(fcinfo, 5));
}

Datum
NorikvFinishPut(NorikvCall *call)
{
	size_t n_results;
	Datum version;

	version = NorikvVersionGetDatum(norikv_call_results(call->call, &n_results)->version);
	NorikvFree(call);
	return version;
}

Datum
norikv_sql_put(PG_FUNCTION_ARGS)
{
	NorikvCall *call = start_put(fcinfo, "norikv.put()");

	NorikvFinish(call);
	return NorikvFinishPut(call);
}

/* Only the condition is forgiven: every other error is one. */
Datum
norikv_sql_try_put(PG_FUNCTION_ARGS)
{
	NorikvCall *call = start_put(fcinfo, "norikv.try_put()");
	const norikv_error *error = NorikvAwait(call);

	if (error->code == NORIKV_OK)
		return NorikvFinishPut(call);
	if (call->subject.condition == NORIKV_IF_ANY || !NorikvIsUnmetCondition(error))
		NorikvRaise(error, &call->subject);
	NorikvFree(call);
	PG_RETURN_NULL();
}

/* key, if_match */
norikv_operation
NorikvDeleteArguments(FunctionCallInfo fcinfo, int first)
{
	norikv_operation operation = {.kind = NORIKV_OP_DELETE};

	NorikvRequireArgument(fcinfo, first, "key");
	NorikvRequireArgument(fcinfo, first + 1, "if_match");
	operation.key = NorikvKeyArgument(fcinfo, first);
	set_version_condition(&operation, PG_GETARG_VERSION_P(first + 1));
	return operation;
}

Datum
NorikvFinishDelete(NorikvCall *call)
{
	size_t n_results;
	bool existed;

	NorikvFinish(call);
	existed = norikv_call_results(call->call, &n_results)->existed;
	NorikvFree(call);
	PG_RETURN_BOOL(existed);
}

/* The arguments of a delete, and idempotency_key. */
Datum
norikv_sql_delete(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.delete()");
	norikv_operation operation = NorikvDeleteArguments(fcinfo, 0);

	return NorikvFinishDelete(NorikvStartWrite(connection, &operation,
											   NorikvIdempotencyKeyArgument(fcinfo, 2)));
}

/* ---- Reading ---- */

/* The finished call, or NULL where the key is NULL. */
static NorikvCall *
read_key(FunctionCallInfo fcinfo)
{
	NorikvConnection *connection;
	NorikvCall *call;
	norikv_slice key;

	if (PG_ARGISNULL(0))
		return NULL;
	connection = NorikvGetConnection();
	key = NorikvKeyArgument(fcinfo, 0);
	call = NorikvStartGet(connection, key, NorikvConsistencyArgument(fcinfo, 1));
	NorikvFinish(call);
	return call;
}

typedef Datum (*MakeValue)(const norikv_entry *entry, const NorikvConnection *connection);

static Datum
get_value(FunctionCallInfo fcinfo, MakeValue make_value)
{
	NorikvCall *call = read_key(fcinfo);
	norikv_entry entry;
	Datum value = (Datum) 0;

	if (call == NULL)
		PG_RETURN_NULL();
	entry = *norikv_call_entry(call->call);
	entry.key = call->subject.key;
	fcinfo->isnull = entry.version.index == 0;
	if (!fcinfo->isnull)
		value = make_value(&entry, call->subject.connection);
	NorikvFree(call);
	return value;
}

static Datum
make_bytes(const norikv_entry *entry, const NorikvConnection *connection)
{
	return NorikvByteaFromSlice(entry->value);
}

Datum
norikv_sql_get(PG_FUNCTION_ARGS)
{
	return get_value(fcinfo, NorikvTextFromValue);
}

Datum
norikv_sql_get_bytes(PG_FUNCTION_ARGS)
{
	return get_value(fcinfo, make_bytes);
}

Datum
norikv_sql_get_json(PG_FUNCTION_ARGS)
{
	return get_value(fcinfo, NorikvJsonbFromValue);
}

Datum
norikv_sql_has_key(PG_FUNCTION_ARGS)
{
	NorikvCall *call = read_key(fcinfo);
	bool found;

	if (call == NULL)
		PG_RETURN_NULL();
	found = norikv_call_entry(call->call)->version.index != 0;
	NorikvFree(call);
	PG_RETURN_BOOL(found);
}

/* key (as it was given), value, version, expires_at: that only MultiGet answers. */
Datum
norikv_sql_entry(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	NorikvCall *call;
	norikv_slice key;
	const norikv_entry *entry;
	TupleDesc descriptor;
	Datum values[4];
	bool nulls[4] = {false};
	Datum result = (Datum) 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	connection = NorikvGetConnection();
	key = NorikvKeyArgument(fcinfo, 0);
	call = NorikvStartMultiGet(connection, &key, 1, NorikvConsistencyArgument(fcinfo, 1));
	entry = NorikvFinishMultiGet(call, 1);
	fcinfo->isnull = entry->version.index == 0;
	if (!fcinfo->isnull)
	{
		values[0] = PG_GETARG_DATUM(0);
		values[1] = NorikvByteaFromSlice(entry->value);
		values[2] = NorikvVersionGetDatum(entry->version);
		values[3] = NorikvTimestampFromMilliseconds(entry->expires_at_ms, &nulls[3]);
		result = HeapTupleGetDatum(
			heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
	}
	NorikvFree(call);
	return result;
}
