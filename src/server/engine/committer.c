/*
 * committer.c - drains the queue, decides, writes once, answers.
 *
 * Group commit without a delay: while one batch is being synced, the next one
 * gathers in the queue. Between batches the thread keeps store time going, sweeps
 * what expired, and brings the store back after a failed write.
 */
#include "committer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "batch.h"
#include "meta.h"
#include "sweep.h"
#include "unit.h"
#include "words.h"

/* A batch is cut here; a single unit may be larger. */
#define BATCH_MAX_BYTES (4 * 1024 * 1024)
#define TICK_MS 250
/* How often a store that failed is tried again. */
#define RETRY_MS 1000
#define RECLAIM_MS 10000
#define ROOM_MS 30000
/* Of the memory, for the records of slots: 5,000 of them in 256 MiB. */
#define SLOT_CACHE_SHARE 256

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

static uint64_t
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* ---- After a failed write ---- */

static bool
read_back(committer *self, engine_status *status)
{
	uint64_t	packed;

	if (!meta_get(self->options.table, META_LAST_VERSION, &packed, status))
		return false;
	/* Empty as yet: the term is what it was at start, and no index was given. */
	self->version = packed != 0 ? version_unpack(packed)
		: (engine_version) {self->version.term, 0};
	return sweep_count_records(&self->sweep, status) &&
		quotas_load(self->options.quotas, false, status);
}

static void
refuse_puts(committer *self)
{
	if (!self->full)
		self->options.log(ENGINE_LOG_ERROR,
						  "the disk is full: puts are refused until there is room, "
						  "reads and deletes go on. Free room on the disk, or delete "
						  "keys: their room is given back within seconds");
	self->full = true;
	/* There may be something to give back already. */
	self->deleted = true;
}

/* False: there was no room to make. */
static bool
make_room(committer *self)
{
	refuse_puts(self);
	return self->options.directory != NULL &&
		directory_release_reserve(self->options.directory);
}

/*
 * Opening the table anew shows whether the failed batch is in it; what is in it
 * then is on disk.
 */
static void
reopen(committer *self)
{
	bool		was_broken = self->broken;
	engine_status status;

	self->next_retry_ms = monotonic_ms() + RETRY_MS;
	slot_cache_clear(self->slots);
	self->broken = !self->options.table->methods->reopen(self->options.table, &status) ||
		!read_back(self, &status);
	if (!self->broken)
	{
		feed_reset(self->options.feed, self->version);
		return;
	}
	if (status.code == ENGINE_RESOURCE_EXHAUSTED && make_room(self))
	{
		reopen(self);
		return;
	}
	if (!was_broken)
		self->options.log(ENGINE_LOG_ERROR,
						  "the store cannot be opened again, next try in a second: %s",
						  status.text);
}

static void
recover(committer *self, const engine_status *failure)
{
	self->options.log(ENGINE_LOG_ERROR, "a write to the store failed: %s", failure->text);
	if (failure->code == ENGINE_RESOURCE_EXHAUSTED && !self->full)
		make_room(self);
	reopen(self);
}

static void
answer_failed(committer *self, const engine_status *failure)
{
	batch	   *of = &self->batch;
	engine_status answer;

	if (!of->applied)
		return;
	if (self->broken)
		status_set(&answer, ENGINE_UNAVAILABLE,
				   WORDS_OUTCOME_UNKNOWN ": the write failed and the store is down: %.300s",
				   failure->text);
	else if (version_pack(self->version) == version_pack(of->last))
		return;
	else
		status_set(&answer, failure->code, WORDS_NOTHING_WRITTEN ": %.400s",
				   failure->text);
	batch_refuse(of, &answer);
}

/* ---- Store time, sweeps ---- */

static void
write_now(committer *self, bool sync)
{
	engine_status status;

	if (!self->options.table->methods->write(self->options.table, sync, &status))
		recover(self, &status);
}

/* On disk first, with --sync=off as well: a revived lease is not a lost write. */
static void
extend_time(committer *self)
{
	uint64_t	bound = store_time_next_bound(self->options.time);
	engine_status status;

	if (bound == 0 || self->broken)
		return;
	meta_put(self->options.table, META_TIME_BOUND, bound);
	if (self->options.table->methods->write(self->options.table, true, &status))
		store_time_set_bound(self->options.time, bound);
	else
		recover(self, &status);
}

