-- Foreign tables of vectors: their definition, plans, rows and changes.
\set VERBOSITY default
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
RESET client_min_messages;
CREATE SCHEMA vector_fdw;
SET search_path = vector_fdw, norikv, public;
CREATE SERVER vector_server FOREIGN DATA WRAPPER norikv;
SET norikv.server = vector_server;
SELECT vector_create_index('vfdw', 2, 'euclidean', 'brute_force');
CREATE FOREIGN TABLE points (
	id text OPTIONS (key 'true') COLLATE "C",
	place real[] OPTIONS (vector 'true'),
	distance real OPTIONS (distance 'true'),
	v version OPTIONS (version 'true')
) SERVER vector_server OPTIONS (namespace 'vfdw');
INSERT INTO points (id, place) SELECT 'p' || i, ARRAY[i, 0] FROM generate_series(0, 9) i;

-- Plans. The order of the operator of the index's distance is the index's.
EXPLAIN (costs off) SELECT id, distance FROM points ORDER BY place <-> '{3.2,0}' LIMIT 3;
SELECT id, place, distance FROM points ORDER BY place <-> '{3.2,0}' LIMIT 3;
EXPLAIN (costs off) SELECT id FROM points ORDER BY '{3.2,0}' <-> place LIMIT 3 OFFSET 2;
SELECT id FROM points ORDER BY '{3.2,0}' <-> place LIMIT 3 OFFSET 2;
EXPLAIN (costs off) SELECT id FROM points ORDER BY l2_distance(place, ARRAY[3.2, 0]) LIMIT 1;
SELECT id FROM points ORDER BY l2_distance(place, ARRAY[3.2, 0]) LIMIT 1;
-- Filters are looked at here, and the scan goes on until LIMIT is filled.
EXPLAIN (costs off) SELECT id FROM points WHERE id > 'p5' AND place[1] <> 8 ORDER BY place <-> '{0,0}' LIMIT 2;
SELECT id, distance FROM points WHERE id > 'p5' AND place[1] <> 8 ORDER BY place <-> '{0,0}' LIMIT 2;
SELECT id, distance FROM points WHERE distance > 7.5 ORDER BY place <-> '{0,0}' LIMIT 5;
-- Behind the distance another order: groups of one distance are sorted.
EXPLAIN (costs off) SELECT id, distance FROM points ORDER BY place <-> '{3,0}', id DESC LIMIT 3;
SELECT id, distance FROM points ORDER BY place <-> '{3,0}', id DESC LIMIT 3;
-- By name where that is cheaper; the distance is the same.
EXPLAIN (costs off) SELECT id, distance FROM points WHERE id = 'p7';
SET enable_sort = off;
SELECT id, distance FROM points WHERE id IN ('p7', 'p1', 'nowhere') ORDER BY place <-> '{2,0}';
RESET enable_sort;
EXPLAIN (costs off) SELECT * FROM points WHERE id = ANY ('{p7,p1}');
SELECT id, place, distance, v IS NOT NULL AS v FROM points WHERE id = ANY ('{p7,p1}');
-- Other operators, and the farthest first, are sorted here, and EXPLAIN says why.
EXPLAIN (costs off) SELECT id FROM points ORDER BY place <#> '{3,0}' LIMIT 2;
SELECT id, distance FROM points ORDER BY place <#> '{3,0}' LIMIT 2;
EXPLAIN (costs off) SELECT id FROM points ORDER BY place <-> '{3,0}' DESC LIMIT 2;
SELECT id, distance FROM points ORDER BY place <-> '{3,0}' DESC LIMIT 2;
EXPLAIN (costs off) SELECT id FROM points ORDER BY place <-> (embed('a text'))[1:2] LIMIT 2;
SELECT count(*), count(distance) FROM (SELECT * FROM points ORDER BY place <-> ARRAY[random(), random()]) p;
EXPLAIN (costs off) SELECT id FROM points ORDER BY place <-> (SELECT (embed('a text'))[1:2]) LIMIT 2;
-- Sets, groups, subqueries, views.
SELECT DISTINCT id, place <-> '{3.25,0}' AS far FROM points ORDER BY place <-> '{3.25,0}' LIMIT 3;
EXPLAIN (costs off) SELECT DISTINCT ON (place <-> '{3,0}') id FROM points ORDER BY place <-> '{3,0}' LIMIT 3;
SELECT DISTINCT ON (place <-> '{3,0}') id FROM points ORDER BY place <-> '{3,0}', id LIMIT 3;
SELECT place <-> '{3,0}' AS far, count(*) FROM points GROUP BY 1 ORDER BY 1 LIMIT 3;
(SELECT id FROM points ORDER BY place <-> '{3,0}', id LIMIT 2) UNION (SELECT id FROM points ORDER BY place <-> '{9,0}' LIMIT 2) ORDER BY id;
(SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT 4) EXCEPT (SELECT id FROM points ORDER BY place <-> '{4,0}' LIMIT 3);
SELECT a.id, b.id AS nearest FROM points a, LATERAL (SELECT id FROM points b WHERE b.id <> a.id ORDER BY b.place <-> a.place LIMIT 1) b WHERE a.id IN ('p0', 'p9');
SELECT 'p5' = ANY (SELECT id FROM points ORDER BY place <-> '{4,0}' LIMIT 3) AS near, EXISTS (SELECT FROM points ORDER BY place <-> '{4,0}' OFFSET 10) AS eleven;
CREATE VIEW near_three AS SELECT id, distance FROM points ORDER BY place <-> '{3,0}' LIMIT 2;
SELECT * FROM near_three;
CREATE VIEW some_points AS SELECT id, place, distance FROM points;
EXPLAIN (costs off) SELECT id, distance FROM some_points ORDER BY place <-> '{3,0}' LIMIT 2;
SELECT count(*) FROM (SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT 9223372036854775807 OFFSET 3) p;
SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT NULL OFFSET 8;
SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT -1;
-- The order of the ids.
EXPLAIN (costs off) SELECT id FROM points ORDER BY id DESC LIMIT 2;
SELECT id, distance FROM points ORDER BY id DESC LIMIT 2;
SELECT id FROM points WHERE id >= 'p3' AND id < 'p5';
SELECT count(*), min(id), max(place[1]) FROM points;
EXPLAIN (costs off) SELECT count(*) FROM points;
SELECT count(*) FROM points;
SELECT count(*) FROM points WHERE id LIKE 'p%' AND id < 'p4';
-- No vector, and none that has a direction.
SELECT count(*), count(distance) FROM (SELECT * FROM points ORDER BY place <-> NULL) p;
SELECT id, distance FROM points ORDER BY place <-> '{1,2,3}' LIMIT 1;
SELECT id, distance FROM points ORDER BY place <-> '{1,NaN}' LIMIT 1;
EXPLAIN (costs off) SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT 0;
SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT 0;

