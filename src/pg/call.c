/*
 * call.c - calls, from start to end, and the one wait.
 *
 * What must hold:
 * - A backend that waits takes a cancel within one slice.
 * - A call is freed by whoever started it, or by the release of its resource
 *   owner (error, abort), or when its connection is closed (exit: FATAL runs no
 *   PG_CATCH). Calls are libnorikv's, in malloc'ed memory, for gRPC writes to
 *   them until it has let go; nothing here frees memory under it.
 * - gRPC's threads never take a signal: see NorikvBlockSignals.
 */
#include "pg_norikv.h"

#include <pthread.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "utils/memutils.h"

#include "cache/cache.h"

/* How long signals stay blocked in a wait, in milliseconds. */
#define SLICE_MS 10

static dlist_head live_calls = DLIST_STATIC_INIT(live_calls);
static dlist_head spare_calls = DLIST_STATIC_INIT(spare_calls);
static sigset_t all_signals;

void
NorikvBlockSignals(sigset_t *saved)
{
	pthread_sigmask(SIG_SETMASK, &all_signals, saved);
}

void
NorikvRestoreSignals(const sigset_t *saved)
{
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

/* ---- From start to end ---- */

/* Never throws once the library's call is there: it would be lost. */
static NorikvCall *
new_call(NorikvConnection *connection, NorikvOperation operation, norikv_slice key)
{
	NorikvCall *call;

	if (dlist_is_empty(&spare_calls))
		call = MemoryContextAlloc(TopMemoryContext, sizeof(NorikvCall));
	else
		call = dlist_container(NorikvCall, node, dlist_pop_head_node(&spare_calls));
	call->subject = (NorikvSubject){connection, operation, key, false, NORIKV_IF_ANY};
	call->call = NULL;
	call->owner = CurrentResourceOwner;
	call->cache_write = (NorikvCacheWrite){.started = false};
	INSTR_TIME_SET_CURRENT(call->start);
	connection->live_calls++;
	dlist_push_head(&live_calls, &call->node);
	return call;
}

/* A write given up after it was sent is as unknown as one whose answer was lost. */
static void
count(NorikvCall *call)
{
	NorikvStatServer *server = call->subject.connection->stat;
	norikv_call_stats stats;
	instr_time elapsed;
	bool failed = true;
	bool unknown;

	if (server == NULL)
		return;
	stats = norikv_call_get_stats(call->call);
	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, call->start);
	if (norikv_call_done(call->call))
	{
		const norikv_error *error = norikv_call_error(call->call);

		failed = error->code != NORIKV_OK;
		unknown = error->outcome_unknown;
	}
	else
		unknown = call->subject.write && stats.attempts > 0;
	NorikvStatCount(server, call->subject.operation, failed, unknown, &stats,
					INSTR_TIME_GET_MICROSEC(elapsed));
}

/*
 * A single get or write that has ended is memory and nothing else: gRPC has no part in
 * freeing it. Others may have streams under way, which freeing them cancels.
 */
static bool
at_rest(const NorikvCall *call)
{
	NorikvOperation operation = call->subject.operation;

	return norikv_call_done(call->call) &&
		(operation == NORIKV_CALL_GET || operation == NORIKV_CALL_PUT ||
		 operation == NORIKV_CALL_DELETE);
}

static void
free_call(norikv_call *call)
{
	sigset_t saved;

	NorikvBlockSignals(&saved);
	norikv_call_free(call);
	NorikvRestoreSignals(&saved);
}

/* A write that was given up, or whose answer was lost, may take effect later. */
static void
end_write(NorikvCall *call)
{
	bool settled = call->call == NULL ||
		(norikv_call_done(call->call) && !norikv_call_error(call->call)->outcome_unknown);

	NorikvCacheWriteEnds(&call->cache_write, settled);
}

void
NorikvFree(NorikvCall *call)
{
	end_write(call);
	if (call->call != NULL)
	{
		count(call);
		if (at_rest(call))
			norikv_call_free(call->call);
		else
			free_call(call->call);
	}
	call->call = NULL;
	call->subject.connection->live_calls--;
	dlist_delete(&call->node);
	dlist_push_head(&spare_calls, &call->node);
}

