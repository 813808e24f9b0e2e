/*
 * test_proxy.c - writes through a network that loses, delays, repeats and cuts,
 * to a server that is killed in between: each takes effect once.
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "norikv.h"
#include "../support/programs.h"

#define N_WORKERS 8
#define LATEST_MS 1500			/* the latest that the proxy still does something */

typedef struct scene
{
	char		dir[256];
	char		server_node[300];
	char		proxy_node[300];
	program		server;
	program		proxy;
	char		counts[1024];	/* the proxy's, once it has ended */
} scene;

/* What one write was told. */
typedef struct step
{
	int64_t		value;
	norikv_version version;
} step;

typedef struct worker
{
	pthread_t	thread;
	scene	   *scene;
	unsigned	number;
	unsigned	rounds;
	step	   *steps;
	unsigned	n_steps;
	unsigned	mismatches;
	norikv_error error;			/* of the call that ended the worker */
} worker;

/* ---- The scene ---- */

static void
server_start(scene *stage)
{
	char		listening[320];
	char		data[300];
	const char *arguments[] = {listening, data, "--log-level=error", NULL};

	snprintf(listening, sizeof(listening), "--listen=%s", stage->server_node);
	snprintf(data, sizeof(data), "--data-dir=%s/data", stage->dir);
	assert_true(program_start(&stage->server, "norikvd", arguments));
}

/* Faults end with NULL. */
static void
proxy_start(scene *stage, const char *const *faults)
{
	char		listening[320];
	char		upstream[320];
	const char *arguments[16] = {listening, upstream};
	size_t		n = 2;

	snprintf(listening, sizeof(listening), "--listen=%s", stage->proxy_node);
	snprintf(upstream, sizeof(upstream), "--upstream=%s", stage->server_node);
	while (*faults != NULL)
		arguments[n++] = *faults++;
	assert_true(program_start(&stage->proxy, "tests/tools/proxy", arguments));
}

static uint64_t
proxy_count(const scene *stage, const char *name)
{
	char		pattern[64];
	const char *found;

	snprintf(pattern, sizeof(pattern), " %s=", name);
	found = strstr(stage->counts, pattern);
	assert_non_null(found);
	return strtoull(found + strlen(pattern), NULL, 10);
}

static void
proxy_stop(scene *stage)
{
	assert_true(program_stop(&stage->proxy, SIGTERM, stage->counts + 1,
							 sizeof(stage->counts) - 1));
	stage->counts[0] = ' ';
	print_message("proxy:%s", stage->counts);
}

static int
scene_set(void **state)
{
	scene	   *stage = calloc(1, sizeof(*stage));

	*state = stage;
	work_dir_make(stage->dir, sizeof(stage->dir));
	snprintf(stage->server_node, sizeof(stage->server_node), "unix:%s/server",
			 stage->dir);
	snprintf(stage->proxy_node, sizeof(stage->proxy_node), "unix:%s/proxy", stage->dir);
	server_start(stage);
	return 0;
}

static int
scene_clear(void **state)
{
	scene	   *stage = *state;

	program_stop(&stage->proxy, SIGKILL, NULL, 0);
	program_stop(&stage->server, SIGKILL, NULL, 0);
	work_dir_remove(stage->dir);
	free(stage);
	return 0;
}

/* ---- Clients ---- */

static norikv_client *
client_of(const char *node, uint32_t timeout_ms, uint32_t attempt_timeout_ms)
{
	norikv_options options;
	norikv_error error;
	norikv_client *client;

	norikv_options_init(&options);
	options.nodes = node;
	options.timeout_ms = timeout_ms;
	options.attempt_timeout_ms = attempt_timeout_ms;
	client = norikv_client_new(&options, &error);
	if (client == NULL)
		print_error("no client: %s\n", error.text);
	return client;
}

/* The error lives on when the call is gone. */
static norikv_error
call_end(norikv_client *client, norikv_call *call, step *done)
{
	norikv_error error;
	size_t		n_results = 0;

	norikv_wait(client, &call, 1, -1);
	error = *norikv_call_error(call);
	if (error.code == NORIKV_OK && done != NULL)
	{
		const norikv_operation_result *results = norikv_call_results(call, &n_results);

		done->value = results[0].value;
		done->version = results[0].version;
	}
	norikv_call_free(call);
	return error;
}

