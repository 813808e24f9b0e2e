-- What goes to the server, and what stays: plans of queries on foreign tables.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SCHEMA fdw_plans;
SET search_path = fdw_plans;
CREATE SERVER fdw_plans FOREIGN DATA WRAPPER norikv;
CREATE SERVER fdw_plans_2 FOREIGN DATA WRAPPER norikv;
SET norikv.server = fdw_plans;
SELECT norikv.mdelete(coalesce(array_agg(key), '{}')) AS clean FROM norikv.scan_bytes('fdw_plans:'::bytea, keys_only => true) \gset
SELECT norikv.mput(array_agg(format('fdw_plans:item:%s', to_char(i, 'FM0000'))), array_agg(format('{"n": %s, "name": "item %s"}', i, i))) AS put
	FROM generate_series(1, 200) i;
SELECT norikv.mput(array_agg(format('fdw_plans:other:%s', i)), array_agg(format('{"n": %s}', i))) AS put FROM generate_series(1, 20) i;
CREATE FOREIGN TABLE item (id text OPTIONS (key 'true') COLLATE "C", n int, name text, v norikv.version OPTIONS (version 'true'))
	SERVER fdw_plans OPTIONS (prefix 'fdw_plans:item:', format 'json', fetch_size '10');
CREATE FOREIGN TABLE english (id text OPTIONS (key 'true') COLLATE "en-x-icu", n int)
	SERVER fdw_plans OPTIONS (prefix 'fdw_plans:item:', format 'json');
CREATE FOREIGN TABLE other (id int OPTIONS (key 'true'), n int)
	SERVER fdw_plans_2 OPTIONS (prefix 'fdw_plans:other:', format 'json');

-- The plan, without what differs from run to run.
CREATE FUNCTION plan(query text, analyzed bool DEFAULT false) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE format('EXPLAIN (COSTS OFF %s) %s', CASE WHEN analyzed THEN ', ANALYZE, TIMING OFF, SUMMARY OFF' ELSE '' END, query) LOOP
		RETURN NEXT regexp_replace(line, '(Bytes (Sent|Received): )[1-9]\d*', '\1N');
	END LOOP;
END $$;

-- By key
SELECT plan('SELECT * FROM item WHERE id = ''0007''', true);
SELECT plan('SELECT * FROM item WHERE ''0007'' = id AND n = 8', true);
SELECT plan('SELECT * FROM item WHERE id IN (''0007'', ''0009'', ''nothing'', NULL, ''0007'')', true);
SELECT plan('SELECT * FROM item WHERE id = ANY ((SELECT array_agg(to_char(i, ''FM0000'')) FROM generate_series(191, 215) i)::text[])', true);
SELECT plan('SELECT id FROM item WHERE id = ''0001'' AND id = ''0002''', true);
SELECT plan('SELECT id FROM item WHERE id = ''0001'' AND id = (SELECT ''0002'')', true);
SELECT plan('SELECT id FROM item WHERE id IN (''0001'', ''0002'') AND id > ''0001'' ORDER BY id DESC', true);
SELECT plan('SELECT n FROM english WHERE id = ''0007''', true);
SELECT plan('SELECT n FROM other WHERE id = 7::bigint', true);
SELECT plan('SELECT id FROM item WHERE id = NULL');
SELECT plan('SELECT id FROM item WHERE id = (SELECT NULL::text)', true);
SELECT plan('SELECT id FROM item WHERE id = to_char(random(), ''0'')');
SELECT plan('SELECT id FROM item WHERE id = name');

