/*
 * embedder.c - which embedder is configured, and the functions that use it.
 *
 * The options of the foreign server say it. The embedded store without a server object
 * has settings of the same names, which are a superuser's: whoever could set the URL
 * would have the texts, and the key, of others sent there. There is no setting for the
 * key, which belongs into a user mapping, where nobody else reads it.
 */
#include "vector/embedder.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#define DEFAULT_TIMEOUT_MS 30000

PG_FUNCTION_INFO_V1(norikv_sql_embed);
PG_FUNCTION_INFO_V1(norikv_sql_embed_many);

/* ---- Settings ---- */

static int embedder_kind = NORIKV_EMBEDDER_LEXICAL;
static char *embedding_url = NULL;
static char *embedding_model = NULL;
static char *embedding_function = NULL;
static int embedding_dimensions = 0;
static int embedding_timeout = DEFAULT_TIMEOUT_MS;

static const struct config_enum_entry kinds[] = {
	{"lexical", NORIKV_EMBEDDER_LEXICAL, false},
	{"http", NORIKV_EMBEDDER_HTTP, false},
	{"function", NORIKV_EMBEDDER_FUNCTION, false},
	{NULL, 0, false},
};

static bool
check_url(char **newval, void **extra, GucSource source)
{
	const char *fault = **newval == '\0' ? NULL : NorikvCheckEmbeddingUrl(*newval);

	if (fault != NULL)
		GUC_check_errdetail("%s", fault);
	return fault == NULL;
}

/* Each is what the option of a server of the same name is; see docs/reference.md. */
void
NorikvEmbedderInit(void)
{
	DefineCustomEnumVariable(
		"norikv.embedder", "What makes vectors of texts.",
		"For the embedded store without a server object.", &embedder_kind,
		NORIKV_EMBEDDER_LEXICAL, kinds, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("norikv.embedding_url",
							   "Where the embedder \"http\" sends texts.", NULL,
							   &embedding_url, "", PGC_SUSET, GUC_SUPERUSER_ONLY,
							   check_url, NULL, NULL);
	DefineCustomStringVariable("norikv.embedding_model",
							   "The model that the embedder \"http\" asks for.", NULL,
							   &embedding_model, "", PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("norikv.embedding_function",
							   "The function that the embedder \"function\" calls.", NULL,
							   &embedding_function, "", PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"norikv.embedding_dimensions", "How many dimensions the vectors of texts have.",
		"0: as many as the embedder makes of itself.", &embedding_dimensions, 0, 0,
		NORIKV_MAX_DIMENSIONS, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"norikv.embedding_timeout",
		"How long one request of the embedder \"http\" may take, with its retries.", NULL,
		&embedding_timeout, DEFAULT_TIMEOUT_MS, 1, 24 * 60 * 60 * 1000, PGC_SUSET,
		GUC_UNIT_MS, NULL, NULL, NULL);
}

static const char *
given(const char *setting)
{
	return setting == NULL || setting[0] == '\0' ? NULL : setting;
}

static void
load_options(const NorikvConnection *connection, NorikvEmbedderOptions *options)
{
	const NorikvSettings *settings = &connection->settings;

	if (OidIsValid(connection->serverid))
		*options = (NorikvEmbedderOptions){
			.kind = settings->embedder,
			.url = settings->embedding_url,
			.model = settings->embedding_model,
			.function = settings->embedding_function,
			.api_key = settings->embedding_api_key,
			.dimensions = settings->embedding_dimensions,
			.timeout = settings->embedding_timeout,
		};
	else
		*options = (NorikvEmbedderOptions){
			.kind = embedder_kind,
			.url = given(embedding_url),
			.model = given(embedding_model),
			.function = given(embedding_function),
			.dimensions = embedding_dimensions,
			.timeout = embedding_timeout,
		};
	options->server = connection->name;
}

/* ---- Embedding ---- */

static const NorikvEmbedder *
find_embedder(NorikvEmbedderKind kind)
{
	switch (kind)
	{
		case NORIKV_EMBEDDER_HTTP:
			return &NorikvHttpEmbedder;
		case NORIKV_EMBEDDER_FUNCTION:
			return &NorikvFunctionEmbedder;
		default:
			return &NorikvLexicalEmbedder;
	}
}

/* A text of spaces says nothing, and services refuse it in as many ways as there are. */
static void
check_texts(const Datum *texts, int n_texts)
{
	for (int i = 0; i < n_texts; i++)
	{
		text *value = DatumGetTextPP(texts[i]);
		const char *c = VARDATA_ANY(value);
		const char *end = c + VARSIZE_ANY_EXHDR(value);

		while (c < end && (*c == ' ' || (*c >= '\t' && *c <= '\r')))
			c++;
		if (c == end && n_texts == 1)
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("text to embed must not be empty"));
		if (c == end)
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("text to embed must not be empty, but text %d of %d is",
						   i + 1, n_texts));
		if ((Pointer) value != DatumGetPointer(texts[i]))
			pfree(value);
	}
}

