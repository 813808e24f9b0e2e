/*
 * committer.h - the one thread that writes the store, and therefore the one
 * place where conditions are decided.
 */
#ifndef NORIKVD_ENGINE_COMMITTER_H
#define NORIKVD_ENGINE_COMMITTER_H

#include "directory.h"
#include "feed.h"
#include "quotas.h"
#include "store_time.h"
#include "table.h"
#include "vectors.h"

typedef struct committer committer;

typedef struct committer_options
{
	table	   *table;
	store_time *time;
	data_directory *directory;		/* NULL: nothing on disk */
	vectors    *vectors;
	engine_version last;		/* the newest version given */
	bool		sync;
	uint64_t	max_idempotency;
	uint64_t	max_memory;
	feed	   *feed;			/* what is written goes there */
	quotas	   *quotas;			/* loaded */
	engine_log	log;
} committer_options;

extern committer *committer_start(const committer_options *options,
								  engine_status *status);
extern void committer_submit(committer *self, engine_unit *unit);
/* Between two batches, while nothing is written; returns when it has run. */
extern void committer_run(committer *self, void (*function) (void *arg), void *arg);
/*
 * Refuses new units, finishes those it has, brings the store to rest: false where
 * it cannot be said that all is on disk.
 */
extern bool committer_stop(committer *self);

#endif
