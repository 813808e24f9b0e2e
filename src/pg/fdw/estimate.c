/*
 * estimate.c - how many rows a foreign table has, and what reading them costs.
 *
 * Costs are in the planner's unit, taken for about ten microseconds, so that they
 * compare with those of local plans as times do.
 */
#include "fdw/fdw.h"
#include "fdw/vector_table.h"

#include "miscadmin.h"
#include "parser/parsetree.h"
#include "utils/selfuncs.h"
#include "utils/timestamp.h"

/* A round trip over a unix socket. */
#define ROUND_TRIP_COST 4.0
#define STREAM_COST 8.0
/* A key that is asked for by name among others, found, sent and decoded. */
#define NAMED_KEY_COST 0.2
/* A key of a range. */
#define RANGE_KEY_COST 0.15
/* An id of a namespace of vectors. */
#define LISTED_ID_COST 0.1

/*
 * Without ANALYZE the server counts, up to so many keys (a few ms of its time)
 * and not oftener than this for a table. Where there are more than it may count,
 * there may be ten times as many: a guess that makes lookups attractive.
 */
#define COUNT_LIMIT 20000
#define COUNT_AGAIN_MS 60000
/* Where a server does not tell. */
#define DEFAULT_ROWS 1000000

static Oid
user_of(PlannerInfo *root, RelOptInfo *baserel)
{
#if PG_VERSION_NUM >= 160000
	return OidIsValid(baserel->userid) ? baserel->userid : GetUserId();
#else
	RangeTblEntry *rte = planner_rt_fetch(baserel->relid, root);

	return OidIsValid(rte->checkAsUser) ? rte->checkAsUser : GetUserId();
#endif
}

/* An unreachable server is an error of the execution, not of an EXPLAIN. */
static double
count_keys(NorikvConnection *connection, const NorikvTable *table)
{
	norikv_scan_request request = {.start = table->prefix,
								   .end = table->prefix_end,
								   .count_only = true,
								   .max_rows = COUNT_LIMIT};
	NorikvCall *call = NorikvStartScan(connection, &request);
	double found = DEFAULT_ROWS;

	if (NorikvAwait(call)->code == NORIKV_OK)
	{
		while (NorikvNextPage(call))
			continue;
		found = norikv_call_count(call->call);
		if (found >= COUNT_LIMIT)
			found *= 10;
	}
	NorikvFree(call);
	return found;
}

static bool
needs_estimate(const NorikvTable *table, TimestampTz now)
{
	return table->estimated_rows < 0 || (table->space.size > 0 && !table->index.exists) ||
		   TimestampDifferenceExceeds(table->estimated_at, now, COUNT_AGAIN_MS) ||
		   table->estimated_for == NULL ||
		   strcmp(table->estimated_for, norikv_tenant) != 0;
}

/* With what it is for: the table has other rows for another tenant. */
void
NorikvNoteEstimate(NorikvTable *table, double rows)
{
	char *tenant = MemoryContextStrdup(table->context, norikv_tenant);

	if (table->estimated_for != NULL)
		pfree(table->estimated_for);
	table->estimated_for = tenant;
	table->estimated_rows = rows;
	table->estimated_at = GetCurrentTimestamp();
}

void
NorikvRefreshEstimate(PlannerInfo *root, RelOptInfo *baserel, NorikvTable *table)
{
	TimestampTz now = GetCurrentTimestamp();
	NorikvConnection *connection;

	if (!needs_estimate(table, now))
		return;
	connection = NorikvGetTableConnection(table->serverid, user_of(root, baserel));
	if (table->space.size == 0)
		NorikvNoteEstimate(table, count_keys(connection, table));
	else if (!NorikvAskForIndex(table, connection, false))
		NorikvNoteEstimate(table, DEFAULT_ROWS);
}

double
NorikvTableRows(PlannerInfo *root, RelOptInfo *baserel, NorikvTable *table)
{
	/* Zero is what relations that were never analyzed had before 14. */
	if (baserel->tuples > 0)
		return baserel->tuples;
	NorikvRefreshEstimate(root, baserel, table);
	return Max(table->estimated_rows, 1);
}

void
NorikvCostKeys(const NorikvTable *table, bool by_name, double keys, Cost *startup_cost,
			   Cost *total_cost)
{
	*startup_cost = ROUND_TRIP_COST;
	if (table->space.size > 0 && !by_name)
	{
		/* A stream, which takes a server longer than a search of few vectors does. */
		*startup_cost += STREAM_COST;
		/* Or ids are listed, by a search of all, and then asked for by name. */
		if (!table->index.scannable)
			*startup_cost += table->index.vectors * LISTED_ID_COST;
		by_name = !table->index.scannable;
	}
	*total_cost =
		*startup_cost + keys * (by_name && keys > 1 ? NAMED_KEY_COST : RANGE_KEY_COST);
}

/* ---- Distinct values ---- */

static get_relation_stats_hook_type next_stats_hook;

/*
 * No two rows have one key. PostgreSQL learns that of local tables from their
 * unique indexes; without it a join on the key would seem to have a row for every
 * two hundredth pair of rows.
 */
static bool
tell_of_key(PlannerInfo *root, RangeTblEntry *rte, AttrNumber attnum,
			VariableStatData *variable)
{
	const RelOptInfo *rel = variable->rel;

	if (rel != NULL && rel->fdwroutine != NULL && rel->fdw_private != NULL &&
		rel->fdwroutine->GetForeignRelSize == NorikvGetForeignRelSize &&
		((const NorikvRelation *) rel->fdw_private)->table->key_attnum == attnum)
		variable->isunique = true;
	return next_stats_hook != NULL && next_stats_hook(root, rte, attnum, variable);
}

void
NorikvEstimateInit(void)
{
	next_stats_hook = get_relation_stats_hook;
	get_relation_stats_hook = tell_of_key;
}
