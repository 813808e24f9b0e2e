/*
 * shared.h - what the cache's files share: its shared memory, and who may touch what.
 *
 * A key has one bucket, whatever its scope, and a bucket one partition, whose lock is
 * held shared to look and to say that an entry is out of date, exclusively to change
 * what is linked. Values lie in chunks of one size, chained, which the lock of the
 * lists gives out; no two locks are ever held at once. What holds chunks or entries
 * that are linked nowhere runs with interrupts held off and calls nothing that throws:
 * so neither an error nor the end of a backend leaks them.
 */
#ifndef NORIKV_CACHE_SHARED_H
#define NORIKV_CACHE_SHARED_H

#include "cache.h"

#include "common/hashfn.h"
#include "common/sha2.h"
#include "port/atomics.h"
#include "storage/backendid.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#define NORIKV_CACHE_PARTITIONS 128
#define NORIKV_CACHE_SCOPES 64
#define NORIKV_CACHE_UNSETTLED 64
#define NORIKV_CACHE_CHUNK 256
/* Of the tenant's prefix and a key. */
#define NORIKV_CACHE_MAX_KEY (2 * NORIKV_MAX_KEY)
/* In place of an index: none. */
#define NORIKV_CACHE_NONE PG_UINT32_MAX

typedef struct NorikvCacheChunk
{
	uint32 next;
	char data[NORIKV_CACHE_CHUNK - sizeof(uint32)];
} NorikvCacheChunk;

/* In its chunks: the key as the store has it, then the value. */
typedef struct NorikvCacheEntry
{
	uint64 hash; /* of the key */
	uint32 scope; /* serial number; 0: the entry is free */
	uint32 next;  /* in its bucket, or of the free ones */
	uint32 first_chunk;
	uint32 last_chunk;
	uint32 n_chunks;
	uint32 value_size;
	uint16 key_size;
	bool absent; /* the store has no such key */
	bool utf8;	 /* the value is valid UTF-8 without zero bytes */
	pg_atomic_uint32 current; /* 0: the store may have something else by now */
	pg_atomic_uint32 used;	  /* since the clock's hand came by */
	uint64 epoch;			  /* the scope's when it was asked for */
	int64 asked_at;			  /* microseconds of CLOCK_BOOTTIME, as all times here */
	int64 expires_at;
	norikv_version version; /* index 0: not known */
} NorikvCacheEntry;

/*
 * Whose entries they are: those of everybody who would send the same key to the same
 * address with the same credentials. Nobody else is shown them.
 */
typedef struct NorikvCacheScope
{
	pg_atomic_uint32 serial; /* 0: free; serial % SCOPES is its place */
	uint8 identity[PG_SHA256_DIGEST_LENGTH];
	pg_atomic_uint64 epoch; /* entries of another epoch are out of date */
	pg_atomic_uint64 used_at;
	int endpoint; /* for the keeper, held; -1: none */
	/*
	 * Others' writes, by the keeper's watch (watch.c). Where there is one, or is to be,
	 * what was asked for since watched_since is known to be what the store had at
	 * confirmed_at; what was asked for earlier, only that it was when it was asked for.
	 */
	pg_atomic_uint32 watched;
	pg_atomic_uint64 watched_since; /* 0: it does not watch */
	pg_atomic_uint64 confirmed_at;
} NorikvCacheScope;

/* A reading of one key on behalf of all who miss it, or a write to be kept. */
typedef struct NorikvCacheFlight
{
	ConditionVariable landed;
	pg_atomic_uint32 serial; /* odd: under way */
	uint32 outcome;			 /* NorikvCacheOutcome of the last one */
	uint32 next;			 /* in its partition */
	uint32 scope;
	uint64 hash;
	uint64 epoch;
	bool write;
	pg_atomic_uint32 overtaken; /* by a write: what is read may be old */
	norikv_version seen;		/* the newest that the watch told of */
} NorikvCacheFlight;

typedef enum NorikvCacheOutcome
{
	NORIKV_CACHE_ABANDONED, /* by an error or the end of the backend */
	NORIKV_CACHE_KEPT,
	NORIKV_CACHE_NOT_KEPT
} NorikvCacheOutcome;

