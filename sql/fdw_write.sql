-- Writing through foreign tables: in the transaction, seen by its later
-- statements, gone with ROLLBACK.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SERVER fdw_write FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE person (
    id text OPTIONS (key 'true') COLLATE "C",
    name text,
    age int,
    tags jsonb,
    v norikv.version OPTIONS (version 'true')
) SERVER fdw_write OPTIONS (prefix 'fdw_write:person:', format 'json');
CREATE FOREIGN TABLE raw (key text COLLATE "C", value bytea)
    SERVER fdw_write OPTIONS (prefix 'fdw_write:person:');
CREATE FOREIGN TABLE word (key text COLLATE "C", value text)
    SERVER fdw_write OPTIONS (prefix 'fdw_write:word:');
DELETE FROM raw;
DELETE FROM word;

-- INSERT, and what is where when.
BEGIN;
INSERT INTO person VALUES ('ada', 'Ada', 36, '["math"]');
INSERT INTO person (id, name) VALUES ('bob', 'Bob'), ('cyd', 'Cyd');
SELECT id, name, age, tags, v IS NULL AS unversioned FROM person ORDER BY id;
SELECT ops, bytes > 0 AS has_bytes FROM norikv.pending_writes();
SELECT norikv.get('fdw_write:person:ada') IS NULL AS not_sent;
COMMIT;
SELECT ops, bytes FROM norikv.pending_writes();
SELECT norikv.get_json('fdw_write:person:ada');
SELECT id, name, age, tags, v IS NULL AS unversioned FROM person ORDER BY id;
-- One unit has one version.
SELECT count(DISTINCT v) FROM person;

-- UPDATE and DELETE.
BEGIN;
UPDATE person SET age = coalesce(age, 20) + 1;
SELECT id, age FROM person ORDER BY id;
DELETE FROM person WHERE id = 'bob';
SELECT id, age FROM person ORDER BY id;
ROLLBACK;
SELECT id, age FROM person ORDER BY id;
BEGIN;
UPDATE person SET age = coalesce(age, 20) + 1;
DELETE FROM person WHERE id = 'bob';
COMMIT;
SELECT id, age FROM person ORDER BY id;
SELECT norikv.has_key('fdw_write:person:bob');

-- An UPDATE leaves what it does not name as it is, and what the table does not know.
SELECT norikv.put('fdw_write:person:dan', '{"name": "Dan", "secret": [1, 2],  "age":1}') IS NOT NULL;
UPDATE person SET age = 2 WHERE id = 'dan';
SELECT norikv.get_json('fdw_write:person:dan');
DELETE FROM person WHERE id = 'dan';

-- RETURNING.
INSERT INTO person VALUES ('eve', 'Eve', 5, NULL, '1/1') RETURNING id, name, age, tags, v, person;
UPDATE person SET age = age + 1 WHERE id = 'eve' RETURNING id, age, v IS NULL, person;
DELETE FROM person WHERE id = 'eve' RETURNING id, name, age, v IS NOT NULL AS versioned;
UPDATE person SET age = 1 WHERE id = 'nobody' RETURNING *;

-- Twice in one transaction, and put and deleted again.
BEGIN;
INSERT INTO person (id, age) VALUES ('fay', 1);
UPDATE person SET age = age + 1 WHERE id = 'fay';
UPDATE person SET age = age + 1 WHERE id = 'fay' RETURNING age;
DELETE FROM person WHERE id = 'fay' RETURNING id, age, v;
SELECT count(*) FROM person WHERE id = 'fay';
INSERT INTO person (id, age) VALUES ('fay', 10);
DELETE FROM person WHERE id = 'ada';
INSERT INTO person (id, age) VALUES ('ada', 1);
COMMIT;
SELECT id, name, age FROM person ORDER BY id;

-- A statement does not see what it does itself.
INSERT INTO word SELECT 'w' || i, 'x' FROM generate_series(1, 3) i;
INSERT INTO word SELECT key || 'b', value || 'y' FROM word;
SELECT * FROM word ORDER BY key;
UPDATE word SET value = value || 'z';
SELECT * FROM word ORDER BY key;
WITH gone AS (DELETE FROM word WHERE key LIKE '%b' RETURNING key, value),
     stay AS (SELECT count(*) FROM word)
SELECT gone.*, stay.count FROM gone, stay ORDER BY key;
WITH gone AS (DELETE FROM word WHERE key = 'w1' RETURNING key, value)
INSERT INTO word SELECT key, value || '!' FROM gone;
WITH a AS (UPDATE word SET value = 'once' WHERE key = 'w2' RETURNING value),
     b AS (UPDATE word SET value = 'once' WHERE key = 'w2' RETURNING value)
SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) AS changes;
UPDATE word SET value = 'twice' FROM generate_series(1, 2) WHERE key = 'w3';
SELECT * FROM word ORDER BY key;
WITH new AS (INSERT INTO word VALUES ('v', 'new') RETURNING *)
SELECT word.key FROM word RIGHT JOIN new USING (key);

