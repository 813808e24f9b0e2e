/*
 * preload.h - runs a test program again with one of the shims preloaded.
 */
#ifndef PRELOAD_H
#define PRELOAD_H

#include <stddef.h>

/* The shim's path: tests/tools/shims/<name>.so of the same build. */
extern void preload_path(const char *name, char *path, size_t size);
/* Sets LD_PRELOAD for what this process will exec. */
extern void preload_set(const char *name);
/* Returns only in a process that has the shim; the address of the symbol. */
extern void *preload_require(const char *name, const char *symbol, char **argv);

#endif
