# A role that may use the server of one tenant stays among that tenant's keys, whatever
# it calls and whatever it calls it with.
#
# The calls are made of the catalogue: every function of the extension, with each of its
# arguments in turn being what somebody would try. So a function that is added is tried
# too, or the test says which of its arguments it does not know. They all run twice:
# first by an administrator over the whole store, with a canary in every value, and then
# by the role. What the role is shown must not have the canary in it, and all that is
# outside of the tenant must be afterwards as it was before, byte by byte and version by
# version.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $CANARY = 'canary-of-the-outside';
my $canary_hex = unpack('H*', $CANARY);
my $PREFIX = 'tenant:acme:';

my $node = norikv_cluster('tenants');

sub admin
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

# ---- What somebody would try ----

# Keys, and parts of them, as bytes.
my @hostile = (
	'k', '', '../k', '..', '/', '\\', '%', '_', ':', '*', 'tenant:', 'tenant:acme',
	'tenant:widgets:k', 'tenant-meta:acme', "\0", "k\0", "\0tenant:widgets:k", "\xff",
	"\xff\xff\xff\xff", "\xc0\xaf", 'x' x (1024 - length $PREFIX), 'x' x 1024,
	'x' x 1025);

sub is_text
{
	my ($bytes) = @_;
	return $bytes !~ /\0/ && utf8::decode(my $copy = $bytes);
}

sub quoted
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

sub bytea
{
	my ($bytes) = @_;
	return "'\\x" . unpack('H*', $bytes) . "'::bytea";
}

# Values of what names keys, by the type of the argument.
sub hostile_values
{
	my ($type) = @_;
	return map { bytea($_) } @hostile if $type eq 'bytea';
	return map { 'ARRAY[' . bytea($_) . ", 'k'::bytea]" } @hostile if $type eq 'bytea[]';
	my @texts = map { quoted($_) } grep { is_text($_) } @hostile;
	return map { "${_}::$type" } @texts if $type =~ /^(text|name|json|jsonb)$/;
	my @arrays = map { "ARRAY[$_, 'k']" } @texts;
	return @arrays if $type eq 'text[]';
	return (@arrays, hostile_values('bytea[]')) if $type eq 'anycompatiblearray';
	return ("'00000000-0000-4000-8000-000000000001'::uuid") if $type eq 'uuid';
	return ();
}

# What an argument is: 'key' names keys, or things that keys are made of (the optional
# ones usually are NULL, as one idempotency key goes with one request); others have
# these values, the first of which is the usual one. VALUE becomes the value.
my %arguments = (
	(map { $_ => 'key' } qw(key keys prefix start_key end_key name id tenant resource
		election node_id job user_id sku aggregate_id namespace ids product_id
		reservation)),
	(map { $_ => 'optional key' } qw(idempotency_key event_id)),
	value => ['VALUE'],
	vals => ['ARRAY[VALUE, VALUE]'],
	wait => ["'1 ms'"],
	if_match => ["'any'", 'NULL', "'1/1'"],
	consistency => ["'strong'"],
	max_rows => ['NULL', '1'],
	updater => ["'public.grow(jsonb,jsonb)'"],
	transition => ["'public.fold(jsonb,text,jsonb)'"],
	args => [q({"v": "VALUE"})],
	patch => [q({"v": "VALUE"})],
	data => [q({"v": "VALUE"})],
	initial => ["'{}'"],
	server => ['NULL', "'acme'", "'norikv'"],
	(map { $_ => ["'VALUE'"] } qw(email title content description category query type
		texts text)),
	roles => ["ARRAY['VALUE']"],
	plan => ["'free'", "'enterprise'"],
	(map { $_ => ["'SELECT 1'"] } qw(command on_elected on_lost)),
	k => ['10'],
	dimensions => ['3'],
	distance => ["'cosine'"],
	index_type => ["'hnsw'"],
	vectors => ["'{{1,2,3},{4,5,6}}'"],
);

# Types that carry no key, whatever the argument is called.
my %types = (
	(map { $_ => ['1', '-1', '0', '9223372036854775807'] } qw(bigint integer smallint)),
	(map { $_ => ["'{1,2,3}'::$_"] } 'real[]', 'double precision[]', 'integer[]',
		'numeric[]', 'bigint[]', 'smallint[]'),
	(map { $_ => ["1::$_"] } 'real', 'double precision', 'numeric'),
	boolean => ['false', 'true'],
	interval => ["'1 hour'"],
);

# Arguments that mean something else in some function.
my %special = (
	'counter_init.value' => ['1'],
	'counter_set.value' => ['1'],
	'vector_search.query' => ["'{1,2,3}'"],
);

# Those that have nothing to do with keys, or would stop the test.
my %skipped = map { $_ => 1 } qw(validator handler);

