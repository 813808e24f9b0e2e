# Rate limits: 16 sessions in two PostgreSQLs whose clocks are an hour apart never get
# more than the limit in any window, small limits and large ones; sessions that are
# cancelled in the middle leave the others alone.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $ahead = 3600;
my $seconds = rounds(30);
start_norikvd("$directory/log", "--listen=unix:$directory/n", '--engine=memory');

sub cluster
{
	my ($name) = @_;
	return norikv_cluster($name, conf => 'max_connections = 100', server => "nodes 'unix:$directory/n'");
}

my $right = cluster('right');
my $wrong;
{
	local $ENV{LD_PRELOAD} = "$ENV{NORIKV_TOOLS}/wall_clock.so";
	local $ENV{NORIKV_WALL_CLOCK_OFFSET} = $ahead;
	$wrong = cluster('wrong');
}
my $apart = $wrong->safe_psql('postgres', 'SELECT extract(epoch FROM clock_timestamp())') - time();
ok(abs($apart - $ahead) < 100, "the clocks are $apart s apart");

# Asks for as long as that; when each that was allowed began and ended.
sub asking
{
	my ($node, $limit, $per, $cost, $pause) = @_;
	return session($node, qq{DO \$\$
DECLARE
	began timestamptz;
	until timestamptz := clock_timestamp() + interval '$seconds s';
BEGIN
	CREATE TEMP TABLE allowed (began float8, ended float8, cost int);
	WHILE clock_timestamp() < until LOOP
		began := clock_timestamp();
		IF (norikv.rate_limit('id', $limit, '$per', $cost)).allowed THEN
			INSERT INTO allowed SELECT extract(epoch FROM began), extract(epoch FROM clock_timestamp()), $cost;
		END IF;
		PERFORM pg_sleep(random() * $pause);
	END LOOP;
END \$\$;
SELECT began, ended, cost FROM allowed});
}

