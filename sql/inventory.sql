--
-- inventory_create(), _restock(), _reserve(), _commit(), _release(), _available()
--
SELECT norikv.inventory_create('cup', 10);
SELECT norikv.inventory_available('cup');
SELECT norikv.inventory_reserve('cup', 4) AS first \gset
SELECT norikv.inventory_reserve('cup', 3) AS second \gset
SELECT norikv.inventory_available('cup');
SELECT norikv.inventory_commit(:'first');
SELECT norikv.inventory_release(:'second');
SELECT norikv.inventory_available('cup');
SELECT norikv.inventory_restock('cup', 5), norikv.inventory_available('cup');

-- Settled once, and not again.
\set VERBOSITY sqlstate
SELECT norikv.inventory_commit(:'first');
SELECT norikv.inventory_release(:'second');
\set VERBOSITY default
SELECT norikv.inventory_release('00000000-0000-4000-8000-000000000000');

-- Never more than there is.
SELECT norikv.inventory_reserve('cup', 12);
\set VERBOSITY sqlstate
SELECT norikv.inventory_reserve('cup', 12);
\set VERBOSITY default
SELECT norikv.inventory_reserve('cup', 11) AS all_of_them \gset
SELECT norikv.inventory_reserve('cup', 1);
SELECT norikv.inventory_restock('cup', -1);
SELECT norikv.inventory_release(:'all_of_them');
SELECT norikv.inventory_restock('cup', -11);

-- The documents that other programs read and write; their fields stay.
SELECT norikv.inventory_create('pen', 7);
SELECT regexp_replace(norikv.get('inventory:pen'), '\d{13}', '...');
SELECT norikv.update('inventory:pen', 'jsonb_concat(jsonb,jsonb)', '{"shelf": 4}') ? 'shelf' AS has_shelf;
SELECT norikv.inventory_reserve('pen', 2, '1 hour') AS pens \gset
SELECT regexp_replace(regexp_replace(norikv.get('inventory:pen'), '\d{13}', '...', 'g'), '[-0-9a-f]{36}', 'uuid') AS item;
SELECT regexp_replace(norikv.get('inventory:reservation:' || :'pens'), '\d{13}', '...', 'g') AS record,
       (norikv.entry('inventory:reservation:' || :'pens')).expires_at AS no_ttl;
SELECT norikv.inventory_commit(:'pens');
SELECT regexp_replace(norikv.get('inventory:pen'), '\d{13}', '...', 'g') AS item,
       norikv.has_key('inventory:reservation:' || :'pens') AS record;

-- A reservation of another program: no hold, a record that has a ttl.
SELECT norikv.update('inventory:pen', 'jsonb_concat(jsonb,jsonb)', '{"reserved": 2}') IS NOT NULL AS reserved;
SELECT norikv.put('inventory:reservation:11111111-2222-4333-8444-555555555555', '{"sku":"pen","quantity":2,"createdAt":1}', '10 minutes') IS NOT NULL AS put;
SELECT norikv.inventory_available('pen');
SELECT norikv.inventory_commit('11111111-2222-4333-8444-555555555555');
SELECT norikv.inventory_available('pen'), norikv.get_json('inventory:pen') -> 'reserved' AS reserved;

-- What runs out is given back: a read counts it as available, a write takes it back.
SELECT norikv.inventory_create('ink', 3);
SELECT norikv.inventory_reserve('ink', 3, '1 millisecond') AS late \gset
SELECT pg_sleep(0.05);
SELECT norikv.inventory_available('ink'), norikv.get_json('inventory:ink') -> 'reserved' AS reserved;
\set VERBOSITY sqlstate
SELECT norikv.inventory_commit(:'late');
\set VERBOSITY default
SELECT norikv.inventory_available('ink'), norikv.get_json('inventory:ink') -> 'reserved' AS reserved,
       norikv.key_count('inventory:reservation:' || :'late') AS records;
SELECT norikv.inventory_reserve('ink', 3, '1 millisecond') IS NOT NULL AS reserved;
SELECT pg_sleep(0.05);
SELECT norikv.inventory_reserve('ink', 2) AS two \gset
SELECT norikv.inventory_available('ink');

