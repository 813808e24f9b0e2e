/*
 * test_server_calls.c - the life of calls over an engine that answers when the
 * test says so, and from threads of its own: cancelled and late writes, the end of
 * the server, errors in the middle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/ext_calls.h"
#include "../support/kv_calls.h"
#include "../support/programs.h"
#include "listen.h"
#include "server.h"
#include "words.h"

/* ---- An engine ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static engine_unit *held;		/* units not yet begun */
static unsigned n_held;
static unsigned n_begun;
static engine_code refused;		/* what may_start last said */
static unsigned pages_read;
static unsigned cursors_open;
static unsigned page_that_fails;	/* 0: none */
static engine_slice page_value;

/* Everything that answers does so later, from another thread. */
static void
later(void *(*work) (void *), void *arg)
{
	pthread_t	thread;

	assert_int_equal(pthread_create(&thread, NULL, work, arg), 0);
	pthread_detach(thread);
}

static void
fake_info(engine *self, engine_info *info)
{
	(void) self;
	memset(info, 0, sizeof(*info));
	info->name = "fake";
}

typedef struct fake_read
{
	size_t		n_keys;
	engine_read_done done;
	void	   *arg;
} fake_read;

static void *
answer_read(void *arg)
{
	static const engine_status ok;
	fake_read  *read = arg;
	engine_entry *entries = calloc(read->n_keys, sizeof(*entries));

	for (size_t i = 0; i < read->n_keys; i++)
	{
		entries[i].value = (engine_slice) {"value", 5};
		entries[i].version = (engine_version) {1, 1};
	}
	read->done(read->arg, &ok, entries, read->n_keys);
	free(entries);
	free(read);
	return NULL;
}

static void
fake_get(engine *self, const engine_slice *keys, size_t n_keys,
		 engine_consistency consistency, engine_read_done done, void *arg)
{
	fake_read  *read = malloc(sizeof(*read));

	(void) self;
	(void) keys;
	(void) consistency;
	*read = (fake_read) {n_keys, done, arg};
	later(answer_read, read);
}

