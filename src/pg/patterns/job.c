/*
 * job.c - run_once(): of all databases that call it, one runs the command.
 *
 * job:<name> is {slot, state, owner, nonce}; slot is the store's time divided by the
 * period. Who finds the slot of now neither done nor claimed claims it, with a short
 * time to live that the keeper renews, runs the command in the transaction of the call,
 * and writes that it is done while that transaction commits. So:
 *
 * - A claimant whose transaction ends otherwise gives the claim back, one that dies lets
 *   it run out: then the next to call in the period runs the command.
 * - Done is written before the commit record is. Where PostgreSQL fails in between, the
 *   command has not taken effect, and is not run again in this period.
 * - The writes of foreign tables are sent before it, and none of them where the claim was
 *   lost: see check_before_commit.
 */
#include "patterns/pattern.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "patterns/lock.h"

#define JOB_PREFIX "job:"
#define SHORTEST_PERIOD_MS 1000
#define LONGEST_CLAIM_MS 10000 /* without being renewed */

PG_FUNCTION_INFO_V1(norikv_sql_run_once);

#define STATE_CLAIMED "claimed"
#define STATE_DONE "done"

typedef struct Job
{
	int64 slot;
	char *state;
	char *owner;
	char *nonce;
} Job;

static const NorikvFieldRule job_fields[] = {
	NORIKV_FIELD("slot", NORIKV_TYPE_INTEGER, Job, slot),
	NORIKV_FIELD("state", NORIKV_TYPE_TEXT, Job, state),
	NORIKV_OPTIONAL("owner", NORIKV_TYPE_TEXT, Job, owner, 0),
	NORIKV_OPTIONAL("nonce", NORIKV_TYPE_TEXT, Job, nonce, 0),
};
static const NorikvDocumentRule job_rule = {"job", job_fields, lengthof(job_fields),
											sizeof(Job)};

/* A job that runs in this transaction. */
typedef struct Claim
{
	dlist_node node;
	int level; /* of nesting of the transaction */
	NorikvConnection *connection;
	NorikvLease *lease;
	int64 slot;
	uint64 period_ms;
} Claim;

static dlist_head claims = DLIST_STATIC_INIT(claims);
static bool check_registered = false;

static norikv_slice
key_of(const Claim *claim)
{
	return (norikv_slice){claim->lease->puts[0].key, claim->lease->puts[0].key_size};
}

static bool
is_ours(const Claim *claim, const NorikvDocument *document)
{
	return document->present && NorikvLeaseIsOurs(claim->lease, document->value);
}

/* ---- Claiming ---- */

typedef enum Finding
{
	FOUND_FREE,
	FOUND_OURS, /* of an earlier try whose answer was lost */
	FOUND_TAKEN /* it is done, or others are about it */
} Finding;

typedef struct Claiming
{
	Claim *claim;
	norikv_slice value;
	int64 sent_at; /* of the first try */
	Finding found;
	norikv_version version; /* where it is ours */
} Claiming;

/*
 * A claim of an earlier period that is still there is of a command that still runs: two
 * of them would overlap.
 */
static void
claim_step(NorikvAttempt *attempt, void *arg)
{
	Claiming *claiming = arg;
	Claim *claim = claiming->claim;
	NorikvDocument *document = &attempt->documents[0];
	int64 sent_at;
	Job job;

	claiming->found = FOUND_FREE;
	if (is_ours(claim, document))
	{
		claiming->found = FOUND_OURS;
		claiming->version = document->version;
		return;
	}
	if (document->present)
	{
		NorikvReadRecord(&job_rule, document, attempt->connection, &job);
		if (strcmp(job.state, STATE_DONE) != 0 || job.slot >= claim->slot)
		{
			claiming->found = FOUND_TAKEN;
			return;
		}
	}
	sent_at = NorikvLeaseSending(claim->lease);
	if (claiming->sent_at == 0)
		claiming->sent_at = sent_at;
	NorikvPutDocument(attempt, document, claiming->value, NORIKV_TTL_SET,
					  claim->lease->ttl_ms);
}

