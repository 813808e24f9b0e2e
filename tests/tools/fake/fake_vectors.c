/*
 * fake_vectors.c - norikv.v1.Vector of the fake server: one index, read from end to
 * end by each search. No versions, nothing exact on request: what a server without
 * norikv.ext.v1 can have. With --ext also what the first norikvd had of
 * norikv.ext.v1.Vector, which was no scan.
 */
#include "fake.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "norikv_ext.pb-c.h"

#define MAX_VECTORS 4096
#define MAX_DIMENSIONS 16

typedef struct stored
{
	char		id[64];
	float		vector[MAX_DIMENSIONS];
	float		distance;		/* of the search under way */
} stored;

static bool exists;
static char namespace[300];
static size_t dimensions;
static stored vectors[MAX_VECTORS];
static size_t n_vectors;

static stored *
find(const char *id)
{
	for (size_t i = 0; i < n_vectors; i++)
	{
		if (strcmp(vectors[i].id, id) == 0)
			return &vectors[i];
	}
	return NULL;
}

static void
create_index(served *call, const Norikv__V1__CreateVectorIndexRequest *request)
{
	Norikv__V1__CreateVectorIndexResponse response =
		NORIKV__V1__CREATE_VECTOR_INDEX_RESPONSE__INIT;

	response.created = !exists;
	exists = true;
	snprintf(namespace, sizeof(namespace), "%s", request->namespace_);
	dimensions = request->dimensions;
	reply(call, &response.base);
}

static void
drop_index(served *call)
{
	Norikv__V1__DropVectorIndexResponse response =
		NORIKV__V1__DROP_VECTOR_INDEX_RESPONSE__INIT;

	response.dropped = exists;
	exists = false;
	n_vectors = 0;
	reply(call, &response.base);
}

static void
insert(served *call, const Norikv__V1__VectorInsertRequest *request)
{
	Norikv__V1__VectorInsertResponse response =
		NORIKV__V1__VECTOR_INSERT_RESPONSE__INIT;
	stored	   *to = find(request->id);

	if (to == NULL)
		to = &vectors[n_vectors++];
	snprintf(to->id, sizeof(to->id), "%s", request->id);
	memcpy(to->vector, request->vector, request->n_vector * sizeof(float));
	response.inserted = true;
	reply(call, &response.base);
}

static void
delete_vector(served *call, const Norikv__V1__VectorDeleteRequest *request)
{
	Norikv__V1__VectorDeleteResponse response =
		NORIKV__V1__VECTOR_DELETE_RESPONSE__INIT;
	stored	   *gone = find(request->id);

	response.deleted = gone != NULL;
	if (gone != NULL)
		*gone = vectors[--n_vectors];
	reply(call, &response.base);
}

static void
get(served *call, const Norikv__V1__VectorGetRequest *request)
{
	Norikv__V1__VectorGetResponse response = NORIKV__V1__VECTOR_GET_RESPONSE__INIT;
	stored	   *found = find(request->id);

	response.found = found != NULL;
	if (found != NULL)
	{
		response.vector = found->vector;
		response.n_vector = dimensions;
	}
	reply(call, &response.base);
}

static int
by_distance(const void *a, const void *b)
{
	const stored *left = a;
	const stored *right = b;

	if (left->distance != right->distance)
		return left->distance < right->distance ? -1 : 1;
	return strcmp(left->id, right->id);
}

static void
sort_by_distance(const float *query)
{
	for (size_t i = 0; i < n_vectors; i++)
	{
		float		sum = 0;

		for (size_t d = 0; d < dimensions; d++)
			sum += (vectors[i].vector[d] - query[d]) * (vectors[i].vector[d] - query[d]);
		vectors[i].distance = sqrtf(sum);
	}
	qsort(vectors, n_vectors, sizeof(*vectors), by_distance);
}

static void
search(served *call, const Norikv__V1__VectorSearchRequest *request)
{
	Norikv__V1__VectorSearchResponse response =
		NORIKV__V1__VECTOR_SEARCH_RESPONSE__INIT;
	Norikv__V1__VectorMatch *matches = calloc(n_vectors + 1, sizeof(*matches));
	Norikv__V1__VectorMatch **pointers = calloc(n_vectors + 1, sizeof(*pointers));

	sort_by_distance(request->query);
	while (response.n_matches < n_vectors && response.n_matches < request->k)
	{
		Norikv__V1__VectorMatch *match = &matches[response.n_matches];

		norikv__v1__vector_match__init(match);
		match->id = vectors[response.n_matches].id;
		match->distance = vectors[response.n_matches].distance;
		pointers[response.n_matches++] = match;
	}
	response.matches = pointers;
	reply(call, &response.base);
	free(matches);
	free(pointers);
}

/* ---- norikv.ext.v1 ---- */

