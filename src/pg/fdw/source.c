/*
 * source.c - the entries that a scan reads, from the server and from what the
 * transaction has written, merged and in the order of their keys.
 *
 * What must hold: a key that the transaction has changed, as far as the command
 * sees it, is taken from the buffer and never from the server.
 */
#include "fdw/source.h"
#include "fdw/vector_table.h"

#include "access/xact.h"

/* Of one answer with vectors. */
#define VECTOR_BATCH_BYTES (4 * 1024 * 1024)

void
NorikvSourceAddStats(const NorikvSource *source, NorikvSourceStats *sum)
{
	norikv_call_stats stats;

	if (source->call == NULL)
		return;
	stats = norikv_call_get_stats(source->call->call);
	sum->round_trips += stats.round_trips;
	sum->bytes_sent += stats.bytes_sent;
	sum->bytes_received += stats.bytes_received;
}

/* Frees the call, and keeps what EXPLAIN wants to know of it. */
static void
end_call(NorikvSource *source)
{
	if (source->call == NULL)
		return;
	NorikvSourceAddStats(source, source->stats);
	NorikvFree(source->call);
	source->call = NULL;
	if (source->entries != &source->one)
		NorikvFreeEntries(source->entries, source->table->space);
	source->entries = NULL;
	source->n_entries = source->next_entry = 0;
}

static const norikv_entry *
entry_of_change(NorikvSource *source, const NorikvChange *change, norikv_slice key)
{
	source->current = (norikv_entry){
		.key = key,
		.value = change->value,
		.expires_at_ms = NorikvChangeExpiresAt(change),
	};
	return &source->current;
}

/* An entry, or an absent key (version index 0), as the server answered. */
static void
note_read(const NorikvSource *source, norikv_slice key, norikv_version version)
{
	if (source->record_reads)
		NorikvBufferRecordRead(source->connection, source->table->space, key, version);
}

/* ---- Keys by name ---- */

/* What the buffer does not decide is for the server. */
static int
sort_out_batch(NorikvSource *source)
{
	NorikvKeySet *keys = source->keys;
	int n_asked = 0;

	for (int i = source->batch_start; i < source->batch_end; i++)
	{
		int at = i - source->batch_start;
		norikv_slice key = keys->keys[source->reverse ? keys->n_keys - 1 - i : i];

		source->changes[at] = NULL;
		source->is_asked[at] = true;
		if (source->buffer != NULL)
		{
			source->changes[at] = NorikvBufferFind(source->buffer, key, source->curcid);
			source->is_asked[at] =
				source->changes[at] == NULL &&
				!NorikvBufferTruncated(source->buffer, key, source->curcid);
		}
		if (source->is_asked[at])
			source->asked[n_asked++] = key;
	}
	return n_asked;
}

/* One request for the next keys. False where there are none left. */
static bool
start_batch(NorikvSource *source)
{
	NorikvKeySet *keys = source->keys;
	int n_asked;

	end_call(source);
	if (source->next_key == keys->n_keys)
		return false;
	source->batch_start = source->next_key;
	source->batch_end = Min(source->next_key + source->batch, keys->n_keys);
	n_asked = sort_out_batch(source);
	source->stats->keys_asked += n_asked;
	source->n_entries = 0;
	source->next_entry = 0;
	source->first_page = n_asked > 0;
	if (n_asked == 1 && !source->expiry && source->table->space.size == 0)
		source->call = NorikvStartGet(source->connection, source->asked[0], NULL);
	else if (n_asked > 0)
		source->call =
			NorikvStartEntries(source->connection, source->table->space, source->asked,
							   n_asked, NULL);
	return true;
}

/*
 * The first batch is asked for when the scan begins. A cursor may be fetched from
 * long after that: then nobody waited for the answer, and its time is over.
 */
static void
repeat_if_late(NorikvSource *source)
{
	if (source->next_key == 0 && !source->repeated &&
		NorikvAwait(source->call)->code == NORIKV_DEADLINE_EXCEEDED)
	{
		source->repeated = true;
		(void) start_batch(source);
	}
}

static size_t
count_asked(const NorikvSource *source)
{
	size_t n = 0;

	for (int i = 0; i < source->batch_end - source->batch_start; i++)
		n += source->is_asked[i];
	return n;
}

