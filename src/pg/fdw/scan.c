/*
 * scan.c - execution of a foreign scan.
 *
 * A scan whose operands are known when the plan starts sends its first request
 * then, so that several servers in one plan work at the same time.
 */
#include "fdw/source.h"
#include "fdw/vector_table.h"

#include <math.h>

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
	ExprState *query;		 /* the vector that the rows' distances are from; NULL: none */
	Oid query_type;
	norikv_distance distance; /* of which kind they are */
	int first_page;
	NorikvVector query_vector; /* without values: there are no distances */
	NorikvNearest *nearest;	   /* NULL: rows come from source */
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
	if (scan->flags & NORIKV_PLAN_QUERY)
		scan->query = llast(states);
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
	scan->source.keys_only = !NorikvDecoderNeedsValues(scan->decoder) &&
							 (scan->flags & NORIKV_PLAN_DISTANCE) == 0;
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

/* ---- Distances ---- */

/*
 * The vector that the query is ordered by. None where it is NULL, or is zero and cosines
 * are asked for: then no row has a distance, and any order is right.
 */
static void
evaluate_query(NorikvScan *scan, ExprContext *context)
{
	NorikvVector vector;
	bool is_null;
	Datum value;
	float *copy;

	scan->query_vector = (NorikvVector){0, NULL};
	if (scan->query == NULL)
		return;
	value = ExecEvalExpr(scan->query, context, &is_null);
	if (is_null)
		return;
	vector = NorikvVectorFromDatum(value, scan->query_type, "the vector to order by");
	if (scan->distance == NORIKV_COSINE &&
		isnan(NorikvCosineDistance(vector, vector)))
		return;
	copy = palloc(sizeof(float) * vector.dimensions);
	memcpy(copy, vector.values, sizeof(float) * vector.dimensions);
	scan->query_vector = (NorikvVector){vector.dimensions, copy};
}

static void
start_nearest(NorikvScan *scan, int64 rows)
{
	scan->nearest = palloc0(sizeof(NorikvNearest));
	scan->nearest->table = scan->table;
	scan->nearest->connection = scan->source.connection;
	scan->nearest->query = scan->query_vector;
	scan->nearest->distance = scan->distance;
	scan->nearest->curcid = scan->source.curcid;
	scan->nearest->first_page = rows > 0 ? Min(rows, PG_INT32_MAX) : scan->first_page;
	scan->nearest->keys_only = scan->source.keys_only;
	scan->nearest->stats = &scan->stats;
	NorikvNearestStart(scan->nearest);
}

/* Of an entry that the source has, as its answer does not say it. */
static float
measure(const NorikvScan *scan, const norikv_entry *entry)
{
	NorikvVector vector = NorikvVectorOfValue(entry->value);

	if (vector.dimensions != scan->query_vector.dimensions)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("vectors must have the same number of dimensions, but they have "
					   "%d and %d", vector.dimensions, scan->query_vector.dimensions));
	return NorikvVectorDistance(scan->distance, vector, scan->query_vector);
}

static const norikv_entry *
next_entry(NorikvScan *scan, float *distance)
{
	const norikv_entry *entry;

	if (scan->nearest != NULL)
		return NorikvNearestNext(scan->nearest, distance);
	entry = NorikvSourceNext(&scan->source);
	if (entry != NULL && scan->query_vector.values != NULL &&
		(scan->flags & NORIKV_PLAN_DISTANCE) != 0)
		*distance = measure(scan, entry);
	return entry;
}

static bool
has_distances(const NorikvScan *scan)
{
	return scan->table->distance_attnum > 0 && scan->query_vector.values != NULL;
}

/* The decoder knows what an entry says, and its distance is not in it. */
static void
store_distance(const NorikvScan *scan, float distance, TupleTableSlot *slot)
{
	int i = scan->table->distance_attnum - 1;

	if (!has_distances(scan))
		return;
	slot->tts_values[i] = Float4GetDatum(distance);
	slot->tts_isnull[i] = false;
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
	scan->keys.max_key = NorikvTableMaxKey(scan->table, scan->source.connection);
	scan->source.keys = &scan->keys;
	scan->nearest = NULL;
	NorikvEvaluateConditions(scan->table, scan->kinds, scan->types, scan->operands,
							 context, &scan->keys);
	rows = wanted_rows(scan, context);
	scan->keys.empty |= rows < 0;
	scan->source.max_rows = Max(rows, 0);
	scan->source.curcid = node->ss.ps.state->es_snapshot->curcid;
	evaluate_query(scan, context);
	if ((scan->flags & NORIKV_PLAN_NEAREST) && scan->query_vector.values != NULL &&
		!scan->keys.empty)
		start_nearest(scan, rows);
	else if (!(scan->flags & NORIKV_PLAN_COUNT))
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

static void
end_entries(NorikvScan *scan)
{
	NorikvSourceEnd(&scan->source);
	if (scan->nearest != NULL)
		NorikvNearestEnd(scan->nearest);
}

static void
take_vector_plan(NorikvScan *scan, List *private)
{
	if (private == NIL)
		return;
	scan->distance = intVal(list_nth(private, NORIKV_VECTOR_DISTANCE));
	scan->query_type = linitial_oid(list_nth(private, NORIKV_VECTOR_TYPE));
	scan->first_page = intVal(list_nth(private, NORIKV_VECTOR_PAGE));
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
	take_vector_plan(scan, list_nth(plan->fdw_private, NORIKV_PRIVATE_VECTOR));
	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;

	init_operands(scan, node, plan);
	scan->source.connection =
		NorikvGetTableConnection(scan->table->serverid, user_of(node, rti));
	scan->source.table = scan->table;
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
	float distance = 0;

	if (!scan->started)
		start(scan, node);
	scan->touched = true;
	if (scan->flags & NORIKV_PLAN_COUNT)
		return count(scan, slot);
	while (!scan->ended && (entry = next_entry(scan, &distance)) != NULL)
	{
		if (!NorikvDecode(scan->decoder, entry, slot))
		{
			/* The executor does that between rows; this one it never sees. */
			ResetExprContext(node->ss.ps.ps_ExprContext);
			continue;
		}
		if (scan->rows != NULL)
			NorikvRowStoreAdd(scan->rows, entry, has_distances(scan) ? &distance : NULL,
							  &slot->tts_tid);
		store_distance(scan, distance, slot);
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
	end_entries(scan);
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
	end_entries(scan);
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
	if (scan->nearest != NULL)
		NorikvNearestAddStats(scan->nearest, &stats);
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
