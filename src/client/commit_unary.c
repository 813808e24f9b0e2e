/*
 * commit_unary.c - a Commit on a server that has none: Puts and Deletes, each on
 * its own, max_in_flight of them at a time.
 *
 * Only what means the same that way is done: more than one operation that must
 * take effect together, a check, an addition, a range or a ttl to keep are
 * UNIMPLEMENTED, and none of the operations is sent then.
 */
#include "commit.h"

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
		.vector_namespace = {from->namespace_.data, from->namespace_.len},
		.vector = from->vector,
		.dimensions = (uint32_t) from->n_vector,
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

static void
lane_finished(nk_write *write)
{
	commit_call *commit = (commit_call *) write->rpc.call;
	commit_lane *lane = (commit_lane *) write;
	norikv_operation_result *result = &commit->results[lane->operation];

	*result = write->result;
	result->text = "";
	if (result->code != NORIKV_OK)
	{
		size_t		size = strlen(write->rpc.error.text) + 1;
		char	   *text = wire_arena_alloc(&commit->call.arena, size);

		if (text != NULL)
			result->text = memcpy(text, write->rpc.error.text, size);
	}
	lane->busy = false;
	commit->in_flight--;
	feed(commit);
}

static bool
start_operation(commit_call *commit, commit_lane *lane)
{
	norikv_operation operation =
		unpacked(commit->chunk->operations[commit->next_operation]);
	char		key[NK_IDEMPOTENCY_KEY_SIZE + 24];

	lane->operation = commit->chunk_first + commit->next_operation++;
	/* one key cannot name several requests */
	if (commit->own_key && commit->n_operations > 1)
		snprintf(key, sizeof(key), "%s/%zu", commit->key, lane->operation);
	else
		strcpy(key, commit->key);
	lane->busy = true;
	commit->in_flight++;
	if (nk_write_start(&lane->write, commit->call.client, &commit->call,
					   &commit->call.arena, lane_finished, &operation,
					   commit->own_key ? key : NULL))
		return true;
	lane->busy = false;
	commit->in_flight--;
	return false;
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
	commit->chunk =
		wire_unpack(&norikv__ext__v1__commit_request__descriptor, &commit->chunk_arena,
					commit->chunks[commit->next_chunk++]);
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

		if (lane->busy)
			continue;
		if (commit->chunk == NULL ||
			commit->next_operation == commit->chunk->n_operations)
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
			if (one->kind == NORIKV__EXT__V1__OPERATION__KIND__CHECK ||
				one->kind == NORIKV__EXT__V1__OPERATION__KIND__VECTOR_CHECK)
				return "conditions of their own";
			if (one->kind == NORIKV__EXT__V1__OPERATION__KIND__ADD)
				return "additions";
			if (one->kind == NORIKV__EXT__V1__OPERATION__KIND__DELETE_RANGE ||
				one->kind == NORIKV__EXT__V1__OPERATION__KIND__VECTOR_DELETE_RANGE)
				return "the deletion of ranges";
			if (one->if_match != NULL && one->namespace_.len > 0)
				return "conditions on vectors";
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
		if (commit->lanes[i].busy)
			nk_rpc_abandon(&commit->lanes[i].write.rpc);
	}
}
