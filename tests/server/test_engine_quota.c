/*
 * test_engine_quota.c - quotas: what they count, what they refuse, on each engine,
 * and that no crash parts the counts from the keys.
 */
#include "support/quota_calls.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static engine *
engine_of(void **state)
{
	return ((fixture *) *state)->engine;
}

static engine_op
put_op(const char *key, const char *value)
{
	return (engine_op) {.kind = ENGINE_PUT, .blind = true, .key = TEXT(key),
		.value = TEXT(value)};
}

/* ---- What is counted and refused ---- */

static void
test_limits_are_exact(void **state)
{
	engine	   *on = engine_of(state);

	set_quota(on, "a/", 2, 20);
	put_text(on, "a/1", "12");
	put_text(on, "b/1", "1234567890");
	assert_usage(on, "a/", 1, 5);
	put_text(on, "a/2", "");
	assert_usage(on, "a/", 2, 8);
	assert_over_quota(on, put_op("a/3", ""),
					  "quota of prefix \"a/\" exceeded: at most 2 "
					  "keys, 2 are used, 1 more were to be written");
	assert_absent(on, "a/3");
	/* an overwrite counts the difference, in both directions */
	put_text(on, "a/2", "123456789012");
	assert_usage(on, "a/", 2, 20);
	assert_over_quota(on, put_op("a/1", "123"),
					  "quota of prefix \"a/\" exceeded: at most "
					  "20 bytes, 20 are used, 1 more were to be written");
	assert_value(on, "a/1", "12");
	put_text(on, "a/2", "1");
	assert_usage(on, "a/", 2, 9);
	assert_true(delete_text(on, "a/1"));
	assert_usage(on, "a/", 1, 4);
	put_text(on, "a/3", "");
	assert_usage(on, "a/", 2, 7);
}

static void
test_adds_count_their_digits(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	add = {.kind = ENGINE_ADD, .key = TEXT("n/x"), .delta = 9,
		.ttl = ENGINE_TTL_KEEP};

	set_quota(on, "n/", 0, 5);
	assert_int_equal(try_op(on, add).code, ENGINE_OK);
	assert_usage(on, "n/", 1, 4);
	assert_int_equal(try_op(on, add).code, ENGINE_OK);
	assert_usage(on, "n/", 1, 5);
	add.delta = 100;
	assert_over_quota(on, add,
					  "quota of prefix \"n/\" exceeded: at most 5 bytes, 5 are "
					  "used, 1 more were to be written");
	assert_value(on, "n/x", "18");
	add.delta = -25;
	assert_int_equal(try_op(on, add).code, ENGINE_OK);
	assert_value(on, "n/x", "-7");
	assert_usage(on, "n/", 1, 5);
}

static void
test_atomic_units_are_judged_by_their_sum(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	ops[3] = {
		{.kind = ENGINE_DELETE, .key = TEXT("u/1")},
		put_op("u/2", "x"),
		put_op("u/3", "x"),
	};
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = 2};
	answer		done;

	set_quota(on, "u/", 1, 0);
	put_text(on, "u/1", "x");
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	answer_free(&done);
	assert_usage(on, "u/", 1, 4);

	ops[0].key = TEXT("u/2");
	ops[1].key = TEXT("u/4");
	unit.n_ops = 3;
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_RESOURCE_EXHAUSTED);
	assert_int_equal(done.operation, 1);
	assert_int_equal(done.results[2].code, ENGINE_ABORTED);
	answer_free(&done);
	assert_value(on, "u/2", "x");
	assert_usage(on, "u/", 1, 4);

	/* each on its own: what there is room for takes place */
	unit.atomic = false;
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	assert_int_equal(done.results[0].code, ENGINE_OK);
	assert_int_equal(done.results[1].code, ENGINE_OK);
	assert_int_equal(done.results[2].code, ENGINE_RESOURCE_EXHAUSTED);
	answer_free(&done);
	assert_usage(on, "u/", 1, 4);
}

static void
test_nested_quotas_all_count(void **state)
{
	engine	   *on = engine_of(state);

	set_quota(on, "", 3, 0);
	set_quota(on, "t/", 2, 0);
	set_quota(on, "t/a/", 0, 0);
	set_quota(on, "t/b", 1, 0);
	put_text(on, "t/a/1", "");
	put_text(on, "t/b1", "");
	assert_usage(on, "", 2, 9);
	assert_usage(on, "t/", 2, 9);
	assert_usage(on, "t/a/", 1, 5);
	assert_usage(on, "t/b", 1, 4);
	assert_over_quota(on, put_op("t/a/2", ""),
					  "quota of prefix \"t/\" exceeded: at most 2 "
					  "keys, 2 are used, 1 more were to be written");
	put_text(on, "x", "");
	assert_int_equal(try_op(on, put_op("y", "")).code, ENGINE_RESOURCE_EXHAUSTED);
	assert_true(remove_quota(on, ""));
	assert_false(remove_quota(on, ""));
	put_text(on, "y", "");
	assert_usage(on, "t/", 2, 9);
}

