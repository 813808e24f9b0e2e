/*
 * election.c - elections by hand, and who leads.
 *
 * leader:<election> holds the node's id, as programs in other languages expect it;
 * leader-meta:<election> {node, nonce, token} is written in the same step, and tells
 * campaigns, whose nonces are random, from what elect() has won. The token is the version
 * of the first write, so it grows with every change of leader.
 */
#include "patterns/campaign.h"

#include <unistd.h>

#include "access/htup_details.h"
#include "commands/dbcommands.h"
#include "funcapi.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "patterns/lock.h"
#include "patterns/pattern.h"

PG_FUNCTION_INFO_V1(norikv_sql_elect);
PG_FUNCTION_INFO_V1(norikv_sql_is_leader);
PG_FUNCTION_INFO_V1(norikv_sql_leader);

#define BY_HAND "elect" /* the nonce of what elect() writes */

enum
{
	META,
	LEADER
};

typedef struct Meta
{
	char *node;
	char *nonce;
	int64 token;
} Meta;

static const NorikvFieldRule meta_fields[] = {
	NORIKV_OPTIONAL("node", NORIKV_TYPE_TEXT, Meta, node, 0),
	NORIKV_OPTIONAL("nonce", NORIKV_TYPE_TEXT, Meta, nonce, 0),
	NORIKV_OPTIONAL("token", NORIKV_TYPE_TOKEN, Meta, token, 0),
};
static const NorikvDocumentRule meta_rule = {"election", meta_fields,
											 lengthof(meta_fields), sizeof(Meta)};

/* What elect() has won in this session. */
typedef struct Won
{
	dlist_node node;
	char *scope; /* which store, and which part of it */
	norikv_slice key;
	norikv_version version;
	int64 deadline; /* boot time */
} Won;

static dlist_head won = DLIST_STATIC_INIT(won);

void
NorikvElectionKeys(const char *election, norikv_slice keys[2])
{
	if (election[0] == '\0')
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must not be empty", "election"));
	keys[META] = NorikvMakeKey(NORIKV_LEADER_META_PREFIX, election);
	keys[LEADER] = NorikvMakeKey(NORIKV_LEADER_PREFIX, election);
}

char *
NorikvNodeName(void)
{
	char host[64];

	if (gethostname(host, sizeof(host)) != 0)
		strlcpy(host, "unknown", sizeof(host));
	host[sizeof(host) - 1] = '\0';
	return psprintf("%s:%d/%s", host, PostPortNumber, get_database_name(MyDatabaseId));
}

/* ---- What this session has won ---- */

static Won *
find_won(NorikvConnection *connection, norikv_slice key)
{
	char *scope;
	dlist_iter iter;

	if (dlist_is_empty(&won))
		return NULL;
	scope = NorikvStoreScope(connection);
	dlist_foreach(iter, &won)
	{
		Won *one = dlist_container(Won, node, iter.cur);

		if (NorikvSameBytes(one->key, key) && strcmp(one->scope, scope) == 0)
			return one;
	}
	return NULL;
}

static void
forget_won(Won *one)
{
	dlist_delete(&one->node);
	pfree(one->scope);
	pfree((void *) one->key.data);
	pfree(one);
}

/* A session may elect in one election after the other, and never resign. */
static void
forget_ended(void)
{
	int64 now = NorikvBootMilliseconds();
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &won)
	{
		Won *one = dlist_container(Won, node, iter.cur);

		if (one->deadline < now)
			forget_won(one);
	}
}

static void
keep_won(NorikvConnection *connection, norikv_slice key, norikv_version version,
		 int64 deadline)
{
	Won *one = find_won(connection, key);

	if (one == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		char *copy = palloc(key.size);

		forget_ended();
		memcpy(copy, key.data, key.size);
		one = palloc0(sizeof(Won));
		one->scope = NorikvStoreScope(connection);
		one->key = (norikv_slice){copy, key.size};
		dlist_push_head(&won, &one->node);
		MemoryContextSwitchTo(old);
	}
	one->version = version;
	one->deadline = deadline;
}

