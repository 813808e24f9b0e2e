/*
 * error.c - the one place where an error of libnorikv becomes an ereport.
 *
 * What must hold: a write whose outcome is not known is never reported as failed,
 * and bytes of a server's reach a message only when they have been checked.
 */
#include "pg_norikv.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "worker/launcher.h"

#define SHOWN_KEY_BYTES 100

static bool
is_printable(norikv_slice bytes)
{
	const unsigned char *c = bytes.data;

	for (size_t i = 0; i < bytes.size; i++)
	{
		if (c[i] < ' ' || c[i] == 0x7f ||
			(IS_HIGHBIT_SET(c[i]) && GetDatabaseEncoding() != PG_UTF8))
			return false;
	}
	return pg_verify_mbstr(PG_UTF8, bytes.data, bytes.size, true);
}

char *
NorikvShowKey(norikv_slice key)
{
	StringInfoData shown;
	size_t size = key.size;
	bool printable = is_printable(key);

	if (size > SHOWN_KEY_BYTES)
		size = printable ? pg_mbcliplen(key.data, key.size, SHOWN_KEY_BYTES)
						 : SHOWN_KEY_BYTES / 2;
	initStringInfo(&shown);
	if (printable)
	{
		appendStringInfoChar(&shown, '"');
		appendBinaryStringInfo(&shown, key.data, size);
		appendStringInfoString(&shown, size < key.size ? "...\"" : "\"");
	}
	else
	{
		appendStringInfoString(&shown, "\\x");
		enlargeStringInfo(&shown, size * 2);
		shown.len += hex_encode(key.data, size, shown.data + shown.len);
		shown.data[shown.len] = '\0';
		if (size < key.size)
			appendStringInfoString(&shown, "...");
	}
	return shown.data;
}

/* "put of key "user:1"", or only "scan" where it is about no one key. */
static char *
show_action(const NorikvSubject *subject)
{
	const char *name = NorikvOperationName(subject->operation);

	if (subject->key.size == 0)
		return pstrdup(name);
	return psprintf("%s of key %s", name, NorikvShowKey(subject->key));
}

static char *
show_version(norikv_version version)
{
	if (version.index == 0)
		return pstrdup("absent");
	return psprintf(UINT64_FORMAT "/" UINT64_FORMAT, version.term, version.index);
}

/* What the server or the library said; it names the node. */
static int
say_cause(const norikv_error *error)
{
	if (error->text[0] == '\0')
		return 0;
	return errdetail("%s", NorikvTextForMessage(error->text));
}

/*
 * Both versions. Index 0 of the present one is an absent key or a server that does
 * not tell; norikvd says which.
 */
static int
say_versions(const norikv_error *error)
{
	if (!error->version_mismatch)
		return say_cause(error);
	if (error->present.index == 0 && strstr(error->text, "present absent") == NULL)
		return errdetail("Expected version %s; the server does not tell the present one.",
						 show_version(error->expected));
	return errdetail("Expected version %s, present version %s.",
					 show_version(error->expected), show_version(error->present));
}

static void
raise_unmet_condition(const norikv_error *error, const NorikvSubject *subject)
{
	const char *server = subject->connection->name;
	char *key = NorikvShowKey(subject->key);

	if (subject->condition == NORIKV_IF_ABSENT)
		ereport(ERROR, errcode(ERRCODE_UNIQUE_VIOLATION),
				errmsg("key %s already exists on server \"%s\"", key, server),
				error->version_mismatch && error->present.index != 0
					? errdetail("Its version is %s.", show_version(error->present))
					: say_cause(error));
	ereport(ERROR, errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			errmsg("version of key %s on server \"%s\" does not match", key, server),
			say_versions(error), errhint("Read the key again and decide anew."));
}

static void
raise_unknown_outcome(const norikv_error *error, const NorikvSubject *subject)
{
	ereport(ERROR, errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
			errmsg("outcome of %s on server \"%s\" is not known", show_action(subject),
				   subject->connection->name),
			say_cause(error),
			errhint("It may have been applied, or may be yet. Read to find out, or "
					"repeat it with the idempotency key you gave."));
}

static void
raise_unreachable(const norikv_error *error, const NorikvSubject *subject)
{
	const NorikvConnection *connection = subject->connection;
	const char *trouble = connection->embedded ? NorikvEmbeddedTrouble() : NULL;

	if (error->never_sent)
		ereport(ERROR, errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				errmsg("could not connect to server \"%s\" for %s", connection->name,
					   show_action(subject)),
				say_cause(error),
				trouble != NULL ? errhint("%s", trouble)
				: connection->embedded
					? errhint("PostgreSQL's log says how the embedded server fares.")
					: errhint("Check the option \"nodes\" of the server, and that it "
							  "runs."));
	/* Of a write whose outcome is known: a server has answered, again and again. */
	if (subject->write)
		ereport(ERROR, errcode(ERRCODE_CONNECTION_FAILURE),
				errmsg("%s could not be done by server \"%s\" in time",
					   show_action(subject), connection->name),
				say_cause(error), errhint("Nothing was done: try it again."));
	ereport(ERROR, errcode(ERRCODE_CONNECTION_FAILURE),
			errmsg("connection to server \"%s\" was lost during %s", connection->name,
				   show_action(subject)),
			say_cause(error));
}

