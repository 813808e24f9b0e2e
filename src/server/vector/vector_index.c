/*
 * vector_index.c - an index: its options, its changes, its figures.
 */
#include "vector_local.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_M 16
#define DEFAULT_EF_CONSTRUCTION 200
#define DEFAULT_EF 100
#define LARGEST_EF_CONSTRUCTION 10000

vector_code
vector_fail(vector_status *status, vector_code code, const char *format, ...)
{
	va_list		args;

	if (status)
	{
		status->code = code;
		va_start(args, format);
		vsnprintf(status->text, sizeof(status->text), format, args);
		va_end(args);
	}
	return code;
}

bool
vector_check_options(const vector_index_options *options, vector_status *status)
{
	if (options->metric < VECTOR_EUCLIDEAN || options->metric > VECTOR_INNER_PRODUCT)
		vector_fail(status, VECTOR_INVALID, "unknown distance %d", (int) options->metric);
	else if (options->type != VECTOR_BRUTE_FORCE && options->type != VECTOR_HNSW)
		vector_fail(status, VECTOR_INVALID, "unknown index type %d", (int) options->type);
	else if (options->dimensions == 0 || options->dimensions > VECTOR_MAX_DIMENSIONS)
		vector_fail(status, VECTOR_INVALID, "%u dimensions, must be 1 to %d",
					options->dimensions, VECTOR_MAX_DIMENSIONS);
	else if (options->m == 1 || options->m > VECTOR_MAX_M)
		vector_fail(status, VECTOR_INVALID, "m is %u, must be 2 to %d", options->m,
					VECTOR_MAX_M);
	else if (options->ef_construction > LARGEST_EF_CONSTRUCTION)
		vector_fail(status, VECTOR_INVALID, "ef_construction is %u, must be at most %d",
					options->ef_construction, LARGEST_EF_CONSTRUCTION);
	else
		return true;
	return false;
}

static vector_index_options
with_defaults(const vector_index_options *options)
{
	vector_index_options filled = *options;

	if (filled.max_unlinked == 0)
		filled.max_unlinked = VECTOR_EXACT_BELOW;
	if (filled.m == 0)
		filled.m = DEFAULT_M;
	if (filled.ef_construction == 0)
		filled.ef_construction = DEFAULT_EF_CONSTRUCTION;
	if (filled.ef == 0)
		filled.ef = DEFAULT_EF;
	return filled;
}

vector_index *
vector_index_of_rows(vector_rows *rows, const vector_index_options *options)
{
	vector_index *index = calloc(1, sizeof(*index));

	if (index == NULL)
		return NULL;
	index->options = *options;
	atomic_init(&index->max_unlinked, options->max_unlinked);
	pthread_mutex_init(&index->writer, NULL);
	pthread_mutex_init(&index->pinning, NULL);
	pthread_mutex_init(&index->rebuild, NULL);
	pthread_mutex_init(&index->saving, NULL);
	index->current = rows;
	vector_background_init(index);
	return index;
}

vector_rows *
vector_rows_for(const vector_index_options *options, vector_index_options *filled,
				vector_status *status)
{
	vector_rows *rows;

	if (!vector_check_options(options, status))
		return NULL;
	*filled = with_defaults(options);
	rows = vector_rows_create(filled);
	if (rows == NULL)
		vector_fail(status, VECTOR_NO_MEMORY, "out of memory");
	return rows;
}

vector_index *
vector_index_create(const vector_index_options *options, vector_status *status)
{
	vector_index_options filled;
	vector_rows *rows = vector_rows_for(options, &filled, status);
	vector_index *index;

	if (rows == NULL)
		return NULL;
	index = vector_index_of_rows(rows, &filled);
	if (index == NULL)
	{
		vector_rows_release(rows);
		vector_fail(status, VECTOR_NO_MEMORY, "out of memory");
		return NULL;
	}
	if (status)
		status->code = VECTOR_OK;
	return index;
}

void
vector_index_destroy(vector_index *index)
{
	if (index == NULL)
		return;
	vector_background_stop(index);
	vector_rows_release(index->current);
	pthread_mutex_destroy(&index->writer);
	pthread_mutex_destroy(&index->pinning);
	pthread_mutex_destroy(&index->rebuild);
	pthread_mutex_destroy(&index->saving);
	free(index);
}

const vector_index_options *
vector_index_options_of(const vector_index *index)
{
	return &index->options;
}

void
vector_index_set_max_unlinked(vector_index *index, uint32_t max_unlinked)
{
	atomic_store(&index->max_unlinked, max_unlinked ? max_unlinked : VECTOR_EXACT_BELOW);
}

/* ---- Changes ---- */

