# Locks where things go wrong: a holder that sleeps through the end of its lease and is
# kept out by fence(), answers that are lost, late and double, servers that are not
# norikvd, and PostgreSQL without the keeper.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
start_norikvd("$directory/log", '--engine=memory', "--listen=unix:$directory/s");

my ($a, $b) = map { norikv_cluster($_, server => "nodes 'unix:$directory/s'") } 'faults_a', 'faults_b';

# ---- Stopped beyond the lease ----

sql($a, 'CREATE TABLE account (balance int); INSERT INTO account VALUES (100)');
my $keeper = await(sub { keeper_of($a) });
my $sleeper = session(
	$a, q{SELECT norikv.lock('account', '2s') AS token \gset
	SELECT 'holds ' || :token;
	SELECT count(*) FROM norikv.locks_held;
	SELECT /* asleep */ pg_sleep(2);
	SELECT 'held ' || count(*) FROM norikv.locks_held;
	BEGIN;
	SELECT norikv.fence('account', :token);
	UPDATE account SET balance = balance - 100;
	COMMIT;
	SELECT norikv.unlock('account', :token);
	SELECT 'again ' || norikv.unlock('account', :token);});
my $backend = await_backend($a, 'SELECT /* asleep */%');
kill 'STOP', $backend, $keeper;
my $token = sql($b, q{SELECT norikv.lock('account')});
my ($first) = output_of($sleeper) =~ /holds (\d+)/;
cmp_ok($token, '>', $first, 'another PostgreSQL takes over, with a greater token');
sql($a, "BEGIN; SELECT norikv.fence('account', $token); UPDATE account SET balance = balance - 60; COMMIT");
kill 'CONT', $backend, $keeper;
my ($out, $error) = finish_session($sleeper);
is(sql($a, 'SELECT balance FROM account'), 40, 'the write of the first, which comes after that, is kept out');
like($error, qr/ERROR:  NK002: token $first for resource "account" is stale/, 'it is told that it is too late');
like($out, qr/^held 0$/m, 'locks_held has known it at once');
like($error, qr/ERROR:  NK002: the lock at key "lock:account" on server "norikv" was lost/, 'unlock() says that the lock was lost');
like($out, qr/^again false$/m, 'once');

# The keeper alone: its renewals come too late to be believed.
$sleeper = session($a, q{SELECT norikv.lock('alone', '2s') AS token \gset
	SELECT /* alone */ pg_sleep(5); SELECT 'held ' || count(*) FROM norikv.locks_held;
	BEGIN; SELECT norikv.xact_lock('alone', '1s') > 0; COMMIT;});
await_backend($a, 'SELECT /* alone */%');
kill 'STOP', $keeper;
usleep(2_500_000);
is(sql($a, 'SELECT count(*) FROM norikv.locks_held'), 0, 'a keeper that is stopped: its leases count as lost in time');
kill 'CONT', $keeper;
($out, $error) = finish_session($sleeper);
like($out, qr/^held 0$/m, 'and stay lost when it goes on');
like($error, qr/WARNING:  NK002.*was lost, and is taken anew/, 'who asks again is told');
ok(await_log($a, qr/a lease of process \d+ on server "norikv" was lost/), 'so is the administrator');

# ---- fence() takes turns ----

sql($a, 'CREATE TABLE written (token bigint)');
my $early = session($a, q{BEGIN; SELECT norikv.fence('turns', 5); INSERT INTO written VALUES (5);
	SELECT /* early */ pg_sleep(1); COMMIT;});
