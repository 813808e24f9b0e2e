/*
 * unit.c - checks and fingerprints a unit, in the thread that brings it.
 */
#include "unit.h"

#include <inttypes.h>
#include <stdlib.h>
/* The functions in place: keys are short, and the call would cost more. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "idempotency.h"
#include "util.h"
#include "vector_unit.h"

/* ---- Fingerprint ---- */

static void
hash_number(XXH3_state_t *state, uint64_t number)
{
	XXH3_128bits_update(state, &number, sizeof(number));
}

static void
hash_slice(XXH3_state_t *state, engine_slice slice)
{
	hash_number(state, slice.size);
	if (slice.size > 0)
		XXH3_128bits_update(state, slice.data, slice.size);
}

static bool
sets_quota(const engine_op *op)
{
	return op->kind == ENGINE_QUOTA_SET || op->kind == ENGINE_QUOTA_REMOVE;
}

void
engine_unit_fingerprint(engine_unit *unit)
{
	XXH3_state_t state;
	XXH128_hash_t hash;

	XXH3_INITSTATE(&state);
	XXH3_128bits_reset(&state);
	hash_number(&state, unit->atomic);
	hash_number(&state, unit->n_ops);
	for (size_t i = 0; i < unit->n_ops; i++)
	{
		const engine_op *op = &unit->ops[i];
		bool		versioned = op->condition == ENGINE_IF_VERSION;

		hash_number(&state, (uint64_t) op->kind << 16 | (uint64_t) op->condition << 8 |
					(uint64_t) op->ttl);
		hash_number(&state, versioned ? op->version.term : 0);
		hash_number(&state, versioned ? op->version.index : 0);
		hash_number(&state, op->ttl == ENGINE_TTL_SET ? op->ttl_ms : 0);
		hash_number(&state, op->kind == ENGINE_ADD ? (uint64_t) op->delta : 0);
		hash_slice(&state, op->key);
		hash_slice(&state, op->value);
		hash_slice(&state, op->end_key);
		if (sets_quota(op))
		{
			hash_number(&state, op->quota.max_keys);
			hash_number(&state, op->quota.max_bytes);
		}
		if (!op_on_vector(op) && !op_on_index(op))
			continue;
		hash_slice(&state, op->space);
		hash_number(&state, op->index.dimensions);
		hash_number(&state, (uint64_t) op->index.metric << 8 | op->index.type);
	}
	hash = XXH3_128bits_digest(&state);
	unit->fingerprint[0] = hash.high64;
	unit->fingerprint[1] = hash.low64;
}

/* ---- Each operation ---- */

static bool
check_condition(const engine_op *op, engine_status *status)
{
	bool		versioned = op->condition == ENGINE_IF_VERSION;

	if (versioned && op->version.index == 0)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "if_match: %" PRIu64 "/0 is no version", op->version.term);
	else if (op->kind == ENGINE_DELETE && op->condition == ENGINE_IF_ABSENT)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "if_match: a delete cannot ask for an absent key (0/0)");
	else if (op->kind == ENGINE_CHECK && op->condition == ENGINE_IF_ANY)
		status_set(status, ENGINE_INVALID_ARGUMENT, "a check needs if_match");
	else if (op->kind == ENGINE_DELETE_RANGE && op->condition != ENGINE_IF_ANY)
		status_set(status, ENGINE_INVALID_ARGUMENT, "a delete_range takes no if_match");
	else
		return true;
	return false;
}

static bool
check_sizes(const engine_op *op, engine_status *status)
{
	size_t		fewest = op->kind == ENGINE_DELETE_RANGE || sets_quota(op) ? 0 : 1;

	if (op->key.size < fewest || op->key.size > UNIT_MAX_KEY)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "key: %zu bytes, must be %zu to %d", op->key.size, fewest,
					UNIT_MAX_KEY);
	else if (op->end_key.size > UNIT_MAX_KEY)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "end_key: %zu bytes, must be at most %d", op->end_key.size,
					UNIT_MAX_KEY);
	else if (op->value.size > UNIT_MAX_VALUE)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "value: %zu bytes, must be at most %d", op->value.size,
					UNIT_MAX_VALUE);
	else
		return true;
	return false;
}

static bool
check_op(const engine_op *op, engine_status *status)
{
	bool		writes = op->kind == ENGINE_PUT || op->kind == ENGINE_ADD;

	if (op_on_vector(op) || op_on_index(op))
		return vector_unit_check_op(op, status);
	if ((op->kind < ENGINE_PUT || op->kind > ENGINE_DELETE_RANGE) && !sets_quota(op))
	{
		status_set(status, ENGINE_INVALID_ARGUMENT, "unknown kind of operation %d",
				   (int) op->kind);
		return false;
	}
	if (writes && op->ttl == ENGINE_TTL_SET &&
		(op->ttl_ms == 0 || op->ttl_ms > UNIT_MAX_TTL_MS))
	{
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "ttl_ms: %" PRIu64 ", must be 1 to %" PRIu64 " (100 years)",
				   op->ttl_ms, UNIT_MAX_TTL_MS);
		return false;
	}
	return check_sizes(op, status) && check_condition(op, status);
}

