/*
 * read_section.h - many readers, or one that changes what they read.
 *
 * A reader's callback may read again, and a waiting writer holds back new
 * readers; so a thread that is in a section already must not wait for the lock
 * a second time.
 */
#ifndef NORIKVD_ENGINE_READ_SECTION_H
#define NORIKVD_ENGINE_READ_SECTION_H

#include <pthread.h>

typedef struct read_section
{
	pthread_rwlock_t lock;
} read_section;

extern void read_section_init(read_section *self);
extern void read_section_destroy(read_section *self);
extern void read_section_enter(read_section *self);
extern void read_section_leave(read_section *self);
extern void read_section_exclude(read_section *self);
extern void read_section_admit(read_section *self);

#endif
