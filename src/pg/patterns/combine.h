/*
 * combine.h - one backend does for many what they all want of one key.
 */
#ifndef NORIKV_COMBINE_H
#define NORIKV_COMBINE_H

#include "pg_norikv.h"

#define NORIKV_MAX_PARTS 64
#define NORIKV_ASK_WORDS 4
#define NORIKV_ANSWER_WORDS 6

/* Asks meet only where they are of one kind. */
typedef enum NorikvCombineKind
{
	NORIKV_COMBINE_ADD = 1,		/* the server adds */
	NORIKV_COMBINE_SWAP = 2,	/* an addition by compare-and-swap */
	NORIKV_COMBINE_LIMIT = 3	/* rate limits */
} NorikvCombineKind;

/* What one of them wants, and what it gets; their meaning is the kind's. */
typedef struct NorikvPart
{
	int64 ask[NORIKV_ASK_WORDS];
	int64 answer[NORIKV_ANSWER_WORDS];
} NorikvPart;

/* What a leader has made ready to send; whoever takes over sends the very same. */
typedef struct NorikvPrepared
{
	norikv_version version; /* the write's condition; index 0: absent */
	int64 value;
	uint64 ttl_ms; /* 0: none */
} NorikvPrepared;

#define NORIKV_BATCH_KEY_SIZE 80

typedef struct NorikvBatch
{
	NorikvConnection *connection;
	norikv_slice key;
	int n_parts;
	NorikvPart parts[NORIKV_MAX_PARTS];
	/*
	 * Of the one request that is under way: a slot of idempotency, whose next key
	 * makes the server refuse what is late of this one.
	 */
	char idempotency_key[NORIKV_BATCH_KEY_SIZE];
	bool is_prepared;
	NorikvPrepared prepared;
	int queue; /* negative: none, it is of one only */
	uint64 reign; /* during which it was taken */
	bool is_taken_over; /* another may have sent it */
} NorikvBatch;

/*
 * Does what all parts ask and sets their answers. NULL: done. An error: nothing was
 * done, or outcome_unknown is set. What it throws (a cancel, no memory) passes the
 * batch on to another of them, who is called with the same parts in the same order, the
 * same idempotency key, and what was prepared last. So it is, too, where it stands still
 * for so long that another of them takes it over, and then goes on: it looks whether it
 * still leads before it begins anew.
 */
typedef const norikv_error *(*NorikvLead)(NorikvBatch *batch);

/*
 * Before it is sent: with an idempotency key of its own. False, also of the next: another
 * has taken it over. Nothing is to be sent then, and any error may be returned.
 */
extern bool NorikvPrepareBatch(NorikvBatch *batch, const NorikvPrepared *prepared);
extern bool NorikvStillLeads(const NorikvBatch *batch);

/*
 * True: the answer is there. False: the caller does it alone, for nobody else wants
 * anything of this key that could be combined, nothing can be shared, or what was
 * combined was refused as a whole. Raises 08007 where that is all there is to say.
 */
extern bool NorikvCombine(NorikvConnection *connection, NorikvCombineKind kind,
						  norikv_slice key, const int64 *ask, int64 *answer,
						  NorikvLead lead);

extern void NorikvCombineInit(void);

#endif
