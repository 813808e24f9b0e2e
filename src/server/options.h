/*
 * options.h - norikvd's command line.
 */
#ifndef NORIKVD_OPTIONS_H
#define NORIKVD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "engine.h"

typedef enum exit_code
{
	EXIT_WELL = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_IN_USE = 3,			/* another process has the data directory */
	EXIT_REFUSED = 4			/* a newer format, or a directory that was copied */
} exit_code;

#define OPTIONS_MAX_LISTEN 64

typedef struct options
{
	const char *listen[OPTIONS_MAX_LISTEN];
	size_t		n_listen;
	const char *also_listen[OPTIONS_MAX_LISTEN];	/* where they can be had */
	size_t		n_also_listen;
	const char *data_dir;
	const char *engine;
	bool		sync;
	uint64_t	max_memory;
	uint64_t	max_idempotency;
	bool		absent_not_found;
	const char *backup;			/* NULL: serve */
	bool		adopt;
	const char *owner;
	pid_t		parent;			/* 0: none */
	engine_log_level log_level;
	unsigned	threads;
	unsigned	stall_timeout;	/* seconds */
	bool		show_help;
	bool		show_version;
} options;

extern void options_init(options *opts);

/* False with a text for people in error where the command line is wrong. */
extern bool options_parse(options *opts, int argc, char **argv, char *error,
						  size_t error_size);

extern void options_help(FILE *out);

#endif
