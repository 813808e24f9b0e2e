/*
 * local.c - opens and closes an engine in this process.
 */
#include "local.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "entry.h"
#include "meta.h"
#include "reserve.h"
#include "unit.h"

/* Of the memory, for changes that can still be told: 100,000 of them in 256 MiB. */
#define HISTORY_SHARE 32

static void
log_nowhere(engine_log_level level, const char *format, ...)
{
	(void) level;
	(void) format;
}

/* ---- Methods ---- */

static void
local_info(engine *base, engine_info *info)
{
	local_engine *self = (local_engine *) base;

	*info = (engine_info) {
		.name = self->name,
		.durable = self->directory != NULL && self->sync,
		.transactions = true,
		.scan = true,
		.add = true,
		.watch = true,
		.quotas = true,
		.vectors = true,
		.max_ops = UNIT_MAX_OPS,
		.max_conditions = UNIT_MAX_OPS,
		.max_bytes = UNIT_MAX_BYTES,
		.expiry_granularity_ms = 1,
		.store_time_ms = store_time_now_ms(&self->time),
		.latest = feed_latest(self->feed),
	};
	memcpy(info->store_id, self->store_id, sizeof(info->store_id));
}

static void
local_commit(engine *base, engine_unit *unit)
{
	local_engine *self = (local_engine *) base;
	engine_outcome refusal = {0};

	if (unit_check(unit, &refusal))
		committer_submit(self->committer, unit);
	else
		unit->done(unit->arg, &refusal);
}

static engine_watch *
local_watch_open(engine *base, const engine_watch_request *request,
				 engine_status *status)
{
	return feed_watch(((local_engine *) base)->feed, request, status);
}

static void
local_usage(engine *base, engine_slice prefix, engine_usage_done done, void *arg)
{
	local_engine *self = (local_engine *) base;
	engine_usage usage;
	engine_status status;
	char		shown[SLICE_SHOWN];

	status_ok(&status);
	if (quotas_usage(self->quotas, prefix, &usage))
	{
		done(arg, &status, &usage);
		return;
	}
	status_set(&status, ENGINE_NOT_FOUND, "the prefix \"%s\" has no quota",
			   slice_show(prefix, shown, sizeof(shown)));
	done(arg, &status, NULL);
}

static void
local_list_indexes(engine *base, engine_slice prefix, engine_indexes_done done, void *arg)
{
	vectors_list(((local_engine *) base)->vectors, prefix, done, arg);
}

static void
local_get_vectors(engine *base, engine_slice space, const engine_slice *ids,
				  size_t n_ids, engine_consistency consistency, engine_vectors_done done,
				  void *arg)
{
	/* The newest state is at hand, whatever is asked for. */
	(void) consistency;
	vectors_get(((local_engine *) base)->vectors, space, ids, n_ids, done, arg);
}

static void
local_search(engine *base, const engine_search *search, engine_search_done done,
			 void *arg)
{
	vectors_search(((local_engine *) base)->vectors, search, done, arg);
}

static void
local_close(engine *base)
{
	local_engine *self = (local_engine *) base;
	bool		at_rest = false;

	if (self->committer != NULL)
		at_rest = committer_stop(self->committer);
	feed_free(self->feed);
	quotas_free(self->quotas);
	if (self->vectors != NULL)
		vectors_close(self->vectors, at_rest);
	if (self->table != NULL)
		self->table->methods->close(self->table);
	if (self->directory != NULL)
	{
		if (at_rest)
			directory_mark_clean(self->directory);
		directory_close(self->directory);
	}
	free(self);
}

static const engine_methods local_methods = {
	.info = local_info,
	.get = local_get,
	.commit = local_commit,
	.scan_open = local_scan_open,
	.scan_page = local_scan_page,
	.scan_close = local_scan_close,
	.watch_open = local_watch_open,
	.watch_next = feed_next,
	.watch_cancel = feed_cancel,
	.watch_close = feed_close,
	.usage = local_usage,
	.list_indexes = local_list_indexes,
	.get_vectors = local_get_vectors,
	.search = local_search,
	.close = local_close,
};

/* ---- Opening ---- */

static bool
open_table(local_engine *self, const engine_options *options, engine_status *status)
{
	table_rocksdb_options rocksdb = {
		.max_memory = options->max_memory,
		.log = self->log,
	};

	if (self->directory == NULL)
		self->table = table_memory_open();
	else
	{
		rocksdb.directory = directory_database(self->directory);
		self->table = table_rocksdb_open(&rocksdb, status);
	}
	return self->table != NULL;
}

