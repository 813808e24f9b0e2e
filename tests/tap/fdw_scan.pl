# Foreign scans on servers that do not answer, die, or move: every wait ends when
# PostgreSQL wants it to, no row comes twice or is lost, memory stays bounded, and
# the servers of one plan work at the same time.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $server = start_norikvd("$directory/log", '--engine=memory', "--listen=unix:$directory/one");
my $other = start_norikvd("$directory/log2", '--engine=memory', "--listen=unix:$directory/two");
my $node = norikv_cluster('fdw_scan');

my $columns = q{(id text OPTIONS (key 'true') COLLATE "C", n int, filling text)};
$node->safe_psql(
	'postgres', qq{
CREATE SERVER one FOREIGN DATA WRAPPER norikv
	OPTIONS (nodes 'unix:$directory/one', timeout '60s', attempt_timeout '30s');
CREATE SERVER two FOREIGN DATA WRAPPER norikv
	OPTIONS (nodes 'unix:$directory/two', timeout '60s', attempt_timeout '30s');
CREATE SERVER embedded FOREIGN DATA WRAPPER norikv OPTIONS (timeout '30s');
CREATE FOREIGN TABLE one $columns SERVER one OPTIONS (prefix 's:', format 'json');
CREATE FOREIGN TABLE two $columns SERVER two OPTIONS (prefix 's:', format 'json');
CREATE FOREIGN TABLE embedded $columns SERVER embedded OPTIONS (prefix 's:', format 'json')});
for my $name ('one', 'two', 'embedded')
{
	$node->safe_psql(
		'postgres', qq{SET norikv.server = '$name';
SELECT norikv.mput(array_agg('s:' || to_char(i, 'FM00000')),
	array_agg(format('{"n": %s, "filling": "%s"}', i, repeat('x', 500)))) FROM generate_series(1, 10000) i});
}

# ---- Waits end ----

my @waits = (
	[ 'a lookup', q{SELECT n FROM one WHERE id = '00001'} ],
	[ 'many lookups', q{SELECT n FROM one WHERE id = ANY (ARRAY['00001', '00002', 'x'])} ],
	[ 'a scan', 'SELECT sum(n) FROM one' ],
	[ 'a count', 'SELECT count(*) FROM one' ],
	[ 'planning of a new table', 'EXPLAIN SELECT * FROM fresh' ],
	[ 'ANALYZE', 'ANALYZE one' ],
	[ 'a scan under way', 'FETCH ALL FROM c' ],
	[ 'IMPORT FOREIGN SCHEMA', 'IMPORT FOREIGN SCHEMA keys FROM SERVER one INTO public' ]);

for my $wait (@waits)
{
	my ($what, $sql) = @$wait;
	for my $way ('statement_timeout', 'pg_cancel_backend', 'pg_terminate_backend')
	{
		my $mark = "$what, $way";
		my $limit = $way eq 'statement_timeout' ? 'SET statement_timeout = 200;' : '';
		my $session = session(
			$node, qq{
BEGIN;
CREATE FOREIGN TABLE fresh $columns SERVER one OPTIONS (prefix 's:', format 'json');
DECLARE c CURSOR FOR SELECT n, filling FROM one;
FETCH 3 FROM c;
} . stop_line($server) . qq{
$limit
SELECT clock_timestamp() AS start \\gset
$sql /* $mark */;
ROLLBACK;
SELECT extract(epoch FROM clock_timestamp() - :'start') < 10 AS in_time;
\\! kill -CONT $server
SET statement_timeout = 0;
SELECT count(*), sum(n) FROM one;});
		if ($way ne 'statement_timeout')
		{
			my $pid = await_backend($node, "%/* $mark */%");
			usleep(50_000);
			$node->safe_psql('postgres', "SELECT $way($pid)");
			usleep(50_000);
		}
		# A session that was terminated cannot let it go on.
		kill 'CONT', $server if $way eq 'pg_terminate_backend';
		my ($out, $error) = finish_session($session);
		if ($way eq 'pg_terminate_backend')
		{
			like($error, qr/FATAL:  57P01/, "$way ends $what");
			next;
		}
		like($error, qr/ERROR:  57014/, "$way ends $what");
		like($out, qr/^t\n10000\|50005000$/m, "$way ends $what in time, and the session goes on")
		  or diag($out, $error);
	}
}

