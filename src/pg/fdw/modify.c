/*
 * modify.c - what PostgreSQL calls to change foreign tables.
 */
#include "modify.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#endif
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/appendinfo.h"
#include "parser/parsetree.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* What PlanForeignModify hands to BeginForeignModify. */
enum
{
	PRIVATE_DO_NOTHING, /* ON CONFLICT DO NOTHING */
	PRIVATE_ONE_BY_ONE	/* see NorikvModify */
};

/* ---- Planning ---- */

/* The rows' numbers; see rowstore.c. */
#if PG_VERSION_NUM >= 140000
static void
add_update_targets(PlannerInfo *root, Index rtindex, RangeTblEntry *target_rte,
				   Relation target_relation)
{
	Var *var =
		makeVar(rtindex, SelfItemPointerAttributeNumber, TIDOID, -1, InvalidOid, 0);

	add_row_identity_var(root, var, rtindex, "ctid");
}
#else
static void
add_update_targets(Query *parse, RangeTblEntry *target_rte, Relation target_relation)
{
	Var *var = makeVar(parse->resultRelation, SelfItemPointerAttributeNumber, TIDOID, -1,
					   InvalidOid, 0);
	AttrNumber resno = list_length(parse->targetList) + 1;

	parse->targetList = lappend(
		parse->targetList, makeTargetEntry((Expr *) var, resno, pstrdup("ctid"), true));
}
#endif

static bool
has_row_triggers(const TriggerDesc *triggers, CmdType operation)
{
	if (triggers == NULL)
		return false;
	switch (operation)
	{
		case CMD_INSERT:
			return triggers->trig_insert_before_row || triggers->trig_insert_after_row;
		case CMD_UPDATE:
			return triggers->trig_update_before_row || triggers->trig_update_after_row;
		default:
			return false;
	}
}

static List *
plan_modify(PlannerInfo *root, ModifyTable *plan, Index result_relation,
			int subplan_index)
{
	RangeTblEntry *rte = planner_rt_fetch(result_relation, root);
	Relation relation = table_open(rte->relid, NoLock);
	bool do_nothing = plan->onConflictAction == ONCONFLICT_NOTHING;
	/*
	 * The end of a statement is where ExecutorEnd is called, and that comes with
	 * the last row only where the statement is no part of another one and returns
	 * no rows.
	 */
	bool one_by_one = !plan->canSetTag || plan->returningLists != NIL ||
					  has_row_triggers(relation->trigdesc, plan->operation);

	table_close(relation, NoLock);
	return list_make2(makeInteger(do_nothing), makeInteger(one_by_one));
}

static int
is_updatable(Relation relation)
{
	if (!NorikvOpenTable(relation)->updatable)
		return 0;
	return (1 << CMD_INSERT) | (1 << CMD_UPDATE) | (1 << CMD_DELETE);
}

/* ---- Begin ---- */

void
NorikvCheckWritable(const NorikvTable *table, const NorikvConnection *connection,
					const char *command)
{
	if (connection->settings.read_only)
		ereport(ERROR, errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				errmsg("cannot execute %s on foreign table \"%s\" of server \"%s\"",
					   command, table->name, connection->name),
				errdetail("The server has the option \"read_only\"."));
}

int
NorikvBatchSize(const NorikvModify *modify)
{
	if (modify->table->batch_size > 0)
		return modify->table->batch_size;
	return modify->connection->settings.batch_size;
}

/* Of partitions that rows are routed to, the parent's. */
static Oid
modifying_user(const ResultRelInfo *result, EState *estate)
{
	Oid user;

#if PG_VERSION_NUM >= 160000
	user = ExecGetResultRelCheckAsUser((ResultRelInfo *) result, estate);
#else
	if (result->ri_RangeTableIndex == 0)
		result = result->ri_RootResultRelInfo;
	user = exec_rt_fetch(result->ri_RangeTableIndex, estate)->checkAsUser;
#endif
	return OidIsValid(user) ? user : GetUserId();
}

