/*
 * read.c - gets: straight from the table, in the caller's thread, without copying.
 */
#include <stdlib.h>

#include "local.h"
#include "entry.h"

/* More keys than this are read in several strokes. */
#define KEYS_ON_STACK 64

static bool
fill_entry(engine_entry *to, engine_slice key, const table_value *value, uint64_t now_ms,
		   engine_status *status)
{
	entry		found;
	char		shown[SLICE_SHOWN];

	*to = (engine_entry) {.key = key};
	if (!value->found)
		return true;
	if (!entry_decode(value->bytes, &found))
	{
		status_set(status, ENGINE_DATA_LOSS, "the entry of key \"%s\" is damaged",
				   slice_show(key, shown, sizeof(shown)));
		return false;
	}
	if (entry_expired(&found, now_ms))
		return true;
	to->value = found.value;
	to->version = found.version;
	to->expires_at_ms = found.expires_at_ms;
	return true;
}

static void
read_keys(local_engine *self, const engine_slice *keys, size_t n_keys,
		  table_value *values, engine_entry *entries, engine_read_done done, void *arg)
{
	const table_methods *methods = self->table->methods;
	engine_status status;
	uint64_t	now;
	bool		good;

	if (!methods->read_begin(self->table, &status))
	{
		done(arg, &status, NULL, 0);
		return;
	}
	if (n_keys == 1)
		good = methods->get(self->table, TABLE_DATA, keys[0], values, &status);
	else
		good = methods->multi_get(self->table, TABLE_DATA, keys, n_keys, values, &status);
	if (!good)
	{
		methods->read_end(self->table);
		done(arg, &status, NULL, 0);
		return;
	}
	/* The clock after the read: what has expired by then is not shown. */
	now = store_time_now_ms(&self->time);
	for (size_t i = 0; i < n_keys && good; i++)
		good = fill_entry(&entries[i], keys[i], &values[i], now, &status);
	done(arg, &status, good ? entries : NULL, good ? n_keys : 0);
	methods->release(self->table, values, n_keys);
	methods->read_end(self->table);
}

void
local_get(engine *base, const engine_slice *keys, size_t n_keys,
		  engine_consistency consistency, engine_read_done done, void *arg)
{
	local_engine *self = (local_engine *) base;
	table_value values_on_stack[KEYS_ON_STACK];
	engine_entry entries_on_stack[KEYS_ON_STACK];
	table_value *values = values_on_stack;
	engine_entry *entries = entries_on_stack;

	/* The newest state is at hand, whatever is asked for. */
	(void) consistency;
	if (n_keys > KEYS_ON_STACK)
	{
		values = engine_malloc(n_keys * sizeof(*values));
		entries = engine_malloc(n_keys * sizeof(*entries));
	}
	read_keys(self, keys, n_keys, values, entries, done, arg);
	if (n_keys > KEYS_ON_STACK)
	{
		free(values);
		free(entries);
	}
}
