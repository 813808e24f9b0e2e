/*
 * test_server_vector_crash.c - kill -9 of norikvd while vectors are written, deleted
 * and whole indexes dropped and created again. Afterwards every acknowledged vector
 * is there, none that was deleted or dropped is, searches and gets say the same, and
 * the first search is right, whether a snapshot was there or not; and so are searches of
 * the graph, once it is whole again.
 *
 * 20 rounds with NORIKV_STRESS=1, else 3.
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

#include "norikv.h"
#include "support/own_norikvd.h"

#define DIMENSIONS 16
#define N_WRITERS 3
#define N_IDS 400				/* of one writer: they are written over and over */
#define N_STILL 10000			/* are there all the time: enough for a graph */
#define FIRST_STILL 1000000		/* their numbers */
#define ACKNOWLEDGED 3000		/* then the server is killed */

/* What became of an id: the number that its vector has, 0 where it is absent. */
typedef struct fate
{
	uint32_t	acknowledged;
	uint32_t	tried;			/* the same, or a write whose answer did not come */
} fate;

typedef struct writer
{
	int			id;
	pthread_t	thread;
	uint32_t	number;
	fate		fates[N_IDS];
} writer;

static writer writers[N_WRITERS];
static uint32_t generation;		/* of the index that comes and goes: acknowledged */
static uint32_t generation_tried;
static atomic_uint acknowledged;
static atomic_bool stopping;
static const norikv_slice space = {"vectors", 7};
static const norikv_slice passing = {"passing", 7};

static norikv_client *
open_client(void)
{
	norikv_options options;
	norikv_error error;
	norikv_client *client;

	norikv_options_init(&options);
	options.nodes = address;
	options.timeout_ms = 20000;
	client = norikv_client_new(&options, &error);
	assert_non_null(client);
	return client;
}

/* Those that write do not ask again: the server will be another one. */
static norikv_client *
open_writing_client(void)
{
	norikv_options options;
	norikv_error error;

	norikv_options_init(&options);
	options.nodes = address;
	options.max_retries = 0;
	return norikv_client_new(&options, &error);
}

static bool
went_well(norikv_client *client, norikv_call *call)
{
	bool		good;

	norikv_wait(client, &call, 1, -1);
	good = norikv_call_error(call)->code == NORIKV_OK;
	norikv_call_free(call);
	return good;
}

static void
make_vector(uint32_t number, float *vector)
{
	for (int i = 0; i < DIMENSIONS; i++)
		vector[i] = (float) ((number * 2654435761u >> i) & 1023);
	vector[0] = (float) number;
}

static norikv_call *
insert(norikv_client *client, norikv_slice into, const char *id, uint32_t number)
{
	float		vector[DIMENSIONS];

	make_vector(number, vector);
	return norikv_vector_insert(client, into, NORIKV_SLICE(id), vector, DIMENSIONS, NULL);
}

static void
insert_still(norikv_client *client)
{
	enum { A_TIME = 1000 };
	static float vectors[A_TIME][DIMENSIONS];
	static char ids[A_TIME][16];
	norikv_operation operations[A_TIME];

	for (uint32_t from = 0; from < N_STILL; from += A_TIME)
	{
		for (uint32_t i = 0; i < A_TIME; i++)
		{
			make_vector(FIRST_STILL + from + i, vectors[i]);
			sprintf(ids[i], "still/%u", from + i);
			operations[i] = (norikv_operation) {.kind = NORIKV_OP_VECTOR_PUT,
				.vector_namespace = space, .key = NORIKV_SLICE(ids[i]),
				.vector = vectors[i], .dimensions = DIMENSIONS};
		}
		assert_true(went_well(client, norikv_commit(client, operations, A_TIME, true,
													NULL)));
	}
}

/* ---- Under load ---- */

static void *
keep_writing(void *arg)
{
	writer	   *self = arg;
	norikv_client *client = open_writing_client();

	while (!atomic_load(&stopping))
	{
		fate	   *of = &self->fates[rand() % N_IDS];
		bool		deletes = rand() % 4 == 0;
		char		id[32];

		sprintf(id, "%d/%03d", self->id, (int) (of - self->fates));
		of->tried = deletes ? 0 : ++self->number;
		if (!went_well(client, deletes
					   ? norikv_vector_delete(client, space, NORIKV_SLICE(id), NULL)
					   : insert(client, space, id, of->tried)))
			break;
		of->acknowledged = of->tried;
		atomic_fetch_add(&acknowledged, 1);
	}
	norikv_client_free(client);
	return NULL;
}

