# Vectors.pm - vectors: searches, writes and a restart, against hnswlib and faiss in one
# process, PostgreSQL alone, and what reading the bytes takes.

package Vectors;

use strict;
use warnings;
use utf8;
use Exporter 'import';
use IPC::Open2;
use Time::HiRes qw(time);
use Bench;

our @EXPORT = qw(measure_vectors);

my $how_many = 100_000;
my $dimensions = 128;
my $queries = 1000;
my $recall = 0.98;

# ---- The peers ----

my ($to_peers, $from_peers, $peers_pid);

# They end when this script does: there is nothing more to read.
sub start_peers
{
	$peers_pid = open2($from_peers, $to_peers, bench_dir() . '/vector_peers_bench',
		'-n', $how_many, '-d', $dimensions, '-q', $queries);
}

sub peers
{
	my ($command) = @_;

	print $to_peers "$command\n";
	$to_peers->flush;
	my $line = <$from_peers> // die "vector_peers_bench failed at \"$command\"\n";
	return { $line =~ /(\w+)=(\S+)/g };
}

# ---- The server ----

# Its directory stays: it is started again.
sub start_server
{
	my ($dir, @command) = @_;

	return spawn('norikvd-vectors', @command, bench_dir() . '/norikvd',
		"--listen=unix:$dir/norikvd.sock", "--data-dir=$dir/data");
}

sub sql
{
	my ($postgres, $sql) = @_;

	return run_sql($postgres->{dir}, "SET search_path = public, norikv; $sql");
}

# Seconds that a statement takes, seen from the server.
sub seconds_of
{
	my ($postgres, $sql) = @_;

	return sql($postgres, <<"SQL");
SELECT clock_timestamp() AS began \\gset
$sql \\gset
SELECT extract(epoch FROM clock_timestamp() - :'began'::timestamptz);
SQL
}

sub settled
{
	my ($dir, $namespace) = @_;
	my $node = "unix:$dir/norikvd.sock";

	chomp(my $vectors = qx(@{[ bench_dir() ]}/vector_settled $node $namespace));
	die "$namespace has \"$vectors\" vectors\n" unless $vectors eq $how_many;
}

sub load_files
{
	my ($postgres) = @_;
	my $dir = fresh_dir('vectors');

	peers("write $dir");
	sql($postgres, <<"SQL");
CREATE TABLE vectors (id text, embedding real[]);
CREATE TABLE queries (n int, embedding real[], nearest text[]);
CREATE TEMPORARY TABLE loaded (n text, embedding real[], nearest text[]);
COPY vectors FROM '$dir/vectors' (FORMAT binary);
COPY loaded FROM '$dir/queries' (FORMAT binary);
INSERT INTO queries SELECT n::int, embedding, nearest FROM loaded;
CREATE INDEX ON queries (n);
VACUUM ANALYZE vectors, queries;
SQL
}

# ---- Rows ----

# A statement each, both durable and found by searches when it returns. What is in the
# graph by then, and when all is, is measured as well.
sub measure_insert
{
	my ($postgres, $dir) = @_;
	my $theirs = peers('build hnswlib')->{per_second};

	sql($postgres, "SELECT vector_create_index('hnsw', $dimensions, 'euclidean')");
	my $began = time;
	sql($postgres, <<'SQL');
SELECT vector_insert_many('hnsw', array_agg(id), array_agg(embedding)) FROM vectors;
SQL
	my $inserted = $how_many / (time - $began);
	settled($dir, 'hnsw');
	my $linked = $how_many / (time - $began);

	row('vector_insert_many of 100,000 × 128, durable', sprintf('%.0f/s', $inserted),
		sprintf('hnswlib builds: %.0f/s', $theirs), $inserted / $theirs, [ '>=', 0.7 ]);
	row('the same, until all are in the graph', sprintf('%.0f/s', $linked),
		sprintf('hnswlib builds: %.0f/s', $theirs), $linked / $theirs, [ '>=', 0.7 ]);
}

# What a beam finds of what is there.
sub recall_of
{
	my ($postgres, $ef) = @_;

	return sql($postgres, <<"SQL");
SET norikv.ef_search = $ef;
SELECT count(*) FILTER (WHERE s.id = ANY (nearest)) / (10.0 * $queries)
FROM queries, vector_search('hnsw', embedding, 10) s;
SQL
}

# The narrowest beam of these that reaches the recall.
sub narrowest_ef
{
	my ($postgres) = @_;

	for my $ef (10, 15, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 300, 400, 600, 800)
	{
		return $ef if recall_of($postgres, $ef) >= $recall;
	}
	die "no beam reaches a recall of $recall\n";
}

sub searches_per_second
{
	my ($postgres, $ef) = @_;

	return $queries / seconds_of($postgres, <<"SQL");
SET norikv.ef_search = $ef;
SELECT count(s.id) AS found FROM queries, vector_search('hnsw', embedding, 10) s
SQL
}

# By so many backends at once.
sub searches_at_once
{
	my ($postgres, $seconds, $ef, $backends) = @_;
	my $script = "$postgres->{dir}/searches.sql";
	my $last = $queries - 50;

	open(my $file, '>', $script) or die "$script: $!\n";
	print $file <<"SQL";
\\set n random(0, $last)
SELECT count(s.id) FROM queries, norikv.vector_search('hnsw', embedding, 10) s
WHERE n BETWEEN :n AND :n + 49;
SQL
	close($file) or die "$script: $!\n";
	my $said = qx(PGOPTIONS='-c norikv.ef_search=$ef' pgbench -n -M prepared -c $backends -j 1 -T $seconds -f $script -h $postgres->{dir} postgres 2>&1);
	my ($per_second) = $said =~ /^tps = ([0-9.]+)/m or die "pgbench failed:\n$said";
	return $per_second * 50;
}

