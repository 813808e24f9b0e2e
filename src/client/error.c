/*
 * error.c - errors: what failed, where, and what is known about the outcome.
 */
#include "internal.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
nk_error_clear(norikv_error *error)
{
	/* node and text are left as they are but for their first bytes */
	memset(error, 0, offsetof(norikv_error, node));
	error->operation = -1;
	error->node[0] = '\0';
	error->text[0] = '\0';
}

void
nk_error_set(norikv_error *error, norikv_code code, const char *format, ...)
{
	va_list		args;

	nk_error_clear(error);
	error->code = code;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
}

static const char *
code_name(norikv_code code)
{
	static const char *const names[] = {
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED",
		"NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
		"FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
		"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"
	};

	return (unsigned) code < sizeof(names) / sizeof(names[0]) ? names[code] : "UNKNOWN";
}

const char *
nk_show_key(char *out, size_t out_size, norikv_slice key)
{
	const unsigned char *bytes = key.data;
	char	   *at = out;
	const char *end = out + out_size - sizeof("\\x00\"...");

	*at++ = '"';
	for (size_t i = 0; i < key.size; i++)
	{
		if (at >= end)
		{
			strcpy(at, "\"...");
			return out;
		}
		if (bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '"' && bytes[i] != '\\')
			*at++ = bytes[i];
		else
			at += sprintf(at, "\\x%02x", bytes[i]);
	}
	strcpy(at, "\"");
	return out;
}

/* "1/2", or "absent" */
static bool
parse_version(const char **text, norikv_version *version)
{
	char	   *end;

	version->term = version->index = 0;
	if (strncmp(*text, WORDS_ABSENT, strlen(WORDS_ABSENT)) == 0)
	{
		*text += strlen(WORDS_ABSENT);
		return true;
	}
	if (!isdigit((unsigned char) **text))
		return false;
	version->term = strtoull(*text, &end, 10);
	if (*end != '/' || !isdigit((unsigned char) end[1]))
		return false;
	version->index = strtoull(end + 1, &end, 10);
	*text = end;
	return true;
}

/*
 * Our server's words are "Version mismatch: expected 1/2, present 1/3". Others
 * begin alike, or with "CAS failed", and spell versions in their own way:
 * then it is known to be a mismatch, and of what is not.
 */
void
nk_error_parse_mismatch(norikv_error *error, const char *text, size_t size)
{
	static const char prefix[] = WORDS_MISMATCH;
	static const char other_prefix[] = "CAS failed";
	char		copy[256];
	const char *at;

	if (size > sizeof(copy) - 1)
		size = sizeof(copy) - 1;
	if (size > 0)
		memcpy(copy, text, size);
	copy[size] = '\0';
	error->version_mismatch = strncmp(copy, prefix, sizeof(prefix) - 1) == 0 ||
		strncmp(copy, other_prefix, sizeof(other_prefix) - 1) == 0;
	if (!error->version_mismatch)
		return;
	at = strstr(copy, WORDS_MISMATCH_EXPECTED);
	if (at == NULL)
		return;
	at += strlen(WORDS_MISMATCH_EXPECTED);
	if (!parse_version(&at, &error->expected) ||
		strncmp(at, WORDS_MISMATCH_PRESENT, strlen(WORDS_MISMATCH_PRESENT)) != 0)
		return;
	at += strlen(WORDS_MISMATCH_PRESENT);
	parse_version(&at, &error->present);
}

bool
nk_is_quota(norikv_code code, const char *text, size_t size)
{
	return code == NORIKV_RESOURCE_EXHAUSTED && size >= strlen(WORDS_QUOTA) &&
		memcmp(text, WORDS_QUOTA, strlen(WORDS_QUOTA)) == 0;
}

static bool
is_size_complaint(const char *text, size_t size)
{
	return memmem(text, size, "message length too large", 24) != NULL ||
		memmem(text, size, "message larger than max", 23) != NULL;
}

/* Codes after which nobody knows whether a write took effect. */
static bool
tells_nothing(norikv_code code)
{
	return code == NORIKV_INTERNAL || code == NORIKV_UNKNOWN ||
		code == NORIKV_CANCELLED || code == NORIKV_DEADLINE_EXCEEDED ||
		code == NORIKV_DATA_LOSS;
}

