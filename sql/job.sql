--
-- run_once(): of all databases that call it, one runs the command
--
CREATE TABLE job_log (n int);
-- A day has begun or not: two days in a row are enough.
SELECT norikv.run_once('daily', '1 day', 'INSERT INTO job_log VALUES (1)');
SELECT norikv.run_once('daily', '1 day', 'INSERT INTO job_log VALUES (2)') IN (true, false) AS not_twice_a_day;
SELECT count(*) IN (1, 2) AS ran FROM job_log;
SELECT d ->> 'state' AS state, (d ->> 'slot')::bigint - floor(extract(epoch FROM now()) / 86400) IN (-1, 0) AS slot, d ? 'owner' AS owner
FROM norikv.get_json('job:daily') d;

-- What rolls back has not run.
BEGIN;
SELECT norikv.run_once('undone', '1000 days', 'INSERT INTO job_log VALUES (10)');
SELECT kind, name FROM norikv.locks_held;
ROLLBACK;
-- The keeper deletes the claim in a moment.
DO $$ BEGIN WHILE norikv.has_key('job:undone') LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
BEGIN;
SAVEPOINT a;
SELECT norikv.run_once('undone', '1000 days', 'INSERT INTO job_log VALUES (11)');
ROLLBACK TO a;
DO $$ BEGIN WHILE norikv.has_key('job:undone') LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SAVEPOINT b;
SELECT norikv.run_once('undone', '1000 days', 'INSERT INTO job_log VALUES (12)');
RELEASE b;
SELECT norikv.run_once('undone', '1000 days', 'INSERT INTO job_log VALUES (13)') AS again;
COMMIT;
SELECT norikv.run_once('undone', '1000 days', 'INSERT INTO job_log VALUES (14)') AS again;
SELECT n FROM job_log WHERE n >= 10;
\set SHOW_CONTEXT never
SELECT norikv.run_once('failing', '1000 days', 'SELECT 1 / 0');
DO $$ BEGIN WHILE norikv.has_key('job:failing') LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT norikv.run_once('failing', '1000 days', 'SELECT 1; SELECT 2') AS several_commands;

-- The longest periods there are
SELECT norikv.run_once('century', '36525 days', 'SELECT 1'), norikv.run_once('generation', '20000 days', 'SELECT 1');
SELECT norikv.run_once('century', '36525 days', 'SELECT 1'), norikv.run_once('generation', '20000 days', 'SELECT 1');
SELECT norikv.run_once('x', '36526 days', 'SELECT 1');

-- In the transaction of the call, with the caller's rights.
SELECT norikv.run_once('own-1', '1000 days', 'COMMIT');
SELECT norikv.run_once('own-2', '1000 days', 'VACUUM job_log');
SELECT norikv.run_once('own-3', '1000 days', 'COPY job_log FROM STDIN');
SELECT norikv.run_once('own-5', '1000 days', 'DO $do$ BEGIN COMMIT; END $do$');
\set VERBOSITY sqlstate
SELECT norikv.run_once('own-4', '1000 days', 'VACUUM job_log');
SELECT norikv.run_once('own-6', '1000 days', 'DO $do$ BEGIN COMMIT; END $do$');
\set VERBOSITY default
BEGIN;
SELECT norikv.run_once('prepared', '1000 days', 'SELECT 1');
PREPARE TRANSACTION 'job';
BEGIN READ ONLY;
SELECT norikv.run_once('own', '1000 days', 'SELECT 1');
ROLLBACK;

-- A job that still runs is not started again by the next period; a lost claim does not commit.
BEGIN;
SELECT norikv.run_once('overrun', '1 second', 'SELECT pg_sleep(1.2)');
SELECT norikv.run_once('overrun', '1 second', 'SELECT 1') AS overlapping;
COMMIT;
BEGIN;
SELECT norikv.run_once('stolen', '3 seconds', $$INSERT INTO job_log VALUES (100)$$);
SELECT norikv.put('job:stolen', '{"slot": 1, "state": "claimed"}') IS NOT NULL AS put;
COMMIT;
SELECT count(*) FROM job_log WHERE n = 100;

-- Refused
SELECT norikv.run_once(NULL, '1 day', 'SELECT 1');
SELECT norikv.run_once('x', NULL, 'SELECT 1');
SELECT norikv.run_once('x', '1 day', NULL);
SELECT norikv.run_once('x', '999 milliseconds', 'SELECT 1');
SELECT norikv.run_once('x', '1 month', 'SELECT 1');
SELECT norikv.run_once('', '1 day', 'SELECT 1');
SELECT norikv.put('job:broken', '[]') IS NOT NULL AS put;
SELECT norikv.run_once('broken', '1 day', 'SELECT 1');

SELECT count(*) > 0 AS cleaned FROM (SELECT norikv.delete(key) FROM norikv.scan('job:', keys_only => true)) AS all_keys;
DROP TABLE job_log;
