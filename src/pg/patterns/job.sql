CREATE FUNCTION run_once(job text, period interval, command text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_run_once'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION run_once(text, interval, text)
IS 'runs a command once per period of store time, of all databases that call this; whether it ran here';
