# What others write is seen by Watch: another PostgreSQL, programs, a server that was
# started again, a connection that breaks. Where the watch hears nothing, nothing is
# shown for longer than norikv.cache_watch_timeout, and where the server has no Watch,
# for norikv.cache_ttl.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my @norikvd = ("--data-dir=$directory/store", "--listen=unix:$directory/s");
my $norikvd = start_norikvd("$directory/log", @norikvd);
# The cache's time is long: what is seen earlier was told by the watch.
my %options = (
	conf => "norikv.cache_ttl = 1h\nnorikv.cache_watch_timeout = 20min\n",
	server => "nodes 'unix:$directory/s'");
my $node = norikv_cluster('watching', %options);
my $other = norikv_cluster('other', %options);

# Until the cache shows this.
sub shows
{
	my ($key, $value, $server) = @_;
	$server //= 'norikv';
	return await(sub { sql($node, "SET norikv.server = '$server'; SELECT coalesce(norikv.cache_get('$key'), 'absent')") eq $value });
}

# The second look of two finds it in the cache, once nothing disturbs it any more.
sub is_kept
{
	my ($key, $server) = @_;
	$server //= 'norikv';
	return await(
		sub {
			sql($node, "SET norikv.server = '$server'; SELECT norikv.cache_get('$key')");
			my $hits = sql($node, 'SELECT hits FROM norikv.cache_stats()');
			sql($node, "SET norikv.server = '$server'; SELECT norikv.cache_get('$key')");
			return sql($node, 'SELECT hits FROM norikv.cache_stats()') > $hits;
		});
}

# ---- Every kind of change, by another PostgreSQL ----

$other->safe_psql('postgres', q{CREATE FOREIGN TABLE t (key text COLLATE "C", value text)
	SERVER norikv OPTIONS (prefix 't:', on_insert 'replace')});
my $write = sub { $other->safe_psql('postgres', $_[0]) };
for my $change (
	[ q{SELECT norikv.put('t:k', 'put')}, 'put' ],
	[ q{SELECT norikv.mput('{t:k,a}', '{many,a}')}, 'many' ],
	[ q{INSERT INTO t VALUES ('k', 'inserted')}, 'inserted' ],
	[ q{SELECT norikv.delete('t:k')}, 'absent' ],
	[ q{SELECT norikv.put('t:k', '1')}, '1' ],
	[ q{SELECT norikv.counter_add('t:k', 41)}, '42' ],
	[ q{TRUNCATE t}, 'absent' ],
	[ q{SELECT norikv.cache_put('t:k', 'cached there')}, 'cached there' ],
	[ q{SELECT norikv.put('t:k', 'mortal', ttl => '1 s')}, 'mortal' ],
	[ 'SELECT 1', 'absent' ])
{
	ok(is_kept('t:k'), 'a value is kept');
	$write->($change->[0]);
	ok(shows('t:k', $change->[1]), "$change->[0]: seen");
}

# Own writes are told of as well, and what they left in the cache stays.
my $misses = sql($node, 'SELECT misses FROM norikv.cache_stats()');
sql($node, qq{SELECT norikv.cache_put('own', '$_')}) for 1 .. 20;
usleep(300_000);
is(sql($node, q{SELECT norikv.cache_get('own')}), '20', 'written through');
is(sql($node, 'SELECT misses FROM norikv.cache_stats()'), $misses, 'and not taken out again when the watch tells of it');

# Many changes of many keys: in the end the cache has what the store has.
my $writes = rounds(20000);
my $writer = session($other, qq{SELECT count(norikv.put('many:' || floor(random() * 100), i::text)) FROM generate_series(1, $writes) i;});
my $reader = session($node, qq{SELECT count(norikv.cache_get('many:' || i % 100)) FROM generate_series(1, 5 * $writes) i;});
finish_session($_) for $writer, $reader;
my $differing = q{SELECT count(*) FROM generate_series(0, 99) i
	WHERE norikv.cache_get('many:' || i) IS DISTINCT FROM norikv.get('many:' || i)};
ok(await(sub { sql($node, $differing) == 0 }), 'after many changes the cache has what the store has');

# ---- Tenants ----

$_->safe_psql('postgres', "CREATE SERVER acme FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/s', tenant 'acme')")
  for $node, $other;
