--
-- Who may do what, and when writing is not allowed
--
CREATE ROLE regress_norikv_none;
CREATE ROLE regress_norikv_embedded;
CREATE ROLE regress_norikv_server;
GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO regress_norikv_embedded;
CREATE SERVER granted FOREIGN DATA WRAPPER norikv;
GRANT USAGE ON FOREIGN SERVER granted TO regress_norikv_server;
SELECT norikv.put('acc:k', 'v') IS NOT NULL AS put;

-- Nothing was granted: nothing goes.
SET ROLE regress_norikv_none;
SELECT norikv.get('acc:k');
SELECT norikv.get_bytes('acc:k');
SELECT norikv.get_json('acc:k');
SELECT norikv.entry('acc:k');
SELECT norikv.has_key('acc:k');
SELECT norikv.put('acc:k', 'w');
SELECT norikv.try_put('acc:k', 'w');
SELECT norikv.delete('acc:k');
SELECT norikv.mget('{acc:k}');
SELECT norikv.mget_bytes('{acc:k}');
SELECT norikv.mput('{acc:k}', '{w}');
SELECT norikv.mdelete('{acc:k}');
SELECT norikv.scan();
SELECT norikv.scan_bytes();
SELECT norikv.key_count();
SELECT norikv.update('acc:k', 'pg_catalog.jsonb_concat(jsonb,jsonb)', '{}');
SELECT norikv.ping();
SELECT norikv.server_info();
SELECT norikv.cluster_view();
SELECT norikv.ping('granted');
SELECT norikv.disconnect();
SELECT norikv.stat_reset();
SET norikv.server = 'granted';
SELECT norikv.get('acc:k');
RESET norikv.server;
SELECT ops, bytes FROM norikv.pending_writes();
SELECT count(*) >= 0 AS may_look FROM norikv.stat_calls;

-- USAGE on the wrapper is the embedded server, and no server object.
SET ROLE regress_norikv_embedded;
SELECT norikv.get('acc:k');
SET norikv.server = 'granted';
SELECT norikv.get('acc:k');
RESET norikv.server;

-- USAGE on a server is that server.
SET ROLE regress_norikv_server;
SELECT norikv.get('acc:k');
SET norikv.server = 'granted';
SELECT norikv.get('acc:k');
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER granted FROM regress_norikv_server;
SET ROLE regress_norikv_server;
SELECT norikv.get('acc:k');
RESET ROLE;

-- Rights that come and go with membership
GRANT regress_norikv_embedded TO regress_norikv_none;
RESET norikv.server;
SET ROLE regress_norikv_none;
SELECT norikv.get('acc:k');
RESET ROLE;
REVOKE regress_norikv_embedded FROM regress_norikv_none;
SET ROLE regress_norikv_none;
SELECT norikv.get('acc:k');
RESET ROLE;

-- A SECURITY DEFINER function lends its owner's.
CREATE FUNCTION lend(key text) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT norikv.get(key) $$;
SET ROLE regress_norikv_none;
SELECT lend('acc:k');
SELECT norikv.get('acc:k');
RESET ROLE;
DROP FUNCTION lend;

-- READ ONLY transactions read, and do not write.
CREATE FUNCTION same(old jsonb, args jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT old $$;
\set ON_ERROR_ROLLBACK on
BEGIN TRANSACTION READ ONLY;
SELECT norikv.get('acc:k'), norikv.has_key('acc:k'), norikv.key_count('acc:');
SELECT key, value FROM norikv.mget('{acc:k}');
SELECT key, value FROM norikv.scan('acc:');
SELECT norikv.put('acc:k', 'w');
SELECT norikv.try_put('acc:k', 'w');
SELECT norikv.delete('acc:k');
SELECT norikv.mput('{acc:k}', '{w}');
SELECT norikv.mdelete('{acc:k}');
SELECT norikv.update('acc:k', 'same(jsonb,jsonb)');
ROLLBACK;
\set VERBOSITY sqlstate
BEGIN TRANSACTION READ ONLY;
SELECT norikv.put('acc:k', 'w');
ROLLBACK;
\set VERBOSITY default
\unset ON_ERROR_ROLLBACK

-- The server option read_only
ALTER SERVER granted OPTIONS (ADD read_only 'true');
SET norikv.server = 'granted';
SELECT norikv.get('acc:k');
SELECT norikv.put('acc:k', 'w');
SELECT norikv.mdelete('{acc:k}');
SELECT norikv.update('acc:k', 'same(jsonb,jsonb)');
ALTER SERVER granted OPTIONS (SET read_only 'false');
SELECT norikv.put('acc:k', 'w') IS NOT NULL AS put;
RESET norikv.server;

-- Servers of another wrapper, and none at all
CREATE FOREIGN DATA WRAPPER regress_other;
CREATE SERVER other FOREIGN DATA WRAPPER regress_other;
SELECT norikv.ping('other');
SET norikv.server = 'other';
SELECT norikv.get('acc:k');
SET norikv.server = 'nowhere';
SELECT norikv.get('acc:k');
SELECT norikv.ping('nowhere');
RESET norikv.server;
SET client_min_messages = warning;
DROP FOREIGN DATA WRAPPER regress_other CASCADE;
RESET client_min_messages;

DROP FUNCTION same;
DROP SERVER granted;
DROP OWNED BY regress_norikv_none, regress_norikv_embedded, regress_norikv_server;
DROP ROLE regress_norikv_none, regress_norikv_embedded, regress_norikv_server;
SELECT norikv.delete('acc:k');
