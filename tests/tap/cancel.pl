# Every wait ends when PostgreSQL wants it to: statement_timeout, pg_cancel_backend,
# pg_terminate_backend; while connecting, in a call to a server that does not
# answer, in backoff, in a scan. Within 100 ms: the best of a few tries counts,
# since the machine that runs this may have other things to do.
use strict;
use warnings;

use IO::Socket::INET;
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Socket qw(SOMAXCONN);
use Test::More;
use Time::HiRes qw(usleep);

use NorikvTest;

my $bound = 100;
my $tries = 3;
my $directory = PostgreSQL::Test::Utils::tempdir_short();

# Says ready and answers, until it is stopped; then its connections stay open.
my $hanging = start_norikvd("$directory/log", '--engine=memory', "--listen=unix:$directory/hanging");
# Lets connect, and says nothing.
my $mute = IO::Socket::UNIX->new(Local => "$directory/mute", Listen => SOMAXCONN) or die "mute: $!";
# Was bound, so nobody else has it, and refuses connections.
my $refusing = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp') or die "refusing: $!";

my $node = norikv_cluster('cancel');

sub create_server
{
	my ($name, $nodes) = @_;
	$node->safe_psql(
		'postgres', "CREATE SERVER $name FOREIGN DATA WRAPPER norikv OPTIONS (nodes '$nodes',
			timeout '60s', attempt_timeout '30s', connect_timeout '30s')");
}

create_server('hanging', "unix:$directory/hanging");
create_server('mute', "unix:$directory/mute");
create_server('refusing', '127.0.0.1:' . $refusing->sockport);
create_server('nowhere', "unix:$directory/nowhere");
create_server('several', "unix:$directory/mute,127.0.0.1:" . $refusing->sockport . ",unix:$directory/nowhere");
create_server('healthy', "unix:$directory/hanging");
$node->safe_psql(
	'postgres', q{SET norikv.server = 'hanging';
	SELECT norikv.mput(array_agg('k:' || i), array_agg(repeat('x', 100))) FROM generate_series(1, 20000) AS i});

# [ what, server, SQL, is the server to be stopped? ]
my @waits = (
	[ 'connecting', 'mute', q{PERFORM norikv.get('k')} ],
	[ 'connecting, to write', 'mute', q{PERFORM norikv.put('k', 'v')} ],
	[ 'backoff', 'refusing', q{PERFORM norikv.get('k')} ],
	[ 'backoff, no socket', 'nowhere', q{PERFORM norikv.put('k', 'v')} ],
	[ 'backoff over several nodes', 'several', q{PERFORM norikv.get('k')} ],
	[ 'a ping', 'hanging', q{PERFORM norikv.ping()}, 1 ],
	[ 'a call', 'hanging', q{PERFORM norikv.get('k')}, 1 ],
	[ 'a write', 'hanging', q{PERFORM norikv.put('k', 'v')}, 1 ],
	[ 'many keys', 'hanging', q{PERFORM norikv.mget(ARRAY['a', 'b', 'c'])}, 1 ],
	[ 'many writes', 'hanging', q{PERFORM norikv.mput(ARRAY['a', 'b', 'c'], ARRAY['1', '2', '3'])}, 1 ],
	[ 'update()', 'hanging', q{PERFORM norikv.update('k', 'jsonb_concat(jsonb,jsonb)', '{}')}, 1 ],
	[ 'a scan', 'hanging', q{PERFORM norikv.scan('k')}, 1 ],
	[ 'a scan that goes on', 'healthy', q{LOOP PERFORM norikv.scan('k'); END LOOP} ],
	[ 'reads that go on', 'healthy', q{LOOP PERFORM norikv.get('k'); END LOOP} ],
);

# Connected first, where the server is one that answers until it is stopped.
sub prepared
{
	my ($wait, $sql) = @_;
	my (undef, $server, undef, $stop) = @$wait;
	my $script = "SET norikv.server = '$server';\n";
	$script .= "SELECT norikv.get('k:1') IS NULL AS connected \\gset\n" . stop_line($hanging) if $stop;
	return "$script$sql\n";
}