static norikv_error
put(norikv_client *client, const char *key, const char *value, step *done)
{
	norikv_operation operation = {
		.kind = NORIKV_OP_PUT, .key = NORIKV_SLICE(key), .value = NORIKV_SLICE(value)};

	return call_end(client, norikv_write(client, &operation, NULL), done);
}

static norikv_error
commit(norikv_client *client, const norikv_operation *operation,
	   const char *idempotency_key, step *done)
{
	norikv_call_options options = {0};

	if (idempotency_key != NULL)
		options.idempotency_key = NORIKV_SLICE(idempotency_key);
	return call_end(client, norikv_commit(client, operation, 1, true, &options), done);
}

/* False where the read failed. An absent key: size 0 and no version. */
static bool
get(norikv_client *client, const char *key, char *value, size_t size,
	norikv_version *version, norikv_error *error)
{
	norikv_call *call = norikv_get(client, NORIKV_SLICE(key), NULL);
	bool		done;

	norikv_wait(client, &call, 1, -1);
	*error = *norikv_call_error(call);
	done = error->code == NORIKV_OK;
	if (done)
	{
		const norikv_entry *entry = norikv_call_entry(call);

		snprintf(value, size, "%.*s", (int) entry->value.size,
				 (const char *) entry->value.data);
		*version = entry->version;
	}
	norikv_call_free(call);
	return done;
}

/* What the server itself holds, asked without the proxy. */
static int64_t
number_at(const scene *stage, const char *key)
{
	norikv_client *client = client_of(stage->server_node, 10000, 1000);
	norikv_version version;
	norikv_error error;
	char		value[32];
	bool		found = get(client, key, value, sizeof(value), &version, &error);

	norikv_client_free(client);
	if (!found)
		print_error("get: %s\n", error.text);
	assert_true(found);
	return strtoll(value, NULL, 10);
}

/* ---- Many writers ---- */

static unsigned
rounds_of(unsigned all)
{
	const char *stress = getenv("NORIKV_STRESS");

	return stress != NULL && strcmp(stress, "1") == 0 ? all : all / 10;
}

static void *
adder_run(void *arg)
{
	worker	   *self = arg;
	norikv_client *client = client_of(self->scene->proxy_node, 60000, 300);
	norikv_operation add = {
		.kind = NORIKV_OP_ADD, .key = NORIKV_SLICE("sum"), .delta = 1};

	while (self->n_steps < self->rounds)
	{
		self->error = commit(client, &add, NULL, &self->steps[self->n_steps]);
		if (self->error.code != NORIKV_OK)
			break;
		self->n_steps++;
	}
	norikv_client_free(client);
	return NULL;
}

/* One more than what is there, if it is still there: by Put or by Commit. */
static bool
swapper_step(worker *self, norikv_client *client, step *done)
{
	char		value[32];
	norikv_operation swap = {.kind = NORIKV_OP_PUT, .key = NORIKV_SLICE("sum")};

	if (!get(client, "sum", value, sizeof(value), &swap.version, &self->error))
		return false;
	done->value = strtoll(value, NULL, 10) + 1;
	swap.condition = swap.version.index == 0 ? NORIKV_IF_ABSENT : NORIKV_IF_VERSION;
	snprintf(value, sizeof(value), "%" PRId64, done->value);
	swap.value = NORIKV_SLICE(value);
	if (self->number % 2 == 0)
		self->error = call_end(client, norikv_write(client, &swap, NULL), done);
	else
		self->error = commit(client, &swap, NULL, done);
	done->value = strtoll(value, NULL, 10);
	return self->error.code == NORIKV_OK;
}

static void *
swapper_run(void *arg)
{
	worker	   *self = arg;
	norikv_client *client = client_of(self->scene->proxy_node, 60000, 300);

	while (self->n_steps < self->rounds)
	{
		if (swapper_step(self, client, &self->steps[self->n_steps]))
			self->n_steps++;
		else if (self->error.version_mismatch && !self->error.outcome_unknown)
			self->mismatches++;
		else
			break;
	}
	norikv_client_free(client);
	return NULL;
}

