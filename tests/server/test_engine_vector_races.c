/*
 * test_engine_vector_races.c - vectors written, deleted, searched for and whole
 * indexes dropped by many threads at once: whoever has an answer finds what it says.
 */
#include "support/vector_calls.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DIMENSIONS 16
#define WRITERS 4
/* More than are searched exactly, so that the graph is in use. */
#define FILLED 12000
#define PER_UNIT 500

static const engine_index index_of_points = {DIMENSIONS, ENGINE_EUCLIDEAN, ENGINE_HNSW};

typedef struct writer
{
	pthread_t	thread;
	engine	   *on;
	unsigned	number;
	unsigned	rounds;
	unsigned	failures;
	uint64_t	random;
	atomic_bool *stop;
} writer;

static void
fill(engine *on, const char *space, uint64_t *random)
{
	static float floats[PER_UNIT][DIMENSIONS];
	static char ids[PER_UNIT][24];
	engine_op	ops[PER_UNIT];
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = PER_UNIT};

	for (unsigned i = 0; i < FILLED; i += PER_UNIT)
	{
		answer		done;

		for (unsigned j = 0; j < PER_UNIT; j++)
		{
			snprintf(ids[j], sizeof(ids[j]), "filled/%u", i + j);
			random_vector(random, floats[j], DIMENSIONS);
			ops[j] = vector_put_op(space, ids[j], floats[j], DIMENSIONS);
		}
		commit_unit_in_time(on, &unit, &done);
		assert_int_equal(done.status.code, ENGINE_OK);
		answer_free(&done);
	}
}

/* Whether the nearest one to this place is this id with this version. */
static bool
is_found(engine *on, const float *place, const char *id, engine_version version)
{
	engine_search search = {.space = TEXT("points"), .query = place,
		.dimensions = DIMENSIONS, .k = 1, .ef = 200};
	found_vectors answered = search_vectors(on, search);
	bool		good = answered.status.code == ENGINE_OK && answered.n_vectors == 1 &&
		slice_equal(answered.vectors[0].id, TEXT(id)) &&
		answered.vectors[0].version.index == version.index &&
		answered.vectors[0].distance < 1e-3f;

	found_free(&answered);
	return good;
}

/* Its own ids, somewhere else each time; none of them is where it was. */
static void *
write_and_search(void *arg)
{
	writer	   *self = arg;
	float		place[DIMENSIONS];
	char		id[32];

	for (unsigned i = 0; i < self->rounds; i++)
	{
		engine_version version;
		engine_status status;

		snprintf(id, sizeof(id), "own/%u/%u", self->number, i % 50);
		random_vector(&self->random, place, DIMENSIONS);
		version = commit_op_in_time(self->on,
									vector_put_op("points", id, place, DIMENSIONS),
									&status).version;
		if (status.code != ENGINE_OK || !is_found(self->on, place, id, version))
			self->failures++;
		if (i % 3 != 0)
			continue;
		commit_op(self->on, vector_delete_op("points", id), &status);
		if (status.code != ENGINE_OK || is_found(self->on, place, id, version))
			self->failures++;
	}
	return NULL;
}

/* Creates and drops an index, and looks that it is empty each time. */
static void *
drop_and_create(void *arg)
{
	writer	   *self = arg;
	float		place[DIMENSIONS] = {1};

	while (!atomic_load(self->stop))
	{
		engine_search search = {.space = TEXT("passing"), .query = place,
			.dimensions = DIMENSIONS, .k = 10};
		engine_status status;
		found_vectors answered;

		create_index(self->on, "passing", index_of_points, &status);
		answered = search_vectors(self->on, search);
		if (status.code != ENGINE_OK || answered.status.code != ENGINE_OK ||
			answered.n_vectors != 0)
			self->failures++;
		found_free(&answered);
		commit_op(self->on, vector_put_op("passing", "a", place, DIMENSIONS), &status);
		if (status.code != ENGINE_OK)
			self->failures++;
		drop_index(self->on, "passing", &status);
		if (status.code != ENGINE_OK)
			self->failures++;
	}
	return NULL;
}

