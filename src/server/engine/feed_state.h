/*
 * feed_state.h - the feed's own: its watchers, and what its thread works on. All of it
 * is under the feed's lock.
 */
#ifndef NORIKVD_ENGINE_FEED_STATE_H
#define NORIKVD_ENGINE_FEED_STATE_H

#include <pthread.h>
#include <sys/queue.h>

#include "change_ring.h"
#include "feed.h"
#include "watch_range.h"

LIST_HEAD(watch_list, engine_watch);
TAILQ_HEAD(watch_queue, engine_watch);

struct engine_watch
{
	feed	   *owner;
	watch_range range;
	uint64_t	hash;			/* of the only key */
	LIST_ENTRY(engine_watch) idle_link;
	TAILQ_ENTRY(engine_watch) ready_link;
	bool		idle;
	bool		ready;			/* in the queue of those to be served */
	bool		fresh;			/* it has not been told yet where it starts */
	bool		lost;			/* it is to be told of a reset */
	bool		beat;			/* it is to be told that nothing has changed */
	uint32_t	heartbeat_ms;	/* 0: it never is */
	uint64_t	beat_at;		/* when, by the monotonic clock */
	LIST_ENTRY(engine_watch) beat_link;
	uint64_t	pending;		/* in the ring, where there may be changes for it */
	engine_version known;		/* it knows all up to here */
	/* The answer it waits for. */
	engine_changes_done done;	/* NULL: it does not */
	void	   *arg;
	size_t		max_bytes;
};

struct feed
{
	pthread_mutex_t lock;
	pthread_cond_t wake;		/* the thread: somebody is to be served */
	pthread_t	thread;
	bool		started;		/* the thread; by the first who watches */
	bool		sleeping;
	bool		closing;
	change_ring ring;
	uint64_t	history;
	engine_version floor;		/* changes up to it may have been forgotten */
	engine_version last;		/* published */
	_Atomic uint64_t expected;	/* packed: readers may have seen it */
	struct watch_queue ready;
	/* The idle ones. */
	struct watch_list *buckets;	/* those of one key, by its hash */
	size_t		n_buckets;		/* a power of two */
	size_t		n_single;
	struct watch_list ranges;
	struct watch_list beating;	/* those with a heartbeat */
	/* The thread's own. */
	arena		memory;
	engine_change *changes;
	size_t		n_changes;
	size_t		changes_size;
	size_t		bytes;
};

/* ---- feed.c ---- */

extern void watch_become_idle(engine_watch *watch);
extern void watch_leave_idle(engine_watch *watch);
/* To be served, if it waits for an answer. */
extern void watch_make_ready(engine_watch *watch);

/* ---- feed_serve.c ---- */

extern void *feed_main(void *arg);
/* It is told something now. */
extern void watch_put_off_beat(engine_watch *watch);
/* Its changes may be gone from the ring: it starts again, with what comes from now on. */
extern bool feed_has_forgotten(const feed *self, const engine_watch *watch);
extern void feed_start_again(feed *self, engine_watch *watch);

#endif
