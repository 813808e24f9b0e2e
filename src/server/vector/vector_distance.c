/*
 * vector_distance.c - distance functions, one set for each width of vector registers.
 *
 * They are written once, with the compiler's vector types, and compiled for each
 * width by a target attribute: the build needs no flags for a certain CPU, and the
 * program picks at run time. Four sums at once hide the latency of an addition.
 */
#include "vector_distance.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef float floats4 __attribute__((vector_size(16), may_alias));

/* Sums of all lanes, by halves: one addition after the other would cost as much as the
 * components do. */
#define LANES4(s) \
	(s += __builtin_shufflevector(s, s, 2, 3, 0, 1), \
	 s += __builtin_shufflevector(s, s, 1, 0, 3, 2), s[0])
#define LANES8(s) \
	(s += __builtin_shufflevector(s, s, 4, 5, 6, 7, 0, 1, 2, 3), \
	 s += __builtin_shufflevector(s, s, 2, 3, 0, 1, 6, 7, 4, 5), \
	 s += __builtin_shufflevector(s, s, 1, 0, 3, 2, 5, 4, 7, 6), s[0])
#define LANES16(s) \
	(s += __builtin_shufflevector(s, s, 8, 9, 10, 11, 12, 13, 14, 15, \
								  0, 1, 2, 3, 4, 5, 6, 7), \
	 s += __builtin_shufflevector(s, s, 4, 5, 6, 7, 0, 1, 2, 3, \
								  12, 13, 14, 15, 8, 9, 10, 11), \
	 s += __builtin_shufflevector(s, s, 2, 3, 0, 1, 6, 7, 4, 5, \
								  10, 11, 8, 9, 14, 15, 12, 13), \
	 s += __builtin_shufflevector(s, s, 1, 0, 3, 2, 5, 4, 7, 6, \
								  9, 8, 11, 10, 13, 12, 15, 14), s[0])

#define ADD_L2(sum, x, y) do { __typeof__(sum) d_ = (x) - (y); sum += d_ * d_; } while (0)
#define ADD_DOT(sum, x, y) do { sum += (x) * (y); } while (0)

/*
 * Defines NAME, the sum over all components. Points are padded to 16 floats, so of
 * any width there are whole vectors only.
 */
#define DEFINE_SUM(NAME, TARGET, FLOATS, LANES, ADD) \
	TARGET static inline float \
	NAME(const void *a, const void *b, const void *param) \
	{ \
		const FLOATS *x = a; \
		const FLOATS *y = b; \
		size_t		n = *(const size_t *) param * sizeof(float) / sizeof(FLOATS); \
		size_t		i = 0; \
		FLOATS		s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}; \
		\
		for (; i + 4 <= n; i += 4) \
		{ \
			ADD(s0, x[i], y[i]); \
			ADD(s1, x[i + 1], y[i + 1]); \
			ADD(s2, x[i + 2], y[i + 2]); \
			ADD(s3, x[i + 3], y[i + 3]); \
		} \
		for (; i < n; i++) \
			ADD(s0, x[i], y[i]); \
		s0 = (s0 + s1) + (s2 + s3); \
		return LANES(s0); \
	}

