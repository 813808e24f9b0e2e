# The same statements on a foreign table of vectors and on a local table: random DML,
# searches with filters, savepoints, exception blocks, cursors and rollbacks must give
# the same results, row counts and SQLSTATEs, statement by statement. Components are
# small integers, so that distances are exact, and many are equal: then the order is that
# of the ids, which the local table is told to have.
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

my $statements = $ENV{NORIKV_STATEMENTS} // ($ENV{NORIKV_STRESS} ? 30_000 : 3_000);
my $seed = new_seed();

# ---- Statements. "T" is the table, "U" another view of the same rows. ----

my $cursors;

sub id { return sprintf("k%02d", int(rand(40))); }
sub ids { return join(', ', map { "'" . id() . "'" } 1 .. 1 + int(rand(6))); }
sub vector { return '{' . join(',', map { int(rand(9)) - 4 } 1 .. 3) . '}'; }

# What an index, or a column, does not take; the local table has a constraint for it.
sub any_vector { return rand() < 0.05 ? pick("'{9,9}'", 'NULL') : "'" . vector() . "'"; }

sub condition
{
	my ($low, $high) = sort(id(), id());
	return pick(
		"id = '" . id() . "'",
		'id IN (' . ids() . ')',
		"id >= '$low' AND id < '$high'",
		"id > '$low'", "id <= '$high'",
		"id LIKE 'k" . int(rand(4)) . "%'",
		'v[1] > ' . (int(rand(6)) - 3),
		"v <-> '" . vector() . "' < " . int(rand(8)),
		"id = ANY (ARRAY[" . ids() . "]) AND v[2] > 0",
		"id IN (SELECT id FROM U WHERE v[3] = " . (int(rand(9)) - 4) . ')',
		'true', 'v[1] = v[2]');
}

# "N" is the order of the nearest: the foreign table's own, or spelled out.
sub nearest { return "ORDER BY v <-> '" . vector() . "'N"; }

sub rows
{
	my %seen;
	my @rows = map { "('$_', " . any_vector() . ')' } grep { !$seen{$_}++ } map { id() } 1 .. 1 + int(rand(8));
	return join(', ', @rows);
}

sub insert
{
	return pick(
		sub { 'INSERT INTO T VALUES ' . rows() },
		sub { 'INSERT INTO T VALUES ' . rows() . ', ' . rows() . ' ON CONFLICT DO NOTHING' },
		sub { 'INSERT INTO T VALUES ' . rows() . ' ON CONFLICT DO NOTHING RETURNING id, v' },
		sub { "INSERT INTO T SELECT id || '+', v FROM U WHERE " . condition() . " AND id NOT LIKE '%+' ON CONFLICT DO NOTHING" },
		sub { "INSERT INTO T SELECT 'k' || lpad(i::text, 2, '0'), ARRAY[i % 5, i % 7 - 3, 1] FROM generate_series(" . int(rand(30)) . ', ' . (30 + int(rand(10))) . ') i ON CONFLICT DO NOTHING' })->();
}

sub update
{
	return pick(
		sub { "UPDATE T SET v = '" . vector() . "' WHERE " . condition() },
		sub { 'UPDATE T SET v = ' . any_vector() . " WHERE id = '" . id() . "' RETURNING id, v" },
		sub { 'UPDATE T SET v = ARRAY[v[3], v[1], v[2]] WHERE ' . condition() },
		sub { 'UPDATE T SET v = (SELECT v FROM U ' . nearest() . ' LIMIT 1) WHERE ' . condition() },
		sub { "UPDATE T SET id = '" . id() . "' WHERE id = '" . id() . "'" },
		sub { "UPDATE T SET id = 'm' || id WHERE id LIKE 'k" . int(rand(4)) . "%'" },
		sub { "UPDATE T SET id = substr(id, 2) WHERE id LIKE 'mk%'" },
		sub { 'UPDATE T SET v = u.v FROM U u WHERE T.id = u.id || ' . "'+'" })->();
}

sub remove
{
	return pick(
		sub { 'DELETE FROM T WHERE ' . condition() },
		sub { "DELETE FROM T WHERE id = '" . id() . "' RETURNING id, v" },
		sub { 'DELETE FROM T WHERE id IN (SELECT id FROM U ' . nearest() . ' LIMIT 3)' },
		sub { rand() < 0.1 ? 'TRUNCATE T' : 'DELETE FROM T WHERE id IN (' . ids() . ')' })->();
}

sub dml
{
	my $sql;
	do { $sql = pick(\&insert, \&insert, \&update, \&update, \&remove)->() } while $sql =~ /RETURNING|^TRUNCATE/;
	return $sql;
}

sub bounds { return pick('', '', ' LIMIT 1', ' LIMIT 3', ' LIMIT 10', ' LIMIT 4 OFFSET 2', ' LIMIT (SELECT 2)'); }

