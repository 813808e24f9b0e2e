/*
 * vector_map.h - finds the slot of an id, or of a vector's bytes, by their hash.
 *
 * Open addressing over {hash, slot}; the caller compares, so keys are stored once,
 * elsewhere. One thread changes it; where others read meanwhile, a lock of the
 * caller's is held around vector_map_set, vector_map_remove and the swap of
 * vector_map_grown.
 */
#ifndef NORIKVD_VECTOR_MAP_H
#define NORIKVD_VECTOR_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VECTOR_NO_SLOT UINT32_MAX

typedef struct vector_map_entry
{
	uint32_t	hash;
	uint32_t	slot;			/* VECTOR_NO_SLOT: free */
} vector_map_entry;

typedef struct vector_map
{
	vector_map_entry *entries;
	uint32_t	size;			/* a power of two, or 0 */
	uint32_t	used;
} vector_map;

typedef bool (*vector_map_same) (const void *arg, uint32_t slot, const void *key,
								 size_t key_size);

extern uint32_t vector_map_hash(const void *key, size_t key_size);

extern uint32_t vector_map_find(const vector_map *map, uint32_t hash, const void *key,
								size_t key_size, vector_map_same same, const void *arg);

/* Whether so many entries fit. */
extern bool vector_map_fits(const vector_map *map, uint32_t entries);

/* A copy of the map in which so many entries fit; false: out of memory. */
extern bool vector_map_grown(const vector_map *map, uint32_t entries, vector_map *grown);

/* Where the key has a slot, `old` (else VECTOR_NO_SLOT), the entry becomes slot's. */
extern void vector_map_set(vector_map *map, uint32_t hash, uint32_t old, uint32_t slot);
extern void vector_map_remove(vector_map *map, uint32_t hash, uint32_t slot);

/* Bytes of a map in which so many entries fit. */
extern uint64_t vector_map_bytes(uint32_t entries);

#endif
