/*
 * test_batches.c - MultiGet, Commit and Scan: streams that break and go on, pages
 * and slow readers, and the unary calls they become where a server has none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fake.h"

#define N 5000

static char key_bytes[N][16];
static norikv_slice keys[N];
static norikv_operation operations[N];

static void
make_keys(void)
{
	for (int i = 0; i < N; i++)
	{
		snprintf(key_bytes[i], sizeof(key_bytes[i]), "key:%06d", i);
		keys[i] = NORIKV_SLICE(key_bytes[i]);
		operations[i] = fake_put(key_bytes[i], key_bytes[i]);
	}
}

static void
commit_keys(fake_scene *scene, size_t n)
{
	norikv_call *call;
	const norikv_operation_result *results;
	size_t		n_results;

	make_keys();
	call = fake_wait_ok(scene, norikv_commit(scene->client, operations, n, false, NULL));
	results = norikv_call_results(call, &n_results);
	assert_int_equal(n_results, n);
	for (size_t i = 0; i < n; i++)
	{
		assert_int_equal(results[i].code, NORIKV_OK);
		assert_int_not_equal(results[i].version.index, 0);
	}
	norikv_call_free(call);
}

static void
expect_keys(norikv_call *call, size_t n)
{
	size_t		n_entries;
	const norikv_entry *entries = norikv_call_entries(call, &n_entries);

	assert_int_equal(n_entries, n);
	for (size_t i = 0; i < n; i++)
	{
		assert_int_equal(entries[i].key.size, keys[i].size);
		assert_memory_equal(entries[i].key.data, keys[i].data, keys[i].size);
		assert_int_equal(entries[i].value.size, keys[i].size);
		assert_memory_equal(entries[i].value.data, keys[i].data, keys[i].size);
	}
}

/* ---- MultiGet ---- */

static void
test_multi_get(void **state)
{
	fake_scene *scene = *state;
	norikv_slice some[] = {NORIKV_SLICE("key:000001"), NORIKV_SLICE("none"),
	NORIKV_SLICE("key:000001"), NORIKV_SLICE("key:000000")};
	const norikv_entry *entries;
	norikv_call *call;
	size_t		n;

	fake_start(scene, 0, "--ext", "1", NULL);
	fake_open(scene, 0, 1);
	commit_keys(scene, N);
	call = fake_wait_ok(scene, norikv_multi_get(scene->client, keys, N, NULL));
	expect_keys(call, N);
	assert_true(norikv_call_get_stats(call).attempts < 10);
	norikv_call_free(call);
	/* in the order asked, the same twice, absent ones too */
	call = fake_wait_ok(scene, norikv_multi_get(scene->client, some, 4, NULL));
	entries = norikv_call_entries(call, &n);
	assert_int_equal(n, 4);
	assert_memory_equal(entries[0].value.data, "key:000001", 10);
	assert_int_equal(entries[1].version.index, 0);
	assert_memory_equal(entries[2].value.data, "key:000001", 10);
	assert_memory_equal(entries[3].value.data, "key:000000", 10);
	norikv_call_free(call);
	call = fake_wait_ok(scene, norikv_multi_get(scene->client, NULL, 0, NULL));
	norikv_call_entries(call, &n);
	assert_int_equal(n, 0);
	norikv_call_free(call);
}

static void
test_multi_get_breaks(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, "--ext", "1", "--break-stream", "5", NULL);
	fake_open(scene, 0, 1);
	commit_keys(scene, N);
	call = fake_wait_ok(scene, norikv_multi_get(scene->client, keys, N, NULL));
	expect_keys(call, N);
	norikv_call_free(call);
}

