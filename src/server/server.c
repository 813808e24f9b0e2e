/*
 * server.c - completion queues, pollers, and the way down.
 */
#include "server.h"

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include "call.h"
#include "log.h"
#include "peer.h"

/* Calls of unknown methods: answered at once, so a few posted are enough. */
#define POSTED_UNKNOWN 32

#define MAX_STREAMS_PER_CONNECTION 1024
/* A request may be 2 MiB; the rest is for the fields around a full chunk. */
#define MAX_MESSAGE (WIRE_MAX_MESSAGE + 64 * 1024)
#define MAX_METADATA (16 * 1024)
/* What one connection may have staged, as a share of what all may. */
#define PEER_SHARE 2
/* Longer than a call is on its way; two ticks of call_clock_ms(), at least. */
#define QUIET_MS 30

static int
int_arg(grpc_arg *arg, const char *name, int value)
{
	arg->type = GRPC_ARG_INTEGER;
	arg->key = (char *) name;
	arg->value.integer = value;
	return 1;
}

static grpc_server *
create_grpc_server(void)
{
	grpc_arg	args[16];
	grpc_channel_args list = {0, args};
	size_t		n = 0;

	n += int_arg(&args[n], GRPC_ARG_MAX_CONCURRENT_STREAMS, MAX_STREAMS_PER_CONNECTION);
	n += int_arg(&args[n], GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, MAX_MESSAGE);
	n += int_arg(&args[n], GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1);
	n += int_arg(&args[n], GRPC_ARG_MAX_METADATA_SIZE, MAX_METADATA);
	/* Pings are welcome, as Info says: a client finds a dead connection by them. */
	n += int_arg(&args[n], GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
	n += int_arg(&args[n], GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 500);
	n += int_arg(&args[n], GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
	/* Answers are small and memory is not: no tracing, no statistics a call. */
	n += int_arg(&args[n], GRPC_ARG_ENABLE_CHANNELZ, 0);
	n += int_arg(&args[n], GRPC_ARG_ENABLE_CENSUS, 0);
	list.num_args = n;
	return grpc_server_create(&list, NULL);
}

/* ---- Pollers ---- */

static void *
poll_queue(void *argument)
{
	server_queue *queue = argument;
	gpr_timespec for_ever = gpr_inf_future(GPR_CLOCK_REALTIME);

	for (;;)
	{
		grpc_event	event = grpc_completion_queue_next(queue->queue, for_ever, NULL);
		server_event *what = event.tag;

		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (event.type == GRPC_OP_COMPLETE)
			what->handle(what->owner, event.success != 0);
	}
}

static void
handle_shutdown(void *owner, bool ok)
{
	server	   *self = owner;

	(void) ok;
	atomic_store(&self->shut_down, true);
}

static void
init_queue(server *self, server_queue *queue)
{
	queue->owner = self;
	queue->queue = grpc_completion_queue_create_for_next(NULL);
	pthread_mutex_init(&queue->lock, NULL);
	grpc_server_register_completion_queue(self->grpc, queue->queue, NULL);
}

static void
register_methods(server *self)
{
	size_t		n_methods = 0;

	while (server_methods[n_methods] != NULL)
		n_methods++;
	self->registered = gpr_zalloc(n_methods * sizeof(*self->registered));
	for (size_t i = 0; i < n_methods; i++)
	{
		const method *which = server_methods[i];

		self->registered[i] =
			grpc_server_register_method(self->grpc, which->name, NULL,
										which->client_streams ? GRPC_SRM_PAYLOAD_NONE
										: GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
		GPR_ASSERT(self->registered[i] != NULL);
	}
}

server *
server_new(const server_options *options)
{
	server	   *self = gpr_zalloc(sizeof(*self));

	self->options = *options;
	self->engine = options->engine;
	self->staged = bounds_new(options->max_staged, options->max_staged / PEER_SHARE);
	self->in_flight = bounds_new(options->max_in_flight, options->max_in_flight);
	self->shutdown_event = (server_event) {handle_shutdown, self};
	self->grpc = create_grpc_server();
	self->credentials = grpc_insecure_server_credentials_create();
	self->n_queues = options->threads;
	self->queues = gpr_zalloc(self->n_queues * sizeof(*self->queues));
	for (unsigned i = 0; i < self->n_queues; i++)
		init_queue(self, &self->queues[i]);
	register_methods(self);
	return self;
}

void
server_connect(server *self, int fd)
{
	grpc_server_add_channel_from_fd(self->grpc, fd, self->credentials);
}

static void
post_requests(server *self, server_queue *queue)
{
	for (size_t i = 0; server_methods[i] != NULL; i++)
	{
		for (unsigned n = 0; n < server_methods[i]->posted; n++)
			call_post(queue, server_methods[i], self->registered[i]);
	}
	for (unsigned n = 0; n < POSTED_UNKNOWN; n++)
		call_post(queue, NULL, NULL);
}

void
server_advertise(server *self, const char *address)
{
	atomic_store(&self->advertised, address);
}

void
server_start(server *self, const char *advertised)
{
	server_advertise(self, advertised);
	grpc_server_start(self->grpc);
	for (unsigned i = 0; i < self->n_queues; i++)
	{
		server_queue *queue = &self->queues[i];

		post_requests(self, queue);
		GPR_ASSERT(pthread_create(&queue->thread, NULL, poll_queue, queue) == 0);
	}
}

/* Under the queue's lock. */
static void
drop(call *slow, unsigned timeout_ms)
{
	char		peer[PEER_NAME_SIZE];

	peer_name(slow->grpc, peer);
	log_line(ENGINE_LOG_WARNING, "dropped a client that stalled in %s for %u s: %s",
			 slow->method != NULL ? slow->method->name : "a method that is not served",
			 timeout_ms / 1000, peer);
	slow->dropped = true;
	call_cancel(slow);
}

void
server_drop_stalled(server *self)
{
	unsigned	timeout_ms = self->options.stall_timeout_ms;
	uint64_t	now = call_clock_ms();

	for (unsigned i = 0; i < self->n_queues; i++)
	{
		server_queue *queue = &self->queues[i];

		/* A call cannot be freed before it has left this list. */
		pthread_mutex_lock(&queue->lock);
		for (call *slow = queue->waiting_first; slow != NULL; slow = slow->waiting_next)
		{
			if (now < slow->waiting_since_ms + timeout_ms)
				break;
			if (!slow->dropped)
				drop(slow, timeout_ms);
		}
		pthread_mutex_unlock(&queue->lock);
	}
}

/* ---- The way down ---- */

void
server_drain(server *self)
{
	atomic_store(&self->refused_at_ms, call_clock_ms());
	atomic_store(&self->draining, true);
	for (unsigned i = 0; i < self->n_queues; i++)
	{
		server_queue *queue = &self->queues[i];

		/* Calls that come from here on see that the server is draining. */
		pthread_mutex_lock(&queue->lock);
		for (call *open = queue->open; open != NULL; open = open->open_next)
			call_drain(open);
		pthread_mutex_unlock(&queue->lock);
	}
}

void
server_disconnect(server *self)
{
	/* Not earlier: a gRPC server that is shut down cancels what it has not handed over. */
	grpc_server_shutdown_and_notify(self->grpc, self->queues[0].queue,
									&self->shutdown_event);
	grpc_server_cancel_all_calls(self->grpc);
}

bool
server_idle(server *self)
{
	return atomic_load(&self->n_calls) == 0;
}

bool
server_is_quiet(server *self)
{
	return call_clock_ms() >= atomic_load(&self->refused_at_ms) + QUIET_MS;
}

bool
server_is_down(server *self)
{
	return atomic_load(&self->shut_down) && server_idle(self);
}

void
server_free(server *self)
{
	grpc_server_destroy(self->grpc);
	grpc_server_credentials_release(self->credentials);
	for (unsigned i = 0; i < self->n_queues; i++)
	{
		server_queue *queue = &self->queues[i];

		grpc_completion_queue_shutdown(queue->queue);
		pthread_join(queue->thread, NULL);
		grpc_completion_queue_destroy(queue->queue);
		pthread_mutex_destroy(&queue->lock);
	}
	bounds_free(self->staged);
	bounds_free(self->in_flight);
	gpr_free(self->registered);
	gpr_free(self->queues);
	gpr_free(self);
}
