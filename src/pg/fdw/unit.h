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
/* The same for a vector of the namespace: its id is the key, its bytes the value. */
extern void NorikvMakeVectorOperation(norikv_operation *operation, norikv_slice space);
/* The time that is left, by this machine's clock; 1 ms at least. */
extern uint64 NorikvRemainingMs(uint64 expires_at_ms);
/*
 * Of the buffer and those that commit with it behind it. In the current memory context;
 * slices are the buffers'.
 */
extern void NorikvMakeUnit(NorikvBuffer *buffer, NorikvUnit *unit);

#endif
