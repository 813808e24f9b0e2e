--
-- mget, mput, mdelete
--
SELECT norikv.mput('{bulk:1,bulk:2,bulk:3}', '{one,two,three}');
SELECT ordinality, key, value, version IS NOT NULL AS present
  FROM norikv.mget('{bulk:3,bulk:none,bulk:1,NULL,bulk:3}');
SELECT ordinality, key, value FROM norikv.mget(ARRAY['bulk:1'::bytea, 'bulk:2', '\x00']);
SELECT count(*) FROM norikv.mget('{}');
SELECT count(*) FROM norikv.mget(NULL);
SELECT count(*) FROM norikv.mget('{NULL,NULL}');

-- Values of every type
SELECT norikv.mput('{bulk:b}', ARRAY['\x00ff'::bytea]),
       norikv.mput('{bulk:j}', ARRAY['{"a":1}'::jsonb]),
       norikv.mput('{bulk:k}', ARRAY['{"a":1}'::json]),
       norikv.mput('{bulk:v}', ARRAY['v'::varchar]),
       norikv.mput(ARRAY['\x62756c6b3aff'::bytea], ARRAY['binary key']);
SELECT key, value FROM norikv.scan_bytes('bulk:'::bytea);
SELECT norikv.delete('\x62756c6b3aff'::bytea);

-- Of equal keys the last value counts, as if written one by one.
SELECT norikv.mput('{bulk:d,bulk:e,bulk:d,bulk:d}', '{1,2,3,4}');
SELECT norikv.get('bulk:d'), norikv.get('bulk:e');
SELECT norikv.mdelete('{bulk:d,bulk:none,bulk:e,bulk:d}');
SELECT norikv.mdelete('{}'), norikv.mput('{}', '{}');

-- Time to live
SELECT norikv.mput('{bulk:t}', '{v}', '1 hour'), (norikv.entry('bulk:t')).expires_at > now();

-- Arguments that are refused
SELECT norikv.mput('{bulk:x,bulk:y}', '{1}');
SELECT norikv.mput('{bulk:x,NULL}', '{1,2}');
SELECT norikv.mput('{bulk:x,bulk:y}', '{1,NULL}');
SELECT norikv.mput('{bulk:x,""}', '{1,2}');
SELECT norikv.mput(ARRAY['bulk:x', repeat('k', 1025)], '{1,2}');
SELECT norikv.mput(ARRAY['bulk:x', 'bulk:y'], ARRAY['1', repeat('v', 1048577)]);
SELECT norikv.mput('{bulk:x}', '{1}', '1 month');
SELECT norikv.mput('{{bulk:x},{bulk:y}}', '{1,2}');
SELECT norikv.mput('{bulk:x}', ARRAY[1]);
SELECT norikv.mput('{bulk:x}', 'bulk:x');
SELECT norikv.mput('{bulk:x}', 1);
SELECT norikv.mput(ARRAY[1], '{1}');
SELECT norikv.mput(NULL, '{1}');
SELECT norikv.mput('{bulk:x}', NULL);
SELECT norikv.mdelete(NULL);
SELECT norikv.mdelete('{bulk:x,NULL}');
SELECT norikv.mget(ARRAY[1]);
SELECT norikv.mget('{""}');
SELECT norikv.mget('{bulk:1}', 'sometimes');
SELECT norikv.has_key('bulk:x');

-- More than one request's worth
CREATE SERVER small FOREIGN DATA WRAPPER norikv OPTIONS (batch_size '7', fetch_size '3');
SET norikv.server = 'small';
SELECT norikv.mput(array_agg('bulk:n' || i), array_agg(i::text)) FROM generate_series(1, 100) i;
SELECT count(*), sum(value::int), bool_and(key = 'bulk:n' || value) AS in_order,
       array_agg(ordinality) = array_agg(i::bigint) AS numbered
  FROM generate_series(1, 100) i, LATERAL (SELECT 1) one,
       norikv.mget((SELECT array_agg('bulk:n' || i ORDER BY i) FROM generate_series(1, 100) i)) m
 WHERE m.ordinality = i;
SELECT norikv.mdelete(array_agg('bulk:n' || i)) FROM generate_series(51, 150) i;
SELECT count(value) FROM norikv.mget((SELECT array_agg('bulk:n' || i) FROM generate_series(1, 100) i));

-- What is wrong with an argument is found before anything is sent.
SELECT norikv.mput(array_agg('bulk:m' || i), array_agg(CASE i WHEN 8 THEN repeat('v', 1048577) ELSE 'v' END))
  FROM generate_series(1, 8) i;
SELECT norikv.key_count('bulk:m');
RESET norikv.server;
DROP SERVER small;

-- Big answers
SELECT norikv.mput(array_agg('bulk:big' || i), array_agg(repeat(i::text, 1000000))) FROM generate_series(1, 9) i;
SELECT key, length(value), left(value, 1) FROM norikv.mget('{bulk:big9,bulk:big1,bulk:big5}');
SELECT count(*), sum(length(value)) FROM norikv.scan('bulk:big');
SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan('bulk:', keys_only => true);
