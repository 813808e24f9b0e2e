--
-- Rate limits
--
SELECT allowed, remaining, retry_after FROM generate_series(1, 3) AS i, norikv.rate_limit('rl:a', CASE WHEN i > 0 THEN 3 END, '1 hour') AS r;
SELECT allowed, remaining, retry_after BETWEEN '59 minutes' AND '61 minutes' AS later,
       reset_at BETWEEN now() + '59 minutes' AND now() + '61 minutes' AS then FROM norikv.rate_limit('rl:a', 3, '1 hour');
-- Denied calls write nothing.
SELECT (norikv.entry('ratelimit:rl:a')).version AS before \gset
SELECT allowed, remaining FROM norikv.rate_limit('rl:a', 3, '1 hour');
SELECT (norikv.entry('ratelimit:rl:a')).version OPERATOR(norikv.=) :'before'::norikv.version AS unwritten;
-- What stands there is what other programs expect: an array of milliseconds, gone after the window.
SELECT norikv.get('ratelimit:rl:a') ~ '^\[\d{13},\d{13},\d{13}\]$' AS stamps,
       (norikv.entry('ratelimit:rl:a')).expires_at BETWEEN now() + '59 minutes' AND now() + '61 minutes' AS expires;

-- Looking counts nothing.
SELECT allowed, remaining, retry_after > '0' AS later FROM norikv.rate_limit_peek('rl:a', 3, '1 hour');
SELECT allowed, remaining, retry_after, reset_at > now() AS later FROM norikv.rate_limit_peek('rl:none', 5, '1 hour');
SELECT norikv.has_key('ratelimit:rl:none');
SELECT norikv.rate_limit_reset('rl:a'), norikv.rate_limit_reset('rl:a') AS again;
SELECT allowed, remaining FROM norikv.rate_limit('rl:a', 3, '1 hour');

-- Cost
SELECT allowed, remaining FROM norikv.rate_limit('rl:c', 10, '1 hour', 7);
SELECT allowed, remaining FROM norikv.rate_limit('rl:c', 10, '1 hour', cost => 4);
SELECT allowed, remaining FROM norikv.rate_limit('rl:c', 10, '1 hour', 3);
SELECT jsonb_array_length(norikv.get_json('ratelimit:rl:c'));

-- Another program's stamps count: those of the window, in any order, its clock ahead or not.
CREATE FUNCTION stamps(VARIADIC ago interval[]) RETURNS text LANGUAGE sql AS
$$ SELECT json_agg(floor(extract(epoch FROM clock_timestamp() - a) * 1000))::text FROM unnest(ago) AS a $$;
SELECT norikv.put('ratelimit:rl:o', stamps('1 minute', '2 hours', '59 minutes')) IS NOT NULL AS put;
SELECT allowed, remaining, retry_after BETWEEN '50 seconds' AND '61 seconds' AS next FROM norikv.rate_limit('rl:o', 2, '1 hour');
SELECT allowed, remaining, jsonb_array_length(norikv.get_json('ratelimit:rl:o')) AS kept FROM norikv.rate_limit('rl:o', 3, '1 hour');
SELECT norikv.put('ratelimit:rl:o', stamps('-30 minutes')) IS NOT NULL AS put;
SELECT allowed, s->0 = s->1 AS not_before_the_newest, (norikv.entry('ratelimit:rl:o')).expires_at > now() + '89 minutes' AS lives
  FROM norikv.rate_limit('rl:o', 2, '1 hour'), norikv.get_json('ratelimit:rl:o') AS s;
SELECT norikv.put('ratelimit:rl:o', ' [ 1e3 , 1700000000000.5 ,-1] ') IS NOT NULL AS put;
SELECT allowed, remaining FROM norikv.rate_limit('rl:o', 2, '1 hour');

-- Above 1000 parts of the window are counted.
SELECT allowed, remaining FROM norikv.rate_limit('rl:b', 1000000, '1 hour', 999999);
SELECT allowed, remaining FROM norikv.rate_limit('rl:b', 1000000, '1 hour');
SELECT allowed, remaining, retry_after BETWEEN '59 minutes' AND '61 minutes' AS later FROM norikv.rate_limit('rl:b', 1000000, '1 hour');
SELECT norikv.get('ratelimit-b:rl:b') ~ '^\{"buckets":\[\d{13},\d+(,\d{13},\d+)?\]\}$' AS counted, norikv.has_key('ratelimit:rl:b');
SELECT allowed, remaining FROM norikv.rate_limit_peek('rl:b', 1000001, '1 hour');
SELECT count(*) FILTER (WHERE allowed) AS allowed, min(remaining) AS least
  FROM generate_series(1, 1100) AS i, norikv.rate_limit('rl:s', CASE WHEN i > 0 THEN 1000 END, '1 hour') AS r;
