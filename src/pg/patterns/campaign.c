/*
 * campaign.c - campaign() and resign(): elections that outlive the session.
 *
 * A campaign is a row, so that it is found again after a restart, and takes effect when
 * the row is committed: until then its slot in shared memory is pending. What stands for
 * the election is the keeper.
 */
#include "patterns/campaign.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"

#include "patterns/lock.h"
#include "patterns/own_table.h"
#include "patterns/pattern.h"
#include "worker/endpoint.h"

PG_FUNCTION_INFO_V1(norikv_sql_campaign);
PG_FUNCTION_INFO_V1(norikv_sql_resign);

static const char *const write_sql =
	"INSERT INTO norikv.campaigns (server, tenant, election, node_id, ttl, role, "
	"on_elected, on_lost) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
	"ON CONFLICT (server, tenant, election) DO UPDATE SET node_id = EXCLUDED.node_id, "
	"ttl = EXCLUDED.ttl, role = EXCLUDED.role, on_elected = EXCLUDED.on_elected, "
	"on_lost = EXCLUDED.on_lost";
static const char *const read_sql =
	"SELECT role FROM norikv.campaigns WHERE server OPERATOR(pg_catalog.=) $1 AND "
	"tenant OPERATOR(pg_catalog.=) $2 AND election OPERATOR(pg_catalog.=) $3 FOR UPDATE";
static const char *const delete_sql =
	"DELETE FROM norikv.campaigns WHERE server OPERATOR(pg_catalog.=) $1 AND "
	"tenant OPERATOR(pg_catalog.=) $2 AND election OPERATOR(pg_catalog.=) $3";
static const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID,
							INTERVALOID, REGROLEOID, TEXTOID, TEXTOID};

static SPIPlanPtr write_plan = NULL;
static SPIPlanPtr read_plan = NULL;
static SPIPlanPtr delete_plan = NULL;

/* ---- Making one ---- */

static Datum
text_of(const char *utf8)
{
	norikv_slice text = NorikvFromUtf8(NORIKV_SLICE(utf8));

	return PointerGetDatum(cstring_to_text_with_len(text.data, text.size));
}

/* Names in plans are UTF-8. */
static char *
shown(const char *utf8)
{
	return TextDatumGetCString(text_of(utf8));
}

/* In UTF-8, as the store has it. */
static void
copy_name(char *to, size_t room, const char *from, const char *argument)
{
	from = NorikvCStringToUtf8(from);
	if (strlcpy(to, from, room) >= room)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be at most %zu bytes, but it is %zu",
					   argument, room - 1, strlen(from)));
}

void
NorikvPlanFor(const NorikvConnection *connection, const char *election,
			  NorikvCampaignPlan *plan)
{
	memset(plan, 0, sizeof(*plan));
	plan->database = MyDatabaseId;
	plan->role = GetUserId();
	strlcpy(plan->server, connection->name, sizeof(plan->server));
	strlcpy(plan->tenant, connection->session_tenant, sizeof(plan->tenant));
	copy_name(plan->election, sizeof(plan->election), election, "election");
}

static void
check_node(const NorikvCampaignPlan *plan, const char *nonce)
{
	if (plan->node[0] == '\0')
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must not be empty", "node_id"));
	if (NorikvLeaderMeta(plan->node, nonce, PG_INT64_MAX).size > NORIKV_LEASE_VALUE)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" is too long for the document of an election",
					   "node_id"));
}

static void
raise_node_stands(const NorikvCampaignPlan *plan)
{
	ereport(ERROR, errcode(ERRCODE_OBJECT_IN_USE),
			errmsg("node \"%s\" already stands for election \"%s\" in this PostgreSQL",
				   shown(plan->node), shown(plan->election)),
			errdetail("Another database or role has a campaign with this id."),
			errhint("Give each node an id of its own."));
}

/* The lease is this function's until the slot has it. */
NorikvCampaign *
NorikvMakeCampaign(NorikvConnection *connection, const NorikvCampaignPlan *plan,
				   uint64 *serial)
{
	char nonce[NORIKV_NONCE_SIZE + 1];
	NorikvLeaseRequest request = {.kind = NORIKV_LEASE_CAMPAIGN, .n_puts = 2,
								  .ttl_ms = plan->ttl_ms, .ownerless = true};
	NorikvCampaign *volatile campaign = NULL;
	NorikvLease *lease;

	NorikvMakeNonce(nonce);
	check_node(plan, nonce);
	NorikvElectionKeys(plan->election, request.keys);
	request.values[0] = NorikvLeaderMeta(plan->node, nonce, 0);
	request.values[1] = NORIKV_SLICE(plan->node);
	lease = NorikvLeaseReserve(connection, &request, nonce);
	PG_TRY();
	{
		if (NorikvCampaignNodeStands(plan, lease->endpoint))
			raise_node_stands(plan);
		campaign = NorikvCampaignReserve(plan, lease);
	}
	PG_CATCH();
	{
		NorikvLeaseRelease(lease);
		PG_RE_THROW();
	}
	PG_END_TRY();
	*serial = campaign->serial;
	return campaign;
}

