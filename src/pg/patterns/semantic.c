/*
 * semantic.c - the index of a namespace that an embedder fills, and searches in it.
 *
 * vector:embedder:<namespace>		{embedder, dimensions}: who made the index
 *
 * Vectors of two embedders cannot be compared. The key says whose are in the index,
 * so that an error can name it, and it goes with the index.
 */
#include "patterns/semantic.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#define MAKER_PREFIX "vector:embedder:"

typedef struct Maker
{
	char *embedder;
	int64 dimensions;
} Maker;

static const NorikvFieldRule maker_fields[] = {
	NORIKV_FIELD("embedder", NORIKV_TYPE_TEXT, Maker, embedder),
	NORIKV_FIELD("dimensions", NORIKV_TYPE_INTEGER, Maker, dimensions),
};
static const NorikvDocumentRule maker_rule = {"embedder", maker_fields,
											  lengthof(maker_fields), sizeof(Maker)};

/* An index that this backend has made, or seen, for its embedder. */
typedef struct NorikvKnownIndex
{
	char *space;
	char *embedder;
	int dimensions;
} NorikvKnownIndex;

/* ---- What is known ---- */

static void
forget_index(NorikvConnection *connection, norikv_slice space)
{
	ListCell *cell;

	foreach (cell, connection->indexes)
	{
		NorikvKnownIndex *known = lfirst(cell);

		if (NorikvSameBytes(NORIKV_SLICE(known->space), space))
			connection->indexes = foreach_delete_current(connection->indexes, cell);
	}
}

static void
remember_index(NorikvConnection *connection, const char *space, const Maker *maker)
{
	MemoryContext old_context;
	NorikvKnownIndex *known;

	forget_index(connection, NORIKV_SLICE(space));
	old_context = MemoryContextSwitchTo(connection->context);
	known = palloc(sizeof(NorikvKnownIndex));
	known->space = pstrdup(space);
	known->embedder = pstrdup(maker->embedder);
	known->dimensions = (int) maker->dimensions;
	connection->indexes = lappend(connection->indexes, known);
	MemoryContextSwitchTo(old_context);
}

static bool
is_known(NorikvConnection *connection, const char *space, const Maker *maker)
{
	ListCell *cell;

	foreach (cell, connection->indexes)
	{
		NorikvKnownIndex *known = lfirst(cell);

		if (strcmp(known->space, space) == 0)
			return known->dimensions == maker->dimensions &&
				   strcmp(known->embedder, maker->embedder) == 0;
	}
	return false;
}

static void
index_use_context(void *arg)
{
	NorikvIndexUse *use = arg;

	if (geterrcode() != ERRCODE_NO_DATA_FOUND)
		return;
	forget_index(use->connection, NORIKV_SLICE(use->space));
	errhint("Vector index \"%s\" was dropped meanwhile: repeat the call, which makes it "
			"again.", use->space);
}

void
NorikvBeginIndexUse(NorikvIndexUse *use, NorikvConnection *connection, const char *space)
{
	use->connection = connection;
	use->space = space;
	use->callback.callback = index_use_context;
	use->callback.arg = use;
	use->callback.previous = error_context_stack;
	error_context_stack = &use->callback;
}

void
NorikvEndIndexUse(NorikvIndexUse *use)
{
	error_context_stack = use->callback.previous;
}

/* ---- Whose it is ---- */

static norikv_slice
maker_key(const char *space)
{
	return NorikvMakeKey(MAKER_PREFIX, space);
}

static bool
read_maker(NorikvConnection *connection, const char *space, Maker *maker)
{
	NorikvDocument document = {.key = maker_key(space)};
	NorikvCall *call = NorikvStartGet(connection, document.key, "strong");
	const norikv_entry *entry;

	NorikvFinish(call);
	entry = norikv_call_entry(call->call);
	document.present = entry->version.index != 0;
	document.value = entry->value;
	if (document.present)
		NorikvReadRecord(&maker_rule, &document, connection, maker);
	NorikvFree(call);
	return document.present;
}

static void
check_maker(NorikvConnection *connection, const char *space, const Maker *now,
			const Maker *then)
{
	if (then->dimensions != now->dimensions)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("vector index \"%s\" on server \"%s\" has " INT64_FORMAT
					   " dimensions, but the embedder makes " INT64_FORMAT, space,
					   connection->name, then->dimensions, now->dimensions),
				errdetail("Embedder \"%s\" made the index; now it is \"%s\".",
						  then->embedder, now->embedder),
				errhint("Set the embedder back, or drop the index with "
						"norikv.vector_drop_index('%s') and index everything again.",
						space));
	if (strcmp(then->embedder, now->embedder) != 0)
		ereport(WARNING, errcode(ERRCODE_WARNING),
				errmsg("vector index \"%s\" on server \"%s\" is of another embedder",
					   space, connection->name),
				errdetail("Embedder \"%s\" made it; now it is \"%s\". Their vectors can "
						  "hardly be compared.", then->embedder, now->embedder),
				errhint("Drop the index with norikv.vector_drop_index('%s') and index "
						"everything again.", space));
}

