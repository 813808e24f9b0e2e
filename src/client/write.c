/*
 * write.c - Put and Delete: one key, one round trip, once.
 */
#include "internal.h"

#include <stdlib.h>

typedef struct write_call
{
	norikv_call call;
	nk_rpc		rpc;
	norikv_operation operation; /* key in key[]; value only while it is packed */
	norikv_operation_result result;
	char		key[];
} write_call;

/* What a single write cannot be; the reason in the call's error. */
bool
nk_check_operation(norikv_call *call, const norikv_operation *operation, int64_t at)
{
	if (!nk_check_key(call, operation->key, at))
		return false;
	if (operation->value.size > WIRE_MAX_VALUE)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "value of %zu bytes: a value can have %d at most",
					 operation->value.size, WIRE_MAX_VALUE);
	else if (operation->ttl == NORIKV_TTL_SET &&
			 (operation->ttl_ms == 0 || operation->ttl_ms > NK_HUNDRED_YEARS_MS))
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "ttl of %llu ms: it must be 1 ms to 100 years",
					 (unsigned long long) operation->ttl_ms);
	else if (operation->condition == NORIKV_IF_VERSION && operation->version.index == 0)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "version %llu/0 is no version: index 0 means that the key is absent",
					 (unsigned long long) operation->version.term);
	else
		return true;
	call->error.operation = at;
	return false;
}

static Norikv__V1__Version *
condition(const norikv_operation *operation, Norikv__V1__Version *version)
{
	if (operation->condition == NORIKV_IF_ANY)
		return NULL;
	norikv__v1__version__init(version);
	if (operation->condition == NORIKV_IF_VERSION)
	{
		version->term = operation->version.term;
		version->index = operation->version.index;
	}
	return version;
}

grpc_byte_buffer *
nk_write_request(const norikv_operation *operation, const char *idempotency_key)
{
	Norikv__V1__Version version;

	if (operation->kind == NORIKV_OP_DELETE)
	{
		Norikv__V1__DeleteRequest request = NORIKV__V1__DELETE_REQUEST__INIT;

		request.key.data = (uint8_t *) operation->key.data;
		request.key.len = operation->key.size;
		request.idempotency_key = (char *) idempotency_key;
		request.if_match = condition(operation, &version);
		return wire_pack(&request.base);
	}
	else
	{
		Norikv__V1__PutRequest request = NORIKV__V1__PUT_REQUEST__INIT;

		request.key.data = (uint8_t *) operation->key.data;
		request.key.len = operation->key.size;
		request.value.data = (uint8_t *) operation->value.data;
		request.value.len = operation->value.size;
		request.ttl_ms = operation->ttl == NORIKV_TTL_SET ? operation->ttl_ms : 0;
		request.idempotency_key = (char *) idempotency_key;
		request.if_match = condition(operation, &version);
		return wire_pack(&request.base);
	}
}

bool
nk_write_response(const nk_rpc *rpc, wire_arena *arena, grpc_byte_buffer *message,
				  norikv_operation_result *result)
{
	Norikv__V1__Version *version;

	if (rpc->type->method == NK_DELETE)
	{
		Norikv__V1__DeleteResponse *response =
			wire_unpack(&norikv__v1__delete_response__descriptor, arena, message);

		if (response == NULL)
			return false;
		result->existed = response->tombstoned;
		version = response->version;
	}
	else
	{
		Norikv__V1__PutResponse *response =
			wire_unpack(&norikv__v1__put_response__descriptor, arena, message);

		if (response == NULL)
			return false;
		version = response->version;
	}
	if (version != NULL)
	{
		result->version.term = version->term;
		result->version.index = version->index;
	}
	return true;
}

/* The outcome of a write in the words of a result; text stays the error's. */
void
nk_result_from_error(norikv_operation_result *result, const norikv_error *error)
{
	result->code = error->code;
	result->outcome_unknown = error->outcome_unknown;
	result->version_mismatch = error->version_mismatch;
	result->text = error->text;
	if (error->version_mismatch)
		result->version = error->present;
}

