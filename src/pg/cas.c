/*
 * cas.c - the one compare-and-swap loop, and the builder of what it commits.
 *
 * Read all keys in one round trip, ask the step what is to become of them, and
 * commit that in one step on condition that every key is still as it was read;
 * begin again when one is not. Between tries it waits a random time of a range
 * that doubles: writers that met once would meet again.
 *
 * What must hold:
 * - Whatever a step decides rests on what it read: a document that it neither
 *   writes nor deletes becomes a check of the Commit.
 * - An outcome that is not known ends the loop (08007). Only a condition that did
 *   not hold, which the server has said, begins it again.
 * - No call is under way while a step runs: it may run anything, user functions
 *   included.
 */
#include "cas.h"

#include <math.h>

#include "common/pg_prng.h"
#include "utils/memutils.h"

#define FIRST_BACKOFF_MS 2
#define MAX_BACKOFF_MS 500

/* One run of the loop. */
typedef struct Loop
{
	NorikvConnection *connection;
	NorikvStep step;
	void *arg;
	const NorikvStepOptions *options;
	MemoryContext context; /* of the run: keys that steps ask for */
	MemoryContext try_context;
	norikv_slice *keys; /* of all documents, in their order */
	int n_keys;
	norikv_version written;
	norikv_error unmet; /* of the last try: the condition that did not hold */
	norikv_slice unmet_key;
	norikv_condition unmet_condition;
} Loop;

/* What a step leaves: the operations of one Commit. */
struct NorikvCommit
{
	norikv_operation *operations;
	int n_operations;
	int max_operations;
	norikv_slice *wanted; /* keys to be read before the step is asked again */
	int n_wanted;
};

void
NorikvBackOff(int tries)
{
	double range = FIRST_BACKOFF_MS * pow(2, Min(tries, 16));

	NorikvSleep(1 + (long) (pg_prng_double(&pg_global_prng_state) *
							Min(range, MAX_BACKOFF_MS)));
}

/* ---- What a step says ---- */

static norikv_operation *
new_operation(NorikvAttempt *attempt, norikv_operation_kind kind, norikv_slice key)
{
	NorikvCommit *commit = attempt->commit;
	norikv_operation *operation;

	if (commit->n_operations == commit->max_operations)
	{
		commit->max_operations = Max(4, commit->max_operations * 2);
		commit->operations =
			commit->operations == NULL
				? palloc(commit->max_operations * sizeof(norikv_operation))
				: repalloc(commit->operations,
						   commit->max_operations * sizeof(norikv_operation));
	}
	operation = &commit->operations[commit->n_operations++];
	*operation = (norikv_operation){.kind = kind, .key = key};
	return operation;
}

/* On condition that the document is as it was read. */
static norikv_operation *
new_change(NorikvAttempt *attempt, norikv_operation_kind kind, NorikvDocument *document)
{
	norikv_operation *operation = new_operation(attempt, kind, document->key);

	Assert(!document->settled);
	document->settled = true;
	operation->condition = document->present ? NORIKV_IF_VERSION : NORIKV_IF_ABSENT;
	operation->version = document->version;
	return operation;
}

void
NorikvPutDocument(NorikvAttempt *attempt, NorikvDocument *document, norikv_slice value,
				  norikv_ttl ttl, uint64 ttl_ms)
{
	norikv_operation *operation = new_change(attempt, NORIKV_OP_PUT, document);

	operation->value = value;
	operation->ttl = ttl;
	operation->ttl_ms = ttl_ms;
}

void
NorikvDeleteDocument(NorikvAttempt *attempt, NorikvDocument *document)
{
	if (document->present)
		new_change(attempt, NORIKV_OP_DELETE, document);
}

void
NorikvCreateDocument(NorikvAttempt *attempt, norikv_slice key, norikv_slice value,
					 norikv_ttl ttl, uint64 ttl_ms)
{
	norikv_operation *operation = new_operation(attempt, NORIKV_OP_PUT, key);

	operation->value = value;
	operation->condition = NORIKV_IF_ABSENT;
	operation->ttl = ttl;
	operation->ttl_ms = ttl_ms;
}

