/*
 * wire_client.h - a client for tests of the wire itself: gRPC core and nothing
 * between. One call at a time and thread, every wait bounded; a step that takes
 * longer than that ends the test program.
 */
#ifndef TEST_WIRE_CLIENT_H
#define TEST_WIRE_CLIENT_H

#include <stdbool.h>

#include <grpc/grpc.h>

#include "wire.h"

/* Nothing a test waits for takes so long. */
#define WIRE_CLIENT_PATIENCE_MS 20000

typedef struct wire_client wire_client;
typedef struct wire_stream wire_stream;

/* "unix:/path" or "host:port". Each client has a connection of its own. */
extern wire_client *wire_client_open(const char *target);
extern void wire_client_close(wire_client *client);

/* timeout_ms 0: no deadline. authorization NULL: not sent. */
extern wire_stream *wire_start(wire_client *client, const char *method,
							   unsigned timeout_ms, const char *authorization);
extern bool wire_send(wire_stream *stream, const ProtobufCMessage *message);
extern bool wire_send_bytes(wire_stream *stream, const void *data, size_t size);
extern bool wire_half_close(wire_stream *stream);
/* The next message, in the stream's arena; NULL where there is none. */
extern void *wire_receive(wire_stream *stream,
						  const ProtobufCMessageDescriptor *descriptor);
extern void wire_cancel(wire_stream *stream);
/* Waits for the status. The stream's messages live until wire_free(). */
extern grpc_status_code wire_status(wire_stream *stream);
extern const char *wire_status_text(const wire_stream *stream);
extern void wire_free(wire_stream *stream);

/* A unary call up to its status; *answer is its message where there is one. */
extern wire_stream *wire_call(wire_client *client, const char *method,
							  const ProtobufCMessage *request,
							  const ProtobufCMessageDescriptor *answers, void **answer);

#endif
