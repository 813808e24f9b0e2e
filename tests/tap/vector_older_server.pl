# Foreign tables of vectors on a server that has no scan of vectors, and does not check
# those that a COMMIT leaves as they are: rows are listed by a search, and then read by
# their ids; locking them is refused.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $node = norikv_cluster('older');
my $directory = PostgreSQL::Test::Utils::tempdir_short();
start_tool("$directory/fake.log", 'fake_norikv', '--listen', "unix:$directory/fake", '--ext', 1,
	'--vectors', 1, '--capabilities', 'atomic_cas,create,transactions,vectors');

sub norikv_sql
{
	my ($sql) = @_;
	return sql($node, "SET search_path = public, norikv;\n$sql");
}

sub refusal
{
	my ($sql) = @_;
	return ($node->psql('postgres', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]))[2];
}

norikv_sql(qq{
	CREATE SERVER older FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/fake');
	CREATE FOREIGN TABLE points (id text OPTIONS (key 'true') COLLATE "C",
		place real[] OPTIONS (vector 'true')) SERVER older OPTIONS (namespace 'docs', fetch_size '7');
	SET norikv.server = 'older';
	SELECT vector_create_index('docs', 2, 'euclidean', 'brute_force');
	SELECT count(vector_insert('docs', 'k' || lpad(i::text, 3, '0'), ARRAY[i, -i])) FROM generate_series(1, 200) i;});

is(norikv_sql('SELECT count(*), sum(place[1]), sum(place[2]) FROM points'), '200|20100|-20100', 'all rows');
is(norikv_sql('SELECT count(*) FROM points'), 200, 'counted');
is(norikv_sql(q{SELECT count(*) FROM points WHERE id >= 'k150'}), 51, 'a range is counted');
is(norikv_sql(q{SELECT string_agg(id, ',') FROM (SELECT id FROM points WHERE id > 'k010' AND id <= 'k013' ORDER BY id) p}),
	'k011,k012,k013', 'a range');
is(norikv_sql(q{SELECT string_agg(place[1]::text, ',') FROM (SELECT place FROM points WHERE id < 'k003' ORDER BY id DESC) p}),
	'2,1', 'backwards, with vectors');
is(norikv_sql(q{SELECT string_agg(id, ',') FROM (SELECT id FROM points ORDER BY place <-> '{3,-3}' LIMIT 3) p}),
	'k003,k002,k004', 'the nearest');
like(refusal(q{SELECT * FROM points WHERE id = 'k001' FOR UPDATE}),
	qr/0A000.*cannot lock rows.*does not check the versions of vectors/s, 'FOR UPDATE is refused');
is(norikv_sql(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM points WHERE id < 'k010'; COMMIT}),
	9, 'REPEATABLE READ reads');
my ($out, $error) = ($node->psql('postgres', 'BEGIN; TRUNCATE points; SELECT count(*) FROM points; SELECT ops FROM norikv.pending_writes(); ROLLBACK; SELECT count(*) FROM points'))[1, 2];
is("$out|$error", "0\n200\n200|", 'TRUNCATE takes the ids that there are');
norikv_sql(q{SET norikv.server = 'older'; SELECT vector_drop_index('docs')});
like(refusal('SELECT * FROM points'), qr/P0002.*vector index "docs" of foreign table "points" does not exist/s,
	'an index that is gone');

done_testing();
