/*
 * vector_get.c - vectors by id, and the list of indexes.
 *
 * Many ids go in one request after the other, each answered by a stream. Where the
 * server has no norikv.ext.v1, they go as pipelined single Gets.
 */
#include <stdlib.h>

#include "vector.h"

#define SEGMENT_IDS 8192

typedef struct get_many
{
	norikv_call call;
	nk_rpc		rpc;			/* the stream */
	nk_space	space;
	char	  **ids;
	norikv_vector *vectors;
	size_t		n_ids;
	size_t		first;			/* of the segment that is asked for */
	size_t		end;			/* and after its last */
	size_t		received;		/* of the segment */
	nk_rpc	   *gets;			/* single ones */
	uint32_t	n_gets;
	size_t		next;			/* id to be asked for by one of them */
	size_t		missing;
} get_many;

static void
fail(get_many *many, const norikv_error *error, int64_t operation)
{
	nk_call_finish(&many->call, error);
	many->call.error.operation = operation;
	for (uint32_t i = 0; i < many->n_gets; i++)
		nk_rpc_abandon(&many->gets[i]);
}

static void
show(get_many *many)
{
	many->call.vectors = many->vectors;
	many->call.n_vectors = many->n_ids;
	many->call.done = true;
}

/* ---- One by one ---- */

static void
feed(get_many *many, nk_rpc *rpc)
{
	Norikv__V1__VectorGetRequest request = NORIKV__V1__VECTOR_GET_REQUEST__INIT;

	if (many->next == many->n_ids)
		return;
	rpc->item = (uint32_t) many->next;
	request.namespace_ = many->space.text;
	request.id = many->ids[many->next++];
	request.consistency = (char *) many->call.consistency;
	nk_rpc_start(rpc, wire_pack(&request.base), many->call.deadline);
}

static bool
single_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	get_many   *many = (get_many *) rpc->call;
	norikv_vector *to = &many->vectors[rpc->item];
	Norikv__V1__VectorGetResponse *response;

	response = wire_unpack(&norikv__v1__vector_get_response__descriptor,
						   &many->call.arena, message);
	if (response == NULL)
		return false;
	to->found = response->found;
	to->vector = response->found ? response->vector : NULL;
	to->dimensions = response->found ? (uint32_t) response->n_vector : 0;
	return true;
}

static void
single_ended(nk_rpc *rpc)
{
	get_many   *many = (get_many *) rpc->call;

	if (many->call.done)
		return;
	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
		nk_vector_no_service(rpc);
	if (rpc->error.code != NORIKV_OK)
		fail(many, &rpc->error, rpc->item);
	else if (--many->missing == 0)
		show(many);
	else
		feed(many, rpc);
}

static const nk_rpc_type single_type = {
	.method = NK_VECTOR_GET,
	.shape = NK_UNARY,
	.message = single_message,
	.ended = single_ended,
};

