/*
 * unit.h - what a buffer comes to at COMMIT.
 */
#ifndef NORIKV_FDW_UNIT_H
#define NORIKV_FDW_UNIT_H

#include "write.h"

typedef struct NorikvUnit
{
	norikv_operation *operations;
	size_t n_operations;
} NorikvUnit;

/* In the current memory context; slices are the buffer's. */
extern void NorikvMakeUnit(NorikvBuffer *buffer, NorikvUnit *unit);

#endif
