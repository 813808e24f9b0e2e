/*
 * lock.h - what the files of locks share, grouped by file.
 *
 * A lock is a key "lock:<name>" that is created where there is none, with a time to
 * live, and kept alive as a lease. Its token is the version of that write, so tokens
 * grow with every acquisition and never repeat.
 */
#ifndef NORIKV_LOCK_H
#define NORIKV_LOCK_H

#include "pg_norikv.h"

#include "lib/ilist.h"

#include "worker/lease.h"

#define NORIKV_LOCK_PREFIX "lock:"

/* ---- lock_request.c: requests for one lock, and what their answers mean ---- */

/* The argument "ttl" of what makes a lease, in milliseconds. */
extern uint64 NorikvLeaseTtlArgument(FunctionCallInfo fcinfo, int argument);
/* For people: which backend of which PostgreSQL. palloc'd. */
extern char *NorikvOwnerName(void);
/* The lock's document; token 0: the key is to be created. palloc'd. */
extern norikv_slice NorikvLockDocument(const char *nonce, int64 token);
/*
 * These never leave open what became of a request: where its answer was lost, the key
 * is read. 08007 where that cannot be done either; the lease then is the caller's to
 * release.
 */
/* False: another has the lock. True: it is ours, and its lease is HELD. */
extern bool NorikvLockCreate(NorikvConnection *connection, NorikvLease *lease);
/* With the lease claimed; the claim ends where the answer is true. False: it is lost. */
extern bool NorikvLockRenew(NorikvConnection *connection, NorikvLease *lease,
							uint64 ttl_ms);
/* The same; the claim never ends. */
extern bool NorikvLockDelete(NorikvConnection *connection, NorikvLease *lease);

/* ---- job.c: run_once(), whose claim is a lease, too ---- */

extern void NorikvJobInit(void);

/* ---- lock_wait.c ---- */

/* Tries and waits until the instant of NorikvBootMicroseconds; false: not had. */
extern bool NorikvLockAwait(NorikvConnection *connection, NorikvLease *lease,
							int64 until_us);

/* ---- lock_table.c: what this session holds ---- */

typedef struct NorikvHeldLock
{
	dlist_node node;
	char *scope; /* which store, and which part of it */
	norikv_slice key;
	NorikvLease *lease;
	int64 token;
	int session; /* how often it was taken for the session */
	int *levels; /* nesting levels of the transaction in which it was, too */
	int n_levels;
	int levels_room;
} NorikvHeldLock;

extern void NorikvLockInit(void);
/*
 * Names the store and the part of it: servers over one store are one, its tenants are
 * not. palloc'd.
 */
extern char *NorikvStoreScope(NorikvConnection *connection);
extern NorikvHeldLock *NorikvFindLock(NorikvConnection *connection, norikv_slice key);
/* Where this throws, the lease is still the caller's. */
extern NorikvHeldLock *NorikvAddLock(NorikvConnection *connection, norikv_slice key,
									 NorikvLease *lease);
/* Once more taken, for the session or for the transaction. */
extern void NorikvCountLock(NorikvHeldLock *lock, bool in_transaction);
/* The session has it no more; the lease is the caller's. */
extern NorikvLease *NorikvForgetLock(NorikvHeldLock *lock);
extern dlist_head *NorikvHeldLocks(void);
/* NK002. */
extern void NorikvRaiseLost(const char *server, norikv_slice key) pg_attribute_noreturn();

#endif