/*
 * A refusal after an attempt that was lost: on a server that stores idempotency
 * keys with the data it speaks for both, as it would have answered the second
 * like the first had that been applied. On another one the first may stand.
 */
static bool
answers_for_all(const nk_rpc *rpc, nk_verdict verdict)
{
	return verdict == NK_VERDICT_DONE && rpc->node->abilities.known == NK_YES;
}

static void
describe(nk_rpc *rpc, const char *text, size_t size)
{
	norikv_error *error = &rpc->error;
	const char *method = strrchr(nk_method_paths[rpc->type->method], '/') + 1;
	char		key[100];

	int			used;

	snprintf(error->node, sizeof(error->node), "%s", rpc->node->address.name);
	if (rpc->key.size > 0)
		used = snprintf(error->text, sizeof(error->text), "%s of %s on %s: %s: ", method,
						nk_show_key(key, sizeof(key), nk_own_key(rpc->client, rpc->key)),
						error->node, code_name(error->code));
	else
		used = snprintf(error->text, sizeof(error->text), "%s on %s: %s: ", method,
						error->node, code_name(error->code));
	rpc->detail = error->text + used;
	snprintf(error->text + used, sizeof(error->text) - used, "%.*s", (int) size, text);
	nk_strip_text(rpc->client, error->text + used);
}

void
nk_error_from_status(nk_rpc *rpc, nk_verdict verdict)
{
	norikv_error *error = &rpc->error;
	const char *text = (const char *) GRPC_SLICE_START_PTR(rpc->details);
	size_t		size = GRPC_SLICE_LENGTH(rpc->details);
	bool		write = rpc->type->write;

	nk_error_clear(error);
	error->code = (norikv_code) rpc->status;
	if (rpc->status < 0 || rpc->status > GRPC_STATUS_UNAUTHENTICATED)
		error->code = NORIKV_UNKNOWN;
	if (rpc->garbage)
	{
		static const char unreadable[] = "the server's answer could not be read";

		error->code = NORIKV_INTERNAL;
		error->outcome_unknown = write;
		describe(rpc, unreadable, sizeof(unreadable) - 1);
		return;
	}
	if (rpc->timed_out)
	{
		static const char silent[] = "no answer in time";

		error->code = NORIKV_DEADLINE_EXCEEDED;
		text = silent;
		size = sizeof(silent) - 1;
	}
	if (error->code == NORIKV_FAILED_PRECONDITION)
		nk_error_parse_mismatch(error, text, size);
	error->quota_exceeded = nk_is_quota(error->code, text, size);
	if (error->code == NORIKV_OUT_OF_RANGE && is_size_complaint(text, size))
		error->code = NORIKV_RESOURCE_EXHAUSTED;
	error->outcome_unknown = write &&
		(verdict == NK_VERDICT_LOST || tells_nothing(error->code) ||
		 (rpc->maybe_applied && !answers_for_all(rpc, verdict)));
	error->retriable = verdict != NK_VERDICT_DONE && !error->outcome_unknown;
	describe(rpc, text, size);
}

void
nk_error_share(nk_rpc *member, const nk_rpc *carrier)
{
	const norikv_error *from = &carrier->error;
	const char *detail = carrier->detail != NULL ? carrier->detail : from->text;

	memcpy(&member->error, from, offsetof(norikv_error, node));
	describe(member, detail, strlen(detail));
}

void
nk_error_unreachable(nk_rpc *rpc, const char *why)
{
	norikv_error *error = &rpc->error;

	/* what an earlier attempt heard says more */
	if (rpc->attempts > 0 && error->code != NORIKV_OK)
		return;
	if (why == NULL)
	{
		/* and so does a reason, than that time is up */
		if (error->never_sent)
			return;
		why = "no connection in time";
	}
	nk_error_clear(error);
	error->code = NORIKV_UNAVAILABLE;
	error->never_sent = true;
	error->retriable = true;
	describe(rpc, why, strlen(why));
}
