/*
 * scan.c - Scan: pages of keys, or of vectors by id, in order, under flow control.
 *
 * One page is with the reader and at most one is ahead; then nothing more is
 * asked for, and HTTP/2 holds the server back. Each page has the call's whole
 * time: a reader may take as long as it likes between them. A stream that
 * breaks goes on after the last key that came, in a later snapshot.
 */
#include "vector.h"

typedef struct scan_page
{
	wire_arena	arena;
	norikv_entry *entries;		/* or vectors, as many */
	norikv_vector *vectors;
	size_t		n_entries;
	bool		moved;
	bool		filled;
} scan_page;

typedef struct scan_call
{
	norikv_call call;
	nk_rpc		rpc;
	norikv_scan_request request;	/* start and end, full, in bounds */
	nk_space	space;			/* of vectors; empty: it is of keys */
	scan_page	pages[2];
	int			current;		/* the page with the reader, if filled */
	bool		ended;			/* the stream has */
	bool		broken;			/* an attempt broke: the next page has moved */
	uint64_t	rows;			/* received */
	size_t		last_size;		/* of the last key received, a full one */
	char		last[WIRE_MAX_KEY + 1];
	char		bounds[];
} scan_call;

static bool
is_of_vectors(const scan_call *scan)
{
	return scan->space.text[0] != '\0';
}

static ProtobufCBinaryData
binary(norikv_slice slice)
{
	return (ProtobufCBinaryData) {slice.size, (uint8_t *) slice.data};
}

/* What is left of the range. */
static norikv_slice
left_start(scan_call *scan)
{
	if (scan->rows == 0 || scan->request.reverse)
		return scan->request.start;
	/* the first key after the last one: it, and a zero byte */
	scan->last[scan->last_size] = '\0';
	return (norikv_slice) {scan->last, scan->last_size + 1};
}

static norikv_slice
left_end(const scan_call *scan)
{
	if (scan->rows == 0 || !scan->request.reverse)
		return scan->request.end;
	return (norikv_slice) {scan->last, scan->last_size};
}

static uint64_t
left_rows(const scan_call *scan)
{
	return scan->request.max_rows == 0 ? 0 : scan->request.max_rows - scan->rows;
}

static grpc_byte_buffer *
pack_vector_request(scan_call *scan)
{
	Norikv__Ext__V1__VectorScanRequest request =
		NORIKV__EXT__V1__VECTOR_SCAN_REQUEST__INIT;

	request.namespace_ = scan->space.text;
	request.start = binary(left_start(scan));
	request.end = binary(left_end(scan));
	request.reverse = scan->request.reverse;
	request.max_rows = left_rows(scan);
	request.ids_only = scan->request.keys_only;
	request.one_snapshot = scan->request.one_snapshot;
	request.consistency = (char *) scan->call.consistency;
	return wire_pack(&request.base);
}

static grpc_byte_buffer *
pack_request(scan_call *scan)
{
	Norikv__Ext__V1__ScanRequest request = NORIKV__EXT__V1__SCAN_REQUEST__INIT;

	if (is_of_vectors(scan))
		return pack_vector_request(scan);
	request.start = binary(left_start(scan));
	request.end = binary(left_end(scan));
	request.reverse = scan->request.reverse;
	request.max_rows = left_rows(scan);
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
	scan->call.n_entries = page->entries != NULL ? page->n_entries : 0;
	scan->call.vectors = page->vectors;
	scan->call.n_vectors = page->vectors != NULL ? page->n_entries : 0;
	scan->call.snapshot_moved = page->moved;
	scan->call.done = true;
}

static void
clear(scan_page *page)
{
	wire_arena_free(&page->arena);
	page->entries = NULL;
	page->vectors = NULL;
	page->n_entries = 0;
	page->moved = page->filled = false;
}

/* A page has come: what is asked for again begins behind its last key. */
static void
end_page(scan_call *scan, scan_page *page, bool moved, const void *last, size_t size)
{
	page->moved = moved || scan->broken;
	page->filled = true;
	scan->broken = false;
	scan->rows += page->n_entries;
	scan->last_size = size;
	memcpy(scan->last, last, size);
}

static bool
fill(scan_call *scan, scan_page *page, const Norikv__Ext__V1__ScanChunk *chunk)
{
	const ProtobufCBinaryData *last = &chunk->entries[chunk->n_entries - 1]->key;

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
	end_page(scan, page, chunk->snapshot_moved, last->data, last->len);
	return true;
}

static bool
fill_vectors(scan_call *scan, scan_page *page,
			 const Norikv__Ext__V1__VectorScanChunk *chunk)
{
	const char *last = chunk->entries[chunk->n_entries - 1]->id;

	page->n_entries = chunk->n_entries;
	page->vectors = wire_arena_alloc(&page->arena,
									 chunk->n_entries * sizeof(norikv_vector));
	if (page->vectors == NULL)
		return false;
	for (size_t i = 0; i < chunk->n_entries; i++)
	{
		const Norikv__Ext__V1__VectorEntry *entry = chunk->entries[i];
		size_t		size = strlen(entry->id);

		if (size < 1 || size > WIRE_MAX_VECTOR_ID)
			return false;
		page->vectors[i] = (norikv_vector) {
			.id = {entry->id, size},
			.vector = entry->n_vector > 0 ? entry->vector : NULL,
			.dimensions = (uint32_t) entry->n_vector,
			.found = true,
			.version = {entry->version_term, entry->version_index},
		};
	}
	end_page(scan, page, chunk->snapshot_moved, last, strlen(last));
	return true;
}

