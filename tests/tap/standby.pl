# The patterns on a standby: what reads works, what writes is refused and writes nothing.
# And after its promotion: campaigns go on there, and fences are where they were.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
start_norikvd("$directory/log", "--data-dir=$directory/store", "--listen=unix:$directory/s");
my $primary = norikv_cluster('primary', init => { allows_streaming => 1 },
	conf => "norikv.embedded = off\nnorikv.cache_ttl = 1h\nnorikv.cache_watch_timeout = 1s\n");
$primary->safe_psql('postgres', qq{
	CREATE SERVER norikv FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/s', timeout '3s');
	CREATE TABLE elected (by text);
	CREATE FUNCTION last(state jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT data';
	SELECT norikv.campaign('main', 'node-1', '2 s', 'INSERT INTO elected VALUES (''campaign'')');
	SELECT norikv.counter_add('c', 7), norikv.sharded_counter_add('s', 8);
	SELECT norikv.inventory_create('i', 9), norikv.event_append('a', 't', '10');
	SELECT norikv.tenant_create('t', 'n'), norikv.tenant_put('t', 'k', 'of t'), norikv.put('k', 'v');
	SELECT norikv.session_create('u', 'e', '{}') AS id, norikv.lock('held') AS token \\gset
	SELECT norikv.put('session', :'id'), norikv.put('token', (:token)::text), norikv.fence('r', :token)});
ok(await(sub { $primary->safe_psql('postgres', 'SELECT count(*) FROM elected') == 1 }), 'the primary leads');
my $token = $primary->safe_psql('postgres', q{SELECT token FROM norikv.locks_held WHERE kind = 'campaign'});

$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

# ---- Reading ----

is($standby->safe_psql('postgres', q{
	SELECT norikv.counter_get('c'), norikv.sharded_counter_get('s'), norikv.inventory_available('i'), norikv.leader('main'), norikv.is_leader('main');
	SELECT data FROM norikv.events('a'); SELECT norikv.event_fold('a', NULL, 'last(jsonb,text,jsonb)');
	SELECT norikv.session_validate(norikv.get('session')::uuid), allowed FROM norikv.rate_limit_peek('l', 1, '1 h');
	SELECT norikv.tenant_get('t', 'k'), norikv.tenant_get('t') ->> 'plan', keys FROM norikv.tenant_usage('t');
	SELECT norikv.lock_holder('held') IS NULL, count(*) FROM norikv.locks_held;
	SELECT norikv.cache_get('k')}),
	"7|8|9|node-1|f\n10\n10\nt|t\nof t|free|1\nt|0\nv", 'a standby reads');
$primary->safe_psql('postgres', q{SELECT norikv.put('k', 'w')});
ok(await(sub { $standby->safe_psql('postgres', q{SELECT norikv.cache_get('k')}) eq 'w' }),
	'its cache shows nothing for longer than norikv.cache_watch_timeout');

# ---- Writing ----

my @writers = (q{counter_init('c')}, q{counter_add('c')}, q{counter_set('c', 1)}, q{sharded_counter_add('s')},
	q{lock('l')}, q{try_lock('l')}, q{xact_lock('l')}, q{try_xact_lock('l')}, q{renew_lock('l', 1)}, q{unlock('l', 1)},
	q{fence('r', 1)}, q{fence_reset('r')}, q{campaign('e')}, q{elect('e')}, q{resign('main')}, q{run_once('j', '1 h', 'SELECT 1')},
	q{session_create('u', 'e', '{}')}, q{session_get(norikv.get('session')::uuid)}, q{session_update(norikv.get('session')::uuid, '{}')},
	q{session_modify(norikv.get('session')::uuid, 'jsonb_concat(jsonb,jsonb)')}, q{session_destroy(norikv.get('session')::uuid)},
	q{inventory_create('j', 1)}, q{inventory_restock('i', 1)}, q{inventory_reserve('i', 1)}, q{inventory_commit(gen_random_uuid())},
	q{inventory_release(gen_random_uuid())}, q{rate_limit('l', 1, '1 h')}, q{rate_limit_reset('l')}, q{cache_put('k', 'x')},
	q{cache_delete('k')}, q{event_append('a', 't', '{}')}, q{tenant_create('u', 'n')}, q{tenant_put('t', 'k', 'x')}, q{tenant_delete('t', 'k')},
	q{put('k', 'x')}, q{mput('{k}', '{x}')}, q{mdelete('{k}')}, q{update('k', 'jsonb_concat(jsonb,jsonb)')});
my $all = q{SELECT md5(string_agg(key::text || value::text, ',' ORDER BY key)) FROM norikv.scan_bytes(NULL::bytea) WHERE key <> ALL (ARRAY['leader:main', 'leader-meta:main']::bytea[])};
my $before = $primary->safe_psql('postgres', $all);
my ($out, $error) = ('', '');
$standby->psql('postgres', "\\set VERBOSITY sqlstate\n" . join('', map { "SELECT norikv.$_;\n" } @writers), on_error_stop => 0, stdout => \$out, stderr => \$error);
is(scalar(() = $error =~ /ERROR:  25006$/mg), scalar(@writers), 'and refuses to write') or diag($out . $error);
is($primary->safe_psql('postgres', $all), $before, 'nothing is written');

# ---- Promotion ----

$primary->stop('immediate');
$standby->promote;
ok($standby->poll_query_until('postgres', q{SELECT norikv.is_leader('main')}), 'after its promotion it stands where the primary stood');
cmp_ok($standby->safe_psql('postgres', q{SELECT token FROM norikv.locks_held WHERE kind = 'campaign'}), '>', $token, 'with a greater token');
ok(await(sub { $standby->safe_psql('postgres', 'SELECT count(*) FROM elected') == 2 }), 'and is told so');
my $stale = $standby->safe_psql('postgres', q{SELECT norikv.get('token')::bigint - 1});
$standby->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT norikv.fence('r', $stale)", stderr => \$error);
like($error, qr/ERROR:  NK002/, 'fences are part of the database, and copied with it');
is($standby->safe_psql('postgres', q{SELECT norikv.counter_add('c'), norikv.try_lock('l') > 0}), '8|t', 'it writes');

$standby->stop;
done_testing();
