/*
 * vector.c - indexes made and dropped, single vectors written.
 */
#include "vector.h"

#include "write.h"

/* ---- What a call can be given ---- */

bool
nk_space_set(nk_space *to, norikv_call *call, norikv_slice space, int64_t operation)
{
	size_t		taken = call->client->prefix.key.size;
	size_t		limit = taken < WIRE_MAX_NAMESPACE ? WIRE_MAX_NAMESPACE - taken : 0;
	norikv_slice full;

	if (space.size < 1 || space.size > limit)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "namespace of %zu bytes: a namespace must have 1 to %zu%s",
					 space.size, limit,
					 taken > 0 ? ", as the client's key prefix takes the rest" : "");
	else
	{
		full = nk_full_key(call->client, space, to->text);
		to->text[full.size] = '\0';
		if (memchr(to->text, '\0', full.size) == NULL)
			return true;
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "a namespace cannot hold a zero byte");
	}
	call->error.operation = operation;
	return false;
}

bool
nk_check_vector_id(norikv_call *call, norikv_slice id, int64_t operation)
{
	if (id.size < 1 || id.size > WIRE_MAX_VECTOR_ID)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "id of %zu bytes: the id of a vector must have 1 to %d", id.size,
					 WIRE_MAX_VECTOR_ID);
	else if (memchr(id.data, '\0', id.size) != NULL)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "the id of a vector cannot hold a zero byte");
	else
		return true;
	call->error.operation = operation;
	return false;
}

bool
nk_check_vector(norikv_call *call, const char *what, const float *vector,
				uint32_t dimensions, int64_t operation)
{
	if (vector != NULL && dimensions >= 1 && dimensions <= WIRE_MAX_DIMENSIONS)
		return true;
	nk_call_fail(call, NORIKV_INVALID_ARGUMENT, "%s of %u dimensions: it must have 1 to %d",
				 what, dimensions, WIRE_MAX_DIMENSIONS);
	call->error.operation = operation;
	return false;
}

char *
nk_vector_id(wire_arena *arena, norikv_slice id)
{
	char	   *text = wire_arena_alloc(arena, id.size + 1);

	return text == NULL ? NULL : memcpy(text, id.data, id.size);
}

void
nk_vector_no_service(nk_rpc *rpc)
{
	nk_error_set(&rpc->error, NORIKV_UNIMPLEMENTED, "%s has no vector service",
				 rpc->node->address.name);
}

/* ---- Answers ---- */

static bool
take_inserted(norikv_operation_result *result, wire_arena *arena,
			  grpc_byte_buffer *message)
{
	Norikv__V1__VectorInsertResponse *response;

	response = wire_unpack(&norikv__v1__vector_insert_response__descriptor, arena,
						   message);
	if (response != NULL && response->version != NULL)
		result->version = (norikv_version) {response->version->term,
			response->version->index};
	return response != NULL;
}

static bool
take_deleted(norikv_operation_result *result, wire_arena *arena,
			 grpc_byte_buffer *message)
{
	Norikv__V1__VectorDeleteResponse *response;

	response = wire_unpack(&norikv__v1__vector_delete_response__descriptor, arena,
						   message);
	result->existed = response != NULL && response->deleted;
	return response != NULL;
}

/* ---- Writes: one request, one result ---- */

typedef struct vector_write
{
	norikv_call call;
	nk_rpc		rpc;
	nk_space	space;
	char		key[NK_IDEMPOTENCY_KEY_SIZE];
	norikv_operation_result result;
} vector_write;

static bool
create_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	vector_write *write = (vector_write *) rpc->call;
	Norikv__V1__CreateVectorIndexResponse *response;

	response = wire_unpack(&norikv__v1__create_vector_index_response__descriptor,
						   &write->call.arena, message);
	write->result.existed = response != NULL && !response->created;
	return response != NULL;
}

static bool
drop_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	vector_write *write = (vector_write *) rpc->call;
	Norikv__V1__DropVectorIndexResponse *response;

	response = wire_unpack(&norikv__v1__drop_vector_index_response__descriptor,
						   &write->call.arena, message);
	write->result.existed = response != NULL && response->dropped;
	return response != NULL;
}

