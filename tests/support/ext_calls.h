/*
 * ext_calls.h - the pieces of a norikv.ext.v1 Commit, for tests of the server.
 */
#ifndef TEST_EXT_CALLS_H
#define TEST_EXT_CALLS_H

#include "norikv_ext.pb-c.h"
#include "wire_client.h"

#define PUT NORIKV__EXT__V1__OPERATION__KIND__PUT
#define DELETE NORIKV__EXT__V1__OPERATION__KIND__DELETE
#define CHECK NORIKV__EXT__V1__OPERATION__KIND__CHECK
#define VECTOR_CHECK NORIKV__EXT__V1__OPERATION__KIND__VECTOR_CHECK
#define ADD NORIKV__EXT__V1__OPERATION__KIND__ADD
#define DELETE_RANGE NORIKV__EXT__V1__OPERATION__KIND__DELETE_RANGE

extern ProtobufCBinaryData bytes_of(const char *text);

extern Norikv__Ext__V1__Operation operation(int kind, const char *key);
extern Norikv__Ext__V1__Operation put_operation(const char *key, const char *value);

/* One message of a Commit. idempotency_key NULL: none. */
extern bool send_operations(wire_stream *stream, Norikv__Ext__V1__Operation *operations,
							size_t n, bool atomic, const char *idempotency_key, bool end);

/* A Commit in one message, up to its first answer, NULL where there is none. */
extern wire_stream *commit(wire_client *client, Norikv__Ext__V1__Operation *operations,
						   size_t n, bool atomic, const char *idempotency_key,
						   Norikv__Ext__V1__CommitResponse **answer);

#endif
