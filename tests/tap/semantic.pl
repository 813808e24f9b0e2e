# What is built on vectors, under concurrency and crashes: of near-duplicates that are
# checked at once one is stored; no interaction is lost; document and vector are there
# together or not at all, whatever is killed; other servers than norikvd say what they
# lack.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $node = norikv_cluster('semantic');
my $directory = PostgreSQL::Test::Utils::tempdir_short();

# Runs SQL in so many sessions at once, each with its number as :n.
sub all_at_once
{
	my ($sessions, $sql) = @_;
	my @running = map { session($node, "\\set n $_\n$sql") } 1 .. $sessions;
	my @ended = map { [ finish_session($_) ] } @running;
	return (join("\n", grep { $_ ne '' } map { $_->[0] } @ended), join('', map { $_->[1] } @ended));
}

# The sessions wait for each other, by an advisory lock that is shared once it is free.
sub together
{
	my ($sessions, $sql) = @_;
	my $gate = session($node, q{SELECT pg_advisory_lock(42); SELECT 'closed'; SELECT pg_sleep(3600)});
	await(sub { output_of($gate) =~ /closed/ }) or die 'the gate does not close';
	my @running = map {
		session($node, "\\set n $_\nSELECT norikv.embed('warm') IS NULL \\g /dev/null\nSELECT pg_advisory_lock_shared(42) \\g /dev/null\n$sql")
	} 1 .. $sessions;
	await(
		sub {
			$sessions == $node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted});
		}) or die 'not all sessions wait';
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock'});
	IPC::Run::finish($gate->{run});
	my @ended = map { [ finish_session($_) ] } @running;
	return (join("\n", grep { $_ ne '' } map { $_->[0] } @ended), join('', map { $_->[1] } @ended));
}

# ---- Deduplication: two at once store one ----

$node->safe_psql('postgres', q{SELECT norikv.dedup_check('first', 'so that there is an index')});
my ($rounds, $sessions) = (rounds(60), 6);
my ($wrong, $stored_none) = (0, 0);
for my $round (1 .. $rounds)
{
	my ($out, $error) = together(
		$sessions, qq{SELECT is_duplicate, duplicate_of FROM norikv.dedup_check('r$round:' || :n,
			'Round $round of words that nobody else has written: ' || CASE WHEN :n % 2 = 0 THEN 'the' ELSE 'a' END || ' end, ' || md5('$round'))});
	is($error, '', "round $round: no errors");
	my @verdicts = split /\n/, $out;
	my $originals = grep { /^f/ } @verdicts;
	my $left = $node->safe_psql('postgres', qq{SELECT count(*) FROM norikv.scan('dedup:r$round:')});
	my $vectors = $node->safe_psql('postgres', qq{SELECT count(*) FROM generate_series(1, $sessions) AS n WHERE norikv.vector_get('doc_fingerprints', 'r$round:' || n) IS NOT NULL});
	$wrong++ if @verdicts != $sessions || $originals != 1 || $left != 1 || $vectors != 1;
	diag("round $round: $originals originals, $left records, $vectors vectors of " . @verdicts) if $wrong;
}
is($wrong, 0, "of $sessions near-duplicates at once one is stored, $rounds times");

# ---- Recommendations: no interaction is lost ----

# Products that are unit vectors: the user's vector tells which interactions count, for
# the sum of its components stays 1, and each of them halves what was there before.
$node->safe_psql('postgres', q{
	SELECT norikv.product_index('p', 'x', 'y', 'z');
	SELECT norikv.vector_insert('products', 'unit' || n, (SELECT array_agg((i = n)::int::real ORDER BY i) FROM generate_series(1, 256) AS i))
	FROM generate_series(1, 16) AS n});
