# What the TAP tests share: PostgreSQL clusters with an embedded server, servers of
# their own, sessions in the background, and looking at processes.
package NorikvTest;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use IPC::Run ();
use POSIX qw(:sys_wait_h);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(norikv_cluster norikvds norikvd_program start_norikvd start_tool
  stop_process sql new_seed
  await await_norikvd keeper_of await_log await_backend gone kill_9 rounds slurp_log
  session output_of finish_session stop_line store_answers);

my @children;

# Full with NORIKV_STRESS=1, a tenth otherwise, and one at least.
sub rounds
{
	my ($full) = @_;
	return $full if $ENV{NORIKV_STRESS};
	return $full < 20 ? 1 : int($full / 10);
}

# The seed of a test's random numbers: another one each time, unless it is to fail again.
sub new_seed
{
	my $seed = $ENV{NORIKV_SEED} // int(rand(1_000_000_000));
	note "NORIKV_SEED=$seed";
	srand($seed);
	return $seed;
}

# A cluster that preloads norikv, started, with the extension in "postgres". Options:
# conf: more settings; init: of initdb; bare: no extension; server: the options of the
# server norikv, in place of an embedded store.
sub norikv_cluster
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%{ $options{init} // {} });
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'norikv'\n");
	$node->append_conf('postgresql.conf', "norikv.embedded = off\n") if $options{server};
	$node->append_conf('postgresql.conf', $options{conf}) if defined $options{conf};
	$node->start;
	sql($node, 'CREATE EXTENSION norikv') unless $options{bare};
	sql($node, "CREATE SERVER norikv FOREIGN DATA WRAPPER norikv OPTIONS ($options{server})")
	  if $options{server};
	return $node;
}

# Runs SQL in "postgres", which must go well; what it returns.
sub sql
{
	my ($node, $sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

sub norikvd_program
{
	chomp(my $bindir = `pg_config --bindir`);
	return "$bindir/norikvd";
}

# The processes that run norikvd for a cluster: they work in its data directory.
sub norikvds
{
	my ($node) = @_;
	my $directory = abs_path($node->data_dir);
	my $program = abs_path(norikvd_program());
	my @found;
	for my $process (glob '/proc/[0-9]*')
	{
		next unless (readlink("$process/exe") // '') eq $program;
		next unless (readlink("$process/cwd") // '') eq $directory;
		push @found, $process =~ m{(\d+)$};
	}
	return @found;
}

# Until a condition holds; its value, or false when it never came to hold.
sub await
{
	my ($condition) = @_;
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;
	while (time() < $end)
	{
		my $value = $condition->();
		return $value if $value;
		usleep(50_000);
	}
	return 0;
}

# The pid of the one norikvd of a cluster, other than one that was there before.
sub await_norikvd
{
	my ($node, $before) = @_;
	return await(
		sub {
			my @pids = grep { !defined $before || $_ != $before } norikvds($node);
			return @pids == 1 ? $pids[0] : 0;
		}) || die 'there is no norikvd';
}

# The pid of a cluster's keeper; 0: none runs. It is connected to no database, so that no
# view has it.
sub keeper_of
{
	my ($node) = @_;
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	for my $process (glob '/proc/[0-9]*')
	{
		# Processes come and go meanwhile.
		open(my $status, '<', "$process/status") or next;
		next unless grep { /^PPid:\s+$postmaster$/ } <$status>;
		open(my $title, '<', "$process/cmdline") or next;
		return $process =~ s{.*/}{}r if (<$title> // '') =~ /norikv keeper/;
	}
	return 0;
}

sub gone
{
	my ($pid) = @_;
	return await(sub { !-e "/proc/$pid" });
}

sub slurp_log
{
	my ($node, $offset) = @_;
	return PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset // 0);
}

sub await_log
{
	my ($node, $pattern, $offset) = @_;
	return await(sub { slurp_log($node, $offset) =~ $pattern });
}

# Does the store answer with what was put there?
sub store_answers
{
	my ($node, $key, $value, $what) = @_;
	is($node->safe_psql('postgres', "SELECT norikv.get('$key')"), $value, $what);
}

# A norikvd of the test's own; returns its pid once it is ready. Its output goes to
# the file named.
sub start_norikvd
{
	my ($log, @arguments) = @_;
	return start_program($log, norikvd_program(), @arguments, "--parent=$$");
}

# The same for a program of tests/tools.
sub start_tool
{
	my ($log, $name, @arguments) = @_;
	return start_program($log, "$ENV{NORIKV_TOOLS}/$name", @arguments);
}

sub start_program
{
	my ($log, $program, @arguments) = @_;
	open(my $output, '>', $log) or die "$log: $!";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>&', $output);
		open(STDERR, '>&', $output);
		exec($program, @arguments) or POSIX::_exit(1);
	}
	push @children, $pid;
	await(
		sub {
			die "$program ended: " . PostgreSQL::Test::Utils::slurp_file($log)
			  if waitpid($pid, WNOHANG) != 0;
			return PostgreSQL::Test::Utils::slurp_file($log) =~ /^ready/m;
		}) or die "$program did not get ready: " . PostgreSQL::Test::Utils::slurp_file($log);
	return $pid;
}

sub stop_process
{
	my ($pid, $signal) = @_;
	kill 'CONT', $pid;
	kill $signal // 'TERM', $pid;
	waitpid($pid, 0);
	@children = grep { $_ != $pid } @children;
	return $?;
}

# Runs SQL in a session of its own, in the background.
sub session
{
	my ($node, $sql, %options) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my $session = { out => "$directory/out", err => "$directory/err" };
	PostgreSQL::Test::Utils::append_to_file("$directory/sql", "$sql\n;\n");
	$session->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d',
			$node->connstr($options{database} // 'postgres') ],
		'<', "$directory/sql", '>', $session->{out}, '2>', $session->{err});
	return $session;
}

# For the SQL of a session: stops a process there and then. kill comes back before
# the last thread has stopped, which could still answer.
sub stop_line
{
	my ($pid) = @_;
	return "\\! kill -STOP $pid; while grep -L '^State:.T' /proc/$pid/task/*/status | grep -q .; do :; done\n";
}

# What it has written to standard output so far.
sub output_of
{
	my ($session) = @_;
	return PostgreSQL::Test::Utils::slurp_file($session->{out});
}

# Waits for its end; returns what it wrote to standard output and error.
sub finish_session
{
	my ($session) = @_;
	IPC::Run::finish($session->{run});
	my $out = output_of($session);
	my $err = PostgreSQL::Test::Utils::slurp_file($session->{err});
	chomp($out, $err);
	return ($out, $err);
}

# The backend that runs a query that matches, once it does.
sub await_backend
{
	my ($node, $pattern) = @_;
	return await(
		sub {
			$node->safe_psql('postgres', qq{SELECT pid FROM pg_stat_activity
				WHERE state = 'active' AND query LIKE '$pattern' AND pid <> pg_backend_pid()});
		}) || die "no backend runs a query like $pattern";
}

# As kill -9; a pid that is none would be the process group of the test.
sub kill_9
{
	my ($pid) = @_;
	die 'no process to kill' unless $pid;
	kill 'KILL', $pid;
}

# Nothing outlives the test, however it ends. PostgreSQL's clusters have an END
# block of their own.
END
{
	my $status = $?;
	for my $pid (@children)
	{
		kill 'KILL', $pid;
		waitpid($pid, 0);
	}
	$? = $status;
}

1;
