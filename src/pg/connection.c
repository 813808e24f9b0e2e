/*
 * connection.c - this backend's clients, one for each (server, user mapping, tenant).
 *
 * Found once, then kept until a catalog invalidation, a change of user, of
 * norikv.server or of norikv.tenant says that the answer may be another: a get of a
 * cached connection does no catalog lookup. A client whose server or mapping changed is
 * not used again and closed when the transaction ends.
 */
#include "pg_norikv.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/xact.h"
#include "catalog/pg_user_mapping.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "worker/launcher.h"

#define EMBEDDED_POLL_MS 10
/* For one server and mapping: so many tenants of a session keep their connections. */
#define KEPT_TENANTS 8

/* What a name and the current user come to. */
typedef struct Target
{
	Oid serverid; /* InvalidOid: the embedded server without a server object */
	Oid umid;
	const char *name;
	List *server_options;
	List *user_options;
} Target;

static dlist_head connections = DLIST_STATIC_INIT(connections);
/* Whether the end of the transaction has something to close. */
static bool close_at_end = false;
static bool exit_registered = false;

/* How often something was invalidated that a lookup depends on. */
static uint64 invalidations = 0;

/* The last answer of NorikvGetConnection; NULL: look again. */
static NorikvConnection *target_connection = NULL;
static Oid target_userid = InvalidOid;

void
NorikvForgetTarget(void)
{
	target_connection = NULL;
}

dlist_head *
NorikvConnections(void)
{
	return &connections;
}

/* ---- Closing ---- */

/* Waits for gRPC to let go of what is under way, a second at most. Never throws. */
static void
close_connection(NorikvConnection *connection)
{
	sigset_t saved;

	if (target_connection == connection)
		NorikvForgetTarget();
	NorikvFreeCalls(connection);
	NorikvBlockSignals(&saved);
	norikv_client_free(connection->client);
	NorikvRestoreSignals(&saved);
	dlist_delete(&connection->node);
	MemoryContextDelete(connection->context);
}

/*
 * At the end of the transaction: scans that are under way or are to be repeated,
 * and writes that wait, still have the connection.
 */
bool
NorikvCloseConnections(bool all, Oid serverid)
{
	dlist_iter iter;
	bool found = false;

	NorikvForgetTarget();
	dlist_foreach(iter, &connections)
	{
		NorikvConnection *connection = dlist_container(NorikvConnection, node, iter.cur);

		if (connection->invalidated || (!all && connection->serverid != serverid))
			continue;
		connection->invalidated = close_at_end = found = true;
	}
	return found;
}

/* FATAL runs no PG_CATCH: calls may be under way here. */
static void
close_at_exit(int code, Datum arg)
{
	while (!dlist_is_empty(&connections))
		close_connection(
			dlist_container(NorikvConnection, node, dlist_head_node(&connections)));
}

static void
close_at_transaction_end(XactEvent event, void *arg)
{
	dlist_mutable_iter iter;

	if (!close_at_end || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
						  event != XACT_EVENT_PREPARE))
		return;
	close_at_end = false;
	dlist_foreach_modify(iter, &connections)
	{
		NorikvConnection *connection = dlist_container(NorikvConnection, node, iter.cur);

		if (connection->invalidated || !connection->settings.keep_connections)
			close_connection(connection);
	}
}

/* ---- Invalidation ---- */

/* hash_value 0: everything of the cache. */
static void
invalidate_connections(Datum arg, int cache_id, uint32 hash_value)
{
	dlist_iter iter;

	invalidations++;
	NorikvForgetTarget();
	dlist_foreach(iter, &connections)
	{
		NorikvConnection *connection = dlist_container(NorikvConnection, node, iter.cur);

		if ((cache_id == FOREIGNSERVEROID && OidIsValid(connection->serverid) &&
			 (hash_value == 0 || hash_value == connection->server_hash)) ||
			(cache_id == USERMAPPINGOID && OidIsValid(connection->umid) &&
			 (hash_value == 0 || hash_value == connection->um_hash)))
		{
			connection->invalidated = true;
			close_at_end = true;
		}
	}
}

/* Of privileges: who may use what is to be asked again. */
static void
invalidate_target(Datum arg, int cache_id, uint32 hash_value)
{
	invalidations++;
	NorikvForgetTarget();
}

