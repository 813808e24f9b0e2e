/*
 * fake_norikv.c - a NoriKV server that behaves as badly as it is told to.
 *
 * Keeps keys in memory, in one thread, and has the faults of servers that are not
 * norikvd: each is an option below. What it saw is told by Gets of keys that
 * begin with "fake:". Prints "ready" when it listens.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>

#include "fake/fake_store.h"
#include "health.pb-c.h"
#include "norikv.pb-c.h"
#include "norikv_ext.pb-c.h"
#include "wire.h"

#define MAX_REPLIES 1024
#define MAX_NODES 16

typedef enum stage
{
	AWAITED,					/* no call yet */
	READING,
	LATE,						/* answered when due */
	WRITING,
	CLOSING						/* the status is on its way, or never comes */
} stage;

typedef struct served
{
	stage		stage;
	grpc_call  *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
	grpc_byte_buffer *message;
	grpc_byte_buffer *requests[MAX_REPLIES];
	size_t		n_requests;
	grpc_byte_buffer *replies[MAX_REPLIES];
	size_t		n_replies;
	size_t		sent;
	grpc_status_code status;
	const char *text;
	bool		stay_open;		/* a stream without an end */
	bool		silent;			/* never answered */
	bool		unwritten;		/* the second step of a slow write */
	int			cancelled;
	int64_t		due;
	struct served *next;		/* in late */
} served;

/* What the command line asks for. Counts go down to 0; -1 is for ever. */
static struct
{
	const char *listen;
	int			ext;
	const char *capabilities;
	int			absent_not_found;
	int			not_leader_ms;
	int			not_leader;
	int			hang;
	int			lose;
	int			timeout_expired;
	int			commit_timeout;
	int			garbage;
	int			empty;
	int			die;
	int			break_stream;
	int			delay_ms;
	int			cas_gap_ms;
	int			other_put_version;
	int			ignore_delete_condition;
	int			too_large;
	int			chunk;
	int			max_age_ms;
	int			shards;
	int			not_serving;
	const char *nodes[MAX_NODES];
	int			n_nodes;
}			options = {.not_leader = 0, .chunk = 3};

static grpc_server *server;
static grpc_completion_queue *queue;
static served *late;
static int64_t started;
static int	seen_puts, seen_gets, seen_deletes, seen_infos, seen_ext, seen_writes;
static char last_idempotency_key[600];

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool
take(int *count)
{
	if (*count == 0)
		return false;
	if (*count > 0)
		(*count)--;
	return true;
}

/* ---- Answers ---- */

static void
reply(served *call, const ProtobufCMessage *message)
{
	if (take(&options.garbage))
	{
		grpc_slice	slice = grpc_slice_from_static_string("\xff\xff\xff\xff garbage");

		call->replies[call->n_replies++] = grpc_raw_byte_buffer_create(&slice, 1);
	}
	else if (!take(&options.empty))
		call->replies[call->n_replies++] = wire_pack(message);
}

static void
refuse(served *call, grpc_status_code status, const char *text)
{
	call->status = status;
	call->text = text;
}

static void
set_version(Norikv__V1__Version *version, const fake_entry *entry)
{
	norikv__v1__version__init(version);
	version->index = entry->index;
}

static bool
condition_holds(served *call, const fake_entry *entry, const Norikv__V1__Version *if_match)
{
	if (if_match == NULL)
		return true;
	if (entry == NULL)
		refuse(call, GRPC_STATUS_FAILED_PRECONDITION, "CAS failed: key does not exist");
	else if (entry->index != if_match->index)
		refuse(call, GRPC_STATUS_FAILED_PRECONDITION, "Version mismatch");
	return call->status == GRPC_STATUS_OK;
}

/* A write is done; does its answer get through? */
static void
answer_write(served *call, const char *idempotency_key, const ProtobufCMessage *message)
{
	snprintf(last_idempotency_key, sizeof(last_idempotency_key), "%s", idempotency_key);
	seen_writes++;
	if (take(&options.lose))
		call->silent = true;
	else if (take(&options.timeout_expired))
		refuse(call, GRPC_STATUS_CANCELLED, "Timeout expired");
	else if (take(&options.commit_timeout))
		refuse(call, GRPC_STATUS_INTERNAL, "CommitTimeout");
	else
		reply(call, message);
}

