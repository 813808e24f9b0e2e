/*
 * quota.c - SetQuota and Usage.
 */
#include "internal.h"

typedef struct quota_call
{
	norikv_call call;
	nk_rpc		rpc;
	norikv_usage_counts usage;
} quota_call;

static bool
usage_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	quota_call *call = (quota_call *) rpc->call;
	Norikv__Ext__V1__UsageResponse *response;

	response = wire_unpack(&norikv__ext__v1__usage_response__descriptor,
						   &call->call.arena, message);
	if (response == NULL)
		return false;
	call->usage = (norikv_usage_counts) {
		.keys = response->keys,
		.bytes = response->bytes,
		.max_keys = response->max_keys,
		.max_bytes = response->max_bytes,
		.recounting = response->recounting,
	};
	call->call.usage = &call->usage;
	return true;
}

static bool
set_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	return wire_unpack(&norikv__ext__v1__set_quota_response__descriptor,
					   &rpc->call->arena, message) != NULL;
}

static void
quota_ended(nk_rpc *rpc)
{
	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
		nk_error_set(&rpc->error, NORIKV_UNIMPLEMENTED, "%s has no quotas",
					 rpc->node->address.name);
	nk_call_finish(rpc->call, &rpc->error);
}

static void
quota_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((quota_call *) call)->rpc);
}

/* With a slot's key: one that comes late must not bring back an older limit. */
static const nk_rpc_type set_rpc_type = {
	.method = NK_SET_QUOTA,
	.shape = NK_UNARY,
	.write = true,
	.message = set_message,
	.ended = quota_ended,
};

static const nk_rpc_type usage_rpc_type = {
	.method = NK_USAGE,
	.shape = NK_UNARY,
	.message = usage_message,
	.ended = quota_ended,
};

static const nk_call_type quota_type = {
	.abandon = quota_abandon,
};

/* A call about this prefix, which is full in room; done where it was refused. */
static quota_call *
new_call(norikv_client *client, const nk_rpc_type *type, norikv_slice prefix,
		 const norikv_call_options *options)
{
	quota_call *call = nk_call_new(client, sizeof(*call), &quota_type, options);

	if (call == NULL)
		return NULL;
	nk_rpc_init(&call->rpc, client, &call->call, type);
	if (!call->call.done)
		nk_check_bound(&call->call, "prefix of a quota", prefix, norikv_max_key(client),
					   -1);
	return call;
}

static norikv_call *
set_quota(norikv_client *client, const norikv_quota *quota, bool remove,
		  const norikv_call_options *options)
{
	Norikv__Ext__V1__SetQuotaRequest request = NORIKV__EXT__V1__SET_QUOTA_REQUEST__INIT;
	quota_call *call = new_call(client, &set_rpc_type, quota->prefix, options);
	char		room[WIRE_MAX_KEY + 1];
	char		slot_key[NK_SLOT_KEY_SIZE];
	norikv_slice prefix;

	if (call == NULL)
		return nk_call_no_memory();
	if (!call->call.done && quota->prefix.size == 0 && client->prefix.key.size > 0)
		nk_call_fail(&call->call, NORIKV_PERMISSION_DENIED,
					 "a client with a key_prefix cannot change the quota of all that it "
					 "may see");
	if (call->call.done)
		return &call->call;
	prefix = nk_full_key(client, quota->prefix, room);
	request.prefix.data = (uint8_t *) prefix.data;
	request.prefix.len = prefix.size;
	request.max_keys = quota->max_keys;
	request.max_bytes = quota->max_bytes;
	request.remove = remove;
	call->rpc.slot = nk_slot_take(&client->slots, slot_key);
	if (call->rpc.slot == NK_NO_SLOT)
	{
		nk_call_fail(&call->call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		return &call->call;
	}
	request.idempotency_key = slot_key;
	nk_rpc_start(&call->rpc, wire_pack(&request.base), call->call.deadline);
	return &call->call;
}

norikv_call *
norikv_set_quota(norikv_client *client, const norikv_quota *quota,
				 const norikv_call_options *options)
{
	return set_quota(client, quota, false, options);
}

norikv_call *
norikv_remove_quota(norikv_client *client, norikv_slice prefix,
					const norikv_call_options *options)
{
	return set_quota(client, &(norikv_quota) {.prefix = prefix}, true, options);
}

norikv_call *
norikv_usage(norikv_client *client, norikv_slice prefix,
			 const norikv_call_options *options)
{
	Norikv__Ext__V1__UsageRequest request = NORIKV__EXT__V1__USAGE_REQUEST__INIT;
	quota_call *call = new_call(client, &usage_rpc_type, prefix, options);
	char		room[WIRE_MAX_KEY + 1];

	if (call == NULL)
		return nk_call_no_memory();
	if (call->call.done)
		return &call->call;
	prefix = nk_full_key(client, prefix, room);
	request.prefix.data = (uint8_t *) prefix.data;
	request.prefix.len = prefix.size;
	nk_rpc_start(&call->rpc, wire_pack(&request.base), call->call.deadline);
	return &call->call;
}
