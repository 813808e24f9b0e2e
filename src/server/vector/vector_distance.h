/*
 * vector_distance.h - distances, by the widest instructions this CPU has.
 *
 * What the functions read is a "point": components padded with zeroes to a multiple
 * of VECTOR_LANE, starting at a multiple of 64 bytes; for COSINE one more float
 * follows, the reciprocal of the length. So no function has a tail to handle, and
 * components stay as they were put, bit by bit.
 */
#ifndef NORIKVD_VECTOR_DISTANCE_H
#define NORIKVD_VECTOR_DISTANCE_H

#include "vector_index.h"

#ifdef __cplusplus
extern "C"
{
#endif

#define VECTOR_LANE 16			/* floats */
#define VECTOR_ALIGNMENT 64		/* bytes */

/* param points to a size_t: the padded number of components. hnswlib's signature. */
typedef float (*vector_distance) (const void *a, const void *b, const void *param);

typedef struct vector_kernels
{
	const char *name;
	vector_distance squared_l2;
	vector_distance cosine;
	vector_distance negated_dot;
} vector_kernels;

/* The best first; NULL past the last that this CPU can run. */
extern const vector_kernels *vector_kernels_at(size_t position);

extern vector_distance vector_distance_of(const vector_kernels *kernels,
										  vector_metric metric);

static inline size_t
vector_padded(uint32_t dimensions)
{
	return (dimensions + VECTOR_LANE - 1) / VECTOR_LANE * VECTOR_LANE;
}

/* Bytes of a point, not rounded up. */
static inline size_t
vector_point_size(vector_metric metric, uint32_t dimensions)
{
	return (vector_padded(dimensions) + (metric == VECTOR_COSINE)) * sizeof(float);
}

/* The values may be those of the point itself. */
extern void vector_point_fill(vector_metric metric, uint32_t dimensions,
							  const float *values, void *point);

/* What is told to people: summed in double precision, rooted where it is a root. */
extern float vector_distance_told(vector_metric metric, uint32_t dimensions,
								  const float *a, const float *b);

#ifdef __cplusplus
}
#endif

#endif