-- Ranges
SELECT plan('SELECT id FROM item WHERE id BETWEEN ''0010'' AND ''0020''', true);
SELECT plan('SELECT id FROM item WHERE id > ''0010'' AND id < ''0012'' AND n > 0', true);
SELECT plan('SELECT id FROM item WHERE id > ''0010'' AND id < ''0002''', true);
SELECT plan('SELECT n FROM english WHERE id > ''0010''');
SELECT plan('SELECT n FROM english WHERE id COLLATE "C" > ''0010'' ORDER BY id COLLATE "C" DESC');
SELECT plan('SELECT n FROM english WHERE id ~>~ ''0010''');
SELECT plan('SELECT n FROM other WHERE id > 10');
SELECT plan('SELECT id FROM item WHERE id LIKE ''001%''', true);
SELECT plan('SELECT id FROM item WHERE id LIKE ''00_1%''', true);
SELECT plan('SELECT id FROM item WHERE id ^@ ''001''', true);
SELECT plan('SELECT n FROM english WHERE starts_with(id, ''001'')', true);
SELECT plan('SELECT id FROM item WHERE id NOT LIKE ''001%''');
SELECT plan('SELECT id FROM item WHERE id ILIKE ''001%''');
SELECT plan('SELECT id FROM item WHERE id = ''0001'' OR id > ''0009''');

-- Order and LIMIT
SELECT plan('SELECT id FROM item ORDER BY id LIMIT 3', true);
SELECT plan('SELECT id FROM item ORDER BY id DESC, n LIMIT 3 OFFSET 2', true);
SELECT plan('SELECT id FROM item LIMIT 0', true);
SELECT plan('SELECT id FROM item WHERE id > ''0100'' LIMIT (SELECT 2)', true);
SELECT plan('SELECT id FROM item ORDER BY n LIMIT 3');
SELECT plan('SELECT id FROM item WHERE n = 3 ORDER BY id LIMIT 3');
SELECT plan('SELECT DISTINCT id FROM item LIMIT 3');
SELECT plan('SELECT id FROM item ORDER BY id FETCH FIRST 2 ROWS WITH TIES');
SELECT plan('SELECT n FROM english ORDER BY id LIMIT 3');
SELECT plan('SELECT n FROM other ORDER BY id LIMIT 3');
SELECT plan('SELECT max(id), min(id) FROM item WHERE id < ''0100''', true);
SELECT max(id), min(id) FROM item WHERE id < '0100';

-- Counts, and keys without values
SELECT plan('SELECT count(*) FROM item', true);
SELECT plan('SELECT count(*) + 1, count(id) FROM item WHERE id > ''0150''', true);
SELECT plan('SELECT count(*) FROM item WHERE id IN (''0001'', ''x'')', true);
SELECT count(*), count(id), count(*) / 2 AS half FROM item WHERE id > '0150';
SELECT plan('SELECT count(n) FROM item');
SELECT plan('SELECT count(*) FROM item WHERE n = 1');
SELECT plan('SELECT count(*) FILTER (WHERE n = 1) FROM item');
SELECT plan('SELECT count(DISTINCT id) FROM item');
SELECT plan('SELECT n, count(*) FROM item GROUP BY n HAVING count(*) > 1');
SELECT plan('SELECT count(*) FROM item WHERE random() < 2');
SELECT count(*) FROM item, other;
SELECT count(*) FROM (SELECT FROM item LIMIT 5) t;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*), (SELECT count(*) FROM item WHERE id IN ('0001', 'x')) AS by_key FROM item;
COMMIT;

-- Joins without lookup joins: few rows by key, many by a scan; statistics tell.
SET norikv.enable_lookup_join = off;
CREATE TABLE few AS SELECT to_char(i, 'FM0000') AS id FROM generate_series(1, 3) i;
CREATE TABLE many AS SELECT to_char(i, 'FM0000') COLLATE "C" AS id FROM generate_series(1, 3000) i;
ANALYZE few, many, item;
SELECT plan('SELECT * FROM few JOIN item USING (id)');
SELECT few.id, n FROM few JOIN item USING (id);
SELECT plan('SELECT * FROM many JOIN item USING (id)');
SELECT count(*), sum(n) FROM many JOIN item USING (id);
SELECT plan('SELECT * FROM few LEFT JOIN item USING (id) WHERE item.id IS NULL');
SELECT plan('SELECT * FROM few, LATERAL (SELECT n FROM item WHERE item.id > few.id ORDER BY item.id LIMIT 1) l');
SELECT few.id, l.n FROM few, LATERAL (SELECT n FROM item WHERE item.id > few.id ORDER BY item.id LIMIT 1) l;
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT plan('SELECT a.n FROM item a JOIN item b ON a.id = b.id');
SELECT plan('SELECT a.n FROM item a LEFT JOIN item b ON a.id = b.id AND b.n > 3');
SELECT plan('SELECT a.n FROM item a FULL JOIN item b ON a.id = b.id');
RESET enable_hashjoin;
RESET enable_nestloop;
SELECT reltuples, relpages > 0 AS pages FROM pg_class WHERE oid = 'item'::regclass;
SELECT attname, n_distinct, null_frac FROM pg_stats WHERE schemaname = 'fdw_plans' AND tablename = 'item' AND attname IN ('id', 'n') ORDER BY attname;

