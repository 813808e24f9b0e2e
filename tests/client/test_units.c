/*
 * test_units.c - the parts of libnorikv that need no server: hashes, addresses,
 * options, verdicts on statuses, slots, backoff, timers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "internal.h"
#include "hash_vectors.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Hashes ---- */

static void
test_key_hashes(void **state)
{
	(void) state;
	for (size_t i = 0; i < COUNT(key_vectors); i++)
	{
		norikv_slice key = {key_vectors[i].key, key_vectors[i].size};

		assert_int_equal(nk_key_hash(key), key_vectors[i].hash);
		assert_int_equal(norikv_shard_of(key, 1024), key_vectors[i].shard_1024);
		assert_int_equal(norikv_shard_of(key, 256), key_vectors[i].shard_256);
	}
}

static void
test_jump_hashes(void **state)
{
	(void) state;
	for (size_t i = 0; i < COUNT(jump_vectors); i++)
	{
		assert_int_equal(nk_jump_hash(jump_vectors[i].hash, 100),
						 jump_vectors[i].bucket_100);
		assert_int_equal(nk_jump_hash(jump_vectors[i].hash, 1024),
						 jump_vectors[i].bucket_1024);
	}
	assert_int_equal(nk_jump_hash(12345, 0), 0);
	assert_int_equal(nk_jump_hash(12345, 1), 0);
}

static void
test_prefix_end(void **state)
{
	char		end[8];

	(void) state;
	assert_int_equal(norikv_prefix_end(NORIKV_SLICE("abc"), end), 3);
	assert_memory_equal(end, "abd", 3);
	assert_int_equal(norikv_prefix_end((norikv_slice) {"ab\xff\xff", 4}, end), 2);
	assert_memory_equal(end, "ac", 2);
	assert_int_equal(norikv_prefix_end((norikv_slice) {"a\0", 2}, end), 2);
	assert_memory_equal(end, "a\1", 2);
	assert_int_equal(norikv_prefix_end((norikv_slice) {"\xff\xff", 2}, end), 0);
	assert_int_equal(norikv_prefix_end((norikv_slice) {NULL, 0}, end), 0);
	/* in place */
	memcpy(end, "\xfe\xff", 2);
	assert_int_equal(norikv_prefix_end((norikv_slice) {end, 2}, end), 1);
	assert_memory_equal(end, "\xff", 1);
}

/* ---- Addresses and options ---- */

static void
test_addresses(void **state)
{
	static const struct
	{
		const char *nodes;
		const char *targets[3];
	}			good[] = {
		{"db1:7447", {"dns:db1:7447"}},
		{"db1", {"dns:db1:7447"}},
		{"10.0.0.1:1", {"ipv4:10.0.0.1:1"}},
		{"[::1]:65535", {"ipv6:[::1]:65535"}},
		{"[::1]", {"ipv6:[::1]:7447"}},
		{"unix:/run/a b%c?.sock", {"unix:/run/a%20b%25c%3F.sock"}},
		{"unix:relative", {"unix:relative"}},
		{" a:1 , b:2,unix:/c ", {"dns:a:1", "dns:b:2", "unix:/c"}},
	};
	nk_address	addresses[3];
	norikv_error error;

	(void) state;
	for (size_t i = 0; i < COUNT(good); i++)
	{
		int			count = nk_addresses_parse(good[i].nodes, addresses, 3, &error);

		assert_true(count >= 1);
		for (int j = 0; j < count; j++)
			assert_string_equal(addresses[j].target, good[i].targets[j]);
		assert_true(count == 3 || good[i].targets[count] == NULL);
		assert_int_equal(addresses[count - 1].local,
						 strncmp(addresses[count - 1].target, "unix", 4) == 0);
	}
}