/* One try that another session may come before: then its maker is there. */
static void
write_maker(NorikvConnection *connection, const char *space, const Maker *maker)
{
	const norikv_slice no_idempotency_key = {NULL, 0};
	norikv_operation operation = {
		.kind = NORIKV_OP_PUT,
		.condition = NORIKV_IF_ABSENT,
		.key = maker_key(space),
		.value = NorikvWriteRecord(&maker_rule, maker, NULL),
	};
	NorikvCall *call = NorikvStartWrite(connection, &operation, no_idempotency_key);
	const norikv_error *error = NorikvAwait(call);

	if (error->code != NORIKV_OK && !NorikvIsUnmetCondition(error))
		NorikvRaise(error, &call->subject);
	NorikvFree(call);
}

static void
create_index(NorikvConnection *connection, const char *space, int dimensions)
{
	NorikvCall *call = NorikvStartCreateIndex(connection, NORIKV_SLICE(space), dimensions,
											  NORIKV_COSINE, NORIKV_HNSW);

	NorikvFinishVectors(call, NORIKV_SLICE(space));
	NorikvFree(call);
}

void
NorikvForgetIndexMaker(NorikvConnection *connection, norikv_slice space)
{
	const norikv_slice no_idempotency_key = {NULL, 0};
	norikv_operation operation = {.kind = NORIKV_OP_DELETE};
	NorikvCall *call;

	operation.key = NorikvMakeKey(MAKER_PREFIX, pnstrdup(space.data, space.size));
	forget_index(connection, space);
	call = NorikvStartWrite(connection, &operation, no_idempotency_key);
	NorikvFinish(call);
	NorikvFree(call);
}

void
NorikvMakeIndex(NorikvConnection *connection, const char *space, int dimensions)
{
	Maker now = {NorikvDescribeEmbedder(connection), dimensions};
	Maker then;

	if (is_known(connection, space, &now))
		return;
	if (read_maker(connection, space, &then))
		check_maker(connection, space, &now, &then);
	/* Creating what is there changes nothing; and it may have been dropped. */
	create_index(connection, space, dimensions);
	write_maker(connection, space, &now);
	if (read_maker(connection, space, &then) && then.dimensions != dimensions)
		check_maker(connection, space, &now, &then);
	remember_index(connection, space, &now);
}

void
NorikvCheckIndex(NorikvConnection *connection, const char *space, int dimensions)
{
	Maker now = {NorikvDescribeEmbedder(connection), dimensions};
	Maker then;

	if (is_known(connection, space, &now))
		return;
	if (!read_maker(connection, space, &then))
		return;
	check_maker(connection, space, &now, &then);
	remember_index(connection, space, &now);
}

/* ---- Searching ---- */

/* Ids and distances, copied: the call has gone when the documents are read. */
static NorikvHits
find_hits(NorikvConnection *connection, const NorikvHitRequest *wanted)
{
	norikv_search_request request = {
		.space = NORIKV_SLICE(wanted->space),
		.query = wanted->query.values,
		.dimensions = wanted->query.dimensions,
		.k = wanted->k,
		.ef = Max(norikv_ef_search, wanted->min_ef),
	};
	NorikvCall *call = NorikvStartVectorSearch(connection, &request);
	const norikv_error *error = NorikvAwait(call);
	const norikv_vector *matches = NULL;
	size_t n_matches = 0;
	NorikvHits hits;

	if (error->code == NORIKV_OK)
		matches = norikv_call_vectors(call->call, &n_matches);
	else if (error->code != NORIKV_NOT_FOUND)
		NorikvRaiseVectors(error, call, request.space);
	hits.count = (int) n_matches;
	hits.hits = palloc0(sizeof(NorikvHit) * Max(n_matches, 1));
	for (size_t i = 0; i < n_matches; i++)
	{
		NorikvHit *hit = &hits.hits[i];

		hit->id.data = memcpy(palloc(matches[i].id.size), matches[i].id.data,
							  matches[i].id.size);
		hit->id.size = matches[i].id.size;
		hit->similarity = 1.0 - matches[i].distance;
		hit->version = matches[i].version;
	}
	NorikvFree(call);
	return hits;
}

static norikv_slice
hit_key(const char *prefix, const NorikvHit *hit)
{
	size_t prefix_size = strlen(prefix);
	char *key = palloc(prefix_size + hit->id.size);

	memcpy(key, prefix, prefix_size);
	memcpy(key + prefix_size, hit->id.data, hit->id.size);
	return (norikv_slice){key, prefix_size + hit->id.size};
}

static void
read_documents(NorikvConnection *connection, NorikvHits *hits, const char *prefix)
{
	norikv_slice *keys = palloc(sizeof(norikv_slice) * hits->count);
	const norikv_entry *entries;
	NorikvCall *call;

	for (int i = 0; i < hits->count; i++)
		keys[i] = hit_key(prefix, &hits->hits[i]);
	call = NorikvStartMultiGet(connection, keys, hits->count, NULL);
	entries = NorikvFinishMultiGet(call, hits->count);
	for (int i = 0; i < hits->count; i++)
	{
		NorikvDocument *document = &hits->hits[i].document;
		char *value = palloc(entries[i].value.size + 1);

		memcpy(value, entries[i].value.data, entries[i].value.size);
		value[entries[i].value.size] = '\0';
		*document = (NorikvDocument){
			.present = entries[i].version.index != 0,
			.key = keys[i],
			.value = {value, entries[i].value.size},
			.version = entries[i].version,
		};
	}
	NorikvFree(call);
}

