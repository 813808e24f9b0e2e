/*
 * spool.h - bytes that are appended and read again at their positions; what does
 * not fit into work_mem goes to a temporary file.
 */
#ifndef NORIKV_FDW_SPOOL_H
#define NORIKV_FDW_SPOOL_H

#include "postgres.h"

#include "utils/resowner.h"

typedef struct NorikvSpool NorikvSpool;

/* Lives as long as the context; the owner must live as long, for the file's sake. */
extern NorikvSpool *NorikvSpoolCreate(MemoryContext context, ResourceOwner owner);
/* Where all went well. After an error the owner has closed the file. */
extern void NorikvSpoolClose(NorikvSpool *spool);
extern uint64 NorikvSpoolSize(const NorikvSpool *spool);
extern void NorikvSpoolAppend(NorikvSpool *spool, const void *data, size_t size);
extern void NorikvSpoolRead(NorikvSpool *spool, uint64 position, void *data, size_t size);

#endif
