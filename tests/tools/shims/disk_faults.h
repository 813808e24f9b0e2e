/*
 * disk_faults.h - what a test asks of the preloaded shim disk_faults.so, found by
 * dlsym. It acts on files below the directory that is set, on no others.
 */
#ifndef DISK_FAULTS_H
#define DISK_FAULTS_H

#include <stdint.h>

typedef struct disk_faults
{
	/* NULL: on no file. */
	void		(*set_directory) (const char *directory);
	/* How many more bytes fit; INT64_MAX: as many as there are. */
	void		(*set_room) (int64_t bytes);
	/* How many of the next syncs fail with EIO. */
	void		(*fail_syncs) (int count);
} disk_faults;

/* The exported symbol: const disk_faults *disk_faults_get(void). */
#define DISK_FAULTS_SYMBOL "disk_faults_get"

#endif
