/*
 * vector_load.c - brings an index into memory, while the store goes on changing.
 *
 * First the index is there, empty or from a snapshot, and the committer makes its
 * changes in it; only then the store is read. So each vector of the store is either
 * read or put by the committer, or both: then the committer's stays. Ids that are
 * deleted meanwhile are noted, lest what was read before brings them back. Ids that
 * only the snapshot has are looked for at the end.
 */
#include <stdlib.h>
#include <time.h>

#include "vector_space.h"

/* Read in one go; the table can be opened anew, after a failure, between two. */
#define VECTORS_PER_STEP 1024

typedef struct load
{
	vector_space *space;
	bool		from_snapshot;
	uint64_t	seen;			/* in the store */
	bytes		next;			/* key to go on with */
	float	   *floats;
	bool		tight;			/* there may not be room for all of a step */
	bool		full;			/* it does not fit into the memory */
} load;

static void
pause_a_little(void)
{
	struct timespec a_little = {0, 100 * 1000000L};

	nanosleep(&a_little, NULL);
}

/* ---- From the store ---- */

/*
 * What is there already is a change made since the store was opened, or comes from
 * the snapshot. A snapshot may have what the store has lost (--sync=off, files copied
 * one after the other): then the store is right.
 */
static bool
is_wanted(vector_space *space, engine_slice id, engine_version version)
{
	vector_version present;
	uint64_t	packed;

	if (!vector_index_get(space->index, id.data, id.size, &present, NULL))
		return true;
	packed = version_pack((engine_version) {present.term, present.index});
	return packed != version_pack(version) && packed <= atomic_load(&space->owner->floor);
}

static bool
has_room(const load *self, size_t n_vectors, size_t id_bytes)
{
	vector_space *space = self->space;

	vector_space_count_memory(space);
	return vectors_can_load(space->owner, vector_index_bytes_needed(space->index,
																	 n_vectors, id_bytes));
}

static bool
put(load *self, engine_slice id, const entry *found)
{
	vector_space *space = self->space;
	vector_version version = {found->version.term, found->version.index};

	if (self->tight && !has_room(self, 1, id.size))
		return false;

	memcpy(self->floats, found->value.data, found->value.size);
	return vector_index_put(space->index, id.data, id.size, version, self->floats,
							NULL) == VECTOR_OK;
}

static void
take(load *self, engine_slice key, engine_slice stored)
{
	vector_space *space = self->space;
	engine_slice id = vector_key_id(key);
	entry		found;

	self->seen++;
	if (!entry_decode(stored, &found) ||
		found.value.size != space->entry.index.dimensions * sizeof(float))
	{
		space->owner->options.log(ENGINE_LOG_ERROR,
								  "a stored vector is damaged, and is left out");
		return;
	}
	pthread_mutex_lock(&space->lock);
	if (!id_set_has(&space->deleted, id) && is_wanted(space, id, found.version) &&
		!put(self, id, &found))
		self->full = true;
	pthread_mutex_unlock(&space->lock);
}

/* False: the store could not be read now. *more: it is not all of it. */
static bool
read_step(load *self, bool *more)
{
	table	   *from = self->space->owner->options.table;
	char		end[8];
	table_range range = {
		.space = TABLE_VECTOR,
		.start = bytes_slice(&self->next),
		.end = vector_key_end(self->space->entry.created, end),
	};
	table_iterator *iterator;
	engine_slice key;
	engine_slice stored;
	engine_status status;
	bytes		last = {0};
	size_t		n = 0;
	bool		good;

	if (!from->methods->read_begin(from, &status))
		return false;
	iterator = from->methods->iterate(from, &range);
	while (n < VECTORS_PER_STEP && !self->full &&
		   from->methods->next(iterator, &key, &stored))
	{
		take(self, key, stored);
		last.size = 0;
		bytes_append(&last, key.data, key.size);
		n++;
	}
	*more = n == VECTORS_PER_STEP;
	atomic_store(&self->space->loaded, self->seen);
	if (n > 0)
	{
		self->next.size = 0;
		bytes_append(&self->next, last.data, last.size);
		bytes_append(&self->next, "", 1);
	}
	bytes_free(&last);
	good = from->methods->iterate_end(iterator, &status);
	*more = *more || !good;
	from->methods->read_end(from);
	return good;
}

/* False: closing, or it does not fit. */
static bool
read_store(load *self, const atomic_bool *closing)
{
	bool		more = true;

	while (more)
	{
		if (atomic_load(closing) || self->full)
			return false;
		self->tight = !has_room(self, VECTORS_PER_STEP,
								VECTORS_PER_STEP * VECTOR_MAX_ID_SIZE);
		if (!read_step(self, &more))
			pause_a_little();
	}
	return !self->full;
}

