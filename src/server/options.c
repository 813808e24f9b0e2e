/*
 * options.c - one table of options: parsing and --help both read it.
 */
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define MEBIBYTE ((uint64_t) 1024 * 1024)
#define MIN_MEMORY (16 * MEBIBYTE)
#define DEFAULT_MEMORY (256 * MEBIBYTE)
#define DEFAULT_IDEMPOTENCY 1000000
#define DEFAULT_STALL_TIMEOUT 60
#define MAX_THREADS 64

/* False where the value cannot be; expected then says what could. */
typedef bool (*option_setter) (options *opts, const char *value);

typedef struct option_entry
{
	const char *name;
	const char *argument;		/* NULL: takes none */
	option_setter set;
	const char *expected;
	const char *help;
} option_entry;

static bool
parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
	char	   *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*number = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0' && *number >= min && *number <= max;
}

static bool
parse_size(const char *text, uint64_t *size)
{
	char	   *end;
	unsigned	shift = 0;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*size = strtoull(text, &end, 10);
	if (errno != 0)
		return false;
	if (*end != '\0')
	{
		const char *suffixes = "kmg";
		const char *suffix = strchr(suffixes, *end | 0x20);

		if (suffix == NULL || end[1] != '\0')
			return false;
		shift = 10 * (unsigned) (suffix - suffixes + 1);
	}
	if (*size > UINT64_MAX >> shift)
		return false;
	*size <<= shift;
	return true;
}

static bool
set_also_listen(options *opts, const char *value)
{
	if (*value == '\0' || opts->n_also_listen == OPTIONS_MAX_LISTEN)
		return false;
	opts->also_listen[opts->n_also_listen++] = value;
	return true;
}

static bool
set_listen(options *opts, const char *value)
{
	if (*value == '\0' || opts->n_listen == OPTIONS_MAX_LISTEN)
		return false;
	opts->listen[opts->n_listen++] = value;
	return true;
}

static bool
set_data_dir(options *opts, const char *value)
{
	opts->data_dir = value;
	return *value != '\0';
}

static bool
set_engine(options *opts, const char *value)
{
	opts->engine = value;
	return strcmp(value, "rocksdb") == 0 || strcmp(value, "memory") == 0;
}

static bool
set_sync(options *opts, const char *value)
{
	opts->sync = strcmp(value, "on") == 0;
	return opts->sync || strcmp(value, "off") == 0;
}

static bool
set_max_memory(options *opts, const char *value)
{
	return parse_size(value, &opts->max_memory) && opts->max_memory >= MIN_MEMORY;
}

static bool
set_max_idempotency(options *opts, const char *value)
{
	return parse_number(value, 0, UINT32_MAX, &opts->max_idempotency);
}

static bool
set_absent(options *opts, const char *value)
{
	opts->absent_not_found = strcmp(value, "not-found") == 0;
	return opts->absent_not_found || strcmp(value, "empty") == 0;
}

static bool
set_backup(options *opts, const char *value)
{
	opts->backup = value;
	return *value != '\0';
}

static bool
set_adopt(options *opts, const char *value)
{
	(void) value;
	opts->adopt = true;
	return true;
}

static bool
set_owner(options *opts, const char *value)
{
	opts->owner = value;
	return *value != '\0';
}

static bool
set_parent(options *opts, const char *value)
{
	uint64_t	pid;

	if (!parse_number(value, 1, INT_MAX, &pid))
		return false;
	opts->parent = (pid_t) pid;
	return true;
}

static bool
set_threads(options *opts, const char *value)
{
	uint64_t	threads;

	if (!parse_number(value, 1, MAX_THREADS, &threads))
		return false;
	opts->threads = (unsigned) threads;
	return true;
}

static bool
set_stall_timeout(options *opts, const char *value)
{
	uint64_t	seconds;

	if (!parse_number(value, 1, 86400, &seconds))
		return false;
	opts->stall_timeout = (unsigned) seconds;
	return true;
}

static bool
set_log_level(options *opts, const char *value)
{
	return log_level_parse(value, &opts->log_level);
}

static bool
set_version(options *opts, const char *value)
{
	(void) value;
	opts->show_version = true;
	return true;
}

