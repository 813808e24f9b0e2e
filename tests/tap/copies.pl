# One store, one server: a second process on it, copies of it, standbys, and what
# pg_dump takes along.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $node = norikv_cluster(
	'original',
	init => { allows_streaming => 1 },
	conf => "log_min_messages = debug1\n");
my $store = $node->data_dir . '/norikv';
$node->safe_psql('postgres', q{SELECT norikv.put('k', 'original')});
my $pid = await_norikvd($node);
my ($owner) = slurp_file("/proc/$pid/cmdline") =~ /(--owner=[^\0]*)/;

# A directory copied as files are, for a cluster that is there but never ran.
sub copied_cluster
{
	my ($name, $from) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);
	$copy->init;
	my $data = $copy->data_dir;
	system_or_bail('rm', '-rf', $data);
	system_or_bail('cp', '-a', $from->data_dir, $data);
	unlink "$data/postmaster.pid";
	$copy->append_conf('postgresql.conf',
		    "port = " . $copy->port . "\nunix_socket_directories = '"
		  . $copy->host . "'\n");
	return $copy;
}

sub refusals
{
	my ($cluster) = @_;
	my @lines = slurp_log($cluster) =~ /(WARNING:  the embedded NoriKV server refuses the store)/g;
	return scalar @lines;
}

# The command that the hint names, as words.
sub adopt_command
{
	my ($cluster) = @_;
	my ($command) = slurp_log($cluster) =~ /HINT:.* run: (\S*norikvd --data-dir=.* --adopt)/;
	return split / /, $command // '';
}

# Runs it, and ends it once it has taken the store over.
sub adopt
{
	my ($cluster) = @_;
	my (undef, @arguments) = adopt_command($cluster);
	stop_process(start_norikvd("$directory/adopt", @arguments, "--listen=unix:$directory/a"));
}

sub error_of
{
	my ($cluster, $sql) = @_;
	my ($out, $error) = finish_session(session($cluster, "$sql;"));
	return $error;
}

# ---- A second norikvd ----

my ($out, $error);
IPC::Run::run([ norikvd_program(), "--data-dir=$store", "--listen=unix:$directory/x", $owner ],
	'<', \undef, '>', \$out, '2>', \$error);
is($? >> 8, 3, 'a second norikvd on the store exits with its own status');
like($error, qr/^error: .*\Q$store\E.*/m, 'and says which directory');
store_answers($node, 'k', 'original', 'the first one is not disturbed');

# ---- Another process is there first ----

$node->stop;
my $other = start_norikvd("$directory/other", "--data-dir=$store", "--listen=unix:$directory/y", $owner);
$node->start;
ok(await_log($node, qr/waits for another process that uses the store/), 'the launcher waits');
like(error_of($node, q{SET statement_timeout = '10s'; SELECT norikv.get('k')}),
	qr/ERROR:  08001:.*HINT:.*Another process uses the store/s, 'and calls say for what');
stop_process($other);
ok(await_norikvd($node), 'it goes on when that process is gone');
ok($node->poll_query_until('postgres', q{SELECT norikv.get('k') = 'original'}), 'with the store');

# ---- A copied data directory ----

my $before = $node->safe_psql('postgres', q{SELECT norikv.put('version', 'x')});
$node->stop;
my $copy = copied_cluster('copy', $node);
$node->start;
$copy->start;
ok(await_log($copy, qr/the embedded NoriKV server refuses the store in "norikv"/),
	'a copied store is refused');
like(error_of($copy, q{SELECT norikv.get('k')}), qr/ERROR:  08001:.*HINT:.*refuses the store/s,
	'calls say so');
# It is tried again and again, and told once.
ok(await(sub { my @tries = slurp_log($copy) =~ /DEBUG:  starting \S*norikvd/g; @tries >= 6 }),
	'it is tried again');
is(refusals($copy), 1, 'and told once');
is(scalar(adopt_command($copy)), 4, 'the hint has a command');
adopt($copy);
ok($copy->poll_query_until('postgres', q{SELECT norikv.get('k') = 'original'}),
	'which makes the copy a store of its own');
is( $copy->safe_psql('postgres', qq{SELECT norikv.put('version', 'y') OPERATOR(norikv.>) '$before'}),
	't', 'its versions are above all there were');
my ($term) = $before =~ m{^(\d+)/};
like($copy->safe_psql('postgres', q{SELECT norikv.put('version', 'z')}),
	qr{^@{[$term + 1]}/}, 'by its term');
$copy->restart;
ok($copy->poll_query_until('postgres', q{SELECT norikv.get('k') = 'original'}),
	'it is adopted for good');
$copy->stop;

# ---- A standby ----

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
ok(-d $standby->data_dir . '/norikv', 'pg_basebackup copies the store');
like(error_of($standby, q{SELECT norikv.get('k')}),
	qr/ERROR:  55000: there is no embedded NoriKV server on a standby/, 'a standby has no server');
is(scalar(norikvds($standby)), 0, 'and no norikvd');
$standby->promote;
ok(await_log($standby, qr/the embedded NoriKV server refuses the store in "norikv"/),
	'after promotion the copied store is refused');
$standby->stop;
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $standby->data_dir . '/norikv');
$standby->start;
ok($standby->poll_query_until('postgres', q{SELECT norikv.get('k') IS NULL}),
	'without it an empty one is made');
$standby->stop;

# ---- pg_dump and restore ----

$node->safe_psql(
	'postgres', q{CREATE ROLE app;
	CREATE SERVER norikv FOREIGN DATA WRAPPER norikv OPTIONS (timeout '3s');
	CREATE SERVER far FOREIGN DATA WRAPPER norikv OPTIONS (nodes '127.0.0.1:1,[::1]:2', consistency 'eventual');
	CREATE USER MAPPING FOR app SERVER far OPTIONS (token 'secret');
	GRANT USAGE ON FOREIGN SERVER norikv TO app; GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO app;
	CREATE TABLE seen (v norikv.version PRIMARY KEY); INSERT INTO seen VALUES ('3/7'), ('any')});
command_ok([ 'pg_dump', '-f', "$directory/dump.sql", $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-q', '-f', "$directory/dump.sql", $node->connstr('restored') ],
	'restore');
is( $node->safe_psql('restored', q{SELECT srvname, ARRAY(SELECT unnest(srvoptions) ORDER BY 1)
		FROM pg_foreign_server ORDER BY 1}),
	"far|{consistency=eventual,\"nodes=127.0.0.1:1,[::1]:2\"}\nnorikv|{timeout=3s}",
	'servers are there with their options');
is($node->safe_psql('restored', q{SELECT umoptions FROM pg_user_mappings}), '{token=secret}',
	'and user mappings');
is($node->safe_psql('restored', q{SELECT has_server_privilege('app', 'norikv', 'USAGE'),
	has_foreign_data_wrapper_privilege('app', 'norikv', 'USAGE'), has_server_privilege('app', 'far', 'USAGE')}),
	't|t|f', 'and grants');
is($node->safe_psql('restored', q{SELECT v FROM seen ORDER BY v}), "3/7\nany", 'and versions');
is($node->safe_psql('restored', q{SELECT norikv.get('k')}), 'original',
	'the keys are not the database\'s: they are there for both');

$node->stop;
done_testing();
