/*
 * change.c - rows that are updated or deleted.
 *
 * The row's number finds what the scan has read: the version is what the change
 * demands at COMMIT, the old value keeps what the table does not know of it.
 */
#include "modify.h"

#include "fdw/vector_table.h"

#include "access/sysattr.h"
#include "executor/executor.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* ---- The old row ---- */

static void
old_row(NorikvModify *modify, TupleTableSlot *plan_slot, norikv_entry *entry)
{
	bool is_null;
	Datum number = ExecGetJunkAttribute(plan_slot, modify->ctid_attno, &is_null);

	if (modify->rows == NULL)
		modify->rows = NorikvRowStoreFind(modify->estate,
										  modify->result_relation->ri_RangeTableIndex);
	if (is_null || modify->rows == NULL)
		elog(ERROR, "the plan does not say which row of foreign table \"%s\" to change",
			 modify->table->name);
	NorikvRowStoreGet(modify->rows, (ItemPointer) DatumGetPointer(number), entry);
}

static void
raise_triggered_change(void)
{
	ereport(ERROR, errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			errmsg("row to be changed was already modified by an operation triggered by "
				   "the current command"),
			errhint("Consider using an AFTER trigger instead of a BEFORE trigger to "
					"propagate changes to other rows."));
}

/*
 * The key of a row that is to be changed, with the version that it must have; NULL
 * where this command has changed the row before.
 */
static NorikvBufferKey *
key_to_change(NorikvModify *modify, const norikv_entry *old)
{
	NorikvBufferKey *key = NorikvBufferEnter(modify->buffer, old->key);
	const NorikvChange *last;

	if (key->unverified)
		NorikvLookUpKeys(modify);
	last = NorikvBufferVisible(key, InvalidCommandId);
	if (last != NULL && last->cid == modify->cid)
		return NULL;
	if (last != NULL && last->cid > modify->cid)
		raise_triggered_change();
	if (old->version.index != 0)
		NorikvBufferExpect(modify->buffer, key, old->version);
	else if (last == NULL || last->kind != NORIKV_CHANGE_PUT)
		elog(ERROR, "row of foreign table \"%s\" is gone from the transaction's buffer",
			 modify->table->name);
	return key;
}

/* ---- UPDATE ---- */

/* Columns that a BEFORE trigger has changed beside those that the UPDATE names. */
static Bitmapset *
changed_columns(NorikvModify *modify, TupleTableSlot *slot)
{
	Bitmapset *changed = modify->updated;
#if PG_VERSION_NUM >= 140000
	TupleTableSlot *old = modify->result_relation->ri_oldTupleSlot;
	TupleDesc descriptor = slot->tts_tupleDescriptor;

	if (!modify->trigger_changes || TTS_EMPTY(old))
		return changed;
	changed = bms_copy(changed);
	slot_getallattrs(slot);
	slot_getallattrs(old);
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (slot->tts_isnull[i] == old->tts_isnull[i] &&
			(slot->tts_isnull[i] ||
			 datum_image_eq(slot->tts_values[i], old->tts_values[i], attribute->attbyval,
							attribute->attlen)))
			continue;
		changed = bms_add_member(changed,
								 attribute->attnum - FirstLowInvalidHeapAttributeNumber);
	}
#endif
	return changed;
}

/* An UPDATE that does not say when the row expires leaves that as it is. */
static void
keep_expiry(NorikvNewRow *row, const norikv_entry *old, const NorikvChange *last,
			bool moved)
{
	if (last != NULL && last->kind == NORIKV_CHANGE_PUT)
	{
		row->expiry = last->expiry;
		row->ms = last->expiry == NORIKV_EXPIRY_TTL ? last->ttl_ms : last->expires_at_ms;
	}
	else
		row->ms = old->expires_at_ms;
	/* Under another key the store has nothing to keep. */
	if (moved && row->expiry == NORIKV_EXPIRY_KEEP)
		row->expiry = row->ms == 0 ? NORIKV_EXPIRY_NONE : NORIKV_EXPIRY_AT;
}

