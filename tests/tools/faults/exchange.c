/*
 * exchange.c - calls that clients make: taken in, delayed, doubled, answered,
 * cut or left without an answer.
 */
#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <grpc/support/alloc.h>

static uint64_t random_state;
static int	alive;

/* ---- Lifetimes ---- */

client_request *
request_hold(client_request *request)
{
	request->references++;
	return request;
}

void
request_release(client_request *request)
{
	if (--request->references > 0)
		return;
	for (size_t i = 0; i < request->n_messages; i++)
		grpc_byte_buffer_destroy(request->messages[i]);
	free(request->messages);
	grpc_slice_unref(request->method);
	if (request->authorized)
		grpc_slice_unref(request->authorization);
	free(request);
}

void
exchange_release(client_call *exchange)
{
	if (--exchange->references > 0)
		return;
	if (exchange->request != NULL)
		request_release(exchange->request);
	grpc_call_details_destroy(&exchange->details);
	grpc_metadata_array_destroy(&exchange->metadata);
	if (exchange->call != NULL)
		grpc_call_unref(exchange->call);
	free(exchange);
	alive--;
}

/* ---- Answers ---- */

/* The connection of this call, gone without a word, and all its calls with it. */
void
exchange_cut(client_call *exchange)
{
	char	   *peer = grpc_call_get_peer(exchange->call);
	int			descriptor;

	if (sscanf(peer, "fd:%d", &descriptor) == 1)
		shutdown(descriptor, SHUT_RDWR);
	counted.cut++;
	gpr_free(peer);
}

size_t
exchange_headers(client_call *exchange, grpc_op *op)
{
	if (exchange->headers_sent)
		return 0;
	exchange->headers_sent = true;
	op->op = GRPC_OP_SEND_INITIAL_METADATA;
	return 1;
}

static void
on_finished(void *of, bool ok)
{
	(void) ok;
	exchange_release(of);
}

void
exchange_finish(client_call *exchange, grpc_status_code status, grpc_slice *details,
				grpc_metadata_array *metadata)
{
	grpc_op		ops[2] = {0};
	size_t		n_ops = exchange_headers(exchange, ops);

	ops[n_ops].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[n_ops].data.send_status_from_server.status = status;
	ops[n_ops].data.send_status_from_server.status_details = details;
	/* Only a server sends trailing metadata: to a client it proves who answered. */
	if (metadata != NULL)
	{
		ops[n_ops].data.send_status_from_server.trailing_metadata_count = metadata->count;
		ops[n_ops].data.send_status_from_server.trailing_metadata = metadata->metadata;
	}
	exchange->finished = (event) {on_finished, exchange};
	exchange->references++;
	start_batch(exchange->call, ops, n_ops + 1, &exchange->finished);
}

/* ---- Requests ---- */

static void
on_duplicate_due(void *of, bool ok)
{
	if (ok)
		execute(of, NULL, after_ms(ORPHAN_TIMEOUT_MS));
	request_release(of);
}

static void
on_delayed_request_due(void *of, bool ok)
{
	client_call *exchange = of;

	if (ok)
	{
		if (exchange->gone)
			counted.late++;
		execute(exchange->request, exchange->gone ? NULL : exchange,
				after_ms(ORPHAN_TIMEOUT_MS));
	}
	exchange_release(exchange);
}

/* The request is there as a whole: what becomes of it. */
static void
exchange_begin(client_call *exchange)
{
	client_request *request = exchange->request;

	if (exchange->cut == CUT_BEFORE)
	{
		exchange_cut(exchange);
		return;
	}
	if (exchange->duplicate)
	{
		counted.duplicated++;
		timer_start(options.duplicate.ms, on_duplicate_due, request_hold(request));
	}
	if (exchange->delay_request)
	{
		counted.delayed_requests++;
		exchange->references++;
		timer_start(options.delay_request.ms, on_delayed_request_due, exchange);
	}
	else if (exchange->cut == CUT_DURING)
	{
		execute(request, NULL, after_ms(ORPHAN_TIMEOUT_MS));
		exchange_cut(exchange);
	}
	else
		execute(request, exchange, request->deadline);
}

