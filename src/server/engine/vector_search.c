/*
 * vector_search.c - threads that search, and reads of vectors by id.
 *
 * A search takes from tens of microseconds to milliseconds, so that it has threads of
 * its own. To wake one costs a fifth of a brief search: where one caller at a time
 * asks for brief ones, they run on the thread that brings them, as gets do. Getting
 * vectors by id reads the store, as getting keys does.
 */
#include <stdlib.h>
#include <unistd.h>

#include "vector_space.h"
#include "vector_unit.h"
#include "words.h"

#define MAX_THREADS 64
#define MAX_EF 100000

typedef struct job
{
	vector_space *space;
	const engine_search *search;
	engine_search_done done;
	void	   *arg;
	struct job *next;
} job;

struct vector_pool
{
	pthread_mutex_t lock;
	pthread_cond_t wake;
	job		   *first;
	job		   *last;
	bool		closing;
	atomic_uint under_way;		/* with those that wait */
	_Atomic uint64_t here_ended_ns; /* the last one on its caller's thread */
	_Atomic uint64_t crowded_until_ns;
	size_t		n_threads;
	pthread_t	threads[MAX_THREADS];
};

/* ---- Here, or on a thread of its own ---- */

/* Who asks for a search this soon after another has ended did not wait for it. */
#define CROWD_GAP_NS 20000
#define CROWDED_NS 5000000
/* As long as some gets take. */
#define BRIEF_MATCHES 100
#define BRIEF_EF 200
#define BRIEF_DIMENSIONS 1024
/* Read from end to end, where there is no graph to search. */
#define BRIEF_BYTES (512 * 1024)
#define GRAPH_FROM 10000

static bool
is_brief(const vector_space *space, const engine_search *search)
{
	vector_index_stats stats;
	uint64_t	read;

	if (search->exact || search->k > BRIEF_MATCHES || search->ef > BRIEF_EF ||
		search->dimensions > BRIEF_DIMENSIONS)
		return false;
	vector_index_stats_of(space->index, &stats);
	read = search->dimensions * sizeof(float);
	if (space->entry.index.type == ENGINE_HNSW && stats.count >= GRAPH_FROM)
		read *= stats.unlinked;
	else
		read *= stats.count + stats.dead;
	return read <= BRIEF_BYTES;
}

/* Several callers at once have all threads. */
static bool
may_run_here(vector_pool *self, const vector_space *space, const engine_search *search)
{
	uint64_t	now;

	if (!search->here || atomic_load(&self->under_way) > 0)
		return false;
	now = monotonic_ns();
	if (now < atomic_load(&self->crowded_until_ns))
		return false;
	if (now - atomic_load(&self->here_ended_ns) < CROWD_GAP_NS)
	{
		atomic_store(&self->crowded_until_ns, now + CROWDED_NS);
		return false;
	}
	return is_brief(space, search);
}

/* ---- A search ---- */

static void
answer(const job *self, const engine_search *search, const vector_matches *found)
{
	engine_vector *matches = engine_malloc(found->count * sizeof(*matches));
	engine_matches answered = {matches, found->count, found->exact};
	engine_status status;

	for (size_t i = 0; i < found->count; i++)
	{
		const vector_match *from = &found->items[i];

		matches[i] = (engine_vector) {
			.id = {from->id, from->id_size},
			.floats = from->values,
			.dimensions = from->values != NULL ? search->dimensions : 0,
			.version = {from->version.term, from->version.index},
			.distance = from->distance,
		};
	}
	status_ok(&status);
	self->done(self->arg, &status, &answered);
	free(matches);
}

static void
run(job *self)
{
	const engine_search *search = self->search;
	vector_query query = {
		.values = search->query,
		.ef = search->ef,
		.exact = search->exact,
		.with_values = search->include_vectors,
	};
	vector_matches found = {0};
	vector_status failure = {VECTOR_OK, ""};
	engine_status status;
	vector_code code = vector_index_search(self->space->index, &query, search->k, &found,
										   &failure);

	if (code == VECTOR_OK)
	{
		answer(self, search, &found);
		vector_matches_free(&found);
	}
	else
	{
		status_set(&status, code == VECTOR_INVALID ? ENGINE_INVALID_ARGUMENT
				   : ENGINE_RESOURCE_EXHAUSTED, "%s",
				   code == VECTOR_INVALID ? failure.text
				   : "there is no memory for the search");
		self->done(self->arg, &status, NULL);
	}
	vector_space_release(self->space);
}

