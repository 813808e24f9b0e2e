--
-- What holds for every function: who may call it, that nothing is written where nothing
-- may be, and what a NULL does. The functions are those of the catalogue.
--
CREATE TABLE conventions_calls (name text PRIMARY KEY, writes boolean, arguments jsonb);
INSERT INTO conventions_calls VALUES
	('counter_init', true, '{"name": "con:c", "value": "1"}'),
	('counter_add', true, '{"name": "con:c", "delta": "1", "idempotency_key": "con-c"}'),
	('counter_get', false, '{"name": "con:c"}'),
	('counter_set', true, '{"name": "con:c", "value": "1"}'),
	('sharded_counter_add', true, '{"name": "con:s", "delta": "1", "shards": "2"}'),
	('sharded_counter_get', false, '{"name": "con:s", "shards": "2"}'),
	('lock', true, '{"name": "con:l", "ttl": "10 s", "wait": "10 s"}'),
	('try_lock', true, '{"name": "con:l", "ttl": "10 s"}'),
	('xact_lock', true, '{"name": "con:x", "ttl": "10 s", "wait": "10 s"}'),
	('try_xact_lock', true, '{"name": "con:x", "ttl": "10 s"}'),
	('renew_lock', true, '{"name": "con:l", "token": "1", "ttl": "10 s"}'),
	('unlock', true, '{"name": "con:l", "token": "1"}'),
	('lock_holder', false, '{"name": "con:l"}'),
	('fence', true, '{"resource": "con:r", "token": "1"}'),
	('fence_reset', true, '{"resource": "con:r"}'),
	('campaign', true, '{"election": "con:e", "node_id": "n", "ttl": "1 s", "on_elected": "SELECT 1", "on_lost": "SELECT 1"}'),
	('resign', true, '{"election": "con:e"}'),
	('elect', true, '{"election": "con:h", "node_id": "n", "ttl": "1 s"}'),
	('is_leader', false, '{"election": "con:e"}'),
	('leader', false, '{"election": "con:e"}'),
	('run_once', true, '{"job": "con:j", "period": "1000 days", "command": "SELECT 1"}'),
	('session_create', true, '{"user_id": "u", "email": "e", "roles": "{user}", "ttl": "1 h"}'),
	('session_get', true, '{"id": "00000000-0000-4000-8000-000000000001"}'),
	('session_update', true, '{"id": "00000000-0000-4000-8000-000000000001", "patch": "{}"}'),
	('session_modify', true, '{"id": "00000000-0000-4000-8000-000000000001", "updater": "jsonb_concat(jsonb,jsonb)", "args": "{}"}'),
	('session_destroy', true, '{"id": "00000000-0000-4000-8000-000000000001"}'),
	('session_validate', false, '{"id": "00000000-0000-4000-8000-000000000001"}'),
	('inventory_create', true, '{"sku": "con:new", "quantity": "1"}'),
	('inventory_restock', true, '{"sku": "con:i", "delta": "1"}'),
	('inventory_reserve', true, '{"sku": "con:i", "quantity": "1", "hold": "1 h", "idempotency_key": "con-i"}'),
	('inventory_commit', true, '{"reservation": "00000000-0000-4000-8000-000000000001"}'),
	('inventory_release', true, '{"reservation": "00000000-0000-4000-8000-000000000001"}'),
	('inventory_available', false, '{"sku": "con:i"}'),
	('rate_limit', true, '{"id": "con:r", "max_requests": "10", "per": "1 h", "cost": "1"}'),
	('rate_limit_peek', false, '{"id": "con:r", "max_requests": "10", "per": "1 h"}'),
	('rate_limit_reset', true, '{"id": "con:r"}'),
	('cache_get', false, '{"key": "con:k"}'),
	('cache_put', true, '{"key": "con:k", "value": "v", "ttl": "1 h"}'),
	('cache_delete', true, '{"key": "con:k"}'),
	('cache_invalidate', null, '{"key": "con:k"}'), -- in shared memory only
	('event_append', true, '{"aggregate_id": "con:a", "type": "t", "data": "{}", "expected_version": "0", "event_id": "00000000-0000-4000-8000-000000000001"}'),
	('events', false, '{"aggregate_id": "con:a", "after_version": "0"}'),
	('event_fold', false, '{"aggregate_id": "con:a", "initial": "{}", "transition": "conventions_step(jsonb,text,jsonb)"}'),
	('tenant_create', true, '{"id": "con-new", "name": "n", "plan": "free"}'),
	('tenant_get', false, '{"tenant": "con-t", "key": "k", "consistency": "strong"}'),
	('tenant_put', true, '{"tenant": "con-t", "key": "k", "value": "v", "ttl": "1 h", "if_match": "any", "if_absent": "no", "idempotency_key": "con-t"}'),
	('tenant_delete', true, '{"tenant": "con-t", "key": "k", "if_match": "any", "idempotency_key": "con-u"}'),
	('tenant_usage', false, '{"id": "con-t"}'),
	('put', true, '{"key": "con:k", "value": "v", "ttl": "1 h", "if_match": "any", "if_absent": "no", "idempotency_key": "con-p"}'),
	('try_put', true, '{"key": "con:k", "value": "v", "ttl": "1 h", "if_match": "any", "if_absent": "no", "idempotency_key": "con-q"}'),
	('get', false, '{"key": "con:k", "consistency": "strong"}'),
	('get_bytes', false, '{"key": "con:k", "consistency": "strong"}'),
	('get_json', false, '{"key": "con:json", "consistency": "strong"}'),
	('entry', false, '{"key": "con:k", "consistency": "strong"}'),
	('delete', true, '{"key": "con:k", "if_match": "any", "idempotency_key": "con-d"}'),
	('has_key', false, '{"key": "con:k"}'),
	('mget', false, '{"keys": "{con:k}", "consistency": "strong"}'),
	('mget_bytes', false, '{"keys": "{con:k}", "consistency": "strong"}'),
	('mput', true, '{"keys": "{con:k}", "vals": "{v}", "ttl": "1 h"}'),
	('mdelete', true, '{"keys": "{con:k}"}'),
	('scan', false, '{"prefix": "con:none:", "start_key": null, "end_key": null, "max_rows": null, "reverse": "no", "keys_only": "no"}'),
	('scan_bytes', false, '{"prefix": "con:none:", "start_key": null, "end_key": null, "max_rows": null, "reverse": "no", "keys_only": "no"}'),
	('key_count', false, '{"prefix": "con:none:"}'),
	('update', true, '{"key": "con:json", "updater": "jsonb_concat(jsonb,jsonb)", "args": "{}", "ttl": "1 h", "max_retries": "1"}'),
	('vector_create_index', true, '{"namespace": "con", "dimensions": "3", "distance": "cosine", "index_type": "hnsw"}'),
	('vector_drop_index', true, '{"namespace": "con-none"}'),
	('vector_indexes', false, '{}'),
	('vector_insert', true, '{"namespace": "con", "id": "a", "vector": "{1,2,3}"}'),
	('vector_insert_many', true, '{"namespace": "con", "ids": "{a}", "vectors": "{{1,2,3}}"}'),
	('vector_get', false, '{"namespace": "con", "id": "a"}'),
	('vector_delete', true, '{"namespace": "con", "id": "a"}'),
	('vector_search', false, '{"namespace": "con", "query": "{1,2,3}", "k": "1", "include_vectors": "no"}'),
	('document_index', true, '{"id": "con", "title": "t", "content": "c"}'),
	('document_search', false, '{"query": "q", "k": "1"}'),
	('document_delete', true, '{"id": "con"}'),
	('product_index', true, '{"id": "con", "name": "n", "description": "d", "category": "c"}'),
	('interaction_record', true, '{"user_id": "con", "product_id": "con"}'),
	('recommendations', false, '{"user_id": "con", "k": "1"}'),
	('similar_products', false, '{"product_id": "con", "k": "1"}'),
	('dedup_check', true, '{"id": "con", "content": "c", "threshold": "0.9"}'),
	('dedup_remove', true, '{"id": "con"}');