/* ---- campaign() ---- */

static char *
text_argument(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

static void
command_argument(FunctionCallInfo fcinfo, int argument, const char *name, char *to)
{
	char *command = text_argument(fcinfo, argument);

	if (strlcpy(to, command, NORIKV_CAMPAIGN_COMMAND + 1) > NORIKV_CAMPAIGN_COMMAND)
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("argument \"%s\" does not fit into shared memory", name),
				errdetail("It has %zu bytes; at most %d are possible.", strlen(command),
						  NORIKV_CAMPAIGN_COMMAND),
				errhint("Make a function of it, and call that."));
}

/* Its commands log in as the role. */
static void
check_may_log_in(void)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool may = HeapTupleIsValid(tuple) &&
			   ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	if (!may)
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("role \"%s\" is not permitted to log in, and cannot campaign",
					   GetUserNameFromId(GetUserId(), false)),
				errdetail("What an election leads to is run in a session of its own."));
}

static void
set_key_args(const NorikvCampaignPlan *plan, Datum *args)
{
	args[0] = CStringGetTextDatum(plan->server);
	args[1] = CStringGetTextDatum(plan->tenant);
	args[2] = text_of(plan->election);
}

/* One of a role that is gone is a superuser's to change. */
static void
check_role(Oid caller, Oid role, const NorikvCampaignPlan *plan)
{
	char *name = GetUserNameFromId(role, true);

	if (name != NULL ? has_privs_of_role(caller, role) : superuser_arg(caller))
		return;
	ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			errmsg("permission denied for the campaign in election \"%s\"",
				   shown(plan->election)),
			name != NULL ? errdetail("It is that of role \"%s\".", name)
						 : errdetail("Its role does not exist any more."));
}

/*
 * Whether there is a row, which is the current user's to change: it is locked then, so
 * that changes of one campaign take turns. SPI is connected, as the owner.
 */
static bool
lock_row(const NorikvOwnRights *rights, Datum *args, const NorikvCampaignPlan *plan)
{
	Datum role;

	if (NorikvRunPlan(&read_plan, read_sql, 3, types, args, NULL) == 0)
		return false;
	role = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						 &(bool){false});
	check_role(rights->caller, DatumGetObjectId(role), plan);
	return true;
}

static void
write_row(const NorikvCampaignPlan *plan, FunctionCallInfo fcinfo)
{
	char nulls[] = "        ";
	NorikvOwnRights rights;
	Datum args[8];

	set_key_args(plan, args);
	args[3] = text_of(plan->node);
	args[4] = PG_GETARG_DATUM(2);
	args[5] = ObjectIdGetDatum(plan->role);
	args[6] = PG_GETARG_DATUM(3);
	args[7] = PG_GETARG_DATUM(4);
	nulls[6] = PG_ARGISNULL(3) ? 'n' : ' ';
	nulls[7] = PG_ARGISNULL(4) ? 'n' : ' ';
	NorikvBeginAsOwner(NORIKV_CAMPAIGNS_TABLE, &rights);
	(void) lock_row(&rights, args, plan);
	(void) NorikvRunPlan(&write_plan, write_sql, 8, types, args, nulls);
	NorikvEndAsOwner(&rights);
}

/* Whether this node leads, by a lease that does not give way to this one; its version. */
static bool
leads_elsewhere(NorikvConnection *connection, const NorikvCampaignPlan *plan,
				norikv_version *version)
{
	norikv_slice keys[2];
	const norikv_entry *meta;
	const norikv_entry *leader;
	norikv_slice node = NORIKV_SLICE(plan->node);
	NorikvCall *call;
	bool leads;

	NorikvElectionKeys(plan->election, keys);
	call = NorikvStartMultiGet(connection, keys, lengthof(keys), "strong");
	meta = NorikvFinishMultiGet(call, lengthof(keys));
	leader = meta + 1;
	leads = leader->version.index != 0 && NorikvSameBytes(leader->value, node) &&
			!(meta->version.index != 0 && NorikvCampaignGivesWay(plan, meta->value));
	*version = leader->version;
	NorikvFree(call);
	return leads;
}

/*
 * One with the same id may lead elsewhere, and this one would then never be told apart.
 * What this PostgreSQL has won may be there still, until the keeper has deleted it, and
 * forgets the lease then: so what is no lease's has to be there a second time.
 */
static void
check_leader(NorikvConnection *connection, const NorikvCampaignPlan *plan)
{
	norikv_version version;
	norikv_version again;

	if (leads_elsewhere(connection, plan, &version) &&
		leads_elsewhere(connection, plan, &again) && NorikvSameVersion(again, version))
		ereport(ERROR, errcode(ERRCODE_OBJECT_IN_USE),
				errmsg("node \"%s\" leads election \"%s\" already", shown(plan->node),
					   shown(plan->election)),
				errdetail("Another campaign has won with this id, or this one has before "
						  "it ended; then the lease runs out by itself."),
				errhint("Give each node an id of its own."));
}

