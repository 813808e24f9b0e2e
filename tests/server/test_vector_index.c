/*
 * The index as a map and as a search: against a plain array of vectors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/vectors.h"
#include "vector_index.h"

static vector_index *
make_index(vector_metric metric, vector_index_type type, uint32_t dimensions,
		   vector_workers *workers)
{
	vector_index_options options = {metric, type, dimensions, .workers = workers};
	vector_index *index = vector_index_create(&options, NULL);

	assert_non_null(index);
	return index;
}

static void
put(vector_index *index, uint32_t number, uint64_t version, const float *values)
{
	char		id[16];
	int			size = snprintf(id, sizeof(id), "%07u", number);

	assert_int_equal(vector_index_put(index, id, (size_t) size,
									  (vector_version) {1, version}, values, NULL),
					 VECTOR_OK);
}

static bool
delete(vector_index *index, uint32_t number)
{
	char		id[16];
	int			size = snprintf(id, sizeof(id), "%07u", number);

	return vector_index_delete(index, id, (size_t) size);
}

static uint32_t
number_of(const vector_match *match)
{
	char		id[16] = {0};

	assert_int_equal(match->id_size, 7);
	memcpy(id, match->id, 7);
	return (uint32_t) strtoul(id, NULL, 10);
}

static vector_matches
search(vector_index *index, const float *values, size_t k, uint32_t ef)
{
	vector_query query = {.values = values, .ef = ef};
	vector_matches matches;

	assert_int_equal(vector_index_search(index, &query, k, &matches, NULL), VECTOR_OK);
	for (size_t i = 1; i < matches.count; i++)
	{
		const vector_match *a = &matches.items[i - 1];
		const vector_match *b = &matches.items[i];

		assert_true(a->distance < b->distance ||
					(a->distance == b->distance && number_of(a) < number_of(b)));
	}
	return matches;
}

static vector_index_stats
stats_of(vector_index *index)
{
	vector_index_stats stats;

	vector_index_stats_of(index, &stats);
	return stats;
}

/* ---- The map ---- */

static void
puts_and_deletes_are_seen(void **state)
{
	float		values[3] = {1.5f, -0.0f, 1e-30f};
	float		other[3] = {2, 3, 4};
	float		got[3];
	vector_version version;
	bool		replaced = true;

	(void) state;
	for (int type = VECTOR_BRUTE_FORCE; type <= VECTOR_HNSW; type++)
	{
		vector_index *index = make_index(VECTOR_COSINE, (vector_index_type) type, 3, NULL);

		assert_false(vector_index_get(index, "a", 1, NULL, NULL));
		assert_false(vector_index_delete(index, "a", 1));
		assert_int_equal(vector_index_put(index, "a", 1, (vector_version) {3, 7}, values,
										  &replaced), VECTOR_OK);
		assert_false(replaced);
		assert_true(vector_index_get(index, "a", 1, &version, got));
		assert_memory_equal(got, values, sizeof(got));
		assert_int_equal(version.term, 3);
		assert_int_equal(version.index, 7);
		assert_int_equal(vector_index_put(index, "a", 1, (vector_version) {3, 8}, other,
										  &replaced), VECTOR_OK);
		assert_true(replaced);
		assert_true(vector_index_get(index, "a", 1, &version, got));
		assert_memory_equal(got, other, sizeof(got));
		assert_int_equal(version.index, 8);
		assert_int_equal(stats_of(index).count, 1);
		assert_true(vector_index_delete(index, "a", 1));
		assert_false(vector_index_delete(index, "a", 1));
		assert_int_equal(stats_of(index).count, 0);
		vector_index_destroy(index);
	}
}

static void
ids_are_bytes(void **state)
{
	vector_index *index = make_index(VECTOR_EUCLIDEAN, VECTOR_HNSW, 2, NULL);
	char		longest[VECTOR_MAX_ID_SIZE + 1];
	float		values[2] = {1, 2};
	vector_version version = {1, 1};

	(void) state;
	memset(longest, 0xff, sizeof(longest));
	assert_int_equal(vector_index_put(index, "a\0b", 3, version, values, NULL), VECTOR_OK);
	assert_int_equal(vector_index_put(index, "a\0c", 3, version, values, NULL), VECTOR_OK);
	assert_int_equal(vector_index_put(index, "a", 1, version, values, NULL), VECTOR_OK);
	assert_int_equal(vector_index_put(index, longest, VECTOR_MAX_ID_SIZE, version, values,
									  NULL), VECTOR_OK);
	assert_int_equal(vector_index_put(index, longest, sizeof(longest), version, values,
									  NULL), VECTOR_INVALID);
	assert_int_equal(stats_of(index).count, 4);
	assert_true(vector_index_delete(index, "a\0c", 3));
	assert_true(vector_index_get(index, "a\0b", 3, NULL, NULL));
	assert_false(vector_index_get(index, "a\0c", 3, NULL, NULL));
	vector_index_destroy(index);
}

