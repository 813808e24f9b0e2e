/*
 * lock_table.c - the locks that this session holds, and how often.
 *
 * As with advisory locks: what was taken for the session stays until it is given back
 * or the session ends, what was taken for the transaction goes with it, or with the
 * ROLLBACK TO a savepoint from before. A lock that the last of these had goes to the
 * keeper, which deletes it: nothing here waits for the network.
 */
#include "patterns/lock.h"

#include "access/xact.h"
#include "utils/memutils.h"

static dlist_head held_locks = DLIST_STATIC_INIT(held_locks);

dlist_head *
NorikvHeldLocks(void)
{
	return &held_locks;
}

void
NorikvRaiseLost(const char *server, norikv_slice key)
{
	ereport(ERROR, errcode(ERRCODE_NORIKV_LEASE_LOST),
			errmsg("the lock at key %s on server \"%s\" was lost", NorikvShowKey(key),
				   server),
			errdetail("It ran out before it was renewed, or somebody deleted the key."),
			errhint("Another may have had it meanwhile: check what it guards, and take "
					"it again. fence() keeps late writes out."));
}

/* ---- The list ---- */

char *
NorikvStoreScope(NorikvConnection *connection)
{
	const char *store = NorikvGetCapabilities(connection)->store_id;
	norikv_slice part;

	if (store[0] == '\0')
		store = connection->settings.nodes;
	if (connection->key_prefix.size == 0)
		return pstrdup(store);
	part = NorikvFromUtf8(connection->key_prefix);
	return psprintf("%s/%.*s", store, (int) part.size, (const char *) part.data);
}

NorikvHeldLock *
NorikvFindLock(NorikvConnection *connection, norikv_slice key)
{
	char *scope;
	dlist_iter iter;

	if (dlist_is_empty(&held_locks))
		return NULL;
	scope = NorikvStoreScope(connection);
	dlist_foreach(iter, &held_locks)
	{
		NorikvHeldLock *lock = dlist_container(NorikvHeldLock, node, iter.cur);

		if (NorikvSameBytes(lock->key, key) && strcmp(lock->scope, scope) == 0)
			return lock;
	}
	return NULL;
}

static void
free_lock(NorikvHeldLock *lock)
{
	if (lock->scope != NULL)
		pfree(lock->scope);
	if (lock->key.data != NULL)
		pfree((void *) lock->key.data);
	if (lock->levels != NULL)
		pfree(lock->levels);
	pfree(lock);
}

NorikvHeldLock *
NorikvAddLock(NorikvConnection *connection, norikv_slice key, NorikvLease *lease)
{
	char *scope = NorikvStoreScope(connection);
	NorikvHeldLock *lock = MemoryContextAllocZero(TopMemoryContext,
												  sizeof(NorikvHeldLock));
	char *copy;

	lock->levels_room = 4;
	lock->levels = MemoryContextAlloc(TopMemoryContext,
									  sizeof(int) * lock->levels_room);
	lock->scope = MemoryContextStrdup(TopMemoryContext, scope);
	copy = MemoryContextAlloc(TopMemoryContext, key.size);
	memcpy(copy, key.data, key.size);
	lock->key = (norikv_slice){copy, key.size};
	lock->lease = lease;
	lock->token = lease->token;
	/* The store has just given it out: fence() need not ask. */
	connection->capabilities.latest_token =
		Max(connection->capabilities.latest_token, lock->token);
	dlist_push_head(&held_locks, &lock->node);
	return lock;
}

void
NorikvCountLock(NorikvHeldLock *lock, bool in_transaction)
{
	if (!in_transaction)
	{
		lock->session++;
		return;
	}
	if (lock->n_levels == lock->levels_room)
	{
		lock->levels = repalloc(lock->levels, sizeof(int) * lock->levels_room * 2);
		lock->levels_room *= 2;
	}
	lock->levels[lock->n_levels++] = GetCurrentTransactionNestLevel();
}

NorikvLease *
NorikvForgetLock(NorikvHeldLock *lock)
{
	NorikvLease *lease = lock->lease;

	dlist_delete(&lock->node);
	free_lock(lock);
	return lease;
}

/* ---- Transactions ---- */

/* Of those taken in this level of nesting or deeper ones. Never throws. */
static void
release_level(int level)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &held_locks)
	{
		NorikvHeldLock *lock = dlist_container(NorikvHeldLock, node, iter.cur);
		int kept = 0;

		for (int i = 0; i < lock->n_levels; i++)
		{
			if (lock->levels[i] < level)
				lock->levels[kept++] = lock->levels[i];
		}
		if (kept == lock->n_levels)
			continue;
		lock->n_levels = kept;
		if (kept == 0 && lock->session == 0)
			NorikvLeaseRelease(NorikvForgetLock(lock));
	}
}

/* RELEASE of a savepoint: they are its parent's now. */
static void
hand_up(int level)
{
	dlist_iter iter;

	dlist_foreach(iter, &held_locks)
	{
		NorikvHeldLock *lock = dlist_container(NorikvHeldLock, node, iter.cur);

		for (int i = 0; i < lock->n_levels; i++)
			lock->levels[i] = Min(lock->levels[i], level - 1);
	}
}

/*
 * A transaction whose lock was lost has done its work unguarded, at least in part: it
 * must not commit. That it still was held here says nothing about the moment of the
 * commit; fence() does.
 */
static void
check_before_commit(void)
{
	dlist_iter iter;

	dlist_foreach(iter, &held_locks)
	{
		NorikvHeldLock *lock = dlist_container(NorikvHeldLock, node, iter.cur);

		if (lock->n_levels > 0 && !NorikvLeaseIsHeld(lock->lease))
			NorikvRaiseLost(lock->lease->server, lock->key);
	}
}

static void
refuse_prepare(void)
{
	dlist_iter iter;

	dlist_foreach(iter, &held_locks)
	{
		NorikvHeldLock *lock = dlist_container(NorikvHeldLock, node, iter.cur);

		if (lock->n_levels > 0)
			ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("cannot PREPARE a transaction that holds the lock at key %s",
						   NorikvShowKey(lock->key)),
					errhint("Commit it without preparing it."));
	}
}

static void
transaction_event(XactEvent event, void *arg)
{
	if (dlist_is_empty(&held_locks))
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			check_before_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_prepare();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
			release_level(1);
			break;
		default:
			break;
	}
}

static void
savepoint_event(SubXactEvent event, SubTransactionId my_subid,
				SubTransactionId parent_subid, void *arg)
{
	if (dlist_is_empty(&held_locks))
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		release_level(GetCurrentTransactionNestLevel());
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		hand_up(GetCurrentTransactionNestLevel());
}

/*
 * After NorikvTransactionInit: callbacks run in the opposite order, and a lost lock
 * must keep the foreign tables' writes from being sent.
 */
void
NorikvLockInit(void)
{
	RegisterXactCallback(transaction_event, NULL);
	RegisterSubXactCallback(savepoint_event, NULL);
}
