/*
 * keeper.c - the background worker "norikv keeper": its loop, its clients.
 *
 * What must hold:
 * - An error in a module ends the process, and PostgreSQL starts it again in a
 *   second; nothing it needs is in its own memory only.
 * - gRPC's threads never take a signal: all are blocked while the library works, and
 *   taken between two rounds.
 * - It sleeps on its latch where nothing is under way. Calls are waited for in slices,
 *   since the library's queue cannot wake a latch.
 * - With the postmaster it ends at once: nobody is left whose lease it could renew.
 */
#include "postgres.h"

#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/pidfile.h"
#include "utils/memutils.h"

#include "campaign.h"
#include "keeper.h"
#include "launcher.h"
#include "lease.h"

#define SLICE_MS 1			/* of a wait for calls that end soon */
#define SWEEP_MS (30 * 1000) /* between two looks for endpoints without use */
#define SHUTDOWN_MS 3000	/* at most, for what is to be finished */

static const NorikvKeeperModule *const modules[] = {
	&NorikvLeaseModule,
	&NorikvCampaignModule,
	&NorikvCacheModule,
};

typedef struct SharedKeeper
{
	pg_atomic_uint32 running;
	pg_atomic_uint32 proc; /* its place among the PGPROCs */
	pg_atomic_uint64 wake_at; /* boot time at which it looks by itself */
} SharedKeeper;

struct NorikvKeeperClient
{
	dlist_node node;
	int number; /* of the endpoint */
	uint64 serial;
	bool embedded;
	uint32 generation;
	norikv_client *client;
	uint16 key_prefix_size;
	char key_prefix[NORIKV_ENDPOINT_PREFIX];
	dlist_head calls;
};

static SharedKeeper *shared = NULL;
static dlist_head clients = DLIST_STATIC_INIT(clients);

extern PGDLLEXPORT void NorikvKeeperMain(Datum argument)
	__attribute__((visibility("default")));

/* ---- Shared memory ---- */

static Size
shared_size(void)
{
	return sizeof(SharedKeeper);
}

static void
init_shared(LWLockPadded *locks)
{
	pg_atomic_init_u32(&shared->running, 0);
	pg_atomic_init_u32(&shared->proc, 0);
	pg_atomic_init_u64(&shared->wake_at, 0);
}

static const NorikvSharedMemory shared_memory = {
	.name = "norikv keeper",
	.size = shared_size,
	.init = init_shared,
	.memory = (void **) &shared,
};

void
NorikvKeeperInit(void)
{
	BackgroundWorker worker;

	NorikvEndpointInit();
	NorikvLeaseInit();
	NorikvCampaignInit();
	NorikvShareMemory(&shared_memory);
	if (IsBinaryUpgrade)
		return;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "norikv", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "NorikvKeeperMain",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "norikv keeper", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "norikv keeper", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

bool
NorikvKeeperRuns(void)
{
	return shared != NULL && pg_atomic_read_u32(&shared->running) != 0;
}

/* One that is to look earlier than this by itself is not woken. */
void
NorikvKeeperWake(int64 at)
{
	if (shared == NULL)
		return;
	pg_memory_barrier();
	if (pg_atomic_read_u32(&shared->running) != 0 &&
		(int64) pg_atomic_read_u64(&shared->wake_at) > at)
		SetLatch(&ProcGlobal->allProcs[pg_atomic_read_u32(&shared->proc)].procLatch);
}

/* ---- Clients ---- */

static void
close_client(NorikvKeeperClient *client)
{
	norikv_client_free(client->client);
	dlist_delete(&client->node);
	pfree(client);
}

static bool
is_current(const NorikvKeeperClient *client)
{
	return client->serial == NorikvEndpointSerial(client->number) &&
		   (!client->embedded || client->generation == NorikvEmbeddedGeneration());
}

/* Those of endpoints that are gone, and of an earlier run of the embedded server. */
static void
close_old_clients(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &clients)
	{
		NorikvKeeperClient *client = dlist_container(NorikvKeeperClient, node, iter.cur);

		if (dlist_is_empty(&client->calls) && !is_current(client))
			close_client(client);
	}
}

