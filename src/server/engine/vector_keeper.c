/*
 * vector_keeper.c - a thread that reads indexes into memory, keeps their snapshots
 * young, and frees indexes that were dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "vector_space.h"

#define TICK_MS 1000
/*
 * A snapshot is made when a fifth of it would be read again, though not twice within
 * a minute; and sooner or later anyway.
 */
#define SNAPSHOT_SHARE 5
#define SNAPSHOT_MIN_CHANGES 1000
#define SNAPSHOT_SOONEST_MS 60000
#define SNAPSHOT_LATEST_MS 600000
/*
 * What did not fit is read again when something is free that was not: at once where that
 * is a good part of all there is, else after pauses that grow.
 */
#define FREED_SHARE 16
#define FREED_BYTES 4096
#define LONGEST_PAUSE_MS 600000

struct vector_keeper
{
	vectors    *owner;
	pthread_t	thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool		woken;
	bool		started;
	atomic_bool closing;
	vector_space *buried;
};

static bool
snapshot_is_due(vector_space *self, uint64_t now)
{
	uint64_t	changes = atomic_load(&self->changes);
	uint64_t	age = now - self->saved_ms;
	vector_index_stats stats;

	if (changes == 0 || self->owner->options.directory == NULL ||
		age < SNAPSHOT_SOONEST_MS)
		return false;
	vector_index_stats_of(self->index, &stats);
	/* What is not linked would have to be linked again. */
	if (stats.unlinked > 0 && age < SNAPSHOT_LATEST_MS)
		return false;
	return age >= SNAPSHOT_LATEST_MS ||
		(changes >= SNAPSHOT_MIN_CHANGES && changes >= stats.count / SNAPSHOT_SHARE);
}

/* What it did not fit beside. */
static void
note_given_up(vector_space *self)
{
	self->given_up_ms = monotonic_ms();
	self->pause_ms = self->pause_ms == 0 ? TICK_MS : self->pause_ms * 2;
	if (self->pause_ms > LONGEST_PAUSE_MS)
		self->pause_ms = LONGEST_PAUSE_MS;
	self->bytes_then = atomic_load(&self->owner->bytes);
	self->changes_then = atomic_load(&self->changes);
}

/* Others have left room, or some of its vectors were deleted. */
static bool
may_fit_now(const vector_space *self)
{
	uint64_t	since = monotonic_ms() - self->given_up_ms;
	uint64_t	now = atomic_load(&self->owner->bytes);
	uint64_t	much = self->owner->options.max_memory / FREED_SHARE;
	bool		some = now + FREED_BYTES <= self->bytes_then ||
		atomic_load(&self->changes) != self->changes_then;

	return some && (since >= self->pause_ms || now + much <= self->bytes_then);
}

static void
load(vector_keeper *self, vector_space *space)
{
	if (!vector_space_load(space, &self->closing))
		vector_keeper_wake(self);
	if (atomic_load(&space->state) == ENGINE_INDEX_TOO_LARGE)
		note_given_up(space);
}

static void
keep(vector_keeper *self, vector_space *space)
{
	uint64_t	now = monotonic_ms();

	if (space->saved_ms == 0)
		space->saved_ms = now;
	switch (atomic_load(&space->state))
	{
		case ENGINE_INDEX_LOADING:
			load(self, space);
			break;
		case ENGINE_INDEX_READY:
			/* It is rebuilt in the background, too. */
			vector_space_count_memory(space);
			if (!snapshot_is_due(space, now))
				break;
			vector_snapshot_save(space);
			space->saved_ms = monotonic_ms();
			break;
		case ENGINE_INDEX_TOO_LARGE:
			if (space->given_up_ms == 0)
				note_given_up(space);
			else if (may_fit_now(space) && vector_space_try_again(space))
				load(self, space);
			break;
	}
}

static void
keep_all(vector_keeper *self)
{
	size_t		n;
	vector_space **all = vectors_use_all(self->owner, &n);

	for (size_t i = 0; i < n; i++)
	{
		if (!atomic_load(&self->closing))
			keep(self, all[i]);
		vector_space_release(all[i]);
	}
	free(all);
}

static void
free_buried(vector_keeper *self)
{
	vector_space *gone;

	pthread_mutex_lock(&self->lock);
	gone = self->buried;
	self->buried = NULL;
	pthread_mutex_unlock(&self->lock);
	while (gone != NULL)
	{
		vector_space *next = gone->next;

		if (atomic_load(&gone->dropped))
			vector_snapshot_remove(gone);
		vector_space_free(gone);
		gone = next;
	}
}

static void
wait_for_work(vector_keeper *self)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += TICK_MS / 1000;
	pthread_mutex_lock(&self->lock);
	while (!self->woken && !atomic_load(&self->closing))
	{
		if (pthread_cond_timedwait(&self->wake, &self->lock, &until) == ETIMEDOUT)
			break;
	}
	self->woken = false;
	pthread_mutex_unlock(&self->lock);
}

static void *
keeper_main(void *arg)
{
	vector_keeper *self = arg;

	vector_snapshots_sweep(self->owner);
	while (!atomic_load(&self->closing))
	{
		/* First: what is to be loaded may need the memory. */
		free_buried(self);
		keep_all(self);
		wait_for_work(self);
	}
	return NULL;
}

vector_keeper *
vector_keeper_make(vectors *owner)
{
	vector_keeper *self = engine_calloc(sizeof(*self));
	pthread_condattr_t attributes;

	self->owner = owner;
	pthread_mutex_init(&self->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&self->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	return self;
}

bool
vector_keeper_start(vector_keeper *self)
{
	self->started = pthread_create(&self->thread, NULL, keeper_main, self) == 0;
	return self->started;
}

void
vector_keeper_wake(vector_keeper *self)
{
	pthread_mutex_lock(&self->lock);
	self->woken = true;
	pthread_cond_signal(&self->wake);
	pthread_mutex_unlock(&self->lock);
}

void
vector_keeper_bury(vector_keeper *self, vector_space *gone)
{
	pthread_mutex_lock(&self->lock);
	gone->next = self->buried;
	self->buried = gone;
	self->woken = true;
	pthread_cond_signal(&self->wake);
	pthread_mutex_unlock(&self->lock);
}

void
vector_keeper_stop(vector_keeper *self)
{
	atomic_store(&self->closing, true);
	vector_keeper_wake(self);
	if (self->started)
		pthread_join(self->thread, NULL);
}

void
vector_keeper_free(vector_keeper *self)
{
	free_buried(self);
	pthread_mutex_destroy(&self->lock);
	pthread_cond_destroy(&self->wake);
	free(self);
}
