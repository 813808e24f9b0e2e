/*
 * test_server_garbage.c - bytes that are no gRPC, and clients that stop in the
 * middle: norikvd goes on serving the others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/ext_calls.h"
#include "../support/kv_calls.h"
#include "../support/norikvd.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
/* An empty SETTINGS frame. */
#define SETTINGS "\0\0\0\4\0\0\0\0\0"

static char directory[256];
static char target[300];
static norikvd server;

static int
start(void **state)
{
	static const char *const more[] = {"--stall-timeout", "1", NULL};

	(void) state;
	work_dir_make(directory, sizeof(directory));
	if (!norikvd_start_memory(&server, directory, more))
		return -1;
	snprintf(target, sizeof(target), "unix:%s/socket", directory);
	return 0;
}

static int
stop(void **state)
{
	int			status = norikvd_stop(&server, SIGTERM);

	(void) state;
	work_dir_remove(directory);
	return status;
}

/* It may be busy with what came before, yet not for ever. */
static void
assert_serves(void)
{
	grpc_status_code code = GRPC_STATUS_UNAVAILABLE;

	for (int i = 0; i < 100 && code == GRPC_STATUS_UNAVAILABLE; i++)
	{
		wire_client *client = wire_client_open(target);

		code = kv_call_put(client, KV_KEY("alive"), "yes", 3, NULL).code;
		wire_client_close(client);
		if (code == GRPC_STATUS_UNAVAILABLE)
			usleep(50000);
	}
	assert_int_equal(code, GRPC_STATUS_OK);
}

static int
connect_raw(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int			fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(name.sun_path, sizeof(name.sun_path), "%.100s", target + strlen("unix:"));
	assert_int_equal(connect(fd, (struct sockaddr *) &name, sizeof(name)), 0);
	return fd;
}

/* The server may hang up in the middle: that is its right. */
static void
send_raw(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0)
	{
		ssize_t		sent = send(fd, at, size, MSG_NOSIGNAL);

		if (sent < 0)
			return;
		at += sent;
		size -= (size_t) sent;
	}
}

/* Reads until the server hangs up, or says nothing more for a while. */
static void
read_out(int fd)
{
	char		buffer[4096];
	struct pollfd polled = {fd, POLLIN};

	while (poll(&polled, 1, 50) > 0 && read(fd, buffer, sizeof(buffer)) > 0)
		continue;
}

static void
test_random_bytes(void **state)
{
	unsigned	seed = 7;
	unsigned char bytes[4096];

	(void) state;
	for (int round = 0; round < 50; round++)
	{
		int			fd = connect_raw();

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (unsigned char) (rand_r(&seed) >> 7);
		send_raw(fd, bytes, 1 + rand_r(&seed) % sizeof(bytes));
		close(fd);
	}
	assert_serves();
}

/* Random frames after a proper beginning reach further into the server. */
static void
test_random_frames(void **state)
{
	unsigned	seed = 11;

	(void) state;
	for (int round = 0; round < 200; round++)
	{
		int			fd = connect_raw();
		unsigned char frame[9 + 256];

		send_raw(fd, PREFACE SETTINGS, sizeof(PREFACE SETTINGS) - 1);
		for (int n = 0; n < 5; n++)
		{
			size_t		size = (size_t) rand_r(&seed) % 256;

			for (size_t i = 0; i < sizeof(frame); i++)
				frame[i] = (unsigned char) (rand_r(&seed) >> 7);
			frame[0] = frame[1] = 0;
			frame[2] = (unsigned char) size;
			frame[3] %= 10;
			frame[5] = frame[6] = frame[7] = 0;
			frame[8] &= 7;
			send_raw(fd, frame, 9 + size);
		}
		if (round % 20 == 0)
			read_out(fd);
		close(fd);
	}
	assert_serves();
}

static void
test_http_1(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
	int			fd = connect_raw();

	(void) state;
	send_raw(fd, request, sizeof(request) - 1);
	read_out(fd);
	close(fd);
	assert_serves();
}

