/*
 * table.c - the entries of the cache: found, read, linked, pushed out.
 */
#include "shared.h"

#include "miscadmin.h"

/* ---- Chunks ---- */

/* Where in the chain of chunks the next byte is. */
typedef struct Position
{
	uint32 chunk;
	uint32 offset;
} Position;

static char *
bytes_at(Position *position, size_t wanted, size_t *there)
{
	char *data;

	if (position->offset == sizeof(norikv_cache_chunks->data))
		*position = (Position){norikv_cache_chunks[position->chunk].next, 0};
	data = norikv_cache_chunks[position->chunk].data + position->offset;
	*there = Min(wanted, sizeof(norikv_cache_chunks->data) - position->offset);
	position->offset += *there;
	return data;
}

static void
read_bytes(Position *position, char *into, size_t size)
{
	while (size > 0)
	{
		size_t there;
		char *data = bytes_at(position, size, &there);

		memcpy(into, data, there);
		into += there;
		size -= there;
	}
}

static void
write_bytes(Position *position, norikv_slice bytes)
{
	const char *from = bytes.data;

	while (bytes.size > 0)
	{
		size_t there;
		char *data = bytes_at(position, bytes.size, &there);

		memcpy(data, from, there);
		from += there;
		bytes.size -= there;
	}
}

static bool
same_bytes(Position *position, norikv_slice bytes)
{
	const char *with = bytes.data;

	while (bytes.size > 0)
	{
		size_t there;
		char *data = bytes_at(position, bytes.size, &there);

		if (memcmp(data, with, there) != 0)
			return false;
		with += there;
		bytes.size -= there;
	}
	return true;
}

static Position
value_of(const NorikvCacheEntry *entry)
{
	Position position = {entry->first_chunk, 0};
	size_t there;

	for (size_t left = entry->key_size; left > 0; left -= there)
		(void) bytes_at(&position, left, &there);
	return position;
}

void
NorikvCacheFill(uint32 taken, norikv_slice key, norikv_slice value)
{
	NorikvCacheEntry *entry = &norikv_cache_entries[taken];
	Position position = {entry->first_chunk, 0};

	write_bytes(&position, key);
	write_bytes(&position, value);
	entry->key_size = (uint16) key.size;
	entry->value_size = (uint32) value.size;
}

/* ---- Looking ---- */

void
NorikvCacheOccupy(uint64 hash, int difference)
{
	pg_atomic_fetch_add_u32(&NorikvCachePartitionOf(hash)->occupied, difference);
	pg_atomic_fetch_add_u32(&norikv_cache->occupied, difference);
}

static inline uint32 *
bucket_of(uint64 hash)
{
	return &norikv_cache_buckets[hash & (norikv_cache->n_buckets - 1)];
}

/* Where the index of the key's entry stands; NULL: there is none. Locked. */
static uint32 *
find(const NorikvCacheKey *key)
{
	uint32 *link = bucket_of(key->hash);

	for (; *link != NORIKV_CACHE_NONE; link = &norikv_cache_entries[*link].next)
	{
		const NorikvCacheEntry *entry = &norikv_cache_entries[*link];
		Position position = {entry->first_chunk, 0};

		if (entry->hash == key->hash && entry->scope == key->scope_serial &&
			entry->key_size == key->name.size && same_bytes(&position, key->name))
			return link;
	}
	return NULL;
}

/*
 * Up to when an entry may be shown, as far as others' writes are concerned: for a while
 * after the watch was last known to have told of all of them.
 */
static int64
trusted_until(const NorikvCacheEntry *entry, NorikvCacheScope *scope)
{
	int64 since;
	int64 known_at = entry->asked_at;

	if (!pg_atomic_read_u32(&scope->watched))
		return PG_INT64_MAX;
	since = (int64) pg_atomic_read_u64(&scope->watched_since);
	if (since != 0 && since <= known_at)
		known_at = Max(known_at, (int64) pg_atomic_read_u64(&scope->confirmed_at));
	return known_at + (int64) norikv_cache_watch_timeout * 1000;
}

