/*
 * document_search.c - semantic search: documents found by what they say.
 *
 * documents			the namespace of their vectors, of title and content
 * doc:meta:<id>		a document: {title, content}
 *
 * Document and vector are written in one Commit: no search finds what cannot be shown.
 */
#include "patterns/semantic.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(norikv_sql_document_index);
PG_FUNCTION_INFO_V1(norikv_sql_document_search);
PG_FUNCTION_INFO_V1(norikv_sql_document_delete);

#define SPACE "documents"
#define DOCUMENT_PREFIX "doc:meta:"

typedef struct Meta
{
	char *title;
	char *content;
} Meta;

static const NorikvFieldRule meta_fields[] = {
	NORIKV_FIELD("title", NORIKV_TYPE_TEXT, Meta, title),
	NORIKV_FIELD("content", NORIKV_TYPE_TEXT, Meta, content),
};
static const NorikvDocumentRule meta_rule = {"document", meta_fields,
											 lengthof(meta_fields), sizeof(Meta)};

/* What a step is handed. */
typedef struct Indexing
{
	Meta meta;
	norikv_slice id;
	NorikvVector vector;
} Indexing;

static void
index_step(NorikvAttempt *attempt, void *arg)
{
	const Indexing *indexing = arg;
	NorikvDocument *document = &attempt->documents[0];
	Meta old;

	/* A broken one is an error, not overwritten. */
	if (document->present)
		NorikvReadRecord(&meta_rule, document, attempt->connection, &old);
	NorikvPutDocument(attempt, document,
					  NorikvWriteRecord(&meta_rule, &indexing->meta,
										document->present ? document : NULL),
					  NORIKV_TTL_NONE, 0);
	NorikvPutVector(attempt, NORIKV_SLICE(SPACE), indexing->id, indexing->vector.values,
					indexing->vector.dimensions, NORIKV_IF_ANY, (norikv_version){0});
}

/* id, title, content */
Datum
norikv_sql_document_index(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.document_index()");
	const NorikvStepOptions options = {.sql_name = "document_index()", .max_retries = 20};
	Indexing indexing;
	norikv_slice key;
	NorikvIndexUse use;

	NorikvRequireArgument(fcinfo, 0, "id");
	NorikvRequireArgument(fcinfo, 1, "title");
	NorikvRequireArgument(fcinfo, 2, "content");
	key = NorikvPatternKey(DOCUMENT_PREFIX, PG_GETARG_DATUM(0), "id");
	indexing.id = NorikvVectorIdFromDatum(PG_GETARG_DATUM(0), "id");
	indexing.meta.title = TextDatumGetCString(PG_GETARG_DATUM(1));
	indexing.meta.content = TextDatumGetCString(PG_GETARG_DATUM(2));
	indexing.vector = NorikvEmbedText(
		connection, CStringGetTextDatum(psprintf("%s %s", indexing.meta.title,
												 indexing.meta.content)));
	NorikvMakeIndex(connection, SPACE, indexing.vector.dimensions);
	NorikvBeginIndexUse(&use, connection, SPACE);
	NorikvRunStep(connection, &key, 1, index_step, &indexing, &options);
	NorikvEndIndexUse(&use);
	PG_RETURN_VOID();
}

/* id, title, content, score; a vector without a document is left out. */
static void
put_row(ReturnSetInfo *result, const NorikvHit *hit, const NorikvConnection *connection)
{
	bool nulls[4] = {false};
	Datum values[4];
	Meta meta;

	if (!hit->document.present)
		return;
	NorikvReadRecord(&meta_rule, &hit->document, connection, &meta);
	values[0] = NorikvTextFromKey(hit->id, connection);
	values[1] = CStringGetTextDatum(meta.title);
	values[2] = CStringGetTextDatum(meta.content);
	values[3] = Float8GetDatum(hit->similarity);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* query, k */
Datum
norikv_sql_document_search(PG_FUNCTION_ARGS)
{
	NorikvHitRequest request = {.space = SPACE, .prefix = DOCUMENT_PREFIX};
	NorikvConnection *connection;
	NorikvHits hits;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	connection = NorikvGetConnection();
	request.k = NorikvNeighboursArgument(fcinfo, 1);
	request.query = NorikvEmbedText(connection, PG_GETARG_DATUM(0));
	NorikvCheckIndex(connection, SPACE, request.query.dimensions);
	hits = NorikvSearchHits(connection, &request);
	for (int i = 0; i < hits.count; i++)
		put_row((ReturnSetInfo *) fcinfo->resultinfo, &hits.hits[i], connection);
	return (Datum) 0;
}

/* id */
Datum
norikv_sql_document_delete(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.document_delete()");

	NorikvRequireArgument(fcinfo, 0, "id");
	PG_RETURN_BOOL(NorikvDeleteIndexed(connection, SPACE, DOCUMENT_PREFIX,
									   PG_GETARG_DATUM(0), "id"));
}
