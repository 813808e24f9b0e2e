# Documents that other programs have broken, in every way that chance finds: each call that
# meets one ends with an answer or with an error that names the key, and what it could not
# read stays as it is, byte by byte.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use NorikvTest;

my $seed = new_seed();
my $rounds = rounds(3000);
my $node = norikv_cluster('documents');
my $id = '00000000-0000-4000-8000-00000000000';

# Keys, what is there when all is well, and what reads it.
my @documents = (
	[ "session:${id}f", '{"userId":"u","email":"e","roles":["a"],"createdAt":1700000000000,"lastAccessedAt":1700000000000,"ttlMs":3600000,"x":{"y":1}}',
		"session_get('${id}f')", "session_update('${id}f', '{\"z\": 1}')", "session_modify('${id}f', 'jsonb_concat(jsonb,jsonb)', '{}')", "session_validate('${id}f')" ],
	[ 'inventory:i', qq({"sku":"i","quantity":100,"reserved":3,"lastUpdated":1700000000000,"holds":{"${id}a":{"quantity":2,"expiresAt":1700000000000},"${id}b":{"quantity":1,"expiresAt":9007199254740991}},"restored":1}),
		"inventory_available('i')", "inventory_reserve('i', 1)", "inventory_restock('i', 1)", "inventory_commit('${id}b')" ],
	[ "inventory:reservation:${id}b", '{"sku":"i","quantity":1,"createdAt":1700000000000,"expiresAt":9007199254740991}',
		"inventory_release('${id}b')", "inventory_commit('${id}b')" ],
	[ 'inventory:reservation:key:1:i:k', qq({"reservation":"${id}b","quantity":1}), "inventory_reserve('i', 1, idempotency_key => 'k')" ],
	[ 'ratelimit:r', '[1700000000000,1795000000000,1795416162666]', "rate_limit_peek('r', 5, '10000 days')", "rate_limit('r', 5, '1 h')" ],
	[ 'ratelimit-b:r', '{"buckets":[1795000000000,5,1795416162666,7]}', "rate_limit_peek('r', 5000, '10000 days')", "rate_limit('r', 5000, '1 h')" ],
	[ 'events:meta:a', '{"version":1,"owner":"x"}',
		"events('a')", "events('a', 9007199254740990)", "event_fold('a', '{}', 'fold(jsonb,text,jsonb)')", "event_append('a', 't', '{}')" ],
	[ 'events:a:1', qq({"id":"${id}c","aggregateId":"a","type":"t","data":{"a":[1,2.5]},"timestamp":1700000000000,"version":1}),
		"events('a')", "event_fold('a', '{}', 'fold(jsonb,text,jsonb)')" ],
	[ "events:id:a:${id}c", '{"version":1}', "event_append('a', 't', '{\"a\": [1, 2.5]}', event_id => '${id}c')" ],
	[ 'tenant-meta:t', '{"id":"t","name":"n","plan":"free","createdAt":1700000000000,"limits":{"maxKeys":1000,"maxStorageMB":10}}',
		"tenant_get('t')", "tenant_usage('t')", "tenant_create('t', 'n')" ],
	[ 'job:j', '{"slot":1,"state":"done","owner":"o","nonce":"n"}', "run_once('j', '1000 days', 'SELECT 1')" ],
	[ 'lock:l', '{"owner":"o","nonce":"n","acquiredAt":1700000000000,"token":281474976752814}', "lock_holder('l')", "try_lock('l')", "lock('l', wait => '0')" ],
	[ 'leader:e', 'node', "leader('e')", "elect('e', 'another')" ],
	[ 'counter', '12345', "counter_get('counter')", "counter_init('counter')", "counter_add('counter')" ]);

sub quoted
{
	my ($text) = @_;
	return "'" . $text =~ s/'/''/gr . "'";
}

sql($node, 'CREATE TABLE documents (key text PRIMARY KEY, document text, calls text[]); INSERT INTO documents VALUES '
	. join(', ', map { my ($key, $document, @calls) = @$_; '(' . quoted($key) . ', ' . quoted($document) . ', ARRAY[' . join(', ', map { quoted($_) } @calls) . '])' } @documents));