static void
put(served *call, const Norikv__V1__PutRequest *request)
{
	Norikv__V1__PutResponse response = NORIKV__V1__PUT_RESPONSE__INIT;
	Norikv__V1__Version version;
	const fake_entry *entry;

	seen_puts += !call->unwritten;
	if (options.too_large > 0 && request->value.len > (size_t) options.too_large)
	{
		refuse(call, GRPC_STATUS_OUT_OF_RANGE,
			   "Error, message length too large: found 2000000 bytes, the limit is: 1000");
		return;
	}
	entry = fake_find_done(request->idempotency_key);
	if (entry == NULL)
	{
		if (!call->unwritten &&
			!condition_holds(call, fake_find(request->key.data, request->key.len),
							 request->if_match))
			return;
		if (request->if_match != NULL && options.cas_gap_ms > 0 && !call->unwritten)
		{
			call->unwritten = true;
			call->due = now_ms() + options.cas_gap_ms;
			return;
		}
		entry = fake_put(request->key.data, request->key.len, request->value.data,
						 request->value.len, request->ttl_ms, request->idempotency_key);
	}
	set_version(&version, entry);
	if (options.other_put_version)
		version.index += 1000;
	response.version = &version;
	answer_write(call, request->idempotency_key, &response.base);
}

static bool
report(const char *name, char *out, size_t size)
{
	const struct
	{
		const char *name;
		int			value;
	}			counts[] = {
		{"fake:puts", seen_puts}, {"fake:gets", seen_gets}, {"fake:deletes", seen_deletes},
		{"fake:infos", seen_infos}, {"fake:ext", seen_ext}, {"fake:writes", seen_writes},
		{"fake:applied", (int) fake_applied()},
	};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
	{
		if (strcmp(counts[i].name, name) == 0)
		{
			snprintf(out, size, "%d", counts[i].value);
			return true;
		}
	}
	if (strcmp(name, "fake:idempotency_key") != 0)
		return false;
	snprintf(out, size, "%s", last_idempotency_key);
	return true;
}

static void
get(served *call, const Norikv__V1__GetRequest *request)
{
	Norikv__V1__GetResponse response = NORIKV__V1__GET_RESPONSE__INIT;
	Norikv__V1__Version version = NORIKV__V1__VERSION__INIT;
	const fake_entry *entry;
	char		name[64];
	char		text[600];

	snprintf(name, sizeof(name), "%.*s", (int) request->key.len, request->key.data);
	if (report(name, text, sizeof(text)))
	{
		version.index = 1;
		response.version = &version;
		response.value.data = (uint8_t *) text;
		response.value.len = strlen(text);
		call->replies[call->n_replies++] = wire_pack(&response.base);
		return;
	}
	seen_gets++;
	entry = fake_find(request->key.data, request->key.len);
	if (entry == NULL && options.absent_not_found)
	{
		refuse(call, GRPC_STATUS_NOT_FOUND, "key not found");
		return;
	}
	if (entry != NULL)
	{
		set_version(&version, entry);
		response.version = &version;
		response.value.data = entry->value;
		response.value.len = entry->value_size;
	}
	reply(call, &response.base);
}

static void
delete(served *call, const Norikv__V1__DeleteRequest *request)
{
	Norikv__V1__DeleteResponse response = NORIKV__V1__DELETE_RESPONSE__INIT;
	const fake_entry *entry = fake_find(request->key.data, request->key.len);

	seen_deletes++;
	if (!options.ignore_delete_condition && !condition_holds(call, entry, request->if_match))
		return;
	response.tombstoned = entry != NULL;
	fake_delete(request->key.data, request->key.len);
	answer_write(call, request->idempotency_key, &response.base);
}

/* ---- norikv.ext.v1, as far as the faults need it ---- */

static void
info(served *call)
{
	Norikv__Ext__V1__InfoResponse response = NORIKV__EXT__V1__INFO_RESPONSE__INIT;
	char	   *names[32];
	char		copy[512];

	seen_infos++;
	snprintf(copy, sizeof(copy), "%s", options.capabilities ? options.capabilities : "");
	for (char *name = strtok(copy, ","); name != NULL; name = strtok(NULL, ","))
		names[response.n_capabilities++] = name;
	response.capabilities = names;
	response.name = (char *) "fake";
	reply(call, &response.base);
}

