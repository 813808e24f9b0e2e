/*
 * id_set.c - open hashing; the slots are at most half full.
 */
#include "id_set.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define FIRST_SLOTS 64

static size_t
find_slot(const id_set *self, engine_slice id)
{
	size_t		at = XXH3_64bits(id.data, id.size) & (self->n_slots - 1);

	while (self->slots[at].data != NULL && !slice_equal(self->slots[at], id))
		at = (at + 1) & (self->n_slots - 1);
	return at;
}

static void
grow(id_set *self)
{
	engine_slice *old = self->slots;
	size_t		n_old = self->n_slots;

	self->n_slots = n_old == 0 ? FIRST_SLOTS : n_old * 2;
	self->slots = engine_calloc(self->n_slots * sizeof(*self->slots));
	for (size_t i = 0; i < n_old; i++)
	{
		if (old[i].data != NULL)
			self->slots[find_slot(self, old[i])] = old[i];
	}
	free(old);
}

void
id_set_add(id_set *self, engine_slice id)
{
	size_t		at;

	if (self->n_ids * 2 >= self->n_slots)
		grow(self);
	at = find_slot(self, id);
	if (self->slots[at].data != NULL)
		return;
	self->slots[at] = arena_copy(&self->memory, id);
	self->n_ids++;
}

bool
id_set_has(const id_set *self, engine_slice id)
{
	return self->n_ids > 0 && self->slots[find_slot(self, id)].data != NULL;
}

void
id_set_free(id_set *self)
{
	free(self->slots);
	arena_free(&self->memory);
	*self = (id_set) {0};
}