/* ---- What only the snapshot has ---- */

static bool
is_stored(vector_space *space, engine_slice id, bool *stored)
{
	table	   *from = space->owner->options.table;
	char		buffer[VECTOR_KEY_SIZE(VECTOR_MAX_ID_SIZE)];
	table_value value;
	engine_status status;
	bool		good;

	if (!from->methods->read_begin(from, &status))
		return false;
	good = from->methods->get(from, TABLE_VECTOR,
							  vector_key(space->entry.created, id, buffer), &value,
							  &status);
	*stored = good && value.found;
	if (good)
		from->methods->release(from, &value, 1);
	from->methods->read_end(from);
	return good;
}

/* False: the store could not be read. */
static bool
remove_if_gone(vector_space *space, const vector_match *match)
{
	vector_version present;
	bool		stored;

	if (!is_stored(space, slice_of(match->id, match->id_size), &stored))
		return false;
	if (stored)
		return true;
	pthread_mutex_lock(&space->lock);
	/* Unless it was put this moment. */
	if (vector_index_get(space->index, match->id, match->id_size, &present, NULL) &&
		present.term == match->version.term && present.index == match->version.index)
		vector_index_delete(space->index, match->id, match->id_size);
	pthread_mutex_unlock(&space->lock);
	return true;
}

static bool
remove_ghosts(load *self, const atomic_bool *closing)
{
	vector_space *space = self->space;
	vector_query query = {.values = self->floats, .exact = true};
	vector_index_stats stats;
	vector_matches all;
	bool		good = true;

	vector_index_stats_of(space->index, &stats);
	pthread_mutex_lock(&space->lock);
	good = stats.count + space->deleted.n_ids <= self->seen;
	pthread_mutex_unlock(&space->lock);
	if (!self->from_snapshot || good)
		return true;
	/* Any direction will do to list them all. */
	memset(self->floats, 0, space->entry.index.dimensions * sizeof(float));
	self->floats[0] = 1;
	if (vector_index_search(space->index, &query, stats.count + VECTORS_PER_STEP, &all,
							NULL) != VECTOR_OK)
		return false;
	good = true;
	for (size_t i = 0; i < all.count && good; i++)
		good = !atomic_load(closing) && remove_if_gone(space, &all.items[i]);
	vector_matches_free(&all);
	return good;
}

/* ---- The whole ---- */

static void
set_index(vector_space *space, vector_index *index)
{
	pthread_mutex_lock(&space->lock);
	space->index = index;
	id_set_free(&space->deleted);
	pthread_mutex_unlock(&space->lock);
	vector_space_count_memory(space);
}

static void
set_ready(vector_space *space)
{
	pthread_mutex_lock(&space->lock);
	/* The committer may have found that it does not fit. */
	if (atomic_load(&space->state) == ENGINE_INDEX_LOADING)
		atomic_store(&space->state, ENGINE_INDEX_READY);
	id_set_free(&space->deleted);
	pthread_mutex_unlock(&space->lock);
}

static void
drop_index(vector_space *space)
{
	vector_index *dropped = space->index;

	set_index(space, NULL);
	vector_index_destroy(dropped);
}

static bool
fill(load *self, const atomic_bool *closing)
{
	vector_space *space = self->space;

	if (!read_store(self, closing))
	{
		if (!atomic_load(closing))
			vector_space_give_up(space, "it does not fit");
		return atomic_load(&space->state) == ENGINE_INDEX_TOO_LARGE;
	}
	if (!remove_ghosts(self, closing))
		return false;
	set_ready(space);
	return true;
}

bool
vector_space_load(vector_space *space, const atomic_bool *closing)
{
	load		self = {.space = space};
	vector_index *index;
	char		start[8];
	vector_index_stats stats;
	bool		done;

	index = vector_space_make_index(space);
	if (index == NULL)
	{
		vector_space_give_up(space, "there is no memory for it");
		return true;
	}
	vector_index_stats_of(index, &stats);
	self.from_snapshot = stats.count > 0;
	self.floats = engine_malloc(space->entry.index.dimensions * sizeof(float));
	vector_key_start(space->entry.created, start);
	bytes_append(&self.next, start, sizeof(start));
	atomic_store(&space->changes, self.from_snapshot ? 0 : 1);
	set_index(space, index);
	done = fill(&self, closing);
	if (atomic_load(&space->state) != ENGINE_INDEX_READY)
		drop_index(space);
	free(self.floats);
	bytes_free(&self.next);
	vector_space_count_memory(space);
	return done;
}
