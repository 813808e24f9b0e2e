/*
 * test_engine_watch.c - watchers: what they are told, in which order, where they go on,
 * and when they must look for themselves; on each engine.
 */
#include "support/engine_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 20
/* So small that the ring of changes has its least size: 64 KiB. */
#define SMALL_MEMORY (1024 * 1024)

/* ---- A watcher that waits for what it is told ---- */

typedef struct told
{
	engine_change *changes;		/* with keys of their own */
	size_t		n;
	size_t		size;
} told;

typedef struct watcher
{
	engine	   *on;
	engine_watch *watch;
	pthread_mutex_t lock;
	pthread_cond_t answered;
	bool		waiting;
	engine_status status;
	engine_version known;
	uint64_t	history;
	bool		reset;
	bool		current;
	told		heard;			/* since it was opened, or told of a reset */
	arena		memory;
} watcher;

static void
hear(watcher *self, const engine_change *change)
{
	told	   *heard = &self->heard;

	if (heard->n == heard->size)
	{
		heard->size = heard->size * 2 + 64;
		heard->changes = realloc(heard->changes, heard->size * sizeof(*change));
	}
	heard->changes[heard->n] = *change;
	heard->changes[heard->n].key = arena_copy(&self->memory, change->key);
	heard->changes[heard->n].end_key = arena_copy(&self->memory, change->end_key);
	heard->n++;
}

static void
take_changes(void *arg, const engine_status *status, const engine_changes *changes)
{
	watcher    *self = arg;

	pthread_mutex_lock(&self->lock);
	self->status = *status;
	self->waiting = false;
	self->reset = changes != NULL && changes->reset;
	self->current = changes != NULL && changes->current;
	if (changes != NULL)
	{
		self->known = changes->known;
		self->history = changes->history;
		for (size_t i = 0; i < changes->n_changes; i++)
			hear(self, &changes->changes[i]);
	}
	pthread_cond_signal(&self->answered);
	pthread_mutex_unlock(&self->lock);
}

static void
ask(watcher *self)
{
	pthread_mutex_lock(&self->lock);
	self->waiting = true;
	pthread_mutex_unlock(&self->lock);
	self->on->methods->watch_next(self->watch, 4096, take_changes, self);
}

/* False: not within the time. */
static bool
wait_ms(watcher *self, unsigned milliseconds)
{
	struct timespec until;
	bool		answered;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += milliseconds / 1000;
	until.tv_nsec += milliseconds % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000)
	{
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&self->lock);
	while (self->waiting &&
		   pthread_cond_timedwait(&self->answered, &self->lock, &until) == 0)
		continue;
	answered = !self->waiting;
	pthread_mutex_unlock(&self->lock);
	return answered;
}

static void
hear_more(watcher *self)
{
	ask(self);
	assert_true(wait_ms(self, PATIENCE_S * 1000));
	assert_int_equal(self->status.code, ENGINE_OK);
}

static void
forget(watcher *self)
{
	self->heard.n = 0;
	arena_reset(&self->memory);
}

/* Opens, and hears where it starts. */
static void
open_after(watcher *self, engine *on, const char *start, const char *end,
		   engine_version after, uint64_t history)
{
	engine_watch_request request = {TEXT(start), TEXT(end), after, history};
	engine_status status;

	*self = (watcher) {.on = on};
	pthread_mutex_init(&self->lock, NULL);
	pthread_cond_init(&self->answered, NULL);
	arena_init(&self->memory);
	self->watch = on->methods->watch_open(on, &request, &status);
	assert_non_null(self->watch);
	hear_more(self);
	assert_int_equal(self->heard.n, 0);
}

static void
open_now(watcher *self, engine *on, const char *start, const char *end)
{
	open_after(self, on, start, end, (engine_version) {0, 0}, 0);
	assert_false(self->reset);
}

static void
open_key(watcher *self, engine *on, const char *key)
{
	engine_watch_request request = {.start = TEXT(key), .end = {key, strlen(key) + 1}};
	engine_status status;

	open_now(self, on, "", "");
	on->methods->watch_close(self->watch);
	self->watch = on->methods->watch_open(on, &request, &status);
	assert_non_null(self->watch);
	hear_more(self);
}

static void
close_watcher(watcher *self)
{
	self->on->methods->watch_cancel(self->watch);
	self->on->methods->watch_close(self->watch);
	free(self->heard.changes);
	arena_free(&self->memory);
}

