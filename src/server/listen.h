/*
 * listen.h - the addresses that norikvd listens on.
 */
#ifndef NORIKVD_LISTEN_H
#define NORIKVD_LISTEN_H

#include "server.h"

typedef struct listeners listeners;

/*
 * Binds every address; NULL with a text in error where one cannot be had: the
 * others are given back then. Clients may connect, and wait.
 */
extern listeners *listen_all(const char *const *addresses, size_t n, char *error,
							 size_t error_size);

/* Addresses as a client would name them, with the ports that were bound. */
extern const char *listeners_text(const listeners *self);
/* The first one by tcp, or else the first. */
extern const char *listeners_advertised(const listeners *self);
extern bool listeners_have_tcp(const listeners *self);

/* Hands connections to the server from here on. */
extern void listeners_accept(listeners *self, server *serving);

/* Accepts nothing more; unlinks socket files that are still ours. */
extern void listeners_close(listeners *self);
extern void listeners_free(listeners *self);

#endif
