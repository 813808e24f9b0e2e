/*
 * combine_queue.c - who wants something of one key, who does it, and who waits.
 *
 * A queue is a key that somebody wants something of: one leads, others are parked in the
 * order in which they came, or taken into the leader's batch. All of it is in shared
 * memory, each queue under its own lock, which nobody holds while anything can fail
 * or wait. How it is used, and what must hold: combine.c.
 */
#include "patterns/combine_queue.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"

#define QUEUES 128
#define QUEUE_PROBES 4
#define NOBODY (-1)
/* For how long after a batch the next one waits for those of it. */
#define COMPANY_US 1000
#define UUID_TEXT_SIZE 37

#if PG_VERSION_NUM >= 170000
#define MY_NUMBER MyProcNumber
#else
#define MY_NUMBER (MyProc->pgprocno)
#endif

/*
 * What a backend wants: one at a time. Guarded by the lock of its queue; but the state
 * and, once that says so, the answer are read by their backend without it: all of a
 * batch are woken at once, and would stand in line for it.
 */
typedef struct Slot
{
	pg_atomic_uint32 state;
	int next; /* in the list of those parked */
	int64 ask[NORIKV_ASK_WORDS];
	int64 answer[NORIKV_ANSWER_WORDS];
} Slot;

typedef struct NorikvQueue
{
	NorikvIdentity identity;
	int leader; /* NOBODY: the queue is free */
	uint64 reign; /* which leadership this is: who was deposed may lead again later */
	pg_atomic_uint64 active_us; /* when the leader last came by here; read without lock */
	int first;	/* of those parked */
	int last;
	int n_parked;
	int company; /* how many the last batch had */
	bool leader_waits; /* for as many as that: who completes them leads */
	int64 handed_out_us; /* when its answers were */
	uint64 sequence; /* of the idempotency keys */
	/* The batch that the leader has taken: members that went away are NOBODY. */
	uint64 made_in; /* the reign: in another one it is taken over */
	int n_members;
	int members[NORIKV_MAX_PARTS];
	int64 asks[NORIKV_MAX_PARTS][NORIKV_ASK_WORDS];
	bool is_prepared;
	NorikvPrepared prepared;
} NorikvQueue;

typedef struct Combining
{
	char uuid[UUID_TEXT_SIZE]; /* of this start of PostgreSQL */
	LWLockPadded *locks;	   /* of each queue */
	NorikvQueue queues[QUEUES];
	Slot slots[FLEXIBLE_ARRAY_MEMBER]; /* of each backend */
} Combining;

static Combining *shared = NULL;

/* ---- Shared memory ---- */

static Size
shared_size(void)
{
	return add_size(offsetof(Combining, slots), mul_size(MaxBackends, sizeof(Slot)));
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
init_shared(LWLockPadded *locks)
{
	make_uuid(shared->uuid);
	shared->locks = locks;
	for (int i = 0; i < QUEUES; i++)
	{
		shared->queues[i].leader = NOBODY;
		pg_atomic_init_u64(&shared->queues[i].active_us, 0);
	}
	for (int i = 0; i < MaxBackends; i++)
		pg_atomic_init_u32(&shared->slots[i].state, NORIKV_SLOT_IDLE);
}

static const NorikvSharedMemory shared_memory = {
	.name = "norikv combining",
	.size = shared_size,
	.init = init_shared,
	.memory = (void **) &shared,
	.tranche = "norikv_combine",
	.n_locks = QUEUES,
};

void
NorikvCombineInit(void)
{
	NorikvShareMemory(&shared_memory);
}

static void
lock_queue(const NorikvQueue *queue)
{
	LWLockAcquire(&shared->locks[queue - shared->queues].lock, LW_EXCLUSIVE);
}

static void
unlock_queue(const NorikvQueue *queue)
{
	LWLockRelease(&shared->locks[queue - shared->queues].lock);
}

/* Of whoever it was that state was changed: after the lock was given back. */
static void
wake(int number)
{
	if (number != NOBODY)
		SetLatch(&ProcGlobal->allProcs[number].procLatch);
}

static NorikvSlotState
state_of(int number)
{
	NorikvSlotState state = pg_atomic_read_u32(&shared->slots[number].state);

	pg_read_barrier();
	return state;
}

static void
set_state(int number, NorikvSlotState state)
{
	pg_write_barrier();
	pg_atomic_write_u32(&shared->slots[number].state, state);
}

/* ---- Queues; all of these with the lock held ---- */

static void
park(NorikvQueue *queue, int number)
{
	set_state(number, NORIKV_SLOT_PARKED);
	shared->slots[number].next = NOBODY;
	if (queue->first == NOBODY)
		queue->first = number;
	else
		shared->slots[queue->last].next = number;
	queue->last = number;
	queue->n_parked++;
}

static void
unpark(NorikvQueue *queue, int number)
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

static void
note_activity(NorikvQueue *queue)
{
	pg_atomic_write_u64(&queue->active_us, (uint64) NorikvBootMicroseconds());
}

static void
lead(NorikvQueue *queue, int number)
{
	queue->leader = number;
	queue->reign++;
	queue->leader_waits = false;
	note_activity(queue);
	set_state(number, NORIKV_SLOT_LEADS);
}

/*
 * The next leader, to be woken: one of the batch that is still to be done, or one that
 * came later.
 */
static int
appoint(NorikvQueue *queue)
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
		lead(queue, queue->leader);
	return queue->leader;
}

