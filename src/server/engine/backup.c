/*
 * backup.c - copies the store into a directory of its own: whole and on disk, or
 * not there.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "local.h"
#include "util.h"

typedef struct backup
{
	local_engine *engine;
	const char *directory;
	engine_status *status;
	bool		good;
} backup;

/* ---- On disk ---- */

static bool
sync_file(int at, const char *name)
{
	int			fd = openat(at, name, O_RDONLY | O_CLOEXEC);
	bool		good = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return good;
}

/* The files, then the directory with their names. */
static bool
sync_directory(int at, const char *name)
{
	int			fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR		   *listing = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *found;
	bool		good = listing != NULL;

	while (good && (found = readdir(listing)) != NULL)
	{
		if (found->d_name[0] != '.')
			good = sync_file(fd, found->d_name);
	}
	good = good && fsync(fd) == 0;
	if (listing != NULL)
		closedir(listing);
	else if (fd >= 0)
		close(fd);
	return good;
}

/* RocksDB syncs only some of the files that it copies. */
static bool
sync_all(backup *self)
{
	int			fd = open(self->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool		good = fd >= 0 && sync_directory(fd, "db") &&
		sync_directory(fd, ".") && sync_file(fd, "..");

	if (!good)
		status_set(self->status, ENGINE_INTERNAL,
				   "cannot sync the backup directory \"%s\": %m", self->directory);
	if (fd >= 0)
		close(fd);
	return good;
}

/* ---- After a failure ---- */

static int
remove_one(const char *path, const struct stat *found, int kind, struct FTW *at)
{
	(void) found;
	(void) kind;
	(void) at;
	return remove(path);
}

static void
remove_all(const backup *self)
{
	if (nftw(self->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		self->engine->log(ENGINE_LOG_WARNING,
						  "the backup failed, and \"%s\" could not be removed: %m",
						  self->directory);
}

/* ---- The copy ---- */

static void
backup_at_rest(void *arg)
{
	backup	   *self = arg;
	table	   *from = self->engine->table;
	char	   *database = engine_malloc(strlen(self->directory) + sizeof("/db"));

	sprintf(database, "%s/db", self->directory);
	self->good = from->methods->checkpoint(from, database, self->status) &&
		directory_copy_records(self->engine->directory, self->directory, self->status) &&
		sync_all(self);
	free(database);
}

bool
engine_backup(engine *base, const char *directory, engine_status *status)
{
	local_engine *self = (local_engine *) base;
	backup		job = {self, directory, status, false};

	if (self->directory == NULL)
	{
		status_set(status, ENGINE_UNIMPLEMENTED,
				   "the %s engine has nothing on disk to back up", self->name);
		return false;
	}
	if (mkdir(directory, 0700) != 0)
	{
		status_set(status, ENGINE_FAILED_PRECONDITION,
				   "cannot create the backup directory \"%s\": %m", directory);
		return false;
	}
	status_ok(status);
	committer_run(self->committer, backup_at_rest, &job);
	if (!job.good)
		remove_all(&job);
	return job.good;
}
