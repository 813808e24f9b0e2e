-- Random queries on foreign tables and on local ones with the same rows: the same
-- answers. NORIKV_SEED repeats a run, NORIKV_STRESS=1 makes a long one of it.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SCHEMA fdw_read_random;
SET search_path = fdw_read_random;
CREATE SERVER random_server FOREIGN DATA WRAPPER norikv;
SET norikv.server = random_server;
SELECT norikv.mdelete(coalesce(array_agg(key), '{}')) AS clean FROM norikv.scan_bytes('rnd:'::bytea, keys_only => true) \gset
\set seed 42
\getenv seed NORIKV_SEED
\set stress 0
\getenv stress NORIKV_STRESS
CREATE COLLATION nondeterministic (provider = icu, locale = 'und-u-ks-level2', deterministic = false);

-- The key column of each pair of tables, and how one of its values is drawn.
CREATE TABLE kinds (name text, key_type text, collation_name text, keep_prefix bool, draw text);
INSERT INTO kinds VALUES
	('bytewise', 'text', '"C"', false, 'draw_text()'),
	('linguistic', 'text', '"en-x-icu"', false, 'draw_text()'),
	('nondeterministic', 'text', 'nondeterministic', false, 'draw_text()'),
	('varying', 'varchar(40)', '"C"', false, 'draw_text()'),
	('whole', 'text', '"C"', true, '''rnd:whole:'' || draw_text()'),
	('binary', 'bytea', NULL, false, 'draw_bytes()'),
	('identifier', 'uuid', NULL, false, 'draw_uuid()'),
	('small', 'smallint', NULL, false, 'draw_number()::smallint'),
	('number', 'integer', NULL, false, 'draw_number()::integer'),
	('big', 'bigint', NULL, false, 'draw_number()');

CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE
AS $$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;
-- Few letters, so that keys meet; some of several bytes, some special to LIKE.
CREATE FUNCTION draw_text() RETURNS text LANGUAGE sql VOLATILE
AS $$ SELECT coalesce(string_agg(pick('a', 'b', 'A', 'z', 'é', '😀', '%', '_', '\', ' ', '0', '~'), ''), '')
	FROM generate_series(1, floor(random() * 5)::int) $$;
CREATE FUNCTION draw_bytes() RETURNS bytea LANGUAGE sql VOLATILE
AS $$ SELECT coalesce(string_agg(decode(pick('00', '01', '61', '7f', '80', 'ff', '25', '5c'), 'hex'), ''::bytea), ''::bytea)
	FROM generate_series(1, floor(random() * 4)::int) $$;
CREATE FUNCTION draw_uuid() RETURNS uuid LANGUAGE sql VOLATILE
AS $$ SELECT (lpad(to_hex(floor(random() * 40)::int * 409), 8, pick('0', 'a', 'f')) || '-0000-4000-8000-000000000000')::uuid $$;
CREATE FUNCTION draw_number() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT (floor(random() * 120)::bigint - 60) * pick('1', '10', '100')::bigint $$;

CREATE FUNCTION draw(kind kinds) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	drawn text;
BEGIN
	EXECUTE format('SELECT quote_literal(%s)', kind.draw) INTO drawn;
	RETURN drawn || '::' || CASE WHEN kind.key_type LIKE '%int%' THEN pick('int8', 'int4', 'int2') ELSE kind.key_type END;
END $$;

CREATE FUNCTION draw_array(kind kinds) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	elements text[] := '{}';
BEGIN
	FOR i IN 1 .. floor(random() * 6)::int LOOP
		elements := elements || pick(split_part(draw(kind), '::', 1), split_part(draw(kind), '::', 1), 'NULL');
	END LOOP;
	RETURN format('ARRAY[%s]::%s[]', array_to_string(elements, ', '), kind.key_type);
END $$;

-- One condition on the key, or on something else.
CREATE FUNCTION draw_atom(kind kinds) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	textual bool := kind.key_type IN ('text', 'varchar(40)');
	linguistic bool := kind.name = 'nondeterministic';
BEGIN
	CASE floor(random() * 12)::int
	WHEN 0, 1 THEN RETURN format('key %s %s', pick('=', '=', '<', '<=', '>', '>='), draw(kind));
	WHEN 2 THEN RETURN format('%s %s key', draw(kind), pick('=', '<', '<=', '>', '>='));
	WHEN 3 THEN RETURN format('key BETWEEN %s AND %s', draw(kind), draw(kind));
	WHEN 4 THEN RETURN format('key = ANY (%s)', draw_array(kind));
	WHEN 5 THEN RETURN format('key IN (%s, %s, %s)', draw(kind), draw(kind), draw(kind));
	WHEN 6 THEN
		IF textual AND NOT linguistic THEN
			RETURN format('key %s %L', pick('LIKE', 'LIKE', 'NOT LIKE'), CASE WHEN kind.keep_prefix THEN 'rnd:whole:' ELSE '' END
				|| rtrim(draw_text(), '\') || pick('%', '%', '_', '', '%a'));
		END IF;
		RETURN format('n < %s', floor(random() * 40));
	WHEN 7 THEN
		IF textual AND NOT linguistic THEN
			RETURN format(pick('key ^@ %s', 'starts_with(key, %s)'), quote_literal((CASE WHEN kind.keep_prefix THEN 'rnd:whole:' ELSE '' END) || left(draw_text(), 2)));
		END IF;
		RETURN format('key = (SELECT %s)', draw(kind));
	WHEN 8 THEN RETURN pick('key IS NOT NULL', 'key IS NULL', 'n IS NULL', 'key = NULL', 'v LIKE ''%a%''', 'n % 3 = 1');
	WHEN 9 THEN
		IF textual THEN
			RETURN format('key COLLATE "C" %s %s', pick('=', '<', '>=', '>'), draw(kind));
		END IF;
		RETURN format('n > %s', floor(random() * 40));
	WHEN 10 THEN
		-- PostgreSQL takes key = 'a' for proof of key ~>~ 'Z', whatever = means there.
		IF textual AND NOT linguistic THEN
			RETURN format('key %s %s', pick('~<~', '~>=~', '~>~', '~<=~'), draw(kind));
		END IF;
		RETURN format('key <> %s', draw(kind));
	ELSE RETURN format('key %s (SELECT %s)', pick('=', '<', '>='), draw(kind));
	END CASE;
