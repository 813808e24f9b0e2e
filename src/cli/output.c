/*
 * output.c - how norikv prints keys, values and errors.
 */
#include "cli.h"

#include <stdio.h>

void
cli_print_field(const cli_options *options, norikv_slice bytes)
{
	const unsigned char *at = bytes.data;

	if (options->null)
	{
		fwrite(bytes.data, 1, bytes.size, stdout);
		return;
	}
	for (const unsigned char *end = at + bytes.size; at < end; at++)
	{
		if (*at == '\t')
			fputs("\\t", stdout);
		else if (*at == '\n')
			fputs("\\n", stdout);
		else if (*at == '\r')
			fputs("\\r", stdout);
		else if (*at == '\\')
			fputs("\\\\", stdout);
		else if (*at < 0x20 || *at == 0x7f)
			printf("\\x%02x", *at);
		else
			putchar(*at);
	}
}

void
cli_print_key(const cli_options *options, norikv_slice key)
{
	const unsigned char *at = key.data;

	if (!options->hex)
	{
		cli_print_field(options, key);
		return;
	}
	for (size_t i = 0; i < key.size; i++)
		printf("%02x", at[i]);
}

void
cli_end_field(const cli_options *options)
{
	putchar(options->null ? '\0' : '\t');
}

void
cli_end_record(const cli_options *options)
{
	putchar(options->null ? '\0' : '\n');
}

cli_exit
cli_fail(const norikv_error *error)
{
	fprintf(stderr, "norikv: %s\n", error->text);
	if (error->outcome_unknown)
	{
		fputs("norikv: the write was sent, and it is not known whether it took effect\n",
			  stderr);
		return CLI_UNKNOWN;
	}
	if (error->version_mismatch)
		return CLI_NO;
	return error->code == NORIKV_INVALID_ARGUMENT ? CLI_USAGE : CLI_FAILED;
}