/* False: the job is done, or others are about it. */
static bool
take_claim(Claim *claim, norikv_slice value)
{
	const NorikvStepOptions options = {.sql_name = "run_once()", .max_retries = -1};
	const norikv_slice key = key_of(claim);
	Claiming claiming = {.claim = claim, .value = value};
	norikv_version version = NorikvRunStep(claim->connection, &key, 1, claim_step,
										   &claiming, &options);

	if (claiming.found == FOUND_TAKEN)
		return false;
	if (claiming.found == FOUND_OURS)
		version = claiming.version;
	NorikvLeaseTaken(claim->lease, version, claiming.sent_at, NULL);
	return true;
}

static Claim *
make_claim(NorikvConnection *connection, norikv_slice key, uint64 period_ms,
		   norikv_slice *value)
{
	Claim *claim = palloc0(sizeof(Claim));
	char nonce[NORIKV_NONCE_SIZE + 1];
	NorikvLeaseRequest request = {.kind = NORIKV_LEASE_JOB, .n_puts = 1, .keys = {key}};
	Job job = {.state = STATE_CLAIMED, .owner = NorikvOwnerName(), .nonce = nonce};

	NorikvMakeNonce(nonce);
	claim->level = GetCurrentTransactionNestLevel();
	claim->connection = connection;
	claim->period_ms = period_ms;
	claim->slot = job.slot = NorikvStoreTime(connection) / (int64) period_ms;
	/* Shorter than the period: another can take over while it lasts. */
	request.ttl_ms =
		Min(Max(period_ms / 3, NORIKV_SHORTEST_LEASE_MS), LONGEST_CLAIM_MS);
	*value = NorikvWriteRecord(&job_rule, &job, NULL);
	request.values[0] = *value;
	claim->lease = NorikvLeaseReserve(connection, &request, nonce);
	return memcpy(MemoryContextAlloc(TopMemoryContext, sizeof(Claim)), claim,
				  sizeof(Claim));
}

/* Never throws. The keeper deletes what is in the store. */
static void
give_back(Claim *claim)
{
	dlist_delete(&claim->node);
	NorikvLeaseRelease(claim->lease);
	pfree(claim);
}

/* ---- Commit ---- */

static void
raise_lost(const Claim *claim)
{
	ereport(ERROR, errcode(ERRCODE_NORIKV_LEASE_LOST),
			errmsg("the claim at key %s on server \"%s\" was lost",
				   NorikvShowKey(key_of(claim)), claim->lease->server),
			errdetail("It ran out before it was renewed, and another may run the job."),
			errhint("What the command did here is rolled back."));
}

/* What follows it here, the writes of foreign tables, must not be sent in vain. */
static void
check_before_commit(XactEvent event, void *arg)
{
	dlist_iter iter;

	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
		return;
	dlist_foreach(iter, &claims)
	{
		Claim *claim = dlist_container(Claim, node, iter.cur);

		if (event == XACT_EVENT_PRE_PREPARE)
			ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("cannot PREPARE a transaction in which run_once() runs a job"));
		if (!NorikvLeaseIsHeld(claim->lease))
			raise_lost(claim);
	}
}

/* It stays until the period after its own is over: long enough to be seen. */
static void
done_step(NorikvAttempt *attempt, void *arg)
{
	Claim *claim = arg;
	NorikvDocument *document = &attempt->documents[0];
	int64 now = NorikvStoreTime(attempt->connection);
	int64 period_ms = claim->period_ms;
	int64 ttl_ms = Max((claim->slot + 2) * period_ms - now, period_ms);
	Job job;

	if (!is_ours(claim, document))
		raise_lost(claim);
	NorikvReadRecord(&job_rule, document, attempt->connection, &job);
	if (strcmp(job.state, STATE_DONE) == 0)
		return; /* by an earlier try whose answer was lost */
	job.state = STATE_DONE;
	(void) NorikvLeaseSending(claim->lease);
	NorikvPutDocument(attempt, document, NorikvWriteRecord(&job_rule, &job, document),
					  NORIKV_TTL_SET, Min(ttl_ms, NORIKV_MAX_TTL_MS));
}

static void
write_done(Claim *claim)
{
	const NorikvStepOptions options = {.sql_name = "run_once()", .max_retries = 10};
	const norikv_slice key = key_of(claim);
	bool stuck;

	if (!NorikvLeaseClaim(claim->lease, &stuck))
		raise_lost(claim);
	NorikvRunStep(claim->connection, &key, 1, done_step, claim, &options);
}