static void
set_entry(Norikv__Ext__V1__Entry *out, const fake_entry *entry, bool with_key)
{
	norikv__ext__v1__entry__init(out);
	if (entry == NULL)
		return;
	if (with_key)
	{
		out->key.data = entry->key;
		out->key.len = entry->key_size;
	}
	out->value.data = entry->value;
	out->value.len = entry->value_size;
	out->version_index = entry->index;
}

static void
multi_get(served *call, const Norikv__Ext__V1__MultiGetRequest *request)
{
	size_t		per_chunk = request->n_keys > 100 ? 500 : (size_t) options.chunk;

	for (size_t at = 0; at < request->n_keys; at += per_chunk)
	{
		Norikv__Ext__V1__MultiGetChunk chunk = NORIKV__EXT__V1__MULTI_GET_CHUNK__INIT;
		Norikv__Ext__V1__Entry entries[500];
		Norikv__Ext__V1__Entry *pointers[500];

		chunk.entries = pointers;
		while (chunk.n_entries < per_chunk && at + chunk.n_entries < request->n_keys)
		{
			const ProtobufCBinaryData *key = &request->keys[at + chunk.n_entries];

			set_entry(&entries[chunk.n_entries], fake_find(key->data, key->len), false);
			pointers[chunk.n_entries] = &entries[chunk.n_entries];
			chunk.n_entries++;
		}
		reply(call, &chunk.base);
		if (take(&options.break_stream))
		{
			refuse(call, GRPC_STATUS_UNAVAILABLE, "the stream broke");
			return;
		}
	}
}

static void
scan(served *call, const Norikv__Ext__V1__ScanRequest *request)
{
	const fake_entry *entry = fake_first(request->start.data, request->start.len);
	uint64_t	rows = 0;

	while (entry != NULL)
	{
		Norikv__Ext__V1__ScanChunk chunk = NORIKV__EXT__V1__SCAN_CHUNK__INIT;
		Norikv__Ext__V1__Entry entries[500];
		Norikv__Ext__V1__Entry *pointers[500];

		chunk.entries = pointers;
		while (entry != NULL && chunk.n_entries < (size_t) options.chunk &&
			   (request->end.len == 0 ||
				fake_compare(entry, request->end.data, request->end.len) < 0) &&
			   (request->max_rows == 0 || rows < request->max_rows))
		{
			set_entry(&entries[chunk.n_entries], entry, true);
			pointers[chunk.n_entries] = &entries[chunk.n_entries];
			chunk.n_entries++;
			rows++;
			entry = fake_next(entry);
		}
		if (chunk.n_entries == 0 || call->n_replies == MAX_REPLIES)
			return;
		reply(call, &chunk.base);
		if (take(&options.break_stream))
		{
			refuse(call, GRPC_STATUS_UNAVAILABLE, "the stream broke");
			return;
		}
	}
}

/* Puts and Deletes without conditions: enough to see chunks come and be repeated. */
static void
commit(served *call)
{
	static char done_key[600];
	Norikv__Ext__V1__CommitResponse response = NORIKV__EXT__V1__COMMIT_RESPONSE__INIT;
	Norikv__Ext__V1__OperationResult result = NORIKV__EXT__V1__OPERATION_RESULT__INIT;
	Norikv__Ext__V1__OperationResult **pointers = NULL;
	char		key[600] = "";
	bool		ended = false;
	bool		repeated;

	for (size_t i = 0; i < call->n_requests; i++)
	{
		wire_arena	arena;
		Norikv__Ext__V1__CommitRequest *request;

		wire_arena_init(&arena);
		request = wire_unpack(&norikv__ext__v1__commit_request__descriptor, &arena,
							  call->requests[i]);
		if (request == NULL)
			abort();
		if (i == 0)
			snprintf(key, sizeof(key), "%s", request->idempotency_key);
		repeated = strcmp(key, done_key) == 0;
		for (size_t j = 0; j < request->n_operations && !repeated; j++)
		{
			const Norikv__Ext__V1__Operation *one = request->operations[j];

			if (one->kind == NORIKV__EXT__V1__OPERATION__KIND__DELETE)
				fake_delete(one->key.data, one->key.len);
			else
				fake_put(one->key.data, one->key.len, one->value.data, one->value.len, 0, "");
		}
		response.n_results += request->n_operations;
		ended = request->end;
		wire_arena_free(&arena);
	}
	if (!ended)
		return;
	snprintf(done_key, sizeof(done_key), "%s", key);
	result.version_index = fake_applied();
	pointers = calloc(response.n_results, sizeof(*pointers));
	for (size_t i = 0; i < response.n_results; i++)
		pointers[i] = &result;
	response.results = pointers;
	response.applied = true;
	answer_write(call, key, &response.base);
	free(pointers);
}

