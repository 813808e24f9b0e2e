--
-- Every call resolves with plain literals, and with parameters of no type.
--
SELECT norikv.put('lit:k', 'v') IS NOT NULL AS put;
SELECT norikv.put('lit:k', 'v', '1 hour') IS NOT NULL AS put_ttl;
SELECT norikv.put('lit:k', 'v', NULL, 'any', false, NULL) IS NOT NULL AS put_all;
SELECT norikv.put(key => 'lit:k', value => 'v', ttl => '1 hour', if_match => 'any',
                  if_absent => 'no', idempotency_key => 'lit-1') IS NOT NULL AS put_named;
SELECT norikv.try_put('lit:k', 'w') IS NOT NULL AS try_put,
       norikv.try_put('lit:k', 'w', if_absent => true) AS not_put;
SELECT norikv.get('lit:k'), norikv.get('lit:k', 'strong'), norikv.get(key => 'lit:k', consistency => 'eventual');
SELECT norikv.get_bytes('lit:k'), norikv.get_bytes('lit:k', 'strong');
SELECT norikv.put('lit:j', '{"a": 1}') IS NOT NULL AS put;
SELECT norikv.get_json('lit:j'), norikv.get_json('lit:j', 'bounded_staleness');
SELECT key, value, version IS NOT NULL AS version, expires_at FROM norikv.entry('lit:k');
SELECT (norikv.entry('lit:k', 'strong')).key;
SELECT norikv.has_key('lit:k'), norikv.has_key('lit:absent');
SELECT norikv.delete('lit:k'), norikv.delete('lit:k', 'any'), norikv.delete('lit:k', 'any', 'lit-2');
SELECT norikv.mput('{lit:a,lit:b}', '{1,2}'), norikv.mput('{lit:a}', '{1}', '1 hour'),
       norikv.mput(keys => '{lit:c}', vals => '{3}', ttl => '1 hour');
SELECT norikv.mput(ARRAY['lit:a', 'lit:b'], ARRAY['1', '2']), norikv.mput(ARRAY['lit:a'], '{1}'),
       norikv.mput('{lit:a}', ARRAY['1']);
SELECT ordinality, key, value FROM norikv.mget('{lit:a,lit:z}');
SELECT ordinality, key, value FROM norikv.mget(ARRAY['lit:a', 'lit:z'], 'strong');
SELECT ordinality, key, value FROM norikv.mget_bytes('{lit:a,lit:z}');
SELECT pg_typeof(key) FROM norikv.mget('{lit:a}')
UNION ALL SELECT pg_typeof(key) FROM norikv.mget('{lit:a}'::bytea[])
UNION ALL SELECT pg_typeof(key) FROM norikv.mget('{lit:a}'::varchar[]);
SELECT key, value FROM norikv.scan('lit:');
SELECT key, value FROM norikv.scan('lit:', 'lit:b', 'lit:c', 10, false, false);
SELECT key, value FROM norikv.scan(prefix => 'lit:', start_key => 'lit:b', max_rows => 1);
SELECT key FROM norikv.scan(start_key => 'lit:', end_key => 'lit;', keys_only => true);
SELECT key, value FROM norikv.scan_bytes('lit:');
SELECT count(*) >= 4 AS everything FROM norikv.scan();
SELECT norikv.key_count() >= 4 AS everything, norikv.key_count('lit:');
SELECT norikv.mdelete('{lit:a,lit:b}'), norikv.mdelete(ARRAY['lit:c', 'lit:j']);
CREATE FUNCTION literal_step(old jsonb, args jsonb) RETURNS jsonb
LANGUAGE sql AS $$ SELECT coalesce(args, '{"default": true}') $$;
SELECT norikv.update('lit:u', 'literal_step(jsonb,jsonb)');
SELECT norikv.update('lit:u', 'literal_step(jsonb,jsonb)', '{"a": 1}', '1 hour', 3);
SELECT norikv.update(key => 'lit:u', updater => 'literal_step(jsonb,jsonb)', max_retries => 0);
SELECT norikv.update('lit:u'::bytea, 'literal_step(jsonb,jsonb)');
SELECT norikv.delete('lit:u');
DROP FUNCTION literal_step;
SELECT ops, bytes FROM norikv.pending_writes();
SELECT norikv.ping() > '0', norikv.ping('norikv') > '0';
SELECT name FROM norikv.server_info();
SELECT count(*) > 0 AS some FROM norikv.cluster_view();

-- Each type of a value, each type of a key
SELECT pg_typeof(norikv.put('lit:t', 'text'::text)), pg_typeof(norikv.put('lit:t', 'varchar'::varchar)),
       pg_typeof(norikv.put('lit:t', '\x00'::bytea)), pg_typeof(norikv.put('lit:t', '{}'::jsonb)),
       pg_typeof(norikv.put('lit:t', '{}'::json));
SELECT pg_typeof(norikv.put('lit:t'::bytea, 'unknown')), pg_typeof(norikv.put('lit:t'::bytea, '\x00'::bytea)),
       pg_typeof(norikv.put('lit:t'::bytea, '{}'::jsonb)), pg_typeof(norikv.put('lit:t'::bytea, '{}'::json));