static void
test_half_a_frame(void **state)
{
	static const char bytes[] = PREFACE SETTINGS "\0\1\0\1\4\0\0\0\1half";
	int			fds[20];

	(void) state;
	for (size_t i = 0; i < 20; i++)
	{
		fds[i] = connect_raw();
		send_raw(fds[i], bytes, i * (sizeof(bytes) - 1) / 19);
	}
	assert_serves();
	for (int i = 0; i < 20; i++)
		close(fds[i]);
	assert_serves();
}

/* A HEADERS frame that never ends: 16 KiB of it, and CONTINUATIONs after it. */
static void
test_huge_headers(void **state)
{
	static char payload[16384];
	int			fd = connect_raw();

	(void) state;
	send_raw(fd, PREFACE SETTINGS, sizeof(PREFACE SETTINGS) - 1);
	/* A literal header whose value has 1 MiB. */
	memset(payload, 'h', sizeof(payload));
	memcpy(payload, "\x40\x01x\x7f\x81\xff\x3f", 7);
	send_raw(fd, "\0\x40\0\1\0\0\0\0\1", 9);
	send_raw(fd, payload, sizeof(payload));
	memset(payload, 'h', sizeof(payload));
	for (int i = 0; i < 100; i++)
	{
		send_raw(fd, "\0\x40\0\x9\0\0\0\0\1", 9);
		send_raw(fd, payload, sizeof(payload));
	}
	read_out(fd);
	close(fd);
	assert_serves();
}

static void
test_large_metadata_is_refused(void **state)
{
	wire_client *client = wire_client_open(target);
	char	   *token = malloc(200001);
	kv_put_options options = {.authorization = token};
	kv_reply	reply;

	(void) state;
	memset(token, 't', 200000);
	token[200000] = '\0';
	/* It may cost the connection, and nothing else. */
	reply = kv_call_put(client, KV_KEY("k"), "v", 1, &options);
	assert_true(reply.code == GRPC_STATUS_RESOURCE_EXHAUSTED ||
				reply.code == GRPC_STATUS_UNAVAILABLE);
	free(token);
	wire_client_close(client);
	assert_serves();
}

static void
test_random_messages(void **state)
{
	static const char *const methods[] = {
		WIRE_METHOD_PUT, WIRE_METHOD_GET, WIRE_METHOD_DELETE, WIRE_METHOD_MULTI_GET,
		WIRE_METHOD_SCAN, WIRE_METHOD_COMMIT, WIRE_METHOD_INFO
	};
	wire_client *client = wire_client_open(target);
	unsigned	seed = 13;

	(void) state;
	for (int round = 0; round < 350; round++)
	{
		wire_stream *stream = wire_start(client, methods[round % 7], 2000, NULL);
		unsigned char bytes[64];
		size_t		size = (size_t) rand_r(&seed) % sizeof(bytes);

		for (size_t i = 0; i < size; i++)
			bytes[i] = (unsigned char) (rand_r(&seed) >> 7);
		wire_send_bytes(stream, bytes, size);
		wire_half_close(stream);
		wire_free(stream);
	}
	wire_client_close(client);
	assert_serves();
}

/* ---- Clients that stop in the middle ---- */

static void
fill(wire_client *client)
{
	char	   *value = calloc(1, 512 * 1024);
	char		name[32];

	for (int i = 0; i < 32; i++)
	{
		size_t		size = (size_t) sprintf(name, "stall/%02d", i);

		kv_call_put(client, (kv_key) {name, size}, value, 512 * 1024, NULL);
	}
	free(value);
}

static void
wait_for_log(const norikvd *which, const char *text)
{
	for (int i = 0; i < NORIKVD_PATIENCE_MS / 10; i++)
	{
		if (norikvd_said(which, text))
			return;
		usleep(10000);
	}
	fail_msg("the log does not say \"%s\"", text);
}

