/*
 * commands.c - norikv's commands.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef cli_exit (*command_function) (norikv_client *client, const cli_options *options,
									  int argc, char **argv);

static norikv_call_options
call_options(const cli_options *options)
{
	norikv_call_options result = {.timeout_ms = options->timeout_ms};

	if (options->idempotency_key != NULL)
		result.idempotency_key = NORIKV_SLICE(options->idempotency_key);
	return result;
}

static cli_exit
interrupted(bool write)
{
	if (write)
	{
		fputs("norikv: interrupted; it is not known whether the write took effect\n",
			  stderr);
		return CLI_UNKNOWN;
	}
	return CLI_INTERRUPTED;
}

/* ---- get ---- */

static cli_exit
get(norikv_client *client, const cli_options *options, int argc, char **argv)
{
	norikv_slice key;
	norikv_call *call;
	const norikv_entry *entry;
	cli_exit	result = CLI_OK;

	(void) argc;
	if (!cli_parse_key(options, argv[0], &key))
		return CLI_USAGE;
	call = norikv_get(client, key, NULL);
	if (!cli_wait(client, call))
		result = interrupted(false);
	else if (norikv_call_error(call)->code != NORIKV_OK)
		result = cli_fail(norikv_call_error(call));
	else
	{
		entry = norikv_call_entry(call);
		if (entry->version.index == 0)
			result = CLI_NO;
		else
		{
			fwrite(entry->value.data, 1, entry->value.size, stdout);
			/* a newline for people, not for files */
			if (isatty(STDOUT_FILENO))
				putchar('\n');
		}
	}
	norikv_call_free(call);
	free((void *) key.data);
	return result;
}

/* ---- put, delete ---- */

static bool
read_value(norikv_slice *value, char **memory)
{
	size_t		room = NORIKV_MAX_VALUE + 1;
	size_t		size;

	*memory = malloc(room);
	if (*memory == NULL)
		return false;
	size = fread(*memory, 1, room, stdin);
	*value = (norikv_slice) {*memory, size};
	if (ferror(stdin))
		fprintf(stderr, "norikv: cannot read the value from standard input: %s\n",
				strerror(errno));
	else if (size == room)
		fprintf(stderr, "norikv: the value on standard input is longer than %d bytes\n",
				NORIKV_MAX_VALUE);
	else
		return true;
	return false;
}

static cli_exit
write_key(norikv_client *client, const cli_options *options,
		  const norikv_operation *operation)
{
	norikv_call_options call_opts = call_options(options);
	norikv_call *call = norikv_write(client, operation, &call_opts);
	const norikv_operation_result *results;
	cli_exit	result = CLI_OK;
	size_t		n;

	if (!cli_wait(client, call))
		result = interrupted(true);
	else if (norikv_call_error(call)->code != NORIKV_OK)
		result = cli_fail(norikv_call_error(call));
	else
	{
		results = norikv_call_results(call, &n);
		if (operation->kind == NORIKV_OP_DELETE)
			result = results[0].existed ? CLI_OK : CLI_NO;
		else
			printf("%" PRIu64 "/%" PRIu64 "\n", results[0].version.term,
				   results[0].version.index);
	}
	norikv_call_free(call);
	return result;
}

static void
set_condition(const cli_options *options, norikv_operation *operation)
{
	if (options->if_absent)
		operation->condition = NORIKV_IF_ABSENT;
	else if (options->has_version)
	{
		operation->condition = NORIKV_IF_VERSION;
		operation->version = options->version;
	}
}

