/*
 * http.c - the embedder behind an address: a service that speaks OpenAI's
 * /v1/embeddings, as most do.
 *
 * {"model": m, "input": [text, ...]} is answered with
 * {"data": [{"index": i, "embedding": [number, ...]}, ...]}. What comes back is read in
 * one pass by PostgreSQL's own parser; a jsonb of it would make a numeric of each number.
 */
#include "vector/embedder.h"

#include "access/detoast.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "json_parser.h"

/* Of one request: most services take as many. */
#define MAX_TEXTS 32
#define MAX_BYTES (256 * 1024)

/* All vectors that are being made. */
typedef struct Embedding
{
	const NorikvEmbedderOptions *options;
	const Datum *texts;
	MemoryContext context; /* of the vectors */
	float **values;
	int n_texts;
	int dimensions; /* 0: nothing has come yet */
} Embedding;

/* The texts of one request. */
typedef struct Batch
{
	Embedding *embedding;
	int first;
	int count;
} Batch;

/* ---- Reading an answer ---- */

typedef struct Reader
{
	JsonLexContext *lexer;
	int count;		  /* of vectors that are expected */
	int n_rows;		  /* elements of "data" so far */
	bool in_data;
	bool in_vector;
	bool is_index;	  /* the scalar to come is an "index" */
	int index;		  /* of the row at hand */
	float row[NORIKV_MAX_DIMENSIONS];
	int n_values;	  /* of the row at hand; more than fit are counted only */
	int dimensions;	  /* of the first row */
	float *values;	  /* of all rows */
	bool *seen;
	const char *fault; /* NULL: none so far */
} Reader;

static void
find_fault(Reader *reader, const char *fault)
{
	if (reader->fault == NULL)
		reader->fault = fault;
}

NORIKV_JSON_ACTION
field_start(void *state, char *name, bool is_null)
{
	Reader *reader = state;
	int level = reader->lexer->lex_level;

	if (level == 1)
		reader->in_data = strcmp(name, "data") == 0;
	else if (level == 3 && reader->in_data)
	{
		reader->in_vector = strcmp(name, "embedding") == 0;
		reader->is_index = strcmp(name, "index") == 0;
	}
	NORIKV_JSON_ACTION_DONE;
}

NORIKV_JSON_ACTION
object_start(void *state)
{
	Reader *reader = state;

	if (reader->in_data && reader->lexer->lex_level == 2)
	{
		reader->index = reader->n_rows++;
		reader->n_values = 0;
		reader->in_vector = reader->is_index = false;
	}
	NORIKV_JSON_ACTION_DONE;
}

NORIKV_JSON_ACTION
scalar(void *state, char *token, JsonTokenType type)
{
	Reader *reader = state;
	int level = reader->lexer->lex_level;

	if (reader->in_vector && level == 4)
	{
		if (type != JSON_TOKEN_NUMBER)
			find_fault(reader, "An element of a vector is not a number.");
		else if (reader->n_values < NORIKV_MAX_DIMENSIONS)
			reader->row[reader->n_values] = strtof(token, NULL);
		reader->n_values++;
	}
	else if (reader->is_index && level == 3)
	{
		reader->index = type == JSON_TOKEN_NUMBER ? atoi(token) : -1;
		reader->is_index = false;
	}
	pfree(token);
	NORIKV_JSON_ACTION_DONE;
}

static void
keep_row(Reader *reader)
{
	if (reader->index < 0 || reader->index >= reader->count)
		find_fault(reader, "A vector has an index that no text has.");
	else if (reader->seen[reader->index])
		find_fault(reader, "Two vectors have one index.");
	else if (reader->n_values == 0 || reader->n_values > NORIKV_MAX_DIMENSIONS)
		find_fault(reader, "A vector has no dimensions, or too many.");
	else if (reader->dimensions != 0 && reader->dimensions != reader->n_values)
		find_fault(reader, "Not all vectors have the same number of dimensions.");
	if (reader->fault != NULL)
		return;
	if (reader->dimensions == 0)
	{
		reader->dimensions = reader->n_values;
		reader->values = palloc(sizeof(float) * reader->count * reader->dimensions);
	}
	reader->seen[reader->index] = true;
	memcpy(reader->values + (Size) reader->index * reader->dimensions, reader->row,
		   sizeof(float) * reader->dimensions);
}

NORIKV_JSON_ACTION
object_end(void *state)
{
	Reader *reader = state;

	if (reader->in_data && reader->lexer->lex_level == 2)
		keep_row(reader);
	NORIKV_JSON_ACTION_DONE;
}

static const char *
read_answer(Reader *reader, const char *answer, size_t size)
{
	JsonSemAction actions = {
		.semstate = reader,
		.object_start = object_start,
		.object_end = object_end,
		.object_field_start = field_start,
		.scalar = scalar,
	};

	if (!pg_verify_mbstr(PG_UTF8, answer, size, true))
		return "It is not valid UTF-8.";
	reader->lexer = NorikvMakeJsonLexer(answer, size, PG_UTF8);
	if (pg_parse_json(reader->lexer, &actions) != JSON_SUCCESS)
		return "It is not valid JSON.";
	if (reader->fault == NULL && reader->n_rows != reader->count)
		return psprintf("It has %d vectors for %d texts.", reader->n_rows,
						reader->count);
	return reader->fault;
}

