/*
 * ext_quota.c - norikv.ext.v1.Kv/SetQuota and Usage.
 */
#include "services.h"

#include "norikv_ext.pb-c.h"
#include "request.h"

typedef struct quota_write
{
	engine_op	op;
	engine_unit unit;
} quota_write;

/* The operation's own words, which say more than those of the unit. */
static void
quota_set(void *arg, const engine_outcome *outcome)
{
	Norikv__Ext__V1__SetQuotaResponse response = NORIKV__EXT__V1__SET_QUOTA_RESPONSE__INIT;
	call	   *self = arg;

	if (outcome->status.code != ENGINE_OK)
		call_fail_text(self, (int) outcome->status.code, outcome->status.text);
	else
		call_answer(self, &response.base);
}

static void
start_set_quota(call *self)
{
	const Norikv__Ext__V1__SetQuotaRequest *request;
	engine	   *store = self->server->engine;
	quota_write *write;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(self, &norikv__ext__v1__set_quota_request__descriptor);
	if (request == NULL)
		return;
	write = wire_arena_alloc(&self->arena, sizeof(*write));
	if (!request_set_quota(request, &write->op, error) ||
		!request_idempotency_key(request->idempotency_key, &write->unit.idempotency_key,
								 error))
	{
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
		return;
	}
	write->unit.atomic = true;
	write->unit.ops = &write->op;
	write->unit.n_ops = 1;
	write->unit.may_start = service_may_start;
	write->unit.done = quota_set;
	write->unit.arg = self;
	if (write->unit.idempotency_key.size > 0)
	{
		write->unit.scope = call_credential(self);
		engine_unit_fingerprint(&write->unit);
	}
	store->methods->commit(store, &write->unit);
}

static void
usage_read(void *arg, const engine_status *status, const engine_usage *usage)
{
	Norikv__Ext__V1__UsageResponse response = NORIKV__EXT__V1__USAGE_RESPONSE__INIT;
	call	   *self = arg;

	if (status->code != ENGINE_OK)
	{
		call_fail_text(self, (int) status->code, status->text);
		return;
	}
	response.keys = usage->keys;
	response.bytes = usage->bytes;
	response.max_keys = usage->quota.max_keys;
	response.max_bytes = usage->quota.max_bytes;
	response.recounting = usage->recounting;
	call_answer(self, &response.base);
}

static void
start_usage(call *self)
{
	const Norikv__Ext__V1__UsageRequest *request;
	engine	   *store = self->server->engine;
	engine_slice prefix;
	char		error[REQUEST_ERROR_SIZE];

	request = call_unpack(self, &norikv__ext__v1__usage_request__descriptor);
	if (request == NULL)
		return;
	if (request_usage(request, &prefix, error))
		store->methods->usage(store, prefix, usage_read, self);
	else
		call_fail_text(self, GRPC_STATUS_INVALID_ARGUMENT, error);
}

const method ext_set_quota = {
	.name = WIRE_METHOD_SET_QUOTA,
	.watched = true,
	.posted = 32,
	.start = start_set_quota,
};

const method ext_usage = {
	.name = WIRE_METHOD_USAGE,
	.posted = 32,
	.start = start_usage,
};
