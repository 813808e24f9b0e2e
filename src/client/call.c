/*
 * call.c - what the caller holds: made, inspected, freed.
 */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * What a call is when there was no memory for one: starting never fails. One
 * object for everybody, so nothing may be changed in it.
 */
static norikv_call out_of_memory = {
	.done = true,
	.error = {
		.code = NORIKV_RESOURCE_EXHAUSTED,
		.never_sent = true,
		.operation = -1,
		.text = "out of memory",
	},
};

norikv_call *
nk_call_no_memory(void)
{
	return &out_of_memory;
}

const char *
nk_consistency(const char *name)
{
	if (name == NULL || strcmp(name, "strong") == 0)
		return "";
	if (strcmp(name, "eventual") == 0)
		return "eventual";
	if (strcmp(name, "bounded_staleness") == 0)
		return "bounded_staleness";
	return NULL;
}

static void
check_idempotency_key(norikv_call *call, norikv_slice key)
{
	size_t		taken = call->client->prefix.scope_size;
	size_t		limit =
		taken < WIRE_MAX_IDEMPOTENCY_KEY ? WIRE_MAX_IDEMPOTENCY_KEY - taken : 0;

	if (key.size > limit && taken > 0)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "idempotency key of %zu bytes is too long, the limit is %zu: the "
					 "client's key prefix takes %zu of %d",
					 key.size, limit, taken, WIRE_MAX_IDEMPOTENCY_KEY);
	else if (key.size > limit)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "idempotency key of %zu bytes is too long, the limit is %zu",
					 key.size, limit);
	else if (memchr(key.data, '\0', key.size) != NULL)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "an idempotency key cannot hold a zero byte");
}

void *
nk_call_new(norikv_client *client, size_t size, const nk_call_type *type,
			const norikv_call_options *options)
{
	norikv_call *call = calloc(1, size);
	uint32_t	timeout_ms = client->options.timeout_ms;

	if (call == NULL)
		return NULL;
	if (options != NULL && options->timeout_ms != 0)
		timeout_ms = options->timeout_ms;
	call->client = client;
	call->type = type;
	call->timeout_ms = timeout_ms;
	call->deadline = nk_now() + (nk_time) timeout_ms * 1000;
	call->error.operation = -1;
	wire_arena_init(&call->arena);
	call->next = client->calls;
	call->link = &client->calls;
	if (call->next != NULL)
		call->next->link = &call->next;
	client->calls = call;
	call->consistency = client->options.consistency;
	if (options != NULL && options->consistency != NULL)
		call->consistency = nk_consistency(options->consistency);
	if (call->consistency == NULL)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "consistency \"%.100s\" is not known: it must be strong, "
					 "eventual or bounded_staleness",
					 options->consistency);
	else if (options != NULL && options->idempotency_key.size > 0)
		check_idempotency_key(call, options->idempotency_key);
	return call;
}

void
nk_call_finish(norikv_call *call, const norikv_error *error)
{
	if (error->code != NORIKV_OK)
		call->error = *error;
	call->done = true;
}

void
nk_call_fail(norikv_call *call, norikv_code code, const char *format, ...)
{
	va_list		args;

	nk_error_clear(&call->error);
	call->error.code = code;
	call->error.never_sent = call->stats.attempts == 0;
	va_start(args, format);
	vsnprintf(call->error.text, sizeof(call->error.text), format, args);
	va_end(args);
	call->done = true;
}

bool
nk_check_key(norikv_call *call, norikv_slice key, int64_t operation)
{
	size_t		limit = norikv_max_key(call->client);

	if (key.size >= 1 && key.size <= limit)
		return true;
	if (limit == WIRE_MAX_KEY)
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "key of %zu bytes: a key must have 1 to %zu", key.size, limit);
	else
		nk_call_fail(call, NORIKV_INVALID_ARGUMENT,
					 "key of %zu bytes: a key must have 1 to %zu, as the client's key "
					 "prefix takes %zu of %d",
					 key.size, limit, WIRE_MAX_KEY - limit, WIRE_MAX_KEY);
	call->error.operation = operation;
	return false;
}