NorikvHits
NorikvSearchHits(NorikvConnection *connection, const NorikvHitRequest *request)
{
	NorikvHits hits = find_hits(connection, request);

	if (request->prefix != NULL && hits.count > 0)
		read_documents(connection, &hits, request->prefix);
	return hits;
}

/* ---- Single vectors ---- */

NorikvCall *
NorikvStartReadVector(NorikvConnection *connection, const char *space, norikv_slice id)
{
	return NorikvStartVectorGetMany(connection, NORIKV_SLICE(space), &id, 1);
}

NorikvStoredVector
NorikvFinishReadVector(NorikvCall *call, const char *space)
{
	const norikv_error *error = NorikvAwait(call);
	NorikvStoredVector stored = {{0, NULL}};
	const norikv_vector *vectors;
	size_t n_vectors;

	if (error->code != NORIKV_OK && error->code != NORIKV_NOT_FOUND)
		NorikvRaiseVectors(error, call, NORIKV_SLICE(space));
	if (error->code == NORIKV_OK)
	{
		vectors = norikv_call_vectors(call->call, &n_vectors);
		if (n_vectors == 1 && vectors[0].found)
		{
			Size size = sizeof(float) * vectors[0].dimensions;

			stored.vector.dimensions = vectors[0].dimensions;
			stored.vector.values = memcpy(palloc(size), vectors[0].vector, size);
			stored.version = vectors[0].version;
		}
	}
	NorikvFree(call);
	return stored;
}

/* ---- Deleting ---- */

/* Without the index there is the document alone to delete. */
static NorikvCall *
start_delete(NorikvConnection *connection, const norikv_operation *operations,
			 const char *space)
{
	NorikvCall *call = NorikvStartCommit(connection, operations, 2, true);
	const norikv_error *error = NorikvAwait(call);

	if (error->code == NORIKV_NOT_FOUND)
	{
		NorikvFree(call);
		call = NorikvStartCommit(connection, operations, 1, true);
		error = NorikvAwait(call);
	}
	if (error->code != NORIKV_OK)
		NorikvRaiseVectors(error, call, NORIKV_SLICE(space));
	return call;
}

bool
NorikvDeleteIndexed(NorikvConnection *connection, const char *space, const char *prefix,
					Datum id, const char *argument)
{
	const norikv_operation operations[] = {
		{.kind = NORIKV_OP_DELETE, .key = NorikvPatternKey(prefix, id, argument)},
		{.kind = NORIKV_OP_VECTOR_DELETE,
		 .key = NorikvVectorIdFromDatum(id, argument),
		 .vector_namespace = NORIKV_SLICE(space)},
	};
	NorikvCall *call = start_delete(connection, operations, space);
	const norikv_operation_result *results;
	size_t n_results;
	bool existed = false;

	results = norikv_call_results(call->call, &n_results);
	for (size_t i = 0; i < n_results; i++)
		existed |= results[i].existed;
	NorikvFree(call);
	return existed;
}

/* ---- Indexing ---- */

/* What the step is handed. */
typedef struct Storing
{
	const NorikvIndexing *indexing;
	norikv_slice id;
	NorikvVector vector;
} Storing;

static void
store_step(NorikvAttempt *attempt, void *arg)
{
	const Storing *storing = arg;
	const NorikvIndexing *indexing = storing->indexing;
	NorikvDocument *document = &attempt->documents[0];

	/* A broken one is an error, not overwritten. */
	if (document->present)
		NorikvReadRecord(indexing->rule, document, attempt->connection,
						 palloc(indexing->rule->size));
	NorikvPutDocument(attempt, document,
					  NorikvWriteRecord(indexing->rule, indexing->record, document),
					  NORIKV_TTL_NONE, 0);
	NorikvPutVector(attempt, NORIKV_SLICE(indexing->space), storing->id,
					storing->vector.values, storing->vector.dimensions, NORIKV_IF_ANY,
					(norikv_version){0});
}

void
NorikvIndexDocument(NorikvConnection *connection, Datum id,
					const NorikvIndexing *indexing)
{
	const NorikvStepOptions options = {.sql_name = indexing->sql_name, .max_retries = 20};
	const norikv_slice key = NorikvPatternKey(indexing->prefix, id, "id");
	Storing storing = {.indexing = indexing};
	NorikvIndexUse use;

	storing.id = NorikvVectorIdFromDatum(id, "id");
	storing.vector = NorikvEmbedText(connection, CStringGetTextDatum(indexing->text));
	NorikvMakeIndex(connection, indexing->space, storing.vector.dimensions);
	NorikvBeginIndexUse(&use, connection, indexing->space);
	NorikvRunStep(connection, &key, 1, store_step, &storing, &options);
	NorikvEndIndexUse(&use);
}
