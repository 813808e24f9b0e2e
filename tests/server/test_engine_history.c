/*
 * test_engine_history.c - generated histories against a model. NORIKV_SEED repeats
 * a history.
 */
#include "support/engine_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- The model ---- */

#define KEYS 24
#define MAX_OPS 6

typedef struct modelled
{
	bool		present;
	engine_version version;
	uint64_t	expires_at_ms;
	char		value[24];
} modelled;

typedef struct model
{
	modelled	keys[KEYS];
	uint64_t	index;
	uint64_t	now_ms;
} model;

static void
name_of(unsigned key, char name[8])
{
	snprintf(name, 8, "key%02u", key);
}

static bool
live(const model *self, unsigned key)
{
	const modelled *at = &self->keys[key];

	return at->present && (at->expires_at_ms == 0 || at->expires_at_ms > self->now_ms);
}

typedef struct generated
{
	engine_op	ops[MAX_OPS];
	unsigned	keys[MAX_OPS];
	unsigned	ends[MAX_OPS];
	char		names[MAX_OPS][8];
	char		end_names[MAX_OPS][8];
	char		values[MAX_OPS][24];
	unsigned	n;
	bool		atomic;
} generated;

static bool
model_holds(const model *self, const engine_op *op, unsigned key)
{
	const modelled *at = &self->keys[key];

	if (op->condition == ENGINE_IF_ABSENT)
		return !live(self, key);
	if (op->condition == ENGINE_IF_VERSION)
		return live(self, key) && at->version.index == op->version.index &&
			at->version.term == op->version.term;
	return true;
}

static engine_code
model_check(const model *self, const engine_op *op, unsigned key)
{
	char	   *end;
	int64_t		present = 0;

	if (op->kind == ENGINE_DELETE_RANGE)
		return ENGINE_OK;
	if (!model_holds(self, op, key))
		return ENGINE_FAILED_PRECONDITION;
	if (op->kind != ENGINE_ADD)
		return ENGINE_OK;
	if (live(self, key))
	{
		present = strtoll(self->keys[key].value, &end, 10);
		if (*end != '\0' || self->keys[key].value[0] == '\0')
			return ENGINE_INVALID_ARGUMENT;
	}
	return __builtin_add_overflow(present, op->delta, &present) ? ENGINE_OUT_OF_RANGE
		: ENGINE_OK;
}

static bool
model_changes(const model *self, const engine_op *op, unsigned key, unsigned end)
{
	if (op->kind == ENGINE_CHECK)
		return false;
	if (op->kind == ENGINE_DELETE)
		return live(self, key);
	if (op->kind != ENGINE_DELETE_RANGE)
		return true;
	for (unsigned i = key; i < end; i++)
	{
		if (live(self, i))
			return true;
	}
	return false;
}

static void
model_write(model *self, const engine_op *op, unsigned key)
{
	modelled   *at = &self->keys[key];
	bool		was_live = live(self, key);
	long long	sum = (was_live ? strtoll(at->value, NULL, 10)
					   : 0) + (long long) op->delta;

	if (op->ttl == ENGINE_TTL_SET)
		at->expires_at_ms = self->now_ms + op->ttl_ms;
	else if (op->ttl == ENGINE_TTL_NONE || !was_live)
		at->expires_at_ms = 0;
	if (op->kind == ENGINE_ADD)
		snprintf(at->value, sizeof(at->value), "%lld", sum);
	else
		snprintf(at->value, sizeof(at->value), "%.*s", (int) op->value.size,
				 op->value.data);
	at->present = true;
	at->version = (engine_version) {1, self->index};
}

static void
model_apply(model *self, const generated *unit, unsigned i)
{
	const engine_op *op = &unit->ops[i];

	if (op->kind == ENGINE_DELETE)
		self->keys[unit->keys[i]].present = false;
	else if (op->kind == ENGINE_DELETE_RANGE)
	{
		for (unsigned key = unit->keys[i]; key < unit->ends[i]; key++)
			self->keys[key].present = false;
	}
	else if (op->kind != ENGINE_CHECK)
		model_write(self, op, unit->keys[i]);
}

