/*
 * lock.c - SELECT ... FOR UPDATE and its sisters: optimistic locks.
 *
 * Nobody else is kept from changing the row. Its version becomes a check of the
 * unit at COMMIT, which fails if somebody did. Rows are taken late, as LockRows
 * asks for them: what a join or a LIMIT left out is not checked.
 */
#include "modify.h"

#include "executor/executor.h"
#include "parser/parse_relation.h"
#include "utils/memutils.h"
#include "utils/rel.h"

RowMarkType
NorikvGetRowMarkType(RangeTblEntry *rte, LockClauseStrength strength)
{
	switch (strength)
	{
		case LCS_NONE:
			break;
		case LCS_FORKEYSHARE:
			return ROW_MARK_KEYSHARE;
		case LCS_FORSHARE:
			return ROW_MARK_SHARE;
		case LCS_FORNOKEYUPDATE:
			return ROW_MARK_NOKEYEXCLUSIVE;
		case LCS_FORUPDATE:
			return ROW_MARK_EXCLUSIVE;
	}
	/* Rows of a table beside those that are changed travel as a whole. */
	return ROW_MARK_COPY;
}

/* What one statement locks rows of one table with. */
typedef struct RowLocker
{
	NorikvConnection *connection;
	NorikvBuffer *buffer;
	NorikvDecoder *decoder;
	AttrNumber distance_attnum; /* 0: there is none */
} RowLocker;

/* Versions of vectors that it does not write: not every server checks them. */
static void
require_checks(const NorikvTable *table, NorikvConnection *connection)
{
	if (table->space.size > 0 && !NorikvGetCapabilities(connection)->vector_checks)
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("cannot lock rows of foreign table \"%s\"", table->name),
				errdetail("Server \"%s\" does not check the versions of vectors that a "
						  "COMMIT does not change.",
						  connection->name));
}

static RowLocker *
make_locker(const NorikvRowStore *rows, ExecRowMark *mark)
{
	RowLocker *locker = palloc(sizeof(RowLocker));
	NorikvTable *table = NorikvOpenTable(mark->relation);

	locker->connection = NorikvRowStoreConnection(rows);
	require_checks(table, locker->connection);
	NorikvCheckWritable(table, locker->connection, "SELECT FOR UPDATE");
	if (table->immediate)
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("cannot lock rows of foreign table \"%s\"", table->name),
				errdetail("Its write_mode is 'immediate': the transaction has nothing to "
						  "check at COMMIT."));
	locker->buffer = NorikvBufferForWrite(locker->connection, table->space);
	locker->decoder = NorikvMakeDecoder(table, locker->connection,
										RelationGetDescr(mark->relation), NULL, true);
	locker->distance_attnum = table->distance_attnum;
	return locker;
}

static RowLocker *
find_locker(NorikvRowStore *rows, ExecRowMark *mark)
{
	MemoryContext context;
	void **locker = NorikvRowStoreExtra(rows, &context);

	if (*locker == NULL)
	{
		MemoryContext old_context = MemoryContextSwitchTo(context);

		*locker = make_locker(rows, mark);
		MemoryContextSwitchTo(old_context);
	}
	return *locker;
}

static void
lock_entry(RowLocker *locker, const norikv_entry *entry, CommandId cid)
{
	NorikvBuffer *buffer = locker->buffer;
	NorikvBufferKey *key;

	/* What this transaction has written has its condition already. */
	if (entry->version.index == 0)
		return;
	key = NorikvBufferEnter(buffer, entry->key);
	NorikvBufferExpect(buffer, key, entry->version);
	if (key->newest == NULL)
		NorikvBufferCheck(buffer, key, cid);
	NorikvBufferCheckLimits(buffer);
}

/* As the scan has measured it: what is left of the plan may look at it again. */
static void
store_distance(const RowLocker *locker, NorikvRowStore *rows, ItemPointer number,
			   TupleTableSlot *slot)
{
	int i = locker->distance_attnum - 1;
	float distance;

	if (!NorikvRowStoreDistance(rows, number, &distance))
		return;
	slot->tts_values[i] = Float4GetDatum(distance);
	slot->tts_isnull[i] = false;
}

void
NorikvRefetchRow(EState *estate, ExecRowMark *mark, Datum rowid, TupleTableSlot *slot,
				 bool *updated)
{
	NorikvRowStore *rows = mark->ermExtra;
	RowLocker *locker;
	norikv_entry entry;

	if (rows == NULL)
		elog(ERROR, "the plan does not say which row of foreign table \"%s\" to lock",
			 RelationGetRelationName(mark->relation));
	locker = find_locker(rows, mark);
	NorikvRowStoreGet(rows, (ItemPointer) DatumGetPointer(rowid), &entry);
	lock_entry(locker, &entry, estate->es_output_cid);
	*updated = false;

	if (!NorikvDecode(locker->decoder, &entry, slot))
		ExecStoreAllNullTuple(slot);
	else if (locker->distance_attnum > 0)
		store_distance(locker, rows, (ItemPointer) DatumGetPointer(rowid), slot);
	ExecMaterializeSlot(slot);
	slot->tts_tid = *(ItemPointer) DatumGetPointer(rowid);
	slot->tts_tableOid = mark->relid;
}