static bool
all_ended(worker *workers)
{
	for (unsigned i = 0; i < N_WORKERS; i++)
		if (workers[i].thread != 0 && pthread_tryjoin_np(workers[i].thread, NULL) != 0)
			return false;
		else
			workers[i].thread = 0;
	return true;
}

/* Kills the server every now and then, until the workers are through. */
static unsigned
disturb(scene *stage, worker *workers, unsigned max_kills)
{
	unsigned	kills = 0;

	for (unsigned waited = 1; !all_ended(workers); waited++)
	{
		usleep(10000);
		if (waited % 40 != 0 || kills == max_kills)
			continue;
		program_stop(&stage->server, SIGKILL, NULL, 0);
		server_start(stage);
		kills++;
	}
	return kills;
}

static int
compare_steps(const void *a, const void *b)
{
	int64_t		left = ((const step *) a)->value;
	int64_t		right = ((const step *) b)->value;

	return (left > right) - (left < right);
}

static bool
later(norikv_version left, norikv_version right)
{
	return left.term > right.term ||
		(left.term == right.term && left.index > right.index);
}

/* Every value from 1 on once, and versions in the order of the values. */
static void
check_steps(step *steps, size_t n_steps)
{
	qsort(steps, n_steps, sizeof(*steps), compare_steps);
	for (size_t i = 0; i < n_steps; i++)
	{
		assert_int_equal(steps[i].value, i + 1);
		assert_true(i == 0 || later(steps[i].version, steps[i - 1].version));
	}
}

static void
race(scene *stage, void *(*run) (void *), unsigned rounds)
{
	static worker workers[N_WORKERS];	/* outlives a failed assertion, as threads do */
	step	   *steps = calloc((size_t) N_WORKERS * rounds, sizeof(*steps));
	unsigned	kills;

	for (unsigned i = 0; i < N_WORKERS; i++)
	{
		workers[i] = (worker) {
			.scene = stage, .number = i, .rounds = rounds,
			.steps = steps + (size_t) i * rounds};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
	}
	kills = disturb(stage, workers, rounds_of(50));
	for (unsigned i = 0; i < N_WORKERS; i++)
	{
		if (workers[i].n_steps < rounds)
			print_error("writer %u ended at step %u: code %d, %s%s\n", i,
						workers[i].n_steps, (int) workers[i].error.code,
						workers[i].error.text,
						workers[i].error.outcome_unknown ? " (outcome unknown)" : "");
		assert_int_equal(workers[i].n_steps, rounds);
	}
	check_steps(steps, (size_t) N_WORKERS * rounds);
	free(steps);

	/* What the proxy still holds back must change nothing. */
	usleep((LATEST_MS + 500) * 1000);
	assert_int_equal(number_at(stage, "sum"), N_WORKERS * rounds);
	proxy_stop(stage);
	print_message("kills: %u\n", kills);
	assert_true(kills > 0);
	assert_true(proxy_count(stage, "dropped_answers") > 0);
	assert_true(proxy_count(stage, "delayed_answers") > 0);
	assert_true(proxy_count(stage, "delayed_requests") > 0);
	assert_true(proxy_count(stage, "late") > 0);
	assert_true(proxy_count(stage, "duplicated") > 0);
	assert_true(proxy_count(stage, "aborted") > 0);
	assert_true(proxy_count(stage, "cut") > 0);
	assert_true(proxy_count(stage, "refused") > 0);
}

static const char *const all_faults[] = {
	"--drop-answer=0.04", "--delay-answer=0.04:400", "--delay-request=0.02:1500",
	"--duplicate=0.05:1200", "--cut=0.005", "--refuse=0.02", "--refuse-connection=0.1",
	"--seed=7", NULL
};

static void
test_adds_count_once(void **state)
{
	proxy_start(*state, all_faults);
	race(*state, adder_run, rounds_of(1000));
}

static void
test_swaps_count_once(void **state)
{
	proxy_start(*state, all_faults);
	race(*state, swapper_run, rounds_of(500));
}

/* ---- One writer ---- */

/*
 * The requests of an abandoned put arrive when the same slot has long carried
 * another write: the server must refuse them.
 */
