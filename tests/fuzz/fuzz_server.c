/*
 * fuzz_server.c - every request that norikvd takes from the wire: its bytes, in one
 * piece and in two, are unpacked and checked, and what passes keeps what the
 * engine relies on.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>

#include "chunk.h"
#include "health.pb-c.h"
#include "request.h"
#include "unpack.h"
#include "vector_unit.h"
#include "wire.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition) \
	do { if (!(condition)) abort(); } while (0)

/* One on a vector goes through the engine's checks too. */
static void
check_vector_op(const engine_op *op)
{
	engine_status status;

	if (!vector_unit_check_op(op, &status))
		return;
	REQUIRE(op->space.size >= 1 && op->space.size <= WIRE_MAX_NAMESPACE);
	REQUIRE(op_on_index(op) || op_on_range(op) ||
			(op->key.size >= 1 && op->key.size <= WIRE_MAX_VECTOR_ID));
	REQUIRE(!op_on_range(op) || op->key.size <= WIRE_MAX_VECTOR_ID + 1);
	REQUIRE(memchr(op->space.data, '\0', op->space.size) == NULL);
	REQUIRE(op->value.size <= WIRE_MAX_DIMENSIONS * sizeof(float));
}

/* What an operation that was let through must be. */
static void
check_op(const engine_op *op)
{
	if (op->kind == ENGINE_DELETE_RANGE)
		REQUIRE(op->key.size <= WIRE_MAX_KEY + 1 && op->end_key.size <= WIRE_MAX_KEY + 1);
	else if (op_on_vector(op))
		check_vector_op(op);
	else
		REQUIRE(op->key.size >= 1 && op->key.size <= WIRE_MAX_KEY);
	REQUIRE(op->value.size <= WIRE_MAX_VALUE);
	REQUIRE(op->ttl_ms <= WIRE_MAX_TTL_MS);
	REQUIRE((op->ttl == ENGINE_TTL_SET) == (op->ttl_ms != 0));
	REQUIRE(op->condition != ENGINE_IF_VERSION || op->version.index != 0);
	REQUIRE(op->kind != ENGINE_DELETE || op->condition != ENGINE_IF_ABSENT);
	REQUIRE((op->kind != ENGINE_CHECK && op->kind != ENGINE_VECTOR_CHECK) ||
			op->condition != ENGINE_IF_ANY);
	REQUIRE(op->kind != ENGINE_VECTOR_CHECK || op->value.size == 0);
}

static void
try_put(const void *message, wire_arena *arena, char *error)
{
	const Norikv__V1__PutRequest *request = message;
	engine_slice key;
	engine_op	op;

	(void) arena;
	if (request_put(request, &op, error))
		check_op(&op);
	if (request_idempotency_key(request->idempotency_key, &key, error))
		REQUIRE(key.size <= WIRE_MAX_IDEMPOTENCY_KEY);
}

static void
try_get(const void *message, wire_arena *arena, char *error)
{
	engine_consistency consistency;
	engine_slice key;

	(void) arena;
	if (request_get(message, &key, &consistency, error))
		REQUIRE(key.size >= 1 && key.size <= WIRE_MAX_KEY);
}

static void
try_delete(const void *message, wire_arena *arena, char *error)
{
	engine_op	op;

	(void) arena;
	if (request_delete(message, &op, error))
		check_op(&op);
}

static void
try_multi_get(const void *message, wire_arena *arena, char *error)
{
	const Norikv__Ext__V1__MultiGetRequest *request = message;
	engine_consistency consistency;
	chunk		packed = {0};

	(void) arena;
	if (!request_multi_get(request, &consistency, error))
		return;
	for (size_t i = 0; i < request->n_keys; i++)
	{
		engine_entry entry = {
			.key = {(const char *) request->keys[i].data, request->keys[i].len},
			.value = {(const char *) request->keys[i].data, request->keys[i].len},
			.version = {1, i},
		};

		chunk_add_entry(&packed, &entry, true);
	}
	chunk_free(&packed);
}

static void
try_scan(const void *message, wire_arena *arena, char *error)
{
	engine_scan scan;

	(void) arena;
	if (request_scan(message, &scan, error))
		REQUIRE(scan.start.size <= WIRE_MAX_KEY + 1 && scan.end.size <= WIRE_MAX_KEY + 1);
}

static void
try_vector_scan(const void *message, wire_arena *arena, char *error)
{
	engine_scan scan;

	(void) arena;
	if (!request_vector_scan(message, &scan, error))
		return;
	REQUIRE(scan.start.size <= WIRE_MAX_KEY + 1 && scan.end.size <= WIRE_MAX_KEY + 1);
	REQUIRE(scan.space.size >= 1 && scan.space.size <= WIRE_MAX_NAMESPACE);
}

static void
try_watch(const void *message, wire_arena *arena, char *error)
{
	engine_watch_request watch;

	(void) arena;
	if (request_watch(message, &watch, error))
		REQUIRE(watch.start.size <= WIRE_MAX_KEY + 1 &&
				watch.end.size <= WIRE_MAX_KEY + 1);
}