/*
 * Keys that expired go in a version of their own, so that who watches can tell what
 * came before and after. It need not be on disk: what is lost is swept once more.
 */
static void
write_swept(committer *self)
{
	const sweep *of = &self->sweep;
	engine_version version = self->version;
	engine_status status;

	version.index++;
	if (of->n_expired > 0)
	{
		quotas_put(self->options.quotas);
		meta_put(self->options.table, META_LAST_VERSION, version_pack(version));
		feed_expect(self->options.feed, version);
	}
	if (!self->options.table->methods->write(self->options.table, false, &status))
	{
		recover(self, &status);
		return;
	}
	if (of->n_expired == 0)
		return;
	quotas_written(self->options.quotas);
	self->version = version;
	sweep_publish(of, version, self->options.feed);
}

static void
sweep_step(committer *self)
{
	uint64_t	now = store_time_now_ms(self->options.time);
	bool		keys_changed;
	bool		records_changed;
	bool		more_keys = sweep_keys(&self->sweep, now, &keys_changed);
	bool		more_records = sweep_records(&self->sweep, now, &records_changed);

	if (keys_changed || records_changed)
		write_swept(self);
	self->deleted = self->deleted || keys_changed || records_changed;
	self->more_to_sweep = (more_keys || more_records) && !self->broken;
}

/* Keys of a quota that is new, or in doubt. */
static void
count_step(committer *self)
{
	bool		changed;
	engine_status status;

	self->more_to_count = quotas_step(self->options.quotas, &changed);
	if (!changed)
		return;
	if (self->options.table->methods->write(self->options.table, false, &status))
		quotas_written(self->options.quotas);
	else
		recover(self, &status);
}

/*
 * At the limit: a whole round at once, lest a request be refused for records
 * that have expired. Not for every request, though, while none has.
 */
static void
reclaim_records(committer *self)
{
	uint64_t	now = store_time_now_ms(self->options.time);
	bool		more = true;
	bool		changed;

	if (self->count.records < self->count.limit && self->count.slots < self->count.limit)
		return;
	if (self->broken || now < self->next_reclaim_ms)
		return;
	self->next_reclaim_ms = now + RECLAIM_MS;
	self->sweep.position.size = 0;
	while (more && !self->broken)
	{
		more = sweep_records(&self->sweep, now, &changed);
		if (changed)
			write_now(self, false);
	}
}

/* Also now and then without deletions: what a scan still read may be free now. */
static void
reclaim_room(committer *self, uint64_t now)
{
	table	   *from = self->options.table;
	bool		due = self->deleted || !from->methods->reclaimed(from) ||
		now >= self->next_room_ms;

	if (!due || !from->methods->reclaim(from))
		return;
	self->deleted = false;
	self->next_room_ms = now + ROOM_MS;
}

/* The reserve has to do for the next time, so the last one must be over. */
static bool
is_room_again(const committer *self)
{
	table	   *in = self->options.table;

	return self->options.directory == NULL ||
		(in->methods->reclaimed(in) &&
		 directory_restore_reserve(self->options.directory));
}

static void
try_to_leave_failure(committer *self)
{
	uint64_t	now = monotonic_ms();

	if (now < self->next_retry_ms)
		return;
	self->next_retry_ms = now + RETRY_MS;
	if (!self->full && !self->broken)
	{
		/* It may have been made small, when there was little room. */
		if (self->options.directory != NULL)
			directory_restore_reserve(self->options.directory);
		return;
	}
	if (self->broken)
		reopen(self);
	if (self->broken || !self->full)
		return;
	if (!is_room_again(self))
	{
		reclaim_room(self, now);
		return;
	}
	self->full = false;
	self->options.log(ENGINE_LOG_INFO, "there is room on the disk again: puts go on");
}

static void
tick(committer *self)
{
	uint64_t	now = monotonic_ms();

	if (self->more_to_count && !self->broken)
		count_step(self);
	if (now < self->next_tick_ms && !self->more_to_sweep)
		return;
	if (now >= self->next_tick_ms)
	{
		self->next_tick_ms = now + TICK_MS;
		store_time_draw(self->options.time);
		extend_time(self);
		try_to_leave_failure(self);
	}
	if (!self->broken)
		sweep_step(self);
	if (!self->broken && !self->more_to_count)
		count_step(self);
}

/* ---- Batches ---- */

static void decide_and_write(committer *self, bool last_try);

