/*
 * test_cli.c - norikv, the command line: what it prints, byte for byte, and its
 * exit codes.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fake.h"

static char output[4096];
static size_t output_size;

/* Runs norikv with these words of a shell; its output stays in output. */
static int
run(fake_scene *scene, const char *words)
{
	char		command[2000];
	FILE	   *pipe;
	int			status;

	snprintf(command, sizeof(command), "NORIKV_NODES=%s '%s'/norikv %s 2>&1",
			 scene->nodes[0], build_dir(), words);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	output_size = fread(output, 1, sizeof(output) - 1, pipe);
	output[output_size] = '\0';
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
expect_output(const char *bytes, size_t size)
{
	assert_int_equal(output_size, size);
	assert_memory_equal(output, bytes, size);
}

#define EXPECT(literal) expect_output(literal, sizeof(literal) - 1)

static void
test_keys(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, "--ext", "1", "--capabilities", "create,conditional_delete",
			   NULL);
	assert_int_equal(run(scene, "put k 'a b'"), 0);
	EXPECT("0/1\n");
	assert_int_equal(run(scene, "get k"), 0);
	EXPECT("a b");
	assert_int_equal(run(scene, "get none"), 1);
	EXPECT("");
	assert_int_equal(run(scene, "--if-version 0/7 put k c"), 1);
	assert_non_null(strstr(output, "Version mismatch"));
	assert_int_equal(run(scene, "put --if-version 0/1 k c"), 0);
	assert_int_equal(run(scene, "delete k"), 0);
	assert_int_equal(run(scene, "delete k"), 1);
	assert_int_equal(run(scene, "put e ''"), 0);
	assert_int_equal(run(scene, "get e"), 0);
	EXPECT("");
}

static void
test_bytes(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, "--ext", "1", NULL);
	assert_int_equal(run(scene, "put --hex 00ff7e - < /dev/null"), 0);
	assert_int_equal(run(scene, "put b \"$(printf 'x\\ty\\\\z\\nw')\""), 0);
	assert_int_equal(run(scene, "get b"), 0);
	EXPECT("x\ty\\z\nw");
	assert_int_equal(run(scene, "scan"), 0);
	EXPECT("\\x00\xff~\t\nb\tx\\ty\\\\z\\nw\n");
	assert_int_equal(run(scene, "scan --hex --keys-only"), 0);
	EXPECT("00ff7e\n62\n");
	assert_int_equal(run(scene, "scan -0 b"), 0);
	EXPECT("b\0x\ty\\z\nw\0");
	assert_int_equal(run(scene, "scan --limit 1 --hex"), 0);
	EXPECT("00ff7e\t\n");
	assert_int_equal(run(scene, "scan --start c"), 0);
	EXPECT("");
	assert_int_equal(run(scene, "get --hex 00ff7e"), 0);
	EXPECT("");
	/* a value longer than there can be is not cut */
	assert_int_equal(run(scene, "put big < /dev/zero"), 2);
	assert_non_null(strstr(output, "1048576"));
}

static void
test_usage(void **state)
{
	static const char *const wrong[] = {
		"",
		"bogus",
		"get",
		"get a b",
		"put",
		"delete",
		"ping x",
		"--bogus",
		"get --timeout 0 a",
		"get --timeout 5x a",
		"put --ttl -1 a b",
		"put --ttl 1y a b",
		"put --if-version 7 a b",
		"put --if-version 1/0 a b",
		"put --if-absent --if-version 1/1 a b",
		"get --hex abc",
		"get --hex zz",
		"scan p --start q",
		"scan --limit none",
		"-n 'a b' get k",
		"get ''",
		"-c lease get k",
		"--timeout 99999999999999999999 get a",
		"watch --interval 0 k",
	};
	fake_scene *scene = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		if (run(scene, wrong[i]) != 2 || output_size == 0)
			fail_msg("norikv %s: %s", wrong[i], output);
	}
	assert_int_equal(run(scene, "--help"), 0);
	assert_non_null(strstr(output, "Exit codes"));
	assert_int_equal(run(scene, "--version"), 0);
}

static void
test_failures(void **state)
{
	fake_scene *scene = *state;

	assert_int_equal(run(scene, "--timeout 200ms get k"), 3);
	assert_non_null(strstr(output, scene->nodes[0]));
	fake_start(scene, 0, "--lose", "-1", NULL);
	assert_int_equal(run(scene, "-t 300ms put k v"), 4);
	assert_non_null(strstr(output, "not known"));
	assert_int_equal(run(scene, "scan"), 3);
	assert_non_null(strstr(output, "has no Scan"));
	assert_int_equal(run(scene, "get k > /dev/full"), 3);
}

static void
test_others(void **state)
{
	fake_scene *scene = *state;
	char		words[1000];
	double		ms;

	fake_start(scene, 0, "--ext", "1", NULL);
	assert_int_equal(run(scene, "ping"), 0);
	assert_int_equal(sscanf(output, "%lf ms", &ms), 1);
	assert_int_equal(run(scene, "info"), 0);
	assert_memory_equal(output, "name\tfake\n", 10);
	assert_int_equal(run(scene, "put k 1"), 0);
	assert_int_equal(run(scene, "watch --changes 1 k"), 0);
	EXPECT("1\n");
	/* it sees the write that is made while it looks */
	snprintf(words, sizeof(words), "watch --interval 20ms --changes 2 k & sleep 0.2; "
			 "NORIKV_NODES=%s '%s'/norikv put k 2 > /dev/null; wait", scene->nodes[0],
			 build_dir());
	assert_int_equal(run(scene, words), 0);
	EXPECT("1\n2\n");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_keys), TEST(test_bytes), TEST(test_usage), TEST(test_failures),
		TEST(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
