/*
 * conditions.c - which conditions of a query the server answers.
 *
 * Those on the key, whose comparison is one of bytes. What must hold: a condition
 * that is taken here leaves no row out that PostgreSQL would have kept, and is
 * exact only where it lets none in either.
 */
#include "fdw/fdw.h"

#include "access/stratnum.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/pg_locale.h"
#include "utils/typcache.h"

/* ---- Comparisons of bytes ---- */

static bool
is_c_collation(Oid collation)
{
#if PG_VERSION_NUM >= 180000
	return OidIsValid(collation) && pg_newlocale_from_collation(collation)->collate_is_c;
#else
	return OidIsValid(collation) && lc_collate_is_c(collation);
#endif
}

bool
NorikvBytewiseOrder(const NorikvTable *table, Oid collation)
{
	switch (table->key_kind)
	{
		case NORIKV_KEY_BYTEA:
		case NORIKV_KEY_UUID:
			return true;
		case NORIKV_KEY_TEXT:
			return GetDatabaseEncoding() == PG_UTF8 && is_c_collation(collation);
		default:
			return false;
	}
}

/* Whether text is equal under the collation only where its bytes are. */
static bool
is_bytewise_equality(const NorikvTable *table, Oid collation)
{
	return table->key_kind != NORIKV_KEY_TEXT ||
		   (OidIsValid(collation) && get_collation_isdeterministic(collation));
}

/* ---- Expressions ---- */

bool
NorikvIsKey(Node *node, const RelOptInfo *relation, const NorikvTable *table)
{
	while (node != NULL && (IsA(node, RelabelType) || IsA(node, CollateExpr)))
		node = IsA(node, RelabelType) ? (Node *) ((RelabelType *) node)->arg
									  : (Node *) ((CollateExpr *) node)->arg;
	return node != NULL && IsA(node, Var) && ((Var *) node)->varno == relation->relid &&
		   ((Var *) node)->varattno == table->key_attnum &&
		   ((Var *) node)->varlevelsup == 0;
}

/* Something that has one value while the relation is scanned once. */
static bool
is_operand(PlannerInfo *root, Node *node, const RelOptInfo *relation)
{
	return !bms_is_member(relation->relid, pull_varnos(root, node)) &&
		   !contain_volatile_functions(node) && !contain_subplans(node);
}

static Oid
key_operator_type(const NorikvTable *table)
{
	return table->key_kind == NORIKV_KEY_TEXT ? TEXTOID : table->key_type;
}

static bool
is_integer_type(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/* Its strategy number among the btree operators of the key; 0: it is none of them. */
static int
comparison_strategy(const NorikvTable *table, Oid operator, Oid *right_type,
					bool *is_pattern)
{
	Oid type = key_operator_type(table);
	Oid family = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY)->btree_opf;
	Oid left_type;
	int strategy;

	*is_pattern = false;
	if (!op_in_opfamily(operator, family))
	{
		/* Operators such as ~<~ compare bytes under any collation. */
		family = TEXT_PATTERN_BTREE_FAM_OID;
		*is_pattern = true;
		if (table->key_kind != NORIKV_KEY_TEXT || !op_in_opfamily(operator, family))
			return 0;
	}
	get_op_opfamily_properties(operator, family, false, &strategy, &left_type,
							   right_type);
	if (table->key_kind == NORIKV_KEY_INTEGER)
		return is_integer_type(left_type) && is_integer_type(*right_type) ? strategy : 0;
	return left_type == type && *right_type == type ? strategy : 0;
}

static NorikvCondition *
make_condition(NorikvConditionKind kind, Node *operand, Oid type, bool exact)
{
	NorikvCondition *condition = palloc(sizeof(NorikvCondition));

	condition->kind = kind;
	condition->operand = (Expr *) operand;
	condition->operand_type = type;
	condition->exact = exact;
	return condition;
}

/* ---- Clauses ---- */

static NorikvCondition *
match_comparison(const NorikvTable *table, Oid operator, Oid collation, Node *operand)
{
	static const NorikvConditionKind kinds[] = {
		[BTLessStrategyNumber] = NORIKV_CONDITION_LESS,
		[BTLessEqualStrategyNumber] = NORIKV_CONDITION_LESS_EQUAL,
		[BTEqualStrategyNumber] = NORIKV_CONDITION_EQUAL,
		[BTGreaterEqualStrategyNumber] = NORIKV_CONDITION_GREATER_EQUAL,
		[BTGreaterStrategyNumber] = NORIKV_CONDITION_GREATER,
	};
	Oid right_type;
	bool is_pattern;
	int strategy = comparison_strategy(table, operator, &right_type, &is_pattern);

	if (strategy == 0)
		return NULL;
	if (strategy == BTEqualStrategyNumber)
	{
		if (!is_bytewise_equality(table, collation))
			return NULL;
	}
	else if (!NorikvBytewiseOrder(table, is_pattern ? C_COLLATION_OID : collation))
		return NULL;
	return make_condition(kinds[strategy], operand, right_type, true);
}

