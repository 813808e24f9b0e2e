-- The package database of a Debian machine in a key-value store: every package
-- a JSON document at pkg:<name>. scripts/demo runs this; by hand, in a database
-- of a PostgreSQL that preloads norikv, as a superuser:
--
--   NORIKVD_PID=... psql -q -v status_file=/var/lib/dpkg/status -f packages.sql
--
-- The pid is that of norikvd, for the part where it is killed.
\pset footer off
\pset null '(null)'
\set VERBOSITY default
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;

-- dpkg's status file: paragraphs with empty lines between, fields "Name: value",
-- and further lines of a field begin with a space.
CREATE TEMPORARY TABLE package AS
SELECT DISTINCT ON (name) 'pkg:' || name AS key, document
FROM unnest(string_to_array(pg_read_file(:'status_file'), E'\n\n')) AS paragraph,
	LATERAL (
		SELECT jsonb_object_agg(lower(field[1]), field[2]) AS document
		FROM regexp_matches(paragraph, '^([^\s:]+): ?(.*(?:\n[ \t].*)*)', 'gn') AS field
	) AS fields,
	LATERAL (SELECT document ->> 'package' AS name) AS named
WHERE name IS NOT NULL;

\timing on
\set ECHO queries

\echo '===== Every package of this machine, a JSON document each: stored in one call'
\echo
SELECT norikv.mput(array_agg(key), array_agg(document)) AS stored FROM package;

\echo
\echo '===== Reading'
\echo
SELECT norikv.get_json('pkg:bash') ->> 'version' AS version_of_bash;
\echo
\echo A key that is absent is NULL, never an error:
SELECT norikv.get('pkg:no-such-package') AS absent;
\echo
\echo Everything that is known of a key. Each write gives it a new version:
SELECT key, version, expires_at, octet_length(value) AS bytes FROM norikv.entry('pkg:bash');

\echo
\echo '===== Scanning a prefix, in the order of the keys'
\echo
SELECT key, value::json ->> 'version' AS version
FROM norikv.scan('pkg:libc', max_rows => 5);
\echo
SELECT norikv.key_count('pkg:');

\echo
\echo '===== Many keys: one by one, and in one round trip'
\echo
SELECT count(norikv.get(key)) AS found FROM package;
\echo
SELECT count(value) AS found FROM norikv.mget((SELECT array_agg(key) FROM package));

\echo
\echo '===== Compare and swap: write only on top of what was read'
\echo
\echo Bob reads a version ...
SELECT version AS seen FROM norikv.entry('pkg:bash') \gset
\echo
\echo ... Alice is faster ...
SELECT norikv.put('pkg:bash', norikv.get_json('pkg:bash') || '{"checked_by": "alice"}');
\echo
\echo ... and what Bob writes on top of the version he has read is refused:
\set ON_ERROR_STOP off
SELECT norikv.put('pkg:bash', '{"checked_by": "bob"}'::jsonb, if_match => :'seen');
\set ON_ERROR_STOP on
\echo
\echo He reads again, and this time his write holds:
SELECT version AS seen FROM norikv.entry('pkg:bash') \gset
SELECT norikv.put('pkg:bash', norikv.get_json('pkg:bash') || '{"seconded_by": "bob"}',
	if_match => :'seen');
\echo
\echo 'update() does that in a loop, with any function from the old document to the new:'
SELECT norikv.update('pkg:bash', 'jsonb_concat(jsonb,jsonb)', '{"seen_by": "carol"}')
	- ARRAY(SELECT jsonb_object_keys(document) FROM package WHERE key = 'pkg:bash')
	AS added_to_the_document;

\echo
\echo '===== A key that expires'
\echo
SELECT norikv.put('lease:nightly-job', 'host-a', ttl => '500 ms', if_absent => true);
\echo
SELECT norikv.get('lease:nightly-job') AS held_by;
\echo
SELECT pg_sleep(0.6) \gset
SELECT norikv.get('lease:nightly-job') AS held_by;

