/*
 * plan.c - the ways to read a foreign table: by the names of keys or over a range
 * of them, in either order of the keys, also for the keys of another relation's
 * rows, one at a time.
 *
 * What the server is asked for is decided at execution, when the operands are
 * known (keyset.c); here is only decided which conditions take part.
 */
#include "fdw/fdw.h"
#include "fdw/vector_table.h"

#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/typcache.h"

/* ---- Sizes ---- */

/* How many keys the condition names; 0: none. */
static double
named_keys(PlannerInfo *root, const NorikvCondition *condition)
{
	if (condition->kind == NORIKV_CONDITION_EQUAL)
		return 1;
	if (condition->kind != NORIKV_CONDITION_ANY)
		return 0;
#if PG_VERSION_NUM >= 170000
	return Max(estimate_array_length(root, (Node *) condition->operand), 1);
#else
	return Max(estimate_array_length((Node *) condition->operand), 1);
#endif
}

/*
 * Of a relation under some clauses, also those of a parameterised path: what the
 * server answers, what it does not, and how many keys and rows that makes.
 */
static void
size_up(PlannerInfo *root, RelOptInfo *baserel, NorikvRelation *relation, List *clauses)
{
	double named = 0;
	ListCell *cell;

	relation->remote = relation->local = NIL;
	foreach (cell, clauses)
	{
		RestrictInfo *clause = lfirst_node(RestrictInfo, cell);
		NorikvCondition *condition =
			NorikvMatchCondition(root, baserel, relation->table, clause->clause);
		double n;

		if (condition != NULL)
			relation->remote = lappend(relation->remote, clause);
		if (condition == NULL || !condition->exact)
			relation->local = lappend(relation->local, clause);
		if (condition != NULL && (n = named_keys(root, condition)) > 0)
			named = named == 0 ? n : Min(named, n);
	}
	relation->by_name = named > 0;
	relation->keys = named;
	/* One relation by key needs no more; a join is to choose between its sides. */
	if (!relation->by_name || bms_membership(root->all_baserels) == BMS_MULTIPLE)
	{
		double tuples = NorikvTableRows(root, baserel, relation->table);

		baserel->tuples = tuples;
		if (relation->by_name)
			relation->keys = Min(named, tuples);
		else
			relation->keys =
				tuples *
				clauselist_selectivity(root, relation->remote, baserel->relid, JOIN_INNER,
									   NULL);
	}
	relation->rows = clamp_row_est(
		relation->keys *
		clauselist_selectivity(root, relation->local, baserel->relid, JOIN_INNER, NULL));
}

static void
cost(RelOptInfo *baserel, NorikvRelation *relation)
{
	QualCost local;

	NorikvCostKeys(relation->table, relation->by_name, relation->keys,
				   &relation->startup_cost, &relation->total_cost);
	cost_qual_eval(&local, relation->local, NULL);
	relation->startup_cost += local.startup + baserel->reltarget->cost.startup;
	relation->total_cost += local.startup + baserel->reltarget->cost.startup +
							(local.per_tuple + cpu_tuple_cost) * relation->keys +
							baserel->reltarget->cost.per_tuple * relation->rows;
}

/* ---- Numbers of rows ---- */

static bool
has_ctid_walker(Node *node, Relids relids)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		const Var *var = (const Var *) node;

		return var->varattno == SelfItemPointerAttributeNumber &&
			   var->varlevelsup == 0 && bms_is_member(var->varno, relids);
	}
	return expression_tree_walker(node, has_ctid_walker, relids);
}

/*
 * A ctid numbers the rows of one scan. DELETE … WHERE ctid IN (SELECT ctid …), as
 * people delete a part of a table, would compare the numbers of two scans and
 * delete whatever rows they meet.
 */
static void
refuse_ctid(PlannerInfo *root, RelOptInfo *baserel, const NorikvTable *table)
{
	Relids relids = bms_union(baserel->relids, baserel->top_parent_relids);

	if (has_ctid_walker((Node *) root->parse->jointree, relids))
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("cannot use the ctid of foreign table \"%s\" in a condition",
					   table->name),
				errdetail("It numbers the rows of one scan, and those of another "
						  "differently."),
				errhint("Use the key, which is column \"%s\".",
						table->columns[table->key_attnum - 1].name));
}

