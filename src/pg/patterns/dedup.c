/*
 * dedup.c - texts that are nearly there already.
 *
 * doc_fingerprints		the namespace of the vectors of texts
 * dedup:<id>			{fingerprint, createdAt}: of which text (SHA-256), and since when
 *
 * Two sessions that check nearly the same text at once both find nothing. So each looks
 * again when it has stored its text: of two that are there, the one of the lower
 * version stays, and the other's session takes it back. Every session looks after it
 * has committed, so of any two the later one sees the earlier.
 */
#include "patterns/semantic.h"

#include "access/htup_details.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "funcapi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(norikv_sql_dedup_check);
PG_FUNCTION_INFO_V1(norikv_sql_dedup_remove);

#define SPACE "doc_fingerprints"
#define RECORD_PREFIX "dedup:"
/* How many neighbours are looked at, as other programs do. */
#define NEIGHBOURS 5
/* A search that misses a neighbour lets a duplicate in: a wider one than by default. */
#define MIN_EF 200
/* Of a distance in single precision: a text is a duplicate of itself at threshold 1. */
#define ROUNDING 1e-6

typedef struct Record
{
	char *fingerprint;
	int64 created_at;
} Record;

static const NorikvFieldRule record_fields[] = {
	NORIKV_FIELD("fingerprint", NORIKV_TYPE_TEXT, Record, fingerprint),
	NORIKV_OPTIONAL("createdAt", NORIKV_TYPE_INSTANT, Record, created_at, 0),
};
static const NorikvDocumentRule record_rule = {"fingerprint", record_fields,
											   lengthof(record_fields), sizeof(Record)};

/* A call of dedup_check(). */
typedef struct Check
{
	NorikvConnection *connection;
	norikv_slice id;
	norikv_slice key;
	NorikvVector vector;
	double threshold;
	Record record;
} Check;

/* ---- Looking ---- */

/*
 * The nearest text, of lower version than that (index 0: of any), that is as near as
 * the threshold demands; false: there is none.
 */
static bool
find_duplicate(const Check *check, norikv_version before, NorikvHit *duplicate)
{
	NorikvHitRequest request = {.space = SPACE,
								.query = check->vector,
								.k = NEIGHBOURS + 1,
								.min_ef = MIN_EF};
	NorikvHits hits = NorikvSearchHits(check->connection, &request);

	for (int i = 0; i < hits.count; i++)
	{
		const NorikvHit *hit = &hits.hits[i];

		if (hit->similarity < check->threshold - ROUNDING)
			break;
		if (NorikvSameBytes(hit->id, check->id))
			continue;
		if (before.index == 0 || hit->version.term < before.term ||
			(hit->version.term == before.term && hit->version.index < before.index))
		{
			*duplicate = *hit;
			return true;
		}
	}
	return false;
}

/* ---- Storing, and taking back ---- */

static void
store_step(NorikvAttempt *attempt, void *arg)
{
	const Check *check = arg;
	NorikvDocument *document = &attempt->documents[0];
	Record old;

	/* A broken one is an error, not overwritten. */
	if (document->present)
		NorikvReadRecord(&record_rule, document, attempt->connection, &old);
	NorikvPutDocument(attempt, document,
					  NorikvWriteRecord(&record_rule, &check->record,
										document->present ? document : NULL),
					  NORIKV_TTL_NONE, 0);
	NorikvPutVector(attempt, NORIKV_SLICE(SPACE), check->id, check->vector.values,
					check->vector.dimensions, NORIKV_IF_ANY, (norikv_version){0});
}

