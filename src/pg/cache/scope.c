/*
 * scope.c - whose entries are whose.
 *
 * A scope is an address, the credentials sent there, and the tenant's prefix: who has
 * the same three would be answered the same by the store, and nobody else is shown its
 * entries. What a server says of itself decides nothing, so that no server can put
 * values into the cache of another one's users.
 */
#include "shared.h"

#include "common/cryptohash.h"
#include "miscadmin.h"

#include "worker/endpoint.h"
#include "worker/keeper.h"

norikv_slice
NorikvCacheName(norikv_slice prefix, norikv_slice key, char buffer[NORIKV_CACHE_MAX_KEY])
{
	if (prefix.size == 0)
		return key;
	memcpy(buffer, prefix.data, prefix.size);
	memcpy(buffer + prefix.size, key.data, key.size);
	return (norikv_slice){buffer, prefix.size + key.size};
}

/* ---- Identity ---- */

static void
digest(pg_cryptohash_ctx *context, norikv_slice part)
{
	uint64 size = part.size;

	if (pg_cryptohash_update(context, (uint8 *) &size, sizeof(size)) < 0 ||
		pg_cryptohash_update(context, part.data, part.size) < 0)
		elog(ERROR, "could not compute a digest: %s", pg_cryptohash_error(context));
}

/* The embedded server may have another store after each start. */
static void
identify(const NorikvConnection *connection, uint8 identity[PG_SHA256_DIGEST_LENGTH])
{
	const NorikvSettings *settings = &connection->settings;
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	norikv_slice token = {"", 0};

	if (settings->token != NULL)
		token = NORIKV_SLICE(settings->token);
	if (pg_cryptohash_init(context) < 0)
		elog(ERROR, "could not compute a digest: %s", pg_cryptohash_error(context));
	digest(context, NORIKV_SLICE(settings->nodes));
	digest(context, token);
	digest(context, connection->key_prefix);
	digest(context, (norikv_slice){&connection->generation,
								   sizeof(connection->generation)});
	if (pg_cryptohash_final(context, identity, PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute a digest: %s", pg_cryptohash_error(context));
	pg_cryptohash_free(context);
}

/* ---- Scopes ---- */

/* The one of this identity, a free one, or the one not used for longest. Locked. */
static NorikvCacheScope *
choose_scope(const uint8 identity[PG_SHA256_DIGEST_LENGTH])
{
	NorikvCacheScope *chosen = NULL;

	for (int i = 0; i < NORIKV_CACHE_SCOPES; i++)
	{
		NorikvCacheScope *scope = &norikv_cache->scopes[i];
		bool is_free = pg_atomic_read_u32(&scope->serial) == 0;

		if (!is_free && memcmp(scope->identity, identity, PG_SHA256_DIGEST_LENGTH) == 0)
			return scope;
		if (chosen == NULL || (pg_atomic_read_u32(&chosen->serial) != 0 &&
							   (is_free || pg_atomic_read_u64(&scope->used_at) <
											   pg_atomic_read_u64(&chosen->used_at))))
			chosen = scope;
	}
	return chosen;
}

/*
 * Entries of the scope that had the place before have its serial number. The endpoint
 * that was its is the caller's to release.
 */
static int
make_scope(NorikvCacheScope *scope, const uint8 identity[PG_SHA256_DIGEST_LENGTH],
		   int endpoint)
{
	uint32 place = scope - norikv_cache->scopes;
	int replaced = pg_atomic_read_u32(&scope->serial) == 0 ? -1 : scope->endpoint;

	norikv_cache->scopes_made++;
	pg_atomic_write_u32(&scope->serial,
						norikv_cache->scopes_made * NORIKV_CACHE_SCOPES + place);
	pg_atomic_fetch_add_u64(&scope->epoch, 1);
	memcpy(scope->identity, identity, PG_SHA256_DIGEST_LENGTH);
	scope->endpoint = endpoint;
	pg_atomic_write_u32(&scope->watched, endpoint >= 0 && norikv_cache_watch);
	pg_atomic_write_u64(&scope->watched_since, 0);
	pg_atomic_write_u64(&scope->confirmed_at, 0);
	return replaced;
}

/*
 * One that can have no endpoint is not watched. The reference is this backend's only for
 * as long as nothing can throw or end it.
 */
static NorikvCacheScope *
find_or_make(const NorikvConnection *connection,
			 const uint8 identity[PG_SHA256_DIGEST_LENGTH], uint32 *serial)
{
	NorikvCacheScope *scope;
	int endpoint;

	HOLD_INTERRUPTS();
	endpoint = NorikvEndpointTryAcquire(connection);
	LWLockAcquire(norikv_cache->lists_lock, LW_EXCLUSIVE);
	scope = choose_scope(identity);
	if (pg_atomic_read_u32(&scope->serial) == 0 ||
		memcmp(scope->identity, identity, PG_SHA256_DIGEST_LENGTH) != 0)
		endpoint = make_scope(scope, identity, endpoint);
	pg_atomic_write_u64(&scope->used_at, NorikvBootMicroseconds());
	*serial = pg_atomic_read_u32(&scope->serial);
	LWLockRelease(norikv_cache->lists_lock);
	if (endpoint >= 0)
		NorikvEndpointRelease(endpoint);
	RESUME_INTERRUPTS();
	NorikvKeeperWake(0);
	return scope;
}

NorikvCacheScope *
NorikvCacheScopeOf(NorikvConnection *connection, uint32 *serial)
{
	uint8 identity[PG_SHA256_DIGEST_LENGTH];
	NorikvCacheScope *scope = connection->cache_scope;

	if (scope != NULL &&
		pg_atomic_read_u32(&scope->serial) == connection->cache_scope_serial)
	{
		*serial = connection->cache_scope_serial;
		return scope;
	}
	identify(connection, identity);
	scope = find_or_make(connection, identity, serial);
	connection->cache_scope = scope;
	connection->cache_scope_serial = *serial;
	return scope;
}

/* Once a second is enough. */
void
NorikvCacheUseScope(NorikvCacheScope *scope, int64 now)
{
	int64 used_at = (int64) pg_atomic_read_u64(&scope->used_at);

	if (now - used_at < 1000000)
		return;
	pg_atomic_write_u64(&scope->used_at, now);
	if (now - used_at >= NORIKV_CACHE_IDLE_US)
		NorikvKeeperWake(0);
}

void
NorikvCacheDropScope(NorikvCacheScope *scope)
{
	pg_atomic_fetch_add_u64(&scope->epoch, 1);
}

void
NorikvCacheDropAll(void)
{
	for (int i = 0; i < NORIKV_CACHE_SCOPES; i++)
		NorikvCacheDropScope(&norikv_cache->scopes[i]);
}