\echo
\echo '===== The same documents as a table'
\echo
\echo A foreign table is a prefix of the store: a row for every key, fields as columns.
\echo
CREATE SERVER norikv FOREIGN DATA WRAPPER norikv;
CREATE FOREIGN TABLE packages (
	name text OPTIONS (key 'true') COLLATE "C",
	version text,
	section text,
	kilobytes int OPTIONS (field 'installed-size'),
	depends text,
	checked_by text,
	v norikv.version OPTIONS (version 'true')
) SERVER norikv OPTIONS (prefix 'pkg:', format 'json');
\echo
SELECT name, version, kilobytes, v FROM packages WHERE name = 'bash';
\echo
\echo Any SQL works on it. What the server can do it is left to do, here order and limit:
SELECT name, section FROM packages WHERE name LIKE 'libc%' ORDER BY name DESC LIMIT 3;
\echo
SELECT section, count(*), sum(kilobytes) AS kilobytes
FROM packages GROUP BY section ORDER BY kilobytes DESC NULLS LAST LIMIT 3;

\echo
\echo '===== Joined with a local table: the keys of many rows in one round trip'
\echo
\echo A local table, of what each package depends on:
CREATE TEMPORARY TABLE dependency AS
SELECT name AS package, needs[1] AS needs
FROM packages, regexp_matches(depends, '(?:^|,)\s*([a-z0-9][a-z0-9.+-]+)', 'g') AS needs;
ANALYZE dependency;
SELECT count(*) FROM dependency;
\echo
SELECT d.package, d.needs, p.version
FROM dependency d JOIN packages p ON p.name = d.needs
WHERE d.package = 'bash' ORDER BY d.needs;
\echo
\echo What all dependencies weigh. Of so small a store reading everything would do as
\echo well. With that switched off the keys of 1000 rows are looked up at a time:
SET enable_hashjoin = off;
SET enable_mergejoin = off;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF)
SELECT sum(p.kilobytes) FROM dependency d LEFT JOIN packages p ON p.name = d.needs;
\echo
\echo And without lookup joins, one key a call. Compare the execution times:
SET norikv.enable_lookup_join = off;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF)
SELECT sum(p.kilobytes) FROM dependency d LEFT JOIN packages p ON p.name = d.needs;
RESET norikv.enable_lookup_join;
RESET enable_hashjoin;
RESET enable_mergejoin;

\echo
\echo '===== In transactions, with everything else that PostgreSQL does'
\echo
\echo Dave checks the shells ...
BEGIN;
UPDATE packages SET checked_by = 'dave' WHERE section = 'shells';
SELECT name, checked_by, v FROM packages WHERE section = 'shells' ORDER BY name LIMIT 3;
\echo
\echo ... nothing of that has reached the store yet ...
SELECT norikv.get_json('pkg:bash') ->> 'checked_by' AS in_the_store, ops AS waiting
FROM norikv.pending_writes();
\echo
\echo ... and nothing ever does, for he thinks better of it:
ROLLBACK;
SELECT name, checked_by FROM packages WHERE name = 'bash';
\echo
\echo Erin means it. A local table and the store change together:
CREATE TEMPORARY TABLE report (who text, what text);
BEGIN;
UPDATE packages SET checked_by = 'erin' WHERE section = 'shells';
INSERT INTO report SELECT checked_by, name FROM packages WHERE checked_by = 'erin';
COMMIT;
\echo
\echo All the rows went in one atomic unit, so they have one version:
SELECT p.v AS version, p.checked_by, count(*) AS rows
FROM report r JOIN packages p ON p.name = r.what GROUP BY 1, 2;

\echo
\echo '===== The server is killed'
\echo
\echo The next call waits for the new server. What was acknowledged is there:
\echo
\echo $ kill -9 `echo "$NORIKVD_PID"`
\! kill -9 "$NORIKVD_PID"
\echo
SELECT norikv.get_json('pkg:bash') ->> 'seconded_by' AS seconded_by;
\echo
SELECT norikv.key_count('pkg:') AS packages, (SELECT count(*) FROM package) AS "of";
