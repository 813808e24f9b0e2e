/*
 * test_engine_disk_full.c - a disk that is full, or fails: what was acknowledged
 * stays, what was refused is not there, reads and deletes go on, and when there
 * is room again so do puts.
 */
#include "support/engine_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/faulty_disk.h"

#define VALUE_SIZE 10000
#define MAX_VALUE_SIZE 1000000
#define TRIES 200
#define PAUSE_US 100000
#define BRIM_PAUSE_US 3000000

static engine_status
try_put_sized(engine *on, unsigned number, size_t size)
{
	static char value[MAX_VALUE_SIZE];
	static uint64_t random;
	char		key[16];
	engine_op	op = {.kind = ENGINE_PUT, .value = {value, size}};
	engine_status status;

	/* Nothing that compresses, lest it fit after all. */
	for (size_t i = 0; i + 8 <= size; i += 8)
		store_u64(value + i, random_below(&random, UINT64_MAX));
	snprintf(key, sizeof(key), "big%05u", number);
	op.key = TEXT(key);
	commit_op(on, op, &status);
	return status;
}

static engine_status
try_put(engine *on, unsigned number)
{
	return try_put_sized(on, number, VALUE_SIZE);
}

static bool
is_there(engine *on, unsigned number)
{
	char		key[16];

	snprintf(key, sizeof(key), "big%05u", number);
	return get_text(on, key).size == VALUE_SIZE;
}

static bool
put_works_again(engine *on)
{
	engine_op	op = {.kind = ENGINE_PUT, .key = TEXT("again"), .value = TEXT("yes")};
	engine_status status;

	for (int i = 0; i < TRIES; i++)
	{
		commit_op(on, op, &status);
		if (status.code == ENGINE_OK)
			return true;
		assert_int_not_equal(status.code, ENGINE_DATA_LOSS);
		usleep(PAUSE_US);
	}
	print_message("still: %s\n", status.text);
	return false;
}

/* Puts from this number on until the disk is full; how many there are then. */
static unsigned
fill_disk(engine *on, unsigned first, size_t size)
{
	for (unsigned number = first; number < 100000; number++)
	{
		engine_status status = try_put_sized(on, number, size);

		if (status.code == ENGINE_OK)
			continue;
		assert_int_equal(status.code, ENGINE_RESOURCE_EXHAUSTED);
		return number;
	}
	fail_msg("the disk did not fill up");
	return 0;
}

/* ---- A reader that goes on all the while ---- */

typedef struct reader
{
	pthread_t	thread;
	engine	   *on;
	_Atomic bool stop;
	unsigned	wrong;
	unsigned	read;
} reader;

static void
note_read(void *arg, const engine_status *status, const engine_entry *entries, size_t n)
{
	reader	   *self = arg;

	self->read++;
	if (status->code != ENGINE_OK || n != 1 || entries[0].value.size != 4)
		self->wrong++;
}

static void *
keep_reading(void *arg)
{
	reader	   *self = arg;
	engine_slice key = TEXT("kept");

	while (!atomic_load(&self->stop))
		self->on->methods->get(self->on, &key, 1, ENGINE_STRONG, note_read, self);
	return NULL;
}

static void
reader_start(reader *self, engine *on)
{
	*self = (reader) {.on = on};
	assert_int_equal(pthread_create(&self->thread, NULL, keep_reading, self), 0);
}

static void
reader_stop(reader *self)
{
	atomic_store(&self->stop, true);
	pthread_join(self->thread, NULL);
	assert_true(self->read > 0);
	assert_int_equal(self->wrong, 0);
}

/* ---- Tests ---- */

