CREATE FUNCTION lock(name text, ttl interval DEFAULT '30s', wait interval DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_lock'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION lock(text, interval, interval)
IS 'takes a lock for the session, waits for it; its fencing token';

CREATE FUNCTION try_lock(name text, ttl interval DEFAULT '30s') RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_try_lock'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION try_lock(text, interval)
IS 'takes a lock for the session if it is free; its fencing token, NULL when another has it';

CREATE FUNCTION xact_lock(name text, ttl interval DEFAULT '30s', wait interval DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_xact_lock'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION xact_lock(text, interval, interval)
IS 'takes a lock for the transaction, waits for it; its fencing token';

CREATE FUNCTION try_xact_lock(name text, ttl interval DEFAULT '30s') RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_try_xact_lock'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION try_xact_lock(text, interval)
IS 'takes a lock for the transaction if it is free; its fencing token, NULL when another has it';

CREATE FUNCTION renew_lock(name text, token bigint, ttl interval DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_renew_lock'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION renew_lock(text, bigint, interval)
IS 'renews a lock of this session; false when it holds no such, NK002 when it was lost';

CREATE FUNCTION unlock(name text, token bigint) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_unlock'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION unlock(text, bigint)
IS 'gives a lock of this session back; false when it holds no such, NK002 when it was lost';

CREATE FUNCTION lock_holder(name text, OUT holder text, OUT token bigint,
	OUT acquired_at timestamptz, OUT expires_at timestamptz)
AS 'MODULE_PATHNAME', 'norikv_sql_lock_holder'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION lock_holder(text)
IS 'who has a lock: host:port/process, token, since when, until when unless renewed';

CREATE FUNCTION locks_held(OUT kind text, OUT name text, OUT token bigint, OUT server text,
	OUT pid integer, OUT database text, OUT role text, OUT acquired_at timestamptz,
	OUT expires_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'norikv_sql_locks_held'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 20;
COMMENT ON FUNCTION locks_held()
IS 'locks and leases that this PostgreSQL holds now: one''s own, all for pg_read_all_stats';

CREATE VIEW locks_held AS SELECT * FROM locks_held();
COMMENT ON VIEW locks_held
IS 'locks and leases that this PostgreSQL holds now: one''s own, all for pg_read_all_stats';
GRANT SELECT ON locks_held TO PUBLIC;
