/*
 * lease.h - leases in shared memory: keys that are held by being written again.
 *
 * A lease is a set of keys, written by one atomic step, each time with the lease's
 * time to live: a lock is one key, a campaign two. Whoever wants one reserves a slot,
 * writes the keys himself where they are absent, and says how it went. From then on
 * the keeper writes them again every third of the time to live, on condition that
 * they still have the version last written, until the lease is released or its owner
 * is gone; then it deletes them, on the same condition.
 *
 * Rules:
 * - A lease has one request under way at a time: the owner's between
 *   NorikvLeaseClaim and NorikvLeaseUnclaim, or the keeper's.
 * - The deadline is 0.99 of the time to live after the moment before the last write
 *   that was answered was sent, by CLOCK_BOOTTIME, or sooner where a write with a
 *   shorter time to live was sent since. Past it a lease is lost, whatever its state
 *   says: look through NorikvLeaseLook.
 * - Keys carry a nonce in the value of their first key. What is there after an answer
 *   was lost is read, and is ours if it has the nonce.
 *
 * Without shared memory a lease is in the process's own memory and nobody renews or
 * deletes it.
 */
#ifndef NORIKV_LEASE_H
#define NORIKV_LEASE_H

#include "pg_norikv.h"

#include "storage/condition_variable.h"

#define NORIKV_LEASE_PUTS 2
#define NORIKV_LEASE_VALUE 512
#define NORIKV_NONCE_SIZE 32 /* hexadecimal digits */
#define NORIKV_SHORTEST_LEASE_MS 1000

typedef enum NorikvLeaseState
{
	NORIKV_LEASE_FREE,
	NORIKV_LEASE_TAKING, /* the owner is writing the keys for the first time */
	NORIKV_LEASE_HELD,
	NORIKV_LEASE_LOST,	   /* it ran out, or others have the keys */
	NORIKV_LEASE_RELEASING /* the keeper deletes the keys */
} NorikvLeaseState;

/* What it is for: locks_held shows it. */
typedef enum NorikvLeaseKind
{
	NORIKV_LEASE_LOCK,
	NORIKV_LEASE_CAMPAIGN,
	NORIKV_LEASE_JOB
} NorikvLeaseKind;

typedef enum NorikvLeaseUser
{
	NORIKV_LEASE_IDLE,
	NORIKV_LEASE_OWNER,
	NORIKV_LEASE_KEEPER
} NorikvLeaseUser;

typedef struct NorikvLeasePut
{
	uint16 key_size;
	uint16 value_size;
	char key[NORIKV_MAX_KEY];
	char value[NORIKV_LEASE_VALUE];
} NorikvLeasePut;

/* Written under the table's lock; puts only by who has the request under way. */
typedef struct NorikvLease
{
	NorikvLeaseState state;
	NorikvLeaseUser user; /* who has a request under way */
	NorikvLeaseKind kind;
	bool local; /* in this process's memory */

	/* The owner: a backend, or, with owner_pid 0, whoever releases it. */
	int owner_pid;
	int owner_proc; /* its place among the PGPROCs */
	Oid database;
	Oid role;
	char server[NAMEDATALEN]; /* for people */
	int endpoint;
	int timeout; /* of the server, in milliseconds */

	char nonce[NORIKV_NONCE_SIZE + 1];
	int n_puts;
	NorikvLeasePut puts[NORIKV_LEASE_PUTS];

	/* Times are boot times, in milliseconds. */
	uint64 ttl_ms;
	norikv_version version; /* last written; index 0: none yet */
	int64 token;			/* of the first write */
	int64 deadline;
	int64 next_at; /* the keeper's next request */
	bool uncertain; /* an answer was lost: version may be another */
	int64 late_until; /* till then a request that was given up may take effect */
	int64 gone_at;	  /* from then on the store has no key of ours in any case */
	TimestampTz acquired_at;
	ConditionVariable idle; /* broadcast when the keeper's request has ended */
} NorikvLease;

/* The keys and values of a new lease; values may be replaced by NorikvLeaseTaken. */
typedef struct NorikvLeaseRequest
{
	NorikvLeaseKind kind;
	int n_puts;
	norikv_slice keys[NORIKV_LEASE_PUTS];
	norikv_slice values[NORIKV_LEASE_PUTS];
	uint64 ttl_ms;
	bool ownerless; /* outlives this backend */
} NorikvLeaseRequest;

