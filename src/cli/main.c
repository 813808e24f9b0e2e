/*
 * main.c - norikv, the command line over libnorikv.
 */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

volatile bool cli_stopped;

static void
stop(int signal_number)
{
	(void) signal_number;
	cli_stopped = true;
}

static bool
is_stopped(void *arg)
{
	(void) arg;
	return cli_stopped;
}

bool
cli_wait(norikv_client *client, norikv_call *call)
{
	return norikv_wait(client, &call, 1, -1) == NORIKV_WAIT_DONE;
}

static norikv_client *
connect_to(const cli_options *from)
{
	norikv_options options;
	norikv_error error;
	norikv_client *client;

	norikv_options_init(&options);
	options.nodes = from->nodes;
	options.consistency = from->consistency;
	options.timeout_ms = from->timeout_ms;
	options.token = getenv("NORIKV_TOKEN");
	options.wait_hook = is_stopped;
	client = norikv_client_new(&options, &error);
	if (client == NULL)
		fprintf(stderr, "norikv: %s\n", error.text);
	return client;
}

int
main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = stop};
	cli_options options;
	norikv_client *client;
	cli_exit	result;
	int			first = cli_parse(argc, argv, &options);

	if (first < 0)
		return CLI_USAGE;
	if (first == argc || !cli_is_command(argv[first]))
	{
		if (first == argc)
			fputs("norikv: a command is missing; see norikv --help\n", stderr);
		else
			fprintf(stderr, "norikv: there is no command \"%s\"; see norikv --help\n",
					argv[first]);
		return CLI_USAGE;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	client = connect_to(&options);
	if (client == NULL)
		return CLI_USAGE;
	result = cli_run(client, &options, argv[first], argc - first - 1, argv + first + 1);
	norikv_client_free(client);
	if (fflush(stdout) != 0 || ferror(stdout))
	{
		fprintf(stderr, "norikv: cannot write to standard output: %s\n", strerror(errno));
		return CLI_FAILED;
	}
	return result;
}
