/*
 * test_engine_vector_scan.c - the vectors of an index in the order of their ids, page by
 * page from one snapshot: as scans of keys, and of that index only.
 */
#include "support/vector_calls.h"

#include <stdio.h>
#include <stdlib.h>

#define DIMENSIONS 4
#define MANY 500

static const engine_index points = {DIMENSIONS, ENGINE_EUCLIDEAN, ENGINE_HNSW};

static engine *
engine_of(void **state)
{
	return ((fixture *) *state)->engine;
}

/* Ids 0 to n - 1, each its number as a vector. */
static void
fill(engine *on, const char *space, unsigned n)
{
	static char ids[MANY][16];
	static float floats[MANY][DIMENSIONS];
	engine_op	ops[MANY];
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = n};
	engine_status status;
	answer		done;

	create_index(on, space, points, &status);
	assert_int_equal(status.code, ENGINE_OK);
	for (unsigned i = 0; i < n; i++)
	{
		snprintf(ids[i], sizeof(ids[i]), "%04u", i);
		floats[i][0] = (float) i;
		ops[i] = vector_put_op(space, ids[i], floats[i], DIMENSIONS);
	}
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	answer_free(&done);
}

static engine_cursor *
open_scan(engine *on, engine_scan scan)
{
	engine_status status;
	engine_cursor *cursor = on->methods->scan_open(on, &scan, &status);

	if (cursor == NULL)
		fail_msg("%s", status.text);
	return cursor;
}

static void
assert_entry(const engine_entry *entry, unsigned number, bool with_vector)
{
	char		id[8];
	float		floats[DIMENSIONS] = {(float) number};

	snprintf(id, sizeof(id), "%04u", number);
	assert_true(slice_equal(entry->key, TEXT(id)));
	assert_int_not_equal(entry->version.index, 0);
	assert_int_equal(entry->expires_at_ms, 0);
	assert_int_equal(entry->value.size, with_vector ? sizeof(floats) : 0);
	if (with_vector)
		assert_memory_equal(entry->value.data, floats, sizeof(floats));
}

/* Pages of some rows each: from the first number on, by the step. */
static void
assert_scanned(engine *on, engine_scan scan, unsigned first, int step, unsigned n)
{
	engine_cursor *cursor = open_scan(on, scan);
	unsigned	seen = 0;
	page		at = {0};

	do
	{
		read_page(on, cursor, 300, &at);
		assert_int_equal(at.status.code, ENGINE_OK);
		assert_false(at.snapshot_moved);
		for (size_t i = 0; i < at.n_entries; i++, seen++)
			assert_entry(&at.entries[i], (unsigned) ((int) first + (int) seen * step),
						 !scan.keys_only);
		page_free(&at);
	} while (!at.last);
	on->methods->scan_close(cursor);
	assert_int_equal(seen, n);
}

static void
test_ranges(void **state)
{
	engine	   *on = engine_of(state);
	engine_slice space = TEXT("b");

	/* neighbours, by name and by when they were created */
	fill(on, "a", 3);
	fill(on, "b", MANY);
	fill(on, "c", 5);
	put_text(on, "0001", "a key");
	assert_scanned(on, (engine_scan) {.space = space}, 0, 1, MANY);
	assert_scanned(on, (engine_scan) {.space = space, .reverse = true}, MANY - 1, -1, MANY);
	assert_scanned(on, (engine_scan) {.space = space, .keys_only = true}, 0, 1, MANY);
	assert_scanned(on, (engine_scan) {.space = space, .start = TEXT("0100"),
				   .end = TEXT("0200")}, 100, 1, 100);
	assert_scanned(on, (engine_scan) {.space = space, .start = TEXT("0100"),
				   .end = TEXT("0200"), .reverse = true}, 199, -1, 100);
	assert_scanned(on, (engine_scan) {.space = space, .start = TEXT("0490\xff")}, 491, 1, 9);
	assert_scanned(on, (engine_scan) {.space = space, .end = TEXT("0002\xff"),
				   .reverse = true}, 2, -1, 3);
	assert_scanned(on, (engine_scan) {.space = space, .max_rows = 7}, 0, 1, 7);
	assert_scanned(on, (engine_scan) {.space = space, .start = TEXT("2"),
				   .end = TEXT("1")}, 0, 1, 0);
	assert_scanned(on, (engine_scan) {.space = space, .start = TEXT("\xff\xff")}, 0, 1, 0);
	assert_scanned(on, (engine_scan) {.space = TEXT("a")}, 0, 1, 3);
	assert_scanned(on, (engine_scan) {.space = TEXT("c"), .reverse = true}, 4, -1, 5);
	assert_int_equal(count_keys(on), 1);
}

static void
test_no_index(void **state)
{
	engine	   *on = engine_of(state);
	engine_scan scan = {.space = TEXT("none")};
	engine_status status;

	assert_null(on->methods->scan_open(on, &scan, &status));
	assert_int_equal(status.code, ENGINE_NOT_FOUND);
	scan.space = TEXT("\xff");
	assert_null(on->methods->scan_open(on, &scan, &status));
	assert_int_equal(status.code, ENGINE_INVALID_ARGUMENT);
}

/* What is written, and even that the index is another one by now, is not in it. */
static void
test_one_snapshot(void **state)
{
	engine	   *on = engine_of(state);
	float		elsewhere[DIMENSIONS] = {-1};
	engine_cursor *cursor;
	engine_status status;
	unsigned	seen = 0;
	page		at = {0};

	fill(on, "docs", 100);
	cursor = open_scan(on, (engine_scan) {.space = TEXT("docs"), .one_snapshot = true});
	do
	{
		read_page(on, cursor, 300, &at);
		assert_int_equal(at.status.code, ENGINE_OK);
		for (size_t i = 0; i < at.n_entries; i++, seen++)
			assert_entry(&at.entries[i], seen, true);
		page_free(&at);
		if (seen < 50)
		{
			put_vector(on, "docs", "0099", elsewhere, DIMENSIONS);
			delete_vector(on, "docs", "0098");
			put_vector(on, "docs", "0097a", elsewhere, DIMENSIONS);
		}
		else if (drop_index(on, "docs", &status).existed)
			assert_int_equal(status.code, ENGINE_OK);
	} while (!at.last);
	assert_int_equal(seen, 100);
	on->methods->scan_close(cursor);
}

/* In a later snapshot there is nothing more of an index that was made anew. */
static void
test_later_snapshot(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;
	engine_cursor *cursor;
	engine_status status;
	page		at = {0};

	fill(on, "docs", 100);
	cursor = open_scan(on, (engine_scan) {.space = TEXT("docs")});
	read_page(on, cursor, 300, &at);
	assert_true(at.n_entries > 0 && !at.last);
	page_free(&at);
	drop_index(on, "docs", &status);
	fill(on, "docs", 100);
	fixture_pass_ms(fix, 30000);
	read_page(on, cursor, 300, &at);
	assert_int_equal(at.status.code, ENGINE_OK);
	assert_true(at.snapshot_moved);
	assert_int_equal(at.n_entries, 0);
	assert_true(at.last);
	page_free(&at);
	on->methods->scan_close(cursor);
}

#define EACH(test) {#test, test, fixture_setup, fixture_teardown, NULL}

static int
run_on(const char *name, CMFixtureFunction fixture_setup)
{
	const struct CMUnitTest tests[] = {
		EACH(test_ranges),
		EACH(test_no_index),
		EACH(test_one_snapshot),
		EACH(test_later_snapshot),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
	return run_on("memory", fixture_setup_memory) +
		run_on("rocksdb", fixture_setup_rocksdb);
}