/* Without a lock what is read may be of two entries: good for a guess only. */
static bool
may_be_shown(NorikvCacheEntry *entry, NorikvCacheScope *scope, int64 now)
{
	return pg_atomic_read_u32(&entry->current) &&
		entry->epoch == pg_atomic_read_u64(&scope->epoch) && now < entry->expires_at &&
		now < trusted_until(entry, scope);
}

NorikvCacheEntry *
NorikvCacheLookUp(const NorikvCacheKey *key, int64 now)
{
	uint32 *link = find(key);

	if (link == NULL || !may_be_shown(&norikv_cache_entries[*link], key->scope, now))
		return NULL;
	return &norikv_cache_entries[*link];
}

/*
 * The value is copied under the lock. Running out of memory there is an error that
 * releases it and has changed nothing.
 */
bool
NorikvCacheRead(const NorikvCacheKey *key, NorikvCacheFound *found)
{
	LWLock *lock = NorikvCacheLockOf(key->hash);
	int64 now = NorikvBootMicroseconds();
	NorikvCacheEntry *entry;

	NorikvCacheUseScope(key->scope, now);
	found->value = NULL;
	LWLockAcquire(lock, LW_SHARED);
	entry = NorikvCacheLookUp(key, now);
	if (entry != NULL && !entry->absent)
	{
		Size size = VARHDRSZ + entry->value_size;
		Position position = value_of(entry);

		found->value = palloc(size);
		found->utf8 = entry->utf8;
		SET_VARSIZE(found->value, size);
		read_bytes(&position, VARDATA(found->value), entry->value_size);
	}
	if (entry != NULL && !pg_atomic_read_u32(&entry->used))
		pg_atomic_write_u32(&entry->used, 1);
	LWLockRelease(lock);
	return entry != NULL;
}

/* ---- Changing ---- */

/* Locked exclusively. What was linked is the caller's. */
static uint32
unlink_entry(uint32 *link)
{
	uint32 unlinked = *link;
	NorikvCacheEntry *entry = &norikv_cache_entries[unlinked];

	*link = entry->next;
	entry->scope = 0;
	NorikvCacheOccupy(entry->hash, -1);
	pg_atomic_fetch_sub_u32(&norikv_cache->linked, 1);
	return unlinked;
}

uint32
NorikvCacheLink(const NorikvCacheKey *key, uint32 linked)
{
	uint32 *link = find(key);
	uint32 *bucket = bucket_of(key->hash);
	NorikvCacheEntry *entry = &norikv_cache_entries[linked];
	uint32 replaced = link == NULL ? NORIKV_CACHE_NONE : unlink_entry(link);

	entry->hash = key->hash;
	entry->scope = key->scope_serial;
	entry->next = *bucket;
	pg_atomic_write_u32(&entry->current, 1);
	pg_atomic_write_u32(&entry->used, 0);
	*bucket = linked;
	NorikvCacheOccupy(key->hash, 1);
	pg_atomic_fetch_add_u32(&norikv_cache->linked, 1);
	return replaced;
}

void
NorikvCacheForget(const NorikvCacheKey *key)
{
	LWLock *lock = NorikvCacheLockOf(key->hash);
	uint32 forgotten = NORIKV_CACHE_NONE;
	uint32 *link;

	HOLD_INTERRUPTS();
	LWLockAcquire(lock, LW_EXCLUSIVE);
	link = find(key);
	if (link != NULL)
		forgotten = unlink_entry(link);
	LWLockRelease(lock);
	NorikvCacheGiveBack(forgotten);
	RESUME_INTERRUPTS();
}

/* Unlinks an entry that is thought to be linked under this hash, if it still is. */
static bool
remove_entry(uint32 removed, uint64 hash)
{
	LWLock *lock = NorikvCacheLockOf(hash);
	uint32 *link = bucket_of(hash);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	while (*link != NORIKV_CACHE_NONE && *link != removed)
		link = &norikv_cache_entries[*link].next;
	if (*link == removed)
		(void) unlink_entry(link);
	else
		removed = NORIKV_CACHE_NONE;
	LWLockRelease(lock);
	NorikvCacheGiveBack(removed);
	return removed != NORIKV_CACHE_NONE;
}

