/*
 * etcd_bench.c - puts to etcd, so many in flight on one connection, the way
 * norikv_bench puts to norikvd.
 */
#include "bench.h"

#include <getopt.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>

#include "etcd.pb-c.h"

typedef struct pending_put
{
	grpc_call  *call;
	grpc_byte_buffer *answer;
	grpc_metadata_array initial_metadata;
	grpc_metadata_array trailing_metadata;
	grpc_status_code status;
	grpc_slice	details;
	uint64_t	began_at;
} pending_put;

static const char *target;
static double seconds = 3;
static unsigned in_flight = 64;
static unsigned value_size = 100;
static uint64_t keys = 100000;

static grpc_channel *channel;
static grpc_completion_queue *queue;
static void *method;
static char *value;

static gpr_timespec
for_ever(void)
{
	return gpr_inf_future(GPR_CLOCK_MONOTONIC);
}

static grpc_byte_buffer *
pack_put(bench_run *bench)
{
	Etcdserverpb__PutRequest message = ETCDSERVERPB__PUT_REQUEST__INIT;
	char		key[BENCH_KEY_SIZE];
	grpc_byte_buffer *buffer;
	grpc_slice	slice;

	bench_key(key, bench_random(bench, keys));
	message.key.data = (uint8_t *) key;
	message.key.len = sizeof(key);
	message.value.data = (uint8_t *) value;
	message.value.len = value_size;
	slice = grpc_slice_malloc(etcdserverpb__put_request__get_packed_size(&message));
	etcdserverpb__put_request__pack(&message, GRPC_SLICE_START_PTR(slice));
	buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	return buffer;
}

static void
put_start(pending_put *put, bench_run *bench)
{
	grpc_byte_buffer *request = pack_put(bench);
	grpc_op		ops[6] = {0};

	put->began_at = bench_now();
	grpc_metadata_array_init(&put->initial_metadata);
	grpc_metadata_array_init(&put->trailing_metadata);
	put->call = grpc_channel_create_registered_call(channel, NULL,
													GRPC_PROPAGATE_DEFAULTS, queue,
													method, for_ever(), NULL);
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = request;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &put->initial_metadata;
	ops[4].op = GRPC_OP_RECV_MESSAGE;
	ops[4].data.recv_message.recv_message = &put->answer;
	ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	ops[5].data.recv_status_on_client.trailing_metadata = &put->trailing_metadata;
	ops[5].data.recv_status_on_client.status = &put->status;
	ops[5].data.recv_status_on_client.status_details = &put->details;
	if (grpc_call_start_batch(put->call, ops, 6, put, NULL) != GRPC_CALL_OK)
		abort();
	grpc_byte_buffer_destroy(request);
}

static void
put_end(pending_put *put, bench_run *bench)
{
	bool		ok = put->status == GRPC_STATUS_OK;

	if (!ok && bench->errors == 0)
	{
		char	   *text = grpc_slice_to_c_string(put->details);

		fprintf(stderr, "put: status %d: %s\n", (int) put->status, text);
		gpr_free(text);
	}
	bench_ended(bench, put->began_at, bench_now(), ok);
	grpc_byte_buffer_destroy(put->answer);
	put->answer = NULL;
	grpc_metadata_array_destroy(&put->initial_metadata);
	grpc_metadata_array_destroy(&put->trailing_metadata);
	grpc_slice_unref(put->details);
	grpc_call_unref(put->call);
}

static void
parse_options(int argc, char **argv)
{
	int			option;

	while ((option = getopt(argc, argv, "t:s:f:k:v:")) != -1)
		switch (option)
		{
			case 't':
				target = optarg;
				break;
			case 's':
				seconds = atof(optarg);
				break;
			case 'f':
				in_flight = atoi(optarg);
				break;
			case 'k':
				keys = strtoull(optarg, NULL, 10);
				break;
			case 'v':
				value_size = atoi(optarg);
				break;
			default:
				exit(2);
		}
	if (target == NULL || in_flight == 0 || keys == 0)
	{
		fprintf(stderr, "usage: etcd_bench -t TARGET [-s SECONDS] [-f IN_FLIGHT]"
				" [-k KEYS] [-v VALUE_SIZE]\n");
		exit(2);
	}
}

static void
connect_to_target(void)
{
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();

	grpc_init();
	queue = grpc_completion_queue_create_for_next(NULL);
	channel = grpc_channel_create(target, credentials, NULL);
	method = grpc_channel_register_call(channel, "/etcdserverpb.KV/Put", NULL, NULL);
	grpc_channel_credentials_release(credentials);
}

int
main(int argc, char **argv)
{
	bench_run	bench;
	pending_put *all;
	unsigned	under_way;

	parse_options(argc, argv);
	value = bench_value(value_size);
	connect_to_target();
	all = calloc(in_flight, sizeof(*all));
	bench_start(&bench, 0.5, seconds);
	for (under_way = 0; under_way < in_flight; under_way++)
		put_start(&all[under_way], &bench);
	while (under_way > 0)
	{
		grpc_event	event = grpc_completion_queue_next(queue, for_ever(), NULL);

		put_end(event.tag, &bench);
		if (bench_now() < bench.ends_at && bench.errors == 0)
			put_start(event.tag, &bench);
		else
			under_way--;
	}
	grpc_channel_destroy(channel);
	grpc_completion_queue_shutdown(queue);
	grpc_completion_queue_next(queue, for_ever(), NULL);
	grpc_completion_queue_destroy(queue);
	grpc_shutdown();
	free(all);
	free(value);
	return bench_report(&bench, 1);
}