my ($out, $error) = together(16, q{SELECT norikv.interaction_record('user', 'unit' || :n)});
is($error, '', 'interactions at once: no errors');
is($out =~ tr/t//, 16, 'and each is recorded');
my $weights = $node->safe_psql('postgres', q{
	SELECT string_agg(round(log(2, component::numeric))::text, ' ' ORDER BY component)
	FROM unnest(norikv.vector_get('user_prefs', 'user')) AS component WHERE component > 0});
is($weights, join(' ', map { -$_ } (15, reverse(1 .. 15))), 'each moved the user halfway, one after the other');

# ---- Document and vector: of one writer, however many there are ----

# Where the version is the same before and after, nothing was written in between.
$node->safe_psql('postgres', q{
	CREATE FUNCTION apart(document text, times int) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		found int := 0;
		before norikv.version;
		meta jsonb;
		vector real[];
	BEGIN
		FOR i IN 1 .. times LOOP
			before := (norikv.entry('doc:meta:' || document)).version;
			meta := norikv.get_json('doc:meta:' || document);
			vector := norikv.vector_get('documents', document);
			IF before OPERATOR(norikv.=) (norikv.entry('doc:meta:' || document)).version
				AND vector <> norikv.embed((meta ->> 'title') || ' ' || (meta ->> 'content')) THEN
				found := found + 1;
			END IF;
		END LOOP;
		RETURN found;
	END $$;
	SELECT norikv.document_index('one', 'Version', 'the first')});
($out, $error) = together(5, q{SELECT CASE WHEN :n = 1 THEN apart('one', 300)
	ELSE (SELECT 0 * count(norikv.document_index('one', 'Version ' || :n, 'the words of writer ' || chr(96 + :n) || i)) FROM generate_series(1, 100) AS i) END});
is($error, '', 'four sessions index one document, and one looks at it');
is($out, "0\n0\n0\n0\n0", 'document and vector are always of the same writer');

# ---- Document and vector, with norikvd killed ----

my $writers = 4;
my @running = map {
	session($node, qq{DO \$do\$
		BEGIN
			FOR i IN 1 .. 150 LOOP
				BEGIN
					IF i % 5 = 0 THEN
						PERFORM norikv.document_delete('d' || $_ || ':' || i / 2);
					ELSE
						PERFORM norikv.document_index('d' || $_ || ':' || i, 'Title ' || i, 'written by $_');
					END IF;
				EXCEPTION WHEN connection_exception OR transaction_resolution_unknown OR query_canceled THEN
					NULL;
				END;
			END LOOP;
		END \$do\$})
} 1 .. $writers;
my $pid = await_norikvd($node);
for my $kill (1 .. 2)
{
	await(sub { $node->safe_psql('postgres', q{SELECT count(*) FROM norikv.scan('doc:meta:d')}) > 40 * $kill });
	kill_9($pid);
	$pid = await_norikvd($node, $pid);
}
my @errors = map { (finish_session($_))[1] } @running;
is(join('', @errors), '', 'writers live through it');
is($node->safe_psql('postgres', q{
		SELECT count(*) FILTER (WHERE norikv.vector_get('documents', substr(key, 10)) IS NULL) FROM norikv.scan('doc:meta:d')}),
	0, 'no document without its vector');
is($node->safe_psql('postgres', q{
		SELECT count(*) FILTER (WHERE NOT norikv.has_key('doc:meta:' || id)) FROM norikv.vector_search('documents', norikv.embed('Title'), 100000)}),
	0, 'no vector without its document');
is($node->safe_psql('postgres', q{
		SELECT (SELECT count(*) FROM norikv.document_search('Title', 100000)) - (SELECT vectors FROM norikv.vector_indexes() WHERE namespace = 'documents')}),
	0, 'and a search finds all of them');

# ---- The first use, by many ----

($out, $error) = together(8, q{SET norikv.tenant = 'fresh'; SELECT norikv.document_index('d' || :n, 'Title', 'Content ' || :n)});
is($error, '', 'eight sessions make one index at once');
is($node->safe_psql('postgres', q{SET norikv.tenant = 'fresh'; SELECT count(*) FROM norikv.document_search('Content', 100)}), 8, 'and all documents are in it');

# ---- A cancel, while the server is stopped ----

my $stopped = session($node, "SELECT norikv.document_search('x') \\g /dev/null\n" . stop_line($pid)
	  . "SET statement_timeout = 200; SELECT norikv.vector_search('documents', norikv.embed('x')); SELECT norikv.dedup_check('y', 'z');");
(undef, $error) = finish_session($stopped);
kill 'CONT', $pid;
is(() = $error =~ /ERROR:  57014/g, 2, 'statement_timeout ends searches and checks');

# ---- A server that has no vectors ----

my $fake = start_tool("$directory/fake.log", 'fake_norikv', '--listen', "unix:$directory/fake");
$node->safe_psql('postgres', qq{CREATE SERVER fake FOREIGN DATA WRAPPER norikv OPTIONS (nodes 'unix:$directory/fake')});
for my $call (q{vector_create_index('x', 3)}, q{vector_insert('x', 'y', '{1}')}, q{vector_get('x', 'y')}, q{vector_delete('x', 'y')},
	q{vector_search('x', '{1}')}, q{vector_indexes()}, q{vector_insert_many('x', '{y}', '{{1}}')}, q{document_index('x', 'y', 'z')},
	q{document_search('x')}, q{product_index('x', 'y', 'z', 'u')}, q{recommendations('x')}, q{dedup_check('x', 'y')})
{
	my (undef, undef, $said) = $node->psql('postgres', "SET norikv.server = 'fake'; SELECT norikv.$call",
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($said, qr/ERROR:  0A000: .*"fake"/, "$call says what the server lacks");
}
stop_process($fake);

$node->stop;
done_testing();
