/*
 * slot_cache.h - the records of slots that were used of late, so that a write
 * need not look into the store for what its slot did before.
 *
 * It holds what the store holds, or nothing: a record enters when its write has
 * succeeded, leaves with the record's deletion, and after a failed write all go.
 * The committer's alone.
 *
 * Of a fixed size. A set of lines is chosen by hash; in a full set the record
 * that was used least recently gives way. Records that do not fit a line (after
 * a long credential, or an answer of many results) are read from the store.
 */
#ifndef NORIKVD_ENGINE_SLOT_CACHE_H
#define NORIKVD_ENGINE_SLOT_CACHE_H

#include "util.h"

typedef struct slot_cache slot_cache;

extern slot_cache *slot_cache_make(size_t max_bytes);
extern void slot_cache_free(slot_cache *self);

/* The record is valid until the next change. */
extern bool slot_cache_find(slot_cache *self, engine_slice key, engine_slice *record);
extern void slot_cache_put(slot_cache *self, engine_slice key, engine_slice record);
extern void slot_cache_remove(slot_cache *self, engine_slice key);
extern void slot_cache_clear(slot_cache *self);

#endif
