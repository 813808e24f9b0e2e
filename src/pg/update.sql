CREATE FUNCTION update(key text, updater regprocedure, args jsonb DEFAULT NULL,
	ttl interval DEFAULT NULL, max_retries integer DEFAULT 10) RETURNS jsonb
AS 'MODULE_PATHNAME', 'norikv_sql_update'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION update(text, regprocedure, jsonb, interval, integer)
IS 'replaces a document by updater(document, args), by compare-and-swap; the new '
	'one; 40001 after max_retries';

CREATE FUNCTION update(key bytea, updater regprocedure, args jsonb DEFAULT NULL,
	ttl interval DEFAULT NULL, max_retries integer DEFAULT 10) RETURNS jsonb
AS 'MODULE_PATHNAME', 'norikv_sql_update'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION update(bytea, regprocedure, jsonb, interval, integer)
IS 'replaces a document by updater(document, args), by compare-and-swap; the new '
	'one; 40001 after max_retries';