static norikv_client *
make_client(const NorikvEndpoint *endpoint)
{
	norikv_options options;
	norikv_error error;
	norikv_client *client;

	norikv_options_init(&options);
	options.nodes = endpoint->nodes;
	options.token = endpoint->token[0] == '\0' ? NULL : endpoint->token;
	options.timeout_ms = endpoint->timeout;
	options.attempt_timeout_ms = endpoint->attempt_timeout;
	options.connect_timeout_ms = endpoint->connect_timeout;
	options.max_retries = endpoint->max_retries;
	options.trust_cas = endpoint->trust_cas;
	options.key_prefix = (norikv_slice){endpoint->key_prefix, endpoint->key_prefix_size};
	client = norikv_client_new(&options, &error);
	/* A backend's client was made of the same. */
	if (client == NULL)
		elog(ERROR, "could not make a client: %s", error.text);
	return client;
}

NorikvKeeperClient *
NorikvKeeperClientFor(int number)
{
	NorikvKeeperClient *client;
	NorikvEndpoint endpoint;
	dlist_iter iter;

	dlist_foreach(iter, &clients)
	{
		client = dlist_container(NorikvKeeperClient, node, iter.cur);
		if (client->number == number && is_current(client))
			return client;
	}
	NorikvEndpointCopy(number, &endpoint);
	if (endpoint.embedded && NorikvEmbeddedGeneration() == 0)
		return NULL;
	client = MemoryContextAllocZero(TopMemoryContext, sizeof(NorikvKeeperClient));
	client->number = number;
	client->serial = NorikvEndpointSerial(number);
	client->embedded = endpoint.embedded;
	client->generation = NorikvEmbeddedGeneration();
	dlist_init(&client->calls);
	client->key_prefix_size = endpoint.key_prefix_size;
	memcpy(client->key_prefix, endpoint.key_prefix, endpoint.key_prefix_size);
	client->client = make_client(&endpoint);
	explicit_bzero(&endpoint, sizeof(endpoint));
	dlist_push_head(&clients, &client->node);
	return client;
}

norikv_client *
NorikvKeeperClientHandle(const NorikvKeeperClient *client)
{
	return client->client;
}

norikv_slice
NorikvKeeperClientPrefix(const NorikvKeeperClient *client)
{
	return (norikv_slice){client->key_prefix, client->key_prefix_size};
}

void
NorikvKeeperTrack(NorikvKeeperCall *call, NorikvKeeperClient *client,
				  norikv_call *started, int stream_ms)
{
	Assert(call->call == NULL);
	call->client = client;
	call->call = started;
	call->stream_ms = stream_ms;
	dlist_push_tail(&client->calls, &call->node);
}

void
NorikvKeeperDrop(NorikvKeeperCall *call)
{
	if (call->call == NULL)
		return;
	norikv_call_free(call->call);
	call->call = NULL;
	dlist_delete(&call->node);
}

/*
 * A call that ends soon; the library waits until one list of calls has ended. And how
 * often the streams before it are to be looked at.
 */
static norikv_call *
first_short_call(NorikvKeeperClient *client, int *stream_ms)
{
	dlist_iter iter;

	dlist_foreach(iter, &client->calls)
	{
		NorikvKeeperCall *call = dlist_container(NorikvKeeperCall, node, iter.cur);

		if (call->stream_ms == 0)
			return call->call;
		*stream_ms = Min(*stream_ms, call->stream_ms);
	}
	return NULL;
}

/*
 * Lets all calls progress; returns whether some end soon, and have been waited for: the
 * next round comes at once then. Else streams are to be looked at after *stream_ms. The
 * slice goes to one client: the others' calls are seen a slice late at most.
 */
static bool
poll_clients(int *stream_ms)
{
	bool waited = false;
	dlist_iter iter;

	*stream_ms = INT_MAX;
	dlist_foreach(iter, &clients)
	{
		NorikvKeeperClient *client = dlist_container(NorikvKeeperClient, node, iter.cur);
		norikv_call *call;

		if (dlist_is_empty(&client->calls))
			continue;
		call = first_short_call(client, stream_ms);
		(void) norikv_wait(client->client, &call, call != NULL,
						   call != NULL && !waited ? SLICE_MS : 0);
		waited |= call != NULL;
	}
	return waited;
}

/* ---- The loop ---- */

/* Cancels what is under way, and waits for gRPC to let go of it. */
static void
stop_running(int code, Datum arg)
{
	sigset_t saved;

	NorikvBlockSignals(&saved);
	while (!dlist_is_empty(&clients))
		close_client(
			dlist_container(NorikvKeeperClient, node, dlist_head_node(&clients)));
	NorikvRestoreSignals(&saved);
	pg_atomic_write_u32(&shared->running, 0);
}

