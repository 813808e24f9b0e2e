/*
 * lookup_join_exec.c - execution of a lookup join.
 *
 * The outer plan is read in batches; the keys of a batch are asked for in one round
 * trip, each once. A key has one row at most, so that an outer row leads to one
 * joined row at most, in the order of the outer rows.
 */
#include "fdw/lookup_join.h"

#include "access/sysattr.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* How much larger than the one before a batch is, until they have their full size. */
#define BATCH_GROWTH 4

/* ---- The tuple that expressions see ---- */

static void
load_outer(NorikvLookupJoinState *state, TupleTableSlot *outer)
{
	TupleTableSlot *slot = state->css.ss.ss_ScanTupleSlot;
	int n_all = slot->tts_tupleDescriptor->natts;

	slot_getallattrs(outer);
	ExecClearTuple(slot);
	memcpy(slot->tts_values, outer->tts_values, sizeof(Datum) * state->n_outer);
	memcpy(slot->tts_isnull, outer->tts_isnull, sizeof(bool) * state->n_outer);
	memset(slot->tts_isnull + state->n_outer, true,
		   sizeof(bool) * (n_all - state->n_outer));
	ExecStoreVirtualTuple(slot);
}

static void
unload_foreign(NorikvLookupJoinState *state)
{
	TupleTableSlot *slot = state->css.ss.ss_ScanTupleSlot;

	memset(slot->tts_isnull + state->n_outer, true,
		   sizeof(bool) * (state->n_columns + state->n_computed));
}

static Datum
column_of(TupleTableSlot *foreign, AttrNumber attnum, bool *is_null)
{
	*is_null = false;
	switch (attnum)
	{
		case InvalidAttrNumber:
			return ExecFetchSlotHeapTupleDatum(foreign);
		case SelfItemPointerAttributeNumber:
			return PointerGetDatum(&foreign->tts_tid);
		case TableOidAttributeNumber:
			return ObjectIdGetDatum(foreign->tts_tableOid);
		default:
			*is_null = foreign->tts_isnull[attnum - 1];
			return foreign->tts_values[attnum - 1];
	}
}

/* What is made for it is in the memory of the joined row. */
static void
load_foreign(NorikvLookupJoinState *state, TupleTableSlot *foreign)
{
	ExprContext *context = state->css.ss.ps.ps_ExprContext;
	TupleTableSlot *slot = state->css.ss.ss_ScanTupleSlot;
	MemoryContext old_context = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
	int at = state->n_outer;

	slot_getallattrs(foreign);
	for (int i = 0; i < state->n_columns; i++, at++)
		slot->tts_values[at] =
			column_of(foreign, state->attnums[i], &slot->tts_isnull[at]);
	for (int i = 0; i < state->n_computed; i++, at++)
		slot->tts_values[at] =
			ExecEvalExpr(state->computed[i], context, &slot->tts_isnull[at]);
	MemoryContextSwitchTo(old_context);
}

/* ---- Batches ---- */

/* The number of the outer row's key; -1: no key can be equal. */
static int
key_of_outer(NorikvLookupJoinState *state, TupleTableSlot *outer)
{
	ExprContext *context = state->css.ss.ps.ps_ExprContext;
	norikv_slice key;
	bool is_null;
	Datum value;

	ResetExprContext(context);
	load_outer(state, outer);
	value = ExecEvalExprSwitchContext(state->operand, context, &is_null);
	if (is_null || !NorikvKeyOfCondition(state->table, value, state->operand_type,
										 NorikvTableMaxKey(state->table, state->connection),
										 &key))
		return -1;
	return NorikvKeyBatchAdd(state->keys, key);
}

/* Reads outer rows into the memory of the batch, as many as it takes. */
static void
collect_rows(NorikvLookupJoinState *state)
{
	PlanState *outer_plan = linitial(state->css.custom_ps);
	bool needs_match = state->jointype == JOIN_INNER || state->jointype == JOIN_SEMI;
	Size limit = work_mem * (Size) 1024;

	state->n_rows = state->next_row = 0;
	while (state->n_rows < state->wanted_rows)
	{
		TupleTableSlot *outer = ExecProcNode(outer_plan);
		MemoryContext old_context;
		int key;

		CHECK_FOR_INTERRUPTS();
		if (TupIsNull(outer))
		{
			state->outer_ended = true;
			return;
		}
		old_context = MemoryContextSwitchTo(state->context);
		key = key_of_outer(state, outer);
		if (key >= 0 || !needs_match)
			state->rows[state->n_rows++] =
				(NorikvOuterRow){ExecCopySlotMinimalTuple(outer), key};
		MemoryContextSwitchTo(old_context);
		if (MemoryContextMemAllocated(state->context, true) > limit)
			return;
	}
}

