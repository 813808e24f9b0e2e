/*
 * util.h - what the files of the local engine share: slices, statuses, numbers
 * in byte order, and an arena for memory that lives as long as one batch.
 *
 * Allocation never fails here: the server plans its large buffers against
 * --max-memory, and a process that cannot get a few hundred bytes cannot answer
 * either. It ends with a message, and the log has what was acknowledged.
 */
#ifndef NORIKVD_ENGINE_UTIL_H
#define NORIKVD_ENGINE_UTIL_H

#include <string.h>

#include "engine.h"

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

extern void *engine_malloc(size_t size);
extern void *engine_calloc(size_t size);
extern void *engine_realloc(void *memory, size_t size);
extern char *engine_strdup(const char *text);

extern void status_ok(engine_status *status);
extern void status_set(engine_status *status, engine_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- Slices ---- */

static inline engine_slice
slice_of(const void *data, size_t size)
{
	return (engine_slice) {data, size};
}

/* Byte order; a prefix comes before what it is a prefix of. */
static inline int
slice_compare(engine_slice a, engine_slice b)
{
	size_t		size = a.size < b.size ? a.size : b.size;
	int			order = size == 0 ? 0 : memcmp(a.data, b.data, size);

	if (order != 0)
		return order;
	return (a.size > b.size) - (a.size < b.size);
}

static inline bool
slice_equal(engine_slice a, engine_slice b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool
slice_begins_with(engine_slice slice, engine_slice prefix)
{
	return slice.size >= prefix.size &&
		slice_equal(slice_of(slice.data, prefix.size), prefix);
}

/* A key as part of a message: printable characters, the rest escaped, shortened. */
extern const char *slice_show(engine_slice key, char *buffer, size_t size);

#define SLICE_SHOWN 96

extern bool utf8_valid(engine_slice text);

/* By CLOCK_MONOTONIC, since some instant: for durations only. */
extern uint64_t monotonic_ns(void);
extern uint64_t monotonic_ms(void);

/* A new UUID, version 4, as text. */
extern void random_uuid(char text[37]);

/* ---- Numbers: big-endian, so that their byte order is their order ---- */

static inline void
store_u64(char *to, uint64_t number)
{
	number = __builtin_bswap64(number);
	memcpy(to, &number, 8);
}

static inline uint64_t
load_u64(const char *from)
{
	uint64_t	number;

	memcpy(&number, from, 8);
	return __builtin_bswap64(number);
}

/* ---- Arena ---- */

typedef struct arena
{
	struct arena_block *blocks;
} arena;

extern void arena_init(arena *self);
extern void *arena_alloc(arena *self, size_t size);
extern engine_slice arena_copy(arena *self, engine_slice slice);
extern engine_slice arena_printf(arena *self, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Gives everything back but one block for the next use. */
extern void arena_reset(arena *self);
extern void arena_free(arena *self);

/* ---- A growing string of bytes ---- */

typedef struct bytes
{
	char	   *data;
	size_t		size;
	size_t		capacity;
} bytes;

extern void bytes_append(bytes *self, const void *data, size_t size);
extern void bytes_append_u64(bytes *self, uint64_t number);
/* Seven bits a byte, lowest first. */
extern void bytes_append_varint(bytes *self, uint64_t number);
extern void bytes_free(bytes *self);

static inline engine_slice
bytes_slice(const bytes *self)
{
	return (engine_slice) {self->data, self->size};
}

/* Reading: what is missing reads as zero and leaves *ok false. */
typedef struct byte_reader
{
	const char *at;
	const char *end;
	bool		ok;
} byte_reader;

extern uint64_t read_u64(byte_reader *reader);
extern uint64_t read_varint(byte_reader *reader);
extern engine_slice read_slice(byte_reader *reader, size_t size);

#endif
