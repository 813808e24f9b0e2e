--
-- A database of another encoding: text is UTF-8 on the wire all the same.
--
SELECT norikv.vector_create_index('enc', 2), norikv.vector_insert('enc', '€', '{1,0}') IS NOT NULL AS inserted;
SELECT norikv.put('enc:value', 'naïve €') IS NOT NULL AS put,
       norikv.put('enc:ключ', 'unknown to Latin') IS NOT NULL AS put;
CREATE DATABASE regress_norikv_latin1 TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
\set before :DBNAME
\c regress_norikv_latin1
SET client_encoding = 'UTF8';
CREATE EXTENSION norikv;

SELECT norikv.put('enc:clé', 'été') IS NOT NULL AS put;
SELECT norikv.get('enc:clé'), norikv.get_bytes('enc:clé');
SELECT norikv.get('\x656e633a636cc3a9'::bytea);
SELECT norikv.put('enc:j', '{"é": "ü"}'::jsonb) IS NOT NULL AS put;
SELECT norikv.get_json('enc:j')->>'é', norikv.get_bytes('enc:j');
SELECT norikv.mput('{enc:ä}', '{ö}');
SELECT key, value FROM norikv.mget('{enc:ä,enc:clé}');
SELECT key, value FROM norikv.scan('enc:cl');
SELECT norikv.put('enc:value', 'naïve €') IS NOT NULL AS not_put;

-- The cache is shared with databases of other encodings.
SELECT norikv.cache_put('enc:cé', 'für') IS NOT NULL AS put, norikv.cache_get('enc:cé'), norikv.get_bytes('enc:cé');
SELECT norikv.cache_get('enc:clé'), norikv.cache_get('enc:clé');

-- Locks and elections are found by the names that are shown.
SELECT norikv.lock('enc:clé') IS NOT NULL AS locked, norikv.try_lock(E'enc:two\nlines') IS NOT NULL AS locked;
SELECT name FROM norikv.locks_held ORDER BY name;
SELECT norikv.campaign('enc:élu', 'Zoë', '1 hour');
DO $$ BEGIN FOR i IN 1 .. 1000 LOOP EXIT WHEN norikv.is_leader('enc:élu'); PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT name FROM norikv.locks_held WHERE kind = 'campaign';
SELECT norikv.leader('enc:élu'), election, node_id FROM norikv.campaigns;
CREATE ROLE regress_norikv_latin1 LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO regress_norikv_latin1;
SET ROLE regress_norikv_latin1;
\set VERBOSITY terse
SELECT norikv.campaign('enc:élu', 'Zoë');
SELECT norikv.resign('enc:élu');
\set VERBOSITY default
RESET ROLE;
SELECT norikv.put('leader:enc:élue', 'Zoë', ttl => '1 hour') IS NOT NULL AS put;
SELECT norikv.campaign('enc:élue', 'Zoë');
SELECT norikv.delete('leader:enc:élue');
-- Those of other databases are shown as well as can be.
\c :before
SELECT norikv.campaign('enc:ключ', 'node', '1 hour');
DO $$ BEGIN FOR i IN 1 .. 1000 LOOP EXIT WHEN norikv.is_leader('enc:ключ'); PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT name FROM norikv.locks_held WHERE kind = 'campaign' ORDER BY name;
\c regress_norikv_latin1
SET client_encoding = 'UTF8';
SELECT database, name FROM norikv.locks_held WHERE kind = 'campaign' ORDER BY name;
SELECT norikv.resign('enc:élu');
REVOKE USAGE ON FOREIGN DATA WRAPPER norikv FROM regress_norikv_latin1;
DROP ROLE regress_norikv_latin1;

-- A key counts by its bytes on the wire.
SELECT norikv.put(repeat('é', 513), 'v');

-- What this encoding does not have
SELECT norikv.get('enc:value');
SELECT norikv.get_json('enc:value');
SELECT octet_length(norikv.get_bytes('enc:value'));
SELECT key, value FROM norikv.scan('enc:', reverse => true);
SELECT norikv.cache_get('enc:value');
SELECT norikv.cache_get('enc:value');
SELECT count(*) FROM norikv.scan_bytes('enc:'::bytea);
SELECT norikv.put('\x656e633ad0'::bytea, 'v', if_match => '1/1');
SELECT norikv.vector_insert('enc', 'été', '{0,1}') IS NOT NULL AS inserted;
SELECT id FROM norikv.vector_search('enc', '{0,1}', 1);
SELECT id FROM norikv.vector_search('enc', '{0,1}', 2);

DROP EXTENSION norikv CASCADE;
\c :before
DROP DATABASE regress_norikv_latin1;
SELECT id FROM norikv.vector_search('enc', '{0,1}', 2);
SELECT norikv.vector_drop_index('enc');
SELECT norikv.resign('enc:ключ');
DO $$ BEGIN WHILE EXISTS (SELECT FROM norikv.locks_held) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT norikv.get('enc:clé'), norikv.get_json('enc:j'), norikv.get('enc:ä');
SELECT norikv.cache_get('enc:cé'), norikv.cache_get('enc:value'), norikv.cache_get('enc:value');
SELECT norikv.mdelete(array_agg(key)) FROM norikv.scan('enc:', keys_only => true);
