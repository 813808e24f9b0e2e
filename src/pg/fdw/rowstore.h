/*
 * rowstore.h - rows that a scan read for an UPDATE, a DELETE or FOR UPDATE, by a
 * number that travels through the plan as the row's ctid.
 */
#ifndef NORIKV_FDW_ROWSTORE_H
#define NORIKV_FDW_ROWSTORE_H

#include "pg_norikv.h"

#include "nodes/execnodes.h"
#include "storage/itemptr.h"

typedef struct NorikvRowStore NorikvRowStore;

/*
 * For BeginForeignScan, where the plan needs the rows' numbers (the scan's target
 * list has ctid). Lives as long as the executor state. connection: what they are read
 * from.
 */
extern NorikvRowStore *NorikvRowStoreOpen(EState *estate, Index rti,
										  NorikvConnection *connection);
/* For EndForeignScan. */
extern void NorikvRowStoreClose(NorikvRowStore *store);
/* The one that a scan of this range table entry has opened; NULL: none. */
extern NorikvRowStore *NorikvRowStoreFind(EState *estate, Index rti);

/*
 * Keeps the row, for slot->tts_tid. An entry that was taken from the transaction's
 * buffer has version index 0. distance: NULL where the row shows none.
 */
extern void NorikvRowStoreAdd(NorikvRowStore *store, const norikv_entry *entry,
							  const float *distance, ItemPointer number);
/* Whoever locks the rows does it there: the session may be another tenant's by then. */
extern NorikvConnection *NorikvRowStoreConnection(const NorikvRowStore *store);
/* What locks the rows keeps beside them, in the context of the store. */
extern void **NorikvRowStoreExtra(NorikvRowStore *store, MemoryContext *context);
/* The row again; its slices are valid until the next call for this store. */
extern void NorikvRowStoreGet(NorikvRowStore *store, ItemPointer number,
							  norikv_entry *entry);
/* False: it was kept without one. */
extern bool NorikvRowStoreDistance(NorikvRowStore *store, ItemPointer number,
								   float *distance);

#endif
