/*
 * array.c - arrays of keys and values, as arguments.
 */
#include "pg_norikv.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static void
take_apart(ArrayType *array, const char *argument, NorikvElements *elements)
{
	Oid type = ARR_ELEMTYPE(array);

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must have one dimension, but it has %d", argument,
					   ARR_NDIM(array)));
	elements->type = getBaseType(type);
	deconstruct_array(array, type, -1, false, TYPALIGN_INT, &elements->values,
					  &elements->nulls, &elements->count);
}

static bool
is_text_type(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || type == BPCHAROID;
}

static void
reject_type(const char *argument, const char *expected, Oid type)
{
	ereport(ERROR, errcode(ERRCODE_DATATYPE_MISMATCH),
			errmsg("argument \"%s\" must be an array of %s, not of type %s", argument,
				   expected, format_type_be(type)));
}

void
NorikvKeysArgument(FunctionCallInfo fcinfo, NorikvElements *elements)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	Oid type = getBaseType(ARR_ELEMTYPE(array));

	if (!is_text_type(type) && type != BYTEAOID)
		reject_type("keys", "text or bytea", get_fn_expr_argtype(fcinfo->flinfo, 0));
	take_apart(array, "keys", elements);
}

/*
 * SQL declares the argument as "any", so that a plain literal resolves: that
 * comes as a C string of no type and is read as an array of text.
 */
void
NorikvValuesArgument(FunctionCallInfo fcinfo, NorikvElements *elements)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, 1);
	ArrayType *array;

	if (type == UNKNOWNOID)
	{
		Oid input;
		Oid io_param;

		getTypeInputInfo(TEXTARRAYOID, &input, &io_param);
		array = DatumGetArrayTypeP(
			OidInputFunctionCall(input, PG_GETARG_CSTRING(1), io_param, -1));
	}
	else
	{
		Oid element = get_base_element_type(type);

		if (OidIsValid(element))
			element = getBaseType(element);
		if (!is_text_type(element) && element != BYTEAOID && element != JSONOID &&
			element != JSONBOID)
			reject_type("vals", "text, bytea, json or jsonb", type);
		array = PG_GETARG_ARRAYTYPE_P(1);
	}
	take_apart(array, "vals", elements);
}

norikv_slice
NorikvElementKey(const NorikvElements *elements, int i)
{
	if (elements->nulls[i])
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"%s\" must not contain nulls, but element %d is one",
					   "keys", i + 1));
	return NorikvKeyFromDatum(elements->values[i], elements->type != BYTEAOID, "keys");
}

/*
 * The elements to send: two operations on one key are none of a server's business,
 * so of equal keys only the last counts, as if they were written one by one.
 */
int
NorikvLastOfEqualKeys(const norikv_slice *keys, int count, int *chosen)
{
	uint32 size = pg_nextpower2_32(Max(count, 1) * 2);
	int *table = palloc(sizeof(int) * size);
	bool *replaced = palloc0(sizeof(bool) * Max(count, 1));
	int n_chosen = 0;

	memset(table, -1, sizeof(int) * size);
	for (int i = 0; i < count; i++)
	{
		uint32 slot = hash_bytes(keys[i].data, keys[i].size) & (size - 1);

		while (table[slot] >= 0 && !NorikvSameBytes(keys[table[slot]], keys[i]))
			slot = (slot + 1) & (size - 1);
		if (table[slot] >= 0)
			replaced[table[slot]] = true;
		table[slot] = i;
	}
	for (int i = 0; i < count; i++)
	{
		if (!replaced[i])
			chosen[n_chosen++] = i;
	}
	pfree(table);
	pfree(replaced);
	return n_chosen;
}
