/*
 * keeper_lease.c - the keeper's part of leases: it renews and deletes them.
 *
 * Every lease has one request under way at most. What its answer means:
 *
 *   renewed            the deadline moves on
 *   another version    the keys are read: with our nonce they are ours (a renewal whose
 *                      answer was lost), and are written again on their version;
 *                      without it the lease is lost
 *   no answer          not known which version there is: the keys are read
 *
 * A lease whose deadline has passed is lost, and never renewed: others may have been
 * told that it ended. One that is to be deleted is asked for until its keys are gone,
 * or must have run out.
 */
#include "postgres.h"

#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"

#include "cache/cache.h"
#include "keeper.h"
#include "lease.h"

#define SHORTEST_PAUSE_MS 20 /* between two requests where one failed */
#define LONGEST_PAUSE_MS 1000
#define SHORTEST_TIMEOUT_MS 50
#define GRACE_MS 200 /* for backends that end with the keeper */
#define NO_CLIENT_PAUSE_MS 50 /* where the embedded server is about to start */

typedef enum RequestKind
{
	RENEW,
	READ,
	DELETE
} RequestKind;

/* What is under way for the lease in the slot of the same number. */
typedef struct Request
{
	NorikvKeeperCall call;
	NorikvCacheWrite cache_write;
	RequestKind kind;
	int64 sent_at;
	int failures;	   /* in a row */
	char trouble[200]; /* the last one's */
	const char *loss;  /* why the lease was lost, to be told; NULL: it was not */
} Request;

static Request *requests; /* one for each slot: calls in lists must not move */

/* ---- Starting a request ---- */

static norikv_slice
key_of(const NorikvLeasePut *put)
{
	return (norikv_slice){put->key, put->key_size};
}

/* Half of what is left: where no answer comes, there is time for another try. */
static uint32
timeout_of(const NorikvLease *lease, int64 now)
{
	if (lease->state != NORIKV_LEASE_HELD)
		return lease->timeout;
	return Min(Max((lease->deadline - now) / 2, SHORTEST_TIMEOUT_MS), lease->timeout);
}

static norikv_call *
start_write(const NorikvLease *lease, Request *request, const NorikvKeeperClient *keeper,
			bool renew, const norikv_call_options *options)
{
	norikv_operation operations[NORIKV_LEASE_PUTS] = {0};
	norikv_client *client = NorikvKeeperClientHandle(keeper);

	for (int i = 0; i < lease->n_puts; i++)
	{
		const NorikvLeasePut *put = &lease->puts[i];
		norikv_operation *operation = &operations[i];

		operation->kind = renew ? NORIKV_OP_PUT : NORIKV_OP_DELETE;
		operation->condition = NORIKV_IF_VERSION;
		operation->version = lease->version;
		operation->key = key_of(put);
		if (!renew)
			continue;
		operation->value = (norikv_slice){put->value, put->value_size};
		operation->ttl = NORIKV_TTL_SET;
		operation->ttl_ms = lease->ttl_ms;
	}
	NorikvCacheWriteStarts(&request->cache_write, NorikvKeeperClientPrefix(keeper),
						   operations, lease->n_puts);
	if (lease->n_puts == 1)
		return norikv_write(client, operations, options);
	return norikv_commit(client, operations, lease->n_puts, true, options);
}

static norikv_call *
start_read(const NorikvLease *lease, norikv_client *client,
		   const norikv_call_options *options)
{
	norikv_slice keys[NORIKV_LEASE_PUTS];

	for (int i = 0; i < lease->n_puts; i++)
		keys[i] = key_of(&lease->puts[i]);
	if (lease->n_puts == 1)
		return norikv_get(client, keys[0], options);
	return norikv_multi_get(client, keys, lease->n_puts, options);
}

/* The lease is the keeper's: nobody else changes its keys and values. */
static void
start_request(NorikvLease *lease, Request *request, RequestKind kind, int64 now)
{
	norikv_call_options options = {.timeout_ms = timeout_of(lease, now),
								   .consistency = "strong"};
	NorikvKeeperClient *client = NorikvKeeperClientFor(lease->endpoint);
	norikv_client *handle;

	if (client == NULL)
	{
		NorikvLeaseLock();
		lease->user = NORIKV_LEASE_IDLE;
		lease->next_at = now + NO_CLIENT_PAUSE_MS;
		NorikvLeaseUnlock();
		return;
	}
	handle = NorikvKeeperClientHandle(client);
	request->kind = kind;
	request->sent_at = NorikvBootMilliseconds();
	NorikvKeeperTrack(&request->call, client,
					  kind == READ ? start_read(lease, handle, &options)
								   : start_write(lease, request, client, kind == RENEW,
											 &options),
					  0);
}

/* ---- What came of it: all with the lock held ---- */

