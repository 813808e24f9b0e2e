# Sixteen sessions append to one aggregate while sessions are terminated and the server
# is killed: its versions have no gaps, each event is there once, in the order in which
# each session appended. A bank account on top of it refuses overdrafts.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use NorikvTest;

my ($appenders, $times) = (16, rounds(500));
my $node = norikv_cluster('events');

# Each call is repeated with its id until its answer comes, as an application would.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE journal (id uuid PRIMARY KEY, client int, n int, version bigint);
	CREATE PROCEDURE append(client int, n int) LANGUAGE plpgsql AS $$
	DECLARE
		mine uuid := gen_random_uuid();
		answered norikv.event;
	BEGIN
		INSERT INTO journal VALUES (mine, client, n);
		COMMIT;
		LOOP
			BEGIN
				answered := norikv.event_append('busy', 'Counted', jsonb_build_object('client', client, 'n', n), event_id => mine);
				EXIT;
			EXCEPTION WHEN connection_exception OR transaction_resolution_unknown THEN
				NULL;
			END;
		END LOOP;
		UPDATE journal SET version = answered.version WHERE id = mine;
		COMMIT;
	END $$;
	CREATE PROCEDURE append_many(client int, times int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR n IN 1 .. times LOOP
			CALL append(client, n);
		END LOOP;
	END $$;});

sub pgbench
{
	my ($script, $disturb, @options) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
	my ($out, $err) = ('', '');
	append_to_file($file, $script);
	my $run = IPC::Run::start([ 'pgbench', '-n', '-c', $appenders, '-j', 2, '-f', $file, @options, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err);
	$disturb->($run);
	$run->finish;
	return $err;
}

my $killed = 0;
pgbench(
	"CALL append_many(:client_id, $times);",
	sub {
		my ($run) = @_;
		for my $round (1 .. 6)
		{
			usleep(100_000);
			last unless $run->pumpable;
			my $norikvd = await_norikvd($node);
			if ($round % 3 == 1)
			{
				kill_9($norikvd);
				await_norikvd($node, $norikvd);
			}
			$killed += $node->safe_psql('postgres', q{
				SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
					WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
					ORDER BY random() LIMIT 1) AS unlucky});
			$run->pump_nb;
		}
	},
	'-t', 1);
cmp_ok($killed, '>', 0, 'sessions were terminated in the middle');

my $events = q{(SELECT * FROM norikv.events('busy')) AS e};
is($node->safe_psql('postgres', "SELECT count(*) = max(version) AND min(version) = 1 AND count(DISTINCT version) = count(*) FROM $events"),
	't', 'no version is left out, and none is given twice');
is($node->safe_psql('postgres', "SELECT count(*) - count(DISTINCT id) FROM $events"), 0, 'no event is there twice');
is($node->safe_psql('postgres', "SELECT count(*) FROM journal j LEFT JOIN $events USING (id) WHERE j.version IS NOT NULL AND j.version IS DISTINCT FROM e.version"),
	0, 'every event that was answered is there, at its version');
is($node->safe_psql('postgres', "SELECT count(*) FROM $events LEFT JOIN journal j USING (id) WHERE j.id IS NULL"), 0, 'and none that nobody appended');
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT version - lag(version) OVER (PARTITION BY data ->> 'client' ORDER BY (data ->> 'n')::int) AS step FROM $events) AS steps WHERE step <= 0"),
	0, 'in the order of each session');
is($node->safe_psql('postgres', q{SELECT norikv.get_json('events:meta:busy') ->> 'version'}),
	$node->safe_psql('postgres', "SELECT count(*) FROM $events"), 'the head says how many');
note($node->safe_psql('postgres', "SELECT count(*) || ' events' FROM $events"));

# The example: an account with 100 on it, sixteen sessions that withdraw 7 each time.
my ($code, $stdout, $stderr) = $node->psql('postgres', slurp_file("$ENV{NORIKV_DOCS}/examples/bank_account.sql"), on_error_stop => 1);
is($code, 0, 'the example of a bank account can be made') or diag($stderr);
$node->safe_psql('postgres', q{SELECT bank.open('ann'); SELECT bank.deposit('ann', 100)});
my $err = pgbench(q{
	DO $$ BEGIN PERFORM bank.withdraw('ann', 7); EXCEPTION WHEN check_violation THEN NULL; END $$;
}, sub { }, '-t', 3);
is($err =~ /ERROR/ ? $err : '', '', 'sixteen sessions withdraw at once');
is($node->safe_psql('postgres', q{SELECT bank.account('ann') ->> 'balance'}), 2, 'the account is never overdrawn');
is($node->safe_psql('postgres', q{SELECT count(*) FROM norikv.events('account-ann') WHERE type = 'MoneyWithdrawn'}), 14, 'each withdrawal that was possible happened');

my $request = '00000000-0000-4000-8000-000000000007';
is($node->safe_psql('postgres', "SELECT bank.deposit('ann', 5, '$request'), bank.deposit('ann', 5, '$request')"), '7|7', 'a wish that is repeated happens once');
($code, $stdout, $stderr) = $node->psql('postgres', q{SELECT bank.withdraw('ann', 8)});
like($stderr, qr/account ann has not enough money.*Need 8, have 7/s, 'an overdraft is refused');
($code, $stdout, $stderr) = $node->psql('postgres', q{SELECT bank.deposit('bob', 8)});
like($stderr, qr/account bob is not open/, 'an account must be opened');

done_testing();
