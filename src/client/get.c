/*
 * get.c - Get: one key, one round trip.
 */
#include "internal.h"

#include <stdlib.h>

typedef struct get_call
{
	norikv_call call;
	nk_rpc		rpc;
	norikv_entry entry;
	char	   *value;			/* of an answer that came with others, or NULL */
	char		key[];
} get_call;

/*
 * On servers without a conditional delete, a key is deleted by writing this
 * value with a short time to live (see emulate.c): until it has passed, the
 * value stands for an absent key.
 */
static bool
is_tombstone(norikv_slice value)
{
	return value.size == sizeof(NK_TOMBSTONE) - 1 &&
		memcmp(value.data, NK_TOMBSTONE, sizeof(NK_TOMBSTONE) - 1) == 0;
}

grpc_byte_buffer *
nk_get_request(norikv_slice key, const char *consistency)
{
	Norikv__V1__GetRequest request = NORIKV__V1__GET_REQUEST__INIT;

	request.key.data = (uint8_t *) key.data;
	request.key.len = key.size;
	request.consistency = (char *) consistency;
	return wire_pack(&request.base);
}

bool
nk_get_response(nk_rpc *rpc, wire_arena *arena, grpc_byte_buffer *message,
				norikv_entry *entry)
{
	Norikv__V1__GetResponse *response;
	norikv_slice key = entry->key;

	memset(entry, 0, sizeof(*entry));
	entry->key = key;
	response = wire_unpack(&norikv__v1__get_response__descriptor, arena, message);
	if (response == NULL)
		return false;
	/* OK without a version is how most servers say that there is no such key */
	if (response->version == NULL)
		return true;
	entry->value = nk_bytes(response->value);
	entry->version.term = response->version->term;
	entry->version.index = response->version->index;
	if (rpc->node->abilities.known != NK_YES && is_tombstone(entry->value))
	{
		memset(entry, 0, sizeof(*entry));
		entry->key = key;
	}
	return true;
}

static bool
get_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	get_call   *get = (get_call *) rpc->call;

	return nk_get_response(rpc, &get->call.arena, message, &get->entry);
}

static bool
get_take_entry(nk_rpc *rpc, const Norikv__Ext__V1__Entry *from)
{
	get_call   *get = (get_call *) rpc->call;
	norikv_entry *entry = &get->entry;
	char	   *value;

	entry->version.term = from->version_term;
	entry->version.index = from->version_index;
	entry->value = (norikv_slice) {"", from->value.len};
	if (from->value.len == 0)
		return true;
	value = malloc(from->value.len);
	if (value == NULL)
		return false;
	entry->value.data = get->value = memcpy(value, from->value.data, from->value.len);
	return true;
}

static grpc_byte_buffer *
get_pack(const nk_rpc *rpc)
{
	return nk_get_request(rpc->key, rpc->call->consistency);
}

static void
get_ended(nk_rpc *rpc)
{
	get_call   *get = (get_call *) rpc->call;

	/* and this is how the others say it */
	if (rpc->error.code == NORIKV_NOT_FOUND)
		nk_error_clear(&rpc->error);
	if (rpc->error.code == NORIKV_OK)
	{
		get->call.entries = &get->entry;
		get->call.n_entries = 1;
	}
	nk_call_finish(&get->call, &rpc->error);
}

static void
get_abandon(norikv_call *call)
{
	nk_rpc_abandon(&((get_call *) call)->rpc);
}

static void
get_destroy(norikv_call *call)
{
	free(((get_call *) call)->value);
}

static const nk_rpc_type get_rpc_type = {
	.method = NK_GET,
	.shape = NK_UNARY,
	.gathers = true,
	.pack = get_pack,
	.take_entry = get_take_entry,
	.message = get_message,
	.ended = get_ended,
};

static const nk_call_type get_type = {
	.abandon = get_abandon,
	.destroy = get_destroy,
};

norikv_call *
norikv_get(norikv_client *client, norikv_slice key, const norikv_call_options *options)
{
	size_t		key_room = key.size <= WIRE_MAX_KEY ? key.size : 0;
	get_call   *get = nk_call_new(client, sizeof(*get) + NK_PREFIX_ROOM(client) + key_room,
								  &get_type, options);
	nk_rpc	   *rpc;

	if (get == NULL)
		return nk_call_no_memory();
	rpc = &get->rpc;
	nk_rpc_init(rpc, client, &get->call, &get_rpc_type);
	if (get->call.done || !nk_check_key(&get->call, key, -1))
		return &get->call;
	rpc->key = get->entry.key = nk_full_key(client, key, get->key);
	nk_strip_key(client, &get->entry.key);
	nk_rpc_start(rpc, NULL, get->call.deadline);
	return &get->call;
}
