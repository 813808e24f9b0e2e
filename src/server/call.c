/*
 * call.c - the life of one call.
 */
#include "call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include "services.h"
#include "unpack.h"
#include "words.h"

/* The size of a status message: it travels in a header of limited size. */
#define STATUS_TEXT_SIZE 1024

/* Bytes of a method's name that the answer repeats. */
#define METHOD_NAME_SHOWN 200

typedef struct call_unknown
{
	grpc_call_details details;
} call_unknown;

static void handle_arrived(void *owner, bool ok);
static void handle_closing(void *owner, bool ok);
static void handle_sent(void *owner, bool ok);
static void handle_received(void *owner, bool ok);
static void handle_later(void *owner, bool ok);

uint64_t
call_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* ---- Posting and freeing ---- */

static void
free_posted(call *self)
{
	if (self->unknown != NULL)
	{
		grpc_call_details_destroy(&self->unknown->details);
		gpr_free(self->unknown);
	}
	grpc_metadata_array_destroy(&self->metadata);
	gpr_free(self);
}

void
call_post(server_queue *queue, const method *which, void *registered)
{
	grpc_server *grpc = queue->owner->grpc;
	call	   *self = gpr_zalloc(sizeof(*self));
	grpc_call_error error;

	self->server = queue->owner;
	self->queue = queue;
	self->method = which;
	self->registered = registered;
	self->arrived = (server_event) {handle_arrived, self};
	self->closing = (server_event) {handle_closing, self};
	self->sent = (server_event) {handle_sent, self};
	self->received = (server_event) {handle_received, self};
	self->later = (server_event) {handle_later, self};
	grpc_metadata_array_init(&self->metadata);
	if (which != NULL)
	{
		error = grpc_server_request_registered_call(grpc, registered, &self->grpc,
													&self->deadline, &self->metadata,
													which->client_streams ? NULL
													: &self->request,
													queue->queue, queue->queue,
													&self->arrived);
	}
	else
	{
		self->unknown = gpr_zalloc(sizeof(*self->unknown));
		grpc_call_details_init(&self->unknown->details);
		error = grpc_server_request_call(grpc, &self->grpc, &self->unknown->details,
										 &self->metadata, queue->queue, queue->queue,
										 &self->arrived);
	}
	GPR_ASSERT(error == GRPC_CALL_OK);
}

static void
link_open(call *self)
{
	server_queue *queue = self->queue;

	pthread_mutex_lock(&queue->lock);
	self->open_next = queue->open;
	if (self->open_next != NULL)
		self->open_next->open_previous = self;
	queue->open = self;
	pthread_mutex_unlock(&queue->lock);
}

static void
unlink_open(call *self)
{
	server_queue *queue = self->queue;

	pthread_mutex_lock(&queue->lock);
	if (self->open_previous != NULL)
		self->open_previous->open_next = self->open_next;
	else
		queue->open = self->open_next;
	if (self->open_next != NULL)
		self->open_next->open_previous = self->open_previous;
	pthread_mutex_unlock(&queue->lock);
}

static void
call_free(call *self)
{
	server	   *owner = self->server;

	if (self->free_state != NULL)
		self->free_state(self->state);
	if (self->peer != NULL)
	{
		bounds_peer_give_back(self->peer, self->staged);
		bounds_peer_close(self->peer);
	}
	bounds_give_back(owner->in_flight, self->in_flight);
	if (self->request != NULL)
		grpc_byte_buffer_destroy(self->request);
	if (self->sending != NULL)
		grpc_byte_buffer_destroy(self->sending);
	wire_arena_free(&self->arena);
	grpc_call_unref(self->grpc);
	free_posted(self);
	atomic_fetch_sub(&owner->n_calls, 1);
}

static void
hold(call *self)
{
	atomic_fetch_add_explicit(&self->count, 1, memory_order_relaxed);
}

void
call_release(call *self)
{
	if (atomic_fetch_sub(&self->count, 1) == 1)
		call_free(self);
}

/* ---- Arrival and the caller's going away ---- */

static void
start_batch(call *self, const grpc_op *ops, size_t n_ops, server_event *event)
{
	grpc_call_error error = grpc_call_start_batch(self->grpc, ops, n_ops, event, NULL);

	/* Only a mistake of ours makes gRPC refuse a batch. */
	GPR_ASSERT(error == GRPC_CALL_OK);
}

static void
watch_close(call *self)
{
	grpc_op		op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

	op.data.recv_close_on_server.cancelled = &self->cancelled;
	self->watching = true;
	hold(self);
	start_batch(self, &op, 1, &self->closing);
}