static bool
write_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	write_call *write = (write_call *) rpc->call;

	return nk_write_response(rpc, &write->call.arena, message, &write->result);
}

static void
write_ended(nk_rpc *rpc)
{
	write_call *write = (write_call *) rpc->call;
	norikv_call *call = &write->call;

	/* a Delete without a condition that found nothing to delete */
	if (rpc->error.code == NORIKV_NOT_FOUND && rpc->type->method == NK_DELETE &&
		write->operation.condition == NORIKV_IF_ANY)
		nk_error_clear(&rpc->error);
	if (rpc->error.version_mismatch && rpc->error.expected.index == 0 &&
		write->operation.condition == NORIKV_IF_VERSION)
		rpc->error.expected = write->operation.version;
	nk_call_finish(call, &rpc->error);
	nk_result_from_error(&write->result, &call->error);
	call->results = &write->result;
	call->n_results = 1;
}

static void
write_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((write_call *) call)->rpc);
}

const nk_rpc_type nk_put_type = {
	.method = NK_PUT,
	.shape = NK_UNARY,
	.write = true,
	.message = write_message,
	.ended = write_ended,
};

const nk_rpc_type nk_delete_type = {
	.method = NK_DELETE,
	.shape = NK_UNARY,
	.write = true,
	.message = write_message,
	.ended = write_ended,
};

static const nk_call_type write_type = {
	.abandon = write_abandon,
};

/* The caller's key, or a slot's; false when out of memory. */
bool
nk_idempotency_key(nk_rpc *rpc, const norikv_call_options *options,
				   char key[NK_IDEMPOTENCY_KEY_SIZE])
{
	if (options != NULL && options->idempotency_key.size > 0)
	{
		memcpy(key, options->idempotency_key.data, options->idempotency_key.size);
		key[options->idempotency_key.size] = '\0';
		return true;
	}
	rpc->slot = nk_slot_take(&rpc->client->slots, key);
	return rpc->slot != NK_NO_SLOT;
}

static void
write_start(write_call *write, const norikv_operation *operation,
			const norikv_call_options *options)
{
	norikv_call *call = &write->call;
	nk_rpc	   *rpc = &write->rpc;
	char		key[NK_IDEMPOTENCY_KEY_SIZE];

	if (operation->kind != NORIKV_OP_PUT && operation->kind != NORIKV_OP_DELETE)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "operation %d is neither a put nor a delete: use norikv_commit()",
					 (int) operation->kind);
	else if (operation->kind == NORIKV_OP_DELETE && operation->condition == NORIKV_IF_ABSENT)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "a delete cannot have the condition that the key is absent");
	else if (operation->kind == NORIKV_OP_PUT && operation->ttl == NORIKV_TTL_KEEP)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "a single put cannot keep the present ttl: use norikv_commit()");
	if (call->done || !nk_check_operation(call, operation, -1))
		return;
	memcpy(write->key, operation->key.data, operation->key.size);
	write->operation.key = (norikv_slice) {write->key, operation->key.size};
	rpc->key = write->operation.key;
	if (nk_idempotency_key(rpc, options, key))
		nk_rpc_start(rpc, nk_write_request(operation, key), call->deadline);
	else
		nk_call_fail(call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
}

norikv_call *
norikv_write(norikv_client *client, const norikv_operation *operation,
			 const norikv_call_options *options)
{
	size_t		key_room = operation->key.size <= WIRE_MAX_KEY ? operation->key.size : 0;
	write_call *write = nk_call_new(client, sizeof(*write) + key_room, &write_type, options);

	if (write == NULL)
		return nk_call_no_memory();
	nk_rpc_init(&write->rpc, client, &write->call,
				operation->kind == NORIKV_OP_DELETE ? &nk_delete_type : &nk_put_type);
	write->operation = *operation;
	write->result.text = "";
	if (!write->call.done)
		write_start(write, operation, options);
	if (write->call.done)
	{
		nk_result_from_error(&write->result, &write->call.error);
		write->call.results = &write->result;
		write->call.n_results = 1;
	}
	return &write->call;
}
