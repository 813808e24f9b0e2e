/*
 * shared_norikvd.h - for programs whose tests share one norikvd of little memory,
 * and one client. Include it once, after cmocka.h.
 */
#ifndef NORIKV_TESTS_SHARED_NORIKVD_H
#define NORIKV_TESTS_SHARED_NORIKVD_H

#include <stdio.h>
#include <string.h>

#include "../../support/ext_calls.h"
#include "../../support/kv_calls.h"
#include "../../support/norikvd.h"

static char directory[256];
static norikvd server;
static wire_client *client;

static int
start(void **state)
{
	/* The least there is: 8 MiB for staged Commits, 4 for one connection. */
	static const char *const more[] = {"--max-memory", "16m", NULL};
	char		target[300];

	(void) state;
	work_dir_make(directory, sizeof(directory));
	if (!norikvd_start_memory(&server, directory, more))
		return -1;
	snprintf(target, sizeof(target), "unix:%s/socket", directory);
	client = wire_client_open(target);
	return 0;
}

static int
stop(void **state)
{
	int			status;

	(void) state;
	wire_client_close(client);
	status = norikvd_end(&server);
	work_dir_remove(directory);
	return status;
}

static inline void
assert_status(wire_stream *stream, grpc_status_code code, const char *text)
{
	assert_int_equal(wire_status(stream), code);
	if (strstr(wire_status_text(stream), text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", wire_status_text(stream), text);
	wire_free(stream);
}

#endif
