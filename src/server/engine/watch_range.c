/*
 * watch_range.c - which changes concern a range of keys.
 */
#include "watch_range.h"

#include <stdlib.h>

#include "util.h"

void
watch_range_init(watch_range *self, engine_slice start, engine_slice end)
{
	self->memory = engine_malloc(start.size + end.size + 1);
	if (start.size > 0)
		memcpy(self->memory, start.data, start.size);
	if (end.size > 0)
		memcpy(self->memory + start.size, end.data, end.size);
	self->start = slice_of(self->memory, start.size);
	self->end = slice_of(self->memory + start.size, end.size);
	/* what comes next after a key is the key and a zero byte */
	self->single = start.size > 0 && end.size == start.size + 1 &&
		self->end.data[start.size] == '\0' &&
		slice_equal(self->start, slice_of(self->end.data, start.size));
}

void
watch_range_free(watch_range *self)
{
	free(self->memory);
}

static bool
comes_before_end(engine_slice key, engine_slice end)
{
	return end.size == 0 || slice_compare(key, end) < 0;
}

bool
watch_range_meets(const watch_range *self, const engine_change *change)
{
	if (change->kind == ENGINE_CHANGE_DELETE_RANGE)
		return comes_before_end(change->key, self->end) &&
			comes_before_end(self->start, change->end_key);
	if (self->single)
		return slice_equal(change->key, self->start);
	return slice_compare(change->key, self->start) >= 0 &&
		comes_before_end(change->key, self->end);
}