void
NorikvOverwriteDocument(NorikvAttempt *attempt, norikv_slice key, norikv_slice value)
{
	new_operation(attempt, NORIKV_OP_PUT, key)->value = value;
}

NorikvDocument *
NorikvFindDocument(NorikvAttempt *attempt, norikv_slice key)
{
	for (int i = 0; i < attempt->n_documents; i++)
	{
		if (NorikvSameBytes(attempt->documents[i].key, key))
			return &attempt->documents[i];
	}
	return NULL;
}

void
NorikvPutVector(NorikvAttempt *attempt, norikv_slice space, norikv_slice id,
				const float *vector, uint32 dimensions, norikv_condition condition,
				norikv_version version)
{
	norikv_operation *operation = new_operation(attempt, NORIKV_OP_VECTOR_PUT, id);

	operation->vector_namespace = space;
	operation->vector = vector;
	operation->dimensions = dimensions;
	operation->condition = condition;
	operation->version = version;
}

void
NorikvReadAlso(NorikvAttempt *attempt, norikv_slice key)
{
	NorikvCommit *commit = attempt->commit;

	commit->wanted = commit->wanted == NULL
						 ? palloc(sizeof(norikv_slice))
						 : repalloc(commit->wanted,
									(commit->n_wanted + 1) * sizeof(norikv_slice));
	commit->wanted[commit->n_wanted++] = key;
}

/* ---- Reading ---- */

/* Copied, so that no call stays open while the step runs anything. */
static void
copy_document(NorikvDocument *document, norikv_slice key, const norikv_entry *entry)
{
	char *value = palloc(entry->value.size + 1);

	memcpy(value, entry->value.data, entry->value.size);
	value[entry->value.size] = '\0';
	*document = (NorikvDocument){
		.present = entry->version.index != 0,
		.key = key,
		.value = {value, entry->value.size},
		.version = entry->version,
		.expires_at_ms = entry->expires_at_ms,
	};
}

/* A Get does not tell when the key expires; a MultiGet does, and costs a little more. */
static void
read_documents(Loop *loop, NorikvDocument *documents, int first, bool with_expiry)
{
	const norikv_slice *keys = loop->keys + first;
	int n_keys = loop->n_keys - first;
	NorikvCall *call;

	if (n_keys == 1 && !with_expiry)
	{
		call = NorikvStartGet(loop->connection, keys[0], "strong");
		NorikvFinish(call);
		copy_document(&documents[first], keys[0], norikv_call_entry(call->call));
	}
	else
	{
		const norikv_entry *entries;

		call = NorikvStartMultiGet(loop->connection, keys, n_keys, "strong");
		entries = NorikvFinishMultiGet(call, n_keys);
		for (int i = 0; i < n_keys; i++)
			copy_document(&documents[first + i], keys[i], &entries[i]);
	}
	NorikvFree(call);
}

/* Keys that a step asked for stay for the tries to come. */
static void
want_keys(Loop *loop, const NorikvCommit *commit)
{
	MemoryContext old_context = MemoryContextSwitchTo(loop->context);
	norikv_slice *keys = palloc((loop->n_keys + commit->n_wanted) * sizeof(norikv_slice));

	memcpy(keys, loop->keys, loop->n_keys * sizeof(norikv_slice));
	for (int i = 0; i < commit->n_wanted; i++)
	{
		norikv_slice wanted = commit->wanted[i];
		void *copy = palloc(wanted.size);

		memcpy(copy, wanted.data, wanted.size);
		keys[loop->n_keys++] = (norikv_slice){copy, wanted.size};
	}
	loop->keys = keys;
	MemoryContextSwitchTo(old_context);
}

/* ---- Writing ---- */

