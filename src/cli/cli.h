/*
 * cli.h - norikv, the command line: its options and what its commands share.
 */
#ifndef NORIKV_CLI_H
#define NORIKV_CLI_H

#include "norikv.h"

/* Exit codes; scripts rely on them. */
typedef enum cli_exit
{
	CLI_OK = 0,
	CLI_NO = 1,					/* absent, or the condition did not hold */
	CLI_USAGE = 2,
	CLI_FAILED = 3,
	CLI_UNKNOWN = 4,			/* a write was sent, and what became of it is not known */
	CLI_INTERRUPTED = 130
} cli_exit;

typedef struct cli_options
{
	const char *nodes;
	const char *consistency;
	uint32_t	timeout_ms;
	bool		hex;			/* keys are given and shown as hexadecimal digits */
	bool		null;			/* records end with a zero byte, and are not escaped */

	/* Of single commands. */
	uint64_t	ttl_ms;
	bool		if_absent;
	bool		has_version;
	norikv_version version;
	const char *start;
	const char *end;
	uint64_t	limit;
	bool		reverse;
	bool		keys_only;
	bool		count;
	const char *prefix;
	uint64_t	interval_ms;
	uint64_t	changes;		/* watch: ends after so many; 0: never */
	const char *idempotency_key;
} cli_options;

/* ---- options.c ---- */

/* The index of the first argument that is no option; -1: usage was wrong, and said so. */
extern int	cli_parse(int argc, char **argv, cli_options *options);
/* A key as it was given; memory is the caller's. False: said why. */
extern bool cli_parse_key(const cli_options *options, const char *text,
						  norikv_slice *key);

/* ---- output.c ---- */

/* A field of a record: escaped so that tabs and newlines mean what they say. */
extern void cli_print_field(const cli_options *options, norikv_slice bytes);
extern void cli_print_key(const cli_options *options, norikv_slice key);
extern void cli_end_field(const cli_options *options);
extern void cli_end_record(const cli_options *options);
/* What went wrong, to standard error, and the exit code for it. */
extern cli_exit cli_fail(const norikv_error *error);

/* ---- commands.c ---- */

extern bool cli_is_command(const char *name);
extern cli_exit cli_run(norikv_client *client, const cli_options *options,
						const char *name, int argc, char **argv);

/* ---- watch.c ---- */

extern cli_exit cli_watch(norikv_client *client, const cli_options *options, int argc,
						  char **argv);

/* ---- main.c ---- */

extern volatile bool cli_stopped;
/* Waits for one call; false: a signal came, and the call is still under way. */
extern bool cli_wait(norikv_client *client, norikv_call *call);

#endif
