# An embedding service like OpenAI's, for tests: checks what it is sent, answers with
# the lexical embedding, and misbehaves as the path of its URL says. It writes down
# every request.
package EmbeddingStub;

use strict;
use warnings;

use Fcntl qw(:flock);
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Time::HiRes qw(sleep);

use LexicalReference qw(lexical_embedding);

my $json = JSON::PP->new->utf8->canonical;

# start(directory => ..., key => ...): serves on a port of its own until stopped.
sub start
{
	my ($class, %options) = @_;
	my $self = bless { dimensions => 256, %options }, $class;
	my $listener = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1', Proto => 'tcp', Listen => 64, ReuseAddr => 1)
	  or die "stub: $!";
	$self->{port} = $listener->sockport;
	$self->{pid} = fork() // die "fork: $!";
	if ($self->{pid} == 0)
	{
		setpgrp(0, 0);
		$SIG{CHLD} = 'IGNORE';
		$SIG{TERM} = 'DEFAULT';
		$SIG{PIPE} = 'IGNORE';
		while (1)
		{
			my $connection = $listener->accept or next;
			my $pid = fork();
			next if $pid;
			$listener->close;
			eval { $self->serve($connection); 1 } or $self->note({ fault => "$@" });
			POSIX::_exit(0);
		}
	}
	$listener->close;
	return $self;
}

