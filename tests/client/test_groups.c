/*
 * test_groups.c - calls that are started together: that they travel together, and
 * that nobody can tell but by the number of requests.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fake.h"

#define MANY 200
#define ALL_IN_ONE "create,conditional_delete,batch"

static char names[MANY][16];
static norikv_call *calls[MANY];

static void
make_names(void)
{
	for (int i = 0; i < MANY; i++)
		snprintf(names[i], sizeof(names[i]), "key:%03d", i);
}

static void
start_gets(fake_scene *scene, int n, const norikv_call_options *options)
{
	for (int i = 0; i < n; i++)
		calls[i] = norikv_get(scene->client, NORIKV_SLICE(names[i]), options);
}

/* Of n keys from the one of this number on. */
static void
start_puts_from(fake_scene *scene, int first, int n, const char *value)
{
	for (int i = 0; i < n; i++)
	{
		norikv_operation put = fake_put(names[first + i], value);

		calls[i] = norikv_write(scene->client, &put, NULL);
	}
}

static void
start_puts(fake_scene *scene, int n, const char *value)
{
	start_puts_from(scene, 0, n, value);
}

static void
wait_for_all(fake_scene *scene, int n)
{
	assert_int_equal(norikv_wait(scene->client, calls, n, 60000), NORIKV_WAIT_DONE);
	for (int i = 0; i < n; i++)
	{
		if (norikv_call_error(calls[i])->code != NORIKV_OK)
			fail_msg("call %d: %s", i, norikv_call_error(calls[i])->text);
	}
}

static void
free_all(int n)
{
	for (int i = 0; i < n; i++)
		norikv_call_free(calls[i]);
}

static void
expect_got(const norikv_call *call, const char *value)
{
	const norikv_entry *entry = norikv_call_entry(call);

	if (value == NULL)
	{
		assert_int_equal(entry->version.index, 0);
		return;
	}
	assert_int_not_equal(entry->version.index, 0);
	assert_int_equal(entry->value.size, strlen(value));
	assert_memory_equal(entry->value.data, value, strlen(value));
}

/* Two started together make the client ask what the server can do. */
static void
find_out(fake_scene *scene)
{
	make_names();
	norikv_call_free(fake_wait_ok(scene, norikv_get_info(scene->client, NULL)));
}

static void
open_fake(fake_scene *scene, const char *fault, const char *times)
{
	fake_start(scene, 0, "--ext", "1", "--capabilities", ALL_IN_ONE, fault, times, NULL);
	fake_open(scene, 0, 1);
	find_out(scene);
}

/* norikvd instead of the fake server. */
static void
open_norikvd(fake_scene *scene)
{
	fake_start_norikvd(scene);
	fake_open(scene, 0, 1);
	find_out(scene);
}

/* ---- Gets ---- */

static void
test_gets(void **state)
{
	fake_scene *scene = *state;
	norikv_call_stats stats;
	int			gets;
	int			others;

	open_fake(scene, NULL, NULL);
	start_puts(scene, MANY / 2, "v");
	wait_for_all(scene, MANY / 2);
	free_all(MANY / 2);
	gets = fake_count(scene, 0, "gets");
	others = fake_count(scene, 0, "ext");
	start_gets(scene, MANY, NULL);
	wait_for_all(scene, MANY);
	for (int i = 0; i < MANY; i++)
	{
		expect_got(calls[i], i < MANY / 2 ? "v" : NULL);
		assert_memory_equal(norikv_call_entry(calls[i])->key.data, names[i], 7);
		stats = norikv_call_get_stats(calls[i]);
		assert_int_equal(stats.attempts, 1);
		assert_int_equal(stats.retries, 0);
		assert_true(stats.bytes_sent > 0);
	}
	free_all(MANY);
	assert_int_equal(fake_count(scene, 0, "ext"), others + 2);
	assert_int_equal(fake_count(scene, 0, "gets"), gets);
	/* one goes as it always did */
	fake_expect(scene, names[0], "v");
	assert_int_equal(fake_count(scene, 0, "ext"), others + 2);
	assert_int_equal(fake_count(scene, 0, "gets"), gets + 1);
}