static const char *
command_name(CmdType operation)
{
	return operation == CMD_INSERT	 ? "INSERT"
		   : operation == CMD_UPDATE ? "UPDATE"
									 : "DELETE";
}

static NorikvModify *
begin_modify(EState *estate, ResultRelInfo *result, CmdType operation, CommandId cid,
			 bool do_nothing, bool one_by_one)
{
	NorikvModify *modify = palloc0(sizeof(NorikvModify));
	Relation relation = result->ri_RelationDesc;

	modify->table = NorikvOpenTable(relation);
	modify->connection =
		NorikvGetTableConnection(modify->table->serverid, modifying_user(result, estate));
	NorikvCheckWritable(modify->table, modify->connection, command_name(operation));
	modify->estate = estate;
	modify->result_relation = result;
	modify->operation = operation;
	modify->cid = cid;
	modify->do_nothing = do_nothing;
	modify->one_by_one = one_by_one;
	modify->context = CurrentMemoryContext;
	modify->row_context = AllocSetContextCreate(CurrentMemoryContext, "norikv rows",
												ALLOCSET_DEFAULT_SIZES);
	if (operation != CMD_DELETE)
		modify->encoder = NorikvMakeEncoder(modify->table, RelationGetDescr(relation));
	if (modify->table->immediate)
		modify->outbox = NorikvOutboxCreate(modify);
	else
		modify->buffer = NorikvBufferForWrite(modify->connection, modify->table->space);
	return modify;
}

/* The server gives versions: nobody else does. */
static void
find_updated_columns(NorikvModify *modify)
{
	const NorikvTable *table = modify->table;
	ResultRelInfo *result = modify->result_relation;
	int version = table->version_attnum - FirstLowInvalidHeapAttributeNumber;
	int distance = table->distance_attnum - FirstLowInvalidHeapAttributeNumber;

#if PG_VERSION_NUM >= 140000
	modify->updated = bms_union(ExecGetUpdatedCols(result, modify->estate),
								ExecGetExtraUpdatedCols(result, modify->estate));
#else
	modify->updated =
		bms_copy(exec_rt_fetch(result->ri_RangeTableIndex, modify->estate)->updatedCols);
#endif
	modify->trigger_changes =
		result->ri_TrigDesc != NULL && result->ri_TrigDesc->trig_update_before_row;
	if (table->version_attnum != 0 && bms_is_member(version, modify->updated))
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("cannot set column \"%s\" of foreign table \"%s\"",
					   table->columns[table->version_attnum - 1].name, table->name),
				errdetail("It shows the version of the key, which the server gives."));
	if (table->distance_attnum != 0 && bms_is_member(distance, modify->updated))
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("cannot set column \"%s\" of foreign table \"%s\"",
					   table->columns[table->distance_attnum - 1].name, table->name),
				errdetail("It shows how far the vector is from that of the query."));
}

static void
begin_foreign_modify(ModifyTableState *state, ResultRelInfo *result, List *private,
					 int subplan_index, int eflags)
{
	NorikvModify *modify;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	modify = begin_modify(state->ps.state, result, state->operation,
						  state->ps.state->es_output_cid,
						  intVal(list_nth(private, PRIVATE_DO_NOTHING)),
						  intVal(list_nth(private, PRIVATE_ONE_BY_ONE)));
	result->ri_FdwState = modify;
	if (state->operation == CMD_INSERT)
		return;
#if PG_VERSION_NUM >= 140000
	modify->ctid_attno =
		ExecFindJunkAttributeInTlist(outerPlanState(state)->plan->targetlist, "ctid");
#else
	modify->ctid_attno = ExecFindJunkAttributeInTlist(
		state->mt_plans[subplan_index]->plan->targetlist, "ctid");
#endif
	if (!AttributeNumberIsValid(modify->ctid_attno))
		elog(ERROR, "could not find junk ctid column");
	if (state->operation == CMD_UPDATE)
		find_updated_columns(modify);
}

