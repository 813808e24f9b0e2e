--
-- Sessions
--
SELECT norikv.session_create('user123', 'alice@example.com', '{user,admin}') AS id \gset
SELECT norikv.session_validate(:'id'), norikv.session_get(:'id') - 'createdAt' - 'lastAccessedAt' AS session;

-- The document: the fields that other programs expect, of their types, and ttlMs.
SELECT string_agg(key || ' ' || jsonb_typeof(value), ', ' ORDER BY o) AS fields
  FROM json_each_text(norikv.get('session:' || :'id')::json) WITH ORDINALITY AS f(key, text, o)
  JOIN jsonb_each(norikv.get_json('session:' || :'id')) USING (key);
SELECT abs((s->>'createdAt')::bigint - extract(epoch FROM now()) * 1000) < 600000 AS created_now,
       (s->>'lastAccessedAt')::bigint >= (s->>'createdAt')::bigint AS accessed
  FROM norikv.get_json('session:' || :'id') AS s;

-- Using one moves its end away.
SELECT norikv.session_create('u', 'e', '{}', '1 hour') AS short \gset
SELECT norikv.put('session:' || :'short', norikv.get('session:' || :'short'), ttl => '10 minutes') IS NOT NULL AS put,
       norikv.session_validate(:'short'), (norikv.entry('session:' || :'short')).expires_at < now() + '11 minutes' AS validating_does_not,
       norikv.session_get(:'short') IS NOT NULL AS found, (norikv.entry('session:' || :'short')).expires_at > now() + '59 minutes' AS getting_does;

