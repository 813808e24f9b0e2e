/*
 * updater.c - functions of the user's that a call hands over by name.
 */
#include "pg_norikv.h"

#include "access/htup_details.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

static const NorikvSignature updater_signature = {
	.n_args = 2,
	.args = {JSONBOID, JSONBOID},
	.result = JSONBOID,
	.shown = "(old jsonb, args jsonb) that returns jsonb",
};

static bool
has_signature(Form_pg_proc procedure, const NorikvSignature *signature)
{
	if (procedure->prokind != PROKIND_FUNCTION || procedure->proretset ||
		procedure->prorettype != signature->result ||
		procedure->pronargs != signature->n_args)
		return false;
	return memcmp(procedure->proargtypes.values, signature->args,
				  signature->n_args * sizeof(Oid)) == 0;
}

bool
NorikvCheckFunction(Oid function, const char *argument, const NorikvSignature *signature)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc procedure;
	AclResult result;
	bool strict;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("function with OID %u does not exist", function));
	procedure = (Form_pg_proc) GETSTRUCT(tuple);
	result = pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FUNCTION, NameStr(procedure->proname));
	if (!has_signature(procedure, signature))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid value for argument \"%s\": %s", argument,
					   format_procedure(function)),
				errdetail("It must be a function %s.", signature->shown));
	strict = procedure->proisstrict;
	ReleaseSysCache(tuple);
	InvokeFunctionExecuteHook(function);
	return strict;
}

void
NorikvPrepareUpdater(NorikvUpdater *updater, FunctionCallInfo fcinfo,
					 int updater_argument, int args_argument)
{
	Oid function = PG_GETARG_OID(updater_argument);
	bool strict;

	updater->collation = PG_GET_COLLATION();
	updater->args_is_null = PG_ARGISNULL(args_argument);
	updater->args = PG_GETARG_DATUM(args_argument);
	strict = NorikvCheckFunction(function, "updater", &updater_signature);
	/* A strict one would not be called, and what it did not return would delete. */
	if (strict && updater->args_is_null)
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"%s\" must not be null for updater %s, which is strict",
					   "args", format_procedure(function)),
				errhint("Hand over '{}', or declare the updater CALLED ON NULL INPUT."));
	fmgr_info(function, &updater->function);
}

Datum
NorikvCallUpdater(NorikvUpdater *updater, Datum old, bool old_is_null, bool *is_null)
{
	LOCAL_FCINFO(call, 2);
	Datum result;

	InitFunctionCallInfoData(*call, &updater->function, 2, updater->collation, NULL,
							 NULL);
	call->args[0].isnull = old_is_null;
	call->args[0].value = old;
	call->args[1].isnull = updater->args_is_null;
	call->args[1].value = updater->args;
	result = FunctionCallInvoke(call);
	*is_null = call->isnull;
	return result;
}
