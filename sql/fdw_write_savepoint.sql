-- Savepoints, exception blocks and functions: what is taken back is gone, and only that.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SERVER fdw_savepoint FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE kv (key text COLLATE "C", value text)
    SERVER fdw_savepoint OPTIONS (prefix 'fdw_savepoint:');
TRUNCATE kv;
INSERT INTO kv VALUES ('a', '0'), ('b', '0'), ('c', '0');

BEGIN;
UPDATE kv SET value = '1' WHERE key = 'a';
SAVEPOINT one;
UPDATE kv SET value = '2' WHERE key IN ('a', 'b');
INSERT INTO kv VALUES ('d', '2');
SAVEPOINT two;
DELETE FROM kv WHERE key IN ('a', 'c');
UPDATE kv SET key = 'e' WHERE key = 'd';
SELECT * FROM kv ORDER BY key;
ROLLBACK TO two;
SELECT * FROM kv ORDER BY key;
RELEASE two;
ROLLBACK TO one;
SELECT * FROM kv ORDER BY key;
SELECT ops FROM norikv.pending_writes();
INSERT INTO kv VALUES ('d', '3');
RELEASE one;
COMMIT;
SELECT * FROM kv ORDER BY key;

-- Released, then rolled back from further out.
BEGIN;
SAVEPOINT outermost;
SAVEPOINT inner_one;
UPDATE kv SET value = '4' WHERE key = 'a';
RELEASE inner_one;
SAVEPOINT inner_two;
DELETE FROM kv WHERE key = 'b';
RELEASE inner_two;
SELECT * FROM kv ORDER BY key;
ROLLBACK TO outermost;
SELECT * FROM kv ORDER BY key;
SELECT ops, bytes FROM norikv.pending_writes();
COMMIT;
SELECT * FROM kv ORDER BY key;

-- TRUNCATE, and what comes after it, goes too.
BEGIN;
UPDATE kv SET value = '5' WHERE key = 'a';
SAVEPOINT s;
TRUNCATE kv;
INSERT INTO kv VALUES ('a', '6'), ('z', '6');
SELECT * FROM kv ORDER BY key;
ROLLBACK TO s;
SELECT * FROM kv ORDER BY key;
TRUNCATE kv;
INSERT INTO kv VALUES ('b', '7');
SAVEPOINT t;
TRUNCATE kv;
SELECT count(*) FROM kv;
ROLLBACK TO t;
SELECT * FROM kv ORDER BY key;
COMMIT;
SELECT * FROM kv ORDER BY key;
BEGIN;
TRUNCATE kv;
INSERT INTO kv VALUES ('a', '0'), ('b', '0'), ('c', '0');
COMMIT;
SELECT * FROM kv ORDER BY key;

-- An error in a statement takes back the statement.
BEGIN;
UPDATE kv SET value = '8' WHERE key = 'a';
SAVEPOINT s;
INSERT INTO kv SELECT chr(i), 'x' FROM generate_series(ascii('f'), ascii('a'), -1) i;
ROLLBACK TO s;
SELECT * FROM kv ORDER BY key;
COMMIT;

-- Exception blocks, nested, with a commit in between.
CREATE FUNCTION attempt(k text, v text, fail boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kv VALUES (k, v);
    BEGIN
        UPDATE kv SET value = value || '+' WHERE key = k;
        IF fail THEN
            RAISE division_by_zero;
        END IF;
    EXCEPTION WHEN division_by_zero THEN
        UPDATE kv SET value = value || '-' WHERE key = k;
    END;
    RETURN (SELECT value FROM kv WHERE key = k);
EXCEPTION WHEN unique_violation THEN
    RETURN 'exists';
END $$;
SELECT attempt('p', 'v', false), attempt('q', 'v', true), attempt('p', 'w', false);
SELECT * FROM kv ORDER BY key;
CREATE PROCEDURE steps() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..3 LOOP
        UPDATE kv SET value = i WHERE key = 'a';
        IF i = 2 THEN
            ROLLBACK;
        ELSE
            COMMIT;
        END IF;
        RAISE WARNING 'after %: %', i, (SELECT value FROM kv WHERE key = 'a');
    END LOOP;
END $$;
CALL steps();
-- It may commit again and again: nothing is left of what was sent.
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$
DECLARE
    bytes bigint;
BEGIN
    FOR i IN 1..600 LOOP
        UPDATE kv SET value = i WHERE key = 'a';
        COMMIT;
        IF i = 100 THEN
            SELECT sum(total_bytes) INTO bytes FROM pg_backend_memory_contexts;
        END IF;
    END LOOP;
    SELECT sum(total_bytes) - bytes INTO bytes FROM pg_backend_memory_contexts;
    RAISE WARNING 'grows: %', bytes > 300000;
END $$;
CALL commits();

-- A function sees what its own statements did; a STABLE one what its query sees.
CREATE FUNCTION bump() RETURNS text LANGUAGE sql AS
    $$ UPDATE kv SET value = (value::int + 1)::text WHERE key = 'a' RETURNING value $$;
CREATE FUNCTION look() RETURNS text STABLE LANGUAGE plpgsql AS
    $$ BEGIN RETURN (SELECT value FROM kv WHERE key = 'a'); END $$;
CREATE FUNCTION look_now() RETURNS text VOLATILE LANGUAGE plpgsql AS
    $$ BEGIN RETURN (SELECT value FROM kv WHERE key = 'a'); END $$;
BEGIN;
UPDATE kv SET value = '10' WHERE key = 'a';
SELECT bump(), look(), look_now() FROM generate_series(1, 3);
COMMIT;

-- A cursor keeps to what was there when it was declared.
BEGIN;
UPDATE kv SET value = 'before' WHERE key = 'a';
DECLARE c CURSOR FOR SELECT key, value FROM kv WHERE key < 'd' ORDER BY key;
SAVEPOINT s;
UPDATE kv SET value = 'after';
DELETE FROM kv WHERE key = 'b';
FETCH 1 FROM c;
ROLLBACK TO s;
FETCH ALL FROM c;
COMMIT;

-- A transaction that failed sends nothing.
BEGIN;
UPDATE kv SET value = 'never';
SELECT 1 / 0;
COMMIT;
SELECT count(*) FROM kv WHERE value = 'never';
DROP FUNCTION attempt, bump, look, look_now;
DROP PROCEDURE steps, commits;
TRUNCATE kv;
DROP SERVER fdw_savepoint CASCADE;
