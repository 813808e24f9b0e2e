--
-- event_append(), events(), event_fold()
--
SELECT aggregate_id, type, data, version, id IS NOT NULL AS id,
       abs(extract(epoch FROM timestamp - now())) < 3600 AS recent
FROM norikv.event_append('ev-1', 'Opened', '{"by": "ann"}');
SELECT version FROM norikv.event_append('ev-1', 'Paid', '{"amount": 100}', expected_version => 1);
SELECT version FROM norikv.event_append('ev-1', 'Paid', '{"amount": 2.50, "note": "é \" \\ \n"}');
SELECT aggregate_id, type, data, version FROM norikv.events('ev-1');
SELECT version FROM norikv.events('ev-1', 2);
SELECT count(*) FROM norikv.events('ev-1', 3);
SELECT count(*) FROM norikv.events('ev-1', 9223372036854775807);
SELECT count(*) FROM norikv.events('ev-none');
SELECT count(*) FROM norikv.events(NULL);

-- The keys and documents that other programs read.
SELECT norikv.get('events:meta:ev-1') AS head;
SELECT key, regexp_replace(regexp_replace(value, '"id":"[-0-9a-f]{36}"', '"id":"..."'), '"timestamp":\d{13},', '"timestamp":...,') AS value
FROM norikv.scan('events:ev-1:');
SELECT count(*) AS ids, min(value) FROM norikv.scan('events:id:ev-1:');

-- What they wrote is read, in any order of fields, with fields of their own.
SELECT norikv.mput(ARRAY['events:meta:ev-js', 'events:ev-js:1'], ARRAY[
    '{"version":1,"owner":"js"}',
    '{"version":1,"x":[1],"id":"b3b1f1c0-1111-4222-8333-444455556666","aggregateId":"ev-js","type":"Made","timestamp":1700000000123}']);
SELECT id, type, data, timestamp AT TIME ZONE 'UTC' AS at, version FROM norikv.events('ev-js');
SELECT version FROM norikv.event_append('ev-js', 'Next', 'null');
SELECT norikv.get('events:meta:ev-js') AS head_keeps_fields;
SELECT version, data IS NULL AS data_is_null FROM norikv.events('ev-js', 1);

-- A key beyond the head is no event, and is written over.
SELECT norikv.put('events:ev-1:4', 'left over') IS NOT NULL AS put;
SELECT count(*) FROM norikv.events('ev-1');
SELECT version FROM norikv.event_append('ev-1', 'Closed', '{}');
SELECT type FROM norikv.events('ev-1', 3);

-- An expected version that is not there any more.
SELECT norikv.event_append('ev-1', 'Late', '{}', expected_version => 1);
SELECT norikv.event_append('ev-new', 'Late', '{}', expected_version => 1);
SELECT version FROM norikv.event_append('ev-new', 'First', '{}', expected_version => 0);

-- An id names one event: the same call again answers it, another one is an error.
SELECT version FROM norikv.event_append('ev-id', 'Paid', '{"n": 1}', event_id => '00000000-0000-4000-8000-000000000001');
SELECT version FROM norikv.event_append('ev-id', 'Paid', '{"n": 2}');
SELECT version, data FROM norikv.event_append('ev-id', 'Paid', '{"n": 1.0}', expected_version => 0, event_id => '00000000-0000-4000-8000-000000000001');
SELECT norikv.event_append('ev-id', 'Paid', '{"n": 3}', event_id => '00000000-0000-4000-8000-000000000001');
SELECT norikv.event_append('ev-id', 'Lost', '{"n": 1}', event_id => '00000000-0000-4000-8000-000000000001');
SELECT version FROM norikv.event_append('ev-other', 'Paid', '{"n": 3}', event_id => '00000000-0000-4000-8000-000000000001');
SELECT version FROM norikv.event_append('ev-id', 'Void', 'null', event_id => '00000000-0000-4000-8000-000000000002');
SELECT version FROM norikv.event_append('ev-id', 'Void', 'null', event_id => '00000000-0000-4000-8000-000000000002');
SELECT count(*) FROM norikv.events('ev-id');

