/*
 * test_engine_time.c - store time through steps and restarts, and what expires by
 * it: invisible at once, never back, and off the disk in the end.
 */
#include "support/engine_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_time.h"
#include "table.h"

#define HOUR_MS (INT64_C(3600) * 1000)
/* Real time for the sweep to come by; it looks four times a second. */
#define SWEEP_TRIES 100
#define SWEEP_PAUSE_US 50000

/* ---- The clock by itself ---- */

static uint64_t
wall_of(void *arg)
{
	return atomic_load(&((fixture *) arg)->wall_ns);
}

static uint64_t
boot_of(void *arg)
{
	return atomic_load(&((fixture *) arg)->boot_ns);
}

static void
clock_start(store_time *clock, fixture *fix, uint64_t bound_ms)
{
	fix->clock = (engine_clock) {wall_of, boot_of, fix};
	store_time_start(clock, &fix->clock, &(store_time_mark) {.bound_ms = bound_ms});
	store_time_set_bound(clock, UINT64_MAX);
}

static void
clock_pass(store_time *clock, fixture *fix, uint64_t seconds, uint64_t step)
{
	for (uint64_t i = 0; i < seconds; i += step)
	{
		atomic_fetch_add(&fix->wall_ns, step * 1000000000);
		atomic_fetch_add(&fix->boot_ns, step * 1000000000);
		store_time_draw(clock);
	}
}

static void
test_clock_is_drawn_slowly(void **state)
{
	static const int64_t steps_ms[] = {HOUR_MS, -HOUR_MS};
	fixture		fix = {0};
	store_time	clock;

	(void) state;
	for (size_t i = 0; i < lengthof(steps_ms); i++)
	{
		uint64_t	before;
		int64_t		passed;

		atomic_store(&fix.wall_ns, UINT64_C(1700000000) * 1000000000);
		clock_start(&clock, &fix, 0);
		atomic_fetch_add(&fix.wall_ns, (uint64_t) steps_ms[i] * 1000000);
		store_time_draw(&clock);
		before = store_time_now_ms(&clock);
		assert_int_equal(before, UINT64_C(1700000000) * 1000);
		clock_pass(&clock, &fix, 10000, 1);
		passed = (int64_t) (store_time_now_ms(&clock) - before);
		/* 0.05 % of 10,000 s is 5 s, and as fast as that it goes. */
		assert_in_range(passed - 10000000 + 6000, 0, 12000);
		assert_int_equal(passed > 10000000, steps_ms[i] > 0);
		assert_true(llabs(passed - 10000000) > 4900);
		/* It arrives, and stays. */
		clock_pass(&clock, &fix, 7300000, 20);
		assert_true(llabs((int64_t) (store_time_now_ms(&clock) -
									 atomic_load(&fix.wall_ns) / 1000000)) < 50);
	}
}

static void
test_clock_never_passes_its_bound(void **state)
{
	fixture		fix = {0};
	store_time	clock;
	store_time_mark mark;
	uint64_t	bound;

	(void) state;
	atomic_store(&fix.wall_ns, UINT64_C(1000) * 1000000000);
	clock_start(&clock, &fix, 0);
	store_time_set_bound(&clock, 0);
	assert_int_equal(store_time_now_ms(&clock), 0);
	assert_true(store_time_next_bound(&clock, &mark));
	bound = mark.bound_ms;
	assert_int_equal(bound, 1000000 + STORE_TIME_BOUND_AHEAD_MS);
	store_time_set_bound(&clock, bound);
	assert_int_equal(store_time_now_ms(&clock), 1000000);
	assert_false(store_time_next_bound(&clock, &mark));
	clock_pass(&clock, &fix, 6, 1);
	assert_true(store_time_next_bound(&clock, &mark));
	clock_pass(&clock, &fix, 600, 1);
	assert_int_equal(store_time_now_ms(&clock), bound);
}

/* ---- Leases ---- */

static void
test_steps_end_no_lease(void **state)
{
	fixture    *fix = *state;
	uint64_t	before = fixture_store_time(fix);

	put_ttl(fix->engine, "lease", "held", 30000);
	fixture_step_wall_ms(fix, HOUR_MS);
	fixture_pass_ms(fix, 29000);
	assert_value(fix->engine, "lease", "held");
	fixture_pass_ms(fix, 1100);
	assert_absent(fix->engine, "lease");
	fixture_step_wall_ms(fix, -2 * HOUR_MS);
	fixture_pass_ms(fix, 1000);
	assert_absent(fix->engine, "lease");
	assert_true(fixture_store_time(fix) >= before + 31000);
}

