/*
 * transaction.c - the buffers of the current transaction: which there are, how
 * large they may grow, and what the ends of savepoints and of the transaction do.
 *
 * Buffers live in TopTransactionContext, so an abort has nothing to free: the
 * callbacks at the end only forget, and cannot fail.
 */
#include "write.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"
#include "storage/predicate.h"
#include "utils/guc.h"
#include "utils/memutils.h"

static bool norikv_allow_multi_store = false;
static int norikv_max_buffered_ops = 100000;
int norikv_max_buffered_bytes = 64 * 1024;

/* In the order in which their stores were first used. */
static NorikvBuffer *buffers = NULL;

PG_FUNCTION_INFO_V1(norikv_sql_pending_writes);

static bool
has_changes(const NorikvBuffer *buffer)
{
	return buffer->n_asked > 0 || buffer->n_truncations > 0;
}

/*
 * Of one store, and of one part of it: keys are relative to the part, and a Commit is
 * of one.
 */
static bool
has_same_part(const NorikvConnection *a, const NorikvConnection *b)
{
	return NorikvSameBytes(a->key_prefix, b->key_prefix);
}

/* ---- Which buffer ---- */

/* By what the connection's store is known; servers without an id are not shared. */
static const char *
store_of(NorikvConnection *connection)
{
	const NorikvCapabilities *capabilities = NorikvGetCapabilities(connection);

	return capabilities->store_id[0] != '\0' ? capabilities->store_id
											 : connection->settings.nodes;
}

static NorikvBuffer *
find_buffer(NorikvConnection *connection, norikv_slice space)
{
	NorikvBuffer *buffer;
	const char *store_id;

	if (buffers == NULL)
		return NULL;
	for (buffer = buffers; buffer != NULL; buffer = buffer->next_buffer)
	{
		if (buffer->connection == connection &&
			NorikvCompareKeys(buffer->space, space) == 0)
			return buffer;
	}
	store_id = store_of(connection);
	buffer = buffers;
	while (buffer != NULL && (strcmp(buffer->store_id, store_id) != 0 ||
							  !has_same_part(buffer->connection, connection) ||
							  NorikvCompareKeys(buffer->space, space) != 0))
		buffer = buffer->next_buffer;
	return buffer;
}

NorikvBuffer *
NorikvBufferFor(NorikvConnection *connection, norikv_slice space)
{
	NorikvBuffer *buffer = find_buffer(connection, space);

	return buffer != NULL && has_changes(buffer) ? buffer : NULL;
}

static norikv_slice
copy_slice(MemoryContext context, norikv_slice slice)
{
	char *copy = MemoryContextAlloc(context, slice.size + 1);

	if (slice.size > 0)
		memcpy(copy, slice.data, slice.size);
	return (norikv_slice){copy, slice.size};
}

static NorikvBuffer *
make_buffer(NorikvConnection *connection, norikv_slice space)
{
	const char *store_id = store_of(connection);
	MemoryContext context = AllocSetContextCreate(
		TopTransactionContext, "norikv transaction buffer", ALLOCSET_DEFAULT_SIZES);
	NorikvBuffer *buffer = MemoryContextAllocZero(context, sizeof(NorikvBuffer));
	NorikvBuffer **last = &buffers;

	buffer->context = context;
	buffer->store_id = MemoryContextStrdup(context, store_id);
	buffer->connection = connection;
	buffer->space = copy_slice(context, space);
	NorikvBufferInit(buffer);

	while (*last != NULL)
		last = &(*last)->next_buffer;
	*last = buffer;
	return buffer;
}

/* What a unit is sent with must be right for all of it. */
static void
check_credentials(const NorikvConnection *first, const NorikvConnection *second)
{
	const char *token = first->settings.token;
	const char *other = second->settings.token;

	if (token == NULL ? other == NULL : other != NULL && strcmp(token, other) == 0)
		return;
	ereport(
		ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		errmsg("cannot write to one store with two credentials in one transaction"),
		errdetail("Servers \"%s\" and \"%s\" are over one store, but the user mappings "
				  "have different tokens.",
				  first->name, second->name));
}