/* Drops the index, and fills a new one of the same name. */
static void *
keep_dropping(void *arg)
{
	norikv_client *client = open_writing_client();

	(void) arg;
	while (!atomic_load(&stopping))
	{
		char		id[32];
		bool		good;

		generation_tried++;
		good = went_well(client, norikv_vector_drop_index(client, passing, NULL)) &&
			went_well(client, norikv_vector_create_index(client, passing, DIMENSIONS,
														 NORIKV_COSINE, NORIKV_HNSW,
														 NULL));
		for (int i = 0; i < 20 && good; i++)
		{
			sprintf(id, "%u/%d", generation_tried, i);
			good = went_well(client, insert(client, passing, id, generation_tried));
		}
		if (!good)
			break;
		generation = generation_tried;
	}
	norikv_client_free(client);
	return NULL;
}

static void
start_server(norikvd *server)
{
	const char *const arguments[] = {"--data-dir", data_dir, "--listen", address, NULL};

	assert_true(norikvd_start(server, log_path, arguments));
}

static void
crash_under_load(norikvd *server)
{
	pthread_t	dropper;

	atomic_store(&acknowledged, 0);
	atomic_store(&stopping, false);
	for (int i = 0; i < N_WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i].thread, NULL, keep_writing,
										&writers[i]), 0);
	assert_int_equal(pthread_create(&dropper, NULL, keep_dropping, NULL), 0);
	while (atomic_load(&acknowledged) < ACKNOWLEDGED)
		usleep(1000 + rand() % 2000);
	assert_int_equal(norikvd_stop(server, SIGKILL), 128 + SIGKILL);
	atomic_store(&stopping, true);
	for (int i = 0; i < N_WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	pthread_join(dropper, NULL);
}

/* ---- After the crash ---- */

/* Those that are there all the time, too. */
static bool
is_still(const norikv_vector *match)
{
	int			number;

	if (sscanf(match->id.data, "still/%d", &number) != 1)
		return false;
	assert_in_range(number, 0, N_STILL - 1);
	assert_int_equal((uint32_t) match->vector[0], FIRST_STILL + number);
	return true;
}

/* All that a search finds: the numbers, by writer and id. */
static void
search_all(norikv_client *client, uint32_t found[N_WRITERS][N_IDS])
{
	float		query[DIMENSIONS] = {1};
	norikv_search_request request = {.space = space, .query = query,
		.dimensions = DIMENSIONS, .k = 2 * (N_WRITERS * N_IDS + N_STILL),
		.include_vectors = true};
	norikv_call *call = norikv_vector_search(client, &request, NULL);
	const norikv_vector *matches;
	size_t		n_still = 0;
	size_t		n;

	memset(found, 0, sizeof(uint32_t) * N_WRITERS * N_IDS);
	norikv_wait(client, &call, 1, -1);
	if (norikv_call_error(call)->code != NORIKV_OK)
		fail_msg("%s", norikv_call_error(call)->text);
	matches = norikv_call_vectors(call, &n);
	for (size_t i = 0; i < n; i++)
	{
		int			of;
		int			number;

		if (is_still(&matches[i]))
		{
			n_still++;
			continue;
		}
		assert_int_equal(sscanf(matches[i].id.data, "%d/%d", &of, &number), 2);
		assert_int_equal(found[of][number], 0);
		found[of][number] = (uint32_t) matches[i].vector[0];
	}
	assert_int_equal(n_still, N_STILL);
	norikv_call_free(call);
}

static uint32_t
get(norikv_client *client, const char *id)
{
	norikv_call *call = norikv_vector_get(client, space, NORIKV_SLICE(id), NULL);
	const norikv_vector *vector;
	uint32_t	number;
	size_t		n;

	norikv_wait(client, &call, 1, -1);
	vector = norikv_call_vectors(call, &n);
	assert_int_equal(n, 1);
	number = vector->found ? (uint32_t) vector->vector[0] : 0;
	norikv_call_free(call);
	return number;
}

static void
check_vectors(norikv_client *client)
{
	static uint32_t found[N_WRITERS][N_IDS];

	search_all(client, found);
	for (int i = 0; i < N_WRITERS; i++)
	{
		for (int j = 0; j < N_IDS; j++)
		{
			fate	   *of = &writers[i].fates[j];
			char		id[32];

			sprintf(id, "%d/%03d", i, j);
			if (found[i][j] != of->acknowledged && found[i][j] != of->tried)
				fail_msg("%s is %u; %u was acknowledged, %u was tried", id, found[i][j],
						 of->acknowledged, of->tried);
			if (get(client, id) != found[i][j])
				fail_msg("%s is %u for a search, and %u for a get", id, found[i][j],
						 get(client, id));
			of->acknowledged = of->tried = found[i][j];
		}
	}
}

