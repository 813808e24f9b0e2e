/*
 * test_watch.c - watches and quotas through libnorikv: what is told, across broken
 * connections and killed servers.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fake.h"

#define PATIENCE_MS 60000

static unsigned
rounds(unsigned full)
{
	const char *stress = getenv("NORIKV_STRESS");

	return stress != NULL && strcmp(stress, "1") == 0 ? full : full / 10;
}

/* norikvd as server 0, its keys on disk. */
static void
start_norikvd(fake_scene *scene)
{
	char		data[300];
	const char *arguments[] = {"--listen", scene->nodes[0], "--data-dir", data,
	"--log-level", "error", NULL};

	snprintf(data, sizeof(data), "%s/data", scene->dir);
	unlink(scene->nodes[0] + strlen("unix:"));
	assert_true(program_start(&scene->servers[0], "norikvd", arguments));
}

static int
setup(void **state)
{
	fake_setup(state);
	start_norikvd(*state);
	fake_open(*state, 0, 1);
	return 0;
}

static norikv_call *
watch_prefix(norikv_client *client, const char *prefix)
{
	char		end[32];
	norikv_watch_request request = {.start = NORIKV_SLICE(prefix)};

	request.end = (norikv_slice) {end, norikv_prefix_end(request.start, end)};
	return norikv_watch(client, &request, NULL);
}

static norikv_call *
watch_key(norikv_client *client, const char *key)
{
	char		end[NORIKV_WATCH_END_SIZE];
	norikv_watch_request request = {.start = NORIKV_SLICE(key)};

	request.end = norikv_key_end(request.start, end);
	return norikv_watch(client, &request, NULL);
}

static const norikv_changes *
page_of(norikv_client *client, norikv_call *watch)
{
	assert_int_equal(norikv_wait(client, &watch, 1, PATIENCE_MS), NORIKV_WAIT_DONE);
	assert_string_equal(norikv_call_error(watch)->text, "");
	assert_non_null(norikv_call_changes(watch));
	return norikv_call_changes(watch);
}

static void
expect_change(const norikv_changes *page, size_t i, norikv_change_kind kind,
			  const char *key)
{
	assert_true(i < page->n_changes);
	assert_int_equal(page->changes[i].kind, kind);
	assert_int_equal(page->changes[i].key.size, strlen(key));
	assert_memory_equal(page->changes[i].key.data, key, strlen(key));
}

static void
delete_now(fake_scene *scene, const char *key)
{
	norikv_operation operation = {.kind = NORIKV_OP_DELETE, .key = NORIKV_SLICE(key)};

	norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &operation, NULL)));
}

static void
test_tells_of_changes(void **state)
{
	fake_scene *scene = *state;
	norikv_call *watch;
	norikv_version first;
	const norikv_changes *page;

	first = fake_put_now(scene, "a", "before");
	watch = watch_key(scene->client, "a");
	assert_false(norikv_call_watching(watch));
	page = page_of(scene->client, watch);
	assert_int_equal(page->n_changes, 0);
	assert_false(page->reset);
	assert_int_equal(page->known.index, first.index);
	assert_true(norikv_call_watching(watch));
	fake_put_now(scene, "ab", "another key");
	fake_put_now(scene, "a", "1");
	assert_true(norikv_call_next(watch));
	page = page_of(scene->client, watch);
	expect_change(page, 0, NORIKV_WATCH_PUT, "a");
	assert_int_equal(page->changes[0].version.index, first.index + 2);
	delete_now(scene, "a");
	assert_true(norikv_call_next(watch));
	expect_change(page_of(scene->client, watch), 0, NORIKV_WATCH_DELETE, "a");
	/* nothing more: it waits, and lets go of it in the middle */
	assert_true(norikv_call_next(watch));
	assert_int_equal(norikv_wait(scene->client, &watch, 1, 50), NORIKV_WAIT_TIMEOUT);
	assert_false(norikv_call_next(watch));
	norikv_call_free(watch);
	fake_put_now(scene, "a", "2");
}

static void
test_goes_on_where_another_was(void **state)
{
	fake_scene *scene = *state;
	norikv_watch_request request = {.start = {"", 0}};
	norikv_call *watch = norikv_watch(scene->client, &request, NULL);
	const norikv_changes *page = page_of(scene->client, watch);

	request.after = page->known;
	request.history = page->history;
	norikv_call_free(watch);
	fake_put_now(scene, "a", "1");
	watch = norikv_watch(scene->client, &request, NULL);
	page = page_of(scene->client, watch);
	assert_false(page->reset);
	assert_true(norikv_call_next(watch));
	expect_change(page_of(scene->client, watch), 0, NORIKV_WATCH_PUT, "a");
	norikv_call_free(watch);
	/* the server's history begins anew with it */
	fake_stop(scene, 0);
	start_norikvd(scene);
	watch = norikv_watch(scene->client, &request, NULL);
	assert_true(page_of(scene->client, watch)->reset);
	norikv_call_free(watch);
}

