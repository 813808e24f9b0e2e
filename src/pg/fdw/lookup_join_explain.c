/*
 * lookup_join_explain.c - what EXPLAIN says of a lookup join: the table and the
 * conditions, and with ANALYZE what the lookups took.
 */
#include "fdw/lookup_join.h"

#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

static const char *
name_of_jointype(JoinType jointype)
{
	switch (jointype)
	{
		case JOIN_LEFT:
			return "Left";
		case JOIN_SEMI:
			return "Semi";
		case JOIN_ANTI:
			return "Anti";
		default:
			return "Inner";
	}
}

static void
show_table(NorikvLookupJoinState *state, ExplainState *es)
{
	Oid relid = state->table->relid;
	const char *name = quote_identifier(state->table->name);
	const char *alias = list_nth(es->rtable_names, state->rti - 1);

	if (es->verbose)
		name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
										  state->table->name);
	if (alias != NULL && strcmp(alias, state->table->name) != 0)
		name = psprintf("%s %s", name, quote_identifier(alias));
	ExplainPropertyText("Foreign Table", name, es);
}

static void
show_condition(CustomScanState *node, List *ancestors, const char *label,
			   List *conditions, ExplainState *es)
{
	List *context;

	if (conditions == NIL)
		return;
	context = set_deparse_context_plan(es->deparse_cxt, node->ss.ps.plan, ancestors);
	ExplainPropertyText(
		label,
		deparse_expression((Node *) make_ands_explicit(conditions), context, true, false),
		es);
}

static void
show_work(NorikvLookupJoinState *state, ExplainState *es)
{
	NorikvSourceStats stats = state->stats;

	/* Some nodes never come to run. */
	if (state->decoder == NULL)
		return;
	if (state->keys != NULL)
		NorikvKeyBatchAddStats(state->keys, &stats);
	ExplainPropertyInteger("Batches", NULL, state->batches, es);
	NorikvExplainWork(&stats, NorikvDecoderSkipped(state->decoder), true, es);
}

void
NorikvExplainLookupJoin(CustomScanState *node, List *ancestors, ExplainState *es)
{
	NorikvLookupJoinState *state = (NorikvLookupJoinState *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	int n_filters = list_nth_int(plan->custom_private, NORIKV_LOOKUP_FILTERS);
	List *filters = list_copy_tail(plan->custom_exprs, NORIKV_LOOKUP_FIRST_FILTER);

	ExplainPropertyText("Join Type", name_of_jointype(state->jointype), es);
	show_table(state, es);
	show_condition(node, ancestors, "Key Condition",
				   list_make1(list_nth(plan->custom_exprs, NORIKV_LOOKUP_KEY_CONDITION)),
				   es);
	show_condition(node, ancestors, "Join Filter", list_truncate(filters, n_filters), es);
	if (es->analyze && state->filtered > 0)
		ExplainPropertyInteger("Rows Removed by Join Filter", NULL, state->filtered, es);
	ExplainPropertyInteger("Batch Size", NULL, state->batch_size, es);
	if (es->analyze)
		show_work(state, es);
}
