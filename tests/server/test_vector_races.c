/*
 * Many threads at once: what a search must see, it sees, while vectors are put, replaced
 * and deleted, rows move, and graphs are rebuilt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "support/vectors.h"
#include "vector_index.h"

/*
 * Ids below FIXED never change. Ids from there on are put, replaced and deleted; id
 * ALWAYS is replaced for ever and must be in every answer that has room for all.
 */
#define WIDTH 8
#define FIXED 11000
#define MOVING 3000
#define ALWAYS 1000000

typedef struct race
{
	vector_index *index;
	float	   *vectors;
	_Atomic int looks;			/* searches for everything that are still to be made */
	_Atomic unsigned searches;
	_Atomic unsigned missed;	/* of those, by the graph */
	_Atomic bool stop;
	_Atomic unsigned writers;
} race;

static void
put(race *r, uint32_t number, const float *values)
{
	assert_int_equal(vector_index_put(r->index, (const char *) &number, sizeof(number),
									  (vector_version) {1, 1}, values, NULL), VECTOR_OK);
}

static void *
move_vectors(void *arg)
{
	race	   *r = arg;
	uint64_t	random = 1 + atomic_fetch_add(&r->writers, 1);

	for (unsigned i = 0; atomic_load(&r->looks) > 0; i++)
	{
		uint32_t	number = FIXED + (uint32_t) (vectors_random(&random) % MOVING);
		const float *values = r->vectors + (vectors_random(&random) % FIXED) * WIDTH;

		if (i % 4 == 0)
			vector_index_delete(r->index, (const char *) &number, sizeof(number));
		else
			put(r, number, values);
		if (i % 8 == 0)
			put(r, ALWAYS, r->vectors + (vectors_random(&random) % FIXED) * WIDTH);
	}
	return NULL;
}

static uint32_t
number_of(const vector_match *match)
{
	uint32_t	number;

	assert_int_equal(match->id_size, sizeof(number));
	memcpy(&number, match->id, sizeof(number));
	return number;
}

static int
ascending(const void *a, const void *b)
{
	uint32_t	x = *(const uint32_t *) a;
	uint32_t	y = *(const uint32_t *) b;

	return x < y ? -1 : x > y;
}

/* Everything that stays, once; what moves, at most once. */
static void
search_all(race *r, const float *values)
{
	vector_query query = {.values = values, .with_values = true};
	vector_matches matches;
	uint32_t   *numbers;
	uint32_t	fixed = 0;
	bool		always = false;

	assert_int_equal(vector_index_search(r->index, &query, FIXED + MOVING + 10, &matches,
										 NULL), VECTOR_OK);
	numbers = malloc((matches.count + 1) * sizeof(uint32_t));
	for (size_t i = 0; i < matches.count; i++)
	{
		numbers[i] = number_of(&matches.items[i]);
		fixed += numbers[i] < FIXED;
		always |= numbers[i] == ALWAYS;
		if (numbers[i] < FIXED)
			assert_memory_equal(matches.items[i].values, r->vectors + numbers[i] * WIDTH,
								WIDTH * sizeof(float));
	}
	assert_int_equal(fixed, FIXED);
	assert_true(always);
	qsort(numbers, matches.count, sizeof(uint32_t), ascending);
	for (size_t i = 1; i < matches.count; i++)
		assert_true(numbers[i] != numbers[i - 1]);
	free(numbers);
	vector_matches_free(&matches);
}

/*
 * The vector of a fixed id, asked for, is at distance 0, but for the few that a graph
 * leads to only with a wider beam; ids are not repeated.
 */
static void
search_near(race *r, uint32_t number)
{
	vector_query query = {.values = r->vectors + number * WIDTH, .ef = 200};
	vector_matches matches;

	assert_int_equal(vector_index_search(r->index, &query, 20, &matches, NULL), VECTOR_OK);
	assert_int_equal(matches.count, 20);
	r->searches++;
	r->missed += matches.items[0].distance != 0;
	for (int i = 1; i < 20; i++)
	{
		assert_true(matches.items[i].distance >= matches.items[i - 1].distance);
		for (int j = 0; j < i; j++)
			assert_true(number_of(&matches.items[i]) != number_of(&matches.items[j]));
	}
	vector_matches_free(&matches);
}

