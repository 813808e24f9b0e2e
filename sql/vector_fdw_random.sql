-- Random changes and queries of foreign tables of vectors and of local ones with the
-- same rows: the same answers. NORIKV_SEED repeats a run, NORIKV_STRESS=1 makes a long
-- one of it. Components are small integers, so that exact distances are exact here and
-- there, and many are equal: then the order is that of the ids.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS norikv;
CREATE SCHEMA vector_fdw_random;
SET search_path = vector_fdw_random, norikv, public;
CREATE SERVER random_vectors FOREIGN DATA WRAPPER norikv;
SET norikv.server = random_vectors;
-- Plans without a sort have costs that seem worth compiling.
SET jit = off;
\set seed 42
\getenv seed NORIKV_SEED
\set stress 0
\getenv stress NORIKV_STRESS

-- exact: the order of a search is that of the distances.
CREATE TABLE kinds (name text, distance text, index_type text, operator text, exact bool);
INSERT INTO kinds VALUES
	('euclidean', 'euclidean', 'brute_force', '<->', true),
	('inner', 'inner_product', 'brute_force', '<#>', true),
	('cosine', 'cosine', 'brute_force', '<=>', false),
	('graph', 'euclidean', 'hnsw', '<->', false);

CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE
AS $$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;
CREATE FUNCTION draw_id() RETURNS text LANGUAGE sql VOLATILE
AS $$ SELECT pick('a', 'b', 'é', 'z', '😀') || floor(random() * 12)::int $$;
-- Without the zero vector, of which there is no cosine.
CREATE FUNCTION draw_vector() RETURNS text LANGUAGE sql VOLATILE
AS $$ SELECT format('{%s,%s,%s}', floor(random() * 9) - 4, floor(random() * 9) - 4, 1 + floor(random() * 4)) $$;

CREATE FUNCTION draw_condition() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	CASE floor(random() * 11)::int
	WHEN 0 THEN RETURN 'true';
	WHEN 1 THEN RETURN format('id = %L', draw_id());
	WHEN 2 THEN RETURN format('id IN (%L, %L, %L)', draw_id(), draw_id(), draw_id());
	WHEN 3 THEN RETURN format('id %s %L', pick('<', '>', '>=', '<=', '<>'), draw_id());
	WHEN 4 THEN RETURN format('id LIKE %L', pick('a%', 'é%', '%1', 'b_'));
	WHEN 5 THEN RETURN format('embedding[%s] %s %s', pick('1', '2', '3'), pick('=', '<', '>'), floor(random() * 5) - 2);
	WHEN 6 THEN RETURN format('embedding[1] > 0 AND id > %L', draw_id());
	WHEN 7 THEN RETURN format('embedding <-> %L < %s', draw_vector(), floor(random() * 8));
	WHEN 8 THEN RETURN format('NOT (%s)', draw_condition());
	WHEN 9 THEN RETURN format('(%s OR id = %L)', draw_condition(), draw_id());
	ELSE RETURN pick('false', 'id IS NULL', 'embedding = ''{1,1,1}''', 'id = (SELECT draw_id() WHERE false)');
	END CASE;
END $$;

CREATE FUNCTION draw_change() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	CASE floor(random() * 10)::int
	WHEN 0, 1 THEN RETURN format('INSERT INTO TABLE VALUES (%L, %L)', draw_id(), draw_vector());
	WHEN 2, 3 THEN RETURN format('INSERT INTO TABLE VALUES (%L, %L), (%L, %L), (%L, %L) ON CONFLICT DO NOTHING',
		draw_id(), draw_vector(), draw_id(), draw_vector(), draw_id(), draw_vector());
	WHEN 4, 5 THEN RETURN format('UPDATE TABLE SET embedding = %L WHERE %s', draw_vector(), draw_condition());
	WHEN 6 THEN RETURN format('UPDATE TABLE SET embedding = ARRAY[embedding[2], embedding[1], embedding[3]] WHERE %s', draw_condition());
	WHEN 7 THEN RETURN format('UPDATE TABLE SET id = %L WHERE id = %L', draw_id(), draw_id());
	WHEN 8 THEN RETURN format('DELETE FROM TABLE WHERE %s', draw_condition());
	ELSE RETURN CASE WHEN random() < 0.2 THEN 'TRUNCATE TABLE' ELSE format('DELETE FROM TABLE WHERE id = %L', draw_id()) END;
	END CASE;
END $$;

