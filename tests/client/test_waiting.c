/*
 * test_waiting.c - many calls in one wait, waits that are interrupted, calls that are
 * given up, and connections over TCP.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fake.h"

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Waiting ---- */

typedef struct hook_state
{
	int			calls;
	int			stop_at;
} hook_state;

static bool
hook(void *arg)
{
	hook_state *hooked = arg;

	return ++hooked->calls >= hooked->stop_at;
}

static void
test_hook(void **state)
{
	fake_scene *scene = *state;
	hook_state	hooked = {0, 3};
	norikv_call *call;
	int64_t		start;

	fake_start(scene, 0, "--hang", "-1", NULL);
	scene->options.wait_hook = hook;
	scene->options.wait_hook_arg = &hooked;
	scene->options.attempt_timeout_ms = 10000;
	scene->options.timeout_ms = 10000;
	fake_open(scene, 0, 1);
	call = norikv_get(scene->client, NORIKV_SLICE("k"), NULL);
	start = now_ms();
	assert_int_equal(norikv_wait(scene->client, &call, 1, -1), NORIKV_WAIT_INTERRUPTED);
	assert_int_equal(hooked.calls, 3);
	/* that a cancel comes back soon is the point of it */
	assert_true(now_ms() - start < 1000);
	assert_false(norikv_call_done(call));
	norikv_call_free(call);
	start = now_ms();
	norikv_client_free(scene->client);
	scene->client = NULL;
	assert_true(now_ms() - start < 2000);
}

/* The hook is called in every kind of wait: for a connection, and between tries. */
static void
test_hook_everywhere(void **state)
{
	fake_scene *scene = *state;
	hook_state	hooked = {0, 5};
	norikv_call *call;

	scene->options.wait_hook = hook;
	scene->options.wait_hook_arg = &hooked;
	fake_open(scene, 0, 1);		/* nobody there */
	call = norikv_get(scene->client, NORIKV_SLICE("k"), NULL);
	assert_int_equal(norikv_wait(scene->client, &call, 1, -1), NORIKV_WAIT_INTERRUPTED);
	norikv_call_free(call);
	fake_start(scene, 0, "--not-leader", "1", NULL);
	hooked.calls = 0;
	call = norikv_get(scene->client, NORIKV_SLICE("k"), NULL);
	assert_int_equal(norikv_wait(scene->client, &call, 1, -1), NORIKV_WAIT_INTERRUPTED);
	norikv_call_free(call);
}

static void
test_abandoned_calls(void **state)
{
	fake_scene *scene = *state;
	norikv_call *calls[200];

	fake_start(scene, 0, "--hang", "100", NULL);
	fake_open(scene, 0, 1);
	for (int round = 0; round < 3; round++)
	{
		norikv_operation put = fake_put("k", "v");

		for (int i = 0; i < 200; i++)
			calls[i] = i % 2 ? norikv_get(scene->client, NORIKV_SLICE("k"), NULL)
				: norikv_write(scene->client, &put, NULL);
		norikv_wait(scene->client, calls, 200, round * 20);
		/* every second one is given up, the others are the client's to free */
		for (int i = 0; i < 200; i += 2)
			norikv_call_free(calls[i]);
	}
	fake_put_now(scene, "k", "last");
	fake_expect(scene, "k", "last");
}

static void
test_many_at_once(void **state)
{
	enum
	{
		N = 1000
	};
	fake_scene *scene = *state;
	static norikv_call *calls[N];
	static char keys[N][16];
	norikv_call *none = NULL;

	fake_start(scene, 0, NULL);
	fake_open(scene, 0, 1);
	assert_int_equal(norikv_wait(scene->client, &none, 0, -1), NORIKV_WAIT_DONE);
	for (int i = 0; i < N; i++)
	{
		norikv_operation put;

		snprintf(keys[i], sizeof(keys[i]), "k%d", i);
		put = fake_put(keys[i], keys[i]);
		calls[i] = norikv_write(scene->client, &put, NULL);
	}
	assert_int_equal(norikv_wait(scene->client, calls, N, -1), NORIKV_WAIT_DONE);
	for (int i = 0; i < N; i++)
	{
		assert_int_equal(norikv_call_error(calls[i])->code, NORIKV_OK);
		norikv_call_free(calls[i]);
		calls[i] = norikv_get(scene->client, NORIKV_SLICE(keys[i]), NULL);
	}
	assert_int_equal(norikv_wait(scene->client, calls, N, -1), NORIKV_WAIT_DONE);
	for (int i = 0; i < N; i++)
	{
		assert_int_equal(norikv_call_entry(calls[i])->value.size, strlen(keys[i]));
		assert_memory_equal(norikv_call_entry(calls[i])->value.data, keys[i],
							strlen(keys[i]));
		norikv_call_free(calls[i]);
	}
}