ok(is_kept('k', 'acme'), "a tenant's value is kept");
$write->(q{SELECT norikv.put('tenant:acme:k', 'from outside')});
ok(shows('k', 'from outside', 'acme'), "what others write into a tenant's part is seen");

# ---- The server is started again ----

$write->(q{SELECT norikv.put('again', 'before')});
ok(shows('again', 'before') && is_kept('again'), 'a value is kept');
stop_process($norikvd);
is(sql($node, q{SELECT norikv.cache_get('again')}), 'before', 'without the server, what is kept is shown');
$norikvd = start_norikvd("$directory/log", @norikvd);
$write->(q{SELECT norikv.put('again', 'after')});
ok(shows('again', 'after'), 'what was written after a restart is seen');

# ---- A connection that breaks ----

my $proxy = start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$directory/p", "--upstream=unix:$directory/s");
sql($node, "CREATE SERVER far FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/p', timeout '1s')");
$write->(q{SELECT norikv.put('far', 'before')});
ok(shows('far', 'before', 'far') && is_kept('far', 'far'), 'a value is kept');
stop_process($proxy, 'KILL');
$write->(q{SELECT norikv.put('far', 'meanwhile')});
unlink("$directory/p");
$proxy = start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$directory/p", "--upstream=unix:$directory/s");
ok(shows('far', 'meanwhile', 'far'), 'what was written while the connection was broken is seen after it');
ok(is_kept('far', 'far'), 'and kept again');

# ---- Silence ----

my $keeper = await(sub { keeper_of($node) });
$node->append_conf('postgresql.conf', "norikv.cache_watch_timeout = 1s\n");
$node->reload;
$write->(q{SELECT norikv.put('silent', 'before')});
ok(shows('silent', 'before'), 'a value');
$misses = sql($node, 'SELECT misses FROM norikv.cache_stats()');
for (1 .. 60)
{
	usleep(100_000);
	sql($node, q{SELECT norikv.cache_get('silent')});
}
cmp_ok(sql($node, 'SELECT misses FROM norikv.cache_stats()') - $misses, '<', 4, 'signs of life keep it');
kill 'STOP', $keeper;
$write->(q{SELECT norikv.put('silent', 'unheard')});
ok(shows('silent', 'unheard'), 'a watch that hears nothing keeps nothing for long');
$write->(q{SELECT norikv.put('silent', 'unheard too')});
ok(shows('silent', 'unheard too'), 'not what was read meanwhile either');
kill 'CONT', $keeper;
ok(is_kept('silent'), 'and it goes on');

# The keeper ends: the next one watches again.
kill 'TERM', $keeper;
ok(await(sub { my $pid = keeper_of($node); $pid && $pid != $keeper }),
	'the keeper is there again after it was ended');
$node->append_conf('postgresql.conf', "norikv.cache_watch_timeout = 20min\n");
$node->reload;
ok(is_kept('silent'), 'a value is kept');
usleep(500_000);
$write->(q{SELECT norikv.put('silent', 'heard')});
ok(shows('silent', 'heard'), 'and it watches again');

# ---- Servers without Watch, and without the wish ----

$node->append_conf('postgresql.conf', "norikv.cache_ttl = 2s\n");
$node->reload;
start_tool("$directory/fake.log", 'fake_norikv', '--listen', "unix:$directory/f");
$_->safe_psql('postgres', "CREATE SERVER fake FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/f')")
  for $node, $other;
my $on_fake = q{SET norikv.server = 'fake';};
$write->("$on_fake SELECT norikv.put('k', 'one')");
ok(shows('k', 'one', 'fake'), 'a server without Watch');
ok(is_kept('k', 'fake'), 'its values are kept');
$write->("$on_fake SELECT norikv.put('k', 'two')");
ok(shows('k', 'two', 'fake'), "others' writes are seen after the cache's time");
is(sql($node, "$on_fake SELECT norikv.put('k', 'three') IS NOT NULL; SELECT norikv.cache_get('k')"), "t\nthree", 'own ones at once');

$node->append_conf('postgresql.conf', "norikv.cache_watch = off\n");
$node->reload;
ok(is_kept('unwatched'), 'without watching');
$write->(q{SELECT norikv.put('unwatched', 'timed out')});
ok(shows('unwatched', 'timed out'), "others' writes are seen after the cache's time");

unlike(slurp_log($_), qr/PANIC|TRAP:|was terminated by signal/, 'nothing crashed') for $node, $other;
$_->stop for $node, $other;
done_testing();
