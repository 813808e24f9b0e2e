/*
 * fence.c - fence(): keeps a holder whose lease ended from writing.
 *
 * A table has the highest token that each resource has seen. The row is written in the
 * transaction that does the protected write, so that both commit or neither does, and
 * transactions with tokens of one resource take turns on it: the later of two holders
 * waits for the earlier one's transaction, or has refused it.
 *
 * A token is a version, so the store knows which ones it cannot have given out yet. Kept,
 * such a token would refuse all that come: it is not.
 */
#include "pg_norikv.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "patterns/lock.h"
#include "patterns/own_table.h"

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

static const Oid types[] = {TEXTOID, TEXTOID, INT8OID};

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

/*
 * One round trip, where this session knows of no version as late as the token. A store
 * that does not tell its versions is believed whatever it is said to have given.
 */
static void
check_given_out(NorikvConnection *connection, Datum resource, int64 token)
{
	const NorikvCapabilities *store = NorikvGetCapabilities(connection);

	if (!store->tells_latest || token <= store->latest_token)
		return;
	NorikvAskInfo(connection);
	if (!store->tells_latest || token <= store->latest_token)
		return;
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("token " INT64_FORMAT " for resource \"%s\" has not been given out yet",
				   token, TextDatumGetCString(resource)),
			errdetail("The highest that server \"%s\" can have given out is " INT64_FORMAT
					  ".", connection->name, store->latest_token),
			errhint("A token is what lock() or elect() has returned, on the same store."));
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
	NorikvOwnRights rights;
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
	check_given_out(connection, args[1], PG_GETARG_INT64(1));
	args[0] = CStringGetTextDatum(NorikvStoreScope(connection));
	args[2] = PG_GETARG_DATUM(1);

	NorikvBeginAsOwner(TABLE, &rights);
	raised = NorikvRunPlan(&raise_plan, raise_sql, 3, types, args, NULL) > 0;
	if (!raised && NorikvRunPlan(&read_plan, read_sql, 2, types, args, NULL) > 0)
	{
		known = true;
		seen = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
										   1, &(bool){false}));
	}
	NorikvEndAsOwner(&rights);
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
	NorikvOwnRights rights;
	bool found;

	args[1] = resource_argument(fcinfo);
	PreventCommandIfReadOnly("norikv.fence_reset()");
	args[0] = CStringGetTextDatum(NorikvStoreScope(NorikvGetConnection()));
	NorikvBeginAsOwner(TABLE, &rights);
	found = NorikvRunPlan(&reset_plan, reset_sql, 2, types, args, NULL) > 0;
	NorikvEndAsOwner(&rights);
	PG_RETURN_BOOL(found);
}
