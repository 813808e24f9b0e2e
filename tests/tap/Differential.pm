# The same random statements on a foreign table and on a local one must give the same
# results, row counts and SQLSTATEs, statement by statement. A test brings the
# statements, in which "T" is the table and "U" another view of the same rows; here they
# are put into transactions with savepoints and cursors, run, and compared.
package Differential;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use Test::More;

our @EXPORT = qw(pick compare_statements);

my $per_script = 2_500;
my @open_savepoints;
my $in_transaction;
my $savepoints;

sub pick { return $_[ int(rand(@_)) ]; }

sub transaction_step
{
	my ($test) = @_;
	if (!$in_transaction)
	{
		$in_transaction = 1;
		@open_savepoints = ();
		return 'BEGIN' . pick('', '', ' ISOLATION LEVEL REPEATABLE READ', ' ISOLATION LEVEL SERIALIZABLE');
	}
	my $dice = rand();
	if ($dice < 0.35 || $dice < 0.7 && !@open_savepoints)
	{
		push @open_savepoints, 's' . ++$savepoints;
		return "SAVEPOINT $open_savepoints[-1]";
	}
	if ($dice < 0.7)
	{
		my $at = int(rand(@open_savepoints));
		my $name = $open_savepoints[$at];
		if (rand() < 0.6)
		{
			splice(@open_savepoints, $at + 1);
			return "ROLLBACK TO $name";
		}
		splice(@open_savepoints, $at);
		return "RELEASE $name";
	}
	return $test->{cursor}->() if $dice < 0.8;
	$in_transaction = 0;
	return rand() < 0.6 ? 'COMMIT' : 'ROLLBACK';
}

# An error in a transaction takes back the statement, as it does without one.
sub script
{
	my ($test, $count) = @_;
	$in_transaction = 0;
	my $script = "\\set VERBOSITY sqlstate\n\\set ON_ERROR_ROLLBACK on\n\\pset null '~'\nSET client_min_messages = notice;\n";
	$script .= $test->{settings} // '';
	for my $n (1 .. $count)
	{
		my $statement =
		  rand() < ($in_transaction ? 0.22 : 0.12) ? transaction_step($test) : $test->{statement}->();
		$script .= "\\echo -- $n\n$statement;\n";
	}
	$script .= "COMMIT;\n" if $in_transaction;
	return $script . "$test->{whole};\n";
}

sub run
{
	my ($test, $script, $table, $other) = @_;
	$script =~ s/\bT\b/$table/g;
	$script =~ s/\bU\b/$other/g;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAt', '-d', $test->{node}->connstr('postgres') ], '<', \$script, '>', \$out, '2>&1');
	# A row that fails one constraint and another row that fails the other: which one
	# is found first is nobody's promise.
	$out =~ s/\b(?:23505|23514)\b/constraint/g;
	$out =~ s/\b$_\b/$test->{errors}{$_}/g for keys %{ $test->{errors} // {} };
	return $out;
}

# The statement whose result is another one first, and both results.
sub difference
{
	my ($script, $near, $far) = @_;
	my @near = split /^-- (\d+)\n/m, $near;
	my @far = split /^-- (\d+)\n/m, $far;
	for (my $i = 0; $i < @near || $i < @far; $i++)
	{
		next if ($near[$i] // '') eq ($far[$i] // '');
		my $n = $near[ $i - 1 ];
		my ($sql) = $script =~ /^\\echo -- $n\n(.*?)(?=^\\echo|\z)/ms;
		return "statement $n: $sql\nlocal table:\n$near[$i]\nforeign table:\n" . ($far[$i] // '');
	}
	return '';
}

# node; near and far: two names of the local table, and of the foreign one; statement,
# cursor: make one; only_near, only_far: what becomes of a script for one of the two;
# errors: SQLSTATEs by what they are to count as; whole: a query for all rows; settings: SQL before it all; statements:
# how many; seed: for the message.
sub compare_statements
{
	my (%test) = @_;
	for (my $done = 0; $done < $test{statements}; $done += $per_script)
	{
		my $left = $test{statements} - $done;
		my $script = script(\%test, $left < $per_script ? $left : $per_script);
		my ($for_near, $for_far) = ($script, $script);
		$for_near = $test{only_near}->($script) if $test{only_near};
		$for_far = $test{only_far}->($script) if $test{only_far};
		my $near = run(\%test, $for_near, @{ $test{near} });
		my $far = run(\%test, $for_far, @{ $test{far} });
		my $same = $near eq $far;
		ok($same, "the same results, statements " . ($done + 1) . " and on");
		next if $same;
		diag("NORIKV_SEED=$test{seed}, " . difference($script, $near, $far));
		last;
	}
	return;
}

1;
