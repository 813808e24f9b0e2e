/*
 * scan.c - execution of a foreign scan.
 *
 * A scan whose operands are known when the plan starts sends its first request
 * then, so that several servers in one plan work at the same time.
 */
#include "fdw/source.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

typedef struct NorikvScan
{
	NorikvTable *table;
	int flags; /* of plan.c */
	List *kinds;
	List *types;
	List *operands; /* ExprStates of the conditions' operands */
	ExprState *limit;
	ExprState *offset;
	NorikvDecoder *decoder; /* NULL: rows are counted only */
	NorikvRowStore *rows;	/* NULL: they need no numbers */
	MemoryContext context;	/* of what is read, from one rescan to the next */
	NorikvKeySet keys;
	NorikvSource source;
	bool started;
	bool touched; /* something was taken from the source */
	bool ended;
	NorikvSourceStats stats;
} NorikvScan;

/* ---- Setting up ---- */

static Oid
user_of(ForeignScanState *node, Index rti)
{
	Oid userid;

#if PG_VERSION_NUM >= 160000
	userid = ((ForeignScan *) node->ss.ps.plan)->checkAsUser;
#else
	userid = exec_rt_fetch(rti, node->ss.ps.state)->checkAsUser;
#endif
	return OidIsValid(userid) ? userid : GetUserId();
}

/* Of the one foreign table: a count has no relation of its own. */
static Index
range_table_index(const ForeignScan *plan)
{
	if (plan->scan.scanrelid > 0)
		return plan->scan.scanrelid;
#if PG_VERSION_NUM >= 160000
	return bms_singleton_member(plan->fs_base_relids);
#else
	return bms_singleton_member(plan->fs_relids);
#endif
}

static void
init_operands(NorikvScan *scan, ForeignScanState *node, const ForeignScan *plan)
{
	List *states = ExecInitExprList(plan->fdw_exprs, &node->ss.ps);
	int n_conditions = list_length(scan->kinds);

	if (scan->flags & NORIKV_PLAN_LIMIT)
		scan->limit = list_nth(states, n_conditions);
	if (scan->flags & NORIKV_PLAN_OFFSET)
		scan->offset = list_nth(states, n_conditions + 1);
	scan->operands = list_truncate(states, n_conditions);
}

static void
init_decoder(NorikvScan *scan, ForeignScanState *node, List *attnums)
{
	Bitmapset *members = NULL;
	ListCell *cell;

	foreach (cell, attnums)
		members = bms_add_member(members,
								 lfirst_int(cell) - FirstLowInvalidHeapAttributeNumber);
	scan->decoder =
		NorikvMakeDecoder(scan->table, scan->source.connection,
						  RelationGetDescr(node->ss.ss_currentRelation), members, false);
	scan->source.keys_only = !NorikvDecoderNeedsValues(scan->decoder);
	scan->source.expiry = (scan->flags & NORIKV_PLAN_NUMBERED) != 0 ||
						  NorikvDecoderNeedsExpiry(scan->decoder);
	if (scan->flags & NORIKV_PLAN_NUMBERED)
	{
		scan->rows = NorikvRowStoreOpen(
			node->ss.ps.state, ((Scan *) node->ss.ps.plan)->scanrelid,
			scan->source.connection);
		if (!(scan->flags & NORIKV_PLAN_VALUELESS))
			scan->source.keys_only = false;
	}
}

static NorikvTable *
open_table(ForeignScanState *node, Index rti)
{
	Relation relation = node->ss.ss_currentRelation;
	NorikvTable *table;

	if (relation != NULL)
		return NorikvOpenTable(relation);
	/* The executor has locked it. */
	relation = table_open(exec_rt_fetch(rti, node->ss.ps.state)->relid, NoLock);
	table = NorikvOpenTable(relation);
	table_close(relation, NoLock);
	return table;
}

/* ---- Reading ---- */

/* How many rows the query wants at most; 0: all of them. -1: none. */
static int64
wanted_rows(NorikvScan *scan, ExprContext *context)
{
	ExprState *states[] = {scan->limit, scan->offset};
	int64 rows = 0;

	if (scan->limit == NULL)
		return 0;
	for (int i = 0; i < lengthof(states); i++)
	{
		bool is_null;
		Datum value;

		if (states[i] == NULL)
			continue;
		value = ExecEvalExpr(states[i], context, &is_null);
		if (is_null && i == 0)
			return 0;
		/* What is negative the Limit node refuses. */
		if (is_null || DatumGetInt64(value) < 0)
			continue;
		if (i == 0 && DatumGetInt64(value) == 0)
			return -1;
		if (pg_add_s64_overflow(rows, DatumGetInt64(value), &rows))
			return 0;
	}
	return rows;
}

