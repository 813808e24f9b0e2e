# run_once() in two PostgreSQLs over one store: each period's command runs in one of
# them, once, also when the one that is about it is killed. Called in a loop by hand, and
# by pg_cron.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
start_norikvd("$directory/norikvd", "--data-dir=$directory/store", "--listen=unix:$directory/s");


chomp(my $libraries = `pg_config --pkglibdir`);
my $has_cron = -e "$libraries/pg_cron.so";

my @nodes;
for my $name (qw(one two))
{
	my $node = norikv_cluster($name, server => "nodes 'unix:$directory/s', timeout '3s'", conf => $has_cron ? <<'CONF' : '');
shared_preload_libraries = 'norikv, pg_cron'
cron.use_background_workers = on
cron.database_name = 'postgres'
CONF
	$node->safe_psql('postgres', q{
		CREATE TABLE ran (job text, slot bigint, at timestamptz DEFAULT clock_timestamp());
		CREATE FUNCTION note(job text) RETURNS void LANGUAGE sql AS
			'INSERT INTO ran SELECT job, (norikv.get_json(''job:'' || job) ->> ''slot'')::bigint';});
	push @nodes, $node;
}

# What ran in both: job, slot, as lines.
sub ran
{
	my ($pattern) = @_;
	return map { split /\n/, $_->safe_psql('postgres', "SELECT job || ' ' || slot FROM ran WHERE job LIKE '$pattern'") } @nodes;
}

# pg_cron fires at full minutes: it has its turn while the other tests run.
my ($firings, $cron_began) = ($ENV{NORIKV_STRESS} ? 5 : 1, time());
if ($has_cron)
{
	for my $node (@nodes)
	{
		$node->safe_psql('postgres', q{
			CREATE EXTENSION pg_cron;
			SELECT cron.schedule('sweep', '* * * * *', $$SELECT norikv.run_once('cron-sweep', '1 minute', 'SELECT note(''cron-sweep'')')$$)});
	}
}

# Many jobs of a second, called five times a second by two sessions of each.
my ($jobs, $seconds) = (10, $ENV{NORIKV_STRESS} ? 30 : 4);
$_->safe_psql('postgres', qq{
	CREATE PROCEDURE call_jobs() LANGUAGE plpgsql AS \$\$
	DECLARE
		until timestamptz := clock_timestamp() + '$seconds s';
	BEGIN
		WHILE clock_timestamp() < until LOOP
			FOR i IN 1 .. $jobs LOOP
				PERFORM norikv.run_once('second-' || i, '1 second', format('SELECT note(%L)', 'second-' || i));
				COMMIT;
			END LOOP;
			PERFORM pg_sleep(0.2 * random());
		END LOOP;
	END \$\$}) for @nodes;
my @callers = map { my $node = $_; map { session($node, 'CALL call_jobs()') } 1 .. 2 } @nodes;
my @errors = grep { $_ ne '' } map { (finish_session($_))[1] } @callers;
is("@errors", '', 'nobody who calls fails');
my %times;
$times{$_}++ for ran('second-%');
is(join(', ', grep { $times{$_} > 1 } sort keys %times), '', 'no period of a job ran twice');
cmp_ok(scalar(keys %times), '>=', $jobs * ($seconds - 1), 'they ran');
for my $job (map { "second-$_" } 1 .. $jobs)
{
	my @slots = sort { $a <=> $b } map { /^\Q$job\E (\d+)/ ? $1 : () } keys %times;
	is($slots[-1] - $slots[0] + 1, scalar(@slots), "$job: no period was left out");
}
my @places = map { $_->safe_psql('postgres', q{SELECT count(*) FROM ran WHERE job LIKE 'second-%'}) } @nodes;
note("ran @places times here and there");

