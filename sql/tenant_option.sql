--
-- The server option and the setting "tenant"
--
CREATE SERVER acme FOREIGN DATA WRAPPER norikv OPTIONS (tenant 'acme');
CREATE SERVER widgets FOREIGN DATA WRAPPER norikv OPTIONS (tenant 'widgets');

-- What is an id.
CREATE SERVER t FOREIGN DATA WRAPPER norikv OPTIONS (tenant '');
CREATE SERVER t FOREIGN DATA WRAPPER norikv OPTIONS (tenant 'a:b');
CREATE SERVER t FOREIGN DATA WRAPPER norikv OPTIONS (tenant E'a\nb');
CREATE SERVER t FOREIGN DATA WRAPPER norikv
	OPTIONS (tenant '12345678901234567890123456789012345678901234567890123456789012345');
ALTER SERVER acme OPTIONS (SET tenant 'acme:');
CREATE USER MAPPING FOR CURRENT_USER SERVER acme OPTIONS (tenant 'other');
CREATE FOREIGN TABLE t (key text, value text) SERVER acme OPTIONS (tenant 'other');

-- Keys are the tenant's, and only they.
SELECT norikv.put('to:k', 'outside') IS NOT NULL AS put;
SET norikv.server = 'acme';
SELECT norikv.get('to:k');
SELECT norikv.put('to:k', 'of acme') IS NOT NULL AS put;
SELECT key, value FROM norikv.scan();
SELECT norikv.key_count();
SET norikv.server = 'widgets';
SELECT norikv.get('to:k');
SELECT norikv.key_count();
RESET norikv.server;
SELECT norikv.get('to:k');
SELECT norikv.get('tenant:acme:to:k');
SELECT key, value FROM norikv.scan('tenant:acme:');

-- Names of the outside are names within.
SET norikv.server = 'acme';
SELECT norikv.get('tenant:acme:to:k');
SELECT norikv.put('tenant:widgets:k', 'still of acme') IS NOT NULL AS put;
SELECT norikv.put('../../to:k', 'still of acme') IS NOT NULL AS put;
SELECT norikv.put('\x00ff'::bytea, 'still of acme'::bytea) IS NOT NULL AS put;
SELECT key, value FROM norikv.scan_bytes(''::bytea);
SELECT count(*) FROM norikv.scan_bytes(NULL::bytea, '\x00'::bytea, '\xffffff'::bytea);
RESET norikv.server;
SELECT key FROM norikv.scan_bytes('tenant:acme:'::bytea);
SELECT norikv.get('tenant:widgets:k');

-- The longest key.
SET norikv.server = 'acme';
SELECT norikv.put(repeat('x', 1012), 'v') IS NOT NULL AS put;
\set SHOW_CONTEXT never
SELECT norikv.put(repeat('x', 1013), 'v');
SELECT norikv.scan(start_key => repeat('x', 1020));
\set VERBOSITY sqlstate
SELECT norikv.put(repeat('x', 1013), 'v');
\set VERBOSITY default
SELECT norikv.delete(repeat('x', 1012));
RESET norikv.server;

-- The setting does the same.
SET norikv.tenant = 'acme';
SELECT norikv.get('to:k');
SET norikv.tenant = 'widgets';
SELECT norikv.get('to:k');
RESET norikv.tenant;
SELECT norikv.get('to:k');
-- It narrows what a server leaves.
SET norikv.server = 'acme';
SET norikv.tenant = 'widgets';
SELECT norikv.get('k');
SELECT norikv.put('inner', 'of widgets within acme') IS NOT NULL AS put;
RESET norikv.tenant;
SELECT norikv.get('tenant:widgets:inner');
RESET norikv.server;
SELECT norikv.get('tenant:acme:tenant:widgets:inner');
-- A value that is none stops everything, rather than nothing.
SET norikv.tenant = 'acme:tenant:widgets';
SELECT norikv.get('to:k');
SELECT norikv.key_count();
SET norikv.tenant = '../x';
SELECT norikv.get('to:k');
RESET norikv.tenant;
-- Of a function, and of one transaction.
CREATE FUNCTION of_acme() RETURNS text LANGUAGE plpgsql SET norikv.tenant = 'acme'
	AS $$ BEGIN RETURN norikv.get('to:k'); END $$;
