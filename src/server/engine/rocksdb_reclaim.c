/*
 * rocksdb_reclaim.c - flushes, so that logs become obsolete, and compacts.
 *
 * What fails for want of room is left as it is: it is tried again after the next
 * deletions. The last level is spared unless deletions reach it, so a large store
 * is not rewritten as a whole.
 */
#include "rocksdb_reclaim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Well below the number of files at which RocksDB slows writes down. */
#define MANY_FILES 12
#define SKIP_LAST_LEVEL 0
/* What a file needs beside its entries, and RocksDB's own records. */
#define FILE_OVERHEAD (1024 * 1024)

static uint64_t
room_on_disk(const char *directory)
{
	struct statvfs disk;
	uint64_t	room = 0;
	int			fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && fstatvfs(fd, &disk) == 0)
		room = (uint64_t) disk.f_bavail * disk.f_frsize;
	if (fd >= 0)
		close(fd);
	return room;
}

static uint64_t
number_of_files(const rocksdb_reclaim *self, table_space space)
{
	char	   *text = rocksdb_property_value_cf(self->database, self->spaces[space],
												 "rocksdb.num-files-at-level0");
	uint64_t	number = text != NULL ? strtoull(text, NULL, 10) : 0;

	rocksdb_free(text);
	return number;
}

/* A flush that fails stops all writes: so only where it is sure to fit. */
static bool
may_flush(const rocksdb_reclaim *self, table_space space)
{
	uint64_t	buffered = 0;

	if (rocksdb_property_int_cf(self->database, self->spaces[space],
								"rocksdb.cur-size-all-mem-tables", &buffered) != 0)
		return false;
	return number_of_files(self, space) < MANY_FILES &&
		buffered + FILE_OVERHEAD < room_on_disk(self->directory);
}

static bool
flush(const rocksdb_reclaim *self)
{
	rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
	bool		good = true;

	for (int space = 0; space < TABLE_SPACES; space++)
	{
		char	   *message = NULL;

		if (may_flush(self, space))
			rocksdb_flush_cf(self->database, options, self->spaces[space], &message);
		else
			good = false;
		good = good && message == NULL;
		rocksdb_free(message);
	}
	rocksdb_flushoptions_destroy(options);
	return good;
}

static void *
reclaim_main(void *arg)
{
	rocksdb_reclaim *self = arg;
	rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();

	rocksdb_compactoptions_set_exclusive_manual_compaction(options, 0);
	rocksdb_compactoptions_set_bottommost_level_compaction(options, SKIP_LAST_LEVEL);
	if (flush(self))
		atomic_store(&self->flushed, true);
	for (int space = 0; space < TABLE_SPACES; space++)
		rocksdb_compact_range_cf_opt(self->database, self->spaces[space], options,
									 NULL, 0, NULL, 0);
	rocksdb_compactoptions_destroy(options);
	atomic_store(&self->finished, true);
	return NULL;
}

static void
join(rocksdb_reclaim *self)
{
	if (self->started)
		pthread_join(self->thread, NULL);
	self->started = false;
}

bool
rocksdb_reclaim_start(rocksdb_reclaim *self, const char *directory, rocksdb_t *database,
					  rocksdb_column_family_handle_t *const *spaces)
{
	if (self->started && !atomic_load(&self->finished))
		return false;
	join(self);
	self->directory = directory;
	self->database = database;
	memcpy(self->spaces, spaces, sizeof(self->spaces));
	atomic_store(&self->finished, false);
	self->started = pthread_create(&self->thread, NULL, reclaim_main, self) == 0;
	return self->started;
}

void
rocksdb_reclaim_end(rocksdb_reclaim *self)
{
	join(self);
	atomic_store(&self->flushed, false);
}
