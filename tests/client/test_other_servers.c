/*
 * test_other_servers.c - what the client does where a server cannot do all that
 * norikvd can: create and delete with a condition, and what it believes of a view
 * of the cluster.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fake.h"

/* ---- Compare-and-swap in two steps ---- */

static bool
says_atomic(fake_scene *scene)
{
	norikv_call *call = fake_wait_ok(scene, norikv_get_info(scene->client, NULL));
	bool		atomic = norikv_call_info(call)->atomic_cas;

	norikv_call_free(call);
	return atomic;
}

static void
test_info(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call;

	fake_start(scene, 0, NULL);
	fake_start(scene, 1, "--ext", "1", "--capabilities", "scan,create", NULL);
	fake_open(scene, 0, 1);
	call = fake_wait_ok(scene, norikv_get_info(scene->client, NULL));
	assert_string_equal(norikv_call_info(call)->name, "");
	assert_true(norikv_call_info(call)->ttl);
	assert_false(norikv_call_info(call)->create);
	norikv_call_free(call);
	assert_false(says_atomic(scene));
	fake_open(scene, 1, 1);
	call = fake_wait_ok(scene, norikv_get_info(scene->client, NULL));
	assert_string_equal(norikv_call_info(call)->name, "fake");
	assert_true(norikv_call_info(call)->scan && norikv_call_info(call)->create);
	assert_false(norikv_call_info(call)->ttl);
	norikv_call_free(call);
	assert_false(says_atomic(scene));
	scene->options.trust_cas = true;
	fake_open(scene, 0, 1);
	assert_true(says_atomic(scene));
	fake_stop(scene, 1);
	scene->options.trust_cas = false;
	fake_start(scene, 1, "--ext", "1", "--capabilities", "atomic_cas", NULL);
	fake_open(scene, 1, 1);
	assert_true(says_atomic(scene));
}

/* The fake does what NoriKV's server does: this is why atomic_cas is not believed. */
static void
test_two_winners(void **state)
{
	fake_scene *scene = *state;
	norikv_operation put = fake_put("k", "w");
	norikv_call *calls[2];

	fake_start(scene, 0, "--cas-gap-ms", "100", NULL);
	fake_open(scene, 0, 1);
	put.version = fake_put_now(scene, "k", "v");
	put.condition = NORIKV_IF_VERSION;
	for (int i = 0; i < 2; i++)
		calls[i] = norikv_write(scene->client, &put, NULL);
	assert_int_equal(norikv_wait(scene->client, calls, 2, -1), NORIKV_WAIT_DONE);
	for (int i = 0; i < 2; i++)
	{
		assert_int_equal(norikv_call_error(calls[i])->code, NORIKV_OK);
		norikv_call_free(calls[i]);
	}
}

static void
test_version_from_get(void **state)
{
	fake_scene *scene = *state;
	norikv_operation put = fake_put("k", "w");
	norikv_call *call;

	fake_start(scene, 0, "--other-put-version", "1", NULL);
	fake_open(scene, 0, 1);
	put.condition = NORIKV_IF_VERSION;
	put.version = fake_put_now(scene, "k", "v");
	call = fake_wait(scene, norikv_write(scene->client, &put, NULL));
	assert_true(norikv_call_error(call)->version_mismatch);
	assert_int_equal(norikv_call_error(call)->expected.index, put.version.index);
	norikv_call_free(call);
	call = fake_wait_ok(scene, norikv_get(scene->client, NORIKV_SLICE("k"), NULL));
	put.version = norikv_call_entry(call)->version;
	norikv_call_free(call);
	norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &put, NULL)));
}

/* ---- Create ---- */

