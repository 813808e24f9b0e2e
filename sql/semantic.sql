--
-- Semantic search, recommendations, deduplication: keys and documents are those of
-- other programs
--
SET search_path = public, norikv;
SET extra_float_digits = 0;

-- ---- Documents ----

-- Before there is an index there is nothing to find.
SELECT * FROM document_search('anything');
SELECT document_delete('doc1');
SELECT document_index('doc1', 'Machine Learning', 'Machine learning is a subset of AI.');
SELECT document_index('doc2', 'Deep Learning', 'Deep learning uses neural networks.');
SELECT document_index('doc3', 'Bread', 'Flour, water, salt and yeast.');
SELECT id, title, content, round(score::numeric, 2) AS score FROM document_search('neural networks learn deeply', 2);
SELECT id FROM document_search('yeast and flour', k => 1);
SELECT get('doc:meta:doc1'), array_dims(vector_get('documents', 'doc1'));
SELECT namespace, dimensions, distance, index_type, vectors FROM vector_indexes() WHERE namespace = 'documents';
SELECT get('vector:embedder:documents');
-- However many there are: one search, one request for the documents.
SELECT stat_reset();
SELECT count(*) FROM document_search('neural networks learn deeply', 3);
SELECT operation, calls FROM stat_calls WHERE server = 'norikv' AND calls > 0 ORDER BY operation;
-- Its vector is that of title and content.
SELECT vector_get('documents', 'doc3') = embed('Bread Flour, water, salt and yeast.') AS as_in_the_pattern;

-- Indexing again replaces, and keeps what norikv does not know.
SELECT update('doc:meta:doc3', 'jsonb_concat(jsonb,jsonb)', '{"author": "baker"}') ->> 'author' AS author;
SELECT document_index('doc3', 'Rye bread', 'Rye flour, water, salt.');
SELECT get_json('doc:meta:doc3') = '{"title": "Rye bread", "content": "Rye flour, water, salt.", "author": "baker"}' AS kept;
SELECT id, title FROM document_search('rye', 1);
-- A vector whose document is missing is left out, as in the pattern.
SELECT delete('doc:meta:doc3');
SELECT count(*) FROM document_search('rye', 10);
SELECT document_delete('doc3') AS the_vector_is_left, document_delete('doc3') AS again;
-- One that another program wrote is found.
SELECT put('doc:meta:doc4', '{"content": "Saws and hammers.", "title": "Tools", "stars": 5}'::jsonb) IS NOT NULL AS put,
       vector_insert('documents', 'doc4', embed('Tools Saws and hammers.')) IS NOT NULL AS inserted;
SELECT id, title, content FROM document_search('hammer', 1);
-- A broken one is an error that names the key, and is not overwritten.
SELECT put('doc:meta:doc4', 'no JSON') IS NOT NULL AS put;
SELECT id FROM document_search('hammer', 1);
SELECT document_index('doc4', 'Tools', 'Saws and hammers.');
SELECT put('doc:meta:doc4', '{"title": 1, "content": "x"}') IS NOT NULL AS put;
SELECT id FROM document_search('hammer', 1);
SELECT get('doc:meta:doc4');
SELECT document_delete('doc4');

-- What is refused
SELECT document_index('x', '', ' ');
SELECT document_index(NULL, 't', 'c');
SELECT document_index('x', NULL, 'c');
SELECT document_index('', 't', 'c');
SELECT document_index(repeat('x', 513), 't', 'c');
SELECT document_search('x', 0);
SELECT document_search('');
SELECT count(*) FROM document_search(NULL);
SELECT count(*) FROM document_search('x', NULL);
SELECT document_delete(NULL);

-- ---- Another embedder ----

