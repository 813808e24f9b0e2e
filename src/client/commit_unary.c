/*
 * commit_unary.c - a Commit on a server that has none: Puts and Deletes, each on
 * its own, max_in_flight of them at a time.
 *
 * Only what means the same that way is done: more than one operation that must
 * take effect together, a check, an addition, a range or a ttl to keep are
 * UNIMPLEMENTED, and none of the operations is sent then.
 */
#include "commit.h"

#include <inttypes.h>
#include <stdlib.h>

static void feed(commit_call *commit);

static norikv_operation
unpacked(const Norikv__Ext__V1__Operation *from)
{
	norikv_operation to = {
		.kind = (norikv_operation_kind) from->kind,
		.key = {from->key.data, from->key.len},
		.value = {from->value.data, from->value.len},
		.ttl = from->ttl_ms > 0 ? NORIKV_TTL_SET : NORIKV_TTL_NONE,
		.ttl_ms = from->ttl_ms,
	};

	if (from->if_match != NULL)
	{
		to.condition = from->if_match->index == 0 ? NORIKV_IF_ABSENT : NORIKV_IF_VERSION;
		to.version.term = from->if_match->term;
		to.version.index = from->if_match->index;
	}
	return to;
}

static void
finish(commit_call *commit)
{
	norikv_call *call = &commit->call;

	call->results = commit->results;
	call->n_results = commit->n_operations;
	call->done = true;
	if (commit->atomic && commit->results[0].code != NORIKV_OK)
		nk_commit_fail_first(commit);
}

static bool
lane_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	commit_call *commit = (commit_call *) rpc->call;

	return nk_write_response(rpc, &commit->call.arena, message,
							 &commit->results[((commit_lane *) rpc)->operation]);
}

static void
lane_ended(nk_rpc *rpc)
{
	commit_call *commit = (commit_call *) rpc->call;
	commit_lane *lane = (commit_lane *) rpc;
	norikv_operation_result *result = &commit->results[lane->operation];

	if (rpc->error.code == NORIKV_NOT_FOUND && rpc->type->method == NK_DELETE &&
		lane->condition == NORIKV_IF_ANY)
		nk_error_clear(&rpc->error);
	nk_result_from_error(result, &rpc->error);
	result->text = "";
	if (result->code != NORIKV_OK)
	{
		size_t		size = strlen(rpc->error.text) + 1;
		char	   *text = wire_arena_alloc(&commit->call.arena, size);

		if (text != NULL)
			result->text = memcpy(text, rpc->error.text, size);
	}
	commit->in_flight--;
	feed(commit);
}

static const nk_rpc_type lane_types[] = {
	[NORIKV_OP_PUT] = {
		.method = NK_PUT,
		.shape = NK_UNARY,
		.write = true,
		.message = lane_message,
		.ended = lane_ended,
	},
	[NORIKV_OP_DELETE] = {
		.method = NK_DELETE,
		.shape = NK_UNARY,
		.write = true,
		.message = lane_message,
		.ended = lane_ended,
	},
};

static bool
start_operation(commit_call *commit, commit_lane *lane)
{
	norikv_operation operation = unpacked(commit->chunk->operations[commit->next_operation]);
	char		key[NK_IDEMPOTENCY_KEY_SIZE + 24];
	nk_rpc	   *rpc = &lane->rpc;

	lane->operation = commit->chunk_first + commit->next_operation++;
	lane->condition = operation.condition;
	nk_rpc_init(rpc, commit->call.client, &commit->call, &lane_types[operation.kind]);
	/* one key cannot name several requests */
	if (commit->own_key && commit->n_operations > 1)
		snprintf(key, sizeof(key), "%s/%zu", commit->key, lane->operation);
	else if (commit->own_key)
		strcpy(key, commit->key);
	else
	{
		rpc->slot = nk_slot_take(&rpc->client->slots, key);
		if (rpc->slot == NK_NO_SLOT)
			return false;
	}
	rpc->key = operation.key;
	commit->in_flight++;
	nk_rpc_start(rpc, nk_write_request(&operation, key), commit->call.deadline);
	return true;
}

