/*
 * bounds.h - how much memory staged Commits, and messages in flight, may hold.
 *
 * One bound for all of norikvd, and one for each connection, so that a single
 * client cannot take everything from the others.
 */
#ifndef NORIKVD_BOUNDS_H
#define NORIKVD_BOUNDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bounds bounds;
typedef struct bounds_peer bounds_peer;

extern bounds *bounds_new(uint64_t limit, uint64_t peer_limit);
extern void bounds_free(bounds *self);

extern uint64_t bounds_limit(const bounds *self);
extern uint64_t bounds_peer_limit(const bounds *self);

/* False where it would be too much: nothing is taken then. */
extern bool bounds_take(bounds *self, size_t size);
extern void bounds_give_back(bounds *self, size_t size);

/* The account of a connection, shared by its calls until each has let go of it. */
extern bounds_peer *bounds_peer_open(bounds *self, const char *address);
extern void bounds_peer_close(bounds_peer *peer);

/* Takes from the peer's share and from the whole. */
extern bool bounds_peer_take(bounds_peer *peer, size_t size);
extern void bounds_peer_give_back(bounds_peer *peer, size_t size);

#endif
