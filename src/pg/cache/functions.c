/*
 * functions.c - the cache's SQL functions: reading and writing through it.
 */
#include "shared.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(norikv_sql_cache_get);
PG_FUNCTION_INFO_V1(norikv_sql_cache_put);
PG_FUNCTION_INFO_V1(norikv_sql_cache_delete);
PG_FUNCTION_INFO_V1(norikv_sql_cache_invalidate);
PG_FUNCTION_INFO_V1(norikv_sql_cache_invalidate_all);
PG_FUNCTION_INFO_V1(norikv_sql_cache_stats);

/* One call of a function: the key as the caller names it, and as the cache does. */
typedef struct Access
{
	NorikvConnection *connection;
	norikv_slice name;
	NorikvCacheKey key;
	char buffer[NORIKV_CACHE_MAX_KEY];
} Access;

static inline bool
keeps_nothing(void)
{
	return norikv_cache->n_chunks == 0;
}

static void
begin_access(Access *access, NorikvConnection *connection, Datum name)
{
	NorikvCacheKey *key = &access->key;

	access->connection = connection;
	access->name = NorikvKeyFromDatum(name, true, "key");
	key->name =
		NorikvCacheName(connection->key_prefix, access->name, access->buffer);
	key->hash = NorikvCacheHash(key->name);
	key->scope = NorikvCacheScopeOf(connection, &key->scope_serial);
}

/* ---- Reading through ---- */

static Datum
text_of(const Access *access, norikv_slice value)
{
	norikv_entry entry = {.key = access->name, .value = value};

	return NorikvTextFromValue(&entry, access->connection);
}

/* What was checked when it was kept need not be checked, nor copied, again. */
static Datum
text_of_found(const Access *access, const NorikvCacheFound *found)
{
	if (found->utf8 && GetDatabaseEncoding() == PG_UTF8)
		return PointerGetDatum(found->value);
	return text_of(access, (norikv_slice){VARDATA(found->value),
										  VARSIZE(found->value) - VARHDRSZ});
}

/* Its end of life in the store, in the cache's time: not later than it is. */
static int64
end_of_life(NorikvConnection *connection, uint64 expires_at_ms)
{
	NorikvStoreTimes times = NorikvGetStoreTimes(connection);

	return NorikvBootMicroseconds() + ((int64) expires_at_ms - times.latest) * 1000;
}

/* MultiGet, for Get does not say when a key expires. */
static NorikvCall *
ask(const Access *access, NorikvCacheItem *item)
{
	NorikvCall *call;
	const norikv_entry *entry;

	item->asked_at = NorikvBootMicroseconds();
	call = NorikvStartMultiGet(access->connection, &access->name, 1, "strong");
	entry = NorikvFinishMultiGet(call, 1);
	item->value = entry->value;
	item->absent = entry->version.index == 0;
	item->version = entry->version;
	item->expires_at = item->asked_at + (int64) norikv_cache_ttl * 1000;
	if (entry->expires_at_ms != 0)
		item->expires_at =
			Min(item->expires_at, end_of_life(access->connection, entry->expires_at_ms));
	return call;
}

static Datum
finish_asking(const Access *access, NorikvCall *call, const NorikvCacheItem *item,
			  bool *is_null)
{
	Datum value = (Datum) 0;

	*is_null = item->absent;
	if (!item->absent)
		value = text_of(access, item->value);
	NorikvFree(call);
	return value;
}

/* Keeps nothing. */
static Datum
read_store(const Access *access, bool *is_null)
{
	NorikvCacheItem item;
	NorikvCall *call = ask(access, &item);

	return finish_asking(access, call, &item, is_null);
}

/* On behalf of all who miss it. */
static Datum
fly(const Access *access, bool *is_null)
{
	NorikvCacheItem item;
	NorikvCall *volatile call = NULL;

	PG_TRY();
	{
		call = ask(access, &item);
	}
	PG_CATCH();
	{
		NorikvCacheAbandon();
		PG_RE_THROW();
	}
	PG_END_TRY();
	NorikvCacheLand(&access->key, &item);
	return finish_asking(access, call, &item, is_null);
}

/*
 * Nobody waits for others longer than a call of their own could take; they then read
 * for themselves, as do those who waited for what could not be kept.
 */
static Datum
read_through(const Access *access, bool *is_null)
{
	int64 timeout = access->connection->settings.timeout;
	int64 until = NorikvBootMicroseconds() + timeout * 1000;
	NorikvCacheTicket ticket;
	NorikvCacheFound found;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		switch (NorikvCacheBoard(&access->key, &ticket))
		{
			case NORIKV_CACHE_PILOT:
				return fly(access, is_null);
			case NORIKV_CACHE_WAIT:
				if (NorikvCacheWait(&ticket, (until - NorikvBootMicroseconds()) / 1000) ==
					NORIKV_CACHE_NOT_KEPT)
					return read_store(access, is_null);
				break;
			case NORIKV_CACHE_THERE:
				break;
		}
		if (NorikvCacheRead(&access->key, &found))
			break;
	}
	*is_null = found.value == NULL;
	return *is_null ? (Datum) 0 : text_of_found(access, &found);
}

static inline void
count(pg_atomic_uint64 *counter)
{
	pg_atomic_write_u64(counter, pg_atomic_read_u64(counter) + 1);
}

