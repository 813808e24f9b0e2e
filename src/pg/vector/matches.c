/*
 * matches.c - the vectors of matches that came without them: of a page that would be too
 * large for one answer they are asked for a batch at a time, as far as they are needed.
 */
#include "vector/vector.h"

/* Matches, from one on, whose vectors are a batch. */
static size_t
batch_size(int dimensions, size_t left)
{
	size_t fitting = NORIKV_PAGE_VECTORS / (sizeof(float) * dimensions);

	return Min(left, Max(fitting, 1));
}

static void
read_batch(NorikvMatchReader *reader, const norikv_vector *matches, size_t n_matches,
		   size_t first)
{
	size_t size = batch_size(reader->dimensions, n_matches - first);
	norikv_slice *ids = palloc(sizeof(norikv_slice) * size);
	size_t n_vectors;

	NorikvEndBatch(reader);
	for (size_t i = 0; i < size; i++)
		ids[i] = matches[first + i].id;
	reader->call =
		NorikvStartVectorGetMany(reader->connection, reader->space, ids, size);
	NorikvFinishVectors(reader->call, reader->space);
	reader->vectors = norikv_call_vectors(reader->call->call, &n_vectors);
	if (n_vectors != size)
		ereport(ERROR, errcode(ERRCODE_PROTOCOL_VIOLATION),
				errmsg("server \"%s\" answered %zu vectors for %zu ids",
					   reader->connection->name, n_vectors, size));
	reader->first = first;
	reader->n_vectors = size;
	pfree(ids);
}

bool
NorikvLeaveOutVectors(size_t n_matches, int dimensions)
{
	return n_matches > NORIKV_PAGE_VECTORS / (sizeof(float) * dimensions);
}

const norikv_vector *
NorikvVectorOfMatch(NorikvMatchReader *reader, const norikv_vector *matches,
					size_t n_matches, size_t number)
{
	if (matches[number].vector != NULL)
		return &matches[number];
	if (reader->call == NULL || number < reader->first ||
		number >= reader->first + reader->n_vectors)
		read_batch(reader, matches, n_matches, number);
	return &reader->vectors[number - reader->first];
}

void
NorikvEndBatch(NorikvMatchReader *reader)
{
	norikv_call_stats done;

	if (reader->call == NULL)
		return;
	done = norikv_call_get_stats(reader->call->call);
	reader->done.round_trips += done.round_trips;
	reader->done.bytes_sent += done.bytes_sent;
	reader->done.bytes_received += done.bytes_received;
	NorikvFree(reader->call);
	reader->call = NULL;
}
