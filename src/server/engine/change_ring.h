/*
 * change_ring.h - the changes of late, in the order of commits, in a bounded piece of
 * memory: a new one overwrites the oldest.
 *
 * A change is named by its offset, which only grows. What is below head has been
 * forgotten. Whoever uses it keeps readers and the writer apart.
 */
#ifndef NORIKVD_ENGINE_CHANGE_RING_H
#define NORIKVD_ENGINE_CHANGE_RING_H

#include "util.h"

typedef struct change_ring
{
	char	   *data;
	size_t		size;			/* a power of two */
	uint64_t	head;			/* the oldest change */
	uint64_t	tail;			/* where the next one goes; never 0 */
	uint64_t	newest;			/* the last change; below head: there is none */
} change_ring;

/* At most max_bytes, unless that is less than one change may need. */
extern void change_ring_init(change_ring *self, size_t max_bytes);
extern void change_ring_free(change_ring *self);

/* Where it is kept. Advances *floor to the version of what had to be forgotten. */
extern uint64_t change_ring_add(change_ring *self, const engine_change *change,
								engine_version *floor);
/* All are forgotten; no offset given so far is at head or above. */
extern void change_ring_clear(change_ring *self);

/* The change at an offset of head or above and below tail, and the offset after it. */
extern uint64_t change_ring_read(const change_ring *self, uint64_t at,
								 engine_change *change);
/* The first change of a later version than this; tail where there is none. */
extern uint64_t change_ring_after(const change_ring *self, engine_version version);

#endif
