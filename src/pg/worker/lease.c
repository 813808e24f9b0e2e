/*
 * lease.c - the table of leases, for those who take them.
 *
 * Every change of a lease is a few assignments under one lock. What a backend leaves
 * behind when it ends, however it ends, is the keeper's to delete; kill -9 makes
 * PostgreSQL restart with an empty table, and leases run out by themselves.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "keeper.h"
#include "lease.h"

#define KEEPER_START_MS 3000 /* it is started again a second after its end */
#define KEEPER_POLL_MS 10

typedef struct SharedLeases
{
	LWLock *lock;
	int n_slots;
	int n_used; /* none at this place or behind it is in use */
	NorikvLease slots[FLEXIBLE_ARRAY_MEMBER];
} SharedLeases;

static SharedLeases *shared = NULL;
static int max_leases = 1000;
static bool exit_registered = false;

/* ---- Shared memory ---- */

static Size
shared_size(void)
{
	return add_size(offsetof(SharedLeases, slots),
					mul_size(max_leases, sizeof(NorikvLease)));
}

/* Slots are not touched before they are used: 1000 of them take 3.3 MB. */
static void
init_shared(LWLockPadded *locks)
{
	shared->lock = &locks->lock;
	shared->n_slots = max_leases;
	shared->n_used = 0;
}

static const NorikvSharedMemory shared_memory = {
	.name = "norikv leases",
	.size = shared_size,
	.init = init_shared,
	.memory = (void **) &shared,
	.tranche = "norikv_leases",
	.n_locks = 1,
	.sparse = true,
};

void
NorikvLeaseInit(void)
{
	/*
	 * Locks and leases that all sessions together may hold or be taking at a time.
	 * Each takes 3.3 kB of shared memory once it is used.
	 */
	DefineCustomIntVariable(
		"norikv.max_leases", "Most locks and leases that are held at a time.",
		"Those of all sessions, and those that sessions wait for.", &max_leases, 1000, 10,
		100000, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	NorikvShareMemory(&shared_memory);
}

void
NorikvLeaseLock(void)
{
	if (shared != NULL)
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
}

void
NorikvLeaseUnlock(void)
{
	if (shared != NULL)
		LWLockRelease(shared->lock);
}

bool
NorikvLeasesAreShared(void)
{
	return shared != NULL;
}

void
NorikvRequireKeeper(const char *sql_name, const char *detail)
{
	if (shared == NULL)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("%s needs norikv's background worker", sql_name),
				errdetail("%s", detail),
				errhint("Add norikv to \"shared_preload_libraries\" and restart "
						"PostgreSQL."));
	for (int waited = 0; !NorikvKeeperRuns(); waited += KEEPER_POLL_MS)
	{
		if (waited >= KEEPER_START_MS)
			ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("%s needs norikv's background worker, which does not run",
						   sql_name),
					errdetail("%s", detail),
					errhint("The server log says why. It takes one of "
							"\"max_worker_processes\"."));
		NorikvSleep(KEEPER_POLL_MS);
	}
}

int
NorikvLeaseSlots(void)
{
	int n;

	if (shared == NULL)
		return 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	n = shared->n_used;
	LWLockRelease(shared->lock);
	return n;
}

int
NorikvLeaseCapacity(void)
{
	return shared->n_slots;
}

NorikvLease *
NorikvLeaseSlot(int slot)
{
	return &shared->slots[slot];
}

bool
NorikvLeaseLook(int slot, NorikvLease *copy)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	if (slot >= shared->n_used)
		copy->state = NORIKV_LEASE_FREE;
	else
		*copy = shared->slots[slot];
	LWLockRelease(shared->lock);
	if (copy->state == NORIKV_LEASE_HELD && NorikvBootMilliseconds() >= copy->deadline)
		copy->state = NORIKV_LEASE_LOST;
	return copy->state != NORIKV_LEASE_FREE;
}

/* ---- Helpers ---- */

int64
NorikvLeaseDeadlineMs(uint64 ttl_ms)
{
	return (int64) (ttl_ms / 100 * 99 + ttl_ms % 100 * 99 / 100);
}

void
NorikvMakeNonce(char nonce[NORIKV_NONCE_SIZE + 1])
{
	char bytes[NORIKV_NONCE_SIZE / 2];

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("could not generate random values"));
	nonce[hex_encode(bytes, sizeof(bytes), nonce)] = '\0';
}

