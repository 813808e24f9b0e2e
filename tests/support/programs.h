/*
 * programs.h - for tests that need processes beside them: a directory that goes
 * away again, norikvd, and the tools of tests/tools.
 *
 * To be used from the main thread only: what is started here ends with the thread
 * that started it, so that a test that is killed leaves nothing behind.
 */
#ifndef TEST_PROGRAMS_H
#define TEST_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The directory of this build: $NORIKV_BUILD, or the one around the test. */
extern const char *build_dir(void);

/* A new directory under $TMPDIR; path takes its name. */
extern void work_dir_make(char *path, size_t size);
/* With all that is in it. */
extern void work_dir_remove(const char *path);

typedef struct program
{
	pid_t		pid;			/* 0: not running */
	int			output;			/* its standard output */
} program;

/*
 * Starts a program of this build, named by its path in the build directory, and
 * waits until it says "ready"; false, with its words on standard error, where it
 * does not within 20 seconds. The arguments end with NULL.
 */
extern bool program_start(program *running, const char *path,
						  const char *const *arguments);
/*
 * Sends the signal and waits for the end, which is made certain after 10 seconds.
 * Whether it ended as asked: by status 0, or by the very signal. What it
 * still said goes to said, where that is not NULL.
 */
extern bool program_stop(program *running, int signal_number, char *said, size_t size);

#endif