/* What remains of the time to live by store time, as a time to live can be. */
static uint64
remaining_ms(NorikvConnection *connection, const NorikvDocument *document)
{
	int64 left = (int64) document->expires_at_ms - NorikvStoreTime(connection);

	return Min(Max(left, 1), NORIKV_MAX_TTL_MS);
}

/*
 * A put that keeps the time to live is one step in a Commit. A server without
 * transactions is told what remains; where it does not tell when a key expires,
 * there is nothing to keep.
 */
static void
keep_by_hand(Loop *loop, norikv_operation *operation, const NorikvDocument *documents)
{
	operation->ttl = NORIKV_TTL_NONE;
	for (int i = 0; i < loop->n_keys; i++)
	{
		if (documents[i].key.data == operation->key.data &&
			documents[i].expires_at_ms != 0)
		{
			operation->ttl = NORIKV_TTL_SET;
			operation->ttl_ms = remaining_ms(loop->connection, &documents[i]);
		}
	}
}

/* Whether one Put or Delete says all of it. */
static bool
is_unary(const NorikvCommit *commit)
{
	const norikv_operation *first = &commit->operations[0];

	return commit->n_operations == 1 && first->ttl != NORIKV_TTL_KEEP &&
		   (first->kind == NORIKV_OP_PUT || first->kind == NORIKV_OP_DELETE);
}

/* Documents of which a writing step says nothing, too, must be as they were read. */
static void
check_what_was_read(NorikvAttempt *attempt)
{
	for (int i = 0; i < attempt->n_documents; i++)
	{
		if (!attempt->documents[i].settled)
			new_change(attempt, NORIKV_OP_CHECK, &attempt->documents[i]);
	}
}

static NorikvCall *
start_commit(Loop *loop, NorikvAttempt *attempt)
{
	NorikvCommit *commit = attempt->commit;
	const norikv_slice no_idempotency_key = {NULL, 0};

	for (int i = 0; i < commit->n_operations; i++)
	{
		norikv_operation *operation = &commit->operations[i];

		if (operation->ttl == NORIKV_TTL_KEEP &&
			(operation->condition == NORIKV_IF_ABSENT ||
			 !NorikvGetCapabilities(loop->connection)->transactions))
			keep_by_hand(loop, operation, attempt->documents);
	}
	if (is_unary(commit))
		return NorikvStartWrite(loop->connection, commit->operations, no_idempotency_key);
	if (commit->n_operations > 1)
		NorikvRequireTransactions(loop->connection, loop->options->sql_name);
	return NorikvStartCommit(loop->connection, commit->operations, commit->n_operations,
							 true);
}

/* False where a condition did not hold; every other error is raised. */
static bool
write_documents(Loop *loop, NorikvAttempt *attempt)
{
	NorikvCall *call = start_commit(loop, attempt);
	const norikv_error *error = NorikvAwait(call);
	bool done = error->code == NORIKV_OK;

	if (done)
	{
		size_t n_results;

		loop->written = norikv_call_results(call->call, &n_results)->version;
	}
	else
	{
		int at = error->operation >= 0 ? error->operation : 0;
		const norikv_operation *operation =
			&attempt->commit->operations[Min(at, attempt->commit->n_operations - 1)];

		call->subject.key = operation->key;
		call->subject.condition = operation->condition;
		if (!NorikvIsUnmetCondition(error))
			NorikvRaise(error, &call->subject);
		loop->unmet = *error;
		loop->unmet_condition = operation->condition;
		loop->unmet_key = operation->key;
	}
	NorikvFree(call);
	return done;
}

/* ---- The loop ---- */

/* Whether the time to live has to be kept by hand, and the server tells it. */
static bool
needs_expiry(NorikvConnection *connection, const NorikvStepOptions *options)
{
	const NorikvCapabilities *capabilities;

	if (options->with_expiry)
		return true;
	if (!options->keeps_ttl)
		return false;
	capabilities = NorikvGetCapabilities(connection);
	return capabilities->named && !capabilities->transactions;
}