/* While the index comes and goes: an answer, or that there is none. */
static void *
search_passing(void *arg)
{
	writer	   *self = arg;
	float		place[DIMENSIONS] = {1};

	while (!atomic_load(self->stop))
	{
		engine_search search = {.space = TEXT("passing"), .query = place,
			.dimensions = DIMENSIONS, .k = 10, .include_vectors = true};
		found_vectors answered = search_vectors(self->on, search);

		if (answered.status.code != ENGINE_OK &&
			answered.status.code != ENGINE_NOT_FOUND)
			self->failures++;
		if (answered.n_vectors > 1)
			self->failures++;
		found_free(&answered);
	}
	return NULL;
}

static void
test_everybody_at_once(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	void	   *(*const work[WRITERS + 2]) (void *) = {
		write_and_search, write_and_search, write_and_search, write_and_search,
		drop_and_create, search_passing
	};
	writer		writers[WRITERS + 2];
	atomic_bool stop = false;
	uint64_t	random = seed();
	engine_status status;
	engine_index_info info;

	create_index(on, "points", index_of_points, &status);
	fill(on, "points", &random);
	for (unsigned i = 0; i < lengthof(writers); i++)
	{
		writers[i] = (writer) {.on = on, .number = i, .rounds = rounds(3000),
			.random = random + i, .stop = &stop};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, work[i], &writers[i]),
						 0);
	}
	for (unsigned i = 0; i < lengthof(writers); i++)
	{
		if (i == WRITERS)
			atomic_store(&stop, true);
		pthread_join(writers[i].thread, NULL);
		assert_int_equal(writers[i].failures, 0);
	}
	assert_true(find_index(on, "points", &info));
	assert_in_range(info.vectors, FILLED, FILLED + WRITERS * 50);
}

/* ---- Checks of what others write ---- */

#define CHECKED 4

typedef struct checked_write
{
	unsigned	put;			/* which of the vectors was written */
	unsigned	checked;		/* and which one was not */
	engine_version seen;		/* the checked one's version */
	engine_version version;		/* the one written */
} checked_write;

typedef struct checker
{
	pthread_t	thread;
	engine	   *on;
	uint64_t	random;
	unsigned	rounds;
	unsigned	failures;
	checked_write *writes;
	unsigned	n_writes;
} checker;

static const char *const checked_ids[CHECKED] = {"a", "b", "c", "d"};

/* Reads two vectors, and writes the one if neither has changed. */
static void
write_one(checker *self, unsigned put, unsigned checked)
{
	engine_slice ids[2] = {TEXT(checked_ids[put]), TEXT(checked_ids[checked])};
	found_vectors found = get_vectors(self->on, "checked", ids, 2);
	float		place[DIMENSIONS] = {1};
	engine_op	ops[2];
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = 2};
	checked_write made = {put, checked, found.vectors[1].version, {0, 0}};
	answer		done;

	ops[0] = vector_put_op("checked", checked_ids[put], place, DIMENSIONS);
	ops[0].version = found.vectors[0].version;
	ops[0].condition = ops[0].version.index == 0 ? ENGINE_IF_ABSENT : ENGINE_IF_VERSION;
	ops[1] = vector_check_op("checked", checked_ids[checked], made.seen);
	commit_unit(self->on, &unit, &done);
	made.version = done.results[0].version;
	if (done.status.code == ENGINE_OK)
		self->writes[self->n_writes++] = made;
	else if (done.status.code != ENGINE_FAILED_PRECONDITION)
		self->failures++;
	answer_free(&done);
	found_free(&found);
}

static void *
write_what_is_checked(void *arg)
{
	checker    *self = arg;

	for (unsigned i = 0; i < self->rounds; i++)
	{
		unsigned	put = (unsigned) random_below(&self->random, CHECKED);
		unsigned	checked = (unsigned) random_below(&self->random, CHECKED - 1);

		write_one(self, put, checked < put ? checked : checked + 1);
	}
	return NULL;
}

static int
compare_writes(const void *a, const void *b)
{
	uint64_t	left = ((const checked_write *) a)->version.index;
	uint64_t	right = ((const checked_write *) b)->version.index;

	return (left > right) - (left < right);
}

/* In the order of versions, each has seen what the last one before it wrote: nobody
 * can tell that they were not alone. */
