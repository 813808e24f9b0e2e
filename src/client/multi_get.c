/*
 * multi_get.c - many keys: a few MultiGet streams side by side, each over a
 * segment of the keys, so that server and client work at the same time. Where
 * the server has no MultiGet, pipelined Gets.
 */
#include "internal.h"

#include <stdlib.h>

#define SEGMENT_KEYS 2000
#define STREAMS 4
/* What a key takes in a message beside its bytes. */
#define KEY_OVERHEAD 3

/* Keys [next, end) that are still to be asked for. */
typedef struct key_range
{
	size_t		next;
	size_t		end;
} key_range;

/* One of the streams, or one of the pipelined Gets. */
typedef struct lane
{
	nk_rpc		rpc;			/* must stay first */
	key_range	segment;		/* of a stream; a Get: its key */
	size_t		received;		/* entries of the segment */
} lane;

typedef struct multi_get_call
{
	norikv_call call;
	norikv_entry *all;			/* the results; their keys are the request's, full */
	size_t		n_keys;
	key_range	todo;			/* not yet in a segment */
	key_range	   *refused;		/* segments whose server has no MultiGet */
	size_t		n_refused;
	size_t		missing;		/* entries still to come */
	lane	   *gets;			/* max_in_flight of them, once they are needed */
	uint32_t	n_gets;
	lane		streams[STREAMS];
} multi_get_call;

static void feed_stream(lane *stream);

static void
each_lane(multi_get_call *many, void (*act) (lane *))
{
	for (int i = 0; i < STREAMS; i++)
		act(&many->streams[i]);
	for (uint32_t i = 0; i < many->n_gets; i++)
		act(&many->gets[i]);
}

static void
abandon_lane(lane *one)
{
	nk_rpc_abandon(&one->rpc);
}

static void
fail(multi_get_call *many, const norikv_error *error, int64_t key)
{
	each_lane(many, abandon_lane);
	many->call.error = *error;
	many->call.error.operation = key;
	many->call.done = true;
}

static void
finish_if_complete(multi_get_call *many)
{
	if (many->missing > 0 || many->call.done)
		return;
	for (size_t i = 0; i < many->n_keys; i++)
		nk_strip_key(many->call.client, &many->all[i].key);
	many->call.entries = many->all;
	many->call.n_entries = many->n_keys;
	many->call.done = true;
}

/* ---- Pipelined Gets ---- */

static void
feed_get(lane *get)
{
	multi_get_call *many = (multi_get_call *) get->rpc.call;
	key_range	   *range = NULL;
	norikv_slice key;

	while (many->n_refused > 0)
	{
		range = &many->refused[many->n_refused - 1];
		if (range->next < range->end)
			break;
		many->n_refused--;
	}
	if (many->n_refused == 0 || get->rpc.state != NK_RPC_IDLE || many->call.done)
		return;
	get->segment.next = range->next++;
	key = many->all[get->segment.next].key;
	get->rpc.key = key;
	nk_rpc_start(&get->rpc, nk_get_request(key, many->call.consistency),
				 many->call.deadline);
}

static bool
get_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	multi_get_call *many = (multi_get_call *) rpc->call;

	return nk_get_response(rpc, &many->call.arena, message,
						   &many->all[((lane *) rpc)->segment.next]);
}

static void
get_ended(nk_rpc *rpc)
{
	multi_get_call *many = (multi_get_call *) rpc->call;

	if (rpc->error.code == NORIKV_NOT_FOUND)
		nk_error_clear(&rpc->error);
	if (many->call.done)
		return;
	if (rpc->error.code != NORIKV_OK)
	{
		fail(many, &rpc->error, (int64_t) ((lane *) rpc)->segment.next);
		return;
	}
	many->missing--;
	feed_get((lane *) rpc);
	finish_if_complete(many);
}

static const nk_rpc_type get_rpc_type = {
	.method = NK_GET,
	.shape = NK_UNARY,
	.message = get_message,
	.ended = get_ended,
};

static bool
start_gets(multi_get_call *many)
{
	norikv_client *client = many->call.client;

	if (many->gets == NULL)
	{
		uint32_t	count = client->options.max_in_flight;

		if (count > many->n_keys)
			count = (uint32_t) many->n_keys;
		many->gets = calloc(count, sizeof(lane));
		if (many->gets == NULL)
			return false;
		many->n_gets = count;
		for (uint32_t i = 0; i < count; i++)
			nk_rpc_init(&many->gets[i].rpc, client, &many->call, &get_rpc_type);
	}
	for (uint32_t i = 0; i < many->n_gets; i++)
		feed_get(&many->gets[i]);
	return true;
}

/* The server has no MultiGet: this range goes by Gets. */
static void
refuse(multi_get_call *many, key_range segment)
{
	many->refused[many->n_refused++] = segment;
	if (!start_gets(many))
	{
		norikv_error error;

		nk_error_set(&error, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		fail(many, &error, -1);
	}
}

/* ---- Streams ---- */

static bool
stream_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	lane	   *stream = (lane *) rpc;
	multi_get_call *many = (multi_get_call *) rpc->call;
	Norikv__Ext__V1__MultiGetChunk *chunk;
	norikv_entry *out = &many->all[stream->segment.next + stream->received];

	chunk = wire_unpack(&norikv__ext__v1__multi_get_chunk__descriptor, &many->call.arena,
						message);
	if (chunk == NULL ||
		chunk->n_entries > stream->segment.end - stream->segment.next - stream->received)
		return false;
	for (size_t i = 0; i < chunk->n_entries; i++)
	{
		const Norikv__Ext__V1__Entry *entry = chunk->entries[i];

		out[i].value = nk_bytes(entry->value);
		out[i].version.term = entry->version_term;
		out[i].version.index = entry->version_index;
		out[i].expires_at_ms = entry->expires_at_ms;
	}
	stream->received += chunk->n_entries;
	return true;
}

