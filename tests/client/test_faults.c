/*
 * test_faults.c - requests to servers that are away, hang, refuse, answer late,
 * not at all or with garbage: what is repeated, and what is said of the outcome.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "support/fake.h"

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static norikv_call *
put_anyhow(fake_scene *scene, const char *key, const char *value)
{
	norikv_operation put = fake_put(key, value);

	return fake_wait(scene, norikv_write(scene->client, &put, NULL));
}

static norikv_call *
get_anyhow(fake_scene *scene, const char *key)
{
	return fake_wait(scene, norikv_get(scene->client, NORIKV_SLICE(key), NULL));
}

/* The write's outcome must be reported like this. */
static void
expect_outcome(norikv_call *call, norikv_code code, bool unknown, bool never_sent)
{
	const norikv_error *error = norikv_call_error(call);
	const norikv_operation_result *result;
	size_t		n;

	if (error->code != code)
		fail_msg("code %d, not %d: %s", error->code, code, error->text);
	assert_int_equal(error->outcome_unknown, unknown);
	assert_int_equal(error->never_sent, never_sent);
	assert_false(unknown && error->retriable);
	result = norikv_call_results(call, &n);
	if (n > 0)
	{
		assert_int_equal(result->code, code);
		assert_int_equal(result->outcome_unknown, unknown);
	}
	norikv_call_free(call);
}

/* ---- Away, or not the leader ---- */

static void
test_nobody_there(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	scene->options.timeout_ms = 200;
	fake_open(scene, 0, 1);
	call = put_anyhow(scene, "k", "v");
	assert_true(norikv_call_error(call)->retriable);
	assert_int_equal(norikv_call_get_stats(call).attempts, 0);
	assert_non_null(strstr(norikv_call_error(call)->text, scene->nodes[0]));
	/* and why */
	assert_non_null(strstr(norikv_call_error(call)->text, "No such file"));
	expect_outcome(call, NORIKV_UNAVAILABLE, false, true);
	expect_outcome(get_anyhow(scene, "k"), NORIKV_UNAVAILABLE, false, true);
}

static void
test_first_node_away(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 1, NULL);
	fake_open(scene, 0, 2);
	fake_put_now(scene, "k", "v");
	/* and it is not asked again each time */
	call = fake_wait_ok(scene, norikv_get(scene->client, NORIKV_SLICE("k"), NULL));
	assert_int_equal(norikv_call_get_stats(call).attempts, 1);
	norikv_call_free(call);
}

static void
test_server_comes_late(void **state)
{
	fake_scene *scene = *state;
	norikv_operation put = fake_put("k", "v");
	norikv_call *call;

	fake_open(scene, 0, 1);
	call = norikv_write(scene->client, &put, NULL);
	assert_int_equal(norikv_wait(scene->client, &call, 1, 200), NORIKV_WAIT_TIMEOUT);
	assert_false(norikv_call_done(call));
	fake_start(scene, 0, NULL);
	norikv_call_free(fake_wait_ok(scene, call));
	fake_expect(scene, "k", "v");
}

static void
test_not_leader_yet(void **state)
{
	fake_scene *scene = *state;
	norikv_operation put = fake_put("k", "v");
	norikv_call *call;

	fake_start(scene, 0, "--not-leader-ms", "350", NULL);
	fake_open(scene, 0, 1);
	call = fake_wait_ok(scene, norikv_write(scene->client, &put, NULL));
	assert_true(norikv_call_get_stats(call).attempts > 1);
	norikv_call_free(call);
}

static void
test_never_leader(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, "--not-leader", "1", NULL);
	scene->options.timeout_ms = 300;
	fake_open(scene, 0, 1);
	call = put_anyhow(scene, "k", "v");
	assert_true(norikv_call_error(call)->retriable);
	assert_non_null(strstr(norikv_call_error(call)->text, "NOT_LEADER"));
	assert_true(norikv_call_get_stats(call).attempts > 2);
	expect_outcome(call, NORIKV_UNAVAILABLE, false, false);
}

static void
test_other_is_leader(void **state)
{
	fake_scene *scene = *state;
	norikv_operation put = fake_put("k", "v");
	norikv_call *call;

	fake_start(scene, 0, "--not-leader", "1", NULL);
	fake_start(scene, 1, NULL);
	fake_open(scene, 0, 2);
	call = fake_wait_ok(scene, norikv_write(scene->client, &put, NULL));
	assert_int_equal(norikv_call_get_stats(call).attempts, 2);
	norikv_call_free(call);
	fake_expect(scene, "k", "v");
}

static void
test_retries_are_limited(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, "--not-leader", "1", NULL);
	scene->options.max_retries = 2;
	fake_open(scene, 0, 1);
	call = get_anyhow(scene, "k");
	assert_int_equal(norikv_call_get_stats(call).attempts, 3);
	expect_outcome(call, NORIKV_UNAVAILABLE, false, false);
}

