/*
 * test_vectors.c - libnorikv's calls about vectors and norikvd's services behind them,
 * end to end; and what is left of them where a server has less.
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fake.h"

#define DIMENSIONS 4

static const norikv_slice docs = {"docs", 4};

static norikv_operation_result
result_of(norikv_call *call)
{
	size_t		n;
	const norikv_operation_result *results = norikv_call_results(call, &n);

	assert_int_equal(n, 1);
	return results[0];
}

/* Waits for a write, which must go well, and frees it. */
static norikv_operation_result
done(fake_scene *scene, norikv_call *call)
{
	norikv_operation_result result = result_of(fake_wait_ok(scene, call));

	norikv_call_free(call);
	return result;
}

static void
refused(fake_scene *scene, norikv_call *call, norikv_code code, const char *text)
{
	const norikv_error *error = norikv_call_error(fake_wait(scene, call));

	assert_int_equal(error->code, code);
	if (strstr(error->text, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error->text, text);
	assert_false(error->outcome_unknown);
	norikv_call_free(call);
}

static norikv_operation_result
create(fake_scene *scene, norikv_slice space)
{
	return done(scene, norikv_vector_create_index(scene->client, space, DIMENSIONS,
												  NORIKV_EUCLIDEAN, NORIKV_HNSW, NULL));
}

/* A point on the first axis. */
static norikv_operation_result
insert(fake_scene *scene, norikv_slice space, const char *id, float place)
{
	float		vector[DIMENSIONS] = {place};

	return done(scene, norikv_vector_insert(scene->client, space, NORIKV_SLICE(id),
											vector, DIMENSIONS, NULL));
}

static const norikv_vector *
only_vector(norikv_call *call)
{
	size_t		n;
	const norikv_vector *vectors = norikv_call_vectors(call, &n);

	assert_int_equal(n, 1);
	return vectors;
}

/* The ids of the k nearest to the origin, with commas. */
static const char *
nearest(fake_scene *scene, norikv_slice space, uint32_t k)
{
	static char text[1024];
	float		origin[DIMENSIONS] = {0};
	norikv_search_request request = {.space = space, .query = origin,
		.dimensions = DIMENSIONS, .k = k};
	norikv_call *call = fake_wait_ok(scene, norikv_vector_search(scene->client, &request,
																NULL));
	size_t		n;
	const norikv_vector *matches = norikv_call_vectors(call, &n);

	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
	{
		strcat(text, i > 0 ? "," : "");
		strncat(text, matches[i].id.data, matches[i].id.size);
		assert_true(i == 0 || matches[i].distance >= matches[i - 1].distance);
	}
	norikv_call_free(call);
	return text;
}

/* ---- Indexes ---- */

static void
test_indexes(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;
	const norikv_vector_index *indexes;
	size_t		n;

	assert_false(create(scene, docs).existed);
	assert_true(create(scene, docs).existed);
	refused(scene, norikv_vector_create_index(scene->client, docs, DIMENSIONS,
											  NORIKV_COSINE, NORIKV_HNSW, NULL),
			NORIKV_ALREADY_EXISTS, "4 dimensions, EUCLIDEAN, HNSW");
	done(scene, norikv_vector_create_index(scene->client, NORIKV_SLICE("other"), 2,
										   NORIKV_INNER_PRODUCT, NORIKV_BRUTE_FORCE,
										   NULL));
	insert(scene, docs, "a", 1);
	call = fake_wait_ok(scene, norikv_vector_list(scene->client, NORIKV_SLICE(""), NULL));
	indexes = norikv_call_indexes(call, &n);
	assert_int_equal(n, 2);
	assert_memory_equal(indexes[0].space.data, "docs", 5);
	assert_int_equal(indexes[0].vectors, 1);
	assert_int_equal(indexes[0].dimensions, DIMENSIONS);
	assert_int_equal(indexes[0].distance, NORIKV_EUCLIDEAN);
	assert_int_equal(indexes[0].type, NORIKV_HNSW);
	assert_int_equal(indexes[0].state, NORIKV_INDEX_READY);
	assert_true(indexes[0].memory_bytes > 0 && indexes[0].version.index > 0);
	assert_int_equal(indexes[1].distance, NORIKV_INNER_PRODUCT);
	assert_int_equal(indexes[1].type, NORIKV_BRUTE_FORCE);
	norikv_call_free(call);
	call = fake_wait_ok(scene, norikv_vector_list(scene->client, NORIKV_SLICE("ot"),
												  NULL));
	norikv_call_indexes(call, &n);
	assert_int_equal(n, 1);
	norikv_call_free(call);
	assert_true(done(scene, norikv_vector_drop_index(scene->client, docs, NULL)).existed);
	assert_false(done(scene,
					  norikv_vector_drop_index(scene->client, docs, NULL)).existed);
	refused(scene, norikv_vector_get(scene->client, docs, NORIKV_SLICE("a"), NULL),
			NORIKV_NOT_FOUND, "namespace \"docs\" has no vector index");
}

static void
test_info(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call = fake_wait_ok(scene, norikv_get_info(scene->client, NULL));

	assert_true(norikv_call_info(call)->vectors);
	norikv_call_free(call);
}

/* ---- Vectors ---- */

static void
test_vectors(void **state)
{
	fake_scene *scene = *state;
	norikv_slice ids[] = {NORIKV_SLICE("b"), NORIKV_SLICE("none"), NORIKV_SLICE("a")};
	norikv_operation_result first;
	norikv_operation_result second;
	const norikv_vector *vectors;
	norikv_call *call;
	size_t		n;

	create(scene, docs);
	first = insert(scene, docs, "a", 3);
	second = insert(scene, docs, "a", 1);
	assert_true(second.version.index > first.version.index);
	insert(scene, docs, "b", -2);
	call = fake_wait_ok(scene, norikv_vector_get(scene->client, docs, NORIKV_SLICE("a"),
												 NULL));
	assert_true(only_vector(call)->found);
	assert_int_equal(only_vector(call)->dimensions, DIMENSIONS);
	assert_true(only_vector(call)->vector[0] == 1);
	assert_int_equal(only_vector(call)->version.index, second.version.index);
	norikv_call_free(call);
	call = fake_wait_ok(scene, norikv_vector_get_many(scene->client, docs, ids, 3, NULL));
	vectors = norikv_call_vectors(call, &n);
	assert_int_equal(n, 3);
	assert_true(vectors[0].found && vectors[0].vector[0] == -2);
	assert_memory_equal(vectors[0].id.data, "b", 1);
	assert_false(vectors[1].found);
	assert_null(vectors[1].vector);
	assert_true(vectors[2].found && vectors[2].vector[0] == 1);
	norikv_call_free(call);
	assert_string_equal(nearest(scene, docs, 10), "a,b");
	assert_string_equal(nearest(scene, docs, 1), "a");
	assert_true(done(scene, norikv_vector_delete(scene->client, docs, NORIKV_SLICE("a"),
												 NULL)).existed);
	assert_false(done(scene, norikv_vector_delete(scene->client, docs, NORIKV_SLICE("a"),
												  NULL)).existed);
	assert_string_equal(nearest(scene, docs, 10), "b");
}

static void
test_matches(void **state)
{
	fake_scene *scene = *state;
	float		query[DIMENSIONS] = {1, 1};
	norikv_search_request request = {.space = docs, .query = query,
		.dimensions = DIMENSIONS, .k = 1, .include_vectors = true, .ef = 300,
	.exact = true};
	norikv_operation_result inserted;
	norikv_call *call;

	create(scene, docs);
	inserted = insert(scene, docs, "a", 2);
	call = fake_wait_ok(scene, norikv_vector_search(scene->client, &request, NULL));
	assert_true(fabsf(only_vector(call)->distance - sqrtf(2)) < 1e-6);
	assert_true(only_vector(call)->vector[0] == 2 && only_vector(call)->vector[1] == 0);
	assert_int_equal(only_vector(call)->version.index, inserted.version.index);
	assert_true(norikv_call_exact(call));
	norikv_call_free(call);
	request.include_vectors = false;
	call = fake_wait_ok(scene, norikv_vector_search(scene->client, &request, NULL));
	assert_null(only_vector(call)->vector);
	norikv_call_free(call);
}

static void
test_bad_arguments(void **state)
{
	fake_scene *scene = *state;
	float		vector[4097] = {1};
	norikv_search_request request = {.space = docs, .query = vector,
		.dimensions = DIMENSIONS};
	norikv_slice a = NORIKV_SLICE("a");
	norikv_client *client = scene->client;

	create(scene, docs);
	refused(scene, norikv_vector_insert(client, docs, a, vector, 3, NULL),
			NORIKV_INVALID_ARGUMENT, "namespace \"docs\" has 4");
	refused(scene, norikv_vector_insert(client, docs, a, vector, 4097, NULL),
			NORIKV_INVALID_ARGUMENT, "4097 dimensions");
	refused(scene, norikv_vector_insert(client, docs, NORIKV_SLICE(""), vector, 4, NULL),
			NORIKV_INVALID_ARGUMENT, "id of 0 bytes");
	refused(scene, norikv_vector_insert(client, docs, (norikv_slice) {"a\0b", 3}, vector,
										4, NULL), NORIKV_INVALID_ARGUMENT, "zero byte");
	refused(scene, norikv_vector_insert(client, docs, NORIKV_SLICE("\xff"), vector, 4,
										NULL), NORIKV_INVALID_ARGUMENT, "UTF-8");
	refused(scene, norikv_vector_insert(client, (norikv_slice) {vector, 257}, a, vector,
										4, NULL), NORIKV_INVALID_ARGUMENT, "257 bytes");
	refused(scene, norikv_vector_search(client, &request, NULL),
			NORIKV_INVALID_ARGUMENT, "k is 0");
	request.k = 1;
	vector[2] = NAN;
	refused(scene, norikv_vector_insert(client, docs, a, vector, 4, NULL),
			NORIKV_INVALID_ARGUMENT, "component 3 is NaN");
	refused(scene, norikv_vector_search(client, &request, NULL),
			NORIKV_INVALID_ARGUMENT, "query: component 3 is NaN");
	refused(scene, norikv_vector_create_index(client, NORIKV_SLICE("x"), 0,
											  NORIKV_COSINE, NORIKV_HNSW, NULL),
			NORIKV_INVALID_ARGUMENT, "dimensions");
	assert_string_equal(nearest(scene, docs, 10), "");
}

/* A vector may have 4,096 dimensions, of an id of 512 bytes. */
static void
test_largest_vector(void **state)
{
	fake_scene *scene = *state;
	static float vector[4096];
	char		name[512];
	norikv_slice space = {name, 256};
	norikv_slice id = {name, sizeof(name)};
	norikv_call *call;

	memset(name, 'n', sizeof(name));
	for (int i = 0; i < 4096; i++)
		vector[i] = (float) i;
	done(scene, norikv_vector_create_index(scene->client, space, 4096, NORIKV_COSINE,
										   NORIKV_BRUTE_FORCE, NULL));
	done(scene, norikv_vector_insert(scene->client, space, id, vector, 4096, NULL));
	call = fake_wait_ok(scene, norikv_vector_get(scene->client, space, id, NULL));
	assert_memory_equal(only_vector(call)->vector, vector, sizeof(vector));
	norikv_call_free(call);
}

static void
test_idempotency_key(void **state)
{
	fake_scene *scene = *state;
	norikv_call_options once = {.idempotency_key = NORIKV_SLICE("once")};
	float		vector[DIMENSIONS] = {1};
	norikv_slice a = NORIKV_SLICE("a");
	norikv_operation_result first;

	create(scene, docs);
	first = done(scene, norikv_vector_insert(scene->client, docs, a, vector, DIMENSIONS,
											 &once));
	done(scene, norikv_vector_delete(scene->client, docs, a, NULL));
	assert_int_equal(done(scene, norikv_vector_insert(scene->client, docs, a, vector,
													  DIMENSIONS, &once)).version.index,
					 first.version.index);
	assert_string_equal(nearest(scene, docs, 10), "");
	vector[0] = 2;
	refused(scene, norikv_vector_insert(scene->client, docs, a, vector, DIMENSIONS,
										&once), NORIKV_INVALID_ARGUMENT,
			"another request");
}

/* ---- Commit ---- */

static void
test_commit(void **state)
{
	fake_scene *scene = *state;
	float		vector[DIMENSIONS] = {1};
	norikv_operation operations[] = {
		fake_put("doc:a", "text"),
		{.kind = NORIKV_OP_VECTOR_PUT, .vector_namespace = docs,
			.key = NORIKV_SLICE("a"), .vector = vector, .dimensions = DIMENSIONS,
		.condition = NORIKV_IF_ABSENT},
		{.kind = NORIKV_OP_VECTOR_DELETE, .vector_namespace = docs,
		.key = NORIKV_SLICE("b")},
	};
	norikv_call *call;
	const norikv_operation_result *results;
	size_t		n;

	create(scene, docs);
	insert(scene, docs, "b", 5);
	call = fake_wait_ok(scene, norikv_commit(scene->client, operations, 3, true, NULL));
	results = norikv_call_results(call, &n);
	assert_int_equal(n, 3);
	assert_int_equal(results[1].version.index, results[0].version.index);
	assert_true(results[2].existed);
	norikv_call_free(call);
	assert_string_equal(nearest(scene, docs, 10), "a");

	operations[0] = fake_put("doc:a", "other");
	call = fake_wait(scene, norikv_commit(scene->client, operations, 3, true, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_FAILED_PRECONDITION);
	assert_true(norikv_call_error(call)->version_mismatch);
	assert_int_equal(norikv_call_error(call)->operation, 1);
	norikv_call_free(call);
	fake_expect(scene, "doc:a", "text");
	operations[1].vector_namespace = NORIKV_SLICE("none");
	call = fake_wait(scene, norikv_commit(scene->client, operations, 2, true, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_NOT_FOUND);
	norikv_call_free(call);
}

/* A vector that must be as it was, beside what is written. */
static void
test_commit_checks(void **state)
{
	fake_scene *scene = *state;
	norikv_operation operations[] = {
		fake_put("doc:a", "text"),
		{.kind = NORIKV_OP_VECTOR_CHECK, .vector_namespace = docs,
		.key = NORIKV_SLICE("a"), .condition = NORIKV_IF_VERSION},
		{.kind = NORIKV_OP_VECTOR_CHECK, .vector_namespace = docs,
		.key = NORIKV_SLICE("none"), .condition = NORIKV_IF_ABSENT},
	};
	const norikv_operation_result *results;
	norikv_call *call;
	size_t		n;

	create(scene, docs);
	operations[1].version = insert(scene, docs, "a", 1).version;
	call = fake_wait_ok(scene, norikv_commit(scene->client, operations, 3, true, NULL));
	results = norikv_call_results(call, &n);
	assert_int_equal(n, 3);
	assert_int_equal(results[1].version.index, operations[1].version.index);
	norikv_call_free(call);

	insert(scene, docs, "a", 1);
	operations[0] = fake_put("doc:a", "other");
	call = fake_wait(scene, norikv_commit(scene->client, operations, 3, true, NULL));
	assert_true(norikv_call_error(call)->version_mismatch);
	assert_int_equal(norikv_call_error(call)->operation, 1);
	assert_int_equal(norikv_call_error(call)->present.index,
					 operations[1].version.index + 2);
	norikv_call_free(call);
	fake_expect(scene, "doc:a", "text");

	operations[1].condition = NORIKV_IF_ANY;
	refused(scene, norikv_commit(scene->client, operations, 3, true, NULL),
			NORIKV_INVALID_ARGUMENT, "a check needs a condition");
	operations[1].condition = NORIKV_IF_VERSION;
	operations[1].version.index = 0;
	refused(scene, norikv_commit(scene->client, operations, 3, true, NULL),
			NORIKV_INVALID_ARGUMENT, "index 0");
}

/* ---- Searches that go on ---- */

#define MANY 3000

static void
insert_many(fake_scene *scene, norikv_slice space, unsigned n)
{
	static char ids[MANY][8];
	static float vectors[MANY][DIMENSIONS];
	static norikv_operation operations[MANY];
	norikv_call *call;

	for (unsigned i = 0; i < n; i++)
	{
		sprintf(ids[i], "%05u", i);
		vectors[i][0] = (float) (i / 3);
		operations[i] = (norikv_operation) {.kind = NORIKV_OP_VECTOR_PUT,
			.vector_namespace = space, .key = NORIKV_SLICE(ids[i]),
			.vector = vectors[i], .dimensions = DIMENSIONS};
	}
	call = fake_wait_ok(scene, norikv_commit(scene->client, operations, n, false, NULL));
	norikv_call_free(call);
}

/* All of them, each once; how many pages that took. */
static unsigned
read_all(fake_scene *scene, norikv_slice space, unsigned expected)
{
	static bool seen[MANY];
	float		origin[DIMENSIONS] = {0};
	norikv_search_request request = {.space = space, .query = origin,
		.dimensions = DIMENSIONS, .k = 10, .continued = true};
	norikv_call *call = norikv_vector_search(scene->client, &request, NULL);
	unsigned	total = 0;
	unsigned	pages = 0;
	float		distance = 0;

	memset(seen, 0, sizeof(seen));
	do
	{
		size_t		n;
		const norikv_vector *matches;

		fake_wait_ok(scene, call);
		matches = norikv_call_vectors(call, &n);
		pages += n > 0;
		for (size_t i = 0; i < n; i++)
		{
			int			number = atoi(matches[i].id.data);

			assert_false(seen[number]);
			seen[number] = true;
			assert_true(matches[i].distance >= distance);
			distance = matches[i].distance;
			total++;
		}
	} while (norikv_call_next(call));
	norikv_call_free(call);
	assert_int_equal(total, expected);
	return pages;
}

static void
test_continued_search(void **state)
{
	fake_scene *scene = *state;

	create(scene, docs);
	assert_int_equal(read_all(scene, docs, 0), 0);
	insert_many(scene, docs, MANY);
	assert_in_range(read_all(scene, docs, MANY), 5, 12);
}

/* What is deleted or inserted between two pages disturbs nothing else. */
static void
test_continued_search_while_written(void **state)
{
	fake_scene *scene = *state;
	float		origin[DIMENSIONS] = {0};
	norikv_search_request request = {.space = docs, .query = origin,
		.dimensions = DIMENSIONS, .k = 5, .continued = true};
	norikv_call *call;
	unsigned	total = 0;
	size_t		n;

	create(scene, docs);
	insert_many(scene, docs, 20);
	call = fake_wait_ok(scene, norikv_vector_search(scene->client, &request, NULL));
	norikv_call_vectors(call, &n);
	assert_int_equal(n, 5);
	/* One that was shown comes again elsewhere, one goes, one is new and near. */
	insert(scene, docs, "00000", 100);
	done(scene, norikv_vector_delete(scene->client, docs, NORIKV_SLICE("00019"), NULL));
	insert(scene, docs, "00020", 0.5);
	do
	{
		const norikv_vector *matches;

		fake_wait_ok(scene, call);
		matches = norikv_call_vectors(call, &n);
		for (size_t i = 0; i < n; i++)
			assert_memory_not_equal(matches[i].id.data, "00019", 5);
		total += (unsigned) n;
	} while (norikv_call_next(call));
	norikv_call_free(call);
	assert_int_equal(total, 20);
}

/* ---- A part of the store ---- */

static void
test_key_prefix(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;
	const norikv_vector_index *indexes;
	size_t		n;

	create(scene, docs);
	insert(scene, docs, "outside", 1);
	scene->options.key_prefix = NORIKV_SLICE("tenant:");
	fake_open(scene, 0, 1);
	refused(scene, norikv_vector_get(scene->client, docs, NORIKV_SLICE("outside"), NULL),
			NORIKV_NOT_FOUND, "namespace \"docs\" has");
	assert_false(create(scene, docs).existed);
	insert_many(scene, docs, 3);
	assert_string_equal(nearest(scene, docs, 10), "00000,00001,00002");
	call = fake_wait_ok(scene, norikv_vector_list(scene->client, NORIKV_SLICE(""), NULL));
	indexes = norikv_call_indexes(call, &n);
	assert_int_equal(n, 1);
	assert_int_equal(indexes[0].space.size, 4);
	assert_memory_equal(indexes[0].space.data, "docs", 4);
	norikv_call_free(call);
	scene->options.key_prefix = NORIKV_SLICE("");
	fake_open(scene, 0, 1);
	assert_string_equal(nearest(scene, docs, 10), "outside");
	assert_string_equal(nearest(scene, NORIKV_SLICE("tenant:docs"), 10),
						"00000,00001,00002");
}

/* ---- Servers that have less ---- */

static void
test_server_without_vectors(void **state)
{
	fake_scene *scene = *state;
	float		vector[DIMENSIONS] = {1};
	norikv_search_request request = {.space = docs, .query = vector,
		.dimensions = DIMENSIONS, .k = 1};
	norikv_slice a = NORIKV_SLICE("a");
	norikv_operation operation = {.kind = NORIKV_OP_VECTOR_PUT, .key = a,
		.vector_namespace = docs, .vector = vector, .dimensions = DIMENSIONS};

	fake_start(scene, 1, NULL);
	fake_open(scene, 1, 1);
	refused(scene, norikv_vector_create_index(scene->client, docs, DIMENSIONS,
											  NORIKV_COSINE, NORIKV_HNSW, NULL),
			NORIKV_UNIMPLEMENTED, "has no vector service");
	refused(scene, norikv_vector_insert(scene->client, docs, a, vector, DIMENSIONS, NULL),
			NORIKV_UNIMPLEMENTED, "has no vector service");
	refused(scene, norikv_vector_get(scene->client, docs, a, NULL),
			NORIKV_UNIMPLEMENTED, "has no vector service");
	refused(scene, norikv_commit(scene->client, &operation, 1, true, NULL),
			NORIKV_UNIMPLEMENTED, "has no vector service");
	refused(scene, norikv_vector_search(scene->client, &request, NULL),
			NORIKV_UNIMPLEMENTED, "has no vector service");
	refused(scene, norikv_vector_list(scene->client, docs, NULL),
			NORIKV_UNIMPLEMENTED, "has no list of vector indexes");
}

/* An older norikvd would not know the operation: nothing is sent to it. */
static void
test_server_without_vector_checks(void **state)
{
	fake_scene *scene = *state;
	norikv_operation operations[] = {
		fake_put("k", "v"),
		{.kind = NORIKV_OP_VECTOR_CHECK, .vector_namespace = docs,
		.key = NORIKV_SLICE("a"), .condition = NORIKV_IF_ABSENT},
	};
	norikv_call *call;

	fake_start(scene, 1, "--ext", "1", "--capabilities", "atomic_cas,vectors", NULL);
	fake_open(scene, 1, 1);
	call = fake_wait(scene, norikv_commit(scene->client, operations, 2, true, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_UNIMPLEMENTED);
	assert_non_null(strstr(norikv_call_error(call)->text,
						   "has no conditions on vectors of their own"));
	assert_true(norikv_call_error(call)->never_sent);
	norikv_call_free(call);
	fake_expect(scene, "k", NULL);
	/* without one it is sent */
	norikv_call_free(fake_wait_ok(scene, norikv_commit(scene->client, operations, 1,
													   false, NULL)));
	fake_expect(scene, "k", "v");
}

/* norikv.v1.Vector and nothing else. */
static void
test_server_without_extensions(void **state)
{
	fake_scene *scene = *state;
	float		vector[DIMENSIONS] = {1};
	norikv_slice ids[] = {NORIKV_SLICE("b"), NORIKV_SLICE("none"), NORIKV_SLICE("a")};
	norikv_operation operation = {.kind = NORIKV_OP_VECTOR_PUT, .key = ids[0],
		.vector_namespace = docs, .vector = vector, .dimensions = DIMENSIONS};
	const norikv_vector *vectors;
	norikv_call *call;
	size_t		n;

	fake_start(scene, 1, "--vectors", "1", NULL);
	fake_open(scene, 1, 1);
	assert_false(create(scene, docs).existed);
	assert_int_equal(insert(scene, docs, "a", 1).version.index, 0);
	insert(scene, docs, "b", 2);
	call = fake_wait_ok(scene, norikv_vector_get_many(scene->client, docs, ids, 3, NULL));
	vectors = norikv_call_vectors(call, &n);
	assert_int_equal(n, 3);
	assert_true(vectors[0].found && vectors[0].vector[0] == 2);
	assert_false(vectors[1].found);
	assert_true(vectors[2].found && vectors[2].vector[0] == 1);
	norikv_call_free(call);
	assert_string_equal(nearest(scene, docs, 10), "a,b");
	assert_true(done(scene, norikv_vector_delete(scene->client, docs, NORIKV_SLICE("b"),
												 NULL)).existed);
	assert_string_equal(nearest(scene, docs, 10), "a");
	refused(scene, norikv_vector_list(scene->client, docs, NULL),
			NORIKV_UNIMPLEMENTED, "has no list of vector indexes");
	norikv_call_free(fake_wait_ok(scene, norikv_commit(scene->client, &operation, 1, true,
													   NULL)));
	assert_string_equal(nearest(scene, docs, 10), "a,b");
	operation.kind = NORIKV_OP_VECTOR_DELETE;
	call = fake_wait_ok(scene, norikv_commit(scene->client, &operation, 1, false, NULL));
	assert_true(result_of(call).existed);
	norikv_call_free(call);
	operation.kind = NORIKV_OP_VECTOR_CHECK;
	operation.condition = NORIKV_IF_ABSENT;
	refused(scene, norikv_commit(scene->client, &operation, 1, false, NULL),
			NORIKV_UNIMPLEMENTED, "has no conditions of their own");
	operation.kind = NORIKV_OP_VECTOR_DELETE;
	operation.condition = NORIKV_IF_VERSION;
	operation.version = (norikv_version) {1, 1};
	refused(scene, norikv_commit(scene->client, &operation, 1, false, NULL),
			NORIKV_UNIMPLEMENTED, "has no conditions on vectors");
	done(scene, norikv_vector_delete(scene->client, docs, NORIKV_SLICE("a"), NULL));
	insert_many(scene, docs, 200);
	assert_in_range(read_all(scene, docs, 200), 3, 6);
	assert_true(done(scene, norikv_vector_drop_index(scene->client, docs, NULL)).existed);
}

int
main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, fake_setup_norikvd, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_indexes), TEST(test_info), TEST(test_vectors), TEST(test_matches),
		TEST(test_bad_arguments), TEST(test_largest_vector), TEST(test_idempotency_key),
		TEST(test_commit), TEST(test_commit_checks), TEST(test_continued_search),
		TEST(test_continued_search_while_written), TEST(test_key_prefix),
		TEST(test_server_without_vectors), TEST(test_server_without_vector_checks),
		TEST(test_server_without_extensions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
