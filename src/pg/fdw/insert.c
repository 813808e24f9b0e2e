/*
 * insert.c - new rows, in the transaction's buffer.
 *
 * A key that exists is found in the statement, for an error that comes only at
 * COMMIT cannot be handled. The keys of a batch are looked up in one request:
 * before they are put where the answer decides what is done, after it, and at the
 * latest when the statement ends, where it can only be an error.
 */
#include "modify.h"

#include "fdw/vector_table.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* What is known of a key without asking the server. */
typedef enum KeyState
{
	KEY_PRESENT,
	KEY_ABSENT,
	KEY_IN_STORE /* as the store has it */
} KeyState;

static KeyState
key_state(NorikvBuffer *buffer, norikv_slice key)
{
	NorikvBufferKey *found = NorikvBufferLookup(buffer, key);

	if (found != NULL && found->newest != NULL)
	{
		const NorikvChange *change = NorikvBufferVisible(found, InvalidCommandId);

		if (change != NULL)
			return change->kind == NORIKV_CHANGE_PUT ? KEY_PRESENT : KEY_ABSENT;
		if (found->base == NORIKV_BASE_VERSION)
			return KEY_PRESENT;
	}
	return NorikvBufferTruncated(buffer, key, InvalidCommandId) ? KEY_ABSENT
																: KEY_IN_STORE;
}

void
NorikvRaiseExists(NorikvModify *modify, norikv_slice key)
{
	Relation relation = modify->result_relation->ri_RelationDesc;

	ereport(ERROR, errcode(ERRCODE_UNIQUE_VIOLATION),
			errmsg("key %s already exists in foreign table \"%s\"", NorikvShowKey(key),
				   RelationGetRelationName(relation)),
			err_generic_string(PG_DIAG_TABLE_NAME, RelationGetRelationName(relation)));
}

/* ---- The row ---- */

/* PostgreSQL leaves constraints of foreign tables to their wrapper. */
static void
check_constraints(NorikvModify *modify, TupleTableSlot *slot)
{
	ResultRelInfo *result = modify->result_relation;
	Relation relation = result->ri_RelationDesc;
	bool routed = false;

	if (relation->rd_att->constr != NULL)
		ExecConstraints(result, slot, modify->estate);
	/* What came through the parent is in the right place, unless a trigger moved it. */
	if (modify->operation == CMD_INSERT && result->ri_RootResultRelInfo != NULL)
		routed =
			result->ri_TrigDesc == NULL || !result->ri_TrigDesc->trig_insert_before_row;
	if (relation->rd_rel->relispartition && !routed)
		(void) ExecPartitionCheck(result, slot, modify->estate, true);
}

void
NorikvCheckNewRow(NorikvModify *modify, TupleTableSlot *slot, NorikvNewRow *row)
{
	const NorikvTable *table = modify->table;
	Datum key;
	bool is_null;

	check_constraints(modify, slot);
	key = slot_getattr(slot, table->key_attnum, &is_null);
	if (is_null)
		ereport(ERROR, errcode(ERRCODE_NOT_NULL_VIOLATION),
				errmsg("null value in column \"%s\" of foreign table \"%s\"",
					   table->columns[table->key_attnum - 1].name, table->name),
				errdetail("The column is the key."));
	row->key =
		NorikvKeyOfColumn(table, key, NorikvTableMaxKey(table, modify->connection));
}

void
NorikvSetExpiry(NorikvChange *change, const NorikvNewRow *row)
{
	change->expiry = row->expiry;
	if (row->expiry == NORIKV_EXPIRY_TTL)
		change->ttl_ms = row->ms;
	else
		change->expires_at_ms = row->ms;
}

static void
make_row(NorikvModify *modify, TupleTableSlot *slot, NorikvNewRow *row)
{
	const norikv_slice no_value = {NULL, 0};

	NorikvCheckNewRow(modify, slot, row);
	row->ms = 0;
	row->value = NorikvEncodeValue(modify->encoder, slot, NULL, no_value);
	if (modify->table->space.size > 0)
		NorikvCheckVectorFits(modify->table, modify->connection, row->value);
	row->expiry = NorikvExpiryOfRow(modify->table, slot, NULL, &row->ms);
}