# Of types' own functions, which have no names.
my $type_argument = qr/^(norikv\.version|internal|bigint|cstring|integer|oid|real|real\[\]|
	double\ precision|double\ precision\[\]|bytea|boolean)$/x;

sub functions
{
	my @functions;
	for my $line (split /\n/, admin(q{
		SELECT p.proname, coalesce(array_to_string(p.proargnames[1:p.pronargs], ','), ''),
			coalesce((SELECT string_agg(format_type(t, NULL), ',' ORDER BY n)
				FROM unnest(p.proargtypes) WITH ORDINALITY AS a(t, n)), ''),
			p.pronargdefaults, p.proretset OR p.prorettype IN
				(SELECT oid FROM pg_type WHERE typtype IN ('c', 'p'))
		FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass
			AND d.objid = p.oid AND d.deptype = 'e'
			JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'norikv'
		WHERE p.prokind = 'f' ORDER BY p.oid}))
	{
		my ($name, $names, $types, $defaults, $rows) = split /\|/, $line;
		my @types = split /,/, $types;
		my @names = split /,/, $names;
		push @functions, { name => $name, types => \@types, names => \@names,
			rows => $rows eq 't' };
	}
	return @functions;
}

# The values to try for an argument; undef: it is not known.
sub values_of
{
	my ($function, $i) = @_;
	my ($name, $type) = ($function->{names}[$i], $function->{types}[$i]);
	my $known = $special{"$function->{name}.$name"} // $arguments{$name} // $types{$type};

	return undef unless defined $known;
	if ($known =~ /key$/)
	{
		my @values = hostile_values($type);
		return undef unless @values;
		return $known eq 'key' ? \@values : [ 'NULL', @values ];
	}
	return [ map { /^[{]/ ? quoted($_) . "::$type" : $_ } @$known ]
	  if $type =~ /^jsonb?$/ && $known->[0] ne 'VALUE';
	return [ map { s/VALUE/value_of($type)/ger } @$known ]
	  if $name =~ /^(value|vals)$/;
	return $known;
}

sub value_of
{
	my ($type) = @_;
	return "convert_to('VALUE', 'UTF8')" if $type =~ /^bytea/;
	return qq('{"v": "VALUE"}'::$type) if $type =~ /^jsonb?$/;
	return "'VALUE'::text";
}

my @unknown;

# All calls of a function: each argument in turn, the others being the usual ones.
sub calls_of
{
	my ($function) = @_;
	my @names = @{ $function->{names} };
	my $called = "norikv." . ($function->{name} eq 'delete' ? '"delete"' : $function->{name});
	my @values;
	my @calls;

	return () if $skipped{ $function->{name} };
	if (!@names || $names[0] eq '')
	{
		push @unknown, "$function->{name}(" . join(', ', @{ $function->{types} }) . ')'
		  if grep { !/$type_argument/ } @{ $function->{types} };
		return () if @{ $function->{types} };
	}
	for my $i (0 .. $#names)
	{
		$values[$i] = values_of($function, $i);
		push @unknown, "argument $names[$i] $function->{types}[$i] of $function->{name}"
		  unless $values[$i];
	}
	return () if grep { !defined } @values[0 .. $#names];
	for my $i (0 .. $#names)
	{
		for my $value (@{ $values[$i] })
		{
			my @arguments = map { $_->[0] } @values;
			$arguments[$i] = $value;
			push @calls, join(', ', map { "$names[$_] => $arguments[$_]" } 0 .. $#names);
		}
	}
	@calls = ('') unless @names;
	my %seen;
	return map { "SELECT * FROM $called($_)" } grep { !$seen{$_}++ } @calls;
}

# ---- Running it ----

# All of it in one session; what was shown, errors included.
sub run_calls
{
	my ($role, $value, @calls) = @_;
	my $script = join('', map { s/\bVALUE\b/$value/gr . ";\n" } @calls);
	my $file = PostgreSQL::Test::Utils::tempdir() . '/calls.sql';
	my ($out, $err) = ('', '');

	PostgreSQL::Test::Utils::append_to_file($file, "SET statement_timeout = '5s';
		SET client_min_messages = warning; SET lock_timeout = '10ms';\n$script");
	IPC::Run::run(
		[ 'psql', '-XAtq', '-f', $file, '-d', $node->connstr('postgres') . " user=$role" ],
		'>', \$out, '2>', \$err);
	unlike($err, qr/server closed|connection to server was lost/, 'no session broke')
	  or diag($err);
	return ($out, $err);
}

sub shows_nothing
{
	my ($what, @texts) = @_;
	my ($line) = grep { /$CANARY/ || /$canary_hex/i } map { split /\n/ } @texts;
	is($line, undef, "$what: nothing of the outside is shown");
	return;
}

# Every key that is not the tenant's.
sub outside
{
	return admin("SELECT key, value, version FROM norikv.scan_bytes(NULL::bytea)
		WHERE substr(key, 1, 12) <> 'tenant:acme:'::bytea OR length(key) = 12
		ORDER BY key");
}

sub inside
{
	return admin("SELECT count(*) FROM norikv.scan_bytes('$PREFIX'::bytea)
		WHERE length(key) > 12");
}

# ---- The stage ----

admin(q{
	CREATE SERVER acme FOREIGN DATA WRAPPER norikv OPTIONS (tenant 'acme');
	CREATE SERVER whole FOREIGN DATA WRAPPER norikv;
	CREATE ROLE confined LOGIN;
	GRANT USAGE ON FOREIGN SERVER acme TO confined;
	GRANT CREATE ON SCHEMA public TO confined;
	ALTER ROLE confined SET norikv.server = 'acme';
	CREATE FUNCTION grow(old jsonb, args jsonb) RETURNS jsonb LANGUAGE sql
		AS $$ SELECT coalesce(old, '{}') || coalesce(args, '{}') $$;
	CREATE FUNCTION fold(state jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE sql
		AS $$ SELECT state || data $$;
});

my @functions = functions();
my @calls = map { calls_of($_) } @functions;
is(join("\n", @unknown), '', 'all functions and their arguments are known to this test');
cmp_ok(scalar @calls, '>', 500, 'there are calls to make');

# Keys close around the tenant's, and what the same calls leave in the whole store.
admin("SELECT count(norikv.put(k, '$CANARY')) FROM unnest(ARRAY['tenant:acme',
	'tenant:acme:', 'tenant:acme;', 'tenant:acm', 'tenant:acmf:', 'tenant:widgets:k',
	'tenant:widgets:../k', 'k', 'x', '..', '../k']) k");
my $administrator = admin('SELECT current_user');
# Deletions first, so that something stays.
run_calls($administrator, $CANARY, reverse @calls);
# What expires, or a background worker renews, would change by itself.
admin("SET norikv.server = 'whole';
	SELECT count(norikv.put(key, value)) FROM norikv.scan_bytes(NULL::bytea)
		WHERE expires_at IS NOT NULL");
await(sub { my $before = outside(); sleep(1); $before eq outside() })
  or die 'the store does not come to rest';
# Calls over the whole store were free to write among the tenant's keys, too.
admin("SELECT count(norikv.delete(key)) FROM norikv.scan_bytes('$PREFIX'::bytea)
	WHERE length(key) > 12");
my $before = outside();
cmp_ok(($before =~ tr/\n//), '>', 20, 'there is an outside');
is(inside(), 0, 'and nothing inside');

# ---- Functions ----

my ($out, $err) = run_calls("confined", "inside", @calls, reverse @calls);
shows_nothing('functions', $out, $err);
is(outside(), $before, 'functions: the outside is as it was');
cmp_ok(inside(), '>', 10, 'functions: the calls did something');
my $refused = () = $err =~ /ERROR:/g;
cmp_ok($refused, '<', @calls, 'functions: most of the calls went through')
  or diag($err);

# The setting cannot widen what the server leaves.
my @widening = map { "SET norikv.tenant = " . quoted($_) }
  grep { is_text($_) && length $_ < 100 } @hostile;
my @looking = (
	q{SELECT * FROM norikv.scan_bytes(NULL::bytea)}, q{SELECT * FROM norikv.get('k')},
	q{SELECT * FROM norikv.get('tenant:widgets:k')},
	q{SELECT * FROM norikv.put('k', 'inside')}, q{SELECT norikv.mdelete(ARRAY['k', '..'])});
shows_nothing('setting', run_calls('confined', 'inside', map { ($_, @looking) } @widening));
is(outside(), $before, 'setting: the outside is as it was');

# Nor can another server be used, or made.
for my $attempt (
	"SET norikv.server = 'norikv'; SELECT norikv.get('k')",
	"SET norikv.server = 'whole'; SELECT norikv.get('k')",
	"SELECT norikv.ping('whole')",
	"ALTER SERVER acme OPTIONS (DROP tenant)",
	"ALTER SERVER acme OPTIONS (SET tenant 'widgets')",
	"ALTER SERVER acme OWNER TO confined",
	"CREATE SERVER mine FOREIGN DATA WRAPPER norikv",
	"CREATE USER MAPPING FOR confined SERVER acme OPTIONS (tenant 'widgets')",
	"CREATE FOREIGN TABLE t (key text, value text) SERVER whole",
	"IMPORT FOREIGN SCHEMA x FROM SERVER whole INTO public")
{
	my ($status, $shown, $error) = $node->psql('postgres', $attempt,
		extra_params => [ '-U', 'confined' ], on_error_stop => 1);
	isnt($status, 0, "refused: $attempt");
	unlike($shown . $error, qr/$CANARY/, 'and shows nothing');
}

# ---- Foreign tables ----

my @table_calls;
my $n = 0;
for my $prefix (grep { is_text($_) && length $_ < 1013 } @hostile)
{
	for my $keep ('true', 'false')
	{
		for my $type ('text COLLATE "C"', 'bytea')
		{
			my $t = 'hostile_' . $n++;
			push @table_calls,
			  "CREATE FOREIGN TABLE $t (key $type, value bytea) SERVER acme OPTIONS
				(prefix " . quoted($prefix) . ", keep_prefix '$keep', truncatable 'true',
				write_mode '" . ($n % 3 ? 'transaction' : 'immediate') . "')",
			  "SELECT * FROM $t", "SELECT count(*) FROM $t", "ANALYZE $t",
			  "SELECT * FROM $t ORDER BY key DESC LIMIT 3",
			  "INSERT INTO $t VALUES (" . quoted($prefix) . " || 'k', 'VALUE')",
			  "INSERT INTO $t VALUES ('k', 'VALUE')",
			  "SELECT * FROM $t WHERE key >= '' AND key < repeat('z', 1100)::" .
			  ($type eq 'bytea' ? 'bytea' : 'text'),
			  "SELECT o.k, t.value FROM (VALUES ('k'), ('tenant:widgets:k'), ('../k'), ('x'))
				o(k) LEFT JOIN $t t ON t.key = o.k" . ($type eq 'bytea' ? '::bytea' : ''),
			  "UPDATE $t SET value = 'VALUE'",
			  (map { "SELECT * FROM $t WHERE key LIKE $_" }
				  map { $type eq 'bytea' ? "${_}::bytea" : $_ }
				  ("'%'", "'tenant%'", "'../%'", "'_%'", "'\\\\%'")),
			  "DELETE FROM $t WHERE key >= ''", "TRUNCATE $t", "SELECT count(*) FROM $t";
		}
	}
}
push @table_calls, 'CREATE SCHEMA AUTHORIZATION confined',
  'IMPORT FOREIGN SCHEMA x FROM SERVER acme INTO confined';
admin('GRANT CREATE ON DATABASE postgres TO confined');
($out, $err) = run_calls('confined', 'inside', @table_calls);
shows_nothing('foreign tables', $out, $err);
is(outside(), $before, 'foreign tables: the outside is as it was');
like($out, qr/696e73696465/, 'foreign tables: the statements did something') or diag($err);
unlike($err, qr/server closed|PANIC|crash/, 'foreign tables: nothing broke');
my $tables = admin(q{SELECT count(*) FROM pg_foreign_table});
cmp_ok($tables, '>', 30, 'foreign tables: they were there');
like(admin(q{SELECT coalesce(string_agg(most_common_vals::text || histogram_bounds::text, ''), '')
	FROM pg_stats WHERE tablename LIKE 'hostile%'}), qr/^(?!.*$CANARY)/s,
	'foreign tables: nor is anything of it in the statistics');

# ---- The walk-through of docs/operations.md ----

my $operations = slurp_file("$ENV{NORIKV_DOCS}/docs/operations.md");
my ($walk) = $operations =~ /^## Confining a role to a tenant$(.*?)^## /ms;
my ($steps, $check) = $walk =~ /^```sql\n(.*?)^```$/msg;
# A tenant and a server of that name are there already.
s/'acme'/'walked'/g, s/SERVER acme\b/SERVER walked/g for $steps, $check;
admin($steps);
is(admin($check), 'f|{walked}', 'the role has what the walk-through says');
is($node->safe_psql('postgres', "SELECT norikv.put('k', 'v') IS NOT NULL;
	SELECT key FROM norikv.scan()", extra_params => [ '-U', 'acme_app' ]), "t\nk",
	'and sees its own keys');
is(admin("SELECT norikv.get('tenant:walked:k')"), 'v', 'which are those of the tenant');

# ---- Sessions of several tenants at once ----

# What sessions do for each other, they do for those of their tenant.
my $adds = 500;
my @sessions = map {
	my $tenant = $_;
	map { session($node, "SET norikv.tenant = '$tenant';
		DO \$\$ BEGIN FOR i IN 1 .. $adds LOOP PERFORM norikv.counter_add('together');
		END LOOP; END \$\$") } 1 .. 3
} ('', 'one', 'two');
finish_session($_) for @sessions;
is(admin("SELECT norikv.get('together'), norikv.get('tenant:one:together'),
	norikv.get('tenant:two:together')"), join('|', (3 * $adds) x 3),
	'sessions that add at once add to the counter of their own tenant');

done_testing();