/* It waits through the time without a server, and is told that it must look. */
static void
test_restart_is_a_reset(void **state)
{
	fake_scene *scene = *state;
	norikv_call *watch = watch_key(scene->client, "a");
	const norikv_changes *page = page_of(scene->client, watch);

	assert_true(norikv_call_next(watch));
	fake_stop(scene, 0);
	while (norikv_call_watching(watch))
		norikv_wait(scene->client, &watch, 1, 10);
	start_norikvd(scene);
	page = page_of(scene->client, watch);
	assert_true(page->reset);
	assert_true(norikv_call_watching(watch));
	fake_put_now(scene, "a", "1");
	assert_true(norikv_call_next(watch));
	expect_change(page_of(scene->client, watch), 0, NORIKV_WATCH_PUT, "a");
	norikv_call_free(watch);
}

static void
test_what_ends_a_watch(void **state)
{
	fake_scene *scene = *state;
	norikv_call *watches[NORIKV_MAX_WATCHES + 1];
	char		long_key[NORIKV_MAX_KEY + 2] = {0};
	norikv_watch_request request = {.start = {long_key, sizeof(long_key)}};
	norikv_call *watch = norikv_watch(scene->client, &request, NULL);

	assert_int_equal(norikv_call_error(watch)->code, NORIKV_INVALID_ARGUMENT);
	norikv_call_free(watch);
	for (int i = 0; i <= NORIKV_MAX_WATCHES; i++)
		watches[i] = watch_key(scene->client, "a");
	assert_int_equal(norikv_call_error(watches[NORIKV_MAX_WATCHES])->code,
					 NORIKV_RESOURCE_EXHAUSTED);
	/* and there is room for other calls beside them */
	fake_put_now(scene, "a", "1");
	for (int i = 0; i <= NORIKV_MAX_WATCHES; i++)
		norikv_call_free(watches[i]);
	/* there is room again when the streams are gone, which takes its time */
	while (norikv_call_error(watch = watch_key(scene->client, "a"))->code != NORIKV_OK)
	{
		norikv_call_free(watch);
		fake_put_now(scene, "a", "1");
	}
	page_of(scene->client, watch);
	norikv_call_free(watch);

	scene->options.timeout_ms = 300;
	fake_stop(scene, 0);
	fake_open(scene, 0, 1);
	watch = fake_wait(scene, watch_key(scene->client, "a"));
	assert_int_equal(norikv_call_error(watch)->code, NORIKV_UNAVAILABLE);
	norikv_call_free(watch);
	fake_start(scene, 1, NULL);
	fake_open(scene, 1, 1);
	watch = fake_wait(scene, watch_key(scene->client, "a"));
	assert_int_equal(norikv_call_error(watch)->code, NORIKV_UNIMPLEMENTED);
	assert_false(norikv_call_next(watch));
	norikv_call_free(watch);
}

/* Only its own part is shown, and a range that is wider than it is cut. */
static void
test_keeps_to_the_part_of_the_store(void **state)
{
	fake_scene *scene = *state;
	norikv_operation range = {.kind = NORIKV_OP_DELETE_RANGE, .key = NORIKV_SLICE("a")};
	norikv_options options = scene->options;
	norikv_watch_request request = {.start = {"", 0}};
	norikv_client *tenant;
	norikv_call *watch;
	const norikv_changes *page;

	options.nodes = scene->nodes[0];
	options.key_prefix = NORIKV_SLICE("t/");
	tenant = norikv_client_new(&options, NULL);
	watch = norikv_watch(tenant, &request, NULL);
	page_of(tenant, watch);
	fake_put_now(scene, "s", "");
	fake_put_now(scene, "t/k", "");
	assert_true(norikv_call_next(watch));
	page = page_of(tenant, watch);
	assert_int_equal(page->n_changes, 1);
	expect_change(page, 0, NORIKV_WATCH_PUT, "k");
	norikv_call_free(fake_wait_ok(scene, norikv_commit(scene->client, &range, 1, true,
													   NULL)));
	assert_true(norikv_call_next(watch));
	page = page_of(tenant, watch);
	expect_change(page, 0, NORIKV_WATCH_DELETE_RANGE, "");
	assert_int_equal(page->changes[0].end_key.size, 0);
	norikv_call_free(watch);
	norikv_client_free(tenant);
}

/* ---- Thousands, on a few connections ---- */

#define CROWD 5000
#define CROWD_CLIENTS ((CROWD + NORIKV_MAX_WATCHES - 1) / NORIKV_MAX_WATCHES)

