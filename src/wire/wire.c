/*
 * wire.c - protobuf messages in and out of gRPC byte buffers.
 */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

#define ARENA_FIRST_BLOCK 1024
#define ARENA_LARGEST_BLOCK (256 * 1024)
#define ARENA_ALIGNMENT _Alignof(max_align_t)

typedef struct wire_arena_block
{
	struct wire_arena_block *next;
	size_t		used;
	size_t		size;
	_Alignas(max_align_t) char data[];
} wire_arena_block;

static wire_arena_block *
arena_add_block(wire_arena *arena, size_t at_least)
{
	size_t		size = arena->next_block_size;
	wire_arena_block *block;

	if (size < ARENA_LARGEST_BLOCK)
		arena->next_block_size = size * 2;
	if (size < at_least)
		size = at_least;
	block = malloc(sizeof(*block) + size);
	if (block == NULL)
		return NULL;
	block->used = 0;
	block->size = size;
	block->next = arena->blocks;
	arena->blocks = block;
	return block;
}

static void *
arena_alloc(void *opaque, size_t size)
{
	wire_arena *arena = opaque;
	wire_arena_block *block = arena->blocks;
	void	   *memory;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + ARENA_ALIGNMENT - 1) & ~(ARENA_ALIGNMENT - 1);
	if (block == NULL || block->size - block->used < size)
	{
		block = arena_add_block(arena, size);
		if (block == NULL)
			return NULL;
	}
	memory = block->data + block->used;
	block->used += size;
	return memory;
}

static void
arena_free_nothing(void *opaque, void *memory)
{
	(void) opaque;
	(void) memory;
}

void
wire_arena_init(wire_arena *arena)
{
	arena->allocator.alloc = arena_alloc;
	arena->allocator.free = arena_free_nothing;
	arena->allocator.allocator_data = arena;
	arena->blocks = NULL;
	arena->next_block_size = ARENA_FIRST_BLOCK;
}

void
wire_arena_free(wire_arena *arena)
{
	wire_arena_block *block = arena->blocks;

	while (block != NULL)
	{
		wire_arena_block *next = block->next;

		free(block);
		block = next;
	}
	arena->blocks = NULL;
	arena->next_block_size = ARENA_FIRST_BLOCK;
}

void *
wire_arena_alloc(wire_arena *arena, size_t size)
{
	void	   *memory = arena_alloc(arena, size);

	if (memory != NULL)
		memset(memory, 0, size);
	return memory;
}

grpc_byte_buffer *
wire_pack(const ProtobufCMessage *message)
{
	grpc_slice	slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
	grpc_byte_buffer *buffer;

	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	return buffer;
}

void *
wire_unpack(const ProtobufCMessageDescriptor *descriptor, wire_arena *arena,
			grpc_byte_buffer *buffer)
{
	grpc_byte_buffer_reader reader;
	grpc_slice	slice;
	void	   *message;

	if (buffer == NULL || !grpc_byte_buffer_reader_init(&reader, buffer))
		return NULL;
	slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	message = protobuf_c_message_unpack(descriptor, &arena->allocator,
										GRPC_SLICE_LENGTH(slice),
										GRPC_SLICE_START_PTR(slice));
	grpc_slice_unref(slice);
	return message;
}