static void
test_checks_are_serializable(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	unsigned	n = rounds(10000);
	checked_write *all = calloc((size_t) WRITERS * n, sizeof(*all));
	uint64_t	random = seed();
	uint64_t	present[CHECKED] = {0};
	unsigned	n_writes = 0;
	checker		checkers[WRITERS];
	engine_status status;

	create_index(on, "checked", index_of_points, &status);
	for (unsigned i = 0; i < WRITERS; i++)
	{
		checkers[i] = (checker) {.on = on, .random = random + i, .rounds = n,
			.writes = calloc(n, sizeof(checked_write))};
		assert_int_equal(pthread_create(&checkers[i].thread, NULL, write_what_is_checked,
										&checkers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
	{
		pthread_join(checkers[i].thread, NULL);
		assert_int_equal(checkers[i].failures, 0);
		memcpy(all + n_writes, checkers[i].writes,
			   checkers[i].n_writes * sizeof(checked_write));
		n_writes += checkers[i].n_writes;
		free(checkers[i].writes);
	}
	assert_true(n_writes > 0);
	qsort(all, n_writes, sizeof(*all), compare_writes);
	for (unsigned i = 0; i < n_writes; i++)
	{
		assert_int_equal(all[i].seen.index, present[all[i].checked]);
		present[all[i].put] = all[i].version.index;
	}
	free(all);
}

/* ---- Vectors come faster than the graph grows ---- */

/* Keys are written at once while vectors wait; and all of them come through. */
static void
test_backlog(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	uint64_t	random = seed();
	engine_status status;
	engine_index_info info;

	create_index(on, "points", index_of_points, &status);
	for (int i = 0; i < 2; i++)
	{
		fill(on, "points", &random);
		put_text(on, "key", "value");
	}
	assert_true(find_index(on, "points", &info));
	assert_int_equal(info.vectors, FILLED);
	assert_true(info.pending <= 8192 + PER_UNIT);
}

/* Who waits for long is told so, while it can be told that nothing was done. */
static void
test_sent_back(void **state)
{
	enum { WIDE = 2048, A_UNIT = 200, UNITS = 200 };
	engine	   *on = ((fixture *) *state)->engine;
	static float floats[A_UNIT][WIDE];
	static char ids[A_UNIT][24];
	engine_op	ops[A_UNIT];
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = A_UNIT};
	uint64_t	random = seed();
	engine_status status;
	engine_index_info info;
	answer		done;
	uint64_t	taken = 0;

	create_index(on, "wide", (engine_index) {WIDE, ENGINE_EUCLIDEAN, ENGINE_HNSW},
				 &status);
	/* Links of such vectors are long to make, so that units wait before long. */
	for (;;)
	{
		for (unsigned i = 0; i < A_UNIT; i++)
		{
			snprintf(ids[i], sizeof(ids[i]), "%u", (unsigned) taken + i);
			random_vector(&random, floats[i], WIDE);
			ops[i] = vector_put_op("wide", ids[i], floats[i], WIDE);
		}
		commit_unit(on, &unit, &done);
		status = done.status;
		answer_free(&done);
		if (status.code != ENGINE_OK)
			break;
		taken += A_UNIT;
		assert_true(taken < A_UNIT * UNITS);
	}
	assert_int_equal(status.code, ENGINE_UNAVAILABLE);
	assert_non_null(strstr(status.text, "nothing was done: try again"));
	assert_true(find_index(on, "wide", &info));
	assert_int_equal(info.vectors, taken);
	put_text(on, "key", "value");
	assert_true(delete_vector(on, "wide", "7"));
	drop_index(on, "wide", &status);
	assert_int_equal(status.code, ENGINE_OK);
}

int
main(void)
{
	const struct CMUnitTest in_memory[] = {
		cmocka_unit_test_setup_teardown(test_everybody_at_once, fixture_setup_memory,
										fixture_teardown),
		cmocka_unit_test_setup_teardown(test_checks_are_serializable,
										fixture_setup_memory, fixture_teardown),
	};
	const struct CMUnitTest on_disk[] = {
		cmocka_unit_test_setup_teardown(test_backlog, fixture_setup_rocksdb,
										fixture_teardown),
		cmocka_unit_test_setup_teardown(test_sent_back, fixture_setup_memory,
										fixture_teardown),
	};

	return cmocka_run_group_tests_name("memory", in_memory, NULL, NULL) +
		cmocka_run_group_tests_name("rocksdb", on_disk, NULL, NULL);
}
