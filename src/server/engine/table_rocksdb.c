/*
 * table_rocksdb.c - a table in RocksDB, a column family per space.
 *
 * RocksDB stops taking writes after a failed one, and its C API cannot resume:
 * the database is closed and opened again, while readers wait. Where it cannot be
 * opened for writing it is opened for reading at least.
 */
#include <pthread.h>
#include <stdlib.h>

#include "read_section.h"
#include "rocksdb_files.h"
#include "rocksdb_reclaim.h"
#include "rocksdb_tuning.h"
#include "table.h"
#include "util.h"

#define KEYS_PER_READ 256

struct table_snapshot
{
	const rocksdb_snapshot_t *snapshot; /* NULL: lost */
	struct table_snapshot *next;
	struct table_snapshot *previous;
};

typedef struct rocksdb_table
{
	table		base;
	char	   *directory;
	rocksdb_tuning tuning;
	read_section section;
	rocksdb_t  *database;		/* NULL: could not be opened */
	rocksdb_column_family_handle_t *spaces[TABLE_SPACES];
	bool		writable;
	engine_code failure;		/* of the last write that failed */
	rocksdb_reclaim reclaim;
	rocksdb_readoptions_t *reading;
	rocksdb_writeoptions_t *synced;
	rocksdb_writeoptions_t *unsynced;
	rocksdb_writebatch_t *batch;
	pthread_mutex_t snapshot_lock;
	table_snapshot snapshots;	/* list head */
} rocksdb_table;

struct table_iterator
{
	rocksdb_iterator_t *iterator;	/* NULL: an empty range */
	rocksdb_readoptions_t *reading;
	bytes		start;
	bytes		end;
	bool		reverse;
	bool		started;
};

/* META is first: RocksDB wants the default family. */
static const char *const space_names[TABLE_SPACES] = {
	"default", "data", "expiry", "idempotency", "index", "vector"
};

/* ---- Errors ---- */

static engine_code
code_of(const char *message)
{
	static const char *const full[] = {
		"No space left", "NoSpace", "Disk quota exceeded", "Space limit reached"
	};

	for (size_t i = 0; i < lengthof(full); i++)
	{
		if (strstr(message, full[i]) != NULL)
			return ENGINE_RESOURCE_EXHAUSTED;
	}
	return strstr(message, "Corruption") != NULL ? ENGINE_DATA_LOSS : ENGINE_UNAVAILABLE;
}

/* Takes RocksDB's message, which may be NULL: then all is well. */
static bool
succeeded(char *message, engine_status *status)
{
	if (message == NULL)
	{
		status_ok(status);
		return true;
	}
	status_set(status, code_of(message), "RocksDB: %s", message);
	rocksdb_free(message);
	return false;
}

/* ---- Opening and closing ---- */

static bool
open_database(rocksdb_table *self, bool writable, engine_status *status)
{
	const rocksdb_options_t *options[TABLE_SPACES];
	char	   *message = NULL;

	self->writable = false;
	if (writable && !rocksdb_files_prepare(self->directory, status))
		return false;
	for (int space = 0; space < TABLE_SPACES; space++)
		options[space] = self->tuning.spaces[space];
	self->writable = writable;
	if (writable)
		self->database = rocksdb_open_column_families(self->tuning.database,
													  self->directory,
													  TABLE_SPACES, space_names, options,
													  self->spaces, &message);
	else
		self->database =
			rocksdb_open_for_read_only_column_families(self->tuning.database,
													   self->directory, TABLE_SPACES,
													   space_names, options, self->spaces,
													   0, &message);
	if (succeeded(message, status))
		return true;
	self->database = NULL;
	self->writable = false;
	return false;
}

static void
lose_snapshots(rocksdb_table *self)
{
	pthread_mutex_lock(&self->snapshot_lock);
	for (table_snapshot *at = self->snapshots.next; at != &self->snapshots; at = at->next)
	{
		if (at->snapshot != NULL)
			rocksdb_release_snapshot(self->database, at->snapshot);
		at->snapshot = NULL;
	}
	pthread_mutex_unlock(&self->snapshot_lock);
}

static void
close_database(rocksdb_table *self)
{
	if (self->database == NULL)
		return;
	lose_snapshots(self);
	rocksdb_cancel_all_background_work(self->database, 1);
	rocksdb_reclaim_end(&self->reclaim);
	for (int space = 0; space < TABLE_SPACES; space++)
		rocksdb_column_family_handle_destroy(self->spaces[space]);
	rocksdb_close(self->database);
	self->database = NULL;
}

