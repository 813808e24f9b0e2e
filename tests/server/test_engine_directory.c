/*
 * test_engine_directory.c - the data directory: locked, of one format, and known
 * when it is a copy.
 */
#include "support/engine_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
write_file(const char *directory, const char *name, const char *text)
{
	char		path[128];
	FILE	   *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* By cp, as an administrator would. */
static void
copy_directory(const char *from, const char *to)
{
	pid_t		child = fork();
	int			status;

	if (child == 0)
	{
		execlp("cp", "cp", "-a", from, to, (char *) NULL);
		_exit(127);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void
move_to(fixture *fix, const char *suffix)
{
	assert_true(strlen(fix->directory) + strlen(suffix) < sizeof(fix->directory));
	strcat(fix->directory, suffix);
}

static void
assert_refused(fixture *fix, const char *part)
{
	engine_status status;

	if (fixture_try_open(fix, &status))
		fail_msg("opened, where \"%s\" was expected", part);
	assert_int_not_equal(status.code, ENGINE_OK);
	if (strstr(status.text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", status.text, part);
}

static void
test_second_open_is_refused(void **state)
{
	fixture    *fix = *state;
	fixture		second = *fix;
	engine_status status;

	assert_false(fixture_try_open(&second, &status));
	assert_non_null(strstr(status.text, fix->directory));
	assert_non_null(strstr(status.text, "in use"));
	put_text(fix->engine, "k", "still works");
	fixture_close(fix);
	assert_true(fixture_try_open(&second, &status));
	assert_value(second.engine, "k", "still works");
	fixture_close(&second);
	fixture_open(fix);
}

/* The lock is the process's: it goes with it, however it goes. */
static void
test_lock_goes_with_its_process(void **state)
{
	fixture    *fix = *state;
	int			ready[2];
	char		byte;
	pid_t		child;

	fixture_close(fix);
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0)
	{
		fixture_open(fix);
		put_text(fix->engine, "k", "from the child");
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_refused(fix, "in use");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	fixture_open(fix);
	assert_value(fix->engine, "k", "from the child");
	assert_int_equal(put_text(fix->engine, "k", "2").index, 2);
}

static void
test_format(void **state)
{
	fixture    *fix = *state;

	fixture_close(fix);
	write_file(fix->directory, "FORMAT", "norikv 2\n");
	assert_refused(fix, "format 2");
	write_file(fix->directory, "FORMAT", "something else\n");
	assert_refused(fix, "no norikv data directory");
	write_file(fix->directory, "FORMAT", "norikv 1\n");
	write_file(fix->directory, "IDENTITY", "garbage");
	assert_refused(fix, "IDENTITY");
}

static void
test_strange_directory(void **state)
{
	fixture    *fix = *state;
	fixture		strange = *fix;
	char		path[128];

	move_to(&strange, "/strange");
	assert_int_equal(mkdir(strange.directory, 0700), 0);
	write_file(strange.directory, "precious", "data");
	assert_refused(&strange, "no norikv data directory");
	snprintf(path, sizeof(path), "%s/precious", strange.directory);
	assert_int_equal(access(path, F_OK), 0);
	move_to(&strange, "/precious/below");
	assert_refused(&strange, "cannot create");
}

/* ---- Copies ---- */

static void
test_copy_must_be_adopted(void **state)
{
	fixture    *fix = *state;
	fixture		copy = *fix;
	engine_info info;
	char		store_id[40];
	engine_version before = put_text(fix->engine, "k", "1");
	engine_version original;
	engine_version first;

	fix->engine->methods->info(fix->engine, &info);
	memcpy(store_id, info.store_id, sizeof(store_id));
	fixture_close(fix);
	move_to(&copy, ".copy");
	copy_directory(fix->directory, copy.directory);

	assert_refused(&copy, "--adopt");
	/* Meanwhile the original goes on. */
	fixture_open(fix);
	fix->engine->methods->info(fix->engine, &info);
	original = put_text(fix->engine, "k", "2");
	assert_true(info.latest.index >= before.index && info.latest.index < original.index);
	copy.adopt = true;
	fixture_open(&copy);
	assert_value(copy.engine, "k", "1");
	first = put_text(copy.engine, "k", "3");
	assert_int_equal(original.term, 1);
	assert_int_equal(first.term, 2);
	copy.engine->methods->info(copy.engine, &info);
	assert_string_equal(info.store_id, store_id);
	fixture_close(&copy);
	/* Adopted for good. */
	copy.adopt = false;
	fixture_open(&copy);
	assert_int_equal(put_text(copy.engine, "k", "4").term, 2);
	fixture_close(&copy);
}

/* What a restore of files does: the same directory, with what a copy of it had. */
static void
restore_in_place(const char *copy, const char *directory)
{
	char		command[400];

	snprintf(command, sizeof(command), "rm -rf '%s'/* && cp -a '%s'/. '%s'", directory,
			 copy, directory);
	assert_int_equal(system(command), 0);
}

static void
test_restored_in_place_must_be_adopted(void **state)
{
	fixture    *fix = *state;
	fixture		copy = *fix;
	fixture		backup = *fix;
	engine_status status;

	put_text(fix->engine, "k", "1");
	move_to(&backup, ".backup");
	if (!engine_backup(fix->engine, backup.directory, &status))
		fail_msg("%s", status.text);
	fixture_close(fix);
	move_to(&copy, ".copy");
	copy_directory(fix->directory, copy.directory);
	fixture_open(fix);
	put_text(fix->engine, "k", "2");
	fixture_close(fix);

	restore_in_place(copy.directory, fix->directory);
	assert_refused(fix, "--adopt");
	restore_in_place(backup.directory, fix->directory);
	assert_refused(fix, "--adopt");
	fix->adopt = true;
	fixture_open(fix);
	assert_value(fix->engine, "k", "1");
	assert_int_equal(put_text(fix->engine, "k", "3").term, 2);
	fix->adopt = false;
	fixture_reopen(fix);
}

/* Moving a directory makes no second one. */
static void
test_moved_directory_is_the_same(void **state)
{
	fixture    *fix = *state;
	fixture		moved = *fix;

	put_text(fix->engine, "k", "1");
	fixture_close(fix);
	move_to(&moved, ".moved");
	assert_int_equal(rename(fix->directory, moved.directory), 0);
	fixture_open(&moved);
	assert_int_equal(put_text(moved.engine, "k", "2").term, 1);
	fixture_close(&moved);
	assert_int_equal(rename(moved.directory, fix->directory), 0);
	fixture_open(fix);
}

static void
test_owner(void **state)
{
	fixture    *fix = *state;

	fix->owner = "7301234567890123456 timeline 1";
	fixture_reopen(fix);
	fixture_reopen(fix);
	fixture_close(fix);
	fix->owner = "7301234567890123456 timeline 2";
	assert_refused(fix, "--adopt");
	fix->owner = NULL;
	fixture_open(fix);
	fixture_close(fix);
	fix->owner = "7301234567890123456 timeline 2";
	assert_refused(fix, "belongs to");
	fix->adopt = true;
	fixture_open(fix);
	assert_int_equal(put_text(fix->engine, "k", "").term, 2);
	fix->adopt = false;
	fixture_reopen(fix);
	assert_int_equal(put_text(fix->engine, "k", "").term, 2);
}

static void
test_backup(void **state)
{
	fixture    *fix = *state;
	fixture		backup = *fix;
	engine_status status;
	char		key[16];

	for (int i = 0; i < 500; i++)
	{
		snprintf(key, sizeof(key), "k%d", i);
		put_text(fix->engine, key, "in the backup");
	}
	move_to(&backup, ".backup");
	if (!engine_backup(fix->engine, backup.directory, &status))
		fail_msg("%s", status.text);
	put_text(fix->engine, "later", "not in the backup");
	assert_false(engine_backup(fix->engine, backup.directory, &status));
	assert_non_null(strstr(status.text, backup.directory));

	assert_refused(&backup, "--adopt");
	backup.adopt = true;
	fixture_open(&backup);
	assert_int_equal(count_keys(backup.engine), 500);
	assert_value(backup.engine, "k499", "in the backup");
	assert_int_equal(put_text(backup.engine, "k", "").term, 2);
	fixture_close(&backup);
	assert_value(fix->engine, "later", "not in the backup");
}

/* ---- Without sync ---- */

static void
test_unclean_end_without_sync(void **state)
{
	fixture    *fix = *state;
	pid_t		child;
	int			status;

	fixture_close(fix);
	fix->sync = false;
	fixture_open(fix);
	assert_int_equal(put_text(fix->engine, "k", "1").term, 1);
	fixture_reopen(fix);
	assert_int_equal(put_text(fix->engine, "k", "1").term, 1);
	fixture_close(fix);

	child = fork();
	if (child == 0)
	{
		fixture_open(fix);
		put_text(fix->engine, "k", "2");
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	fix->sync = true;
	fixture_open(fix);
	assert_int_equal(put_text(fix->engine, "k", "3").term, 2);
	fixture_reopen(fix);
	assert_int_equal(put_text(fix->engine, "k", "3").term, 2);
}

#define EACH(test) {#test, test, fixture_setup_rocksdb, fixture_teardown, NULL}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_second_open_is_refused),
		EACH(test_lock_goes_with_its_process),
		EACH(test_format),
		EACH(test_strange_directory),
		EACH(test_copy_must_be_adopted),
		EACH(test_restored_in_place_must_be_adopted),
		EACH(test_moved_directory_is_the_same),
		EACH(test_owner),
		EACH(test_backup),
		EACH(test_unclean_end_without_sync),
	};

	return cmocka_run_group_tests_name("engine directory", tests, NULL, NULL);
}
