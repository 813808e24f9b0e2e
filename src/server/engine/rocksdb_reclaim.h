/*
 * rocksdb_reclaim.h - gives the room of what was deleted back to the disk, in a
 * thread of its own.
 *
 * RocksDB does so in its own time, once levels have grown enough; on a full disk
 * nothing grows any more, and a deletion would free nothing for ever.
 */
#ifndef NORIKVD_ENGINE_ROCKSDB_RECLAIM_H
#define NORIKVD_ENGINE_ROCKSDB_RECLAIM_H

#include <pthread.h>
#include <stdatomic.h>

#include <rocksdb/c.h>

#include "table.h"

typedef struct rocksdb_reclaim
{
	pthread_t	thread;
	bool		started;		/* and not joined */
	_Atomic bool flushed;		/* whole, since the database was opened */
	_Atomic bool finished;
	const char *directory;
	rocksdb_t  *database;
	rocksdb_column_family_handle_t *spaces[TABLE_SPACES];
} rocksdb_reclaim;

/* False while an earlier one is under way. */
extern bool rocksdb_reclaim_start(rocksdb_reclaim *self, const char *directory,
								  rocksdb_t *database,
								  rocksdb_column_family_handle_t *const *spaces);
/* The database is closed, its work was cancelled. */
extern void rocksdb_reclaim_end(rocksdb_reclaim *self);

#endif
