/*
 * campaign.h - campaigns in shared memory: elections that this PostgreSQL stands in.
 *
 * A campaign is a row of norikv.campaigns; its slot here is what the keeper sees of it,
 * and what a worker needs to run its commands. Who makes one fills a slot and sets it off
 * when the row is committed. From then on the slot is the keeper's: it stands, renews,
 * stands again, and queues an event for each change, until it is told to stop.
 *
 * A leader is who holds the lease, by CLOCK_BOOTTIME: the slot's lease says so to
 * everybody at any moment, whatever the keeper is doing.
 */
#ifndef NORIKV_CAMPAIGN_H
#define NORIKV_CAMPAIGN_H

#include "pg_norikv.h"

#include "postmaster/bgworker.h"

#include "lease.h"

#define NORIKV_CAMPAIGN_NAME 512 /* bytes of an election's name */
#define NORIKV_CAMPAIGN_NODE 256
#define NORIKV_CAMPAIGN_COMMAND 4096 /* of on_elected, and of on_lost */
#define NORIKV_CAMPAIGN_EVENTS 16	/* that wait for their commands to be run */

#define NORIKV_LEADER_PREFIX "leader:"
#define NORIKV_LEADER_META_PREFIX "leader-meta:"

typedef enum NorikvCampaignState
{
	NORIKV_CAMPAIGN_FREE,
	NORIKV_CAMPAIGN_PENDING, /* its row is not committed yet */
	NORIKV_CAMPAIGN_STANDING,
	NORIKV_CAMPAIGN_STOPPING /* the keeper gives its lease back, and frees it */
} NorikvCampaignState;

typedef struct NorikvCampaignEvent
{
	bool elected;	/* else lost */
	int64 token;
} NorikvCampaignEvent;

/* What a campaign is made of. Strings end with a zero byte, and are in UTF-8. */
typedef struct NorikvCampaignPlan
{
	Oid database; /* InvalidOid: it is gone, and no commands are run */
	Oid role;
	char server[NAMEDATALEN]; /* in the database's encoding */
	char tenant[NORIKV_MAX_KEY_PREFIX + 1];
	char election[NORIKV_CAMPAIGN_NAME + 1];
	char node[NORIKV_CAMPAIGN_NODE + 1];
	uint64 ttl_ms;
	/* In the database's encoding, where they are run; empty: none. */
	char on_elected[NORIKV_CAMPAIGN_COMMAND + 1];
	char on_lost[NORIKV_CAMPAIGN_COMMAND + 1];
} NorikvCampaignPlan;

typedef struct NorikvCampaign
{
	NorikvCampaignState state;
	uint64 serial; /* of this use of the slot */
	NorikvCampaignPlan plan;
	NorikvLease *lease; /* its own for all its life; in shared memory as well */
	bool leads;			/* as far as events tell: the last one was "elected" */
	int64 token;		/* of that one */
	/* Events are made and run in order; those from first on are not yet run. */
	uint64 first_event;
	uint64 next_event;
	NorikvCampaignEvent events[NORIKV_CAMPAIGN_EVENTS];
} NorikvCampaign;

/* ---- campaign.c ---- */

extern void NorikvCampaignInit(void);
extern int NorikvCampaignSlots(void);
extern NorikvCampaign *NorikvCampaignSlot(int slot);
extern void NorikvCampaignLock(bool exclusive);
extern void NorikvCampaignUnlock(void);

/* What one wants of a slot; the lease is the caller's until this returns. */
extern NorikvCampaign *NorikvCampaignReserve(const NorikvCampaignPlan *plan,
											 NorikvLease *lease);
/* These never throw. */
extern void NorikvCampaignStart(NorikvCampaign *campaign, uint64 serial);
extern void NorikvCampaignStop(NorikvCampaign *campaign, uint64 serial);
/* All of a database, or of one that is gone; InvalidOid: of all. No commands are run. */
extern void NorikvCampaignStopAll(Oid database);
/* All of a server in a database, as if each resigned. */
extern void NorikvCampaignStopServer(Oid database, const char *server);
/* What is found by the server's name is found by the new one. Never throws. */
extern void NorikvCampaignRenameServer(Oid database, const char *server,
									   const char *renamed);
/*
 * The newest of this database, server, tenant and election that stands, or, with pending
 * not NULL, that is pending: which of both, and its serial. NULL: there is none.
 */
extern NorikvCampaign *NorikvCampaignFind(const NorikvCampaignPlan *like, uint64 *serial,
										  bool *pending);
/* Whether the use of the slot with this serial stands, and leads at this moment. */
extern bool NorikvCampaignLeads(NorikvCampaign *campaign, uint64 serial);
/* Whether another one stands for the election as this node in this store. */
extern bool NorikvCampaignNodeStands(const NorikvCampaignPlan *plan, int endpoint);
/*
 * Whether the document is of a campaign's lease that is given up, or that of a campaign
 * of this database, server, tenant and election.
 */
extern bool NorikvCampaignGivesWay(const NorikvCampaignPlan *plan, norikv_slice meta);
/* Whether the rows of all databases have been read since PostgreSQL started. */
extern bool NorikvCampaignsAreLoaded(void);
extern void NorikvCampaignsLoaded(void);
/* How many databases' rows have been read; one more. */
extern uint32 NorikvCampaignDatabases(void);
extern void NorikvCampaignDatabaseLoaded(void);

/* ---- keeper_campaign.c ---- */

/* The document at leader-meta:<election>; token 0: it is the version's. palloc'd. */
extern norikv_slice NorikvLeaderMeta(const char *node, const char *nonce, int64 token);

/* ---- campaign_worker.c: processes that live for one task ---- */

extern bool NorikvStartEventWorker(int slot, BackgroundWorkerHandle **handle);
extern bool NorikvStartLoadWorker(BackgroundWorkerHandle **handle);

#endif