static bool
create(fake_scene *scene, const char *key, const char *value)
{
	norikv_operation put = fake_put(key, value);
	norikv_call *call;
	bool		created;

	put.condition = NORIKV_IF_ABSENT;
	call = fake_wait(scene, norikv_write(scene->client, &put, NULL));
	created = norikv_call_error(call)->code == NORIKV_OK;
	if (!created)
	{
		assert_int_equal(norikv_call_error(call)->code, NORIKV_FAILED_PRECONDITION);
		assert_true(norikv_call_error(call)->version_mismatch);
		assert_int_not_equal(norikv_call_error(call)->present.index, 0);
	}
	norikv_call_free(call);
	return created;
}

static void
delete_now(fake_scene *scene, const char *key)
{
	norikv_operation delete = {.kind = NORIKV_OP_DELETE, .key = NORIKV_SLICE(key)};

	norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &delete, NULL)));
}

static void
test_create(void **state)
{
	fake_scene *scene = *state;

	fake_start(scene, 0, NULL);
	fake_open(scene, 0, 1);
	assert_true(create(scene, "k", "first"));
	assert_false(create(scene, "k", "second"));
	fake_expect(scene, "k", "first");
	/* deleted keys can be created again, as often as one likes within reason */
	for (int i = 0; i < 5; i++)
	{
		char		value[32];

		delete_now(scene, "k");
		snprintf(value, sizeof(value), "life %d", i);
		assert_true(create(scene, "k", value));
		fake_expect(scene, "k", value);
	}
	/* empty values, and a key that was never put this way */
	assert_true(create(scene, "e", ""));
	assert_false(create(scene, "e", "full"));
	fake_put_now(scene, "p", "v");
	assert_false(create(scene, "p", "w"));
	/* what the server can do was asked once */
	assert_int_equal(fake_count(scene, 0, "ext"), 1);
}

static void
test_creators_race(void **state)
{
	enum
	{
		RACERS = 20
	};
	fake_scene *scene = *state;
	norikv_call *calls[RACERS];
	char		values[RACERS][32];
	int			winner = -1;

	fake_start(scene, 0, "--delay-ms", "20", NULL);
	fake_open(scene, 0, 1);
	for (int i = 0; i < RACERS; i++)
	{
		norikv_operation put;

		snprintf(values[i], sizeof(values[i]), "racer %d", i);
		put = fake_put("k", values[i]);
		put.condition = NORIKV_IF_ABSENT;
		calls[i] = norikv_write(scene->client, &put, NULL);
	}
	assert_int_equal(norikv_wait(scene->client, calls, RACERS, -1), NORIKV_WAIT_DONE);
	for (int i = 0; i < RACERS; i++)
	{
		if (norikv_call_error(calls[i])->code == NORIKV_OK)
		{
			assert_int_equal(winner, -1);
			winner = i;
		}
		else
			assert_true(norikv_call_error(calls[i])->version_mismatch);
		norikv_call_free(calls[i]);
	}
	assert_int_not_equal(winner, -1);
	fake_expect(scene, "k", values[winner]);
	assert_int_equal(fake_count(scene, 0, "applied"), 1);
}

static void
test_create_is_lost(void **state)
{
	fake_scene *scene = *state;
	norikv_operation put = fake_put("k", "v");
	norikv_call *call;

	fake_start(scene, 0, "--lose", "1", NULL);
	fake_start(scene, 1, "--lose", "-1", NULL);
	scene->options.attempt_timeout_ms = 100;
	fake_open(scene, 0, 1);
	assert_true(create(scene, "k", "v"));
	assert_int_equal(fake_count(scene, 0, "applied"), 1);
	scene->options.timeout_ms = 300;
	fake_open(scene, 1, 1);
	put.condition = NORIKV_IF_ABSENT;
	call = fake_wait(scene, norikv_write(scene->client, &put, NULL));
	assert_true(norikv_call_error(call)->outcome_unknown);
	norikv_call_free(call);
}

