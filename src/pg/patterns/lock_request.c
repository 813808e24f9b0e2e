/*
 * lock_request.c - creating, renewing and deleting the key of a lock.
 *
 * An answer can be lost, and a request that was repeated can have been executed
 * before. So whatever an answer does not settle is read: the document carries a nonce
 * that nobody else writes. With it the key is ours, in whichever version it is.
 */
#include "patterns/lock.h"

#include <unistd.h>

#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "utils/json.h"

#include "patterns/pattern.h"

#define MAX_TRIES 3 /* where no answer comes, but reads are answered */

/* What is known after a request. */
typedef struct Answer
{
	norikv_error error;
	norikv_version version; /* where it went well */
	bool repeated;			/* so that the answer may be to its own earlier self */
} Answer;

typedef enum Finding
{
	FOUND_OURS,
	FOUND_OTHERS,
	FOUND_NONE
} Finding;

/* ---- The argument ---- */

uint64
NorikvLeaseTtlArgument(FunctionCallInfo fcinfo, int argument)
{
	uint64 ms;

	NorikvRequireArgument(fcinfo, argument, "ttl");
	ms = NorikvMillisecondsFromInterval(PG_GETARG_INTERVAL_P(argument), "ttl");
	if (ms < NORIKV_SHORTEST_LEASE_MS)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be at least %d ms, but it is " UINT64_FORMAT
					   " ms",
					   "ttl", NORIKV_SHORTEST_LEASE_MS, ms));
	return ms;
}

/* ---- The document ---- */

char *
NorikvOwnerName(void)
{
	char host[256];

	if (gethostname(host, sizeof(host)) != 0)
		strlcpy(host, "unknown", sizeof(host));
	host[63] = '\0';
	for (char *c = host; *c != '\0'; c++)
	{
		if (*c <= ' ' || *c > '~')
			*c = '?';
	}
	return psprintf("%s:%d/%d", host, PostPortNumber, MyProcPid);
}

norikv_slice
NorikvLockDocument(const char *nonce, int64 token)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"owner\":");
	escape_json(&json, NorikvOwnerName());
	appendStringInfo(&json, ",\"nonce\":\"%s\",\"acquiredAt\":" INT64_FORMAT, nonce,
					 NorikvMillisecondsFromTimestamp(GetCurrentTimestamp()));
	if (token != 0)
		appendStringInfo(&json, ",\"token\":" INT64_FORMAT, token);
	appendStringInfoChar(&json, '}');
	return (norikv_slice){json.data, json.len};
}

/* ---- Asking ---- */

static norikv_slice
key_of(const NorikvLease *lease)
{
	return (norikv_slice){lease->puts[0].key, lease->puts[0].key_size};
}

static void
ask(NorikvConnection *connection, const norikv_operation *operation, Answer *answer)
{
	const norikv_slice no_idempotency_key = {NULL, 0};
	NorikvCall *call = NorikvStartWrite(connection, operation, no_idempotency_key);
	size_t n;

	answer->error = *NorikvAwait(call);
	answer->repeated = norikv_call_get_stats(call->call).retries > 0;
	if (answer->error.code == NORIKV_OK)
		answer->version = norikv_call_results(call->call, &n)->version;
	NorikvFree(call);
}

/* Of a request for the lock whose answer says neither done nor not done. */
static void
raise_answer(NorikvConnection *connection, const norikv_operation *operation,
			 const Answer *answer)
{
	NorikvSubject subject = {connection,
							 operation->kind == NORIKV_OP_PUT ? NORIKV_CALL_PUT
															  : NORIKV_CALL_DELETE,
							 operation->key, true, operation->condition};

	NorikvRaise(&answer->error, &subject);
}

static bool
is_open(const Answer *answer)
{
	return answer->error.outcome_unknown || NorikvIsUnmetCondition(&answer->error);
}

/* Where even this is not answered, the error is that of the request before. */
static Finding
look(NorikvConnection *connection, const norikv_operation *operation,
	 const Answer *answer, const NorikvLease *lease, norikv_version *version)
{
	NorikvCall *call = NorikvStartGet(connection, key_of(lease), "strong");
	const norikv_error *error = NorikvAwait(call);
	const norikv_entry *entry;
	Finding found = FOUND_OTHERS;

	if (error->code != NORIKV_OK)
	{
		if (answer != NULL && answer->error.outcome_unknown)
			raise_answer(connection, operation, answer);
		NorikvRaise(error, &call->subject);
	}
	entry = norikv_call_entry(call->call);
	*version = entry->version;
	if (entry->version.index == 0)
		found = FOUND_NONE;
	else if (NorikvLeaseIsOurs(lease, entry->value))
		found = FOUND_OURS;
	NorikvFree(call);
	return found;
}

/* ---- Creating ---- */