CREATE FUNCTION three(t text) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$ SELECT ARRAY[1, length(t), 3]::real[] $$;
CREATE SERVER by_function FOREIGN DATA WRAPPER norikv OPTIONS (embedder 'function', embedding_function 'public.three');
SET norikv.server = 'by_function';
SELECT document_index('doc1', 'Machine Learning', 'Other dimensions.');
SELECT * FROM document_search('learning');
SELECT get_json('doc:meta:doc1') ->> 'content' AS unchanged;
-- Of the same dimensions: a warning, once for a session.
CREATE FUNCTION same_size(t text) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$ SELECT array_fill(1::real, '{256}') $$;
ALTER SERVER by_function OPTIONS (SET embedding_function 'public.same_size');
SELECT count(*) FROM document_search('learning');
SELECT count(*) FROM document_search('learning');
-- Dropping the index makes room for the other.
ALTER SERVER by_function OPTIONS (SET embedding_function 'public.three');
SELECT vector_drop_index('documents'), get('vector:embedder:documents') IS NULL AS forgotten;
SELECT count(*) FROM document_search('learning');
SELECT document_index('doc1', 'Machine Learning', 'Other dimensions.');
SELECT id, title FROM document_search('learning');
SELECT get('vector:embedder:documents');
-- This session still believes in an index that another one has dropped: an error, once.
RESET norikv.server;
SELECT vector_drop_index('documents');
SET norikv.server = 'by_function';
SELECT document_index('doc1', 'Machine Learning', 'Once more.');
SELECT document_index('doc1', 'Machine Learning', 'Once more.');
SELECT content FROM document_search('learning');
-- An index that another program made, of other dimensions
SELECT vector_drop_index('documents'), vector_create_index('documents', 7);
\set VERBOSITY terse
SELECT document_index('doc1', 'Machine Learning', 'Other dimensions.');
\set VERBOSITY default
SELECT vector_drop_index('documents');
RESET norikv.server;

-- ---- Recommendations ----

SELECT * FROM recommendations('user123');
SELECT * FROM similar_products('prod1');
SELECT interaction_record('user123', 'prod1') AS no_such_product;
SELECT product_index('prod1', 'Running Shoes', 'Lightweight', 'Footwear');
SELECT product_index('prod2', 'Trail Shoes', 'Durable', 'Footwear');
SELECT product_index('prod3', 'Frying Pan', 'Cast iron', 'Kitchen');
SELECT get('product:meta:prod1'), vector_get('products', 'prod1') = embed('Running Shoes Lightweight Footwear') AS as_in_the_pattern;
SELECT interaction_record('user123', 'prod1'), vector_get('user_prefs', 'user123') = vector_get('products', 'prod1') AS the_product_itself;
SELECT product_id, name, category, round(score::numeric, 2) AS score FROM recommendations('user123', 2);
SELECT interaction_record('user123', 'prod3');
SELECT bool_and(abs(u - (p + q) / 2) < 1e-6) AS halfway
FROM unnest(vector_get('user_prefs', 'user123'), vector_get('products', 'prod1'), vector_get('products', 'prod3')) AS t(u, p, q);
SELECT product_id FROM recommendations('user123', 2) ORDER BY product_id;
SELECT interaction_record('user123', 'none') AS no_such_product;
SELECT product_id, name, category FROM similar_products('prod1', 1);
SELECT product_id FROM similar_products('prod1');
SELECT count(*) FROM similar_products('none');
-- One that another program indexed has no name.
SELECT vector_insert('products', 'prod4', embed('Sandals Light Footwear')) IS NOT NULL AS inserted;
SELECT product_id, name, category FROM similar_products('prod4', 1);
SELECT product_id, name, category FROM similar_products('prod1') WHERE product_id = 'prod4';
-- Halfway between opposites there is no direction.
SELECT vector_insert('products', 'prod5', (SELECT array_agg(-e ORDER BY o) FROM unnest(vector_get('products', 'prod1')) WITH ORDINALITY AS u(e, o))) IS NOT NULL AS inserted;
SELECT interaction_record('torn', 'prod1'), interaction_record('torn', 'prod5');
SELECT vector_get('user_prefs', 'torn') = vector_get('products', 'prod5') AS the_later_one;
SELECT product_index('prod1', 'Running Shoes', NULL, 'Footwear');
SELECT interaction_record(NULL, 'prod1');
SELECT interaction_record('user123', repeat('x', 513));
SELECT recommendations('user123', -1);
SELECT count(*) FROM recommendations(NULL);

-- ---- Deduplication ----

