/*
 * options.c - norikv's command line, taken apart.
 */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help_text[] =
"norikv - reads and writes the keys of a NoriKV server\n"
"\n"
"Usage: norikv [OPTION]... COMMAND\n"
"\n"
"Commands:\n"
"  get KEY            print the value, as it is\n"
"  put KEY [VALUE]    write; without VALUE, or with -, it is read from standard input\n"
"  delete KEY         delete\n"
"  scan [PREFIX]      print key, tab, value of every key, in byte order\n"
"  ping               one round trip and how long it took\n"
"  info               what the server is and can do\n"
"  watch KEY          print the value, and again whenever it has changed\n"
"  watch --prefix P   print each change of a key that begins with P: what, key, version\n"
"\n"
"Options:\n"
"  -n, --nodes LIST           host:port, [v6]:port or unix:/path, several with commas\n"
"                             (default: $NORIKV_NODES, or localhost:7447)\n"
"  -t, --timeout TIME         of the whole command, or of a page of a scan (5s)\n"
"  -c, --consistency LEVEL    strong, eventual or bounded_staleness\n"
"  -x, --hex                  keys are given and printed as hexadecimal digits\n"
"  -0, --null                 fields and records end with a zero byte, unescaped\n"
"      --ttl TIME             put: the key expires then\n"
"      --if-absent            put: only if there is no such key\n"
"      --if-version T/I       put, delete: only if the key has this version\n"
"      --idempotency-key KEY  put, delete: a repeat with this key does nothing again\n"
"      --start KEY            scan: from this key on\n"
"      --end KEY              scan: up to but without this key\n"
"      --limit N              scan: so many keys at most\n"
"      --reverse              scan: from the last key to the first\n"
"      --keys-only            scan: without values\n"
"      --count                scan: only how many keys there are\n"
"      --prefix PREFIX        watch: all keys that begin with it; empty: all\n"
"      --interval TIME        watch: how often it looks where the server does not tell (1s)\n"
"      --changes N            watch: ends after so many values, or changes\n"
"  -h, --help                 this text\n"
"  -V, --version              the version\n"
"\n"
"TIME is a number with ms, s, min, h or d; without a unit, seconds.\n"
"Scanned keys and values have \\t, \\n, \\r, \\\\ and other control bytes escaped.\n"
"\n"
"$NORIKV_TOKEN is sent as bearer token where it is set.\n"
"\n"
"Exit codes: 0 done, 1 no such key or condition not met, 2 usage, 3 failed,\n"
"4 a write was sent and it is not known whether it took effect.\n";

static void
help(void)
{
	fputs(help_text, stdout);
}

/* A duration such as 500ms, 2s, 5min, 1h; a bare number is seconds. */
static bool
parse_duration(const char *text, uint64_t *ms)
{
	static const struct
	{
		const char *name;
		uint64_t	ms;
	}			units[] = {
		{"ms", 1}, {"s", 1000}, {"", 1000}, {"min", 60000}, {"h", 3600000},
		{"d", 86400000},
	};
	char	   *unit;
	unsigned long long number;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	number = strtoull(text, &unit, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && errno == 0; i++)
	{
		if (strcmp(units[i].name, unit) == 0)
			return !__builtin_mul_overflow(number, units[i].ms, ms);
	}
	return false;
}

