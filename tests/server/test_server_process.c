/*
 * test_server_process.c - norikvd as a process: its command line, its data directory,
 * its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "../support/ext_calls.h"
#include "support/own_norikvd.h"
#include "health.pb-c.h"

/* Exit statuses, as --help says. */
#define FAILED 1
#define USAGE 2
#define IN_USE 3
#define REFUSED 4

/* ---- The command line ---- */

static void
test_help_lists_every_option(void **state)
{
	static const char *const options[] = {
		"--listen", "--also-listen", "--data-dir", "--engine", "--sync", "--max-memory",
		"--max-idempotency", "--absent", "--backup", "--adopt", "--owner", "--parent",
		"--threads", "--stall-timeout", "--log-level", "--version", "--help",
		"Exit status"
	};
	char		command[4200];
	char		help[16384];
	FILE	   *pipe;
	size_t		size;

	(void) state;
	snprintf(command, sizeof(command), "%s/norikvd --help", build_dir());
	pipe = popen(command, "r");
	size = fread(help, 1, sizeof(help) - 1, pipe);
	help[size] = '\0';
	assert_int_equal(pclose(pipe), 0);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
	{
		if (strstr(help, options[i]) == NULL)
			fail_msg("--help does not list %s", options[i]);
	}
}

static void
test_a_wrong_command_line(void **state)
{
	static const char *const wrong[][5] = {
		{"--no-such-option"}, {"stray"}, {"--data-dir"}, {"--sync", "maybe"},
		{"--max-memory", "1"}, {"--max-memory", "-1g"}, {"--max-memory", "12q"},
		{"--max-memory", "99999999999999999999g"}, {"--threads", "0"},
		{"--parent", "init"}, {"--adopt=yes"},
		{"--data-dir", "x", "--adopt", "--listen", "unix:x"},
		{"--data-dir", "x", "--adopt", "--backup", "y"}, {"--engine", "lmdb"},
		{"--engine", "rocksdb"}, {"--engine", "memory", "--data-dir", "/tmp"},
		{"--log-level", "loud"}, {"--absent", "null"}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		const char *arguments[6];

		memcpy(arguments, wrong[i], sizeof(wrong[i]));
		arguments[5] = NULL;

		assert_int_equal(status_of(arguments), USAGE);
	}
}

/* ---- The data directory ---- */

static void
test_a_data_directory_has_one_norikvd(void **state)
{
	const char *const first[] = {"--data-dir", data_dir, "--listen", address, NULL};
	const char *const second[] = {
		"--data-dir", data_dir, "--listen", "127.0.0.1:0", NULL
	};
	char		backup[320];
	const char *const copy[] = {"--data-dir", data_dir, "--backup", backup, NULL};
	norikvd		server;

	(void) state;
	snprintf(backup, sizeof(backup), "%s/backup", directory);
	assert_true(norikvd_start(&server, log_path, first));
	assert_int_equal(status_of(second), IN_USE);
	assert_logged("is in use by another norikvd");
	assert_int_equal(status_of(copy), IN_USE);
	assert_true(answers(address));
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
	assert_false(exists(backup));
}

static void
test_backup_and_adopt(void **state)
{
	char		backup[320];
	const char *const first[] = {"--data-dir", data_dir, "--listen", address, NULL};
	const char *const copy[] = {"--data-dir", data_dir, "--backup", backup, NULL};
	const char *const restored[] = {"--data-dir", backup, "--listen", address, NULL};
	const char *const adopt[] = {"--data-dir", backup, "--adopt", NULL};
	norikvd		server;
	wire_client *client;
	kv_reply	written;
	kv_reply	read;

	(void) state;
	snprintf(backup, sizeof(backup), "%s/backup", directory);
	assert_true(norikvd_start(&server, log_path, first));
	client = wire_client_open(address);
	written = kv_call_put(client, KV_KEY("kept"), "value", 5, NULL);
	wire_client_close(client);
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
	assert_int_equal(status_of(copy), 0);
	assert_int_equal(status_of(copy), FAILED);	/* it exists now */
	assert_int_equal(status_of(restored), REFUSED);
	assert_int_equal(status_of(adopt), 0);
	assert_true(norikvd_start(&server, log_path, restored));
	client = wire_client_open(address);
	read = kv_call_get(client, KV_KEY("kept"), NULL);
	assert_string_equal(read.value, "value");
	assert_int_equal(read.version.index, written.version.index);
	free(read.value);
	written = kv_call_put(client, KV_KEY("kept"), "value", 5, NULL);
	assert_true(written.version.term > read.version.term);
	wire_client_close(client);
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
}