await_backend($a, 'SELECT /* early */%');
my $late = session($a, q{BEGIN; SELECT norikv.fence('turns', 6); INSERT INTO written SELECT 6 WHERE EXISTS (SELECT FROM written); COMMIT;});
($out, $error) = finish_session($early);
is($error, '', 'the earlier token was not disturbed');
($out, $error) = finish_session($late);
is($error, '', 'the later one waited for it');
is(sql($a, 'SELECT string_agg(token::text, $$ $$) FROM written'), '5 6', 'and saw what it wrote');
$late = session($a, q{BEGIN; SELECT norikv.fence('turns', 8); SELECT /* late */ pg_sleep(1); COMMIT;});
await_backend($a, 'SELECT /* late */%');
$early = session($a, q{BEGIN; SELECT norikv.fence('turns', 7); INSERT INTO written VALUES (7); COMMIT;});
(undef, $error) = finish_session($early);
like($error, qr/NK002: token 7 for resource "turns" is stale/, 'the earlier one that comes later waits, and is refused');
finish_session($late);
$late = session($a, q{BEGIN; SELECT norikv.fence('turns', 9); SELECT /* undone */ pg_sleep(1); ROLLBACK;});
await_backend($a, 'SELECT /* undone */%');
$early = session($a, q{BEGIN; SELECT norikv.fence('turns', 8); COMMIT;});
(undef, $error) = finish_session($early);
is($error, '', 'not so where the later one rolls back');
finish_session($late);
like((finish_session(session($a, q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT norikv.fence('turns', 10); COMMIT;})))[1],
	qr/^$/, 'REPEATABLE READ works');

# ---- Answers lost, late and double ----

my $turns = rounds(50);
start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$directory/p", "--upstream=unix:$directory/s",
	'--seed=7', '--only=Kv', '--drop-answer=0.1', '--delay-answer=0.1:300', '--duplicate=0.1:400', '--cut=0.02');
sql($_, "CREATE SERVER lossy FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/p', attempt_timeout '250ms', timeout '4s')")
  for ($a, $b);
my $script = "$directory/script";
PostgreSQL::Test::Utils::append_to_file($script, <<'SQL');
SET norikv.server = 'lossy';
SELECT norikv.lock('lossy', '3s') AS token \gset
SET norikv.server = 'norikv';
SELECT norikv.put('count', (coalesce(norikv.get('count'), '0')::int + 1)::text);
SELECT (coalesce(norikv.get('last'), '0')::bigint < :token)::int AS grows, norikv.put('last', (:token)::text) \gset
SET norikv.server = 'lossy';
SELECT 1 / :grows, norikv.unlock('lossy', :token);
SQL
my @crowd = map {
	my $run = { err => '' };
	$run->{run} = IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-j', 1, '-t', $turns, '-f', $script,
		'-h', $_->host, '-p', $_->port, 'postgres' ], '>', \$run->{out}, '2>', \$run->{err});
	$run;
} ($a, $b);
for my $run (@crowd)
{
	ok(IPC::Run::finish($run->{run}), 'every lock and unlock came to an end that is known') or diag($run->{err});
}
is(sql($a, q{SELECT norikv.get('count')}), 4 * $turns, 'one at a time');
# Where nothing is repeated, a lost answer leaves a version that nobody was told of: the
# lock is ours by its nonce.
start_tool("$directory/poor.log", 'proxy', "--listen=unix:$directory/poor", "--upstream=unix:$directory/s",
	'--seed=3', '--only=Put', '--drop-answer=0.5');
sql($a, "CREATE SERVER poor FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/poor', attempt_timeout '200ms', max_retries '0')");
my $kept = session($a, q{SET norikv.server = 'poor';
	SELECT norikv.lock('kept', '3s') AS token \gset
	SELECT pg_sleep(6); SELECT 'held ' || count(*) FROM norikv.locks_held;
	SELECT count(norikv.renew_lock('kept', :token)) FROM generate_series(1, 8);
	SELECT norikv.unlock('kept', :token);
	SELECT count(norikv.unlock('many', norikv.try_lock('many'))) FROM generate_series(1, 10);});
($out, $error) = finish_session($kept);
is($out, "\nheld 1\n8\nt\n10", 'lost answers lose no lease and no lock') or diag($error);
ok(await(sub { sql($a, q{SELECT norikv.key_count('lock:')}) eq '0' }), 'nothing is left');

# ---- Servers that are not norikvd ----