-- Another program commits it: item first, then the record is deleted.
SELECT norikv.update('inventory:ink', 'jsonb_concat(jsonb,jsonb)', '{"reserved": 0, "quantity": 1}') IS NOT NULL AS item_changed;
SELECT norikv.inventory_available('ink');
SELECT norikv.delete('inventory:reservation:' || :'two') AS record_deleted;
SELECT norikv.inventory_restock('ink', 5) AS stock, norikv.inventory_available('ink');
\set VERBOSITY sqlstate
SELECT norikv.inventory_commit(:'two');
\set VERBOSITY default
-- It died between the two: what it has taken off is not taken off again.
SELECT norikv.inventory_create('ash', 10);
SELECT norikv.inventory_reserve('ash', 3, '300 milliseconds') AS died \gset
SELECT norikv.inventory_reserve('ash', 4) AS lives \gset
SELECT norikv.update('inventory:ash', 'jsonb_concat(jsonb,jsonb)', '{"reserved": 4, "quantity": 7}') IS NOT NULL AS item_changed;
SELECT pg_sleep(0.4);
SELECT norikv.inventory_available('ash');
SELECT norikv.inventory_reserve('ash', 4);
SELECT norikv.inventory_reserve('ash', 3) IS NOT NULL AS reserved, norikv.get_json('inventory:ash') -> 'reserved' AS all_of_it;
SELECT norikv.inventory_commit(:'lives');

-- It was alive, and deletes its record now: what was restored goes again.
SELECT norikv.inventory_create('oak', 10);
SELECT norikv.inventory_reserve('oak', 3) AS slow \gset
SELECT norikv.inventory_reserve('oak', 2, '1 millisecond') IS NOT NULL AS runs_out;
SELECT pg_sleep(0.05);
SELECT norikv.update('inventory:oak', 'jsonb_concat(jsonb,jsonb)', '{"reserved": 2, "quantity": 7}') IS NOT NULL AS item_changed;
SELECT norikv.inventory_restock('oak', 0), norikv.get_json('inventory:oak') - '{lastUpdated,holds}'::text[] AS restored;
SELECT norikv.delete('inventory:reservation:' || :'slow') AS record_deleted;
SELECT norikv.inventory_available('oak');
SELECT norikv.inventory_restock('oak', 0), norikv.get_json('inventory:oak') - 'lastUpdated' AS item;

-- An idempotency key
SELECT norikv.inventory_reserve('ink', 2, idempotency_key => 'order-1') AS one \gset
SELECT norikv.inventory_reserve('ink', 2, idempotency_key => 'order-1') = :'one' AS same, norikv.inventory_available('ink');
SELECT norikv.inventory_reserve('ink', 1, idempotency_key => 'order-1');
SELECT norikv.inventory_commit(:'one');
SELECT norikv.inventory_reserve('ink', 2, idempotency_key => 'order-1') = :'one' AS same_after_commit, norikv.inventory_available('ink');

-- Refused
\set VERBOSITY sqlstate
SELECT norikv.inventory_create('cup', 1);
\set VERBOSITY default
SELECT norikv.inventory_create('x', -1);
SELECT norikv.inventory_create('x', 9007199254740992);
SELECT norikv.inventory_create(NULL, 1);
SELECT norikv.inventory_create('reservation:x', 1);
SELECT norikv.inventory_create('reservations', 1);
SELECT norikv.inventory_reserve('none', 1);
SELECT norikv.inventory_available('none');
SELECT norikv.inventory_available(NULL) AS null;
SELECT norikv.inventory_reserve('ink', 0);
SELECT norikv.inventory_reserve('ink', 1, '0');
SELECT norikv.inventory_reserve('ink', 1, NULL);
SELECT norikv.inventory_reserve('ink', 1, '1 month');
SELECT norikv.inventory_restock('none', 1);
SELECT norikv.inventory_restock('ink', NULL);
SELECT norikv.inventory_restock('ink', 9007199254740991);

