/*
 * session.c - sessions: documents that end when nobody has used them for a while.
 *
 * Whoever uses a session writes it, so that it lives on. Each such write is on
 * condition of the version that was read: it never covers another's change, and a
 * session that was destroyed meanwhile stays destroyed. The time to live is the one of
 * its creation, which travels in the document (ttlMs), for who only has an id cannot
 * know it.
 */
#include "patterns/pattern.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#define KEY_PREFIX "session:"
#define DEFAULT_TTL_MS 3600000

PG_FUNCTION_INFO_V1(norikv_sql_session_create);
PG_FUNCTION_INFO_V1(norikv_sql_session_get);
PG_FUNCTION_INFO_V1(norikv_sql_session_update);
PG_FUNCTION_INFO_V1(norikv_sql_session_modify);
PG_FUNCTION_INFO_V1(norikv_sql_session_destroy);
PG_FUNCTION_INFO_V1(norikv_sql_session_validate);

typedef struct Session
{
	char *user_id;
	char *email;
	NorikvTexts roles;
	int64 created_at;
	int64 last_accessed_at;
	int64 ttl_ms; /* 0: another program made it, and did not say */
} Session;

static const NorikvFieldRule session_fields[] = {
	NORIKV_FIELD("userId", NORIKV_TYPE_TEXT, Session, user_id),
	NORIKV_FIELD("email", NORIKV_TYPE_TEXT, Session, email),
	NORIKV_FIELD("roles", NORIKV_TYPE_TEXTS, Session, roles),
	NORIKV_FIELD("createdAt", NORIKV_TYPE_INSTANT, Session, created_at),
	NORIKV_FIELD("lastAccessedAt", NORIKV_TYPE_INSTANT, Session, last_accessed_at),
	NORIKV_OPTIONAL("ttlMs", NORIKV_TYPE_INTEGER, Session, ttl_ms, 0),
};

static const NorikvDocumentRule session_rule = {"session", session_fields,
												lengthof(session_fields),
												sizeof(Session)};

static norikv_slice
key_argument(FunctionCallInfo fcinfo)
{
	Datum id = DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0));

	return NorikvMakeKey(KEY_PREFIX, DatumGetCString(id));
}

/* ---- Making one ---- */

static NorikvTexts
roles_argument(FunctionCallInfo fcinfo)
{
	NorikvTexts roles;
	Datum *values;
	bool *nulls;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT, &values,
					  &nulls, &roles.count);
	roles.texts = palloc(sizeof(char *) * (roles.count + 1));
	for (int i = 0; i < roles.count; i++)
	{
		if (nulls[i])
			ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					errmsg("argument \"%s\" must not contain nulls, but element %d is "
						   "one", "roles", i + 1));
		roles.texts[i] = TextDatumGetCString(values[i]);
	}
	return roles;
}

/* user_id, email, roles, ttl */
Datum
norikv_sql_session_create(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"user_id", "email", "roles", "ttl"};
	const norikv_slice no_idempotency_key = {NULL, 0};
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.session_create()");
	norikv_operation operation = {
		.kind = NORIKV_OP_PUT, .condition = NORIKV_IF_ABSENT, .ttl = NORIKV_TTL_SET};
	Session session;
	NorikvCall *call;
	Datum id;

	for (int i = 0; i < lengthof(names); i++)
		NorikvRequireArgument(fcinfo, i, names[i]);
	session.user_id = TextDatumGetCString(PG_GETARG_DATUM(0));
	session.email = TextDatumGetCString(PG_GETARG_DATUM(1));
	session.roles = roles_argument(fcinfo);
	session.ttl_ms = NorikvMillisecondsFromInterval(PG_GETARG_INTERVAL_P(3), "ttl");
	session.created_at = session.last_accessed_at = NorikvStoreTime(connection);

	id = DirectFunctionCall1(gen_random_uuid, (Datum) 0);
	operation.key = NorikvMakeKey(
		KEY_PREFIX, DatumGetCString(DirectFunctionCall1(uuid_out, id)));
	operation.value = NorikvWriteRecord(&session_rule, &session, NULL);
	operation.ttl_ms = session.ttl_ms;
	call = NorikvStartWrite(connection, &operation, no_idempotency_key);
	NorikvFinish(call);
	NorikvFree(call);
	return id;
}