static void
crowd_key(unsigned number, char name[16])
{
	snprintf(name, 16, "crowd/%u", number);
}

static void
test_thousands_of_watches(void **state)
{
	fake_scene *scene = *state;
	norikv_client *clients[CROWD_CLIENTS];
	norikv_call **watches = calloc(CROWD, sizeof(*watches));
	norikv_options options = scene->options;
	char		name[16];

	options.nodes = scene->nodes[0];
	for (unsigned i = 0; i < CROWD_CLIENTS; i++)
		clients[i] = norikv_client_new(&options, NULL);
	for (unsigned i = 0; i < CROWD; i++)
	{
		crowd_key(i, name);
		watches[i] = watch_key(clients[i / NORIKV_MAX_WATCHES], name);
	}
	for (unsigned i = 0; i < CROWD; i++)
	{
		assert_int_equal(page_of(clients[i / NORIKV_MAX_WATCHES],
								 watches[i])->n_changes, 0);
		assert_true(norikv_call_next(watches[i]));
	}
	for (unsigned i = 0; i < CROWD; i += 50)
	{
		crowd_key(i, name);
		fake_put_now(scene, name, "");
		expect_change(page_of(clients[i / NORIKV_MAX_WATCHES], watches[i]), 0,
					  NORIKV_WATCH_PUT, name);
	}
	for (unsigned i = 0; i < CROWD; i++)
		assert_int_equal(norikv_call_done(watches[i]), i % 50 == 0);
	for (unsigned i = 0; i < CROWD_CLIENTS; i++)
		norikv_client_free(clients[i]);
	free(watches);
}

/* ---- A cache that believes what it is told ---- */

#define KEYS 30

typedef struct cache
{
	fake_scene *scene;
	norikv_client *beside;		/* past the faults */
	norikv_call *watch;
	norikv_version versions[KEYS];
	bool		known[KEYS];
	unsigned	changes;
	unsigned	resets;
	bool		saw_last;		/* the change that is made at the end */
} cache;

static void
key_name(unsigned number, char name[16])
{
	snprintf(name, 16, "c/%02u", number);
}

static norikv_version
version_of(cache *self, unsigned number)
{
	char		name[16];
	norikv_call *call;
	norikv_version version;

	key_name(number, name);
	call = norikv_get(self->beside, NORIKV_SLICE(name), NULL);
	assert_int_equal(norikv_wait(self->beside, &call, 1, PATIENCE_MS), NORIKV_WAIT_DONE);
	assert_string_equal(norikv_call_error(call)->text, "");
	version = norikv_call_entry(call)->version;
	norikv_call_free(call);
	return version;
}

static void
write_key(cache *self, unsigned number, bool delete)
{
	norikv_operation operation = {.kind = delete ? NORIKV_OP_DELETE : NORIKV_OP_PUT};
	char		name[16];
	norikv_call *call;

	key_name(number, name);
	operation.key = NORIKV_SLICE(name);
	call = norikv_write(self->beside, &operation, NULL);
	assert_int_equal(norikv_wait(self->beside, &call, 1, PATIENCE_MS), NORIKV_WAIT_DONE);
	assert_string_equal(norikv_call_error(call)->text, "");
	norikv_call_free(call);
}

static void
forget_what_changed(cache *self, const norikv_changes *page)
{
	char		name[16];

	if (page->reset)
	{
		memset(self->known, 0, sizeof(self->known));
		self->saw_last = true;
		self->resets++;
	}
	for (size_t i = 0; i < page->n_changes; i++)
	{
		const norikv_change *change = &page->changes[i];

		snprintf(name, sizeof(name), "%.*s", (int) change->key.size,
				 (const char *) change->key.data);
		self->known[atoi(name + 2) % KEYS] = false;
		self->saw_last = self->saw_last || strcmp(name, "c/99") == 0;
		self->changes++;
	}
}

/* What comes within so many milliseconds. A get on the same connection may cut it. */
static void
listen_for(cache *self, int64_t milliseconds)
{
	norikv_client *client = self->scene->client;
	norikv_call *get = norikv_get(client, NORIKV_SLICE("c/00"), NULL);

	if (norikv_wait(client, &self->watch, 1, milliseconds) == NORIKV_WAIT_DONE)
	{
		assert_string_equal(norikv_call_error(self->watch)->text, "");
		forget_what_changed(self, norikv_call_changes(self->watch));
		assert_true(norikv_call_next(self->watch));
	}
	norikv_call_free(get);
}

static void
compare(cache *self)
{
	for (unsigned i = 0; i < KEYS; i++)
	{
		norikv_version now = version_of(self, i);

		if (self->known[i] && (now.index != self->versions[i].index ||
							   now.term != self->versions[i].term))
			fail_msg("key %u has version %" PRIu64 "/%" PRIu64 ", and nothing was told",
					 i, now.term, now.index);
		self->versions[i] = now;
		self->known[i] = true;
	}
}

