/*
 * flight.c - one reading of a key for all who miss it, and what comes of it.
 *
 * A backend that misses a key either starts a flight, which means that it is going to
 * read the key, or waits for the one that is under way. A flight that a write has
 * overtaken keeps nothing, for what it brings may be older than that write, and nobody
 * joins it any more. A flight ends whatever becomes of its backend; those who wait for
 * one that was abandoned look again, and one of them starts the next.
 *
 * A write whose value is to be kept is a flight as well, which nobody waits for: it
 * keeps its value only if no other write of the key met it.
 */
#include "shared.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"

static bool exit_registered = false;
/* The hash of this backend's flight, while it has one. */
static bool in_flight = false;
static uint64 my_hash;

static NorikvCacheFlight *
my_flight(void)
{
	return &norikv_cache_flights[MyBackendId - 1];
}

/* ---- Starting ---- */

static void
abandon_at_exit(int code, Datum arg)
{
	NorikvCacheAbandon();
}

static void
prepare_flight(void)
{
	if (!exit_registered)
	{
		before_shmem_exit(abandon_at_exit, (Datum) 0);
		exit_registered = true;
	}
	NorikvCacheAbandon();
}

/* Locked exclusively. */
static void
start_flight(const NorikvCacheKey *key, bool write)
{
	NorikvCachePartition *partition = NorikvCachePartitionOf(key->hash);
	NorikvCacheFlight *flight = my_flight();

	flight->hash = key->hash;
	flight->scope = key->scope_serial;
	flight->epoch = pg_atomic_read_u64(&key->scope->epoch);
	flight->write = write;
	flight->seen = (norikv_version){0, 0};
	pg_atomic_write_u32(&flight->overtaken, 0);
	flight->next = partition->flights;
	partition->flights = MyBackendId - 1;
	NorikvCacheOccupy(key->hash, 1);
	pg_atomic_fetch_add_u32(&flight->serial, 1);
	my_hash = key->hash;
	in_flight = true;
}

/* One that is worth waiting for. Other keys of the same hash do no harm here. */
static NorikvCacheFlight *
find_flight(const NorikvCacheKey *key)
{
	uint32 i = NorikvCachePartitionOf(key->hash)->flights;

	for (; i != NORIKV_CACHE_NONE; i = norikv_cache_flights[i].next)
	{
		NorikvCacheFlight *flight = &norikv_cache_flights[i];

		if (flight->hash == key->hash && flight->scope == key->scope_serial &&
			flight->epoch == pg_atomic_read_u64(&key->scope->epoch) && !flight->write &&
			!pg_atomic_read_u32(&flight->overtaken))
			return flight;
	}
	return NULL;
}

NorikvCacheBoarding
NorikvCacheBoard(const NorikvCacheKey *key, NorikvCacheTicket *ticket)
{
	LWLock *lock = NorikvCacheLockOf(key->hash);
	NorikvCacheBoarding boarding = NORIKV_CACHE_PILOT;
	NorikvCacheFlight *flight;

	prepare_flight();
	LWLockAcquire(lock, LW_EXCLUSIVE);
	flight = find_flight(key);
	if (NorikvCacheLookUp(key, NorikvBootMicroseconds()) != NULL)
		boarding = NORIKV_CACHE_THERE;
	else if (flight != NULL)
	{
		boarding = NORIKV_CACHE_WAIT;
		ticket->flight = flight - norikv_cache_flights;
		ticket->serial = pg_atomic_read_u32(&flight->serial);
	}
	else
		start_flight(key, false);
	LWLockRelease(lock);
	return boarding;
}

void
NorikvCacheBoardWrite(const NorikvCacheKey *key)
{
	LWLock *lock = NorikvCacheLockOf(key->hash);

	prepare_flight();
	LWLockAcquire(lock, LW_EXCLUSIVE);
	start_flight(key, true);
	LWLockRelease(lock);
}

/* ---- Ending ---- */

/* Locked exclusively. */
static void
end_flight(NorikvCacheOutcome outcome)
{
	NorikvCacheFlight *flight = my_flight();
	uint32 *link = &NorikvCachePartitionOf(my_hash)->flights;

	while (*link != MyBackendId - 1)
		link = &norikv_cache_flights[*link].next;
	*link = flight->next;
	NorikvCacheOccupy(my_hash, -1);
	flight->outcome = outcome;
	pg_write_barrier();
	pg_atomic_fetch_add_u32(&flight->serial, 1);
	in_flight = false;
}

static void
end_without(NorikvCacheOutcome outcome)
{
	LWLock *lock = NorikvCacheLockOf(my_hash);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	end_flight(outcome);
	LWLockRelease(lock);
	ConditionVariableBroadcast(&my_flight()->landed);
}

void
NorikvCacheAbandon(void)
{
	if (in_flight)
		end_without(NORIKV_CACHE_ABANDONED);
}

