/*
 * table_rocksdb.c - a table in RocksDB: not in this build yet.
 */
#include "table.h"
#include "util.h"
table *
table_rocksdb_open(const table_rocksdb_options *options, engine_status *status)
{
	(void) options;
	status_set(status, ENGINE_UNIMPLEMENTED, "the rocksdb engine is not built in");
	return NULL;
}