bool
NorikvLeaseIsOurs(const NorikvLease *lease, norikv_slice value)
{
	return value.size >= NORIKV_NONCE_SIZE &&
		   memmem(value.data, value.size, lease->nonce, NORIKV_NONCE_SIZE) != NULL;
}

bool
NorikvLeaseIsReleased(norikv_slice value)
{
	bool found = false;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < shared->n_used && !found; i++)
	{
		const NorikvLease *lease = &shared->slots[i];

		found = lease->state == NORIKV_LEASE_RELEASING &&
				NorikvLeaseIsOurs(lease, value);
	}
	LWLockRelease(shared->lock);
	return found;
}

static bool
set_values(NorikvLease *lease, const norikv_slice *values)
{
	for (int i = 0; i < lease->n_puts; i++)
	{
		if (values[i].size > NORIKV_LEASE_VALUE)
			return false;
		lease->puts[i].value_size = values[i].size;
		memcpy(lease->puts[i].value, values[i].data, values[i].size);
	}
	return true;
}

/* ---- Taking a slot ---- */

static void
check_request(const NorikvConnection *connection, const NorikvLeaseRequest *request)
{
	for (int i = 0; i < request->n_puts; i++)
	{
		if (request->keys[i].size > NORIKV_MAX_KEY ||
			request->values[i].size > NORIKV_LEASE_VALUE)
			ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("a lease on server \"%s\" does not fit into shared memory",
						   connection->name),
					errdetail("Its key has %zu bytes, its value %zu; at most %d and %d "
							  "are possible.",
							  request->keys[i].size, request->values[i].size,
							  NORIKV_MAX_KEY, NORIKV_LEASE_VALUE));
	}
}

static void
fill(NorikvLease *lease, const NorikvConnection *connection,
	 const NorikvLeaseRequest *request, const char *nonce)
{
	lease->state = NORIKV_LEASE_TAKING;
	lease->user = NORIKV_LEASE_OWNER;
	lease->kind = request->kind;
	lease->owner_pid = request->ownerless ? 0 : MyProcPid;
	lease->owner_proc = MyProc - ProcGlobal->allProcs;
	lease->database = MyDatabaseId;
	lease->role = GetUserId();
	strlcpy(lease->server, connection->name, sizeof(lease->server));
	lease->timeout = connection->settings.timeout;
	strlcpy(lease->nonce, nonce, sizeof(lease->nonce));
	lease->n_puts = request->n_puts;
	for (int i = 0; i < request->n_puts; i++)
	{
		lease->puts[i].key_size = request->keys[i].size;
		memcpy(lease->puts[i].key, request->keys[i].data, request->keys[i].size);
	}
	(void) set_values(lease, request->values);
	lease->ttl_ms = request->ttl_ms;
	lease->version = (norikv_version){0};
	lease->token = 0;
	lease->deadline = lease->next_at = lease->late_until = lease->gone_at = 0;
	lease->uncertain = false;
	lease->acquired_at = 0;
}

/*
 * What this process still holds goes to the keeper. FATAL comes here, too, and before a
 * transaction is rolled back: what it holds is its own to give back, and once only, for
 * by then another process may have the slot.
 */
static void
release_at_exit(int code, Datum arg)
{
	AbortOutOfAnyTransaction();
	for (int i = NorikvLeaseSlots() - 1; i >= 0; i--)
	{
		NorikvLease *lease = &shared->slots[i];

		/* Only its owner sets the pid, so that it can be looked at without the lock. */
		if (lease->owner_pid == MyProcPid && lease->state != NORIKV_LEASE_FREE &&
			lease->state != NORIKV_LEASE_RELEASING)
			NorikvLeaseRelease(lease);
	}
}

void
NorikvLeaseRenameServer(Oid database, const char *server, const char *renamed)
{
	NorikvLeaseLock();
	for (int i = 0; i < shared->n_used; i++)
	{
		NorikvLease *lease = &shared->slots[i];

		if (lease->state != NORIKV_LEASE_FREE && lease->database == database &&
			strcmp(lease->server, server) == 0)
			strlcpy(lease->server, renamed, sizeof(lease->server));
	}
	NorikvLeaseUnlock();
}

