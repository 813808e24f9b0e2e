/*
 * write.c - Put and Delete: one key, one round trip, once.
 */
#include "write.h"

typedef struct write_call
{
	norikv_call call;
	nk_write	write;
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
			 (operation->ttl_ms == 0 || operation->ttl_ms > WIRE_MAX_TTL_MS))
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

	if (operation->kind == NORIKV_OP_VECTOR_PUT ||
		operation->kind == NORIKV_OP_VECTOR_DELETE)
		return nk_vector_request(operation, idempotency_key);
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

static void
set_version(norikv_operation_result *result, const Norikv__V1__Version *version)
{
	if (version == NULL)
		return;
	result->version.term = version->term;
	result->version.index = version->index;
}

bool
nk_write_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	nk_write   *write = (nk_write *) rpc;

	if (rpc->type->method == NK_DELETE)
	{
		Norikv__V1__DeleteResponse *response =
			wire_unpack(&norikv__v1__delete_response__descriptor, write->arena, message);

		if (response == NULL)
			return false;
		write->result.existed = response->tombstoned;
		set_version(&write->result, response->version);
	}
	else
	{
		Norikv__V1__PutResponse *response =
			wire_unpack(&norikv__v1__put_response__descriptor, write->arena, message);

		if (response == NULL)
			return false;
		set_version(&write->result, response->version);
	}
	return true;
}

void
nk_write_take_result(nk_rpc *rpc, const Norikv__Ext__V1__OperationResult *result)
{
	nk_write   *write = (nk_write *) rpc;

	write->result.version.term = result->version_term;
	write->result.version.index = result->version_index;
	write->result.existed = rpc->type->method == NK_DELETE && result->existed;
}

/* The outcome of a write in the words of a result; text stays the error's. */
void
nk_result_from_error(norikv_operation_result *result, const norikv_error *error)
{
	result->code = error->code;
	result->outcome_unknown = error->outcome_unknown;
	result->version_mismatch = error->version_mismatch;
	result->quota_exceeded = error->quota_exceeded;
	result->text = error->text;
	if (error->version_mismatch)
		result->version = error->present;
}

void
nk_write_finish(nk_write *write)
{
	norikv_error *error = &write->rpc.error;

	if (error->version_mismatch && error->expected.index == 0 &&
		write->operation.condition == NORIKV_IF_VERSION)
		error->expected = write->operation.version;
	nk_result_from_error(&write->result, error);
	write->finished(write);
}

static void
write_ended(nk_rpc *rpc)
{
	nk_write   *write = (nk_write *) rpc;

	/* a Delete without a condition that found nothing to delete */
	if (rpc->error.code == NORIKV_NOT_FOUND && rpc->type->method == NK_DELETE &&
		write->operation.condition == NORIKV_IF_ANY)
		nk_error_clear(&rpc->error);
	nk_write_finish(write);
}

static const nk_rpc_type put_type = {
	.method = NK_PUT,
	.shape = NK_UNARY,
	.write = true,
	.gathers = true,
	.message = nk_write_message,
	.take_result = nk_write_take_result,
	.ended = write_ended,
};

static const nk_rpc_type delete_type = {
	.method = NK_DELETE,
	.shape = NK_UNARY,
	.write = true,
	.gathers = true,
	.message = nk_write_message,
	.take_result = nk_write_take_result,
	.ended = write_ended,
};

/* Two conditions are not known to every server: those wait for what it can do. */
static const nk_rpc_type *
type_of(const norikv_operation *operation)
{
	if (operation->kind == NORIKV_OP_VECTOR_PUT)
		return &nk_vector_insert_type;
	if (operation->kind == NORIKV_OP_VECTOR_DELETE)
		return &nk_vector_delete_type;
	if (operation->kind == NORIKV_OP_DELETE)
		return operation->condition == NORIKV_IF_ANY ? &delete_type
			: &nk_conditional_delete_type;
	return operation->condition == NORIKV_IF_ABSENT ? &nk_create_type : &put_type;
}

