/*
 * test_server_watch.c - norikv.ext.v1's Watch, SetQuota and Usage on the wire.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "support/shared_norikvd.h"

static wire_stream *
start_watch(const char *first, const char *end)
{
	Norikv__Ext__V1__WatchRequest request = NORIKV__EXT__V1__WATCH_REQUEST__INIT;
	wire_stream *stream = wire_start(client, WIRE_METHOD_WATCH, 0, NULL);

	request.start = bytes_of(first);
	request.end = bytes_of(end);
	assert_true(wire_send(stream, &request.base));
	assert_true(wire_half_close(stream));
	return stream;
}

static const Norikv__Ext__V1__WatchChunk *
next_chunk(wire_stream *stream)
{
	return wire_receive(stream, &norikv__ext__v1__watch_chunk__descriptor);
}

static void
put(const char *key, const char *value)
{
	Norikv__Ext__V1__Operation one = put_operation(key, value);
	Norikv__Ext__V1__CommitResponse *answer;
	wire_stream *stream = commit(client, &one, 1, true, NULL, &answer);

	assert_int_equal(wire_status(stream), GRPC_STATUS_OK);
	assert_true(answer->applied);
	wire_free(stream);
}

static void
test_watch(void **state)
{
	wire_stream *stream;
	const Norikv__Ext__V1__WatchChunk *chunk;
	uint64_t	known;

	(void) state;
	stream = start_watch("w/", "w0");
	chunk = next_chunk(stream);
	assert_non_null(chunk);
	assert_int_equal(chunk->n_changes, 0);
	assert_false(chunk->reset);
	assert_int_not_equal(chunk->history, 0);
	known = chunk->known_index;
	put("v", "");
	put("w/1", "");
	chunk = next_chunk(stream);
	assert_int_equal(chunk->n_changes, 1);
	assert_int_equal(chunk->changes[0]->kind, NORIKV__EXT__V1__CHANGE__KIND__PUT);
	assert_memory_equal(chunk->changes[0]->key.data, "w/1", 3);
	assert_int_equal(chunk->changes[0]->version_index, known + 2);
	assert_int_equal(chunk->known_index, known + 2);
	wire_cancel(stream);
	assert_int_equal(wire_status(stream), GRPC_STATUS_CANCELLED);
	wire_free(stream);
}

/* One that does not read holds nobody up, and learns that it has missed something. */
static void
test_slow_watcher(void **state)
{
	enum { KEYS = 500, ROUNDS = 20 };
	Norikv__Ext__V1__Operation *puts = calloc(KEYS, sizeof(*puts));
	char		(*keys)[300] = calloc(KEYS, sizeof(*keys));
	wire_stream *stream = start_watch("", "");
	const Norikv__Ext__V1__WatchChunk *chunk;
	bool		reset = false;

	(void) state;
	for (int i = 0; i < KEYS; i++)
	{
		snprintf(keys[i], sizeof(keys[i]), "slow/%0290d", i);
		puts[i] = put_operation(keys[i], "");
	}
	for (int round = 0; round < ROUNDS; round++)
	{
		Norikv__Ext__V1__CommitResponse *answer;
		wire_stream *writing = commit(client, puts, KEYS, false, NULL, &answer);

		assert_int_equal(wire_status(writing), GRPC_STATUS_OK);
		wire_free(writing);
	}
	put("last", "");
	while (!reset && (chunk = next_chunk(stream)) != NULL)
		reset = chunk->reset;
	assert_true(reset);
	wire_free(stream);
	free(keys);
	free(puts);
}

static void
test_watches_that_are_left(void **state)
{
	wire_stream *streams[200];

	(void) state;
	for (int round = 0; round < 5; round++)
	{
		for (int i = 0; i < 200; i++)
			streams[i] = start_watch("left", "");
		put("left", "");
		for (int i = 0; i < 200; i++)
		{
			if (i % 2 == 0)
				assert_non_null(next_chunk(streams[i]));
			wire_free(streams[i]);
		}
	}
}

static void
test_watch_refuses(void **state)
{
	char		long_key[1030];
	wire_stream *stream;

	(void) state;
	memset(long_key, 'k', sizeof(long_key));
	long_key[sizeof(long_key) - 1] = '\0';
	stream = start_watch(long_key, "");
	assert_status(stream, GRPC_STATUS_INVALID_ARGUMENT, "start has 1029 bytes");
	stream = start_watch("", long_key);
	assert_status(stream, GRPC_STATUS_INVALID_ARGUMENT, "end has 1029 bytes");
}