static void
test_nothing_is_missed(void **state)
{
	fake_scene *scene = *state;
	cache		all = {.scene = scene};
	norikv_options options = scene->options;
	const char *proxy[] = {"--listen", scene->nodes[1], "--upstream", scene->nodes[0],
	"--cut", "0.02", NULL};
	unsigned	n = rounds(10000);

	assert_true(program_start(&scene->servers[1], "tests/tools/proxy", proxy));
	options.nodes = scene->nodes[0];
	all.beside = norikv_client_new(&options, NULL);
	fake_open(scene, 1, 1);
	all.watch = watch_prefix(scene->client, "c/");
	page_of(scene->client, all.watch);
	assert_true(norikv_call_next(all.watch));
	srandom((unsigned) getpid());
	compare(&all);
	for (unsigned i = 0; i < n; i++)
	{
		if (i % (n / 5) == n / 10)
		{
			fake_stop(scene, 0);
			start_norikvd(scene);
		}
		write_key(&all, (unsigned) random() % KEYS, random() % 4 == 0);
		if (random() % 3 == 0)
			listen_for(&all, random() % 3);
		if (i % 50 != 49)
			continue;
		/* all that happened before this has been told once this has */
		all.saw_last = false;
		write_key(&all, 99, false);
		for (unsigned tries = 0; !all.saw_last; tries++)
		{
			if (tries == PATIENCE_MS / 3 / 20)
				fail_msg("the last change was not told");
			listen_for(&all, 20);
		}
		compare(&all);
	}
	print_message("%u changes, %u resets\n", all.changes, all.resets);
	assert_true(all.resets >= 5);
	norikv_call_free(all.watch);
	norikv_client_free(all.beside);
}

/* ---- Quotas ---- */

static void
test_quotas(void **state)
{
	fake_scene *scene = *state;
	norikv_quota quota = {NORIKV_SLICE("q/"), 2, 10};
	norikv_operation puts[2] = {fake_put("q/2", "123"), fake_put("q/3", "")};
	const norikv_usage_counts *usage;
	norikv_call *call;

	norikv_call_free(fake_wait_ok(scene, norikv_set_quota(scene->client, &quota, NULL)));
	fake_put_now(scene, "q/1", "1");
	call = fake_wait(scene, norikv_write(scene->client, &puts[0], NULL));
	norikv_call_free(call);
	call = fake_wait_ok(scene, norikv_usage(scene->client, NORIKV_SLICE("q/"), NULL));
	usage = norikv_call_usage(call);
	assert_int_equal(usage->keys, 2);
	assert_int_equal(usage->bytes, 10);
	assert_int_equal(usage->max_keys, 2);
	assert_int_equal(usage->max_bytes, 10);
	assert_false(usage->recounting);
	norikv_call_free(call);

	call = fake_wait(scene, norikv_write(scene->client, &puts[1], NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_RESOURCE_EXHAUSTED);
	assert_true(norikv_call_error(call)->quota_exceeded);
	assert_false(norikv_call_error(call)->outcome_unknown);
	assert_non_null(strstr(norikv_call_error(call)->text, "\"q/\" exceeded: at most 2 "
						   "keys, 2 are used"));
	norikv_call_free(call);
	for (int atomic = 0; atomic < 2; atomic++)
	{
		size_t		n;

		call = fake_wait(scene, norikv_commit(scene->client, puts, 2, atomic, NULL));
		assert_true(norikv_call_results(call, &n)[1].quota_exceeded);
		assert_int_equal(norikv_call_error(call)->quota_exceeded, atomic);
		norikv_call_free(call);
	}
	norikv_call_free(fake_wait_ok(scene, norikv_remove_quota(scene->client, quota.prefix,
															 NULL)));
	fake_put_now(scene, "q/3", "");
	call = fake_wait(scene, norikv_usage(scene->client, quota.prefix, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_NOT_FOUND);
	norikv_call_free(call);
}

static void
test_info_says_so(void **state)
{
	fake_scene *scene = *state;
	norikv_call *call = fake_wait_ok(scene, norikv_get_info(scene->client, NULL));

	assert_true(norikv_call_info(call)->watch);
	assert_true(norikv_call_info(call)->quotas);
	norikv_call_free(call);
}

#define CASE(test) {#test, test, setup, fake_teardown, NULL}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_tells_of_changes),
		CASE(test_goes_on_where_another_was),
		CASE(test_restart_is_a_reset),
		CASE(test_what_ends_a_watch),
		CASE(test_keeps_to_the_part_of_the_store),
		CASE(test_thousands_of_watches),
		CASE(test_nothing_is_missed),
		CASE(test_quotas),
		CASE(test_info_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