-- Parameters.
PREPARE nearest(real[], int) AS SELECT id, distance FROM points ORDER BY place <-> $1 LIMIT $2;
EXPLAIN (costs off) EXECUTE nearest('{5,0}', 2);
EXECUTE nearest('{5,0}', 2);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (costs off) EXECUTE nearest('{5,0}', 2);
EXECUTE nearest('{5,0}', 2);
EXECUTE nearest('{8.4,0}', 3);
EXECUTE nearest(NULL, 1);
EXPLAIN (costs off) SELECT id FROM points ORDER BY place <-> (SELECT place FROM points WHERE id = 'p6') LIMIT 2;
SELECT id FROM points ORDER BY place <-> (SELECT place FROM points WHERE id = 'p6') LIMIT 2;
RESET plan_cache_mode;
CREATE TABLE queries AS SELECT i AS n, ARRAY[i, 0]::real[] AS q FROM generate_series(0, 9) i;
EXPLAIN (costs off) SELECT n, p.* FROM queries, LATERAL (SELECT id, distance FROM points ORDER BY place <-> q LIMIT 5) p;
SELECT n, string_agg(id, ' ' ORDER BY distance, id) FROM queries, LATERAL (SELECT id, distance FROM points ORDER BY place <-> q LIMIT 5) p GROUP BY n ORDER BY n;
SELECT n, (SELECT id FROM points WHERE id <> 'p' || n ORDER BY place <-> q LIMIT 1) AS nearest FROM queries ORDER BY n;
-- Vectors of pgvector, by their name.
CREATE TYPE vector AS (elements real[]);
CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[] LANGUAGE sql IMMUTABLE AS 'SELECT ($1).elements';
CREATE CAST (vector AS real[]) WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;
EXPLAIN (costs off) SELECT id FROM points ORDER BY place <-> '("{7,0}")'::vector LIMIT 2;
SELECT id FROM points ORDER BY place <-> '("{7.1,0}")'::vector LIMIT 2;
CREATE TABLE pgvectors AS SELECT n, ROW(q)::vector AS q FROM queries;
SELECT n, p.id FROM pgvectors, LATERAL (SELECT id FROM points ORDER BY q <-> place LIMIT 1) p WHERE n > 6 ORDER BY n;
BEGIN;
INSERT INTO points (id, place) SELECT 'pg' || n, q FROM pgvectors WHERE n < 2 RETURNING id, place;
UPDATE points SET place = '("{1,1}")'::vector WHERE id = 'pg1' RETURNING id, place;
ROLLBACK;
DROP TABLE pgvectors;
DROP TYPE vector CASCADE;
-- In joins, with an order of the whole.
EXPLAIN (costs off) SELECT n, id FROM points JOIN queries ON id = 'p' || n ORDER BY place <-> '{4,0}' LIMIT 2;
SELECT n, id, distance FROM points JOIN queries ON id = 'p' || n ORDER BY place <-> '{4,0}' LIMIT 2;
SELECT n, id, distance FROM queries LEFT JOIN points ON id = 'p' || n WHERE n > 7 ORDER BY n;
-- Partitions, and what is put together otherwise: searches that are merged.
SELECT vector_create_index('vfdw more', 2, 'euclidean', 'hnsw');
CREATE TABLE parted (id text COLLATE "C", place real[], far real) PARTITION BY LIST (substr(id, 1, 1));
CREATE FOREIGN TABLE part_p (id text OPTIONS (key 'true') COLLATE "C", place real[] OPTIONS (vector 'true'), far real OPTIONS (distance 'true')) SERVER vector_server OPTIONS (namespace 'vfdw');
CREATE FOREIGN TABLE part_q (id text OPTIONS (key 'true') COLLATE "C", place real[] OPTIONS (vector 'true'), far real OPTIONS (distance 'true')) SERVER vector_server OPTIONS (namespace 'vfdw more');
ALTER TABLE parted ATTACH PARTITION part_p FOR VALUES IN ('p');
ALTER TABLE parted ATTACH PARTITION part_q FOR VALUES IN ('q');
INSERT INTO parted SELECT 'q' || i, ARRAY[i + 0.4, 0] FROM generate_series(0, 9) i;
EXPLAIN (costs off) SELECT id, far FROM parted ORDER BY place <-> '{5,0}' LIMIT 4;
SELECT id, round(far::numeric, 3) AS far FROM parted ORDER BY place <-> '{5,0}' LIMIT 4;
SELECT id FROM (SELECT * FROM part_p UNION ALL SELECT * FROM part_q) u ORDER BY place <-> '{5,0}' LIMIT 4;
SELECT id, row_number() OVER (ORDER BY place <-> '{5,0}') FROM part_q LIMIT 2;
SELECT vector_drop_index('vfdw more');
DROP TABLE parted;
-- Cursors, and rows behind the first page.
BEGIN;
DECLARE near CURSOR FOR SELECT id, distance FROM points ORDER BY place <-> '{9,0}';
FETCH 2 FROM near;
FETCH 4 FROM near;
FETCH ALL FROM near;
COMMIT;
BEGIN;
DECLARE near SCROLL CURSOR FOR SELECT id FROM points ORDER BY place <-> '{9,0}';
FETCH 3 FROM near;
FETCH BACKWARD 2 FROM near;
FETCH LAST FROM near;
FETCH FIRST FROM near;
COMMIT;
BEGIN;
DECLARE near CURSOR WITH HOLD FOR SELECT id, distance FROM points ORDER BY place <-> '{9,0}' LIMIT 2;
COMMIT;
FETCH ALL FROM near;
CLOSE near;
SET norikv.ef_search = 7;
SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT 1;
RESET norikv.ef_search;

