/*
 * test_engine_idempotency.c - a repeated request is executed once, and told what
 * it was told the first time.
 */
#include "support/engine_fixture.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define HOUR_MS (UINT64_C(3600) * 1000)
#define CLIENT "~nk1/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"

static answer
commit_keyed(engine *on, const char *key, const char *scope, engine_op *ops, size_t n,
			 bool atomic)
{
	engine_unit unit = {.atomic = atomic, .ops = ops, .n_ops = n,
		.idempotency_key = TEXT(key), .scope = TEXT(scope)};
	answer		done;

	commit_unit(on, &unit, &done);
	return done;
}

/* Adds one to "n" under the key; the code, and the new value where it is OK. */
static engine_code
add_keyed(engine *on, const char *key, const char *scope, int64_t *value, bool *repeated)
{
	engine_op	op = {.kind = ENGINE_ADD, .key = TEXT("n"), .delta = 1};
	answer		done = commit_keyed(on, key, scope, &op, 1, true);
	engine_code code = done.status.code;

	*value = done.n_results == 1 ? done.results[0].value : 0;
	*repeated = done.repeated;
	answer_free(&done);
	return code;
}

static void
assert_added(engine *on, const char *key, int64_t expected, bool expect_repeated)
{
	int64_t		value;
	bool		repeated;

	assert_int_equal(add_keyed(on, key, "", &value, &repeated), ENGINE_OK);
	assert_int_equal(value, expected);
	assert_int_equal(repeated, expect_repeated);
}

static bool
is_durable(const fixture *fix)
{
	return strcmp(fix->name, "rocksdb") == 0;
}

/* ---- Keys of the caller ---- */

static void
test_repeat_gets_first_answer(void **state)
{
	fixture    *fix = *state;

	assert_added(fix->engine, "job-1", 1, false);
	assert_added(fix->engine, "job-1", 1, true);
	assert_added(fix->engine, "job-2", 2, false);
	if (is_durable(fix))
		fixture_reopen(fix);
	else
		put_text(fix->engine, "other", "");
	fixture_pass_ms(fix, 23 * HOUR_MS);
	assert_added(fix->engine, "job-1", 1, true);
	assert_value(fix->engine, "n", "2");
	fixture_pass_ms(fix, HOUR_MS + 1);
	assert_added(fix->engine, "job-1", 3, false);
}

static void
test_other_request_is_refused(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_op	op = {.kind = ENGINE_ADD, .key = TEXT("n"), .delta = 2};
	answer		done;

	assert_added(on, "job", 1, false);
	done = commit_keyed(on, "job", "", &op, 1, true);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	answer_free(&done);
	op.delta = 1;
	op.condition = ENGINE_IF_VERSION;
	op.version = (engine_version) {1, 1};
	done = commit_keyed(on, "job", "", &op, 1, true);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	answer_free(&done);
	assert_value(on, "n", "1");
}

static void
test_scopes_are_apart(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	int64_t		value;
	bool		repeated;

	assert_int_equal(add_keyed(on, "job", "alice", &value, &repeated), ENGINE_OK);
	assert_int_equal(add_keyed(on, "job", "bob", &value, &repeated), ENGINE_OK);
	assert_false(repeated);
	assert_int_equal(value, 2);
	/* Where the scope ends is not to be moved by the key. */
	assert_int_equal(add_keyed(on, "bjob", "", &value, &repeated), ENGINE_OK);
	assert_int_equal(add_keyed(on, "job", "b", &value, &repeated), ENGINE_OK);
	assert_int_equal(value, 4);
	assert_int_equal(add_keyed(on, "job", "alice", &value, &repeated), ENGINE_OK);
	assert_true(repeated);
	assert_int_equal(value, 1);
}

static void
test_only_applied_writes_are_remembered(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_op	put = {.kind = ENGINE_PUT, .key = TEXT("k"),
		.condition = ENGINE_IF_VERSION,
	.version = {1, 1}};
	answer		done = commit_keyed(on, "job", "", &put, 1, true);

	assert_int_equal(done.status.code, ENGINE_FAILED_PRECONDITION);
	answer_free(&done);
	put_text(on, "k", "1");
	done = commit_keyed(on, "job", "", &put, 1, true);
	assert_int_equal(done.status.code, ENGINE_OK);
	assert_false(done.repeated);
	assert_int_equal(done.results[0].version.index, 2);
	answer_free(&done);
}