-- Prepared statements
SET plan_cache_mode = force_generic_plan;
PREPARE by_key(text) AS SELECT n FROM item WHERE id = $1;
EXPLAIN (COSTS OFF) EXECUTE by_key('0003');
EXECUTE by_key('0003');
EXECUTE by_key('0004');
EXECUTE by_key(NULL);
PREPARE by_array(text[], int) AS SELECT n FROM item WHERE id = ANY ($1) ORDER BY id DESC LIMIT $2;
EXPLAIN (COSTS OFF) EXECUTE by_array('{0003,0005,x}', 5);
EXECUTE by_array('{0003,0005,x}', 5);
EXECUTE by_array('{0003,0005,x}', 1);
EXECUTE by_array(NULL, 1);
PREPARE by_pattern(text) AS SELECT n FROM item WHERE id LIKE $1;
EXPLAIN (COSTS OFF) EXECUTE by_pattern('000_');
EXECUTE by_pattern('%3_');
DEALLOCATE ALL;
RESET plan_cache_mode;

-- Cursors
BEGIN;
DECLARE forward CURSOR FOR SELECT n FROM item WHERE id > '0195' ORDER BY id;
DECLARE lookups SCROLL CURSOR FOR SELECT n FROM item WHERE id IN ('0001', '0002', '0003');
DECLARE held CURSOR WITH HOLD FOR SELECT n FROM item ORDER BY id DESC LIMIT 3;
FETCH 2 FROM forward;
FETCH ALL FROM lookups;
FETCH BACKWARD 2 FROM lookups;
SAVEPOINT s;
FETCH 1 FROM forward;
ROLLBACK TO s;
FETCH ALL FROM forward;
COMMIT;
FETCH ALL FROM held;
CLOSE held;

-- A connection that is closed, or changes, in the middle of a scan: when the
-- transaction ends.
SELECT count(norikv.disconnect()), count(id) FROM item;
SELECT count(*) FROM generate_series(1, 3) i, LATERAL (SELECT norikv.disconnect() IS NOT NULL, n FROM item WHERE id = to_char(i, 'FM0000') OFFSET 0) l;
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM item WHERE id = ANY (ARRAY(SELECT to_char(i, 'FM0000') FROM generate_series(1, 25) i));
FETCH 1 FROM c;
SELECT norikv.disconnect('fdw_plans') AS first, norikv.disconnect('fdw_plans') AS again;
ALTER SERVER fdw_plans OPTIONS (ADD timeout '7s');
SELECT n FROM item WHERE id = '0002';
MOVE ALL FROM c;
SELECT server_name, valid FROM norikv.connections() WHERE server_name = 'fdw_plans' ORDER BY valid;
COMMIT;

-- Views, partitions, inheritance, COPY, CTEs, rescans
CREATE VIEW wide AS SELECT item.*, length(name) AS long FROM item;
SELECT plan('SELECT * FROM wide WHERE id = ''0100''');
SELECT * FROM wide WHERE id = '0100' AND v IS NOT NULL \g (format=unaligned tuples_only=on) | sed 's/|[0-9]*\/[0-9]*|/|V|/'
CREATE TABLE parted (id text COLLATE "C", n int) PARTITION BY RANGE (id);
CREATE FOREIGN TABLE parted_low (id text OPTIONS (key 'true') COLLATE "C", n int)
	SERVER fdw_plans OPTIONS (prefix 'fdw_plans:item:00', format 'json');
