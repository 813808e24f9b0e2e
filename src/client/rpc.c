/*
 * rpc.c - one request to one server: starting an attempt, what the completion
 * queue says about it, and its end.
 *
 * A unary call is one batch of all six operations: one start, one event. A stream
 * is a batch that sends and awaits the status, and one receive after another; a
 * stream of requests has its sends in batches of their own.
 */
#include "internal.h"

#include <stdlib.h>

void
nk_rpc_init(nk_rpc *rpc, norikv_client *client, norikv_call *call,
			const nk_rpc_type *type)
{
	memset(rpc, 0, offsetof(nk_rpc, error));
	rpc->client = client;
	rpc->call = call;
	rpc->type = type;
	rpc->slot = NK_NO_SLOT;
	rpc->attempt_timeout_ms = client->options.attempt_timeout_ms;
	nk_error_clear(&rpc->error);
}

void
nk_rpc_start(nk_rpc *rpc, grpc_byte_buffer *request, nk_time deadline)
{
	rpc->request = request;
	rpc->deadline = deadline;
	rpc->attempts = rpc->tries = 0;
	rpc->maybe_applied = rpc->abandoned = false;
	nk_error_clear(&rpc->error);
	if (rpc->call != NULL)
		rpc->call->active++;
	if (!rpc->pinned)
		rpc->node = nk_route(rpc->client, rpc->key);
	nk_rpc_try(rpc);
}

/* ---- An attempt ---- */

static void
start_batch(nk_rpc *rpc, const grpc_op *ops, size_t n_ops, uintptr_t tag)
{
	/* fails only where the operations contradict each other */
	if (grpc_call_start_batch(rpc->grpc, ops, n_ops, (char *) rpc + tag, NULL) !=
		GRPC_CALL_OK)
		abort();
	rpc->batches++;
	rpc->client->in_queue++;
}

static void
op_send_metadata(nk_rpc *rpc, grpc_op *op, grpc_metadata *authorization)
{
	op->op = GRPC_OP_SEND_INITIAL_METADATA;
	if (rpc->client->authorization != NULL)
	{
		memset(authorization, 0, sizeof(*authorization));
		authorization->key = grpc_slice_from_static_string("authorization");
		authorization->value = grpc_slice_from_static_string(rpc->client->authorization);
		op->data.send_initial_metadata.metadata = authorization;
		op->data.send_initial_metadata.count = 1;
	}
}

static void
op_send_message(nk_rpc *rpc, grpc_op *op, grpc_byte_buffer *message)
{
	/* gRPC takes the slices out of what it sends, and they may be needed again */
	if (rpc->sending != NULL)
		grpc_byte_buffer_destroy(rpc->sending);
	rpc->sending = grpc_byte_buffer_copy(message);
	op->op = GRPC_OP_SEND_MESSAGE;
	op->data.send_message.send_message = rpc->sending;
	nk_note_sent(rpc, message);
}

static void
op_receive_metadata(nk_rpc *rpc, grpc_op *op)
{
	op->op = GRPC_OP_RECV_INITIAL_METADATA;
	op->data.recv_initial_metadata.recv_initial_metadata = &rpc->initial_metadata;
}

static void
op_receive_message(nk_rpc *rpc, grpc_op *op)
{
	op->op = GRPC_OP_RECV_MESSAGE;
	op->data.recv_message.recv_message = &rpc->response;
}

static void
op_receive_status(nk_rpc *rpc, grpc_op *op)
{
	op->op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	op->data.recv_status_on_client.trailing_metadata = &rpc->trailing_metadata;
	op->data.recv_status_on_client.status = &rpc->status;
	op->data.recv_status_on_client.status_details = &rpc->details;
}

static void
start_unary(nk_rpc *rpc)
{
	grpc_op		ops[6] = {0};
	grpc_metadata authorization;

	op_send_metadata(rpc, &ops[0], &authorization);
	op_send_message(rpc, &ops[1], rpc->request);
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	op_receive_metadata(rpc, &ops[3]);
	op_receive_message(rpc, &ops[4]);
	op_receive_status(rpc, &ops[5]);
	start_batch(rpc, ops, 6, NK_TAG_STATUS);
}