static void
test_bad_addresses(void **state)
{
	static const char *const bad[] = {
		"",			  " ",			 ",",		 "a:1,",
		",a:1",		  "a:1,,b:2",	 "a:",		 "a:0",
		"a:65536",	  "a:1x",		 "a:-1",	 "a:99999999999999999999",
		"::1",		  "::1:7447",	 "[::1",	 "[]:1",
		"[::1]x",	  "[1.2.3.4]:1", "[::1]:",	 "unix:",
		"unix",		  "a b:1",		 "a/b:1",	 "dns:///a:1",
		"http://a:1", "a:1,a:1",	 "a,a:7447", "a:1;b:2",
		"\xff:1",
	};
	char		path[300];
	char	   *many = calloc(NK_MAX_NODES + 1, 8);
	norikv_error error;

	(void) state;
	for (size_t i = 0; i < COUNT(bad); i++)
	{
		if (strcmp(bad[i], "unix") == 0)
			continue;			/* a host of that name */
		assert_false(norikv_nodes_valid(bad[i], &error));
		assert_int_equal(error.code, NORIKV_INVALID_ARGUMENT);
		assert_memory_equal(error.text, "nodes: ", 7);
	}
	assert_false(norikv_nodes_valid(NULL, NULL));

	memset(path, 'p', sizeof(path));
	memcpy(path, "unix:/", 6);
	path[5 + 107] = '\0';
	assert_true(norikv_nodes_valid(path, &error));
	path[5 + 107] = 'p';
	path[5 + 108] = '\0';
	assert_false(norikv_nodes_valid(path, &error));
	assert_non_null(strstr(error.text, "107"));
	path[5 + 108] = 'p';
	path[299] = '\0';
	assert_false(norikv_nodes_valid(path, &error));
	/* a name of 300 bytes must be refused too, not cut */
	assert_false(norikv_nodes_valid(path + 6, &error));

	for (int i = 0; i <= NK_MAX_NODES; i++)
		sprintf(many + strlen(many), "%sh%d", i > 0 ? "," : "", i);
	assert_false(norikv_nodes_valid(many, &error));
	*strrchr(many, ',') = '\0';
	assert_true(norikv_nodes_valid(many, &error));
	free(many);
}

static void
expect_refused(const norikv_options *options, const char *name)
{
	norikv_error error;

	assert_null(norikv_client_new(options, &error));
	assert_int_equal(error.code, NORIKV_INVALID_ARGUMENT);
	assert_non_null(strstr(error.text, name));
}

