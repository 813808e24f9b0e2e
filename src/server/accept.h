/*
 * accept.h - the thread that accepts connections and hands them to gRPC.
 *
 * gRPC's own listener stops for good when descriptors run out, and puts no bound
 * on connections.
 */
#ifndef NORIKVD_ACCEPT_H
#define NORIKVD_ACCEPT_H

#include "server.h"

typedef struct acceptor acceptor;

/* The descriptors are listening sockets; they stay the caller's. After server_start(). */
extern acceptor *acceptor_start(server *serving, const int *fds, size_t n);
/* When it returns nothing more is accepted. */
extern void acceptor_stop(acceptor *self);

#endif
