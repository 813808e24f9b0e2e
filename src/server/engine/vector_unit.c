/*
 * vector_unit.c - checks operations on vectors, in the thread that brings them.
 */
#include "vector_unit.h"

#include <math.h>

#include "util.h"
#include "vector_entry.h"

static bool
check_name(const char *field, engine_slice name, size_t most, engine_status *status)
{
	if (name.size < 1 || name.size > most)
		status_set(status, ENGINE_INVALID_ARGUMENT, "%s: %zu bytes, must be 1 to %zu",
				   field, name.size, most);
	else if (!utf8_valid(name))
		status_set(status, ENGINE_INVALID_ARGUMENT, "%s: it is not UTF-8", field);
	else if (memchr(name.data, '\0', name.size) != NULL)
		status_set(status, ENGINE_INVALID_ARGUMENT, "%s: it holds a zero byte", field);
	else
		return true;
	return false;
}

bool
vector_check_space(engine_slice space, engine_status *status)
{
	return check_name("namespace", space, VECTOR_MAX_NAMESPACE, status);
}

bool
vector_check_id(engine_slice id, engine_status *status)
{
	return check_name("id", id, VECTOR_MAX_ID_SIZE, status);
}

static bool
check_dimensions(const char *what, size_t dimensions, engine_status *status)
{
	if (dimensions >= 1 && dimensions <= VECTOR_MAX_DIMENSIONS)
		return true;
	status_set(status, ENGINE_INVALID_ARGUMENT,
			   "%s: %zu dimensions, must be 1 to %d", what, dimensions,
			   VECTOR_MAX_DIMENSIONS);
	return false;
}

bool
vector_check_floats(const char *what, const void *floats, size_t dimensions,
					engine_status *status)
{
	if (!check_dimensions(what, dimensions, status))
		return false;
	for (size_t i = 0; i < dimensions; i++)
	{
		float		component;

		memcpy(&component, (const char *) floats + i * sizeof(float), sizeof(float));
		if (isfinite(component))
			continue;
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "%s: component %zu is %s, must be a finite number", what, i + 1,
				   isnan(component) ? "NaN" : "infinite");
		return false;
	}
	return true;
}

static bool
check_index(const engine_index *index, engine_status *status)
{
	if (!check_dimensions("dimensions", index->dimensions, status))
		return false;
	if (index->metric < ENGINE_EUCLIDEAN || index->metric > ENGINE_INNER_PRODUCT)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "distance: %d, must be EUCLIDEAN (1), COSINE (2) or INNER_PRODUCT (3)",
				   (int) index->metric);
	else if (index->type != ENGINE_BRUTE_FORCE && index->type != ENGINE_HNSW)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "index_type: %d, must be BRUTE_FORCE (1) or HNSW (2)",
				   (int) index->type);
	else
		return true;
	return false;
}

static bool
check_condition(const engine_op *op, engine_status *status)
{
	if (op->condition == ENGINE_IF_VERSION && op->version.index == 0)
		status_set(status, ENGINE_INVALID_ARGUMENT, "if_match: %llu/0 is no version",
				   (unsigned long long) op->version.term);
	else if (op->kind == ENGINE_VECTOR_DELETE && op->condition == ENGINE_IF_ABSENT)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "if_match: a delete cannot ask for an absent vector (0/0)");
	else if (op->kind == ENGINE_VECTOR_CHECK && op->condition == ENGINE_IF_ANY)
		status_set(status, ENGINE_INVALID_ARGUMENT, "a check of a vector needs if_match");
	else if (op_on_index(op) && op->condition != ENGINE_IF_ANY)
		status_set(status, ENGINE_INVALID_ARGUMENT, "an index takes no if_match");
	else if (op->kind == ENGINE_VECTOR_DELETE_RANGE && op->condition != ENGINE_IF_ANY)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "the deletion of a range takes no if_match");
	else
		return true;
	return false;
}

/* It may be an id and a zero byte, and need not be UTF-8. */
static bool
check_bound(const char *field, engine_slice bound, engine_status *status)
{
	if (bound.size <= VECTOR_MAX_ID_SIZE + 1)
		return true;
	status_set(status, ENGINE_INVALID_ARGUMENT, "%s: %zu bytes, must be at most %d",
			   field, bound.size, VECTOR_MAX_ID_SIZE + 1);
	return false;
}

bool
vector_unit_check_op(const engine_op *op, engine_status *status)
{
	if (!vector_check_space(op->space, status) || !check_condition(op, status))
		return false;
	if (op->kind == ENGINE_INDEX_CREATE)
		return check_index(&op->index, status);
	if (op->kind == ENGINE_INDEX_DROP)
		return true;
	if (op->kind == ENGINE_VECTOR_DELETE_RANGE)
		return check_bound("key", op->key, status) &&
			check_bound("end_key", op->end_key, status);
	if (!vector_check_id(op->key, status))
		return false;
	return op->kind != ENGINE_VECTOR_PUT ||
		vector_check_floats("vector", op->value.data, op->value.size / sizeof(float),
							status);
}