/* What comes from elsewhere is no better than what users give. */
static void
check_vectors(const NorikvEmbedder *embedder, const NorikvEmbedderOptions *options,
			  const NorikvVectors *vectors)
{
	char what[64];

	if (options->dimensions != 0 && vectors->dimensions != options->dimensions)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("embedder \"%s\" of server \"%s\" made vectors of %d dimensions "
					   "instead of %d", embedder->name, options->server,
					   vectors->dimensions, options->dimensions),
				errhint("Set \"embedding_dimensions\" to what the model makes."));
	for (int i = 0; i < vectors->count; i++)
	{
		NorikvVector vector = {vectors->dimensions,
							   vectors->values + (Size) i * vectors->dimensions};

		snprintf(what, sizeof(what), "vector of embedder \"%s\"", embedder->name);
		NorikvCheckVector(vector, what);
	}
}

/* Vectors of the texts, one behind the other, checked as other vectors are. */
static NorikvVectors
embed(NorikvConnection *connection, const Datum *texts, int n_texts)
{
	NorikvVectors vectors = {.count = n_texts};
	NorikvEmbedderOptions options;
	const NorikvEmbedder *embedder;
	float *values = NULL;

	if (n_texts == 0)
		return vectors;
	load_options(connection, &options);
	embedder = find_embedder(options.kind);
	check_texts(texts, n_texts);
	vectors.dimensions = embedder->embed(&options, texts, n_texts, &values);
	vectors.values = values;
	check_vectors(embedder, &options, &vectors);
	return vectors;
}

NorikvVector
NorikvEmbedText(NorikvConnection *connection, Datum text)
{
	NorikvVectors vectors = embed(connection, &text, 1);

	return (NorikvVector){vectors.dimensions, vectors.values};
}

char *
NorikvDescribeEmbedder(NorikvConnection *connection)
{
	NorikvEmbedderOptions options;
	const char *name;
	const char *detail = NULL;

	load_options(connection, &options);
	name = find_embedder(options.kind)->name;
	if (options.kind == NORIKV_EMBEDDER_HTTP)
		detail = options.model;
	if (options.kind == NORIKV_EMBEDDER_FUNCTION)
		detail = options.function;
	return detail == NULL ? pstrdup(name) : psprintf("%s %s", name, detail);
}

/* ---- SQL ---- */

Datum
norikv_sql_embed(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(NorikvVectorGetDatum(
		NorikvEmbedText(NorikvGetConnection(), PG_GETARG_DATUM(0))));
}

Datum
norikv_sql_embed_many(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	NorikvVectors vectors;
	ArrayType *array;
	Datum *texts;
	bool *nulls;
	int n_texts;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	connection = NorikvGetConnection();
	array = PG_GETARG_ARRAYTYPE_P(0);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must have one dimension, but it has %d", "texts",
					   ARR_NDIM(array)));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, &n_texts);
	for (int i = 0; i < n_texts; i++)
	{
		if (nulls[i])
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"%s\" must not contain nulls, but element %d is "
						   "one", "texts", i + 1));
	}
	vectors = embed(connection, texts, n_texts);
	PG_RETURN_DATUM(
		NorikvVectorsGetDatum(vectors.values, vectors.count, vectors.dimensions));
}