-- Updates: fields are replaced, the others stay, also those that only others know.
SELECT norikv.put('session:' || :'id', norikv.get_json('session:' || :'id') || '{"cart": {"n": 1.50}, "theme": null}', ttl => '1 hour') IS NOT NULL AS put;
SELECT norikv.session_update(:'id', '{"roles": ["user"], "note": "é"}');
SELECT norikv.session_get(:'id') - 'createdAt' - 'lastAccessedAt' AS session;
CREATE FUNCTION add_role(old jsonb, args jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_set(old, '{roles}', (old->'roles') || (args->'role')) $$;
CREATE FUNCTION drop_session(old jsonb, args jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$;
SELECT norikv.session_modify(:'id', 'add_role(jsonb,jsonb)', '{"role": "premium"}');
SELECT norikv.get('session:' || :'id') ~ '^\{"userId":"user123","email":"alice@example.com","roles":\["user","premium"\],"createdAt":\d+,"lastAccessedAt":\d+,"ttlMs":3600000,' AS fields_in_order,
       norikv.get('session:' || :'id') LIKE '%"cart":{"n": 1.50}%' AS others_kept;
\set VERBOSITY sqlstate
SELECT norikv.session_modify(:'short', 'drop_session(jsonb,jsonb)');
\set VERBOSITY default

-- Its time to live, in milliseconds, is a field of it.
SELECT norikv.session_update(:'id', '{"ttlMs": 7200000}'), (norikv.entry('session:' || :'id')).expires_at BETWEEN now() + '119 minutes' AND now() + '121 minutes' AS two_hours;

-- Destroyed, it is gone for everybody.
SELECT norikv.session_destroy(:'id'), norikv.session_destroy(:'id') AS again;
SELECT norikv.session_get(:'id') AS session, norikv.session_validate(:'id') AS valid,
       norikv.session_update(:'id', '{}') AS updated, norikv.session_modify(:'id', 'add_role(jsonb,jsonb)', '{}') AS modified,
       norikv.has_key('session:' || :'id') AS back;

-- One of another program, which keeps its time to live by itself; numbers as JavaScript has them.
\set other 11111111-2222-4333-8444-555555555555
SELECT norikv.put('session:' || :'other', format('{"userId":"u","email":"e","roles":[],"createdAt":%s.25,"lastAccessedAt":%se0,"z":[1,{"a":null}]}', ms, ms), ttl => '30 minutes') IS NOT NULL AS put
  FROM (SELECT floor(extract(epoch FROM now()) * 1000) AS ms) t;
SELECT (norikv.session_get(:'other')->>'ttlMs')::bigint BETWEEN 1790000 AND 1810000 AS as_it_was,
       norikv.get_json('session:' || :'other')->'z' AS kept;
SELECT (norikv.entry('session:' || :'other')).expires_at > now() + '29 minutes' AS slid;
-- Without a time to live at all it has the pattern's.
SELECT norikv.put('session:' || :'other', '{"userId":"u","email":"e","roles":[],"createdAt":1,"lastAccessedAt":2}') IS NOT NULL AS put;
SELECT norikv.session_get(:'other')->>'ttlMs' AS ttl;

-- One that has no room for more can be read: it lives on where its last use has as many digits.
SELECT floor(extract(epoch FROM now()) * 1000)::bigint AS ms \gset
CREATE FUNCTION full_session(last_used text) RETURNS text LANGUAGE sql AS
$$ SELECT format('{"userId":"u","email":"e","roles":[],"createdAt":1,"lastAccessedAt":%s,"x":"%s"}', last_used, repeat('x', 1048576 - 76 - length(last_used))) $$;
SELECT norikv.put('session:' || :'other', full_session(:'ms'), ttl => '30 minutes') IS NOT NULL AS put, length(full_session(:'ms')), length(full_session('2'));
SELECT pg_sleep(0.01);
SELECT norikv.session_get(:'other') - 'x' - 'lastAccessedAt' AS session;
SELECT (norikv.get_json('session:' || :'other') ->> 'lastAccessedAt')::bigint > :ms AS used, length(norikv.get('session:' || :'other')),
       (norikv.entry('session:' || :'other')).expires_at BETWEEN now() + '29 minutes' AND now() + '31 minutes' AS slid;
SELECT norikv.session_update(:'other', '{"userId": "user"}');
SELECT norikv.put('session:' || :'other', full_session('2'), ttl => '30 minutes') IS NOT NULL AS put;
SELECT norikv.session_get(:'other') - 'x' AS session;
SELECT norikv.session_update(:'other', '{}');
SELECT norikv.get('session:' || :'other') = full_session('2') AS as_it_was;
SELECT norikv.session_update(:'other', '{"x": null}'), norikv.session_get(:'other') ? 'ttlMs' AS room;
DROP FUNCTION full_session;

-- Broken ones are errors that name the key, and stay as they are.
CREATE FUNCTION tries_broken(value text) RETURNS TABLE (state text, message text, detail text, hint text, context text) LANGUAGE plpgsql AS $$
DECLARE
    call text;
BEGIN
    PERFORM norikv.put('session:11111111-2222-4333-8444-555555555555', value);
    FOREACH call IN ARRAY ARRAY['session_get(%L)', 'session_update(%L, ''{}'')', 'session_modify(%L, ''add_role(jsonb,jsonb)'', ''{}'')']
    LOOP
        BEGIN
            EXECUTE 'SELECT norikv.' || format(call, '11111111-2222-4333-8444-555555555555');
            RAISE 'no error of %', call;
        EXCEPTION WHEN data_exception OR statement_too_complex THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
        END;
        IF norikv.get('session:11111111-2222-4333-8444-555555555555') <> value THEN
            RAISE 'written over by %', call;
        END IF;
    END LOOP;
    context := CASE WHEN context LIKE '%value of key "session:11111111-2222-4333-8444-555555555555"%' THEN 'names the key' END;
    RETURN NEXT;
END $$;
\x on
SELECT b.* FROM (VALUES
    ('no json'), ('[]'), ('"x"'), ('{}'), ('{"userId":1,"email":"e","roles":[],"createdAt":1,"lastAccessedAt":2}'),
    ('{"userId":"u","email":null,"roles":[],"createdAt":1,"lastAccessedAt":2}'),
    ('{"userId":"u","email":"e","roles":["a",1],"createdAt":1,"lastAccessedAt":2}'),
    ('{"userId":"u","email":"e","roles":{},"createdAt":1,"lastAccessedAt":2}'),
    ('{"userId":"u","email":"e","roles":[],"createdAt":"1","lastAccessedAt":2}'),
    ('{"userId":"u","email":"e","roles":[],"createdAt":1,"lastAccessedAt":1e300}'),
    ('{"userId":"u","email":"e","roles":[],"createdAt":9223372036854775807,"lastAccessedAt":2}'),
    ('{"userId":"u","email":"e","roles":[],"createdAt":1,"lastAccessedAt":2,"ttlMs":1.5}'),
    ('{"userId":"u","email":"e","roles":[],"createdAt":1,"lastAccessedAt":2,"ttlMs":9007199254740992}'),
    ('{"userId":"u\u0000","email":"e","roles":[],"createdAt":1,"lastAccessedAt":2}'),
    ('{"userId":"u","email":"e","roles":[],"createdAt":1,"lastAccessedAt":2'),
    ('{"userId":"u","email":"e","roles":[],"createdAt":1,"lastAccessedAt":2,"more":' || repeat('[', 100000) || repeat(']', 100000) || '}'),
    ('{"userId":"u","email":"e","roles":' || repeat('[', 100000) || repeat(']', 100000) || ',"createdAt":1,"lastAccessedAt":2}')) AS v(v), tries_broken(v) AS b;
\x off
SELECT norikv.put('session:' || :'other', '\xff'::bytea) IS NOT NULL AS put;
SELECT norikv.session_get(:'other');

-- What would be none any more is refused.
SELECT norikv.session_create('u', 'e', '{}') AS id \gset
\set VERBOSITY sqlstate
SELECT norikv.session_update(:'id', '{"roles": "admin"}');
SELECT norikv.session_update(:'id', '{"userId": null}');
SELECT norikv.session_update(:'id', '{"createdAt": 9223372036854775807}');
SELECT norikv.session_modify(:'id', 'jsonb_concat(jsonb,jsonb)', '[]');
SELECT norikv.session_update(:'id', '[]');
SELECT norikv.session_update(:'id', NULL);
SELECT norikv.session_update(NULL, '{}');
SELECT norikv.session_modify(:'id', NULL);
SELECT norikv.session_modify(:'id', 'pg_catalog.jsonb_strip_nulls(jsonb)');
SELECT norikv.session_destroy(NULL);
SELECT norikv.session_create('u', 'e', '{a,NULL}');
SELECT norikv.session_create(NULL, 'e', '{}');
SELECT norikv.session_create('u', 'e', NULL);
SELECT norikv.session_create('u', 'e', '{}', '1 month');
SELECT norikv.session_get('no uuid');
BEGIN READ ONLY;
SELECT norikv.session_get(:'id');
ROLLBACK;
\set VERBOSITY default
SELECT norikv.session_get(NULL) AS null, norikv.session_validate(NULL) AS null;
SELECT norikv.session_get(:'id') - 'createdAt' - 'lastAccessedAt' AS unchanged;

DROP FUNCTION add_role, drop_session, tries_broken;
SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan('session:', keys_only => true);
