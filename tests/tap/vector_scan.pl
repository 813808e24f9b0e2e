# Scans in the order of distances that go on to the end of an index: with a server whose
# memory is full, that is killed, stopped, and whose vectors others change meanwhile.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $dimensions = 1024;
my $directory = PostgreSQL::Test::Utils::tempdir_short();
my @server = ("$directory/norikvd.log", "--listen=unix:$directory/norikvd", "--data-dir=$directory/data", '--max-memory=16m');
my $server = start_norikvd(@server);
my $node = norikv_cluster('vector_scan', conf => 'norikv.embedded = off');
$node->safe_psql('postgres', <<"SQL");
ALTER DATABASE postgres SET search_path = public, norikv;
SET search_path = public, norikv;
CREATE SERVER norikv FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/norikvd',
	timeout '60s', attempt_timeout '20s');
SELECT vector_create_index('full', $dimensions, 'euclidean', 'brute_force');
CREATE FOREIGN TABLE vectors (id text OPTIONS (key 'true') COLLATE "C",
	v real[] OPTIONS (vector 'true'), distance real OPTIONS (distance 'true'),
	version version OPTIONS (version 'true')) SERVER norikv OPTIONS (namespace 'full');
-- Number n is as far from the origin as it says.
CREATE FUNCTION point(n int) RETURNS real[] LANGUAGE sql IMMUTABLE
	AS \$\$ SELECT array_fill((n / sqrt($dimensions))::real, ARRAY[$dimensions]) \$\$;
-- How many more rows a cursor gives.
CREATE FUNCTION fetched(cursor refcursor, rows int) RETURNS int LANGUAGE plpgsql AS \$\$
DECLARE
	n int;
BEGIN
	MOVE FORWARD rows FROM cursor;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END \$\$;
SQL

sub fails
{
	my ($sql) = @_;
	my (undef, undef, $error) =
	  $node->psql('postgres', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $error;
}

# Without a sort: what is looked at is the search.
my $scan = "SET enable_sort = off; SELECT %s FROM (SELECT id, v[1] * sqrt($dimensions) AS n, distance FROM vectors %s ORDER BY v <-> point(0) %s) s";

# ---- A server whose memory is full ----

my $inserted = 0;
my $error = '';
while ($error eq '')
{
	my ($from, $to) = ($inserted + 1, $inserted + 200);
	$error = fails("SELECT vector_insert_many('full', array_agg('n' || n), array_agg(point(n))) FROM generate_series($from, $to) AS n");
	$inserted = $to if $error eq '';
}
like($error, qr/ERROR:  53400: .*DETAIL: .*"full" takes no more vectors.*--max-memory/s, 'memory for vectors has a limit');
# Of the last ones some are there: each is written on its own.
my $count = sql($node, 'SELECT count(*) FROM vectors');
cmp_ok($count, '>', 3000, 'which is about that of the option');
like(fails(q{INSERT INTO vectors VALUES ('one more', point(1))}), qr/53400: .*takes no more vectors/s, 'nor by a foreign table');
is(sql($node, q{SELECT put('key', 'value') IS NOT NULL}), 't', 'keys are written');
is(sql($node, q{SELECT id FROM vector_search('full', point(7), 1)}), 'n7', 'vectors are found');
is(sql($node, q{SELECT vector_get('full', 'n8') = point(8), vector_delete('full', 'n9'), vector_delete('full', 'n9')}), 't|t|f', 'read and deleted');
$count--;

# ---- To the end: more than fits into one answer ----

is(sql($node, sprintf $scan, 'count(*), count(DISTINCT id), bool_and(abs(distance - n) < 1e-3 * n)', '', ''), "$count|$count|t", 'all are found, once');
is(sql($node, "SET enable_sort = off; SELECT count(*) FROM (SELECT distance, lag(distance) OVER () AS before FROM (SELECT v, distance FROM vectors ORDER BY v <-> point(0) OFFSET 0) s) t WHERE distance < before"), 0, 'nearest first');
my $last = sql($node, 'SELECT max(substr(id, 2)::int) FROM vectors');
is(sql($node, sprintf $scan, 'id', "WHERE v[7] * sqrt($dimensions) > $last - 2.5", 'LIMIT 10'),
	join("\n", map { "n$_" } $last - 2 .. $last), 'a filter that only the farthest pass');
is(sql($node, "SELECT count(*), count(DISTINCT id), bool_and(abs(distance - vector[1] * sqrt($dimensions)) < 1e-3 * distance) FROM vector_search('full', point(0), 2147483647, true)"), "$count|$count|t", 'vector_search gives all, with their vectors');
like(sql($node, "SET enable_sort = off; EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT id FROM vectors WHERE v[1] < 0 ORDER BY v <-> point(0) LIMIT 1"),
	qr/Rows Removed by Filter: $count\n.*Round Trips: \d+\n.*Keys Found: $count\n/s, 'EXPLAIN counts what it took');
# In a transaction that changes some of them.
is(sql($node, <<"SQL"), $count - 1 . '|' . ($count - 1) . '|t', 'merged with what the transaction has changed');
BEGIN;
DELETE FROM vectors WHERE id IN ('n1', 'n2000');
UPDATE vectors SET id = 'moved', v = point(2) WHERE id = 'n$last';
UPDATE vectors SET v = point($count) WHERE id = 'n3';
INSERT INTO vectors SELECT 'inserted', point(1000);
@{[ sprintf $scan, 'count(*), count(DISTINCT id), bool_and(abs(distance - n) < 1e-3 * n)', '', '' ]};
ROLLBACK;
SQL

# ---- Others change what has not been read yet ----

my $changes = join("\n", map { "SELECT vector_delete('full', 'n$_') \\g /dev/null" } 3000 .. 3010);
is(sql($node, <<"SQL"), 100 . "\n" . ($count - 11 - 100), 'what is deleted meanwhile does not come');
BEGIN;
SET enable_sort = off;
DECLARE near CURSOR FOR SELECT id FROM vectors ORDER BY v <-> point(0);
SELECT fetched('near', 100);
$changes
SELECT fetched('near', 1000000);
COMMIT;
SQL
$count -= 11;

# ---- A server that dies, and one that stops ----

my $cursor = "BEGIN; SET LOCAL enable_sort = off; DECLARE near CURSOR FOR SELECT id FROM vectors ORDER BY v <-> point(0);";
my $session = session($node, "$cursor SELECT fetched('near', 150);\n"
	  . "\\! until [ -e $directory/again ]; do sleep 0.05; done\nSELECT fetched('near', 1000000); COMMIT");
await(sub { output_of($session) =~ /^150$/m }) or die 'the scan does not begin';
stop_process($server, 'KILL');
$server = start_norikvd(@server);
PostgreSQL::Test::Utils::append_to_file("$directory/again", '');
my ($out, $said) = finish_session($session);
is($out, "150\n" . ($count - 150), 'a scan goes on with the server that is started again') or diag($said);

$session = session($node, "$cursor SELECT fetched('near', 150);\n" . stop_line($server) . "SET statement_timeout = 200; SELECT fetched('near', 1000000);");
(undef, $said) = finish_session($session);
like($said, qr/ERROR:  57014/, 'a scan is cancelled while the server is stopped');
kill 'CONT', $server;
is(sql($node, 'SELECT count(*) FROM vectors'), $count, 'and nothing is wrong afterwards');

$node->stop;
stop_process($server);
done_testing();
