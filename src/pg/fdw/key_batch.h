/*
 * key_batch.h - keys that are asked for together, each once, in one round trip.
 */
#ifndef NORIKV_FDW_KEY_BATCH_H
#define NORIKV_FDW_KEY_BATCH_H

#include "fdw/source.h"

typedef struct NorikvKeyBatch NorikvKeyBatch;

/* All of it is in that context, which the caller resets after NorikvKeyBatchEnd(). */
extern NorikvKeyBatch *NorikvKeyBatchMake(NorikvConnection *connection,
										  norikv_slice space,
										  MemoryContext context);
/* The number of the key, which is borrowed. */
extern int NorikvKeyBatchAdd(NorikvKeyBatch *batch, norikv_slice key);
/*
 * Asks for those that are not in the buffer, as curcid sees it, and waits for the
 * answer: who joins with it may take a long time, longer than a call is allowed.
 */
extern void NorikvKeyBatchFetch(NorikvKeyBatch *batch, CommandId curcid,
								NorikvSourceStats *stats);
/* The entry of a key, valid until NorikvKeyBatchEnd(); false where there is none. */
extern bool NorikvKeyBatchFind(NorikvKeyBatch *batch, int number, norikv_entry *entry);
/* Adds what the call has done that is under way. */
extern void NorikvKeyBatchAddStats(const NorikvKeyBatch *batch, NorikvSourceStats *sum);
/* Frees the call, and keeps what EXPLAIN wants to know of it. */
extern void NorikvKeyBatchEnd(NorikvKeyBatch *batch);

#endif