# The one that is about it dies, with its PostgreSQL: another one takes over, in the same
# period, when the claim has run out. What the first one did is gone with it.
my $first = session($nodes[0], q{SELECT norikv.run_once('long', '1000 days', 'SELECT note(''long''); SELECT pg_sleep(600)')});
ok(await(sub { ($nodes[1]->safe_psql('postgres', q{SELECT norikv.get_json('job:long') ->> 'state'}) // '') eq 'claimed' }), 'one runs the job');
is($nodes[1]->safe_psql('postgres', q{SELECT norikv.run_once('long', '1000 days', 'SELECT note(''long'')')}), 'f', 'the other one does not');
usleep(11_000_000);
is($nodes[1]->safe_psql('postgres', q{SELECT norikv.run_once('long', '1000 days', 'SELECT note(''long'')')}), 'f', 'nor when the claim would have run out, were it not renewed');
my $killed_at = time();
$nodes[0]->stop('immediate');
finish_session($first);
ok( await(sub { $nodes[1]->safe_psql('postgres', q{SELECT norikv.run_once('long', '1000 days', 'SELECT note(''long'')')}) eq 't' }),
	'after its end another one takes over');
$nodes[0]->start;
is($nodes[0]->safe_psql('postgres', q{SELECT norikv.run_once('long', '1000 days', 'SELECT note(''long'')')}), 'f', 'and it stays done');
is(scalar(ran('long')), 1, 'the command took effect once');

# A session that dies alone gives its claim back at once.
$first = session($nodes[0], q{SELECT norikv.run_once('short', '1000 days', 'SELECT pg_sleep(600)')});
ok(await(sub { ($nodes[1]->safe_psql('postgres', q{SELECT norikv.get_json('job:short') ->> 'state'}) // '') eq 'claimed' }), 'one runs the job');
$nodes[0]->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()});
finish_session($first);
ok(await(sub { $nodes[1]->safe_psql('postgres', q{SELECT norikv.run_once('short', '1000 days', 'SELECT note(''short'')')}) eq 't' }), 'and another one takes over');

SKIP:
{
	skip 'pg_cron is not installed', 6 unless $has_cron;
	my @fired;
	my $last = int($cron_began / 60) + $firings;
	while (time() < ($last + 1) * 60 + 30)
	{
		@fired = ran('cron-sweep');
		last if grep { /^cron-sweep $last$/ } @fired;
		usleep(200_000);
	}
	usleep(2_000_000);
	@fired = ran('cron-sweep');
	my %slots = map { $_ => 1 } @fired;
	is(scalar(keys %slots), scalar(@fired), 'pg_cron in both: no firing ran twice');
	is(join(' ', grep { !$slots{"cron-sweep $_"} } $last - $firings + 1 .. $last), '', 'and none was left out');
	is( join(', ', map { $_->safe_psql('postgres', q{SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'}) } @nodes),
		'0, 0', 'nor did one fail');
	note(scalar(@fired) . ' firings');

	# The example: what it schedules runs, here by hand.
	my $example = PostgreSQL::Test::Utils::slurp_file("$ENV{NORIKV_DOCS}/examples/pg_cron.sql");
	for my $node (@nodes)
	{
		$node->safe_psql('postgres', $example);
		$node->safe_psql('postgres', $example);
	}
	is($nodes[0]->safe_psql('postgres', q{SELECT count(*) FROM cron.job WHERE jobname LIKE 'norikv %'}), 3, 'the example can be loaded twice');
	$nodes[0]->safe_psql('postgres', q{
		SELECT norikv.inventory_create('mug', 5);
		SELECT norikv.inventory_reserve('mug', 2, '1 millisecond');
		SELECT norikv.counter_add('page:home', 3), norikv.sharded_counter_add('page:views', 4), norikv.sharded_counter_add('page:views', 5);
		SELECT norikv.session_create('ann', 'ann@example.com', '{user}')});
	$nodes[0]->safe_psql('postgres', "UPDATE cron.job SET active = false; SELECT norikv.delete('job:' || name) FROM unnest('{sweep,roll-up,expiry}'::text[]) name");
	$nodes[$_ % 2]->safe_psql('postgres', (split /\n/, $nodes[0]->safe_psql('postgres', q{SELECT command FROM cron.job WHERE jobname LIKE 'norikv %' ORDER BY jobid}))[$_])
		for 0 .. 2;
	is($nodes[1]->safe_psql('postgres', q{SELECT norikv.get_json('inventory:mug') - 'lastUpdated'}), '{"sku": "mug", "quantity": 5, "reserved": 0}', 'the sweep took back what ran out');
	my @reports = map { $_->safe_psql('postgres', q{SELECT counter || ' ' || value FROM jobs.counter_history UNION ALL SELECT kind || ' ' || keys FROM jobs.expiry_report WHERE kind = 'session' ORDER BY 1}) } @nodes;
	is(join("\n", sort grep { $_ ne '' } @reports), "page:home 3\npage:views 9\nsession 1", 'the counters are rolled up, the expiry is reported');
}

done_testing();
