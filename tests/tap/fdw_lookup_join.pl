# The same joins on foreign tables and on local tables: generated queries must give
# the same rows with lookup joins, without them and on local tables, also with rows
# that wait for COMMIT.
#
#   NORIKV_SEED=n      the queries of a run that failed
#   NORIKV_QUERIES=n   how many
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $queries = $ENV{NORIKV_QUERIES} // rounds(4000);
my $per_script = 200;
my $seed = new_seed();

sub pick { return $_[ int(rand(@_)) ]; }
sub chance { return rand() < $_[0]; }

# ---- Tables ----

# The name of each table of keys, the type of its key, how number i is made into a
# key, and options. Batches of odd sizes, so that they end anywhere.
my @tables = (
	[ 'words', 'text COLLATE "C"', "'k' || i", "batch_size '3'" ],
	[ 'spelled', 'text COLLATE "en-x-icu"', "'k' || i", "batch_size '7'" ],
	[ 'named', 'varchar(20)', "'k' || i", '' ],
	[ 'whole', 'text COLLATE "C"', "'join:whole:k' || i", "keep_prefix 'true'" ],
	[ 'loose', 'text COLLATE loose', "'k' || i", '' ],
	[ 'ids', 'uuid', "(lpad(to_hex(i), 8, '0') || '-0000-4000-8000-00000000000a')::uuid", "batch_size '16'" ],
	[ 'shorts', 'smallint', 'i::smallint', "batch_size '1'" ],
	[ 'ints', 'int', 'i', "batch_size '20'" ],
	[ 'bigs', 'bigint', 'i::bigint', '' ],
	[ 'blobs', 'bytea', "convert_to('k' || i, 'UTF8')", '' ]);