/* ---- Meta and health ---- */

static void
watch_cluster(served *call)
{
	Norikv__V1__ClusterView view = NORIKV__V1__CLUSTER_VIEW__INIT;
	Norikv__V1__ClusterNode nodes[MAX_NODES];
	Norikv__V1__ClusterNode *node_pointers[MAX_NODES];
	Norikv__V1__ShardInfo *shards = calloc(options.shards + 1, sizeof(*shards));
	Norikv__V1__ShardInfo **shard_pointers = calloc(options.shards + 1, sizeof(*shard_pointers));
	Norikv__V1__ShardReplica *replicas = calloc(options.shards + 1, sizeof(*replicas));
	Norikv__V1__ShardReplica **replica_pointers =
		calloc(options.shards + 1, sizeof(*replica_pointers));
	static char ids[MAX_NODES][16];

	for (int i = 0; i < options.n_nodes; i++)
	{
		norikv__v1__cluster_node__init(&nodes[i]);
		snprintf(ids[i], sizeof(ids[i]), "node%d", i);
		nodes[i].id = ids[i];
		nodes[i].addr = (char *) options.nodes[i];
		node_pointers[i] = &nodes[i];
	}
	for (int i = 0; i < options.shards && options.n_nodes > 0; i++)
	{
		norikv__v1__shard_info__init(&shards[i]);
		norikv__v1__shard_replica__init(&replicas[i]);
		replicas[i].node_id = ids[i % options.n_nodes];
		replicas[i].leader = true;
		replica_pointers[i] = &replicas[i];
		shards[i].id = i;
		shards[i].n_replicas = 1;
		shards[i].replicas = &replica_pointers[i];
		shard_pointers[i] = &shards[i];
	}
	view.epoch = 1;
	view.n_nodes = options.n_nodes;
	view.nodes = node_pointers;
	view.n_shards = options.n_nodes > 0 ? options.shards : 0;
	view.shards = shard_pointers;
	reply(call, &view.base);
	call->stay_open = true;
	free(shards);
	free(shard_pointers);
	free(replicas);
	free(replica_pointers);
}

static void
health(served *call)
{
	Grpc__Health__V1__HealthCheckResponse response =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	response.status = options.not_serving
		? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
		: GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	reply(call, &response.base);
}

/* ---- Calls ---- */

static bool
is_method(const served *call, const char *path)
{
	return grpc_slice_str_cmp(call->details.method, path) == 0;
}

static void
handle_kv(served *call, wire_arena *arena)
{
	grpc_byte_buffer *request = call->n_requests > 0 ? call->requests[0] : NULL;

	if (options.not_leader || now_ms() - started < options.not_leader_ms)
		refuse(call, GRPC_STATUS_UNAVAILABLE, "NOT_LEADER");
	else if (is_method(call, WIRE_METHOD_PUT))
		put(call, wire_unpack(&norikv__v1__put_request__descriptor, arena, request));
	else if (is_method(call, WIRE_METHOD_GET))
		get(call, wire_unpack(&norikv__v1__get_request__descriptor, arena, request));
	else
		delete(call, wire_unpack(&norikv__v1__delete_request__descriptor, arena, request));
}

static bool
handle_ext(served *call, wire_arena *arena)
{
	if (!is_method(call, WIRE_METHOD_INFO) && !is_method(call, WIRE_METHOD_MULTI_GET) &&
		!is_method(call, WIRE_METHOD_SCAN) && !is_method(call, WIRE_METHOD_COMMIT))
		return false;
	seen_ext++;
	if (!options.ext)
		return false;
	if (is_method(call, WIRE_METHOD_INFO))
		info(call);
	else if (is_method(call, WIRE_METHOD_MULTI_GET))
		multi_get(call, wire_unpack(&norikv__ext__v1__multi_get_request__descriptor, arena,
									call->requests[0]));
	else if (is_method(call, WIRE_METHOD_SCAN))
		scan(call, wire_unpack(&norikv__ext__v1__scan_request__descriptor, arena,
							   call->requests[0]));
	else
		commit(call);
	return true;
}

