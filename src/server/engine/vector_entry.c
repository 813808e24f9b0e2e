/*
 * vector_entry.c - indexes and vectors in and out of their stored form.
 */
#include "vector_entry.h"

#define FORMAT 1

engine_slice
index_entry_encode(const index_entry *self, char buffer[INDEX_ENTRY_SIZE])
{
	uint32_t	dimensions = __builtin_bswap32(self->index.dimensions);

	buffer[0] = FORMAT;
	store_u64(buffer + 1, version_pack(self->created));
	memcpy(buffer + 9, &dimensions, 4);
	buffer[13] = (char) self->index.metric;
	buffer[14] = (char) self->index.type;
	return slice_of(buffer, INDEX_ENTRY_SIZE);
}

bool
index_entry_decode(engine_slice stored, index_entry *self)
{
	uint32_t	dimensions;

	if (stored.size != INDEX_ENTRY_SIZE || stored.data[0] != FORMAT)
		return false;
	memcpy(&dimensions, stored.data + 9, 4);
	self->created = version_unpack(load_u64(stored.data + 1));
	self->index.dimensions = __builtin_bswap32(dimensions);
	self->index.metric = (engine_metric) stored.data[13];
	self->index.type = (engine_index_type) stored.data[14];
	return self->index.dimensions >= 1 &&
		self->index.dimensions <= VECTOR_MAX_DIMENSIONS &&
		self->index.metric >= ENGINE_EUCLIDEAN &&
		self->index.metric <= ENGINE_INNER_PRODUCT &&
		(self->index.type == ENGINE_BRUTE_FORCE || self->index.type == ENGINE_HNSW);
}

engine_slice
vector_key(engine_version created, engine_slice id, char *buffer)
{
	store_u64(buffer, version_pack(created));
	if (id.size > 0)
		memcpy(buffer + 8, id.data, id.size);
	return slice_of(buffer, VECTOR_KEY_SIZE(id.size));
}

engine_slice
vector_key_start(engine_version created, char buffer[8])
{
	store_u64(buffer, version_pack(created));
	return slice_of(buffer, 8);
}

engine_slice
vector_key_end(engine_version created, char buffer[8])
{
	store_u64(buffer, version_pack(created) + 1);
	return slice_of(buffer, 8);
}

void
vector_key_range(engine_version created, engine_slice start, engine_slice end,
				 bytes *from, bytes *to)
{
	char		index[8];
	engine_slice last = end.size == 0 ? vector_key_end(created, index)
		: vector_key_start(created, index);

	bytes_append(to, last.data, last.size);
	bytes_append(to, end.data, end.size);
	vector_key_start(created, index);
	bytes_append(from, index, sizeof(index));
	bytes_append(from, start.data, start.size);
}

const char *
metric_name(engine_metric metric)
{
	return metric == ENGINE_EUCLIDEAN ? "EUCLIDEAN"
		: metric == ENGINE_COSINE ? "COSINE" : "INNER_PRODUCT";
}

const char *
index_type_name(engine_index_type type)
{
	return type == ENGINE_HNSW ? "HNSW" : "BRUTE_FORCE";
}

bool
index_equal(const engine_index *a, const engine_index *b)
{
	return a->dimensions == b->dimensions && a->metric == b->metric &&
		a->type == b->type;
}
