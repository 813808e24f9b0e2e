/*
 * main.c - norikvd from its command line to its exit status.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>

#include "listen.h"
#include "listen_later.h"
#include "log.h"
#include "options.h"
#include "process.h"
#include "server.h"

/*
 * From the signal on: those who call are told that we go, until nobody calls any more
 * or this time is over; calls end, then connections, then, whatever happens, we.
 */
#define CALLERS_TOLD_MS 300
#define CALLS_END_MS 2500
#define CONNECTIONS_END_MS 3500
#define PROCESS_ENDS_MS 4700

/*
 * Shares of --max-memory. What Commits that are not complete and messages in flight
 * may take is not set aside: it is seldom used, and there to keep clients that do
 * not go on from taking everything.
 */
#define ENGINE_MEMORY(total) ((total) / 4 * 3)
#define VECTOR_MEMORY(total) (total)
#define STAGED_MEMORY(total) ((total) / 2)

#define POLL_MS 5

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

static int
exit_code_of(engine_code code)
{
	switch (code)
	{
		case ENGINE_ABORTED:
			return EXIT_IN_USE;
		case ENGINE_FAILED_PRECONDITION:
			return EXIT_REFUSED;
		default:
			return EXIT_ERROR;
	}
}

static engine *
open_engine(const options *opts, int *exit_status)
{
	engine_options chosen = {
		.data_dir = opts->data_dir,
		.sync = opts->sync,
		.adopt = opts->adopt,
		.max_memory = ENGINE_MEMORY(opts->max_memory),
		.max_vector_memory = VECTOR_MEMORY(opts->max_memory),
		.max_idempotency = opts->max_idempotency,
		.owner = opts->owner,
		.log = log_line,
	};
	engine_status status = {ENGINE_OK, ""};
	engine	   *opened = engine_open(opts->engine, &chosen, &status);

	if (opened == NULL)
	{
		log_line(ENGINE_LOG_ERROR, "%s", status.text);
		*exit_status = exit_code_of(status.code);
	}
	return opened;
}

static int
make_backup(const options *opts, engine *opened)
{
	engine_status status = {ENGINE_OK, ""};

	if (!engine_backup(opened, opts->backup, &status))
	{
		log_line(ENGINE_LOG_ERROR, "%s", status.text);
		return EXIT_ERROR;
	}
	log_line(ENGINE_LOG_INFO, "copied %s to %s", opts->data_dir, opts->backup);
	return EXIT_WELL;
}

/* Says in one line that, and where, we serve: whoever started us waits for it. */
static bool
say_ready(const listeners *listening)
{
	printf("ready %s\n", listeners_text(listening));
	if (fflush(stdout) == 0)
		return true;
	log_line(ENGINE_LOG_ERROR, "cannot say \"ready\" on standard output: %s",
			 strerror(errno));
	return false;
}

static void
serve(server *serving, const options *opts)
{
	unsigned	tick = opts->stall_timeout < 4 ? 250 : 1000;
	const char *reason;

	while (!process_wait(tick, &reason))
		server_drop_stalled(serving);
	log_line(ENGINE_LOG_INFO, "%s, shutting down", reason);
}

static void
sleep_a_little(void)
{
	struct timespec a_little = {0, POLL_MS * 1000000L};

	nanosleep(&a_little, NULL);
}

/* Nothing is under way, and what may still come has had its time. */
static bool
may_disconnect(server *serving, uint64_t since_ms)
{
	return server_idle(serving) &&
		(server_is_quiet(serving) || now_ms() >= since_ms + CALLERS_TOLD_MS);
}