static void
test_all_results_come_back(void **state)
{
	fixture    *fix = *state;
	engine_op	ops[] = {
		{.kind = ENGINE_PUT, .key = TEXT("a"), .value = TEXT("1")},
		{.kind = ENGINE_DELETE, .key = TEXT("none")},
		{.kind = ENGINE_PUT, .key = TEXT("b"), .condition = ENGINE_IF_VERSION,
			.version = {9, 9}},
		{.kind = ENGINE_ADD, .key = TEXT("n"), .delta = INT64_MIN},
		{.kind = ENGINE_DELETE_RANGE, .key = TEXT("x"), .end_key = TEXT("y")},
	};
	answer		first;
	answer		second;

	put_text(fix->engine, "x1", "");
	put_text(fix->engine, "x2", "");
	first = commit_keyed(fix->engine, "job", "", ops, lengthof(ops), false);
	assert_int_equal(first.results[4].deleted, 2);
	if (is_durable(fix))
		fixture_reopen(fix);
	second = commit_keyed(fix->engine, "job", "", ops, lengthof(ops), false);
	assert_true(second.repeated);
	assert_int_equal(second.n_results, lengthof(ops));
	for (size_t i = 0; i < lengthof(ops); i++)
	{
		assert_int_equal(first.results[i].code, second.results[i].code);
		assert_int_equal(first.results[i].version.index, second.results[i].version.index);
		assert_int_equal(first.results[i].existed, second.results[i].existed);
		assert_true(first.results[i].value == second.results[i].value);
		assert_int_equal(first.results[i].deleted, second.results[i].deleted);
		assert_true(slice_equal(first.results[i].text, second.results[i].text));
	}
	answer_free(&first);
	answer_free(&second);
}

static void
test_records_are_limited(void **state)
{
	fixture    *fix = *state;
	int64_t		value;
	bool		repeated;
	char		key[32];

	fix->max_idempotency = 10;
	fixture_reopen(fix);
	for (int i = 1; i <= 10; i++)
	{
		snprintf(key, sizeof(key), "job-%d", i);
		assert_added(fix->engine, key, i, false);
	}
	assert_int_equal(add_keyed(fix->engine, "job-11", "", &value, &repeated),
					 ENGINE_RESOURCE_EXHAUSTED);
	assert_added(fix->engine, "job-3", 3, true);
	assert_value(fix->engine, "n", "10");
	if (is_durable(fix))
	{
		fixture_reopen(fix);
		assert_int_equal(add_keyed(fix->engine, "job-11", "", &value, &repeated),
						 ENGINE_RESOURCE_EXHAUSTED);
	}
	/* After a day there is room for others. */
	fixture_pass_ms(fix, 24 * HOUR_MS + 1);
	assert_added(fix->engine, "job-11", 11, false);
}

/* ---- Slots of the client ---- */

static void
test_slot_goes_on(void **state)
{
	fixture    *fix = *state;
	int64_t		value;
	bool		repeated;

	assert_added(fix->engine, CLIENT "/0/1", 1, false);
	assert_added(fix->engine, CLIENT "/0/1", 1, true);
	assert_added(fix->engine, CLIENT "/1/1", 2, false);
	assert_added(fix->engine, CLIENT "/0/5", 3, false);
	if (is_durable(fix))
		fixture_reopen(fix);
	assert_int_equal(add_keyed(fix->engine, CLIENT "/0/1", "", &value, &repeated),
					 ENGINE_ABORTED);
	assert_int_equal(add_keyed(fix->engine, CLIENT "/0/4", "", &value, &repeated),
					 ENGINE_ABORTED);
	assert_added(fix->engine, CLIENT "/0/5", 3, true);
	assert_value(fix->engine, "n", "3");
	/* Numbers, not texts. */
	assert_added(fix->engine, CLIENT "/0/10", 4, false);
	assert_int_equal(add_keyed(fix->engine, CLIENT "/0/9", "", &value, &repeated),
					 ENGINE_ABORTED);
}

static void
test_slot_is_dropped_after_an_hour(void **state)
{
	fixture    *fix = *state;

	assert_added(fix->engine, CLIENT "/0/7", 1, false);
	fixture_pass_ms(fix, HOUR_MS / 2);
	assert_added(fix->engine, CLIENT "/0/8", 2, false);
	fixture_pass_ms(fix, HOUR_MS - 1);
	assert_added(fix->engine, CLIENT "/0/8", 2, true);
	fixture_pass_ms(fix, 2);
	assert_added(fix->engine, CLIENT "/0/1", 3, false);
}

/*
 * The first attempt of a request comes after the client was told that another
 * attempt had failed: it must not be carried out now that it could be.
 */
