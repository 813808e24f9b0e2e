/*
 * norikvd.h - a norikvd beside a test of the server: its arguments, what it says,
 * and how it ends. It never outlives the test.
 */
#ifndef TEST_NORIKVD_H
#define TEST_NORIKVD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "programs.h"

/* As program_stop() would wait, and far longer than anything should take. */
#define NORIKVD_PATIENCE_MS 20000

typedef struct norikvd
{
	pid_t		pid;			/* 0: not running */
	char		errors[320];	/* the file that has its log */
	char		ready[1024];	/* the line it said, empty: none */
} norikvd;

/* Open files that the next norikvd may have; 0: as many as we may. */
extern unsigned norikvd_max_files;

/*
 * Runs norikvd with these arguments, which end with NULL, and its log in this
 * file; waits for its ready line. False where it ended instead.
 */
extern bool norikvd_start(norikvd *self, const char *errors,
						  const char *const *arguments);

/* Its exit status; 128 and the signal's number where one ended it. */
extern int	norikvd_wait(norikvd *self);
extern int	norikvd_stop(norikvd *self, int signal_number);
/*
 * For tear-downs: 0 unless it crashed, also where it was stopped before. On a busy
 * machine it may be late and give up what is under way, which is a matter of the tests
 * that stop it on purpose.
 */
extern int	norikvd_end(norikvd *self);

/* Whether the log has this text. */
extern bool norikvd_said(const norikvd *self, const char *text);

/* A memory engine's norikvd on directory/socket; more arguments end with NULL. */
extern bool norikvd_start_memory(norikvd *self, const char *directory,
								 const char *const *more);

#endif
