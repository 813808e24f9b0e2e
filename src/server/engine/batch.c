/*
 * batch.c - from queued units to one write, and to their answers.
 */
#include "batch.h"

#include <stdlib.h>

#include "idempotency.h"

void
batch_init(batch *self, table *to, idempotency_count *count)
{
	*self = (batch) {.table = to, .count = count};
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
}

void
batch_add(batch *self, engine_unit *unit)
{
	plan	   *added = &self->plans[self->n_plans++];
	engine_code code = unit->may_start != NULL ? unit->may_start(unit->arg) : ENGINE_OK;

	*added = (plan) {.unit = unit, .started = code == ENGINE_OK};
	if (!added->started)
	{
		plan_refuse(added, code, "%s before the request was started; nothing was done",
					code == ENGINE_CANCELLED ? "cancelled" : "the deadline passed");
		return;
	}
	added->results = arena_alloc(&self->memory, unit->n_ops * sizeof(engine_result));
	added->steps = arena_alloc(&self->memory, unit->n_ops * sizeof(step));
	for (size_t i = 0; i < unit->n_ops; i++)
	{
		added->steps[i] = (step) {0};
		if (unit->ops[i].kind != ENGINE_DELETE_RANGE)
			added->steps[i].key = overlay_want(&self->overlay, TABLE_DATA,
											   unit->ops[i].key);
	}
	added->idempotency = idempotency_key_of(unit, &self->memory);
	if (added->idempotency.given)
		added->record = overlay_want(&self->overlay, TABLE_IDEMPOTENCY,
									 added->idempotency.stored);
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
batch_refuse(batch *self, const engine_status *status)
{
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
