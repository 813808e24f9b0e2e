/*
 * campaign_worker.c - processes that live for one task of campaigns.
 *
 * "norikv election" runs what a change of leader leads to: it logs in as the role that
 * campaigns, as a client would, so that its commands cannot leave that role's rights, and
 * notifies and commits each in a transaction of its own: a command that fails takes
 * nothing with it.
 *
 * "norikv campaigns" reads the rows of norikv.campaigns after PostgreSQL has started:
 * one process asks which databases there are and starts one for each after the other.
 * None stays, so that databases can be dropped.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "commands/async.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "campaign.h"
#include "patterns/campaign.h"
#include "patterns/pattern.h"

#define CHANNEL "norikv_election"
/* In datconnlimit: a DROP DATABASE was interrupted. Not every release has a name for it. */
#define INVALID_DATABASE (-2)

extern PGDLLEXPORT void NorikvElectionMain(Datum slot)
	__attribute__((visibility("default")));
extern PGDLLEXPORT void NorikvCampaignsMain(Datum database)
	__attribute__((visibility("default")));

/* ---- Starting them ---- */

/* In the memory context that lives as long as the process. */
static bool
start_worker(const char *function, const char *name, Datum argument,
			 BackgroundWorkerHandle **handle)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	BackgroundWorker worker;
	bool started;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "norikv", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function, sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, name, sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, name, sizeof(worker.bgw_type));
	worker.bgw_main_arg = argument;
	worker.bgw_notify_pid = MyProcPid;
	started = RegisterDynamicBackgroundWorker(&worker, handle);
	MemoryContextSwitchTo(old);
	return started;
}

bool
NorikvStartEventWorker(int slot, BackgroundWorkerHandle **handle)
{
	return start_worker("NorikvElectionMain", "norikv election", Int32GetDatum(slot),
						handle);
}

bool
NorikvStartLoadWorker(BackgroundWorkerHandle **handle)
{
	return start_worker("NorikvCampaignsMain", "norikv campaigns",
						ObjectIdGetDatum(InvalidOid), handle);
}

/* ---- A change of leader ---- */

/* What an event leads to, as it was when this process began. */
typedef struct Task
{
	NorikvCampaignPlan plan;
	NorikvCampaignEvent event;
} Task;

static bool
look(int slot, Task *task)
{
	NorikvCampaign *campaign = NorikvCampaignSlot(slot);
	bool found;

	NorikvCampaignLock(false);
	found = campaign->state != NORIKV_CAMPAIGN_FREE &&
			campaign->first_event != campaign->next_event &&
			OidIsValid(campaign->plan.database);
	if (found)
	{
		task->plan = campaign->plan;
		task->event =
			campaign->events[campaign->first_event % NORIKV_CAMPAIGN_EVENTS];
	}
	NorikvCampaignUnlock();
	return found;
}

static char *
from_utf8(const char *utf8)
{
	norikv_slice text = NorikvFromUtf8(NORIKV_SLICE(utf8));

	return pnstrdup(text.data, text.size);
}

static void
notify(const Task *task)
{
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"election\":");
	escape_json(&payload, from_utf8(task->plan.election));
	appendStringInfoString(&payload, ",\"node\":");
	escape_json(&payload, from_utf8(task->plan.node));
	appendStringInfo(&payload, ",\"event\":\"%s\",\"token\":" INT64_FORMAT "}",
					 task->event.elected ? "elected" : "lost", task->event.token);
	Async_Notify(CHANNEL, payload.data);
}

static void
name_command(void *arg)
{
	const Task *task = arg;

	errcontext("%s of the campaign in election \"%s\"",
			   task->event.elected ? "on_elected" : "on_lost",
			   from_utf8(task->plan.election));
}

static void
run_command(const Task *task)
{
	const char *command =
		task->event.elected ? task->plan.on_elected : task->plan.on_lost;
	ErrorContextCallback callback = {error_context_stack, name_command, (void *) task};
	int status;

	if (command[0] == '\0')
		return;
	error_context_stack = &callback;
	debug_query_string = command;
	pgstat_report_activity(STATE_RUNNING, command);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	status = SPI_execute(command, false, 0);
	if (status < 0)
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("the command cannot be run in a transaction"),
				errdetail("%s", SPI_result_code_string(status)));
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	error_context_stack = callback.previous;
}

void
NorikvElectionMain(Datum slot)
{
	Task *task;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	task = MemoryContextAllocZero(TopMemoryContext, sizeof(Task));
	if (!look(DatumGetInt32(slot), task))
		proc_exit(0);
	/* Refuses roles that may not log in, or not into this database. */
	BackgroundWorkerInitializeConnectionByOid(task->plan.database, task->plan.role, 0);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	notify(task);
	CommitTransactionCommand();
	run_command(task);
	proc_exit(0);
}

/* ---- Finding campaigns again ---- */