/* ---- Silent ---- */

static void
test_hanging_node(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, "--hang", "-1", NULL);
	fake_start(scene, 1, NULL);
	scene->options.attempt_timeout_ms = 150;
	fake_open(scene, 0, 2);
	fake_put_now(scene, "k", "v");
	call = fake_wait_ok(scene, norikv_get(scene->client, NORIKV_SLICE("k"), NULL));
	assert_int_equal(norikv_call_get_stats(call).attempts, 1);
	norikv_call_free(call);
}

static void
test_hanging_server(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, "--hang", "-1", NULL);
	scene->options.attempt_timeout_ms = 100;
	scene->options.timeout_ms = 350;
	fake_open(scene, 0, 1);
	expect_outcome(put_anyhow(scene, "k", "v"), NORIKV_DEADLINE_EXCEEDED, true, false);
	expect_outcome(get_anyhow(scene, "k"), NORIKV_DEADLINE_EXCEEDED, false, false);
}

static void
test_hangs_once(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, "--hang", "1", NULL);
	scene->options.attempt_timeout_ms = 100;
	fake_open(scene, 0, 1);
	fake_put_now(scene, "k", "v");
	assert_int_equal(fake_count(scene, 0, "applied"), 1);
}

static void
test_late_answers(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, "--delay-ms", "300", NULL);
	scene->options.attempt_timeout_ms = 100;
	scene->options.timeout_ms = 400;
	fake_open(scene, 0, 1);
	expect_outcome(put_anyhow(scene, "k", "v"), NORIKV_DEADLINE_EXCEEDED, true, false);
	/* it was executed, once, for all the attempts */
	assert_int_equal(fake_count(scene, 0, "applied"), 1);
	scene->options.attempt_timeout_ms = 2000;
	scene->options.timeout_ms = 5000;
	fake_open(scene, 0, 1);
	fake_expect(scene, "k", "v");
}

/* ---- Lost answers ---- */

static void
test_lost_answer(void **state)
{
	fake_scene *scene = *state;
	char		key[600];

	fake_start(scene, 0, "--lose", "2", NULL);
	scene->options.attempt_timeout_ms = 100;
	fake_open(scene, 0, 1);
	fake_put_now(scene, "k", "v");
	assert_int_equal(fake_count(scene, 0, "puts"), 3);
	assert_int_equal(fake_count(scene, 0, "applied"), 1);
	fake_ask(scene, 0, "idempotency_key", key, sizeof(key));
	assert_memory_equal(key, "~nk1/", 5);
	assert_string_equal(key + strlen(key) - 4, "/0/1");
	/* the slot goes on with the next number */
	fake_put_now(scene, "k", "w");
	fake_ask(scene, 0, "idempotency_key", key, sizeof(key));
	assert_string_equal(key + strlen(key) - 4, "/0/2");
	fake_expect(scene, "k", "w");
}

static void
test_own_idempotency_key(void **state)
{
	fake_scene *scene = *state;
	norikv_call_options options = {.idempotency_key = NORIKV_SLICE("order 7")};
	norikv_operation put = fake_put("k", "v");
	char		key[600];

	fake_start(scene, 0, "--lose", "1", NULL);
	scene->options.attempt_timeout_ms = 100;
	fake_open(scene, 0, 1);
	norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &put, &options)));
	fake_ask(scene, 0, "idempotency_key", key, sizeof(key));
	assert_string_equal(key, "order 7");
	assert_int_equal(fake_count(scene, 0, "applied"), 1);
}

static void
test_statuses_that_hide_a_write(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, "--timeout-expired", "1", "--commit-timeout", "1", NULL);
	fake_open(scene, 0, 1);
	fake_put_now(scene, "k", "v");
	assert_int_equal(fake_count(scene, 0, "puts"), 3);
	assert_int_equal(fake_count(scene, 0, "applied"), 1);
}

static void
test_they_never_end(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, "--timeout-expired", "-1", NULL);
	fake_start(scene, 1, "--commit-timeout", "-1", NULL);
	scene->options.timeout_ms = 300;
	fake_open(scene, 0, 1);
	expect_outcome(put_anyhow(scene, "k", "v"), NORIKV_CANCELLED, true, false);
	fake_open(scene, 1, 1);
	expect_outcome(put_anyhow(scene, "k", "v"), NORIKV_INTERNAL, true, false);
}