/* Of an absent key the watch may tell what is older or newer: there is no version. */
static bool
is_up_to_date(const NorikvCacheKey *key, const NorikvCacheItem *item)
{
	const NorikvCacheFlight *flight = my_flight();

	return !pg_atomic_read_u32(&my_flight()->overtaken) &&
		flight->epoch == pg_atomic_read_u64(&key->scope->epoch) &&
		pg_atomic_read_u32(&key->scope->serial) == key->scope_serial &&
		NorikvCacheAtLeast(item->version, flight->seen);
}

static void
describe(NorikvCacheEntry *entry, const NorikvCacheItem *item)
{
	entry->absent = item->absent;
	entry->utf8 = pg_verify_mbstr(PG_UTF8, item->value.data, item->value.size, true);
	entry->epoch = my_flight()->epoch;
	entry->asked_at = item->asked_at;
	entry->expires_at = item->expires_at;
	entry->version = item->version;
}

/* Interrupts are held off while there is an entry that is linked nowhere. */
void
NorikvCacheLand(const NorikvCacheKey *key, const NorikvCacheItem *item)
{
	LWLock *lock = NorikvCacheLockOf(my_hash);
	uint32 entry;
	uint32 spare;

	Assert(in_flight && key->hash == my_hash);
	HOLD_INTERRUPTS();
	if (item->expires_at <= item->asked_at ||
		NorikvCacheIsUnsettled(key->hash, NorikvBootMicroseconds()) ||
		!NorikvCacheTake(key->name.size + item->value.size, &entry))
		end_without(NORIKV_CACHE_NOT_KEPT);
	else
	{
		NorikvCacheFill(entry, key->name, item->value);
		describe(&norikv_cache_entries[entry], item);
		spare = entry;
		LWLockAcquire(lock, LW_EXCLUSIVE);
		if (is_up_to_date(key, item))
			spare = NorikvCacheLink(key, entry);
		end_flight(spare == entry ? NORIKV_CACHE_NOT_KEPT : NORIKV_CACHE_KEPT);
		LWLockRelease(lock);
		ConditionVariableBroadcast(&my_flight()->landed);
		NorikvCacheGiveBack(spare);
	}
	RESUME_INTERRUPTS();
}

/* ---- Waiting ---- */

/* Of a flight that is over, and of which the next one has not begun. */
static NorikvCacheOutcome
outcome_of(const NorikvCacheTicket *ticket)
{
	NorikvCacheFlight *flight = &norikv_cache_flights[ticket->flight];
	NorikvCacheOutcome outcome = flight->outcome;

	pg_read_barrier();
	if (pg_atomic_read_u32(&flight->serial) != ticket->serial + 1)
		return NORIKV_CACHE_ABANDONED;
	return outcome;
}

NorikvCacheOutcome
NorikvCacheWait(const NorikvCacheTicket *ticket, long timeout)
{
	NorikvCacheFlight *flight = &norikv_cache_flights[ticket->flight];
	instr_time start;
	instr_time now;
	long left = timeout;

	INSTR_TIME_SET_CURRENT(start);
	ConditionVariablePrepareToSleep(&flight->landed);
	while (left > 0 && pg_atomic_read_u32(&flight->serial) == ticket->serial)
	{
		(void) ConditionVariableTimedSleep(&flight->landed, left, PG_WAIT_EXTENSION);
		INSTR_TIME_SET_CURRENT(now);
		INSTR_TIME_SUBTRACT(now, start);
		left = timeout - (long) INSTR_TIME_GET_MILLISEC(now);
	}
	ConditionVariableCancelSleep();
	return left <= 0 ? NORIKV_CACHE_NOT_KEPT : outcome_of(ticket);
}

/* ---- Writes meeting flights ---- */

/* Locked, shared will do. The write that this backend wants to keep is its own. */
void
NorikvCacheOvertake(uint64 hash)
{
	uint32 i = NorikvCachePartitionOf(hash)->flights;

	for (; i != NORIKV_CACHE_NONE; i = norikv_cache_flights[i].next)
	{
		NorikvCacheFlight *flight = &norikv_cache_flights[i];

		if (flight->hash == hash && !(flight->write && in_flight && i == MyBackendId - 1))
			pg_atomic_write_u32(&flight->overtaken, 1);
	}
}

void
NorikvCacheTellFlights(uint64 hash, bool all, uint32 scope, norikv_version version)
{
	uint32 i = NorikvCachePartitionOf(hash)->flights;

	for (; i != NORIKV_CACHE_NONE; i = norikv_cache_flights[i].next)
	{
		NorikvCacheFlight *flight = &norikv_cache_flights[i];

		if (flight->scope == scope && (all || flight->hash == hash) &&
			!NorikvCacheAtLeast(flight->seen, version))
			flight->seen = version;
	}
}