bool
nk_write_start(nk_write *write, norikv_client *client, norikv_call *call,
			   wire_arena *arena, void (*finished)(nk_write *write),
			   const norikv_operation *operation, const char *idempotency_key)
{
	char		slot_key[NK_SLOT_KEY_SIZE];

	nk_rpc_init(&write->rpc, client, call, type_of(operation));
	write->operation = *operation;
	memset(&write->result, 0, sizeof(write->result));
	write->result.text = "";
	write->arena = arena;
	write->step = 0;
	write->generation = 0;
	write->own_key = NULL;
	write->finished = finished;
	write->rpc.key = operation->key;
	if (idempotency_key == NULL)
	{
		write->rpc.slot = nk_slot_take(&client->slots, slot_key);
		if (write->rpc.slot == NK_NO_SLOT)
			return false;
		idempotency_key = slot_key;
	}
	nk_rpc_start(&write->rpc, nk_write_request(operation, idempotency_key),
				 call->deadline);
	return true;
}

/* ---- The call ---- */

static void
show(nk_write *write)
{
	norikv_call *call = write->rpc.call;

	nk_call_finish(call, &write->rpc.error);
	write->result.text = call->error.text;
	call->results = &write->result;
	call->n_results = 1;
}

static void
write_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((write_call *) call)->write.rpc);
}

static const nk_call_type write_type = {
	.abandon = write_abandon,
};

static bool
is_slot_key(norikv_slice key)
{
	size_t		prefix = strlen(WIRE_SLOT_KEY_PREFIX);

	return key.size > prefix && memcmp(key.data, WIRE_SLOT_KEY_PREFIX, prefix) == 0;
}

bool
nk_idempotency_key(const norikv_client *client, const norikv_call_options *options,
				   char key[NK_IDEMPOTENCY_KEY_SIZE])
{
	const nk_prefix *prefix = &client->prefix;
	norikv_slice given;
	size_t		scope_size;

	if (options == NULL || options->idempotency_key.size == 0)
		return false;
	given = options->idempotency_key;
	/* the uuid of a slot keeps it apart, and behind a scope it would be none */
	scope_size = is_slot_key(given) ? 0 : prefix->scope_size;
	memcpy(key, prefix->scope, scope_size);
	memcpy(key + scope_size, given.data, given.size);
	key[scope_size + given.size] = '\0';
	return true;
}

static bool
check(norikv_call *call, const norikv_operation *operation)
{
	const char *complaint = NULL;

	if (operation->kind != NORIKV_OP_PUT && operation->kind != NORIKV_OP_DELETE)
		complaint = "it is neither a put nor a delete: use norikv_commit()";
	else if (operation->kind == NORIKV_OP_DELETE &&
			 operation->condition == NORIKV_IF_ABSENT)
		complaint = "a delete cannot have the condition that the key is absent";
	else if (operation->kind == NORIKV_OP_PUT && operation->ttl == NORIKV_TTL_KEEP)
		complaint = "it cannot keep the present ttl: use norikv_commit()";
	if (complaint == NULL)
		return nk_check_operation(call, operation, -1);
	nk_call_fail(call, NORIKV_INVALID_ARGUMENT, "single write: %s", complaint);
	return false;
}

static void
start(write_call *write, const norikv_operation *operation,
	  const norikv_call_options *options)
{
	norikv_call *call = &write->call;
	norikv_operation copy = *operation;
	char		key[NK_IDEMPOTENCY_KEY_SIZE];
	bool		own_key;

	copy.key = nk_full_key(call->client, operation->key, write->key);
	own_key = nk_idempotency_key(call->client, options, key);
	if (!nk_write_start(&write->write, call->client, call, &call->arena, show, &copy,
						own_key ? key : NULL))
		nk_call_fail(call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
}

norikv_call *
norikv_write(norikv_client *client, const norikv_operation *operation,
			 const norikv_call_options *options)
{
	size_t		key_room = operation->key.size <= WIRE_MAX_KEY ? operation->key.size : 0;
	write_call *write =
		nk_call_new(client, sizeof(*write) + NK_PREFIX_ROOM(client) + key_room,
					&write_type, options);
	norikv_operation_result *result;

	if (write == NULL)
		return nk_call_no_memory();
	if (!write->call.done && check(&write->call, operation))
		start(write, operation, options);
	if (write->call.done)
	{
		result = &write->write.result;
		nk_result_from_error(result, &write->call.error);
		write->call.results = result;
		write->call.n_results = 1;
	}
	return &write->call;
}