static bool
set_help(options *opts, const char *value)
{
	(void) value;
	opts->show_help = true;
	return true;
}

static const option_entry option_table[] = {
	{"listen", "ADDRESS", set_listen, "host:port, [v6]:port or unix:path",
		"where to listen, may be repeated: host:port, [v6]:port\n"
		"(port 0: any free one), unix:/path or unix:relative/path.\n"
	"Default: 127.0.0.1:7447"},
	{"also-listen", "ADDRESS", set_also_listen, "host:port, [v6]:port or unix:path",
		"the same, but where it cannot be had norikvd serves without\n"
	"it, says so, and tries again every 2 s"},
	{"data-dir", "DIR", set_data_dir, "a directory",
	"where the store lives; made if it does not exist"},
	{"engine", "NAME", set_engine, "rocksdb or memory",
		"rocksdb (default) or memory, which keeps nothing and is\n"
	"for tests"},
	{"sync", "on|off", set_sync, "on or off",
		"on (default): a write is answered when it is on disk.\n"
	"off: a crash of the machine can lose acknowledged writes"},
	{"max-memory", "SIZE", set_max_memory, "a size of at least 16m, such as 256m or 1g",
		"bytes (suffixes k, m, g) for caches and write buffers;\n"
		"beside it, vector indexes may take as much, staged Commits\n"
	"half as much, other messages in flight as much. Default: 256m"},
	{"max-idempotency", "N", set_max_idempotency, "a number of records",
		"idempotency keys remembered at most; more are refused\n"
	"with RESOURCE_EXHAUSTED. Default: 1000000"},
	{"absent", "empty|not-found", set_absent, "empty or not-found",
		"what Get answers for an absent key: OK with an empty value\n"
	"and no version (empty, default), or NOT_FOUND"},
	{"backup", "DIR", set_backup, "a directory that does not exist",
	"copy the store, which must not be in use, to DIR and exit"},
	{"adopt", NULL, set_adopt, NULL,
		"take over a data directory that was copied or restored,\n"
	"and exit; its versions go on above every one it can have\n"
	"given out"},
	{"owner", "TEXT", set_owner, "a text",
		"what the data directory belongs to; refused where the\n"
	"store recorded another owner"},
	{"parent", "PID", set_parent, "a process id",
	"end when this process, which must be the parent, is gone"},
	{"threads", "N", set_threads, "1 to 64",
	"threads that serve. Default: half as many as processors, 1 to 4"},
	{"stall-timeout", "SECONDS", set_stall_timeout, "1 to 86400 seconds",
		"drop a call whose client takes nothing of the answer, or\n"
	"sends nothing more of a Commit, for so long. Default: 60"},
	{"log-level", "LEVEL", set_log_level, "error, warning, info or debug",
		"error, warning, info (default) or debug; keys appear in\n"
	"the log at debug only"},
	{"version", NULL, set_version, NULL, "print the version and exit"},
	{"help", NULL, set_help, NULL, "print this and exit"},
};

#define N_OPTIONS (sizeof(option_table) / sizeof(option_table[0]))

/*
 * One for two processors, the others being the clients' and the committer's:
 * more threads wake each other up for every event and serve less.
 */
static unsigned
default_threads(void)
{
	long		threads = sysconf(_SC_NPROCESSORS_ONLN) / 2;

	return threads < 1 ? 1 : threads > 4 ? 4 : (unsigned) threads;
}

void
options_init(options *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->engine = "rocksdb";
	opts->sync = true;
	opts->max_memory = DEFAULT_MEMORY;
	opts->max_idempotency = DEFAULT_IDEMPOTENCY;
	opts->log_level = ENGINE_LOG_INFO;
	opts->threads = default_threads();
	opts->stall_timeout = DEFAULT_STALL_TIMEOUT;
}

static const option_entry *
find_option(const char *name, size_t length)
{
	for (size_t i = 0; i < N_OPTIONS; i++)
	{
		if (strlen(option_table[i].name) == length &&
			memcmp(option_table[i].name, name, length) == 0)
			return &option_table[i];
	}
	return NULL;
}

