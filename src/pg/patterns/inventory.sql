CREATE FUNCTION inventory_create(sku text, quantity bigint) RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_inventory_create'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION inventory_create(text, bigint)
IS 'makes an item with a stock; 23505 where it exists';

CREATE FUNCTION inventory_restock(sku text, delta bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_inventory_restock'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION inventory_restock(text, bigint)
IS 'adds to the stock of an item, or takes from what is not reserved; its new stock';

CREATE FUNCTION inventory_reserve(sku text, quantity bigint,
	hold interval DEFAULT '10 minutes', idempotency_key text DEFAULT NULL) RETURNS uuid
AS 'MODULE_PATHNAME', 'norikv_sql_inventory_reserve'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION inventory_reserve(text, bigint, interval, text)
IS 'holds some of the stock back for a time; the reservation. NK001 where there is not enough';

CREATE FUNCTION inventory_commit(reservation uuid) RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_inventory_commit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION inventory_commit(uuid)
IS 'takes what is reserved out of the stock; P0002 where the reservation is settled or has run out';

CREATE FUNCTION inventory_release(reservation uuid) RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_inventory_release'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION inventory_release(uuid)
IS 'gives back what is reserved; P0002 where the reservation is settled or has run out';

CREATE FUNCTION inventory_available(sku text) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_inventory_available'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION inventory_available(text)
IS 'the stock of an item that is not reserved; P0002 where there is no such item';
