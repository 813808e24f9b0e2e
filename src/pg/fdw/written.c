/*
 * written.c - how many keys write_mode 'immediate' has written in each savepoint
 * of the transaction: whoever rolls back is told that they stay.
 */
#include "modify.h"

#include "access/xact.h"
#include "utils/memutils.h"

typedef struct Written
{
	struct Written *outer;
	int level;
	int64 n_keys;
} Written;

/* The innermost level that has written; in TopTransactionContext. */
static Written *innermost = NULL;

void
NorikvCountWritten(int64 n_keys)
{
	int level = GetCurrentTransactionNestLevel();

	if (innermost == NULL || innermost->level < level)
	{
		Written *written = MemoryContextAlloc(TopTransactionContext, sizeof(Written));

		*written = (Written){.outer = innermost, .level = level};
		innermost = written;
	}
	innermost->n_keys += n_keys;
}

static void
warn(int64 n_keys)
{
	if (n_keys > 0)
		ereport(WARNING, errmsg("what is rolled back has written " INT64_FORMAT
								" keys with write_mode 'immediate', which stay",
								n_keys));
}

/* The end of a savepoint: its keys are its parent's, or have been told of. */
void
NorikvEndWrittenLevel(int level, bool committed)
{
	Written *written = innermost;

	if (written == NULL || written->level < level)
		return;
	if (!committed)
	{
		innermost = written->outer;
		warn(written->n_keys);
	}
	else if (written->outer != NULL && written->outer->level == level - 1)
	{
		written->outer->n_keys += written->n_keys;
		innermost = written->outer;
	}
	else
		written->level = level - 1;
}

void
NorikvEndWritten(bool committed)
{
	int64 n_keys = 0;

	for (Written *written = innermost; written != NULL; written = written->outer)
		n_keys += written->n_keys;
	innermost = NULL;
	if (!committed)
		warn(n_keys);
}
