/*
 * watch.c - the keeper's part of the cache: what others write.
 *
 * Each scope in use has a watch over all keys below its prefix. What it tells of takes
 * older entries out of the cache, and keeps flights from bringing what is older. The
 * server gives a sign of life now and then, in the same stream: up to there everything
 * has been told. Where none comes, entries are shown for norikv.cache_watch_timeout
 * after the last, or after they were asked for; so long, and what a message takes, may
 * a value be old. A server without Watch leaves norikv.cache_ttl.
 *
 * A version is what makes the cache's own writes, which are told of as well, do no
 * harm: an entry that is at least as new as the change stays.
 */
#include "shared.h"

#include "worker/endpoint.h"
#include "worker/keeper.h"

#define HEARTBEATS 4 /* in norikv.cache_watch_timeout */
#define TICK_MS 1000 /* between two looks at which scopes are in use */
#define PAUSE_MS 1000 /* after a watch that ended */
#define UNSUPPORTED_PAUSE_MS (60 * 1000)
#define NO_CLIENT_PAUSE_MS 50 /* where the embedded server is about to start */

/* Of the scope in the same place. */
typedef struct Watch
{
	NorikvKeeperCall call; /* in a list: it must not move */
	uint32 serial;		   /* of the scope that it is for; 0: for none */
	uint16 prefix_size;
	char prefix[NORIKV_ENDPOINT_PREFIX];
	norikv_version known; /* where the next call goes on; with history 0: nowhere */
	uint64 history;
	int64 heard_at; /* boot time of the last page, as all times here; 0: none yet */
	int64 retry_at;
	int timeout; /* norikv.cache_watch_timeout when it was begun */
	bool unsupported; /* the server had no Watch when it was last asked */
} Watch;

static Watch watches[NORIKV_CACHE_SCOPES];

/* ---- What is told to those who read ---- */

/* Runs what is between them if the scope is still the one that is watched. */
static bool
lock_scope(const Watch *watch)
{
	NorikvCacheScope *scope = &norikv_cache->scopes[watch - watches];

	LWLockAcquire(norikv_cache->lists_lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&scope->serial) == watch->serial)
		return true;
	LWLockRelease(norikv_cache->lists_lock);
	return false;
}

static void
unlock_scope(void)
{
	LWLockRelease(norikv_cache->lists_lock);
}

/* since: what was asked for from then on is watched; 0: nothing is. Boot time. */
static void
set_watched(const Watch *watch, bool watched, int64 since)
{
	NorikvCacheScope *scope = &norikv_cache->scopes[watch - watches];

	if (!lock_scope(watch))
		return;
	pg_atomic_write_u32(&scope->watched, watched);
	pg_atomic_write_u64(&scope->watched_since, (uint64) since);
	unlock_scope();
}

static void
confirm(const Watch *watch)
{
	NorikvCacheScope *scope = &norikv_cache->scopes[watch - watches];

	if (!lock_scope(watch))
		return;
	pg_atomic_write_u32(&scope->watched, true);
	if (pg_atomic_read_u64(&scope->watched_since) == 0)
		pg_atomic_write_u64(&scope->watched_since, (uint64) NorikvBootMicroseconds());
	pg_atomic_write_u64(&scope->confirmed_at, (uint64) NorikvBootMicroseconds());
	unlock_scope();
}

/* Nothing is known of what happened until now. */
static void
start_anew(const Watch *watch)
{
	NorikvCacheScope *scope = &norikv_cache->scopes[watch - watches];

	if (!lock_scope(watch))
		return;
	NorikvCacheDropScope(scope);
	pg_atomic_write_u64(&scope->watched_since, (uint64) NorikvBootMicroseconds());
	unlock_scope();
}

/* ---- Pages ---- */

static norikv_slice
full_name(const Watch *watch, norikv_slice key, char buffer[NORIKV_CACHE_MAX_KEY])
{
	return NorikvCacheName((norikv_slice){watch->prefix, watch->prefix_size}, key,
						   buffer);
}

/* Up to the end of what is watched: the last key that begins with the prefix. */
static norikv_slice
full_end(const Watch *watch, norikv_slice end, char buffer[NORIKV_CACHE_MAX_KEY])
{
	norikv_slice prefix = {watch->prefix, watch->prefix_size};

	if (end.size > 0)
		return full_name(watch, end, buffer);
	return (norikv_slice){buffer, norikv_prefix_end(prefix, buffer)};
}

static void
take_change(const Watch *watch, const norikv_change *change)
{
	char start[NORIKV_CACHE_MAX_KEY];
	char end[NORIKV_CACHE_MAX_KEY];

	if (change->kind != NORIKV_WATCH_DELETE_RANGE)
		NorikvCacheTold(watch->serial,
						NorikvCacheHash(full_name(watch, change->key, start)),
						change->version);
	else
		NorikvCacheToldRange(watch->serial, full_name(watch, change->key, start),
							 full_end(watch, change->end_key, end), change->version);
}

/*
 * Where this process or the network has stood still, the page may be as old as that;
 * those that waited behind it come at once, and tell more.
 */
static bool
is_fresh(const Watch *watch, int64 now)
{
	return watch->heard_at == 0 || now - watch->heard_at < norikv_cache_watch_timeout;
}

static void
take_page(Watch *watch, const norikv_changes *page, int64 now)
{
	bool fresh = is_fresh(watch, now);

	if (page->reset)
		start_anew(watch);
	for (size_t i = 0; i < page->n_changes; i++)
		take_change(watch, &page->changes[i]);
	watch->known = page->known;
	watch->history = page->history;
	watch->heard_at = now;
	if (page->current && fresh)
		confirm(watch);
}

