# Locks across two PostgreSQLs over one store: who waits gets them, the keeper keeps
# them, and whatever ends a holder ends its locks: at once where somebody is left to
# say so, at the end of the lease otherwise.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $store = start_norikvd("$directory/log", '--engine=memory', "--listen=unix:$directory/s");

my ($a, $b) = map { norikv_cluster($_, server => "nodes 'unix:$directory/s'") } 'locks_a', 'locks_b';

# The pid of the keeper, once it is another than the one before; 0: there is none in time.
sub await_keeper
{
	my ($node, $before) = @_;
	return await(sub { my $now = keeper_of($node); $now && $now != ($before // 0) ? $now : 0 });
}

# Is the lock to be had? Gives it back at once.
sub is_free
{
	my ($node, $name) = @_;
	return sql($node, qq{SELECT norikv.unlock('$name', token)
		FROM (SELECT norikv.try_lock('$name') AS token OFFSET 0) AS tried WHERE token IS NOT NULL}) eq 't';
}

sub free_at
{
	my ($node, $name) = @_;
	return await(sub { is_free($node, $name) });
}

# A session of A that has a lock and stays; its backend's pid.
sub holder
{
	my ($name, $ttl) = @_;
	my $session = session($a, "SELECT 'token ' || norikv.lock('$name', '$ttl'); SELECT /* holds $name */ pg_sleep(600);");
	my $pid = await_backend($a, "SELECT /* holds $name */ %");
	my ($token) = output_of($session) =~ /token (\d+)/;
	return ($session, $pid, $token);
}

# ---- 16 who want it ----

my $turns = rounds(20);
my $holders = "$directory/holders";
PostgreSQL::Test::Utils::append_to_file($holders, <<'SQL');
SELECT norikv.lock('shared', '20s') AS token \gset
SELECT norikv.put('held', (coalesce(norikv.get('held'), '0')::int + 1)::text);
SELECT norikv.put('tokens:' || :token, '');
SELECT norikv.unlock('shared', :token);
SQL
# All sixteen wait for one that has it already.
my ($first, $first_pid) = holder('shared', '20s');
my @crowd = map {
	IPC::Run::start([ 'pgbench', '-n', '-c', 8, '-j', 1, '-t', $turns, '-f', $holders,
		'-h', $_->host, '-p', $_->port, 'postgres' ], '>', \my $out, '2>', \my $err);
} ($a, $b);
for my $node ($a, $b)
{
	ok(await(sub { sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT norikv.lock(%shared%' AND state = 'active' AND wait_event_type = 'Extension'}) == 8 }),
		'eight wait in each PostgreSQL');
}
sql($a, "SELECT pg_terminate_backend($first_pid)");
finish_session($first);
ok(IPC::Run::finish($_), '8 sessions of one PostgreSQL took the lock') for @crowd;
is(sql($a, q{SELECT norikv.get('held')}), 16 * $turns, 'one at a time');
is(sql($a, q{SELECT norikv.key_count('tokens:')}), 16 * $turns, 'with a token of its own each time');
is(sql($a, q{SELECT norikv.key_count('lock:')}), 0, 'nothing is left');

# ---- Waiting is no polling ----

my ($session, $pid, $token) = holder('quiet', '2s');
my $waiter = session($b, q{SELECT norikv.stat_reset(); SELECT norikv.lock('quiet', wait => '30s') > 0;
	SELECT calls FROM norikv.stat_calls WHERE operation = 'put'; SELECT calls FROM norikv.stat_calls WHERE operation = 'get';});
await_backend($b, '%norikv.lock(%quiet%');
usleep(2_500_000);
sql($a, "SELECT pg_terminate_backend($pid)");
finish_session($session);
my ($out, $error) = finish_session($waiter);
like($out, qr/^t$/m, 'who waits gets it when the holder is gone');
my ($puts) = $out =~ /^t\n(\d+)$/m;
cmp_ok($puts, '<=', 4, 'and has not asked for it all the time') or diag("$out $error");

# ---- Kept alive, whatever the backend does ----

$session = session($a, q{SELECT norikv.lock('busy', '1s') > 0; SELECT /* busy */ pg_sleep(4);
	SELECT count(*) FROM norikv.locks_held; SELECT norikv.unlock('busy', token) FROM norikv.locks_held;});
await_backend($a, 'SELECT /* busy */%');
my $tries = 0;
my $was_free = 0;
while (1)
{
	my $free = is_free($b, 'busy');
	last if sql($a, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT /* busy */%' AND state = 'active'}) eq '0';
	$tries++;
	$was_free++ if $free;
}
is($was_free, 0, "a lease of a second is kept through a query of several ($tries tries)");
cmp_ok($tries, '>', 5, 'as was seen');
($out, $error) = finish_session($session);
is($out, "t\n\n1\nt", 'and is still held after it') or diag($error);

# ---- What ends a holder ----

for my $end ([ 'pg_terminate_backend', sub { sql($a, "SELECT pg_terminate_backend($_[0])") } ],
	[ 'disconnect', sub { $_[1]->{run}->kill_kill } ])
{
	($session, $pid) = holder('ends', '1 hour');
	is(sql($b, q{SELECT norikv.try_lock('ends')}), '', "$end->[0]: held");
	$end->[1]->($pid, $session);
	sql($a, "SELECT pg_cancel_backend($pid)") if $end->[0] eq 'disconnect';
	ok(free_at($b, 'ends'), "$end->[0]: free again, long before its hour is over");
	eval { finish_session($session) };
}

# The keeper itself, asked to end, leaves its leases alive.
($session, $pid, $token) = holder('kept', '3s');
my $keeper = await_keeper($a);
kill 'TERM', $keeper;
ok(await_keeper($a, $keeper), 'a keeper that was asked to end comes back');
usleep(3_500_000);
is(sql($b, q{SELECT norikv.try_lock('kept')}), '', 'and the lock is held, longer than its lease');
is(sql($a, 'SELECT token FROM norikv.locks_held'), $token, 'with its token');
sql($a, "SELECT pg_terminate_backend($pid)");
finish_session($session);

# Held when PostgreSQL is stopped in order: given back on the way.
($session, $pid) = holder('stopped', '1 hour');
$a->stop('fast');
ok(free_at($b, 'stopped'), 'a stop of PostgreSQL gives locks back');
finish_session($session);
$a->start;

# kill -9: nobody is left to say anything. Not free before the lease is over.
$a->append_conf('postgresql.conf', "restart_after_crash = on\n");
$a->reload;
for my $victim ('backend', 'keeper')
{
	($session, $pid) = holder('killed', '2s');
	my $before = await_keeper($a);
	my $began = time;
	kill_9($victim eq 'backend' ? $pid : $before);
	is(sql($b, q{SELECT norikv.try_lock('killed')}), '', "kill -9 of the $victim: held a moment longer")
	  if time - $began < 0.5;
	ok(free_at($b, 'killed'), "kill -9 of the $victim: runs out");
	finish_session($session);
	ok(await_keeper($a, $before), 'a new keeper runs');
	is(sql($a, 'SELECT count(*) FROM norikv.locks_held'), 0, 'and knows of no lock');
	ok(is_free($a, 'killed'), 'all is well');
}
($session, $pid) = holder('killed', '2s');
$keeper = await_keeper($a);
$a->kill9;
ok(gone($keeper), 'kill -9 of the postmaster: the keeper is gone with it');
ok(free_at($b, 'killed'), 'and the lock runs out');
finish_session($session);
ok(gone($pid), 'the backend is gone, too');
$a->start;

# ---- Given up while it is being taken ----

# It is taken, and its answer is on the way when the session gives up.
start_tool("$directory/slow.log", 'proxy', "--listen=unix:$directory/slow", "--upstream=unix:$directory/s",
	'--only=Put', '--delay-answer=1:3000');
sql($a, "CREATE SERVER slow FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/slow', attempt_timeout '5s')");
for my $end ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $taker = session($a, q{SET norikv.server = 'slow'; SELECT /* taking */ norikv.lock('torn', '1 hour')});
	my $taker_pid = await_backend($a, 'SELECT /* taking */%');
	ok(await(sub { sql($b, q{SELECT norikv.has_key('lock:torn')}) eq 't' }), "$end: taken, and not known to be");
	is(sql($a, 'SELECT count(*) FROM norikv.locks_held'), 0, "$end: and so not shown");
	sql($a, "SELECT $end($taker_pid)");
	finish_session($taker);
	ok(free_at($b, 'torn'), "$end: what was taken is given back");
	is(sql($a, 'SELECT count(*) FROM norikv.locks_held'), 0, "$end: nothing is held");
}

# A cancel of a wait comes back at once: the best of a few tries.
sql($b, q{SELECT norikv.put('lock:waited', 'other') IS NULL});
my $best = 1e9;
for my $try (1 .. 3)
{
	my $waiting = session($a, q{SELECT /* waiting */ norikv.lock('waited')});
	my $waiting_pid = await_backend($a, 'SELECT /* waiting */%');
	usleep(100_000);
	my $began = time;
	kill 'INT', $waiting_pid;
	my (undef, $said) = finish_session($waiting);
	my $took = time - $began;
	$best = $took if $took < $best;
	like($said, qr/57014/, 'a wait for a lock is cancelled');
}
cmp_ok($best, '<', 0.1, 'within 100 ms');
like((finish_session(session($a, q{SET statement_timeout = '100ms'; SELECT norikv.lock('waited')})))[1],
	qr/57014.*statement timeout/s, 'statement_timeout ends it, too');
sql($b, q{SELECT norikv.delete('lock:waited')});

# ---- Two databases of one PostgreSQL ----

$a->safe_psql('postgres', 'CREATE DATABASE second');
$a->safe_psql('second', "CREATE EXTENSION norikv; CREATE SERVER norikv FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/s')");
($session, $pid) = holder('common', '10s');
is($a->safe_psql('second', q{SELECT norikv.try_lock('common')}), '', 'databases share the names of a store');
is($a->safe_psql('second', q{SELECT database FROM norikv.locks_held}), 'postgres', 'and one sees what the other holds');
sql($a, 'DROP DATABASE second');
sql($a, "SELECT pg_terminate_backend($pid)");
finish_session($session);

is(sql($a, q{SELECT count(*) FROM norikv.locks_held}), 0, 'no lease is left');
for my $node ($a, $b)
{
	unlike(slurp_log($node), qr/PANIC|TRAP:|segmentation/, 'nothing crashed');
	$node->stop;
}
done_testing();
