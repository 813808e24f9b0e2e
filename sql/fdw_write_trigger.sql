-- Triggers, partitions and routed rows.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SERVER fdw_trigger FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE item (
    id text OPTIONS (key 'true') COLLATE "C",
    n int,
    note text,
    v norikv.version OPTIONS (version 'true')
) SERVER fdw_trigger OPTIONS (prefix 'fdw_trigger:item:', format 'json');
TRUNCATE item;
CREATE TABLE log (seq serial, line text);

CREATE FUNCTION before_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO log (line) VALUES (format('%s %s %s', TG_WHEN, TG_OP, OLD.id));
        IF OLD.id = 'keep' THEN RETURN NULL; END IF;
        RETURN OLD;
    END IF;
    IF NEW.id = 'skip' THEN RETURN NULL; END IF;
    NEW.note := coalesce(NEW.note, '') || lower(left(TG_OP, 1));
    INSERT INTO log (line) VALUES (format('%s %s %s->%s', TG_WHEN, TG_OP, OLD.n, NEW.n));
    RETURN NEW;
END $$;
CREATE FUNCTION after_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log (line) VALUES (format('%s %s %s->%s, sees %s', TG_WHEN, TG_OP,
        (OLD.id, OLD.n, OLD.note), (NEW.id, NEW.n, NEW.note, NEW.v), (SELECT count(*) FROM item)));
    RETURN NULL;
END $$;
CREATE FUNCTION after_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log (line) VALUES (format('%s %s, sees %s', TG_WHEN, TG_OP, (SELECT count(*) FROM item)));
    RETURN NULL;
END $$;
CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION before_row();
CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION after_row();
CREATE TRIGGER c AFTER INSERT OR UPDATE OR DELETE ON item FOR EACH STATEMENT EXECUTE FUNCTION after_statement();
BEGIN;
INSERT INTO item (id, n) VALUES ('a', 1), ('skip', 0), ('keep', 2) RETURNING id, n, note;
UPDATE item SET n = n + 10 WHERE id = 'a' RETURNING id, n, note;
DELETE FROM item RETURNING id;
INSERT INTO item (id, n) VALUES ('keep', 3) ON CONFLICT DO NOTHING;
COPY item (id, n) FROM stdin;
b	7
\.
COMMIT;
SELECT line FROM log ORDER BY seq;
SELECT id, n, note FROM item ORDER BY id;
DELETE FROM log;
INSERT INTO item (id, n) VALUES ('c', 1), ('b', 2);
SELECT line FROM log ORDER BY seq;
DROP TRIGGER a ON item;
DROP TRIGGER b ON item;
DROP TRIGGER c ON item;
TRUNCATE item;

-- A trigger that changes the row of its own statement.
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE item SET n = 99 WHERE id = OLD.id;
    RETURN NEW;
END $$;
INSERT INTO item (id, n) VALUES ('a', 1);
CREATE TRIGGER m BEFORE UPDATE ON item FOR EACH ROW WHEN (NEW.n < 50) EXECUTE FUNCTION meddle();
\set VERBOSITY default
UPDATE item SET n = 2 WHERE id = 'a';
\set VERBOSITY terse
DROP TRIGGER m ON item;
CREATE TRIGGER m AFTER UPDATE ON item FOR EACH ROW WHEN (NEW.n < 50) EXECUTE FUNCTION meddle();
UPDATE item SET n = 2 WHERE id = 'a';
SELECT id, n FROM item;
DROP TRIGGER m ON item;

-- Deferred to the end: what they write is of the transaction.
CREATE TABLE local (id text PRIMARY KEY);
CREATE FUNCTION mirror() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO item (id, note) VALUES (NEW.id, 'mirrored');
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER mirror AFTER INSERT ON local DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION mirror();
BEGIN;
INSERT INTO local VALUES ('m1'), ('m2');
SELECT id, note FROM item ORDER BY id;
COMMIT;
SELECT id, note FROM item ORDER BY id;
INSERT INTO local VALUES ('m3'), ('a');
SELECT id FROM local ORDER BY id;
SELECT id, note FROM item ORDER BY id;