static void
assert_heard(watcher *self, size_t i, engine_change_kind kind, const char *key,
			 uint64_t index)
{
	while (self->heard.n <= i)
		hear_more(self);
	assert_int_equal(self->heard.changes[i].kind, kind);
	assert_int_equal(self->heard.changes[i].key.size, strlen(key));
	assert_memory_equal(self->heard.changes[i].key.data, key, strlen(key));
	assert_int_equal(self->heard.changes[i].version.index, index);
}

static engine *
engine_of(void **state)
{
	return ((fixture *) *state)->engine;
}

/* ---- What is told ---- */

static void
test_changes_come_in_order(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	range = {.kind = ENGINE_DELETE_RANGE, .key = TEXT("a"), .end_key = TEXT("c")};
	engine_op	add = {.kind = ENGINE_ADD, .key = TEXT("n"), .delta = 1,
		.ttl = ENGINE_TTL_KEEP};
	engine_status status;
	watcher		all;

	put_text(on, "before", "");
	open_now(&all, on, "", "");
	assert_int_equal(all.known.index, 1);
	put_text(on, "a", "1");
	put_text(on, "b", "1");
	assert_true(delete_text(on, "a"));
	assert_false(delete_text(on, "a"));
	commit_op(on, add, &status);
	commit_op(on, range, &status);
	assert_heard(&all, 0, ENGINE_CHANGE_PUT, "a", 2);
	assert_heard(&all, 1, ENGINE_CHANGE_PUT, "b", 3);
	assert_heard(&all, 2, ENGINE_CHANGE_DELETE, "a", 4);
	assert_heard(&all, 3, ENGINE_CHANGE_PUT, "n", 5);
	assert_heard(&all, 4, ENGINE_CHANGE_DELETE_RANGE, "a", 6);
	assert_int_equal(all.heard.changes[4].end_key.size, 1);
	assert_int_equal(all.known.index, 6);
	close_watcher(&all);
}

static void
test_refused_and_repeated_writes_are_not_told(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	ops[2] = {
		{.kind = ENGINE_PUT, .key = TEXT("x")},
		{.kind = ENGINE_PUT, .key = TEXT("y"), .condition = ENGINE_IF_VERSION,
			.version = {1, 99}},
	};
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = 2};
	answer		done;
	watcher		all;

	open_now(&all, on, "", "");
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_FAILED_PRECONDITION);
	answer_free(&done);
	unit.atomic = false;
	unit.idempotency_key = TEXT("once");
	for (int i = 0; i < 2; i++)
	{
		engine_unit_fingerprint(&unit);
		commit_unit(on, &unit, &done);
		assert_int_equal(done.status.code, ENGINE_OK);
		answer_free(&done);
	}
	put_text(on, "last", "");
	assert_heard(&all, 0, ENGINE_CHANGE_PUT, "x", 1);
	assert_heard(&all, 1, ENGINE_CHANGE_PUT, "last", 2);
	close_watcher(&all);
}

static void
test_only_what_is_watched(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	range = {.kind = ENGINE_DELETE_RANGE, .key = TEXT("k"), .end_key = TEXT("l")};
	engine_status status;
	watcher		key;
	watcher		prefix;

	open_key(&key, on, "k");
	open_now(&prefix, on, "k/", "k0");
	put_text(on, "j", "");
	put_text(on, "k", "");
	put_text(on, "k/", "");
	put_text(on, "k/1", "");
	put_text(on, "k0", "");
	put_text(on, "l", "");
	commit_op(on, range, &status);
	assert_heard(&key, 0, ENGINE_CHANGE_PUT, "k", 2);
	assert_heard(&key, 1, ENGINE_CHANGE_DELETE_RANGE, "k", 7);
	assert_heard(&prefix, 0, ENGINE_CHANGE_PUT, "k/", 3);
	assert_heard(&prefix, 1, ENGINE_CHANGE_PUT, "k/1", 4);
	assert_heard(&prefix, 2, ENGINE_CHANGE_DELETE_RANGE, "k", 7);
	assert_int_equal(key.heard.n, 2);
	assert_int_equal(prefix.heard.n, 3);
	close_watcher(&key);
	close_watcher(&prefix);
}

