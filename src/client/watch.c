/*
 * watch.c - Watch: pages of changes, for ever.
 *
 * The page is with the reader, and nothing more is asked for before it comes back.
 * A stream that breaks goes on from the last version that was known, on whatever
 * server answers; where that one's history is another, it says reset.
 */
#include "internal.h"

typedef struct watch_call
{
	norikv_call call;
	nk_rpc		rpc;
	norikv_changes page;
	bool		counted;		/* among the client's watches */
	bool		begun;			/* it was told from where on it watches */
	bool		held;			/* the stream broke while the page was with the reader */
	bool		ended;
	norikv_slice start;			/* full, in bounds */
	norikv_slice end;
	norikv_version after;		/* where the next attempt begins */
	uint64_t	history;
	uint32_t	heartbeat_ms;
	char		bounds[];
} watch_call;

norikv_slice
norikv_key_end(norikv_slice key, char end[NORIKV_WATCH_END_SIZE])
{
	size_t		size = key.size <= NORIKV_MAX_KEY ? key.size : NORIKV_MAX_KEY;

	if (size > 0)
		memcpy(end, key.data, size);
	end[size] = '\0';
	return (norikv_slice) {end, size + 1};
}

static grpc_byte_buffer *
pack_request(const watch_call *watch)
{
	Norikv__Ext__V1__WatchRequest request = NORIKV__EXT__V1__WATCH_REQUEST__INIT;
	Norikv__V1__Version after = NORIKV__V1__VERSION__INIT;

	request.start.data = (uint8_t *) watch->start.data;
	request.start.len = watch->start.size;
	request.end.data = (uint8_t *) watch->end.data;
	request.end.len = watch->end.size;
	after.term = watch->after.term;
	after.index = watch->after.index;
	if (after.term != 0 || after.index != 0)
		request.after = &after;
	request.history = watch->history;
	request.heartbeat_ms = watch->heartbeat_ms;
	return wire_pack(&request.base);
}

static bool
watch_prepare(nk_rpc *rpc)
{
	if (rpc->attempts > 0)
	{
		grpc_byte_buffer_destroy(rpc->request);
		rpc->request = pack_request((watch_call *) rpc->call);
	}
	return true;
}

/* ---- Pages ---- */

/* What is of the client's part, and told to it in its own words. */
static bool
take_change(const watch_call *watch, const Norikv__Ext__V1__Change *from,
			norikv_change *change)
{
	*change = (norikv_change) {
		.kind = (norikv_change_kind) from->kind,
		.key = nk_bytes(from->key),
		.end_key = nk_bytes(from->end_key),
		.version = {from->version_term, from->version_index},
	};
	if (change->kind == NORIKV_WATCH_DELETE_RANGE)
		return nk_strip_range(watch->call.client, &change->key, &change->end_key);
	return nk_strip_key(watch->call.client, &change->key);
}

static bool
fill(watch_call *watch, const Norikv__Ext__V1__WatchChunk *chunk)
{
	norikv_change *changes;
	size_t		n = 0;

	changes = wire_arena_alloc(&watch->call.arena,
							   chunk->n_changes * sizeof(*changes) + 1);
	if (changes == NULL)
		return false;
	for (size_t i = 0; i < chunk->n_changes; i++)
	{
		if (take_change(watch, chunk->changes[i], &changes[n]))
			n++;
	}
	watch->page = (norikv_changes) {
		.changes = changes,
		.n_changes = n,
		.known = {chunk->known_term, chunk->known_index},
		.history = chunk->history,
		.reset = chunk->reset,
		.current = chunk->current,
	};
	return true;
}

static void
show(watch_call *watch)
{
	watch->begun = true;
	watch->rpc.paused = true;
	watch->call.changes = &watch->page;
	watch->call.done = true;
}

static bool
watch_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	watch_call *watch = (watch_call *) rpc->call;
	Norikv__Ext__V1__WatchChunk *chunk;

	chunk = wire_unpack(&norikv__ext__v1__watch_chunk__descriptor, &watch->call.arena,
						message);
	if (chunk == NULL || !fill(watch, chunk))
		return false;
	watch->after = watch->page.known;
	watch->history = watch->page.history;
	watch->call.watching = true;
	/* from here on it lasts, and each attempt that gets as far begins anew to count */
	rpc->deadline = NK_NEVER;
	rpc->endless = true;
	rpc->tries = 0;
	if (!watch->begun || watch->page.reset || watch->page.n_changes > 0 ||
		watch->heartbeat_ms > 0)
		show(watch);
	else
		wire_arena_free(&watch->call.arena);	/* it goes on where it was */
	return true;
}

/* ---- The stream's end ---- */