static void
end_batch(NorikvLookupJoinState *state)
{
	if (state->keys != NULL)
		NorikvKeyBatchEnd(state->keys);
	state->keys = NULL;
	state->n_rows = state->next_row = 0;
	if (state->context != NULL)
		MemoryContextReset(state->context);
}

/*
 * The next batch has more rows until it has all it may have; less where what came
 * back was too much for the memory.
 */
static void
size_next_batch(NorikvLookupJoinState *state, uint64 received)
{
	uint64 limit = work_mem * (uint64) 1024;

	if (received > limit)
		state->wanted_rows = Max(state->wanted_rows / (received / limit + 1), 1);
	else if (received * BATCH_GROWTH <= limit)
		state->wanted_rows *= BATCH_GROWTH;
	state->wanted_rows = Min(state->wanted_rows, state->batch_size);
}

/* False where there are no more outer rows. */
static bool
next_batch(NorikvLookupJoinState *state)
{
	uint64 received = state->stats.bytes_received;

	if (state->keys != NULL)
	{
		end_batch(state);
		size_next_batch(state, state->stats.bytes_received - received);
	}
	if (state->outer_ended)
		return false;
	state->keys = NorikvKeyBatchMake(state->connection, state->table->space, state->context);
	collect_rows(state);
	if (state->n_rows == 0)
		return false;
	NorikvKeyBatchFetch(state->keys, state->css.ss.ps.state->es_snapshot->curcid,
						&state->stats);
	state->batches++;
	return true;
}

/* ---- Rows ---- */

/* Whether the foreign row of the key is there, and holds the conditions. */
static bool
match(NorikvLookupJoinState *state, int key)
{
	ExprContext *context = state->css.ss.ps.ps_ExprContext;
	TupleTableSlot *foreign = state->foreign_slot;
	MemoryContext old_context;
	norikv_entry entry;
	bool decoded;

	if (key < 0 || !NorikvKeyBatchFind(state->keys, key, &entry))
		return false;
	old_context = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
	decoded = NorikvDecode(state->decoder, &entry, foreign);
	MemoryContextSwitchTo(old_context);
	if (!decoded)
		return false;
	if (state->numbered != NULL)
		NorikvRowStoreAdd(state->numbered, &entry, NULL, &foreign->tts_tid);
	load_foreign(state, foreign);
	if (ExecQual(state->filter, context))
		return true;
	state->filtered++;
	return false;
}

/* The joined row, where the outer one leads to one; NULL where not. */
static TupleTableSlot *
join_row(NorikvLookupJoinState *state, bool matched)
{
	ScanState *ss = &state->css.ss;

	if ((state->jointype == JOIN_INNER || state->jointype == JOIN_SEMI) && !matched)
		return NULL;
	if (state->jointype == JOIN_ANTI && matched)
		return NULL;
	if (!matched)
		unload_foreign(state);
	if (ss->ps.qual != NULL && !ExecQual(ss->ps.qual, ss->ps.ps_ExprContext))
	{
		InstrCountFiltered1(ss, 1);
		return NULL;
	}
	return ss->ps.ps_ProjInfo == NULL ? ss->ss_ScanTupleSlot
									  : ExecProject(ss->ps.ps_ProjInfo);
}

/* ---- A second look at rows that another session changed ---- */

/* Whether the foreign row of this look is given, as the statement has seen it. */
static bool
has_given_row(NorikvLookupJoinState *state)
{
	EPQState *epq = state->css.ss.ps.state->es_epq_active;

	return epq != NULL && (epq->relsubs_done[state->rti - 1] ||
						   epq->relsubs_slot[state->rti - 1] != NULL ||
						   epq->relsubs_rowmark[state->rti - 1] != NULL);
}

/* It; NULL where there is none: the outer row had no match then. */
static TupleTableSlot *
given_row(NorikvLookupJoinState *state)
{
	EPQState *epq = state->css.ss.ps.state->es_epq_active;
	Index at = state->rti - 1;
	TupleTableSlot *slot = epq->relsubs_slot[at];

	if (epq->relsubs_done[at])
		return NULL;
	if (slot == NULL)
	{
		slot = state->foreign_slot;
		if (!EvalPlanQualFetchRowMark(epq, state->rti, slot))
			return NULL;
	}
	return TupIsNull(slot) ? NULL : slot;
}