/* What each operation must answer; true where the unit took place. */
static bool
model_run(model *self, const generated *unit, engine_code codes[MAX_OPS],
		  uint64_t versions[MAX_OPS])
{
	bool		changes[MAX_OPS];
	bool		any = false;

	for (unsigned i = 0; i < unit->n; i++)
	{
		codes[i] = model_check(self, &unit->ops[i], unit->keys[i]);
		changes[i] = codes[i] == ENGINE_OK &&
			model_changes(self, &unit->ops[i], unit->keys[i], unit->ends[i]);
		any = any || changes[i];
		versions[i] = 0;
	}
	for (unsigned i = 0; i < unit->n && unit->atomic; i++)
	{
		if (codes[i] != ENGINE_OK)
			return false;
	}
	if (unit->atomic && any)
		self->index++;
	for (unsigned i = 0; i < unit->n; i++)
	{
		if (!changes[i])
			continue;
		if (!unit->atomic)
			self->index++;
		versions[i] = self->index;
		model_apply(self, unit, i);
	}
	return true;
}

/* ---- Generating ---- */

static void
generate_condition(const model *self, uint64_t *random, engine_op *op, unsigned key)
{
	uint64_t	kind = random_below(random, 4);

	op->condition = kind == 0 ? ENGINE_IF_ABSENT : kind == 1 ? ENGINE_IF_VERSION
		: ENGINE_IF_ANY;
	if (op->kind == ENGINE_DELETE && op->condition == ENGINE_IF_ABSENT)
		op->condition = ENGINE_IF_ANY;
	if (op->kind == ENGINE_CHECK && op->condition == ENGINE_IF_ANY)
		op->condition = ENGINE_IF_ABSENT;
	/* Mostly the version that is there, sometimes one that was. */
	op->version = (engine_version) {1, self->keys[key].version.index};
	if (op->version.index == 0 || random_below(random, 4) == 0)
		op->version.index = 1 + random_below(random, self->index + 1);
}

static void
generate_op(const model *self, uint64_t *random, generated *unit, unsigned i,
			unsigned key)
{
	engine_op  *op = &unit->ops[i];

	*op = (engine_op) {.kind = (engine_op_kind) (1 + random_below(random, 4))};
	op->ttl = (engine_ttl) random_below(random, 3);
	op->ttl_ms = 1 + random_below(random, 3000);
	op->delta = (int64_t) random_below(random, 100) - 50;
	if (random_below(random, 20) == 0)
		op->delta = random_below(random, 2) == 0 ? INT64_MAX : INT64_MIN;
	snprintf(unit->values[i], sizeof(unit->values[i]), "%s%" PRIu64,
			 random_below(random, 4) == 0 ? "v" : "", random_below(random, 1000));
	op->value = TEXT(unit->values[i]);
	name_of(key, unit->names[i]);
	op->key = TEXT(unit->names[i]);
	unit->keys[i] = key;
	generate_condition(self, random, op, key);
}

/* A range takes a few keys from where the others end. */
static void
generate_unit(const model *self, uint64_t *random, generated *unit)
{
	unsigned	key = (unsigned) random_below(random, 4);

	unit->n = 0;
	unit->atomic = random_below(random, 2) == 0;
	while (unit->n < 1 + random_below(random, MAX_OPS - 1) && key < KEYS)
	{
		generate_op(self, random, unit, unit->n, key);
		unit->n++;
		key += 1 + (unsigned) random_below(random, 8);
	}
	if (random_below(random, 8) != 0 || key + 5 >= KEYS)
		return;
	name_of(key, unit->names[unit->n]);
	name_of(key + 5, unit->end_names[unit->n]);
	unit->ops[unit->n] = (engine_op) {.kind = ENGINE_DELETE_RANGE,
		.key = TEXT(unit->names[unit->n]), .end_key = TEXT(unit->end_names[unit->n])};
	unit->keys[unit->n] = key;
	unit->ends[unit->n] = key + 5;
	unit->n++;
}

/* ---- Comparing ---- */

