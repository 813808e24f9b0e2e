/*
 * rocksdb_files.c - what RocksDB finds in its directory, made fit to be opened.
 *
 * A process that was killed leaves writes in its logs that are not on disk. RocksDB
 * takes them over, goes on in a new log and never syncs the old ones. If the power
 * then goes, what the new log has, acknowledged, stands behind a gap and is lost
 * with it; so the logs are on disk before they are read.
 *
 * It also leaves a copy of its options at every open, under a temporary name that
 * nothing in it ever removes.
 */
#include "rocksdb_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "util.h"

static bool
sync_file(int at, const char *name, int flags)
{
	int			fd = openat(at, name, flags | O_CLOEXEC);
	bool		good = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return good;
}

static bool
ends_with(const char *name, const char *suffix)
{
	size_t		size = strlen(name);
	size_t		suffix_size = strlen(suffix);

	return size >= suffix_size && strcmp(name + size - suffix_size, suffix) == 0;
}

bool
rocksdb_files_prepare(const char *directory, engine_status *status)
{
	DIR		   *listing = opendir(directory);
	struct dirent *found;
	bool		good = true;

	status_ok(status);
	if (listing == NULL)
		return true;			/* none yet: RocksDB makes it, or says why not */
	while (good && (found = readdir(listing)) != NULL)
	{
		if (ends_with(found->d_name, ".log"))
			good = sync_file(dirfd(listing), found->d_name, O_RDONLY);
		else if (strncmp(found->d_name, "OPTIONS-", 8) == 0 &&
				 ends_with(found->d_name, ".dbtmp"))
			unlinkat(dirfd(listing), found->d_name, 0);
	}
	good = good && sync_file(dirfd(listing), ".", O_RDONLY | O_DIRECTORY);
	if (!good)
		status_set(status,
				   errno == ENOSPC ? ENGINE_RESOURCE_EXHAUSTED : ENGINE_UNAVAILABLE,
				   "cannot sync the logs in \"%.300s\": %m", directory);
	closedir(listing);
	return good;
}

bool
rocksdb_files_supersede_logs(rocksdb_t *database,
							 rocksdb_column_family_handle_t *const *spaces,
							 engine_status *status)
{
	rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
	char	   *message = NULL;

	status_ok(status);
	rocksdb_flushoptions_set_wait(options, 1);
	for (int space = 0; space < TABLE_SPACES && message == NULL; space++)
		rocksdb_flush_cf(database, options, spaces[space], &message);
	rocksdb_flushoptions_destroy(options);
	if (message == NULL)
		return true;
	status_set(status, ENGINE_UNAVAILABLE, "RocksDB: %s", message);
	rocksdb_free(message);
	return false;
}
