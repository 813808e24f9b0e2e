/*
 * quota_calls.c - quotas of an engine, set and compared with what is there.
 */
#include "quota_calls.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

void
set_quota(engine *on, const char *prefix, uint64_t max_keys, uint64_t max_bytes)
{
	engine_op	op = {.kind = ENGINE_QUOTA_SET, .key = TEXT(prefix),
		.quota = {max_keys, max_bytes}};
	engine_status status;

	commit_op(on, op, &status);
	assert_int_equal(status.code, ENGINE_OK);
}

bool
remove_quota(engine *on, const char *prefix)
{
	engine_op	op = {.kind = ENGINE_QUOTA_REMOVE, .key = TEXT(prefix)};
	engine_status status;
	engine_result result = commit_op(on, op, &status);

	assert_int_equal(status.code, ENGINE_OK);
	return result.existed;
}

void
take_usage(void *arg, const engine_status *status, const engine_usage *usage)
{
	usage_answer *to = arg;

	to->status = *status;
	to->usage = (engine_usage) {0};
	if (usage != NULL)
		to->usage = *usage;
}

engine_usage
usage_of(engine *on, const char *prefix)
{
	usage_answer found;

	for (;;)
	{
		on->methods->usage(on, TEXT(prefix), take_usage, &found);
		assert_int_equal(found.status.code, ENGINE_OK);
		if (!found.usage.recounting)
			return found.usage;
		usleep(1000);
	}
}

void
assert_usage(engine *on, const char *prefix, uint64_t keys, uint64_t n_bytes)
{
	engine_usage usage = usage_of(on, prefix);

	assert_int_equal(usage.keys, keys);
	assert_int_equal(usage.bytes, n_bytes);
}

engine_status
try_op(engine *on, engine_op op)
{
	engine_status status;

	commit_op(on, op, &status);
	return status;
}

void
assert_over_quota(engine *on, engine_op op, const char *text)
{
	engine_status status = try_op(on, op);

	assert_int_equal(status.code, ENGINE_RESOURCE_EXHAUSTED);
	assert_string_equal(status.text, text);
}

bool
is_usage(engine *on, const char *prefix, engine_usage live)
{
	engine_usage usage;
	usage_answer found;

	on->methods->usage(on, TEXT(prefix), take_usage, &found);
	if (found.status.code == ENGINE_NOT_FOUND)
		return true;
	usage = usage_of(on, prefix);
	if (usage.keys == live.keys && usage.bytes == live.bytes)
		return true;
	fprintf(stderr, "%s: %llu keys and %llu bytes are counted, %llu and %llu are there\n",
			prefix, (unsigned long long) usage.keys, (unsigned long long) usage.bytes,
			(unsigned long long) live.keys, (unsigned long long) live.bytes);
	return false;
}

/* ---- Crashes ---- */

/* Nothing is asserted in the child: the exit status tells. kill_it: after a random time,
 * which is no failure. */
static int
run_in_child(fixture *fix, int (*part) (fixture *fix, uint64_t random), uint64_t random,
			 bool kill_it)
{
	pid_t		child = fork();
	int			status;

	assert_true(child >= 0);
	if (child == 0)
		_exit(part(fix, random));
	if (kill_it)
	{
		usleep(30000 + (useconds_t) random_below(&random, 60000));
		assert_int_equal(kill(child, SIGKILL), 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : kill_it ? 0 : 128;
}

static const quota_model *model;

static int
fill_in_child(fixture *fix, uint64_t random)
{
	bool		good;

	(void) random;
	fixture_open(fix);
	good = model->fill(fix->engine);
	set_quota(fix->engine, "c/", 0, 0);
	fixture_close(fix);
	return good ? 0 : 1;
}

static int
change_for_ever(fixture *fix, uint64_t random)
{
	fixture_open(fix);
	for (;;)
	{
		if (random_below(&random, 50) == 0)
		{
			remove_quota(fix->engine, model->inner);
			set_quota(fix->engine, model->inner, 0, 0);
		}
		model->change(fix->engine, &random);
	}
	return 1;
}

static int
compare_counts(fixture *fix, uint64_t random)
{
	bool		good;

	fixture_open(fix);
	good = is_usage(fix->engine, "c/", model->live(fix->engine, "c/")) &&
		is_usage(fix->engine, model->inner, model->live(fix->engine, model->inner));
	if (model->refills && random_below(&random, 4) == 0)
		good = model->fill(fix->engine) && good;
	fixture_close(fix);
	return good ? 0 : 1;
}

void
assert_counts_survive_crashes(fixture *fix, const quota_model *of)
{
	uint64_t	random = seed();
	unsigned	n = rounds(100);

	model = of;
	assert_int_equal(run_in_child(fix, fill_in_child, 0, false), 0);
	for (unsigned i = 0; i < n; i++)
	{
		fix->sync = i % 2 == 0;
		assert_int_equal(run_in_child(fix, change_for_ever,
									  random_below(&random, UINT64_MAX), true), 0);
		assert_int_equal(run_in_child(fix, compare_counts,
									  random_below(&random, UINT64_MAX), false), 0);
	}
}
