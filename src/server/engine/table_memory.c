/*
 * table_memory.c - a table in memory: a skip list per space, and for every key
 * a chain of versions, newest first, so that a snapshot is just a number.
 *
 * Nothing survives the process. It serves tests, and stores that may be lost.
 */
#include <pthread.h>
#include <stdlib.h>

#include "read_section.h"
#include "skip_list.h"
#include "table.h"
#include "util.h"

struct table_snapshot
{
	uint64_t	sequence;
	struct table_snapshot *newer;
	struct table_snapshot *older;
};

typedef struct change
{
	enum
	{
		CHANGE_PUT, CHANGE_DELETE, CHANGE_DELETE_RANGE
	}			kind;
	table_space space;
	engine_slice key;
	engine_slice value;			/* delete range: the end */
} change;

typedef struct memory_table
{
	table		base;
	read_section section;
	skip_list	spaces[TABLE_SPACES];
	uint64_t	sequence;
	node	   *stale;
	pthread_mutex_t snapshot_lock;
	table_snapshot snapshots;	/* list head */
	/* The batch. */
	arena		batch_memory;
	change	   *changes;
	size_t		n_changes;
	size_t		changes_size;
} memory_table;

struct table_iterator
{
	memory_table *table;
	table_range range;
	uint64_t	sequence;
	node	   *at;
	bool		started;
};

/* ---- Versions that snapshots keep alive ---- */

static uint64_t
oldest_snapshot(memory_table *self)
{
	uint64_t	oldest = self->sequence;

	pthread_mutex_lock(&self->snapshot_lock);
	if (self->snapshots.newer != &self->snapshots)
		oldest = self->snapshots.newer->sequence;
	pthread_mutex_unlock(&self->snapshot_lock);
	return oldest;
}

static void
mark_stale(memory_table *self, node *at)
{
	if (at->stale)
		return;
	at->stale = true;
	at->next_stale = self->stale;
	self->stale = at;
}

/* Looks again at the keys that a snapshot held back. */
static void
collect_stale(memory_table *self, uint64_t oldest)
{
	node	   *todo = self->stale;

	self->stale = NULL;
	while (todo != NULL)
	{
		node	   *at = todo;

		todo = at->next_stale;
		at->stale = false;
		node_prune(at, oldest);
		if (at->newest->older != NULL)
			mark_stale(self, at);
		else if (at->newest->deleted)
		{
			if (at->newest->sequence > oldest)
				mark_stale(self, at);
			else
				node_remove(at);
		}
	}
}

static void
add_version(memory_table *self, node *at, bool deleted, engine_slice value)
{
	node_add_version(at, self->sequence, deleted, value);
	if (deleted || at->newest->older != NULL)
		mark_stale(self, at);
}

/* ---- The batch ---- */

static change *
add_change(memory_table *self, table_space space, engine_slice key)
{
	change	   *added;

	if (self->n_changes == self->changes_size)
	{
		self->changes_size = self->changes_size * 2 + 64;
		self->changes = engine_realloc(self->changes,
									   self->changes_size * sizeof(change));
	}
	added = &self->changes[self->n_changes++];
	added->space = space;
	added->key = arena_copy(&self->batch_memory, key);
	return added;
}

static void
memory_put(table *base, table_space space, engine_slice key, engine_slice head,
		   engine_slice tail)
{
	memory_table *self = (memory_table *) base;
	change	   *added = add_change(self, space, key);
	char	   *value = arena_alloc(&self->batch_memory, head.size + tail.size);

	if (head.size > 0)
		memcpy(value, head.data, head.size);
	if (tail.size > 0)
		memcpy(value + head.size, tail.data, tail.size);
	added->kind = CHANGE_PUT;
	added->value = slice_of(value, head.size + tail.size);
}

static void
memory_delete(table *base, table_space space, engine_slice key)
{
	add_change((memory_table *) base, space, key)->kind = CHANGE_DELETE;
}

