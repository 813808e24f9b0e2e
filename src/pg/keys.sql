/*
 * Every function here takes text and bytea keys. An untyped literal is text, the
 * preferred type of its category; that decides between the overloads.
 */

CREATE FUNCTION put(key text, value text, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION put(text, text, interval, version, boolean, text)
IS 'writes a key; the version written; 40001 where if_match does not hold, 23505 '
	'where the key was to be absent';

CREATE FUNCTION put(key text, value bytea, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION put(text, bytea, interval, version, boolean, text)
IS 'writes a key; the version written; 40001 where if_match does not hold, 23505 '
	'where the key was to be absent';

CREATE FUNCTION put(key text, value jsonb, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION put(text, jsonb, interval, version, boolean, text)
IS 'writes a key; the version written; 40001 where if_match does not hold, 23505 '
	'where the key was to be absent';

CREATE FUNCTION put(key text, value json, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION put(text, json, interval, version, boolean, text)
IS 'writes a key; the version written; 40001 where if_match does not hold, 23505 '
	'where the key was to be absent';

CREATE FUNCTION put(key bytea, value text, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION put(bytea, text, interval, version, boolean, text)
IS 'writes a key; the version written; 40001 where if_match does not hold, 23505 '
	'where the key was to be absent';

CREATE FUNCTION put(key bytea, value bytea, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION put(bytea, bytea, interval, version, boolean, text)
IS 'writes a key; the version written; 40001 where if_match does not hold, 23505 '
	'where the key was to be absent';

CREATE FUNCTION put(key bytea, value jsonb, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION put(bytea, jsonb, interval, version, boolean, text)
IS 'writes a key; the version written; 40001 where if_match does not hold, 23505 '
	'where the key was to be absent';

CREATE FUNCTION put(key bytea, value json, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION put(bytea, json, interval, version, boolean, text)
IS 'writes a key; the version written; 40001 where if_match does not hold, 23505 '
	'where the key was to be absent';

CREATE FUNCTION try_put(key text, value text, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_try_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION try_put(text, text, interval, version, boolean, text)
IS 'writes a key; the version written, NULL where the condition does not hold';

CREATE FUNCTION try_put(key text, value bytea, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_try_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION try_put(text, bytea, interval, version, boolean, text)
IS 'writes a key; the version written, NULL where the condition does not hold';

CREATE FUNCTION try_put(key text, value jsonb, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_try_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION try_put(text, jsonb, interval, version, boolean, text)
IS 'writes a key; the version written, NULL where the condition does not hold';

CREATE FUNCTION try_put(key text, value json, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_try_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION try_put(text, json, interval, version, boolean, text)
IS 'writes a key; the version written, NULL where the condition does not hold';

CREATE FUNCTION try_put(key bytea, value text, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_try_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION try_put(bytea, text, interval, version, boolean, text)
IS 'writes a key; the version written, NULL where the condition does not hold';

CREATE FUNCTION try_put(key bytea, value bytea, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_try_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION try_put(bytea, bytea, interval, version, boolean, text)
IS 'writes a key; the version written, NULL where the condition does not hold';

CREATE FUNCTION try_put(key bytea, value jsonb, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_try_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION try_put(bytea, jsonb, interval, version, boolean, text)
IS 'writes a key; the version written, NULL where the condition does not hold';

CREATE FUNCTION try_put(key bytea, value json, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_try_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION try_put(bytea, json, interval, version, boolean, text)
IS 'writes a key; the version written, NULL where the condition does not hold';

CREATE FUNCTION get(key text, consistency text DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME', 'norikv_sql_get'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION get(text, text)
IS 'the value of a key as text; NULL where there is none; 22021 where the value is '
	'no text';

CREATE FUNCTION get(key bytea, consistency text DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME', 'norikv_sql_get'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION get(bytea, text)
IS 'the value of a key as text; NULL where there is none; 22021 where the value is '
	'no text';

CREATE FUNCTION get_bytes(key text, consistency text DEFAULT NULL) RETURNS bytea
AS 'MODULE_PATHNAME', 'norikv_sql_get_bytes'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION get_bytes(text, text)
IS 'the value of a key as bytea; NULL where there is none';

CREATE FUNCTION get_bytes(key bytea, consistency text DEFAULT NULL) RETURNS bytea
AS 'MODULE_PATHNAME', 'norikv_sql_get_bytes'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION get_bytes(bytea, text)
IS 'the value of a key as bytea; NULL where there is none';

CREATE FUNCTION get_json(key text, consistency text DEFAULT NULL) RETURNS jsonb
AS 'MODULE_PATHNAME', 'norikv_sql_get_json'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION get_json(text, text)
IS 'the value of a key as jsonb; NULL where there is none; 22P02 where the value is '
	'no JSON';

CREATE FUNCTION get_json(key bytea, consistency text DEFAULT NULL) RETURNS jsonb
AS 'MODULE_PATHNAME', 'norikv_sql_get_json'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION get_json(bytea, text)
IS 'the value of a key as jsonb; NULL where there is none; 22P02 where the value is '
	'no JSON';

CREATE FUNCTION entry(INOUT key text, consistency text DEFAULT NULL, OUT value bytea,
	OUT version version, OUT expires_at timestamptz)
AS 'MODULE_PATHNAME', 'norikv_sql_entry'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION entry(text, text)
IS 'a key with its value, version and end of life; NULL where there is none';

CREATE FUNCTION entry(INOUT key bytea, consistency text DEFAULT NULL, OUT value bytea,
	OUT version version, OUT expires_at timestamptz)
AS 'MODULE_PATHNAME', 'norikv_sql_entry'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION entry(bytea, text)
IS 'a key with its value, version and end of life; NULL where there is none';

CREATE FUNCTION has_key(key text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_has_key'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION has_key(text)
IS 'whether there is such a key';

CREATE FUNCTION has_key(key bytea) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_has_key'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION has_key(bytea)
IS 'whether there is such a key';

CREATE FUNCTION delete(key text, if_match version DEFAULT 'any',
	idempotency_key text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_delete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION delete(text, version, text)
IS 'deletes a key; whether there was one; 40001 where if_match does not hold';

CREATE FUNCTION delete(key bytea, if_match version DEFAULT 'any',
	idempotency_key text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_delete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION delete(bytea, version, text)
IS 'deletes a key; whether there was one; 40001 where if_match does not hold';

CREATE FUNCTION pending_writes(OUT ops bigint, OUT bytes bigint)
AS 'MODULE_PATHNAME', 'norikv_sql_pending_writes'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION pending_writes()
IS 'what foreign tables have buffered in this transaction';
