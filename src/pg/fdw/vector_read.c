/*
 * vector_read.c - rows by name, of keys or of vectors, as entries.
 */
#include "fdw/vector_table.h"

NorikvCall *
NorikvStartEntries(NorikvConnection *connection, norikv_slice space,
				   const norikv_slice *keys, size_t n_keys, const char *consistency)
{
	if (space.size == 0)
		return NorikvStartMultiGet(connection, keys, n_keys, consistency);
	return NorikvStartVectorGetMany(connection, space, keys, n_keys);
}

norikv_entry
NorikvEntryOfVector(const norikv_vector *vector)
{
	return (norikv_entry){
		.key = vector->id,
		.value = {vector->vector, vector->dimensions * sizeof(float)},
		.version = vector->version,
	};
}

/* A server that has no versions cannot be in a transaction: but it has rows. */
static norikv_entry
present_entry(const norikv_vector *vector)
{
	norikv_entry entry = NorikvEntryOfVector(vector);

	if (!vector->found)
		entry.version = (norikv_version){0, 0};
	else if (entry.version.index == 0)
		entry.version.index = 1;
	return entry;
}

const norikv_entry *
NorikvFinishEntries(NorikvCall *call, norikv_slice space, size_t n_keys)
{
	const norikv_vector *vectors;
	norikv_entry *entries;
	size_t n_vectors;

	if (space.size == 0)
		return NorikvFinishMultiGet(call, n_keys);
	NorikvFinishVectors(call, space);
	vectors = norikv_call_vectors(call->call, &n_vectors);
	if (n_vectors != n_keys)
		ereport(ERROR, errcode(ERRCODE_PROTOCOL_VIOLATION),
				errmsg("server \"%s\" answered %zu vectors for %zu ids",
					   call->subject.connection->name, n_vectors, n_keys));
	entries = MemoryContextAllocHuge(CurrentMemoryContext,
									 sizeof(norikv_entry) * Max(n_vectors, 1));
	for (size_t i = 0; i < n_vectors; i++)
		entries[i] = present_entry(&vectors[i]);
	return entries;
}

void
NorikvFreeEntries(const norikv_entry *entries, norikv_slice space)
{
	if (space.size > 0 && entries != NULL)
		pfree((void *) entries);
}

void
NorikvFinishScan(NorikvCall *call, NorikvTable *table)
{
	if (table->space.size == 0)
	{
		NorikvFinish(call);
		return;
	}
	if (NorikvAwait(call)->code == NORIKV_NOT_FOUND)
	{
		/* The next plan counts on none. */
		table->index = (NorikvTableIndex){.exists = false};
		NorikvRaiseNoIndex(table, call->subject.connection);
	}
	NorikvFinishVectors(call, table->space);
}

const norikv_entry *
NorikvEntriesOfPage(const NorikvCall *call, size_t *n_entries)
{
	const norikv_vector *vectors = norikv_call_vectors(call->call, n_entries);
	norikv_entry *entries = MemoryContextAllocHuge(
		CurrentMemoryContext, sizeof(norikv_entry) * Max(*n_entries, 1));

	for (size_t i = 0; i < *n_entries; i++)
		entries[i] = present_entry(&vectors[i]);
	return entries;
}
