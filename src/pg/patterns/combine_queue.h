/*
 * combine_queue.h - who wants something of one key, who does it, and who waits.
 */
#ifndef NORIKV_COMBINE_QUEUE_H
#define NORIKV_COMBINE_QUEUE_H

#include "patterns/combine.h"

/* What becomes of what this backend wants. */
typedef enum NorikvSlotState
{
	NORIKV_SLOT_IDLE,
	NORIKV_SLOT_PARKED,	 /* in a queue's list */
	NORIKV_SLOT_TAKEN,	 /* in a queue's batch */
	NORIKV_SLOT_LEADS,	 /* does the batch, or makes one of what is parked */
	NORIKV_SLOT_DONE,	 /* the answer is there */
	NORIKV_SLOT_ALONE,	 /* nothing was done: to be done alone */
	NORIKV_SLOT_UNKNOWN	 /* sent, and no answer */
} NorikvSlotState;

/*
 * Whose asks may travel together: one key, one server, one user's credentials, one
 * tenant. The key is a whole one, with the connection's prefix; how much of it that is
 * counts too, as idempotency keys go with the prefix. A server that was altered leads
 * elsewhere for those who know of it, and not yet for those in the middle of a call.
 */
typedef struct NorikvIdentity
{
	Oid database;
	Oid serverid;
	Oid umid;
	uint64 target; /* where the two lead: address and credentials */
	NorikvCombineKind kind;
	uint32 prefix_size;
	uint32 key_size;
	char key[NORIKV_MAX_KEY];
} NorikvIdentity;

typedef struct NorikvQueue NorikvQueue;

/*
 * Parks the ask, or makes this backend the leader of a queue that is free. NULL: there
 * is no shared memory, or no queue to be had.
 */
extern NorikvQueue *NorikvJoinQueue(const NorikvIdentity *identity, const int64 *ask);
/* On an error, a cancel, the end of the process: what I had to do is another's. */
extern void NorikvLeaveQueue(int code, Datum queue);
/* What has become of it; taken out of the queue when it is over. */
extern NorikvSlotState NorikvLookAtSlot(void);
extern void NorikvGetAnswer(int64 *answer);
/* When its leader last was at work, by NorikvBootMicroseconds. */
extern int64 NorikvHeardOfLeader(NorikvQueue *queue);
/* Leads instead of one that was not heard of for so long, and may be standing still. */
extern void NorikvDepose(NorikvQueue *queue, int64 patience_us);
/*
 * It is about to be given up: nobody takes it any more. True: it may be done, or may be
 * yet, by another's request. Who leads still does.
 */
extern bool NorikvWithdraw(NorikvQueue *queue);

/* Of the leader: whether to wait for a moment until more are there. */
extern bool NorikvAwaitsCompany(NorikvQueue *queue);
/*
 * The batch that another leader left, or a new one of all who are there. False: this
 * backend does not lead any more, but who completed the company, or deposed it.
 */
extern bool NorikvTakeBatch(NorikvQueue *queue, NorikvBatch *batch);
/*
 * To all of the batch that are still there; then the next one leads. False where that
 * did not settle what this backend wants.
 */
extern bool NorikvHandOut(NorikvQueue *queue, const NorikvBatch *batch,
						  NorikvSlotState state);

#endif
