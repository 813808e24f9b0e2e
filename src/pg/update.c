/*
 * update.c - update(): a function of the user's in the compare-and-swap loop.
 */
#include "cas.h"

#include "catalog/pg_type.h"

PG_FUNCTION_INFO_V1(norikv_sql_update);

/* What the step needs, and what it leaves. */
typedef struct Update
{
	const NorikvConnection *connection;
	NorikvUpdater updater;
	MemoryContext result_context;
	Datum result; /* in result_context */
	bool result_is_null;
} Update;

/* A strict updater has nothing to update where there is no key. */
static NorikvCasAction
step(const NorikvDocument *old, norikv_slice *value, void *arg)
{
	Update *update = arg;
	MemoryContext old_context;
	Datum document = (Datum) 0;
	Datum result;

	update->result_is_null = true;
	if (!old->present && update->updater.function.fn_strict)
		return NORIKV_CAS_LEAVE;

	if (old->present)
	{
		norikv_entry entry = {.key = old->key, .value = old->value};

		document = NorikvJsonbFromValue(&entry, update->connection);
	}
	result = NorikvCallUpdater(&update->updater, document, !old->present,
							   &update->result_is_null);
	if (update->result_is_null)
		return NORIKV_CAS_DELETE;

	*value = NorikvValueFromDatum(result, JSONBOID);
	old_context = MemoryContextSwitchTo(update->result_context);
	if (update->result != (Datum) 0)
		pfree(DatumGetPointer(update->result));
	update->result = PointerGetDatum(PG_DETOAST_DATUM_COPY(result));
	MemoryContextSwitchTo(old_context);
	return NORIKV_CAS_PUT;
}

/* key, updater, args, ttl, max_retries */
Datum
norikv_sql_update(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.update()");
	Update update = {.connection = connection};
	NorikvCasOptions options = {.ttl = NORIKV_TTL_KEEP};
	norikv_slice key;

	NorikvRequireArgument(fcinfo, 0, "key");
	NorikvRequireArgument(fcinfo, 1, "updater");
	NorikvRequireArgument(fcinfo, 4, "max_retries");
	key = NorikvKeyFromDatum(PG_GETARG_DATUM(0), NorikvArgumentIsText(fcinfo, 0), "key");
	if (!PG_ARGISNULL(3))
	{
		options.ttl = NORIKV_TTL_SET;
		options.ttl_ms = NorikvMillisecondsFromInterval(PG_GETARG_INTERVAL_P(3), "ttl");
	}
	options.max_retries = PG_GETARG_INT32(4);
	if (options.max_retries < 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must not be negative, but it is %d",
					   "max_retries", options.max_retries));

	NorikvPrepareUpdater(&update.updater, fcinfo, 1, 2);
	update.result_context = CurrentMemoryContext;
	NorikvCompareAndSwap(connection, key, step, &update, &options);
	if (update.result_is_null)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(update.result);
}
