/*
 * cache.h - the cache in shared memory, for the rest of the extension.
 */
#ifndef NORIKV_CACHE_H
#define NORIKV_CACHE_H

#include "pg_norikv.h"

/*
 * Defines the settings and asks for shared memory. For _PG_init, while
 * shared_preload_libraries are loaded.
 */
extern void NorikvCacheInit(void);

/*
 * A write of this PostgreSQL, by whatever process: what it may change leaves the cache
 * before it is sent, and again when its outcome is known, so that nothing that was read
 * in between stays. Cheap where nothing is cached.
 *
 * Starts can throw, and the write must not have been sent then. Ends never throws, can
 * be called again, and does nothing for a write that has not started (all zero).
 */
extern void NorikvCacheWriteStarts(NorikvCacheWrite *write, norikv_slice key_prefix,
								   const norikv_operation *operations,
								   size_t n_operations);
/* settled: an answer came. If not, the write may take effect later still. */
extern void NorikvCacheWriteEnds(NorikvCacheWrite *write, bool settled);

#endif
