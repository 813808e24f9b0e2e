/*
 * unit.c - from buffers to the operations of one atomic Commit, in key order.
 *
 * No two of them may meet at a key. So each key has one operation, which combines
 * what its changes come to with the version that was read, and a truncated range
 * is cut where a key in it has an operation of its own.
 */
#include "unit.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

/* ---- One key ---- */

static int64
now_ms(void)
{
	return NorikvMillisecondsFromTimestamp(GetCurrentTimestamp());
}

uint64
NorikvChangeExpiresAt(const NorikvChange *change)
{
	switch (change->expiry)
	{
		case NORIKV_EXPIRY_NONE:
			return 0;
		case NORIKV_EXPIRY_TTL:
			return now_ms() + change->ttl_ms;
		case NORIKV_EXPIRY_AT:
		case NORIKV_EXPIRY_KEEP:
			break;
	}
	return change->expires_at_ms;
}

/* What has expired already is put for one more millisecond: it replaces the old. */
uint64
NorikvRemainingMs(uint64 expires_at_ms)
{
	int64 left = (int64) expires_at_ms - now_ms();

	return Min(Max(left, 1), NORIKV_MAX_TTL_MS);
}

static void
set_expiry(norikv_operation *operation, const NorikvChange *put)
{
	switch (put->expiry)
	{
		case NORIKV_EXPIRY_NONE:
			operation->ttl = NORIKV_TTL_NONE;
			break;
		case NORIKV_EXPIRY_TTL:
			operation->ttl = NORIKV_TTL_SET;
			operation->ttl_ms = put->ttl_ms;
			break;
		case NORIKV_EXPIRY_AT:
			operation->ttl = put->expires_at_ms == 0 ? NORIKV_TTL_NONE : NORIKV_TTL_SET;
			if (put->expires_at_ms != 0)
				operation->ttl_ms = NorikvRemainingMs(put->expires_at_ms);
			break;
		case NORIKV_EXPIRY_KEEP:
			operation->ttl = NORIKV_TTL_KEEP;
			break;
	}
}

static void
set_condition(norikv_operation *operation, const NorikvBufferKey *key,
			  const NorikvReadCheck *read)
{
	operation->condition = NORIKV_IF_ANY;
	if (key->base == NORIKV_BASE_ABSENT || key->unverified)
		operation->condition = NORIKV_IF_ABSENT;
	else if (key->base == NORIKV_BASE_VERSION)
	{
		operation->condition = NORIKV_IF_VERSION;
		operation->version = key->version;
	}
	else if (read != NULL)
	{
		operation->condition =
			read->version.index == 0 ? NORIKV_IF_ABSENT : NORIKV_IF_VERSION;
		operation->version = read->version;
	}
}

bool
NorikvKeyOperation(const NorikvBufferKey *key, const NorikvReadCheck *read,
				   norikv_operation *operation)
{
	const NorikvChange *last = NorikvBufferVisible(key, InvalidCommandId);

	*operation = (norikv_operation){.key = NorikvBufferKeySlice(key)};
	set_condition(operation, key, read);
	if (last == NULL)
		operation->kind = NORIKV_OP_CHECK;
	else if (last->kind == NORIKV_CHANGE_PUT)
	{
		operation->kind = NORIKV_OP_PUT;
		operation->value = last->value;
		set_expiry(operation, last);
	}
	else if (operation->condition != NORIKV_IF_ABSENT)
		operation->kind = NORIKV_OP_DELETE;
	else if (read != NULL)
		operation->kind = NORIKV_OP_CHECK;
	else
		return false;
	return true;
}

void
NorikvMakeVectorOperation(norikv_operation *operation, norikv_slice space)
{
	static const norikv_operation_kind kinds[] = {
		[NORIKV_OP_PUT] = NORIKV_OP_VECTOR_PUT,
		[NORIKV_OP_DELETE] = NORIKV_OP_VECTOR_DELETE,
		[NORIKV_OP_CHECK] = NORIKV_OP_VECTOR_CHECK,
		[NORIKV_OP_DELETE_RANGE] = NORIKV_OP_VECTOR_DELETE_RANGE,
	};

	Assert(operation->kind < lengthof(kinds) && kinds[operation->kind] != 0);
	operation->vector_namespace = space;
	operation->kind = kinds[operation->kind];
	if (operation->kind != NORIKV_OP_VECTOR_PUT)
		return;
	operation->vector = operation->value.data;
	operation->dimensions = operation->value.size / sizeof(float);
	operation->value = (norikv_slice){NULL, 0};
	operation->ttl = NORIKV_TTL_NONE;
}

