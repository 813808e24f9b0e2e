/*
 * id_set.h - a set of short byte strings, which only grows until it is emptied.
 */
#ifndef NORIKVD_ENGINE_ID_SET_H
#define NORIKVD_ENGINE_ID_SET_H

#include "util.h"

/* All zero: empty. */
typedef struct id_set
{
	engine_slice *slots;
	size_t		n_slots;		/* 0, or a power of two */
	size_t		n_ids;
	arena		memory;
} id_set;

extern void id_set_add(id_set *self, engine_slice id);
extern bool id_set_has(const id_set *self, engine_slice id);
extern void id_set_free(id_set *self);

#endif
