/*
 * distance.c - the three distances, as operators.
 *
 * Defined as norikvd defines them, so that what PostgreSQL computes is what a search
 * answers. Sums are in double precision: nothing that is finite overflows, and an
 * error stays far below that of the elements. They run in lanes, which the compiler
 * makes vector instructions of; the one order of additions that C demands of a plain
 * loop would forbid that.
 */
#include "vector/vector.h"

#include <math.h>

#include "utils/array.h"

PG_FUNCTION_INFO_V1(norikv_sql_l2_distance);
PG_FUNCTION_INFO_V1(norikv_sql_cosine_distance);
PG_FUNCTION_INFO_V1(norikv_sql_negative_inner_product);

#define LANES 8

/* One version for processors with wide registers, chosen when the module is loaded. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
	defined(__gnu_linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=haswell", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

static inline double
sum_lanes(const double *lanes)
{
	return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
		   ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

FOR_EACH_PROCESSOR static double
squared_distance(const float *a, const float *b, int n)
{
	double lanes[LANES] = {0};
	int i = 0;

	for (; i + LANES <= n; i += LANES)
	{
		for (int lane = 0; lane < LANES; lane++)
		{
			double difference = (double) a[i + lane] - b[i + lane];

			lanes[lane] += difference * difference;
		}
	}
	for (; i < n; i++)
	{
		double difference = (double) a[i] - b[i];

		lanes[0] += difference * difference;
	}
	return sum_lanes(lanes);
}

FOR_EACH_PROCESSOR static double
inner_product(const float *a, const float *b, int n)
{
	double lanes[LANES] = {0};
	int i = 0;

	for (; i + LANES <= n; i += LANES)
	{
		for (int lane = 0; lane < LANES; lane++)
			lanes[lane] += (double) a[i + lane] * b[i + lane];
	}
	for (; i < n; i++)
		lanes[0] += (double) a[i] * b[i];
	return sum_lanes(lanes);
}

double
NorikvEuclideanDistance(NorikvVector a, NorikvVector b)
{
	return sqrt(squared_distance(a.values, b.values, a.dimensions));
}

double
NorikvNegativeInnerProduct(NorikvVector a, NorikvVector b)
{
	return -inner_product(a.values, b.values, a.dimensions);
}

/* Rounding must not make a similarity of more than 1 of equal directions. */
double
NorikvCosineDistance(NorikvVector a, NorikvVector b)
{
	double squares = inner_product(a.values, a.values, a.dimensions) *
					 inner_product(b.values, b.values, b.dimensions);
	double similarity =
		inner_product(a.values, b.values, a.dimensions) / sqrt(squares);

	if (squares == 0)
		return NAN;
	return 1 - Max(Min(similarity, 1), -1);
}

/* ---- SQL ---- */

/*
 * The type of an operand is that of its elements: a call that was not made by the
 * executor need not know it.
 */
static NorikvVector
operand(FunctionCallInfo fcinfo, int argument, const char *what)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(argument);

	return NorikvVectorFromArray(array, what);
}

static double
distance(FunctionCallInfo fcinfo, double (*measure)(NorikvVector a, NorikvVector b))
{
	NorikvVector a = operand(fcinfo, 0, "the left vector");
	NorikvVector b = operand(fcinfo, 1, "the right vector");

	if (a.dimensions != b.dimensions)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("vectors must have the same number of dimensions, but they have "
					   "%d and %d", a.dimensions, b.dimensions));
	return measure(a, b);
}

Datum
norikv_sql_l2_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, NorikvEuclideanDistance));
}

Datum
norikv_sql_cosine_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, NorikvCosineDistance));
}

Datum
norikv_sql_negative_inner_product(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(distance(fcinfo, NorikvNegativeInnerProduct));
}