static void
handle(served *call)
{
	wire_arena	arena;

	wire_arena_init(&arena);
	call->status = GRPC_STATUS_OK;
	call->text = "";
	call->due = now_ms() + options.delay_ms;
	if (take(&options.hang))
		call->silent = true;
	else if (take(&options.die))
		_exit(3);
	else if (is_method(call, WIRE_METHOD_PUT) || is_method(call, WIRE_METHOD_GET) ||
			 is_method(call, WIRE_METHOD_DELETE))
		handle_kv(call, &arena);
	else if (is_method(call, WIRE_METHOD_WATCH_CLUSTER))
		watch_cluster(call);
	else if (is_method(call, WIRE_METHOD_HEALTH_CHECK))
		health(call);
	else if (!handle_ext(call, &arena))
		refuse(call, GRPC_STATUS_UNIMPLEMENTED, "");
	wire_arena_free(&arena);
}

static void
start(served *call, grpc_op *ops, size_t n_ops)
{
	if (grpc_call_start_batch(call->call, ops, n_ops, call, NULL) != GRPC_CALL_OK)
		abort();
}

static void
await_call(void)
{
	served	   *call = calloc(1, sizeof(*call));

	call->text = "";
	grpc_call_details_init(&call->details);
	grpc_metadata_array_init(&call->metadata);
	if (grpc_server_request_call(server, &call->call, &call->details, &call->metadata, queue,
								 queue, call) != GRPC_CALL_OK)
		abort();
}

static void
read_message(served *call)
{
	grpc_op		op = {.op = GRPC_OP_RECV_MESSAGE};

	call->stage = READING;
	op.data.recv_message.recv_message = &call->message;
	start(call, &op, 1);
}

static void
write_answer(served *call)
{
	grpc_op		ops[4] = {0};
	size_t		n = 0;
	grpc_slice	text = grpc_slice_from_static_string(call->text);

	call->stage = WRITING;
	if (call->sent == 0 && !call->silent)
		ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
	if (call->sent < call->n_replies && !call->silent)
	{
		ops[n].op = GRPC_OP_SEND_MESSAGE;
		ops[n++].data.send_message.send_message = call->replies[call->sent];
	}
	call->sent++;
	if (call->sent >= call->n_replies || call->silent)
	{
		call->stage = CLOSING;
		if (!call->stay_open && !call->silent)
		{
			ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
			ops[n].data.send_status_from_server.status = call->status;
			ops[n++].data.send_status_from_server.status_details = &text;
		}
		ops[n].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
		ops[n++].data.recv_close_on_server.cancelled = &call->cancelled;
	}
	start(call, ops, n);
}

static void
answer_in_time(served *call)
{
	if (call->due <= now_ms())
	{
		write_answer(call);
		return;
	}
	call->stage = LATE;
	call->next = late;
	late = call;
}

static void
end(served *call)
{
	for (size_t i = 0; i < call->n_requests; i++)
		grpc_byte_buffer_destroy(call->requests[i]);
	for (size_t i = 0; i < call->n_replies; i++)
		grpc_byte_buffer_destroy(call->replies[i]);
	grpc_metadata_array_destroy(&call->metadata);
	grpc_call_details_destroy(&call->details);
	if (call->call != NULL)
		grpc_call_unref(call->call);
	free(call);
}

static void
have_message(served *call)
{
	if (call->message != NULL && call->n_requests < MAX_REPLIES)
	{
		call->requests[call->n_requests++] = call->message;
		call->message = NULL;
		if (is_method(call, WIRE_METHOD_COMMIT))
		{
			read_message(call);
			return;
		}
	}
	/* cancelled before its request came */
	if (call->n_requests == 0)
		call->silent = true;
	else
		handle(call);
	answer_in_time(call);
}

static void
event(served *call, bool success)
{
	switch (call->stage)
	{
		case AWAITED:
			if (!success)
			{
				end(call);
				return;
			}
			await_call();
			read_message(call);
			break;
		case READING:
			have_message(call);
			break;
		case WRITING:
			write_answer(call);
			break;
		case LATE:
		case CLOSING:
			end(call);
			break;
	}
}

