/*
 * test_server_kv.c - norikv.v1 on the wire: what Put, Get and Delete answer, and
 * what they refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>

#include <cmocka.h>

#include "support/shared_norikvd.h"

#define HUNDRED_YEARS_MS (UINT64_C(36525) * 24 * 3600 * 1000)

static void
assert_refused(kv_reply reply, grpc_status_code code, const char *text)
{
	assert_int_equal(reply.code, code);
	if (strstr(reply.text, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", reply.text, text);
	assert_int_equal(reply.version.index, 0);
	free(reply.value);
}

static void
assert_value(kv_key key, const void *value, size_t size, kv_version version)
{
	kv_reply	reply = kv_call_get(client, key, NULL);

	assert_int_equal(reply.code, GRPC_STATUS_OK);
	assert_int_equal(reply.size, size);
	if (size > 0)
		assert_memory_equal(reply.value, value, size);
	assert_int_equal(reply.version.term, version.term);
	assert_int_equal(reply.version.index, version.index);
	free(reply.value);
}

static void
assert_absent(kv_key key)
{
	assert_value(key, "", 0, (kv_version) {0, 0});
}

static void
test_put_answers_the_version_that_get_returns(void **state)
{
	kv_key		key = KV_KEY("put-get");
	kv_reply	first = kv_call_put(client, key, "one", 3, NULL);
	kv_reply	second;

	(void) state;
	assert_int_equal(first.code, GRPC_STATUS_OK);
	assert_true(first.version.index > 0);
	assert_value(key, "one", 3, first.version);
	second = kv_call_put(client, key, "two", 3, NULL);
	assert_true(second.version.index > first.version.index);
	assert_value(key, "two", 3, second.version);
}

static void
test_absent_is_ok_without_a_version(void **state)
{
	(void) state;
	assert_absent(KV_KEY("never written"));
}

static void
test_an_empty_value_exists(void **state)
{
	kv_key		key = KV_KEY("empty");
	kv_reply	put = kv_call_put(client, key, "", 0, NULL);

	(void) state;
	assert_true(put.version.index > 0);
	assert_value(key, "", 0, put.version);
}

static void
test_keys_and_values_are_bytes(void **state)
{
	char		key[] = "\0\xff\n\xc3\x28";
	char		value[] = "\0\x80 \0";
	kv_reply	put = kv_call_put(client, KV_KEY(key), value, sizeof(value), NULL);

	(void) state;
	assert_value(KV_KEY(key), value, sizeof(value), put.version);
	/* A key that is the same up to the zero byte is another. */
	assert_absent(KV_KEY("\0"));
}

static void
test_key_sizes(void **state)
{
	static char longest[1025];
	kv_reply	put;

	(void) state;
	memset(longest, 'k', sizeof(longest));
	put = kv_call_put(client, (kv_key) {longest, 1024}, "v", 1, NULL);
	assert_value((kv_key) {longest, 1024}, "v", 1, put.version);
	assert_refused(kv_call_put(client, (kv_key) {longest, 1025}, "v", 1, NULL),
				   GRPC_STATUS_INVALID_ARGUMENT,
				   "key has 1025 bytes; a key has 1 to 1024");
	assert_refused(kv_call_put(client, (kv_key) {"", 0}, "v", 1, NULL),
				   GRPC_STATUS_INVALID_ARGUMENT, "key has 0 bytes");
	assert_refused(kv_call_get(client, (kv_key) {"", 0}, NULL),
				   GRPC_STATUS_INVALID_ARGUMENT, "key has 0 bytes");
	assert_refused(kv_call_delete(client, (kv_key) {longest, 1025}, NULL, NULL),
				   GRPC_STATUS_INVALID_ARGUMENT, "key has 1025 bytes");
}

static void
test_value_sizes(void **state)
{
	size_t		largest = 1024 * 1024;
	char	   *value = malloc(largest + 1);
	kv_key		key = KV_KEY("large");
	kv_reply	put;

	(void) state;
	memset(value, 'v', largest + 1);
	put = kv_call_put(client, key, value, largest, NULL);
	assert_int_equal(put.code, GRPC_STATUS_OK);
	assert_refused(kv_call_put(client, key, value, largest + 1, NULL),
				   GRPC_STATUS_INVALID_ARGUMENT,
				   "value has 1048577 bytes; a value has at most 1048576");
	assert_value(key, value, largest, put.version);
	free(value);
}

