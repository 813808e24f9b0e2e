/*
 * combine.c - one backend does for many what they all want of one key.
 *
 * Sixteen backends that write one key, each for itself, make sixteen round trips of
 * which the store can take one at a time, or fight over the version. Here the first
 * one writes, those that come meanwhile park what they want in shared memory, and when
 * the first is done, one of them takes all of it in one request, hands out the
 * answers, and leaves the next round to one that came during its own. Whoever finds
 * nobody does its own at once; just after a batch it waits for a moment for those of it.
 *
 * What must hold, whichever process ends at whatever point:
 * - Each ask is done once at most, and exactly once where an answer came. The request
 *   of a batch has an idempotency key of the batch, and all that makes it up stands in
 *   shared memory before it is sent: when its leader is cancelled or ends, another one
 *   of the batch sends the very same again, and the server answers as if it had been
 *   once. The keys of a queue are one slot with a growing number, so that a server
 *   that knows such keys keeps one record for all of them and refuses what is late.
 * - Nobody waits for one who is gone: PG_ENSURE_ERROR_CLEANUP hands over on errors and
 *   on exit alike. A crash ends all backends, and the shared memory with them.
 * - Nobody waits for ever for one who is stopped: who has waited longer than a leader can
 *   take for what it does takes over, as if it had ended. One that goes on after that
 *   finds that it was deposed, tells nobody anything, and gets its answer from the other;
 *   what it sends all the same is the very same request, or one whose condition does not
 *   hold any more.
 * - A batch that was taken over may have been sent before: only what the request itself
 *   is refused for says that nothing was done; everything else leaves it open (08007).
 *
 * Nothing is right or wrong by being combined: without shared memory, with all queues
 * taken, every backend does its own. The queues are combine_queue.c's.
 */
#include "patterns/combine.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"

#include "patterns/combine_queue.h"

/* How much longer than its calls may take a leader is waited for. */
#define PATIENCE_MS 1000

/* ---- Interrupts ---- */

/* An ask that is in a queue. */
typedef struct Asking
{
	NorikvQueue *queue;
	NorikvSubject subject;
} Asking;

/*
 * In an error context callback: a cancel is told with what has become of the ask. Nobody
 * may take that up between here and its end: so it is withdrawn.
 */
static void
tell_outcome(void *arg)
{
	Asking *asking = arg;
	int code = geterrcode();

	if ((code == ERRCODE_QUERY_CANCELED || code == ERRCODE_ADMIN_SHUTDOWN) &&
		NorikvWithdraw(asking->queue))
		NorikvWriteInterrupted(&asking->subject);
}

/* ---- Leading ---- */

