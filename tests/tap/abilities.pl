# What the patterns need of a server: counters, locks, jobs, sessions and rate limits no
# more than an atomic compare-and-swap, which the server must say that it has, or the option
# trust_cas; what changes several keys at once is refused, naming function and server.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $node = norikv_cluster('abilities', conf => "norikv.embedded = off\n");

sub server
{
	my ($name, $options, @arguments) = @_;
	start_tool("$directory/$name.log", 'fake_norikv', '--listen', "unix:$directory/$name", @arguments);
	$node->safe_psql('postgres',
		"CREATE SERVER $name FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/$name'$options)");
}

sub answer
{
	my ($name, $sql) = @_;
	my ($out, $error) = finish_session(session($node, "SET norikv.server = '$name';\n$sql"));
	return $out . ($error =~ /ERROR:  (\w+): (.*)/ ? "$1 $2" : '');
}

my $counters = q{SELECT norikv.counter_init('c', 5), norikv.counter_add('c'), norikv.counter_set('c', 1), norikv.counter_get('c')};
my $sessions = q{SELECT norikv.session_create('u', 'e', '{a}') AS id \gset
SELECT norikv.session_get(:'id')->>'userId', norikv.session_update(:'id', '{"x": 1}'),
	norikv.session_modify(:'id', 'jsonb_concat(jsonb,jsonb)', '{"y": 2}'), norikv.session_get(:'id')->'y',
	norikv.session_destroy(:'id'), norikv.session_get(:'id') IS NULL};
my $limits = q{SELECT allowed, remaining FROM norikv.rate_limit('i', 2, '1 hour');
SELECT allowed, remaining FROM norikv.rate_limit('i', 2, '1 hour', 2);
SELECT allowed, remaining FROM norikv.rate_limit('b', 2000, '1 hour', 5);
SELECT norikv.rate_limit_reset('i'), allowed FROM norikv.rate_limit_peek('i', 2, '1 hour')};

server('swaps', '', '--ext', 1, '--capabilities', 'atomic_cas,create,conditional_delete,ttl', '--creates', 1);
# No Info at all: a server of others.
server('trusted', ", trust_cas 'on'", '--ext', 0);
for my $name ('swaps', 'trusted')
{
	is(answer($name, $counters), '5|6|1|1', "$name: counters");
	is(answer($name, $sessions), 'u|t|t|2|t|t', "$name: sessions");
	is(answer($name, $limits), "t|1\nf|1\nt|1995\nt|t", "$name: rate limits");
	like(answer($name, "SELECT norikv.$_->[1]"), qr/^0A000 .*"$name" does not support (norikv\.)?\Q$_->[0]\E\(\)/,
		"$name: $_->[0]() needs several keys, and is refused")
	  for [ 'inventory_create', q{inventory_create('s', 1)} ],
	  [ 'inventory_reserve', q{inventory_reserve('s', 1)} ],
	  [ 'inventory_restock', q{inventory_restock('s', 1)} ],
	  [ 'inventory_commit', q{inventory_commit(gen_random_uuid())} ],
	  [ 'inventory_release', q{inventory_release(gen_random_uuid())} ],
	  [ 'event_append', q{event_append('a', 't', '{}')} ],
	  [ 'elect', q{elect('e')} ],
	  [ 'campaign', q{campaign('e')} ],
	  [ 'tenant_create', q{tenant_create('t', 'n')} ],
	  [ 'tenant_usage', q{tenant_usage('t')} ];
	is(answer($name, q{SELECT norikv.run_once('j', '1000 days', 'SELECT 1'), norikv.run_once('j', '1000 days', 'SELECT 1')}), 't|f', "$name: jobs");
	is(answer($name, q{SELECT norikv.try_lock('l') AS token \gset
		SELECT norikv.renew_lock('l', :token), norikv.unlock('l', :token)}), 't|t', "$name: locks");
}

server('doubtful', '', '--ext', 1, '--capabilities', 'create,ttl', '--creates', 1);
like(answer('doubtful', $_->[1]), qr/^0A000 server "doubtful" does not support \Q$_->[0]\E/,
	"$_->[0] is refused where compare-and-swap may not be atomic")
  for [ 'counter_add()', q{SELECT norikv.counter_add('c')} ],
  [ 'counter_init()', q{SELECT norikv.counter_init('c')} ],
  [ 'counter_set()', q{SELECT norikv.counter_set('c', 1)} ],
  [ 'sharded_counter_add()', q{SELECT norikv.sharded_counter_add('c')} ],
  [ 'session_get()', q{SELECT norikv.session_get(gen_random_uuid())} ],
  [ 'session_update()', q{SELECT norikv.session_update(gen_random_uuid(), '{}')} ],
  [ 'rate_limit()', q{SELECT norikv.rate_limit('i', 1, '1 s')} ],
  [ 'norikv.run_once()', q{SELECT norikv.run_once('j', '1 s', 'SELECT 1')} ],
  [ 'norikv.elect()', q{SELECT norikv.elect('e')} ],
  [ 'norikv.campaign()', q{SELECT norikv.campaign('e')} ],
  [ 'norikv.lock()', q{SELECT norikv.lock('l')} ],
  [ 'tenant_create()', q{SELECT norikv.tenant_create('t', 'n')} ];
is(answer('doubtful', q{SELECT norikv.counter_get('c') IS NULL}), 't', 'reading is not');

$node->stop;
done_testing();