void
NorikvConnectionInit(void)
{
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, invalidate_connections, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, invalidate_connections, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, invalidate_target, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, invalidate_target, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, invalidate_target, (Datum) 0);
	RegisterXactCallback(close_at_transaction_end, NULL);
}

/* ---- Opening ---- */

static norikv_client *
new_client(const NorikvSettings *settings, norikv_slice key_prefix, const char *name)
{
	norikv_options options;
	norikv_error error;
	norikv_client *client;
	sigset_t saved;

	norikv_options_init(&options);
	options.nodes = settings->nodes;
	options.token = settings->token;
	options.timeout_ms = settings->timeout;
	options.attempt_timeout_ms = settings->attempt_timeout;
	options.connect_timeout_ms = settings->connect_timeout;
	options.max_retries = settings->max_retries;
	options.consistency = settings->consistency;
	options.trust_cas = settings->trust_cas;
	options.key_prefix = key_prefix;

	NorikvBlockSignals(&saved);
	client = norikv_client_new(&options, &error);
	NorikvRestoreSignals(&saved);
	if (client == NULL)
		ereport(ERROR, errcode(ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION),
				errmsg("could not use server \"%s\"", name),
				errdetail("%s", NorikvTextForMessage(error.text)));
	return client;
}

/*
 * Before this PostgreSQL's own norikvd has once become ready, the socket is not to be
 * used: by a mistaken norikv.data_dir another PostgreSQL's may listen there, which
 * has the store, and keeps ours waiting.
 */
static void
await_embedded(const char *name, int timeout)
{
	for (int waited = 0; NorikvEmbeddedGeneration() == 0; waited += EMBEDDED_POLL_MS)
	{
		const char *trouble = NorikvEmbeddedTrouble();

		if (waited >= timeout)
			ereport(ERROR, errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
					errmsg("could not connect to server \"%s\"", name),
					errdetail("The embedded server did not become ready within %d ms.",
							  timeout),
					trouble != NULL ? errhint("%s", trouble) : 0);
		NorikvSleep(EMBEDDED_POLL_MS);
	}
}

/* Errors leave nothing behind: the context is the caller's until all is well. */
static NorikvConnection *
open_connection(const Target *target)
{
	MemoryContext context;
	MemoryContext old_context;
	NorikvConnection *connection;

	if (!exit_registered)
	{
		before_shmem_exit(close_at_exit, (Datum) 0);
		exit_registered = true;
	}
	context = AllocSetContextCreate(CurrentMemoryContext, "norikv connection",
									ALLOCSET_SMALL_SIZES);
	old_context = MemoryContextSwitchTo(context);
	connection = palloc0(sizeof(NorikvConnection));
	connection->context = context;
	connection->serverid = target->serverid;
	connection->umid = target->umid;
	connection->server_hash =
		GetSysCacheHashValue1(FOREIGNSERVEROID, ObjectIdGetDatum(target->serverid));
	connection->um_hash =
		GetSysCacheHashValue1(USERMAPPINGOID, ObjectIdGetDatum(target->umid));
	strlcpy(connection->name, target->name, NAMEDATALEN);
	NorikvLoadSettings(&connection->settings, target->server_options,
					   target->user_options);
	connection->session_tenant = pstrdup(norikv_tenant);
	connection->key_prefix =
		NorikvConnectionPrefix(connection->name, connection->settings.tenant,
							   connection->session_tenant);
	if (connection->settings.nodes == NULL)
	{
		connection->embedded = true;
		connection->settings.nodes = pstrdup(NorikvEmbeddedNodes());
		await_embedded(connection->name, connection->settings.timeout);
		connection->generation = NorikvEmbeddedGeneration();
	}
	connection->stat = NorikvStatAttach(MyDatabaseId, connection->name);
	connection->client =
		new_client(&connection->settings, connection->key_prefix, connection->name);
	connection->max_key = norikv_max_key(connection->client);
	MemoryContextSwitchTo(old_context);

	MemoryContextSetParent(context, TopMemoryContext);
	dlist_push_head(&connections, &connection->node);
	return connection;
}

static bool
is_usable(const NorikvConnection *connection)
{
	if (connection->invalidated)
		return false;
	return !connection->embedded || connection->generation == NorikvEmbeddedGeneration();
}

static bool
is_of_target(const NorikvConnection *connection, const Target *target)
{
	return connection->serverid == target->serverid && connection->umid == target->umid;
}

