/*
 * quota_calls.h - quotas of an engine, set and compared with what is there, also after
 * it was killed.
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

/* What is counted by the quota "c/", and by one within it that comes and goes. */
typedef struct quota_model
{
	const char *inner;
	bool		(*fill) (engine *on);
	void		(*change) (engine *on, uint64_t *random);
	engine_usage (*live) (engine *on, const char *prefix);
	bool		refills;		/* filled again now and then */
} quota_model;

/*
 * Killed in the middle of changes again and again, also while it counts. Each part runs in
 * a process of its own, which no thread of ours is missing in.
 */
extern void assert_counts_survive_crashes(fixture *fix, const quota_model *model);

#endif
