# Sixty-four buyers for fifty seats: some pay, some change their mind, some vanish, some
# pay twice, sessions are terminated and the server is killed. Another program, which
# knows the documents but not the holds, works on the same items. Nothing is sold twice,
# and in the end all stock is accounted for.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use NorikvTest;

my ($buyers, $seats, $times) = (64, 50, rounds(60));
my $node = norikv_cluster('inventory', conf => "max_connections = 120\n");

$node->safe_psql(
	'postgres', q{
	CREATE TABLE journal (reservation uuid PRIMARY KEY, quantity int, sold bool, unknown bool DEFAULT false);

	-- What a call did is known only if its answer came: NULL stays where it did not.
	CREATE PROCEDURE buy(item text) LANGUAGE plpgsql AS $$
	DECLARE
		dice float := random();
		wanted int := 1 + floor(random() * 2);
		hold interval := CASE WHEN dice < 0.25 THEN '30 milliseconds' ELSE '1 hour' END;
		mine uuid;
	BEGIN
		BEGIN
			mine := norikv.inventory_reserve(item, wanted, hold);
		EXCEPTION WHEN SQLSTATE 'NK001' OR connection_exception OR transaction_resolution_unknown THEN
			RETURN;
		END;
		INSERT INTO journal VALUES (mine, wanted);
		COMMIT;
		IF dice < 0.10 THEN
			PERFORM pg_sleep(0.05);           -- too late, most often
			CALL settle(mine, true);
		ELSIF dice < 0.25 THEN
			UPDATE journal SET sold = false WHERE reservation = mine;
			COMMIT;                           -- vanishes
		ELSIF dice < 0.35 THEN
			CALL settle(mine, true);
			CALL settle(mine, true);          -- pays twice
		ELSE
			CALL settle(mine, false);
			CALL settle(mine, dice < 0.5);    -- changes the mind, and once more
		END IF;
	END $$;

	-- A block with EXCEPTION cannot COMMIT.
	CREATE PROCEDURE settle(mine uuid, pays bool) LANGUAGE plpgsql AS $$
	BEGIN
		BEGIN
			IF pays THEN
				PERFORM norikv.inventory_commit(mine);
			ELSE
				PERFORM norikv.inventory_release(mine);
			END IF;
			UPDATE journal SET sold = pays WHERE reservation = mine;
		EXCEPTION
			WHEN no_data_found THEN
				UPDATE journal SET sold = false WHERE reservation = mine AND sold IS NULL AND NOT unknown;
			WHEN connection_exception OR transaction_resolution_unknown THEN
				UPDATE journal SET unknown = true WHERE reservation = mine;
		END;
		COMMIT;
	END $$;

	-- The other program: reserve, commit and release as they are known elsewhere.
	CREATE FUNCTION other_change(item text, quantity_by int, reserved_by int) RETURNS bool LANGUAGE plpgsql AS $$
	DECLARE
		found record;
		document jsonb;
	BEGIN
		LOOP
			SELECT value::jsonb AS document, version INTO found FROM norikv.mget(ARRAY['inventory:' || item]);
			document := found.document;
			IF reserved_by > 0 AND (document ->> 'quantity')::int - (document ->> 'reserved')::int < reserved_by THEN
				RETURN false;
			END IF;
			document := document || jsonb_build_object(
				'quantity', (document ->> 'quantity')::int + quantity_by,
				'reserved', (document ->> 'reserved')::int + reserved_by,
				'lastUpdated', floor(extract(epoch FROM clock_timestamp()) * 1000));
			EXIT WHEN norikv.try_put('inventory:' || item, document, if_match => found.version) IS NOT NULL;
			PERFORM pg_sleep(random() * 0.01);
		END LOOP;
		RETURN true;
	END $$;

	CREATE PROCEDURE other_settle(item text, mine uuid, wanted int, pays bool, dies bool) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM other_change(item, CASE WHEN pays THEN -wanted ELSE 0 END, -wanted);
		UPDATE journal SET sold = pays WHERE reservation = mine;
		COMMIT;
		IF NOT dies THEN
			PERFORM pg_sleep(random() * 0.01);
			PERFORM norikv.delete('inventory:reservation:' || mine);
		END IF;
	END $$;

	-- Settles what was reserved here; where it dies in the middle the hold runs out later.
	CREATE PROCEDURE other_buys_ours(item text) LANGUAGE plpgsql AS $$
	DECLARE
		dies bool := random() < 0.3;
		mine uuid;
	BEGIN
		BEGIN
			mine := norikv.inventory_reserve(item, 1, CASE WHEN dies THEN '2 seconds' ELSE '1 hour' END::interval);
		EXCEPTION WHEN SQLSTATE 'NK001' THEN
			RETURN;
		END;
		INSERT INTO journal VALUES (mine, 1);
		COMMIT;
		CALL other_settle(item, mine, 1, random() < 0.2, dies);
	END $$;

	-- Reserves for itself; what it has reserved is settled there, and here.
	CREATE PROCEDURE other_buys(item text) LANGUAGE plpgsql AS $$
	DECLARE
		mine uuid := gen_random_uuid();
	BEGIN
		IF NOT other_change(item, 0, 1) THEN
			RETURN;
		END IF;
		PERFORM norikv.put('inventory:reservation:' || mine,
			jsonb_build_object('sku', item, 'quantity', 1, 'createdAt', 1), ttl => '10 minutes');
		INSERT INTO journal VALUES (mine, 1);
		COMMIT;
		IF random() < 0.5 THEN
			CALL settle(mine, random() < 0.3);
		ELSE
			CALL other_settle(item, mine, 1, random() < 0.3, false);
		END IF;
	END $$;});