static void
memory_delete_range(table *base, table_space space, engine_slice start, engine_slice end)
{
	memory_table *self = (memory_table *) base;
	change	   *added = add_change(self, space, start);

	added->kind = CHANGE_DELETE_RANGE;
	added->value = arena_copy(&self->batch_memory, end);
}

static void
memory_discard(table *base)
{
	memory_table *self = (memory_table *) base;

	arena_reset(&self->batch_memory);
	self->n_changes = 0;
}

static void
apply(memory_table *self, const change *what)
{
	skip_list  *keys = &self->spaces[what->space];
	node	   *at;

	switch (what->kind)
	{
		case CHANGE_PUT:
			at = skip_list_find_or_insert(keys, what->key);
			add_version(self, at, false, what->value);
			break;
		case CHANGE_DELETE:
			at = skip_list_find(keys, what->key);
			if (at != NULL && !at->newest->deleted)
				add_version(self, at, true, slice_of(NULL, 0));
			break;
		case CHANGE_DELETE_RANGE:
			for (at = skip_list_before(keys, what->key)->next[0]; at != NULL;
				 at = at->next[0])
			{
				if (what->value.size > 0 && slice_compare(at->key, what->value) >= 0)
					break;
				if (!at->newest->deleted)
					add_version(self, at, true, slice_of(NULL, 0));
			}
			break;
	}
}

static bool
memory_write(table *base, bool sync, engine_status *status)
{
	memory_table *self = (memory_table *) base;

	(void) sync;
	read_section_exclude(&self->section);
	self->sequence++;
	for (size_t i = 0; i < self->n_changes; i++)
		apply(self, &self->changes[i]);
	collect_stale(self, oldest_snapshot(self));
	read_section_admit(&self->section);
	memory_discard(base);
	status_ok(status);
	return true;
}

/* ---- Reading ---- */

static bool
memory_read_begin(table *base, engine_status *status)
{
	read_section_enter(&((memory_table *) base)->section);
	status_ok(status);
	return true;
}

static void
memory_read_end(table *base)
{
	read_section_leave(&((memory_table *) base)->section);
}

static bool
memory_get(table *base, table_space space, engine_slice key, table_value *value,
		   engine_status *status)
{
	memory_table *self = (memory_table *) base;
	node	   *at = skip_list_find(&self->spaces[space], key);
	const stored *version = at == NULL ? NULL : node_visible(at, self->sequence);

	value->found = version != NULL;
	value->bytes = version == NULL ? slice_of(NULL, 0)
		: slice_of(version->data, version->size);
	status_ok(status);
	return true;
}

static bool
memory_multi_get(table *base, table_space space, const engine_slice *keys, size_t n_keys,
				 table_value *values, engine_status *status)
{
	for (size_t i = 0; i < n_keys; i++)
		memory_get(base, space, keys[i], &values[i], status);
	status_ok(status);
	return true;
}

/* The section keeps the values where they are. */
static void
memory_release(table *base, table_value *values, size_t n_values)
{
	(void) base;
	(void) values;
	(void) n_values;
}

static table_iterator *
memory_iterate(table *base, const table_range *range)
{
	memory_table *self = (memory_table *) base;
	table_iterator *iterator = engine_calloc(sizeof(*iterator));

	iterator->table = self;
	iterator->range = *range;
	iterator->sequence = range->snapshot != NULL ? range->snapshot->sequence
		: self->sequence;
	return iterator;
}

static void
step(table_iterator *iterator)
{
	const table_range *range = &iterator->range;
	skip_list  *keys = &iterator->table->spaces[range->space];
	node	   *at = iterator->at;

	if (!range->reverse)
		at = iterator->started ? at->next[0] : skip_list_before(keys,
																range->start)->next[0];
	else if (iterator->started)
		at = skip_list_before(keys, at->key);
	else if (range->end.size > 0)
		at = skip_list_before(keys, range->end);
	else
		at = skip_list_last(keys);

	iterator->started = true;
	iterator->at = at == keys->head ? NULL : at;
}