static void
options_are_checked(void **state)
{
	static const vector_index_options bad[] = {
		{0, VECTOR_HNSW, 3}, {4, VECTOR_HNSW, 3}, {VECTOR_COSINE, 0, 3},
		{VECTOR_COSINE, VECTOR_HNSW, 0}, {VECTOR_COSINE, VECTOR_HNSW, 4097},
		{VECTOR_COSINE, VECTOR_HNSW, 3, .m = 1}, {VECTOR_COSINE, VECTOR_HNSW, 3, .m = 129},
	};
	vector_status status;

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		assert_null(vector_index_create(&bad[i], &status));
		assert_int_equal(status.code, VECTOR_INVALID);
	}
}

/* ---- The search ---- */

/*
 * Random puts and deletes against an array; after each few, every k against the
 * reference. Small numbers, so that there are ties and twins.
 */
static void
random_changes(vector_metric metric, vector_index_type type, uint64_t seed)
{
	enum { IDS = 200, WIDTH = 3 };
	static float model[IDS][WIDTH];
	bool		there[IDS] = {false};
	vector_index *index = make_index(metric, type, WIDTH, NULL);

	for (int step = 0; step < 3000; step++)
	{
		uint32_t	number = (uint32_t) (vectors_random(&seed) % IDS);

		if (vectors_random(&seed) % 3 == 0)
		{
			assert_int_equal(delete(index, number), there[number]);
			there[number] = false;
		}
		else
		{
			for (int i = 0; i < WIDTH; i++)
				model[number][i] = (float) (vectors_random(&seed) % 4) + 1;
			put(index, number, (uint64_t) step + 1, model[number]);
			there[number] = true;
		}
		if (step % 50 == 0)
		{
			float		query[WIDTH] = {1, 2, 4};
			size_t		k = vectors_random(&seed) % (IDS + 10);
			vector_matches matches = search(index, query, k, 0);
			size_t		live = 0;
			double		farthest = matches.count ?
				matches.items[matches.count - 1].distance : -1e30;
			size_t		nearer = 0;

			for (int i = 0; i < IDS; i++)
				live += there[i];
			assert_int_equal(stats_of(index).count, live);
			assert_int_equal(matches.count, k < live ? k : live);
			assert_true(matches.exact);
			for (size_t i = 0; i < matches.count; i++)
			{
				uint32_t	found = number_of(&matches.items[i]);

				assert_true(there[found]);
				assert_true(fabs(matches.items[i].distance -
								 vectors_distance(metric, query, model[found], WIDTH)) <
							1e-5);
			}
			for (int i = 0; i < IDS; i++)
				nearer += there[i] &&
					vectors_distance(metric, query, model[i], WIDTH) < farthest - 1e-5;
			assert_true(nearer <= matches.count);
			vector_matches_free(&matches);
		}
	}
	vector_index_destroy(index);
}

static void
exact_searches_are_exact(void **state)
{
	(void) state;
	for (int metric = 1; metric <= 3; metric++)
		for (int type = 1; type <= 2; type++)
			random_changes((vector_metric) metric, (vector_index_type) type,
						   (uint64_t) metric * 10 + type);
}

static void
ties_are_ordered_by_id(void **state)
{
	vector_index *index = make_index(VECTOR_EUCLIDEAN, VECTOR_BRUTE_FORCE, 2, NULL);
	float		query[2] = {0, 0};
	vector_matches matches;

	(void) state;
	for (uint32_t i = 0; i < 500; i++)
	{
		float		values[2] = {i % 2 ? 3.0f : 4.0f, i % 2 ? 4.0f : 3.0f};

		put(index, 499 - i, 1, values);
	}
	matches = search(index, query, 100, 0);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(number_of(&matches.items[i]), i);
	vector_matches_free(&matches);
	vector_index_destroy(index);
}

/* Enough that searches use the graph, also with some of them replaced. */
#define GRAPH 10500
/* A beam that is wider than the default. */
#define WIDE 800