static void
test_another_owner_is_refused(void **state)
{
	const char *const mine[] = {
		"--data-dir", data_dir, "--listen", address, "--owner", "7001/1", NULL
	};
	const char *const yours[] = {
		"--data-dir", data_dir, "--listen", address, "--owner", "7002/1", NULL
	};
	norikvd		server;

	(void) state;
	assert_true(norikvd_start(&server, log_path, mine));
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
	assert_int_equal(status_of(yours), REFUSED);
	assert_true(norikvd_start(&server, log_path, mine));
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
}

static void
test_sync_off_is_said(void **state)
{
	static const char *const more[] = {"--sync=off", NULL};
	norikvd		server;

	(void) state;
	assert_true(norikvd_start_memory(&server, directory, more));
	assert_true(norikvd_said(&server, "warning: sync is off"));
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
}

/* ---- Addresses ---- */

/* A port of this machine that is in use; its socket. */
static int
occupy(char *taken, size_t size)
{
	struct sockaddr_in name = {
		.sin_family = AF_INET,.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	socklen_t	length = sizeof(name);
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *) &name, sizeof(name)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *) &name, &length), 0);
	snprintf(taken, size, "127.0.0.1:%d", ntohs(name.sin_port));
	return fd;
}

static void
await_logged(const char *text)
{
	norikvd		any = {0};

	snprintf(any.errors, sizeof(any.errors), "%s", log_path);
	for (int i = 0; i < 2000 && !norikvd_said(&any, text); i++)
		usleep(10000);
	assert_logged(text);
}

static void
test_addresses_that_cannot_be_had_are_tried_again(void **state)
{
	char		taken[64];
	char		text[128];
	int			fd = occupy(taken, sizeof(taken));
	const char *const must[] = {
		"--engine", "memory", "--listen", address, "--listen", taken, NULL
	};
	const char *const may[] = {
		"--engine", "memory", "--listen", address, "--also-listen", taken,
		"--also-listen", "nowhere", "--also-listen", "127.0.0.1:0", NULL
	};
	norikvd		server;

	(void) state;
	assert_int_equal(status_of(must), FAILED);
	assert_true(norikvd_start(&server, log_path, may));
	assert_true(answers(address));
	snprintf(text, sizeof(text), "warning: cannot listen on %s: ", taken);
	assert_logged(text);
	assert_logged("warning: cannot listen on \"nowhere\": an address is");
	close(fd);
	snprintf(text, sizeof(text), "info: serving on %s, too", taken);
	await_logged(text);
	assert_true(answers(taken));
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
}

/* ---- The end ---- */

/* What a drain has to end: a stream of each kind that would stay for ever. */
static void
open_streams(wire_client *client, wire_stream *streams[3])
{
	Norikv__V1__WatchClusterRequest watch = NORIKV__V1__WATCH_CLUSTER_REQUEST__INIT;
	Grpc__Health__V1__HealthCheckRequest check =
		GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	Norikv__Ext__V1__Operation op = put_operation("draining", "v");
	Norikv__Ext__V1__CommitResponse *answer;
	Grpc__Health__V1__HealthCheckResponse *health;
	wire_stream *behind;

	streams[0] = wire_start(client, WIRE_METHOD_WATCH_CLUSTER, 0, NULL);
	wire_send(streams[0], &watch.base);
	wire_half_close(streams[0]);
	assert_non_null(wire_receive(streams[0], &norikv__v1__cluster_view__descriptor));
	streams[1] = wire_start(client, WIRE_METHOD_HEALTH_WATCH, 0, NULL);
	wire_send(streams[1], &check.base);
	wire_half_close(streams[1]);
	health = wire_receive(streams[1],
						  &grpc__health__v1__health_check_response__descriptor);
	assert_int_equal(health->status, 1);
	streams[2] = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);
	send_operations(streams[2], &op, 1, true, NULL, false);
	/* What comes behind it on the connection is answered: so it has arrived. */
	behind = commit(client, &op, 1, true, NULL, &answer);
	assert_non_null(answer);
	wire_free(behind);
}

static void
test_sigterm_ends_streams_and_exits_with_0(void **state)
{
	norikvd		server;
	wire_client *client;
	wire_stream *streams[3];
	Grpc__Health__V1__HealthCheckResponse *health;
	struct timespec before;
	struct timespec after;

	(void) state;
	assert_true(start_memory(&server));
	client = wire_client_open(address);
	open_streams(client, streams);
	clock_gettime(CLOCK_MONOTONIC, &before);
	kill(server.pid, SIGTERM);
	health = wire_receive(streams[1],
						  &grpc__health__v1__health_check_response__descriptor);
	assert_non_null(health);
	assert_int_equal(health->status, 2);
	for (int i = 0; i < 3; i++)
	{
		assert_int_equal(wire_status(streams[i]), GRPC_STATUS_UNAVAILABLE);
		wire_free(streams[i]);
	}
	assert_int_equal(norikvd_wait(&server), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec <= 5);
	wire_client_close(client);
}