/* Where nothing changes that is watched, a heartbeat tells so; without one, nothing. */
static void
test_silence_is_told(void **state)
{
	engine	   *on = engine_of(state);
	engine_watch_request request = {.start = TEXT("k"), .end = TEXT("l"),
		.heartbeat_ms = 100};
	engine_status status;
	watcher		beating;
	watcher		silent;

	open_now(&silent, on, "k", "l");
	open_now(&beating, on, "k", "l");
	on->methods->watch_close(beating.watch);
	beating.watch = on->methods->watch_open(on, &request, &status);
	assert_non_null(beating.watch);
	hear_more(&beating);
	assert_true(beating.current);
	ask(&silent);
	put_text(on, "a", "");
	for (int i = 0; i < 3; i++)
		hear_more(&beating);
	assert_int_equal(beating.heard.n, 0);
	assert_int_equal(beating.known.index, 1);
	assert_true(beating.current);
	assert_false(wait_ms(&silent, 0));
	put_text(on, "k", "");
	assert_heard(&beating, 0, ENGINE_CHANGE_PUT, "k", 2);
	hear_more(&beating);
	assert_int_equal(beating.heard.n, 1);
	assert_true(beating.current);
	assert_true(wait_ms(&silent, PATIENCE_S * 1000));
	assert_int_equal(silent.heard.n, 1);
	close_watcher(&beating);
	close_watcher(&silent);
}

static void
test_expiry_is_told(void **state)
{
	fixture    *fix = *state;
	watcher		key;

	open_key(&key, fix->engine, "lease");
	put_ttl(fix->engine, "lease", "me", 1000);
	put_ttl(fix->engine, "other", "me", 1000);
	assert_heard(&key, 0, ENGINE_CHANGE_PUT, "lease", 1);
	fixture_pass_ms(fix, 1000);
	assert_heard(&key, 1, ENGINE_CHANGE_EXPIRED, "lease", 3);
	/* the sweep's version is its own */
	assert_int_equal(put_text(fix->engine, "lease", "you").index, 4);
	close_watcher(&key);
}

/* An atomic unit of many keys comes in several chunks, and is known with the last. */
static void
test_large_units_are_known_when_complete(void **state)
{
	enum { N = 300 };
	engine	   *on = engine_of(state);
	char		keys[N][16];
	engine_op	ops[N];
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = N};
	answer		done;
	watcher		all;

	for (int i = 0; i < N; i++)
	{
		snprintf(keys[i], sizeof(keys[i]), "key%d", i);
		ops[i] = (engine_op) {.kind = ENGINE_PUT, .key = TEXT(keys[i])};
	}
	open_now(&all, on, "", "");
	put_text(on, "first", "");
	commit_unit(on, &unit, &done);
	answer_free(&done);
	while (all.heard.n <= N)
	{
		hear_more(&all);
		assert_false(all.reset);
		if (all.heard.n <= N)
			assert_true(all.known.index <= 1);
	}
	assert_int_equal(all.known.index, 2);
	assert_int_equal(all.heard.n, N + 1);
	close_watcher(&all);
}

/* ---- Where it goes on ---- */

static void
test_goes_on_after_a_version(void **state)
{
	engine	   *on = engine_of(state);
	engine_version second;
	watcher		first;
	watcher		next;

	open_now(&first, on, "", "");
	put_text(on, "a", "");
	second = put_text(on, "b", "");
	put_text(on, "c", "");
	open_after(&next, on, "", "", second, first.history);
	assert_false(next.reset);
	assert_int_equal(next.known.index, 2);
	assert_heard(&next, 0, ENGINE_CHANGE_PUT, "c", 3);
	close_watcher(&next);
	open_after(&next, on, "", "", second, 0);
	assert_false(next.reset);
	close_watcher(&next);
	/* from the very beginning: the ring reaches as far back as this process */
	open_after(&next, on, "b", "c", (engine_version) {1, 0}, 0);
	assert_false(next.reset);
	assert_heard(&next, 0, ENGINE_CHANGE_PUT, "b", 2);
	close_watcher(&next);
	close_watcher(&first);
}

