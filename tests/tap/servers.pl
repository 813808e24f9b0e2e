# What SQL says of servers that are no norikvd, or that fail in the middle of
# things: each kind of failure has its SQLSTATE, and a write whose outcome is not
# known is never called failed.
use strict;
use warnings;

use POSIX qw(WNOHANG);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my @fakes;

my $node = norikv_cluster('servers');
$node->safe_psql('postgres', q{CREATE FUNCTION add_one(old jsonb, args jsonb) RETURNS jsonb
	LANGUAGE sql AS $$ SELECT jsonb_build_object('n', coalesce((old->>'n')::int, 0) + 1) $$});

# A fake server with these faults, and a foreign server of that name for it.
sub start_fake
{
	my ($name, @faults) = @_;
	my $log = "$directory/$name.log";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', $log);
		open(STDERR, '>&', \*STDOUT);
		exec("$ENV{NORIKV_TOOLS}/fake_norikv", '--listen', "unix:$directory/$name", @faults)
		  or POSIX::_exit(1);
	}
	push @fakes, $pid;
	await(sub { -e $log && PostgreSQL::Test::Utils::slurp_file($log) =~ /ready/ })
	  or die "the fake server did not get ready";
	$node->safe_psql('postgres', "CREATE SERVER $name FOREIGN DATA WRAPPER norikv OPTIONS
		(nodes 'unix:$directory/$name', timeout '500ms', attempt_timeout '200ms')");
	return;
}

# What SQL says on that server: rows, or the error with its SQLSTATE.
sub on_server
{
	my ($name, $sql) = @_;
	my ($status, $out, $error) = $node->psql(
		'postgres', "SET norikv.server = '$name'; $sql",
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $status == 0 ? $out : $error;
}

sub fails
{
	my ($name, $sql, $pattern, $what) = @_;
	like(on_server($name, $sql), qr/ERROR:  $pattern/s, $what);
	return;
}

# A server of NoriKV's public protocol and nothing more
start_fake('plain', '--ignore-delete-condition', 1, '--other-put-version', 1);
is(on_server('plain', q{SELECT norikv.put('k', 'v') IS NOT NULL; SELECT norikv.get('k');
	SELECT norikv.get('none') IS NULL; SELECT expires_at IS NULL FROM norikv.entry('k')}),
	"t\nv\nt\nt", 'reads and writes');
is(on_server('plain', q{SELECT norikv.mput('{a,b,c}', '{1,2,3}'); SELECT norikv.mdelete('{c,d}');
	SELECT ordinality, value FROM norikv.mget('{a,c,b}')}),
	"3\n1\n1|1\n2|\n3|2", 'many keys without the extension service');
is(on_server('plain', q{SELECT norikv.update('n', 'add_one(jsonb,jsonb)');
	SELECT norikv.update('n', 'add_one(jsonb,jsonb)')}),
	qq({"n": 1}\n{"n": 2}), 'update()');
is(on_server('plain', q{SELECT norikv.put('k', 'w', if_match => (norikv.entry('k')).version) IS NOT NULL;
	SELECT norikv.try_put('k', 'x', if_match => '9/999') IS NULL;
	SELECT norikv.try_put('k', 'x', if_absent => true) IS NULL; SELECT norikv.get('k')}),
	"t\nt\nt\nw", 'conditions');
fails('plain', q{SELECT norikv.put('k', 'x', if_match => '9/999')},
	'40001.*DETAIL:  Expected version 9/999; the server does not tell',
	'a version that is not told is not called absent');
fails('plain', q{SELECT norikv.put('k', 'x', if_absent => true)}, '23505', 'a key that exists');
fails('plain', q{SELECT norikv.scan()}, '0A000: server "plain" does not support scan', 'no scan');
fails('plain', q{SELECT norikv.key_count()}, '0A000', 'no count');
is(on_server('plain', q{SELECT name IS NULL, atomic_cas, scan FROM norikv.server_info()}),
	't|f|f', 'server_info() of a server without Info');

# No answer in time: a read failed, a write may have been done.
start_fake('silent', '--hang', -1);
fails('silent', q{SELECT norikv.get('k')}, 'NK003: get of key "k" on server "silent"', 'a read in time');
fails('silent', q{SELECT norikv.mget('{k}')}, 'NK003', 'reads in time');
fails('silent', q{SELECT norikv.put('k', 'v')},
	'08007: outcome of put of key "k" on server "silent" is not known', 'a write without an answer');
fails('silent', q{SELECT norikv.try_put('k', 'v')}, '08007', 'and one that may fail');
fails('silent', q{SELECT norikv.delete('k')}, '08007', 'a delete without an answer');
fails('silent', q{SELECT norikv.mput('{k,l}', '{v,w}')}, '08007', 'writes without an answer');
is($node->safe_psql('postgres', q{SELECT unknown FROM norikv.stat_calls
	WHERE server = 'silent' AND operation IN ('put', 'delete', 'commit') ORDER BY operation}),
	"1\n1\n2", 'unknown outcomes are counted');

# A server that says that it does not know, in its ways
start_fake('quorum', '--commit-timeout', -1);
fails('quorum', q{SELECT norikv.put('k', 'v')}, '08007', 'a lost quorum');
start_fake('deadline', '--timeout-expired', -1);
fails('deadline', q{SELECT norikv.put('k', 'v')}, '08007', 'a deadline of the server');

# A server that dies in the middle of a call; then nobody is there.
start_fake('dying', '--die', 1);
fails('dying', q{SELECT norikv.get('k')}, '08006: connection to server "dying" was lost', 'a lost read');
fails('dying', q{SELECT norikv.get('k')}, '08001: could not connect', 'nobody there');
fails('dying', q{SELECT norikv.put('k', 'v')}, '08001', 'nobody there to write to: nothing was sent');

# Answers that are none, limits, and a server that will not serve
start_fake('garbled', '--garbage', -1);
fails('garbled', q{SELECT norikv.get('k')}, 'HV000', 'garbage for an answer');
start_fake('narrow', '--too-large', 10);
fails('narrow', q{SELECT norikv.put('k', repeat('v', 11))}, '53400: put of key "k" exceeds a limit', 'a value too large');
fails('narrow', q{SELECT norikv.mput('{k,l}', ARRAY['v', repeat('v', 11)])},
	'53400: commit of key "l".*CONTEXT:.*after 1 keys', 'one of many values too large');
is(on_server('narrow', q{SELECT norikv.get('k')}), 'v', 'the one before it is there');
start_fake('idle', '--not-serving', 1);
fails('idle', q{SELECT norikv.ping()}, '0800[16].*not serving', 'a server that does not serve');

$node->stop;
done_testing();

END
{
	my $status = $?;
	kill 'KILL', @fakes;
	waitpid($_, 0) for @fakes;
	$? = $status;
}