/* ---- Quotas ---- */

static wire_stream *
set_quota(const char *prefix, uint64_t max_keys, bool remove)
{
	Norikv__Ext__V1__SetQuotaRequest request = NORIKV__EXT__V1__SET_QUOTA_REQUEST__INIT;
	Norikv__Ext__V1__SetQuotaResponse *response;

	request.prefix = bytes_of(prefix);
	request.max_keys = max_keys;
	request.remove = remove;
	return wire_call(client, WIRE_METHOD_SET_QUOTA, &request.base,
					 &norikv__ext__v1__set_quota_response__descriptor,
					 (void **) &response);
}

static wire_stream *
ask_usage(const char *prefix, Norikv__Ext__V1__UsageResponse **usage)
{
	Norikv__Ext__V1__UsageRequest request = NORIKV__EXT__V1__USAGE_REQUEST__INIT;

	request.prefix = bytes_of(prefix);
	return wire_call(client, WIRE_METHOD_USAGE, &request.base,
					 &norikv__ext__v1__usage_response__descriptor, (void **) usage);
}

static void
test_quotas(void **state)
{
	Norikv__Ext__V1__Operation puts[2] = {put_operation("q/1", "v"),
	put_operation("q/2", "v")};
	Norikv__Ext__V1__CommitResponse *answer;
	Norikv__Ext__V1__UsageResponse *usage;
	char		long_prefix[1030];
	wire_stream *stream;

	(void) state;
	assert_status(set_quota("q/", 1, false), GRPC_STATUS_OK, "");
	stream = commit(client, puts, 2, true, NULL, &answer);
	assert_int_equal(wire_status(stream), GRPC_STATUS_OK);
	assert_false(answer->applied);
	assert_int_equal(answer->results[1]->code + answer->results[0]->code,
					 GRPC_STATUS_RESOURCE_EXHAUSTED + GRPC_STATUS_ABORTED);
	wire_free(stream);
	put("q/1", "v");
	stream = ask_usage("q/", &usage);
	assert_int_equal(wire_status(stream), GRPC_STATUS_OK);
	assert_int_equal(usage->keys, 1);
	assert_int_equal(usage->bytes, 4);
	assert_int_equal(usage->max_keys, 1);
	wire_free(stream);
	assert_status(set_quota("q/", 1, true), GRPC_STATUS_INVALID_ARGUMENT,
				  "do not go with remove");
	assert_status(set_quota("q/", 0, true), GRPC_STATUS_OK, "");
	assert_status(ask_usage("q/", &usage), GRPC_STATUS_NOT_FOUND, "\"q/\" has no quota");
	memset(long_prefix, 'k', sizeof(long_prefix));
	long_prefix[sizeof(long_prefix) - 1] = '\0';
	assert_status(set_quota(long_prefix, 1, false), GRPC_STATUS_INVALID_ARGUMENT,
				  "prefix has 1029 bytes");
}

/* Who watches hears that the server goes; it may come back. */
static void
test_shutdown_ends_watches(void **state)
{
	wire_client *shared = client;
	norikvd		other;
	wire_stream *stream;
	char		place[280];
	char		target[300];

	(void) state;
	snprintf(place, sizeof(place), "%s/other", directory);
	assert_int_equal(mkdir(place, 0700), 0);
	assert_true(norikvd_start_memory(&other, place, (const char *[]) {NULL}));
	snprintf(target, sizeof(target), "unix:%s/socket", place);
	client = wire_client_open(target);
	stream = start_watch("", "");
	assert_non_null(next_chunk(stream));
	assert_int_equal(norikvd_stop(&other, SIGTERM), 0);
	assert_null(next_chunk(stream));
	/* its words may be lost with the connection */
	assert_status(stream, GRPC_STATUS_UNAVAILABLE, "");
	wire_client_close(client);
	client = shared;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_slow_watcher),
		cmocka_unit_test(test_watches_that_are_left),
		cmocka_unit_test(test_watch_refuses),
		cmocka_unit_test(test_quotas),
		cmocka_unit_test(test_shutdown_ends_watches),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
