/*
 * vectors.c - seeded vectors and a brute-force reference, written without any of what
 * they test.
 */
#include "vectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint64_t
vectors_random(uint64_t *state)
{
	uint64_t	x = (*state += UINT64_C(0x9e3779b97f4a7c15));

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

double
vectors_uniform(uint64_t *state)
{
	return (double) (vectors_random(state) >> 11) * 0x1p-53;
}

/* Near enough: the sum of four uniform numbers, scaled to variance 1. */
static double
normal(uint64_t *state)
{
	double		sum = 0;

	for (int i = 0; i < 4; i++)
		sum += vectors_uniform(state);
	return (sum - 2) * 1.7320508;
}

#define NOISE 0.5

float *
vectors_clustered(uint64_t seed, uint64_t stream, size_t n, uint32_t dimensions,
				  unsigned n_clusters)
{
	float	   *vectors = malloc((n ? n : 1) * dimensions * sizeof(float));
	float	   *centres = malloc(n_clusters * dimensions * sizeof(float));
	uint64_t	state = seed;

	if (vectors == NULL || centres == NULL)
		abort();
	for (size_t i = 0; i < (size_t) n_clusters * dimensions; i++)
		centres[i] = (float) normal(&state);
	state = seed ^ (stream + 1) * UINT64_C(0xd1342543de82ef95);
	for (size_t i = 0; i < n; i++)
	{
		const float *centre = centres + (vectors_random(&state) % n_clusters) * dimensions;

		for (uint32_t j = 0; j < dimensions; j++)
			vectors[i * dimensions + j] = centre[j] + (float) (NOISE * normal(&state));
	}
	free(centres);
	return vectors;
}

double
vectors_distance(int metric, const float *a, const float *b, uint32_t dimensions)
{
	double		squares = 0;
	double		dot = 0;
	double		aa = 0;
	double		bb = 0;

	for (uint32_t i = 0; i < dimensions; i++)
	{
		double		x = a[i];
		double		y = b[i];

		squares += (x - y) * (x - y);
		dot += x * y;
		aa += x * x;
		bb += y * y;
	}
	return metric == 1 ? sqrt(squares) : metric == 2 ? 1 - dot / sqrt(aa * bb) : -dot;
}

void
vectors_nearest(int metric, const float *query, const float *vectors, size_t n,
				uint32_t dimensions, size_t k, uint32_t *nearest)
{
	double	   *best = malloc((k + 1) * sizeof(double));
	size_t		found = 0;

	if (best == NULL)
		abort();
	for (size_t i = 0; i < n; i++)
	{
		double		d = vectors_distance(metric, query, vectors + i * dimensions,
										 dimensions);
		size_t		at = found;

		if (found == k && d >= best[k - 1])
			continue;
		if (found < k)
			found++;
		else
			at = k - 1;
		for (; at > 0 && best[at - 1] > d; at--)
		{
			best[at] = best[at - 1];
			nearest[at] = nearest[at - 1];
		}
		best[at] = d;
		nearest[at] = (uint32_t) i;
	}
	free(best);
}