static void
test_abandoned_write_never_lands(void **state)
{
	const char *const faults[] = {"--delay-request=1:1500", "--only=v1.Kv/Put", NULL};
	scene	   *stage = *state;
	norikv_client *client;
	norikv_operation second = {
		.kind = NORIKV_OP_PUT, .key = NORIKV_SLICE("number"), .value = NORIKV_SLICE("2")};
	norikv_error error;
	step		done;

	proxy_start(stage, faults);
	client = client_of(stage->proxy_node, 600, 200);
	error = put(client, "number", "1", NULL);
	assert_int_not_equal(error.code, NORIKV_OK);
	assert_true(error.outcome_unknown);
	assert_int_equal(number_at(stage, "number"), 0);
	assert_int_equal(commit(client, &second, NULL, &done).code, NORIKV_OK);
	assert_int_equal(number_at(stage, "number"), 2);
	usleep((LATEST_MS + 500) * 1000);
	assert_int_equal(number_at(stage, "number"), 2);
	norikv_client_free(client);
	proxy_stop(stage);
	assert_true(proxy_count(stage, "late") > 0);
	assert_int_equal(proxy_count(stage, "aborted"), proxy_count(stage, "late"));
}

/* The same of a quota: it must not bring back a limit that was changed since. */
static void
test_abandoned_quota_never_lands(void **state)
{
	const char *const faults[] = {"--delay-request=1:1500", "--only=SetQuota", NULL};
	scene	   *stage = *state;
	norikv_client *direct = client_of(stage->server_node, 5000, 1000);
	norikv_client *through;
	norikv_quota first = {NORIKV_SLICE("q/"), 1, 0};
	norikv_quota second = {NORIKV_SLICE("q/"), 2, 0};
	norikv_error error;
	norikv_call *call;

	proxy_start(stage, faults);
	through = client_of(stage->proxy_node, 600, 200);
	error = call_end(through, norikv_set_quota(through, &first, NULL), NULL);
	assert_int_not_equal(error.code, NORIKV_OK);
	assert_true(error.outcome_unknown);
	/* in the slot of the one that was abandoned */
	assert_int_equal(put(through, "number", "1", NULL).code, NORIKV_OK);
	error = call_end(direct, norikv_set_quota(direct, &second, NULL), NULL);
	assert_int_equal(error.code, NORIKV_OK);
	usleep((LATEST_MS + 500) * 1000);
	call = norikv_usage(direct, second.prefix, NULL);
	norikv_wait(direct, &call, 1, -1);
	assert_non_null(norikv_call_usage(call));
	assert_int_equal(norikv_call_usage(call)->max_keys, 2);
	norikv_call_free(call);
	norikv_client_free(through);
	norikv_client_free(direct);
	proxy_stop(stage);
	assert_true(proxy_count(stage, "late") > 0);
	assert_int_equal(proxy_count(stage, "aborted"), proxy_count(stage, "late"));
}

/*
 * The first tries of a create are held back; a later one is told that the key
 * exists. When the key is gone and the first tries arrive, that must still hold.
 */
static void
test_refused_create_stays_refused(void **state)
{
	/* with this seed the first two commits are held back, and not the third */
	const char *const faults[] = {
		"--delay-request=0.5:1500", "--only=Commit", "--seed=2", NULL
	};
	scene	   *stage = *state;
	norikv_client *direct = client_of(stage->server_node, 5000, 1000);
	norikv_client *through;
	norikv_operation create = {
		.kind = NORIKV_OP_PUT, .key = NORIKV_SLICE("number"), .value = NORIKV_SLICE("2"),
		.condition = NORIKV_IF_ABSENT};
	norikv_operation remove_it = {
		.kind = NORIKV_OP_DELETE, .key = NORIKV_SLICE("number")};
	norikv_error error;

	assert_int_equal(put(direct, "number", "1", NULL).code, NORIKV_OK);
	proxy_start(stage, faults);
	through = client_of(stage->proxy_node, 1400, 200);
	error = commit(through, &create, NULL, NULL);
	assert_int_equal(error.code, NORIKV_FAILED_PRECONDITION);
	assert_false(error.outcome_unknown);
	assert_int_equal(commit(direct, &remove_it, NULL, NULL).code, NORIKV_OK);
	usleep((LATEST_MS + 500) * 1000);
	assert_int_equal(number_at(stage, "number"), 0);
	norikv_client_free(through);
	norikv_client_free(direct);
	proxy_stop(stage);
	assert_int_equal(proxy_count(stage, "late"), 2);
}

