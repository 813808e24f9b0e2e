/*
 * vector_snapshot.c - graphs in files, so that a start need not make them again.
 *
 * A file is named after the version of its index's creation, which is also in it. It
 * is not durable data: whoever loads it compares every vector with the store.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vector_space.h"

#define SUFFIX ".index"
/* Left on the disk for the store. */
#define ROOM_LEFT (UINT64_C(64) << 20)

bool
vector_snapshots_prepare(const vectors *self, engine_status *status)
{
	const char *directory = self->options.directory;

	if (directory == NULL || mkdir(directory, 0700) == 0 || errno == EEXIST)
		return true;
	/* Without room for it there are no snapshots, and the store serves all the same. */
	if (errno == ENOSPC || errno == EDQUOT || errno == EROFS)
		return true;
	status_set(status, ENGINE_INTERNAL, "cannot make the directory \"%s\": %m", directory);
	return false;
}

static char *
path_of(const vector_space *self)
{
	const char *directory = self->owner->options.directory;
	size_t		size;
	char	   *path;

	if (directory == NULL)
		return NULL;
	size = strlen(directory) + sizeof("/0123456789abcdef" SUFFIX);
	path = engine_malloc(size);
	snprintf(path, size, "%s/%016llx" SUFFIX, directory,
			 (unsigned long long) version_pack(self->entry.created));
	return path;
}

static bool
is_small_enough(const vectors *self, const char *path)
{
	struct stat file;

	return stat(path, &file) == 0 && vectors_have_room(self, (uint64_t) file.st_size);
}

vector_index *
vector_snapshot_load(vector_space *self, const vector_index_options *options)
{
	char	   *path = path_of(self);
	vector_version position;
	vector_status status;
	vector_index *loaded = NULL;

	if (path != NULL && is_small_enough(self->owner, path))
	{
		loaded = vector_index_load(path, options, &position, &status);
		if (loaded == NULL)
			self->owner->options.log(ENGINE_LOG_WARNING,
									 "the snapshot of a vector index is not used, and "
									 "its graph is made anew: %s", status.text);
		else if (position.term != self->entry.created.term ||
				 position.index != self->entry.created.index)
		{
			vector_index_destroy(loaded);
			loaded = NULL;
		}
	}
	free(path);
	return loaded;
}

static bool
has_room_on_disk(vector_space *self)
{
	struct statvfs disk;
	vector_index_stats stats;

	vector_index_stats_of(self->index, &stats);
	return statvfs(self->owner->options.directory, &disk) == 0 &&
		(uint64_t) disk.f_bavail * disk.f_frsize > stats.bytes + ROOM_LEFT;
}

bool
vector_snapshot_save(vector_space *self)
{
	char	   *path = path_of(self);
	vector_version position = {self->entry.created.term, self->entry.created.index};
	uint64_t	changes = atomic_load(&self->changes);
	vector_status status;
	bool		good = false;

	if (path != NULL && has_room_on_disk(self))
	{
		good = vector_index_save(self->index, path, position, &status) == VECTOR_OK;
		if (good)
			atomic_fetch_sub(&self->changes, changes);
		else
			self->owner->options.log(ENGINE_LOG_WARNING,
									 "a snapshot of a vector index was not saved: %s",
									 status.text);
	}
	free(path);
	return good;
}

void
vector_snapshot_remove(const vector_space *self)
{
	char	   *path = path_of(self);

	if (path != NULL)
		unlink(path);
	free(path);
}

static bool
is_known(vector_space *const *all, size_t n, const char *name)
{
	char	   *end;
	unsigned long long created = strtoull(name, &end, 16);

	if (end != name + 16 || strcmp(end, SUFFIX) != 0)
		return false;
	for (size_t i = 0; i < n; i++)
	{
		if (version_pack(all[i]->entry.created) == created)
			return true;
	}
	return false;
}

void
vector_snapshots_sweep(vectors *self)
{
	DIR		   *listing = self->options.directory != NULL
		? opendir(self->options.directory) : NULL;
	struct dirent *found;
	size_t		n;
	vector_space **all;

	if (listing == NULL)
		return;
	all = vectors_use_all(self, &n);
	while ((found = readdir(listing)) != NULL)
	{
		if (found->d_name[0] != '.' && !is_known(all, n, found->d_name))
			unlinkat(dirfd(listing), found->d_name, 0);
	}
	closedir(listing);
	for (size_t i = 0; i < n; i++)
		vector_space_release(all[i]);
	free(all);
}
