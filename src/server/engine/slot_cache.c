/*
 * slot_cache.c - a set-associative table of lines of one size.
 */
#include "slot_cache.h"

#include <stdlib.h>
/* The functions in place: keys are short, and the call would cost more. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#define LINES_PER_SET 4
#define LINE_DATA 172

typedef struct line
{
	uint64_t	hash;
	uint64_t	used_at;		/* 0: empty */
	uint16_t	key_size;
	uint16_t	record_size;
	char		data[LINE_DATA];	/* key, record */
} line;

struct slot_cache
{
	uint64_t	uses;
	size_t		n_sets;			/* a power of two */
	line		lines[];
};

slot_cache *
slot_cache_make(size_t max_bytes)
{
	size_t		n_sets = 1;
	slot_cache *made;

	while (2 * n_sets * LINES_PER_SET * sizeof(line) <= max_bytes)
		n_sets *= 2;
	made = engine_calloc(sizeof(*made) + n_sets * LINES_PER_SET * sizeof(line));
	made->n_sets = n_sets;
	return made;
}

void
slot_cache_free(slot_cache *self)
{
	free(self);
}

static line *
set_of(slot_cache *self, uint64_t hash)
{
	return &self->lines[(hash & (self->n_sets - 1)) * LINES_PER_SET];
}

static line *
find_line(slot_cache *self, engine_slice key, uint64_t hash)
{
	line	   *set = set_of(self, hash);

	for (size_t i = 0; i < LINES_PER_SET; i++)
	{
		if (set[i].used_at != 0 && set[i].hash == hash &&
			slice_equal(slice_of(set[i].data, set[i].key_size), key))
			return &set[i];
	}
	return NULL;
}

bool
slot_cache_find(slot_cache *self, engine_slice key, engine_slice *record)
{
	line	   *found = find_line(self, key, XXH3_64bits(key.data, key.size));

	if (found == NULL)
		return false;
	found->used_at = ++self->uses;
	*record = slice_of(found->data + found->key_size, found->record_size);
	return true;
}

void
slot_cache_put(slot_cache *self, engine_slice key, engine_slice record)
{
	uint64_t	hash = XXH3_64bits(key.data, key.size);
	line	   *to = find_line(self, key, hash);

	if (key.size > LINE_DATA || record.size > LINE_DATA - key.size)
	{
		if (to != NULL)
			to->used_at = 0;
		return;
	}
	if (to == NULL)
	{
		line	   *set = set_of(self, hash);

		to = set;
		for (size_t i = 1; i < LINES_PER_SET; i++)
		{
			if (set[i].used_at < to->used_at)
				to = &set[i];
		}
	}
	to->hash = hash;
	to->used_at = ++self->uses;
	to->key_size = (uint16_t) key.size;
	to->record_size = (uint16_t) record.size;
	memcpy(to->data, key.data, key.size);
	memcpy(to->data + key.size, record.data, record.size);
}

void
slot_cache_remove(slot_cache *self, engine_slice key)
{
	line	   *found = find_line(self, key, XXH3_64bits(key.data, key.size));

	if (found != NULL)
		found->used_at = 0;
}

void
slot_cache_clear(slot_cache *self)
{
	memset(self->lines, 0, self->n_sets * LINES_PER_SET * sizeof(line));
}
