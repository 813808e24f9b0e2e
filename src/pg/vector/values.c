/*
 * values.c - vectors from and to SQL: real[], what else has the same numbers in it, and
 * pgvector's type "vector".
 *
 * pgvector is known by the name of its type and its cast to real[] only. So nothing here
 * needs it, and any other type of that name with such a cast will do.
 */
#include "vector/vector.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define VECTOR_TYPE_NAME "vector"

/* ---- Types ---- */

static bool
is_number(Oid type)
{
	return type == FLOAT4OID || type == FLOAT8OID || type == NUMERICOID ||
		   type == INT4OID;
}

/* Of an array; domains are looked through. InvalidOid: the type is no array. */
static Oid
element_type(Oid type)
{
	Oid element = get_base_element_type(type);

	return OidIsValid(element) ? getBaseType(element) : InvalidOid;
}

/* The cast to real[] of a type that is called "vector"; InvalidOid: it is none. */
static Oid
vector_cast(Oid type)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	bool named = HeapTupleIsValid(tuple) &&
				 strcmp(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname),
						VECTOR_TYPE_NAME) == 0;
	Oid function;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	if (!named || find_coercion_pathway(FLOAT4ARRAYOID, type, COERCION_EXPLICIT,
										&function) != COERCION_PATH_FUNC)
		return InvalidOid;
	return function;
}

bool
NorikvIsVectorType(Oid type)
{
	return is_number(element_type(type)) || OidIsValid(vector_cast(getBaseType(type)));
}

static void
reject_type(Oid type, const char *expected, const char *what)
{
	ereport(ERROR, errcode(ERRCODE_DATATYPE_MISMATCH),
			errmsg("%s must be %s, not of type %s", what, expected,
				   format_type_be(type)));
}

/* A cast may take a type modifier, and whether it was written out. */
static Datum
call_cast(Oid function, Datum datum)
{
	switch (get_func_nargs(function))
	{
		case 1:
			return OidFunctionCall1(function, datum);
		case 2:
			return OidFunctionCall2(function, datum, Int32GetDatum(-1));
		default:
			return OidFunctionCall3(function, datum, Int32GetDatum(-1),
									BoolGetDatum(true));
	}
}

/* ---- Checks ---- */

static void
check_dimensions(int dimensions, const char *what)
{
	if (dimensions < 1 || dimensions > NORIKV_MAX_DIMENSIONS)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s must have 1 to %d dimensions, but it has %d", what,
					   NORIKV_MAX_DIMENSIONS, dimensions));
}

static void
reject_nulls(const bits8 *present, int count, const char *what)
{
	int nulls = 0;
	int first = 0;

	for (int i = count - 1; i >= 0; i--)
	{
		if ((present[i / 8] & (1 << (i % 8))) == 0)
		{
			nulls++;
			first = i;
		}
	}
	if (nulls > 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s must not contain nulls, but %d of its %d elements are", what,
					   nulls, count),
				errdetail("The first one is element %d.", first + 1));
}

static void
reject_not_finite(const float *values, int count, const char *what)
{
	int nans = 0;
	int infinities = 0;
	int first = 0;

	for (int i = count - 1; i >= 0; i--)
	{
		if (isfinite(values[i]))
			continue;
		first = i;
		if (isnan(values[i]))
			nans++;
		else
			infinities++;
	}
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("%s must have finite elements, but of its %d elements %d are NaN and "
				   "%d infinite", what, count, nans, infinities),
			errdetail("The first one is element %d.", first + 1));
}

/* A loop without branches for what is nearly always so. */
static void
check_finite(const float *values, int count, const char *what)
{
	float zero = 0;

	for (int i = 0; i < count; i++)
		zero += values[i] * 0.0f; /* NaN for NaN and infinity */
	if (zero != 0.0f || isnan(zero))
		reject_not_finite(values, count, what);
}

void
NorikvCheckVector(NorikvVector vector, const char *what)
{
	check_dimensions(vector.dimensions, what);
	check_finite(vector.values, vector.dimensions, what);
}

/* ---- Numbers ---- */

/* An infinity stays one, and is reported as such. */
static float
narrow(double value, int element, const char *what)
{
	float narrowed = (float) value;

	if (isinf(narrowed) && !isinf(value))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s must have elements in the range of type real, but element %d "
					   "is %g", what, element + 1, value));
	return narrowed;
}

static float
number_value(Datum datum, Oid type, int element, const char *what)
{
	switch (type)
	{
		case INT4OID:
			return (float) DatumGetInt32(datum);
		case FLOAT8OID:
			return narrow(DatumGetFloat8(datum), element, what);
		default:
			return narrow(DatumGetFloat8(DirectFunctionCall1(
							  numeric_float8_no_overflow, datum)),
						  element, what);
	}
}

static const float *
convert_numbers(ArrayType *array, Oid type, int count, const char *what)
{
	float *values = palloc(sizeof(float) * count);
	Datum *elements;
	int16 length;
	bool by_value;
	char alignment;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &alignment);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, alignment, &elements,
					  NULL, &count);
	for (int i = 0; i < count; i++)
		values[i] = number_value(elements[i], type, i, what);
	pfree(elements);
	return values;
}

/* Of all elements, in their order; the number of them has been checked. */
static const float *
array_values(ArrayType *array, int count, const char *what)
{
	Oid type = getBaseType(ARR_ELEMTYPE(array));
	const float *values;

	/* Where the bitmap has no null, all elements are there, as without it. */
	if (ARR_HASNULL(array))
		reject_nulls(ARR_NULLBITMAP(array), count, what);
	if (type == FLOAT4OID)
		values = (const float *) ARR_DATA_PTR(array);
	else
		values = convert_numbers(array, type, count, what);
	check_finite(values, count, what);
	return values;
}

