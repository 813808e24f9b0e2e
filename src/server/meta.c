/*
 * meta.c - norikv.v1.Meta/WatchCluster: this server is a cluster of one node
 * that leads its only shard.
 */
#include "services.h"

#include "norikv.pb-c.h"

#define NODE_ID "norikvd"

typedef struct view_watcher
{
	bool		sending;
	bool		ended;
} view_watcher;

static grpc_byte_buffer *
pack_view(const server *self)
{
	Norikv__V1__ClusterView view = NORIKV__V1__CLUSTER_VIEW__INIT;
	Norikv__V1__ClusterNode node = NORIKV__V1__CLUSTER_NODE__INIT;
	Norikv__V1__ShardInfo shard = NORIKV__V1__SHARD_INFO__INIT;
	Norikv__V1__ShardReplica replica = NORIKV__V1__SHARD_REPLICA__INIT;
	Norikv__V1__ClusterNode *nodes[] = {&node};
	Norikv__V1__ShardInfo *shards[] = {&shard};
	Norikv__V1__ShardReplica *replicas[] = {&replica};

	node.id = (char *) NODE_ID;
	node.addr = (char *) atomic_load(&self->advertised);
	node.role = (char *) "leader";
	replica.node_id = (char *) NODE_ID;
	replica.leader = true;
	shard.n_replicas = 1;
	shard.replicas = replicas;
	view.epoch = 1;
	view.n_nodes = 1;
	view.nodes = nodes;
	view.n_shards = 1;
	view.shards = shards;
	return wire_pack(&view.base);
}

/* The view never changes: after the first one only the end is left to tell. */
static void
end_watch(call *self)
{
	view_watcher *watcher = self->state;

	if (watcher->sending || watcher->ended)
		return;
	if (atomic_load(&self->closed) || atomic_load(&self->server->draining))
	{
		watcher->ended = true;
		service_fail_draining(self);
	}
}

static void
view_sent(call *self, bool ok)
{
	view_watcher *watcher = self->state;

	watcher->sending = false;
	if (ok)
	{
		end_watch(self);
		return;
	}
	watcher->ended = true;
	call_release(self);
}

static void
start_watch(call *self)
{
	view_watcher *watcher = wire_arena_alloc(&self->arena, sizeof(*watcher));

	self->state = watcher;
	if (call_unpack(self, &norikv__v1__watch_cluster_request__descriptor) == NULL)
	{
		watcher->ended = true;
		return;
	}
	watcher->sending = true;
	call_send(self, pack_view(self->server), view_sent);
}

const method meta_watch_cluster = {
	.name = WIRE_METHOD_WATCH_CLUSTER,
	.watched = true,
	.posted = 32,
	.start = start_watch,
	.drain = end_watch,
};
