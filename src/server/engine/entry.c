/*
 * entry.c - entries in and out of their stored form.
 */
#include "entry.h"

#define FLAG_EXPIRES 0x01
#define KNOWN_FLAGS FLAG_EXPIRES

uint64_t
version_pack(engine_version version)
{
	return version.term << VERSION_INDEX_BITS | version.index;
}

engine_version
version_unpack(uint64_t packed)
{
	engine_version version;

	version.term = packed >> VERSION_INDEX_BITS;
	version.index = packed & (((uint64_t) 1 << VERSION_INDEX_BITS) - 1);
	return version;
}

engine_slice
entry_head(const entry *self, char buffer[ENTRY_HEAD_SIZE])
{
	bool		expires = self->expires_at_ms != 0;

	buffer[0] = expires ? FLAG_EXPIRES : 0;
	store_u64(buffer + 1, version_pack(self->version));
	if (expires)
		store_u64(buffer + 9, self->expires_at_ms);
	return slice_of(buffer, expires ? 17 : 9);
}

bool
entry_decode(engine_slice stored, entry *self)
{
	byte_reader reader = {stored.data, stored.data + stored.size, true};
	engine_slice flags = read_slice(&reader, 1);

	self->version = version_unpack(read_u64(&reader));
	self->expires_at_ms = 0;
	if (reader.ok && (flags.data[0] & FLAG_EXPIRES) != 0)
		self->expires_at_ms = read_u64(&reader);
	self->value = slice_of(reader.at, (size_t) (reader.end - reader.at));
	return reader.ok && (flags.data[0] & ~KNOWN_FLAGS) == 0;
}

engine_slice
expiry_key(uint64_t expires_at_ms, engine_slice key, char *buffer)
{
	store_u64(buffer, expires_at_ms);
	if (key.size > 0)
		memcpy(buffer + 8, key.data, key.size);
	return slice_of(buffer, EXPIRY_KEY_SIZE(key.size));
}
