/*
 * lock.c - locks as SQL functions.
 *
 * An uncontended lock is one round trip, giving it back another. Between the two the
 * keeper keeps it alive; without shared memory nobody does, and renew_lock() must.
 */
#include "patterns/lock.h"

#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "patterns/pattern.h"

PG_FUNCTION_INFO_V1(norikv_sql_lock);
PG_FUNCTION_INFO_V1(norikv_sql_try_lock);
PG_FUNCTION_INFO_V1(norikv_sql_xact_lock);
PG_FUNCTION_INFO_V1(norikv_sql_try_xact_lock);
PG_FUNCTION_INFO_V1(norikv_sql_renew_lock);
PG_FUNCTION_INFO_V1(norikv_sql_unlock);

/* ---- Arguments ---- */

static norikv_slice
key_argument(FunctionCallInfo fcinfo)
{
	NorikvRequireArgument(fcinfo, 0, "name");
	return NorikvPatternKey(NORIKV_LOCK_PREFIX, PG_GETARG_DATUM(0), "name");
}

/* The argument "wait", else lock_timeout; 0 ms of the argument: one try. */
static int64
deadline_argument(FunctionCallInfo fcinfo, int argument, int64 *wait_ms)
{
	*wait_ms = LockTimeout;
	if (!PG_ARGISNULL(argument))
	{
		Interval *wait = PG_GETARG_INTERVAL_P(argument);

		*wait_ms = 0;
		if (wait->month == 0 && wait->day == 0 && wait->time == 0)
			return 0;
		*wait_ms = NorikvMillisecondsFromInterval(wait, "wait");
	}
	return *wait_ms == 0 ? PG_INT64_MAX : NorikvBootMicroseconds() + *wait_ms * 1000;
}

/* ---- Taking ---- */

/* What a call of lock() and its siblings asks for. */
typedef struct Wish
{
	const char *sql_name;
	NorikvConnection *connection;
	norikv_slice key;
	uint64 ttl_ms;
	bool in_transaction;
	bool waits;
	int64 until_us; /* where it waits */
	int64 wait_ms;	/* for the message; 0: there is no limit */
} Wish;

