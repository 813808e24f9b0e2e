# Counters count exactly: through a network that loses and repeats, with the server
# killed in between, in two PostgreSQLs at once; on a server that cannot add; while
# sessions are cancelled and terminated in the middle. Each add has the value of its
# own step, so that all values differ.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use NorikvTest;

my $sessions = 32;
my $adds = rounds(1000);
my $directory = PostgreSQL::Test::Utils::tempdir_short();

# One that preloads norikv, so that its sessions add together, and one that does not.
my $combining = norikv_cluster('combining', conf => "norikv.embedded = off\nmax_connections = 100");
my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init;
$plain->append_conf('postgresql.conf', 'max_connections = 100');
$plain->start;
$plain->safe_psql('postgres', 'CREATE EXTENSION norikv');

sub use_server
{
	my ($nodes) = @_;
	for my $node ($combining, $plain)
	{
		$node->safe_psql(
			'postgres', "DROP SERVER IF EXISTS norikv; DROP TABLE IF EXISTS got;
			CREATE SERVER norikv FOREIGN DATA WRAPPER norikv OPTIONS (nodes '$nodes',
				timeout '20s', attempt_timeout '400ms', connect_timeout '1s');
			CREATE UNLOGGED TABLE got (value bigint)");
	}
}

sub add_in_sessions
{
	my ($counter, $too) = @_;
	my $add = "norikv.counter_add('$counter')";
	return map {
		session($_ % 2 ? $plain : $combining,
			'INSERT INTO got SELECT ' . ($too ? "(SELECT $add FROM $too WHERE i > 0)" : $add)
			  . " FROM generate_series(1, $adds) i")
	} 1 .. $sessions;
}

sub is_exact
{
	my ($counter, $what, @running) = @_;
	my $errors = join '', map { (finish_session($_))[1] } @running;
	my $total = $sessions * $adds;
	is($errors, '', "$what: every add went well");
	is($combining->safe_psql('postgres', "SELECT norikv.counter_get('$counter')"),
		$total, "$what: the sum is exact");
	my @values = map { split /\n/, $_->safe_psql('postgres', 'SELECT value FROM got') } $combining, $plain;
	my %seen;
	$seen{$_}++ for @values;
	is(scalar(@values), $total, "$what: every add had a value");
	is(join(' ', grep { $seen{$_} != 1 || $_ < 1 || $_ > $total } sort keys %seen),
		'', "$what: each the one of its own step");
}

# ---- Lost and repeated answers, and the server killed in between ----

my @norikvd = ("--listen=unix:$directory/n", "--data-dir=$directory/data");
my $norikvd = start_norikvd("$directory/log", @norikvd);
start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$directory/p", "--upstream=unix:$directory/n",
	'--only=Commit', '--drop-answer=0.05', '--duplicate=0.05:300', '--delay-request=0.01:700', '--seed=7');
use_server("unix:$directory/p");

is( $combining->safe_psql(
		'postgres', q{SELECT norikv.counter_add('alone'), norikv.stat_reset(); SELECT norikv.counter_add('alone');
		SELECT operation, calls FROM norikv.stat_calls WHERE calls > 0}),
	"1|\n2\ncommit|1", 'where nobody else adds, it is one round trip');

# Each adds to a sharded counter as well.
my @running = add_in_sessions('lossy', q{norikv.sharded_counter_add('lossy', i, 3)});
for (1 .. 2)
{
	my $before = $combining->safe_psql('postgres', "SELECT coalesce(norikv.counter_get('lossy'), 0)");
	await(
		sub {
			$combining->safe_psql('postgres', "SELECT coalesce(norikv.counter_get('lossy'), 0)") > $before;
		});
	stop_process($norikvd, 'KILL');
	$norikvd = start_norikvd("$directory/log$_", @norikvd);
}
is_exact('lossy', 'on a network that loses', @running);
is($combining->safe_psql('postgres', q{SELECT norikv.sharded_counter_get('lossy', 3), norikv.key_count('lossy:shard:')}),
	$sessions * $adds * ($adds + 1) / 2 . '|3', 'the sum of the shards is exact, too');
is( $combining->safe_psql('postgres', q{SELECT norikv.counter_set('lossy', 9223372036854775807)}),
	'9223372036854775807', 'a counter at the end of its range');
