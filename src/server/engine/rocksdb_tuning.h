/*
 * rocksdb_tuning.h - how RocksDB is set up: memory, files, compaction.
 */
#ifndef NORIKVD_ENGINE_ROCKSDB_TUNING_H
#define NORIKVD_ENGINE_ROCKSDB_TUNING_H

#include <rocksdb/c.h>

#include "table.h"

typedef struct rocksdb_tuning
{
	rocksdb_options_t *database;
	rocksdb_options_t *spaces[TABLE_SPACES];
	rocksdb_cache_t *cache;
} rocksdb_tuning;

extern void rocksdb_tuning_init(rocksdb_tuning *self,
								const table_rocksdb_options *options);
extern void rocksdb_tuning_free(rocksdb_tuning *self);

#endif
