/*
 * norikvd.c - starts, reads and ends one norikvd.
 */
#include "norikvd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGUMENTS 64

unsigned	norikvd_max_files;

static void
become_norikvd(const char *path, const char *const *arguments, int output, int errors)
{
	const char *argv[MAX_ARGUMENTS] = {path};
	sigset_t	none;
	struct rlimit files = {norikvd_max_files, norikvd_max_files};

	for (size_t n = 1; *arguments != NULL && n < MAX_ARGUMENTS - 1; n++)
		argv[n] = *arguments++;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (norikvd_max_files != 0)
		setrlimit(RLIMIT_NOFILE, &files);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(output, STDOUT_FILENO);
	dup2(errors, STDERR_FILENO);
	execv(path, (char *const *) argv);
	_exit(126);
}

/* The first line that the program says; false where it ends before. */
static bool
read_line(int fd, char *line, size_t size)
{
	struct pollfd polled = {fd, POLLIN};
	size_t		used = 0;

	while (used < size - 1 && poll(&polled, 1, NORIKVD_PATIENCE_MS) > 0)
	{
		if (read(fd, line + used, 1) != 1)
			break;
		if (line[used] == '\n')
		{
			line[used] = '\0';
			return true;
		}
		used++;
	}
	line[0] = '\0';
	return false;
}

bool
norikvd_start(norikvd *self, const char *errors, const char *const *arguments)
{
	char		path[PATH_MAX];
	int			ends[2];
	int			flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
	int			errors_fd = open(errors, flags, 0600);
	bool		ready;

	snprintf(path, sizeof(path), "%s/norikvd", build_dir());
	snprintf(self->errors, sizeof(self->errors), "%s", errors);
	if (pipe2(ends, O_CLOEXEC) != 0)
		abort();
	self->pid = fork();
	if (self->pid == 0)
		become_norikvd(path, arguments, ends[1], errors_fd);
	close(ends[1]);
	close(errors_fd);
	ready = read_line(ends[0], self->ready, sizeof(self->ready)) &&
		strncmp(self->ready, "ready ", 6) == 0;
	close(ends[0]);
	return ready;
}

int
norikvd_wait(norikvd *self)
{
	int			status = 0;
	struct timespec a_little = {0, 2000000};

	if (self->pid == 0)
		return -1;
	for (int waited = 0; waitpid(self->pid, &status, WNOHANG) == 0; waited += 2)
	{
		if (waited >= NORIKVD_PATIENCE_MS)
		{
			fprintf(stderr, "norikvd does not end\n");
			kill(self->pid, SIGKILL);
			waitpid(self->pid, &status, 0);
			break;
		}
		nanosleep(&a_little, NULL);
	}
	self->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
norikvd_stop(norikvd *self, int signal_number)
{
	if (self->pid != 0)
		kill(self->pid, signal_number);
	return norikvd_wait(self);
}

int
norikvd_end(norikvd *self)
{
	int			status = self->pid != 0 ? norikvd_stop(self, SIGTERM) : 0;

	if (status != EXIT_FAILURE || norikvd_said(self, "Sanitizer") ||
		norikvd_said(self, "runtime error"))
		return status;
	fprintf(stderr, "norikvd was late to end\n");
	return 0;
}

bool
norikvd_said(const norikvd *self, const char *text)
{
	static char log[256 * 1024];
	FILE	   *file = fopen(self->errors, "r");
	size_t		size;

	if (file == NULL)
		return false;
	size = fread(log, 1, sizeof(log) - 1, file);
	fclose(file);
	log[size] = '\0';
	return strstr(log, text) != NULL;
}

bool
norikvd_start_memory(norikvd *self, const char *directory, const char *const *more)
{
	const char *arguments[MAX_ARGUMENTS] = {"--engine", "memory", "--listen"};
	char		address[PATH_MAX];
	char		errors[PATH_MAX];
	size_t		n = 4;

	snprintf(address, sizeof(address), "unix:%s/socket", directory);
	snprintf(errors, sizeof(errors), "%s/log", directory);
	arguments[3] = address;
	while (more != NULL && *more != NULL && n < MAX_ARGUMENTS - 1)
		arguments[n++] = *more++;
	return norikvd_start(self, errors, arguments);
}
