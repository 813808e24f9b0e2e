-- Reading through foreign tables: what columns show, of which types, and what
-- becomes of values that are not of them.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SCHEMA fdw_read;
SET search_path = fdw_read;
SET timezone = 'UTC';
CREATE SERVER fdw_read FOREIGN DATA WRAPPER norikv;
SET norikv.server = fdw_read;
SELECT norikv.mdelete(coalesce(array_agg(key), '{}')) AS clean FROM norikv.scan_bytes('fdw_read:'::bytea, keys_only => true) \gset

-- Roles by option: then names do not matter.
SELECT norikv.put('fdw_read:user:ann', '{"name": "Ann", "age": 41, "value": "v", "key": "k", "tags": ["a", {"b": null}], "first": "Anne"}') IS NOT NULL AS put;
SELECT norikv.put('fdw_read:user:bob', '{"age": 7}', ttl => '1 hour') IS NOT NULL AS put;
SELECT norikv.put('fdw_read:user:', '{"name": "nobody"}') IS NOT NULL AS put;
CREATE FOREIGN TABLE users (
	id text OPTIONS (key 'true') COLLATE "C",
	name text,
	age int,
	tags jsonb,
	value text,
	key text,
	first_name text OPTIONS (field 'first'),
	v norikv.version OPTIONS (version 'true'),
	ttl interval OPTIONS (ttl 'true'),
	ends timestamptz OPTIONS (expires_at 'true')
) SERVER fdw_read OPTIONS (prefix 'fdw_read:user:', format 'json');
SELECT id, name, age, tags, value, key, first_name FROM users;
SELECT id, u.v OPERATOR(norikv.=) e.version AS same_version, ends = e.expires_at AS same_expiry,
	ttl BETWEEN '50 minutes' AND '1 hour' AS sensible
	FROM users u, norikv.entry('fdw_read:user:' || id) e ORDER BY id;
SELECT regexp_replace(users::text, '\d+/\d+', 'V') FROM users WHERE id = '';
SELECT tableoid::regclass, ctid, id FROM users WHERE id = 'ann';
SELECT xmin FROM users;

-- Roles by name, where no column has one as an option.
SELECT norikv.put('fdw_read:raw:a', 'text é'), norikv.put('fdw_read:raw:b', '\x00ff'::bytea), norikv.put('fdw_read:raw:c', '') \gset
CREATE FOREIGN TABLE raw (key text COLLATE "C", value bytea, version norikv.version, ttl interval, expires_at timestamptz)
	SERVER fdw_read OPTIONS (prefix 'fdw_read:raw:');
SELECT key, value, version IS NULL AS unversioned, ttl, expires_at FROM raw;
CREATE FOREIGN TABLE everything (key bytea, value bytea) SERVER fdw_read;
SELECT count(*) FROM everything WHERE key >= 'fdw_read:raw:' AND key < 'fdw_read:raw;';
SELECT encode(key, 'escape') AS key, value FROM everything WHERE key = 'fdw_read:raw:b';
CREATE FOREIGN TABLE named_fields (key text COLLATE "C", name text, value text) SERVER fdw_read
	OPTIONS (prefix 'fdw_read:user:', format 'json', keep_prefix 'true');
SELECT * FROM named_fields;
SELECT * FROM named_fields WHERE key = 'fdw_read:user:bob';
SELECT * FROM named_fields WHERE key = 'bob';