/* ---- Watches ---- */

static void
stop(Watch *watch)
{
	NorikvKeeperDrop(&watch->call);
	watch->heard_at = 0;
}

/* What it has known is of no use to what comes. */
static void
forget(Watch *watch)
{
	stop(watch);
	watch->history = 0;
	watch->known = (norikv_version){0, 0};
	watch->retry_at = 0;
}

/* It ended, which it does only where it is refused. */
static void
end(Watch *watch, int64 now)
{
	watch->unsupported =
		norikv_call_error(watch->call.call)->code == NORIKV_UNIMPLEMENTED;
	forget(watch);
	set_watched(watch, !watch->unsupported, 0);
	watch->retry_at = now + (watch->unsupported ? UNSUPPORTED_PAUSE_MS : PAUSE_MS);
}

static void
start(Watch *watch, int endpoint, int64 now)
{
	norikv_watch_request request = {
		.after = watch->known,
		.history = watch->history,
		.heartbeat_ms = norikv_cache_watch_timeout / HEARTBEATS,
	};
	NorikvKeeperClient *client = NorikvKeeperClientFor(endpoint);
	NorikvEndpoint copy;

	if (client == NULL)
	{
		watch->retry_at = now + NO_CLIENT_PAUSE_MS;
		return;
	}
	NorikvEndpointCopy(endpoint, &copy);
	watch->prefix_size = copy.key_prefix_size;
	memcpy(watch->prefix, copy.key_prefix, copy.key_prefix_size);
	explicit_bzero(&copy, sizeof(copy));
	if (watch->history == 0)
		set_watched(watch, !watch->unsupported, 0);
	NorikvKeeperTrack(&watch->call, client,
					  norikv_watch(NorikvKeeperClientHandle(client), &request, NULL),
					  NORIKV_KEEPER_STREAM_MS);
	watch->timeout = norikv_cache_watch_timeout;
	watch->retry_at = now + watch->timeout;
}

/* One that is silent for too long is begun again, from where it was. */
static void
go_on(Watch *watch, int64 now)
{
	norikv_call *call = watch->call.call;
	const norikv_changes *page;

	if (norikv_call_done(call))
	{
		page = norikv_call_changes(call);
		if (page != NULL)
		{
			take_page(watch, page, now);
			watch->retry_at = now + watch->timeout;
			(void) norikv_call_next(call);
		}
		else
			end(watch, now);
	}
	else if (now >= watch->retry_at || watch->timeout != norikv_cache_watch_timeout)
	{
		stop(watch);
		watch->retry_at = now;
	}
}

/*
 * The endpoint to watch for the scope that has the place now; -1: none. Of a scope that
 * is only out of use entries are shown as if nothing was heard of the server.
 */
static int
wanted_endpoint(Watch *watch)
{
	NorikvCacheScope *scope = &norikv_cache->scopes[watch - watches];
	int64 now = NorikvBootMicroseconds();
	uint32 serial;
	bool possible;
	int endpoint = -1;

	LWLockAcquire(norikv_cache->lists_lock, LW_EXCLUSIVE);
	serial = pg_atomic_read_u32(&scope->serial);
	possible = norikv_cache_watch && serial != 0 && scope->endpoint >= 0;
	if (!possible)
		pg_atomic_write_u32(&scope->watched, false);
	if (possible &&
		now - (int64) pg_atomic_read_u64(&scope->used_at) < NORIKV_CACHE_IDLE_US)
		endpoint = scope->endpoint;
	LWLockRelease(norikv_cache->lists_lock);
	if (serial != watch->serial)
	{
		forget(watch);
		watch->unsupported = false;
		watch->serial = serial;
	}
	return endpoint;
}

/* ---- The module ---- */

/* What an earlier keeper has watched is not watched any more. */
static void
start_module(void)
{
	for (int i = 0; i < NORIKV_CACHE_SCOPES; i++)
	{
		watches[i].serial = pg_atomic_read_u32(&norikv_cache->scopes[i].serial);
		if (pg_atomic_read_u32(&norikv_cache->scopes[i].watched))
			set_watched(&watches[i], true, 0);
	}
}

static int64
step_watch(Watch *watch, int64 now)
{
	int endpoint;

	if (pg_atomic_read_u32(&norikv_cache->scopes[watch - watches].serial) == 0)
		return NORIKV_KEEPER_NEVER;
	endpoint = wanted_endpoint(watch);
	if (endpoint < 0)
	{
		if (watch->call.call != NULL || watch->history != 0)
		{
			forget(watch);
			set_watched(watch, norikv_cache_watch, 0);
		}
		return NORIKV_KEEPER_NEVER;
	}
	if (watch->call.call != NULL)
		go_on(watch, now);
	if (watch->call.call == NULL && now >= watch->retry_at)
		start(watch, endpoint, now);
	return Min(watch->retry_at, now + TICK_MS);
}

static int64
step_module(int64 now)
{
	int64 next = NORIKV_KEEPER_NEVER;

	if (norikv_cache->scopes_made == 0)
		return next;
	for (int i = 0; i < NORIKV_CACHE_SCOPES; i++)
	{
		int64 at = step_watch(&watches[i], now);

		next = Min(next, at);
	}
	return next;
}

static bool
is_busy(int64 now, int64 asked_at)
{
	return false;
}

const NorikvKeeperModule NorikvCacheModule = {
	.start = start_module,
	.step = step_module,
	.busy = is_busy,
};