static bool
rocksdb_table_reclaim(table *base)
{
	rocksdb_table *self = (rocksdb_table *) base;

	return self->writable &&
		rocksdb_reclaim_start(&self->reclaim, self->directory, self->database,
							  self->spaces);
}

static bool
rocksdb_table_reclaimed(table *base)
{
	return atomic_load(&((rocksdb_table *) base)->reclaim.flushed);
}

static bool
rocksdb_table_reopen(table *base, engine_status *status)
{
	rocksdb_table *self = (rocksdb_table *) base;
	engine_status second;
	bool		good;

	rocksdb_writebatch_clear(self->batch);
	read_section_exclude(&self->section);
	close_database(self);
	good = open_database(self, true, status);
	/* What a failed sync has lost of a log can look as if it were there. */
	if (good && self->failure != ENGINE_RESOURCE_EXHAUSTED &&
		!rocksdb_files_supersede_logs(self->database, self->spaces, status))
	{
		close_database(self);
		good = false;
	}
	if (!good)
		open_database(self, false, &second);
	read_section_admit(&self->section);
	return good;
}

static void
rocksdb_table_close(table *base)
{
	rocksdb_table *self = (rocksdb_table *) base;

	close_database(self);
	rocksdb_tuning_free(&self->tuning);
	rocksdb_readoptions_destroy(self->reading);
	rocksdb_writeoptions_destroy(self->synced);
	rocksdb_writeoptions_destroy(self->unsynced);
	rocksdb_writebatch_destroy(self->batch);
	read_section_destroy(&self->section);
	pthread_mutex_destroy(&self->snapshot_lock);
	free(self->directory);
	free(self);
}

static bool
rocksdb_table_checkpoint(table *base, const char *directory, engine_status *status)
{
	rocksdb_table *self = (rocksdb_table *) base;
	rocksdb_checkpoint_t *checkpoint;
	char	   *message = NULL;

	if (self->database == NULL)
	{
		status_set(status, ENGINE_UNAVAILABLE, "the store could not be opened again");
		return false;
	}
	checkpoint = rocksdb_checkpoint_object_create(self->database, &message);
	if (message == NULL)
	{
		rocksdb_checkpoint_create(checkpoint, directory, 0, &message);
		rocksdb_checkpoint_object_destroy(checkpoint);
	}
	return succeeded(message, status);
}

/* ---- Reading ---- */

static bool
rocksdb_table_read_begin(table *base, engine_status *status)
{
	rocksdb_table *self = (rocksdb_table *) base;

	read_section_enter(&self->section);
	if (self->database != NULL)
	{
		status_ok(status);
		return true;
	}
	read_section_leave(&self->section);
	status_set(status, ENGINE_UNAVAILABLE,
			   "the store failed and could not be opened again; it is tried each second");
	return false;
}

static void
rocksdb_table_read_end(table *base)
{
	read_section_leave(&((rocksdb_table *) base)->section);
}

static void
set_value(table_value *value, rocksdb_pinnableslice_t *pinned)
{
	value->pin = pinned;
	value->found = pinned != NULL;
	value->bytes = slice_of(NULL, 0);
	if (pinned != NULL)
		value->bytes.data = rocksdb_pinnableslice_value(pinned, &value->bytes.size);
}

static bool
rocksdb_table_get(table *base, table_space space, engine_slice key, table_value *value,
				  engine_status *status)
{
	rocksdb_table *self = (rocksdb_table *) base;
	char	   *message = NULL;

	set_value(value, rocksdb_get_pinned_cf(self->database, self->reading,
										   self->spaces[space],
										   key.data, key.size, &message));
	return succeeded(message, status);
}

static void
rocksdb_table_release(table *base, table_value *values, size_t n_values)
{
	(void) base;
	for (size_t i = 0; i < n_values; i++)
	{
		if (values[i].pin != NULL)
			rocksdb_pinnableslice_destroy(values[i].pin);
		values[i].pin = NULL;
	}
}

static bool
get_some(rocksdb_table *self, table_space space, const engine_slice *keys, size_t n_keys,
		 table_value *values, engine_status *status)
{
	const char *data[KEYS_PER_READ] = {NULL};
	size_t		sizes[KEYS_PER_READ] = {0};
	rocksdb_pinnableslice_t *pinned[KEYS_PER_READ];
	char	   *messages[KEYS_PER_READ];
	bool		good = true;

	for (size_t i = 0; i < n_keys; i++)
	{
		data[i] = keys[i].data;
		sizes[i] = keys[i].size;
	}
	rocksdb_batched_multi_get_cf(self->database, self->reading, self->spaces[space],
								 n_keys,
								 data, sizes, pinned, messages, false);
	for (size_t i = 0; i < n_keys; i++)
	{
		set_value(&values[i], pinned[i]);
		if (messages[i] != NULL && good)
			good = succeeded(messages[i], status);
		else
			rocksdb_free(messages[i]);
	}
	return good;
}

