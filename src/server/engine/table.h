/*
 * table.h - an ordered table of bytes: what the local engine needs from storage.
 *
 * One thread writes: it gathers a batch and applies it as a whole. Any thread
 * reads, between read_begin and read_end; a table that has to be closed and
 * opened again (after a full disk) waits for those sections, so nothing is
 * pulled away from under a reader.
 */
#ifndef NORIKVD_ENGINE_TABLE_H
#define NORIKVD_ENGINE_TABLE_H

#include "engine.h"

typedef struct table table;
typedef struct table_snapshot table_snapshot;
typedef struct table_iterator table_iterator;

/* Keys of different spaces never meet, and are written in one batch. */
typedef enum table_space
{
	TABLE_META,					/* the store's own records */
	TABLE_DATA,					/* key -> entry */
	TABLE_EXPIRY,				/* instant, key -> nothing */
	TABLE_IDEMPOTENCY,			/* remembered answers */
	TABLE_INDEX,				/* namespace -> index of vectors */
	TABLE_VECTOR,				/* index, id -> entry */
	TABLE_SPACES
} table_space;

typedef struct table_value
{
	bool		found;
	engine_slice bytes;
	void	   *pin;			/* keeps the bytes where they are */
} table_value;

typedef struct table_range
{
	table_space space;
	table_snapshot *snapshot;	/* NULL: as it is now */
	engine_slice start;			/* inclusive */
	engine_slice end;			/* exclusive; empty: to the last key */
	bool		reverse;
} table_range;

typedef struct table_methods
{
	/*
	 * Sections nest within a thread. False, with *status set, while the table
	 * cannot be read at all.
	 */
	bool		(*read_begin) (table *self, engine_status *status);
	void		(*read_end) (table *self);

	/* Within a section, as is what follows. Values are released in it too. */
	bool		(*get) (table *self, table_space space, engine_slice key,
						table_value *value, engine_status *status);
	bool		(*multi_get) (table *self, table_space space, const engine_slice *keys,
							  size_t n_keys, table_value *values, engine_status *status);
	void		(*release) (table *self, table_value *values, size_t n_values);

	/* Slices of one step are valid until the next. */
	table_iterator *(*iterate) (table *self, const table_range *range);
	bool		(*next) (table_iterator *iterator, engine_slice *key,
						 engine_slice *value);
	/* False, with *status set, where reading failed on the way. */
	bool		(*iterate_end) (table_iterator *iterator, engine_status *status);

	table_snapshot *(*snapshot) (table *self);
	/* A table that was opened again has lost its snapshots. */
	bool		(*snapshot_valid) (table *self, const table_snapshot *snapshot);
	void		(*snapshot_release) (table *self, table_snapshot *snapshot);

	/* The one writer's. A value is given in two parts, to spare a copy. */
	void		(*put) (table *self, table_space space, engine_slice key,
						engine_slice head, engine_slice tail);
	void		(*delete) (table *self, table_space space, engine_slice key);
	void		(*delete_range) (table *self, table_space space,
								 engine_slice start, engine_slice end);
	/*
	 * Applies the batch and empties it. With sync it returns once the batch is
	 * on disk. When it fails the batch may or may not be in the table:
	 * reopen, then look. RESOURCE_EXHAUSTED: the disk is full.
	 */
	bool		(*write) (table *self, bool sync, engine_status *status);
	void		(*discard) (table *self);

	/*
	 * In the background, gives the room of what was deleted back to the disk.
	 * False: not now. Only of a table on disk.
	 */
	bool		(*reclaim) (table *self);
	/* Since the table was opened that has come as far as emptying the buffers: to
	 * open it again would need little room. */
	bool		(*reclaimed) (table *self);
	/* Closes and opens again. False: reads at best, until it succeeds. */
	bool		(*reopen) (table *self, engine_status *status);
	/* A consistent copy into a directory that does not exist. */
	bool		(*checkpoint) (table *self, const char *directory, engine_status *status);
	void		(*close) (table *self);
} table_methods;

struct table
{
	const table_methods *methods;
};

extern table *table_memory_open(void);

typedef struct table_rocksdb_options
{
	const char *directory;
	uint64_t	max_memory;
	engine_log	log;
} table_rocksdb_options;

extern table *table_rocksdb_open(const table_rocksdb_options *options,
								 engine_status *status);

#endif