static void
test_what_cannot_be_known_is_reset(void **state)
{
	engine	   *on = engine_of(state);
	const engine_version versions[] = {{1, 2}, {2, 1}, {0, 1}, {1, UINT64_MAX},
		{UINT64_MAX, 1}};
	watcher		next;

	put_text(on, "a", "");
	for (size_t i = 0; i < lengthof(versions); i++)
	{
		open_after(&next, on, "", "", versions[i], 0);
		assert_true(next.reset);
		assert_int_equal(next.known.index, 1);
		close_watcher(&next);
	}
	/* another history's version, though there is one like it here */
	open_after(&next, on, "", "", (engine_version) {1, 1}, 12345);
	assert_true(next.reset);
	put_text(on, "b", "");
	assert_heard(&next, 0, ENGINE_CHANGE_PUT, "b", 2);
	assert_false(next.reset);
	close_watcher(&next);
}

static void
write_much(engine *on, unsigned n)
{
	char		key[200];

	memset(key, 'f', sizeof(key));
	for (unsigned i = 0; i < n; i++)
	{
		snprintf(key, sizeof(key), "filler%0180u", i);
		put_text(on, key, "");
	}
}

static void
test_what_was_forgotten_is_reset(void **state)
{
	engine	   *on = engine_of(state);
	engine_version first;
	watcher		slow;
	watcher		idle;
	watcher		late;

	open_now(&slow, on, "", "");
	open_key(&idle, on, "idle");
	first = put_text(on, "a", "");
	write_much(on, 600);
	hear_more(&slow);
	assert_true(slow.reset);
	assert_int_equal(slow.heard.n, 0);
	assert_int_equal(slow.known.index, 601);
	open_after(&late, on, "", "", first, slow.history);
	assert_true(late.reset);
	close_watcher(&late);
	/* who was not concerned has missed nothing, however much has been written */
	put_text(on, "idle", "");
	assert_heard(&idle, 0, ENGINE_CHANGE_PUT, "idle", 602);
	assert_false(idle.reset);
	close_watcher(&slow);
	close_watcher(&idle);
}

static void
test_cancel_answers_at_once(void **state)
{
	engine	   *on = engine_of(state);
	watcher		key;

	open_key(&key, on, "k");
	ask(&key);
	on->methods->watch_cancel(key.watch);
	assert_false(key.waiting);
	assert_int_equal(key.status.code, ENGINE_CANCELLED);
	put_text(on, "k", "");
	assert_heard(&key, 0, ENGINE_CHANGE_PUT, "k", 1);
	close_watcher(&key);
}

static void
test_restart_is_a_reset(void **state)
{
	fixture    *fix = *state;
	engine_version last;
	uint64_t	history;
	watcher		key;

	open_key(&key, fix->engine, "k");
	last = put_text(fix->engine, "k", "");
	history = key.history;
	close_watcher(&key);
	fixture_reopen(fix);
	open_after(&key, fix->engine, "", "", last, history);
	assert_true(key.reset);
	close_watcher(&key);
}

/* ---- Against the log of all that was written ---- */

#define WATCHERS 12
#define MODEL_KEYS 40

typedef struct model
{
	engine	   *on;
	fixture    *fix;
	uint64_t	random;
	unsigned	n;
	engine_change *log;			/* in order; keys are of names */
	size_t		n_logged;
	_Atomic bool finished;
	char		names[MODEL_KEYS][220];
} model;

static void
log_change(model *self, engine_change_kind kind, engine_slice key, engine_slice end,
		   engine_version version)
{
	self->log[self->n_logged++] = (engine_change) {kind, version, key, end};
}

