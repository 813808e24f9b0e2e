/*
 * commit.c - Commit: many operations in one stream, under one idempotency key.
 *
 * The operations are packed into chunks when the call is made; the chunks are
 * what further attempts send again, and what the pipelined unary calls are
 * made of where the server has no Commit (commit_unary.c).
 */
#include "commit.h"
#include "vector.h"

#include <stdlib.h>

/* What an operation can need beside its key and values. */
#define OPERATION_OVERHEAD 96

/* ---- Packing ---- */

static bool
on_vector(const norikv_operation *operation)
{
	return operation->kind == NORIKV_OP_VECTOR_PUT ||
		operation->kind == NORIKV_OP_VECTOR_DELETE ||
		operation->kind == NORIKV_OP_VECTOR_CHECK ||
		operation->kind == NORIKV_OP_VECTOR_DELETE_RANGE;
}

static bool
on_range(const norikv_operation *operation)
{
	return operation->kind == NORIKV_OP_DELETE_RANGE ||
		operation->kind == NORIKV_OP_VECTOR_DELETE_RANGE;
}

void
nk_pack_operation(const norikv_operation *from, Norikv__Ext__V1__Operation *to,
				  Norikv__V1__Version *version)
{
	static const Norikv__Ext__V1__Operation__Ttl ttls[] = {
		[NORIKV_TTL_NONE] = NORIKV__EXT__V1__OPERATION__TTL__NONE,
		[NORIKV_TTL_SET] = NORIKV__EXT__V1__OPERATION__TTL__SET,
		[NORIKV_TTL_KEEP] = NORIKV__EXT__V1__OPERATION__TTL__KEEP,
	};

	norikv__ext__v1__operation__init(to);
	to->kind = (Norikv__Ext__V1__Operation__Kind) from->kind;
	to->key.data = (uint8_t *) from->key.data;
	to->key.len = from->key.size;
	to->value.data = (uint8_t *) from->value.data;
	to->value.len = from->kind == NORIKV_OP_PUT ? from->value.size : 0;
	to->end_key.data = (uint8_t *) from->end_key.data;
	to->end_key.len = on_range(from) ? from->end_key.size : 0;
	to->ttl = ttls[from->ttl];
	to->ttl_ms = from->ttl == NORIKV_TTL_SET ? from->ttl_ms : 0;
	to->delta = from->delta;
	if (on_vector(from))
	{
		to->namespace_.data = (uint8_t *) from->vector_namespace.data;
		to->namespace_.len = from->vector_namespace.size;
	}
	if (from->kind == NORIKV_OP_VECTOR_PUT)
	{
		to->vector = (float *) from->vector;
		to->n_vector = from->dimensions;
	}
	if (from->condition == NORIKV_IF_ANY)
		return;
	norikv__v1__version__init(version);
	if (from->condition == NORIKV_IF_VERSION)
	{
		version->term = from->version.term;
		version->index = from->version.index;
	}
	to->if_match = version;
}

static size_t
operation_room(const commit_call *commit, const norikv_operation *operation)
{
	size_t		room = operation->key.size + operation->value.size +
		operation->end_key.size + 2 * NK_PREFIX_ROOM(commit->call.client) +
		OPERATION_OVERHEAD;

	if (on_vector(operation))
		room += operation->vector_namespace.size;
	if (operation->kind == NORIKV_OP_VECTOR_PUT)
		room += operation->dimensions * sizeof(float);
	return room;
}

/* The operation with full keys, in room; what it takes of that. */
static size_t
full_operation(const commit_call *commit, norikv_operation *operation, char *room)
{
	const norikv_client *client = commit->call.client;

	if (client->prefix.key.size == 0)
		return 0;
	/* the id is the namespace's own */
	if (on_vector(operation))
	{
		operation->vector_namespace =
			nk_full_key(client, operation->vector_namespace, room);
		return operation->vector_namespace.size;
	}
	if (operation->kind != NORIKV_OP_DELETE_RANGE)
	{
		operation->key = nk_full_key(client, operation->key, room);
		return operation->key.size;
	}
	operation->key = nk_full_start(client, operation->key, room);
	operation->end_key =
		nk_full_end(client, operation->end_key, room + operation->key.size);
	return operation->key.size + operation->end_key.size;
}

