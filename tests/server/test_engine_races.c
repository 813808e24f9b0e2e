/*
 * test_engine_races.c - many threads at once: on one key by compare-and-swap, with
 * the versions as witness that the history is linear; and scans among units that
 * must be seen whole or not at all.
 */
#include "support/engine_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- One key ---- */

#define RACERS 16

typedef struct racer
{
	pthread_t	thread;
	engine	   *on;
	unsigned	number;
	unsigned	wins_wanted;
	uint64_t   *wins;			/* versions it wrote */
	uint64_t   *before;			/* and what each replaced */
	unsigned	n_wins;
	unsigned	failures;
} racer;

/* Increments the number in the key by compare-and-swap, over and over. */
static void *
race(void *arg)
{
	racer	   *self = arg;
	char		value[32];

	while (self->n_wins < self->wins_wanted)
	{
		got			seen = get_text(self->on, "raced");
		engine_op	op = {.kind = ENGINE_PUT, .key = TEXT("raced"),
			.condition = seen.version.index == 0 ? ENGINE_IF_ABSENT : ENGINE_IF_VERSION,
		.version = seen.version};
		engine_status status;
		engine_result result;

		snprintf(value, sizeof(value), "%lld", strtoll(seen.value, NULL, 10) + 1);
		op.value = TEXT(value);
		result = commit_op(self->on, op, &status);
		if (status.code == ENGINE_OK)
		{
			self->before[self->n_wins] = seen.version.index;
			self->wins[self->n_wins++] = result.version.index;
		}
		else if (status.code != ENGINE_FAILED_PRECONDITION)
			self->failures++;
	}
	return NULL;
}

/* Linear: every version but the last was replaced exactly once, by a later one. */
static void
test_compare_and_swap_race(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	unsigned	each = rounds(200);
	uint64_t	total = (uint64_t) RACERS * each;
	uint64_t   *replaced_by = calloc(total + 1, sizeof(uint64_t));
	racer		racers[RACERS];
	uint64_t	version = 0;

	for (unsigned i = 0; i < RACERS; i++)
	{
		racers[i] = (racer) {.on = on, .number = i, .wins_wanted = each};
		racers[i].wins = calloc(each, sizeof(uint64_t));
		racers[i].before = calloc(each, sizeof(uint64_t));
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < RACERS; i++)
		pthread_join(racers[i].thread, NULL);
	for (unsigned i = 0; i < RACERS; i++)
	{
		assert_int_equal(racers[i].failures, 0);
		for (unsigned win = 0; win < each; win++)
		{
			assert_true(racers[i].before[win] < racers[i].wins[win]);
			assert_in_range(racers[i].wins[win], 1, total);
			assert_int_equal(replaced_by[racers[i].before[win]], 0);
			replaced_by[racers[i].before[win]] = racers[i].wins[win];
		}
		free(racers[i].wins);
		free(racers[i].before);
	}
	for (uint64_t i = 0; i < total; i++)
		version = replaced_by[version];
	assert_int_equal(version, total);
	assert_int_equal(strtoll(get_text(on, "raced").value, NULL, 10), total);
	free(replaced_by);
}

static void *
add_one(void *arg)
{
	racer	   *self = arg;
	engine_op	op = {.kind = ENGINE_ADD, .key = TEXT("sum"), .delta = 1};
	engine_status status;

	for (unsigned i = 0; i < self->wins_wanted; i++)
	{
		commit_op(self->on, op, &status);
		if (status.code != ENGINE_OK)
			self->failures++;
	}
	return NULL;
}

static void
test_adds_from_many_threads(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	unsigned	each = rounds(1000);
	char		expected[32];
	racer		racers[RACERS];

	for (unsigned i = 0; i < RACERS; i++)
	{
		racers[i] = (racer) {.on = on, .wins_wanted = each};
		assert_int_equal(pthread_create(&racers[i].thread, NULL, add_one, &racers[i]), 0);
	}
	for (unsigned i = 0; i < RACERS; i++)
	{
		pthread_join(racers[i].thread, NULL);
		assert_int_equal(racers[i].failures, 0);
	}
	snprintf(expected, sizeof(expected), "%u", RACERS * each);
	assert_value(on, "sum", expected);
	assert_int_equal(get_text(on, "sum").version.index, RACERS * each);
}