-- Folding
CREATE FUNCTION ev_sum(state jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT to_jsonb(coalesce(state::numeric, 0) + coalesce((data ->> 'amount')::numeric, 0)) $$;
CREATE FUNCTION ev_strict(state jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE sql STRICT AS
$$ SELECT state || jsonb_build_array(type) $$;
CREATE FUNCTION ev_fails(state jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN RAISE 'no % here', type; END $$;
SELECT norikv.event_fold('ev-1', '1000', 'ev_sum(jsonb,text,jsonb)');
SELECT norikv.event_fold('ev-1', NULL, 'ev_sum(jsonb,text,jsonb)');
SELECT norikv.event_fold('ev-none', '{"initial": true}', 'ev_sum(jsonb,text,jsonb)');
SELECT norikv.event_fold('ev-id', '[]', 'ev_strict(jsonb,text,jsonb)');
SELECT norikv.event_fold('ev-1', NULL, 'ev_strict(jsonb,text,jsonb)') AS null_stays;
SELECT norikv.event_fold(NULL, '1', 'ev_sum(jsonb,text,jsonb)') AS null;
SELECT norikv.event_fold('ev-1', NULL, 'ev_fails(jsonb,text,jsonb)');
SELECT norikv.event_fold('ev-1', NULL, 'lower(text)');

-- More than one request, from the middle on
SELECT count(norikv.event_append('ev-many', 'n', to_jsonb(i), event_id => md5(i::text)::uuid)) FROM generate_series(1, 350) i;
SELECT count(*), min(version), max(version), bool_and(data = to_jsonb(version)) FROM norikv.events('ev-many', 20);
SELECT norikv.event_fold('ev-many', '0', 'ev_sum(jsonb,text,jsonb)');

-- Refused
SELECT norikv.event_append(NULL, 'x', '{}');
SELECT norikv.event_append('a', NULL, '{}');
SELECT norikv.event_append('a', 'x', NULL);
SELECT norikv.event_append('meta', 'x', '{}');
SELECT norikv.event_append('meta:a', 'x', '{}');
SELECT norikv.event_append('id:a', 'x', '{}');
SELECT version FROM norikv.event_append('metadata', 'x', '{}');
SELECT norikv.event_append('', 'x', '{}');
SELECT norikv.event_append(repeat('a', 978), 'x', '{}');
SELECT version FROM norikv.event_append(repeat('a', 977), 'x', '{}');
SELECT norikv.event_append('a', 'x', '{}', -1);
SELECT norikv.events('a', -1);

-- Broken documents: an error that names the key, and nothing is written.
SELECT norikv.put('events:meta:ev-broken', 'no json') IS NOT NULL AS put;
\set VERBOSITY sqlstate
SELECT norikv.event_append('ev-broken', 'x', '{}');
\set VERBOSITY default
SELECT norikv.put('events:meta:ev-broken', '{"version":"2"}') IS NOT NULL AS put;
SELECT norikv.event_append('ev-broken', 'x', '{}');
SELECT norikv.put('events:meta:ev-broken', '{"version":2}') IS NOT NULL AS put;
SELECT * FROM norikv.events('ev-broken');
SELECT norikv.mput(ARRAY['events:ev-broken:1', 'events:ev-broken:2'], ARRAY[
    '{"version":7,"id":"b3b1f1c0-1111-4222-8333-444455556666","aggregateId":"ev-broken","type":"Made","timestamp":1}', '{}']);
SELECT * FROM norikv.events('ev-broken');
SELECT norikv.put('events:ev-broken:1', '{"version":1,"id":"b3b1f1c0-1111-4222-8333-444455556666","aggregateId":"ev-broken","type":"Made","timestamp":1,"data":' || repeat('{"a":', 100000) || '1' || repeat('}', 100001)) IS NOT NULL AS put;
SELECT * FROM norikv.events('ev-broken');
SELECT norikv.get_json('events:ev-broken:1');
SELECT norikv.put('events:ev-broken:1', '{"version":1,"id":"7","aggregateId":"ev-broken","type":"Made","timestamp":1}') IS NOT NULL AS put;
SELECT * FROM norikv.events('ev-broken');
SELECT * FROM norikv.events('ev-broken', 1);
SELECT norikv.put('events:meta:ev-broken', '{"version":9007199254740991}') IS NOT NULL AS put;
SELECT norikv.event_append('ev-broken', 'x', '{}');
SELECT norikv.put('events:meta:ev-broken', '{"version":9223372036854775807}') IS NOT NULL AS put;
SELECT * FROM norikv.events('ev-broken');
SELECT * FROM norikv.events('ev-broken', 9223372036854775807);
SELECT norikv.event_fold('ev-broken', NULL, 'ev_sum(jsonb,text,jsonb)');
SELECT norikv.event_append('ev-broken', 'x', '{}');
SELECT norikv.mput(ARRAY['events:meta:ev-number', 'events:ev-number:1'], ARRAY['{"version":1}',
    '{"version":1,"id":"b3b1f1c0-1111-4222-8333-444455556666","aggregateId":"ev-number","type":"Made","data":1e999999999,"timestamp":1}']);
SELECT * FROM norikv.events('ev-number');
SELECT norikv.event_fold('ev-number', NULL, 'ev_sum(jsonb,text,jsonb)');
SELECT norikv.put('events:id:ev-broken:00000000-0000-4000-8000-000000000001', '{"version":-3}') IS NOT NULL AS put;
SELECT norikv.event_append('ev-broken', 'x', '{}', event_id => '00000000-0000-4000-8000-000000000001');

-- Reads do in a read-only transaction, writes do not.
BEGIN READ ONLY;
SELECT count(*) FROM norikv.events('ev-1');
SELECT norikv.event_append('ev-1', 'x', '{}');
ROLLBACK;

SELECT count(*) > 0 AS cleaned FROM (SELECT norikv.delete(key) FROM norikv.scan('events:', keys_only => true)) AS all_keys;
DROP FUNCTION ev_sum, ev_strict, ev_fails;
