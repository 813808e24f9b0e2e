# The life of the embedded server: it starts with PostgreSQL, comes back when it
# dies, keeps what it acknowledged, and ends with PostgreSQL however that ends.
use strict;
use warnings;

use IO::Socket::INET;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

# The tests' own default would leave PostgreSQL down after a crash.
my $node = norikv_cluster('embedded', conf => "restart_after_crash = on\n");
my $data = $node->data_dir;
my $pid = await_norikvd($node);
my $writes = 0;

ok($pid, 'norikvd runs');

# A write that is acknowledged, and every one before it, must be there.
sub write_and_check
{
	my ($what) = @_;
	$writes++;
	$node->safe_psql('postgres', "SELECT norikv.put('write:$writes', 'value $writes')");
	my $expected = join "\n", map { "write:$_|value $_" } sort (1 .. $writes);
	is($node->safe_psql('postgres', "SELECT key, value FROM norikv.scan('write:')"),
		$expected, "$what: every acknowledged write is there");
}

sub none_left
{
	my ($what) = @_;
	ok(await(sub { !norikvds($node) }), "$what leaves no norikvd");
}

write_and_check('at first');

# ---- What norikvd has, and has not, of PostgreSQL's ----

is(sprintf('%04o', (stat "$data/norikv/run")[2] & 07777),
	'0700', 'only the owner can enter the directory of the socket');
my @descriptors = map { readlink($_) // '' } glob "/proc/$pid/fd/*";
my @foreign = grep { m{^\Q$data\E/} && !m{^\Q$data\E/norikv(/|$)} } @descriptors;
is("@foreign", '', 'norikvd has no file of PostgreSQL open');
my ($postmaster) = slurp_file("$data/postmaster.pid") =~ /^(\d+)/;
my %sockets =
  map { $_ => 1 } grep { /^socket:/ } map { readlink($_) // '' } glob "/proc/$postmaster/fd/*";
is(scalar(grep { $sockets{$_} } @descriptors), 0, 'norikvd has no socket of the postmaster');
my $output = readlink("/proc/$pid/fd/2");
is(scalar(grep { $_ eq $output } @descriptors), 2, 'its output is all it has of the launcher');
unlike(slurp_file("/proc/$pid/maps"), qr{norikv\.so|/SYSV|PostgreSQL\.},
	"norikvd has no memory of PostgreSQL's");

# The postmaster signals the process groups of its children: norikvd is in none.
my (undef, $group, $session) = slurp_file("/proc/$pid/stat") =~ /\) \S (\d+) (\d+) (\d+)/;
is("$group $session", "$pid $pid", 'norikvd has a session of its own');

# ---- norikvd dies ----

for my $round (1 .. rounds(30))
{
	# One that does not last a second is not started again at once.
	sleep 2;
	kill_9($pid);
	write_and_check("kill -9 of norikvd, round $round");
	my $next = await_norikvd($node, $pid);
	isnt($next, $pid, 'it is another norikvd now');
	$pid = $next;
}
like(slurp_log($node), qr/embedded NoriKV server \(PID \d+\) ended\n.*terminated by signal 9/,
	'the log says how it ended');

kill 'TERM', $pid;
$pid = await_norikvd($node, $pid);
write_and_check('SIGTERM to norikvd');

# ---- Settings that a reload brings ----

my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "norikv.embedded_listen = '127.0.0.1:0'\n");
$node->reload;
my $next = await_norikvd($node, $pid);
isnt($next, $pid, 'a changed setting takes a new norikvd');
$pid = $next;
ok(await_log($node, qr/restarting the embedded NoriKV server with new settings/, $offset),
	'the log says why');
like(slurp_file("/proc/$pid/cmdline"), qr/--also-listen=127\.0\.0\.1:0\0/, 'which has the setting');
write_and_check('a reload');
$node->reload;
ok( $node->poll_query_until('postgres', 'SELECT norikv.ping() IS NOT NULL'),
	'a reload that changes nothing ...');
is((norikvds($node))[0], $pid, '... restarts nothing');