/* What the full keys of these operations take at most. */
static size_t
keys_room(const commit_call *commit, const norikv_operation *operations, size_t length)
{
	const norikv_client *client = commit->call.client;
	size_t		room = 1;

	if (client->prefix.key.size == 0)
		return room;
	for (size_t i = 0; i < length; i++)
		room += operations[i].key.size + operations[i].end_key.size +
			operations[i].vector_namespace.size + 2 * NK_PREFIX_ROOM(client);
	return room;
}

/* The operations of the chunk that begins with the first of them. */
static size_t
chunk_length(const commit_call *commit, const norikv_operation *operations,
			 size_t n_operations)
{
	size_t		bytes = operation_room(commit, &operations[0]);
	size_t		length = 1;

	while (length < n_operations &&
		   bytes + operation_room(commit, &operations[length]) <= WIRE_CHUNK)
		bytes += operation_room(commit, &operations[length++]);
	return length;
}

static bool
pack_chunk(commit_call *commit, const norikv_operation *operations, size_t length,
		   const char *idempotency_key, bool end)
{
	Norikv__Ext__V1__CommitRequest request = NORIKV__EXT__V1__COMMIT_REQUEST__INIT;
	Norikv__Ext__V1__Operation *packed = malloc(length * sizeof(*packed));
	Norikv__Ext__V1__Operation **pointers = malloc(length * sizeof(*pointers));
	Norikv__V1__Version *versions = malloc(length * sizeof(*versions));
	char	   *keys = malloc(keys_room(commit, operations, length));
	char	   *room = keys;
	bool		enough =
		packed != NULL && pointers != NULL && versions != NULL && keys != NULL;

	if (enough)
	{
		for (size_t i = 0; i < length; i++)
		{
			norikv_operation full = operations[i];

			room += full_operation(commit, &full, room);
			nk_pack_operation(&full, &packed[i], &versions[i]);
			pointers[i] = &packed[i];
		}
		if (commit->n_chunks == 0)
		{
			request.atomic = commit->atomic;
			request.idempotency_key = (char *) idempotency_key;
		}
		request.n_operations = length;
		request.operations = pointers;
		request.end = end;
		commit->chunks[commit->n_chunks++] = wire_pack(&request.base);
	}
	free(packed);
	free(pointers);
	free(versions);
	free(keys);
	return enough;
}

static bool
pack(commit_call *commit, const norikv_operation *operations, const char *idempotency_key)
{
	size_t		n = commit->n_operations;
	size_t		n_chunks = 0;

	for (size_t at = 0; at < n; at += chunk_length(commit, operations + at, n - at))
		n_chunks++;
	commit->chunks = calloc(n_chunks, sizeof(*commit->chunks));
	commit->results = calloc(n, sizeof(*commit->results));
	if (commit->chunks == NULL || commit->results == NULL)
		return false;
	for (size_t at = 0; at < n;)
	{
		size_t		length = chunk_length(commit, operations + at, n - at);

		if (!pack_chunk(commit, operations + at, length, idempotency_key,
						at + length == n))
			return false;
		at += length;
	}
	return true;
}

/* ---- The stream ---- */

static bool
commit_prepare(nk_rpc *rpc)
{
	commit_call *commit = (commit_call *) rpc->call;

	commit->next_chunk = 0;
	commit->received = 0;
	commit->applied = false;
	return true;
}

static grpc_byte_buffer *
commit_next_request(nk_rpc *rpc, bool *last)
{
	commit_call *commit = (commit_call *) rpc->call;
	grpc_byte_buffer *chunk = commit->chunks[commit->next_chunk++];

	*last = commit->next_chunk == commit->n_chunks;
	return chunk;
}