static bool
is_of_tenant(const NorikvConnection *connection)
{
	return strcmp(connection->session_tenant, norikv_tenant) == 0;
}

/*
 * A session of a pool works for many tenants, one after the other: the connection that
 * was made for the one longest ago gives way.
 */
static void
make_room_for_tenant(const Target *target)
{
	dlist_iter iter;
	int kept = 0;

	dlist_foreach(iter, &connections)
	{
		NorikvConnection *connection = dlist_container(NorikvConnection, node, iter.cur);

		if (!is_usable(connection) || !is_of_target(connection, target))
			continue;
		if (++kept >= KEPT_TENANTS)
			connection->invalidated = close_at_end = true;
	}
}

/*
 * The connection there is, or a new one. Those of no more use go when the
 * transaction ends, for a scan may still have them.
 */
static NorikvConnection *
find_connection(const Target *target)
{
	NorikvConnection *found = NULL;
	dlist_iter iter;

	dlist_foreach(iter, &connections)
	{
		NorikvConnection *connection = dlist_container(NorikvConnection, node, iter.cur);

		if (!is_usable(connection))
			connection->invalidated = close_at_end = true;
		else if (is_of_target(connection, target) && is_of_tenant(connection))
			found = connection;
	}
	if (found == NULL)
	{
		make_room_for_tenant(target);
		found = open_connection(target);
	}
	if (!found->settings.keep_connections)
		close_at_end = true;
	return found;
}

/* ---- Which one ---- */

/* The mapping of the user or of PUBLIC; having none is no error. */
static void
find_user_mapping(Target *target, Oid userid)
{
	HeapTuple tuple;
	Datum options;
	bool is_null;

	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(userid),
							ObjectIdGetDatum(target->serverid));
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(target->serverid));
	if (!HeapTupleIsValid(tuple))
		return;
	target->umid = ((Form_pg_user_mapping) GETSTRUCT(tuple))->oid;
	options = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
							  Anum_pg_user_mapping_umoptions, &is_null);
	if (!is_null)
		target->user_options = untransformRelOptions(options);
	ReleaseSysCache(tuple);
}

static void
resolve_server(Target *target, Oid serverid)
{
	ForeignServer *server = GetForeignServer(serverid);
	AclResult result;

	if (strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, NORIKV_FDW_NAME) != 0)
		ereport(ERROR, errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("server \"%s\" is not of foreign-data wrapper \"%s\"",
					   server->servername, NORIKV_FDW_NAME));
	result = pg_foreign_server_aclcheck(serverid, GetUserId(), ACL_USAGE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FOREIGN_SERVER, server->servername);
	target->serverid = serverid;
	target->name = server->servername;
	target->server_options = server->options;
	find_user_mapping(target, GetUserId());
}

/* The embedded server has no object of its own: the wrapper's USAGE stands for it. */
static void
resolve_embedded(Target *target)
{
	Oid fdwid = get_foreign_data_wrapper_oid(NORIKV_FDW_NAME, false);
	AclResult result = pg_foreign_data_wrapper_aclcheck(fdwid, GetUserId(), ACL_USAGE);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FDW, NORIKV_FDW_NAME);
	target->name = NORIKV_DEFAULT_SERVER;
}

static void
resolve(const char *name, bool from_setting, Target *target)
{
	Oid serverid = get_foreign_server_oid(name, true);

	if (OidIsValid(serverid))
		resolve_server(target, serverid);
	else if (strcmp(name, NORIKV_DEFAULT_SERVER) == 0)
		resolve_embedded(target);
	else
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("server \"%s\" does not exist", name),
				from_setting ? errhint("The setting \"norikv.server\" names it.") : 0);
}

/*
 * Looking up one thing can bring the news that another, looked up before, has changed:
 * a connection made of the old one would not be told any more.
 */
static NorikvConnection *
connect_to(const char *name, bool from_setting)
{
	Target target;
	uint64 before;

	do
	{
		CHECK_FOR_INTERRUPTS();
		before = invalidations;
		target = (Target){0};
		resolve(name, from_setting, &target);
	} while (invalidations != before);
	return find_connection(&target);
}

NorikvConnection *
NorikvGetConnection(void)
{
	Oid userid = GetUserId();
	NorikvConnection *connection;

	if (target_connection != NULL && target_userid == userid &&
		is_usable(target_connection))
		return target_connection;

	connection = connect_to(norikv_server, true);
	target_connection = connection;
	target_userid = userid;
	return connection;
}

