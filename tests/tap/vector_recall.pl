# Recall on vectors that mean something: descriptions of packages as the lexical embedder
# has them, and scans of handwritten digits. What a search by the graph finds is held
# against what PostgreSQL finds in a local table, by computing every distance.
use strict;
use warnings;

use Encode qw(decode FB_CROAK);
use IO::Uncompress::Gunzip qw(gunzip);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

# Below 10,000 vectors searches are exact.
my $descriptions = 12_000;
my $queries = 100;
my $digits = '/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz';

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $server = start_norikvd(
	"$directory/norikvd.log", "--listen=unix:$directory/norikvd", "--data-dir=$directory/data");
my $node = norikv_cluster('vector_recall',
	server => "nodes 'unix:$directory/norikvd', timeout '120s', attempt_timeout '60s'");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE text_of (kind text, id text, text text);
CREATE TABLE vector_of (kind text, id text, embedding real[]);
CREATE TABLE query_of (kind text, id text, embedding real[]);
SQL

sub norikv_sql
{
	my ($sql) = @_;
	return sql($node, "SET search_path = public, norikv; $sql");
}

# Rows into a table, by way of a file.
sub copy_rows
{
	my ($table, @rows) = @_;
	my $file = "$directory/rows";
	open(my $out, '>:encoding(UTF-8)', $file) or die "$file: $!";
	print $out join("\t", map { s/([\\\t\n])/\\$1/gr } @$_), "\n" for @rows;
	close($out) or die "$file: $!";
	norikv_sql("COPY $table FROM '$file'");
	return;
}

sub settle
{
	my ($namespace, $expected) = @_;
	my ($out, $error);
	IPC::Run::run([ "$ENV{NORIKV_TOOLS}/vector_settled", "unix:$directory/norikvd", $namespace ],
		'>', \$out, '2>', \$error);
	is($out, "$expected\n", "all of $namespace are in the graph") or diag($error);
	return;
}

# The share of the ten nearest that is found. A vector counts that is as near as the
# tenth of them, since many are at one distance; and no vector counts twice.
sub recall
{
	my ($namespace, $kind, $operator, $ef) = @_;
	return norikv_sql(<<"SQL");
SET norikv.ef_search = $ef;
SELECT count(DISTINCT (q.id, s.id)) FILTER
	(WHERE q.embedding $operator v.embedding <= n.tenth + 1e-5 * greatest(1, abs(n.tenth)))
	/ (10.0 * $queries)
FROM query_of q JOIN nearest n USING (id),
	LATERAL vector_search('$namespace', q.embedding, 10) s
	JOIN vector_of v ON v.kind = '$kind' AND v.id = s.id
WHERE q.kind = '$kind' AND n.namespace = '$namespace'
SQL
}

# By a foreign table: a scan that goes on behind the graph's first page has all that is
# there, once, also behind a filter; and so it is for each row of a table.
sub scan
{
	my ($namespace, $kind, $operator) = @_;
	my $name = "scan_$namespace";
	norikv_sql(<<"SQL");
CREATE FOREIGN TABLE $name (id text OPTIONS (key 'true') COLLATE "C", v real[] OPTIONS (vector 'true'),
	distance real OPTIONS (distance 'true')) SERVER norikv OPTIONS (namespace '$namespace');
SQL
	my $searched = sub {
		my ($sql) = @_;
		return norikv_sql("SET enable_sort = off; $sql");
	};
	my $query = "(SELECT embedding FROM query_of WHERE kind = '$kind' ORDER BY id LIMIT 1)";
	like($searched->("EXPLAIN SELECT id FROM $name ORDER BY v $operator $query LIMIT 10"),
		qr/Strategy: Vector Search/, "$namespace: the foreign table is searched");
	my $all = norikv_sql("SELECT count(*) FROM vector_of WHERE kind = '$kind'");
	is($searched->("SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM $name ORDER BY v $operator $query OFFSET 0) s"),
		"$all|$all", "$namespace: a scan has all, once");
	my $few = norikv_sql("SELECT string_agg(id, ' ' ORDER BY id) FROM vector_of WHERE kind = '$kind' AND hashtext(id) % 1000 = 0");
	is($searched->("SELECT string_agg(id, ' ' ORDER BY id) FROM (SELECT id FROM $name WHERE hashtext(id) % 1000 = 0 ORDER BY v $operator $query LIMIT 1000) s"),
		$few, "$namespace: those that pass a filter are all there");
	my $wrong = $searched->(<<"SQL");
SELECT count(*) FILTER (WHERE n <> 5 OR NOT ascending OR NOT measured) FROM (
	SELECT q.id, count(*) AS n, bool_and(s.distance >= s.before) AS ascending,
		bool_and(abs(s.distance - (s.v $operator q.embedding)) <= 1e-5 * greatest(1, abs(s.distance))) AS measured
	FROM (SELECT * FROM query_of WHERE kind = '$kind' ORDER BY id LIMIT 10) q,
		LATERAL (SELECT *, lag(distance, 1, '-infinity') OVER () AS before
			FROM (SELECT * FROM $name ORDER BY v $operator q.embedding LIMIT 5) n) s
	GROUP BY q.id) of_query
SQL
	is($wrong, 0, "$namespace: ten query vectors, five neighbours each");
	return;
}

