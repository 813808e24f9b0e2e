/*
 * vectors.c - the list of indexes.
 */
#include "vectors.h"

#include <stdlib.h>
#include <unistd.h>

#include "vector_space.h"

#define MAX_WORKERS 64

/* ---- The list, by name ---- */

/* Where it is, or where it would be. */
static size_t
find_place(const vectors *self, engine_slice name, bool *found)
{
	size_t		low = 0;
	size_t		high = self->n_spaces;

	*found = false;
	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;
		int			order = slice_compare(vector_space_name(self->spaces[middle]), name);

		if (order == 0)
		{
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
insert(vectors *self, vector_space *added)
{
	bool		found;
	size_t		at = find_place(self, vector_space_name(added), &found);

	pthread_rwlock_wrlock(&self->lock);
	if (self->n_spaces == self->room)
	{
		self->room = self->room * 2 + 16;
		self->spaces = engine_realloc(self->spaces, self->room * sizeof(*self->spaces));
	}
	memmove(&self->spaces[at + 1], &self->spaces[at],
			(self->n_spaces - at) * sizeof(*self->spaces));
	self->spaces[at] = added;
	self->n_spaces++;
	pthread_rwlock_unlock(&self->lock);
}

vector_space *
vectors_find(vectors *self, engine_slice name)
{
	bool		found;
	size_t		at = find_place(self, name, &found);

	return found ? self->spaces[at] : NULL;
}

vector_space *
vectors_use(vectors *self, engine_slice name, engine_status *status)
{
	vector_space *used = NULL;
	char		shown[SLICE_SHOWN];
	bool		found;
	size_t		at;

	pthread_rwlock_rdlock(&self->lock);
	at = find_place(self, name, &found);
	if (found)
	{
		used = self->spaces[at];
		atomic_fetch_add(&used->references, 1);
	}
	pthread_rwlock_unlock(&self->lock);
	if (used == NULL)
		status_set(status, ENGINE_NOT_FOUND, "namespace \"%s\" has no vector index",
				   slice_show(name, shown, sizeof(shown)));
	else
		status_ok(status);
	return used;
}

vector_space **
vectors_use_all(vectors *self, size_t *n)
{
	vector_space **used;

	pthread_rwlock_rdlock(&self->lock);
	*n = self->n_spaces;
	used = engine_malloc(self->n_spaces * sizeof(*used));
	for (size_t i = 0; i < self->n_spaces; i++)
	{
		used[i] = self->spaces[i];
		atomic_fetch_add(&used[i]->references, 1);
	}
	pthread_rwlock_unlock(&self->lock);
	return used;
}

void
vector_space_release(vector_space *self)
{
	if (atomic_fetch_sub(&self->references, 1) == 1)
		vector_keeper_bury(self->owner->keeper, self);
}

/* ---- Created and dropped ---- */

void
vectors_create(vectors *self, engine_slice name, const engine_index *index,
			   engine_version created)
{
	index_entry stored = {*index, created};
	vector_space *added = vector_space_new(self, name, &stored);

	added->index = vector_space_make_index(added);
	if (added->index != NULL)
		atomic_store(&added->state, ENGINE_INDEX_READY);
	else
		vector_space_give_up(added, "there is no memory for a new index");
	vector_space_count_memory(added);
	insert(self, added);
}

/* Its last user frees it. */
static void
remove_space(vectors *self, vector_space *removed)
{
	bool		found;
	size_t		at = find_place(self, vector_space_name(removed), &found);

	pthread_rwlock_wrlock(&self->lock);
	memmove(&self->spaces[at], &self->spaces[at + 1],
			(self->n_spaces - at - 1) * sizeof(*self->spaces));
	self->n_spaces--;
	pthread_rwlock_unlock(&self->lock);
	vector_space_release(removed);
}

void
vectors_drop(vectors *self, vector_space *dropped)
{
	atomic_store(&dropped->dropped, true);
	remove_space(self, dropped);
}

/* ---- From the store ---- */

static bool
read_indexes(vectors *self, engine_status *status)
{
	table	   *from = self->options.table;
	table_range all = {.space = TABLE_INDEX};
	table_iterator *iterator;
	engine_slice name;
	engine_slice stored;
	engine_status failure;
	bool		good = true;
	char		shown[SLICE_SHOWN];

	if (!from->methods->read_begin(from, status))
		return false;
	iterator = from->methods->iterate(from, &all);
	while (good && from->methods->next(iterator, &name, &stored))
	{
		index_entry found;

		good = index_entry_decode(stored, &found);
		if (good)
			insert(self, vector_space_new(self, name, &found));
		else
			status_set(status, ENGINE_DATA_LOSS, "the vector index \"%s\" is damaged",
					   slice_show(name, shown, sizeof(shown)));
	}
	if (!from->methods->iterate_end(iterator, &failure) && good)
	{
		*status = failure;
		good = false;
	}
	from->methods->read_end(from);
	return good;
}

void
vectors_reload(vectors *self, engine_version last)
{
	engine_status status;

	atomic_store(&self->floor, version_pack(last));
	while (self->n_spaces > 0)
		remove_space(self, self->spaces[self->n_spaces - 1]);
	if (!read_indexes(self, &status))
		self->options.log(ENGINE_LOG_ERROR, "vector indexes cannot be read: %s",
						  status.text);
	vector_keeper_wake(self->keeper);
}

static vector_workers *
start_workers(void)
{
	long		processors = sysconf(_SC_NPROCESSORS_ONLN);

	return vector_workers_start(processors < 1 ? 1 : processors > MAX_WORKERS
								? MAX_WORKERS : (unsigned) processors);
}

vectors *
vectors_open(const vectors_options *options, engine_status *status)
{
	vectors    *self = engine_calloc(sizeof(*self));

	self->options = *options;
	atomic_store(&self->floor, version_pack(options->last));
	pthread_rwlock_init(&self->lock, NULL);
	self->keeper = vector_keeper_make(self);
	status_ok(status);
	if (vector_snapshots_prepare(self, status) && read_indexes(self, status))
	{
		self->workers = start_workers();
		self->pool = vector_pool_start();
		if (self->workers != NULL && self->pool != NULL &&
			vector_keeper_start(self->keeper))
			return self;
		status_set(status, ENGINE_INTERNAL, "cannot start the threads for vectors");
	}
	vectors_close(self, false);
	return NULL;
}

/* What a clean end may take: norikvd is to be gone within five seconds. */
#define SAVED_AT_THE_END (UINT64_C(256) << 20)

static void
save_all(vectors *self)
{
	uint64_t	left = SAVED_AT_THE_END;

	for (size_t i = 0; i < self->n_spaces; i++)
	{
		vector_space *at = self->spaces[i];
		vector_index_stats stats;

		if (at->index == NULL || atomic_load(&at->changes) == 0 ||
			atomic_load(&at->state) != ENGINE_INDEX_READY)
			continue;
		vector_index_stats_of(at->index, &stats);
		if (stats.bytes > left || !vector_snapshot_save(at))
			continue;
		left -= stats.bytes;
	}
}

void
vectors_close(vectors *self, bool at_rest)
{
	if (self->pool != NULL)
		vector_pool_stop(self->pool);
	vector_keeper_stop(self->keeper);
	if (at_rest)
		save_all(self);
	while (self->n_spaces > 0)
		vector_space_release(self->spaces[--self->n_spaces]);
	vector_keeper_free(self->keeper);
	if (self->workers != NULL)
		vector_workers_stop(self->workers);
	pthread_rwlock_destroy(&self->lock);
	free(self->spaces);
	free(self);
}

/* ---- What there is ---- */

static bool
has_prefix(const vector_space *self, engine_slice prefix)
{
	return self->name_size >= prefix.size &&
		(prefix.size == 0 || memcmp(self->name, prefix.data, prefix.size) == 0);
}

static void
describe(vector_space *self, engine_index_info *info)
{
	vector_index_stats stats = {0};

	*info = (engine_index_info) {
		.space = vector_space_name(self),
		.index = self->entry.index,
		.state = atomic_load(&self->state),
		.version = self->entry.created,
		.vectors = atomic_load(&self->loaded),
	};
	if (info->state != ENGINE_INDEX_READY)
		return;
	vector_index_stats_of(self->index, &stats);
	info->vectors = stats.count;
	info->memory_bytes = stats.bytes;
	info->pending = stats.unlinked;
}

void
vectors_list(vectors *self, engine_slice prefix, engine_indexes_done done, void *arg)
{
	size_t		n;
	size_t		n_found = 0;
	vector_space **all = vectors_use_all(self, &n);
	engine_index_info *found = engine_malloc(n * sizeof(*found));
	engine_status status;

	for (size_t i = 0; i < n; i++)
	{
		if (has_prefix(all[i], prefix))
			describe(all[i], &found[n_found++]);
	}
	status_ok(&status);
	done(arg, &status, found, n_found);
	for (size_t i = 0; i < n; i++)
		vector_space_release(all[i]);
	free(all);
	free(found);
}
