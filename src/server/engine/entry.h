/*
 * entry.h - how a key's entry and the expiry index are stored.
 *
 * An entry is: flags (1 byte), version as term << 48 | index (8), the instant
 * of expiry in milliseconds where it has one (8), and the value. The expiry
 * index has, for every entry that expires, the instant (8) followed by the key.
 * It may also hold instants that no longer count: whoever reads it looks at the
 * entry before acting.
 */
#ifndef NORIKVD_ENGINE_ENTRY_H
#define NORIKVD_ENGINE_ENTRY_H

#include "util.h"

#define ENTRY_HEAD_SIZE 17
#define ENTRY_MAX_TERM 32767
#define VERSION_INDEX_BITS 48

typedef struct entry
{
	engine_version version;
	uint64_t	expires_at_ms;	/* 0: never */
	engine_slice value;
} entry;

/* Whether it can be packed: another one is none of ours. */
static inline bool
version_exists(engine_version version)
{
	return version.term <= ENTRY_MAX_TERM && version.index >> VERSION_INDEX_BITS == 0;
}

extern uint64_t version_pack(engine_version version);
extern engine_version version_unpack(uint64_t packed);

/* Writes the head and returns it; the value follows it in the table. */
extern engine_slice entry_head(const entry *self, char buffer[ENTRY_HEAD_SIZE]);
/* False: these bytes are no entry. */
extern bool entry_decode(engine_slice stored, entry *self);

static inline bool
entry_expired(const entry *self, uint64_t now_ms)
{
	return self->expires_at_ms != 0 && self->expires_at_ms <= now_ms;
}

#define EXPIRY_KEY_SIZE(key_size) (8 + (key_size))

extern engine_slice expiry_key(uint64_t expires_at_ms, engine_slice key, char *buffer);

#endif
