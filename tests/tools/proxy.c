/*
 * proxy.c - a gRPC proxy that misbehaves as networks do, for tests.
 *
 * It stands between clients and one server and passes messages on undecoded. By
 * rate and seed it loses answers of requests that were executed, holds requests
 * until long after their client gave up, executes them twice, cuts connections
 * and refuses. A request is taken in whole before it is passed on, which suits
 * every method of the protocol: none answers half a request.
 */
#include "faults/faults.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <grpc/grpc_security.h>

#define STOP_TIMEOUT_MS 2000

settings	options;
counts		counted;
grpc_completion_queue *queue;
grpc_server *server;
grpc_channel *channel;

static bool stopped;

static const char usage[] =
	"usage: proxy --listen=unix:PATH --upstream=TARGET [options]\n"
	"  --seed=N                      1\n"
	"  --only=TEXT                   faults only in methods whose name has it\n"
	"  --drop-answer=RATE            executed, and the client never hears\n"
	"  --delay-answer=RATE:MS\n"
	"  --delay-request=RATE:MS       executed then, whether the client is there or not\n"
	"  --duplicate=RATE:MS           executed at once, and again then\n"
	"  --cut=RATE                    the connection: before, during or after a call\n"
	"  --refuse=RATE                 UNAVAILABLE, not executed\n"
	"  --refuse-connection=RATE      closed as soon as it is accepted\n";

static void __attribute__((noreturn))
fail_usage(const char *what, const char *value)
{
	fprintf(stderr, "proxy: %s: %s\n%s", what, value, usage);
	exit(2);
}

static fault_rate
parse_fault(const char *name, const char *text)
{
	fault_rate		parsed = {0};
	char	   *end;

	parsed.rate = strtod(text, &end);
	if (*end == ':')
		parsed.ms = strtoul(end + 1, &end, 10);
	if (end == text || *end != '\0' || !(parsed.rate >= 0 && parsed.rate <= 1))
		fail_usage(name, text);
	return parsed;
}

static const struct
{
	const char *name;
	fault_rate *rate;
}			fault_options[] = {
	{"drop-answer", &options.drop_answer},
	{"delay-answer", &options.delay_answer},
	{"delay-request", &options.delay_request},
	{"duplicate", &options.duplicate},
	{"cut", &options.cut},
	{"refuse", &options.refuse},
	{"refuse-connection", &options.refuse_connection},
};

#define N_FAULTS (sizeof(fault_options) / sizeof(fault_options[0]))
#define FIRST_FAULT 256			/* above every letter */

static void
set_option(int option, const char *value)
{
	switch (option)
	{
		case 'l':
			if (strncmp(value, "unix:", 5) != 0)
				fail_usage("--listen takes unix:PATH", value);
			options.listen = value + 5;
			break;
		case 'u':
			options.upstream = value;
			break;
		case 's':
			options.seed = strtoull(value, NULL, 10);
			break;
		case 'o':
			options.only = value;
			break;
		default:
			*fault_options[option - FIRST_FAULT].rate =
				parse_fault(fault_options[option - FIRST_FAULT].name, value);
	}
}

static void
parse_options(int argc, char **argv)
{
	struct option known[4 + N_FAULTS + 1] = {
		{"listen", required_argument, NULL, 'l'},
		{"upstream", required_argument, NULL, 'u'},
		{"seed", required_argument, NULL, 's'},
		{"only", required_argument, NULL, 'o'},
	};
	int			option;

	for (size_t i = 0; i < N_FAULTS; i++)
		known[4 + i] = (struct option) {
			fault_options[i].name, required_argument, NULL, FIRST_FAULT + (int) i};
	options.seed = 1;
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
	{
		if (option == '?')
			fail_usage("unknown option, or no value for it", argv[optind - 1]);
		set_option(option, optarg);
	}
	if (optind < argc)
		fail_usage("unknown argument", argv[optind]);
	if (options.listen == NULL || options.upstream == NULL)
		fail_usage("missing option", "--listen and --upstream");
}

static grpc_channel *
channel_open(const char *upstream)
{
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	grpc_arg	args[] = {
		{GRPC_ARG_INTEGER, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, {.integer = 20}},
		{GRPC_ARG_INTEGER, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, {.integer = 200}},
		{GRPC_ARG_INTEGER, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, {.integer = 100}},
		{GRPC_ARG_INTEGER, GRPC_ARG_ENABLE_RETRIES, {.integer = 0}},
		{GRPC_ARG_INTEGER, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, {.integer = -1}},
	};
	grpc_channel_args all = {sizeof(args) / sizeof(args[0]), args};
	grpc_channel *opened = grpc_channel_create(upstream, credentials, &all);

	grpc_channel_credentials_release(credentials);
	return opened;
}

static grpc_server *
server_open(void)
{
	grpc_arg	args[] = {
		{GRPC_ARG_INTEGER, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, {.integer = -1}},
	};
	grpc_channel_args all = {sizeof(args) / sizeof(args[0]), args};

	return grpc_server_create(&all, NULL);
}

static void
on_stopped(void *of, bool ok)
{
	(void) of;
	(void) ok;
	stopped = true;
}

/* Until everything has ended, or only until the deadline where there is one. */
static void
run(const gpr_timespec *deadline)
{
	while (!stopped || exchanges_alive() > 0 || executions_alive())
	{
		grpc_event	happened = grpc_completion_queue_next(queue, timers_next(), NULL);

		if (happened.type == GRPC_OP_COMPLETE)
		{
			event	   *tag = happened.tag;

			tag->handle(tag->of, happened.success != 0);
		}
		timers_fire(stopped);
		if (stopped && deadline == NULL)
			return;
		if (deadline != NULL &&
			gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), *deadline) > 0)
			return;
	}
}

static void
print_counts(void)
{
	printf("calls=%lu executions=%lu dropped_answers=%lu delayed_answers=%lu"
		   " delayed_requests=%lu late=%lu duplicated=%lu aborted=%lu cut=%lu"
		   " refused=%lu\n",
		   counted.calls, counted.executions, counted.dropped_answers,
		   counted.delayed_answers, counted.delayed_requests, counted.late,
		   counted.duplicated, counted.aborted, counted.cut, counted.refused);
	fflush(stdout);
}

static void
block_signals(void)
{
	sigset_t	all;

	/* gRPC's threads inherit the mask: signals are for the listener alone. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	/* A test that dies takes its proxy along. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int
main(int argc, char **argv)
{
	event		on_stop = {on_stopped, NULL};
	gpr_timespec deadline;

	parse_options(argc, argv);
	block_signals();
	grpc_init();
	queue = grpc_completion_queue_create_for_next(NULL);
	server = server_open();
	channel = channel_open(options.upstream);
	grpc_server_register_completion_queue(server, queue, NULL);
	grpc_server_start(server);
	exchange_init();
	listener_start(&on_stop);
	puts("ready");
	fflush(stdout);

	run(NULL);
	executions_cancel();
	deadline = after_ms(STOP_TIMEOUT_MS);
	run(&deadline);
	print_counts();
	listener_join();
	if (exchanges_alive() > 0 || executions_alive())
		_exit(0);
	grpc_channel_destroy(channel);
	grpc_server_destroy(server);
	grpc_completion_queue_shutdown(queue);
	while (grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME),
									  NULL).type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(queue);
	grpc_shutdown();
	return 0;
}
