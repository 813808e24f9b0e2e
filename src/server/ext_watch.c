/*
 * ext_watch.c - norikv.ext.v1.Kv/Watch: a stream of changes. Each chunk is asked for
 * when the one before it has gone, so a client that does not read holds back only
 * its own watch.
 */
#include "services.h"

#include <grpc/support/alloc.h>

#include "chunk.h"
#include "norikv_ext.pb-c.h"
#include "request.h"
#include "words.h"

/* A chunk has about this size. */
#define WATCH_CHUNK ((size_t) 64 * 1024)
/* What an open watch takes, in gRPC and here, while nothing happens. */
#define WATCH_MEMORY ((size_t) 16 * 1024)

typedef struct watcher
{
	server	   *server;
	engine_watch *watch;		/* NULL: it was never opened */
	size_t		sending;		/* taken from what may be in flight */
} watcher;

static void chunk_sent(call *owner, bool ok);

/* No call of the engine's is owed an answer by now. */
static void
free_watcher(void *state)
{
	watcher    *self = state;

	if (self->watch != NULL)
		self->server->engine->methods->watch_close(self->watch);
	bounds_give_back(self->server->in_flight, self->sending);
	gpr_free(self);
}

static grpc_byte_buffer *
pack_changes(const engine_changes *changes)
{
	Norikv__Ext__V1__WatchChunk fields = NORIKV__EXT__V1__WATCH_CHUNK__INIT;
	chunk		packed = {0};

	for (size_t i = 0; i < changes->n_changes; i++)
	{
		const engine_change *from = &changes->changes[i];
		Norikv__Ext__V1__Change change = NORIKV__EXT__V1__CHANGE__INIT;

		change.kind = (Norikv__Ext__V1__Change__Kind) from->kind;
		change.key.data = (uint8_t *) from->key.data;
		change.key.len = from->key.size;
		change.end_key.data = (uint8_t *) from->end_key.data;
		change.end_key.len = from->end_key.size;
		change.version_term = from->version.term;
		change.version_index = from->version.index;
		chunk_add_element(&packed, &change.base);
	}
	fields.known_term = changes->known.term;
	fields.known_index = changes->known.index;
	fields.history = changes->history;
	fields.reset = changes->reset;
	fields.current = changes->current;
	chunk_add_fields(&packed, &fields.base);
	return chunk_take(&packed);
}

/* From a thread of the engine's, or from within watch_next() and watch_cancel(). */
static void
changes_ready(void *arg, const engine_status *status, const engine_changes *changes)
{
	call	   *owner = arg;
	watcher    *self = owner->state;
	grpc_byte_buffer *buffer;

	if (status->code != ENGINE_OK)
	{
		if (atomic_load(&owner->closed))
			call_release(owner);
		else if (atomic_load(&owner->server->draining))
			service_fail_draining(owner);
		else
			call_fail_text(owner, (int) status->code, status->text);
		return;
	}
	buffer = pack_changes(changes);
	self->sending = grpc_byte_buffer_length(buffer);
	if (bounds_take(owner->server->in_flight, self->sending))
	{
		call_send(owner, buffer, chunk_sent);
		return;
	}
	self->sending = 0;
	grpc_byte_buffer_destroy(buffer);
	call_fail_text(owner, GRPC_STATUS_UNAVAILABLE,
				   "changes that others do not read take all the memory there is for "
				   "what is in flight" WORDS_TRY_AGAIN);
}

static void
chunk_sent(call *owner, bool ok)
{
	watcher    *self = owner->state;

	bounds_give_back(owner->server->in_flight, self->sending);
	self->sending = 0;
	if (!ok || atomic_load(&owner->closed))
		call_release(owner);
	else if (atomic_load(&owner->server->draining))
		service_fail_draining(owner);
	else
		self->server->engine->methods->watch_next(self->watch, WATCH_CHUNK,
												  changes_ready, owner);
}

static bool
open_watch(call *owner, watcher *self)
{
	const Norikv__Ext__V1__WatchRequest *request;
	engine	   *store = owner->server->engine;
	engine_watch_request wanted;
	engine_status status;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(owner, &norikv__ext__v1__watch_request__descriptor);
	if (request == NULL)
		return false;
	if (!request_watch(request, &wanted, error))
	{
		call_fail_text(owner, GRPC_STATUS_INVALID_ARGUMENT, error);
		return false;
	}
	if (!call_take_memory(owner, WATCH_MEMORY))
		return false;
	self->watch = store->methods->watch_open(store, &wanted, &status);
	if (self->watch == NULL)
		call_fail_text(owner, (int) status.code, status.text);
	return self->watch != NULL;
}

static void
start_watch(call *owner)
{
	watcher    *self = gpr_zalloc(sizeof(*self));

	self->server = owner->server;
	owner->state = self;
	owner->free_state = free_watcher;
	if (atomic_load(&owner->server->draining))
		service_fail_draining(owner);
	else if (open_watch(owner, self))
		self->server->engine->methods->watch_next(self->watch, WATCH_CHUNK,
												  changes_ready, owner);
}

/* What is waited for ends with changes_ready(); what is being sent, with chunk_sent(). */
static void
drain_watch(call *owner)
{
	watcher    *self = owner->state;

	if (self->watch != NULL)
		self->server->engine->methods->watch_cancel(self->watch);
}

const method ext_watch = {
	.name = WIRE_METHOD_WATCH,
	.watched = true,
	.posted = 64,
	.start = start_watch,
	.drain = drain_watch,
};