void
NorikvGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid)
{
	NorikvRelation *relation = palloc0(sizeof(NorikvRelation));
	/* The planner has locked it. */
	Relation opened = table_open(foreigntableid, NoLock);

	relation->table = NorikvOpenTable(opened);
	table_close(opened, NoLock);
	refuse_ctid(root, baserel, relation->table);
	baserel->fdw_private = relation;
	if (relation->table->space.size > 0)
		NorikvRefreshEstimate(root, baserel, relation->table);
	size_up(root, baserel, relation, baserel->baserestrictinfo);
	if (baserel->tuples < 0)
		baserel->tuples = relation->keys;
	set_baserel_size_estimates(root, baserel);
	baserel->rows = relation->rows;
	cost(baserel, relation);
}

/* ---- Paths ---- */

ForeignPath *
NorikvMakeScanPath(PlannerInfo *root, RelOptInfo *baserel, double rows, Cost startup_cost,
				   Cost total_cost, List *pathkeys, Relids required_outer, List *private)
{
#if PG_VERSION_NUM >= 180000
	return create_foreignscan_path(root, baserel, NULL, rows, 0, startup_cost, total_cost,
								   pathkeys, required_outer, NULL, NIL, private);
#elif PG_VERSION_NUM >= 170000
	return create_foreignscan_path(root, baserel, NULL, rows, startup_cost, total_cost,
								   pathkeys, required_outer, NULL, NIL, private);
#else
	return create_foreignscan_path(root, baserel, NULL, rows, startup_cost, total_cost,
								   pathkeys, required_outer, NULL, private);
#endif
}

static ForeignPath *
make_path(PlannerInfo *root, RelOptInfo *baserel, const NorikvRelation *relation,
		  List *pathkeys, Relids required_outer)
{
	return NorikvMakeScanPath(root, baserel, relation->rows, relation->startup_cost,
							  relation->total_cost, pathkeys, required_outer, NIL);
}

/* Tells generate_implied_equalities_for_column() what the column is. */
static bool
member_is_key(PlannerInfo *root, RelOptInfo *baserel, EquivalenceClass *class,
			  EquivalenceMember *member, void *arg)
{
	return NorikvIsKey((Node *) member->em_expr, baserel, arg);
}

/* The sets of relations that give the key by name, each once. */
static List *
collect_outer(PlannerInfo *root, RelOptInfo *baserel, const NorikvTable *table)
{
	List *clauses = list_copy(baserel->joininfo);
	List *outers = NIL;
	ListCell *cell;

	if (baserel->has_eclass_joins)
		clauses = list_concat(clauses, generate_implied_equalities_for_column(
										   root, baserel, member_is_key, (void *) table,
										   baserel->lateral_referencers));
	foreach (cell, clauses)
	{
		RestrictInfo *clause = lfirst(cell);
		NorikvCondition *condition;
		Relids outer;
		ListCell *known;

		if (!join_clause_is_movable_to(clause, baserel))
			continue;
		condition = NorikvMatchCondition(root, baserel, table, clause->clause);
		if (condition == NULL || named_keys(root, condition) == 0)
			continue;
		outer = bms_union(clause->clause_relids, baserel->lateral_relids);
		outer = bms_del_member(outer, baserel->relid);
		if (bms_is_empty(outer))
			continue;
		foreach (known, outers)
		{
			if (bms_equal(outer, lfirst(known)))
				break;
		}
		if (known == NULL)
			outers = lappend(outers, outer);
	}
	return outers;
}

static void
add_parameterised_paths(PlannerInfo *root, RelOptInfo *baserel, NorikvRelation *relation)
{
	ListCell *cell;

	foreach (cell, collect_outer(root, baserel, relation->table))
	{
		Relids outer = lfirst(cell);
		ParamPathInfo *info = get_baserel_parampathinfo(root, baserel, outer);
		NorikvRelation parameterised = *relation;

		size_up(root, baserel, &parameterised,
				list_concat_copy(baserel->baserestrictinfo, info->ppi_clauses));
		cost(baserel, &parameterised);
		/* All paths of one parameterisation are to agree on their rows. */
		info->ppi_rows = parameterised.rows;
		add_path(baserel, (Path *) make_path(root, baserel, &parameterised, NIL, outer));
	}
}