# Requests that both began and ended within one window must be within the limit. A call
# took place at one instant between the two.
sub most_in_a_window
{
	my ($per, @calls) = @_;
	@calls = sort { $a->[0] <=> $b->[0] } @calls;
	my ($most, $at) = (0, 0);
	for my $first (0 .. $#calls)
	{
		my $sum = 0;
		for my $call (@calls[ $first .. $#calls ])
		{
			last if $call->[0] >= $calls[$first][0] + $per;
			$sum += $call->[2] if $call->[1] < $calls[$first][0] + $per;
		}
		$most = $sum if $sum > $most;
	}
	return $most;
}

for my $case ([ 20, 0.5, 1, 0.01 ], [ 50, 1.2, 7, 0.01 ], [ 2000, 1, 90, 0.01 ])
{
	my ($limit, $per, $cost, $pause) = @$case;
	my $what = "$limit in $per s, $cost at a time";
	$right->safe_psql('postgres', q{SELECT norikv.rate_limit_reset('id')});
	my @sessions = map { [ $_ % 2, asking($_ % 2 ? $wrong : $right, $limit, "$per s", $cost, $pause) ] } 1 .. 16;
	my (@calls, %by, $errors);
	for (@sessions)
	{
		my ($is_wrong, $session) = @$_;
		my ($out, $error) = finish_session($session);
		$errors .= $error;
		for (split /\n/, $out)
		{
			my ($began, $ended, $n) = split /\|/;
			my $off = $is_wrong ? $ahead : 0;
			push @calls, [ $began - $off, $ended - $off, $n ];
			$by{$is_wrong}++;
		}
	}
	is($errors, '', "$what: no errors");
	my $most = most_in_a_window($per, @calls);
	cmp_ok($most, '<=', $limit, "$what: never more");
	cmp_ok($most, '>', $limit / 2, "$what: and not much less ($most)");
	cmp_ok($by{$_} // 0, '>', 0, "$what: some were allowed in PostgreSQL $_") for 0, 1;
}

# ---- Cancelled in the middle ----

my @patient = map {
	session($right, q{SELECT count(*) FILTER (WHERE (norikv.rate_limit('many', 1000000 + i - i, '1 hour')).allowed) FROM generate_series(1, 300) i})
} 1 .. 8;
my @hasty = map {
	session($right, "SET statement_timeout = $_;\n" . "SELECT allowed FROM norikv.rate_limit('many', 1000000, '1 hour');\n" x 300)
} 1, 1, 2;
my @counts = map { [ finish_session($_) ] } @patient;
is(join(' ', map { $_->[0] } @counts), join(' ', (300) x 8), 'who is not interrupted does not notice');
is(join('', map { $_->[1] } @counts), '', 'and has no errors');
my ($allowed, $cancelled) = (8 * 300, 0);
for (@hasty)
{
	my ($out, $error) = finish_session($_);
	$allowed += () = $out =~ /^t$/mg;
	$cancelled += () = $error =~ /57014/g;
}
my $used = 1000000 - $right->safe_psql('postgres', q{SELECT remaining FROM norikv.rate_limit_peek('many', 1000000, '1 hour')});
cmp_ok($used, '>=', $allowed, "all that was allowed counts: $allowed of $used, $cancelled were cancelled");
# One that was cancelled counts as often as somebody else decided for it.
cmp_ok($used, '<=', $allowed + 11 * $cancelled, 'and little else');

# ---- Left behind by who decided for them ----

# Of three at once, the second asks for itself and the third, and is cancelled while it
# reads, or when its write is done, and before it knows. What the third is told, to which
# something happens then, while it reads. Where the machine is so slow that they do not
# meet, answers are later.
sub left_behind
{
	my ($id, $left, $happens) = @_;
	for my $ms (2000, 6000)
	{
		my $place = "$directory/$id$ms";
		my $proxy = start_tool("$place.log", 'proxy', "--listen=unix:$place", "--upstream=unix:$directory/n", "--delay-answer=1:$ms");
		my $timeout = 2.5 * $ms;
		sql($right, "CREATE SERVER $id$ms FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$place', timeout '$timeout ms', attempt_timeout '$timeout ms')");
		my (%session, %pid);
		for my $name ('first', 'second', 'third')
		{
			$session{$name} = session($right, "SET norikv.server = '$id$ms';\nSELECT 1 FROM norikv.rate_limit_peek('$id$ms', 100, '1 hour');\n"
				. "\\! touch $place.$name; while [ ! -e $place.$name.go ]; do sleep 0.02; done\n"
				. "SELECT allowed AS $id$name FROM norikv.rate_limit('$id$ms', 100, '1 hour')");
		}
		await(sub { 3 == grep { -e "$place.$_" } keys %session });
		for my $name ('first', 'second', 'third')
		{
			append_to_file("$place.$name.go", '');
			$pid{$name} = await_backend($right, "%AS $id$name%");
			await(sub { sql($right, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid{$name}") ne '' });
		}
		await(sub { sql($right, "SELECT remaining FROM norikv.rate_limit_peek('$id$ms', 100, '1 hour')") == $left });
		finish_session($session{first}) if $left == 99;
		my $met = sql($right, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid IN ($pid{second}, $pid{third})") == 2;
		sql($right, "SELECT pg_cancel_backend($pid{second})") if $met;
		my (undef, $second) = finish_session($session{second});
		$happens->($proxy, $pid{third}) if $met;
		my (undef, $third) = finish_session($session{third});
		finish_session($session{first}) if $left != 99;
		next unless $met;
		like($second, qr/ERROR:  57014.*DETAIL:.*may have been applied/s, "$id: who is cancelled while it asks for others is told");
		return $third;
	}
	return 'they did not meet';
}

is(left_behind('goes_on', 99, sub { }), '', 'who takes over from one that was reading goes on');
is(sql($right, q{SELECT 100 - min(remaining) FROM (VALUES ('goes_on2000'), ('goes_on6000')) ids (id), norikv.rate_limit_peek(id, 100, '1 hour')}), 3, '... with what that one wanted, too');
like(left_behind('cancelled', 97, sub { sql($right, "SELECT pg_cancel_backend($_[1])") }),
	qr/ERROR:  57014.*DETAIL:.*may have been applied/s, 'who takes over may have been counted, and is told so when it is cancelled');
like(left_behind('lost', 97, sub { stop_process($_[0], 'KILL') }),
	qr/ERROR:  08007/, '... and when it cannot read');

$right->stop;
$wrong->stop;
done_testing();