-- What is no table of keys.
CREATE FOREIGN TABLE wrong (name text) SERVER fdw_read OPTIONS (format 'json');
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong ADD key float8;
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong DROP key, ADD key char(10);
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong DROP key, ADD key text;
ALTER FOREIGN TABLE wrong OPTIONS (DROP format);
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong ALTER name OPTIONS (ttl 'true');
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong ALTER key OPTIONS (key 'true');
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong ALTER name OPTIONS (expires_at 'true');
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong ALTER name OPTIONS (DROP ttl, SET expires_at 'false', version 'true');
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong ALTER name OPTIONS (DROP version, key 'true');
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong ALTER name OPTIONS (DROP key, value 'true');
ALTER FOREIGN TABLE wrong OPTIONS (ADD format 'bytea');
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong OPTIONS (SET format 'text', prefix 'fdw_read:raw:a');
SELECT * FROM wrong;
DROP FOREIGN TABLE wrong;
CREATE FOREIGN TABLE wrong (key text, a text, b int OPTIONS (field 'a')) SERVER fdw_read OPTIONS (prefix 'fdw_read:w:', format 'json');
SELECT * FROM wrong;
INSERT INTO wrong VALUES ('x', '1', 2);
ALTER FOREIGN TABLE wrong ALTER b OPTIONS (SET field 'b');
SELECT * FROM wrong;
DROP FOREIGN TABLE wrong;
CREATE FOREIGN TABLE wrong (key text) SERVER fdw_read OPTIONS (on_error 'ignore');
CREATE FOREIGN TABLE wrong (key text) SERVER fdw_read OPTIONS (prefx 'a');
CREATE FOREIGN TABLE wrong (key text OPTIONS (keys 'true')) SERVER fdw_read;
CREATE FOREIGN TABLE wrong (key text) SERVER fdw_read OPTIONS (fetch_size '0');
DO $$ BEGIN
	EXECUTE format('CREATE FOREIGN TABLE wrong (key text) SERVER fdw_read OPTIONS (prefix %L)', repeat('é', 513));
END $$;

-- Fields of every kind of type.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE point3 AS (x int, y float8, label text);
CREATE DOMAIN labels AS text[] CHECK (cardinality(VALUE) < 3);
CREATE FOREIGN TABLE typed (
	id text OPTIONS (key 'true') COLLATE "C", t text, c varchar(5), i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric,
	n2 numeric(6, 2), b bool, d date, ts timestamp, tstz timestamptz, iv interval, u uuid, by bytea,
	js json, jb jsonb, m mood, p positive, pt point3, ia int[], ia2 int[][], ta labels, r int4range, ip inet, pts point3[]
) SERVER fdw_read OPTIONS (prefix 'fdw_read:typed:', format 'json');
SELECT norikv.put('fdw_read:typed:' || k, v) IS NOT NULL AS put FROM (VALUES
	('1full', '{"t": "tab\tquote\" é \u00e9 \ud83d\ude00", "c": "abcde", "i2": -32768, "i4": 2147483647, "i8": 9223372036854775807,
		"f4": 1.5, "f8": 1e300, "n": 123456789012345678901234567890.5, "n2": 1.239, "b": true, "d": "2026-02-28",
		"ts": "2026-02-28T12:00:00", "tstz": "2026-02-28T12:00:00+02:00", "iv": "1 day 02:03:04", "u": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
		"by": "\\xdeadbeef", "js": {"a" : [1,  2]}, "jb": {"b": 1, "a": [1, 2.50, null]}, "m": "happy", "p": 5,
		"pt": {"x": 1, "y": 2.5, "label": "l"}, "ia": [1, 2, null], "ia2": [[1, 2], [3, 4]], "ta": ["x", "y"], "r": "[1,5)", "ip": "10.0.0.1",
		"pts": [{"x": 1}, {"y": 2, "z": 3}]}'),
	('2strings', '{"t": 1.50, "c": true, "i2": "7", "i4": " 8 ", "f8": "Infinity", "n": "NaN", "b": "yes", "jb": "s", "js": "s", "ia": "{4,5}", "pt": "(1,2,three)", "m": "sad"}'),
	('3nulls', '{"t": null, "i4": null, "jb": null, "js": null, "ia": null, "pt": null, "p": null, "m": null}'),
	('4nested', '{"t": {"a":  1}, "jb": false, "js": [ ], "other": {"deep": [[[{"x": 1}]]]}}'),
	('5repeated', '{"t": "first", "i4": 1, "t": "last", "i4": 2}'),
	('6empty', ' { } ')) AS rows (k, v);
\x on
SELECT * FROM typed WHERE id = '1full';
\x off
SELECT id, t, c, i2, i4, f8, n, b, jb, js::text AS js, ia, pt, m FROM typed WHERE id >= '2';
SELECT id, jb IS NULL AS jb, js IS NULL AS js FROM typed WHERE id = '3nulls';

