--
-- One key
--
SET search_path = public, norikv;	-- for the operators of version
-- Absent is NULL, never an error and never an empty string.
SELECT norikv.get('key:none') IS NULL AS get, norikv.get_bytes('key:none') IS NULL AS get_bytes,
       norikv.get_json('key:none') IS NULL AS get_json, norikv.entry('key:none') IS NULL AS entry,
       norikv.has_key('key:none') AS has_key, norikv.delete('key:none') AS delete;

-- NULL: readers return NULL, writers raise 22004.
SELECT norikv.get(NULL) IS NULL AS get, norikv.get_bytes(NULL) IS NULL AS get_bytes,
       norikv.get_json(NULL) IS NULL AS get_json, norikv.entry(NULL) IS NULL AS entry,
       norikv.has_key(NULL) IS NULL AS has_key;
\set VERBOSITY sqlstate
SELECT norikv.put(NULL, 'v');
SELECT norikv.put('key:a', NULL);
SELECT norikv.put('key:a', 'v', if_absent => NULL);
SELECT norikv.try_put(NULL, 'v');
SELECT norikv.delete(NULL);
SELECT norikv.delete('key:a', NULL);
\set VERBOSITY default
SELECT norikv.put('key:a', NULL);
SELECT norikv.has_key('key:a');

-- Versions: what put returns is what entry says, and they grow.
SELECT norikv.put('key:a', 'one') AS v1 \gset
SELECT norikv.put('key:a', 'two') AS v2 \gset
SELECT :'v1'::norikv.version < :'v2'::norikv.version AS grows,
       version = :'v2' AS same, version::bigint > :'v1'::norikv.version::bigint AS token
  FROM norikv.entry('key:a');

-- Conditions
SELECT norikv.put('key:a', 'three', if_match => :'v2') AS v3 \gset
SELECT norikv.get('key:a');
\set VERBOSITY sqlstate
SELECT norikv.put('key:a', 'lost', if_match => :'v2');
SELECT norikv.put('key:b', 'lost', if_match => :'v2');
SELECT norikv.put('key:a', 'lost', if_absent => true);
SELECT norikv.put('key:a', 'lost', if_match => NULL);
SELECT norikv.delete('key:a', :'v2');
SELECT norikv.delete('key:b', :'v2');
SELECT norikv.put('key:a', 'lost', if_match => '0/0');
SELECT norikv.put('key:a', 'lost', if_match => '1/1', if_absent => true);
\set VERBOSITY default
SELECT norikv.try_put('key:a', 'lost', if_match => :'v2') AS old_version,
       norikv.try_put('key:b', 'lost', if_match => :'v2') AS absent,
       norikv.try_put('key:a', 'lost', if_absent => true) AS present,
       norikv.try_put('key:a', 'lost', if_match => NULL) AS present_null;
SELECT norikv.get('key:a'), norikv.get('key:b');
SELECT norikv.try_put('key:a', 'four', if_match => :'v3') > :'v3' AS put;
SELECT norikv.put('key:b', 'new', if_match => (SELECT version FROM norikv.entry('key:b'))) IS NOT NULL AS created;
SELECT norikv.put('key:c', 'new', if_absent => true) IS NOT NULL AS created;
SELECT norikv.put('key:c', 'newer', if_match => (SELECT version FROM norikv.entry('key:c'))) IS NOT NULL AS replaced;
SELECT norikv.delete('key:c', (norikv.entry('key:c')).version) AS deleted, norikv.has_key('key:c');

-- What the errors say (versions differ from run to run)
CREATE FUNCTION said(command text) RETURNS TABLE (state text, message text, detail text, hint text)
LANGUAGE plpgsql AS $$
DECLARE
    v text := '\d+/\d+';
BEGIN
    EXECUTE command;
EXCEPTION WHEN others THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    detail := regexp_replace(detail, v, 'N/N', 'g');
    RETURN NEXT;
