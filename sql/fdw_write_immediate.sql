-- write_mode 'immediate': each statement's rows at once, whatever becomes of the
-- transaction, and errors that say how far they got.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SERVER fdw_immediate FOREIGN DATA WRAPPER norikv OPTIONS (batch_size '3');
CREATE FOREIGN TABLE now (key text COLLATE "C", value text, ttl interval)
    SERVER fdw_immediate OPTIONS (prefix 'fdw_immediate:', write_mode 'immediate');
CREATE FOREIGN TABLE upsert (key text COLLATE "C", value text)
    SERVER fdw_immediate OPTIONS (prefix 'fdw_immediate:', write_mode 'immediate', on_insert 'replace');
TRUNCATE now;

BEGIN;
INSERT INTO now VALUES ('a', '1'), ('b', '1'), ('c', '1'), ('d', '1'), ('e', '1');
SELECT ops, bytes FROM norikv.pending_writes();
SELECT key, value FROM now ORDER BY key;
ROLLBACK;
SELECT key, value FROM now ORDER BY key;
BEGIN;
UPDATE now SET value = '2' WHERE key > 'c';
DELETE FROM now WHERE key = 'a' RETURNING key, value;
UPDATE now SET value = '3' WHERE key = 'b' RETURNING key, value;
ROLLBACK;
SELECT key, value FROM now ORDER BY key;

-- A part of it is there, and the error says which.
CREATE FUNCTION failure(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    context text;
BEGIN
    EXECUTE command;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RETURN SQLSTATE || ' ' || SQLERRM || E'\n' || split_part(context, E'\n', 1);
END $$;
\t on
\a
SELECT failure($$INSERT INTO now VALUES ('m', '1'), ('n', '1'), ('o', '1'), ('p', '1'), ('b', 'again'), ('q', '1'), ('r', '1')$$);
SELECT key, value FROM now ORDER BY key;
SELECT failure($$INSERT INTO now VALUES ('b', 'again') RETURNING key$$);
SELECT failure($$COPY now (key, value) FROM PROGRAM 'printf "b\tx\n"'$$);
\t off
\a
INSERT INTO now VALUES ('s', '1'), ('s', '2');
INSERT INTO now VALUES ('s', '1'), ('b', 'x'), ('s', '2'), ('t', '1') ON CONFLICT DO NOTHING;
INSERT INTO now VALUES ('b', 'x'), ('u', '1') ON CONFLICT DO NOTHING RETURNING key;
INSERT INTO upsert VALUES ('s', 'one'), ('s', 'two'), ('v', 'new');
COPY now (key, value) FROM stdin;
w	1
x	1
y	1
z	1
\.
SELECT key, value FROM now WHERE key > 'r' ORDER BY key;
UPDATE now SET value = 'twice' FROM generate_series(1, 3) WHERE key = 'z';
UPDATE now SET key = 'zz' WHERE key = 'z';
SELECT key FROM now WHERE key = 'z' FOR UPDATE;

-- The ttl stays, is set, is dropped.
UPDATE now SET ttl = '10 minutes' WHERE key = 'z';
UPDATE now SET value = 'kept' WHERE key = 'z';
SELECT key, value, ttl BETWEEN '9 minutes' AND '10 minutes' AS kept FROM now WHERE key = 'z';
UPDATE now SET ttl = NULL WHERE key = 'z';
SELECT key, value, ttl FROM now WHERE key = 'z';

-- Whoever rolls back is told what stays.
BEGIN;
SAVEPOINT a;
INSERT INTO now (key, value) VALUES ('roll1', '');
SAVEPOINT b;
INSERT INTO now (key, value) VALUES ('roll2', ''), ('roll3', '');
RELEASE b;
ROLLBACK TO a;
UPDATE now SET value = 'x' WHERE key LIKE 'roll%';
COMMIT;
SELECT failure($$INSERT INTO now (key, value) SELECT 'roll' || i, (1 / (9 - i))::text FROM generate_series(4, 9) i$$);
SELECT key FROM now WHERE key LIKE 'roll%' ORDER BY key;

BEGIN;
TRUNCATE now;
ROLLBACK;
SELECT count(*) FROM now;

-- What a transaction is to send at COMMIT cannot be changed before.
CREATE FOREIGN TABLE later (key text COLLATE "C", value text)
    SERVER fdw_immediate OPTIONS (prefix 'fdw_immediate:');
INSERT INTO later VALUES ('a', 'stored');
BEGIN;
INSERT INTO later VALUES ('b', 'buffered');
UPDATE later SET value = 'buffered' WHERE key = 'a';
SAVEPOINT s;
DELETE FROM now WHERE key = 'b';
ROLLBACK TO s;
UPDATE now SET value = 'x' WHERE key = 'b';
ROLLBACK TO s;
UPDATE now SET value = 'x' WHERE key = 'a';
ROLLBACK TO s;
COMMIT;
SELECT key, value FROM now ORDER BY key;
TRUNCATE now;

-- More than the server takes in one request.
CREATE SERVER fdw_immediate_large FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE large (key int, value text)
    SERVER fdw_immediate_large OPTIONS (prefix 'fdw_immediate:', write_mode 'immediate');
INSERT INTO large SELECT i, repeat('x', 1000000) FROM generate_series(1, 70) i;
INSERT INTO large SELECT i, repeat('x', 1000000) FROM generate_series(31, 130) i ON CONFLICT DO NOTHING;
SELECT count(*) FROM large;
UPDATE large SET value = reverse(value) || 'y';
TRUNCATE large;
DROP SERVER fdw_immediate_large CASCADE;
DROP FUNCTION failure;
DROP SERVER fdw_immediate CASCADE;
