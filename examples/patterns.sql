-- The patterns, each in a few lines: counters, locks, elections, jobs, sessions,
-- inventory, rate limits, the cache, events, tenants. scripts/demo runs this; by hand, in
-- a database of a PostgreSQL that preloads norikv, as a superuser:
--
--   psql -q -f patterns.sql
\pset footer off
\pset null '(null)'
\timing off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
\set ECHO queries

\echo '===== Counters: exact under any contention, one round trip an addition'
\echo
SELECT norikv.counter_add('page:views'), norikv.counter_add('page:views', 41), norikv.counter_get('page:views');

\echo
\echo '===== Locks: kept alive while the session lives, with a token that only grows'
\echo
SELECT norikv.try_lock('nightly-import', ttl => '30 seconds') AS token \gset
SELECT kind, name, token = :token AS ours FROM norikv.locks_held;
\echo
\echo What the lock protects checks the token in its own transaction: late writers are refused.
BEGIN;
SELECT norikv.fence('import', :token);
COMMIT;
SELECT norikv.unlock('nightly-import', :token);

\echo
\echo '===== Elections: one of all PostgreSQLs leads, another follows when it dies'
\echo
SELECT norikv.campaign('scheduler', 'demo-node', ttl => '5 seconds');
DO $$ BEGIN FOR i IN 1 .. 500 LOOP EXIT WHEN norikv.is_leader('scheduler'); PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT norikv.is_leader('scheduler'), norikv.leader('scheduler');

\echo
\echo '===== Jobs: many schedulers call it, one runs it'
\echo
SELECT norikv.run_once('rollup', '1 day', 'SELECT 1') AS first_call, norikv.run_once('rollup', '1 day', 'SELECT 1') AS second_call;

\echo
\echo '===== Sessions: they slide while they are used, and stay gone when destroyed'
\echo
SELECT norikv.session_create('user-123', 'alice@example.com', '{user}', ttl => '30 minutes') AS session \gset
SELECT norikv.session_update(:'session', '{"theme": "dark"}');
SELECT norikv.session_get(:'session') - 'createdAt' - 'lastAccessedAt' AS session;
SELECT norikv.session_destroy(:'session'), norikv.session_get(:'session');

\echo
\echo '===== Inventory: nothing is sold twice; what is not paid for comes back by itself'
\echo
SELECT norikv.inventory_create('sku-1', 3);
SELECT norikv.inventory_reserve('sku-1', 2) AS reservation \gset
SELECT norikv.inventory_available('sku-1') AS left_while_reserved;
\set ON_ERROR_STOP off
SELECT norikv.inventory_reserve('sku-1', 2);
\set ON_ERROR_STOP on
SELECT norikv.inventory_commit(:'reservation');

\echo
\echo '===== Rate limits: a window that slides, by the clock of the store'
\echo
SELECT call, allowed, remaining, justify_interval(date_trunc('second', retry_after)) AS retry_after
FROM unnest('{alice,alice,alice,alice}'::text[]) WITH ORDINALITY AS caller (name, call),
	LATERAL norikv.rate_limit('api:' || name, 3, '1 minute');

\echo
\echo '===== Cache: in shared memory, never older than a write of this PostgreSQL'
\echo
SELECT norikv.cache_put('profile:1', '{"name": "Alice"}') IS NOT NULL AS written;
SELECT norikv.cache_get('profile:1');
SELECT norikv.put('profile:1', '{"name": "Alicia"}') IS NOT NULL AS "written past the cache";
SELECT norikv.cache_get('profile:1');
SELECT count(norikv.cache_get('profile:1')) AS "hits" FROM generate_series(1, 100000);
SELECT hits, misses FROM norikv.cache_stats();

\echo
\echo '===== Events: a history without gaps; what is, is the sum of what happened'
\echo
SELECT version FROM norikv.event_append('account-1', 'Opened', '{}');
SELECT version FROM norikv.event_append('account-1', 'Deposited', '{"amount": 100}', expected_version => 1);
SELECT version FROM norikv.event_append('account-1', 'Withdrawn', '{"amount": 30}', expected_version => 2);
CREATE OR REPLACE FUNCTION pg_temp.apply(balance jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT to_jsonb(balance::numeric + CASE type WHEN 'Deposited' THEN 1 WHEN 'Withdrawn' THEN -1 ELSE 0 END
		* coalesce((data ->> 'amount')::numeric, 0))
$$;
SELECT norikv.event_fold('account-1', '0', 'pg_temp.apply(jsonb,text,jsonb)') AS balance;

\echo
\echo '===== Tenants: a part of the store that nobody in it can leave, with limits'
\echo
SELECT norikv.tenant_create('acme', 'Acme Corp', 'free') -> 'limits' AS limits;
SELECT norikv.tenant_put('acme', 'config', 'dark') IS NOT NULL AS put;
SET norikv.tenant = 'acme';
SELECT key, value FROM norikv.scan();
RESET norikv.tenant;
SELECT keys, bytes, max_keys FROM norikv.tenant_usage('acme');
