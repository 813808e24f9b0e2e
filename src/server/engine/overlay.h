/*
 * overlay.h - the keys of the batch being built: as the store has them, then as
 * the units decided so far will leave them.
 *
 * All keys that a batch asks something of are read at once, before the first unit
 * is decided. Only the committer writes the store, so what was read stays true.
 * A key that is only written need not be read: then it counts as not stored.
 */
#ifndef NORIKVD_ENGINE_OVERLAY_H
#define NORIKVD_ENGINE_OVERLAY_H

#include "entry.h"
#include "table.h"

/* The longest value that can be an integer. Longer ones are not kept. */
#define OVERLAY_KEPT_VALUE 20

typedef struct pending
{
	table_space space;
	engine_slice key;
	uint64_t	hash;
	bool		known;			/* read, to be read, or given */
	bool		stored;			/* there are bytes for it, perhaps expired */
	bool		value_kept;
	entry		entry;			/* TABLE_DATA, TABLE_VECTOR */
	engine_slice record;		/* TABLE_IDEMPOTENCY */
	struct pending *next_wanted;
} pending;

typedef struct overlay
{
	arena	   *memory;
	pending   **slots;
	size_t		n_slots;		/* a power of two */
	size_t		n_pending;
	pending    *wanted;			/* not read yet */
} overlay;

extern void overlay_init(overlay *self, arena *memory);
extern void overlay_reset(overlay *self);
extern void overlay_free(overlay *self);

/* The one pending of this key. Keys are not copied: they outlive the batch. */
extern pending *overlay_find(overlay *self, table_space space, engine_slice key);
/* It is to be read, unless it is known. */
extern void overlay_want(overlay *self, pending *wanted);
/* Reads what was wanted since the last time; within a section of the table. */
extern bool overlay_load(overlay *self, table *from, engine_status *status);

/* Present to conditions: stored, and not expired. */
static inline bool
pending_live(const pending *self, uint64_t now_ms)
{
	return self->stored && !entry_expired(&self->entry, now_ms);
}

#endif
