/*
 * scan.c - Scan: pages of keys in order, under flow control.
 *
 * One page is with the reader and at most one is ahead; then nothing more is
 * asked for, and HTTP/2 holds the server back. Each page has the call's whole
 * time: a reader may take as long as it likes between them. A stream that
 * breaks goes on after the last key that came, in a later snapshot.
 */
#include "internal.h"

#include <stdlib.h>

typedef struct scan_page
{
	wire_arena	arena;
	norikv_entry *entries;
	size_t		n_entries;
	bool		moved;
	bool		filled;
} scan_page;

typedef struct scan_call
{
	norikv_call call;
	nk_rpc		rpc;
	norikv_scan_request request;	/* start and end, full, in bounds */
	scan_page	pages[2];
	int			current;		/* the page with the reader, if filled */
	bool		ended;			/* the stream has */
	bool		broken;			/* an attempt broke: the next page has moved */
	uint64_t	rows;			/* received */
	size_t		last_size;		/* of the last key received, a full one */
	char		last[WIRE_MAX_KEY + 1];
	char		bounds[];
} scan_call;

static grpc_byte_buffer *
pack_request(scan_call *scan)
{
	Norikv__Ext__V1__ScanRequest request = NORIKV__EXT__V1__SCAN_REQUEST__INIT;
	norikv_slice start = scan->request.start;
	norikv_slice end = scan->request.end;

	if (scan->rows > 0 && scan->request.reverse)
		end = (norikv_slice) {scan->last, scan->last_size};
	else if (scan->rows > 0)
	{
		/* the first key after the last one: it, and a zero byte */
		scan->last[scan->last_size] = '\0';
		start = (norikv_slice) {scan->last, scan->last_size + 1};
	}
	request.start.data = (uint8_t *) start.data;
	request.start.len = start.size;
	request.end.data = (uint8_t *) end.data;
	request.end.len = end.size;
	request.reverse = scan->request.reverse;
	request.max_rows =
		scan->request.max_rows == 0 ? 0 : scan->request.max_rows - scan->rows;
	request.keys_only = scan->request.keys_only;
	request.count_only = scan->request.count_only;
	request.one_snapshot = scan->request.one_snapshot;
	request.consistency = (char *) scan->call.consistency;
	return wire_pack(&request.base);
}

static void
show(scan_call *scan)
{
	const scan_page *page = &scan->pages[scan->current];

	scan->call.entries = page->entries;
	scan->call.n_entries = page->n_entries;
	scan->call.snapshot_moved = page->moved;
	scan->call.done = true;
}

static void
clear(scan_page *page)
{
	wire_arena_free(&page->arena);
	page->entries = NULL;
	page->n_entries = 0;
	page->moved = page->filled = false;
}

static bool
fill(scan_call *scan, scan_page *page, const Norikv__Ext__V1__ScanChunk *chunk)
{
	page->n_entries = chunk->n_entries;
	page->entries = wire_arena_alloc(&page->arena,
									 chunk->n_entries * sizeof(norikv_entry) + 1);
	if (page->entries == NULL)
		return false;
	for (size_t i = 0; i < chunk->n_entries; i++)
	{
		const Norikv__Ext__V1__Entry *entry = chunk->entries[i];

		norikv_slice key = nk_bytes(entry->key);

		if (key.size < 1 || key.size > WIRE_MAX_KEY ||
			!nk_strip_key(scan->call.client, &key))
			return false;
		page->entries[i] = (norikv_entry) {
			.key = key,
			.value = nk_bytes(entry->value),
			.version = {entry->version_term, entry->version_index},
			.expires_at_ms = entry->expires_at_ms,
		};
	}
	page->moved = chunk->snapshot_moved || scan->broken;
	page->filled = true;
	scan->broken = false;
	return true;
}

static bool
scan_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	scan_call  *scan = (scan_call *) rpc->call;
	scan_page  *page = &scan->pages[scan->current];
	Norikv__Ext__V1__ScanChunk *chunk;

	if (page->filled)
		page = &scan->pages[1 - scan->current];
	chunk = wire_unpack(&norikv__ext__v1__scan_chunk__descriptor, &page->arena, message);
	if (chunk == NULL)
		return false;
	scan->call.count += chunk->count;
	if (chunk->n_entries == 0)
	{
		/* no page of its own, but what it says of the snapshot holds for the next */
		scan->broken |= chunk->snapshot_moved;
		clear(page);
		return true;
	}
	if (!fill(scan, page, chunk))
		return false;
	scan->rows += chunk->n_entries;
	scan->last_size = chunk->entries[chunk->n_entries - 1]->key.len;
	memcpy(scan->last, chunk->entries[chunk->n_entries - 1]->key.data, scan->last_size);
	if (page == &scan->pages[scan->current])
		show(scan);
	else
		rpc->paused = true;
	return true;
}

