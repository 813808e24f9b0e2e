--
-- Tenants: documents, keys, limits
--
SELECT norikv.tenant_create('ten-acme', 'Acme Corp') - 'createdAt' AS created;
SELECT norikv.tenant_create('ten-big', name => 'Big', plan => 'enterprise') - 'createdAt' AS created;
SELECT norikv.tenant_create('ten-pro', 'Pro', 'pro') - 'createdAt' AS created;
-- What is stored is what the other languages' programs read.
SELECT regexp_replace(norikv.get('tenant-meta:ten-acme'), '\d{13}', 'now') AS document;
SELECT regexp_replace(norikv.get('tenant-meta:ten-big'), '\d{13}', 'now') AS document;
SELECT abs(extract(epoch FROM now()) * 1000 - (norikv.tenant_get('ten-acme')->>'createdAt')::bigint)
	< 60000 AS of_now;
SELECT norikv.tenant_get('ten-acme') = norikv.get_json('tenant-meta:ten-acme') AS same;
SELECT norikv.tenant_get('ten-nobody') IS NULL AS nobody, norikv.tenant_get(NULL) IS NULL AS null;

-- There is one of an id.
\set SHOW_CONTEXT never
SELECT norikv.tenant_create('ten-acme', 'Acme Corp');
SELECT norikv.tenant_create('ten-acme', 'Another', 'enterprise');
SELECT max_keys, max_bytes FROM norikv.tenant_usage('ten-acme');
-- What cannot be created.
SELECT norikv.tenant_create('ten:acme', 'A');
SELECT norikv.tenant_create('', 'A');
SELECT norikv.tenant_create(E'ten\tacme', 'A');
SELECT norikv.tenant_create(repeat('t', 65), 'A');
SELECT norikv.tenant_create('ten-x', 'A', 'gold');
SELECT norikv.tenant_create(NULL, 'A');
SELECT norikv.tenant_create('ten-x', NULL);
SELECT norikv.tenant_create('ten-x', 'A', NULL);
BEGIN READ ONLY;
SELECT norikv.tenant_create('ten-x', 'A');
ROLLBACK;

-- Keys.
SELECT norikv.tenant_put('ten-acme', 'config', 'of acme') IS NOT NULL AS put;
SELECT norikv.tenant_put('ten-big', 'config', 'of big') IS NOT NULL AS put;
SELECT norikv.tenant_get('ten-acme', 'config'), norikv.tenant_get('ten-big', 'config'),
	norikv.get('tenant:ten-acme:config');
SELECT norikv.tenant_put('ten-acme', '\x00'::bytea, '{"a": 1}'::jsonb) IS NOT NULL AS put;
SELECT norikv.tenant_get('ten-acme', '\x00'::bytea);
SELECT norikv.tenant_get('ten-acme', 'no such key') IS NULL AS absent;
SELECT norikv.tenant_get(NULL, 'k') IS NULL AS null, norikv.tenant_get('ten-acme', NULL::text) IS NULL AS null;
\set VERBOSITY terse
SELECT norikv.tenant_put('ten-acme', 'config', 'again', if_absent => true);
SELECT norikv.tenant_put('ten-acme', 'config', 'again', if_match => '1/1');
SELECT norikv.tenant_delete('ten-acme', 'config', if_match => '1/1');
\set VERBOSITY default
SELECT norikv.tenant_put('ten-acme', 'short', 'v', ttl => '1 hour') IS NOT NULL AS put;
SELECT expires_at > now() AS expires FROM norikv.entry('tenant:ten-acme:short');
SELECT norikv.tenant_delete('ten-acme', 'short'), norikv.tenant_delete('ten-acme', 'short'),
	norikv.tenant_delete('ten-acme', '\x00'::bytea);
SELECT norikv.tenant_put('ten-acme', repeat('k', 1008), 'v') IS NOT NULL AS put;
SELECT norikv.tenant_delete('ten-acme', repeat('k', 1008));
SELECT norikv.tenant_put('ten-acme', repeat('k', 1009), 'v');
SELECT norikv.tenant_put('ten-acme', '', 'v');
-- One idempotency key of two tenants is two.
SELECT norikv.tenant_put('ten-acme', 'i', '1', idempotency_key => 'i') OPERATOR(norikv.=)
	norikv.tenant_put('ten-acme', 'i', '1', idempotency_key => 'i') AS once;
