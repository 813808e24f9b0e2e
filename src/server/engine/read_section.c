/*
 * read_section.c - a read lock that nests within a thread.
 */
#include "read_section.h"

#include <stddef.h>

/* The section this thread is in. One is enough: a thread that is in two at once
 * (two stores in one program) takes the second one's lock each time. */
static __thread read_section *entered;
static __thread unsigned depth;

void
read_section_init(read_section *self)
{
	pthread_rwlockattr_t attributes;

	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes,
								  PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&self->lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
}

void
read_section_destroy(read_section *self)
{
	pthread_rwlock_destroy(&self->lock);
}

void
read_section_enter(read_section *self)
{
	if (entered == self)
	{
		depth++;
		return;
	}
	pthread_rwlock_rdlock(&self->lock);
	if (entered == NULL)
	{
		entered = self;
		depth = 1;
	}
}

void
read_section_leave(read_section *self)
{
	if (entered == self && --depth > 0)
		return;
	if (entered == self)
		entered = NULL;
	pthread_rwlock_unlock(&self->lock);
}

void
read_section_exclude(read_section *self)
{
	pthread_rwlock_wrlock(&self->lock);
}

void
read_section_admit(read_section *self)
{
	pthread_rwlock_unlock(&self->lock);
}
