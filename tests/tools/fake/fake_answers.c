/*
 * fake_answers.c - what the fake server answers, and what is wrong with it.
 */
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "health.pb-c.h"
#include "norikv.pb-c.h"
#include "norikv_ext.pb-c.h"

static int	seen_puts, seen_gets, seen_deletes, seen_infos, seen_ext, seen_writes;
static char last_idempotency_key[600];

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
reply_garbage(served *call)
{
	grpc_slice	slice = grpc_slice_from_static_string("\xff\xff\xff\xff garbage");

	call->replies[call->n_replies++] = grpc_raw_byte_buffer_create(&slice, 1);
}

void
reply(served *call, const ProtobufCMessage *message)
{
	if (take(&options.garbage))
		reply_garbage(call);
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
condition_holds(served *call, const fake_entry *entry,
				const Norikv__V1__Version *if_match)
{
	if (if_match == NULL || (options.creates && if_match->index == 0 && entry == NULL))
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
		refuse(
			call, GRPC_STATUS_OUT_OF_RANGE,
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
	} counts[] = {
		{"fake:puts", seen_puts},
		{"fake:gets", seen_gets},
		{"fake:deletes", seen_deletes},
		{"fake:infos", seen_infos},
		{"fake:ext", seen_ext},
		{"fake:writes", seen_writes},
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
	if (!options.ignore_delete_condition &&
		!condition_holds(call, entry, request->if_match))
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
		if (take(&options.garbage_batch))
			reply_garbage(call);
		else
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
		if (chunk.n_entries == 0 || call->n_replies == FAKE_MAX_REPLIES)
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
				fake_put(one->key.data, one->key.len, one->value.data, one->value.len, 0,
						 "");
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
	Norikv__V1__ClusterNode nodes[FAKE_MAX_NODES];
	Norikv__V1__ClusterNode *node_pointers[FAKE_MAX_NODES];
	Norikv__V1__ShardInfo *shards = calloc(options.shards + 1, sizeof(*shards));
	Norikv__V1__ShardInfo **shard_pointers =
		calloc(options.shards + 1, sizeof(*shard_pointers));
	Norikv__V1__ShardReplica *replicas = calloc(options.shards + 1, sizeof(*replicas));
	Norikv__V1__ShardReplica **replica_pointers =
		calloc(options.shards + 1, sizeof(*replica_pointers));
	static char ids[FAKE_MAX_NODES][16];

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

bool
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
		delete (call,
				wire_unpack(&norikv__v1__delete_request__descriptor, arena, request));
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
		multi_get(call, wire_unpack(&norikv__ext__v1__multi_get_request__descriptor,
									arena, call->requests[0]));
	else if (is_method(call, WIRE_METHOD_SCAN))
		scan(call, wire_unpack(&norikv__ext__v1__scan_request__descriptor, arena,
							   call->requests[0]));
	else
		commit(call);
	return true;
}

void
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
	else if (!handle_ext(call, &arena) && !handle_vector(call, &arena))
		refuse(call, GRPC_STATUS_UNIMPLEMENTED, "");
	wire_arena_free(&arena);
}
