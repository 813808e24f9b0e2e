/*
 * quota_count.c - counts what is under a quota's prefix, some of it at a time.
 *
 * The order is that of quota_item: keys, then vectors by namespace and id. Vectors are
 * stored by the version of their index's creation, so it is the indexes, in the order of
 * their namespaces, that lead through them. An index that is created or dropped
 * meanwhile is either behind the position, where what happens to its vectors counts, or
 * ahead of it.
 */
#include "quota_count.h"

#include "vector_entry.h"

typedef struct counting
{
	table	   *in;
	const quota *of;			/* as it was before this step */
	size_t		left;			/* items that may be counted */
	quota_count counted;
	bool		full;			/* there is more, from here on: */
	bytes		space;
	bytes		key;
	bool		failed;
} counting;

/* False: the step ends before this item. */
static bool
has_room(counting *self, engine_slice space, engine_slice key)
{
	if (self->left > 0)
	{
		self->left--;
		return true;
	}
	bytes_append(&self->space, space.data, space.size);
	bytes_append(&self->key, key.data, key.size);
	self->full = true;
	return false;
}

static void
count_item(counting *self, quota_item item, engine_slice stored)
{
	entry		found;

	if (!entry_decode(stored, &found))
		return;					/* damaged: whoever reads it is told */
	item.value_size = found.value.size;
	self->counted.keys++;
	self->counted.bytes += quota_item_bytes(&item);
}

static void
end_iteration(counting *self, table_iterator *iterator)
{
	engine_status status;

	if (!self->in->methods->iterate_end(iterator, &status))
		self->failed = true;
}

static void
count_keys(counting *self)
{
	const table_methods *methods = self->in->methods;
	table_range range = {.space = TABLE_DATA,
		.start = bytes_slice(&self->of->position_key)};
	table_iterator *iterator = methods->iterate(self->in, &range);
	engine_slice key;
	engine_slice stored;

	while (methods->next(iterator, &key, &stored) &&
		   slice_begins_with(key, self->of->prefix) &&
		   has_room(self, slice_of(NULL, 0), key))
		count_item(self, (quota_item) {.key = key}, stored);
	end_iteration(self, iterator);
}

/* The vectors of one namespace, from this id on. */
static void
count_space(counting *self, engine_slice space, engine_version created, engine_slice id)
{
	const table_methods *methods = self->in->methods;
	char		start[VECTOR_KEY_SIZE(VECTOR_MAX_ID_SIZE)];
	char		end[8];
	table_range range = {.space = TABLE_VECTOR, .start = vector_key(created, id, start),
		.end = vector_key_end(created, end)};
	table_iterator *iterator = methods->iterate(self->in, &range);
	engine_slice key;
	engine_slice stored;

	while (methods->next(iterator, &key, &stored) &&
		   has_room(self, space, vector_key_id(key)))
		count_item(self, (quota_item) {.space = space, .key = vector_key_id(key)}, stored);
	end_iteration(self, iterator);
}

static void
count_vectors(counting *self)
{
	const table_methods *methods = self->in->methods;
	engine_slice at = bytes_slice(&self->of->position_space);
	table_range range = {.space = TABLE_INDEX,
		.start = at.size > 0 ? at : self->of->prefix};
	table_iterator *iterator = methods->iterate(self->in, &range);
	engine_slice space;
	engine_slice stored;

	/* An index takes its time, too, when it is empty. */
	while (!self->full && !self->failed && methods->next(iterator, &space, &stored) &&
		   slice_begins_with(space, self->of->prefix) &&
		   has_room(self, space, slice_of(NULL, 0)))
	{
		engine_slice id = {0};
		index_entry index;

		if (slice_equal(space, at))
			id = bytes_slice(&self->of->position_key);
		if (index_entry_decode(stored, &index))
			count_space(self, space, index.created, id);
	}
	end_iteration(self, iterator);
}

void
quota_count_from_start(quota *self)
{
	self->position_space.size = 0;
	self->position_key.size = 0;
	bytes_append(&self->position_key, self->prefix.data, self->prefix.size);
}

bool
quota_count_step(table *in, quota *self, size_t n)
{
	counting	step = {.in = in, .of = self, .left = n};

	if (self->position_space.size == 0)
		count_keys(&step);
	if (!step.full && !step.failed)
		count_vectors(&step);
	if (step.failed)
	{
		bytes_free(&step.space);
		bytes_free(&step.key);
		return false;
	}
	self->used.keys += step.counted.keys;
	self->used.bytes += step.counted.bytes;
	self->counting = step.full;
	bytes_free(&self->position_space);
	bytes_free(&self->position_key);
	self->position_space = step.space;
	self->position_key = step.key;
	return true;
}

bool
quota_counts(const quota *self, const quota_item *item)
{
	int			order;

	if (!self->counting)
		return true;
	order = slice_compare(item->space, bytes_slice(&self->position_space));
	if (order == 0)
		order = slice_compare(item->key, bytes_slice(&self->position_key));
	return order < 0;
}