/* A unit of up to three puts and deletes, or a range. */
static void
write_something(model *self)
{
	engine_op	ops[3] = {0};
	engine_unit unit = {.atomic = true, .ops = ops};
	size_t		first = random_below(&self->random, MODEL_KEYS - 3);
	answer		done;

	unit.n_ops = 1 + random_below(&self->random, 3);
	for (size_t i = 0; i < unit.n_ops; i++)
		ops[i] = (engine_op) {
			.kind = random_below(&self->random, 4) == 0 ? ENGINE_DELETE : ENGINE_PUT,
			.key = TEXT(self->names[first + i]),
		};
	if (random_below(&self->random, 20) == 0)
	{
		unit.n_ops = 1;
		ops[0].kind = ENGINE_DELETE_RANGE;
		ops[0].end_key = TEXT(self->names[first + 3]);
	}
	commit_unit(self->on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	for (size_t i = 0; i < unit.n_ops; i++)
	{
		const engine_result *result = &done.results[i];

		if (ops[i].kind == ENGINE_PUT)
			log_change(self, ENGINE_CHANGE_PUT, ops[i].key, TEXT(""), result->version);
		else if (ops[i].kind == ENGINE_DELETE && result->existed)
			log_change(self, ENGINE_CHANGE_DELETE, ops[i].key, TEXT(""),
					   result->version);
		else if (ops[i].kind == ENGINE_DELETE_RANGE && result->deleted > 0)
			log_change(self, ENGINE_CHANGE_DELETE_RANGE, ops[i].key, ops[i].end_key,
					   result->version);
	}
	answer_free(&done);
}

static void *
write_all(void *arg)
{
	model	   *self = arg;

	for (unsigned i = 0; i < self->n; i++)
		write_something(self);
	atomic_store(&self->finished, true);
	return NULL;
}

/* One watcher's way: what it heard between two resets, from which version on. */
typedef struct reader
{
	const model *of;
	char		start[220];
	char		end[221];
	size_t		end_size;
	uint64_t	random;
	watcher		watcher;
	engine_version from;		/* it must hear all after this */
	unsigned	resets;
	bool		wrong;
} reader;

static bool
concerns(const reader *self, const engine_change *change)
{
	engine_slice start = TEXT(self->start);
	engine_slice end = {self->end, self->end_size};

	if (change->kind == ENGINE_CHANGE_DELETE_RANGE)
		return slice_compare(change->key, end) < 0 &&
			slice_compare(start, change->end_key) < 0;
	return slice_compare(change->key, start) >= 0 && slice_compare(change->key, end) < 0;
}

/* All that was heard since the last reset is what was written, in its order. */
static void
compare_with_log(reader *self, bool to_the_end)
{
	const told *heard = &self->watcher.heard;
	size_t		at = 0;

	for (size_t i = 0; i < self->of->n_logged; i++)
	{
		const engine_change *logged = &self->of->log[i];

		if (logged->version.index <= self->from.index || !concerns(self, logged))
			continue;
		if (at == heard->n)
		{
			self->wrong = self->wrong || to_the_end;
			break;
		}
		if (heard->changes[at].kind != logged->kind ||
			heard->changes[at].version.index != logged->version.index ||
			!slice_equal(heard->changes[at].key, logged->key))
		{
			self->wrong = true;
			break;
		}
		at++;
	}
	self->wrong = self->wrong || at < heard->n;
}

/* The connection breaks: a new watch goes on from what was known. */
static void
open_again(reader *self)
{
	watcher    *watch = &self->watcher;
	engine	   *on = watch->on;
	engine_watch_request request = {
		.start = TEXT(self->start),
		.end = {self->end, self->end_size},
		.after = watch->known,
		.history = watch->history,
	};
	engine_status status;

	on->methods->watch_close(watch->watch);
	/* a unit that was heard in part is heard again */
	while (watch->heard.n > 0 &&
		   watch->heard.changes[watch->heard.n - 1].version.index > watch->known.index)
		watch->heard.n--;
	watch->watch = on->methods->watch_open(on, &request, &status);
	self->wrong = self->wrong || watch->watch == NULL;
	ask(watch);
	wait_ms(watch, PATIENCE_S * 1000);
}

static void
note_reset(reader *self)
{
	if (!self->watcher.reset)
		return;
	self->resets++;
	forget(&self->watcher);
	self->from = self->watcher.known;
}

/* Until it has heard all, which the last change of its range tells. */
static void *
read_all(void *arg)
{
	reader	   *self = arg;
	watcher    *watch = &self->watcher;
	bool		finished = false;

	while (!finished)
	{
		finished = atomic_load(&self->of->finished);
		ask(watch);
		if (!wait_ms(watch, finished ? 300 : 5))
		{
			watch->on->methods->watch_cancel(watch->watch);
			wait_ms(watch, PATIENCE_S * 1000);
			if (watch->status.code == ENGINE_CANCELLED)
				continue;
		}
		finished = false;
		note_reset(self);
		if (random_below(&self->random, 4) == 0)
			usleep((useconds_t) random_below(&self->random, 4000));
		if (random_below(&self->random, 10) == 0)
		{
			open_again(self);
			note_reset(self);
		}
	}
	return NULL;
}

static void
start_reader(reader *self, const model *of, engine *on, uint64_t random)
{
	size_t		first = random_below(&random, MODEL_KEYS);
	bool		one_key = random_below(&random, 2) == 0;

	*self = (reader) {.of = of, .random = random};
	snprintf(self->start, sizeof(self->start), "%s", of->names[first]);
	if (one_key)
	{
		memcpy(self->end, self->start, strlen(self->start) + 1);
		self->end_size = strlen(self->start) + 1;
	}
	else
	{
		snprintf(self->end, sizeof(self->end), "%s~", of->names[MODEL_KEYS - 1]);
		self->end_size = strlen(self->end);
	}
	open_now(&self->watcher, on, "", "");
	self->from = self->watcher.known;
	open_again(self);
}

static void
test_nothing_is_missed(void **state)
{
	fixture    *fix = *state;
	model	   *of = calloc(1, sizeof(*of));
	reader	   *readers = calloc(WATCHERS, sizeof(*readers));
	pthread_t	threads[WATCHERS];
	pthread_t	writing;
	unsigned	resets = 0;

	of->on = fix->engine;
	of->random = seed();
	of->n = rounds(40000);
	of->log = calloc((size_t) of->n * 3, sizeof(*of->log));
	for (int i = 0; i < MODEL_KEYS; i++)
		snprintf(of->names[i], sizeof(of->names[i]), "%02d/%0*d", i, i % 2 * 200 + 1, 0);
	for (int i = 0; i < WATCHERS; i++)
		start_reader(&readers[i], of, fix->engine, random_below(&of->random, UINT64_MAX));
	pthread_create(&writing, NULL, write_all, of);
	for (int i = 0; i < WATCHERS; i++)
		pthread_create(&threads[i], NULL, read_all, &readers[i]);
	pthread_join(writing, NULL);
	for (int i = 0; i < WATCHERS; i++)
	{
		pthread_join(threads[i], NULL);
		compare_with_log(&readers[i], true);
		assert_false(readers[i].wrong);
		resets += readers[i].resets;
		close_watcher(&readers[i].watcher);
	}
	print_message("%u changes, %u resets\n", (unsigned) of->n_logged, resets);
	free(of->log);
	free(of);
	free(readers);
}

/* ---- Thousands ---- */

static void
test_thousands_of_watchers(void **state)
{
	enum { N = 5000 };
	engine	   *on = engine_of(state);
	watcher    *watchers = calloc(N, sizeof(*watchers));
	char		key[16];

	for (int i = 0; i < N; i++)
	{
		snprintf(key, sizeof(key), "w%d", i);
		open_key(&watchers[i], on, key);
		ask(&watchers[i]);
	}
	for (int i = 0; i < N; i += 7)
	{
		snprintf(key, sizeof(key), "w%d", i);
		put_text(on, key, "");
	}
	for (int i = 0; i < N; i++)
	{
		if (i % 7 == 0)
			assert_true(wait_ms(&watchers[i], PATIENCE_S * 1000));
		assert_int_equal(watchers[i].heard.n, i % 7 == 0 ? 1 : 0);
		close_watcher(&watchers[i]);
	}
	free(watchers);
}

static int
setup_small(void **state, const char *name)
{
	fixture    *fix = calloc(1, sizeof(*fix));

	*state = fix;
	fixture_init(fix, name);
	fix->max_memory = SMALL_MEMORY;
	fixture_open(fix);
	return 0;
}

static int
setup_small_memory(void **state)
{
	return setup_small(state, "memory");
}

static int
setup_small_rocksdb(void **state)
{
	return setup_small(state, "rocksdb");
}

#define ON(test, setup) {#test, test, setup, fixture_teardown, NULL}

static int
run_on(const char *name, CMFixtureFunction setup)
{
	const struct CMUnitTest tests[] = {
		ON(test_changes_come_in_order, setup),
		ON(test_refused_and_repeated_writes_are_not_told, setup),
		ON(test_only_what_is_watched, setup),
		ON(test_silence_is_told, setup),
		ON(test_expiry_is_told, setup),
		ON(test_large_units_are_known_when_complete, setup),
		ON(test_goes_on_after_a_version, setup),
		ON(test_what_cannot_be_known_is_reset, setup),
		ON(test_what_was_forgotten_is_reset, setup),
		ON(test_cancel_answers_at_once, setup),
		ON(test_restart_is_a_reset, setup),
		ON(test_nothing_is_missed, setup),
		ON(test_thousands_of_watchers, setup),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
	return run_on("memory", setup_small_memory) + run_on("rocksdb", setup_small_rocksdb);
}