static void
await_company(NorikvQueue *queue)
{
	while (NorikvAwaitsCompany(queue))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Refused as a whole: one part may be at fault, so that each is to be tried alone. */
static bool
is_refusal(const norikv_error *error)
{
	return !error->outcome_unknown && !error->never_sent &&
		   error->code != NORIKV_UNAVAILABLE && error->code != NORIKV_DEADLINE_EXCEEDED;
}

/* The same whoever sends it, and whenever: so it is for all who may have sent it. */
static bool
is_of_the_request(const norikv_error *error)
{
	return error->code == NORIKV_OUT_OF_RANGE || error->code == NORIKV_INVALID_ARGUMENT;
}

static NorikvSlotState
outcome_of(const NorikvBatch *batch, const norikv_error *error)
{
	if (error == NULL)
		return NORIKV_SLOT_DONE;
	if (error->outcome_unknown || (batch->is_taken_over && !is_of_the_request(error)))
		return NORIKV_SLOT_UNKNOWN;
	return NORIKV_SLOT_ALONE;
}

static void
raise_unknown(NorikvConnection *connection, norikv_slice key)
{
	NorikvSubject subject = {connection, NORIKV_CALL_COMMIT, key, true, NORIKV_IF_ANY};
	norikv_error error = {.code = NORIKV_UNKNOWN, .outcome_unknown = true};

	strlcpy(error.text, "Another session sent it together with its own, and no answer "
						"came.", sizeof(error.text));
	NorikvRaise(&error, &subject);
}

/*
 * What another has taken over may be done, whatever went wrong here. So may be what
 * others wait for as well: where the server was not to be read, one of them goes on.
 */
static bool
may_be_done_by_another(NorikvQueue *queue, const NorikvBatch *batch)
{
	int code = geterrcode();

	if (code == ERRCODE_QUERY_CANCELED || !NorikvWithdraw(queue))
		return false;
	return !NorikvStillLeads(batch) || code == ERRCODE_NORIKV_READ_TIMEOUT ||
		   ERRCODE_TO_CATEGORY(code) == ERRCODE_CONNECTION_EXCEPTION;
}

static const norikv_error *
lead_it(NorikvQueue *queue, NorikvBatch *batch, NorikvLead lead)
{
	MemoryContext context = CurrentMemoryContext;
	const norikv_error *volatile error = NULL;

	PG_TRY();
	{
		error = lead(batch);
	}
	PG_CATCH();
	{
		if (!may_be_done_by_another(queue, batch))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		raise_unknown(batch->connection, batch->key);
	}
	PG_END_TRY();
	return error;
}

static void
lead_batch(NorikvQueue *queue, NorikvConnection *connection, norikv_slice key,
		   NorikvLead lead)
{
	NorikvSubject subject = {connection, NORIKV_CALL_COMMIT, key, true, NORIKV_IF_ANY};
	NorikvBatch *batch;
	const norikv_error *error;
	norikv_error copy;

	await_company(queue);
	batch = palloc(sizeof(NorikvBatch));
	batch->connection = connection;
	batch->key = key;
	if (!NorikvTakeBatch(queue, batch))
	{
		pfree(batch);
		return;
	}
	error = lead_it(queue, batch, lead);
	if (error != NULL)
		copy = *error;
	if (NorikvHandOut(queue, batch, outcome_of(batch, error)) && error != NULL &&
		!is_refusal(&copy))
		NorikvRaise(&copy, &subject);
	pfree(batch);
}

/* ---- Waiting ---- */

/* Until something became of what was parked, or nothing is heard of who does it. */
static NorikvSlotState
await_state(NorikvQueue *queue, int64 patience_us)
{
	NorikvSlotState state;

	while ((state = NorikvLookAtSlot()) == NORIKV_SLOT_PARKED ||
		   state == NORIKV_SLOT_TAKEN)
	{
		int64 left_us =
			NorikvHeardOfLeader(queue) + patience_us - NorikvBootMicroseconds();

		CHECK_FOR_INTERRUPTS();
		if (left_us <= 0)
			NorikvDepose(queue, patience_us);
		else
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 left_us / 1000 + 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	return state;
}

static NorikvSlotState
await_answer(NorikvQueue *queue, NorikvConnection *connection, norikv_slice key,
			 NorikvLead lead, int64 patience_us)
{
	Asking asking = {queue, {connection, NORIKV_CALL_COMMIT, key, true, NORIKV_IF_ANY}};
	ErrorContextCallback callback = {error_context_stack, tell_outcome, &asking};
	NorikvSlotState state;

	error_context_stack = &callback;
	while ((state = await_state(queue, patience_us)) == NORIKV_SLOT_LEADS)
		lead_batch(queue, connection, key, lead);
	error_context_stack = callback.previous;
	return state;
}

static uint64
target_of(const NorikvSettings *settings)
{
	uint64 target = hash_bytes_extended((const unsigned char *) settings->nodes,
										strlen(settings->nodes), 0);

	if (settings->token != NULL)
		target = hash_bytes_extended((const unsigned char *) settings->token,
									 strlen(settings->token), target);
	return target;
}

/*
 * An addition is one call. The others come by the queue before each write: from one to
 * the next they write, read, and may ask for the time, with pauses in between.
 */
static int64
patience_with(NorikvCombineKind kind, const NorikvSettings *settings)
{
	int64 calls = kind == NORIKV_COMBINE_ADD ? 1 : 3;

	return (calls * settings->timeout + PATIENCE_MS) * 1000;
}

bool
NorikvCombine(NorikvConnection *connection, NorikvCombineKind kind, norikv_slice key,
			  const int64 *ask, int64 *answer, NorikvLead lead)
{
	norikv_slice prefix = connection->key_prefix;
	NorikvIdentity identity = {.database = MyDatabaseId,
							   .serverid = connection->serverid,
							   .umid = connection->umid,
							   .target = target_of(&connection->settings),
							   .kind = kind,
							   .prefix_size = prefix.size,
							   .key_size = prefix.size + key.size};
	NorikvSlotState state;
	NorikvQueue *queue;

	/* a key that is too long is refused when it is sent */
	if (key.size > connection->max_key)
		return false;
	memcpy(identity.key, prefix.data, prefix.size);
	memcpy(identity.key + prefix.size, key.data, key.size);
	queue = NorikvJoinQueue(&identity, ask);
	if (queue == NULL)
		return false;
	PG_ENSURE_ERROR_CLEANUP(NorikvLeaveQueue, PointerGetDatum(queue));
	{
		state = await_answer(queue, connection, key, lead,
							 patience_with(kind, &connection->settings));
	}
	PG_END_ENSURE_ERROR_CLEANUP(NorikvLeaveQueue, PointerGetDatum(queue));
	NorikvGetAnswer(answer);
	if (state == NORIKV_SLOT_UNKNOWN)
		raise_unknown(connection, key);
	return state == NORIKV_SLOT_DONE;
}
