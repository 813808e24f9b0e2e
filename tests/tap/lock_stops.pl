# Locks where something stands still in the middle: a renewal that is given up, a keeper
# that does not end its request, a server that restarts under those who wait.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my @norikvd = ("--listen=unix:$directory/s", "--data-dir=$directory/data");
my $norikvd = start_norikvd("$directory/log", @norikvd);

my ($a, $b) =
  map { norikv_cluster($_, server => "nodes 'unix:$directory/s', timeout '2s', attempt_timeout '2s'") }
  'stops_a', 'stops_b';

# ---- A renewal that shortens the lease, and whose answer nobody waits for ----

# Answers take so long that the keeper, too, hears of nothing before the lease is over.
start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$directory/p", "--upstream=unix:$directory/s",
	'--delay-answer=1:2500');
sql($a, "CREATE SERVER slow FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/p', timeout '10s', attempt_timeout '10s')");
my $holder = session($a, q{SET norikv.server = 'slow';
	SELECT norikv.lock('short', '60s') AS token \gset
	SELECT norikv.lock('waited', '60s') AS waited \gset
	SELECT norikv.renew_lock('waited', :waited, '1s');
	SELECT 'renewed, held ' || count(*) FROM norikv.locks_held WHERE name = 'waited';
	SET statement_timeout = '300ms';
	SELECT norikv.renew_lock('short', :token, '1s');
	RESET statement_timeout;
	SELECT /* shortened */ pg_sleep(30);});
my $pid = await_backend($a, 'SELECT /* shortened */%');
ok(await(sub { sql($b, q{SELECT norikv.try_lock('short') IS NOT NULL}) eq 't' }),
	'a renewal for a shorter time was given up: another has the lock when that is over');
is(sql($a, q{SELECT count(*) FROM norikv.locks_held WHERE name = 'short'}), 0, 'and the one that had it knows');
like(output_of($holder), qr/^renewed, held 0$/m, 'an answer that comes when the lease is over gives no lock');
sql($a, "SELECT pg_terminate_backend($pid)");
my ($out, $error) = finish_session($holder);
like($error, qr/ERROR:  57014/, 'it was cancelled');
ok(await(sub { sql($b, q{SELECT norikv.key_count('lock:')}) eq '0' }), 'nothing is left');

# Where the network is well, the keeper looks at once, and the lock stays for what it had.
$holder = session($a, q{SELECT norikv.lock('kept', '60s') AS token \gset
	} . stop_line($norikvd) . qq{SET statement_timeout = '300ms';
	SELECT norikv.renew_lock('kept', :token, '2s');
	RESET statement_timeout;
	\\! kill -CONT $norikvd
	SELECT pg_sleep(4);
	SELECT 'held ' || count(*) FROM norikv.locks_held;
	SELECT norikv.unlock('kept', :token);});
($out, $error) = finish_session($holder);
like($error, qr/^\S*ERROR:  57014/m, 'the renewal was cancelled');
like($out, qr/^held 1\nt$/m, 'the keeper has put it right') or diag($error);

# ---- The keeper stops in the middle of a request ----

my $keeper = keeper_of($a);
my $stuck = session($a, q{SELECT norikv.lock('stuck', '15s') AS token \gset
	} . stop_line($norikvd) . q{SELECT pg_sleep(6);
	} . stop_line($keeper) . q{\! kill -CONT } . $norikvd . q{
	SET statement_timeout = '200ms';
	SELECT norikv.renew_lock('stuck', :token);
	RESET statement_timeout;
	SELECT norikv.renew_lock('stuck', :token);
	SELECT norikv.unlock('stuck', :token);
	SELECT norikv.unlock('stuck', :token);
	SELECT /* stuck */ pg_sleep(0);
	} . "\\! kill -CONT $keeper\n");
($out, $error) = finish_session($stuck);
my @states = $error =~ /ERROR:  (\w+)/g;
is("@states", '57014 55006 55006', 'a keeper that does not end: cancelled, and refused') or diag($error);
like($error, qr/HINT:  The lock is still held. Try again.*HINT:  The lock is released as soon as/s, 'with what it means');
like($out, qr/^f$/m, 'unlock() has given it up');
ok(await(sub { sql($b, q{SELECT norikv.has_key('lock:stuck')}) eq 'f' }), 'the keeper releases it when it goes on');
is(sql($a, 'SELECT count(*) FROM norikv.locks_held'), 0, 'nothing is held');

# ---- A lock whose key is gone ----

$holder = session($a, q{SELECT norikv.lock('gone', '3s') AS token \gset
	SELECT /* without */ pg_sleep(30);});
$pid = await_backend($a, 'SELECT /* without */%');
my $offset = -s $a->logfile;
sql($b, q{SELECT norikv.delete('lock:gone')});
ok(await_log($a, qr/a lease of process $pid on server "norikv" was lost.*It is not in the store any more/s, $offset),
	'a key that somebody deletes: the administrator is told at once');
sql($a, "SELECT pg_terminate_backend($pid)");
finish_session($holder);

# ---- A server that restarts under those who wait ----

# Store time goes on where it was, so that the holder's short lease does, too.
$holder = session($a, q{SELECT norikv.lock('restart', '6s') AS token \gset
	SELECT /* holds */ pg_sleep(6); SELECT norikv.unlock('restart', :token);});
await_backend($a, 'SELECT /* holds */%');
my @waiters = map { session($_, q{SELECT 'got ' || (norikv.lock('restart', '30s', '40s') > 0)}) } ($a, $b);
await_backend($_, '%got %norikv.lock(%') for ($a, $b);
usleep(500_000);
stop_process($norikvd, 'KILL');
usleep(500_000);
$norikvd = start_norikvd("$directory/log2", @norikvd);
($out, $error) = finish_session($holder);
like($out, qr/^t$/m, 'a server that is killed and back: the lock is still held') or diag($error);
for my $waiter (@waiters)
{
	($out, $error) = finish_session($waiter);
	is($out, 'got true', 'who waited through that gets it') or diag($error);
}
is(sql($b, q{SELECT norikv.key_count('lock:')}), 0, 'nothing is left') if await(sub { sql($b, q{SELECT norikv.key_count('lock:')}) eq '0' });

for my $node ($a, $b)
{
	unlike(slurp_log($node), qr/PANIC|TRAP:|was terminated by signal/, 'nothing crashed');
	$node->stop;
}
stop_process($norikvd);
done_testing();
