/*
 * vector_plan.h - operations on vectors and their indexes, within the plan of a unit.
 */
#ifndef NORIKVD_ENGINE_VECTOR_PLAN_H
#define NORIKVD_ENGINE_VECTOR_PLAN_H

#include "batch.h"

/* The step of an operation on a vector: its index, and its entry, to be read. */
extern step vector_plan_step(batch *self, const engine_op *op);
/* Before the condition; false, with the result set, where it cannot be done. */
extern bool vector_plan_check(batch *self, const engine_op *op, const step *of,
							  engine_result *result);
/* Instead of it, of a range. */
extern bool vector_plan_check_range(batch *self, const engine_op *op, step *of,
									engine_result *result);
/* After it: memory for the vector, or the result set. */
extern void vector_plan_reserve(batch *self, const engine_op *op, step *of,
								engine_result *result);
extern void vector_plan_apply(batch *self, const engine_op *op, step *of,
							  engine_version version);
/* What was applied is in the table: now searches find it too. */
extern void vector_plan_written(batch *self, const plan *of);
/* It is not: what was set aside for it is free. */
extern void vector_plan_undone(plan *of);
extern void vector_plan_undo_step(plan *of, size_t i);

#endif
