-- Lookup joins: plans, and rows in all the cases that could go wrong.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SCHEMA fdw_lookup_join;
SET search_path = fdw_lookup_join;
CREATE SERVER fdw_lookup_join FOREIGN DATA WRAPPER norikv;
SET norikv.server = fdw_lookup_join;
SELECT norikv.mdelete(coalesce(array_agg(key), '{}')) AS clean FROM norikv.scan_bytes('lookup:'::bytea, keys_only => true) \gset

CREATE FOREIGN TABLE users (
	id text OPTIONS (key 'true') COLLATE "C",
	name text,
	n int,
	friend text
) SERVER fdw_lookup_join OPTIONS (prefix 'lookup:user:', format 'json');
INSERT INTO users SELECT 'u' || i, 'name ' || i, i, 'u' || i + 1 FROM generate_series(1, 2000) i;
ANALYZE users;
CREATE TABLE wanted (i int PRIMARY KEY, k text, n int);
INSERT INTO wanted VALUES (1, 'u1', 10), (2, 'u2', 20), (3, NULL, 30), (4, 'u2', 40), (5, 'nobody', 50), (6, 'u6', NULL), (7, '', 70);
CREATE TABLE many AS SELECT i, 'u' || i AS k FROM generate_series(1, 3000) i;
ANALYZE wanted, many;
-- Of EXPLAIN ANALYZE what is the same each time.
CREATE FUNCTION work(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) ' || query LOOP
		IF line ~ 'Custom Scan|Foreign Scan|Batches|Round Trips|Keys|Removed|Skipped' AND line !~ 'Memory Usage' THEN
			RETURN NEXT trim(line);
		END IF;
	END LOOP;
END $$;

-- The four joins.
EXPLAIN (COSTS off) SELECT w.i, u.name FROM wanted w JOIN users u ON u.id = w.k;
SELECT w.i, u.name FROM wanted w JOIN users u ON u.id = w.k;
EXPLAIN (COSTS off) SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = w.k;
SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = w.k;
EXPLAIN (COSTS off) SELECT w.i FROM wanted w WHERE EXISTS (SELECT 1 FROM users u WHERE u.id = w.k);
SELECT w.i FROM wanted w WHERE EXISTS (SELECT 1 FROM users u WHERE u.id = w.k);
EXPLAIN (COSTS off) SELECT w.i FROM wanted w WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = w.k);
SELECT w.i FROM wanted w WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = w.k);
-- The foreign table is the one that is asked for, once for each key.
EXPLAIN (COSTS off) SELECT u.name FROM users u WHERE u.id IN (SELECT k FROM wanted);
SELECT u.name FROM users u WHERE u.id IN (SELECT k FROM wanted) ORDER BY 1;
EXPLAIN (COSTS off) SELECT w.i, u.name FROM users u RIGHT JOIN wanted w ON w.k = u.id;
EXPLAIN (VERBOSE, COSTS off) SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = w.k AND u.n > w.n;
SELECT count(*) FROM wanted w FULL JOIN (SELECT * FROM users WHERE n < 5) u ON u.id = w.k;
-- A whole scan where nearly all keys are wanted, lookups row by row where the setting says so.
EXPLAIN (COSTS off) SELECT count(u.n) FROM many m JOIN users u ON u.id = m.k;
SET norikv.enable_lookup_join = off;
EXPLAIN (COSTS off) SELECT w.i, u.name FROM wanted w JOIN users u ON u.id = w.k;
SELECT w.i, u.name FROM wanted w JOIN users u ON u.id = w.k;
RESET norikv.enable_lookup_join;

