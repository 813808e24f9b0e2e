/*
 * fake_store.h - the keys of the fake server: a sorted array.
 */
#ifndef FAKE_STORE_H
#define FAKE_STORE_H

#include <stddef.h>
#include <stdint.h>

typedef struct fake_entry
{
	uint8_t    *key;
	size_t		key_size;
	uint8_t    *value;
	size_t		value_size;
	uint64_t	index;			/* of its version */
	int64_t		expires_ms;		/* CLOCK_MONOTONIC; 0: never */
} fake_entry;

/* NULL: absent, or expired. */
extern const fake_entry *fake_find(const uint8_t *key, size_t size);
/* idempotency_key "": not remembered. */
extern const fake_entry *fake_put(const uint8_t *key, size_t size, const uint8_t *value,
								  size_t value_size, uint64_t ttl_ms,
								  const char *idempotency_key);
extern void fake_delete(const uint8_t *key, size_t size);
/* What a Put under this idempotency key wrote, by its version alone; NULL: none. */
extern const fake_entry *fake_find_done(const char *idempotency_key);
/* The first key not below this one, and the one after. */
extern const fake_entry *fake_first(const uint8_t *key, size_t size);
extern const fake_entry *fake_next(const fake_entry *entry);
extern int	fake_compare(const fake_entry *entry, const uint8_t *key, size_t size);
/* How many Puts were applied. */
extern uint64_t fake_applied(void);

#endif
