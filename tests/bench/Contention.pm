# Contention.pm - what many sessions do to one key: counters and rate limits, against
# those who do the same by other means.

package Contention;

use strict;
use warnings;
use utf8;
use Exporter 'import';
use Bench;

our @EXPORT = qw(measure_counters measure_rate_limit);

my $sessions = 16;

# Transactions of pgbench a second, times what each of them does.
sub per_second
{
	my ($postgres, $seconds, $sql, $each) = @_;
	my $script = "$postgres->{dir}/contention.sql";

	open(my $file, '>', $script) or die "$script: $!\n";
	print $file $sql;
	close($file) or die "$script: $!\n";
	my $said = qx(pgbench -n -h $postgres->{dir} -c $sessions -j 1 -T $seconds -f $script postgres 2>&1);
	my ($tps) = $said =~ /^tps = ([\d.]+)/m;
	die "pgbench failed:\n$said" unless defined $tps && $said =~ /failed transactions: 0 /;
	return $tps * $each;
}

# The loop of the pattern, with its pauses; it gives up after 20 tries, and the caller
# begins again.
my $pattern = <<'SQL';
CREATE FUNCTION pattern_add(counter text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	present record;
BEGIN
	LOOP
		FOR attempt IN 0 .. 19 LOOP
			present := norikv.entry(counter);
			IF norikv.try_put(counter, (convert_from(present.value, 'UTF8')::bigint + 1)::text,
					if_match => present.version) IS NOT NULL THEN
				RETURN convert_from(present.value, 'UTF8')::bigint + 1;
			END IF;
			PERFORM pg_sleep((least(2 ^ attempt, 1000) + random() * 100) / 1000);
		END LOOP;
	END LOOP;
END $$;
CREATE TABLE t (id int PRIMARY KEY, n bigint);
INSERT INTO t VALUES (1, 0);
SELECT norikv.counter_init('pattern'), norikv.counter_init('ours');
SQL

sub measure_counters
{
	my ($rounds, $seconds, $norikvd, $postgres, $redis) = @_;
	my $ours = sub {
		per_second($postgres, $seconds,
			"SELECT count(norikv.counter_add('ours')) FROM generate_series(1, 100);", 100);
	};
	my $against = sub {
		my ($peer, $times, $measure) = @_;
		my ($added, $theirs, $ratio) = alternate($rounds, $ours, $measure);
		row("counter_add, $sessions sessions on one counter", sprintf('%.0f/s', $added),
			sprintf("$peer: %.0f/s", $theirs), $ratio, [ '>=', $times ]);
	};

	run_sql($postgres->{dir}, $pattern);
	$against->('the loop of the pattern', 30,
		sub { per_second($postgres, $seconds, "SELECT pattern_add('pattern');", 1) });
	$against->('UPDATE', 5,
		sub { per_second($postgres, $seconds, 'UPDATE t SET n = n + 1 WHERE id = 1;', 1) });
	$against->(
		'Redis INCR, synced', 0.5,
		sub {
			load('redis_bench', '-t', $redis->{socket}, '-i', '-f', $sessions, '-s', $seconds)
			  ->{per_second};
		});
}

# Both what is allowed, which is written, and what is not.
sub measure_rate_limit
{
	my ($rounds, $seconds, $norikvd, $postgres) = @_;

	for my $case ([ 'all allowed', 1_000_000_000 ], [ '1,000 a second allowed', 1000 ])
	{
		my ($what, $limit) = @$case;
		my $decided = median(
			map {
				per_second($postgres, $seconds,
					"SELECT count(norikv.rate_limit('id', $limit, '1 s', 1 + 0 * i)) FROM generate_series(1, 100) i;",
					100)
			} 1 .. $rounds);
		row("rate_limit, $sessions sessions, one id, $what", sprintf('%.0f/s', $decided),
			'the clock', $decided, [ '>=', 5000 ], '/s');
	}
}

1;
