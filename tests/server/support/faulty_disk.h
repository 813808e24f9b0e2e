/*
 * faulty_disk.h - for programs that test the rocksdb engine on a disk that fills up,
 * or fails. Include it once, after engine_fixture.h.
 */
#ifndef FAULTY_DISK_H
#define FAULTY_DISK_H

#include <stdlib.h>

#include "../../tools/shims/disk_faults.h"
#include "preload.h"

static const disk_faults *faults;

/* The fixture, open; faults are of its root alone. */
static int
setup(void **state)
{
	fixture    *fix = malloc(sizeof(*fix));

	fixture_init(fix, "rocksdb");
	fixture_open(fix);
	faults->set_directory(fix->root);
	*state = fix;
	return 0;
}

static int
teardown(void **state)
{
	faults->set_room(INT64_MAX);
	faults->fail_syncs(0);
	faults->set_directory(NULL);
	return fixture_teardown(state);
}

/* First of all in main(): returns only where the disk is the shim's. */
static void
require_disk_faults(char **argv)
{
	const disk_faults *(*get) (void);

	get = (const disk_faults *(*) (void)) preload_require("disk_faults",
														  DISK_FAULTS_SYMBOL, argv);
	faults = get();
}

#endif