/*
 * The disk got full, the batch is not in the store, and the store is back with the
 * reserve's room: deletes go on, and puts learn that they cannot.
 */
static bool
is_worth_another_try(const committer *self, const engine_status *failure)
{
	return failure->code == ENGINE_RESOURCE_EXHAUSTED && !self->broken &&
		version_pack(self->version) != version_pack(self->batch.last);
}

static void
write_batch(committer *self, bool last_try)
{
	batch	   *of = &self->batch;
	table	   *to = self->options.table;
	engine_status status;

	if (of->applied)
	{
		meta_put(to, META_LAST_VERSION, version_pack(of->last));
		quotas_put(self->options.quotas);
		feed_expect(self->options.feed, of->last);
	}
	if (to->methods->write(to, self->options.sync && of->applied, &status))
	{
		self->version = of->last;
		self->deleted = self->deleted || of->applied;
		batch_written(of);
		quotas_written(self->options.quotas);
		if (of->applied)
			batch_publish(of, self->options.feed);
		return;
	}
	recover(self, &status);
	if (!last_try && is_worth_another_try(self, &status))
	{
		batch_again(of);
		decide_and_write(self, true);
	}
	else
		answer_failed(self, &status);
}

/* As if the batch had not been decided: nothing of it is in the table. */
static void
undo_decisions(committer *self, const idempotency_count *count)
{
	self->options.table->methods->discard(self->options.table);
	quotas_discard(self->options.quotas);
	self->count = *count;
}

/*
 * A quota has refused something, and still counts keys that have expired: they go
 * first, all of them, and the batch is decided anew.
 */
static void
sweep_and_decide(committer *self, bool last_try)
{
	batch	   *of = &self->batch;
	uint64_t	now = of->now_ms;
	bool		more = true;
	bool		changed;

	while (more && !self->broken)
	{
		more = sweep_keys(&self->sweep, now, &changed);
		if (changed)
			write_swept(self);
	}
	batch_again(of);
	of->swept = true;
	decide_and_write(self, last_try);
}

static void
decide_and_write(committer *self, bool last_try)
{
	batch	   *of = &self->batch;
	idempotency_count before = self->count;
	engine_status status;

	of->last = self->version;
	of->full = self->full;
	if (self->broken)
	{
		status_set(&status, ENGINE_UNAVAILABLE,
				   "the store is down after a failed write; " WORDS_NOTHING_DONE);
		batch_refuse(of, &status);
	}
	else if (!batch_decide(of, &status))
	{
		undo_decisions(self, &before);
		batch_refuse(of, &status);
		if (!sweep_count_records(&self->sweep, &status))
			self->options.log(ENGINE_LOG_ERROR, "the store cannot be read: %s",
							  status.text);
	}
	else if (of->quota_refused && !of->swept && sweep_is_due(&self->sweep, of->now_ms))
	{
		undo_decisions(self, &before);
		sweep_and_decide(self, last_try);
	}
	else if (of->changed)
		write_batch(self, last_try);
}

/* A range is read from the store, so no other unit's writes may be pending. */
static bool
fits(const batch *of, size_t gathered, const engine_unit *unit)
{
	if (of->n_plans == 0)
		return true;
	return of->n_plans < BATCH_MAX_UNITS && gathered + unit->bytes <= BATCH_MAX_BYTES &&
		!unit_stands_alone(unit);
}

static void
commit(committer *self, engine_unit *units)
{
	batch	   *of = &self->batch;

	while (units != NULL)
	{
		size_t		gathered = 0;

		extend_time(self);
		reclaim_records(self);
		of->now_ms = store_time_now_ms(self->options.time);
		while (units != NULL && fits(of, gathered, units))
		{
			engine_unit *unit = units;

			units = unit->next;
			gathered += unit->bytes;
			batch_add(of, unit);
			if (unit_stands_alone(unit))
				break;
		}
		decide_and_write(self, false);
		batch_answer(of);
		batch_reset(of);
	}
}

/* ---- The thread ---- */

static void
wait_for_work(committer *self)
{
	struct timespec until;

	if (self->more_to_sweep || self->more_to_count)
		return;
	until.tv_sec = (time_t) (self->next_tick_ms / 1000);
	until.tv_nsec = (long) (self->next_tick_ms % 1000) * 1000000;
	self->waiting = true;
	while (self->first == NULL && self->job == NULL && !self->closing)
	{
		if (pthread_cond_timedwait(&self->wake, &self->lock, &until) != 0)
			break;
	}
	self->waiting = false;
}

