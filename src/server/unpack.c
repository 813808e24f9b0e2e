/*
 * unpack.c - walks the top level of a message, and unpacks it.
 */
#include "unpack.h"

#include <stdio.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>

typedef struct walk
{
	const uint8_t *at;
	const uint8_t *end;
	uint32_t	field;
	const uint8_t *payload;		/* of a length-delimited field, else NULL */
	size_t		size;
} walk;

/* In place: a short copy has its bytes within the slice itself. */
void
message_open(message_bytes *bytes, grpc_byte_buffer *buffer)
{
	grpc_byte_buffer_reader reader;
	grpc_slice *only = &buffer->data.raw.slice_buffer.slices[0];

	*bytes = (message_bytes) {0};
	if (buffer->type == GRPC_BB_RAW &&
		buffer->data.raw.compression == GRPC_COMPRESS_NONE &&
		buffer->data.raw.slice_buffer.count == 1)
	{
		bytes->data = GRPC_SLICE_START_PTR(*only);
		bytes->size = GRPC_SLICE_LENGTH(*only);
	}
	else if (grpc_byte_buffer_reader_init(&reader, buffer))
	{
		bytes->copy = grpc_byte_buffer_reader_readall(&reader);
		bytes->copied = true;
		bytes->data = GRPC_SLICE_START_PTR(bytes->copy);
		bytes->size = GRPC_SLICE_LENGTH(bytes->copy);
		grpc_byte_buffer_reader_destroy(&reader);
	}
}

void
message_close(message_bytes *bytes)
{
	if (bytes->copied)
		grpc_slice_unref(bytes->copy);
}

static bool
read_varint(walk *self, uint64_t *number)
{
	*number = 0;
	for (unsigned shift = 0; shift < 64 && self->at < self->end; shift += 7)
	{
		uint8_t		byte = *self->at++;

		*number |= (uint64_t) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return true;
	}
	return false;
}

static bool
skip(walk *self, uint64_t size)
{
	if ((uint64_t) (self->end - self->at) < size)
		return false;
	self->at += size;
	return true;
}

/* One field further; false at the end, and where the bytes are no message. */
static bool
next_field(walk *self)
{
	uint64_t	number;

	if (!read_varint(self, &number) || number >> 3 > UINT32_MAX)
		return false;
	self->field = (uint32_t) (number >> 3);
	self->payload = NULL;
	switch (number & 7)
	{
		case PROTOBUF_C_WIRE_TYPE_VARINT:
			return read_varint(self, &number);
		case PROTOBUF_C_WIRE_TYPE_64BIT:
			return skip(self, 8);
		case PROTOBUF_C_WIRE_TYPE_32BIT:
			return skip(self, 4);
		case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
			if (!read_varint(self, &number))
				return false;
			self->payload = self->at;
			self->size = (size_t) number;
			return skip(self, number);
		default:
			return false;
	}
}

size_t
message_count(const message_bytes *bytes, uint32_t field)
{
	walk		fields = {bytes->data, bytes->data + bytes->size};
	size_t		count = 0;

	while (next_field(&fields))
	{
		if (fields.field == field)
			count++;
	}
	return count;
}

/* The name of a string field that holds a zero byte; NULL: there is none. */
static const char *
find_cut_string(const message_bytes *bytes, const ProtobufCMessageDescriptor *descriptor)
{
	walk		fields = {bytes->data, bytes->data + bytes->size};

	while (next_field(&fields))
	{
		const ProtobufCFieldDescriptor *field;

		if (fields.payload == NULL || fields.size == 0)
			continue;
		field = protobuf_c_message_descriptor_get_field(descriptor, fields.field);
		if (field != NULL && field->type == PROTOBUF_C_TYPE_STRING &&
			memchr(fields.payload, '\0', fields.size) != NULL)
			return field->name;
	}
	return NULL;
}

void *
message_unpack(const message_bytes *bytes, const ProtobufCMessageDescriptor *descriptor,
			   wire_arena *arena, char *error)
{
	void	   *message = NULL;
	const char *cut = find_cut_string(bytes, descriptor);

	if (cut != NULL)
		snprintf(error, UNPACK_ERROR_SIZE, "%s holds a zero byte", cut);
	else
	{
		message = protobuf_c_message_unpack(descriptor, &arena->allocator, bytes->size,
											bytes->data);
		if (message == NULL)
			snprintf(error, UNPACK_ERROR_SIZE, "the request is not a %s",
					 descriptor->name);
	}
	return message;
}
