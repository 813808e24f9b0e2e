/*
 * wire.h - what client and server share: the limits of the protocol, method
 * names, and protobuf messages in and out of gRPC byte buffers.
 */
#ifndef NORIKV_WIRE_H
#define NORIKV_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/byte_buffer.h>
#include <protobuf-c/protobuf-c.h>

#define WIRE_DEFAULT_PORT 7447
#define WIRE_MAX_KEY 1024
#define WIRE_MAX_VALUE (1024 * 1024)
#define WIRE_MAX_MESSAGE (2 * 1024 * 1024)
/* Streams are cut into messages of about this size, under flow control. */
#define WIRE_CHUNK (1024 * 1024)
#define WIRE_MAX_IDEMPOTENCY_KEY 512
/* 100 years of 365.25 days. */
#define WIRE_MAX_TTL_MS (INT64_C(36525) * 24 * 3600 * 1000)

#define WIRE_MAX_NAMESPACE 256
#define WIRE_MAX_VECTOR_ID 512
#define WIRE_MAX_DIMENSIONS 4096

/* So many bytes of matches come in one chunk; and what a match may take of them. */
#define WIRE_ONE_SEARCH_CHUNK (64 * 1024)
#define WIRE_MATCH_SIZE(dimensions) \
	(WIRE_MAX_VECTOR_ID + 64 + (dimensions) * sizeof(float))

#define WIRE_SLOT_KEY_PREFIX "~nk1/"

#define WIRE_METHOD_PUT "/norikv.v1.Kv/Put"
#define WIRE_METHOD_GET "/norikv.v1.Kv/Get"
#define WIRE_METHOD_DELETE "/norikv.v1.Kv/Delete"
#define WIRE_METHOD_WATCH_CLUSTER "/norikv.v1.Meta/WatchCluster"
#define WIRE_METHOD_INFO "/norikv.ext.v1.Kv/Info"
#define WIRE_METHOD_MULTI_GET "/norikv.ext.v1.Kv/MultiGet"
#define WIRE_METHOD_COMMIT "/norikv.ext.v1.Kv/Commit"
#define WIRE_METHOD_SCAN "/norikv.ext.v1.Kv/Scan"
#define WIRE_METHOD_VECTOR_CREATE_INDEX "/norikv.v1.Vector/CreateIndex"
#define WIRE_METHOD_VECTOR_DROP_INDEX "/norikv.v1.Vector/DropIndex"
#define WIRE_METHOD_VECTOR_INSERT "/norikv.v1.Vector/Insert"
#define WIRE_METHOD_VECTOR_DELETE "/norikv.v1.Vector/Delete"
#define WIRE_METHOD_VECTOR_SEARCH "/norikv.v1.Vector/Search"
#define WIRE_METHOD_VECTOR_GET "/norikv.v1.Vector/Get"
#define WIRE_METHOD_VECTOR_LIST "/norikv.ext.v1.Vector/List"
#define WIRE_METHOD_VECTOR_MULTI_GET "/norikv.ext.v1.Vector/MultiGet"
#define WIRE_METHOD_VECTOR_EXT_SEARCH "/norikv.ext.v1.Vector/Search"
#define WIRE_METHOD_VECTOR_SCAN "/norikv.ext.v1.Vector/Scan"
#define WIRE_METHOD_WATCH "/norikv.ext.v1.Kv/Watch"
#define WIRE_METHOD_SET_QUOTA "/norikv.ext.v1.Kv/SetQuota"
#define WIRE_METHOD_USAGE "/norikv.ext.v1.Kv/Usage"
#define WIRE_METHOD_HEALTH_CHECK "/grpc.health.v1.Health/Check"
#define WIRE_METHOD_HEALTH_WATCH "/grpc.health.v1.Health/Watch"

/*
 * A bump allocator for unpacked messages: one message, one arena, freed as a
 * whole. protobuf-c would otherwise call malloc for every field of every
 * operation of a batch.
 */
typedef struct wire_arena
{
	ProtobufCAllocator allocator;
	struct wire_arena_block *blocks;
	size_t		next_block_size;
} wire_arena;

extern void wire_arena_init(wire_arena *arena);
extern void wire_arena_free(wire_arena *arena);

/* Zero-filled memory that lives as long as the arena; NULL when out of memory. */
extern void *wire_arena_alloc(wire_arena *arena, size_t size);

/* The message as a byte buffer; the caller destroys it. */
extern grpc_byte_buffer *wire_pack(const ProtobufCMessage *message);

/*
 * The message in the buffer, allocated in the arena; NULL when the bytes are no
 * such message, are absent, or are more than the arena can hold.
 */
extern void *wire_unpack(const ProtobufCMessageDescriptor *descriptor,
						 wire_arena *arena, grpc_byte_buffer *buffer);

#endif
