/*
 * disk_image.h - what a disk may hold after the power went, from the journal of
 * what a program did to it.
 *
 * Kept is what was synced: a file's data up to its last sync, a name from the
 * sync of its directory on. Of the rest a random part is kept: names in the order
 * they were made, up to some point; writes each whole, not at all, or in part, by
 * sectors.
 */
#ifndef DISK_IMAGE_H
#define DISK_IMAGE_H

#include <stddef.h>
#include <stdint.h>

typedef struct disk disk;

typedef void (*disk_note) (void *arg, const void *data, size_t size);

/* NULL where there is no such journal. */
extern disk *disk_open(const char *journal);
extern void disk_close(disk *self);

extern size_t disk_records(const disk *self);
/* Goes on until this many records are behind; notes are handed over on the way. */
extern void disk_advance(disk *self, size_t until, disk_note note, void *arg);
/* The disk as it may be found, in a directory that exists and is empty. */
extern void disk_image(disk *self, const char *directory, uint64_t *random);

#endif