void
NorikvGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid)
{
	NorikvRelation *relation = baserel->fdw_private;
	List *pathkeys = NorikvPathkeysByKey(root, baserel, relation->table);
	List *merge_pathkeys = NorikvPathkeysForMerge(root, baserel, relation->table);

	relation->order = NorikvMatchVectorOrder(root, baserel, relation->table);
	if (relation->order != NULL)
		NorikvAddNearestPath(root, baserel, relation);
	add_path(baserel, (Path *) make_path(root, baserel, relation, pathkeys,
										 baserel->lateral_relids));
	if (merge_pathkeys != NIL && !pathkeys_contained_in(merge_pathkeys, pathkeys))
		add_path(baserel, (Path *) make_path(root, baserel, relation, merge_pathkeys,
											 baserel->lateral_relids));
	if (baserel->joininfo != NIL || baserel->has_eclass_joins)
		add_parameterised_paths(root, baserel, relation);
}

/* ---- Plans ---- */

/* The columns that the query needs of each row, as attribute numbers. */
static List *
needed_attnums(RelOptInfo *baserel, List *local_clauses, bool *numbered)
{
	Bitmapset *members = NULL;
	List *attnums = NIL;
	int member = -1;

	pull_varattnos((Node *) baserel->reltarget->exprs, baserel->relid, &members);
	pull_varattnos((Node *) local_clauses, baserel->relid, &members);
	*numbered = false;
	while ((member = bms_next_member(members, member)) >= 0)
	{
		int attnum = member + FirstLowInvalidHeapAttributeNumber;

		if (attnum >= 0)
			attnums = lappend_int(attnums, attnum);
		else if (attnum == SelfItemPointerAttributeNumber)
			*numbered = true;
	}
	return attnums;
}

/* Constants and parameters that came with the query. */
static bool
is_known_at_start(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return IsA(node, Const) ||
		   (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN);
}

/*
 * Whether the query's LIMIT is one of this relation's rows: then no more keys are
 * asked for. The Limit node stays, so that it does no harm to ask for too many.
 */
static bool
can_limit(PlannerInfo *root, RelOptInfo *baserel, const NorikvTable *table, Path *path,
		  List *local_clauses)
{
	Query *parse = root->parse;

	return parse->limitCount != NULL && parse->limitOption == LIMIT_OPTION_COUNT &&
		   parse->commandType == CMD_SELECT && baserel->reloptkind == RELOPT_BASEREL &&
		   bms_equal(root->all_baserels, baserel->relids) && local_clauses == NIL &&
		   path->param_info == NULL && parse->groupClause == NIL &&
		   parse->groupingSets == NIL && parse->distinctClause == NIL &&
		   parse->havingQual == NULL && parse->setOperations == NULL &&
		   parse->rowMarks == NIL && !parse->hasAggs && !parse->hasWindowFuncs &&
		   !parse->hasTargetSRFs && !NorikvMayLeaveOutRows(table) &&
		   pathkeys_contained_in(root->sort_pathkeys, path->pathkeys);
}

static int
modify_flags(PlannerInfo *root, RelOptInfo *baserel)
{
	Query *parse = root->parse;

	/* All that a DELETE needs to know of a row is its version. */
	if (parse->commandType == CMD_DELETE && parse->returningList == NIL &&
		parse->resultRelation == baserel->relid)
		return NORIKV_PLAN_NUMBERED | NORIKV_PLAN_VALUELESS;
	return NORIKV_PLAN_NUMBERED;
}

static int
order_flags(const Path *path)
{
	const PathKey *first;
	bool descending;

	if (path->pathkeys == NIL)
		return 0;
	first = linitial(path->pathkeys);
#if PG_VERSION_NUM >= 180000
	descending = first->pk_cmptype == COMPARE_GT;
#else
	descending = first->pk_strategy == BTGreaterStrategyNumber;
#endif
	return NORIKV_PLAN_ORDERED | (descending ? NORIKV_PLAN_REVERSE : 0);
}

static void
add_condition(NorikvRemote *remote, Expr *clause, const NorikvCondition *condition)
{
	remote->recheck = lappend(remote->recheck, clause);
	if (condition->operand == NULL)
		return;
	remote->kinds = lappend_int(remote->kinds, condition->kind);
	remote->types = lappend_oid(remote->types, condition->operand_type);
	remote->operands = lappend(remote->operands, condition->operand);
	remote->known_at_start &= is_known_at_start((Node *) condition->operand);
}

