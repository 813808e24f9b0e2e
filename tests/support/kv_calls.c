/*
 * kv_calls.c - Put, Get and Delete as blocking functions.
 */
#include "kv_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ProtobufCBinaryData
bytes_of(const void *data, size_t size)
{
	return (ProtobufCBinaryData) {size, (uint8_t *) data};
}

/* The whole call but for its answer's fields. */
static wire_stream *
call(wire_client *client, const char *method, const ProtobufCMessage *request,
	 const ProtobufCMessageDescriptor *answers, void **answer,
	 const kv_put_options *options, kv_reply *reply)
{
	unsigned	timeout = options != NULL ? options->timeout_ms : 0;
	wire_stream *stream =
		wire_start(client, method, timeout != 0 ? timeout : WIRE_CLIENT_PATIENCE_MS,
				   options != NULL ? options->authorization : NULL);

	*answer = NULL;
	if (wire_send(stream, request) && wire_half_close(stream))
		*answer = wire_receive(stream, answers);
	memset(reply, 0, sizeof(*reply));
	reply->code = wire_status(stream);
	snprintf(reply->text, sizeof(reply->text), "%s", wire_status_text(stream));
	return stream;
}

static void
take_version(kv_reply *reply, const Norikv__V1__Version *version)
{
	if (version != NULL)
		reply->version = (kv_version) {version->term, version->index};
}

kv_reply
kv_call_put(wire_client *client, kv_key key, const void *value, size_t size,
			const kv_put_options *options)
{
	Norikv__V1__PutRequest request = NORIKV__V1__PUT_REQUEST__INIT;
	Norikv__V1__Version if_match = NORIKV__V1__VERSION__INIT;
	Norikv__V1__PutResponse *answer;
	wire_stream *stream;
	kv_reply	reply;

	request.key = bytes_of(key.data, key.size);
	request.value = bytes_of(value, size);
	if (options != NULL)
	{
		request.ttl_ms = options->ttl_ms;
		if (options->idempotency_key != NULL)
			request.idempotency_key = (char *) options->idempotency_key;
		if (options->if_match != NULL)
		{
			if_match.term = options->if_match->term;
			if_match.index = options->if_match->index;
			request.if_match = &if_match;
		}
	}
	stream = call(client, WIRE_METHOD_PUT, &request.base,
				  &norikv__v1__put_response__descriptor, (void **) &answer, options,
				  &reply);
	if (answer != NULL)
		take_version(&reply, answer->version);
	wire_free(stream);
	return reply;
}

kv_reply
kv_call_get(wire_client *client, kv_key key, const char *consistency)
{
	Norikv__V1__GetRequest request = NORIKV__V1__GET_REQUEST__INIT;
	Norikv__V1__GetResponse *answer;
	wire_stream *stream;
	kv_reply	reply;

	request.key = bytes_of(key.data, key.size);
	if (consistency != NULL)
		request.consistency = (char *) consistency;
	stream = call(client, WIRE_METHOD_GET, &request.base,
				  &norikv__v1__get_response__descriptor, (void **) &answer, NULL, &reply);
	if (answer != NULL)
	{
		take_version(&reply, answer->version);
		reply.size = answer->value.len;
		reply.value = calloc(1, reply.size + 1);
		if (reply.size > 0)
			memcpy(reply.value, answer->value.data, reply.size);
	}
	wire_free(stream);
	return reply;
}

kv_reply
kv_call_delete(wire_client *client, kv_key key, const char *idempotency_key,
			   const kv_version *if_match)
{
	Norikv__V1__DeleteRequest request = NORIKV__V1__DELETE_REQUEST__INIT;
	Norikv__V1__Version version = NORIKV__V1__VERSION__INIT;
	Norikv__V1__DeleteResponse *answer;
	wire_stream *stream;
	kv_reply	reply;

	request.key = bytes_of(key.data, key.size);
	if (idempotency_key != NULL)
		request.idempotency_key = (char *) idempotency_key;
	if (if_match != NULL)
	{
		version.term = if_match->term;
		version.index = if_match->index;
		request.if_match = &version;
	}
	stream = call(client, WIRE_METHOD_DELETE, &request.base,
				  &norikv__v1__delete_response__descriptor, (void **) &answer, NULL,
				  &reply);
	if (answer != NULL)
	{
		reply.tombstoned = answer->tombstoned;
		take_version(&reply, answer->version);
	}
	wire_free(stream);
	return reply;
}
