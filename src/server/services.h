/*
 * services.h - the methods that norikvd serves.
 */
#ifndef NORIKVD_SERVICES_H
#define NORIKVD_SERVICES_H

#include <time.h>

#include "call.h"

/* kv.c */
extern const method kv_put;
extern const method kv_get;
extern const method kv_delete;

/* meta.c */
extern const method meta_watch_cluster;

/* health.c */
extern const method health_check;
extern const method health_watch;

/* ext_info.c, ext_multi_get.c, ext_commit.c, ext_scan.c */
extern const method ext_info;
extern const method ext_multi_get;
extern const method ext_commit;
extern const method ext_scan;
extern const method ext_vector_scan;

/* ext_quota.c */
extern const method ext_set_quota;
extern const method ext_usage;

/* ext_watch.c */
extern const method ext_watch;

/* vector.c */
extern const method vector_create_index;
extern const method vector_drop_index;
extern const method vector_insert;
extern const method vector_delete;
extern const method vector_get;
extern const method vector_search_one;

/* ext_vector.c */
extern const method ext_vector_list;
extern const method ext_vector_multi_get;
extern const method ext_vector_search;

/*
 * For engine_unit.may_start, with the call as its arg: a write whose deadline
 * has passed, or whose caller is gone, is not begun.
 */
extern engine_code service_may_start(void *arg);

/* A unit of one operation: norikv.v1 knows no others. */
typedef struct service_write
{
	engine_unit unit;
	engine_op	op;
	void		(*answer) (call *self, const engine_result *result);
} service_write;

/*
 * Commits it, answers by write->answer, or with the error. The write is in the call's
 * arena; it becomes the call's state.
 */
extern void service_commit(call *self, service_write *write, const char *idempotency_key);

extern uint64_t service_microseconds_since(const struct timespec *started);

/* Every method says this when the server goes down under it. */
extern void service_fail_draining(call *self);

#endif