static void *
pool_main(void *arg)
{
	vector_pool *self = arg;

	pthread_mutex_lock(&self->lock);
	for (;;)
	{
		job		   *todo;

		while (self->first == NULL && !self->closing)
			pthread_cond_wait(&self->wake, &self->lock);
		todo = self->first;
		if (todo == NULL)
			break;
		self->first = todo->next;
		if (self->first == NULL)
			self->last = NULL;
		pthread_mutex_unlock(&self->lock);
		run(todo);
		free(todo);
		atomic_fetch_sub(&self->under_way, 1);
		pthread_mutex_lock(&self->lock);
	}
	pthread_mutex_unlock(&self->lock);
	return NULL;
}

vector_pool *
vector_pool_start(void)
{
	vector_pool *self = engine_calloc(sizeof(*self));
	long		processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t		wanted = processors < 1 ? 1 : processors > MAX_THREADS ? MAX_THREADS
		: (size_t) processors;

	pthread_mutex_init(&self->lock, NULL);
	pthread_cond_init(&self->wake, NULL);
	while (self->n_threads < wanted &&
		   pthread_create(&self->threads[self->n_threads], NULL, pool_main, self) == 0)
		self->n_threads++;
	if (self->n_threads > 0)
		return self;
	vector_pool_stop(self);
	return NULL;
}

void
vector_pool_stop(vector_pool *self)
{
	pthread_mutex_lock(&self->lock);
	self->closing = true;
	pthread_cond_broadcast(&self->wake);
	pthread_mutex_unlock(&self->lock);
	for (size_t i = 0; i < self->n_threads; i++)
		pthread_join(self->threads[i], NULL);
	pthread_mutex_destroy(&self->lock);
	pthread_cond_destroy(&self->wake);
	free(self);
}

static void
run_here(vector_pool *self, job *only)
{
	run(only);
	atomic_store(&self->here_ended_ns, monotonic_ns());
}

static void
submit(vector_pool *self, const job *of)
{
	job		   *added = engine_malloc(sizeof(*added));

	*added = *of;
	atomic_fetch_add(&self->under_way, 1);
	pthread_mutex_lock(&self->lock);
	if (self->last != NULL)
		self->last->next = added;
	else
		self->first = added;
	self->last = added;
	pthread_cond_signal(&self->wake);
	pthread_mutex_unlock(&self->lock);
}

/* ---- What can be searched for ---- */

static bool
check_state(vector_space *space, engine_status *status)
{
	char		shown[SLICE_SHOWN];

	slice_show(vector_space_name(space), shown, sizeof(shown));
	switch (atomic_load(&space->state))
	{
		case ENGINE_INDEX_READY:
			return true;
		case ENGINE_INDEX_LOADING:
			status_set(status, ENGINE_UNAVAILABLE,
					   "namespace \"%s\" is being read into memory, %llu vectors by "
					   "now" WORDS_TRY_AGAIN, shown,
					   (unsigned long long) atomic_load(&space->loaded));
			break;
		case ENGINE_INDEX_TOO_LARGE:
			status_set(status, ENGINE_RESOURCE_EXHAUSTED,
					   "namespace \"%s\" does not fit into the %llu bytes that "
					   "--max-memory allows vector indexes, and cannot be searched: "
					   "raise --max-memory and start the server again", shown,
					   (unsigned long long) space->owner->options.max_memory);
			break;
	}
	return false;
}

static bool
check_search(vector_space *space, const engine_search *search, engine_status *status)
{
	const engine_index *index = &space->entry.index;
	char		shown[SLICE_SHOWN];
	vector_status wrong;

	if (search->dimensions != index->dimensions)
		status_set(status, ENGINE_INVALID_ARGUMENT,
				   "query: %u dimensions, namespace \"%s\" has %u", search->dimensions,
				   slice_show(vector_space_name(space), shown, sizeof(shown)),
				   index->dimensions);
	else if (!vector_check_floats("query", search->query, search->dimensions, status))
		return false;
	else if (vector_check((vector_metric) index->metric, index->dimensions, search->query,
						  search->dimensions, &wrong) != VECTOR_OK)
		status_set(status, ENGINE_INVALID_ARGUMENT, "query: %s", wrong.text);
	else
		return check_state(space, status);
	return false;
}