/* Asks for 16 MiB and takes none of it. */
static void
test_a_reader_that_stalls_is_dropped(void **state)
{
	Norikv__Ext__V1__ScanRequest request = NORIKV__EXT__V1__SCAN_REQUEST__INIT;
	wire_client *client = wire_client_open(target);
	wire_stream *stream;
	int			received = 0;

	(void) state;
	fill(client);
	stream = wire_start(client, WIRE_METHOD_SCAN, 0, NULL);
	wire_send(stream, &request.base);
	wire_half_close(stream);
	wait_for_log(&server, "stalled in " WIRE_METHOD_SCAN " for 1 s: process ");
	while (wire_receive(stream, &norikv__ext__v1__scan_chunk__descriptor) != NULL)
		received++;
	assert_in_range(received, 0, 31);
	assert_int_equal(wire_status(stream), GRPC_STATUS_CANCELLED);
	wire_free(stream);
	/* The connection itself is as good as before. */
	assert_int_equal(kv_call_put(client, KV_KEY("k"), "v", 1, NULL).code, GRPC_STATUS_OK);
	wire_client_close(client);
}

static void
test_a_commit_that_stalls_is_dropped(void **state)
{
	Norikv__Ext__V1__Operation op = put_operation("stalled", "v");
	wire_client *client = wire_client_open(target);
	wire_stream *stream = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);
	kv_reply	reply;

	(void) state;
	send_operations(stream, &op, 1, true, NULL, false);
	assert_int_equal(wire_status(stream), GRPC_STATUS_CANCELLED);
	wire_free(stream);
	reply = kv_call_get(client, KV_KEY("stalled"), NULL);
	assert_int_equal(reply.version.index, 0);
	free(reply.value);
	wire_client_close(client);
}

/* A watcher has nothing to read for as long as nothing changes. */
static void
test_a_watcher_is_not_dropped(void **state)
{
	Norikv__V1__WatchClusterRequest request = NORIKV__V1__WATCH_CLUSTER_REQUEST__INIT;
	wire_client *client = wire_client_open(target);
	wire_stream *stream = wire_start(client, WIRE_METHOD_WATCH_CLUSTER, 2500, NULL);

	(void) state;
	wire_send(stream, &request.base);
	wire_half_close(stream);
	assert_non_null(wire_receive(stream, &norikv__v1__cluster_view__descriptor));
	assert_int_equal(wire_status(stream), GRPC_STATUS_DEADLINE_EXCEEDED);
	wire_free(stream);
	wire_client_close(client);
}

/* ---- Too many of them ---- */

static void
test_more_connections_than_descriptors(void **state)
{
	char		other_directory[256];
	norikvd		other;
	int			fds[200];

	(void) state;
	work_dir_make(other_directory, sizeof(other_directory));
	norikvd_max_files = 64;
	assert_true(norikvd_start_memory(&other, other_directory, NULL));
	norikvd_max_files = 0;
	snprintf(target, sizeof(target), "unix:%s/socket", other_directory);
	for (int i = 0; i < 200; i++)
		fds[i] = connect_raw();
	wait_for_log(&other, "warning: cannot accept connections");
	for (int i = 0; i < 200; i++)
		close(fds[i]);
	assert_serves();
	assert_int_equal(norikvd_stop(&other, SIGTERM), 0);
	work_dir_remove(other_directory);
	snprintf(target, sizeof(target), "unix:%s/socket", directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_random_frames),
		cmocka_unit_test(test_http_1),
		cmocka_unit_test(test_half_a_frame),
		cmocka_unit_test(test_huge_headers),
		cmocka_unit_test(test_large_metadata_is_refused),
		cmocka_unit_test(test_random_messages),
		cmocka_unit_test(test_a_reader_that_stalls_is_dropped),
		cmocka_unit_test(test_a_commit_that_stalls_is_dropped),
		cmocka_unit_test(test_a_watcher_is_not_dropped),
		cmocka_unit_test(test_more_connections_than_descriptors),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
