# Many backends, parallel workers, backends that end in the middle of a call, and
# threads that must not take PostgreSQL's signals.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $node = norikv_cluster('backends', conf => "max_connections = 130\n");
my $pid = await_norikvd($node);

sub sockets
{
	my ($process) = @_;
	return scalar grep { (readlink($_) // '') =~ /^socket:/ } glob "/proc/$process/fd/*";
}

# ---- 100 at once ----

my $transactions = rounds(200);
my $script = "$directory/script";
PostgreSQL::Test::Utils::append_to_file($script, <<'SQL');
SELECT norikv.put('own:' || :client_id, (coalesce(norikv.get('own:' || :client_id), '0')::int + 1)::text);
SELECT * FROM norikv.mget(ARRAY['own:' || :client_id, 'absent']);
SQL
$node->command_ok(
	[ 'pgbench', '-n', '-c', 100, '-j', 2, '-t', $transactions, '-f', $script,
		'-h', $node->host, '-p', $node->port, 'postgres' ],
	'100 backends at once');
is( $node->safe_psql('postgres', q{SELECT count(*), min(value::int), max(value::int) FROM norikv.scan('own:')}),
	"100|$transactions|$transactions", 'each did what it did');
ok(await(sub { sockets($pid) < 20 }), 'their connections are gone with them');

# ---- Threads and signals ----

# Signals of a mask in /proc, as numbers.
sub signals
{
	my ($file, $field) = @_;
	my ($mask) = slurp_file($file) =~ /^$field:\s+([0-9a-f]+)/m;
	my $bits = reverse unpack 'B64', pack 'H16', $mask;
	return map { $_ + 1 } grep { substr($bits, $_, 1) eq '1' } 0 .. 63;
}

my $session = session($node, q{SELECT norikv.put('k', 'v') IS NOT NULL; SELECT pg_backend_pid(); SELECT pg_sleep(600);});
my $backend = await_backend($node, 'SELECT pg_sleep(600)%');
my @threads = grep { $_ != $backend } map { m{(\d+)$} } glob "/proc/$backend/task/*";
cmp_ok(scalar(@threads), '>', 0, 'gRPC has threads in a backend');
# SIGHUP INT QUIT USR1 USR2 ALRM TERM CHLD URG: what PostgreSQL handles.
my @handled = (1, 2, 3, 10, 12, 14, 15, 17, 23);
my @taken;
for my $thread (@threads)
{
	my %blocked = map { $_ => 1 } signals("/proc/$backend/task/$thread/status", 'SigBlk');
	push @taken, grep { !$blocked{$_} } @handled;
}
is("@taken", '', 'none of them takes a signal of PostgreSQL');
# SIGURG comes to it through a descriptor.
pop @handled;
my %blocked = map { $_ => 1 } signals("/proc/$backend/task/$backend/status", 'SigBlk');
is(join(' ', grep { $blocked{$_} } @handled), '', 'the backend itself takes them all');
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
my ($launcher) = slurp_file("/proc/$pid/status") =~ /^PPid:\s+(\d+)/m;
for my $process ([ 'postmaster', $postmaster ], [ 'launcher', $launcher ])
{
	my @tasks = glob "/proc/$process->[1]/task/*";
	is(scalar(@tasks), 1, "the $process->[0] has one thread: gRPC is not in it");
}
$node->safe_psql('postgres', "SELECT pg_terminate_backend($backend)");
finish_session($session);

# ---- Ends in the middle of a call ----

my $hanging = start_norikvd("$directory/log", '--engine=memory', "--listen=unix:$directory/s");
my $before = sockets($hanging);
$node->safe_psql('postgres', "CREATE SERVER hanging FOREIGN DATA WRAPPER norikv
	OPTIONS (nodes 'unix:$directory/s', timeout '60s', attempt_timeout '60s')");
for my $sql (q{norikv.get('k')}, q{norikv.put('k', 'v')}, q{norikv.scan('')}, q{norikv.mput(ARRAY['a'], ARRAY['b'])})
{
	my $victim = session($node, "SET norikv.server = 'hanging'; SELECT norikv.ping() IS NULL AS connected \\gset\n"
		  . stop_line($hanging) . "SELECT /* victim */ $sql;");
	my $victim_pid = await_backend($node, "SELECT /* victim */ %");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($victim_pid)");
	ok(gone($victim_pid), "FATAL in $sql: the backend is gone while the server hangs");
	kill 'CONT', $hanging;
	my (undef, $error) = finish_session($victim);
	like($error, qr/FATAL:  57P01/, 'terminated as asked');
}
ok(await(sub { sockets($hanging) <= $before }), 'and so are its connections');
is( $node->safe_psql('postgres', q{SET norikv.server = 'hanging'; SELECT norikv.put('k', 'w') IS NOT NULL; SELECT norikv.get('k')}),
	"t\nw", 'the server is well');

# ---- Parallel workers ----

$node->safe_psql(
	'postgres', q{CREATE TABLE numbers AS SELECT i FROM generate_series(1, 20000) AS i;
	ANALYZE numbers;
	SELECT norikv.mput(array_agg('n:' || i), array_agg(i::text)) FROM generate_series(0, 99) AS i});
my $parallel = q{SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
	SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 3;};
my $sum = q{SELECT sum(norikv.get('n:' || i % 100)::int) FROM numbers};
is($node->safe_psql('postgres', "$parallel $sum"), 990000, 'under a parallel plan, in the leader');
$node->safe_psql(
	'postgres', q{DO $$ DECLARE f regprocedure; BEGIN
	FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'norikv'::regnamespace AND proname = 'get' LOOP
		EXECUTE format('ALTER FUNCTION %s PARALLEL SAFE', f);
	END LOOP; END $$});
like($node->safe_psql('postgres', "$parallel EXPLAIN (ANALYZE, COSTS OFF) $sum"),
	qr/Workers Launched: [1-9].*Partial Aggregate/s, 'where it is marked safe, workers call');
is($node->safe_psql('postgres', "$parallel $sum"), 990000, 'and get the same');

unlike(slurp_log($node), qr/PANIC|TRAP:|was terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
