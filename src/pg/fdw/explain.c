/*
 * explain.c - what EXPLAIN says of a foreign scan: what the server is asked for,
 * and with ANALYZE what that took.
 */
#include "fdw/source.h"
#include "fdw/vector_table.h"

#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif
#include "foreign/foreign.h"
#include "nodes/makefuncs.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

static bool
names_keys(List *kinds)
{
	return list_member_int(kinds, NORIKV_CONDITION_EQUAL) ||
		   list_member_int(kinds, NORIKV_CONDITION_ANY);
}

static const char *
strategy_of(int flags, List *kinds)
{
	bool counts = (flags & NORIKV_PLAN_COUNT) != 0;

	if (flags & NORIKV_PLAN_NEAREST)
		return "Vector Search";
	if (names_keys(kinds))
		return counts ? "Count by Key" : "Lookup by Key";
	if (kinds != NIL)
		return counts ? "Count Range" : "Range Scan";
	return counts ? "Count All" : "Full Scan";
}

static char *
deparse(ForeignScanState *node, Node *expression, ExplainState *es)
{
	bool use_prefix = es->verbose || list_length(es->rtable) > 1;
	List *context = set_deparse_context_plan(es->deparse_cxt, node->ss.ps.plan, NIL);

	return deparse_expression(expression, context, use_prefix, false);
}

/* A count has no columns in its plan: its conditions are kept apart. */
static void
show_conditions(ForeignScanState *node, List *counted, ExplainState *es)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	char *shown;

	if (counted != NIL)
	{
		Oid relid = NorikvScanTable(node)->relid;

		shown = deparse_expression((Node *) make_ands_explicit(counted),
								   deparse_context_for(get_rel_name(relid), relid), false,
								   false);
	}
	else if (plan->fdw_recheck_quals != NIL)
		shown = deparse(node, (Node *) make_ands_explicit(plan->fdw_recheck_quals), es);
	else
		return;
	ExplainPropertyText("Key Condition", shown, es);
}

/* How many keys one request asks for; EXPLAIN alone opens no connection. */
static void
show_batch(ForeignScanState *node, List *kinds, ExplainState *es)
{
	NorikvSettings settings;
	const NorikvTable *table = NorikvScanTable(node);
	int size = table->fetch_size;

	if (!list_member_int(kinds, NORIKV_CONDITION_ANY))
		return;
	if (size == 0)
	{
		NorikvLoadSettings(&settings, GetForeignServer(table->serverid)->options, NIL);
		size = settings.fetch_size;
	}
	ExplainPropertyInteger("Batch Size", NULL, size, es);
}

/* The LIMIT's count and offset, where the server is told. */
static void
show_limit(ForeignScanState *node, int flags, int n_conditions, ExplainState *es)
{
	List *operands = ((ForeignScan *) node->ss.ps.plan)->fdw_exprs;
	char *limit;

	if (!(flags & NORIKV_PLAN_LIMIT))
		return;
	limit = deparse(node, list_nth(operands, n_conditions), es);
	if (flags & NORIKV_PLAN_OFFSET)
		limit = psprintf("%s + %s", limit,
						 deparse(node, list_nth(operands, n_conditions + 1), es));
	ExplainPropertyText("Key Limit", limit, es);
}

/* The order of distances, or why the index is not asked for it. */
static void
show_distance(ForeignScanState *node, int flags, List *vector, ExplainState *es)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	const char *obstacle;

	if (vector == NIL)
		return;
	obstacle = strVal(list_nth(vector, NORIKV_VECTOR_OBSTACLE));
	if (flags & NORIKV_PLAN_NEAREST)
	{
		ExplainPropertyText("Nearest To", deparse(node, llast(plan->fdw_exprs), es), es);
		ExplainPropertyText(
			"Distance",
			NorikvDistanceName(intVal(list_nth(vector, NORIKV_VECTOR_DISTANCE))), es);
	}
	else if (obstacle[0] != '\0')
		ExplainPropertyText("No Vector Search", obstacle, es);
}

void
NorikvExplainWork(const NorikvSourceStats *stats, int64 skipped, bool by_name,
				  ExplainState *es)
{
	ExplainPropertyInteger("Round Trips", NULL, stats->round_trips, es);
	if (by_name)
		ExplainPropertyInteger("Keys Asked", NULL, stats->keys_asked, es);
	ExplainPropertyInteger("Keys Found", NULL, stats->keys_found, es);
	ExplainPropertyInteger("Bytes Sent", NULL, stats->bytes_sent, es);
	ExplainPropertyInteger("Bytes Received", NULL, stats->bytes_received, es);
	if (skipped > 0)
		ExplainPropertyInteger("Rows Skipped", NULL, skipped, es);
}

void
NorikvExplainForeignScan(ForeignScanState *node, ExplainState *es)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	int flags = intVal(list_nth(plan->fdw_private, NORIKV_PRIVATE_FLAGS));
	List *kinds = list_nth(plan->fdw_private, NORIKV_PRIVATE_KINDS);

	/* Of a count PostgreSQL does not know what it is over. */
	if (flags & NORIKV_PLAN_COUNT)
		ExplainPropertyText("Foreign Table", NorikvScanTable(node)->name, es);
	ExplainPropertyText("Strategy", strategy_of(flags, kinds), es);
	show_conditions(node, list_nth(plan->fdw_private, NORIKV_PRIVATE_COUNTED), es);
	if (flags & NORIKV_PLAN_ORDERED)
		ExplainPropertyText("Key Order",
							flags & NORIKV_PLAN_REVERSE ? "descending" : "ascending", es);
	show_distance(node, flags, list_nth(plan->fdw_private, NORIKV_PRIVATE_VECTOR), es);
	show_limit(node, flags, list_length(kinds), es);
	show_batch(node, kinds, es);
	if (es->analyze)
	{
		NorikvSourceStats stats = NorikvScanStats(node);

		NorikvExplainWork(&stats, NorikvScanSkipped(node), names_keys(kinds), es);
	}
}