static norikv_operation
check_operation(const NorikvReadCheck *read)
{
	return (norikv_operation){.kind = NORIKV_OP_CHECK,
							  .key = read->key,
							  .condition = read->version.index == 0 ? NORIKV_IF_ABSENT
																	: NORIKV_IF_VERSION,
							  .version = read->version};
}

/* A version that was read and another one that was found when it was changed. */
static void
check_agreement(const NorikvBuffer *buffer, const NorikvBufferKey *key,
				const NorikvReadCheck *read)
{
	norikv_version found = {0, 0};

	if (key->base == NORIKV_BASE_ANY)
		return;
	if (key->base == NORIKV_BASE_VERSION)
		found = key->version;
	if (!NorikvSameVersion(found, read->version))
		NorikvRaiseConflict(buffer->connection, read->key, read->version, found);
}

/* ---- All keys ---- */

static norikv_operation *
allocate(size_t n)
{
	return MemoryContextAllocHuge(CurrentMemoryContext,
								  sizeof(norikv_operation) * (n + 1));
}

/* Keys that were changed and keys that were read, merged. */
static void
make_points(NorikvBuffer *buffer, NorikvUnit *unit)
{
	size_t n_reads = 0;
	NorikvReadCheck *reads =
		buffer->reads ? NorikvReadSetChecks(buffer->reads, buffer, &n_reads) : NULL;
	const NorikvBufferKey *key = NorikvBufferSeek(buffer, (norikv_slice){NULL, 0});
	size_t at = 0;

	unit->operations = allocate(buffer->n_asked + n_reads);
	unit->n_operations = 0;
	while (key != NULL || at < n_reads)
	{
		norikv_operation *next = &unit->operations[unit->n_operations];
		NorikvReadCheck *read = at < n_reads ? &reads[at] : NULL;
		int order = key == NULL ? 1
					: read == NULL
						? -1
						: NorikvCompareKeys(NorikvBufferKeySlice(key), read->key);

		if (order >= 0)
			at++;
		else
			read = NULL;
		if (order > 0 || key->newest == NULL)
		{
			if (read != NULL)
				unit->operations[unit->n_operations++] = check_operation(read);
		}
		else
		{
			if (read != NULL)
				check_agreement(buffer, key, read);
			if (NorikvKeyOperation(key, read, next))
				unit->n_operations++;
		}
		if (order <= 0)
			key = key->next[0];
	}
}

/* ---- Truncated ranges ---- */

static int
compare_ranges(const void *a, const void *b)
{
	return NorikvCompareKeys(((const norikv_operation *) a)->key,
							 ((const norikv_operation *) b)->key);
}

/* The ranges in order, each key in one of them at most. */
static norikv_operation *
make_ranges(NorikvBuffer *buffer, size_t *n_ranges)
{
	norikv_operation *ranges = allocate(buffer->n_truncations);
	size_t n = 0;
	dlist_iter iter;

	dlist_foreach(iter, &buffer->truncations)
	{
		NorikvTruncation *truncation = dlist_container(NorikvTruncation, node, iter.cur);

		ranges[n++] = (norikv_operation){.kind = NORIKV_OP_DELETE_RANGE,
										 .key = truncation->start,
										 .end_key = truncation->end};
	}
	qsort(ranges, n, sizeof(norikv_operation), compare_ranges);
	*n_ranges = 0;
	for (size_t i = 0; i < n; i++)
	{
		norikv_operation *last = *n_ranges > 0 ? &ranges[*n_ranges - 1] : NULL;

		if (last == NULL || (last->end_key.size > 0 &&
							 NorikvCompareKeys(last->end_key, ranges[i].key) < 0))
			ranges[(*n_ranges)++] = ranges[i];
		else if (last->end_key.size > 0 &&
				 (ranges[i].end_key.size == 0 ||
				  NorikvCompareKeys(last->end_key, ranges[i].end_key) < 0))
			last->end_key = ranges[i].end_key;
	}
	return ranges;
}

