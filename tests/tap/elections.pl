# Two PostgreSQLs stand for one election over one store, each through a proxy of its own.
# Their keepers are stopped, PostgreSQLs killed, networks cut and wall clocks set, again
# and again: at no instant do both believe to lead, somebody leads again soon, and each
# change is told once.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(clock_gettime usleep);

use NorikvTest;

use constant CLOCK_BOOTTIME => 7;

my $ttl = 2;
my $fail_overs = rounds(50);
my $directory = PostgreSQL::Test::Utils::tempdir_short();

# Each machine has a wall clock of its own, which is set while it runs: the store's, and
# those of the PostgreSQLs.
sub with_clock
{
	my ($name, $start) = @_;
	append_to_file("$directory/clock-$name", '0');
	local $ENV{LD_PRELOAD} = "$ENV{NORIKV_TOOLS}/wall_clock.so";
	local $ENV{NORIKV_WALL_CLOCK_FILE} = "$directory/clock-$name";
	return $start->();
}

with_clock('store', sub { start_norikvd("$directory/norikvd.log", "--data-dir=$directory/store", "--listen=unix:$directory/s") });

sub set_clock
{
	my ($name, $offset) = @_;
	open(my $file, '>', "$directory/clock.new") or die $!;
	print $file $offset;
	close $file;
	rename("$directory/clock.new", "$directory/clock-$name") or die $!;
	return;
}

my @nodes;
for my $number (0, 1)
{
	my $name = "node-$number";
	my $socket = "$directory/p$number";
	my $server = "nodes 'unix:$socket', timeout '3s', attempt_timeout '500ms'";
	my $node = with_clock($name, sub { norikv_cluster($name, server => $server) });
	my $peer = { name => $name, node => $node, socket => $socket, beliefs => {} };
	start_proxy($peer);
	$node->safe_psql('postgres', qq{
		CREATE TABLE log (n serial, what text, at timestamptz DEFAULT clock_timestamp());
		CREATE ROLE voter LOGIN;
		GRANT INSERT ON log TO voter;
		GRANT USAGE ON SEQUENCE log_n_seq TO voter;
		GRANT USAGE ON FOREIGN SERVER norikv TO voter;
		SET ROLE voter;
		SELECT norikv.campaign('main', '$name', '$ttl s', 'INSERT INTO log (what) VALUES (''elected'')', 'INSERT INTO log (what) VALUES (''lost'')')});
	push @nodes, $peer;
}

sub start_proxy
{
	my ($peer) = @_;
	unlink $peer->{socket};
	$peer->{proxy} = start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$peer->{socket}", "--upstream=unix:$directory/s");
	return;
}

# What a PostgreSQL believes: a session that is asked over and over. An answer that it
# leads with a token was true at some instant between asking and hearing it; between two
# such answers it believed all the time.
sub ask
{
	my ($peer) = @_;
	my $session = $peer->{session};
	if (!$session)
	{
		$session = $peer->{session} = { in => '', out => '', err => '' };
		$session->{run} = IPC::Run::start(
			[ 'psql', '-XAtq', '-d', $peer->{node}->connstr('postgres') ],
			'<', \$session->{in}, '>', \$session->{out}, '2>', \$session->{err});
	}
	my $asked = clock_gettime(CLOCK_BOOTTIME);
	$session->{out} = '';
	$session->{in} .= "SELECT 'answer', norikv.is_leader('main'), (SELECT token FROM norikv.locks_held WHERE kind = 'campaign');\n";
	my $alive = eval {
		until ($session->{out} =~ /^answer\|.*\n/m)
		{
			die "gone\n" unless $session->{run}->pumpable;
			die "late\n" if clock_gettime(CLOCK_BOOTTIME) > $asked + 20;
			$session->{run}->pump;
		}
		1;
	};
	my $heard = clock_gettime(CLOCK_BOOTTIME);
	if (!$alive)
	{
		$session->{run}->kill_kill;
		delete $peer->{session};
		return '';
	}
	return '' unless $session->{out} =~ /^answer\|t\|(\d+)\n/m;
	my $belief = $peer->{beliefs}{$1} //= { first => $heard, last => $asked };
	$belief->{last} = $asked if $asked > $belief->{last};
	return $1;
}

sub leader
{
	my @leading = grep { ask($_) } grep { !$_->{down} } @nodes;
	return $leading[0];
}

