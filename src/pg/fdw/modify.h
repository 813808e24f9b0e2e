/*
 * modify.h - one statement's changes to one foreign table: what the files share
 * that carry it out.
 */
#ifndef NORIKV_FDW_MODIFY_H
#define NORIKV_FDW_MODIFY_H

#include "write.h"

typedef struct NorikvOutbox NorikvOutbox;

typedef struct NorikvModify
{
	NorikvTable *table;
	NorikvConnection *connection;
	EState *estate;
	ResultRelInfo *result_relation;
	CmdType operation;
	CommandId cid;
	NorikvBuffer *buffer;	   /* write_mode 'transaction'; else NULL */
	NorikvOutbox *outbox;	   /* write_mode 'immediate'; else NULL */
	bool do_nothing;		   /* ON CONFLICT DO NOTHING */
	bool one_by_one;		   /* rows are seen by others before the statement ends */
	MemoryContext context;	   /* of the statement */
	MemoryContext row_context; /* of a row, or a batch of them */
	NorikvEncoder *encoder;
	NorikvDecoder *decoder; /* NULL: not needed yet */
	NorikvRowStore *rows;	/* NULL: not needed yet */
	AttrNumber ctid_attno;	/* of the plan's output; UPDATE and DELETE */
	Bitmapset *updated;	  /* columns that an UPDATE names, as NorikvEncodeValue has it */
	bool trigger_changes; /* a BEFORE trigger may change other columns */
	int64 n_more_rows;	  /* that the table has after the statement; may be negative */
	NorikvBufferKey **lookups; /* keys that were put and are to be looked up yet */
	int n_lookups;
	/* Of an UPDATE: what inserts the rows that it moves here from other partitions. */
	struct NorikvModify *routed;
} NorikvModify;

/* A row that is to be put. */
typedef struct NorikvNewRow
{
	norikv_slice key;
	norikv_slice value;
	NorikvExpiry expiry;
	uint64 ms; /* of the expiry */
} NorikvNewRow;

/* ---- insert.c ---- */

/* Keys looked up in one request; all of a batch, or of what waits. */
#define NORIKV_INSERT_BATCH 1000

/* Checks the row's constraints and makes its key. */
extern void NorikvCheckNewRow(NorikvModify *modify, TupleTableSlot *slot,
							  NorikvNewRow *row);
extern void NorikvSetExpiry(NorikvChange *change, const NorikvNewRow *row);
/* Inserts rows; inserted[i] is false where ON CONFLICT DO NOTHING left one out. */
extern void NorikvInsertRows(NorikvModify *modify, TupleTableSlot **slots, int n_slots,
							 bool *inserted);
/* Puts a key that must not exist; looked up now, or later if that is as good. */
extern void NorikvPutNewKey(NorikvModify *modify, const NorikvNewRow *row);
/* Looks up what waits; raises 23505 for a key that exists. */
extern void NorikvLookUpKeys(NorikvModify *modify);
extern void NorikvRaiseExists(NorikvModify *modify, norikv_slice key)
	pg_attribute_noreturn();

/* ---- change.c ---- */

/* False where the command has changed the row before: then nothing is done. */
extern bool NorikvUpdateRow(NorikvModify *modify, TupleTableSlot *slot,
							TupleTableSlot *plan_slot);
/* slot: NULL, or one for RETURNING. */
extern bool NorikvDeleteRow(NorikvModify *modify, TupleTableSlot *slot,
							TupleTableSlot *plan_slot);

/* ---- immediate.c: what is not in the transaction ---- */

extern NorikvOutbox *NorikvOutboxCreate(NorikvModify *modify);
/* Queues a put of a key that must not exist, or may with on_insert 'replace'. */
extern bool NorikvOutboxInsert(NorikvModify *modify, const NorikvNewRow *row);
/* Where the statement has changed the key before: false, and nothing is done. */
extern bool NorikvOutboxUpdate(NorikvModify *modify, const norikv_entry *old,
							   const NorikvNewRow *row);
extern bool NorikvOutboxDelete(NorikvModify *modify, const norikv_entry *old);
/* Whether what is queued is all that one request should have. */
extern bool NorikvOutboxIsFull(const NorikvModify *modify);
/*
 * Sends what is queued. Of inserts with ON CONFLICT DO NOTHING, the keys that
 * existed are marked as skipped.
 */
extern void NorikvOutboxSend(NorikvModify *modify);
extern bool NorikvOutboxSkipped(NorikvModify *modify, norikv_slice key);

/* ---- truncate.c, lock.c ---- */

extern void NorikvTruncateTables(List *relations, DropBehavior behavior,
								 bool restart_seqs);
extern RowMarkType NorikvGetRowMarkType(RangeTblEntry *rte, LockClauseStrength strength);
extern void NorikvRefetchRow(EState *estate, ExecRowMark *mark, Datum rowid,
							 TupleTableSlot *slot, bool *updated);

/* ---- modify.c ---- */

/* Rows of one request: the table's option batch_size, or the server's. */
extern int NorikvBatchSize(const NorikvModify *modify);
/* Refuses what a server with read_only, or a table without key, cannot take. */
extern void NorikvCheckWritable(const NorikvTable *table,
								const NorikvConnection *connection, const char *command);

#endif