sub measure_search
{
	my ($rounds, $seconds, $postgres) = @_;
	my $ef = sql($postgres, 'SELECT setting FROM pg_settings WHERE name = $$norikv.ef_search$$');
	my $ours = sub { searches_per_second($postgres, $ef) };

	# As it is when nobody sets anything, and where a call costs more than the search.
	peers('build faiss');
	for my $case ([ 'the default beam', $ef ], [ 'the narrowest beam', narrowest_ef($postgres) ])
	{
		my ($beam, $width) = @$case;
		my $reached = recall_of($postgres, $width);

		die "a recall of $reached\n" if $reached < $recall;
		for my $peer (qw(hnswlib faiss))
		{
			my ($searches, $theirs, $ratio) = alternate($rounds,
				sub { searches_per_second($postgres, $width) },
				sub { peers("search $peer $reached")->{per_second} });

			row(sprintf('vector_search, k = 10, %s, recall %.3f', $beam, $reached),
				sprintf('%.0f/s', $searches), sprintf("$peer: %.0f/s", $theirs), $ratio,
				[ '>=', 0.5 ]);
		}
	}

	my $local = median(
		map {
			seconds_of($postgres, <<'SQL')
SELECT count(*) AS found FROM (SELECT id FROM vectors
	ORDER BY embedding <-> (SELECT embedding FROM queries WHERE n = 0) LIMIT 10) s
SQL
		} 1 .. 3);
	my $searches = median(map { $ours->() } 1 .. $rounds);

	row('vector_search, times faster', sprintf('%.0f/s', $searches),
		sprintf('a local table: %.1f/s', 1 / $local), $searches * $local, [ '>=', 50 ]);

	my ($many, $one, $ratio) = alternate($rounds,
		sub { searches_at_once($postgres, $seconds, $ef, 8) },
		sub { searches_at_once($postgres, $seconds, $ef, 1) });

	row('vector_search, 8 backends on 2 cores', sprintf('%.0f/s', $many),
		sprintf('one backend: %.0f/s', $one), $ratio, [ '>=', 1.7 ]);
}

# The mean of 20, one after the other: all are more bytes than a cache has.
sub measure_exact
{
	my ($rounds, $postgres) = @_;
	my $search = 'SELECT count(*) FROM queries, vector_search($$exact$$, embedding, 10)'
	  . ' WHERE n < 20';

	sql($postgres, <<"SQL");
SELECT vector_create_index('exact', $dimensions, 'euclidean', 'brute_force');
SELECT vector_insert_many('exact', array_agg(id), array_agg(embedding)) FROM vectors;
SQL
	for my $case ([ 'reading the bytes once', 'read', 2 ], [ 'faiss', 'exact', 1 ])
	{
		my ($against, $command, $limit) = @$case;
		my ($exact, $theirs, $ratio) = alternate($rounds,
			sub { seconds_of($postgres, $search) / 20 * 1e3 },
			sub { peers($command)->{ms} });

		row('exact search over 100,000 × 128', sprintf('%.1f ms', $exact),
			sprintf("$against: %.1f ms", $theirs), $ratio, [ '<=', $limit ]);
	}
}

# From the start of the server to the first answer, which is the one it gave before.
sub measure_restart
{
	my ($postgres, $dir, $pid) = @_;
	my $search = <<'SQL';
SELECT string_agg(id, ' ') FROM vector_search('hnsw',
	(SELECT embedding FROM queries WHERE n = 0), 10)
SQL
	# One index is what is read again.
	sql($postgres, "SELECT vector_drop_index('exact')");
	my $before = sql($postgres, $search);

	sql($postgres, <<"SQL");
CREATE FUNCTION first_answer() RETURNS text LANGUAGE plpgsql AS \$\$
BEGIN
	LOOP
		BEGIN
			RETURN ($search);
		EXCEPTION WHEN connection_exception OR operator_intervention THEN
			PERFORM pg_sleep(0.01);
		END;
	END LOOP;
END \$\$;
SQL

	for my $case ([ 'restart', 'INT' ], [ 'restart after kill -9', 'KILL' ])
	{
		my ($what, $signal) = @$case;

		stop($$pid, $signal);
		unlink "$dir/norikvd.sock";
		my $began = time;
		$$pid = start_server($dir);
		my $found = sql($postgres, "SET statement_timeout = '60 s'; SELECT first_answer()");
		my $seconds = time - $began;

		die "after a $what the nearest are $found, not $before\n" if $found ne $before;
		row("$what with 100,000 vectors, until a search", sprintf('%.2f s', $seconds),
			'the clock', $seconds, [ '<=', 2 ], ' s');
	}
}

# start_postgres takes a server and makes a PostgreSQL that knows it.
sub measure_vectors
{
	my ($rounds, $seconds, $start_postgres) = @_;
	my $dir = fresh_dir('norikvd-vectors');
	my $socket = "$dir/norikvd.sock";
	my $pid = start_server($dir);

	wait_for($pid, sub { -S $socket && qx(grep -c ready $dir/../norikvd-vectors.log) > 0 });
	my $postgres = $start_postgres->({ node => "unix:$socket" });
	start_peers();
	load_files($postgres);
	measure_insert($postgres, $dir);
	measure_search($rounds, $seconds, $postgres);
	measure_exact($rounds, $postgres);
	measure_restart($postgres, $dir, \$pid);
	close $to_peers;
	waitpid($peers_pid, 0);
	stop($postgres->{pid});
	stop($pid);
}

1;
