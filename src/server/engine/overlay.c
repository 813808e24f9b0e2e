/*
 * overlay.c - a hash table of pending keys, filled by batched reads.
 */
#include "overlay.h"

#include <stdlib.h>
/* The functions in place: keys are short, and the call would cost more. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#define FEWEST_SLOTS 1024
#define KEYS_PER_READ 256

void
overlay_init(overlay *self, arena *memory)
{
	*self = (overlay) {.memory = memory};
	self->n_slots = FEWEST_SLOTS;
	self->slots = engine_calloc(self->n_slots * sizeof(pending *));
}

void
overlay_free(overlay *self)
{
	free(self->slots);
}

/* The pendings themselves go with the arena. */
void
overlay_reset(overlay *self)
{
	if (self->n_slots > 16 * FEWEST_SLOTS)
	{
		free(self->slots);
		self->n_slots = FEWEST_SLOTS;
		self->slots = engine_calloc(self->n_slots * sizeof(pending *));
	}
	else if (self->n_pending > 0)
		memset(self->slots, 0, self->n_slots * sizeof(pending *));
	self->n_pending = 0;
	self->wanted = NULL;
}

static size_t
find_slot(const overlay *self, table_space space, engine_slice key, uint64_t hash)
{
	size_t		mask = self->n_slots - 1;
	size_t		at = hash & mask;

	for (;; at = (at + 1) & mask)
	{
		const pending *other = self->slots[at];

		if (other == NULL)
			return at;
		if (other->hash == hash && other->space == space && slice_equal(other->key, key))
			return at;
	}
}

static void
grow(overlay *self)
{
	pending   **old = self->slots;
	size_t		n_old = self->n_slots;

	self->n_slots *= 2;
	self->slots = engine_calloc(self->n_slots * sizeof(pending *));
	for (size_t i = 0; i < n_old; i++)
	{
		pending    *kept = old[i];

		if (kept != NULL)
			self->slots[find_slot(self, kept->space, kept->key, kept->hash)] = kept;
	}
	free(old);
}

pending *
overlay_find(overlay *self, table_space space, engine_slice key)
{
	uint64_t	hash = XXH3_64bits_withSeed(key.data, key.size, space);
	size_t		at = find_slot(self, space, key, hash);
	pending    *added;

	if (self->slots[at] != NULL)
		return self->slots[at];

	added = arena_alloc(self->memory, sizeof(*added));
	*added = (pending) {.space = space, .key = key, .hash = hash};
	self->slots[at] = added;
	if (++self->n_pending * 2 > self->n_slots)
		grow(self);
	return added;
}

void
overlay_want(overlay *self, pending *wanted)
{
	if (wanted->known)
		return;
	wanted->known = true;
	wanted->next_wanted = self->wanted;
	self->wanted = wanted;
}

static bool
take(overlay *self, pending *to, const table_value *value, engine_status *status)
{
	char		shown[SLICE_SHOWN];

	to->stored = value->found;
	if (!value->found)
		return true;
	if (to->space == TABLE_IDEMPOTENCY)
	{
		to->record = arena_copy(self->memory, value->bytes);
		return true;
	}
	if (!entry_decode(value->bytes, &to->entry))
	{
		status_set(status, ENGINE_DATA_LOSS, "the entry of key \"%s\" is damaged",
				   slice_show(to->key, shown, sizeof(shown)));
		return false;
	}
	to->value_kept = to->entry.value.size <= OVERLAY_KEPT_VALUE;
	if (to->value_kept)
		to->entry.value = arena_copy(self->memory, to->entry.value);
	return true;
}

static bool
load_some(overlay *self, table *from, table_space space, pending **some, size_t n,
		  engine_status *status)
{
	engine_slice keys[KEYS_PER_READ] = {0};
	table_value values[KEYS_PER_READ];
	bool		good = true;

	for (size_t i = 0; i < n; i++)
		keys[i] = some[i]->key;
	if (!from->methods->multi_get(from, space, keys, n, values, status))
		return false;
	for (size_t i = 0; i < n && good; i++)
		good = take(self, some[i], &values[i], status);
	from->methods->release(from, values, n);
	return good;
}

static bool
load_space(overlay *self, table *from, table_space space, engine_status *status)
{
	pending    *some[KEYS_PER_READ];
	size_t		n = 0;

	for (pending *at = self->wanted; at != NULL; at = at->next_wanted)
	{
		if (at->space != space)
			continue;
		some[n++] = at;
		if (n < KEYS_PER_READ)
			continue;
		if (!load_some(self, from, space, some, n, status))
			return false;
		n = 0;
	}
	return n == 0 || load_some(self, from, space, some, n, status);
}

bool
overlay_load(overlay *self, table *from, engine_status *status)
{
	bool		good;

	status_ok(status);
	good = load_space(self, from, TABLE_DATA, status) &&
		load_space(self, from, TABLE_VECTOR, status) &&
		load_space(self, from, TABLE_IDEMPOTENCY, status);
	self->wanted = NULL;
	return good;
}