/* What no further attempt would change. */
static bool
is_refused(const nk_rpc *rpc)
{
	if (rpc->garbage || rpc->timed_out)
		return false;
	return rpc->status == GRPC_STATUS_UNIMPLEMENTED ||
		rpc->status == GRPC_STATUS_INVALID_ARGUMENT ||
		rpc->status == GRPC_STATUS_UNAUTHENTICATED ||
		rpc->status == GRPC_STATUS_PERMISSION_DENIED;
}

static void
watch_attempt_over(nk_rpc *rpc)
{
	watch_call *watch = (watch_call *) rpc->call;

	watch->call.watching = false;
	if (rpc->status == GRPC_STATUS_OK)
		rpc->garbage = true;	/* a watch has no good end */
	if (!watch->begun || is_refused(rpc))
		nk_retry_after_attempt(rpc);
	else if (watch->call.changes == NULL)
		nk_retry_stream(rpc);
	else
	{
		/* the page is in the memory that the next one would need */
		nk_rpc_drop_attempt(rpc);
		rpc->state = NK_RPC_BACKOFF;
		watch->held = true;
	}
}

static void
watch_ended(nk_rpc *rpc)
{
	watch_call *watch = (watch_call *) rpc->call;

	watch->ended = true;
	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
		nk_error_set(&rpc->error, NORIKV_UNIMPLEMENTED,
					 "%s has no Watch: its changes can only be found by asking again",
					 rpc->node->address.name);
	if (!watch->call.done)
		nk_call_finish(&watch->call, &rpc->error);
}

static bool
watch_next(norikv_call *call)
{
	watch_call *watch = (watch_call *) call;

	if (!call->done || call->changes == NULL)
		return false;
	call->changes = NULL;
	wire_arena_free(&call->arena);
	call->done = false;
	if (watch->ended)
		nk_call_finish(call, &watch->rpc.error);
	else if (watch->held)
	{
		watch->held = false;
		watch->rpc.node = nk_route_next(call->client, watch->rpc.node);
		nk_rpc_try(&watch->rpc);
	}
	else
		nk_rpc_resume(&watch->rpc, NK_NEVER);
	return !call->done || call->changes != NULL;
}

static void
watch_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((watch_call *) call)->rpc);
}

static void
watch_destroy(norikv_call *call)
{
	if (((watch_call *) call)->counted)
		call->client->n_watches--;
}

static const nk_rpc_type watch_rpc_type = {
	.method = NK_WATCH,
	.shape = NK_SERVER_STREAM,
	/* what is known of the server decides whether its connection is kept alive */
	.needs_abilities = true,
	.prepare = watch_prepare,
	.message = watch_message,
	.attempt_over = watch_attempt_over,
	.ended = watch_ended,
};

static const nk_call_type watch_type = {
	.abandon = watch_abandon,
	.destroy = watch_destroy,
	.next = watch_next,
};

/* ---- The start ---- */

static bool
count(watch_call *watch)
{
	norikv_client *client = watch->call.client;

	if (client->n_watches >= NORIKV_MAX_WATCHES)
	{
		nk_call_fail(&watch->call, NORIKV_RESOURCE_EXHAUSTED,
					 "%u watches are open on this client, which is as many as its "
					 "connection has room for", client->n_watches);
		return false;
	}
	client->n_watches++;
	watch->counted = true;
	return true;
}

norikv_call *
norikv_watch(norikv_client *client, const norikv_watch_request *request,
			 const norikv_call_options *options)
{
	norikv_slice start = request->start;
	norikv_slice end = request->end;
	size_t		room = start.size <= WIRE_MAX_KEY + 1 && end.size <= WIRE_MAX_KEY + 1
		? start.size + end.size : 0;
	/* one byte more than a key, as the first key after the longest one has */
	size_t		limit = norikv_max_key(client) + 1;
	watch_call *watch =
		nk_call_new(client, sizeof(*watch) + 2 * NK_PREFIX_ROOM(client) + room,
					&watch_type, options);

	if (watch == NULL)
		return nk_call_no_memory();
	nk_rpc_init(&watch->rpc, client, &watch->call, &watch_rpc_type);
	if (watch->call.done ||
		!nk_check_bound(&watch->call, "start of a watch", start, limit, -1) ||
		!nk_check_bound(&watch->call, "end of a watch", end, limit, -1) || !count(watch))
		return &watch->call;
	watch->start = nk_full_start(client, start, watch->bounds);
	watch->end = nk_full_end(client, end, watch->bounds + watch->start.size);
	watch->after = request->after;
	watch->history = request->history;
	watch->heartbeat_ms = request->heartbeat_ms;
	watch->rpc.unlimited = watch->rpc.patient = true;
	nk_rpc_start(&watch->rpc, pack_request(watch), watch->call.deadline);
	return &watch->call;
}
