/*
 * transfer.c - POST by libcurl: several at a time, with retries, and a cancel that
 * comes back at once.
 *
 * What must hold:
 * - libcurl starts threads to resolve names. A thread inherits the mask of its creator,
 *   so signals are blocked whenever libcurl works: see NorikvBlockSignals.
 * - Nothing of libcurl's outlives an error: handles are closed by the reset of a memory
 *   context. What its callbacks write to is malloc'ed, for they must not throw.
 * - The key is in one header, and what a service says is shown only after the key was
 *   looked for in it. Redirects are not followed: they would take the key, and the
 *   texts, to where nobody sent them.
 */
#include "vector/embedder.h"

#include <curl/curl.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "vector/transfer.h"

/* Requests under way at a time. */
#define MAX_ACTIVE 4
/* Of one answer. The longest that is right: 32 vectors of 4,096 numbers. */
#define MAX_ANSWER (16 * 1024 * 1024)
/* How long signals stay blocked in a wait, in milliseconds. */
#define SLICE_MS 10
#define MAX_CONNECT_MS 10000
/* Tries after the first, where the service does not say when to come again. */
#define MAX_RETRIES 4
#define FIRST_BACKOFF_MS 250
#define MAX_BACKOFF_MS 8000

typedef struct Transfer
{
	NorikvPost *post; /* NULL: this place is free */
	CURL *easy;		  /* NULL: not under way */
	int tries;
	int64 deadline; /* milliseconds of now_ms(), as the next one */
	int64 resume_at;
	char *answer; /* malloc'ed */
	size_t size;
	size_t allocated;
	bool too_large;
	char error[CURL_ERROR_SIZE];
} Transfer;

typedef struct Transfers
{
	const NorikvEmbedderOptions *options;
	struct curl_slist *headers;
	bool direct; /* this machine's own: through no proxy */
	Transfer places[MAX_ACTIVE];
	int n_active; /* places that are not free */
	MemoryContextCallback cleanup;
} Transfers;

/* Keeps connections between calls: a handshake can take longer than an answer. */
static CURLM *multi = NULL;

static int64
now_ms(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

/* ---- Beginning and end ---- */

static void
raise_no_memory(void)
{
	ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY),
			errmsg("not enough memory for a request to the embedding service"));
}

/* In a backend, at its first request: never in the postmaster. */
static void
start_curl(void)
{
	static bool initialized = false;
	sigset_t saved;

	NorikvBlockSignals(&saved);
	if (!initialized)
		initialized = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	if (initialized && multi == NULL)
	{
		multi = curl_multi_init();
		if (multi != NULL)
			curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) MAX_ACTIVE);
	}
	NorikvRestoreSignals(&saved);
	if (multi == NULL)
		raise_no_memory();
}

/* Never throws. */
static void
close_transfer(Transfer *transfer)
{
	sigset_t saved;

	if (transfer->easy == NULL)
		return;
	NorikvBlockSignals(&saved);
	curl_multi_remove_handle(multi, transfer->easy);
	curl_easy_cleanup(transfer->easy);
	NorikvRestoreSignals(&saved);
	transfer->easy = NULL;
}

static void
clear_answer(Transfer *transfer)
{
	free(transfer->answer);
	transfer->answer = NULL;
	transfer->size = transfer->allocated = 0;
	transfer->too_large = false;
	transfer->error[0] = '\0';
}

static void
clean_up(void *arg)
{
	Transfers *transfers = arg;

	for (int i = 0; i < MAX_ACTIVE; i++)
	{
		close_transfer(&transfers->places[i]);
		clear_answer(&transfers->places[i]);
	}
	curl_slist_free_all(transfers->headers);
	transfers->headers = NULL;
}

static void
add_header(Transfers *transfers, const char *header)
{
	struct curl_slist *headers = curl_slist_append(transfers->headers, header);

	if (headers == NULL)
		raise_no_memory();
	transfers->headers = headers;
}

/* In a context of its own, whose reset cleans up. */
static Transfers *
make_transfers(const NorikvEmbedderOptions *options)
{
	Transfers *transfers = palloc0(sizeof(Transfers));
	char *host;
	char *port;
	bool secure;

	NorikvSplitUrl(options->url, &host, &port, &secure);
	transfers->direct = NorikvIsLoopback(host);
	transfers->options = options;
	transfers->cleanup.func = clean_up;
	transfers->cleanup.arg = transfers;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &transfers->cleanup);
	add_header(transfers, "Content-Type: application/json");
	add_header(transfers, "Accept: application/json");
	add_header(transfers, "Expect:");
	if (options->api_key != NULL)
	{
		char *header = psprintf("Authorization: Bearer %s", options->api_key);

		add_header(transfers, header);
		explicit_bzero(header, strlen(header));
	}
	return transfers;
}

/* ---- One request ---- */

/* Called by libcurl: takes all or, returning something else, gives up. */
static size_t
take_bytes(char *bytes, size_t size, size_t count, void *arg)
{
	Transfer *transfer = arg;
	size_t n = size * count;

	if (transfer->size + n > MAX_ANSWER)
	{
		transfer->too_large = true;
		return 0;
	}
	if (transfer->size + n > transfer->allocated)
	{
		size_t allocated = Max(transfer->allocated * 2, transfer->size + n);
		char *grown = realloc(transfer->answer, allocated);

		if (grown == NULL)
			return 0;
		transfer->answer = grown;
		transfer->allocated = allocated;
	}
	memcpy(transfer->answer + transfer->size, bytes, n);
	transfer->size += n;
	return n;
}

