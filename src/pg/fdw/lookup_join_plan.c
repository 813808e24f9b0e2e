/*
 * lookup_join_plan.c - when a join reads a foreign table by the keys of batches of
 * the other side's rows, what that costs, and its plan.
 *
 * The outer side may be any plan. Every condition on the foreign table, its own and
 * those of the join, is looked at again where the joined row is: only the equality
 * that gives the key is not, for the server's answer to it is exact.
 */
#include "fdw/lookup_join.h"

#include <math.h>

#include "access/sysattr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

/* Outer rows of a batch, where the table does not say. */
#define DEFAULT_BATCH 1000
/* Of the first one where not all rows may be wanted; each next one is larger. */
#define CAREFUL_BATCH 16

typedef struct LookupJoinPath
{
	CustomPath custom;
	RelOptInfo *inner; /* the foreign table */
	JoinType jointype;
	List *clauses; /* RestrictInfos of the join */
	RestrictInfo *key_clause;
	NorikvCondition *key;
	int batch;
	int first_batch;
} LookupJoinPath;

/* What all paths of one join have in common. */
typedef struct LookupJoin
{
	PlannerInfo *root;
	RelOptInfo *joinrel;
	RelOptInfo *outer;
	RelOptInfo *inner;
	NorikvTable *table;
	JoinType jointype;
	JoinPathExtraData *extra;
	RestrictInfo *key_clause;
	NorikvCondition *key;
	double distinct; /* keys among the outer rows */
	int batch;
	int first_batch;
} LookupJoin;

static bool enable_lookup_join = true;
static set_join_pathlist_hook_type previous_hook = NULL;

/* ---- Which joins ---- */

static bool
is_our_table(RelOptInfo *relation)
{
	return relation->reloptkind == RELOPT_BASEREL && relation->fdwroutine != NULL &&
		   relation->fdwroutine->GetForeignRelSize == NorikvGetForeignRelSize &&
		   relation->fdw_private != NULL && !IS_DUMMY_REL(relation);
}

/* They decide whether the relation is read at all, which a plan above it does. */
static bool
has_pseudoconstants(List *clauses)
{
	ListCell *cell;

	foreach (cell, clauses)
	{
		if (lfirst_node(RestrictInfo, cell)->pseudoconstant)
			return true;
	}
	return false;
}

/* Columns that are no part of an entry, and not known from the plan either. */
static bool
needs_unknown_columns(RelOptInfo *inner)
{
	Bitmapset *attnums = NULL;
	int member = -1;
	ListCell *cell;

	pull_varattnos((Node *) inner->reltarget->exprs, inner->relid, &attnums);
	foreach (cell, inner->baserestrictinfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause, inner->relid,
					   &attnums);
	while ((member = bms_next_member(attnums, member)) >= 0)
	{
		int attnum = member + FirstLowInvalidHeapAttributeNumber;

		if (attnum < 0 && attnum != SelfItemPointerAttributeNumber &&
			attnum != TableOidAttributeNumber)
			return true;
	}
	return false;
}

/* Of an outer join: not a condition on its result. */
static bool
is_condition_of_join(const LookupJoin *join, RestrictInfo *clause)
{
	return !IS_OUTER_JOIN(join->jointype) ||
		   !RINFO_IS_PUSHED_DOWN(clause, join->joinrel->relids);
}

/* The first clause of the join that gives the key. */
static bool
find_key(LookupJoin *join)
{
	ListCell *cell;

	foreach (cell, join->extra->restrictlist)
	{
		RestrictInfo *clause = lfirst_node(RestrictInfo, cell);
		NorikvCondition *condition;

		if (!is_condition_of_join(join, clause) ||
			!restriction_is_securely_promotable(clause, join->inner))
			continue;
		condition =
			NorikvMatchCondition(join->root, join->inner, join->table, clause->clause);
		if (condition == NULL || condition->kind != NORIKV_CONDITION_EQUAL ||
			!condition->exact ||
			!bms_is_subset(pull_varnos(join->root, (Node *) condition->operand),
						   join->outer->relids))
			continue;
		join->key_clause = clause;
		join->key = condition;
		return true;
	}
	return false;
}

static Oid
user_of(PlannerInfo *root, RelOptInfo *relation)
{
#if PG_VERSION_NUM >= 160000
	return relation->userid;
#else
	return planner_rt_fetch(relation->relid, root)->checkAsUser;
#endif
}

