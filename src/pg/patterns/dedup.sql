CREATE FUNCTION dedup_check(id text, content text,
	threshold double precision DEFAULT 0.95,
	OUT is_duplicate boolean, OUT duplicate_of text, OUT similarity double precision)
AS 'MODULE_PATHNAME', 'norikv_sql_dedup_check'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION dedup_check(text, text, double precision)
IS 'whether a text is nearly one that was stored before, and which; stores it where it is none';

CREATE FUNCTION dedup_remove(id text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_dedup_remove'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION dedup_remove(text)
IS 'forgets a text that dedup_check() has stored; whether there was one';
