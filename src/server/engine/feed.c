/*
 * feed.c - watchers: who is to be told what, and when they ask.
 *
 * A watcher is idle, and then among those that the committer looks through (by the
 * hash of its key, or one by one where it watches a range); or something it watches
 * has changed since it was last served. Then it has left them, and all that is kept of
 * its changes is where in the ring they begin. So what the committer does for a watcher
 * is a few pointers, once for each time that it is served.
 */
#include "feed_state.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
/* The functions in place: keys are short, and the call would cost more. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "entry.h"

#define FEWEST_BUCKETS 64
/* A shorter heartbeat is one of this. */
#define SHORTEST_HEARTBEAT_MS 100

static uint64_t
new_history(void)
{
	uint64_t	history = 0;

	while (history == 0)
	{
		if (getrandom(&history, sizeof(history), 0) != sizeof(history))
			history = (uintptr_t) &history;
	}
	return history;
}

feed *
feed_new(size_t max_bytes, engine_version last)
{
	feed	   *self = engine_calloc(sizeof(*self));

	pthread_condattr_t by_monotonic_clock;

	pthread_mutex_init(&self->lock, NULL);
	pthread_condattr_init(&by_monotonic_clock);
	pthread_condattr_setclock(&by_monotonic_clock, CLOCK_MONOTONIC);
	pthread_cond_init(&self->wake, &by_monotonic_clock);
	pthread_condattr_destroy(&by_monotonic_clock);
	change_ring_init(&self->ring, max_bytes);
	self->history = new_history();
	self->floor = self->last = last;
	atomic_store(&self->expected, version_pack(last));
	TAILQ_INIT(&self->ready);
	LIST_INIT(&self->ranges);
	LIST_INIT(&self->beating);
	self->n_buckets = FEWEST_BUCKETS;
	self->buckets = engine_calloc(self->n_buckets * sizeof(*self->buckets));
	arena_init(&self->memory);
	return self;
}

void
feed_free(feed *self)
{
	if (self == NULL)
		return;
	pthread_mutex_lock(&self->lock);
	self->closing = true;
	pthread_cond_signal(&self->wake);
	pthread_mutex_unlock(&self->lock);
	if (self->started)
		pthread_join(self->thread, NULL);
	change_ring_free(&self->ring);
	arena_free(&self->memory);
	free(self->changes);
	free(self->buckets);
	pthread_mutex_destroy(&self->lock);
	pthread_cond_destroy(&self->wake);
	free(self);
}

/* ---- Who is idle; all under the lock ---- */

static struct watch_list *
bucket_of(feed *self, uint64_t hash)
{
	return &self->buckets[hash & (self->n_buckets - 1)];
}

static void
grow(feed *self)
{
	struct watch_list *old = self->buckets;
	size_t		n_old = self->n_buckets;

	self->n_buckets *= 2;
	self->buckets = engine_calloc(self->n_buckets * sizeof(*self->buckets));
	for (size_t i = 0; i < n_old; i++)
	{
		engine_watch *watch;

		while ((watch = LIST_FIRST(&old[i])) != NULL)
		{
			LIST_REMOVE(watch, idle_link);
			LIST_INSERT_HEAD(bucket_of(self, watch->hash), watch, idle_link);
		}
	}
	free(old);
}

void
watch_become_idle(engine_watch *watch)
{
	feed	   *self = watch->owner;

	watch->idle = true;
	watch->pending = 0;
	if (!watch->range.single)
	{
		LIST_INSERT_HEAD(&self->ranges, watch, idle_link);
		return;
	}
	if (++self->n_single > self->n_buckets)
		grow(self);
	LIST_INSERT_HEAD(bucket_of(self, watch->hash), watch, idle_link);
}

void
watch_leave_idle(engine_watch *watch)
{
	if (!watch->idle)
		return;
	watch->idle = false;
	LIST_REMOVE(watch, idle_link);
	if (watch->range.single)
		watch->owner->n_single--;
}

/* To be served, if it waits for an answer. */
void
watch_make_ready(engine_watch *watch)
{
	if (watch->done == NULL || watch->ready)
		return;
	watch->ready = true;
	TAILQ_INSERT_TAIL(&watch->owner->ready, watch, ready_link);
}

static void
wake_thread(feed *self)
{
	if (!self->sleeping || TAILQ_EMPTY(&self->ready))
		return;
	self->sleeping = false;
	pthread_cond_signal(&self->wake);
}

/* ---- The committer's ---- */

void
feed_expect(feed *self, engine_version version)
{
	atomic_store(&self->expected, version_pack(version));
}

engine_version
feed_latest(feed *self)
{
	return version_unpack(atomic_load(&self->expected));
}

void
feed_begin(feed *self)
{
	pthread_mutex_lock(&self->lock);
}

static void
note(struct watch_list *list, const engine_change *change, uint64_t at)
{
	engine_watch *watch;
	engine_watch *next;

	for (watch = LIST_FIRST(list); watch != NULL; watch = next)
	{
		next = LIST_NEXT(watch, idle_link);
		if (!watch_range_meets(&watch->range, change))
			continue;
		watch_leave_idle(watch);
		watch->pending = at;
		watch_make_ready(watch);
	}
}

void
feed_add(feed *self, const engine_change *change)
{
	uint64_t	at = change_ring_add(&self->ring, change, &self->floor);

	if (!LIST_EMPTY(&self->ranges))
		note(&self->ranges, change, at);
	if (self->n_single == 0)
		return;
	if (change->kind != ENGINE_CHANGE_DELETE_RANGE)
	{
		note(bucket_of(self, XXH3_64bits(change->key.data, change->key.size)), change,
			 at);
		return;
	}
	for (size_t i = 0; i < self->n_buckets; i++)
		note(&self->buckets[i], change, at);
}