# With those that still keep a connection: they are the process group of the listener.
sub stop
{
	my ($self) = @_;
	kill 'KILL', -$self->{pid} or kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	$self->{pid} = 0;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;
	$self->stop if $self->{pid} && $$ == ($self->{owner} //= $$);
	return;
}

sub url
{
	my ($self, $path) = @_;
	return "http://127.0.0.1:$self->{port}/$path/v1/embeddings";
}

# ---- What it has seen ----

sub note
{
	my ($self, $seen) = @_;
	open(my $log, '>>', "$self->{directory}/requests") or die "requests: $!";
	flock $log, LOCK_EX;
	print $log $json->encode($seen), "\n";
	close $log;
	return;
}

# All requests so far to a path.
sub requests
{
	my ($self, $path) = @_;
	open(my $log, '<', "$self->{directory}/requests") or return ();
	return grep { !defined $path || ($_->{path} // '') eq $path }
	  map { $json->decode($_) } <$log>;
}

# ---- Serving ----

sub serve
{
	my ($self, $connection) = @_;
	while (my $request = read_request($connection))
	{
		my ($path) = $request->{target} =~ m{^/([^/]*)/v1/embeddings$};
		$request->{path} = $path // $request->{target};
		my $number = $self->requests($request->{path});
		$self->note({ %$request });
		my ($status, $headers, $body) = $self->answer($request, $number);
		return unless $status;
		my $size = length $body;
		print $connection "HTTP/1.1 $status Because\r\nContent-Type: application/json\r\n",
		  map({ "$_\r\n" } @$headers), "Content-Length: $size\r\n\r\n", $body;
		$connection->flush;
	}
	return;
}

sub read_request
{
	my ($connection) = @_;
	local $/ = "\r\n";
	my $line = <$connection> // return;
	my ($method, $target) = $line =~ m{^(\S+) (\S+) HTTP/1\.1\r\n$} or die "request: $line";
	my %headers;
	while (defined($line = <$connection>) && $line ne "\r\n")
	{
		my ($name, $value) = $line =~ /^([^:]+):\s*(.*?)\r\n$/ or die "header: $line";
		$headers{ lc $name } = $value;
	}
	read($connection, my $body, $headers{'content-length'} // 0);
	return { method => $method, target => $target, headers => \%headers, body => $body };
}

# What is wrong with a request; nothing where it is right.
sub fault
{
	my ($self, $request) = @_;
	my $key = $self->{key};
	return (405, 'not a POST') if $request->{method} ne 'POST';
	return (400, 'not JSON') if ($request->{headers}{'content-type'} // '') ne 'application/json';
	my $given = $request->{headers}{authorization} // '';
	return (401, "Incorrect API key provided: $given") if defined $key && $given ne "Bearer $key";
	my $asked = eval { $json->decode($request->{body}) } // return (400, 'no JSON');
	return (400, 'input is no list') if ref $asked->{input} ne 'ARRAY' || !@{ $asked->{input} };
	return (400, 'an input is empty') if grep { !/\S/ } @{ $asked->{input} };
	return (413, 'too many inputs') if @{ $asked->{input} } > 32;
	return;
}

sub http_date
{
	my ($time) = @_;
	my @gm = gmtime $time;
	my $day = (qw(Sun Mon Tue Wed Thu Fri Sat))[ $gm[6] ];
	my $month = (qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[ $gm[4] ];
	return sprintf('%s, %02d %s %d %02d:%02d:%02d GMT',
		$day, $gm[3], $month, $gm[5] + 1900, @gm[ 2, 1, 0 ]);
}

sub refusal
{
	my ($status, $message, @headers) = @_;
	return ($status, \@headers, $json->encode({ error => { message => $message } }));
}

sub vectors
{
	my ($self, $request, $dimensions) = @_;
	my $asked = $json->decode($request->{body});
	my @texts = @{ $asked->{input} };
	$dimensions //= $asked->{dimensions} // $self->{dimensions};
	my @data = map {
		{
			object => 'embedding',
			index => $_,
			embedding => [ lexical_embedding($texts[$_], $dimensions) ]
		}
	} 0 .. $#texts;
	# Any order will do: the index counts.
	return {
		object => 'list', data => [ reverse @data ], model => $asked->{model},
		usage => { prompt_tokens => 8, data => [ { embedding => [ 'no' ] } ] } };
}

# Of the path: status, headers and body; nothing: the connection is closed.
sub answer
{
	my ($self, $request, $number) = @_;
	my $path = $request->{path};
	my @refused = $self->fault($request);
	return refusal(@refused) if @refused;
	return refusal(429, 'slow down', 'Retry-After: 1') if $path eq 'limited' && $number < 2;
	return refusal(429, 'slow down', 'Retry-After: ' . http_date(time + 2)) if $path eq 'dated' && $number < 1;
	return refusal(503, 'come back', 'Retry-After: 2') if $path eq 'later' && $number < 1;
	return refusal(429, 'slow down', 'Retry-After: 3600') if $path =~ /^(?:exhausted|patient)$/;
	return refusal(503, 'starting') if $path eq 'starting' && $number < 2;
	return refusal(500, 'out of order') if $path eq 'broken';
	return refusal(400, "bad: $request->{headers}{authorization}") if $path eq 'echo';
	return (307, ["Location: $self->{elsewhere}"], '') if $path eq 'moved';
	return if $path eq 'closing';
	sleep 3600 if $path eq 'never';
	sleep 0.3 if $path eq 'slow';
	return (200, [], 'no JSON') if $path eq 'garbage';
	return (200, [], "{\"data\":[{\"index\":0,\"embedding\":[1,\"\xff\"]}]}") if $path eq 'bytes';
	return (200, [], '{"data":[{"index":0,"embedding":[1,1e400]}]}') if $path eq 'infinite';
	return (200, [], '{"data":[{"index":0,"embedding":[1,"2"]}]}') if $path eq 'strings';
	return (200, [], '{"data":[{"index":7,"embedding":[1,2]}]}') if $path eq 'index';
	return (200, [], '{"data":[]}') if $path eq 'fewer';
	return (200, [], '{"data":[{"index":0,"embedding":[]}]}') if $path eq 'empty';
	return (200, [], '[' . '0,' x (9 * 1024 * 1024) . '0]') if $path eq 'endless';
	return (200, [], $json->encode($self->vectors($request, $path eq 'other-size' ? 3 : undef)));
}

1;
