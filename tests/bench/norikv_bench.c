/*
 * norikv_bench.c - load through libnorikv and nothing else: gets, puts, and
 * batches of either, so many in flight.
 */
#include "bench.h"

#include <getopt.h>

#include "norikv.h"

typedef enum work
{
	WORK_GET,
	WORK_PUT,
	WORK_ADD,
	WORK_MGET,
	WORK_MPUT,
	WORK_FILL					/* each key once, in order, as fast as it goes */
} work;

static const char *const work_names[] = {"get", "put", "add", "mget", "mput", "fill"};

typedef struct pending_call
{
	norikv_call *call;
	uint64_t	began_at;
} pending_call;

static const char *nodes;
static work kind = WORK_GET;
static double seconds = 3;
static double warm_up = 0.5;
static unsigned in_flight = 1;
static unsigned value_size = 100;
static unsigned batch_size = 10000;
static uint64_t keys = 100000;
static uint64_t fill_limit;		/* operations of a fill; 0: each key once */

static norikv_client *client;
static norikv_slice value;
static uint64_t filled;

/* Of one batch: keys and the operations on them. */
static char *batch_keys;
static norikv_slice *batch_slices;
static norikv_operation *batch_operations;

static void
batch_init(void)
{
	batch_keys = malloc((size_t) batch_size * BENCH_KEY_SIZE);
	batch_slices = calloc(batch_size, sizeof(*batch_slices));
	batch_operations = calloc(batch_size, sizeof(*batch_operations));
	for (unsigned i = 0; i < batch_size; i++)
	{
		norikv_slice key = {batch_keys + (size_t) i * BENCH_KEY_SIZE, BENCH_KEY_SIZE};

		batch_slices[i] = key;
		batch_operations[i] = (norikv_operation) {
			.kind = NORIKV_OP_PUT, .key = key, .value = value};
	}
}

/* Keys one after another from the first on, around the end. */
static void
batch_from(uint64_t first)
{
	for (unsigned i = 0; i < batch_size; i++)
		bench_key(batch_keys + (size_t) i * BENCH_KEY_SIZE, (first + i) % keys);
}

static norikv_call *
start_one(bench_run *bench)
{
	char		bytes[BENCH_KEY_SIZE];
	norikv_slice key = {bytes, sizeof(bytes)};
	norikv_operation put = {.kind = NORIKV_OP_PUT, .key = key, .value = value};
	norikv_operation add = {.kind = NORIKV_OP_ADD, .key = key, .delta = 1};

	bench_key(bytes, bench_random(bench, keys));
	if (kind == WORK_GET)
		return norikv_get(client, key, NULL);
	if (kind == WORK_PUT)
		return norikv_write(client, &put, NULL);
	memcpy(bytes, "added:", 6);
	return norikv_commit(client, &add, 1, true, NULL);
}

static norikv_call *
start_batch(bench_run *bench)
{
	uint64_t	first = filled;

	if (kind == WORK_FILL)
		filled += batch_size;
	else
		first = bench_random(bench, keys);
	batch_from(first);
	if (kind == WORK_MGET)
		return norikv_multi_get(client, batch_slices, batch_size, NULL);
	return norikv_commit(client, batch_operations, batch_size, false, NULL);
}

static void
pending_start(pending_call *pending, bench_run *bench)
{
	pending->began_at = bench_now();
	pending->call = kind < WORK_MGET ? start_one(bench) : start_batch(bench);
}

/* An answer that is not the whole answer is an error, and so no measurement. */
static bool
answer_complete(const norikv_call *call)
{
	size_t		n = 0;

	if (norikv_call_error(call)->code != NORIKV_OK)
		return false;
	switch (kind)
	{
		case WORK_GET:
			return norikv_call_entry(call)->value.size == value_size;
		case WORK_PUT:
		case WORK_ADD:
			return norikv_call_results(call, &n)[0].version.index > 0;
		case WORK_MGET:
			return norikv_call_entries(call, &n)[0].value.size == value_size &&
				n == batch_size;
		default:
			return norikv_call_results(call, &n)[0].code == NORIKV_OK && n == batch_size;
	}
}

