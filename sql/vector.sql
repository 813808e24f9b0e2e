--
-- Indexes of vectors, and what is in them
--
SET search_path = public, norikv;
SET extra_float_digits = 0;
SELECT vector_create_index('vt:a', 3) AS created, vector_create_index('vt:a', 3, 'cosine', 'hnsw') AS again;
SELECT vector_create_index(namespace => 'vt:b', dimensions => 2, distance => 'EUCLIDEAN', index_type => 'brute_force') AS created;
SELECT vector_create_index('vt:c', 4096, 'inner_product') AS created;
SELECT * FROM vector_indexes() WHERE namespace LIKE 'vt:%';

-- One by one
SELECT vector_insert('vt:a', 'x', '{1,0,0}') < vector_insert('vt:a', 'y', ARRAY[0, 1, 0]) AS versions_grow;
SELECT vector_get('vt:a', 'x'), vector_get('vt:a', 'none') IS NULL AS absent;
SELECT vector_insert('vt:a', 'x', '{2,0,1}') IS NOT NULL AS replaced, vector_get('vt:a', 'x');
SELECT vector_delete('vt:a', 'y') AS deleted, vector_delete('vt:a', 'y') AS again, vector_get('vt:a', 'y') IS NULL AS gone;

-- Many
SELECT vector_insert_many('vt:b', '{a,b,c,a}', '{{0,0},{3,4},{1,1},{0,1}}'), vector_get('vt:b', 'a') AS the_last_one;
SELECT vector_insert_many('vt:b', ARRAY['d'], ARRAY[ARRAY[5, 5.5]]) AS "numeric", vector_insert_many('vt:b', '{e}', ARRAY[ARRAY[7, 7]]) AS "integer",
       vector_insert_many('vt:b', '{f}', ARRAY[ARRAY[9, 9]]::float8[]) AS float8, vector_insert_many('vt:b', '{}', '{}') AS none;
SELECT vector_insert_many('vt:b', array_agg('many' || i), array_agg(ARRAY[100 + i, i]::real[])) FROM generate_series(1, 3000) AS i;
SELECT vector_get('vt:b', 'many1'), vector_get('vt:b', 'many3000');
SELECT vectors FROM vector_indexes() WHERE namespace = 'vt:b';

-- Searches
SELECT * FROM vector_search('vt:b', '{0,0}', 3);
SELECT id, distance, vector FROM vector_search('vt:b', query => ARRAY[9, 9.5], k => 2, include_vectors => true);
SELECT count(*), count(DISTINCT id), bool_and(vector IS NULL) AS without_vectors FROM vector_search('vt:b', '{0,0}', 100000);
SELECT count(*) AS "default" FROM vector_search('vt:b', '{1,2}');
SELECT bool_and(abs(distance - (vector <-> '{7,3}')) < 1e-4) AS as_the_operator, bool_and(distance >= before) AS ascending
FROM (SELECT *, lag(distance, 1, 0::real) OVER () AS before FROM vector_search('vt:b', '{7,3}', 1000, true)) AS found;
-- Against double precision, for every distance and number of dimensions
CREATE TEMP TABLE measured (metric text, n int, id text, v real[], query real[]);
INSERT INTO measured SELECT metric, n, 'v' || i, array_agg((sin(i * j * 1.7) * 3)::real ORDER BY j), array_agg((cos(j * j) * 2)::real ORDER BY j)
FROM unnest('{euclidean,cosine,inner_product}'::text[]) AS metric, unnest('{1,3,128,384,1536,4096}'::int[]) AS n, generate_series(1, 7) AS i, generate_series(1, n) AS j GROUP BY metric, n, i;
SELECT count(*) AS created FROM (SELECT DISTINCT metric, n FROM measured) AS m WHERE vector_create_index('vt:' || metric || n, n, metric, CASE n % 2 WHEN 1 THEN 'hnsw' ELSE 'brute_force' END);
SELECT sum(vector_insert_many('vt:' || metric || n, ids, vectors)) AS inserted FROM (SELECT metric, n, array_agg(id) AS ids, array_agg(v) AS vectors FROM measured GROUP BY 1, 2) AS m;
SELECT q.metric, q.n, count(*), bool_and(f.vector = v) AS same, bool_and(abs(distance - d) <= 1e-5 * greatest(1, abs(d))) AS near
FROM (SELECT DISTINCT metric, n, query FROM measured) AS q, LATERAL vector_search('vt:' || metric || n, query, 100, true) AS f
	JOIN measured AS m USING (id), LATERAL (SELECT sqrt(sum((x::float8 - y) ^ 2)) AS l2, sum(x::float8 * y) AS xy, sum(x::float8 * x) AS xx, sum(y::float8 * y) AS yy FROM unnest(m.v, m.query) AS u(x, y)) AS s,
	LATERAL (SELECT CASE m.metric WHEN 'euclidean' THEN l2 WHEN 'cosine' THEN 1 - xy / sqrt(xx * yy) ELSE -xy END AS d) AS reference
