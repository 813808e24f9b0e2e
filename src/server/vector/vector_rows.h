/*
 * vector_rows.h - the vectors of an index, one generation of them: rows, ids, graph.
 *
 * A put appends a row, the row it replaces is dead; nothing is written in place, so
 * a reader never sees half a vector. When too many rows are dead, the live ones are
 * copied into a new generation, and the old one goes with its last reader.
 *
 * A row is the vector as vector_distance.h has it and, of an HNSW index, its links in
 * layer 0. So vectors are stored once, for the graph as for the search that reads
 * them all.
 *
 * Who may do what:
 * - the writer, one at a time (vector_index.c's lock), appends, kills and grows;
 * - `shape` is held shared by whoever follows a pointer into rows, slots, states,
 *   twins or the graph, and alone by the writer while it moves them. Nobody holds
 *   it for longer than some hundred microseconds;
 * - `table` is held shared to ask whether rows are live and where an id is, and
 *   alone by the writer for the instant in which one row takes another's place.
 *   Before shape, where both are held;
 * - `linking` guards which rows are linked.
 */
#ifndef NORIKVD_VECTOR_ROWS_H
#define NORIKVD_VECTOR_ROWS_H

#include "vector_index.h"
#include "vector_map.h"

#define VECTOR_MAX_M 128

/* States of a row, bits; each is written by one side only, with atomic operations. */
#define VECTOR_LIVE 1			/* the writer: it is the row of its id */
#define VECTOR_TWIN 2			/* the writer: found through an equal row before it */
#define VECTOR_LINKED 4			/* who links: nothing more to do for it */

#ifndef __cplusplus

#include "vector_distance.h"
#include "vector_graph.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct vector_slot
{
	const char *id;
	vector_version version;
	uint16_t	id_size;
} vector_slot;

typedef struct vector_id_chunk vector_id_chunk;

typedef struct vector_rows
{
	vector_index_options options;
	size_t		padded;			/* floats */
	size_t		point_size;
	size_t		row_size;
	size_t		links_offset;
	vector_distance distance;

	pthread_rwlock_t shape;
	char	   *rows;
	size_t		rows_mapped;	/* bytes */
	vector_slot *slots;
	uint8_t    *states;
	uint32_t   *twins;			/* HNSW: VECTOR_NO_SLOT ends a chain */
	uint32_t	capacity;
	vector_graph *graph;		/* NULL until something is linked */

	pthread_rwlock_t table;
	_Atomic uint32_t n_rows;	/* rows from here on are not there */
	_Atomic uint32_t n_live;
	vector_map	ids;

	/* The writer's alone. */
	vector_map	contents;		/* HNSW: the first row with these components */
	vector_id_chunk *chunks;
	_Atomic uint64_t id_bytes;

	pthread_mutex_t linking;
	pthread_cond_t linked_one;
	_Atomic uint32_t next_to_link;	/* rows before it are linked, or being linked */
	uint32_t	being_linked;
	_Atomic uint32_t n_linked;	/* all rows before this one are linked */
	_Atomic bool broken;		/* the graph: memory ran out in the middle of a link */

	_Atomic uint32_t references;
} vector_rows;

/* With one reference. NULL: out of memory. */
extern vector_rows *vector_rows_create(const vector_index_options *options);
extern void vector_rows_release(vector_rows *rows);

static inline const char *
vector_row(const vector_rows *rows, uint32_t slot)
{
	return rows->rows + (size_t) slot * rows->row_size;
}

static inline uint8_t
vector_row_state(const vector_rows *rows, uint32_t slot)
{
	return __atomic_load_n(&rows->states[slot], __ATOMIC_RELAXED);
}

/* ---- The writer ---- */

/* Room for so many rows and bytes of ids more. */
extern bool vector_rows_reserve(vector_rows *rows, size_t n, size_t id_bytes);
extern uint64_t vector_rows_bytes_needed(vector_rows *rows, size_t n,
										 size_t id_bytes);

/* The row of an id, also under `table`; VECTOR_NO_SLOT: none. */
extern uint32_t vector_rows_find(const vector_rows *rows, const char *id,
								 size_t id_size);

/* Appends a row for which there is room; the row that had the id is dead. */
extern void vector_rows_append(vector_rows *rows, const char *id, size_t id_size,
							   vector_version version, const float *values);
/* Its id is gone. */
extern void vector_rows_kill(vector_rows *rows, uint32_t slot);

/*
 * Makes rows that were filled from a file what appended ones are. False: out of
 * memory, or two live rows have one id.
 */
extern bool vector_rows_adopt(vector_rows *rows, uint32_t n_rows);
/* Bytes for an id in the arena; NULL: out of memory. */
extern char *vector_rows_id(vector_rows *rows, size_t id_size);

/* ---- Linking ---- */

typedef enum vector_link_step
{
	VECTOR_LINK_ONE,			/* linked one */
	VECTOR_LINK_NOTHING,		/* nothing is left that nobody is linking */
	VECTOR_LINK_BROKEN
} vector_link_step;

extern vector_link_step vector_rows_link(vector_rows *rows);

/* Waits until all rows below `end` are linked, or the graph is broken. */
extern void vector_rows_wait_linked(vector_rows *rows, uint32_t end);

/* The graph, made now if it is not there yet; shape must not be held. */
extern bool vector_rows_make_graph(vector_rows *rows);

extern uint64_t vector_rows_bytes(vector_rows *rows);

#endif
#endif