static void
test_full_disk(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;
	char		reserve[128];
	struct stat status;
	reader		reading;
	unsigned	acknowledged;
	engine_version last;

	snprintf(reserve, sizeof(reserve), "%s/RESERVE", fix->directory);
	assert_int_equal(stat(reserve, &status), 0);
	put_text(on, "kept", "here");
	put_text(on, "victim", "here");
	put_ttl(on, "brief", "here", 1000);
	reader_start(&reading, on);
	faults->set_room(1 << 20);
	acknowledged = fill_disk(on, 0, VALUE_SIZE);
	assert_true(acknowledged > 10);

	assert_int_equal(try_put(on, acknowledged).code, ENGINE_RESOURCE_EXHAUSTED);
	for (unsigned i = 0; i < acknowledged; i++)
		assert_true(is_there(on, i));
	assert_false(is_there(on, acknowledged));
	assert_true(delete_text(on, "victim"));
	assert_absent(on, "victim");
	fixture_pass_ms(fix, 2000);
	assert_absent(on, "brief");
	last = get_text(on, "big00000").version;
	assert_true(last.index > 0);

	faults->set_room(INT64_MAX);
	assert_true(put_works_again(on));
	/* 3 puts before, one delete since, and perhaps the sweep of "brief". */
	assert_in_range(get_text(on, "again").version.index, acknowledged + 5,
					acknowledged + 6);
	assert_int_equal(stat(reserve, &status), 0);
	assert_int_equal(status.st_size, 16 << 20);
	reader_stop(&reading);

	fixture_reopen(fix);
	for (unsigned i = 0; i < acknowledged; i++)
		assert_true(is_there(fix->engine, i));
	assert_absent(fix->engine, "victim");
	assert_value(fix->engine, "again", "yes");
}

/* Each as often as it takes. */
static void
put_again(engine *on, unsigned n, size_t size)
{
	for (unsigned number = 0; number < n; number++)
	{
		engine_status status = try_put_sized(on, number, size);

		for (int i = 0; i < TRIES && status.code == ENGINE_RESOURCE_EXHAUSTED; i++)
		{
			usleep(PAUSE_US);
			status = try_put_sized(on, number, size);
		}
		if (status.code != ENGINE_OK)
			fail_msg("after %u of %u: %s", number, n, status.text);
	}
}

/* Until it stays full, though all is given back that can be. */
static unsigned
fill_to_the_brim(engine *on, size_t size)
{
	unsigned	filled = 0;
	unsigned	before;

	do
	{
		before = filled;
		filled = fill_disk(on, filled, size);
		if (filled > before)
			usleep(BRIM_PAUSE_US);
	} while (filled > before);
	return filled;
}

static void
delete_all(engine *on, unsigned n)
{
	char		key[16];

	for (unsigned number = 0; number < n; number++)
	{
		snprintf(key, sizeof(key), "big%05u", number);
		assert_true(delete_text(on, key));
	}
}

/* Nobody but the engine frees anything: deletions alone must lead to room. */
static void
test_deletes_make_room(void **state)
{
	static const size_t sizes[] = {900000, 10000, 250000, 30000};
	fixture    *fix = *state;
	unsigned	n = rounds(10);

	fix->max_memory = 256 << 20;
	for (unsigned round = 0; round < n; round++)
	{
		size_t		size = sizes[round % lengthof(sizes)];
		int64_t		room = (24 << 20) + (INT64_C(3000017) * round) % (24 << 20);
		unsigned	filled;

		fixture_reopen(fix);
		faults->set_room(room);
		filled = fill_to_the_brim(fix->engine, size);
		print_message("%u values of %zu bytes\n", filled, size);
		assert_true(filled * size > 8 << 20);
		for (int again = 0; again < 2; again++)
		{
			delete_all(fix->engine, filled);
			filled -= filled / 8;
			put_again(fix->engine, filled, size);
		}
		delete_all(fix->engine, filled);
		faults->set_room(INT64_MAX);
	}
}

/* Not even the reserve helps: somebody else took that room at once. */
static void
test_no_room_at_all(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;
	engine_status status;
	reader		reading;

	put_text(on, "kept", "here");
	reader_start(&reading, on);
	faults->set_room(-(INT64_C(1) << 40));
	status = try_put(on, 0);
	assert_int_not_equal(status.code, ENGINE_OK);
	assert_int_not_equal(try_put(on, 1).code, ENGINE_OK);
	usleep(1500000);
	assert_value(on, "kept", "here");
	faults->set_room(INT64_MAX);
	assert_true(put_works_again(on));
	reader_stop(&reading);
	assert_false(is_there(on, 1));
}

