/*
 * test_server_commit.c - norikv.ext.v1 Commit on the wire: atomic or not, repeated,
 * cut short, refused, bounded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/shared_norikvd.h"

static void
assert_commit_refused(Norikv__Ext__V1__Operation *operations, size_t n, const char *text)
{
	Norikv__Ext__V1__CommitResponse *answer;
	wire_stream *stream = commit(client, operations, n, true, NULL, &answer);

	assert_null(answer);
	assert_status(stream, GRPC_STATUS_INVALID_ARGUMENT, text);
}

static void
test_atomic_commit_is_one_version(void **state)
{
	Norikv__Ext__V1__Operation ops[3] = {
		put_operation("c1", "one"), put_operation("c2", ""), operation(ADD, "c3")
	};
	Norikv__Ext__V1__CommitResponse *answer;
	wire_stream *stream;
	kv_reply	reply;

	(void) state;
	ops[2].delta = -7;
	stream = commit(client, ops, 3, true, NULL, &answer);
	assert_non_null(answer);
	assert_true(answer->applied);
	assert_int_equal(answer->n_results, 3);
	for (size_t i = 0; i < 3; i++)
	{
		assert_int_equal(answer->results[i]->code, 0);
		assert_int_equal(answer->results[i]->version_index,
						 answer->results[0]->version_index);
	}
	assert_int_equal(answer->results[2]->value, -7);
	assert_status(stream, GRPC_STATUS_OK, "");
	reply = kv_call_get(client, KV_KEY("c3"), NULL);
	assert_string_equal(reply.value, "-7");
	free(reply.value);
}

static void
test_atomic_commit_that_does_not_hold_is_nothing(void **state)
{
	Norikv__V1__Version absent = NORIKV__V1__VERSION__INIT;
	Norikv__Ext__V1__Operation ops[2] = {
		put_operation("n1", "one"), put_operation("n2", "two")
	};
	Norikv__Ext__V1__CommitResponse *answer;
	wire_stream *stream;
	kv_reply	present = kv_call_put(client, KV_KEY("n2"), "old", 3, NULL);
	kv_reply	reply;

	(void) state;
	ops[1].if_match = &absent;
	stream = commit(client, ops, 2, true, NULL, &answer);
	assert_non_null(answer);
	assert_false(answer->applied);
	assert_int_equal(answer->results[0]->code, GRPC_STATUS_ABORTED);
	assert_int_equal(answer->results[1]->code, GRPC_STATUS_FAILED_PRECONDITION);
	assert_int_equal(answer->results[1]->version_index, present.version.index);
	assert_non_null(strstr(answer->results[1]->message, "Version mismatch: "));
	assert_status(stream, GRPC_STATUS_OK, "");
	reply = kv_call_get(client, KV_KEY("n1"), NULL);
	assert_int_equal(reply.version.index, 0);
	free(reply.value);
}

static void
test_commit_of_each_on_its_own(void **state)
{
	Norikv__V1__Version absent = NORIKV__V1__VERSION__INIT;
	Norikv__Ext__V1__Operation ops[2] = {
		put_operation("o1", "one"), put_operation("o2", "two")
	};
	Norikv__Ext__V1__CommitResponse *answer;
	wire_stream *stream;

	(void) state;
	kv_call_put(client, KV_KEY("o1"), "old", 3, NULL);
	ops[0].if_match = &absent;
	stream = commit(client, ops, 2, false, NULL, &answer);
	assert_non_null(answer);
	assert_int_equal(answer->results[0]->code, GRPC_STATUS_FAILED_PRECONDITION);
	assert_int_equal(answer->results[1]->code, 0);
	assert_status(stream, GRPC_STATUS_OK, "");
}

static void
test_commit_is_repeated_by_its_idempotency_key(void **state)
{
	Norikv__Ext__V1__Operation op = operation(ADD, "repeated");
	Norikv__Ext__V1__CommitResponse *answer;

	(void) state;
	op.delta = 5;
	for (int i = 0; i < 3; i++)
	{
		wire_stream *stream = commit(client, &op, 1, true, "commit-once", &answer);

		assert_non_null(answer);
		assert_int_equal(answer->results[0]->value, 5);
		assert_status(stream, GRPC_STATUS_OK, "");
	}
}

static void
test_commit_in_many_messages(void **state)
{
	enum
	{
		N_MESSAGES = 20,
		N_OPS = 100
	};
	wire_stream *stream = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);
	char		names[N_OPS][32];
	Norikv__Ext__V1__Operation ops[N_OPS];
	Norikv__Ext__V1__CommitResponse *answer;
	size_t		seen = 0;

	(void) state;
	for (int message = 0; message < N_MESSAGES; message++)
	{
		for (int i = 0; i < N_OPS; i++)
		{
			sprintf(names[i], "many/%d/%d", message, i);
			ops[i] = put_operation(names[i], "v");
		}
		assert_true(send_operations(stream, ops, N_OPS, message == 0, NULL,
									message == N_MESSAGES - 1));
	}
	while ((answer = wire_receive(stream, &norikv__ext__v1__commit_response__descriptor)))
		seen += answer->n_results;
	assert_int_equal(seen, N_MESSAGES * N_OPS);
	assert_status(stream, GRPC_STATUS_OK, "");
}

static void
test_commit_without_end_is_nothing(void **state)
{
	Norikv__Ext__V1__Operation op = put_operation("never", "v");
	wire_stream *stream = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);
	kv_reply	reply;

	(void) state;
	send_operations(stream, &op, 1, true, NULL, false);
	wire_half_close(stream);
	assert_status(stream, GRPC_STATUS_INVALID_ARGUMENT, "nothing was written");
	stream = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);
	send_operations(stream, &op, 1, true, NULL, false);
	wire_cancel(stream);
	wire_free(stream);
	reply = kv_call_get(client, KV_KEY("never"), NULL);
	assert_int_equal(reply.version.index, 0);
	free(reply.value);
}

static void
test_commit_checks_its_operations(void **state)
{
	Norikv__V1__Version absent = NORIKV__V1__VERSION__INIT;
	Norikv__Ext__V1__Operation two[2] = {put_operation("k", "1"), operation(DELETE, "k")};
	Norikv__Ext__V1__Operation op;
	float		component = 1;

	(void) state;
	assert_commit_refused(two, 2, "operations[0] and operations[1] are on one key");
	op = operation(PUT, "");
	assert_commit_refused(&op, 1, "operations[0].key has 0 bytes");
	op = operation(CHECK, "k");
	assert_commit_refused(&op, 1, "operations[0].if_match is not set");
	op = operation(DELETE, "k");
	op.if_match = &absent;
	assert_commit_refused(&op, 1, "operations[0].if_match is 0/0");
	op = operation(99, "k");
	assert_commit_refused(&op, 1, "operations[0].kind is 99");
	op = operation(PUT, "k");
	op.ttl = 7;
	assert_commit_refused(&op, 1, "operations[0].ttl is 7");
	op = operation(PUT, "k");
	op.ttl = NORIKV__EXT__V1__OPERATION__TTL__SET;
	assert_commit_refused(&op, 1, "operations[0].ttl_ms is 0");
	op.ttl_ms = UINT64_MAX;
	assert_commit_refused(&op, 1, "operations[0].ttl_ms is 18446744073709551615");
	op = operation(PUT, "k");
	op.ttl_ms = 5;
	assert_commit_refused(&op, 1, "operations[0].ttl_ms is 5");
	op = operation(PUT, "k");
	op.delta = 1;
	assert_commit_refused(&op, 1, "operations[0].delta goes with ADD only");
	op = operation(DELETE_RANGE, "k");
	op.if_match = &absent;
	assert_commit_refused(&op, 1, "operations[0].if_match does not go");
	op = operation(DELETE, "k");
	op.value = bytes_of("v");
	assert_commit_refused(&op, 1, "operations[0].value goes with PUT only");
	op = operation(CHECK, "k");
	op.if_match = &absent;
	op.namespace_ = bytes_of("n");
	assert_commit_refused(&op, 1, "operations[0].namespace goes with operations on");
	op = operation(VECTOR_CHECK, "k");
	op.namespace_ = bytes_of("n");
	assert_commit_refused(&op, 1, "operations[0].if_match is not set: VECTOR_CHECK");
	op.if_match = &absent;
	op.vector = &component;
	op.n_vector = 1;
	assert_commit_refused(&op, 1, "operations[0].vector goes with VECTOR_PUT only");
	op.n_vector = 0;
	op.namespace_ = bytes_of("");
	assert_commit_refused(&op, 1, "operations[0].namespace has 0 bytes");
}

static void
test_header_comes_once(void **state)
{
	Norikv__Ext__V1__Operation op = put_operation("header", "v");
	wire_stream *stream = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);

	(void) state;
	send_operations(stream, &op, 1, false, NULL, false);
	send_operations(stream, &op, 1, true, NULL, true);
	assert_status(stream, GRPC_STATUS_INVALID_ARGUMENT, "the first message");
}

static void
test_staged_commits_are_bounded(void **state)
{
	char	   *value = malloc(600001);
	Norikv__Ext__V1__Operation op = operation(PUT, "staged");
	Norikv__Ext__V1__CommitResponse *answer;
	wire_stream *streams[10];
	size_t		refused = 0;

	(void) state;
	memset(value, 'v', 600000);
	value[600000] = '\0';
	op.value = bytes_of(value);
	for (size_t i = 0; i < 10; i++)
	{
		streams[i] = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);
		send_operations(streams[i], &op, 1, true, NULL, false);
	}
	/* 6 of them are less than 4 MiB, 7 are more. */
	for (size_t i = 0; i < 10; i++)
	{
		send_operations(streams[i], NULL, 0, false, NULL, true);
		wire_half_close(streams[i]);
		answer = wire_receive(streams[i], &norikv__ext__v1__commit_response__descriptor);
		if (wire_status(streams[i]) == GRPC_STATUS_UNAVAILABLE)
			refused++;
		else
			assert_true(answer->applied);
	}
	assert_in_range(refused, 1, 4);
	for (size_t i = 0; i < 10; i++)
		wire_free(streams[i]);
	/* What they held has been given back. */
	wire_free(commit(client, &op, 1, true, NULL, &answer));
	free(value);
}

static void
test_a_commit_that_is_too_large(void **state)
{
	char	   *value = malloc(1000001);
	Norikv__Ext__V1__Operation op = operation(PUT, "too large");
	wire_stream *stream = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);
	bool		sent = true;

	(void) state;
	memset(value, 'v', 1000000);
	value[1000000] = '\0';
	op.value = bytes_of(value);
	for (int i = 0; i < 10 && sent; i++)
		sent = send_operations(stream, &op, 1, i == 0, NULL, false);
	assert_status(stream, GRPC_STATUS_RESOURCE_EXHAUSTED, "all that one may have");
	free(value);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_atomic_commit_is_one_version),
		cmocka_unit_test(test_atomic_commit_that_does_not_hold_is_nothing),
		cmocka_unit_test(test_commit_of_each_on_its_own),
		cmocka_unit_test(test_commit_is_repeated_by_its_idempotency_key),
		cmocka_unit_test(test_commit_in_many_messages),
		cmocka_unit_test(test_commit_without_end_is_nothing),
		cmocka_unit_test(test_commit_checks_its_operations),
		cmocka_unit_test(test_header_comes_once),
		cmocka_unit_test(test_staged_commits_are_bounded),
		cmocka_unit_test(test_a_commit_that_is_too_large),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
