/*
 * test_vector_scan.c - vectors read by libnorikv in the order of their ids: in pages,
 * as a part of the store sees them, and through the death of the server; and deleted by
 * ranges of ids.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fake.h"

/* Some pages of 256 KiB. */
#define DIMENSIONS 256
#define MANY 3000

static const norikv_slice docs = {"docs", 4};

/* Ids 0 to n - 1, each its number as a vector. */
static void
fill(fake_scene *scene, norikv_slice space, unsigned n)
{
	static char ids[MANY][8];
	static float vectors[MANY][DIMENSIONS];
	static norikv_operation operations[MANY];

	norikv_call_free(fake_wait_ok(scene, norikv_vector_create_index(
		scene->client, space, DIMENSIONS, NORIKV_EUCLIDEAN, NORIKV_BRUTE_FORCE, NULL)));
	for (unsigned i = 0; i < n; i++)
	{
		sprintf(ids[i], "%05u", i);
		vectors[i][0] = (float) i;
		operations[i] = (norikv_operation) {.kind = NORIKV_OP_VECTOR_PUT,
			.vector_namespace = space, .key = NORIKV_SLICE(ids[i]),
			.vector = vectors[i], .dimensions = DIMENSIONS};
	}
	norikv_call_free(fake_wait_ok(scene, norikv_commit(scene->client, operations, n, true,
													   NULL)));
}

static void
assert_vector(const norikv_vector *vector, int number, bool with_floats)
{
	char		id[16];

	sprintf(id, "%05d", number);
	assert_int_equal(vector->id.size, strlen(id));
	assert_memory_equal(vector->id.data, id, strlen(id));
	assert_true(vector->found);
	assert_int_not_equal(vector->version.index, 0);
	assert_int_equal(vector->dimensions, with_floats ? DIMENSIONS : 0);
	if (with_floats)
		assert_true(vector->vector[0] == (float) number && vector->vector[1] == 0);
	else
		assert_null(vector->vector);
}

/* From the first number on, by the step; how many pages that took. */
static unsigned
assert_scanned(fake_scene *scene, norikv_vector_scan_request request, int first, int step,
			   int expected)
{
	norikv_call *call = norikv_vector_scan(scene->client, &request, NULL);
	unsigned	pages = 0;
	int			seen = 0;

	do
	{
		const norikv_vector *vectors;
		size_t		n;

		fake_wait_ok(scene, call);
		vectors = norikv_call_vectors(call, &n);
		assert_false(norikv_call_snapshot_moved(call));
		for (size_t i = 0; i < n; i++, seen++)
			assert_vector(&vectors[i], first + seen * step, !request.ids_only);
		pages += n > 0;
	} while (norikv_call_next(call));
	norikv_call_free(call);
	assert_int_equal(seen, expected);
	return pages;
}

