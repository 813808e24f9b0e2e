/*
 * vector_plan.c - checks, and writes, vectors and their indexes.
 *
 * A unit that creates or drops an index is a batch of its own, so that the indexes
 * that a batch finds when it is gathered are those that there are when it is decided.
 */
#include "vector_plan.h"

#include "vector_entry.h"
#include "vector_unit.h"
#include "vectors.h"

/* ---- Gathering ---- */

/* In the batch's memory. */
static table_range
range_of(batch *self, const vector_space *space, const engine_op *op)
{
	table_range range = {.space = TABLE_VECTOR};
	bytes		start = {0};
	bytes		end = {0};

	vector_key_range(vector_space_created(space), op->key, op->end_key, &start, &end);
	range.start = arena_copy(&self->memory, bytes_slice(&start));
	range.end = arena_copy(&self->memory, bytes_slice(&end));
	bytes_free(&start);
	bytes_free(&end);
	return range;
}

step
vector_plan_step(batch *self, const engine_op *op)
{
	step		made = {.space = vectors_find(self->vectors, op->space)};
	engine_version created = {0, 0};	/* of no index: it has no vectors */
	char	   *key;

	if (op->kind == ENGINE_VECTOR_DELETE_RANGE && made.space != NULL)
		made.range = range_of(self, made.space, op);
	if (op_on_index(op) || op_on_range(op) || (made.space == NULL && op->kind != ENGINE_VECTOR_CHECK))
		return made;
	if (made.space != NULL)
		created = vector_space_created(made.space);
	key = arena_alloc(&self->memory, VECTOR_KEY_SIZE(op->key.size));
	made.key = overlay_find(&self->overlay, TABLE_VECTOR,
							vector_key(created, op->key, key));
	/* Nobody asks whether there was one: a put need not look, but for a quota. */
	if (op->kind != ENGINE_VECTOR_PUT || op->condition != ENGINE_IF_ANY ||
		quotas_find(self->quotas, op->space) != NULL)
		overlay_want(&self->overlay, made.key);
	return made;
}

/* ---- Checks ---- */

static bool
refuse(engine_result *result, engine_code code, engine_slice text)
{
	result->code = code;
	result->text = text;
	return false;
}

static bool
check_create(batch *self, const engine_op *op, const step *of, engine_result *result)
{
	const engine_index *present;
	char		shown[SLICE_SHOWN];

	if (of->space == NULL)
		return true;
	present = vector_space_index(of->space);
	result->existed = true;
	if (index_equal(present, &op->index))
	{
		result->version = vector_space_created(of->space);
		return true;
	}
	return refuse(result, ENGINE_ALREADY_EXISTS,
				  arena_printf(&self->memory,
							   "namespace \"%s\" has an index with other parameters: "
							   "%u dimensions, %s, %s",
							   slice_show(op->space, shown, sizeof(shown)),
							   present->dimensions, metric_name(present->metric),
							   index_type_name(present->type)));
}

static bool
check_put(batch *self, const engine_op *op, const step *of, engine_result *result)
{
	const engine_index *index = vector_space_index(of->space);
	size_t		dimensions = op->value.size / sizeof(float);
	char		shown[SLICE_SHOWN];
	vector_status wrong;

	slice_show(op->space, shown, sizeof(shown));
	if (dimensions != index->dimensions)
		return refuse(result, ENGINE_INVALID_ARGUMENT,
					  arena_printf(&self->memory,
								   "vector: %zu dimensions, namespace \"%s\" has %u",
								   dimensions, shown, index->dimensions));
	/* What the index would not take must not be stored. */
	if (vector_check((vector_metric) index->metric, index->dimensions,
					 (const float *) (const void *) op->value.data, dimensions,
					 &wrong) != VECTOR_OK)
		return refuse(result, ENGINE_INVALID_ARGUMENT,
					  arena_printf(&self->memory, "%s (namespace \"%s\")", wrong.text,
								   shown));
	return true;
}

bool
vector_plan_check(batch *self, const engine_op *op, const step *of,
				  engine_result *result)
{
	char		shown[SLICE_SHOWN];

	if (op->kind == ENGINE_INDEX_CREATE)
		return check_create(self, op, of, result);
	if (op->kind == ENGINE_INDEX_DROP)
	{
		result->existed = of->space != NULL;
		return true;
	}
	if (op->kind == ENGINE_VECTOR_CHECK)
		return true;
	if (of->space == NULL)
		return refuse(result, ENGINE_NOT_FOUND,
					  arena_printf(&self->memory, "namespace \"%s\" has no vector index",
								   slice_show(op->space, shown, sizeof(shown))));
	return op->kind != ENGINE_VECTOR_PUT || check_put(self, op, of, result);
}