static void
raise_deadline(const norikv_error *error, const NorikvSubject *subject)
{
	ereport(ERROR, errcode(ERRCODE_NORIKV_READ_TIMEOUT),
			errmsg("%s on server \"%s\" took longer than %d ms", show_action(subject),
				   subject->connection->name, subject->connection->settings.timeout),
			say_cause(error),
			errhint("The limit is the option \"timeout\" of the server."));
}

/* What is left: one SQLSTATE each, and the server's words. */
static void
raise_other(const norikv_error *error, const NorikvSubject *subject)
{
	const char *server = subject->connection->name;
	char *action = show_action(subject);

	switch (error->code)
	{
		case NORIKV_UNIMPLEMENTED:
			ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("server \"%s\" does not support %s", server,
						   NorikvOperationName(subject->operation)),
					say_cause(error));
			break;
		case NORIKV_UNAUTHENTICATED:
			ereport(ERROR, errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
					errmsg("server \"%s\" refused the credentials", server),
					say_cause(error),
					errhint("They are the option \"token\" of the user mapping."));
			break;
		case NORIKV_PERMISSION_DENIED:
			ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("server \"%s\" did not permit %s", server, action),
					say_cause(error));
			break;
		case NORIKV_INVALID_ARGUMENT:
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("server \"%s\" did not accept %s", server, action),
					say_cause(error));
			break;
		case NORIKV_OUT_OF_RANGE:
			ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("%s is too large for server \"%s\"", action, server),
					say_cause(error));
			break;
		case NORIKV_RESOURCE_EXHAUSTED:
			ereport(ERROR, errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					error->quota_exceeded
					? errmsg("%s exceeds a quota of server \"%s\"", action, server)
					: errmsg("%s exceeds a limit of server \"%s\"", action, server),
					say_cause(error));
			break;
		case NORIKV_NOT_FOUND:
			ereport(ERROR, errcode(ERRCODE_NO_DATA_FOUND),
					errmsg("%s found nothing on server \"%s\"", action, server),
					say_cause(error));
			break;
		case NORIKV_ABORTED:
			ereport(ERROR, errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("%s was aborted by server \"%s\"", action, server),
					say_cause(error));
			break;
		case NORIKV_DATA_LOSS:
			ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("server \"%s\" reports lost data in %s", server, action),
					say_cause(error));
			break;
		default:
			ereport(ERROR, errcode(ERRCODE_FDW_ERROR),
					errmsg("%s failed on server \"%s\"", action, server),
					say_cause(error));
	}
}

bool
NorikvIsUnmetCondition(const norikv_error *error)
{
	return !error->outcome_unknown &&
		   (error->version_mismatch || error->code == NORIKV_FAILED_PRECONDITION ||
			error->code == NORIKV_ALREADY_EXISTS);
}

void
NorikvRaise(const norikv_error *error, const NorikvSubject *subject)
{
	if (error->outcome_unknown)
		raise_unknown_outcome(error, subject);
	if (NorikvIsUnmetCondition(error))
		raise_unmet_condition(error, subject);
	if (error->code == NORIKV_UNAVAILABLE || error->code == NORIKV_CANCELLED ||
		(error->code == NORIKV_DEADLINE_EXCEEDED && error->never_sent))
		raise_unreachable(error, subject);
	if (error->code == NORIKV_DEADLINE_EXCEEDED)
	{
		/* A write that was sent is never known to be undone by its deadline. */
		if (subject->write)
			raise_unknown_outcome(error, subject);
		raise_deadline(error, subject);
	}
	raise_other(error, subject);
	pg_unreachable();
}

void
NorikvRaiseResult(const norikv_operation_result *result, const NorikvSubject *subject)
{
	norikv_error error = {.code = result->code,
						  .outcome_unknown = result->outcome_unknown,
						  .version_mismatch = result->version_mismatch,
						  .quota_exceeded = result->quota_exceeded,
						  .present = result->version,
						  .operation = -1};

	strlcpy(error.text, result->text ? result->text : "", sizeof(error.text));
	NorikvRaise(&error, subject);
}

/*
 * The errors of a cancel and of a shutdown are PostgreSQL's own: all that can be
 * added is what it meant for the write that was under way.
 */
void
NorikvWriteInterrupted(void *arg)
{
	const NorikvSubject *subject = arg;
	int code = geterrcode();

	if (code != ERRCODE_QUERY_CANCELED && code != ERRCODE_ADMIN_SHUTDOWN)
		return;
	errdetail("The %s on server \"%s\" may have been applied, or may be yet.",
			  show_action(subject), subject->connection->name);
}
