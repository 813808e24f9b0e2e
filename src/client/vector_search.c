/*
 * vector_search.c - the nearest vectors, and those after them, page by page.
 *
 * A search that goes on asks again, for more and exactly, and shows what it has not
 * shown before: no state at the server, and nothing that an approximate first page
 * has missed is lost. Each page is twice as large as all before it, so that asking
 * for all takes twice the work at most. Where the server has no norikv.ext.v1, its
 * own Search is asked, without exactness.
 */
#include <stdlib.h>

#include "vector.h"

typedef struct search_call
{
	norikv_call call;
	nk_rpc		rpc;
	nk_space	space;
	norikv_search_request request;	/* query is the call's own */
	bool		plain;			/* norikv.v1's Search */
	bool		over;			/* there are no more vectors than have been asked for */
	uint64_t	k;				/* asked for by the request under way */
	wire_arena	page;
	norikv_vector *matches;		/* of the page */
	size_t		n_matches;
	size_t		room;
	size_t		received;		/* with those that have been shown before */
	bool		exact;
	/* The ids that were shown, in an open hash table. */
	norikv_slice *seen;
	size_t		n_seen;
	size_t		n_slots;
	wire_arena	ids;
} search_call;

/* ---- What was shown ---- */

static norikv_slice *
find_slot(const search_call *search, norikv_slice id)
{
	size_t		at = nk_key_hash(id) & (search->n_slots - 1);

	while (search->seen[at].data != NULL &&
		   (search->seen[at].size != id.size ||
			memcmp(search->seen[at].data, id.data, id.size) != 0))
		at = (at + 1) & (search->n_slots - 1);
	return &search->seen[at];
}

static bool
was_seen(const search_call *search, norikv_slice id)
{
	return search->n_seen > 0 && find_slot(search, id)->data != NULL;
}

static bool
make_room(search_call *search, size_t more)
{
	norikv_slice *old = search->seen;
	size_t		n_old = search->n_slots;
	size_t		slots = n_old > 0 ? n_old : 64;

	while (slots < (search->n_seen + more) * 2)
		slots *= 2;
	if (slots == n_old)
		return true;
	search->seen = calloc(slots, sizeof(*search->seen));
	if (search->seen == NULL)
	{
		search->seen = old;
		return false;
	}
	search->n_slots = slots;
	for (size_t i = 0; i < n_old; i++)
	{
		if (old[i].data != NULL)
			*find_slot(search, old[i]) = old[i];
	}
	free(old);
	return true;
}

/* The page at hand has been shown. */
static bool
note_seen(search_call *search)
{
	if (!make_room(search, search->n_matches))
		return false;
	for (size_t i = 0; i < search->n_matches; i++)
	{
		norikv_slice id = search->matches[i].id;
		char	   *copy = nk_vector_id(&search->ids, id);

		if (copy == NULL)
			return false;
		*find_slot(search, id) = (norikv_slice) {copy, id.size};
		search->n_seen++;
	}
	return true;
}

/* ---- Requests ---- */

/* Later pages grow without end: beyond a size, what is in them comes without vectors. */
static bool
wants_vectors(const search_call *search)
{
	size_t		each = search->request.dimensions * sizeof(float);

	return search->request.include_vectors &&
		(search->n_seen == 0 || search->k <= NORIKV_PAGE_VECTORS / each);
}

static grpc_byte_buffer *
pack_request(search_call *search)
{
	const norikv_search_request *from = &search->request;

	if (search->plain)
	{
		Norikv__V1__VectorSearchRequest request = NORIKV__V1__VECTOR_SEARCH_REQUEST__INIT;

		request.namespace_ = search->space.text;
		request.n_query = from->dimensions;
		request.query = (float *) from->query;
		request.k = (uint32_t) search->k;
		request.include_vectors = wants_vectors(search);
		request.consistency = (char *) search->call.consistency;
		return wire_pack(&request.base);
	}
	else
	{
		Norikv__Ext__V1__SearchRequest request = NORIKV__EXT__V1__SEARCH_REQUEST__INIT;

		request.namespace_ = search->space.text;
		request.n_query = from->dimensions;
		request.query = (float *) from->query;
		request.k = (uint32_t) search->k;
		request.include_vectors = wants_vectors(search);
		request.consistency = (char *) search->call.consistency;
		request.ef = from->ef;
		request.exact = from->exact || search->n_seen > 0;
		return wire_pack(&request.base);
	}
}

