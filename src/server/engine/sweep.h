/*
 * sweep.h - gives back what expired: keys, and remembered answers.
 *
 * In the committer's thread and in small steps, so that a sweep never meets a
 * newer put of the same key and never holds up a write for long.
 */
#ifndef NORIKVD_ENGINE_SWEEP_H
#define NORIKVD_ENGINE_SWEEP_H

#include "batch.h"

typedef struct sweep
{
	table	   *table;
	quotas	   *quotas;
	idempotency_count *count;
	slot_cache *slots;
	bytes		position;		/* in the idempotency records */
	/* Keys that the last step deleted. */
	arena		memory;
	engine_slice *expired;
	size_t		n_expired;
} sweep;

extern void sweep_init(sweep *self, table *of, idempotency_count *count,
					   slot_cache *slots, quotas *limits);
extern void sweep_free(sweep *self);

/*
 * One step each. True where there is more to do at once; what it deletes is put
 * into the table's batch, *changed says whether there is anything.
 */
extern bool sweep_keys(sweep *self, uint64_t now_ms, bool *changed);
/* Whether there are keys to sweep; false, too, where they cannot be read. */
extern bool sweep_is_due(const sweep *self, uint64_t now_ms);
extern bool sweep_records(sweep *self, uint64_t now_ms, bool *changed);
/* The keys of the last step, which are gone from the table in this version. */
extern void sweep_publish(const sweep *self, engine_version version, feed *to);

/* Counts the records anew; False where they cannot be read. */
extern bool sweep_count_records(sweep *self, engine_status *status);

#endif