/* Before the connection's client goes. */
void
NorikvFreeCalls(NorikvConnection *connection)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &live_calls)
	{
		NorikvCall *call = dlist_container(NorikvCall, node, iter.cur);

		if (call->subject.connection == connection)
			NorikvFree(call);
	}
}

static void
release_calls(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	dlist_mutable_iter iter;

	if (phase != RESOURCE_RELEASE_BEFORE_LOCKS)
		return;
	dlist_foreach_modify(iter, &live_calls)
	{
		NorikvCall *call = dlist_container(NorikvCall, node, iter.cur);

		if (call->owner != CurrentResourceOwner)
			continue;
		if (is_commit)
			elog(WARNING, "norikv call leaked: %s",
				 NorikvOperationName(call->subject.operation));
		NorikvFree(call);
	}
}

void
NorikvCallInit(void)
{
	sigfillset(&all_signals);
	RegisterResourceReleaseCallback(release_calls, NULL);
}

/* ---- Waiting ---- */

/*
 * Signals are blocked while the library works, so that they are taken here and by
 * this thread only, at most a slice late.
 */
static void
await_slice(NorikvCall *call)
{
	sigset_t saved;

	NorikvBlockSignals(&saved);
	(void) norikv_wait(call->subject.connection->client, &call->call, 1, SLICE_MS);
	NorikvRestoreSignals(&saved);
}

/* A cancel of a write that was sent must say that the write may be there. */
static void
check_interrupts(NorikvCall *call)
{
	ErrorContextCallback callback = {error_context_stack, NorikvWriteInterrupted,
									 &call->subject};

	if (!INTERRUPTS_PENDING_CONDITION())
		return;
	if (call->subject.write && norikv_call_get_stats(call->call).attempts > 0)
		error_context_stack = &callback;
	ProcessInterrupts();
	error_context_stack = callback.previous;
}

bool
NorikvAwaitUntil(NorikvCall *call, int64 until_us)
{
	bool done;

	pgstat_report_wait_start(PG_WAIT_EXTENSION);
	for (;;)
	{
		await_slice(call);
		done = norikv_call_done(call->call);
		if (done || (until_us != PG_INT64_MAX && NorikvBootMicroseconds() >= until_us))
			break;
		check_interrupts(call);
		if (!PostmasterIsAlive())
			proc_exit(1);
	}
	pgstat_report_wait_end();
	if (done)
		end_write(call);
	return done;
}

const norikv_error *
NorikvAwait(NorikvCall *call)
{
	(void) NorikvAwaitUntil(call, PG_INT64_MAX);
	return norikv_call_error(call->call);
}

void
NorikvFinish(NorikvCall *call)
{
	const norikv_error *error = NorikvAwait(call);

	if (error->code != NORIKV_OK)
		NorikvRaise(error, &call->subject);
}

/* An answer that is not what was asked for must not be read past its end. */
const norikv_entry *
NorikvFinishMultiGet(NorikvCall *call, size_t n_keys)
{
	const norikv_entry *entries;
	size_t n_entries;

	NorikvFinish(call);
	entries = norikv_call_entries(call->call, &n_entries);
	if (n_entries != n_keys)
		ereport(ERROR, errcode(ERRCODE_PROTOCOL_VIOLATION),
				errmsg("server \"%s\" answered %zu entries for %zu keys",
					   call->subject.connection->name, n_entries, n_keys));
	return entries;
}

bool
NorikvAskNextPage(NorikvCall *call)
{
	sigset_t saved;
	bool more;

	NorikvBlockSignals(&saved);
	more = norikv_call_next(call->call);
	NorikvRestoreSignals(&saved);
	return more;
}

bool
NorikvNextPage(NorikvCall *call)
{
	bool more;

	CHECK_FOR_INTERRUPTS();
	more = NorikvAskNextPage(call);
	NorikvFinish(call);
	return more;
}

