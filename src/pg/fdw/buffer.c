/*
 * buffer.c - the keys that a transaction wrote in one store, and their changes.
 *
 * A skip list over the keys, for scans want them in order. Each key has its
 * changes, the newest first. All changes stand in the log too, in the order in
 * which they were made, so levels never fall along it: the end of a savepoint
 * walks back from its tail over what the savepoint did and nothing else.
 *
 * Older changes of a key are kept: a cursor, or a STABLE function of a query that
 * is still running, may look with a snapshot that does not see the newest.
 */
#include "write.h"

#include "access/xact.h"
#include "common/pg_prng.h"
#include "utils/memutils.h"

static const norikv_version absent = {0, 0};

void
NorikvBufferInit(NorikvBuffer *buffer)
{
	buffer->head = MemoryContextAllocZero(
		buffer->context, offsetof(NorikvBufferKey, next) +
							 sizeof(NorikvBufferKey *) * NORIKV_BUFFER_MAX_HEIGHT);
	buffer->head->height = NORIKV_BUFFER_MAX_HEIGHT;
	buffer->height = 1;
	for (int i = 0; i < NORIKV_BUFFER_MAX_HEIGHT; i++)
		buffer->tails[i] = buffer->head;
	dlist_init(&buffer->log);
	dlist_init(&buffer->truncations);
}

/* ---- Keys ---- */

norikv_slice
NorikvBufferKeySlice(const NorikvBufferKey *key)
{
	return (norikv_slice){&key->next[key->height], key->size};
}

/* The last nodes before the key, at each height of the list. */
static void
find_before(NorikvBuffer *buffer, norikv_slice key, NorikvBufferKey **before)
{
	NorikvBufferKey *at = buffer->head;

	for (int i = buffer->height - 1; i >= 0; i--)
	{
		while (at->next[i] != NULL &&
			   NorikvCompareKeys(NorikvBufferKeySlice(at->next[i]), key) < 0)
			at = at->next[i];
		before[i] = at;
	}
}

NorikvBufferKey *
NorikvBufferSeek(NorikvBuffer *buffer, norikv_slice key)
{
	NorikvBufferKey *before[NORIKV_BUFFER_MAX_HEIGHT];

	if (key.size == 0)
		return buffer->head->next[0];
	find_before(buffer, key, before);
	return before[0]->next[0];
}

/* The last node before the key; for an empty key the last of all. */
static NorikvBufferKey *
seek_before(NorikvBuffer *buffer, norikv_slice key)
{
	NorikvBufferKey *before[NORIKV_BUFFER_MAX_HEIGHT];

	before[0] = buffer->tails[0];
	if (key.size > 0)
		find_before(buffer, key, before);
	return before[0] == buffer->head ? NULL : before[0];
}

NorikvBufferKey *
NorikvBufferLookup(NorikvBuffer *buffer, norikv_slice key)
{
	NorikvBufferKey *found = NorikvBufferSeek(buffer, key);

	if (found != NULL && NorikvCompareKeys(NorikvBufferKeySlice(found), key) == 0)
		return found;
	return NULL;
}

static int
random_height(void)
{
	uint64 bits = pg_prng_uint64(&pg_global_prng_state);
	int height = 1;

	for (; (bits & 3) == 0 && height < NORIKV_BUFFER_MAX_HEIGHT; bits >>= 2)
		height++;
	return height;
}

static NorikvBufferKey *
insert_key(NorikvBuffer *buffer, norikv_slice key, NorikvBufferKey **before)
{
	int height = random_height();
	Size links = sizeof(NorikvBufferKey *) * height;
	NorikvBufferKey *made = MemoryContextAllocZero(
		buffer->context, offsetof(NorikvBufferKey, next) + links + key.size);

	made->height = height;
	made->size = key.size;
	memcpy(&made->next[height], key.data, key.size);
	for (; buffer->height < height; buffer->height++)
		before[buffer->height] = buffer->head;
	for (int i = 0; i < height; i++)
	{
		made->next[i] = before[i]->next[i];
		before[i]->next[i] = made;
		if (made->next[i] == NULL)
			buffer->tails[i] = made;
	}
	made->previous = before[0] == buffer->head ? NULL : before[0];
	if (made->next[0] != NULL)
		made->next[0]->previous = made;
	return made;
}