static void
test_creates_in_a_batch(void **state)
{
	fake_scene *scene = *state;
	norikv_operation list[3] = {fake_put("a", "1"), fake_put("b", "2"),
								fake_put("c", "3")};
	const norikv_operation_result *results;
	norikv_call *call;
	size_t		n;

	fake_start(scene, 0, NULL);
	fake_open(scene, 0, 1);
	fake_put_now(scene, "b", "there");
	for (int i = 0; i < 3; i++)
		list[i].condition = NORIKV_IF_ABSENT;
	call = fake_wait_ok(scene, norikv_commit(scene->client, list, 3, false, NULL));
	results = norikv_call_results(call, &n);
	assert_int_equal(n, 3);
	assert_int_equal(results[0].code, NORIKV_OK);
	assert_int_equal(results[1].code, NORIKV_FAILED_PRECONDITION);
	assert_true(results[1].version_mismatch);
	assert_int_equal(results[2].code, NORIKV_OK);
	norikv_call_free(call);
	fake_expect(scene, "b", "there");
	fake_expect(scene, "c", "3");
}

/* ---- Delete with a condition ---- */

static norikv_call *
delete_if(fake_scene *scene, const char *key, norikv_version version)
{
	norikv_operation delete = {
		.kind = NORIKV_OP_DELETE,
		.key = NORIKV_SLICE(key),
		.condition = NORIKV_IF_VERSION,
		.version = version,
	};

	return fake_wait(scene, norikv_write(scene->client, &delete, NULL));
}

static void
test_conditional_delete(void **state)
{
	fake_scene *scene = *state;
	norikv_slice keys[] = {NORIKV_SLICE("k")};
	norikv_version version;
	norikv_call *call;
	size_t		n;

	/* a Delete of this server deletes, whatever the condition */
	fake_start(scene, 0, "--ignore-delete-condition", "1", NULL);
	fake_open(scene, 0, 1);
	version = fake_put_now(scene, "k", "v");
	call = delete_if(scene, "k", (norikv_version) {0, version.index + 5});
	assert_true(norikv_call_error(call)->version_mismatch);
	norikv_call_free(call);
	fake_expect(scene, "k", "v");
	call = delete_if(scene, "k", version);
	assert_int_equal(norikv_call_error(call)->code, NORIKV_OK);
	assert_true(norikv_call_results(call, &n)->existed);
	norikv_call_free(call);
	assert_int_equal(fake_count(scene, 0, "deletes"), 0);
	/* what is there now counts as absent, in every kind of read */
	fake_expect(scene, "k", NULL);
	call = fake_wait_ok(scene, norikv_multi_get(scene->client, keys, 1, NULL));
	assert_int_equal(norikv_call_entries(call, &n)[0].version.index, 0);
	norikv_call_free(call);
	assert_true(create(scene, "k", "again"));
	fake_expect(scene, "k", "again");
}

static void
test_capable_server(void **state)
{
	fake_scene *scene = *state;
	norikv_version version;
	norikv_call *call;

	fake_start(scene, 0, "--ext", "1", "--capabilities", "conditional_delete", NULL);
	fake_open(scene, 0, 1);
	version = fake_put_now(scene, "k", "v");
	call = delete_if(scene, "k", version);
	assert_int_equal(norikv_call_error(call)->code, NORIKV_OK);
	norikv_call_free(call);
	assert_int_equal(fake_count(scene, 0, "deletes"), 1);
	fake_expect(scene, "k", NULL);
}

/* ---- Views of the cluster ---- */

/* How many attempts it took. */
static uint32_t
read_keys(fake_scene *scene, int n)
{
	uint32_t	attempts = 0;

	for (int i = 0; i < n; i++)
	{
		norikv_call *call;
		char		key[16];

		snprintf(key, sizeof(key), "key %d", i);
		call = fake_wait_ok(scene, norikv_get(scene->client, NORIKV_SLICE(key), NULL));
		attempts += norikv_call_get_stats(call).attempts;
		norikv_call_free(call);
	}
	return attempts;
}

