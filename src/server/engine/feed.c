/*
 * feed.c - watchers, and the thread that serves them.
 *
 * A watcher is idle, and then among those that the committer looks through (by the
 * hash of its key, or one by one where it watches a range); or something it watches
 * has changed since it was last served. Then it has left them, and all that is kept of
 * its changes is where in the ring they begin. So what the committer does for a watcher
 * is a few pointers, once for each time that it is served.
 */
#include "feed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/random.h>
/* The functions in place: keys are short, and the call would cost more. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "change_ring.h"
#include "entry.h"
#include "watch_range.h"

#define FEWEST_BUCKETS 64
/* A shorter heartbeat is one of this. */
#define SHORTEST_HEARTBEAT_MS 100
/* Changes looked at before others have their turn, and the committer the lock. */
#define SCANNED_AT_ONCE 1000

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

static void
become_idle(engine_watch *watch)
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

static void
leave_idle(engine_watch *watch)
{
	if (!watch->idle)
		return;
	watch->idle = false;
	LIST_REMOVE(watch, idle_link);
	if (watch->range.single)
		watch->owner->n_single--;
}

/* To be served, if it waits for an answer. */
static void
make_ready(engine_watch *watch)
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
		leave_idle(watch);
		watch->pending = at;
		make_ready(watch);
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
		leave_idle(watch);
		watch->lost = true;
		make_ready(watch);
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

/* ---- Heartbeats ---- */

static uint64_t
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* It is told something now. */
static void
put_off_beat(engine_watch *watch)
{
	watch->beat = false;
	if (watch->heartbeat_ms > 0)
		watch->beat_at = monotonic_ms() + watch->heartbeat_ms;
}

/* Those that are due are made ready; when the next one is, 0: never. */
static uint64_t
find_beats(feed *self)
{
	uint64_t	next = 0;
	uint64_t	now;
	engine_watch *watch;

	if (LIST_EMPTY(&self->beating))
		return 0;
	now = monotonic_ms();
	LIST_FOREACH(watch, &self->beating, beat_link)
	{
		if (watch->done != NULL && watch->beat_at <= now)
		{
			watch->beat = true;
			make_ready(watch);
		}
		else if (next == 0 || watch->beat_at < next)
			next = watch->beat_at > now ? watch->beat_at : now + watch->heartbeat_ms;
	}
	return next;
}

static void
sleep_until(feed *self, uint64_t at)
{
	struct timespec then = {at / 1000, (long) (at % 1000) * 1000000};

	self->sleeping = true;
	if (at == 0)
		pthread_cond_wait(&self->wake, &self->lock);
	else
		pthread_cond_timedwait(&self->wake, &self->lock, &then);
	self->sleeping = false;
}

/* ---- Serving ---- */

static void
take_change(feed *self, const engine_change *change)
{
	engine_change *added;

	if (self->n_changes == self->changes_size)
	{
		self->changes_size = self->changes_size * 2 + 64;
		self->changes = engine_realloc(self->changes,
									   self->changes_size * sizeof(engine_change));
	}
	added = &self->changes[self->n_changes++];
	*added = *change;
	added->key = arena_copy(&self->memory, change->key);
	added->end_key = arena_copy(&self->memory, change->end_key);
	self->bytes += sizeof(*change) + change->key.size + change->end_key.size;
}

/*
 * Gathers what there is for the watcher from its place in the ring on, and moves the
 * place on. A version is known when the next one begins, or the ring ends.
 */
static void
gather(feed *self, engine_watch *watch)
{
	engine_version known = watch->known;
	uint64_t	at = watch->pending;
	engine_change change;

	for (size_t n = 0; at < self->ring.tail; n++)
	{
		uint64_t	next = change_ring_read(&self->ring, at, &change);

		if (version_pack(change.version) - 1 > version_pack(known))
			known = version_unpack(version_pack(change.version) - 1);
		if (n == SCANNED_AT_ONCE || self->bytes >= watch->max_bytes)
			break;
		if (version_pack(change.version) > version_pack(watch->known) &&
			watch_range_meets(&watch->range, &change))
			take_change(self, &change);
		at = next;
	}
	watch->pending = at;
	watch->known = known;
	if (at < self->ring.tail)
		return;
	if (version_pack(self->last) > version_pack(watch->known))
		watch->known = self->last;
	become_idle(watch);
}

static bool
has_forgotten(const feed *self, const engine_watch *watch)
{
	return watch->lost || (!watch->idle && watch->pending < self->ring.head);
}

static void
start_again(feed *self, engine_watch *watch)
{
	watch->lost = false;
	watch->known = self->last;
	leave_idle(watch);
	become_idle(watch);
}

/* Under the lock, which it lets go of around the callback. */
static void
serve(feed *self, engine_watch *watch)
{
	static const engine_status good;
	engine_changes_done done = watch->done;
	void	   *arg = watch->arg;
	engine_changes answer = {.reset = has_forgotten(self, watch)};

	arena_reset(&self->memory);
	self->n_changes = 0;
	self->bytes = 0;
	if (answer.reset)
		start_again(self, watch);
	else if (watch->idle)
		watch->known = self->last;
	else
		gather(self, watch);
	answer.changes = self->changes;
	answer.n_changes = self->n_changes;
	answer.known = watch->known;
	answer.history = self->history;
	answer.current = watch->idle;
	if (!answer.reset && answer.n_changes == 0 && !(watch->beat && watch->idle))
	{
		/* nothing for it: it waits on, in its turn where there is more to look at */
		if (!watch->idle)
			make_ready(watch);
		return;
	}
	watch->done = NULL;
	put_off_beat(watch);
	pthread_mutex_unlock(&self->lock);
	done(arg, &good, &answer);
	pthread_mutex_lock(&self->lock);
}

static void *
feed_main(void *arg)
{
	feed	   *self = arg;

	pthread_mutex_lock(&self->lock);
	while (!self->closing)
	{
		uint64_t	next_beat = find_beats(self);
		engine_watch *watch = TAILQ_FIRST(&self->ready);

		if (watch == NULL)
		{
			sleep_until(self, next_beat);
			continue;
		}
		TAILQ_REMOVE(&self->ready, watch, ready_link);
		watch->ready = false;
		serve(self, watch);
	}
	pthread_mutex_unlock(&self->lock);
	return NULL;
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
		become_idle(watch);
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
		become_idle(watch);
}

static void
begin(feed *self, engine_watch *watch, const engine_watch_request *request)
{
	find_start(self, watch, request);
	if (watch->heartbeat_ms == 0)
		return;
	LIST_INSERT_HEAD(&self->beating, watch, beat_link);
	put_off_beat(watch);
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
	engine_changes answer = {.reset = has_forgotten(self, watch)};

	if (answer.reset)
		start_again(self, watch);
	watch->fresh = false;
	put_off_beat(watch);
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
		make_ready(watch);
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
	leave_idle(watch);
	take_back(watch);
	if (watch->beat_at != 0)
		LIST_REMOVE(watch, beat_link);
	pthread_mutex_unlock(&watch->owner->lock);
	watch_range_free(&watch->range);
	free(watch);
}
