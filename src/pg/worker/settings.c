/*
 * settings.c - settings of the embedded server, and the command line they make.
 */
#include "postgres.h"

#include <limits.h>
#include <sys/un.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "worker.h"

bool norikv_embedded = true;
char *norikv_data_dir = NULL;
static char *norikvd_path = NULL;
static char *embedded_listen = NULL;
static bool embedded_sync = true;
static int embedded_max_memory = 256;
static int embedded_max_idempotency = 1000000;
static int embedded_log_level = 0;

/* Names as norikvd has them, by place. */
static const struct config_enum_entry log_levels[] = {
	{"info", 0, false},	 {"error", 1, false}, {"warning", 2, false},
	{"debug", 3, false}, {NULL, 0, false},
};

/*
 * Both ends of a unix socket name it by a path, and the kernel takes 107 bytes. Nodes
 * are a list with commas.
 */
static bool
check_data_dir(char **value, void **extra, GucSource source)
{
	size_t socket_length =
		strlen(*value) + strlen("/" NORIKV_SOCKET_DIR "/" NORIKV_SOCKET_NAME);
	size_t longest = sizeof(((struct sockaddr_un *) NULL)->sun_path) - 1;

	if (**value == '\0')
	{
		GUC_check_errdetail("\"norikv.data_dir\" must name a directory.");
		return false;
	}
	if (strchr(*value, ',') != NULL)
	{
		GUC_check_errdetail("\"norikv.data_dir\" must not contain a comma.");
		GUC_check_errhint("Use a symbolic link.");
		return false;
	}
	if (socket_length > longest)
	{
		GUC_check_errdetail("The path of the socket in it would have %zu bytes; at most "
							"%zu are possible.",
							socket_length, longest);
		GUC_check_errhint(
			"Use a directory below the data directory, or a symbolic link.");
		return false;
	}
	return true;
}

/* The addresses themselves are norikvd's to judge; an empty one is a mistake. */
static bool
check_listen(char **value, void **extra, GucSource source)
{
	char *copy = pstrdup(*value);
	List *addresses;
	ListCell *cell;
	bool well = SplitGUCList(copy, ',', &addresses);

	foreach (cell, addresses)
		well = well && *(char *) lfirst(cell) != '\0';
	if (!well)
		GUC_check_errdetail("It must be a list of addresses, with commas.");
	list_free(addresses);
	pfree(copy);
	return well;
}

/* What says where the server is, and so cannot change while PostgreSQL runs. */
static void
define_fixed_settings(void)
{
	/*
	 * Off, no server is started, and functions need a foreign server with the
	 * option nodes. The store, if there is one, stays where it is.
	 */
	DefineCustomBoolVariable(
		"norikv.embedded", "Runs a NoriKV server beside PostgreSQL.",
		"It starts with PostgreSQL, keeps its store in norikv.data_dir "
		"and listens on a unix socket there.",
		&norikv_embedded, true, PGC_POSTMASTER, 0, NULL, NULL, NULL);

	/*
	 * Relative to the data directory. Elsewhere it can be on a disk of its own;
	 * two PostgreSQLs cannot share it: the second waits for the first to end.
	 */
	DefineCustomStringVariable(
		"norikv.data_dir", "Directory of the embedded server's store.",
		"A relative path is taken from the data directory.", &norikv_data_dir, "norikv",
		PGC_POSTMASTER, GUC_SUPERUSER_ONLY, check_data_dir, NULL, NULL);
}