void
feed_publish(feed *self, engine_version last)
{
	self->last = last;
	wake_thread(self);
	pthread_mutex_unlock(&self->lock);
}

static void
lose(struct watch_list *list)
{
	engine_watch *watch;

	while ((watch = LIST_FIRST(list)) != NULL)
	{
		watch_leave_idle(watch);
		watch->lost = true;
		watch_make_ready(watch);
	}
}

/* Those who are not idle learn it from their place in the ring, which is gone. */
void
feed_reset(feed *self, engine_version last)
{
	pthread_mutex_lock(&self->lock);
	change_ring_clear(&self->ring);
	self->history = new_history();
	self->floor = self->last = last;
	feed_expect(self, last);
	lose(&self->ranges);
	for (size_t i = 0; i < self->n_buckets; i++)
		lose(&self->buckets[i]);
	wake_thread(self);
	pthread_mutex_unlock(&self->lock);
}

/* ---- Watchers ---- */

/* Whether all that was committed after the version is still there, or to come. */
static bool
reaches_back(const feed *self, const engine_watch_request *request)
{
	uint64_t	after = version_pack(request->after);

	if (request->history != 0 && request->history != self->history)
		return false;
	return version_exists(request->after) && after >= version_pack(self->floor) &&
		after <= atomic_load(&self->expected);
}

/* Where it starts: under the lock. */
static void
find_start(feed *self, engine_watch *watch, const engine_watch_request *request)
{
	watch->fresh = true;
	watch->known = self->last;
	if (request->after.term == 0 && request->after.index == 0)
	{
		watch_become_idle(watch);
		return;
	}
	if (!reaches_back(self, request))
	{
		watch->lost = true;
		return;
	}
	/* It may be about to be published, if it was read from the store. */
	watch->known = request->after;
	watch->pending = change_ring_after(&self->ring, request->after);
	if (watch->pending == self->ring.tail)
		watch_become_idle(watch);
}

static void
begin(feed *self, engine_watch *watch, const engine_watch_request *request)
{
	find_start(self, watch, request);
	if (watch->heartbeat_ms == 0)
		return;
	LIST_INSERT_HEAD(&self->beating, watch, beat_link);
	watch_put_off_beat(watch);
	/* the thread sleeps until a later beat, or for ever */
	pthread_cond_signal(&self->wake);
}

engine_watch *
feed_watch(feed *self, const engine_watch_request *request, engine_status *status)
{
	engine_watch *watch = engine_calloc(sizeof(*watch));

	status_ok(status);
	watch->owner = self;
	watch->heartbeat_ms = request->heartbeat_ms;
	if (watch->heartbeat_ms > 0 && watch->heartbeat_ms < SHORTEST_HEARTBEAT_MS)
		watch->heartbeat_ms = SHORTEST_HEARTBEAT_MS;
	watch_range_init(&watch->range, request->start, request->end);
	if (watch->range.single)
		watch->hash = XXH3_64bits(request->start.data, request->start.size);
	pthread_mutex_lock(&self->lock);
	if (!self->started)
		self->started = pthread_create(&self->thread, NULL, feed_main, self) == 0;
	if (self->started)
		begin(self, watch, request);
	else
		status_set(status, ENGINE_UNAVAILABLE, "cannot start the thread that serves "
				   "watches: try again");
	pthread_mutex_unlock(&self->lock);
	if (status->code == ENGINE_OK)
		return watch;
	feed_close(watch);
	return NULL;
}

static void
tell_start(engine_watch *watch, engine_changes_done done, void *arg)
{
	feed	   *self = watch->owner;
	engine_status good = {ENGINE_OK, ""};
	engine_changes answer = {.reset = feed_has_forgotten(self, watch)};

	if (answer.reset)
		feed_start_again(self, watch);
	watch->fresh = false;
	watch_put_off_beat(watch);
	answer.known = watch->known;
	answer.history = self->history;
	answer.current = watch->idle;
	pthread_mutex_unlock(&self->lock);
	done(arg, &good, &answer);
}

void
feed_next(engine_watch *watch, size_t max_bytes, engine_changes_done done, void *arg)
{
	feed	   *self = watch->owner;

	pthread_mutex_lock(&self->lock);
	if (watch->fresh)
	{
		tell_start(watch, done, arg);
		return;
	}
	watch->done = done;
	watch->arg = arg;
	watch->max_bytes = max_bytes;
	if (!watch->idle)
		watch_make_ready(watch);
	wake_thread(self);
	pthread_mutex_unlock(&self->lock);
}

static engine_changes_done
take_back(engine_watch *watch)
{
	engine_changes_done done = watch->done;

	if (watch->ready)
		TAILQ_REMOVE(&watch->owner->ready, watch, ready_link);
	watch->ready = false;
	watch->done = NULL;
	return done;
}

void
feed_cancel(engine_watch *watch)
{
	engine_changes_done done;
	engine_status status;

	pthread_mutex_lock(&watch->owner->lock);
	done = take_back(watch);
	pthread_mutex_unlock(&watch->owner->lock);
	if (done == NULL)
		return;
	status_set(&status, ENGINE_CANCELLED, "the watch was cancelled");
	done(watch->arg, &status, NULL);
}

void
feed_close(engine_watch *watch)
{
	pthread_mutex_lock(&watch->owner->lock);
	watch_leave_idle(watch);
	take_back(watch);
	if (watch->beat_at != 0)
		LIST_REMOVE(watch, beat_link);
	pthread_mutex_unlock(&watch->owner->lock);
	watch_range_free(&watch->range);
	free(watch);
}
