/*
 * test_engine_shortcuts.c - what the committer does without reading the store: it
 * must come to the same as if it had read.
 *
 * Slots whose records are in memory, and puts that nothing depends on.
 */
#include "support/engine_fixture.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "slot_cache.h"

#define HOUR_MS (UINT64_C(3600) * 1000)
/* Real time for the sweep to come by; it looks four times a second. */
#define SWEEP_US 700000
#define CLIENT "~nk1/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"

/* ---- The table of slots by itself ---- */

#define CACHE_BYTES 65536
#define CACHE_LINES 256			/* at least; what a line takes is the cache's affair */
#define MANY 20000

static engine_slice
numbered(char text[64], const char *what, unsigned number)
{
	snprintf(text, 64, "%s-%u", what, number);
	return TEXT(text);
}

static bool
cache_has(slot_cache *cache, unsigned number, const char *what, unsigned version)
{
	char		key[64];
	char		expected[64];
	engine_slice record;

	if (!slot_cache_find(cache, numbered(key, "slot", number), &record))
		return false;
	assert_true(slice_equal(record, numbered(expected, what, version)));
	return true;
}

static void
cache_put(slot_cache *cache, unsigned number, const char *what, unsigned version)
{
	char		key[64];
	char		record[64];

	slot_cache_put(cache, numbered(key, "slot", number), numbered(record, what, version));
}

static void
test_cache_is_bounded(void **state)
{
	slot_cache *cache = slot_cache_make(CACHE_BYTES);
	unsigned	kept = 0;

	(void) state;
	for (unsigned i = 0; i < MANY; i++)
	{
		cache_put(cache, i, "record", i);
		assert_true(cache_has(cache, i, "record", i));
	}
	for (unsigned i = 0; i < MANY; i++)
		kept += cache_has(cache, i, "record", i);
	assert_in_range(kept, CACHE_LINES, CACHE_BYTES / 64);
	slot_cache_free(cache);
}

static void
test_cache_tells_the_newest_or_nothing(void **state)
{
	static const char long_record[1000];
	slot_cache *cache = slot_cache_make(CACHE_BYTES);
	engine_slice record;
	char		key[64];

	(void) state;
	for (unsigned i = 0; i < 10; i++)
		cache_put(cache, 1, "record", i);
	assert_true(cache_has(cache, 1, "record", 9));
	/* Too long to be kept: then the old one must not stay either. */
	slot_cache_put(cache, numbered(key, "slot", 1),
				   slice_of(long_record, sizeof(long_record)));
	assert_false(slot_cache_find(cache, numbered(key, "slot", 1), &record));
	slot_cache_put(cache, slice_of(long_record, sizeof(long_record)), TEXT("record"));
	assert_false(slot_cache_find(cache, slice_of(long_record, sizeof(long_record)),
								 &record));
	cache_put(cache, 1, "record", 1);
	cache_put(cache, 2, "record", 2);
	slot_cache_remove(cache, numbered(key, "slot", 1));
	assert_false(cache_has(cache, 1, "record", 1));
	assert_true(cache_has(cache, 2, "record", 2));
	slot_cache_clear(cache);
	assert_false(cache_has(cache, 2, "record", 2));
	slot_cache_free(cache);
}

/* ---- Slots ---- */

/* Adds one to "n" in the slot. */
static engine_code
add_in_slot(engine *on, unsigned slot, unsigned sequence, int64_t *value, bool *repeated)
{
	engine_op	op = {.kind = ENGINE_ADD, .key = TEXT("n"), .delta = 1};
	engine_unit unit = {.atomic = true, .ops = &op, .n_ops = 1};
	char		key[96];
	engine_code code;
	answer		done;

	snprintf(key, sizeof(key), CLIENT "/%u/%u", slot, sequence);
	unit.idempotency_key = TEXT(key);
	commit_unit(on, &unit, &done);
	code = done.status.code;
	*value = done.n_results == 1 ? done.results[0].value : 0;
	*repeated = done.repeated;
	answer_free(&done);
	return code;
}

