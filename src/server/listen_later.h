/*
 * listen_later.h - addresses that norikvd serves when it can have them.
 *
 * Where one is in use, or is none of this machine's, that is said, and tried again;
 * meanwhile what is served goes on.
 */
#ifndef NORIKVD_LISTEN_LATER_H
#define NORIKVD_LISTEN_LATER_H

#include "server.h"

typedef struct later_listeners later_listeners;

/* Tries each once. The addresses stay the caller's. */
extern later_listeners *later_listen(const char *const *addresses, size_t n);
/*
 * After server_start(): hands connections to the server, and tries again what it has
 * not. With advertise, the first one by tcp is what the server tells as its address.
 */
extern void later_accept(later_listeners *self, server *serving, bool advertise);
/* Accepts nothing more, and tries nothing. */
extern void later_close(later_listeners *self);
/* After server_free(). */
extern void later_free(later_listeners *self);

#endif
