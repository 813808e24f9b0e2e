/*
 * watch_bench.c - how long a change takes to those who watch: keys with a watcher each
 * are put one after the other, and the time runs from the start of the put to its
 * answer, and to the watcher's.
 */
#include "bench.h"

#include <getopt.h>
#include <unistd.h>

#include "norikv.h"

static const char *nodes;
static unsigned n_watchers = 5000;
static unsigned n_puts = 2000;
static unsigned hold_s;			/* only watches, for so long */

static norikv_call *
start_watch(norikv_client *client, unsigned number)
{
	char		key[32];
	char		end[NORIKV_WATCH_END_SIZE];
	norikv_watch_request request = {.start = {key, 0}};

	request.start.size = (size_t) snprintf(key, sizeof(key), "watched/%u", number);
	request.end = norikv_key_end(request.start, end);
	return norikv_watch(client, &request, NULL);
}

static void
fail(const char *what, const norikv_error *error)
{
	fprintf(stderr, "watch_bench: %s: %s\n", what, error->text);
	exit(1);
}

static norikv_client *
connect_to_server(void)
{
	norikv_options options;
	norikv_error error;
	norikv_client *client;

	norikv_options_init(&options);
	options.nodes = nodes;
	options.timeout_ms = 30000;
	client = norikv_client_new(&options, &error);
	if (client == NULL)
		fail("client", &error);
	return client;
}

static void
await_page(norikv_client *client, norikv_call *watch)
{
	norikv_wait(client, &watch, 1, -1);
	if (norikv_call_changes(watch) == NULL)
		fail("watch", norikv_call_error(watch));
	norikv_call_next(watch);
}

static int
compare_times(const void *a, const void *b)
{
	const uint64_t *left = a;
	const uint64_t *right = b;

	return (*left > *right) - (*left < *right);
}

static void
print_times(const char *what, uint64_t *times)
{
	qsort(times, n_puts, sizeof(*times), compare_times);
	printf("%s: median %.1f us, 99 %% %.1f us\n", what, times[n_puts / 2] / 1e3,
		   times[n_puts - 1 - n_puts / 100] / 1e3);
}

/* The watcher's thread is ours, so the writer's answer is looked for first. */
static void
measure(norikv_client **clients, norikv_call **watches)
{
	norikv_client *writer = connect_to_server();
	uint64_t   *answered = calloc(n_puts, sizeof(*answered));
	uint64_t   *told = calloc(n_puts, sizeof(*told));

	for (unsigned i = 0; i < n_puts; i++)
	{
		unsigned	number = i * 7919u % n_watchers;
		char		key[32];
		norikv_operation put = {.kind = NORIKV_OP_PUT, .key = {key, 0}};
		norikv_call *call;
		uint64_t	began = bench_now();

		put.key.size = (size_t) snprintf(key, sizeof(key), "watched/%u", number);
		call = norikv_write(writer, &put, NULL);
		norikv_wait(writer, &call, 1, -1);
		answered[i] = bench_now() - began;
		if (norikv_call_error(call)->code != NORIKV_OK)
			fail("put", norikv_call_error(call));
		norikv_call_free(call);
		await_page(clients[number / NORIKV_MAX_WATCHES], watches[number]);
		told[i] = bench_now() - began;
	}
	print_times("put answered after", answered);
	print_times("watcher told after", told);
	norikv_client_free(writer);
	free(answered);
	free(told);
}

int
main(int argc, char **argv)
{
	norikv_client **clients;
	norikv_call **watches;
	unsigned	n_clients;
	int			option;

	while ((option = getopt(argc, argv, "t:w:n:h:")) != -1)
	{
		if (option == 't')
			nodes = optarg;
		else if (option == 'w')
			n_watchers = (unsigned) atoi(optarg);
		else if (option == 'n')
			n_puts = (unsigned) atoi(optarg);
		else if (option == 'h')
			hold_s = (unsigned) atoi(optarg);
		else
			nodes = NULL;
	}
	if (nodes == NULL || n_watchers == 0 || n_puts == 0)
	{
		fputs("usage: watch_bench -t NODES [-w WATCHERS] [-n PUTS] [-h SECONDS]\n", stderr);
		return 2;
	}
	n_clients = (n_watchers + NORIKV_MAX_WATCHES - 1) / NORIKV_MAX_WATCHES;
	clients = calloc(n_clients, sizeof(*clients));
	watches = calloc(n_watchers, sizeof(*watches));
	for (unsigned i = 0; i < n_clients; i++)
		clients[i] = connect_to_server();
	for (unsigned i = 0; i < n_watchers; i++)
		watches[i] = start_watch(clients[i / NORIKV_MAX_WATCHES], i);
	for (unsigned i = 0; i < n_watchers; i++)
		await_page(clients[i / NORIKV_MAX_WATCHES], watches[i]);
	printf("%u watchers on %u connections\n", n_watchers, n_clients);
	fflush(stdout);
	if (hold_s > 0)
		sleep(hold_s);
	else
		measure(clients, watches);
	for (unsigned i = 0; i < n_clients; i++)
		norikv_client_free(clients[i]);
	free(watches);
	free(clients);
	return 0;
}