static void
take_member(NorikvQueue *queue, int number)
{
	queue->members[queue->n_members] = number;
	memcpy(queue->asks[queue->n_members], shared->slots[number].ask,
		   sizeof(queue->asks[0]));
	queue->n_members++;
}

/* Of the leader itself and those parked. */
static void
make_batch(NorikvQueue *queue)
{
	queue->made_in = queue->reign;
	queue->is_prepared = false;
	queue->sequence++;
	take_member(queue, MY_NUMBER);
	while (queue->first != NOBODY && queue->n_members < NORIKV_MAX_PARTS)
	{
		int number = queue->first;

		unpark(queue, number);
		set_state(number, NORIKV_SLOT_TAKEN);
		take_member(queue, number);
	}
	queue->company = queue->n_members;
}

static bool
is_member(const NorikvQueue *queue, int number)
{
	for (int i = 0; i < queue->n_members; i++)
	{
		if (queue->members[i] == number)
			return true;
	}
	return false;
}

static void
leave_batch(NorikvQueue *queue, int number)
{
	for (int i = 0; i < queue->n_members; i++)
	{
		if (queue->members[i] == number)
			queue->members[i] = NOBODY;
	}
}

/* ---- Joining and leaving ---- */

static bool
is_same(const NorikvIdentity *a, const NorikvIdentity *b)
{
	return a->database == b->database && a->serverid == b->serverid &&
		   a->umid == b->umid && a->target == b->target && a->kind == b->kind &&
		   a->prefix_size == b->prefix_size && a->key_size == b->key_size &&
		   memcmp(a->key, b->key, a->key_size) == 0;
}

/* False where the queue has another key. */
static bool
join_queue(NorikvQueue *queue, const NorikvIdentity *identity)
{
	bool joined = true;

	lock_queue(queue);
	if (queue->leader == NOBODY)
	{
		if (!is_same(&queue->identity, identity))
			queue->company = 0;
		memcpy(&queue->identity, identity,
			   offsetof(NorikvIdentity, key) + identity->key_size);
		queue->first = queue->last = NOBODY;
		queue->n_parked = queue->n_members = 0;
		lead(queue, MY_NUMBER);
	}
	else if (!is_same(&queue->identity, identity))
		joined = false;
	else if (queue->leader_waits && queue->n_parked + 2 >= queue->company)
	{
		/* All are there: I run, and the leader would have to be woken first. */
		park(queue, queue->leader);
		lead(queue, MY_NUMBER);
	}
	else
		park(queue, MY_NUMBER);
	unlock_queue(queue);
	return joined;
}

