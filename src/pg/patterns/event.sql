CREATE TYPE event AS (
	id uuid,
	aggregate_id text,
	type text,
	data jsonb,
	"timestamp" timestamptz,
	version bigint
);
COMMENT ON TYPE event
IS 'something that happened to an aggregate; versions count from 1, without gaps';

CREATE FUNCTION event_append(aggregate_id text, type text, data jsonb,
	expected_version bigint DEFAULT NULL, event_id uuid DEFAULT NULL) RETURNS event
AS 'MODULE_PATHNAME', 'norikv_sql_event_append'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_append(text, text, jsonb, bigint, uuid)
IS 'appends an event to an aggregate that is at expected_version (40001), or at any; an event_id that the aggregate has answers that event';

CREATE FUNCTION events(aggregate_id text, after_version bigint DEFAULT 0) RETURNS SETOF event
AS 'MODULE_PATHNAME', 'norikv_sql_events'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION events(text, bigint)
IS 'the events of an aggregate in order, those after a version';

CREATE FUNCTION event_fold(aggregate_id text, initial jsonb, transition regprocedure)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'norikv_sql_event_fold'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_fold(text, jsonb, regprocedure)
IS 'the state of an aggregate: transition(state jsonb, type text, data jsonb) over its events, from initial on';