void
vectors_search(vectors *self, const engine_search *search, engine_search_done done,
			   void *arg)
{
	vector_space *space = NULL;
	engine_status status;
	bool		good;

	if (search->k == 0)
		status_set(&status, ENGINE_INVALID_ARGUMENT, "k: 0, must be 1 or more");
	else if (search->ef > MAX_EF)
		status_set(&status, ENGINE_INVALID_ARGUMENT, "ef: %u, must be at most %d",
				   search->ef, MAX_EF);
	else if (vector_check_space(search->space, &status))
		space = vectors_use(self, search->space, &status);
	good = space != NULL && check_search(space, search, &status);
	if (good)
	{
		job			of = {space, search, done, arg, NULL};

		if (may_run_here(self->pool, space, search))
			run_here(self->pool, &of);
		else
			submit(self->pool, &of);
		return;
	}
	done(arg, &status, NULL);
	if (space != NULL)
		vector_space_release(space);
}

/* ---- By id ---- */

static bool
fill(engine_vector *to, engine_slice id, const table_value *value, engine_status *status)
{
	entry		found;
	char		shown[SLICE_SHOWN];

	*to = (engine_vector) {.id = id};
	if (!value->found)
		return true;
	if (!entry_decode(value->bytes, &found) || found.value.size % sizeof(float) != 0)
	{
		status_set(status, ENGINE_DATA_LOSS, "the vector \"%s\" is damaged",
				   slice_show(id, shown, sizeof(shown)));
		return false;
	}
	to->floats = found.value.data;
	to->dimensions = (uint32_t) (found.value.size / sizeof(float));
	to->version = found.version;
	return true;
}

typedef struct reading
{
	arena		memory;
	engine_slice *keys;
	table_value *values;
	engine_vector *found;
} reading;

static void
read_ids(table *from, reading *of, const engine_slice *ids, size_t n_ids,
		 engine_vectors_done done, void *arg)
{
	engine_status status;
	bool		good;

	if (!from->methods->read_begin(from, &status))
	{
		done(arg, &status, NULL, 0);
		return;
	}
	good = from->methods->multi_get(from, TABLE_VECTOR, of->keys, n_ids, of->values,
									&status);
	if (!good)
	{
		from->methods->read_end(from);
		done(arg, &status, NULL, 0);
		return;
	}
	for (size_t i = 0; i < n_ids && good; i++)
		good = fill(&of->found[i], ids[i], &of->values[i], &status);
	done(arg, &status, good ? of->found : NULL, good ? n_ids : 0);
	from->methods->release(from, of->values, n_ids);
	from->methods->read_end(from);
}

bool
vectors_created(vectors *self, engine_slice name, engine_version *created,
				engine_status *status)
{
	vector_space *space;

	if (!vector_check_space(name, status))
		return false;
	space = vectors_use(self, name, status);
	if (space == NULL)
		return false;
	*created = space->entry.created;
	vector_space_release(space);
	return true;
}

void
vectors_get(vectors *self, engine_slice name, const engine_slice *ids, size_t n_ids,
			engine_vectors_done done, void *arg)
{
	engine_status status;
	vector_space *space = NULL;
	reading		of = {0};
	bool		good = vector_check_space(name, &status);

	for (size_t i = 0; i < n_ids && good; i++)
		good = vector_check_id(ids[i], &status);
	if (good)
		space = vectors_use(self, name, &status);
	if (space == NULL)
	{
		done(arg, &status, NULL, 0);
		return;
	}
	arena_init(&of.memory);
	of.keys = arena_alloc(&of.memory, n_ids * sizeof(*of.keys));
	of.values = arena_alloc(&of.memory, n_ids * sizeof(*of.values));
	of.found = arena_alloc(&of.memory, n_ids * sizeof(*of.found));
	for (size_t i = 0; i < n_ids; i++)
		of.keys[i] = vector_key(space->entry.created, ids[i],
								arena_alloc(&of.memory, VECTOR_KEY_SIZE(ids[i].size)));
	vector_space_release(space);
	read_ids(self->options.table, &of, ids, n_ids, done, arg);
	arena_free(&of.memory);
}