static void
test_routing(void **state)
{
	fake_scene *scene = *state;
	int			gets[2];
	int			expected[2] = {0, 0};

	for (int i = 0; i < 2; i++)
		fake_start(scene, i, "--shards", "64", "--node", scene->nodes[0], "--node",
				   scene->nodes[1], NULL);
	scene->options.attempt_timeout_ms = 200;
	fake_open(scene, 0, 2);
	/* the first answer starts the watch; give its view time to come */
	fake_expect(scene, "first", NULL);
	for (int i = 0; i < 20; i++)
	{
		norikv_call *none = norikv_get(scene->client, NORIKV_SLICE("first"), NULL);

		fake_wait(scene, none);
		norikv_call_free(none);
		usleep(5000);
	}
	for (int i = 0; i < 2; i++)
		gets[i] = fake_count(scene, i, "gets");
	assert_int_equal(read_keys(scene, 100), 100);
	for (int i = 0; i < 100; i++)
	{
		char		key[16];

		snprintf(key, sizeof(key), "key %d", i);
		expected[norikv_shard_of(NORIKV_SLICE(key), 64) % 2]++;
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(fake_count(scene, i, "gets") - gets[i], expected[i]);
	assert_true(expected[0] > 0 && expected[1] > 0);
	/* a leader that hangs costs one attempt, not one for every key */
	kill(scene->servers[1].pid, SIGSTOP);
	assert_true(read_keys(scene, 20) <= 22);
	kill(scene->servers[1].pid, SIGCONT);
	/* and one that is gone none at all */
	fake_stop(scene, 1);
	assert_true(read_keys(scene, 100) <= 102);
}

static void
test_wrong_addresses(void **state)
{
	fake_scene *scene = *state;

	for (int i = 0; i < 2; i++)
		fake_start(scene, i, "--shards", "8", "--node", "127.0.0.1:1", "--node",
				   "not an address", NULL);
	fake_open(scene, 0, 2);
	for (int i = 0; i < 30; i++)
	{
		norikv_call *call = norikv_get(scene->client, NORIKV_SLICE("k"), NULL);

		fake_wait_ok(scene, call);
		assert_int_equal(norikv_call_get_stats(call).attempts, 1);
		norikv_call_free(call);
		usleep(2000);
	}
}

static void
test_watch_cluster(void **state)
{
	fake_scene *scene = *state;
	const norikv_cluster_view *view;
	norikv_call *call;

	fake_start(scene, 0, "--shards", "4", "--node", "a:1", "--node", "b:2", NULL);
	fake_open(scene, 0, 1);
	call = fake_wait_ok(scene, norikv_watch_cluster(scene->client, NULL));
	view = norikv_call_view(call);
	assert_int_equal(view->epoch, 1);
	assert_int_equal(view->n_replicas, 4);
	for (size_t i = 0; i < 4; i++)
	{
		assert_int_equal(view->replicas[i].shard, i);
		assert_string_equal(view->replicas[i].addr, i % 2 ? "b:2" : "a:1");
		assert_string_equal(view->replicas[i].node, i % 2 ? "node1" : "node0");
		assert_true(view->replicas[i].leader);
	}
	assert_true(norikv_call_next(call));
	/* no change, no news, and no timeout either */
	assert_int_equal(norikv_wait(scene->client, &call, 1, 100), NORIKV_WAIT_TIMEOUT);
	norikv_call_free(call);
	fake_stop(scene, 0);
	fake_start(scene, 0, "--garbage", "1", NULL);
	fake_open(scene, 0, 1);
	call = fake_wait(scene, norikv_watch_cluster(scene->client, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_INTERNAL);
	assert_null(norikv_call_view(call));
	assert_false(norikv_call_next(call));
	norikv_call_free(call);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_info), TEST(test_two_winners), TEST(test_version_from_get),
		TEST(test_create), TEST(test_creators_race), TEST(test_create_is_lost),
		TEST(test_creates_in_a_batch), TEST(test_conditional_delete),
		TEST(test_capable_server), TEST(test_routing), TEST(test_wrong_addresses),
		TEST(test_watch_cluster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
