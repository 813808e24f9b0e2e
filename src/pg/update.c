/*
 * update.c - update(): a function of the user's in the compare-and-swap loop.
 */
#include "pg_norikv.h"

#include "access/htup_details.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(norikv_sql_update);

/* What the step needs, and what it leaves. */
typedef struct Update
{
	const NorikvConnection *connection;
	FmgrInfo updater;
	Oid collation;
	Datum args;
	bool args_is_null;
	MemoryContext result_context;
	Datum result; /* in result_context */
	bool result_is_null;
} Update;

static bool
has_right_signature(Form_pg_proc procedure)
{
	return procedure->prokind == PROKIND_FUNCTION && !procedure->proretset &&
		   procedure->prorettype == JSONBOID && procedure->pronargs == 2 &&
		   procedure->proargtypes.values[0] == JSONBOID &&
		   procedure->proargtypes.values[1] == JSONBOID;
}

/* EXECUTE is the current user's to have: the name was handed over as data. */
static void
check_updater(Oid function, bool args_is_null)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc procedure;
	AclResult result;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("function with OID %u does not exist", function));
	procedure = (Form_pg_proc) GETSTRUCT(tuple);
	result = pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FUNCTION, NameStr(procedure->proname));
	if (!has_right_signature(procedure))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid value for argument \"%s\": %s", "updater",
					   format_procedure(function)),
				errdetail("It must be a function (old jsonb, args jsonb) that returns "
						  "jsonb."));
	/* A strict one would not be called, and what it did not return would delete. */
	if (procedure->proisstrict && args_is_null)
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"%s\" must not be null for updater %s, which is strict",
					   "args", format_procedure(function)),
				errhint("Hand over '{}', or declare the updater CALLED ON NULL INPUT."));
	ReleaseSysCache(tuple);
	InvokeFunctionExecuteHook(function);
}

/* A strict updater has nothing to update where there is no key. */
static NorikvCasAction
step(const NorikvDocument *old, norikv_slice *value, void *arg)
{
	Update *update = arg;
	LOCAL_FCINFO(call, 2);
	MemoryContext old_context;
	Datum result;

	update->result_is_null = true;
	if (!old->present && update->updater.fn_strict)
		return NORIKV_CAS_LEAVE;

	InitFunctionCallInfoData(*call, &update->updater, 2, update->collation, NULL, NULL);
	call->args[0].isnull = !old->present;
	call->args[0].value = (Datum) 0;
	if (old->present)
	{
		norikv_entry entry = {.key = old->key, .value = old->value};

		call->args[0].value = NorikvJsonbFromValue(&entry, update->connection);
	}
	call->args[1].isnull = update->args_is_null;
	call->args[1].value = update->args;
	result = FunctionCallInvoke(call);
	if (call->isnull)
		return NORIKV_CAS_DELETE;

	*value = NorikvValueFromDatum(result, JSONBOID);
	update->result_is_null = false;
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
	Update update = {.connection = connection, .collation = PG_GET_COLLATION()};
	NorikvCasOptions options = {.ttl = NORIKV_TTL_KEEP};
	norikv_slice key;
	Oid function;

	NorikvRequireArgument(fcinfo, 0, "key");
	NorikvRequireArgument(fcinfo, 1, "updater");
	NorikvRequireArgument(fcinfo, 4, "max_retries");
	key = NorikvKeyFromDatum(PG_GETARG_DATUM(0), NorikvArgumentIsText(fcinfo, 0), "key");
	function = PG_GETARG_OID(1);
	update.args_is_null = PG_ARGISNULL(2);
	update.args = PG_GETARG_DATUM(2);
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

	check_updater(function, update.args_is_null);
	fmgr_info(function, &update.updater);
	update.result_context = CurrentMemoryContext;
	NorikvCompareAndSwap(connection, key, step, &update, &options);
	if (update.result_is_null)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(update.result);
}
