/*
 * own_norikvd.h - for programs whose tests each start a norikvd and see it end:
 * where it works, whether it answers, what it said. Include it once, after cmocka.h.
 */
#ifndef NORIKV_TESTS_OWN_NORIKVD_H
#define NORIKV_TESTS_OWN_NORIKVD_H

#include <stdio.h>
#include <sys/stat.h>

#include "../../support/kv_calls.h"
#include "../../support/norikvd.h"

static char directory[256];
static char log_path[300];
static char data_dir[300];
static char socket_path[300];
static char address[310];

static int
set_up(void **state)
{
	(void) state;
	work_dir_make(directory, sizeof(directory));
	snprintf(log_path, sizeof(log_path), "%s/log", directory);
	snprintf(data_dir, sizeof(data_dir), "%s/data", directory);
	snprintf(socket_path, sizeof(socket_path), "%s/socket", directory);
	snprintf(address, sizeof(address), "unix:%s", socket_path);
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	work_dir_remove(directory);
	return 0;
}

static inline bool
start_memory(norikvd *server)
{
	return norikvd_start_memory(server, directory, NULL);
}

static inline bool
answers(const char *target)
{
	wire_client *client = wire_client_open(target);
	kv_put_options options = {.timeout_ms = 5000};
	kv_reply	reply = kv_call_put(client, KV_KEY("k"), "v", 1, &options);

	wire_client_close(client);
	return reply.code == GRPC_STATUS_OK;
}

static inline bool
exists(const char *path)
{
	struct stat status;

	return lstat(path, &status) == 0;
}

/* Starts norikvd, which must not come up, and gives its exit status. */
static inline int
status_of(const char *const *arguments)
{
	norikvd		server;

	assert_false(norikvd_start(&server, log_path, arguments));
	return norikvd_wait(&server);
}

static inline void
assert_logged(const char *text)
{
	norikvd		any = {0};

	snprintf(any.errors, sizeof(any.errors), "%s", log_path);
	if (!norikvd_said(&any, text))
		fail_msg("the log does not say \"%s\"", text);
}

#endif