/* No page of its own, but what it says of the snapshot holds for the next. */
static bool
skip_empty(scan_call *scan, scan_page *page, bool moved)
{
	scan->broken |= moved;
	clear(page);
	return true;
}

/* False: it cannot be an answer. */
static bool
take_chunk(scan_call *scan, scan_page *page, grpc_byte_buffer *message)
{
	Norikv__Ext__V1__ScanChunk *chunk =
		wire_unpack(&norikv__ext__v1__scan_chunk__descriptor, &page->arena, message);

	if (chunk == NULL)
		return false;
	scan->call.count += chunk->count;
	if (chunk->n_entries == 0)
		return skip_empty(scan, page, chunk->snapshot_moved);
	return fill(scan, page, chunk);
}

static bool
take_vector_chunk(scan_call *scan, scan_page *page, grpc_byte_buffer *message)
{
	Norikv__Ext__V1__VectorScanChunk *chunk =
		wire_unpack(&norikv__ext__v1__vector_scan_chunk__descriptor, &page->arena,
					message);

	if (chunk == NULL)
		return false;
	if (chunk->n_entries == 0)
		return skip_empty(scan, page, chunk->snapshot_moved);
	return fill_vectors(scan, page, chunk);
}

static bool
scan_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	scan_call  *scan = (scan_call *) rpc->call;
	scan_page  *page = &scan->pages[scan->current];

	if (page->filled)
		page = &scan->pages[1 - scan->current];
	if (is_of_vectors(scan) ? !take_vector_chunk(scan, page, message)
		: !take_chunk(scan, page, message))
		return false;
	if (!page->filled)
		return true;
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
	if (rpc->error.code == NORIKV_UNIMPLEMENTED && is_of_vectors(scan))
		nk_error_set(&rpc->error, NORIKV_UNIMPLEMENTED,
					 "%s has no Scan of vectors", rpc->node->address.name);
	else if (rpc->error.code == NORIKV_UNIMPLEMENTED)
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
	call->vectors = NULL;
	call->n_vectors = 0;
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

static const nk_rpc_type vector_scan_rpc_type = {
	.method = NK_VECTOR_SCAN,
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

/* With room for the bounds; NULL: out of memory. */
static scan_call *
new_scan(norikv_client *client, const nk_rpc_type *type, size_t bounds,
		 const norikv_call_options *options)
{
	scan_call  *scan = nk_call_new(client, sizeof(*scan) + bounds, &scan_type, options);

	if (scan == NULL)
		return NULL;
	nk_rpc_init(&scan->rpc, client, &scan->call, type);
	wire_arena_init(&scan->pages[0].arena);
	wire_arena_init(&scan->pages[1].arena);
	scan->rpc.unlimited = true;
	return scan;
}

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
	scan_call  *scan = new_scan(client, &scan_rpc_type,
								2 * NK_PREFIX_ROOM(client) + room, options);

	if (scan == NULL)
		return nk_call_no_memory();
	if (scan->call.done ||
		!nk_check_bound(&scan->call, "start of a scan", start, limit, -1) ||
		!nk_check_bound(&scan->call, "end of a scan", end, limit, -1))
		return &scan->call;
	scan->request = *request;
	scan->request.start = nk_full_start(client, start, scan->bounds);
	scan->request.end =
		nk_full_end(client, end, scan->bounds + scan->request.start.size);
	nk_rpc_start(&scan->rpc, pack_request(scan), scan->call.deadline);
	return &scan->call;
}

/* Bounds are of ids, which have no prefix: the namespace has it. */
static norikv_slice
keep_bound(norikv_slice bound, char *room)
{
	if (bound.size > 0)
		memcpy(room, bound.data, bound.size);
	return (norikv_slice) {room, bound.size};
}

norikv_call *
norikv_vector_scan(norikv_client *client, const norikv_vector_scan_request *request,
				   const norikv_call_options *options)
{
	norikv_slice start = request->start;
	norikv_slice end = request->end;
	size_t		limit = WIRE_MAX_VECTOR_ID + 1;
	scan_call  *scan = new_scan(client, &vector_scan_rpc_type, 2 * limit, options);

	if (scan == NULL)
		return nk_call_no_memory();
	if (scan->call.done ||
		!nk_check_bound(&scan->call, "start of a scan", start, limit, -1) ||
		!nk_check_bound(&scan->call, "end of a scan", end, limit, -1) ||
		!nk_space_set(&scan->space, &scan->call, request->space, -1))
		return &scan->call;
	scan->request = (norikv_scan_request) {
		.start = keep_bound(start, scan->bounds),
		.end = keep_bound(end, scan->bounds + start.size),
		.reverse = request->reverse,
		.max_rows = request->max_rows,
		.keys_only = request->ids_only,
		.one_snapshot = request->one_snapshot,
	};
	nk_rpc_start(&scan->rpc, pack_request(scan), scan->call.deadline);
	return &scan->call;
}
