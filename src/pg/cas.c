/*
 * cas.c - the one compare-and-swap loop.
 *
 * Read, ask the step for the new document, write on condition that the key is
 * still as it was read; begin again when it is not. Between tries it waits a
 * random time of a range that doubles: writers that met once would meet again.
 */
#include "pg_norikv.h"

#include <math.h>

#include "common/pg_prng.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define FIRST_BACKOFF_MS 2
#define MAX_BACKOFF_MS 500

/* One run of the loop. */
typedef struct Loop
{
	NorikvConnection *connection;
	norikv_slice key;
	const NorikvCasOptions *options;
	norikv_error unmet; /* of the last try: the condition that did not hold */
} Loop;

static void
back_off(int tries)
{
	double range = FIRST_BACKOFF_MS * pow(2, Min(tries, 16));

	NorikvSleep(1 + (long) (pg_prng_double(&pg_global_prng_state) *
							Min(range, MAX_BACKOFF_MS)));
}

/* What remains of the time to live, by this machine's clock; 1 ms at least. */
static uint64
remaining_ms(const NorikvDocument *document)
{
	const int64 epoch_us =
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int64 now_ms = (GetCurrentTimestamp() + epoch_us) / 1000;

	return Max((int64) document->expires_at_ms - now_ms, 1);
}

/*
 * A put that keeps the time to live is one step in a Commit: true. A server
 * without transactions is told what remains; where it does not tell when a key
 * expires, there is nothing to keep.
 */
static bool
set_ttl(Loop *loop, const NorikvDocument *old, norikv_operation *operation)
{
	operation->ttl = loop->options->ttl;
	operation->ttl_ms = loop->options->ttl_ms;
	if (operation->ttl != NORIKV_TTL_KEEP)
		return false;
	if (old->present && NorikvGetCapabilities(loop->connection)->transactions)
		return true;
	operation->ttl = NORIKV_TTL_NONE;
	if (old->present && old->expires_at_ms != 0)
	{
		operation->ttl = NORIKV_TTL_SET;
		operation->ttl_ms = remaining_ms(old);
	}
	return false;
}

/* Whether the time to live has to be kept by hand, and the server tells it. */
static bool
needs_expiry(Loop *loop)
{
	const NorikvCapabilities *capabilities;

	if (loop->options->ttl != NORIKV_TTL_KEEP)
		return false;
	capabilities = NorikvGetCapabilities(loop->connection);
	return capabilities->named && !capabilities->transactions;
}

/* The value is copied, so that no call stays open while the step runs anything. */
static void
read_document(Loop *loop, NorikvDocument *document)
{
	const norikv_entry *entry;
	NorikvCall *call;
	char *value;

	if (needs_expiry(loop))
	{
		call = NorikvStartMultiGet(loop->connection, &loop->key, 1, "strong");
		entry = NorikvFinishMultiGet(call, 1);
	}
	else
	{
		call = NorikvStartGet(loop->connection, loop->key, "strong");
		NorikvFinish(call);
		entry = norikv_call_entry(call->call);
	}
	value = palloc(entry->value.size + 1);
	memcpy(value, entry->value.data, entry->value.size);
	*document = (NorikvDocument){
		.present = entry->version.index != 0,
		.key = loop->key,
		.value = {value, entry->value.size},
		.version = entry->version,
		.expires_at_ms = entry->expires_at_ms,
	};
	NorikvFree(call);
}

/* False where the condition did not hold; every other error is raised. */
static bool
write_document(Loop *loop, const NorikvDocument *old, NorikvCasAction action,
			   norikv_slice value)
{
	norikv_operation operation = {
		.kind = action == NORIKV_CAS_PUT ? NORIKV_OP_PUT : NORIKV_OP_DELETE,
		.key = loop->key,
		.value = value,
		.condition = old->present ? NORIKV_IF_VERSION : NORIKV_IF_ABSENT,
		.version = old->version,
	};
	bool in_commit = action == NORIKV_CAS_PUT && set_ttl(loop, old, &operation);
	const norikv_slice no_idempotency_key = {NULL, 0};
	const norikv_error *error;
	NorikvCall *call;

	if (in_commit)
		call = NorikvStartCommit(loop->connection, &operation, 1, true);
	else
		call = NorikvStartWrite(loop->connection, &operation, no_idempotency_key);
	error = NorikvAwait(call);
	if (error->code != NORIKV_OK)
	{
		if (!NorikvIsUnmetCondition(error))
			NorikvRaise(error, &call->subject);
		loop->unmet = *error;
	}
	NorikvFree(call);
	return loop->unmet.code == NORIKV_OK;
}

/* One read, one step, one write; false where another writer came between. */
static bool
try_once(Loop *loop, NorikvCasStep step, void *arg)
{
	NorikvDocument old;
	norikv_slice value = {NULL, 0};
	NorikvCasAction action;

	read_document(loop, &old);
	action = step(&old, &value, arg);
	if (action == NORIKV_CAS_LEAVE || (action == NORIKV_CAS_DELETE && !old.present))
		return true;
	loop->unmet.code = NORIKV_OK;
	return write_document(loop, &old, action, value);
}

void
NorikvCompareAndSwap(NorikvConnection *connection, norikv_slice key, NorikvCasStep step,
					 void *arg, const NorikvCasOptions *options)
{
	Loop loop = {.connection = connection, .key = key, .options = options};
	NorikvSubject subject = {connection, NORIKV_CALL_PUT, key, true, NORIKV_IF_VERSION};
	MemoryContext try_context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv compare-and-swap", ALLOCSET_DEFAULT_SIZES);

	for (int tries = 0;; tries++)
	{
		MemoryContext old_context = MemoryContextSwitchTo(try_context);
		bool done = try_once(&loop, step, arg);

		MemoryContextSwitchTo(old_context);
		MemoryContextReset(try_context);
		if (done)
			break;
		if (tries >= options->max_retries)
			NorikvRaise(&loop.unmet, &subject);
		back_off(tries);
	}
	MemoryContextDelete(try_context);
}