WHERE m.metric = q.metric AND m.n = q.n GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS dropped FROM (SELECT DISTINCT metric, n FROM measured) AS m WHERE vector_drop_index('vt:' || metric || n);
SET norikv.ef_search = 500;
SELECT id FROM vector_search('vt:a', '{1,0,0}');
RESET norikv.ef_search;
-- Of each row of a table
SELECT v, id FROM (VALUES ('{0,0}'::real[]), ('{6,6}')) AS t(v), LATERAL vector_search('vt:b', v, 1);
SELECT count(*) FROM vector_search('vt:b', NULL), vector_get(NULL, 'x') AS n WHERE n IS NULL;
SELECT count(*) FROM vector_search('vt:b', '{1,2}', NULL);

-- pgvector's type, by its name
CREATE TYPE vector AS (elements real[]);
CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[] LANGUAGE sql IMMUTABLE AS 'SELECT ($1).elements';
CREATE CAST (vector AS real[]) WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;
SELECT vector_insert('vt:a', 'v', '("{0,0,5}")'::vector) IS NOT NULL AS inserted, vector_get('vt:a', 'v');
SELECT vector_insert_many('vt:a', '{v1,v2}', ARRAY['("{0,1,5}")', '("{0,2,5}")']::vector[]), vector_get('vt:a', 'v2');
SELECT id FROM vector_search('vt:a', '("{0,1,5}")'::vector, 1);
SELECT vector_insert_many('vt:a', '{v1,v2}', ARRAY['("{0,1,5}")', NULL]::vector[]);
SELECT vector_insert_many('vt:a', '{v1,v2}', ARRAY['("{0,1,5}")', '("{1}")']::vector[]);
DROP TYPE vector CASCADE;

