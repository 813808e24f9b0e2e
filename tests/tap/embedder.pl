# The embedder "http" against a service that answers, refuses, hangs, and lies: what is
# sent, what becomes of each answer, and that the key is seen by the service and by
# nobody else.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EmbeddingStub;
use LexicalReference qw(lexical_embedding);
use NorikvTest;

my $key = 'sk-proj-Zq7v0Lw3Xk9TtR2mB5nY8dHs';
my $directory = PostgreSQL::Test::Utils::tempdir();
mkdir "$directory/other";
my $other = EmbeddingStub->start(directory => "$directory/other");
my $stub = EmbeddingStub->start(
	directory => $directory, key => $key, elsewhere => $other->url('reached'));

# Nobody listens there: what is on this machine is asked without a proxy.
local $ENV{http_proxy} = 'http://127.0.0.1:1';
my $node = norikv_cluster('embedder', conf => <<'CONF');
log_min_messages = debug1
log_error_verbosity = verbose
# It would log the definition of the user mapping, which has the key.
log_statement = none
CONF

# A server whose service is at this path of the stub.
sub create_server
{
	my ($path, %options) = @_;
	my $name = $path =~ s/-/_/gr;
	my $more = join '', map { ", $_ '$options{$_}'" } sort keys %options;
	my $url = $stub->url($path);
	$node->safe_psql('postgres', qq{
		CREATE SERVER "$name" FOREIGN DATA WRAPPER norikv
			OPTIONS (embedder 'http', embedding_url '$url', embedding_model 'small' $more);
		CREATE USER MAPPING FOR PUBLIC SERVER "$name" OPTIONS (embedding_api_key '$key')});
	return $name;
}

# What SQL says with that server: rows, or the error with its SQLSTATE.
my $said = '';