bool
nk_check_bound(norikv_call *call, const char *what, norikv_slice bound, size_t limit,
			   int64_t operation)
{
	if (bound.size <= limit)
		return true;
	nk_call_fail(call, NORIKV_INVALID_ARGUMENT, "%s has %zu bytes, the limit is %zu",
				 what, bound.size, limit);
	call->error.operation = operation;
	return false;
}

void
nk_note_attempt(nk_rpc *rpc)
{
	norikv_call *call = rpc->call;

	rpc->attempts++;
	if (call == NULL)
		return;
	call->stats.attempts++;
	if (rpc->attempts > 1)
		call->stats.retries++;
	call->stats.round_trips++;
}

void
nk_note_sent(nk_rpc *rpc, const grpc_byte_buffer *message)
{
	if (rpc->call != NULL)
		rpc->call->stats.bytes_sent +=
			grpc_byte_buffer_length((grpc_byte_buffer *) message);
}

/* ---- The end ---- */

static void
destroy(norikv_call *call)
{
	*call->link = call->next;
	if (call->next != NULL)
		call->next->link = call->link;
	if (call->type->destroy != NULL)
		call->type->destroy(call);
	wire_arena_free(&call->arena);
	free(call);
}

void
norikv_call_free(norikv_call *call)
{
	if (call == NULL || call == &out_of_memory || call->freed)
		return;
	call->freed = true;
	/* while it gives up its rpcs it must stay, also when the last one is back */
	call->active++;
	call->type->abandon(call);
	if (--call->active == 0)
		destroy(call);
}

void
nk_call_rpc_back(norikv_call *call)
{
	call->active--;
	if (call->freed && call->active == 0)
		destroy(call);
}

/* ---- What it shows ---- */

bool
norikv_call_done(const norikv_call *call)
{
	return call->done;
}

const norikv_error *
norikv_call_error(const norikv_call *call)
{
	return &call->error;
}

norikv_call_stats
norikv_call_get_stats(const norikv_call *call)
{
	return call->stats;
}

const norikv_entry *
norikv_call_entry(const norikv_call *call)
{
	static const norikv_entry absent;

	return call->n_entries > 0 ? &call->entries[0] : &absent;
}

const norikv_entry *
norikv_call_entries(const norikv_call *call, size_t *n_entries)
{
	*n_entries = call->n_entries;
	return call->entries;
}

uint64_t
norikv_call_count(const norikv_call *call)
{
	return call->count;
}

bool
norikv_call_snapshot_moved(const norikv_call *call)
{
	return call->snapshot_moved;
}

const norikv_operation_result *
norikv_call_results(const norikv_call *call, size_t *n_results)
{
	*n_results = call->n_results;
	return call->results;
}

const norikv_vector *
norikv_call_vectors(const norikv_call *call, size_t *n_vectors)
{
	*n_vectors = call->n_vectors;
	return call->vectors;
}

bool
norikv_call_exact(const norikv_call *call)
{
	return call->exact;
}

const norikv_vector_index *
norikv_call_indexes(const norikv_call *call, size_t *n_indexes)
{
	*n_indexes = call->n_indexes;
	return call->indexes;
}

const norikv_info *
norikv_call_info(const norikv_call *call)
{
	return call->info;
}

const norikv_cluster_view *
norikv_call_view(const norikv_call *call)
{
	return call->view;
}

const norikv_changes *
norikv_call_changes(const norikv_call *call)
{
	return call->changes;
}

bool
norikv_call_watching(const norikv_call *call)
{
	return call->watching;
}

const norikv_usage_counts *
norikv_call_usage(const norikv_call *call)
{
	return call->usage;
}

bool
norikv_call_next(norikv_call *call)
{
	return call->type != NULL && call->type->next != NULL && call->type->next(call);
}
