/*
 * fence.c - fence(): keeps a holder whose lease ended from writing.
 *
 * A table has the highest token that each resource has seen. The row is written in the
 * transaction that does the protected write, so that both commit or neither does, and
 * transactions with tokens of one resource take turns on it: the later of two holders
 * waits for the earlier one's transaction, or has refused it.
 *
 * Nobody needs rights on the table, for it is written as its owner. What is run then is
 * fixed here and names schemas throughout: no search_path has a part in it.
 */
#include "pg_norikv.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "patterns/lock.h"

#define SCHEMA "norikv"
#define TABLE "fences"
#define MAX_RESOURCE 1024

PG_FUNCTION_INFO_V1(norikv_sql_fence);
PG_FUNCTION_INFO_V1(norikv_sql_fence_reset);

/* An equal token writes, too: two transactions of one holder take turns as well. */
static const char *const raise_sql =
	"INSERT INTO " SCHEMA "." TABLE " AS fences (store, resource, token) "
	"VALUES ($1, $2, $3) "
	"ON CONFLICT (store, resource) DO UPDATE SET token = EXCLUDED.token "
	"WHERE fences.token OPERATOR(pg_catalog.<=) EXCLUDED.token";
static const char *const read_sql =
	"SELECT token FROM " SCHEMA "." TABLE
	" WHERE store OPERATOR(pg_catalog.=) $1 AND resource OPERATOR(pg_catalog.=) $2";
static const char *const reset_sql =
	"DELETE FROM " SCHEMA "." TABLE
	" WHERE store OPERATOR(pg_catalog.=) $1 AND resource OPERATOR(pg_catalog.=) $2";

static SPIPlanPtr raise_plan = NULL;
static SPIPlanPtr read_plan = NULL;
static SPIPlanPtr reset_plan = NULL;

static Oid
owner_of_table(void)
{
	Oid relation = get_relname_relid(TABLE, get_namespace_oid(SCHEMA, false));
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("relation \"%s.%s\" does not exist", SCHEMA, TABLE));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* How many rows it wrote, or returned. SPI is connected, the owner is in charge. */
static uint64
run(SPIPlanPtr *plan, const char *sql, int n_args, Datum *args)
{
	Oid types[] = {TEXTOID, TEXTOID, INT8OID};
	int status;

	if (*plan == NULL)
	{
		SPIPlanPtr prepared = SPI_prepare(sql, n_args, types);

		if (prepared == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_keepplan(prepared);
		*plan = prepared;
	}
	status = SPI_execute_plan(*plan, args, NULL, false, 0);
	if (status < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(status));
	return SPI_processed;
}

/* An error leaves the caller's rights to the end of the (sub)transaction to restore. */
static void
begin_as_owner(Oid *caller, int *context)
{
	Oid owner = owner_of_table();

	GetUserIdAndSecContext(caller, context);
	SetUserIdAndSecContext(owner, *context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
}

static void
end_as_owner(Oid caller, int context)
{
	SPI_finish();
	SetUserIdAndSecContext(caller, context);
}

static void
raise_stale(const char *resource, int64 token, bool known, int64 seen)
{
	ereport(ERROR, errcode(ERRCODE_NORIKV_LEASE_LOST),
			errmsg("token " INT64_FORMAT " for resource \"%s\" is stale", token,
				   resource),
			known ? errdetail("A token as high as " INT64_FORMAT " has been seen.", seen)
				  : 0,
			errhint("The lock was lost, and another has held it since. Take it again."));
}

/* A row of an index holds some 2,700 bytes. */
static Datum
resource_argument(FunctionCallInfo fcinfo)
{
	size_t size;

	NorikvRequireArgument(fcinfo, 0, "resource");
	size = VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0));
	if (size > MAX_RESOURCE)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be at most %d bytes, but it is %zu",
					   "resource", MAX_RESOURCE, size));
	return PG_GETARG_DATUM(0);
}

/* resource, token */
Datum
norikv_sql_fence(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	Datum args[3];
	Oid caller;
	int context;
	bool raised;
	bool known = false;
	int64 seen = 0;

	args[1] = resource_argument(fcinfo);
	NorikvRequireArgument(fcinfo, 1, "token");
	PreventCommandIfReadOnly("norikv.fence()");
	if (PG_GETARG_INT64(1) <= 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be positive, but it is " INT64_FORMAT,
					   "token", PG_GETARG_INT64(1)));
	connection = NorikvGetConnection();
	args[0] = CStringGetTextDatum(NorikvStoreScope(connection));
	args[2] = PG_GETARG_DATUM(1);

	begin_as_owner(&caller, &context);
	raised = run(&raise_plan, raise_sql, 3, args) > 0;
	if (!raised && run(&read_plan, read_sql, 2, args) > 0)
	{
		known = true;
		seen = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
										   1, &(bool){false}));
	}
	end_as_owner(caller, context);
	if (!raised)
		raise_stale(TextDatumGetCString(PG_GETARG_DATUM(0)), PG_GETARG_INT64(1), known,
					seen);
	PG_RETURN_VOID();
}

/* resource */
Datum
norikv_sql_fence_reset(PG_FUNCTION_ARGS)
{
	Datum args[2];
	Oid caller;
	int context;
	bool found;

	args[1] = resource_argument(fcinfo);
	PreventCommandIfReadOnly("norikv.fence_reset()");
	args[0] = CStringGetTextDatum(NorikvStoreScope(NorikvGetConnection()));
	begin_as_owner(&caller, &context);
	found = run(&reset_plan, reset_sql, 2, args) > 0;
	end_as_owner(caller, context);
	PG_RETURN_BOOL(found);
}
