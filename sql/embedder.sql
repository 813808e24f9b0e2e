--
-- Embedders that need no network: lexical, and functions of the user's
--
SET search_path = public, norikv;
SET extra_float_digits = 0;
CREATE VIEW sentence(name, text) AS VALUES
    ('fox', 'The quick brown fox jumps over the lazy dog.'),
    ('same fox', 'A quick brown fox jumped over a lazy dog.'),
    ('industry', 'Machine learning is transforming industries.');
SELECT a.name, b.name, round((1 - (embed(a.text) <=> embed(b.text)))::numeric, 2) AS similarity
FROM sentence AS a JOIN sentence AS b ON a.name < b.name ORDER BY similarity DESC;

-- One text, one vector, on every machine
SELECT md5(string_agg(norikv.embed(text)::text, ' ' ORDER BY name)) FROM sentence;
SELECT md5(embed('Ä ΣΑΣ Straße 第三章 x86_64 don’t ... 12,5')::text);
SELECT array_dims(embed('x')) AS dimensions, embed('x') <#> embed('x') AS length_1, embed(NULL) IS NULL AS null_of_null;
SELECT bool_and(many[i:i]::text = ARRAY[embed(texts[i])]::text) AS as_one_by_one, max(array_dims(many)) AS dimensions
FROM (SELECT texts, embed_many(texts) AS many FROM (SELECT array_agg(text) AS texts FROM sentence) AS t) AS m, generate_series(1, 3) AS i;
SELECT embed_many('{}'), embed_many(NULL) IS NULL AS null_of_null;

-- Case, apostrophes, punctuation and spaces do not matter; numbers do, and what there is only of signs.
SELECT embed('ÄPFEL, ΣΑΣ!  Über') <-> embed('äpfel σας über') AS "case", embed('don''t') <-> embed('dont’') AS apostrophe,
       embed(E'a\tb\u00a0c\u3002d') <-> embed('a b c d') AS spaces,
       embed('Invoice 1001') <=> embed('Invoice 1002') > 0.4 AS numbers, embed('!!!') <=> embed('???') AS signs;