static void
test_range_deletes_count(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	range = {.kind = ENGINE_DELETE_RANGE, .key = TEXT("r/1"),
		.end_key = TEXT("r/3")};
	engine_status status;

	set_quota(on, "r/", 0, 0);
	set_quota(on, "r/2", 0, 0);
	put_text(on, "r/0", "");
	put_text(on, "r/1", "");
	put_text(on, "r/2", "22");
	put_text(on, "r/3", "");
	assert_int_equal(commit_op(on, range, &status).deleted, 2);
	assert_usage(on, "r/", 2, 6);
	assert_usage(on, "r/2", 0, 0);
}

/* Lowered below what is there: nothing more comes in, and what goes, goes. */
static void
test_lowered_limit(void **state)
{
	engine	   *on = engine_of(state);

	put_text(on, "l/1", "123");
	put_text(on, "l/2", "123");
	set_quota(on, "l/", 1, 4);
	assert_usage(on, "l/", 2, 12);
	assert_int_equal(try_op(on, put_op("l/3", "")).code, ENGINE_RESOURCE_EXHAUSTED);
	assert_int_equal(try_op(on, put_op("l/1", "1234")).code, ENGINE_RESOURCE_EXHAUSTED);
	assert_int_equal(try_op(on, put_op("l/1", "12")).code, ENGINE_OK);
	assert_int_equal(try_op(on, put_op("l/1", "xy")).code, ENGINE_OK);
	assert_true(delete_text(on, "l/1"));
	assert_usage(on, "l/", 1, 6);
	set_quota(on, "l/", 0, 0);
	put_text(on, "l/3", "");
}

/* At the very instant they are absent, and the sweep has not been there yet. */
static void
test_expired_keys_are_no_obstacle(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;
	unsigned	n = rounds(500);

	set_quota(on, "e/", 2, 0);
	for (unsigned i = 0; i < n; i++)
	{
		put_ttl(on, "e/1", "1", 10);
		put_ttl(on, "e/2", "1", 10);
		assert_int_equal(try_op(on, put_op("e/3", "")).code, ENGINE_RESOURCE_EXHAUSTED);
		fixture_pass_ms(fix, 10);
		assert_int_equal(try_op(on, put_op("e/3", "")).code, ENGINE_OK);
		assert_true(delete_text(on, "e/3"));
	}
	fixture_pass_ms(fix, 1000);
	while (usage_of(on, "e/").keys > 0)
		usleep(1000);
	assert_usage(on, "e/", 0, 0);
}

static void
test_no_quota(void **state)
{
	engine	   *on = engine_of(state);
	usage_answer found;
	engine_op	two[2] = {{.kind = ENGINE_QUOTA_SET}, put_op("k", "")};
	engine_unit unit = {.ops = two, .n_ops = 2};
	answer		done;

	on->methods->usage(on, TEXT("none/"), take_usage, &found);
	assert_int_equal(found.status.code, ENGINE_NOT_FOUND);
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	answer_free(&done);
}

/* ---- While many write ---- */

#define WRITERS 4

typedef struct writer
{
	engine	   *on;
	unsigned	number;
	unsigned	n;
	unsigned	accepted;
} writer;

static void *
write_keys(void *arg)
{
	writer	   *self = arg;
	char		key[24];

	for (unsigned i = 0; i < self->n; i++)
	{
		snprintf(key, sizeof(key), "m/%u/%u", self->number, i);
		if (try_op(self->on, put_op(key, "v")).code == ENGINE_OK)
			self->accepted++;
	}
	return NULL;
}

static void
test_writers_at_once_pass_no_limit(void **state)
{
	engine	   *on = engine_of(state);
	unsigned	n = rounds(2000);
	unsigned	limit = WRITERS * n / 2;
	unsigned	accepted = 0;
	writer		writers[WRITERS];
	pthread_t	threads[WRITERS];

	set_quota(on, "m/", limit, 0);
	for (unsigned i = 0; i < WRITERS; i++)
	{
		writers[i] = (writer) {on, i, n, 0};
		pthread_create(&threads[i], NULL, write_keys, &writers[i]);
	}
	for (unsigned i = 0; i < WRITERS; i++)
	{
		pthread_join(threads[i], NULL);
		accepted += writers[i].accepted;
	}
	assert_int_equal(accepted, limit);
	assert_int_equal(usage_of(on, "m/").keys, limit);
	assert_int_equal(count_keys(on), limit);
}

/* ---- Counting what is there, and against a model ---- */

/* What the keys under the prefix are, asked for one by one. */
static engine_usage
count_live(engine *on, const char *prefix)
{
	engine_scan scan = {.start = TEXT("")};
	engine_status status;
	engine_cursor *cursor = on->methods->scan_open(on, &scan, &status);
	engine_usage found = {0};
	page		at = {0};

	do
	{
		read_page(on, cursor, 1 << 16, &at);
		for (size_t i = 0; i < at.n_entries; i++)
		{
			if (at.entries[i].key.size < strlen(prefix) ||
				memcmp(at.entries[i].key.data, prefix, strlen(prefix)) != 0)
				continue;
			found.keys++;
			found.bytes += at.entries[i].key.size + at.entries[i].value.size;
		}
		page_free(&at);
	} while (!at.last);
	on->methods->scan_close(cursor);
	return found;
}