NorikvBufferKey *
NorikvBufferEnter(NorikvBuffer *buffer, norikv_slice key)
{
	NorikvBufferKey *before[NORIKV_BUFFER_MAX_HEIGHT];
	NorikvBufferKey *last = buffer->tails[0];
	NorikvBufferKey *found;

	/* Keys that come in order, as they often do, are not searched for. */
	if (last == buffer->head || NorikvCompareKeys(NorikvBufferKeySlice(last), key) < 0)
	{
		memcpy(before, buffer->tails, sizeof(before));
		return insert_key(buffer, key, before);
	}
	find_before(buffer, key, before);
	found = before[0]->next[0];
	if (found == NULL || NorikvCompareKeys(NorikvBufferKeySlice(found), key) != 0)
		return insert_key(buffer, key, before);
	/* What was expected of it for a change that then was not made. */
	if (found->newest == NULL)
		found->base = NORIKV_BASE_ANY;
	return found;
}

/* ---- Changes ---- */

NorikvChange *
NorikvBufferVisible(const NorikvBufferKey *key, CommandId curcid)
{
	NorikvChange *change = key->newest;

	while (change != NULL &&
		   (change->kind == NORIKV_CHANGE_CHECK || change->cid >= curcid))
		change = change->older;
	return change;
}

/* What the limit of bytes counts for a change. */
static int64
bytes_of(const NorikvChange *change)
{
	if (change->older == NULL)
		return change->of->size + change->value.size;
	return sizeof(NorikvChange) + change->value.size;
}

static void
link_change(NorikvBuffer *buffer, NorikvChange *change)
{
	NorikvBufferKey *key = change->of;

	if (key->newest == NULL)
		buffer->n_asked++;
	if (change->kind != NORIKV_CHANGE_CHECK && key->n_changes++ == 0)
		buffer->n_changed++;
	key->newest = change;
	buffer->bytes += bytes_of(change);
	dlist_push_tail(&buffer->log, &change->node);
}

/* The newest change of the log, undone. */
static void
unlink_change(NorikvBuffer *buffer, NorikvChange *change)
{
	NorikvBufferKey *key = change->of;

	Assert(key->newest == change);
	buffer->bytes -= bytes_of(change);
	key->newest = change->older;
	key->unverified = false;
	if (change->kind != NORIKV_CHANGE_CHECK && --key->n_changes == 0)
		buffer->n_changed--;
	if (key->newest == NULL)
	{
		buffer->n_asked--;
		key->base = NORIKV_BASE_ANY;
	}
	dlist_delete(&change->node);
	pfree(change);
}

static NorikvChange *
new_change(NorikvBuffer *buffer, NorikvBufferKey *key, NorikvChangeKind kind,
		   CommandId cid, norikv_slice value)
{
	NorikvChange *change =
		MemoryContextAllocZero(buffer->context, sizeof(NorikvChange) + value.size);

	change->older = key->newest;
	change->of = key;
	change->kind = kind;
	change->cid = cid;
	change->level = GetCurrentTransactionNestLevel();
	change->value = (norikv_slice){change + 1, value.size};
	if (value.size > 0)
		memcpy(change + 1, value.data, value.size);
	link_change(buffer, change);
	return change;
}

NorikvChange *
NorikvBufferPut(NorikvBuffer *buffer, NorikvBufferKey *key, CommandId cid,
				norikv_slice value)
{
	return new_change(buffer, key, NORIKV_CHANGE_PUT, cid, value);
}

void
NorikvBufferDelete(NorikvBuffer *buffer, NorikvBufferKey *key, CommandId cid)
{
	const norikv_slice none = {NULL, 0};

	(void) new_change(buffer, key, NORIKV_CHANGE_DELETE, cid, none);
}

void
NorikvBufferCheck(NorikvBuffer *buffer, NorikvBufferKey *key, CommandId cid)
{
	const norikv_slice none = {NULL, 0};

	(void) new_change(buffer, key, NORIKV_CHANGE_CHECK, cid, none);
}

/*
 * The unit can demand one version of a key only. Where this transaction found
 * another one before, somebody has changed the key since, and it cannot commit.
 */
void
NorikvBufferExpect(NorikvBuffer *buffer, NorikvBufferKey *key, norikv_version version)
{
	NorikvBase base = version.index == 0 ? NORIKV_BASE_ABSENT : NORIKV_BASE_VERSION;

	if (key->newest == NULL)
	{
		key->base = base;
		key->version = version;
		return;
	}
	if (key->base == NORIKV_BASE_ANY ||
		(key->base == base &&
		 (base == NORIKV_BASE_ABSENT || NorikvSameVersion(key->version, version))))
		return;
	NorikvRaiseConflict(buffer->connection, NorikvBufferKeySlice(key),
						key->base == NORIKV_BASE_ABSENT ? absent : key->version, version);
}

static norikv_slice
copy_slice(NorikvBuffer *buffer, norikv_slice slice)
{
	char *copy = MemoryContextAlloc(buffer->context, slice.size + 1);

	memcpy(copy, slice.data, slice.size);
	return (norikv_slice){copy, slice.size};
}