/* The request of a further attempt begins where the last one broke. */
static bool
scan_prepare(nk_rpc *rpc)
{
	scan_call  *scan = (scan_call *) rpc->call;

	if (rpc->attempts == 0)
		return true;
	if (scan->rows > 0 && scan->request.one_snapshot)
	{
		nk_error_set(
			&rpc->error, NORIKV_ABORTED,
			"the scan broke after %llu rows, and cannot go on in the same snapshot",
			(unsigned long long) scan->rows);
		rpc->error.retriable = true;
		nk_rpc_end(rpc);
		return false;
	}
	scan->broken = scan->rows > 0;
	scan->call.count = 0;
	if (scan->request.max_rows > 0 && scan->rows >= scan->request.max_rows)
	{
		/* only its end was lost */
		nk_error_clear(&rpc->error);
		nk_rpc_end(rpc);
		return false;
	}
	grpc_byte_buffer_destroy(rpc->request);
	rpc->request = pack_request(scan);
	return true;
}

static void
scan_ended(nk_rpc *rpc)
{
	scan_call  *scan = (scan_call *) rpc->call;

	scan->ended = true;
	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
	{
		rpc->node->abilities.known = NK_NO;
		nk_error_set(&rpc->error, NORIKV_UNIMPLEMENTED,
					 "%s has no Scan: keys of this server can only be asked for by name",
					 rpc->node->address.name);
	}
	/* pages that came before an error are shown before it */
	if (!scan->pages[scan->current].filled)
		nk_call_finish(&scan->call, &rpc->error);
}

static bool
scan_next(norikv_call *call)
{
	scan_call  *scan = (scan_call *) call;

	if (!call->done || !scan->pages[scan->current].filled)
		return false;
	clear(&scan->pages[scan->current]);
	scan->current = 1 - scan->current;
	call->entries = NULL;
	call->n_entries = 0;
	call->snapshot_moved = false;
	call->deadline = nk_now() + (nk_time) call->timeout_ms * 1000;
	call->done = false;
	if (scan->pages[scan->current].filled)
		show(scan);
	if (!scan->ended)
		nk_rpc_resume(&scan->rpc, call->deadline);
	else if (!call->done)
		nk_call_finish(call, &scan->rpc.error);
	return !call->done || scan->pages[scan->current].filled;
}

static void
scan_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((scan_call *) call)->rpc);
}

static void
scan_destroy(norikv_call *call)
{
	wire_arena_free(&((scan_call *) call)->pages[0].arena);
	wire_arena_free(&((scan_call *) call)->pages[1].arena);
}

static const nk_rpc_type scan_rpc_type = {
	.method = NK_SCAN,
	.shape = NK_SERVER_STREAM,
	.prepare = scan_prepare,
	.message = scan_message,
	.ended = scan_ended,
};

static const nk_call_type scan_type = {
	.abandon = scan_abandon,
	.destroy = scan_destroy,
	.next = scan_next,
};

norikv_call *
norikv_scan(norikv_client *client, const norikv_scan_request *request,
			const norikv_call_options *options)
{
	norikv_slice start = request->start;
	norikv_slice end = request->end;
	size_t		room = start.size <= WIRE_MAX_KEY + 1 && end.size <= WIRE_MAX_KEY + 1
		? start.size + end.size : 0;
	/* one byte more than a key, as the first key after the longest one has */
	size_t		limit = norikv_max_key(client) + 1;
	scan_call  *scan =
		nk_call_new(client, sizeof(*scan) + 2 * NK_PREFIX_ROOM(client) + room, &scan_type,
					options);

	if (scan == NULL)
		return nk_call_no_memory();
	nk_rpc_init(&scan->rpc, client, &scan->call, &scan_rpc_type);
	wire_arena_init(&scan->pages[0].arena);
	wire_arena_init(&scan->pages[1].arena);
	if (scan->call.done ||
		!nk_check_bound(&scan->call, "start of a scan", start, limit, -1) ||
		!nk_check_bound(&scan->call, "end of a scan", end, limit, -1))
		return &scan->call;
	scan->request = *request;
	scan->request.start = nk_full_start(client, start, scan->bounds);
	scan->request.end =
		nk_full_end(client, end, scan->bounds + scan->request.start.size);
	scan->rpc.unlimited = true;
	nk_rpc_start(&scan->rpc, pack_request(scan), scan->call.deadline);
	return &scan->call;
}
