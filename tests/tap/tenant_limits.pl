# The limits of tenants hold exactly: to the key, whoever writes at once, and with keys
# that expire; and a tenant has them at any moment of its life, whoever creates it at the
# same time, and whoever dies of it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $SESSIONS = 16;
my $node = norikv_cluster('limits');

# A tenant with limits that are no plan's, in force.
sub make_tenant
{
	my ($id, $keys, $mb) = @_;
	sql($node, qq{SELECT norikv.put('tenant-meta:$id', '{"id":"$id","name":"T","plan":"custom",
		"createdAt":1,"limits":{"maxKeys":$keys,"maxStorageMB":$mb}}')});
	sql($node, "SELECT norikv.tenant_usage('$id')");
	return;
}

# Puts of so many keys by each session at once; how many were refused for a limit.
# Anything else that goes wrong ends the session, and is no number.
sub put_at_once
{
	my ($id, $each, $prefix, $ttl, $value) = @_;
	my @sessions = map {
		session($node, "SET norikv.tenant = '$id';
			DO \$\$ DECLARE refused int := 0; BEGIN
			FOR i IN 1 .. $each LOOP
				BEGIN
					PERFORM norikv.put('$prefix' || $_ || ':' || i, '$value', ttl => $ttl);
				EXCEPTION WHEN configuration_limit_exceeded THEN refused := refused + 1;
				END;
			END LOOP;
			PERFORM set_config('test.refused', refused::text, false); END \$\$;
			SELECT current_setting('test.refused')")
	} 1 .. $SESSIONS;
	my $refused = 0;
	for my $session (@sessions)
	{
		my ($out, $error) = finish_session($session);
		die "a session failed: $error" unless $out =~ /^\d+$/;
		$refused += $out;
	}
	return $refused;
}

# ---- Keys, to the key ----

make_tenant('keys', 100, 'null');
is(put_at_once('keys', 20, 'a', 'NULL', 'v'), $SESSIONS * 20 - 100,
	'sessions that put at once: as many as the limit, and no more');
is(sql($node, "SELECT keys, max_keys FROM norikv.tenant_usage('keys')"), '100|100', 'usage');
is(sql($node, "SELECT norikv.key_count('tenant:keys:')"), '100', 'as many are there');
is(sql($node, "SELECT norikv.mdelete(array_agg(key)) FROM (SELECT key FROM
	norikv.scan('tenant:keys:', max_rows => 7)) s"), '7', 'seven are deleted');
is(put_at_once('keys', 2, 'b', 'NULL', 'v'), $SESSIONS * 2 - 7, 'seven fit then');

# Foreign tables, and whole units.
sql($node, "CREATE SERVER limited FOREIGN DATA WRAPPER norikv OPTIONS (tenant 'keys');
	CREATE FOREIGN TABLE raw (key text COLLATE \"C\", value text) SERVER limited");
my ($status, $out, $error) = $node->psql('postgres',
	"BEGIN; DELETE FROM raw WHERE key IN (SELECT key FROM raw LIMIT 3);
	INSERT INTO raw SELECT 'u' || i, 'v' FROM generate_series(1, 4) i; COMMIT",
	extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($error, qr/53400.*at most 100 keys/s, 'a transaction that would pass it is refused');
is(sql($node, "SELECT norikv.key_count('tenant:keys:')"), '100', 'as a whole');
sql($node, "BEGIN; DELETE FROM raw WHERE key IN (SELECT key FROM raw LIMIT 3);
	INSERT INTO raw SELECT 'u' || i, 'v' FROM generate_series(1, 3) i; COMMIT");
is(sql($node, "SELECT norikv.key_count('tenant:keys:u')"), '3', 'one that stays within is not');

# ---- Bytes ----

# Each key takes 'tenant:bytes:' and 'cNN:1' and 100 bytes of value.
make_tenant('bytes', 'null', 0.01);
my $refused = put_at_once('bytes', 10, 'c', 'NULL', 'v' x 100);
my ($bytes, $max) = split /\|/, sql($node, "SELECT bytes, max_bytes FROM norikv.tenant_usage('bytes')");
is($max, 10485, '0.01 MB');
cmp_ok($bytes, '<=', $max, 'bytes are not passed');
cmp_ok($bytes + 13 + 6 + 100, '>', $max, 'and there is no room for one more');
is(sql($node, "SELECT sum(length(key) + length(value)) FROM
	norikv.scan_bytes('tenant:bytes:'::bytea)"), $bytes, 'they are those that are there');

# ---- Expiry ----

make_tenant('expiring', 50, 'null');
is(put_at_once('expiring', 2, 'stay', 'NULL', 'v'), 0, 'some that stay');
is(put_at_once('expiring', 3, 'go', "'3 s'", 'v'), $SESSIONS * 3 - (50 - 2 * $SESSIONS),
	'and some that expire');
await(sub { sql($node, "SELECT norikv.key_count('tenant:expiring:')") eq 2 * $SESSIONS })
  or die 'nothing expires';
is(put_at_once('expiring', 3, 'come', 'NULL', 'v'), $SESSIONS * 3 - (50 - 2 * $SESSIONS),
	'what has expired makes room, exactly');
is(sql($node, "SELECT keys FROM norikv.tenant_usage('expiring')"), 50, 'and is not counted');

# ---- Creating ----

# Many create one tenant, with different plans: one does, and its limits hold.
my @plans = qw(free pro enterprise);
for my $round (1 .. rounds(30))
{
	my @sessions = map { session($node,
		"SELECT norikv.tenant_create('race$round', 'S$_', '$plans[$_ % 3]') ->> 'plan'") }
	  1 .. $SESSIONS;
	my @created;
	for my $session (@sessions)
	{
		my ($made, $failed) = finish_session($session);
		push @created, $made if $made ne '';
		die $failed if $made eq '' && $failed !~ /23505/;
	}
	is(scalar @created, 1, "one of many creates the tenant");
	my %keys = (free => 1000, pro => 100000, enterprise => '');
	is(sql($node, "SELECT norikv.tenant_get('race$round') ->> 'plan',
		(SELECT max_keys FROM norikv.tenant_usage('race$round'))"),
		"$created[0]|$keys{$created[0]}", 'with the limits of its plan');
}

# One that dies after each of its requests: what was created is never without limits.
# What remains is made right by the next look.
my $norikvd = await_norikvd($node);
for my $round (1 .. rounds(40))
{
	my $id = "dying$round";
	my $session = session($node, "SELECT pg_backend_pid();
		SELECT norikv.tenant_create('$id', 'D', 'pro')");
	my $pid = await(sub { output_of($session) =~ /^(\d+)/ ? $1 : 0 });
	Time::HiRes::usleep(int(rand(3000)));
	kill 'TERM', $pid;
	finish_session($session);
	if (sql($node, "SELECT norikv.has_key('tenant-meta:$id')") eq 't')
	{
		# Before anybody has looked: at most the plan's, and not none.
		my (undef, undef, $refusal) = $node->psql('postgres',
			"SELECT norikv.mput(array_agg('tenant:$id:' || i), array_agg('v'::text))
			FROM generate_series(1, 100001) i", extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
		like($refusal, qr/53400/, 'a tenant whose creator died has limits');
		is(sql($node, "SELECT max_keys FROM norikv.tenant_usage('$id')"), 100000,
			'and those of its plan from the first look on');
	}
	else
	{
		is(sql($node, "SELECT norikv.tenant_create('$id', 'D') ->> 'plan'"), 'free',
			'what a creator left who died before is no hindrance');
	}
}

done_testing();