static void
test_multi_get_without(void **state)
{
	fake_scene *scene = *state;
	norikv_slice some[] = {NORIKV_SLICE("key:000001"), NORIKV_SLICE("none")};
	norikv_call *call;
	size_t		n;
	int			asked;

	for (int not_found = 0; not_found < 2; not_found++)
	{
		fake_start(scene, 0, "--absent-not-found", not_found ? "1" : "0", NULL);
		fake_open(scene, 0, 1);
		commit_keys(scene, N);
		asked = fake_count(scene, 0, "ext");
		assert_int_equal(asked, 1);
		for (int i = 0; i < 2; i++)
		{
			call = fake_wait_ok(scene, norikv_multi_get(scene->client, keys, N, NULL));
			expect_keys(call, N);
			assert_int_equal(norikv_call_get_stats(call).attempts, N);
			norikv_call_free(call);
		}
		call = fake_wait_ok(scene, norikv_multi_get(scene->client, some, 2, NULL));
		assert_int_equal(norikv_call_entries(call, &n)[0].value.size, 10);
		assert_int_equal(norikv_call_entries(call, &n)[1].version.index, 0);
		norikv_call_free(call);
		/* found out once */
		assert_int_equal(fake_count(scene, 0, "ext"), asked);
		fake_stop(scene, 0);
	}
}

static void
test_multi_get_finds_out(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;
	int			asked;

	fake_start(scene, 0, NULL);
	fake_open(scene, 0, 1);
	make_keys();
	call = fake_wait_ok(scene, norikv_multi_get(scene->client, keys, N, NULL));
	norikv_call_free(call);
	assert_true(fake_count(scene, 0, "ext") >= 1);
	assert_true(fake_count(scene, 0, "ext") <= 4);
	assert_int_equal(fake_count(scene, 0, "gets"), N);
	/* found out once */
	asked = fake_count(scene, 0, "ext");
	call = fake_wait_ok(scene, norikv_multi_get(scene->client, keys, 10, NULL));
	norikv_call_free(call);
	assert_int_equal(fake_count(scene, 0, "ext"), asked);
}

static void
test_one_fails(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, "--garbage", "1", NULL);
	fake_start(scene, 1, "--ext", "1", "--garbage", "1", NULL);
	make_keys();
	for (int server = 0; server < 2; server++)
	{
		fake_open(scene, server, 1);
		call = fake_wait(scene, norikv_multi_get(scene->client, keys, 300, NULL));
		assert_int_equal(norikv_call_error(call)->code, NORIKV_INTERNAL);
		assert_true((norikv_call_error(call)->operation >= 0) == (server == 0));
		norikv_call_free(call);
		norikv_call_free(fake_wait_ok(scene, norikv_multi_get(scene->client, keys, 300,
															   NULL)));
	}
}

static void
test_multi_get_given_up(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, NULL);
	fake_start(scene, 1, "--ext", "1", NULL);
	make_keys();
	for (int server = 0; server < 2; server++)
	{
		fake_open(scene, server, 1);
		for (int i = 0; i < 10; i++)
		{
			call = norikv_multi_get(scene->client, keys, N, NULL);
			norikv_wait(scene->client, &call, 1, i);
			norikv_call_free(call);
		}
		fake_put_now(scene, "k", "v");
	}
}

/* ---- Commit ---- */

static void
test_big_commit(void **state)
{
	enum
	{
		VALUES = 12,
		SIZE = 500000
	};
	fake_scene *scene = *state;
	norikv_operation big[VALUES];
	char	   *value = malloc(SIZE);
	norikv_call *call;

	/* the answer to the first one gets lost: all chunks are sent again */
	fake_start(scene, 0, "--ext", "1", "--lose", "1", NULL);
	scene->options.attempt_timeout_ms = 200;
	fake_open(scene, 0, 1);
	make_keys();
	memset(value, 'v', SIZE);
	for (int i = 0; i < VALUES; i++)
	{
		big[i] = operations[i];
		big[i].value = (norikv_slice) {value, SIZE};
	}
	scene->options.timeout_ms = 30000;
	call = norikv_commit(scene->client, big, VALUES, true,
						 &(norikv_call_options) {.timeout_ms = 20000});
	/* the caller's memory is not needed any more */
	memset(value, 'x', SIZE);
	fake_wait_ok(scene, call);
	assert_int_equal(norikv_call_get_stats(call).attempts, 2);
	assert_true(norikv_call_get_stats(call).bytes_sent > 2 * VALUES * SIZE);
	norikv_call_free(call);
	assert_int_equal(fake_count(scene, 0, "applied"), VALUES);
	call = fake_wait_ok(scene, norikv_get(scene->client, keys[VALUES - 1], NULL));
	assert_int_equal(norikv_call_entry(call)->value.size, SIZE);
	assert_memory_equal(norikv_call_entry(call)->value.data, "vvvv", 4);
	norikv_call_free(call);
	free(value);
}