vector_code
vector_index_reserve(vector_index *index, size_t puts, size_t id_bytes)
{
	bool		reserved;

	pthread_mutex_lock(&index->writer);
	reserved = vector_rows_reserve(index->current, puts, id_bytes);
	if (reserved)
	{
		index->reserved_puts = puts;
		index->reserved_id_bytes = id_bytes;
	}
	pthread_mutex_unlock(&index->writer);
	return reserved ? VECTOR_OK : VECTOR_NO_MEMORY;
}

uint64_t
vector_index_bytes_needed(vector_index *index, size_t puts, size_t id_bytes)
{
	uint64_t	bytes;

	pthread_mutex_lock(&index->writer);
	bytes = vector_rows_bytes_needed(index->current, puts, id_bytes);
	pthread_mutex_unlock(&index->writer);
	return bytes;
}

static void
use_reserved(vector_index *index, size_t id_size)
{
	if (index->reserved_puts > 0)
		index->reserved_puts--;
	index->reserved_id_bytes -= id_size < index->reserved_id_bytes ? id_size :
		index->reserved_id_bytes;
}

vector_code
vector_index_put(vector_index *index, const char *id, size_t id_size,
				 vector_version version, const float *values, bool *replaced)
{
	const vector_index_options *options = &index->options;
	uint32_t	before;
	bool		reserved;

	if (id_size > VECTOR_MAX_ID_SIZE)
		return VECTOR_INVALID;
	if (vector_check(options->metric, options->dimensions, values, options->dimensions,
					 NULL) != VECTOR_OK)
		return VECTOR_INVALID;
	pthread_mutex_lock(&index->writer);
	reserved = vector_rows_reserve(index->current, 1, id_size);
	if (reserved)
	{
		before = atomic_load(&index->current->n_live);
		vector_rows_append(index->current, id, id_size, version, values);
		if (replaced)
			*replaced = atomic_load(&index->current->n_live) == before;
		use_reserved(index, id_size);
		index->changes++;
		vector_background_wake(index);
	}
	pthread_mutex_unlock(&index->writer);
	if (!reserved)
		return VECTOR_NO_MEMORY;
	vector_background_help(index);
	return VECTOR_OK;
}

bool
vector_index_delete(vector_index *index, const char *id, size_t id_size)
{
	uint32_t	slot;

	pthread_mutex_lock(&index->writer);
	slot = vector_rows_find(index->current, id, id_size);
	if (slot != VECTOR_NO_SLOT)
	{
		vector_rows_kill(index->current, slot);
		index->changes++;
		vector_background_wake(index);
	}
	pthread_mutex_unlock(&index->writer);
	if (slot == VECTOR_NO_SLOT)
		return false;
	vector_background_help(index);
	return true;
}

/* ---- Reads ---- */

bool
vector_index_get(vector_index *index, const char *id, size_t id_size,
				 vector_version *version, float *values)
{
	vector_rows *rows = vector_index_pin(index);
	uint32_t	slot;

	pthread_rwlock_rdlock(&rows->table);
	pthread_rwlock_rdlock(&rows->shape);
	slot = vector_rows_find(rows, id, id_size);
	if (slot != VECTOR_NO_SLOT)
	{
		if (version)
			*version = rows->slots[slot].version;
		if (values)
			memcpy(values, vector_row(rows, slot),
				   rows->options.dimensions * sizeof(float));
	}
	pthread_rwlock_unlock(&rows->shape);
	pthread_rwlock_unlock(&rows->table);
	vector_rows_release(rows);
	return slot != VECTOR_NO_SLOT;
}

void
vector_index_stats_of(vector_index *index, vector_index_stats *stats)
{
	vector_rows *rows = vector_index_pin(index);
	uint32_t	n_rows;
	uint32_t	n_linked = atomic_load(&rows->n_linked);

	memset(stats, 0, sizeof(*stats));
	pthread_rwlock_rdlock(&rows->table);
	n_rows = atomic_load(&rows->n_rows);
	stats->count = atomic_load(&rows->n_live);
	pthread_rwlock_unlock(&rows->table);
	stats->dead = n_rows - stats->count;
	if (rows->options.type == VECTOR_HNSW && n_rows > n_linked)
		stats->unlinked = n_rows - n_linked;
	stats->bytes = sizeof(*index) + vector_rows_bytes(rows);
	vector_rows_release(rows);

	pthread_mutex_lock(&index->pinning);
	rows = index->next;
	if (rows)
		atomic_fetch_add(&rows->references, 1);
	pthread_mutex_unlock(&index->pinning);
	if (rows)
		stats->bytes += vector_rows_bytes(rows);
	vector_rows_release(rows);
	stats->rebuilds = atomic_load(&index->rebuilds);
	stats->rebuilding = atomic_load(&index->rebuilding);
}