/*
 * The server's options, or the user mapping, may be others by now. Where PostgreSQL stops,
 * the keeper takes the lease away.
 */
static bool
is_at(const NorikvCampaign *campaign, const NorikvConnection *connection)
{
	int endpoint = NorikvEndpointAcquire(connection);
	bool same;

	NorikvCampaignLock(false);
	same = campaign->lease != NULL && campaign->lease->endpoint == endpoint;
	NorikvCampaignUnlock();
	NorikvEndpointRelease(endpoint);
	return same;
}

static bool
is_unchanged(const NorikvCampaign *campaign, const NorikvCampaignPlan *plan)
{
	const NorikvCampaignPlan *present = &campaign->plan;

	return present->role == plan->role && present->ttl_ms == plan->ttl_ms &&
		   strcmp(present->node, plan->node) == 0 &&
		   strcmp(present->on_elected, plan->on_elected) == 0 &&
		   strcmp(present->on_lost, plan->on_lost) == 0;
}

/*
 * The campaign as this transaction has left it: what it has begun counts, what it is to
 * end does not. With the row locked, what else is pending is that of a transaction that
 * has ended, and is about to say how; without one it may go on for long.
 */
static NorikvCampaign *
find_present(const NorikvCampaignPlan *plan, bool locked, uint64 *serial)
{
	for (;;)
	{
		bool pending;
		NorikvCampaign *found = NorikvCampaignFind(plan, serial, &pending);

		if (found == NULL || NorikvIsIntended(*serial, false))
			return NULL;
		if (!pending || NorikvIsIntended(*serial, true))
			return found;
		if (!locked)
			return NorikvCampaignFind(plan, serial, NULL);
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
}

/* election, node_id, ttl, on_elected, on_lost */
static void
plan_argument(FunctionCallInfo fcinfo, const NorikvConnection *connection,
			  NorikvCampaignPlan *plan)
{
	NorikvRequireArgument(fcinfo, 0, "election");
	NorikvRequireArgument(fcinfo, 2, "ttl");
	NorikvPlanFor(connection, text_argument(fcinfo, 0), plan);
	copy_name(plan->node, sizeof(plan->node),
			  PG_ARGISNULL(1) ? NorikvNodeName() : text_argument(fcinfo, 1), "node_id");
	plan->ttl_ms = NorikvLeaseTtlArgument(fcinfo, 2);
	command_argument(fcinfo, 3, "on_elected", plan->on_elected);
	command_argument(fcinfo, 4, "on_lost", plan->on_lost);
}

Datum
norikv_sql_campaign(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.campaign()");
	NorikvCampaignPlan *plan = palloc(sizeof(NorikvCampaignPlan));
	NorikvCampaign *present;
	NorikvCampaign *made;
	uint64 present_serial;
	uint64 serial;
	bool moves;

	plan_argument(fcinfo, connection, plan);
	NorikvCampaignLockServer(connection);
	NorikvRequireKeeper("norikv.campaign()", "It stands for the election.");
	NorikvRequireAtomicCas(connection, "norikv.campaign()");
	NorikvRequireTransactions(connection, "norikv.campaign()");
	check_may_log_in();
	write_row(plan, fcinfo);
	present = find_present(plan, true, &present_serial);
	moves = present != NULL && !is_at(present, connection);
	if (present != NULL && !moves && is_unchanged(present, plan))
		PG_RETURN_VOID();
	if (present == NULL || moves || strcmp(present->plan.node, plan->node) != 0)
		check_leader(connection, plan);
	made = NorikvMakeCampaign(connection, plan, &serial);
	NorikvIntend(made, serial, true);
	if (present != NULL)
		NorikvIntend(present, present_serial, false);
	PG_RETURN_VOID();
}

/* ---- resign() ---- */

Datum
norikv_sql_resign(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.resign()");
	NorikvCampaignPlan *plan = palloc(sizeof(NorikvCampaignPlan));
	NorikvCampaign *campaign;
	NorikvOwnRights rights;
	norikv_slice keys[2];
	uint64 serial;
	Datum args[3];
	bool found;

	NorikvRequireArgument(fcinfo, 0, "election");
	NorikvPlanFor(connection, text_argument(fcinfo, 0), plan);
	NorikvElectionKeys(plan->election, keys);
	NorikvCampaignLockServer(connection);
	set_key_args(plan, args);
	NorikvBeginAsOwner(NORIKV_CAMPAIGNS_TABLE, &rights);
	found = lock_row(&rights, args, plan);
	if (found)
		(void) NorikvRunPlan(&delete_plan, delete_sql, 3, types, args, NULL);
	NorikvEndAsOwner(&rights);
	campaign = find_present(plan, found, &serial);
	if (campaign != NULL && !found)
		check_role(GetUserId(), campaign->plan.role, plan);
	if (campaign != NULL)
		NorikvIntend(campaign, serial, false);
	PG_RETURN_BOOL(NorikvResignByHand(connection, keys) || found || campaign != NULL);
}
