/*
 * keyset.c - which keys the conditions of a query leave, with their operands
 * evaluated: some keys by name, or a range.
 */
#include "fdw/fdw.h"

#include "executor/executor.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

/*
 * Keys are at most max_key bytes, so bounds are at most one more: no key lies between
 * a longer bound and its first bytes with a zero byte behind them.
 */
static norikv_slice
cut_bound(norikv_slice bound, size_t max_key, bool *was_cut)
{
	char *cut;

	*was_cut = bound.size > max_key;
	if (!*was_cut)
		return bound;
	cut = palloc(max_key + 1);
	memcpy(cut, bound.data, max_key);
	cut[max_key] = '\0';
	return (norikv_slice){cut, max_key + 1};
}

/* The first key behind this one. */
static norikv_slice
successor(norikv_slice key)
{
	char *next = palloc(key.size + 1);

	memcpy(next, key.data, key.size);
	next[key.size] = '\0';
	return (norikv_slice){next, key.size + 1};
}

static void
raise_start(NorikvKeySet *set, norikv_slice bound)
{
	if (NorikvCompareKeys(bound, set->start) > 0)
		set->start = bound;
}

/* The bound is a real one: before the empty one lies nothing. */
static void
lower_end(NorikvKeySet *set, norikv_slice bound)
{
	if (bound.size == 0)
		set->empty = true;
	else if (set->end.size == 0 || NorikvCompareKeys(bound, set->end) < 0)
		set->end = bound;
}

static void
apply_bound(NorikvKeySet *set, NorikvConditionKind kind, norikv_slice bound)
{
	bool was_cut;

	bound = cut_bound(bound, set->max_key, &was_cut);
	if (!was_cut && (kind == NORIKV_CONDITION_GREATER ||
					 kind == NORIKV_CONDITION_LESS_EQUAL))
		bound = successor(bound);
	if (kind == NORIKV_CONDITION_GREATER || kind == NORIKV_CONDITION_GREATER_EQUAL)
		raise_start(set, bound);
	else
		lower_end(set, bound);
}

static void
apply_prefix(NorikvKeySet *set, norikv_slice prefix)
{
	char *end = palloc(Max(prefix.size, 1));
	size_t end_size;

	if (prefix.size > set->max_key)
	{
		set->empty = true;
		return;
	}
	raise_start(set, prefix);
	end_size = norikv_prefix_end(prefix, end);
	if (end_size > 0)
		lower_end(set, (norikv_slice){end, end_size});
}

/* What every match of a LIKE pattern begins with, as a value of the same type. */
static Datum
fixed_start(Datum pattern)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(pattern);
	const char *c = VARDATA_ANY(value);
	const char *end = c + VARSIZE_ANY_EXHDR(value);
	struct varlena *start = palloc(VARHDRSZ + (end - c));
	char *out = VARDATA(start);

	for (; c < end && *c != '%' && *c != '_'; c++)
	{
		/* A backslash at the end is an error of LIKE's, not ours. */
		if (*c == '\\' && ++c == end)
			break;
		*out++ = *c;
	}
	SET_VARSIZE(start, out - (char *) start);
	return PointerGetDatum(start);
}

/* ---- Keys by name ---- */

static int
compare_for_sort(const void *a, const void *b)
{
	return NorikvCompareKeys(*(const norikv_slice *) a, *(const norikv_slice *) b);
}

static void
sort_and_unique(NorikvKeySet *set)
{
	int kept = 0;

	qsort(set->keys, set->n_keys, sizeof(norikv_slice), compare_for_sort);
	for (int i = 0; i < set->n_keys; i++)
	{
		if (kept == 0 || NorikvCompareKeys(set->keys[kept - 1], set->keys[i]) != 0)
			set->keys[kept++] = set->keys[i];
	}
	set->n_keys = kept;
}

