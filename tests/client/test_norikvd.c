/*
 * test_norikvd.c - libnorikv and norikvd together: what each call means, end to end.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fake.h"

static norikv_operation
operation(norikv_operation_kind kind, const char *key)
{
	return (norikv_operation) {.kind = kind, .key = NORIKV_SLICE(key)};
}

static norikv_call *
commit(fake_scene *scene, const norikv_operation *operations, size_t n, bool atomic)
{
	return fake_wait(scene, norikv_commit(scene->client, operations, n, atomic, NULL));
}

static const norikv_operation_result *
results_of(norikv_call *call, size_t expected)
{
	const norikv_operation_result *results;
	size_t		n;

	results = norikv_call_results(call, &n);
	assert_int_equal(n, expected);
	return results;
}

static void
test_conditions(void **state)
{
	fake_scene *scene = *state;
	norikv_operation put = fake_put("k", "v");
	norikv_version version;
	norikv_call *call;

	put.condition = NORIKV_IF_ABSENT;
	call = fake_wait_ok(scene, norikv_write(scene->client, &put, NULL));
	version = results_of(call, 1)->version;
	norikv_call_free(call);
	call = fake_wait(scene, norikv_write(scene->client, &put, NULL));
	assert_true(norikv_call_error(call)->version_mismatch);
	assert_int_equal(norikv_call_error(call)->expected.index, 0);
	assert_int_equal(norikv_call_error(call)->present.index, version.index);
	assert_int_equal(norikv_call_error(call)->present.term, version.term);
	assert_int_equal(results_of(call, 1)->version.index, version.index);
	assert_false(norikv_call_error(call)->outcome_unknown);
	norikv_call_free(call);

	put = operation(NORIKV_OP_DELETE, "k");
	put.condition = NORIKV_IF_VERSION;
	put.version = (norikv_version) {version.term, version.index + 1};
	call = fake_wait(scene, norikv_write(scene->client, &put, NULL));
	assert_true(norikv_call_error(call)->version_mismatch);
	assert_int_equal(norikv_call_error(call)->expected.index, version.index + 1);
	norikv_call_free(call);
	put.version = version;
	call = fake_wait_ok(scene, norikv_write(scene->client, &put, NULL));
	assert_true(results_of(call, 1)->existed);
	norikv_call_free(call);
	fake_expect(scene, "k", NULL);
}

static void
test_atomic_commit(void **state)
{
	fake_scene *scene = *state;
	norikv_operation list[4];
	const norikv_operation_result *results;
	norikv_version version = fake_put_now(scene, "a", "1");
	norikv_call *call;

	list[0] = fake_put("b", "2");
	list[1] = operation(NORIKV_OP_CHECK, "a");
	list[1].condition = NORIKV_IF_VERSION;
	list[1].version = (norikv_version) {version.term, version.index + 7};
	list[2] = operation(NORIKV_OP_ADD, "sum");
	list[2].delta = -5;
	call = commit(scene, list, 3, true);
	assert_int_equal(norikv_call_error(call)->code, NORIKV_FAILED_PRECONDITION);
	assert_true(norikv_call_error(call)->version_mismatch);
	assert_int_equal(norikv_call_error(call)->operation, 1);
	assert_int_equal(norikv_call_error(call)->present.index, version.index);
	results = results_of(call, 3);
	assert_int_equal(results[0].code, NORIKV_ABORTED);
	assert_int_equal(results[1].code, NORIKV_FAILED_PRECONDITION);
	norikv_call_free(call);
	fake_expect(scene, "b", NULL);
	fake_expect(scene, "sum", NULL);

	list[1].version = version;
	call = commit(scene, list, 3, true);
	assert_int_equal(norikv_call_error(call)->code, NORIKV_OK);
	results = results_of(call, 3);
	assert_int_equal(results[2].value, -5);
	assert_int_equal(results[0].version.index, results[2].version.index);
	norikv_call_free(call);
	fake_expect(scene, "b", "2");
	fake_expect(scene, "sum", "-5");

	/* a value that is no integer is not a version that does not match */
	list[2].key = NORIKV_SLICE("text");
	fake_put_now(scene, "text", "abc");
	call = commit(scene, &list[2], 1, true);
	assert_int_not_equal(norikv_call_error(call)->code, NORIKV_OK);
	assert_false(norikv_call_error(call)->version_mismatch);
	assert_non_null(strstr(norikv_call_error(call)->text, "text"));
	norikv_call_free(call);
}

static void
test_each_for_itself(void **state)
{
	fake_scene *scene = *state;
	norikv_operation list[3] = {
		fake_put("a", "1"), fake_put("b", "2"), fake_put("c", "3"),
	};
	const norikv_operation_result *results;
	norikv_call *call;

	fake_put_now(scene, "b", "there");
	list[1].condition = NORIKV_IF_ABSENT;
	call = commit(scene, list, 3, false);
	assert_int_equal(norikv_call_error(call)->code, NORIKV_OK);
	results = results_of(call, 3);
	assert_int_equal(results[0].code, NORIKV_OK);
	assert_int_equal(results[1].code, NORIKV_FAILED_PRECONDITION);
	assert_true(results[1].version_mismatch);
	assert_int_equal(results[2].code, NORIKV_OK);
	norikv_call_free(call);
	fake_expect(scene, "b", "there");
	fake_expect(scene, "c", "3");
}