static void
await_batch(NorikvSource *source)
{
	norikv_slice space = source->table->space;
	MemoryContext old_context;

	repeat_if_late(source);
	source->first_page = false;
	if (space.size > 0)
	{
		source->n_entries = count_asked(source);
		old_context = MemoryContextSwitchTo(source->context);
		source->entries = NorikvFinishEntries(source->call, space, source->n_entries);
		MemoryContextSwitchTo(old_context);
		return;
	}
	NorikvFinish(source->call);
	if (source->call->subject.operation == NORIKV_CALL_GET)
	{
		source->one = *norikv_call_entry(source->call->call);
		source->entries = &source->one;
		source->n_entries = 1;
	}
	else
		source->entries = norikv_call_entries(source->call->call, &source->n_entries);
}

static const norikv_entry *
next_asked(NorikvSource *source)
{
	int n = source->next_entry++;

	if (n >= source->n_entries)
		ereport(ERROR, errcode(ERRCODE_PROTOCOL_VIOLATION),
				errmsg("server \"%s\" answered %zu entries for more keys",
					   source->connection->name, source->n_entries));
	note_read(source, source->asked[n], source->entries[n].version);
	if (source->entries[n].version.index == 0)
		return NULL;
	source->stats->keys_found++;
	source->current = source->entries[n];
	source->current.key = source->asked[n];
	return &source->current;
}

static const norikv_entry *
next_by_name(NorikvSource *source)
{
	for (;;)
	{
		const norikv_entry *entry = NULL;
		const NorikvChange *change;
		int at;

		if (source->next_key == source->batch_end && !start_batch(source))
			return NULL;
		if (source->first_page)
			await_batch(source);
		at = source->next_key - source->batch_start;
		change = source->changes[at];
		if (source->is_asked[at])
			entry = next_asked(source);
		else if (change != NULL && change->kind == NORIKV_CHANGE_PUT)
		{
			NorikvKeySet *keys = source->keys;
			int i = source->next_key;

			entry = entry_of_change(
				source, change, keys->keys[source->reverse ? keys->n_keys - 1 - i : i]);
		}
		source->next_key++;
		if (entry != NULL)
			return entry;
	}
}

static void
start_by_name(NorikvSource *source)
{
	int room = Min(source->batch, source->keys->n_keys);

	source->asked = palloc(sizeof(norikv_slice) * room);
	source->changes = palloc(sizeof(NorikvChange *) * room);
	source->is_asked = palloc(sizeof(bool) * room);
	source->next_key = source->batch_start = source->batch_end = 0;
	source->repeated = false;
	(void) start_batch(source);
}

/* ---- Ranges ---- */

/* Those of the buffer that lie in the range. */
static void
start_changes(NorikvSource *source)
{
	source->change = NULL;
	if (source->buffer == NULL)
		return;
	NorikvBufferIterate(&source->iterator, source->buffer, source->keys->start,
						source->keys->end, source->reverse, source->curcid);
	source->change = NorikvBufferNext(&source->iterator, &source->change_key);
}

/* Vectors are large, and a scan of them may outlive a snapshot: it goes on in another. */
static void
start_vector_scan(NorikvSource *source)
{
	norikv_vector_scan_request request = {
		.space = source->table->space,
		.start = source->keys->start,
		.end = source->keys->end,
		.reverse = source->reverse,
		.max_rows = source->buffer == NULL ? source->max_rows : 0,
		.ids_only = source->keys_only,
	};

	source->call = NorikvStartVectorScan(source->connection, &request);
	source->first_page = true;
	start_changes(source);
}

static void
start_range(NorikvSource *source)
{
	norikv_scan_request request = {
		.start = source->keys->start,
		.end = source->keys->end,
		.reverse = source->reverse,
		.keys_only = source->keys_only,
		/* Of the rows of the server any may have been deleted in the buffer. */
		.max_rows = source->buffer == NULL ? source->max_rows : 0,
		.one_snapshot = source->record_reads,
	};

	source->call = NorikvStartScan(source->connection, &request);
	source->first_page = true;
	start_changes(source);
}

