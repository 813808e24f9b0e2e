/*
 * Tenants: a document of each at "tenant-meta:<id>", {id, name, plan, createdAt, limits:
 * {maxKeys, maxStorageMB}}, and its keys under "tenant:<id>:", which the server limits.
 */

CREATE FUNCTION tenant_create(id text, name text, plan text DEFAULT 'free') RETURNS jsonb
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_create'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_create(text, text, text)
IS 'makes a tenant, with the limits of its plan (free, pro or enterprise); its document; 23505 where there is one of this id';

CREATE FUNCTION tenant_get(id text) RETURNS jsonb
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_document'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION tenant_get(text)
IS 'the document of a tenant, {id, name, plan, createdAt in ms, limits}; NULL where there is none; limits that are not in force are put in force';

CREATE FUNCTION tenant_usage(id text,
	OUT keys bigint, OUT bytes bigint, OUT max_keys bigint, OUT max_bytes bigint)
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_usage'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION tenant_usage(text)
IS 'the keys of a tenant, each vector one of them, bytes of keys (with their prefix), values and vectors (namespace, id, 4 a dimension), and the limits (NULL: none); P0002 where there is no such tenant';

CREATE FUNCTION tenant_get(tenant text, key text, consistency text DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_get'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION tenant_get(text, text, text)
IS 'the value of a tenant''s key, as text; NULL where it is absent; P0002 where there is no such tenant';

CREATE FUNCTION tenant_get(tenant text, key bytea, consistency text DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_get'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION tenant_get(text, bytea, text)
IS 'the value of a tenant''s key, as text; NULL where it is absent; P0002 where there is no such tenant';

CREATE FUNCTION tenant_put(tenant text, key text, value text, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_put(text, text, text, interval, version, boolean, text)
IS 'writes a key of a tenant; the version written; 53400 over its limits, P0002 where there is no such tenant';

CREATE FUNCTION tenant_put(tenant text, key text, value bytea, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_put(text, text, bytea, interval, version, boolean, text)
IS 'writes a key of a tenant; the version written; 53400 over its limits, P0002 where there is no such tenant';

CREATE FUNCTION tenant_put(tenant text, key text, value jsonb, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_put(text, text, jsonb, interval, version, boolean, text)
IS 'writes a key of a tenant; the version written; 53400 over its limits, P0002 where there is no such tenant';

CREATE FUNCTION tenant_put(tenant text, key text, value json, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_put(text, text, json, interval, version, boolean, text)
IS 'writes a key of a tenant; the version written; 53400 over its limits, P0002 where there is no such tenant';

CREATE FUNCTION tenant_put(tenant text, key bytea, value text, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_put(text, bytea, text, interval, version, boolean, text)
IS 'writes a key of a tenant; the version written; 53400 over its limits, P0002 where there is no such tenant';

CREATE FUNCTION tenant_put(tenant text, key bytea, value bytea, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_put(text, bytea, bytea, interval, version, boolean, text)
IS 'writes a key of a tenant; the version written; 53400 over its limits, P0002 where there is no such tenant';

CREATE FUNCTION tenant_put(tenant text, key bytea, value jsonb, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_put(text, bytea, jsonb, interval, version, boolean, text)
IS 'writes a key of a tenant; the version written; 53400 over its limits, P0002 where there is no such tenant';

CREATE FUNCTION tenant_put(tenant text, key bytea, value json, ttl interval DEFAULT NULL,
	if_match version DEFAULT 'any', if_absent boolean DEFAULT false,
	idempotency_key text DEFAULT NULL) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_put(text, bytea, json, interval, version, boolean, text)
IS 'writes a key of a tenant; the version written; 53400 over its limits, P0002 where there is no such tenant';

CREATE FUNCTION tenant_delete(tenant text, key text, if_match version DEFAULT 'any',
	idempotency_key text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_delete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_delete(text, text, version, text)
IS 'deletes a key of a tenant; whether there was one; P0002 where there is no such tenant';

CREATE FUNCTION tenant_delete(tenant text, key bytea, if_match version DEFAULT 'any',
	idempotency_key text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_tenant_delete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tenant_delete(text, bytea, version, text)
IS 'deletes a key of a tenant; whether there was one; P0002 where there is no such tenant';
