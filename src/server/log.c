/*
 * log.c - one line for each event, written by one write(2), so that lines of
 * several threads never mix and whoever reads the pipe sees whole ones.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <grpc/support/log.h>

#define LINE_SIZE 2048

static const char *const level_names[] = {
	[ENGINE_LOG_ERROR] = "error",
	[ENGINE_LOG_WARNING] = "warning",
	[ENGINE_LOG_INFO] = "info",
	[ENGINE_LOG_DEBUG] = "debug",
};

static engine_log_level threshold = ENGINE_LOG_INFO;

void
log_set_level(engine_log_level level)
{
	threshold = level;
}

bool
log_level_parse(const char *name, engine_log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
	{
		if (strcmp(name, level_names[i]) == 0)
		{
			*level = (engine_log_level) i;
			return true;
		}
	}
	return false;
}

/* What came from elsewhere must not forge lines or drive a terminal. */
static void
replace_control_characters(char *text)
{
	for (; *text != '\0'; text++)
	{
		if ((unsigned char) *text < ' ' || *text == 0x7f)
			*text = ' ';
	}
}

void
log_line(engine_log_level level, const char *format, ...)
{
	char		line[LINE_SIZE];
	size_t		length;
	va_list		arguments;
	ssize_t		written;

	if (level > threshold)
		return;
	length = (size_t) snprintf(line, sizeof(line), "%s: ", level_names[level]);
	va_start(arguments, format);
	vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
	va_end(arguments);
	replace_control_characters(line);
	length = strlen(line);
	line[length++] = '\n';
	written = write(STDERR_FILENO, line, length);
	(void) written;				/* nobody left to tell */
}

/*
 * What gRPC calls an error is what a peer does wrong, and it repeats what the peer
 * sent, credentials perhaps included.
 */
static void
grpc_message(gpr_log_func_args *message)
{
	log_line(ENGINE_LOG_DEBUG, "gRPC: %s", message->message);
}

void
log_take_over_grpc(void)
{
	gpr_set_log_function(grpc_message);
}
