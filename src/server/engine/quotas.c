/*
 * quotas.c - the set of quotas, in the order of their prefixes; their records; counting.
 *
 * A record is named QUOTA_RECORDS and the prefix, in TABLE_META: format (1 byte),
 * whether it is being counted (1), limits (8, 8), keys (8), bytes (8). What a record of
 * the first format has counted is without vectors.
 */
#include "quotas.h"

#include <pthread.h>
#include <stdlib.h>

#include "entry.h"
#include "quota_count.h"
#include "unit.h"

#define QUOTA_RECORDS "quota/"
#define QUOTA_RECORDS_END "quota0"
#define RECORD_FORMAT 2
#define RECORD_FORMAT_OF_KEYS 1
#define RECORD_SIZE 34
#define ITEMS_PER_STEP 1000

struct quotas
{
	table	   *in;
	/* Of what quotas_usage() reads: all but the members for a unit and a batch. */
	pthread_mutex_t lock;
	quota	  **sorted;
	size_t		n;
	size_t		size;
	size_t		n_counting;
	quota	   *changed;		/* a list */
};

static void
mark_changed(quotas *self, quota *of)
{
	if (of->changed)
		return;
	of->changed = true;
	of->next_changed = self->changed;
	self->changed = of;
}

quotas *
quotas_new(table *in)
{
	quotas	   *self = engine_calloc(sizeof(*self));

	self->in = in;
	pthread_mutex_init(&self->lock, NULL);
	return self;
}

static void
free_quota(quota *old)
{
	bytes_free(&old->position_space);
	bytes_free(&old->position_key);
	free(old);
}

static void
clear(quotas *self)
{
	for (size_t i = 0; i < self->n; i++)
		free_quota(self->sorted[i]);
	self->n = 0;
	self->n_counting = 0;
	self->changed = NULL;
}

void
quotas_free(quotas *self)
{
	if (self == NULL)
		return;
	clear(self);
	free(self->sorted);
	pthread_mutex_destroy(&self->lock);
	free(self);
}

/* ---- The set ---- */

