/*
 * vector_map.c - slots by hash: linear probing, at most two thirds full.
 */
#include "vector_map.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SMALLEST 64

uint32_t
vector_map_hash(const void *key, size_t key_size)
{
	return (uint32_t) XXH3_64bits(key, key_size);
}

static uint32_t
size_for(uint32_t entries)
{
	uint64_t	size = SMALLEST;

	while (size * 2 < (uint64_t) entries * 3)
		size *= 2;
	return size > UINT32_MAX / 2 ? UINT32_MAX / 2 + 1 : (uint32_t) size;
}

uint64_t
vector_map_bytes(uint32_t entries)
{
	return (uint64_t) size_for(entries) * sizeof(vector_map_entry);
}

bool
vector_map_fits(const vector_map *map, uint32_t entries)
{
	return (uint64_t) map->size * 2 >= (uint64_t) entries * 3;
}

uint32_t
vector_map_find(const vector_map *map, uint32_t hash, const void *key, size_t key_size,
				vector_map_same same, const void *arg)
{
	uint32_t	mask = map->size - 1;

	if (map->size == 0)
		return VECTOR_NO_SLOT;
	for (uint32_t i = hash & mask;; i = (i + 1) & mask)
	{
		const vector_map_entry *entry = &map->entries[i];

		if (entry->slot == VECTOR_NO_SLOT)
			return VECTOR_NO_SLOT;
		if (entry->hash == hash && same(arg, entry->slot, key, key_size))
			return entry->slot;
	}
}

static vector_map_entry *
place(const vector_map *map, uint32_t hash, uint32_t slot)
{
	uint32_t	mask = map->size - 1;
	uint32_t	i = hash & mask;

	while (map->entries[i].slot != VECTOR_NO_SLOT && map->entries[i].slot != slot)
		i = (i + 1) & mask;
	return &map->entries[i];
}

bool
vector_map_grown(const vector_map *map, uint32_t entries, vector_map *grown)
{
	grown->size = size_for(entries);
	grown->used = map->used;
	grown->entries = malloc((size_t) grown->size * sizeof(vector_map_entry));
	if (grown->entries == NULL)
		return false;
	memset(grown->entries, 0xff, (size_t) grown->size * sizeof(vector_map_entry));
	for (uint32_t i = 0; i < map->size; i++)
		if (map->entries[i].slot != VECTOR_NO_SLOT)
			*place(grown, map->entries[i].hash, VECTOR_NO_SLOT) = map->entries[i];
	return true;
}

void
vector_map_set(vector_map *map, uint32_t hash, uint32_t old, uint32_t slot)
{
	vector_map_entry *entry = place(map, hash, old);

	if (old == VECTOR_NO_SLOT)
		map->used++;
	entry->hash = hash;
	entry->slot = slot;
}

/* Entries behind the gap move into it where their own place is before it. */
void
vector_map_remove(vector_map *map, uint32_t hash, uint32_t slot)
{
	uint32_t	mask = map->size - 1;
	uint32_t	gap = (uint32_t) (place(map, hash, slot) - map->entries);

	map->used--;
	for (uint32_t i = (gap + 1) & mask; map->entries[i].slot != VECTOR_NO_SLOT;
		 i = (i + 1) & mask)
	{
		uint32_t	home = map->entries[i].hash & mask;

		if (((i - home) & mask) >= ((i - gap) & mask))
		{
			map->entries[gap] = map->entries[i];
			gap = i;
		}
	}
	map->entries[gap].slot = VECTOR_NO_SLOT;
}