sub measure
{
	my ($namespace, $kind, $operator) = @_;
	norikv_sql(<<"SQL");
INSERT INTO nearest SELECT '$namespace', q.id, (SELECT max(distance) FROM
	(SELECT q.embedding $operator v.embedding AS distance FROM vector_of v
	WHERE v.kind = '$kind' ORDER BY 1 LIMIT 10) s)
FROM query_of q WHERE kind = '$kind';
SQL
	my %found = map { $_ => recall($namespace, $kind, $operator, $_) } 0, 10, 400;
	note("$namespace: recall\@10 $found{0}, with ef 10 $found{10}, with ef 400 $found{400}");
	cmp_ok($found{0}, '>=', 0.98, "$namespace: recall by default");
	cmp_ok($found{400}, '>=', 0.995, "$namespace: recall with a wider beam");
	# Or this would measure exact searches.
	cmp_ok($found{10}, '<', 1, "$namespace: a narrow beam misses something");
	scan($namespace, $kind, $operator);
	return;
}

norikv_sql('CREATE TABLE nearest (namespace text, id text, tenth float8)');

# ---- Descriptions ----

# Of all packages that apt knows, or dpkg does: sorted, so that it is the same each time.
sub described
{
	my %text;
	my $name;
	open(my $available, '-|', 'apt-cache dumpavail 2>/dev/null') or return;
	while (my $line = <$available>)
	{
		$name = $1 if $line =~ /^Package: (\S+)/;
		next unless $line =~ /^Description(?:-en)?: (.+)/;
		my $text = eval { decode('UTF-8', my $bytes = $1, FB_CROAK) } // next;
		$text{$name} //= "$name: $text";
	}
	close($available);
	return map { [ $_, $text{$_} ] } sort keys %text;
}

SKIP:
{
	my @all = described();
	my $wanted = $descriptions + $queries;
	skip sprintf('apt knows %d packages here, %d are needed (apt-get update?)', scalar @all,
		$wanted), 8 if @all < $wanted;
	my @chosen = map { $all[ int($_ * @all / $wanted) ] } 0 .. $wanted - 1;
	my $nth = int($wanted / $queries);
	my (@indexed, @asked);
	push @{ $_ % $nth == 0 && @asked < $queries ? \@asked : \@indexed }, $chosen[$_]
	  for 0 .. $#chosen;
	copy_rows('text_of', (map { [ 'indexed', @$_ ] } @indexed), map { [ 'asked', @$_ ] } @asked);
	norikv_sql(<<'SQL');
INSERT INTO vector_of SELECT 'text', id, embed(text) FROM text_of WHERE kind = 'indexed';
INSERT INTO query_of SELECT 'text', id, embed(text) FROM text_of WHERE kind = 'asked';
SELECT vector_create_index('text', (SELECT cardinality(embedding) FROM query_of LIMIT 1));
SELECT vector_insert_many('text', array_agg(id ORDER BY id),
	embed_many(array_agg(text ORDER BY id))) FROM text_of WHERE kind = 'indexed';
SQL
	settle('text', $descriptions);
	measure('text', 'text', '<=>');
}

# ---- Digits ----

# An image of 8 by 8, moved; what comes in is blank.
sub moved
{
	my ($image, $right, $down) = @_;
	my @to;
	for my $y (0 .. 7)
	{
		for my $x (0 .. 7)
		{
			my ($from_x, $from_y) = ($x - $right, $y - $down);
			push @to, $from_x < 0 || $from_x > 7 || $from_y < 0 || $from_y > 7
			  ? 0 : $image->[ 8 * $from_y + $from_x ];
		}
	}
	return '{' . join(',', @to) . '}';
}

SKIP:
{
	skip 'there is no python3-sklearn here, which has the digits', 16 unless -e $digits;
	gunzip($digits => \my $csv) or die "$digits: $IO::Uncompress::Gunzip::GunzipError";
	my @images = map { [ (split /,/)[ 0 .. 63 ] ] } split /\n/, $csv;
	my $nth = int(@images / $queries);
	my (@indexed, @asked);

	# Each is there nine times, a pixel this way and that: the digits alone are too few.
	for my $number (0 .. $#images)
	{
		my $image = $images[$number];
		if ($number % $nth == 0 && @asked < $queries)
		{
			push @asked, [ 'digit', $number, moved($image, 0, 0) ];
			next;
		}
		for my $way (0 .. 8)
		{
			push @indexed,
			  [ 'digit', "$number/$way", moved($image, $way % 3 - 1, int($way / 3) - 1) ];
		}
	}
	copy_rows('vector_of', @indexed);
	copy_rows('query_of', @asked);
	for my $metric ([ 'euclidean', '<->' ], [ 'inner_product', '<#>' ])
	{
		my ($name, $operator) = @$metric;
		norikv_sql(<<"SQL");
SELECT vector_create_index('$name', 64, '$name');
SELECT vector_insert_many('$name', array_agg(id), array_agg(embedding))
	FROM vector_of WHERE kind = 'digit';
SQL
		settle($name, scalar @indexed);
		measure($name, 'digit', $operator);
	}
}

$node->stop;
stop_process($server);
done_testing();