static void
test_expired_is_absent_to_all(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;
	engine_op	put = {.kind = ENGINE_PUT, .key = TEXT("k"),
		.condition = ENGINE_IF_VERSION};
	engine_op	add = {.kind = ENGINE_ADD, .key = TEXT("k"), .delta = 1,
	.ttl = ENGINE_TTL_KEEP};
	engine_status status;

	put_text(on, "k", "older");
	put.version = put_ttl(on, "k", "41", 1000);
	assert_int_equal(get_text(on, "k").expires_at_ms, fixture_store_time(fix) + 1000);
	fixture_pass_ms(fix, 999);
	assert_value(on, "k", "41");
	fixture_pass_ms(fix, 1);
	assert_absent(on, "k");
	assert_int_equal(count_keys(on), 0);
	assert_false(delete_text(on, "k"));
	commit_op(on, put, &status);
	assert_string_equal(status.text, "Version mismatch: expected 1/2, present absent");
	put_ttl(on, "k", "41", 1000);
	fixture_pass_ms(fix, 1000);
	assert_int_equal(commit_op(on, add, &status).value, 1);
	assert_int_equal(get_text(on, "k").expires_at_ms, 0);
	put_ttl(on, "k", "41", 1000);
	fixture_pass_ms(fix, 1000);
	put.condition = ENGINE_IF_ABSENT;
	commit_op(on, put, &status);
	assert_int_equal(status.code, ENGINE_OK);
	assert_int_equal(count_keys(on), 1);
}

/* ---- Restarts ---- */

static void
test_restart_revives_nothing(void **state)
{
	fixture    *fix = *state;
	uint64_t	before;

	put_ttl(fix->engine, "short", "1", 1000);
	put_ttl(fix->engine, "long", "1", 100000);
	fixture_pass_ms(fix, 2000);
	assert_absent(fix->engine, "short");
	before = fixture_store_time(fix);
	fixture_close(fix);
	/* The machine comes back with its clock an hour behind. */
	atomic_fetch_sub(&fix->wall_ns, (uint64_t) HOUR_MS * 1000000);
	atomic_store(&fix->boot_ns, 1000000000);
	fixture_open(fix);
	assert_true(fixture_store_time(fix) >= before);
	assert_absent(fix->engine, "short");
	assert_value(fix->engine, "long", "1");
	/* A clean close costs the lease nothing. */
	fixture_pass_ms(fix, 97500);
	assert_value(fix->engine, "long", "1");
	fixture_pass_ms(fix, 1000);
	assert_absent(fix->engine, "long");
}

static int
setup_unopened(void **state)
{
	*state = malloc(sizeof(fixture));
	fixture_init(*state, "rocksdb");
	return 0;
}