static void
start_stream(nk_rpc *rpc)
{
	grpc_op		sends[4] = {0};
	grpc_op		receives[2] = {0};
	grpc_metadata authorization;
	bool		last = true;
	grpc_byte_buffer *first = rpc->request;

	if (rpc->type->shape == NK_CLIENT_STREAM)
		first = rpc->type->next_request(rpc, &last);
	op_send_metadata(rpc, &sends[0], &authorization);
	op_send_message(rpc, &sends[1], first);
	if (last)
	{
		sends[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
		op_receive_status(rpc, &sends[3]);
		start_batch(rpc, sends, 4, NK_TAG_STATUS);
	}
	else
	{
		grpc_op		status = {0};

		op_receive_status(rpc, &status);
		start_batch(rpc, &status, 1, NK_TAG_STATUS);
		start_batch(rpc, sends, 2, NK_TAG_SEND);
	}
	op_receive_metadata(rpc, &receives[0]);
	op_receive_message(rpc, &receives[1]);
	start_batch(rpc, receives, 2, NK_TAG_MESSAGE);
}

/* A stream without a deadline of gRPC's must show progress. */
static void
expect_progress(nk_rpc *rpc)
{
	nk_time		due = nk_now() + (nk_time) rpc->attempt_timeout_ms * 1000;

	if (!rpc->unlimited || (rpc->patient && rpc->progressed))
	{
		nk_timer_clear(&rpc->client->timers, &rpc->timer);
		return;
	}
	if (rpc->deadline < due && rpc->deadline > rpc->client->wait_began)
		due = rpc->deadline;
	nk_timer_set(&rpc->client->timers, &rpc->timer, due);
}

static void
start_attempt(nk_rpc *rpc)
{
	nk_time		due = nk_now() + (nk_time) rpc->attempt_timeout_ms * 1000;

	if (due > rpc->deadline)
		due = rpc->deadline;
	if (rpc->unlimited)
		due = NK_NEVER;
	rpc->grpc = grpc_channel_create_registered_call(
		rpc->node->channel, NULL, GRPC_PROPAGATE_DEFAULTS, rpc->client->queue,
		rpc->node->methods[rpc->type->method], nk_timespec(due), NULL);
	rpc->response = NULL;
	grpc_metadata_array_init(&rpc->initial_metadata);
	grpc_metadata_array_init(&rpc->trailing_metadata);
	rpc->status = GRPC_STATUS_UNKNOWN;
	rpc->details = grpc_empty_slice();
	rpc->timed_out = rpc->garbage = rpc->paused = rpc->progressed = false;
	rpc->state = NK_RPC_IN_FLIGHT;
	rpc->attempts++;
	if (rpc->call != NULL)
	{
		rpc->call->stats.attempts++;
		if (rpc->attempts > 1)
			rpc->call->stats.retries++;
		rpc->call->stats.round_trips++;
	}
	if (rpc->type->shape == NK_UNARY)
		start_unary(rpc);
	else
		start_stream(rpc);
	expect_progress(rpc);
}

static void
wait_for_node(nk_rpc *rpc, uint32_t timeout_ms)
{
	nk_time		due = nk_now() + (nk_time) timeout_ms * 1000;

	rpc->state = NK_RPC_WAITING;
	nk_node_add_waiting(rpc->node, rpc);
	/* due at once where there is no memory to note when: better early than never */
	if (!nk_timer_set(&rpc->client->timers, &rpc->timer,
					  due < rpc->deadline ? due : rpc->deadline))
		nk_rpc_timer(rpc);
}

/* What a repeated write's answer means depends on the server too. */
static bool
needs_abilities(const nk_rpc *rpc)
{
	return rpc->type->needs_abilities || (rpc->type->write && rpc->maybe_applied);
}

void
nk_rpc_try(nk_rpc *rpc)
{
	norikv_client *client = rpc->client;

	nk_timer_clear(&client->timers, &rpc->timer);
	if (rpc->anyway)
		start_attempt(rpc);
	else if (!nk_node_ready(rpc->node))
		wait_for_node(rpc, client->options.connect_timeout_ms);
	else if (needs_abilities(rpc) && rpc->node->abilities.known == NK_UNKNOWN)
	{
		wait_for_node(rpc, client->options.attempt_timeout_ms);
		nk_abilities_ask(rpc->node);
	}
	else if (rpc->type->prepare == NULL || rpc->type->prepare(rpc))
		start_attempt(rpc);
}

void
nk_rpc_resume(nk_rpc *rpc, nk_time deadline)
{
	grpc_op		op = {0};

	rpc->deadline = deadline;
	if (rpc->state != NK_RPC_IN_FLIGHT || !rpc->paused)
		return;
	rpc->paused = false;
	op_receive_message(rpc, &op);
	start_batch(rpc, &op, 1, NK_TAG_MESSAGE);
	expect_progress(rpc);
}

/* ---- Events ---- */

static void
attempt_over(nk_rpc *rpc)
{
	nk_timer_clear(&rpc->client->timers, &rpc->timer);
	rpc->state = NK_RPC_IDLE;
	if (!rpc->abandoned)
		nk_retry_after_attempt(rpc);
	else if (rpc->call != NULL)
	{
		norikv_call *call = rpc->call;

		nk_rpc_drop_attempt(rpc);
		nk_rpc_release(rpc);
		nk_call_rpc_back(call);
	}
	else
		rpc->type->ended(rpc);
}

void
nk_rpc_drop_attempt(nk_rpc *rpc)
{
	if (rpc->grpc == NULL)
		return;
	if (rpc->response != NULL)
		grpc_byte_buffer_destroy(rpc->response);
	rpc->response = NULL;
	if (rpc->sending != NULL)
		grpc_byte_buffer_destroy(rpc->sending);
	rpc->sending = NULL;
	grpc_metadata_array_destroy(&rpc->initial_metadata);
	grpc_metadata_array_destroy(&rpc->trailing_metadata);
	grpc_slice_unref(rpc->details);
	grpc_call_unref(rpc->grpc);
	rpc->grpc = NULL;
}

static void
take_message(nk_rpc *rpc)
{
	grpc_byte_buffer *message = rpc->response;

	rpc->response = NULL;
	rpc->progressed = true;
	if (rpc->call != NULL)
		rpc->call->stats.bytes_received += grpc_byte_buffer_length(message);
	if (!rpc->abandoned && !rpc->garbage && !rpc->type->message(rpc, message))
	{
		rpc->garbage = true;
		grpc_call_cancel(rpc->grpc, NULL);
	}
	grpc_byte_buffer_destroy(message);
}

static void
message_event(nk_rpc *rpc)
{
	grpc_op		op = {0};

	if (rpc->response == NULL)
		return;
	take_message(rpc);
	if (rpc->paused && !rpc->abandoned && !rpc->garbage)
	{
		/* nobody waits for the server now */
		nk_timer_clear(&rpc->client->timers, &rpc->timer);
		return;
	}
	op_receive_message(rpc, &op);
	start_batch(rpc, &op, 1, NK_TAG_MESSAGE);
	expect_progress(rpc);
}

static void
send_event(nk_rpc *rpc, bool success)
{
	grpc_op		ops[2] = {0};
	bool		last = false;

	/* where a send failed, the status says why */
	if (!success || rpc->abandoned || rpc->timed_out || rpc->garbage)
		return;
	op_send_message(rpc, &ops[0], rpc->type->next_request(rpc, &last));
	ops[1].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	if (last)
		start_batch(rpc, ops, 2, NK_TAG_LAST_SEND);
	else
		start_batch(rpc, ops, 1, NK_TAG_SEND);
	expect_progress(rpc);
}

void
nk_rpc_event(nk_rpc *rpc, uintptr_t tag, bool success)
{
	rpc->batches--;
	if (tag == NK_TAG_MESSAGE)
		message_event(rpc);
	else if (tag == NK_TAG_SEND)
		send_event(rpc, success);
	else if (rpc->type->shape == NK_UNARY && rpc->status == GRPC_STATUS_OK)
	{
		/* gRPC lets an OK without a message pass */
		if (rpc->response != NULL)
			take_message(rpc);
		else
			rpc->garbage = true;
	}
	if (rpc->batches == 0)
		attempt_over(rpc);
}

void
nk_rpc_timer(nk_rpc *rpc)
{
	bool		late = rpc->deadline <= nk_now();

	switch (rpc->state)
	{
		case NK_RPC_IDLE:
			break;
		case NK_RPC_IN_FLIGHT:
			if (rpc->timer.due < rpc->client->wait_began)
				expect_progress(rpc);	/* it was us who did not look */
			else
			{
				rpc->timed_out = true;
				grpc_call_cancel(rpc->grpc, NULL);
			}
			break;
		case NK_RPC_WAITING:
			nk_node_remove_waiting(rpc->node, rpc);
			nk_retry_unreachable(rpc, NULL);
			break;
		case NK_RPC_BACKOFF:
			if (late)
				nk_rpc_end(rpc);
			else
				nk_rpc_try(rpc);
			break;
	}
}

/* ---- The end ---- */

void
nk_rpc_release(nk_rpc *rpc)
{
	if (rpc->request != NULL)
		grpc_byte_buffer_destroy(rpc->request);
	rpc->request = NULL;
	nk_slot_give_back(&rpc->client->slots, rpc->slot);
	rpc->slot = NK_NO_SLOT;
}

void
nk_rpc_end(nk_rpc *rpc)
{
	rpc->state = NK_RPC_IDLE;
	nk_timer_clear(&rpc->client->timers, &rpc->timer);
	nk_rpc_release(rpc);
	if (rpc->call != NULL)
		rpc->call->active--;
	rpc->type->ended(rpc);
}

bool
nk_rpc_abandon(nk_rpc *rpc)
{
	nk_rpc_state state = rpc->state;

	if (rpc->type == NULL)
		return true;			/* the call was refused before there was a request */
	if (rpc->abandoned)
		return rpc->batches == 0;
	nk_timer_clear(&rpc->client->timers, &rpc->timer);
	if (state == NK_RPC_IN_FLIGHT)
	{
		rpc->abandoned = true;
		grpc_call_cancel(rpc->grpc, NULL);
		/* a paused stream must be read to its end, or its status never comes */
		if (rpc->paused)
			nk_rpc_resume(rpc, rpc->deadline);
		nk_timer_clear(&rpc->client->timers, &rpc->timer);
		return false;
	}
	if (state == NK_RPC_WAITING)
		nk_node_remove_waiting(rpc->node, rpc);
	rpc->state = NK_RPC_IDLE;
	nk_rpc_release(rpc);
	if (state != NK_RPC_IDLE && rpc->call != NULL)
		rpc->call->active--;
	return true;
}
