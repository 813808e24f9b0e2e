/*
 * combine.c - one backend does for many what they all want of one key.
 *
 * Sixteen backends that write one key, each for itself, make sixteen round trips of
 * which the store can take one at a time, or fight over the version. Here the first
 * one writes, those that come meanwhile park what they want in shared memory, and when
 * the first is done, one of them takes all of it in one request, hands out the
 * answers, and leaves the next round to one that came during its own. Whoever finds
 * nobody does its own at once: nothing is waited for to have company.
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
 * - Nobody waits for ever for one who is stopped: what was not taken yet is withdrawn
 *   and done alone; what was taken is not known (08007).
 *
 * Nothing is right or wrong by being combined: without shared memory, with all queues
 * taken, every backend does its own.
 */
#include "patterns/combine.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#define QUEUES 128
#define QUEUE_PROBES 4
#define NOBODY (-1)
/* How much longer than its own call may take a backend waits for another's. */
#define PATIENCE_MS 1000
/* For how long after a batch the next one waits for those of it. */
#define COMPANY_US 1000
#define UUID_TEXT_SIZE 37

#if PG_VERSION_NUM >= 170000
#define MY_NUMBER MyProcNumber
#else
#define MY_NUMBER (MyProc->pgprocno)
#endif

typedef enum SlotState
{
	IDLE,
	PARKED,	 /* in a queue's list */
	TAKEN,	 /* in a queue's batch */
	LEADS,	 /* does the batch, or makes one of what is parked */
	DONE,	 /* the answer is there */
	ALONE,	 /* nothing was done: to be done alone */
	UNKNOWN	 /* sent, and no answer */
} SlotState;

/* What a backend wants: one at a time. Guarded by the lock of its queue. */
typedef struct Slot
{
	SlotState state;
	int next; /* in the list of those parked */
	int64 ask[NORIKV_ASK_WORDS];
	int64 answer[NORIKV_ANSWER_WORDS];
} Slot;

/*
 * Whose asks may travel together: one key, one server, one user's credentials, one
 * tenant. The key is a whole one, with the connection's prefix; how much of it that is
 * counts too, as idempotency keys go with the prefix.
 */
typedef struct Identity
{
	Oid database;
	Oid serverid;
	Oid umid;
	NorikvCombineKind kind;
	uint32 prefix_size;
	uint32 key_size;
	char key[NORIKV_MAX_KEY];
} Identity;

typedef struct Queue
{
	Identity identity;
	int leader; /* NOBODY: the queue is free */
	int first;	/* of those parked */
	int last;
	int n_parked;
	int company; /* how many the last batch had */
	bool leader_waits; /* for as many as that */
	int64 handed_out_us; /* when its answers were */
	uint64 sequence; /* of the idempotency keys */
	/* The batch that the leader has taken: members that went away are NOBODY. */
	int n_members;
	int members[NORIKV_MAX_PARTS];
	int64 asks[NORIKV_MAX_PARTS][NORIKV_ASK_WORDS];
	bool is_prepared;
	NorikvPrepared prepared;
} Queue;

typedef struct Combining
{
	char uuid[UUID_TEXT_SIZE]; /* of this start of PostgreSQL */
	LWLockPadded *locks;	   /* of each queue */
	Queue queues[QUEUES];
	Slot slots[FLEXIBLE_ARRAY_MEMBER]; /* of each backend */
} Combining;

static Combining *shared = NULL;
static shmem_request_hook_type previous_shmem_request_hook = NULL;
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;

/* ---- Shared memory ---- */

static Size
shared_size(void)
{
	return add_size(offsetof(Combining, slots), mul_size(MaxBackends, sizeof(Slot)));
}

static void
request_shmem(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche("norikv_combine", QUEUES);
}

/* Version 4, as a client would make it. */
static void
make_uuid(char *text)
{
	unsigned char bytes[16];

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("could not generate random values"));
	bytes[6] = (bytes[6] & 0x0f) | 0x40;
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		text += sprintf(text, "%02x", bytes[i]);
	}
}