static NorikvLease *
find_free_slot(void)
{
	for (int i = 0; i < shared->n_used; i++)
	{
		if (shared->slots[i].state == NORIKV_LEASE_FREE)
			return &shared->slots[i];
	}
	if (shared->n_used == shared->n_slots)
		return NULL;
	ConditionVariableInit(&shared->slots[shared->n_used].idle);
	shared->slots[shared->n_used].local = false;
	return &shared->slots[shared->n_used++];
}

static NorikvLease *
reserve_local(const NorikvConnection *connection, const NorikvLeaseRequest *request,
			  const char *nonce)
{
	NorikvLease *lease = MemoryContextAllocZero(TopMemoryContext, sizeof(NorikvLease));

	lease->local = true;
	fill(lease, connection, request, nonce);
	return lease;
}

NorikvLease *
NorikvLeaseReserve(const NorikvConnection *connection, const NorikvLeaseRequest *request,
				   const char *nonce)
{
	char own_nonce[NORIKV_NONCE_SIZE + 1];
	NorikvLease *lease;
	int endpoint;

	check_request(connection, request);
	if (nonce == NULL)
	{
		NorikvMakeNonce(own_nonce);
		nonce = own_nonce;
	}
	if (shared == NULL)
		return reserve_local(connection, request, nonce);
	if (!exit_registered)
	{
		before_shmem_exit(release_at_exit, (Datum) 0);
		exit_registered = true;
	}
	endpoint = NorikvEndpointAcquire(connection);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	lease = find_free_slot();
	if (lease != NULL)
	{
		lease->endpoint = endpoint;
		fill(lease, connection, request, nonce);
	}
	LWLockRelease(shared->lock);
	if (lease == NULL)
	{
		NorikvEndpointRelease(endpoint);
		ereport(ERROR, errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("too many locks and leases are held"),
				errdetail("The limit is %d.", shared->n_slots),
				errhint("Raise \"norikv.max_leases\" and restart PostgreSQL."));
	}
	return lease;
}

/* ---- The owner's requests ---- */

/* From here on until an answer has come it is not known what the store has. */
int64
NorikvLeaseSending(NorikvLease *lease)
{
	int64 now = NorikvBootMilliseconds();

	NorikvLeaseLock();
	lease->uncertain = true;
	lease->late_until = now + lease->timeout;
	lease->gone_at = lease->late_until + lease->ttl_ms;
	NorikvLeaseUnlock();
	return now;
}

int64
NorikvLeaseRenewing(NorikvLease *lease, uint64 ttl_ms)
{
	int64 now = NorikvLeaseSending(lease);

	NorikvLeaseLock();
	lease->deadline = Min(lease->deadline, now + NorikvLeaseDeadlineMs(ttl_ms));
	lease->next_at = Min(lease->next_at, now + (int64) (ttl_ms / 3));
	lease->gone_at = lease->late_until + (int64) Max(lease->ttl_ms, ttl_ms);
	NorikvLeaseUnlock();
	return now;
}

void
NorikvLeaseSetWritten(NorikvLease *lease, norikv_version version, int64 sent_at,
					  uint64 ttl_ms)
{
	lease->version = version;
	lease->uncertain = false;
	lease->late_until = 0;
	lease->ttl_ms = ttl_ms;
	lease->deadline = sent_at + NorikvLeaseDeadlineMs(ttl_ms);
	lease->next_at = sent_at + (int64) (ttl_ms / 3);
	lease->gone_at = sent_at + lease->timeout + (int64) ttl_ms;
}

void
NorikvLeaseRefused(NorikvLease *lease)
{
	NorikvLeaseLock();
	lease->uncertain = false;
	lease->late_until = 0;
	NorikvLeaseUnlock();
}

void
NorikvLeaseTaken(NorikvLease *lease, norikv_version version, int64 sent_at,
				 const norikv_slice *values)
{
	NorikvLeaseLock();
	if (values != NULL && !set_values(lease, values))
		Assert(false);
	NorikvLeaseSetWritten(lease, version, sent_at, lease->ttl_ms);
	lease->token = (int64) ((version.term << 48) + version.index);
	lease->acquired_at = GetCurrentTimestamp();
	lease->state = NORIKV_LEASE_HELD;
	lease->user = NORIKV_LEASE_IDLE;
	NorikvLeaseUnlock();
	if (!lease->local)
		NorikvKeeperWake(lease->next_at);
}