CREATE FUNCTION answer(query text, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT string_agg(q::text, E''\n'') FROM (%s) q', replace(query, 'TABLE', name)) INTO result;
	RETURN coalesce(result, 'nothing');
END $$;

-- How many rows, or the error. undone: all of it is rolled back.
CREATE FUNCTION change(statement text, name text, undone bool) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE replace(statement, 'TABLE', name);
	GET DIAGNOSTICS n = ROW_COUNT;
	IF undone THEN
		RAISE division_by_zero;
	END IF;
	RETURN n;
EXCEPTION WHEN unique_violation OR division_by_zero THEN
	RETURN sqlstate;
END $$;

CREATE FUNCTION make_tables(kind kinds) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM vector_drop_index('rnd ' || kind.name), vector_create_index('rnd ' || kind.name, 3, kind.distance, kind.index_type);
	EXECUTE format('CREATE FOREIGN TABLE remote_%s (id text OPTIONS (key ''true'') COLLATE "C", embedding real[] OPTIONS (vector ''true''),
		distance real OPTIONS (distance ''true'')) SERVER random_vectors OPTIONS (namespace %L, fetch_size ''7'')', kind.name, 'rnd ' || kind.name);
	EXECUTE format('CREATE TABLE local_%s (id text COLLATE "C" PRIMARY KEY, embedding real[])', kind.name);
END $$;

-- What differs, or NULL.
CREATE FUNCTION compare_queries(kind kinds) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	remote text := 'remote_' || kind.name;
	local text := 'local_' || kind.name;
	shown text := pick('id, embedding', 'id', 'id, embedding');
	condition text := draw_condition();
	near text := format('embedding %s %L', kind.operator, draw_vector());
	bounds text := format('LIMIT %s OFFSET %s', pick('1', '3', '10', 'NULL', '(SELECT 4)'), pick('0', '0', '2'));
	drawn text;
	answers text[];
BEGIN
	drawn := format('SELECT %s FROM TABLE WHERE %s ORDER BY id', shown, condition);
	IF answer(drawn, remote) <> answer(drawn, local) THEN
		RETURN drawn;
	END IF;
	drawn := format('SELECT count(*), min(id) FROM TABLE WHERE %s', condition);
	IF answer(drawn, remote) <> answer(drawn, local) THEN
		RETURN drawn;
	END IF;
	-- All of them, and as many as there are.
	drawn := format('SELECT count(*) FROM (SELECT id FROM TABLE WHERE %s ORDER BY %s %s) t', condition, near, bounds);
	IF answer(drawn, remote) <> answer(drawn, local) THEN
		RETURN drawn;
	END IF;
	drawn := format('SELECT id, embedding FROM (SELECT id, embedding FROM TABLE WHERE %s ORDER BY %s) t ORDER BY id', condition, near);
	IF answer(drawn, remote) <> answer(drawn, local) THEN
		RETURN drawn;
	END IF;
	-- The distance is that of the operator.
	drawn := format('SELECT count(*) FROM (SELECT distance, %s AS expected FROM TABLE WHERE %s ORDER BY %s %s) t
		WHERE distance IS NULL OR abs(distance - expected) > 1e-5 * greatest(1, abs(expected))', near, condition, near, bounds);
	IF answer(drawn, remote) <> '(0)' THEN
		RETURN drawn;
	END IF;
	-- In their order, by id where the distance is one: a sort would have no order there.
	IF kind.exact THEN
		SET LOCAL enable_sort = off;
		drawn := format('SELECT %s FROM TABLE WHERE %s ORDER BY %s', shown, condition, near);
		IF answer(drawn || ' ' || bounds, remote) <> answer(drawn || ', id ' || bounds, local) THEN
			RETURN drawn || ' ' || bounds;
		END IF;
		drawn := format('SELECT q.i, t.id FROM generate_series(1, 4) q (i), LATERAL (SELECT id FROM TABLE WHERE %s
			ORDER BY embedding %s ARRAY[q.i, %s, q.i]::real[]', condition, kind.operator, floor(random() * 4));
		IF answer(drawn || ' LIMIT 3) t', remote) <> answer(drawn || ', id LIMIT 3) t', local) THEN
			RETURN drawn;
		END IF;
		SET LOCAL enable_sort = on;
	END IF;
	RETURN NULL;
END $$;

CREATE PROCEDURE run(which text, rounds int, INOUT differences int) LANGUAGE plpgsql AS $$
DECLARE
	kind kinds := (SELECT kinds FROM kinds WHERE name = which);
	statement text;
	undone bool;
	difference text;
	remote text;
	local text;
BEGIN
	differences := 0;
	FOR i IN 1 .. rounds LOOP
		statement := draw_change();
		undone := random() < 0.2;
		remote := change(statement, 'remote_' || kind.name, undone);
		local := change(statement, 'local_' || kind.name, undone);
		IF remote <> local THEN
			differences := differences + 1;
			RAISE WARNING '%: %: foreign %, local %', kind.name, statement, remote, local;
		END IF;
		difference := compare_queries(kind);
		IF difference IS NOT NULL THEN
			differences := differences + 1;
			RAISE WARNING E'%: after %: %\nforeign: %\nlocal: %', kind.name, statement, difference,
				answer(difference, 'remote_' || kind.name), answer(replace(difference, 'distance,', 'NULL::real AS distance,'), 'local_' || kind.name);
		END IF;
		IF random() < 0.15 THEN
			COMMIT;
		ELSIF random() < 0.05 THEN
			ROLLBACK;
		END IF;
	END LOOP;
END $$;

SELECT setseed((:seed % 1000) / 1000.0);
SELECT count(make_tables(kinds)) FROM kinds;
SELECT CASE WHEN :stress = 1 THEN 2000 ELSE 200 END AS rounds \gset
CALL run('euclidean', :rounds, 0);
CALL run('inner', :rounds, 0);
CALL run('cosine', :rounds, 0);
CALL run('graph', :rounds, 0);

-- A filter that few rows pass makes no search run dry, however large the index.
INSERT INTO remote_graph SELECT 'many' || i, ARRAY[random() * 100, random() * 100, 1 + i % 7] FROM generate_series(1, 3000) i;
SELECT count(*) FROM (SELECT id FROM remote_graph WHERE id LIKE 'many%' AND embedding[3] = 7 ORDER BY embedding <-> '{1,1,1}' LIMIT 1000) t;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM remote_graph WHERE id LIKE 'many%' AND id LIKE '%77' ORDER BY embedding <-> '{50,50,1}' LIMIT 20) t;
SELECT count(*) = (SELECT count(*) FROM remote_graph) AS all_of_them FROM (SELECT DISTINCT id FROM (SELECT id FROM remote_graph ORDER BY embedding <-> '{1,1,1}') t) t;

SELECT count(vector_drop_index('rnd ' || name)) FROM kinds;
DROP SERVER random_vectors CASCADE;
DROP SCHEMA vector_fdw_random CASCADE;