GRANT SELECT ON conventions_calls TO PUBLIC;
CREATE FUNCTION conventions_step(state jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT data';

-- A function that is added must be here, with all of its arguments.
SELECT p.oid::regprocedure AS not_tried
  FROM pg_proc p LEFT JOIN conventions_calls c ON c.name = p.proname
 WHERE p.pronamespace = 'norikv'::regnamespace AND p.prokind = 'f' AND p.proname NOT LIKE 'version\_%'
   AND (c.name IS NULL OR NOT EXISTS (SELECT FROM pg_proc q WHERE q.pronamespace = p.pronamespace AND q.proname = p.proname
        AND coalesce(q.proargnames[:q.pronargs], '{}') <@ ARRAY(SELECT jsonb_object_keys(c.arguments))))
   AND p.proname <> ALL ('{ping,server_info,cluster_view,connections,disconnect,stat_calls,stat_reset,locks_held,pending_writes,cache_stats,cache_invalidate_all,embed,embed_many,l2_distance,cosine_distance,negative_inner_product,handler,validator}')
 ORDER BY 1;
-- Writers take no part in parallel plans, readers none in a parallel worker.
SELECT p.oid::regprocedure AS otherwise, p.proparallel
  FROM pg_proc p JOIN conventions_calls c ON c.name = p.proname
 WHERE p.pronamespace = 'norikv'::regnamespace
   AND (p.provolatile <> 'v' OR p.proisstrict <> (p.pronargs = 0) OR p.proparallel <> CASE WHEN c.writes OR c.name = 'event_fold' THEN 'u' ELSE 'r' END)
 ORDER BY 1;

-- What a call comes to: "row", "null" (or no row), or an SQLSTATE. one_null: this argument is NULL.
CREATE FUNCTION conventions_try(call conventions_calls, one_null text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	given text := (SELECT string_agg(CASE WHEN key = one_null OR value IS NULL THEN format('%I => NULL', key) ELSE format('%I => %L', key, value) END, ', ')
		FROM jsonb_each_text(call.arguments));
	answer text;
BEGIN
	EXECUTE format('SELECT CASE WHEN r IS NULL THEN ''null'' ELSE ''row'' END FROM norikv.%I(%s) AS r LIMIT 1', call.name, given) INTO answer;
	RETURN coalesce(answer, 'null');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

-- Who was not granted the server: nobody gets anything, or learns what there is.
CREATE ROLE regress_norikv_nobody;
SET ROLE regress_norikv_nobody;
SELECT name, conventions_try(c) FROM conventions_calls AS c WHERE conventions_try(c) <> '42501';
RESET ROLE;
DROP ROLE regress_norikv_nobody;

-- What a READ ONLY transaction refuses is what writes, and it has written nothing.
SELECT norikv.inventory_create('con:i', 10), norikv.tenant_create('con-t', 'n') IS NOT NULL AS tenant;
SELECT norikv.vector_create_index('con', 3), norikv.vector_insert('con', 'a', '{1,2,3}') IS NOT NULL AS inserted;
SELECT norikv.put('con:json', '{}') IS NOT NULL AS put;
SELECT norikv.product_index('con', 'n', 'd', 'c'), norikv.document_index('con', 't', 'c');
SELECT norikv.key_count() AS keys \gset
BEGIN READ ONLY;
SELECT name, conventions_try(c) FROM conventions_calls AS c WHERE (conventions_try(c) = '25006') <> coalesce(writes, false);
ROLLBACK;
CREATE SERVER regress_norikv_reader FOREIGN DATA WRAPPER norikv OPTIONS (read_only 'true');
SET norikv.server = 'regress_norikv_reader';
SELECT name, conventions_try(c) FROM conventions_calls AS c WHERE (conventions_try(c) = '25006') <> (coalesce(writes, false) AND name NOT IN ('fence', 'fence_reset'));
RESET norikv.server;
SELECT norikv.key_count() - :keys AS written;

-- All of them work, for who may.
SELECT name, conventions_try(c) FROM conventions_calls AS c WHERE conventions_try(c) NOT IN ('row', 'null') ORDER BY 1;

-- A NULL for what has no default of NULL: writers refuse it, readers answer NULL,
-- session_get() among them. if_match NULL is a condition, and event_fold() may begin with
-- NULL.
CREATE FUNCTION conventions_optional(function text, argument text) RETURNS boolean LANGUAGE sql AS $$
	SELECT bool_or(trim(a) ~ ('^' || argument || ' .* DEFAULT NULL'))
	FROM pg_proc p, string_to_table(pg_get_function_arguments(p.oid), ',') AS a
	WHERE p.pronamespace = 'norikv'::regnamespace AND p.proname = function
$$;
SELECT name, argument, conventions_try(c, argument)
  FROM conventions_calls AS c, jsonb_object_keys(arguments) AS argument
 WHERE NOT conventions_optional(name, argument) AND argument <> 'if_match' AND conventions_try(c, argument) <> CASE WHEN writes IS FALSE THEN 'null' ELSE '22004' END
 ORDER BY 1, 2;

SELECT norikv.resign('con:e') IS NOT NULL AS resigned;
SELECT count(norikv.unlock('con:l', token)) > 0 AS unlocked FROM norikv.locks_held, generate_series(1, 20) WHERE name = 'con:l';
DO $$ BEGIN WHILE EXISTS (SELECT FROM norikv.locks_held) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
DROP SERVER regress_norikv_reader;
DROP FUNCTION conventions_try, conventions_optional, conventions_step;
DROP TABLE conventions_calls;
SELECT count(norikv.vector_drop_index(namespace)) > 0 AS dropped FROM norikv.vector_indexes();
SELECT count(*) > 0 AS cleaned FROM (SELECT norikv.delete(key) FROM norikv.scan(keys_only => true) WHERE key LIKE '%con%') AS all_keys;