# ---- Servers work at the same time ----

# While the first one hangs, the second has got its request.
$node->safe_psql('postgres', 'ANALYZE one, two');
$node->safe_psql('postgres', 'SELECT norikv.stat_reset()');
finish_session(
	session(
		$node, q{SELECT n FROM one WHERE id = 'x'; SELECT n FROM two WHERE id = 'x';
} . stop_line($server) . q{
SET statement_timeout = 200;
SELECT n FROM one UNION ALL SELECT n FROM two;}));
kill 'CONT', $server;
is( $node->safe_psql(
		'postgres', q{SELECT server, operation, calls FROM norikv.stat_calls WHERE operation = 'scan' ORDER BY 1}),
	"one|scan|1\ntwo|scan|1",
	'while one server hangs the other one was asked as well');

# ---- A server that dies in the middle of a scan ----

# Goes on behind the last key that came, once the server is there again.
for my $round (1 .. rounds(10))
{
	for my $order ('', 'DESC')
	{
		my $pid = await_norikvd($node);
		my ($out, $error) = finish_session(
			session(
				$node, qq{
BEGIN;
DECLARE c CURSOR FOR SELECT id, filling FROM embedded ORDER BY id $order;
CREATE TEMPORARY TABLE seen (nth serial, id text);
MOVE 0 FROM c;
DO \$\$ DECLARE r record; c refcursor := 'c'; BEGIN
	FOR i IN 1 .. } . int(rand(9000)) . qq{ LOOP FETCH c INTO r; INSERT INTO seen (id) VALUES (r.id); END LOOP; END \$\$;
\\! kill -KILL $pid
DO \$\$ DECLARE r record; c refcursor := 'c'; BEGIN
	LOOP FETCH c INTO r; EXIT WHEN NOT FOUND; INSERT INTO seen (id) VALUES (r.id); END LOOP; END \$\$;
SELECT count(*), count(DISTINCT id), bool_and(id = to_char(CASE WHEN '$order' = '' THEN nth ELSE 10001 - nth END, 'FM00000')) FROM seen;
COMMIT;}));
		is($out, '10000|10000|t', "killed in the middle of a scan $order: each row once, in order")
		  or diag($error);
		await_norikvd($node, $pid);
	}
}

# Where all is to be of one snapshot there is no going on. More than any buffer on the
# way can have taken before the server dies.
$node->safe_psql('postgres', q{
	CREATE FOREIGN TABLE wide (id text OPTIONS (key 'true') COLLATE "C", value text OPTIONS (value 'true'))
		SERVER embedded OPTIONS (prefix 'wide:');
	SELECT norikv.mput(array_agg('wide:' || i), array_agg(repeat('x', 500000))) FROM generate_series(100, 163) i});
my $pid = await_norikvd($node);
my ($out, $error) = finish_session(
	session(
		$node, qq{
BEGIN ISOLATION LEVEL REPEATABLE READ;
DECLARE c CURSOR FOR SELECT id, value FROM wide;
MOVE 1 FROM c;
\\! kill -KILL $pid
MOVE FORWARD ALL FROM c;
ROLLBACK;}));
like($error, qr/ERROR:  40001/, 'killed in the middle of a scan that needs one snapshot: 40001');
await_norikvd($node, $pid);

# A server that is gone for good is an error, and soon.
stop_process($other, 'KILL');
(undef, $error) = finish_session(
	session(
		$node, q{ALTER SERVER two OPTIONS (SET timeout '300ms'); SELECT * FROM two; SELECT n FROM two WHERE id = 'x'; EXPLAIN SELECT * FROM two;}));
