/*
 * programs.c - processes beside a test, and their directory.
 */
#include "programs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_TIMEOUT_MS 20000
#define STOP_TIMEOUT_MS 10000
#define MAX_ARGUMENTS 64

extern char **environ;

const char *
build_dir(void)
{
	static char path[PATH_MAX];
	const char *given = getenv("NORIKV_BUILD");
	ssize_t		size;

	if (given != NULL)
		return given;
	size = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[size > 0 ? size : 0] = '\0';
	/* tests, what is tested, and the program */
	for (int i = 0; i < 3; i++)
	{
		char	   *slash = strrchr(path, '/');

		if (slash != NULL)
			*slash = '\0';
	}
	return path;
}

void
work_dir_make(char *path, size_t size)
{
	const char *base = getenv("TMPDIR");

	snprintf(path, size, "%s/norikv-test.XXXXXX", base != NULL ? base : "/tmp");
	if (mkdtemp(path) == NULL)
	{
		fprintf(stderr, "cannot make %s: %s\n", path, strerror(errno));
		exit(1);
	}
}

static int
remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void) status;
	(void) type;
	(void) walk;
	return remove(path);
}

void
work_dir_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* setpriv becomes the program and asks the kernel to end it with this test. */
static bool
spawn(program *started, const char *path, const char *const *arguments)
{
	const char *argv[MAX_ARGUMENTS] = {"setpriv", "--pdeathsig", "KILL", "--", path};
	posix_spawn_file_actions_t actions;
	int			ends[2];
	int			error;
	size_t		n = 5;

	while (*arguments != NULL && n < MAX_ARGUMENTS - 1)
		argv[n++] = *arguments++;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	error = posix_spawnp(&started->pid, "setpriv", &actions, NULL, (char *const *) argv,
						 environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	started->output = ends[0];
	if (error != 0)
	{
		close(ends[0]);
		started->pid = 0;
	}
	return error == 0;
}

/* Whether the text appears in what the program says, in time. */
static bool
says(program *running, const char *expected, int timeout_ms)
{
	char		said[4096] = "";
	size_t		size = 0;
	struct pollfd polled = {running->output, POLLIN};

	while (size < sizeof(said) - 1 && poll(&polled, 1, timeout_ms) > 0)
	{
		ssize_t		got = read(running->output, said + size, sizeof(said) - 1 - size);

		if (got <= 0)
			break;
		size += got;
		said[size] = '\0';
		if (strstr(said, expected) != NULL)
			return true;
	}
	fprintf(stderr, "it did not say \"%s\", but: %s\n", expected, said);
	return false;
}

bool
program_start(program *running, const char *path, const char *const *arguments)
{
	char		full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", build_dir(), path);
	if (!spawn(running, full, arguments))
	{
		fprintf(stderr, "cannot start %s\n", full);
		return false;
	}
	if (says(running, "ready", READY_TIMEOUT_MS))
		return true;
	fprintf(stderr, "%s did not start\n", full);
	program_stop(running, SIGKILL, NULL, 0);
	return false;
}

static int
wait_for_end(pid_t pid)
{
	int			status = 0;

	for (int waited = 0; waitpid(pid, &status, WNOHANG) == 0; waited += 5)
	{
		if (waited >= STOP_TIMEOUT_MS)
		{
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
		usleep(5000);
	}
	return status;
}

bool
program_stop(program *running, int signal_number, char *said, size_t size)
{
	int			status;
	ssize_t		got;

	if (running->pid == 0)
		return true;
	kill(running->pid, signal_number);
	status = wait_for_end(running->pid);
	running->pid = 0;
	if (said != NULL)
	{
		size_t		used = 0;

		while (used < size - 1 &&
			   (got = read(running->output, said + used, size - 1 - used)) > 0)
			used += got;
		said[used] = '\0';
	}
	close(running->output);
	return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
		(WIFSIGNALED(status) && WTERMSIG(status) == signal_number);
}
