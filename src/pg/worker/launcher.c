/*
 * launcher.c - the background worker that runs the embedded server.
 *
 * It starts norikvd once PostgreSQL accepts writes, puts its lines into the log,
 * starts it again when it ends, and ends it with PostgreSQL. It connects to no
 * database and never initialises gRPC.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "port.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "keeper.h"
#include "worker.h"

#define SHORTEST_PAUSE 100 /* ms between an end and the next start */
#define LONGEST_PAUSE 10000
#define LONGEST_LOCK_PAUSE 1000 /* where another process only has to end */
#define STEADY_AFTER 1000 /* ms of service after which an end is an accident, not a loop */
#define END_TIMEOUT 5000		/* ms that norikvd has to end, and that backends have */
#define POLL_US 10000			/* while PostgreSQL shuts down */
#define REMIND_AFTER (3600 * 1000) /* ms until the same trouble is told again */

typedef struct Launcher
{
	NorikvdProcess process;
	MemoryContext context;	/* of one start */
	char *command;			/* path and arguments of the run, for comparison */
	TimestampTz ready_at;	/* 0: not ready yet */
	TimestampTz next_start; /* where none runs */
	TimestampTz kill_at;	/* it was asked to end, and has until then; 0: it was not */
	int pause;				/* ms, before the start after the next end */
	NorikvEmbeddedState trouble; /* READY: none */
	TimestampTz told_at;		 /* when the trouble was last in the log */
	bool quiet;					 /* this run is expected to end as the last one */
} Launcher;

extern PGDLLEXPORT void NorikvLauncherMain(Datum argument)
	__attribute__((visibility("default")));

void
NorikvLauncherInit(void)
{
	BackgroundWorker worker;

	NorikvDefineWorkerSettings();

	/* pg_upgrade moves databases, not the store: no new one must come to be. */
	if (IsBinaryUpgrade)
		norikv_embedded = false;
	NorikvEmbeddedInit();
	if (!norikv_embedded)
		return;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	/* Not on a standby: its store would be a second one. */
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "norikv", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "NorikvLauncherMain",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "norikv launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "norikv launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

/* ---- norikvd's lines ---- */

static void
set_trouble(Launcher *self, NorikvEmbeddedState trouble)
{
	self->trouble = trouble;
	NorikvSetEmbeddedState(trouble);
}

static void
became_ready(Launcher *self)
{
	self->ready_at = GetCurrentTimestamp();
	set_trouble(self, NORIKV_EMBEDDED_READY);
	ereport(LOG, (errmsg("embedded NoriKV server (PID %d) is ready",
						 (int) self->process.pid)));
}

static void
take_line(const char *line, void *arg)
{
	static const struct
	{
		const char *prefix;
		int level;
	} levels[] = {{"error: ", WARNING},
				  {"warning: ", WARNING},
				  {"info: ", LOG},
				  {"debug: ", DEBUG1}};
	Launcher *self = arg;
	int level = LOG;

	if (strncmp(line, "ready", 5) == 0 && (line[5] == '\0' || line[5] == ' '))
	{
		became_ready(self);
		return;
	}
	for (int i = 0; i < lengthof(levels); i++)
	{
		size_t length = strlen(levels[i].prefix);

		if (strncmp(line, levels[i].prefix, length) == 0)
		{
			level = levels[i].level;
			line += length;
			break;
		}
	}
	ereport(self->quiet ? DEBUG1 : level, (errmsg_internal("norikvd: %s", line)));
}

/* ---- Starting ---- */

/*
 * A directory that only we can enter, made if it is not there. Somebody else's
 * would let them stand in for the server.
 */
static bool
make_directory(const char *path)
{
	struct stat found;

	if (mkdir(path, S_IRWXU) < 0 && errno != EEXIST)
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not create directory \"%s\": %m", path)));
	else if (stat(path, &found) < 0)
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not stat directory \"%s\": %m", path)));
	else if (!S_ISDIR(found.st_mode))
		ereport(LOG, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
					  errmsg("\"%s\" is not a directory", path)));
	else if (found.st_uid != geteuid())
		ereport(LOG, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					  errmsg("directory \"%s\" has wrong ownership", path),
					  errhint("The user that runs PostgreSQL must own it.")));
	else if ((found.st_mode & (S_IRWXG | S_IRWXO)) != 0 && chmod(path, S_IRWXU) < 0)
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not set permissions of directory \"%s\": %m", path)));
	else
		return true;
	return false;
}

static char *
joined(const char *path, char **arguments)
{
	StringInfoData command;

	initStringInfo(&command);
	appendStringInfoString(&command, path);
	for (int i = 1; arguments[i] != NULL; i++)
		appendStringInfo(&command, " %s", arguments[i]);
	return command.data;
}

