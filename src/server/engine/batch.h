/*
 * batch.h - the units that are decided together and written by one write.
 *
 * The committer gathers units into a batch, reads their keys, decides them in
 * order, writes, and answers. Nothing is answered before the write: a later
 * unit's answer may rest on what an earlier one is about to write.
 */
#ifndef NORIKVD_ENGINE_BATCH_H
#define NORIKVD_ENGINE_BATCH_H

#include "feed.h"
#include "overlay.h"
#include "quotas.h"
#include "slot_cache.h"
#include "vectors.h"

typedef struct idempotency_key
{
	bool		given;
	bool		slot;			/* a client's slot: one record, replaced in turn */
	uint64_t	sequence;		/* of the slot */
	engine_slice stored;		/* its key in TABLE_IDEMPOTENCY */
} idempotency_key;

/* How many records there are, expired ones included until they are swept. */
typedef struct idempotency_count
{
	uint64_t	records;
	uint64_t	slots;
	uint64_t	limit;			/* for each of the two */
} idempotency_count;

/* One operation of a unit, between its check and its application. */
typedef struct step
{
	pending    *key;			/* NULL: a range, or an index */
	vector_space *space;		/* of vectors; NULL: there is none of this name */
	bool		reserved;		/* memory for the vector */
	engine_version applied;		/* of vectors and indexes; index 0: not */
	int64_t		sum;			/* add */
	uint64_t	stored;			/* range: keys stored, expired ones included */
	table_range range;			/* of vectors */
	engine_slice *ids;			/* of those that were deleted with it */
} step;

typedef struct plan
{
	engine_unit *unit;
	bool		started;		/* false: the outcome is a refusal */
	idempotency_key idempotency;
	pending    *record;
	bool		remembered;		/* the record is a new one */
	bool		on_vectors;		/* one of its operations is */
	step	   *steps;
	engine_result *results;
	engine_outcome outcome;
} plan;

typedef struct batch
{
	table	   *table;
	arena		memory;
	overlay		overlay;
	plan	   *plans;
	size_t		n_plans;
	uint64_t	now_ms;
	engine_version last;		/* the newest version given */
	idempotency_count *count;
	slot_cache *slots;
	quotas	   *quotas;
	bool		quota_refused;	/* an operation; expired keys may be in its way */
	bool		swept;			/* no: they have gone */
	vectors    *vectors;
	bool		full;			/* no room on disk for puts */
	bool		changed;		/* there is something to write */
	bool		applied;		/* and it must be durable before it is answered */
} batch;

#define BATCH_MAX_UNITS 256
/* A range of up to this many keys is deleted one by one; RocksDB's range
 * deletions slow down every later read that passes them. */
#define RANGE_KEYS_ONE_BY_ONE 1000

extern void batch_init(batch *self, table *to, idempotency_count *count,
					   slot_cache *slots, quotas *limits,
					   vectors *of_vectors);
extern void batch_free(batch *self);
extern void batch_reset(batch *self);

extern void batch_add(batch *self, engine_unit *unit);
/* Decides all units; false where the store could not be read. */
extern bool batch_decide(batch *self, engine_status *status);
/* As if nothing had been decided yet. */
extern void batch_again(batch *self);
/* What was decided is in the table. */
extern void batch_written(batch *self);
extern void batch_publish(const batch *self, feed *to);
/* Instead of what was decided. */
extern void batch_refuse(batch *self, const engine_status *status);
/* Calls done for each, in order. */
extern void batch_answer(batch *self);

/* plan.c: one unit. */
extern void plan_decide(batch *self, plan *of);
/* Whether the operation, which was in order, changes anything. */
extern bool plan_changes(const engine_op *op, const engine_result *result);
extern void plan_refuse(plan *of, engine_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