static void start(search_call *search);

/* ---- Answers ---- */

static bool
add_match(search_call *search, char *id, float distance, float *vector, size_t n_vector,
		  norikv_version version)
{
	norikv_slice shown = NORIKV_SLICE(id);

	search->received++;
	if (was_seen(search, shown))
		return true;
	if (search->n_matches == search->room)
	{
		size_t		room = search->room * 2 + 16;
		norikv_vector *more = realloc(search->matches, room * sizeof(*more));

		if (more == NULL)
			return false;
		search->matches = more;
		search->room = room;
	}
	search->matches[search->n_matches++] = (norikv_vector) {
		.id = shown,
		.vector = n_vector > 0 ? vector : NULL,
		.dimensions = (uint32_t) n_vector,
		.found = true,
		.version = version,
		.distance = distance,
	};
	return true;
}

static bool
plain_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	search_call *search = (search_call *) rpc->call;
	Norikv__V1__VectorSearchResponse *response;

	response = wire_unpack(&norikv__v1__vector_search_response__descriptor,
						   &search->page, message);
	if (response == NULL)
		return false;
	for (size_t i = 0; i < response->n_matches; i++)
	{
		const Norikv__V1__VectorMatch *from = response->matches[i];

		if (!add_match(search, from->id, from->distance, from->vector, from->n_vector,
					   (norikv_version) {0, 0}))
			return false;
	}
	return true;
}

static bool
stream_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	search_call *search = (search_call *) rpc->call;
	Norikv__Ext__V1__SearchChunk *chunk;

	chunk = wire_unpack(&norikv__ext__v1__search_chunk__descriptor, &search->page,
						message);
	if (chunk == NULL)
		return false;
	for (size_t i = 0; i < chunk->n_matches; i++)
	{
		const Norikv__Ext__V1__VectorEntry *from = chunk->matches[i];

		if (!add_match(search, from->id, from->distance, from->vector, from->n_vector,
					   (norikv_version) {from->version_term, from->version_index}))
			return false;
	}
	search->exact = chunk->exact;
	return true;
}

/* What came of an attempt that broke is forgotten. */
static void
forget_page(search_call *search)
{
	wire_arena_free(&search->page);
	search->n_matches = 0;
	search->received = 0;
	search->exact = false;
}

static bool
search_prepare(nk_rpc *rpc)
{
	forget_page((search_call *) rpc->call);
	return true;
}

static void
show(search_call *search)
{
	search->call.vectors = search->matches;
	search->call.n_vectors = search->n_matches;
	search->call.exact = search->exact;
	search->call.done = true;
}

static void
search_ended(nk_rpc *rpc)
{
	search_call *search = (search_call *) rpc->call;

	if (rpc->error.code == NORIKV_UNIMPLEMENTED && !search->plain)
	{
		search->plain = true;
		start(search);
		return;
	}
	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
		nk_vector_no_service(rpc);
	if (rpc->error.code != NORIKV_OK)
	{
		forget_page(search);
		search->over = true;
		nk_call_finish(&search->call, &rpc->error);
		return;
	}
	search->over = !search->request.continued || search->received < search->k ||
		search->k == UINT32_MAX;
	if (search->n_matches > 0 || search->over)
		show(search);
	else
	{
		/* all of it has been shown: others were deleted meanwhile */
		search->k = search->k * 2 < UINT32_MAX ? search->k * 2 : UINT32_MAX;
		start(search);
	}
}