/* A refusal that follows a lost attempt does not say that the lost one did nothing. */
static void
test_refused_after_lost(void **state)
{
	fake_scene *scene = *state;
	norikv_version version;
	norikv_operation put = fake_put("k", "w");

	fake_start(scene, 0, NULL);
	fake_start(scene, 1, "--ext", "1", NULL);
	scene->options.attempt_timeout_ms = 100;
	for (int server = 0; server < 2; server++)
	{
		norikv_call *call;

		fake_open(scene, server, 1);
		version = fake_put_now(scene, "k", "v");
		fake_stop(scene, server);
		/* dies in the first call, forgets everything, and refuses the second */
		if (server == 0)
			fake_start(scene, server, "--die", "1", NULL);
		else
			fake_start(scene, server, "--ext", "1", "--die", "1", NULL);
		put.condition = NORIKV_IF_VERSION;
		put.version = version;
		call = norikv_write(scene->client, &put, NULL);
		norikv_wait(scene->client, &call, 1, 400);
		assert_false(norikv_call_done(call));
		fake_stop(scene, server);
		if (server == 0)
			fake_start(scene, server, NULL);
		else
			fake_start(scene, server, "--ext", "1", NULL);
		fake_wait(scene, call);
		assert_true(norikv_call_error(call)->version_mismatch);
		/* a server with norikv.ext.v1 keeps what it knows with the data */
		expect_outcome(call, NORIKV_FAILED_PRECONDITION, server == 0, false);
	}
}

/* ---- Connections that end ---- */

static void
test_server_dies(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, "--die", "1", NULL);
	scene->options.timeout_ms = 300;
	fake_open(scene, 0, 1);
	call = put_anyhow(scene, "k", "v");
	assert_true(norikv_call_get_stats(call).attempts >= 1);
	expect_outcome(call, NORIKV_UNAVAILABLE, true, false);
	fake_stop(scene, 0);
	fake_start(scene, 0, NULL);
	scene->options.timeout_ms = 5000;
	fake_put_now(scene, "k", "v");
}

static void
test_connections_age(void **state)
{
	fake_scene *scene = *state;
	int64_t		end = now_ms() + 700;
	char		value[32];

	fake_start(scene, 0, "--max-age-ms", "50", NULL);
	fake_open(scene, 0, 1);
	for (int i = 0; now_ms() < end; i++)
	{
		snprintf(value, sizeof(value), "%d", i);
		fake_put_now(scene, "k", value);
		fake_expect(scene, "k", value);
	}
}

/* ---- Answers that are none ---- */

static void
test_garbage(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, "--garbage", "-1", NULL);
	fake_start(scene, 1, "--empty", "-1", NULL);
	for (int server = 0; server < 2; server++)
	{
		norikv_call *call;

		fake_open(scene, server, 1);
		expect_outcome(put_anyhow(scene, "k", "v"), NORIKV_INTERNAL, true, false);
		call = get_anyhow(scene, "k");
		assert_false(norikv_call_error(call)->retriable);
		expect_outcome(call, NORIKV_INTERNAL, false, false);
		call = fake_wait(scene, norikv_health(scene->client, NULL));
		assert_int_equal(norikv_call_error(call)->code, NORIKV_INTERNAL);
		norikv_call_free(call);
	}
}

static void
test_too_large(void **state)
{
	fake_scene *scene = *state;
	char		big[2000];
	norikv_call *call;

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	fake_start(scene, 0, "--too-large", "1000", NULL);
	fake_open(scene, 0, 1);
	call = put_anyhow(scene, "k", big);
	assert_int_equal(norikv_call_get_stats(call).attempts, 1);
	assert_false(norikv_call_error(call)->retriable);
	expect_outcome(call, NORIKV_RESOURCE_EXHAUSTED, false, false);
}

static void
test_not_serving(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, NULL);
	fake_start(scene, 1, "--not-serving", "1", NULL);
	fake_open(scene, 0, 1);
	norikv_call_free(fake_wait_ok(scene, norikv_health(scene->client, NULL)));
	fake_open(scene, 1, 1);
	call = fake_wait(scene, norikv_health(scene->client, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_UNAVAILABLE);
	norikv_call_free(call);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_nobody_there),
		TEST(test_first_node_away),
		TEST(test_server_comes_late),
		TEST(test_not_leader_yet),
		TEST(test_never_leader),
		TEST(test_other_is_leader),
		TEST(test_retries_are_limited),
		TEST(test_hanging_node),
		TEST(test_hanging_server),
		TEST(test_hangs_once),
		TEST(test_late_answers),
		TEST(test_lost_answer),
		TEST(test_own_idempotency_key),
		TEST(test_statuses_that_hide_a_write),
		TEST(test_they_never_end),
		TEST(test_refused_after_lost),
		TEST(test_server_dies),
		TEST(test_connections_age),
		TEST(test_garbage),
		TEST(test_too_large),
		TEST(test_not_serving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
