/*
 * test_engine_conformance.c - what every engine must mean by its operations: run
 * on each of them.
 */
#include "support/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define KIB 1024
#define MIB (1024 * KIB)

static engine *
engine_of(void **state)
{
	return ((fixture *) *state)->engine;
}

static engine_status
refused(engine *on, engine_op op)
{
	engine_status status;

	commit_op(on, op, &status);
	return status;
}

/* ---- Versions and conditions ---- */

static void
test_versions_grow_by_one(void **state)
{
	engine	   *on = engine_of(state);
	engine_version first = put_text(on, "a", "1");
	engine_version second;

	assert_int_equal(first.term, 1);
	assert_int_equal(first.index, 1);
	second = put_text(on, "b", "2");
	assert_int_equal(second.index, 2);
	assert_int_equal(get_text(on, "a").version.index, 1);
	/* Nothing there to delete: no version is used up. */
	assert_false(delete_text(on, "none"));
	assert_true(delete_text(on, "a"));
	assert_absent(on, "a");
	assert_int_equal(put_text(on, "a", "3").index, 4);
}

static void
test_conditions(void **state)
{
	engine	   *on = engine_of(state);
	engine_version written = put_text(on, "k", "1");
	engine_op	put = {.kind = ENGINE_PUT, .key = TEXT("k"), .value = TEXT("2")};
	engine_status status;

	put.condition = ENGINE_IF_ABSENT;
	status = refused(on, put);
	assert_int_equal(status.code, ENGINE_FAILED_PRECONDITION);
	assert_string_equal(status.text, "Version mismatch: expected absent, present 1/1");

	put.condition = ENGINE_IF_VERSION;
	put.version = (engine_version) {1, 7};
	status = refused(on, put);
	assert_int_equal(status.code, ENGINE_FAILED_PRECONDITION);
	assert_string_equal(status.text, "Version mismatch: expected 1/7, present 1/1");

	/* The term counts as well. */
	put.version = (engine_version) {2, 1};
	assert_int_equal(refused(on, put).code, ENGINE_FAILED_PRECONDITION);
	assert_value(on, "k", "1");

	put.version = written;
	assert_int_equal(refused(on, put).code, ENGINE_OK);
	assert_value(on, "k", "2");

	put.key = TEXT("new");
	status = refused(on, put);
	assert_string_equal(status.text, "Version mismatch: expected 1/1, present absent");
	put.condition = ENGINE_IF_ABSENT;
	assert_int_equal(refused(on, put).code, ENGINE_OK);
	assert_int_equal(get_text(on, "new").version.index, 3);
}

static void
test_conditional_delete(void **state)
{
	engine	   *on = engine_of(state);
	engine_version written = put_text(on, "k", "1");
	engine_op	op = {.kind = ENGINE_DELETE, .key = TEXT("k"),
		.condition = ENGINE_IF_VERSION};

	op.version = (engine_version) {written.term, written.index + 1};
	assert_int_equal(refused(on, op).code, ENGINE_FAILED_PRECONDITION);
	assert_value(on, "k", "1");
	op.version = written;
	assert_int_equal(refused(on, op).code, ENGINE_OK);
	assert_absent(on, "k");
	assert_int_equal(refused(on, op).code, ENGINE_FAILED_PRECONDITION);
	op.condition = ENGINE_IF_ABSENT;
	assert_int_equal(refused(on, op).code, ENGINE_INVALID_ARGUMENT);
}

/* ---- Sizes ---- */

static void
test_binary_keys_and_values(void **state)
{
	engine	   *on = engine_of(state);
	static const char odd[] = "\0\xff\xfe\x00z";
	engine_op	put = {.kind = ENGINE_PUT, .key = {odd, 5}, .value = {"", 0}};
	got			found;
	char		longest[1024];

	assert_int_equal(refused(on, put).code, ENGINE_OK);
	found = get_key(on, put.key);
	assert_int_equal(found.version.index, 1);
	assert_int_equal(found.size, 0);
	assert_int_equal(get_key(on, slice_of(odd, 4)).version.index, 0);

	memset(longest, 0xff, sizeof(longest));
	put.key = slice_of(longest, sizeof(longest));
	put.value = slice_of("\0x", 2);
	assert_int_equal(refused(on, put).code, ENGINE_OK);
	found = get_key(on, put.key);
	assert_int_equal(found.size, 2);
	assert_memory_equal(found.value, "\0x", 2);
}

static void
test_sizes_are_limited(void **state)
{
	engine	   *on = engine_of(state);
	char	   *large = calloc(1, MIB + 1);
	engine_op	put = {.kind = ENGINE_PUT, .key = TEXT("large"), .value = {large, MIB}};

	assert_int_equal(refused(on, put).code, ENGINE_OK);
	assert_int_equal(get_text(on, "large").size, MIB);
	put.value.size = MIB + 1;
	assert_int_equal(refused(on, put).code, ENGINE_INVALID_ARGUMENT);
	put.value.size = 1;
	put.key = slice_of(large, 1025);
	assert_int_equal(refused(on, put).code, ENGINE_INVALID_ARGUMENT);
	put.key.size = 0;
	assert_int_equal(refused(on, put).code, ENGINE_INVALID_ARGUMENT);
	put.key.size = 1;
	put.ttl = ENGINE_TTL_SET;
	put.ttl_ms = UINT64_C(36525) * 86400 * 1000;
	assert_int_equal(refused(on, put).code, ENGINE_OK);
	put.ttl_ms++;
	assert_int_equal(refused(on, put).code, ENGINE_INVALID_ARGUMENT);
	put.ttl_ms = UINT64_MAX;
	assert_int_equal(refused(on, put).code, ENGINE_INVALID_ARGUMENT);
	free(large);
}

