/*
 * kv.c - norikv.v1.Kv: Put, Get and Delete of one key.
 */
#include "services.h"

#include <grpc/support/log.h>

#include "norikv.pb-c.h"
#include "request.h"

/* Requests kept posted on each queue: a burst of this many finds one waiting. */
#define POSTED 512

/* ---- Get ---- */

static void
get_done(void *arg, const engine_status *status, const engine_entry *entries,
		 size_t n_entries)
{
	call	   *self = arg;
	Norikv__V1__GetResponse response = NORIKV__V1__GET_RESPONSE__INIT;
	Norikv__V1__Version version = NORIKV__V1__VERSION__INIT;

	(void) n_entries;
	if (status->code != ENGINE_OK)
	{
		call_fail_text(self, (int) status->code, status->text);
		return;
	}
	if (!call_take_memory(self, entries->value.size))
		return;
	if (entries->version.index != 0)
	{
		version.term = entries->version.term;
		version.index = entries->version.index;
		response.version = &version;
		response.value.data = (uint8_t *) entries->value.data;
		response.value.len = entries->value.size;
	}
	else if (self->server->options.absent_not_found)
	{
		call_fail_text(self, GRPC_STATUS_NOT_FOUND, "there is no such key");
		return;
	}
	call_answer(self, &response.base);
}

static void
start_get(call *self)
{
	const Norikv__V1__GetRequest *request;
	engine_consistency consistency;
	engine_slice *key;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(self, &norikv__v1__get_request__descriptor);
	if (request == NULL)
		return;
	/* Where the engine answers later, the key must still be there. */
	key = wire_arena_alloc(&self->arena, sizeof(*key));
	if (!request_get(request, key, &consistency, error))
	{
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
		return;
	}
	self->server->engine->methods->get(self->server->engine, key, 1, consistency,
									   get_done, self);
}

const method kv_get = {
	.name = WIRE_METHOD_GET,
	.posted = POSTED,
	.start = start_get,
};

/* ---- Put and Delete: a unit of one operation ---- */

static void
answer_put(call *self, const engine_result *result)
{
	Norikv__V1__PutResponse response = NORIKV__V1__PUT_RESPONSE__INIT;
	Norikv__V1__Version version = NORIKV__V1__VERSION__INIT;

	version.term = result->version.term;
	version.index = result->version.index;
	response.version = &version;
	call_answer(self, &response.base);
}

static void
answer_delete(call *self, const engine_result *result)
{
	Norikv__V1__DeleteResponse response = NORIKV__V1__DELETE_RESPONSE__INIT;
	Norikv__V1__Version version = NORIKV__V1__VERSION__INIT;

	response.tombstoned = result->existed;
	if (result->existed)
	{
		version.term = result->version.term;
		version.index = result->version.index;
		response.version = &version;
	}
	call_answer(self, &response.base);
}

static void
start_put(call *self)
{
	const Norikv__V1__PutRequest *request;
	service_write *write;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(self, &norikv__v1__put_request__descriptor);
	if (request == NULL)
		return;
	write = wire_arena_alloc(&self->arena, sizeof(*write));
	write->answer = answer_put;
	if (!request_put(request, &write->op, error))
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
	else
		service_commit(self, write, request->idempotency_key);
}

static void
start_delete(call *self)
{
	const Norikv__V1__DeleteRequest *request;
	service_write *write;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(self, &norikv__v1__delete_request__descriptor);
	if (request == NULL)
		return;
	write = wire_arena_alloc(&self->arena, sizeof(*write));
	write->answer = answer_delete;
	if (!request_delete(request, &write->op, error))
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
	else
		service_commit(self, write, request->idempotency_key);
}

const method kv_put = {
	.name = WIRE_METHOD_PUT,
	.watched = true,
	.posted = POSTED,
	.start = start_put,
};

const method kv_delete = {
	.name = WIRE_METHOD_DELETE,
	.watched = true,
	.posted = POSTED,
	.start = start_delete,
};
