/*
 * ratelimit.c - rate limits over a sliding window.
 *
 * What was allowed within the window stands in one document, which is read and
 * written by compare-and-swap: whoever finds room takes it, and nobody else the same.
 * What is denied writes nothing.
 *
 * In no window is the limit exceeded, whatever clocks say: instants are of the store's
 * clock, which is known here to within the time of a round trip. A request is put down
 * at the latest that the time can be, never before the newest one there is, and it
 * leaves the window at the earliest that the time can be.
 *
 * Backends that ask for one id at the same time have one of them decide for all, in one
 * read and one write (combine.c): alone, each, they would fight for the version.
 */
#include "patterns/pattern.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/timestamp.h"

#include "patterns/combine.h"
#include "patterns/window.h"

#define STAMPS_PREFIX "ratelimit:"
#define BUCKETS_PREFIX "ratelimit-b:"

PG_FUNCTION_INFO_V1(norikv_sql_rate_limit);
PG_FUNCTION_INFO_V1(norikv_sql_rate_limit_peek);
PG_FUNCTION_INFO_V1(norikv_sql_rate_limit_reset);

/* The words of an ask and of its answer. */
enum
{
	MAX_REQUESTS,
	LENGTH_MS,
	COST /* 0: only to look */
};

enum
{
	ALLOWED,
	REMAINING,
	RESET_AT_MS,
	RETRY_AFTER_MS
};

/* ---- Deciding ---- */

/* One request after the other: true where it was counted. */
static bool
decide(NorikvWindow *window, NorikvPart *part, NorikvStoreTimes now)
{
	int64 length = part->ask[LENGTH_MS];
	int64 limit = part->ask[MAX_REQUESTS];
	int64 cost = Max(part->ask[COST], 1);
	bool counts = false;
	int64 used;

	NorikvForgetUses(window, now.earliest - length);
	used = NorikvCountUses(window);
	part->answer[ALLOWED] = cost <= limit - used;
	part->answer[RETRY_AFTER_MS] = 0;
	if (!part->answer[ALLOWED])
		part->answer[RETRY_AFTER_MS] =
			NorikvWhenFreed(window, used + cost - limit) + length - now.earliest;
	else if (part->ask[COST] > 0)
	{
		NorikvAddUse(window, now.latest, cost, length);
		used += cost;
		counts = true;
	}
	part->answer[REMAINING] = Max(limit - used, 0);
	part->answer[RESET_AT_MS] =
		(window->n_uses > 0 ? window->uses[0].at : now.latest) + length;
	return counts;
}

/* True where something was counted, which then is to be written. */
static bool
decide_all(NorikvBatch *batch, NorikvWindow *window, int64 *ttl_ms)
{
	NorikvStoreTimes now = NorikvGetStoreTimes(batch->connection);
	bool counted = false;
	int64 longest = 0;

	for (int i = 0; i < batch->n_parts; i++)
		longest = Max(longest, batch->parts[i].ask[LENGTH_MS]);
	for (int i = 0; i < batch->n_parts; i++)
		counted |= decide(window, &batch->parts[i], now);
	if (counted)
		*ttl_ms = Min(window->uses[window->n_uses - 1].at + longest - now.earliest + 1,
					  NORIKV_MAX_TTL_MS);
	return counted;
}

static void
read_document(NorikvBatch *batch, NorikvDocument *document)
{
	NorikvCall *call = NorikvStartGet(batch->connection, batch->key, "strong");
	const norikv_entry *entry;

	NorikvFinish(call);
	entry = norikv_call_entry(call->call);
	*document = (NorikvDocument){
		.present = entry->version.index != 0,
		.key = batch->key,
		.value = {pnstrdup(entry->value.data, entry->value.size), entry->value.size},
		.version = entry->version,
	};
	NorikvFree(call);
}

/* The error of the write, which is NORIKV_OK where all went well. */
static norikv_error
write_window(NorikvBatch *batch, const NorikvDocument *old, const NorikvWindow *window,
			 int64 ttl_ms)
{
	const norikv_slice no_idempotency_key = {NULL, 0};
	norikv_operation operation = {
		.kind = NORIKV_OP_PUT,
		.key = batch->key,
		.value = NorikvWriteWindow(window),
		.condition = old->present ? NORIKV_IF_VERSION : NORIKV_IF_ABSENT,
		.version = old->version,
		.ttl = NORIKV_TTL_SET,
		.ttl_ms = ttl_ms,
	};
	NorikvCall *call = NorikvStartWrite(batch->connection, &operation,
										no_idempotency_key);
	norikv_error error = *NorikvAwait(call);

	NorikvFree(call);
	if (error.code == NORIKV_DEADLINE_EXCEEDED && !error.never_sent)
		error.outcome_unknown = true;
	return error;
}

static bool
is_in_buckets(norikv_slice key)
{
	size_t size = strlen(BUCKETS_PREFIX);

	return key.size > size && memcmp(key.data, BUCKETS_PREFIX, size) == 0;
}

/*
 * All parts, in their order. One that takes over from another decides anew: what that
 * one may have written counts, and nobody was told of it.
 */
static const norikv_error *
decide_batch(NorikvBatch *batch)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv rate limit", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	norikv_error error = {.code = NORIKV_OK};
	norikv_error *result = NULL;

	for (int tries = 0;; tries++)
	{
		NorikvDocument document;
		NorikvWindow window;
		int64 ttl_ms;

		read_document(batch, &document);
		NorikvReadWindow(&window, is_in_buckets(batch->key), &document,
						 batch->connection);
		if (!decide_all(batch, &window, &ttl_ms))
			break;
		if (!NorikvStillLeads(batch))
		{
			error.code = NORIKV_ABORTED;
			break;
		}
		error = write_window(batch, &document, &window, ttl_ms);
		if (error.code == NORIKV_OK || !NorikvIsUnmetCondition(&error))
			break;
		error.code = NORIKV_OK;
		MemoryContextReset(context);
		NorikvBackOff(tries);
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
	if (error.code != NORIKV_OK)
	{
		result = palloc(sizeof(norikv_error));
		*result = error;
	}
	return result;
}

