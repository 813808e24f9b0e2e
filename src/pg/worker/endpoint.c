/*
 * endpoint.c - the table of endpoints in shared memory.
 *
 * One that nobody refers to any more stays for a while: locks come and go, and the
 * keeper's client for it is dear to make.
 */
#include "postgres.h"

#include "storage/lwlock.h"

#include "endpoint.h"
#include "lease.h"

#define KEPT_MS (60 * 1000)

typedef struct Slot
{
	uint64 serial; /* 0: free */
	uint32 references;
	int64 unused_since; /* boot time; where there are no references */
	NorikvEndpoint endpoint;
} Slot;

typedef struct SharedEndpoints
{
	LWLock *lock;
	uint64 last_serial;
	Slot slots[NORIKV_ENDPOINTS];
} SharedEndpoints;

static SharedEndpoints *shared = NULL;

static Size
shared_size(void)
{
	return sizeof(SharedEndpoints);
}

static void
init_shared(LWLockPadded *locks)
{
	shared->lock = &locks->lock;
}

static const NorikvSharedMemory shared_memory = {
	.name = "norikv endpoints",
	.size = shared_size,
	.init = init_shared,
	.memory = (void **) &shared,
	.tranche = "norikv_endpoints",
	.n_locks = 1,
};

void
NorikvEndpointInit(void)
{
	NorikvShareMemory(&shared_memory);
}

/* ---- Filling one ---- */

static void
refuse_size(const NorikvConnection *connection, const char *what, size_t size,
			size_t limit)
{
	ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("the %s of server \"%s\" does not fit into shared memory", what,
				   connection->name),
			errdetail("It has %zu bytes; at most %zu are possible for what a background "
					  "worker does.",
					  size, limit));
}

static void
copy_string(char *to, size_t room, const char *from, const char *what,
			const NorikvConnection *connection)
{
	size_t size = from == NULL ? 0 : strlen(from);

	if (size >= room)
		refuse_size(connection, what, size, room - 1);
	if (size > 0)
		memcpy(to, from, size);
}

static void
fill(NorikvEndpoint *endpoint, const NorikvConnection *connection)
{
	const NorikvSettings *settings = &connection->settings;

	memset(endpoint, 0, sizeof(*endpoint));
	endpoint->embedded = connection->embedded;
	endpoint->trust_cas = settings->trust_cas;
	endpoint->timeout = settings->timeout;
	endpoint->attempt_timeout = settings->attempt_timeout;
	endpoint->connect_timeout = settings->connect_timeout;
	endpoint->max_retries = settings->max_retries;
	if (connection->key_prefix.size > sizeof(endpoint->key_prefix))
		refuse_size(connection, "tenant's prefix", connection->key_prefix.size,
					sizeof(endpoint->key_prefix));
	endpoint->key_prefix_size = connection->key_prefix.size;
	if (connection->key_prefix.size > 0)
		memcpy(endpoint->key_prefix, connection->key_prefix.data,
			   connection->key_prefix.size);
	copy_string(endpoint->nodes, sizeof(endpoint->nodes), settings->nodes,
				"option \"nodes\"", connection);
	copy_string(endpoint->token, sizeof(endpoint->token), settings->token,
				"option \"token\"", connection);
}

/* ---- Taking and giving back ---- */

/* The endpoint's slot, or the one to be its: free, or the longest without use. */
static Slot *
find_slot(const NorikvEndpoint *endpoint)
{
	Slot *best = NULL;

	for (int i = 0; i < NORIKV_ENDPOINTS; i++)
	{
		Slot *slot = &shared->slots[i];

		if (slot->serial != 0 &&
			memcmp(&slot->endpoint, endpoint, sizeof(*endpoint)) == 0)
			return slot;
		if (slot->references == 0 &&
			(best == NULL || (best->serial != 0 &&
							  (slot->serial == 0 ||
							   slot->unused_since < best->unused_since))))
			best = slot;
	}
	if (best != NULL)
	{
		best->serial = ++shared->last_serial;
		best->endpoint = *endpoint;
	}
	return best;
}

static Slot *
take_slot(const NorikvConnection *connection)
{
	NorikvEndpoint endpoint;
	Slot *slot;

	fill(&endpoint, connection);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = find_slot(&endpoint);
	if (slot != NULL)
		slot->references++;
	LWLockRelease(shared->lock);
	explicit_bzero(&endpoint, sizeof(endpoint));
	return slot;
}

int
NorikvEndpointTryAcquire(const NorikvConnection *connection)
{
	const NorikvSettings *settings = &connection->settings;
	Slot *slot;

	if (shared == NULL || strlen(settings->nodes) >= NORIKV_ENDPOINT_NODES ||
		(settings->token != NULL && strlen(settings->token) >= NORIKV_ENDPOINT_TOKEN))
		return -1;
	slot = take_slot(connection);
	return slot == NULL ? -1 : slot - shared->slots;
}

int
NorikvEndpointAcquire(const NorikvConnection *connection)
{
	Slot *slot;

	if (shared == NULL)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("norikv's background worker needs shared memory"),
				errhint("Add norikv to \"shared_preload_libraries\" and restart "
						"PostgreSQL."));
	slot = take_slot(connection);
	if (slot == NULL)
		ereport(ERROR, errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("too many servers are in use by norikv's background worker"),
				errdetail("It serves %d combinations of server and credentials at a "
						  "time.",
						  NORIKV_ENDPOINTS));
	return slot - shared->slots;
}

void
NorikvEndpointRelease(int number)
{
	Slot *slot = &shared->slots[number];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	Assert(slot->references > 0);
	if (--slot->references == 0)
		slot->unused_since = NorikvBootMilliseconds();
	LWLockRelease(shared->lock);
}

/* ---- For the keeper ---- */

uint64
NorikvEndpointSerial(int number)
{
	uint64 serial;

	LWLockAcquire(shared->lock, LW_SHARED);
	serial = shared->slots[number].serial;
	LWLockRelease(shared->lock);
	return serial;
}

void
NorikvEndpointCopy(int number, NorikvEndpoint *endpoint)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	*endpoint = shared->slots[number].endpoint;
	LWLockRelease(shared->lock);
}

void
NorikvEndpointSweep(void)
{
	int64 now = NorikvBootMilliseconds();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NORIKV_ENDPOINTS; i++)
	{
		Slot *slot = &shared->slots[i];

		if (slot->serial == 0 || slot->references > 0 ||
			now - slot->unused_since < KEPT_MS)
			continue;
		slot->serial = 0;
		explicit_bzero(&slot->endpoint, sizeof(slot->endpoint));
	}
	LWLockRelease(shared->lock);
}