/* False where something would not end in time. */
static bool
shut_down(server *serving, listeners *listening, later_listeners *later)
{
	uint64_t	start = now_ms();

	process_end_after(PROCESS_ENDS_MS, EXIT_ERROR);
	process_end_on_signal();
	listeners_close(listening);
	later_close(later);
	server_drain(serving);
	while (!may_disconnect(serving, start) && now_ms() < start + CALLS_END_MS)
		sleep_a_little();
	if (!server_idle(serving))
		log_line(ENGINE_LOG_WARNING, "disconnecting clients that take no answer");
	/* Clients that are connected and idle would keep the server up too. */
	server_disconnect(serving);
	while (!server_is_down(serving) && now_ms() < start + CONNECTIONS_END_MS)
		sleep_a_little();
	return server_is_down(serving);
}

static int
run_server(const options *opts, engine *opened)
{
	server_options chosen = {
		.engine = opened,
		.max_staged = STAGED_MEMORY(opts->max_memory),
		.max_in_flight = opts->max_memory,
		.absent_not_found = opts->absent_not_found,
		.threads = opts->threads,
		.stall_timeout_ms = opts->stall_timeout * 1000,
	};
	char		error[1024];
	listeners  *listening = listen_all(opts->listen, opts->n_listen, error,
									   sizeof(error));
	later_listeners *later;
	server	   *serving;

	if (listening == NULL)
	{
		log_line(ENGINE_LOG_ERROR, "%s", error);
		return EXIT_ERROR;
	}
	later = later_listen(opts->also_listen, opts->n_also_listen);
	serving = server_new(&chosen);
	server_start(serving, listeners_advertised(listening));
	listeners_accept(listening, serving);
	later_accept(later, serving, !listeners_have_tcp(listening));
	if (say_ready(listening))
	{
		log_line(ENGINE_LOG_INFO, "serving on %s", listeners_text(listening));
		serve(serving, opts);
	}
	if (!shut_down(serving, listening, later))
	{
		log_line(ENGINE_LOG_ERROR, "what is under way does not end: giving it up");
		_Exit(EXIT_ERROR);
	}
	server_free(serving);
	listeners_free(listening);
	later_free(later);
	return EXIT_WELL;
}

static int
run(const options *opts)
{
	int			exit_status = EXIT_ERROR;
	engine	   *opened;

	if (opts->parent != 0 && !process_follow(opts->parent))
	{
		log_line(ENGINE_LOG_ERROR, "process %d is not the parent of this one",
				 (int) opts->parent);
		return EXIT_ERROR;
	}
	if (!opts->sync)
		log_line(ENGINE_LOG_WARNING, "sync is off: a crash of this machine can lose "
				 "writes that were acknowledged");
	opened = open_engine(opts, &exit_status);
	if (opened == NULL)
		return exit_status;
	if (opts->backup != NULL)
		exit_status = make_backup(opts, opened);
	else if (opts->adopt)
	{
		log_line(ENGINE_LOG_INFO, "took over %s: versions go on in a new term",
				 opts->data_dir);
		exit_status = EXIT_WELL;
	}
	else
		exit_status = run_server(opts, opened);
	opened->methods->close(opened);
	if (exit_status == EXIT_WELL && opts->backup == NULL && !opts->adopt)
		log_line(ENGINE_LOG_INFO, "shut down");
	return exit_status;
}

int
main(int argc, char **argv)
{
	options		opts;
	char		error[512];
	int			exit_status;

	process_init();
	options_init(&opts);
	if (!options_parse(&opts, argc, argv, error, sizeof(error)))
	{
		fprintf(stderr, "norikvd: %s\nTry \"norikvd --help\".\n", error);
		return EXIT_USAGE;
	}
	if (opts.show_help)
		options_help(stdout);
	else if (opts.show_version)
		printf("%s %s\n", NORIKVD_NAME, NORIKVD_VERSION);
	if (opts.show_help || opts.show_version)
		return fflush(stdout) == 0 ? EXIT_WELL : EXIT_ERROR;
	log_set_level(opts.log_level);
	log_take_over_grpc();
	grpc_init();
	exit_status = run(&opts);
	grpc_shutdown_blocking();
	return exit_status;
}
