# Many sessions miss one key: one of them asks the store. Whatever becomes of that one,
# another takes over, and nobody hangs.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $node = norikv_cluster(
	'flight',
	conf => "max_connections = 130\nrestart_after_crash = on\nnorikv.cache_watch = off\n",
	server => "nodes 'unix:$directory/s', timeout '50s', attempt_timeout '50s'");
my $norikvd = start_norikvd("$directory/log", '--engine=memory', "--listen=unix:$directory/s");

# Calls that asked for values, those among them that failed, since the last look.
sub calls
{
	my $calls = sql($node, q{SELECT coalesce(sum(calls), 0), coalesce(sum(errors), 0)
		FROM norikv.stat_calls WHERE operation IN ('get', 'mget')});
	sql($node, 'SELECT norikv.stat_reset()');
	return $calls;
}

# So many sessions that wait in cache_get of a key.
sub await_waiting
{
	my ($wanted, $key) = @_;
	return await(
		sub {
			sql($node, qq{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension'
				AND query LIKE '%cache_get(''$key''%' AND pid <> pg_backend_pid()}) == $wanted;
		});
}

# Sessions that look for a key while the server stands still; one of them came first. In a
# short time they need not all meet.
sub missing
{
	my ($key, $first, $others, %options) = @_;
	my $get = "SELECT norikv.cache_get('$key')";
	my %missing;
	sql($node, "SELECT norikv.put('$key', 'value of $key')") unless $options{absent};
	sql($node, 'SELECT norikv.cache_invalidate_all()');
	calls();
	kill 'STOP', $norikvd;
	$missing{first} = session($node, "SELECT /* first */ norikv.cache_get('$key')") if $first;
	await_waiting(1, $key) if $first;
	$missing{pid} = await_backend($node, 'SELECT /* first */%') if $first;
	$missing{others} = [ map { session($node, $get) } 1 .. $others ];
	ok($options{short} || await_waiting($first + $others, $key), "$key: they wait");
	return \%missing;
}

# What the others got: each of them the value.
sub all_got
{
	my ($missing, $value, $what) = @_;
	my @answers = map { join ' ', finish_session($_) } @{ $missing->{others} };
	my @wrong = grep { $_ ne "$value " } @answers;
	is("@wrong", '', "$what: all got the value");
	return;
}

# ---- One call ----

my $missing = missing('hot', 0, rounds(100) < 100 ? 30 : 100);
kill 'CONT', $norikvd;
all_got($missing, 'value of hot', 'many miss a key');
is(calls(), '1|0', 'one call for all of them');

$missing = missing('none', 0, 20, absent => 1);
kill 'CONT', $norikvd;
all_got($missing, '', 'many miss an absent key');
is(calls(), '1|0', 'one call for all of them');

# ---- The one that asks is gone ----

for my $end ('cancel', 'terminate')
{
	$missing = missing($end, 1, 20);
	sql($node, "SELECT pg_${end}_backend($missing->{pid})");
	my (undef, $error) = finish_session($missing->{first});
	like($error, qr/57014|57P01/, "$end: the one that asks is told");
	ok(await_waiting(20, $end), "$end: the others wait on");
	kill 'CONT', $norikvd;
	all_got($missing, "value of $end", $end);
	is(calls(), '2|1', "$end: one other has asked");
}

# Cancels at random, of those who ask and of those who wait.
$missing = missing('chain', 1, 5);
for (1 .. 6)
{
	sql($node, q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE query LIKE '%cache_get(''chain''%' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1});
}
finish_session($missing->{first});
kill 'CONT', $norikvd;
finish_session($_) for @{ $missing->{others} };
is(sql($node, q{SELECT norikv.cache_get('chain')}), 'value of chain', 'many were cancelled: the next asks');

