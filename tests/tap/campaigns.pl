# Campaigns over what happens to PostgreSQL around them: shutdowns and a keeper's end,
# rows that somebody has written by hand, roles that are gone, commands that hang, no room
# for background workers.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
start_norikvd("$directory/norikvd.log", "--data-dir=$directory/store", "--listen=unix:$directory/s");
my $node = norikv_cluster('main', server => "nodes 'unix:$directory/s', timeout '3s'");
$node->safe_psql('postgres', q{
	CREATE TABLE log (n serial, what text, who text DEFAULT session_user);
	GRANT INSERT ON log TO PUBLIC;
	GRANT USAGE ON SEQUENCE log_n_seq TO PUBLIC});

sub holds
{
	my ($sql) = @_;
	return await(sub { $node->safe_psql('postgres', "SELECT $sql") eq 't' });
}

sub token
{
	return $node->safe_psql('postgres', q{SELECT token FROM norikv.locks_held WHERE kind = 'campaign' AND name LIKE '%main%'});
}

# A role that is gone, and another one of its name: nothing of the first is run as it.
$node->safe_psql('postgres', q{
	CREATE ROLE voter LOGIN;
	GRANT USAGE ON FOREIGN SERVER norikv TO voter;
	SET ROLE voter;
	SELECT norikv.campaign('voter', 'node-1', '1 hour', 'INSERT INTO log (what) VALUES (''voter'')')});
ok(holds(q{count(*) = 1 FROM log WHERE what = 'voter'}), 'a role is elected');
$node->safe_psql('postgres', q{DROP OWNED BY voter; DROP ROLE voter; CREATE ROLE voter SUPERUSER LOGIN});

# Rows that campaign() would not have written
$node->safe_psql('postgres', q{
	INSERT INTO norikv.campaigns VALUES
		('norikv', '', 'command', 'node-1', '2 s', CURRENT_USER::regrole, 'INSERT INTO log (what) VALUES (''cut'') --' || repeat(' ', 4096), NULL),
		('norikv', '', 'node', repeat('n', 257), '2 s', CURRENT_USER::regrole, NULL, NULL),
		('norikv', '', repeat('e', 513), 'node-1', '2 s', CURRENT_USER::regrole, NULL, NULL),
		('norikv', '', 'ttl', 'node-1', '2 ms', CURRENT_USER::regrole, NULL, NULL),
		('nowhere', '', 'server', 'node-1', '2 s', CURRENT_USER::regrole, NULL, NULL);
	SELECT norikv.campaign('main', 'node-1', '1 hour', 'INSERT INTO log (what) VALUES (''main'')')});
ok(holds(q{norikv.is_leader('main')}), 'a campaign leads');
# One of a tenant's, whose keys are the tenant's.
my $as_tenant = q{SET norikv.tenant = 'acme'; SELECT norikv.is_leader('theirs'), norikv.leader('theirs')};
$node->safe_psql('postgres', q{SET norikv.tenant = 'acme'; SELECT norikv.campaign('theirs', 'of acme', '1 hour')});
ok(await(sub { $node->safe_psql('postgres', $as_tenant) eq 't|of acme' }), 'a campaign of a tenant leads');

