/*
 * memory.c - the cache's settings, its shared memory, and the lists of what is free.
 *
 * All of it is asked for when PostgreSQL starts. Entries and chunks are of one size
 * each, so that nothing ever becomes too fragmented for a value.
 */
#include "shared.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/guc.h"

#define DEFAULT_KILOBYTES (32 * 1024)
#define DEFAULT_ENTRIES 32768
#define MAX_ENTRIES (64 * 1024 * 1024)
/* A value that would take more than this part of the cache is not kept. */
#define LARGEST_PART 8

NorikvCacheShared *norikv_cache = NULL;
NorikvCacheEntry *norikv_cache_entries = NULL;
NorikvCacheChunk *norikv_cache_chunks = NULL;
uint32 *norikv_cache_buckets = NULL;
NorikvCacheFlight *norikv_cache_flights = NULL;
NorikvCacheCounts *norikv_cache_counts = NULL;

int norikv_cache_ttl = 60000;
bool norikv_cache_watch = true;
int norikv_cache_watch_timeout = 5000;
static int cache_kilobytes = DEFAULT_KILOBYTES;
static int cache_entries = DEFAULT_ENTRIES;

static char *shared_base = NULL;

static void
define_settings(void)
{
	/*
	 * Memory for keys and values, taken from the start. An entry takes its key and its
	 * value, rounded up to 252 bytes. A value that would take more than an eighth is
	 * not kept. With 0 nothing is: cache_get() then reads the store each time.
	 */
	DefineCustomIntVariable("norikv.cache_size", "Memory for what cache_get() keeps.",
							"0 keeps nothing.", &cache_kilobytes, DEFAULT_KILOBYTES, 0,
							MAX_KILOBYTES, PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);

	/* Each takes some 120 bytes of shared memory besides, used or not. */
	DefineCustomIntVariable("norikv.cache_entries",
							"How many keys cache_get() keeps at most.", NULL,
							&cache_entries, DEFAULT_ENTRIES, 16, MAX_ENTRIES,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);

	/*
	 * How long what was read is shown before it is read again. Where the server tells
	 * of changes (Watch), they are seen at once; where it does not, this is how old a
	 * value can be that somebody else than this PostgreSQL has changed.
	 */
	DefineCustomIntVariable("norikv.cache_ttl",
							"How long cache_get() shows what it keeps.", NULL,
							&norikv_cache_ttl, 60000, 1, INT_MAX, PGC_SIGHUP,
							GUC_UNIT_MS, NULL, NULL, NULL);

	/*
	 * The background worker has each server tell it of all changes below the tenant's
	 * prefix, or of the whole store. Where others write to it all the time, and little of
	 * that is cached, that is work which norikv.cache_ttl may be a better answer to.
	 */
	DefineCustomBoolVariable("norikv.cache_watch",
							 "Has servers tell of changes of what cache_get() keeps.",
							 "Off, what others change is seen after norikv.cache_ttl.",
							 &norikv_cache_watch, true, PGC_SIGHUP, 0, NULL, NULL, NULL);

	/*
	 * How old a value can be when a server cannot tell: it is out of reach, or the
	 * background worker does not run. Servers are asked to give a sign of life four
	 * times in this time.
	 */
	DefineCustomIntVariable("norikv.cache_watch_timeout",
							"How long entries are shown after a server was last heard.",
							NULL, &norikv_cache_watch_timeout, 5000, 400, INT_MAX / 2,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

/* ---- Layout ---- */

static uint32
n_chunks(void)
{
	return (uint32) ((uint64) cache_kilobytes * 1024 / sizeof(NorikvCacheChunk));
}

static uint32
n_buckets(void)
{
	return Max(pg_nextpower2_32((uint32) cache_entries), NORIKV_CACHE_PARTITIONS);
}

/* Lays one part behind the other from a base; without a base it only counts. */
static void *
lay(char *base, Size *offset, Size element, Size count)
{
	void *part = base == NULL ? NULL : base + *offset;

	*offset = add_size(*offset, CACHELINEALIGN(mul_size(element, count)));
	return part;
}

static Size
lay_out(char *base)
{
	Size offset = 0;

	norikv_cache = lay(base, &offset, sizeof(NorikvCacheShared), 1);
	norikv_cache_counts = lay(base, &offset, sizeof(NorikvCacheCounts), MaxBackends);
	norikv_cache_flights = lay(base, &offset, sizeof(NorikvCacheFlight), MaxBackends);
	norikv_cache_buckets = lay(base, &offset, sizeof(uint32), n_buckets());
	norikv_cache_entries = lay(base, &offset, sizeof(NorikvCacheEntry), cache_entries);
	norikv_cache_chunks = lay(base, &offset, sizeof(NorikvCacheChunk), n_chunks());
	return offset;
}

static void
init_partitions(LWLockPadded *locks)
{
	norikv_cache->locks = locks;
	norikv_cache->lists_lock = &norikv_cache->locks[NORIKV_CACHE_PARTITIONS].lock;
	for (int i = 0; i < NORIKV_CACHE_PARTITIONS; i++)
	{
		norikv_cache->partitions[i].flights = NORIKV_CACHE_NONE;
		pg_atomic_init_u32(&norikv_cache->partitions[i].occupied, 0);
	}
	for (uint32 i = 0; i < norikv_cache->n_buckets; i++)
		norikv_cache_buckets[i] = NORIKV_CACHE_NONE;
	for (int i = 0; i < NORIKV_CACHE_SCOPES; i++)
	{
		NorikvCacheScope *scope = &norikv_cache->scopes[i];

		pg_atomic_init_u32(&scope->serial, 0);
		pg_atomic_init_u64(&scope->epoch, 0);
		pg_atomic_init_u64(&scope->used_at, 0);
		pg_atomic_init_u32(&scope->watched, false);
		pg_atomic_init_u64(&scope->watched_since, 0);
		pg_atomic_init_u64(&scope->confirmed_at, 0);
	}
}

static void
init_backends(void)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		pg_atomic_init_u64(&norikv_cache_counts[i].hits, 0);
		pg_atomic_init_u64(&norikv_cache_counts[i].misses, 0);
		ConditionVariableInit(&norikv_cache_flights[i].landed);
		pg_atomic_init_u32(&norikv_cache_flights[i].serial, 0);
		pg_atomic_init_u32(&norikv_cache_flights[i].overtaken, 0);
	}
}

