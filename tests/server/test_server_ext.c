/*
 * test_server_ext.c - norikv.ext.v1, Meta and health on the wire: MultiGet,
 * Scan, Info, and what has no method.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/shared_norikvd.h"
#include "health.pb-c.h"

/* ---- Info, Meta, health, unknown methods ---- */

static bool
has_capability(const Norikv__Ext__V1__InfoResponse *info, const char *name)
{
	for (size_t i = 0; i < info->n_capabilities; i++)
	{
		if (strcmp(info->capabilities[i], name) == 0)
			return true;
	}
	return false;
}

static void
test_info(void **state)
{
	static const char *const expected[] = {
		"atomic_cas", "create", "conditional_delete", "ttl", "scan", "batch",
		"transactions", "add", "keepalive", "watch", "quotas"
	};
	Norikv__Ext__V1__InfoRequest request = NORIKV__EXT__V1__INFO_REQUEST__INIT;
	Norikv__Ext__V1__InfoResponse *info;
	wire_stream *stream = wire_call(client, WIRE_METHOD_INFO, &request.base,
									&norikv__ext__v1__info_response__descriptor,
									(void **) &info);

	(void) state;
	assert_int_equal(wire_status(stream), GRPC_STATUS_OK);
	assert_string_equal(info->name, "norikvd");
	assert_string_equal(info->engine, "memory");
	assert_int_equal(strlen(info->store_id), 36);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_true(has_capability(info, expected[i]));
	/* Memory is not durable, and what is not here is not claimed. */
	assert_false(has_capability(info, "durable"));
	assert_true(has_capability(info, "vectors"));
	assert_true(has_capability(info, "vector_checks"));
	assert_int_equal(info->limits->key_bytes, 1024);
	assert_int_equal(info->limits->value_bytes, 1024 * 1024);
	assert_true(info->limits->commit_bytes > 0 &&
				info->limits->commit_bytes <= 4 * 1024 * 1024);
	assert_true(info->store_time_ms > UINT64_C(1700000000000));
	wire_free(stream);
}

static kv_version
latest_version(void)
{
	Norikv__Ext__V1__InfoRequest request = NORIKV__EXT__V1__INFO_REQUEST__INIT;
	Norikv__Ext__V1__InfoResponse *info;
	wire_stream *stream = wire_call(client, WIRE_METHOD_INFO, &request.base,
									&norikv__ext__v1__info_response__descriptor,
									(void **) &info);
	kv_version	latest;

	assert_int_equal(wire_status(stream), GRPC_STATUS_OK);
	latest = (kv_version) {info->latest_term, info->latest_index};
	wire_free(stream);
	return latest;
}

/* What fence() rests on: whoever has a version finds Info as far as that, and no further. */
static void
test_info_tells_the_latest_version(void **state)
{
	kv_put_options brief = {.ttl_ms = 1};
	kv_version	latest = latest_version();
	kv_reply	reply;

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		reply = kv_call_put(client, KV_KEY("latest"), "v", 1, i == 1 ? &brief : NULL);
		assert_int_equal(reply.code, GRPC_STATUS_OK);
		assert_int_equal(latest.term, reply.version.term);
		assert_true(latest.index < reply.version.index);
		latest = latest_version();
		assert_true(latest.index >= reply.version.index);
	}
}

static void
test_watch_cluster_shows_one_node_that_leads(void **state)
{
	Norikv__V1__WatchClusterRequest request = NORIKV__V1__WATCH_CLUSTER_REQUEST__INIT;
	Norikv__V1__ClusterView *view;
	wire_stream *stream = wire_start(client, WIRE_METHOD_WATCH_CLUSTER, 0, NULL);
	char		expected[300];

	(void) state;
	wire_send(stream, &request.base);
	wire_half_close(stream);
	view = wire_receive(stream, &norikv__v1__cluster_view__descriptor);
	assert_non_null(view);
	assert_true(view->epoch > 0);
	assert_int_equal(view->n_nodes, 1);
	snprintf(expected, sizeof(expected), "unix:%s/socket", directory);
	assert_string_equal(view->nodes[0]->addr, expected);
	assert_int_equal(view->n_shards, 1);
	assert_int_equal(view->shards[0]->n_replicas, 1);
	assert_true(view->shards[0]->replicas[0]->leader);
	assert_string_equal(view->shards[0]->replicas[0]->node_id, view->nodes[0]->id);
	wire_cancel(stream);
	assert_int_equal(wire_status(stream), GRPC_STATUS_CANCELLED);
	wire_free(stream);
}

