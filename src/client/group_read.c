/*
 * group_read.c - Gets that travel as one MultiGet.
 *
 * The group is one attempt of each of them and no more: what follows an attempt that
 * failed is each one's own affair.
 */
#include "group.h"

/* What a key takes in a message beside its bytes. */
#define KEY_OVERHEAD 3

size_t
nk_group_room(const nk_rpc *member)
{
	if (member->request != NULL)
		return grpc_byte_buffer_length(member->request);
	return member->key.size + KEY_OVERHEAD;
}

/* ---- Answers ---- */

static void
hand_over(nk_rpc *member, const Norikv__Ext__V1__Entry *entry)
{
	if (member == NULL)
		return;
	member->call->stats.bytes_received +=
		protobuf_c_message_get_packed_size(&entry->base);
	if (!member->type->take_entry(member, entry))
	{
		nk_group_alone(member);
		return;
	}
	nk_error_clear(&member->error);
	nk_rpc_end(member);
}

/* An answer is complete when its entry is there, whatever becomes of the others. */
static bool
entries_came(nk_rpc *rpc, grpc_byte_buffer *message)
{
	nk_group   *group = (nk_group *) rpc;
	Norikv__Ext__V1__MultiGetChunk *chunk;
	wire_arena	arena;
	bool		good;

	wire_arena_init(&arena);
	chunk = wire_unpack(&norikv__ext__v1__multi_get_chunk__descriptor, &arena, message);
	good = chunk != NULL && chunk->n_entries <= group->n_members - group->received;
	for (size_t i = 0; good && i < chunk->n_entries; i++)
		hand_over(nk_group_take(group, group->received++), chunk->entries[i]);
	wire_arena_free(&arena);
	return good;
}

/*
 * Those without an answer. What was refused to all of them need not be refused to
 * each one, so they ask again alone, and hear for themselves. Otherwise it is
 * as if each one's own attempt had ended like this.
 */
static void
fail_member(nk_rpc *member, const nk_rpc *carrier)
{
	if (nk_attempt_verdict(carrier) == NK_VERDICT_DONE)
	{
		nk_group_alone(member);
		return;
	}
	member->status = carrier->status;
	member->details = carrier->details;
	member->timed_out = carrier->timed_out;
	member->garbage = false;
	member->from_server = carrier->from_server;
	nk_retry_after_attempt(member);
	member->details = grpc_empty_slice();
}

static void
read_over(nk_rpc *rpc)
{
	nk_group   *group = (nk_group *) rpc;

	if (rpc->status == GRPC_STATUS_UNIMPLEMENTED)
		rpc->node->abilities.known = NK_NO;
	else if (rpc->status == GRPC_STATUS_OK)
		nk_route_answered(rpc->client, rpc->node);
	for (size_t i = 0; i < group->n_members; i++)
	{
		nk_rpc	   *member = nk_group_take(group, i);

		if (member != NULL)
			fail_member(member, rpc);
	}
	nk_group_free(group);
}

/* All of its calls have been freed. */
static void
read_abandoned(nk_rpc *rpc)
{
	nk_group_free((nk_group *) rpc);
}

static const nk_rpc_type read_group_type = {
	.method = NK_MULTI_GET,
	.shape = NK_SERVER_STREAM,
	.message = entries_came,
	.sent = nk_group_sent,
	.attempt_over = read_over,
	.ended = read_abandoned,
};

/* ---- The request ---- */

bool
nk_group_read(nk_node *node, nk_rpc **members, size_t n_members)
{
	Norikv__Ext__V1__MultiGetRequest request = NORIKV__EXT__V1__MULTI_GET_REQUEST__INIT;
	ProtobufCBinaryData keys[GROUP_MEMBERS];
	nk_group   *group = nk_group_new(node, &read_group_type, members, n_members);

	if (group == NULL)
		return false;
	for (size_t i = 0; i < n_members; i++)
	{
		keys[i].data = (uint8_t *) members[i]->key.data;
		keys[i].len = members[i]->key.size;
	}
	request.n_keys = n_members;
	request.keys = keys;
	request.consistency = (char *) members[0]->call->consistency;
	group->rpc.request = wire_pack(&request.base);
	nk_rpc_send(&group->rpc);
	return true;
}
