/*
 * chunk.c - packs a message piece by piece. Protobuf allows it: messages that
 * are joined byte by byte are merged.
 */
#include "chunk.h"

#include <grpc/slice.h>
#include <grpc/support/alloc.h>

#include "norikv_ext.pb-c.h"

#define FIRST_ROOM 512
#define TAG_OF_FIELD_1 0x0a		/* length-delimited */
#define MAX_VARINT 10

static uint8_t *
reserve(chunk *self, size_t size)
{
	if (self->room - self->size < size)
	{
		size_t		room = self->room == 0 ? FIRST_ROOM : self->room * 2;

		while (room - self->size < size)
			room *= 2;
		self->data = gpr_realloc(self->data, room);
		self->room = room;
	}
	return self->data + self->size;
}

static size_t
put_varint(uint8_t *out, uint64_t number)
{
	size_t		n = 0;

	while (number >= 0x80)
	{
		out[n++] = (uint8_t) number | 0x80;
		number >>= 7;
	}
	out[n++] = (uint8_t) number;
	return n;
}

void
chunk_add_element(chunk *self, const ProtobufCMessage *element)
{
	size_t		size = protobuf_c_message_get_packed_size(element);
	uint8_t    *out = reserve(self, 1 + MAX_VARINT + size);

	*out++ = TAG_OF_FIELD_1;
	out += put_varint(out, size);
	out += protobuf_c_message_pack(element, out);
	self->size = (size_t) (out - self->data);
}

void
chunk_add_entry(chunk *self, const engine_entry *entry, bool with_key)
{
	Norikv__Ext__V1__Entry packed = NORIKV__EXT__V1__ENTRY__INIT;

	if (with_key)
	{
		packed.key.data = (uint8_t *) entry->key.data;
		packed.key.len = entry->key.size;
	}
	if (entry->version.index != 0)
	{
		packed.value.data = (uint8_t *) entry->value.data;
		packed.value.len = entry->value.size;
		packed.version_term = entry->version.term;
		packed.version_index = entry->version.index;
		packed.expires_at_ms = entry->expires_at_ms;
	}
	chunk_add_element(self, &packed.base);
}

void
chunk_add_fields(chunk *self, const ProtobufCMessage *message)
{
	uint8_t    *out = reserve(self, protobuf_c_message_get_packed_size(message));

	self->size += protobuf_c_message_pack(message, out);
}

grpc_byte_buffer *
chunk_take(chunk *self)
{
	grpc_slice	slice = self->size == 0 ? grpc_empty_slice()
		: grpc_slice_new(self->data, self->size, gpr_free);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);

	if (self->size == 0)
		gpr_free(self->data);
	grpc_slice_unref(slice);
	*self = (chunk) {0};
	return buffer;
}

void
chunk_free(chunk *self)
{
	gpr_free(self->data);
	*self = (chunk) {0};
}
