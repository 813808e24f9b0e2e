/*
 * immediate.c - write_mode 'immediate': rows are sent as the statement makes them,
 * in batches, each row on its own, and no ROLLBACK takes them back.
 *
 * A batch is a buffer of the statement's own. Where a part of it fails, the error
 * says which keys were written.
 */
#include "modify.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "unit.h"

#define SHOWN_KEYS 20
/* Bytes of one request to a server that names no limit. */
#define REQUEST_BYTES (16 * 1024 * 1024)

struct NorikvOutbox
{
	NorikvBuffer buffer;
	NorikvBufferKey **unsent;
	int n_unsent;
	uint64 unsent_bytes;
	int batch_size;
	uint64 batch_bytes;
	int64 n_written; /* in this statement */
	char *report;	 /* of a batch that failed in part */
};

NorikvOutbox *
NorikvOutboxCreate(NorikvModify *modify)
{
	NorikvOutbox *outbox = MemoryContextAllocZero(modify->context, sizeof(NorikvOutbox));
	int batch_size = NorikvBatchSize(modify);
	uint64 limit = NorikvGetCapabilities(modify->connection)->commit_bytes;

	outbox->buffer.context =
		AllocSetContextCreate(modify->context, "norikv outbox", ALLOCSET_DEFAULT_SIZES);
	outbox->buffer.connection = modify->connection;
	NorikvBufferInit(&outbox->buffer);
	outbox->batch_size = batch_size;
	/* The last one may go beyond, and the server counts more than keys and values. */
	outbox->batch_bytes = limit == 0 ? REQUEST_BYTES : limit / 2;
	/* ON CONFLICT DO NOTHING sends a batch of PostgreSQL's at once. */
	outbox->unsent =
		MemoryContextAllocHuge(modify->context, sizeof(NorikvBufferKey *) *
													Max(batch_size, NORIKV_INSERT_BATCH));
	return outbox;
}

/* ---- Queueing ---- */

/* A key that was sent stays marked by n_changes when its change is gone. */
static bool
is_touched(const NorikvBufferKey *key)
{
	return key->newest != NULL || key->n_changes > 0;
}

bool
NorikvOutboxIsFull(const NorikvModify *modify)
{
	const NorikvOutbox *outbox = modify->outbox;

	return outbox->n_unsent >= outbox->batch_size ||
		   outbox->unsent_bytes >= outbox->batch_bytes;
}

static void
enqueue(NorikvModify *modify, NorikvBufferKey *key)
{
	NorikvOutbox *outbox = modify->outbox;

	outbox->unsent[outbox->n_unsent++] = key;
	outbox->unsent_bytes += key->size + key->newest->value.size;
	if (NorikvOutboxIsFull(modify) && !modify->do_nothing)
		NorikvOutboxSend(modify);
}

/* What was inserted and sent need not be remembered: the server knows it. */
static void
forget_inserted(NorikvOutbox *outbox)
{
	NorikvConnection *connection = outbox->buffer.connection;
	MemoryContext context = outbox->buffer.context;

	MemoryContextReset(context);
	outbox->buffer = (NorikvBuffer){.context = context, .connection = connection};
	NorikvBufferInit(&outbox->buffer);
}

bool
NorikvOutboxInsert(NorikvModify *modify, const NorikvNewRow *row)
{
	NorikvOutbox *outbox = modify->outbox;
	const norikv_version absent = {0, 0};
	NorikvBufferKey *key;
	bool again;

	if (outbox->n_unsent == 0)
		forget_inserted(outbox);
	key = NorikvBufferEnter(&outbox->buffer, row->key);
	again = is_touched(key);
	if (again && !modify->table->replace)
	{
		if (!modify->do_nothing)
			NorikvRaiseExists(modify, row->key);
		return false;
	}
	if (!modify->table->replace)
		NorikvBufferExpect(&outbox->buffer, key, absent);
	NorikvSetExpiry(NorikvBufferPut(&outbox->buffer, key, modify->cid, row->value), row);
	if (!again)
		enqueue(modify, key);
	return true;
}