static void
fake_commit(engine *self, engine_unit *unit)
{
	(void) self;
	pthread_mutex_lock(&lock);
	unit->next = held;
	held = unit;
	n_held++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static engine_cursor *
fake_scan_open(engine *self, const engine_scan *scan, engine_status *status)
{
	(void) self;
	(void) scan;
	(void) status;
	cursors_open++;
	return (engine_cursor *) &cursors_open;
}

typedef struct fake_page
{
	engine_page_done done;
	void	   *arg;
} fake_page;

static void *
answer_page(void *arg)
{
	fake_page  *asked = arg;
	engine_entry entry = {.key = {"key", 3},.value = page_value,.version = {1, 1}};
	engine_page page = {&entry, 1};
	engine_status status = {ENGINE_OK, ""};

	pages_read++;
	page.last = pages_read == 100;
	page.snapshot_moved = pages_read == 50;
	if (pages_read == page_that_fails)
		status = (engine_status) {ENGINE_ABORTED, "the snapshot is gone"};
	asked->done(asked->arg, &status, &page);
	free(asked);
	return NULL;
}

static void
fake_scan_page(engine_cursor *cursor, size_t max_bytes, engine_page_done done, void *arg)
{
	fake_page  *asked = malloc(sizeof(*asked));

	(void) cursor;
	(void) max_bytes;
	*asked = (fake_page) {done, arg};
	later(answer_page, asked);
}

static void
fake_scan_close(engine_cursor *cursor)
{
	(void) cursor;
	cursors_open--;
}

static void
fake_close(engine *self)
{
	(void) self;
}

static const engine_methods fake_methods = {
	.info = fake_info,
	.get = fake_get,
	.commit = fake_commit,
	.scan_open = fake_scan_open,
	.scan_page = fake_scan_page,
	.scan_close = fake_scan_close,
	.close = fake_close,
};
static engine fake = {&fake_methods};

static void
wait_for_units(unsigned n)
{
	pthread_mutex_lock(&lock);
	while (n_held < n)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

/* Begins the units that are held, as a committer would, and answers them. */
static void
release_units(void)
{
	engine_unit *unit;

	pthread_mutex_lock(&lock);
	unit = held;
	held = NULL;
	n_held = 0;
	pthread_mutex_unlock(&lock);
	while (unit != NULL)
	{
		engine_unit *next = unit->next;
		engine_result result = {.version = {1, 1}};
		engine_outcome outcome = {.operation = -1,.results = &result,.n_results = 1};

		refused = unit->may_start(unit->arg);
		if (refused != ENGINE_OK)
		{
			outcome.status.code = refused;
			outcome.results = NULL;
		}
		else
			n_begun++;
		unit->done(unit->arg, &outcome);
		unit = next;
	}
}

/* ---- The server over it ---- */

static char directory[256];
static char address[300];
static server *serving;
static listeners *listening;
static wire_client *client;

static int
set_up(void **state)
{
	server_options options = {
		.engine = &fake,.max_staged = 1 << 20,.max_in_flight = 4 << 20,.threads = 2,
		.stall_timeout_ms = 60000
	};
	const char *addresses[] = {address};
	char		error[512];

	(void) state;
	n_begun = pages_read = cursors_open = page_that_fails = 0;
	refused = ENGINE_OK;
	page_value = (engine_slice) {"value", 5};
	work_dir_make(directory, sizeof(directory));
	snprintf(address, sizeof(address), "unix:%s/socket", directory);
	grpc_init();
	serving = server_new(&options);
	listening = listen_all(addresses, 1, error, sizeof(error));
	if (listening == NULL)
		return -1;
	server_start(serving, listeners_advertised(listening));
	listeners_accept(listening, serving);
	client = wire_client_open(address);
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	wire_client_close(client);
	listeners_close(listening);
	if (!atomic_load(&serving->draining))
		server_drain(serving);
	server_disconnect(serving);
	while (!server_is_down(serving))
		usleep(1000);
	server_free(serving);
	listeners_free(listening);
	grpc_shutdown_blocking();
	work_dir_remove(directory);
	return 0;
}

static wire_stream *
start_put(unsigned timeout_ms)
{
	Norikv__V1__PutRequest request = NORIKV__V1__PUT_REQUEST__INIT;
	wire_stream *stream = wire_start(client, WIRE_METHOD_PUT, timeout_ms, NULL);

	request.key = bytes_of("key");
	wire_send(stream, &request.base);
	wire_half_close(stream);
	wait_for_units(1);
	return stream;
}

/* The server learns of a cancel when it reads it: the call is then over for it. */
static void
wait_until_over(void)
{
	while (held->may_start(held->arg) == ENGINE_OK)
		usleep(1000);
}

static void
test_a_cancelled_write_is_not_begun(void **state)
{
	wire_stream *stream = start_put(0);

	(void) state;
	wire_cancel(stream);
	wait_until_over();
	release_units();
	assert_int_equal(refused, ENGINE_CANCELLED);
	assert_int_equal(n_begun, 0);
	wire_free(stream);
}

static void
test_a_late_write_is_not_begun(void **state)
{
	wire_stream *stream = start_put(100);

	(void) state;
	assert_int_equal(wire_status(stream), GRPC_STATUS_DEADLINE_EXCEEDED);
	wait_until_over();
	release_units();
	/* The client's deadline comes first, and it then cancels: the server hears either. */
	assert_true(refused == ENGINE_DEADLINE_EXCEEDED || refused == ENGINE_CANCELLED);
	assert_int_equal(n_begun, 0);
	wire_free(stream);
}

static void
test_a_cancelled_commit_is_not_begun(void **state)
{
	Norikv__Ext__V1__Operation op = put_operation("key", "value");
	wire_stream *stream = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);

	(void) state;
	send_operations(stream, &op, 1, true, NULL, true);
	wait_for_units(1);
	wire_cancel(stream);
	wait_until_over();
	release_units();
	assert_int_equal(n_begun, 0);
	wire_free(stream);
}

static void
test_a_write_under_way_is_answered_by_a_draining_server(void **state)
{
	wire_stream *stream = start_put(0);

	(void) state;
	server_drain(serving);
	assert_false(server_idle(serving));
	release_units();
	assert_non_null(wire_receive(stream, &norikv__v1__put_response__descriptor));
	assert_int_equal(wire_status(stream), GRPC_STATUS_OK);
	wire_free(stream);
	assert_int_equal(n_begun, 1);
}

/* On the connection that is there: what is written to it now was on its way, perhaps. */
static void
test_a_draining_server_refuses_what_comes(void **state)
{
	wire_stream *stream = start_put(0);
	Norikv__Ext__V1__Operation op = put_operation("key", "value");
	Norikv__Ext__V1__CommitResponse *nothing;
	wire_stream *refusal;
	kv_reply	reply;

	(void) state;
	server_drain(serving);
	assert_false(server_is_quiet(serving));
	reply = kv_call_put(client, KV_KEY("key"), "value", 5, NULL);
	assert_int_equal(reply.code, GRPC_STATUS_UNAVAILABLE);
	assert_string_equal(reply.text, WORDS_SHUTTING_DOWN);
	reply = kv_call_get(client, KV_KEY("key"), NULL);
	assert_int_equal(reply.code, GRPC_STATUS_UNAVAILABLE);
	assert_string_equal(reply.text, WORDS_SHUTTING_DOWN);
	refusal = commit(client, &op, 1, true, NULL, &nothing);
	assert_null(nothing);
	assert_int_equal(wire_status(refusal), GRPC_STATUS_UNAVAILABLE);
	assert_string_equal(wire_status_text(refusal), WORDS_SHUTTING_DOWN);
	wire_free(refusal);
	release_units();
	assert_non_null(wire_receive(stream, &norikv__v1__put_response__descriptor));
	assert_int_equal(wire_status(stream), GRPC_STATUS_OK);
	wire_free(stream);
	assert_int_equal(n_begun, 1);
	while (!server_idle(serving) || !server_is_quiet(serving))
		usleep(1000);
}

static void
test_a_client_that_is_gone_before_the_answer(void **state)
{
	kv_reply	reply;

	(void) state;
	for (int i = 0; i < 20; i++)
	{
		wire_stream *stream = start_put(0);

		wire_cancel(stream);
		release_units();
		wire_free(stream);
	}
	reply = kv_call_get(client, KV_KEY("key"), NULL);
	assert_int_equal(reply.code, GRPC_STATUS_OK);
	free(reply.value);
}

static void
test_answers_from_other_threads(void **state)
{
	enum
	{
		N_KEYS = 3000
	};
	Norikv__Ext__V1__MultiGetRequest request = NORIKV__EXT__V1__MULTI_GET_REQUEST__INIT;
	Norikv__Ext__V1__MultiGetChunk *chunk;
	static ProtobufCBinaryData keys[N_KEYS];
	wire_stream *stream = wire_start(client, WIRE_METHOD_MULTI_GET, 0, NULL);
	size_t		seen = 0;

	(void) state;
	for (size_t i = 0; i < N_KEYS; i++)
		keys[i] = bytes_of("key");
	request.n_keys = N_KEYS;
	request.keys = keys;
	wire_send(stream, &request.base);
	wire_half_close(stream);
	while ((chunk = wire_receive(stream, &norikv__ext__v1__multi_get_chunk__descriptor)))
		seen += chunk->n_entries;
	assert_int_equal(seen, N_KEYS);
	assert_int_equal(wire_status(stream), GRPC_STATUS_OK);
	wire_free(stream);
}

static wire_stream *
start_scan(bool count_only)
{
	Norikv__Ext__V1__ScanRequest request = NORIKV__EXT__V1__SCAN_REQUEST__INIT;
	wire_stream *stream = wire_start(client, WIRE_METHOD_SCAN, 0, NULL);

	request.count_only = count_only;
	wire_send(stream, &request.base);
	wire_half_close(stream);
	return stream;
}

static void
test_a_scan_passes_on_that_the_snapshot_moved(void **state)
{
	Norikv__Ext__V1__ScanChunk *chunk;
	wire_stream *stream = start_scan(false);
	size_t		page = 0;

	(void) state;
	while ((chunk = wire_receive(stream, &norikv__ext__v1__scan_chunk__descriptor)))
		assert_int_equal(chunk->snapshot_moved, ++page == 50);
	assert_int_equal(page, 100);
	assert_int_equal(wire_status(stream), GRPC_STATUS_OK);
	wire_free(stream);
	assert_int_equal(cursors_open, 0);
}

static void
test_a_scan_that_fails_in_the_middle(void **state)
{
	wire_stream *stream;

	(void) state;
	page_that_fails = 7;
	stream = start_scan(false);
	while (wire_receive(stream, &norikv__ext__v1__scan_chunk__descriptor) != NULL)
		continue;
	assert_int_equal(wire_status(stream), GRPC_STATUS_ABORTED);
	assert_string_equal(wire_status_text(stream), "the snapshot is gone");
	wire_free(stream);
	assert_int_equal(cursors_open, 0);
}

/* One page on its way, which nobody takes, and one read ahead: no more. */
static void
test_a_scan_is_held_back_by_its_reader(void **state)
{
	char	   *large = calloc(1, 512 * 1024);
	wire_stream *stream;

	(void) state;
	page_value = (engine_slice) {large, 512 * 1024};
	stream = start_scan(false);
	while (__atomic_load_n(&pages_read, __ATOMIC_SEQ_CST) < 2)
		usleep(1000);
	usleep(300000);
	assert_int_equal(pages_read, 2);
	wire_cancel(stream);
	wire_free(stream);
	while (__atomic_load_n(&cursors_open, __ATOMIC_SEQ_CST) > 0)
		usleep(1000);
	assert_int_equal(pages_read, 2);
	free(large);
}

/* Puts that wait for the engine hold their messages; too many are sent away. */
static void
test_messages_in_flight_are_bounded(void **state)
{
	Norikv__V1__PutRequest request = NORIKV__V1__PUT_REQUEST__INIT;
	wire_stream *streams[8];
	char	   *value = calloc(1, 1000000);

	(void) state;
	request.key = bytes_of("key");
	request.value = (ProtobufCBinaryData) {1000000, (uint8_t *) value};
	for (int i = 0; i < 8; i++)
	{
		streams[i] = wire_start(client, WIRE_METHOD_PUT, 0, NULL);
		wire_send(streams[i], &request.base);
		wire_half_close(streams[i]);
	}
	/* 4 are less than 4 MiB; the others are answered while these still wait. */
	for (int i = 4; i < 8; i++)
		assert_int_equal(wire_status(streams[i]), GRPC_STATUS_UNAVAILABLE);
	wait_for_units(4);
	release_units();
	for (int i = 0; i < 4; i++)
	{
		wire_receive(streams[i], &norikv__v1__put_response__descriptor);
		assert_int_equal(wire_status(streams[i]), GRPC_STATUS_OK);
	}
	for (int i = 0; i < 8; i++)
		wire_free(streams[i]);
	free(value);
	/* What they held has been given back. */
	wire_free(start_put(0));
	release_units();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_cancelled_write_is_not_begun),
		TEST(test_a_late_write_is_not_begun),
		TEST(test_a_cancelled_commit_is_not_begun),
		TEST(test_a_write_under_way_is_answered_by_a_draining_server),
		TEST(test_a_draining_server_refuses_what_comes),
		TEST(test_a_client_that_is_gone_before_the_answer),
		TEST(test_answers_from_other_threads),
		TEST(test_a_scan_passes_on_that_the_snapshot_moved),
		TEST(test_a_scan_that_fails_in_the_middle),
		TEST(test_a_scan_is_held_back_by_its_reader),
		TEST(test_messages_in_flight_are_bounded),
	};

	/* A test that hangs is a test that fails. */
	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