/* On failure nothing is left to release. */
static bool
rocksdb_table_multi_get(table *base, table_space space, const engine_slice *keys,
						size_t n_keys, table_value *values, engine_status *status)
{
	rocksdb_table *self = (rocksdb_table *) base;
	size_t		done = 0;
	bool		good = true;

	if (n_keys == 1)
		return rocksdb_table_get(base, space, keys[0], values, status);
	status_ok(status);
	while (done < n_keys && good)
	{
		size_t		n = n_keys - done < KEYS_PER_READ ? n_keys - done : KEYS_PER_READ;

		good = get_some(self, space, keys + done, n, values + done, status);
		done += n;
	}
	if (!good)
		rocksdb_table_release(base, values, done);
	return good;
}

/* ---- Iterating ---- */

static table_iterator *
rocksdb_table_iterate(table *base, const table_range *range)
{
	rocksdb_table *self = (rocksdb_table *) base;
	table_iterator *made = engine_calloc(sizeof(*made));

	if (range->end.size > 0 && slice_compare(range->start, range->end) >= 0)
		return made;
	made->reverse = range->reverse;
	made->reading = rocksdb_readoptions_create();
	bytes_append(&made->start, range->start.data, range->start.size);
	bytes_append(&made->end, range->end.data, range->end.size);
	if (made->start.size > 0)
		rocksdb_readoptions_set_iterate_lower_bound(made->reading, made->start.data,
													made->start.size);
	if (made->end.size > 0)
		rocksdb_readoptions_set_iterate_upper_bound(made->reading, made->end.data,
													made->end.size);
	if (range->snapshot != NULL)
		rocksdb_readoptions_set_snapshot(made->reading, range->snapshot->snapshot);
	made->iterator = rocksdb_create_iterator_cf(self->database, made->reading,
												self->spaces[range->space]);
	return made;
}

static void
step(table_iterator *self)
{
	if (self->started && self->reverse)
		rocksdb_iter_prev(self->iterator);
	else if (self->started)
		rocksdb_iter_next(self->iterator);
	else if (self->reverse)
		rocksdb_iter_seek_to_last(self->iterator);
	else
		rocksdb_iter_seek_to_first(self->iterator);
	self->started = true;
}

static bool
rocksdb_table_next(table_iterator *self, engine_slice *key, engine_slice *value)
{
	if (self->iterator == NULL || (self->started && !rocksdb_iter_valid(self->iterator)))
		return false;
	step(self);
	if (!rocksdb_iter_valid(self->iterator))
		return false;
	key->data = rocksdb_iter_key(self->iterator, &key->size);
	value->data = rocksdb_iter_value(self->iterator, &value->size);
	return true;
}

static bool
rocksdb_table_iterate_end(table_iterator *self, engine_status *status)
{
	char	   *message = NULL;

	if (self->iterator != NULL)
	{
		rocksdb_iter_get_error(self->iterator, &message);
		rocksdb_iter_destroy(self->iterator);
		rocksdb_readoptions_destroy(self->reading);
	}
	bytes_free(&self->start);
	bytes_free(&self->end);
	free(self);
	return succeeded(message, status);
}

/* ---- Snapshots ---- */

static table_snapshot *
rocksdb_table_snapshot(table *base)
{
	rocksdb_table *self = (rocksdb_table *) base;
	table_snapshot *made = engine_malloc(sizeof(*made));

	made->snapshot = rocksdb_create_snapshot(self->database);
	pthread_mutex_lock(&self->snapshot_lock);
	made->previous = &self->snapshots;
	made->next = self->snapshots.next;
	made->next->previous = made;
	self->snapshots.next = made;
	pthread_mutex_unlock(&self->snapshot_lock);
	return made;
}

static bool
rocksdb_table_snapshot_valid(table *base, const table_snapshot *snapshot)
{
	(void) base;
	return snapshot->snapshot != NULL;
}