static bool
commit_message(nk_rpc *rpc, grpc_byte_buffer *message)
{
	commit_call *commit = (commit_call *) rpc->call;
	Norikv__Ext__V1__CommitResponse *response;

	response = wire_unpack(&norikv__ext__v1__commit_response__descriptor,
						   &commit->call.arena, message);
	if (response == NULL || response->n_results > commit->n_operations - commit->received)
		return false;
	for (size_t i = 0; i < response->n_results; i++)
	{
		const Norikv__Ext__V1__OperationResult *from = response->results[i];

		nk_strip_text(commit->call.client, from->message);
		commit->results[commit->received++] = (norikv_operation_result) {
			.code = from->code <= NORIKV_UNAUTHENTICATED ? (norikv_code) from->code
				: NORIKV_UNKNOWN,
			.version_mismatch = from->code == NORIKV_FAILED_PRECONDITION,
			.quota_exceeded = nk_is_quota((norikv_code) from->code, from->message,
										  strlen(from->message)),
			.text = from->message,
			.version = {from->version_term, from->version_index},
			.existed = from->existed,
			.value = from->value,
			.deleted = from->deleted,
		};
	}
	commit->applied = response->applied;
	return true;
}

/*
 * The error of an atomic Commit that was not applied: the first operation that
 * is at fault. Those that were in order answer ABORTED.
 */
void
nk_commit_fail_first(commit_call *commit)
{
	norikv_error *error = &commit->call.error;
	size_t		at = 0;

	while (at < commit->n_operations && (commit->results[at].code == NORIKV_OK ||
										 commit->results[at].code == NORIKV_ABORTED))
		at++;
	if (at == commit->n_operations)
		nk_error_set(error, NORIKV_ABORTED, "the server did not apply the commit");
	else
	{
		const norikv_operation_result *result = &commit->results[at];

		nk_error_set(error, result->code, "operation %zu of the commit: %s", at,
					 result->text);
		nk_error_parse_mismatch(error, result->text, strlen(result->text));
		error->version_mismatch = result->version_mismatch;
		error->quota_exceeded = result->quota_exceeded;
		if (result->version_mismatch)
			error->present = result->version;
		error->outcome_unknown = result->outcome_unknown;
		error->operation = (int64_t) at;
	}
	error->retriable = false;
	snprintf(error->node, sizeof(error->node), "%s", commit->rpc.node->address.name);
}

static void
commit_ended(nk_rpc *rpc)
{
	commit_call *commit = (commit_call *) rpc->call;
	norikv_call *call = &commit->call;

	if (rpc->error.code == NORIKV_UNIMPLEMENTED)
	{
		rpc->node->abilities.known = NK_NO;
		nk_commit_unary(commit);
		return;
	}
	if (rpc->error.code == NORIKV_OK && commit->received < commit->n_operations)
	{
		nk_error_set(&rpc->error, NORIKV_INTERNAL,
					 "Commit on %s answered %zu of %zu operations",
					 rpc->node->address.name, commit->received, commit->n_operations);
		rpc->error.outcome_unknown = true;
	}
	nk_call_finish(call, &rpc->error);
	if (rpc->error.code != NORIKV_OK)
		return;
	call->results = commit->results;
	call->n_results = commit->n_operations;
	if (commit->atomic && !commit->applied)
		nk_commit_fail_first(commit);
}

/* What the Commit has and the server does not know: it would refuse it as malformed. */
static const char *
unknown_to(const commit_call *commit, const nk_abilities *abilities)
{
	if (abilities->known != NK_YES)
		return NULL;
	if (commit->checks_vectors && !abilities->vector_checks)
		return "conditions on vectors of their own";
	if (commit->deletes_vectors && !abilities->vector_ranges)
		return "deletion of ranges of vectors";
	return NULL;
}