/* When the next late answer is due; those that are go out. */
static int64_t
run_late(void)
{
	int64_t		next = INT64_MAX;
	served	  **link = &late;

	while (*link != NULL)
	{
		served	   *call = *link;

		if (call->due > now_ms())
		{
			if (call->due < next)
				next = call->due;
			link = &call->next;
			continue;
		}
		*link = call->next;
		if (call->unwritten)
		{
			handle(call);
			call->unwritten = false;
		}
		write_answer(call);
	}
	return next;
}

/* ---- The command line ---- */

static void
parse(int argc, char **argv)
{
	const struct
	{
		const char *name;
		int		   *value;
	}			numbers[] = {
		{"--ext", &options.ext}, {"--absent-not-found", &options.absent_not_found},
		{"--not-leader-ms", &options.not_leader_ms}, {"--not-leader", &options.not_leader},
		{"--hang", &options.hang}, {"--lose", &options.lose},
		{"--timeout-expired", &options.timeout_expired},
		{"--commit-timeout", &options.commit_timeout}, {"--garbage", &options.garbage},
		{"--empty", &options.empty}, {"--die", &options.die},
		{"--break-stream", &options.break_stream}, {"--delay-ms", &options.delay_ms},
		{"--cas-gap-ms", &options.cas_gap_ms},
		{"--other-put-version", &options.other_put_version},
		{"--ignore-delete-condition", &options.ignore_delete_condition},
		{"--too-large", &options.too_large}, {"--chunk", &options.chunk},
		{"--max-age-ms", &options.max_age_ms}, {"--shards", &options.shards},
		{"--not-serving", &options.not_serving},
	};

	for (int i = 1; i + 1 < argc; i += 2)
	{
		bool		known = true;

		if (strcmp(argv[i], "--listen") == 0)
			options.listen = argv[i + 1];
		else if (strcmp(argv[i], "--capabilities") == 0)
			options.capabilities = argv[i + 1];
		else if (strcmp(argv[i], "--node") == 0 && options.n_nodes < MAX_NODES)
			options.nodes[options.n_nodes++] = argv[i + 1];
		else
		{
			known = false;
			for (size_t j = 0; j < sizeof(numbers) / sizeof(numbers[0]); j++)
			{
				if (strcmp(argv[i], numbers[j].name) == 0)
				{
					*numbers[j].value = atoi(argv[i + 1]);
					known = true;
				}
			}
		}
		if (!known)
		{
			fprintf(stderr, "fake_norikv: unknown option %s\n", argv[i]);
			exit(2);
		}
	}
}

static bool
listen_on(const char *address)
{
	grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
	int			port;

	port = grpc_server_add_http2_port(server, address, credentials);
	grpc_server_credentials_release(credentials);
	if (port == 0)
		return false;
	grpc_server_start(server);
	started = now_ms();
	for (int i = 0; i < 64; i++)
		await_call();
	/* tests read the port a TCP address got */
	printf("ready %d\n", port);
	fflush(stdout);
	return true;
}

int
main(int argc, char **argv)
{
	grpc_arg	args[2] = {0};
	grpc_channel_args channel_args = {1, args};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	parse(argc, argv);
	grpc_init();
	args[0].type = args[1].type = GRPC_ARG_INTEGER;
	args[0].key = (char *) GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH;
	args[0].value.integer = WIRE_MAX_MESSAGE;
	if (options.max_age_ms > 0)
	{
		args[1].key = (char *) GRPC_ARG_MAX_CONNECTION_AGE_MS;
		args[1].value.integer = options.max_age_ms;
		channel_args.num_args = 2;
	}
	server = grpc_server_create(&channel_args, NULL);
	queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(server, queue, NULL);
	if (options.listen == NULL || !listen_on(options.listen))
	{
		fprintf(stderr, "fake_norikv: cannot listen on %s\n",
				options.listen ? options.listen : "nothing: --listen is missing");
		return 1;
	}
	for (;;)
	{
		int64_t		due = run_late();
		gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
		grpc_event	one;

		if (due != INT64_MAX)
			deadline = gpr_time_from_millis(due + 1, GPR_CLOCK_MONOTONIC);
		one = grpc_completion_queue_next(queue, deadline, NULL);
		if (one.type == GRPC_OP_COMPLETE)
			event(one.tag, one.success);
	}
}