# Polls until somebody leads, other than who led before, and for how long nobody did.
sub await_leader
{
	my ($before) = @_;
	my $began = clock_gettime(CLOCK_BOOTTIME);
	while (clock_gettime(CLOCK_BOOTTIME) < $began + 60)
	{
		my $found = leader();
		return ($found, clock_gettime(CLOCK_BOOTTIME) - $began) if $found && (!$before || $found != $before);
		usleep(20_000);
	}
	return;
}

my ($now) = await_leader();
ok($now, 'one of them is elected');

my (%done, @late);
for my $round (1 .. $fail_overs)
{
	my $kind = (qw(stop kill cut clock))[ $round % 4 ];
	my $led = $now;
	my $keeper;
	my $began = clock_gettime(CLOCK_BOOTTIME);
	if ($kind eq 'stop')
	{
		$keeper = keeper_of($led->{node}) || die 'there is no keeper';
		kill 'STOP', $keeper;
	}
	elsif ($kind eq 'kill')
	{
		$led->{down} = 1;
		$led->{session}{run}->kill_kill if $led->{session};
		delete $led->{session};
		$led->{node}->stop('immediate');
	}
	else
	{
		# Everybody's clock is wrong by then, and the one who leads cannot renew.
		if ($kind eq 'clock')
		{
			my $step = $round % 8 < 4 ? 3600 : -3600;
			set_clock('store', $step);
			set_clock($led->{name}, $step);
			set_clock($_, -$step) for map { $_->{name} } grep { $_ != $led } @nodes;
		}
		stop_process($led->{proxy});
	}
	my ($next, $seconds) = await_leader($led);
	$done{$kind}++;
	if (!$next)
	{
		fail("round $round, $kind: another one leads");
		last;
	}
	push @late, sprintf('%s %.1f s', $kind, $seconds) if $seconds > $ttl + 1;
	# The one that led comes back, and finds that it does not.
	if ($kind eq 'stop')
	{
		kill 'CONT', $keeper;
	}
	elsif ($kind eq 'kill')
	{
		with_clock($led->{name}, sub { $led->{node}->start });
		$led->{down} = 0;
		$led->{kills}++;
	}
	else
	{
		start_proxy($led);
		set_clock($_, 0) for $kind eq 'clock' ? ('store', map { $_->{name} } @nodes) : ();
	}
	note(sprintf('round %d, %s: %s leads after %.1f s', $round, $kind, $next->{name}, $seconds));
	for (1 .. 20)
	{
		ask($_) for @nodes;
		usleep(20_000);
	}
	$now = $next;
}
cmp_ok(scalar(map { ($_) x $done{$_} } keys %done), '>=', $fail_overs, 'fail-overs: ' . join(', ', map { "$done{$_} by $_" } sort keys %done));
# Not a question of speed: a lease that is not renewed is over then, whatever happened.
# What PostgreSQL takes to stop is counted as well, so one of them may be a little late.
cmp_ok(scalar(@late), '<=', int($fail_overs / 10), "a new leader within the time to live and a second") or diag("@late");

my @all = map { my $peer = $_; map { { %{ $peer->{beliefs}{$_} }, who => $peer->{name}, token => $_ } } keys %{ $peer->{beliefs} } } @nodes;
my @overlaps;
for my $one (@all)
{
	for my $other (@all)
	{
		push @overlaps, "$one->{who} $one->{token} and $other->{who} $other->{token}"
		  if $one->{who} lt $other->{who} && $one->{first} < $other->{last} && $other->{first} < $one->{last};
	}
}
is(join('; ', @overlaps), '', 'never did both believe to lead');
cmp_ok(scalar(@all), '>', $fail_overs, 'beliefs were seen: ' . @all);
my @in_order = map { $_->{token} } sort { $a->{first} <=> $b->{first} } @all;
is("@in_order", join(' ', sort { $a <=> $b } @in_order), 'tokens grow with every leader');