static void
raise_bad_answer(const NorikvEmbedderOptions *options, const char *fault)
{
	ereport(ERROR, errcode(ERRCODE_PROTOCOL_VIOLATION),
			errmsg("answer of the embedding service of server \"%s\" is not a list of "
				   "vectors", options->server),
			errdetail("%s", fault));
}

static void
keep_vectors(Batch *batch, const Reader *reader)
{
	Embedding *embedding = batch->embedding;
	Size row = sizeof(float) * reader->dimensions;

	if (embedding->dimensions == 0)
	{
		embedding->dimensions = reader->dimensions;
		*embedding->values =
			MemoryContextAllocHuge(embedding->context, row * embedding->n_texts);
	}
	else if (embedding->dimensions != reader->dimensions)
		raise_bad_answer(embedding->options,
						 psprintf("It has vectors of %d dimensions after others of %d.",
								  reader->dimensions, embedding->dimensions));
	memcpy((char *) *embedding->values + row * batch->first, reader->values,
		   row * batch->count);
}

static void
take_answer(NorikvPost *post, const char *answer, size_t size)
{
	Batch *batch = post->arg;
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv answer", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	Reader *reader = palloc0(sizeof(Reader));
	const char *fault;

	reader->count = batch->count;
	reader->seen = palloc0(sizeof(bool) * batch->count);
	fault = read_answer(reader, answer, size);
	if (fault != NULL)
		raise_bad_answer(batch->embedding->options, fault);
	keep_vectors(batch, reader);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}

/* ---- Making requests ---- */

/* In the database's encoding up to here, in UTF-8 from here on. */
static void
make_body(NorikvPost *post)
{
	const Batch *batch = post->arg;
	const NorikvEmbedderOptions *options = batch->embedding->options;
	StringInfoData json;
	norikv_slice body;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	if (options->model != NULL)
	{
		appendStringInfoString(&json, "\"model\":");
		escape_json(&json, options->model);
		appendStringInfoChar(&json, ',');
	}
	if (options->dimensions != 0)
		appendStringInfo(&json, "\"dimensions\":%d,", options->dimensions);
	appendStringInfoString(&json, "\"input\":[");
	for (int i = 0; i < batch->count; i++)
	{
		char *string = TextDatumGetCString(batch->embedding->texts[batch->first + i]);

		if (i > 0)
			appendStringInfoChar(&json, ',');
		escape_json(&json, string);
		pfree(string);
	}
	appendStringInfoString(&json, "]}");
	body = NorikvToUtf8((norikv_slice){json.data, json.len});
	if (body.data != json.data)
		pfree(json.data);
	post->body = (char *) body.data;
	post->body_size = body.size;
}

/* How many of the texts go into one request, one at least. */
static int
batch_size(const Datum *texts, int n_texts)
{
	Size bytes = 0;
	int count = 0;

	while (count < n_texts && count < MAX_TEXTS)
	{
		bytes += toast_raw_datum_size(texts[count]);
		if (count > 0 && bytes > MAX_BYTES)
			break;
		count++;
	}
	return count;
}

static void
check_options(const NorikvEmbedderOptions *options)
{
	char *host;
	char *port;
	bool secure;

	if (options->url == NULL)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("embedder \"http\" of server \"%s\" has no \"embedding_url\"",
					   options->server),
				errhint("It is the address of a service like "
						"https://api.openai.com/v1/embeddings."));
	NorikvSplitUrl(options->url, &host, &port, &secure);
	if (options->api_key != NULL && !secure && !NorikvIsLoopback(host))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("embedding service of server \"%s\" would get its key unencrypted",
					   options->server),
				errdetail("\"embedding_url\" names another machine, and the user mapping "
						  "has an \"embedding_api_key\"."),
				errhint("Use https."));
}

static int
embed(const NorikvEmbedderOptions *options, const Datum *texts, int n_texts,
	  float **values)
{
	Embedding embedding = {options, texts, CurrentMemoryContext, values, n_texts, 0};
	MemoryContext context;
	MemoryContext old_context;
	NorikvPost *posts;
	int n_posts = 0;

	check_options(options);
	context = AllocSetContextCreate(CurrentMemoryContext, "norikv embedding",
									ALLOCSET_DEFAULT_SIZES);
	old_context = MemoryContextSwitchTo(context);
	posts = MemoryContextAllocHuge(context, sizeof(NorikvPost) * (Size) n_texts);
	for (int first = 0; first < n_texts;)
	{
		NorikvPost *post = &posts[n_posts++];
		Batch *batch = palloc(sizeof(Batch));

		*batch = (Batch){&embedding, first, batch_size(texts + first, n_texts - first)};
		*post = (NorikvPost){
			.prepare = make_body, .answered = take_answer, .arg = batch};
		first += batch->count;
	}
	NorikvPostAll(options, posts, n_posts);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
	return embedding.dimensions;
}

const NorikvEmbedder NorikvHttpEmbedder = {"http", embed};