static void
run_job(committer *self, job *todo)
{
	todo->function(todo->arg);
	pthread_mutex_lock(&self->lock);
	todo->finished = true;
	self->job = NULL;
	pthread_cond_broadcast(&self->job_finished);
	pthread_mutex_unlock(&self->lock);
}

static void *
committer_main(void *arg)
{
	committer  *self = arg;
	bool		closing = false;

	while (!closing)
	{
		engine_unit *units;
		job		   *todo;

		pthread_mutex_lock(&self->lock);
		wait_for_work(self);
		units = self->first;
		self->first = NULL;
		self->last = NULL;
		todo = self->job;
		closing = self->closing && units == NULL && todo == NULL;
		pthread_mutex_unlock(&self->lock);

		commit(self, units);
		if (todo != NULL)
			run_job(self, todo);
		tick(self);
	}
	return NULL;
}

committer *
committer_start(const committer_options *options, engine_status *status)
{
	committer  *self = engine_calloc(sizeof(*self));
	pthread_condattr_t attributes;

	self->options = *options;
	self->version = options->last;
	self->count.limit = options->max_idempotency;
	self->slots = slot_cache_make(options->max_memory / SLOT_CACHE_SHARE);
	sweep_init(&self->sweep, options->table, &self->count, self->slots,
			   options->quotas);
	pthread_mutex_init(&self->lock, NULL);
	pthread_cond_init(&self->job_finished, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&self->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	batch_init(&self->batch, options->table, &self->count, self->slots,
			   options->quotas);
	if (options->directory != NULL && !directory_restore_reserve(options->directory))
		refuse_puts(self);

	if (sweep_count_records(&self->sweep, status))
	{
		if (pthread_create(&self->thread, NULL, committer_main, self) == 0)
			return self;
		status_set(status, ENGINE_INTERNAL, "cannot start the committer's thread");
	}
	sweep_free(&self->sweep);
	batch_free(&self->batch);
	slot_cache_free(self->slots);
	free(self);
	return NULL;
}

void
committer_submit(committer *self, engine_unit *unit)
{
	engine_outcome refusal = {.operation = -1};
	bool		taken;
	bool		wake;

	unit->next = NULL;
	pthread_mutex_lock(&self->lock);
	taken = !self->closing;
	if (taken)
	{
		if (self->last != NULL)
			self->last->next = unit;
		else
			self->first = unit;
		self->last = unit;
	}
	wake = self->waiting;
	pthread_mutex_unlock(&self->lock);

	if (taken)
	{
		if (wake)
			pthread_cond_signal(&self->wake);
		return;
	}
	status_set(&refusal.status, ENGINE_UNAVAILABLE,
			   "the store is being closed; " WORDS_NOTHING_DONE);
	unit->done(unit->arg, &refusal);
}

void
committer_run(committer *self, void (*function) (void *arg), void *arg)
{
	job			todo = {function, arg, false};

	pthread_mutex_lock(&self->lock);
	while (self->job != NULL)
		pthread_cond_wait(&self->job_finished, &self->lock);
	self->job = &todo;
	pthread_cond_signal(&self->wake);
	while (!todo.finished)
		pthread_cond_wait(&self->job_finished, &self->lock);
	pthread_mutex_unlock(&self->lock);
}

/* The bound is drawn back to where time is, so that a restart costs no lease. */
static bool
store_time_at_rest(committer *self)
{
	engine_status status;

	if (self->broken)
		return false;
	meta_put(self->options.table, META_TIME_BOUND, store_time_now_ms(self->options.time));
	if (self->options.table->methods->write(self->options.table, true, &status))
		return true;
	self->options.log(ENGINE_LOG_WARNING, "the store's last write failed: %s", status.text);
	return false;
}

bool
committer_stop(committer *self)
{
	bool		at_rest;

	pthread_mutex_lock(&self->lock);
	self->closing = true;
	pthread_cond_signal(&self->wake);
	pthread_mutex_unlock(&self->lock);
	pthread_join(self->thread, NULL);
	at_rest = store_time_at_rest(self);
	sweep_free(&self->sweep);
	batch_free(&self->batch);
	slot_cache_free(self->slots);
	pthread_mutex_destroy(&self->lock);
	pthread_cond_destroy(&self->wake);
	pthread_cond_destroy(&self->job_finished);
	free(self);
	return at_rest;
}
