/*
 * unpack.h - requests out of the bytes that came, and a look at the bytes before.
 */
#ifndef NORIKVD_UNPACK_H
#define NORIKVD_UNPACK_H

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>

#include "wire.h"

/* The bytes of one message, in one piece. */
typedef struct message_bytes
{
	const uint8_t *data;
	size_t		size;
	grpc_slice	copy;			/* where they came in several pieces */
	bool		copied;
} message_bytes;

/* Points into the buffer where it can. The struct must stay where it is. */
extern void message_open(message_bytes *bytes, grpc_byte_buffer *buffer);
extern void message_close(message_bytes *bytes);

/*
 * How many elements a repeated field of messages has, without unpacking them: a
 * few bytes of each become hundreds. Bytes that are no message have 0 or more.
 */
extern size_t message_count(const message_bytes *bytes, uint32_t field);

/*
 * The message in the arena, or NULL with a text in error, which has
 * UNPACK_ERROR_SIZE bytes. A string with a zero byte is refused: it would be cut
 * there, and become another.
 */
#define UNPACK_ERROR_SIZE 256

extern void *message_unpack(const message_bytes *bytes,
							const ProtobufCMessageDescriptor *descriptor,
							wire_arena *arena, char *error);

#endif