static bool
next_chunk(commit_call *commit)
{
	if (commit->chunk != NULL)
		commit->chunk_first += commit->chunk->n_operations;
	commit->chunk = NULL;
	wire_arena_free(&commit->chunk_arena);
	if (commit->next_chunk == commit->n_chunks)
		return false;
	commit->chunk = wire_unpack(&norikv__ext__v1__commit_request__descriptor,
								&commit->chunk_arena, commit->chunks[commit->next_chunk++]);
	commit->next_operation = 0;
	return commit->chunk != NULL;
}

static void
feed(commit_call *commit)
{
	if (commit->call.done)
		return;
	for (uint32_t i = 0; i < commit->n_lanes; i++)
	{
		commit_lane *lane = &commit->lanes[i];

		if (lane->rpc.state != NK_RPC_IDLE)
			continue;
		if (commit->chunk == NULL || commit->next_operation == commit->chunk->n_operations)
		{
			/* requests under way point into the chunk */
			if (commit->in_flight > 0 || !next_chunk(commit))
				break;
		}
		if (!start_operation(commit, lane))
		{
			nk_commit_unary_abandon(commit);
			nk_call_fail(&commit->call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
			commit->call.error.outcome_unknown = true;
			return;
		}
	}
	if (commit->in_flight == 0 && commit->chunk == NULL)
		finish(commit);
}

/* The first thing about the operations that single calls cannot do. */
static const char *
unsupported(commit_call *commit, int64_t *operation)
{
	*operation = -1;
	if (commit->atomic && commit->n_operations > 1)
		return "more than one operation in one step";
	while (next_chunk(commit))
	{
		for (size_t i = 0; i < commit->chunk->n_operations; i++)
		{
			const Norikv__Ext__V1__Operation *one = commit->chunk->operations[i];

			*operation = (int64_t) (commit->chunk_first + i);
			if (one->kind == NORIKV__EXT__V1__OPERATION__KIND__CHECK)
				return "conditions of their own";
			if (one->kind == NORIKV__EXT__V1__OPERATION__KIND__ADD)
				return "additions";
			if (one->kind == NORIKV__EXT__V1__OPERATION__KIND__DELETE_RANGE)
				return "the deletion of ranges";
			if (one->ttl == NORIKV__EXT__V1__OPERATION__TTL__KEEP)
				return "keeping the present ttl";
		}
	}
	return NULL;
}

void
nk_commit_unary(commit_call *commit)
{
	norikv_client *client = commit->call.client;
	int64_t		operation;
	const char *missing;

	wire_arena_init(&commit->chunk_arena);
	commit->next_chunk = 0;
	missing = unsupported(commit, &operation);
	if (missing != NULL)
	{
		nk_call_fail(&commit->call, NORIKV_UNIMPLEMENTED, "%s has no %s",
					 commit->rpc.node->address.name, missing);
		commit->call.error.operation = operation;
		commit->call.error.never_sent = true;
		return;
	}
	commit->next_chunk = commit->chunk_first = 0;
	commit->n_lanes = client->options.max_in_flight;
	if (commit->n_lanes > commit->n_operations)
		commit->n_lanes = (uint32_t) commit->n_operations;
	commit->lanes = calloc(commit->n_lanes, sizeof(*commit->lanes));
	if (commit->lanes == NULL)
	{
		commit->n_lanes = 0;
		nk_call_fail(&commit->call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	nk_rpc_release(&commit->rpc);
	feed(commit);
}

void
nk_commit_unary_abandon(commit_call *commit)
{
	for (uint32_t i = 0; i < commit->n_lanes; i++)
	{
		if (commit->lanes[i].rpc.type != NULL)
			nk_rpc_abandon(&commit->lanes[i].rpc);
	}
}