/* A backup that found no room leaves none of its own behind, and can be had later. */
static void
test_backup_without_room(void **state)
{
	fixture    *fix = *state;
	char		backup[80];
	engine_status status;
	struct stat found;

	for (unsigned number = 0; number < 100; number++)
		assert_int_equal(try_put(fix->engine, number).code, ENGINE_OK);
	snprintf(backup, sizeof(backup), "%s/backup", fix->root);
	for (int64_t room = 1; room <= 201; room += 100)
	{
		faults->set_room(room);
		assert_false(engine_backup(fix->engine, backup, &status));
		assert_true(status.text[0] != '\0');
		assert_int_equal(stat(backup, &found), -1);
		faults->set_room(INT64_MAX);
		assert_true(put_works_again(fix->engine));
	}
	faults->fail_syncs(1);
	assert_false(engine_backup(fix->engine, backup, &status));
	assert_int_equal(stat(backup, &found), -1);
	faults->fail_syncs(0);
	assert_true(put_works_again(fix->engine));
	if (!engine_backup(fix->engine, backup, &status))
		fail_msg("%s", status.text);
	assert_int_equal(stat(backup, &found), 0);
}

/* The answer tells what is in the store, whichever way a failed sync went. */
static void
test_failed_sync(void **state)
{
	fixture    *fix = *state;
	unsigned	n = rounds(60);

	for (unsigned number = 0; number < n; number++)
	{
		engine_status status;

		faults->fail_syncs(number % 3 == 0 ? 1 : 0);
		status = try_put(fix->engine, number);
		faults->fail_syncs(0);
		assert_int_equal(is_there(fix->engine, number), status.code == ENGINE_OK);
		assert_true(put_works_again(fix->engine));
		if (status.code == ENGINE_OK)
			continue;
		fixture_reopen(fix);
		assert_false(is_there(fix->engine, number));
	}
}

/* What the engine remembers of a slot goes the way of the write. */
static void
test_failed_sync_of_slots(void **state)
{
	fixture    *fix = *state;
	engine_op	op = {.kind = ENGINE_ADD, .key = TEXT("n"), .delta = 1};
	unsigned	n = rounds(60);
	int64_t		added = 0;

	for (unsigned number = 1; number <= n; number++)
	{
		engine_unit unit = {.atomic = true, .ops = &op, .n_ops = 1};
		char		key[96];
		answer		first;
		answer		second;

		snprintf(key, sizeof(key), "~nk1/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9/0/%u",
				 number);
		unit.idempotency_key = TEXT(key);
		faults->fail_syncs(number % 3 == 0 ? 1 : 0);
		commit_unit(fix->engine, &unit, &first);
		faults->fail_syncs(0);
		assert_true(put_works_again(fix->engine));
		unit.next = NULL;
		commit_unit(fix->engine, &unit, &second);
		assert_int_equal(second.status.code, ENGINE_OK);
		assert_int_equal(second.repeated, first.status.code == ENGINE_OK);
		assert_int_equal(second.results[0].value, ++added);
		answer_free(&first);
		answer_free(&second);
	}
}

static void
test_scan_survives_reopening(void **state)
{
	fixture    *fix = *state;
	engine	   *on = fix->engine;
	engine_scan scan = {0};
	engine_status status;
	engine_cursor *cursor;
	page		at;

	put_text(on, "a", "1");
	put_text(on, "b", "2");
	cursor = on->methods->scan_open(on, &scan, &status);
	read_page(on, cursor, 1, &at);
	assert_int_equal(at.n_entries, 1);
	page_free(&at);
	faults->fail_syncs(1);
	try_put(on, 1);
	assert_true(put_works_again(on));
	read_page(on, cursor, 1, &at);
	assert_int_equal(at.status.code, ENGINE_OK);
	assert_true(at.snapshot_moved);
	assert_memory_equal(at.entries[0].key.data, "again", 5);
	page_free(&at);
	on->methods->scan_close(cursor);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deletes_make_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backup_without_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room_at_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_sync, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_sync_of_slots, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scan_survives_reopening, setup, teardown),
	};

	(void) argc;
	require_disk_faults(argv);
	return cmocka_run_group_tests_name("engine on a full disk", tests, NULL, NULL);
}