/* ---- One vector ---- */

NorikvVector
NorikvVectorFromArray(ArrayType *array, const char *what)
{
	NorikvVector vector;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s must be an array of one dimension, but it has %d", what,
					   ARR_NDIM(array)));
	vector.dimensions = ARR_NDIM(array) == 0 ? 0 : ARR_DIMS(array)[0];
	check_dimensions(vector.dimensions, what);
	vector.values = array_values(array, vector.dimensions, what);
	return vector;
}

NorikvVector
NorikvVectorFromDatum(Datum datum, Oid type, const char *what)
{
	Oid cast;

	if (type != FLOAT4ARRAYOID && !is_number(element_type(type)))
	{
		cast = vector_cast(getBaseType(type));
		if (!OidIsValid(cast))
			reject_type(type, "an array of numbers", what);
		datum = call_cast(cast, datum);
	}
	return NorikvVectorFromArray(DatumGetArrayTypeP(datum), what);
}

Datum
NorikvVectorsGetDatum(const float *values, int n_vectors, int dimensions)
{
	int n_dims = 2;
	Size size = ARR_OVERHEAD_NONULLS(n_dims) +
				sizeof(float) * (Size) n_vectors * dimensions;
	ArrayType *array;

	if (n_vectors == 0)
		return PointerGetDatum(construct_empty_array(FLOAT4OID));
	if (!AllocSizeIsValid(size))
		ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("%d vectors of %d dimensions are too large for an array",
					   n_vectors, dimensions));
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = n_dims;
	array->elemtype = FLOAT4OID;
	ARR_DIMS(array)[0] = n_vectors;
	ARR_DIMS(array)[1] = dimensions;
	ARR_LBOUND(array)[0] = ARR_LBOUND(array)[1] = 1;
	memcpy(ARR_DATA_PTR(array), values, sizeof(float) * (Size) n_vectors * dimensions);
	return PointerGetDatum(array);
}

Datum
NorikvVectorGetDatum(NorikvVector vector)
{
	Size size = ARR_OVERHEAD_NONULLS(1) + sizeof(float) * vector.dimensions;
	ArrayType *array;

	if (vector.dimensions == 0)
		return PointerGetDatum(construct_empty_array(FLOAT4OID));
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->elemtype = FLOAT4OID;
	ARR_DIMS(array)[0] = vector.dimensions;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), vector.values, sizeof(float) * vector.dimensions);
	return PointerGetDatum(array);
}

/* ---- Many ---- */

static NorikvVectors
vectors_of_matrix(ArrayType *array, const char *what)
{
	NorikvVectors vectors = {0};

	if (ARR_NDIM(array) == 0)
		return vectors;
	if (ARR_NDIM(array) != 2)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s must be an array of two dimensions, but it has %d", what,
					   ARR_NDIM(array)),
				errhint("One vector after the other: ARRAY[vector, ...], or "
						"array_agg(vector)."));
	vectors.count = ARR_DIMS(array)[0];
	vectors.dimensions = ARR_DIMS(array)[1];
	check_dimensions(vectors.dimensions, what);
	vectors.values = array_values(array, vectors.count * vectors.dimensions, what);
	return vectors;
}

/* An array of values of the type "vector", each on its own. */
static NorikvVectors
vectors_of_list(ArrayType *array, Oid cast, const char *what)
{
	NorikvVectors vectors = {0};
	Oid type = ARR_ELEMTYPE(array);
	float *values = NULL;
	int16 length;
	bool by_value;
	char alignment;
	Datum *elements;
	bool *nulls;

	get_typlenbyvalalign(type, &length, &by_value, &alignment);
	deconstruct_array(array, type, length, by_value, alignment, &elements, &nulls,
					  &vectors.count);
	for (int i = 0; i < vectors.count; i++)
	{
		NorikvVector vector;

		if (nulls[i])
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s must not contain nulls, but element %d is one", what,
						   i + 1));
		vector = NorikvVectorFromArray(
			DatumGetArrayTypeP(call_cast(cast, elements[i])), what);
		if (i == 0)
		{
			vectors.dimensions = vector.dimensions;
			values = MemoryContextAllocHuge(CurrentMemoryContext,
											sizeof(float) * (Size) vectors.count *
												vectors.dimensions);
		}
		else if (vector.dimensions != vectors.dimensions)
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s must have vectors of one number of dimensions, but the "
						   "first has %d and vector %d has %d", what, vectors.dimensions,
						   i + 1, vector.dimensions));
		memcpy(values + (Size) i * vectors.dimensions, vector.values,
			   sizeof(float) * vectors.dimensions);
	}
	vectors.values = values;
	return vectors;
}

NorikvVectors
NorikvVectorsFromDatum(Datum datum, Oid type, const char *what)
{
	Oid element = element_type(type);
	Oid cast = InvalidOid;

	if (!is_number(element) && OidIsValid(element))
		cast = vector_cast(element);
	if (!is_number(element) && !OidIsValid(cast))
		reject_type(type, "an array of vectors", what);
	if (OidIsValid(cast))
		return vectors_of_list(DatumGetArrayTypeP(datum), cast, what);
	return vectors_of_matrix(DatumGetArrayTypeP(datum), what);
}