# Runs scripts, each with a weight, and what disturbs them meanwhile.
sub rush
{
	my ($disturb, @scripts) = @_;
	my @files;
	for my $script (@scripts)
	{
		my $file = PostgreSQL::Test::Utils::tempdir() . '/' . @files . '.sql';
		append_to_file($file, $script->[1]);
		push @files, '-f', "$file\@$script->[0]";
	}
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ 'pgbench', '-n', '-c', $buyers, '-j', 2, '-t', $times, @files, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err);
	$disturb->($run);
	$run->finish;
	return $err;
}

# Waits until every hold has run out, settles what is left, and counts.
sub settle_accounts
{
	my ($item, $name) = @_;
	$node->safe_psql('postgres', 'SELECT pg_sleep(2.1)');
	is($node->safe_psql('postgres', "SELECT norikv.inventory_available('$item') >= 0"), 't', "$name: what is there, is there");
	my ($sold, $unknown) = split /\|/, $node->safe_psql('postgres', q{
		SELECT coalesce(sum(quantity) FILTER (WHERE sold), 0), coalesce(sum(quantity) FILTER (WHERE sold IS NULL), 0) FROM journal});
	$node->safe_psql('postgres', "SELECT norikv.inventory_restock('$item', 0)");
	my ($quantity, $reserved) = split /\|/, $node->safe_psql('postgres',
		"SELECT d ->> 'quantity', d ->> 'reserved' FROM norikv.get_json('inventory:$item') d");
	is($reserved, $node->safe_psql('postgres', q{
		SELECT coalesce(sum((value::jsonb ->> 'quantity')::int), 0) FROM norikv.scan('inventory:reservation:')}),
		"$name: what is reserved has its records");
	cmp_ok($sold, '<=', $seats, "$name: no seat is sold twice");
	cmp_ok($seats - $quantity, '>=', $sold, "$name: what was sold is off the stock");
	cmp_ok($seats - $quantity, '<=', $sold + $unknown, "$name: and nothing else");
	note("$name: $sold sold, $unknown not known, $quantity left, $reserved reserved");
	$node->safe_psql('postgres', q{
		SELECT norikv.inventory_release(replace(key, 'inventory:reservation:', '')::uuid) FROM norikv.scan('inventory:reservation:')});
	is($node->safe_psql('postgres', "SELECT norikv.inventory_available('$item')"), $quantity, "$name: all that is left can be bought");
	$node->safe_psql('postgres', 'TRUNCATE journal');
}

# Sessions are terminated wherever they are, and the server is killed.
$node->safe_psql('postgres', "SELECT norikv.inventory_create('seat', $seats)");
my $killed = 0;
rush(
	sub {
		my ($run) = @_;
		for my $round (1 .. 20)
		{
			usleep(50_000);
			last unless $run->pumpable;
			$killed += $node->safe_psql('postgres', q{
				SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
					WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
					ORDER BY random() LIMIT 2) AS unlucky});
			if ($round == 5)
			{
				my $norikvd = await_norikvd($node);
				kill_9($norikvd);
				await_norikvd($node, $norikvd);
			}
			$run->pump_nb;
		}
	},
	[ 1, "CALL buy('seat');" ]);
cmp_ok($killed, '>', 0, 'sessions were terminated in the middle');
settle_accounts('seat', 'buyers');

$node->safe_psql('postgres', "SELECT norikv.inventory_create('box', $seats)");
my $err = rush(sub { }, [ 3, "CALL buy('box');" ], [ 1, "CALL other_buys_ours('box');" ]);
is($err =~ /ERROR/ ? $err : '', '', 'another program that settles ours: no errors');
settle_accounts('box', 'another program settles ours');

$node->safe_psql('postgres', "SELECT norikv.inventory_create('stall', $seats)");
$err = rush(sub { }, [ 3, "CALL buy('stall');" ], [ 1, "CALL other_buys('stall');" ]);
is($err =~ /ERROR/ ? $err : '', '', 'another program with reservations of its own: no errors');
settle_accounts('stall', 'another program reserves');

done_testing();
