/*
 * committer.c - drains the queue, decides, writes once, answers.
 *
 * Group commit without a delay: while one batch is being synced, the next one
 * gathers in the queue. Between batches there is upkeep.
 */
#include "committer_state.h"

#include <stdlib.h>

#include "meta.h"
#include "reserve.h"
#include "unit.h"
#include "words.h"

/* A batch is cut here; a single unit may be larger. */
#define BATCH_MAX_BYTES (4 * 1024 * 1024)
/* How often it is looked whether deferred units can go on. */
#define DEFERRED_MS 2
/* Of the memory, for the records of slots: 5,000 of them in 256 MiB. */
#define SLOT_CACHE_SHARE 256

/* ---- Batches ---- */

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
	{
		batch_written(of);
		return;
	}
	else
		status_set(&answer, failure->code, WORDS_NOTHING_WRITTEN ": %.400s",
				   failure->text);
	batch_refuse(of, &answer);
}

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
	committer_recover(self, &status);
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
			committer_write_swept(self);
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

		committer_extend_time(self);
		committer_reclaim_records(self);
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
	uint64_t	wake_ms = self->next_tick_ms;

	if (self->more_to_sweep || self->more_to_count)
		return;
	if (self->deferred != NULL)
		wake_ms = monotonic_ms() + DEFERRED_MS;
	until.tv_sec = (time_t) (wake_ms / 1000);
	until.tv_nsec = (long) (wake_ms % 1000) * 1000000;
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
	bool		draining;

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
		draining = self->closing;
		closing = draining && units == NULL && todo == NULL && self->deferred == NULL;
		pthread_mutex_unlock(&self->lock);

		commit(self, committer_choose(self, units, draining));
		if (todo != NULL)
			run_job(self, todo);
		committer_tick(self);
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
			   options->quotas, options->vectors);
	if (options->directory != NULL && !reserve_restore(directory_descriptor(options->directory)))
		committer_refuse_puts(self);

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
