/*
 * vector_workers.c - a queue of tasks, ordered by when they are due, and its threads.
 */
#include "vector_workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Whoever reads, writes or searches comes first: what they do here can wait. */
#define NICENESS 5

struct vector_workers
{
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t ended;		/* a task's run */
	vector_task *first;
	bool		stopping;
	unsigned	n_threads;
	pthread_t	threads[];
};

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

/* Under the lock: waits until the first task is due, if there is one. */
static void
wait_for_work(vector_workers *workers)
{
	struct timespec until;

	if (workers->first == NULL)
	{
		pthread_cond_wait(&workers->work, &workers->lock);
		return;
	}
	until.tv_sec = (time_t) (workers->first->due_ns / 1000000000);
	until.tv_nsec = (long) (workers->first->due_ns % 1000000000);
	pthread_cond_timedwait(&workers->work, &workers->lock, &until);
}

static void *
work(void *arg)
{
	vector_workers *workers = arg;

	/* A thread's own, on Linux. */
	setpriority(PRIO_PROCESS, (id_t) gettid(), NICENESS);
	pthread_mutex_lock(&workers->lock);
	while (!workers->stopping)
	{
		vector_task *task = workers->first;

		if (task == NULL || task->due_ns > now_ns())
		{
			wait_for_work(workers);
			continue;
		}
		workers->first = task->next;
		task->queued = false;
		task->running++;
		pthread_mutex_unlock(&workers->lock);
		task->run(task->arg);
		pthread_mutex_lock(&workers->lock);
		task->running--;
		pthread_cond_broadcast(&workers->ended);
	}
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}

static void
start_threads(vector_workers *workers, unsigned threads)
{
	sigset_t	all;
	sigset_t	before;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	while (workers->n_threads < threads &&
		   pthread_create(&workers->threads[workers->n_threads], NULL, work, workers) == 0)
		workers->n_threads++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

vector_workers *
vector_workers_start(unsigned threads)
{
	vector_workers *workers;
	pthread_condattr_t monotonic;

	workers = calloc(1, sizeof(*workers) + threads * sizeof(pthread_t));
	if (workers == NULL)
		return NULL;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&workers->work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&workers->ended, NULL);
	pthread_mutex_init(&workers->lock, NULL);
	/* Threads read n_threads only after the lock was free once. */
	pthread_mutex_lock(&workers->lock);
	start_threads(workers, threads);
	pthread_mutex_unlock(&workers->lock);
	if (workers->n_threads > 0)
		return workers;
	vector_workers_stop(workers);
	return NULL;
}

void
vector_workers_stop(vector_workers *workers)
{
	if (workers == NULL)
		return;
	pthread_mutex_lock(&workers->lock);
	workers->stopping = true;
	pthread_cond_broadcast(&workers->work);
	pthread_mutex_unlock(&workers->lock);
	for (unsigned i = 0; i < workers->n_threads; i++)
		pthread_join(workers->threads[i], NULL);
	pthread_cond_destroy(&workers->work);
	pthread_cond_destroy(&workers->ended);
	pthread_mutex_destroy(&workers->lock);
	free(workers);
}

void
vector_workers_submit(vector_workers *workers, vector_task *task, unsigned delay_ms)
{
	uint64_t	due = now_ns() + (uint64_t) delay_ms * 1000000;
	vector_task **link = &workers->first;

	pthread_mutex_lock(&workers->lock);
	if (!task->queued)
	{
		task->queued = true;
		task->due_ns = due;
		while (*link && (*link)->due_ns <= due)
			link = &(*link)->next;
		task->next = *link;
		*link = task;
		pthread_cond_signal(&workers->work);
	}
	pthread_mutex_unlock(&workers->lock);
}

/* A run may queue the task once more before it ends. */
void
vector_workers_cancel(vector_workers *workers, vector_task *task)
{
	pthread_mutex_lock(&workers->lock);
	while (task->queued || task->running > 0)
	{
		vector_task **link = &workers->first;

		while (*link && *link != task)
			link = &(*link)->next;
		if (*link)
		{
			*link = task->next;
			task->queued = false;
		}
		if (task->running > 0)
			pthread_cond_wait(&workers->ended, &workers->lock);
	}
	pthread_mutex_unlock(&workers->lock);
}
