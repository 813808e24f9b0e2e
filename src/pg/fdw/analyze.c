/*
 * analyze.c - ANALYZE of a foreign table: a random sample of its rows, from one
 * pass over its keys.
 */
#include "fdw/vector_table.h"

#include "access/xact.h"
#include "commands/vacuum.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/sampling.h"

/* Of a row, for the number of pages that ANALYZE wants to record. */
#define TYPICAL_ROW_SIZE 100

typedef struct Sample
{
	HeapTuple *rows;
	int wanted;
	int taken;
	double seen;
	double to_skip; /* rows before the next one that replaces another */
	ReservoirStateData state;
	NorikvDecoder *decoder;
	TupleTableSlot *slot;
	MemoryContext row_context;
} Sample;

static NorikvTable *
open_table(Relation relation, NorikvConnection **connection)
{
	NorikvTable *table = NorikvOpenTable(relation);

	*connection =
		NorikvGetTableConnection(table->serverid, relation->rd_rel->relowner);
	return table;
}

static NorikvCall *
start_scan(const NorikvTable *table, NorikvConnection *connection, bool count_only)
{
	norikv_scan_request request = {.start = table->prefix,
								   .end = table->prefix_end,
								   .count_only = count_only};

	return NorikvStartScan(connection, &request);
}

static double
random_fraction(Sample *sample)
{
#if PG_VERSION_NUM >= 150000
	return sampler_random_fract(&sample->state.randstate);
#else
	return sampler_random_fract(sample->state.randstate);
#endif
}

/* Where in the sample the row is to go; -1: nowhere. Vitter's algorithm. */
static int
place_of_row(Sample *sample)
{
	int place = -1;

	if (sample->seen < sample->wanted)
		place = (int) sample->seen;
	else
	{
		if (sample->to_skip < 0)
			sample->to_skip =
				reservoir_get_next_S(&sample->state, sample->seen, sample->wanted);
		if (sample->to_skip <= 0)
			place = (int) (sample->wanted * random_fraction(sample));
		sample->to_skip--;
	}
	sample->seen++;
	return place;
}

static void
take_row(Sample *sample, const norikv_entry *entry)
{
	int place = place_of_row(sample);
	MemoryContext old_context;
	bool decoded;

	if (place < 0)
		return;
	old_context = MemoryContextSwitchTo(sample->row_context);
	decoded = NorikvDecode(sample->decoder, entry, sample->slot);
	MemoryContextSwitchTo(old_context);
	if (decoded)
	{
		if (place < sample->taken)
			heap_freetuple(sample->rows[place]);
		else
			place = sample->taken++;
		sample->rows[place] = ExecCopySlotHeapTuple(sample->slot);
	}
	ExecClearTuple(sample->slot);
	MemoryContextReset(sample->row_context);
}

static void
delay(void)
{
#if PG_VERSION_NUM >= 180000
	vacuum_delay_point(true);
#else
	vacuum_delay_point();
#endif
}

static void
sample_keys(Sample *sample, const NorikvTable *table, NorikvConnection *connection)
{
	NorikvCall *call = start_scan(table, connection, false);

	NorikvFinish(call);
	do
	{
		size_t n_entries;
		const norikv_entry *entries = norikv_call_entries(call->call, &n_entries);

		for (size_t i = 0; i < n_entries; i++)
		{
			delay();
			take_row(sample, &entries[i]);
		}
	} while (NorikvNextPage(call));
	NorikvFree(call);
}

static void
sample_vectors(Sample *sample, NorikvTable *table, NorikvConnection *connection)
{
	NorikvKeySet all = {.max_key = NORIKV_MAX_VECTOR_ID};
	NorikvSourceStats stats = {0};
	NorikvSource source = {.table = table,
						   .connection = connection,
						   .keys = &all,
						   .curcid = GetCurrentCommandId(false),
						   .batch = connection->settings.fetch_size,
						   .stats = &stats};
	const norikv_entry *entry;

	NorikvSourceStart(&source);
	while ((entry = NorikvSourceNext(&source)) != NULL)
	{
		delay();
		take_row(sample, entry);
	}
	NorikvSourceEnd(&source);
}

static int
acquire_sample_rows(Relation relation, int elevel, HeapTuple *rows, int targrows,
					double *totalrows, double *totaldeadrows)
{
	NorikvConnection *connection;
	NorikvTable *table = open_table(relation, &connection);
	Sample sample = {.rows = rows, .wanted = targrows, .to_skip = -1};

	sample.decoder =
		NorikvMakeDecoder(table, connection, RelationGetDescr(relation), NULL, true);
	sample.slot = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsVirtual);
	sample.row_context = AllocSetContextCreate(CurrentMemoryContext, "norikv sample row",
											   ALLOCSET_DEFAULT_SIZES);
	reservoir_init_selection_state(&sample.state, targrows);
	if (table->space.size > 0)
		sample_vectors(&sample, table, connection);
	else
		sample_keys(&sample, table, connection);
	NorikvReportSkipped(sample.decoder);
	ExecDropSingleTupleTableSlot(sample.slot);
	MemoryContextDelete(sample.row_context);

	*totalrows = sample.seen;
	*totaldeadrows = 0;
	ereport(elevel, errmsg("\"%s\": foreign table has %.0f rows; %d rows in sample",
						   RelationGetRelationName(relation), sample.seen, sample.taken));
	return sample.taken;
}

static double
count_rows(NorikvTable *table, NorikvConnection *connection)
{
	NorikvCall *call;
	double count;

	if (table->space.size > 0)
	{
		(void) NorikvAskForIndex(table, connection, true);
		return table->index.vectors;
	}
	call = start_scan(table, connection, true);
	NorikvFinish(call);
	while (NorikvNextPage(call))
		continue;
	count = norikv_call_count(call->call);
	NorikvFree(call);
	return count;
}

bool
NorikvAnalyzeForeignTable(Relation relation, AcquireSampleRowsFunc *func,
						  BlockNumber *totalpages)
{
	NorikvConnection *connection;
	NorikvTable *table = open_table(relation, &connection);
	double pages =
		count_rows(table, connection) / (double) (BLCKSZ / TYPICAL_ROW_SIZE) + 1;

	*totalpages = pages < MaxBlockNumber ? (BlockNumber) pages : MaxBlockNumber;
	*func = acquire_sample_rows;
	return true;
}