static void
refused(fake_scene *scene, norikv_vector_scan_request request, norikv_code code,
		const char *text)
{
	norikv_call *call = fake_wait(scene, norikv_vector_scan(scene->client, &request,
															 NULL));
	const norikv_error *error = norikv_call_error(call);

	assert_int_equal(error->code, code);
	if (strstr(error->text, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error->text, text);
	norikv_call_free(call);
}

static void
test_pages(void **state)
{
	fake_scene *scene = *state;

	fill(scene, docs, MANY);
	assert_true(assert_scanned(scene, (norikv_vector_scan_request) {.space = docs}, 0, 1,
							   MANY) > 5);
	assert_scanned(scene, (norikv_vector_scan_request) {.space = docs, .reverse = true},
				   MANY - 1, -1, MANY);
	assert_int_equal(assert_scanned(scene, (norikv_vector_scan_request) {.space = docs,
									.ids_only = true}, 0, 1, MANY), 1);
	assert_scanned(scene, (norikv_vector_scan_request) {.space = docs,
				   .start = NORIKV_SLICE("00010"), .end = NORIKV_SLICE("01010")}, 10, 1,
				   1000);
	assert_scanned(scene, (norikv_vector_scan_request) {.space = docs,
				   .start = NORIKV_SLICE("00010\xff"), .max_rows = 500}, 11, 1, 500);
	assert_scanned(scene, (norikv_vector_scan_request) {.space = docs,
				   .start = NORIKV_SLICE("1")}, 0, 1, 0);
}

static void
test_bad_arguments(void **state)
{
	fake_scene *scene = *state;
	static char long_bound[600];

	fill(scene, docs, 1);
	refused(scene, (norikv_vector_scan_request) {.space = NORIKV_SLICE("none")},
			NORIKV_NOT_FOUND, "none");
	refused(scene, (norikv_vector_scan_request) {0}, NORIKV_INVALID_ARGUMENT,
			"namespace of 0 bytes");
	refused(scene, (norikv_vector_scan_request) {.space = docs,
			.start = {long_bound, 514}}, NORIKV_INVALID_ARGUMENT,
			"start of a scan has 514 bytes");
	/* a bound may be an id and a zero byte */
	memset(long_bound, 'x', 512);
	assert_scanned(scene, (norikv_vector_scan_request) {.space = docs,
				   .end = {long_bound, 513}}, 0, 1, 1);
}

/* The namespace has the client's prefix; ids have none. */
static void
test_key_prefix(void **state)
{
	fake_scene *scene = *state;

	fill(scene, docs, 10);
	scene->options.key_prefix = NORIKV_SLICE("tenant:");
	fake_open(scene, 0, 1);
	refused(scene, (norikv_vector_scan_request) {.space = docs}, NORIKV_NOT_FOUND,
			"docs");
	fill(scene, docs, 5);
	assert_scanned(scene, (norikv_vector_scan_request) {.space = docs}, 0, 1, 5);
	scene->options.key_prefix = NORIKV_SLICE("");
	fake_open(scene, 0, 1);
	assert_scanned(scene, (norikv_vector_scan_request) {.space = docs}, 0, 1, 10);
	assert_scanned(scene, (norikv_vector_scan_request) {
				   .space = NORIKV_SLICE("tenant:docs"), .reverse = true}, 4, -1, 5);
}

/* Of the part that the client sees, and beside other operations. */
static void
test_delete_range(void **state)
{
	fake_scene *scene = *state;
	static const float origin[DIMENSIONS];
	norikv_operation operations[] = {
		{.kind = NORIKV_OP_VECTOR_DELETE_RANGE, .vector_namespace = docs,
			.key = NORIKV_SLICE("00003")},
		{.kind = NORIKV_OP_VECTOR_PUT, .vector_namespace = docs,
			.key = NORIKV_SLICE("00000"), .vector = origin, .dimensions = DIMENSIONS},
	};
	const norikv_operation_result *results;
	norikv_call *call;
	size_t		n;

	fill(scene, docs, 10);
	scene->options.key_prefix = NORIKV_SLICE("tenant:");
	fake_open(scene, 0, 1);
	fill(scene, docs, 8);
	call = fake_wait_ok(scene, norikv_commit(scene->client, operations, 2, true, NULL));
	results = norikv_call_results(call, &n);
	assert_int_equal(results[0].deleted, 5);
	norikv_call_free(call);
	assert_scanned(scene, (norikv_vector_scan_request) {.space = docs}, 0, 1, 3);
	operations[0].condition = NORIKV_IF_ABSENT;
	call = fake_wait(scene, norikv_commit(scene->client, operations, 2, true, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_INVALID_ARGUMENT);
	norikv_call_free(call);
	scene->options.key_prefix = NORIKV_SLICE("");
	fake_open(scene, 0, 1);
	assert_scanned(scene, (norikv_vector_scan_request) {.space = docs}, 0, 1, 10);

	operations[0].condition = NORIKV_IF_ANY;
	fake_start(scene, 1, "--ext", "1", "--capabilities", "atomic_cas,vector_checks", NULL);
	fake_open(scene, 1, 1);
	call = fake_wait(scene, norikv_commit(scene->client, operations, 1, true, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_UNIMPLEMENTED);
	assert_non_null(strstr(norikv_call_error(call)->text,
						   "has no deletion of ranges of vectors"));
	norikv_call_free(call);
}

static void
test_server_without_scan(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 1, "--vectors", "1", "--ext", "1", NULL);
	fake_open(scene, 1, 1);
	refused(scene, (norikv_vector_scan_request) {.space = docs}, NORIKV_UNIMPLEMENTED,
			"has no Scan of vectors");
}

/* ---- Servers that die ---- */

static void
start_durable(fake_scene *scene)
{
	char		listening[320];
	char		data[320];
	const char *arguments[] = {listening, data, "--log-level=error", NULL};

	snprintf(listening, sizeof(listening), "--listen=%s", scene->nodes[0]);
	snprintf(data, sizeof(data), "--data-dir=%s/data", scene->dir);
	assert_true(program_start(&scene->servers[0], "norikvd", arguments));
}

/* Goes on after the last id that came, and says that it is another snapshot. */
static void
go_on_after_death(fake_scene *scene, bool reverse)
{
	norikv_vector_scan_request request = {.space = docs, .reverse = reverse};
	norikv_call *call = norikv_vector_scan(scene->client, &request, NULL);
	unsigned	moved = 0;
	int			seen = 0;
	bool		killed = false;

	do
	{
		const norikv_vector *vectors;
		size_t		n;

		fake_wait_ok(scene, call);
		vectors = norikv_call_vectors(call, &n);
		moved += norikv_call_snapshot_moved(call);
		for (size_t i = 0; i < n; i++, seen++)
			assert_vector(&vectors[i], reverse ? MANY - 1 - seen : seen, true);
		if (killed)
			continue;
		killed = true;
		program_stop(&scene->servers[0], SIGKILL, NULL, 0);
		start_durable(scene);
	} while (norikv_call_next(call));
	norikv_call_free(call);
	assert_int_equal(seen, MANY);
	assert_int_equal(moved, 1);
}

static void
test_server_dies(void **state)
{
	fake_scene *scene = *state;

	start_durable(scene);
	fake_open(scene, 0, 1);
	fill(scene, docs, MANY);
	go_on_after_death(scene, false);
	go_on_after_death(scene, true);
}

int
main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, fake_setup_norikvd, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_pages), TEST(test_bad_arguments), TEST(test_key_prefix),
		TEST(test_delete_range), TEST(test_server_without_scan),
		cmocka_unit_test_setup_teardown(test_server_dies, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
