/*
 * truncate.c - TRUNCATE: all keys of a table, or all vectors of its index, as one range.
 */
#include "modify.h"

#include "fdw/vector_table.h"

#include "access/xact.h"
#include "miscadmin.h"

/* A table without a prefix is the whole store, other people's keys included. */
static void
check_truncatable(const NorikvTable *table)
{
	if (table->truncatable)
		return;
	if (table->prefix.size == 0 && table->space.size == 0)
		ereport(
			ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("cannot truncate foreign table \"%s\"", table->name),
			errdetail("It has no prefix, so that would delete every key of the store."),
			errhint("If that is wanted, give it the option truncatable 'true'."));
	ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("foreign table \"%s\" does not allow truncates", table->name),
			errdetail("It has the option truncatable 'false'."));
}

static void
truncate_at_once(const NorikvTable *table, NorikvConnection *connection)
{
	bool vectors = table->space.size > 0;
	const norikv_operation operation = {
		.kind = vectors ? NORIKV_OP_VECTOR_DELETE_RANGE : NORIKV_OP_DELETE_RANGE,
		.vector_namespace = table->space,
		.key = table->prefix,
		.end_key = table->prefix_end,
	};
	NorikvCall *call = NorikvStartCommit(connection, &operation, 1, true);
	const norikv_operation_result *result;
	size_t n_results;

	NorikvFinish(call);
	result = norikv_call_results(call->call, &n_results);
	if (n_results == 1)
		NorikvCountWritten(result->deleted);
	NorikvFree(call);
}

static void
truncate_range(NorikvTable *table, NorikvConnection *connection, CommandId cid)
{
	NorikvBuffer *buffer;

	if (table->immediate)
	{
		truncate_at_once(table, connection);
		return;
	}
	buffer = NorikvBufferForWrite(connection, table->space);
	NorikvBufferTruncate(buffer, table->prefix, table->prefix_end, cid);
	NorikvBufferCheckLimits(buffer);
}

static void
truncate_vectors(NorikvTable *table, NorikvConnection *connection, CommandId cid)
{
	if (!NorikvGetCapabilities(connection)->vector_ranges)
	{
		NorikvTruncateListed(table, connection, cid);
		return;
	}
	/* An index that is not there is an error of the statement. */
	(void) NorikvAskForIndex(table, connection, true);
	truncate_range(table, connection, cid);
}

void
NorikvTruncateTables(List *relations, DropBehavior behavior, bool restart_seqs)
{
	CommandId cid = GetCurrentCommandId(true);
	ListCell *cell;

	foreach (cell, relations)
		check_truncatable(NorikvOpenTable(lfirst(cell)));
	foreach (cell, relations)
	{
		NorikvTable *table = NorikvOpenTable(lfirst(cell));
		NorikvConnection *connection =
			NorikvGetTableConnection(table->serverid, GetUserId());

		NorikvCheckWritable(table, connection, "TRUNCATE");
		if (table->space.size > 0)
			truncate_vectors(table, connection, cid);
		else
			truncate_range(table, connection, cid);
	}
}
