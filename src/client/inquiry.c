/*
 * inquiry.c - why a node cannot be reached.
 *
 * gRPC tells the reason for a failed connection only to calls. So one is started
 * that nobody misses: a health check, which on a channel that has just failed
 * ends at once with the reason as its text.
 */
#include "internal.h"

#include <stdlib.h>

static bool
inquiry_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	(void) rpc;
	(void) message;
	return true;
}

static void
inquiry_ended(nk_rpc *rpc)
{
	nk_node    *node = rpc->node;

	node->inquiry = NULL;
	if (rpc->client->closing || rpc->abandoned)
	{
		nk_rpc_drop_attempt(rpc);
		nk_rpc_release(rpc);
	}
	else if (rpc->error.code == NORIKV_UNAVAILABLE && rpc->detail != NULL)
		nk_node_fail_waiting(node, rpc->detail);
	else
		nk_node_wake(node);		/* something answered after all */
	free(rpc);
}

static const nk_rpc_type inquiry_type = {
	.method = NK_HEALTH,
	.shape = NK_UNARY,
	.message = inquiry_message,
	.ended = inquiry_ended,
};

void
nk_inquire(nk_node *node)
{
	Grpc__Health__V1__HealthCheckRequest request =
		GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	nk_rpc	   *rpc;

	if (node->inquiry != NULL)
		return;
	rpc = malloc(sizeof(*rpc));
	if (rpc == NULL)
		return;					/* those who wait give up in time */
	nk_rpc_init(rpc, node->client, NULL, &inquiry_type);
	rpc->pinned = rpc->once = rpc->anyway = true;
	rpc->node = node;
	node->inquiry = rpc;
	nk_rpc_start(rpc, wire_pack(&request.base), nk_now() + 100000);
}

void
nk_inquiry_free(nk_node *node)
{
	nk_rpc	   *rpc = node->inquiry;

	node->inquiry = NULL;
	if (rpc != NULL && nk_rpc_abandon(rpc))
		free(rpc);
}
