-- fence(): tokens that are too old are refused, whoever asks, in the transaction.
CREATE ROLE regress_norikv_writer;
SELECT norikv.fence('r', 5);
SELECT norikv.fence('r', 5);
SELECT norikv.fence('r', 7);
SELECT norikv.fence('r', 6);
SELECT norikv.fence('other', 6);
SELECT resource, token FROM norikv.fences ORDER BY resource;
SELECT store = (SELECT store_id FROM norikv.server_info()) AS by_store FROM norikv.fences LIMIT 1;
-- It is part of the transaction.
BEGIN;
SELECT norikv.fence('r', 9);
ROLLBACK;
SELECT norikv.fence('r', 8);
BEGIN;
SAVEPOINT s;
SELECT norikv.fence('r', 7);
ROLLBACK TO SAVEPOINT s;
SELECT norikv.fence('r', 10);
COMMIT;
SELECT token FROM norikv.fences WHERE resource = 'r';

SELECT norikv.fence('r', 0);
SELECT norikv.fence('r', -1);
SELECT norikv.fence(NULL, 1);
SELECT norikv.fence('r', NULL);
SELECT norikv.fence(repeat('x', 1025), 1);
-- What the store cannot have given out yet would refuse all that it will.
\set VERBOSITY sqlstate
SELECT norikv.fence('r', 9223372036854775807);
SELECT norikv.fence('never', 9223372036854775807);
SELECT norikv.put('fence-now', 'x')::bigint AS now \gset
SELECT norikv.fence('now', :now + 1000000);
\set VERBOSITY default
SELECT norikv.fence('now', :now);
SELECT count(*) FROM norikv.fences WHERE resource IN ('now', 'never');
-- A lock's token is one, however fresh; so is that of a session that has seen nothing since.
SELECT norikv.lock('fence-now') AS token \gset
SELECT norikv.fence('now', :token);
SELECT norikv.unlock('fence-now', :token);
\c
SELECT norikv.fence('now', norikv.put('fence-now', 'y')::bigint);
SELECT norikv.delete('fence-now'), norikv.fence_reset('now'), norikv.fence_reset('never');
SELECT norikv.fence_reset('r'), norikv.fence_reset('r'), norikv.fence_reset('none');
SELECT norikv.fence_reset(NULL);
SELECT norikv.fence('r', 1);
BEGIN READ ONLY;
SELECT norikv.fence('r', 1);
ROLLBACK;
BEGIN READ ONLY;
SELECT norikv.fence_reset('r');
ROLLBACK;

-- ---- roles: no right on the table, and none is lent ----

SET ROLE regress_norikv_writer;
SELECT norikv.fence('r', 2);
RESET ROLE;
GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO regress_norikv_writer;
SET ROLE regress_norikv_writer;
SELECT norikv.fence('r', 2);
SELECT norikv.fence('r', 1);
SELECT current_user;
SELECT * FROM norikv.fences;
DELETE FROM norikv.fences;
SELECT norikv.fence_reset('r');
-- What the caller puts in the way of names is not used.
RESET ROLE;
GRANT CREATE ON DATABASE contrib_regression TO regress_norikv_writer;
SET ROLE regress_norikv_writer;
CREATE SCHEMA trap;
CREATE FUNCTION trap.never(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'run as %', current_user;
END $$;
CREATE OPERATOR trap.<= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.never);
CREATE TABLE trap.fences (store text, resource text, token bigint);
SET search_path = trap, norikv, pg_catalog;
SELECT norikv.fence('r', 3);
SELECT norikv.fence('r', 2);
SELECT count(*) FROM trap.fences;
RESET search_path;
RESET ROLE;
SELECT token FROM norikv.fences WHERE resource = 'r';

-- ---- stores and tenants have their own ----

CREATE SERVER confined FOREIGN DATA WRAPPER norikv OPTIONS (tenant 'acme');
SET norikv.server = 'confined';
SELECT norikv.fence('r', 1);
SELECT norikv.fence_reset('r');
RESET norikv.server;
SELECT resource, token FROM norikv.fences ORDER BY resource;

-- The rows are dumped with the database.
SELECT 'norikv.fences'::regclass = ANY (extconfig) AS dumped FROM pg_extension WHERE extname = 'norikv';

SELECT norikv.fence_reset('r'), norikv.fence_reset('other');
DROP SERVER confined;
DROP SCHEMA trap CASCADE;
REVOKE ALL ON DATABASE contrib_regression FROM regress_norikv_writer;
REVOKE ALL ON FOREIGN DATA WRAPPER norikv FROM regress_norikv_writer;
DROP ROLE regress_norikv_writer;
