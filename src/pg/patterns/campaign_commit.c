/*
 * campaign_commit.c - what transactions and DDL do to campaigns.
 *
 * What campaign() and resign() ask for is done at commit, and so is what becomes of the
 * campaigns of a database or a server that is dropped. Rows name their server, for names,
 * unlike oids, survive a dump: where the server gets another name, they get it, too.
 */
#include "patterns/campaign.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_server.h"
#include "commands/extension.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static object_access_hook_type next_object_access_hook = NULL;

/* ---- What is to happen at commit ---- */

typedef struct Intent
{
	dlist_node node;
	int level; /* of nesting of the transaction */
	bool starts;
	NorikvCampaign *campaign; /* NULL: all of a database, or of a server, are meant */
	uint64 serial;
	Oid database; /* InvalidOid: those of a server in this one */
	char server[NAMEDATALEN];
	char renamed[NAMEDATALEN]; /* the server's new name; empty: they are to stop */
} Intent;

static dlist_head intents = DLIST_STATIC_INIT(intents);

static Intent *
new_intent(void)
{
	Intent *intent = MemoryContextAllocZero(TopMemoryContext, sizeof(Intent));

	intent->level = GetCurrentTransactionNestLevel();
	dlist_push_tail(&intents, &intent->node);
	return intent;
}

/* Never throws. */
static void
carry_out(Intent *intent, bool committed)
{
	if (committed && intent->campaign == NULL && OidIsValid(intent->database))
		NorikvCampaignStopAll(intent->database);
	else if (committed && intent->campaign == NULL && intent->renamed[0] != '\0')
	{
		NorikvCampaignRenameServer(MyDatabaseId, intent->server, intent->renamed);
		NorikvLeaseRenameServer(MyDatabaseId, intent->server, intent->renamed);
	}
	else if (committed && intent->campaign == NULL)
		NorikvCampaignStopServer(MyDatabaseId, intent->server);
	else if (committed && intent->starts)
		NorikvCampaignStart(intent->campaign, intent->serial);
	else if (committed != intent->starts && intent->campaign != NULL)
		NorikvCampaignStop(intent->campaign, intent->serial);
	dlist_delete(&intent->node);
	pfree(intent);
}

static void
end_level(int level, bool committed)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &intents)
	{
		Intent *intent = dlist_container(Intent, node, iter.cur);

		if (intent->level >= level)
			carry_out(intent, committed);
	}
}

static void
transaction_event(XactEvent event, void *arg)
{
	if (dlist_is_empty(&intents))
		return;
	if (event == XACT_EVENT_COMMIT)
		end_level(1, true);
	else if (event == XACT_EVENT_ABORT)
		end_level(1, false);
	else if (event == XACT_EVENT_PRE_PREPARE)
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("cannot PREPARE a transaction that begins or ends a campaign"));
}

static void
savepoint_event(SubXactEvent event, SubTransactionId my_subid,
				SubTransactionId parent_subid, void *arg)
{
	int level = GetCurrentTransactionNestLevel();
	dlist_iter iter;

	if (event == SUBXACT_EVENT_ABORT_SUB)
		end_level(level, false);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		dlist_foreach(iter, &intents)
		{
			Intent *intent = dlist_container(Intent, node, iter.cur);

			intent->level = Min(intent->level, level - 1);
		}
	}
}

bool
NorikvIsIntended(uint64 serial, bool starts)
{
	dlist_iter iter;

	dlist_foreach(iter, &intents)
	{
		Intent *intent = dlist_container(Intent, node, iter.cur);

		if (intent->campaign != NULL && intent->serial == serial &&
			intent->starts == starts)
			return true;
	}
	return false;
}

void
NorikvIntend(NorikvCampaign *campaign, uint64 serial, bool starts)
{
	Intent *intent = new_intent();

	intent->campaign = campaign;
	intent->serial = serial;
	intent->starts = starts;
}

/* ---- Servers that are dropped or get another name ---- */

/* NULL: the extension has none, or is being created. */
static Relation
open_rows(void)
{
	Oid schema = get_namespace_oid("norikv", true);
	Oid table = OidIsValid(schema) ? get_relname_relid(NORIKV_CAMPAIGNS_TABLE, schema)
								   : InvalidOid;

	if (!OidIsValid(table) || !OidIsValid(get_extension_oid("norikv", true)))
		return NULL;
	return table_open(table, RowExclusiveLock);
}

