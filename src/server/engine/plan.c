/*
 * plan.c - decides one unit: checks its operations against the batch's overlay,
 * and applies what holds.
 *
 * No two operations of a unit are on one key, so all checks can come first.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "batch.h"
#include "idempotency.h"
#include "plan_quota.h"
#include "unit.h"
#include "vector_plan.h"
#include "vector_unit.h"
#include "words.h"

void
plan_refuse(plan *of, engine_code code, const char *format, ...)
{
	engine_status *status = &of->outcome.status;
	va_list		args;

	status->code = code;
	va_start(args, format);
	vsnprintf(status->text, sizeof(status->text), format, args);
	va_end(args);
	of->outcome.operation = -1;
	of->outcome.results = NULL;
	of->outcome.n_results = 0;
	of->outcome.repeated = false;
}

/* ---- Checks ---- */

static const char *
show_version(bool present, engine_version version, char *buffer, size_t size)
{
	if (!present)
		return WORDS_ABSENT;
	snprintf(buffer, size, "%" PRIu64 "/%" PRIu64, version.term, version.index);
	return buffer;
}

static void
fail_mismatch(batch *self, const engine_op *op, const pending *key, engine_result *result)
{
	bool		live = pending_live(key, self->now_ms);
	char		expected[48];
	char		present[48];

	result->code = ENGINE_FAILED_PRECONDITION;
	result->version = live ? key->entry.version : (engine_version) {0, 0};
	result->existed = live;
	result->text = arena_printf(&self->memory,
								WORDS_MISMATCH_FORMAT,
								show_version(op->condition == ENGINE_IF_VERSION,
											 op->version, expected, sizeof(expected)),
								show_version(live, key->entry.version,
											 present, sizeof(present)));
}

static bool
condition_holds(const batch *self, const engine_op *op, const pending *key)
{
	bool		live = pending_live(key, self->now_ms);

	switch (op->condition)
	{
		case ENGINE_IF_ANY:
			return true;
		case ENGINE_IF_ABSENT:
			return !live;
		case ENGINE_IF_VERSION:
			return live && key->entry.version.term == op->version.term &&
				key->entry.version.index == op->version.index;
	}
	return false;
}

static bool
parse_integer(engine_slice text, int64_t *number)
{
	bool		negative = text.size > 0 && text.data[0] == '-';
	size_t		at = negative ? 1 : 0;

	*number = 0;
	if (at == text.size)
		return false;
	for (; at < text.size; at++)
	{
		int			digit = (unsigned char) text.data[at] - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(*number, 10, number) ||
			__builtin_sub_overflow(*number, digit, number))
			return false;
	}
	/* Counted downwards: the least int64 has no positive counterpart. */
	return negative || !__builtin_sub_overflow(0, *number, number);
}

static void
check_add(batch *self, const engine_op *op, step *of, engine_result *result)
{
	const pending *key = of->key;
	char		shown[SLICE_SHOWN];
	int64_t		present = 0;

	if (pending_live(key, self->now_ms) &&
		(!key->value_kept || !parse_integer(key->entry.value, &present)))
	{
		result->code = ENGINE_INVALID_ARGUMENT;
		result->text = arena_printf(&self->memory,
									"key \"%s\" holds no integer: its value of %zu bytes "
									"is not the decimal form of a 64-bit number",
									slice_show(op->key, shown, sizeof(shown)),
									key->entry.value.size);
		return;
	}
	if (__builtin_add_overflow(present, op->delta, &of->sum))
	{
		result->code = ENGINE_OUT_OF_RANGE;
		result->text = arena_printf(&self->memory,
									"key \"%s\": %" PRId64 " + %" PRId64
									" is out of the range of a 64-bit integer",
									slice_show(op->key, shown, sizeof(shown)),
									present, op->delta);
		return;
	}
	result->value = of->sum;
}

static bool
check_range(batch *self, const engine_op *op, step *of, engine_result *result)
{
	const table_methods *methods = self->table->methods;
	table_range range = {.space = TABLE_DATA, .start = op->key, .end = op->end_key};
	table_iterator *iterator;
	engine_slice key;
	engine_slice stored;
	engine_status status;
	bool		good;

	/* An empty end means the last key; an empty range must not become that. */
	if (op->end_key.size > 0 && slice_compare(op->key, op->end_key) >= 0)
		return true;
	iterator = methods->iterate(self->table, &range);
	while (methods->next(iterator, &key, &stored))
	{
		entry		found;

		of->stored++;
		if (!entry_decode(stored, &found) || !entry_expired(&found, self->now_ms))
			result->deleted++;
	}
	good = methods->iterate_end(iterator, &status);
	if (!good)
	{
		result->code = status.code;
		result->text = arena_printf(&self->memory, "%s", status.text);
	}
	return good;
}

static void
check_quota_op(batch *self, const engine_op *op, engine_result *result)
{
	result->existed = quotas_has(self->quotas, op->key);
	if (op->kind != ENGINE_QUOTA_SET || result->existed || !quotas_are_full(self->quotas))
		return;
	result->code = ENGINE_RESOURCE_EXHAUSTED;
	result->text = arena_printf(&self->memory, "there are %d quotas, and no more can be",
								QUOTAS_MAX);
}