-- Changes, in the transaction.
BEGIN;
INSERT INTO points VALUES ('new', '{2.9,0}', 99, '7/7') RETURNING id, place, distance, v;
UPDATE points SET place = '{3.05,0}' WHERE id = 'p9' RETURNING id, place;
DELETE FROM points WHERE id = 'p3' RETURNING id, place, distance;
SELECT id, distance, v IS NULL AS unwritten FROM points ORDER BY place <-> '{3,0}' LIMIT 4;
SELECT count(*) FROM points;
SELECT ops FROM pending_writes();
SAVEPOINT s;
UPDATE points SET place = '{3,0.5}';
SELECT id, distance FROM points ORDER BY place <-> '{3,0}' LIMIT 2;
ROLLBACK TO s;
SELECT id, distance FROM points ORDER BY place <-> '{3,0}' LIMIT 2;
TRUNCATE points;
SELECT count(*) FROM points;
SELECT id FROM points ORDER BY place <-> '{3,0}';
INSERT INTO points VALUES ('p3', '{3,3}');
SELECT id, place FROM points;
ROLLBACK TO s;
UPDATE points SET id = 'moved' WHERE id = 'p0';
SELECT count(*) FROM vector_search('vfdw', '{0,0}', 100);
COMMIT;
SELECT id, place FROM points;
SELECT id, vector FROM vector_search('vfdw', '{0,0}', 100, true) ORDER BY id;
-- A command does not see what it inserts.
INSERT INTO points SELECT id || '+', place FROM points;
SELECT count(*) FROM points;
DELETE FROM points WHERE id LIKE '%+';
COPY points (id, place) FROM stdin;
c1	{7,7}
c2	{8,8}
\.
SELECT id, distance FROM points ORDER BY place <-> '{7,7}' LIMIT 2;

