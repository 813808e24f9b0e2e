# The same statements on a foreign table and on a local table: random DML, queries,
# savepoints, exception blocks, cursors and rollbacks must give the same results,
# row counts and SQLSTATEs, statement by statement.
#
#   NORIKV_SEED=n         the statements of a run that failed
#   NORIKV_STATEMENTS=n   how many
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Differential;
use NorikvTest;

my $statements = $ENV{NORIKV_STATEMENTS} // ($ENV{NORIKV_STRESS} ? 100_000 : 10_000);
my $seed = new_seed();

# ---- Statements. "T" is the table, "U" another view of the same rows. ----
# clear() deletes some of them, of the foreign table by truncating a part of its range.

my $cursors;

sub key { return sprintf("k%02d", int(rand(40))); }
sub keys_list { return join(', ', map { "'" . key() . "'" } 1 .. 1 + int(rand(6))); }
sub text { return pick('NULL', "''", "'a'", "'b\"c'", "'d''e'", "E'f\\\\g\\nh'", "'ü€'", "repeat('x', " . int(rand(300)) . ')'); }
sub number { return pick('NULL', int(rand(100)), -int(rand(100)), '0'); }

sub range
{
	my ($low, $high) = sort(key(), key());
	return pick(
		"id = '" . key() . "'",
		'id IN (' . keys_list() . ')',
		"id >= '$low' AND id < '$high'",
		"id BETWEEN '$low' AND '$high'",
		"id > '$low'", "id <= '$high'",
		"id LIKE 'k" . int(rand(4)) . "%'",
		"id ^@ 'k" . int(rand(4)) . "'",
		'n % ' . (2 + int(rand(4))) . ' = 0',
		'n IS NULL', "s > 'a'",
		"id = ANY (ARRAY[" . keys_list() . "]) AND n > 0",
		"id IN (SELECT id FROM U WHERE n > " . int(rand(60)) . ')');
}

# Rows from nowhere, each key once.
sub rows
{
	my %seen;
	my @rows = map { '(' . join(', ', "'$_'", number(), text()) . ')' }
	  grep { !$seen{$_}++ } map { key() } 1 .. 1 + int(rand(8));
	return join(', ', @rows);
}

sub insert
{
	return pick(
		sub { 'INSERT INTO T VALUES ' . rows() },
		sub { 'INSERT INTO T VALUES ' . rows() . ', ' . rows() },
		sub { 'INSERT INTO T VALUES ' . rows() . ' ON CONFLICT DO NOTHING' },
		sub { 'INSERT INTO T VALUES ' . rows() . ', ' . rows() . ' ON CONFLICT DO NOTHING' },
		sub { 'INSERT INTO T VALUES ' . rows() . ' ON CONFLICT DO NOTHING RETURNING id, n, s' },
		sub { "INSERT INTO T (id, n) VALUES ('" . key() . "', " . number() . ') RETURNING *' },
		sub { "INSERT INTO T SELECT id || '+', n + 1, s FROM U WHERE " . range() . " AND id NOT LIKE '%+' ON CONFLICT DO NOTHING" },
		sub { "INSERT INTO T SELECT 'k' || lpad(i::text, 2, '0'), i, 'many' FROM generate_series(" . int(rand(30)) . ', ' . (30 + int(rand(10))) . ') i ON CONFLICT DO NOTHING' },
		sub { "COPY T (id, n) FROM PROGRAM 'printf \"" . key() . '\\\\t1\\\\n' . key() . "\\\\t2\\\\n\"'" })->();
}

sub update
{
	return pick(
		sub { 'UPDATE T SET n = n + 1 WHERE ' . range() },
		sub { 'UPDATE T SET n = ' . number() . ', s = ' . text() . ' WHERE ' . range() },
		sub { 'UPDATE T SET s = s || n WHERE ' . range() . " AND length(s) < 500" },
		sub { 'UPDATE T SET n = coalesce(n, 0) + 1' },
		sub { 'UPDATE T SET n = (SELECT count(*) FROM U WHERE ' . range() . ') WHERE ' . range() },
		sub { "UPDATE T SET id = '" . key() . "' WHERE id = '" . key() . "'" },
		sub { "UPDATE T SET id = 'm' || id WHERE id LIKE 'k" . int(rand(4)) . "%'" },
		sub { "UPDATE T SET id = substr(id, 2), s = 'back' WHERE id LIKE 'mk%'" },
		sub { "UPDATE T SET n = n + 1 FROM generate_series(1, 3) g WHERE id = '" . key() . "'" },
		sub { "UPDATE T SET n = 7 FROM U u WHERE T.id = u.id AND u.n > " . int(rand(80)) },
		sub { 'UPDATE T SET n = ' . int(rand(200)) . " - 100 WHERE id = '" . key() . "'" })->();
}

sub remove
{
	return pick(
		sub { 'DELETE FROM T WHERE ' . range() },
		sub { "DELETE FROM T WHERE id = '" . key() . "' RETURNING id, n, s" },
		sub { 'DELETE FROM T USING U u WHERE T.id = u.id AND u.n < ' . -int(rand(100)) },
		sub { rand() < 0.1 ? 'DELETE FROM T' : 'DELETE FROM T WHERE id IN (' . keys_list() . ')' },
		sub { "CALL clear('T')" },
		sub { rand() < 0.1 ? 'TRUNCATE T' : "DELETE FROM T WHERE s = 'many'" })->();
}

