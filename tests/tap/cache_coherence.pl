# Writers of every kind and readers at once: a reader never sees a value older than one
# whose write was acknowledged before it began. And a cache that is too small, under
# sessions that are ended in the middle: no value is ever torn, nothing leaks.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use NorikvTest;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $node = norikv_cluster('coherence', conf => <<"CONF");
norikv.cache_size = 4MB
norikv.cache_entries = 300
norikv.cache_ttl = 1h
norikv.cache_watch = off
CONF
# The same store by another address, where answers to readers come late: what they bring
# is often older than writes that were acknowledged meanwhile.
await_norikvd($node);
# The path itself is too long for a socket.
symlink($node->data_dir . '/norikv/run', "$directory/run") or die "symlink: $!";
start_tool("$directory/proxy.log", 'proxy', "--listen=unix:$directory/p", "--upstream=unix:$directory/run/norikvd.sock",
	'--only=MultiGet', '--delay-answer=0.7:20');

# ---- Coherence ----

# What was acknowledged stands in sequences, which everybody sees at once: acknowledged_i
# is the number of the last write of key i, deleting_i of its last deletion that was begun.
my @kinds = qw(put try_put cache_put cache_delete delete mput mdelete update table immediate truncate add);
my ($keys, $writes, $readers) = (3, rounds(15000), 4);

