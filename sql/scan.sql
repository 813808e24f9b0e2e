--
-- scan, key_count
--
SELECT norikv.mput('{scan:a,scan:b,scan:c,scan:d,scan:é}', '{1,2,3,4,5}'),
       norikv.mput('{scam:z,scan,scao}', '{before,before,after}') AS around;
SELECT key, value, version IS NOT NULL AS version, expires_at FROM norikv.scan('scan:');
SELECT key FROM norikv.scan('scan:', reverse => true);
SELECT key FROM norikv.scan('scan:', max_rows => 2);
SELECT key FROM norikv.scan('scan:', max_rows => 2, reverse => true);
SELECT count(*) FROM norikv.scan('scan:', max_rows => 0);
SELECT count(*) FROM norikv.scan('scan:', max_rows => NULL);
SELECT key, value FROM norikv.scan('scan:', keys_only => true, max_rows => 1);

-- A range has its start and not its end; a prefix and a range meet.
SELECT array_agg(key) FROM norikv.scan(start_key => 'scan:b', end_key => 'scan:d');
SELECT array_agg(key) FROM norikv.scan('scan:', 'scan:c');
SELECT array_agg(key) FROM norikv.scan('scan:', NULL, 'scan:c');
SELECT array_agg(key) FROM norikv.scan('scan:', 'a', 'z');
SELECT array_agg(key) FROM norikv.scan('scan:a', 'scan:b');
SELECT array_agg(key) FROM norikv.scan(start_key => 'scan:d', end_key => 'scan:b');
SELECT array_agg(key) FROM norikv.scan('scan:', end_key => '');
SELECT array_agg(key) FROM norikv.scan('nothing:');
SELECT array_agg(key) FROM norikv.scan('scan:'::bytea, '\x7363616e3a62'::bytea, '\x7363616e3a64'::bytea);
SELECT norikv.key_count('scan:'), norikv.key_count('scan:a'), norikv.key_count('nothing:'),
       norikv.key_count('scan:'::bytea);

-- Prefixes that end in 0xff
SELECT norikv.put('\xffff'::bytea, 'last'), norikv.put('\xff'::bytea, 'nearly') \gset
SELECT key, value FROM norikv.scan('\xff'::bytea);
SELECT key, value FROM norikv.scan('\xffff'::bytea);
SELECT norikv.key_count('\xff'::bytea);
SELECT norikv.mdelete(ARRAY['\xff'::bytea, '\xffff']);

-- Expired and deleted keys are not there.
SELECT norikv.put('scan:a', '1', ttl => '1 ms') IS NOT NULL AS put, norikv.delete('scan:b'), pg_sleep(0.02);
SELECT array_agg(key), norikv.key_count('scan:') FROM norikv.scan('scan:');

SELECT norikv.scan('scan:', max_rows => -1);
SELECT norikv.scan(repeat('p', 1025));
SELECT norikv.scan('scan:', end_key => repeat('p', 1025));

-- In the target list, in a subquery, with a LIMIT that stops early
SELECT (norikv.scan('scan:')).key LIMIT 2;
SELECT p, (SELECT array_agg(key) FROM norikv.scan(p)) FROM unnest('{scan:c,scan:d,scan:x}'::text[]) p;

-- Many rows, more than a page and more than work_mem
SELECT norikv.mput(array_agg('scan:' || to_char(i, 'FM00000')), array_agg(repeat('v', 200)))
  FROM generate_series(1, 20000) i;
SET work_mem = '64kB';
SELECT count(*), min(key), max(key), sum(length(value)) FROM norikv.scan('scan:0');
SELECT bool_and(key > previous) AS ascending
  FROM (SELECT key COLLATE "C" AS key, lag(key) OVER () AS previous FROM norikv.scan('scan:0')) s;
SELECT bool_and(key < previous) AS descending
  FROM (SELECT key COLLATE "C" AS key, lag(key) OVER () AS previous
          FROM norikv.scan('scan:0', reverse => true)) s;
RESET work_mem;
SELECT norikv.key_count('scan:0');
SELECT norikv.mdelete(array_agg(key)) FROM norikv.scan('scan:', keys_only => true);
SELECT norikv.mdelete('{scam:z,scan,scao}');