sub setup
{
	my $sql = q{
	CREATE SERVER norikv FOREIGN DATA WRAPPER norikv;
	CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	CREATE SCHEMA near;
	CREATE SCHEMA far;
	CREATE TABLE o (i int, k text, u uuid, n int, b bigint, h smallint, w text);
	SELECT setseed(0.5);
	INSERT INTO o SELECT i, CASE WHEN random() < 0.1 THEN NULL ELSE 'k' || r END,
		CASE WHEN random() < 0.1 THEN NULL ELSE (lpad(to_hex(r), 8, '0') || '-0000-4000-8000-00000000000A')::uuid END,
		CASE WHEN random() < 0.1 THEN NULL ELSE r END, CASE WHEN random() < 0.05 THEN 5000000000 ELSE r END,
		CASE WHEN random() < 0.1 THEN NULL ELSE r END, repeat('k' || r, CASE WHEN i % 7 = 0 THEN 3000 ELSE 1 END)
		FROM (SELECT i, floor(random() * 70)::int AS r FROM generate_series(1, 110) i) x;
	CREATE TABLE few AS SELECT * FROM o WHERE i % 12 = 0;
	CREATE INDEX ON o (n);
	CREATE INDEX ON o (k);
	CREATE INDEX ON few (i);
	ANALYZE o, few;
	CREATE TABLE used (jointype text);
	};
	for my $table (@tables)
	{
		my ($name, $type, $key, $options) = @$table;
		my $column = $type =~ /^(.*?) (COLLATE.*)$/ ? "$1 OPTIONS (key 'true') $2" : "$type OPTIONS (key 'true')";
		$options = ", $options" if $options;
		$sql .= qq{
		CREATE TABLE near.$name (id $type PRIMARY KEY, n int, s text);
		CREATE FOREIGN TABLE far.$name (id $column, n int, s text)
			SERVER norikv OPTIONS (prefix 'join:$name:', format 'json'$options);
		INSERT INTO near.$name SELECT $key, nullif(i * 7 % 50, 3), CASE WHEN i % 9 = 0 THEN NULL ELSE 'k' || i * 3 % 70 END
			FROM generate_series(0, 60) i WHERE i % 4 <> 1;
		INSERT INTO far.$name SELECT * FROM near.$name;
		ANALYZE near.$name, far.$name;
		};
	}
	return $sql . q{
	-- What a query returns, in some order that does not depend on the plan.
	CREATE FUNCTION rows_of(query text, tables text, lookup_join bool) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		result text;
	BEGIN
		PERFORM set_config('search_path', tables || ', public', true);
		PERFORM set_config('norikv.enable_lookup_join', lookup_join::text, true);
		EXECUTE format('SELECT string_agg(r::text, chr(10) ORDER BY r::text COLLATE "C") FROM (%s) r', query) INTO result;
		RETURN coalesce(result, 'no rows');
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE || ' ' || SQLERRM;
	END $$;
	-- Notes which kinds of lookup joins there are in the plan.
	CREATE FUNCTION note_use(query text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		line text;
	BEGIN
		PERFORM set_config('search_path', 'far, public', true);
		PERFORM set_config('norikv.enable_lookup_join', 'on', true);
		FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
			INSERT INTO public.used SELECT (regexp_match(line, 'Join Type: (\w+)'))[1] WHERE line ~ '^ *Join Type: ';
		END LOOP;
	END $$;
	CREATE FUNCTION same(number int, query text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		near text := rows_of(query, 'near', true);
		far text := rows_of(query, 'far', true);
		-- One call a row takes its time.
		without text := CASE WHEN number % 4 = 0 THEN rows_of(query, 'far', false) ELSE far END;
	BEGIN
		IF near ~ '^[0-9A-Z]{5} ' THEN
			RETURN format(E'query %s fails: %s\n%s\n', number, near, query);
		END IF;
		PERFORM note_use(query);
		IF near = far AND near = without THEN
			RETURN NULL;
		END IF;
		RETURN format(E'query %s: %s\nlocal:\n%s\nlookup join:\n%s\nwithout:\n%s\n', number, query, near, far, without);
	END $$;};
}

# ---- Queries ----

my $aliases;    # how many of them the query has

sub alias { return pick('a' .. 'z') . ++$aliases; }

# Something that a key of the table can be equal to, from the relation named.
sub operand
{
	my ($table, $from) = @_;
	my ($alias, $is_far) = @$from;
	my $text = $is_far ? pick("$alias.s", "lower($alias.s)", "'k' || $alias.n") : pick("$alias.k", "$alias.k", "$alias.k", "coalesce($alias.k, 'k2')", "'k' || $alias.n", "$alias.k || ''", "$alias.k\::varchar(20)", "substr($alias.w, 1, 3)");
	my $number = $is_far ? pick("$alias.n", "$alias.n + 1") : pick("$alias.n", "$alias.b", "$alias.h", "$alias.n + 1", "$alias.b - 3", "-$alias.n", "$alias.n\::bigint");
	return $text if $table =~ /^(?:words|spelled|named|loose)$/;
	return "'join:whole:' || $text" if $table eq 'whole' && chance(0.8);
	return $text if $table eq 'whole';
	return "convert_to($text, 'UTF8')" if $table eq 'blobs';
	return $number if $table =~ /s$/ && $table ne 'ids';
	return $is_far ? "(lpad(to_hex(abs($alias.n)), 8, '0') || '-0000-4000-8000-00000000000a')::uuid" : "$alias.u";
}

sub key_condition
{
	my ($alias, $table, $from) = @_;
	my ($left, $right) = ("$alias.id", operand($table, $from));
	return chance(0.3) ? "$right = $left" : "$left = $right";
}

# A condition on what may have been joined.
sub filter
{
	my (@known) = @_;
	my ($alias, $is_far) = @{ pick(@known) };
	my $limit = int(rand(50));
	my ($other) = @{ pick(@known) };
	return pick(
		"$alias.n > $limit", "$alias.n % 3 = 1", "$alias.n IS NULL", "$alias.n <= $other.n",
		"coalesce($alias.n, 0) < $limit", "($alias.n < $limit OR $other.n IS NULL)",
		$is_far ? ("$alias.id IS NULL", "$alias.id IS NOT NULL", "$alias.s > 'k4'", "$alias.s IS DISTINCT FROM 'k3'")
		: ("$alias.i > $limit", "$alias.k <> 'k5'", "$alias.i % 5 = 0"));
}

# A foreign table, sometimes with columns that are computed below the join.
sub far_relation
{
	my ($table) = @_;
	return $table if chance(0.7);
	my $where = chance(0.5) ? ' WHERE n > ' . int(rand(30)) : '';
	return pick(
		"(SELECT id, coalesce(n, -1) AS n, s FROM $table$where)",
		"(SELECT id, n, coalesce(s, 'none') || n AS s FROM $table$where)",
		"(SELECT id, n, s, 'here' AS x FROM $table$where)");
}

sub join_condition
{
	my ($alias, $table, @known) = @_;
	my $on = key_condition($alias, $table, pick(@known));
	$on .= ' AND ' . filter(@known, [ $alias, 1 ]) if chance(0.4);
	$on .= " AND $alias.n > (SELECT min(n) FROM few WHERE few.i > $known[0][0].n)" if chance(0.05);
	return $on;
}

# One more relation of the FROM clause, or two: what they are, and the SQL.
sub joined
{
	my (@known) = @_;
	my $alias = alias();
	my $kind = pick('JOIN', 'JOIN', 'JOIN', 'LEFT JOIN', 'LEFT JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN');
	my $table = pick(@tables)->[0];
	my ($outer) = pick(@known);
	my $dice = rand();
	if ($dice < 0.1)
	{
		return ([ $alias, 0 ], "JOIN few $alias ON $alias.k = " . operand('words', $outer));
	}
	if ($dice < 0.18)
	{
		my $where = key_condition('f', $table, $outer);
		return ([ $alias, 1 ], pick('CROSS JOIN', 'LEFT JOIN') eq 'CROSS JOIN'
			? "CROSS JOIN LATERAL (SELECT f.id, f.n, f.s || $outer->[0].n AS s FROM $table f WHERE $where) $alias"
			: 'LEFT JOIN LATERAL (SELECT f.id, f.n, ' . pick('f.s', "coalesce(f.s, '') || coalesce($outer->[0].n, 7)") . " AS s FROM $table f WHERE $where) $alias ON " . filter(@known, [ $alias, 1 ]));
	}
	if ($dice < 0.26)
	{
		my $on = key_condition('f', $table, [ 'p', 0 ]);
		return ([ $alias, 1 ],
			"LEFT JOIN LATERAL (SELECT f.id, p.n, f.s FROM few p " . pick('', 'LEFT ') . "JOIN $table f ON $on AND f.n > $outer->[0].n OFFSET 0) $alias ON true");
	}
	if ($dice < 0.38)
	{
		# The lookup join is the inner side, with a param from the outer one.
		my $inner = alias();
		my $on = key_condition($alias, $table, [ $inner, 0 ]);
		my $link = $outer->[1] ? "$inner.k = $outer->[0].s" : "$inner.n = $outer->[0].n";
		return ([ $alias, 1 ], [ $inner, 0 ],
			pick('', 'LEFT ') . 'JOIN (' . pick('o', 'few') . " $inner " . pick('', 'LEFT ') . "JOIN $table $alias ON $on) ON $link");
	}
	# FULL JOIN takes conditions only that can be hashed or merged.
	return ([ $alias, 1 ], "FULL JOIN $table $alias ON " . key_condition($alias, $table, $outer)) if $kind eq 'FULL JOIN';
	return ([ $alias, 1 ], "$kind " . far_relation($table) . " $alias ON " . join_condition($alias, $table, @known));
}

# A condition with a query in it.
sub membership
{
	my (@known) = @_;
	my $table = pick(@tables)->[0];
	my $from = pick(@known);
	my $exists = pick('EXISTS', 'EXISTS', 'NOT EXISTS', 'NOT EXISTS');
	my $more = chance(0.5) ? ' AND ' . filter($from, [ 'f', 1 ]) : '';
	return "$exists (SELECT 1 FROM $table f WHERE " . key_condition('f', $table, $from) . "$more)" if chance(0.7);
	return "$exists (SELECT 1 FROM few p JOIN $table f ON " . key_condition('f', $table, [ 'p', 0 ]) . " WHERE p.i % 3 = $from->[0].n % 3$more)" if chance(0.5);
	return operand($table, $from) . pick(' IN ', ' IN ', ' NOT IN ') . "(SELECT id FROM $table f WHERE f.n IS NOT NULL)";
}

sub where
{
	my (@known) = @_;
	my @conditions;
	push @conditions, filter(@known) while chance(0.35);
	push @conditions, membership(@known) while chance(0.35);
	return @conditions ? ' WHERE ' . join(' AND ', @conditions) : '';
}

# What is computed for each row by a query of its own.
sub scalar_query
{
	my (@known) = @_;
	my $table = pick(@tables)->[0];
	my ($alias) = @{ pick(@known) };
	return pick(
		"(SELECT count(f.id) + sum(p.i) FROM few p LEFT JOIN $table f ON " . key_condition('f', $table, [ 'p', 0 ]) . " AND f.n <> $alias.n)",
		"(SELECT count(*) FROM few p JOIN $table f ON " . key_condition('f', $table, [ 'p', 0 ]) . " WHERE p.n > $alias.n)",
		"EXISTS (SELECT 1 FROM o p JOIN $table f ON " . key_condition('f', $table, [ 'p', 0 ]) . " WHERE p.n = $alias.n + 1)");
}

sub column
{
	my (@known) = @_;
	my ($alias, $is_far) = @{ pick(@known) };
	return scalar_query(@known) if chance(0.08);
	return $is_far ? pick("$alias.id", "$alias.n", "$alias.s", $alias, "$alias.id IS NULL", "coalesce($alias.n, -5)", "$alias.s || $alias.n")
		: pick("$alias.i", "$alias.k", "$alias.u", "$alias.n + 1", "$alias.b", "md5($alias.w)", "$alias.h");
}

sub query
{
	$aliases = 0;
	my @known = ([ alias(), 0 ]);
	my $from = pick('o', 'o', 'few') . " $known[0][0]";
	# Keys of a set, and what is there of them: the other side of IN.
	if (chance(0.12))
	{
		my $table = pick(@tables)->[0];
		@known = ([ alias(), 1 ]);
		return "SELECT * FROM $table $known[0][0] WHERE id IN (SELECT " . operand($table, [ 'p', 0 ]) . ' FROM ' . pick('o', 'few') . ' p' . (chance(0.5) ? ' WHERE p.i < 30' : '') . ') AND ' . filter(@known);
	}
	for (1 .. 1 + int(rand(3)))
	{
		my @joined = joined(@known);
		$from .= ' ' . pop @joined;
		push @known, @joined;
	}
	my @columns = map { column(@known) } 1 .. 1 + int(rand(4));
	my $list = join(', ', map { "$columns[$_] AS c$_" } 0 .. $#columns);
	my $where = where(@known);
	return "SELECT count(*) AS n FROM (SELECT $list FROM $from$where LIMIT " . int(rand(40)) . ' OFFSET ' . pick(0, 0, 5) . ') x' if chance(0.1);
	return "SELECT $list FROM $from$where ORDER BY " . join(', ', 1 .. @columns) . ' LIMIT ' . int(rand(30)) if chance(0.15);
	return "SELECT $columns[0] AS g, count(*), min($known[-1][0].n) FROM $from$where GROUP BY 1" if chance(0.1);
	return "SELECT DISTINCT $list FROM $from$where" if chance(0.05);
	return "SELECT $list FROM $from$where";
}

# ---- Writes, the same on both sides ----

sub write
{
	my ($table, undef, $key) = @{ pick(@tables) };
	my $low = int(rand(60));
	return pick(
		"INSERT INTO $table SELECT $key, i, 'k' || i % 60 FROM generate_series($low, $low + 20) i ON CONFLICT DO NOTHING",
		"UPDATE $table SET n = n + 1, s = 'k' || n % 70 WHERE n > $low",
		"UPDATE $table SET n = x.n FROM (SELECT $key AS key, max(i) AS n FROM o GROUP BY 1) x WHERE x.key = $table.id",
		"UPDATE few SET n = f.n FROM $table f WHERE f.id = " . operand($table, [ 'few', 0 ]),
		"DELETE FROM $table WHERE n % 4 = " . int(rand(4)),
		"DELETE FROM $table USING (SELECT DISTINCT $key AS key FROM few) x WHERE x.key = $table.id",
		"DELETE FROM $table WHERE EXISTS (SELECT 1 FROM words w WHERE w.n = $table.n)");
}

# Which way the planner is to go.
sub settings
{
	my $sql = '';
	for my $setting ('hashjoin', 'mergejoin', 'material', 'memoize', 'sort', 'hashagg')
	{
		my $value = chance($setting =~ /join/ ? 0.25 : $setting eq 'material' ? 0.9 : 0.6) ? 'on' : 'off';
		$sql .= "SET LOCAL enable_$setting = $value;\n";
	}
	return $sql . 'SET LOCAL work_mem = ' . pick("'64kB'", "'4MB'") . ";\n";
}

my $number = 0;

# Some queries in a transaction of their own, with writes of its own or without.
sub transaction
{
	my ($count) = @_;
	my $sql = "BEGIN;\n" . settings();
	if (chance(0.5))
	{
		# few is one table: what writes to it does so once.
		for my $write (map { &write() } 1 .. 1 + int(rand(4)))
		{
			my @sides = $write =~ /^UPDATE few/ ? ('near') : ('near', 'far');
			$sql .= "SET LOCAL search_path = $_, public; $write;\n" for @sides;
		}
		$sql .= "SELECT same(0, 'SELECT * FROM $_->[0]');\n" for @tables;
	}
	$sql .= 'SELECT same(' . ++$number . ', $query$' . query() . '$query$' . ");\n" for 1 .. $count;
	return $sql . (chance(0.5) ? "ROLLBACK;\n" : "COMMIT;\n");
}

# ---- Running ----

my $node = norikv_cluster('lookup_join');
$node->safe_psql('postgres', setup());

while ($number < $queries)
{
	my $first = $number + 1;
	my $script = "\\pset tuples_only on\n\\pset format unaligned\n";
	$script .= transaction(10) while $number < $first + $per_script - 1;
	my ($status, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0);
	$out =~ s/\n\n+/\n/g;
	$out =~ s/^\s+//;
	my $same = ok($out eq '' && $err eq '', "the same rows, queries $first to $number");
	next if $same;
	diag("NORIKV_SEED=$seed\n" . substr("$err\n$out", 0, 4000));
	last;
}

# ---- A server that does not answer, also in the middle of a join ----

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $hanging = start_norikvd("$directory/log", '--engine=memory', "--listen=unix:$directory/hanging");
$node->safe_psql(
	'postgres', qq{
	CREATE SERVER hanging FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/hanging');
	CREATE FOREIGN TABLE far.hanging (id text OPTIONS (key 'true') COLLATE "C", n int) SERVER hanging OPTIONS (prefix 'h:', format 'json');
	INSERT INTO far.hanging SELECT 'k' || i, i FROM generate_series(1, 1000) i;
	CREATE TABLE wanted AS SELECT i, 'k' || i AS k FROM generate_series(1, 1000) i;
	ANALYZE wanted, far.hanging;});
my $stop = stop_line($hanging);
my $join = 'SELECT w.i, h.n FROM wanted w JOIN far.hanging h ON h.id = w.k';
my ($status, $out, $err) = $node->psql(
	'postgres', qq{
	SET enable_hashjoin = off;
	SET enable_mergejoin = off;
	\\set VERBOSITY sqlstate
	SELECT sum(n) FROM ($join) x;
	BEGIN;
	DECLARE c NO SCROLL CURSOR FOR $join;
	FETCH 1 FROM c;
	SET LOCAL statement_timeout = '200ms';
	SAVEPOINT s;
	$stop
	FETCH ALL FROM c;
	ROLLBACK TO s;
	SELECT 'alive';
	SELECT sum(n) FROM ($join) x;
	ROLLBACK;
	\\! kill -CONT $hanging
	SELECT sum(n) FROM ($join) x;} =~ s/\\\\/\\/gr, on_error_stop => 0);
is($out, "500500\n1|1\nalive\n500500", 'joins end when they are cancelled, and leave the session as it was');
is(() = $err =~ /ERROR:\s+57014/g, 2, 'both were cancelled');

# ---- Somebody takes longer to fetch rows than a call may take ----

$node->safe_psql('postgres', "ALTER SERVER hanging OPTIONS (ADD timeout '2s'); INSERT INTO wanted VALUES (0, NULL)");
$out = $node->safe_psql(
	'postgres', q{
	SET enable_hashjoin = off;
	SET enable_mergejoin = off;
	BEGIN;
	DECLARE c CURSOR FOR SELECT w.i, h.n FROM (SELECT * FROM wanted ORDER BY i) w LEFT JOIN far.hanging h ON h.id = w.k;
	FETCH 1 FROM c;
	SELECT pg_sleep(2.5);
	FETCH 1 FROM c;
	COMMIT;});
is($out, "0|\n\n1|1", 'what was asked for is there, however late it is wanted');

my $used = $node->safe_psql('postgres', 'SELECT jointype, count(*) FROM used GROUP BY 1 ORDER BY 1');
note "lookup joins planned:\n$used";
like($used, qr/^$_\|\d+$/m, "lookup joins of type $_ were among them") for ('Anti', 'Inner', 'Left', 'Semi');

done_testing();
