CREATE FUNCTION document_index(id text, title text, content text) RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_document_index'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION document_index(text, text, text)
IS 'stores a document, and the vector of its title and content, for document_search()';

CREATE FUNCTION document_search(query text, k integer DEFAULT 10)
RETURNS TABLE (id text, title text, content text, score double precision)
AS 'MODULE_PATHNAME', 'norikv_sql_document_search'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION document_search(text, integer)
IS 'the k documents nearest to a text, nearest first; score is the cosine similarity';

CREATE FUNCTION document_delete(id text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_document_delete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION document_delete(text)
IS 'deletes a document with its vector; whether there was one';