static void
handle_closing(void *owner, bool ok)
{
	call	   *self = owner;

	(void) ok;
	if (self->cancelled)
		atomic_store(&self->closed, true);
	if (self->method != NULL && self->method->drain != NULL)
	{
		/* A call that sends only when something happens would never notice. */
		if (self->cancelled)
			self->method->drain(self);
		unlink_open(self);
	}
	call_release(self);
}

static void
answer_unknown(call *self)
{
	char		shown[METHOD_NAME_SHOWN + 1];
	grpc_slice	name = self->unknown->details.method;
	size_t		length = GRPC_SLICE_LENGTH(name);

	if (length > METHOD_NAME_SHOWN)
		length = METHOD_NAME_SHOWN;
	memcpy(shown, GRPC_SLICE_START_PTR(name), length);
	shown[length] = '\0';
	call_fail(self, GRPC_STATUS_UNIMPLEMENTED, "this server has no method %s", shown);
}

/*
 * Nothing of it was begun, and the caller is told so: it can go to another server, or
 * come back. Streams learn it the same way, so that nothing new has to be drained.
 */
static void
refuse_draining(call *self)
{
	atomic_store(&self->server->refused_at_ms, call_clock_ms());
	service_fail_draining(self);
}

static void
handle_arrived(void *owner, bool ok)
{
	call	   *self = owner;
	const method *which = self->method;

	if (!ok)
	{
		/* The server goes down: what was posted comes back unused. */
		free_posted(self);
		return;
	}
	call_post(self->queue, which, self->registered);
	atomic_fetch_add(&self->server->n_calls, 1);
	atomic_store(&self->count, 1);
	wire_arena_init(&self->arena);
	if (which == NULL)
	{
		answer_unknown(self);
		return;
	}
	if (atomic_load(&self->server->draining) && !which->serves_draining)
	{
		refuse_draining(self);
		return;
	}
	if (which->drain != NULL)
		link_open(self);
	if (which->watched)
		watch_close(self);
	which->start(self);
}

bool
call_deadline_passed(const call *self)
{
	return gpr_time_cmp(self->deadline, gpr_now(self->deadline.clock_type)) <= 0;
}

bool
call_is_over(call *self)
{
	return atomic_load_explicit(&self->closed, memory_order_relaxed) ||
		call_deadline_passed(self);
}

void
call_cancel(call *self)
{
	grpc_call_cancel(self->grpc, NULL);
}

/* ---- The request ---- */

void *
call_unpack(call *self, const ProtobufCMessageDescriptor *descriptor)
{
	void	   *message = NULL;
	message_bytes bytes;
	char		error[UNPACK_ERROR_SIZE] = "the request has no message";

	if (self->request != NULL)
	{
		message_open(&bytes, self->request);
		message = message_unpack(&bytes, descriptor, &self->arena, error);
		message_close(&bytes);
	}
	if (message == NULL)
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
	return message;
}

engine_slice
call_credential(const call *self)
{
	for (size_t i = 0; i < self->metadata.count; i++)
	{
		const grpc_metadata *item = &self->metadata.metadata[i];

		if (grpc_slice_str_cmp(item->key, "authorization") == 0)
			return (engine_slice) {(const char *) GRPC_SLICE_START_PTR(item->value),
				GRPC_SLICE_LENGTH(item->value)};
	}
	return (engine_slice) {NULL, 0};
}

bool
call_stage_memory(call *self, size_t size)
{
	if (self->peer == NULL)
	{
		char	   *address = grpc_call_get_peer(self->grpc);

		self->peer = bounds_peer_open(self->server->staged, address);
		gpr_free(address);
	}
	if (!bounds_peer_take(self->peer, size))
		return false;
	self->staged += size;
	return true;
}

bool
call_take_memory(call *self, size_t size)
{
	bounds	   *in_flight = self->server->in_flight;

	if (bounds_take(in_flight, size))
	{
		self->in_flight += size;
		return true;
	}
	/* Trying again would not help. */
	if (size > bounds_limit(in_flight))
		call_fail(self, GRPC_STATUS_RESOURCE_EXHAUSTED, "the answer takes %llu bytes, and "
				  "requests and answers together may have %llu (--max-memory): ask for "
				  "less at a time", (unsigned long long) size,
				  (unsigned long long) bounds_limit(in_flight));
	else
		call_fail(self, GRPC_STATUS_UNAVAILABLE, "requests and answers in flight have %llu "
				  "bytes, which is as much as may be" WORDS_TRY_AGAIN,
				  (unsigned long long) bounds_limit(in_flight));
	return false;
}

/* ---- Sending ---- */