/* Those that can be connected to; in the memory context of the caller. */
static List *
list_databases(void)
{
	MemoryContext context = CurrentMemoryContext;
	List *databases = NIL;
	TableScanDesc scan;
	HeapTuple tuple;
	Relation relation;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		if (!database->datallowconn || database->datconnlimit == INVALID_DATABASE)
			continue;
		old = MemoryContextSwitchTo(context);
		databases = lappend_oid(databases, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* Of a database and a copy of it, the first to stand is the older. */
	list_sort(databases, list_oid_cmp);
	return databases;
}

/*
 * False where PostgreSQL has no room for a process, or one has not come to its end: the
 * keeper tries again later. What has been found again by then is left as it is.
 */
static bool
load_all(void)
{
	bool complete = true;
	ListCell *cell;

	foreach (cell, list_databases())
	{
		BackgroundWorkerHandle *handle;
		uint32 before = NorikvCampaignDatabases();

		if (!start_worker("NorikvCampaignsMain", "norikv campaigns",
						  ObjectIdGetDatum(lfirst_oid(cell)), &handle))
		{
			ereport(WARNING, errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					errmsg("campaigns cannot be found again: there is no room for a "
						   "background worker"),
					errhint("Raise \"max_worker_processes\" and restart PostgreSQL."));
			return false;
		}
		if (WaitForBackgroundWorkerShutdown(handle) == BGWH_POSTMASTER_DIED)
			proc_exit(1);
		complete &= NorikvCampaignDatabases() != before;
	}
	return complete;
}

static char *
column(int i)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i);

	return value == NULL ? "" : value;
}

static void
copy_column(int i, const char *value, char *to, size_t room)
{
	if (strlcpy(to, value, room) >= room)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("column \"%s\" of a campaign has more than %zu bytes",
					   SPI_fname(SPI_tuptable->tupdesc, i), room - 1));
}

/* Of the first row of SPI's result: somebody may have written it by hand. */
static void
stand_again(void)
{
	Oid role;
	NorikvCampaignPlan *plan = palloc(sizeof(NorikvCampaignPlan));
	NorikvConnection *connection;
	NorikvCampaign *campaign;
	uint64 serial;
	Datum ttl;
	bool is_null;
	bool pending;

	role = DatumGetObjectId(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 6, &is_null));
	(void) GetUserNameFromId(role, false);
	SetUserIdAndSecContext(role, SECURITY_LOCAL_USERID_CHANGE);
	(void) set_config_option("norikv.tenant", column(2), PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	connection = NorikvGetNamedConnection(column(1));
	NorikvPlanFor(connection, column(3), plan);
	if (NorikvCampaignFind(plan, &serial, &pending) != NULL)
		return;
	copy_column(4, NorikvCStringToUtf8(column(4)), plan->node, sizeof(plan->node));
	ttl = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 5, &is_null);
	plan->ttl_ms = NorikvMillisecondsFromInterval(DatumGetIntervalP(ttl), "ttl");
	if (plan->ttl_ms < NORIKV_SHORTEST_LEASE_MS)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("the ttl of a campaign must be at least %d ms",
					   NORIKV_SHORTEST_LEASE_MS));
	copy_column(7, column(7), plan->on_elected, sizeof(plan->on_elected));
	copy_column(8, column(8), plan->on_lost, sizeof(plan->on_lost));
	campaign = NorikvMakeCampaign(connection, plan, &serial);
	NorikvCampaignStart(campaign, serial);
}

/* One that cannot be made is told in the log, and the others are made. */
static void
try_to_stand_again(uint64 row)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		if (SPI_execute(psprintf("SELECT server, tenant, election, node_id, ttl, role, "
								 "on_elected, on_lost FROM norikv.campaigns ORDER BY "
								 "server, tenant, election OFFSET " UINT64_FORMAT
								 " LIMIT 1", row), true, 0) == SPI_OK_SELECT &&
			SPI_processed == 1)
			stand_again();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		ereport(WARNING, errcode(error->sqlerrcode),
				errmsg("a campaign of database \"%s\" could not be found again",
					   get_database_name(MyDatabaseId)),
				errdetail_internal("%s%s%s", error->message,
								   error->detail != NULL ? " " : "",
								   error->detail != NULL ? error->detail : ""),
				errhint("Its role can call campaign() again."));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	SetUserIdAndSecContext(GetSessionUserId(), 0);
}

static bool
has_campaigns(void)
{
	Oid schema = get_namespace_oid("norikv", true);

	return OidIsValid(get_extension_oid("norikv", true)) && OidIsValid(schema) &&
		   OidIsValid(get_relname_relid(NORIKV_CAMPAIGNS_TABLE, schema));
}

static void
load_database(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (has_campaigns())
	{
		uint64 rows;

		SPI_connect();
		SPI_execute("SELECT FROM norikv.campaigns", true, 0);
		rows = SPI_processed;
		for (uint64 row = 0; row < rows; row++)
			try_to_stand_again(row);
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	NorikvCampaignDatabaseLoaded();
}

void
NorikvCampaignsMain(Datum database)
{
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (OidIsValid(DatumGetObjectId(database)))
	{
		BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid,
												  0);
		load_database();
	}
	else
	{
		BackgroundWorkerInitializeConnection(NULL, NULL, 0);
		if (load_all())
			NorikvCampaignsLoaded();
	}
	proc_exit(0);
}
