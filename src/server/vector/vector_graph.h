/*
 * vector_graph.h - the graph of an HNSW index: hnswlib's, behind a C interface.
 *
 * The graph keeps links between rows that its owner has (vector_rows.h); a row's
 * number is the node's. Locks are the owner's: vector_graph_grow alone, all others
 * together. No exception leaves: false is out of memory.
 */
#ifndef NORIKVD_VECTOR_GRAPH_H
#define NORIKVD_VECTOR_GRAPH_H

#include "vector_beam.h"
#include "vector_distance.h"

#ifdef __cplusplus
extern "C"
{
#endif

typedef struct vector_graph vector_graph;

/* What of the owner's memory the graph reads and writes. */
typedef struct vector_graph_rows
{
	char	   *rows;
	const uint8_t *states;		/* bit VECTOR_LIVE: may be found */
	const uint32_t *twins;		/* the next row with the same components */
	uint32_t	capacity;
} vector_graph_rows;

typedef struct vector_graph_options
{
	vector_distance distance;
	size_t		padded;			/* floats of a point */
	size_t		row_size;
	size_t		links_offset;	/* of layer 0's links in a row */
	uint32_t	m;
	uint32_t	ef_construction;
} vector_graph_options;

/* Bytes that layer 0's links take in a row. */
static inline size_t
vector_graph_links_size(uint32_t m)
{
	return (2 * (size_t) m + 1) * sizeof(uint32_t);
}

extern vector_graph *vector_graph_create(const vector_graph_options *options);
extern void vector_graph_destroy(vector_graph *graph);
extern bool vector_graph_grow(vector_graph *graph, const vector_graph_rows *rows);

/* After false the graph may be in disorder: it must not be searched again. */
extern bool vector_graph_link(vector_graph *graph, uint32_t slot);

/*
 * The nearest live rows and their twins, at most ef, into an array of ef; in no
 * order.
 */
extern bool vector_graph_search(vector_graph *graph, const void *point, uint32_t ef,
								vector_near *found, uint32_t *n_found);

/* Of one graph with room for so many rows, whatever is linked above layer 0 apart. */
extern uint64_t vector_graph_bytes_for(uint32_t capacity);
extern uint64_t vector_graph_bytes(const vector_graph *graph);

/* ---- What a snapshot needs ---- */

/* Layers above 0 that a row has, linked or not: a function of its number. */
extern unsigned vector_graph_level(uint32_t slot, uint32_t m);

/* Bytes of one row's links in one layer above 0. */
static inline size_t
vector_graph_upper_size(uint32_t m)
{
	return ((size_t) m + 1) * sizeof(uint32_t);
}

/*
 * Copies a linked row's links of a layer, first their number, leaving out rows from
 * `end` on. The array has room for 2m + 1 (layer 0) or m + 1.
 */
extern void vector_graph_copy_links(vector_graph *graph, uint32_t slot, unsigned layer,
									uint32_t end, uint32_t *links);

/* Takes links that were copied; those of layer 0 are in the row already. *good: a graph
 * can have such links, and it has them now. */
extern bool vector_graph_restore(vector_graph *graph, uint32_t slot, unsigned layer,
								 uint32_t end, const uint32_t *links, bool *good);

/* After all rows were restored: finds where to start. */
extern bool vector_graph_restored(vector_graph *graph, uint32_t end,
								  const uint8_t *skipped);

#ifdef __cplusplus
}
#endif

#endif
