CREATE FUNCTION rate_limit(id text, max_requests bigint, per interval, cost bigint DEFAULT 1,
	OUT allowed boolean, OUT remaining bigint, OUT reset_at timestamptz,
	OUT retry_after interval)
AS 'MODULE_PATHNAME', 'norikv_sql_rate_limit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION rate_limit(text, bigint, interval, bigint)
IS 'whether a request is within its limit, in any window of that length; counts it if so';

CREATE FUNCTION rate_limit_peek(id text, max_requests bigint, per interval,
	OUT allowed boolean, OUT remaining bigint, OUT reset_at timestamptz,
	OUT retry_after interval)
AS 'MODULE_PATHNAME', 'norikv_sql_rate_limit_peek'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION rate_limit_peek(text, bigint, interval)
IS 'what rate_limit() would say, counting nothing';

CREATE FUNCTION rate_limit_reset(id text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_rate_limit_reset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION rate_limit_reset(text)
IS 'forgets all requests of a limit; whether there were any';