# Where PostgreSQL shuts down, others need not wait for an hour.
my $before = token();
my $offset = -s $node->logfile;
# As an interrupted DROP DATABASE leaves it: nobody can connect to it.
$node->safe_psql('postgres', 'CREATE DATABASE half_dropped');
$node->safe_psql('postgres', q{UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half_dropped'});
$node->restart;
ok(holds(q{norikv.is_leader('main')}), 'leadership is given back by a shutdown, and won again');
ok(await(sub { $node->safe_psql('postgres', $as_tenant) eq 't|of acme' }), '... by the tenant, too');
is($node->safe_psql('postgres', q{SELECT norikv.get('tenant:acme:leader:theirs'), norikv.leader('theirs') IS NULL}), 'of acme|t', '... among its own keys');
$node->safe_psql('postgres', q{SET norikv.tenant = 'acme'; SELECT norikv.resign('theirs')});
ok(holds(q{NOT norikv.has_key('tenant:acme:leader:theirs')}), '... until it resigns');
cmp_ok(token(), '>', $before, '... with a greater token');
ok(holds(q{count(*) = 2 FROM log WHERE what = 'main'}), '... and its command is run again');
is(() = slurp_log($node, $offset) =~ /could not be found again/g, 6, 'campaigns that cannot be made are told of');
is($node->safe_psql('postgres', q{SELECT count(*) FROM log WHERE what = 'cut' OR what = 'voter' AND n > 1}), '0', 'nothing is run of half a command, nor as a role that is not the one that campaigned');
is($node->safe_psql('postgres', q{SELECT norikv.is_leader('voter')}), 'f', 'a role that is gone does not campaign');
unlike(slurp_log($node, $offset), qr/cannot connect to invalid database/, 'databases that are half dropped are left alone');
my ($dump) = run_command([ 'pg_dump', '-d', $node->connstr('postgres'), '-t', 'norikv.campaigns' ]);
like($dump, qr/\tmain\tnode-1/, 'rows are dumped');
unlike($dump, qr/\tvoter\tnode-1/, '... but not those of a role that is gone');
$node->safe_psql('postgres', q{DELETE FROM norikv.campaigns WHERE election <> 'main'});

# Where only the keeper ends, its successor goes on leading.
$before = token();
my $keeper = keeper_of($node) || die 'there is no keeper';
kill 'TERM', $keeper;
gone($keeper);
is(token(), $before, 'leadership outlives a keeper');
ok(holds(q{norikv.is_leader('main')}), '... all the time');

# A command that hangs, while leadership is lost and won until there is no room to note it
$node->safe_psql('postgres', q{
	SELECT norikv.resign('main');
	SELECT norikv.campaign('hangs', 'node-1', '1 s', NULL, 'SELECT pg_advisory_xact_lock(1); INSERT INTO log (what) VALUES (''hangs'')')});
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(1)');
for my $change (1 .. 9)
{
	holds(q{norikv.is_leader('hangs')}) or fail("won $change");
	# The token first: a renewal that finds the key gone ends the lease.
	my $had = $node->safe_psql('postgres', q{SELECT token FROM norikv.locks_held WHERE name LIKE '%hangs'; SELECT norikv.delete('leader:hangs')});
	($had) = $had =~ /^(\d+)/;
	holds(qq{NOT EXISTS (SELECT FROM norikv.locks_held WHERE token = $had)}) or fail("lost $change");
}
holds(q{norikv.is_leader('hangs')});
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'norikv election'}), '1', 'one command at a time');
$offset = -s $node->logfile;
$node->safe_psql('postgres', q{SELECT norikv.resign('hangs')});
ok(holds(q{NOT norikv.has_key('leader:hangs')}), 'keys are given up while a command hangs');
$holder->quit;
ok(holds(q{count(*) >= 8 FROM log WHERE what = 'hangs'}), 'what was noted is run in the end');
$node->safe_psql('postgres', q{SELECT norikv.campaign('after', 'node-1', '2 s')});
ok(holds(q{norikv.is_leader('after')}), 'and others campaign');
unlike(slurp_log($node, $offset), qr/terminated by signal/, 'no process has crashed');

# Another PostgreSQL that stands, too, hears of a resignation: it need not look and look.
my $follower = norikv_cluster('follower', conf => "norikv.embedded = off\n");
my $proxy = start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$directory/p", "--upstream=unix:$directory/s");
$follower->safe_psql('postgres', qq{
	CREATE SERVER norikv FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/p', timeout '3s');
	SELECT norikv.campaign('heard', 'node-2', '1 hour')});
ok(await(sub { $follower->safe_psql('postgres', q{SELECT norikv.is_leader('heard')}) eq 't' }), 'one leads');
$node->safe_psql('postgres', q{SELECT norikv.campaign('heard', 'node-1', '1 hour')});
for my $round (1 .. 2)
{
	$follower->safe_psql('postgres', q{SELECT norikv.resign('heard')});
	ok(holds(q{norikv.is_leader('heard')}), "round $round: who resigns is followed, long before the lease is over");
	$follower->safe_psql('postgres', q{SELECT norikv.campaign('heard', 'node-2', '1 hour')});
	sleep 4;
	$node->safe_psql('postgres', q{SELECT norikv.resign('heard')});
	ok(await(sub { $follower->safe_psql('postgres', q{SELECT norikv.is_leader('heard')}) eq 't' }), '... and the other way round');
	$node->safe_psql('postgres', q{SELECT norikv.campaign('heard', 'node-1', '1 hour')});
}
stop_process($proxy);
my ($calls) = slurp_file("$directory/proxy.log") =~ /\bcalls=(\d+)/;
cmp_ok($calls, '<', 35, "... without looking all the time: $calls calls");
$follower->stop;
$node->safe_psql('postgres', q{SELECT norikv.resign('heard')});

# No room for a background worker: it is said, and tried again.
$node->append_conf('postgresql.conf', "max_worker_processes = 3\n");
$offset = -s $node->logfile;
$node->restart;
ok(await_log($node, qr/WARNING:  campaigns cannot be found again: there is no room/, $offset), 'campaigns that find no room for a process are told of');
$node->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$node->restart;
ok(holds(q{norikv.is_leader('after')}), '... and are found again once there is');

$node->stop;
done_testing();
