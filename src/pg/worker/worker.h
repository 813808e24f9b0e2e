/*
 * worker.h - what the files of the background worker share, grouped by file.
 */
#ifndef NORIKV_WORKER_H
#define NORIKV_WORKER_H

#include "postgres.h"

#include "launcher.h"

/* ---- settings.c ---- */

extern bool norikv_embedded;
extern char *norikv_data_dir;

/* Relative to the data directory, unless norikv.data_dir is absolute. */
#define NORIKV_SOCKET_DIR "run"
#define NORIKV_SOCKET_NAME "norikvd.sock"

extern void NorikvDefineWorkerSettings(void);
extern char *NorikvSocketDirectory(void);
extern char *NorikvSocketPath(void);
/* The program to run: the setting, else norikvd beside postgres. */
extern char *NorikvdPath(void);
/* The command line that the settings ask for, ended by NULL; palloc'd. */
extern char **NorikvdArguments(void);

/* ---- embedded.c: what backends see of the server ---- */

typedef enum NorikvEmbeddedState
{
	NORIKV_EMBEDDED_STARTING,
	NORIKV_EMBEDDED_READY,
	NORIKV_EMBEDDED_FAILING, /* it ended, and is started again after a pause */
	NORIKV_EMBEDDED_IN_USE,	 /* another process has the store */
	NORIKV_EMBEDDED_REFUSED, /* copied, of a newer format, or somebody else's */
	NORIKV_EMBEDDED_STOPPED
} NorikvEmbeddedState;

extern void NorikvEmbeddedInit(void);
extern void NorikvSetEmbeddedState(NorikvEmbeddedState state);

/* ---- process.c: one run of norikvd ---- */

/* Its exit statuses, as its --help has them. */
#define NORIKVD_EXIT_IN_USE 3
#define NORIKVD_EXIT_REFUSED 4

#define NORIKVD_LINE_SIZE 4096

typedef struct NorikvdProcess
{
	pid_t pid;	/* 0: none runs */
	int output; /* its standard output and error, not blocking; -1: closed */
	char line[NORIKVD_LINE_SIZE];
	size_t line_length; /* bytes of a line whose end has not come yet */
} NorikvdProcess;

/* For each line it writes, without the newline. */
typedef void (*NorikvdLineHandler)(const char *line, void *arg);

extern bool NorikvdStart(NorikvdProcess *process, const char *path, char **arguments);
extern void NorikvdReadLines(NorikvdProcess *process, NorikvdLineHandler handler,
							 void *arg);
/* Has it ended? Then its last lines are read and *status is as of waitpid. */
extern bool NorikvdReap(NorikvdProcess *process, int *status, NorikvdLineHandler handler,
						void *arg);

#endif
