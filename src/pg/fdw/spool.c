/*
 * spool.c - append-only bytes, in memory up to work_mem and in a file from there.
 *
 * The youngest bytes always are in memory: a plan that reads a row and changes it
 * before it reads the next one asks for what was appended last, and does not make
 * the file seek back and forth.
 */
#include "spool.h"

#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

#define HEAD_FIRST_ROOM 8192
/* Whole blocks, so that the file is written at the boundary of one. */
#define TAIL_ROOM (32 * BLCKSZ)

struct NorikvSpool
{
	MemoryContext context;
	ResourceOwner owner;
	char *head; /* the first bytes, up to head_limit */
	size_t head_size;
	size_t head_room;
	size_t head_limit;
	BufFile *file; /* those behind them; NULL: there are none */
	uint64 file_size;
	char *tail; /* the last, not yet in the file */
	size_t tail_size;
};

NorikvSpool *
NorikvSpoolCreate(MemoryContext context, ResourceOwner owner)
{
	NorikvSpool *spool = MemoryContextAllocZero(context, sizeof(NorikvSpool));

	spool->context = context;
	spool->owner = owner;
	spool->head_limit = (size_t) work_mem * 1024;
	return spool;
}

void
NorikvSpoolClose(NorikvSpool *spool)
{
	if (spool->file != NULL)
		BufFileClose(spool->file);
	spool->file = NULL;
}

uint64
NorikvSpoolSize(const NorikvSpool *spool)
{
	return spool->head_size + spool->file_size + spool->tail_size;
}

static void
make_head_room(NorikvSpool *spool, size_t size)
{
	size_t room = Max(spool->head_room, HEAD_FIRST_ROOM);

	while (room < size)
		room *= 2;
	if (room == spool->head_room)
		return;
	if (spool->head == NULL)
		spool->head = MemoryContextAllocHuge(spool->context, room);
	else
		spool->head = repalloc_huge(spool->head, room);
	spool->head_room = room;
}

static void
open_file(NorikvSpool *spool)
{
	MemoryContext old_context = MemoryContextSwitchTo(spool->context);
	ResourceOwner old_owner = CurrentResourceOwner;

	spool->tail = palloc(TAIL_ROOM);
	CurrentResourceOwner = spool->owner;
	spool->file = BufFileCreateTemp(false);
	CurrentResourceOwner = old_owner;
	MemoryContextSwitchTo(old_context);
}

static void
seek(NorikvSpool *spool, uint64 position)
{
	if (BufFileSeekBlock(spool->file, position / BLCKSZ) != 0 ||
		(position % BLCKSZ != 0 &&
		 BufFileSeek(spool->file, 0, position % BLCKSZ, SEEK_CUR) != 0))
		ereport(ERROR, errcode_for_file_access(),
				errmsg("could not seek in temporary file: %m"));
}

static void
write_tail(NorikvSpool *spool)
{
	MemoryContext old_context = MemoryContextSwitchTo(spool->context);

	seek(spool, spool->file_size);
	BufFileWrite(spool->file, spool->tail, spool->tail_size);
	spool->file_size += spool->tail_size;
	spool->tail_size = 0;
	MemoryContextSwitchTo(old_context);
}

void
NorikvSpoolAppend(NorikvSpool *spool, const void *data, size_t size)
{
	const char *from = data;
	size_t n = Min(size, spool->head_limit - spool->head_size);

	if (n > 0)
	{
		make_head_room(spool, spool->head_size + n);
		memcpy(spool->head + spool->head_size, from, n);
		spool->head_size += n;
	}
	for (from += n, size -= n; size > 0; from += n, size -= n)
	{
		if (spool->file == NULL)
			open_file(spool);
		if (spool->tail_size == TAIL_ROOM)
			write_tail(spool);
		n = Min(size, TAIL_ROOM - spool->tail_size);
		memcpy(spool->tail + spool->tail_size, from, n);
		spool->tail_size += n;
	}
}

static void
read_file(NorikvSpool *spool, uint64 position, void *data, size_t size)
{
	seek(spool, position);
#if PG_VERSION_NUM >= 160000
	BufFileReadExact(spool->file, data, size);
#else
	if (BufFileRead(spool->file, data, size) != size)
		ereport(ERROR, errcode_for_file_access(),
				errmsg("could not read from temporary file: %m"));
#endif
}

void
NorikvSpoolRead(NorikvSpool *spool, uint64 position, void *data, size_t size)
{
	char *to = data;
	size_t n;

	Assert(position + size <= NorikvSpoolSize(spool));
	if (position < spool->head_size)
	{
		n = Min(size, spool->head_size - position);
		memcpy(to, spool->head + position, n);
		to += n;
		position += n;
		size -= n;
	}
	if (size == 0)
		return;
	position -= spool->head_size;
	if (position < spool->file_size)
	{
		n = Min(size, spool->file_size - position);
		read_file(spool, position, to, n);
		to += n;
		position += n;
		size -= n;
	}
	if (size > 0)
		memcpy(to, spool->tail + (position - spool->file_size), size);
}