static void
size_batches(LookupJoin *join)
{
	PlannerInfo *root = join->root;
	NorikvTable *table = join->table;

	join->batch = table->batch_size;
	if (join->batch == 0)
	{
		Oid user = user_of(root, join->inner);
		NorikvConnection *connection = NorikvGetTableConnection(
			table->serverid, OidIsValid(user) ? user : GetUserId());

		join->batch = Min(DEFAULT_BATCH, connection->settings.batch_size);
	}
	join->first_batch = join->batch;
	/* LIMIT, EXISTS, a cursor: what is asked for should not be a lot more. */
	if (root->tuple_fraction > 0 || root->limit_tuples > 0)
		join->first_batch = Min(join->batch, CAREFUL_BATCH);
}

/* ---- Costs ---- */

/* How many keys a batch asks for, of so many rows. */
static double
keys_of_batch(const LookupJoin *join, double rows)
{
	return Min(rows, join->distinct);
}

static Cost
cost_of_keys(const LookupJoin *join, double trips, double keys)
{
	Cost trip;
	Cost with_key;

	/* The cost of two keys, without the trip, is twice that of one among many. */
	NorikvCostKeys(join->table, true, 2, &trip, &with_key);
	return trips * trip + keys * (with_key - trip) / 2;
}

static void
set_costs(const LookupJoin *join, Path *path, const Path *outer, List *clauses)
{
	double rows = Max(outer->rows, 1);
	double first = Min(rows, join->first_batch);
	double trips = ceil(rows / join->batch);
	double keys = trips * keys_of_batch(join, Min(rows, join->batch));
	Cost outer_run = outer->total_cost - outer->startup_cost;
	PathTarget *target = path->pathtarget;
	QualCost conditions;

	/* As if all conditions were evaluated for all rows: most rows have a match. */
	cost_qual_eval(&conditions, list_concat_copy(join->inner->baserestrictinfo, clauses),
				   join->root);
	path->startup_cost = outer->startup_cost + outer_run * (first / rows) +
						 cost_of_keys(join, 1, keys_of_batch(join, first)) +
						 conditions.startup + target->cost.startup;
	path->total_cost = outer->total_cost + cost_of_keys(join, trips, Min(keys, rows)) +
					   conditions.startup + target->cost.startup +
					   rows * (conditions.per_tuple + cpu_tuple_cost) +
					   path->rows * target->cost.per_tuple;
}

/* ---- Paths ---- */

static struct Plan *plan_lookup_join(PlannerInfo *root, RelOptInfo *relation,
									 CustomPath *best_path, List *tlist, List *clauses,
									 List *custom_plans);

static const CustomPathMethods path_methods = {
	.CustomName = "NorikvLookupJoin",
	.PlanCustomPath = plan_lookup_join,
};

static void
add_lookup_join(LookupJoin *join, Path *outer)
{
	LookupJoinPath *made;
	Path *path;
	Relids required_outer = PATH_REQ_OUTER(outer);
	List *clauses = join->extra->restrictlist;

	if (bms_overlap(required_outer, join->inner->relids) ||
		(!bms_is_empty(required_outer) &&
		 !bms_overlap(required_outer, join->extra->param_source_rels)))
		return;
	made = palloc0(sizeof(LookupJoinPath));
	path = &made->custom.path;
	path->type = T_CustomPath;
	path->pathtype = T_CustomScan;
	path->parent = join->joinrel;
	path->pathtarget = join->joinrel->reltarget;
	path->param_info = get_joinrel_parampathinfo(
		join->root, join->joinrel, outer, join->inner->cheapest_total_path,
		join->extra->sjinfo, required_outer, &clauses);
	if (has_pseudoconstants(clauses))
		return;
	path->rows =
		path->param_info != NULL ? path->param_info->ppi_rows : join->joinrel->rows;
	path->pathkeys =
		build_join_pathkeys(join->root, join->joinrel, join->jointype, outer->pathkeys);
#if PG_VERSION_NUM >= 150000
	made->custom.flags = CUSTOMPATH_SUPPORT_PROJECTION;
#endif
	made->custom.custom_paths = list_make1(outer);
	made->custom.methods = &path_methods;
	made->inner = join->inner;
	made->jointype = join->jointype;
	made->clauses = clauses;
	made->key_clause = join->key_clause;
	made->key = join->key;
	made->batch = join->batch;
	made->first_batch = join->first_batch;
	set_costs(join, path, outer, clauses);
	add_path(join->joinrel, path);
}

