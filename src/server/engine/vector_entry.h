/*
 * vector_entry.h - how indexes and vectors are stored.
 *
 * TABLE_INDEX has, by namespace, what was asked for when the index was created, and
 * the version of its creation. That version names the index in TABLE_VECTOR: a key
 * there is the version (8 bytes) and the vector's id, its value an entry whose value
 * is the floats. So an index that was dropped and created again under the same name
 * meets nothing of the one before.
 */
#ifndef NORIKVD_ENGINE_VECTOR_ENTRY_H
#define NORIKVD_ENGINE_VECTOR_ENTRY_H

#include "entry.h"
#include "util.h"
#include "vector_index.h"

#define VECTOR_MAX_NAMESPACE 256

#define INDEX_ENTRY_SIZE 15
#define VECTOR_KEY_SIZE(id_size) (8 + (id_size))

typedef struct index_entry
{
	engine_index index;
	engine_version created;
} index_entry;

extern engine_slice index_entry_encode(const index_entry *self,
									   char buffer[INDEX_ENTRY_SIZE]);
/* False: these bytes are no index. */
extern bool index_entry_decode(engine_slice stored, index_entry *self);

extern engine_slice vector_key(engine_version created, engine_slice id, char *buffer);
/* All vectors of the index: from the first to the first of the next one. */
extern engine_slice vector_key_start(engine_version created, char buffer[8]);
extern engine_slice vector_key_end(engine_version created, char buffer[8]);

/* Those of [start, end), end empty: to the last one. */
extern void vector_key_range(engine_version created, engine_slice start, engine_slice end,
							 bytes *from, bytes *to);

static inline engine_slice
vector_key_id(engine_slice key)
{
	return (engine_slice) {key.data + 8, key.size - 8};
}

extern const char *metric_name(engine_metric metric);
extern const char *index_type_name(engine_index_type type);
extern bool index_equal(const engine_index *a, const engine_index *b);

#endif
