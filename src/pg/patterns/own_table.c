/*
 * own_table.c - statements on the extension's own tables.
 */
#include "patterns/own_table.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define SCHEMA "norikv"

static Oid
owner_of(const char *table)
{
	Oid relation = get_relname_relid(table, get_namespace_oid(SCHEMA, false));
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("relation \"%s.%s\" does not exist", SCHEMA, table));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

void
NorikvBeginAsOwner(const char *table, NorikvOwnRights *rights)
{
	Oid owner = owner_of(table);

	GetUserIdAndSecContext(&rights->caller, &rights->context);
	SetUserIdAndSecContext(owner, rights->context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
}

void
NorikvEndAsOwner(const NorikvOwnRights *rights)
{
	SPI_finish();
	SetUserIdAndSecContext(rights->caller, rights->context);
}

uint64
NorikvRunPlan(SPIPlanPtr *plan, const char *sql, int n_args, const Oid *types,
			  Datum *args, const char *nulls)
{
	int status;

	if (*plan == NULL)
	{
		SPIPlanPtr prepared = SPI_prepare(sql, n_args, (Oid *) types);

		if (prepared == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_keepplan(prepared);
		*plan = prepared;
	}
	status = SPI_execute_plan(*plan, args, nulls, false, 0);
	if (status < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(status));
	return SPI_processed;
}