SELECT count(*) FILTER (WHERE allowed) AS allowed, min(remaining) AS least
  FROM generate_series(1, 1100) AS i, norikv.rate_limit('rl:m', CASE WHEN i > 0 THEN 1001 END, '1 hour') AS r;
SELECT norikv.rate_limit_reset('rl:m'), norikv.has_key('ratelimit-b:rl:m');

-- The window slides.
SELECT count(*) FILTER (WHERE allowed) AS allowed FROM generate_series(1, 5) AS i, norikv.rate_limit('rl:w', CASE WHEN i > 0 THEN 2 END, '300 ms') AS r;
SELECT pg_sleep(extract(epoch FROM retry_after)) IS NOT NULL AS waited FROM norikv.rate_limit_peek('rl:w', 2, '300 ms');
SELECT allowed FROM norikv.rate_limit('rl:w', 2, '300 ms');

-- Broken ones are errors that name the key, and stay as they are.
DO $$
DECLARE
    bad text;
    message text;
BEGIN
    FOREACH bad IN ARRAY ARRAY['', '{}', '[', '[1', '[1,]', '[,1]', '["1"]', '[null]', '[1] 2', '[0x10]', '[inf]', '[+1]', '[1e300]', '[[1]]', 'x', '[1}']
    LOOP
        PERFORM norikv.put('ratelimit:rl:x', bad), norikv.put('ratelimit-b:rl:x', bad);
        BEGIN
            PERFORM norikv.rate_limit('rl:x', 5, '1 hour');
            RAISE 'decided by "%"', bad;
        EXCEPTION WHEN invalid_text_representation THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
            ASSERT message LIKE '%"ratelimit:rl:x"%', message;
        END;
        BEGIN
            PERFORM norikv.rate_limit_peek('rl:x', 5000, '1 hour');
            RAISE 'decided by "%"', bad;
        EXCEPTION WHEN invalid_text_representation THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
            ASSERT message LIKE '%"ratelimit-b:rl:x"%', message;
        END;
        ASSERT norikv.get('ratelimit:rl:x') = bad AND norikv.get('ratelimit-b:rl:x') = bad;
    END LOOP;
    FOREACH bad IN ARRAY ARRAY['[]', '{"buckets":[1]}', '{"buckets":[1,-1]}', '{"buckets":[1,1],"a":1}', '{"buckets":{}}', '{"bucket":[]}']
    LOOP
        PERFORM norikv.put('ratelimit-b:rl:x', bad);
        BEGIN
            PERFORM norikv.rate_limit_peek('rl:x', 5000, '1 hour');
            RAISE 'decided by "%"', bad;
        EXCEPTION WHEN invalid_text_representation THEN
        END;
    END LOOP;
END $$;
-- Counts whose sum is out of range are too many, not few.
SELECT norikv.put('ratelimit-b:rl:v', '{"buckets":[' || string_agg('9007199254740991,9007199254740991', ',') || ']}') IS NOT NULL AS put
  FROM generate_series(1, 1100);
SELECT allowed, remaining FROM norikv.rate_limit_peek('rl:v', 9007199254740991, '1 hour');
SELECT norikv.put('ratelimit:rl:x', '\x5b31005d'::bytea) IS NOT NULL AS put;
SELECT norikv.rate_limit('rl:x', 5, '1 hour');

-- Arguments that are refused
SELECT norikv.rate_limit('rl:a', 0, '1 hour');
SELECT norikv.rate_limit('rl:a', 9007199254740992, '1 hour');
SELECT norikv.rate_limit('rl:a', 3, '1 hour', 4);
SELECT norikv.rate_limit('rl:a', 3, '1 hour', 0);
SELECT norikv.rate_limit('rl:a', 3, '1 month');
SELECT norikv.rate_limit('rl:a', 3, '0');
SELECT norikv.rate_limit('', 3, '1 hour');
SELECT norikv.rate_limit(NULL, 3, '1 hour');
SELECT norikv.rate_limit('rl:a', NULL, '1 hour');
SELECT norikv.rate_limit('rl:a', 3, NULL);
SELECT norikv.rate_limit('rl:a', 3, '1 hour', NULL);
SELECT norikv.rate_limit_reset(NULL);
SELECT norikv.rate_limit_peek(NULL, 1, '1 s') AS null, norikv.rate_limit_peek('rl:a', NULL, '1 s') AS null;
BEGIN READ ONLY;
SELECT norikv.rate_limit('rl:a', 3, '1 hour');
ROLLBACK;
BEGIN READ ONLY;
SELECT allowed FROM norikv.rate_limit_peek('rl:a', 3, '1 hour');
ROLLBACK;

DROP FUNCTION stamps;
SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan('ratelimit', keys_only => true);