static void
test_late_attempt_in_slot(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_op	put = {.kind = ENGINE_PUT, .key = TEXT("k"), .value = TEXT("late"),
		.condition = ENGINE_IF_VERSION, .version = {1, 1}};
	engine_op	delete = {.kind = ENGINE_DELETE, .key = TEXT("k")};
	answer		done = commit_keyed(on, CLIENT "/0/1", "", &put, 1, true);

	assert_int_equal(done.status.code, ENGINE_FAILED_PRECONDITION);
	answer_free(&done);
	put_text(on, "k", "1");
	done = commit_keyed(on, CLIENT "/0/1", "", &put, 1, true);
	assert_int_equal(done.status.code, ENGINE_FAILED_PRECONDITION);
	assert_true(done.repeated);
	assert_string_equal(done.status.text,
						"Version mismatch: expected 1/1, present absent");
	answer_free(&done);
	assert_value(on, "k", "1");

	assert_true(delete_text(on, "k"));
	done = commit_keyed(on, CLIENT "/0/2", "", &delete, 1, true);
	assert_false(done.results[0].existed);
	answer_free(&done);
	put_text(on, "k", "2");
	done = commit_keyed(on, CLIENT "/0/2", "", &delete, 1, true);
	assert_true(done.repeated);
	answer_free(&done);
	assert_value(on, "k", "2");
}

static void
test_slot_keys_are_checked(void **state)
{
	static const char *const bad[] = {
		"~nk1/", CLIENT, CLIENT "/", CLIENT "/1", CLIENT "/1/", CLIENT "//1",
		CLIENT "/a/1", CLIENT "/1/x", CLIENT "/1/99999999999999999999", "~nk1/short/1/1"
	};
	engine	   *on = ((fixture *) *state)->engine;
	int64_t		value;
	bool		repeated;
	char		large[514];

	for (size_t i = 0; i < lengthof(bad); i++)
		assert_int_equal(add_keyed(on, bad[i], "", &value, &repeated),
						 ENGINE_INVALID_ARGUMENT);
	memset(large, 'x', sizeof(large));
	large[513] = '\0';
	assert_int_equal(add_keyed(on, large, "", &value, &repeated),
					 ENGINE_INVALID_ARGUMENT);
	large[512] = '\0';
	assert_int_equal(add_keyed(on, large, "", &value, &repeated), ENGINE_OK);
	assert_added(on, CLIENT "/1/18446744073709551615", 2, false);
}

/* ---- Together ---- */

#define SENDERS 8

typedef struct sender
{
	pthread_t	thread;
	engine	   *on;
	unsigned	number;
	unsigned	requests;
	unsigned	wrong;
} sender;

/* Every request three times, as retries do, all threads the same requests. */
static void *
send_repeats(void *arg)
{
	sender	   *self = arg;
	char		key[32];
	int64_t		first;
	int64_t		again;
	bool		repeated;

	for (unsigned i = 0; i < self->requests; i++)
	{
		snprintf(key, sizeof(key), "shared-%u", i);
		if (add_keyed(self->on, key, "", &first, &repeated) != ENGINE_OK)
			self->wrong++;
		for (int repeat = 0; repeat < 2; repeat++)
		{
			if (add_keyed(self->on, key, "", &again, &repeated) != ENGINE_OK ||
				!repeated || again != first)
				self->wrong++;
		}
	}
	return NULL;
}

static void
test_repeats_from_many_threads(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	unsigned	requests = rounds(500);
	char		expected[32];
	sender		senders[SENDERS];

	for (unsigned i = 0; i < SENDERS; i++)
	{
		senders[i] = (sender) {.on = on, .number = i, .requests = requests};
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_repeats,
										&senders[i]),
						 0);
	}
	for (unsigned i = 0; i < SENDERS; i++)
	{
		pthread_join(senders[i].thread, NULL);
		assert_int_equal(senders[i].wrong, 0);
	}
	snprintf(expected, sizeof(expected), "%u", requests);
	assert_value(on, "n", expected);
}

#define EACH(test) {#test, test, fixture_setup, fixture_teardown, NULL}

static int
run_on(const char *name, CMFixtureFunction fixture_setup)
{
	const struct CMUnitTest tests[] = {
		EACH(test_repeat_gets_first_answer),
		EACH(test_other_request_is_refused),
		EACH(test_scopes_are_apart),
		EACH(test_only_applied_writes_are_remembered),
		EACH(test_all_results_come_back),
		EACH(test_records_are_limited),
		EACH(test_slot_goes_on),
		EACH(test_slot_is_dropped_after_an_hour),
		EACH(test_late_attempt_in_slot),
		EACH(test_slot_keys_are_checked),
		EACH(test_repeats_from_many_threads),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
	return run_on("memory", fixture_setup_memory) + run_on("rocksdb",
														   fixture_setup_rocksdb);
}