-- Values as a whole, of any type that is written as text.
SELECT norikv.put('fdw_read:n:1', '42'), norikv.put('fdw_read:n:2', ' 7 ') \gset
CREATE FOREIGN TABLE numbers (id bigint OPTIONS (key 'true'), n bigint OPTIONS (value 'true')) SERVER fdw_read OPTIONS (prefix 'fdw_read:n:');
SELECT * FROM numbers;
CREATE FOREIGN TABLE documents (id text OPTIONS (key 'true'), doc jsonb OPTIONS (value 'true')) SERVER fdw_read OPTIONS (prefix 'fdw_read:user:');
SELECT * FROM documents ORDER BY id COLLATE "C";
CREATE FOREIGN TABLE mixed (id text OPTIONS (key 'true'), doc json OPTIONS (value 'true'), age int) SERVER fdw_read OPTIONS (prefix 'fdw_read:user:', format 'json');
SELECT id, doc ->> 'age' AS of_doc, age FROM mixed WHERE id = 'ann';

-- Wrong data: the error says where.
\set VERBOSITY default
SELECT norikv.put('fdw_read:bad:' || k, v) IS NOT NULL AS put FROM (VALUES
	('1', '{"i": 1, "p": 1, "t": "ok"}'), ('2', '{"i": "many", "p": 2, "t": "ok"}'), ('3', '{"i": 3, "p": -3, "t": "ok"}'),
	('4', 'no json'), ('5', '[1]'), ('6', '{"i": 6, "t": "\u0000"}'), ('7', '{"i": 7, "p": 7, "t": "ok"'), ('8', '{"i": 8, "p": 8, "t": "ok"}')) AS rows (k, v);
SELECT norikv.put('fdw_read:bad:9', '\x7b2274223a22ff227d'::bytea) IS NOT NULL AS put;
SELECT norikv.put(convert_to('fdw_read:bad:', 'UTF8') || '\xff', '{"i": 10, "p": 10, "t": "ok"}') IS NOT NULL AS put;
CREATE FOREIGN TABLE bad (id text OPTIONS (key 'true') COLLATE "C", i int, p positive, t text) SERVER fdw_read OPTIONS (prefix 'fdw_read:bad:', format 'json');
SELECT * FROM bad;
SELECT id, t FROM bad WHERE id < '4';
SELECT * FROM bad WHERE id = '3';
SELECT * FROM bad WHERE id = '4';
SELECT * FROM bad WHERE id = '5';
SELECT * FROM bad WHERE id = '6';
SELECT * FROM bad WHERE id = '7';
SELECT * FROM bad WHERE id = '9';
SELECT id FROM bad WHERE id > '9';
SELECT count(*) FROM bad;
SET client_min_messages = notice;
ALTER FOREIGN TABLE bad OPTIONS (ADD on_error 'null');
SELECT * FROM bad;
SELECT count(*) FROM bad;
ALTER FOREIGN TABLE bad OPTIONS (SET on_error 'skip');
SELECT * FROM bad;
-- The same rows, whatever is asked of them.
SELECT count(*) FROM bad;
SELECT id FROM bad ORDER BY id DESC LIMIT 2;
SELECT id FROM bad WHERE id IN ('1', '2');
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT JSON) SELECT id FROM bad \g (format=unaligned tuples_only=on) | grep -E 'Skipped'
SET client_min_messages = warning;

-- Keys have one spelling.
CREATE FOREIGN TABLE by_number (id int OPTIONS (key 'true'), v text OPTIONS (value 'true')) SERVER fdw_read OPTIONS (prefix 'fdw_read:int:', on_error 'skip');
CREATE FOREIGN TABLE by_uuid (id uuid OPTIONS (key 'true'), v text OPTIONS (value 'true')) SERVER fdw_read OPTIONS (prefix 'fdw_read:int:', on_error 'skip');
SELECT norikv.put('fdw_read:int:' || k, k) IS NOT NULL AS put FROM unnest(ARRAY['0', '-0', '7', '007', '+8', '-9', '2147483647', '2147483648', '-2147483648', '',
	'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}']) k;
SELECT * FROM by_number;
SELECT * FROM by_number WHERE id = 7::bigint OR id = -9::smallint;
SELECT * FROM by_number WHERE id = ANY (ARRAY[2147483648, 2147483647, 0]::bigint[]);
CREATE FOREIGN TABLE strict_number (id int OPTIONS (key 'true'), v text OPTIONS (value 'true')) SERVER fdw_read OPTIONS (prefix 'fdw_read:int:');
SELECT * FROM strict_number WHERE id = 2147483648;
SELECT * FROM strict_number WHERE id IN (7, 2147483648);
SELECT * FROM strict_number;
SELECT * FROM by_uuid;
SELECT * FROM by_uuid WHERE id = 'B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11';
SELECT * FROM by_uuid WHERE id = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11';