/* The first that is free or has the key, which may have two for a while: no harm. */
NorikvQueue *
NorikvJoinQueue(const NorikvIdentity *identity, const int64 *ask)
{
	uint32 hash;

	if (shared == NULL || MyProc == NULL)
		return NULL;
	memcpy(shared->slots[MY_NUMBER].ask, ask, sizeof(shared->slots[MY_NUMBER].ask));
	hash = hash_bytes((const unsigned char *) identity->key, identity->key_size);
	for (int i = 0; i < QUEUE_PROBES; i++)
	{
		NorikvQueue *queue = &shared->queues[(hash + i) % QUEUES];

		if (join_queue(queue, identity))
			return queue;
	}
	return NULL;
}

/* On an error, a cancel, the end of the process: what I had to do is another's. */
void
NorikvLeaveQueue(int code, Datum arg)
{
	NorikvQueue *queue = (NorikvQueue *) DatumGetPointer(arg);
	int next = NOBODY;

	lock_queue(queue);
	switch (state_of(MY_NUMBER))
	{
		case NORIKV_SLOT_PARKED:
			unpark(queue, MY_NUMBER);
			break;
		case NORIKV_SLOT_TAKEN:
			leave_batch(queue, MY_NUMBER);
			break;
		case NORIKV_SLOT_LEADS:
			leave_batch(queue, MY_NUMBER);
			next = appoint(queue);
			break;
		default:
			break;
	}
	set_state(MY_NUMBER, NORIKV_SLOT_IDLE);
	unlock_queue(queue);
	wake(next);
}

/* ---- Batches ---- */

static void
name_request(NorikvBatch *batch, uint64 sequence)
{
	snprintf(batch->idempotency_key, sizeof(batch->idempotency_key),
			 "~nk1/%s/%d/" UINT64_FORMAT, shared->uuid, batch->queue, sequence);
}

/* Notes that I am at work, where I still lead this batch; with the lock held. */
static bool
go_on(NorikvQueue *queue, const NorikvBatch *batch)
{
	if (queue->leader != MY_NUMBER || queue->reign != batch->reign)
		return false;
	note_activity(queue);
	return true;
}

bool
NorikvStillLeads(const NorikvBatch *batch)
{
	NorikvQueue *queue;
	bool leads;

	if (batch->queue < 0)
		return true;
	queue = &shared->queues[batch->queue];
	lock_queue(queue);
	leads = go_on(queue, batch);
	unlock_queue(queue);
	return leads;
}

bool
NorikvPrepareBatch(NorikvBatch *batch, const NorikvPrepared *prepared)
{
	NorikvQueue *queue = &shared->queues[batch->queue];
	bool leads;

	lock_queue(queue);
	leads = go_on(queue, batch);
	if (leads)
	{
		queue->prepared = *prepared;
		queue->is_prepared = true;
		name_request(batch, ++queue->sequence);
	}
	unlock_queue(queue);
	batch->prepared = *prepared;
	batch->is_prepared = true;
	return leads;
}

/* ---- Company ---- */

/*
 * Those whose answers were just handed out mostly come back at once, and a batch that
 * leaves without them makes them wait for the next. So for a moment after that the
 * leader waits until as many are there as last time; the last of them then leads.
 */
bool
NorikvAwaitsCompany(NorikvQueue *queue)
{
	bool awaits = false;

	lock_queue(queue);
	if (queue->leader == MY_NUMBER)
	{
		awaits = queue->n_members == 0 && queue->n_parked + 1 < queue->company &&
				 NorikvBootMicroseconds() < queue->handed_out_us + COMPANY_US;
		queue->leader_waits = awaits;
	}
	unlock_queue(queue);
	return awaits;
}

bool
NorikvTakeBatch(NorikvQueue *queue, NorikvBatch *batch)
{
	lock_queue(queue);
	if (queue->leader != MY_NUMBER)
	{
		unlock_queue(queue);
		return false;
	}
	note_activity(queue);
	batch->reign = queue->reign;
	batch->is_taken_over = queue->n_members > 0;
	if (!batch->is_taken_over)
		make_batch(queue);
	batch->queue = queue - shared->queues;
	batch->n_parts = queue->n_members;
	for (int i = 0; i < queue->n_members; i++)
		memcpy(batch->parts[i].ask, queue->asks[i], sizeof(queue->asks[i]));
	batch->is_prepared = queue->is_prepared;
	batch->prepared = queue->prepared;
	name_request(batch, queue->sequence);
	unlock_queue(queue);
	return true;
}

