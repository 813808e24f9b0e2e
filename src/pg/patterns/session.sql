CREATE FUNCTION session_create(user_id text, email text, roles text[],
	ttl interval DEFAULT '1 hour') RETURNS uuid
AS 'MODULE_PATHNAME', 'norikv_sql_session_create'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION session_create(text, text, text[], interval)
IS 'makes a session that ends when nobody has used it for the time given; its id';

CREATE FUNCTION session_get(id uuid) RETURNS jsonb
AS 'MODULE_PATHNAME', 'norikv_sql_session_get'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION session_get(uuid)
IS 'a session, whose time to live begins anew; NULL where it has ended';

CREATE FUNCTION session_update(id uuid, patch jsonb) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_session_update'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION session_update(uuid, jsonb)
IS 'replaces fields of a session by those of an object; false where it has ended';

CREATE FUNCTION session_modify(id uuid, updater regprocedure, args jsonb DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_session_modify'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION session_modify(uuid, regprocedure, jsonb)
IS 'replaces a session by updater(session, args), by compare-and-swap; false where it has ended';

CREATE FUNCTION session_destroy(id uuid) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_session_destroy'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION session_destroy(uuid)
IS 'ends a session; whether there was one';

CREATE FUNCTION session_validate(id uuid) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_session_validate'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION session_validate(uuid)
IS 'whether a session has not ended; its time to live goes on';