/* Chunks are not touched before they are used, but for their links. */
static void
init_lists(void)
{
	for (uint32 i = 0; i < norikv_cache->n_entries; i++)
	{
		NorikvCacheEntry *entry = &norikv_cache_entries[i];

		entry->scope = 0;
		entry->next = i + 1;
		pg_atomic_init_u32(&entry->current, 0);
		pg_atomic_init_u32(&entry->used, 0);
	}
	norikv_cache_entries[norikv_cache->n_entries - 1].next = NORIKV_CACHE_NONE;
	for (uint32 i = 0; i < norikv_cache->n_chunks; i++)
		norikv_cache_chunks[i].next = i + 1;
	if (norikv_cache->n_chunks > 0)
		norikv_cache_chunks[norikv_cache->n_chunks - 1].next = NORIKV_CACHE_NONE;
	norikv_cache->free_entry = 0;
	norikv_cache->free_chunk = 0;
	norikv_cache->n_free_chunks = norikv_cache->n_chunks;
}

static void
init_shared(LWLockPadded *locks)
{
	memset(norikv_cache, 0, sizeof(NorikvCacheShared));
	norikv_cache->n_entries = (uint32) cache_entries;
	norikv_cache->n_chunks = n_chunks();
	norikv_cache->n_buckets = n_buckets();
	pg_atomic_init_u64(&norikv_cache->unsettled_until, 0);
	pg_atomic_init_u64(&norikv_cache->all_unsettled_until, 0);
	pg_atomic_init_u32(&norikv_cache->hand, 0);
	pg_atomic_init_u32(&norikv_cache->linked, 0);
	pg_atomic_init_u32(&norikv_cache->occupied, 0);
	pg_atomic_init_u64(&norikv_cache->evictions, 0);
	init_partitions(locks);
	init_backends();
	init_lists();
}

static Size
shared_size(void)
{
	return lay_out(NULL);
}

static void
lay_out_shared(void)
{
	(void) lay_out(shared_base);
}

