CREATE FUNCTION counter_init(name text, value bigint DEFAULT 0) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_counter_init'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION counter_init(text, bigint)
IS 'makes a counter unless there is one; the value it has now';

CREATE FUNCTION counter_add(name text, delta bigint DEFAULT 1,
	idempotency_key text DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_counter_add'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION counter_add(text, bigint, text)
IS 'adds to a counter, exactly once, and makes it where there is none; its value after this step';

CREATE FUNCTION counter_get(name text) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_counter_get'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION counter_get(text)
IS 'the value of a counter; NULL where there is none';

CREATE FUNCTION counter_set(name text, value bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_counter_set'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION counter_set(text, bigint)
IS 'gives a counter a value, whatever it had; its time to live stays';

CREATE FUNCTION sharded_counter_add(name text, delta bigint DEFAULT 1,
	shards integer DEFAULT 10) RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_sharded_counter_add'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sharded_counter_add(text, bigint, integer)
IS 'adds to one of the shards of a counter, exactly once';

CREATE FUNCTION sharded_counter_get(name text, shards integer DEFAULT 10) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_sharded_counter_get'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION sharded_counter_get(text, integer)
IS 'the sum of the shards of a counter; 0 where there are none';
