-- IMPORT FOREIGN SCHEMA: a table for each prefix up to the first colon.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SCHEMA fdw_import;
SET search_path = fdw_import;
SET timezone = 'UTC';
CREATE SERVER fdw_import FOREIGN DATA WRAPPER norikv;
SET norikv.server = fdw_import;
SELECT norikv.mdelete(coalesce(array_agg(key), '{}')) AS clean FROM norikv.scan_bytes('fdw_import'::bytea, keys_only => true) \gset
SELECT norikv.mput(array_agg('fdw_import_doc:' || i), array_agg(json_build_object(
	'name', 'n' || i, 'n', i, 'amount', CASE WHEN i = 2 THEN 1.5 ELSE 1 END, 'ok', i > 1, 'at', '2026-01-01T00:00:00.123Z', 'never', '0000-00-00T00:00:00Z', 'ref', gen_random_uuid(),
	'tags', ARRAY['a'], 'mixed', CASE WHEN i = 1 THEN '1'::json ELSE '"x"' END, 'nothing', NULL, 'version', 1, 'key', 'k', 'Quoted "it"', 'q', '', 'no name',
	repeat('é', 40), 'long', repeat('é', 40) || 'x', 'longer'))) AS put FROM generate_series(1, 3) i;
SELECT norikv.mput('{fdw_import_number:a,fdw_import_number:b,fdw_import_json:a,fdw_import_json:b,fdw_import_text:a,fdw_import_text:b,fdw_import plain,"fdw_import Name:a"}',
	'{1,-20,"{\"a\":1}","[1]","{\"a\":1}","plain","x","y"}'::text[]) AS put;
SELECT norikv.put('fdw_import_bytes:a', '\xff'::bytea), norikv.put(convert_to('fdw_import_keys:', 'UTF8') || '\xff', '{"a": 1}'),
	norikv.put('fdw_import_' || repeat('long', 20) || ':a', '1'), norikv.put('\x6664775f696d706f7274ff3a61'::bytea, 'x'), norikv.put('fdw_import:a:b', 'x') \gset
SELECT norikv.mput(array_agg('fdw_import_' || chr(97 + i % 26) || i), array_agg('no colon')) AS put FROM generate_series(1, 500) i;

CREATE VIEW imported AS SELECT c.relname::text AS "table", coalesce(array_to_string(t.ftoptions, ' '), '') AS options,
	string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod), coalesce(' ' || a.attfdwoptions::text, '')), E'\n' ORDER BY attnum) AS columns
	FROM pg_class c JOIN pg_foreign_table t ON t.ftrelid = c.oid JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0
	WHERE relnamespace = 'fdw_import'::regnamespace AND relname LIKE 'fdw\_import%' GROUP BY 1, 2;

IMPORT FOREIGN SCHEMA keys LIMIT TO (fdw_import_doc, fdw_import_nothing) FROM SERVER fdw_import INTO fdw_import;
\x on
SELECT * FROM imported;
\x off
SELECT key_2, name, n, amount, ok, at, never, tags, mixed, nothing, version, key, "Quoted ""it""" FROM fdw_import_doc;
INSERT INTO fdw_import_doc (key_2, name, n) VALUES ('4', 'new', 4);
SELECT norikv.get('fdw_import_doc:4');
DROP FOREIGN TABLE fdw_import_doc;

-- All of them: those of other tests too.
SET client_min_messages = notice;
IMPORT FOREIGN SCHEMA keys LIMIT TO (fdw_import_doc) FROM SERVER fdw_import INTO fdw_import OPTIONS (sample_size '1');
SET client_min_messages = warning;
SELECT columns LIKE '%mixed bigint%' AS from_one_row FROM imported;
DROP FOREIGN TABLE fdw_import_doc;
IMPORT FOREIGN SCHEMA keys EXCEPT (fdw_import_doc) FROM SERVER fdw_import INTO fdw_import;
\x on
SELECT * FROM imported;
\x off
SELECT key, value FROM fdw_import_number;
SELECT key, value FROM fdw_import_json;
SELECT key, value FROM fdw_import_text;
SELECT key, value FROM fdw_import_bytes;
SELECT key, a FROM fdw_import_keys;
SELECT key, value FROM fdw_import;

IMPORT FOREIGN SCHEMA keys LIMIT TO (x) FROM SERVER fdw_import INTO fdw_import OPTIONS (sample '1');
IMPORT FOREIGN SCHEMA keys LIMIT TO (x) FROM SERVER fdw_import INTO fdw_import OPTIONS (sample_size '0');

SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan_bytes('fdw_import'::bytea, keys_only => true);
DROP SERVER fdw_import CASCADE;
DROP SCHEMA fdw_import CASCADE;