SELECT norikv.get('lit:t'::bytea), norikv.get_bytes('lit:t'::bytea), norikv.get_json('lit:t'::bytea),
       norikv.has_key('lit:t'::bytea), (norikv.entry('lit:t'::bytea)).key, norikv.key_count('lit:t'::bytea);
SELECT key, value FROM norikv.scan('lit:t'::bytea);
SELECT norikv.delete('lit:t'::bytea);
SELECT norikv.get('lit:t'::varchar), norikv.get('lit:t'::name);

-- With norikv in search_path
SET search_path = public, norikv;
SELECT put('lit:s', 'v') IS NOT NULL AS put, get('lit:s'), delete('lit:s'), count(*), min(1), max('x'::text);
SELECT version() LIKE 'PostgreSQL%' AS version;
RESET search_path;

-- Parameters
PREPARE p AS SELECT norikv.put($1, $2) IS NOT NULL, norikv.get($1), norikv.delete($1);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'p';
EXECUTE p('lit:p', 'v');
PREPARE q AS SELECT ordinality, key, value FROM norikv.mget($1);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'q';
EXECUTE q('{lit:p}');
DEALLOCATE ALL;

-- The patterns' calls, all arguments by position
SELECT norikv.counter_init('lit', '1'), norikv.counter_add('lit', '1', NULL), norikv.counter_set('lit', '5'),
       norikv.sharded_counter_add('lit', '1', '2'), norikv.sharded_counter_get('lit', '2');
SELECT norikv.lock('lit', '10 s', '1 s') AS token \gset
SELECT norikv.renew_lock('lit', :token, '10 s'), norikv.lock_holder('lit') IS NOT NULL AS held, norikv.unlock('lit', :token),
       norikv.xact_lock('lit', '10 s', '1 s') = norikv.try_xact_lock('lit', '10 s') AS xact, norikv.try_lock('lit', '10 s') > 0 AS try;
SELECT norikv.unlock('lit', token) FROM norikv.locks_held WHERE name = 'lit';
SELECT norikv.fence('lit', '1'), norikv.fence_reset('lit');
SELECT norikv.campaign('lit', 'node', '10 s', 'SELECT 1', 'SELECT 1'), norikv.resign('lit');
SELECT (norikv.elect('lit-2', 'node', '10 s')).is_leader, norikv.is_leader('lit-2'), norikv.leader('lit-2'), norikv.resign('lit-2');
SELECT norikv.run_once('lit', '1 hour', 'SELECT 1');
SELECT norikv.session_validate(norikv.session_create('u', 'e', '{a,b}', '1 h')), norikv.session_destroy(norikv.session_create('u', 'e', ARRAY['a']));
SELECT norikv.inventory_create('lit', '5'), norikv.inventory_restock('lit', '1'), norikv.inventory_reserve('lit', '1', '1 h', 'k') IS NOT NULL AS reserved,
       norikv.inventory_available('lit');
SELECT (norikv.rate_limit('lit', '5', '1 h', '1')).remaining, (norikv.rate_limit_peek('lit', '5', '1 h')).remaining, norikv.rate_limit_reset('lit');
SELECT norikv.cache_put('lit', 'v', '1 h') IS NOT NULL AS put, norikv.cache_put('lit', 'v') IS NOT NULL AS put, norikv.cache_get('lit'),
       norikv.cache_put('lit', '{}'::jsonb) IS NOT NULL AS put, norikv.cache_get('lit'), norikv.cache_invalidate('lit'), norikv.cache_delete('lit');
SELECT (norikv.event_append('lit', 't', '{}', '0', '00000000-0000-4000-8000-000000000001')).version;
SELECT version FROM norikv.events('lit', '0');
SELECT norikv.tenant_create('lit', 'n', 'free') ->> 'id' AS id, norikv.tenant_get('lit') ->> 'plan' AS plan,
       norikv.tenant_put('lit', 'k', 'v', '1 h', 'any', 'no', NULL) IS NOT NULL AS put, norikv.tenant_put('lit', 'k', '\x76'::bytea) IS NOT NULL AS put,
       norikv.tenant_get('lit', 'k'), norikv.tenant_get('lit', 'k', 'strong'), (norikv.tenant_usage('lit')).keys,
       norikv.tenant_delete('lit', 'k', 'any', 'lit-3'), norikv.tenant_delete('lit', 'k');
PREPARE p AS SELECT norikv.counter_add($1, $2), norikv.lock($3, $4, $5), norikv.session_create($6, $7, $8, $9), norikv.inventory_reserve($10, $11, $12, $13),
	norikv.rate_limit($14, $15, $16), norikv.cache_put($17, $18, $19), norikv.event_append($20, $21, $22, $23, $24), norikv.tenant_put($25, $26, $27),
	norikv.tenant_get($28), norikv.tenant_get($28, $29), norikv.tenant_delete($28, $29), norikv.run_once($30, $31, $32), norikv.campaign($33, $34, $35, $36, $37);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'p';
DEALLOCATE ALL;
DO $$ BEGIN WHILE EXISTS (SELECT FROM norikv.locks_held) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT count(norikv.delete(key)) > 0 AS cleaned FROM norikv.scan(keys_only => true) WHERE key ~ '(^|:)lit' OR key LIKE 'session:%';
