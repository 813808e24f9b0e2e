/*
 * bounds.c - counts what is in flight, for all and for each peer.
 */
#include "bounds.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <grpc/support/alloc.h>

struct bounds_peer
{
	bounds	   *owner;
	bounds_peer *next;
	unsigned	users;			/* under the lock */
	atomic_uint_fast64_t used;
	char		address[];
};

struct bounds
{
	uint64_t	limit;
	uint64_t	peer_limit;
	atomic_uint_fast64_t used;
	pthread_mutex_t lock;
	bounds_peer *peers;			/* those with streams open: a short list */
};

bounds *
bounds_new(uint64_t limit, uint64_t peer_limit)
{
	bounds	   *self = gpr_zalloc(sizeof(*self));

	self->limit = limit;
	self->peer_limit = peer_limit;
	pthread_mutex_init(&self->lock, NULL);
	return self;
}

void
bounds_free(bounds *self)
{
	pthread_mutex_destroy(&self->lock);
	gpr_free(self);
}

uint64_t
bounds_limit(const bounds *self)
{
	return self->limit;
}

uint64_t
bounds_peer_limit(const bounds *self)
{
	return self->peer_limit;
}

static bool
take(atomic_uint_fast64_t *used, uint64_t limit, size_t size)
{
	if (atomic_fetch_add(used, size) + size <= limit)
		return true;
	atomic_fetch_sub(used, size);
	return false;
}

bool
bounds_take(bounds *self, size_t size)
{
	return take(&self->used, self->limit, size);
}

void
bounds_give_back(bounds *self, size_t size)
{
	atomic_fetch_sub(&self->used, size);
}

bounds_peer *
bounds_peer_open(bounds *self, const char *address)
{
	size_t		size = strlen(address) + 1;
	bounds_peer *peer;

	pthread_mutex_lock(&self->lock);
	for (peer = self->peers; peer != NULL; peer = peer->next)
	{
		if (strcmp(peer->address, address) == 0)
			break;
	}
	if (peer == NULL)
	{
		peer = gpr_zalloc(sizeof(*peer) + size);
		peer->owner = self;
		memcpy(peer->address, address, size);
		peer->next = self->peers;
		self->peers = peer;
	}
	peer->users++;
	pthread_mutex_unlock(&self->lock);
	return peer;
}

void
bounds_peer_close(bounds_peer *peer)
{
	bounds	   *self = peer->owner;

	pthread_mutex_lock(&self->lock);
	if (--peer->users == 0)
	{
		bounds_peer **link = &self->peers;

		while (*link != peer)
			link = &(*link)->next;
		*link = peer->next;
		gpr_free(peer);
	}
	pthread_mutex_unlock(&self->lock);
}

bool
bounds_peer_take(bounds_peer *peer, size_t size)
{
	if (!take(&peer->used, peer->owner->peer_limit, size))
		return false;
	if (bounds_take(peer->owner, size))
		return true;
	atomic_fetch_sub(&peer->used, size);
	return false;
}

void
bounds_peer_give_back(bounds_peer *peer, size_t size)
{
	atomic_fetch_sub(&peer->used, size);
	bounds_give_back(peer->owner, size);
}