/* What was written after a version takes those that sweeps have had in between. */
static void
allow_for_sweeps(model *self, uint64_t before, uint64_t swept)
{
	self->index += swept;
	for (unsigned key = 0; key < KEYS; key++)
	{
		if (self->keys[key].version.index > before)
			self->keys[key].version.index += swept;
	}
}

static void
run_unit(engine *on, model *self, const generated *unit)
{
	uint64_t	before = self->index;
	uint64_t	swept = 0;
	engine_unit given = {.atomic = unit->atomic, .ops = unit->ops, .n_ops = unit->n};
	engine_code codes[MAX_OPS];
	uint64_t	versions[MAX_OPS];
	bool		took_place = model_run(self, unit, codes, versions);
	answer		done;

	commit_unit(on, &given, &done);
	assert_int_equal(done.status.code == ENGINE_OK, took_place);
	assert_int_equal(done.n_results, unit->n);
	for (unsigned i = 0; i < unit->n; i++)
	{
		engine_code expected = codes[i];

		if (!took_place && expected == ENGINE_OK)
			expected = ENGINE_ABORTED;
		assert_int_equal(done.results[i].code, expected);
		if (!took_place || expected != ENGINE_OK || unit->ops[i].kind == ENGINE_CHECK)
			continue;
		/* the first that changed something says what sweeps have taken */
		if (versions[i] != 0 && versions[i] == before + 1)
			swept = done.results[i].version.index - versions[i];
		assert_int_equal(done.results[i].version.index,
						 versions[i] == 0 ? 0 : versions[i] + swept);
	}
	answer_free(&done);
	assert_true(swept < 1000);
	allow_for_sweeps(self, before, swept);
}

static void
compare_key(const model *self, const engine_entry *found, unsigned key)
{
	const modelled *at = &self->keys[key];

	assert_int_equal(found->version.index, at->version.index);
	assert_int_equal(found->expires_at_ms, at->expires_at_ms);
	assert_int_equal(found->value.size, strlen(at->value));
	assert_memory_equal(found->value.data, at->value, found->value.size);
}

static void
compare_all(engine *on, const model *self, bool reverse)
{
	engine_scan scan = {.reverse = reverse};
	engine_status status;
	engine_cursor *cursor = on->methods->scan_open(on, &scan, &status);
	page		all;
	size_t		n = 0;

	read_page(on, cursor, 1 << 20, &all);
	for (unsigned i = 0; i < KEYS; i++)
	{
		unsigned	key = reverse ? KEYS - 1 - i : i;
		char		name[8];

		name_of(key, name);
		if (!live(self, key))
		{
			assert_absent(on, name);
			continue;
		}
		assert_true(n < all.n_entries);
		assert_memory_equal(all.entries[n].key.data, name, strlen(name));
		compare_key(self, &all.entries[n], key);
		assert_value(on, name, self->keys[key].value);
		n++;
	}
	assert_int_equal(n, all.n_entries);
	page_free(&all);
	on->methods->scan_close(cursor);
}

static void
test_history_against_model(void **state)
{
	fixture    *fix = *state;
	uint64_t	random = seed();
	unsigned	steps = rounds(40000);
	model	   *expected = calloc(1, sizeof(*expected));

	for (unsigned step = 0; step < steps; step++)
	{
		generated	unit = {0};

		expected->now_ms = fixture_store_time(fix);
		generate_unit(expected, &random, &unit);
		run_unit(fix->engine, expected, &unit);
		if (random_below(&random, 10) == 0)
			fixture_pass_ms(fix, random_below(&random, 2000));
		expected->now_ms = fixture_store_time(fix);
		if (random_below(&random, 8) == 0)
			compare_all(fix->engine, expected, random_below(&random, 2) == 0);
		/* The memory engine forgets. */
		if (strcmp(fix->name, "rocksdb") == 0 && random_below(&random, 400) == 0)
			fixture_reopen(fix);
	}
	free(expected);
}

#define EACH(test) {#test, test, fixture_setup, fixture_teardown, NULL}

static int
run_on(const char *name, CMFixtureFunction fixture_setup)
{
	const struct CMUnitTest tests[] = {
		EACH(test_history_against_model),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
	return run_on("memory", fixture_setup_memory) + run_on("rocksdb",
														   fixture_setup_rocksdb);
}
