/*
 * fake_store.c - the keys of the fake server: a sorted array.
 */
#include "fake_store.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct done_put
{
	uint64_t	hash;
	char	   *idempotency_key;
	fake_entry	entry;
} done_put;

static fake_entry *entries;
static size_t n_entries;
static done_put *done;
static size_t n_done;
static uint64_t applied;

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int
fake_compare(const fake_entry *entry, const uint8_t *key, size_t size)
{
	size_t		common = entry->key_size < size ? entry->key_size : size;
	int			order = common > 0 ? memcmp(entry->key, key, common) : 0;

	if (order != 0)
		return order;
	return (entry->key_size > size) - (entry->key_size < size);
}

/* The position of the first key not below this one. */
static size_t
lower_bound(const uint8_t *key, size_t size)
{
	size_t		low = 0;
	size_t		high = n_entries;

	while (low < high)
	{
		size_t		middle = (low + high) / 2;

		if (fake_compare(&entries[middle], key, size) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
remove_at(size_t position)
{
	free(entries[position].key);
	free(entries[position].value);
	n_entries--;
	memmove(&entries[position], &entries[position + 1],
			(n_entries - position) * sizeof(*entries));
}

const fake_entry *
fake_find(const uint8_t *key, size_t size)
{
	size_t		position = lower_bound(key, size);

	if (position == n_entries || fake_compare(&entries[position], key, size) != 0)
		return NULL;
	if (entries[position].expires_ms != 0 && entries[position].expires_ms <= now_ms())
	{
		remove_at(position);
		return NULL;
	}
	return &entries[position];
}

static uint8_t *
copy(const uint8_t *data, size_t size)
{
	uint8_t    *out = malloc(size + 1);

	if (size > 0)
		memcpy(out, data, size);
	return out;
}

/* FNV-1a */
static uint64_t
hash_of(const char *text)
{
	uint64_t	hash = UINT64_C(0xcbf29ce484222325);

	for (; *text != '\0'; text++)
		hash = (hash ^ (uint8_t) *text) * UINT64_C(0x100000001b3);
	return hash;
}

static void
remember(const char *idempotency_key, const fake_entry *entry)
{
	if (idempotency_key[0] == '\0')
		return;
	done = realloc(done, (n_done + 1) * sizeof(*done));
	done[n_done].hash = hash_of(idempotency_key);
	done[n_done].idempotency_key = strdup(idempotency_key);
	memset(&done[n_done].entry, 0, sizeof(fake_entry));
	done[n_done].entry.index = entry->index;
	n_done++;
}

const fake_entry *
fake_put(const uint8_t *key, size_t size, const uint8_t *value, size_t value_size,
		 uint64_t ttl_ms, const char *idempotency_key)
{
	size_t		position = lower_bound(key, size);
	fake_entry *entry;

	if (position == n_entries || fake_compare(&entries[position], key, size) != 0)
	{
		entries = realloc(entries, (n_entries + 1) * sizeof(*entries));
		memmove(&entries[position + 1], &entries[position],
				(n_entries - position) * sizeof(*entries));
		memset(&entries[position], 0, sizeof(*entries));
		entries[position].key = copy(key, size);
		entries[position].key_size = size;
		n_entries++;
	}
	entry = &entries[position];
	free(entry->value);
	entry->value = copy(value, value_size);
	entry->value_size = value_size;
	entry->index = ++applied;
	entry->expires_ms = ttl_ms > 0 ? now_ms() + (int64_t) ttl_ms : 0;
	remember(idempotency_key, entry);
	return entry;
}

void
fake_delete(const uint8_t *key, size_t size)
{
	size_t		position = lower_bound(key, size);

	if (position < n_entries && fake_compare(&entries[position], key, size) == 0)
		remove_at(position);
}

const fake_entry *
fake_find_done(const char *idempotency_key)
{
	uint64_t	hash = hash_of(idempotency_key);

	for (size_t i = 0; i < n_done; i++)
	{
		if (done[i].hash == hash && strcmp(done[i].idempotency_key, idempotency_key) == 0)
			return &done[i].entry;
	}
	return NULL;
}

const fake_entry *
fake_first(const uint8_t *key, size_t size)
{
	size_t		position = lower_bound(key, size);

	return position < n_entries ? &entries[position] : NULL;
}

const fake_entry *
fake_next(const fake_entry *entry)
{
	return entry + 1 < entries + n_entries ? entry + 1 : NULL;
}

uint64_t
fake_applied(void)
{
	return applied;
}