static void
set_taken(NorikvLease *lease, norikv_version version, int64 sent_at)
{
	int64 token = (int64) ((version.term << 48) + version.index);
	norikv_slice document = NorikvLockDocument(lease->nonce, token);

	NorikvLeaseTaken(lease, version, sent_at, &document);
}

bool
NorikvLockCreate(NorikvConnection *connection, NorikvLease *lease)
{
	norikv_operation create = {
		.kind = NORIKV_OP_PUT,
		.condition = NORIKV_IF_ABSENT,
		.key = key_of(lease),
		.value = {lease->puts[0].value, lease->puts[0].value_size},
		.ttl = NORIKV_TTL_SET,
		.ttl_ms = lease->ttl_ms,
	};
	int64 first_sent_at = 0;

	for (int tries = 1;; tries++)
	{
		/* An earlier attempt may yet have come to be executed. */
		bool doubtful = lease->uncertain;
		int64 sent_at = NorikvLeaseSending(lease);
		norikv_version version;
		Finding found;
		Answer answer;

		if (first_sent_at == 0)
			first_sent_at = sent_at;
		ask(connection, &create, &answer);
		if (answer.error.code == NORIKV_OK)
		{
			set_taken(lease, answer.version, sent_at);
			return true;
		}
		if (!is_open(&answer))
			raise_answer(connection, &create, &answer);
		if (!answer.error.outcome_unknown && !answer.repeated && !doubtful)
		{
			NorikvLeaseRefused(lease);
			return false;
		}
		found = look(connection, &create, &answer, lease, &version);
		if (found == FOUND_OURS)
		{
			set_taken(lease, version, first_sent_at);
			return true;
		}
		if (found == FOUND_OTHERS)
			return false;
		if (tries >= MAX_TRIES)
			raise_answer(connection, &create, &answer);
	}
}

/* ---- Renewing ---- */

/* The keeper may have left a renewal whose answer it never saw. */
static bool
know_version(NorikvConnection *connection, NorikvLease *lease)
{
	norikv_version version;

	if (!lease->uncertain)
		return true;
	if (look(connection, NULL, NULL, lease, &version) != FOUND_OURS)
		return false;
	lease->version = version;
	return true;
}

bool
NorikvLockRenew(NorikvConnection *connection, NorikvLease *lease, uint64 ttl_ms)
{
	norikv_operation renew = {
		.kind = NORIKV_OP_PUT,
		.condition = NORIKV_IF_VERSION,
		.key = key_of(lease),
		.value = {lease->puts[0].value, lease->puts[0].value_size},
		.ttl = NORIKV_TTL_SET,
		.ttl_ms = ttl_ms,
	};
	int64 first_sent_at = 0;

	if (!know_version(connection, lease))
		return false;
	renew.version = lease->version;
	for (int tries = 1;; tries++)
	{
		int64 sent_at = NorikvLeaseRenewing(lease, ttl_ms);
		norikv_version version;
		Answer answer;

		if (first_sent_at == 0)
			first_sent_at = sent_at;
		ask(connection, &renew, &answer);
		if (answer.error.code == NORIKV_OK)
		{
			NorikvLeaseRenewed(lease, answer.version, sent_at, ttl_ms);
			return true;
		}
		if (!is_open(&answer))
			raise_answer(connection, &renew, &answer);
		if (look(connection, &renew, &answer, lease, &version) != FOUND_OURS)
			return false;
		/* Ours in another version: one of these tries wrote it. */
		if (!NorikvSameVersion(version, lease->version))
		{
			NorikvLeaseRenewed(lease, version, first_sent_at, ttl_ms);
			return true;
		}
		if (tries >= MAX_TRIES)
			raise_answer(connection, &renew, &answer);
	}
}

/* ---- Deleting ---- */

bool
NorikvLockDelete(NorikvConnection *connection, NorikvLease *lease)
{
	norikv_operation delete = {
		.kind = NORIKV_OP_DELETE,
		.condition = NORIKV_IF_VERSION,
		.key = key_of(lease),
	};
	bool may_be_done = false;

	if (!know_version(connection, lease))
		return false;
	for (int tries = 1;; tries++)
	{
		norikv_version version;
		Answer answer;

		delete.version = lease->version;
		ask(connection, &delete, &answer);
		if (answer.error.code == NORIKV_OK)
			return true;
		if (!is_open(&answer))
			raise_answer(connection, &delete, &answer);
		may_be_done |= answer.error.outcome_unknown || answer.repeated;
		/* Before the deadline the key can only be gone because it was deleted. */
		if (look(connection, &delete, &answer, lease, &version) != FOUND_OURS)
			return may_be_done && NorikvBootMilliseconds() < lease->deadline;
		lease->version = version;
		if (tries >= MAX_TRIES)
			raise_answer(connection, &delete, &answer);
	}
}
