/*
 * adder.c - adding to a key with a number in decimal ASCII.
 *
 * An add is one Commit with one addition, which the server makes in its own step: no
 * reading before, nothing to retry under contention. That it counts once, whatever
 * gets lost, is the doing of the call's idempotency key. Backends that add to one key at
 * the same time send one addition of all their deltas (combine.c) and reckon from the
 * answer what each one's own step came to.
 *
 * A server that cannot add is read and written by compare-and-swap, again by one
 * backend for all; what it is about to write is made ready in shared memory, so that
 * another one can send the very same if it goes.
 */
#include "patterns/adder.h"

#include "common/int.h"

#include "patterns/combine.h"
#include "patterns/pattern.h"

/* What is added together must leave an order in which no step goes out of range. */
#define MAX_TOGETHER (INT64CONST(1) << 62)

/* ---- Values ---- */

/* As norikvd has it: digits, a minus before them, nothing else. */
static bool
parse_integer(norikv_slice value, int64 *number)
{
	const char *c = value.data;
	const char *end = c + value.size;
	bool negative = value.size > 0 && *c == '-';

	*number = 0;
	if (negative)
		c++;
	if (c == end)
		return false;
	for (; c < end; c++)
	{
		if (*c < '0' || *c > '9' || pg_mul_s64_overflow(*number, 10, number) ||
			pg_sub_s64_overflow(*number, *c - '0', number))
			return false;
	}
	/* Counted downwards: the least number has no positive counterpart. */
	return negative || !pg_sub_s64_overflow(0, *number, number);
}

static void
raise_no_integer(const NorikvConnection *connection, norikv_slice key)
{
	ereport(ERROR, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			errmsg("value of key %s on server \"%s\" is no counter", NorikvShowKey(key),
				   connection->name),
			errdetail("It is not the decimal form of a 64-bit integer."),
			errhint("get_bytes() shows it, counter_set() replaces it."));
}

static void
raise_overflow(const NorikvConnection *connection, norikv_slice key, int64 delta)
{
	ereport(ERROR, errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			errmsg("counter %s on server \"%s\" cannot be changed by " INT64_FORMAT,
				   NorikvShowKey(key), connection->name, delta),
			errdetail("The sum would be out of the range of a 64-bit integer."));
}

int64
NorikvCounterValue(const NorikvConnection *connection, norikv_slice key,
				   norikv_slice value)
{
	int64 number;

	if (!parse_integer(value, &number))
		raise_no_integer(connection, key);
	return number;
}

norikv_slice
NorikvShowCounter(int64 number)
{
	return NORIKV_SLICE(psprintf(INT64_FORMAT, number));
}

/* ---- What each step of a batch came to ---- */

/* Out of range in sum, so that each is to be tried alone. */
static const norikv_error too_much = {.code = NORIKV_OUT_OF_RANGE,
									  .text = "out of range"};
static const norikv_error deposed = {.code = NORIKV_ABORTED, .text = "taken over"};
static const norikv_error no_integer = {.code = NORIKV_INVALID_ARGUMENT,
										.text = "holds no integer"};

/* The sum of all that is asked; false where it could hide a step out of range. */
static bool
sum_of(const NorikvBatch *batch, int64 *sum)
{
	int64 magnitude = 0;

	*sum = 0;
	for (int i = 0; i < batch->n_parts; i++)
	{
		int64 delta = batch->parts[i].ask[0];

		if (delta < -MAX_TOGETHER || delta > MAX_TOGETHER)
			return false;
		magnitude += delta < 0 ? -delta : delta;
		if (magnitude > MAX_TOGETHER)
			return false;
		*sum += delta;
	}
	return true;
}

/*
 * All at once is any order. Away from the nearer end of the range first, no step
 * leaves it: the way there and back is short enough, and both ends are inside.
 */
