CREATE FUNCTION vector_insert(namespace text, id text, vector real[]) RETURNS version
AS 'MODULE_PATHNAME', 'norikv_sql_vector_insert'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION vector_insert(text, text, real[])
IS 'writes a vector, or replaces that of the id; the version written';

/* Vectors are "any": real[][], or vector[] where pgvector is installed. */
CREATE FUNCTION vector_insert_many(namespace text, ids text[], vectors "any")
RETURNS bigint
AS 'MODULE_PATHNAME', 'norikv_sql_vector_insert_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION vector_insert_many(text, text[], "any")
IS 'writes many vectors, those of the rows of real[][] or the elements of vector[]; how many';

CREATE FUNCTION vector_get(namespace text, id text) RETURNS real[]
AS 'MODULE_PATHNAME', 'norikv_sql_vector_get'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION vector_get(text, text)
IS 'the vector of an id; NULL where there is none';

CREATE FUNCTION vector_delete(namespace text, id text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_vector_delete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION vector_delete(text, text)
IS 'deletes the vector of an id; whether there was one';

CREATE FUNCTION vector_search(namespace text, query real[], k integer DEFAULT 10,
	include_vectors boolean DEFAULT false)
RETURNS TABLE (id text, distance real, vector real[])
AS 'MODULE_PATHNAME', 'norikv_sql_vector_search'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION vector_search(text, real[], integer, boolean)
IS 'the k vectors nearest to one, nearest first; all of them where there are fewer';