/* Nobody asked what the server can do: the second time it is known. */
static void
test_finding_out(void **state)
{
	fake_scene *scene = *state;

	make_names();
	fake_start(scene, 0, "--ext", "1", "--capabilities", ALL_IN_ONE, NULL);
	fake_open(scene, 0, 1);
	for (int round = 0; round < 3; round++)
	{
		start_gets(scene, 10, NULL);
		wait_for_all(scene, 10);
		free_all(10);
		/* the answer to the question has come too */
		norikv_call_free(fake_wait_ok(scene, norikv_get_info(scene->client, NULL)));
	}
	assert_int_equal(fake_count(scene, 0, "gets"), 10);

	/* and where it can do nothing of the kind, nothing changes */
	fake_start(scene, 1, NULL);
	fake_open(scene, 1, 1);
	for (int round = 0; round < 3; round++)
	{
		start_gets(scene, 10, NULL);
		wait_for_all(scene, 10);
		free_all(10);
		start_puts(scene, 10, "v");
		wait_for_all(scene, 10);
		free_all(10);
	}
	assert_int_equal(fake_count(scene, 1, "gets"), 30);
	assert_int_equal(fake_count(scene, 1, "puts"), 30);
	assert_int_equal(fake_count(scene, 1, "ext"), 1);
}

static void
test_terms(void **state)
{
	fake_scene *scene = *state;
	norikv_call_options eventual = {.consistency = "eventual"};
	norikv_call_options slow = {.timeout_ms = 50000};
	int			others;

	open_fake(scene, NULL, NULL);
	others = fake_count(scene, 0, "ext");
	start_gets(scene, 30, NULL);
	for (int i = 0; i < 30; i++)
	{
		norikv_call_free(calls[i]);
		calls[i] = norikv_get(scene->client, NORIKV_SLICE(names[i]),
							  i < 10 ? NULL : i < 20 ? &eventual : &slow);
	}
	wait_for_all(scene, 30);
	free_all(30);
	assert_int_equal(fake_count(scene, 0, "ext"), others + 3);
	assert_int_equal(fake_count(scene, 0, "gets"), 0);
}

static void
test_get_freed(void **state)
{
	fake_scene *scene = *state;

	open_fake(scene, "--delay-ms", "30");
	fake_put_now(scene, names[5], "v");
	for (int polled = 0; polled < 2; polled++)
	{
		start_gets(scene, 20, NULL);
		if (polled)
			assert_int_equal(norikv_wait(scene->client, calls, 20, 0),
							 NORIKV_WAIT_TIMEOUT);
		for (int i = 0; i < 5; i++)
			norikv_call_free(calls[i]);
		assert_int_equal(norikv_wait(scene->client, calls + 5, 15, -1),
						 NORIKV_WAIT_DONE);
		for (int i = 5; i < 20; i++)
		{
			assert_int_equal(norikv_call_error(calls[i])->code, NORIKV_OK);
			expect_got(calls[i], i == 5 ? "v" : NULL);
			norikv_call_free(calls[i]);
		}
		/* all of them, and then the client with some under way */
		start_gets(scene, 20, NULL);
		norikv_wait(scene->client, calls, 20, 0);
		free_all(20);
		start_gets(scene, 20, NULL);
		norikv_wait(scene->client, calls, 20, 0);
		/* Of other keys: whether they are executed is not known. */
		start_puts_from(scene, 20, 20, "w");
		norikv_wait(scene->client, calls, 20, 0);
		norikv_call_free(calls[3]);
		fake_open(scene, 0, 1);
		find_out(scene);
	}
}

/* Whatever becomes of the request, each call gets its answer. */
static void
test_faults(void **state)
{
	static const char *const faults[] = {"--garbage-batch", "--break-stream", "--hang"};
	fake_scene *scene = *state;

	scene->options.attempt_timeout_ms = 500;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
	{
		open_fake(scene, faults[i], "4");
		for (int round = 0; round < 4; round++)
		{
			start_gets(scene, 50, NULL);
			wait_for_all(scene, 50);
			free_all(50);
		}
		fake_stop(scene, 0);
	}
}

