-- Foreign tables in a database of another encoding: text is UTF-8 on the wire all
-- the same, and in other order than bytes are.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
SELECT norikv.mput('{fdwenc:été,fdwenc:a,fdwenc:zoé}', '{"{\"é\": \"naïve\", \"n\": 1}","{\"é\": \"a\"}","{\"n\": 3}"}'::text[]) AS put;
CREATE DATABASE regress_norikv_fdw TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
\set before :DBNAME
\c regress_norikv_fdw
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
CREATE EXTENSION norikv;
CREATE SERVER norikv FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE t (id text OPTIONS (key 'true') COLLATE "C", "é" text, n int) SERVER norikv OPTIONS (prefix 'fdwenc:', format 'json');
SELECT * FROM t ORDER BY id;
SELECT * FROM t WHERE id = 'été';
SELECT * FROM t WHERE id IN ('été', 'zoé') ORDER BY id;
SELECT * FROM t WHERE id LIKE 'é%';
SELECT * FROM t WHERE id > 'zz';
SELECT * FROM t WHERE "é" = 'naïve';
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE id > 'z' ORDER BY id;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE id LIKE 'é%';
INSERT INTO t VALUES ('où', 'à', 4);
SELECT norikv.get_bytes('fdwenc:où') = '\x7b22c3a9223a22c3a0222c226e223a347d' AS utf8;
UPDATE t SET n = 5 WHERE id = 'où' RETURNING *;
CREATE FOREIGN TABLE prefixed (key text, value text) SERVER norikv OPTIONS (prefix 'fdwenc:é');
SELECT * FROM prefixed;
-- What has no place in the encoding
\set VERBOSITY sqlstate
SELECT norikv.put('\x666477656e633ae282ac'::bytea, '\x7b7d'::bytea) IS NOT NULL AS put;
SELECT * FROM t;
SELECT n FROM t;
ALTER FOREIGN TABLE t OPTIONS (ADD on_error 'null');
SELECT id, n FROM t;
SELECT count(*) FROM t;
ALTER FOREIGN TABLE t OPTIONS (DROP on_error);
SELECT norikv.delete('\x666477656e633ae282ac'::bytea);
SELECT norikv.put('fdwenc:b'::text, '\x7b22c3a9223a22e282ac222c226e223a367d'::bytea) IS NOT NULL AS put;
SELECT * FROM t WHERE id = 'b';
ALTER FOREIGN TABLE t OPTIONS (ADD on_error 'null');
SELECT * FROM t WHERE id = 'b';
\c :before
SET client_min_messages = warning;
DROP DATABASE regress_norikv_fdw;
SELECT norikv.mdelete(array_agg(key)) AS cleaned FROM norikv.scan('fdwenc:', keys_only => true);