static const NorikvSharedMemory shared_memory = {
	.name = "norikv cache",
	.size = shared_size,
	.attach = lay_out_shared,
	.init = init_shared,
	.memory = (void **) &shared_base,
	.tranche = "norikv_cache",
	.n_locks = NORIKV_CACHE_PARTITIONS + 1,
	.sparse = true,
};

void
NorikvCacheInit(void)
{
	define_settings();
	NorikvShareMemory(&shared_memory);
}

void
NorikvCacheRequire(void)
{
	if (norikv_cache == NULL)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("norikv's cache needs shared memory"),
				errhint("Add norikv to \"shared_preload_libraries\" and restart "
						"PostgreSQL."));
}

/* ---- What is free ---- */

/* Moves free chunks to the entry, as many as it lacks or as there are. */
static void
take_chunks(NorikvCacheEntry *entry, uint32 wanted)
{
	uint32 lacking = Min(wanted - entry->n_chunks, norikv_cache->n_free_chunks);
	uint32 last = norikv_cache->free_chunk;

	if (lacking == 0)
		return;
	for (uint32 i = 1; i < lacking; i++)
		last = norikv_cache_chunks[last].next;
	if (entry->n_chunks == 0)
		entry->first_chunk = norikv_cache->free_chunk;
	else
		norikv_cache_chunks[entry->last_chunk].next = norikv_cache->free_chunk;
	norikv_cache->free_chunk = norikv_cache_chunks[last].next;
	norikv_cache->n_free_chunks -= lacking;
	norikv_cache_chunks[last].next = NORIKV_CACHE_NONE;
	entry->last_chunk = last;
	entry->n_chunks += lacking;
}

static uint32
take_entry(void)
{
	uint32 taken = norikv_cache->free_entry;

	if (taken != NORIKV_CACHE_NONE)
	{
		norikv_cache->free_entry = norikv_cache_entries[taken].next;
		norikv_cache_entries[taken].n_chunks = 0;
	}
	return taken;
}

/*
 * What it needs, and evicts for, is collected until it is enough, so that those who
 * need much are not outrun by those who need little.
 */
bool
NorikvCacheTake(size_t size, uint32 *taken)
{
	uint32 wanted = (size + sizeof(norikv_cache_chunks->data) - 1) /
		sizeof(norikv_cache_chunks->data);
	uint32 entry = NORIKV_CACHE_NONE;

	Assert(InterruptHoldoffCount > 0);
	if (wanted > norikv_cache->n_chunks / LARGEST_PART)
		return false;
	for (;;)
	{
		LWLockAcquire(norikv_cache->lists_lock, LW_EXCLUSIVE);
		if (entry == NORIKV_CACHE_NONE)
			entry = take_entry();
		if (entry != NORIKV_CACHE_NONE)
			take_chunks(&norikv_cache_entries[entry], wanted);
		LWLockRelease(norikv_cache->lists_lock);
		if (entry != NORIKV_CACHE_NONE && norikv_cache_entries[entry].n_chunks == wanted)
			break;
		if (!NorikvCacheEvict())
		{
			NorikvCacheGiveBack(entry);
			return false;
		}
	}
	*taken = entry;
	return true;
}

void
NorikvCacheGiveBack(uint32 given)
{
	NorikvCacheEntry *entry = &norikv_cache_entries[given];

	if (given == NORIKV_CACHE_NONE)
		return;
	LWLockAcquire(norikv_cache->lists_lock, LW_EXCLUSIVE);
	if (entry->n_chunks > 0)
	{
		norikv_cache_chunks[entry->last_chunk].next = norikv_cache->free_chunk;
		norikv_cache->free_chunk = entry->first_chunk;
		norikv_cache->n_free_chunks += entry->n_chunks;
		entry->n_chunks = 0;
	}
	entry->next = norikv_cache->free_entry;
	norikv_cache->free_entry = given;
	LWLockRelease(norikv_cache->lists_lock);
}

uint32
NorikvCacheUsedChunks(void)
{
	uint32 used;

	LWLockAcquire(norikv_cache->lists_lock, LW_SHARED);
	used = norikv_cache->n_chunks - norikv_cache->n_free_chunks;
	LWLockRelease(norikv_cache->lists_lock);
	return used;
}