# Statements in statements.
sub with
{
	return pick(
		sub { 'WITH d AS (DELETE FROM T WHERE ' . range() . ' RETURNING *) INSERT INTO T SELECT id, n + 1, s FROM d' },
		sub { 'WITH d AS (DELETE FROM T WHERE ' . range() . ' RETURNING *) SELECT count(*), sum(n), (SELECT count(*) FROM U) FROM d' },
		sub { 'WITH i AS (INSERT INTO T VALUES ' . rows() . ' ON CONFLICT DO NOTHING RETURNING id) SELECT (SELECT count(*) FROM i), (SELECT count(*) FROM U)' },
		sub { "WITH u AS (UPDATE T SET n = n + 1 WHERE id < 'k20' RETURNING n), v AS (UPDATE T SET n = n - 1 WHERE id >= 'k20' RETURNING n) SELECT (SELECT sum(n) FROM u), (SELECT sum(n) FROM v), (SELECT sum(n) FROM U)" },
		sub { 'WITH r AS (UPDATE T SET s = ' . text() . ' WHERE ' . range() . ' RETURNING id, n, s) SELECT id, n, s FROM r ORDER BY id' })->();
}

sub query
{
	return pick(
		sub { 'SELECT * FROM T WHERE ' . range() . ' ORDER BY id' },
		sub { 'SELECT * FROM T ORDER BY id ' . pick('', 'DESC') . ' LIMIT ' . int(rand(6)) . ' OFFSET ' . int(rand(4)) },
		sub { 'SELECT count(*), sum(n), min(s), max(id) FROM T WHERE ' . range() },
		sub { 'SELECT count(*) FROM T' },
		sub { 'SELECT a.id, b.n FROM T a JOIN U b ON a.id = b.id WHERE a.' . "id > '" . key() . "' ORDER BY 1" },
		sub { 'SELECT i, T.id, T.s FROM generate_series(1, 40, 3) i LEFT JOIN T ON T.id = ' . "'k' || lpad(i::text, 2, '0') ORDER BY i" },
		sub { 'SELECT id FROM T WHERE NOT EXISTS (SELECT 1 FROM U WHERE U.id = ' . "T.id || '+') AND " . range() . ' ORDER BY id' },
		sub { 'SELECT id, n FROM T WHERE ' . range() . ' ORDER BY id FOR UPDATE' },
		sub { 'SELECT md5(string_agg(T::text, chr(10) ORDER BY id)) FROM T' })->();
}

# What PL/pgSQL does with savepoints of its own.
sub block
{
	my ($first, $second, $third) = (dml(), dml(), dml());
	my $error = pick('NULL', 'RAISE division_by_zero');
	return <<~"SQL";
		DO \$block\$ BEGIN $first;
		    BEGIN $second; $error;
		    EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'caught %', SQLSTATE; END;
		    $third;
		EXCEPTION WHEN unique_violation OR check_violation THEN RAISE NOTICE 'outside %', SQLSTATE; END \$block\$
		SQL
}

sub dml
{
	my $sql;
	do { $sql = pick(\&insert, \&insert, \&update, \&update, \&remove)->() } while $sql =~ /RETURNING|^COPY|^TRUNCATE/;
	return $sql;
}

# A cursor sees what was there when it was declared, whatever is done in between.
sub cursor
{
	my $name = 'c' . ++$cursors;
	return "DECLARE $name CURSOR FOR SELECT * FROM T WHERE " . range() . " ORDER BY id;\nFETCH 2 FROM $name;\n" . dml()
	  . ";\nFETCH ALL FROM $name;\nCLOSE $name";
}

sub statement
{
	my $dice = rand();
	return query() if $dice < 0.4;
	return with() if $dice < 0.47;
	return block() if $dice < 0.52;
	return pick(\&insert, \&update, \&remove)->();
}

# ---- Running ----

my $node = norikv_cluster('differential');
$node->safe_psql(
	'postgres', q{
	CREATE SERVER norikv FOREIGN DATA WRAPPER norikv;
	CREATE FOREIGN TABLE far (id text OPTIONS (key 'true') COLLATE "C", n int CHECK (n > -95), s text)
		SERVER norikv OPTIONS (prefix 'diff:', format 'json');
	CREATE FOREIGN TABLE far_too (id text OPTIONS (key 'true') COLLATE "C", n int, s text)
		SERVER norikv OPTIONS (prefix 'diff:', format 'json');
	CREATE FOREIGN TABLE far_part (id text OPTIONS (key 'true') COLLATE "C")
		SERVER norikv OPTIONS (prefix 'diff:k1', format 'json');
	CREATE TABLE near (id text COLLATE "C" PRIMARY KEY, n int CHECK (n > -95), s text);
	CREATE VIEW near_too AS SELECT * FROM near;
	CREATE PROCEDURE clear(name text) LANGUAGE plpgsql AS $$
	BEGIN
		IF name = 'far' THEN TRUNCATE far_part; ELSE DELETE FROM near WHERE id ^@ 'k1'; END IF;
	END $$;});

compare_statements(
	node => $node,
	near => [ 'near', 'near_too' ],
	far => [ 'far', 'far_too' ],
	statement => \&statement,
	cursor => \&cursor,
	whole => 'SELECT * FROM T ORDER BY id',
	statements => $statements,
	seed => $seed);

done_testing();