static void
rocksdb_table_snapshot_release(table *base, table_snapshot *snapshot)
{
	rocksdb_table *self = (rocksdb_table *) base;

	/* The section keeps the database, and so the snapshot, from going away. */
	read_section_enter(&self->section);
	pthread_mutex_lock(&self->snapshot_lock);
	snapshot->previous->next = snapshot->next;
	snapshot->next->previous = snapshot->previous;
	pthread_mutex_unlock(&self->snapshot_lock);
	if (snapshot->snapshot != NULL)
		rocksdb_release_snapshot(self->database, snapshot->snapshot);
	read_section_leave(&self->section);
	free(snapshot);
}

/* ---- Writing ---- */

static void
rocksdb_table_put(table *base, table_space space, engine_slice key, engine_slice head,
				  engine_slice tail)
{
	rocksdb_table *self = (rocksdb_table *) base;
	const char *values[] = {head.size > 0 ? head.data : "", tail.size > 0 ? tail.data
		: ""};
	size_t		sizes[] = {head.size, tail.size};

	if (!self->writable)
		return;
	rocksdb_writebatch_putv_cf(self->batch, self->spaces[space], 1, &key.data, &key.size,
							   lengthof(values), values, sizes);
}

static void
rocksdb_table_delete(table *base, table_space space, engine_slice key)
{
	rocksdb_table *self = (rocksdb_table *) base;

	if (self->writable)
		rocksdb_writebatch_delete_cf(self->batch, self->spaces[space], key.data,
									 key.size);
}

/* RocksDB wants an end: behind every key there can be. */
static void
rocksdb_table_delete_range(table *base, table_space space, engine_slice start,
						   engine_slice end)
{
	rocksdb_table *self = (rocksdb_table *) base;
	char		behind_all[2048];

	if (!self->writable)
		return;
	if (end.size == 0)
	{
		memset(behind_all, 0xff, sizeof(behind_all));
		end = slice_of(behind_all, sizeof(behind_all));
	}
	rocksdb_writebatch_delete_range_cf(self->batch, self->spaces[space],
									   start.size > 0 ? start.data : "", start.size,
									   end.data, end.size);
}

static bool
rocksdb_table_write(table *base, bool sync, engine_status *status)
{
	rocksdb_table *self = (rocksdb_table *) base;
	char	   *message = NULL;

	if (!self->writable)
	{
		status_set(status, ENGINE_UNAVAILABLE,
				   "the store could not be opened for writing");
		return false;
	}
	rocksdb_write(self->database, sync ? self->synced : self->unsynced, self->batch,
				  &message);
	rocksdb_writebatch_clear(self->batch);
	if (succeeded(message, status))
		return true;
	self->failure = status->code;
	return false;
}

static void
rocksdb_table_discard(table *base)
{
	rocksdb_writebatch_clear(((rocksdb_table *) base)->batch);
}

static const table_methods rocksdb_table_methods = {
	.read_begin = rocksdb_table_read_begin,
	.read_end = rocksdb_table_read_end,
	.get = rocksdb_table_get,
	.multi_get = rocksdb_table_multi_get,
	.release = rocksdb_table_release,
	.iterate = rocksdb_table_iterate,
	.next = rocksdb_table_next,
	.iterate_end = rocksdb_table_iterate_end,
	.snapshot = rocksdb_table_snapshot,
	.snapshot_valid = rocksdb_table_snapshot_valid,
	.snapshot_release = rocksdb_table_snapshot_release,
	.put = rocksdb_table_put,
	.delete = rocksdb_table_delete,
	.delete_range = rocksdb_table_delete_range,
	.write = rocksdb_table_write,
	.discard = rocksdb_table_discard,
	.reclaim = rocksdb_table_reclaim,
	.reclaimed = rocksdb_table_reclaimed,
	.reopen = rocksdb_table_reopen,
	.checkpoint = rocksdb_table_checkpoint,
	.close = rocksdb_table_close,
};

table *
table_rocksdb_open(const table_rocksdb_options *options, engine_status *status)
{
	rocksdb_table *self = engine_calloc(sizeof(*self));

	self->base.methods = &rocksdb_table_methods;
	self->directory = engine_strdup(options->directory);
	rocksdb_tuning_init(&self->tuning, options);
	read_section_init(&self->section);
	pthread_mutex_init(&self->snapshot_lock, NULL);
	self->snapshots.next = &self->snapshots;
	self->snapshots.previous = &self->snapshots;
	self->reading = rocksdb_readoptions_create();
	self->synced = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(self->synced, 1);
	self->unsynced = rocksdb_writeoptions_create();
	self->batch = rocksdb_writebatch_create();
	if (open_database(self, true, status))
		return &self->base;
	rocksdb_table_close(&self->base);
	return NULL;
}
