/*
 * feed_serve.c - the thread that serves watchers: changes, resets, signs of life.
 */
#include "feed_state.h"

#include <time.h>

#include "entry.h"

/* Changes looked at before others have their turn, and the committer the lock. */
#define SCANNED_AT_ONCE 1000

/* ---- Heartbeats ---- */

/* It is told something now. */
void
watch_put_off_beat(engine_watch *watch)
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
			watch_make_ready(watch);
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
	watch_become_idle(watch);
}

bool
feed_has_forgotten(const feed *self, const engine_watch *watch)
{
	return watch->lost || (!watch->idle && watch->pending < self->ring.head);
}

void
feed_start_again(feed *self, engine_watch *watch)
{
	watch->lost = false;
	watch->known = self->last;
	watch_leave_idle(watch);
	watch_become_idle(watch);
}

/* Under the lock, which it lets go of around the callback. */
static void
serve(feed *self, engine_watch *watch)
{
	static const engine_status good;
	engine_changes_done done = watch->done;
	void	   *arg = watch->arg;
	engine_changes answer = {.reset = feed_has_forgotten(self, watch)};

	arena_reset(&self->memory);
	self->n_changes = 0;
	self->bytes = 0;
	if (answer.reset)
		feed_start_again(self, watch);
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
			watch_make_ready(watch);
		return;
	}
	watch->done = NULL;
	watch_put_off_beat(watch);
	pthread_mutex_unlock(&self->lock);
	done(arg, &good, &answer);
	pthread_mutex_lock(&self->lock);
}

void *
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
