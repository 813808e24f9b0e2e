# Many sessions move money between few accounts, and try again after 40001: nothing
# is lost, nothing is made, and each transfer that was committed counts once. The
# same at REPEATABLE READ, with rows that are only read, and with FOR UPDATE.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my ($accounts, $sessions, $transfers) = (10, 6, rounds(600));
my $node = norikv_cluster('bank');
my ($major) = $node->safe_psql('postgres', 'SHOW server_version_num') =~ /^(\d+)\d{4}$/;
plan skip_all => 'pgbench tries again from PostgreSQL 15 on' if $major < 15;

$node->safe_psql(
	'postgres', q{
	CREATE SERVER norikv FOREIGN DATA WRAPPER norikv;
	CREATE FOREIGN TABLE account (id int OPTIONS (key 'true'), balance int)
		SERVER norikv OPTIONS (prefix 'bank:account:', format 'json');
	CREATE FOREIGN TABLE transfer (id text OPTIONS (key 'true') COLLATE "C", amount int)
		SERVER norikv OPTIONS (prefix 'bank:transfer:', format 'json');
	CREATE TABLE local_transfer (id text PRIMARY KEY, amount int);
	CREATE SEQUENCE transfers;});

my $move = q{
\set from random(1, 10)
\set to random(1, 10)
\set amount random(1, 50)
BEGIN %s;
%s
INSERT INTO local_transfer VALUES (nextval('transfers'), :amount) RETURNING id AS transfer \gset
UPDATE account SET balance = balance - :amount WHERE id = :from;
UPDATE account SET balance = balance + :amount WHERE id = :to;
INSERT INTO transfer VALUES (:transfer, :amount);
COMMIT;
};

for (
	[ 'READ COMMITTED', '', '' ],
	[ 'REPEATABLE READ, a third account read', 'ISOLATION LEVEL REPEATABLE READ', 'SELECT balance FROM account WHERE id = (:from + :to) % 10 + 1;' ],
	[ 'SERIALIZABLE', 'ISOLATION LEVEL SERIALIZABLE', '' ],
	[ 'FOR UPDATE', '', 'SELECT balance FROM account WHERE id IN (:from, :to) FOR UPDATE;' ])
{
	my ($name, $level, $first) = @$_;
	$node->safe_psql('postgres', "TRUNCATE account, transfer; TRUNCATE local_transfer;
		INSERT INTO account SELECT i, 1000 FROM generate_series(1, $accounts) i");
	my $script = PostgreSQL::Test::Utils::tempdir() . '/move.sql';
	append_to_file($script, sprintf($move, $level, $first));
	my ($out, $err) = ('', '');
	my $ended = IPC::Run::run(
		[ 'pgbench', '-n', '-c', $sessions, '-j', 2, '-t', $transfers, '--max-tries=10000', '-f', $script,
			$node->connstr('postgres') ], '>', \$out, '2>', \$err);
	ok($ended, "$name: every transfer is committed in the end") or diag("$out$err");
	my ($tries) = $out =~ /number of transactions retried: (\d+)/;
	cmp_ok($tries // 0, '>', 0, "$name: some of them met");
	is($node->safe_psql('postgres', 'SELECT sum(balance) FROM account'), $accounts * 1000, "$name: no money is lost or made");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM transfer'), $sessions * $transfers, "$name: each transfer counts once");
	is( $node->safe_psql('postgres', 'SELECT count(*) FROM transfer t FULL JOIN local_transfer l USING (id) WHERE t.amount IS DISTINCT FROM l.amount'),
		0, "$name: the store and the local table agree");
}

done_testing();
