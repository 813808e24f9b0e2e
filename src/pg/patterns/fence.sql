/* The highest tokens seen: they belong to the data they protect, and are dumped with it. */
CREATE TABLE fences (
	store text NOT NULL,
	resource text NOT NULL,
	token bigint NOT NULL,
	PRIMARY KEY (store, resource)
);
COMMENT ON TABLE fences IS 'the highest fencing token that fence() has seen';
SELECT pg_catalog.pg_extension_config_dump('@extschema@.fences', '');

CREATE FUNCTION fence(resource text, token bigint) RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_fence'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fence(text, bigint)
IS 'refuses a token lower than one this resource has seen (NK002), or not given out yet (22023); in the transaction that writes';

CREATE FUNCTION fence_reset(resource text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_fence_reset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fence_reset(text)
IS 'forgets the tokens that a resource has seen; whether there were any';
REVOKE EXECUTE ON FUNCTION fence_reset(text) FROM PUBLIC;
