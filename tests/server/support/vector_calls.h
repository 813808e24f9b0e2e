/*
 * vector_calls.h - calls of an engine about vectors that wait for their answer.
 */
#ifndef VECTOR_CALLS_H
#define VECTOR_CALLS_H

#include "engine_fixture.h"

/* Owns copies of what the answer pointed to. */
typedef struct found_vectors
{
	engine_status status;
	engine_vector *vectors;		/* ids end with NUL; floats NULL where absent */
	size_t		n_vectors;
	bool		exact;
	arena		memory;
} found_vectors;

extern found_vectors search_vectors(engine *on, engine_search search);
/* The k nearest, once the index is in memory. */
extern found_vectors search_nearest(engine *on, const char *space, const float *query,
							uint32_t dimensions, uint32_t k);
extern found_vectors get_vectors(engine *on, const char *space, const engine_slice *ids,
						 size_t n_ids);
extern void found_free(found_vectors *self);

/* False, and *info as it was, where there is no such index. */
extern bool find_index(engine *on, const char *space, engine_index_info *info);
extern void wait_until_ready(engine *on, const char *space);

extern engine_result create_index(engine *on, const char *space, engine_index index,
								  engine_status *status);
extern engine_result drop_index(engine *on, const char *space, engine_status *status);
extern engine_op vector_put_op(const char *space, const char *id, const float *floats,
							   uint32_t dimensions);
/* Again and again where the graph is behind, as clients do. */
extern void commit_unit_in_time(engine *on, engine_unit *unit, answer *to);
extern engine_result commit_op_in_time(engine *on, engine_op op, engine_status *status);
extern engine_op vector_delete_op(const char *space, const char *id);
/* end empty: to the last id. */
extern engine_op vector_range_op(const char *space, const char *start, const char *end);
/* index 0: that there is none. */
extern engine_op vector_check_op(const char *space, const char *id,
								 engine_version version);
extern engine_version put_vector(engine *on, const char *space, const char *id,
								 const float *floats, uint32_t dimensions);
extern bool delete_vector(engine *on, const char *space, const char *id);

/* Components between -1 and 1. */
extern void random_vector(uint64_t *random, float *floats, uint32_t dimensions);

#endif
