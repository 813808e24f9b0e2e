/*
 * readset.c - the keys that a REPEATABLE READ or SERIALIZABLE transaction has
 * read, and the versions it has seen: checks of its unit, if it writes.
 */
#include "write.h"

#include "utils/memutils.h"

#include "spool.h"

typedef struct ReadHead
{
	norikv_version version;
	uint32 key_size;
} ReadHead;

struct NorikvReadSet
{
	NorikvSpool *spool;
	size_t n_reads;
};

NorikvReadSet *
NorikvReadSetCreate(NorikvBuffer *buffer)
{
	NorikvReadSet *set = MemoryContextAllocZero(buffer->context, sizeof(NorikvReadSet));

	set->spool = NorikvSpoolCreate(buffer->context, TopTransactionResourceOwner);
	return set;
}

void
NorikvReadSetClose(NorikvReadSet *set)
{
	NorikvSpoolClose(set->spool);
}

void
NorikvReadSetAdd(NorikvReadSet *set, NorikvBuffer *buffer, norikv_slice key,
				 norikv_version version)
{
	ReadHead head = {.version = version, .key_size = key.size};

	if (NorikvSpoolSize(set->spool) > (uint64) norikv_max_buffered_bytes * 1024)
		ereport(
			ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			errmsg("a transaction cannot remember more than %d kB of keys that it read "
				   "from server \"%s\"",
				   norikv_max_buffered_bytes, buffer->connection->name),
			errdetail("At isolation level REPEATABLE READ and above they are checked at "
					  "COMMIT."),
			errhint("Declare the transaction READ ONLY, use READ COMMITTED, or raise "
					"\"norikv.max_buffered_bytes\"."));
	NorikvSpoolAppend(set->spool, &head, sizeof(head));
	NorikvSpoolAppend(set->spool, key.data, key.size);
	set->n_reads++;
}

static int
compare_reads(const void *a, const void *b)
{
	const NorikvReadCheck *left = a;
	const NorikvReadCheck *right = b;

	return NorikvCompareKeys(left->key, right->key);
}

static NorikvReadCheck *
load_reads(NorikvReadSet *set)
{
	size_t size = NorikvSpoolSize(set->spool);
	char *bytes = MemoryContextAllocHuge(CurrentMemoryContext, Max(size, 1));
	NorikvReadCheck *reads = MemoryContextAllocHuge(
		CurrentMemoryContext, sizeof(NorikvReadCheck) * Max(set->n_reads, 1));
	const char *at = bytes;

	NorikvSpoolRead(set->spool, 0, bytes, size);
	for (size_t i = 0; i < set->n_reads; i++)
	{
		ReadHead head;

		memcpy(&head, at, sizeof(head));
		at += sizeof(head);
		reads[i] = (NorikvReadCheck){{at, head.key_size}, head.version};
		at += head.key_size;
	}
	return reads;
}

NorikvReadCheck *
NorikvReadSetChecks(NorikvReadSet *set, NorikvBuffer *buffer, size_t *n_checks)
{
	NorikvReadCheck *reads = load_reads(set);
	size_t n = 0;

	qsort(reads, set->n_reads, sizeof(NorikvReadCheck), compare_reads);
	for (size_t i = 0; i < set->n_reads; i++)
	{
		if (n == 0 || NorikvCompareKeys(reads[n - 1].key, reads[i].key) != 0)
			reads[n++] = reads[i];
		else if (!NorikvSameVersion(reads[n - 1].version, reads[i].version))
			NorikvRaiseConflict(buffer->connection, reads[i].key, reads[n - 1].version,
								reads[i].version);
	}
	*n_checks = n;
	return reads;
}