is(() = $error =~ /ERROR:  08001/g, 2, 'a server that is gone is an error of scans and of lookups') or diag($error);
unlike($error, qr/EXPLAIN/, 'and none of plans');

# ---- A server of NoriKV's public protocol and nothing more ----

start_tool("$directory/plain.log", 'fake_norikv', '--listen', "unix:$directory/plain");
$node->safe_psql(
	'postgres', qq{
CREATE SERVER plain FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/plain');
CREATE FOREIGN TABLE plain $columns SERVER plain OPTIONS (prefix 'p:', format 'json');
CREATE TABLE wanted AS SELECT 'k' || i AS id FROM generate_series(1, 40) i;
ANALYZE wanted});
$node->safe_psql(
	'postgres', q{SET norikv.server = 'plain';
SELECT norikv.put('p:k' || i, format('{"n": %s}', i)) FROM generate_series(1, 20) i});
is($node->safe_psql('postgres', q{SELECT n FROM plain WHERE id = 'k7'}), '7', 'no Scan: a lookup works');
is( $node->safe_psql('postgres', q{SELECT id FROM plain WHERE id IN ('k7', 'x', 'k8') AND n > 7}),
	'k8', 'no Scan: many lookups work');
is($node->safe_psql('postgres', q{SELECT count(*), sum(n) FROM wanted JOIN plain USING (id)}),
	'20|210', 'no Scan: a join works, by key');
for my $sql ('SELECT * FROM plain', 'SELECT count(*) FROM plain', q{SELECT * FROM plain WHERE id > 'k'},
	'ANALYZE plain', 'IMPORT FOREIGN SCHEMA keys FROM SERVER plain INTO public')
{
	my (undef, undef, $refused) =
	  $node->psql('postgres', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($refused, qr/ERROR:  0A000: server "plain" does not support scan.*has no Scan/s, "no Scan: $sql says so");
}

# ---- Memory ----

# As much as a few pages, however many rows there are.
my $rows = 20 * rounds(50_000);
my $before = "\\setenv PID :pid\n\\! grep RssAnon /proc/\$PID/status\n";
($out, $error) = finish_session(
	session(
		$node, qq{
SET norikv.server = 'one';
SELECT norikv.mput(array_agg('m:' || i), array_agg(format('{"n": %s, "filling": "%s"}', i, repeat('y', 100)))) > 0 FROM generate_series(1, $rows) i;
CREATE FOREIGN TABLE large $columns SERVER one OPTIONS (prefix 'm:', format 'json');
\\c
SELECT pg_backend_pid() AS pid \\gset
SELECT n FROM large WHERE id = 'x';
$before
SELECT sum(n) = $rows\::bigint * ($rows + 1) / 2, count(filling) = $rows FROM large;
$before}));
my ($start, $end) = $out =~ /RssAnon:\s+(\d+)/g;
like($out, qr/^t\|t$/m, 'a large table is read in full') or diag($error);
cmp_ok($end - $start, '<', 64 * 1024, 'and takes less than 64 MB of memory');

# Nor do rows that are left out.
($out, $error) = finish_session(
	session(
		$node, qq{
SET norikv.server = 'one';
SELECT count(norikv.put('wrong:' || i, format('{"n": "%s"}', repeat('y', 20000)))) FROM generate_series(1, 5000) i;
CREATE FOREIGN TABLE wrong $columns SERVER one OPTIONS (prefix 'wrong:', format 'json', on_error 'skip');
\\c
SET client_min_messages = warning;
SELECT pg_backend_pid() AS pid \\gset
SELECT n FROM wrong WHERE id = 'x';
$before
SELECT count(*) FROM wrong;
$before}));
($start, $end) = $out =~ /RssAnon:\s+(\d+)/g;
cmp_ok($end - $start, '<', 64 * 1024, 'rows that are left out take no memory') or diag($error);

unlike(slurp_log($node), qr/PANIC|TRAP:|server process.*was terminated by signal|leaked/, 'nothing crashed or leaked');
stop_process($server);
$node->stop;
done_testing();