/* The row with the server's new name. A campaign of that name may be there: 23505. */
static void
rename_row(Relation relation, HeapTuple row, const char *renamed)
{
	TupleDesc desc = RelationGetDescr(relation);
	Datum *values = palloc0(desc->natts * sizeof(Datum));
	bool *nulls = palloc0(desc->natts * sizeof(bool));
	bool *replaced = palloc0(desc->natts * sizeof(bool));

	values[0] = CStringGetTextDatum(renamed);
	replaced[0] = true;
	CatalogTupleUpdate(relation, &row->t_self,
					   heap_modify_tuple(row, desc, values, nulls, replaced));
}

/*
 * Deletes the server's rows, or gives them its new name: without a query, since this is
 * in the middle of a command, and as they are now, whatever this transaction may see.
 * Whether there were any.
 */
static bool
change_rows(const char *server, const char *renamed)
{
	Relation relation = open_rows();
	SysScanDesc scan;
	HeapTuple tuple;
	bool any = false;

	if (relation == NULL)
		return false;
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool is_null;
		Datum name = heap_getattr(tuple, 1, RelationGetDescr(relation), &is_null);

		if (strcmp(TextDatumGetCString(name), server) != 0)
			continue;
		if (renamed == NULL)
			simple_heap_delete(relation, &tuple->t_self);
		else
			rename_row(relation, tuple, renamed);
		any = true;
	}
	systable_endscan(scan);
	table_close(relation, NoLock);
	return any;
}

/* As the command that is running has left it, which others of this transaction see later. */
static bool
name_in_this_command(Oid server, NameData *name)
{
	Relation relation = table_open(ForeignServerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found;

	ScanKeyInit(&key, Anum_pg_foreign_server_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(server));
	scan = systable_beginscan(relation, ForeignServerOidIndexId, true, SnapshotSelf, 1,
							  &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		*name = ((Form_pg_foreign_server) GETSTRUCT(tuple))->srvname;
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return found;
}

/* Transactions that have written a row with the old name are waited for. */
static void
server_altered(Oid object)
{
	ForeignServer *server = GetForeignServerExtended(object, FSV_MISSING_OK);
	NameData name;
	Intent *intent;

	if (server == NULL || !name_in_this_command(object, &name) ||
		strcmp(server->servername, NameStr(name)) == 0)
		return;
	LockDatabaseObject(ForeignServerRelationId, object, 0, AccessExclusiveLock);
	(void) change_rows(server->servername, NameStr(name));
	if (NorikvCampaignSlots() == 0)
		return;
	intent = new_intent();
	strlcpy(intent->server, server->servername, NAMEDATALEN);
	strlcpy(intent->renamed, NameStr(name), NAMEDATALEN);
}

/* Their rows go without a word. */
static void
object_dropped(Oid class, Oid object)
{
	Oid database = InvalidOid;
	ForeignServer *server;

	if (class == DatabaseRelationId)
		database = object;
	else if (class == ExtensionRelationId && object == get_extension_oid("norikv", true))
		database = MyDatabaseId;
	if (OidIsValid(database))
		new_intent()->database = database;
	if (class != ForeignServerRelationId)
		return;
	server = GetForeignServerExtended(object, FSV_MISSING_OK);
	if (server != NULL && change_rows(server->servername, NULL))
		strlcpy(new_intent()->server, server->servername, NAMEDATALEN);
}

static void
object_access(ObjectAccessType access, Oid class, Oid object, int sub_object, void *arg)
{
	if (next_object_access_hook != NULL)
		next_object_access_hook(access, class, object, sub_object, arg);
	if (access == OAT_DROP && NorikvCampaignSlots() > 0)
		object_dropped(class, object);
	else if (access == OAT_POST_ALTER && class == ForeignServerRelationId)
		server_altered(object);
}

void
NorikvCampaignLockServer(const NorikvConnection *connection)
{
	ForeignServer *server;

	if (!OidIsValid(connection->serverid))
		return;
	LockDatabaseObject(ForeignServerRelationId, connection->serverid, 0,
					   AccessShareLock);
	server = GetForeignServerExtended(connection->serverid, FSV_MISSING_OK);
	if (server == NULL || strcmp(server->servername, connection->name) != 0)
		ereport(ERROR, errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				errmsg("server \"%s\" was dropped or renamed at the same time",
					   connection->name));
}

void
NorikvCampaignSqlInit(void)
{
	RegisterXactCallback(transaction_event, NULL);
	RegisterSubXactCallback(savepoint_event, NULL);
	next_object_access_hook = object_access_hook;
	object_access_hook = object_access;
}