/* ---- Writes ---- */

static void
test_puts(void **state)
{
	fake_scene *scene = *state;
	norikv_call_options own = {.idempotency_key = NORIKV_SLICE("mine")};
	norikv_operation put;
	char		key[600];
	int			others;

	open_fake(scene, NULL, NULL);
	others = fake_count(scene, 0, "ext");
	start_puts(scene, 50, "v");
	wait_for_all(scene, 50);
	free_all(50);
	fake_expect(scene, names[49], "v");
	fake_ask(scene, 0, "idempotency_key", key, sizeof(key));
	assert_memory_equal(key, "~nk1/", 5);
	assert_int_equal(fake_count(scene, 0, "puts"), 0);
	assert_int_equal(fake_count(scene, 0, "ext"), others + 1);
	/* under the caller's own idempotency key it goes alone */
	start_puts(scene, 20, "v");
	norikv_call_free(calls[5]);
	put = fake_put(names[5], "w");
	calls[5] = norikv_write(scene->client, &put, &own);
	wait_for_all(scene, 20);
	free_all(20);
	fake_expect(scene, names[5], "w");
	assert_int_equal(fake_count(scene, 0, "puts"), 1);
	assert_int_equal(fake_count(scene, 0, "ext"), others + 2);
}

/* An answer that was lost: the whole is repeated, and takes effect once. */
static void
test_puts_lost(void **state)
{
	fake_scene *scene = *state;

	scene->options.attempt_timeout_ms = 300;
	open_fake(scene, "--lose", "1");
	start_puts(scene, 50, "v");
	wait_for_all(scene, 50);
	for (int i = 0; i < 50; i++)
		assert_true(norikv_call_get_stats(calls[i]).retries >= 1);
	free_all(50);
	assert_int_equal(fake_count(scene, 0, "applied"), 50);
	assert_int_equal(fake_count(scene, 0, "puts"), 0);
}

/* Nobody answers: every one of them may have taken effect. */
static void
test_puts_unknown(void **state)
{
	fake_scene *scene = *state;

	scene->options.timeout_ms = 3000;
	scene->options.attempt_timeout_ms = 500;
	open_fake(scene, "--lose", "-1");
	start_puts(scene, 20, "v");
	assert_int_equal(norikv_wait(scene->client, calls, 20, -1), NORIKV_WAIT_DONE);
	for (int i = 0; i < 20; i++)
	{
		const norikv_error *error = norikv_call_error(calls[i]);
		size_t		n;

		assert_true(error->outcome_unknown);
		assert_false(error->never_sent);
		assert_non_null(strstr(error->text, "Put of \"key:0"));
		assert_true(norikv_call_results(calls[i], &n)->outcome_unknown);
		assert_int_equal(n, 1);
	}
	free_all(20);
}

/*
 * A put that was freed with its group under way may still take effect, when the
 * group is repeated. A later put of the same key must come after it.
 */
static void
test_freed_put_does_not_come_back(void **state)
{
	fake_scene *scene = *state;

	scene->options.attempt_timeout_ms = 1000;
	open_fake(scene, NULL, NULL);
	fake_stop(scene, 0);
	fake_start(scene, 0, "--ext", "1", "--capabilities", ALL_IN_ONE, NULL);
	for (int i = 0; i < 4; i++)
	{
		norikv_call *later;
		norikv_operation put = fake_put(names[1], "later");

		find_out(scene);
		/* its process stands still, and the request is lost with it */
		kill(scene->servers[0].pid, SIGSTOP);
		start_puts(scene, 5, "earlier");
		norikv_wait(scene->client, calls, 5, 10);
		assert_int_equal(norikv_call_get_stats(calls[1]).attempts, 1);
		norikv_call_free(calls[1]);
		later = i % 2 ? norikv_write(scene->client, &put, NULL)
			: norikv_commit(scene->client, &put, 1, true, NULL);
		norikv_wait(scene->client, &later, 1, 10);
		fake_stop(scene, 0);
		fake_start(scene, 0, "--ext", "1", "--capabilities", ALL_IN_ONE, NULL);
		fake_wait_ok(scene, later);
		norikv_call_free(later);
		calls[1] = calls[0];
		assert_int_equal(norikv_wait(scene->client, calls, 5, 60000), NORIKV_WAIT_DONE);
		fake_expect(scene, names[1], "later");
		fake_expect(scene, names[2], "earlier");
		calls[1] = NULL;
		free_all(5);
	}
}