SELECT * FROM dedup_check('doc1', 'The quick brown fox jumps over the lazy dog.');
SELECT is_duplicate, duplicate_of, round(similarity::numeric, 2) AS similarity FROM dedup_check('doc2', 'A quick brown fox jumped over a lazy dog.');
SELECT * FROM dedup_check('doc3', 'Machine learning is transforming industries.');
SELECT vectors FROM vector_indexes() WHERE namespace = 'doc_fingerprints';
SELECT get_json('dedup:doc1') ->> 'fingerprint' = encode(sha256('The quick brown fox jumps over the lazy dog.'), 'hex') AS sha256,
       to_timestamp((get_json('dedup:doc1') ->> 'createdAt')::bigint / 1000.0) BETWEEN now() - interval '1 hour' AND now() + interval '1 hour' AS now;
-- A text is no duplicate of its own id; the same text is, at any threshold.
SELECT is_duplicate FROM dedup_check('doc1', 'The quick brown fox jumps over the lazy dog.');
SELECT is_duplicate, duplicate_of, similarity > 0.999999 AS one FROM dedup_check('doc4', 'The quick brown fox jumps over the lazy dog.', 1);
SELECT is_duplicate FROM dedup_check('doc4', 'A quick brown fox jumped over a lazy dog.', threshold => 0.99);
SELECT is_duplicate, duplicate_of FROM dedup_check('doc5', 'A quick brown fox jumped over a lazy dog!');
SELECT dedup_remove('doc1') AS removed, dedup_remove('doc1') AS again, dedup_remove('doc4');
SELECT get('dedup:doc1') IS NULL AND vector_get('doc_fingerprints', 'doc1') IS NULL AS nothing_left;
SELECT is_duplicate FROM dedup_check('doc2', 'A quick brown fox jumped over a lazy dog.');
-- Everything is a duplicate at threshold 0.
SELECT is_duplicate FROM dedup_check('doc6', 'Something else altogether', 0);
SELECT dedup_check('doc6', 'x', 1.5);
SELECT dedup_check('doc6', 'x', 'NaN');
SELECT dedup_check('doc6', 'x', NULL);
SELECT dedup_check(NULL, 'x');
SELECT dedup_check('doc6', NULL);
SELECT dedup_check('doc6', '');
SELECT dedup_remove(NULL);

-- ---- READ ONLY, roles, tenants ----

BEGIN TRANSACTION READ ONLY;
SELECT count(*) FROM recommendations('user123');
SELECT count(*) FROM document_search('anything');
SAVEPOINT s;
SELECT document_index('x', 't', 'c');
ROLLBACK TO s;
SELECT document_delete('x');
ROLLBACK TO s;
SELECT product_index('x', 'n', 'd', 'c');
ROLLBACK TO s;
SELECT interaction_record('user123', 'prod1');
ROLLBACK TO s;
SELECT dedup_check('x', 'c');
ROLLBACK TO s;
SELECT dedup_remove('x');
ROLLBACK;
CREATE ROLE regress_norikv_semantic;
SET ROLE regress_norikv_semantic;
SELECT document_index('x', 't', 'c');
SELECT document_search('x');
SELECT document_delete('x');
SELECT product_index('x', 'n', 'd', 'c');
SELECT interaction_record('user123', 'prod1');
SELECT recommendations('user123');
SELECT similar_products('prod1');
SELECT dedup_check('x', 'c');
SELECT dedup_remove('x');
RESET ROLE;
DROP ROLE regress_norikv_semantic;

SET norikv.tenant = 'semantic';
SELECT count(*) FROM recommendations('user123');
SELECT dedup_check('doc2', 'Machine learning is transforming industries.') AS not_there;
SELECT document_index('doc1', 'Of the tenant', 'Only');
SELECT id, title FROM document_search('anything');
SELECT namespace FROM vector_indexes() ORDER BY 1;
SELECT vector_drop_index('documents'), vector_drop_index('doc_fingerprints');
RESET norikv.tenant;
SELECT count(*) FROM document_search('tenant');

SELECT vector_drop_index(namespace) FROM unnest('{documents,products,user_prefs,doc_fingerprints}'::text[]) AS namespace;
SELECT mdelete(array_agg(key)) > 0 AS cleaned
FROM unnest('{doc:meta:,product:meta:,dedup:,tenant:semantic:}'::text[]) AS prefix, scan(prefix);
DROP SERVER by_function;
DROP FUNCTION three, same_size;