/* The version that the row must have. A row without one is not in the store. */
static void
expect_version(NorikvModify *modify, NorikvBufferKey *key, const norikv_entry *old)
{
	if (old->version.index == 0)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("cannot change key %s through foreign table \"%s\"",
					   NorikvShowKey(old->key), modify->table->name),
				errdetail("Its write_mode is 'immediate', and what this transaction has "
						  "written to the key is sent at COMMIT."),
				errhint("COMMIT first, or use a foreign table with write_mode "
						"'transaction'."));
	NorikvBufferExpect(&modify->outbox->buffer, key, old->version);
}

bool
NorikvOutboxUpdate(NorikvModify *modify, const norikv_entry *old, const NorikvNewRow *row)
{
	NorikvBuffer *buffer = &modify->outbox->buffer;
	NorikvBufferKey *key = NorikvBufferEnter(buffer, old->key);

	if (is_touched(key))
		return false;
	expect_version(modify, key, old);
	NorikvSetExpiry(NorikvBufferPut(buffer, key, modify->cid, row->value), row);
	enqueue(modify, key);
	return true;
}

bool
NorikvOutboxDelete(NorikvModify *modify, const norikv_entry *old)
{
	NorikvBuffer *buffer = &modify->outbox->buffer;
	NorikvBufferKey *key = NorikvBufferEnter(buffer, old->key);

	if (is_touched(key))
		return false;
	expect_version(modify, key, old);
	NorikvBufferDelete(buffer, key, modify->cid);
	enqueue(modify, key);
	return true;
}

/* ---- Sending ---- */

static void
outbox_context(void *arg)
{
	NorikvOutbox *outbox = arg;

	if (outbox->report != NULL)
		errcontext("%s", outbox->report);
	else
		errcontext("write_mode 'immediate': " INT64_FORMAT
				   " keys were written before and stay; this is about the %d after them",
				   outbox->n_written, outbox->n_unsent);
}

/* A server without transactions is told what remains of a ttl that is to be kept. */
static void
spell_out_expiry(norikv_operation *operation, const NorikvChange *change)
{
	if (operation->kind != NORIKV_OP_PUT || operation->ttl != NORIKV_TTL_KEEP)
		return;
	operation->ttl = change->expires_at_ms == 0 ? NORIKV_TTL_NONE : NORIKV_TTL_SET;
	operation->ttl_ms =
		change->expires_at_ms == 0 ? 0 : NorikvRemainingMs(change->expires_at_ms);
}

static norikv_operation *
make_operations(NorikvModify *modify)
{
	NorikvOutbox *outbox = modify->outbox;
	norikv_operation *operations = MemoryContextAllocHuge(
		CurrentMemoryContext, sizeof(norikv_operation) * outbox->n_unsent);

	for (int i = 0; i < outbox->n_unsent; i++)
	{
		(void) NorikvKeyOperation(outbox->unsent[i], NULL, &operations[i]);
		if (!NorikvGetCapabilities(modify->connection)->transactions)
			spell_out_expiry(&operations[i], outbox->unsent[i]->newest);
		if (modify->table->space.size > 0)
			NorikvMakeVectorOperation(&operations[i], modify->table->space);
	}
	return operations;
}

/* A key that was there already, of an INSERT that leaves such rows out. */
static bool
is_skipped(const NorikvModify *modify, const norikv_operation_result *result)
{
	return modify->do_nothing && !result->outcome_unknown &&
		   (result->version_mismatch || result->code == NORIKV_FAILED_PRECONDITION);
}

static void
list_keys(StringInfo report, const char *title, const norikv_operation *operations,
		  const norikv_operation_result *results, int n,
		  bool (*belongs)(const norikv_operation_result *))
{
	int found = 0;

	for (int i = 0; i < n; i++)
	{
		if (!belongs(&results[i]))
			continue;
		if (found < SHOWN_KEYS)
			appendStringInfo(report, "%s%s", found == 0 ? title : ", ",
							 NorikvShowKey(operations[i].key));
		found++;
	}
	if (found > SHOWN_KEYS)
		appendStringInfo(report, " and %d more", found - SHOWN_KEYS);
}