/* Term and time, on disk before anything rests on them. */
static bool
start_counting(local_engine *self, const engine_options *options, engine_version *last,
			   engine_status *status)
{
	bool		raise = self->directory != NULL &&
		directory_needs_new_term(self->directory);
	uint64_t	packed;
	store_time_mark mark;
	bool		extend;

	if (!meta_get(self->table, META_LAST_VERSION, &packed, status) ||
		!meta_get_time(self->table, &mark, status))
		return false;
	*last = packed != 0 ? version_unpack(packed) : (engine_version) {1, 0};
	if (raise && packed != 0)
		last->term++;
	if (last->term > ENTRY_MAX_TERM)
	{
		status_set(status, ENGINE_RESOURCE_EXHAUSTED,
				   "the store's term cannot rise above %d: copy its keys to a new one",
				   ENTRY_MAX_TERM);
		return false;
	}
	store_time_start(&self->time, options->clock, &mark);
	extend = store_time_next_bound(&self->time, &mark);
	meta_put(self->table, META_LAST_VERSION, version_pack(*last));
	if (extend)
		meta_put_time(self->table, &mark);
	if (!self->table->methods->write(self->table, true, status))
		return false;
	if (extend)
		store_time_set_bound(&self->time, mark.bound_ms);
	return true;
}

/* Opening writes what the log has to its files: a full disk has a reserve for it. */
static bool
open_and_count(local_engine *self, const engine_options *options, engine_version *last,
			   engine_status *status)
{
	for (;;)
	{
		if (open_table(self, options, status) &&
			start_counting(self, options, last, status))
			return true;
		if (self->directory == NULL || status->code != ENGINE_RESOURCE_EXHAUSTED ||
			!reserve_release(directory_descriptor(self->directory)))
			return false;
		if (self->table != NULL)
			self->table->methods->close(self->table);
		self->table = NULL;
	}
}

/*
 * Where acknowledged writes may be gone, what was flushed of one space may be newer
 * than what is there of another: the quotas are counted anew, and that is on disk
 * before the doubt is forgotten.
 */
static bool
open_quotas(local_engine *self, engine_status *status)
{
	bool		in_doubt = self->directory != NULL &&
		directory_needs_new_term(self->directory);

	self->quotas = quotas_new(self->table);
	if (!quotas_load(self->quotas, in_doubt, status))
		return false;
	return !in_doubt || self->table->methods->write(self->table, true, status);
}

static bool
open_vectors(local_engine *self, const engine_options *options, engine_version last,
			 engine_status *status)
{
	vectors_options of_vectors = {
		.table = self->table,
		.max_memory = options->max_vector_memory,
		.last = last,
		.log = self->log,
	};

	if (self->directory != NULL)
		of_vectors.directory = directory_vectors(self->directory);
	self->vectors = vectors_open(&of_vectors, status);
	return self->vectors != NULL;
}

static bool
start(local_engine *self, const engine_options *options, engine_status *status)
{
	committer_options committing = {
		.time = &self->time,
		.directory = self->directory,
		.sync = options->sync,
		.max_idempotency = options->max_idempotency,
		.max_memory = options->max_memory,
		.log = self->log,
	};

	if (!open_and_count(self, options, &committing.last, status) ||
		!open_quotas(self, status))
		return false;
	if (self->directory != NULL && !directory_settle(self->directory, status))
		return false;
	self->feed = feed_new(options->max_memory / HISTORY_SHARE, committing.last);
	committing.feed = self->feed;
	committing.quotas = self->quotas;
	if (!open_vectors(self, options, committing.last, status))
		return false;
	committing.table = self->table;
	committing.vectors = self->vectors;
	self->committer = committer_start(&committing, status);
	return self->committer != NULL;
}

engine *
engine_open(const char *name, const engine_options *options, engine_status *status)
{
	bool		on_disk = strcmp(name, "rocksdb") == 0;
	local_engine *self;

	if (!on_disk && strcmp(name, "memory") != 0)
	{
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "unknown engine \"%s\": there are rocksdb and memory", name);
		return NULL;
	}
	self = engine_calloc(sizeof(*self));
	self->base.methods = &local_methods;
	self->name = on_disk ? "rocksdb" : "memory";
	self->sync = options->sync;
	self->log = options->log != NULL ? options->log : log_nowhere;
	random_uuid(self->store_id);
	if (on_disk)
	{
		self->directory = directory_open(options, self->log, status);
		if (self->directory == NULL)
		{
			free(self);
			return NULL;
		}
		snprintf(self->store_id, sizeof(self->store_id), "%s",
				 directory_store_id(self->directory));
	}
	if (start(self, options, status))
		return &self->base;
	local_close(&self->base);
	return NULL;
}
