/*
 * chunk.h - messages of a stream that are packed entry by entry, as the engine
 * hands entries over, without a message of pointers to them in between.
 */
#ifndef NORIKVD_CHUNK_H
#define NORIKVD_CHUNK_H

#include <grpc/byte_buffer.h>
#include <protobuf-c/protobuf-c.h>

#include "engine.h"

/*
 * A stream's message is sent when it has this size. Smaller than a message may
 * be: the client reads the first while the server makes the second.
 */
#define CHUNK_SIZE ((size_t) 256 * 1024)

/* What a stream of chunks holds: one on its way, one being made. */
#define STREAM_MEMORY (2 * CHUNK_SIZE)

typedef struct chunk
{
	uint8_t    *data;
	size_t		size;
	size_t		room;
} chunk;

/* One element of the message's repeated field number 1. */
extern void chunk_add_element(chunk *self, const ProtobufCMessage *element);
extern void chunk_add_entry(chunk *self, const engine_entry *entry, bool with_key);
/* The message's other fields: those set in message. */
extern void chunk_add_fields(chunk *self, const ProtobufCMessage *message);

/* The bytes as a buffer to send, without a copy; the chunk is empty again. */
extern grpc_byte_buffer *chunk_take(chunk *self);
extern void chunk_free(chunk *self);

#endif