void
NorikvSleep(long milliseconds)
{
	instr_time start;
	instr_time now;
	long left = milliseconds;

	INSTR_TIME_SET_CURRENT(start);
	while (left > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		INSTR_TIME_SET_CURRENT(now);
		INSTR_TIME_SUBTRACT(now, start);
		left = milliseconds - (long) INSTR_TIME_GET_MILLISEC(now);
	}
}

/* ---- Starting ---- */

static const norikv_slice no_key = {NULL, 0};

/* Runs the library's function that starts the call, with signals blocked. */
#define START(call, start_call)                                                          \
	do                                                                                   \
	{                                                                                    \
		sigset_t saved_;                                                                 \
		NorikvBlockSignals(&saved_);                                                     \
		(call)->call = (start_call);                                                     \
		NorikvRestoreSignals(&saved_);                                                   \
	} while (0)

/* What it may change is not to be found in the cache from here until its end. */
static void
start_write(NorikvCall *call, const norikv_operation *operations, size_t n_operations)
{
	call->subject.write = true;
	NorikvCacheWriteStarts(&call->cache_write,
						   call->subject.connection->key_prefix, operations,
						   n_operations);
}

NorikvCall *
NorikvStartGet(NorikvConnection *connection, norikv_slice key, const char *consistency)
{
	norikv_call_options options = {.consistency = consistency};
	NorikvCall *call = new_call(connection, NORIKV_CALL_GET, key);

	START(call, norikv_get(connection->client, key, &options));
	return call;
}

NorikvCall *
NorikvStartMultiGet(NorikvConnection *connection, const norikv_slice *keys, size_t n_keys,
					const char *consistency)
{
	norikv_call_options options = {.consistency = consistency};
	NorikvCall *call =
		new_call(connection, NORIKV_CALL_MGET, n_keys == 1 ? keys[0] : no_key);

	START(call, norikv_multi_get(connection->client, keys, n_keys, &options));
	return call;
}

NorikvCall *
NorikvStartScan(NorikvConnection *connection, const norikv_scan_request *request)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_SCAN, no_key);

	START(call, norikv_scan(connection->client, request, NULL));
	return call;
}

NorikvCall *
NorikvStartWrite(NorikvConnection *connection, const norikv_operation *operation,
				 norikv_slice idempotency_key)
{
	norikv_call_options options = {.idempotency_key = idempotency_key};
	NorikvOperation kind = operation->kind == NORIKV_OP_PUT ? NORIKV_CALL_PUT
															: NORIKV_CALL_DELETE;
	NorikvCall *call = new_call(connection, kind, operation->key);

	call->subject.condition = operation->condition;
	start_write(call, operation, 1);
	START(call, norikv_write(connection->client, operation, &options));
	return call;
}

static NorikvCall *
start_commit(NorikvConnection *connection, const norikv_operation *operations,
			 size_t n_operations, bool atomic, norikv_slice idempotency_key)
{
	norikv_call_options options = {.idempotency_key = idempotency_key};
	NorikvCall *call = new_call(connection, NORIKV_CALL_COMMIT,
								n_operations == 1 ? operations[0].key : no_key);

	if (n_operations == 1)
		call->subject.condition = operations[0].condition;
	start_write(call, operations, n_operations);
	START(call,
		  norikv_commit(connection->client, operations, n_operations, atomic, &options));
	return call;
}

NorikvCall *
NorikvStartCommit(NorikvConnection *connection, const norikv_operation *operations,
				  size_t n_operations, bool atomic)
{
	return start_commit(connection, operations, n_operations, atomic, no_key);
}

NorikvCall *
NorikvStartKeyedCommit(NorikvConnection *connection, const norikv_operation *operations,
					   size_t n_operations, norikv_slice idempotency_key)
{
	return start_commit(connection, operations, n_operations, true, idempotency_key);
}

NorikvCall *
NorikvStartInfo(NorikvConnection *connection)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_INFO, no_key);

	START(call, norikv_get_info(connection->client, NULL));
	return call;
}