/* ---- Add ---- */

static engine_result
add(engine *on, const char *key, int64_t delta, engine_status *status)
{
	engine_op	op = {.kind = ENGINE_ADD, .key = TEXT(key), .delta = delta};

	return commit_op(on, op, status);
}

static void
test_add(void **state)
{
	engine	   *on = engine_of(state);
	engine_status status;

	assert_int_equal(add(on, "n", 5, &status).value, 5);
	assert_int_equal(add(on, "n", -12, &status).value, -7);
	assert_value(on, "n", "-7");
	put_text(on, "n", "9223372036854775806");
	assert_true(add(on, "n", 1, &status).value == INT64_MAX);
	add(on, "n", 1, &status);
	assert_int_equal(status.code, ENGINE_OUT_OF_RANGE);
	assert_value(on, "n", "9223372036854775807");
	put_text(on, "n", "-9223372036854775808");
	assert_true(add(on, "n", 0, &status).value == INT64_MIN);
	add(on, "n", -1, &status);
	assert_int_equal(status.code, ENGINE_OUT_OF_RANGE);
	assert_true(add(on, "n", INT64_MAX, &status).value == -1);
	assert_true(add(on, "fresh", INT64_MIN, &status).value == INT64_MIN);
}

static void
test_add_needs_an_integer(void **state)
{
	static const char *const no_integers[] = {
		"", "-", "+1", " 1", "1 ", "1.0", "0x10", "abc", "9223372036854775808",
		"-9223372036854775809", "99999999999999999999999999", "1\n"
	};
	engine	   *on = engine_of(state);
	engine_status status;

	for (size_t i = 0; i < lengthof(no_integers); i++)
	{
		put_text(on, "n", no_integers[i]);
		add(on, "n", 1, &status);
		assert_int_equal(status.code, ENGINE_INVALID_ARGUMENT);
		assert_non_null(strstr(status.text, "key \"n\" holds no integer"));
		assert_value(on, "n", no_integers[i]);
	}
}

static void
test_add_keeps_ttl_when_asked(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;
	engine_op	op = {.kind = ENGINE_ADD, .key = TEXT("n"), .delta = 1,
		.ttl = ENGINE_TTL_KEEP};
	engine_status status;
	uint64_t	expires;

	put_ttl(on, "n", "1", 5000);
	expires = get_text(on, "n").expires_at_ms;
	fixture_pass_ms(fix, 1000);
	commit_op(on, op, &status);
	assert_int_equal(get_text(on, "n").expires_at_ms, expires);
	op.ttl = ENGINE_TTL_NONE;
	commit_op(on, op, &status);
	assert_int_equal(get_text(on, "n").expires_at_ms, 0);
	/* The index entry of the ttl that was taken away must not end the key. */
	fixture_pass_ms(fix, 60000);
	assert_value(on, "n", "3");
}

/* ---- Units ---- */

static void
test_atomic_unit_is_all_or_nothing(void **state)
{
	engine	   *on = engine_of(state);
	engine_version a = put_text(on, "a", "1");
	engine_op	ops[] = {
		{.kind = ENGINE_PUT, .key = TEXT("x"), .value = TEXT("1")},
		{.kind = ENGINE_CHECK, .key = TEXT("a"), .condition = ENGINE_IF_VERSION,
			.version = a},
		{.kind = ENGINE_DELETE, .key = TEXT("none")},
		{.kind = ENGINE_ADD, .key = TEXT("n"), .delta = 3},
	};
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = lengthof(ops)};
	answer		done;

	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	assert_int_equal(done.results[0].version.index, 2);
	assert_int_equal(done.results[2].version.index, 0);
	assert_false(done.results[2].existed);
	assert_int_equal(done.results[3].version.index, 2);
	assert_int_equal(done.results[3].value, 3);
	answer_free(&done);

	ops[1].version.index = 99;
	ops[2].condition = ENGINE_IF_VERSION;
	ops[2].version = a;
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_FAILED_PRECONDITION);
	assert_int_equal(done.operation, 1);
	assert_int_equal(done.results[0].code, ENGINE_ABORTED);
	assert_int_equal(done.results[1].code, ENGINE_FAILED_PRECONDITION);
	assert_int_equal(done.results[1].version.index, 1);
	assert_int_equal(done.results[2].code, ENGINE_FAILED_PRECONDITION);
	assert_int_equal(done.results[3].code, ENGINE_ABORTED);
	answer_free(&done);
	assert_int_equal(get_text(on, "x").version.index, 2);
	assert_value(on, "n", "3");
	assert_int_equal(put_text(on, "next", "").index, 3);
}