static bool
parse_number(const char *text, uint64_t *number)
{
	char	   *end;

	errno = 0;
	*number = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static bool
parse_version(const char *text, norikv_version *version)
{
	const char *slash = strchr(text, '/');
	char		term[24];

	if (slash == NULL || slash - text >= (ptrdiff_t) sizeof(term))
		return false;
	memcpy(term, text, slash - text);
	term[slash - text] = '\0';
	return parse_number(term, &version->term) &&
		parse_number(slash + 1, &version->index) && version->index != 0;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
cli_parse_key(const cli_options *options, const char *text, norikv_slice *key)
{
	size_t		size = strlen(text);
	char	   *bytes = malloc(size + 1);

	if (bytes == NULL)
	{
		fprintf(stderr, "norikv: out of memory\n");
		return false;
	}
	*key = (norikv_slice) {bytes, size};
	if (!options->hex)
	{
		memcpy(bytes, text, size);
		return true;
	}
	key->size = size / 2;
	for (size_t i = 0; i < size; i++)
	{
		int			digit = hex_digit(text[i]);

		if (digit < 0 || size % 2 != 0)
		{
			fprintf(stderr, "norikv: with --hex, \"%s\" is no key: it needs an even "
					"number of hexadecimal digits\n", text);
			free(bytes);
			return false;
		}
		bytes[i / 2] = (char) (i % 2 == 0 ? digit << 4 : bytes[i / 2] | digit);
	}
	return true;
}

enum
{
	OPTION_TTL = 256, OPTION_IF_ABSENT, OPTION_IF_VERSION, OPTION_IDEMPOTENCY_KEY,
	OPTION_START, OPTION_END, OPTION_LIMIT, OPTION_REVERSE, OPTION_KEYS_ONLY,
	OPTION_COUNT, OPTION_PREFIX, OPTION_INTERVAL, OPTION_CHANGES
};

static const struct option long_options[] = {
	{"nodes", required_argument, NULL, 'n'},
	{"timeout", required_argument, NULL, 't'},
	{"consistency", required_argument, NULL, 'c'},
	{"hex", no_argument, NULL, 'x'},
	{"null", no_argument, NULL, '0'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{"ttl", required_argument, NULL, OPTION_TTL},
	{"if-absent", no_argument, NULL, OPTION_IF_ABSENT},
	{"if-version", required_argument, NULL, OPTION_IF_VERSION},
	{"idempotency-key", required_argument, NULL, OPTION_IDEMPOTENCY_KEY},
	{"start", required_argument, NULL, OPTION_START},
	{"end", required_argument, NULL, OPTION_END},
	{"limit", required_argument, NULL, OPTION_LIMIT},
	{"reverse", no_argument, NULL, OPTION_REVERSE},
	{"keys-only", no_argument, NULL, OPTION_KEYS_ONLY},
	{"count", no_argument, NULL, OPTION_COUNT},
	{"prefix", required_argument, NULL, OPTION_PREFIX},
	{"interval", required_argument, NULL, OPTION_INTERVAL},
	{"changes", required_argument, NULL, OPTION_CHANGES},
	{NULL, 0, NULL, 0}
};

/* What the option says into options; false: its value is not one. */
static bool
apply(int option, const char *value, cli_options *options)
{
	uint64_t	number;

	switch (option)
	{
		case 'n':
			options->nodes = value;
			return true;
		case 't':
			if (!parse_duration(value, &number) || number == 0 || number > UINT32_MAX)
				return false;
			options->timeout_ms = (uint32_t) number;
			return true;
		case 'c':
			options->consistency = value;
			return true;
		case 'x':
			options->hex = true;
			return true;
		case '0':
			options->null = true;
			return true;
		case OPTION_TTL:
			return parse_duration(value, &options->ttl_ms) && options->ttl_ms > 0;
		case OPTION_IF_ABSENT:
			options->if_absent = true;
			return true;
		case OPTION_IF_VERSION:
			options->has_version = true;
			return parse_version(value, &options->version);
		case OPTION_IDEMPOTENCY_KEY:
			options->idempotency_key = value;
			return true;
		case OPTION_START:
			options->start = value;
			return true;
		case OPTION_END:
			options->end = value;
			return true;
		case OPTION_LIMIT:
			return parse_number(value, &options->limit) && options->limit > 0;
		case OPTION_REVERSE:
			options->reverse = true;
			return true;
		case OPTION_KEYS_ONLY:
			options->keys_only = true;
			return true;
		case OPTION_COUNT:
			options->count = true;
			return true;
		case OPTION_PREFIX:
			options->prefix = value;
			return true;
		case OPTION_INTERVAL:
			return parse_duration(value, &options->interval_ms) &&
				options->interval_ms > 0 && options->interval_ms <= INT32_MAX;
		case OPTION_CHANGES:
			return parse_number(value, &options->changes) && options->changes > 0;
		default:
			return false;
	}
}

int
cli_parse(int argc, char **argv, cli_options *options)
{
	int			option;
	int			index = 0;

	memset(options, 0, sizeof(*options));
	options->nodes = getenv("NORIKV_NODES");
	if (options->nodes == NULL || options->nodes[0] == '\0')
		options->nodes = "localhost:7447";
	options->timeout_ms = 5000;
	options->interval_ms = 1000;
	while ((option = getopt_long(argc, argv, "n:t:c:x0hV", long_options, &index)) != -1)
	{
		if (option == '?')
			return -1;
		if (option == 'h')
		{
			help();
			exit(CLI_OK);
		}
		if (option == 'V')
		{
			puts("norikv " NORIKV_VERSION_STRING);
			exit(CLI_OK);
		}
		if (!apply(option, optarg, options))
		{
			fprintf(stderr, "norikv: \"%s\" is no value for this option; see "
					"norikv --help\n", optarg);
			return -1;
		}
	}
	if (options->if_absent && options->has_version)
	{
		fputs("norikv: --if-absent and --if-version exclude each other\n", stderr);
		return -1;
	}
	return optind;
}
