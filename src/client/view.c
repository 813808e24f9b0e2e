/*
 * view.c - Meta.WatchCluster for callers: a stream of views of the cluster.
 */
#include "internal.h"

typedef struct view_call
{
	norikv_call call;
	nk_rpc		rpc;
	norikv_cluster_view view;
	bool		ended;
} view_call;

static const char *
address_of(const Norikv__V1__ClusterView *view, const char *node)
{
	for (size_t i = 0; i < view->n_nodes; i++)
	{
		if (strcmp(view->nodes[i]->id, node) == 0)
			return view->nodes[i]->addr;
	}
	return "";
}

static bool
fill(view_call *call, const Norikv__V1__ClusterView *view)
{
	norikv_replica *replicas;
	size_t		count = 0;

	for (size_t i = 0; i < view->n_shards; i++)
		count += view->shards[i]->n_replicas;
	replicas = wire_arena_alloc(&call->call.arena, count * sizeof(*replicas) + 1);
	if (replicas == NULL)
		return false;
	call->view.epoch = view->epoch;
	call->view.replicas = replicas;
	call->view.n_replicas = count;
	for (size_t i = 0; i < view->n_shards; i++)
	{
		for (size_t j = 0; j < view->shards[i]->n_replicas; j++)
		{
			const Norikv__V1__ShardReplica *from = view->shards[i]->replicas[j];

			*replicas++ = (norikv_replica) {
				.shard = view->shards[i]->id,
				.node = from->node_id,
				.addr = address_of(view, from->node_id),
				.leader = from->leader,
			};
		}
	}
	return true;
}

static bool
view_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	view_call  *call = (view_call *) rpc->call;
	Norikv__V1__ClusterView *view;

	view = wire_unpack(&norikv__v1__cluster_view__descriptor, &call->call.arena, message);
	if (view == NULL || !fill(call, view))
		return false;
	/* one view at a time: the next one is asked for by norikv_call_next() */
	rpc->paused = true;
	call->call.view = &call->view;
	call->call.done = true;
	return true;
}

static void
view_ended(nk_rpc *rpc)
{
	view_call  *call = (view_call *) rpc->call;

	call->ended = true;
	if (!call->call.done)
		nk_call_finish(&call->call, &rpc->error);
}

static bool
view_next(norikv_call *call)
{
	view_call  *view = (view_call *) call;

	if (!call->done || call->view == NULL)
		return false;
	call->view = NULL;
	wire_arena_free(&call->arena);
	call->done = false;
	if (view->ended)
		nk_call_finish(call, &view->rpc.error);
	else
		nk_rpc_resume(&view->rpc, NK_NEVER);
	return !call->done;
}

static void
view_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((view_call *) call)->rpc);
}

static const nk_rpc_type view_rpc_type = {
	.method = NK_WATCH_CLUSTER,
	.shape = NK_SERVER_STREAM,
	.message = view_message,
	.ended = view_ended,
};

static const nk_call_type view_type = {
	.abandon = view_abandon,
	.next = view_next,
};

norikv_call *
norikv_watch_cluster(norikv_client *client, const norikv_call_options *options)
{
	Norikv__V1__WatchClusterRequest request = NORIKV__V1__WATCH_CLUSTER_REQUEST__INIT;
	view_call  *call = nk_call_new(client, sizeof(*call), &view_type, options);

	if (call == NULL)
		return nk_call_no_memory();
	nk_rpc_init(&call->rpc, client, &call->call, &view_rpc_type);
	if (call->call.done)
		return &call->call;
	call->rpc.unlimited = call->rpc.patient = true;
	nk_rpc_start(&call->rpc, wire_pack(&request.base), call->call.deadline);
	return &call->call;
}
