/*
 * meta.h - the store's own numbers, in TABLE_META.
 */
#ifndef NORIKVD_ENGINE_META_H
#define NORIKVD_ENGINE_META_H

#include "store_time.h"
#include "table.h"

/* The newest version given, packed: written with every batch that gave one. */
#define META_LAST_VERSION "last version"
/* Store time never passed this instant. */
#define META_TIME_BOUND "time bound"
/* When that was written it was this late, by the clock of this run of the machine. */
#define META_TIME_STORE "time store"
#define META_TIME_BOOT "time boot"
#define META_TIME_RUN "time run"

/* 0 where there is none yet; false where it cannot be read. */
extern bool meta_get(table *from, const char *name, uint64_t *number,
					 engine_status *status);
extern void meta_put(table *to, const char *name, uint64_t number);
extern bool meta_get_time(table *from, store_time_mark *mark, engine_status *status);
extern void meta_put_time(table *to, const store_time_mark *mark);

#endif
