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
