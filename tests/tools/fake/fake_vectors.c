/*
 * fake_vectors.c - norikv.v1.Vector of the fake server: one index, read from end to
 * end by each search. No versions, nothing exact on request: what a server without
 * norikv.ext.v1 can have.
 */
#include "fake.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "norikv.pb-c.h"

#define MAX_VECTORS 4096
#define MAX_DIMENSIONS 16

typedef struct stored
{
	char		id[64];
	float		vector[MAX_DIMENSIONS];
	float		distance;		/* of the search under way */
} stored;

static bool exists;
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
search(served *call, const Norikv__V1__VectorSearchRequest *request)
{
	Norikv__V1__VectorSearchResponse response =
		NORIKV__V1__VECTOR_SEARCH_RESPONSE__INIT;
	Norikv__V1__VectorMatch *matches = calloc(n_vectors + 1, sizeof(*matches));
	Norikv__V1__VectorMatch **pointers = calloc(n_vectors + 1, sizeof(*pointers));

	for (size_t i = 0; i < n_vectors; i++)
	{
		float		sum = 0;

		for (size_t d = 0; d < dimensions; d++)
			sum += (vectors[i].vector[d] - request->query[d]) *
				(vectors[i].vector[d] - request->query[d]);
		vectors[i].distance = sqrtf(sum);
	}
	qsort(vectors, n_vectors, sizeof(*vectors), by_distance);
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

bool
handle_vector(served *call, wire_arena *arena)
{
	grpc_byte_buffer *request = call->n_requests > 0 ? call->requests[0] : NULL;
	bool		creates = is_method(call, WIRE_METHOD_VECTOR_CREATE_INDEX);

	if (!options.vectors)
		return false;
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