static void
test_commit_is_lost(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, "--ext", "1", "--lose", "-1", NULL);
	scene->options.attempt_timeout_ms = 100;
	scene->options.timeout_ms = 300;
	fake_open(scene, 0, 1);
	make_keys();
	call = fake_wait(scene, norikv_commit(scene->client, operations, 3, true, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_DEADLINE_EXCEEDED);
	assert_true(norikv_call_error(call)->outcome_unknown);
	norikv_call_free(call);
}

static void
test_commit_garbage(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, "--ext", "1", "--garbage", "1", "--empty", "1", NULL);
	fake_open(scene, 0, 1);
	make_keys();
	for (int i = 0; i < 2; i++)
	{
		call = fake_wait(scene, norikv_commit(scene->client, operations, 3, true, NULL));
		assert_int_equal(norikv_call_error(call)->code, NORIKV_INTERNAL);
		assert_true(norikv_call_error(call)->outcome_unknown);
		norikv_call_free(call);
	}
}

static void
expect_unimplemented(fake_scene *scene, const norikv_operation *list, size_t n,
					 bool atomic)
{
	norikv_call *call =
		fake_wait(scene, norikv_commit(scene->client, list, n, atomic, NULL));

	assert_int_equal(norikv_call_error(call)->code, NORIKV_UNIMPLEMENTED);
	assert_false(norikv_call_error(call)->outcome_unknown);
	assert_true(norikv_call_error(call)->never_sent);
	assert_non_null(strstr(norikv_call_error(call)->text, scene->nodes[0]));
	norikv_call_free(call);
}

static void
test_commit_without(void **state)
{
	fake_scene *scene = *state;
	norikv_operation list[3];
	norikv_call *call;

	fake_start(scene, 0, NULL);
	fake_open(scene, 0, 1);
	make_keys();
	for (int i = 0; i < 2; i++)
	{
		memcpy(list, operations, sizeof(list));
		expect_unimplemented(scene, list, 3, true);
		list[2].kind = NORIKV_OP_ADD;
		expect_unimplemented(scene, list, 3, false);
		list[2].kind = NORIKV_OP_DELETE_RANGE;
		expect_unimplemented(scene, list, 3, false);
		list[2].kind = NORIKV_OP_CHECK;
		list[2].condition = NORIKV_IF_ABSENT;
		expect_unimplemented(scene, list, 3, false);
		list[2] = operations[2];
		list[2].ttl = NORIKV_TTL_KEEP;
		expect_unimplemented(scene, list, 3, false);
	}
	/* nothing of these was done */
	assert_int_equal(fake_count(scene, 0, "applied"), 0);
	/* one operation is as atomic alone */
	call = fake_wait_ok(scene, norikv_commit(scene->client, operations, 1, true, NULL));
	norikv_call_free(call);
	fake_expect(scene, key_bytes[0], key_bytes[0]);
}