static cli_exit
put(norikv_client *client, const cli_options *options, int argc, char **argv)
{
	norikv_operation operation = {.kind = NORIKV_OP_PUT};
	char	   *memory = NULL;
	cli_exit	result = CLI_USAGE;

	if (!cli_parse_key(options, argv[0], &operation.key))
		return CLI_USAGE;
	set_condition(options, &operation);
	if (options->ttl_ms > 0)
	{
		operation.ttl = NORIKV_TTL_SET;
		operation.ttl_ms = options->ttl_ms;
	}
	if (argc > 1 && strcmp(argv[1], "-") != 0)
		operation.value = NORIKV_SLICE(argv[1]);
	if ((argc > 1 && strcmp(argv[1], "-") != 0) || read_value(&operation.value, &memory))
		result = write_key(client, options, &operation);
	free(memory);
	free((void *) operation.key.data);
	return result;
}

static cli_exit
delete(norikv_client *client, const cli_options *options, int argc, char **argv)
{
	norikv_operation operation = {.kind = NORIKV_OP_DELETE};
	cli_exit	result;

	(void) argc;
	if (!cli_parse_key(options, argv[0], &operation.key))
		return CLI_USAGE;
	set_condition(options, &operation);
	result = write_key(client, options, &operation);
	free((void *) operation.key.data);
	return result;
}

/* ---- scan ---- */

static void
print_page(const cli_options *options, norikv_call *call)
{
	size_t		n;
	const norikv_entry *entries = norikv_call_entries(call, &n);

	for (size_t i = 0; i < n; i++)
	{
		cli_print_key(options, entries[i].key);
		if (!options->keys_only)
		{
			cli_end_field(options);
			cli_print_field(options, entries[i].value);
		}
		cli_end_record(options);
	}
}

static cli_exit
run_scan(norikv_client *client, const cli_options *options,
		 const norikv_scan_request *request)
{
	norikv_call_options call_opts = call_options(options);
	norikv_call *call = norikv_scan(client, request, &call_opts);
	cli_exit	result = CLI_OK;

	do
	{
		if (!cli_wait(client, call))
			result = interrupted(false);
		else
			print_page(options, call);
	} while (result == CLI_OK && !ferror(stdout) && norikv_call_next(call));
	if (result == CLI_OK && norikv_call_error(call)->code != NORIKV_OK)
		result = cli_fail(norikv_call_error(call));
	else if (result == CLI_OK && options->count)
		printf("%" PRIu64 "\n", norikv_call_count(call));
	norikv_call_free(call);
	return result;
}

static cli_exit
scan(norikv_client *client, const cli_options *options, int argc, char **argv)
{
	norikv_scan_request request = {
		.reverse = options->reverse,
		.max_rows = options->limit,
		.keys_only = options->keys_only,
		.count_only = options->count,
	};
	norikv_slice start = {NULL, 0};
	norikv_slice end = {NULL, 0};
	char	   *prefix_end = NULL;
	cli_exit	result = CLI_USAGE;

	if (argc > 0 && (options->start != NULL || options->end != NULL))
		fputs("norikv: a prefix and --start or --end exclude each other\n", stderr);
	else if ((argc == 0 || cli_parse_key(options, argv[0], &start)) &&
			 (options->start == NULL || cli_parse_key(options, options->start, &start)) &&
			 (options->end == NULL || cli_parse_key(options, options->end, &end)))
	{
		request.start = start;
		request.end = end;
		prefix_end = malloc(start.size + 1);
		if (argc > 0 && prefix_end != NULL)
			request.end =
				(norikv_slice){prefix_end, norikv_prefix_end(start, prefix_end)};
		result = run_scan(client, options, &request);
	}
	free(prefix_end);
	free((void *) start.data);
	free((void *) end.data);
	return result;
}

/* ---- ping, info ---- */

