/*
 * vector_level.c - how high a row stands in the graph.
 *
 * Layers are drawn as HNSW has it, one in m rows of a layer being in the next one too,
 * but from the row's number: threads need not share a generator, and a snapshot can be
 * held against what it should say.
 */
#include "vector_graph.h"

#include <math.h>

unsigned
vector_graph_level(uint32_t slot, uint32_t m)
{
	uint64_t	x = ((uint64_t) slot + 1) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return (unsigned) (-log((double) ((x >> 11) + 1) * 0x1p-53) * (1 / log(m)));
}