/* A new one; NULL: another has it. The lease is never left without an owner. */
static NorikvHeldLock *
take(const Wish *wish)
{
	char nonce[NORIKV_NONCE_SIZE + 1];
	NorikvLeaseRequest request = {.kind = NORIKV_LEASE_LOCK,
								  .n_puts = 1,
								  .keys = {wish->key},
								  .ttl_ms = wish->ttl_ms};
	NorikvHeldLock *volatile lock = NULL;
	NorikvLease *lease;

	NorikvMakeNonce(nonce);
	request.values[0] = NorikvLockDocument(nonce, 0);
	lease = NorikvLeaseReserve(wish->connection, &request, nonce);
	PG_TRY();
	{
		bool had = wish->waits
					   ? NorikvLockAwait(wish->connection, lease, wish->until_us)
					   : NorikvLockCreate(wish->connection, lease);

		if (had)
			lock = NorikvAddLock(wish->connection, wish->key, lease);
	}
	PG_CATCH();
	{
		NorikvLeaseRelease(lease);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (lock == NULL)
		NorikvLeaseRelease(lease);
	return lock;
}

/* The one this session has; one that was lost makes room for a new one. */
static NorikvHeldLock *
find_held(const Wish *wish)
{
	NorikvHeldLock *lock = NorikvFindLock(wish->connection, wish->key);

	if (lock == NULL || NorikvLeaseIsHeld(lock->lease))
		return lock;
	if (lock->n_levels > 0)
		NorikvRaiseLost(wish->connection->name, wish->key);
	ereport(WARNING, errcode(ERRCODE_NORIKV_LEASE_LOST),
			errmsg("the lock at key %s on server \"%s\" was lost, and is taken anew",
				   NorikvShowKey(wish->key), wish->connection->name));
	NorikvLeaseFree(NorikvForgetLock(lock));
	return NULL;
}

static void
raise_not_had(const Wish *wish)
{
	ereport(ERROR, errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			errmsg("could not obtain the lock at key %s on server \"%s\"",
				   NorikvShowKey(wish->key), wish->connection->name),
			wish->until_us == 0
				? 0
				: errdetail("Another has held it for " INT64_FORMAT " ms.",
							wish->wait_ms),
			errhint("lock_holder() tells who has it, and until when."));
}

/* name, ttl, and where it waits, wait; the token, or NULL. */
static Datum
acquire(FunctionCallInfo fcinfo, Wish *wish)
{
	NorikvHeldLock *lock;

	wish->connection = NorikvGetWriteConnection(wish->sql_name);
	wish->key = key_argument(fcinfo);
	wish->ttl_ms = NorikvLeaseTtlArgument(fcinfo, 1);
	if (wish->waits)
		wish->until_us = deadline_argument(fcinfo, 2, &wish->wait_ms);
	/* Without shared memory a session's lock is known to last for its ttl only. */
	if (wish->in_transaction || NorikvLeasesAreShared())
		NorikvRequireKeeper(wish->sql_name, "It keeps the lock alive and releases it "
											"after the end of the transaction.");
	NorikvRequireAtomicCas(wish->connection, wish->sql_name);

	lock = find_held(wish);
	if (lock == NULL)
		lock = take(wish);
	if (lock == NULL && wish->waits)
		raise_not_had(wish);
	if (lock == NULL)
		PG_RETURN_NULL();
	NorikvCountLock(lock, wish->in_transaction);
	PG_RETURN_INT64(lock->token);
}

Datum
norikv_sql_lock(PG_FUNCTION_ARGS)
{
	Wish wish = {.sql_name = "norikv.lock()", .waits = true};

	return acquire(fcinfo, &wish);
}

Datum
norikv_sql_try_lock(PG_FUNCTION_ARGS)
{
	Wish wish = {.sql_name = "norikv.try_lock()"};

	return acquire(fcinfo, &wish);
}

Datum
norikv_sql_xact_lock(PG_FUNCTION_ARGS)
{
	Wish wish = {
		.sql_name = "norikv.xact_lock()", .waits = true, .in_transaction = true};

	return acquire(fcinfo, &wish);
}

Datum
norikv_sql_try_xact_lock(PG_FUNCTION_ARGS)
{
	Wish wish = {.sql_name = "norikv.try_xact_lock()", .in_transaction = true};

	return acquire(fcinfo, &wish);
}

/* ---- What is held ---- */

/* Of the arguments name and token; NULL: this session does not hold that. */
static NorikvHeldLock *
held_argument(FunctionCallInfo fcinfo, NorikvConnection *connection)
{
	norikv_slice key = key_argument(fcinfo);
	NorikvHeldLock *lock;

	NorikvRequireArgument(fcinfo, 1, "token");
	lock = NorikvFindLock(connection, key);
	if (lock == NULL || lock->token != PG_GETARG_INT64(1))
		return NULL;
	return lock;
}

static void
lose(NorikvHeldLock *lock, const char *server)
{
	norikv_slice key = {palloc(lock->key.size), lock->key.size};

	memcpy((void *) key.data, lock->key.data, key.size);
	NorikvLeaseFree(NorikvForgetLock(lock));
	NorikvRaiseLost(server, key);
}

/* The keeper has had a request under way for longer than the server's timeout. */
static void
raise_stuck(norikv_slice key, const char *hint)
{
	ereport(ERROR, errcode(ERRCODE_OBJECT_IN_USE),
			errmsg("norikv's background worker has a request for the lock at key %s "
				   "under way and does not end it",
				   NorikvShowKey(key)),
			errhint("%s", hint));
}

/* name, token, ttl */
Datum
norikv_sql_renew_lock(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.renew_lock()");
	NorikvHeldLock *lock = held_argument(fcinfo, connection);
	volatile bool renewed = false;
	bool stuck;
	uint64 ttl_ms;

	if (lock == NULL)
		PG_RETURN_BOOL(false);
	ttl_ms = PG_ARGISNULL(2) ? lock->lease->ttl_ms : NorikvLeaseTtlArgument(fcinfo, 2);
	if (!NorikvLeaseClaim(lock->lease, &stuck))
	{
		if (stuck)
			raise_stuck(lock->key, "The lock is still held. Try again.");
		lose(lock, connection->name);
	}
	PG_TRY();
	{
		renewed = NorikvLockRenew(connection, lock->lease, ttl_ms);
	}
	PG_CATCH();
	{
		NorikvLeaseUnclaim(lock->lease, true);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!renewed)
		lose(lock, connection->name);
	PG_RETURN_BOOL(true);
}

/* Deletes the key; where that fails, the keeper goes on trying. */
static bool
give_back(NorikvConnection *connection, NorikvHeldLock *lock)
{
	NorikvLease *lease = NorikvForgetLock(lock);
	volatile bool deleted = false;

	PG_TRY();
	{
		deleted = NorikvLockDelete(connection, lease);
	}
	PG_CATCH();
	{
		NorikvLeaseRelease(lease);
		PG_RE_THROW();
	}
	PG_END_TRY();
	NorikvLeaseFree(lease);
	return deleted;
}

/* name, token. As with advisory locks, what the transaction has stays until its end. */
Datum
norikv_sql_unlock(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.unlock()");
	NorikvHeldLock *lock = held_argument(fcinfo, connection);
	norikv_slice key;
	bool stuck;

	if (lock == NULL || lock->session == 0)
		PG_RETURN_BOOL(false);
	key = key_argument(fcinfo);
	if (lock->session > 1 || lock->n_levels > 0)
	{
		if (!NorikvLeaseIsHeld(lock->lease))
			lose(lock, connection->name);
		lock->session--;
		PG_RETURN_BOOL(true);
	}
	if (!NorikvLeaseClaim(lock->lease, &stuck))
	{
		if (!stuck)
			lose(lock, connection->name);
		NorikvLeaseRelease(NorikvForgetLock(lock));
		raise_stuck(key, "The lock is released as soon as that has ended.");
	}
	if (!give_back(connection, lock))
		NorikvRaiseLost(connection->name, key);
	PG_RETURN_BOOL(true);
}
