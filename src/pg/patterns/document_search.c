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

/* id, title, content */
Datum
norikv_sql_document_index(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.document_index()");
	NorikvIndexing indexing = {.sql_name = "document_index()", .space = SPACE,
							   .prefix = DOCUMENT_PREFIX, .rule = &meta_rule};
	Meta meta;

	NorikvRequireArgument(fcinfo, 0, "id");
	NorikvRequireArgument(fcinfo, 1, "title");
	NorikvRequireArgument(fcinfo, 2, "content");
	meta.title = TextDatumGetCString(PG_GETARG_DATUM(1));
	meta.content = TextDatumGetCString(PG_GETARG_DATUM(2));
	indexing.record = &meta;
	indexing.text = psprintf("%s %s", meta.title, meta.content);
	NorikvIndexDocument(connection, PG_GETARG_DATUM(0), &indexing);
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
	values[0] = NorikvTextFromId(hit->id, connection);
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