#define DEFINE_KERNELS(SUFFIX, TARGET, FLOATS, LANES) \
	DEFINE_SUM(squared_l2_##SUFFIX, TARGET, FLOATS, LANES, ADD_L2) \
	DEFINE_SUM(dot_##SUFFIX, TARGET, FLOATS, LANES, ADD_DOT) \
	TARGET static float \
	negated_dot_##SUFFIX(const void *a, const void *b, const void *param) \
	{ \
		return -dot_##SUFFIX(a, b, param); \
	} \
	TARGET static float \
	cosine_##SUFFIX(const void *a, const void *b, const void *param) \
	{ \
		size_t		n = *(const size_t *) param; \
		\
		return 1.0f - dot_##SUFFIX(a, b, param) * ((const float *) a)[n] * \
			((const float *) b)[n]; \
	}

#define KERNELS(SUFFIX) \
	{#SUFFIX, squared_l2_##SUFFIX, cosine_##SUFFIX, negated_dot_##SUFFIX}

#if defined(__x86_64__)
typedef float floats8 __attribute__((vector_size(32), may_alias));
typedef float floats16 __attribute__((vector_size(64), may_alias));

DEFINE_KERNELS(avx512, __attribute__((target("avx512f"))), floats16, LANES16)
DEFINE_KERNELS(avx2, __attribute__((target("avx2,fma"))), floats8, LANES8)
#endif
DEFINE_KERNELS(baseline, , floats4, LANES4)

const vector_kernels *
vector_kernels_at(size_t position)
{
	static const vector_kernels all[] = {
#if defined(__x86_64__)
		KERNELS(avx512),
		KERNELS(avx2),
#endif
		KERNELS(baseline)
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
	{
#if defined(__x86_64__)
		if (all[i].squared_l2 == squared_l2_avx512 && !__builtin_cpu_supports("avx512f"))
			continue;
		if (all[i].squared_l2 == squared_l2_avx2 &&
			!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")))
			continue;
#endif
		if (position-- == 0)
			return &all[i];
	}
	return NULL;
}

const char *
vector_kernel_name(void)
{
	return vector_kernels_at(0)->name;
}

vector_distance
vector_distance_of(const vector_kernels *kernels, vector_metric metric)
{
	switch (metric)
	{
		case VECTOR_EUCLIDEAN:
			return kernels->squared_l2;
		case VECTOR_COSINE:
			return kernels->cosine;
		case VECTOR_INNER_PRODUCT:
			break;
	}
	return kernels->negated_dot;
}

/* Values of the caller's are aligned like any float. */
typedef float any_floats4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef double doubles4 __attribute__((vector_size(32)));

#define DOUBLES(from) __builtin_convertvector(*(const any_floats4 *) (from), doubles4)

static double
dot(const float *a, const float *b, uint32_t n)
{
	doubles4	sums = {0};
	double		rest = 0;
	uint32_t	i = 0;

	for (; i + 4 <= n; i += 4)
		sums += DOUBLES(a + i) * DOUBLES(b + i);
	for (; i < n; i++)
		rest += (double) a[i] * b[i];
	return (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest;
}

static double
squared_l2(const float *a, const float *b, uint32_t n)
{
	doubles4	sums = {0};
	double		rest = 0;
	uint32_t	i = 0;

	for (; i + 4 <= n; i += 4)
	{
		doubles4	difference = DOUBLES(a + i) - DOUBLES(b + i);

		sums += difference * difference;
	}
	for (; i < n; i++)
		rest += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
	return (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest;
}

void
vector_point_fill(vector_metric metric, uint32_t dimensions, const float *values,
				  void *point)
{
	float	   *to = point;
	size_t		padded = vector_padded(dimensions);

	memmove(to, values, dimensions * sizeof(float));
	memset(to + dimensions, 0, (padded - dimensions) * sizeof(float));
	if (metric == VECTOR_COSINE)
		to[padded] = (float) (1.0 / sqrt(dot(values, values, dimensions)));
}

/*
 * The similarity is rounded to a float before it is taken from 1: vectors of one
 * direction are then at the same distance, whatever their lengths, and ties are ties.
 */
float
vector_distance_told(vector_metric metric, uint32_t dimensions, const float *a,
					 const float *b)
{
	switch (metric)
	{
		case VECTOR_EUCLIDEAN:
			return (float) sqrt(squared_l2(a, b, dimensions));
		case VECTOR_COSINE:
			return 1.0f - (float) (dot(a, b, dimensions) /
								   sqrt(dot(a, a, dimensions) * dot(b, b, dimensions)));
		case VECTOR_INNER_PRODUCT:
			break;
	}
	return (float) (0.0 - dot(a, b, dimensions));
}

static vector_code
refuse(vector_status *status, const char *format, double a, double b)
{
	if (status)
	{
		status->code = VECTOR_INVALID;
		snprintf(status->text, sizeof(status->text), format, a, b);
	}
	return VECTOR_INVALID;
}

#define LENGTH_LIMIT 1e18

vector_code
vector_check(vector_metric metric, uint32_t dimensions, const float *values,
			 size_t n_values, vector_status *status)
{
	double		length;

	if (n_values != dimensions)
		return refuse(status, "vector has %.0f components, the index has %.0f dimensions",
					  n_values, dimensions);
	for (size_t i = 0; i < n_values; i++)
		if (!isfinite(values[i]))
			return refuse(status, "vector component %.0f is not a finite number",
						  (double) i + 1, 0);
	length = sqrt(dot(values, values, dimensions));
	if (length >= LENGTH_LIMIT)
		return refuse(status, "vector has length %g, the limit is %g", length,
					  LENGTH_LIMIT);
	if (metric == VECTOR_COSINE && length == 0)
		return refuse(status, "vector of zeroes has no direction, which cosine distance"
					  " needs", 0, 0);
	if (metric == VECTOR_COSINE && length <= 1 / LENGTH_LIMIT)
		return refuse(status, "vector has length %g, cosine distance needs more than %g",
					  length, 1 / LENGTH_LIMIT);
	if (status)
		status->code = VECTOR_OK;
	return VECTOR_OK;
}