static void
begin_wait(call *self)
{
	server_queue *queue = self->queue;

	pthread_mutex_lock(&queue->lock);
	if (self->waits++ == 0)
	{
		self->waiting_since_ms = call_clock_ms();
		self->waiting_previous = queue->waiting_last;
		self->waiting_next = NULL;
		if (queue->waiting_last != NULL)
			queue->waiting_last->waiting_next = self;
		else
			queue->waiting_first = self;
		queue->waiting_last = self;
	}
	pthread_mutex_unlock(&queue->lock);
}

static void
end_wait(call *self)
{
	server_queue *queue = self->queue;

	pthread_mutex_lock(&queue->lock);
	if (--self->waits == 0)
	{
		if (self->waiting_previous != NULL)
			self->waiting_previous->waiting_next = self->waiting_next;
		else
			queue->waiting_first = self->waiting_next;
		if (self->waiting_next != NULL)
			self->waiting_next->waiting_previous = self->waiting_previous;
		else
			queue->waiting_last = self->waiting_previous;
	}
	pthread_mutex_unlock(&queue->lock);
}

static void
handle_sent(void *owner, bool ok)
{
	call	   *self = owner;
	call_handler next = self->on_sent;

	end_wait(self);
	if (self->sending != NULL)
	{
		grpc_byte_buffer_destroy(self->sending);
		self->sending = NULL;
	}
	if (next != NULL)
		next(self, ok);
	else
		call_release(self);
}

/*
 * One batch with all that is to be sent: initial metadata where it is due, a
 * message, a status. code < 0: the stream goes on.
 */
static void
send_batch(call *self, grpc_byte_buffer *buffer, int code, const char *text)
{
	grpc_op		ops[4];
	grpc_op    *op = ops;
	grpc_slice	details;

	memset(ops, 0, sizeof(ops));
	if (!self->initial_metadata_sent)
	{
		(op++)->op = GRPC_OP_SEND_INITIAL_METADATA;
		self->initial_metadata_sent = true;
	}
	self->sending = buffer;
	if (buffer != NULL)
	{
		op->op = GRPC_OP_SEND_MESSAGE;
		(op++)->data.send_message.send_message = buffer;
	}
	if (code >= 0)
	{
		op->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
		op->data.send_status_from_server.status = (grpc_status_code) code;
		if (text != NULL)
		{
			details = grpc_slice_from_copied_string(text);
			op->data.send_status_from_server.status_details = &details;
		}
		op++;
		if (!self->watching)
		{
			/* Without it gRPC would keep the call's stream open. */
			op->op = GRPC_OP_RECV_CLOSE_ON_SERVER;
			(op++)->data.recv_close_on_server.cancelled = &self->cancelled;
		}
	}
	begin_wait(self);
	start_batch(self, ops, (size_t) (op - ops), &self->sent);
	if (code >= 0 && text != NULL)
		grpc_slice_unref(details);
}

void
call_answer_buffer(call *self, grpc_byte_buffer *buffer)
{
	self->on_sent = NULL;
	send_batch(self, buffer, GRPC_STATUS_OK, NULL);
}

void
call_answer(call *self, const ProtobufCMessage *message)
{
	call_answer_buffer(self, wire_pack(message));
}

void
call_fail_text(call *self, int code, const char *text)
{
	self->on_sent = NULL;
	send_batch(self, NULL, code, text);
}

void
call_fail(call *self, int code, const char *format, ...)
{
	char		text[STATUS_TEXT_SIZE];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	call_fail_text(self, code, text);
}

void
call_send(call *self, grpc_byte_buffer *buffer, call_handler on_sent)
{
	self->on_sent = on_sent;
	send_batch(self, buffer, -1, NULL);
}

/* ---- Receiving ---- */

static void
handle_received(void *owner, bool ok)
{
	call	   *self = owner;

	end_wait(self);
	self->on_received(self, ok);
	call_release(self);
}

void
call_receive(call *self, grpc_byte_buffer **message, call_handler on_received)
{
	grpc_op		op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = message;
	self->on_received = on_received;
	hold(self);
	begin_wait(self);
	start_batch(self, &op, 1, &self->received);
}

/* ---- Later ---- */

static void
handle_later(void *owner, bool ok)
{
	call	   *self = owner;

	self->on_later(self, ok);
	call_release(self);
}

void
call_later(call *self, call_handler on_later)
{
	self->on_later = on_later;
	hold(self);
	/* A batch of nothing is done at once, and its tag comes out of the queue. */
	start_batch(self, NULL, 0, &self->later);
}

static void
drain(call *self, bool ok)
{
	(void) ok;
	self->method->drain(self);
}

void
call_drain(call *self)
{
	call_later(self, drain);
}