static void
get_singly(get_many *many)
{
	norikv_client *client = many->call.client;
	uint32_t	count = client->options.max_in_flight;

	if (count > many->n_ids)
		count = (uint32_t) many->n_ids;
	many->gets = calloc(count, sizeof(*many->gets));
	if (many->gets == NULL)
	{
		nk_call_fail(&many->call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	many->n_gets = count;
	many->next = 0;
	many->missing = many->n_ids;
	for (uint32_t i = 0; i < count; i++)
		nk_rpc_init(&many->gets[i], client, &many->call, &single_type);
	for (uint32_t i = 0; i < count && !many->call.done; i++)
		feed(many, &many->gets[i]);
}

/* ---- Streams ---- */

static void
ask_for_segment(get_many *many)
{
	Norikv__Ext__V1__VectorMultiGetRequest request =
		NORIKV__EXT__V1__VECTOR_MULTI_GET_REQUEST__INIT;
	size_t		bytes = 0;

	many->first = many->end;
	while (many->end < many->n_ids && many->end - many->first < SEGMENT_IDS &&
		   bytes < WIRE_CHUNK)
		bytes += strlen(many->ids[many->end++]) + 8;
	request.namespace_ = many->space.text;
	request.n_ids = many->end - many->first;
	request.ids = many->ids + many->first;
	request.consistency = (char *) many->call.consistency;
	nk_rpc_start(&many->rpc, wire_pack(&request.base), many->call.deadline);
}

static bool
stream_prepare(nk_rpc *rpc)
{
	((get_many *) rpc->call)->received = 0;
	return true;
}

static bool
stream_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	get_many   *many = (get_many *) rpc->call;
	norikv_vector *to = many->vectors + many->first + many->received;
	Norikv__Ext__V1__VectorMultiGetChunk *chunk;

	chunk = wire_unpack(&norikv__ext__v1__vector_multi_get_chunk__descriptor,
						&many->call.arena, message);
	if (chunk == NULL ||
		chunk->n_entries > many->end - many->first - many->received)
		return false;
	for (size_t i = 0; i < chunk->n_entries; i++, to++)
	{
		const Norikv__Ext__V1__VectorEntry *from = chunk->entries[i];

		to->found = from->version_index != 0;
		to->vector = to->found ? from->vector : NULL;
		to->dimensions = to->found ? (uint32_t) from->n_vector : 0;
		to->version = (norikv_version) {from->version_term, from->version_index};
	}
	many->received += chunk->n_entries;
	return true;
}

static void
stream_ended(nk_rpc *rpc)
{
	get_many   *many = (get_many *) rpc->call;

	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
	{
		get_singly(many);
		return;
	}
	if (rpc->error.code == NORIKV_OK && many->received < many->end - many->first)
		nk_error_set(&rpc->error, NORIKV_INTERNAL, "MultiGet on %s answered %zu of %zu ids",
					 rpc->node->address.name, many->received, many->end - many->first);
	if (rpc->error.code != NORIKV_OK)
		fail(many, &rpc->error, -1);
	else if (many->end < many->n_ids)
		ask_for_segment(many);
	else
		show(many);
}

static const nk_rpc_type stream_type = {
	.method = NK_VECTOR_MULTI_GET,
	.shape = NK_SERVER_STREAM,
	.prepare = stream_prepare,
	.message = stream_message,
	.ended = stream_ended,
};

/* ---- The call ---- */

static void
get_abandon(norikv_call *call)
{
	get_many   *many = (get_many *) call;

	nk_rpc_abandon(&many->rpc);
	for (uint32_t i = 0; i < many->n_gets; i++)
		nk_rpc_abandon(&many->gets[i]);
}

static void
get_destroy(norikv_call *call)
{
	get_many   *many = (get_many *) call;

	free(many->gets);
	free(many->ids);
	free(many->vectors);
}

static const nk_call_type get_type = {
	.abandon = get_abandon,
	.destroy = get_destroy,
};

static bool
copy_ids(get_many *many, const norikv_slice *ids, size_t n_ids)
{
	many->ids = calloc(n_ids, sizeof(*many->ids));
	many->vectors = calloc(n_ids, sizeof(*many->vectors));
	for (size_t i = 0; i < n_ids; i++)
	{
		if (!nk_check_vector_id(&many->call, ids[i], (int64_t) i))
			return false;
		if (many->ids != NULL)
			many->ids[i] = nk_vector_id(&many->call.arena, ids[i]);
		if (many->ids == NULL || many->vectors == NULL || many->ids[i] == NULL)
		{
			nk_call_fail(&many->call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
			return false;
		}
		many->vectors[i].id = (norikv_slice) {many->ids[i], ids[i].size};
	}
	many->n_ids = n_ids;
	return true;
}

norikv_call *
norikv_vector_get_many(norikv_client *client, norikv_slice space, const norikv_slice *ids,
					   size_t n_ids, const norikv_call_options *options)
{
	get_many   *many = nk_call_new(client, sizeof(*many), &get_type, options);

	if (many == NULL)
		return nk_call_no_memory();
	nk_rpc_init(&many->rpc, client, &many->call, &stream_type);
	if (many->call.done || !nk_space_set(&many->space, &many->call, space, -1) ||
		!copy_ids(many, ids, n_ids))
		return &many->call;
	if (n_ids == 0)
		many->call.done = true;
	else if (nk_route(client, many->rpc.key)->abilities.known == NK_NO)
		get_singly(many);
	else
		ask_for_segment(many);
	return &many->call;
}

norikv_call *
norikv_vector_get(norikv_client *client, norikv_slice space, norikv_slice id,
				  const norikv_call_options *options)
{
	return norikv_vector_get_many(client, space, &id, 1, options);
}

/* ---- The list of indexes ---- */

typedef struct list_call
{
	norikv_call call;
	nk_rpc		rpc;
	norikv_vector_index *indexes;
	size_t		n_indexes;
	char		prefix[WIRE_MAX_NAMESPACE + 1];
} list_call;

static bool
list_prepare(nk_rpc *rpc)
{
	((list_call *) rpc->call)->n_indexes = 0;
	return true;
}

static void
describe(const Norikv__Ext__V1__VectorIndex *from, norikv_vector_index *to)
{
	*to = (norikv_vector_index) {
		.space = NORIKV_SLICE(from->namespace_),
		.dimensions = from->dimensions,
		.distance = (norikv_distance) from->distance,
		.type = (norikv_index_type) from->index_type,
		.vectors = from->vectors,
		.memory_bytes = from->memory_bytes,
		.pending = from->pending,
		.state = (norikv_index_state) from->state,
		.version = {from->version_term, from->version_index},
	};
}

static bool
list_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	list_call  *list = (list_call *) rpc->call;
	Norikv__Ext__V1__ListIndexesChunk *chunk;
	norikv_vector_index *more;

	chunk = wire_unpack(&norikv__ext__v1__list_indexes_chunk__descriptor,
						&list->call.arena, message);
	if (chunk == NULL)
		return false;
	more = realloc(list->indexes,
				   (list->n_indexes + chunk->n_indexes + 1) * sizeof(*more));
	if (more == NULL)
		return false;
	list->indexes = more;
	for (size_t i = 0; i < chunk->n_indexes; i++)
	{
		norikv_vector_index *to = &list->indexes[list->n_indexes];

		describe(chunk->indexes[i], to);
		if (nk_strip_key(rpc->client, &to->space))
			list->n_indexes++;
	}
	return true;
}

static void
list_ended(nk_rpc *rpc)
{
	list_call  *list = (list_call *) rpc->call;

	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
		nk_error_set(&rpc->error, NORIKV_UNIMPLEMENTED,
					 "%s has no list of vector indexes: they can only be asked for by "
					 "name", rpc->node->address.name);
	nk_call_finish(&list->call, &rpc->error);
	if (rpc->error.code != NORIKV_OK)
		return;
	list->call.indexes = list->indexes;
	list->call.n_indexes = list->n_indexes;
}

static const nk_rpc_type list_rpc_type = {
	.method = NK_VECTOR_LIST,
	.shape = NK_SERVER_STREAM,
	.prepare = list_prepare,
	.message = list_message,
	.ended = list_ended,
};

static void
list_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((list_call *) call)->rpc);
}