static void
answer_steps(NorikvBatch *batch, int64 before)
{
	bool downwards = before >= 0;
	int64 value = before;

	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < batch->n_parts; i++)
		{
			NorikvPart *part = &batch->parts[i];

			if ((part->ask[0] < 0) == (pass == 0 ? downwards : !downwards))
				part->answer[0] = value += part->ask[0];
		}
	}
}

/* Its last error, kept beyond the call. */
static const norikv_error *
keep_error(NorikvCall *call)
{
	norikv_error *error = palloc(sizeof(norikv_error));

	*error = *norikv_call_error(call->call);
	/* A write that ran out of time is never known to be undone. */
	if (error->code == NORIKV_DEADLINE_EXCEEDED && !error->never_sent)
		error->outcome_unknown = true;
	NorikvFree(call);
	return error;
}

/* ---- On a server that adds ---- */

static void
raise_add(const norikv_error *error, const NorikvSubject *subject, int64 delta)
{
	if (!error->outcome_unknown && error->code == NORIKV_OUT_OF_RANGE)
		raise_overflow(subject->connection, subject->key, delta);
	/* the same code as for an idempotency key that was used for something else */
	if (!error->outcome_unknown && error->code == NORIKV_INVALID_ARGUMENT &&
		strstr(error->text, no_integer.text) != NULL)
		raise_no_integer(subject->connection, subject->key);
	NorikvRaise(error, subject);
}

static NorikvCall *
send_add(NorikvConnection *connection, norikv_slice key, int64 delta,
		 norikv_slice idempotency_key)
{
	norikv_operation operation = {.kind = NORIKV_OP_ADD, .key = key, .delta = delta};
	NorikvCall *call =
		NorikvStartKeyedCommit(connection, &operation, 1, idempotency_key);

	(void) NorikvAwait(call);
	return call;
}

static int64
added_value(NorikvCall *call)
{
	size_t n_results;
	int64 value = norikv_call_results(call->call, &n_results)->value;

	NorikvFree(call);
	return value;
}

static int64
add_alone(NorikvConnection *connection, norikv_slice key, int64 delta,
		  norikv_slice idempotency_key)
{
	NorikvCall *call = send_add(connection, key, delta, idempotency_key);
	const norikv_error *error = norikv_call_error(call->call);

	if (error->code != NORIKV_OK)
		raise_add(error, &call->subject, delta);
	return added_value(call);
}

static const norikv_error *
add_all(NorikvBatch *batch)
{
	NorikvCall *call;
	int64 sum;

	if (!sum_of(batch, &sum))
		return &too_much;
	call = send_add(batch->connection, batch->key, sum,
					NORIKV_SLICE(batch->idempotency_key));
	if (norikv_call_error(call->call)->code != NORIKV_OK)
		return keep_error(call);
	answer_steps(batch, added_value(call) - sum);
	return NULL;
}

/* ---- On one that compares and swaps ---- */

/* What is there, and what is to be there; an error of the value, or NULL. */
static const norikv_error *
prepare_swap(NorikvBatch *batch, int64 sum)
{
	NorikvCall *call = NorikvStartMultiGet(batch->connection, &batch->key, 1, "strong");
	const norikv_entry *entry = NorikvFinishMultiGet(call, 1);
	NorikvPrepared prepared = {.version = entry->version};
	const norikv_error *error = NULL;
	int64 value = 0;

	if (entry->version.index != 0 && !parse_integer(entry->value, &value))
		error = &no_integer;
	else if (pg_add_s64_overflow(value, sum, &prepared.value))
		error = &too_much;
	if (entry->expires_at_ms != 0)
	{
		int64 left = (int64) entry->expires_at_ms - NorikvStoreTime(batch->connection);

		prepared.ttl_ms = Min(Max(left, 1), NORIKV_MAX_TTL_MS);
	}
	NorikvFree(call);
	if (error == NULL && !NorikvPrepareBatch(batch, &prepared))
		error = &deposed;
	return error;
}

