/*
 * meta.h - the store's own numbers, in TABLE_META.
 */
#ifndef NORIKVD_ENGINE_META_H
#define NORIKVD_ENGINE_META_H

#include "table.h"

/* The newest version given, packed: written with every batch that gave one. */
#define META_LAST_VERSION "last version"
/* Store time never passed this instant. */
#define META_TIME_BOUND "time bound"

/* 0 where there is none yet; false where it cannot be read. */
extern bool meta_get(table *from, const char *name, uint64_t *number,
					 engine_status *status);
extern void meta_put(table *to, const char *name, uint64_t number);

#endif