static bool
insert_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	vector_write *write = (vector_write *) rpc->call;

	return take_inserted(&write->result, &write->call.arena, message);
}

static bool
delete_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	vector_write *write = (vector_write *) rpc->call;

	return take_deleted(&write->result, &write->call.arena, message);
}

static void
show_result(vector_write *write)
{
	write->result.text = write->call.error.text;
	write->call.results = &write->result;
	write->call.n_results = 1;
}

static void
write_ended(nk_rpc *rpc)
{
	vector_write *write = (vector_write *) rpc->call;

	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
		nk_vector_no_service(rpc);
	nk_call_finish(&write->call, &rpc->error);
	nk_result_from_error(&write->result, &rpc->error);
	show_result(write);
}

static void
write_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((vector_write *) call)->rpc);
}

static const nk_call_type write_call_type = {
	.abandon = write_abandon,
};

#define WRITE_TYPE(which, take) \
	{ \
		.method = (which), .shape = NK_UNARY, .write = true, .message = (take), \
		.ended = write_ended \
	}

static const nk_rpc_type create_type = WRITE_TYPE(NK_VECTOR_CREATE_INDEX, create_message);
static const nk_rpc_type drop_type = WRITE_TYPE(NK_VECTOR_DROP_INDEX, drop_message);
static const nk_rpc_type insert_type = WRITE_TYPE(NK_VECTOR_INSERT, insert_message);
static const nk_rpc_type delete_type = WRITE_TYPE(NK_VECTOR_DELETE, delete_message);

/* The call with its namespace, or one that has failed; NULL: no memory. */
static vector_write *
new_write(norikv_client *client, const nk_rpc_type *type, norikv_slice space,
		  const norikv_call_options *options)
{
	vector_write *write = nk_call_new(client, sizeof(*write), &write_call_type, options);

	if (write == NULL)
		return NULL;
	nk_rpc_init(&write->rpc, client, &write->call, type);
	/* it waits while the graph grows: another attempt would gain nothing */
	if (write->rpc.attempt_timeout_ms < write->call.timeout_ms)
		write->rpc.attempt_timeout_ms = write->call.timeout_ms;
	write->result.text = "";
	if (!write->call.done)
		nk_space_set(&write->space, &write->call, space, -1);
	return write;
}

