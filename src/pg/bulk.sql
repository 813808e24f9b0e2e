/*
 * Arrays of keys are anycompatiblearray, for one of text and one of bytea would
 * make a literal '{a,b}' ambiguous; so resolved, it is text[]. Others than text[]
 * and bytea[] are refused at run time. Values are "any" for the same reason.
 */

CREATE FUNCTION mget(keys anycompatiblearray, consistency text DEFAULT NULL)
RETURNS TABLE (ordinality bigint, key anycompatible, value text, version version)
AS 'MODULE_PATHNAME', 'norikv_sql_mget'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION mget(anycompatiblearray, text)
IS 'reads many keys: a row for each in the order asked, with NULLs for absent ones; '
	'values as text';

CREATE FUNCTION mget_bytes(keys anycompatiblearray, consistency text DEFAULT NULL)
RETURNS TABLE (ordinality bigint, key anycompatible, value bytea, version version)
AS 'MODULE_PATHNAME', 'norikv_sql_mget_bytes'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION mget_bytes(anycompatiblearray, text)
IS 'reads many keys: a row for each in the order asked, with NULLs for absent ones; '
	'values as bytea';

CREATE FUNCTION mput(keys anycompatiblearray, vals "any", ttl interval DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_mput'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION mput(anycompatiblearray, "any", interval)
IS 'writes vals[i] to keys[i], each on its own: no transaction; how many were written';

CREATE FUNCTION mdelete(keys anycompatiblearray) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_mdelete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION mdelete(anycompatiblearray)
IS 'deletes many keys, each on its own: no transaction; how many there were';

/*
 * With text the prefix has a default, with bytea it has none: so scan() is not
 * ambiguous.
 */

CREATE FUNCTION scan(prefix text DEFAULT NULL, start_key text DEFAULT NULL,
	end_key text DEFAULT NULL, max_rows bigint DEFAULT NULL,
	reverse boolean DEFAULT false, keys_only boolean DEFAULT false)
RETURNS TABLE (key text, value text, version version, expires_at timestamptz)
AS 'MODULE_PATHNAME', 'norikv_sql_scan'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION scan(text, text, text, bigint, boolean, boolean)
IS 'keys with the prefix in byte order, from start_key up to before end_key; values '
	'as text';

CREATE FUNCTION scan(prefix bytea, start_key bytea DEFAULT NULL,
	end_key bytea DEFAULT NULL, max_rows bigint DEFAULT NULL,
	reverse boolean DEFAULT false, keys_only boolean DEFAULT false)
RETURNS TABLE (key bytea, value text, version version, expires_at timestamptz)
AS 'MODULE_PATHNAME', 'norikv_sql_scan'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION scan(bytea, bytea, bytea, bigint, boolean, boolean)
IS 'keys with the prefix in byte order, from start_key up to before end_key; values '
	'as text';

CREATE FUNCTION scan_bytes(prefix text DEFAULT NULL, start_key text DEFAULT NULL,
	end_key text DEFAULT NULL, max_rows bigint DEFAULT NULL,
	reverse boolean DEFAULT false, keys_only boolean DEFAULT false)
RETURNS TABLE (key text, value bytea, version version, expires_at timestamptz)
AS 'MODULE_PATHNAME', 'norikv_sql_scan_bytes'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION scan_bytes(text, text, text, bigint, boolean, boolean)
IS 'keys with the prefix in byte order, from start_key up to before end_key; values '
	'as bytea';

CREATE FUNCTION scan_bytes(prefix bytea, start_key bytea DEFAULT NULL,
	end_key bytea DEFAULT NULL, max_rows bigint DEFAULT NULL,
	reverse boolean DEFAULT false, keys_only boolean DEFAULT false)
RETURNS TABLE (key bytea, value bytea, version version, expires_at timestamptz)
AS 'MODULE_PATHNAME', 'norikv_sql_scan_bytes'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION scan_bytes(bytea, bytea, bytea, bigint, boolean, boolean)
IS 'keys with the prefix in byte order, from start_key up to before end_key; values '
	'as bytea';

CREATE FUNCTION key_count(prefix text DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_key_count'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION key_count(text)
IS 'how many keys begin with the prefix; all keys where it is NULL';

CREATE FUNCTION key_count(prefix bytea) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_key_count'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION key_count(bytea)
IS 'how many keys begin with the prefix; all keys where it is NULL';