/* One read, one step, one write; false where another writer came between. */
static bool
try_once(Loop *loop)
{
	bool with_expiry = needs_expiry(loop->connection, loop->options);
	NorikvCommit commit = {0};
	NorikvAttempt attempt = {.connection = loop->connection, .commit = &commit};

	for (;;)
	{
		NorikvDocument *documents = palloc0(loop->n_keys * sizeof(NorikvDocument));

		if (attempt.n_documents > 0)
			memcpy(documents, attempt.documents,
				   attempt.n_documents * sizeof(NorikvDocument));
		if (loop->n_keys > attempt.n_documents)
			read_documents(loop, documents, attempt.n_documents, with_expiry);
		for (int i = 0; i < loop->n_keys; i++)
			documents[i].settled = false;
		attempt.documents = documents;
		attempt.n_documents = loop->n_keys;
		commit = (NorikvCommit){0};
		loop->step(&attempt, loop->arg);
		if (commit.n_wanted == 0)
			break;
		want_keys(loop, &commit);
	}
	if (commit.n_operations == 0)
		return true;
	check_what_was_read(&attempt);
	return write_documents(loop, &attempt);
}

/* After the last try: the error of the condition that did not hold. */
static void
raise_unmet(Loop *loop)
{
	NorikvSubject subject = {loop->connection, NORIKV_CALL_PUT, loop->unmet_key, true,
							 NORIKV_IF_VERSION};

	if (loop->unmet_condition == NORIKV_IF_ANY)
		subject.condition = NORIKV_IF_ANY;
	NorikvRaise(&loop->unmet, &subject);
}

norikv_version
NorikvRunStep(NorikvConnection *connection, const norikv_slice *keys, int n_keys,
			  NorikvStep step, void *arg, const NorikvStepOptions *options)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv compare-and-swap", ALLOCSET_SMALL_SIZES);
	Loop loop = {.connection = connection,
				 .step = step,
				 .arg = arg,
				 .options = options,
				 .context = context,
				 .keys = (norikv_slice *) keys,
				 .n_keys = n_keys};

	loop.try_context =
		AllocSetContextCreate(context, "norikv try", ALLOCSET_DEFAULT_SIZES);
	for (int tries = 0;; tries++)
	{
		MemoryContext old_context = MemoryContextSwitchTo(loop.try_context);
		bool done = try_once(&loop);

		MemoryContextSwitchTo(old_context);
		if (done)
			break;
		if (options->max_retries >= 0 && tries >= options->max_retries)
			raise_unmet(&loop);
		MemoryContextReset(loop.try_context);
		NorikvBackOff(tries);
	}
	MemoryContextDelete(context);
	return loop.written;
}

/* ---- One key ---- */

typedef struct Single
{
	NorikvCasStep step;
	void *arg;
	const NorikvCasOptions *options;
} Single;

static void
run_single(NorikvAttempt *attempt, void *arg)
{
	Single *single = arg;
	NorikvDocument *document = &attempt->documents[0];
	norikv_slice value = {NULL, 0};

	switch (single->step(document, &value, single->arg))
	{
		case NORIKV_CAS_LEAVE:
			break;
		case NORIKV_CAS_PUT:
			NorikvPutDocument(attempt, document, value, single->options->ttl,
							  single->options->ttl_ms);
			break;
		case NORIKV_CAS_DELETE:
			NorikvDeleteDocument(attempt, document);
			break;
	}
}

void
NorikvCompareAndSwap(NorikvConnection *connection, norikv_slice key, NorikvCasStep step,
					 void *arg, const NorikvCasOptions *options)
{
	Single single = {step, arg, options};
	NorikvStepOptions step_options = {.sql_name = "update()",
									  .max_retries = options->max_retries,
									  .keeps_ttl = options->ttl == NORIKV_TTL_KEEP};

	NorikvRunStep(connection, &key, 1, run_single, &single, &step_options);
}