SELECT embed('C++ compiler') <=> embed('C compiler') > 0.3 AS "C++", embed('a+b') <-> embed('a b') AS plus;
-- Words count by the root of how often they are there, and nothing by their order.
SELECT round((embed('fox fox fox fox dog') <#> embed('fox'))::numeric, 1) AS fourfold, embed('fox dog') <-> embed('dog fox') AS turned;
-- In scripts without spaces the end of a sentence is worth its beginning.
SELECT (embed('量子力学入門書') <=> embed('古典力学入門書')) < 0.6 AS japanese;
SELECT embed('word') <#> embed(repeat('word ', 100000)) AS long_text;

-- What is no text to embed
SELECT embed('');
SELECT embed(E' \n\t');
SELECT embed_many('{a," ",b}');
SELECT embed_many('{a,NULL}');
SELECT embed_many('{{a},{b}}');

-- Other numbers of dimensions
SET norikv.embedding_dimensions = 3;
SELECT array_dims(embed('The quick brown fox'));
SET norikv.embedding_dimensions = 1;
SELECT embed('ab ba');
RESET norikv.embedding_dimensions;
SET norikv.embedding_dimensions = 4097;

-- A function
CREATE FUNCTION letters(t text) RETURNS real[] LANGUAGE sql IMMUTABLE AS
    $$ SELECT ARRAY[length(t), length(replace(t, 'e', ''))]::real[] $$;
CREATE SERVER by_function FOREIGN DATA WRAPPER norikv OPTIONS (embedder 'function', embedding_function 'public.letters');
SET norikv.server = 'by_function';
SELECT embed('letter'), embed_many('{see,two}');
CREATE FUNCTION wide(t text) RETURNS numeric[] LANGUAGE sql AS $$ SELECT array_fill(0.5, ARRAY[length(t)]) $$;
ALTER SERVER by_function OPTIONS (SET embedding_function 'public.wide');
SELECT embed('abc'), embed_many('{ab,cd}');
SELECT embed_many('{abc,ab}');
ALTER SERVER by_function OPTIONS (embedding_dimensions '4');
SELECT embed('abcd'), embed('abc');
ALTER SERVER by_function OPTIONS (DROP embedding_dimensions);
CREATE FUNCTION nothing(t text) RETURNS real[] LANGUAGE sql AS $$ SELECT NULL::real[] $$;
ALTER SERVER by_function OPTIONS (SET embedding_function 'public.nothing');
SELECT embed('abc');
CREATE FUNCTION no_number(t text) RETURNS real[] LANGUAGE sql AS $$ SELECT '{1,NaN}'::real[] $$;
ALTER SERVER by_function OPTIONS (SET embedding_function 'public.no_number');
SELECT embed('abc');
CREATE FUNCTION as_text(t text) RETURNS text LANGUAGE sql AS $$ SELECT t $$;
ALTER SERVER by_function OPTIONS (SET embedding_function 'public.as_text');
SELECT embed('abc');
ALTER SERVER by_function OPTIONS (SET embedding_function 'public.none_such');
SELECT embed('abc');
ALTER SERVER by_function OPTIONS (DROP embedding_function);
SELECT embed('abc');
-- One that returns a type called vector
CREATE TYPE vector AS (elements real[]);
CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[] LANGUAGE sql IMMUTABLE AS 'SELECT ($1).elements';
CREATE CAST (vector AS real[]) WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;
CREATE FUNCTION as_vector(t text) RETURNS vector LANGUAGE sql AS $$ SELECT ROW(ARRAY[1, 2]::real[])::vector $$;
ALTER SERVER by_function OPTIONS (embedding_function 'public.as_vector');
SELECT embed('abc');

-- Options that are refused
ALTER SERVER by_function OPTIONS (SET embedding_function 'letters');
ALTER SERVER by_function OPTIONS (SET embedder 'magic');
ALTER SERVER by_function OPTIONS (embedding_dimensions '0');
ALTER SERVER by_function OPTIONS (embedding_url 'ftp://localhost/');
ALTER SERVER by_function OPTIONS (embedding_url 'https://user:secret@localhost/');
ALTER SERVER by_function OPTIONS (embedding_url 'nonsense');
CREATE USER MAPPING FOR PUBLIC SERVER by_function OPTIONS (embedding_api_key E'two\nlines');
SET norikv.embedding_url = 'ftp://localhost/';
ALTER SERVER by_function OPTIONS (SET embedder 'http');
SELECT embed('abc');

-- Roles: who may use the server, execute the function, name a host
CREATE ROLE regress_norikv_embeds;
ALTER SERVER by_function OPTIONS (SET embedder 'function', SET embedding_function 'public.letters');
SET ROLE regress_norikv_embeds;
SELECT embed('abc');
SET norikv.embedder = 'function';
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER by_function TO regress_norikv_embeds;
REVOKE EXECUTE ON FUNCTION letters FROM PUBLIC;
SET ROLE regress_norikv_embeds;
SELECT embed('abc');
RESET ROLE;
GRANT EXECUTE ON FUNCTION letters TO regress_norikv_embeds;
SET ROLE regress_norikv_embeds;
SELECT embed('abc');
RESET ROLE;
GRANT USAGE ON FOREIGN DATA WRAPPER norikv TO regress_norikv_embeds;
SET ROLE regress_norikv_embeds;
CREATE SERVER theirs FOREIGN DATA WRAPPER norikv OPTIONS (embedder 'http', embedding_url 'https://example.com/v1/embeddings');
CREATE SERVER theirs FOREIGN DATA WRAPPER norikv OPTIONS (embedder 'http', embedding_url 'http://[::1]:8080/v1/embeddings');
RESET ROLE;

DROP SERVER theirs, by_function;
RESET norikv.server;
DROP OWNED BY regress_norikv_embeds;
DROP ROLE regress_norikv_embeds;
DROP TYPE vector CASCADE;
DROP VIEW sentence;
DROP FUNCTION letters, wide, nothing, no_number, as_text;
