/*
 * group.h - requests that travel together, as group.c, group_read.c and
 * group_write.c see them.
 */
#ifndef NORIKV_GROUP_H
#define NORIKV_GROUP_H

#include "internal.h"

/* One message carries them all: no more bytes than a chunk has. */
#define GROUP_MEMBERS 128
#define GROUP_BYTES WIRE_CHUNK

struct nk_group
{
	nk_rpc		rpc;			/* must stay first; the request, of no call */
	size_t		n_members;
	size_t		n_left;			/* that have neither been answered nor freed */
	size_t		received;		/* answers, in the order of the members */
	nk_rpc	  **members;		/* NULL: has left */

	/* Of writes. */
	nk_group   *next;			/* in client->write_groups */
	nk_group  **link;
	uint64_t   *keys;			/* hashes: a later write of one of them waits */
	size_t		n_orphans;		/* freed before they were answered */
	wire_arena	arena;			/* results */
	const Norikv__Ext__V1__OperationResult **results;
};

/* A group of these, carried from now on; NULL when out of memory. */
extern nk_group *nk_group_new(nk_node *node, const nk_rpc_type *type, nk_rpc **members,
							  size_t n_members);
extern void nk_group_free(nk_group *group);
/* It has gone out, and so has each of its members. */
extern void nk_group_sent(nk_rpc *rpc);
/* The member in this place, which leaves; NULL where it had left before. */
extern nk_rpc *nk_group_take(nk_group *group, size_t place);
/* It goes again, and alone. */
extern void nk_group_alone(nk_rpc *member);

/* They go as one request; false: they could not be put together. */
extern bool nk_group_read(nk_node *node, nk_rpc **members, size_t n_members);
extern bool nk_group_write(nk_node *node, nk_rpc **members, size_t n_members,
						   const uint64_t *keys);
/* What the member takes in a group's request. */
extern size_t nk_group_room(const nk_rpc *member);

#endif