/* How long after the moment before it was sent a holder counts on a lease. */
extern int64 NorikvLeaseDeadlineMs(uint64 ttl_ms);
/* 32 hexadecimal digits, for a value that nobody else writes. */
extern void NorikvMakeNonce(char nonce[NORIKV_NONCE_SIZE + 1]);

/* ---- lease.c: for owners ---- */

extern void NorikvLeaseInit(void);
/* Whether there is shared memory for them, and so somebody who renews them. */
extern bool NorikvLeasesAreShared(void);
/* What is shown of leases on a server that has another name by now. Never throws. */
extern void NorikvLeaseRenameServer(Oid database, const char *server,
									const char *renamed);
/* 55000 where there is none, or it does not run; the detail: what it is needed for. */
extern void NorikvRequireKeeper(const char *sql_name, const char *detail);
/*
 * A slot, in state TAKING and claimed by the caller. 0A000 where it does not fit,
 * 53400 where all norikv.max_leases are in use. NULL nonce: one is made.
 */
extern NorikvLease *NorikvLeaseReserve(const NorikvConnection *connection,
									   const NorikvLeaseRequest *request,
									   const char *nonce);
/* Before each write of the owner's; returns the moment for Taken and Renewed. */
extern int64 NorikvLeaseSending(NorikvLease *lease);
/*
 * The same before a renewal, whose time to live may be another one. Whatever becomes of
 * the answer, a shorter one counts from here on, for the store may have it by now.
 */
extern int64 NorikvLeaseRenewing(NorikvLease *lease, uint64 ttl_ms);
/* It was answered: others have the keys, and nothing of ours can come to be there. */
extern void NorikvLeaseRefused(NorikvLease *lease);
/* The first write went well: HELD, and the claim ends. values[i] replaces value i. */
extern void NorikvLeaseTaken(NorikvLease *lease, norikv_version version, int64 sent_at,
							 const norikv_slice *values);
/*
 * For a request of the owner's: waits for the keeper's to end, as long as the server's
 * timeout. False: the lease is lost, or, with *stuck, the keeper does not end.
 */
extern bool NorikvLeaseClaim(NorikvLease *lease, bool *stuck);
/* The claim ends, with what came of it: */
extern void NorikvLeaseRenewed(NorikvLease *lease, norikv_version version, int64 sent_at,
							   uint64 ttl_ms);
extern void NorikvLeaseUnclaim(NorikvLease *lease, bool uncertain);
/*
 * A lost one may be taken anew, by who keeps the slot: TAKING again. False while it is
 * held, or the keeper still has a request under way for it.
 */
extern bool NorikvLeaseRearm(NorikvLease *lease);
/* Nothing of it is in the store, or nothing is to be done about what is. Never throws. */
extern void NorikvLeaseFree(NorikvLease *lease);
/* The keeper deletes the keys, whatever state the lease is in. Never throws. */
extern void NorikvLeaseRelease(NorikvLease *lease);
/* Whether it is held at this moment. */
extern bool NorikvLeaseIsHeld(const NorikvLease *lease);
/* Whether the bytes hold the nonce of a lease that the keeper is about to delete. */
extern bool NorikvLeaseIsReleased(norikv_slice value);

/* Slots below this number may be in use. */
extern int NorikvLeaseSlots(void);
/* A copy of one as it is at this moment; false: it is free. */
extern bool NorikvLeaseLook(int slot, NorikvLease *copy);

/* ---- lease.c: for the keeper ---- */

extern NorikvLease *NorikvLeaseSlot(int slot);
extern void NorikvLeaseLock(void);
extern void NorikvLeaseUnlock(void);
extern int NorikvLeaseCapacity(void);
/* With the lock held, both. */
extern void NorikvLeaseSetWritten(NorikvLease *lease, norikv_version version,
								  int64 sent_at, uint64 ttl_ms);
extern void NorikvLeaseSetFree(NorikvLease *lease);
/* The bytes hold the nonce. */
extern bool NorikvLeaseIsOurs(const NorikvLease *lease, norikv_slice value);

#endif
