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

$right->stop;
$wrong->stop;
done_testing();
