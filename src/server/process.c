/*
 * process.c - signals are waited for by one thread, and interrupt none.
 */
#include "process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static sigset_t awaited;
static pid_t followed;			/* 0: none */
static volatile sig_atomic_t status_when_late;

/* A connection is a descriptor, and so is a file of the store. */
static void
allow_many_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

void
process_init(void)
{
	allow_many_descriptors();
	close_range(STDERR_FILENO + 1, ~0U, 0);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGTERM);
	sigaddset(&awaited, SIGINT);
	sigaddset(&awaited, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &awaited, NULL);
}

bool
process_follow(pid_t parent)
{
	/*
	 * SIGHUP, not SIGTERM: a parent that sends SIGTERM and exits must not be
	 * taken for one that sends it twice.
	 */
	prctl(PR_SET_PDEATHSIG, SIGHUP);
	followed = parent;
	return getppid() == parent;
}

bool
process_wait(unsigned milliseconds, const char **reason)
{
	struct timespec timeout = {milliseconds / 1000, (milliseconds % 1000) * 1000000L};
	int			signal_number = sigtimedwait(&awaited, NULL, &timeout);

	if (followed != 0 && getppid() != followed)
		*reason = "the parent process is gone";
	else if (signal_number == SIGTERM)
		*reason = "received SIGTERM";
	else if (signal_number == SIGINT)
		*reason = "received SIGINT";
	else if (signal_number == SIGHUP)
		*reason = "received SIGHUP";
	else
		return false;
	return true;
}

void
process_end_on_signal(void)
{
	sigset_t	ending;

	/* SIGHUP may still come, from the parent's end, and says nothing new. */
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGINT);
	pthread_sigmask(SIG_UNBLOCK, &ending, NULL);
}

static void
too_late(int signal_number)
{
	(void) signal_number;
	_exit(status_when_late);
}

void
process_end_after(unsigned milliseconds, int exit_status)
{
	struct itimerval timer = {
		.it_value = {milliseconds / 1000, (milliseconds % 1000) * 1000}
	};

	status_when_late = exit_status;
	signal(SIGALRM, too_late);
	setitimer(ITIMER_REAL, &timer, NULL);
}