/* What has been stored again meanwhile is another call's. */
static void
take_back(const Check *check, norikv_version version)
{
	const norikv_operation operations[] = {
		{.kind = NORIKV_OP_DELETE,
		 .key = check->key,
		 .condition = NORIKV_IF_VERSION,
		 .version = version},
		{.kind = NORIKV_OP_VECTOR_DELETE,
		 .key = check->id,
		 .vector_namespace = NORIKV_SLICE(SPACE),
		 .condition = NORIKV_IF_VERSION,
		 .version = version},
	};
	NorikvCall *call = NorikvStartCommit(check->connection, operations, 2, true);
	const norikv_error *error = NorikvAwait(call);

	if (error->code != NORIKV_OK && error->code != NORIKV_NOT_FOUND &&
		!NorikvIsUnmetCondition(error))
		NorikvRaise(error, &call->subject);
	NorikvFree(call);
}

/* Whether it is a duplicate; if it is none, it is stored. */
static bool
check_and_store(Check *check, NorikvHit *duplicate)
{
	const NorikvStepOptions options = {.sql_name = "dedup_check()", .max_retries = 20};
	norikv_version version;
	NorikvIndexUse use;

	NorikvMakeIndex(check->connection, SPACE, check->vector.dimensions);
	if (find_duplicate(check, (norikv_version){0}, duplicate))
		return true;
	check->record.created_at = NorikvStoreTime(check->connection);
	NorikvBeginIndexUse(&use, check->connection, SPACE);
	version = NorikvRunStep(check->connection, &check->key, 1, store_step, check,
							&options);
	NorikvEndIndexUse(&use);
	if (!find_duplicate(check, version, duplicate))
		return false;
	take_back(check, version);
	return true;
}

/* ---- SQL ---- */

/* In hexadecimal, of the text as it is on the wire. */
static char *
fingerprint(Datum content)
{
	norikv_slice bytes = NorikvBytesFromDatum(content, true);
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	char *shown = palloc(sizeof(digest) * 2 + 1);

	if (pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, bytes.data, bytes.size) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("could not compute a SHA-256 hash"));
	pg_cryptohash_free(hash);
	shown[hex_encode((char *) digest, sizeof(digest), shown)] = '\0';
	return shown;
}

static double
threshold_argument(FunctionCallInfo fcinfo)
{
	double threshold;

	NorikvRequireArgument(fcinfo, 2, "threshold");
	threshold = PG_GETARG_FLOAT8(2);
	if (!(threshold >= 0 && threshold <= 1))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be 0 to 1, but it is %g", "threshold",
					   threshold));
	return threshold;
}

/* id, content, threshold: is_duplicate, duplicate_of, similarity */
Datum
norikv_sql_dedup_check(PG_FUNCTION_ARGS)
{
	Check check = {.connection = NorikvGetWriteConnection("norikv.dedup_check()")};
	bool nulls[3] = {false};
	NorikvHit duplicate;
	TupleDesc descriptor;
	Datum values[3];

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	NorikvRequireArgument(fcinfo, 0, "id");
	NorikvRequireArgument(fcinfo, 1, "content");
	check.id = NorikvVectorIdFromDatum(PG_GETARG_DATUM(0), "id");
	check.key = NorikvPatternKey(RECORD_PREFIX, PG_GETARG_DATUM(0), "id");
	check.threshold = threshold_argument(fcinfo);
	check.record.fingerprint = fingerprint(PG_GETARG_DATUM(1));
	check.vector = NorikvEmbedText(check.connection, PG_GETARG_DATUM(1));

	nulls[1] = !check_and_store(&check, &duplicate);
	values[0] = BoolGetDatum(!nulls[1]);
	values[2] = Float8GetDatum(0);
	if (!nulls[1])
	{
		values[1] = NorikvTextFromId(duplicate.id, check.connection);
		values[2] = Float8GetDatum(duplicate.similarity);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

/* id */
Datum
norikv_sql_dedup_remove(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.dedup_remove()");

	NorikvRequireArgument(fcinfo, 0, "id");
	PG_RETURN_BOOL(NorikvDeleteIndexed(connection, SPACE, RECORD_PREFIX,
									   PG_GETARG_DATUM(0), "id"));
}