ALTER TABLE parted ATTACH PARTITION parted_low FOR VALUES FROM (MINVALUE) TO ('A');
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM ('A') TO (MAXVALUE);
INSERT INTO parted VALUES ('B500', 500), ('B100', 100);
SELECT plan('SELECT * FROM parted WHERE id = ''B500''');
SELECT plan('SELECT * FROM parted WHERE id IN (''05'', ''B500'')');
SELECT tableoid::regclass, * FROM parted WHERE id IN ('05', 'B500') ORDER BY id;
SELECT plan('SELECT * FROM parted WHERE id LIKE ''0%'' ORDER BY id LIMIT 2');
SELECT * FROM parted WHERE id LIKE '0%' ORDER BY id LIMIT 2;
SELECT count(*) FROM parted;
COPY (SELECT id, n FROM item WHERE id < '0003') TO STDOUT;
WITH RECURSIVE walk AS (SELECT id, 1 AS step FROM item WHERE id = '0001'
	UNION ALL SELECT (SELECT min(id) FROM item WHERE item.id > walk.id), step + 1 FROM walk WHERE step < 4)
SELECT * FROM walk;
SELECT plan('SELECT (SELECT n FROM item WHERE id = few.id) FROM few', true);
SELECT i, (SELECT count(*) FROM item WHERE id ^@ ('00' || i::text)) FROM generate_series(0, 3) i;

-- Several servers in one plan
SELECT plan('SELECT id FROM item UNION ALL SELECT id::text FROM other', true);
SELECT count(*), sum(n) FROM (SELECT n FROM item UNION ALL SELECT n FROM other) both_of_them;

-- A number of a row means nothing to another scan: it would delete some other row.
SELECT ctid IS NULL AS unnumbered FROM item WHERE id = '0100';
DELETE FROM item WHERE ctid IN (SELECT ctid FROM item WHERE id = '0100');
WITH last AS MATERIALIZED (SELECT ctid AS row FROM item ORDER BY id DESC LIMIT 1) UPDATE item SET n = -1 FROM last WHERE last.row = item.ctid;
SELECT id FROM item WHERE ctid = '(0,1)';
SELECT count(*), min(n) FROM item;

-- A parallel query is none on a foreign table.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET force_parallel_mode = on;
SELECT plan('SELECT count(*) FROM many JOIN item USING (id) WHERE many.id < ''01''');
SELECT count(*) FROM many JOIN item USING (id) WHERE many.id < '01';
SELECT plan('SELECT n FROM item WHERE id = ''0001''');
RESET force_parallel_mode;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- Estimates without statistics come from the server; without a server EXPLAIN works.
CREATE FOREIGN TABLE counted (id text OPTIONS (key 'true') COLLATE "C", n int) SERVER fdw_plans OPTIONS (prefix 'fdw_plans:item:', format 'json');
EXPLAIN SELECT id FROM counted;
EXPLAIN SELECT id FROM counted WHERE id = ANY ('{1,2,3}');
-- Each key is there once: a join on it has no more rows than the other side.
SELECT norikv.mput(array_agg(format('fdw_plans:lots:%s', i)), array_agg('{}'::text)) AS put FROM generate_series(1, 2000) i;
CREATE FOREIGN TABLE lots (id text OPTIONS (key 'true') COLLATE "C") SERVER fdw_plans OPTIONS (prefix 'fdw_plans:lots:', format 'json');
EXPLAIN SELECT few.id FROM few JOIN lots USING (id) \g (format=unaligned tuples_only=on) | head -n 1 | sed 's/.*rows=/rows=/'
CREATE SERVER nowhere FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:/nonexistent/norikv.sock', timeout '100ms', connect_timeout '50ms');
CREATE FOREIGN TABLE lost (id text OPTIONS (key 'true') COLLATE "C", n int) SERVER nowhere OPTIONS (format 'json');
SELECT plan('SELECT * FROM lost');
\set VERBOSITY sqlstate
SELECT * FROM lost;
SELECT * FROM lost WHERE id = 'x';
\set VERBOSITY terse

SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan_bytes('fdw_plans:'::bytea, keys_only => true);
DROP SERVER fdw_plans, fdw_plans_2, nowhere CASCADE;
DROP SCHEMA fdw_plans CASCADE;
