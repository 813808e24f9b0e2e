--
-- Limits of tenants count their vectors
--
SET search_path = public, norikv;
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT put('tenant-meta:tv', '{"id":"tv","name":"TV","plan":"custom","createdAt":1,"limits":{"maxKeys":4,"maxStorageMB":null}}') IS NOT NULL AS put;
SELECT * FROM tenant_usage('tv');

-- Keys and vectors together: as many as there may be, and no more.
SET norikv.tenant = 'tv';
SELECT vector_create_index('v', 3, 'cosine', 'brute_force');
SELECT put('k', 'value') IS NOT NULL AS put;
SELECT vector_insert('v', 'a', '{1,2,3}') IS NOT NULL AS inserted;
SELECT vector_insert('v', 'b', '{1,2,3}') IS NOT NULL AS inserted;
SELECT vector_insert('v', 'c', '{1,2,3}') IS NOT NULL AS inserted;
SELECT vector_insert('v', 'd', '{1,2,3}');
\set VERBOSITY sqlstate
SELECT vector_insert('v', 'd', '{1,2,3}');
SELECT put('k2', 'value');
\set VERBOSITY terse
SELECT vector_get('v', 'd') IS NULL AS refused, vectors FROM vector_indexes();
-- Namespace, id and components: 'tenant:tv:v', 1 byte, 3 times 4; beside 'tenant:tv:k'.
RESET norikv.tenant;
SELECT *, 3 * (11 + 1 + 12) + 11 + 5 AS expected FROM tenant_usage('tv');
SET norikv.tenant = 'tv';

-- What is there can be replaced, and what goes makes room.
SELECT vector_insert('v', 'c', '{3,2,1}') IS NOT NULL AS replaced;
SELECT vector_delete('v', 'a'), vector_delete('v', 'a');
SELECT vector_insert('v', 'd', '{1,2,3}') IS NOT NULL AS inserted;
SELECT vector_insert_many('v', '{d,e}', '{{1,2,3},{4,5,6}}');
SELECT vector_get('v', 'e') IS NULL AS refused;

-- Foreign tables: refused at COMMIT, as a whole.
CREATE SERVER tv FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE tv_points (id text OPTIONS (key 'true'), place real[] OPTIONS (vector 'true'))
	SERVER tv OPTIONS (namespace 'v');
BEGIN;
DELETE FROM tv_points WHERE id = 'b';
INSERT INTO tv_points VALUES ('x', '{1,1,1}'), ('y', '{1,1,1}');
COMMIT;
SELECT id FROM tv_points ORDER BY id;
BEGIN;
DELETE FROM tv_points WHERE id = 'b';
INSERT INTO tv_points VALUES ('x', '{1,1,1}');
COMMIT;
SELECT id FROM tv_points ORDER BY id;
DELETE FROM tv_points;
RESET norikv.tenant;
SELECT keys, bytes FROM tenant_usage('tv');
SET norikv.tenant = 'tv';

-- Documents: two keys each (the document and its vector), and one for who embeds.
SELECT delete('k');
SELECT document_index('d1', 'One', 'The first document');
SELECT document_index('d1', 'One', 'The first document, again');
SELECT document_index('d2', 'Two', 'The second document');
SELECT get('doc:meta:d2') IS NULL AS refused, vector_get('documents', 'd2') IS NULL AS "as a whole";
SELECT id FROM document_search('document');
RESET norikv.tenant;
SELECT keys FROM tenant_usage('tv');

-- An index that is dropped counts no more.
SET norikv.tenant = 'tv';
SELECT vector_drop_index('documents');
RESET norikv.tenant;
SELECT keys FROM tenant_usage('tv');

-- Bytes: of a document that is changed, too.
SELECT put('tenant-meta:tv', '{"id":"tv","name":"TV","plan":"custom","createdAt":1,"limits":{"maxKeys":null,"maxStorageMB":0.0004}}') IS NOT NULL AS put;
SELECT max_bytes, bytes < 200 AS little FROM tenant_usage('tv');
SET norikv.tenant = 'tv';
SELECT vector_create_index('wide', 100, 'cosine', 'brute_force');
SELECT vector_insert('wide', 'a', array_fill(1::real, '{100}'));
SELECT vectors FROM vector_indexes() WHERE namespace = 'wide';
SELECT vector_drop_index('wide'), vector_create_index('wide', 50, 'cosine', 'brute_force');
SELECT vector_insert('wide', 'a', array_fill(1::real, '{50}')) IS NOT NULL AS inserted;
SELECT vector_drop_index('wide'), vector_drop_index('v');
SELECT mdelete(array_agg(key)) > 0 AS cleaned FROM scan();
RESET norikv.tenant;
SELECT keys, bytes FROM tenant_usage('tv');
SELECT delete('tenant-meta:tv');
DROP SERVER tv CASCADE;