/* A scan of 64 MiB of which nobody takes anything: more than any buffer takes. */
static wire_stream *
stall_a_scan(wire_client *client)
{
	Norikv__Ext__V1__ScanRequest request = NORIKV__EXT__V1__SCAN_REQUEST__INIT;
	char	   *value = calloc(1, 1024 * 1024);
	char		name[32];
	wire_stream *stream;

	for (int i = 0; i < 64; i++)
	{
		size_t		size = (size_t) sprintf(name, "stall/%02d", i);

		kv_call_put(client, (kv_key) {name, size}, value, 1024 * 1024, NULL);
	}
	free(value);
	stream = wire_start(client, WIRE_METHOD_SCAN, 0, NULL);
	wire_send(stream, &request.base);
	wire_half_close(stream);
	assert_non_null(wire_receive(stream, &norikv__ext__v1__scan_chunk__descriptor));
	return stream;
}

static void
test_a_reader_that_stalls_does_not_keep_it(void **state)
{
	norikvd		server;
	wire_client *client;
	wire_stream *stream;

	(void) state;
	assert_true(start_memory(&server));
	client = wire_client_open(address);
	stream = stall_a_scan(client);
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
	assert_logged("disconnecting clients that take no answer");
	wire_free(stream);
	wire_client_close(client);
}

static void
test_a_second_signal_ends_it_at_once(void **state)
{
	norikvd		server;
	wire_client *client;
	wire_stream *stream;

	(void) state;
	assert_true(start_memory(&server));
	client = wire_client_open(address);
	stream = stall_a_scan(client);
	kill(server.pid, SIGTERM);
	while (exists(socket_path))
		usleep(1000);
	assert_int_equal(norikvd_stop(&server, SIGTERM), 128 + SIGTERM);
	wire_free(stream);
	wire_client_close(client);
}

static void
test_connections_that_say_nothing_do_not_keep_it(void **state)
{
	norikvd		server;
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int			fds[20];

	(void) state;
	assert_true(start_memory(&server));
	snprintf(name.sun_path, sizeof(name.sun_path), "%.100s", socket_path);
	for (int i = 0; i < 20; i++)
	{
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *) &name, sizeof(name)), 0);
		if (i % 2 == 0)
			assert_int_equal(write(fds[i], "PRI * HTTP/2.0\r\n", 16), 16);
	}
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
	for (int i = 0; i < 20; i++)
		close(fds[i]);
}

/* The parent in between starts norikvd, tells us its process id, and dies. */
static pid_t
start_orphan(void)
{
	int			ends[2];
	pid_t		between;
	pid_t		orphan = 0;

	assert_int_equal(pipe(ends), 0);
	between = fork();
	if (between == 0)
	{
		norikvd		server;
		char		pid[16];
		const char *more[] = {"--parent", pid, NULL};

		snprintf(pid, sizeof(pid), "%d", (int) getpid());
		if (norikvd_start_memory(&server, directory, more))
			orphan = server.pid;
		if (write(ends[1], &orphan, sizeof(orphan)) != sizeof(orphan))
			_exit(1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ends[0], &orphan, sizeof(orphan)), sizeof(orphan));
	close(ends[0]);
	close(ends[1]);
	assert_true(orphan > 0);
	assert_true(answers(address));
	kill(between, SIGKILL);
	waitpid(between, NULL, 0);
	return orphan;
}

static void
test_it_ends_with_its_parent(void **state)
{
	struct timespec a_little = {0, 10000000};

	(void) state;
	start_orphan();
	/* Nobody here is its parent: that it ended shows by what it leaves behind. */
	for (int i = 0; i < 1500; i++)
	{
		norikvd		any = {0};

		snprintf(any.errors, sizeof(any.errors), "%s", log_path);
		if (norikvd_said(&any, "shut down\n"))
			break;
		nanosleep(&a_little, NULL);
	}
	assert_logged("the parent process is gone");
	assert_logged("info: shut down");
	assert_false(exists(socket_path));
}

static void
test_a_parent_that_is_none(void **state)
{
	static const char *const arguments[] = {"--engine", "memory", "--parent", "1", NULL};

	(void) state;
	assert_int_equal(status_of(arguments), FAILED);
	assert_logged("process 1 is not the parent");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_help_lists_every_option),
		TEST(test_a_wrong_command_line),
		TEST(test_a_data_directory_has_one_norikvd),
		TEST(test_backup_and_adopt),
		TEST(test_another_owner_is_refused),
		TEST(test_sync_off_is_said),
		TEST(test_addresses_that_cannot_be_had_are_tried_again),
		TEST(test_sigterm_ends_streams_and_exits_with_0),
		TEST(test_a_reader_that_stalls_does_not_keep_it),
		TEST(test_a_second_signal_ends_it_at_once),
		TEST(test_connections_that_say_nothing_do_not_keep_it),
		TEST(test_it_ends_with_its_parent),
		TEST(test_a_parent_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