/* Whether a pattern is some fixed text and then anything. */
static bool
is_prefix_pattern(Node *pattern)
{
	Const *constant = (Const *) pattern;
	text *value;
	const char *c;
	const char *end;

	if (!IsA(pattern, Const) || constant->constisnull)
		return false;
	value = DatumGetTextPP(constant->constvalue);
	c = VARDATA_ANY(value);
	end = c + VARSIZE_ANY_EXHDR(value);
	for (; c < end && *c != '%'; c++)
	{
		if (*c == '_')
			return false;
		if (*c == '\\' && ++c == end)
			return false;
	}
	if (c == end)
		return false;
	while (c < end && *c == '%')
		c++;
	return c == end;
}

static NorikvCondition *
match_prefix(const NorikvTable *table, Oid function, Oid collation, Node *operand)
{
	bool of_text = table->key_kind == NORIKV_KEY_TEXT;

	if (!is_bytewise_equality(table, collation))
		return NULL;
	if (function == F_STARTS_WITH && of_text)
		return make_condition(NORIKV_CONDITION_PREFIX, operand, TEXTOID, true);
	if ((function == F_TEXTLIKE && of_text) ||
		(function == F_BYTEALIKE && table->key_kind == NORIKV_KEY_BYTEA))
		return make_condition(NORIKV_CONDITION_LIKE, operand, exprType(operand),
							  is_prefix_pattern(operand));
	return NULL;
}

static NorikvCondition *
match_operator(PlannerInfo *root, RelOptInfo *relation, const NorikvTable *table,
			   OpExpr *clause)
{
	Node *left;
	Node *right;
	Oid operator= clause->opno;
	NorikvCondition *condition;

	if (list_length(clause->args) != 2)
		return NULL;
	left = linitial(clause->args);
	right = lsecond(clause->args);
	if (!NorikvIsKey(left, relation, table))
	{
		Node *swap = left;

		left = right;
		right = swap;
		operator= get_commutator(operator);
		if (!OidIsValid(operator) || !NorikvIsKey(left, relation, table))
			return NULL;
	}
	if (!is_operand(root, right, relation))
		return NULL;
	condition = match_comparison(table, operator, clause->inputcollid, right);
	if (condition == NULL)
		condition = match_prefix(table, get_opcode(operator), clause->inputcollid, right);
	return condition;
}

static NorikvCondition *
match_array(PlannerInfo *root, RelOptInfo *relation, const NorikvTable *table,
			ScalarArrayOpExpr *clause)
{
	Node *array = lsecond(clause->args);
	Oid right_type;
	bool is_pattern;

	if (!clause->useOr || !NorikvIsKey(linitial(clause->args), relation, table) ||
		!is_operand(root, array, relation) ||
		!is_bytewise_equality(table, clause->inputcollid) ||
		comparison_strategy(table, clause->opno, &right_type, &is_pattern) !=
			BTEqualStrategyNumber)
		return NULL;
	return make_condition(NORIKV_CONDITION_ANY, array, right_type, true);
}

static NorikvCondition *
match_function(PlannerInfo *root, RelOptInfo *relation, const NorikvTable *table,
			   FuncExpr *clause)
{
	if (clause->funcid != F_STARTS_WITH ||
		!NorikvIsKey(linitial(clause->args), relation, table) ||
		!is_operand(root, lsecond(clause->args), relation))
		return NULL;
	return match_prefix(table, clause->funcid, clause->inputcollid,
						lsecond(clause->args));
}

NorikvCondition *
NorikvMatchCondition(PlannerInfo *root, RelOptInfo *relation, const NorikvTable *table,
					 Expr *clause)
{
	if (IsA(clause, OpExpr))
		return match_operator(root, relation, table, (OpExpr *) clause);
	if (IsA(clause, ScalarArrayOpExpr))
		return match_array(root, relation, table, (ScalarArrayOpExpr *) clause);
	if (IsA(clause, FuncExpr))
		return match_function(root, relation, table, (FuncExpr *) clause);
	/* min(key) and max(key) ask for it, and no key is NULL. */
	if (IsA(clause, NullTest))
	{
		NullTest *test = (NullTest *) clause;

		if (test->nulltesttype == IS_NOT_NULL && !test->argisrow &&
			NorikvIsKey((Node *) test->arg, relation, table))
			return make_condition(NORIKV_CONDITION_NOT_NULL, NULL, InvalidOid, true);
	}
	return NULL;
}
