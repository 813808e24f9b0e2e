-- Rows that are there already, rows that must not be: in the statement.
\set VERBOSITY terse
SET client_min_messages = warning;
SET search_path = public, norikv;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SERVER fdw_conflict FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE item (
    id int OPTIONS (key 'true'),
    name text NOT NULL,
    stock int CHECK (stock >= 0),
    doubled int GENERATED ALWAYS AS (stock * 2) STORED,
    v norikv.version OPTIONS (version 'true')
) SERVER fdw_conflict OPTIONS (prefix 'fdw_conflict:', format 'json');
CREATE FOREIGN TABLE upsert (
    id int OPTIONS (key 'true'),
    name text,
    stock int
) SERVER fdw_conflict OPTIONS (prefix 'fdw_conflict:', format 'json', on_insert 'replace');
TRUNCATE item;

INSERT INTO item (id, name, stock) VALUES (1, 'one', 1), (2, 'two', 2);
-- The key exists: in the store, in the transaction, in the statement.
INSERT INTO item (id, name) VALUES (3, 'three'), (1, 'again');
BEGIN;
INSERT INTO item (id, name) VALUES (3, 'three');
INSERT INTO item (id, name) VALUES (3, 'again');
ROLLBACK;
INSERT INTO item (id, name) VALUES (3, 'three'), (3, 'again');
INSERT INTO item (id, name) SELECT i, 'new' FROM generate_series(2001, 1, -1) i;
INSERT INTO item (id, name) VALUES (1, 'again') RETURNING id;
SELECT id, name, stock, doubled FROM item ORDER BY id;
-- Deleted in the transaction, the key is free.
BEGIN;
DELETE FROM item WHERE id = 1;
INSERT INTO item (id, name, stock) VALUES (1, 'first', 5);
COMMIT;
SELECT id, name, stock, doubled FROM item ORDER BY id;

-- PL/pgSQL can catch it, and goes on.
DO $$
BEGIN
    FOR i IN 0..3 LOOP
        BEGIN
            INSERT INTO item (id, name) VALUES (10 + i, 'loop'), (i, 'loop');
            RAISE WARNING 'inserted %', i;
        EXCEPTION WHEN unique_violation THEN
            RAISE WARNING 'caught %', i;
        END;
    END LOOP;
END $$;
SELECT id, name FROM item ORDER BY id;
DELETE FROM item WHERE name = 'loop';

