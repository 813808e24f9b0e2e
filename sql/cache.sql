--
-- The cache
--
-- The value, and whether the cache had it.
CREATE FUNCTION look(key text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hits_before bigint := (SELECT hits FROM norikv.cache_stats());
	value text := norikv.cache_get(key);
BEGIN
	RETURN CASE WHEN (SELECT hits FROM norikv.cache_stats()) > hits_before
		THEN 'hit ' ELSE 'miss ' END || coalesce(value, 'null');
END $$;

-- Read through, written through.
SELECT norikv.put('cache:a', 'one') IS NOT NULL AS put;
SELECT look('cache:a'), look('cache:a'), norikv.get('cache:a');
SELECT look('cache:never'), look('cache:never');
SELECT norikv.cache_put('cache:a', 'two') OPERATOR(norikv.=) (norikv.entry('cache:a')).version AS written;
SELECT look('cache:a'), norikv.get('cache:a');
SELECT norikv.cache_put('cache:j', jsonb '{"a": [1, 2]}') IS NOT NULL AS written;
SELECT look('cache:j'), norikv.get_json('cache:j');
SELECT norikv.cache_put('cache:e', '') IS NOT NULL AS written;
SELECT look('cache:e') = 'hit ' AS empty_is_not_absent;
SELECT norikv.cache_delete('cache:a'), look('cache:a'), norikv.get('cache:a') IS NULL AS gone;
SELECT norikv.cache_delete('cache:a');

-- Every kind of write of this PostgreSQL is seen.
SELECT look('cache:w');
SELECT norikv.put('cache:w', 'put') IS NOT NULL AS put;
SELECT look('cache:w'), look('cache:w');
SELECT norikv.try_put('cache:w', 'tried', if_match => (norikv.entry('cache:w')).version) IS NOT NULL AS put;
SELECT look('cache:w'), look('cache:w');
SELECT norikv.mput('{cache:w,cache:x}', '{many,others}');
SELECT look('cache:w'), look('cache:w');
CREATE FUNCTION to_updated(old jsonb, args jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT args $$;
SELECT norikv.put('cache:u', '1') IS NOT NULL AS put;
SELECT look('cache:u'), look('cache:u');
SELECT norikv.update('cache:u', 'to_updated(jsonb, jsonb)', '2');
SELECT look('cache:u'), look('cache:u');
SELECT norikv.mdelete('{cache:w,cache:x}');
SELECT look('cache:w');
CREATE SERVER cached FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE cached (key text COLLATE "C", value text) SERVER cached OPTIONS (prefix 'cache:t:');
INSERT INTO cached VALUES ('a', 'inserted'), ('b', 'inserted');
SELECT look('cache:t:a'), look('cache:t:a'), look('cache:t:b');
BEGIN;
UPDATE cached SET value = 'updated' WHERE key = 'a';
SELECT look('cache:t:a');
COMMIT;
SELECT look('cache:t:a'), look('cache:t:a');
DELETE FROM cached WHERE key = 'a';
SELECT look('cache:t:a');
COPY cached FROM stdin;
a	copied
\.
SELECT look('cache:t:a'), look('cache:t:a'), look('cache:t:b');
ALTER FOREIGN TABLE cached OPTIONS (ADD write_mode 'immediate');
UPDATE cached SET value = 'at once';
SELECT look('cache:t:a'), look('cache:t:b'), look('cache:t:b');
ALTER FOREIGN TABLE cached OPTIONS (DROP write_mode);
TRUNCATE cached;
SELECT look('cache:t:a'), look('cache:t:b');
-- A write that was refused takes nothing away for good.
SELECT norikv.put('cache:w', 'there') IS NOT NULL AS put;
SELECT look('cache:w');
SELECT norikv.try_put('cache:w', 'again', if_absent => true);
SELECT look('cache:w'), look('cache:w');

-- How long entries are shown. What expires in the store is not shown longer.
SELECT norikv.cache_put('cache:short', 'v', '300 ms') IS NOT NULL AS written;
SELECT norikv.put('cache:mortal', 'v', ttl => '1 s') IS NOT NULL AS put;
SELECT norikv.cache_get('cache:mortal');
SELECT pg_sleep(1.1);
SELECT look('cache:short'), (norikv.entry('cache:short')).expires_at IS NULL AS the_store_keeps_it;
SELECT look('cache:mortal');
SELECT norikv.cache_put('cache:a', 'v', '0');
SELECT norikv.cache_put('cache:a', 'v', '1 month');

-- Large values and long keys.
SELECT norikv.cache_put('cache:big', repeat('0123456789', 100000)) IS NOT NULL AS written;
SELECT look('cache:big') = 'hit ' || repeat('0123456789', 100000) AS hit;
SELECT norikv.cache_put(rpad('cache:', 1024, 'k'), repeat('v', 251)) IS NOT NULL AS written;
SELECT look(rpad('cache:', 1024, 'k')) = 'hit ' || repeat('v', 251) AS hit;
SELECT look(rpad('cache:', 1023, 'k') || 'l') AS other;
SELECT norikv.cache_get(''), norikv.cache_get(repeat('k', 1025));
SELECT norikv.cache_get(repeat('k', 1025));
SELECT norikv.cache_put('cache:big', repeat('x', 1048577));

-- Not text: kept as well, and refused each time.
\set VERBOSITY terse
SELECT norikv.put('cache:bytes', '\xff00'::bytea) IS NOT NULL AS put;
SELECT norikv.cache_get('cache:bytes');
SELECT norikv.cache_get('cache:bytes');
\set VERBOSITY default

-- NULLs.
SELECT norikv.cache_get(NULL);
SELECT norikv.cache_put(NULL, 'v');
SELECT norikv.cache_put('cache:a', NULL);
SELECT norikv.cache_delete(NULL);
SELECT norikv.cache_invalidate(NULL);
BEGIN READ ONLY;
SELECT look('cache:w');
SAVEPOINT s;
SELECT norikv.cache_put('cache:a', 'v');
ROLLBACK TO s;
SELECT norikv.cache_delete('cache:a');
ROLLBACK;

-- Forgetting.
SELECT look('cache:j'), norikv.cache_invalidate('cache:j'), look('cache:j'), look('cache:j');
SELECT size > 0 AS some, max_size, bytes > 1000000 AS bytes, ttl FROM norikv.cache_stats();
SELECT norikv.cache_invalidate_all();
SELECT size, bytes FROM norikv.cache_stats();
SELECT look('cache:j'), look('cache:j');

-- Other credentials are shown nothing that was read with these.
CREATE ROLE cache_user;
CREATE ROLE cache_other;
SET ROLE cache_user;
SELECT norikv.cache_get('cache:j');
SELECT norikv.cache_invalidate('cache:j');
SELECT norikv.cache_put('cache:j', 'v');
SELECT norikv.cache_invalidate_all();
SELECT size > 0 AS some FROM norikv.cache_stats();
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER cached TO cache_user, cache_other;
CREATE USER MAPPING FOR cache_user SERVER cached OPTIONS (token 'one');
CREATE USER MAPPING FOR cache_other SERVER cached OPTIONS (token 'two');
SET norikv.server = 'cached';
SELECT look('cache:j'), look('cache:j');
SET ROLE cache_user;
SELECT look('cache:j'), look('cache:j');
SET ROLE cache_other;
SELECT look('cache:j'), look('cache:j');
SELECT norikv.put('cache:j', 'new') IS NOT NULL AS put;
SELECT look('cache:j'), look('cache:j');
SET ROLE cache_user;
SELECT look('cache:j'), look('cache:j');
RESET ROLE;
SELECT look('cache:j'), look('cache:j');
-- The same credentials are: they would be told the same.
ALTER USER MAPPING FOR cache_other SERVER cached OPTIONS (SET token 'one');
SET ROLE cache_other;
SELECT look('cache:j');
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER cached FROM cache_other;
SET ROLE cache_other;
SELECT norikv.cache_get('cache:j');
RESET ROLE;
RESET norikv.server;

-- Tenants see their own, and what is written past them.
SET norikv.tenant = 'acme';
SELECT look('cache:j'), look('cache:j');
SELECT norikv.cache_put('cache:j', 'of acme') IS NOT NULL AS written, look('cache:j');
SET norikv.tenant = 'widgets';
SELECT look('cache:j'), look('tenant:acme:cache:j');
RESET norikv.tenant;
SELECT look('cache:j'), look('tenant:acme:cache:j'), look('tenant:acme:cache:j');
SELECT norikv.put('tenant:acme:cache:j', 'from outside') IS NOT NULL AS put;
SELECT look('tenant:acme:cache:j');
SET norikv.tenant = 'acme';
SELECT look('cache:j'), look('cache:j');
SELECT norikv.delete('cache:j');
RESET norikv.tenant;
SELECT look('tenant:acme:cache:j');

SELECT norikv.mdelete(array_agg(key)) > 0 AS deleted FROM norikv.scan('cache:', keys_only => true);
DROP SERVER cached CASCADE;
DROP ROLE cache_user;
DROP ROLE cache_other;
DROP FUNCTION look(text);
DROP FUNCTION to_updated(jsonb, jsonb);
