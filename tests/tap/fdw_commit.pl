# What becomes of a transaction's changes when something dies, stops or gets lost
# on the way: the unit is there as a whole or not at all, it counts once, and the
# error says what is known.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

use NorikvTest;

my $keys = 300;
my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $seed = new_seed();

my $node = norikv_cluster(
	'commit',
	init => { allows_streaming => 1 },
	conf => "restart_after_crash = on\n");

# A norikvd whose store stays when it is killed; its pid.
sub start_store
{
	return start_norikvd("$directory/store.log", "--data-dir=$directory/store", "--listen=unix:$directory/store.sock");
}

my $store = start_store();
$node->safe_psql(
	'postgres', qq{
	CREATE SERVER store FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/store.sock', timeout '60s');
	CREATE FOREIGN TABLE kv (key text COLLATE "C", value text) SERVER store OPTIONS (prefix 'unit:');});

sub fill
{
	my ($table) = @_;
	$node->safe_psql('postgres',
		"TRUNCATE $table; INSERT INTO $table SELECT 'k' || i, '0' FROM generate_series(1, $keys) i");
}

# How many keys there are, and in how many generations.
sub generations
{
	my ($table) = @_;
	return $node->safe_psql('postgres', "SELECT count(*), count(DISTINCT value) FROM $table");
}

sub generation
{
	my ($table) = @_;
	return $node->safe_psql('postgres', "SELECT value FROM $table LIMIT 1");
}

# Transactions, each of which puts every key one generation further; after each one
# it says how it ended.
sub increments
{
	my ($table, $count) = @_;
	return "\\set VERBOSITY verbose\nSELECT 'pid ' || pg_backend_pid();\n" . join('', map
		{ "BEGIN;\nUPDATE $table SET value = (value::int + 1)::text;\nCOMMIT;\n\\echo $_ :SQLSTATE\n" } 1 .. $count);
}

# The backend of a session that does that.
sub backend_of
{
	my ($run) = @_;
	await(sub { output_of($run) =~ /^pid \d+\n1 /m });
	return (output_of($run) =~ /^pid (\d+)/m)[0];
}

sub psql
{
	my ($script, $options) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$script, '>', \$out, '2>', \$err);
	return ($out, $err);
}

sub ended
{
	my ($out, $state) = @_;
	return scalar(() = $out =~ /^\d+ $state$/mg);
}

# ---- norikvd dies ----

fill('kv');
{
	my $kills = $ENV{NORIKV_STRESS} ? 200 : 20;
	my $run = session($node, increments('kv', 100_000));
	my $halves = 0;
	for (1 .. $kills)
	{
		my $seen = length output_of($run);
		await(sub { length output_of($run) > $seen });
		usleep(int(rand(30_000)));
		stop_process($store, 'KILL');
		$store = start_store();
		$halves++ if generations('kv') ne "$keys|1";
	}
	is($halves, 0, "$kills times norikvd was killed: no unit in halves");
	$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . backend_of($run) . ', 10000)');
	my ($out, $err) = finish_session($run);
	my ($committed, $unknown) = (ended($out, '00000'), ended($out, '08007'));
	my $last = generation('kv');
	cmp_ok($committed, '>=', $kills, 'transactions went on');
	is($unknown, 0, 'no outcome is unknown where the server comes back in time');
	# The one that was terminated may have been the last one to count.
	ok($last == $committed || $last == $committed + 1, "each counts once: $last of $committed");
}

# ---- A backend dies: PostgreSQL starts again, the store goes on ----

{
	my $kills = $ENV{NORIKV_STRESS} ? 200 : 20;
	my ($halves, $lost, $killed) = (0, 0, 0);
	for (1 .. $kills)
	{
		my $before = generation('kv');
		my $run = session($node, increments('kv', 1000));
		my $pid = backend_of($run);
		usleep(int(rand(20_000)));
		$killed += kill 'KILL', $pid;
		my ($out) = finish_session($run);
		await(sub { !system('pg_isready', '-q', '-d', $node->connstr('postgres')) });
		$halves++ if generations('kv') ne "$keys|1";
		my $more = generation('kv') - $before - ended($out, '00000');
		$lost++ unless $more == 0 || $more == 1;
	}
	is($killed, $kills, "$kills times a backend was killed");
	is($halves, 0, 'no unit in halves');
	is($lost, 0, 'what was committed counts, and nothing else but the one under way');
}

# ---- The network loses, repeats and delays ----

{
	my $target = "unix:$directory/proxied.sock";
	start_norikvd("$directory/proxied.log", '--engine=memory', "--listen=$target");
	start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$directory/proxy.sock", "--upstream=$target",
		"--seed=$seed", '--only=Commit', '--drop-answer=0.2', '--cut=0.1', '--refuse=0.1', '--duplicate=0.1:30',
		'--delay-request=0.05:300');
	$node->safe_psql('postgres', qq{CREATE SERVER proxied FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/proxy.sock',
			timeout '60s', attempt_timeout '200ms');
		CREATE FOREIGN TABLE proxied (key text COLLATE "C", value text) SERVER proxied OPTIONS (prefix 'unit:');});
	fill('proxied');
	my $count = rounds(600);
	my ($out, $err) = psql(increments('proxied', $count));
	is(ended($out, '00000'), $count, 'lost, repeated and late requests: every COMMIT succeeds');
	is(generation('proxied'), $count, 'and counts once');
	is(generations('proxied'), "$keys|1", 'as a whole');
}