-- Conditions: of the foreign table, of the join, of what is joined.
EXPLAIN (COSTS off) SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = w.k AND u.n > 1 AND u.n < w.n WHERE coalesce(u.n, 0) <> 2;
SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = w.k AND u.n > 1 AND u.n < w.n WHERE coalesce(u.n, 0) <> 2;
SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = w.k AND u.n > 1 AND u.n < w.n;
SELECT w.i FROM wanted w LEFT JOIN users u ON u.id = w.k WHERE u.id IS NULL;
SELECT w.i FROM wanted w WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = w.k AND u.n > w.n / 20);
SELECT w.i, u.n FROM wanted w JOIN users u ON u.id = w.k AND u.id = 'u' || w.i;
SELECT w.i, u.n FROM wanted w JOIN users u ON u.id = w.k WHERE u.n = (SELECT max(x.n) FROM users x WHERE x.id <= w.k AND x.id LIKE 'u2%');
SELECT work('SELECT w.i FROM wanted w JOIN users u ON u.id = w.k AND u.n % 2 = 0');
-- A key that is computed; one that is another one each time is not asked for.
SELECT w.i, u.name FROM wanted w JOIN users u ON u.id = 'u' || w.i * 1000;
EXPLAIN (COSTS off) SELECT w.i FROM wanted w JOIN users u ON u.id = w.k || trunc(random())::text;
-- What is computed below the join is NULL where there is no match.
SELECT w.i, u.shown, u.is_there FROM wanted w LEFT JOIN (SELECT id, coalesce(name, '?') || '!' AS shown, true AS is_there FROM users) u ON u.id = w.k;
SELECT w.i, u FROM wanted w LEFT JOIN users u ON u.id = w.k WHERE w.i < 4;
SELECT w.i, u.tableoid::regclass FROM wanted w LEFT JOIN users u ON u.id = w.k WHERE w.i IN (2, 3);
-- Several, one on the other.
EXPLAIN (COSTS off) SELECT w.i, u.name, f.name, g.name FROM wanted w JOIN users u ON u.id = w.k JOIN users f ON f.id = u.friend LEFT JOIN users g ON g.id = f.friend AND g.n % 2 = 0;
SELECT w.i, u.name, f.name, g.name FROM wanted w JOIN users u ON u.id = w.k JOIN users f ON f.id = u.friend LEFT JOIN users g ON g.id = f.friend AND g.n % 2 = 0;

-- Duplicate keys of a batch are asked once, NULL and what is no key never.
SELECT work('SELECT * FROM wanted w LEFT JOIN users u ON u.id = w.k');
SELECT work('SELECT count(*) FROM (SELECT k FROM many WHERE i < 50) m LEFT JOIN users u ON u.id = m.k, generate_series(1, 3)');
SET enable_hashjoin = off;
SET enable_mergejoin = off;
-- Batches: full ones where all rows are wanted, small ones first where not.
SELECT work('SELECT m.i FROM many m LEFT JOIN users u ON u.id = m.k');
SELECT work('SELECT m.i, u.name FROM many m LEFT JOIN users u ON u.id = m.k LIMIT 1');
SELECT work('SELECT m.i, u.name FROM many m LEFT JOIN users u ON u.id = m.k LIMIT 300');
SELECT m.i, u.name FROM many m LEFT JOIN users u ON u.id = m.k ORDER BY m.i OFFSET 1999 LIMIT 3;
ALTER FOREIGN TABLE users OPTIONS (ADD batch_size '100');
SELECT work('SELECT m.i FROM many m LEFT JOIN users u ON u.id = m.k');
ALTER FOREIGN TABLE users OPTIONS (DROP batch_size);
-- Rows too wide for many of them, on either side.
SET work_mem = '64kB';
SELECT work($$SELECT length(w) FROM (SELECT k, repeat(k, 5000) AS w FROM many WHERE i <= 20 OFFSET 0) m LEFT JOIN users u ON u.id = m.k$$);
SELECT sum(length(w)), sum(u.n) FROM (SELECT k, repeat(k, 5000) AS w FROM many WHERE i <= 20 OFFSET 0) m LEFT JOIN users u ON u.id = m.k;
CREATE FOREIGN TABLE large (key text COLLATE "C", value text) SERVER fdw_lookup_join OPTIONS (prefix 'lookup:large:', batch_size '10');
INSERT INTO large SELECT 'u' || i, repeat('x', 20000) FROM generate_series(1, 40) i;
SELECT work('SELECT m.i FROM many m JOIN large l ON l.key = m.k WHERE m.i <= 40');
RESET work_mem;
RESET enable_hashjoin;
RESET enable_mergejoin;

-- The order of the outer rows stays.
EXPLAIN (COSTS off) SELECT w.i, u.n FROM wanted w LEFT JOIN users u ON u.id = w.k ORDER BY w.k;
SELECT w.i, u.n FROM wanted w LEFT JOIN users u ON u.id = w.k ORDER BY w.k, w.i;

