--
-- elect(), campaign(), resign(), is_leader(), leader()
--
-- By hand
SELECT is_leader, leader, token > 0 AS token, expires_at > now() AS lasts FROM norikv.elect('hand', 'node-1', '1 hour');
SELECT norikv.is_leader('hand'), norikv.leader('hand');
SELECT token AS first FROM norikv.elect('hand', 'node-1', '1 hour') \gset
SELECT is_leader, token = :first AS same_token FROM norikv.elect('hand', 'node-1', '1 hour');
SELECT is_leader, leader, token = :first AS same_token, expires_at > now() + '59 minutes' AS lasts FROM norikv.elect('hand', 'node-2', '1 hour');
SELECT norikv.get('leader:hand') AS leader, norikv.get_json('leader-meta:hand') - 'token' AS meta;
SELECT norikv.resign('hand'), norikv.is_leader('hand'), norikv.leader('hand') AS leader, norikv.has_key('leader-meta:hand') AS meta;
SELECT norikv.resign('hand');
SELECT is_leader, token > :first AS greater_token FROM norikv.elect('hand', 'node-2', '1 second');
SELECT pg_sleep(1.1);
SELECT norikv.is_leader('hand'), norikv.leader('hand') AS leader;

-- A leader that another program made has no token; it is respected.
SELECT norikv.put('leader:other', 'elsewhere', ttl => '1 hour') IS NOT NULL AS put;
SELECT is_leader, leader, token FROM norikv.elect('other', 'here');
SELECT norikv.delete('leader:other');
SELECT is_leader, leader FROM norikv.elect('other', 'here');
SELECT norikv.resign('other');

-- What is no text is nobody's name: an error that says which key it is.
SELECT norikv.put('leader:other', '\xff'::bytea) IS NOT NULL AS put;
SELECT norikv.elect('other', 'here');
SELECT norikv.leader('other');
SELECT norikv.delete('leader:other');
-- Tokens are exact where numbers in JavaScript are not any more. Both keys in one step:
CREATE SERVER regress_norikv_raw FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE election_raw (key text COLLATE "C", value text) SERVER regress_norikv_raw;
INSERT INTO election_raw VALUES ('leader:big', 'node-1'), ('leader-meta:big', '{"node":"node-1","nonce":"elect","token":9007199254740993}');
SELECT is_leader, leader, token FROM norikv.elect('big', 'node-2', '1 hour');
SELECT is_leader, leader, token FROM norikv.elect('big', 'node-1', '1 hour');
SELECT norikv.get('leader-meta:big');
SELECT norikv.resign('big');
DROP SERVER regress_norikv_raw CASCADE;

-- A campaign: a row, acted on at commit.
CREATE TABLE election_log (n serial, what text, who text DEFAULT session_user);
BEGIN;
SELECT norikv.campaign('main', 'node-1', '2 seconds', 'INSERT INTO election_log (what) VALUES (''elected'')', 'INSERT INTO election_log (what) VALUES (''lost'')');
SELECT pg_sleep(0.2);
SELECT norikv.is_leader('main'), norikv.leader('main') AS leader;
ROLLBACK;
SELECT pg_sleep(0.2);
SELECT norikv.leader('main') AS leader, count(*) AS rows FROM norikv.campaigns;
SELECT norikv.campaign('main', 'node-1', '2 seconds', 'INSERT INTO election_log (what) VALUES (''elected'')', 'INSERT INTO election_log (what) VALUES (''lost'')');
DO $$ BEGIN FOR i IN 1 .. 300 LOOP EXIT WHEN norikv.is_leader('main'); PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT norikv.is_leader('main'), norikv.leader('main');
SELECT kind, name, token > 0 AS token, pid FROM norikv.locks_held;
-- It lasts longer than the lease, and the same call again changes nothing.
SELECT token AS first FROM norikv.locks_held \gset
SELECT norikv.campaign('main', 'node-1', '2 seconds', 'INSERT INTO election_log (what) VALUES (''elected'')', 'INSERT INTO election_log (what) VALUES (''lost'')');
SELECT pg_sleep(2.5);
SELECT norikv.is_leader('main'), token = :first AS same_token FROM norikv.locks_held;
SELECT norikv.get_json('leader-meta:main') ->> 'token' = :'first' AS token_in_document;
SELECT is_leader, leader, token = :first AS same_token FROM norikv.elect('main', 'node-2');
-- Somebody with the same id
SELECT norikv.campaign('main2', 'node-1') IS NOT NULL AS another_election;
SELECT norikv.put('leader:main3', 'node-1', ttl => '1 hour') IS NOT NULL AS put;
SELECT norikv.campaign('main3', 'node-1');
BEGIN;
SELECT norikv.campaign('main4', 'node-1');
PREPARE TRANSACTION 'campaign';
-- It ends at commit, is told once, and makes room.
BEGIN;
SELECT norikv.resign('main');
SELECT norikv.is_leader('main');
COMMIT;
DO $$ BEGIN FOR i IN 1 .. 500 LOOP EXIT WHEN (SELECT count(*) = 2 FROM election_log) AND norikv.leader('main') IS NULL; PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT what, who = current_user AS as_the_role FROM election_log ORDER BY n;
SELECT norikv.is_leader('main'), norikv.leader('main') AS leader, norikv.resign('main');
SELECT election FROM norikv.campaigns;
SELECT norikv.resign('main2');