typedef struct NorikvCachePartition
{
	uint32 flights;			   /* the first; NORIKV_CACHE_NONE */
	pg_atomic_uint32 occupied; /* entries and flights */
} NorikvCachePartition;

/* Of one backend: nobody else writes it. */
typedef union NorikvCacheCounts
{
	struct
	{
		pg_atomic_uint64 hits;
		pg_atomic_uint64 misses;
	};
	char padding[PG_CACHE_LINE_SIZE];
} NorikvCacheCounts;

/* A write whose outcome is not known may take effect until then. */
typedef struct NorikvCacheUnsettled
{
	uint64 hash;
	int64 until;
} NorikvCacheUnsettled;

typedef struct NorikvCacheShared
{
	/* Set once. */
	uint32 n_entries;
	uint32 n_chunks;
	uint32 n_buckets;
	LWLockPadded *locks; /* partitions, then the one below */
	LWLock *lists_lock;	 /* free lists, scopes, unsettled writes */

	uint32 free_entry;
	uint32 free_chunk;
	uint32 n_free_chunks;
	uint32 scopes_made;
	uint32 next_unsettled;
	NorikvCacheUnsettled unsettled[NORIKV_CACHE_UNSETTLED];
	pg_atomic_uint64 unsettled_until;	  /* the latest of them */
	pg_atomic_uint64 all_unsettled_until; /* of keys not named */
	pg_atomic_uint32 hand;				  /* of the clock */
	pg_atomic_uint32 linked;			  /* entries */
	pg_atomic_uint32 occupied;			  /* entries and flights */
	pg_atomic_uint64 evictions;
	NorikvCacheScope scopes[NORIKV_CACHE_SCOPES];
	NorikvCachePartition partitions[NORIKV_CACHE_PARTITIONS];
} NorikvCacheShared;

/* What is looked for. */
typedef struct NorikvCacheKey
{
	uint64 hash;
	NorikvCacheScope *scope;
	uint32 scope_serial;
	norikv_slice name; /* as the store has it */
} NorikvCacheKey;

/* What is to be kept. */
typedef struct NorikvCacheItem
{
	norikv_slice value;
	bool absent;
	norikv_version version;
	int64 asked_at;
	int64 expires_at;
} NorikvCacheItem;

/* What was found; value NULL: no such key. */
typedef struct NorikvCacheFound
{
	text *value;
	bool utf8;
} NorikvCacheFound;

/* A flight to wait for. */
typedef struct NorikvCacheTicket
{
	uint32 flight;
	uint32 serial;
} NorikvCacheTicket;

/* ---- memory.c ---- */

extern NorikvCacheShared *norikv_cache; /* NULL: no shared memory */
extern NorikvCacheEntry *norikv_cache_entries;
extern NorikvCacheChunk *norikv_cache_chunks;
extern uint32 *norikv_cache_buckets;
extern NorikvCacheFlight *norikv_cache_flights; /* one a backend */
extern NorikvCacheCounts *norikv_cache_counts;

extern int norikv_cache_ttl;		   /* norikv.cache_ttl, milliseconds */
extern bool norikv_cache_watch;		   /* norikv.cache_watch */
extern int norikv_cache_watch_timeout; /* norikv.cache_watch_timeout, milliseconds */
/* A scope that was not used for so long is not watched. */
#define NORIKV_CACHE_IDLE_US (120 * INT64CONST(1000000))

/* 55000 where there is no shared memory. */
extern void NorikvCacheRequire(void);

/* An entry with chunks for so many bytes; false: there is no room for them. */
extern bool NorikvCacheTake(size_t size, uint32 *entry);
extern void NorikvCacheGiveBack(uint32 entry);
extern uint32 NorikvCacheUsedChunks(void);

/* ---- table.c ---- */

static inline LWLock *
NorikvCacheLockOf(uint64 hash)
{
	return &norikv_cache->locks[hash % NORIKV_CACHE_PARTITIONS].lock;
}

