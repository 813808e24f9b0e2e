/*
 * plan_quota.c - what the operations of a unit add to the quotas, and whether they
 * may.
 *
 * Operations that are admitted together, those of an atomic unit, are judged by their
 * sum. What takes away is never refused, also where the limit has been passed since
 * it was lowered.
 */
#include "plan_quota.h"

#include <inttypes.h>
#include <stdio.h>

#include "quota_count.h"
#include "vector_entry.h"
#include "vector_unit.h"
#include "words.h"

typedef struct charges
{
	batch	   *batch;
	quota	   *first;			/* those that the operations change */
} charges;

static void
charge(charges *self, const quota_item *item, quota_count more, size_t op)
{
	quotas	   *in = self->batch->quotas;

	for (quota *of = quotas_find(in, quota_item_name(item)); of != NULL; of = of->parent)
	{
		if (!quota_counts(of, item))
			continue;
		if (!of->charged)
		{
			of->charged = true;
			of->charge = (quota_count) {0, 0};
			of->keys_by = of->bytes_by = SIZE_MAX;
			of->next_charged = self->first;
			self->first = of;
		}
		of->charge.keys += more.keys;
		of->charge.bytes += more.bytes;
		if (more.keys > 0 && of->keys_by == SIZE_MAX)
			of->keys_by = op;
		if (more.bytes > 0 && of->bytes_by == SIZE_MAX)
			of->bytes_by = op;
	}
}

/* What there will be instead of what is stored now; NULL: nothing. */
static void
charge_change(charges *self, const engine_op *op, const pending *stored,
			  const size_t *value_size, size_t number)
{
	quota_item	item = {.key = op->key};
	quota_count more = {0, 0};

	if (op_on_vector(op))
		item.space = op->space;
	if (value_size != NULL)
	{
		item.value_size = *value_size;
		more.keys++;
		more.bytes += quota_item_bytes(&item);
	}
	if (stored->stored)
	{
		item.value_size = stored->entry.value.size;
		more.keys--;
		more.bytes -= quota_item_bytes(&item);
	}
	charge(self, &item, more, number);
}

/* What is stored in the range, expired or not, goes. Of TABLE_VECTOR it is the vectors
 * of this namespace. */
static void
charge_range(charges *self, const table_range *range, engine_slice space, size_t number)
{
	table	   *from = self->batch->table;
	table_iterator *iterator = from->methods->iterate(from, range);
	engine_slice key;
	engine_slice stored;
	engine_status status;
	entry		found;

	while (from->methods->next(iterator, &key, &stored))
	{
		quota_item	item = {.space = space, .key = key};

		if (!entry_decode(stored, &found))
			continue;
		if (range->space == TABLE_VECTOR)
			item.key = vector_key_id(key);
		item.value_size = found.value.size;
		charge(self, &item, (quota_count) {-1, -quota_item_bytes(&item)}, number);
	}
	/* Read through a moment ago without error, and nothing has been written since. */
	from->methods->iterate_end(iterator, &status);
}

static void
charge_keys(charges *self, const engine_op *op, size_t number)
{
	table_range range = {.space = TABLE_DATA, .start = op->key, .end = op->end_key};

	charge_range(self, &range, slice_of(NULL, 0), number);
}

/* All vectors of an index that is dropped. */
static void
charge_index(charges *self, const engine_op *op, const step *at, size_t number)
{
	engine_version created = vector_space_created(at->space);
	char		start[8];
	char		end[8];
	table_range range = {.space = TABLE_VECTOR, .start = vector_key_start(created, start),
		.end = vector_key_end(created, end)};

	if (quotas_find(self->batch->quotas, op->space) != NULL)
		charge_range(self, &range, op->space, number);
}

static void
charge_op(charges *self, const plan *of, size_t i)
{
	const engine_op *op = &of->unit->ops[i];
	const step *at = &of->steps[i];
	size_t		value_size = op->value.size;

	switch (op->kind)
	{
		case ENGINE_ADD:
			value_size = (size_t) snprintf(NULL, 0, "%" PRId64, at->sum);
			/* FALLTHROUGH */
		case ENGINE_PUT:
		case ENGINE_VECTOR_PUT:
			charge_change(self, op, at->key, &value_size, i);
			break;
		case ENGINE_DELETE:
		case ENGINE_VECTOR_DELETE:
			charge_change(self, op, at->key, NULL, i);
			break;
		case ENGINE_DELETE_RANGE:
			charge_keys(self, op, i);
			break;
		case ENGINE_VECTOR_DELETE_RANGE:
			if (quotas_find(self->batch->quotas, op->space) != NULL)
				charge_range(self, &at->range, op->space, i);
			break;
		case ENGINE_INDEX_DROP:
			charge_index(self, op, at, i);
			break;
		default:
			break;
	}
}

static bool
passes(int64_t used, int64_t more, uint64_t limit)
{
	return limit != 0 && more > 0 && used + more > 0 && (uint64_t) (used + more) > limit;
}

/* NULL: it may. Else what is exceeded, and *at_fault the operation. */
static const char *
exceeded(const quota *of, size_t *at_fault)
{
	if (passes(of->used.keys, of->charge.keys, of->limit.max_keys))
	{
		*at_fault = of->keys_by;
		return "keys";
	}
	if (passes(of->used.bytes, of->charge.bytes, of->limit.max_bytes))
	{
		*at_fault = of->bytes_by;
		return "bytes";
	}
	return NULL;
}

static void
refuse(batch *self, plan *of, const quota *by, const char *what, size_t at_fault)
{
	engine_result *result = &of->results[at_fault];
	bool		keys = what[0] == 'k';
	char		shown[SLICE_SHOWN];

	*result = (engine_result) {.code = ENGINE_RESOURCE_EXHAUSTED};
	result->text = arena_printf(&self->memory, WORDS_QUOTA "\"%s\" exceeded: at most %"
								PRIu64 " %s, %" PRId64 " are used, %" PRId64
								" more were to be written",
								slice_show(by->prefix, shown, sizeof(shown)),
								keys ? by->limit.max_keys : by->limit.max_bytes, what,
								keys ? by->used.keys : by->used.bytes,
								keys ? by->charge.keys : by->charge.bytes);
	self->quota_refused = true;
}

bool
plan_admit(batch *self, plan *of, size_t first, size_t n, size_t *at_fault)
{
	charges		made = {.batch = self};
	const char *what = NULL;
	quota	   *by;

	if (!quotas_exist(self->quotas))
		return true;
	for (size_t i = first; i < first + n; i++)
	{
		if (plan_changes(&of->unit->ops[i], &of->results[i]))
			charge_op(&made, of, i);
	}
	for (by = made.first; by != NULL && what == NULL; by = what == NULL
		 ? by->next_charged : by)
		what = exceeded(by, at_fault);
	if (what != NULL)
		refuse(self, of, by, what, *at_fault);
	for (quota *each = made.first; each != NULL; each = each->next_charged)
	{
		each->charged = false;
		if (what == NULL)
			quotas_count(self->quotas, each, each->charge);
	}
	return what == NULL;
}