static NorikvBufferKey *
put_row(NorikvModify *modify, NorikvBufferKey *key, const NorikvNewRow *row)
{
	NorikvChange *change = NorikvBufferPut(modify->buffer, key, modify->cid, row->value);

	NorikvSetExpiry(change, row);
	return key;
}

/* ---- Looking up ---- */

/* The versions of keys in the store, index 0 for those that are absent. */
static void
find_versions(NorikvModify *modify, const norikv_slice *keys, int n_keys,
			  norikv_version *versions)
{
	norikv_slice space = modify->table->space;
	NorikvCall *call =
		NorikvStartEntries(modify->connection, space, keys, n_keys, "strong");
	const norikv_entry *entries = NorikvFinishEntries(call, space, n_keys);

	for (int i = 0; i < n_keys; i++)
		versions[i] = entries[i].version;
	NorikvFreeEntries(entries, space);
	NorikvFree(call);
}

static int
lookup_batch(const NorikvModify *modify)
{
	uint64 limit = modify->connection->capabilities.multi_get_keys;
	int batch = Min(NORIKV_INSERT_BATCH, modify->connection->settings.fetch_size);

	return limit != 0 && limit < batch ? (int) limit : batch;
}

void
NorikvLookUpKeys(NorikvModify *modify)
{
	int n = modify->n_lookups;
	norikv_slice *keys;
	norikv_version *versions;
	MemoryContext old_context;

	if (n == 0)
		return;
	modify->n_lookups = 0;
	old_context = MemoryContextSwitchTo(modify->row_context);
	keys = palloc(sizeof(norikv_slice) * n);
	versions = palloc(sizeof(norikv_version) * n);
	for (int i = 0; i < n; i++)
		keys[i] = NorikvBufferKeySlice(modify->lookups[i]);
	find_versions(modify, keys, n, versions);
	for (int i = 0; i < n; i++)
	{
		NorikvBufferKey *key = modify->lookups[i];

		if (versions[i].index != 0)
			NorikvRaiseExists(modify, keys[i]);
		key->unverified = false;
		if (key->base == NORIKV_BASE_ANY)
			key->base = NORIKV_BASE_ABSENT;
		else
			NorikvBufferExpect(modify->buffer, key, versions[i]);
	}
	MemoryContextSwitchTo(old_context);
}

static void
look_up_later(NorikvModify *modify, NorikvBufferKey *key)
{
	if (modify->lookups == NULL)
		modify->lookups = MemoryContextAlloc(modify->context, sizeof(NorikvBufferKey *) *
																  NORIKV_INSERT_BATCH);
	key->unverified = true;
	modify->lookups[modify->n_lookups++] = key;
	if (modify->n_lookups >= lookup_batch(modify))
		NorikvLookUpKeys(modify);
}

void
NorikvPutNewKey(NorikvModify *modify, const NorikvNewRow *row)
{
	NorikvBuffer *buffer = modify->buffer;
	KeyState state = key_state(buffer, row->key);
	norikv_version version = {0, 0};
	NorikvBufferKey *key;

	if (state == KEY_PRESENT)
		NorikvRaiseExists(modify, row->key);
	if (state == KEY_IN_STORE && modify->one_by_one)
	{
		find_versions(modify, &row->key, 1, &version);
		if (version.index != 0)
			NorikvRaiseExists(modify, row->key);
	}
	key = NorikvBufferEnter(buffer, row->key);
	if (state == KEY_IN_STORE && modify->one_by_one)
		NorikvBufferExpect(buffer, key, version);
	put_row(modify, key, row);
	if (state == KEY_IN_STORE && !modify->one_by_one)
		look_up_later(modify, key);
}

/* ---- A batch of rows ---- */