static void
test_health(void **state)
{
	Grpc__Health__V1__HealthCheckRequest request =
		GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	Grpc__Health__V1__HealthCheckResponse *answer;
	wire_stream *stream;

	(void) state;
	request.service = (char *) "norikv.v1.Kv";
	stream = wire_call(client, WIRE_METHOD_HEALTH_CHECK, &request.base,
					   &grpc__health__v1__health_check_response__descriptor,
					   (void **) &answer);
	assert_int_equal(answer->status, 1);
	wire_free(stream);
	request.service = (char *) "norikv.v1.Vector";
	stream = wire_call(client, WIRE_METHOD_HEALTH_CHECK, &request.base,
					   &grpc__health__v1__health_check_response__descriptor, NULL);
	assert_status(stream, GRPC_STATUS_NOT_FOUND, "norikv.v1.Vector");
	stream = wire_start(client, WIRE_METHOD_HEALTH_WATCH, 0, NULL);
	wire_send(stream, &request.base);
	wire_half_close(stream);
	answer = wire_receive(stream, &grpc__health__v1__health_check_response__descriptor);
	assert_int_equal(answer->status, 3);
	wire_free(stream);
}

static void
test_unknown_methods_are_unimplemented_at_once(void **state)
{
	static const char *const methods[] = {
		"/norikv.v1.Admin/TransferShard", "/norikv.v1.Vector/search",
		"/norikv.ext.v1.Kv/watch", "/norikv.v1.Kv/put", "/", "/no.such/Method"
	};

	(void) state;
	/* More of them than are posted, one after the other and without any request. */
	for (size_t i = 0; i < 100; i++)
	{
		wire_stream *stream = wire_start(client, methods[i % 6], 0, NULL);

		assert_status(stream, GRPC_STATUS_UNIMPLEMENTED, "no method");
	}
}

static void
test_invalid_messages(void **state)
{
	static const char *const methods[] = {
		WIRE_METHOD_PUT, WIRE_METHOD_GET, WIRE_METHOD_DELETE, WIRE_METHOD_INFO,
		WIRE_METHOD_MULTI_GET, WIRE_METHOD_SCAN, WIRE_METHOD_HEALTH_CHECK,
		WIRE_METHOD_HEALTH_WATCH, WIRE_METHOD_WATCH_CLUSTER, WIRE_METHOD_COMMIT,
		WIRE_METHOD_WATCH, WIRE_METHOD_SET_QUOTA, WIRE_METHOD_USAGE
	};

	(void) state;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
	{
		wire_stream *stream = wire_start(client, methods[i], 0, NULL);

		/* A field of 127 bytes of which 2 are there. */
		wire_send_bytes(stream, "\x0a\x7f\x01\x02", 4);
		wire_half_close(stream);
		assert_status(stream, GRPC_STATUS_INVALID_ARGUMENT, "");
		stream = wire_start(client, methods[i], 0, NULL);
		wire_half_close(stream);
		assert_status(stream, GRPC_STATUS_INVALID_ARGUMENT, "");
	}
}

/* ---- SetQuota ---- */

static void
set_quota(const char *idempotency_key, uint64_t max_keys, grpc_status_code expected)
{
	Norikv__Ext__V1__SetQuotaRequest request = NORIKV__EXT__V1__SET_QUOTA_REQUEST__INIT;
	Norikv__Ext__V1__SetQuotaResponse *response;
	wire_stream *stream;

	request.prefix = bytes_of("quota/");
	request.max_keys = max_keys;
	request.idempotency_key = (char *) idempotency_key;
	stream = wire_call(client, WIRE_METHOD_SET_QUOTA, &request.base,
					   &norikv__ext__v1__set_quota_response__descriptor,
					   (void **) &response);
	assert_int_equal(wire_status(stream), expected);
	wire_free(stream);
}

static uint64_t
max_keys_now(void)
{
	Norikv__Ext__V1__UsageRequest request = NORIKV__EXT__V1__USAGE_REQUEST__INIT;
	Norikv__Ext__V1__UsageResponse *response;
	wire_stream *stream;
	uint64_t	max_keys;

	request.prefix = bytes_of("quota/");
	stream = wire_call(client, WIRE_METHOD_USAGE, &request.base,
					   &norikv__ext__v1__usage_response__descriptor, (void **) &response);
	assert_int_equal(wire_status(stream), GRPC_STATUS_OK);
	max_keys = response->max_keys;
	wire_free(stream);
	return max_keys;
}

