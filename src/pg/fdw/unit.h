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

/*
 * What the changes of one key come to, with what was read of it, or NULL; false
 * where that is nothing: it was put and deleted again.
 */
extern bool NorikvKeyOperation(const NorikvBufferKey *key, const NorikvReadCheck *read,
							   norikv_operation *operation);
/* The time that is left, by this machine's clock; 1 ms at least. */
extern uint64 NorikvRemainingMs(uint64 expires_at_ms);
/* In the current memory context; slices are the buffer's. */
extern void NorikvMakeUnit(NorikvBuffer *buffer, NorikvUnit *unit);

#endif
