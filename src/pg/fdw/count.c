/*
 * count.c - count(*) over the keys of one foreign table, as the server counts them.
 */
#include "fdw/fdw.h"

#include "catalog/pg_aggregate.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/planmain.h"
#include "optimizer/tlist.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"

/* Counting is what the server does fastest: some ten million keys a second. */
#define COUNTED_KEY_COST 0.01

/* Whether it counts rows: all of them, or those with a key, which is all of them. */
static bool
is_count(Aggref *aggregate, RelOptInfo *baserel, const NorikvTable *table)
{
	const TargetEntry *argument;

	if (aggregate->aggsplit != AGGSPLIT_SIMPLE || aggregate->aggfilter != NULL ||
		aggregate->aggdistinct != NIL || aggregate->aggorder != NIL ||
		aggregate->agglevelsup != 0)
		return false;
	if (aggregate->aggfnoid == F_COUNT_)
		return true;
	if (aggregate->aggfnoid != F_COUNT_ANY)
		return false;
	argument = linitial_node(TargetEntry, aggregate->args);
	return NorikvIsKey((Node *) argument->expr, baserel, table);
}

/* The aggregates of the query; NIL where one of them is none for the server. */
static List *
counts_of(PathTarget *target, RelOptInfo *baserel, const NorikvTable *table)
{
	List *found = pull_var_clause((Node *) target->exprs, PVC_INCLUDE_AGGREGATES |
															  PVC_RECURSE_PLACEHOLDERS);
	ListCell *cell;

	foreach (cell, found)
	{
		if (!IsA(lfirst(cell), Aggref) || !is_count(lfirst(cell), baserel, table))
			return NIL;
	}
	return found;
}

/* The one base relation that the aggregates are over, if it is one of ours. */
static RelOptInfo *
counted_relation(PlannerInfo *root, RelOptInfo *input_rel)
{
	const NorikvRelation *relation;
	Query *parse = root->parse;

	if (input_rel->reloptkind != RELOPT_BASEREL || input_rel->fdw_private == NULL ||
		!parse->hasAggs || parse->groupClause != NIL || parse->groupingSets != NIL ||
		parse->havingQual != NULL || parse->hasTargetSRFs)
		return NULL;
	relation = input_rel->fdw_private;
	if (relation->local != NIL || NorikvMayLeaveOutRows(relation->table) ||
		!bms_is_empty(input_rel->lateral_relids))
		return NULL;
	return input_rel;
}

static bool
has_pseudoconstants(RelOptInfo *baserel)
{
	ListCell *cell;

	foreach (cell, baserel->baserestrictinfo)
	{
		if (lfirst_node(RestrictInfo, cell)->pseudoconstant)
			return true;
	}
	return false;
}

void
NorikvGetForeignUpperPaths(PlannerInfo *root, UpperRelationKind stage,
						   RelOptInfo *input_rel, RelOptInfo *output_rel, void *extra)
{
	RelOptInfo *baserel;
	const NorikvRelation *relation;
	List *counts;
	Cost startup_cost;
	Cost total_cost;
	ForeignPath *path;

	if (stage != UPPERREL_GROUP_AGG)
		return;
	baserel = counted_relation(root, input_rel);
	if (baserel == NULL || has_pseudoconstants(baserel))
		return;
	relation = baserel->fdw_private;
	counts = counts_of(root->upper_targets[UPPERREL_GROUP_AGG], baserel, relation->table);
	if (counts == NIL)
		return;
	NorikvCostKeys(relation->table, relation->by_name, 0, &startup_cost, &total_cost);
	total_cost += relation->keys * COUNTED_KEY_COST;
	startup_cost = total_cost;
	/* The path carries what the plan is made of. */
#if PG_VERSION_NUM >= 180000
	path = create_foreign_upper_path(root, output_rel,
									 root->upper_targets[UPPERREL_GROUP_AGG], 1, 0,
									 startup_cost, total_cost, NIL, NULL, NIL,
									 list_make2(baserel, counts));
#elif PG_VERSION_NUM >= 170000
	path = create_foreign_upper_path(root, output_rel,
									 root->upper_targets[UPPERREL_GROUP_AGG], 1,
									 startup_cost, total_cost, NIL, NULL, NIL,
									 list_make2(baserel, counts));
#else
	path = create_foreign_upper_path(root, output_rel,
									 root->upper_targets[UPPERREL_GROUP_AGG], 1,
									 startup_cost, total_cost, NIL, NULL,
									 list_make2(baserel, counts));
#endif
	add_path(output_rel, (Path *) path);
}

ForeignScan *
NorikvGetCountPlan(PlannerInfo *root, ForeignPath *path, List *tlist)
{
	RelOptInfo *baserel = linitial(path->fdw_private);
	List *counts = lsecond(path->fdw_private);
	const NorikvRelation *relation = baserel->fdw_private;
	List *scan_tlist = add_to_flat_tlist(NIL, counts);
	NorikvRemote remote = {NIL};
	List *local PG_USED_FOR_ASSERTS_ONLY =
		NorikvSplitClauses(root, baserel, relation->table, relation->remote, &remote);
	List *counted = copyObject(remote.recheck);
	int flags = NORIKV_PLAN_COUNT;
	List *private;

	Assert(local == NIL);
	ChangeVarNodes((Node *) counted, baserel->relid, 1, 0);
	if (remote.known_at_start)
		flags |= NORIKV_PLAN_EARLY;
	private = list_make5(makeInteger(flags), remote.kinds, remote.types, NIL, NIL);
	private = lappend(private, counted);
	return make_foreignscan(tlist, NIL, 0, remote.operands, private, scan_tlist, NIL,
							NULL);
}
