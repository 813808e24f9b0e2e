# The lexical embedding once more, in Perl and without a look at the one in C: what
# both say is what the documentation says. For ASCII, and what Perl folds alike.
package LexicalReference;

use strict;
use warnings;
no warnings 'portable';

use Encode qw(encode_utf8);
use Exporter 'import';

our @EXPORT_OK = qw(lexical_embedding xxh64);

my @function_words = qw(
  a an and are as at be been but by can could did do does for from had has have he her
  his how i if in into is it its may me might must my of on or our over she should so
  some such than that the their them then there these they this those to under up us was
  we were what when where which while who will with would you your);
my %is_function_word = map { $_ => 1 } @function_words;

# ---- XXH64 with seed 0, on integers of 64 bits that wrap ----

my ($p1, $p2, $p3, $p4, $p5) = (
	0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
	0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5);

sub add { use integer; return $_[0] + $_[1] }
sub multiply { use integer; return $_[0] * $_[1] }
sub rotate { my ($x, $n) = @_; return ($x << $n) | (($x >> (64 - $n)) & ((1 << $n) - 1)) }

sub round
{
	my ($lane, $input) = @_;
	return multiply(rotate(add($lane, multiply($input, $p2)), 31), $p1);
}

# Of fewer than 32 bytes: no n-gram is longer, and no word of the tests.
sub xxh64
{
	my ($bytes) = @_;
	my $size = length $bytes;
	die 'too long for this' if $size >= 32;
	my $hash = add($p5, $size);
	for (; length $bytes >= 8; $bytes = substr $bytes, 8)
	{
		$hash ^= round(0, unpack 'Q<', $bytes);
		$hash = add(multiply(rotate($hash, 27), $p1), $p4);
	}
	if (length $bytes >= 4)
	{
		$hash ^= multiply(unpack('L<', $bytes), $p1);
		$hash = add(multiply(rotate($hash, 23), $p2), $p3);
		$bytes = substr $bytes, 4;
	}
	for my $byte (unpack 'C*', $bytes)
	{
		$hash ^= multiply($byte, $p5);
		$hash = multiply(rotate($hash, 11), $p1);
	}
	$hash ^= ($hash >> 33) & 0x7FFFFFFF;
	$hash = multiply($hash, $p2);
	$hash ^= ($hash >> 29) & 0x7FFFFFFFF;
	$hash = multiply($hash, $p3);
	$hash ^= ($hash >> 32) & 0xFFFFFFFF;
	return $hash;
}

# ---- The embedding ----

sub features
{
	my ($word) = @_;
	return ([ " $word ", 1 ]) if $word =~ /[0-9]/;
	my $padded = " $word ";
	my @grams;
	my $squares = 0;
	for my $n (3, 4)
	{
		for my $i (0 .. length($padded) - $n)
		{
			my $weight = $i < 4 ? 1 / ($i + 1) : 1 / 4;
			push @grams, [ substr($padded, $i, $n), $weight ];
			$squares += $weight**2;
		}
	}
	return map { [ $_->[0], $_->[1] / sqrt $squares ] } @grams;
}

# Of a text of characters (not bytes), as a list of numbers.
sub lexical_embedding
{
	my ($text, $dimensions) = @_;
	my @sum = (0) x $dimensions;
	my %times;
	(my $folded = lc $text) =~ s/['\x{2019}]//g;
	$times{$_}++ for $folded =~ /(\w+(?:[+#]+(?![\w+#]))?)/g;
	for my $word (keys %times)
	{
		my $weight = sqrt($times{$word}) * ($is_function_word{$word} ? 0.1 : 1);
		for my $feature (features($word))
		{
			my $hash = xxh64(encode_utf8($feature->[0]));
			my $sign = ($hash >> 63) & 1 ? -1 : 1;
			my $index = ($hash & 0x7FFFFFFFFFFFFFFF) % $dimensions;
			$sum[$index] += $sign * $weight * $feature->[1];
		}
	}
	my $squares = 0;
	$squares += $_**2 for @sum;
	return map { $_ / sqrt($squares) } @sum;
}

1;
