/*
 * retry.c - what follows an attempt.
 *
 * Every request can be repeated safely: a read because it is one, a write
 * because it carries an idempotency key. What must be told apart is what a status
 * says about the write: executed, refused, or nothing at all. gRPC reports a lost
 * connection with the same codes a server uses, and its client library fakes the
 * trailers of such a status, so that "error received from peer" proves nothing. The
 * texts decide, then, and trailing metadata, the one thing that only a server can
 * have sent. What is not known to be a refusal counts as lost.
 */
#include "internal.h"

static bool
says(const char *text, size_t size, const char *words)
{
	return memmem(text, size, words, strlen(words)) != NULL;
}

/* HTTP/2 or the transport ended the call, not the application behind it. */
static bool
is_transport(const char *text, size_t size)
{
	return says(text, size, "RST_STREAM") || says(text, size, "GOAWAY") ||
		says(text, size, "Stream removed") || says(text, size, "too_many_pings") ||
		says(text, size, "ENHANCE_YOUR_CALM") || says(text, size, "http2");
}

/*
 * UNAVAILABLE is what gRPC itself says of a connection that broke, and also what a
 * server says that has executed nothing, or one that does not know itself. Only
 * words that are known to mean a refusal count as one.
 */
static nk_verdict
judge_unavailable(const char *text, size_t size)
{
	static const char *const refusals[] = {
		/* NoriKV's own server */
		WORDS_NOT_LEADER,
		/* norikvd */
		WORDS_NOTHING_DONE, WORDS_NOTHING_WRITTEN, WORDS_SHUTTING_DOWN, WORDS_TRY_AGAIN,
		/* gRPC, where a channel that was READY a moment ago no longer is */
		"failed to connect to all addresses", "DNS resolution failed"
	};

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
	{
		if (says(text, size, refusals[i]))
			return NK_VERDICT_REFUSED;
	}
	return NK_VERDICT_LOST;
}

nk_verdict
nk_judge(grpc_status_code status, const char *text, size_t size, bool from_server)
{
	/* norikvd, whatever the code */
	if (status != GRPC_STATUS_OK && says(text, size, WORDS_OUTCOME_UNKNOWN))
		return NK_VERDICT_LOST;
	switch (status)
	{
		case GRPC_STATUS_UNAVAILABLE:
			return judge_unavailable(text, size);
		case GRPC_STATUS_CANCELLED:
		case GRPC_STATUS_DEADLINE_EXCEEDED:
			/* also a server's "Timeout expired", after which the write may stand */
			return NK_VERDICT_LOST;
		case GRPC_STATUS_INTERNAL:
			if (says(text, size, "CommitTimeout"))
				return NK_VERDICT_LOST;
			/* FALLTHROUGH */
		case GRPC_STATUS_UNKNOWN:
		case GRPC_STATUS_RESOURCE_EXHAUSTED:
			if (!from_server && is_transport(text, size))
				return NK_VERDICT_LOST;
			return NK_VERDICT_DONE;
		default:
			return NK_VERDICT_DONE;
	}
}

nk_time
nk_backoff(uint32_t n, uint64_t random)
{
	nk_time		full = NK_BACKOFF_LARGEST_MS * 1000;

	if (n < 7)
		full = (nk_time) NK_BACKOFF_FIRST_MS * 2000 << n;
	if (full > NK_BACKOFF_LARGEST_MS * 1000)
		full = NK_BACKOFF_LARGEST_MS * 1000;
	return full / 2 + (nk_time) (random % (uint64_t) (full / 2 + 1));
}

/* Another try: on the next node at once, or after a pause when all had their turn. */
static void
try_again(nk_rpc *rpc)
{
	norikv_client *client = rpc->client;
	uint32_t	nodes = rpc->pinned ? 1 : client->n_nodes;
	nk_time		now = nk_now();
	nk_time		pause = 0;

	rpc->tries++;
	if (rpc->tries >= nodes)
		pause = nk_backoff(rpc->tries / nodes - 1, nk_random(client));
	if (rpc->once || (!rpc->endless && rpc->tries > client->options.max_retries) ||
		now + pause >= rpc->deadline)
	{
		nk_rpc_end(rpc);
		return;
	}
	if (!rpc->pinned)
		rpc->node = nk_route_next(client, rpc->node);
	/* also without a pause: a chain of failures must not become recursion */
	rpc->state = NK_RPC_BACKOFF;
	if (!nk_timer_set(&client->timers, &rpc->timer, now + pause))
		nk_rpc_end(rpc);
}

/*
 * A connection on which one attempt after another gets no answer may be one whose
 * other end is gone without a word; over TCP that can take minutes to show.
 */
void
nk_note_silence(nk_rpc *rpc)
{
	nk_node    *node = rpc->node;

	if (rpc->status != GRPC_STATUS_DEADLINE_EXCEEDED && !rpc->timed_out)
		node->silent = 0;
	else if (++node->silent >= 2 && !node->address.local)
		nk_node_reconnect(node);
}

nk_verdict
nk_attempt_verdict(const nk_rpc *rpc)
{
	if (rpc->garbage)
		return NK_VERDICT_DONE;
	if (rpc->timed_out)
		return NK_VERDICT_LOST;
	return nk_judge(rpc->status, (const char *) GRPC_SLICE_START_PTR(rpc->details),
					GRPC_SLICE_LENGTH(rpc->details), rpc->from_server);
}

void
nk_retry_after_attempt(nk_rpc *rpc)
{
	nk_verdict	verdict = nk_attempt_verdict(rpc);

	if (verdict == NK_VERDICT_LOST)
		rpc->maybe_applied = true;
	if (rpc->status == GRPC_STATUS_OK && !rpc->garbage)
	{
		nk_error_clear(&rpc->error);
		nk_route_answered(rpc->client, rpc->node);
	}
	else
		nk_error_from_status(rpc, verdict);
	nk_rpc_drop_attempt(rpc);
	if (verdict == NK_VERDICT_DONE)
		nk_rpc_end(rpc);
	else
		try_again(rpc);
}

void
nk_retry_stream(nk_rpc *rpc)
{
	nk_error_from_status(rpc, nk_attempt_verdict(rpc));
	nk_rpc_drop_attempt(rpc);
	try_again(rpc);
}

void
nk_retry_unreachable(nk_rpc *rpc, const char *why)
{
	nk_error_unreachable(rpc, why);
	try_again(rpc);
}