/* ---- elect() ---- */

typedef struct Electing
{
	const char *node; /* in the database's encoding */
	norikv_slice value;
	uint64 ttl_ms;
	int64 sent_at; /* boot time of the last try */
	bool writes;
	/* What came of it. */
	char *leader;
	int64 token; /* 0: of the version that is written */
	bool token_known;
	int64 expires_at_ms;
	MemoryContext context; /* of the call: what it leaves outlives a try */
} Electing;

static int64
token_of_version(norikv_version version)
{
	return (int64) ((version.term << 48) + version.index);
}

/* Of the two documents; a leader that another program wrote has none. */
static void
read_meta(NorikvAttempt *attempt, Meta *meta)
{
	NorikvDocument *document = &attempt->documents[META];

	memset(meta, 0, sizeof(*meta));
	if (document->present &&
		NorikvSameVersion(document->version, attempt->documents[LEADER].version))
		NorikvReadRecord(&meta_rule, document, attempt->connection, meta);
}

static bool
is_ours(const Electing *electing, const NorikvDocument *leader, const Meta *meta)
{
	return meta->nonce != NULL && strcmp(meta->nonce, BY_HAND) == 0 &&
		   NorikvSameBytes(leader->value, electing->value);
}

static void
note_leader(Electing *electing, const NorikvConnection *connection,
			const NorikvDocument *leader, const Meta *meta)
{
	MemoryContext old = MemoryContextSwitchTo(electing->context);
	const norikv_entry entry = {.key = leader->key, .value = leader->value};

	electing->leader = TextDatumGetCString(NorikvTextFromValue(&entry, connection));
	MemoryContextSwitchTo(old);
	electing->token_known = meta->node != NULL;
	electing->token = meta->token != 0 ? meta->token : token_of_version(leader->version);
	electing->expires_at_ms = leader->expires_at_ms;
}

static void
elect_step(NorikvAttempt *attempt, void *arg)
{
	Electing *electing = arg;
	NorikvDocument *leader = &attempt->documents[LEADER];
	Meta meta;

	read_meta(attempt, &meta);
	electing->writes = !leader->present || is_ours(electing, leader, &meta);
	electing->token = 0;
	if (!electing->writes)
	{
		note_leader(electing, attempt->connection, leader, &meta);
		return;
	}
	if (leader->present)
		electing->token = meta.token != 0 ? meta.token : token_of_version(leader->version);
	electing->sent_at = NorikvBootMilliseconds();
	electing->expires_at_ms = NorikvStoreTime(attempt->connection) + electing->ttl_ms;
	meta = (Meta){(char *) electing->node, BY_HAND, electing->token};
	NorikvPutDocument(attempt, &attempt->documents[META],
					  NorikvWriteRecord(&meta_rule, &meta, NULL), NORIKV_TTL_SET,
					  electing->ttl_ms);
	NorikvPutDocument(attempt, leader, electing->value, NORIKV_TTL_SET, electing->ttl_ms);
}