SELECT norikv.tenant_put('ten-big', 'i', '2', idempotency_key => 'i') IS NOT NULL AS put;
SELECT norikv.tenant_get('ten-acme', 'i'), norikv.tenant_get('ten-big', 'i');
-- Nobody's.
SELECT norikv.tenant_put('ten-nobody', 'k', 'v');
SELECT norikv.tenant_get('ten-nobody', 'k');
SELECT norikv.tenant_delete('ten-nobody', 'k');
SELECT norikv.tenant_usage('ten-nobody');
SELECT norikv.tenant_put('ten:acme', 'k', 'v');
-- The setting leads to the same keys.
SET norikv.tenant = 'ten-acme';
SELECT norikv.get('config');
-- A tenant may have tenants of its own.
SELECT norikv.tenant_create('sub', 'Within') ->> 'name' AS name;
SELECT norikv.tenant_put('sub', 'k', 'v') IS NOT NULL AS put;
RESET norikv.tenant;
SELECT norikv.get('tenant:ten-acme:tenant:sub:k');

-- Usage counts whole keys and values.
SELECT * FROM norikv.tenant_usage('ten-big');
SELECT * FROM norikv.tenant_usage('ten-pro');
SELECT sum(length(key) + length(value)) AS bytes FROM norikv.scan_bytes('tenant:ten-big:'::bytea);

-- A document that another program wrote: its limits hold from the first look on.
SELECT norikv.put('tenant-meta:ten-js', '{"id":"ten-js","name":"JS","plan":"custom","createdAt":1700000000000,"limits":{"maxKeys":2,"maxStorageMB":null},"region":"eu"}') IS NOT NULL AS put;
SELECT norikv.tenant_put('ten-js', 'a', 'v') IS NOT NULL AS put;
SELECT norikv.tenant_put('ten-js', 'b', 'v') IS NOT NULL AS put;
SELECT norikv.tenant_put('ten-js', 'a', 'w') IS NOT NULL AS put;
SELECT norikv.tenant_put('ten-js', 'c', 'v');
SELECT norikv.put('tenant:ten-js:c', 'v');
\set VERBOSITY sqlstate
SELECT norikv.tenant_put('ten-js', 'c', 'v');
SELECT norikv.tenant_create('ten-js', 'J');
SELECT norikv.tenant_put('ten-nobody', 'c', 'v');
\set VERBOSITY default
SELECT norikv.tenant_get('ten-js') ->> 'region' AS region;
SELECT keys, max_keys, max_bytes FROM norikv.tenant_usage('ten-js');
-- And so do those that it changes them to.
SELECT norikv.put('tenant-meta:ten-js', '{"id":"ten-js","name":"JS","plan":"custom","createdAt":1700000000000,"limits":{"maxKeys":1e400,"maxStorageMB":0.0001}}') IS NOT NULL AS put;
SELECT norikv.tenant_usage('ten-js');
SELECT norikv.put('tenant-meta:ten-js', '{"id":"ten-js","name":"JS","plan":"custom","createdAt":1700000000000,"limits":{"maxKeys":null,"maxStorageMB":0.0001}}') IS NOT NULL AS put;
SELECT * FROM norikv.tenant_usage('ten-js');
SELECT norikv.tenant_put('ten-js', 'd', repeat('v', 100));
SELECT norikv.tenant_delete('ten-js', 'a'), norikv.tenant_delete('ten-js', 'b');
SELECT norikv.put('tenant-meta:ten-js', '{"id":"ten-js","name":"JS","plan":"custom","createdAt":1700000000000,"limits":{"maxKeys":0,"maxStorageMB":null}}') IS NOT NULL AS put;
SELECT * FROM norikv.tenant_usage('ten-js');
SELECT norikv.tenant_put('ten-js', 'a', '');
-- Broken ones are named, and left alone.
SELECT norikv.put('tenant-meta:ten-js', '{"id":"ten-js","name":"JS","plan":"custom","createdAt":1,"limits":{"maxKeys":-1,"maxStorageMB":null}}') IS NOT NULL AS put;
SELECT norikv.tenant_get('ten-js');
SELECT norikv.put('tenant-meta:ten-js', '{"id":"ten-js","name":"JS","plan":"custom","createdAt":1,"limits":{"maxKeys":"many","maxStorageMB":null}}') IS NOT NULL AS put;
SELECT norikv.tenant_usage('ten-js');
SELECT norikv.put('tenant-meta:ten-js', '{"id":"ten-js"}') IS NOT NULL AS put;
SELECT norikv.tenant_get('ten-js');
SELECT norikv.tenant_create('ten-js', 'JS');
SELECT norikv.put('tenant-meta:ten-js', 'none') IS NOT NULL AS put;
SELECT norikv.tenant_get('ten-js');
SELECT norikv.get('tenant-meta:ten-js');
SELECT count(norikv.delete(key)) > 0 AS clean FROM norikv.scan_bytes('tenant'::bytea)
	WHERE key >= 'tenant-meta:ten-'::bytea;