static void
set_limits(CURL *easy, int64 left)
{
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) left);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) Min(left, MAX_CONNECT_MS));
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	/* Or the end of a request would wait for the resolver of its host's name. */
#if LIBCURL_VERSION_NUM >= 0x075700
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

static void
start_transfer(Transfers *transfers, Transfer *transfer)
{
	int64 left = Max(transfer->deadline - now_ms(), 1);
	CURLMcode code = CURLM_OUT_OF_MEMORY;
	sigset_t saved;
	CURL *easy;

	clear_answer(transfer);
	transfer->tries++;
	NorikvBlockSignals(&saved);
	easy = transfer->easy = curl_easy_init();
	if (easy != NULL)
	{
		set_limits(easy, left);
		curl_easy_setopt(easy, CURLOPT_URL, transfers->options->url);
		if (transfers->direct)
			curl_easy_setopt(easy, CURLOPT_PROXY, "");
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfers->headers);
		curl_easy_setopt(easy, CURLOPT_USERAGENT, "norikv/" NORIKV_EXTVERSION);
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->post->body);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
						 (curl_off_t) transfer->post->body_size);
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_bytes);
		curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
		curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
		curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
		code = curl_multi_add_handle(multi, easy);
	}
	NorikvRestoreSignals(&saved);
	if (code != CURLM_OK)
		raise_no_memory();
}

/* ---- How it ended ---- */

static bool
is_transient(const Transfer *transfer, CURLcode code, long status)
{
	switch (code)
	{
		case CURLE_OK:
			return status == 429 || status >= 500;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_CONNECT:
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_GOT_NOTHING:
		case CURLE_PARTIAL_FILE:
		case CURLE_OPERATION_TIMEDOUT:
			return now_ms() < transfer->deadline;
		default:
			return false;
	}
}

/*
 * When to try again; false: not any more. A service that names a time is believed, for
 * it knows its limits; one that fails is not asked for ever.
 */
static bool
plan_retry(Transfer *transfer, CURLcode code, long status, int64 retry_after_ms)
{
	int64 range = Min((int64) FIRST_BACKOFF_MS << (transfer->tries - 1), MAX_BACKOFF_MS);
	int64 pause = range / 2 +
				  (int64) (pg_prng_double(&pg_global_prng_state) * (range / 2));

	if (!is_transient(transfer, code, status))
		return false;
	if (retry_after_ms > 0)
		pause = Max(pause, retry_after_ms);
	else if (transfer->tries > MAX_RETRIES)
		return false;
	transfer->resume_at = now_ms() + pause;
	return transfer->resume_at < transfer->deadline;
}

/* Gives the vectors on, plans another try, or raises. */
static void
finish_transfer(Transfers *transfers, Transfer *transfer, CURLcode code)
{
	curl_off_t retry_after = 0;
	NorikvFailure failure = {.code = code};

	if (code == CURLE_OK)
		curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &failure.status);
	curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after);
	close_transfer(transfer);
	if (code == CURLE_OK && failure.status == 200)
	{
		transfer->post->answered(transfer->post, transfer->answer, transfer->size);
		clear_answer(transfer);
		pfree(transfer->post->body);
		transfer->post = NULL;
		transfers->n_active--;
		return;
	}
	retry_after = Min(retry_after, 24 * 60 * 60);
	if (plan_retry(transfer, code, failure.status, retry_after * 1000))
		return;
	failure.words = transfer->error;
	failure.body = transfer->answer;
	failure.body_size = transfer->size;
	failure.too_large = transfer->too_large;
	failure.retry_after = retry_after;
	NorikvRaiseFailure(transfers->options, &failure);
}

static void
finish_transfers(Transfers *transfers)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		Transfer *transfer = NULL;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		finish_transfer(transfers, transfer, code);
	}
}

/* ---- All of them ---- */

static void
await_slice(void)
{
	sigset_t saved;
	int running;

	pgstat_report_wait_start(PG_WAIT_EXTENSION);
	NorikvBlockSignals(&saved);
	(void) curl_multi_perform(multi, &running);
	(void) curl_multi_poll(multi, NULL, 0, SLICE_MS, NULL);
	(void) curl_multi_perform(multi, &running);
	NorikvRestoreSignals(&saved);
	pgstat_report_wait_end();
	CHECK_FOR_INTERRUPTS();
	if (!PostmasterIsAlive())
		proc_exit(1);
}

static void
start_what_can(Transfers *transfers, NorikvPost *posts, int n_posts, int *next)
{
	int64 now = now_ms();

	for (int i = 0; i < MAX_ACTIVE; i++)
	{
		Transfer *transfer = &transfers->places[i];

		if (transfer->post == NULL && *next < n_posts)
		{
			transfer->post = &posts[(*next)++];
			transfer->post->prepare(transfer->post);
			transfer->tries = 0;
			transfer->resume_at = 0;
			transfer->deadline = now + transfers->options->timeout;
			transfers->n_active++;
		}
		if (transfer->post != NULL && transfer->easy == NULL &&
			transfer->resume_at <= now)
			start_transfer(transfers, transfer);
	}
}

void
NorikvPostAll(const NorikvEmbedderOptions *options, NorikvPost *posts, int n_posts)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "norikv requests", ALLOCSET_SMALL_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	Transfers *transfers;
	int next = 0;

	start_curl();
	transfers = make_transfers(options);
	MemoryContextSwitchTo(old_context);
	do
	{
		start_what_can(transfers, posts, n_posts, &next);
		await_slice();
		finish_transfers(transfers);
	} while (next < n_posts || transfers->n_active > 0);
	MemoryContextDelete(context);
}