-- As a partition.
CREATE TABLE part (key text COLLATE "C", n int) PARTITION BY LIST (n);
CREATE FOREIGN TABLE part_far PARTITION OF part FOR VALUES IN (1)
    SERVER fdw_trigger OPTIONS (prefix 'fdw_trigger:part:', format 'json');
CREATE TABLE part_near PARTITION OF part FOR VALUES IN (2, 3);
TRUNCATE part_far;
INSERT INTO part VALUES ('a', 1), ('b', 2), ('c', 1), ('d', 3);
SELECT tableoid::regclass, * FROM part ORDER BY key;
INSERT INTO part SELECT 'x' || i, i % 3 + 1 FROM generate_series(1, 3000) i;
SELECT tableoid::regclass, count(*) FROM part GROUP BY 1 ORDER BY 1;
DELETE FROM part WHERE key LIKE 'x%';
INSERT INTO part VALUES ('a', 1);
INSERT INTO part_far VALUES ('z', 2);
UPDATE part SET n = 2 WHERE key = 'a';
UPDATE part SET n = 1 WHERE key = 'b';
UPDATE part SET key = key || key RETURNING tableoid::regclass, *;
COPY part FROM stdin;
copied	1
near	2
\.
DELETE FROM part WHERE n = 1 RETURNING tableoid::regclass, *;
SELECT tableoid::regclass, * FROM part ORDER BY key;
-- Rows of partitions are locked as they are returned.
INSERT INTO part VALUES ('p', 1), ('q', 2), ('r', 1);
BEGIN;
SELECT tableoid::regclass, * FROM part WHERE key >= 'p' ORDER BY key LIMIT 2 FOR UPDATE;
SELECT norikv.put('fdw_trigger:part:r', '{"n": 1}') IS NOT NULL;
COMMIT;
BEGIN;
SELECT tableoid::regclass, * FROM part WHERE key >= 'p' ORDER BY key LIMIT 2 FOR UPDATE;
SELECT norikv.put('fdw_trigger:part:p', '{"n": 1}') IS NOT NULL;
COMMIT;
BEGIN;
DECLARE c CURSOR FOR SELECT key FROM part_far ORDER BY key FOR UPDATE;
FETCH 1 FROM c;
SAVEPOINT s;
FETCH 1 FROM c;
ROLLBACK TO s;
SELECT norikv.put('fdw_trigger:part:r', '{"n": 1}') IS NOT NULL;
COMMIT;
-- Beside a local table that is changed.
UPDATE part_near SET n = 3 FROM part_far f WHERE f.key = 'p' AND part_near.key = 'q' RETURNING part_near.*, f;
TRUNCATE part;
SELECT count(*) FROM part;
-- Rows that move to a partition that the same UPDATE changes too, which comes
-- before theirs, and behind it.
INSERT INTO part VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 1);
UPDATE part SET n = 1, key = key || n RETURNING tableoid::regclass, *;
SELECT tableoid::regclass, * FROM part ORDER BY key;
CREATE TABLE part_first PARTITION OF part FOR VALUES IN (0);
INSERT INTO part VALUES ('e', 0), ('f', 0);
UPDATE part SET n = 1, key = key || n WHERE n < 2;
SELECT tableoid::regclass, * FROM part ORDER BY key;
INSERT INTO part VALUES ('a1', 0), ('g', 0);
UPDATE part SET n = 1;
SELECT tableoid::regclass, * FROM part ORDER BY key;
TRUNCATE part;

DROP TABLE log, local, part;
TRUNCATE item;
DROP SERVER fdw_trigger CASCADE;
DROP FUNCTION before_row, after_row, after_statement, meddle, mirror;