static void
assert_added(engine *on, unsigned slot, unsigned sequence, int64_t expected,
			 bool expect_repeated)
{
	int64_t		value;
	bool		repeated;

	assert_int_equal(add_in_slot(on, slot, sequence, &value, &repeated), ENGINE_OK);
	assert_int_equal(value, expected);
	assert_int_equal(repeated, expect_repeated);
}

/* More slots than are kept in memory: the others are found in the store. */
static void
test_more_slots_than_are_kept(void **state)
{
	fixture    *fix = *state;
	int64_t		value;
	bool		repeated;
	enum
	{
		SLOTS = 300
	};

	fix->max_memory = 1;
	if (strcmp(fix->name, "rocksdb") == 0)
		fixture_reopen(fix);
	for (unsigned i = 0; i < SLOTS; i++)
		assert_added(fix->engine, i, 2, i + 1, false);
	for (unsigned i = 0; i < SLOTS; i++)
	{
		assert_added(fix->engine, i, 2, i + 1, true);
		assert_int_equal(add_in_slot(fix->engine, i, 1, &value, &repeated),
						 ENGINE_ABORTED);
	}
}

/* Dropped by the sweep: then it counts as a new one, in a number that is limited. */
static void
test_swept_slot_is_forgotten(void **state)
{
	fixture    *fix = *state;
	int64_t		value;
	bool		repeated;

	fix->max_idempotency = 1;
	fixture_reopen(fix);
	assert_added(fix->engine, 0, 5, 1, false);
	assert_int_equal(add_in_slot(fix->engine, 1, 1, &value, &repeated),
					 ENGINE_RESOURCE_EXHAUSTED);
	fixture_pass_ms(fix, HOUR_MS + 1);
	assert_added(fix->engine, 1, 1, 2, false);
	assert_int_equal(add_in_slot(fix->engine, 0, 6, &value, &repeated),
					 ENGINE_RESOURCE_EXHAUSTED);
	fixture_pass_ms(fix, HOUR_MS + 1);
	assert_added(fix->engine, 0, 1, 3, false);
}

/* ---- Puts that nothing depends on ---- */

static void
blind_put(engine *on, const char *key, const char *value, uint64_t ttl_ms)
{
	engine_op	op = {.kind = ENGINE_PUT, .blind = true, .key = TEXT(key),
		.value = TEXT(value), .ttl = ttl_ms > 0 ? ENGINE_TTL_SET : ENGINE_TTL_NONE,
		.ttl_ms = ttl_ms};
	engine_status status;

	commit_op(on, op, &status);
	assert_int_equal(status.code, ENGINE_OK);
}

/* The index keeps the instant of the entry that was there; the sweep comes by. */
static void
test_blind_put_outlives_older_ttl(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;

	put_ttl(on, "plain", "older", 1000);
	put_ttl(on, "later", "older", 1000);
	put_ttl(on, "brief", "older", 1000);
	put_ttl(on, "gone", "older", 1000);
	blind_put(on, "plain", "newer", 0);
	blind_put(on, "later", "newer", 50000);
	blind_put(on, "brief", "between", 0);
	blind_put(on, "brief", "newer", 1500);
	fixture_pass_ms(fix, 1200);
	usleep(SWEEP_US);
	assert_value(on, "plain", "newer");
	assert_int_equal(get_text(on, "plain").expires_at_ms, 0);
	assert_value(on, "later", "newer");
	assert_value(on, "brief", "newer");
	assert_absent(on, "gone");
	fixture_pass_ms(fix, 1000);
	usleep(SWEEP_US);
	assert_absent(on, "brief");
	assert_int_equal(count_keys(on), 2);
	if (strcmp(fix->name, "rocksdb") == 0)
	{
		fixture_reopen(fix);
		assert_value(fix->engine, "plain", "newer");
		assert_int_equal(count_keys(fix->engine), 2);
	}
}

/* ---- Many at once: they meet in one batch ---- */

#define UNITS 40
#define KEYS 3

typedef struct queued
{
	engine_unit unit;
	engine_op	op;
	char		key[8];
	char		value[24];
	bool		holds;			/* the condition */
	engine_code code;
	_Atomic unsigned *left;
} queued;