# A waiter's own cancel reaches it while it waits.
$missing = missing('patient', 1, 1);
my $waiter = sql($node, q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT norikv.cache_get(''patient''%'});
sql($node, "SELECT pg_cancel_backend($waiter)");
like((finish_session($missing->{others}[0]))[1], qr/57014/, 'one that waits can be cancelled');
kill 'CONT', $norikvd;
is(join(' ', finish_session($missing->{first})), 'value of patient ', 'and the one it waited for is not');

# An error of the server's: everybody gets an answer of their own.
$node->safe_psql('postgres', q{ALTER SERVER norikv OPTIONS (SET timeout '1s', SET attempt_timeout '500ms')});
$missing = missing('error', 0, 10, short => 1);
my @errors = map { (finish_session($_))[1] } @{ $missing->{others} };
is(scalar(grep { /NK003|08001|08006/ } @errors), 10, 'the server does not answer: each is told');
kill 'CONT', $norikvd;
is(sql($node, q{SELECT norikv.cache_get('error')}), 'value of error', 'and it goes on');
$node->safe_psql('postgres', q{ALTER SERVER norikv OPTIONS (SET timeout '50s', SET attempt_timeout '50s')});

# ---- Overtaken ----

# An answer that comes late, from before a write: who asked gets it, and it is not kept,
# also where the write went by another address. Who comes after the write asks again.
start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$directory/p",
	"--upstream=unix:$directory/s", '--only=MultiGet', '--delay-answer=1:1000');
$node->safe_psql('postgres', "CREATE SERVER late FOREIGN DATA WRAPPER norikv
	OPTIONS (nodes 'unix:$directory/p', timeout '50s', attempt_timeout '50s')");
for my $write (q{SELECT norikv.put('overtaken', 'newer')}, q{SELECT norikv.delete('overtaken')},
	q{SELECT norikv.cache_put('overtaken', 'newer')}, q{SELECT norikv.mput('{overtaken,b}', '{newer,b}')})
{
	sql($node, q{SELECT norikv.put('overtaken', 'older')});
	my $early = session($node, q{SET norikv.server = 'late'; SELECT norikv.cache_get('overtaken');});
	ok(await_waiting(1, 'overtaken'), "$write: a reading is under way");
	PostgreSQL::Test::Utils::system_or_bail('sleep', '0.2');
	sql($node, $write);
	my $value = sql($node, q{SELECT coalesce(norikv.get('overtaken'), 'absent')});
	my $look = q{SET norikv.server = 'late'; SELECT coalesce(norikv.cache_get('overtaken'), 'absent');};
	my $second = session($node, $look);
	PostgreSQL::Test::Utils::system_or_bail('sleep', '0.2');
	finish_session($early);
	is(sql($node, $look), $value, 'what was read before is not kept');
	is((finish_session($second))[0], $value, 'who comes after it does not wait for what came before');
}

# What is read between the start of a write and its effect is kept, until it is answered.
start_tool("$directory/proxy2.log", 'proxy', "--listen=unix:$directory/p2",
	"--upstream=unix:$directory/s", '--only=Put', '--delay-request=1:2000');
$node->safe_psql('postgres', "CREATE SERVER slow FOREIGN DATA WRAPPER norikv
	OPTIONS (nodes 'unix:$directory/p2', timeout '50s', attempt_timeout '50s')");
sql($node, q{SELECT norikv.put('during', 'before')});
my $writer = session($node, q{SET norikv.server = 'slow'; SELECT norikv.put('during', 'after') IS NOT NULL;});
await(sub { sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE '%put(''during''%'
	AND pid <> pg_backend_pid()}) });
is(sql($node, q{SELECT norikv.cache_get('during')}), 'before', 'a write is under way');
finish_session($writer);
is(sql($node, q{SELECT norikv.cache_get('during')}), 'after', 'what was read meanwhile is not shown after it');

# A write that was given up may take effect later: until then nothing is kept.
is(sql($node, q{SELECT norikv.cache_get('late') IS NULL}), 't', 'an absent key is kept');
$writer = session($node, q{SET norikv.server = 'slow'; SET statement_timeout = '300ms';
	SELECT norikv.put('late', 'after all');});
like((finish_session($writer))[1], qr/57014/, 'a write is given up');
is(sql($node, q{SELECT norikv.cache_get('late') IS NULL}), 't', 'which has not taken effect');
ok(await(sub { sql($node, q{SELECT norikv.get('late')}) eq 'after all' }), 'it took effect');
is(sql($node, q{SELECT norikv.cache_get('late')}), 'after all', 'and the cache does not hide it');

# ---- kill -9 ----

$missing = missing('killed', 1, 5);
kill_9($missing->{pid});
kill 'CONT', $norikvd;
finish_session($_) for $missing->{first}, @{ $missing->{others} };
ok(await(sub { (eval { $node->psql('postgres', 'SELECT 1') } // 1) == 0 }), 'PostgreSQL is back after kill -9');
is(sql($node, 'SELECT size, bytes, hits, misses FROM norikv.cache_stats()'), '0|0|0|0', 'with an empty cache');
is(sql($node, q{SELECT norikv.cache_get('killed')}), 'value of killed', 'that works');

unlike(slurp_log($node), qr/PANIC|TRAP:/, 'nothing broke');
$node->stop;
done_testing();
