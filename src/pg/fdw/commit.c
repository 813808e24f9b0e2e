/*
 * commit.c - sends the changes of a transaction when it commits.
 *
 * One atomic Commit under one idempotency key: a lost answer is asked for again
 * by the client, and the server carries the unit out once. Only when the server
 * stays away until the deadline is the outcome not known, and then it is said so.
 */
#include "unit.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

static const norikv_version absent = {0, 0};

static char *
show_version(norikv_version version)
{
	if (version.index == 0)
		return pstrdup("absent");
	return psprintf(UINT64_FORMAT "/" UINT64_FORMAT, version.term, version.index);
}

void
NorikvRaiseConflict(const NorikvConnection *connection, norikv_slice key,
					norikv_version expected, norikv_version present)
{
	ereport(ERROR, errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			errmsg("could not serialize access to key %s on server \"%s\" due to a "
				   "concurrent change",
				   NorikvShowKey(key), connection->name),
			errdetail("The transaction has read version %s, the present version is %s.",
					  show_version(expected), show_version(present)),
			errhint("Nothing was changed on the server. Retry the whole transaction."));
}

static void
raise_unknown(const norikv_error *error, const NorikvConnection *connection)
{
	ereport(
		ERROR, errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
		errmsg("outcome of COMMIT on server \"%s\" is not known", connection->name),
		errdetail("%s%s%s", NorikvTextForMessage(error->node),
				  error->node[0] != '\0' ? ": " : "", NorikvTextForMessage(error->text)),
		errhint("The changes to foreign tables were applied all together, or not at "
				"all, or will be yet; local changes are rolled back. Read the keys to "
				"find out before you retry."));
}

/* The condition that did not hold, as the server said. */
static void
raise_unmet(const norikv_error *error, const NorikvUnit *unit,
			const NorikvConnection *connection)
{
	const norikv_operation *operation = &unit->operations[error->operation];

	NorikvRaiseConflict(connection, operation->key,
						operation->condition == NORIKV_IF_VERSION ? operation->version
																  : absent,
						error->present);
}

static void
raise_failed(const norikv_error *error, const NorikvUnit *unit, NorikvCall *call)
{
	bool names_operation =
		error->operation >= 0 && (size_t) error->operation < unit->n_operations;

	if (error->outcome_unknown ||
		(error->code == NORIKV_DEADLINE_EXCEEDED && !error->never_sent))
		raise_unknown(error, call->subject.connection);
	if (error->version_mismatch && names_operation)
		raise_unmet(error, unit, call->subject.connection);
	if (names_operation)
		call->subject.key = unit->operations[error->operation].key;
	NorikvRaise(error, &call->subject);
}

static void
check_size(const NorikvBuffer *buffer, const NorikvUnit *unit)
{
	int64 bytes = 0;

	for (size_t i = 0; i < unit->n_operations; i++)
		bytes += unit->operations[i].key.size + unit->operations[i].value.size +
				 unit->operations[i].end_key.size +
				 unit->operations[i].dimensions * sizeof(float);
	NorikvCheckSize(buffer, unit->n_operations, bytes);
}

static void
commit_context(void *arg)
{
	const char *sent_before = arg;

	if (sent_before == NULL)
		errcontext("COMMIT of the changes to foreign tables");
	else
		errcontext("COMMIT of the changes to foreign tables, after those on server %s, "
				   "which are committed and stay",
				   sent_before);
}

static void
send_unit(NorikvBuffer *buffer, const NorikvUnit *unit)
{
	NorikvCall *call =
		NorikvStartCommit(buffer->connection, unit->operations, unit->n_operations, true);
	const norikv_error *error = NorikvAwait(call);

	if (error->code != NORIKV_OK)
		raise_failed(error, unit, call);
	NorikvFree(call);
}

void
NorikvBufferFlush(NorikvBuffer *buffer, const char *sent_before)
{
	ErrorContextCallback callback = {error_context_stack, commit_context,
									 (void *) sent_before};
	MemoryContext context =
		AllocSetContextCreate(buffer->context, "norikv unit", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	NorikvUnit unit;

	error_context_stack = &callback;
	NorikvMakeUnit(buffer, &unit);
	check_size(buffer, &unit);
	if (unit.n_operations > 0)
		send_unit(buffer, &unit);
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}