static void
take_page(NorikvSource *source)
{
	MemoryContext old_context;

	if (source->table->space.size == 0)
	{
		source->entries = norikv_call_entries(source->call->call, &source->n_entries);
		return;
	}
	NorikvFreeEntries(source->entries, source->table->space);
	old_context = MemoryContextSwitchTo(source->context);
	source->entries = NorikvEntriesOfPage(source->call, &source->n_entries);
	MemoryContextSwitchTo(old_context);
}

/* The next entry of the server's, not yet taken; NULL at the end. */
static const norikv_entry *
peek_server(NorikvSource *source)
{
	while (source->next_entry == source->n_entries)
	{
		if (source->call == NULL)
			return NULL;
		if (source->first_page)
			NorikvFinishScan(source->call, source->table);
		else if (!NorikvNextPage(source->call))
		{
			end_call(source);
			return NULL;
		}
		source->first_page = false;
		source->next_entry = 0;
		take_page(source);
		source->stats->keys_found += source->n_entries;
	}
	return &source->entries[source->next_entry];
}

/* Of the next key; NULL where the buffer has it deleted. */
static const norikv_entry *
take_change(NorikvSource *source)
{
	const NorikvChange *change = source->change;
	const norikv_entry *entry = NULL;

	if (change->kind == NORIKV_CHANGE_PUT)
		entry = entry_of_change(source, change, source->change_key);
	source->change = NorikvBufferNext(&source->iterator, &source->change_key);
	return entry;
}

/* Server and buffer, merged. */
static const norikv_entry *
next_merged(NorikvSource *source)
{
	for (;;)
	{
		const norikv_entry *server = peek_server(source);
		int order;

		if (server == NULL && source->change == NULL)
			return NULL;
		if (server == NULL)
			order = 1;
		else if (source->change == NULL)
			order = -1;
		else
		{
			order = NorikvCompareKeys(server->key, source->change_key);
			order = source->reverse ? -order : order;
		}
		if (order <= 0)
			source->next_entry++;
		if (order >= 0)
			server = take_change(source);
		else if (NorikvBufferTruncated(source->buffer, server->key, source->curcid))
			continue;
		else
			note_read(source, server->key, server->version);
		if (server != NULL)
			return server;
	}
}

static const norikv_entry *
next_in_range(NorikvSource *source)
{
	const norikv_entry *entry;

	if (source->buffer != NULL)
		return next_merged(source);
	entry = peek_server(source);
	if (entry == NULL)
		return NULL;
	source->next_entry++;
	note_read(source, entry->key, entry->version);
	return entry;
}

/* ---- Vectors ---- */

static bool
is_in_range(const NorikvKeySet *keys, norikv_slice id)
{
	return NorikvCompareKeys(id, keys->start) >= 0 &&
		   (keys->end.size == 0 || NorikvCompareKeys(id, keys->end) < 0);
}

/* Those of the range, in the order of the scan. */
static size_t
cut_listed(NorikvSource *source, norikv_entry *listed, size_t n_listed)
{
	size_t n = 0;

	for (size_t i = 0; i < n_listed; i++)
	{
		if (is_in_range(source->keys, listed[i].key))
			listed[n++] = listed[i];
	}
	for (size_t i = 0; i < n / 2 && source->reverse; i++)
	{
		norikv_entry entry = listed[i];

		listed[i] = listed[n - 1 - i];
		listed[n - 1 - i] = entry;
	}
	return n;
}

static int
compare_slices(const void *a, const void *b)
{
	return NorikvCompareKeys(*(const norikv_slice *) a, *(const norikv_slice *) b);
}

/* With what the transaction has put, each once: from here on they are read by name. */
static void
name_ids(NorikvSource *source, const norikv_entry *listed, size_t n_listed)
{
	norikv_slice *ids;
	size_t room = n_listed;
	size_t n = 0;

	for (const NorikvChange *change = source->change; change != NULL;
		 change = NorikvBufferNext(&source->iterator, &source->change_key))
		room++;
	ids = MemoryContextAllocHuge(CurrentMemoryContext,
								 sizeof(norikv_slice) * Max(room, 1));
	for (size_t i = 0; i < n_listed; i++)
		ids[n++] = listed[i].key;
	start_changes(source);
	for (; source->change != NULL;
		 source->change = NorikvBufferNext(&source->iterator, &source->change_key))
		ids[n++] = source->change_key;
	qsort(ids, n, sizeof(norikv_slice), compare_slices);
	source->ids =
		(NorikvKeySet){.lookup = true, .keys = ids, .max_key = NORIKV_MAX_VECTOR_ID};
	for (size_t i = 0; i < n; i++)
	{
		if (i == 0 || NorikvCompareKeys(ids[i], ids[source->ids.n_keys - 1]) != 0)
			ids[source->ids.n_keys++] = ids[i];
	}
	source->keys = &source->ids;
}