static bool
program_exists(const char *path)
{
	if (access(path, X_OK) == 0)
		return true;
	ereport(LOG,
			(errcode_for_file_access(),
			 errmsg("could not find the embedded NoriKV server, \"%s\": %m", path),
			 errhint("Install norikvd there, or name it with \"norikv.norikvd_path\".")));
	return false;
}

static void
schedule(Launcher *self, int longest)
{
	self->next_start =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), Min(self->pause, longest));
	self->pause = Min(self->pause * 2, LONGEST_PAUSE);
}

static void
start(Launcher *self)
{
	MemoryContext old;
	char *path;
	char **arguments;

	MemoryContextReset(self->context);
	old = MemoryContextSwitchTo(self->context);
	path = NorikvdPath();
	arguments = NorikvdArguments();
	self->command = joined(path, arguments);
	self->ready_at = 0;
	self->kill_at = 0;
	self->quiet =
		(self->trouble == NORIKV_EMBEDDED_IN_USE ||
		 self->trouble == NORIKV_EMBEDDED_REFUSED) &&
		!TimestampDifferenceExceeds(self->told_at, GetCurrentTimestamp(), REMIND_AFTER);
	ereport(DEBUG1, (errmsg_internal("starting %s", self->command)));
	if (!program_exists(path) || !make_directory(norikv_data_dir) ||
		!make_directory(NorikvSocketDirectory()) ||
		!NorikvdStart(&self->process, path, arguments))
	{
		set_trouble(self, NORIKV_EMBEDDED_FAILING);
		schedule(self, LONGEST_PAUSE);
	}
	MemoryContextSwitchTo(old);
}

/* ---- Its end ---- */

/* The first time, and then rarely: a store stays refused until somebody acts. */
static void
tell_refused(Launcher *self)
{
	char **arguments = NorikvdArguments();
	const char *owner = "";

	for (int i = 0; arguments[i] != NULL; i++)
	{
		if (strncmp(arguments[i], "--owner=", 8) == 0)
			owner = arguments[i];
	}
	ereport(
		WARNING,
		(errmsg("the embedded NoriKV server refuses the store in \"%s\"",
				norikv_data_dir),
		 errdetail("Its own lines before this one say why. It is tried again every %d "
				   "seconds.",
				   LONGEST_PAUSE / 1000),
		 errhint("If the store was copied or moved, and this is the only one that is "
				 "used from now on, run: %s --data-dir=%s %s --adopt",
				 NorikvdPath(), make_absolute_path(norikv_data_dir), owner)));
}

static void
tell_end(Launcher *self, pid_t pid, int status)
{
	if (self->trouble == NORIKV_EMBEDDED_REFUSED)
		tell_refused(self);
	else if (self->trouble == NORIKV_EMBEDDED_IN_USE)
		ereport(LOG, (errmsg("the embedded NoriKV server waits for another process that "
							 "uses the store in \"%s\"",
							 norikv_data_dir)));
	else
		ereport(WARNING, (errmsg("embedded NoriKV server (PID %d) ended", (int) pid),
						  errdetail("%s; it is started again in %d ms.",
									wait_result_to_str(status), self->pause)));
}

static NorikvEmbeddedState
trouble_of(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == NORIKVD_EXIT_IN_USE)
		return NORIKV_EMBEDDED_IN_USE;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NORIKVD_EXIT_REFUSED)
		return NORIKV_EMBEDDED_REFUSED;
	return NORIKV_EMBEDDED_FAILING;
}

static void
ended(Launcher *self, pid_t pid, int status)
{
	TimestampTz now = GetCurrentTimestamp();

	if (self->kill_at != 0)
	{
		/* It was asked to, so that it takes new settings. */
		self->pause = SHORTEST_PAUSE;
		self->next_start = now;
		set_trouble(self, NORIKV_EMBEDDED_STARTING);
		return;
	}
	if (self->ready_at != 0 &&
		TimestampDifferenceExceeds(self->ready_at, now, STEADY_AFTER))
		self->pause = SHORTEST_PAUSE;
	set_trouble(self, trouble_of(status));
	if (!self->quiet)
	{
		tell_end(self, pid, status);
		self->told_at = now;
	}
	schedule(self, self->trouble == NORIKV_EMBEDDED_IN_USE ? LONGEST_LOCK_PAUSE
														   : LONGEST_PAUSE);
}

static void
ask_to_end(Launcher *self)
{
	if (self->process.pid == 0 || self->kill_at != 0)
		return;
	self->kill_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), END_TIMEOUT);
	(void) kill(self->process.pid, SIGTERM);
}

