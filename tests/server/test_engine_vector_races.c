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
		commit_unit(on, &unit, &done);
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
		version = commit_op(self->on, vector_put_op("points", id, place, DIMENSIONS),
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

int
main(void)
{
	const struct CMUnitTest in_memory[] = {
		cmocka_unit_test_setup_teardown(test_everybody_at_once, fixture_setup_memory,
										fixture_teardown),
	};
	const struct CMUnitTest on_disk[] = {
		cmocka_unit_test_setup_teardown(test_backlog, fixture_setup_rocksdb,
										fixture_teardown),
	};

	return cmocka_run_group_tests_name("memory", in_memory, NULL, NULL) +
		cmocka_run_group_tests_name("rocksdb", on_disk, NULL, NULL);
}
