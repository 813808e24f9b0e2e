/*
 * follow.c - the client's own watch of the cluster: who leads which shard.
 *
 * Where several nodes are configured, a stream of views is kept from one of them.
 * A view is believed as far as it names addresses that were configured: those are
 * the ones this client was told to trust, and other servers' views are known to
 * carry addresses that lead nowhere (NoriKV's own, its gossip ports). Where a view
 * is wrong or old, a request is answered NOT_LEADER and goes on to the next node.
 */
#include "internal.h"

#include <stdlib.h>

#define NEXT_TRY_US 1000000

/* The configured node with this address, or NULL. */
static nk_node *
configured(norikv_client *client, const char *name)
{
	nk_address	address;
	norikv_error ignored;

	if (nk_addresses_parse(name, &address, 1, &ignored) != 1)
		return NULL;
	for (uint32_t i = 0; i < client->n_nodes; i++)
	{
		if (strcmp(client->nodes[i].address.name, address.name) == 0)
			return &client->nodes[i];
	}
	return NULL;
}

static nk_node *
leader(norikv_client *client, const Norikv__V1__ClusterView *view,
	   const Norikv__V1__ShardInfo *shard)
{
	for (size_t i = 0; i < shard->n_replicas; i++)
	{
		if (!shard->replicas[i]->leader)
			continue;
		for (size_t j = 0; j < view->n_nodes; j++)
		{
			if (strcmp(view->nodes[j]->id, shard->replicas[i]->node_id) == 0)
				return configured(client, view->nodes[j]->addr);
		}
	}
	return NULL;
}

bool
nk_follow_take(norikv_client *client, const Norikv__V1__ClusterView *view)
{
	size_t		count = view->n_shards;
	nk_node   **leaders = calloc(count + 1, sizeof(*leaders));

	if (leaders == NULL)
		return false;
	for (size_t i = 0; i < count; i++)
	{
		const Norikv__V1__ShardInfo *shard = view->shards[i];

		/* a view that leaves shards out does not say how many there are */
		if (shard->id >= count)
		{
			count = 0;
			break;
		}
		leaders[shard->id] = leader(client, view, shard);
	}
	free(client->view.leaders);
	client->view.leaders = leaders;
	client->view.n_shards = (uint32_t) count;
	return true;
}

static bool
follow_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	wire_arena	arena;
	Norikv__V1__ClusterView *view;
	bool		taken;

	wire_arena_init(&arena);
	view = wire_unpack(&norikv__v1__cluster_view__descriptor, &arena, message);
	taken = view != NULL && nk_follow_take(rpc->client, view);
	wire_arena_free(&arena);
	return taken;
}

static void
follow_ended(nk_rpc *rpc)
{
	nk_view    *view = &rpc->client->view;

	if (rpc->abandoned)
	{
		nk_rpc_drop_attempt(rpc);
		nk_rpc_release(rpc);
	}
	else
	{
		view->stream = NULL;
		view->n_shards = 0;
		view->unwanted = rpc->error.code == NORIKV_UNIMPLEMENTED;
		view->next_try = nk_now() + NEXT_TRY_US;
	}
	free(rpc);
}

static const nk_rpc_type follow_type = {
	.method = NK_WATCH_CLUSTER,
	.shape = NK_SERVER_STREAM,
	.message = follow_message,
	.ended = follow_ended,
};

void
nk_follow(norikv_client *client)
{
	Norikv__V1__WatchClusterRequest request = NORIKV__V1__WATCH_CLUSTER_REQUEST__INIT;
	nk_view    *view = &client->view;

	if (view->stream != NULL || view->unwanted || client->closing ||
		(view->next_try != 0 && nk_now() < view->next_try))
		return;
	view->stream = malloc(sizeof(*view->stream));
	if (view->stream == NULL)
		return;
	nk_rpc_init(view->stream, client, NULL, &follow_type);
	view->stream->once = view->stream->unlimited = view->stream->patient = true;
	nk_rpc_start(view->stream, wire_pack(&request.base), NK_NEVER);
}

void
nk_follow_free(norikv_client *client)
{
	nk_rpc	   *stream = client->view.stream;

	client->view.stream = NULL;
	if (stream != NULL && nk_rpc_abandon(stream))
		free(stream);
}