static void
test_options(void **state)
{
	norikv_options good;
	norikv_options bad;
	norikv_error error;
	norikv_client *client;

	(void) state;
	norikv_options_init(&good);
	expect_refused(&good, "nodes");
	good.nodes = "unix:/nowhere";
	client = norikv_client_new(&good, &error);
	assert_non_null(client);
	assert_int_equal(error.code, NORIKV_OK);
	norikv_client_free(client);
	norikv_client_free(NULL);

#define REFUSED(member, value) \
	(bad = good, bad.member = (value), expect_refused(&bad, #member))
	REFUSED(timeout_ms, 0);
	REFUSED(timeout_ms, UINT32_MAX);
	REFUSED(attempt_timeout_ms, 0);
	REFUSED(connect_timeout_ms, 0);
	REFUSED(max_retries, UINT32_MAX);
	REFUSED(max_in_flight, 0);
	REFUSED(wait_slice_ms, 0);
	REFUSED(consistency, "linearizable");
	REFUSED(consistency, "");
	REFUSED(token, "two\r\nlines");
	REFUSED(token, "caf\xc3\xa9");
	REFUSED(nodes, "a:b");
}

/* ---- Statuses ---- */

static nk_verdict
judge(grpc_status_code status, const char *text, bool from_server)
{
	return nk_judge(status, text, strlen(text), from_server);
}

static void
test_verdicts(void **state)
{
	(void) state;
	/* not executed, try elsewhere */
	assert_int_equal(judge(GRPC_STATUS_UNAVAILABLE, "NOT_LEADER", false),
					 NK_VERDICT_REFUSED);
	assert_int_equal(judge(GRPC_STATUS_UNAVAILABLE, "this server is shutting down",
						   false), NK_VERDICT_REFUSED);
	assert_int_equal(judge(GRPC_STATUS_UNAVAILABLE,
						   "the store is being closed; nothing was done", false),
					 NK_VERDICT_REFUSED);
	/* a server that does not know either */
	assert_int_equal(judge(GRPC_STATUS_UNAVAILABLE, "outcome unknown: the write failed",
						   true), NK_VERDICT_LOST);
	assert_int_equal(judge(GRPC_STATUS_RESOURCE_EXHAUSTED, "outcome unknown: disk full",
						   true), NK_VERDICT_LOST);
	assert_int_equal(judge(GRPC_STATUS_UNAVAILABLE,
						   "failed to connect to all addresses; last error: x", false),
					 NK_VERDICT_REFUSED);
	/* gRPC's own words for a connection that broke, and statuses that hide a commit */
	assert_int_equal(judge(GRPC_STATUS_UNAVAILABLE, "Socket closed", false),
					 NK_VERDICT_LOST);
	assert_int_equal(judge(GRPC_STATUS_UNAVAILABLE, "", false), NK_VERDICT_LOST);
	assert_int_equal(judge(GRPC_STATUS_CANCELLED, "Timeout expired", true),
					 NK_VERDICT_LOST);
	assert_int_equal(judge(GRPC_STATUS_INTERNAL, "CommitTimeout", true), NK_VERDICT_LOST);
	assert_int_equal(judge(GRPC_STATUS_DEADLINE_EXCEEDED, "", true), NK_VERDICT_LOST);
	assert_int_equal(judge(GRPC_STATUS_INTERNAL, "Received RST_STREAM with error code 2",
						   false), NK_VERDICT_LOST);
	assert_int_equal(judge(GRPC_STATUS_UNKNOWN, "Stream removed", false),
					 NK_VERDICT_LOST);
	/* answers */
	assert_int_equal(judge(GRPC_STATUS_INTERNAL, "corrupt block", false),
					 NK_VERDICT_DONE);
	assert_int_equal(judge(GRPC_STATUS_RESOURCE_EXHAUSTED, "disk full", false),
					 NK_VERDICT_DONE);
	assert_int_equal(judge(GRPC_STATUS_FAILED_PRECONDITION, "", false), NK_VERDICT_DONE);
	assert_int_equal(judge(GRPC_STATUS_UNIMPLEMENTED, "", false), NK_VERDICT_DONE);
	assert_int_equal(judge(GRPC_STATUS_ABORTED, "", false), NK_VERDICT_DONE);
}

static norikv_error
parse(const char *text)
{
	norikv_error error;

	nk_error_clear(&error);
	nk_error_parse_mismatch(&error, text, strlen(text));
	return error;
}

static void
test_mismatches(void **state)
{
	norikv_error error;

	(void) state;
	error = parse("Version mismatch: expected 1/2, present 3/18446744073709551615");
	assert_true(error.version_mismatch);
	assert_int_equal(error.expected.term, 1);
	assert_int_equal(error.expected.index, 2);
	assert_int_equal(error.present.term, 3);
	assert_int_equal(error.present.index, UINT64_MAX);
	error = parse("Version mismatch: expected 1/2, present absent");
	assert_true(error.version_mismatch);
	assert_int_equal(error.expected.index, 2);
	assert_int_equal(error.present.index, 0);
	error = parse("Version mismatch: expected absent, present 0/7");
	assert_int_equal(error.expected.index, 0);
	assert_int_equal(error.present.index, 7);
	assert_true(parse("CAS failed: key does not exist").version_mismatch);
	assert_true(parse("Version mismatch").version_mismatch);
	error = parse("Version mismatch: expected 1/, present /");
	assert_true(error.version_mismatch);
	assert_int_equal(error.present.index, 0);
	assert_false(parse("").version_mismatch);
	assert_false(parse("index does not exist").version_mismatch);
}

static void
test_shown_keys(void **state)
{
	char		out[32];

	(void) state;
	assert_string_equal(nk_show_key(out, sizeof(out), NORIKV_SLICE("user:1")),
						"\"user:1\"");
	assert_string_equal(nk_show_key(out, sizeof(out), (norikv_slice) {"\0\"\xff", 3}),
						"\"\\x00\\x22\\xff\"");
	nk_show_key(out, sizeof(out),
				NORIKV_SLICE("a very long key that does not fit at all"));
	assert_true(strlen(out) < sizeof(out));
	assert_string_equal(out + strlen(out) - 4, "\"...");
}

/* ---- Slots ---- */

static void
test_slots(void **state)
{
	nk_slots	slots;
	char		keys[3][NK_SLOT_KEY_SIZE];
	char		expected[NK_SLOT_KEY_SIZE];
	uint32_t	first;
	uint32_t	second;

	(void) state;
	assert_true(nk_slots_init(&slots));
	assert_int_equal(strlen(slots.uuid), 36);
	first = nk_slot_take(&slots, keys[0]);
	second = nk_slot_take(&slots, keys[1]);
	assert_int_not_equal(first, second);
	snprintf(expected, sizeof(expected), "~nk1/%s/0/1", slots.uuid);
	assert_string_equal(keys[0], expected);
	snprintf(expected, sizeof(expected), "~nk1/%s/1/1", slots.uuid);
	assert_string_equal(keys[1], expected);
	/* the slot used last is used next, with the next number */
	nk_slot_give_back(&slots, first);
	assert_int_equal(nk_slot_take(&slots, keys[2]), first);
	snprintf(expected, sizeof(expected), "~nk1/%s/0/2", slots.uuid);
	assert_string_equal(keys[2], expected);
	nk_slot_give_back(&slots, NK_NO_SLOT);
	nk_slots_free(&slots);
}

static void
test_slots_are_exclusive(void **state)
{
	nk_slots	slots;
	char		key[NK_SLOT_KEY_SIZE];
	bool		taken[5000] = {false};

	(void) state;
	assert_true(nk_slots_init(&slots));
	for (int i = 0; i < 5000; i++)
	{
		uint32_t	slot = nk_slot_take(&slots, key);

		assert_true(slot < 5000);
		assert_false(taken[slot]);
		taken[slot] = true;
	}
	slots.sequence[4999] = UINT64_MAX - 1;
	nk_slot_give_back(&slots, 4999);
	/* the longest key there can be fits */
	slots.n_slots = UINT32_MAX - 1;
	assert_int_equal(nk_slot_take(&slots, key), 4999);
	assert_non_null(strstr(key, "/4999/18446744073709551615"));
	nk_slots_free(&slots);
}

/* ---- Time ---- */

static void
test_backoff(void **state)
{
	(void) state;
	for (uint32_t n = 0; n < 200; n++)
	{
		nk_time		shortest = nk_backoff(n, 0);
		nk_time		longest = shortest;

		for (uint64_t random = 0; random < 2000000; random += 997)
		{
			nk_time		pause = nk_backoff(n, random);

			assert_true(pause >= 10000 && pause <= 1000000);
			longest = pause > longest ? pause : longest;
		}
		/* jitter is there, and it grows until it is a second */
		assert_true(longest > shortest + shortest / 2);
		if (n >= 6)
			assert_true(longest > 990000);
	}
	assert_true(nk_backoff(0, 0) == 10000);
	assert_true(nk_backoff(1, 0) == 20000);
	assert_true(nk_backoff(0, UINT64_MAX) <= 20000);
}

static void
test_timers(void **state)
{
	nk_timers	timers = {0};
	nk_timer	array[500] = {0};
	nk_time		last = 0;
	uint32_t	seed = 42;
	size_t		left = 0;

	(void) state;
	for (int round = 0; round < 5000; round++)
	{
		nk_timer   *timer;

		seed = seed * 1103515245 + 12345;
		timer = &array[(seed >> 8) % COUNT(array)];
		if (seed % 3 == 0)
			nk_timer_clear(&timers, timer);
		else
			assert_true(nk_timer_set(&timers, timer, seed >> 16));
	}
	for (size_t i = 0; i < COUNT(array); i++)
		left += array[i].position != 0;
	assert_int_equal(left, timers.count);
	while (nk_timers_first(&timers) != NULL)
	{
		nk_timer   *first = nk_timers_first(&timers);

		assert_true(first->due >= last);
		last = first->due;
		nk_timer_clear(&timers, first);
		assert_int_equal(first->position, 0);
		left--;
	}
	assert_int_equal(left, 0);
	nk_timers_free(&timers);
}

/* ---- What is refused before it is sent ---- */

static void
expect_invalid(norikv_call *call, int64_t operation, const char *words)
{
	assert_true(norikv_call_done(call));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_INVALID_ARGUMENT);
	assert_true(norikv_call_error(call)->never_sent);
	assert_false(norikv_call_error(call)->outcome_unknown);
	assert_int_equal(norikv_call_error(call)->operation, operation);
	assert_non_null(strstr(norikv_call_error(call)->text, words));
	norikv_call_free(call);
}

static void
test_arguments(void **state)
{
	static char big[NORIKV_MAX_VALUE + 1];
	norikv_slice empty = {NULL, 0};
	norikv_slice long_key = {big, NORIKV_MAX_KEY + 1};
	norikv_slice keys[] = {NORIKV_SLICE("a"), empty};
	norikv_operation put = {.kind = NORIKV_OP_PUT, .key = NORIKV_SLICE("k")};
	norikv_operation both[2];
	norikv_call_options call_options = {.consistency = "lease"};
	norikv_options options;
	norikv_operation bad;
	norikv_client *client;

	(void) state;
	norikv_options_init(&options);
	options.nodes = "unix:/nowhere";
	client = norikv_client_new(&options, NULL);
	expect_invalid(norikv_get(client, empty, NULL), -1, "0 bytes");
	expect_invalid(norikv_get(client, long_key, NULL), -1, "1025");
	expect_invalid(norikv_multi_get(client, keys, 2, NULL), 1, "0 bytes");
	expect_invalid(norikv_get(client, NORIKV_SLICE("k"), &call_options), -1, "lease");
	expect_invalid(
		norikv_scan(client, &(norikv_scan_request){.start = {big, 1026}}, NULL), -1,
		"1026");

#define INVALID(change, words) \
	(bad = put, change, expect_invalid(norikv_write(client, &bad, NULL), -1, words), \
	 both[0] = put, both[1] = bad, \
	 expect_invalid(norikv_commit(client, both, 2, true, NULL), 1, words))
	INVALID(bad.key = empty, "0 bytes");
	INVALID(bad.key = long_key, "1025");
	INVALID((bad.value = (norikv_slice) {big, sizeof(big)}), "1048577");
	INVALID(bad.ttl = NORIKV_TTL_SET, "ttl of 0 ms");
	INVALID((bad.ttl = NORIKV_TTL_SET, bad.ttl_ms = UINT64_MAX), "100 years");
	INVALID(bad.condition = NORIKV_IF_VERSION, "no version");
	INVALID((bad.kind = NORIKV_OP_DELETE, bad.condition = NORIKV_IF_ABSENT), "absent");
	INVALID(bad.kind = 17, "");
	bad = put;
	bad.kind = NORIKV_OP_ADD;
	expect_invalid(norikv_write(client, &bad, NULL), -1, "norikv_commit");
	bad = put;
	bad.ttl = NORIKV_TTL_KEEP;
	expect_invalid(norikv_write(client, &bad, NULL), -1, "norikv_commit");
	both[1].kind = NORIKV_OP_CHECK;
	both[1].condition = NORIKV_IF_ANY;
	expect_invalid(norikv_commit(client, both, 2, false, NULL), 1, "check");
	call_options = (norikv_call_options) {.idempotency_key = {"a\0b", 3}};
	expect_invalid(norikv_write(client, &put, &call_options), -1, "zero byte");
	call_options.idempotency_key = (norikv_slice) {big, 513};
	expect_invalid(norikv_write(client, &put, &call_options), -1, "513");
	norikv_client_free(client);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_hashes),
		cmocka_unit_test(test_jump_hashes),
		cmocka_unit_test(test_prefix_end),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_mismatches),
		cmocka_unit_test(test_shown_keys),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_slots_are_exclusive),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