bool
vector_plan_check_range(batch *self, const engine_op *op, step *of, engine_result *result)
{
	const table_methods *methods = self->table->methods;
	table_iterator *iterator;
	engine_slice key;
	engine_slice stored;
	engine_status status;

	if (!vector_plan_check(self, op, of, result))
		return false;
	if (slice_compare(of->range.start, of->range.end) >= 0)
		return true;
	iterator = methods->iterate(self->table, &of->range);
	while (methods->next(iterator, &key, &stored))
		result->deleted++;
	of->stored = result->deleted;
	return methods->iterate_end(iterator, &status) ||
		refuse(result, status.code, arena_printf(&self->memory, "%s", status.text));
}

void
vector_plan_reserve(batch *self, const engine_op *op, step *of, engine_result *result)
{
	engine_status status;

	of->reserved = vector_space_reserve(of->space, op->key.size, &status);
	if (!of->reserved)
		refuse(result, status.code, arena_printf(&self->memory, "%s", status.text));
}

/* ---- Application ---- */

static void
write_index(batch *self, const engine_op *op, engine_version version)
{
	index_entry made = {op->index, version};
	char		buffer[INDEX_ENTRY_SIZE];

	self->table->methods->put(self->table, TABLE_INDEX, op->space,
							  index_entry_encode(&made, buffer), slice_of(NULL, 0));
}

static void
delete_index(batch *self, const engine_op *op, const step *of)
{
	const table_methods *methods = self->table->methods;
	engine_version created = vector_space_created(of->space);
	char		start[8];
	char		end[8];

	methods->delete(self->table, TABLE_INDEX, op->space);
	methods->delete_range(self->table, TABLE_VECTOR, vector_key_start(created, start),
						  vector_key_end(created, end));
}

static void
write_vector(batch *self, const engine_op *op, step *of, engine_version version)
{
	entry		written = {.version = version, .value = op->value};
	char		head[ENTRY_HEAD_SIZE];

	self->table->methods->put(self->table, TABLE_VECTOR, of->key->key,
							  entry_head(&written, head), op->value);
	of->key->stored = true;
	of->key->entry = written;
}

/* What goes is remembered: it goes from the index too, once it is written. */
static void
delete_range(batch *self, step *of)
{
	const table_methods *methods = self->table->methods;
	table_iterator *iterator = methods->iterate(self->table, &of->range);
	bool		one_by_one = of->stored <= RANGE_KEYS_ONE_BY_ONE;
	engine_slice key;
	engine_slice stored;
	engine_status status;
	uint64_t	n = 0;

	of->ids = arena_alloc(&self->memory, of->stored * sizeof(engine_slice));
	if (!one_by_one)
		methods->delete_range(self->table, TABLE_VECTOR, of->range.start, of->range.end);
	while (n < of->stored && methods->next(iterator, &key, &stored))
	{
		if (one_by_one)
			methods->delete(self->table, TABLE_VECTOR, key);
		of->ids[n++] = arena_copy(&self->memory, vector_key_id(key));
	}
	of->stored = n;
	/* Read through a moment ago without error. */
	methods->iterate_end(iterator, &status);
}

void
vector_plan_apply(batch *self, const engine_op *op, step *of, engine_version version)
{
	of->applied = version;
	switch (op->kind)
	{
		case ENGINE_VECTOR_PUT:
			write_vector(self, op, of, version);
			break;
		case ENGINE_VECTOR_DELETE:
			self->table->methods->delete(self->table, TABLE_VECTOR, of->key->key);
			of->key->stored = false;
			break;
		case ENGINE_VECTOR_DELETE_RANGE:
			delete_range(self, of);
			break;
		case ENGINE_INDEX_CREATE:
			write_index(self, op, version);
			break;
		case ENGINE_INDEX_DROP:
			delete_index(self, op, of);
			break;
		default:
			break;
	}
}

/* ---- After the write ---- */

static void
forget_range(const step *of)
{
	for (uint64_t i = 0; i < of->stored; i++)
		vector_space_delete(of->space, of->ids[i]);
}

void
vector_plan_written(batch *self, const plan *of)
{
	for (size_t i = 0; i < of->unit->n_ops; i++)
	{
		const engine_op *op = &of->unit->ops[i];
		const step *at = &of->steps[i];

		if (at->applied.index == 0)
			continue;
		if (op->kind == ENGINE_VECTOR_PUT)
			vector_space_put(at->space, op->key, at->applied, op->value);
		else if (op->kind == ENGINE_VECTOR_DELETE)
			vector_space_delete(at->space, op->key);
		else if (op->kind == ENGINE_VECTOR_DELETE_RANGE)
			forget_range(at);
		else if (op->kind == ENGINE_INDEX_CREATE)
			vectors_create(self->vectors, op->space, &op->index, at->applied);
		else if (op->kind == ENGINE_INDEX_DROP)
			vectors_drop(self->vectors, at->space);
	}
}

void
vector_plan_undo_step(plan *of, size_t i)
{
	if (of->steps[i].reserved)
		vector_space_unreserve(of->steps[i].space, of->unit->ops[i].key.size);
	of->steps[i].reserved = false;
}

void
vector_plan_undone(plan *of)
{
	for (size_t i = 0; i < of->unit->n_ops; i++)
		vector_plan_undo_step(of, i);
}