my $overflows = 0;
for (map { session($combining, q{SELECT norikv.counter_add('lossy')}) } 1 .. 8)
{
	my (undef, $error) = finish_session($_);
	$overflows++ if $error =~ /ERROR:  22003/;
}
is($overflows, 8, 'each of several at once hears that its sum is out of range');

# Some of those that add together may be at fault, and the others are not.
$combining->safe_psql('postgres', q{SELECT norikv.counter_set('mixed', 9223372036854775707)});
my @mixed = map {
	session($combining,
		"DO \$\$ BEGIN FOR i IN 1 .. 50 LOOP BEGIN PERFORM norikv.counter_add('mixed', $_);
		EXCEPTION WHEN numeric_value_out_of_range THEN END; END LOOP; END \$\$")
} (60, -60, 60, -60, 9223372036854775807, -9223372036854775807);
is(join('', map { (finish_session($_))[1] } @mixed), '', 'up and down at the end of the range');
stop_process($norikvd);

# ---- On a server that compares and swaps, and cannot add ----

start_tool("$directory/fake.log", 'fake_norikv', '--listen', "unix:$directory/f", '--ext', 1,
	'--capabilities', 'atomic_cas,create,ttl', '--creates', 1, '--delay-ms', 1, '--lose', 10);
use_server("unix:$directory/f");
is( $combining->safe_psql('postgres', 'SELECT atomic_cas, "add", transactions FROM norikv.server_info()'),
	't|f|f', 'a server that cannot add');
is_exact('swapped', 'by compare-and-swap', add_in_sessions('swapped'));
my (undef, $refused) = finish_session(
	session($combining, q{SELECT norikv.counter_add('swapped', 1, 'key')}));
like($refused, qr/ERROR:  0A000:.*"norikv" does not support counter_add\(\) with an idempotency key/s,
	'an idempotency key is refused there');

# ---- The one that sends for all is cancelled, or terminated ----

my $proxies = 0;

sub slow_answers
{
	my ($upstream, $method, $ms) = @_;
	my $socket = "$directory/s" . ++$proxies;
	start_tool("$socket.log", 'proxy', "--listen=unix:$socket", "--upstream=unix:$upstream",
		"--only=$method", "--delay-answer=1:$ms");
	use_server("unix:$socket");
	$combining->safe_psql('postgres', q{ALTER SERVER norikv OPTIONS (SET attempt_timeout '20s')});
	return;
}

# Behind a proxy whose answers are late: the first adds alone, those that come meanwhile
# are sent by the second. When that request has been carried out and nobody knows yet,
# its sender goes. Where the machine is too slow for that, answers are later still.
# Seven sessions write three times: the first, those of all others, and once more the same.
sub handed_over
{
	my ($what, $upstream, $method, $function) = @_;
	my ($counter, $error, $values, $writes);
	my $value = sub {
		$combining->safe_psql('postgres', "SELECT coalesce(norikv.counter_get('$counter'), 0)");
	};
	my $add = sub {
		my ($name) = @_;
		my $session = session($combining, "SELECT norikv.counter_add('$counter') AS $name");
		return ($session, await_backend($combining, "%${counter}_) AS $name%"));
	};
	for my $ms (1000, 3000, 9000)
	{
		slow_answers($upstream, $method, $ms);
		$counter = "$function-$ms";
		$combining->safe_psql('postgres', 'SELECT norikv.stat_reset()');
		my ($first) = $add->('first');
		await(sub { $value->() == 1 });
		my ($sender, $pid) = $add->('sender');
		my @others = map { session($combining, "SELECT norikv.counter_add('$counter')") } 1 .. 5;
		await(sub { $value->() == 7 });
		$combining->safe_psql('postgres', "SELECT $function($pid)");
		(undef, $error) = finish_session($sender);
		$values = join(' ', sort map { (finish_session($_))[0] } $first, @others);
		$writes = $combining->safe_psql('postgres', q{SELECT sum(calls) FROM norikv.stat_calls WHERE operation IN ('put', 'commit')});
		last if $error ne '' && $writes <= 3;
	}
	cmp_ok($writes, '<=', 3, "$what: one sends for all");
	like($error, qr/(ERROR:  57014|FATAL:  57P01).*DETAIL:.*may have been applied/s,
		"$what: the sender hears that its own may have been done");
	is($values, '1 3 4 5 6 7', "$what: the others have their values");
	is($value->(), 7, "$what: nothing counts twice");
	return;
}

handed_over('swapped, terminated', "$directory/f", 'Put', 'pg_terminate_backend');
$norikvd = start_norikvd("$directory/log3", @norikvd);
handed_over('added, cancelled', "$directory/n", 'Commit', 'pg_cancel_backend');

# ---- Cancelled and terminated in the middle, many times ----

# Sessions that all want one counter: those with a short timeout are cancelled in the
# middle, as leaders and as those carried. The others must not notice.
sub interrupted
{
	my ($what, $counter) = @_;
	my $n = rounds(300);
	my @patient = map {
		session($combining, "SELECT norikv.counter_add('$counter') FROM generate_series(1, $n)")
	} 1 .. 6;
	my @hasty;
	push @hasty, session($combining,
		"SET statement_timeout = $_;\n" . "SELECT norikv.counter_add('$counter');\n" x $n)
	  for 2 .. 5;
	my @doomed = map {
		session($combining, "SELECT norikv.counter_add('$counter') AS doomed;\n" x 20000)
	} 1 .. 4;
	for (@doomed)
	{
		usleep(100_000);
		ok(await(
				sub {
					$combining->safe_psql('postgres',
						q{SELECT pg_terminate_backend(min(pid)) FROM pg_stat_activity WHERE query LIKE '% doomed;'}) eq 't';
				}), "$what: one is terminated");
	}
	my ($confirmed, $cancelled, %seen, $errors) = (0, 0);
	for ([ 'patient', @patient ], [ 'hasty', @hasty ], [ 'doomed', @doomed ])
	{
		my ($kind, @sessions) = @$_;
		for my $session (@sessions)
		{
			my ($out, $error) = finish_session($session);
			$seen{$_}++ for split /\n/, $out;
			$confirmed += () = $out =~ /^\d+$/mg;
			$cancelled += () = $error =~ /ERROR:  57014|FATAL:  57P01/g;
			$errors .= $error if $kind eq 'patient' || $error =~ /ERROR:  (?!57014)/;
		}
	}
	is($errors // '', '', "$what: who is not interrupted does not notice");
	ok($cancelled > 0, "$what: some were interrupted ($cancelled, $confirmed were not)");
	is(scalar(grep { $_ > 1 } values %seen), 0, "$what: all values differ");
	my $sum = $combining->safe_psql('postgres', "SELECT norikv.counter_get('$counter')");
	cmp_ok($sum, '>=', $confirmed, "$what: none is lost");
	cmp_ok($sum, '<=', $confirmed + $cancelled, "$what: none counts twice");
	return;
}

use_server("unix:$directory/f");
interrupted('compare-and-swap', 'cut');
slow_answers("$directory/n", 'Commit', 3);
interrupted('additions', 'cut');

# ---- A server that goes away: what is not known is said, and nobody waits for ever ----

$combining->safe_psql('postgres', q{ALTER SERVER norikv OPTIONS (SET timeout '1s', SET attempt_timeout '300ms')});
$combining->safe_psql('postgres', 'CREATE TABLE go ()');
my @left = map {
	session($combining, q{SELECT norikv.counter_add('cut') IS NULL;
		SELECT 'ready';
		DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM go) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$;
		SELECT norikv.counter_add('cut')})
} 1 .. 8;
await(sub { !grep { output_of($_) !~ /ready/ } @left });
kill 'STOP', $norikvd;
$combining->safe_psql('postgres', 'INSERT INTO go DEFAULT VALUES');
my @states = map { my (undef, $error) = finish_session($_); $error =~ /ERROR:  (\w+)/ ? $1 : 'none' } @left;
is("@states", join(' ', ('08007') x 8), 'a server that hangs: what is not known is said to all');
kill 'CONT', $norikvd;
like($combining->safe_psql('postgres', q{SELECT norikv.counter_add('cut')}),
	qr/^\d+$/, 'and goes on when it is back');
unlike(slurp_log($combining), qr/PANIC|TRAP:|was terminated by signal/, 'nothing crashed');

$combining->stop;
$plain->stop;
done_testing();
