/*
 * node.c - a server: its channel, opened by the first call, and whether it is
 * there.
 *
 * Calls are started on a channel that is READY and on no other. What is started
 * there has been sent, as far as anybody can tell; what never got that far has
 * certainly not been, and the difference is what outcome_unknown and never_sent
 * rest on. It also keeps calls from queueing inside gRPC on a server that is away
 * while another one could answer.
 */
#include "internal.h"

#include <pthread.h>
#include <signal.h>

/* How long one watch lasts; a new one follows while somebody waits. */
#define WATCH_US 1000000
#define KEEPALIVE_MS 20000
#define KEEPALIVE_TIMEOUT_MS 5000

const char *const nk_method_paths[NK_METHODS] = {
	[NK_PUT] = WIRE_METHOD_PUT,
	[NK_GET] = WIRE_METHOD_GET,
	[NK_DELETE] = WIRE_METHOD_DELETE,
	[NK_WATCH_CLUSTER] = WIRE_METHOD_WATCH_CLUSTER,
	[NK_INFO] = WIRE_METHOD_INFO,
	[NK_MULTI_GET] = WIRE_METHOD_MULTI_GET,
	[NK_COMMIT] = WIRE_METHOD_COMMIT,
	[NK_SCAN] = WIRE_METHOD_SCAN,
	[NK_WATCH] = WIRE_METHOD_WATCH,
	[NK_SET_QUOTA] = WIRE_METHOD_SET_QUOTA,
	[NK_USAGE] = WIRE_METHOD_USAGE,
	[NK_VECTOR_CREATE_INDEX] = WIRE_METHOD_VECTOR_CREATE_INDEX,
	[NK_VECTOR_DROP_INDEX] = WIRE_METHOD_VECTOR_DROP_INDEX,
	[NK_VECTOR_INSERT] = WIRE_METHOD_VECTOR_INSERT,
	[NK_VECTOR_DELETE] = WIRE_METHOD_VECTOR_DELETE,
	[NK_VECTOR_SEARCH] = WIRE_METHOD_VECTOR_SEARCH,
	[NK_VECTOR_GET] = WIRE_METHOD_VECTOR_GET,
	[NK_VECTOR_LIST] = WIRE_METHOD_VECTOR_LIST,
	[NK_VECTOR_MULTI_GET] = WIRE_METHOD_VECTOR_MULTI_GET,
	[NK_VECTOR_EXT_SEARCH] = WIRE_METHOD_VECTOR_EXT_SEARCH,
	[NK_VECTOR_SCAN] = WIRE_METHOD_VECTOR_SCAN,
	[NK_HEALTH] = WIRE_METHOD_HEALTH_CHECK,
};

void
nk_node_init(nk_node *node, norikv_client *client, const nk_address *address)
{
	memset(node, 0, sizeof(*node));
	node->client = client;
	node->address = *address;
	node->reads.last = &node->reads.first;
	node->writes.last = &node->writes.first;
}

static void
add_integer(grpc_channel_args *args, const char *key, int value)
{
	grpc_arg   *arg = &args->args[args->num_args++];

	arg->type = GRPC_ARG_INTEGER;
	arg->key = (char *) key;
	arg->value.integer = value;
}

