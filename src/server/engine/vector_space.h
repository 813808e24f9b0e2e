/*
 * vector_space.h - the files of vectors.h among themselves.
 */
#ifndef NORIKVD_ENGINE_VECTOR_SPACE_H
#define NORIKVD_ENGINE_VECTOR_SPACE_H

#include <pthread.h>
#include <stdatomic.h>

#include "id_set.h"
#include "util.h"
#include "vector_entry.h"
#include "vectors.h"

typedef struct vector_pool vector_pool;
typedef struct vector_keeper vector_keeper;

/* An index: as it is stored, and in memory. */
struct vector_space
{
	vectors    *owner;
	char	   *name;
	size_t		name_size;
	index_entry entry;
	/* One for the list it is in, one for everybody who uses it now. */
	atomic_uint references;
	_Atomic engine_index_state state;
	atomic_bool dropped;		/* its snapshot goes with it */
	_Atomic uint64_t loaded;	/* vectors that have been read by now */
	_Atomic uint64_t changes;	/* since the last snapshot */
	uint64_t	saved_ms;		/* when that was; the keeper's own */
	/* Where it did not fit, when and beside what; the keeper's own. */
	uint64_t	given_up_ms;	/* 0: not noted */
	uint64_t	pause_ms;		/* before it is tried again */
	uint64_t	bytes_then;		/* of the others */
	uint64_t	changes_then;
	bool		again;			/* it is not read for the first time */
	_Atomic uint64_t counted;	/* bytes, in the owner's sum */

	pthread_mutex_t lock;		/* of the two, and of changes made while it is loaded */
	vector_index *index;		/* NULL: not in memory yet, or too large for it */
	id_set		deleted;		/* while it is loaded */

	/* The committer's own. */
	size_t		reserved;
	size_t		reserved_bytes; /* of ids */

	vector_space *next;			/* among those to be buried */
};

struct vectors
{
	vectors_options options;
	vector_workers *workers;
	pthread_rwlock_t lock;		/* of the list; the committer alone changes it */
	vector_space **spaces;		/* by name */
	size_t		n_spaces;
	size_t		room;
	_Atomic uint64_t bytes;		/* the indexes' memory */
	/* Newest version, packed, when the indexes were read: later ones are changes. */
	_Atomic uint64_t floor;
	vector_pool *pool;
	vector_keeper *keeper;
};

static inline engine_slice
vector_space_name(const vector_space *self)
{
	return (engine_slice) {self->name, self->name_size};
}

/* ---- vectors.c ---- */

/* One to be released, or NULL with *status set. */
extern vector_space *vectors_use(vectors *self, engine_slice name, engine_status *status);
extern void vector_space_release(vector_space *self);
/* All of them, to be released; for the keeper. */
extern vector_space **vectors_use_all(vectors *self, size_t *n);

/* ---- vector_space.c ---- */

extern vector_space *vector_space_new(vectors *owner, engine_slice name,
									  const index_entry *stored);
extern void vector_space_free(vector_space *self);
extern vector_index *vector_space_make_index(vector_space *self);
/* Brings the owner's sum up to date. */
extern void vector_space_count_memory(vector_space *self);
/* So many bytes more are within the limit. */
extern bool vectors_have_room(const vectors *self, uint64_t size);
/* The same for what is in the store already. */
extern bool vectors_can_load(const vectors *self, uint64_t size);
/* To be read once more, where it did not fit when it was read. */
extern bool vector_space_try_again(vector_space *self);
/* Not in memory from now on; why goes to the log. */
extern void vector_space_give_up(vector_space *self, const char *why);

/* ---- vector_load.c ---- */

/* False: nothing came of it, try again. */
extern bool vector_space_load(vector_space *self, const atomic_bool *closing);

/* ---- vector_snapshot.c ---- */

extern bool vector_snapshots_prepare(const vectors *self, engine_status *status);
/* NULL: there is none that is of use. */
extern vector_index *vector_snapshot_load(vector_space *self,
										  const vector_index_options *options);
extern bool vector_snapshot_save(vector_space *self);
extern void vector_snapshot_remove(const vector_space *self);
/* Those of indexes that are no longer there. */
extern void vector_snapshots_sweep(vectors *self);

/* ---- vector_keeper.c ---- */

extern vector_keeper *vector_keeper_make(vectors *owner);
extern bool vector_keeper_start(vector_keeper *self);
/* What it is at ends first. */
extern void vector_keeper_stop(vector_keeper *self);
/* With all that it was given. */
extern void vector_keeper_free(vector_keeper *self);
/* There is something to load, or to save. */
extern void vector_keeper_wake(vector_keeper *self);
/* Nobody uses it any more. */
extern void vector_keeper_bury(vector_keeper *self, vector_space *gone);

/* ---- vector_search.c ---- */

extern vector_pool *vector_pool_start(void);
/* Answers those that wait with UNAVAILABLE. */
extern void vector_pool_stop(vector_pool *self);

#endif