-- What is refused
SELECT vector_create_index('vt:a', 4);
SELECT vector_create_index('vt:d', 0), vector_create_index('vt:d', 4097);
SELECT vector_create_index('vt:d', 4097);
SELECT vector_create_index('vt:d', 3, 'manhattan');
SELECT vector_create_index('vt:d', 3, index_type => 'ivf');
SELECT vector_create_index('', 3);
SELECT vector_create_index(repeat('x', 257), 3);
SELECT vector_create_index(NULL, 3);
SELECT vector_insert('vt:a', 'x', '{1,NULL,3}');
SELECT vector_insert('vt:a', 'x', '{1,NaN,3}');
SELECT vector_insert('vt:a', 'x', '{}');
SELECT vector_insert('vt:a', 'x', '{{1,2,3}}');
SELECT vector_insert('vt:a', '', '{1,2,3}');
SELECT vector_insert('vt:a', repeat('x', 513), '{1,2,3}');
SELECT vector_insert('vt:a', NULL, '{1,2,3}');
SELECT vector_insert_many('vt:b', '{a,b}', '{{1,2}}');
SELECT vector_insert_many('vt:b', '{a,NULL}', '{{1,2},{3,4}}');
SELECT vector_insert_many('vt:b', '{a,b}', '{1,2}');
SELECT vector_insert_many('vt:b', '{a,b}', '{{1,2},{3,infinity}}');
SELECT vector_insert_many('vt:b', '{a,b}', '{{{1,2},{3,4}}}');
SELECT vector_insert_many('vt:b', '{a,b}', 'nonsense');
SELECT vector_insert_many('vt:b', '{a,b}', ARRAY['1', '2']);
SELECT vector_insert_many('vt:b', '{a,b}', 1);
SELECT vector_search('vt:a', '{1,2,3}', 0);
SELECT vector_search('vt:a', '{1,NULL,3}');
\set VERBOSITY terse
SELECT vector_insert('vt:a', 'x', '{1,2}');
SELECT vector_insert('vt:a', 'x', '{0,0,0}');
SELECT vector_insert_many('vt:b', '{a,b}', '{{1,2,3},{4,5,6}}');
SELECT vector_search('vt:a', '{1,2}');
SELECT vector_search('vt:none', '{1,2}');
SELECT vector_insert('vt:none', 'x', '{1,2}');
SELECT vector_insert_many('vt:none', '{x}', '{{1,2}}');
SELECT vector_get('vt:none', 'x');
SELECT vector_delete('vt:none', 'x');
SELECT vector_drop_index('vt:none');
\set VERBOSITY sqlstate
SELECT vector_create_index('vt:a', 4);
SELECT vector_insert('vt:a', 'x', '{1,2}');
SELECT vector_insert_many('vt:b', '{a,b}', '{{1,2,3},{4,5,6}}');
SELECT vector_search('vt:none', '{1,2}');
SELECT vector_insert_many('vt:none', '{x}', '{{1,2}}');
\set VERBOSITY default
-- Nothing of those that were refused was written.
SELECT vector_get('vt:a', 'x'), vector_get('vt:b', 'a'), vector_get('vt:b', 'b');

-- READ ONLY transactions read.
BEGIN TRANSACTION READ ONLY;
SELECT id FROM vector_search('vt:b', '{0,0}', 1);
SAVEPOINT s;
SELECT vector_insert('vt:a', 'x', '{1,2,3}');
ROLLBACK TO s;
SELECT vector_insert_many('vt:a', '{x}', '{{1,2,3}}');
ROLLBACK TO s;
SELECT vector_delete('vt:a', 'x');
ROLLBACK TO s;
SELECT vector_create_index('vt:d', 3);
ROLLBACK TO s;
SELECT vector_drop_index('vt:a');
ROLLBACK;

-- Roles
CREATE ROLE regress_norikv_vectors;
SET ROLE regress_norikv_vectors;
SELECT vector_create_index('vt:d', 3);
SELECT vector_insert('vt:a', 'x', '{1,2,3}');
SELECT vector_insert_many('vt:a', '{x}', '{{1,2,3}}');
SELECT vector_get('vt:a', 'x');
SELECT vector_delete('vt:a', 'x');
SELECT vector_search('vt:a', '{1,2,3}');
SELECT vector_indexes();
SELECT '{1}'::real[] <-> '{2}' AS distances_are_for_all;
RESET ROLE;
GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO regress_norikv_vectors;
SET ROLE regress_norikv_vectors;
SELECT vector_get('vt:a', 'x');
SELECT vector_drop_index('vt:a');
RESET ROLE;
DROP OWNED BY regress_norikv_vectors;
DROP ROLE regress_norikv_vectors;

-- Text is UTF-8 on the wire.
SELECT vector_create_index('vt:ü', 2), vector_insert('vt:ü', 'ß', '{1,2}') IS NOT NULL AS inserted;
SELECT namespace, id FROM vector_indexes(), vector_search(namespace, '{1,2}') WHERE namespace = 'vt:ü';

SELECT vector_drop_index('vt:a') AS dropped, vector_drop_index('vt:a') AS again, vector_drop_index('vt:b'), vector_drop_index('vt:c'), vector_drop_index('vt:ü');
SELECT count(*) FROM vector_indexes() WHERE namespace LIKE 'vt:%';
