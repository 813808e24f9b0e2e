/*
 * vector_truncate.c - TRUNCATE of a table of vectors where the server deletes no ranges
 * of them: the ids that there are, one by one.
 */
#include "fdw/modify.h"
#include "fdw/vector_table.h"

#include "utils/memutils.h"

static void
delete_in_buffer(NorikvTable *table, NorikvConnection *connection, CommandId cid,
				 const norikv_entry *entries, size_t n)
{
	NorikvBuffer *buffer = NorikvBufferForWrite(connection, table->space);

	/* What the transaction has put itself, and then what the store has. */
	for (NorikvBufferKey *key = NorikvBufferSeek(buffer, (norikv_slice){NULL, 0});
		 key != NULL; key = key->next[0])
	{
		if (key->newest != NULL)
			NorikvBufferDelete(buffer, key, cid);
	}
	for (size_t i = 0; i < n; i++)
	{
		NorikvBufferKey *key = NorikvBufferEnter(buffer, entries[i].key);

		if (key->newest == NULL)
			NorikvBufferDelete(buffer, key, cid);
		if (i % 1000 == 0)
			NorikvBufferCheckLimits(buffer);
	}
	NorikvBufferCheckLimits(buffer);
}

static void
take_results(const NorikvCall *call, const norikv_operation_result *results,
			 size_t n_results)
{
	const norikv_operation_result *failed = NULL;
	int64 n_deleted = 0;

	for (size_t i = 0; i < n_results; i++)
	{
		if (results[i].code == NORIKV_OK)
			n_deleted++;
		else if (failed == NULL)
			failed = &results[i];
	}
	NorikvCountWritten(n_deleted);
	if (failed != NULL)
		NorikvRaiseResult(failed, &call->subject);
}

static void
delete_at_once(const NorikvTable *table, NorikvConnection *connection,
			   const norikv_entry *entries, size_t n)
{
	int batch = connection->settings.batch_size;
	norikv_operation *operations =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(norikv_operation) * batch);

	for (size_t first = 0; first < n; first += batch)
	{
		size_t n_operations = Min(n - first, (size_t) batch);
		const norikv_operation_result *results;
		size_t n_results;
		NorikvCall *call;

		for (size_t i = 0; i < n_operations; i++)
			operations[i] = (norikv_operation){.kind = NORIKV_OP_VECTOR_DELETE,
											   .vector_namespace = table->space,
											   .key = entries[first + i].key};
		call = NorikvStartCommit(connection, operations, n_operations, false);
		NorikvFinish(call);
		results = norikv_call_results(call->call, &n_results);
		take_results(call, results, n_results);
		NorikvFree(call);
	}
	pfree(operations);
}

void
NorikvTruncateListed(NorikvTable *table, NorikvConnection *connection, CommandId cid)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv truncation", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	NorikvSourceStats stats = {0};
	size_t n;
	norikv_entry *entries = NorikvListVectors(table, connection, &stats, &n);

	if (table->immediate)
		delete_at_once(table, connection, entries, n);
	else
		delete_in_buffer(table, connection, cid, entries, n);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}
