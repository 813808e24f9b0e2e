/*
 * reserve.c - room on the disk that is given up when it is full.
 */
#include "reserve.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (1024 * 1024)
#define RESERVE_BYTES (16 * MIB)
/* With less than this, a full disk would soon be one on which nothing works. */
#define LEAST_RESERVE (8 * MIB)
/*
 * Kept to the last, for opening the store once more: that is what removes the files
 * that a flush or a compaction could not finish.
 */
#define LAST_RESERVE (2 * MIB)

static off_t
reserve_size(int directory)
{
	struct stat status;

	return fstatat(directory, "RESERVE", &status, 0) == 0 ? status.st_size : 0;
}

static bool
shorten_reserve(int directory)
{
	int			fd = openat(directory, "RESERVE", O_WRONLY | O_CLOEXEC);
	bool		good = fd >= 0 && ftruncate(fd, LAST_RESERVE) == 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return good;
}

bool
reserve_release(int directory)
{
	if (reserve_size(directory) > LAST_RESERVE && shorten_reserve(directory))
		return true;
	if (unlinkat(directory, "RESERVE", 0) != 0)
		return false;
	fsync(directory);
	return true;
}

static uint64_t
room_on_disk(int directory)
{
	struct statvfs disk;

	return fstatvfs(directory, &disk) == 0 ? (uint64_t) disk.f_bavail * disk.f_frsize : 0;
}

/*
 * Two thirds of what is free, in whole MiB. The rest is for puts, which need room
 * again when they are flushed.
 */
static off_t
affordable_reserve(int directory, off_t present)
{
	uint64_t	room = (room_on_disk(directory) + (uint64_t) present) / 3 * 2;

	return room < RESERVE_BYTES ? (off_t) (room - room % MIB) : RESERVE_BYTES;
}

static bool
extend_reserve(int directory, off_t present, off_t size)
{
	int			fd = openat(directory, "RESERVE", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	bool		good;

	if (fd < 0)
		return false;
	good = posix_fallocate(fd, present, size - present) == 0 && fsync(fd) == 0;
	if (!good && ftruncate(fd, present) != 0)
		unlinkat(directory, "RESERVE", 0);
	close(fd);
	return good;
}

bool
reserve_restore(int directory)
{
	off_t		present = reserve_size(directory);
	off_t		affordable;

	if (present >= RESERVE_BYTES)
		return true;
	affordable = affordable_reserve(directory, present);
	if (affordable >= LEAST_RESERVE && affordable > present)
		return extend_reserve(directory, present, affordable) || present >= LEAST_RESERVE;
	if (present < LAST_RESERVE && room_on_disk(directory) > 2 * LAST_RESERVE)
		extend_reserve(directory, present, LAST_RESERVE);
	return present >= LEAST_RESERVE;
}