static void
check_single_store(NorikvConnection *connection)
{
	const char *store_id;

	if (norikv_allow_multi_store || buffers == NULL)
		return;
	store_id = store_of(connection);
	for (NorikvBuffer *other = buffers; other != NULL; other = other->next_buffer)
	{
		bool same_store = strcmp(other->store_id, store_id) == 0;

		if (!has_changes(other) ||
			(same_store && has_same_part(other->connection, connection)))
			continue;
		if (same_store)
			ereport(
				ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("cannot write for a second tenant in one transaction"),
				errdetail("Servers \"%s\" and \"%s\" are over one store, for different "
						  "tenants or for one and for all, and the two cannot commit as "
						  "one.",
						  other->connection->name, connection->name),
				errhint(
					"Set \"norikv.allow_multi_store\" to commit one after the other."));
		ereport(
			ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("cannot write to a second store in one transaction"),
			errdetail("The transaction has written to the store of server \"%s\"; server "
					  "\"%s\" is over another one, and the two cannot commit as one.",
					  other->connection->name, connection->name),
			errhint("Set \"norikv.allow_multi_store\" to commit one after the other."));
	}
}

/* ---- What commits together ---- */

static bool
is_of_unit(const NorikvBuffer *buffer, const NorikvBuffer *other)
{
	return strcmp(buffer->store_id, other->store_id) == 0 &&
		   has_same_part(buffer->connection, other->connection);
}

static NorikvBuffer *
first_of_unit(const NorikvBuffer *buffer)
{
	NorikvBuffer *first = buffers;

	while (!is_of_unit(first, buffer))
		first = first->next_buffer;
	return first;
}

NorikvBuffer *
NorikvNextOfUnit(const NorikvBuffer *buffer)
{
	NorikvBuffer *next = buffer->next_buffer;

	while (next != NULL && !is_of_unit(next, buffer))
		next = next->next_buffer;
	return next;
}

NorikvBuffer *
NorikvBufferForWrite(NorikvConnection *connection, norikv_slice space)
{
	NorikvBuffer *buffer;

	if (!NorikvGetCapabilities(connection)->transactions)
		ereport(
			ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("server \"%s\" has no transactions", connection->name),
			errhint("The option write_mode 'immediate' of the foreign table sends its "
					"changes at once, outside of the transaction."));
	buffer = find_buffer(connection, space);
	if (buffer == NULL)
		buffer = make_buffer(connection, space);
	check_credentials(first_of_unit(buffer)->connection, connection);
	check_single_store(connection);
	return buffer;
}

void
NorikvBufferRecordRead(NorikvConnection *connection, norikv_slice space,
					   norikv_slice key, norikv_version version)
{
	NorikvBuffer *buffer;

	/* Without a write there is nothing to check it with. */
	if (XactReadOnly || !NorikvGetCapabilities(connection)->transactions)
		return;
	if (space.size > 0 && !NorikvGetCapabilities(connection)->vector_checks)
		return;
	buffer = find_buffer(connection, space);
	if (buffer == NULL)
		buffer = make_buffer(connection, space);
	if (buffer->reads == NULL)
		buffer->reads = NorikvReadSetCreate(buffer);
	NorikvReadSetAdd(buffer->reads, buffer, key, version);
}

/* ---- Limits ---- */

/* What a server that limits the bytes of a Commit counts beside keys and values. */
#define OPERATION_OVERHEAD 400
/* What a key and its change take here beside its bytes, generously. */
#define MEMORY_OF_KEY 512

