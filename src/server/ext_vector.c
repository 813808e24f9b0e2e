/*
 * ext_vector.c - norikv.ext.v1.Vector: the list of indexes, many vectors by id, and
 * searches with more to say. Each answers a stream of chunks, one of them on its way
 * at a time.
 */
#include "services.h"

#include <string.h>
#include <time.h>

#include <grpc/support/alloc.h>

#include "chunk.h"
#include "norikv_ext.pb-c.h"
#include "request.h"

/* Chunks that are packed and not sent yet. */
typedef struct outbox
{
	grpc_byte_buffer **chunks;
	size_t		n_chunks;
	size_t		next;
} outbox;

static void
outbox_add(outbox *self, chunk *packed)
{
	self->chunks = gpr_realloc(self->chunks,
							   (self->n_chunks + 1) * sizeof(*self->chunks));
	self->chunks[self->n_chunks++] = chunk_take(packed);
}

static void
outbox_free(outbox *self)
{
	while (self->next < self->n_chunks)
		grpc_byte_buffer_destroy(self->chunks[self->next++]);
	gpr_free(self->chunks);
}

/* Adds the element of field 1; a chunk that is full goes to the outbox. */
static void
add(outbox *self, chunk *packed, const ProtobufCMessage *element)
{
	if (packed->size > 0 &&
		packed->size + protobuf_c_message_get_packed_size(element) > CHUNK_SIZE)
		outbox_add(self, packed);
	chunk_add_element(packed, element);
}

/* The entry's strings and floats are its caller's. */
static Norikv__Ext__V1__VectorEntry
entry_of(const engine_vector *from, char *id, float *floats)
{
	Norikv__Ext__V1__VectorEntry entry = NORIKV__EXT__V1__VECTOR_ENTRY__INIT;

	if (id != NULL)
	{
		memcpy(id, from->id.data, from->id.size);
		id[from->id.size] = '\0';
		entry.id = id;
	}
	if (from->floats != NULL)
	{
		memcpy(floats, from->floats, from->dimensions * sizeof(float));
		entry.n_vector = from->dimensions;
		entry.vector = floats;
	}
	entry.version_term = from->version.term;
	entry.version_index = from->version.index;
	entry.distance = from->distance;
	return entry;
}

/* ---- List ---- */

static void
send_next(call *self, bool ok)
{
	outbox	   *out = self->state;
	grpc_byte_buffer *next;

	if (!ok)
	{
		call_release(self);
		return;
	}
	next = out->chunks[out->next++];
	if (out->next < out->n_chunks)
		call_send(self, next, send_next);
	else
		call_answer_buffer(self, next);
}

static void
free_outbox(void *state)
{
	outbox_free(state);
	gpr_free(state);
}

static outbox *
new_outbox(call *self)
{
	outbox	   *out = gpr_zalloc(sizeof(*out));

	self->state = out;
	self->free_state = free_outbox;
	return out;
}

static void
list_done(void *arg, const engine_status *status, const engine_index_info *indexes,
		  size_t n_indexes)
{
	call	   *self = arg;
	outbox	   *out = self->state;
	chunk		packed = {0};
	char		space[WIRE_MAX_NAMESPACE + 1];

	if (status->code != ENGINE_OK)
	{
		call_fail_text(self, (int) status->code, status->text);
		return;
	}
	for (size_t i = 0; i < n_indexes; i++)
	{
		const engine_index_info *from = &indexes[i];
		Norikv__Ext__V1__VectorIndex to = NORIKV__EXT__V1__VECTOR_INDEX__INIT;

		memcpy(space, from->space.data, from->space.size);
		space[from->space.size] = '\0';
		to.namespace_ = space;
		to.dimensions = from->index.dimensions;
		to.distance = (Norikv__V1__DistanceFunction) from->index.metric;
		to.index_type = (Norikv__V1__VectorIndexType) from->index.type;
		to.vectors = from->vectors;
		to.memory_bytes = from->memory_bytes;
		to.pending = from->pending;
		to.state = (Norikv__Ext__V1__VectorIndex__State) from->state;
		to.version_term = from->version.term;
		to.version_index = from->version.index;
		add(out, &packed, &to.base);
	}
	outbox_add(out, &packed);
	send_next(self, true);
}

static void
start_list(call *self)
{
	const Norikv__Ext__V1__ListIndexesRequest *request;
	engine	   *store = self->server->engine;

	request = call_unpack(self, &norikv__ext__v1__list_indexes_request__descriptor);
	if (request == NULL || !call_take_memory(self, STREAM_MEMORY))
		return;
	new_outbox(self);
	store->methods->list_indexes(store, request_text(request->prefix), list_done, self);
}

/* ---- MultiGet ---- */

/* Vectors may have 16 KiB each: a chunk full of them, and not much more. */
#define IDS_PER_READ 32

typedef struct multi_get
{
	outbox		out;			/* must stay first */
	const Norikv__Ext__V1__VectorMultiGetRequest *request;
	engine_consistency consistency;
	engine_slice ids[IDS_PER_READ];
	size_t		next_id;
	size_t		read;			/* of the stroke under way */
	chunk		packed;
	engine_status status;
	/* Starting a read and its answer: the later of both goes on. */
	atomic_bool met;
} multi_get;

static void go_on(call *self, bool ok);

static void
free_multi_get(void *state)
{
	multi_get  *get = state;

	outbox_free(&get->out);
	chunk_free(&get->packed);
	gpr_free(get);
}

