--
-- Counters
--
SELECT norikv.counter_get('ctr:a') AS absent;
SELECT norikv.counter_add('ctr:a') AS one, norikv.counter_add('ctr:a', 41) AS more,
       norikv.counter_add('ctr:a', -50) AS less, norikv.counter_add(name => 'ctr:a', delta => 0) AS none;
SELECT norikv.counter_get('ctr:a'), norikv.get('ctr:a') AS as_others_see_it;

-- counter_init leaves one that is there alone.
SELECT norikv.counter_init('ctr:a', 7), norikv.counter_init('ctr:b', 7), norikv.counter_init('ctr:c');
SELECT norikv.counter_set('ctr:b', -1), norikv.counter_get('ctr:b'), norikv.get('ctr:c');

-- Others' programs write it, too.
SELECT norikv.put('ctr:a', '0041') IS NOT NULL AS put, norikv.counter_get('ctr:a'), norikv.counter_add('ctr:a');

-- An idempotency key makes a repetition harmless, and is for one request only.
SELECT norikv.counter_add('ctr:i', 5, 'ctr-' || txid_current()) AS first,
       norikv.counter_add('ctr:i', 5, 'ctr-' || txid_current()) AS again,
       norikv.counter_get('ctr:i');
\set VERBOSITY sqlstate
SELECT norikv.counter_add('ctr:i', 5, 'ctr-x'), norikv.counter_add('ctr:i', 6, 'ctr-x');
SELECT norikv.counter_add('ctr:i', 5, ''), norikv.counter_get('ctr:i');
\set VERBOSITY default

-- The range is that of bigint, and nothing is lost at its ends.
SELECT norikv.counter_set('ctr:o', 9223372036854775807), norikv.counter_add('ctr:o', 0), norikv.counter_add('ctr:o', -1);
SELECT norikv.counter_add('ctr:o', 2);
SELECT norikv.counter_get('ctr:o'), norikv.counter_add('ctr:o', '-9223372036854775808'), norikv.counter_add('ctr:o', -9223372036854775806);
SELECT norikv.counter_set('ctr:o', '-9223372036854775808'), norikv.counter_get('ctr:o');
SELECT norikv.counter_add('ctr:o', -1);

-- What is no integer stays as it is.
SELECT norikv.put('ctr:n', '1.5') IS NOT NULL AS put, norikv.counter_add('ctr:n');
DO $$
DECLARE
    bad text;
BEGIN
    FOREACH bad IN ARRAY ARRAY['', '-', '+1', ' 1', '1 ', '1.5', '1e3', 'x', '0x10', '9223372036854775808', '-9223372036854775809', '{}']
    LOOP
        PERFORM norikv.put('ctr:n', bad);
        BEGIN
            PERFORM norikv.counter_add('ctr:n');
            RAISE 'added to "%"', bad;
        EXCEPTION WHEN invalid_text_representation THEN
        END;
        BEGIN
            PERFORM norikv.counter_get('ctr:n');
            RAISE 'read "%"', bad;
        EXCEPTION WHEN invalid_text_representation THEN
        END;
        ASSERT norikv.get('ctr:n') = bad;
    END LOOP;
END $$;
SELECT norikv.counter_init('ctr:n');
SELECT norikv.counter_set('ctr:n', 3), norikv.counter_add('ctr:n');

-- The time to live stays.
SELECT norikv.put('ctr:t', '1', ttl => '1 hour') IS NOT NULL AS put, (norikv.entry('ctr:t')).expires_at AS before \gset
SELECT norikv.counter_add('ctr:t'), norikv.counter_set('ctr:t', 9), (norikv.entry('ctr:t')).expires_at = :'before' AS kept;

-- Shards
SELECT norikv.sharded_counter_get('ctr:s') AS none;
SELECT count(norikv.sharded_counter_add('ctr:s', i)) FROM generate_series(1, 100) i;
SELECT norikv.sharded_counter_get('ctr:s'), count(*) BETWEEN 5 AND 10 AS spread, min(key) LIKE 'ctr:s:shard:_' AS named
  FROM norikv.scan('ctr:s:shard:');
SELECT norikv.sharded_counter_add('ctr:s1', shards => 1), norikv.get('ctr:s1:shard:0'), norikv.sharded_counter_get('ctr:s1', 1);
SELECT norikv.mput('{ctr:so:shard:0,ctr:so:shard:1}', '{9223372036854775807,1}');
SELECT norikv.sharded_counter_get('ctr:so');
SELECT norikv.put('ctr:so:shard:1', 'x') IS NOT NULL AS put;
SELECT norikv.sharded_counter_get('ctr:so');

-- Arguments that are refused
SELECT norikv.counter_add(NULL);
SELECT norikv.counter_add('ctr:a', NULL);
SELECT norikv.counter_set('ctr:a', NULL);
SELECT norikv.counter_init('ctr:a', NULL);
SELECT norikv.counter_get(NULL) AS null, norikv.sharded_counter_get(NULL) AS null, norikv.sharded_counter_get('x', NULL) AS null;
SELECT norikv.counter_add('');
SELECT norikv.counter_add(repeat('x', 1025));
SELECT norikv.counter_add('ctr:s:shard:3');
SELECT norikv.counter_get(':shard:0');
SELECT norikv.counter_get('ctr:shard:'), norikv.counter_get('shard:1'), norikv.counter_get('ctr:shard:1x');
SELECT norikv.sharded_counter_add('ctr:s', shards => 0);
SELECT norikv.sharded_counter_get('ctr:s', 10001);
SELECT norikv.sharded_counter_add(repeat('x', 1017));
SELECT norikv.sharded_counter_add(repeat('x', 1016), shards => 1), norikv.delete(repeat('x', 1016) || ':shard:0') AS there;
BEGIN READ ONLY;
SELECT norikv.counter_add('ctr:a');
ROLLBACK;
BEGIN READ ONLY;
SELECT norikv.counter_get('ctr:a');
ROLLBACK;

SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan('ctr:', keys_only => true);