-- The key moves.
UPDATE word SET key = 'moved' || key WHERE key = 'w1' RETURNING *;
UPDATE word SET key = 'v' WHERE key = 'w2';
BEGIN;
UPDATE word SET key = 'x' || key;
UPDATE word SET key = 'y' || key WHERE key LIKE 'xw%';
SELECT * FROM word ORDER BY key;
ROLLBACK;
UPDATE word SET key = 'x' || key WHERE key LIKE 'w%';
SELECT * FROM word ORDER BY key;
-- A chain of moves is refused as in a table with a unique index, and nothing is lost.
DELETE FROM word;
INSERT INTO word VALUES ('a', '1'), ('aa', '2'), ('aaa', '3');
UPDATE word SET key = key || 'a';
SELECT * FROM word ORDER BY key;

-- COPY, and what pg_dump writes.
COPY person FROM stdin;
gus	Gus	7	{"a": 1}	9/9
hal	Hal	\N	\N	\N
\.
COPY (SELECT id, name, age, tags FROM person WHERE id > 'g' ORDER BY id) TO stdout;
COPY word (key) FROM stdin;
b
\.
BEGIN;
COPY word FROM stdin WITH (FORMAT csv);
c,1
a,again
\.
ROLLBACK;
SELECT key, value IS NULL AS none, value FROM word ORDER BY key;

-- Several tables over one store, and views.
BEGIN;
INSERT INTO raw VALUES ('ivy', '{"name": "Ivy"}');
SELECT id, name FROM person WHERE id = 'ivy';
UPDATE person SET age = 1 WHERE id = 'ivy';
SELECT convert_from(value, 'UTF8') FROM raw WHERE key = 'ivy';
COMMIT;
CREATE VIEW young AS SELECT id, age FROM person WHERE age < 10 WITH CHECK OPTION;
INSERT INTO young VALUES ('jim', 9);
INSERT INTO young VALUES ('kim', 90);
UPDATE young SET age = 11 WHERE id = 'jim';
DELETE FROM young WHERE id IN ('jim', 'ivy') RETURNING *;

-- Prepared statements, generic plans, functions, cursors.
PREPARE put_word(text, text) AS INSERT INTO word VALUES ($1, $2);
SET plan_cache_mode = force_generic_plan;
EXECUTE put_word('p1', 'one');
EXECUTE put_word('p2', 'two');
RESET plan_cache_mode;
PREPARE set_word(text, text) AS UPDATE word SET value = $2 WHERE key = $1 RETURNING *;
EXECUTE set_word('p1', 'uno');
DEALLOCATE ALL;
BEGIN;
DECLARE c CURSOR FOR SELECT key, value FROM word WHERE key LIKE 'p%' ORDER BY key;
FETCH 1 FROM c;
UPDATE word SET value = 'changed' WHERE key LIKE 'p%';
DELETE FROM word WHERE key = 'p2';
INSERT INTO word VALUES ('p3', 'three');
FETCH ALL FROM c;
SELECT key, value FROM word WHERE key LIKE 'p%' ORDER BY key;
COMMIT;

-- Bytes and odd keys.
CREATE FOREIGN TABLE bytes (key bytea, value bytea) SERVER fdw_write
    OPTIONS (prefix 'fdw_write:bytes:');
TRUNCATE bytes;
INSERT INTO bytes VALUES ('\x00', ''), ('\xff00ff', '\x00'), ('\x', 'at the prefix');
SELECT * FROM bytes ORDER BY key;
UPDATE bytes SET value = value || '\x01' WHERE key = '\xff00ff';
INSERT INTO bytes VALUES (decode(repeat('ff', 1024 - 16), 'hex'), 'long');
INSERT INTO bytes VALUES (decode(repeat('ff', 1024 - 15), 'hex'), 'too long');
BEGIN;
TRUNCATE bytes;
INSERT INTO bytes VALUES (decode(repeat('ff', 1024 - 16), 'hex'), 'new'), ('\x00', 'new');
COMMIT;
SELECT octet_length(key), value FROM bytes ORDER BY key;

-- More rows than work_mem holds, changed in another order than they were read in.
SET work_mem = '64kB';
DELETE FROM word;
INSERT INTO word SELECT 'n' || i, repeat('x', 300) || i FROM generate_series(1, 5000) i;
UPDATE word SET value = o.rank || ' ' || right(word.value, 5)
    FROM (SELECT key, row_number() OVER (ORDER BY md5(key)) AS rank FROM word) o WHERE o.key = word.key;
SELECT count(*), sum(split_part(value, ' ', 1)::int) FROM word;
SELECT count(*) FROM word WHERE split_part(value, ' ', 2) = right(repeat('x', 300) || substr(key, 2), 5);
UPDATE word SET key = 'o' || substr(key, 2);
SELECT count(*), min(key), max(key) FROM word;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM (SELECT key, value FROM word OFFSET 0) s;
SELECT key FROM word WHERE key > 'o998' ORDER BY md5(key) LIMIT 2 FOR UPDATE;
DELETE FROM word WHERE key <= 'o998';
COMMIT;
SELECT count(*), min(key), max(key) FROM word;
RESET work_mem;

DROP SERVER fdw_write CASCADE;