static void
start_running(void)
{
	pg_atomic_write_u32(&shared->proc, MyProc - ProcGlobal->allProcs);
	pg_atomic_write_u64(&shared->wake_at, (uint64) NORIKV_KEEPER_NEVER);
	pg_write_barrier();
	pg_atomic_write_u32(&shared->running, 1);
	before_shmem_exit(stop_running, (Datum) 0);
	for (int i = 0; i < lengthof(modules); i++)
		modules[i]->start();
}

/*
 * Runs all steps; the boot time of the next. Meanwhile everybody who has something
 * to do sets the latch, since a step may have looked already.
 */
static int64
run_steps(int64 now)
{
	int64 next = NORIKV_KEEPER_NEVER;

	pg_atomic_write_u64(&shared->wake_at, (uint64) NORIKV_KEEPER_NEVER);
	pg_memory_barrier();
	for (int i = 0; i < lengthof(modules); i++)
	{
		int64 at = modules[i]->step(now);

		next = Min(next, at);
	}
	pg_atomic_write_u64(&shared->wake_at, (uint64) next);
	return next;
}

/*
 * One round, with signals blocked: whether to sleep after it, and until when. Steps
 * come after the poll, so that a call they start leaves at once with the next one.
 */
static bool
run_round(int64 *next)
{
	sigset_t saved;
	int stream_ms;
	bool waited;

	NorikvBlockSignals(&saved);
	waited = poll_clients(&stream_ms);
	*next = run_steps(NorikvBootMilliseconds());
	close_old_clients();
	if (!waited)
		waited = poll_clients(&stream_ms);
	NorikvRestoreSignals(&saved);
	if (stream_ms != INT_MAX)
		*next = Min(*next, NorikvBootMilliseconds() + stream_ms);
	return !waited;
}

/*
 * Without the postmaster at once, and without closing clients in order, which can take
 * a second: the kernel closes their connections.
 */
static void
end_without_postmaster(void)
{
	_exit(1);
}

/* The latch says that there is something new in shared memory, or a signal came. */
static void
sleep_until(int64 next)
{
	int64 timeout =
		next == NORIKV_KEEPER_NEVER ? -1 : Max(next - NorikvBootMilliseconds(), 0);
	int events = WL_LATCH_SET | WL_POSTMASTER_DEATH;

	if (timeout >= 0)
		events |= WL_TIMEOUT;
	events =
		WaitLatch(MyLatch, events, (long) Min(timeout, INT_MAX), PG_WAIT_EXTENSION);
	if (events & WL_POSTMASTER_DEATH)
		end_without_postmaster();
	ResetLatch(MyLatch);
}

/* The postmaster says so in its lock file before it tells anybody else. */
bool
NorikvPostgresStops(void)
{
	FILE *file = fopen("postmaster.pid", "r");
	char line[MAXPGPATH] = "";
	int n = 0;

	if (file == NULL)
		return false;
	while (n < LOCK_FILE_LINE_PM_STATUS && fgets(line, sizeof(line), file) != NULL)
		n++;
	fclose(file);
	return n == LOCK_FILE_LINE_PM_STATUS &&
		   strncmp(line, PM_STATUS_STOPPING, strlen(PM_STATUS_STOPPING)) == 0;
}

/* Asked to end: what the modules want to finish, and what backends leave meanwhile. */
static bool
may_end(int64 asked_at)
{
	int64 now = NorikvBootMilliseconds();
	bool busy = false;

	for (int i = 0; i < lengthof(modules); i++)
		busy |= modules[i]->busy(now, asked_at);
	return !busy || now >= asked_at + SHUTDOWN_MS;
}

void
NorikvKeeperMain(Datum argument)
{
	int64 asked_at = 0; /* to end */
	int64 next_sweep;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "norikv keeper",
												ALLOCSET_DEFAULT_SIZES));
	start_running();
	next_sweep = NorikvBootMilliseconds() + SWEEP_MS;
	for (;;)
	{
		int64 next;
		bool idle = run_round(&next);

		if (NorikvBootMilliseconds() >= next_sweep)
		{
			NorikvEndpointSweep();
			next_sweep = NorikvBootMilliseconds() + SWEEP_MS;
		}
		if (ShutdownRequestPending && asked_at == 0)
			asked_at = NorikvBootMilliseconds();
		if (asked_at != 0 && may_end(asked_at))
			break;
		if (asked_at != 0)
			next = Min(next, NorikvBootMilliseconds() + 10);
		if (idle)
			sleep_until(Min(next, next_sweep));
		else if (!PostmasterIsAlive())
			end_without_postmaster();
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		MemoryContextReset(CurrentMemoryContext);
	}

	/* 0 would mean that it is never to be started again. */
	proc_exit(1);
}
