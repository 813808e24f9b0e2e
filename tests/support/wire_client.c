/*
 * wire_client.c - calls in the plainest form gRPC core has.
 */
#include "wire_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

struct wire_client
{
	grpc_channel *channel;
};

struct wire_stream
{
	grpc_completion_queue *queue;
	grpc_call  *call;
	wire_arena	arena;
	grpc_metadata_array initial_metadata;
	grpc_metadata_array trailing_metadata;
	grpc_status_code code;
	grpc_slice	details;
	char	   *text;
	bool		ended;
	/* Tags, by their addresses. */
	char		begin_tag;
	char		step_tag;
	char		status_tag;
};

wire_client *
wire_client_open(const char *target)
{
	wire_client *client = gpr_zalloc(sizeof(*client));
	grpc_channel_credentials *credentials;
	grpc_arg	args[] = {
		{GRPC_ARG_INTEGER, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,.value.integer = -1},
		{GRPC_ARG_INTEGER, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,.value.integer = 1},
		{GRPC_ARG_INTEGER, GRPC_ARG_ENABLE_RETRIES,.value.integer = 0},
		{GRPC_ARG_INTEGER, GRPC_ARG_ENABLE_HTTP_PROXY,.value.integer = 0},
		{GRPC_ARG_INTEGER, GRPC_ARG_HTTP2_BDP_PROBE,.value.integer = 0},
	};
	grpc_channel_args list = {sizeof(args) / sizeof(args[0]), args};

	grpc_init();
	credentials = grpc_insecure_credentials_create();
	client->channel = grpc_channel_create(target, credentials, &list);
	grpc_channel_credentials_release(credentials);
	return client;
}

void
wire_client_close(wire_client *client)
{
	grpc_channel_destroy(client->channel);
	gpr_free(client);
	grpc_shutdown();
}

/* Waits for the batch with this tag; whether it went well. */
static bool
await(wire_stream *stream, void *tag)
{
	gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
									  gpr_time_from_millis(WIRE_CLIENT_PATIENCE_MS,
														   GPR_TIMESPAN));
	grpc_event	event = grpc_completion_queue_pluck(stream->queue, tag, until, NULL);

	if (event.type != GRPC_OP_COMPLETE)
	{
		fprintf(stderr, "wire_client: no answer after %d ms\n", WIRE_CLIENT_PATIENCE_MS);
		abort();
	}
	return event.success != 0;
}

static void
start_batch(wire_stream *stream, const grpc_op *ops, size_t n_ops, void *tag)
{
	grpc_call_error error = grpc_call_start_batch(stream->call, ops, n_ops, tag, NULL);

	if (error != GRPC_CALL_OK)
	{
		fprintf(stderr, "wire_client: %s\n", grpc_call_error_to_string(error));
		abort();
	}
}

static void
begin(wire_stream *stream, const char *authorization)
{
	grpc_metadata metadata = {0};
	grpc_op		ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
	{.op = GRPC_OP_RECV_INITIAL_METADATA}};
	grpc_op		status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

	if (authorization != NULL)
	{
		metadata.key = grpc_slice_from_static_string("authorization");
		metadata.value = grpc_slice_from_copied_string(authorization);
		ops[0].data.send_initial_metadata.count = 1;
		ops[0].data.send_initial_metadata.metadata = &metadata;
	}
	ops[1].data.recv_initial_metadata.recv_initial_metadata = &stream->initial_metadata;
	status.data.recv_status_on_client.trailing_metadata = &stream->trailing_metadata;
	status.data.recv_status_on_client.status = &stream->code;
	status.data.recv_status_on_client.status_details = &stream->details;
	start_batch(stream, ops, 2, &stream->begin_tag);
	start_batch(stream, &status, 1, &stream->status_tag);
	if (authorization != NULL)
		grpc_slice_unref(metadata.value);
}