static bool
newer_prepare(nk_rpc *rpc)
{
	const nk_node *node = rpc->node;
	const char *unknown = unknown_to((commit_call *) rpc->call, &node->abilities);

	if (unknown == NULL)
		return commit_prepare(rpc);
	nk_error_set(&rpc->error, NORIKV_UNIMPLEMENTED, "%s has no %s", node->address.name,
				 unknown);
	rpc->error.never_sent = !rpc->maybe_applied;
	rpc->error.outcome_unknown = rpc->maybe_applied;
	nk_rpc_end(rpc);
	return false;
}

static void
newer_ended(nk_rpc *rpc)
{
	if (unknown_to((commit_call *) rpc->call, &rpc->node->abilities) != NULL)
		nk_call_finish(rpc->call, &rpc->error);
	else
		commit_ended(rpc);
}

static const nk_rpc_type commit_rpc_type = {
	.method = NK_COMMIT,
	.shape = NK_CLIENT_STREAM,
	.write = true,
	.prepare = commit_prepare,
	.message = commit_message,
	.next_request = commit_next_request,
	.ended = commit_ended,
};

/* With operations that not every server with a Commit knows. */
static const nk_rpc_type newer_commit_rpc_type = {
	.method = NK_COMMIT,
	.shape = NK_CLIENT_STREAM,
	.write = true,
	.needs_abilities = true,
	.prepare = newer_prepare,
	.message = commit_message,
	.next_request = commit_next_request,
	.ended = newer_ended,
};

/* ---- The call ---- */

static void
commit_abandon(norikv_call *call)
{
	commit_call *commit = (commit_call *) call;

	nk_rpc_abandon(&commit->rpc);
	nk_commit_unary_abandon(commit);
}

static void
commit_destroy(norikv_call *call)
{
	commit_call *commit = (commit_call *) call;

	for (size_t i = 0; i < commit->n_chunks; i++)
		grpc_byte_buffer_destroy(commit->chunks[i]);
	free(commit->chunks);
	free(commit->results);
	free(commit->lanes);
	wire_arena_free(&commit->chunk_arena);
}

static const nk_call_type commit_type = {
	.abandon = commit_abandon,
	.destroy = commit_destroy,
};

static bool
check_range(norikv_call *call, const norikv_operation *operation, size_t limit,
			int64_t at)
{

	if (!nk_check_bound(call, "start of the range to delete", operation->key, limit, at) ||
		!nk_check_bound(call, "end of the range to delete", operation->end_key, limit, at))
		return false;
	if (operation->condition == NORIKV_IF_ANY)
		return true;
	nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
				 "the deletion of a range cannot have a condition");
	call->error.operation = at;
	return false;
}

static bool
check_vector(norikv_call *call, const norikv_operation *operation, int64_t at)
{
	nk_space	space;
	const char *complaint = NULL;

	if (!nk_space_set(&space, call, operation->vector_namespace, at))
		return false;
	if (operation->kind == NORIKV_OP_VECTOR_DELETE_RANGE)
		return check_range(call, operation, NORIKV_MAX_VECTOR_ID + 1, at);
	if (!nk_check_vector_id(call, operation->key, at))
		return false;
	if (operation->kind == NORIKV_OP_VECTOR_PUT &&
		!nk_check_vector(call, "vector", operation->vector, operation->dimensions, at))
		return false;
	if (operation->kind == NORIKV_OP_VECTOR_CHECK &&
		operation->condition == NORIKV_IF_ANY)
		complaint = "a check needs a condition";
	else if (operation->kind == NORIKV_OP_VECTOR_DELETE &&
			 operation->condition == NORIKV_IF_ABSENT)
		complaint = "a delete cannot have the condition that the vector is absent";
	else if (operation->condition == NORIKV_IF_VERSION && operation->version.index == 0)
		complaint = "its version has index 0, which means that the vector is absent";
	else if (operation->ttl != NORIKV_TTL_NONE)
		complaint = "a vector has no ttl";
	if (complaint == NULL)
		return true;
	nk_call_fail(call, NORIKV_INVALID_ARGUMENT, "operation %lld of the commit: %s",
				 (long long) at, complaint);
	call->error.operation = at;
	return false;
}

