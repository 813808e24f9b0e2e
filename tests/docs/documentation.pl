# The documentation against what it documents: every function, option and setting
# of the catalogue stands in docs/reference.md with its arguments and defaults, and
# nothing stands there that is not in the catalogue; the README's tour runs.
use strict;
use warnings;

use NorikvTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = $ENV{NORIKV_DOCS} // '.';
my $reference = slurp_file("$root/docs/reference.md");
my $readme = slurp_file("$root/README.md");
my $node = norikv_cluster('documentation');

sub rows
{
	my ($sql) = @_;
	return grep { $_ ne '' } split /\n/, $node->safe_psql('postgres', $sql);
}

# Compares two lists as sets, and says which members are in one only.
sub same_set
{
	my ($got, $expected, $what) = @_;
	die "$what: the catalogue has none" unless @$expected;
	my %got = map { $_ => 1 } @$got;
	my %expected = map { $_ => 1 } @$expected;
	my @undocumented = grep { !$got{$_} } sort keys %expected;
	my @invented = grep { !$expected{$_} } sort keys %got;
	ok(!@undocumented, "$what: all of the catalogue are documented")
	  or diag("undocumented: @undocumented");
	ok(!@invented, "$what: all that are documented exist") or diag("invented: @invented");
	return;
}

# ---- Functions: name, arguments, defaults, what they return ----

my @documented_functions =
  map { my $line = $_; $line =~ s/\s+/ /g; $line }
  $reference =~ /^(\w+\(.*\) returns [\w \[\]]+)$/mg;

my @functions = rows(<<'SQL');
SELECT DISTINCT p.proname || '(' || coalesce(string_agg(
           arg.name || CASE WHEN arg.position > inputs.n - p.pronargdefaults
                            THEN ' => ' || defaults.list[arg.position - inputs.n + p.pronargdefaults]
                            ELSE '' END, ', ' ORDER BY arg.position), '') || ') returns '
       || CASE WHEN p.prorettype = 'record'::regtype AND NOT p.proretset THEN 'record'
               WHEN 't' = ANY (p.proargmodes) THEN 'table'
               WHEN p.proretset THEN 'setof record'
               ELSE regexp_replace(p.prorettype::regtype::text, '^norikv\.', '') END
FROM pg_proc p
CROSS JOIN LATERAL (SELECT p.pronargs::int AS n) inputs
CROSS JOIN LATERAL (
    SELECT array_agg(CASE WHEN d ~ '^NULL::' THEN 'NULL'
                          ELSE regexp_replace(d, '::[a-z.]+$', '') END ORDER BY o) AS list
    FROM regexp_split_to_table(pg_get_expr(p.proargdefaults, 0), ', ') WITH ORDINALITY AS x(d, o)) defaults
LEFT JOIN LATERAL (
    SELECT name, row_number() OVER (ORDER BY o) AS position
    FROM unnest(coalesce(p.proargnames, '{}'),
                coalesce(p.proargmodes, array_fill('i'::"char", ARRAY[p.pronargs]))) WITH ORDINALITY AS a(name, mode, o)
    WHERE mode IN ('i', 'b', 'v')) arg ON true
WHERE p.pronamespace = 'norikv'::regnamespace AND p.prokind = 'f'
  AND p.proname NOT LIKE 'version\_%' AND p.proname NOT IN ('validator', 'handler')
GROUP BY p.oid, p.proname, p.prorettype, p.proretset, p.proargmodes, inputs.n, p.pronargdefaults
SQL
same_set(\@documented_functions, \@functions, 'functions');

is( $node->safe_psql('postgres', <<'SQL'), '', 'every object has a comment');
SELECT string_agg(p.oid::regprocedure::text, ' ')
FROM pg_proc p
WHERE p.pronamespace = 'norikv'::regnamespace
  AND obj_description(p.oid, 'pg_proc') IS NULL
SQL

# ---- Options: the validator's own list ----

sub options_of
{
	my ($statement) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $statement);
	my ($list) = $err =~ /Valid options in this context are: (.*)/;
	return split /, /, $list // '';
}

sub documented_in_table
{
	my ($heading) = @_;
	my ($table) = $reference =~ /^\| \Q$heading\E \|.*?\n((?:\|.*\n)+)/m;
	return map { /^\| `([\w.]+)`/ ? $1 : () } split /\n/, $table // '';
}

$node->safe_psql('postgres', 'CREATE SERVER s FOREIGN DATA WRAPPER norikv');
same_set(
	[ documented_in_table('server option') ],
	[ options_of('ALTER SERVER s OPTIONS (zzzzzzzzzz $$$$)') ],
	'server options');
same_set(
	[ documented_in_table('user mapping option') ],
	[ options_of('CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (zzzzzzzzzz $$$$)') ],
	'user mapping options');
same_set(
	[ documented_in_table('table option') ],
	[ options_of('CREATE FOREIGN TABLE t (key text) SERVER s OPTIONS (zzzzzzzzzz $$$$)') ],
	'table options');
same_set(
	[ documented_in_table('column option') ],
	[ options_of('CREATE FOREIGN TABLE t (key text OPTIONS (zzzzzzzzzz $$$$)) SERVER s') ],
	'column options');

# ---- Settings, with defaults and contexts ----

my @settings = rows(<<'SQL');
SELECT name || ' ' || context FROM pg_settings WHERE name LIKE 'norikv.%'
SQL
my @documented_settings = map {
	/^\| `(norikv\.\w+)` \| [^|]*\| (\w+) \|/ ? "$1 $2" : ()
} split /\n/, $reference;
same_set(\@documented_settings, \@settings, 'settings');

# ---- The README's tour, statement by statement in one session ----

my ($tour) = $readme =~ /^## A tour of ten minutes\n(.*?)^## /ms;
my $script = join "\n", $tour =~ /^```sql\n(.*?)^```/msg;
my $statements = () = $script =~ /;|\\gset/g;
my ($code, $out, $err) = $node->psql('postgres', $script, on_error_stop => 1);
is($code, 0, "the tour runs ($statements statements)") or diag($err);

# ---- What other pages show ----

# What a page takes for granted.
my %needed = (patterns => "CREATE TABLE accounts (id int, balance int);\n");
for my $page ('foreign-tables', 'transactions', 'patterns')
{
	my $shown = join "\n", slurp_file("$root/docs/$page.md") =~ /^```sql\n(.*?)^```/msg;
	$node->safe_psql('postgres', qq{CREATE DATABASE "$page"});
	($code, $out, $err) =
	  $node->psql($page, "CREATE EXTENSION norikv;\n" . ($needed{$page} // '') . $shown, on_error_stop => 1);
	is($code, 0, "what docs/$page.md shows runs") or diag($err);
}

$node->stop;
done_testing();