void
NorikvCacheForgetAll(void)
{
	for (uint32 i = 0; i < norikv_cache->n_entries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		HOLD_INTERRUPTS();
		if (norikv_cache_entries[i].scope != 0)
			(void) remove_entry(i, norikv_cache_entries[i].hash);
		RESUME_INTERRUPTS();
	}
}

/*
 * The hand of the clock passes over what was used since it last came by, and over
 * nothing that may not be shown any more. Twice around it must have found something.
 */
bool
NorikvCacheEvict(void)
{
	int64 now = NorikvBootMicroseconds();

	for (uint64 tries = 0; tries <= 2 * (uint64) norikv_cache->n_entries; tries++)
	{
		uint32 i = pg_atomic_fetch_add_u32(&norikv_cache->hand, 1) %
			norikv_cache->n_entries;
		NorikvCacheEntry *entry = &norikv_cache_entries[i];
		uint32 serial = entry->scope;
		NorikvCacheScope *scope = &norikv_cache->scopes[serial % NORIKV_CACHE_SCOPES];
		bool live;

		if (serial == 0)
			continue;
		live = pg_atomic_read_u32(&scope->serial) == serial &&
			may_be_shown(entry, scope, now);
		if (live && pg_atomic_read_u32(&entry->used))
		{
			pg_atomic_write_u32(&entry->used, 0);
			continue;
		}
		if (!remove_entry(i, entry->hash))
			continue;
		if (live)
			pg_atomic_fetch_add_u64(&norikv_cache->evictions, 1);
		return true;
	}
	return false;
}

/* ---- What the watch tells ---- */

/* Locked, shared will do. */
static void
outdate(NorikvCacheEntry *entry, norikv_version version)
{
	if (!NorikvCacheAtLeast(entry->version, version))
		pg_atomic_write_u32(&entry->current, 0);
}

/* As with writes, reading without the lock is enough to find nothing. */
void
NorikvCacheTold(uint32 scope, uint64 hash, norikv_version version)
{
	LWLock *lock = NorikvCacheLockOf(hash);

	if (pg_atomic_read_u32(&NorikvCachePartitionOf(hash)->occupied) == 0)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (uint32 i = *bucket_of(hash); i != NORIKV_CACHE_NONE;
		 i = norikv_cache_entries[i].next)
	{
		if (norikv_cache_entries[i].hash == hash &&
			norikv_cache_entries[i].scope == scope)
			outdate(&norikv_cache_entries[i], version);
	}
	NorikvCacheTellFlights(hash, false, scope, version);
	LWLockRelease(lock);
}

static bool
is_between(const NorikvCacheEntry *entry, norikv_slice start, norikv_slice end)
{
	char buffer[NORIKV_CACHE_MAX_KEY];
	norikv_slice name = {buffer, entry->key_size};
	Position position = {entry->first_chunk, 0};

	read_bytes(&position, buffer, entry->key_size);
	return NorikvCompareKeys(start, name) <= 0 &&
		(end.size == 0 || NorikvCompareKeys(name, end) < 0);
}

/* Bucket by bucket. Of the flights only the hash is known: all may be meant. */
void
NorikvCacheToldRange(uint32 scope, norikv_slice start, norikv_slice end,
					 norikv_version version)
{
	for (uint64 hash = 0; hash < norikv_cache->n_buckets; hash++)
	{
		LWLock *lock = NorikvCacheLockOf(hash);

		if (pg_atomic_read_u32(&NorikvCachePartitionOf(hash)->occupied) == 0)
			continue;
		LWLockAcquire(lock, LW_EXCLUSIVE);
		for (uint32 i = *bucket_of(hash); i != NORIKV_CACHE_NONE;
			 i = norikv_cache_entries[i].next)
		{
			if (norikv_cache_entries[i].scope == scope &&
				is_between(&norikv_cache_entries[i], start, end))
				outdate(&norikv_cache_entries[i], version);
		}
		NorikvCacheTellFlights(hash, true, scope, version);
		LWLockRelease(lock);
	}
}