/*
 * A server without scans lists ids without their vectors: for a scan that shows no
 * vectors that is the one page.
 */
static void
start_vector_range(NorikvSource *source)
{
	size_t n;
	norikv_entry *listed;

	if (NorikvGetCapabilities(source->connection)->vector_scan)
	{
		start_vector_scan(source);
		return;
	}
	listed = NorikvListVectors(source->table, source->connection, source->stats, &n);
	n = cut_listed(source, listed, n);
	source->stats->keys_found += n;
	start_changes(source);
	if (source->keys_only)
	{
		source->entries = listed;
		source->n_entries = n;
		return;
	}
	source->stats->keys_found -= n;
	name_ids(source, listed, n);
	start_by_name(source);
}

/* How many the index has; false where that must be counted. */
static bool
count_of_index(NorikvSource *source, uint64 *count)
{
	(void) NorikvAskForIndex(source->table, source->connection, true);
	source->stats->round_trips++;
	*count = source->table->index.vectors;
	return source->table->index.state == NORIKV_INDEX_READY &&
		   source->keys->start.size == 0 && source->keys->end.size == 0;
}

/* Vectors are large: so many of them that one answer is not. */
static int
vector_batch(const NorikvSource *source)
{
	uint32 dimensions = Max(source->table->index.dimensions, 1);

	return Min(source->batch, Max(VECTOR_BATCH_BYTES / (dimensions * sizeof(float)), 1));
}

/* ---- Both ---- */

static void
prepare(NorikvSource *source)
{
	norikv_slice space = source->table->space;

	source->buffer = NorikvBufferFor(source->connection, space);
	source->context = CurrentMemoryContext;
	source->record_reads = IsolationUsesXactSnapshot();
	source->call = NULL;
	source->entries = NULL;
	source->n_entries = source->next_entry = 0;
	source->first_page = false;
	source->change = NULL;
	if (space.size > 0)
		source->batch = vector_batch(source);
}

void
NorikvSourceStart(NorikvSource *source)
{
	prepare(source);
	if (source->keys->empty)
		return;
	if (source->keys->lookup)
		start_by_name(source);
	else if (source->table->space.size > 0)
		start_vector_range(source);
	else
		start_range(source);
}

const norikv_entry *
NorikvSourceNext(NorikvSource *source)
{
	if (source->keys->empty)
		return NULL;
	return source->keys->lookup ? next_by_name(source) : next_in_range(source);
}

/* The server's count, where nothing in this transaction makes for another one. */
static uint64
count_on_server(NorikvSource *source)
{
	norikv_scan_request request = {.start = source->keys->start,
								   .end = source->keys->end,
								   .count_only = true};
	uint64 count;

	source->call = NorikvStartScan(source->connection, &request);
	NorikvFinish(source->call);
	while (NorikvNextPage(source->call))
		continue;
	count = norikv_call_count(source->call->call);
	end_call(source);
	source->stats->keys_found += count;
	return count;
}

uint64
NorikvSourceCount(NorikvSource *source)
{
	uint64 count = 0;

	prepare(source);
	if (source->keys->empty)
		return 0;
	if (!source->keys->lookup && source->buffer == NULL && !source->record_reads)
	{
		if (source->table->space.size == 0)
			return count_on_server(source);
		if (count_of_index(source, &count))
			return count;
		count = 0;
	}
	source->keys_only = true;
	NorikvSourceStart(source);
	while (NorikvSourceNext(source) != NULL)
		count++;
	NorikvSourceEnd(source);
	return count;
}

void
NorikvSourceEnd(NorikvSource *source)
{
	end_call(source);
}
