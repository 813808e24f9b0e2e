/*
 * write.h - what the files of the writing side share: the buffer from inside, and
 * how it is sent.
 */
#ifndef NORIKV_FDW_WRITE_H
#define NORIKV_FDW_WRITE_H

#include "fdw/fdw.h"

/* ---- buffer.c: keys and changes of one store ---- */

#define NORIKV_BUFFER_MAX_HEIGHT 12

/* What the first change of a key has found in the store. */
typedef enum NorikvBase
{
	NORIKV_BASE_ANY, /* it did not look */
	NORIKV_BASE_ABSENT,
	NORIKV_BASE_VERSION
} NorikvBase;

/*
 * A node of a skip list. Nodes stay until the transaction ends, also when all
 * their changes are rolled back: an iterator may stand on one.
 */
struct NorikvBufferKey
{
	NorikvChange *newest;	/* NULL: nothing is asked of the key */
	NorikvBase base;		/* ANY where newest is NULL */
	norikv_version version; /* of NORIKV_BASE_VERSION */
	int n_changes;			/* puts and deletes among its changes */
	bool unverified;		/* put by an INSERT that did not look it up yet */
	uint16 size;
	uint8 height;
	NorikvBufferKey *previous;
	NorikvBufferKey *next[FLEXIBLE_ARRAY_MEMBER]; /* height of them, then the key */
};

/* All keys of [start, end), deleted as a whole. */
typedef struct NorikvTruncation
{
	dlist_node node;
	CommandId cid;
	int level;
	norikv_slice start;
	norikv_slice end;
} NorikvTruncation;

typedef struct NorikvReadSet NorikvReadSet;

struct NorikvBuffer
{
	NorikvBuffer *next_buffer; /* of another store, or another tenant of it */
	MemoryContext context;	   /* holds all of it, and goes with the transaction */
	char *store_id;
	norikv_slice space;		   /* the namespace of its vectors; empty: it has keys */
	NorikvConnection *connection; /* the first that wrote, or read; sends it */
	NorikvReadSet *reads;		  /* NULL: none are kept */
	NorikvBufferKey *head;
	NorikvBufferKey *tails[NORIKV_BUFFER_MAX_HEIGHT]; /* the last at each height */
	int height;
	dlist_head log; /* changes in the order in which they were made */
	dlist_head truncations;
	int n_truncations;
	int64 n_asked;	 /* keys with a change or a check */
	int64 n_changed; /* keys with a change */
	int64 bytes;	 /* of keys and values, and of changes that others follow */
};

extern void NorikvBufferInit(NorikvBuffer *buffer);
extern norikv_slice NorikvBufferKeySlice(const NorikvBufferKey *key);
/* The key's node; NULL where there is none. */
extern NorikvBufferKey *NorikvBufferLookup(NorikvBuffer *buffer, norikv_slice key);
/* The same, and makes one. */
extern NorikvBufferKey *NorikvBufferEnter(NorikvBuffer *buffer, norikv_slice key);
/* The first node at or after the key; for an empty key the first of all. */
extern NorikvBufferKey *NorikvBufferSeek(NorikvBuffer *buffer, norikv_slice key);
/* Its newest put or delete that is older than curcid; NULL: none. */
extern NorikvChange *NorikvBufferVisible(const NorikvBufferKey *key, CommandId curcid);

/*
 * Adds a change to a key. The value is copied. What the change has found in the
 * store is said first, by NorikvBufferExpect, unless it did not look.
 */
extern NorikvChange *NorikvBufferPut(NorikvBuffer *buffer, NorikvBufferKey *key,
									 CommandId cid, norikv_slice value);
extern void NorikvBufferDelete(NorikvBuffer *buffer, NorikvBufferKey *key, CommandId cid);
extern void NorikvBufferCheck(NorikvBuffer *buffer, NorikvBufferKey *key, CommandId cid);
/* Version index 0: absent. Raises 40001 where the key was found otherwise before. */
extern void NorikvBufferExpect(NorikvBuffer *buffer, NorikvBufferKey *key,
							   norikv_version version);
extern void NorikvBufferTruncate(NorikvBuffer *buffer, norikv_slice start,
								 norikv_slice end, CommandId cid);
/* The end of a savepoint. Neither throws. */
extern void NorikvBufferRollback(NorikvBuffer *buffer, int level);
extern void NorikvBufferRelease(NorikvBuffer *buffer, int level);

/* ---- transaction.c: the buffers of this transaction ---- */

extern int norikv_max_buffered_bytes; /* norikv.max_buffered_bytes, in kB */

extern void NorikvTransactionInit(void);
/* The buffer to write to; refuses what cannot be one unit with what is there. */
extern NorikvBuffer *NorikvBufferForWrite(NorikvConnection *connection,
										  norikv_slice space);
/* The next buffer that commits with this one; NULL: there is none. */
extern NorikvBuffer *NorikvNextOfUnit(const NorikvBuffer *buffer);
/* Raises 54000 where what is to be sent is more than settings or the server allow. */
extern void NorikvCheckSize(const NorikvBuffer *buffer, int64 operations, int64 bytes);
extern void NorikvBufferCheckLimits(const NorikvBuffer *buffer);

/* ---- written.c: what write_mode 'immediate' has written ---- */

extern void NorikvCountWritten(int64 n_keys);
/* The end of a savepoint, and of the transaction; neither throws. */
extern void NorikvEndWrittenLevel(int level, bool committed);
extern void NorikvEndWritten(bool committed);

/* ---- readset.c: what a REPEATABLE READ transaction has read ---- */

typedef struct NorikvReadCheck
{
	norikv_slice key;
	norikv_version version; /* index 0: absent */
} NorikvReadCheck;

extern NorikvReadSet *NorikvReadSetCreate(NorikvBuffer *buffer);
extern void NorikvReadSetClose(NorikvReadSet *set);
extern void NorikvReadSetAdd(NorikvReadSet *set, NorikvBuffer *buffer, norikv_slice key,
							 norikv_version version);
/* Sorted by key, each once; raises 40001 where one was read in two versions. */
extern NorikvReadCheck *NorikvReadSetChecks(NorikvReadSet *set, NorikvBuffer *buffer,
											size_t *n_checks);

/* ---- commit.c: sends a buffer ---- */

/*
 * All that commits with this buffer, which is the first of them. sent_before: servers
 * that have committed for this transaction already, or NULL.
 */
extern void NorikvBufferFlush(NorikvBuffer *buffer, const char *sent_before);
/* 40001: somebody else changed a key that this transaction has read. */
extern void NorikvRaiseConflict(const NorikvConnection *connection, norikv_slice key,
								norikv_version expected, norikv_version present)
	pg_attribute_noreturn();

#endif