END $$;

CREATE FUNCTION draw_condition(kind kinds, depth int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF depth = 0 OR random() < 0.3 THEN
		RETURN draw_atom(kind);
	END IF;
	RETURN format(pick('%s AND %s', '%s AND %s', '(%s OR %s)', '%s AND NOT (%s)'),
		draw_condition(kind, depth - 1), draw_condition(kind, depth - 1));
END $$;

-- TABLE stands for the name of the foreign table, or of the local one.
CREATE FUNCTION draw_query(kind kinds, OUT query text, OUT ordered bool) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	condition text := draw_condition(kind, 2);
	way text := pick('', 'DESC', 'DESC NULLS LAST', 'NULLS FIRST');
BEGIN
	ordered := false;
	CASE floor(random() * 12)::int
	WHEN 0, 1 THEN query := format('SELECT * FROM TABLE t WHERE %s', condition);
	WHEN 2 THEN query := format('SELECT key FROM TABLE t WHERE %s', condition);
	WHEN 3, 4, 5 THEN
		ordered := true;
		query := format('SELECT key, n FROM TABLE t WHERE %s ORDER BY key %s, n LIMIT %s OFFSET %s', condition, way,
			pick('0', '1', '3', '10', 'NULL', '(SELECT 4)'), pick('0', '0', '1', '5', 'NULL'));
	WHEN 6 THEN query := format('SELECT count(*), count(key) + 1 AS more FROM TABLE t WHERE %s', condition);
	WHEN 7 THEN query := format('SELECT min(n), max(n), count(v), sum(n) FROM TABLE t WHERE %s', condition);
	WHEN 8 THEN query := format('SELECT o.n, t.key, t.n AS tn FROM outer_rows_%s o %s JOIN TABLE t ON t.key = o.key WHERE o.n < 20',
		kind.name, pick('', 'LEFT', 'RIGHT', 'FULL'));
	WHEN 9 THEN query := format('SELECT o.n FROM outer_rows_%s o WHERE %s EXISTS (SELECT 1 FROM TABLE t WHERE t.key = o.key AND t.n > %s)',
		kind.name, pick('', 'NOT'), floor(random() * 40));
	WHEN 10 THEN query := format('SELECT a.key, a.n, b.v FROM TABLE a JOIN TABLE b ON a.key = b.key WHERE a.n < %s', floor(random() * 60));
	ELSE query := format('SELECT DISTINCT n %% 5 AS m, count(*) OVER () FROM TABLE t WHERE %s', condition);
	END CASE;
END $$;

CREATE FUNCTION answer(query text, ordered bool, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format(CASE WHEN ordered THEN 'SELECT string_agg(q::text, E''\n'') FROM (%s) q'
		ELSE 'SELECT string_agg(q::text, E''\n'' ORDER BY q::text COLLATE "C") FROM (%s) q' END, replace(query, 'TABLE', name)) INTO result;
	RETURN coalesce(result, 'nothing');
EXCEPTION WHEN ambiguous_column OR undefined_function OR invalid_escape_sequence OR numeric_value_out_of_range OR feature_not_supported THEN
	-- Some of what is drawn is no query: it must be none for both.
	RETURN sqlerrm;
END $$;

-- The same rows in both.
CREATE FUNCTION make_tables(kind kinds) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	prefix text := 'rnd:' || kind.name || ':';
	shown text := CASE WHEN kind.keep_prefix THEN '' ELSE prefix END;
	sort_order text := coalesce(' COLLATE ' || kind.collation_name, '');
BEGIN
	EXECUTE format('CREATE TABLE local_%s (key %s%s PRIMARY KEY, n int, v text)', kind.name, kind.key_type, sort_order);
	EXECUTE format('CREATE TABLE outer_rows_%s (key %s%s, n int)', kind.name, kind.key_type, sort_order);
	EXECUTE format('CREATE FOREIGN TABLE remote_%s (key %s OPTIONS (key ''true'')%s, n int, v text) SERVER random_server
		OPTIONS (prefix %L, format ''json'', keep_prefix %L, fetch_size ''7'')', kind.name, kind.key_type, sort_order, prefix, kind.keep_prefix::text);
	EXECUTE format('INSERT INTO local_%s SELECT %s, i, pick(''a'', ''ab'', ''c'', NULL) FROM generate_series(1, 60) i ON CONFLICT DO NOTHING', kind.name, kind.draw);
	EXECUTE format('INSERT INTO outer_rows_%s SELECT CASE WHEN i %% 9 = 0 THEN NULL ELSE %s END, i FROM generate_series(1, 30) i', kind.name, kind.draw);
	IF kind.key_type = 'bytea' THEN
		EXECUTE format('SELECT norikv.mput(array_agg(%L::bytea || key), array_agg(json_strip_nulls(json_build_object(''n'', n, ''v'', v)))) FROM local_%s', shown, kind.name);
	ELSE
		EXECUTE format('SELECT norikv.mput(array_agg(%L || key::text), array_agg(json_strip_nulls(json_build_object(''n'', n, ''v'', v)))) FROM local_%s', shown, kind.name);
	END IF;
END $$;

CREATE FUNCTION compare(kind kinds, rounds int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	drawn record;
	remote text;
	local text;
	differences int := 0;
BEGIN
	FOR i IN 1 .. rounds LOOP
		drawn := draw_query(kind);
		remote := answer(drawn.query, drawn.ordered, 'remote_' || kind.name);
		local := answer(drawn.query, drawn.ordered, 'local_' || kind.name);
		IF remote <> local THEN
			differences := differences + 1;
			RAISE WARNING E'%: %\nforeign: %\nlocal: %', kind.name, drawn.query, remote, local;
		END IF;
	END LOOP;
	RETURN differences;
END $$;

SELECT setseed((:seed % 1000) / 1000.0);
SELECT count(make_tables(kinds)) FROM kinds;
SELECT name, compare(kinds, CASE WHEN :stress = 1 THEN 5000 ELSE 300 END) AS differences FROM kinds;
-- Other ways to join do not matter.
SET norikv.enable_lookup_join = off;
SELECT name, compare(kinds, CASE WHEN :stress = 1 THEN 1000 ELSE 60 END) AS differences FROM kinds;
SET enable_nestloop = off;
SELECT name, compare(kinds, CASE WHEN :stress = 1 THEN 1000 ELSE 60 END) AS differences FROM kinds;
RESET enable_nestloop;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT name, compare(kinds, CASE WHEN :stress = 1 THEN 1000 ELSE 60 END) AS differences FROM kinds;
SELECT norikv.mdelete(array_agg(key)) > 0 AS cleaned FROM norikv.scan_bytes('rnd:'::bytea, keys_only => true);
DROP SERVER random_server CASCADE;
DROP SCHEMA fdw_read_random CASCADE;