/* ---- Using one ---- */

/* What the steps below are handed, and what they leave. */
typedef struct Use
{
	int64 called_at;		/* store time */
	Jsonb *patch;			/* session_update */
	NorikvUpdater *updater; /* session_modify */
	MemoryContext context;	/* of result */
	Datum result;			/* session_get: the session, a jsonb */
	bool found;
} Use;

/* The ttl of its creation; where only another program knows it, what it comes to. */
static int64
ttl_of(const Session *session, const NorikvDocument *document)
{
	int64 ttl_ms = session->ttl_ms;

	if (ttl_ms <= 0)
		ttl_ms = (int64) document->expires_at_ms - session->last_accessed_at;
	return ttl_ms > 0 && ttl_ms <= NORIKV_MAX_TTL_MS ? ttl_ms : DEFAULT_TTL_MS;
}

/*
 * Written back as used now; false where there is no room for that. One that another
 * program made may have none for its time to live: it then stays what its expiry and its
 * last use come to.
 */
static bool
put_used(NorikvAttempt *attempt, NorikvDocument *document, Session *session,
		 const NorikvDocument *content, int64 now, norikv_slice *value)
{
	bool is_told = session->ttl_ms > 0;
	int64 ttl_ms = ttl_of(session, document);
	bool fits;

	session->ttl_ms = ttl_ms;
	session->last_accessed_at = now;
	fits = NorikvTryWriteRecord(&session_rule, session, content, value);
	if (!fits && !is_told)
	{
		session->ttl_ms = 0;
		fits = NorikvTryWriteRecord(&session_rule, session, content, value);
	}
	if (fits)
		NorikvPutDocument(attempt, document, *value, NORIKV_TTL_SET, ttl_ms);
	return fits;
}

/*
 * Where others used it as well since this call began, there is nothing left to write,
 * so that many who use one session at a time do not wait for each other.
 */
static bool
is_used_already(const Session *session, const NorikvDocument *document, int64 called_at)
{
	return session->ttl_ms > 0 && session->last_accessed_at >= called_at &&
		   (int64) document->expires_at_ms >= called_at + session->ttl_ms;
}

/* It was read; what cannot be is that it lives on. */
static void
warn_not_prolonged(const NorikvDocument *document, size_t size)
{
	ereport(WARNING, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			errmsg("session %s is not prolonged by this use",
				   NorikvShowKey(document->key)),
			errdetail("With the time of its last use it would have %zu bytes, and a value "
					  "must be at most %d.", size, NORIKV_MAX_VALUE),
			errhint("session_update() can make it smaller."));
}

static void
get_step(NorikvAttempt *attempt, void *arg)
{
	Use *use = arg;
	NorikvDocument *document = &attempt->documents[0];
	norikv_entry entry = {.key = document->key, .value = document->value};
	norikv_slice used;
	MemoryContext old_context;
	Session session;

	use->found = document->present;
	if (!use->found)
		return;
	NorikvReadRecord(&session_rule, document, attempt->connection, &session);
	if (!is_used_already(&session, document, use->called_at))
	{
		if (put_used(attempt, document, &session, document,
					 Max(NorikvStoreTime(attempt->connection), use->called_at), &used))
			entry.value = used;
		else
			warn_not_prolonged(document, used.size);
	}
	old_context = MemoryContextSwitchTo(use->context);
	use->result = NorikvJsonbFromValue(&entry, attempt->connection);
	MemoryContextSwitchTo(old_context);
}

/* What became of it must be a session as well. */
static void
put_changed(NorikvAttempt *attempt, NorikvDocument *document, Datum changed)
{
	Jsonb *jsonb = DatumGetJsonbP(changed);
	NorikvDocument content = *document;
	norikv_slice value;
	Session session;

	/* jsonb's blanks are not written all: the limit is that of what is */
	content.value = NorikvBytesFromDatum(
		CStringGetTextDatum(JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb))), true);
	content.present = false;
	NorikvReadRecord(&session_rule, &content, attempt->connection, &session);
	content.present = true;
	if (!put_used(attempt, document, &session, &content,
				  NorikvStoreTime(attempt->connection), &value))
		(void) NorikvWriteRecord(&session_rule, &session, &content); /* says so */
}