static grpc_channel *
create_channel(nk_node *node)
{
	grpc_arg	array[16];
	grpc_channel_args args = {0, array};
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	grpc_channel *channel;
	uint32_t	connect_ms = node->client->options.connect_timeout_ms;

	/* one connection a client, that closes with it */
	add_integer(&args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
	/* retries are ours: gRPC's own know nothing of idempotency keys */
	add_integer(&args, GRPC_ARG_ENABLE_RETRIES, 0);
	add_integer(&args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
	add_integer(&args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
	add_integer(&args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
	add_integer(&args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
	/* also how long one connection may take */
	add_integer(&args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
				connect_ms < 100 ? 100 : connect_ms);
	add_integer(&args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, NK_MAX_RECEIVE);
	add_integer(&args, GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1);
	/* NoriKV's own server answers compressed messages with UNIMPLEMENTED */
	add_integer(&args, GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM, GRPC_COMPRESS_NONE);
	add_integer(&args, GRPC_ARG_ENABLE_CHANNELZ, 0);
	add_integer(&args, GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0);
	if (node->with_keepalive)
	{
		add_integer(&args, GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS);
		add_integer(&args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS);
	}
	channel = grpc_channel_create(node->address.target, credentials, &args);
	grpc_channel_credentials_release(credentials);
	return channel;
}

static void
open_channel(nk_node *node)
{
	sigset_t	all;
	sigset_t	before;

	/* gRPC may start threads here, and they inherit the signal mask */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	node->channel = create_channel(node);
	for (int i = 0; i < NK_METHODS; i++)
		node->methods[i] = grpc_channel_register_call(node->channel, nk_method_paths[i],
													  NULL, NULL);
	(void) grpc_channel_check_connectivity_state(node->channel, 1);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void
watch(nk_node *node, grpc_connectivity_state state)
{
	node->watching = true;
	node->client->in_queue++;
	grpc_channel_watch_connectivity_state(node->channel, state,
										  nk_timespec(nk_now() + WATCH_US),
										  node->client->queue,
										  (char *) node + NK_TAG_WATCH);
}

/*
 * A channel that has failed to connect says TRANSIENT_FAILURE until it has
 * succeeded, also while it tries again. So nobody waits for that state to end: it is
 * told to try now, and those who need it go elsewhere, or come back after a pause.
 */
bool
nk_node_ready(nk_node *node)
{
	grpc_connectivity_state state;

	if (node->channel == NULL)
		open_channel(node);
	state = grpc_channel_check_connectivity_state(node->channel, 0);
	if (state == GRPC_CHANNEL_READY)
		return true;
	/* what answers next may be another server */
	nk_abilities_forget(node);
	if (state == GRPC_CHANNEL_TRANSIENT_FAILURE)
		grpc_channel_reset_connect_backoff(node->channel);
	state = grpc_channel_check_connectivity_state(node->channel, 1);
	if (state == GRPC_CHANNEL_TRANSIENT_FAILURE)
		nk_inquire(node);
	else if (!node->watching)
		watch(node, state);
	return state == GRPC_CHANNEL_READY;
}

static void
push(nk_rpc **list, nk_rpc *rpc)
{
	rpc->wait_next = *list;
	rpc->wait_link = list;
	if (*list != NULL)
		(*list)->wait_link = &rpc->wait_next;
	*list = rpc;
}

static void
wake_waiting(nk_node *node, const char *failure)
{
	nk_rpc	   *list = NULL;

	/* who came last is first there: turned around, they go in the order they came */
	while (node->waiting != NULL)
	{
		nk_rpc	   *rpc = node->waiting;

		nk_node_remove_waiting(node, rpc);
		push(&list, rpc);
	}
	while (list != NULL)
	{
		nk_rpc	   *rpc = list;

		nk_node_remove_waiting(node, rpc);
		if (failure == NULL)
			nk_rpc_try(rpc);
		else
			nk_retry_unreachable(rpc, failure);
	}
}

void
nk_node_wake(nk_node *node)
{
	wake_waiting(node, NULL);
}

void
nk_node_fail_waiting(nk_node *node, const char *why)
{
	wake_waiting(node, why);
}

void
nk_node_watch_event(nk_node *node, bool success)
{
	grpc_connectivity_state state;

	(void) success;				/* false: the watch's time is over */
	node->watching = false;
	if (node->client->closing || node->channel == NULL || node->waiting == NULL)
		return;
	state = grpc_channel_check_connectivity_state(node->channel, 1);
	if (state == GRPC_CHANNEL_READY)
		wake_waiting(node, NULL);
	else if (state == GRPC_CHANNEL_TRANSIENT_FAILURE)
		nk_inquire(node);
	else
		watch(node, state);
}

void
nk_node_add_waiting(nk_node *node, nk_rpc *rpc)
{
	push(&node->waiting, rpc);
}

void
nk_node_remove_waiting(nk_node *node, nk_rpc *rpc)
{
	(void) node;
	if (rpc->wait_link == NULL)
		return;
	*rpc->wait_link = rpc->wait_next;
	if (rpc->wait_next != NULL)
		rpc->wait_next->wait_link = rpc->wait_link;
	rpc->wait_link = NULL;
	rpc->wait_next = NULL;
}

void
nk_node_reconnect(nk_node *node)
{
	if (node->channel == NULL || node->watching)
		return;
	grpc_channel_destroy(node->channel);
	node->channel = NULL;
	node->silent = 0;
	nk_abilities_forget(node);
}

void
nk_node_close(nk_node *node)
{
	if (node->channel != NULL)
		grpc_channel_destroy(node->channel);
	node->channel = NULL;
	nk_abilities_free(node);
	nk_inquiry_free(node);
}
