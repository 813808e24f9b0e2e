/*
 * test_engine_vector_disk.c - vectors on a disk that is full, or fails: searches
 * find what was acknowledged and nothing that was refused, then and after a restart.
 */
#include "support/vector_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/faulty_disk.h"

#define DIMENSIONS 1000
#define TRIES 200
#define PAUSE_US 100000

static const engine_index large = {DIMENSIONS, ENGINE_EUCLIDEAN, ENGINE_HNSW};

static int
setup_docs(void **state)
{
	engine_status status;
	fixture    *fix;

	setup(state);
	fix = *state;
	create_index(fix->engine, "docs", large, &status);
	assert_int_equal(status.code, ENGINE_OK);
	return 0;
}

static engine_status
try_put(engine *on, unsigned number)
{
	static uint64_t random;
	float		floats[DIMENSIONS];
	char		id[16];
	engine_status status;

	random_vector(&random, floats, DIMENSIONS);
	snprintf(id, sizeof(id), "%05u", number);
	commit_op(on, vector_put_op("docs", id, floats, DIMENSIONS), &status);
	return status;
}

/* So many vectors, for a search and for gets, and none of the number after. */
static void
assert_vectors(engine *on, unsigned n)
{
	static float query[DIMENSIONS];
	found_vectors all = search_nearest(on, "docs", query, DIMENSIONS, 100000);

	assert_int_equal(all.n_vectors, n);
	found_free(&all);
	for (unsigned i = 0; i <= n; i++)
	{
		char		id[16];
		engine_slice name = {id, 5};
		found_vectors got_one;

		snprintf(id, sizeof(id), "%05u", i);
		got_one = get_vectors(on, "docs", &name, 1);
		assert_int_equal(got_one.n_vectors, 1);
		assert_int_equal(got_one.vectors[0].version.index != 0, i < n);
		found_free(&got_one);
	}
}

static void
wait_for_puts(engine *on, unsigned number)
{
	for (int i = 0; i < TRIES; i++)
	{
		if (try_put(on, number).code == ENGINE_OK)
			return;
		usleep(PAUSE_US);
	}
	fail_msg("vectors cannot be put again");
}

static void
test_full_disk(void **state)
{
	fixture    *fix = *state;
	engine_status status = {ENGINE_OK, ""};
	unsigned	n = 0;
	char		last[16];

	faults->set_room(1 << 20);
	while (status.code == ENGINE_OK && n < 10000)
	{
		status = try_put(fix->engine, n);
		n += status.code == ENGINE_OK;
	}
	assert_int_equal(status.code, ENGINE_RESOURCE_EXHAUSTED);
	assert_true(n > 10);
	assert_vectors(fix->engine, n);
	snprintf(last, sizeof(last), "%05u", --n);
	assert_true(delete_vector(fix->engine, "docs", last));
	assert_vectors(fix->engine, n);
	faults->set_room(INT64_MAX);
	wait_for_puts(fix->engine, n++);
	assert_vectors(fix->engine, n);
	fixture_reopen(fix);
	assert_vectors(fix->engine, n);
}

/* What became of it is looked up, and searches say the same. */
static void
test_failed_sync(void **state)
{
	fixture    *fix = *state;
	unsigned	n = 0;

	while (n < 20)
		assert_int_equal(try_put(fix->engine, n++).code, ENGINE_OK);
	faults->fail_syncs(1);
	if (try_put(fix->engine, n).code == ENGINE_OK)
		n++;
	faults->fail_syncs(0);
	assert_vectors(fix->engine, n);
	wait_for_puts(fix->engine, n++);
	assert_vectors(fix->engine, n);
	fixture_reopen(fix);
	assert_vectors(fix->engine, n);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_full_disk, setup_docs, teardown),
		cmocka_unit_test_setup_teardown(test_failed_sync, setup_docs, teardown),
	};

	(void) argc;
	require_disk_faults(argv);
	return cmocka_run_group_tests_name("vectors on a full disk", tests, NULL, NULL);
}
