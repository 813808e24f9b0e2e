/*
 * engine_fixture.c - opens engines for tests and waits for their answers.
 */
#include "engine_fixture.h"

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define START_WALL_NS (UINT64_C(1750000000) * 1000000000)
#define START_BOOT_NS (UINT64_C(5000) * 1000000000)

/* ---- Surroundings ---- */

void
log_to_stderr(engine_log_level level, const char *format, ...)
{
	va_list		args;

	if (getenv("NORIKV_TEST_LOG") == NULL)
		return;
	va_start(args, format);
	fprintf(stderr, "engine log %d: ", (int) level);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

static int
remove_one(const char *path, const struct stat *status, int kind, struct FTW *position)
{
	(void) status;
	(void) kind;
	(void) position;
	return remove(path);
}

void
remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

unsigned
rounds(unsigned full)
{
	const char *stress = getenv("NORIKV_STRESS");

	if (stress != NULL && strcmp(stress, "1") == 0)
		return full;
	return full >= 10 ? full / 10 : 1;
}

uint64_t
seed(void)
{
	const char *given = getenv("NORIKV_SEED");
	uint64_t	value = given != NULL ? strtoull(given, NULL, 10)
		: (uint64_t) time(NULL) * 2654435761u ^ (uint64_t) getpid();

	print_message("NORIKV_SEED=%lu\n", (unsigned long) value);
	return value;
}

uint64_t
random_below(uint64_t *state, uint64_t limit)
{
	uint64_t	mixed = *state += 0x9e3779b97f4a7c15;

	mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
	return (mixed ^ (mixed >> 31)) % limit;
}

/* ---- The engine ---- */

static uint64_t
fixture_wall(void *arg)
{
	return atomic_load(&((fixture *) arg)->wall_ns);
}

static uint64_t
fixture_boot(void *arg)
{
	return atomic_load(&((fixture *) arg)->boot_ns);
}

void
fixture_clock(fixture *self, uint64_t wall_ns)
{
	self->clock = (engine_clock) {fixture_wall, fixture_boot, self};
	atomic_init(&self->wall_ns, wall_ns);
	atomic_init(&self->boot_ns, START_BOOT_NS);
}

void
fixture_init(fixture *self, const char *engine_name)
{
	*self = (fixture) {.name = engine_name, .sync = true};
	self->max_idempotency = 1000000;
	self->max_memory = 64 * 1024 * 1024;
	fixture_clock(self, START_WALL_NS);
	strcpy(self->root, "/tmp/norikv-engine-XXXXXX");
	assert_non_null(mkdtemp(self->root));
	snprintf(self->directory, sizeof(self->directory), "%s/data", self->root);
}

bool
fixture_try_open(fixture *self, engine_status *status)
{
	engine_options options = {
		.data_dir = self->directory,
		.sync = self->sync,
		.adopt = self->adopt,
		.max_memory = self->max_memory,
		.max_vector_memory = self->max_vector_memory,
		.max_idempotency = self->max_idempotency,
		.owner = self->owner,
		.log = log_to_stderr,
		.clock = self->system_clock ? NULL : &self->clock,
	};

	self->engine = engine_open(self->name, &options, status);
	return self->engine != NULL;
}

void
fixture_open(fixture *self)
{
	engine_status status;

	if (!fixture_try_open(self, &status))
		fail_msg("cannot open: %s", status.text);
}

void
fixture_close(fixture *self)
{
	if (self->engine != NULL)
		self->engine->methods->close(self->engine);
	self->engine = NULL;
}

void
fixture_reopen(fixture *self)
{
	fixture_close(self);
	fixture_open(self);
}

void
fixture_end(fixture *self)
{
	fixture_close(self);
	remove_tree(self->root);
}

void
fixture_pass_ms(fixture *self, uint64_t milliseconds)
{
	atomic_fetch_add(&self->wall_ns, milliseconds * 1000000);
	atomic_fetch_add(&self->boot_ns, milliseconds * 1000000);
	fixture_store_time(self);
}

void
fixture_step_wall_ms(fixture *self, int64_t milliseconds)
{
	atomic_fetch_add(&self->wall_ns, (uint64_t) (milliseconds * 1000000));
	fixture_store_time(self);
}

/* An empty unit makes the committer store a bound that lets time go on. */
uint64_t
fixture_store_time(fixture *self)
{
	engine_unit nothing = {.atomic = true};
	answer		done;
	engine_info info;

	commit_unit(self->engine, &nothing, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	answer_free(&done);
	self->engine->methods->info(self->engine, &info);
	return info.store_time_ms;
}

static int
setup(void **state, const char *name)
{
	fixture    *self = malloc(sizeof(*self));

	fixture_init(self, name);
	fixture_open(self);
	*state = self;
	return 0;
}

int
fixture_setup_memory(void **state)
{
	return setup(state, "memory");
}

int
fixture_setup_rocksdb(void **state)
{
	return setup(state, "rocksdb");
}

int
fixture_teardown(void **state)
{
	fixture_end(*state);
	free(*state);
	return 0;
}

/* ---- Calls ---- */

typedef struct waiter
{
	pthread_mutex_t lock;
	pthread_cond_t ready;
	bool		done;
	answer	   *to;
} waiter;

static void
take_outcome(void *arg, const engine_outcome *outcome)
{
	waiter	   *self = arg;
	answer	   *to = self->to;

	to->status = outcome->status;
	to->operation = outcome->operation;
	to->repeated = outcome->repeated;
	to->n_results = outcome->n_results;
	to->results = arena_alloc(&to->memory, outcome->n_results * sizeof(engine_result));
	for (size_t i = 0; i < outcome->n_results; i++)
	{
		to->results[i] = outcome->results[i];
		to->results[i].text = arena_copy(&to->memory, outcome->results[i].text);
	}
	pthread_mutex_lock(&self->lock);
	self->done = true;
	pthread_cond_signal(&self->ready);
	pthread_mutex_unlock(&self->lock);
}

void
commit_unit(engine *on, engine_unit *unit, answer *to)
{
	waiter		waiting = {.to = to};

	pthread_mutex_init(&waiting.lock, NULL);
	pthread_cond_init(&waiting.ready, NULL);
	*to = (answer) {0};
	unit->arg = &waiting;
	unit->done = take_outcome;
	engine_unit_fingerprint(unit);
	on->methods->commit(on, unit);
	pthread_mutex_lock(&waiting.lock);
	while (!waiting.done)
		pthread_cond_wait(&waiting.ready, &waiting.lock);
	pthread_mutex_unlock(&waiting.lock);
	pthread_mutex_destroy(&waiting.lock);
	pthread_cond_destroy(&waiting.ready);
}

void
answer_free(answer *self)
{
	arena_free(&self->memory);
}

engine_result
commit_op(engine *on, engine_op op, engine_status *status)
{
	engine_unit unit = {.atomic = true, .ops = &op, .n_ops = 1};
	engine_result result = {0};
	answer		done;

	commit_unit(on, &unit, &done);
	*status = done.status;
	if (done.n_results == 1)
		result = done.results[0];
	result.text = (engine_slice) {NULL, 0};
	answer_free(&done);
	return result;
}

engine_version
put_ttl(engine *on, const char *key, const char *value, uint64_t ttl_ms)
{
	engine_op	op = {
		.kind = ENGINE_PUT,
		.key = TEXT(key),
		.value = TEXT(value),
		.ttl = ttl_ms > 0 ? ENGINE_TTL_SET : ENGINE_TTL_NONE,
		.ttl_ms = ttl_ms,
	};
	engine_status status;
	engine_result result = commit_op(on, op, &status);

	if (status.code != ENGINE_OK)
		fail_msg("put of \"%s\": %s", key, status.text);
	return result.version;
}

engine_version
put_text(engine *on, const char *key, const char *value)
{
	return put_ttl(on, key, value, 0);
}

bool
delete_text(engine *on, const char *key)
{
	engine_op	op = {.kind = ENGINE_DELETE, .key = TEXT(key)};
	engine_status status;
	engine_result result = commit_op(on, op, &status);

	assert_int_equal(status.code, ENGINE_OK);
	return result.existed;
}

static void
take_entry(void *arg, const engine_status *status, const engine_entry *entries,
		   size_t n_entries)
{
	got		   *to = arg;
	size_t		size;

	if (status->code != ENGINE_OK)
		fail_msg("get: %s", status->text);
	assert_int_equal(n_entries, 1);
	size = entries[0].value.size < sizeof(to->value) - 1 ? entries[0].value.size
		: sizeof(to->value) - 1;
	*to = (got) {entries[0].version, entries[0].expires_at_ms, entries[0].value.size, ""};
	if (size > 0)
		memcpy(to->value, entries[0].value.data, size);
}

got
get_key(engine *on, engine_slice key)
{
	got			found = {0};

	on->methods->get(on, &key, 1, ENGINE_STRONG, take_entry, &found);
	return found;
}

got
get_text(engine *on, const char *key)
{
	return get_key(on, TEXT(key));
}

static void
take_page(void *arg, const engine_status *status, const engine_page *from)
{
	page	   *to = arg;

	*to = (page) {.status = *status};
	if (from == NULL)
		return;
	to->n_entries = from->n_entries;
	to->count = from->count;
	to->snapshot_moved = from->snapshot_moved;
	to->last = from->last;
	to->entries = arena_alloc(&to->memory, from->n_entries * sizeof(engine_entry));
	for (size_t i = 0; i < from->n_entries; i++)
	{
		to->entries[i] = from->entries[i];
		to->entries[i].key = arena_copy(&to->memory, from->entries[i].key);
		to->entries[i].value = arena_copy(&to->memory, from->entries[i].value);
	}
}

void
read_page(engine *on, engine_cursor *cursor, size_t max_bytes, page *to)
{
	on->methods->scan_page(cursor, max_bytes, take_page, to);
}

void
page_free(page *self)
{
	arena_free(&self->memory);
}

uint64_t
count_keys(engine *on)
{
	engine_scan all = {.count_only = true};
	engine_status status;
	engine_cursor *cursor = on->methods->scan_open(on, &all, &status);
	page		at = {0};

	do
	{
		page_free(&at);
		read_page(on, cursor, 1024, &at);
		assert_int_equal(at.status.code, ENGINE_OK);
	} while (!at.last);
	on->methods->scan_close(cursor);
	page_free(&at);
	return at.count;
}