static Datum
read_session(NorikvAttempt *attempt)
{
	const NorikvDocument *document = &attempt->documents[0];
	norikv_entry entry = {.key = document->key, .value = document->value};
	Session session;

	NorikvReadRecord(&session_rule, document, attempt->connection, &session);
	return NorikvJsonbFromValue(&entry, attempt->connection);
}

static void
update_step(NorikvAttempt *attempt, void *arg)
{
	Use *use = arg;
	NorikvDocument *document = &attempt->documents[0];

	use->found = document->present;
	if (use->found)
		put_changed(attempt, document,
					DirectFunctionCall2(jsonb_concat, read_session(attempt),
										JsonbPGetDatum(use->patch)));
}

static void
modify_step(NorikvAttempt *attempt, void *arg)
{
	Use *use = arg;
	NorikvDocument *document = &attempt->documents[0];
	Datum changed;
	bool is_null;

	use->found = document->present;
	if (!use->found)
		return;
	changed = NorikvCallUpdater(use->updater, read_session(attempt), false, &is_null);
	/* mostly a slip of the function's, and nobody should be logged out by one */
	if (is_null)
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("updater of session %s returned null",
					   NorikvShowKey(document->key)),
				errhint("session_destroy() ends a session."));
	put_changed(attempt, document, changed);
}

static void
use_session(FunctionCallInfo fcinfo, NorikvConnection *connection, const char *sql_name,
			NorikvStep step, Use *use)
{
	const NorikvStepOptions options = {
		.sql_name = sql_name, .max_retries = -1, .with_expiry = true};
	norikv_slice key = key_argument(fcinfo);

	NorikvRequireAtomicCas(connection, sql_name);
	use->context = CurrentMemoryContext;
	use->called_at = NorikvStoreTime(connection);
	NorikvRunStep(connection, &key, 1, step, use, &options);
}

/* id */
Datum
norikv_sql_session_get(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.session_get()");
	Use use = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	use_session(fcinfo, connection, "session_get()", get_step, &use);
	if (!use.found)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(use.result);
}

/* id, patch */
Datum
norikv_sql_session_update(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.session_update()");
	Use use = {0};

	NorikvRequireArgument(fcinfo, 0, "id");
	NorikvRequireArgument(fcinfo, 1, "patch");
	use.patch = PG_GETARG_JSONB_P(1);
	if (!JB_ROOT_IS_OBJECT(use.patch))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be a JSON object", "patch"));
	use_session(fcinfo, connection, "session_update()", update_step, &use);
	PG_RETURN_BOOL(use.found);
}

/* id, updater, args */
Datum
norikv_sql_session_modify(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.session_modify()");
	NorikvUpdater updater;
	Use use = {.updater = &updater};

	NorikvRequireArgument(fcinfo, 0, "id");
	NorikvRequireArgument(fcinfo, 1, "updater");
	NorikvPrepareUpdater(&updater, fcinfo, 1, 2);
	use_session(fcinfo, connection, "session_modify()", modify_step, &use);
	PG_RETURN_BOOL(use.found);
}

/* ---- Ending one ---- */

/* id */
Datum
norikv_sql_session_destroy(PG_FUNCTION_ARGS)
{
	const norikv_slice no_idempotency_key = {NULL, 0};
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.session_destroy()");
	norikv_operation operation = {.kind = NORIKV_OP_DELETE};
	NorikvCall *call;
	size_t n_results;
	bool existed;

	NorikvRequireArgument(fcinfo, 0, "id");
	operation.key = key_argument(fcinfo);
	call = NorikvStartWrite(connection, &operation, no_idempotency_key);
	NorikvFinish(call);
	existed = norikv_call_results(call->call, &n_results)->existed;
	NorikvFree(call);
	PG_RETURN_BOOL(existed);
}

/* id */
Datum
norikv_sql_session_validate(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	NorikvCall *call;
	bool found;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	connection = NorikvGetConnection();
	call = NorikvStartGet(connection, key_argument(fcinfo), NULL);
	NorikvFinish(call);
	found = norikv_call_entry(call->call)->version.index != 0;
	NorikvFree(call);
	PG_RETURN_BOOL(found);
}
