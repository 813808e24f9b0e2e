/*
 * test_server_crash.c - kill -9 of norikvd under load: every acknowledged write is
 * there afterwards, a Commit is whole or not at all, and no version comes twice.
 *
 * 20 rounds with NORIKV_STRESS=1, else 2.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/ext_calls.h"
#include "support/own_norikvd.h"

#define N_WRITERS 4
#define N_KEYS 50				/* of one writer: they are written over and over */
#define COMMIT_KEYS 3
/* A round ends when so many writes were acknowledged. */
#define ACKNOWLEDGED 1500

typedef struct written
{
	uint64_t	number;			/* of the last write that was acknowledged; 0: none */
	kv_version	version;
	uint64_t	tried;			/* of the last write that was sent */
} written;

typedef struct writer
{
	int			id;
	wire_client *client;
	pthread_t	thread;
	uint64_t	number;
	written		keys[N_KEYS];
} writer;

static writer writers[N_WRITERS];
static atomic_uint acknowledged;
static atomic_bool stopping;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static kv_version *versions;	/* every one that was acknowledged */
static size_t n_versions;
static size_t versions_room;

static void
note_version(kv_version version)
{
	pthread_mutex_lock(&lock);
	if (n_versions == versions_room)
	{
		versions_room = versions_room * 2 + 1024;
		versions = realloc(versions, versions_room * sizeof(*versions));
	}
	versions[n_versions++] = version;
	pthread_mutex_unlock(&lock);
	atomic_fetch_add(&acknowledged, 1);
}

static size_t
name_key(char *name, const writer *self, size_t key, int part)
{
	return (size_t) sprintf(name, "w%d/%zu/%d", self->id, key, part);
}

/* The version of the write, or index 0 where it was not acknowledged. */
static kv_version
write_one(writer *self, size_t key, const char *value)
{
	char		name[64];
	char		idempotency_key[64];
	kv_put_options options = {.idempotency_key = idempotency_key,.timeout_ms = 10000};
	kv_key		slice = {name, name_key(name, self, key, 0)};

	sprintf(idempotency_key, "~nk1/6ba7b810-9dad-11d1-80b4-00c04fd430c8/%d/%llu",
			self->id, (unsigned long long) self->number);
	return kv_call_put(self->client, slice, value, strlen(value), &options).version;
}

static kv_version
commit_some(writer *self, size_t key, const char *value)
{
	char		names[COMMIT_KEYS][64];
	Norikv__Ext__V1__Operation ops[COMMIT_KEYS];
	Norikv__Ext__V1__CommitResponse *answer;
	kv_version	version = {0, 0};
	wire_stream *stream;

	for (int part = 0; part < COMMIT_KEYS; part++)
	{
		name_key(names[part], self, key, part);
		ops[part] = put_operation(names[part], value);
	}
	stream = commit(self->client, ops, COMMIT_KEYS, true, NULL, &answer);
	if (answer != NULL && answer->applied)
		version = (kv_version) {answer->results[0]->version_term,
			answer->results[0]->version_index};
	wire_free(stream);
	return version;
}

/* The last writer commits several keys at once, the others put. */
static bool
commits(const writer *self)
{
	return self->id == N_WRITERS - 1;
}

static void *
keep_writing(void *arg)
{
	writer	   *self = arg;

	while (!atomic_load(&stopping))
	{
		size_t		key = ++self->number % N_KEYS;
		char		value[64];
		kv_version	version;

		sprintf(value, "%llu", (unsigned long long) self->number);
		self->keys[key].tried = self->number;
		version = commits(self) ? commit_some(self, key, value)
			: write_one(self, key, value);
		if (version.index == 0)
			continue;
		self->keys[key].number = self->number;
		self->keys[key].version = version;
		note_version(version);
	}
	return NULL;
}

/* ---- After the crash ---- */

static void
check_key(writer *self, size_t key)
{
	const written *expected = &self->keys[key];
	uint64_t	first = 0;

	for (int part = 0; part < (commits(self) ? COMMIT_KEYS : 1); part++)
	{
		char		name[64];
		kv_key		slice = {name, name_key(name, self, key, part)};
		kv_reply	reply = kv_call_get(self->client, slice, NULL);
		uint64_t	number = strtoull(reply.value, NULL, 10);

		assert_int_equal(reply.code, GRPC_STATUS_OK);
		free(reply.value);
		if (number < expected->number || number > expected->tried)
			fail_msg("%s is %llu; %llu was acknowledged, %llu was tried", name,
					 (unsigned long long) number, (unsigned long long) expected->number,
					 (unsigned long long) expected->tried);
		if (number == expected->number && number != 0)
			assert_int_equal(reply.version.index, expected->version.index);
		if (part == 0)
			first = number;
		else if (number != first)
			fail_msg("%s is %llu, and another key of its Commit is %llu", name,
					 (unsigned long long) number, (unsigned long long) first);
	}
}

static int
compare_versions(const void *a, const void *b)
{
	const kv_version *x = a;
	const kv_version *y = b;

	if (x->term != y->term)
		return x->term < y->term ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static void
check_versions(void)
{
	qsort(versions, n_versions, sizeof(*versions), compare_versions);
	for (size_t i = 1; i < n_versions; i++)
	{
		/* The index alone never comes again either. */
		if (versions[i].index <= versions[i - 1].index)
			fail_msg("version %llu/%llu was given out after %llu/%llu",
					 (unsigned long long) versions[i].term,
					 (unsigned long long) versions[i].index,
					 (unsigned long long) versions[i - 1].term,
					 (unsigned long long) versions[i - 1].index);
	}
}

static void
start_server(norikvd *server)
{
	const char *const arguments[] = {
		"--data-dir", data_dir, "--listen", address, "--listen", "127.0.0.1:0", NULL
	};
	char		tcp[64] = "";

	assert_true(norikvd_start(server, log_path, arguments));
	assert_int_equal(sscanf(server->ready, "ready %*s %63s", tcp), 1);
	for (int i = 0; i < N_WRITERS; i++)
		writers[i].client = wire_client_open(i % 2 == 0 ? address : tcp);
}

static void
crash_under_load(norikvd *server, unsigned *seed)
{
	atomic_store(&acknowledged, 0);
	atomic_store(&stopping, false);
	for (int i = 0; i < N_WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i].thread, NULL, keep_writing,
										&writers[i]), 0);
	while (atomic_load(&acknowledged) < ACKNOWLEDGED)
		usleep(1000 + rand_r(seed) % 2000);
	assert_int_equal(norikvd_stop(server, SIGKILL), 128 + SIGKILL);
	atomic_store(&stopping, true);
	for (int i = 0; i < N_WRITERS; i++)
	{
		pthread_join(writers[i].thread, NULL);
		wire_client_close(writers[i].client);
	}
}

static void
test_kill_9_under_load(void **state)
{
	int			rounds = getenv("NORIKV_STRESS") != NULL ? 20 : 2;
	unsigned	seed = (unsigned) time(NULL);
	norikvd		server;

	(void) state;
	for (int i = 0; i < N_WRITERS; i++)
		writers[i].id = i;
	start_server(&server);
	for (int round = 0; round < rounds; round++)
	{
		crash_under_load(&server, &seed);
		start_server(&server);
		for (int i = 0; i < N_WRITERS; i++)
		{
			for (size_t key = 0; key < N_KEYS; key++)
				check_key(&writers[i], key);
		}
		check_versions();
	}
	for (int i = 0; i < N_WRITERS; i++)
		wire_client_close(writers[i].client);
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
	free(versions);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_9_under_load),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