END $$;
\x on
SELECT * FROM said($$ SELECT norikv.put('key:a', 'v', if_match => '1/1') $$);
SELECT * FROM said($$ SELECT norikv.put('key:none', 'v', if_match => '1/1') $$);
SELECT * FROM said($$ SELECT norikv.put('key:a', 'v', if_absent => true) $$);
SELECT * FROM said($$ SELECT norikv.delete('\xff00'::bytea, '1/1') $$);
SELECT * FROM said($$ SELECT norikv.delete(repeat('k', 200), '1/1') $$);
SELECT * FROM said($$ SELECT norikv.put('key:a', 'v', if_match => '5/0') $$);
\x off

-- An error in a subtransaction leaves nothing behind.
DO $$
BEGIN
    FOR i IN 1 .. 50 LOOP
        BEGIN
            PERFORM norikv.put('key:a', 'lost', if_absent => true);
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$;
SELECT norikv.get('key:a');

-- Functions act at once: a ROLLBACK undoes nothing.
BEGIN;
SELECT norikv.put('key:r', 'stays') IS NOT NULL AS put;
ROLLBACK;
SELECT norikv.get('key:r'), norikv.delete('key:r');

-- Idempotency keys: a repeat of the same request does nothing and has the first answer.
SELECT gen_random_uuid() AS id \gset
SELECT norikv.put('key:i', 'first', idempotency_key => :'id') AS v \gset
SELECT norikv.put('key:i', 'second') IS NOT NULL AS put;
SELECT norikv.put('key:i', 'first', idempotency_key => :'id') = :'v' AS same_answer, norikv.get('key:i');
SELECT norikv.delete('key:i', idempotency_key => :'id' || 'd'),
       norikv.put('key:i', 'third') IS NOT NULL AS put,
       norikv.delete('key:i', idempotency_key => :'id' || 'd'), norikv.get('key:i');
\set VERBOSITY sqlstate
SELECT norikv.put('key:i', 'other', idempotency_key => :'id');
SELECT norikv.put('key:i', 'v', idempotency_key => '');
SELECT norikv.put('key:i', 'v', idempotency_key => repeat('x', 600));
\set VERBOSITY default
SELECT norikv.put('key:i', 'v', idempotency_key => '~nk1/a/0/1');

-- Time to live
SELECT norikv.put('key:t', 'v', ttl => '1 hour') IS NOT NULL AS put,
       (norikv.entry('key:t')).expires_at BETWEEN now() + '59 min' AND now() + '61 min' AS in_an_hour;
SELECT norikv.put('key:t', 'v') IS NOT NULL AS put, (norikv.entry('key:t')).expires_at AS never;
SELECT norikv.put('key:t', 'v', ttl => '1 millisecond') IS NOT NULL AS put, pg_sleep(0.02),
       norikv.get('key:t'), norikv.has_key('key:t'), norikv.entry('key:t');
SELECT norikv.put('key:t', 'v', ttl => '36500 days') IS NOT NULL AS longest;
SELECT norikv.put('key:t', 'v', ttl => '0');
SELECT norikv.put('key:t', 'v', ttl => '999 microseconds');
SELECT norikv.put('key:t', 'v', ttl => '-1 hour');
SELECT norikv.put('key:t', 'v', ttl => '1 month');
SELECT norikv.put('key:t', 'v', ttl => '1 year');
SELECT norikv.put('key:t', 'v', ttl => '100 years'::interval - '100 years'::interval + '36526 days');
SELECT norikv.put('key:t', 'v', ttl => '2147483647 days');

-- Consistency
SELECT norikv.get('key:a', 'strong'), norikv.get('key:a', 'eventual'), norikv.get('key:a', NULL);
SELECT norikv.get('key:a', 'stale');
SELECT norikv.entry('key:a', '');

SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan('key:', keys_only => true);
DROP FUNCTION said;