$node->safe_psql('postgres', <<"SQL");
CREATE SERVER direct FOREIGN DATA WRAPPER norikv;
CREATE SERVER late FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/p');
CREATE FUNCTION next_of(old jsonb, args jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT args';
CREATE PROCEDURE write_all(i int, writes int) LANGUAGE plpgsql AS \$\$
DECLARE
	kinds text[] := '{@{[join ',', @kinds]}}';
	key text := format('c:%s:k', i);
	prefix text := format('c:%s:', i);
	kind text;
	present boolean := false;
	n bigint;
BEGIN
	EXECUTE format('CREATE FOREIGN TABLE IF NOT EXISTS t%s (key text COLLATE "C", value text)
		SERVER direct OPTIONS (prefix %L, on_insert ''replace'')', i, prefix);
	EXECUTE format('CREATE FOREIGN TABLE IF NOT EXISTS i%s (key text COLLATE "C", value text)
		SERVER direct OPTIONS (prefix %L, on_insert ''replace'', write_mode ''immediate'')', i, prefix);
	COMMIT;
	FOR n IN 1 .. writes LOOP
		kind := kinds[1 + floor(random() * array_length(kinds, 1))];
		CONTINUE WHEN kind = 'add' AND NOT present;
		IF kind IN ('cache_delete', 'delete', 'mdelete', 'truncate') THEN
			PERFORM setval('deleting_' || i, n);
		END IF;
		CASE kind
			WHEN 'put' THEN PERFORM norikv.put(key, n::text);
			WHEN 'try_put' THEN PERFORM norikv.try_put(key, n::text, if_match => (norikv.entry(key)).version);
			WHEN 'cache_put' THEN PERFORM norikv.cache_put(key, n::text);
			WHEN 'mput' THEN PERFORM norikv.mput(ARRAY['c:x', key, 'c:y'], ARRAY['x', n::text, 'y']);
			WHEN 'update' THEN PERFORM norikv.update(key, 'next_of(jsonb, jsonb)', to_jsonb(n));
			WHEN 'cache_delete' THEN PERFORM norikv.cache_delete(key);
			WHEN 'delete' THEN PERFORM norikv.delete(key);
			WHEN 'mdelete' THEN PERFORM norikv.mdelete(ARRAY[key, 'c:x']);
			WHEN 'table' THEN EXECUTE format('INSERT INTO t%s VALUES (''k'', %L)', i, n);
			WHEN 'immediate' THEN EXECUTE format('INSERT INTO i%s VALUES (''k'', %L)', i, n);
			WHEN 'truncate' THEN EXECUTE format('TRUNCATE t%s', i);
			WHEN 'add' THEN PERFORM norikv.counter_add(key, n - norikv.get(key)::bigint);
		END CASE;
		COMMIT;
		present := kind NOT IN ('cache_delete', 'delete', 'mdelete', 'truncate');
		PERFORM setval('acknowledged_' || i, n);
	END LOOP;
	PERFORM setval('acknowledged_' || i, writes + 1);
END \$\$;
-- Until the writers are done; how often an old value was seen, and how often any.
CREATE FUNCTION read_all(keys int, writes int, OUT looks bigint, OUT old bigint, OUT example text)
LANGUAGE plpgsql AS \$\$
DECLARE
	i int;
	acknowledged bigint;
	deleting bigint;
	value text;
	finished int := 0;
BEGIN
	looks := 0;
	old := 0;
	WHILE finished < keys LOOP
		finished := 0;
		FOR i IN 1 .. keys LOOP
			EXECUTE format('SELECT last_value FROM acknowledged_%s', i) INTO acknowledged;
			value := norikv.cache_get(format('c:%s:k', i));
			EXECUTE format('SELECT last_value FROM deleting_%s', i) INTO deleting;
			looks := looks + 1;
			IF acknowledged > writes THEN
				finished := finished + 1;
			ELSIF coalesce(value::bigint, deleting) < acknowledged THEN
				old := old + 1;
				example := format('key %s: %s (deleting %s) after %s', i, value, deleting, acknowledged);
			END IF;
		END LOOP;
	END LOOP;
END \$\$;
SQL
sql($node, "CREATE SEQUENCE acknowledged_$_ MINVALUE 0; CREATE SEQUENCE deleting_$_ MINVALUE 0") for 1 .. $keys;
my @readers = map
{
	my $server = $_ % 2 ? 'direct' : 'late';
	session($node, "SET norikv.server = '$server'; SELECT * FROM read_all($keys, $writes);");
} 1 .. $readers;
my @writers = map { session($node, "SET norikv.server = 'direct'; CALL write_all($_, $writes);") } 1 .. $keys;
for my $writer (@writers)
{
	my ($out, $error) = finish_session($writer);
	is($error, '', 'a writer wrote');
}
for my $i (1 .. $readers)
{
	my ($out, $error) = finish_session($readers[ $i - 1 ]);
	is($error, '', 'a reader read');
	my ($looks, $old, $example) = split /\|/, $out;
	cmp_ok($looks // 0, '>', 50, 'often');
	is($old, 0, 'and never saw what was old') or diag($example);
}
for my $server ('direct', 'late')
{
	is( sql($node, qq{SET norikv.server = '$server'; SELECT count(*) FROM generate_series(1, $keys) i
		WHERE norikv.cache_get(format('c:%s:k', i)) IS DISTINCT FROM norikv.get(format('c:%s:k', i))}),
		0, "$server: the last values are those of the store");
}
my ($hits, $misses) = split /\|/, sql($node, 'SELECT hits, misses FROM norikv.cache_stats()');
cmp_ok($hits, '>', 100, 'the cache was of use');
cmp_ok($misses, '>', 100, 'and was overtaken');

# ---- Pressure ----

# Values say themselves what they are: a hash, and what it is of.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION sealed(size int) RETURNS text LANGUAGE sql AS $$
	SELECT md5(content) || content FROM (SELECT repeat(md5(random()::text), size / 32 + 1)) c(content)
$$;
CREATE FUNCTION press(looks int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	key text;
	value text;
	size int;
BEGIN
	FOR i IN 1 .. looks LOOP
		key := 'p:' || floor(random() * 500);
		size := CASE WHEN random() < 0.02 THEN 400000 WHEN random() < 0.2 THEN 20000 ELSE 100 END;
		IF random() < 0.1 THEN
			PERFORM norikv.cache_put(key, sealed((random() * size)::int));
		ELSIF random() < 0.01 THEN
			PERFORM norikv.cache_delete(key);
		ELSE
			value := norikv.cache_get(key);
			IF left(value, 32) <> md5(substr(value, 33)) THEN
				RAISE 'the value of % is torn', key;
			END IF;
		END IF;
	END LOOP;
	RETURN looks;
END $$;
SQL
my $looks = rounds(30000);
my @sessions = map { session($node, "SELECT press($looks);") } 1 .. 4;
for (1 .. rounds(100))
{
	usleep(20_000);
	my $end = $_ % 2 ? 'pg_terminate_backend' : 'pg_cancel_backend';
	sql($node, "SELECT $end(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT press(%' ORDER BY random() LIMIT 1");
	push @sessions, session($node, "SELECT press($looks);");
}
my %ends;
for my $session (@sessions)
{
	my ($out, $error) = finish_session($session);
	$ends{ $error eq '' ? 'done' : $error =~ /(57014|57P01)/ ? $1 : $error }++;
}
is(join(' ', grep { !/^(done|57014|57P01)$/ } keys %ends), '', 'no value was torn');
cmp_ok($ends{done} // 0, '>=', 1, 'some ran to their end');
my ($size, $bytes, $evictions) = split /\|/, sql($node, 'SELECT size, bytes, evictions FROM norikv.cache_stats()');
cmp_ok($evictions, '>', 100, 'entries gave way to others');
cmp_ok($size, '<=', 300, 'within the number of entries');
cmp_ok($bytes, '<=', 4 * 1024 * 1024, 'and within the memory');
sql($node, 'SELECT norikv.cache_invalidate_all()');
is(sql($node, 'SELECT size, bytes FROM norikv.cache_stats()'), '0|0', 'what errors and ends have left behind: nothing');
my $room = sql($node, q{SELECT count(norikv.cache_put('q:' || i, repeat('x', 10000))) FROM generate_series(1, 300) i});
cmp_ok((split /\|/, sql($node, 'SELECT size, bytes FROM norikv.cache_stats()'))[1], '>', 2_500_000, 'all room is there again');

# What is used is not given up for what is not: the hand passes over it.
sql($node, q{SELECT norikv.cache_invalidate_all(); SELECT norikv.put('hot', 'v')});
is( sql($node, q{SELECT norikv.cache_get('hot'); SELECT hits, evictions FROM norikv.cache_stats() \gset
	SELECT count(norikv.cache_put('cold:' || i, 'v') IS NOT NULL AND norikv.cache_get('hot') = 'v') FROM generate_series(1, 2000) i;
	SELECT hits - :hits, evictions - :evictions > 1500 FROM norikv.cache_stats()}),
	"v\n2000\n2000|t", 'what is used outlives two thousand others in a cache for three hundred');

# ---- Without room ----

$node->append_conf('postgresql.conf', "norikv.cache_size = 0\n");
$node->restart;
is( sql($node, q{SELECT norikv.put('z', '1') IS NOT NULL; SELECT norikv.cache_get('z');
	SELECT norikv.cache_put('z', '2') IS NOT NULL; SELECT norikv.cache_get('z'); SELECT norikv.cache_delete('z');
	SELECT norikv.cache_invalidate('z'); SELECT norikv.cache_invalidate_all(); SELECT size, bytes FROM norikv.cache_stats()}),
	"t\n1\nt\n2\nt\n\n\n0|0", 'a cache of no size keeps nothing, and all calls do what they should');

unlike(slurp_log($node), qr/PANIC|TRAP:|was terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