-- Broken documents: an error that names the key, and nothing is written.
CREATE FUNCTION ended(how text, OUT state text, OUT message text, OUT detail text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT norikv.inventory_%s(''00000000-0000-4000-8000-000000000001'')', how);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
END $$;
SELECT norikv.put('inventory:broken', '{"sku":"broken","quantity":"ten","reserved":0,"lastUpdated":1}') IS NOT NULL AS put;
SELECT norikv.inventory_reserve('broken', 1);
SELECT norikv.put('inventory:broken', '{"sku":"broken","quantity":10,"reserved":0,"lastUpdated":1,"holds":{"x":{"quantity":1,"expiresAt":1}}}') IS NOT NULL AS put;
SELECT norikv.inventory_reserve('broken', 1);
SELECT norikv.put('inventory:broken', '[1]') IS NOT NULL AS put;
SELECT norikv.inventory_available('broken');
SELECT norikv.get('inventory:broken');
-- A reservation of another program cannot add to the stock.
SELECT norikv.inventory_create('whole', 10);
SELECT norikv.put('inventory:reservation:00000000-0000-4000-8000-000000000001', '{"sku":"whole","quantity":-5,"createdAt":1}') IS NOT NULL AS put;
SELECT norikv.inventory_commit('00000000-0000-4000-8000-000000000001');
SELECT norikv.inventory_release('00000000-0000-4000-8000-000000000001');
SELECT norikv.inventory_available('whole');
SELECT norikv.put('inventory:whole', '{"sku":"whole","quantity":-9223372036854775808,"reserved":0,"lastUpdated":1}') IS NOT NULL AS put;
SELECT norikv.inventory_available('whole');

-- Nor can it be of what cannot be an item: the record is to blame, and named.
SELECT norikv.put('inventory:reservation:00000000-0000-4000-8000-000000000001', jsonb_build_object('sku', sku, 'quantity', 1)) IS NOT NULL AS put,
       (SELECT state || ' ' || message FROM ended('commit')) AS commit, (SELECT state || ' ' || detail FROM ended('release')) AS release
  FROM unnest(ARRAY['', 'reservation:00000000-0000-4000-8000-000000000002', repeat('x', 1015)]) AS sku;
SELECT norikv.put('inventory:whole', '{"sku":"whole","quantity":1,"reserved":0,"lastUpdated":1,"holds":{"00000000-0000-4000-8000-000000000002":{"quantity":1e400,"expiresAt":1}}}') IS NOT NULL AS put;
SELECT norikv.inventory_available('whole');

-- Items and idempotency keys with colons do not meet.
SELECT norikv.inventory_create('colon', 10), norikv.inventory_create('colon:a', 10);
SELECT norikv.inventory_reserve('colon:a', 1, idempotency_key => 'b') <> norikv.inventory_reserve('colon', 1, idempotency_key => 'a:b') AS two;
SELECT norikv.inventory_available('colon'), norikv.inventory_available('colon:a');

-- The longest names, and keys made of two of them
SELECT norikv.inventory_create(repeat('x', 1015), 1);
SELECT norikv.inventory_create(repeat('x', 1014), 5), norikv.inventory_create(repeat('y', 980), 5);
SELECT norikv.inventory_reserve(repeat('x', 1014), 1) IS NOT NULL AS reserved;
SELECT norikv.inventory_reserve(repeat('x', 1014), 1, idempotency_key => 'k');
SELECT norikv.inventory_reserve(repeat('y', 980), 1, idempotency_key => repeat('k', 14));
SELECT norikv.inventory_reserve(repeat('y', 980), 1, idempotency_key => repeat('k', 13)) IS NOT NULL AS reserved;
SELECT norikv.inventory_reserve('cup', 1, idempotency_key => '');

BEGIN READ ONLY;
SELECT norikv.inventory_available('cup');
SELECT norikv.inventory_reserve('cup', 1);
ROLLBACK;

DROP FUNCTION ended;
SELECT count(*) > 0 AS cleaned FROM (SELECT norikv.delete(key) FROM norikv.scan('inventory:', keys_only => true)) AS all_keys;