static void
test_a_message_that_is_too_large_is_refused(void **state)
{
	size_t		size = 3 * 1024 * 1024;
	char	   *value = calloc(1, size);
	kv_reply	reply = kv_call_put(client, KV_KEY("huge"), value, size, NULL);

	(void) state;
	assert_int_equal(reply.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
	assert_absent(KV_KEY("huge"));
	free(value);
}

static void
test_ttl_limit(void **state)
{
	kv_put_options options = {.ttl_ms = HUNDRED_YEARS_MS};
	kv_key		key = KV_KEY("ttl");

	(void) state;
	assert_int_equal(kv_call_put(client, key, "v", 1, &options).code, GRPC_STATUS_OK);
	options.ttl_ms++;
	assert_refused(kv_call_put(client, key, "w", 1, &options),
				   GRPC_STATUS_INVALID_ARGUMENT, "ttl_ms is 3155760000001");
	options.ttl_ms = UINT64_MAX;
	assert_refused(kv_call_put(client, key, "w", 1, &options),
				   GRPC_STATUS_INVALID_ARGUMENT, "ttl_ms is 18446744073709551615");
}

static void
test_consistency_names(void **state)
{
	static const char *const known[] = {
		"", "strong", "eventual", "bounded_staleness", "linearizable", "lease",
		"stale_read", "stale_ok"
	};
	kv_key		key = KV_KEY("consistency");

	(void) state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
	{
		kv_reply	reply = kv_call_get(client, key, known[i]);

		if (reply.code != GRPC_STATUS_OK)
			fail_msg("%s: %s", known[i], reply.text);
		free(reply.value);
	}
	assert_refused(kv_call_get(client, key, "Strong"), GRPC_STATUS_INVALID_ARGUMENT,
				   "consistency is \"Strong\"");
}

static void
test_put_if_match(void **state)
{
	kv_key		key = KV_KEY("cas");
	kv_version	none = {0, 0};
	kv_put_options create = {.if_match = &none};
	kv_reply	first = kv_call_put(client, key, "1", 1, &create);
	kv_put_options replace = {.if_match = &first.version};
	kv_reply	second = kv_call_put(client, key, "2", 1, &replace);

	(void) state;
	assert_int_equal(first.code, GRPC_STATUS_OK);
	assert_int_equal(second.code, GRPC_STATUS_OK);
	assert_refused(kv_call_put(client, key, "3", 1, &replace),
				   GRPC_STATUS_FAILED_PRECONDITION, "Version mismatch: ");
	assert_refused(kv_call_put(client, key, "3", 1, &create),
				   GRPC_STATUS_FAILED_PRECONDITION, "Version mismatch: ");
	assert_refused(kv_call_put(client, KV_KEY("cas-absent"), "3", 1, &replace),
				   GRPC_STATUS_FAILED_PRECONDITION, "present absent");
	assert_value(key, "2", 1, second.version);
}

static void
test_if_match_that_is_no_version(void **state)
{
	kv_version	half = {3, 0};
	kv_version	none = {0, 0};
	kv_put_options options = {.if_match = &half};
	kv_key		key = KV_KEY("half");

	(void) state;
	assert_refused(kv_call_put(client, key, "v", 1, &options),
				   GRPC_STATUS_INVALID_ARGUMENT, "if_match is 3/0");
	assert_refused(kv_call_delete(client, key, NULL, &none), GRPC_STATUS_INVALID_ARGUMENT,
				   "if_match is 0/0");
}

static void
test_delete(void **state)
{
	kv_key		key = KV_KEY("delete");
	kv_reply	put = kv_call_put(client, key, "v", 1, NULL);
	kv_version	other = {put.version.term, put.version.index + 100};
	kv_reply	deleted;

	(void) state;
	assert_refused(kv_call_delete(client, key, NULL, &other),
				   GRPC_STATUS_FAILED_PRECONDITION, "Version mismatch: ");
	deleted = kv_call_delete(client, key, NULL, &put.version);
	assert_true(deleted.tombstoned);
	assert_true(deleted.version.index > put.version.index);
	assert_absent(key);
	deleted = kv_call_delete(client, key, NULL, NULL);
	assert_int_equal(deleted.code, GRPC_STATUS_OK);
	assert_false(deleted.tombstoned);
	assert_int_equal(deleted.version.index, 0);
	assert_refused(kv_call_delete(client, key, NULL, &put.version),
				   GRPC_STATUS_FAILED_PRECONDITION, "present absent");
}

static void
test_idempotency_keys_are_scoped_by_credential(void **state)
{
	kv_key		key = KV_KEY("idempotent");
	kv_put_options mine = {.idempotency_key = "once",.authorization = "Bearer a"};
	kv_put_options yours = {.idempotency_key = "once",.authorization = "Bearer b"};
	kv_reply	first = kv_call_put(client, key, "1", 1, &mine);
	kv_reply	other;

	(void) state;
	assert_int_equal(first.code, GRPC_STATUS_OK);
	assert_int_equal(kv_call_put(client, key, "1", 1, &mine).version.index,
					 first.version.index);
	assert_int_equal(kv_call_put(client, key, "2", 1, &mine).code,
					 GRPC_STATUS_INVALID_ARGUMENT);
	other = kv_call_put(client, key, "2", 1, &yours);
	assert_int_equal(other.code, GRPC_STATUS_OK);
	assert_value(key, "2", 1, other.version);
}

static void
test_idempotency_key_sizes(void **state)
{
	char		long_key[514];
	kv_put_options options = {.idempotency_key = long_key};

	(void) state;
	memset(long_key, 'i', sizeof(long_key));
	long_key[513] = '\0';
	assert_refused(kv_call_put(client, KV_KEY("k"), "v", 1, &options),
				   GRPC_STATUS_INVALID_ARGUMENT, "idempotency_key has 513 bytes");
	long_key[512] = '\0';
	assert_int_equal(kv_call_put(client, KV_KEY("k"), "v", 1, &options).code,
					 GRPC_STATUS_OK);
}

/* Protobuf strings may hold zero bytes, C strings may not. */
static void
test_idempotency_key_with_a_zero_byte(void **state)
{
	static const char request[] = "\x0a\x01k\x12\x01v\x22\x03" "a\0b";
	wire_stream *stream = wire_start(client, WIRE_METHOD_PUT, 5000, NULL);

	(void) state;
	wire_send_bytes(stream, request, sizeof(request) - 1);
	wire_half_close(stream);
	assert_int_equal(wire_status(stream), GRPC_STATUS_INVALID_ARGUMENT);
	assert_non_null(strstr(wire_status_text(stream), "idempotency_key"));
	wire_free(stream);
}

static void
test_get_answers_not_found_where_told_to(void **state)
{
	static const char *const more[] = {"--absent", "not-found", NULL};
	char		other_directory[256];
	char		target[300];
	norikvd		other;
	wire_client *other_client;
	kv_reply	reply;

	(void) state;
	work_dir_make(other_directory, sizeof(other_directory));
	assert_true(norikvd_start_memory(&other, other_directory, more));
	snprintf(target, sizeof(target), "unix:%s/socket", other_directory);
	other_client = wire_client_open(target);
	assert_int_equal(kv_call_get(other_client, KV_KEY("k"), NULL).code,
					 GRPC_STATUS_NOT_FOUND);
	kv_call_put(other_client, KV_KEY("k"), "", 0, NULL);
	reply = kv_call_get(other_client, KV_KEY("k"), NULL);
	assert_int_equal(reply.code, GRPC_STATUS_OK);
	free(reply.value);
	wire_client_close(other_client);
	assert_int_equal(norikvd_stop(&other, SIGTERM), 0);
	work_dir_remove(other_directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_answers_the_version_that_get_returns),
		cmocka_unit_test(test_absent_is_ok_without_a_version),
		cmocka_unit_test(test_an_empty_value_exists),
		cmocka_unit_test(test_keys_and_values_are_bytes),
		cmocka_unit_test(test_key_sizes),
		cmocka_unit_test(test_value_sizes),
		cmocka_unit_test(test_a_message_that_is_too_large_is_refused),
		cmocka_unit_test(test_ttl_limit),
		cmocka_unit_test(test_consistency_names),
		cmocka_unit_test(test_put_if_match),
		cmocka_unit_test(test_if_match_that_is_no_version),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_idempotency_keys_are_scoped_by_credential),
		cmocka_unit_test(test_idempotency_key_sizes),
		cmocka_unit_test(test_idempotency_key_with_a_zero_byte),
		cmocka_unit_test(test_get_answers_not_found_where_told_to),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
