/*
 * peer.h - who is at the other end of a connection, for the log.
 */
#ifndef NORIKVD_PEER_H
#define NORIKVD_PEER_H

#include <grpc/grpc.h>

#define PEER_NAME_SIZE 128

/* "127.0.0.1:50432", "[::1]:50432", or "process 1234" on a unix socket. */
extern void peer_name(grpc_call *call, char *name);

#endif
