/*
 * Distances: every kernel this CPU has, and what is told, against double precision.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/vectors.h"
#include "vector_distance.h"

static const uint32_t widths[] = {1, 2, 3, 15, 16, 17, 63, 64, 65, 128, 384, 1000, 1536,
	4096};

#define N_WIDTHS (sizeof(widths) / sizeof(widths[0]))
#define PAIRS 50

static bool
near(double a, double b)
{
	return fabs(a - b) <= 1e-5 * fmax(1, fabs(b));
}

static float *
point_of(int metric, uint32_t dimensions, const float *values)
{
	float	   *point = aligned_alloc(64, vector_padded(dimensions) * sizeof(float) + 64);

	vector_point_fill((vector_metric) metric, dimensions, values, point);
	return point;
}

static float
by_kernel(const vector_kernels *kernels, int metric, uint32_t dimensions, const float *a,
		  const float *b)
{
	size_t		padded = vector_padded(dimensions);
	float	   *x = point_of(metric, dimensions, a);
	float	   *y = point_of(metric, dimensions, b);
	float		d = vector_distance_of(kernels, (vector_metric) metric)(x, y, &padded);

	free(x);
	free(y);
	return metric == VECTOR_EUCLIDEAN ? sqrtf(d) : d;
}

/* Of unit length, as embeddings are: then a kernel's own sum is near as well. */
static void
scale_to_one(float *vector, uint32_t dimensions)
{
	double		squares = 0;

	for (uint32_t i = 0; i < dimensions; i++)
		squares += (double) vector[i] * vector[i];
	for (uint32_t i = 0; i < dimensions; i++)
		vector[i] = (float) (vector[i] / sqrt(squares));
}

static void
kernels_agree_with_doubles(void **state)
{
	const vector_kernels *kernels;
	size_t		n_kernels = 0;

	(void) state;
	for (; (kernels = vector_kernels_at(n_kernels)) != NULL; n_kernels++)
		for (size_t w = 0; w < N_WIDTHS; w++)
		{
			uint32_t	width = widths[w];
			float	   *vectors = vectors_clustered(7, w, 2 * PAIRS, width, 5);

			for (int i = 0; i < PAIRS; i++)
			{
				float	   *a = vectors + 2 * i * width;
				float	   *b = a + width;

				scale_to_one(a, width);
				scale_to_one(b, width);
				for (int metric = 1; metric <= 3; metric++)
					assert_true(near(by_kernel(kernels, metric, width, a, b),
									 vectors_distance(metric, a, b, width)));
			}
			free(vectors);
		}
	assert_true(n_kernels >= 1);
	assert_string_equal(vector_kernel_name(), vector_kernels_at(0)->name);
}

/* Also of long vectors that nearly cancel out, where floats would be off. */
static void
told_distances_agree_with_doubles(void **state)
{
	(void) state;
	for (size_t w = 0; w < N_WIDTHS; w++)
	{
		uint32_t	width = widths[w];
		float	   *vectors = vectors_clustered(8, w, 2 * PAIRS, width, 5);

		for (int i = 0; i < PAIRS; i++)
		{
			float	   *a = vectors + 2 * i * width;
			float	   *b = a + width;

			for (uint32_t j = 0; j < width; j++)
			{
				a[j] *= 1000;
				b[j] *= i % 2 ? 1000 : 0.001f;
			}
			for (int metric = 1; metric <= 3; metric++)
				assert_true(near(vector_distance_told((vector_metric) metric, width, a, b),
								 vectors_distance(metric, a, b, width)));
		}
		free(vectors);
	}
}

static void
equal_directions_are_at_equal_distance(void **state)
{
	float		a[2] = {1, 1};
	float		b[2] = {3, 3};
	float		c[2] = {0.1f, 0.1f};

	(void) state;
	assert_true(vector_distance_told(VECTOR_COSINE, 2, a, b) == 0);
	assert_true(vector_distance_told(VECTOR_COSINE, 2, a, c) == 0);
	assert_true(vector_distance_told(VECTOR_COSINE, 2, b, c) == 0);
}

static void
what_is_no_vector_is_refused(void **state)
{
	float		values[4] = {1, 2, 3, 4};
	float		zeroes[4] = {0};
	float		nan[4] = {1, NAN, 3, 4};
	float		infinite[4] = {1, 2, -INFINITY, 4};
	float		huge[4] = {1.1e18f, 1, 1, 1};
	float		tiny[4] = {1e-19f, 0, 0, 0};
	vector_status status;

	(void) state;
	assert_int_equal(vector_check(VECTOR_COSINE, 4, values, 4, &status), VECTOR_OK);
	assert_int_equal(status.code, VECTOR_OK);
	assert_int_equal(vector_check(VECTOR_EUCLIDEAN, 4, values, 3, &status), VECTOR_INVALID);
	assert_string_equal(status.text, "vector has 3 components, the index has 4 dimensions");
	assert_int_equal(vector_check(VECTOR_EUCLIDEAN, 4, nan, 4, &status), VECTOR_INVALID);
	assert_string_equal(status.text, "vector component 2 is not a finite number");
	assert_int_equal(vector_check(VECTOR_EUCLIDEAN, 4, infinite, 4, &status),
					 VECTOR_INVALID);
	assert_string_equal(status.text, "vector component 3 is not a finite number");
	assert_int_equal(vector_check(VECTOR_INNER_PRODUCT, 4, huge, 4, &status),
					 VECTOR_INVALID);
	assert_int_equal(vector_check(VECTOR_COSINE, 4, zeroes, 4, &status), VECTOR_INVALID);
	assert_int_equal(vector_check(VECTOR_COSINE, 4, tiny, 4, NULL), VECTOR_INVALID);
	assert_int_equal(vector_check(VECTOR_EUCLIDEAN, 4, zeroes, 4, NULL), VECTOR_OK);
	assert_int_equal(vector_check(VECTOR_EUCLIDEAN, 4, tiny, 4, NULL), VECTOR_OK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernels_agree_with_doubles),
		cmocka_unit_test(told_distances_agree_with_doubles),
		cmocka_unit_test(equal_directions_are_at_equal_distance),
		cmocka_unit_test(what_is_no_vector_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