static void
test_ttl(void **state)
{
	fake_scene *scene = *state;
	norikv_operation put = fake_put("k", "v");
	norikv_slice key = NORIKV_SLICE("k");
	uint64_t	expires_at;
	norikv_call *call;
	size_t		n;

	put.ttl = NORIKV_TTL_SET;
	put.ttl_ms = 60000;
	norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &put, NULL)));
	call = fake_wait_ok(scene, norikv_multi_get(scene->client, &key, 1, NULL));
	expires_at = norikv_call_entries(call, &n)[0].expires_at_ms;
	assert_int_not_equal(expires_at, 0);
	norikv_call_free(call);
	put = fake_put("k", "w");
	put.ttl = NORIKV_TTL_KEEP;
	call = commit(scene, &put, 1, true);
	assert_int_equal(norikv_call_error(call)->code, NORIKV_OK);
	norikv_call_free(call);
	call = fake_wait_ok(scene, norikv_multi_get(scene->client, &key, 1, NULL));
	assert_true(norikv_call_entries(call, &n)[0].expires_at_ms == expires_at);
	norikv_call_free(call);
	put.ttl = NORIKV_TTL_SET;
	put.ttl_ms = 20;
	norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &put, NULL)));
	usleep(200000);
	fake_expect(scene, "k", NULL);
}

/* Big enough for several segments, chunks and pages. */
static void
test_many_keys(void **state)
{
	enum
	{
		N = 20000
	};
	fake_scene *scene = *state;
	static char bytes[N][16];
	static norikv_slice keys[N];
	static norikv_operation list[N];
	norikv_scan_request request = {.start = {"key:", 4}, .end = {"key;", 4}};
	const norikv_entry *entries;
	norikv_call *call;
	size_t		rows = 0;
	size_t		n;

	for (int i = 0; i < N; i++)
	{
		snprintf(bytes[i], sizeof(bytes[i]), "key:%06d", i);
		keys[i] = NORIKV_SLICE(bytes[i]);
		list[i] = (norikv_operation) {
			.kind = NORIKV_OP_PUT, .key = keys[i], .value = {list, 100 + i % 50},
		};
	}
	call = commit(scene, list, N, true);
	if (norikv_call_error(call)->code != NORIKV_OK)
		fail_msg("%s", norikv_call_error(call)->text);
	norikv_call_free(call);
	call = fake_wait_ok(scene, norikv_multi_get(scene->client, keys, N, NULL));
	entries = norikv_call_entries(call, &n);
	assert_int_equal(n, N);
	for (int i = 0; i < N; i++)
		assert_int_equal(entries[i].value.size, 100 + i % 50);
	norikv_call_free(call);

	request.reverse = true;
	call = norikv_scan(scene->client, &request, NULL);
	do
	{
		fake_wait_ok(scene, call);
		entries = norikv_call_entries(call, &n);
		for (size_t i = 0; i < n; i++)
			assert_memory_equal(entries[i].key.data, keys[N - 1 - rows - i].data, 10);
		rows += n;
	} while (norikv_call_next(call));
	assert_int_equal(rows, N);
	norikv_call_free(call);

	request.count_only = true;
	call = fake_wait_ok(scene, norikv_scan(scene->client, &request, NULL));
	while (norikv_call_next(call))
		fake_wait_ok(scene, call);
	assert_int_equal(norikv_call_count(call), N);
	norikv_call_free(call);

	list[0] = (norikv_operation) {
		.kind = NORIKV_OP_DELETE_RANGE, .key = keys[10], .end_key = request.end,
	};
	call = commit(scene, list, 1, true);
	assert_int_equal(results_of(call, 1)->deleted, N - 10);
	norikv_call_free(call);
	fake_expect(scene, bytes[10], NULL);
}

static void
test_bounds(void **state)
{
	static char key[NORIKV_MAX_KEY];
	fake_scene *scene = *state;
	norikv_operation put = {.kind = NORIKV_OP_PUT, .key = {key, sizeof(key)}};
	norikv_scan_request request = {.start = {key, sizeof(key)}};
	char		after[NORIKV_MAX_KEY + 1] = {0};
	norikv_call *call;
	size_t		n;

	/* the first key after the longest one can be asked for */
	norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &put, NULL)));
	call = fake_wait_ok(scene, norikv_scan(scene->client, &request, NULL));
	norikv_call_entries(call, &n);
	assert_int_equal(n, 1);
	norikv_call_free(call);
	request.start = (norikv_slice) {after, sizeof(after)};
	call = fake_wait_ok(scene, norikv_scan(scene->client, &request, NULL));
	norikv_call_entries(call, &n);
	assert_int_equal(n, 0);
	norikv_call_free(call);
}

static void
test_server(void **state)
{
	fake_scene *scene = *state;
	const norikv_info *info;
	norikv_call *call;

	call = fake_wait_ok(scene, norikv_get_info(scene->client, NULL));
	info = norikv_call_info(call);
	assert_string_equal(info->name, "norikvd");
	assert_true(info->atomic_cas && info->create && info->conditional_delete &&
				info->scan && info->batch && info->transactions && info->add);
	assert_true(info->commit_operations > 0 && info->store_time_ms > 0);
	assert_true(info->latest.term > 0);
	norikv_call_free(call);
	norikv_call_free(fake_wait_ok(scene, norikv_health(scene->client, NULL)));
	call = fake_wait_ok(scene, norikv_watch_cluster(scene->client, NULL));
	assert_non_null(norikv_call_view(call));
	norikv_call_free(call);
}

int
main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, fake_setup_norikvd, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_conditions), TEST(test_atomic_commit), TEST(test_each_for_itself),
		TEST(test_ttl), TEST(test_many_keys), TEST(test_bounds), TEST(test_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
