/*
 * buffer.h - what foreign tables wrote in this transaction, until COMMIT.
 *
 * One buffer per store, and one for each namespace of vectors in it that is written to:
 * two servers over one store share them, and they commit as one unit. Each key has a chain
 * of changes, the newest first; each change carries the command that made it and
 * the savepoint level it belongs to. Nothing here talks to a server, except that
 * the store of a connection is asked for once.
 */
#ifndef NORIKV_FDW_BUFFER_H
#define NORIKV_FDW_BUFFER_H

#include "pg_norikv.h"

typedef struct NorikvBuffer NorikvBuffer;
typedef struct NorikvBufferKey NorikvBufferKey;

typedef enum NorikvChangeKind
{
	NORIKV_CHANGE_PUT,
	NORIKV_CHANGE_DELETE,
	NORIKV_CHANGE_CHECK /* no change: the key must be at COMMIT as it was read */
} NorikvChangeKind;

/* When a key that is put expires. */
typedef enum NorikvExpiry
{
	NORIKV_EXPIRY_NONE,
	NORIKV_EXPIRY_TTL, /* ttl_ms after the commit */
	NORIKV_EXPIRY_AT,  /* at expires_at_ms */
	NORIKV_EXPIRY_KEEP /* as the store has it: expires_at_ms when it was read */
} NorikvExpiry;

typedef struct NorikvChange
{
	struct NorikvChange *older; /* of the same key */
	NorikvBufferKey *of;
	dlist_node node; /* in the buffer's log */
	NorikvChangeKind kind;
	CommandId cid; /* of the command that made it */
	int level;	   /* of the savepoint it goes with */
	NorikvExpiry expiry;
	uint64 ttl_ms;
	uint64 expires_at_ms; /* Unix epoch; 0: never */
	norikv_slice value;	  /* of a put */
} NorikvChange;

/* ---- For scans ---- */

/*
 * The buffer of the connection's store for keys, or for the vectors of a namespace; NULL
 * where nothing was written to it.
 */
extern NorikvBuffer *NorikvBufferFor(NorikvConnection *connection, norikv_slice space);

/*
 * What a command that sees changes below curcid finds at the key: a put, a delete,
 * or NULL where the store's own entry counts. Valid until the key is changed.
 */
extern const NorikvChange *NorikvBufferFind(NorikvBuffer *buffer, norikv_slice key,
											CommandId curcid);

/*
 * Puts and deletes of the keys in [start, end) that curcid sees, in key order.
 * An empty start or end is no bound. Changes made, or rolled back, during the
 * iteration are no harm.
 *
 * An entry of the store whose key is not returned here counts, unless
 * NorikvBufferTruncated says that its table was truncated.
 */
typedef struct NorikvBufferIterator
{
	NorikvBuffer *buffer;
	norikv_slice start; /* both borrowed */
	norikv_slice end;
	bool reverse;
	CommandId curcid;
	NorikvBufferKey *next;
} NorikvBufferIterator;

extern void NorikvBufferIterate(NorikvBufferIterator *iterator, NorikvBuffer *buffer,
								norikv_slice start, norikv_slice end, bool reverse,
								CommandId curcid);
/* The next change and, in *key, its key; NULL at the end. */
extern const NorikvChange *NorikvBufferNext(NorikvBufferIterator *iterator,
											norikv_slice *key);

/* Whether curcid sees a truncation of a range in which the key lies. */
extern bool NorikvBufferTruncated(NorikvBuffer *buffer, norikv_slice key,
								  CommandId curcid);

/* When a row that this change wrote will expire, as well as it is known; 0: never. */
extern uint64 NorikvChangeExpiresAt(const NorikvChange *change);

/*
 * To be called for each entry, or absent key (version index 0), that a scan read
 * from the server in a transaction with IsolationUsesXactSnapshot(): it becomes a
 * check at COMMIT if the transaction writes. space: of a vector; empty: it is a key.
 */
extern void NorikvBufferRecordRead(NorikvConnection *connection, norikv_slice space,
								   norikv_slice key, norikv_version version);

#endif
