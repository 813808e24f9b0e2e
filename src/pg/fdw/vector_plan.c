/*
 * vector_plan.c - ORDER BY a distance of the vectors of a table: whether the index
 * gives that order, and what it costs.
 */
#include "fdw/vector_table.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

/* Bytes of vectors that are measured in the time of one unit of cost, 10 us. */
#define BYTES_MEASURED 100000.0
/* A search of a graph. */
#define GRAPH_COST 20.0
/* A row of an answer; those of later pages are asked for again and again. */
#define FOUND_ROW_COST 0.3
/* Rows of the first page: where nobody knows how many are wanted, and at most. */
#define DEFAULT_PAGE 100
#define LARGEST_PAGE 10000

/* ---- Distances in expressions ---- */

/* By the C functions, in whichever schema the extension is; 0: it is none. */
static norikv_distance
distance_of_function(Oid function)
{
	static const struct
	{
		const char *source;
		norikv_distance distance;
	} known[] = {{"norikv_sql_l2_distance", NORIKV_EUCLIDEAN},
				 {"norikv_sql_cosine_distance", NORIKV_COSINE},
				 {"norikv_sql_negative_inner_product", NORIKV_INNER_PRODUCT}};
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	norikv_distance found = 0;
	bool is_null = true;
	Datum source;

	if (!HeapTupleIsValid(tuple))
		return found;
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &is_null);
	if (!is_null && ((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
	{
		char *name = TextDatumGetCString(source);

		for (int i = 0; i < lengthof(known); i++)
		{
			if (strcmp(name, known[i].source) == 0)
				found = known[i].distance;
		}
	}
	ReleaseSysCache(tuple);
	return found;
}

static bool
is_vector_column(Node *node, const RelOptInfo *baserel, const NorikvTable *table)
{
	const Var *var = (const Var *) node;

	while (node != NULL && IsA(node, RelabelType))
	{
		node = (Node *) ((RelabelType *) node)->arg;
		var = (const Var *) node;
	}
	return node != NULL && IsA(node, Var) && var->varno == baserel->relid &&
		   var->varlevelsup == 0 && var->varattno == table->vector_attnum;
}

/* A vector that is no row's, and one for the whole scan where it is not volatile. */
static bool
is_query_vector(Node *node)
{
	return !contain_var_clause(node) && !contain_subplans(node) &&
		   NorikvIsVectorType(exprType(node));
}

/* NULL: the expression is no distance of the table's vectors. */
static NorikvVectorOrder *
match_distance(Node *node, const RelOptInfo *baserel, const NorikvTable *table)
{
	NorikvVectorOrder *order;
	norikv_distance distance;
	List *arguments;
	Oid function;
	Node *query;

	if (IsA(node, OpExpr))
	{
		set_opfuncid((OpExpr *) node);
		function = ((OpExpr *) node)->opfuncid;
		arguments = ((OpExpr *) node)->args;
	}
	else if (IsA(node, FuncExpr))
	{
		function = ((FuncExpr *) node)->funcid;
		arguments = ((FuncExpr *) node)->args;
	}
	else
		return NULL;
	if (list_length(arguments) != 2)
		return NULL;
	if (is_vector_column(linitial(arguments), baserel, table))
		query = lsecond(arguments);
	else if (is_vector_column(lsecond(arguments), baserel, table))
		query = linitial(arguments);
	else
		return NULL;
	if (!is_query_vector(query) || (distance = distance_of_function(function)) == 0)
		return NULL;
	order = palloc0(sizeof(NorikvVectorOrder));
	order->distance = distance;
	order->query_type = exprType(query);
	if (!contain_volatile_functions(query))
		order->query = (Expr *) query;
	return order;
}

/* ---- The order of a query ---- */

static bool
is_descending(const PathKey *pathkey)
{
#if PG_VERSION_NUM >= 180000
	return pathkey->pk_cmptype == COMPARE_GT;
#else
	return pathkey->pk_strategy == BTGreaterStrategyNumber;
#endif
}

static const char *
find_obstacle(const NorikvVectorOrder *order, const NorikvTable *table,
			  const PathKey *pathkey)
{
	if (order->query == NULL)
		return "the vector to order by is made anew for each row, unless a subquery "
			   "makes it";
	if (!table->index.exists)
		return "the index is not there, or its server was not reached";
	if (table->index.distance != order->distance)
		return psprintf("the index measures %s distances, and the query asks for %s ones",
						NorikvDistanceName(table->index.distance),
						NorikvDistanceName(order->distance));
	if (is_descending(pathkey))
		return "the index finds the nearest first, and the query asks for the farthest";
	return NULL;
}

NorikvVectorOrder *
NorikvMatchVectorOrder(PlannerInfo *root, RelOptInfo *baserel, NorikvTable *table)
{
	const PathKey *pathkey;
	ListCell *cell;

	if (table->space.size == 0 || root->query_pathkeys == NIL)
		return NULL;
	pathkey = linitial(root->query_pathkeys);
	foreach (cell, pathkey->pk_eclass->ec_members)
	{
		EquivalenceMember *member = lfirst(cell);
		NorikvVectorOrder *order;

		if (member->em_is_const || !bms_equal(member->em_relids, baserel->relids))
			continue;
		order = match_distance((Node *) member->em_expr, baserel, table);
		if (order == NULL)
			continue;
		NorikvRefreshEstimate(root, baserel, table);
		order->obstacle = find_obstacle(order, table, pathkey);
		return order;
	}
	return NULL;
}

/* ---- The path ---- */

/* As many as are needed for LIMIT, for all that is known of the filters. */
static int
first_page(const PlannerInfo *root, double tuples, double rows)
{
	double wanted = root->limit_tuples;

	/* What joins leave out is not known here. */
	if (wanted <= 0 || bms_membership(root->all_baserels) == BMS_MULTIPLE)
		return DEFAULT_PAGE;
	if (rows < tuples)
		wanted = wanted * tuples / Max(rows, 1);
	return (int) Max(1, Min(Min(ceil(wanted), LARGEST_PAGE), Max(tuples, 1)));
}

void
NorikvAddNearestPath(PlannerInfo *root, RelOptInfo *baserel,
					 const NorikvRelation *relation)
{
	const NorikvTable *table = relation->table;
	double tuples = NorikvTableRows(root, baserel, relation->table);
	double bytes = tuples * table->index.dimensions * sizeof(float);
	List *pathkeys;
	QualCost filter;
	Cost startup;
	Cost total;
	int page;

	if (relation->order == NULL || relation->order->obstacle != NULL)
		return;
	pathkeys = list_make1(linitial(root->query_pathkeys));
	page = first_page(root, tuples, baserel->rows);
	cost_qual_eval(&filter, baserel->baserestrictinfo, root);
	NorikvCostKeys(table, true, 0, &startup, &total);
	startup += table->index.type == NORIKV_HNSW ? Min(GRAPH_COST, bytes / BYTES_MEASURED)
												: bytes / BYTES_MEASURED;
	startup += filter.startup + baserel->reltarget->cost.startup;
	total = startup +
			tuples * (FOUND_ROW_COST + cpu_tuple_cost + filter.per_tuple) +
			baserel->rows * baserel->reltarget->cost.per_tuple +
			bytes / BYTES_MEASURED;
	add_path(baserel,
			 (Path *) NorikvMakeScanPath(root, baserel, baserel->rows, startup, total,
										 pathkeys, baserel->lateral_relids,
										 NorikvVectorPrivate(relation->order, page)));
}

List *
NorikvVectorPrivate(const NorikvVectorOrder *order, int page)
{
	char *obstacle = pstrdup(order->obstacle != NULL ? order->obstacle : "");

	return list_make4(makeInteger(order->distance), list_make1_oid(order->query_type),
					  makeInteger(page), makeString(obstacle));
}