static void
test_commit_without_each(void **state)
{
	fake_scene *scene = *state;
	const norikv_operation_result *results;
	norikv_operation list[4];
	norikv_call *call;
	size_t		n;

	fake_start(scene, 0, NULL);
	fake_open(scene, 0, 1);
	commit_keys(scene, 100);
	memcpy(list, operations, sizeof(list));
	list[0].kind = NORIKV_OP_DELETE;
	list[1].condition = NORIKV_IF_VERSION;
	list[1].version = (norikv_version) {0, 4711};
	list[2] = (norikv_operation) {.kind = NORIKV_OP_DELETE, .key = NORIKV_SLICE("none")};
	call = fake_wait_ok(scene, norikv_commit(scene->client, list, 4, false, NULL));
	results = norikv_call_results(call, &n);
	assert_int_equal(n, 4);
	assert_int_equal(results[0].code, NORIKV_OK);
	assert_true(results[0].existed);
	assert_int_equal(results[1].code, NORIKV_FAILED_PRECONDITION);
	assert_true(results[1].version_mismatch);
	assert_non_null(strstr(results[1].text, "key:000001"));
	assert_int_equal(results[2].code, NORIKV_OK);
	assert_false(results[2].existed);
	assert_int_equal(results[3].code, NORIKV_OK);
	norikv_call_free(call);
	/* the only operation of an atomic one decides about the whole */
	call = fake_wait(scene, norikv_commit(scene->client, &list[1], 1, true, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_FAILED_PRECONDITION);
	assert_true(norikv_call_error(call)->version_mismatch);
	assert_int_equal(norikv_call_error(call)->operation, 0);
	norikv_call_free(call);
}

static void
test_commit_without_lost(void **state)
{
	fake_scene *scene = *state;
	norikv_call_options options = {.idempotency_key = NORIKV_SLICE("mine")};
	char		key[600];

	fake_start(scene, 0, "--lose", "3", NULL);
	scene->options.attempt_timeout_ms = 200;
	fake_open(scene, 0, 1);
	make_keys();
	norikv_call_free(fake_wait_ok(
		scene, norikv_commit(scene->client, operations, 50, false, &options)));
	assert_int_equal(fake_count(scene, 0, "applied"), 50);
	fake_ask(scene, 0, "idempotency_key", key, sizeof(key));
	assert_memory_equal(key, "mine/", 5);
}

/* ---- Scan ---- */

typedef struct scanned
{
	size_t		rows;
	size_t		moved;			/* pages */
	norikv_code code;
} scanned;

/* Reads to the end; the keys must be those of make_keys(), each once, in order. */
static scanned
read_all(fake_scene *scene, const norikv_scan_request *request, useconds_t pause)
{
	norikv_call *call = norikv_scan(scene->client, request, NULL);
	scanned		result = {0};

	do
	{
		const norikv_entry *entries;
		size_t		n;

		fake_wait(scene, call);
		entries = norikv_call_entries(call, &n);
		for (size_t i = 0; i < n; i++)
		{
			assert_int_equal(entries[i].key.size, keys[result.rows].size);
			assert_memory_equal(entries[i].key.data, keys[result.rows].data,
								entries[i].key.size);
			result.rows++;
		}
		result.moved += norikv_call_snapshot_moved(call);
		usleep(pause);
	} while (norikv_call_next(call));
	result.code = norikv_call_error(call)->code;
	norikv_call_free(call);
	return result;
}

static const norikv_scan_request all_keys = {.start = {"key:", 4}, .end = {"key;", 4}};

static void
test_scan(void **state)
{
	fake_scene *scene = *state;
	norikv_scan_request request = all_keys;
	scanned		result;

	fake_start(scene, 0, "--ext", "1", "--chunk", "77", NULL);
	fake_open(scene, 0, 1);
	commit_keys(scene, 1000);
	result = read_all(scene, &request, 0);
	assert_int_equal(result.code, NORIKV_OK);
	assert_int_equal(result.rows, 1000);
	assert_int_equal(result.moved, 0);
	request.max_rows = 100;
	assert_int_equal(read_all(scene, &request, 0).rows, 100);
	request.start = request.end = NORIKV_SLICE("none");
	assert_int_equal(read_all(scene, &request, 0).rows, 0);
}

static void
test_scan_breaks(void **state)
{
	fake_scene *scene = *state;
	norikv_scan_request request = all_keys;
	scanned		result;

	fake_start(scene, 0, "--ext", "1", "--chunk", "77", "--break-stream", "4", NULL);
	fake_open(scene, 0, 1);
	commit_keys(scene, 1000);
	result = read_all(scene, &request, 0);
	assert_int_equal(result.code, NORIKV_OK);
	assert_int_equal(result.rows, 1000);
	assert_int_equal(result.moved, 4);
	fake_stop(scene, 0);

	/* as many rows as asked for have come when it breaks: that is all of it */
	fake_start(scene, 0, "--ext", "1", "--chunk", "77", "--break-stream", "2", NULL);
	fake_open(scene, 0, 1);
	commit_keys(scene, 1000);
	request.max_rows = 77;
	result = read_all(scene, &request, 0);
	assert_int_equal(result.code, NORIKV_OK);
	assert_int_equal(result.rows, 77);
	request.max_rows = 0;
	request.one_snapshot = true;
	result = read_all(scene, &request, 0);
	assert_int_equal(result.code, NORIKV_ABORTED);
}

static void
test_slow_reader(void **state)
{
	fake_scene *scene = *state;
	scanned		result;

	/* the timeouts are for the server, not for the reader */
	fake_start(scene, 0, "--ext", "1", "--chunk", "77", NULL);
	scene->options.attempt_timeout_ms = 40;
	scene->options.timeout_ms = 100;
	fake_open(scene, 0, 1);
	commit_keys(scene, 500);
	result = read_all(scene, &all_keys, 150000);
	assert_int_equal(result.code, NORIKV_OK);
	assert_int_equal(result.rows, 500);
	assert_int_equal(result.moved, 0);
}

/* While others are waited for, a scan that nobody reads must not run on. */
static void
test_scan_beside_others(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;
	size_t		rows = 0;
	size_t		n;

	fake_start(scene, 0, "--ext", "1", "--chunk", "77", NULL);
	fake_open(scene, 0, 1);
	commit_keys(scene, 1000);
	call = norikv_scan(scene->client, &all_keys, NULL);
	do
	{
		const norikv_entry *entries;

		fake_wait_ok(scene, call);
		entries = norikv_call_entries(call, &n);
		for (int i = 0; i < 10; i++)
			fake_put_now(scene, "other", "v");
		for (size_t i = 0; i < n; i++)
			assert_memory_equal(entries[i].key.data, keys[rows + i].data, 10);
		rows += n;
	} while (norikv_call_next(call));
	assert_int_equal(rows, 1000);
	norikv_call_free(call);
}

static void
test_scan_given_up(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, "--ext", "1", "--chunk", "77", NULL);
	fake_open(scene, 0, 1);
	commit_keys(scene, N);
	for (int pages = 0; pages < 4; pages++)
	{
		norikv_call *call = norikv_scan(scene->client, &all_keys, NULL);

		for (int i = 0; i < pages; i++)
		{
			fake_wait_ok(scene, call);
			assert_true(norikv_call_next(call));
		}
		norikv_call_free(call);
	}
	/* one is left for the client to free, paused */
	fake_wait_ok(scene, norikv_scan(scene->client, &all_keys, NULL));
}

