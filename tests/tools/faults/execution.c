/*
 * execution.c - calls made on the server behind the proxy, and their answers on
 * the way down.
 */
#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static server_call *executions;

void
start_batch(grpc_call *call, const grpc_op *ops, size_t n_ops, event *tag)
{
	grpc_call_error error = grpc_call_start_batch(call, ops, n_ops, tag, NULL);

	if (error != GRPC_CALL_OK)
	{
		fprintf(stderr, "proxy: gRPC refuses a batch: error %d\n", (int) error);
		abort();
	}
}

static void
execution_release(server_call *execution)
{
	if (--execution->references > 0)
		return;
	if (execution->exchange != NULL)
	{
		execution->exchange->execution = NULL;
		exchange_release(execution->exchange);
	}
	if (execution->next != NULL)
		execution->next->previous = execution->previous;
	if (execution->previous != NULL)
		execution->previous->next = execution->next;
	else
		executions = execution->next;
	request_release(execution->request);
	grpc_metadata_array_destroy(&execution->initial_metadata);
	grpc_metadata_array_destroy(&execution->trailing_metadata);
	grpc_byte_buffer_destroy(execution->answer);
	if (execution->ended)
		grpc_slice_unref(execution->details);
	grpc_call_unref(execution->call);
	free(execution);
}

static void execution_advance(server_call *execution);

static void
on_answered(void *of, bool ok)
{
	server_call *execution = of;

	execution->awaiting = false;
	if (!ok || execution->answer == NULL)
		execution->drained = true;
	execution_advance(execution);
	execution_release(execution);
}

static void
execution_await(server_call *execution)
{
	grpc_op		ops[2] = {0};
	size_t		n_ops = 0;

	if (execution->answered.of == NULL)
	{
		ops[n_ops].op = GRPC_OP_RECV_INITIAL_METADATA;
		ops[n_ops++].data.recv_initial_metadata.recv_initial_metadata =
			&execution->initial_metadata;
		execution->answered = (event) {on_answered, execution};
	}
	ops[n_ops].op = GRPC_OP_RECV_MESSAGE;
	ops[n_ops++].data.recv_message.recv_message = &execution->answer;
	execution->awaiting = true;
	execution->references++;
	start_batch(execution->call, ops, n_ops, &execution->answered);
}

static void
on_delayed_answer(void *of, bool ok)
{
	server_call *execution = of;

	if (ok)
		execution_advance(execution);
	execution_release(execution);
}

static void
on_sent_down(void *of, bool ok)
{
	client_call *exchange = of;

	if (!ok)
		exchange->gone = true;
	if (exchange->execution != NULL)
	{
		execution_advance(exchange->execution);
		execution_release(exchange->execution);
	}
	exchange_release(exchange);
}

static void
execution_send_down(server_call *execution, client_call *exchange)
{
	grpc_op		ops[2] = {0};
	size_t		n_ops = exchange_headers(exchange, ops);

	ops[n_ops].op = GRPC_OP_SEND_MESSAGE;
	ops[n_ops].data.send_message.send_message = execution->answer;
	exchange->sent = (event) {on_sent_down, exchange};
	exchange->references++;
	execution->references++;
	start_batch(exchange->call, ops, n_ops + 1, &exchange->sent);
	grpc_byte_buffer_destroy(execution->answer);
	execution->answer = NULL;
}

/* What the client is owed: the answer, later, or nothing at all. */
static void
execution_answer(server_call *execution, client_call *exchange)
{
	if (exchange->delay_answer)
	{
		exchange->delay_answer = false;
		counted.delayed_answers++;
		execution->references++;
		timer_start(options.delay_answer.ms, on_delayed_answer, execution);
	}
	else if (execution->answer != NULL)
		execution_send_down(execution, exchange);
	else if (exchange->drop_answer)
		counted.dropped_answers++;
	else if (exchange->cut == CUT_AFTER)
		exchange_cut(exchange);
	else
		exchange_finish(exchange, execution->status, &execution->details,
						&execution->trailing_metadata);
}