-- Nor are keys that break the checks of a domain of its values.
CREATE DOMAIN short AS text COLLATE "C" CHECK (length(VALUE) < 3);
CREATE FOREIGN TABLE by_short (id short OPTIONS (key 'true'), v text OPTIONS (value 'true')) SERVER fdw_read OPTIONS (prefix 'fdw_read:int:');
SELECT * FROM by_short WHERE id < '1';
SELECT * FROM by_short WHERE id >= '2' AND id < '3';
SELECT v FROM by_short WHERE id = '2147483647';
ALTER FOREIGN TABLE by_short OPTIONS (ADD on_error 'skip');
SELECT * FROM by_short;
SELECT count(*) FROM by_short;

-- The longest key, and comparisons with longer ones.
SELECT norikv.put('fdw_read:k:' || repeat('x', 1013), 'longest'), norikv.put('fdw_read:k:y', 'y') \gset
CREATE FOREIGN TABLE long (id text OPTIONS (key 'true') COLLATE "C", v text OPTIONS (value 'true')) SERVER fdw_read OPTIONS (prefix 'fdw_read:k:');
SELECT length(id), v FROM long WHERE id >= repeat('x', 1013);
SELECT length(id), v FROM long WHERE id > repeat('x', 1013);
SELECT length(id), v FROM long WHERE id >= repeat('x', 1014);
SELECT length(id), v FROM long WHERE id < repeat('x', 1014);
SELECT length(id), v FROM long WHERE id <= repeat('x', 5000);
SELECT length(id), v FROM long WHERE id < repeat('x', 1013);
SELECT length(id), v FROM long WHERE id = repeat('x', 1014);
SELECT length(id), v FROM long WHERE id = repeat('x', 1013);
SELECT length(id), v FROM long WHERE id LIKE repeat('x', 1013) || '%';
SELECT length(id), v FROM long WHERE id LIKE repeat('x', 1014) || '%';

-- ALTER is seen at once, also by a prepared statement.
PREPARE all_of_it AS SELECT * FROM long WHERE id = $1;
EXECUTE all_of_it('y');
ALTER FOREIGN TABLE long OPTIONS (SET prefix 'fdw_read:n:');
EXECUTE all_of_it('y');
EXECUTE all_of_it('1');
ALTER FOREIGN TABLE long ALTER v OPTIONS (DROP value), OPTIONS (ADD format 'json');
EXECUTE all_of_it('nothing');
DEALLOCATE all_of_it;

-- Privileges are those of the table alone.
CREATE ROLE regress_fdw_reader;
GRANT USAGE ON SCHEMA fdw_read TO regress_fdw_reader;
SET ROLE regress_fdw_reader;
SELECT * FROM numbers;
RESET ROLE;
GRANT SELECT ON numbers TO regress_fdw_reader;
SET ROLE regress_fdw_reader;
SELECT * FROM numbers;
SELECT norikv.get('fdw_read:n:1');
RESET ROLE;
DROP OWNED BY regress_fdw_reader;
DROP ROLE regress_fdw_reader;

-- Asked for when the cursor is opened, fetched when that call's time is over.
CREATE SERVER fdw_read_impatient FOREIGN DATA WRAPPER norikv OPTIONS (timeout '300ms');
CREATE FOREIGN TABLE later (id text OPTIONS (key 'true') COLLATE "C", value text OPTIONS (value 'true'))
	SERVER fdw_read_impatient OPTIONS (prefix 'fdw_read:later:');
SELECT norikv.mput('{fdw_read:later:1,fdw_read:later:2}', '{one,two}'::text[]);
BEGIN;
DECLARE few CURSOR FOR SELECT id, value FROM later WHERE id IN ('1', '2', '3');
DECLARE one CURSOR FOR SELECT id, value FROM later WHERE id = '2';
DECLARE range CURSOR FOR SELECT id, value FROM later WHERE id >= '1';
DO 'BEGIN PERFORM pg_sleep(0.7); END';
FETCH ALL FROM few;
FETCH ALL FROM one;
FETCH ALL FROM range;
COMMIT;
DROP SERVER fdw_read_impatient CASCADE;

SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan_bytes('fdw_read:'::bytea, keys_only => true);
DROP SERVER fdw_read CASCADE;
DROP SCHEMA fdw_read CASCADE;