sub query
{
	return pick(
		sub { 'SELECT id, v FROM T WHERE ' . condition() . ' ' . nearest() . bounds() },
		sub { 'SELECT id, v FROM T ' . nearest() . bounds() },
		sub { 'SELECT id, v <-> ' . "'" . vector() . "' FROM T WHERE " . condition() . ' ' . nearest() . bounds() },
		sub { 'SELECT i, t.id FROM generate_series(1, 3) i, LATERAL (SELECT id FROM T WHERE ' . condition() . ' ORDER BY v <-> ARRAY[i, -i, 1]N LIMIT 4) t' },
		sub { 'SELECT a.id, (SELECT b.id FROM U b WHERE b.id <> a.id ORDER BY b.v <-> a.vNB LIMIT 1) FROM T a WHERE ' . "a.id < 'k20' ORDER BY a.id" },
		sub { 'SELECT id FROM T WHERE ' . condition() . " ORDER BY v <#> '" . vector() . "', id" . bounds() },
		sub { 'SELECT * FROM (SELECT id, v FROM T WHERE ' . condition() . ') t ORDER BY id' },
		sub { 'SELECT count(*), min(id), max(v[1]) FROM T WHERE ' . condition() },
		sub { 'SELECT count(*) FROM T' },
		sub { 'SELECT id, v FROM T WHERE ' . condition() . ' ORDER BY id FOR UPDATE' },
		sub { 'SELECT id, v FROM T WHERE ' . condition() . ' ' . nearest() . bounds() . ' FOR SHARE' },
		sub { "SELECT i, t.v FROM generate_series(1, 40, 3) i LEFT JOIN (SELECT id, v FROM T) t ON t.id = 'k' || lpad(i::text, 2, '0') ORDER BY i" })->();
}

# What PL/pgSQL does with savepoints of its own.
sub block
{
	my ($first, $second, $third) = (dml(), dml(), dml());
	my $error = pick('NULL', 'RAISE division_by_zero');
	return <<~"SQL";
		DO \$block\$ BEGIN $first;
		    BEGIN $second; $error;
		    EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'caught'; END;
		    $third;
		EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'outside'; END \$block\$
		SQL
}

# A cursor sees what was there when it was declared, whatever is done in between.
sub cursor
{
	my $name = 'c' . ++$cursors;
	return "DECLARE $name CURSOR FOR SELECT id, v FROM T WHERE " . condition() . ' ' . nearest()
	  . ";\nFETCH 2 FROM $name;\n" . dml() . ";\nFETCH ALL FROM $name;\nCLOSE $name";
}

sub statement
{
	my $dice = rand();
	return query() if $dice < 0.5;
	return block() if $dice < 0.56;
	return pick(\&insert, \&update, \&remove)->();
}

# ---- Running ----

my $node = norikv_cluster('vectors');
$node->safe_psql(
	'postgres', q{
	CREATE SERVER norikv FOREIGN DATA WRAPPER norikv;
	SELECT norikv.vector_create_index('diff', 3, 'euclidean', 'brute_force');
	CREATE FOREIGN TABLE far_rows (id text OPTIONS (key 'true') COLLATE "C", v real[] OPTIONS (vector 'true'))
		SERVER norikv OPTIONS (namespace 'diff', fetch_size '7');
	CREATE FOREIGN TABLE far_too (id text OPTIONS (key 'true') COLLATE "C", v real[] OPTIONS (vector 'true'))
		SERVER norikv OPTIONS (namespace 'diff');
	CREATE TABLE near_rows (id text COLLATE "C" PRIMARY KEY, v real[] NOT NULL CHECK (cardinality(v) = 3));
	CREATE VIEW near_too AS SELECT * FROM near_rows;});

# Wrong dimensions break a constraint of the local table.
compare_statements(
	node => $node,
	near => [ 'near_rows', 'near_too' ],
	far => [ 'far_rows', 'far_too' ],
	only_near => sub { my ($sql) = @_; $sql =~ s/NB\b/, b.id/g; $sql =~ s/(['\]])N\b/$1, id/g; return $sql; },
	only_far => sub { my ($sql) = @_; $sql =~ s/\.vNB\b/.v/g; $sql =~ s/(['\]])N\b/$1/g; return $sql; },
	errors => { 22023 => 'constraint', 23502 => 'constraint' },
	statement => \&statement,
	cursor => \&cursor,
	# A sort, where it is cheaper, has no order of its own for rows of one distance.
	settings => "SET search_path = public, norikv;\nSET enable_sort = off;\nSET jit = off;\n",
	whole => 'SELECT id, v FROM T ORDER BY id',
	statements => $statements,
	seed => $seed);

done_testing();
