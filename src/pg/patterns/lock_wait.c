/*
 * lock_wait.c - waiting for a lock that another has.
 *
 * Where the server has Watch, the key is watched, and tried again when it is deleted
 * or has expired. What happens between the try and the watch is not missed, for the
 * key is tried once more when the watch has begun. Elsewhere it is tried again after
 * pauses that grow.
 */
#include "patterns/lock.h"

#include "common/pg_prng.h"
#include "miscadmin.h"

#define FIRST_PAUSE_MS 5
#define LONGEST_PAUSE_MS 250

/* What is there to be learnt from a page: may the key be free? */
static bool
may_be_free(const norikv_changes *changes)
{
	if (changes == NULL)
		return false;
	for (size_t i = 0; i < changes->n_changes; i++)
	{
		if (changes->changes[i].kind != NORIKV_WATCH_PUT)
			return true;
	}
	return changes->reset;
}

/* NULL: the server does not watch, or has no room for one more. */
static NorikvCall *
start_watch(NorikvConnection *connection, norikv_slice key, int64 until_us)
{
	NorikvCall *watch;
	const norikv_error *error;

	if (!NorikvGetCapabilities(connection)->watch)
		return NULL;
	watch = NorikvStartWatch(connection, key);
	if (!NorikvAwaitUntil(watch, until_us))
		return watch;
	error = norikv_call_error(watch->call);
	if (error->code == NORIKV_OK)
		return watch;
	if (error->code != NORIKV_UNIMPLEMENTED && error->code != NORIKV_RESOURCE_EXHAUSTED)
		NorikvRaise(error, &watch->subject);
	NorikvFree(watch);
	return NULL;
}

/* Until the key may be free, or the time is over. */
static void
await_change(NorikvCall *watch, int64 until_us)
{
	do
	{
		CHECK_FOR_INTERRUPTS();
		(void) NorikvAskNextPage(watch);
		if (!NorikvAwaitUntil(watch, until_us))
			return;
		if (norikv_call_error(watch->call)->code != NORIKV_OK)
			NorikvRaise(norikv_call_error(watch->call), &watch->subject);
	} while (!may_be_free(norikv_call_changes(watch->call)));
}

static void
back_off(int tries, int64 until_us)
{
	int range = Min(FIRST_PAUSE_MS << Min(tries, 8), LONGEST_PAUSE_MS);
	int64 ms = range / 2 + (int64) (pg_prng_double(&pg_global_prng_state) * range / 2);

	if (until_us != PG_INT64_MAX)
		ms = Min(ms, (until_us - NorikvBootMicroseconds()) / 1000 + 1);
	NorikvSleep(Max(ms, 1));
}

bool
NorikvLockAwait(NorikvConnection *connection, NorikvLease *lease, int64 until_us)
{
	norikv_slice key = {lease->puts[0].key, lease->puts[0].key_size};
	NorikvCall *watch = NULL;
	bool had = NorikvLockCreate(connection, lease);

	if (!had && NorikvBootMicroseconds() < until_us)
	{
		watch = start_watch(connection, key, until_us);
		had = NorikvLockCreate(connection, lease);
	}
	for (int tries = 0; !had && NorikvBootMicroseconds() < until_us; tries++)
	{
		if (watch != NULL)
			await_change(watch, until_us);
		else
			back_off(tries, until_us);
		had = NorikvLockCreate(connection, lease);
	}
	if (watch != NULL)
		NorikvFree(watch);
	return had;
}