static void
make_updated_row(NorikvModify *modify, TupleTableSlot *slot, const norikv_entry *old,
				 NorikvNewRow *row)
{
	const Bitmapset *changed = changed_columns(modify, slot);

	NorikvCheckNewRow(modify, slot, row);
	row->ms = 0;
	row->value = NorikvEncodeValue(modify->encoder, slot, changed, old->value);
	if (modify->table->space.size > 0)
		NorikvCheckVectorFits(modify->table, modify->connection, row->value);
	row->expiry = NorikvExpiryOfRow(modify->table, slot, changed, &row->ms);
}

static bool
is_moved(const NorikvNewRow *row, const norikv_entry *old)
{
	return NorikvCompareKeys(row->key, old->key) != 0;
}

static bool
update_in_buffer(NorikvModify *modify, const norikv_entry *old, NorikvNewRow *row)
{
	NorikvBuffer *buffer = modify->buffer;
	NorikvBufferKey *key = key_to_change(modify, old);
	bool moved = is_moved(row, old);

	if (key == NULL)
		return false;
	if (row->expiry == NORIKV_EXPIRY_KEEP)
		keep_expiry(row, old, NorikvBufferVisible(key, InvalidCommandId), moved);
	if (moved)
	{
		NorikvBufferDelete(buffer, key, modify->cid);
		NorikvPutNewKey(modify, row);
	}
	else
		NorikvSetExpiry(NorikvBufferPut(buffer, key, modify->cid, row->value), row);
	NorikvBufferCheckLimits(buffer);
	return true;
}

/* Two operations that are not one could lose the row between them. */
static bool
update_at_once(NorikvModify *modify, const norikv_entry *old, NorikvNewRow *row)
{
	if (is_moved(row, old))
		ereport(
			ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("cannot change the key of a row of foreign table \"%s\"",
				   modify->table->name),
			errdetail("Its write_mode is 'immediate', and the row could be lost, or be "
					  "there twice, if only a part of the change is carried out."),
			errhint("Use a foreign table with write_mode 'transaction', or INSERT and "
					"DELETE."));
	if (row->expiry == NORIKV_EXPIRY_KEEP)
		row->ms = old->expires_at_ms;
	return NorikvOutboxUpdate(modify, old, row);
}

bool
NorikvUpdateRow(NorikvModify *modify, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	MemoryContext old_context = MemoryContextSwitchTo(modify->row_context);
	norikv_entry old;
	NorikvNewRow row;
	bool done;

	old_row(modify, plan_slot, &old);
	make_updated_row(modify, slot, &old, &row);
	done = modify->outbox != NULL ? update_at_once(modify, &old, &row)
								  : update_in_buffer(modify, &old, &row);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(modify->row_context);
	return done;
}

/* ---- DELETE ---- */

static void
return_old_row(NorikvModify *modify, const norikv_entry *old, TupleTableSlot *slot)
{
	Relation relation = modify->result_relation->ri_RelationDesc;
	MemoryContext old_context;

	if (modify->decoder == NULL)
	{
		old_context = MemoryContextSwitchTo(modify->context);
		modify->decoder = NorikvMakeDecoder(modify->table, modify->connection,
											RelationGetDescr(relation), NULL, true);
		MemoryContextSwitchTo(old_context);
	}
	old_context = MemoryContextSwitchTo(GetPerTupleMemoryContext(modify->estate));
	if (!NorikvDecode(modify->decoder, old, slot))
		ExecStoreAllNullTuple(slot);
	ExecMaterializeSlot(slot);
	MemoryContextSwitchTo(old_context);
}

static bool
delete_in_buffer(NorikvModify *modify, const norikv_entry *old)
{
	NorikvBufferKey *key = key_to_change(modify, old);

	if (key == NULL)
		return false;
	NorikvBufferDelete(modify->buffer, key, modify->cid);
	NorikvBufferCheckLimits(modify->buffer);
	return true;
}

bool
NorikvDeleteRow(NorikvModify *modify, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	MemoryContext old_context = MemoryContextSwitchTo(modify->row_context);
	norikv_entry old;
	bool done;

	old_row(modify, plan_slot, &old);
	done = modify->outbox != NULL ? NorikvOutboxDelete(modify, &old)
								  : delete_in_buffer(modify, &old);
	if (done && slot != NULL)
		return_old_row(modify, &old, slot);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(modify->row_context);
	return done;
}