start_tool("$directory/plain.log", 'fake_norikv', '--listen', "unix:$directory/plain");
for my $name ('plain', 'trusted')
{
	sql($a, "CREATE SERVER $name FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/plain'"
		  . ($name eq 'trusted' ? ", trust_cas 'true')" : ')'));
}
for my $call (q{lock('l')}, q{try_lock('l')}, q{xact_lock('l')}, q{try_xact_lock('l')})
{
	(undef, $error) = finish_session(session($a, "SET norikv.server = 'plain'; SELECT norikv.$call"));
	like($error, qr/ERROR:  0A000.*does not support.*trust_cas/s, "without atomic_cas: no $call");
}
my $holder = session($a, q{SET norikv.server = 'trusted'; SELECT norikv.lock('l', '2s') AS token \gset
	SELECT /* has it */ pg_sleep(3); SELECT norikv.unlock('l', :token);});
await_backend($a, 'SELECT /* has it */%');
is(sql($a, q{SET norikv.server = 'trusted'; SELECT norikv.try_lock('l')}), '', 'where it is trusted: held');
my $waiter = session($a, q{SET norikv.server = 'trusted'; SELECT 'got ' || (norikv.lock('l') > 0);});
($out, $error) = finish_session($holder);
is($out, "\nt", 'for longer than its lease') or diag($error);
($out, $error) = finish_session($waiter);
is($out, 'got true', 'without Watch who waits tries again') or diag($error);

# ---- A server that is away ----

sql($a, q{CREATE SERVER away FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:/nowhere', timeout '200ms')});
(undef, $error) = finish_session(session($a, q{SET norikv.server = 'away'; SELECT norikv.lock('l')}));
like($error, qr/ERROR:  08001/, 'no server: 08001');
(undef, $error) = finish_session(session($a, q{SET norikv.server = 'away'; SELECT norikv.fence('l', 5)}));
like($error, qr/ERROR:  08001/, 'fence() lets nothing through then');

# ---- More than there is room for ----

$b->append_conf('postgresql.conf', "norikv.max_leases = 10\n");
$b->restart;
(undef, $error) = finish_session(session($b, q{SELECT count(norikv.lock('many:' || i)) FROM generate_series(1, 11) AS i}));
like($error, qr/ERROR:  53400: too many locks.*HINT:.*norikv\.max_leases/s, 'more than norikv.max_leases: 53400');
ok(await(sub { sql($b, q{SELECT norikv.key_count('lock:many:')}) eq '0' }), 'the others are given back with the session');
is(sql($b, q{SELECT count(norikv.lock('many:' || i)) FROM generate_series(1, 10) AS i}), 10, 'and there is room again');

# ---- Without the keeper ----

$b->append_conf('postgresql.conf', "max_worker_processes = 0\n");
$b->restart;
(undef, $error) = finish_session(session($b, q{SELECT norikv.lock('unkept')}));
like($error, qr/ERROR:  55000:.*does not run.*HINT:.*max_worker_processes/s, 'where the keeper cannot run, no lock is given out');
is(sql($b, q{SELECT norikv.has_key('lock:unkept')}), 'f', 'nor taken');
$b->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$b->stop;
$b->adjust_conf('postgresql.conf', $_, undef) for ('norikv.embedded', 'norikv.max_leases');
$b->start;
($out, $error) = finish_session(session($b, q{SELECT norikv.try_lock('bare', '1s') AS token \gset
	SELECT norikv.lock('bare', '1s') = :token AS again, norikv.renew_lock('bare', :token, '2s'), name FROM norikv.locks_held;
	SELECT norikv.unlock('bare', :token), norikv.unlock('bare', :token), norikv.unlock('bare', :token);
	SELECT norikv.try_lock('bare', '1s') AS token \gset
	SELECT pg_sleep(1.2);
	SELECT 'held ' || count(*) FROM norikv.locks_held;
	SELECT norikv.unlock('bare', :token);}));
is($out, "t|t|bare\nt|t|f\n\nheld 0", 'no preload: a lock lives for its ttl, and is renewed by hand');
like($error, qr/NK002/, 'and is known to be lost');
(undef, $error) = finish_session(session($b, q{SELECT norikv.xact_lock('bare')}));
like($error, qr/ERROR:  55000:.*HINT:.*shared_preload_libraries/s, 'no preload: no locks for transactions');

is(sql($a, q{SELECT count(*) FROM norikv.locks_held}), 0, 'no lease is left');
for my $node ($a, $b)
{
	unlike(slurp_log($node), qr/PANIC|TRAP:|segmentation/, 'nothing crashed');
	$node->stop;
}
done_testing();