static void
try_set_quota(const void *message, wire_arena *arena, char *error)
{
	engine_op	op;

	(void) arena;
	if (!request_set_quota(message, &op, error))
		return;
	REQUIRE(op.kind == ENGINE_QUOTA_SET || op.kind == ENGINE_QUOTA_REMOVE);
	REQUIRE(op.key.size <= WIRE_MAX_KEY);
}

static void
try_usage(const void *message, wire_arena *arena, char *error)
{
	engine_slice prefix;

	(void) arena;
	if (request_usage(message, &prefix, error))
		REQUIRE(prefix.size <= WIRE_MAX_KEY);
}

static void
try_commit(const void *message, wire_arena *arena, char *error)
{
	const Norikv__Ext__V1__CommitRequest *request = message;
	engine_op  *ops = wire_arena_alloc(arena, (request->n_operations + 1) * sizeof(*ops));

	for (size_t i = 0; i < request->n_operations; i++)
	{
		if (!request_operation(request->operations[i], i, &ops[i], error))
			return;
		check_op(&ops[i]);
	}
	request_distinct_keys(ops, request->n_operations, error);
}

static void
try_vector_insert(const void *message, wire_arena *arena, char *error)
{
	const Norikv__V1__VectorInsertRequest *request = message;
	engine_op	op = {
		.kind = ENGINE_VECTOR_PUT,
		.space = request_text(request->namespace_),
		.key = request_text(request->id),
		.value = request_floats(request->vector, request->n_vector),
	};

	(void) arena;
	(void) error;
	check_vector_op(&op);
}

static void
try_create_index(const void *message, wire_arena *arena, char *error)
{
	const Norikv__V1__CreateVectorIndexRequest *request = message;
	engine_op	op = {
		.kind = ENGINE_INDEX_CREATE,
		.space = request_text(request->namespace_),
		.index = {request->dimensions, (engine_metric) request->distance,
		(engine_index_type) request->index_type},
	};

	(void) arena;
	(void) error;
	check_vector_op(&op);
}

static void
try_nothing(const void *message, wire_arena *arena, char *error)
{
	(void) message;
	(void) arena;
	(void) error;
}

static const struct
{
	const ProtobufCMessageDescriptor *descriptor;
	void		(*attempt) (const void *message, wire_arena *arena, char *error);
}			requests[] = {
	{&norikv__v1__put_request__descriptor, try_put},
	{&norikv__v1__get_request__descriptor, try_get},
	{&norikv__v1__delete_request__descriptor, try_delete},
	{&norikv__ext__v1__multi_get_request__descriptor, try_multi_get},
	{&norikv__ext__v1__scan_request__descriptor, try_scan},
	{&norikv__ext__v1__commit_request__descriptor, try_commit},
	{&norikv__ext__v1__info_request__descriptor, try_nothing},
	{&norikv__ext__v1__watch_request__descriptor, try_watch},
	{&norikv__ext__v1__set_quota_request__descriptor, try_set_quota},
	{&norikv__ext__v1__usage_request__descriptor, try_usage},
	{&norikv__v1__watch_cluster_request__descriptor, try_nothing},
	{&norikv__v1__create_vector_index_request__descriptor, try_create_index},
	{&norikv__v1__vector_insert_request__descriptor, try_vector_insert},
	{&norikv__v1__vector_search_request__descriptor, try_nothing},
	{&norikv__ext__v1__search_request__descriptor, try_nothing},
	{&norikv__ext__v1__vector_multi_get_request__descriptor, try_nothing},
	{&norikv__ext__v1__vector_scan_request__descriptor, try_vector_scan},
	{&grpc__health__v1__health_check_request__descriptor, try_nothing},
};

#define N_REQUESTS (sizeof(requests) / sizeof(requests[0]))

/* The bytes as they come from a socket: whole, or cut somewhere. */
static grpc_byte_buffer *
make_buffer(const uint8_t *data, size_t size, size_t cut)
{
	grpc_slice	slices[2];
	grpc_byte_buffer *buffer;
	size_t		n = cut < size ? 2 : 1;

	slices[0] = grpc_slice_from_copied_buffer((const char *) data, n == 2 ? cut : size);
	if (n == 2)
		slices[1] = grpc_slice_from_copied_buffer((const char *) data + cut, size - cut);
	buffer = grpc_raw_byte_buffer_create(slices, n);
	for (size_t i = 0; i < n; i++)
		grpc_slice_unref(slices[i]);
	return buffer;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	grpc_byte_buffer *buffer;
	message_bytes bytes;
	wire_arena	arena;
	void	   *message;
	size_t		which;
	char		error[UNPACK_ERROR_SIZE + REQUEST_ERROR_SIZE];

	if (size < 2)
		return 0;
	which = data[0] % N_REQUESTS;
	buffer = make_buffer(data + 2, size - 2, data[1]);
	message_open(&bytes, buffer);
	REQUIRE(bytes.size == size - 2);
	REQUIRE(message_count(&bytes, 3) <= bytes.size);
	wire_arena_init(&arena);
	message = message_unpack(&bytes, requests[which].descriptor, &arena, error);
	message_close(&bytes);
	if (message != NULL)
		requests[which].attempt(message, &arena, error);
	wire_arena_free(&arena);
	grpc_byte_buffer_destroy(buffer);
	return 0;
}