static void
lose(NorikvLease *lease, Request *request, const char *why)
{
	lease->state = NORIKV_LEASE_LOST;
	request->loss = why;
}

static void
fail(NorikvLease *lease, Request *request, const norikv_error *error, int64 now)
{
	int64 pause = SHORTEST_PAUSE_MS << Min(request->failures, 6);

	request->failures++;
	lease->uncertain |= error->outcome_unknown;
	lease->next_at =
		now + Min(Min(pause, LONGEST_PAUSE_MS), (int64) lease->ttl_ms / 10);
	strlcpy(request->trouble, error->text, sizeof(request->trouble));
	for (char *c = request->trouble; *c != '\0'; c++)
	{
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
}

static void
finish_renewal(NorikvLease *lease, Request *request, int64 now)
{
	const norikv_error *error = norikv_call_error(request->call.call);
	size_t n;

	if (error->code == NORIKV_OK)
	{
		request->failures = 0;
		request->trouble[0] = '\0';
		NorikvLeaseSetWritten(lease, norikv_call_results(request->call.call, &n)->version,
							  request->sent_at, lease->ttl_ms);
	}
	else if (NorikvIsUnmetCondition(error))
	{
		lease->uncertain = true;
		lease->next_at = now;
	}
	else
		fail(lease, request, error, now);
}

/* True where nothing of the lease is in the store any more. */
static bool
finish_deletion(NorikvLease *lease, Request *request, int64 now)
{
	const norikv_error *error = norikv_call_error(request->call.call);

	if (error->code == NORIKV_OK)
		return true;
	if (NorikvIsUnmetCondition(error))
	{
		lease->uncertain = true;
		lease->next_at = now;
	}
	else
		fail(lease, request, error, now);
	return false;
}

/* All keys of a lease are written in one step, and so have one version. */
static bool
are_ours(const NorikvLease *lease, const norikv_entry *entries)
{
	for (int i = 1; i < lease->n_puts; i++)
	{
		if (!NorikvSameVersion(entries[i].version, entries[0].version))
			return false;
	}
	return entries[0].version.index != 0 && NorikvLeaseIsOurs(lease, entries[0].value);
}

/* True where nothing of the lease is in the store, or can come to be there. */
static bool
finish_reading(NorikvLease *lease, Request *request, int64 now)
{
	norikv_call *call = request->call.call;
	const norikv_error *error = norikv_call_error(call);
	const norikv_entry *entries;
	size_t n = 1;

	if (error->code != NORIKV_OK)
	{
		fail(lease, request, error, now);
		return false;
	}
	entries = lease->n_puts == 1 ? norikv_call_entry(call) : norikv_call_entries(call, &n);
	request->failures = 0;
	lease->next_at = now;
	if (n == (size_t) lease->n_puts && are_ours(lease, entries))
	{
		lease->version = entries[0].version;
		lease->uncertain = false;
		return false;
	}
	if (lease->state == NORIKV_LEASE_HELD)
	{
		lose(lease, request,
			 entries[0].version.index == 0 ? "It is not in the store any more."
										   : "Somebody else has it.");
		return false;
	}
	/* What was given up while it was to create the keys may be late. */
	lease->next_at = now + LONGEST_PAUSE_MS / 10;
	return now >= lease->late_until;
}

static void
free_slot(NorikvLease *lease, Request *request)
{
	int endpoint = lease->endpoint;

	request->failures = 0;
	request->trouble[0] = '\0';
	NorikvLeaseSetFree(lease);
	NorikvEndpointRelease(endpoint);
}

static void
finish_request(NorikvLease *lease, Request *request, int64 now)
{
	bool gone = false;

	NorikvCacheWriteEnds(&request->cache_write,
						 !norikv_call_error(request->call.call)->outcome_unknown);
	NorikvLeaseLock();
	lease->user = NORIKV_LEASE_IDLE;
	switch (request->kind)
	{
		case RENEW:
			finish_renewal(lease, request, now);
			break;
		case READ:
			gone = finish_reading(lease, request, now);
			break;
		case DELETE:
			gone = finish_deletion(lease, request, now);
			break;
	}
	/* Released while it was renewed: there is no reason to wait. */
	if (lease->state == NORIKV_LEASE_RELEASING && request->failures == 0 &&
		lease->late_until == 0)
		lease->next_at = now;
	if (gone && lease->state == NORIKV_LEASE_RELEASING)
		free_slot(lease, request);
	NorikvLeaseUnlock();
	NorikvKeeperDrop(&request->call);
	ConditionVariableBroadcast(&lease->idle);
}

/* ---- Deciding ---- */

/* When there is something to do about a lease that nobody has a request for. */
static int64
due_at(const NorikvLease *lease)
{
	if (lease->user != NORIKV_LEASE_IDLE)
		return NORIKV_KEEPER_NEVER;
	if (lease->state == NORIKV_LEASE_HELD)
		return Min(lease->next_at, lease->deadline);
	if (lease->state == NORIKV_LEASE_RELEASING)
		return lease->next_at;
	return NORIKV_KEEPER_NEVER;
}

/* By pid and place: a pid that another process has by now is at another place. */
static bool
owner_is_gone(const NorikvLease *lease)
{
	return lease->owner_pid != 0 && BackendPidGetProc(lease->owner_pid) !=
										&ProcGlobal->allProcs[lease->owner_proc];
}

/* With the lock held: whether a request is to be made, and which. */
static bool
decide(NorikvLease *lease, Request *request, int64 now, RequestKind *kind)
{
	if (due_at(lease) > now)
		return false;
	if (lease->state == NORIKV_LEASE_HELD && owner_is_gone(lease))
		lease->state = NORIKV_LEASE_RELEASING;
	if (lease->state == NORIKV_LEASE_HELD && now >= lease->deadline)
	{
		lose(lease, request, "It ran out before it could be renewed.");
		return false;
	}
	if (lease->state == NORIKV_LEASE_RELEASING && now >= lease->gone_at)
	{
		free_slot(lease, request);
		return false;
	}
	if (lease->uncertain || lease->version.index == 0)
		*kind = READ;
	else
		*kind = lease->state == NORIKV_LEASE_HELD ? RENEW : DELETE;
	lease->user = NORIKV_LEASE_KEEPER;
	if (*kind == RENEW)
		lease->gone_at = now + lease->timeout + (int64) lease->ttl_ms;
	return true;
}

/* Without the lock; keys stay out of the log. */
static void
tell_loss(const NorikvLease *lease, Request *request)
{
	if (request->loss == NULL)
		return;
	ereport(LOG, errmsg("a lease of process %d on server \"%s\" was lost",
						lease->owner_pid, lease->server),
			request->trouble[0] == '\0'
				? errdetail_internal("%s", request->loss)
				: errdetail("%s The last failure: %s", request->loss,
							request->trouble));
	request->loss = NULL;
	request->trouble[0] = '\0';
}

/* Looks without the lock first: who changes a lease after that wakes the keeper. */
static int64
look_after(NorikvLease *lease, Request *request, int64 now)
{
	RequestKind kind;
	bool start;

	if (request->call.call != NULL)
	{
		if (!norikv_call_done(request->call.call))
			return NORIKV_KEEPER_NEVER;
		finish_request(lease, request, now);
		tell_loss(lease, request);
	}
	if (due_at(lease) > now)
		return due_at(lease);
	NorikvLeaseLock();
	start = decide(lease, request, now, &kind);
	NorikvLeaseUnlock();
	tell_loss(lease, request);
	if (start)
		start_request(lease, request, kind, now);
	return due_at(lease);
}

/* ---- The module ---- */

/* A keeper before this one may have ended with requests under way. */
static void
start_leases(void)
{
	requests = MemoryContextAllocZero(TopMemoryContext,
									  NorikvLeaseCapacity() * sizeof(Request));
	for (int i = NorikvLeaseSlots() - 1; i >= 0; i--)
	{
		NorikvLease *lease = NorikvLeaseSlot(i);

		NorikvLeaseLock();
		if (lease->user == NORIKV_LEASE_KEEPER)
		{
			lease->user = NORIKV_LEASE_IDLE;
			lease->uncertain = true;
			lease->next_at = 0;
		}
		NorikvLeaseUnlock();
		ConditionVariableBroadcast(&lease->idle);
	}
}

static int64
step_leases(int64 now)
{
	int64 next = NORIKV_KEEPER_NEVER;

	for (int i = NorikvLeaseSlots() - 1; i >= 0; i--)
	{
		int64 at = look_after(NorikvLeaseSlot(i), &requests[i], now);

		next = Min(next, at);
	}
	return next;
}

/*
 * All are renewed first: where only the keeper ends, its successor comes in a second.
 * Where PostgreSQL ends, backends leave theirs to be deleted meanwhile.
 */
static bool
leases_are_busy(int64 now, int64 asked_at)
{
	static bool renewed = false;
	bool busy = false;

	for (int i = NorikvLeaseSlots() - 1; i >= 0; i--)
	{
		NorikvLease *lease = NorikvLeaseSlot(i);

		NorikvLeaseLock();
		if (!renewed && lease->state == NORIKV_LEASE_HELD)
			lease->next_at = now;
		busy |= lease->user == NORIKV_LEASE_KEEPER ||
				lease->state == NORIKV_LEASE_RELEASING ||
				(lease->state != NORIKV_LEASE_FREE && now < asked_at + GRACE_MS);
		NorikvLeaseUnlock();
	}
	renewed = true;
	return busy;
}

const NorikvKeeperModule NorikvLeaseModule = {
	.start = start_leases,
	.step = step_leases,
	.busy = leases_are_busy,
};
