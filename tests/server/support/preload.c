/*
 * preload.c - finds a shim beside the test program, and preloads it.
 */
#include "preload.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
preload_path(const char *name, char *path, size_t size)
{
	char		program[PATH_MAX] = "";

	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		abort();
	/* <build>/tests/server/<program> */
	if (snprintf(path, size, "%s/tools/shims/%s.so", dirname(dirname(program)), name) >=
		(int) size)
		abort();
}

void
preload_set(const char *name)
{
	char		path[PATH_MAX + 64];

	preload_path(name, path, sizeof(path));
	setenv("LD_PRELOAD", path, 1);
	/* The sanitizer's runtime need not be the first library. */
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 0);
}

void *
preload_require(const char *name, const char *symbol, char **argv)
{
	void	   *found = dlsym(RTLD_DEFAULT, symbol);

	if (found != NULL)
		return found;
	if (getenv("LD_PRELOAD") != NULL)
	{
		fprintf(stderr, "%s.so was preloaded and has no %s\n", name, symbol);
		exit(1);
	}
	preload_set(name);
	execv("/proc/self/exe", argv);
	perror("cannot run again with the shim");
	exit(1);
}
