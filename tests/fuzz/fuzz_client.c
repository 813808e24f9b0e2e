/*
 * fuzz_client.c - every answer that libnorikv takes from the wire, in one message and
 * in two, for every kind of call; and the texts it takes apart.
 *
 * The calls are real ones that wait for a connection which never comes; the bytes
 * are handed to them as a server's messages would be.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition) \
	do { if (!(condition)) abort(); } while (0)

static volatile uint64_t sink;

/* Every byte that is shown must be there. */
static void
read_bytes(norikv_slice bytes)
{
	for (size_t i = 0; i < bytes.size; i++)
		sink += ((const uint8_t *) bytes.data)[i];
}

static void
look_at(norikv_call *call)
{
	size_t		n;
	const norikv_entry *entries = norikv_call_entries(call, &n);
	const norikv_operation_result *results;
	const norikv_cluster_view *view = norikv_call_view(call);
	const norikv_changes *changes = norikv_call_changes(call);
	const norikv_vector *vectors;
	const norikv_vector_index *indexes;

	for (size_t i = 0; i < n; i++)
	{
		read_bytes(entries[i].key);
		read_bytes(entries[i].value);
	}
	results = norikv_call_results(call, &n);
	for (size_t i = 0; i < n; i++)
		read_bytes(NORIKV_SLICE(results[i].text));
	vectors = norikv_call_vectors(call, &n);
	for (size_t i = 0; i < n; i++)
	{
		read_bytes(vectors[i].id);
		read_bytes((norikv_slice) {vectors[i].vector,
				vectors[i].vector != NULL ? vectors[i].dimensions * sizeof(float) : 0});
	}
	indexes = norikv_call_indexes(call, &n);
	for (size_t i = 0; i < n; i++)
		read_bytes(indexes[i].space);
	for (size_t i = 0; changes != NULL && i < changes->n_changes; i++)
	{
		read_bytes(changes->changes[i].key);
		read_bytes(changes->changes[i].end_key);
	}
	for (size_t i = 0; view != NULL && i < view->n_replicas; i++)
	{
		read_bytes(NORIKV_SLICE(view->replicas[i].node));
		read_bytes(NORIKV_SLICE(view->replicas[i].addr));
	}
}

static norikv_call *
start(norikv_client *client, int kind)
{
	static const norikv_slice keys[3] = {{"a", 1}, {"b", 1}, {"c", 1}};
	norikv_operation operations[3] = {
		{.kind = NORIKV_OP_PUT, .key = keys[0]},
		{.kind = NORIKV_OP_ADD, .key = keys[1], .delta = 1},
		{.kind = NORIKV_OP_DELETE, .key = keys[2]},
	};
	static const float point[2] = {1, 2};
	norikv_search_request search = {.space = keys[0], .query = point, .dimensions = 2,
		.k = 3, .continued = true};
	norikv_scan_request scan = {.reverse = false};
	norikv_vector_scan_request vector_scan = {.space = keys[0]};
	norikv_watch_request watch = {.start = keys[0]};

	switch (kind)
	{
		case 0:
			return norikv_get(client, keys[0], NULL);
		case 1:
			return norikv_write(client, &operations[0], NULL);
		case 2:
			return norikv_write(client, &operations[2], NULL);
		case 3:
			return norikv_multi_get(client, keys, 3, NULL);
		case 4:
			return norikv_commit(client, operations, 3, true, NULL);
		case 5:
			return norikv_scan(client, &scan, NULL);
		case 6:
			return norikv_get_info(client, NULL);
		case 7:
			return norikv_health(client, NULL);
		case 8:
			return norikv_watch_cluster(client, NULL);
		case 9:
			return norikv_usage(client, keys[0], NULL);
		case 11:
			return norikv_vector_get_many(client, keys[0], keys, 3, NULL);
		case 12:
			return norikv_vector_search(client, &search, NULL);
		case 13:
			return norikv_vector_list(client, keys[0], NULL);
		case 14:
			return norikv_vector_insert(client, keys[0], keys[1], point, 2, NULL);
		case 15:
			return norikv_vector_scan(client, &vector_scan, NULL);
		default:
			return norikv_watch(client, &watch, NULL);
	}
}

static bool
hand_over(nk_rpc *rpc, const uint8_t *data, size_t size)
{
	grpc_slice	slice = grpc_slice_from_copied_buffer((const char *) data, size);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
	bool		taken = rpc->type->message(rpc, buffer);

	grpc_byte_buffer_destroy(buffer);
	grpc_slice_unref(slice);
	return taken;
}

static void
try_call(norikv_client *client, int kind, bool twice, const uint8_t *data, size_t size)
{
	norikv_call *call = start(client, kind);
	nk_rpc	   *rpc = client->nodes[0].waiting;
	size_t		first = twice ? size / 2 : size;

	REQUIRE(rpc != NULL && rpc->call == call);
	if (hand_over(rpc, data, first))
	{
		look_at(call);
		if (kind != 0 && kind != 8 && twice && !rpc->paused &&
			hand_over(rpc, data + first, size - first))
			look_at(call);
		if (norikv_call_next(call))
			look_at(call);
	}
	norikv_call_free(call);
	REQUIRE(client->nodes[0].waiting == NULL);
}

static void
try_view(norikv_client *client, const uint8_t *data, size_t size)
{
	wire_arena	arena;
	Norikv__V1__ClusterView *view;
	grpc_slice	slice = grpc_slice_from_copied_buffer((const char *) data, size);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);

	wire_arena_init(&arena);
	view = wire_unpack(&norikv__v1__cluster_view__descriptor, &arena, buffer);
	if (view != NULL)
	{
		REQUIRE(nk_follow_take(client, view));
		REQUIRE(nk_route(client, NORIKV_SLICE("key")) != NULL);
		client->view.n_shards = 0;
	}
	wire_arena_free(&arena);
	grpc_byte_buffer_destroy(buffer);
	grpc_slice_unref(slice);
}

static void
try_texts(const uint8_t *data, size_t size)
{
	norikv_error error;
	char		shown[100];
	char	   *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	nk_error_clear(&error);
	nk_error_parse_mismatch(&error, text, size);
	sink += nk_judge(GRPC_STATUS_UNAVAILABLE, text, size, false);
	sink += nk_judge(GRPC_STATUS_INTERNAL, text, size, false);
	REQUIRE(strlen(nk_show_key(shown, sizeof(shown), (norikv_slice) {text, size})) <
			sizeof(shown));
	if (!norikv_nodes_valid(text, &error))
		REQUIRE(error.text[0] != '\0');
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static norikv_client *client;

	if (client == NULL)
	{
		norikv_options options;

		norikv_options_init(&options);
		options.nodes = "unix:/nowhere/to/be/found";
		client = norikv_client_new(&options, NULL);
		REQUIRE(client != NULL);
	}
	if (size == 0)
		return 0;
	switch (data[0] % 32)
	{
		case 9:
			try_view(client, data + 1, size - 1);
			break;
		case 10:
			try_texts(data + 1, size - 1);
			break;
		default:
			try_call(client, data[0] % 16, data[0] & 0x80, data + 1, size - 1);
	}
	return 0;
}