NorikvCall *
NorikvStartHealth(NorikvConnection *connection)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_PING, no_key);

	START(call, norikv_health(connection->client, NULL));
	return call;
}

NorikvCall *
NorikvStartWatchCluster(NorikvConnection *connection)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_VIEW, no_key);

	START(call, norikv_watch_cluster(connection->client, NULL));
	return call;
}

NorikvCall *
NorikvStartWatch(NorikvConnection *connection, norikv_slice key)
{
	char end[NORIKV_WATCH_END_SIZE];
	norikv_watch_request request = {.start = key, .end = norikv_key_end(key, end)};
	NorikvCall *call = new_call(connection, NORIKV_CALL_WATCH, key);

	START(call, norikv_watch(connection->client, &request, NULL));
	return call;
}

NorikvCall *
NorikvStartSetQuota(NorikvConnection *connection, const norikv_quota *quota)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_QUOTA, no_key);

	call->subject.write = true;
	START(call, norikv_set_quota(connection->client, quota, NULL));
	return call;
}

NorikvCall *
NorikvStartUsage(NorikvConnection *connection, norikv_slice prefix)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_USAGE, no_key);

	START(call, norikv_usage(connection->client, prefix, NULL));
	return call;
}

/* ---- Vectors ---- */

NorikvCall *
NorikvStartCreateIndex(NorikvConnection *connection, norikv_slice space,
					   uint32 dimensions, norikv_distance distance,
					   norikv_index_type type)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_VECTOR_INDEX, space);

	call->subject.write = true;
	START(call, norikv_vector_create_index(connection->client, space, dimensions,
										   distance, type, NULL));
	return call;
}

NorikvCall *
NorikvStartDropIndex(NorikvConnection *connection, norikv_slice space)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_VECTOR_INDEX, space);

	call->subject.write = true;
	START(call, norikv_vector_drop_index(connection->client, space, NULL));
	return call;
}

NorikvCall *
NorikvStartListIndexes(NorikvConnection *connection, norikv_slice prefix)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_VECTOR_INDEX, no_key);

	START(call, norikv_vector_list(connection->client, prefix, NULL));
	return call;
}

NorikvCall *
NorikvStartVectorInsert(NorikvConnection *connection, norikv_slice space, norikv_slice id,
						const float *vector, uint32 dimensions)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_VECTOR_INSERT, id);

	call->subject.write = true;
	START(call, norikv_vector_insert(connection->client, space, id, vector, dimensions,
									 NULL));
	return call;
}

NorikvCall *
NorikvStartVectorDelete(NorikvConnection *connection, norikv_slice space, norikv_slice id)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_VECTOR_DELETE, id);

	call->subject.write = true;
	START(call, norikv_vector_delete(connection->client, space, id, NULL));
	return call;
}

NorikvCall *
NorikvStartVectorGet(NorikvConnection *connection, norikv_slice space, norikv_slice id)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_VECTOR_GET, id);

	START(call, norikv_vector_get(connection->client, space, id, NULL));
	return call;
}

NorikvCall *
NorikvStartVectorGetMany(NorikvConnection *connection, norikv_slice space,
						 const norikv_slice *ids, size_t n_ids)
{
	NorikvCall *call =
		new_call(connection, NORIKV_CALL_VECTOR_GET, n_ids == 1 ? ids[0] : no_key);

	START(call, norikv_vector_get_many(connection->client, space, ids, n_ids, NULL));
	return call;
}

NorikvCall *
NorikvStartVectorSearch(NorikvConnection *connection,
						const norikv_search_request *request)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_VECTOR_SEARCH, no_key);

	START(call, norikv_vector_search(connection->client, request, NULL));
	return call;
}

NorikvCall *
NorikvStartVectorScan(NorikvConnection *connection,
					  const norikv_vector_scan_request *request)
{
	NorikvCall *call = new_call(connection, NORIKV_CALL_VECTOR_SCAN, no_key);

	START(call, norikv_vector_scan(connection->client, request, NULL));
	return call;
}
