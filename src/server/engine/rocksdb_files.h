/*
 * rocksdb_files.h - what RocksDB finds in its directory, made fit to be opened.
 */
#ifndef NORIKVD_ENGINE_ROCKSDB_FILES_H
#define NORIKVD_ENGINE_ROCKSDB_FILES_H

#include <rocksdb/c.h>

#include "table.h"

/* Before a database is opened: its logs are on disk, what was left over is gone. */
extern bool rocksdb_files_prepare(const char *directory, engine_status *status);

/* Writes what is in memory to tables, so that nothing rests on a log any more. */
extern bool rocksdb_files_supersede_logs(rocksdb_t *database,
										 rocksdb_column_family_handle_t *const *spaces,
										 engine_status *status);

#endif