static double
distinct_keys(const LookupJoin *join)
{
	List *operands = list_make1(join->key->operand);

#if PG_VERSION_NUM >= 140000
	return estimate_num_groups(join->root, operands, join->outer->rows, NULL, NULL);
#else
	return estimate_num_groups(join->root, operands, join->outer->rows, NULL);
#endif
}

static void
add_lookup_joins(PlannerInfo *root, RelOptInfo *joinrel, RelOptInfo *outer,
				 RelOptInfo *inner, JoinType jointype, JoinPathExtraData *extra)
{
	LookupJoin join = {
		.root = root,
		.joinrel = joinrel,
		.outer = outer,
		.inner = inner,
		.jointype = jointype,
		.extra = extra,
	};
	bool unique_outer = false;
	ListCell *cell;

	if (previous_hook != NULL)
		previous_hook(root, joinrel, outer, inner, jointype, extra);
	if (!enable_lookup_join || joinrel->reloptkind != RELOPT_JOINREL ||
		!is_our_table(inner) || !bms_is_subset(inner->lateral_relids, outer->relids))
		return;
#if PG_VERSION_NUM < 190000
	/* A semijoin the other way round: with each row of its outer side once. */
	unique_outer = jointype == JOIN_UNIQUE_OUTER;
	if (unique_outer)
		join.jointype = JOIN_INNER;
#endif
	if (join.jointype != JOIN_INNER && join.jointype != JOIN_LEFT &&
		join.jointype != JOIN_SEMI && join.jointype != JOIN_ANTI)
		return;
	join.table = ((NorikvRelation *) inner->fdw_private)->table;
	/* The distance is a scan's to tell. */
	if (join.table->distance_attnum != 0 &&
		((NorikvRelation *) inner->fdw_private)->order != NULL)
		return;
	if (!find_key(&join) || has_pseudoconstants(inner->baserestrictinfo) ||
		needs_unknown_columns(inner))
		return;
	join.distinct = distinct_keys(&join);
	size_batches(&join);
#if PG_VERSION_NUM < 190000
	if (unique_outer)
	{
		UniquePath *unique =
			create_unique_path(root, outer, outer->cheapest_total_path, extra->sjinfo);

		if (unique != NULL)
			add_lookup_join(&join, (Path *) unique);
		return;
	}
#endif
	foreach (cell, outer->pathlist)
		add_lookup_join(&join, lfirst(cell));
}

/* ---- Plans ---- */

/* Those with the lower security level first, else as they come. */
static List *
in_order_of_security(List *clauses)
{
	List *ordered = NIL;
	Index level = 0;

	while (list_length(ordered) < list_length(clauses))
	{
		ListCell *cell;

		foreach (cell, clauses)
		{
			if (lfirst_node(RestrictInfo, cell)->security_level == level)
				ordered = lappend(ordered, lfirst(cell));
		}
		level++;
	}
	return ordered;
}

/*
 * What a match has to hold beside the key, and what the joined row has to, also
 * where there was no match.
 */
static void
split_conditions(LookupJoinPath *path, Relids joinrelids, List **filters, List **quals)
{
	List *base = in_order_of_security(path->inner->baserestrictinfo);
	List *join = in_order_of_security(path->clauses);

	*quals = NIL;
	if (IS_OUTER_JOIN(path->jointype))
		extract_actual_join_clauses(join, joinrelids, &join, quals);
	else
		join = extract_actual_clauses(join, false);
	join = list_delete_ptr(join, path->key_clause->clause);
	*filters = list_concat(extract_actual_clauses(base, false), join);
}

static Var *
make_column(PlannerInfo *root, RelOptInfo *inner, AttrNumber attnum)
{
	RangeTblEntry *rte = planner_rt_fetch(inner->relid, root);
	Oid type;
	int32 typmod;
	Oid collation;

	get_atttypetypmodcoll(rte->relid, attnum, &type, &typmod, &collation);
	return makeVar(inner->relid, attnum, type, typmod, collation, 0);
}

/*
 * Above an outer join PostgreSQL 16 tells the columns of its inner side from those
 * below it. Here they are one, and what is expected above counts.
 */
