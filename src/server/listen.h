/*
 * listen.h - the addresses that norikvd listens on.
 */
#ifndef NORIKVD_LISTEN_H
#define NORIKVD_LISTEN_H

#include "server.h"

typedef struct listeners listeners;

/*
 * Binds every address, NULL with a text in error where one cannot be had: the
 * others are given back then. Before server_start().
 */
extern listeners *listen_all(server *serving, const char *const *addresses, size_t n,
							 char *error, size_t error_size);

/* Addresses as a client would name them, with the ports that were bound. */
extern const char *listeners_text(const listeners *self);
/* The first one by tcp, or else the first. */
extern const char *listeners_advertised(const listeners *self);

/* Unlinks socket files that are still ours. */
extern void listeners_unlink(listeners *self);
extern void listeners_free(listeners *self);

#endif
