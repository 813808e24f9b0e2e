# Bench.pm - what the benchmarks stand on: servers that end with the script,
# medians of alternating runs, and the table.

package Bench;

use strict;
use warnings;
use utf8;
use Exporter 'import';
use File::Path qw(make_path remove_tree);
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(sleep time);

our @EXPORT = qw(alternate bench_dir fresh_dir load median row run_sql spawn stop table
  wait_for);

my $programs = $ENV{NORIKV_BENCH} or die "NORIKV_BENCH is not set: use scripts/bench\n";
my $work = $ENV{NORIKV_WORK} or die "NORIKV_WORK is not set: use scripts/bench\n";
my %running;
my @rows;

binmode($_, ':encoding(UTF-8)') for *STDOUT, *STDERR;

# Whatever ends this script ends what it started.
$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);

END
{
	my $status = $?;
	stop($_) for keys %running;
	remove_tree("$work/run");
	$? = $status;
}

sub bench_dir
{
	return $programs;
}

sub fresh_dir
{
	my ($name) = @_;
	my $dir = "$work/run/$name";

	remove_tree($dir);
	make_path($dir);
	return $dir;
}

# Starts a server, its output into a file of its own. The kernel ends it even
# where this script is killed with -9.
sub spawn
{
	my ($name, @command) = @_;
	my $log = "$work/run/$name.log";
	my $pid = fork // die "fork: $!\n";

	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null') or POSIX::_exit(126);
		open(STDOUT, '>', $log) or POSIX::_exit(126);
		open(STDERR, '>&', \*STDOUT) or POSIX::_exit(126);
		exec('setpriv', '--pdeathsig', 'INT', '--', @command) or POSIX::_exit(127);
	}
	$running{$pid} = { name => $name, log => $log };
	return $pid;
}

# With that signal first; INT unless it is told.
sub stop
{
	my ($pid, $first) = @_;

	return unless delete $running{$pid};
	for my $signal ($first // 'INT', 'KILL')
	{
		kill $signal, $pid;
		for (1 .. 200)
		{
			return if waitpid($pid, WNOHANG) != 0;
			sleep 0.05;
		}
	}
}

# Until the server answers what it is asked; with its log where it never does.
sub wait_for
{
	my ($pid, $answers) = @_;
	my $server = $running{$pid};

	for (1 .. 300)
	{
		last if waitpid($pid, WNOHANG) != 0;
		return if $answers->();
		sleep 0.1;
	}
	die "$server->{name} does not come up:\n" . qx(tail -n 20 $server->{log});
}

# The figures that a load generator prints.
sub load
{
	my ($program, @arguments) = @_;

	open(my $out, '-|', "$programs/$program", @arguments) or die "$program: $!\n";
	my $line = join('', <$out>);
	close($out) or die "$program @arguments failed\n";
	return { $line =~ /(\w+)=(\S+)/g };
}

sub run_sql
{
	my ($dir, $sql) = @_;

	my $script = "$work/run/script.sql";

	# From a file: with -c there are no \gset and no COMMIT of procedures.
	open(my $file, '>:encoding(UTF-8)', $script) or die "$script: $!\n";
	print $file $sql;
	close($file) or die "$script: $!\n";
	my @psql = (qw(psql -XqAt -v ON_ERROR_STOP=1 -d postgres -h), $dir, '-f', $script);

	open(my $out, '-|', @psql) or die "psql: $!\n";
	chomp(my @lines = <$out>);
	close($out) or die "psql failed: $sql\n";
	return $lines[-1];
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;

	return $sorted[ @sorted / 2 ];
}

# A B A B ...: the machine drifts, so that only neighbours can be compared. The
# medians of both, and the median of the ratios of neighbours.
sub alternate
{
	my ($rounds, $first, $second) = @_;
	my (@first, @second, @ratios);

	for (1 .. $rounds)
	{
		push @first, $first->();
		push @second, $second->();
		push @ratios, $first[-1] / $second[-1];
	}
	return (median(@first), median(@second), median(@ratios));
}

# One line of the table. $limit is [ '<=', 1.2 ]; $ratio is held against it.
sub row
{
	my ($what, $measured, $against, $ratio, $limit, $unit) = @_;
	my ($relation, $bound) = @$limit;
	my $held = $relation eq '<=' ? $ratio <= $bound : $ratio >= $bound;
	my $missed_by = abs($ratio - $bound) / $bound;

	push @rows,
	  {
		what => $what,
		measured => $measured,
		against => $against,
		ratio => sprintf('%.2f%s', $ratio, $unit // ''),
		target => ($relation eq '<=' ? 'at most ' : 'at least ') . $bound . ($unit // ''),
		verdict => $held ? 'OK' : sprintf('missed by %.0f %%', $missed_by * 100)
	  };
	printf STDERR "%s: %s, against %s: %s (%s)\n",
	  @{ $rows[-1] }{qw(what measured against ratio verdict)};
}

sub table
{
	my @columns = qw(what measured against ratio target verdict);
	my %width;

	for my $line ({ map { $_ => $_ } @columns }, @rows)
	{
		for (@columns)
		{
			$width{$_} = length $line->{$_} if length $line->{$_} > ($width{$_} // 0);
		}
	}
	my $format = '| ' . join(' | ', map { "%-$width{$_}s" } @columns) . " |\n";
	return join('',
		sprintf($format, @columns),
		sprintf($format, map { '-' x $width{$_} } @columns),
		map { sprintf($format, @$_{@columns}) } @rows);
}

1;
