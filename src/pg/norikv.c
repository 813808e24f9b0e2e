/*
 * norikv.c - the module: its settings, and what is set up when it is loaded.
 *
 * Nothing here, and nothing that runs in the postmaster, may enter gRPC: it does
 * not survive a fork. A backend's first call does.
 */
#include "pg_norikv.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "cache/cache.h"
#include "fdw/write.h"
#include "fdw/fdw.h"
#include "fdw/lookup_join.h"
#include "patterns/campaign.h"
#include "patterns/combine.h"
#include "patterns/lock.h"
#include "worker/keeper.h"
#include "vector/embedder.h"
#include "worker/launcher.h"

PG_MODULE_MAGIC;

char *norikv_server = NULL;
char *norikv_tenant = NULL;
char *norikv_allowed_nodes = NULL;

extern void _PG_init(void);

static void
assign_target(const char *newval, void *extra)
{
	NorikvForgetTarget();
}

static void
define_settings(void)
{
	/*
	 * Which foreign server the functions talk to. A role can be given its own
	 * (ALTER ROLE ... SET norikv.server), a function too; what they may use is
	 * decided by USAGE on that server, so everybody may set it.
	 */
	DefineCustomStringVariable(
		"norikv.server", "Names the foreign server that norikv's functions use.",
		"Where no server of the default name exists, they use the embedded server.",
		&norikv_server, NORIKV_DEFAULT_SERVER, PGC_USERSET, 0, NULL, assign_target, NULL);

	/*
	 * Confines functions and foreign tables to the keys of one tenant, those under
	 * "tenant:<id>:", as the server option of the same name does for good: on a server
	 * that has it, to a tenant of that tenant. It is for sessions that work for one
	 * tenant after another, and confines nobody who can change it. A value that is no
	 * id of a tenant is refused by the next use of a server, not here: a setting that
	 * is refused while it is loaded counts as not set.
	 */
	DefineCustomStringVariable(
		"norikv.tenant", "Confines norikv's functions and foreign tables to a tenant.",
		"Keys are then those under \"tenant:<id>:\" of the server; empty: all of them.",
		&norikv_tenant, "", PGC_USERSET, 0, NULL, assign_target, NULL);

	/*
	 * Where those who are not superusers may let a foreign server point to. A
	 * list of host or host:port, an asterisk stands for any characters of a host
	 * ('*.kv.example.com'). PostgreSQL connects with its own network identity, so
	 * the default allows nothing but this machine. Checked when a server is
	 * created or altered. Paths of unix sockets are for superusers only.
	 */
	DefineCustomStringVariable(
		"norikv.allowed_nodes",
		"Hosts that servers of users other than superusers may name.",
		"A comma-separated list of host or host:port; * stands for any characters of a "
		"host.",
		&norikv_allowed_nodes, "localhost, 127.0.0.1, [::1]", PGC_SUSET, GUC_LIST_INPUT,
		NULL, NULL, NULL);
}

void
_PG_init(void)
{
	define_settings();
	NorikvConnectionInit();
	NorikvJobInit();
	NorikvTransactionInit();
	NorikvLockInit();
	NorikvCampaignSqlInit();
	NorikvCallInit();
	NorikvTableInit();
	NorikvEstimateInit();
	NorikvLookupJoinInit();
	NorikvVectorInit();
	NorikvEmbedderInit();

	if (process_shared_preload_libraries_in_progress)
	{
		NorikvStatInit();
		NorikvCombineInit();
		NorikvLauncherInit();
		NorikvKeeperInit();
		NorikvCacheInit();

		/*
		 * Only here: without preload the settings of the embedded server are not
		 * defined, and each session would warn about those in postgresql.conf.
		 */
		MarkGUCPrefixReserved("norikv");
	}
}