/* ---- Snapshots under writes ---- */

#define ACCOUNTS 50
#define EACH_HAS 100

typedef struct bank
{
	engine	   *on;
	unsigned	transfers;
	_Atomic bool stop;
	_Atomic unsigned wrong;
	_Atomic unsigned scans;
} bank;

static void
name_of(unsigned account, char name[16])
{
	snprintf(name, 16, "account%03u", account);
}

/* One from an account to another, in one unit; what was read must still hold. */
static void
transfer(engine *on, uint64_t *random)
{
	unsigned	from = (unsigned) random_below(random, ACCOUNTS);
	unsigned	to = (from + 1 + (unsigned) random_below(random,
														 ACCOUNTS - 1)) % ACCOUNTS;
	char		names[2][16];
	engine_op	ops[2] = {{.kind = ENGINE_ADD, .delta = -1}, {.kind = ENGINE_ADD,
		.delta = 1}};
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = 2};
	answer		done;

	name_of(from, names[0]);
	name_of(to, names[1]);
	ops[0].key = TEXT(names[0]);
	ops[1].key = TEXT(names[1]);
	commit_unit(on, &unit, &done);
	answer_free(&done);
}

static void *
keep_transferring(void *arg)
{
	bank	   *self = arg;
	uint64_t	random = (uint64_t) pthread_self();

	for (unsigned i = 0; i < self->transfers; i++)
		transfer(self->on, &random);
	return NULL;
}

static long long
sum_of_scan(engine *on, bool reverse)
{
	engine_scan scan = {.one_snapshot = true, .reverse = reverse};
	engine_status status;
	engine_cursor *cursor = on->methods->scan_open(on, &scan, &status);
	long long	sum = 0;
	page		at = {0};

	do
	{
		page_free(&at);
		read_page(on, cursor, 64, &at);
		for (size_t i = 0; i < at.n_entries; i++)
		{
			char		value[24];

			snprintf(value, sizeof(value), "%.*s", (int) at.entries[i].value.size,
					 at.entries[i].value.data);
			sum += strtoll(value, NULL, 10);
		}
	} while (at.status.code == ENGINE_OK && !at.last);
	page_free(&at);
	on->methods->scan_close(cursor);
	return sum;
}

static void *
keep_scanning(void *arg)
{
	bank	   *self = arg;

	while (!atomic_load(&self->stop))
	{
		if (sum_of_scan(self->on, atomic_fetch_add(&self->scans, 1) % 2 == 0) !=
			ACCOUNTS * EACH_HAS)
			atomic_fetch_add(&self->wrong, 1);
	}
	return NULL;
}

static void
test_scans_see_whole_units(void **state)
{
	bank		shared = {.on = ((fixture *) *state)->engine, .transfers = rounds(5000)};
	pthread_t	threads[4];

	for (unsigned i = 0; i < ACCOUNTS; i++)
	{
		char		name[16];

		name_of(i, name);
		put_text(shared.on, name, "100");
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
										i < 2 ? keep_transferring : keep_scanning,
											&shared), 0);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	atomic_store(&shared.stop, true);
	pthread_join(threads[2], NULL);
	pthread_join(threads[3], NULL);
	assert_true(shared.scans > 0);
	assert_int_equal(shared.wrong, 0);
	assert_int_equal(sum_of_scan(shared.on, false), ACCOUNTS * EACH_HAS);
}

#define EACH(test) {#test, test, fixture_setup, fixture_teardown, NULL}

static int
run_on(const char *name, CMFixtureFunction fixture_setup)
{
	const struct CMUnitTest tests[] = {
		EACH(test_compare_and_swap_race),
		EACH(test_adds_from_many_threads),
		EACH(test_scans_see_whole_units),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
	return run_on("memory", fixture_setup_memory) + run_on("rocksdb",
														   fixture_setup_rocksdb);
}