static void
wait_until_linked(norikv_client *client)
{
	for (bool linked = false; !linked;)
	{
		norikv_call *call = norikv_vector_list(client, space, NULL);
		const norikv_vector_index *indexes;
		size_t		n;

		norikv_wait(client, &call, 1, -1);
		indexes = norikv_call_indexes(call, &n);
		assert_int_equal(n, 1);
		linked = indexes->pending == 0;
		norikv_call_free(call);
		usleep(10000);
	}
}

/* Whether an id's own vector leads to it; whatever is found is as it was written. */
static bool
is_found_in_graph(norikv_client *client, int of, int number, uint32_t value)
{
	float		query[DIMENSIONS];
	norikv_search_request request = {.space = space, .query = query,
		.dimensions = DIMENSIONS, .k = 5, .include_vectors = true};
	norikv_call *call;
	const norikv_vector *matches;
	bool		found = false;
	size_t		n;

	make_vector(value, query);
	call = norikv_vector_search(client, &request, NULL);
	norikv_wait(client, &call, 1, -1);
	assert_int_equal(norikv_call_error(call)->code, NORIKV_OK);
	assert_false(norikv_call_exact(call));
	matches = norikv_call_vectors(call, &n);
	assert_int_equal(n, 5);
	for (size_t i = 0; i < n; i++)
	{
		int			match_of;
		int			match_number;

		if (is_still(&matches[i]))
			continue;
		assert_int_equal(sscanf(matches[i].id.data, "%d/%d", &match_of, &match_number), 2);
		assert_int_equal((uint32_t) matches[i].vector[0],
						 writers[match_of].fates[match_number].acknowledged);
		found = found || (match_of == of && match_number == number);
	}
	norikv_call_free(call);
	return found;
}

/* The fates are known: nobody writes. */
static void
check_graph(norikv_client *client)
{
	unsigned	asked = 0;
	unsigned	found = 0;

	wait_until_linked(client);
	for (int i = 0; i < N_WRITERS; i++)
	{
		for (int j = 0; j < N_IDS; j++)
		{
			uint32_t	value = writers[i].fates[j].acknowledged;

			if (value == 0)
				continue;
			asked++;
			found += is_found_in_graph(client, i, j, value);
		}
	}
	if (found < asked * 0.98)
		fail_msg("of %u vectors the graph finds %u", asked, found);
}

/* What it has is of one generation, the acknowledged one or a later. */
static void
check_passing(norikv_client *client)
{
	float		query[DIMENSIONS] = {1};
	norikv_search_request request = {.space = passing, .query = query,
		.dimensions = DIMENSIONS, .k = 1000};
	norikv_call *call = norikv_vector_search(client, &request, NULL);
	const norikv_vector *matches;
	uint32_t	first = 0;
	size_t		n;

	norikv_wait(client, &call, 1, -1);
	if (norikv_call_error(call)->code == NORIKV_NOT_FOUND)
		assert_true(generation_tried > generation);
	else
		assert_int_equal(norikv_call_error(call)->code, NORIKV_OK);
	matches = norikv_call_vectors(call, &n);
	for (size_t i = 0; i < n; i++)
	{
		uint32_t	of = (uint32_t) strtoul(matches[i].id.data, NULL, 10);

		first = i == 0 ? of : first;
		assert_int_equal(of, first);
	}
	if (generation_tried == generation)
		assert_int_equal(n, generation > 0 ? 20 : 0);
	if (n > 0)
		assert_in_range(first, generation, generation_tried);
	/* What was left half done is not looked at again. */
	generation = generation_tried - 1;
	norikv_call_free(call);
}

static void
test_kill_9_under_load(void **state)
{
	int			rounds = getenv("NORIKV_STRESS") != NULL ? 20 : 3;
	norikvd		server;
	norikv_client *client;

	(void) state;
	srand((unsigned) time(NULL));
	start_server(&server);
	for (int i = 0; i < N_WRITERS; i++)
		writers[i].id = i;
	client = open_client();
	assert_true(went_well(client, norikv_vector_create_index(client, space, DIMENSIONS,
															 NORIKV_EUCLIDEAN,
															 NORIKV_HNSW, NULL)));
	insert_still(client);
	norikv_client_free(client);
	for (int round = 0; round < rounds; round++)
	{
		crash_under_load(&server);
		start_server(&server);
		client = open_client();
		check_vectors(client);
		check_passing(client);
		check_graph(client);
		norikv_client_free(client);
		/* Now and then a snapshot, which is an old one after the next crash. */
		if (round % 2 == 0)
		{
			assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
			start_server(&server);
		}
	}
	assert_int_equal(norikvd_stop(&server, SIGTERM), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_9_under_load),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
