/*
 * listen_later.c - addresses that norikvd serves when it can have them.
 *
 * Trying one can take long, for a name has to be resolved: so it is done by a thread,
 * without a lock, and nobody waits for it when the server goes down.
 */
#include "listen_later.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <grpc/support/alloc.h>
#include <grpc/support/log.h>

#include "listen.h"
#include "log.h"

#define TRY_AGAIN_S 2
#define END_MS 200
#define ERROR_SIZE 1024

typedef struct later_address
{
	const char *address;
	listeners  *had;			/* NULL: not yet */
	char		said[ERROR_SIZE];	/* why not; said once, until it is another reason */
} later_address;

struct later_listeners
{
	server	   *serving;
	bool		advertise;		/* the first one by tcp */
	pthread_mutex_t lock;
	pthread_cond_t wake;		/* the thread: it is to end */
	pthread_t	thread;
	bool		started;
	bool		abandoned;		/* the thread was not waited for: it may still be here */
	bool		stopping;		/* under the lock, and so is had while the thread runs */
	size_t		n;
	later_address all[];
};

/* The thread's, or that of whoever starts it: nobody else looks at said. */
static listeners *
try(later_address *one)
{
	char		error[ERROR_SIZE];
	listeners  *had = listen_all(&one->address, 1, error, sizeof(error));

	if (had == NULL && strcmp(error, one->said) != 0)
	{
		snprintf(one->said, sizeof(one->said), "%s", error);
		log_line(ENGINE_LOG_WARNING, "%s; this is tried again every %d s", error,
				 TRY_AGAIN_S);
	}
	return had;
}

later_listeners *
later_listen(const char *const *addresses, size_t n)
{
	later_listeners *self = gpr_zalloc(sizeof(*self) + n * sizeof(self->all[0]));
	pthread_condattr_t attributes;

	pthread_mutex_init(&self->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&self->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	self->n = n;
	for (size_t i = 0; i < n; i++)
	{
		self->all[i].address = addresses[i];
		self->all[i].had = try(&self->all[i]);
	}
	return self;
}

static void
serve(later_listeners *self, const listeners *had)
{
	if (self->advertise && listeners_have_tcp(had))
	{
		server_advertise(self->serving, listeners_advertised(had));
		self->advertise = false;
	}
	log_line(ENGINE_LOG_INFO, "serving on %s, too", listeners_text(had));
}

/* With the lock, but while it tries. False: there is nothing left to do. */
static bool
try_all(later_listeners *self)
{
	bool		left = false;

	for (size_t i = 0; i < self->n && !self->stopping; i++)
	{
		listeners  *had;

		if (self->all[i].had != NULL)
			continue;
		pthread_mutex_unlock(&self->lock);
		had = try(&self->all[i]);
		pthread_mutex_lock(&self->lock);
		if (had == NULL)
			left = true;
		else if (self->stopping)
			listeners_free(had);
		else
		{
			self->all[i].had = had;
			listeners_accept(had, self->serving);
			serve(self, had);
		}
	}
	return left && !self->stopping;
}

static void *
try_again(void *argument)
{
	later_listeners *self = argument;
	bool		left = true;

	pthread_mutex_lock(&self->lock);
	while (left)
	{
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += TRY_AGAIN_S;
		while (!self->stopping &&
			   pthread_cond_timedwait(&self->wake, &self->lock, &until) == 0)
			;
		left = !self->stopping && try_all(self);
	}
	pthread_mutex_unlock(&self->lock);
	return NULL;
}

void
later_accept(later_listeners *self, server *serving, bool advertise)
{
	bool		left = false;

	self->serving = serving;
	self->advertise = advertise;
	for (size_t i = 0; i < self->n; i++)
	{
		if (self->all[i].had == NULL)
		{
			left = true;
			continue;
		}
		listeners_accept(self->all[i].had, serving);
		serve(self, self->all[i].had);
	}
	if (!left)
		return;
	GPR_ASSERT(pthread_create(&self->thread, NULL, try_again, self) == 0);
	self->started = true;
}

void
later_close(later_listeners *self)
{
	struct timespec until;

	pthread_mutex_lock(&self->lock);
	self->stopping = true;
	pthread_cond_signal(&self->wake);
	for (size_t i = 0; i < self->n; i++)
	{
		if (self->all[i].had != NULL)
			listeners_close(self->all[i].had);
	}
	pthread_mutex_unlock(&self->lock);
	if (!self->started)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += END_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L)
	{
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	if (pthread_timedjoin_np(self->thread, NULL, &until) != 0)
	{
		pthread_detach(self->thread);
		self->abandoned = true;
	}
	self->started = false;
}

void
later_free(later_listeners *self)
{
	for (size_t i = 0; i < self->n; i++)
	{
		if (self->all[i].had != NULL)
			listeners_free(self->all[i].had);
		self->all[i].had = NULL;
	}
	if (self->abandoned)
		return;					/* the process is about to end */
	pthread_cond_destroy(&self->wake);
	pthread_mutex_destroy(&self->lock);
	gpr_free(self);
}
