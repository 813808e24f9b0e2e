/*
 * key_batch.c - keys that are asked for together, each once, in one round trip.
 *
 * What must hold: a key that the transaction has changed, as far as the command
 * sees it, is taken from the buffer and never from the server.
 */
#include "fdw/key_batch.h"
#include "fdw/vector_table.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/memutils.h"

typedef struct KnownKey
{
	norikv_slice key;
	int number;
	uint32 hash;
	char status;
} KnownKey;

#define SH_PREFIX known
#define SH_ELEMENT_TYPE KnownKey
#define SH_KEY_TYPE norikv_slice
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_bytes((key).data, (int) (key).size)
#define SH_EQUAL(table, a, b) (NorikvCompareKeys(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(table, element) (element)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct BatchKey
{
	norikv_slice key;
	int asked;					/* its place in the request; -1: in none */
	const NorikvChange *change; /* what the buffer has; NULL: nothing */
} BatchKey;

struct NorikvKeyBatch
{
	NorikvConnection *connection;
	norikv_slice space; /* as of their table */
	MemoryContext context;
	known_hash *known;
	BatchKey *keys;
	int n_keys;
	int room;
	norikv_slice *asked; /* keys of the request */
	int n_asked;
	NorikvCall *call;			 /* NULL: the server was not needed */
	const norikv_entry *entries; /* of the answer */
	NorikvSourceStats *stats;
};

/* Most batches of a nested loop's inner side have a few keys only. */
#define FIRST_ROOM 16

NorikvKeyBatch *
NorikvKeyBatchMake(NorikvConnection *connection, norikv_slice space,
				   MemoryContext context)
{
	NorikvKeyBatch *batch = MemoryContextAllocZero(context, sizeof(NorikvKeyBatch));

	batch->connection = connection;
	batch->space = space;
	batch->context = context;
	batch->known = known_create(context, FIRST_ROOM, NULL);
	batch->room = FIRST_ROOM;
	batch->keys = MemoryContextAlloc(context, sizeof(BatchKey) * batch->room);
	return batch;
}

int
NorikvKeyBatchAdd(NorikvKeyBatch *batch, norikv_slice key)
{
	bool found;
	KnownKey *known = known_insert(batch->known, key, &found);

	if (found)
		return known->number;
	if (batch->n_keys == batch->room)
	{
		batch->room *= 2;
		batch->keys = repalloc(batch->keys, sizeof(BatchKey) * batch->room);
	}
	known->number = batch->n_keys++;
	batch->keys[known->number] = (BatchKey){.key = key, .asked = -1};
	return known->number;
}

/* What the buffer does not decide is for the server. */
static void
sort_out(NorikvKeyBatch *batch, CommandId curcid)
{
	NorikvBuffer *buffer = NorikvBufferFor(batch->connection, batch->space);

	batch->asked =
		MemoryContextAlloc(batch->context, sizeof(norikv_slice) * Max(batch->n_keys, 1));
	for (int i = 0; i < batch->n_keys; i++)
	{
		BatchKey *key = &batch->keys[i];

		if (buffer != NULL)
			key->change = NorikvBufferFind(buffer, key->key, curcid);
		if (key->change != NULL)
			continue;
		key->asked = batch->n_asked;
		batch->asked[batch->n_asked++] = key->key;
	}
}

static void
note_answer(NorikvKeyBatch *batch)
{
	bool record_reads = IsolationUsesXactSnapshot();

	for (int i = 0; i < batch->n_asked; i++)
	{
		if (record_reads)
			NorikvBufferRecordRead(batch->connection, batch->space, batch->asked[i],
								   batch->entries[i].version);
		batch->stats->keys_found += batch->entries[i].version.index != 0;
	}
}

void
NorikvKeyBatchFetch(NorikvKeyBatch *batch, CommandId curcid, NorikvSourceStats *stats)
{
	MemoryContext old_context;

	sort_out(batch, curcid);
	batch->stats = stats;
	stats->keys_asked += batch->n_asked;
	if (batch->n_asked == 0)
		return;
	batch->call = NorikvStartEntries(batch->connection, batch->space, batch->asked,
									 batch->n_asked, NULL);
	old_context = MemoryContextSwitchTo(batch->context);
	batch->entries = NorikvFinishEntries(batch->call, batch->space, batch->n_asked);
	MemoryContextSwitchTo(old_context);
	note_answer(batch);
}

bool
NorikvKeyBatchFind(NorikvKeyBatch *batch, int number, norikv_entry *entry)
{
	const BatchKey *key = &batch->keys[number];
	const NorikvChange *change = key->change;

	if (change != NULL)
	{
		*entry = (norikv_entry){.key = key->key,
								.value = change->value,
								.expires_at_ms = NorikvChangeExpiresAt(change)};
		return change->kind == NORIKV_CHANGE_PUT;
	}
	*entry = batch->entries[key->asked];
	entry->key = key->key;
	return entry->version.index != 0;
}

void
NorikvKeyBatchAddStats(const NorikvKeyBatch *batch, NorikvSourceStats *sum)
{
	norikv_call_stats stats;

	if (batch->call == NULL)
		return;
	stats = norikv_call_get_stats(batch->call->call);
	sum->round_trips += stats.round_trips;
	sum->bytes_sent += stats.bytes_sent;
	sum->bytes_received += stats.bytes_received;
}

void
NorikvKeyBatchEnd(NorikvKeyBatch *batch)
{
	if (batch->call == NULL)
		return;
	NorikvKeyBatchAddStats(batch, batch->stats);
	NorikvFree(batch->call);
	batch->call = NULL;
	batch->entries = NULL;
}
