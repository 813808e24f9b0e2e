/*
 * group_write.c - Puts and Deletes that travel as one Commit, each on its own.
 *
 * One idempotency key stands for all of them, so the group is repeated as a whole,
 * the freed ones included: what the server has seen once must stay the same.
 */
#include "group.h"
#include "write.h"

#include <stdlib.h>

/* ---- What a member would have sent alone ---- */

/*
 * Its value and its idempotency key are in its request, and nowhere else. Both stay
 * as long as the arena.
 */
static bool
unpack_member(nk_rpc *member, wire_arena *arena, norikv_operation *operation,
			  char **idempotency_key)
{
	*operation = ((nk_write *) member)->operation;
	operation->value = (norikv_slice) {NULL, 0};
	if (operation->kind == NORIKV_OP_PUT)
	{
		Norikv__V1__PutRequest *put;

		put = wire_unpack(&norikv__v1__put_request__descriptor, arena, member->request);
		if (put == NULL)
			return false;
		operation->value = (norikv_slice) {put->value.data, put->value.len};
		*idempotency_key = put->idempotency_key;
	}
	else
	{
		Norikv__V1__DeleteRequest *request;

		request = wire_unpack(&norikv__v1__delete_request__descriptor, arena,
							  member->request);
		if (request == NULL)
			return false;
		*idempotency_key = request->idempotency_key;
	}
	return true;
}

