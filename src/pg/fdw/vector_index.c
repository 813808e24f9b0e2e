/*
 * vector_index.c - the index behind a table of vectors: its dimensions, what it
 * measures, and how many vectors it has.
 */
#include "fdw/vector_table.h"

/* norikv_vector_list() takes a prefix: one that is longer is another's. */
static const norikv_vector_index *
find_index(const NorikvCall *call, norikv_slice space)
{
	size_t n_indexes;
	const norikv_vector_index *indexes = norikv_call_indexes(call->call, &n_indexes);

	for (size_t i = 0; i < n_indexes; i++)
	{
		if (NorikvCompareKeys(indexes[i].space, space) == 0)
			return &indexes[i];
	}
	return NULL;
}

void
NorikvRaiseNoIndex(const NorikvTable *table, const NorikvConnection *connection)
{
	ereport(ERROR, errcode(ERRCODE_NO_DATA_FOUND),
			errmsg("vector index %s of foreign table \"%s\" does not exist on server "
				   "\"%s\"", NorikvShowKey(table->space), table->name,
				   connection->name),
			errhint("norikv.vector_create_index() creates it."));
}

bool
NorikvAskForIndex(NorikvTable *table, NorikvConnection *connection, bool raise)
{
	NorikvCall *call = NorikvStartListIndexes(connection, table->space);
	const norikv_vector_index *found = NULL;

	if (raise)
		NorikvFinishVectors(call, table->space);
	if (NorikvAwait(call)->code == NORIKV_OK)
		found = find_index(call, table->space);
	table->index = (NorikvTableIndex){.exists = found != NULL};
	if (found != NULL)
		table->index = (NorikvTableIndex){.exists = true,
										  .dimensions = found->dimensions,
										  .distance = found->distance,
										  .type = found->type,
										  .state = found->state,
										  .vectors = found->vectors};
	if (found != NULL)
	{
		NorikvNoteEstimate(table, found->vectors);
		table->index.scannable = NorikvGetCapabilities(connection)->vector_scan;
	}
	NorikvFree(call);
	if (!table->index.exists && raise)
		NorikvRaiseNoIndex(table, connection);
	return table->index.exists;
}