static bool
is_check(const engine_op *op)
{
	return op->kind == ENGINE_CHECK || op->kind == ENGINE_VECTOR_CHECK;
}

static void
check_op(batch *self, plan *of, size_t i)
{
	const engine_op *op = &of->unit->ops[i];
	engine_result *result = &of->results[i];
	step	   *at = &of->steps[i];

	*result = (engine_result) {.code = ENGINE_OK};
	if (op->kind == ENGINE_DELETE_RANGE)
	{
		check_range(self, op, at, result);
		return;
	}
	if (op->kind == ENGINE_VECTOR_DELETE_RANGE)
	{
		vector_plan_check_range(self, op, at, result);
		return;
	}
	if (op->kind == ENGINE_QUOTA_SET || op->kind == ENGINE_QUOTA_REMOVE)
	{
		check_quota_op(self, op, result);
		return;
	}
	if ((op_on_vector(op) || op_on_index(op)) &&
		!vector_plan_check(self, op, at, result))
		return;
	if (op_on_index(op))
		return;
	if (!condition_holds(self, op, at->key))
	{
		fail_mismatch(self, op, at->key, result);
		return;
	}
	result->existed = pending_live(at->key, self->now_ms);
	if (is_check(op) && result->existed)
		result->version = at->key->entry.version;
	else if (op->kind == ENGINE_ADD)
		check_add(self, op, at, result);
	else if (op->kind == ENGINE_VECTOR_PUT)
		vector_plan_reserve(self, op, at, result);
}

/* ---- Application ---- */

/* Whether the operation, which holds, changes anything: if not, it has no version. */
bool
plan_changes(const engine_op *op, const engine_result *result)
{
	switch (op->kind)
	{
		case ENGINE_PUT:
		case ENGINE_ADD:
		case ENGINE_VECTOR_PUT:
		case ENGINE_QUOTA_SET:
			return true;
		case ENGINE_DELETE:
		case ENGINE_VECTOR_DELETE:
		case ENGINE_INDEX_DROP:
		case ENGINE_QUOTA_REMOVE:
			return result->existed;
		case ENGINE_INDEX_CREATE:
			return !result->existed;
		case ENGINE_DELETE_RANGE:
		case ENGINE_VECTOR_DELETE_RANGE:
			return result->deleted > 0;
		case ENGINE_CHECK:
		case ENGINE_VECTOR_CHECK:
			return false;
	}
	return false;
}

static void
unindex_expiry(batch *self, const pending *key)
{
	char		buffer[EXPIRY_KEY_SIZE(UNIT_MAX_KEY)];

	if (key->stored && key->entry.expires_at_ms != 0)
		self->table->methods->delete(self->table, TABLE_EXPIRY,
									 expiry_key(key->entry.expires_at_ms, key->key,
												buffer));
}

static void
write_entry(batch *self, pending *key, const entry *written)
{
	const table_methods *methods = self->table->methods;
	char		head[ENTRY_HEAD_SIZE];
	char		buffer[EXPIRY_KEY_SIZE(UNIT_MAX_KEY)];

	if (written->expires_at_ms != key->entry.expires_at_ms || !key->stored)
	{
		unindex_expiry(self, key);
		if (written->expires_at_ms != 0)
			methods->put(self->table, TABLE_EXPIRY,
						 expiry_key(written->expires_at_ms, key->key, buffer),
						 slice_of(NULL, 0), slice_of(NULL, 0));
	}
	methods->put(self->table, TABLE_DATA, key->key, entry_head(written, head),
				 written->value);
	key->stored = true;
	key->value_kept = true;
	key->entry = *written;
}

static uint64_t
expiry_of(const batch *self, const engine_op *op, const pending *key)
{
	switch (op->ttl)
	{
		case ENGINE_TTL_SET:
			return self->now_ms + op->ttl_ms;
		case ENGINE_TTL_KEEP:
			return pending_live(key, self->now_ms) ? key->entry.expires_at_ms : 0;
		case ENGINE_TTL_NONE:
			break;
	}
	return 0;
}

/* All that is stored goes, what expired included. */
static void
apply_range(batch *self, const engine_op *op, const step *of)
{
	const table_methods *methods = self->table->methods;
	table_range range = {.space = TABLE_DATA, .start = op->key, .end = op->end_key};
	table_iterator *iterator;
	engine_slice key;
	engine_slice stored;
	engine_status status;

	if (of->stored > RANGE_KEYS_ONE_BY_ONE)
	{
		methods->delete_range(self->table, TABLE_DATA, op->key, op->end_key);
		return;
	}
	iterator = methods->iterate(self->table, &range);
	while (methods->next(iterator, &key, &stored))
		methods->delete(self->table, TABLE_DATA, key);
	/* Read through a moment ago without error; what it misses now stays. */
	methods->iterate_end(iterator, &status);
}