/* What the launcher acts upon by restarting norikvd: a reload is enough. */
static void
define_restarting_settings(void)
{
	/* Empty: norikvd in the directory of the postgres program itself. */
	DefineCustomStringVariable(
		"norikv.norikvd_path", "The norikvd program to run.",
		"Empty means norikvd in the directory of the postgres program.", &norikvd_path,
		"", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);

	/*
	 * There is no authentication on these addresses. Whoever reaches them reads
	 * and writes every key: name loopback addresses, or guard them otherwise.
	 */
	DefineCustomStringVariable(
		"norikv.embedded_listen", "Further addresses the embedded server listens on.",
		"host:port, [v6]:port or unix:/path, with commas. Whoever "
		"reaches one of them can read and write every key.",
		&embedded_listen, "", PGC_SIGHUP, GUC_LIST_INPUT | GUC_SUPERUSER_ONLY,
		check_listen, NULL, NULL);

	/*
	 * As synchronous_commit: off, a crash of the machine can lose the last
	 * acknowledged writes. A crash of PostgreSQL or of norikvd loses none.
	 */
	DefineCustomBoolVariable(
		"norikv.embedded_sync", "Answers writes only once they are on disk.",
		"Off, writes acknowledged just before a crash of the machine "
		"can be lost.",
		&embedded_sync, true, PGC_SIGHUP, 0, NULL, NULL, NULL);

	/* Caches, write buffers and requests in flight: about what norikvd uses. */
	DefineCustomIntVariable("norikv.embedded_max_memory",
							"Memory for the embedded server's caches and buffers.", NULL,
							&embedded_max_memory, 256, 16, 1024 * 1024, PGC_SIGHUP,
							GUC_UNIT_MB, NULL, NULL, NULL);

	/*
	 * Keys that callers give with idempotency_key are remembered for 24 hours;
	 * past this number further ones are refused. Some 100 bytes of disk each. As
	 * many records again are for sessions that write, for an hour each: with too few
	 * of them nobody could write.
	 */
	DefineCustomIntVariable(
		"norikv.embedded_max_idempotency",
		"Idempotency keys the embedded server remembers at most.",
		"Writes with further ones are refused until some are a day old.",
		&embedded_max_idempotency, 1000000, 10000, INT_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);

	/* Its lines are PostgreSQL's log's; keys appear in them at debug only. */
	DefineCustomEnumVariable(
		"norikv.embedded_log_level", "How much the embedded server writes to the log.",
		"Lines at debug hold keys, and need log_min_messages = debug1.",
		&embedded_log_level, 0, log_levels, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

void
NorikvDefineWorkerSettings(void)
{
	define_fixed_settings();
	define_restarting_settings();
}

char *
NorikvSocketDirectory(void)
{
	return psprintf("%s/%s", norikv_data_dir, NORIKV_SOCKET_DIR);
}

char *
NorikvSocketPath(void)
{
	return psprintf("%s/%s/%s", norikv_data_dir, NORIKV_SOCKET_DIR, NORIKV_SOCKET_NAME);
}

char *
NorikvdPath(void)
{
	char directory[MAXPGPATH];

	if (norikvd_path[0] != '\0')
		return pstrdup(norikvd_path);
	strlcpy(directory, my_exec_path, sizeof(directory));
	get_parent_directory(directory);
	return psprintf("%s/norikvd", directory);
}

/*
 * Who the store belongs to. A copy of this cluster, and this cluster after a
 * promotion or a recovery to a point in time, is somebody else.
 */
static char *
owner(void)
{
	TimeLineID timeline;

#if PG_VERSION_NUM >= 150000
	timeline = GetWALInsertionTimeLine();
#else
	/* Asking sets it, in a process that has not written WAL. */
	(void) RecoveryInProgress();
	timeline = ThisTimeLineID;
#endif
	return psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), timeline);
}

char **
NorikvdArguments(void)
{
	List *arguments = NIL;
	List *addresses;
	ListCell *cell;
	char **argv;
	int count = 0;

	arguments = lappend(arguments, pstrdup("norikvd"));
	arguments = lappend(arguments, psprintf("--data-dir=%s", norikv_data_dir));
	arguments = lappend(arguments, psprintf("--listen=unix:%s", NorikvSocketPath()));
	(void) SplitGUCList(pstrdup(embedded_listen), ',', &addresses);
	foreach (cell, addresses)
		arguments = lappend(arguments, psprintf("--also-listen=%s", (char *) lfirst(cell)));
	arguments = lappend(arguments, psprintf("--sync=%s", embedded_sync ? "on" : "off"));
	arguments = lappend(arguments, psprintf("--max-memory=%dm", embedded_max_memory));
	arguments =
		lappend(arguments, psprintf("--max-idempotency=%d", embedded_max_idempotency));
	arguments = lappend(arguments,
						psprintf("--log-level=%s", log_levels[embedded_log_level].name));
	arguments = lappend(arguments, psprintf("--owner=%s", owner()));
	arguments = lappend(arguments, psprintf("--parent=%d", MyProcPid));

	argv = palloc0(sizeof(char *) * (list_length(arguments) + 1));
	foreach (cell, arguments)
		argv[count++] = lfirst(cell);
	return argv;
}