static void
test_unit_of_checks_has_no_version(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	check = {.kind = ENGINE_CHECK, .key = TEXT("a"),
		.condition = ENGINE_IF_ABSENT};

	assert_int_equal(refused(on, check).code, ENGINE_OK);
	check.condition = ENGINE_IF_ANY;
	assert_int_equal(refused(on, check).code, ENGINE_INVALID_ARGUMENT);
	assert_int_equal(put_text(on, "a", "").index, 1);
}

static void
test_each_on_its_own(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	ops[] = {
		{.kind = ENGINE_PUT, .key = TEXT("a"), .value = TEXT("1")},
		{.kind = ENGINE_PUT, .key = TEXT("b"), .condition = ENGINE_IF_VERSION,
			.version = {1, 9}},
		{.kind = ENGINE_PUT, .key = TEXT("c"), .value = TEXT("3")},
	};
	engine_unit unit = {.ops = ops, .n_ops = lengthof(ops)};
	answer		done;

	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	assert_int_equal(done.results[0].version.index, 1);
	assert_int_equal(done.results[1].code, ENGINE_FAILED_PRECONDITION);
	assert_int_equal(done.results[2].version.index, 2);
	answer_free(&done);
	assert_value(on, "c", "3");
	assert_absent(on, "b");
}

static void
test_no_key_twice(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	ops[3] = {
		{.kind = ENGINE_PUT, .key = TEXT("b")},
		{.kind = ENGINE_PUT, .key = TEXT("a")},
		{.kind = ENGINE_DELETE, .key = TEXT("b")},
	};
	engine_unit unit = {.ops = ops, .n_ops = 3};
	answer		done;

	for (int atomic = 0; atomic < 2; atomic++)
	{
		unit.atomic = atomic;
		commit_unit(on, &unit, &done);
		assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
		assert_non_null(strstr(done.status.text, "\"b\""));
		answer_free(&done);
	}
	assert_absent(on, "a");

	/* In a range: its first key is, its end is not. */
	ops[0] = (engine_op) {.kind = ENGINE_DELETE_RANGE, .key = TEXT("a"),
		.end_key = TEXT("c")};
	ops[2].key = TEXT("c");
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	answer_free(&done);
	ops[1].key = TEXT("d");
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	answer_free(&done);
	ops[0].end_key = TEXT("");
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	answer_free(&done);
}

static engine_code
too_late(void *arg)
{
	(void) arg;
	return ENGINE_DEADLINE_EXCEEDED;
}

static void
test_may_start_is_asked(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	op = {.kind = ENGINE_PUT, .key = TEXT("late")};
	engine_unit unit = {.atomic = true, .ops = &op, .n_ops = 1, .may_start = too_late};
	answer		done;

	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_DEADLINE_EXCEEDED);
	answer_free(&done);
	assert_absent(on, "late");
}

static void
test_large_units(void **state)
{
	enum
	{
		MANY = 100000, BIG = 63
	};
	engine	   *on = engine_of(state);
	engine_op  *ops = calloc(MANY + 1, sizeof(*ops));
	char		(*keys)[16] = calloc(MANY + 1, sizeof(*keys));
	char	   *value = calloc(1, MIB);
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = MANY};
	answer		done;

	for (int i = 0; i <= MANY; i++)
	{
		snprintf(keys[i], sizeof(keys[i]), "%08d", (i * 7919) % (MANY + 1));
		ops[i] = (engine_op) {.kind = ENGINE_PUT, .key = TEXT(keys[i]),
			.value = TEXT("v")};
	}
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	assert_int_equal(done.results[MANY - 1].version.index, 1);
	answer_free(&done);
	assert_int_equal(count_keys(on), MANY);

	unit.n_ops = MANY + 1;
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	answer_free(&done);

	for (int i = 0; i < BIG; i++)
		ops[i].value = slice_of(value, MIB);
	unit.n_ops = BIG;
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	answer_free(&done);
	assert_int_equal(get_key(on, ops[BIG - 1].key).size, MIB);
	free(ops);
	free(keys);
	free(value);
}

#define EACH(test) {#test, test, fixture_setup, fixture_teardown, NULL}

static int
run_on(const char *name, CMFixtureFunction fixture_setup)
{
	const struct CMUnitTest tests[] = {
		EACH(test_versions_grow_by_one),
		EACH(test_conditions),
		EACH(test_conditional_delete),
		EACH(test_binary_keys_and_values),
		EACH(test_sizes_are_limited),
		EACH(test_add),
		EACH(test_add_needs_an_integer),
		EACH(test_add_keeps_ttl_when_asked),
		EACH(test_atomic_unit_is_all_or_nothing),
		EACH(test_unit_of_checks_has_no_version),
		EACH(test_each_on_its_own),
		EACH(test_no_key_twice),
		EACH(test_may_start_is_asked),
		EACH(test_large_units),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
	return run_on("memory", fixture_setup_memory) +
		run_on("rocksdb", fixture_setup_rocksdb);
}