static bool
check(norikv_call *call, const norikv_operation *operation, int64_t at)
{
	const char *complaint = NULL;

	if (on_vector(operation))
		return check_vector(call, operation, at);
	if (operation->kind == NORIKV_OP_DELETE_RANGE)
		return check_range(call, operation, norikv_max_key(call->client), at);
	if (operation->kind < NORIKV_OP_PUT || operation->kind > NORIKV_OP_ADD)
		complaint = "its kind is not known";
	else if (operation->kind == NORIKV_OP_CHECK && operation->condition == NORIKV_IF_ANY)
		complaint = "a check needs a condition";
	else if (operation->kind == NORIKV_OP_DELETE &&
			 operation->condition == NORIKV_IF_ABSENT)
		complaint = "a delete cannot have the condition that the key is absent";
	else if (operation->ttl > NORIKV_TTL_KEEP)
		complaint = "its ttl is neither none, set nor keep";
	if (complaint == NULL)
		return nk_check_operation(call, operation, at);
	nk_call_fail(call, NORIKV_INVALID_ARGUMENT, "operation %lld of the commit: %s",
				 (long long) at, complaint);
	call->error.operation = at;
	return false;
}

static void
commit_start(commit_call *commit, const norikv_operation *operations,
			 const norikv_call_options *options)
{
	norikv_call *call = &commit->call;
	nk_rpc	   *rpc = &commit->rpc;
	size_t		bytes = 0;

	for (size_t i = 0; i < commit->n_operations; i++)
	{
		if (!check(call, &operations[i], (int64_t) i))
			return;
		bytes += operation_room(commit, &operations[i]);
	}
	commit->own_key = nk_idempotency_key(call->client, options, commit->key);
	if (!commit->own_key)
		rpc->slot = nk_slot_take(&rpc->client->slots, commit->key);
	if ((!commit->own_key && rpc->slot == NK_NO_SLOT) ||
		!pack(commit, operations, commit->key))
	{
		nk_rpc_release(rpc);
		nk_call_fail(call, NORIKV_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	/* an attempt has time for its bytes too: 1 MB/s is slow */
	rpc->attempt_timeout_ms +=
		(uint32_t) (bytes / 1000 < 86400000 ? bytes / 1000 : 86400000);
	if (nk_route(call->client, rpc->key)->abilities.known == NK_NO)
	{
		rpc->node = nk_route(call->client, rpc->key);
		nk_commit_unary(commit);
	}
	else
		nk_rpc_start(rpc, NULL, call->deadline);
}

/* Whether it is to be asked for what the server knows. */
static bool
needs_newer(commit_call *commit, const norikv_operation *operations)
{
	for (size_t i = 0; i < commit->n_operations; i++)
	{
		commit->checks_vectors |= operations[i].kind == NORIKV_OP_VECTOR_CHECK;
		commit->deletes_vectors |= operations[i].kind == NORIKV_OP_VECTOR_DELETE_RANGE;
	}
	return commit->checks_vectors || commit->deletes_vectors;
}

norikv_call *
norikv_commit(norikv_client *client, const norikv_operation *operations,
			  size_t n_operations, bool atomic, const norikv_call_options *options)
{
	commit_call *commit = nk_call_new(client, sizeof(*commit), &commit_type, options);

	if (commit == NULL)
		return nk_call_no_memory();
	commit->atomic = atomic;
	commit->n_operations = n_operations;
	nk_rpc_init(&commit->rpc, client, &commit->call, needs_newer(commit, operations)
				? &newer_commit_rpc_type : &commit_rpc_type);
	if (n_operations == 0)
		commit->call.done = true;
	if (!commit->call.done)
		commit_start(commit, operations, options);
	return &commit->call;
}
