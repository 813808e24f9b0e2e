/*
 * process.c - one run of norikvd: fork, exec, its lines, its end.
 *
 * norikvd is a process of its own, with nothing of PostgreSQL's in it: no
 * descriptor, no shared memory, no signal mask. A crash in it is no crash of
 * PostgreSQL. It is in a session of its own as well, since the postmaster sends
 * SIGTERM and SIGQUIT to the process groups of its children, and norikvd must
 * outlive the backends that still want something of it.
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include "mb/pg_wchar.h"

#include "worker.h"

/* Only what is safe between fork and exec from here to execute(). */
static void
close_descriptors(int from)
{
	long limit;

#ifdef SYS_close_range
	if (syscall(SYS_close_range, from, ~0U, 0) == 0)
		return;
#endif
	limit = sysconf(_SC_OPEN_MAX);
	for (int fd = from; fd < (limit > 0 ? limit : 1024); fd++)
		close(fd);
}

static void
reset_signals(void)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		(void) signal(signo, SIG_DFL);
	sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
execute(const char *path, char **arguments, int output, pid_t parent)
{
	int null = open("/dev/null", O_RDONLY);

	setsid();
#ifdef __linux__
	/* Also where the launcher is killed, and so cannot stop it. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
#endif
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
		dup2(output, STDERR_FILENO) < 0)
		_exit(1);
	close_descriptors(STDERR_FILENO + 1);
	reset_signals();
	execv(path, arguments);
	dprintf(STDERR_FILENO, "error: could not execute \"%s\": %s\n", path,
			strerror(errno));
	_exit(1);
}

/* False, with the reason in the log, where no process could be made. */
bool
NorikvdStart(NorikvdProcess *process, const char *path, char **arguments)
{
	int ends[2];
	sigset_t all;
	sigset_t before;
	pid_t parent = getpid();
	int fork_error;

	process->pid = 0;
	process->output = -1;
	process->line_length = 0;
	if (pipe(ends) < 0)
	{
		ereport(LOG,
				(errmsg("could not create a pipe for the embedded NoriKV server: %m")));
		return false;
	}
	fflush(NULL);

	/* A handler of ours must not run in the child. */
	sigfillset(&all);
	(void) sigprocmask(SIG_SETMASK, &all, &before);
	process->pid = fork();
	fork_error = errno;
	if (process->pid == 0)
		execute(path, arguments, ends[1], parent);
	(void) sigprocmask(SIG_SETMASK, &before, NULL);

	close(ends[1]);
	if (process->pid < 0)
	{
		process->pid = 0;
		close(ends[0]);
		errno = fork_error;
		ereport(LOG, (errmsg("could not fork for the embedded NoriKV server: %m")));
		return false;
	}
	process->output = ends[0];
	if (fcntl(process->output, F_SETFL, O_NONBLOCK) < 0)
		elog(ERROR, "could not set a pipe to nonblocking: %m");
	return true;
}

/* Its log is PostgreSQL's log now, which holds text. */
static void
make_text(char *line)
{
	bool utf8 =
		pg_encoding_verifymbstr(PG_UTF8, line, strlen(line)) == (int) strlen(line);

	for (char *byte = line; *byte != '\0'; byte++)
	{
		if ((unsigned char) *byte < ' ')
			*byte = ' ';
		else if (IS_HIGHBIT_SET(*byte) && !utf8)
			*byte = '?';
	}
}

static void
finish_line(NorikvdProcess *process, NorikvdLineHandler handler, void *arg)
{
	process->line[process->line_length] = '\0';
	process->line_length = 0;
	make_text(process->line);
	if (process->line[0] != '\0')
		handler(process->line, arg);
}

static void
take_bytes(NorikvdProcess *process, const char *bytes, size_t size,
		   NorikvdLineHandler handler, void *arg)
{
	for (size_t i = 0; i < size; i++)
	{
		if (bytes[i] == '\n' || process->line_length == sizeof(process->line) - 1)
			finish_line(process, handler, arg);
		if (bytes[i] != '\n')
			process->line[process->line_length++] = bytes[i];
	}
}

/* What there is to read, up to a bound: a chatty server is not all there is. */
void
NorikvdReadLines(NorikvdProcess *process, NorikvdLineHandler handler, void *arg)
{
	char bytes[NORIKVD_LINE_SIZE];

	for (int reads = 0; reads < 16 && process->output >= 0; reads++)
	{
		ssize_t size = read(process->output, bytes, sizeof(bytes));

		if (size > 0)
			take_bytes(process, bytes, size, handler, arg);
		else if (size < 0 && errno == EINTR)
			continue;
		else if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		else
		{
			close(process->output);
			process->output = -1;
		}
	}
}

bool
NorikvdReap(NorikvdProcess *process, int *status, NorikvdLineHandler handler, void *arg)
{
	pid_t reaped = waitpid(process->pid, status, WNOHANG);

	if (reaped == 0 || (reaped < 0 && errno == EINTR))
		return false;
	if (reaped < 0)
		*status = 0;
	NorikvdReadLines(process, handler, arg);
	finish_line(process, handler, arg);
	if (process->output >= 0)
		close(process->output);
	process->output = -1;
	process->pid = 0;
	return true;
}