static List *
as_above_join(PlannerInfo *root, LookupJoinPath *path, List *expressions)
{
#if PG_VERSION_NUM >= 160000
	ListCell *cell;

	foreach (cell, root->join_info_list)
	{
		SpecialJoinInfo *info = lfirst(cell);

		if (IS_OUTER_JOIN(path->jointype) && info->ojrelid != 0 &&
			bms_is_member(info->ojrelid, path->custom.path.parent->relids) &&
			bms_is_member(path->inner->relid, info->syn_righthand))
			expressions =
				(List *) add_nulling_relids((Node *) expressions, path->inner->relids,
											bms_make_singleton(info->ojrelid));
	}
#endif
	return expressions;
}

static List *
add_entry(List *tlist, Node *expression)
{
	return lappend(tlist, makeTargetEntry(copyObject((Expr *) expression),
										  list_length(tlist) + 1, NULL, false));
}

/*
 * The columns of the foreign table that anything needs, the key first. As they stand
 * in the query: the whole row can be of the table's type or any record.
 */
static List *
needed_columns(PlannerInfo *root, RelOptInfo *inner, List *filters, AttrNumber key)
{
	List *columns = list_make1(make_column(root, inner, key));
	List *found = list_concat(
		pull_var_clause((Node *) inner->reltarget->exprs, PVC_RECURSE_PLACEHOLDERS),
		pull_var_clause((Node *) filters, PVC_RECURSE_PLACEHOLDERS));
	Bitmapset *attnums = bms_make_singleton(key - FirstLowInvalidHeapAttributeNumber);
	ListCell *cell;

	foreach (cell, found)
	{
		Var *column = lfirst(cell);
		int member = column->varattno - FirstLowInvalidHeapAttributeNumber;

		if (column->varno != inner->relid || bms_is_member(member, attnums))
			continue;
		attnums = bms_add_member(attnums, member);
		columns = lappend(columns, column);
	}
	return columns;
}

static struct Plan *
plan_lookup_join(PlannerInfo *root, RelOptInfo *relation, CustomPath *best_path,
				 List *tlist, List *clauses, List *custom_plans)
{
	LookupJoinPath *path = (LookupJoinPath *) best_path;
	const NorikvTable *table = ((NorikvRelation *) path->inner->fdw_private)->table;
	CustomScan *scan = makeNode(CustomScan);
	List *outer_tlist = ((Plan *) linitial(custom_plans))->targetlist;
	List *computed = NIL;
	List *columns;
	List *filters;
	List *quals;
	ListCell *cell;

	split_conditions(path, relation->relids, &filters, &quals);
	foreach (cell, outer_tlist)
		scan->custom_scan_tlist = add_entry(
			scan->custom_scan_tlist, (Node *) ((TargetEntry *) lfirst(cell))->expr);
	columns = needed_columns(root, path->inner, filters, table->key_attnum);
	foreach (cell, path->inner->reltarget->exprs)
	{
		PlaceHolderVar *placeholder = lfirst(cell);

		if (!IsA(placeholder, PlaceHolderVar))
			continue;
		columns = lappend(columns, placeholder);
		computed = lappend(computed, placeholder->phexpr);
	}
	columns = as_above_join(root, path, columns);
	foreach (cell, columns)
		scan->custom_scan_tlist = add_entry(scan->custom_scan_tlist, lfirst(cell));

	scan->scan.plan.targetlist = tlist;
	scan->scan.plan.qual = quals;
	scan->flags = best_path->flags;
	scan->custom_plans = custom_plans;
	scan->custom_private =
		list_make5_int(path->jointype, list_length(outer_tlist), list_length(filters),
					   path->batch, path->first_batch);
	scan->custom_private =
		lappend_int(scan->custom_private, (int) path->key->operand_type);
	scan->custom_private =
		lappend_int(scan->custom_private, (int) user_of(root, path->inner));
	scan->custom_exprs =
		list_concat(list_make2(path->key->operand, path->key_clause->clause),
					list_concat_copy(filters, computed));
	scan->custom_exprs = as_above_join(root, path, copyObject(scan->custom_exprs));
	scan->methods = &norikv_lookup_join_methods;
	return &scan->scan.plan;
}

/* ---- Setting up ---- */

void
NorikvLookupJoinInit(void)
{
	DefineCustomBoolVariable(
		"norikv.enable_lookup_join",
		"Lets the planner join foreign tables by looking up keys in batches.", NULL,
		&enable_lookup_join, true, PGC_USERSET, GUC_EXPLAIN, NULL, NULL, NULL);
	RegisterCustomScanMethods(&norikv_lookup_join_methods);
	previous_hook = set_join_pathlist_hook;
	set_join_pathlist_hook = add_lookup_joins;
}
