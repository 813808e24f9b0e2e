/*
 * vector_list.c - all ids of a namespace, without their vectors.
 *
 * A server that has no scan of vectors has no way to list them but a search: the exact
 * one for as many as there are, whichever vector they are near to.
 */
#include "fdw/vector_table.h"

#include "utils/memutils.h"

/* Those that come while it is asked for. */
#define SPARE 1000

typedef struct IdList
{
	norikv_entry *entries;
	size_t n;
	size_t room;
} IdList;

static void
append(IdList *list, const norikv_vector *match)
{
	char *id = palloc(match->id.size + 1);

	if (list->n == list->room)
	{
		list->room = list->room * 2 + 64;
		list->entries =
			list->entries == NULL
				? MemoryContextAllocHuge(CurrentMemoryContext,
										 sizeof(norikv_entry) * list->room)
				: repalloc_huge(list->entries, sizeof(norikv_entry) * list->room);
	}
	memcpy(id, match->id.data, match->id.size);
	list->entries[list->n++] =
		(norikv_entry){.key = {id, match->id.size}, .version = match->version};
}

static int
compare_ids(const void *a, const void *b)
{
	return NorikvCompareKeys(((const norikv_entry *) a)->key,
							 ((const norikv_entry *) b)->key);
}

static NorikvCall *
start_search(const NorikvTable *table, NorikvConnection *connection)
{
	/* Not zero: of that no cosine can be told. */
	float *query = palloc0(sizeof(float) * table->index.dimensions);
	norikv_search_request request = {
		.space = table->space,
		.query = query,
		.dimensions = table->index.dimensions,
		.k = Min(table->index.vectors, PG_INT32_MAX - SPARE) + SPARE,
		.exact = true,
		.continued = true,
	};

	query[0] = 1;
	return NorikvStartVectorSearch(connection, &request);
}

static NorikvCall *
start_list(NorikvTable *table, NorikvConnection *connection, NorikvSourceStats *stats)
{
	norikv_vector_scan_request request = {.space = table->space, .ids_only = true};

	if (NorikvGetCapabilities(connection)->vector_scan)
		return NorikvStartVectorScan(connection, &request);
	/* The dimensions must be right, or the search is refused. */
	(void) NorikvAskForIndex(table, connection, true);
	stats->round_trips++;
	return start_search(table, connection);
}

static void
add_stats(const NorikvCall *call, NorikvSourceStats *stats)
{
	norikv_call_stats done = norikv_call_get_stats(call->call);

	stats->round_trips += done.round_trips;
	stats->bytes_sent += done.bytes_sent;
	stats->bytes_received += done.bytes_received;
}

norikv_entry *
NorikvListVectors(NorikvTable *table, NorikvConnection *connection,
				  NorikvSourceStats *stats, size_t *n_entries)
{
	IdList list = {NULL};
	NorikvCall *call;

	call = start_list(table, connection, stats);
	NorikvFinishScan(call, table);
	do
	{
		size_t n_matches;
		const norikv_vector *matches = norikv_call_vectors(call->call, &n_matches);

		for (size_t i = 0; i < n_matches; i++)
			append(&list, &matches[i]);
	} while (NorikvNextPage(call));
	add_stats(call, stats);
	NorikvFree(call);
	if (list.n > 0)
		qsort(list.entries, list.n, sizeof(norikv_entry), compare_ids);
	*n_entries = list.n;
	return list.entries;
}
