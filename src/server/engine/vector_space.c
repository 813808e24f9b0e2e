/*
 * vector_space.c - one index: what the committer changes in it, and its memory.
 */
#include "vector_space.h"

#include <stdlib.h>

/* While so many vectors wait for their place in the graph, writes wait too: each
 * search reads them one by one. */
#define MAX_UNLINKED 8192
/* So much beyond the limit is for what was taken before a restart: it must come back,
 * though its memory may be laid out in another way. */
#define LOAD_SHARE 16

static vector_index_options
options_of(const vector_space *self)
{
	return (vector_index_options) {
		.metric = (vector_metric) self->entry.index.metric,
		.type = (vector_index_type) self->entry.index.type,
		.dimensions = self->entry.index.dimensions,
		.workers = self->owner->workers,
		/* The committer never links: it makes writes wait before they are begun. */
		.max_unlinked = UINT32_MAX,
	};
}

vector_space *
vector_space_new(vectors *owner, engine_slice name, const index_entry *stored)
{
	vector_space *self = engine_calloc(sizeof(*self));

	self->owner = owner;
	self->name = engine_malloc(name.size);
	memcpy(self->name, name.data, name.size);
	self->name_size = name.size;
	self->entry = *stored;
	atomic_store(&self->references, 1);
	atomic_store(&self->state, ENGINE_INDEX_LOADING);
	pthread_mutex_init(&self->lock, NULL);
	return self;
}

/* Waits for the work on it that is under way. */
void
vector_space_free(vector_space *self)
{
	vector_index_destroy(self->index);
	atomic_fetch_sub(&self->owner->bytes, atomic_load(&self->counted));
	id_set_free(&self->deleted);
	pthread_mutex_destroy(&self->lock);
	free(self->name);
	free(self);
}

vector_index *
vector_space_make_index(vector_space *self)
{
	vector_index_options options = options_of(self);
	vector_status status;
	vector_index *made = NULL;

	/*
	 * A snapshot is of use where nothing has changed since the store was opened that it
	 * does not know: later its vectors could not be told from newer ones.
	 */
	if (!self->again)
		made = vector_snapshot_load(self, &options);
	if (made == NULL)
		made = vector_index_create(&options, &status);
	return made;
}

const engine_index *
vector_space_index(const vector_space *self)
{
	return &self->entry.index;
}

engine_version
vector_space_created(const vector_space *self)
{
	return self->entry.created;
}

/* ---- Memory ---- */

void
vector_space_count_memory(vector_space *self)
{
	vector_index_stats stats;
	uint64_t	before;

	if (self->index == NULL)
		stats.bytes = 0;
	else
		vector_index_stats_of(self->index, &stats);
	before = atomic_exchange(&self->counted, stats.bytes);
	atomic_fetch_add(&self->owner->bytes, stats.bytes - before);
}

bool
vectors_have_room(const vectors *self, uint64_t size)
{
	uint64_t	limit = self->options.max_memory;

	return limit == 0 || atomic_load(&self->bytes) + size <= limit;
}

bool
vectors_can_load(const vectors *self, uint64_t size)
{
	uint64_t	limit = self->options.max_memory;

	return limit == 0 || atomic_load(&self->bytes) + size <= limit + limit / LOAD_SHARE;
}

void
vector_space_give_up(vector_space *self, const char *why)
{
	vectors    *owner = self->owner;

	atomic_store(&self->state, ENGINE_INDEX_TOO_LARGE);
	owner->options.log(ENGINE_LOG_ERROR,
					   "a vector index of %u dimensions is not kept in memory, and "
					   "cannot be searched: %s. Vector indexes have %llu MiB of the "
					   "%llu that --max-memory allows them. Its vectors are in the "
					   "store, and are read when others leave room: drop an index, or "
					   "raise --max-memory and start again",
					   self->entry.index.dimensions, why,
					   (unsigned long long) atomic_load(&owner->bytes) >> 20,
					   (unsigned long long) owner->options.max_memory >> 20);
}

/*
 * One that was in memory once may be in use still. While it was not, nothing was put;
 * what was deleted is no longer in the store.
 */