static void
raise_too_large(const NorikvBuffer *buffer, const char *what, int64 limit,
				const char *setting)
{
	ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			errmsg("a transaction cannot buffer more than " INT64_FORMAT
				   " %s for server \"%s\"",
				   limit, what, buffer->connection->name),
			errdetail("Nothing has been sent to the server."),
			setting == NULL
				? errhint("This is the server's limit. Write less in one transaction, or "
						  "use write_mode 'immediate'.")
				: errhint("Raise \"%s\", write less in one transaction, or use "
						  "write_mode 'immediate'.",
						  setting));
}

/* limit 0: there is none. */
static void
check_limit(const NorikvBuffer *buffer, const char *what, int64 size, uint64 limit,
			const char *setting)
{
	if (limit != 0 && size > 0 && (uint64) size > limit)
		raise_too_large(buffer, what, limit, setting);
}

void
NorikvCheckSize(const NorikvBuffer *buffer, int64 operations, int64 bytes)
{
	const NorikvCapabilities *server = &buffer->connection->capabilities;

	check_limit(buffer, "operations", operations, server->commit_operations, NULL);
	check_limit(buffer, "operations", operations, server->commit_conditions, NULL);
	check_limit(buffer, "operations", operations, norikv_max_buffered_ops,
				"norikv.max_buffered_ops");
	check_limit(buffer, "bytes", bytes, (uint64) norikv_max_buffered_bytes * 1024,
				"norikv.max_buffered_bytes");
	check_limit(buffer, "bytes (with some 400 for each operation)",
				bytes + operations * OPERATION_OVERHEAD, server->commit_bytes, NULL);
}

/*
 * Keys whose changes were rolled back stay in the list, so a loop that fails again
 * and again with other keys is bounded by what the buffer takes in all.
 */
static void
check_memory(const NorikvBuffer *buffer)
{
	int64 limit = (int64) norikv_max_buffered_bytes * 1024 * 2 +
				  (int64) norikv_max_buffered_ops * MEMORY_OF_KEY;

	check_limit(buffer, "bytes (with keys that were rolled back)",
				MemoryContextMemAllocated(buffer->context, false), limit,
				"norikv.max_buffered_bytes");
}

void
NorikvBufferCheckLimits(const NorikvBuffer *buffer)
{
	int64 operations = 0;
	int64 bytes = 0;

	for (const NorikvBuffer *part = first_of_unit(buffer); part != NULL;
		 part = NorikvNextOfUnit(part))
	{
		operations += part->n_asked + part->n_truncations;
		bytes += part->bytes;
	}
	NorikvCheckSize(buffer, operations, bytes);
	check_memory(buffer);
}

/* ---- Ends ---- */

static NorikvBuffer *
first_with_changes(NorikvBuffer *buffer)
{
	while (buffer != NULL && !has_changes(buffer))
		buffer = buffer->next_buffer;
	return buffer;
}

/* With a buffer before it, that had changes too. */
static bool
was_sent(const NorikvBuffer *buffer)
{
	const NorikvBuffer *first = first_of_unit(buffer);

	while (first != buffer && !has_changes(first))
		first = NorikvNextOfUnit(first);
	return first != buffer;
}

static void
flush_all(void)
{
	NorikvBuffer *buffer = first_with_changes(buffers);
	StringInfoData sent;

	if (buffer == NULL)
		return;
	/*
	 * What makes this transaction fail must do so now: once the store has the
	 * changes, an abort would leave them there.
	 */
	PreCommit_CheckForSerializationFailure();
	initStringInfo(&sent);
	for (; buffer != NULL; buffer = first_with_changes(buffer->next_buffer))
	{
		if (was_sent(buffer))
			continue;
		NorikvBufferFlush(first_of_unit(buffer), sent.len > 0 ? sent.data : NULL);
		appendStringInfo(&sent, "%s\"%s\"", sent.len > 0 ? ", " : "",
						 buffer->connection->name);
	}
	/* The context is that of a procedure that may commit many times. */
	pfree(sent.data);
}