/* The one there is, without the catalogs but for the user mapping. */
NorikvConnection *
NorikvGetTableConnection(Oid serverid, Oid userid)
{
	Target target = {.serverid = serverid};
	ForeignServer *server;
	dlist_iter iter;

	find_user_mapping(&target, userid);
	dlist_foreach(iter, &connections)
	{
		NorikvConnection *connection = dlist_container(NorikvConnection, node, iter.cur);

		if (is_of_target(connection, &target) && is_of_tenant(connection) &&
			is_usable(connection))
		{
			close_at_end |= !connection->settings.keep_connections;
			return connection;
		}
	}
	server = GetForeignServer(serverid);
	target.name = server->servername;
	target.server_options = server->options;
	return find_connection(&target);
}

NorikvConnection *
NorikvGetNamedConnection(const char *name)
{
	return name == NULL ? NorikvGetConnection() : connect_to(name, false);
}

NorikvConnection *
NorikvGetWriteConnection(const char *sql_name)
{
	NorikvConnection *connection;

	PreventCommandIfReadOnly(sql_name);
	PreventCommandIfParallelMode(sql_name);
	PreventCommandDuringRecovery(sql_name);

	connection = NorikvGetConnection();
	if (connection->settings.read_only)
		ereport(ERROR, errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				errmsg("cannot execute %s on server \"%s\"", sql_name, connection->name),
				errdetail("The server has the option \"read_only\"."));
	return connection;
}

void
NorikvAskInfo(NorikvConnection *connection)
{
	NorikvCapabilities *capabilities = &connection->capabilities;
	int64 asked_us = NorikvBootMicroseconds();
	NorikvCall *call = NorikvStartInfo(connection);
	const norikv_info *info;

	NorikvFinish(call);
	info = norikv_call_info(call->call);
	NorikvKeepStoreTime(connection, info->store_time_ms, asked_us,
						NorikvBootMicroseconds());
	capabilities->named = info->name[0] != '\0';
	capabilities->atomic_cas = info->atomic_cas;
	capabilities->transactions = info->transactions;
	capabilities->add = info->add;
	capabilities->watch = info->watch;
	capabilities->quotas = info->quotas;
	capabilities->vectors = info->vectors;
	capabilities->vector_checks = info->vector_checks;
	capabilities->vector_scan = info->vector_scan;
	capabilities->vector_ranges = info->vector_ranges;
	if (capabilities->store_id == NULL ||
		strcmp(capabilities->store_id, info->store_id) != 0)
	{
		capabilities->store_id = MemoryContextStrdup(connection->context, info->store_id);
		capabilities->latest_token = 0;
	}
	capabilities->tells_latest = info->latest.term != 0;
	capabilities->latest_token =
		Max(capabilities->latest_token, NorikvVersionToken(&info->latest));
	capabilities->commit_operations = info->commit_operations;
	capabilities->commit_conditions = info->commit_conditions;
	capabilities->commit_bytes = info->commit_bytes;
	capabilities->multi_get_keys = info->multi_get_keys;
	capabilities->known = true;
	NorikvFree(call);
}

const NorikvCapabilities *
NorikvGetCapabilities(NorikvConnection *connection)
{
	if (!connection->capabilities.known)
		NorikvAskInfo(connection);
	return &connection->capabilities;
}

/* Nothing that counts on compare-and-swap may count on a server that only may have it. */
void
NorikvRequireAtomicCas(NorikvConnection *connection, const char *sql_name)
{
	if (NorikvGetCapabilities(connection)->atomic_cas)
		return;
	ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("server \"%s\" does not support %s", connection->name, sql_name),
			errdetail("It does not say that its compare-and-swap is atomic (atomic_cas)."),
			errhint("Where you know that it is, set the server option \"trust_cas\"."));
}

void
NorikvRequireTransactions(NorikvConnection *connection, const char *sql_name)
{
	if (NorikvGetCapabilities(connection)->transactions)
		return;
	ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("server \"%s\" does not support %s", connection->name, sql_name),
			errdetail("It has no transactions: several keys cannot change in one step."));
}

void
NorikvRequireQuotas(NorikvConnection *connection, const char *sql_name)
{
	if (NorikvGetCapabilities(connection)->quotas)
		return;
	ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			errmsg("server \"%s\" does not support %s", connection->name, sql_name),
			errdetail("It has no quotas, so nothing would limit a tenant."));
}
