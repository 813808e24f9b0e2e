/*
 * committer_state.h - the committer's own: what its thread, between and within
 * batches, works on.
 */
#ifndef NORIKVD_ENGINE_COMMITTER_STATE_H
#define NORIKVD_ENGINE_COMMITTER_STATE_H

#include <pthread.h>

#include "batch.h"
#include "committer.h"
#include "sweep.h"

typedef struct job
{
	void		(*function) (void *arg);
	void	   *arg;
	bool		finished;
} job;

struct committer
{
	committer_options options;
	pthread_t	thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;		/* the committer: there is work */
	pthread_cond_t job_finished;
	engine_unit *first;
	engine_unit *last;
	engine_unit *deferred;		/* the thread's own */
	job		   *job;
	bool		waiting;
	bool		closing;
	/* The thread's own. */
	batch		batch;
	sweep		sweep;
	idempotency_count count;
	slot_cache *slots;
	engine_version version;		/* the newest one given */
	bool		full;			/* puts are refused until there is room */
	bool		deleted;		/* since room was last reclaimed */
	bool		broken;			/* the table could not be opened again */
	bool		more_to_sweep;
	bool		more_to_count;
	uint64_t	next_tick_ms;
	uint64_t	next_retry_ms;
	uint64_t	next_room_ms;	/* for room on the disk */
	uint64_t	next_reclaim_ms;	/* for records; store time */
};

/* ---- committer_defer.c ---- */

/*
 * What need not wait, in order: first of those that were deferred. Those that have
 * waited for long are answered with UNAVAILABLE. When the store is being closed nothing
 * waits.
 */
extern engine_unit *committer_choose(committer *self, engine_unit *units, bool closing);

/* ---- committer_upkeep.c ---- */

/* A write has failed: the store is opened again, to see what is in it. */
extern void committer_recover(committer *self, const engine_status *failure);
extern void committer_refuse_puts(committer *self);
/* Before store time passes the bound that is on disk. */
extern void committer_extend_time(committer *self);
/* What a sweep has put into the table's batch. */
extern void committer_write_swept(committer *self);
/* At the limit of remembered answers: those that have expired go at once. */
extern void committer_reclaim_records(committer *self);
/* What is due between batches. */
extern void committer_tick(committer *self);

#endif
