/*
 * vector_unit.h - what can be said of an operation on vectors without looking into
 * the store.
 */
#ifndef NORIKVD_ENGINE_VECTOR_UNIT_H
#define NORIKVD_ENGINE_VECTOR_UNIT_H

#include "engine.h"

static inline bool
op_on_vector(const engine_op *op)
{
	return op->kind == ENGINE_VECTOR_PUT || op->kind == ENGINE_VECTOR_DELETE ||
		op->kind == ENGINE_VECTOR_CHECK || op->kind == ENGINE_VECTOR_DELETE_RANGE;
}

static inline bool
op_on_range(const engine_op *op)
{
	return op->kind == ENGINE_DELETE_RANGE || op->kind == ENGINE_VECTOR_DELETE_RANGE;
}

static inline bool
op_on_index(const engine_op *op)
{
	return op->kind == ENGINE_INDEX_CREATE || op->kind == ENGINE_INDEX_DROP;
}

/* False, with *status set, where no store could carry it out. */
extern bool vector_unit_check_op(const engine_op *op, engine_status *status);
/* The same of a query, or of a vector to be stored. what: "vector" or "query". Those
 * who read the text count components from 1. */
extern bool vector_check_floats(const char *what, const void *floats, size_t dimensions,
								engine_status *status);
extern bool vector_check_space(engine_slice space, engine_status *status);
extern bool vector_check_id(engine_slice id, engine_status *status);

#endif
