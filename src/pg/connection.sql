/*
 * Access is USAGE on a foreign server, or on the foreign-data wrapper for the
 * embedded server without one; PUBLIC has neither. So the schema itself is open.
 */
GRANT USAGE ON SCHEMA @extschema@ TO PUBLIC;

CREATE FUNCTION validator(options text[], catalog oid) RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_validator'
LANGUAGE C STRICT PARALLEL SAFE;
COMMENT ON FUNCTION validator(text[], oid)
IS 'checks the options of norikv''s servers, user mappings and foreign tables';

CREATE FUNCTION handler() RETURNS fdw_handler
AS 'MODULE_PATHNAME', 'norikv_sql_handler'
LANGUAGE C STRICT;
COMMENT ON FUNCTION handler() IS 'the routines of norikv''s foreign tables';

CREATE FOREIGN DATA WRAPPER norikv HANDLER handler VALIDATOR validator;
COMMENT ON FOREIGN DATA WRAPPER norikv IS 'NoriKV key-value stores';

CREATE FUNCTION ping(server name DEFAULT NULL) RETURNS interval
AS 'MODULE_PATHNAME', 'norikv_sql_ping'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION ping(name)
IS 'the time of one round trip to the server; NULL: the one that norikv.server names';

CREATE FUNCTION server_info(server name DEFAULT NULL,
	OUT name text, OUT version text, OUT engine text, OUT store_id text, OUT nodes text,
	OUT limits jsonb, OUT expiry_granularity interval,
	OUT atomic_cas boolean, OUT "create" boolean, OUT conditional_delete boolean,
	OUT ttl boolean, OUT scan boolean, OUT batch boolean, OUT transactions boolean,
	OUT add boolean, OUT watch boolean, OUT quotas boolean, OUT vectors boolean)
AS 'MODULE_PATHNAME', 'norikv_sql_server_info'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION server_info(name) IS 'what the server is and what it can do';

CREATE FUNCTION cluster_view(server name DEFAULT NULL)
RETURNS TABLE (epoch bigint, shard bigint, node text, addr text, leader boolean)
AS 'MODULE_PATHNAME', 'norikv_sql_cluster_view'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION cluster_view(name)
IS 'the replicas of each shard, as the server sees them';

CREATE FUNCTION connections()
RETURNS TABLE (server_name text, valid boolean)
AS 'MODULE_PATHNAME', 'norikv_sql_connections'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION connections() IS 'this session''s open connections';

CREATE FUNCTION disconnect(server name DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_disconnect'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION disconnect(name)
IS 'closes this session''s connections to the server, or all; whether there was one';
REVOKE EXECUTE ON FUNCTION disconnect(name) FROM PUBLIC;