-- ON CONFLICT.
INSERT INTO item (id, name) VALUES (1, 'x'), (5, 'five'), (5, 'x'), (2, 'x') ON CONFLICT DO NOTHING;
INSERT INTO item (id, name) VALUES (1, 'x'), (6, 'six') ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO item (id, name) SELECT i, 'many' FROM generate_series(1, 2500) i ON CONFLICT DO NOTHING;
SELECT count(*), count(*) FILTER (WHERE name = 'many') FROM item;
DELETE FROM item WHERE id > 6;
BEGIN;
DELETE FROM item WHERE id = 5;
INSERT INTO item (id, name) VALUES (5, 'again'), (6, 'x') ON CONFLICT DO NOTHING;
SELECT id, name FROM item ORDER BY id;
ROLLBACK;
INSERT INTO item (id, name) VALUES (1, 'x') ON CONFLICT (id) DO NOTHING;
INSERT INTO item (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'y';

-- on_insert 'replace'.
INSERT INTO upsert VALUES (1, 'uno', 1), (7, 'seven', 7);
BEGIN;
INSERT INTO upsert VALUES (2, 'dos', 2);
UPDATE upsert SET stock = stock + 10 WHERE id = 2;
INSERT INTO upsert VALUES (1, 'a', 1), (1, 'b', 2);
SELECT * FROM upsert ORDER BY id;
COMMIT;
SELECT * FROM upsert ORDER BY id;
COPY upsert FROM stdin;
7	sept	7
8	huit	8
\.
SELECT * FROM upsert WHERE id >= 7 ORDER BY id;

-- Constraints are enforced here.
INSERT INTO item (id, name) VALUES (20, NULL);
INSERT INTO item (id, name, stock) VALUES (20, 'x', -1);
INSERT INTO item (id, name) VALUES (NULL, 'x');
UPDATE item SET stock = -1 WHERE id = 1;
UPDATE item SET name = NULL WHERE id = 1;
UPDATE item SET id = NULL WHERE id = 1;
COPY item (id, name, stock) FROM stdin;
21	ok	1
22	bad	-1
\.
SELECT count(*) FROM item WHERE id >= 20;

-- Compare and swap by hand.
SELECT v AS old FROM item WHERE id = 1 \gset
UPDATE item SET stock = 100 WHERE id = 1 AND v = :'old';
UPDATE item SET stock = 200 WHERE id = 1 AND v = :'old';
DELETE FROM item WHERE id = 1 AND v = :'old';
SELECT id, stock FROM item WHERE id = 1;
UPDATE item SET v = '1/1' WHERE id = 1;
UPDATE item SET v = NULL;
INSERT INTO item (id, name, v) VALUES (30, 'v is ignored', '77/77');
SELECT id, v <> '77/77' AS own FROM item WHERE id = 30;

-- Somebody else was faster: the functions act at once, like another session.
BEGIN;
UPDATE item SET stock = 0 WHERE id = 1;
SELECT norikv.put('fdw_conflict:1', '{"name": "theirs"}') IS NOT NULL;
SELECT id, name, stock FROM item WHERE id = 1;
COMMIT;
SELECT id, name, stock FROM item WHERE id = 1;
BEGIN;
INSERT INTO item (id, name) VALUES (40, 'mine');
SELECT norikv.put('fdw_conflict:40', '{"name": "theirs"}') IS NOT NULL;
COMMIT;
BEGIN;
DELETE FROM item WHERE id = 40;
SELECT norikv.delete('fdw_conflict:40');
COMMIT;
BEGIN;
INSERT INTO upsert VALUES (40, 'mine', 1);
SELECT norikv.put('fdw_conflict:40', '{"name": "theirs"}') IS NOT NULL;
COMMIT;
SELECT name FROM item WHERE id = 40;
-- Nothing of such a transaction is there.
BEGIN;
INSERT INTO item (id, name) VALUES (41, 'lost');
UPDATE item SET stock = 1 WHERE id = 40;
SELECT norikv.put('fdw_conflict:40', '{"name": "theirs"}') IS NOT NULL;
COMMIT;
SELECT count(*) FROM item WHERE id = 41;

-- An optimistic lock: checked at COMMIT.
BEGIN;
SELECT id, name FROM item WHERE id = 40 FOR UPDATE;
SELECT norikv.put('fdw_conflict:40', '{"name": "changed"}') IS NOT NULL;
COMMIT;
BEGIN;
SELECT id, name FROM item WHERE id = 40 FOR SHARE;
COMMIT;
BEGIN;
SELECT id, name FROM item WHERE id = 40 FOR UPDATE;
SELECT norikv.put('fdw_conflict:40', '{"name": "again"}') IS NOT NULL;
-- The row is not the one that was locked.
UPDATE item SET stock = 1 WHERE id = 40;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT id FROM item WHERE id = 40 FOR UPDATE;
ROLLBACK TO s;
SELECT norikv.put('fdw_conflict:40', '{"name": "unlocked"}') IS NOT NULL;
COMMIT;
-- What a LIMIT or a join leaves out is not locked.
BEGIN;
SELECT item.id FROM item JOIN (VALUES (1), (2)) w(id) ON item.id = w.id ORDER BY item.id LIMIT 1 FOR UPDATE OF item;
SELECT norikv.put('fdw_conflict:2', '{"name": "free"}') IS NOT NULL;
SELECT norikv.put('fdw_conflict:40', '{"name": "free"}') IS NOT NULL;
COMMIT;

-- At REPEATABLE READ what was read is checked too, if the transaction writes.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT name FROM item WHERE id = 40;
SELECT norikv.put('fdw_conflict:40', '{"name": "skewed"}') IS NOT NULL;
UPDATE item SET stock = 3 WHERE id = 1;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT name FROM item WHERE id = 40;
SELECT norikv.put('fdw_conflict:40', '{"name": "read only is no harm"}') IS NOT NULL;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM item WHERE id = 50;
SELECT norikv.put('fdw_conflict:50', '{"name": "created"}') IS NOT NULL;
UPDATE item SET stock = 3 WHERE id = 1;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT sum(stock) FROM item WHERE id < 10;
UPDATE item SET stock = 4 WHERE id = 1;
COMMIT;
SELECT id, stock FROM item WHERE id = 1;
-- What was read and then truncated is gone, unless somebody has changed it meanwhile.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT id FROM item WHERE id IN (1, 2, 99);
SELECT norikv.put('fdw_conflict:2', '{"name": "theirs"}') IS NOT NULL;
TRUNCATE item;
COMMIT;
SELECT count(*) > 2 AS all_there FROM item;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT id FROM item WHERE id IN (1, 2, 99);
TRUNCATE item;
COMMIT;
SELECT count(*) FROM item;

-- Keys are looked up in batches, but where the rows before must be there already.
CREATE SERVER fdw_batches FOREIGN DATA WRAPPER norikv OPTIONS (batch_size '4', fetch_size '4');
CREATE FOREIGN TABLE batched (key int, value text)
    SERVER fdw_batches OPTIONS (prefix 'fdw_batches:');
TRUNCATE batched;
CREATE VIEW lookups AS
    SELECT operation, calls FROM norikv.stat_calls WHERE server = 'fdw_batches' AND operation LIKE '%get';
\t on
SELECT norikv.stat_reset();
INSERT INTO batched SELECT i, '' FROM generate_series(1, 10) i;
TABLE lookups;
SELECT norikv.stat_reset();
COPY batched FROM stdin;
11	x
12	x
13	x
14	x
15	x
\.
TABLE lookups;
SELECT norikv.stat_reset();
INSERT INTO batched SELECT i, '' FROM generate_series(11, 20) i ON CONFLICT DO NOTHING;
TABLE lookups;
SELECT norikv.stat_reset();
UPDATE batched SET key = 100 + key WHERE key <= 10;
TABLE lookups;
SELECT norikv.stat_reset();
INSERT INTO batched SELECT i, '' FROM generate_series(21, 25) i RETURNING key;
TABLE lookups;
CREATE FUNCTION see_batched() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.value := (SELECT count(*) FROM batched); RETURN NEW; END $$;
CREATE TRIGGER b BEFORE INSERT ON batched FOR EACH ROW EXECUTE FUNCTION see_batched();
SELECT norikv.stat_reset();
COPY batched FROM stdin;
31	x
32	x
33	x
\.
SELECT * FROM batched WHERE key IN (31, 32, 33);
BEGIN;
DELETE FROM batched WHERE key < 20;
SELECT norikv.stat_reset();
INSERT INTO batched SELECT i, '' FROM generate_series(11, 15) i;
-- What the transaction knows is not asked for.
TABLE lookups;
COMMIT;
\t off
DROP VIEW lookups;
TRUNCATE batched;
DROP SERVER fdw_batches CASCADE;
DROP FUNCTION see_batched;

TRUNCATE item;
DROP SERVER fdw_conflict CASCADE;
