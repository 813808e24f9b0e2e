/*
 * abilities.c - what a node's server can do, asked once a connection, and only
 * when a request depends on it.
 */
#include "internal.h"

#include <stdlib.h>

static bool
probe_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	wire_arena	arena;
	Norikv__Ext__V1__InfoResponse *info;

	wire_arena_init(&arena);
	info = wire_unpack(&norikv__ext__v1__info_response__descriptor, &arena, message);
	if (info != NULL)
		nk_abilities_from_info(&rpc->node->abilities, info);
	wire_arena_free(&arena);
	return info != NULL;
}

static void
probe_ended(nk_rpc *rpc)
{
	nk_node    *node = rpc->node;

	node->probe = NULL;
	if (rpc->client->closing || rpc->abandoned)
	{
		nk_rpc_drop_attempt(rpc);
		nk_rpc_release(rpc);
		free(rpc);
		return;
	}
	/* where the credentials are refused, the request itself shall hear it */
	if (rpc->error.code == NORIKV_UNIMPLEMENTED ||
		rpc->error.code == NORIKV_UNAUTHENTICATED ||
		rpc->error.code == NORIKV_PERMISSION_DENIED)
		node->abilities.known = NK_NO;
	nk_abilities_known(node);
	if (node->abilities.known != NK_UNKNOWN)
		nk_node_wake(node);
	else
		nk_node_fail_waiting(node, "the server does not say what it can do");
	free(rpc);
}

static const nk_rpc_type probe_type = {
	.method = NK_INFO,
	.shape = NK_UNARY,
	.message = probe_message,
	.ended = probe_ended,
};

void
nk_abilities_from_info(nk_abilities *abilities, const Norikv__Ext__V1__InfoResponse *info)
{
	memset(abilities, 0, sizeof(*abilities));
	abilities->known = NK_YES;
	for (size_t i = 0; i < info->n_capabilities; i++)
	{
		const char *name = info->capabilities[i];

		abilities->atomic_cas |= strcmp(name, "atomic_cas") == 0;
		abilities->create |= strcmp(name, "create") == 0;
		abilities->conditional_delete |= strcmp(name, "conditional_delete") == 0;
		abilities->batch |= strcmp(name, "batch") == 0;
		abilities->keepalive |= strcmp(name, "keepalive") == 0;
		abilities->vector_checks |= strcmp(name, "vector_checks") == 0;
		abilities->vector_ranges |= strcmp(name, "vector_ranges") == 0;
	}
	if (info->limits != NULL)
		abilities->multi_get_keys = info->limits->multi_get_keys;
}

/*
 * Keepalive pings are told to the channel when it is made, and a server that does
 * not want them closes the connection: so they begin with a new one, once the
 * server has said that they are welcome. A unix socket does not need them.
 */
void
nk_abilities_known(nk_node *node)
{
	nk_abilities abilities = node->abilities;

	if (!abilities.keepalive || node->with_keepalive || node->address.local)
		return;
	node->with_keepalive = true;
	nk_node_reconnect(node);
	node->abilities = abilities;
}

void
nk_abilities_ask(nk_node *node)
{
	norikv_client *client = node->client;
	Norikv__Ext__V1__InfoRequest request = NORIKV__EXT__V1__INFO_REQUEST__INIT;

	if (node->probe != NULL)
		return;
	node->probe = malloc(sizeof(*node->probe));
	if (node->probe == NULL)
		return;					/* those who wait give up in time */
	nk_rpc_init(node->probe, client, NULL, &probe_type);
	node->probe->pinned = true;
	node->probe->node = node;
	nk_rpc_start(node->probe, wire_pack(&request.base),
				 nk_now() + (nk_time) client->options.attempt_timeout_ms * 1000);
}

void
nk_abilities_forget(nk_node *node)
{
	memset(&node->abilities, 0, sizeof(node->abilities));
}

void
nk_abilities_free(nk_node *node)
{
	nk_rpc	   *probe = node->probe;

	node->probe = NULL;
	if (probe != NULL && nk_rpc_abandon(probe))
		free(probe);
}