sql($node, <<'SQL');
CREATE TABLE calls (call text, state text, message text, document bytea, kept boolean);
CREATE FUNCTION fold(state jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT state || data';
CREATE FUNCTION chosen(VARIADIC choices text[]) RETURNS text LANGUAGE sql AS 'SELECT choices[1 + floor(random() * cardinality(choices))]';

-- A byte, an end, a value, a name, a number is another one; not always JSON after that.
CREATE FUNCTION broken(document bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	at int := floor(random() * length(document));
	nth int := 1 + floor(random() * 7);
	value text := chosen('null', 'true', '1e400', '-0', '1e308', '[]', '{}', '""', '"x"', '{"a":{"a":[1]}}', '"\u0000"', '"\ud800"', '1.5', '-1', '0',
		'9223372036854775807', '9223372036854775808', '-9223372036854775808', '9007199254740992', '1e999999999', '00', '+1', 'NaN', 'Infinity', '0x1', '[', '}');
	text text := convert_from(document, 'UTF8');
BEGIN
	CASE floor(random() * 6)::int
		WHEN 0 THEN RETURN set_byte(document, at, floor(random() * 256)::int);
		WHEN 1 THEN RETURN substr(document, 1, at);
		WHEN 2 THEN RETURN convert_to(substr(text, 1, at) || value || substr(text, at + 1), 'UTF8');
		WHEN 3 THEN RETURN convert_to(regexp_replace(text, ':[^,}\]]+', ':' || replace(value, '\', '\\'), 1, nth), 'UTF8');
		WHEN 4 THEN RETURN convert_to(regexp_replace(text, '"[a-zA-Z]+":', '"x":', 1, nth), 'UTF8');
		ELSE RETURN convert_to(regexp_replace(text, '[0-9]+', replace(value, '\', '\\'), 1, nth), 'UTF8');
	END CASE;
END $$;

CREATE PROCEDURE try_broken(rounds int) LANGUAGE plpgsql AS $$
DECLARE
	tried record;
	there bytea;
	called text;
	state text;
	message text;
	context text;
BEGIN
	FOR i IN 1 .. rounds LOOP
		SELECT * INTO tried FROM documents ORDER BY random() LIMIT 1;
		there := broken(convert_to(tried.document, 'UTF8'));
		FOREACH called IN ARRAY tried.calls LOOP
			PERFORM norikv.put(key, document) FROM documents WHERE split_part(key, ':', 1) = split_part(tried.key, ':', 1);
			PERFORM norikv.put(tried.key, there);
			BEGIN
				EXECUTE 'SELECT count(*) FROM norikv.' || called;
				state := 'answered';
			EXCEPTION WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
			END;
			INSERT INTO calls VALUES (called, state, message || E'\n' || context, there, norikv.get_bytes(tried.key) = there);
		END LOOP;
		COMMIT;
	END LOOP;
END $$;
SQL

my ($code, $out, $error) = $node->psql('postgres', "SELECT setseed($seed / 1e9); CALL try_broken($rounds);");
is($error, '', 'no session broke');
my $tried = sql($node, q{SELECT state, count(*) FROM calls GROUP BY 1 ORDER BY 2 DESC});
note($tried);
# What cannot be read, and what can be and is refused: too little, too late, too much, another's.
is(sql($node, q{SELECT DISTINCT ON (state, left(message, 60)) call, state, message, document FROM calls
	WHERE state NOT IN ('answered', '22P02', '22P05', '22021', '22003', 'NK001', 'P0002', '55P03', '23505', '22023', 'XX001')}),
	'', 'errors are those of documents');
is(sql($node, q{SELECT DISTINCT ON (left(message, 60)) call, state, message, document FROM calls
	WHERE state IN ('22P02', '22P05', '22021', '22003', 'XX001')
		AND message !~ '"((session|inventory|ratelimit|ratelimit-b|events|tenant-meta|job|lock|leader):[^"]+|counter|a)"'}),
	'', 'they name the key');
is(sql($node, q{SELECT DISTINCT ON (state) call, state, message, document FROM calls WHERE state <> 'answered' AND NOT kept}),
	'', 'and what is there stays');
cmp_ok(sql($node, q{SELECT count(*) FROM calls WHERE state IN ('22P02', '22P05', '22021')}), '>', $rounds / 2, 'many could not be read');
cmp_ok(sql($node, q{SELECT count(*) FROM calls WHERE state = 'answered'}), '>', $rounds / 10, 'and some could');

$node->stop;
done_testing();