/* Whatever norikvd did since the last look. */
static void
look_after(Launcher *self)
{
	pid_t pid = self->process.pid;
	int status;

	if (pid == 0)
		return;
	NorikvdReadLines(&self->process, take_line, self);
	if (NorikvdReap(&self->process, &status, take_line, self))
		ended(self, pid, status);
	else if (self->kill_at != 0 && GetCurrentTimestamp() >= self->kill_at)
	{
		(void) kill(pid, SIGKILL);
		self->kill_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), END_TIMEOUT);
	}
}

/* ---- The worker ---- */

static void
handle_child_end(SIGNAL_ARGS)
{
	int saved = errno;

	SetLatch(MyLatch);
	errno = saved;
}

/* New settings that norikvd takes from its command line need a new norikvd. */
static void
reload(Launcher *self)
{
	MemoryContext scratch;
	MemoryContext old;
	char *command;

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);

	/* Somebody may just have mended what was in the way. */
	if (self->process.pid == 0)
	{
		self->next_start = GetCurrentTimestamp();
		return;
	}
	scratch =
		AllocSetContextCreate(TopMemoryContext, "norikv reload", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(scratch);
	command = joined(NorikvdPath(), NorikvdArguments());
	if (strcmp(command, self->command) != 0)
	{
		ereport(LOG, (errmsg("restarting the embedded NoriKV server with new settings")));
		ask_to_end(self);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

/* Milliseconds until something is to be done; -1: nothing is. */
static long
time_to_wait(const Launcher *self)
{
	TimestampTz until = self->process.pid == 0 ? self->next_start : self->kill_at;

	if (until == 0)
		return -1;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
}

/* False when the postmaster is gone. */
static bool
wait_for_something(const Launcher *self)
{
	long timeout = time_to_wait(self);
	int events = WL_LATCH_SET | WL_POSTMASTER_DEATH;

	if (timeout >= 0)
		events |= WL_TIMEOUT;
	if (self->process.output >= 0)
		events |= WL_SOCKET_READABLE;
	events = WaitLatchOrSocket(MyLatch, events, self->process.output, timeout,
							   PG_WAIT_EXTENSION);
	if (events & WL_LATCH_SET)
		ResetLatch(MyLatch);
	return (events & WL_POSTMASTER_DEATH) == 0;
}

/*
 * Is there a process that may yet call the server? Those connected to a database
 * can; walsenders and the auxiliary processes, which leave later, cannot.
 */
static bool
backends_attached(void)
{
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		PGPROC *proc = &ProcGlobal->allProcs[i];

		/* What a process that is gone left in its slot stays there. */
		if (proc->pid != 0 && OidIsValid(proc->databaseId) &&
			BackendPidGetProc(proc->pid) == proc)
			return true;
	}
	return false;
}

/* The latch is of no use here: it would wake at once after a postmaster's death. */
static void
shut_down(Launcher *self)
{
	TimestampTz give_up = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), END_TIMEOUT);

	while (self->process.pid != 0 && (backends_attached() || NorikvKeeperRuns()) &&
		   GetCurrentTimestamp() < give_up)
	{
		pg_usleep(POLL_US);
		look_after(self);
	}
	NorikvSetEmbeddedState(NORIKV_EMBEDDED_STOPPED);
	ask_to_end(self);
	give_up = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 2 * END_TIMEOUT);
	while (self->process.pid != 0 && GetCurrentTimestamp() < give_up)
	{
		pg_usleep(POLL_US);
		look_after(self);
	}
	NorikvSetEmbeddedState(NORIKV_EMBEDDED_STOPPED);
}

void
NorikvLauncherMain(Datum argument)
{
	static Launcher self;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGCHLD, handle_child_end);
	BackgroundWorkerUnblockSignals();

	self.process.output = -1;
	self.pause = SHORTEST_PAUSE;
	self.trouble = NORIKV_EMBEDDED_STARTING;
	self.next_start = GetCurrentTimestamp();
	self.context = AllocSetContextCreate(TopMemoryContext, "norikv launcher",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(self.context);
	NorikvSetEmbeddedState(NORIKV_EMBEDDED_STARTING);

	while (!ShutdownRequestPending)
	{
		if (self.process.pid == 0 && GetCurrentTimestamp() >= self.next_start)
			start(&self);
		if (!wait_for_something(&self))
			break;
		if (ConfigReloadPending)
			reload(&self);
		look_after(&self);
	}
	shut_down(&self);

	/* 0 would mean that it is never to be started again. */
	proc_exit(1);
}
