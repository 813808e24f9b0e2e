/*
 * test_engine_vector_scan.c - the vectors of an index in the order of their ids: read
 * page by page from one snapshot, as scans of keys are, and deleted by ranges; of that
 * index only.
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

/* ---- Ranges that are deleted ---- */

static uint64_t
delete_range(engine *on, const char *space, const char *start, const char *end)
{
	engine_status status;
	engine_result result = commit_op(on, vector_range_op(space, start, end), &status);

	assert_int_equal(status.code, ENGINE_OK);
	return result.deleted;
}

/* What searches find is what is stored. */
static void
assert_found(engine *on, const char *space, size_t n)
{
	const float origin[DIMENSIONS] = {0};
	found_vectors found = search_nearest(on, space, origin, DIMENSIONS, 2 * MANY);
	engine_cursor *cursor = open_scan(on, (engine_scan) {.space = TEXT(space)});
	page		at = {0};

	assert_int_equal(found.n_vectors, n);
	read_page(on, cursor, 1 << 20, &at);
	assert_true(at.last);
	assert_int_equal(at.n_entries, n);
	for (size_t i = 0; i < n; i++)
		assert_true(slice_equal(at.entries[i].key, found.vectors[i].id));
	page_free(&at);
	on->methods->scan_close(cursor);
	found_free(&found);
}

static void
test_delete_range(void **state)
{
	engine	   *on = engine_of(state);
	engine_status status;

	fill(on, "a", 3);
	fill(on, "b", MANY);
	fill(on, "c", 3);
	put_text(on, "0001", "a key");
	assert_int_equal(delete_range(on, "b", "0010", "0020"), 10);
	assert_int_equal(delete_range(on, "b", "0010", "0020"), 0);
	assert_int_equal(delete_range(on, "b", "2", "1"), 0);
	assert_found(on, "b", MANY - 10);
	assert_int_equal(delete_range(on, "b", "0490\xff", ""), 9);
	assert_found(on, "b", MANY - 19);
	assert_int_equal(delete_range(on, "b", "", ""), MANY - 19);
	assert_found(on, "b", 0);
	fill(on, "b", 2);
	assert_found(on, "b", 2);
	assert_found(on, "a", 3);
	assert_found(on, "c", 3);
	assert_value(on, "0001", "a key");
	commit_op(on, vector_range_op("none", "", ""), &status);
	assert_int_equal(status.code, ENGINE_NOT_FOUND);
}

/* With other operations in one version; none of them may be in the range. */
static void
test_delete_range_in_a_unit(void **state)
{
	engine	   *on = engine_of(state);
	const float elsewhere[DIMENSIONS] = {-1};
	engine_op	ops[] = {
		vector_range_op("docs", "", "0002"),
		vector_put_op("docs", "0002", elsewhere, DIMENSIONS),
		vector_range_op("docs", "0003", ""),
		vector_put_op("more", "0001", elsewhere, DIMENSIONS),
		{.kind = ENGINE_DELETE_RANGE},
	};
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = 5};
	answer		done;

	fill(on, "docs", 100);
	fill(on, "more", 3);
	put_text(on, "0002", "a key");
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	assert_int_equal(done.results[0].deleted, 2);
	assert_int_equal(done.results[2].deleted, 97);
	assert_int_equal(done.results[2].version.index, done.results[4].version.index);
	answer_free(&done);
	assert_found(on, "docs", 1);
	assert_found(on, "more", 3);
	assert_int_equal(count_keys(on), 0);

	ops[0].end_key = TEXT("00020");
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	answer_free(&done);
	/* a condition that fails: all stay */
	ops[0].end_key = TEXT("0002");
	ops[1].condition = ENGINE_IF_ABSENT;
	fill(on, "docs", 100);
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_FAILED_PRECONDITION);
	answer_free(&done);
	assert_found(on, "docs", 100);
	ops[2].condition = ENGINE_IF_ABSENT;
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	answer_free(&done);
}

/* More than are deleted one by one, and after a restart they are gone too. */
static void
test_delete_large_range(void **state)
{
	fixture    *fix = *state;
	const char *space = "docs";

	fill(fix->engine, space, MANY);
	for (unsigned part = 0; part < 4; part++)
	{
		engine_op	ops[MANY];
		static char ids[MANY][16];
		static const float somewhere[DIMENSIONS] = {1};
		engine_unit unit = {.atomic = true, .ops = ops, .n_ops = MANY};
		answer		done;

		for (unsigned i = 0; i < MANY; i++)
		{
			snprintf(ids[i], sizeof(ids[i]), "%u/%04u", part, i);
			ops[i] = vector_put_op(space, ids[i], somewhere, DIMENSIONS);
		}
		commit_unit(fix->engine, &unit, &done);
		assert_int_equal(done.status.code, ENGINE_OK);
		answer_free(&done);
	}
	/* those of the first call among them */
	assert_int_equal(delete_range(fix->engine, space, "0/", "3/"), 4 * MANY);
	put_vector(fix->engine, space, "1/again", (const float[DIMENSIONS]) {1}, DIMENSIONS);
	if (strcmp(fix->name, "rocksdb") == 0)
		fixture_reopen(fix);
	assert_int_equal(delete_range(fix->engine, space, "", "2"), 1);
	assert_found(fix->engine, space, MANY);
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
		EACH(test_delete_range),
		EACH(test_delete_range_in_a_unit),
		EACH(test_delete_large_range),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
	return run_on("memory", fixture_setup_memory) +
		run_on("rocksdb", fixture_setup_rocksdb);
}