bool
NorikvLeaseClaim(NorikvLease *lease, bool *stuck)
{
	int64 give_up = NorikvBootMilliseconds() + lease->timeout;
	bool claimed = false;

	*stuck = false;
	for (;;)
	{
		bool busy = false;

		NorikvLeaseLock();
		if (lease->state == NORIKV_LEASE_HELD && NorikvBootMilliseconds() < lease->deadline)
		{
			busy = lease->user != NORIKV_LEASE_IDLE;
			claimed = !busy;
			if (claimed)
				lease->user = NORIKV_LEASE_OWNER;
		}
		NorikvLeaseUnlock();
		if (!busy)
			break;
		*stuck = NorikvBootMilliseconds() >= give_up;
		if (*stuck)
			break;
		(void) ConditionVariableTimedSleep(&lease->idle, 100, PG_WAIT_EXTENSION);
	}
	if (!lease->local)
		ConditionVariableCancelSleep();
	return claimed;
}

void
NorikvLeaseRenewed(NorikvLease *lease, norikv_version version, int64 sent_at,
				   uint64 ttl_ms)
{
	NorikvLeaseLock();
	NorikvLeaseSetWritten(lease, version, sent_at, ttl_ms);
	lease->user = NORIKV_LEASE_IDLE;
	NorikvLeaseUnlock();
	if (!lease->local)
		NorikvKeeperWake(lease->next_at);
}

void
NorikvLeaseUnclaim(NorikvLease *lease, bool uncertain)
{
	NorikvLeaseLock();
	if (lease->user == NORIKV_LEASE_OWNER)
		lease->user = NORIKV_LEASE_IDLE;
	lease->uncertain = uncertain;
	if (uncertain)
		lease->next_at = 0;
	NorikvLeaseUnlock();
	if (!lease->local)
		NorikvKeeperWake(0);
}

bool
NorikvLeaseIsHeld(const NorikvLease *lease)
{
	bool held;

	NorikvLeaseLock();
	held = lease->state == NORIKV_LEASE_HELD && NorikvBootMilliseconds() < lease->deadline;
	NorikvLeaseUnlock();
	return held;
}

bool
NorikvLeaseRearm(NorikvLease *lease)
{
	bool taking;

	NorikvLeaseLock();
	if (lease->state == NORIKV_LEASE_LOST && lease->user == NORIKV_LEASE_IDLE)
	{
		lease->state = NORIKV_LEASE_TAKING;
		lease->user = NORIKV_LEASE_OWNER;
		lease->version = (norikv_version){0};
		lease->uncertain = false;
		lease->late_until = 0;
	}
	taking = lease->state == NORIKV_LEASE_TAKING;
	NorikvLeaseUnlock();
	return taking;
}

/* ---- Its end ---- */

void
NorikvLeaseSetFree(NorikvLease *lease)
{
	lease->state = NORIKV_LEASE_FREE;
	lease->user = NORIKV_LEASE_IDLE;
	lease->owner_pid = 0;
	while (shared->n_used > 0 &&
		   shared->slots[shared->n_used - 1].state == NORIKV_LEASE_FREE)
		shared->n_used--;
}

void
NorikvLeaseFree(NorikvLease *lease)
{
	int endpoint = lease->endpoint;

	if (lease->local)
	{
		pfree(lease);
		return;
	}
	NorikvLeaseLock();
	/* The keeper has a request under way: it frees the slot when that has ended. */
	if (lease->user == NORIKV_LEASE_KEEPER)
	{
		lease->state = NORIKV_LEASE_RELEASING;
		NorikvLeaseUnlock();
		return;
	}
	NorikvLeaseSetFree(lease);
	NorikvLeaseUnlock();
	NorikvEndpointRelease(endpoint);
}

void
NorikvLeaseRelease(NorikvLease *lease)
{
	bool written;

	if (lease->local)
	{
		pfree(lease);
		return;
	}
	NorikvLeaseLock();
	written = lease->version.index != 0 || lease->late_until != 0;
	if (lease->user == NORIKV_LEASE_OWNER)
		lease->user = NORIKV_LEASE_IDLE;
	if (written && lease->state != NORIKV_LEASE_LOST)
	{
		lease->state = NORIKV_LEASE_RELEASING;
		lease->next_at = 0;
	}
	else
		written = false;
	NorikvLeaseUnlock();
	if (written)
		NorikvKeeperWake(0);
	else
		NorikvLeaseFree(lease);
}