/* Evaluates the conditions and, but for a count, sends the first request. */
static void
start(NorikvScan *scan, ForeignScanState *node)
{
	ExprContext *context = node->ss.ps.ps_ExprContext;
	MemoryContext old_context;
	int64 rows;

	MemoryContextReset(scan->context);
	old_context = MemoryContextSwitchTo(scan->context);
	scan->keys.max_key = scan->source.connection->max_key;
	NorikvEvaluateConditions(scan->table, scan->kinds, scan->types, scan->operands,
							 context, &scan->keys);
	rows = wanted_rows(scan, context);
	scan->keys.empty |= rows < 0;
	scan->source.max_rows = Max(rows, 0);
	scan->source.curcid = node->ss.ps.state->es_snapshot->curcid;
	if (!(scan->flags & NORIKV_PLAN_COUNT))
		NorikvSourceStart(&scan->source);
	MemoryContextSwitchTo(old_context);
	scan->started = true;
	scan->touched = false;
	scan->ended = false;
}

static TupleTableSlot *
count(NorikvScan *scan, TupleTableSlot *slot)
{
	uint64 rows;

	ExecClearTuple(slot);
	if (scan->ended)
		return slot;
	rows = NorikvSourceCount(&scan->source);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		slot->tts_values[i] = Int64GetDatum(rows);
		slot->tts_isnull[i] = false;
	}
	scan->ended = true;
	return ExecStoreVirtualTuple(slot);
}

/* ---- The wrapper's routines ---- */

void
NorikvBeginForeignScan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	EState *estate = node->ss.ps.state;
	Index rti = range_table_index(plan);
	NorikvScan *scan = palloc0(sizeof(NorikvScan));

	node->fdw_state = scan;
	scan->table = open_table(node, rti);
	scan->flags = intVal(list_nth(plan->fdw_private, NORIKV_PRIVATE_FLAGS));
	scan->kinds = list_nth(plan->fdw_private, NORIKV_PRIVATE_KINDS);
	scan->types = list_nth(plan->fdw_private, NORIKV_PRIVATE_TYPES);
	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;

	init_operands(scan, node, plan);
	scan->source.connection =
		NorikvGetTableConnection(scan->table->serverid, user_of(node, rti));
	scan->source.keys = &scan->keys;
	scan->source.reverse = (scan->flags & NORIKV_PLAN_REVERSE) != 0;
	scan->source.batch = scan->table->fetch_size > 0
							 ? scan->table->fetch_size
							 : scan->source.connection->settings.fetch_size;
	scan->source.stats = &scan->stats;
	scan->context = AllocSetContextCreate(CurrentMemoryContext, "norikv scan",
										  ALLOCSET_START_SMALL_SIZES);
	if (!(scan->flags & NORIKV_PLAN_COUNT))
		init_decoder(scan, node, list_nth(plan->fdw_private, NORIKV_PRIVATE_ATTNUMS));
	/* A second look at a row that another session changed starts no scan. */
	if ((scan->flags & NORIKV_PLAN_EARLY) && estate->es_epq_active == NULL)
		start(scan, node);
}

TupleTableSlot *
NorikvIterateForeignScan(ForeignScanState *node)
{
	NorikvScan *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	const norikv_entry *entry;

	if (!scan->started)
		start(scan, node);
	scan->touched = true;
	if (scan->flags & NORIKV_PLAN_COUNT)
		return count(scan, slot);
	while (!scan->ended && (entry = NorikvSourceNext(&scan->source)) != NULL)
	{
		if (!NorikvDecode(scan->decoder, entry, slot))
		{
			/* The executor does that between rows; this one it never sees. */
			ResetExprContext(node->ss.ps.ps_ExprContext);
			continue;
		}
		if (scan->rows != NULL)
			NorikvRowStoreAdd(scan->rows, entry, &slot->tts_tid);
		return slot;
	}
	scan->ended = true;
	return ExecClearTuple(slot);
}

void
NorikvReScanForeignScan(ForeignScanState *node)
{
	NorikvScan *scan = node->fdw_state;

	/* Nothing was read of what was asked for early: it still is what is wanted. */
	if (!scan->started || (!scan->touched && (scan->flags & NORIKV_PLAN_EARLY)))
		return;
	NorikvSourceEnd(&scan->source);
	scan->started = false;
	scan->ended = false;
}

void
NorikvEndForeignScan(ForeignScanState *node)
{
	NorikvScan *scan = node->fdw_state;

	/* NULL where BeginForeignScan was not called, or failed. */
	if (scan == NULL)
		return;
	NorikvSourceEnd(&scan->source);
	if (scan->rows != NULL)
		NorikvRowStoreClose(scan->rows);
	if (scan->decoder != NULL)
		NorikvReportSkipped(scan->decoder);
}

NorikvSourceStats
NorikvScanStats(ForeignScanState *node)
{
	const NorikvScan *scan = node->fdw_state;
	NorikvSourceStats stats = scan->stats;

	NorikvSourceAddStats(&scan->source, &stats);
	return stats;
}

int64
NorikvScanSkipped(ForeignScanState *node)
{
	const NorikvScan *scan = node->fdw_state;

	return scan->decoder == NULL ? 0 : NorikvDecoderSkipped(scan->decoder);
}

const NorikvTable *
NorikvScanTable(ForeignScanState *node)
{
	return ((NorikvScan *) node->fdw_state)->table;
}