-- Params from above: the join is done again for each row.
SELECT o.i, x.* FROM wanted o CROSS JOIN LATERAL (SELECT count(*), sum(u.n), min(u.name) FROM wanted w JOIN users u ON u.id = w.k AND u.n < o.n / 10 WHERE w.i <= o.i) x;
SELECT o.i, (SELECT sum(u.n) FROM wanted w LEFT JOIN users u ON u.id = 'u' || w.i + o.i) FROM wanted o;
SELECT o.i, x.i, x.n FROM wanted o LEFT JOIN LATERAL (SELECT w.i, u.n + o.n AS n FROM wanted w LEFT JOIN users u ON u.id = w.k WHERE w.i = o.i + 1 OFFSET 0) x ON true;
-- Again before it has come to its end.
EXPLAIN (COSTS off) SELECT o.i, (SELECT u.n FROM many m LEFT JOIN users u ON u.id = m.k WHERE m.i > o.i * 10 OFFSET 4 LIMIT 1) FROM wanted o;
SELECT o.i, (SELECT u.n FROM many m LEFT JOIN users u ON u.id = m.k WHERE m.i > o.i * 10 OFFSET 4 LIMIT 1) FROM wanted o;
-- Columns that are made of both sides.
EXPLAIN (COSTS off) SELECT o.i, x.shown FROM wanted o LEFT JOIN LATERAL (SELECT coalesce(u.name, '?') || o.n AS shown FROM users u WHERE u.id = o.k) x ON o.i <> 1;
SELECT o.i, x.shown FROM wanted o LEFT JOIN LATERAL (SELECT coalesce(u.name, '?') || o.n AS shown FROM users u WHERE u.id = o.k) x ON o.i <> 1;
-- A generic plan.
SET plan_cache_mode = force_generic_plan;
PREPARE prepared(int, text) AS SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = $2 || w.i AND u.n > $1 WHERE w.i < 5;
EXPLAIN (COSTS off) EXECUTE prepared(2, 'u');
EXECUTE prepared(2, 'u');
EXECUTE prepared(0, NULL);
EXECUTE prepared(0, 'u');
DEALLOCATE prepared;
RESET plan_cache_mode;

-- Cursors: in parts, backwards, held.
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT m.i, u.name FROM many m LEFT JOIN users u ON u.id = m.k WHERE m.i < 400;
FETCH 2 FROM c;
FETCH ABSOLUTE 350 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH FIRST FROM c;
MOVE FORWARD ALL IN c;
FETCH NEXT FROM c;
FETCH PRIOR FROM c;
DECLARE plain NO SCROLL CURSOR FOR SELECT m.i, u.name FROM many m JOIN users u ON u.id = m.k WHERE m.i < 100;
FETCH 2 FROM plain;
CLOSE plain;
DECLARE held CURSOR WITH HOLD FOR SELECT m.i, u.name FROM many m LEFT JOIN users u ON u.id = m.k WHERE m.i < 400;
FETCH 1 FROM held;
COMMIT;
FETCH 1 FROM held;
CLOSE held;

-- What the transaction has written counts, as far as the query sees it.
BEGIN;
INSERT INTO users VALUES ('nobody', 'somebody', 1, 'u3');
UPDATE users SET name = 'changed' WHERE id = 'u2';
DELETE FROM users WHERE id = 'u1';
SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = w.k;
SELECT work('SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = w.k');
DECLARE before CURSOR FOR SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = w.k;
FETCH 1 FROM before;
SAVEPOINT a;
UPDATE users SET name = 'changed again' WHERE id IN ('u2', 'u6');
SELECT w.i, u.name FROM wanted w JOIN users u ON u.id = w.k;
FETCH ALL FROM before;
ROLLBACK TO a;
SELECT w.i, u.name FROM wanted w JOIN users u ON u.id = w.k;
CLOSE before;
TRUNCATE users;
SELECT w.i, u.name FROM wanted w LEFT JOIN users u ON u.id = w.k WHERE w.i < 3;
ROLLBACK;
-- A command does not see what it writes itself.
BEGIN;
INSERT INTO users SELECT 'nobody', 'new ' || count(u.id), 1, NULL FROM wanted w LEFT JOIN users u ON u.id = w.k;
WITH x AS (UPDATE users SET name = 'with' WHERE id = 'u1' RETURNING id)
	SELECT w.i, u.name, x.id FROM wanted w JOIN users u ON u.id = w.k LEFT JOIN x ON x.id = u.id;
ROLLBACK;

