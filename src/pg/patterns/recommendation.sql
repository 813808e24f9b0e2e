CREATE FUNCTION product_index(id text, name text, description text, category text)
RETURNS void
AS 'MODULE_PATHNAME', 'norikv_sql_product_index'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION product_index(text, text, text, text)
IS 'stores a product, and the vector of its name, description and category';

CREATE FUNCTION interaction_record(user_id text, product_id text) RETURNS boolean
AS 'MODULE_PATHNAME', 'norikv_sql_interaction_record'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION interaction_record(text, text)
IS 'moves what a user likes halfway to a product; false where there is no such product';

CREATE FUNCTION recommendations(user_id text, k integer DEFAULT 10)
RETURNS TABLE (product_id text, name text, category text, score double precision)
AS 'MODULE_PATHNAME', 'norikv_sql_recommendations'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION recommendations(text, integer)
IS 'the k products nearest to what a user likes, nearest first; score is the cosine similarity';

CREATE FUNCTION similar_products(product_id text, k integer DEFAULT 10)
RETURNS TABLE (product_id text, name text, category text, score double precision)
AS 'MODULE_PATHNAME', 'norikv_sql_similar_products'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION similar_products(text, integer)
IS 'the k products nearest to one, without it, nearest first; score is the cosine similarity';
