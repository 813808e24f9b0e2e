/*
 * scan.c - scans: pages from one snapshot, while it lasts.
 *
 * A snapshot keeps old versions on disk, so it has an end: after 30 s or 256 MiB
 * the scan goes on in a new one after the last key, and says so. Between pages
 * nothing but the snapshot is held.
 *
 * Vectors are read in the same way. What the table has before their ids names the
 * index: one that was created in place of it since is another one, and not read.
 */
#include <stdlib.h>

#include "local.h"
#include "vector_entry.h"

#define SNAPSHOT_MAX_MS 30000
#define SNAPSHOT_MAX_BYTES (UINT64_C(256) * 1024 * 1024)
/* A page ends here too, though it may be empty: expired keys, or a count. */
#define PAGE_MAX_EXAMINED 50000

struct engine_cursor
{
	local_engine *engine;
	engine_scan scan;
	table_space space;
	size_t		skipped;		/* bytes of a key of the table before what is shown */
	bytes		start;			/* moves up in a forward scan */
	bytes		end;			/* moves down in a reverse one */
	bool		exhausted;
	bool		started;		/* a row was examined */
	uint64_t	rows;
	table_snapshot *snapshot;
	uint64_t	snapshot_since_ms;
	uint64_t	snapshot_bytes;
	/* The page being made. */
	arena		memory;
	engine_entry *entries;
	size_t		n_entries;
	size_t		entries_size;
	size_t		page_bytes;
};

static void
set_bounds(engine_cursor *self, const engine_scan *scan)
{
	bytes_append(&self->start, scan->start.data, scan->start.size);
	bytes_append(&self->end, scan->end.data, scan->end.size);
}

/* Of the vectors of this index. */
static void
set_vector_bounds(engine_cursor *self, const engine_scan *scan, engine_version created)
{
	self->space = TABLE_VECTOR;
	self->skipped = VECTOR_KEY_SIZE(0);
	vector_key_range(created, scan->start, scan->end, &self->start, &self->end);
}

engine_cursor *
local_scan_open(engine *base, const engine_scan *scan, engine_status *status)
{
	local_engine *in = (local_engine *) base;
	engine_version created = {0, 0};
	engine_cursor *self;

	if (scan->space.size > 0 &&
		!vectors_created(in->vectors, scan->space, &created, status))
		return NULL;
	self = engine_calloc(sizeof(*self));
	self->engine = in;
	self->scan = *scan;
	self->space = TABLE_DATA;
	if (scan->space.size > 0)
		set_vector_bounds(self, scan, created);
	else
		set_bounds(self, scan);
	self->exhausted = scan->end.size > 0 && slice_compare(scan->start, scan->end) >= 0;
	arena_init(&self->memory);
	status_ok(status);
	return self;
}

static void
let_go_of_snapshot(engine_cursor *self)
{
	table	   *from = self->engine->table;

	if (self->snapshot != NULL)
		from->methods->snapshot_release(from, self->snapshot);
	self->snapshot = NULL;
}

static bool
snapshot_lasts(const engine_cursor *self)
{
	table	   *from = self->engine->table;
	uint64_t	now = store_time_boot_ms(&self->engine->time);

	return from->methods->snapshot_valid(from, self->snapshot) &&
		now - self->snapshot_since_ms < SNAPSHOT_MAX_MS &&
		self->snapshot_bytes < SNAPSHOT_MAX_BYTES;
}

/* False where the scan must end: the caller wants one snapshot, and it is over. */
static bool
take_snapshot(engine_cursor *self, bool *moved, engine_status *status)
{
	table	   *from = self->engine->table;

	*moved = false;
	if (self->snapshot != NULL && snapshot_lasts(self))
		return true;
	if (self->snapshot != NULL)
	{
		let_go_of_snapshot(self);
		*moved = self->started;
	}
	if (*moved && self->scan.one_snapshot)
	{
		status_set(status, ENGINE_ABORTED,
				   "the scan outlived its snapshot, which lasts 30 s or 256 MiB; "
				   "read a smaller range, or allow the snapshot to move");
		return false;
	}
	self->snapshot = from->methods->snapshot(from);
	self->snapshot_since_ms = store_time_boot_ms(&self->engine->time);
	self->snapshot_bytes = 0;
	return true;
}