-- Roles: commands are run with the rights of who campaigns, who must be able to log in.
CREATE ROLE regress_norikv_voter LOGIN;
CREATE ROLE regress_norikv_nologin;
GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO regress_norikv_voter, regress_norikv_nologin;
SET ROLE regress_norikv_nologin;
SELECT norikv.campaign('main', 'node-1');
SET ROLE regress_norikv_voter;
SELECT norikv.campaign('main', 'node-1', '2 seconds', 'INSERT INTO election_log (what) VALUES (''not allowed'')');
SELECT * FROM norikv.campaigns;
RESET ROLE;
DO $$ BEGIN FOR i IN 1 .. 300 LOOP EXIT WHEN norikv.is_leader('main'); PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT norikv.is_leader('main'), count(*) FILTER (WHERE what = 'not allowed') AS not_allowed FROM election_log;
-- Another role's campaign is not one's own to end.
CREATE ROLE regress_norikv_other LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO regress_norikv_other;
SET ROLE regress_norikv_other;
SELECT norikv.resign('main');
SELECT norikv.campaign('main', 'node-1');
RESET ROLE;
SELECT norikv.resign('main');

-- Several changes of one campaign in one transaction: what the last one says is done.
CREATE FUNCTION pg_temp.await(sql text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	done boolean;
BEGIN
	FOR i IN 1 .. 1000 LOOP
		EXECUTE 'SELECT ' || sql INTO done;
		EXIT WHEN done;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN done;
END $$;
BEGIN;
SELECT norikv.campaign('twice', 'node-1', '2 seconds');
SELECT norikv.campaign('twice', 'node-1', '2 seconds');
SELECT norikv.campaign('twice', 'node-1', '3 seconds');
SAVEPOINT later;
SELECT norikv.resign('twice');
ROLLBACK TO later;
COMMIT;
SELECT pg_temp.await($$norikv.is_leader('twice')$$), ttl, pg_temp.await($$(SELECT count(*) = 1 FROM norikv.locks_held WHERE kind = 'campaign')$$) AS one_lease FROM norikv.campaigns;
BEGIN;
SELECT norikv.resign('twice');
SELECT norikv.campaign('twice', 'node-1', '3 seconds');
COMMIT;
SELECT pg_temp.await($$norikv.is_leader('twice')$$), count(*) AS rows FROM norikv.campaigns;
SELECT norikv.resign('twice');
BEGIN;
SELECT norikv.campaign('twice', 'node-1', '3 seconds');
SELECT norikv.resign('twice');
COMMIT;
SELECT norikv.resign('twice'), pg_temp.await($$NOT EXISTS (SELECT FROM norikv.locks_held WHERE kind = 'campaign')$$), count(*) AS rows FROM norikv.campaigns;
-- Ended, and at once begun again
SELECT norikv.campaign('again', 'node-1', '1 minute');
SELECT pg_temp.await($$norikv.is_leader('again')$$), norikv.resign('again');
SELECT norikv.campaign('again', 'node-1', '1 minute');
SELECT pg_temp.await($$norikv.is_leader('again')$$);
-- Without its row, which a superuser has deleted, it can be ended all the same.
DELETE FROM norikv.campaigns;
SET ROLE regress_norikv_other;
\set VERBOSITY terse
SELECT norikv.resign('again');
\set VERBOSITY default
RESET ROLE;
SELECT norikv.resign('again'), norikv.resign('again');

-- It follows its server, and ends with it.
SELECT 'unix:' || current_setting('data_directory') || '/norikv/run/norikvd.sock' AS nodes \gset
CREATE SERVER regress_norikv_campaigns FOREIGN DATA WRAPPER norikv OPTIONS (nodes :'nodes', timeout '10s');
SET norikv.server = 'regress_norikv_campaigns';
SELECT norikv.campaign('moves', 'node-1', '2 seconds');
SELECT pg_temp.await($$norikv.is_leader('moves')$$);
RESET norikv.server;
SELECT norikv.campaign('moves', 'node-1', '2 seconds');
SET norikv.server = 'regress_norikv_campaigns';
ALTER SERVER regress_norikv_campaigns OPTIONS (SET timeout '5s');
SELECT count(*) AS leases FROM norikv.locks_held WHERE kind = 'campaign';
SELECT norikv.campaign('moves', 'node-1', '2 seconds');
SELECT pg_temp.await($$norikv.is_leader('moves')$$);
-- Another name of the server is that of its campaigns, from the commit on.
BEGIN;
ALTER SERVER regress_norikv_campaigns RENAME TO regress_norikv_undone;
SELECT server FROM norikv.campaigns;
ROLLBACK;
SELECT server, norikv.is_leader('moves') FROM norikv.campaigns;
BEGIN;
SELECT norikv.campaign('moves', 'node-2', '2 seconds');
ALTER SERVER regress_norikv_campaigns RENAME TO regress_norikv_between;
ALTER SERVER regress_norikv_between OPTIONS (SET timeout '6s');
ALTER SERVER regress_norikv_between RENAME TO regress_norikv_renamed;
COMMIT;
SET norikv.server = 'regress_norikv_renamed';
SELECT server, node_id, pg_temp.await($$norikv.is_leader('moves')$$), norikv.leader('moves') FROM norikv.campaigns;
SELECT server, name FROM norikv.locks_held WHERE kind = 'campaign';
-- A row that stands under that name already, by hand or by a database without the library
INSERT INTO norikv.campaigns SELECT 'regress_norikv_campaigns', tenant, election, node_id, ttl, role FROM norikv.campaigns;
\set VERBOSITY terse
ALTER SERVER regress_norikv_renamed RENAME TO regress_norikv_campaigns;
\set VERBOSITY default
DELETE FROM norikv.campaigns WHERE server = 'regress_norikv_campaigns';
ALTER SERVER regress_norikv_renamed RENAME TO regress_norikv_campaigns;
SET norikv.server = 'regress_norikv_campaigns';
SELECT server, pg_temp.await($$norikv.is_leader('moves')$$) FROM norikv.campaigns;
BEGIN;
DROP SERVER regress_norikv_campaigns;
ROLLBACK;
SELECT pg_temp.await($$norikv.is_leader('moves')$$), count(*) AS rows FROM norikv.campaigns;
DROP SERVER regress_norikv_campaigns;
RESET norikv.server;
SELECT pg_temp.await($$NOT EXISTS (SELECT FROM norikv.locks_held WHERE kind = 'campaign')$$), count(*) AS rows FROM norikv.campaigns;

-- Refused
SELECT norikv.campaign(NULL);
SELECT norikv.campaign('');
SELECT norikv.campaign('x', '');
SELECT norikv.campaign('x', 'y', '999 milliseconds');
SELECT norikv.campaign('x', 'y', NULL);
SELECT norikv.campaign('x', repeat('y', 257));
SELECT norikv.campaign(repeat('x', 513), 'y');
SELECT norikv.campaign('x', 'y', on_elected => repeat('y', 4097));
SELECT norikv.elect(NULL);
SELECT norikv.elect('x', '');
SELECT norikv.elect('x', 'y', '1 millisecond');
SELECT norikv.is_leader(NULL), norikv.leader(NULL);
BEGIN READ ONLY;
SELECT norikv.is_leader('main'), norikv.leader('none');
SELECT norikv.campaign('x', 'y');
ROLLBACK;
SELECT count(norikv.campaign('many ' || i)) FROM generate_series(1, 33) AS i;
SELECT count(*) FROM norikv.campaigns;
-- There is room again once the background worker has come by.
DO $$
BEGIN
	LOOP
		BEGIN
			PERFORM norikv.campaign('many');
			EXIT;
		EXCEPTION WHEN configuration_limit_exceeded THEN
			PERFORM pg_sleep(0.01);
		END;
	END LOOP;
END $$;
SELECT norikv.resign('many');

DROP OWNED BY regress_norikv_voter, regress_norikv_nologin, regress_norikv_other;
DROP ROLE regress_norikv_voter, regress_norikv_nologin, regress_norikv_other;
DROP TABLE election_log;
SELECT count(*) >= 0 AS cleaned FROM (SELECT norikv.delete(key) FROM norikv.scan('leader', keys_only => true)) AS all_keys;