static bool
match_given(NorikvLookupJoinState *state)
{
	ExprContext *context = state->css.ss.ps.ps_ExprContext;
	TupleTableSlot *foreign = given_row(state);

	if (foreign == NULL)
		return false;
	load_foreign(state, foreign);
	return ExecQual(state->key_condition, context) && ExecQual(state->filter, context);
}

/* The outer plan returns the rows of this look, and none is asked for. */
static TupleTableSlot *
next_given(NorikvLookupJoinState *state)
{
	for (;;)
	{
		TupleTableSlot *outer = NULL;
		TupleTableSlot *joined;

		if (!state->outer_ended)
			outer = ExecProcNode(linitial(state->css.custom_ps));
		if (TupIsNull(outer))
		{
			state->outer_ended = true;
			return NULL;
		}
		ResetExprContext(state->css.ss.ps.ps_ExprContext);
		load_outer(state, outer);
		joined = join_row(state, match_given(state));
		if (joined != NULL)
			return joined;
	}
}

/* ---- The node ---- */

static TupleTableSlot *
exec_lookup_join(CustomScanState *node)
{
	NorikvLookupJoinState *state = (NorikvLookupJoinState *) node;

	if (has_given_row(state))
		return next_given(state);
	for (;;)
	{
		const NorikvOuterRow *row;
		TupleTableSlot *joined;

		CHECK_FOR_INTERRUPTS();
		ResetExprContext(node->ss.ps.ps_ExprContext);
		if (state->next_row == state->n_rows)
		{
			if (!next_batch(state))
				return NULL;
			continue;
		}
		row = &state->rows[state->next_row++];
		ExecStoreMinimalTuple(row->tuple, state->outer_slot, false);
		load_outer(state, state->outer_slot);
		joined = join_row(state, match(state, row->key));
		if (joined != NULL)
			return joined;
	}
}

/* Of each foreign column of the tuple that expressions see, its number. */
static void
init_columns(NorikvLookupJoinState *state, CustomScan *plan)
{
	int n_all = list_length(plan->custom_scan_tlist);

	state->attnums = palloc(sizeof(AttrNumber) * (n_all - state->n_outer));
	for (int i = state->n_outer; i < n_all; i++)
	{
		TargetEntry *entry = list_nth(plan->custom_scan_tlist, i);
		Var *column = (Var *) entry->expr;

		/* The computed ones come last. */
		if (!IsA(column, Var) || column->varno != state->rti)
			break;
		state->attnums[state->n_columns++] = column->varattno;
	}
	state->n_computed = n_all - state->n_outer - state->n_columns;
}

static void
init_expressions(NorikvLookupJoinState *state, CustomScan *plan)
{
	PlanState *parent = &state->css.ss.ps;
	int n_filters = list_nth_int(plan->custom_private, NORIKV_LOOKUP_FILTERS);
	List *filters = list_copy_tail(plan->custom_exprs, NORIKV_LOOKUP_FIRST_FILTER);
	List *computed = list_copy_tail(filters, n_filters);

	filters = list_truncate(filters, n_filters);
	state->operand =
		ExecInitExpr(list_nth(plan->custom_exprs, NORIKV_LOOKUP_OPERAND), parent);
	state->key_condition = ExecInitQual(
		list_make1(list_nth(plan->custom_exprs, NORIKV_LOOKUP_KEY_CONDITION)), parent);
	state->filter = ExecInitQual(filters, parent);
	state->computed = palloc(sizeof(ExprState *) * (state->n_computed + 1));
	for (int i = 0; i < state->n_computed; i++)
		state->computed[i] = ExecInitExpr(list_nth(computed, i), parent);
}