static void
list_destroy(norikv_call *call)
{
	free(((list_call *) call)->indexes);
}

static const nk_call_type list_type = {
	.abandon = list_abandon,
	.destroy = list_destroy,
};

norikv_call *
norikv_vector_list(norikv_client *client, norikv_slice prefix,
				   const norikv_call_options *options)
{
	Norikv__Ext__V1__ListIndexesRequest request =
		NORIKV__EXT__V1__LIST_INDEXES_REQUEST__INIT;
	list_call  *list = nk_call_new(client, sizeof(*list), &list_type, options);
	norikv_slice full;

	if (list == NULL)
		return nk_call_no_memory();
	nk_rpc_init(&list->rpc, client, &list->call, &list_rpc_type);
	if (list->call.done)
		return &list->call;
	/* no namespace begins with what is longer than one */
	if (client->prefix.key.size + prefix.size > WIRE_MAX_NAMESPACE)
	{
		list->call.done = true;
		return &list->call;
	}
	full = nk_full_key(client, prefix, list->prefix);
	if (memchr(list->prefix, '\0', full.size) != NULL)
	{
		list->call.done = true;
		return &list->call;
	}
	list->prefix[full.size] = '\0';
	request.prefix = list->prefix;
	nk_rpc_start(&list->rpc, wire_pack(&request.base), list->call.deadline);
	return &list->call;
}
