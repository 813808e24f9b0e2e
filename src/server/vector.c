/*
 * vector.c - norikv.v1.Vector: indexes of vectors, one vector or one search a call.
 */
#include "services.h"

#include <string.h>
#include <time.h>

#include <grpc/support/alloc.h>

#include "norikv.pb-c.h"
#include "request.h"

#define POSTED 128

/* ---- Writes: a unit of one operation ---- */

static service_write *
new_write(call *self, engine_op_kind kind, const char *space)
{
	service_write *write = wire_arena_alloc(&self->arena, sizeof(*write));

	write->op.kind = kind;
	write->op.space = request_text(space);
	return write;
}

static void
answer_create(call *self, const engine_result *result)
{
	Norikv__V1__CreateVectorIndexResponse response =
		NORIKV__V1__CREATE_VECTOR_INDEX_RESPONSE__INIT;

	response.created = !result->existed;
	call_answer(self, &response.base);
}

static void
start_create_index(call *self)
{
	const Norikv__V1__CreateVectorIndexRequest *request;
	service_write *write;

	request = call_unpack(self, &norikv__v1__create_vector_index_request__descriptor);
	if (request == NULL)
		return;
	write = new_write(self, ENGINE_INDEX_CREATE, request->namespace_);
	write->op.index = (engine_index) {
		.dimensions = request->dimensions,
		.metric = (engine_metric) request->distance,
		.type = (engine_index_type) request->index_type,
	};
	write->answer = answer_create;
	service_commit(self, write, request->idempotency_key);
}

static void
answer_drop(call *self, const engine_result *result)
{
	Norikv__V1__DropVectorIndexResponse response =
		NORIKV__V1__DROP_VECTOR_INDEX_RESPONSE__INIT;

	response.dropped = result->existed;
	call_answer(self, &response.base);
}

static void
start_drop_index(call *self)
{
	const Norikv__V1__DropVectorIndexRequest *request;
	service_write *write;

	request = call_unpack(self, &norikv__v1__drop_vector_index_request__descriptor);
	if (request == NULL)
		return;
	write = new_write(self, ENGINE_INDEX_DROP, request->namespace_);
	write->answer = answer_drop;
	service_commit(self, write, request->idempotency_key);
}

static void
answer_insert(call *self, const engine_result *result)
{
	Norikv__V1__VectorInsertResponse response =
		NORIKV__V1__VECTOR_INSERT_RESPONSE__INIT;
	Norikv__V1__Version version = NORIKV__V1__VERSION__INIT;

	version.term = result->version.term;
	version.index = result->version.index;
	response.inserted = true;
	response.version = &version;
	call_answer(self, &response.base);
}

static void
start_insert(call *self)
{
	const Norikv__V1__VectorInsertRequest *request;
	service_write *write;

	request = call_unpack(self, &norikv__v1__vector_insert_request__descriptor);
	if (request == NULL)
		return;
	write = new_write(self, ENGINE_VECTOR_PUT, request->namespace_);
	write->op.key = request_text(request->id);
	write->op.value = request_floats(request->vector, request->n_vector);
	write->answer = answer_insert;
	service_commit(self, write, request->idempotency_key);
}

static void
answer_delete(call *self, const engine_result *result)
{
	Norikv__V1__VectorDeleteResponse response =
		NORIKV__V1__VECTOR_DELETE_RESPONSE__INIT;

	response.deleted = result->existed;
	call_answer(self, &response.base);
}

static void
start_delete(call *self)
{
	const Norikv__V1__VectorDeleteRequest *request;
	service_write *write;

	request = call_unpack(self, &norikv__v1__vector_delete_request__descriptor);
	if (request == NULL)
		return;
	write = new_write(self, ENGINE_VECTOR_DELETE, request->namespace_);
	write->op.key = request_text(request->id);
	write->answer = answer_delete;
	service_commit(self, write, request->idempotency_key);
}

/* ---- Get ---- */

/* The floats may stand at an odd address. */
static float *
copy_floats(call *self, const engine_vector *from)
{
	size_t		size = from->dimensions * sizeof(float);

	return memcpy(wire_arena_alloc(&self->arena, size + 1), from->floats, size);
}

static void
get_done(void *arg, const engine_status *status, const engine_vector *vectors,
		 size_t n_vectors)
{
	call	   *self = arg;
	Norikv__V1__VectorGetResponse response = NORIKV__V1__VECTOR_GET_RESPONSE__INIT;

	(void) n_vectors;
	if (status->code != ENGINE_OK)
	{
		call_fail_text(self, (int) status->code, status->text);
		return;
	}
	if (!call_take_memory(self, vectors->dimensions * sizeof(float)))
		return;
	if (vectors->version.index != 0)
	{
		response.found = true;
		response.n_vector = vectors->dimensions;
		response.vector = copy_floats(self, vectors);
	}
	call_answer(self, &response.base);
}