-- Keys and vectors of one store commit as one.
CREATE FOREIGN TABLE titles (key text OPTIONS (key 'true') COLLATE "C", value text OPTIONS (value 'true')) SERVER vector_server OPTIONS (prefix 'vfdw:');
BEGIN;
INSERT INTO points VALUES ('both', '{50,0}');
INSERT INTO titles VALUES ('both', 'a title');
SELECT ops FROM pending_writes();
COMMIT;
SELECT (SELECT split_part(v::text, '/', 2) FROM points WHERE id = 'both') = split_part(version::text, '/', 2) AS one_unit FROM entry('vfdw:both');
\set VERBOSITY terse
BEGIN;
INSERT INTO titles VALUES ('half', 'a title');
UPDATE points SET place = '{51,0}' WHERE id = 'both';
SELECT vector_insert('vfdw', 'both', '{52,0}') IS NOT NULL AS changed_by_another;
COMMIT;
SELECT (SELECT count(*) FROM titles WHERE key = 'half') AS titles, place FROM points WHERE id = 'both';

-- Conflicts.
INSERT INTO points VALUES ('p1', '{1,1}');
INSERT INTO points VALUES ('twice', '{1,1}'), ('twice', '{1,2}');
INSERT INTO points VALUES ('p1', '{1,1}'), ('p11', '{11,0}') ON CONFLICT DO NOTHING;
BEGIN;
INSERT INTO points VALUES ('late', '{1,1}');
SELECT vector_insert('vfdw', 'late', '{52,0}') IS NOT NULL AS created_by_another;
COMMIT;
BEGIN;
DELETE FROM points WHERE id = 'late';
SELECT vector_insert('vfdw', 'late', '{53,0}') IS NOT NULL AS changed_by_another;
COMMIT;
SELECT place FROM points WHERE id = 'late';
SELECT v AS seen FROM points WHERE id = 'late' \gset
UPDATE points SET place = '{54,0}' WHERE id = 'late' AND v = :'seen';
UPDATE points SET place = '{55,0}' WHERE id = 'late' AND v = :'seen';
SELECT place FROM points WHERE id = 'late';

