/*
 * test_vector_answers.c - answers of searches that are one message, several, and on the
 * border between them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fake.h"

#define LONGEST_ID 512
#define MOST_DIMENSIONS 4096

static const norikv_slice docs = {"docs", 4};

/* n points on the first axis, 0, 1, 2, ...; their ids are the numbers, padded. */
static void
fill(fake_scene *scene, uint32_t dimensions, unsigned n)
{
	norikv_operation *operations = calloc(n, sizeof(*operations));
	char	  (*ids)[LONGEST_ID + 1] = calloc(n, sizeof(*ids));
	float	   *vectors = calloc((size_t) n * dimensions, sizeof(*vectors));

	norikv_call_free(fake_wait_ok(scene, norikv_vector_create_index(scene->client, docs,
																   dimensions,
																   NORIKV_EUCLIDEAN,
																   NORIKV_HNSW, NULL)));
	for (unsigned i = 0; i < n; i++)
	{
		snprintf(ids[i], sizeof(ids[i]), "%0*u", LONGEST_ID, i);
		vectors[(size_t) i * dimensions] = (float) i;
		operations[i] = (norikv_operation) {.kind = NORIKV_OP_VECTOR_PUT,
			.vector_namespace = docs, .key = NORIKV_SLICE(ids[i]),
			.vector = vectors + (size_t) i * dimensions, .dimensions = dimensions};
	}
	norikv_call_free(fake_wait_ok(scene, norikv_commit(scene->client, operations, n, true,
													   NULL)));
	free(operations);
	free(ids);
	free(vectors);
}

static void
assert_nearest(fake_scene *scene, uint32_t dimensions, uint32_t k, bool with_vectors)
{
	static float origin[MOST_DIMENSIONS];
	norikv_search_request request = {.space = docs, .query = origin,
		.dimensions = dimensions, .k = k, .include_vectors = with_vectors};
	norikv_call *call = fake_wait_ok(scene, norikv_vector_search(scene->client, &request,
																NULL));
	size_t		n;
	const norikv_vector *matches = norikv_call_vectors(call, &n);

	assert_int_equal(n, k);
	assert_true(norikv_call_exact(call));
	for (size_t i = 0; i < n; i++)
	{
		assert_int_equal(matches[i].id.size, LONGEST_ID);
		assert_int_equal(strtoul(matches[i].id.data, NULL, 10), i);
		assert_true(matches[i].distance == (float) i);
		assert_true(matches[i].version.index > 0);
		if (with_vectors)
			assert_true(matches[i].vector[0] == (float) i);
		else
			assert_null(matches[i].vector);
	}
	norikv_call_free(call);
}

/* 113 are what a message has for certain; 600 are more than one has. */
static void
test_longest_ids(void **state)
{
	static const uint32_t ks[] = {1, 112, 113, 114, 450, 600};
	fake_scene *scene = *state;

	fill(scene, 2, 600);
	for (size_t i = 0; i < sizeof(ks) / sizeof(ks[0]); i++)
	{
		assert_nearest(scene, 2, ks[i], false);
		assert_nearest(scene, 2, ks[i], true);
	}
}

static void
test_longest_vectors(void **state)
{
	static const uint32_t ks[] = {1, 3, 4, 15, 40};
	fake_scene *scene = *state;

	fill(scene, MOST_DIMENSIONS, 40);
	for (size_t i = 0; i < sizeof(ks) / sizeof(ks[0]); i++)
	{
		assert_nearest(scene, MOST_DIMENSIONS, ks[i], false);
		assert_nearest(scene, MOST_DIMENSIONS, ks[i], true);
	}
}

int
main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, fake_setup_norikvd, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_longest_ids), TEST(test_longest_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
