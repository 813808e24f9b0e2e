CREATE FUNCTION embed(content text) RETURNS real[]
AS 'MODULE_PATHNAME', 'norikv_sql_embed'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION embed(text)
IS 'the vector of a text, by the configured embedder';

CREATE FUNCTION embed_many(texts text[]) RETURNS real[]
AS 'MODULE_PATHNAME', 'norikv_sql_embed_many'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION embed_many(text[])
IS 'the vectors of many texts, in their order: real[][]';
