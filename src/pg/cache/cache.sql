/* What was read is kept for all sessions of this PostgreSQL, in shared memory. */

CREATE FUNCTION cache_get(key text) RETURNS text
AS 'MODULE_PATHNAME', 'norikv_sql_cache_get'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION cache_get(text)
IS 'the value of a key as text, from the cache where it has it; NULL where there is none';

CREATE FUNCTION cache_put(key text, value text, ttl interval DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_cache_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION cache_put(text, text, interval)
IS 'writes a key and keeps the value in the cache, for ttl; the version written';

CREATE FUNCTION cache_put(key text, value jsonb, ttl interval DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_cache_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION cache_put(text, jsonb, interval)
IS 'writes a key and keeps the value in the cache, for ttl; the version written';

CREATE FUNCTION cache_delete(key text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_cache_delete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION cache_delete(text)
IS 'deletes a key, also from the cache; whether there was one';

CREATE FUNCTION cache_invalidate(key text) RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_cache_invalidate'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION cache_invalidate(text)
IS 'forgets what the cache has of a key; the store keeps it';

CREATE FUNCTION cache_invalidate_all() RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_cache_invalidate_all'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION cache_invalidate_all()
IS 'empties the cache of everybody; the store keeps all keys';
REVOKE EXECUTE ON FUNCTION cache_invalidate_all() FROM PUBLIC;

CREATE FUNCTION cache_stats(OUT size bigint, OUT max_size bigint, OUT bytes bigint,
	OUT ttl interval, OUT hits bigint, OUT misses bigint, OUT evictions bigint)
AS 'MODULE_PATHNAME', 'norikv_sql_cache_stats'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cache_stats()
IS 'entries, at most so many, bytes taken, default ttl; hits, misses and evictions since PostgreSQL started';