/* How many prefixes are not greater than the key. */
static size_t
count_up_to(const quotas *self, engine_slice key)
{
	size_t		low = 0;
	size_t		high = self->n;

	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;

		if (slice_compare(self->sorted[middle]->prefix, key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool
quotas_exist(const quotas *self)
{
	return self->n > 0;
}

/*
 * All between a prefix of the key and the key begin with that prefix. So the last one
 * not greater than the key is it, or has it for a parent.
 */
quota *
quotas_find(const quotas *self, engine_slice key)
{
	size_t		at = self->n == 0 ? 0 : count_up_to(self, key);
	quota	   *found = at == 0 ? NULL : self->sorted[at - 1];

	while (found != NULL && !slice_begins_with(key, found->prefix))
		found = found->parent;
	return found;
}

static quota *
find_exactly(const quotas *self, engine_slice prefix)
{
	size_t		at = count_up_to(self, prefix);

	if (at > 0 && slice_equal(self->sorted[at - 1]->prefix, prefix))
		return self->sorted[at - 1];
	return NULL;
}

bool
quotas_has(const quotas *self, engine_slice prefix)
{
	return find_exactly(self, prefix) != NULL;
}

bool
quotas_are_full(const quotas *self)
{
	return self->n >= QUOTAS_MAX;
}

static void
find_parents(quotas *self)
{
	for (size_t i = 0; i < self->n; i++)
	{
		quota	   *parent = i == 0 ? NULL : self->sorted[i - 1];

		while (parent != NULL &&
			   !slice_begins_with(self->sorted[i]->prefix, parent->prefix))
			parent = parent->parent;
		self->sorted[i]->parent = parent;
	}
}

/* Without its parents, which are found when all are there. */
static quota *
insert(quotas *self, engine_slice prefix)
{
	size_t		at = count_up_to(self, prefix);
	quota	   *added = engine_calloc(sizeof(*added) + prefix.size);

	if (prefix.size > 0)
		memcpy(added + 1, prefix.data, prefix.size);
	added->prefix = slice_of(added + 1, prefix.size);
	if (self->n == self->size)
	{
		self->size = self->size * 2 + 16;
		self->sorted = engine_realloc(self->sorted, self->size * sizeof(quota *));
	}
	memmove(&self->sorted[at + 1], &self->sorted[at], (self->n - at) * sizeof(quota *));
	self->sorted[at] = added;
	self->n++;
	return added;
}

/* ---- Records ---- */

static engine_slice
record_name(engine_slice prefix, char buffer[sizeof(QUOTA_RECORDS) + UNIT_MAX_KEY])
{
	size_t		size = strlen(QUOTA_RECORDS);

	memcpy(buffer, QUOTA_RECORDS, size);
	if (prefix.size > 0)
		memcpy(buffer + size, prefix.data, prefix.size);
	return slice_of(buffer, size + prefix.size);
}

static void
put_record(quotas *self, const quota *of)
{
	char		name[sizeof(QUOTA_RECORDS) + UNIT_MAX_KEY];
	char		record[RECORD_SIZE] = {RECORD_FORMAT, of->counting};

	store_u64(record + 2, of->limit.max_keys);
	store_u64(record + 10, of->limit.max_bytes);
	store_u64(record + 18, (uint64_t) of->used.keys);
	store_u64(record + 26, (uint64_t) of->used.bytes);
	self->in->methods->put(self->in, TABLE_META, record_name(of->prefix, name),
						   slice_of(record, sizeof(record)), slice_of(NULL, 0));
}

static void
start_counting(quotas *self, quota *of)
{
	of->used = of->written = (quota_count) {0, 0};
	of->counting = of->recounting = true;
	quota_count_from_start(of);
	self->n_counting++;
}

static bool
load_record(quotas *self, engine_slice name, engine_slice record, bool recount)
{
	size_t		skipped = strlen(QUOTA_RECORDS);
	quota	   *added;

	if (record.size != RECORD_SIZE ||
		(record.data[0] != RECORD_FORMAT && record.data[0] != RECORD_FORMAT_OF_KEYS))
		return false;
	added = insert(self, slice_of(name.data + skipped, name.size - skipped));
	added->limit.max_keys = load_u64(record.data + 2);
	added->limit.max_bytes = load_u64(record.data + 10);
	added->used.keys = (int64_t) load_u64(record.data + 18);
	added->used.bytes = (int64_t) load_u64(record.data + 26);
	added->written = added->used;
	if (recount || record.data[1] != 0 || record.data[0] == RECORD_FORMAT_OF_KEYS)
		start_counting(self, added);
	if (recount)
		mark_changed(self, added);
	return true;
}

bool
quotas_load(quotas *self, bool recount, engine_status *status)
{
	const table_methods *methods = self->in->methods;
	table_range range = {
		.space = TABLE_META,
		.start = slice_of(QUOTA_RECORDS, strlen(QUOTA_RECORDS)),
		.end = slice_of(QUOTA_RECORDS_END, strlen(QUOTA_RECORDS_END)),
	};
	table_iterator *iterator;
	engine_slice name;
	engine_slice record;
	bool		good = true;

	if (!methods->read_begin(self->in, status))
		return false;
	pthread_mutex_lock(&self->lock);
	clear(self);
	iterator = methods->iterate(self->in, &range);
	while (good && methods->next(iterator, &name, &record))
		good = load_record(self, name, record, recount);
	find_parents(self);
	pthread_mutex_unlock(&self->lock);
	if (!methods->iterate_end(iterator, status))
		good = false;
	else if (!good)
		status_set(status, ENGINE_DATA_LOSS, "the record of a quota is damaged");
	methods->read_end(self->in);
	if (good && recount)
		quotas_put(self);
	return good;
}

/* ---- Counting ---- */

void
quotas_count(quotas *self, quota *of, quota_count more)
{
	of->used.keys += more.keys;
	of->used.bytes += more.bytes;
	mark_changed(self, of);
}

void
quotas_count_gone(quotas *self, engine_slice key, size_t value_size)
{
	quota_item	gone = {.key = key, .value_size = value_size};
	quota_count less = {-1, -quota_item_bytes(&gone)};

	for (quota *of = quotas_find(self, key); of != NULL; of = of->parent)
	{
		if (quota_counts(of, &gone))
			quotas_count(self, of, less);
	}
}

/* One step further, within a section of the table. */
static bool
count_some(quotas *self, quota *of)
{
	if (!quota_count_step(self->in, of, ITEMS_PER_STEP))
		return false;			/* from the same place, another time */
	mark_changed(self, of);
	if (!of->counting)
		self->n_counting--;
	return true;
}

bool
quotas_step(quotas *self, bool *changed)
{
	engine_status status;

	*changed = false;
	if (self->n_counting == 0 || !self->in->methods->read_begin(self->in, &status))
		return false;
	for (size_t i = 0; i < self->n && !*changed; i++)
	{
		if (!self->sorted[i]->counting)
			continue;
		if (!count_some(self, self->sorted[i]))
			break;
		*changed = true;
	}
	self->in->methods->read_end(self->in);
	if (*changed)
		quotas_put(self);
	return *changed && self->n_counting > 0;
}

/* ---- Changes, within a batch ---- */

/* A small prefix is counted at once. */
void
quotas_set(quotas *self, engine_slice prefix, const engine_quota *limit)
{
	quota	   *of = find_exactly(self, prefix);

	pthread_mutex_lock(&self->lock);
	if (of == NULL)
	{
		of = insert(self, prefix);
		find_parents(self);
		start_counting(self, of);
		count_some(self, of);
	}
	of->limit = *limit;
	mark_changed(self, of);
	pthread_mutex_unlock(&self->lock);
}

void
quotas_remove(quotas *self, engine_slice prefix)
{
	char		name[sizeof(QUOTA_RECORDS) + UNIT_MAX_KEY];
	quota	   *of = find_exactly(self, prefix);
	size_t		at = count_up_to(self, prefix);

	if (of == NULL)
		return;
	self->in->methods->delete(self->in, TABLE_META, record_name(prefix, name));
	pthread_mutex_lock(&self->lock);
	if (of->counting)
		self->n_counting--;
	memmove(&self->sorted[at - 1], &self->sorted[at], (self->n - at) * sizeof(quota *));
	self->n--;
	find_parents(self);
	free_quota(of);
	pthread_mutex_unlock(&self->lock);
}

void
quotas_put(quotas *self)
{
	for (quota *of = self->changed; of != NULL; of = of->next_changed)
		put_record(self, of);
}

void
quotas_written(quotas *self)
{
	if (self->changed == NULL)
		return;
	pthread_mutex_lock(&self->lock);
	for (; self->changed != NULL; self->changed = self->changed->next_changed)
	{
		self->changed->written = self->changed->used;
		self->changed->recounting = self->changed->counting;
		self->changed->changed = false;
	}
	pthread_mutex_unlock(&self->lock);
}

void
quotas_discard(quotas *self)
{
	for (; self->changed != NULL; self->changed = self->changed->next_changed)
	{
		self->changed->used = self->changed->written;
		self->changed->changed = false;
	}
}

bool
quotas_usage(quotas *self, engine_slice prefix, engine_usage *usage)
{
	const quota *of;

	pthread_mutex_lock(&self->lock);
	of = find_exactly(self, prefix);
	if (of != NULL)
		*usage = (engine_usage) {
			.keys = (uint64_t) of->written.keys,
			.bytes = (uint64_t) of->written.bytes,
			.quota = of->limit,
			.recounting = of->recounting,
		};
	pthread_mutex_unlock(&self->lock);
	return of != NULL;
}
