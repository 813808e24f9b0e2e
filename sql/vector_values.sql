--
-- Vectors and distances: no server is asked
--
SET search_path = public, norikv;
SET extra_float_digits = 0;
SELECT '{1,2,3}'::real[] <-> '{1,2,5}' AS l2, '{1,0}'::real[] <=> '{0,1}' AS cosine,
       '{1,2,3}'::real[] <#> '{4,5,6}' AS inner_product;
SELECT l2_distance('{0,3}'::real[], '{4,0}'::real[]), cosine_distance('{2,2}'::real[], '{-1,-1}'::real[]),
       negative_inner_product('{1}'::real[], '{2}'::real[]);
-- Whatever literal is on the right
SELECT '{1,2}'::real[] <-> ARRAY[1, 2.5] AS "numeric", '{1,2}'::real[] <-> ARRAY[1, 3] AS "integer",
       '{1,2}'::real[] <-> ARRAY[1, 2.5]::float8[] AS float8, ARRAY[1, 2]::real[] <-> '[5:6]={1,2}' AS bounds;
-- Domains, and columns
CREATE DOMAIN embedding AS real[] CHECK (array_length(value, 1) = 2);
CREATE TABLE points (id int, v embedding);
INSERT INTO points VALUES (1, '{0,0}'), (2, '{3,4}'), (3, '{1,1}'), (4, NULL);
SELECT id, v <-> '{0,0}' AS distance FROM points ORDER BY v <-> '{0,0}';
SELECT id FROM points ORDER BY v <=> ARRAY[1, 0.9], id;

-- Equal directions have no distance, whatever rounding does; opposite ones have 2.
SELECT count(*) FILTER (WHERE v <=> v <> 0) AS not_0, count(*) FILTER (WHERE v <-> v <> 0) AS not_0_either,
       count(*) FILTER (WHERE abs((v <=> w) - 2) > 1e-9) AS not_2
FROM generate_series(1, 300) AS n,
     LATERAL (SELECT array_agg((sin(n * i) * 10 ^ (n % 7))::real) AS v, array_agg((-sin(n * i) * 10 ^ (n % 7))::real) AS w
              FROM generate_series(1, n) AS i) AS made;

-- Against double precision, of every number of dimensions that leaves some over
SELECT max(abs((v <-> w) - l2) / greatest(l2, 1)) < 1e-12 AS l2, max(abs((v <#> w) + product) / greatest(abs(product), 1)) < 1e-12 AS inner_product,
       max(abs((v <=> w) - (1 - product / sqrt(vv * ww)))) < 1e-12 AS cosine
FROM unnest('{1,2,3,7,8,9,15,16,17,128,384,1536,4095,4096}'::int[]) AS n,
     LATERAL (SELECT array_agg(x ORDER BY i) AS v, array_agg(y ORDER BY i) AS w,
                     sqrt(sum((x::float8 - y) ^ 2)) AS l2, sum(x::float8 * y) AS product, sum(x::float8 * x) AS vv, sum(y::float8 * y) AS ww
              FROM (SELECT i, (sin(i * 1.7) * 3)::real AS x, (cos(i * i) * 2)::real AS y FROM generate_series(1, n) AS i) AS elements) AS made;
-- Nothing that is finite overflows.
SELECT '{3e38,-3e38}'::real[] <-> '{-3e38,3e38}' AS l2, '{3e38}'::real[] <#> '{3e38}' AS inner_product,
       '{3e38,1}'::real[] <=> '{3e38,1}' AS cosine, '{1e-45}'::real[] <=> '{1e-45}' AS tiny;
-- A zero vector has no direction: last, as pgvector has it.
SELECT '{0,0}'::real[] <=> '{1,2}' AS zero;
SELECT '{1}'::real[] <-> NULL AS is_null;

-- What is no vector
SELECT '{1,NULL,NULL}'::real[] <-> '{1,2,4}';
SELECT '{1,2,4}'::real[] <-> '{NULL,2,4}'::float8[];
SELECT '{1,NaN,infinity,-infinity}'::real[] <-> '{1,2,4}';
SELECT '{1}'::real[] <-> '{NaN}'::numeric[];
SELECT '{{1,2},{3,4}}'::real[] <-> '{1,2}';
SELECT '{}'::real[] <-> '{}';
SELECT '{1}'::real[] <-> array_fill(1::real, '{4097}');
SELECT '{1,2}'::real[] <-> '{1,2,3}';
SELECT '{1,2}'::real[] <-> '{1,1e39}'::float8[];
SELECT '{1,2}'::real[] <-> '{1,-1e400}'::numeric[];
\set VERBOSITY sqlstate
SELECT '{1,NULL}'::real[] <-> '{1,2}';
SELECT '{1,2}'::real[] <-> '{1,2,3}';
SELECT '{1,2}'::real[] <-> '{1,1e39}'::float8[];
\set VERBOSITY default

-- They are computed when a query is planned, and may run in parallel.
EXPLAIN (COSTS OFF, VERBOSE) SELECT '{1,2}'::real[] <-> '{1,4}' AS two;
SELECT oprname, provolatile, proparallel, proisstrict, count(*)
FROM pg_operator JOIN pg_proc ON pg_proc.oid = oprcode
WHERE oprnamespace = 'norikv'::regnamespace AND oprname IN ('<->', '<=>', '<#>') GROUP BY 1, 2, 3, 4 ORDER BY 1;

-- A type called vector with a cast to real[], as pgvector's
CREATE TYPE vector AS (elements real[]);
CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[] LANGUAGE sql IMMUTABLE AS 'SELECT ($1).elements';
CREATE CAST (vector AS real[]) WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;
SELECT '("{1,2}")'::vector <-> '("{1,5}")'::vector AS both, '("{1,2}")'::vector <=> '{2,4}'::real[] AS "left", '{1,2}'::real[] <#> '("{1,5}")'::vector AS "right";

DROP TYPE vector CASCADE;
DROP TABLE points;
DROP DOMAIN embedding;