/* The application repeats, under its own key, a write that it heard nothing of. */
static void
test_own_key_repeats(void **state)
{
	const char *const faults[] = {"--drop-answer=1", "--only=Commit", NULL};
	scene	   *stage = *state;
	norikv_client *through;
	norikv_client *direct = client_of(stage->server_node, 5000, 1000);
	norikv_operation add = {
		.kind = NORIKV_OP_ADD, .key = NORIKV_SLICE("sum"), .delta = 5};
	norikv_error error;
	step		first;
	step		second;

	proxy_start(stage, faults);
	through = client_of(stage->proxy_node, 500, 200);
	error = commit(through, &add, "order-1", NULL);
	assert_int_not_equal(error.code, NORIKV_OK);
	assert_true(error.outcome_unknown);
	assert_int_equal(number_at(stage, "sum"), 5);
	program_stop(&stage->server, SIGKILL, NULL, 0);
	server_start(stage);
	assert_int_equal(commit(direct, &add, "order-1", &first).code, NORIKV_OK);
	assert_int_equal(first.value, 5);
	assert_int_equal(commit(direct, &add, "order-2", &second).code, NORIKV_OK);
	assert_int_equal(second.value, 10);
	assert_true(later(second.version, first.version));
	norikv_client_free(through);
	norikv_client_free(direct);
	proxy_stop(stage);
	assert_true(proxy_count(stage, "dropped_answers") + proxy_count(stage, "calls") > 1);
}

/* A refusal is known to be one, and so is a write that nobody took. */
static void
test_known_outcomes_are_known(void **state)
{
	const char *const faults[] = {"--drop-answer=0.5", "--seed=3", NULL};
	const char *const silence[] = {"--drop-answer=1", "--only=Get", NULL};
	scene	   *stage = *state;
	norikv_client *client;
	norikv_operation create = {
		.kind = NORIKV_OP_PUT, .key = NORIKV_SLICE("taken"), .value = NORIKV_SLICE("x"),
		.condition = NORIKV_IF_ABSENT};
	norikv_version version;
	norikv_error error;
	char		value[8];

	proxy_start(stage, faults);
	client = client_of(stage->proxy_node, 20000, 100);
	assert_int_equal(put(client, "taken", "mine", NULL).code, NORIKV_OK);
	for (int i = 0; i < 10; i++)
	{
		error = commit(client, &create, NULL, NULL);
		assert_int_equal(error.code, NORIKV_FAILED_PRECONDITION);
		assert_true(error.version_mismatch);
		assert_false(error.outcome_unknown);
	}
	norikv_client_free(client);
	proxy_stop(stage);
	assert_true(proxy_count(stage, "dropped_answers") > 0);

	/* nobody listens */
	client = client_of(stage->proxy_node, 500, 200);
	error = put(client, "taken", "nothing", NULL);
	assert_int_equal(error.code, NORIKV_UNAVAILABLE);
	assert_true(error.never_sent);
	assert_false(error.outcome_unknown);
	norikv_client_free(client);

	/* a read has no outcome to be unsure of */
	proxy_start(stage, silence);
	client = client_of(stage->proxy_node, 500, 200);
	assert_false(get(client, "taken", value, sizeof(value), &version, &error));
	assert_int_equal(error.code, NORIKV_DEADLINE_EXCEEDED);
	assert_false(error.outcome_unknown);
	norikv_client_free(client);
	proxy_stop(stage);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_adds_count_once, scene_set, scene_clear),
		cmocka_unit_test_setup_teardown(test_swaps_count_once, scene_set, scene_clear),
		cmocka_unit_test_setup_teardown(test_abandoned_write_never_lands, scene_set,
										scene_clear),
		cmocka_unit_test_setup_teardown(test_abandoned_quota_never_lands, scene_set,
										scene_clear),
		cmocka_unit_test_setup_teardown(test_refused_create_stays_refused, scene_set,
										scene_clear),
		cmocka_unit_test_setup_teardown(test_own_key_repeats, scene_set, scene_clear),
		cmocka_unit_test_setup_teardown(test_known_outcomes_are_known, scene_set,
										scene_clear),
	};

	return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