Datum
norikv_sql_cache_get(PG_FUNCTION_ARGS)
{
	NorikvCacheCounts *counts;
	NorikvCacheFound found;
	Access access;

	NorikvCacheRequire();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	begin_access(&access, NorikvGetConnection(), PG_GETARG_DATUM(0));
	if (keeps_nothing())
		return read_store(&access, &fcinfo->isnull);
	counts = &norikv_cache_counts[MyBackendId - 1];
	if (!NorikvCacheRead(&access.key, &found))
	{
		count(&counts->misses);
		return read_through(&access, &fcinfo->isnull);
	}
	count(&counts->hits);
	fcinfo->isnull = found.value == NULL;
	return fcinfo->isnull ? (Datum) 0 : text_of_found(&access, &found);
}

/* ---- Writing through ---- */

/* The call, and what it leaves in the store; the caller lands, or frees the call. */
static NorikvCall *
write_through(const Access *access, const norikv_operation *operation,
			  NorikvCacheItem *item)
{
	NorikvCall *volatile call = NULL;
	size_t n_results;

	item->asked_at = NorikvBootMicroseconds();
	if (!keeps_nothing())
		NorikvCacheBoardWrite(&access->key);
	PG_TRY();
	{
		call = NorikvStartWrite(access->connection, operation, (norikv_slice){NULL, 0});
		NorikvFinish(call);
	}
	PG_CATCH();
	{
		NorikvCacheAbandon();
		PG_RE_THROW();
	}
	PG_END_TRY();
	item->value = operation->value;
	item->absent = operation->kind == NORIKV_OP_DELETE;
	item->version = norikv_call_results(call->call, &n_results)->version;
	return call;
}

static int64
ttl_argument(FunctionCallInfo fcinfo, int argument)
{
	if (PG_ARGISNULL(argument))
		return (int64) norikv_cache_ttl * 1000;
	return NorikvMillisecondsFromInterval(PG_GETARG_INTERVAL_P(argument), "ttl") * 1000;
}

/* key, value, ttl: how long the cache shows it, not how long the store has it. */
Datum
norikv_sql_cache_put(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	norikv_operation operation = {.kind = NORIKV_OP_PUT};
	NorikvCacheItem item;
	NorikvCall *call;
	Access access;
	int64 ttl;

	NorikvCacheRequire();
	connection = NorikvGetWriteConnection("norikv.cache_put()");
	NorikvRequireArgument(fcinfo, 0, "key");
	NorikvRequireArgument(fcinfo, 1, "value");
	begin_access(&access, connection, PG_GETARG_DATUM(0));
	operation.key = access.name;
	operation.value =
		NorikvValueFromDatum(PG_GETARG_DATUM(1), get_fn_expr_argtype(fcinfo->flinfo, 1));
	ttl = ttl_argument(fcinfo, 2);
	call = write_through(&access, &operation, &item);
	NorikvFree(call);
	item.expires_at = item.asked_at + ttl;
	if (!keeps_nothing())
		NorikvCacheLand(&access.key, &item);
	return NorikvVersionGetDatum(item.version);
}

Datum
norikv_sql_cache_delete(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	norikv_operation operation = {.kind = NORIKV_OP_DELETE};
	NorikvCacheItem item;
	NorikvCall *call;
	Access access;
	size_t n_results;
	bool existed;

	NorikvCacheRequire();
	connection = NorikvGetWriteConnection("norikv.cache_delete()");
	NorikvRequireArgument(fcinfo, 0, "key");
	begin_access(&access, connection, PG_GETARG_DATUM(0));
	operation.key = access.name;
	call = write_through(&access, &operation, &item);
	existed = norikv_call_results(call->call, &n_results)->existed;
	NorikvFree(call);
	item.expires_at = item.asked_at + (int64) norikv_cache_ttl * 1000;
	if (!keeps_nothing())
		NorikvCacheLand(&access.key, &item);
	PG_RETURN_BOOL(existed);
}

/* ---- Forgetting ---- */

Datum
norikv_sql_cache_invalidate(PG_FUNCTION_ARGS)
{
	Access access;

	NorikvCacheRequire();
	NorikvRequireArgument(fcinfo, 0, "key");
	begin_access(&access, NorikvGetConnection(), PG_GETARG_DATUM(0));
	NorikvCacheChanged(access.key.hash);
	NorikvCacheForget(&access.key);
	PG_RETURN_VOID();
}

Datum
norikv_sql_cache_invalidate_all(PG_FUNCTION_ARGS)
{
	NorikvCacheRequire();
	NorikvCacheDropAll();
	NorikvCacheForgetAll();
	PG_RETURN_VOID();
}

/* ---- Statistics ---- */

/* size, max_size, bytes, ttl, hits, misses, evictions: of all scopes. */
Datum
norikv_sql_cache_stats(PG_FUNCTION_ARGS)
{
	Interval ttl = {.time = 0};
	TupleDesc descriptor;
	Datum values[7];
	bool nulls[7] = {false};
	uint64 hits = 0;
	uint64 misses = 0;

	NorikvCacheRequire();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int i = 0; i < MaxBackends; i++)
	{
		hits += pg_atomic_read_u64(&norikv_cache_counts[i].hits);
		misses += pg_atomic_read_u64(&norikv_cache_counts[i].misses);
	}
	ttl.time = (TimeOffset) norikv_cache_ttl * 1000;
	values[0] = Int64GetDatum(pg_atomic_read_u32(&norikv_cache->linked));
	values[1] = Int64GetDatum(norikv_cache->n_entries);
	values[2] = Int64GetDatum((int64) NorikvCacheUsedChunks() * NORIKV_CACHE_CHUNK);
	values[3] = IntervalPGetDatum(&ttl);
	values[4] = Int64GetDatum(hits);
	values[5] = Int64GetDatum(misses);
	values[6] = Int64GetDatum(pg_atomic_read_u64(&norikv_cache->evictions));
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
