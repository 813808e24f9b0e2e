/*
 * watch_range.h - what one watcher looks at: a key, or a range of keys.
 */
#ifndef NORIKVD_ENGINE_WATCH_RANGE_H
#define NORIKVD_ENGINE_WATCH_RANGE_H

#include "engine.h"

typedef struct watch_range
{
	engine_slice start;
	engine_slice end;			/* empty: to the last key */
	bool		single;			/* start is the only key */
	char	   *memory;
} watch_range;

/* Copies the bounds. */
extern void watch_range_init(watch_range *self, engine_slice start, engine_slice end);
extern void watch_range_free(watch_range *self);

extern bool watch_range_meets(const watch_range *self, const engine_change *change);

#endif