static void
read_done(void *arg, const engine_status *status, const engine_vector *vectors,
		  size_t n_vectors)
{
	call	   *self = arg;
	multi_get  *get = self->state;
	float		floats[WIRE_MAX_DIMENSIONS];

	get->status.code = status->code;
	if (status->code != ENGINE_OK)
		memcpy(get->status.text, status->text, sizeof(status->text));
	for (size_t i = 0; i < n_vectors; i++)
	{
		Norikv__Ext__V1__VectorEntry entry = entry_of(&vectors[i], NULL, floats);

		chunk_add_element(&get->packed, &entry.base);
	}
	if (atomic_exchange(&get->met, true))
		go_on(self, true);
}

/* True where the answer was there at once. */
static bool
start_read(call *self)
{
	multi_get  *get = self->state;
	engine	   *store = self->server->engine;
	size_t		n = 0;

	while (n < IDS_PER_READ && get->next_id < get->request->n_ids)
		get->ids[n++] = request_text(get->request->ids[get->next_id++]);
	atomic_store(&get->met, false);
	store->methods->get_vectors(store, request_text(get->request->namespace_), get->ids,
								n, get->consistency, read_done, self);
	return atomic_exchange(&get->met, true);
}

/* Runs with no read and no send under way, so by one thread at a time. */
static void
go_on(call *self, bool ok)
{
	multi_get  *get = self->state;

	do
	{
		if (!ok || atomic_load(&self->closed))
			call_release(self);
		else if (get->status.code != ENGINE_OK)
			call_fail_text(self, (int) get->status.code, get->status.text);
		else if (atomic_load(&self->server->draining))
			service_fail_draining(self);
		else if (get->next_id == get->request->n_ids)
			call_answer_buffer(self, chunk_take(&get->packed));
		else if (get->packed.size >= CHUNK_SIZE)
			call_send(self, chunk_take(&get->packed), go_on);
		else
			continue;
		return;
	} while (start_read(self));
}

static void
start_multi_get(call *self)
{
	multi_get  *get = gpr_zalloc(sizeof(*get));
	char		error[REQUEST_ERROR_SIZE];

	self->state = get;
	self->free_state = free_multi_get;
	get->request = call_unpack(self,
							   &norikv__ext__v1__vector_multi_get_request__descriptor);
	if (get->request == NULL)
		return;
	if (!request_count("ids", get->request->n_ids, error) ||
		!request_consistency(get->request->consistency, &get->consistency, error))
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
	else if (call_take_memory(self, STREAM_MEMORY) && start_read(self))
		go_on(self, true);
}

/* ---- Search ---- */

typedef struct search
{
	outbox		out;			/* must stay first */
	engine_search request;
	struct timespec started;
} search;

static void
free_search(void *state)
{
	outbox_free(state);
	gpr_free(state);
}

_Static_assert(CHUNK_SIZE >= WIRE_ONE_SEARCH_CHUNK,
			   "a brief search has a chunk too many");

static void
pack_found(search *self, const engine_matches *found)
{
	Norikv__Ext__V1__SearchChunk fields = NORIKV__EXT__V1__SEARCH_CHUNK__INIT;
	char		id[WIRE_MAX_VECTOR_ID + 1];
	float		floats[WIRE_MAX_DIMENSIONS];
	chunk		packed = {0};

	for (size_t i = 0; i < found->n_matches; i++)
	{
		Norikv__Ext__V1__VectorEntry entry = entry_of(&found->matches[i], id, floats);

		add(&self->out, &packed, &entry.base);
	}
	fields.exact = found->exact;
	fields.search_time_us = service_microseconds_since(&self->started);
	chunk_add_fields(&packed, &fields.base);
	outbox_add(&self->out, &packed);
}

static void
search_done(void *arg, const engine_status *status, const engine_matches *found)
{
	call	   *owner = arg;
	search	   *self = owner->state;
	size_t		each = 64;

	if (status->code != ENGINE_OK)
	{
		call_fail_text(owner, (int) status->code, status->text);
		return;
	}
	if (self->request.include_vectors)
		each += self->request.dimensions * sizeof(float);
	if (!call_take_memory(owner, found->n_matches * each))
		return;
	pack_found(self, found);
	send_next(owner, true);
}

static void
start_search(call *owner)
{
	const Norikv__Ext__V1__SearchRequest *request;
	engine	   *store = owner->server->engine;
	search	   *self;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(owner, &norikv__ext__v1__search_request__descriptor);
	if (request == NULL)
		return;
	self = gpr_zalloc(sizeof(*self));
	owner->state = self;
	owner->free_state = free_search;
	clock_gettime(CLOCK_MONOTONIC, &self->started);
	self->request = (engine_search) {
		.space = request_text(request->namespace_),
		.query = request->query,
		.dimensions = (uint32_t) request->n_query,
		.k = request->k,
		.ef = request->ef,
		.include_vectors = request->include_vectors,
		.exact = request->exact,
		.here = true,
	};
	if (!request_consistency(request->consistency, &self->request.consistency, error))
		call_fail_text(owner, GRPC_STATUS_INVALID_ARGUMENT, error);
	else
		store->methods->search(store, &self->request, search_done, owner);
}

const method ext_vector_list = {
	.name = WIRE_METHOD_VECTOR_LIST,
	.watched = true,
	.posted = 8,
	.start = start_list,
};

const method ext_vector_multi_get = {
	.name = WIRE_METHOD_VECTOR_MULTI_GET,
	.watched = true,
	.posted = 32,
	.start = start_multi_get,
};

const method ext_vector_search = {
	.name = WIRE_METHOD_VECTOR_EXT_SEARCH,
	.posted = 128,
	.start = start_search,
};
