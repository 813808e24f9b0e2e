/*
 * change_ring.c - records of changes, one after another, around and around.
 *
 * A record is not cut in two: where it does not fit before the end of the memory,
 * the rest of it is left out, and a record of size 0 says so if there is room for
 * one.
 */
#include "change_ring.h"

#include <stdlib.h>

#include "entry.h"
#include "unit.h"

#define ALIGNMENT 8
#define LEAST_BYTES (64 * 1024)

typedef struct record
{
	uint64_t	previous;		/* the offset of the record before it */
	uint64_t	version;		/* packed */
	uint32_t	size;			/* with its bytes; 0: the rest is left out */
	uint16_t	key_size;
	uint16_t	end_size;
	uint32_t	kind;
	char		bytes[];
} record;

_Static_assert(LEAST_BYTES > 4 * (sizeof(record) + 2 * (UNIT_MAX_KEY + 1)),
			   "the least ring has room for some changes of any size");

void
change_ring_init(change_ring *self, size_t max_bytes)
{
	size_t		size = LEAST_BYTES;

	while (size * 2 <= max_bytes)
		size *= 2;
	*self = (change_ring) {.data = engine_calloc(size), .size = size};
	self->head = self->tail = size;
}

void
change_ring_free(change_ring *self)
{
	free(self->data);
}

void
change_ring_clear(change_ring *self)
{
	/* on from the beginning of the memory, a whole turn further */
	self->head = self->tail = (self->tail / self->size + 2) * self->size;
	self->newest = 0;
}

static record *
record_at(const change_ring *self, uint64_t at)
{
	return (record *) (self->data + (at & (self->size - 1)));
}

static size_t
left_before_end(const change_ring *self, uint64_t at)
{
	return self->size - (at & (self->size - 1));
}

/* Past what is left out at the end of the memory. */
static uint64_t
skip_gap(const change_ring *self, uint64_t at)
{
	size_t		left = left_before_end(self, at);

	if (at < self->tail && (left < sizeof(record) || record_at(self, at)->size == 0))
		return at + left;
	return at;
}

static uint64_t
next_of(const change_ring *self, uint64_t at)
{
	return skip_gap(self, at + record_at(self, at)->size);
}

uint64_t
change_ring_add(change_ring *self, const engine_change *change, engine_version *floor)
{
	size_t		size = sizeof(record) + change->key.size + change->end_key.size;
	size_t		left = left_before_end(self, self->tail);
	uint64_t	at = self->tail;
	record	   *added;

	size = (size + ALIGNMENT - 1) & ~(size_t) (ALIGNMENT - 1);
	if (left < size)
		at += left;
	while (self->head < self->tail && at + size - self->head > self->size)
	{
		*floor = version_unpack(record_at(self, self->head)->version);
		self->head = next_of(self, self->head);
	}
	if (at != self->tail && left >= sizeof(record))
		record_at(self, self->tail)->size = 0;
	if (self->head == self->tail)
		self->head = at;
	added = record_at(self, at);
	added->previous = self->newest;
	added->version = version_pack(change->version);
	added->size = (uint32_t) size;
	added->key_size = (uint16_t) change->key.size;
	added->end_size = (uint16_t) change->end_key.size;
	added->kind = change->kind;
	if (change->key.size > 0)
		memcpy(added->bytes, change->key.data, change->key.size);
	if (change->end_key.size > 0)
		memcpy(added->bytes + change->key.size, change->end_key.data,
			   change->end_key.size);
	self->newest = at;
	self->tail = at + size;
	return at;
}

uint64_t
change_ring_read(const change_ring *self, uint64_t at, engine_change *change)
{
	const record *found = record_at(self, at);

	change->kind = (engine_change_kind) found->kind;
	change->version = version_unpack(found->version);
	change->key = slice_of(found->bytes, found->key_size);
	change->end_key = slice_of(found->bytes + found->key_size, found->end_size);
	return next_of(self, at);
}

/* Backwards, as most who ask were there a moment ago. */
uint64_t
change_ring_after(const change_ring *self, engine_version version)
{
	uint64_t	packed = version_pack(version);
	uint64_t	after = self->tail;

	for (uint64_t at = self->newest; at >= self->head && at != 0;)
	{
		const record *found = record_at(self, at);

		if (found->version <= packed)
			break;
		after = at;
		at = found->previous;
	}
	return after;
}