/* Writes of one key in their order, whoever travels with them. */
static void
test_order(void **state)
{
	fake_scene *scene = *state;
	char		value[16];
	uint64_t	last[3] = {0};
	size_t		n;

	open_norikvd(scene);
	for (int i = 0; i < MANY; i++)
	{
		norikv_operation put;

		snprintf(value, sizeof(value), "%d", i);
		put = fake_put(names[i % 7 < 3 ? i % 7 : i], value);
		calls[i] = norikv_write(scene->client, &put, NULL);
	}
	wait_for_all(scene, MANY);
	for (int i = 0; i < MANY; i++)
	{
		uint64_t	index = norikv_call_results(calls[i], &n)->version.index;

		if (i % 7 < 3)
		{
			assert_true(index > last[i % 7]);
			last[i % 7] = index;
		}
	}
	free_all(MANY);
	fake_expect(scene, names[0], "196");
	fake_expect(scene, names[2], "198");
}

/* What each is told when its neighbours fare differently. */
static void
test_each_its_own(void **state)
{
	fake_scene *scene = *state;
	norikv_operation list[6];
	norikv_version version;
	const norikv_error *error;
	size_t		n;

	open_norikvd(scene);
	version = fake_put_now(scene, names[0], "v");
	fake_put_now(scene, names[5], "v");
	list[0] = fake_put(names[0], "w");
	list[0].condition = NORIKV_IF_VERSION;
	list[0].version = (norikv_version) {version.term, version.index + 50};
	list[1] = fake_put(names[1], "w");
	list[1].condition = NORIKV_IF_ABSENT;
	list[2] = fake_put(names[5], "w");
	list[2].condition = NORIKV_IF_ABSENT;
	list[3] = (norikv_operation) {
		.kind = NORIKV_OP_DELETE, .key = NORIKV_SLICE(names[3])};
	list[4] = list[3];
	list[4].key = NORIKV_SLICE(names[4]);
	list[4].condition = NORIKV_IF_VERSION;
	list[4].version = version;
	list[5] = fake_put(names[6], "");
	list[5].ttl = NORIKV_TTL_SET;
	list[5].ttl_ms = 1000000;
	for (int i = 0; i < 6; i++)
		calls[i] = norikv_write(scene->client, &list[i], NULL);
	assert_int_equal(norikv_wait(scene->client, calls, 6, -1), NORIKV_WAIT_DONE);

	error = norikv_call_error(calls[0]);
	assert_int_equal(error->code, NORIKV_FAILED_PRECONDITION);
	assert_true(error->version_mismatch);
	assert_int_equal(error->expected.index, version.index + 50);
	assert_int_equal(error->present.index, version.index);
	assert_false(error->outcome_unknown);
	assert_int_equal(norikv_call_results(calls[0], &n)->version.index, version.index);
	assert_int_equal(norikv_call_error(calls[1])->code, NORIKV_OK);
	assert_true(norikv_call_results(calls[1], &n)->version.index > version.index);
	assert_true(norikv_call_error(calls[2])->version_mismatch);
	assert_int_equal(norikv_call_error(calls[3])->code, NORIKV_OK);
	assert_false(norikv_call_results(calls[3], &n)->existed);
	error = norikv_call_error(calls[4]);
	assert_true(error->version_mismatch);
	assert_int_equal(error->present.index, 0);
	assert_non_null(strstr(error->text, "Delete of \"key:004\""));
	assert_int_equal(norikv_call_error(calls[5])->code, NORIKV_OK);
	for (int i = 0; i < 6; i++)
		assert_int_equal(norikv_call_get_stats(calls[i]).attempts, 1);
	free_all(6);
	fake_expect(scene, names[0], "v");
	fake_expect(scene, names[1], "w");
	fake_expect(scene, names[6], "");
}