/*
 * Who took a batch over that it is not in goes on leading, for it has not had its turn.
 * Who was deposed has nothing to say.
 */
bool
NorikvHandOut(NorikvQueue *queue, const NorikvBatch *batch, NorikvSlotState state)
{
	int to_wake[NORIKV_MAX_PARTS];
	int n_to_wake = 0;
	int next = NOBODY;
	bool mine;

	lock_queue(queue);
	if (!go_on(queue, batch))
	{
		unlock_queue(queue);
		return false;
	}
	mine = is_member(queue, MY_NUMBER);
	for (int i = 0; i < queue->n_members; i++)
	{
		int number = queue->members[i];

		if (number == NOBODY)
			continue;
		memcpy(shared->slots[number].answer, batch->parts[i].answer,
			   sizeof(shared->slots[number].answer));
		set_state(number, state);
		if (number != MY_NUMBER)
			to_wake[n_to_wake++] = number;
	}
	queue->n_members = 0;
	queue->handed_out_us = NorikvBootMicroseconds();
	if (mine)
		next = appoint(queue);
	unlock_queue(queue);
	wake(next);
	for (int i = 0; i < n_to_wake; i++)
		wake(to_wake[i]);
	return mine;
}

/* ---- What became of it ---- */

NorikvSlotState
NorikvLookAtSlot(void)
{
	return state_of(MY_NUMBER);
}

int64
NorikvHeardOfLeader(NorikvQueue *queue)
{
	return (int64) pg_atomic_read_u64(&queue->active_us);
}

/*
 * What the leader has taken for itself stays in the batch, which I do for all of it; what
 * it has not comes after those that wait.
 */
void
NorikvDepose(NorikvQueue *queue, int64 patience_us)
{
	NorikvSlotState state;

	lock_queue(queue);
	state = state_of(MY_NUMBER);
	if ((state == NORIKV_SLOT_PARKED || state == NORIKV_SLOT_TAKEN) &&
		NorikvBootMicroseconds() >= NorikvHeardOfLeader(queue) + patience_us)
	{
		int deposed = queue->leader;

		if (state == NORIKV_SLOT_PARKED)
			unpark(queue, MY_NUMBER);
		if (is_member(queue, deposed))
			set_state(deposed, NORIKV_SLOT_TAKEN);
		else
			park(queue, deposed);
		lead(queue, MY_NUMBER);
	}
	unlock_queue(queue);
}

/*
 * What a leader has taken for itself goes with what it has taken for others, and may have
 * gone with who led before it. What is its own only, it knows of.
 */
bool
NorikvWithdraw(NorikvQueue *queue)
{
	NorikvSlotState state;
	bool may_be_done;

	lock_queue(queue);
	state = state_of(MY_NUMBER);
	may_be_done = state == NORIKV_SLOT_TAKEN || state == NORIKV_SLOT_DONE ||
				  state == NORIKV_SLOT_UNKNOWN ||
				  (state == NORIKV_SLOT_LEADS && is_member(queue, MY_NUMBER) &&
				   (queue->n_members > 1 || queue->made_in != queue->reign));
	if (state == NORIKV_SLOT_PARKED)
	{
		unpark(queue, MY_NUMBER);
		set_state(MY_NUMBER, NORIKV_SLOT_ALONE);
	}
	else if (state == NORIKV_SLOT_TAKEN)
	{
		leave_batch(queue, MY_NUMBER);
		set_state(MY_NUMBER, NORIKV_SLOT_UNKNOWN);
	}
	else if (state == NORIKV_SLOT_LEADS)
		queue->leader_waits = false;
	unlock_queue(queue);
	return may_be_done;
}

void
NorikvGetAnswer(int64 *answer)
{
	memcpy(answer, shared->slots[MY_NUMBER].answer,
		   sizeof(shared->slots[MY_NUMBER].answer));
	set_state(MY_NUMBER, NORIKV_SLOT_IDLE);
}