wire_stream *
wire_start(wire_client *client, const char *method, unsigned timeout_ms,
		   const char *authorization)
{
	wire_stream *stream = gpr_zalloc(sizeof(*stream));
	gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
	grpc_slice	name = grpc_slice_from_copied_string(method);

	if (timeout_ms > 0)
		deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
								gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
	stream->queue = grpc_completion_queue_create_for_pluck(NULL);
	stream->call = grpc_channel_create_call(client->channel, NULL, 0, stream->queue,
											name, NULL, deadline, NULL);
	grpc_slice_unref(name);
	wire_arena_init(&stream->arena);
	grpc_metadata_array_init(&stream->initial_metadata);
	grpc_metadata_array_init(&stream->trailing_metadata);
	begin(stream, authorization);
	return stream;
}

static bool
send_buffer(wire_stream *stream, grpc_byte_buffer *buffer)
{
	grpc_op		op = {.op = GRPC_OP_SEND_MESSAGE};
	bool		ok;

	op.data.send_message.send_message = buffer;
	start_batch(stream, &op, 1, &stream->step_tag);
	ok = await(stream, &stream->step_tag);
	grpc_byte_buffer_destroy(buffer);
	return ok;
}

bool
wire_send(wire_stream *stream, const ProtobufCMessage *message)
{
	return send_buffer(stream, wire_pack(message));
}

bool
wire_send_bytes(wire_stream *stream, const void *data, size_t size)
{
	grpc_slice	slice = grpc_slice_from_copied_buffer(data, size);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);

	grpc_slice_unref(slice);
	return send_buffer(stream, buffer);
}

bool
wire_half_close(wire_stream *stream)
{
	grpc_op		op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};

	start_batch(stream, &op, 1, &stream->step_tag);
	return await(stream, &stream->step_tag);
}

void *
wire_receive(wire_stream *stream, const ProtobufCMessageDescriptor *descriptor)
{
	grpc_op		op = {.op = GRPC_OP_RECV_MESSAGE};
	grpc_byte_buffer *buffer = NULL;
	void	   *message = NULL;

	op.data.recv_message.recv_message = &buffer;
	start_batch(stream, &op, 1, &stream->step_tag);
	await(stream, &stream->step_tag);
	if (buffer != NULL)
	{
		message = wire_unpack(descriptor, &stream->arena, buffer);
		grpc_byte_buffer_destroy(buffer);
	}
	return message;
}

void
wire_cancel(wire_stream *stream)
{
	grpc_call_cancel(stream->call, NULL);
}

grpc_status_code
wire_status(wire_stream *stream)
{
	if (!stream->ended)
	{
		await(stream, &stream->status_tag);
		stream->text = grpc_slice_to_c_string(stream->details);
		stream->ended = true;
	}
	return stream->code;
}

const char *
wire_status_text(const wire_stream *stream)
{
	return stream->text;
}

void
wire_free(wire_stream *stream)
{
	if (!stream->ended)
	{
		wire_cancel(stream);
		wire_status(stream);
	}
	await(stream, &stream->begin_tag);
	grpc_call_unref(stream->call);
	grpc_completion_queue_shutdown(stream->queue);
	grpc_completion_queue_destroy(stream->queue);
	grpc_metadata_array_destroy(&stream->initial_metadata);
	grpc_metadata_array_destroy(&stream->trailing_metadata);
	grpc_slice_unref(stream->details);
	wire_arena_free(&stream->arena);
	gpr_free(stream->text);
	gpr_free(stream);
}

wire_stream *
wire_call(wire_client *client, const char *method, const ProtobufCMessage *request,
		  const ProtobufCMessageDescriptor *answers, void **answer)
{
	wire_stream *stream = wire_start(client, method, WIRE_CLIENT_PATIENCE_MS, NULL);
	void	   *message = NULL;

	if (wire_send(stream, request) && wire_half_close(stream))
		message = wire_receive(stream, answers);
	wire_status(stream);
	if (answer != NULL)
		*answer = message;
	return stream;
}