/* The same after a crash: what was shown is on disk before it is shown. */
static void
test_crash_revives_nothing(void **state)
{
	fixture    *fix = *state;
	pid_t		child = fork();
	int			status;

	if (child == 0)
	{
		fixture_open(fix);
		put_ttl(fix->engine, "short", "1", 600000);
		put_ttl(fix->engine, "long", "1", 2 * HOUR_MS);
		fixture_pass_ms(fix, HOUR_MS);
		/* Not closed. */
		_exit(get_text(fix->engine, "short").version.index == 0 ? 0 : 1);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	fixture_open(fix);
	assert_absent(fix->engine, "short");
	assert_value(fix->engine, "long", "1");
	/* after 1/2, and what the sweep may have taken for "short" */
	assert_in_range(put_text(fix->engine, "k", "").index, 3, 4);
}

/* Opens the store, is there for a second, and crashes; the store time shown last. */
static uint64_t
time_at_crash(fixture *fix, bool first, bool *held)
{
	struct
	{
		uint64_t	shown;
		bool		held;
	}			seen;
	int			ends[2];
	pid_t		child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0)
	{
		fixture_open(fix);
		if (first)
			put_ttl(fix->engine, "lease", "held", 30000);
		fixture_pass_ms(fix, 1000);
		seen.held = get_text(fix->engine, "lease").version.index != 0;
		seen.shown = fixture_store_time(fix);
		_exit(write(ends[1], &seen, sizeof(seen)) == sizeof(seen) ? 0 : 1);
	}
	assert_true(child > 0);
	close(ends[1]);
	assert_int_equal(read(ends[0], &seen, sizeof(seen)), sizeof(seen));
	close(ends[0]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	*held = seen.held;
	return seen.shown;
}

/* A server that is killed and back on a machine that went on: its leases go on, too. */
static void
test_crash_ends_no_lease(void **state)
{
	fixture    *fix = *state;
	bool		held;
	uint64_t	before;

	fix->clock.run = 7;
	before = time_at_crash(fix, true, &held);
	for (int i = 1; i <= 10; i++)
	{
		uint64_t	now;

		/* the second that it was there, two in which it was away */
		atomic_fetch_add(&fix->boot_ns, UINT64_C(3) * 1000000000);
		/* the wall clock is set meanwhile */
		atomic_fetch_add(&fix->wall_ns, (uint64_t) ((i % 2 ? 1 : -1) * HOUR_MS * 1000000));
		now = time_at_crash(fix, false, &held);
		assert_in_range(now, before + 3000, before + 3000 + 10);
		assert_int_equal(held, i < 10);
		before = now;
	}
	/* Another run of the machine, whose clock says nothing: at or after all shown. */
	fix->clock.run = 8;
	assert_true(time_at_crash(fix, false, &held) > before);
}

static void
test_versions_go_on_after_restart(void **state)
{
	fixture    *fix = *state;
	engine_version last;

	put_text(fix->engine, "a", "1");
	put_ttl(fix->engine, "b", "1", 10);
	assert_true(delete_text(fix->engine, "a"));
	fixture_pass_ms(fix, 60000);
	for (int i = 0; i < 3; i++)
		fixture_reopen(fix);
	last = put_text(fix->engine, "c", "1");
	assert_int_equal(last.term, 1);
	/* the sweep of "b" has one, too, if it has come to it */
	assert_in_range(last.index, 4, 5);
}

/* ---- The sweep and the compactions ---- */

/* All there is, expired or not, past the engine: the store must be closed. */
static uint64_t
stored_keys(const fixture *fix, table_space space)
{
	char		database[80];
	table_rocksdb_options options = {.directory = database, .max_memory = 1 << 24};
	table_range range = {.space = space};
	engine_status status;
	engine_slice key;
	engine_slice value;
	uint64_t	n = 0;
	table	   *opened;
	table_iterator *iterator;

	snprintf(database, sizeof(database), "%s/db", fix->directory);
	opened = table_rocksdb_open(&options, &status);
	assert_non_null(opened);
	iterator = opened->methods->iterate(opened, &range);
	while (opened->methods->next(iterator, &key, &value))
		n++;
	assert_true(opened->methods->iterate_end(iterator, &status));
	opened->methods->close(opened);
	return n;
}

/* In one unit: the disk is slow, at times, and waits for each. */
static void
put_many(engine *on, unsigned n, uint64_t ttl_ms)
{
	char	   (*keys)[16] = calloc(n, sizeof(*keys));
	engine_op  *ops = calloc(n, sizeof(*ops));
	engine_unit unit = {.ops = ops, .n_ops = n};
	answer		done;

	for (unsigned i = 0; i < n; i++)
	{
		snprintf(keys[i], sizeof(keys[i]), "k%06u", i);
		ops[i] = (engine_op) {
			.kind = ENGINE_PUT, .key = TEXT(keys[i]), .value = TEXT("value"),
			.ttl = ttl_ms > 0 ? ENGINE_TTL_SET : ENGINE_TTL_NONE, .ttl_ms = ttl_ms};
	}
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	answer_free(&done);
	free(ops);
	free(keys);
}

static void
test_sweep_takes_expired_keys_only(void **state)
{
	fixture    *fix = *state;
	uint64_t	left = 0;

	put_many(fix->engine, 2500, 1000);
	put_ttl(fix->engine, "k000001", "newer", 1000000);
	put_text(fix->engine, "k000002", "for ever");
	assert_true(delete_text(fix->engine, "k000003"));
	fixture_pass_ms(fix, 2000);
	for (int i = 0; i < SWEEP_TRIES; i++)
	{
		usleep(SWEEP_PAUSE_US);
		fixture_close(fix);
		left = stored_keys(fix, TABLE_EXPIRY);
		if (left == 1)
		{
			assert_int_equal(stored_keys(fix, TABLE_DATA), 2);
			fixture_open(fix);
			break;
		}
		fixture_open(fix);
	}
	assert_int_equal(left, 1);
	assert_value(fix->engine, "k000001", "newer");
	assert_value(fix->engine, "k000002", "for ever");
	assert_absent(fix->engine, "k000000");
}

static void
test_records_are_swept(void **state)
{
	fixture    *fix = *state;
	engine_op	op = {.kind = ENGINE_PUT, .key = TEXT("k")};
	uint64_t	left = 0;

	/* Not what is tested here, and 3,000 waits for the disk. */
	fix->sync = false;
	fixture_reopen(fix);
	for (int i = 0; i < 3000; i++)
	{
		char		key[32];
		engine_unit unit = {.atomic = true, .ops = &op, .n_ops = 1};
		answer		done;

		snprintf(key, sizeof(key), "job-%d", i);
		unit.idempotency_key = TEXT(key);
		commit_unit(fix->engine, &unit, &done);
		answer_free(&done);
	}
	fixture_pass_ms(fix, 25 * (uint64_t) HOUR_MS);
	for (int i = 0; i < SWEEP_TRIES; i++)
	{
		usleep(SWEEP_PAUSE_US);
		fixture_close(fix);
		left = stored_keys(fix, TABLE_IDEMPOTENCY);
		fixture_open(fix);
		if (left == 0)
			break;
	}
	assert_int_equal(left, 0);
}

/* A sweep is under way while the same keys are written anew. */
static void
test_sweep_spares_newer_puts(void **state)
{
	fixture    *fix = *state;
	unsigned	n = rounds(3000);
	char		key[16];

	for (int round = 0; round < 5; round++)
	{
		put_many(fix->engine, n, 100);
		fixture_pass_ms(fix, 200);
		put_many(fix->engine, n, 0);
		for (unsigned i = 0; i < n; i++)
		{
			snprintf(key, sizeof(key), "k%06u", i);
			assert_value(fix->engine, key, "value");
		}
	}
	usleep(600000);
	assert_int_equal(count_keys(fix->engine), n);
}

/* A range is deleted as a whole: the index keeps entries that mean nothing now. */
static void
test_sweep_ignores_stale_index(void **state)
{
	fixture    *fix = *state;
	engine_op	range = {.kind = ENGINE_DELETE_RANGE, .key = TEXT("k")};
	engine_status status;

	put_many(fix->engine, 1500, 1000);
	assert_int_equal(commit_op(fix->engine, range, &status).deleted, 1500);
	put_many(fix->engine, 1000, 0);
	put_ttl(fix->engine, "k000000", "value", 50000);
	fixture_pass_ms(fix, 2000);
	usleep(700000);
	assert_int_equal(count_keys(fix->engine), 1000);
}

#define ON(test, setup) {#test " (" #setup ")", test, setup, fixture_teardown, NULL}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: no thread of this process is lost to its child. */
		cmocka_unit_test_setup_teardown(test_crash_ends_no_lease, setup_unopened,
										fixture_teardown),
		cmocka_unit_test_setup_teardown(test_crash_revives_nothing, setup_unopened,
										fixture_teardown),
		cmocka_unit_test(test_clock_is_drawn_slowly),
		cmocka_unit_test(test_clock_never_passes_its_bound),
		ON(test_steps_end_no_lease, fixture_setup_memory),
		ON(test_steps_end_no_lease, fixture_setup_rocksdb),
		ON(test_expired_is_absent_to_all, fixture_setup_memory),
		ON(test_expired_is_absent_to_all, fixture_setup_rocksdb),
		ON(test_restart_revives_nothing, fixture_setup_rocksdb),
		ON(test_versions_go_on_after_restart, fixture_setup_rocksdb),
		ON(test_sweep_takes_expired_keys_only, fixture_setup_rocksdb),
		ON(test_sweep_spares_newer_puts, fixture_setup_memory),
		ON(test_sweep_spares_newer_puts, fixture_setup_rocksdb),
		ON(test_sweep_ignores_stale_index, fixture_setup_memory),
		ON(test_sweep_ignores_stale_index, fixture_setup_rocksdb),
		ON(test_records_are_swept, fixture_setup_rocksdb),
	};

	return cmocka_run_group_tests_name("engine time", tests, NULL, NULL);
}
