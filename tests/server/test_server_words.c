/*
 * test_server_words.c - what norikvd says, as libnorikv understands it: a refusal that
 * may be repeated, and what a version was instead.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/client/internal.h"
#include "support/shared_norikvd.h"

#define STREAMS 10
#define VALUE_SIZE 600000

static void
assert_refusal(wire_stream *stream, const char *words)
{
	const char *text;

	assert_int_equal(wire_status(stream), GRPC_STATUS_UNAVAILABLE);
	text = wire_status_text(stream);
	assert_non_null(strstr(text, words));
	assert_int_equal(nk_judge(GRPC_STATUS_UNAVAILABLE, text, strlen(text), true),
					 NK_VERDICT_REFUSED);
}

static wire_stream *
begin_commit(Norikv__Ext__V1__Operation *op)
{
	wire_stream *stream = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);

	assert_true(send_operations(stream, op, 1, true, NULL, false));
	return stream;
}

/* Of ten Commits that together are too large, some must hear that they may come again. */
static void
test_memory_taken(void **state)
{
	static char value[VALUE_SIZE + 1];
	Norikv__Ext__V1__Operation op = operation(PUT, "staged");
	wire_stream *streams[STREAMS];
	int			refused = 0;

	(void) state;
	memset(value, 'v', VALUE_SIZE);
	op.value = bytes_of(value);
	for (int i = 0; i < STREAMS; i++)
		streams[i] = begin_commit(&op);
	for (int i = 0; i < STREAMS; i++)
	{
		send_operations(streams[i], NULL, 0, false, NULL, true);
		wire_half_close(streams[i]);
		wire_receive(streams[i], &norikv__ext__v1__commit_response__descriptor);
		if (wire_status(streams[i]) != GRPC_STATUS_OK)
		{
			assert_refusal(streams[i], WORDS_TRY_AGAIN);
			refused++;
		}
		wire_free(streams[i]);
	}
	assert_true(refused > 0);
}

static void
test_shutting_down(void **state)
{
	Norikv__Ext__V1__Operation op = put_operation("k", "v");
	wire_stream *stream = begin_commit(&op);
	kv_reply	reply = kv_call_get(client, KV_KEY("k"), NULL);

	(void) state;
	/* what was sent before that Get is with the server */
	assert_int_equal(reply.code, GRPC_STATUS_OK);
	free(reply.value);
	kill(server.pid, SIGTERM);
	assert_refusal(stream, WORDS_SHUTTING_DOWN);
	wire_free(stream);
	assert_int_equal(norikvd_wait(&server), 0);
}

/* A Commit that was cut short; its code alone says that it is no use to repeat it. */
static void
test_cut_short(void **state)
{
	Norikv__Ext__V1__Operation op = put_operation("k", "v");
	wire_stream *stream = begin_commit(&op);

	(void) state;
	wire_half_close(stream);
	assert_int_equal(wire_status(stream), GRPC_STATUS_INVALID_ARGUMENT);
	assert_non_null(strstr(wire_status_text(stream), WORDS_NOTHING_WRITTEN));
	wire_free(stream);
}

static norikv_error
mismatch_of(const kv_version *if_match)
{
	kv_put_options options = {.if_match = if_match};
	kv_reply	reply = kv_call_put(client, KV_KEY("k"), "v", 1, &options);
	norikv_error error;

	assert_int_equal(reply.code, GRPC_STATUS_FAILED_PRECONDITION);
	nk_error_clear(&error);
	nk_error_parse_mismatch(&error, reply.text, strlen(reply.text));
	assert_true(error.version_mismatch);
	return error;
}

static void
test_mismatches(void **state)
{
	kv_version	other = {7, 99};
	kv_version	absent = {0, 0};
	kv_version	present;
	norikv_error error;

	(void) state;
	error = mismatch_of(&other);
	assert_int_equal(error.expected.term, 7);
	assert_int_equal(error.expected.index, 99);
	assert_int_equal(error.present.index, 0);
	present = kv_call_put(client, KV_KEY("k"), "v", 1, &(kv_put_options) {0}).version;
	error = mismatch_of(&absent);
	assert_int_equal(error.expected.index, 0);
	assert_int_equal(error.present.term, present.term);
	assert_int_equal(error.present.index, present.index);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(test_memory_taken), TEST(test_shutting_down), TEST(test_cut_short),
		TEST(test_mismatches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
