/*
 * watch.c - norikv watch: the value of a key whenever it has changed, or the changes
 * under a prefix.
 *
 * The server tells of changes. One that cannot is asked again and again for the key;
 * for a prefix there is no such way.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct key_watch
{
	norikv_client *client;
	const cli_options *options;
	norikv_slice key;
	bool		shown;			/* a value has been */
	norikv_version last;		/* of the value that was shown */
	uint64_t	printed;
} key_watch;

static bool
has_printed_enough(const cli_options *options, uint64_t printed)
{
	return ferror(stdout) || (options->changes > 0 && printed >= options->changes);
}

/* ---- One key ---- */

static void
show_value(key_watch *watch, const norikv_entry *entry)
{
	if (watch->shown && entry->version.index == watch->last.index &&
		entry->version.term == watch->last.term)
		return;
	if (entry->version.index == 0)
		fputs("(absent)", stdout);
	else
		cli_print_field(watch->options, entry->value);
	cli_end_record(watch->options);
	fflush(stdout);
	watch->shown = true;
	watch->last = entry->version;
	watch->printed++;
}

static cli_exit
look(key_watch *watch)
{
	norikv_call_options call_opts = {.timeout_ms = watch->options->timeout_ms};
	norikv_call *call = norikv_get(watch->client, watch->key, &call_opts);
	cli_exit	result = CLI_OK;

	/* interrupted is how a watch normally ends */
	if (cli_wait(watch->client, call))
	{
		if (norikv_call_error(call)->code == NORIKV_OK)
			show_value(watch, norikv_call_entry(call));
		else
			result = cli_fail(norikv_call_error(call));
	}
	norikv_call_free(call);
	return result;
}

static void
sleep_ms(uint64_t ms)
{
	struct timespec time = {(time_t) (ms / 1000), (long) (ms % 1000) * 1000000};

	/* a signal ends it, and the loop around it */
	nanosleep(&time, NULL);
}

/* Where the server does not tell. */
static cli_exit
look_again_and_again(key_watch *watch)
{
	cli_exit	result = look(watch);

	while (result == CLI_OK && !cli_stopped &&
		   !has_printed_enough(watch->options, watch->printed))
	{
		sleep_ms(watch->options->interval_ms);
		if (!cli_stopped)
			result = look(watch);
	}
	return result;
}

static cli_exit
follow_key(key_watch *watch)
{
	char		end[NORIKV_WATCH_END_SIZE];
	norikv_watch_request request = {
		.start = watch->key,
		.end = norikv_key_end(watch->key, end),
	};
	norikv_call_options call_opts = {.timeout_ms = watch->options->timeout_ms};
	norikv_call *call = norikv_watch(watch->client, &request, &call_opts);
	cli_exit	result = CLI_OK;
	norikv_code code;

	do
	{
		if (!cli_wait(watch->client, call))
			break;
		if (norikv_call_changes(call) != NULL)
			result = look(watch);
	} while (result == CLI_OK && !has_printed_enough(watch->options, watch->printed) &&
			 norikv_call_next(call));
	code = norikv_call_error(call)->code;
	if (code != NORIKV_OK && code != NORIKV_UNIMPLEMENTED && result == CLI_OK)
		result = cli_fail(norikv_call_error(call));
	norikv_call_free(call);
	return code == NORIKV_UNIMPLEMENTED ? look_again_and_again(watch) : result;
}

/* ---- A prefix ---- */

static void
print_change(const cli_options *options, const norikv_change *change)
{
	static const char *const kinds[] = {
		[NORIKV_WATCH_PUT] = "put",
		[NORIKV_WATCH_DELETE] = "delete",
		[NORIKV_WATCH_DELETE_RANGE] = "delete_range",
		[NORIKV_WATCH_EXPIRED] = "expired",
	};
	size_t		n_kinds = sizeof(kinds) / sizeof(kinds[0]);
	const char *kind = (size_t) change->kind < n_kinds ? kinds[change->kind] : NULL;

	fputs(kind != NULL ? kind : "unknown", stdout);
	cli_end_field(options);
	cli_print_key(options, change->key);
	cli_end_field(options);
	if (change->kind == NORIKV_WATCH_DELETE_RANGE)
	{
		cli_print_key(options, change->end_key);
		cli_end_field(options);
	}
	printf("%" PRIu64 "/%" PRIu64, change->version.term, change->version.index);
	cli_end_record(options);
}

static uint64_t
print_changes(const cli_options *options, const norikv_changes *page, uint64_t printed)
{
	if (page->reset)
	{
		fputs("reset", stdout);
		cli_end_record(options);
		printed++;
	}
	for (size_t i = 0; i < page->n_changes && !has_printed_enough(options, printed); i++)
	{
		print_change(options, &page->changes[i]);
		printed++;
	}
	fflush(stdout);
	return printed;
}

static cli_exit
follow_prefix(norikv_client *client, const cli_options *options, norikv_slice prefix)
{
	char	   *end = malloc(prefix.size + 1);
	norikv_watch_request request = {.start = prefix};
	norikv_call_options call_opts = {.timeout_ms = options->timeout_ms};
	uint64_t	printed = 0;
	cli_exit	result = CLI_OK;
	norikv_call *call;

	if (end != NULL)
		request.end = (norikv_slice) {end, norikv_prefix_end(prefix, end)};
	call = norikv_watch(client, &request, &call_opts);
	do
	{
		if (!cli_wait(client, call))
			break;
		if (norikv_call_changes(call) != NULL)
			printed = print_changes(options, norikv_call_changes(call), printed);
	} while (!has_printed_enough(options, printed) && norikv_call_next(call));
	if (norikv_call_error(call)->code != NORIKV_OK)
		result = cli_fail(norikv_call_error(call));
	norikv_call_free(call);
	free(end);
	return result;
}

cli_exit
cli_watch(norikv_client *client, const cli_options *options, int argc, char **argv)
{
	key_watch	watch = {.client = client, .options = options};
	norikv_slice prefix;
	cli_exit	result;

	if ((argc == 0) == (options->prefix == NULL))
	{
		fputs("norikv: watch takes a key or --prefix; see norikv --help\n", stderr);
		return CLI_USAGE;
	}
	if (options->prefix != NULL)
	{
		if (!cli_parse_key(options, options->prefix, &prefix))
			return CLI_USAGE;
		result = follow_prefix(client, options, prefix);
		free((void *) prefix.data);
		return result;
	}
	if (!cli_parse_key(options, argv[0], &watch.key))
		return CLI_USAGE;
	result = follow_key(&watch);
	free((void *) watch.key.data);
	return result;
}