/* The id as protobuf wants it; NULL: the call has failed. */
static char *
id_of(vector_write *write, norikv_slice id)
{
	char	   *text;

	if (write->call.done || !nk_check_vector_id(&write->call, id, -1))
		return NULL;
	text = nk_vector_id(&write->call.arena, id);
	if (text == NULL)
		nk_call_fail(&write->call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
	return text;
}

static bool
take_key(vector_write *write, const norikv_call_options *options)
{
	norikv_client *client = write->call.client;

	if (nk_idempotency_key(client, options, write->key))
		return true;
	write->rpc.slot = nk_slot_take(&client->slots, write->key);
	if (write->rpc.slot != NK_NO_SLOT)
		return true;
	nk_call_fail(&write->call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
	return false;
}

/* Sends the request, which names write->key, unless the call has failed. */
static norikv_call *
start(vector_write *write, const ProtobufCMessage *request,
	  const norikv_call_options *options)
{
	if (!write->call.done && take_key(write, options))
		nk_rpc_start(&write->rpc, wire_pack(request), write->call.deadline);
	if (write->call.done)
	{
		nk_result_from_error(&write->result, &write->call.error);
		show_result(write);
	}
	return &write->call;
}

norikv_call *
norikv_vector_create_index(norikv_client *client, norikv_slice space, uint32_t dimensions,
						   norikv_distance distance, norikv_index_type type,
						   const norikv_call_options *options)
{
	Norikv__V1__CreateVectorIndexRequest request =
		NORIKV__V1__CREATE_VECTOR_INDEX_REQUEST__INIT;
	vector_write *write = new_write(client, &create_type, space, options);

	if (write == NULL)
		return nk_call_no_memory();
	request.namespace_ = write->space.text;
	request.dimensions = dimensions;
	request.distance = (Norikv__V1__DistanceFunction) distance;
	request.index_type = (Norikv__V1__VectorIndexType) type;
	request.idempotency_key = write->key;
	return start(write, &request.base, options);
}

norikv_call *
norikv_vector_drop_index(norikv_client *client, norikv_slice space,
						 const norikv_call_options *options)
{
	Norikv__V1__DropVectorIndexRequest request =
		NORIKV__V1__DROP_VECTOR_INDEX_REQUEST__INIT;
	vector_write *write = new_write(client, &drop_type, space, options);

	if (write == NULL)
		return nk_call_no_memory();
	request.namespace_ = write->space.text;
	request.idempotency_key = write->key;
	return start(write, &request.base, options);
}

norikv_call *
norikv_vector_insert(norikv_client *client, norikv_slice space, norikv_slice id,
					 const float *vector, uint32_t dimensions,
					 const norikv_call_options *options)
{
	Norikv__V1__VectorInsertRequest request = NORIKV__V1__VECTOR_INSERT_REQUEST__INIT;
	vector_write *write = new_write(client, &insert_type, space, options);

	if (write == NULL)
		return nk_call_no_memory();
	request.namespace_ = write->space.text;
	request.id = id_of(write, id);
	if (request.id != NULL)
		nk_check_vector(&write->call, "vector", vector, dimensions, -1);
	request.n_vector = dimensions;
	request.vector = (float *) vector;
	request.idempotency_key = write->key;
	return start(write, &request.base, options);
}

norikv_call *
norikv_vector_delete(norikv_client *client, norikv_slice space, norikv_slice id,
					 const norikv_call_options *options)
{
	Norikv__V1__VectorDeleteRequest request = NORIKV__V1__VECTOR_DELETE_REQUEST__INIT;
	vector_write *write = new_write(client, &delete_type, space, options);

	if (write == NULL)
		return nk_call_no_memory();
	request.namespace_ = write->space.text;
	request.id = id_of(write, id);
	request.idempotency_key = write->key;
	return start(write, &request.base, options);
}

/* ---- As parts of a batch, on servers without a Commit ---- */

grpc_byte_buffer *
nk_vector_request(const norikv_operation *operation, const char *idempotency_key)
{
	char		space[WIRE_MAX_NAMESPACE + 1];
	char		id[WIRE_MAX_VECTOR_ID + 1];

	memcpy(space, operation->vector_namespace.data, operation->vector_namespace.size);
	space[operation->vector_namespace.size] = '\0';
	memcpy(id, operation->key.data, operation->key.size);
	id[operation->key.size] = '\0';
	if (operation->kind == NORIKV_OP_VECTOR_DELETE)
	{
		Norikv__V1__VectorDeleteRequest request = NORIKV__V1__VECTOR_DELETE_REQUEST__INIT;

		request.namespace_ = space;
		request.id = id;
		request.idempotency_key = (char *) idempotency_key;
		return wire_pack(&request.base);
	}
	else
	{
		Norikv__V1__VectorInsertRequest request = NORIKV__V1__VECTOR_INSERT_REQUEST__INIT;

		request.namespace_ = space;
		request.id = id;
		request.n_vector = operation->dimensions;
		request.vector = (float *) operation->vector;
		request.idempotency_key = (char *) idempotency_key;
		return wire_pack(&request.base);
	}
}

static bool
insert_part_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	nk_write   *write = (nk_write *) rpc;

	return take_inserted(&write->result, write->arena, message);
}

static bool
delete_part_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	nk_write   *write = (nk_write *) rpc;

	return take_deleted(&write->result, write->arena, message);
}

static void
part_ended(nk_rpc *rpc)
{
	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
		nk_vector_no_service(rpc);
	nk_write_finish((nk_write *) rpc);
}

const nk_rpc_type nk_vector_insert_type = {
	.method = NK_VECTOR_INSERT,
	.shape = NK_UNARY,
	.write = true,
	.message = insert_part_message,
	.ended = part_ended,
};

const nk_rpc_type nk_vector_delete_type = {
	.method = NK_VECTOR_DELETE,
	.shape = NK_UNARY,
	.write = true,
	.message = delete_part_message,
	.ended = part_ended,
};
