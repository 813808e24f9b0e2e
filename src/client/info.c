/*
 * info.c - the server: what it is, and whether it serves.
 */
#include "internal.h"

typedef struct info_call
{
	norikv_call call;
	nk_rpc		rpc;
	norikv_info info;
} info_call;

static void
set_capability(norikv_info *info, const char *name)
{
	const struct
	{
		const char *name;
		bool	   *flag;
	}			known[] = {
		{"atomic_cas", &info->atomic_cas},
		{"create", &info->create},
		{"conditional_delete", &info->conditional_delete},
		{"ttl", &info->ttl},
		{"scan", &info->scan},
		{"batch", &info->batch},
		{"transactions", &info->transactions},
		{"add", &info->add},
		{"watch", &info->watch},
		{"quotas", &info->quotas},
		{"vectors", &info->vectors},
		{"vector_checks", &info->vector_checks},
		{"vector_scan", &info->vector_scan},
		{"vector_ranges", &info->vector_ranges},
		{"durable", &info->durable},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
	{
		if (strcmp(known[i].name, name) == 0)
			*known[i].flag = true;
	}
}

static bool
info_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	info_call  *call = (info_call *) rpc->call;
	norikv_info *info = &call->info;
	Norikv__Ext__V1__InfoResponse *response;

	response = wire_unpack(&norikv__ext__v1__info_response__descriptor, &call->call.arena,
						   message);
	if (response == NULL)
		return false;
	nk_abilities_from_info(&rpc->node->abilities, response);
	info->name = response->name;
	info->version = response->version;
	info->engine = response->engine;
	info->store_id = response->store_id;
	for (size_t i = 0; i < response->n_capabilities; i++)
		set_capability(info, response->capabilities[i]);
	if (response->limits != NULL)
	{
		info->commit_operations = response->limits->commit_operations;
		info->commit_conditions = response->limits->commit_conditions;
		info->commit_bytes = response->limits->commit_bytes;
		info->key_bytes = response->limits->key_bytes;
		info->value_bytes = response->limits->value_bytes;
		info->message_bytes = response->limits->message_bytes;
		info->multi_get_keys = response->limits->multi_get_keys;
	}
	info->expiry_granularity_ms = response->expiry_granularity_ms;
	info->store_time_ms = response->store_time_ms;
	info->latest = (norikv_version) {response->latest_term, response->latest_index};
	return true;
}

static void
info_ended(nk_rpc *rpc)
{
	info_call  *call = (info_call *) rpc->call;
	norikv_info *info = &call->info;

	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
	{
		rpc->node->abilities.known = NK_NO;
		nk_error_clear(&rpc->error);
		info->ttl = true;
	}
	nk_abilities_known(rpc->node);
	info->atomic_cas |= rpc->client->options.trust_cas;
	call->call.info = info;
	nk_call_finish(&call->call, &rpc->error);
}

static bool
health_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	Grpc__Health__V1__HealthCheckResponse *response;

	response = wire_unpack(&grpc__health__v1__health_check_response__descriptor,
						   &rpc->call->arena, message);
	if (response == NULL)
		return false;
	rpc->call->count = response->status ==
					   GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	return true;
}

static void
health_ended(nk_rpc *rpc)
{
	nk_call_finish(rpc->call, &rpc->error);
	if (rpc->error.code == NORIKV_OK && rpc->call->count == 0)
		nk_call_fail(rpc->call, NORIKV_UNAVAILABLE, "%s answers that it is not serving",
					 rpc->node->address.name);
}

static void
info_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((info_call *) call)->rpc);
}

static const nk_rpc_type info_rpc_type = {
	.method = NK_INFO,
	.shape = NK_UNARY,
	.message = info_message,
	.ended = info_ended,
};

static const nk_rpc_type health_rpc_type = {
	.method = NK_HEALTH,
	.shape = NK_UNARY,
	.message = health_message,
	.ended = health_ended,
};

static const nk_call_type info_type = {
	.abandon = info_abandon,
};

static norikv_call *
ask(norikv_client *client, const nk_rpc_type *type, grpc_byte_buffer *request,
	const norikv_call_options *options)
{
	info_call  *call = nk_call_new(client, sizeof(*call), &info_type, options);

	if (call == NULL)
	{
		grpc_byte_buffer_destroy(request);
		return nk_call_no_memory();
	}
	call->info.name = call->info.version = call->info.engine = call->info.store_id = "";
	nk_rpc_init(&call->rpc, client, &call->call, type);
	if (call->call.done)
		grpc_byte_buffer_destroy(request);
	else
		nk_rpc_start(&call->rpc, request, call->call.deadline);
	return &call->call;
}

norikv_call *
norikv_get_info(norikv_client *client, const norikv_call_options *options)
{
	Norikv__Ext__V1__InfoRequest request = NORIKV__EXT__V1__INFO_REQUEST__INIT;

	return ask(client, &info_rpc_type, wire_pack(&request.base), options);
}

norikv_call *
norikv_health(norikv_client *client, const norikv_call_options *options)
{
	Grpc__Health__V1__HealthCheckRequest request =
		GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

	return ask(client, &health_rpc_type, wire_pack(&request.base), options);
}
