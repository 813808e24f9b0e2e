-- Semantic search, recommendations and duplicates over the packages of this machine: their
-- descriptions become vectors, by the embedder that is built in and knows nothing but
-- the letters. After packages.sql, which stores the packages.
\pset footer off
\timing off
SET client_min_messages = warning;
\set ECHO queries

CREATE TEMPORARY TABLE described AS
SELECT substr(key, 5) AS name, value::jsonb ->> 'section' AS section,
	regexp_replace(value::jsonb ->> 'description', '\s+', ' ', 'g') AS description
FROM norikv.scan('pkg:')
WHERE value::jsonb ? 'description';

\echo '===== Search by words that need not be there'
\echo
\timing on
SELECT count(norikv.document_index(name, name, description)) AS indexed FROM described;
\timing off
\echo
SELECT round(score::numeric, 2) AS score, id, left(content, 60) AS content
FROM norikv.document_search('compress and decompress files', 5);
\echo
SELECT round(score::numeric, 2) AS score, id, left(content, 60) AS content
FROM norikv.document_search('web server written in a scripting language', 5);

\echo
\echo What has been indexed:
SELECT namespace, dimensions, distance, index_type, vectors FROM norikv.vector_indexes();

\echo
\echo '===== The same vectors as a table: ordered by distance, filtered, joined'
\echo
CREATE FOREIGN TABLE described_vector (
	id text OPTIONS (key 'true') COLLATE "C",
	embedding real[] OPTIONS (vector 'true'),
	distance real OPTIONS (distance 'true')
) SERVER norikv OPTIONS (namespace 'documents');
PREPARE like_this(text) AS
SELECT id, section, round(distance::numeric, 2) AS distance
FROM described_vector JOIN described ON name = id
WHERE section <> 'libs'
ORDER BY embedding OPERATOR(norikv.<=>) (SELECT norikv.embed($1)) LIMIT 5;
EXECUTE like_this('compression');
\echo
EXPLAIN (COSTS OFF)
SELECT id FROM described_vector
ORDER BY embedding OPERATOR(norikv.<=>) (SELECT norikv.embed('compression')) LIMIT 5;

\echo
\echo '===== Near-duplicates'
\echo
SELECT is_duplicate, duplicate_of, round(similarity::numeric, 2) AS similarity
FROM norikv.dedup_check('one', 'The quick brown fox jumps over the lazy dog.', 0.6);
SELECT is_duplicate, duplicate_of, round(similarity::numeric, 2) AS similarity
FROM norikv.dedup_check('two', 'A quick brown fox jumped over a lazy dog.', 0.6);
SELECT is_duplicate, duplicate_of, round(similarity::numeric, 2) AS similarity
FROM norikv.dedup_check('three', 'Machine learning is transforming industries.', 0.6);
\echo
\echo Packages whose descriptions are nearly the same:
SELECT name, duplicate_of, round(similarity::numeric, 2) AS similarity
FROM (SELECT name, description FROM described ORDER BY name) AS described,
	LATERAL norikv.dedup_check(name, description, 0.9)
WHERE is_duplicate
ORDER BY similarity DESC, name LIMIT 5;

\echo
\echo '===== Recommendations: who looked at these may want those'
\echo
SELECT count(norikv.product_index(name, name, description, section)) AS products FROM described;
SELECT norikv.interaction_record('ann', 'gzip'), norikv.interaction_record('ann', 'bzip2');
SELECT round(score::numeric, 2) AS score, product_id, category FROM norikv.recommendations('ann', 5);
\echo
SELECT round(score::numeric, 2) AS score, product_id, category FROM norikv.similar_products('bash', 5);