static double
recall_of(vector_index *index, vector_metric metric, const float *vectors, size_t n,
		  uint32_t width, const float *queries, size_t n_queries, uint32_t ef)
{
	size_t		hits = 0;

	for (size_t q = 0; q < n_queries; q++)
	{
		uint32_t	truth[10];
		vector_matches matches = search(index, queries + q * width, 10, ef);

		assert_int_equal(matches.count, 10);
		assert_false(matches.exact);
		vectors_nearest((int) metric, queries + q * width, vectors, n, width, 10, truth);
		for (int i = 0; i < 10; i++)
			for (int j = 0; j < 10; j++)
				hits += number_of(&matches.items[i]) == truth[j];
		vector_matches_free(&matches);
	}
	return (double) hits / (double) (n_queries * 10);
}

static bool
stress(void)
{
	const char *value = getenv("NORIKV_STRESS");

	return value && strcmp(value, "1") == 0;
}

static void
recall_is_what_is_promised(void **state)
{
	size_t		n = stress() ? 100000 : GRAPH;
	uint32_t	width = stress() ? 128 : 32;
	vector_workers *workers = vector_workers_start(2);

	(void) state;
	for (int metric = 1; metric <= 3; metric++)
	{
		float	   *vectors = vectors_clustered(3, 0, n, width, 100);
		float	   *queries = vectors_clustered(3, 1, 100, width, 100);
		vector_index *index = make_index((vector_metric) metric, VECTOR_HNSW, width,
										 workers);
		double		narrow;
		double		wide;

		vector_index_set_max_unlinked(index, UINT32_MAX);
		for (uint32_t i = 0; i < n; i++)
			put(index, i, i + 1, vectors + i * width);
		assert_int_equal(vector_index_settle(index, false), VECTOR_OK);
		assert_int_equal(stats_of(index).unlinked, 0);
		narrow = recall_of(index, (vector_metric) metric, vectors, n, width, queries, 100, 0);
		wide = recall_of(index, (vector_metric) metric, vectors, n, width, queries, 100, WIDE);
		print_message("metric %d: recall@10 %.4f, with ef %d %.4f\n", metric, narrow, WIDE,
					  wide);
		assert_true(narrow >= 0.98);
		assert_true(wide >= 0.995);
		vector_index_destroy(index);
		free(vectors);
		free(queries);
	}
	vector_workers_stop(workers);
}

/* Duplicates of each other, and few others: the graph must not be a heap of equals. */
static void
duplicates_hide_nobody(void **state)
{
	enum { DUPLICATES = GRAPH, OTHERS = 5000, WIDTH = 16 };
	vector_workers *workers = vector_workers_start(2);
	vector_index *index = make_index(VECTOR_EUCLIDEAN, VECTOR_HNSW, WIDTH, workers);
	float	   *others = vectors_clustered(5, 0, OTHERS, WIDTH, 20);
	float	   *queries = vectors_clustered(5, 1, 50, WIDTH, 20);
	float		same[WIDTH] = {0};
	vector_matches matches;
	double		recall;

	(void) state;
	for (uint32_t i = 0; i < DUPLICATES; i++)
		put(index, OTHERS + i, 1, same);
	for (uint32_t i = 0; i < OTHERS; i++)
		put(index, i, 1, others + i * WIDTH);
	assert_int_equal(vector_index_settle(index, false), VECTOR_OK);
	recall = recall_of(index, VECTOR_EUCLIDEAN, others, OTHERS, WIDTH, queries, 50, 0);
	print_message("among duplicates: recall@10 %.4f\n", recall);
	assert_true(recall >= 0.97);

	matches = search(index, same, 1000, 0);
	assert_int_equal(matches.count, 1000);
	for (size_t i = 0; i < matches.count; i++)
		assert_true(matches.items[i].distance == 0);
	vector_matches_free(&matches);

	/* Nearly all of them dead, and those that are left are found, and all of them. */
	for (uint32_t i = 0; i < DUPLICATES - 100; i++)
		assert_true(delete(index, OTHERS + i));
	matches = search(index, same, 100000, 0);
	assert_int_equal(matches.count, OTHERS + 100);
	for (size_t i = 0; i < matches.count; i++)
		assert_true(number_of(&matches.items[i]) < OTHERS ||
					number_of(&matches.items[i]) >= OTHERS + DUPLICATES - 100);
	vector_matches_free(&matches);
	vector_index_destroy(index);
	vector_workers_stop(workers);
	free(others);
	free(queries);
}