/* The longest keys there can be, and values of which few go into a request. */
static void
test_bounds(void **state)
{
	static char keys[MANY][NORIKV_MAX_KEY];
	static char value[NORIKV_MAX_VALUE];
	fake_scene *scene = *state;

	open_norikvd(scene);
	memset(keys, 'k', sizeof(keys));
	for (int i = 0; i < MANY; i++)
	{
		norikv_operation put = {.kind = NORIKV_OP_PUT, .key = {keys[i], NORIKV_MAX_KEY}};

		memcpy(keys[i], names[i], 7);
		put.value = (norikv_slice) {value, i < 5 ? sizeof(value) - i
			: i < 10 ? 400000 : i};
		calls[i] = norikv_write(scene->client, &put, NULL);
	}
	wait_for_all(scene, MANY);
	free_all(MANY);
	for (int i = 0; i < MANY; i++)
		calls[i] = norikv_get(scene->client, (norikv_slice) {keys[i], NORIKV_MAX_KEY},
							  NULL);
	wait_for_all(scene, MANY);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(norikv_call_entry(calls[i])->value.size,
						 i < 5 ? sizeof(value) - i : i < 10 ? 400000 : i);
	free_all(MANY);
}

/* ---- Through a bad network ---- */

#define SWAPS 32

/* Nobody else writes, so a condition that does not hold was met twice. */
static void
test_once(void **state)
{
	const char *stress = getenv("NORIKV_STRESS");
	int			rounds = stress != NULL && strcmp(stress, "1") == 0 ? 150 : 15;
	fake_scene *scene = *state;
	norikv_version versions[SWAPS] = {{0, 0}};
	char		listening[320];
	char		upstream[320];
	const char *faults[] = {listening, upstream, "--drop-answer=0.1",
		"--delay-answer=0.1:300", "--delay-request=0.05:600", "--duplicate=0.1:500",
	"--cut=0.02", "--refuse=0.05", "--seed=11", NULL};
	char		value[16];
	size_t		n;

	scene->options.attempt_timeout_ms = 200;
	open_norikvd(scene);
	snprintf(listening, sizeof(listening), "--listen=%s", scene->nodes[1]);
	snprintf(upstream, sizeof(upstream), "--upstream=%s", scene->nodes[0]);
	assert_true(program_start(&scene->servers[1], "tests/tools/proxy", faults));
	fake_open(scene, 1, 1);
	for (int round = 0; round < rounds; round++)
	{
		snprintf(value, sizeof(value), "%d", round);
		for (int i = 0; i < SWAPS; i++)
		{
			norikv_operation put = fake_put(names[i], value);

			put.condition = round == 0 ? NORIKV_IF_ABSENT : NORIKV_IF_VERSION;
			put.version = versions[i];
			calls[i] = norikv_write(scene->client, &put, NULL);
		}
		wait_for_all(scene, SWAPS);
		for (int i = 0; i < SWAPS; i++)
			versions[i] = norikv_call_results(calls[i], &n)->version;
		free_all(SWAPS);
		start_gets(scene, SWAPS, NULL);
		wait_for_all(scene, SWAPS);
		for (int i = 0; i < SWAPS; i++)
			expect_got(calls[i], value);
		free_all(SWAPS);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_gets), TEST(test_finding_out), TEST(test_terms), TEST(test_get_freed),
		TEST(test_faults), TEST(test_puts), TEST(test_puts_lost),
		TEST(test_puts_unknown), TEST(test_freed_put_does_not_come_back),
		TEST(test_order), TEST(test_each_its_own), TEST(test_bounds), TEST(test_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