# Each change was told once, in its order: an "elected" is followed by a "lost", and by
# another "elected" only where PostgreSQL was killed in between, and nobody was left to tell.
for my $peer (@nodes)
{
	$peer->{node}->safe_psql('postgres', q{DO $$ BEGIN FOR i IN 1 .. 200 LOOP EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'norikv election'); PERFORM pg_sleep(0.05); END LOOP; END $$});
	my @told = split /\n/, $peer->{node}->safe_psql('postgres', 'SELECT what FROM log ORDER BY n');
	my $twice = grep { $told[$_] eq 'lost' && ($_ == 0 || $told[ $_ - 1 ] eq 'lost') } 0 .. $#told;
	is($twice, 0, "$peer->{name}: nothing is lost that was not won");
	my $again = grep { $told[$_] eq 'elected' && $told[ $_ - 1 ] eq 'elected' } 1 .. $#told;
	cmp_ok($again, '<=', $peer->{kills} // 0, "$peer->{name}: nothing is won twice (" . @told . ' changes)');
	# Who was seen to lead for a while is told so, unless it is killed before that.
	my $told = (grep { $_->{last} - $_->{first} > 0.2 } values %{ $peer->{beliefs} }) - ($peer->{kills} // 0);
	ok(await(sub { $peer->{node}->safe_psql('postgres', q{SELECT count(*) FROM log WHERE what = 'elected'}) >= $told }),
		"$peer->{name}: each time that it led it was told");
}

# Commands: errors go to the log and end nothing; the rights are the role's, whatever a
# command does; notifications come once each.
my ($leading) = grep { ask($_) } @nodes;
my $node = $leading->{node};
$_->{node}->safe_psql('postgres', q{TRUNCATE log; SELECT norikv.resign('main')}) for @nodes;
$node->safe_psql('postgres', q{CREATE TABLE secret (what text)});
my $offset = -s $node->logfile;
my $listener = { in => "LISTEN norikv_election;\n", out => '', err => '' };
$listener->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$listener->{in}, '>', \$listener->{out}, '2>', \$listener->{err});
$listener->{in} .= "SELECT 'listening';\n";
$listener->{run}->pump until $listener->{out} =~ /listening/;
$node->safe_psql('postgres', q{SET ROLE voter; SELECT norikv.campaign('rights', 'me', '1 s',
	'RESET ROLE; SET SESSION AUTHORIZATION DEFAULT; INSERT INTO log (what) VALUES (session_user || current_user); INSERT INTO secret VALUES (1)',
	'INSERT INTO log (what) VALUES (''lost by '' || session_user || '' '' || current_user)')});
ok(await(sub { $node->safe_psql('postgres', q{SELECT norikv.is_leader('rights')}) eq 't' }), 'elected');
ok(await_log($node, qr/permission denied for table secret.*on_elected of the campaign in election "rights"/s, $offset), 'a command that fails is in the log');
is($node->safe_psql('postgres', q{SELECT count(*) FROM log WHERE what LIKE 'voter%'}), 0, 'and has done nothing');
is($node->safe_psql('postgres', q{SET ROLE voter; SELECT norikv.resign('rights')}), 't', 'the campaign goes on after that, until it is ended');
ok(await(sub { $node->safe_psql('postgres', q{SELECT what FROM log WHERE what LIKE 'lost by%'}) eq 'lost by voter voter' }), 'the command ran as the role, and as nobody else');
ok(await(sub {
	$listener->{in} .= "SELECT 1;\n";
	$listener->{run}->pump_nb;
	usleep(50_000);
	$listener->{out} =~ /"event":"lost"/ }), 'notifications came');
is(join(',', $listener->{out} =~ /"election":"rights","node":"me","event":"(\w+)"/g), 'elected,lost', 'one for each change');
$listener->{run}->kill_kill;

# A database with a campaign can be dropped, and its keys go.
$node->safe_psql('postgres', 'CREATE DATABASE doomed');
$node->safe_psql('doomed', qq{CREATE EXTENSION norikv; CREATE SERVER norikv FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$leading->{socket}');
	SELECT norikv.campaign('doomed', 'me', '1 hour', 'SELECT 1', 'SELECT 1')});
ok(await(sub { ($node->safe_psql('postgres', q{SELECT norikv.leader('doomed')}) // '') eq 'me' }), 'a campaign of another database');
$node->safe_psql('postgres', 'DROP DATABASE doomed');
ok(await(sub { $node->safe_psql('postgres', q{SELECT norikv.leader('doomed') IS NULL}) eq 't' }), 'goes with the database');
$node->safe_psql('postgres', q{SELECT norikv.campaign('gone', 'me', '1 hour')});
ok(await(sub { $node->safe_psql('postgres', q{SELECT norikv.is_leader('gone')}) eq 't' }), 'a campaign');
$node->safe_psql('postgres', 'DROP EXTENSION norikv CASCADE; CREATE EXTENSION norikv');
$node->safe_psql('postgres', "CREATE SERVER norikv FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$leading->{socket}')");
ok(await(sub { $node->safe_psql('postgres', q{SELECT norikv.leader('gone') IS NULL}) eq 't' }), 'goes with the extension');

done_testing();
