/*
 * test_engine_vector_start.c - an index while it is read into memory, and one that had
 * filled all the memory there is when the server ended.
 */
#include "support/vector_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DIMENSIONS 128
#define VECTORS 20000
#define A_UNIT 500

static void
remove_snapshots(const fixture *self)
{
	char		path[160];

	snprintf(path, sizeof(path), "%s/vectors", self->directory);
	remove_tree(path);
}

static void
create(engine *on, uint32_t dimensions, engine_index_type type)
{
	engine_status status;

	create_index(on, "docs", (engine_index) {dimensions, ENGINE_EUCLIDEAN, type},
				 &status);
	assert_int_equal(status.code, ENGINE_OK);
}

/* ---- While it is read ---- */

static void
put_many(engine *on)
{
	static char ids[A_UNIT][24];
	static float floats[A_UNIT][DIMENSIONS];
	engine_op	ops[A_UNIT];

	for (unsigned n = 0; n < VECTORS; n += A_UNIT)
	{
		engine_unit unit = {.atomic = true, .ops = ops, .n_ops = A_UNIT};
		answer		done;

		for (unsigned i = 0; i < A_UNIT; i++)
		{
			snprintf(ids[i], sizeof(ids[i]), "%06u", n + i);
			floats[i][0] = (float) (n + i);
			ops[i] = vector_put_op("docs", ids[i], floats[i], DIMENSIONS);
		}
		commit_unit_in_time(on, &unit, &done);
		assert_int_equal(done.status.code, ENGINE_OK);
		answer_free(&done);
	}
}

/* Each answer has all vectors, or says that they are not all there, and how many are. */
static unsigned
search_until_ready(engine *on)
{
	static const float origin[DIMENSIONS];
	engine_search search = {.space = TEXT("docs"), .query = origin,
		.dimensions = DIMENSIONS, .k = 2 * VECTORS};
	unsigned	refused = 0;
	unsigned long long loaded = 0;

	for (;;)
	{
		found_vectors answered = search_vectors(on, search);
		unsigned long long now;
		const char *progress;

		if (answered.status.code == ENGINE_OK)
		{
			assert_int_equal(answered.n_vectors, VECTORS);
			assert_true(answered.exact);
			found_free(&answered);
			return refused;
		}
		assert_int_equal(answered.status.code, ENGINE_UNAVAILABLE);
		progress = strstr(answered.status.text, "is being read into memory, ");
		assert_non_null(progress);
		assert_int_equal(sscanf(progress, "is being read into memory, %llu vectors", &now),
						 1);
		assert_in_range(now, loaded, VECTORS);
		loaded = now;
		refused++;
		found_free(&answered);
	}
}

static void
test_searched_while_it_is_read(void **state)
{
	fixture    *self = *state;
	unsigned	refused = 0;

	create(self->engine, DIMENSIONS, ENGINE_HNSW);
	put_many(self->engine);
	/* Once with a snapshot; then, without one, until it was seen on the way. */
	fixture_reopen(self);
	search_until_ready(self->engine);
	for (int i = 0; i < 20 && refused == 0; i++)
	{
		fixture_close(self);
		remove_snapshots(self);
		fixture_open(self);
		refused = search_until_ready(self->engine);
	}
	assert_true(refused > 0);
}

/* ---- What has filled the memory ---- */

static unsigned
fill_memory(engine *on, uint32_t dimensions)
{
	float	   *floats = calloc(dimensions, sizeof(float));
	engine_status status;
	unsigned	n = 0;

	for (;; n++)
	{
		char		id[24];

		snprintf(id, sizeof(id), "%u", n);
		floats[0] = (float) n;
		commit_op(on, vector_put_op("docs", id, floats, dimensions), &status);
		if (status.code != ENGINE_OK)
			break;
	}
	assert_int_equal(status.code, ENGINE_RESOURCE_EXHAUSTED);
	free(floats);
	return n;
}

static void
assert_all_there(engine *on, uint32_t dimensions, unsigned n)
{
	float	   *origin = calloc(dimensions, sizeof(float));
	found_vectors answered;
	engine_index_info info;

	wait_until_ready(on, "docs");
	assert_true(find_index(on, "docs", &info));
	assert_int_equal(info.state, ENGINE_INDEX_READY);
	answered = search_nearest(on, "docs", origin, dimensions, 2 * n);
	assert_int_equal(answered.status.code, ENGINE_OK);
	assert_int_equal(answered.n_vectors, n);
	found_free(&answered);
	free(origin);
}

/* All that was taken is there after a restart, with the same limit. */
static void
fill_and_reopen(fixture *self, engine_index_type type)
{
	enum { WIDE = 1024 };
	unsigned	n;

	self->max_vector_memory = 8 << 20;
	fixture_reopen(self);
	create(self->engine, WIDE, type);
	n = fill_memory(self->engine, WIDE);
	assert_in_range(n, 1000, 2048);
	fixture_reopen(self);
	assert_all_there(self->engine, WIDE, n);
	fixture_close(self);
	remove_snapshots(self);
	fixture_open(self);
	assert_all_there(self->engine, WIDE, n);
}

static void
delete_number(engine *on, unsigned number)
{
	char		id[24];

	snprintf(id, sizeof(id), "%u", number);
	assert_true(delete_vector(on, "docs", id));
}

/*
 * What is deleted makes room, though not at once: where it is needed, also of an index
 * that goes on changing, and of which less than a quarter is dead.
 */
static void
test_full_and_some_deleted(void **state)
{
	enum { WIDE = 1024 };
	fixture    *self = *state;
	float	   *floats = calloc(WIDE, sizeof(float));
	engine_status status;
	unsigned	deleted = 0;
	unsigned	n;

	self->max_vector_memory = 8 << 20;
	fixture_reopen(self);
	create(self->engine, WIDE, ENGINE_HNSW);
	n = fill_memory(self->engine, WIDE);
	while (deleted < n / 10)
		delete_number(self->engine, deleted++);
	for (unsigned i = 0; i < n / 20; i++)
	{
		char		id[24];

		snprintf(id, sizeof(id), "again/%u", i);
		floats[0] = (float) i;
		for (int tries = 0; tries < 6000; tries++)
		{
			commit_op(self->engine, vector_put_op("docs", id, floats, WIDE), &status);
			if (status.code == ENGINE_OK)
				break;
			if (tries % 100 == 99)
				delete_number(self->engine, deleted++);
			usleep(10000);
		}
		assert_int_equal(status.code, ENGINE_OK);
	}
	free(floats);
}

static void
test_full_and_restarted(void **state)
{
	fill_and_reopen(*state, ENGINE_BRUTE_FORCE);
}

static void
test_full_graph_restarted(void **state)
{
	fill_and_reopen(*state, ENGINE_HNSW);
}

#define EACH(test) \
	cmocka_unit_test_setup_teardown(test, fixture_setup_rocksdb, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_searched_while_it_is_read),
		EACH(test_full_and_some_deleted),
		EACH(test_full_and_restarted),
		EACH(test_full_graph_restarted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
