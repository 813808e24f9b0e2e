/*
 * write.c - what writes of this PostgreSQL do to the cache.
 *
 * A write says what it may change before it is sent, and again once its outcome is
 * known, before anybody is told of it. Both times the entries of these keys go out of
 * date, in every scope, and so do the flights under way. A flight that was answered
 * before the write took effect began before it ended: the second time finds the flight,
 * or the entry that came of it. So no reader sees a value older than a write that was
 * acknowledged before the reader began.
 *
 * A write that was given up, or whose answer was lost, may still take effect: its keys
 * are not kept for a while.
 */
#include "shared.h"

#include "utils/memutils.h"

/* What was given up is either with the server by then, or will hardly get there. */
#define UNSETTLED_US (10 * INT64CONST(1000000))

/* ---- One key ---- */

/* Reading without the lock is enough to find nothing: see the head of this file. */
void
NorikvCacheChanged(uint64 hash)
{
	LWLock *lock = NorikvCacheLockOf(hash);
	uint32 i;

	if (pg_atomic_read_u32(&NorikvCachePartitionOf(hash)->occupied) == 0)
		return;
	LWLockAcquire(lock, LW_SHARED);
	i = norikv_cache_buckets[hash & (norikv_cache->n_buckets - 1)];
	for (; i != NORIKV_CACHE_NONE; i = norikv_cache_entries[i].next)
	{
		if (norikv_cache_entries[i].hash == hash)
			pg_atomic_write_u32(&norikv_cache_entries[i].current, 0);
	}
	NorikvCacheOvertake(hash);
	LWLockRelease(lock);
}

/* ---- Writes without a known end ---- */

static void
raise_to(pg_atomic_uint64 *instant, int64 until)
{
	if ((int64) pg_atomic_read_u64(instant) < until)
		pg_atomic_write_u64(instant, until);
}

/* Where the ring is full of them, no key is kept for that time. */
static void
note_unsettled(const NorikvCacheWrite *write)
{
	int64 now = NorikvBootMicroseconds();
	int64 until = now + UNSETTLED_US;

	LWLockAcquire(norikv_cache->lists_lock, LW_EXCLUSIVE);
	for (size_t i = 0; i < write->n_keys && !write->everything; i++)
	{
		NorikvCacheUnsettled *noted =
			&norikv_cache->unsettled[norikv_cache->next_unsettled++ %
									 NORIKV_CACHE_UNSETTLED];

		if (noted->until > now)
			raise_to(&norikv_cache->all_unsettled_until, until);
		*noted = (NorikvCacheUnsettled){write->keys[i], until};
	}
	if (write->everything)
		raise_to(&norikv_cache->all_unsettled_until, until);
	raise_to(&norikv_cache->unsettled_until, until);
	LWLockRelease(norikv_cache->lists_lock);
}

bool
NorikvCacheIsUnsettled(uint64 hash, int64 now)
{
	bool unsettled = false;

	if ((int64) pg_atomic_read_u64(&norikv_cache->all_unsettled_until) > now)
		return true;
	if ((int64) pg_atomic_read_u64(&norikv_cache->unsettled_until) <= now)
		return false;
	LWLockAcquire(norikv_cache->lists_lock, LW_SHARED);
	for (int i = 0; i < NORIKV_CACHE_UNSETTLED && !unsettled; i++)
		unsettled = norikv_cache->unsettled[i].hash == hash &&
			norikv_cache->unsettled[i].until > now;
	LWLockRelease(norikv_cache->lists_lock);
	return unsettled;
}

/* ---- Writes ---- */

static void
tell_all(const NorikvCacheWrite *write)
{
	if (write->everything)
		NorikvCacheDropAll();
	else
	{
		for (size_t i = 0; i < write->n_keys; i++)
			NorikvCacheChanged(write->keys[i]);
	}
}

/* Operations on other things than keys have none. */
static void
add_operation(NorikvCacheWrite *write, norikv_slice prefix,
			  const norikv_operation *operation)
{
	char buffer[NORIKV_CACHE_MAX_KEY];

	if (operation->kind == NORIKV_OP_DELETE_RANGE)
		write->everything = true;
	else if (operation->kind != NORIKV_OP_CHECK && operation->key.size > 0 &&
			 prefix.size + operation->key.size <= sizeof(buffer))
		write->keys[write->n_keys++] =
			NorikvCacheHash(NorikvCacheName(prefix, operation->key, buffer));
}

void
NorikvCacheWriteStarts(NorikvCacheWrite *write, norikv_slice prefix,
					   const norikv_operation *operations, size_t n_operations)
{
	*write = (NorikvCacheWrite){.keys = NULL};
	if (norikv_cache == NULL || norikv_cache->n_chunks == 0)
		return;
	if (n_operations > 1 && pg_atomic_read_u32(&norikv_cache->occupied) == 0)
	{
		/* What is there by the time it ends, if anything, is to be dropped then. */
		*write = (NorikvCacheWrite){.started = true, .everything = true};
		return;
	}
	write->keys = &write->only;
	if (n_operations > 1)
		write->keys = MemoryContextAllocHuge(TopMemoryContext,
											 n_operations * sizeof(uint64));
	for (size_t i = 0; i < n_operations; i++)
		add_operation(write, prefix, &operations[i]);
	write->started = true;
	tell_all(write);
}

void
NorikvCacheWriteEnds(NorikvCacheWrite *write, bool settled)
{
	if (!write->started)
		return;
	write->started = false;
	if (!settled)
		note_unsettled(write);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&norikv_cache->occupied) > 0)
		tell_all(write);
	if (write->keys != NULL && write->keys != &write->only)
		pfree(write->keys);
	write->keys = NULL;
}
