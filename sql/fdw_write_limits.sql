-- What is refused: too much, in the wrong transaction, on the wrong server.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SERVER fdw_limits FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE kv (key text COLLATE "C", value text)
    SERVER fdw_limits OPTIONS (prefix 'fdw_limits:');
TRUNCATE kv;

SET norikv.max_buffered_ops = 10;
INSERT INTO kv SELECT i, 'x' FROM generate_series(1, 11) i;
INSERT INTO kv SELECT i, 'x' FROM generate_series(1, 10) i;
BEGIN;
UPDATE kv SET value = 'y';
SAVEPOINT s;
INSERT INTO kv VALUES ('one more', 'x');
ROLLBACK TO s;
COMMIT;
SELECT count(*) FROM kv WHERE value = 'y';
-- Truncated ranges count as they are cut.
BEGIN;
TRUNCATE kv;
INSERT INTO kv SELECT i, 'z' FROM generate_series(1, 6) i;
COMMIT;
SELECT count(*), min(value) FROM kv;
RESET norikv.max_buffered_ops;
SET norikv.max_buffered_bytes = '64kB';
INSERT INTO kv SELECT 'big' || i, repeat('x', 1000) FROM generate_series(1, 100) i;
DO $$
BEGIN
    FOR i IN 1..100 LOOP
        UPDATE kv SET value = repeat('x', 1000) WHERE key = '1';
    END LOOP;
END $$;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO kv SELECT 'read' || i, '' FROM generate_series(1, 2000) i;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM (SELECT key, value FROM kv OFFSET 0) s;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT count(*) FROM (SELECT key, value FROM kv OFFSET 0) s;
COMMIT;
RESET norikv.max_buffered_bytes;
-- What is rolled back does not count, but does not grow for ever either.
SET norikv.max_buffered_ops = 10;
SET norikv.max_buffered_bytes = '64kB';
\set VERBOSITY terse
DO $$
BEGIN
    FOR i IN 1..100 LOOP
        BEGIN
            INSERT INTO kv VALUES ('rolled back ' || i, repeat('x', 10000));
            RAISE division_by_zero;
        EXCEPTION WHEN division_by_zero THEN
        END;
    END LOOP;
END $$;
DO $$
BEGIN
    FOR i IN 1..10000 LOOP
        BEGIN
            INSERT INTO kv VALUES ('rolled back ' || i, '');
            RAISE division_by_zero;
        EXCEPTION WHEN division_by_zero THEN
        END;
    END LOOP;
END $$;
\set VERBOSITY default
RESET norikv.max_buffered_ops;
RESET norikv.max_buffered_bytes;
SET norikv.max_buffered_ops = 0;
SET norikv.max_buffered_bytes = '1kB';
RESET norikv.max_buffered_ops;
RESET norikv.max_buffered_bytes;
-- The server's own limit, of operations in one Commit.
SET norikv.max_buffered_ops = 2000000;
INSERT INTO kv SELECT 'many' || i, '' FROM generate_series(1, 100001) i;
RESET norikv.max_buffered_ops;
SELECT count(*) FROM kv WHERE key LIKE 'many%';
INSERT INTO kv VALUES ('large', repeat('x', 1048577));
INSERT INTO kv VALUES (repeat('k', 1024), 'x');
INSERT INTO kv VALUES ('', 'the prefix itself');
DELETE FROM kv WHERE key = '';

-- Transactions that must not write.
BEGIN READ ONLY;
SELECT count(*) > 0 FROM kv;
INSERT INTO kv VALUES ('r', 'x');
ROLLBACK;
BEGIN READ ONLY;
TRUNCATE kv;
ROLLBACK;
BEGIN READ ONLY;
SELECT 1 FROM kv WHERE key = '1' FOR UPDATE;
ROLLBACK;
BEGIN;
UPDATE kv SET value = 'prepared' WHERE key = '1';
PREPARE TRANSACTION 'norikv';
SELECT value FROM kv WHERE key = '1';
BEGIN;
SELECT key FROM kv WHERE key = '1' FOR UPDATE;
PREPARE TRANSACTION 'norikv';

-- Options.
ALTER FOREIGN TABLE kv OPTIONS (ADD updatable 'false');
INSERT INTO kv VALUES ('r', 'x');
UPDATE kv SET value = 'x';
DELETE FROM kv;
ALTER FOREIGN TABLE kv OPTIONS (DROP updatable, ADD truncatable 'false');
TRUNCATE kv;
ALTER FOREIGN TABLE kv OPTIONS (DROP truncatable);
CREATE FOREIGN TABLE everything (key text COLLATE "C", value text) SERVER fdw_limits;
TRUNCATE everything;
CREATE SERVER fdw_read_only FOREIGN DATA WRAPPER norikv OPTIONS (read_only 'true');
CREATE FOREIGN TABLE kv_read_only (key text COLLATE "C", value text)
    SERVER fdw_read_only OPTIONS (prefix 'fdw_limits:');
SELECT key FROM kv_read_only WHERE key = '1';
INSERT INTO kv_read_only VALUES ('r', 'x');
UPDATE kv_read_only SET value = 'x';
DELETE FROM kv_read_only;
COPY kv_read_only FROM stdin;
r	x
\.
TRUNCATE kv_read_only;
SELECT key FROM kv_read_only WHERE key = '1' FOR UPDATE;
EXPLAIN (COSTS OFF) DELETE FROM kv_read_only;
EXPLAIN (VERBOSE, COSTS OFF) INSERT INTO kv VALUES ('a', 'b'), ('c', 'd');
EXPLAIN (VERBOSE, COSTS OFF) UPDATE kv SET value = 'x' WHERE key = '1' RETURNING key;

-- Privileges are the table's; connections that are needed stay.
CREATE ROLE fdw_limits_user;
GRANT SELECT, INSERT ON kv TO fdw_limits_user;
SET ROLE fdw_limits_user;
INSERT INTO kv VALUES ('by user', 'x') RETURNING key;
DELETE FROM kv;
RESET ROLE;
BEGIN;
UPDATE kv SET value = 'connected' WHERE key = '1';
SELECT norikv.disconnect('fdw_limits');
ALTER SERVER fdw_limits OPTIONS (ADD timeout '7s');
SELECT value FROM kv WHERE key = '1';
COMMIT;
SELECT value FROM kv WHERE key = '1';
BEGIN;
UPDATE kv SET value = 'dropped' WHERE key = '1';
DROP FOREIGN TABLE kv;
COMMIT;
SELECT norikv.get('fdw_limits:1');
SELECT norikv.mdelete(array_agg(key)) > 0 FROM norikv.scan('fdw_limits:');
DROP ROLE fdw_limits_user;
DROP SERVER fdw_limits CASCADE;
DROP SERVER fdw_read_only CASCADE;