SELECT of_acme(), norikv.get('to:k');
BEGIN;
SET LOCAL norikv.tenant = 'acme';
SELECT norikv.get('to:k');
SAVEPOINT s;
SET LOCAL norikv.tenant = 'widgets';
SELECT norikv.get('to:k');
ROLLBACK TO s;
SELECT norikv.get('to:k');
COMMIT;
SELECT norikv.get('to:k');

-- Statements and cursors that were prepared under another one.
CREATE SERVER norikv_tenant_main FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE to_all (key text COLLATE "C", value text)
	SERVER norikv_tenant_main OPTIONS (prefix 'to:');
SET plan_cache_mode = force_generic_plan;
PREPARE look AS SELECT key, value FROM to_all WHERE key = 'k';
PREPARE ask AS SELECT norikv.get('to:k');
EXECUTE look;
EXECUTE ask;
SET norikv.tenant = 'acme';
EXECUTE look;
EXECUTE ask;
SET norikv.tenant = 'widgets';
EXECUTE look;
EXECUTE ask;
RESET norikv.tenant;
EXECUTE look;
EXECUTE ask;
BEGIN;
DECLARE c CURSOR FOR SELECT key, value FROM to_all;
DECLARE locking CURSOR FOR SELECT key, value FROM to_all FOR UPDATE;
SET LOCAL norikv.tenant = 'acme';
FETCH ALL FROM c;
FETCH ALL FROM locking;
SELECT value FROM to_all;
COMMIT;

-- Foreign tables.
CREATE FOREIGN TABLE acme_raw (key text COLLATE "C", value text) SERVER acme;
CREATE FOREIGN TABLE acme_bytes (key bytea, value bytea) SERVER acme
	OPTIONS (truncatable 'true');
SELECT key, value FROM acme_raw WHERE key LIKE 't%' ORDER BY key;
SELECT count(*) FROM acme_bytes;
SELECT key FROM acme_raw WHERE key > repeat('t', 1100) ORDER BY key;
SELECT key FROM acme_raw WHERE key = repeat('x', 1013);
SELECT key FROM acme_raw WHERE key < 'tenant:acme:' ORDER BY key;
SELECT key FROM acme_raw WHERE key >= 'tenant;' ORDER BY key;
INSERT INTO acme_raw VALUES ('row', 'of acme'), (repeat('y', 1012), 'longest');
INSERT INTO acme_raw VALUES (repeat('y', 1013), 'too long');
UPDATE acme_raw SET value = value || '!' WHERE key >= 'row';
DELETE FROM acme_raw WHERE key = repeat('y', 1012);
SELECT norikv.get('tenant:acme:row'), norikv.get('row');
SELECT o.k, t.value FROM (VALUES ('row'), ('tenant:acme:row'), ('to:k')) o(k)
	LEFT JOIN acme_raw t ON t.key = o.k ORDER BY 1;
IMPORT FOREIGN SCHEMA s FROM SERVER acme INTO public;
SELECT relname FROM pg_class c JOIN pg_foreign_table f ON f.ftrelid = c.oid
	WHERE relname IN ('to', 'tenant', '../../to') ORDER BY relname COLLATE "C";
SELECT key, value FROM "to";
ANALYZE acme_bytes;