static void
add_entry(engine_cursor *self, engine_slice key, const entry *found)
{
	engine_entry *added;

	if (self->n_entries == self->entries_size)
	{
		self->entries_size = self->entries_size * 2 + 64;
		self->entries = engine_realloc(self->entries,
									   self->entries_size * sizeof(engine_entry));
	}
	added = &self->entries[self->n_entries++];
	added->key = arena_copy(&self->memory, key);
	added->value = self->scan.keys_only ? slice_of(NULL, 0)
		: arena_copy(&self->memory, found->value);
	added->version = found->version;
	added->expires_at_ms = found->expires_at_ms;
	self->page_bytes += added->key.size + added->value.size;
}

/* The next page starts behind this key. */
static void
move_on(engine_cursor *self, engine_slice key)
{
	bytes	   *limit = self->scan.reverse ? &self->end : &self->start;

	self->started = true;
	limit->size = 0;
	bytes_append(limit, key.data, key.size);
	if (!self->scan.reverse)
		bytes_append(limit, "", 1);
}

static bool
page_is_full(const engine_cursor *self, engine_slice key, const entry *found,
			 size_t max_bytes)
{
	size_t		size = key.size + (self->scan.keys_only ? 0 : found->value.size);

	return self->n_entries > 0 && self->page_bytes + size > max_bytes;
}

static bool
is_well_formed(const engine_cursor *self, const entry *found)
{
	return self->space != TABLE_VECTOR ||
		(found->value.size % sizeof(float) == 0 &&
		 found->value.size <= VECTOR_MAX_DIMENSIONS * sizeof(float));
}

static bool
examine(engine_cursor *self, engine_slice key, engine_slice stored, uint64_t now_ms,
		size_t max_bytes, engine_status *status)
{
	entry		found;
	char		shown[SLICE_SHOWN];

	if (!entry_decode(stored, &found) || !is_well_formed(self, &found))
	{
		status_set(status, ENGINE_DATA_LOSS, "the entry of %s \"%s\" is damaged",
				   self->space == TABLE_VECTOR ? "vector" : "key",
				   slice_show(key, shown, sizeof(shown)));
		return false;
	}
	if (entry_expired(&found, now_ms))
		return true;
	if (!self->scan.count_only)
	{
		if (page_is_full(self, key, &found, max_bytes))
			return false;
		add_entry(self, key, &found);
	}
	self->rows++;
	self->exhausted = self->scan.max_rows > 0 && self->rows >= self->scan.max_rows;
	return true;
}

static void
fill_page(engine_cursor *self, size_t max_bytes, engine_status *status)
{
	table	   *from = self->engine->table;
	table_range range = {
		.space = self->space,
		.snapshot = self->snapshot,
		.start = bytes_slice(&self->start),
		.end = bytes_slice(&self->end),
		.reverse = self->scan.reverse,
	};
	table_iterator *iterator = from->methods->iterate(from, &range);
	uint64_t	now = store_time_now_ms(&self->engine->time);
	bytes		examined = {0};
	engine_slice key;
	engine_slice stored;
	engine_status failure;
	bool		more = false;
	size_t		n = 0;

	while (!self->exhausted && (more = from->methods->next(iterator, &key, &stored)))
	{
		if (n == PAGE_MAX_EXAMINED ||
			!examine(self, slice_of(key.data + self->skipped, key.size - self->skipped),
					 stored, now, max_bytes, status))
			break;
		n++;
		self->snapshot_bytes += key.size + stored.size;
		examined.size = 0;
		bytes_append(&examined, key.data, key.size);
	}
	if (!from->methods->iterate_end(iterator, &failure) && status->code == ENGINE_OK)
		*status = failure;
	if (examined.data != NULL)
		move_on(self, bytes_slice(&examined));
	bytes_free(&examined);
	self->exhausted = self->exhausted || !more;
}

void
local_scan_page(engine_cursor *self, size_t max_bytes, engine_page_done done, void *arg)
{
	table	   *from = self->engine->table;
	engine_page page = {0};
	engine_status status;

	arena_reset(&self->memory);
	self->n_entries = 0;
	self->page_bytes = 0;
	if (!from->methods->read_begin(from, &status))
	{
		done(arg, &status, NULL);
		return;
	}
	if (!self->exhausted && take_snapshot(self, &page.snapshot_moved, &status))
		fill_page(self, max_bytes, &status);
	if (self->exhausted)
		let_go_of_snapshot(self);
	from->methods->read_end(from);

	page.entries = self->entries;
	page.n_entries = self->n_entries;
	page.count = self->rows;
	page.last = self->exhausted;
	done(arg, &status, status.code == ENGINE_OK ? &page : NULL);
}

void
local_scan_close(engine_cursor *self)
{
	let_go_of_snapshot(self);
	bytes_free(&self->start);
	bytes_free(&self->end);
	arena_free(&self->memory);
	free(self->entries);
	free(self);
}