List *
NorikvSplitClauses(PlannerInfo *root, RelOptInfo *baserel, const NorikvTable *table,
				   List *clauses, NorikvRemote *remote)
{
	List *local = NIL;
	ListCell *cell;

	remote->known_at_start = true;
	foreach (cell, clauses)
	{
		RestrictInfo *clause = lfirst_node(RestrictInfo, cell);
		NorikvCondition *condition;

		if (clause->pseudoconstant)
		{
			/* It decides whether the relation is read at all. */
			remote->known_at_start = false;
			continue;
		}
		condition = NorikvMatchCondition(root, baserel, table, clause->clause);
		if (condition != NULL)
			add_condition(remote, clause->clause, condition);
		if (condition == NULL || !condition->exact)
			local = lappend(local, clause->clause);
	}
	return local;
}

/* Where vectors cannot be scanned their ids are listed first, and that is waited for. */
static bool
can_start_early(const NorikvTable *table, const NorikvRemote *remote)
{
	return remote->known_at_start &&
		   (table->space.size == 0 || table->index.scannable ||
			list_member_int(remote->kinds, NORIKV_CONDITION_EQUAL) ||
			list_member_int(remote->kinds, NORIKV_CONDITION_ANY));
}

static void
add_limit(PlannerInfo *root, NorikvRemote *remote, int *flags)
{
	Query *parse = root->parse;

	*flags |= NORIKV_PLAN_LIMIT;
	remote->operands = lappend(remote->operands, parse->limitCount);
	if (parse->limitOffset != NULL)
	{
		*flags |= NORIKV_PLAN_OFFSET;
		remote->operands = lappend(remote->operands, parse->limitOffset);
	}
	if (!is_known_at_start(parse->limitCount) ||
		(parse->limitOffset != NULL && !is_known_at_start(parse->limitOffset)))
		*flags &= ~NORIKV_PLAN_EARLY;
}

/*
 * In a query that is ordered by a distance the column for it shows that one, whichever
 * way the rows are read.
 */
static List *
plan_vector(const NorikvRelation *relation, List *nearest, List *attnums,
			NorikvRemote *remote, int *flags)
{
	AttrNumber distance = relation->table->distance_attnum;

	if (relation->order == NULL)
		return NIL;
	if (nearest == NIL && distance != 0 && relation->order->query != NULL &&
		(list_member_int(attnums, distance) || list_member_int(attnums, 0)))
		*flags |= NORIKV_PLAN_DISTANCE;
	if (*flags & NORIKV_PLAN_QUERY)
	{
		remote->operands = lappend(remote->operands, relation->order->query);
		if (!is_known_at_start((Node *) relation->order->query))
			*flags &= ~NORIKV_PLAN_EARLY;
	}
	return nearest != NIL ? nearest : NorikvVectorPrivate(relation->order, 0);
}

ForeignScan *
NorikvGetForeignPlan(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid,
					 ForeignPath *best_path, List *tlist, List *scan_clauses,
					 Plan *outer_plan)
{
	const NorikvRelation *relation;
	NorikvRemote remote = {NIL};
	List *local;
	List *attnums;
	List *vector;
	List *private;
	bool nearest;
	bool numbered;
	int flags;

	if (IS_UPPER_REL(baserel))
		return NorikvGetCountPlan(root, best_path, tlist);
	relation = baserel->fdw_private;
	nearest = best_path->fdw_private != NIL;
	/* The index knows no conditions: all of them are looked at here. */
	local = nearest ? extract_actual_clauses(scan_clauses, false)
					: NorikvSplitClauses(root, baserel, relation->table, scan_clauses,
										 &remote);
	attnums = needed_attnums(baserel, local, &numbered);
	flags = nearest ? NORIKV_PLAN_NEAREST : order_flags(&best_path->path);
	if (!nearest && can_start_early(relation->table, &remote))
		flags |= NORIKV_PLAN_EARLY;
	if (numbered)
		flags |= modify_flags(root, baserel);
	if (can_limit(root, baserel, relation->table, &best_path->path, local))
		add_limit(root, &remote, &flags);
	vector = plan_vector(relation, best_path->fdw_private, attnums, &remote, &flags);
	private = list_make5(makeInteger(flags), remote.kinds, remote.types, attnums, vector);
	return make_foreignscan(tlist, local, baserel->relid, remote.operands,
							lappend(private, NIL), NIL, remote.recheck, outer_plan);
}