-- One transaction, one tenant.
BEGIN;
INSERT INTO acme_raw VALUES ('two', 'a');
INSERT INTO to_all VALUES ('two', 'b');
ROLLBACK;
BEGIN;
SET LOCAL norikv.allow_multi_store = on;
INSERT INTO acme_raw VALUES ('to:two', 'a');
INSERT INTO to_all VALUES ('two', 'b');
SELECT (SELECT value FROM acme_raw WHERE key = 'to:two'), value FROM to_all WHERE key = 'two';
COMMIT;
SELECT norikv.get('tenant:acme:to:two'), norikv.get('to:two');
-- What waits goes to the tenant that it was written for.
BEGIN;
SET LOCAL norikv.tenant = 'acme';
INSERT INTO to_all VALUES ('waits', 'a');
SET LOCAL norikv.tenant = 'widgets';
SELECT value FROM to_all WHERE key = 'waits';
COMMIT;
SELECT norikv.get('tenant:acme:to:waits'), norikv.get('tenant:widgets:to:waits'),
	norikv.get('to:waits');

-- TRUNCATE of a table without a prefix is the tenant's keys, and no others.
SELECT norikv.put('tenant:acme:', 'no key of the tenant') IS NOT NULL AS put;
SELECT norikv.put('tenant:acme;', 'behind') IS NOT NULL AS put;
SELECT norikv.put('tenant:acme', 'before') IS NOT NULL AS put;
TRUNCATE acme_bytes;
SELECT key, value FROM norikv.scan('tenant:acme');
SELECT norikv.get('to:k'), norikv.get('tenant:widgets:k');

-- The id of another encoding's text is UTF-8 in keys.
ALTER SERVER acme OPTIONS (SET tenant 'Ähre');
SET norikv.server = 'acme';
SELECT norikv.put('k', 'v') IS NOT NULL AS put;
RESET norikv.server;
SELECT key FROM norikv.scan('tenant:Ä');

-- Who may change what.
CREATE ROLE regress_norikv_tenant;
GRANT USAGE ON FOREIGN SERVER widgets TO regress_norikv_tenant;
GRANT CREATE ON SCHEMA public TO regress_norikv_tenant;
SET ROLE regress_norikv_tenant;
SELECT norikv.get('to:k');
SET norikv.server = 'acme';
SELECT norikv.get('k');
SELECT norikv.ping('acme');
SET norikv.server = 'widgets';
SELECT norikv.get('k');
SELECT norikv.put('k', 'of widgets') IS NOT NULL AS put;
ALTER SERVER widgets OPTIONS (SET tenant 'acme');
ALTER SERVER widgets OPTIONS (DROP tenant);
CREATE SERVER mine FOREIGN DATA WRAPPER norikv;
CREATE SERVER mine FOREIGN DATA WRAPPER norikv OPTIONS (tenant 'acme');
CREATE USER MAPPING FOR regress_norikv_tenant SERVER widgets OPTIONS (tenant 'acme');
CREATE USER MAPPING FOR regress_norikv_tenant SERVER widgets;
SELECT norikv.get('k');
CREATE FOREIGN TABLE mine (key text, value text) SERVER widgets;
SELECT key, value FROM mine;
CREATE FOREIGN TABLE others (key text, value text) SERVER acme;
IMPORT FOREIGN SCHEMA s FROM SERVER norikv_tenant_main INTO public;
DROP FOREIGN TABLE mine;
DROP USER MAPPING FOR regress_norikv_tenant SERVER widgets;
RESET ROLE;
RESET norikv.server;
REVOKE CREATE ON SCHEMA public FROM regress_norikv_tenant;
REVOKE USAGE ON FOREIGN SERVER widgets FROM regress_norikv_tenant;
DROP ROLE regress_norikv_tenant;

DEALLOCATE look;
DEALLOCATE ask;
RESET plan_cache_mode;
DROP FUNCTION of_acme();
SET client_min_messages = warning;
DROP SERVER acme CASCADE;
DROP SERVER widgets CASCADE;
DROP SERVER norikv_tenant_main CASCADE;
RESET client_min_messages;
SELECT count(norikv.delete(key)) > 0 AS clean FROM norikv.scan_bytes('t'::bytea);