static void
apply_op(batch *self, plan *of, size_t i, engine_version version)
{
	const engine_op *op = &of->unit->ops[i];
	step	   *at = &of->steps[i];
	entry		written = {.version = version, .value = op->value};

	of->results[i].version = version;
	switch (op->kind)
	{
		case ENGINE_ADD:
			written.value = arena_printf(&self->memory, "%" PRId64, at->sum);
			/* FALLTHROUGH */
		case ENGINE_PUT:
			written.expires_at_ms = expiry_of(self, op, at->key);
			write_entry(self, at->key, &written);
			break;
		case ENGINE_DELETE:
			unindex_expiry(self, at->key);
			self->table->methods->delete(self->table, TABLE_DATA, at->key->key);
			at->key->stored = false;
			break;
		case ENGINE_DELETE_RANGE:
			apply_range(self, op, at);
			break;
		case ENGINE_QUOTA_SET:
			quotas_set(self->quotas, op->key, &op->quota);
			break;
		case ENGINE_QUOTA_REMOVE:
			quotas_remove(self->quotas, op->key);
			break;
		case ENGINE_VECTOR_PUT:
		case ENGINE_VECTOR_DELETE:
		case ENGINE_VECTOR_DELETE_RANGE:
		case ENGINE_INDEX_CREATE:
		case ENGINE_INDEX_DROP:
			vector_plan_apply(self, op, at, version);
			break;
		case ENGINE_CHECK:
		case ENGINE_VECTOR_CHECK:
			break;
	}
	self->changed = true;
	self->applied = true;
}

/* ---- The unit ---- */

/* Names the first operation at fault; those in order were not carried out. */
static void
fail_atomic(plan *of, size_t at_fault)
{
	static const char not_applied[] = "not applied: another operation of the unit failed";
	engine_outcome *outcome = &of->outcome;
	engine_slice text = of->results[at_fault].text;

	status_set(&outcome->status, of->results[at_fault].code, "%.*s", (int) text.size,
			   text.data);
	outcome->operation = (int64_t) at_fault;
	for (size_t i = 0; i < of->unit->n_ops; i++)
	{
		if (of->results[i].code != ENGINE_OK)
			continue;
		of->results[i] = (engine_result) {.code = ENGINE_ABORTED};
		of->results[i].text = slice_of(not_applied, sizeof(not_applied) - 1);
	}
}

/* True when the unit changed something. */
static bool
decide_atomic(batch *self, plan *of)
{
	size_t		n = of->unit->n_ops;
	size_t		at_fault = n;
	bool		any = false;

	for (size_t i = 0; i < n; i++)
	{
		check_op(self, of, i);
		if (of->results[i].code != ENGINE_OK && at_fault == n)
			at_fault = i;
		any = any || plan_changes(&of->unit->ops[i], &of->results[i]);
	}
	if (at_fault == n && any)
		plan_admit(self, of, 0, n, &at_fault);
	if (at_fault < n)
	{
		if (of->on_vectors)
			vector_plan_undone(of);
		fail_atomic(of, at_fault);
		return false;
	}
	if (!any)
		return false;

	self->last.index++;
	for (size_t i = 0; i < n; i++)
	{
		if (plan_changes(&of->unit->ops[i], &of->results[i]))
			apply_op(self, of, i, self->last);
	}
	return true;
}

static bool
decide_each(batch *self, plan *of)
{
	bool		any = false;
	size_t		refused;

	for (size_t i = 0; i < of->unit->n_ops; i++)
	{
		check_op(self, of, i);
		if (of->results[i].code != ENGINE_OK ||
			!plan_changes(&of->unit->ops[i], &of->results[i]))
			continue;
		if (!plan_admit(self, of, i, 1, &refused))
		{
			vector_plan_undo_step(of, i);
			continue;
		}
		self->last.index++;
		apply_op(self, of, i, self->last);
		any = true;
	}
	return any;
}

static bool
needs_room(const engine_unit *unit)
{
	for (size_t i = 0; i < unit->n_ops; i++)
	{
		switch (unit->ops[i].kind)
		{
			case ENGINE_PUT:
			case ENGINE_ADD:
			case ENGINE_VECTOR_PUT:
			case ENGINE_INDEX_CREATE:
				return true;
			default:
				break;
		}
	}
	return false;
}

void
plan_decide(batch *self, plan *of)
{
	bool		any;

	if (of->idempotency.given && idempotency_answer(self, of))
		return;
	if (self->full && needs_room(of->unit))
	{
		plan_refuse(of, ENGINE_RESOURCE_EXHAUSTED,
					"the disk is full: nothing can be put until there is room; "
					"reads and deletes go on");
		return;
	}
	status_ok(&of->outcome.status);
	of->outcome.operation = -1;
	of->outcome.results = of->results;
	of->outcome.n_results = of->unit->n_ops;
	any = of->unit->atomic ? decide_atomic(self, of) : decide_each(self, of);
	if (of->idempotency.given && (any || of->idempotency.slot))
		idempotency_remember(self, of);
}
