/*
 * sweep.c - walks the expiry index, and round and round the remembered answers.
 */
#include "sweep.h"

#include <stdlib.h>

#include "idempotency.h"

#define KEYS_PER_STEP 1000
#define RECORDS_PER_STEP 2000

void
sweep_init(sweep *self, table *of, idempotency_count *count, slot_cache *slots,
		   quotas *limits)
{
	*self = (sweep) {.table = of, .count = count, .slots = slots, .quotas = limits};
	arena_init(&self->memory);
	self->expired = engine_malloc(KEYS_PER_STEP * sizeof(*self->expired));
}

void
sweep_free(sweep *self)
{
	bytes_free(&self->position);
	arena_free(&self->memory);
	free(self->expired);
}

/*
 * The key goes only if it still expires at the instant the index has. False:
 * it could not be read.
 */
static bool
sweep_key(sweep *self, engine_slice key, uint64_t expires_at_ms)
{
	const table_methods *methods = self->table->methods;
	table_value value;
	engine_status status;
	entry		found;

	if (!methods->get(self->table, TABLE_DATA, key, &value, &status))
		return false;
	if (value.found && entry_decode(value.bytes, &found) &&
		found.expires_at_ms == expires_at_ms)
	{
		methods->delete(self->table, TABLE_DATA, key);
		quotas_count_gone(self->quotas, key, found.value.size);
		self->expired[self->n_expired++] = arena_copy(&self->memory, key);
	}
	methods->release(self->table, &value, 1);
	return true;
}

bool
sweep_is_due(const sweep *self, uint64_t now_ms)
{
	const table_methods *methods = self->table->methods;
	char		end[8];
	table_range range = {.space = TABLE_EXPIRY, .end = {end, sizeof(end)}};
	table_iterator *iterator;
	engine_slice indexed;
	engine_slice nothing;
	engine_status status;
	bool		due;

	store_u64(end, now_ms + 1);
	if (!methods->read_begin(self->table, &status))
		return false;
	iterator = methods->iterate(self->table, &range);
	due = methods->next(iterator, &indexed, &nothing);
	methods->iterate_end(iterator, &status);
	methods->read_end(self->table);
	return due;
}

bool
sweep_keys(sweep *self, uint64_t now_ms, bool *changed)
{
	const table_methods *methods = self->table->methods;
	char		end[8];
	table_range range = {.space = TABLE_EXPIRY, .end = {end, sizeof(end)}};
	table_iterator *iterator;
	engine_slice indexed;
	engine_slice nothing;
	engine_status status;
	size_t		n = 0;

	*changed = false;
	arena_reset(&self->memory);
	self->n_expired = 0;
	store_u64(end, now_ms + 1);
	if (!methods->read_begin(self->table, &status))
		return false;
	iterator = methods->iterate(self->table, &range);
	while (n < KEYS_PER_STEP && methods->next(iterator, &indexed, &nothing))
	{
		engine_slice key = slice_of(indexed.data + 8, indexed.size - 8);

		if (!sweep_key(self, key, load_u64(indexed.data)))
			break;
		methods->delete(self->table, TABLE_EXPIRY, indexed);
		n++;
	}
	methods->iterate_end(iterator, &status);
	methods->read_end(self->table);
	*changed = n > 0;
	return n == KEYS_PER_STEP;
}

void
sweep_publish(const sweep *self, engine_version version, feed *to)
{
	feed_begin(to);
	for (size_t i = 0; i < self->n_expired; i++)
	{
		engine_change change = {.kind = ENGINE_CHANGE_EXPIRED, .version = version,
			.key = self->expired[i]};

		feed_add(to, &change);
	}
	feed_publish(to, version);
}

bool
sweep_records(sweep *self, uint64_t now_ms, bool *changed)
{
	const table_methods *methods = self->table->methods;
	table_range range = {.space = TABLE_IDEMPOTENCY,
		.start = bytes_slice(&self->position)};
	table_iterator *iterator;
	engine_slice key;
	engine_slice record;
	engine_status status;
	bytes		next = {0};
	size_t		n = 0;

	*changed = false;
	if (!methods->read_begin(self->table, &status))
		return false;
	iterator = methods->iterate(self->table, &range);
	while (methods->next(iterator, &key, &record))
	{
		if (n++ == RECORDS_PER_STEP)
		{
			bytes_append(&next, key.data, key.size);
			break;
		}
		if (!idempotency_expired(record, now_ms))
			continue;
		methods->delete(self->table, TABLE_IDEMPOTENCY, key);
		slot_cache_remove(self->slots, key);
		*(idempotency_is_slot(key) ? &self->count->slots : &self->count->records) -= 1;
		*changed = true;
	}
	methods->iterate_end(iterator, &status);
	methods->read_end(self->table);
	bytes_free(&self->position);
	self->position = next;
	return next.size > 0;
}

bool
sweep_count_records(sweep *self, engine_status *status)
{
	const table_methods *methods = self->table->methods;
	table_range range = {.space = TABLE_IDEMPOTENCY};
	table_iterator *iterator;
	engine_slice key;
	engine_slice record;
	bool		good;

	if (!methods->read_begin(self->table, status))
		return false;
	self->count->slots = 0;
	self->count->records = 0;
	self->position.size = 0;
	iterator = methods->iterate(self->table, &range);
	while (methods->next(iterator, &key, &record))
		*(idempotency_is_slot(key) ? &self->count->slots : &self->count->records) += 1;
	good = methods->iterate_end(iterator, status);
	methods->read_end(self->table);
	return good;
}
