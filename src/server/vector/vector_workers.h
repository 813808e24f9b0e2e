/*
 * vector_workers.h - threads for the background work of indexes.
 *
 * A task is a member of what it works for; it is queued at most once at a time, but
 * several threads may run it at once where it was queued again by a run.
 */
#ifndef NORIKVD_VECTOR_WORKERS_H
#define NORIKVD_VECTOR_WORKERS_H

#include "vector_index.h"

typedef struct vector_task
{
	void		(*run) (void *arg);
	void	   *arg;
	/* The rest is the workers'. */
	struct vector_task *next;
	uint64_t	due_ns;
	bool		queued;
	unsigned	running;
} vector_task;

/* Runs it once in a worker, after so many milliseconds; nothing if it is queued. */
extern void vector_workers_submit(vector_workers *workers, vector_task *task,
								  unsigned delay_ms);

/* Takes it back, and waits where it runs. It must not be submitted meanwhile. */
extern void vector_workers_cancel(vector_workers *workers, vector_task *task);

#endif