/* Alone it needs a slot of its own again: it gave the one it had away. */
static void
go_alone(nk_rpc *member)
{
	nk_slots   *slots = &member->client->slots;
	norikv_operation operation;
	wire_arena	arena;
	char		key[NK_SLOT_KEY_SIZE];
	char	   *before;

	wire_arena_init(&arena);
	member->slot = nk_slot_take(slots, key);
	if (member->slot != NK_NO_SLOT && unpack_member(member, &arena, &operation, &before))
	{
		grpc_byte_buffer_destroy(member->request);
		member->request = nk_write_request(&operation, key);
		nk_group_alone(member);
	}
	else
	{
		nk_error_set(&member->error, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		nk_rpc_end(member);
	}
	wire_arena_free(&arena);
}

/* ---- Answers ---- */

static bool
group_prepare(nk_rpc *rpc)
{
	nk_group   *group = (nk_group *) rpc;

	/* it started where its members were bound for, and may move on */
	rpc->pinned = false;
	group->received = 0;
	wire_arena_free(&group->arena);
	return true;
}

static grpc_byte_buffer *
group_next_request(nk_rpc *rpc, bool *last)
{
	*last = true;
	return rpc->request;
}

static bool
results_came(nk_rpc *rpc, grpc_byte_buffer *message)
{
	nk_group   *group = (nk_group *) rpc;
	Norikv__Ext__V1__CommitResponse *response;

	response = wire_unpack(&norikv__ext__v1__commit_response__descriptor, &group->arena,
						   message);
	if (response == NULL || response->n_results > group->n_members - group->received)
		return false;
	for (size_t i = 0; i < response->n_results; i++)
		group->results[group->received++] = response->results[i];
	return true;
}

/* What an answer to it alone would have said. */
static void
set_error(nk_rpc *member, const Norikv__Ext__V1__OperationResult *result)
{
	member->status = (grpc_status_code) result->code;
	member->details = grpc_slice_from_static_string(result->message);
	member->timed_out = member->garbage = false;
	member->from_server = true;
	nk_error_from_status(member, nk_attempt_verdict(member));
	member->details = grpc_empty_slice();
}

static void
end_member(nk_rpc *member, const Norikv__Ext__V1__OperationResult *result)
{
	member->call->stats.bytes_received +=
		protobuf_c_message_get_packed_size(&result->base);
	if (result->code == GRPC_STATUS_OK)
	{
		nk_error_clear(&member->error);
		member->type->take_result(member, result);
	}
	else
		set_error(member, result);
	nk_rpc_end(member);
}

/* Refused as a whole: nothing was written, and each may fare better alone. */
static bool
is_refusal(const norikv_error *error)
{
	return error->code != NORIKV_OK && !error->outcome_unknown && !error->retriable &&
		!error->never_sent;
}

static void
group_ended(nk_rpc *rpc)
{
	nk_group   *group = (nk_group *) rpc;
	norikv_error *error = &rpc->error;
	bool		complete = group->received == group->n_members;

	if (error->code == NORIKV_UNIMPLEMENTED)
		rpc->node->abilities.known = NK_NO;
	if (error->code == NORIKV_OK && !complete)
	{
		nk_error_set(error, NORIKV_INTERNAL, "not every operation was answered");
		error->outcome_unknown = true;
		rpc->detail = NULL;
	}
	for (size_t i = 0; i < group->n_members && !rpc->abandoned; i++)
	{
		nk_rpc	   *member = nk_group_take(group, i);

		if (member == NULL)
			continue;
		if (error->code == NORIKV_OK)
			end_member(member, group->results[i]);
		else if (is_refusal(error))
			go_alone(member);
		else
		{
			nk_error_share(member, rpc);
			nk_rpc_end(member);
		}
	}
	nk_group_free(group);
}

static const nk_rpc_type write_group_type = {
	.method = NK_COMMIT,
	.shape = NK_CLIENT_STREAM,
	.write = true,
	.prepare = group_prepare,
	.message = results_came,
	.next_request = group_next_request,
	.sent = nk_group_sent,
	.ended = group_ended,
};

/* ---- The request ---- */

static grpc_byte_buffer *
pack(nk_rpc **members, size_t n_members)
{
	Norikv__Ext__V1__CommitRequest request = NORIKV__EXT__V1__COMMIT_REQUEST__INIT;
	Norikv__Ext__V1__Operation packed[GROUP_MEMBERS];
	Norikv__Ext__V1__Operation *pointers[GROUP_MEMBERS];
	Norikv__V1__Version versions[GROUP_MEMBERS];
	grpc_byte_buffer *buffer = NULL;
	char	   *key;
	wire_arena	arena;
	size_t		n = 0;

	wire_arena_init(&arena);
	for (; n < n_members; n++)
	{
		norikv_operation operation;

		if (!unpack_member(members[n], &arena, &operation, &key))
			break;
		if (n == 0)
			request.idempotency_key = key;
		nk_pack_operation(&operation, &packed[n], &versions[n]);
		pointers[n] = &packed[n];
	}
	request.n_operations = n;
	request.operations = pointers;
	request.end = true;
	if (n == n_members)
		buffer = wire_pack(&request.base);
	wire_arena_free(&arena);
	return buffer;
}

static void
list_group(nk_group *group)
{
	norikv_client *client = group->rpc.client;

	group->next = client->write_groups;
	group->link = &client->write_groups;
	if (group->next != NULL)
		group->next->link = &group->next;
	client->write_groups = group;
}

/*
 * The group goes under the first one's idempotency key, and gives that slot back
 * when it ends: so the next write makes harmless what may be left of it.
 */
static void
take_slots(nk_group *group)
{
	group->rpc.slot = group->members[0]->slot;
	for (size_t i = 1; i < group->n_members; i++)
		nk_slot_give_back(&group->rpc.client->slots, group->members[i]->slot);
	for (size_t i = 0; i < group->n_members; i++)
		group->members[i]->slot = NK_NO_SLOT;
}

/* All that can fail: then the members are as if there had been no group. */
static nk_group *
prepare_group(nk_node *node, nk_rpc **members, size_t n_members, const uint64_t *keys,
			  grpc_byte_buffer **request)
{
	uint64_t   *hashes = malloc(n_members * sizeof(*hashes));
	void	   *results = malloc(n_members * sizeof(void *));
	nk_group   *group = NULL;

	*request = pack(members, n_members);
	if (hashes != NULL && results != NULL && *request != NULL)
		group = nk_group_new(node, &write_group_type, members, n_members);
	if (group == NULL)
	{
		if (*request != NULL)
			grpc_byte_buffer_destroy(*request);
		free(hashes);
		free(results);
		return NULL;
	}
	memcpy(hashes, keys, n_members * sizeof(*hashes));
	group->keys = hashes;
	group->results = results;
	take_slots(group);
	return group;
}

bool
nk_group_write(nk_node *node, nk_rpc **members, size_t n_members, const uint64_t *keys)
{
	grpc_byte_buffer *request;
	nk_group   *group = prepare_group(node, members, n_members, keys, &request);
	nk_rpc	   *rpc;

	if (group == NULL)
		return false;
	list_group(group);
	rpc = &group->rpc;
	/* an attempt has time for its bytes too: 1 MB/s is slow */
	rpc->attempt_timeout_ms += (uint32_t) (grpc_byte_buffer_length(request) / 1000);
	rpc->pinned = true;
	nk_rpc_start(rpc, request, rpc->deadline);
	return true;
}
