/*
 * util.c - memory, statuses and bytes for the local engine.
 */
#include "util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define ARENA_BLOCK (64 * 1024)

struct arena_block
{
	struct arena_block *next;
	size_t		used;
	size_t		size;
	_Alignas(16) char data[];
};

static void
out_of_memory(size_t size)
{
	fprintf(stderr, "norikvd: out of memory (%zu bytes asked for)\n", size);
	abort();
}

void *
engine_malloc(size_t size)
{
	void	   *memory = malloc(size > 0 ? size : 1);

	if (memory == NULL)
		out_of_memory(size);
	return memory;
}

void *
engine_calloc(size_t size)
{
	void	   *memory = calloc(1, size > 0 ? size : 1);

	if (memory == NULL)
		out_of_memory(size);
	return memory;
}

void *
engine_realloc(void *memory, size_t size)
{
	memory = realloc(memory, size > 0 ? size : 1);
	if (memory == NULL)
		out_of_memory(size);
	return memory;
}

char *
engine_strdup(const char *text)
{
	size_t		size = strlen(text) + 1;

	return memcpy(engine_malloc(size), text, size);
}

void
status_ok(engine_status *status)
{
	status->code = ENGINE_OK;
	status->text[0] = '\0';
}

void
status_set(engine_status *status, engine_code code, const char *format, ...)
{
	va_list		args;

	status->code = code;
	va_start(args, format);
	vsnprintf(status->text, sizeof(status->text), format, args);
	va_end(args);
}

const char *
slice_show(engine_slice key, char *buffer, size_t size)
{
	size_t		used = 0;

	for (size_t i = 0; i < key.size; i++)
	{
		unsigned char c = (unsigned char) key.data[i];
		bool		plain = c >= 0x20 && c < 0x7f && c != '\\';

		if (used + 8 > size)
		{
			memcpy(buffer + used, "...", 4);
			return buffer;
		}
		if (plain)
			buffer[used++] = (char) c;
		else
			used += (size_t) snprintf(buffer + used, size - used, "\\x%02x", c);
	}
	buffer[used] = '\0';
	return buffer;
}

/* How many bytes a character has that begins with this one; 0: none does. */
static size_t
utf8_length(unsigned char first)
{
	return first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2
		: first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/* Neither longer than need be, nor a surrogate, nor beyond the last code point. */
bool
utf8_valid(engine_slice text)
{
	const unsigned char *at = (const unsigned char *) text.data;
	const unsigned char *end = at + text.size;

	while (at < end)
	{
		size_t		length = utf8_length(*at);

		if (length == 0 || length > (size_t) (end - at))
			return false;
		for (size_t i = 1; i < length; i++)
		{
			if ((at[i] & 0xc0) != 0x80)
				return false;
		}
		if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
			(at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
			return false;
		at += length;
	}
	return true;
}

uint64_t
monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

uint64_t
monotonic_ms(void)
{
	return monotonic_ns() / 1000000;
}

void
random_uuid(char text[37])
{
	unsigned char random[16];
	size_t		used = 0;

	while (getrandom(random, sizeof(random), 0) != sizeof(random))
		continue;
	random[6] = (random[6] & 0x0f) | 0x40;
	random[8] = (random[8] & 0x3f) | 0x80;
	for (size_t i = 0; i < sizeof(random); i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[used++] = '-';
		used += (size_t) snprintf(text + used, 3, "%02x", random[i]);
	}
}

/* ---- Arena ---- */

void
arena_init(arena *self)
{
	self->blocks = NULL;
}

void *
arena_alloc(arena *self, size_t size)
{
	struct arena_block *block = self->blocks;
	void	   *memory;

	size = (size + 15) & ~(size_t) 15;
	if (block == NULL || block->size - block->used < size)
	{
		size_t		block_size = size > ARENA_BLOCK ? size : ARENA_BLOCK;

		block = engine_malloc(sizeof(*block) + block_size);
		block->size = block_size;
		block->used = 0;
		block->next = self->blocks;
		self->blocks = block;
	}
	memory = block->data + block->used;
	block->used += size;
	return memory;
}

engine_slice
arena_copy(arena *self, engine_slice slice)
{
	char	   *copy = arena_alloc(self, slice.size);

	if (slice.size > 0)
		memcpy(copy, slice.data, slice.size);
	return slice_of(copy, slice.size);
}

engine_slice
arena_printf(arena *self, const char *format, ...)
{
	char		text[ENGINE_TEXT_SIZE];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return arena_copy(self, slice_of(text, strlen(text)));
}

void
arena_reset(arena *self)
{
	struct arena_block *kept = NULL;

	while (self->blocks != NULL)
	{
		struct arena_block *block = self->blocks;

		self->blocks = block->next;
		if (kept == NULL && block->size == ARENA_BLOCK)
			kept = block;
		else
			free(block);
	}
	if (kept != NULL)
	{
		kept->used = 0;
		kept->next = NULL;
	}
	self->blocks = kept;
}

void
arena_free(arena *self)
{
	while (self->blocks != NULL)
	{
		struct arena_block *block = self->blocks;

		self->blocks = block->next;
		free(block);
	}
}

/* ---- Bytes ---- */

void
bytes_append(bytes *self, const void *data, size_t size)
{
	if (size == 0)
		return;
	if (self->capacity - self->size < size)
	{
		self->capacity = (self->capacity + size) * 2;
		self->data = engine_realloc(self->data, self->capacity);
	}
	memcpy(self->data + self->size, data, size);
	self->size += size;
}

void
bytes_append_u64(bytes *self, uint64_t number)
{
	char		buffer[8];

	store_u64(buffer, number);
	bytes_append(self, buffer, sizeof(buffer));
}

void
bytes_append_varint(bytes *self, uint64_t number)
{
	char		buffer[10];
	size_t		size = 0;

	while (number >= 0x80)
	{
		buffer[size++] = (char) (number | 0x80);
		number >>= 7;
	}
	buffer[size++] = (char) number;
	bytes_append(self, buffer, size);
}

void
bytes_free(bytes *self)
{
	free(self->data);
	*self = (bytes) {0};
}

uint64_t
read_u64(byte_reader *reader)
{
	engine_slice slice = read_slice(reader, 8);

	return reader->ok ? load_u64(slice.data) : 0;
}

uint64_t
read_varint(byte_reader *reader)
{
	uint64_t	number = 0;

	for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7)
	{
		unsigned char byte = (unsigned char) *reader->at++;

		number |= (uint64_t) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return number;
	}
	reader->ok = false;
	return 0;
}

engine_slice
read_slice(byte_reader *reader, size_t size)
{
	engine_slice slice = {reader->at, size};

	if ((size_t) (reader->end - reader->at) < size)
	{
		reader->ok = false;
		return (engine_slice) {NULL, 0};
	}
	reader->at += size;
	return slice;
}