/* The first key that can follow; empty where none can. */
static norikv_slice
successor(norikv_slice key, size_t max_key)
{
	char *next = palloc(key.size + 1);

	memcpy(next, key.data, key.size);
	next[key.size] = '\0';
	if (key.size < max_key)
		return (norikv_slice){next, key.size + 1};
	return (norikv_slice){next, norikv_prefix_end(key, next)};
}

static void
add_range(NorikvUnit *unit, norikv_slice start, norikv_slice end)
{
	if (end.size > 0 && NorikvCompareKeys(start, end) >= 0)
		return;
	unit->operations[unit->n_operations++] =
		(norikv_operation){.kind = NORIKV_OP_DELETE_RANGE, .key = start, .end_key = end};
}

/* Moves the points of one range from *at on into the unit, the range around them. */
static void
cut_range(NorikvUnit *unit, const norikv_operation *range, const NorikvUnit *points,
		  size_t *at, size_t max_key)
{
	norikv_slice start = range->key;
	bool to_the_end = false;

	for (; *at < points->n_operations; ++*at)
	{
		norikv_operation *point = &points->operations[*at];

		if (range->end_key.size > 0 && NorikvCompareKeys(point->key, range->end_key) >= 0)
			break;
		add_range(unit, start, point->key);
		/* Read before it was truncated. */
		if (point->kind == NORIKV_OP_CHECK && point->condition == NORIKV_IF_VERSION)
			point->kind = NORIKV_OP_DELETE;
		unit->operations[unit->n_operations++] = *point;
		start = successor(point->key, max_key);
		to_the_end = start.size == 0;
	}
	if (!to_the_end)
		add_range(unit, start, range->end_key);
}

static void
cut_ranges(NorikvBuffer *buffer, NorikvUnit *unit)
{
	NorikvUnit points = *unit;
	size_t max_key =
		buffer->space.size > 0 ? NORIKV_MAX_VECTOR_ID : buffer->connection->max_key;
	size_t n_ranges;
	norikv_operation *ranges = make_ranges(buffer, &n_ranges);
	size_t at = 0;

	unit->operations = allocate(2 * points.n_operations + n_ranges);
	unit->n_operations = 0;
	for (size_t i = 0; i < n_ranges; i++)
	{
		while (at < points.n_operations &&
			   NorikvCompareKeys(points.operations[at].key, ranges[i].key) < 0)
			unit->operations[unit->n_operations++] = points.operations[at++];
		cut_range(unit, &ranges[i], &points, &at, max_key);
	}
	while (at < points.n_operations)
		unit->operations[unit->n_operations++] = points.operations[at++];
}

/* What one buffer comes to. */
static void
make_part(NorikvBuffer *buffer, NorikvUnit *unit)
{
	make_points(buffer, unit);
	if (buffer->n_truncations > 0)
		cut_ranges(buffer, unit);
	for (size_t i = 0; i < unit->n_operations && buffer->space.size > 0; i++)
		NorikvMakeVectorOperation(&unit->operations[i], buffer->space);
}

void
NorikvMakeUnit(NorikvBuffer *buffer, NorikvUnit *unit)
{
	make_part(buffer, unit);
	while ((buffer = NorikvNextOfUnit(buffer)) != NULL)
	{
		NorikvUnit part;
		norikv_operation *all;

		make_part(buffer, &part);
		if (part.n_operations == 0)
			continue;
		all = allocate(unit->n_operations + part.n_operations);
		memcpy(all, unit->operations, sizeof(norikv_operation) * unit->n_operations);
		memcpy(all + unit->n_operations, part.operations,
			   sizeof(norikv_operation) * part.n_operations);
		unit->operations = all;
		unit->n_operations += part.n_operations;
	}
}
