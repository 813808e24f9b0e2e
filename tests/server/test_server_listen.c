/*
 * test_server_listen.c - where norikvd listens, and where it does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/own_norikvd.h"

/* The exit status, as --help says. */
#define FAILED 1

/* ---- Listening ---- */

static void
test_the_socket_is_ours_alone_and_goes_away(void **state)
{
	norikvd		server;
	struct stat status;

	(void) state;
	assert_true(start_memory(&server));
	assert_int_equal(lstat(socket_path, &status), 0);
	assert_true(S_ISSOCK(status.st_mode));
	assert_int_equal(status.st_mode & 0777, 0700);
	assert_true(answers(address));
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
	assert_false(exists(socket_path));
}

static void
test_tcp_and_unix_together(void **state)
{
	const char *const arguments[] = {
		"--engine", "memory", "--listen", "127.0.0.1:0", "--listen", address, NULL
	};
	norikvd		server;
	char		tcp[64] = "";
	char		unix_address[310] = "";

	(void) state;
	assert_true(norikvd_start(&server, log_path, arguments));
	assert_int_equal(sscanf(server.ready, "ready %63s %309s", tcp, unix_address), 2);
	assert_string_equal(unix_address, address);
	assert_memory_equal(tcp, "127.0.0.1:", 10);
	assert_true(atoi(tcp + 10) > 0);
	assert_true(answers(tcp));
	assert_true(answers(unix_address));
	assert_int_equal(norikvd_stop(&server, SIGINT), 0);
}

static void
test_a_port_that_is_taken(void **state)
{
	const char *const first[] = {
		"--engine", "memory", "--listen", "127.0.0.1:0", NULL
	};
	const char *second[] = {
		"--engine", "memory", "--listen", NULL, "--listen", address, NULL
	};
	norikvd		server;

	(void) state;
	assert_true(norikvd_start(&server, log_path, first));
	second[3] = server.ready + strlen("ready ");
	assert_int_equal(status_of(second), FAILED);
	assert_logged("Address already in use");
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
}

static void
test_a_stale_socket_is_replaced(void **state)
{
	norikvd		server;

	(void) state;
	assert_true(start_memory(&server));
	assert_int_equal(norikvd_stop(&server, SIGKILL), 128 + SIGKILL);
	assert_true(exists(socket_path));
	assert_true(start_memory(&server));
	assert_true(answers(address));
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
}

static void
test_a_live_socket_is_refused(void **state)
{
	const char *const arguments[] = {"--engine", "memory", "--listen", address, NULL};
	norikvd		server;

	(void) state;
	assert_true(start_memory(&server));
	assert_int_equal(status_of(arguments), FAILED);
	assert_logged("another server is serving it");
	assert_true(answers(address));
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
}

static void
test_a_file_is_not_replaced(void **state)
{
	const char *const arguments[] = {"--engine", "memory", "--listen", address, NULL};
	int			fd = open(socket_path, O_CREAT | O_WRONLY, 0600);

	(void) state;
	close(fd);
	assert_int_equal(status_of(arguments), FAILED);
	assert_logged("a file that is no socket");
	assert_true(exists(socket_path));
}

static void
test_the_socket_of_another_is_left_alone(void **state)
{
	norikvd		first;
	norikvd		second;

	(void) state;
	assert_true(start_memory(&first));
	unlink(socket_path);
	assert_true(start_memory(&second));
	assert_int_equal(norikvd_stop(&first, SIGTERM), 0);
	assert_true(answers(address));
	assert_int_equal(norikvd_stop(&second, SIGTERM), 0);
}

static void
test_a_relative_path(void **state)
{
	const char *const arguments[] = {"--engine", "memory", "--listen", "unix:here", NULL};
	char		before[4096];
	norikvd		server;

	(void) state;
	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(chdir(directory), 0);
	assert_true(norikvd_start(&server, log_path, arguments));
	assert_int_equal(chdir(before), 0);
	snprintf(address, sizeof(address), "unix:%s/here", directory);
	assert_true(answers(address));
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
}

static void
test_addresses_that_are_none(void **state)
{
	static const char *const wrong[] = {
		"localhost", "::1:7447", "127.0.0.1:", ":7447", "127.0.0.1:99999",
		"127.0.0.1:http", "[::1:7447", "unix:", "unix:/no/such/directory/socket"
	};
	char		long_path[200] = "unix:/tmp/";

	(void) state;
	memset(long_path + strlen(long_path), 'x', 150);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		const char *arguments[] = {"--engine", "memory", "--listen", wrong[i], NULL};

		assert_int_equal(status_of(arguments), FAILED);
	}
	{
		const char *arguments[] = {"--engine", "memory", "--listen", long_path, NULL};

		assert_int_equal(status_of(arguments), FAILED);
		assert_logged("the path has");
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_socket_is_ours_alone_and_goes_away),
		TEST(test_tcp_and_unix_together),
		TEST(test_a_port_that_is_taken),
		TEST(test_a_stale_socket_is_replaced),
		TEST(test_a_live_socket_is_refused),
		TEST(test_a_file_is_not_replaced),
		TEST(test_the_socket_of_another_is_left_alone),
		TEST(test_a_relative_path),
		TEST(test_addresses_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
