--
-- Keys and values of every kind
--
-- Keys: 1 to 1,024 bytes
SELECT norikv.put('', 'v');
SELECT norikv.put(repeat('k', 1025), 'v');
SELECT norikv.get(repeat('k', 1025));
SELECT norikv.put(repeat('k', 1024), 'v') IS NOT NULL AS put, norikv.get(repeat('k', 1024)),
       norikv.delete(repeat('k', 1024));
SELECT norikv.put(repeat('ä', 513), 'v');
SELECT norikv.put(repeat('ä', 512), 'v') IS NOT NULL AS put, norikv.delete(repeat('ä', 512));

-- A text key and a bytea key of the same bytes are the same key.
SELECT norikv.put('val:ä', 'umlaut') IS NOT NULL AS put,
       norikv.get(convert_to('val:ä', 'UTF8')), norikv.delete(convert_to('val:ä', 'UTF8'));

-- Keys of any bytes
SELECT norikv.put('\x76616c3a00ff00'::bytea, 'binary key') IS NOT NULL AS put;
SELECT norikv.get('\x76616c3a00ff00'::bytea), norikv.get('\x76616c3a00ff'::bytea);
SELECT key, value FROM norikv.scan('val:'::bytea);
SELECT key, value FROM norikv.scan('val:');
SELECT (norikv.entry('\x76616c3a00ff00'::bytea)).key;
SELECT norikv.delete('\x76616c3a00ff00'::bytea);

-- An empty value is a value.
SELECT norikv.put('val:e', '') IS NOT NULL AS put;
SELECT norikv.get('val:e') = '' AS get, norikv.get_bytes('val:e') = '' AS get_bytes,
       norikv.has_key('val:e'), (norikv.entry('val:e')).value = '' AS entry;
SELECT norikv.get_json('val:e');

-- Values up to 1 MiB
SELECT norikv.put('val:big', repeat('x', 1048576)) IS NOT NULL AS put;
SELECT length(norikv.get('val:big')), length(norikv.get_bytes('val:big')), norikv.delete('val:big');
SELECT norikv.put('val:big', repeat('x', 1048577));
SELECT norikv.put('val:big', to_jsonb(repeat('x', 1048575)));
SELECT norikv.has_key('val:big');

-- Bytes that are no text
SELECT norikv.put('val:b', '\xc328'::bytea) IS NOT NULL AS put;
SELECT norikv.get_bytes('val:b');
SELECT norikv.get('val:b');
SELECT norikv.get_json('val:b');
SELECT key, value FROM norikv.mget('{val:b}');
SELECT key, value FROM norikv.mget_bytes('{val:b}');
SELECT key, value FROM norikv.scan('val:b');
SELECT key, value FROM norikv.scan_bytes('val:b');
SELECT norikv.put('val:b', '\x610062'::bytea) IS NOT NULL AS put;
SELECT norikv.get('val:b');
SELECT norikv.get_bytes('val:b');

-- JSON
SELECT norikv.put('val:j', '{"b": 1, "a": [1.50, null, "ä"]}'::jsonb) IS NOT NULL AS put;
SELECT norikv.get('val:j'), norikv.get_json('val:j');
SELECT norikv.put('val:j', '{"b":1,  "b":2}'::json) IS NOT NULL AS put;
SELECT norikv.get('val:j'), norikv.get_json('val:j');
SELECT norikv.put('val:j', 'no json') IS NOT NULL AS put;
SELECT norikv.get_json('val:j');
SELECT norikv.put('val:j', '{"a": "\u0000"}') IS NOT NULL AS put;
SELECT norikv.get_json('val:j');
SELECT norikv.get('val:j');
\set VERBOSITY sqlstate
SELECT norikv.get('val:b');
SELECT norikv.get_json('val:j');
SELECT norikv.get_json('val:e');
SELECT norikv.put('val:big', repeat('x', 1048577));
\set VERBOSITY default
SELECT norikv.mdelete(array_agg(key)) FROM norikv.scan('val:', keys_only => true);
