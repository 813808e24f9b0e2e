/*
 * ext_multi_get.c - norikv.ext.v1.Kv/MultiGet: many keys, answered in chunks,
 * one of them on its way at a time.
 */
#include "services.h"

#include <string.h>

#include <grpc/support/alloc.h>

#include "chunk.h"
#include "norikv_ext.pb-c.h"
#include "request.h"

/*
 * Keys of one read. Values may have 1 MiB each, so the first read is small, and
 * the next ones are made to fill a chunk if values go on as they were.
 */
#define FIRST_BATCH 16
#define MAX_BATCH 64
/* A chunk ends here too: reads of absent keys give the thread back in time. */
#define MAX_CHUNK_KEYS 2048

typedef struct multi_get
{
	const Norikv__Ext__V1__MultiGetRequest *request;
	engine_consistency consistency;
	engine_slice keys[MAX_BATCH];
	size_t		next_key;		/* of the request: not yet asked for */
	size_t		batch;			/* keys of the read under way */
	size_t		chunk_keys;
	chunk		chunk;			/* being filled */
	grpc_byte_buffer *full[MAX_BATCH];	/* chunks to send, in order */
	size_t		n_full;
	size_t		next_full;
	engine_status status;
	/* Starting a read and its answer: the later of both goes on. */
	atomic_bool met;
} multi_get;

static void go_on(call *self);

static void
free_multi_get(void *state)
{
	multi_get  *get = state;

	while (get->next_full < get->n_full)
		grpc_byte_buffer_destroy(get->full[get->next_full++]);
	chunk_free(&get->chunk);
	gpr_free(get);
}

static void
read_done(void *arg, const engine_status *status, const engine_entry *entries,
		  size_t n_entries)
{
	call	   *self = arg;
	multi_get  *get = self->state;

	get->status.code = status->code;
	if (status->code != ENGINE_OK)
		memcpy(get->status.text, status->text, sizeof(status->text));
	else
	{
		for (size_t i = 0; i < n_entries; i++)
		{
			if (get->chunk.size > 0 &&
				get->chunk.size + entries[i].value.size > WIRE_CHUNK)
				get->full[get->n_full++] = chunk_take(&get->chunk);
			chunk_add_entry(&get->chunk, &entries[i], false);
		}
		get->chunk_keys += n_entries;
	}
	if (atomic_exchange(&get->met, true))
		go_on(self);
}

/* How many keys may fill what is left of a chunk. */
static size_t
size_of_next_batch(const multi_get *get)
{
	size_t		left = get->request->n_keys - get->next_key;
	size_t		batch = FIRST_BATCH;

	if (get->chunk_keys > 0 && get->chunk.size < CHUNK_SIZE)
		batch = (CHUNK_SIZE - get->chunk.size) /
			(get->chunk.size / get->chunk_keys + 1) + 1;
	if (batch > MAX_BATCH)
		batch = MAX_BATCH;
	return batch < left ? batch : left;
}

/* True where the answer was there at once. */
static bool
start_read(call *self)
{
	multi_get  *get = self->state;
	engine	   *store = self->server->engine;

	get->batch = size_of_next_batch(get);
	for (size_t i = 0; i < get->batch; i++)
	{
		const ProtobufCBinaryData *key = &get->request->keys[get->next_key++];

		get->keys[i] = (engine_slice) {(const char *) key->data, key->len};
	}
	atomic_store(&get->met, false);
	store->methods->get(store, get->keys, get->batch, get->consistency, read_done,
						 self);
	return atomic_exchange(&get->met, true);
}

static void
chunk_sent(call *self, bool ok)
{
	if (ok)
		go_on(self);
	else
		call_release(self);
}

/* Sends what is full; false where nothing is. */
static bool
send_full(call *self)
{
	multi_get  *get = self->state;
	grpc_byte_buffer *buffer;

	if (get->next_full < get->n_full)
		buffer = get->full[get->next_full++];
	else if (get->next_key < get->request->n_keys &&
			 (get->chunk.size >= CHUNK_SIZE || get->chunk_keys >= MAX_CHUNK_KEYS))
	{
		buffer = chunk_take(&get->chunk);
		get->chunk_keys = 0;
	}
	else
		return false;
	if (get->next_full == get->n_full)
		get->next_full = get->n_full = 0;
	call_send(self, buffer, chunk_sent);
	return true;
}

/* Runs with no read and no send under way, so by one thread at a time. */
static void
go_on(call *self)
{
	multi_get  *get = self->state;

	do
	{
		if (get->status.code != ENGINE_OK)
		{
			call_fail_text(self, (int) get->status.code, get->status.text);
			return;
		}
		if (atomic_load(&self->server->draining))
		{
			service_fail_draining(self);
			return;
		}
		if (atomic_load(&self->closed))
		{
			call_release(self);
			return;
		}
		if (send_full(self))
			return;
		if (get->next_key == get->request->n_keys)
		{
			call_answer_buffer(self, chunk_take(&get->chunk));
			return;
		}
	} while (start_read(self));
}

static void
start_multi_get(call *self)
{
	multi_get  *get = gpr_zalloc(sizeof(*get));
	char		error[REQUEST_ERROR_SIZE];

	self->state = get;
	self->free_state = free_multi_get;
	get->request = call_unpack(self, &norikv__ext__v1__multi_get_request__descriptor);
	if (get->request == NULL)
		return;
	if (!request_multi_get(get->request, &get->consistency, error))
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
	else if (call_take_memory(self, STREAM_MEMORY))
		go_on(self);
}

const method ext_multi_get = {
	.name = WIRE_METHOD_MULTI_GET,
	.watched = true,
	.posted = 64,
	.start = start_multi_get,
};
