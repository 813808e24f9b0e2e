/*
 * vectors.h - the vector indexes of a local engine, in memory beside the store.
 *
 * What is durable are the entries of TABLE_INDEX and TABLE_VECTOR. The committer
 * writes them, and afterwards makes the same change here, before the unit is
 * answered: so a search finds what was answered before it. After a start an index is
 * read from the store again, or from a snapshot of it and then compared with the
 * store; until that is done it is not searched.
 */
#ifndef NORIKVD_ENGINE_VECTORS_H
#define NORIKVD_ENGINE_VECTORS_H

#include "table.h"

typedef struct vectors vectors;
typedef struct vector_space vector_space;

typedef struct vectors_options
{
	table	   *table;
	const char *directory;		/* for snapshots; NULL: none are kept */
	uint64_t	max_memory;		/* 0: no limit */
	engine_version last;		/* the newest version given */
	engine_log	log;
} vectors_options;

/* Reads which indexes there are; their vectors are read in the background. */
extern vectors *vectors_open(const vectors_options *options, engine_status *status);
/* at_rest: snapshots are brought up to date, as far as that takes no long time. */
extern void vectors_close(vectors *self, bool at_rest);

/* ---- The committer's: only its thread calls these ---- */

/* NULL: there is no index of this name. It stays until it is dropped. */
extern vector_space *vectors_find(vectors *self, engine_slice name);
extern const engine_index *vector_space_index(const vector_space *self);
extern engine_version vector_space_created(const vector_space *self);

/*
 * Memory for one vector more, until it is put or the reservation is taken back.
 * False: RESOURCE_EXHAUSTED.
 */
extern bool vector_space_reserve(vector_space *self, size_t id_size,
								 engine_status *status);
extern void vector_space_unreserve(vector_space *self, size_t id_size);

/* What has been written. A put had its memory reserved. */
extern void vector_space_put(vector_space *self, engine_slice id, engine_version version,
							 engine_slice floats);
extern void vector_space_delete(vector_space *self, engine_slice id);
extern void vectors_create(vectors *self, engine_slice name, const engine_index *index,
						   engine_version created);
extern void vectors_drop(vectors *self, vector_space *dropped);

/* Graphs grow slower than writes come: so far that writes should wait. */
extern bool vector_space_is_behind(vector_space *self);

/* What is in the store may differ from what is known: all is read again. */
extern void vectors_reload(vectors *self, engine_version last);

/* ---- Any thread's ---- */

extern void vectors_list(vectors *self, engine_slice prefix, engine_indexes_done done,
						 void *arg);
/* The version that names its vectors; false, with *status set, where there is none. */
extern bool vectors_created(vectors *self, engine_slice space, engine_version *created,
							engine_status *status);
extern void vectors_get(vectors *self, engine_slice space, const engine_slice *ids,
						size_t n_ids, engine_vectors_done done, void *arg);
extern void vectors_search(vectors *self, const engine_search *search,
						   engine_search_done done, void *arg);

#endif