static void
pending_end(pending_call *pending, bench_run *bench)
{
	bool		ok = answer_complete(pending->call);

	if (!ok && bench->errors == 0)
		fprintf(stderr, "%s: code %d: %s\n", work_names[kind],
				(int) norikv_call_error(pending->call)->code,
				norikv_call_error(pending->call)->text);
	bench_ended(bench, pending->began_at, bench_now(), ok);
	norikv_call_free(pending->call);
	pending->call = NULL;
}

static bool
work_left(const bench_run *bench)
{
	if (bench->errors > 0)
		return false;
	if (kind == WORK_FILL)
		return filled < fill_limit;
	return bench_now() < bench->ends_at;
}

static void
run(bench_run *bench)
{
	pending_call *pending = calloc(in_flight, sizeof(*pending));
	unsigned	under_way = 0;
	unsigned	oldest = 0;

	for (; under_way < in_flight && work_left(bench); under_way++)
		pending_start(&pending[under_way], bench);
	while (under_way > 0)
	{
		while (pending[oldest].call == NULL)
			oldest = (oldest + 1) % in_flight;
		norikv_wait(client, &pending[oldest].call, 1, -1);
		for (unsigned i = 0; i < in_flight; i++)
		{
			if (pending[i].call == NULL || !norikv_call_done(pending[i].call))
				continue;
			pending_end(&pending[i], bench);
			if (work_left(bench))
				pending_start(&pending[i], bench);
			else
				under_way--;
		}
		oldest = (oldest + 1) % in_flight;
	}
	free(pending);
}

static work
parse_work(const char *name)
{
	for (size_t i = 0; i < sizeof(work_names) / sizeof(work_names[0]); i++)
		if (strcmp(name, work_names[i]) == 0)
			return i;
	fprintf(stderr, "norikv_bench: no such work: %s\n", name);
	exit(2);
}

static void
parse_options(int argc, char **argv)
{
	int			option;

	while ((option = getopt(argc, argv, "t:o:s:f:k:v:b:n:")) != -1)
		switch (option)
		{
			case 't':
				nodes = optarg;
				break;
			case 'o':
				kind = parse_work(optarg);
				break;
			case 's':
				seconds = atof(optarg);
				break;
			case 'f':
				in_flight = atoi(optarg);
				break;
			case 'k':
				keys = strtoull(optarg, NULL, 10);
				break;
			case 'v':
				value_size = atoi(optarg);
				break;
			case 'b':
				batch_size = atoi(optarg);
				break;
			case 'n':
				fill_limit = strtoull(optarg, NULL, 10);
				break;
			default:
				exit(2);
		}
	if (nodes == NULL || in_flight == 0 || keys == 0 || batch_size == 0)
	{
		fprintf(stderr, "usage: norikv_bench -t NODES [-o get|put|add|mget|mput|fill]"
				" [-s SECONDS] [-f IN_FLIGHT]\n"
				"       [-k KEYS] [-v VALUE_SIZE] [-b BATCH] [-n OPERATIONS]\n");
		exit(2);
	}
	if (fill_limit == 0)
		fill_limit = keys;
}

int
main(int argc, char **argv)
{
	norikv_options options;
	norikv_error error;
	bench_run	bench;
	int			status;

	parse_options(argc, argv);
	norikv_options_init(&options);
	options.nodes = nodes;
	options.timeout_ms = 60000;
	options.attempt_timeout_ms = 30000;
	client = norikv_client_new(&options, &error);
	if (client == NULL)
	{
		fprintf(stderr, "norikv_bench: %s\n", error.text);
		return 1;
	}
	value = (norikv_slice) {bench_value(value_size), value_size};
	batch_init();
	bench_start(&bench, kind == WORK_FILL ? 0 : warm_up, seconds);
	if (kind == WORK_FILL)
		bench.ends_at = UINT64_MAX;
	run(&bench);
	if (kind == WORK_FILL)
		bench.ends_at = bench_now();
	status = bench_report(&bench, kind < WORK_MGET ? 1 : batch_size);
	norikv_client_free(client);
	free((void *) value.data);
	free(batch_keys);
	free(batch_slices);
	free(batch_operations);
	return status;
}