/*
 * COPY, and rows that are routed to a partition. An UPDATE may change the rows of
 * that partition too: then it goes on to do so with what it has begun with.
 */
static void
begin_foreign_insert(ModifyTableState *state, ResultRelInfo *result)
{
	ModifyTable *plan = (ModifyTable *) state->ps.plan;
	EState *estate = state->ps.state;
	TriggerDesc *triggers = result->ri_TrigDesc;
	NorikvModify *updating = result->ri_FdwState;
	NorikvModify *modify;
	bool do_nothing = plan != NULL && plan->onConflictAction == ONCONFLICT_NOTHING;

	if (plan != NULL && plan->onConflictAction == ONCONFLICT_UPDATE)
		ereport(
			ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("cannot route rows with ON CONFLICT DO UPDATE to foreign table \"%s\"",
				   RelationGetRelationName(result->ri_RelationDesc)));
	modify = begin_modify(estate, result, CMD_INSERT,
						  plan != NULL ? estate->es_output_cid : GetCurrentCommandId(true),
						  do_nothing,
						  plan != NULL || has_row_triggers(triggers, CMD_INSERT));
	if (updating != NULL)
		updating->routed = modify;
	else
		result->ri_FdwState = modify;
}

/* ---- Rows ---- */

/* The row as others will see it has no version before it is committed. */
static void
clear_version(const NorikvModify *modify, TupleTableSlot *slot)
{
	TupleDesc descriptor = slot->tts_tupleDescriptor;
	int version = modify->table->version_attnum;
	HeapTuple tuple;
	Datum *values;
	bool *nulls;
	bool *replaced;

	if (version == 0 || !modify->one_by_one || slot_attisnull(slot, version))
		return;
	values = palloc0(sizeof(Datum) * descriptor->natts);
	nulls = palloc0(sizeof(bool) * descriptor->natts);
	replaced = palloc0(sizeof(bool) * descriptor->natts);
	nulls[version - 1] = replaced[version - 1] = true;
	tuple = ExecCopySlotHeapTuple(slot);
	ExecForceStoreHeapTuple(heap_modify_tuple(tuple, descriptor, values, nulls, replaced),
							slot, true);
	slot->tts_tableOid = RelationGetRelid(modify->result_relation->ri_RelationDesc);
	heap_freetuple(tuple);
}

/* What rows are inserted with. */
static NorikvModify *
inserting(const ResultRelInfo *result)
{
	NorikvModify *modify = result->ri_FdwState;

	return modify->routed != NULL ? modify->routed : modify;
}

static TupleTableSlot *
exec_insert(EState *estate, ResultRelInfo *result, TupleTableSlot *slot,
			TupleTableSlot *plan_slot)
{
	NorikvModify *modify = inserting(result);
	bool inserted;

	NorikvInsertRows(modify, &slot, 1, &inserted);
	if (!inserted)
		return NULL;
	modify->n_more_rows++;
	clear_version(modify, slot);
	return slot;
}

#if PG_VERSION_NUM >= 140000
static TupleTableSlot **
exec_batch_insert(EState *estate, ResultRelInfo *result, TupleTableSlot **slots,
				  TupleTableSlot **plan_slots, int *n_slots)
{
	NorikvModify *modify = inserting(result);
	bool *inserted = palloc(sizeof(bool) * *n_slots);
	int n = 0;

	NorikvInsertRows(modify, slots, *n_slots, inserted);
	/* PostgreSQL looks at the first n only, and uses all of them again. */
	for (int i = 0; i < *n_slots; i++)
	{
		TupleTableSlot *slot = slots[i];

		if (!inserted[i])
			continue;
		slots[i] = slots[n];
		slots[n++] = slot;
	}
	pfree(inserted);
	modify->n_more_rows += n;
	*n_slots = n;
	return slots;
}

