CREATE TYPE version;

CREATE FUNCTION version_in(cstring) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_version_in'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION version_out(version) RETURNS cstring
AS 'MODULE_PATHNAME', 'norikv_sql_version_out'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION version_recv(internal) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_version_recv'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION version_send(version) RETURNS bytea
AS 'MODULE_PATHNAME', 'norikv_sql_version_send'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE version (
	INPUT = version_in, OUTPUT = version_out, RECEIVE = version_recv, SEND = version_send,
	INTERNALLENGTH = 16, ALIGNMENT = double, STORAGE = plain
);
COMMENT ON TYPE version
IS 'version of a key: term/index, or any as a condition that always holds';

CREATE FUNCTION version_lt(version, version) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_version_lt'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION version_le(version, version) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_version_le'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION version_eq(version, version) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_version_eq'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION version_ne(version, version) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_version_ne'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION version_ge(version, version) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_version_ge'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION version_gt(version, version) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_version_gt'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION version_cmp(version, version) RETURNS integer
AS 'MODULE_PATHNAME', 'norikv_sql_version_cmp'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION version_larger(version, version) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_version_larger'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION version_smaller(version, version) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_version_smaller'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION version_hash(version) RETURNS integer
AS 'MODULE_PATHNAME', 'norikv_sql_version_hash'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION version_hash_extended(version, bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_version_hash_extended'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION version_in(cstring) IS 'I/O';
COMMENT ON FUNCTION version_out(version) IS 'I/O';
COMMENT ON FUNCTION version_recv(internal) IS 'I/O';
COMMENT ON FUNCTION version_send(version) IS 'I/O';
COMMENT ON FUNCTION version_lt(version, version) IS 'implementation of < operator';
COMMENT ON FUNCTION version_le(version, version) IS 'implementation of <= operator';
COMMENT ON FUNCTION version_eq(version, version) IS 'implementation of = operator';
COMMENT ON FUNCTION version_ne(version, version) IS 'implementation of <> operator';
COMMENT ON FUNCTION version_ge(version, version) IS 'implementation of >= operator';
COMMENT ON FUNCTION version_gt(version, version) IS 'implementation of > operator';
COMMENT ON FUNCTION version_cmp(version, version) IS 'less-equal-greater';
COMMENT ON FUNCTION version_larger(version, version) IS 'larger of two';
COMMENT ON FUNCTION version_smaller(version, version) IS 'smaller of two';
COMMENT ON FUNCTION version_hash(version) IS 'hash';
COMMENT ON FUNCTION version_hash_extended(version, bigint) IS 'hash';

CREATE OPERATOR < (
	LEFTARG = version, RIGHTARG = version, FUNCTION = version_lt,
	COMMUTATOR = >, NEGATOR = >=, RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR <= (
	LEFTARG = version, RIGHTARG = version, FUNCTION = version_le,
	COMMUTATOR = >=, NEGATOR = >, RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR = (
	LEFTARG = version, RIGHTARG = version, FUNCTION = version_eq,
	COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR <> (
	LEFTARG = version, RIGHTARG = version, FUNCTION = version_ne,
	COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR >= (
	LEFTARG = version, RIGHTARG = version, FUNCTION = version_ge,
	COMMUTATOR = <=, NEGATOR = <, RESTRICT = scalargesel, JOIN = scalargejoinsel
);
CREATE OPERATOR > (
	LEFTARG = version, RIGHTARG = version, FUNCTION = version_gt,
	COMMUTATOR = <, NEGATOR = <=, RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);

CREATE OPERATOR CLASS version_ops DEFAULT FOR TYPE version USING btree AS
	OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
	FUNCTION 1 version_cmp(version, version),
	FUNCTION 4 (version, version) btequalimage(oid);
CREATE OPERATOR CLASS version_ops DEFAULT FOR TYPE version USING hash AS
	OPERATOR 1 =,
	FUNCTION 1 version_hash(version),
	FUNCTION 2 version_hash_extended(version, bigint);

CREATE AGGREGATE max(version) (
	SFUNC = version_larger, STYPE = version, COMBINEFUNC = version_larger,
	SORTOP = >, PARALLEL = SAFE
);
CREATE AGGREGATE min(version) (
	SFUNC = version_smaller, STYPE = version, COMBINEFUNC = version_smaller,
	SORTOP = <, PARALLEL = SAFE
);
COMMENT ON AGGREGATE max(version) IS 'maximum value of all norikv.version input values';
COMMENT ON AGGREGATE min(version) IS 'minimum value of all norikv.version input values';

CREATE FUNCTION version_token(version) RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_version_token'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION version_token(version) IS 'fencing token: term * 2^48 + index';
CREATE CAST (version AS bigint) WITH FUNCTION version_token(version);
