/* What stands for elections, found again after a restart; campaign() and resign() write. */
CREATE TABLE campaigns (
	server text NOT NULL,
	tenant text NOT NULL,
	election text NOT NULL,
	node_id text NOT NULL,
	ttl interval NOT NULL,
	role regrole NOT NULL,
	on_elected text,
	on_lost text,
	PRIMARY KEY (server, tenant, election)
);
COMMENT ON TABLE campaigns
IS 'elections that this database stands in; changed by campaign() and resign()';
-- By number a role that is gone could be another one where a dump is restored.
SELECT pg_catalog.pg_extension_config_dump('@extschema@.campaigns',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles WHERE pg_roles.oid OPERATOR(pg_catalog.=) role)');

CREATE FUNCTION campaign(election text, node_id text DEFAULT NULL,
	ttl interval DEFAULT '10 seconds', on_elected text DEFAULT NULL,
	on_lost text DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_campaign'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION campaign(text, text, interval, text, text)
IS 'stands for an election from the commit on until resign(): renews the lease, runs commands when it is won and lost';

CREATE FUNCTION resign(election text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_resign'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION resign(text)
IS 'ends the campaign of this database at commit, and what elect() won in this session; whether there was any';

CREATE FUNCTION elect(election text, node_id text DEFAULT NULL,
	ttl interval DEFAULT '10 seconds', OUT is_leader boolean, OUT leader text,
	OUT token bigint, OUT expires_at timestamptz)
AS 'MODULE_PATHNAME', 'norikv_sql_elect'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION elect(text, text, interval)
IS 'one attempt to lead, or to go on leading, by hand; who leads, with which token, until when';

CREATE FUNCTION is_leader(election text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_is_leader'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION is_leader(text)
IS 'whether the campaign of this database, or elect() in this session, leads at this moment, by this machine''s clock';

CREATE FUNCTION leader(election text) RETURNS text
AS 'MODULE_PATHNAME', 'norikv_sql_leader'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION leader(text)
IS 'the node that leads, as the store has it; NULL: none does';
