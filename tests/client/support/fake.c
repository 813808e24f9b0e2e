/*
 * fake.c - a client and one or two fake servers to test it against.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake.h"

#define LONGEST_WAIT_MS 60000
#define MAX_ARGUMENTS 32

int
fake_setup(void **state)
{
	fake_scene *scene = calloc(1, sizeof(*scene));
	char		dir[sizeof(scene->dir)];

	work_dir_make(dir, sizeof(dir));
	for (int i = 0; i < FAKE_SERVERS; i++)
		snprintf(scene->nodes[i], sizeof(scene->nodes[i]), "unix:%s/%d", dir, i);
	memcpy(scene->dir, dir, sizeof(dir));
	norikv_options_init(&scene->options);
	/* a busy machine is no fault; tests that need less say so */
	scene->options.timeout_ms = 30000;
	scene->options.attempt_timeout_ms = 10000;
	*state = scene;
	return 0;
}

int
fake_teardown(void **state)
{
	fake_scene *scene = *state;

	norikv_client_free(scene->client);
	for (int i = 0; i < FAKE_SERVERS; i++)
		fake_stop(scene, i);
	work_dir_remove(scene->dir);
	free(scene);
	return 0;
}

void
fake_start(fake_scene *scene, int server, ...)
{
	const char *arguments[MAX_ARGUMENTS] = {"--listen", scene->nodes[server]};
	va_list		args;
	int			n = 2;

	va_start(args, server);
	while (n < MAX_ARGUMENTS && (arguments[n] = va_arg(args, const char *)) != NULL)
		n++;
	va_end(args);
	assert_true(n < MAX_ARGUMENTS);
	unlink(scene->nodes[server] + strlen("unix:"));
	assert_true(
		program_start(&scene->servers[server], "tests/tools/fake_norikv", arguments));
}

void
fake_start_norikvd(fake_scene *scene)
{
	const char *arguments[] = {"--listen", scene->nodes[0], "--engine", "memory",
	"--log-level", "error", NULL};

	assert_true(program_start(&scene->servers[0], "norikvd", arguments));
}

int
fake_setup_norikvd(void **state)
{
	fake_setup(state);
	fake_start_norikvd(*state);
	fake_open(*state, 0, 1);
	return 0;
}

void
fake_stop(fake_scene *scene, int server)
{
	program_stop(&scene->servers[server], SIGKILL, NULL, 0);
}

void
fake_open(fake_scene *scene, int first, int count)
{
	char		nodes[FAKE_SERVERS * 300] = "";
	norikv_error error;

	norikv_client_free(scene->client);
	for (int i = first; i < first + count; i++)
		sprintf(nodes + strlen(nodes), "%s%s", i > first ? "," : "", scene->nodes[i]);
	scene->options.nodes = nodes;
	scene->client = norikv_client_new(&scene->options, &error);
	scene->options.nodes = NULL;
	assert_non_null(scene->client);
}

void
fake_ask(fake_scene *scene, int server, const char *what, char *out, size_t size)
{
	norikv_options options;
	norikv_client *client;
	norikv_call *call;
	char		key[64];

	snprintf(key, sizeof(key), "fake:%s", what);
	norikv_options_init(&options);
	options.nodes = scene->nodes[server];
	client = norikv_client_new(&options, NULL);
	assert_non_null(client);
	call = norikv_get(client, NORIKV_SLICE(key), NULL);
	assert_int_equal(norikv_wait(client, &call, 1, LONGEST_WAIT_MS), NORIKV_WAIT_DONE);
	assert_int_equal(norikv_call_error(call)->code, NORIKV_OK);
	snprintf(out, size, "%.*s", (int) norikv_call_entry(call)->value.size,
			 (const char *) norikv_call_entry(call)->value.data);
	norikv_call_free(call);
	norikv_client_free(client);
}

int
fake_count(fake_scene *scene, int server, const char *what)
{
	char		text[32];

	fake_ask(scene, server, what, text, sizeof(text));
	return atoi(text);
}

norikv_call *
fake_wait(fake_scene *scene, norikv_call *call)
{
	assert_int_equal(norikv_wait(scene->client, &call, 1, LONGEST_WAIT_MS),
					 NORIKV_WAIT_DONE);
	assert_true(norikv_call_done(call));
	return call;
}

norikv_call *
fake_wait_ok(fake_scene *scene, norikv_call *call)
{
	fake_wait(scene, call);
	if (norikv_call_error(call)->code != NORIKV_OK)
		fail_msg("%s", norikv_call_error(call)->text);
	return call;
}

norikv_operation
fake_put(const char *key, const char *value)
{
	return (norikv_operation) {
		.kind = NORIKV_OP_PUT,
		.key = NORIKV_SLICE(key),
		.value = NORIKV_SLICE(value),
	};
}

norikv_version
fake_put_now(fake_scene *scene, const char *key, const char *value)
{
	norikv_operation put = fake_put(key, value);
	norikv_call *call = fake_wait_ok(scene, norikv_write(scene->client, &put, NULL));
	norikv_version version;
	size_t		n;

	version = norikv_call_results(call, &n)->version;
	assert_int_equal(n, 1);
	norikv_call_free(call);
	return version;
}

void
fake_expect(fake_scene *scene, const char *key, const char *value)
{
	norikv_call *call = fake_wait_ok(scene, norikv_get(scene->client, NORIKV_SLICE(key),
														NULL));
	const norikv_entry *entry = norikv_call_entry(call);

	if (value == NULL)
		assert_int_equal(entry->version.index, 0);
	else
	{
		assert_int_not_equal(entry->version.index, 0);
		assert_int_equal(entry->value.size, strlen(value));
		assert_memory_equal(entry->value.data, value, entry->value.size);
	}
	norikv_call_free(call);
}