/* Keys that were changed before are deleted one by one, all others as a range. */
void
NorikvBufferTruncate(NorikvBuffer *buffer, norikv_slice start, norikv_slice end,
					 CommandId cid)
{
	NorikvTruncation *truncation =
		MemoryContextAllocZero(buffer->context, sizeof(NorikvTruncation));

	truncation->cid = cid;
	truncation->level = GetCurrentTransactionNestLevel();
	truncation->start = copy_slice(buffer, start);
	truncation->end = copy_slice(buffer, end);
	dlist_push_tail(&buffer->truncations, &truncation->node);
	buffer->n_truncations++;
	for (NorikvBufferKey *key = NorikvBufferSeek(buffer, start); key != NULL;
		 key = key->next[0])
	{
		if (end.size > 0 && NorikvCompareKeys(NorikvBufferKeySlice(key), end) >= 0)
			break;
		if (key->newest != NULL)
			NorikvBufferDelete(buffer, key, cid);
	}
}

/* ---- Savepoints ---- */

void
NorikvBufferRollback(NorikvBuffer *buffer, int level)
{
	while (!dlist_is_empty(&buffer->log))
	{
		NorikvChange *change =
			dlist_container(NorikvChange, node, dlist_tail_node(&buffer->log));

		if (change->level < level)
			break;
		unlink_change(buffer, change);
	}
	while (!dlist_is_empty(&buffer->truncations))
	{
		NorikvTruncation *truncation = dlist_container(
			NorikvTruncation, node, dlist_tail_node(&buffer->truncations));

		if (truncation->level < level)
			break;
		dlist_delete(&truncation->node);
		buffer->n_truncations--;
	}
}

void
NorikvBufferRelease(NorikvBuffer *buffer, int level)
{
	dlist_iter iter;

	dlist_reverse_foreach(iter, &buffer->log)
	{
		NorikvChange *change = dlist_container(NorikvChange, node, iter.cur);

		if (change->level < level)
			break;
		change->level = level - 1;
	}
	dlist_reverse_foreach(iter, &buffer->truncations)
	{
		NorikvTruncation *truncation = dlist_container(NorikvTruncation, node, iter.cur);

		if (truncation->level < level)
			break;
		truncation->level = level - 1;
	}
}

/* ---- Reading ---- */

bool
NorikvBufferTruncated(NorikvBuffer *buffer, norikv_slice key, CommandId curcid)
{
	dlist_iter iter;

	if (buffer->n_truncations == 0)
		return false;
	dlist_foreach(iter, &buffer->truncations)
	{
		NorikvTruncation *truncation = dlist_container(NorikvTruncation, node, iter.cur);

		if (truncation->cid < curcid && NorikvCompareKeys(truncation->start, key) <= 0 &&
			(truncation->end.size == 0 || NorikvCompareKeys(key, truncation->end) < 0))
			return true;
	}
	return false;
}

const NorikvChange *
NorikvBufferFind(NorikvBuffer *buffer, norikv_slice key, CommandId curcid)
{
	static const NorikvChange deleted = {.kind = NORIKV_CHANGE_DELETE};
	NorikvBufferKey *found = NorikvBufferLookup(buffer, key);
	NorikvChange *change = found == NULL ? NULL : NorikvBufferVisible(found, curcid);

	if (change == NULL && NorikvBufferTruncated(buffer, key, curcid))
		return &deleted;
	return change;
}

void
NorikvBufferIterate(NorikvBufferIterator *iterator, NorikvBuffer *buffer,
					norikv_slice start, norikv_slice end, bool reverse, CommandId curcid)
{
	*iterator = (NorikvBufferIterator){buffer, start, end, reverse, curcid, NULL};
	iterator->next =
		reverse ? seek_before(buffer, end) : NorikvBufferSeek(buffer, start);
}

static bool
is_past(const NorikvBufferIterator *iterator, norikv_slice key)
{
	if (iterator->reverse)
		return iterator->start.size > 0 && NorikvCompareKeys(key, iterator->start) < 0;
	return iterator->end.size > 0 && NorikvCompareKeys(key, iterator->end) >= 0;
}

const NorikvChange *
NorikvBufferNext(NorikvBufferIterator *iterator, norikv_slice *key)
{
	NorikvBufferKey *at;

	while ((at = iterator->next) != NULL)
	{
		const NorikvChange *change;

		*key = NorikvBufferKeySlice(at);
		if (is_past(iterator, *key))
			iterator->next = NULL;
		else
		{
			iterator->next = iterator->reverse ? at->previous : at->next[0];
			change = NorikvBufferVisible(at, iterator->curcid);
			if (change != NULL)
				return change;
		}
	}
	return NULL;
}