/* A message or the end is there, or the client took the last one. */
static void
execution_advance(server_call *execution)
{
	client_call *exchange = execution->exchange;
	bool		heard = exchange != NULL && !exchange->gone;

	if (execution->answer != NULL &&
		(!heard || exchange->drop_answer || exchange->cut == CUT_AFTER))
	{
		grpc_byte_buffer_destroy(execution->answer);
		execution->answer = NULL;
	}
	if (execution->answer == NULL && !execution->drained)
	{
		if (!execution->awaiting)
			execution_await(execution);
		return;
	}
	if (execution->answer == NULL && !execution->ended)
		return;
	if (heard)
		execution_answer(execution, exchange);
}

static void
on_closed_upstream(void *of, bool ok)
{
	server_call *execution = of;

	(void) ok;
	execution->ended = true;
	if (execution->status == GRPC_STATUS_ABORTED)
		counted.aborted++;
	/* With a message still under way, what follows it will come by here again. */
	if (execution->drained)
		execution_advance(execution);
	execution_release(execution);
}

static void
on_sent_up(void *of, bool ok)
{
	server_call *execution = of;
	client_request *request = execution->request;
	grpc_op		ops[2] = {0};
	size_t		n_ops = 0;
	grpc_byte_buffer *message = NULL;

	if (!ok || execution->next_message > request->n_messages)
	{
		execution_release(execution);
		return;
	}
	if (execution->next_message < request->n_messages)
	{
		/* gRPC empties the buffer that it sends; the copy shares the bytes. */
		message = grpc_byte_buffer_copy(request->messages[execution->next_message]);
		ops[n_ops].op = GRPC_OP_SEND_MESSAGE;
		ops[n_ops++].data.send_message.send_message = message;
	}
	if (++execution->next_message >= request->n_messages)
	{
		execution->next_message = request->n_messages + 1;
		ops[n_ops++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	}
	start_batch(execution->call, ops, n_ops, &execution->sent);
	grpc_byte_buffer_destroy(message);
}

static void
execution_open(server_call *execution)
{
	client_request *request = execution->request;
	grpc_op		ops[1] = {0};

	execution->authorization.key = grpc_slice_from_static_string("authorization");
	execution->authorization.value = request->authorization;
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	if (execution->exchange == NULL)
		ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY;
	ops[0].data.send_initial_metadata.count = request->authorized ? 1 : 0;
	ops[0].data.send_initial_metadata.metadata = &execution->authorization;
	execution->sent = (event) {on_sent_up, execution};
	execution->references++;
	start_batch(execution->call, ops, 1, &execution->sent);

	memset(ops, 0, sizeof(ops));
	ops[0].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	ops[0].data.recv_status_on_client.trailing_metadata = &execution->trailing_metadata;
	ops[0].data.recv_status_on_client.status = &execution->status;
	ops[0].data.recv_status_on_client.status_details = &execution->details;
	execution->closed = (event) {on_closed_upstream, execution};
	execution->references++;
	start_batch(execution->call, ops, 1, &execution->closed);
	execution_await(execution);
}

void
execute(client_request *request, client_call *exchange, gpr_timespec deadline)
{
	server_call *added = calloc(1, sizeof(*added));

	added->references = 1;
	added->request = request_hold(request);
	added->next = executions;
	if (executions != NULL)
		executions->previous = added;
	executions = added;
	grpc_metadata_array_init(&added->initial_metadata);
	grpc_metadata_array_init(&added->trailing_metadata);
	added->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
										   request->method, NULL, deadline, NULL);
	if (exchange != NULL)
	{
		exchange->references++;
		exchange->execution = added;
		added->exchange = exchange;
	}
	counted.executions++;
	execution_open(added);
	execution_release(added);
}

void
execution_cancel(server_call *execution)
{
	grpc_call_cancel(execution->call, NULL);
}

void
executions_cancel(void)
{
	for (server_call *execution = executions; execution != NULL;
		 execution = execution->next)
		execution_cancel(execution);
}

bool
executions_alive(void)
{
	return executions != NULL;
}