-- The foreign table is the one that is changed or locked.
EXPLAIN (COSTS off) UPDATE users SET name = 'w' || w.i FROM wanted w WHERE w.k = users.id AND w.i <> 4;
BEGIN;
UPDATE users SET name = 'w' || w.i FROM wanted w WHERE w.k = users.id AND w.i <> 4 RETURNING users.*, w.i;
DELETE FROM users USING wanted w WHERE w.k = users.id AND w.i > 4 RETURNING users.id;
SELECT u.id, u.name FROM wanted w JOIN users u ON u.id = w.k ORDER BY 1 FOR UPDATE OF u;
UPDATE wanted SET n = u.n FROM users u WHERE u.id = wanted.k RETURNING wanted.i, wanted.n;
ROLLBACK;

-- Keys of all types, compared with others of their kind. These tables are so small that
-- they would be read as a whole.
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
CREATE TABLE typed AS SELECT i, i::smallint AS h, i * 1000000000::bigint AS b, ('0000000' || i || '-0000-4000-8000-00000000000A')::uuid AS u,
	('k' || i)::varchar(10) AS v, convert_to('k' || i, 'UTF8') AS y FROM generate_series(1, 4) i;
ANALYZE typed;
CREATE FOREIGN TABLE by_int (id int OPTIONS (key 'true'), x text) SERVER fdw_lookup_join OPTIONS (prefix 'lookup:int:', format 'json');
INSERT INTO by_int VALUES (1, 'one'), (3, 'three'), (-2, 'minus two');
SELECT t.i, a.x, b.x, c.x FROM typed t LEFT JOIN by_int a ON a.id = t.h LEFT JOIN by_int b ON b.id = t.b LEFT JOIN by_int c ON c.id = -t.i;
EXPLAIN (COSTS off) SELECT t.i, a.x FROM typed t LEFT JOIN by_int a ON t.b = a.id;
-- As text it is no comparison of keys.
EXPLAIN (COSTS off) SELECT t.i, a.x FROM typed t LEFT JOIN by_int a ON t.v = a.id::text;
CREATE FOREIGN TABLE by_uuid (id uuid OPTIONS (key 'true'), x text) SERVER fdw_lookup_join OPTIONS (prefix 'lookup:uuid:', format 'json');
INSERT INTO by_uuid SELECT u, 'uuid ' || i FROM typed WHERE i < 3;
SELECT norikv.put('lookup:uuid:00000003-0000-4000-8000-00000000000A', '{"x": "other spelling"}') IS NOT NULL AS put;
SELECT t.i, a.x FROM typed t LEFT JOIN by_uuid a ON a.id = t.u;
CREATE FOREIGN TABLE by_varchar (id varchar(10) OPTIONS (key 'true'), x text) SERVER fdw_lookup_join OPTIONS (prefix 'lookup:varchar:', format 'json');
INSERT INTO by_varchar VALUES ('k1', 'varchar 1'), ('k3', 'varchar 3');
CREATE FOREIGN TABLE by_bytea (id bytea OPTIONS (key 'true'), x text) SERVER fdw_lookup_join OPTIONS (prefix 'lookup:varchar:', format 'json');
SELECT t.i, a.x, b.x, c.x FROM typed t LEFT JOIN by_varchar a ON a.id = t.v LEFT JOIN by_varchar b ON b.id = 'k' || t.i LEFT JOIN by_bytea c ON c.id = t.y;
CREATE FOREIGN TABLE whole (id text OPTIONS (key 'true') COLLATE "C", x text) SERVER fdw_lookup_join OPTIONS (prefix 'lookup:varchar:', format 'json', keep_prefix 'true');
SELECT t.i, a.x, b.x FROM typed t LEFT JOIN whole a ON a.id = 'lookup:varchar:' || t.v LEFT JOIN whole b ON b.id = t.v;
-- Equal is more than the same bytes: not by key.
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE FOREIGN TABLE by_loose (id text OPTIONS (key 'true') COLLATE loose, x text) SERVER fdw_lookup_join OPTIONS (prefix 'lookup:varchar:', format 'json');
EXPLAIN (COSTS off) SELECT t.i, a.x FROM typed t JOIN by_loose a ON a.id = upper(t.v);
SELECT t.i, a.x FROM typed t JOIN by_loose a ON a.id = upper(t.v) ORDER BY 1;
RESET enable_hashjoin;
RESET enable_material;
EXPLAIN (COSTS off) SELECT w.i FROM wanted w JOIN users u ON u.id = w.k COLLATE loose;
-- Keys that are too long are none.
SELECT w.i, u.id FROM wanted w LEFT JOIN users u ON u.id = repeat(w.k, 2000) WHERE w.i < 3;