static void
start_get(call *self)
{
	const Norikv__V1__VectorGetRequest *request;
	engine	   *store = self->server->engine;
	engine_consistency consistency;
	engine_slice *id;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(self, &norikv__v1__vector_get_request__descriptor);
	if (request == NULL)
		return;
	if (!request_consistency(request->consistency, &consistency, error))
	{
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
		return;
	}
	/* Where the engine answers later, the id must still be there. */
	id = wire_arena_alloc(&self->arena, sizeof(*id));
	*id = request_text(request->id);
	store->methods->get_vectors(store, request_text(request->namespace_), id, 1,
								consistency, get_done, self);
}

/* ---- Search ---- */

typedef struct vector_search
{
	engine_search search;
	struct timespec started;
} vector_search;

/* An array of matches and one of pointers to them, in the call's arena. */
static Norikv__V1__VectorMatch **
pack_matches(call *self, const engine_matches *found)
{
	Norikv__V1__VectorMatch *matches =
		wire_arena_alloc(&self->arena, found->n_matches * sizeof(*matches) + 1);
	Norikv__V1__VectorMatch **pointers =
		wire_arena_alloc(&self->arena, found->n_matches * sizeof(*pointers) + 1);

	for (size_t i = 0; i < found->n_matches; i++)
	{
		const engine_vector *from = &found->matches[i];
		char	   *id = wire_arena_alloc(&self->arena, from->id.size + 1);

		norikv__v1__vector_match__init(&matches[i]);
		matches[i].id = memcpy(id, from->id.data, from->id.size);
		matches[i].distance = from->distance;
		matches[i].n_vector = from->dimensions;
		matches[i].vector = (float *) from->floats;
		pointers[i] = &matches[i];
	}
	return pointers;
}

static void
search_done(void *arg, const engine_status *status, const engine_matches *found)
{
	call	   *self = arg;
	const vector_search *search = self->state;
	Norikv__V1__VectorSearchResponse response =
		NORIKV__V1__VECTOR_SEARCH_RESPONSE__INIT;
	size_t		each = sizeof(Norikv__V1__VectorMatch) + 64;

	if (status->code != ENGINE_OK)
	{
		call_fail_text(self, (int) status->code, status->text);
		return;
	}
	if (search->search.include_vectors)
		each += search->search.dimensions * sizeof(float);
	if (!call_take_memory(self, found->n_matches * each))
		return;
	response.n_matches = found->n_matches;
	response.matches = pack_matches(self, found);
	response.search_time_us = service_microseconds_since(&search->started);
	call_answer(self, &response.base);
}

static void
start_search(call *self)
{
	const Norikv__V1__VectorSearchRequest *request;
	engine	   *store = self->server->engine;
	vector_search *search;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(self, &norikv__v1__vector_search_request__descriptor);
	if (request == NULL)
		return;
	search = wire_arena_alloc(&self->arena, sizeof(*search));
	self->state = search;
	clock_gettime(CLOCK_MONOTONIC, &search->started);
	search->search = (engine_search) {
		.space = request_text(request->namespace_),
		.query = request->query,
		.dimensions = (uint32_t) request->n_query,
		.k = request->k,
		.include_vectors = request->include_vectors,
		.here = true,
	};
	if (!request_consistency(request->consistency, &search->search.consistency, error))
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
	else
		store->methods->search(store, &search->search, search_done, self);
}

/* ---- The methods ---- */

const method vector_create_index = {
	.name = WIRE_METHOD_VECTOR_CREATE_INDEX,
	.watched = true,
	.posted = 8,
	.start = start_create_index,
};

const method vector_drop_index = {
	.name = WIRE_METHOD_VECTOR_DROP_INDEX,
	.watched = true,
	.posted = 8,
	.start = start_drop_index,
};

const method vector_insert = {
	.name = WIRE_METHOD_VECTOR_INSERT,
	.watched = true,
	.posted = POSTED,
	.start = start_insert,
};

const method vector_delete = {
	.name = WIRE_METHOD_VECTOR_DELETE,
	.watched = true,
	.posted = POSTED,
	.start = start_delete,
};

const method vector_get = {
	.name = WIRE_METHOD_VECTOR_GET,
	.posted = POSTED,
	.start = start_get,
};

const method vector_search_one = {
	.name = WIRE_METHOD_VECTOR_SEARCH,
	.posted = POSTED,
	.start = start_search,
};