sub on_server
{
	my ($name, $sql) = @_;
	my ($status, $out, $error) = $node->psql(
		'postgres', qq{SET norikv.server = '$name'; $sql},
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	$said .= "$out$error";
	return $status == 0 ? $out : $error;
}

sub fails
{
	my ($name, $sql, $pattern, $what) = @_;
	like(on_server($name, $sql), qr/ERROR:  $pattern/s, $what);
	return;
}

sub numbers
{
	my ($text) = @_;
	return split /,/, $text =~ s/[{}]//gr;
}

sub same_vector
{
	my ($got, $expected, $what) = @_;
	my $worst = @$got == @$expected ? 0 : 'another number of elements';
	for my $i (0 .. ($worst ? -1 : $#$got))
	{
		my $difference = abs($got->[$i] - $expected->[$i]);
		$worst = $difference if $difference > $worst;
	}
	ok($worst =~ /^[\d.e-]+$/ && $worst < 1e-4, $what) or diag("$what: off by $worst");
	return;
}

# ---- The lexical embedder is what is documented ----

for my $text ('The quick brown fox jumps over the lazy dog.', 'a b c', "don't", 'x86 or arm64?', 'C++, C# and a+b, 1+1=2 #c +d e++f', 'word word word other')
{
	my $sql = $text =~ s/'/''/gr;
	my @built_in = numbers($node->safe_psql('postgres', "SELECT norikv.embed('$sql')"));
	same_vector(\@built_in, [ lexical_embedding($text, 256) ], "lexical: $text");
}

# Whatever the encoding of the database
$node->safe_psql('postgres', q{CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});
$node->safe_psql('latin1', 'CREATE EXTENSION norikv');
is( $node->safe_psql('latin1', q{SET client_encoding = 'UTF8'; SELECT norikv.embed('Größe Ärger')}),
	$node->safe_psql('postgres', q{SELECT norikv.embed('Größe Ärger')}), 'lexical: the same in LATIN1');

# ---- What is sent, and what comes back ----

my $good = create_server('good', embedding_dimensions => 64);
my $text = q{Grüße, "quoted" \\ and a tab	here};
my @vector = numbers(on_server($good, "SELECT norikv.embed(E'Grüße, \"quoted\" \\\\ and a tab\\there')"));
{
	use utf8;
	same_vector(\@vector, [ lexical_embedding('Grüße, "quoted" \\ and a tab	here', 64) ], 'a text and its vector');
}
is( $node->safe_psql('latin1', q{SET client_encoding = 'UTF8';
		CREATE SERVER good FOREIGN DATA WRAPPER norikv OPTIONS (embedder 'http', embedding_dimensions '64', embedding_url '} . $stub->url('latin1') . q{');
		CREATE USER MAPPING FOR PUBLIC SERVER good OPTIONS (embedding_api_key '} . $key . q{');
		SET norikv.server = 'good'; SELECT norikv.embed('Größe Ärger')}),
	on_server($good, q{SELECT norikv.embed('Größe Ärger')}), 'and from LATIN1');
my ($request) = $stub->requests('good');
is($request->{headers}{authorization}, "Bearer $key", 'the key is sent');
like($request->{body}, qr/"model":"small"/, 'the model is sent');
like($request->{body}, qr/"dimensions":64/, 'the dimensions are sent');

is(on_server($good, q{SELECT count(*) FROM unnest(norikv.embed_many(ARRAY['one', 'two'])) AS e}), 128, 'two texts');
my $wrong = on_server($good, q{
	WITH texts AS (SELECT array_agg('text number ' || chr(97 + i % 26) || ' ' || i ORDER BY i) AS all_of FROM generate_series(1, 200) AS i),
		many AS (SELECT all_of, norikv.embed_many(all_of) AS vectors FROM texts)
	SELECT count(*) FROM many, generate_series(1, 200, 37) AS i
	WHERE (SELECT array_agg(e ORDER BY o) FROM unnest(vectors[i:i]) WITH ORDINALITY AS u(e, o))
		OPERATOR(norikv.<->) norikv.embed(all_of[i]) > 1e-4});
is($wrong, 0, 'many texts, in several requests: each has its own vector');
my @sizes = sort { $b <=> $a } map { scalar @{ JSON::PP::decode_json($_->{body})->{input} } } $stub->requests('good');
is($sizes[0], 32, 'in requests of 32 texts');
is(scalar(grep { $_ == 32 } @sizes), 6, 'as many as it takes');
is(on_server($good, q{SELECT norikv.embed_many('{}')}), '{}', 'no text, no request');
# Long ones: fewer, that a request has 256 KiB at most; but one, however long it is.
create_server('long');
is(on_server('long', q{SELECT array_length(norikv.embed_many(array_agg(repeat(' ', n) || 'word')), 1)
	FROM unnest('{80000,80000,80000,400000,1}'::int[]) AS n}), 5, 'long texts');
is(join(' ', sort map { scalar @{ JSON::PP::decode_json($_->{body})->{input} } } $stub->requests('long')),
	'1 1 3', 'go in requests by their size');

# ---- Retries ----

create_server('limited');
my $start = time;
like(on_server('limited', q{SELECT norikv.embed('come again')}), qr/^\{/, '429: asked again');
is(scalar(my @tries = $stub->requests('limited')), 3, '429: as often as it takes');
cmp_ok(time - $start, '>=', 1, 'Retry-After is waited for');
create_server('starting');
like(on_server('starting', q{SELECT norikv.embed('come again')}), qr/^\{/, '503: asked again');
for my $path ('later', 'dated')
{
	create_server($path);
	$start = time;
	like(on_server($path, q{SELECT norikv.embed('come again')}), qr/^\{/, "$path: asked again");
	# By the date, which has whole seconds, at least one of the two.
	cmp_ok(time - $start, '>=', $path eq 'later' ? 2 : 1, "$path: not before the time named");
	is(scalar(@tries = $stub->requests($path)), 2, "$path: once");
}
create_server('closing', embedding_timeout => '3s');
fails('closing', q{SELECT norikv.embed('x')}, '(08006|NK003):.*embedding service', 'a connection that is closed');
cmp_ok(scalar(@tries = $stub->requests('closing')), '>', 1, 'is tried again');

# ---- Refusals and lies ----

my %refused = (
	exhausted => '53400:.*limits the rate.*3600 seconds',
	broken => '38000:.*failed.*status 500: .*out of order',
	moved => '38000:.*somewhere else.*307.*Redirects are not followed',
	garbage => '08P01:.*not valid JSON',
	bytes => '08P01:.*not valid UTF-8',
	infinite => '22023:.*finite elements',
	strings => '08P01:.*not a number',
	index => '08P01:.*index that no text has',
	fewer => '08P01:.*0 vectors for 1 texts',
	empty => '08P01:.*no dimensions',
	endless => '08P01:.*too large',
	echo => '38000:.*status 400: .*bad: Bearer \*+');
for my $path (sort keys %refused)
{
	create_server($path);
	fails($path, q{SELECT norikv.embed('x')}, $refused{$path}, "a service that is $path");
}
is(scalar(my @strayed = $other->requests), 0, 'nothing was sent to where it has moved');
create_server('other-size', embedding_dimensions => 8);
fails('other_size', q{SELECT norikv.embed('x')}, '22023:.*3 dimensions instead of 8', 'dimensions that were not asked for');

$node->safe_psql('postgres', q{	ALTER USER MAPPING FOR PUBLIC SERVER good OPTIONS (SET embedding_api_key 'sk-another-key-which-is-wrong')});
fails('good', q{SELECT norikv.embed('x')}, '28000:.*refused the credentials', 'a wrong key');
unlike($said, qr/sk-another/, 'which is not shown, though the service repeats it');
$node->safe_psql('postgres', 'DROP USER MAPPING FOR PUBLIC SERVER good');
fails('good', q{SELECT norikv.embed('x')}, '28000:.*embedding_api_key', 'no key');

my $gone = $other->url('gone');
$other->stop;
$node->safe_psql('postgres', qq{CREATE SERVER gone FOREIGN DATA WRAPPER norikv
	OPTIONS (embedder 'http', embedding_url '$gone', embedding_timeout '600ms')});
fails('gone', q{SELECT norikv.embed('x')}, '08001:.*could not connect to the embedding service', 'nobody there');
$node->safe_psql('postgres', q{CREATE SERVER far FOREIGN DATA WRAPPER norikv
	OPTIONS (embedder 'http', embedding_url 'http://example.com/v1/embeddings');
	
	CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (embedding_api_key 'sk-another-key-which-is-wrong')});
fails('far', q{SELECT norikv.embed('x')}, '22023:.*unencrypted', 'a key over plain http to another machine');

# ---- TLS: a certificate that nobody vouches for ----

SKIP:
{
	my $openssl = "$directory/openssl";
	skip 'no openssl', 1
	  if system("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout $openssl.key -out $openssl.crt -days 2 >/dev/null 2>&1") != 0;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$directory/openssl.log");
		open(STDERR, '>&', \*STDOUT);
		exec('openssl', 's_server', '-accept', "127.0.0.1:$port", '-key', "$openssl.key", '-cert', "$openssl.crt", '-www')
		  or POSIX::_exit(1);
	}
	await(
		sub {
			-e "$directory/openssl.log" && PostgreSQL::Test::Utils::slurp_file("$directory/openssl.log") =~ /ACCEPT/;
		});
	$node->safe_psql('postgres', qq{CREATE SERVER unknown_ca FOREIGN DATA WRAPPER norikv
		OPTIONS (embedder 'http', embedding_url 'https://localhost:$port/v1/embeddings')});
	fails('unknown_ca', q{SELECT norikv.embed('x')}, '08001:.*certificate', 'a certificate that nobody vouches for');
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

# ---- Time ----

create_server('never', embedding_timeout => '400ms');
fails('never', q{SELECT norikv.embed('x')}, 'NK003:.*took longer than 400 ms', 'a service that does not answer');
$node->safe_psql('postgres', q{ALTER SERVER never OPTIONS (SET embedding_timeout '60s')});
fails('never', q{SET statement_timeout = 200; SELECT norikv.embed('x')}, '57014:', 'statement_timeout ends it');
# While the service does not answer, and while it is given the time that it asked for.
create_server('patient', embedding_timeout => '2h');
my $best = 1e9;
for my $try (1 .. 4)
{
	my $path = $try < 4 ? 'never' : 'patient';
	my $session = session($node, qq{SET norikv.server = '$path'; SELECT /* hangs $try */ norikv.embed('x')});
	my $pid = await_backend($node, "%/* hangs $try */%");
	await(sub { (my @seen = $stub->requests($path)) >= ($try < 4 ? 2 + $try : 1) });
	my $took = $node->safe_psql('postgres', qq{SET log_min_messages = panic; DO \$do\$
		DECLARE
			start timestamptz := clock_timestamp();
		BEGIN
			PERFORM pg_cancel_backend($pid);
			LOOP
				PERFORM pg_stat_clear_snapshot();
				EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state = 'active');
				PERFORM pg_sleep(0.001);
			END LOOP;
			PERFORM set_config('test.took', (extract(epoch FROM clock_timestamp() - start) * 1000)::text, false);
		END \$do\$; SELECT current_setting('test.took')});
	my (undef, $error) = finish_session($session);
	like($error, qr/ERROR:  57014/, 'pg_cancel_backend ends it');
	$best = $took if $took < $best;
}
cmp_ok($best, '<', 100, 'at once');

create_server('slow');
like(on_server('slow', q{SELECT norikv.embed('x')}), qr/^\{/, 'a service that is slow');

# ---- The key is nowhere ----

$node->safe_psql('postgres', q{	CREATE USER MAPPING FOR PUBLIC SERVER good OPTIONS (embedding_api_key '} . $key . q{')});
my $explained = on_server('good', q{EXPLAIN (VERBOSE, ANALYZE) SELECT norikv.embed('x')});
like($explained, qr/norikv\.embed/, 'EXPLAIN explains');
unlike($explained, qr/sk-proj/, 'without the key');
my $parts = join '|', map { quotemeta substr($key, $_, 7) } 0 .. length($key) - 7;
unlike($said, qr/$parts/, 'nothing that was said has the key, or a part of it');
unlike(slurp_log($node), qr/$parts/, 'nor has the log');
is(scalar(grep { exists $_->{fault} } $stub->requests), 0, 'the stub has nothing to complain of');

$stub->stop;
$node->stop;
done_testing();