-- What is no row, or cannot be done.
INSERT INTO points VALUES ('bad', '{1,2,3}');
INSERT INTO points VALUES ('bad', '{1,NULL}');
INSERT INTO points VALUES ('bad', '{1,Infinity}');
INSERT INTO points VALUES ('bad', '{{1,2}}');
INSERT INTO points VALUES ('bad', '{}');
INSERT INTO points VALUES ('bad', '[0:1]={1,NaN}');
INSERT INTO points VALUES ('good', '[0:1]={1,2}') RETURNING place;
DELETE FROM points WHERE id = 'good';
-- In the statement, not when it commits.
BEGIN;
INSERT INTO points VALUES ('long', '{2e18,1}');
ROLLBACK;
BEGIN;
UPDATE points SET place = '{1,-1e30}' WHERE id = 'p1';
ROLLBACK;
INSERT INTO points VALUES ('bad', NULL);
INSERT INTO points VALUES (NULL, '{1,2}');
INSERT INTO points VALUES ('', '{1,2}');
INSERT INTO points VALUES (repeat('x', 513), '{1,2}');
INSERT INTO points VALUES (repeat('x', 512), '{1,2}');
DELETE FROM points WHERE id = repeat('x', 512);
SELECT count(*) FROM points WHERE id = repeat('x', 513);
UPDATE points SET distance = 1;
UPDATE points SET v = '1/1';
SELECT id, place FROM points WHERE id = 'p1' FOR UPDATE;
DELETE FROM points WHERE ctid IN (SELECT ctid FROM points);
SELECT vector_create_index('vfdw cosine', 2, 'cosine', 'hnsw');
CREATE FOREIGN TABLE angles (key varchar, vector real[], distance real) SERVER vector_server OPTIONS (namespace 'vfdw cosine');
INSERT INTO angles VALUES ('zero', '{0,0}');
INSERT INTO angles VALUES ('short', '{1e-19,0}');
INSERT INTO angles VALUES ('short', '{1e-45,0}');
INSERT INTO angles VALUES ('x', '{2,0}'), ('y', '{0,2}'), ('xy', '{1,1}');
EXPLAIN (costs off) SELECT key FROM angles ORDER BY vector <=> '{1,0.1}' LIMIT 2;
SELECT key, round(distance::numeric, 3) FROM angles ORDER BY vector <=> '{1,0.1}';
SELECT count(*), count(distance) FROM (SELECT * FROM angles ORDER BY vector <=> '{0,0}') a;
-- The index is made anew, and a plan is older.
SET plan_cache_mode = force_generic_plan;
PREPARE angle(real[]) AS SELECT key FROM angles ORDER BY vector <=> $1 LIMIT 1;
EXECUTE angle('{1,0.1}');
SELECT vector_drop_index('vfdw cosine'), vector_create_index('vfdw cosine', 2, 'euclidean', 'hnsw');
INSERT INTO angles VALUES ('x', '{20,0}'), ('y', '{0,2}');
EXECUTE angle('{1,0.1}');
EXECUTE angle('{1,0.1}');
RESET plan_cache_mode;
SELECT vector_drop_index('vfdw cosine');
SELECT * FROM angles;
SELECT key FROM angles ORDER BY vector <-> '{1,1}' LIMIT 1;
INSERT INTO angles VALUES ('x', '{1,1}');
EXPLAIN (costs off) SELECT key FROM angles ORDER BY vector <-> '{1,1}' LIMIT 1;

-- Options.
CREATE FOREIGN TABLE other (id text OPTIONS (key 'true'), place real[] OPTIONS (vector 'true')) SERVER vector_server OPTIONS (namespace 'vfdw', on_insert 'replace');
INSERT INTO other VALUES ('p1', '{1,5}'), ('p1', '{1,6}');
SELECT place FROM points WHERE id = 'p1';
ALTER FOREIGN TABLE other OPTIONS (ADD write_mode 'immediate');
BEGIN;
INSERT INTO other VALUES ('at once', '{60,0}');
UPDATE other SET place = '{1,7}' WHERE id = 'p1';
DELETE FROM other WHERE id = 'c1';
ROLLBACK;
SELECT id, place FROM points WHERE id IN ('at once', 'p1', 'c1');
ALTER FOREIGN TABLE other OPTIONS (SET on_insert 'error');
INSERT INTO other VALUES ('p1', '{1,6}');
CREATE FOREIGN TABLE wrong (id text OPTIONS (key 'true'), place real[] OPTIONS (vector 'true')) SERVER vector_server OPTIONS (namespace '');
CREATE FOREIGN TABLE wrong (id text OPTIONS (key 'true'), place real[] OPTIONS (vector 'true')) SERVER vector_server OPTIONS (namespace 'n', prefix 'p');
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong OPTIONS (DROP prefix);
ALTER FOREIGN TABLE wrong ALTER place TYPE text;
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong ALTER place TYPE real[], ADD far double precision OPTIONS (distance 'true');
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong DROP far, ADD t interval OPTIONS (ttl 'true');
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong DROP t, ADD more int;
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong DROP more, ALTER id TYPE bytea;
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong ALTER id TYPE text, ALTER place OPTIONS (DROP vector);
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong DROP place;
SELECT * FROM wrong;
ALTER FOREIGN TABLE wrong ADD place real[] OPTIONS (vector 'true'), OPTIONS (DROP namespace);
SELECT * FROM wrong;
CREATE FOREIGN TABLE numbered (id bigint OPTIONS (key 'true'), place real[] OPTIONS (vector 'true')) SERVER vector_server OPTIONS (namespace 'vfdw');
INSERT INTO numbered VALUES (41, '{41,0}');
SELECT * FROM numbered WHERE id = 41;
DELETE FROM numbered WHERE id = 41;

