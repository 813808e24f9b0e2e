/*
 * disk_journal.c - preloaded: journals writes, syncs, and changes of names.
 */
#include "disk_journal.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FDS 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_MAX];
static int	journal = -1;
static uint32_t handles[MAX_FDS];	/* 0: not one of ours */
static uint32_t last_handle;


__attribute__((constructor)) static void
start(void)
{
	const char *path = getenv("NORIKV_JOURNAL");
	const char *below = getenv("NORIKV_JOURNAL_DIRECTORY");

	if (path == NULL || below == NULL)
		return;
	snprintf(directory, sizeof(directory), "%s", below);
	journal = (int) syscall(SYS_openat, AT_FDCWD, path,
							O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* ---- Records ---- */

static void
append(journal_record record, const char *path, const char *second, const void *data,
	   size_t size)
{
	struct iovec parts[4];

	record.path_size = (uint32_t) strlen(path);
	record.second_size = (uint32_t) strlen(second);
	record.data_size = (uint32_t) size;
	parts[0] = (struct iovec) {&record, sizeof(record)};
	parts[1] = (struct iovec) {(void *) path, record.path_size};
	parts[2] = (struct iovec) {(void *) second, record.second_size};
	parts[3] = (struct iovec) {(void *) data, size};
	if (syscall(SYS_writev, journal, parts, 4) !=
		(long) (sizeof(record) + record.path_size + record.second_size + size))
		abort();
}

static uint32_t
handle_of(int fd)
{
	return journal >= 0 && fd >= 0 && fd < MAX_FDS ? handles[fd] : 0;
}

/* The path below the directory, "" for itself; false where it is elsewhere. */
static int
resolve(int at, const char *path, char *relative)
{
	char		base[PATH_MAX] = "";
	char		full[2 * PATH_MAX];
	char		link[64];
	size_t		below = strlen(directory);
	size_t		used = 0;
	ssize_t		size;

	if (journal < 0)
		return 0;
	if (path[0] != '/' && at != AT_FDCWD)
	{
		snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
		size = readlink(link, base, sizeof(base) - 1);
		base[size > 0 ? size : 0] = '\0';
	}
	snprintf(full, sizeof(full), "%s%s%s", base, base[0] != '\0' ? "/" : "", path);
	if (strncmp(full, directory, below) != 0 ||
		(full[below] != '/' && full[below] != '\0'))
		return 0;
	for (const char *from = full + below; *from != '\0'; from++)
	{
		if (*from == '/' && (used == 0 || relative[used - 1] == '/'))
			continue;
		relative[used++] = *from;
	}
	while (used > 0 && relative[used - 1] == '/')
		used--;
	relative[used] = '\0';
	/* The one place that asks for the directory above. */
	if (used >= 2 && strcmp(relative + used - 2, "..") == 0)
	{
		char	   *slash;

		relative[used - 2] = '\0';
		if (used > 2)
			relative[used - 3] = '\0';
		slash = strrchr(relative, '/');
		*(slash != NULL ? slash : relative) = '\0';
	}
	return 1;
}

/* ---- Files ---- */

static int
open_journaled(int at, const char *path, int flags, mode_t mode)
{
	char		relative[2 * PATH_MAX];
	struct stat status;
	int			ours = resolve(at, path, relative);
	int			existed;
	int			fd;

	pthread_mutex_lock(&lock);
	existed = !ours || fstatat(at, path, &status, 0) == 0;
	fd = (int) syscall(SYS_openat, at, path, flags, mode);
	if (fd >= 0 && fd < MAX_FDS)
		handles[fd] = 0;
	if (fd >= 0 && fd < MAX_FDS && ours)
	{
		handles[fd] = ++last_handle;
		append((journal_record) {.type = JOURNAL_OPEN, .handle = last_handle,
			   .flags = (existed ? 0 : JOURNAL_CREATED) |
			   ((flags & O_TRUNC) != 0 ? JOURNAL_TRUNCATED : 0)}, relative, "", "", 0);
	}
	pthread_mutex_unlock(&lock);
	return fd;
}

#define MODE_OF(flags, last) \
	mode_t		mode = 0; \
	if (((flags) & (O_CREAT | O_TMPFILE)) != 0) \
	{ \
		va_list		args; \
		va_start(args, last); \
		mode = va_arg(args, mode_t); \
		va_end(args); \
	}

int
open(const char *path, int flags, ...)
{
	MODE_OF(flags, flags);
	return open_journaled(AT_FDCWD, path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
	MODE_OF(flags, flags);
	return open_journaled(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int
openat(int at, const char *path, int flags, ...)
{
	MODE_OF(flags, flags);
	return open_journaled(at, path, flags, mode);
}

int
openat64(int at, const char *path, int flags, ...)
{
	MODE_OF(flags, flags);
	return open_journaled(at, path, flags | O_LARGEFILE, mode);
}

int
close(int fd)
{
	int			result;

	pthread_mutex_lock(&lock);
	if (fd >= 0 && fd < MAX_FDS)
		handles[fd] = 0;
	result = (int) syscall(SYS_close, fd);
	pthread_mutex_unlock(&lock);
	return result;
}

static ssize_t
write_journaled(int fd, const void *data, size_t size, off64_t offset)
{
	ssize_t		written;

	pthread_mutex_lock(&lock);
	written = offset < 0 ? syscall(SYS_write, fd, data, size)
		: syscall(SYS_pwrite64, fd, data, size, offset);
	if (written > 0 && handle_of(fd) != 0)
	{
		if (offset < 0)
			offset = lseek64(fd, 0, SEEK_CUR) - written;
		append((journal_record) {.type = JOURNAL_WRITE, .handle = handle_of(fd),
			   .offset = (uint64_t) offset}, "", "", data, (size_t) written);
	}
	pthread_mutex_unlock(&lock);
	return written;
}

ssize_t
write(int fd, const void *data, size_t size)
{
	if (handle_of(fd) == 0)
		return syscall(SYS_write, fd, data, size);
	return write_journaled(fd, data, size, -1);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
	return write_journaled(fd, data, size, offset);
}

ssize_t
pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	return write_journaled(fd, data, size, offset);
}

static int
resize_journaled(int fd, off64_t size)
{
	int			result;

	pthread_mutex_lock(&lock);
	result = (int) syscall(SYS_ftruncate, fd, size);
	if (result == 0 && handle_of(fd) != 0)
		append((journal_record) {.type = JOURNAL_RESIZE, .handle = handle_of(fd),
			   .offset = (uint64_t) size}, "", "", "", 0);
	pthread_mutex_unlock(&lock);
	return result;
}

int
ftruncate(int fd, off_t size)
{
	return resize_journaled(fd, size);
}

int
ftruncate64(int fd, off64_t size)
{
	return resize_journaled(fd, size);
}

static int
sync_journaled(int fd, long call)
{
	int			result;

	pthread_mutex_lock(&lock);
	result = (int) syscall(call, fd);
	if (result == 0 && handle_of(fd) != 0)
		append((journal_record) {.type = JOURNAL_SYNC, .handle = handle_of(fd)},
			   "", "", "", 0);
	pthread_mutex_unlock(&lock);
	return result;
}

int
fsync(int fd)
{
	return sync_journaled(fd, SYS_fsync);
}

int
fdatasync(int fd)
{
	return sync_journaled(fd, SYS_fdatasync);
}

/* ---- Names ---- */

static int
names_journaled(uint32_t type, int at, const char *path, int second_at,
				const char *second, long result)
{
	char		relative[2 * PATH_MAX];
	char		second_relative[2 * PATH_MAX] = "";

	if (result == 0 && resolve(at, path, relative) &&
		(second == NULL || resolve(second_at, second, second_relative)))
		append((journal_record) {.type = type}, relative, second_relative, "", 0);
	return (int) result;
}

int
rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int
renameat(int from_at, const char *from, int to_at, const char *to)
{
	int			result;

	pthread_mutex_lock(&lock);
	result = names_journaled(JOURNAL_RENAME, from_at, from, to_at, to,
							 syscall(SYS_renameat, from_at, from, to_at, to));
	pthread_mutex_unlock(&lock);
	return result;
}

int
link(const char *from, const char *to)
{
	int			result;

	pthread_mutex_lock(&lock);
	result = names_journaled(JOURNAL_LINK, AT_FDCWD, from, AT_FDCWD, to,
							 syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
	pthread_mutex_unlock(&lock);
	return result;
}

int
unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int
unlinkat(int at, const char *path, int flags)
{
	int			result;

	pthread_mutex_lock(&lock);
	result = names_journaled(JOURNAL_UNLINK, at, path, 0, NULL,
							 syscall(SYS_unlinkat, at, path, flags));
	pthread_mutex_unlock(&lock);
	return result;
}

int
mkdir(const char *path, mode_t mode)
{
	int			result;

	pthread_mutex_lock(&lock);
	result = names_journaled(JOURNAL_MKDIR, AT_FDCWD, path, 0, NULL,
							 syscall(SYS_mkdirat, AT_FDCWD, path, mode));
	pthread_mutex_unlock(&lock);
	return result;
}

/* ---- The program's own records ---- */

__attribute__((visibility("default"))) void disk_journal_note(const void *data,
															  size_t size);

void
disk_journal_note(const void *data, size_t size)
{
	pthread_mutex_lock(&lock);
	append((journal_record) {.type = JOURNAL_NOTE}, "", "", data, size);
	pthread_mutex_unlock(&lock);
}