/* ---- Arguments ---- */

static void
raise_out_of_range(const char *argument, const char *range, int64 given)
{
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("argument \"%s\" must be %s, but it is " INT64_FORMAT, argument, range,
				   given));
}

/* max_requests, per, cost */
static void
take_ask(FunctionCallInfo fcinfo, int64 *ask, int64 cost)
{
	int64 limit = PG_GETARG_INT64(1);

	if (limit < 1 || limit > NORIKV_MAX_SAFE_INTEGER)
		raise_out_of_range("max_requests", "1 to 9007199254740991", limit);
	if (cost > limit)
		raise_out_of_range("cost", "at most max_requests", cost);
	memset(ask, 0, sizeof(int64) * NORIKV_ASK_WORDS);
	ask[MAX_REQUESTS] = limit;
	ask[LENGTH_MS] = NorikvMillisecondsFromInterval(PG_GETARG_INTERVAL_P(2), "per");
	ask[COST] = cost;
}

static norikv_slice
key_argument(FunctionCallInfo fcinfo)
{
	bool in_buckets = PG_GETARG_INT64(1) > NORIKV_MAX_STAMPS;

	return NorikvPatternKey(in_buckets ? BUCKETS_PREFIX : STAMPS_PREFIX,
							PG_GETARG_DATUM(0), "id");
}

static Datum
form_answer(FunctionCallInfo fcinfo, const int64 *answer)
{
	Interval *retry_after = palloc0(sizeof(Interval));
	TupleDesc descriptor;
	Datum values[4];
	bool nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	retry_after->time = answer[RETRY_AFTER_MS] * 1000;
	values[0] = BoolGetDatum(answer[ALLOWED] != 0);
	values[1] = Int64GetDatum(answer[REMAINING]);
	values[2] = NorikvTimestampFromInstant(answer[RESET_AT_MS]);
	values[3] = IntervalPGetDatum(retry_after);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

/* ---- The functions ---- */

/* As a batch of one. */
static void
decide_alone(NorikvConnection *connection, norikv_slice key, const int64 *ask,
			 int64 *answer)
{
	NorikvBatch *batch = palloc0(sizeof(NorikvBatch));
	NorikvSubject subject = {connection, NORIKV_CALL_PUT, key, true, NORIKV_IF_ANY};
	const norikv_error *error;

	batch->connection = connection;
	batch->key = key;
	batch->n_parts = 1;
	batch->queue = -1;
	memcpy(batch->parts[0].ask, ask, sizeof(batch->parts[0].ask));
	error = decide_batch(batch);
	if (error != NULL)
		NorikvRaise(error, &subject);
	memcpy(answer, batch->parts[0].answer, sizeof(batch->parts[0].answer));
	pfree(batch);
}

/* id, max_requests, per, cost */
Datum
norikv_sql_rate_limit(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"id", "max_requests", "per", "cost"};
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.rate_limit()");
	int64 ask[NORIKV_ASK_WORDS];
	int64 answer[NORIKV_ANSWER_WORDS];
	norikv_slice key;

	for (int i = 0; i < lengthof(names); i++)
		NorikvRequireArgument(fcinfo, i, names[i]);
	if (PG_GETARG_INT64(3) < 1)
		raise_out_of_range("cost", "at least 1", PG_GETARG_INT64(3));
	take_ask(fcinfo, ask, PG_GETARG_INT64(3));
	key = key_argument(fcinfo);
	NorikvRequireAtomicCas(connection, "rate_limit()");
	if (!NorikvCombine(connection, NORIKV_COMBINE_LIMIT, key, ask, answer, decide_batch))
		decide_alone(connection, key, ask, answer);
	return form_answer(fcinfo, answer);
}

/* id, max_requests, per */
Datum
norikv_sql_rate_limit_peek(PG_FUNCTION_ARGS)
{
	int64 ask[NORIKV_ASK_WORDS];
	int64 answer[NORIKV_ANSWER_WORDS];

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	take_ask(fcinfo, ask, 0);
	decide_alone(NorikvGetConnection(), key_argument(fcinfo), ask, answer);
	return form_answer(fcinfo, answer);
}

static NorikvCall *
start_delete(NorikvConnection *connection, const char *prefix, Datum id)
{
	const norikv_slice no_idempotency_key = {NULL, 0};
	norikv_operation operation = {.kind = NORIKV_OP_DELETE,
								  .key = NorikvPatternKey(prefix, id, "id")};

	return NorikvStartWrite(connection, &operation, no_idempotency_key);
}

static bool
finish_delete(NorikvCall *call)
{
	size_t n_results;
	bool existed;

	NorikvFinish(call);
	existed = norikv_call_results(call->call, &n_results)->existed;
	NorikvFree(call);
	return existed;
}

/* id: of both kinds, in one request. */
Datum
norikv_sql_rate_limit_reset(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.rate_limit_reset()");
	NorikvCall *stamps;
	NorikvCall *buckets;
	bool existed;

	NorikvRequireArgument(fcinfo, 0, "id");
	stamps = start_delete(connection, STAMPS_PREFIX, PG_GETARG_DATUM(0));
	buckets = start_delete(connection, BUCKETS_PREFIX, PG_GETARG_DATUM(0));
	existed = finish_delete(stamps);
	existed |= finish_delete(buckets);
	PG_RETURN_BOOL(existed);
}
