/*
 * transfer_error.c - what is said of a request to an embedding service that failed.
 *
 * Services repeat the key that they refuse, whole or in part. What they say is shown
 * where it helps, after everything in it that stands in the key was blotted out; to
 * credentials that were refused it is not shown at all.
 */
#include "vector/transfer.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

/* Of a long answer the beginning is looked at, and of that the beginning shown. */
#define READ_BYTES 4096
#define SHOWN_BYTES 300
/* So many characters of the key in a row are a part of it, and no chance. */
#define KEY_PART 6

/* Whether some part of the key of that length starts the text. */
static bool
starts_with_part(const char *text, const char *key, size_t key_size, size_t part)
{
	for (size_t i = 0; i + part <= key_size; i++)
	{
		if (strncmp(text, key + i, part) == 0)
			return true;
	}
	return false;
}

static void
blot_out(char *text, const char *key)
{
	size_t key_size = strlen(key);
	size_t part = Min(key_size, KEY_PART);
	size_t size = strlen(text);
	bool *covered = palloc0(size + 1);

	for (size_t i = 0; i + part <= size; i++)
	{
		if (starts_with_part(text + i, key, key_size, part))
			memset(covered + i, true, part);
	}
	for (size_t i = 0; i < size; i++)
	{
		if (covered[i])
			text[i] = '*';
	}
	pfree(covered);
}

/* Blotted out before it is cut: a part of the key must not stay as too short for one. */
static char *
shown(const NorikvEmbedderOptions *options, const char *bytes, size_t size)
{
	char *text = pnstrdup(bytes, Min(size, READ_BYTES));

	if (options->api_key != NULL)
		blot_out(text, options->api_key);
	text = NorikvTextForMessage(text);
	if (strlen(text) > SHOWN_BYTES)
		strcpy(text + pg_mbcliplen(text, strlen(text), SHOWN_BYTES), "...");
	return text;
}

static int
say_answer(const NorikvEmbedderOptions *options, const NorikvFailure *failure)
{
	if (failure->body_size == 0)
		return errdetail("It answered with status %ld.", failure->status);
	return errdetail("It answered with status %ld: %s", failure->status,
					 shown(options, failure->body, failure->body_size));
}

static void
raise_status(const NorikvEmbedderOptions *options, const NorikvFailure *failure)
{
	const char *server = options->server;
	long status = failure->status;

	if (status == 401 || status == 403)
		ereport(ERROR, errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				errmsg("embedding service of server \"%s\" refused the credentials",
					   server),
				errdetail("It answered with status %ld.", status),
				options->api_key != NULL
					? errhint("They are the option \"embedding_api_key\" of the user "
							  "mapping.")
					: errhint("There are none: add the option \"embedding_api_key\" to "
							  "the user mapping."));
	if (status == 429)
		ereport(ERROR, errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("embedding service of server \"%s\" limits the rate of requests",
					   server),
				say_answer(options, failure),
				failure->retry_after > 0
					? errhint("It asks to come again in %ld seconds, which is longer "
							  "than the option \"embedding_timeout\" allows.",
							  failure->retry_after)
					: errhint("Try again later, or with fewer texts."));
	if (status >= 300 && status < 400)
		ereport(ERROR, errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				errmsg("embedding service of server \"%s\" is somewhere else", server),
				errdetail("It answered with status %ld. Redirects are not followed.",
						  status),
				errhint("Set the option \"embedding_url\" to where it is."));
	ereport(ERROR, errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			errmsg("embedding service of server \"%s\" failed", server),
			say_answer(options, failure));
}

/* What libcurl says names the host, never a header. */
static char *
curl_words(const NorikvEmbedderOptions *options, const NorikvFailure *failure)
{
	const char *words = failure->words;

	if (words == NULL || words[0] == '\0')
		words = curl_easy_strerror(failure->code);
	return shown(options, words, strlen(words));
}

static bool
never_connected(CURLcode code)
{
	switch (code)
	{
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_GOT_NOTHING:
		case CURLE_PARTIAL_FILE:
			return false;
		default:
			return true;
	}
}

void
NorikvRaiseFailure(const NorikvEmbedderOptions *options, const NorikvFailure *failure)
{
	const char *server = options->server;

	if (failure->too_large)
		ereport(ERROR, errcode(ERRCODE_PROTOCOL_VIOLATION),
				errmsg("answer of the embedding service of server \"%s\" is too large",
					   server));
	if (failure->code == CURLE_OK)
		raise_status(options, failure);
	if (failure->code == CURLE_OPERATION_TIMEDOUT)
		ereport(ERROR, errcode(ERRCODE_NORIKV_READ_TIMEOUT),
				errmsg("embedding service of server \"%s\" took longer than %d ms",
					   server, options->timeout),
				errdetail("%s", curl_words(options, failure)),
				errhint("The limit is the option \"embedding_timeout\"."));
	if (!never_connected(failure->code))
		ereport(ERROR, errcode(ERRCODE_CONNECTION_FAILURE),
				errmsg("connection to the embedding service of server \"%s\" was lost",
					   server),
				errdetail("%s", curl_words(options, failure)));
	ereport(ERROR, errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
			errmsg("could not connect to the embedding service of server \"%s\"",
				   server),
			errdetail("%s", curl_words(options, failure)),
			errhint("Check the option \"embedding_url\"."));
}