static void
end_level(int level)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &claims)
	{
		Claim *claim = dlist_container(Claim, node, iter.cur);

		if (claim->level >= level)
			give_back(claim);
	}
}

static void
forget_all(void)
{
	while (!dlist_is_empty(&claims))
	{
		Claim *claim = dlist_container(Claim, node, dlist_pop_head_node(&claims));

		NorikvLeaseFree(claim->lease);
		pfree(claim);
	}
}

static void
transaction_event(XactEvent event, void *arg)
{
	dlist_iter iter;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			dlist_foreach(iter, &claims)
				write_done(dlist_container(Claim, node, iter.cur));
			break;
		case XACT_EVENT_COMMIT:
			forget_all();
			break;
		case XACT_EVENT_ABORT:
			end_level(1);
			break;
		default:
			break;
	}
}

static void
savepoint_event(SubXactEvent event, SubTransactionId my_subid,
				SubTransactionId parent_subid, void *arg)
{
	int level = GetCurrentTransactionNestLevel();
	dlist_iter iter;

	if (event == SUBXACT_EVENT_ABORT_SUB)
		end_level(level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		dlist_foreach(iter, &claims)
		{
			Claim *claim = dlist_container(Claim, node, iter.cur);

			claim->level = Min(claim->level, level - 1);
		}
	}
}

/*
 * Before NorikvTransactionInit: callbacks run in the opposite order, and a job is done
 * when the writes of foreign tables have been sent.
 */
void
NorikvJobInit(void)
{
	RegisterXactCallback(transaction_event, NULL);
	RegisterSubXactCallback(savepoint_event, NULL);
}

/* ---- The command ---- */

static void
raise_not_in_transaction(int status)
{
	ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("run_once() cannot run this command"),
			errdetail("It runs in the transaction of the call: %s is not possible there.",
					  status == SPI_ERROR_COPY ? "COPY from or to the client"
											   : "transaction control"));
}

/*
 * VACUUM and the like complain by themselves, and so does a procedure that commits: with
 * codes that say less.
 */
static void
run_command(const char *command)
{
	MemoryContext context = CurrentMemoryContext;
	int status;

	PG_TRY();
	{
		SPI_connect();
		status = SPI_execute(command, false, 0);
		SPI_finish();
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_ACTIVE_SQL_TRANSACTION ||
			geterrcode() == ERRCODE_INVALID_TRANSACTION_TERMINATION)
		{
			ErrorData *error;

			MemoryContextSwitchTo(context);
			error = CopyErrorData();
			error->sqlerrcode = ERRCODE_FEATURE_NOT_SUPPORTED;
			FlushErrorState();
			ThrowErrorData(error);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (status == SPI_ERROR_TRANSACTION || status == SPI_ERROR_COPY)
		raise_not_in_transaction(status);
	if (status < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(status));
}

static uint64
period_argument(FunctionCallInfo fcinfo)
{
	uint64 ms;

	NorikvRequireArgument(fcinfo, 1, "period");
	ms = NorikvMillisecondsFromInterval(PG_GETARG_INTERVAL_P(1), "period");
	if (ms < SHORTEST_PERIOD_MS)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be at least %d ms, but it is " UINT64_FORMAT
					   " ms", "period", SHORTEST_PERIOD_MS, ms));
	return ms;
}

/* job, period, command */
Datum
norikv_sql_run_once(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.run_once()");
	norikv_slice value;
	norikv_slice key;
	uint64 period_ms;
	Claim *claim;

	NorikvRequireArgument(fcinfo, 0, "job");
	NorikvRequireArgument(fcinfo, 2, "command");
	key = NorikvPatternKey(JOB_PREFIX, PG_GETARG_DATUM(0), "job");
	period_ms = period_argument(fcinfo);
	NorikvRequireAtomicCas(connection, "norikv.run_once()");
	NorikvRequireKeeper("norikv.run_once()",
						"It keeps the claim on the job alive while the command runs.");
	if (!check_registered)
	{
		RegisterXactCallback(check_before_commit, NULL);
		check_registered = true;
	}
	claim = make_claim(connection, key, period_ms, &value);
	dlist_push_tail(&claims, &claim->node);
	if (!take_claim(claim, value))
	{
		give_back(claim);
		PG_RETURN_BOOL(false);
	}
	run_command(TextDatumGetCString(PG_GETARG_DATUM(2)));
	PG_RETURN_BOOL(true);
}
