-- Locks: taking, re-entry, transactions and savepoints, what is shown, who may what.

-- ---- taking and giving back ----

SELECT norikv.try_lock('a') AS a \gset
SELECT :a > 0 AS token, norikv.lock('a') = :a AS again, norikv.try_lock('a') = :a AS and_again;
SELECT norikv.unlock('a', :a), norikv.unlock('a', :a + 1) AS another_token, norikv.has_key('lock:a');
SELECT norikv.unlock('a', :a), norikv.unlock('a', :a), norikv.has_key('lock:a');
SELECT norikv.unlock('a', :a) AS not_held, norikv.renew_lock('a', :a) AS neither;
SELECT norikv.lock('a') > :a AS tokens_grow;
SELECT kind, name, server, pid = pg_backend_pid() AS me, database = current_database() AS here,
	role = current_user AS mine, acquired_at <= clock_timestamp() AS acquired,
	expires_at BETWEEN clock_timestamp() + '20s' AND clock_timestamp() + '30s' AS expires
FROM norikv.locks_held;
SELECT norikv.unlock('a', token) FROM norikv.locks_held;
SELECT count(*) FROM norikv.locks_held;

-- The token is that of the write that took it.
SELECT norikv.lock('a') AS a \gset
SELECT version::bigint = :a AS version_is_token FROM norikv.entry('lock:a');
SELECT norikv.get_json('lock:a') ? 'nonce' AS nonce,
	norikv.get_json('lock:a')->>'owner' LIKE '%/' || pg_backend_pid() AS owner;
SELECT holder LIKE '%/' || pg_backend_pid() AS me, token = :a AS token,
	abs(extract(epoch FROM clock_timestamp() - acquired_at)) < 60 AS acquired,
	expires_at > clock_timestamp() AS expires
FROM norikv.lock_holder('a');
SELECT norikv.renew_lock('a', :a, '1 hour');
SELECT token = :a AS same_token, expires_at > clock_timestamp() + '50min' AS renewed
FROM norikv.lock_holder('a');
SELECT (norikv.get_json('lock:a')->>'token')::bigint = :a AS token_in_document;
SELECT expires_at > clock_timestamp() + '50min' AS renewed FROM norikv.locks_held;
SELECT norikv.unlock('a', :a);
SELECT norikv.lock_holder('a') IS NULL AS nobody;

-- ---- held by another program ----

SELECT norikv.put('lock:a', '{"owner":"elsewhere","nonce":"x","more":1}') IS NOT NULL;
SELECT norikv.try_lock('a');
SELECT norikv.lock('a', wait => '0');
SELECT norikv.lock('a', wait => '50ms');
SET lock_timeout = '40ms';
SELECT norikv.lock('a');
SELECT norikv.xact_lock('a');
RESET lock_timeout;
SELECT holder, acquired_at, expires_at FROM norikv.lock_holder('a');
SELECT norikv.unlock('a', version::bigint) AS not_mine FROM norikv.entry('lock:a');
SELECT norikv.put('lock:a', 'no document') IS NOT NULL;
SELECT norikv.lock_holder('a');
SELECT norikv.put('lock:a', '{"owner":7}') IS NOT NULL;
SELECT norikv.lock_holder('a');
SELECT norikv.try_lock('a');
SELECT norikv.delete('lock:a');

-- ---- lost ----

SELECT norikv.lock('a') AS a \gset
SELECT norikv.delete('lock:a');
SELECT norikv.unlock('a', :a);
SELECT norikv.unlock('a', :a) AS said_once;
SELECT norikv.lock('a') AS a \gset
SELECT norikv.put('lock:a', '{"owner":"thief"}') IS NOT NULL;
SELECT norikv.renew_lock('a', :a);
SELECT norikv.renew_lock('a', :a) AS said_once;
SELECT norikv.get('lock:a');
SELECT norikv.delete('lock:a');
-- Somebody else wrote it in the same words: ours by its nonce.
SELECT norikv.lock('a') AS a \gset
SELECT norikv.put('lock:a', norikv.get('lock:a')) IS NOT NULL;
SELECT norikv.renew_lock('a', :a);
SELECT norikv.put('lock:a', norikv.get('lock:a')) IS NOT NULL;
SELECT norikv.unlock('a', :a), norikv.has_key('lock:a');

