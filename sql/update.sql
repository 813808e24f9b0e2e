--
-- update(): compare-and-swap with a function of one's own
--
CREATE FUNCTION add_up(old jsonb, args jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('n', coalesce((old->>'n')::int, 0) + coalesce((args->>'by')::int, 1)) $$;
CREATE FUNCTION drop_it(old jsonb, args jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$;
CREATE FUNCTION strict_one(old jsonb, args jsonb) RETURNS jsonb LANGUAGE sql STRICT AS $$ SELECT old || args $$;

-- Absent: old is NULL.
SELECT norikv.update('upd:a', 'add_up(jsonb,jsonb)');
SELECT norikv.update('upd:a', 'add_up(jsonb,jsonb)', '{"by": 41}');
SELECT norikv.get_json('upd:a');

-- NULL deletes; and what is absent stays absent.
SELECT norikv.update('upd:a', 'drop_it(jsonb,jsonb)') AS result, norikv.has_key('upd:a');
SELECT norikv.update('upd:a', 'drop_it(jsonb,jsonb)') AS result, norikv.has_key('upd:a');

-- The time to live stays unless given.
SELECT norikv.put('upd:t', '{"n": 1}', ttl => '1 hour') IS NOT NULL AS put;
SELECT (norikv.entry('upd:t')).expires_at AS before \gset
SELECT norikv.update('upd:t', 'add_up(jsonb,jsonb)'), (norikv.entry('upd:t')).expires_at = :'before' AS kept;
SELECT norikv.update('upd:t', 'add_up(jsonb,jsonb)', ttl => '1 day'),
       (norikv.entry('upd:t')).expires_at > now() + '23 hours' AS replaced;
SELECT norikv.put('upd:t', '{"n": 1}') IS NOT NULL AS put;
SELECT norikv.update('upd:t', 'add_up(jsonb,jsonb)'), (norikv.entry('upd:t')).expires_at AS never;
SELECT norikv.update('upd:new', 'add_up(jsonb,jsonb)', ttl => '1 hour'),
       (norikv.entry('upd:new')).expires_at > now() AS created_with_ttl;

-- A strict updater is not called for an absent key, and never deletes for NULL args.
SELECT norikv.update('upd:s', 'strict_one(jsonb,jsonb)', '{"a": 1}') AS result, norikv.has_key('upd:s');
SELECT norikv.put('upd:s', '{"b": 2}') IS NOT NULL AS put;
SELECT norikv.update('upd:s', 'strict_one(jsonb,jsonb)', '{"a": 1}');
SELECT norikv.update('upd:s', 'strict_one(jsonb,jsonb)');
SELECT norikv.get('upd:s');

-- What interferes: the updater itself writes the key, twice, so the third try holds.
CREATE SEQUENCE tries;
CREATE FUNCTION interfere(old jsonb, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') <= (args->>'times')::int THEN
        PERFORM norikv.put('upd:i', jsonb_build_object('n', currval('tries')));
    END IF;
    RETURN jsonb_build_object('saw', old->'n');
END $$;
SELECT norikv.put('upd:i', '{"n": 0}') IS NOT NULL AS put;
SELECT norikv.update('upd:i', 'interfere(jsonb,jsonb)', '{"times": 2}'), nextval('tries') AS next;
SELECT norikv.put('upd:i', '{"n": 0}') IS NOT NULL AS put, setval('tries', 1, false);
\set VERBOSITY sqlstate
SELECT norikv.update('upd:i', 'interfere(jsonb,jsonb)', '{"times": 100}', max_retries => 3);
\set VERBOSITY default
SELECT nextval('tries') AS tries_and_one, norikv.get('upd:i');

-- It creates only what is absent, also when the key comes to be in between.
CREATE FUNCTION create_meanwhile(old jsonb, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF old IS NULL THEN
        PERFORM norikv.put('upd:c', '{"other": true}');
        RETURN '{"first": true}';
    END IF;
    RETURN old || '{"second": true}';
END $$;
SELECT norikv.update('upd:c', 'create_meanwhile(jsonb,jsonb)');

-- Errors of the updater are its own, and leave the key as it is.
CREATE FUNCTION failing(old jsonb, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no, %', old; END $$;
SELECT norikv.update('upd:c', 'failing(jsonb,jsonb)');
SELECT norikv.get('upd:c');
SELECT norikv.put('upd:x', 'no json') IS NOT NULL AS put;
SELECT norikv.update('upd:x', 'add_up(jsonb,jsonb)');

-- Arguments that are refused
SELECT norikv.update(NULL, 'add_up(jsonb,jsonb)');
SELECT norikv.update('upd:a', NULL);
SELECT norikv.update('upd:a', 'add_up(jsonb,jsonb)', max_retries => -1);
SELECT norikv.update('upd:a', 'add_up(jsonb,jsonb)', max_retries => NULL);
SELECT norikv.update('upd:a', 'add_up(jsonb,jsonb)', ttl => '1 month');
SELECT norikv.update('upd:a', 'pg_catalog.jsonb_strip_nulls(jsonb)');
SELECT norikv.update('upd:a', 'pg_catalog.jsonb_object_agg("any","any")');
SELECT norikv.update('upd:a', 'pg_catalog.jsonb_eq(jsonb,jsonb)');
SELECT norikv.update('upd:a', 0::oid::regprocedure);

-- EXECUTE on the updater is the caller's to have.
CREATE ROLE regress_norikv_updater;
GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO regress_norikv_updater;
REVOKE EXECUTE ON FUNCTION add_up FROM PUBLIC;
SET ROLE regress_norikv_updater;
SELECT norikv.update('upd:a', 'add_up(jsonb,jsonb)');
RESET ROLE;
GRANT EXECUTE ON FUNCTION add_up TO regress_norikv_updater;
SET ROLE regress_norikv_updater;
SELECT norikv.update('upd:a', 'add_up(jsonb,jsonb)');
RESET ROLE;

DROP OWNED BY regress_norikv_updater;
DROP ROLE regress_norikv_updater;
DROP FUNCTION add_up, drop_it, strict_one, interfere, create_meanwhile, failing;
DROP SEQUENCE tries;
SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan('upd:', keys_only => true);