# An address that cannot be had is told of, and the store is served without it.
my $taken = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
$offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "norikv.embedded_listen = 'nowhere, 127.0.0.1:" . $taken->sockport . "'\n");
$node->reload;
$pid = await_norikvd($node, $pid);
write_and_check('an address that is in use');
ok(await_log($node, qr/WARNING:  norikvd: cannot listen on 127\.0\.0\.1:\d+: /, $offset), '... which is told');
ok(await_log($node, qr/WARNING:  norikvd: cannot listen on "nowhere": /, $offset), '... and so is one that is none');
close $taken;
ok(await_log($node, qr/LOG:  norikvd: serving on 127\.0\.0\.1:\d+, too/, $offset), 'it is served once it is free');

# A program that is not there is no endless loop, and mended by a reload.
$offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "norikv.norikvd_path = '/nonexistent/norikvd'\n");
$node->reload;
ok(await_log($node, qr{could not find the embedded NoriKV server, "/nonexistent/norikvd"}, $offset),
	'a program that does not exist is named');
like(slurp_log($node, $offset), qr/HINT:.*"norikv\.norikvd_path"/, 'so is the setting');
$node->append_conf('postgresql.conf', "norikv.norikvd_path = ''\n");
$node->reload;
$pid = await_norikvd($node);
write_and_check('a wrong path and a reload');

# ---- Processes of PostgreSQL die ----

sub await_postgres
{
	ok($node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'PostgreSQL is back');
}

my $victim = session($node, 'SELECT pg_sleep(600)');
kill_9(await_backend($node, 'SELECT pg_sleep(600)%'));
finish_session($victim);
await_postgres();
write_and_check('kill -9 of a backend');
is(scalar(norikvds($node)), 1, 'there is one norikvd');

my ($launcher) = slurp_file("/proc/" . await_norikvd($node) . "/status") =~ /^PPid:\s+(\d+)/m;
$offset = -s $node->logfile;
kill_9($launcher);
ok(await_log($node, qr/database system is ready to accept connections/, $offset),
	'kill -9 of the launcher restarts PostgreSQL');
await_postgres();
write_and_check('kill -9 of the launcher');
ok(await(sub { norikvds($node) == 1 }), 'there is one norikvd');

# ---- PostgreSQL stops ----

for my $mode (qw(fast smart immediate))
{
	# A session that is there makes the launcher wait for its end.
	my $idle = session($node, "SELECT norikv.ping() IS NOT NULL; SELECT pg_sleep(600)");
	my $backend = await_backend($node, 'SELECT pg_sleep(600)%');
	if ($mode eq 'smart')
	{
		$node->safe_psql('postgres', "SELECT pg_terminate_backend($backend)");
		finish_session($idle);
	}
	$node->stop($mode);
	finish_session($idle) unless $mode eq 'smart';
	none_left("pg_ctl stop -m $mode");
	$node->start;
	write_and_check("pg_ctl stop -m $mode");
}

($postmaster) = slurp_file("$data/postmaster.pid") =~ /^(\d+)/;
$pid = await_norikvd($node);
my @children = grep { -e && slurp_file($_) =~ /^PPid:\s+$postmaster$/m } glob '/proc/[0-9]*/status';
kill_9($postmaster);
ok(gone($pid), 'kill -9 of the postmaster ends norikvd');
none_left('kill -9 of the postmaster');
ok(await(sub { !grep { -e } @children }), 'and no other process of PostgreSQL');
$node->{_pid} = undef;
$node->start;
write_and_check('kill -9 of the postmaster');

# Before the store is open, and while it is: no time is a bad time to stop.
for my $round (1 .. rounds(50))
{
	$node->stop($round % 2 ? 'fast' : 'immediate');
	$node->start;
	select undef, undef, undef, 0.02 * ($round % 10);
}
write_and_check('stopped while it was starting');
$node->stop('fast');
none_left('the end');

IPC::Run::run([ 'postgres', '--single', '-D', $data, 'postgres' ],
	'<', \"SELECT norikv.get('k');\n", '>', \my $ignored, '2>', \my $complaint);
like($complaint, qr/ERROR:  there is no embedded NoriKV server in single-user mode/,
	'single-user mode has none, and says so');
unlike(slurp_log($node), qr/PANIC|TRAP:|signal 11|signal 6/, 'nothing crashed of its own');

done_testing();
