/*
 * Distances of vectors, as operators. float8[], numeric[] and integer[] on the right
 * are for literals: with real[] alone ARRAY[0.1, 0.2] would have to be cast, and with
 * float8[] beside it it would be ambiguous. Whatever pgvector's vector is cast to
 * implicitly is real[], so vectors of that type come here as well.
 */

CREATE FUNCTION l2_distance(a real[], b real[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_l2_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_distance(real[], real[])
IS 'Euclidean distance';

CREATE FUNCTION l2_distance(a real[], b double precision[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_l2_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_distance(real[], double precision[])
IS 'Euclidean distance';

CREATE FUNCTION l2_distance(a real[], b numeric[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_l2_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_distance(real[], numeric[])
IS 'Euclidean distance';

CREATE FUNCTION l2_distance(a real[], b integer[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_l2_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_distance(real[], integer[])
IS 'Euclidean distance';

CREATE OPERATOR <-> (
	LEFTARG = real[], RIGHTARG = real[], FUNCTION = l2_distance, COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (real[], real[]) IS 'Euclidean distance';

CREATE OPERATOR <-> (
	LEFTARG = real[], RIGHTARG = double precision[], FUNCTION = l2_distance
);
COMMENT ON OPERATOR <-> (real[], double precision[]) IS 'Euclidean distance';

CREATE OPERATOR <-> (
	LEFTARG = real[], RIGHTARG = numeric[], FUNCTION = l2_distance
);
COMMENT ON OPERATOR <-> (real[], numeric[]) IS 'Euclidean distance';

CREATE OPERATOR <-> (
	LEFTARG = real[], RIGHTARG = integer[], FUNCTION = l2_distance
);
COMMENT ON OPERATOR <-> (real[], integer[]) IS 'Euclidean distance';

CREATE FUNCTION cosine_distance(a real[], b real[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_cosine_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cosine_distance(real[], real[])
IS 'cosine distance, 1 - cosine similarity; NaN where a vector is zero';

CREATE FUNCTION cosine_distance(a real[], b double precision[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_cosine_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cosine_distance(real[], double precision[])
IS 'cosine distance, 1 - cosine similarity; NaN where a vector is zero';

CREATE FUNCTION cosine_distance(a real[], b numeric[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_cosine_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cosine_distance(real[], numeric[])
IS 'cosine distance, 1 - cosine similarity; NaN where a vector is zero';

CREATE FUNCTION cosine_distance(a real[], b integer[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_cosine_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cosine_distance(real[], integer[])
IS 'cosine distance, 1 - cosine similarity; NaN where a vector is zero';

CREATE OPERATOR <=> (
	LEFTARG = real[], RIGHTARG = real[], FUNCTION = cosine_distance, COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (real[], real[]) IS 'cosine distance, 1 - cosine similarity; NaN where a vector is zero';

CREATE OPERATOR <=> (
	LEFTARG = real[], RIGHTARG = double precision[], FUNCTION = cosine_distance
);
COMMENT ON OPERATOR <=> (real[], double precision[]) IS 'cosine distance, 1 - cosine similarity; NaN where a vector is zero';

CREATE OPERATOR <=> (
	LEFTARG = real[], RIGHTARG = numeric[], FUNCTION = cosine_distance
);
COMMENT ON OPERATOR <=> (real[], numeric[]) IS 'cosine distance, 1 - cosine similarity; NaN where a vector is zero';

CREATE OPERATOR <=> (
	LEFTARG = real[], RIGHTARG = integer[], FUNCTION = cosine_distance
);
COMMENT ON OPERATOR <=> (real[], integer[]) IS 'cosine distance, 1 - cosine similarity; NaN where a vector is zero';

CREATE FUNCTION negative_inner_product(a real[], b real[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_negative_inner_product'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION negative_inner_product(real[], real[])
IS 'negated inner product';

CREATE FUNCTION negative_inner_product(a real[], b double precision[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_negative_inner_product'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION negative_inner_product(real[], double precision[])
IS 'negated inner product';

CREATE FUNCTION negative_inner_product(a real[], b numeric[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_negative_inner_product'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION negative_inner_product(real[], numeric[])
IS 'negated inner product';

CREATE FUNCTION negative_inner_product(a real[], b integer[]) RETURNS double precision
AS 'MODULE_PATHNAME', 'norikv_sql_negative_inner_product'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION negative_inner_product(real[], integer[])
IS 'negated inner product';

CREATE OPERATOR <#> (
	LEFTARG = real[], RIGHTARG = real[], FUNCTION = negative_inner_product, COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (real[], real[]) IS 'negated inner product';

CREATE OPERATOR <#> (
	LEFTARG = real[], RIGHTARG = double precision[], FUNCTION = negative_inner_product
);
COMMENT ON OPERATOR <#> (real[], double precision[]) IS 'negated inner product';

CREATE OPERATOR <#> (
	LEFTARG = real[], RIGHTARG = numeric[], FUNCTION = negative_inner_product
);
COMMENT ON OPERATOR <#> (real[], numeric[]) IS 'negated inner product';

CREATE OPERATOR <#> (
	LEFTARG = real[], RIGHTARG = integer[], FUNCTION = negative_inner_product
);
COMMENT ON OPERATOR <#> (real[], integer[]) IS 'negated inner product';