sub best
{
	my ($best) = sort { $a <=> $b } grep { defined } @_;
	return $best // 'nothing';
}

sub ended_in_time
{
	my ($what, $wait, $best) = @_;
	my $name = "$what: $wait->[0]";
	ok($best =~ /^-?[\d.]+$/ && $best < $bound, $name) or diag("$name: $best ms");
}

# ---- statement_timeout ----

for my $wait (@waits)
{
	my @over;
	for (1 .. $tries)
	{
		my ($out, $error) = finish_session(
			session(
				$node,
				prepared(
					$wait, qq{SET statement_timeout = 200;
DO \$do\$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	$wait->[2];
	RAISE 'it did not wait';
EXCEPTION WHEN query_canceled THEN
	RAISE INFO 'ended % ms late', extract(epoch FROM clock_timestamp() - start) * 1000 - 200;
END
\$do\$;})));
		kill 'CONT', $hanging;
		push @over, $error =~ /ended (-?[\d.]+) ms late/ ? $1 : undef;
		diag($error) if $error !~ /ended/;
	}
	ended_in_time('statement_timeout', $wait, best(@over));
}

# ---- pg_cancel_backend, pg_terminate_backend ----

# In a session of its own: tells one to end, and how long that took.
sub end_backend
{
	my ($pid, $function, $still_there) = @_;
	my (undef, $error) = finish_session(
		session(
			$node, qq{DO \$do\$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	PERFORM $function($pid);
	LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND $still_there);
		EXIT WHEN clock_timestamp() > start + interval '20 s';
		PERFORM pg_sleep(0.001);
	END LOOP;
	RAISE INFO 'took % ms', extract(epoch FROM clock_timestamp() - start) * 1000;
END
\$do\$;}));
	return $error =~ /took ([\d.]+) ms/ ? $1 : undef;
}

for my $way ([ 'pg_cancel_backend', q{state = 'active'}, qr/ERROR:  57014/ ],
	[ 'pg_terminate_backend', 'true', qr/FATAL:  57P01/ ])
{
	my ($function, $still_there, $expected) = @$way;
	for my $wait (@waits)
	{
		my @took;
		my $errors = '';
		for my $try (1 .. $tries)
		{
			my $mark = "waits_$function\_$try";
			my $session = session($node,
				prepared($wait, "DO \$do\$ BEGIN /* $mark */ $wait->[2]; END \$do\$;"));
			my $pid = await_backend($node, "%/* $mark */%");
			usleep(50_000);
			push @took, end_backend($pid, $function, $still_there);
			kill 'CONT', $hanging;
			my (undef, $error) = finish_session($session);
			$errors .= $error if $error !~ $expected;
		}
		ended_in_time($function, $wait, best(@took));
		is($errors, '', "$function: $wait->[0]: with the right error");
	}
}

# ---- And nothing is left over ----

# A write that was under way says that it may have been done.
my (undef, $error) = finish_session(
	session(
		$node,
		prepared([ '', 'hanging', '', 1 ],
			"SET statement_timeout = 100; SELECT norikv.put('unsure', 'v');")));
kill 'CONT', $hanging;
like($error, qr/ERROR:  57014:.*DETAIL:.*may/s, 'a cancelled write may have been done, and says so');

# The session goes on, on the same connection and on others.
my ($out, $errors) = finish_session(
	session(
		$node,
		prepared([ '', 'hanging', '', 1 ],
			"SET statement_timeout = 100; SELECT norikv.get('k'); SELECT norikv.get('k');
SELECT norikv.put('k', 'v'); SELECT norikv.scan('k');
\\! kill -CONT $hanging
SET statement_timeout = 0; SELECT norikv.put('after', 'well') IS NOT NULL; SELECT norikv.get('after');
RESET norikv.server; SELECT norikv.get('nothing') IS NULL;")));
is($out, "t\nwell\nt", 'after cancels the session goes on');
unlike(slurp_log($node), qr/PANIC|TRAP:|was terminated by signal/, 'nothing crashed');

$node->stop;
done_testing();
