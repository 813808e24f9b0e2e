/*
 * fake_norikv.c - a NoriKV server that behaves as badly as it is told to.
 *
 * Keeps keys in memory, in one thread, and has the faults of servers that are not
 * norikvd: each is an option below. What it saw is told by Gets of keys that
 * begin with "fake:". Prints "ready" when it listens.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>

#include "fake/fake.h"

fake_options options = {.chunk = 3};
int64_t		started;

static grpc_server *server;
static grpc_completion_queue *queue;
static served *late;

int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Calls ---- */

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
	if (grpc_server_request_call(server, &call->call, &call->details, &call->metadata,
								 queue, queue, call) != GRPC_CALL_OK)
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
	if (call->message != NULL && call->n_requests < FAKE_MAX_REPLIES)
	{
		call->requests[call->n_requests++] = call->message;
		call->message = NULL;
		if (grpc_slice_str_cmp(call->details.method, WIRE_METHOD_COMMIT) == 0)
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
	} numbers[] = {
		{"--ext", &options.ext},
		{"--absent-not-found", &options.absent_not_found},
		{"--creates", &options.creates},
		{"--not-leader-ms", &options.not_leader_ms},
		{"--not-leader", &options.not_leader},
		{"--hang", &options.hang},
		{"--lose", &options.lose},
		{"--timeout-expired", &options.timeout_expired},
		{"--commit-timeout", &options.commit_timeout},
		{"--garbage", &options.garbage},
		{"--garbage-batch", &options.garbage_batch},
		{"--empty", &options.empty},
		{"--die", &options.die},
		{"--break-stream", &options.break_stream},
		{"--delay-ms", &options.delay_ms},
		{"--cas-gap-ms", &options.cas_gap_ms},
		{"--other-put-version", &options.other_put_version},
		{"--ignore-delete-condition", &options.ignore_delete_condition},
		{"--too-large", &options.too_large},
		{"--chunk", &options.chunk},
		{"--max-age-ms", &options.max_age_ms},
		{"--shards", &options.shards},
		{"--not-serving", &options.not_serving},
		{"--vectors", &options.vectors},
	};

	for (int i = 1; i + 1 < argc; i += 2)
	{
		bool		known = true;

		if (strcmp(argv[i], "--listen") == 0)
			options.listen = argv[i + 1];
		else if (strcmp(argv[i], "--capabilities") == 0)
			options.capabilities = argv[i + 1];
		else if (strcmp(argv[i], "--node") == 0 && options.n_nodes < FAKE_MAX_NODES)
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
