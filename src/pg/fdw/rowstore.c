/*
 * rowstore.c - rows that a scan read for an UPDATE, a DELETE or FOR UPDATE.
 *
 * Junk columns of a plan can only be the relation's own, and ctid is one of six
 * bytes that nobody else uses: the position of the row in a spool travels in it.
 */
#include "fdw/rowstore.h"

#include "executor/executor.h"
#include "utils/memutils.h"

#include "spool.h"

/* Offset numbers of zero are not valid ones, so 15 bits of the 16 are used. */
#define OFFSET_BITS 15

typedef struct RowHead
{
	norikv_version version;
	uint64 expires_at_ms;
	uint32 key_size;
	uint32 value_size;
	bool measured;
	float distance;
} RowHead;

struct NorikvRowStore
{
	dlist_node node; /* in the list of stores */
	EState *estate;
	Index rti;
	NorikvConnection *connection;
	NorikvSpool *spool;
	char *row; /* the one that was asked for last */
	size_t row_room;
	void *extra;
	MemoryContext context;
	MemoryContextCallback callback;
};

static dlist_head stores = DLIST_STATIC_INIT(stores);

static void
forget_store(void *arg)
{
	dlist_delete(&((NorikvRowStore *) arg)->node);
}

NorikvRowStore *
NorikvRowStoreOpen(EState *estate, Index rti, NorikvConnection *connection)
{
	NorikvRowStore *store =
		MemoryContextAllocZero(estate->es_query_cxt, sizeof(NorikvRowStore));
	ExecRowMark *mark = ExecFindRowMark(estate, rti, true);

	store->estate = estate;
	store->rti = rti;
	store->connection = connection;
	store->context = estate->es_query_cxt;
	store->spool = NorikvSpoolCreate(store->context, CurrentResourceOwner);
	store->callback = (MemoryContextCallback){.func = forget_store, .arg = store};
	dlist_push_head(&stores, &store->node);
	MemoryContextRegisterResetCallback(store->context, &store->callback);
	/*
	 * For the one who locks rows. A recheck shares the marks, but numbers no rows
	 * that anybody asks for.
	 */
	if (mark != NULL && estate->es_epq_active == NULL)
		mark->ermExtra = store;
	return store;
}

NorikvConnection *
NorikvRowStoreConnection(const NorikvRowStore *store)
{
	return store->connection;
}

void
NorikvRowStoreClose(NorikvRowStore *store)
{
	NorikvSpoolClose(store->spool);
}

NorikvRowStore *
NorikvRowStoreFind(EState *estate, Index rti)
{
	dlist_iter iter;

	dlist_foreach(iter, &stores)
	{
		NorikvRowStore *store = dlist_container(NorikvRowStore, node, iter.cur);

		if (store->estate == estate && store->rti == rti)
			return store;
	}
	return NULL;
}

void
NorikvRowStoreAdd(NorikvRowStore *store, const norikv_entry *entry, const float *distance,
				  ItemPointer number)
{
	uint64 position = NorikvSpoolSize(store->spool);
	RowHead head = {.version = entry->version,
					.expires_at_ms = entry->expires_at_ms,
					.key_size = entry->key.size,
					.value_size = entry->value.size,
					.measured = distance != NULL,
					.distance = distance != NULL ? *distance : 0};

	if (position >> OFFSET_BITS >= InvalidBlockNumber)
		ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("too many rows to change in one statement"));
	NorikvSpoolAppend(store->spool, &head, sizeof(head));
	NorikvSpoolAppend(store->spool, entry->key.data, entry->key.size);
	NorikvSpoolAppend(store->spool, entry->value.data, entry->value.size);
	ItemPointerSet(number, position >> OFFSET_BITS,
				   (position & ((1 << OFFSET_BITS) - 1)) + 1);
}

static uint64
position_of(ItemPointer number)
{
	return ((uint64) ItemPointerGetBlockNumberNoCheck(number) << OFFSET_BITS) +
		   ItemPointerGetOffsetNumberNoCheck(number) - 1;
}

bool
NorikvRowStoreDistance(NorikvRowStore *store, ItemPointer number, float *distance)
{
	RowHead head;

	NorikvSpoolRead(store->spool, position_of(number), &head, sizeof(head));
	*distance = head.distance;
	return head.measured;
}

void
NorikvRowStoreGet(NorikvRowStore *store, ItemPointer number, norikv_entry *entry)
{
	uint64 position = position_of(number);
	RowHead head;
	size_t size;

	NorikvSpoolRead(store->spool, position, &head, sizeof(head));
	size = (size_t) head.key_size + head.value_size;
	if (size > store->row_room)
	{
		if (store->row != NULL)
			pfree(store->row);
		store->row_room = Max(size, 2 * store->row_room);
		store->row = MemoryContextAllocHuge(store->context, store->row_room);
	}
	NorikvSpoolRead(store->spool, position + sizeof(head), store->row, size);
	*entry = (norikv_entry){.key = {store->row, head.key_size},
							.value = {store->row + head.key_size, head.value_size},
							.version = head.version,
							.expires_at_ms = head.expires_at_ms};
}

void **
NorikvRowStoreExtra(NorikvRowStore *store, MemoryContext *context)
{
	*context = store->context;
	return &store->extra;
}