static void
assert_counted_right(engine *on, const char *prefix)
{
	engine_usage live = count_live(on, prefix);

	assert_usage(on, prefix, live.keys, live.bytes);
}

/* One random change of one of 5,000 keys under c/0 to c/3. */
static void
change_something(engine *on, uint64_t *random)
{
	char		key[24];
	char		end[32];
	char		value[40] = {0};
	engine_op	op = {.key = {key, 0}, .value = {value, random_below(random, 40)}};

	memset(value, 'v', op.value.size);
	snprintf(key, sizeof(key), "c/%u/%05u", (unsigned) random_below(random, 4),
			 (unsigned) random_below(random, 5000));
	op.key.size = strlen(key);
	switch (random_below(random, 8))
	{
		case 0:
			op.kind = ENGINE_DELETE;
			op.value.size = 0;
			break;
		case 1:
			op.kind = ENGINE_DELETE_RANGE;
			op.value.size = 0;
			snprintf(end, sizeof(end), "%s~", key);
			end[6] = key[6];
			op.end_key = TEXT(end);
			break;
		default:
			op.kind = ENGINE_PUT;
			op.blind = true;
			break;
	}
	try_op(on, op);
}

static bool
fill(engine *on, unsigned n)
{
	char		(*keys)[24] = calloc(n, sizeof(*keys));
	engine_op  *ops = calloc(n, sizeof(*ops));
	engine_unit unit = {.ops = ops, .n_ops = n};
	answer		done;
	bool		good;

	for (unsigned i = 0; i < n; i++)
	{
		snprintf(keys[i], sizeof(keys[i]), "c/%u/%05u", i % 4, i / 4);
		ops[i] = put_op(keys[i], "value");
	}
	commit_unit(on, &unit, &done);
	good = done.status.code == ENGINE_OK;
	answer_free(&done);
	free(ops);
	free(keys);
	return good;
}

static bool
fill_some(engine *on)
{
	return fill(on, 8000);
}

/* Set on a full prefix, it is counted while writes go on, and comes out right. */
static void
test_counting_while_writes_go_on(void **state)
{
	engine	   *on = engine_of(state);
	uint64_t	random = seed();

	assert_true(fill(on, 20000));
	for (unsigned round = 0; round < rounds(30); round++)
	{
		set_quota(on, "c/", 0, 0);
		set_quota(on, "c/2/", 0, 0);
		for (int i = 0; i < 100; i++)
			change_something(on, &random);
		assert_counted_right(on, "c/");
		assert_counted_right(on, "c/2/");
		assert_true(remove_quota(on, "c/"));
		assert_true(remove_quota(on, "c/2/"));
	}
}

/* ---- Restarts ---- */

static void
test_counts_survive_a_restart(void **state)
{
	fixture    *fix = *state;

	set_quota(fix->engine, "s/", 2, 100);
	put_text(fix->engine, "s/1", "1");
	fixture_reopen(fix);
	assert_usage(fix->engine, "s/", 1, 4);
	put_text(fix->engine, "s/2", "1");
	assert_int_equal(try_op(fix->engine, put_op("s/3", "")).code,
					 ENGINE_RESOURCE_EXHAUSTED);
	assert_int_equal(usage_of(fix->engine, "s/").quota.max_bytes, 100);
	assert_true(remove_quota(fix->engine, "s/"));
	fixture_reopen(fix);
	put_text(fix->engine, "s/3", "1");
}

static void
test_counts_survive_crashes(void **state)
{
	const quota_model model = {"c/1/", fill_some, change_something, count_live};

	assert_counts_survive_crashes(*state, &model);
}

static int
setup_closed(void **state)
{
	*state = calloc(1, sizeof(fixture));
	fixture_init(*state, "rocksdb");
	return 0;
}

#define ON(test, fixture_setup) {#test, test, fixture_setup, fixture_teardown, NULL}

static int
run_on(const char *name, CMFixtureFunction fixture_setup)
{
	const struct CMUnitTest tests[] = {
		ON(test_limits_are_exact, fixture_setup),
		ON(test_adds_count_their_digits, fixture_setup),
		ON(test_atomic_units_are_judged_by_their_sum, fixture_setup),
		ON(test_nested_quotas_all_count, fixture_setup),
		ON(test_range_deletes_count, fixture_setup),
		ON(test_lowered_limit, fixture_setup),
		ON(test_expired_keys_are_no_obstacle, fixture_setup),
		ON(test_no_quota, fixture_setup),
		ON(test_writers_at_once_pass_no_limit, fixture_setup),
		ON(test_counting_while_writes_go_on, fixture_setup),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
	const struct CMUnitTest on_disk[] = {
		ON(test_counts_survive_crashes, setup_closed),
		ON(test_counts_survive_a_restart, fixture_setup_rocksdb),
	};

	/* First: no thread of this process is lost to its children. */
	return cmocka_run_group_tests_name("restarts", on_disk, NULL, NULL) +
		run_on("memory", fixture_setup_memory) +
		run_on("rocksdb", fixture_setup_rocksdb);
}
