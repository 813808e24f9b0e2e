-- When rows expire: ttl and expires_at are written like other columns.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SERVER fdw_expiry FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE session (
    id text OPTIONS (key 'true') COLLATE "C",
    name text,
    ttl interval OPTIONS (ttl 'true'),
    ends timestamptz OPTIONS (expires_at 'true')
) SERVER fdw_expiry OPTIONS (prefix 'fdw_expiry:', format 'json');
TRUNCATE session;
-- What is left, in whole minutes, rounded up; NULL for ever.
CREATE FUNCTION minutes(i interval) RETURNS int IMMUTABLE LANGUAGE sql
    AS $$ SELECT ceil(extract(epoch FROM i) / 60)::int $$;
CREATE VIEW shown AS
    SELECT id, name, minutes(ttl) AS ttl, minutes(ends - clock_timestamp()) AS ends
    FROM session ORDER BY id;

BEGIN;
INSERT INTO session VALUES ('a', 'none');
INSERT INTO session VALUES ('b', 'ttl', '10 minutes');
INSERT INTO session VALUES ('c', 'ends', NULL, clock_timestamp() + interval '20 minutes');
INSERT INTO session VALUES ('d', 'ttl wins', '30 minutes', clock_timestamp() + interval '5 hours');
INSERT INTO session VALUES ('e', 'never ends', NULL, 'infinity');
TABLE shown;
COMMIT;
TABLE shown;

-- Not named: it stays. NULL: for ever.
UPDATE session SET name = upper(name);
TABLE shown;
BEGIN;
UPDATE session SET ttl = NULL WHERE id = 'b';
UPDATE session SET ttl = '40 minutes' WHERE id = 'a';
UPDATE session SET ends = NULL WHERE id = 'c';
UPDATE session SET ends = clock_timestamp() + interval '50 minutes' WHERE id = 'd';
UPDATE session SET ttl = '60 minutes', ends = NULL WHERE id = 'e';
TABLE shown;
-- A later UPDATE of the same transaction keeps what an earlier one has set.
UPDATE session SET name = lower(name);
COMMIT;
TABLE shown;
-- A key that moves takes its expiry along; a new row under an old key does not inherit it.
UPDATE session SET id = 'f' WHERE id = 'a';
BEGIN;
DELETE FROM session WHERE id = 'd';
INSERT INTO session VALUES ('d', 'new');
COMMIT;
TABLE shown;
SELECT id, minutes(ends - clock_timestamp()) FROM session WHERE ends < clock_timestamp() + interval '45 minutes' ORDER BY id;

-- A trigger's say counts as the statement's.
CREATE FUNCTION slide() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.ttl := interval '70 minutes'; RETURN NEW; END $$;
CREATE TRIGGER slide BEFORE UPDATE ON session FOR EACH ROW EXECUTE FUNCTION slide();
UPDATE session SET name = 'slid' WHERE id = 'e';
DROP TRIGGER slide ON session;
SELECT * FROM shown WHERE id = 'e';

-- What cannot be.
INSERT INTO session VALUES ('x', 'x', '-1 second');
INSERT INTO session VALUES ('x', 'x', '1 month');
INSERT INTO session VALUES ('x', 'x', '0.1 milliseconds');
UPDATE session SET ttl = '200 years' WHERE id = 'b';
-- In the past: gone as soon as it is there.
INSERT INTO session VALUES ('y', 'short', '1 millisecond', NULL), ('z', 'past', NULL, '2001-01-01');
SELECT pg_sleep(0.05);
SELECT count(*) FROM session WHERE id >= 'x';
-- And then a new one may come.
INSERT INTO session VALUES ('y', 'again');
SELECT * FROM shown WHERE id >= 'x';
TRUNCATE session;
DROP FUNCTION slide();
DROP SERVER fdw_expiry CASCADE;
DROP FUNCTION minutes(interval);