static void
init_reading(NorikvLookupJoinState *state, Relation relation, Oid user)
{
	EState *estate = state->css.ss.ps.state;
	Bitmapset *members = NULL;

	state->connection = NorikvGetTableConnection(state->table->serverid,
												 OidIsValid(user) ? user : GetUserId());
	for (int i = 0; i < state->n_columns; i++)
	{
		/* That of the key is there for its number; nobody may want it. */
		members = bms_add_member(members,
								 state->attnums[i] - FirstLowInvalidHeapAttributeNumber);
		if (state->attnums[i] == SelfItemPointerAttributeNumber)
			state->numbered = NorikvRowStoreOpen(estate, state->rti,
												 state->connection);
	}
	state->decoder = NorikvMakeDecoder(state->table, state->connection,
									   RelationGetDescr(relation), members, false);
	state->foreign_slot->tts_tableOid = RelationGetRelid(relation);
	state->context = AllocSetContextCreate(CurrentMemoryContext, "norikv lookup join",
										   ALLOCSET_DEFAULT_SIZES);
	state->rows = palloc(sizeof(NorikvOuterRow) * state->batch_size);
	state->wanted_rows = state->first_batch;
}

static void
begin_lookup_join(CustomScanState *node, EState *estate, int eflags)
{
	NorikvLookupJoinState *state = (NorikvLookupJoinState *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	PlanState *outer_plan;
	Relation relation;

	/* Neither backwards nor back to a mark: that is not promised. */
	outer_plan = ExecInitNode(linitial(plan->custom_plans), estate,
							  eflags & ~(EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK));
	node->custom_ps = list_make1(outer_plan);
	node->ss.ps.ps_ExprContext->ecxt_scantuple = node->ss.ss_ScanTupleSlot;
	init_columns(state, plan);
	init_expressions(state, plan);
	relation = ExecOpenScanRelation(estate, state->rti, eflags);
	state->table = NorikvOpenTable(relation);
	state->outer_slot = ExecInitExtraTupleSlot(estate, ExecGetResultType(outer_plan),
											   &TTSOpsMinimalTuple);
	state->foreign_slot =
		ExecInitExtraTupleSlot(estate, RelationGetDescr(relation), &TTSOpsVirtual);
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		init_reading(state, relation,
					 (Oid) list_nth_int(plan->custom_private, NORIKV_LOOKUP_USER));
}

static void
rescan_lookup_join(CustomScanState *node)
{
	NorikvLookupJoinState *state = (NorikvLookupJoinState *) node;
	PlanState *outer_plan = linitial(node->custom_ps);

	end_batch(state);
	state->outer_ended = false;
	state->wanted_rows = state->first_batch;
	if (node->ss.ps.chgParam != NULL)
		UpdateChangedParamSet(outer_plan, node->ss.ps.chgParam);
	if (outer_plan->chgParam == NULL)
		ExecReScan(outer_plan);
}

static void
end_lookup_join(CustomScanState *node)
{
	NorikvLookupJoinState *state = (NorikvLookupJoinState *) node;

	end_batch(state);
	if (state->numbered != NULL)
		NorikvRowStoreClose(state->numbered);
	if (state->decoder != NULL)
		NorikvReportSkipped(state->decoder);
	ExecEndNode(linitial(node->custom_ps));
}

/* ---- The provider ---- */

static const CustomExecMethods exec_methods = {
	.CustomName = "NorikvLookupJoin",
	.BeginCustomScan = begin_lookup_join,
	.ExecCustomScan = exec_lookup_join,
	.EndCustomScan = end_lookup_join,
	.ReScanCustomScan = rescan_lookup_join,
	.ExplainCustomScan = NorikvExplainLookupJoin,
};

static Node *
create_lookup_join_state(CustomScan *plan)
{
	NorikvLookupJoinState *state = palloc0(sizeof(NorikvLookupJoinState));
	List *private = plan->custom_private;
	TargetEntry *key;

	NodeSetTag(state, T_CustomScanState);
	state->css.methods = &exec_methods;
	state->jointype = list_nth_int(private, NORIKV_LOOKUP_JOIN_TYPE);
	state->n_outer = list_nth_int(private, NORIKV_LOOKUP_OUTER);
	state->batch_size = list_nth_int(private, NORIKV_LOOKUP_BATCH);
	state->first_batch = list_nth_int(private, NORIKV_LOOKUP_FIRST_BATCH);
	state->operand_type = (Oid) list_nth_int(private, NORIKV_LOOKUP_OPERAND_TYPE);
	key = list_nth(plan->custom_scan_tlist, state->n_outer);
	state->rti = castNode(Var, key->expr)->varno;
	return (Node *) state;
}

const CustomScanMethods norikv_lookup_join_methods = {
	.CustomName = "NorikvLookupJoin",
	.CreateCustomScanState = create_lookup_join_state,
};