static bool
stream_prepare(nk_rpc *rpc)
{
	((lane *) rpc)->received = 0;
	return true;
}

static void
stream_ended(nk_rpc *rpc)
{
	lane	   *stream = (lane *) rpc;
	multi_get_call *many = (multi_get_call *) rpc->call;
	size_t		expected = stream->segment.end - stream->segment.next;

	if (many->call.done)
		return;
	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
	{
		rpc->node->abilities.known = NK_NO;
		refuse(many, stream->segment);
		feed_stream(stream);
		return;
	}
	if (rpc->error.code == NORIKV_OK && stream->received < expected)
		nk_error_set(&rpc->error, NORIKV_INTERNAL,
					 "MultiGet on %s answered %zu of %zu keys", rpc->node->address.name,
					 stream->received, expected);
	if (rpc->error.code != NORIKV_OK)
	{
		fail(many, &rpc->error, -1);
		return;
	}
	many->missing -= expected;
	feed_stream(stream);
	finish_if_complete(many);
}

static const nk_rpc_type stream_rpc_type = {
	.method = NK_MULTI_GET,
	.shape = NK_SERVER_STREAM,
	.prepare = stream_prepare,
	.message = stream_message,
	.ended = stream_ended,
};

static grpc_byte_buffer *
pack_segment(multi_get_call *many, key_range segment)
{
	Norikv__Ext__V1__MultiGetRequest request = NORIKV__EXT__V1__MULTI_GET_REQUEST__INIT;
	ProtobufCBinaryData keys[SEGMENT_KEYS];

	for (size_t i = segment.next; i < segment.end; i++)
	{
		keys[i - segment.next].data = (uint8_t *) many->all[i].key.data;
		keys[i - segment.next].len = many->all[i].key.size;
	}
	request.n_keys = segment.end - segment.next;
	request.keys = keys;
	request.consistency = (char *) many->call.consistency;
	return wire_pack(&request.base);
}

/* The next keys, as many as one request may carry. */
static key_range
next_segment(multi_get_call *many)
{
	key_range	segment = {many->todo.next, many->todo.next};
	size_t		bytes = 0;

	while (segment.end < many->todo.end && segment.end - segment.next < SEGMENT_KEYS &&
		   bytes < WIRE_CHUNK)
		bytes += many->all[segment.end++].key.size + KEY_OVERHEAD;
	many->todo.next = segment.end;
	return segment;
}

static void
feed_stream(lane *stream)
{
	multi_get_call *many = (multi_get_call *) stream->rpc.call;

	while (many->todo.next < many->todo.end && !many->call.done)
	{
		key_range	segment = next_segment(many);

		if (nk_route(many->call.client, stream->rpc.key)->abilities.known == NK_NO)
		{
			refuse(many, segment);
			continue;
		}
		stream->segment = segment;
		stream->received = 0;
		nk_rpc_start(&stream->rpc, pack_segment(many, segment), many->call.deadline);
		return;
	}
}

/* ---- The call ---- */

static void
multi_get_abandon(norikv_call *call)
{
	each_lane((multi_get_call *) call, abandon_lane);
}

static void
multi_get_destroy(norikv_call *call)
{
	multi_get_call *many = (multi_get_call *) call;

	free(many->all);
	free(many->refused);
	free(many->gets);
}

static const nk_call_type multi_get_type = {
	.abandon = multi_get_abandon,
	.destroy = multi_get_destroy,
};

/* The caller's keys may go when the call has been started. */
static bool
copy_keys(multi_get_call *many, const norikv_slice *keys, size_t n_keys)
{
	const norikv_client *client = many->call.client;
	size_t		bytes = 0;
	size_t		segments;
	char	   *at;

	for (size_t i = 0; i < n_keys; i++)
	{
		if (!nk_check_key(&many->call, keys[i], (int64_t) i))
			return false;
		bytes += NK_PREFIX_ROOM(client) + keys[i].size;
	}
	at = malloc(n_keys * sizeof(norikv_entry) + bytes + 1);
	many->all = (norikv_entry *) at;
	segments = n_keys / SEGMENT_KEYS + (bytes + n_keys * KEY_OVERHEAD) / WIRE_CHUNK + 2;
	many->refused = malloc(segments * sizeof(key_range));
	if (many->all == NULL || many->refused == NULL)
	{
		nk_call_fail(&many->call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		return false;
	}
	memset(many->all, 0, n_keys * sizeof(norikv_entry));
	at += n_keys * sizeof(norikv_entry);
	for (size_t i = 0; i < n_keys; i++)
	{
		many->all[i].key = nk_full_key(client, keys[i], at);
		at += many->all[i].key.size;
	}
	many->n_keys = many->missing = many->todo.end = n_keys;
	return true;
}

norikv_call *
norikv_multi_get(norikv_client *client, const norikv_slice *keys, size_t n_keys,
				 const norikv_call_options *options)
{
	multi_get_call *many = nk_call_new(client, sizeof(*many), &multi_get_type, options);

	if (many == NULL)
		return nk_call_no_memory();
	for (int i = 0; i < STREAMS; i++)
		nk_rpc_init(&many->streams[i].rpc, client, &many->call, &stream_rpc_type);
	if (many->call.done || !copy_keys(many, keys, n_keys))
		return &many->call;
	for (int i = 0; i < STREAMS && !many->call.done; i++)
		feed_stream(&many->streams[i]);
	finish_if_complete(many);
	return &many->call;
}