static void
test_quota_that_is_late_is_refused(void **state)
{
	static const char *const first = "~nk1/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9/0/1";
	static const char *const second = "~nk1/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9/0/2";
	char		too_long[1024];

	(void) state;
	set_quota(first, 1, GRPC_STATUS_OK);
	set_quota(first, 1, GRPC_STATUS_OK);
	set_quota(second, 2, GRPC_STATUS_OK);
	set_quota(first, 1, GRPC_STATUS_ABORTED);
	assert_int_equal(max_keys_now(), 2);
	/* the limits are part of what a key was used for */
	set_quota(second, 3, GRPC_STATUS_INVALID_ARGUMENT);
	assert_int_equal(max_keys_now(), 2);
	memset(too_long, 'k', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	set_quota(too_long, 3, GRPC_STATUS_INVALID_ARGUMENT);
	set_quota("", 4, GRPC_STATUS_OK);
	assert_int_equal(max_keys_now(), 4);
}

/* ---- MultiGet ---- */

static wire_stream *
start_multi_get(ProtobufCBinaryData *keys, size_t n_keys)
{
	Norikv__Ext__V1__MultiGetRequest request = NORIKV__EXT__V1__MULTI_GET_REQUEST__INIT;
	wire_stream *stream = wire_start(client, WIRE_METHOD_MULTI_GET, 0, NULL);

	request.n_keys = n_keys;
	request.keys = keys;
	wire_send(stream, &request.base);
	wire_half_close(stream);
	return stream;
}

static void
test_multi_get_keeps_the_order(void **state)
{
	enum
	{
		N_KEYS = 5000
	};
	static char names[N_KEYS][16];
	static ProtobufCBinaryData keys[N_KEYS];
	wire_stream *stream;
	Norikv__Ext__V1__MultiGetChunk *chunk;
	size_t		seen = 0;

	(void) state;
	for (size_t i = 0; i < N_KEYS; i++)
	{
		size_t		size = sprintf(names[i], "mg%zu", i);

		keys[i] = (ProtobufCBinaryData) {size, (uint8_t *) names[i]};
		if (i % 50 == 0)
			kv_call_put(client, (kv_key) {names[i], size}, names[i], size, NULL);
	}
	stream = start_multi_get(keys, N_KEYS);
	while ((chunk = wire_receive(stream, &norikv__ext__v1__multi_get_chunk__descriptor)))
	{
		for (size_t i = 0; i < chunk->n_entries; i++, seen++)
		{
			const Norikv__Ext__V1__Entry *entry = chunk->entries[i];

			assert_int_equal(entry->version_index != 0, seen % 50 == 0);
			if (seen % 50 == 0)
				assert_memory_equal(entry->value.data, names[seen], keys[seen].len);
		}
	}
	assert_int_equal(seen, N_KEYS);
	assert_status(stream, GRPC_STATUS_OK, "");
}

static void
test_multi_get_cuts_chunks(void **state)
{
	enum
	{
		N_KEYS = 12,
		SIZE = 700 * 1024
	};
	static char names[N_KEYS][16];
	static ProtobufCBinaryData keys[N_KEYS];
	char	   *value = malloc(SIZE);
	wire_stream *stream;
	Norikv__Ext__V1__MultiGetChunk *chunk;
	size_t		seen = 0;

	(void) state;
	memset(value, 'v', SIZE);
	for (size_t i = 0; i < N_KEYS; i++)
	{
		size_t		size = sprintf(names[i], "big%zu", i);

		keys[i] = (ProtobufCBinaryData) {size, (uint8_t *) names[i]};
		kv_call_put(client, (kv_key) {names[i], size}, value, SIZE, NULL);
	}
	stream = start_multi_get(keys, N_KEYS);
	while ((chunk = wire_receive(stream, &norikv__ext__v1__multi_get_chunk__descriptor)))
	{
		assert_int_equal(chunk->n_entries, 1);
		assert_int_equal(chunk->entries[0]->value.len, SIZE);
		seen++;
	}
	assert_int_equal(seen, N_KEYS);
	assert_status(stream, GRPC_STATUS_OK, "");
	free(value);
}

static void
test_multi_get_refuses(void **state)
{
	static ProtobufCBinaryData keys[100001];
	wire_stream *stream;

	(void) state;
	assert_status(start_multi_get(keys, 1), GRPC_STATUS_INVALID_ARGUMENT,
				  "keys[0] has 0 bytes");
	for (size_t i = 0; i < 100001; i++)
		keys[i] = bytes_of("k");
	assert_status(start_multi_get(keys, 100001), GRPC_STATUS_INVALID_ARGUMENT,
				  "keys has 100001 keys; at most 100000");
	stream = start_multi_get(keys, 0);
	while (wire_receive(stream, &norikv__ext__v1__multi_get_chunk__descriptor) != NULL)
		continue;
	assert_status(stream, GRPC_STATUS_OK, "");
}

/* ---- Scan ---- */

static wire_stream *
start_scan(const char *begin, const char *end, bool reverse, uint64_t max_rows,
		   bool count_only)
{
	Norikv__Ext__V1__ScanRequest request = NORIKV__EXT__V1__SCAN_REQUEST__INIT;
	wire_stream *stream = wire_start(client, WIRE_METHOD_SCAN, 0, NULL);

	request.start = bytes_of(begin);
	request.end = bytes_of(end);
	request.reverse = reverse;
	request.max_rows = max_rows;
	request.count_only = count_only;
	wire_send(stream, &request.base);
	wire_half_close(stream);
	return stream;
}

enum
{
	N_SCANNED = 3000
};

static void
fill_for_scan(void)
{
	Norikv__Ext__V1__Operation *ops = calloc(1000, sizeof(*ops));
	char	  (*names)[32] = calloc(1000, sizeof(*names));
	static char value[401];
	Norikv__Ext__V1__CommitResponse *answer;

	memset(value, 'v', 400);
	for (int part = 0; part < N_SCANNED / 1000; part++)
	{
		for (int i = 0; i < 1000; i++)
		{
			sprintf(names[i], "scan/%05d", part * 1000 + i);
			ops[i] = put_operation(names[i], value);
		}
		wire_free(commit(client, ops, 1000, false, NULL, &answer));
	}
	free(ops);
	free(names);
}

static void
assert_scanned(wire_stream *stream, int first, int step, int expected)
{
	Norikv__Ext__V1__ScanChunk *chunk;
	int			seen = 0;
	char		name[32];

	while ((chunk = wire_receive(stream, &norikv__ext__v1__scan_chunk__descriptor)))
	{
		for (size_t i = 0; i < chunk->n_entries; i++, seen++)
		{
			sprintf(name, "scan/%05d", first + seen * step);
			assert_int_equal(chunk->entries[i]->key.len, strlen(name));
			assert_memory_equal(chunk->entries[i]->key.data, name, strlen(name));
			assert_true(chunk->entries[i]->version_index > 0);
		}
	}
	assert_int_equal(seen, expected);
	assert_status(stream, GRPC_STATUS_OK, "");
}

static void
test_scan(void **state)
{
	Norikv__Ext__V1__ScanChunk *chunk;
	wire_stream *stream;
	uint64_t	count = 0;

	(void) state;
	fill_for_scan();
	assert_scanned(start_scan("scan/", "scan0", false, 0, false), 0, 1, N_SCANNED);
	assert_scanned(start_scan("scan/", "scan0", true, 0, false), N_SCANNED - 1, -1,
				   N_SCANNED);
	assert_scanned(start_scan("scan/01000", "scan/01010", false, 0, false), 1000, 1, 10);
	assert_scanned(start_scan("scan/", "scan0", false, 7, false), 0, 1, 7);
	assert_scanned(start_scan("zzz", "", false, 0, false), 0, 1, 0);
	stream = start_scan("scan/", "scan0", false, 0, true);
	while ((chunk = wire_receive(stream, &norikv__ext__v1__scan_chunk__descriptor)))
	{
		assert_int_equal(chunk->n_entries, 0);
		count = chunk->count;
	}
	assert_int_equal(count, N_SCANNED);
	assert_status(stream, GRPC_STATUS_OK, "");
}

static void
test_scan_that_is_left(void **state)
{
	(void) state;
	for (int i = 0; i < 50; i++)
	{
		wire_stream *stream = start_scan("", "", false, 0, false);

		if (i % 2 == 0)
			wire_receive(stream, &norikv__ext__v1__scan_chunk__descriptor);
		wire_free(stream);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_info),
		cmocka_unit_test(test_info_tells_the_latest_version),
		cmocka_unit_test(test_watch_cluster_shows_one_node_that_leads),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_unknown_methods_are_unimplemented_at_once),
		cmocka_unit_test(test_invalid_messages),
		cmocka_unit_test(test_quota_that_is_late_is_refused),
		cmocka_unit_test(test_multi_get_keeps_the_order),
		cmocka_unit_test(test_multi_get_cuts_chunks),
		cmocka_unit_test(test_multi_get_refuses),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_scan_that_is_left),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
