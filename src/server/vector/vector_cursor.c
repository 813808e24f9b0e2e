/*
 * vector_cursor.c - a search that goes on, page by page.
 *
 * It remembers the ids it returned, as hashes of 128 bits, and leaves them out.
 */
#include "vector_local.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct vector_cursor
{
	vector_index *index;
	vector_query query;
	bool		started;
	bool		ended;
	/* A hash set, open addressing; all zeroes is free. */
	XXH128_hash_t *seen;
	size_t		size;			/* a power of two, or 0 */
	size_t		used;
	float		values[];
};

static XXH128_hash_t
hash_of(const char *id, size_t id_size)
{
	XXH128_hash_t hash = XXH3_128bits(id, id_size);

	if (hash.low64 == 0 && hash.high64 == 0)
		hash.low64 = 1;
	return hash;
}

static XXH128_hash_t *
place_of(XXH128_hash_t *seen, size_t size, XXH128_hash_t hash)
{
	size_t		at = hash.low64 & (size - 1);

	while ((seen[at].low64 != 0 || seen[at].high64 != 0) &&
		   !(seen[at].low64 == hash.low64 && seen[at].high64 == hash.high64))
		at = (at + 1) & (size - 1);
	return &seen[at];
}

static bool
was_seen(const void *arg, const char *id, size_t id_size)
{
	const vector_cursor *cursor = arg;
	XXH128_hash_t *place;

	if (cursor->size == 0)
		return false;
	place = place_of(cursor->seen, cursor->size, hash_of(id, id_size));
	return place->low64 != 0 || place->high64 != 0;
}

static bool
reserve_seen(vector_cursor *cursor, size_t more)
{
	size_t		size = cursor->size ? cursor->size : 64;
	XXH128_hash_t *grown;

	while (size < 2 * (cursor->used + more))
		size *= 2;
	if (size == cursor->size)
		return true;
	grown = calloc(size, sizeof(*grown));
	if (grown == NULL)
		return false;
	for (size_t i = 0; i < cursor->size; i++)
		if (cursor->seen[i].low64 != 0 || cursor->seen[i].high64 != 0)
			*place_of(grown, size, cursor->seen[i]) = cursor->seen[i];
	free(cursor->seen);
	cursor->seen = grown;
	cursor->size = size;
	return true;
}

vector_cursor *
vector_cursor_open(vector_index *index, const vector_query *query, vector_status *status)
{
	const vector_index_options *of = &index->options;
	size_t		size = of->dimensions * sizeof(float);
	vector_cursor *cursor;

	if (vector_check(of->metric, of->dimensions, query->values, of->dimensions,
					 status) != VECTOR_OK)
		return NULL;
	cursor = calloc(1, sizeof(*cursor) + size);
	if (cursor == NULL)
	{
		vector_fail(status, VECTOR_NO_MEMORY, "out of memory");
		return NULL;
	}
	memcpy(cursor->values, query->values, size);
	cursor->index = index;
	cursor->query = *query;
	cursor->query.values = cursor->values;
	return cursor;
}

vector_code
vector_cursor_next(vector_cursor *cursor, size_t k, vector_matches *matches,
				   vector_status *status)
{
	vector_search_options options = {.query = &cursor->query, .k = k,
		.exact = cursor->started || cursor->query.exact,
		.left_out = cursor->started ? was_seen : NULL, .left_out_arg = cursor};
	vector_code code;

	memset(matches, 0, sizeof(*matches));
	if (cursor->ended)
	{
		matches->exact = true;
		if (status)
			status->code = VECTOR_OK;
		return VECTOR_OK;
	}
	code = vector_search(cursor->index, &options, matches, status);
	if (code != VECTOR_OK)
		return code;
	if (!reserve_seen(cursor, matches->count))
	{
		vector_matches_free(matches);
		return vector_fail(status, VECTOR_NO_MEMORY, "out of memory");
	}
	for (size_t i = 0; i < matches->count; i++)
		*place_of(cursor->seen, cursor->size,
				  hash_of(matches->items[i].id, matches->items[i].id_size)) =
			hash_of(matches->items[i].id, matches->items[i].id_size);
	cursor->used += matches->count;
	cursor->started = true;
	cursor->ended = matches->count < k;
	return VECTOR_OK;
}

uint64_t
vector_cursor_bytes(const vector_cursor *cursor)
{
	return sizeof(*cursor) + cursor->index->options.dimensions * sizeof(float) +
		cursor->size * sizeof(XXH128_hash_t);
}

void
vector_cursor_close(vector_cursor *cursor)
{
	if (cursor == NULL)
		return;
	free(cursor->seen);
	free(cursor);
}
