/*
 * vector_calls.c - see vector_calls.h.
 */
#include "vector_calls.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

typedef struct waiter
{
	pthread_mutex_t lock;
	pthread_cond_t ready;
	bool		done;
	found_vectors *to;
	const char *space;
	engine_index_info *info;
	bool		seen;
} waiter;

static void
wait_for(waiter *self)
{
	pthread_mutex_lock(&self->lock);
	while (!self->done)
		pthread_cond_wait(&self->ready, &self->lock);
	pthread_mutex_unlock(&self->lock);
	pthread_mutex_destroy(&self->lock);
	pthread_cond_destroy(&self->ready);
}

static void
begin(waiter *self)
{
	pthread_mutex_init(&self->lock, NULL);
	pthread_cond_init(&self->ready, NULL);
}

static void
finish(waiter *self)
{
	pthread_mutex_lock(&self->lock);
	self->done = true;
	pthread_cond_signal(&self->ready);
	pthread_mutex_unlock(&self->lock);
}

static void
copy_vectors(found_vectors *to, const engine_vector *vectors, size_t n)
{
	to->n_vectors = n;
	to->vectors = arena_alloc(&to->memory, n * sizeof(engine_vector) + 1);
	for (size_t i = 0; i < n; i++)
	{
		size_t		size = vectors[i].dimensions * sizeof(float);
		char	   *id = arena_alloc(&to->memory, vectors[i].id.size + 1);

		memcpy(id, vectors[i].id.data, vectors[i].id.size);
		id[vectors[i].id.size] = '\0';
		to->vectors[i] = vectors[i];
		to->vectors[i].id.data = id;
		if (vectors[i].floats != NULL)
			to->vectors[i].floats = memcpy(arena_alloc(&to->memory, size),
										   vectors[i].floats, size);
	}
}

static void
take_matches(void *arg, const engine_status *status, const engine_matches *matches)
{
	waiter	   *self = arg;

	self->to->status = *status;
	if (matches != NULL)
	{
		copy_vectors(self->to, matches->matches, matches->n_matches);
		self->to->exact = matches->exact;
	}
	finish(self);
}

found_vectors
search_vectors(engine *on, engine_search search)
{
	found_vectors answered = {0};
	waiter		waiting = {.to = &answered};

	begin(&waiting);
	on->methods->search(on, &search, take_matches, &waiting);
	wait_for(&waiting);
	return answered;
}

found_vectors
search_nearest(engine *on, const char *space, const float *query, uint32_t dimensions,
			   uint32_t k)
{
	engine_search search = {.space = TEXT(space), .query = query,
		.dimensions = dimensions, .k = k};
	found_vectors answered;

	wait_until_ready(on, space);
	answered = search_vectors(on, search);
	if (answered.status.code != ENGINE_OK)
		fail_msg("search in \"%s\": %s", space, answered.status.text);
	return answered;
}

static void
take_vectors(void *arg, const engine_status *status, const engine_vector *vectors,
			 size_t n_vectors)
{
	waiter	   *self = arg;

	self->to->status = *status;
	copy_vectors(self->to, vectors, n_vectors);
	finish(self);
}

found_vectors
get_vectors(engine *on, const char *space, const engine_slice *ids, size_t n_ids)
{
	found_vectors answered = {0};
	waiter		waiting = {.to = &answered};

	begin(&waiting);
	on->methods->get_vectors(on, TEXT(space), ids, n_ids, ENGINE_STRONG, take_vectors,
							 &waiting);
	wait_for(&waiting);
	return answered;
}

void
found_free(found_vectors *self)
{
	arena_free(&self->memory);
}

static void
take_indexes(void *arg, const engine_status *status, const engine_index_info *indexes,
			 size_t n_indexes)
{
	waiter	   *self = arg;

	assert_int_equal(status->code, ENGINE_OK);
	for (size_t i = 0; i < n_indexes; i++)
	{
		if (!slice_equal(indexes[i].space, TEXT(self->space)))
			continue;
		self->seen = true;
		*self->info = indexes[i];
	}
	finish(self);
}

bool
find_index(engine *on, const char *space, engine_index_info *info)
{
	waiter		waiting = {.space = space, .info = info};

	begin(&waiting);
	on->methods->list_indexes(on, TEXT(""), take_indexes, &waiting);
	wait_for(&waiting);
	return waiting.seen;
}

void
wait_until_ready(engine *on, const char *space)
{
	struct timespec a_little = {0, 1000000};
	engine_index_info info;

	while (find_index(on, space, &info) && info.state == ENGINE_INDEX_LOADING)
		nanosleep(&a_little, NULL);
}

static bool
was_sent_back(const engine_status *status)
{
	return status->code == ENGINE_UNAVAILABLE &&
		strstr(status->text, "nothing was done") != NULL;
}

void
commit_unit_in_time(engine *on, engine_unit *unit, answer *to)
{
	commit_unit(on, unit, to);
	while (was_sent_back(&to->status))
	{
		answer_free(to);
		commit_unit(on, unit, to);
	}
}

engine_result
commit_op_in_time(engine *on, engine_op op, engine_status *status)
{
	engine_result result = commit_op(on, op, status);

	while (was_sent_back(status))
		result = commit_op(on, op, status);
	return result;
}

engine_result
create_index(engine *on, const char *space, engine_index index, engine_status *status)
{
	engine_op	op = {.kind = ENGINE_INDEX_CREATE, .space = TEXT(space), .index = index};

	return commit_op(on, op, status);
}

engine_result
drop_index(engine *on, const char *space, engine_status *status)
{
	engine_op	op = {.kind = ENGINE_INDEX_DROP, .space = TEXT(space)};

	return commit_op(on, op, status);
}

engine_op
vector_put_op(const char *space, const char *id, const float *floats,
			  uint32_t dimensions)
{
	return (engine_op) {.kind = ENGINE_VECTOR_PUT, .space = TEXT(space), .key = TEXT(id),
		.value = {(const char *) floats, dimensions * sizeof(float)}};
}

engine_op
vector_range_op(const char *space, const char *start, const char *end)
{
	return (engine_op) {.kind = ENGINE_VECTOR_DELETE_RANGE, .space = TEXT(space),
		.key = TEXT(start), .end_key = TEXT(end)};
}

engine_op
vector_check_op(const char *space, const char *id, engine_version version)
{
	return (engine_op) {.kind = ENGINE_VECTOR_CHECK, .space = TEXT(space),
		.key = TEXT(id), .version = version,
		.condition = version.index == 0 ? ENGINE_IF_ABSENT : ENGINE_IF_VERSION};
}

engine_op
vector_delete_op(const char *space, const char *id)
{
	return (engine_op) {.kind = ENGINE_VECTOR_DELETE, .space = TEXT(space),
		.key = TEXT(id)};
}

engine_version
put_vector(engine *on, const char *space, const char *id, const float *floats,
		   uint32_t dimensions)
{
	engine_status status;
	engine_result result = commit_op(on, vector_put_op(space, id, floats, dimensions),
									 &status);

	if (status.code != ENGINE_OK)
		fail_msg("put of vector \"%s\": %s", id, status.text);
	return result.version;
}

bool
delete_vector(engine *on, const char *space, const char *id)
{
	engine_status status;
	engine_result result = commit_op(on, vector_delete_op(space, id), &status);

	assert_int_equal(status.code, ENGINE_OK);
	return result.existed;
}

void
random_vector(uint64_t *random, float *floats, uint32_t dimensions)
{
	for (uint32_t i = 0; i < dimensions; i++)
		floats[i] = (float) random_below(random, 2000001) / 1000000 - 1;
}
