/*
 * ext_calls.c - puts a Commit together.
 */
#include "ext_calls.h"

#include <stdlib.h>
#include <string.h>

ProtobufCBinaryData
bytes_of(const char *text)
{
	return (ProtobufCBinaryData) {strlen(text), (uint8_t *) text};
}

Norikv__Ext__V1__Operation
operation(int kind, const char *key)
{
	Norikv__Ext__V1__Operation made = NORIKV__EXT__V1__OPERATION__INIT;

	made.kind = kind;
	made.key = bytes_of(key);
	return made;
}

Norikv__Ext__V1__Operation
put_operation(const char *key, const char *value)
{
	Norikv__Ext__V1__Operation made = operation(PUT, key);

	made.value = bytes_of(value);
	return made;
}

bool
send_operations(wire_stream *stream, Norikv__Ext__V1__Operation *operations, size_t n,
				bool atomic, const char *idempotency_key, bool end)
{
	Norikv__Ext__V1__CommitRequest request = NORIKV__EXT__V1__COMMIT_REQUEST__INIT;
	Norikv__Ext__V1__Operation **pointers = calloc(n + 1, sizeof(*pointers));
	bool		sent;

	for (size_t i = 0; i < n; i++)
		pointers[i] = &operations[i];
	request.atomic = atomic;
	if (idempotency_key != NULL)
		request.idempotency_key = (char *) idempotency_key;
	request.n_operations = n;
	request.operations = pointers;
	request.end = end;
	sent = wire_send(stream, &request.base);
	free(pointers);
	return sent;
}

wire_stream *
commit(wire_client *client, Norikv__Ext__V1__Operation *operations, size_t n, bool atomic,
	   const char *idempotency_key, Norikv__Ext__V1__CommitResponse **answer)
{
	wire_stream *stream = wire_start(client, WIRE_METHOD_COMMIT, 0, NULL);

	send_operations(stream, operations, n, atomic, idempotency_key, true);
	wire_half_close(stream);
	*answer = wire_receive(stream, &norikv__ext__v1__commit_response__descriptor);
	return stream;
}