-- ANALYZE, IMPORT FOREIGN SCHEMA.
ANALYZE points;
SELECT reltuples FROM pg_class WHERE oid = 'points'::regclass;
EXPLAIN (costs off) SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT 1;
CREATE SCHEMA imported;
IMPORT FOREIGN SCHEMA store LIMIT TO (vfdw, vfdw_vectors) FROM SERVER vector_server INTO imported;
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attfdwoptions, f.ftoptions
	FROM pg_foreign_table f JOIN pg_class c ON c.oid = f.ftrelid JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = 'imported'::regnamespace AND a.attnum > 0 ORDER BY c.relname, a.attnum;
SELECT id, distance FROM imported.vfdw_vectors ORDER BY embedding <-> '{3,0}' LIMIT 1;
-- Keys have that name, too.
SELECT put('vfdw_vectors:a', 'x') IS NOT NULL AS put;
DROP FOREIGN TABLE imported.vfdw, imported.vfdw_vectors;
IMPORT FOREIGN SCHEMA store LIMIT TO (vfdw, vfdw_vectors) FROM SERVER vector_server INTO imported;
SELECT ftrelid::regclass, ftoptions FROM pg_foreign_table WHERE ftrelid::regclass::text LIKE 'imported.%' ORDER BY 1::text;
SELECT delete('vfdw_vectors:a');

-- Roles: what they need is SELECT on the table, and its owner USAGE on the server.
CREATE ROLE vector_reader;
CREATE ROLE vector_owner;
GRANT USAGE ON SCHEMA vector_fdw, norikv TO vector_reader, vector_owner;
GRANT CREATE ON SCHEMA vector_fdw TO vector_owner;
SET ROLE vector_reader;
SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT 1;
RESET ROLE;
GRANT SELECT ON points TO vector_reader;
SET ROLE vector_reader;
SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT 1;
DELETE FROM points;
SET ROLE vector_owner;
CREATE FOREIGN TABLE mine (id text OPTIONS (key 'true'), place real[] OPTIONS (vector 'true')) SERVER vector_server OPTIONS (namespace 'vfdw');
RESET ROLE;
BEGIN READ ONLY;
DELETE FROM points;
ROLLBACK;

-- Another tenant has another index of the name.
SET norikv.tenant = 'vfdw';
SELECT count(*) FROM points;
SELECT vector_create_index('vfdw', 3, 'cosine', 'brute_force');
INSERT INTO points VALUES ('theirs', '{1,2,3}');
SELECT id, round(distance::numeric, 3) FROM points ORDER BY place <=> '{1,2,3}' LIMIT 1;
SELECT vector_drop_index('vfdw');
RESET norikv.tenant;
SELECT count(*) FROM points WHERE id = 'theirs';
EXPLAIN (costs off) SELECT id FROM points ORDER BY place <-> '{3,0}' LIMIT 1;

SELECT vector_drop_index('vfdw');
TRUNCATE titles;
DROP OWNED BY vector_reader, vector_owner;
DROP ROLE vector_reader, vector_owner;
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SERVER vector_server CASCADE;
DROP SCHEMA vector_fdw, imported CASCADE;