/* What is dead is taken out by itself: nobody asks for it. */
static void
wait_until_at_rest(vector_index *index)
{
	vector_index_stats stats;

	do
	{
		usleep(50000);
		stats = stats_of(index);
	} while (stats.unlinked > 0 || stats.dead > stats.count / 25);
}

/*
 * Half of an index replaced, ten times over. Both graphs are made with a narrow beam
 * where time is short: what suffers from churn suffers more then.
 */
static void
churn_costs_neither_recall_nor_memory(void **state)
{
	size_t		n = stress() ? 50000 : GRAPH;
	uint32_t	width = stress() ? 32 : 16;
	int			rounds = 10;
	vector_workers *workers = vector_workers_start(2);
	float	   *vectors = vectors_clustered(9, 0, n, width, 50);
	float	   *queries = vectors_clustered(9, 1, 100, width, 50);
	vector_index_options options = {VECTOR_EUCLIDEAN, VECTOR_HNSW, width,
		.workers = workers, .ef_construction = stress() ? 0 : 40};
	vector_index *index = vector_index_create(&options, NULL);
	vector_index *fresh = vector_index_create(&options, NULL);
	uint64_t	seed = 4;
	double		recall;
	double		fresh_recall;

	(void) state;
	for (uint32_t i = 0; i < n; i++)
		put(index, i, 1, vectors + i * width);
	for (int round = 0; round < rounds; round++)
	{
		float	   *others = vectors_clustered(9, (uint64_t) round + 2, n, width, 50);

		for (uint32_t i = 0; i < n; i++)
		{
			if (vectors_random(&seed) % 2)
				continue;
			memcpy(vectors + i * width, others + i * width, width * sizeof(float));
			if (round % 2)
				assert_true(delete(index, i));
			put(index, i, (uint64_t) round + 2, vectors + i * width);
		}
		free(others);
	}
	for (uint32_t i = 0; i < n; i++)
		put(fresh, i, 1, vectors + i * width);
	wait_until_at_rest(index);
	assert_int_equal(vector_index_settle(fresh, false), VECTOR_OK);
	assert_true(stats_of(index).rebuilds >= 2);
	assert_int_equal(stats_of(index).count, n);
	recall = recall_of(index, VECTOR_EUCLIDEAN, vectors, n, width, queries, 100, 0);
	fresh_recall = recall_of(fresh, VECTOR_EUCLIDEAN, vectors, n, width, queries, 100, 0);
	print_message("after churn: recall@10 %.4f, fresh %.4f; bytes %lu, fresh %lu; %lu"
				  " rebuilds\n", recall, fresh_recall,
				  (unsigned long) stats_of(index).bytes,
				  (unsigned long) stats_of(fresh).bytes,
				  (unsigned long) stats_of(index).rebuilds);
	assert_true(recall >= fresh_recall * 0.95);
	assert_true((double) stats_of(index).bytes <= (double) stats_of(fresh).bytes * 1.05);
	vector_index_destroy(index);
	vector_index_destroy(fresh);
	vector_workers_stop(workers);
	free(vectors);
	free(queries);
}

static void
memory_is_foretold(void **state)
{
	enum { WIDTH = 64 };
	vector_index *index = make_index(VECTOR_COSINE, VECTOR_HNSW, WIDTH, NULL);
	float	   *vectors = vectors_clustered(2, 0, 3000, WIDTH, 10);
	uint64_t	empty = stats_of(index).bytes;

	(void) state;
	for (uint32_t i = 0; i < 3000; i++)
	{
		uint64_t	before = stats_of(index).bytes;
		uint64_t	needed = vector_index_bytes_needed(index, 1, 7);

		put(index, i, 1, vectors + i * WIDTH);
		assert_true(stats_of(index).bytes <= before + needed);
		assert_true(stats_of(index).bytes >= before + WIDTH * sizeof(float));
	}
	assert_true(stats_of(index).bytes - empty < 3000 * (WIDTH * sizeof(float) + 400));
	vector_index_destroy(index);
	free(vectors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puts_and_deletes_are_seen),
		cmocka_unit_test(ids_are_bytes),
		cmocka_unit_test(options_are_checked),
		cmocka_unit_test(exact_searches_are_exact),
		cmocka_unit_test(ties_are_ordered_by_id),
		cmocka_unit_test(recall_is_what_is_promised),
		cmocka_unit_test(duplicates_hide_nobody),
		cmocka_unit_test(churn_costs_neither_recall_nor_memory),
		cmocka_unit_test(memory_is_foretold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
