/*
 * test_engine_scan.c - ranges: deleting them, and reading them page by page from
 * one snapshot while it lasts.
 */
#include "support/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define MIB (1024 * 1024)

static engine *
engine_of(void **state)
{
	return ((fixture *) *state)->engine;
}

/* ---- Ranges ---- */

static void
put_numbered(engine *on, int from, int to)
{
	engine_op  *ops = calloc((size_t) (to - from), sizeof(*ops));
	char		(*keys)[16] = calloc((size_t) (to - from), sizeof(*keys));
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = (size_t) (to - from)};
	answer		done;

	for (int i = from; i < to; i++)
	{
		snprintf(keys[i - from], sizeof(keys[0]), "k%06d", i);
		ops[i - from] = (engine_op) {.kind = ENGINE_PUT, .key = TEXT(keys[i - from]),
			.value = TEXT(keys[i - from])};
	}
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	answer_free(&done);
	free(ops);
	free(keys);
}

static uint64_t
delete_range(engine *on, const char *from, const char *to)
{
	engine_op	op = {.kind = ENGINE_DELETE_RANGE, .key = TEXT(from),
		.end_key = TEXT(to)};
	engine_status status;
	engine_result result = commit_op(on, op, &status);

	assert_int_equal(status.code, ENGINE_OK);
	return result.deleted;
}

static void
test_delete_range(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;

	put_numbered(on, 0, 5000);
	assert_int_equal(delete_range(on, "k000010", "k000020"), 10);
	assert_int_equal(delete_range(on, "k000010", "k000020"), 0);
	assert_int_equal(delete_range(on, "z", "a"), 0);
	assert_int_equal(count_keys(on), 4990);
	/* Expired keys are not there to be counted. */
	put_ttl(on, "k000015", "x", 100);
	put_ttl(on, "k000016", "x", 100000);
	fixture_pass_ms(fix, 200);
	assert_int_equal(delete_range(on, "k000000", "k000030"), 21);
	/* Enough to be deleted as a range, with and without an end. */
	assert_int_equal(delete_range(on, "k000030", "k003000"), 2970);
	assert_absent(on, "k002999");
	assert_value(on, "k003000", "k003000");
	assert_int_equal(delete_range(on, "", ""), 2000);
	assert_int_equal(count_keys(on), 0);
	put_text(on, "k000500", "again");
	assert_value(on, "k000500", "again");
	/* 1 for each unit that deleted, none for those that found nothing. */
	assert_int_equal(get_text(on, "k000500").version.index, 8);
}

/* ---- Scans ---- */

static void
test_scan_pages(void **state)
{
	engine	   *on = engine_of(state);
	engine_status status;
	char		expected[16];

	put_numbered(on, 0, 1000);
	for (int reverse = 0; reverse < 2; reverse++)
	{
		engine_scan scan = {.start = TEXT("k000100"), .end = TEXT("k000900"),
			.reverse = reverse};
		engine_cursor *cursor = on->methods->scan_open(on, &scan, &status);
		page		at = {0};
		int			n = 0;

		do
		{
			read_page(on, cursor, 500, &at);
			assert_int_equal(at.status.code, ENGINE_OK);
			assert_true(at.n_entries <= 36);
			for (size_t i = 0; i < at.n_entries; i++, n++)
			{
				snprintf(expected, sizeof(expected), "k%06d", reverse ? 899 - n
						 : 100 + n);
				assert_memory_equal(at.entries[i].key.data, expected, 7);
				assert_memory_equal(at.entries[i].value.data, expected, 7);
			}
			page_free(&at);
		} while (!at.last);
		assert_int_equal(n, 800);
		on->methods->scan_close(cursor);
	}
}

static void
test_scan_limits(void **state)
{
	engine	   *on = engine_of(state);
	engine_scan scan = {.max_rows = 10, .keys_only = true, .start = TEXT("k000005")};
	engine_status status;
	engine_cursor *cursor;
	page		at;

	put_numbered(on, 0, 100);
	cursor = on->methods->scan_open(on, &scan, &status);
	read_page(on, cursor, MIB, &at);
	assert_int_equal(at.n_entries, 10);
	assert_true(at.last);
	assert_int_equal(at.entries[0].value.size, 0);
	assert_int_equal(at.entries[0].version.index, 1);
	page_free(&at);
	on->methods->scan_close(cursor);

	scan = (engine_scan) {.count_only = true, .start = TEXT("k000090")};
	cursor = on->methods->scan_open(on, &scan, &status);
	read_page(on, cursor, 10, &at);
	assert_int_equal(at.n_entries, 0);
	assert_int_equal(at.count, 10);
	assert_true(at.last);
	page_free(&at);
	on->methods->scan_close(cursor);

	scan = (engine_scan) {.start = TEXT("b"), .end = TEXT("a")};
	cursor = on->methods->scan_open(on, &scan, &status);
	read_page(on, cursor, 10, &at);
	assert_true(at.last);
	assert_int_equal(at.n_entries, 0);
	page_free(&at);
	on->methods->scan_close(cursor);
}

/* What is written between two pages is not seen, until the snapshot moves. */
static void
test_scan_snapshot(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;
	engine_scan scan = {0};
	engine_status status;
	engine_cursor *cursor;
	page		at;

	put_numbered(on, 0, 20);
	cursor = on->methods->scan_open(on, &scan, &status);
	read_page(on, cursor, 14, &at);
	assert_int_equal(at.n_entries, 1);
	page_free(&at);
	assert_true(delete_text(on, "k000001"));
	put_text(on, "k000002", "changed");
	put_text(on, "k0000015", "new");
	fixture_pass_ms(fix, 29000);
	read_page(on, cursor, 28, &at);
	assert_false(at.snapshot_moved);
	assert_int_equal(at.n_entries, 2);
	assert_memory_equal(at.entries[0].key.data, "k000001", 7);
	assert_memory_equal(at.entries[1].value.data, "k000002", 7);
	page_free(&at);
	assert_true(delete_text(on, "k000003"));
	fixture_pass_ms(fix, 1001);
	read_page(on, cursor, 14, &at);
	assert_true(at.snapshot_moved);
	assert_memory_equal(at.entries[0].key.data, "k000004", 7);
	page_free(&at);
	read_page(on, cursor, MIB, &at);
	assert_false(at.snapshot_moved);
	assert_true(at.last);
	assert_int_equal(at.n_entries, 15);
	page_free(&at);
	on->methods->scan_close(cursor);
}

static void
test_scan_of_one_snapshot_ends(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;
	engine_scan scan = {.one_snapshot = true, .reverse = true};
	engine_status status;
	engine_cursor *cursor;
	page		at;

	put_numbered(on, 0, 20);
	cursor = on->methods->scan_open(on, &scan, &status);
	read_page(on, cursor, 14, &at);
	page_free(&at);
	fixture_pass_ms(fix, 30000);
	read_page(on, cursor, 14, &at);
	assert_int_equal(at.status.code, ENGINE_ABORTED);
	page_free(&at);
	on->methods->scan_close(cursor);
}

#define EACH(test) {#test, test, fixture_setup, fixture_teardown, NULL}

static int
run_on(const char *name, CMFixtureFunction fixture_setup)
{
	const struct CMUnitTest tests[] = {
		EACH(test_delete_range),
		EACH(test_scan_pages),
		EACH(test_scan_limits),
		EACH(test_scan_snapshot),
		EACH(test_scan_of_one_snapshot_ends),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
	return run_on("memory", fixture_setup_memory) +
		run_on("rocksdb", fixture_setup_rocksdb);
}