static NorikvCall *
send_swap(NorikvBatch *batch)
{
	const NorikvPrepared *prepared = &batch->prepared;
	norikv_operation operation = {
		.kind = NORIKV_OP_PUT,
		.key = batch->key,
		.value = NorikvShowCounter(prepared->value),
		.condition = prepared->version.index != 0 ? NORIKV_IF_VERSION : NORIKV_IF_ABSENT,
		.version = prepared->version,
		.ttl = prepared->ttl_ms != 0 ? NORIKV_TTL_SET : NORIKV_TTL_NONE,
		.ttl_ms = prepared->ttl_ms,
	};
	NorikvCall *call = NorikvStartWrite(batch->connection, &operation,
										NORIKV_SLICE(batch->idempotency_key));

	(void) NorikvAwait(call);
	return call;
}

static const norikv_error *
swap_all(NorikvBatch *batch)
{
	int64 sum;

	if (!sum_of(batch, &sum))
		return &too_much;
	for (int tries = 0;; tries++)
	{
		const norikv_error *error = NULL;
		NorikvCall *call;

		/* What is prepared already another one may have sent: it is sent again. */
		if (tries > 0 || !batch->is_prepared)
			error = prepare_swap(batch, sum);
		if (error != NULL)
			return error;
		call = send_swap(batch);
		if (norikv_call_error(call->call)->code == NORIKV_OK)
		{
			NorikvFree(call);
			break;
		}
		error = keep_error(call);
		if (!NorikvIsUnmetCondition(error))
			return error;
		NorikvBackOff(tries);
	}
	answer_steps(batch, batch->prepared.value - sum);
	return NULL;
}

typedef struct Swap
{
	int64 delta;
	int64 value;
} Swap;

static void
swap_step(NorikvAttempt *attempt, void *arg)
{
	Swap *swap = arg;
	NorikvDocument *document = &attempt->documents[0];

	swap->value = 0;
	if (document->present)
		swap->value =
			NorikvCounterValue(attempt->connection, document->key, document->value);
	if (pg_add_s64_overflow(swap->value, swap->delta, &swap->value))
		raise_overflow(attempt->connection, document->key, swap->delta);
	NorikvPutDocument(attempt, document, NorikvShowCounter(swap->value), NORIKV_TTL_KEEP,
					  0);
}

static int64
swap_alone(NorikvConnection *connection, const char *sql_name, norikv_slice key,
		   int64 delta)
{
	const NorikvStepOptions options = {
		.sql_name = sql_name, .max_retries = -1, .keeps_ttl = true};
	Swap swap = {.delta = delta};

	NorikvRunStep(connection, &key, 1, swap_step, &swap, &options);
	return swap.value;
}

/* ---- Which of them ---- */

static void
check_swap(NorikvConnection *connection, const char *sql_name,
		   norikv_slice idempotency_key)
{
	NorikvRequireAtomicCas(connection, sql_name);
	if (idempotency_key.size > 0)
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("server \"%s\" does not support %s with an idempotency key",
					   connection->name, sql_name),
				errdetail("It cannot add, and an addition by compare-and-swap cannot be "
						  "told from its repetition."));
}

int64
NorikvAddToCounter(NorikvConnection *connection, const char *sql_name, norikv_slice key,
				   int64 delta, norikv_slice idempotency_key)
{
	bool adds = NorikvGetCapabilities(connection)->add;
	int64 ask[NORIKV_ASK_WORDS] = {delta};
	int64 answer[NORIKV_ANSWER_WORDS];

	if (!adds)
		check_swap(connection, sql_name, idempotency_key);
	if (idempotency_key.size == 0 &&
		NorikvCombine(connection, adds ? NORIKV_COMBINE_ADD : NORIKV_COMBINE_SWAP, key,
					  ask, answer, adds ? add_all : swap_all))
		return answer[0];
	if (adds)
		return add_alone(connection, key, delta, idempotency_key);
	return swap_alone(connection, sql_name, key, delta);
}
