CREATE FUNCTION vector_create_index(namespace text, dimensions integer,
	distance text DEFAULT 'cosine', index_type text DEFAULT 'hnsw') RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_vector_create_index'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION vector_create_index(text, integer, text, text)
IS 'creates an index of vectors: distance euclidean, cosine or inner_product, index_type hnsw or brute_force; false where it is there already';

CREATE FUNCTION vector_drop_index(namespace text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_vector_drop_index'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION vector_drop_index(text)
IS 'drops an index with all its vectors; whether there was one';
REVOKE EXECUTE ON FUNCTION vector_drop_index(text) FROM PUBLIC;

CREATE FUNCTION vector_indexes(OUT namespace text, OUT dimensions integer,
	OUT distance text, OUT index_type text, OUT vectors bigint) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'norikv_sql_vector_indexes'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION vector_indexes()
IS 'the indexes of vectors, and how many vectors are in each';