static inline NorikvCachePartition *
NorikvCachePartitionOf(uint64 hash)
{
	return &norikv_cache->partitions[hash % NORIKV_CACHE_PARTITIONS];
}

static inline uint64
NorikvCacheHash(norikv_slice name)
{
	return hash_bytes_extended(name.data, (int) name.size, 0);
}

static inline bool
NorikvCacheAtLeast(norikv_version version, norikv_version other)
{
	return version.term != other.term ? version.term > other.term
									  : version.index >= other.index;
}

/* Counts what the partition has: the lock is held exclusively. */
extern void NorikvCacheOccupy(uint64 hash, int difference);
/* Its entry as it may be shown now, under the lock; NULL: none. */
extern NorikvCacheEntry *NorikvCacheLookUp(const NorikvCacheKey *key, int64 now);
/* False: there is none to be shown. */
extern bool NorikvCacheRead(const NorikvCacheKey *key, NorikvCacheFound *found);
/* Key and value into its chunks; it is linked nowhere yet. */
extern void NorikvCacheFill(uint32 entry, norikv_slice key, norikv_slice value);
/* In place of the one there is; that one is returned, or NORIKV_CACHE_NONE. */
extern uint32 NorikvCacheLink(const NorikvCacheKey *key, uint32 entry);
extern void NorikvCacheForget(const NorikvCacheKey *key);
/*
 * The watch of a scope tells of a change of this version: entries that are older, and
 * flights that bring what is older, are out of date. Of a range: [start, end), end
 * empty: to the last key.
 */
extern void NorikvCacheTold(uint32 scope, uint64 hash, norikv_version version);
extern void NorikvCacheToldRange(uint32 scope, norikv_slice start, norikv_slice end,
								 norikv_version version);
extern void NorikvCacheForgetAll(void);
/* One entry goes; false: there is none that could. */
extern bool NorikvCacheEvict(void);

/* ---- flight.c ---- */

typedef enum NorikvCacheBoarding
{
	NORIKV_CACHE_THERE,	 /* somebody has put it there: look again */
	NORIKV_CACHE_PILOT,	 /* the caller reads it, and lands */
	NORIKV_CACHE_WAIT	 /* somebody else does */
} NorikvCacheBoarding;

extern NorikvCacheBoarding NorikvCacheBoard(const NorikvCacheKey *key,
											NorikvCacheTicket *ticket);
/* For a write whose value is to be kept. */
extern void NorikvCacheBoardWrite(const NorikvCacheKey *key);
/* This backend's flight ends; the item is kept where it may be. */
extern void NorikvCacheLand(const NorikvCacheKey *key, const NorikvCacheItem *item);
/* It ends with nothing, if there is one. Never throws. */
extern void NorikvCacheAbandon(void);
/* At most so many milliseconds; the outcome. */
extern NorikvCacheOutcome NorikvCacheWait(const NorikvCacheTicket *ticket, long timeout);
/* Locked exclusively: those of a scope and, if all is false, of this key. */
extern void NorikvCacheTellFlights(uint64 hash, bool all, uint32 scope,
								   norikv_version version);
/* Those of this key are overtaken, but for the write of this backend. */
extern void NorikvCacheOvertake(uint64 hash);

/* ---- scope.c ---- */

extern NorikvCacheScope *NorikvCacheScopeOf(NorikvConnection *connection, uint32 *serial);
/* A key as the store has it; the buffer is for where the client has a prefix. */
extern norikv_slice NorikvCacheName(norikv_slice prefix, norikv_slice key,
									char buffer[NORIKV_CACHE_MAX_KEY]);
/* Its entries are out of date. */
extern void NorikvCacheDropScope(NorikvCacheScope *scope);
extern void NorikvCacheDropAll(void);
/* The scope was used at this time. */
extern void NorikvCacheUseScope(NorikvCacheScope *scope, int64 now);

/* ---- write.c ---- */

/* Whether a write may take effect still that was given up. */
extern bool NorikvCacheIsUnsettled(uint64 hash, int64 now);
/* The key may have another value by now. */
extern void NorikvCacheChanged(uint64 hash);

#endif
