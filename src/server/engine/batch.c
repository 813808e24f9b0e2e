/*
 * batch.c - from queued units to one write, and to their answers.
 */
#include "batch.h"

#include <stdlib.h>

#include "idempotency.h"
#include "vector_plan.h"
#include "vector_unit.h"
#include "words.h"

void
batch_init(batch *self, table *to, idempotency_count *count, slot_cache *slots,
		   quotas *limits, vectors *of_vectors)
{
	*self = (batch) {.table = to, .count = count, .slots = slots, .quotas = limits,
		.vectors = of_vectors};
	arena_init(&self->memory);
	overlay_init(&self->overlay, &self->memory);
	self->plans = engine_calloc(BATCH_MAX_UNITS * sizeof(plan));
}

void
batch_free(batch *self)
{
	overlay_free(&self->overlay);
	arena_free(&self->memory);
	free(self->plans);
}

void
batch_reset(batch *self)
{
	overlay_reset(&self->overlay);
	arena_reset(&self->memory);
	self->n_plans = 0;
	self->changed = false;
	self->applied = false;
	self->quota_refused = false;
	self->swept = false;
}

/* Nothing depends on what was there: not even the expiry index, which may keep an
 * instant that no longer counts. */
static bool
is_blind(const engine_op *op)
{
	return op->blind && op->kind == ENGINE_PUT && op->condition == ENGINE_IF_ANY &&
		op->ttl == ENGINE_TTL_NONE;
}

static pending *
key_of(batch *self, const engine_op *op)
{
	pending    *key;

	if (op->kind == ENGINE_DELETE_RANGE || op->kind == ENGINE_QUOTA_SET ||
		op->kind == ENGINE_QUOTA_REMOVE)
		return NULL;
	key = overlay_find(&self->overlay, TABLE_DATA, op->key);
	/* a quota depends on the size of what was there */
	if (!is_blind(op) || quotas_find(self->quotas, op->key) != NULL)
		overlay_want(&self->overlay, key);
	return key;
}

static pending *
record_of(batch *self, const idempotency_key *key)
{
	pending    *record = overlay_find(&self->overlay, TABLE_IDEMPOTENCY, key->stored);
	engine_slice kept;

	if (!record->known && key->slot && slot_cache_find(self->slots, key->stored, &kept))
	{
		record->known = true;
		record->stored = true;
		record->record = arena_copy(&self->memory, kept);
	}
	overlay_want(&self->overlay, record);
	return record;
}

static void
start_plan(batch *self, plan *added, engine_unit *unit)
{
	*added = (plan) {.unit = unit, .started = true};
	added->results = arena_alloc(&self->memory, unit->n_ops * sizeof(engine_result));
	added->steps = arena_alloc(&self->memory, unit->n_ops * sizeof(step));
	for (size_t i = 0; i < unit->n_ops; i++)
	{
		const engine_op *op = &unit->ops[i];

		added->on_vectors = added->on_vectors || op_on_vector(op) || op_on_index(op);
		added->steps[i] = op_on_vector(op) || op_on_index(op)
			? vector_plan_step(self, op) : (step) {.key = key_of(self, op)};
	}
	added->idempotency = idempotency_key_of(unit, &self->memory);
	if (added->idempotency.given)
		added->record = record_of(self, &added->idempotency);
}

void
batch_add(batch *self, engine_unit *unit)
{
	plan	   *added = &self->plans[self->n_plans++];
	engine_code code = unit->may_start != NULL ? unit->may_start(unit->arg) : ENGINE_OK;

	if (code == ENGINE_OK)
	{
		start_plan(self, added, unit);
		return;
	}
	*added = (plan) {.unit = unit};
	plan_refuse(added, code, "%s before the request was started; " WORDS_NOTHING_DONE,
				code == ENGINE_CANCELLED ? "cancelled" : "the deadline passed");
}

static void
undo_vectors(batch *self)
{
	for (size_t i = 0; i < self->n_plans; i++)
	{
		if (self->plans[i].on_vectors)
			vector_plan_undone(&self->plans[i]);
	}
}

void
batch_again(batch *self)
{
	size_t		n_plans = self->n_plans;

	undo_vectors(self);
	batch_reset(self);
	self->n_plans = n_plans;
	for (size_t i = 0; i < n_plans; i++)
	{
		if (self->plans[i].started)
			start_plan(self, &self->plans[i], self->plans[i].unit);
	}
}

bool
batch_decide(batch *self, engine_status *status)
{
	const table_methods *methods = self->table->methods;
	bool		good;

	if (!methods->read_begin(self->table, status))
		return false;
	good = overlay_load(&self->overlay, self->table, status);
	for (size_t i = 0; i < self->n_plans && good; i++)
	{
		if (self->plans[i].started)
			plan_decide(self, &self->plans[i]);
	}
	methods->read_end(self->table);
	return good;
}

void
batch_written(batch *self)
{
	for (size_t i = 0; i < self->n_plans; i++)
	{
		const plan *of = &self->plans[i];

		if (of->remembered && of->idempotency.slot)
			slot_cache_put(self->slots, of->record->key, of->record->record);
		if (of->on_vectors)
			vector_plan_written(self, of);
	}
}

static void
publish_unit(const plan *of, feed *to)
{
	static const engine_change_kind kinds[] = {
		[ENGINE_PUT] = ENGINE_CHANGE_PUT,
		[ENGINE_ADD] = ENGINE_CHANGE_PUT,
		[ENGINE_DELETE] = ENGINE_CHANGE_DELETE,
		[ENGINE_DELETE_RANGE] = ENGINE_CHANGE_DELETE_RANGE,
	};

	for (size_t i = 0; i < of->unit->n_ops; i++)
	{
		const engine_op *op = &of->unit->ops[i];
		engine_change change = {.version = of->results[i].version, .key = op->key};

		if (op->kind >= lengthof(kinds) || kinds[op->kind] == 0 ||
			of->results[i].code != ENGINE_OK || !plan_changes(op, &of->results[i]))
			continue;
		change.kind = kinds[op->kind];
		if (op->kind == ENGINE_DELETE_RANGE)
			change.end_key = op->end_key;
		feed_add(to, &change);
	}
}

void
batch_publish(const batch *self, feed *to)
{
	feed_begin(to);
	for (size_t i = 0; i < self->n_plans; i++)
	{
		const plan *of = &self->plans[i];

		if (of->started && !of->outcome.repeated &&
			of->outcome.status.code == ENGINE_OK)
			publish_unit(of, to);
	}
	feed_publish(to, self->last);
}

void
batch_refuse(batch *self, const engine_status *status)
{
	undo_vectors(self);
	for (size_t i = 0; i < self->n_plans; i++)
	{
		if (self->plans[i].started)
			plan_refuse(&self->plans[i], status->code, "%s", status->text);
	}
}

/* A unit is its owner's again from the call on. */
void
batch_answer(batch *self)
{
	for (size_t i = 0; i < self->n_plans; i++)
	{
		engine_unit *unit = self->plans[i].unit;

		unit->done(unit->arg, &self->plans[i].outcome);
	}
}
