# Sessions that add together, where the one that sends for all stands still or is killed,
# and where the server that they share is altered while they wait.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $node = norikv_cluster(
	'counter_stops',
	conf => "restart_after_crash = on
",
	server => "nodes 'unix:$directory/slow', timeout '3s', attempt_timeout '3s'");
my $slow = 2000;
for my $store ('one', 'two')
{
	start_norikvd("$directory/$store.log", '--engine=memory', "--listen=unix:$directory/$store");
}
start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$directory/slow", "--upstream=unix:$directory/one",
	'--only=Commit', "--delay-answer=1:$slow");
sql($node, "CREATE SERVER direct FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/one')");

# In the order of the calls: each is parked before the next one comes.
sub add
{
	my ($counter, $name) = @_;
	my $session = session($node, "SELECT norikv.counter_add('$counter') AS $name");
	my $pid = await_backend($node, "%counter_add(%) AS $name%");
	await(sub { sql($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid") ne '' });
	return ($session, $pid);
}

sub stored
{
	my ($counter) = @_;
	return sql($node, "SET norikv.server = 'direct'; SELECT coalesce(norikv.counter_get('$counter'), 0)");
}

# ---- The one that sends for all is stopped ----

my ($first) = add('stopped', 'first');
my ($sender, $sender_pid) = add('stopped', 'sender');
my ($cancelled, $cancelled_pid) = add('stopped', 'cancelled');
my ($terminated, $terminated_pid) = add('stopped', 'terminated');
my ($carried) = add('stopped', 'carried');
# The second one sends for itself and the three others, and does not read the answer.
ok(await(sub { stored('stopped') == 5 }), 'one sends what the others want');
kill 'STOP', $sender_pid;
my ($late, $late_pid) = add('stopped', 'late');
my $asked = time;
sql($node, "SELECT pg_cancel_backend($cancelled_pid)");
my (undef, $error) = finish_session($cancelled);
like($error, qr/ERROR:  57014.*DETAIL:.*may have been applied/s, 'who waits for one that is stopped can be cancelled');
sql($node, "SELECT pg_terminate_backend($terminated_pid)");
(undef, $error) = finish_session($terminated);
like($error, qr/FATAL:  57P01.*DETAIL:.*may have been applied/s, 'and terminated');
cmp_ok(time - $asked, '<', 5, 'at once');
my ($value) = finish_session($carried);
is($value, 5, 'who waits on takes over, and has its own answer');
($value) = finish_session($late);
is($value, 6, 'so does who came later');
# The one that was stopped comes back while others are at it.
my ($next) = add('stopped', 'next');
my ($after) = add('stopped', 'after');
kill 'CONT', $sender_pid;
($value, $error) = finish_session($sender);
is($value, 2, 'the one that was stopped has its answer, too') or diag($error);
is((finish_session($first))[0], 1, 'the one before it had its own');
is(join(' ', map { (finish_session($_))[0] } $next, $after), '7 8', 'it has disturbed nobody');
is(stored('stopped'), 8, 'nothing was lost, nothing counted twice');
is(sql($node, "SELECT norikv.counter_add('stopped')"), 9, 'the counter goes on');

# One that is stopped before it has sent anything for others: these go on without it.
($first, my $first_pid) = add('early', 'first');
kill 'STOP', $first_pid;
my ($second) = add('early', 'second');
my ($third) = add('early', 'third');
is(join(' ', sort map { (finish_session($_))[0] } $second, $third), '2 3', 'who finds one that is stopped does not wait for ever');
kill 'CONT', $first_pid;
is((finish_session($first))[0], 1, 'what it had sent counted once');
is(stored('early'), 3, '... and all of it counted');

# ---- Whoever it is, again and again ----

# Half of them stand still for longer than the others wait, wherever they are with it.
sub stop_and_go
{
	my ($what, $server) = @_;
	my $rounds = rounds(10);
	sql($node, "ALTER DATABASE postgres SET norikv.server = '$server'");
	my @sessions = map { session($node, "SELECT norikv.counter_add('go');\n" x (40 * $rounds + 20)) } 1 .. 6;
	for my $round (1 .. $rounds)
	{
		usleep(300_000);
		my @pids = split /\n/, sql($node, "SELECT pid FROM pg_stat_activity WHERE query LIKE '%counter_add(''go'')%' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 3");
		kill 'STOP', @pids;
		usleep(3_500_000);
		kill 'CONT', @pids;
	}
	my (%seen, $confirmed, $unknown, $others);
	for my $session (@sessions)
	{
		my ($out, $error) = finish_session($session);
		$seen{$_}++ for $out =~ /^(\d+)$/mg;
		$confirmed += () = $out =~ /^\d+$/mg;
		$unknown += () = $error =~ /ERROR:  08007/g;
		# NK003: one that was alone with it, and was stopped while it read.
		$others .= $error if $error =~ /ERROR:  (?!08007|NK003)/;
	}
	is($others // '', '', "$what: no error but that the outcome is not known");
	is(scalar(grep { $_ > 1 } values %seen), 0, "$what: all values differ");
	my $sum = sql($node, "SELECT norikv.counter_get('go')");
	cmp_ok($sum, '>=', $confirmed, "$what: none of $confirmed is lost");
	cmp_ok($sum, '<=', $confirmed + $unknown, "$what: none counts twice");
	sql($node, 'ALTER DATABASE postgres RESET norikv.server');
	return;
}

start_tool("$directory/slower.log", 'proxy', "--listen=unix:$directory/slower", "--upstream=unix:$directory/two",
	'--only=Commit', '--delay-answer=1:20');
start_tool("$directory/fake.log", 'fake_norikv', '--listen', "unix:$directory/fake", '--ext', 1,
	'--capabilities', 'atomic_cas,create,ttl', '--creates', 1, '--delay-ms', 20);
sql($node, "CREATE SERVER adds FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/slower', timeout '1s')");
sql($node, "CREATE SERVER swaps FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/fake', timeout '1s')");
stop_and_go('additions', 'adds');
stop_and_go('compare-and-swap', 'swaps');

# ---- The server is altered while some wait ----

my $counter = 'altered';
($first) = add($counter, 'first');
my ($old) = add($counter, 'old');
sql($node, "ALTER SERVER norikv OPTIONS (SET nodes 'unix:$directory/two')");
my ($new) = add_quickly($counter);
is((finish_session($first))[0], 1, 'who began before the server was altered: the old store');
is((finish_session($old))[0], 2, 'who waited, too');
is($new, 1, 'who began after that: the new store');
is(stored($counter), 2, 'each store has what it was sent');
is(sql($node, "SELECT norikv.counter_get('$counter')"), 1, 'and no more');

# ---- The one that sends for all is killed, and all of PostgreSQL starts anew ----

# Where the machine is so slow that not all of them go together, answers are later still.
my @left;
for my $ms (2000, 8000)
{
	start_tool("$directory/proxy$ms.log", 'proxy', "--listen=unix:$directory/slow$ms", "--upstream=unix:$directory/one",
		'--only=Commit', "--delay-answer=1:$ms");
	sql($node, "ALTER SERVER norikv OPTIONS (SET nodes 'unix:$directory/slow$ms', SET timeout '60s', SET attempt_timeout '60s')");
	$counter = "killed$ms";
	($first) = add($counter, 'first');
	($sender, $sender_pid) = add($counter, 'sender');
	my @carried = map { (add($counter, "carried$_"))[0] } 1 .. 3;
	await(sub { stored($counter) == 5 });
	@left = ($sender, @carried);
	last if sql($node, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%counter_add(_${counter}_)%' AND pid <> pg_backend_pid()") == 4;
	finish_session($_) for $first, @left;
	@left = ();
}
is(scalar(@left), 4, 'one sends what three others want');
kill_9($sender_pid) if @left;
my @answers = map { join '', finish_session($_) } @left;
is(scalar(grep { /terminating connection because of crash|server closed the connection/ } @answers), 4, 'who was waiting is told of the crash')
  or diag("@answers");
is((finish_session($first))[0], 1, 'the one before them had its answer');
ok(await(sub { (eval { $node->psql('postgres', 'SELECT 1') } // 1) == 0 }), 'PostgreSQL is back after kill -9');
is(stored($counter), 5, 'what was sent counts once');
is(sql($node, "SET norikv.server = 'direct'; SELECT norikv.counter_add('$counter')"), 6, 'and the counter goes on');

sub add_quickly
{
	my ($counter) = @_;
	my ($out, $error) = finish_session(session($node, "SELECT norikv.counter_add('$counter')"));
	return $out;
}

unlike(slurp_log($node), qr/PANIC|TRAP:|was terminated by signal (?!9)/, 'nothing else crashed');
$node->stop;
done_testing();