/* Looks up those of the keys of which nothing is known. */
static void
look_up_rows(NorikvModify *modify, const NorikvNewRow *rows, int n_rows,
			 norikv_version *versions)
{
	norikv_slice *keys = palloc(sizeof(norikv_slice) * n_rows);
	int *of_row = palloc(sizeof(int) * n_rows);
	norikv_version *found = palloc(sizeof(norikv_version) * n_rows);
	int n = 0;
	int step = lookup_batch(modify);

	for (int i = 0; i < n_rows; i++)
	{
		if (key_state(modify->buffer, rows[i].key) != KEY_IN_STORE)
			continue;
		keys[n] = rows[i].key;
		of_row[n++] = i;
	}
	for (int first = 0; first < n; first += step)
		find_versions(modify, keys + first, Min(step, n - first), found + first);
	for (int i = 0; i < n; i++)
		versions[of_row[i]] = found[i];
}

/* With the keys' versions at hand: false where the row is left out. */
static bool
insert_row(NorikvModify *modify, const NorikvNewRow *row, norikv_version version)
{
	NorikvBuffer *buffer = modify->buffer;
	KeyState state = key_state(buffer, row->key);
	NorikvBufferKey *key;

	if (state == KEY_PRESENT || (state == KEY_IN_STORE && version.index != 0))
	{
		if (!modify->do_nothing)
			NorikvRaiseExists(modify, row->key);
		/* That the row was there decided what was done. */
		if (state == KEY_IN_STORE && IsolationUsesXactSnapshot())
			NorikvBufferRecordRead(modify->connection, modify->table->space, row->key,
								   version);
		return false;
	}
	key = NorikvBufferEnter(buffer, row->key);
	if (state == KEY_IN_STORE)
		NorikvBufferExpect(buffer, key, version);
	put_row(modify, key, row);
	return true;
}

static void
insert_rows(NorikvModify *modify, NorikvNewRow *rows, int n_rows, bool *inserted)
{
	norikv_version *versions = palloc0(sizeof(norikv_version) * n_rows);

	if (!modify->table->replace)
		look_up_rows(modify, rows, n_rows, versions);
	for (int i = 0; i < n_rows; i++)
	{
		inserted[i] = true;
		if (modify->table->replace)
			put_row(modify, NorikvBufferEnter(modify->buffer, rows[i].key), &rows[i]);
		else
			inserted[i] = insert_row(modify, &rows[i], versions[i]);
	}
}

static void
send_rows(NorikvModify *modify, NorikvNewRow *rows, int n_rows, bool *inserted)
{
	bool at_once = modify->one_by_one || modify->do_nothing;
	int first = 0;

	for (int i = 0; i < n_rows; i++)
	{
		inserted[i] = NorikvOutboxInsert(modify, &rows[i]);
		if (!at_once || (i < n_rows - 1 && !NorikvOutboxIsFull(modify)))
			continue;
		/* What was skipped is known until the next row is queued. */
		NorikvOutboxSend(modify);
		for (; first <= i; first++)
			inserted[first] =
				inserted[first] && !NorikvOutboxSkipped(modify, rows[first].key);
	}
}

void
NorikvInsertRows(NorikvModify *modify, TupleTableSlot **slots, int n_slots,
				 bool *inserted)
{
	MemoryContext old_context = MemoryContextSwitchTo(modify->row_context);
	NorikvNewRow *rows = palloc(sizeof(NorikvNewRow) * n_slots);

	for (int i = 0; i < n_slots; i++)
		make_row(modify, slots[i], &rows[i]);
	if (modify->outbox != NULL)
		send_rows(modify, rows, n_slots, inserted);
	else if (n_slots == 1 && !modify->table->replace && !modify->do_nothing)
	{
		NorikvPutNewKey(modify, &rows[0]);
		inserted[0] = true;
	}
	else
		insert_rows(modify, rows, n_slots, inserted);
	if (modify->buffer != NULL)
		NorikvBufferCheckLimits(modify->buffer);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(modify->row_context);
}