static bool
memory_next(table_iterator *iterator, engine_slice *key, engine_slice *value)
{
	const table_range *range = &iterator->range;

	for (;;)
	{
		const stored *version;

		if (iterator->started && iterator->at == NULL)
			return false;
		step(iterator);
		if (iterator->at == NULL)
			return false;
		if (!range->reverse && range->end.size > 0 &&
			slice_compare(iterator->at->key, range->end) >= 0)
			return false;
		if (range->reverse && slice_compare(iterator->at->key, range->start) < 0)
			return false;
		version = node_visible(iterator->at, iterator->sequence);
		if (version == NULL)
			continue;
		*key = iterator->at->key;
		*value = slice_of(version->data, version->size);
		return true;
	}
}

static bool
memory_iterate_end(table_iterator *iterator, engine_status *status)
{
	free(iterator);
	status_ok(status);
	return true;
}

/* ---- Snapshots: a list, oldest first ---- */

static table_snapshot *
memory_snapshot(table *base)
{
	memory_table *self = (memory_table *) base;
	table_snapshot *head = &self->snapshots;
	table_snapshot *snapshot = engine_malloc(sizeof(*snapshot));

	pthread_mutex_lock(&self->snapshot_lock);
	snapshot->sequence = self->sequence;
	snapshot->newer = head;
	snapshot->older = head->older;
	head->older->newer = snapshot;
	head->older = snapshot;
	pthread_mutex_unlock(&self->snapshot_lock);
	return snapshot;
}

static bool
memory_snapshot_valid(table *base, const table_snapshot *snapshot)
{
	(void) base;
	(void) snapshot;
	return true;
}

static void
memory_snapshot_release(table *base, table_snapshot *snapshot)
{
	memory_table *self = (memory_table *) base;

	pthread_mutex_lock(&self->snapshot_lock);
	snapshot->older->newer = snapshot->newer;
	snapshot->newer->older = snapshot->older;
	pthread_mutex_unlock(&self->snapshot_lock);
	free(snapshot);
}

/* ---- The whole ---- */

static bool
memory_reopen(table *base, engine_status *status)
{
	(void) base;
	status_ok(status);
	return true;
}

static bool
memory_checkpoint(table *base, const char *directory, engine_status *status)
{
	(void) base;
	status_set(status, ENGINE_UNIMPLEMENTED,
			   "the memory engine has nothing on disk: no backup into \"%s\"", directory);
	return false;
}

static void
memory_close(table *base)
{
	memory_table *self = (memory_table *) base;

	for (int space = 0; space < TABLE_SPACES; space++)
		skip_list_free(&self->spaces[space]);
	read_section_destroy(&self->section);
	pthread_mutex_destroy(&self->snapshot_lock);
	arena_free(&self->batch_memory);
	free(self->changes);
	free(self);
}

static const table_methods memory_methods = {
	.read_begin = memory_read_begin,
	.read_end = memory_read_end,
	.get = memory_get,
	.multi_get = memory_multi_get,
	.release = memory_release,
	.iterate = memory_iterate,
	.next = memory_next,
	.iterate_end = memory_iterate_end,
	.snapshot = memory_snapshot,
	.snapshot_valid = memory_snapshot_valid,
	.snapshot_release = memory_snapshot_release,
	.put = memory_put,
	.delete = memory_delete,
	.delete_range = memory_delete_range,
	.write = memory_write,
	.discard = memory_discard,
	.reopen = memory_reopen,
	.checkpoint = memory_checkpoint,
	.close = memory_close,
};

table *
table_memory_open(void)
{
	memory_table *self = engine_calloc(sizeof(*self));

	self->base.methods = &memory_methods;
	self->snapshots.newer = &self->snapshots;
	self->snapshots.older = &self->snapshots;
	read_section_init(&self->section);
	pthread_mutex_init(&self->snapshot_lock, NULL);
	arena_init(&self->batch_memory);
	for (int space = 0; space < TABLE_SPACES; space++)
		skip_list_init(&self->spaces[space]);
	return &self->base;
}
