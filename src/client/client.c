/*
 * client.c - a client: its options, its life, and the one wait in which
 * everything happens.
 */
#include "internal.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* While events keep coming, the clock is looked at once for so many. */
#define EVENTS_PER_LOOK 32

/* ---- Options ---- */

void
norikv_options_init(norikv_options *options)
{
	memset(options, 0, sizeof(*options));
	options->timeout_ms = 5000;
	options->attempt_timeout_ms = 1000;
	options->connect_timeout_ms = 1000;
	options->max_retries = 100;
	options->max_in_flight = 64;
	options->wait_slice_ms = 10;
}

bool
norikv_nodes_valid(const char *nodes, norikv_error *error)
{
	nk_address *addresses = malloc(NK_MAX_NODES * sizeof(*addresses));
	norikv_error ignored;
	int			count = -1;

	if (error == NULL)
		error = &ignored;
	if (addresses == NULL)
		nk_error_set(error, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
	else
		count = nk_addresses_parse(nodes != NULL ? nodes : "", addresses, NK_MAX_NODES,
								   error);
	free(addresses);
	return count > 0;
}

static bool
in_range(const char *name, uint32_t value, uint32_t low, uint32_t high,
		 norikv_error *error)
{
	if (value >= low && value <= high)
		return true;
	nk_error_set(error, NORIKV_INVALID_ARGUMENT, "%s is %u, it must be %u to %u", name,
				 value, low, high);
	return false;
}

static bool
check_options(const norikv_options *options, norikv_error *error)
{
	const uint32_t day_ms = 24 * 60 * 60 * 1000;
	const char *token = options->token;

	if (!in_range("timeout_ms", options->timeout_ms, 1, day_ms, error) ||
		!in_range("attempt_timeout_ms", options->attempt_timeout_ms, 1, day_ms, error) ||
		!in_range("connect_timeout_ms", options->connect_timeout_ms, 1, day_ms, error) ||
		!in_range("max_retries", options->max_retries, 0, 1000000, error) ||
		!in_range("max_in_flight", options->max_in_flight, 1, 65536, error) ||
		!in_range("wait_slice_ms", options->wait_slice_ms, 1, 1000, error))
		return false;
	if (nk_consistency(options->consistency) == NULL)
	{
		nk_error_set(error, NORIKV_INVALID_ARGUMENT,
					 "consistency \"%.100s\" is not known: it must be strong, "
					 "eventual or bounded_staleness",
					 options->consistency);
		return false;
	}
	/* HTTP/2 would refuse the whole call */
	for (const char *at = token; at != NULL && *at != '\0'; at++)
	{
		if (*at < 0x21 || *at > 0x7e)
		{
			nk_error_set(error, NORIKV_INVALID_ARGUMENT,
						 "token: byte %td is not a printable ASCII character",
						 at - token);
			return false;
		}
	}
	return true;
}

/* ---- Life ---- */

static void
say_nothing(gpr_log_func_args *args)
{
	(void) args;
}

/*
 * gRPC writes what it thinks of the network to standard error, which in a
 * server's process is not ours to write to. GRPC_VERBOSITY and GRPC_TRACE bring it
 * back.
 */
static void
quieten_grpc(void)
{
	if (getenv("GRPC_VERBOSITY") == NULL && getenv("GRPC_TRACE") == NULL)
		gpr_set_log_function(say_nothing);
}

static bool
init_nodes(norikv_client *client, const char *nodes, norikv_error *error)
{
	nk_address *addresses = malloc(NK_MAX_NODES * sizeof(*addresses));
	int			count;

	if (addresses == NULL)
	{
		nk_error_set(error, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		return false;
	}
	count =
		nk_addresses_parse(nodes != NULL ? nodes : "", addresses, NK_MAX_NODES, error);
	if (count > 0)
	{
		client->nodes = calloc(count, sizeof(*client->nodes));
		if (client->nodes == NULL)
			nk_error_set(error, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		else
		{
			client->n_nodes = count;
			for (int i = 0; i < count; i++)
				nk_node_init(&client->nodes[i], client, &addresses[i]);
		}
	}
	free(addresses);
	return client->n_nodes > 0;
}

static void
free_memory(norikv_client *client)
{
	nk_slots_free(&client->slots);
	nk_timers_free(&client->timers);
	free(client->view.leaders);
	free(client->nodes);
	nk_prefix_free(&client->prefix);
	free(client->authorization);
	free(client);
}

norikv_client *
norikv_client_new(const norikv_options *options, norikv_error *error)
{
	norikv_client *client;
	norikv_error ignored;
	sigset_t	all;
	sigset_t	before;

	if (error == NULL)
		error = &ignored;
	nk_error_clear(error);
	if (!check_options(options, error))
		return NULL;
	client = calloc(1, sizeof(*client));
	if (client == NULL || !nk_slots_init(&client->slots) ||
		(options->token != NULL &&
		 asprintf(&client->authorization, "Bearer %s", options->token) < 0))
	{
		nk_error_set(error, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		free(client);
		return NULL;
	}
	client->options = *options;
	client->options.nodes = client->options.token = NULL;
	client->options.key_prefix = (norikv_slice) {NULL, 0};
	client->options.consistency = nk_consistency(options->consistency);
	if (!nk_prefix_init(&client->prefix, options->key_prefix, error) ||
		!init_nodes(client, options->nodes, error))
	{
		free_memory(client);
		return NULL;
	}
	if (getrandom(&client->random, sizeof(client->random), 0) != sizeof(client->random))
		client->random = (uint64_t) nk_now();

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	quieten_grpc();
	grpc_init();
	client->queue = grpc_completion_queue_create_for_next(NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return client;
}

/* splitmix64 */
uint64_t
nk_random(norikv_client *client)
{
	uint64_t	z = (client->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void
dispatch(norikv_client *client, const grpc_event *event)
{
	uintptr_t	tag = (uintptr_t) event->tag & NK_TAG_BITS;
	void	   *object = (char *) event->tag - tag;

	client->in_queue--;
	if (tag == NK_TAG_WATCH)
		nk_node_watch_event(object, event->success);
	else
		nk_rpc_event(object, tag, event->success);
}

void
norikv_client_free(norikv_client *client)
{
	nk_time		give_up = nk_now() + NK_DRAIN_MS * 1000;
	grpc_event	event = {0};

	if (client == NULL)
		return;
	client->closing = true;
	for (norikv_call *call = client->calls, *next; call != NULL; call = next)
	{
		next = call->next;
		norikv_call_free(call);
	}
	nk_follow_free(client);
	for (uint32_t i = 0; i < client->n_nodes; i++)
		nk_node_close(&client->nodes[i]);
	while (client->in_queue > 0)
	{
		event = grpc_completion_queue_next(client->queue, nk_timespec(give_up), NULL);
		if (event.type != GRPC_OP_COMPLETE)
			break;
		dispatch(client, &event);
	}
	grpc_completion_queue_shutdown(client->queue);
	if (client->in_queue > 0)
		return;					/* gRPC may still write to it: better lost than freed */
	do
		event = grpc_completion_queue_next(client->queue, nk_timespec(give_up), NULL);
	while (event.type == GRPC_OP_COMPLETE);
	grpc_completion_queue_destroy(client->queue);
	grpc_shutdown();
	free_memory(client);
}

/* ---- Waiting ---- */

static void
run_timers(norikv_client *client, nk_time now)
{
	nk_timer   *timer;

	while ((timer = nk_timers_first(&client->timers)) != NULL && timer->due <= now)
	{
		nk_timer_clear(&client->timers, timer);
		nk_rpc_timer((nk_rpc *) timer);
	}
}

/* What is already there, without waiting. */
static void
take_events(norikv_client *client)
{
	grpc_event	event;

	for (int taken = 0; taken < EVENTS_PER_LOOK; taken++)
	{
		event = grpc_completion_queue_next(client->queue,
										   gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
		if (event.type != GRPC_OP_COMPLETE)
			break;
		dispatch(client, &event);
	}
}

/* False where nothing came in time. */
static bool
wait_for_event(norikv_client *client, nk_time until)
{
	nk_timer   *timer = nk_timers_first(&client->timers);
	grpc_event	event;

	if (timer != NULL && timer->due < until)
		until = timer->due;
	event = grpc_completion_queue_next(client->queue, nk_timespec(until), NULL);
	if (event.type != GRPC_OP_COMPLETE)
		return false;
	dispatch(client, &event);
	return true;
}

/* Calls do not become undone while we wait: each one is looked at once. */
static bool
all_done(norikv_call *const *calls, size_t n_calls, size_t *at)
{
	while (*at < n_calls && calls[*at]->done)
		(*at)++;
	return *at == n_calls;
}

norikv_wait_result
norikv_wait(norikv_client *client, norikv_call *const *calls, size_t n_calls,
			int64_t timeout_ms)
{
	const norikv_options *options = &client->options;
	nk_time		slice = (nk_time) options->wait_slice_ms * 1000;
	nk_time		now = nk_now();
	nk_time		end = timeout_ms < 0 ? NK_NEVER : now + timeout_ms * 1000;
	nk_time		look = now + slice;
	size_t		at = 0;
	uint32_t	events = 0;

	client->wait_began = now;
	for (;;)
	{
		run_timers(client, now);
		nk_gathered_send(client);
		if (now >= end)
		{
			take_events(client);
			nk_gathered_send(client);
		}
		if (all_done(calls, n_calls, &at))
		{
			/* what came together is answered together, and so is what follows it */
			if (events > 0 && client->in_queue > 0)
				take_events(client);
			return NORIKV_WAIT_DONE;
		}
		if (now >= look)
		{
			look = now + slice;
			if (options->wait_hook != NULL && options->wait_hook(options->wait_hook_arg))
				return NORIKV_WAIT_INTERRUPTED;
		}
		if (now >= end)
			return NORIKV_WAIT_TIMEOUT;
		if (!wait_for_event(client, look < end ? look : end) ||
			++events % EVENTS_PER_LOOK == 0)
			now = nk_now();
	}
}