/* Calls that wait for the first connection go out in the order they were made. */
static void
test_order(void **state)
{
	fake_scene *scene = *state;
	norikv_call *calls[20];
	char		values[20][32];

	fake_start(scene, 0, NULL);
	fake_open(scene, 0, 1);
	for (int i = 0; i < 20; i++)
	{
		norikv_operation put;

		snprintf(values[i], sizeof(values[i]), "%d", i);
		put = fake_put("k", values[i]);
		calls[i] = norikv_write(scene->client, &put, NULL);
	}
	assert_int_equal(norikv_wait(scene->client, calls, 20, -1), NORIKV_WAIT_DONE);
	for (int i = 0; i < 20; i++)
	{
		size_t		n;

		assert_int_equal(norikv_call_results(calls[i], &n)->version.index, i + 1);
		norikv_call_free(calls[i]);
	}
	fake_expect(scene, "k", "19");
}

static void
test_bytes(void **state)
{
	static char key[NORIKV_MAX_KEY];
	static char value[NORIKV_MAX_VALUE];
	fake_scene *scene = *state;
	const norikv_slice keys[] = {
		{key, sizeof(key)}, {"\0", 1}, {"\xff\xfe", 2}, {"e", 1}};
	const norikv_slice values[] = {{value, sizeof(value)}, {"a\0b", 3}, {"\xc3\x28", 2},
	{NULL, 0}};

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (char) (i * 7);
	memset(key, 0, sizeof(key));
	fake_start(scene, 0, NULL);
	fake_open(scene, 0, 1);
	for (int i = 0; i < 4; i++)
	{
		norikv_operation put = {
			.kind = NORIKV_OP_PUT, .key = keys[i], .value = values[i]};
		const norikv_entry *entry;
		norikv_call *call;

		norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &put, NULL)));
		call = fake_wait_ok(scene, norikv_get(scene->client, keys[i], NULL));
		entry = norikv_call_entry(call);
		assert_int_not_equal(entry->version.index, 0);
		assert_int_equal(entry->value.size, values[i].size);
		if (values[i].size > 0)
			assert_memory_equal(entry->value.data, values[i].data, values[i].size);
		assert_memory_equal(entry->key.data, keys[i].data, keys[i].size);
		norikv_call_free(call);
	}
}

/* ---- TCP ---- */

/* A port that nobody listened on a moment ago. */
static int
free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	size = sizeof(address);
	int			listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(listener, (struct sockaddr *) &address, size), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *) &address, &size), 0);
	close(listener);
	return ntohs(address.sin_port);
}

static void
test_tcp(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	/* after Info it goes on, with keepalive, on a new connection */
	snprintf(scene->nodes[0], sizeof(scene->nodes[0]), "127.0.0.1:%d", free_port());
	fake_start(scene, 0, "--ext", "1", "--capabilities", "keepalive,create", NULL);
	fake_open(scene, 0, 1);
	fake_put_now(scene, "k", "v");
	call = fake_wait_ok(scene, norikv_get_info(scene->client, NULL));
	assert_true(norikv_call_info(call)->create);
	norikv_call_free(call);
	fake_put_now(scene, "k", "w");
	fake_expect(scene, "k", "w");
	fake_stop(scene, 0);
	/* two attempts without an answer: the third is made on a new connection */
	snprintf(scene->nodes[0], sizeof(scene->nodes[0]), "127.0.0.1:%d", free_port());
	fake_start(scene, 0, "--hang", "2", NULL);
	scene->options.attempt_timeout_ms = 100;
	fake_open(scene, 0, 1);
	fake_put_now(scene, "k", "v");
	fake_stop(scene, 0);
	snprintf(scene->nodes[0], sizeof(scene->nodes[0]), "[::1]:%d", free_port());
	scene->options.timeout_ms = 200;
	fake_open(scene, 0, 1);
	call = fake_wait(scene, norikv_get(scene->client, NORIKV_SLICE("k"), NULL));
	assert_true(norikv_call_error(call)->never_sent);
	norikv_call_free(call);
}

/* One that takes connections and never says a word, then a server in its place. */
static void
test_silent_connection(void **state)
{
	fake_scene *scene = *state;
	struct sockaddr_in address = {.sin_family = AF_INET};
	int			port = free_port();
	int			listener = socket(AF_INET, SOCK_STREAM, 0);
	int			one = 1;
	norikv_call *call;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t) port);
	assert_int_equal(bind(listener, (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 10), 0);
	snprintf(scene->nodes[0], sizeof(scene->nodes[0]), "127.0.0.1:%d", port);
	fake_start(scene, 1, NULL);
	scene->options.connect_timeout_ms = 150;
	fake_open(scene, 0, 2);
	/* the second node answers, as the first one is not getting anywhere */
	fake_put_now(scene, "k", "v");
	scene->options.timeout_ms = 300;
	fake_open(scene, 0, 1);
	call = fake_wait(scene, norikv_get(scene->client, NORIKV_SLICE("k"), NULL));
	assert_true(norikv_call_error(call)->never_sent);
	norikv_call_free(call);
	close(listener);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_hook), TEST(test_hook_everywhere), TEST(test_abandoned_calls),
		TEST(test_many_at_once), TEST(test_bytes), TEST(test_order), TEST(test_tcp),
		TEST(test_silent_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
