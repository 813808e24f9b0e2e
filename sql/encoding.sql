--
-- A database of another encoding: text is UTF-8 on the wire all the same.
--
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

DROP EXTENSION norikv CASCADE;
\c :before
DROP DATABASE regress_norikv_latin1;
SELECT norikv.get('enc:clé'), norikv.get_json('enc:j'), norikv.get('enc:ä');
SELECT norikv.cache_get('enc:cé'), norikv.cache_get('enc:value'), norikv.cache_get('enc:value');
SELECT norikv.mdelete(array_agg(key)) FROM norikv.scan('enc:', keys_only => true);