# ---- The server stays away; cancel and shutdown in the flush ----

{
	my $log = "$directory/stopped.log";
	my $pid = start_norikvd($log, '--engine=memory', "--listen=unix:$directory/stopped.sock");
	$node->safe_psql('postgres', qq{CREATE SERVER stopped FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/stopped.sock',
			timeout '1s', attempt_timeout '500ms');
		CREATE SERVER patient FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/stopped.sock',
			timeout '60s', attempt_timeout '60s');
		CREATE FOREIGN TABLE stopped (key text COLLATE "C", value text) SERVER stopped OPTIONS (prefix 'unit:');
		CREATE FOREIGN TABLE patient (key text COLLATE "C", value text) SERVER patient OPTIONS (prefix 'unit:');
		CREATE TABLE here (n int);});
	fill('stopped');
	my $change = 'BEGIN; INSERT INTO here VALUES (1); UPDATE %s SET value = (value::int + 1)::text;';

	my $before = generation('stopped');
	my ($out, $err) = psql("\\set VERBOSITY verbose\n" . sprintf($change, 'stopped') . "\n" . stop_line($pid)
		. "COMMIT;\n\\! kill -CONT $pid\n");
	like($err, qr/ERROR:  08007: outcome of COMMIT on server "stopped" is not known/, 'a server that stays away: 08007');
	like($err, qr/HINT:  .*Read the keys to find out/, 'and a hint');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM here'), 0, 'local changes are rolled back');
	is(generations('stopped'), "$keys|1", 'the unit is there or it is not');

	for (
		[ 'pg_cancel_backend', '57014', qr/57014: canceling statement.*\nDETAIL:  The Commit on server "patient" may have been applied, or may be yet/i ],
		[ 'pg_terminate_backend', '57P01', qr/57P01: terminating connection.*\nDETAIL:  The Commit on server "patient" may have been applied, or may be yet/i ])
	{
		my ($function, $state, $message) = @$_;
		my $run = session($node, "\\set VERBOSITY verbose\n" . sprintf($change, 'patient') . "\n" . stop_line($pid) . "COMMIT /* flush */;\n");
		my $backend = await_backend($node, 'COMMIT /* flush%');
		my $start = time;
		$node->safe_psql('postgres', "SELECT $function($backend)");
		($out, $err) = finish_session($run);
		cmp_ok(time - $start, '<', 5, "$function ends a flush that hangs");
		like($err, $message, 'and says that the unit may be there');
		kill 'CONT', $pid;
		is(generations('patient'), "$keys|1", 'the unit is there or it is not');
	}
	my $counted = generation('stopped');
	ok($counted >= $before && $counted <= $before + 3, 'none of them counts twice');

	# Nothing was sent: nothing happened.
	stop_process($pid, 'KILL');
	($out, $err) = psql("\\set VERBOSITY verbose\nBEGIN; INSERT INTO stopped VALUES ('a', 'b'); COMMIT;");
	like($err, qr/ERROR:  08001: /, 'a server that is not there: 08001');
}

# ---- Two stores ----