bool
vector_space_try_again(vector_space *self)
{
	bool		good;

	pthread_mutex_lock(&self->lock);
	good = self->index == NULL && atomic_load(&self->state) == ENGINE_INDEX_TOO_LARGE;
	if (good)
	{
		self->again = true;
		atomic_store(&self->loaded, 0);
		atomic_store(&self->state, ENGINE_INDEX_LOADING);
	}
	pthread_mutex_unlock(&self->lock);
	if (good)
		self->owner->options.log(ENGINE_LOG_INFO, "a vector index of %u dimensions that "
								 "did not fit is read again",
								 self->entry.index.dimensions);
	return good;
}

static bool
refuse_memory(const vector_space *self, engine_status *status)
{
	char		shown[SLICE_SHOWN];

	status_set(status, ENGINE_RESOURCE_EXHAUSTED,
			   "namespace \"%s\" takes no more vectors: vector indexes have %llu of the "
			   "%llu bytes that --max-memory allows them%s; drop an index, or raise "
			   "--max-memory", slice_show(vector_space_name(self), shown, sizeof(shown)),
			   (unsigned long long) atomic_load(&self->owner->bytes),
			   (unsigned long long) self->owner->options.max_memory,
			   atomic_load(&self->state) == ENGINE_INDEX_TOO_LARGE
			   ? ", and this one does not fit" : "");
	return false;
}

bool
vector_space_reserve(vector_space *self, size_t id_size, engine_status *status)
{
	size_t		puts = self->reserved + 1;
	size_t		id_bytes = self->reserved_bytes + id_size;
	bool		good = true;

	if (atomic_load(&self->state) == ENGINE_INDEX_TOO_LARGE)
		return refuse_memory(self, status);
	pthread_mutex_lock(&self->lock);
	if (self->index != NULL)
	{
		vector_space_count_memory(self);
		good = vectors_have_room(self->owner,
								 vector_index_bytes_needed(self->index, puts,
														   id_bytes)) &&
			vector_index_reserve(self->index, puts, id_bytes) == VECTOR_OK;
		if (!good)
			vector_index_give_back(self->index);
	}
	pthread_mutex_unlock(&self->lock);
	if (!good)
		return refuse_memory(self, status);
	self->reserved = puts;
	self->reserved_bytes = id_bytes;
	return true;
}

void
vector_space_unreserve(vector_space *self, size_t id_size)
{
	self->reserved--;
	self->reserved_bytes -= id_size;
}

bool
vector_space_is_behind(vector_space *self)
{
	vector_index_stats stats = {0};

	if (atomic_load(&self->state) != ENGINE_INDEX_READY)
		return false;
	vector_index_stats_of(self->index, &stats);
	return stats.unlinked > MAX_UNLINKED;
}

/* ---- Changes ---- */

static bool
put_locked(vector_space *self, engine_slice id, engine_version version,
		   engine_slice floats)
{
	vector_version put = {version.term, version.index};

	/* Whoever makes the index will find the vector in the store. */
	if (self->index == NULL)
		return true;
	return vector_index_put(self->index, id.data, id.size, put,
							(const float *) (const void *) floats.data,
							NULL) == VECTOR_OK;
}

void
vector_space_put(vector_space *self, engine_slice id, engine_version version,
				 engine_slice floats)
{
	bool		good;

	vector_space_unreserve(self, id.size);
	pthread_mutex_lock(&self->lock);
	good = put_locked(self, id, version, floats);
	pthread_mutex_unlock(&self->lock);
	atomic_fetch_add_explicit(&self->changes, 1, memory_order_relaxed);
	/* Room was there when it was asked for, or the index was not. */
	if (!good)
		vector_space_give_up(self, "a vector that has been stored does not fit");
}

void
vector_space_delete(vector_space *self, engine_slice id)
{
	pthread_mutex_lock(&self->lock);
	if (self->index != NULL)
		vector_index_delete(self->index, id.data, id.size);
	/* The loader, who may have read it before, must not bring it back. */
	if (atomic_load(&self->state) == ENGINE_INDEX_LOADING)
		id_set_add(&self->deleted, id);
	pthread_mutex_unlock(&self->lock);
	atomic_fetch_add_explicit(&self->changes, 1, memory_order_relaxed);
}