static cli_exit
ping(norikv_client *client, const cli_options *options, int argc, char **argv)
{
	norikv_call_options call_opts = call_options(options);
	cli_exit	result = CLI_OK;

	(void) argc;
	(void) argv;
	/* the first one connects */
	for (int i = 0; i < 2 && result == CLI_OK; i++)
	{
		struct timespec before;
		struct timespec after;
		norikv_call *call;

		clock_gettime(CLOCK_MONOTONIC, &before);
		call = norikv_health(client, &call_opts);
		if (!cli_wait(client, call))
			result = interrupted(false);
		else if (norikv_call_error(call)->code != NORIKV_OK &&
				 norikv_call_error(call)->code != NORIKV_UNIMPLEMENTED)
			result = cli_fail(norikv_call_error(call));
		clock_gettime(CLOCK_MONOTONIC, &after);
		if (i == 1 && result == CLI_OK)
			printf("%.3f ms\n", (double) (after.tv_sec - before.tv_sec) * 1e3 +
				   (double) (after.tv_nsec - before.tv_nsec) / 1e6);
		norikv_call_free(call);
	}
	return result;
}

static void
print_info(const norikv_info *info)
{
	const struct
	{
		const char *name;
		bool		has;
	} abilities[] = {
		{"atomic_cas", info->atomic_cas},
		{"create", info->create},
		{"conditional_delete", info->conditional_delete},
		{"ttl", info->ttl},
		{"scan", info->scan},
		{"batch", info->batch},
		{"transactions", info->transactions},
		{"add", info->add},
		{"watch", info->watch},
		{"quotas", info->quotas},
		{"vectors", info->vectors},
		{"vector_checks", info->vector_checks},
		{"vector_scan", info->vector_scan},
		{"vector_ranges", info->vector_ranges},
		{"durable", info->durable},
	};

	printf("name\t%s\nversion\t%s\nengine\t%s\nstore_id\t%s\n",
		   info->name[0] ? info->name : "unknown: the server has no Info", info->version,
		   info->engine, info->store_id);
	for (size_t i = 0; i < sizeof(abilities) / sizeof(abilities[0]); i++)
		printf("%s\t%s\n", abilities[i].name, abilities[i].has ? "yes" : "no");
	printf("commit_operations\t%" PRIu64 "\ncommit_bytes\t%" PRIu64 "\n",
		   info->commit_operations, info->commit_bytes);
	printf("expiry_granularity_ms\t%" PRIu64 "\nstore_time_ms\t%" PRIu64 "\n",
		   info->expiry_granularity_ms, info->store_time_ms);
}

static cli_exit
info(norikv_client *client, const cli_options *options, int argc, char **argv)
{
	norikv_call_options call_opts = call_options(options);
	norikv_call *call = norikv_get_info(client, &call_opts);
	cli_exit	result = CLI_OK;

	(void) argc;
	(void) argv;
	if (!cli_wait(client, call))
		result = interrupted(false);
	else if (norikv_call_error(call)->code != NORIKV_OK)
		result = cli_fail(norikv_call_error(call));
	else
		print_info(norikv_call_info(call));
	norikv_call_free(call);
	return result;
}

/* ---- The table ---- */

static const struct
{
	const char *name;
	int			least;			/* arguments */
	int			most;
	command_function run;
}			commands[] = {
	{"get", 1, 1, get},
	{"put", 1, 2, put},
	{"delete", 1, 1, delete},
	{"scan", 0, 1, scan},
	{"ping", 0, 0, ping},
	{"info", 0, 0, info},
	{"watch", 0, 1, cli_watch},
};

static int
find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
	{
		if (strcmp(commands[i].name, name) == 0)
			return (int) i;
	}
	return -1;
}

bool
cli_is_command(const char *name)
{
	return find(name) >= 0;
}

cli_exit
cli_run(norikv_client *client, const cli_options *options, const char *name, int argc,
		char **argv)
{
	int			at = find(name);

	if (argc < commands[at].least || argc > commands[at].most)
	{
		fprintf(stderr, "norikv: %s takes %d%s%s argument%s; see norikv --help\n", name,
				commands[at].least, commands[at].most > commands[at].least ? " or " : "",
				commands[at].most > commands[at].least ?
				(commands[at].most == 2 ? "2" : "1") : "",
				commands[at].most == 1 && commands[at].least == 1 ? "" : "s");
		return CLI_USAGE;
	}
	return commands[at].run(client, options, argc, argv);
}
