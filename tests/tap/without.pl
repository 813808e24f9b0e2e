# Without the embedded server: what is missing is said, with what to add where, and
# servers named by nodes work all the same.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $socket = "$directory/s";
start_norikvd("$directory/log", '--engine=memory', "--listen=unix:$socket",
	'--listen=127.0.0.1:0');
my ($port) = slurp_file("$directory/log") =~ /^ready .*127\.0\.0\.1:(\d+)/m;

sub error_of
{
	my ($node, $sql) = @_;
	my ($out, $error) = finish_session(session($node, $sql));
	return $error;
}

# What a server named by nodes does, by whichever way it is reached.
sub nodes_work
{
	my ($node, $nodes, $what) = @_;
	$node->safe_psql('postgres', "CREATE SERVER other FOREIGN DATA WRAPPER norikv OPTIONS (nodes '$nodes')");
	is( $node->safe_psql(
			'postgres', q{SET norikv.server = 'other';
			SELECT norikv.put('k', 'v') IS NOT NULL; SELECT norikv.get('k'); SELECT norikv.delete('k')}),
		"t\nv\nt", "$what: nodes '$nodes' works");
	$node->safe_psql('postgres', 'DROP SERVER other');
}

# ---- Not preloaded ----

my $node = PostgreSQL::Test::Cluster->new('without');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION norikv');

my $error = error_of($node, q{SELECT norikv.get('k')});
like($error, qr/ERROR:  55000:/, 'no preload: SQLSTATE');
like($error, qr/HINT:.*shared_preload_libraries = 'norikv'.*\Q@{[$node->data_dir]}\E.*postgresql\.conf/,
	'the hint has the setting, and the file for a superuser');
like($error, qr/HINT:.*"nodes"/, 'and the other way');
$node->safe_psql('postgres', 'CREATE ROLE somebody LOGIN; GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO somebody');
$error = error_of($node, q{SET ROLE somebody; SELECT norikv.get('k')});
like($error, qr/HINT:.*"postgresql\.conf"/, 'who may not see where files are is told the name only');
$error = error_of($node, 'SELECT * FROM norikv.stat_calls');
like($error, qr/ERROR:  55000:.*HINT:/s, 'statistics need preload, with a hint');
for my $call (q{cache_get('k')}, q{cache_put('k', 'v')}, q{cache_delete('k')}, q{cache_invalidate('k')},
	'cache_invalidate_all()', 'cache_stats()')
{
	like(error_of($node, "SELECT norikv.$call"), qr/ERROR:  55000:.*cache.*HINT:.*shared_preload_libraries/s,
		"$call needs preload, with a hint");
}
# What the background worker does needs it, too; the others of their kind do without.
$node->safe_psql('postgres', "CREATE SERVER far FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$socket')");
for my $call (q{campaign('e')}, q{run_once('j', '1 day', 'SELECT 1')}, q{xact_lock('l')}, q{try_xact_lock('l')})
{
	like(error_of($node, "SET norikv.server = 'far'; SELECT norikv.$call"),
		qr/ERROR:  55000:.*needs norikv's background worker.*HINT:.*shared_preload_libraries/s, "$call needs preload, with a hint");
}
is($node->safe_psql('postgres', q{SET norikv.server = 'far';
	SELECT is_leader, leader FROM norikv.elect('e', 'by hand', '1 minute'); SELECT norikv.is_leader('e'), norikv.leader('e'), norikv.resign('e'), norikv.leader('e') IS NULL;
	SELECT norikv.counter_add('c'), norikv.sharded_counter_add('c'), norikv.sharded_counter_get('c');
	SELECT allowed FROM norikv.rate_limit('r', 1, '1 hour');
	SELECT norikv.session_validate(norikv.session_create('u', 'e', '{}'));
	SELECT norikv.inventory_create('s', 1), norikv.inventory_available('s'); SELECT version FROM norikv.event_append('a', 't', '{}');
	SELECT norikv.tenant_create('t', 'n') ->> 'plan'}), "t|by hand\nt|by hand|t|t\n1||1\nt\nt\n|1\n1\nfree", 'all other patterns work');
nodes_work($node, "unix:$socket", 'no preload');
nodes_work($node, "127.0.0.1:$port", 'no preload');
is(scalar(norikvds($node)), 0, 'no norikvd was started');

# ---- Preloaded, and off ----

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'norikv'\nnorikv.embedded = off\n");
$node->restart;
$error = error_of($node, q{SELECT norikv.get('k')});
like($error, qr/ERROR:  55000:.*"norikv\.embedded" is off/, 'norikv.embedded = off: said so');
like($error, qr/HINT:.*"norikv\.embedded = on"/, 'with what to set');
nodes_work($node, "unix:$socket", 'norikv.embedded = off');
is(scalar(norikvds($node)), 0, 'no norikvd was started');
ok(!-e $node->data_dir . '/norikv', 'and no store made');

# ---- Values that cannot be ----

my $long = 'd' x 200;
my $result = start_log_with($node, "norikv.data_dir = '$long'\n");
like($result, qr/invalid value for parameter "norikv\.data_dir"/, 'a socket path too long is refused');
like($result, qr/at most 107 are possible/, 'with the limit');
$result = start_log_with($node, "norikv.data_dir = 'a,b'\n");
like($result, qr/"norikv\.data_dir" must not contain a comma/, 'a comma would make two nodes of it');
$result = start_log_with($node, "norikv.embedded_max_memory = '1kB'\n");
like($result, qr/norikv\.embedded_max_memory/, 'a number out of range is refused');

# Tries to start with one more setting, and takes it away again.
sub start_log_with
{
	my ($cluster, $setting) = @_;
	my $file = $cluster->data_dir . '/postgresql.conf';
	my $before = slurp_file($file);
	$cluster->stop;
	my $offset = -s $cluster->logfile;
	$cluster->append_conf('postgresql.conf', $setting);
	$cluster->start(fail_ok => 1);
	my $log = slurp_log($cluster, $offset);
	$cluster->stop if $log =~ /ready to accept connections/;
	open(my $out, '>', $file) or die "$file: $!";
	print $out $before;
	close $out;
	$cluster->start;
	return $log;
}

# ---- On ----

$node->append_conf('postgresql.conf', "norikv.embedded = on\nnorikv.data_dir = 'elsewhere'\n");
$node->restart;
ok(await_norikvd($node), 'norikv.embedded = on starts it');
is($node->safe_psql('postgres', q{SELECT norikv.put('k', 'v') IS NOT NULL; SELECT norikv.get('k')}),
	"t\nv", 'and it answers');
ok(-d $node->data_dir . '/elsewhere/run', 'the store is where norikv.data_dir says');

# ---- pg_upgrade ----

# It starts clusters with -b, and a new one must not get a store before the old
# one's is moved there.
$node->stop;
command_ok([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-b', 'start' ],
	'PostgreSQL starts for pg_upgrade');
is($node->safe_psql('postgres', 'SHOW norikv.embedded'), 'off', 'the embedded server is off then');
is(scalar(norikvds($node)), 0, 'and does not run');
command_ok([ 'pg_ctl', '-w', '-D', $node->data_dir, '-m', 'fast', 'stop' ], 'and stops');
done_testing();