static void *
look(void *arg)
{
	race	   *r = arg;
	uint64_t	random = 77;
	float		values[WIDTH];
	uint32_t	always = ALWAYS;

	while (atomic_fetch_sub(&r->looks, 1) > 0)
	{
		for (int i = 0; i < 20; i++)
			search_near(r, (uint32_t) (vectors_random(&random) % FIXED));
		assert_true(vector_index_get(r->index, (const char *) &always, sizeof(always), NULL,
									 values));
		search_all(r, r->vectors);
	}
	return NULL;
}

/* Rebuilds on top of those that the changes bring. */
static void *
rebuild(void *arg)
{
	race	   *r = arg;

	while (!atomic_load(&r->stop))
		assert_int_equal(vector_index_settle(r->index, true), VECTOR_OK);
	return NULL;
}

static void
race_with(vector_workers *workers, vector_index_type type, int looks)
{
	vector_index_options options = {VECTOR_COSINE, type, WIDTH, .workers = workers,
		.m = 8, .ef_construction = 40, .max_unlinked = 2000};
	race		r = {vector_index_create(&options, NULL), NULL, looks};
	pthread_t	writers[2];
	pthread_t	others[3];
	vector_index_stats stats;

	assert_non_null(r.index);
	r.vectors = vectors_clustered(21, 0, FIXED, WIDTH, 40);
	for (uint32_t i = 0; i < FIXED; i++)
		put(&r, i, r.vectors + i * WIDTH);
	put(&r, ALWAYS, r.vectors);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, move_vectors, &r), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&others[i], NULL, look, &r), 0);
	assert_int_equal(pthread_create(&others[2], NULL, rebuild, &r), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(writers[i], NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(others[i], NULL);

	assert_true(r.missed <= (type == VECTOR_HNSW ? r.searches / 200 : 0));

	/* What is deleted while the index is rebuilt again and again stays deleted. */
	for (uint32_t i = FIXED; i < FIXED + MOVING; i++)
		vector_index_delete(r.index, (const char *) &i, sizeof(i));
	atomic_store(&r.stop, true);
	pthread_join(others[2], NULL);
	search_all(&r, r.vectors);
	vector_index_stats_of(r.index, &stats);
	assert_int_equal(stats.count, FIXED + 1);
	vector_index_destroy(r.index);
	free(r.vectors);
}

static int
looks(void)
{
	const char *value = getenv("NORIKV_STRESS");

	return value && strcmp(value, "1") == 0 ? 2000 : 100;
}

static void
searches_see_what_they_must(void **state)
{
	vector_workers *workers = vector_workers_start(2);

	(void) state;
	assert_non_null(workers);
	race_with(workers, VECTOR_HNSW, looks());
	race_with(workers, VECTOR_BRUTE_FORCE, looks());
	vector_workers_stop(workers);
}

/* The writers link and rebuild themselves. */
static void
no_workers_are_needed(void **state)
{
	(void) state;
	race_with(NULL, VECTOR_HNSW, looks() / 4);
}

/* Destroyed in the middle of all background work. */
static void
an_index_can_go_at_any_time(void **state)
{
	vector_workers *workers = vector_workers_start(3);
	float	   *vectors = vectors_clustered(22, 0, 12000, WIDTH, 40);

	(void) state;
	for (uint32_t n = 5000; n <= 12000; n += 1000)
	{
		vector_index_options options = {VECTOR_EUCLIDEAN, VECTOR_HNSW, WIDTH,
			.workers = workers, .max_unlinked = UINT32_MAX};
		race		r = {vector_index_create(&options, NULL), vectors};

		for (uint32_t i = 0; i < n; i++)
			put(&r, i, vectors + i * WIDTH);
		for (uint32_t i = 0; i < n / 2; i++)
			vector_index_delete(r.index, (const char *) &i, sizeof(i));
		vector_index_destroy(r.index);
	}
	free(vectors);
	vector_workers_stop(workers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(searches_see_what_they_must),
		cmocka_unit_test(no_workers_are_needed),
		cmocka_unit_test(an_index_can_go_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
