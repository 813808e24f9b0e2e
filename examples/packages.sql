-- The package database of a Debian machine in a key-value store: every package
-- a JSON document at pkg:<name>. scripts/demo runs this; by hand, in a database
-- of a PostgreSQL that preloads norikv, as a superuser:
--
--   NORIKVD_PID=... psql -v status_file=/var/lib/dpkg/status -f packages.sql
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

\echo ===== Store every package of this machine, as JSON, in one call =====
\echo
\timing on
\set ECHO queries
SELECT norikv.mput(array_agg(key), array_agg(document)) AS stored FROM package;
\set ECHO none

\echo
\echo ===== Read =====
\echo
\set ECHO queries
SELECT norikv.get_json('pkg:bash') ->> 'version' AS version_of_bash;
SELECT norikv.get('pkg:no-such-package') AS absent_is_null;
SELECT key, version, octet_length(value) AS bytes FROM norikv.entry('pkg:bash');
\set ECHO none

\echo
\echo ===== Scan a prefix, in the order of the keys =====
\echo
\set ECHO queries
SELECT key, value::jsonb ->> 'version' AS version
FROM norikv.scan('pkg:libc', max_rows => 5);
SELECT norikv.key_count('pkg:');
\set ECHO none

\echo
\echo ===== Many keys: one by one, and in one round trip =====
\echo
\set ECHO queries
SELECT count(norikv.get(key)) AS found FROM package;
SELECT count(value) AS found FROM norikv.mget((SELECT array_agg(key) FROM package));
\set ECHO none

\echo
\echo ===== Compare and swap: write only what you have read =====
\echo
\echo 'We read the document and its version ...'
\set ECHO queries
SELECT version AS seen FROM norikv.entry('pkg:bash') \gset
\set ECHO none
\echo '... somebody else is faster ...'
\set ECHO queries
SELECT norikv.put('pkg:bash', norikv.get_json('pkg:bash') || '{"checked_by": "alice"}');
\set ECHO none
\echo '... so our write is refused: its version is not the present one any more.'
\set ECHO queries
\set ON_ERROR_STOP off
SELECT norikv.put('pkg:bash', '{"checked_by": "bob"}'::jsonb, if_match => :'seen');
\set ON_ERROR_STOP on
\set ECHO none
\echo
\echo 'We read again, and write what belongs on top of that. This time it holds.'
\set ECHO queries
SELECT version AS seen FROM norikv.entry('pkg:bash') \gset
SELECT norikv.put('pkg:bash', norikv.get_json('pkg:bash') || '{"seconded_by": "bob"}',
	if_match => :'seen');
\set ECHO none
\echo 'update() does all that in a loop, with any function from old to new.'
\set ECHO queries
SELECT norikv.update('pkg:bash', 'jsonb_concat(jsonb,jsonb)', '{"seen_by": "carol"}')
	- ARRAY(SELECT jsonb_object_keys(document) FROM package WHERE key = 'pkg:bash')
	AS what_came_to_it;
\set ECHO none

\echo
\echo ===== A key that expires =====
\echo
\set ECHO queries
SELECT norikv.put('lease:nightly-job', 'host-a', ttl => '500 ms', if_absent => true);
SELECT norikv.get('lease:nightly-job') AS now, expires_at > now() AS will_expire
FROM norikv.entry('lease:nightly-job');
SELECT pg_sleep(0.6);
SELECT norikv.get('lease:nightly-job') AS now;
\set ECHO none

\echo
\echo ===== What a killed server does =====
\echo
\echo 'The next call waits for the new one. Everything acknowledged is there.'
\echo
\echo $ kill -9 `echo "$NORIKVD_PID"`
\! kill -9 "$NORIKVD_PID"
\set ECHO queries
SELECT norikv.get_json('pkg:bash') ->> 'seconded_by' AS seconded_by;
SELECT norikv.key_count('pkg:') AS packages, (SELECT count(*) FROM package) AS of_them;