static void
on_received(void *of, bool ok)
{
	client_call *exchange = of;
	client_request *request = exchange->request;
	grpc_op		op = {0};

	if (!ok || exchange->incoming == NULL)
	{
		if (ok && request->n_messages > 0)
			exchange_begin(exchange);
		exchange_release(exchange);
		return;
	}
	request->messages = realloc(request->messages,
								(request->n_messages + 1) * sizeof(*request->messages));
	request->messages[request->n_messages++] = exchange->incoming;
	exchange->incoming = NULL;
	op.op = GRPC_OP_RECV_MESSAGE;
	op.data.recv_message.recv_message = &exchange->incoming;
	start_batch(exchange->call, &op, 1, &exchange->received);
}

static void
on_closed_by_client(void *of, bool ok)
{
	client_call *exchange = of;
	server_call *execution = exchange->execution;

	(void) ok;
	exchange->gone = true;
	/* As the network would; unless the fault is that the server goes on. */
	if (exchange->cancelled && execution != NULL && !exchange->drop_answer &&
		exchange->cut == CUT_NEVER && !exchange->delay_request)
		execution_cancel(execution);
	exchange_release(exchange);
}

static client_request *
request_of(client_call *exchange)
{
	client_request *request = calloc(1, sizeof(*request));

	request->references = 1;
	request->method = grpc_slice_ref(exchange->details.method);
	request->deadline = exchange->details.deadline;
	for (size_t i = 0; i < exchange->metadata.count; i++)
	{
		grpc_metadata *metadata = &exchange->metadata.metadata[i];

		if (grpc_slice_str_cmp(metadata->key, "authorization") != 0)
			continue;
		request->authorization = grpc_slice_ref(metadata->value);
		request->authorized = true;
		break;
	}
	return request;
}

/* Always as many draws, so that a seed means the same whatever the rates. */
static bool
exchange_draw_faults(client_call *exchange)
{
	char	   *method = grpc_slice_to_c_string(exchange->details.method);
	bool		eligible = options.only == NULL || strstr(method, options.only) != NULL;
	bool		cut = happens(options.cut, &random_state) && eligible;
	cut_at		where = CUT_BEFORE + random_next(&random_state) % 3;
	bool		refuse = happens(options.refuse, &random_state) && eligible;

	exchange->drop_answer = happens(options.drop_answer, &random_state) && eligible;
	exchange->delay_answer = happens(options.delay_answer, &random_state) && eligible;
	exchange->delay_request = happens(options.delay_request, &random_state) && eligible;
	exchange->duplicate = happens(options.duplicate, &random_state) && eligible;
	exchange->cut = cut ? where : CUT_NEVER;
	gpr_free(method);
	return refuse;
}

static void
on_accepted(void *of, bool ok)
{
	client_call *exchange = of;
	grpc_op		op = {0};

	if (!ok)
	{
		exchange_release(exchange);
		return;
	}
	exchange_accept();
	counted.calls++;
	exchange->request = request_of(exchange);
	op.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
	op.data.recv_close_on_server.cancelled = &exchange->cancelled;
	exchange->closed = (event) {on_closed_by_client, exchange};
	exchange->references++;
	start_batch(exchange->call, &op, 1, &exchange->closed);
	if (exchange_draw_faults(exchange))
	{
		grpc_slice	details = grpc_slice_from_static_string("refused by the proxy");

		counted.refused++;
		exchange_finish(exchange, GRPC_STATUS_UNAVAILABLE, &details, NULL);
		exchange_release(exchange);
		return;
	}
	memset(&op, 0, sizeof(op));
	op.op = GRPC_OP_RECV_MESSAGE;
	op.data.recv_message.recv_message = &exchange->incoming;
	exchange->received = (event) {on_received, exchange};
	start_batch(exchange->call, &op, 1, &exchange->received);
}

void
exchange_accept(void)
{
	client_call *added = calloc(1, sizeof(*added));

	alive++;
	added->references = 1;
	grpc_call_details_init(&added->details);
	grpc_metadata_array_init(&added->metadata);
	added->accepted = (event) {on_accepted, added};
	grpc_server_request_call(server, &added->call, &added->details, &added->metadata,
							 queue, queue, &added->accepted);
}

void
exchange_init(void)
{
	random_state = options.seed;
	exchange_accept();
}

int
exchanges_alive(void)
{
	return alive;
}
