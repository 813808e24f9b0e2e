/*
 * endpoint.h - where a server is and how to call it, in shared memory, for the keeper.
 *
 * A backend leaves here what its own client was made of: the keeper sees no
 * catalogs. Equal endpoints are one. Whatever in shared memory needs an endpoint
 * holds a reference to it; what a backend holds on to only in its own memory would
 * leak where the backend dies.
 */
#ifndef NORIKV_ENDPOINT_H
#define NORIKV_ENDPOINT_H

#include "pg_norikv.h"

#define NORIKV_ENDPOINTS 128
#define NORIKV_ENDPOINT_NODES 1024
#define NORIKV_ENDPOINT_TOKEN 4096
#define NORIKV_ENDPOINT_PREFIX NORIKV_MAX_KEY_PREFIX

/* Compared byte by byte: what is not used is zero. Strings end with a zero byte. */
typedef struct NorikvEndpoint
{
	bool embedded;
	bool trust_cas;
	uint16 key_prefix_size;
	int timeout; /* milliseconds, as the next two */
	int attempt_timeout;
	int connect_timeout;
	int max_retries;
	char key_prefix[NORIKV_ENDPOINT_PREFIX]; /* of the tenant */
	char nodes[NORIKV_ENDPOINT_NODES];
	char token[NORIKV_ENDPOINT_TOKEN]; /* empty: none */
} NorikvEndpoint;

extern void NorikvEndpointInit(void);

/*
 * The number of the connection's endpoint, with one more reference to it. 55000
 * without shared memory, 0A000 where the connection does not fit, 53400 where all
 * are in use.
 */
extern int NorikvEndpointAcquire(const NorikvConnection *connection);
/* The same, and -1 instead of an error. */
extern int NorikvEndpointTryAcquire(const NorikvConnection *connection);
/* Never throws. */
extern void NorikvEndpointRelease(int number);

/* ---- For the keeper ---- */

/* The same as long as the number stands for the same endpoint; 0: for none. */
extern uint64 NorikvEndpointSerial(int number);
extern void NorikvEndpointCopy(int number, NorikvEndpoint *endpoint);
/* Forgets those, and their credentials, that nobody has referred to for a while. */
extern void NorikvEndpointSweep(void);

#endif