static void
list_indexes(served *call)
{
	Norikv__Ext__V1__ListIndexesChunk chunk = NORIKV__EXT__V1__LIST_INDEXES_CHUNK__INIT;
	Norikv__Ext__V1__VectorIndex index = NORIKV__EXT__V1__VECTOR_INDEX__INIT;
	Norikv__Ext__V1__VectorIndex *pointer = &index;

	index.namespace_ = namespace;
	index.dimensions = (uint32_t) dimensions;
	index.distance = NORIKV__V1__DISTANCE_FUNCTION__EUCLIDEAN;
	index.index_type = NORIKV__V1__VECTOR_INDEX_TYPE__BRUTE_FORCE;
	index.vectors = n_vectors;
	chunk.n_indexes = exists;
	chunk.indexes = &pointer;
	reply(call, &chunk.base);
}

/* found NULL: there is none of this id. */
static void
set_entry(Norikv__Ext__V1__VectorEntry *out, stored *found, bool with_id, bool with_vector)
{
	norikv__ext__v1__vector_entry__init(out);
	if (found == NULL)
		return;
	if (with_id)
		out->id = found->id;
	if (with_vector)
	{
		out->vector = found->vector;
		out->n_vector = dimensions;
	}
	out->version_index = 1;
	out->distance = found->distance;
}

static void
get_many(served *call, const Norikv__Ext__V1__VectorMultiGetRequest *request)
{
	Norikv__Ext__V1__VectorMultiGetChunk chunk =
		NORIKV__EXT__V1__VECTOR_MULTI_GET_CHUNK__INIT;
	Norikv__Ext__V1__VectorEntry *entries = calloc(request->n_ids + 1, sizeof(*entries));
	Norikv__Ext__V1__VectorEntry **pointers = calloc(request->n_ids + 1,
													 sizeof(*pointers));

	for (size_t i = 0; i < request->n_ids; i++)
	{
		pointers[i] = &entries[i];
		set_entry(&entries[i], find(request->ids[i]), false, true);
	}
	chunk.n_entries = request->n_ids;
	chunk.entries = pointers;
	reply(call, &chunk.base);
	free(entries);
	free(pointers);
}

static void
search_more(served *call, const Norikv__Ext__V1__SearchRequest *request)
{
	Norikv__Ext__V1__SearchChunk chunk = NORIKV__EXT__V1__SEARCH_CHUNK__INIT;
	Norikv__Ext__V1__VectorEntry *entries = calloc(n_vectors + 1, sizeof(*entries));
	Norikv__Ext__V1__VectorEntry **pointers = calloc(n_vectors + 1, sizeof(*pointers));

	sort_by_distance(request->query);
	while (chunk.n_matches < n_vectors && chunk.n_matches < request->k)
	{
		size_t		i = chunk.n_matches++;

		pointers[i] = &entries[i];
		set_entry(&entries[i], &vectors[i], true, request->include_vectors);
	}
	chunk.matches = pointers;
	chunk.exact = true;
	reply(call, &chunk.base);
	free(entries);
	free(pointers);
}

static bool
handle_ext_vector(served *call, wire_arena *arena, grpc_byte_buffer *request)
{
	if (!options.ext)
		return false;
	if (is_method(call, WIRE_METHOD_VECTOR_LIST))
		list_indexes(call);
	else if (is_method(call, WIRE_METHOD_VECTOR_MULTI_GET))
		get_many(call, wire_unpack(
					 &norikv__ext__v1__vector_multi_get_request__descriptor, arena,
					 request));
	else if (is_method(call, WIRE_METHOD_VECTOR_EXT_SEARCH))
		search_more(call, wire_unpack(&norikv__ext__v1__search_request__descriptor, arena,
									  request));
	else
		return false;
	return true;
}

bool
handle_vector(served *call, wire_arena *arena)
{
	grpc_byte_buffer *request = call->n_requests > 0 ? call->requests[0] : NULL;
	bool		creates = is_method(call, WIRE_METHOD_VECTOR_CREATE_INDEX);

	if (!options.vectors)
		return false;
	if (handle_ext_vector(call, arena, request))
		return true;
	if (creates)
		create_index(call, wire_unpack(
						 &norikv__v1__create_vector_index_request__descriptor, arena,
						 request));
	else if (is_method(call, WIRE_METHOD_VECTOR_DROP_INDEX))
		drop_index(call);
	else if (is_method(call, WIRE_METHOD_VECTOR_INSERT))
		insert(call, wire_unpack(&norikv__v1__vector_insert_request__descriptor, arena,
								 request));
	else if (is_method(call, WIRE_METHOD_VECTOR_DELETE))
		delete_vector(call, wire_unpack(&norikv__v1__vector_delete_request__descriptor,
										arena, request));
	else if (is_method(call, WIRE_METHOD_VECTOR_GET))
		get(call, wire_unpack(&norikv__v1__vector_get_request__descriptor, arena,
							  request));
	else if (is_method(call, WIRE_METHOD_VECTOR_SEARCH))
		search(call, wire_unpack(&norikv__v1__vector_search_request__descriptor, arena,
								 request));
	else
		return false;
	return true;
}