/* ---- No key twice ---- */

static int
compare_ops(const void *a, const void *b)
{
	const engine_op *const *left = a;
	const engine_op *const *right = b;
	int			order = op_on_vector(*left) - op_on_vector(*right);

	if (order == 0 && op_on_vector(*left))
		order = slice_compare((*left)->space, (*right)->space);
	if (order == 0)
		order = slice_compare((*left)->key, (*right)->key);
	if (order != 0)
		return order;
	/* A range comes first, so that its first key is found to be in it. */
	return op_on_range(*right) - op_on_range(*left);
}

/* Keys, or vectors of one namespace. */
static bool
same_space(const engine_op *a, const engine_op *b)
{
	return op_on_vector(a) == op_on_vector(b) &&
		(!op_on_vector(a) || slice_equal(a->space, b->space));
}

static bool
reaches(const engine_op *range, const engine_op *op)
{
	return same_space(range, op) &&
		(range->end_key.size == 0 || slice_compare(op->key, range->end_key) < 0);
}

static bool
same_key(const engine_op *a, const engine_op *b)
{
	return same_space(a, b) && slice_equal(a->key, b->key);
}

/* In key order, what meets anything before it meets its neighbour or the range
 * that reaches furthest. */
static const engine_op *
find_meeting(const engine_op **sorted, size_t n)
{
	const engine_op *range = NULL;

	for (size_t i = 0; i < n; i++)
	{
		const engine_op *op = sorted[i];

		if (range != NULL && reaches(range, op))
			return op;
		if (op_on_range(op))
		{
			if (reaches(op, op))
				range = op;
		}
		else if (i > 0 && !op_on_range(sorted[i - 1]) &&
				 same_key(sorted[i - 1], op))
			return op;
	}
	return NULL;
}

static bool
check_no_key_twice(const engine_unit *unit, engine_outcome *outcome)
{
	const engine_op **sorted = engine_malloc(unit->n_ops * sizeof(*sorted));
	const engine_op *twice;
	bool		in_order = true;
	char		shown[SLICE_SHOWN];

	for (size_t i = 0; i < unit->n_ops; i++)
	{
		sorted[i] = &unit->ops[i];
		in_order = in_order && (i == 0 || compare_ops(&sorted[i - 1], &sorted[i]) <= 0);
	}
	if (!in_order)
		qsort(sorted, unit->n_ops, sizeof(*sorted), compare_ops);
	twice = find_meeting(sorted, unit->n_ops);
	free(sorted);
	if (twice == NULL)
		return true;

	outcome->operation = twice - unit->ops;
	status_set(&outcome->status, ENGINE_INVALID_ARGUMENT,
			   "two operations on %s \"%s\" in one commit",
			   op_on_vector(twice) ? "vector" : "key",
			   slice_show(twice->key, shown, sizeof(shown)));
	return false;
}

/* ---- The unit ---- */

static bool
check_total(const engine_unit *unit, engine_status *status)
{
	if (unit->n_ops > UNIT_MAX_OPS)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "%zu operations in one commit, must be at most %d",
				   unit->n_ops, UNIT_MAX_OPS);
	else if (unit->bytes > UNIT_MAX_BYTES)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "%zu bytes in one commit, must be at most %d",
				   unit->bytes, UNIT_MAX_BYTES);
	else if (unit->n_ops > 1 && sets_quota(&unit->ops[0]))
		status_set(status, ENGINE_INVALID_ARGUMENT, "a quota is set by itself");
	else
		return true;
	return false;
}

bool
unit_check(engine_unit *unit, engine_outcome *outcome)
{
	outcome->operation = -1;
	unit->bytes = 0;
	unit->puts_vectors = false;
	unit->deferred_ms = 0;
	for (size_t i = 0; i < unit->n_ops; i++)
	{
		const engine_op *op = &unit->ops[i];

		if (!check_op(op, &outcome->status))
		{
			outcome->operation = (int64_t) i;
			return false;
		}
		unit->puts_vectors = unit->puts_vectors || op->kind == ENGINE_VECTOR_PUT;
		if (op_on_index(op) && unit->n_ops > 1)
		{
			status_set(&outcome->status, ENGINE_INVALID_ARGUMENT,
					   "an index is created or dropped in a commit of its own");
			outcome->operation = (int64_t) i;
			return false;
		}
		unit->bytes += op->key.size + op->value.size + op->end_key.size + op->space.size;
	}
	if (!check_total(unit, &outcome->status))
		return false;
	if (!idempotency_key_check(unit, &outcome->status))
		return false;
	return unit->n_ops < 2 || check_no_key_twice(unit, outcome);
}

bool
unit_stands_alone(const engine_unit *unit)
{
	for (size_t i = 0; i < unit->n_ops; i++)
	{
		if (op_on_range(&unit->ops[i]) || sets_quota(&unit->ops[i]) ||
			op_on_index(&unit->ops[i]))
			return true;
	}
	return false;
}