/* Takes --name, --name=value or --name value; *at is moved past what was used. */
static bool
parse_option(options *opts, int argc, char **argv, int *at, char *error,
			 size_t error_size)
{
	const char *word = argv[(*at)++];
	const char *equals = strchr(word, '=');
	const char *value = equals != NULL ? equals + 1 : NULL;
	size_t		length = equals != NULL ? (size_t) (equals - word) : strlen(word);
	const option_entry *entry = NULL;

	if (length > 2 && word[0] == '-' && word[1] == '-')
		entry = find_option(word + 2, length - 2);
	if (entry == NULL)
	{
		snprintf(error, error_size, "there is no option \"%s\"", word);
		return false;
	}
	if (entry->argument == NULL && value != NULL)
	{
		snprintf(error, error_size, "--%s takes no value", entry->name);
		return false;
	}
	if (entry->argument != NULL && value == NULL)
	{
		if (*at == argc)
		{
			snprintf(error, error_size, "--%s needs a value: %s", entry->name,
					 entry->expected);
			return false;
		}
		value = argv[(*at)++];
	}
	if (!entry->set(opts, value))
	{
		snprintf(error, error_size, "--%s is \"%s\", and must be %s", entry->name,
				 value, entry->expected);
		return false;
	}
	return true;
}

static const char *
find_contradiction(const options *opts)
{
	bool		memory = strcmp(opts->engine, "memory") == 0;
	bool		listens = opts->n_listen > 0 || opts->n_also_listen > 0;

	if (memory && opts->data_dir != NULL)
		return "--engine memory keeps nothing in a --data-dir: leave one of them out";
	if (!memory && opts->data_dir == NULL)
		return "--data-dir is needed";
	if (opts->backup != NULL && opts->adopt)
		return "--backup and --adopt exclude each other";
	if (opts->backup != NULL && (memory || listens))
		return "--backup copies a --data-dir and exits: "
			"it goes with neither --listen nor --engine memory";
	if (opts->adopt && (memory || listens))
		return "--adopt takes over a --data-dir and exits: "
			"it goes with neither --listen nor --engine memory";
	return NULL;
}

bool
options_parse(options *opts, int argc, char **argv, char *error, size_t error_size)
{
	const char *contradiction;
	int			at = 1;

	while (at < argc)
	{
		if (!parse_option(opts, argc, argv, &at, error, error_size))
			return false;
		if (opts->show_help || opts->show_version)
			return true;
	}
	contradiction = find_contradiction(opts);
	if (contradiction != NULL)
	{
		snprintf(error, error_size, "%s", contradiction);
		return false;
	}
	if (opts->n_listen == 0 && opts->backup == NULL && !opts->adopt)
		opts->listen[opts->n_listen++] = "127.0.0.1:7447";
	return true;
}

static void
print_option(FILE *out, const option_entry *entry)
{
	const char *line = entry->help;
	char		heading[64];

	snprintf(heading, sizeof(heading), "--%s%s%s", entry->name,
			 entry->argument != NULL ? " " : "",
			 entry->argument != NULL ? entry->argument : "");
	fprintf(out, "  %-25s", heading);
	while (line != NULL)
	{
		const char *end = strchr(line, '\n');

		fprintf(out, " %.*s\n", end != NULL ? (int) (end - line) : INT_MAX, line);
		line = end != NULL ? end + 1 : NULL;
		if (line != NULL)
			fprintf(out, "  %-25s", "");
	}
}

void
options_help(FILE *out)
{
	fputs("norikvd, a NoriKV key-value server.\n\n"
		  "Usage: norikvd --data-dir DIR [OPTION]...\n\n", out);
	for (size_t i = 0; i < N_OPTIONS; i++)
		print_option(out, &option_table[i]);
	fputs("\nOnce it serves it prints one line on standard output, \"ready\" and the\n"
		  "addresses it listens on. Log lines go to standard error, \"level: text\".\n"
		  "SIGTERM and SIGINT end it within 5 seconds, after what is under way; a\n"
		  "second one ends it at once.\n\n"
		  "Exit status: 0 ended as asked, 1 an error, 2 a wrong command line, 3 the\n"
		  "data directory is in use by another process, 4 the data directory is\n"
		  "refused (a newer format, copied, or of another owner: see --adopt).\n", out);
}