static bool
was_written(const norikv_operation_result *result)
{
	return result->code == NORIKV_OK;
}

static bool
is_unknown(const norikv_operation_result *result)
{
	return result->code != NORIKV_OK && result->outcome_unknown;
}

static bool
has_failed(const norikv_operation_result *result)
{
	return result->code != NORIKV_OK && !result->outcome_unknown;
}

static void
raise_partial(NorikvModify *modify, NorikvCall *call, const norikv_operation *operations,
			  const norikv_operation_result *results, int first_failed)
{
	NorikvOutbox *outbox = modify->outbox;
	StringInfoData report;

	initStringInfo(&report);
	appendStringInfo(&report,
					 "write_mode 'immediate': " INT64_FORMAT
					 " keys were written before this batch and stay",
					 outbox->n_written);
	list_keys(&report, "; written in this batch: ", operations, results, outbox->n_unsent,
			  was_written);
	list_keys(&report, "; not written: ", operations, results, outbox->n_unsent,
			  has_failed);
	list_keys(&report, "; not known whether written: ", operations, results,
			  outbox->n_unsent, is_unknown);
	outbox->report = report.data;
	call->subject.key = operations[first_failed].key;
	call->subject.condition = operations[first_failed].condition;
	NorikvRaiseResult(&results[first_failed], &call->subject);
}

static void
take_results(NorikvModify *modify, NorikvCall *call, const norikv_operation *operations)
{
	NorikvOutbox *outbox = modify->outbox;
	const norikv_operation_result *results;
	size_t n_results;
	int64 n_written = 0;
	int failed = -1;

	results = norikv_call_results(call->call, &n_results);
	if (n_results != outbox->n_unsent)
		ereport(ERROR, errcode(ERRCODE_PROTOCOL_VIOLATION),
				errmsg("server \"%s\" answered %zu results for %d operations",
					   modify->connection->name, n_results, outbox->n_unsent));
	for (int i = 0; i < outbox->n_unsent; i++)
	{
		outbox->unsent[i]->unverified = is_skipped(modify, &results[i]);
		if (results[i].code == NORIKV_OK)
			n_written++;
		else if (!outbox->unsent[i]->unverified && failed < 0)
			failed = i;
	}
	NorikvCountWritten(n_written);
	if (failed >= 0)
		raise_partial(modify, call, operations, results, failed);
	outbox->n_written += n_written;
}

/* Of what was sent only the key is kept: the statement must not change it again. */
static void
drop_sent(NorikvOutbox *outbox)
{
	for (int i = 0; i < outbox->n_unsent; i++)
	{
		NorikvBufferKey *key = outbox->unsent[i];

		while (key->newest != NULL)
		{
			NorikvChange *change = key->newest;

			key->newest = change->older;
			dlist_delete(&change->node);
			pfree(change);
		}
	}
	outbox->n_unsent = 0;
	outbox->unsent_bytes = 0;
}

void
NorikvOutboxSend(NorikvModify *modify)
{
	NorikvOutbox *outbox = modify->outbox;
	ErrorContextCallback callback = {error_context_stack, outbox_context, outbox};
	norikv_operation *operations;
	NorikvCall *call;

	if (outbox->n_unsent == 0)
		return;
	error_context_stack = &callback;
	operations = make_operations(modify);
	call = NorikvStartCommit(modify->connection, operations, outbox->n_unsent, false);
	NorikvFinish(call);
	take_results(modify, call, operations);
	NorikvFree(call);
	pfree(operations);
	drop_sent(outbox);
	error_context_stack = callback.previous;
}

bool
NorikvOutboxSkipped(NorikvModify *modify, norikv_slice key)
{
	NorikvBufferKey *found = NorikvBufferLookup(&modify->outbox->buffer, key);

	return found != NULL && found->unverified;
}