static const nk_rpc_type plain_type = {
	.method = NK_VECTOR_SEARCH,
	.shape = NK_UNARY,
	.prepare = search_prepare,
	.message = plain_message,
	.ended = search_ended,
};

static const nk_rpc_type one_chunk_type = {
	.method = NK_VECTOR_EXT_SEARCH,
	.shape = NK_UNARY,
	.prepare = search_prepare,
	.message = stream_message,
	.ended = search_ended,
};

static const nk_rpc_type stream_type = {
	.method = NK_VECTOR_EXT_SEARCH,
	.shape = NK_SERVER_STREAM,
	.prepare = search_prepare,
	.message = stream_message,
	.ended = search_ended,
};

/* To await one message takes a third of the batches that a stream takes. */
static const nk_rpc_type *
type_of(const search_call *search)
{
	size_t		match = WIRE_MATCH_SIZE(wants_vectors(search) ?
										search->request.dimensions : 0);

	if (search->plain)
		return &plain_type;
	return search->k <= WIRE_ONE_SEARCH_CHUNK / match ? &one_chunk_type : &stream_type;
}

static void
start(search_call *search)
{
	norikv_call *call = &search->call;

	nk_rpc_init(&search->rpc, call->client, call, type_of(search));
	/* a search that takes long takes as long the next time */
	if (search->rpc.attempt_timeout_ms < call->timeout_ms)
		search->rpc.attempt_timeout_ms = call->timeout_ms;
	nk_rpc_start(&search->rpc, pack_request(search), call->deadline);
}

/* ---- The call ---- */

static bool
search_next(norikv_call *call)
{
	search_call *search = (search_call *) call;

	if (!call->done || call->n_vectors == 0)
		return false;
	call->vectors = NULL;
	call->n_vectors = 0;
	if (search->over)
	{
		forget_page(search);
		return true;
	}
	call->deadline = nk_now() + (nk_time) call->timeout_ms * 1000;
	if (!note_seen(search))
	{
		nk_call_fail(call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		return true;
	}
	forget_page(search);
	call->done = false;
	search->k = search->n_seen * 3 < UINT32_MAX ? search->n_seen * 3 : UINT32_MAX;
	start(search);
	return true;
}

static void
search_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((search_call *) call)->rpc);
}

static void
search_destroy(norikv_call *call)
{
	search_call *search = (search_call *) call;

	wire_arena_free(&search->page);
	wire_arena_free(&search->ids);
	free(search->matches);
	free(search->seen);
}

static const nk_call_type search_type = {
	.abandon = search_abandon,
	.destroy = search_destroy,
	.next = search_next,
};

static bool
check(search_call *search, const norikv_search_request *request)
{
	norikv_call *call = &search->call;

	if (!nk_space_set(&search->space, call, request->space, -1) ||
		!nk_check_vector(call, "query", request->query, request->dimensions, -1))
		return false;
	if (request->k > 0)
		return true;
	nk_call_fail(call, NORIKV_INVALID_ARGUMENT, "k is 0: it must be 1 or more");
	return false;
}

norikv_call *
norikv_vector_search(norikv_client *client, const norikv_search_request *request,
					 const norikv_call_options *options)
{
	search_call *search = nk_call_new(client, sizeof(*search), &search_type, options);
	float	   *query;

	if (search == NULL)
		return nk_call_no_memory();
	wire_arena_init(&search->page);
	wire_arena_init(&search->ids);
	if (search->call.done || !check(search, request))
		return &search->call;
	query = wire_arena_alloc(&search->call.arena, request->dimensions * sizeof(float));
	if (query == NULL)
	{
		nk_call_fail(&search->call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		return &search->call;
	}
	search->request = *request;
	search->request.query = memcpy(query, request->query,
								   request->dimensions * sizeof(float));
	search->k = request->k;
	search->plain = nk_route(client, (norikv_slice) {NULL, 0})->abilities.known == NK_NO;
	start(search);
	return &search->call;
}
