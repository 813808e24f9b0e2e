--
-- The type norikv.version. Its operators are found by search_path, as it is itself.
--
SET search_path = public, norikv;
SELECT '1/5'::norikv.version, '0/0'::norikv.version, 'any'::norikv.version,
       'ANY'::norikv.version, '007/0010'::norikv.version;
SELECT '18446744073709551615/18446744073709551614'::norikv.version;

SELECT ''::norikv.version;
SELECT '1'::norikv.version;
SELECT '1/'::norikv.version;
SELECT '/1'::norikv.version;
SELECT '1/2/3'::norikv.version;
SELECT '1/2 '::norikv.version;
SELECT ' 1/2'::norikv.version;
SELECT '-1/2'::norikv.version;
SELECT '1/+2'::norikv.version;
SELECT 'x/y'::norikv.version;
SELECT '18446744073709551616/1'::norikv.version;
SELECT '18446744073709551615/18446744073709551615'::norikv.version;

-- Order: by term, then by index, as unsigned numbers; any is last.
SELECT v FROM unnest('{any,2/1,1/10,1/9,0/9223372036854775808,0/1,10/0}'::norikv.version[]) v
 ORDER BY v;
SELECT a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt
  FROM (VALUES ('1/1'::norikv.version, '1/2'::norikv.version), ('1/2', '1/2'), ('2/1', '1/2'))
    AS t (a, b);
SELECT min(v), max(v) FROM unnest('{1/9,1/10,NULL,1/2}'::norikv.version[]) v;
SELECT min(v), max(v) FROM unnest('{}'::norikv.version[]) v;

-- Token: term * 2^48 + index
SELECT '0/7'::norikv.version::bigint AS index_only,
       '1/7'::norikv.version::bigint - (1::bigint << 48) AS index_beyond_term,
       '32767/281474976710655'::norikv.version::bigint = 9223372036854775807 AS greatest;
SELECT '32768/1'::norikv.version::bigint;
SELECT '1/281474976710656'::norikv.version::bigint;
SELECT 'any'::norikv.version::bigint;

-- Indexes, hashing, merge joins, binary format
CREATE TEMP TABLE versions (v norikv.version);
INSERT INTO versions SELECT (i % 7 || '/' || i)::norikv.version FROM generate_series(1, 1000) i;
CREATE INDEX versions_btree ON versions (v);
CREATE INDEX versions_hash ON versions USING hash (v);
ANALYZE versions;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS off) SELECT v FROM versions WHERE v BETWEEN '3/1' AND '3/30' ORDER BY v;
SELECT v FROM versions WHERE v BETWEEN '3/1' AND '3/30' ORDER BY v;
DROP INDEX versions_btree;
EXPLAIN (COSTS off) SELECT v FROM versions WHERE v = '5/5';
SELECT v FROM versions WHERE v = '5/5';
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT count(*), count(DISTINCT v) FROM versions JOIN versions w USING (v);
SET enable_hashjoin = off;
SELECT count(*) FROM versions JOIN versions w USING (v);
RESET enable_hashjoin;
SELECT norikv.version_send('1/258'), norikv.version_send('any');
SELECT norikv.version_hash('1/2') = norikv.version_hash('1/2') AS same,
       norikv.version_hash('1/2') <> norikv.version_hash('2/1') AS different,
       norikv.version_hash_extended('1/2', 0)::bit(32) = norikv.version_hash('1/2')::bit(32) AS agrees;
COPY versions TO '/dev/null' WITH (FORMAT binary);
CREATE TEMP TABLE partitioned (v norikv.version) PARTITION BY HASH (v);
CREATE TEMP TABLE partition_0 PARTITION OF partitioned FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TEMP TABLE partition_1 PARTITION OF partitioned FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO partitioned SELECT v FROM versions;
SELECT count(*) FROM partitioned;