static int
batch_size(ResultRelInfo *result)
{
	NorikvModify *modify = result->ri_FdwState;

	if (result->ri_projectReturning != NULL || result->ri_WithCheckOptions != NIL ||
		has_row_triggers(result->ri_TrigDesc, CMD_INSERT))
		return 1;
	if (modify == NULL)
		return NORIKV_INSERT_BATCH;
	return Min(NORIKV_INSERT_BATCH, NorikvBatchSize(modify));
}
#endif

static TupleTableSlot *
exec_update(EState *estate, ResultRelInfo *result, TupleTableSlot *slot,
			TupleTableSlot *plan_slot)
{
	NorikvModify *modify = result->ri_FdwState;

	if (!NorikvUpdateRow(modify, slot, plan_slot))
		return NULL;
	if (modify->outbox != NULL && modify->one_by_one)
		NorikvOutboxSend(modify);
	clear_version(modify, slot);
	return slot;
}

static TupleTableSlot *
exec_delete(EState *estate, ResultRelInfo *result, TupleTableSlot *slot,
			TupleTableSlot *plan_slot)
{
	NorikvModify *modify = result->ri_FdwState;

	if (!NorikvDeleteRow(modify, result->ri_projectReturning != NULL ? slot : NULL,
						 plan_slot))
		return NULL;
	modify->n_more_rows--;
	if (modify->outbox != NULL && modify->one_by_one)
		NorikvOutboxSend(modify);
	return slot;
}

/* ---- End ---- */

static void
end_rows(NorikvModify *modify)
{
	if (modify->outbox != NULL)
		NorikvOutboxSend(modify);
	else
		NorikvLookUpKeys(modify);
	/* What plans count on, until the server is asked again. */
	if (modify->table->estimated_rows >= 0)
		modify->table->estimated_rows =
			Max(modify->table->estimated_rows + modify->n_more_rows, 0);
	MemoryContextDelete(modify->row_context);
}

/* Called twice for a partition that was updated and got rows from others too. */
static void
end_modify(EState *estate, ResultRelInfo *result)
{
	NorikvModify *modify = result->ri_FdwState;

	if (modify == NULL)
		return;
	if (modify->routed != NULL)
		end_rows(modify->routed);
	end_rows(modify);
	result->ri_FdwState = NULL;
}

static void
explain_modify(ModifyTableState *state, ResultRelInfo *result, List *private,
			   int subplan_index, struct ExplainState *es)
{
	NorikvTable *table = NorikvOpenTable(result->ri_RelationDesc);

	if (!es->verbose)
		return;
	ExplainPropertyText("Write Mode", table->immediate ? "immediate" : "transaction", es);
#if PG_VERSION_NUM >= 140000
	if (state->operation == CMD_INSERT)
		ExplainPropertyInteger("Batch Size", NULL, batch_size(result), es);
#endif
}

void
NorikvSetModifyRoutines(FdwRoutine *routine)
{
	routine->AddForeignUpdateTargets = add_update_targets;
	routine->PlanForeignModify = plan_modify;
	routine->IsForeignRelUpdatable = is_updatable;
	routine->BeginForeignModify = begin_foreign_modify;
	routine->BeginForeignInsert = begin_foreign_insert;
	routine->ExecForeignInsert = exec_insert;
#if PG_VERSION_NUM >= 140000
	routine->ExecForeignBatchInsert = exec_batch_insert;
	routine->GetForeignModifyBatchSize = batch_size;
	routine->ExecForeignTruncate = NorikvTruncateTables;
#endif
	routine->ExecForeignUpdate = exec_update;
	routine->ExecForeignDelete = exec_delete;
	routine->EndForeignModify = end_modify;
	routine->EndForeignInsert = end_modify;
	routine->ExplainForeignModify = explain_modify;
	routine->GetForeignRowMarkType = NorikvGetRowMarkType;
	routine->RefetchForeignRow = NorikvRefetchRow;
}