/* Keeps of the keys those that are in the sorted ones given too. */
static void
intersect(NorikvKeySet *set, NorikvKeySet *other)
{
	int kept = 0;

	if (!set->lookup)
	{
		set->lookup = true;
		set->keys = other->keys;
		set->n_keys = other->n_keys;
		return;
	}
	for (int i = 0; i < set->n_keys; i++)
	{
		if (bsearch(&set->keys[i], other->keys, other->n_keys, sizeof(norikv_slice),
					compare_for_sort) != NULL)
			set->keys[kept++] = set->keys[i];
	}
	set->n_keys = kept;
}

static void
apply_equal(const NorikvTable *table, NorikvKeySet *set, Datum value, Oid type)
{
	NorikvKeySet one = {.keys = palloc(sizeof(norikv_slice))};

	if (NorikvKeyOfCondition(table, value, type, set->max_key, &one.keys[0]))
		one.n_keys = 1;
	intersect(set, &one);
}

static void
apply_any(const NorikvTable *table, NorikvKeySet *set, Datum value, Oid type)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	NorikvKeySet some = {.n_keys = 0};
	int16 length;
	bool by_value;
	char align;
	Datum *elements;
	bool *nulls;
	int n_elements;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &elements,
					  &nulls, &n_elements);
	some.keys = palloc(sizeof(norikv_slice) * Max(n_elements, 1));
	for (int i = 0; i < n_elements; i++)
	{
		if (!nulls[i] &&
			NorikvKeyOfCondition(table, elements[i], type, set->max_key,
								 &some.keys[some.n_keys]))
			some.n_keys++;
	}
	sort_and_unique(&some);
	intersect(set, &some);
}

/* ---- All together ---- */

static void
apply(const NorikvTable *table, NorikvKeySet *set, NorikvConditionKind kind, Oid type,
	  Datum value)
{
	norikv_slice key;

	switch (kind)
	{
		case NORIKV_CONDITION_EQUAL:
			apply_equal(table, set, value, type);
			break;
		case NORIKV_CONDITION_ANY:
			apply_any(table, set, value, type);
			break;
		case NORIKV_CONDITION_PREFIX:
		case NORIKV_CONDITION_LIKE:
			if (kind == NORIKV_CONDITION_LIKE)
				value = fixed_start(value);
			(void) NorikvKeyOfCondition(table, value, type, set->max_key, &key);
			apply_prefix(set, key);
			break;
		case NORIKV_CONDITION_NOT_NULL:
			break;
		default:
			(void) NorikvKeyOfCondition(table, value, type, set->max_key, &key);
			apply_bound(set, kind, key);
	}
}

/* Keys by name that lie outside of the range, too, are not asked for. */
static void
settle(NorikvKeySet *set)
{
	int kept = 0;

	if (set->end.size > 0 && NorikvCompareKeys(set->start, set->end) >= 0)
		set->empty = true;
	for (int i = 0; i < set->n_keys; i++)
	{
		if (NorikvCompareKeys(set->keys[i], set->start) >= 0 &&
			(set->end.size == 0 || NorikvCompareKeys(set->keys[i], set->end) < 0))
			set->keys[kept++] = set->keys[i];
	}
	set->n_keys = kept;
	set->empty |= set->lookup && set->n_keys == 0;
}

void
NorikvEvaluateConditions(const NorikvTable *table, List *kinds, List *types,
						 List *operands, ExprContext *context, NorikvKeySet *set)
{
	ListCell *kind;
	ListCell *type;
	ListCell *operand;

	*set = (NorikvKeySet){.start = table->prefix,
						  .end = table->prefix_end,
						  .empty = table->prefix.size > set->max_key,
						  .max_key = set->max_key};
	if (set->empty)
		return;
	forthree (kind, kinds, type, types, operand, operands)
	{
		bool is_null;
		Datum value = ExecEvalExpr((ExprState *) lfirst(operand), context, &is_null);

		if (is_null)
		{
			set->empty = true;
			return;
		}
		apply(table, set, lfirst_int(kind), lfirst_oid(type), value);
	}
	settle(set);
}
