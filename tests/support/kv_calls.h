/*
 * kv_calls.h - the unary calls of norikv.v1.Kv, for tests of the server.
 */
#ifndef TEST_KV_CALLS_H
#define TEST_KV_CALLS_H

#include <stdint.h>

#include "norikv.pb-c.h"
#include "wire_client.h"

typedef struct kv_key
{
	const void *data;
	size_t		size;
} kv_key;

#define KV_KEY(string) ((kv_key) {(string), sizeof(string) - 1})

typedef struct kv_version
{
	uint64_t	term;
	uint64_t	index;
} kv_version;

typedef struct kv_put_options
{
	uint64_t	ttl_ms;
	const char *idempotency_key;	/* NULL: none */
	const kv_version *if_match; /* NULL: any */
	const char *authorization;
	unsigned	timeout_ms;		/* 0: the patience of wire_client.h */
} kv_put_options;

typedef struct kv_reply
{
	grpc_status_code code;
	char		text[1024];
	kv_version	version;		/* index 0: none in the answer */
	bool		tombstoned;
	void	   *value;			/* Get: to be freed, with a zero byte after it */
	size_t		size;
} kv_reply;

extern kv_reply kv_call_put(wire_client *client, kv_key key, const void *value,
							size_t size, const kv_put_options *options);
/* consistency NULL: not sent. */
extern kv_reply kv_call_get(wire_client *client, kv_key key, const char *consistency);
extern kv_reply kv_call_delete(wire_client *client, kv_key key,
							   const char *idempotency_key, const kv_version *if_match);

#endif