static void
test_scan_without(void **state)
{
	fake_scene *scene = *state;

	make_keys();
	fake_start(scene, 0, NULL);
	fake_open(scene, 0, 1);
	assert_int_equal(read_all(scene, &all_keys, 0).code, NORIKV_UNIMPLEMENTED);
	fake_stop(scene, 0);
	fake_start(scene, 0, "--ext", "1", "--garbage", "1", NULL);
	fake_put_now(scene, "key:000000", "v");
}

static void
test_scan_garbage(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, "--ext", "1", NULL);
	fake_open(scene, 0, 1);
	commit_keys(scene, 100);
	fake_stop(scene, 0);
	fake_start(scene, 0, "--ext", "1", "--garbage", "2", NULL);
	fake_open(scene, 0, 1);
	make_keys();
	norikv_call_free(fake_wait(scene, norikv_commit(scene->client, operations, 5, false,
													 NULL)));
	assert_int_equal(read_all(scene, &all_keys, 0).code, NORIKV_INTERNAL);
	assert_int_equal(read_all(scene, &all_keys, 0).rows, 5);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_multi_get),
		TEST(test_multi_get_breaks),
		TEST(test_multi_get_without),
		TEST(test_multi_get_finds_out),
		TEST(test_one_fails),
		TEST(test_multi_get_given_up),
		TEST(test_big_commit),
		TEST(test_commit_is_lost),
		TEST(test_commit_garbage),
		TEST(test_commit_without),
		TEST(test_commit_without_each),
		TEST(test_commit_without_lost),
		TEST(test_scan),
		TEST(test_scan_breaks),
		TEST(test_slow_reader),
		TEST(test_scan_beside_others),
		TEST(test_scan_given_up),
		TEST(test_scan_without),
		TEST(test_scan_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
