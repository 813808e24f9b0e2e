/*
 * quota_calls.h - quotas of an engine, set and compared with what is there; and parts
 * of a test in processes of their own, to be killed.
 */
#ifndef QUOTA_CALLS_H
#define QUOTA_CALLS_H

#include "engine_fixture.h"

typedef struct usage_answer
{
	engine_status status;
	engine_usage usage;
} usage_answer;

extern void take_usage(void *arg, const engine_status *status, const engine_usage *usage);

extern void set_quota(engine *on, const char *prefix, uint64_t max_keys,
					  uint64_t max_bytes);
extern bool remove_quota(engine *on, const char *prefix);
/* Waits until all is counted. */
extern engine_usage usage_of(engine *on, const char *prefix);
extern void assert_usage(engine *on, const char *prefix, uint64_t keys, uint64_t n_bytes);
/* Asserts nothing: for processes that end with a status. False, and said on stderr,
 * where the quota has counted anything but this. Without a quota it is true. */
extern bool is_usage(engine *on, const char *prefix, engine_usage live);

extern engine_status try_op(engine *on, engine_op op);
/* For a quota, with this text. */
extern void assert_over_quota(engine *on, engine_op op, const char *text);

/*
 * Each part in a process of its own, which no thread of ours is missing in. Nothing is
 * asserted there: the exit status tells. kill_it: after a random time, which is no
 * failure.
 */
extern int	run_in_child(fixture *fix, int (*part) (fixture *fix, uint64_t random),
						 uint64_t random, bool kill_it);

#endif