{
	my %pids = map { $_ => start_norikvd("$directory/$_.log", '--engine=memory', "--listen=unix:$directory/$_.sock") } 'one', 'two';
	$node->safe_psql('postgres', qq{CREATE SERVER $_ FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/$_.sock', timeout '1s');
		CREATE FOREIGN TABLE in_$_ (key text COLLATE "C", value text) SERVER $_ OPTIONS (prefix 'unit:');}) for 'one', 'two';
	$node->safe_psql('postgres', qq{CREATE SERVER also_one FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/one.sock');
		CREATE FOREIGN TABLE in_also_one (key text COLLATE "C", value text) SERVER also_one OPTIONS (prefix 'unit:');
		CREATE SERVER other_user FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/one.sock');
		CREATE USER MAPPING FOR PUBLIC SERVER other_user OPTIONS (token 'secret');
		CREATE FOREIGN TABLE in_other_user (key text COLLATE "C", value text) SERVER other_user OPTIONS (prefix 'unit:');});

	my ($out, $err) = psql(q{
		BEGIN; INSERT INTO in_one VALUES ('a', '1'); SELECT value FROM in_also_one WHERE key = 'a';
		UPDATE in_also_one SET value = '2'; SELECT ops FROM norikv.pending_writes(); COMMIT;
		SELECT value FROM in_one;});
	is("$out$err", "1\n1\n2\n", 'two servers over one store share the transaction');

	($out, $err) = psql(q{\set VERBOSITY verbose
		BEGIN; INSERT INTO in_one VALUES ('b', '1'); INSERT INTO in_two VALUES ('b', '1');});
	like($err, qr/0A000: cannot write to a second store in one transaction/, 'a second store is refused');
	like($err, qr/HINT:  Set "norikv.allow_multi_store"/, 'with a hint');
	($out, $err) = psql(q{BEGIN; INSERT INTO in_one VALUES ('b', '1'); SAVEPOINT s; INSERT INTO in_one VALUES ('c', '1');
		ROLLBACK; BEGIN; SAVEPOINT s; INSERT INTO in_one VALUES ('c', '1'); ROLLBACK TO s;
		INSERT INTO in_two VALUES ('c', '1'); COMMIT; SELECT key FROM in_two; SELECT count(*) FROM in_one WHERE key = 'c';});
	is("$out$err", "c\n0\n", 'a store whose changes are rolled back does not count');
	($out, $err) = psql(q{\set VERBOSITY verbose
		BEGIN; INSERT INTO in_one VALUES ('b', '1'); INSERT INTO in_other_user VALUES ('c', '1');});
	like($err, qr/0A000: cannot write to one store with two credentials/, 'nor are two credentials for one store one unit');

	($out, $err) = psql(q{SET norikv.allow_multi_store = on;
		BEGIN; INSERT INTO in_one VALUES ('d', '1'); INSERT INTO in_two VALUES ('d', '1'); COMMIT;
		SELECT count(*) FROM in_one JOIN in_two USING (key) WHERE key = 'd';});
	is("$out$err", "1\n", 'with allow_multi_store both commit');
	($out, $err) = psql(qq{\\set VERBOSITY verbose\nSET norikv.allow_multi_store = on;
		BEGIN; INSERT INTO in_one VALUES ('e', '1'); INSERT INTO in_two VALUES ('e', '1');
		\\! kill -KILL $pids{two}\nCOMMIT;\nSELECT value FROM in_one WHERE key = 'e';});
	like($err, qr/CONTEXT:  COMMIT of the changes to foreign tables, after those on server "one", which are committed and stay/,
		'where the second store fails, the error says that the first has committed');
	is($out, "1\n", 'and it has');
}

# ---- A server without transactions ----

{
	start_tool("$directory/plain.log", 'fake_norikv', '--listen', "unix:$directory/plain.sock", '--absent-not-found', '1');
	$node->safe_psql('postgres', qq{CREATE SERVER plain FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/plain.sock', trust_cas 'true');
		CREATE FOREIGN TABLE plain (key text COLLATE "C", value text) SERVER plain OPTIONS (prefix 'unit:');
		CREATE FOREIGN TABLE at_once (key text COLLATE "C", value text) SERVER plain OPTIONS (prefix 'unit:', write_mode 'immediate');});
	for my $sql (q{INSERT INTO plain VALUES ('a', '1')}, q{UPDATE plain SET value = '1' WHERE key = 'a'}, q{DELETE FROM plain WHERE key = 'a'}, 'TRUNCATE plain')
	{
		my ($out, $err) = psql("\\set VERBOSITY verbose\n$sql;");
		like($err, qr/0A000: server "plain" has no transactions\nHINT:  The option write_mode 'immediate'/, "refused: $sql");
	}
	my ($out, $err) = psql(q{
		INSERT INTO at_once SELECT 'k' || i, '1' FROM generate_series(1, 200) i;
		UPDATE at_once SET value = '2' WHERE key IN ('k1', 'k2');
		DELETE FROM at_once WHERE key = 'k2';
		SELECT key, value FROM at_once WHERE key IN ('k1', 'k2', 'k3') ORDER BY key;});
	is("$out$err", "k1|2\nk3|1\n", q{write_mode 'immediate' works there});
	($out, $err) = psql("\\set VERBOSITY verbose\nINSERT INTO at_once VALUES ('new', '1'), ('k1', 'again');");
	like($err, qr/23505: .*\n(?:DETAIL.*\n)?CONTEXT:  write_mode 'immediate': 0 keys were written before this batch and stay; written in this batch: "unit:new"; not written: "unit:k1"/,
		'and says what it has written');
}

# ---- A standby ----

{
	$node->backup('copy');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'copy', has_streaming => 1);
	$standby->start;
	$node->wait_for_catchup($standby);
	is($standby->safe_psql('postgres', 'SELECT count(*) FROM kv'), $keys, 'a standby reads foreign tables');
	for my $sql (q{INSERT INTO kv VALUES ('new', '1')}, q{UPDATE kv SET value = '1'}, 'DELETE FROM kv', 'TRUNCATE kv',
		q{COPY kv FROM PROGRAM 'true'}, 'SELECT * FROM kv FOR UPDATE')
	{
		my ($code, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\n$sql");
		like($err, qr/ERROR:  25006/, "and refuses $sql");
	}
	$standby->stop;
}

done_testing();
