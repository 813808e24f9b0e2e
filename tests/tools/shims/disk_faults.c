/*
 * disk_faults.c - preloaded: a disk that fills up, and syncs that fail.
 *
 * Room is counted in bytes written and given back when a file is unlinked. A
 * write that does not fit is cut short, as the kernel does it, and the next one
 * fails.
 */
#include "disk_faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <unistd.h>

static char directory[PATH_MAX];
static _Atomic int64_t room = INT64_MAX;
static _Atomic int syncs_to_fail;

#define REAL(name) \
	static __typeof__(&name) real; \
	if (real == NULL) \
		real = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

static int
is_below(const char *path)
{
	size_t		size = strlen(directory);

	return size > 0 && strncmp(path, directory, size) == 0 && path[size] == '/';
}

static int
is_concerned(int fd)
{
	char		link[64];
	char		path[PATH_MAX];
	ssize_t		size;

	if (directory[0] == '\0')
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	size = readlink(link, path, sizeof(path) - 1);
	if (size < 0)
		return 0;
	path[size] = '\0';
	return is_below(path) || strcmp(path, directory) == 0;
}

/* How much of it may be written; -1 with errno set where nothing fits. */
static ssize_t
take_room(int fd, size_t size)
{
	int64_t		left = atomic_load(&room);
	int64_t		taken;

	if (left == INT64_MAX || size == 0 || !is_concerned(fd))
		return (ssize_t) size;
	do
	{
		taken = left < (int64_t) size ? left : (int64_t) size;
		if (taken <= 0)
		{
			errno = ENOSPC;
			return -1;
		}
	} while (!atomic_compare_exchange_weak(&room, &left, left - taken));
	return (ssize_t) taken;
}

ssize_t
write(int fd, const void *data, size_t size)
{
	ssize_t		fits = take_room(fd, size);

	REAL(write);
	return fits < 0 ? -1 : real(fd, data, (size_t) fits);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
	ssize_t		fits = take_room(fd, size);

	REAL(pwrite);
	return fits < 0 ? -1 : real(fd, data, (size_t) fits, offset);
}

ssize_t
pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	ssize_t		fits = take_room(fd, size);

	REAL(pwrite64);
	return fits < 0 ? -1 : real(fd, data, (size_t) fits, offset);
}

static int
allocate(int fd, off64_t size)
{
	ssize_t		fits = take_room(fd, (size_t) size);

	if (fits == (ssize_t) size)
		return 0;
	if (fits > 0)
		atomic_fetch_add(&room, fits);
	return ENOSPC;
}

int
posix_fallocate(int fd, off_t offset, off_t size)
{
	REAL(posix_fallocate);
	return allocate(fd, size) != 0 ? ENOSPC : real(fd, offset, size);
}

int
posix_fallocate64(int fd, off64_t offset, off64_t size)
{
	REAL(posix_fallocate64);
	return allocate(fd, size) != 0 ? ENOSPC : real(fd, offset, size);
}

static int
fail_sync(int fd)
{
	int			left = atomic_load(&syncs_to_fail);

	if (left <= 0 || !is_concerned(fd))
		return 0;
	atomic_fetch_sub(&syncs_to_fail, 1);
	errno = EIO;
	return 1;
}

int
fsync(int fd)
{
	REAL(fsync);
	return fail_sync(fd) ? -1 : real(fd);
}

int
fdatasync(int fd)
{
	REAL(fdatasync);
	return fail_sync(fd) ? -1 : real(fd);
}

static void
give_back(const struct stat *status)
{
	int64_t		left = atomic_load(&room);

	if (left != INT64_MAX && S_ISREG(status->st_mode) && status->st_nlink == 1)
		atomic_fetch_add(&room, status->st_size);
}

int
unlink(const char *path)
{
	struct stat status;
	int			known = is_below(path) && stat(path, &status) == 0;

	REAL(unlink);
	if (real(path) != 0)
		return -1;
	if (known)
		give_back(&status);
	return 0;
}

int
unlinkat(int at, const char *path, int flags)
{
	struct stat status;
	int			known = is_concerned(at) && fstatat(at, path, &status, 0) == 0;

	REAL(unlinkat);
	if (real(at, path, flags) != 0)
		return -1;
	if (known)
		give_back(&status);
	return 0;
}

int
fstatvfs(int fd, struct statvfs *disk)
{
	int64_t		left = atomic_load(&room);

	REAL(fstatvfs);
	if (real(fd, disk) != 0)
		return -1;
	if (left != INT64_MAX && is_concerned(fd))
		disk->f_bavail = left > 0 ? (fsblkcnt_t) left / disk->f_frsize : 0;
	return 0;
}

/* ---- What a test asks for ---- */

static void
set_directory(const char *path)
{
	snprintf(directory, sizeof(directory), "%s", path != NULL ? path : "");
}

static void
set_room(int64_t bytes)
{
	atomic_store(&room, bytes);
}

static void
fail_syncs(int count)
{
	atomic_store(&syncs_to_fail, count);
}

__attribute__((visibility("default"))) const disk_faults *disk_faults_get(void);

const disk_faults *
disk_faults_get(void)
{
	static const disk_faults faults = {set_directory, set_room, fail_syncs};

	return &faults;
}