static void
note_code(void *arg, const engine_outcome *outcome)
{
	queued	   *self = arg;

	self->code = outcome->status.code;
	atomic_fetch_sub(self->left, 1);
}

typedef struct model_key
{
	bool		present;
	int64_t		number;
} model_key;

static void
plan_one(queued *self, model_key *model, uint64_t *random)
{
	int			what = (int) random_below(random, 6);

	self->holds = true;
	self->op.key = TEXT(self->key);
	snprintf(self->value, sizeof(self->value), "%d", (int) random_below(random, 1000));
	self->op.kind = ENGINE_PUT;
	self->op.value = TEXT(self->value);
	if (what < 3)
		self->op.blind = true;
	else if (what == 3)
	{
		self->op.kind = ENGINE_DELETE;
		self->op.value = TEXT("");
	}
	else if (what == 4)
	{
		self->op.kind = ENGINE_ADD;
		self->op.ttl = ENGINE_TTL_KEEP;
		self->op.delta = 1;
		self->op.value = TEXT("");
	}
	else
	{
		self->op.condition = ENGINE_IF_ABSENT;
		self->op.blind = true;
		self->holds = !model->present;
	}
	if (self->op.kind == ENGINE_ADD)
		model->number = (model->present ? model->number : 0) + 1;
	else if (self->op.kind == ENGINE_PUT && self->holds)
		model->number = strtol(self->value, NULL, 10);
	if (self->holds)
		model->present = self->op.kind != ENGINE_DELETE;
}

static void
run_units(engine *on, queued *units, _Atomic unsigned *left)
{
	atomic_store(left, UNITS);
	for (unsigned i = 0; i < UNITS; i++)
	{
		units[i].left = left;
		units[i].unit = (engine_unit) {.atomic = true, .ops = &units[i].op, .n_ops = 1,
			.done = note_code, .arg = &units[i]};
		on->methods->commit(on, &units[i].unit);
	}
	while (atomic_load(left) > 0)
		usleep(100);
}

static void
test_units_in_one_batch(void **state)
{
	fixture    *fix = *state;
	uint64_t	random = seed();
	model_key	model[KEYS] = {0};
	_Atomic unsigned left;

	for (unsigned round = 0; round < rounds(1000); round++)
	{
		queued		units[UNITS] = {0};

		for (unsigned i = 0; i < UNITS; i++)
		{
			unsigned	key = (unsigned) random_below(&random, KEYS);

			snprintf(units[i].key, sizeof(units[i].key), "k%u", key);
			plan_one(&units[i], &model[key], &random);
		}
		run_units(fix->engine, units, &left);
		for (unsigned i = 0; i < UNITS; i++)
			assert_int_equal(units[i].code, units[i].holds ? ENGINE_OK
							 : ENGINE_FAILED_PRECONDITION);
		for (unsigned key = 0; key < KEYS; key++)
		{
			char		name[8];
			got			found;

			snprintf(name, sizeof(name), "k%u", key);
			found = get_text(fix->engine, name);
			assert_int_equal(found.version.index != 0, model[key].present);
			if (model[key].present)
				assert_int_equal(strtol(found.value, NULL, 10), model[key].number);
		}
	}
}

#define ON(test, setup) {#test " (" #setup ")", test, setup, fixture_teardown, NULL}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cache_is_bounded),
		cmocka_unit_test(test_cache_tells_the_newest_or_nothing),
		ON(test_more_slots_than_are_kept, fixture_setup_memory),
		ON(test_more_slots_than_are_kept, fixture_setup_rocksdb),
		ON(test_swept_slot_is_forgotten, fixture_setup_rocksdb),
		ON(test_blind_put_outlives_older_ttl, fixture_setup_memory),
		ON(test_blind_put_outlives_older_ttl, fixture_setup_rocksdb),
		ON(test_units_in_one_batch, fixture_setup_memory),
		ON(test_units_in_one_batch, fixture_setup_rocksdb),
	};

	return cmocka_run_group_tests_name("engine shortcuts", tests, NULL, NULL);
}