static void
startup_shmem(void)
{
	bool found;

	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("norikv combining", shared_size(), &found);
	if (!found)
	{
		memset(shared, 0, shared_size());
		make_uuid(shared->uuid);
		shared->locks = GetNamedLWLockTranche("norikv_combine");
		for (int i = 0; i < QUEUES; i++)
			shared->queues[i].leader = NOBODY;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
NorikvCombineInit(void)
{
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

static void
lock_queue(const Queue *queue)
{
	LWLockAcquire(&shared->locks[queue - shared->queues].lock, LW_EXCLUSIVE);
}

static void
unlock_queue(const Queue *queue)
{
	LWLockRelease(&shared->locks[queue - shared->queues].lock);
}

static void
wake(int number)
{
	SetLatch(&ProcGlobal->allProcs[number].procLatch);
}

/* ---- Queues; all of these with the lock held ---- */

static void
park(Queue *queue, int number)
{
	shared->slots[number].state = PARKED;
	shared->slots[number].next = NOBODY;
	if (queue->first == NOBODY)
		queue->first = number;
	else
		shared->slots[queue->last].next = number;
	queue->last = number;
	queue->n_parked++;
	if (queue->leader_waits && queue->n_parked + 1 >= queue->company)
		wake(queue->leader);
}

static void
unpark(Queue *queue, int number)
{
	int *link = &queue->first;
	int previous = NOBODY;

	while (*link != number)
	{
		previous = *link;
		link = &shared->slots[previous].next;
	}
	*link = shared->slots[number].next;
	if (queue->last == number)
		queue->last = previous;
	queue->n_parked--;
}

/* The next leader: one of the batch that is still to be done, or one that came later. */
static void
appoint(Queue *queue)
{
	queue->leader = NOBODY;
	for (int i = 0; i < queue->n_members && queue->leader == NOBODY; i++)
		queue->leader = queue->members[i];
	if (queue->leader == NOBODY)
	{
		queue->n_members = 0;
		queue->leader = queue->first;
		if (queue->leader != NOBODY)
			unpark(queue, queue->leader);
	}
	if (queue->leader != NOBODY)
	{
		shared->slots[queue->leader].state = LEADS;
		wake(queue->leader);
	}
}

static void
take_member(Queue *queue, int number)
{
	queue->members[queue->n_members] = number;
	memcpy(queue->asks[queue->n_members], shared->slots[number].ask,
		   sizeof(queue->asks[0]));
	queue->n_members++;
}

/* Of the leader itself and those parked. */
static void
make_batch(Queue *queue)
{
	queue->is_prepared = false;
	queue->sequence++;
	take_member(queue, MY_NUMBER);
	while (queue->first != NOBODY && queue->n_members < NORIKV_MAX_PARTS)
	{
		int number = queue->first;

		unpark(queue, number);
		shared->slots[number].state = TAKEN;
		take_member(queue, number);
	}
	queue->company = queue->n_members;
}

static void
leave_batch(Queue *queue, int number)
{
	for (int i = 0; i < queue->n_members; i++)
	{
		if (queue->members[i] == number)
			queue->members[i] = NOBODY;
	}
}

/* ---- Joining and leaving ---- */

static bool
is_same(const Identity *a, const Identity *b)
{
	return a->database == b->database && a->serverid == b->serverid &&
		   a->umid == b->umid && a->kind == b->kind && a->prefix_size == b->prefix_size &&
		   a->key_size == b->key_size &&
		   memcmp(a->key, b->key, a->key_size) == 0;
}

/* False where the queue has another key. */
static bool
join_queue(Queue *queue, const Identity *identity)
{
	bool joined = true;

	lock_queue(queue);
	if (queue->leader == NOBODY)
	{
		if (!is_same(&queue->identity, identity))
			queue->company = 0;
		memcpy(&queue->identity, identity,
			   offsetof(Identity, key) + identity->key_size);
		queue->first = queue->last = NOBODY;
		queue->n_parked = queue->n_members = 0;
		queue->leader = MY_NUMBER;
		shared->slots[MY_NUMBER].state = LEADS;
	}
	else if (is_same(&queue->identity, identity))
		park(queue, MY_NUMBER);
	else
		joined = false;
	unlock_queue(queue);
	return joined;
}

/* Those that have a key already are looked at first; a free one is the next best. */
static Queue *
find_queue(const Identity *identity)
{
	uint32 hash = hash_bytes((const unsigned char *) identity->key, identity->key_size);

	for (int i = 0; i < QUEUE_PROBES; i++)
	{
		Queue *queue = &shared->queues[(hash + i) % QUEUES];

		if (join_queue(queue, identity))
			return queue;
	}
	return NULL;
}

/* On an error, a cancel, the end of the process: what I had to do is another's. */
static void
leave_queue(int code, Datum arg)
{
	Queue *queue = (Queue *) DatumGetPointer(arg);
	Slot *slot = &shared->slots[MY_NUMBER];

	lock_queue(queue);
	switch (slot->state)
	{
		case PARKED:
			unpark(queue, MY_NUMBER);
			break;
		case TAKEN:
			leave_batch(queue, MY_NUMBER);
			break;
		case LEADS:
			leave_batch(queue, MY_NUMBER);
			appoint(queue);
			break;
		default:
			break;
	}
	slot->state = IDLE;
	unlock_queue(queue);
}

/* ---- Leading ---- */

static void
name_request(NorikvBatch *batch, uint64 sequence)
{
	snprintf(batch->idempotency_key, sizeof(batch->idempotency_key),
			 "~nk1/%s/%d/" UINT64_FORMAT, shared->uuid, batch->queue, sequence);
}

void
NorikvPrepareBatch(NorikvBatch *batch, const NorikvPrepared *prepared)
{
	Queue *queue = &shared->queues[batch->queue];

	lock_queue(queue);
	queue->prepared = *prepared;
	queue->is_prepared = true;
	name_request(batch, ++queue->sequence);
	unlock_queue(queue);
	batch->prepared = *prepared;
	batch->is_prepared = true;
}

/*
 * Those whose answers were just handed out mostly come back at once, and a batch that
 * leaves without them makes them wait for the next. So for a moment after that the
 * leader waits until as many are there as last time; the last of them wakes it.
 */
static void
await_company(Queue *queue)
{
	bool waits = true;

	while (waits)
	{
		lock_queue(queue);
		waits = queue->n_members == 0 && queue->n_parked + 1 < queue->company &&
				NorikvBootMicroseconds() < queue->handed_out_us + COMPANY_US;
		queue->leader_waits = waits;
		unlock_queue(queue);
		if (!waits)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* The batch that another one left, or a new one. */
static void
take_batch(Queue *queue, NorikvBatch *batch)
{
	await_company(queue);
	lock_queue(queue);
	if (queue->n_members == 0)
		make_batch(queue);
	batch->queue = queue - shared->queues;
	batch->n_parts = queue->n_members;
	for (int i = 0; i < queue->n_members; i++)
		memcpy(batch->parts[i].ask, queue->asks[i], sizeof(queue->asks[i]));
	batch->is_prepared = queue->is_prepared;
	batch->prepared = queue->prepared;
	name_request(batch, queue->sequence);
	unlock_queue(queue);
}

/* To all members that are still there; then the next one leads. */
static void
hand_out(Queue *queue, const NorikvBatch *batch, SlotState state)
{
	lock_queue(queue);
	for (int i = 0; i < queue->n_members; i++)
	{
		int number = queue->members[i];

		if (number == NOBODY)
			continue;
		memcpy(shared->slots[number].answer, batch->parts[i].answer,
			   sizeof(shared->slots[number].answer));
		shared->slots[number].state = state;
		if (number != MY_NUMBER)
			wake(number);
	}
	queue->n_members = 0;
	queue->handed_out_us = NorikvBootMicroseconds();
	appoint(queue);
	unlock_queue(queue);
}

/* Refused as a whole: one part may be at fault, so that each is to be tried alone. */
static bool
is_refusal(const norikv_error *error)
{
	return !error->outcome_unknown && !error->never_sent &&
		   error->code != NORIKV_UNAVAILABLE && error->code != NORIKV_DEADLINE_EXCEEDED;
}

static void
lead_batch(Queue *queue, NorikvConnection *connection, norikv_slice key, NorikvLead lead)
{
	NorikvBatch *batch = palloc(sizeof(NorikvBatch));
	const norikv_error *error;
	norikv_error copy;

	batch->connection = connection;
	batch->key = key;
	take_batch(queue, batch);
	error = lead(batch);
	if (error == NULL)
		hand_out(queue, batch, DONE);
	else
	{
		NorikvSubject subject = {connection, NORIKV_CALL_COMMIT, key, true,
								 NORIKV_IF_ANY};

		copy = *error;
		hand_out(queue, batch, copy.outcome_unknown ? UNKNOWN : ALONE);
		if (!is_refusal(&copy))
			NorikvRaise(&copy, &subject);
	}
	pfree(batch);
}

/* ---- Waiting ---- */

static SlotState
look(Queue *queue)
{
	SlotState state;

	lock_queue(queue);
	state = shared->slots[MY_NUMBER].state;
	unlock_queue(queue);
	return state;
}

/* Not waited for any longer: true where nobody had taken it. */
static bool
withdraw(Queue *queue)
{
	Slot *slot = &shared->slots[MY_NUMBER];
	bool withdrawn;

	lock_queue(queue);
	withdrawn = slot->state == PARKED;
	if (withdrawn)
	{
		unpark(queue, MY_NUMBER);
		slot->state = ALONE;
	}
	else if (slot->state == TAKEN)
	{
		leave_batch(queue, MY_NUMBER);
		slot->state = UNKNOWN;
	}
	unlock_queue(queue);
	return withdrawn;
}

static void
check_interrupts(NorikvSubject *subject, bool taken)
{
	ErrorContextCallback callback = {error_context_stack, NorikvWriteInterrupted,
									 subject};

	if (taken)
		error_context_stack = &callback;
	CHECK_FOR_INTERRUPTS();
	error_context_stack = callback.previous;
}

/* Until something became of what was parked. */
static SlotState
await_state(Queue *queue, NorikvConnection *connection, norikv_slice key)
{
	NorikvSubject subject = {connection, NORIKV_CALL_COMMIT, key, true, NORIKV_IF_ANY};
	int64 patience_us = (2 * (int64) connection->settings.timeout + PATIENCE_MS) * 1000;
	int64 end_us = NorikvBootMicroseconds() + patience_us;
	SlotState state;

	while ((state = look(queue)) == PARKED || state == TAKEN)
	{
		int64 left_us = end_us - NorikvBootMicroseconds();

		check_interrupts(&subject, state == TAKEN);
		if (left_us <= 0)
			(void) withdraw(queue);
		else
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 left_us / 1000 + 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	return state;
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

static SlotState
await_answer(Queue *queue, NorikvConnection *connection, norikv_slice key,
			 NorikvLead lead)
{
	SlotState state;

	while ((state = await_state(queue, connection, key)) == LEADS)
		lead_batch(queue, connection, key, lead);
	return state;
}

bool
NorikvCombine(NorikvConnection *connection, NorikvCombineKind kind, norikv_slice key,
			  const int64 *ask, int64 *answer, NorikvLead lead)
{
	norikv_slice prefix = connection->key_prefix;
	Identity identity = {MyDatabaseId, connection->serverid, connection->umid, kind,
						 prefix.size, prefix.size + key.size};
	SlotState state;
	Queue *queue;
	Slot *slot;

	/* a key that is too long is refused when it is sent */
	if (shared == NULL || MyProc == NULL || key.size > connection->max_key)
		return false;
	memcpy(identity.key, prefix.data, prefix.size);
	memcpy(identity.key + prefix.size, key.data, key.size);
	slot = &shared->slots[MY_NUMBER];
	memcpy(slot->ask, ask, sizeof(slot->ask));
	queue = find_queue(&identity);
	if (queue == NULL)
		return false;
	PG_ENSURE_ERROR_CLEANUP(leave_queue, PointerGetDatum(queue));
	{
		state = await_answer(queue, connection, key, lead);
	}
	PG_END_ENSURE_ERROR_CLEANUP(leave_queue, PointerGetDatum(queue));
	memcpy(answer, slot->answer, sizeof(slot->answer));
	slot->state = IDLE;
	if (state == UNKNOWN)
		raise_unknown(connection, key);
	return state == DONE;
}