static void
refuse_prepare(void)
{
	NorikvBuffer *buffer = first_with_changes(buffers);

	if (buffer != NULL)
		ereport(
			ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("cannot PREPARE a transaction that has written to foreign tables of "
				   "server \"%s\"",
				   buffer->connection->name));
}

/* Before the transaction's resources are looked through for leaks. */
static void
close_read_sets(void)
{
	for (NorikvBuffer *buffer = buffers; buffer != NULL; buffer = buffer->next_buffer)
	{
		if (buffer->reads != NULL)
			NorikvReadSetClose(buffer->reads);
		buffer->reads = NULL;
	}
}

static void
forget_all(void)
{
	buffers = NULL;
}

static void
transaction_event(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		NorikvEndWritten(event != XACT_EVENT_ABORT);
	if (buffers == NULL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			flush_all();
			close_read_sets();
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_prepare();
			close_read_sets();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget_all();
			break;
		default: /* of parallel workers, which never write */
			break;
	}
}

static void
savepoint_event(SubXactEvent event, SubTransactionId my_subid,
				SubTransactionId parent_subid, void *arg)
{
	int level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB || event == SUBXACT_EVENT_COMMIT_SUB)
		NorikvEndWrittenLevel(level, event == SUBXACT_EVENT_COMMIT_SUB);
	for (NorikvBuffer *buffer = buffers; buffer != NULL; buffer = buffer->next_buffer)
	{
		if (event == SUBXACT_EVENT_ABORT_SUB)
			NorikvBufferRollback(buffer, level);
		else if (event == SUBXACT_EVENT_COMMIT_SUB)
			NorikvBufferRelease(buffer, level);
	}
}

/* ---- Settings and SQL ---- */

static void
define_settings(void)
{
	/*
	 * A transaction that writes to foreign tables of two stores cannot commit in
	 * both at once, so by default it is refused. With this setting the stores are
	 * sent their changes one after the other; when a later one fails, the earlier
	 * ones keep theirs, although the transaction is rolled back.
	 */
	DefineCustomBoolVariable(
		"norikv.allow_multi_store",
		"Lets a transaction write to foreign tables of several stores.",
		"Their changes are committed one store after the other, not as "
		"one.",
		&norikv_allow_multi_store, false, PGC_USERSET, 0, NULL, NULL, NULL);
	/*
	 * How many keys a transaction may have changed, or read FOR UPDATE, through
	 * foreign tables of one store. The server's own limit counts where it is lower.
	 */
	DefineCustomIntVariable("norikv.max_buffered_ops",
							"Most keys that a transaction may change in foreign tables.",
							NULL, &norikv_max_buffered_ops, 100000, 1, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	/*
	 * How much memory their keys and values may take, in the session that writes,
	 * and once more while they are sent. In a REPEATABLE READ transaction the keys
	 * that it has read may take as much again, in a temporary file.
	 */
	DefineCustomIntVariable(
		"norikv.max_buffered_bytes",
		"Most bytes of keys and values that a transaction may change in "
		"foreign tables.",
		NULL, &norikv_max_buffered_bytes, 64 * 1024, 64, MAX_KILOBYTES, PGC_USERSET,
		GUC_UNIT_KB, NULL, NULL, NULL);
}

/* After NorikvConnectionInit: callbacks run in the opposite order. */
void
NorikvTransactionInit(void)
{
	define_settings();
	RegisterXactCallback(transaction_event, NULL);
	RegisterSubXactCallback(savepoint_event, NULL);
}

Datum
norikv_sql_pending_writes(PG_FUNCTION_ARGS)
{
	TupleDesc descriptor;
	Datum values[2];
	bool nulls[2] = {false, false};
	int64 operations = 0;
	int64 bytes = 0;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (NorikvBuffer *buffer = buffers; buffer != NULL; buffer = buffer->next_buffer)
	{
		operations += buffer->n_changed + buffer->n_truncations;
		bytes += buffer->bytes;
	}
	values[0] = Int64GetDatum(operations);
	values[1] = Int64GetDatum(bytes);
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