-- Wrong data.
SET enable_hashjoin = off;
SET enable_material = off;
CREATE FOREIGN TABLE numbers (id text OPTIONS (key 'true') COLLATE "C", x int) SERVER fdw_lookup_join OPTIONS (prefix 'lookup:varchar:', format 'json');
SELECT t.i, a.x FROM typed t LEFT JOIN numbers a ON a.id = t.v;
ALTER FOREIGN TABLE numbers OPTIONS (on_error 'skip');
SELECT t.i, a.id FROM typed t LEFT JOIN numbers a ON a.id = t.v;
SELECT t.i FROM typed t WHERE NOT EXISTS (SELECT 1 FROM numbers a WHERE a.id = t.v);
SELECT work('SELECT t.i, a.id FROM typed t LEFT JOIN numbers a ON a.id = t.v');
ALTER FOREIGN TABLE numbers OPTIONS (SET on_error 'null');
SELECT t.i, a.id, a.x FROM typed t LEFT JOIN numbers a ON a.id = t.v;
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;
-- An error in the middle of a batch leaves nothing behind.
SELECT w.i, 1 / (u.n - 2) FROM wanted w JOIN users u ON u.id = w.k;
DO $$ BEGIN PERFORM 1 / (u.n - 2) FROM wanted w JOIN users u ON u.id = w.k; EXCEPTION WHEN division_by_zero THEN RAISE WARNING 'caught'; END $$;
SELECT count(*) FROM wanted w JOIN users u ON u.id = w.k;

-- Views. With a barrier it is a query of its own that is joined, not the table.
CREATE VIEW odd AS SELECT id, name, n FROM users WHERE n % 2 = 1;
EXPLAIN (COSTS off) SELECT w.i, o.name FROM wanted w JOIN odd o ON o.id = w.k;
SELECT w.i, o.name FROM wanted w JOIN odd o ON o.id = w.k;
CREATE VIEW shown WITH (security_barrier) AS SELECT id, name, n FROM users WHERE n <> 2;
EXPLAIN (COSTS off) SELECT w.i, s.name FROM wanted w JOIN shown s ON s.id = w.k AND s.name > 'a';
SELECT w.i, s.name FROM wanted w JOIN shown s ON s.id = w.k AND s.name > 'a';
-- Partitions are read one by one.
CREATE TABLE parts (id text COLLATE "C", x text) PARTITION BY LIST (left(id, 1));
CREATE FOREIGN TABLE parts_k PARTITION OF parts FOR VALUES IN ('k') SERVER fdw_lookup_join OPTIONS (prefix 'lookup:varchar:', format 'json');
CREATE TABLE parts_l PARTITION OF parts FOR VALUES IN ('l');
ALTER FOREIGN TABLE parts_k ALTER id OPTIONS (key 'true');
INSERT INTO parts_l VALUES ('l1', 'local');
SELECT t.i, p.x FROM typed t JOIN parts p ON p.id = t.v ORDER BY 1;
CREATE TABLE hashed (k text, i int) PARTITION BY HASH (k);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT k, i FROM wanted WHERE k IS NOT NULL;
ANALYZE hashed;
SET enable_partitionwise_join = on;
EXPLAIN (COSTS off) SELECT h.i, u.name FROM hashed h LEFT JOIN users u ON u.id = h.k ORDER BY 1;
SELECT h.i, u.name FROM hashed h LEFT JOIN users u ON u.id = h.k ORDER BY 1;
RESET enable_partitionwise_join;
-- Workers have no part in it; they may read the outer side.
CREATE TABLE big AS SELECT i, 'u' || i AS k FROM generate_series(1, 20000) i;
ANALYZE big;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 1;
EXPLAIN (COSTS off) SELECT b.i, u.name FROM big b JOIN users u ON u.id = b.k WHERE b.i % 1000 = 7;
SELECT b.i, u.name FROM big b JOIN users u ON u.id = b.k WHERE b.i % 1000 = 7 ORDER BY 1;

SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan_bytes('lookup:'::bytea, keys_only => true);
DROP SERVER fdw_lookup_join CASCADE;
DROP SCHEMA fdw_lookup_join CASCADE;