static Datum
make_row(FunctionCallInfo fcinfo, const Electing *electing)
{
	bool nulls[4] = {false};
	TupleDesc descriptor;
	Datum values[4];

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = BoolGetDatum(electing->writes);
	values[1] = CStringGetTextDatum(electing->leader);
	nulls[2] = !electing->token_known;
	values[2] = Int64GetDatum(electing->token);
	values[3] = NorikvTimestampFromMilliseconds(electing->expires_at_ms, &nulls[3]);
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

/* election, node_id, ttl */
Datum
norikv_sql_elect(PG_FUNCTION_ARGS)
{
	const NorikvStepOptions options = {.sql_name = "elect()", .max_retries = -1,
									   .with_expiry = true};
	NorikvConnection *connection = NorikvGetWriteConnection("norikv.elect()");
	Electing electing = {.context = CurrentMemoryContext};
	NorikvCampaignPlan *plan = palloc(sizeof(NorikvCampaignPlan));
	norikv_version version;
	norikv_slice keys[2];

	NorikvRequireArgument(fcinfo, 0, "election");
	NorikvRequireArgument(fcinfo, 2, "ttl");
	NorikvPlanFor(connection, text_to_cstring(PG_GETARG_TEXT_PP(0)), plan);
	NorikvElectionKeys(plan->election, keys);
	electing.node = PG_ARGISNULL(1) ? NorikvNodeName()
									: text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (electing.node[0] == '\0')
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must not be empty", "node_id"));
	electing.value = NorikvBytesFromDatum(CStringGetTextDatum(electing.node), true);
	electing.ttl_ms = NorikvLeaseTtlArgument(fcinfo, 2);
	NorikvRequireAtomicCas(connection, "norikv.elect()");
	NorikvRequireTransactions(connection, "norikv.elect()");
	version = NorikvRunStep(connection, keys, lengthof(keys), elect_step, &electing,
							&options);
	if (electing.writes)
	{
		electing.leader = (char *) electing.node;
		electing.token_known = true;
		if (electing.token == 0)
			electing.token = token_of_version(version);
		keep_won(connection, keys[LEADER], version,
				 electing.sent_at + NorikvLeaseDeadlineMs(electing.ttl_ms));
	}
	return make_row(fcinfo, &electing);
}

/* ---- resign() ---- */

static void
resign_step(NorikvAttempt *attempt, void *arg)
{
	const Won *one = arg;

	for (int i = 0; i < attempt->n_documents; i++)
	{
		if (NorikvSameVersion(attempt->documents[i].version, one->version))
			NorikvDeleteDocument(attempt, &attempt->documents[i]);
	}
}

bool
NorikvResignByHand(NorikvConnection *connection, const norikv_slice keys[2])
{
	const NorikvStepOptions options = {.sql_name = "resign()", .max_retries = -1};
	Won *one = find_won(connection, keys[LEADER]);
	bool led;

	if (one == NULL)
		return false;
	led = NorikvBootMilliseconds() < one->deadline;
	NorikvRunStep(connection, keys, 2, resign_step, one, &options);
	forget_won(one);
	return led;
}

/* ---- Who leads ---- */

Datum
norikv_sql_is_leader(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	NorikvCampaignPlan *plan;
	NorikvCampaign *campaign;
	norikv_slice keys[2];
	bool leads = false;
	uint64 serial;
	Won *one;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	connection = NorikvGetConnection();
	plan = palloc(sizeof(NorikvCampaignPlan));
	NorikvPlanFor(connection, text_to_cstring(PG_GETARG_TEXT_PP(0)), plan);
	NorikvElectionKeys(plan->election, keys);
	campaign = NorikvCampaignFind(plan, &serial, NULL);
	if (campaign != NULL)
		leads = NorikvCampaignLeads(campaign, serial);
	one = leads ? NULL : find_won(connection, keys[LEADER]);
	if (one != NULL)
		leads = NorikvBootMilliseconds() < one->deadline;
	PG_RETURN_BOOL(leads);
}

Datum
norikv_sql_leader(PG_FUNCTION_ARGS)
{
	NorikvConnection *connection;
	const norikv_entry *entry;
	norikv_slice key;
	NorikvCall *call;
	Datum leader;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	connection = NorikvGetConnection();
	key = NorikvPatternKey(NORIKV_LEADER_PREFIX, PG_GETARG_DATUM(0), "election");
	call = NorikvStartGet(connection, key, "strong");
	NorikvFinish(call);
	entry = norikv_call_entry(call->call);
	if (entry->version.index == 0)
	{
		NorikvFree(call);
		PG_RETURN_NULL();
	}
	leader = NorikvTextFromValue(entry, connection);
	NorikvFree(call);
	PG_RETURN_DATUM(leader);
}