-- ---- transactions ----

-- A transaction's lock is deleted behind its end.
CREATE FUNCTION is_free(name text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 500 LOOP
		IF NOT norikv.has_key('lock:' || name) THEN
			RETURN true;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN false;
END $$;

BEGIN;
SELECT norikv.xact_lock('x') AS x \gset
SELECT norikv.try_xact_lock('x') = :x AS again;
SELECT norikv.unlock('x', :x) AS stays_to_the_end;
SELECT name FROM norikv.locks_held;
COMMIT;
SELECT is_free('x');
BEGIN;
SELECT norikv.xact_lock('x') > 0 AS taken;
ROLLBACK;
SELECT is_free('x');

-- For the session and for the transaction.
BEGIN;
SELECT norikv.lock('x') AS x \gset
SELECT norikv.xact_lock('x') = :x AS the_same;
COMMIT;
SELECT norikv.has_key('lock:x'), count(*) FROM norikv.locks_held;
BEGIN;
SELECT norikv.xact_lock('x') = :x AS the_same;
SELECT norikv.unlock('x', :x), norikv.unlock('x', :x) AS only_the_transaction_now;
SELECT norikv.has_key('lock:x');
ROLLBACK;
SELECT is_free('x');
-- A session's lock outlives the ROLLBACK of the transaction that took it.
BEGIN;
SELECT norikv.lock('x') AS x \gset
ROLLBACK;
SELECT norikv.unlock('x', :x);

-- Savepoints.
BEGIN;
SELECT norikv.xact_lock('outer') > 0 AS outer_taken;
SAVEPOINT s;
SELECT norikv.xact_lock('inner') > 0 AS inner_taken, norikv.xact_lock('outer') > 0 AS outer_again;
SAVEPOINT t;
SELECT norikv.xact_lock('innermost') > 0 AS innermost_taken;
RELEASE SAVEPOINT t;
SELECT name FROM norikv.locks_held ORDER BY name;
ROLLBACK TO SAVEPOINT s;
SELECT is_free('inner'), is_free('innermost');
SELECT name FROM norikv.locks_held ORDER BY name;
SAVEPOINT u;
SELECT norikv.xact_lock('kept') > 0 AS kept_taken;
RELEASE SAVEPOINT u;
SELECT name FROM norikv.locks_held ORDER BY name;
COMMIT;
SELECT is_free('outer'), is_free('kept');
-- An error in a block of PL/pgSQL is one, too.
DO $$
BEGIN
	BEGIN
		PERFORM norikv.xact_lock('block');
		RAISE EXCEPTION 'undone';
	EXCEPTION WHEN raise_exception THEN
		RAISE NOTICE 'free: %', is_free('block');
	END;
END $$;

-- A lock that was lost is noticed before the commit.
CREATE TABLE guarded (i int);
BEGIN;
SELECT norikv.xact_lock('x', '1s') > 0 AS taken;
INSERT INTO guarded VALUES (1);
SELECT norikv.delete('lock:x');
SELECT count(*) FROM generate_series(1, 100) WHERE pg_sleep(0.02) IS NULL
	AND EXISTS (SELECT FROM norikv.locks_held);
COMMIT;
SELECT count(*) FROM guarded;
DROP TABLE guarded;

BEGIN;
SELECT norikv.xact_lock('x') > 0 AS taken;
PREPARE TRANSACTION 'p';
SELECT is_free('x');

-- ---- arguments ----

SELECT norikv.lock('');
SELECT norikv.lock(repeat('x', 1020));
SELECT norikv.lock(repeat('x', 1019)) AS longest \gset
SELECT norikv.unlock(repeat('x', 1019), :longest);
SELECT norikv.lock(NULL);
SELECT norikv.lock('a', NULL);
SELECT norikv.lock('a', '999ms');
SELECT norikv.lock('a', '-1s');
SELECT norikv.lock('a', wait => '-1s');
SELECT norikv.try_lock('a', '1 month');
SELECT norikv.unlock('a', NULL);
SELECT norikv.unlock(NULL, 1);
SELECT norikv.renew_lock('a', NULL);
SELECT norikv.lock_holder(NULL) IS NULL;
SELECT norikv.lock('Grüße, Jürgen:a') AS u \gset
SELECT name FROM norikv.locks_held;
SELECT norikv.unlock('Grüße, Jürgen:a', :u);
BEGIN READ ONLY;
SELECT norikv.try_lock('a');
ROLLBACK;

-- ---- who may ----

CREATE ROLE regress_norikv_holder;
SELECT norikv.lock('mine') AS mine \gset
SET ROLE regress_norikv_holder;
SELECT norikv.lock('a');
SELECT * FROM norikv.locks_held;
SELECT norikv.lock_holder('mine');
RESET ROLE;
GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO regress_norikv_holder;
SET ROLE regress_norikv_holder;
SELECT norikv.lock('theirs') AS theirs \gset
SELECT name, role FROM norikv.locks_held;
RESET ROLE;
SELECT name FROM norikv.locks_held ORDER BY name;
GRANT pg_read_all_stats TO regress_norikv_holder;
SET ROLE regress_norikv_holder;
SELECT name FROM norikv.locks_held ORDER BY name;
SELECT norikv.unlock('theirs', :theirs);
RESET ROLE;
SELECT norikv.unlock('mine', :mine);

-- ---- servers ----

-- Two servers over one store are one.
CREATE SERVER again FOREIGN DATA WRAPPER norikv;
CREATE SERVER confined FOREIGN DATA WRAPPER norikv OPTIONS (tenant 'acme');
SELECT norikv.lock('a') AS a \gset
SET norikv.server = 'again';
SELECT norikv.lock('a') = :a AS the_same;
SELECT norikv.unlock('a', :a), norikv.unlock('a', :a);
-- A tenant's are its own.
SELECT norikv.lock('a') AS a \gset
SET norikv.server = 'confined';
SELECT norikv.lock('a', '1s') > :a AS another;
RESET norikv.server;
SELECT norikv.has_key('tenant:acme:lock:a');
SELECT server, name FROM norikv.locks_held ORDER BY server;
SELECT pg_sleep(1.5);
SET norikv.server = 'confined';
SELECT count(norikv.unlock('a', token)) FROM norikv.locks_held WHERE server = 'confined';
RESET norikv.server;
SELECT norikv.has_key('tenant:acme:lock:a');
SELECT norikv.unlock('a', :a);
CREATE SERVER reader FOREIGN DATA WRAPPER norikv OPTIONS (read_only 'true');
SET norikv.server = 'reader';
SELECT norikv.lock('a');
RESET norikv.server;

-- Credentials that the background worker cannot be left with: nothing that it must keep.
CREATE SERVER wordy FOREIGN DATA WRAPPER norikv;
DO $$ BEGIN EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER wordy OPTIONS (token %L)', repeat('t', 4096)); END $$;
SET norikv.server = 'wordy';
SELECT norikv.lock('a');
\set VERBOSITY sqlstate
SELECT norikv.try_xact_lock('a');
SELECT norikv.campaign('wordy', 'node');
SELECT norikv.run_once('wordy', '1 day', 'SELECT 1');
\set VERBOSITY default
SELECT norikv.has_key('lock:a') OR norikv.has_key('leader:wordy') OR norikv.has_key('job:wordy') AS written, count(*) AS campaigns FROM norikv.campaigns;
-- What it only watches works without.
SELECT norikv.put('wordy', 'v') IS NOT NULL AS put, norikv.cache_get('wordy'), norikv.delete('wordy');
DO $$ BEGIN EXECUTE format('ALTER USER MAPPING FOR CURRENT_USER SERVER wordy OPTIONS (SET token %L)', repeat('t', 4095)); END $$;
SELECT norikv.unlock('a', norikv.lock('a'));
RESET norikv.server;
SET client_min_messages = warning;
DROP SERVER wordy CASCADE;
RESET client_min_messages;

SELECT count(*) FROM norikv.locks_held;
SELECT norikv.key_count('lock:');
DROP SERVER again;
DROP SERVER confined;
DROP SERVER reader;
DROP FUNCTION is_free(text);
REVOKE USAGE ON FOREIGN DATA WRAPPER norikv FROM regress_norikv_holder;
DROP ROLE regress_norikv_holder;
