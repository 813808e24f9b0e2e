/*
 * order.c - the order in which keys come, as the planner speaks of it.
 */
#include "fdw/fdw.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "optimizer/paths.h"
#include "utils/typcache.h"

#if PG_VERSION_NUM >= 180000
#define ASCENDING COMPARE_LT
#else
#define ASCENDING BTLessStrategyNumber
#endif

/*
 * Whether the equivalence class has the key of the relation, compared as bytes are:
 * rows come in that order from the server.
 */
static bool
is_ordered_by_key(RelOptInfo *baserel, const NorikvTable *table, PathKey *pathkey)
{
	EquivalenceClass *class = pathkey->pk_eclass;
	Oid family = lookup_type_cache(table->key_kind == NORIKV_KEY_TEXT ? TEXTOID
																	  : table->key_type,
								   TYPECACHE_BTREE_OPFAMILY)
					 ->btree_opf;
	ListCell *cell;

	if (pathkey->pk_opfamily != family || class->ec_has_volatile ||
		!NorikvBytewiseOrder(table, class->ec_collation))
		return false;
	foreach (cell, class->ec_members)
	{
		EquivalenceMember *member = lfirst(cell);

		if (!member->em_is_const && bms_equal(member->em_relids, baserel->relids) &&
			NorikvIsKey((Node *) member->em_expr, baserel, table))
			return true;
	}
	return false;
}

/* Whether the relation can compute what the pathkey is about. */
static bool
is_of_relation(RelOptInfo *baserel, PathKey *pathkey)
{
	ListCell *cell;

	foreach (cell, pathkey->pk_eclass->ec_members)
	{
		if (bms_is_subset(((EquivalenceMember *) lfirst(cell))->em_relids,
						  baserel->relids))
			return true;
	}
	return false;
}

/*
 * As much of the query's order as the order of keys gives. No two rows have one
 * key, so that whatever the query orders by behind the key is in order, too.
 */
List *
NorikvPathkeysByKey(PlannerInfo *root, RelOptInfo *baserel, const NorikvTable *table)
{
	List *pathkeys = NIL;
	ListCell *cell;

	if (root->query_pathkeys == NIL ||
		!is_ordered_by_key(baserel, table, linitial(root->query_pathkeys)))
		return NIL;
	foreach (cell, root->query_pathkeys)
	{
		if (!is_of_relation(baserel, lfirst(cell)))
			break;
		pathkeys = lappend(pathkeys, lfirst(cell));
	}
	return pathkeys;
}

/* The order of the key ascending, if the class is about the key; else NULL. */
static PathKey *
ascending_by_key(PlannerInfo *root, RelOptInfo *baserel, const NorikvTable *table,
				 EquivalenceClass *class)
{
	ListCell *family;

	foreach (family, class->ec_opfamilies)
	{
		PathKey *pathkey = make_canonical_pathkey(root, class, lfirst_oid(family),
												  ASCENDING, false);

		if (is_ordered_by_key(baserel, table, pathkey))
			return pathkey;
	}
	return NULL;
}

/*
 * For merge joins: the order of the key, where anything cares for it. The sides of
 * an outer join's clause have classes of their own.
 */
List *
NorikvPathkeysForMerge(PlannerInfo *root, RelOptInfo *baserel, const NorikvTable *table)
{
	PathKey *found = NULL;
	ListCell *cell;

	foreach (cell, root->eq_classes)
	{
		if (found == NULL && eclass_useful_for_merging(root, lfirst(cell), baserel))
			found = ascending_by_key(root, baserel, table, lfirst(cell));
	}
	foreach (cell, baserel->joininfo)
	{
		RestrictInfo *clause = lfirst_node(RestrictInfo, cell);

		if (found != NULL || clause->mergeopfamilies == NIL)
			continue;
		update_mergeclause_eclasses(root, clause);
		found = ascending_by_key(root, baserel, table, clause->left_ec);
		if (found == NULL)
			found = ascending_by_key(root, baserel, table, clause->right_ec);
	}
	return found == NULL ? NIL : list_make1(found);
}
