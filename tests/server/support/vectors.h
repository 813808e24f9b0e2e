/*
 * vectors.h - vectors for tests and benchmarks: made from a seed, in clusters as
 * embeddings are, and distances in double precision.
 */
#ifndef NORIKV_TEST_VECTORS_H
#define NORIKV_TEST_VECTORS_H

#include <stddef.h>
#include <stdint.h>

/* splitmix64 */
extern uint64_t vectors_random(uint64_t *state);
extern double vectors_uniform(uint64_t *state);

/*
 * n vectors of one distribution: the first `n_clusters` draws from seed are centres,
 * and each vector is a centre and noise. `stream` tells sets of one distribution
 * apart (data 0, queries 1). malloc; never NULL.
 */
extern float *vectors_clustered(uint64_t seed, uint64_t stream, size_t n,
								uint32_t dimensions, unsigned n_clusters);

/* The reference: metric as in vector_index.h. */
extern double vectors_distance(int metric, const float *a, const float *b,
							   uint32_t dimensions);

/* Numbers of the k nearest of n, ascending; by brute force and in double precision. */
extern void vectors_nearest(int metric, const float *query, const float *vectors,
							size_t n, uint32_t dimensions, size_t k, uint32_t *nearest);

#endif
