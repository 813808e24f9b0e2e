/*
 * local.h - an engine in this process: a table, a committer, store time.
 */
#ifndef NORIKVD_ENGINE_LOCAL_H
#define NORIKVD_ENGINE_LOCAL_H

#include "committer.h"
#include "directory.h"
#include "store_time.h"
#include "table.h"
#include "vectors.h"

typedef struct local_engine
{
	engine		base;
	const char *name;
	char		store_id[40];
	table	   *table;
	data_directory *directory;		/* NULL: nothing on disk */
	store_time	time;
	vectors    *vectors;
	committer  *committer;
	feed	   *feed;
	quotas	   *quotas;
	bool		sync;
	engine_log	log;
} local_engine;

/* read.c */
extern void local_get(engine *self, const engine_slice *keys, size_t n_keys,
					  engine_consistency consistency, engine_read_done done, void *arg);

/* scan.c */
extern engine_cursor *local_scan_open(engine *self, const engine_scan *scan,
									  engine_status *status);
extern void local_scan_page(engine_cursor *cursor, size_t max_bytes,
							engine_page_done done, void *arg);
extern void local_scan_close(engine_cursor *cursor);

#endif
