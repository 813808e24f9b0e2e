CREATE FUNCTION stat_calls(
	OUT server text, OUT operation text,
	OUT calls bigint, OUT errors bigint, OUT retries bigint, OUT unknown bigint,
	OUT bytes_in bigint, OUT bytes_out bigint,
	OUT total_time double precision, OUT min_time double precision,
	OUT max_time double precision, OUT mean_time double precision,
	OUT p50 double precision, OUT p95 double precision, OUT p99 double precision)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'norikv_sql_stat_calls'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE ROWS 20;
COMMENT ON FUNCTION stat_calls()
IS 'calls of this database''s sessions, by server and operation; times in milliseconds';

CREATE VIEW stat_calls AS SELECT * FROM stat_calls();
COMMENT ON VIEW stat_calls
IS 'calls of this database''s sessions, by server and operation; times in milliseconds';
GRANT SELECT ON stat_calls TO PUBLIC;

CREATE FUNCTION stat_reset() RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_stat_reset'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION stat_reset()
IS 'sets the statistics of this database''s calls back to zero';
REVOKE EXECUTE ON FUNCTION stat_reset() FROM PUBLIC;
