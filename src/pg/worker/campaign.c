/*
 * campaign.c - the slots of campaigns in shared memory.
 */
#include "postgres.h"

#include "storage/lwlock.h"
#include "utils/guc.h"

#include "campaign.h"
#include "keeper.h"

typedef struct SharedCampaigns
{
	LWLock *lock;
	int n_slots;
	bool loaded;
	uint32 n_databases; /* whose rows have been read */
	uint64 last_serial;
	NorikvCampaign slots[FLEXIBLE_ARRAY_MEMBER];
} SharedCampaigns;

static SharedCampaigns *shared = NULL;
static int max_campaigns = 32;

/* ---- Shared memory ---- */

static Size
shared_size(void)
{
	return add_size(offsetof(SharedCampaigns, slots),
					mul_size(max_campaigns, sizeof(NorikvCampaign)));
}

static void
init_shared(LWLockPadded *locks)
{
	shared->lock = &locks->lock;
	shared->n_slots = max_campaigns;
}

static const NorikvSharedMemory shared_memory = {
	.name = "norikv campaigns",
	.size = shared_size,
	.init = init_shared,
	.memory = (void **) &shared,
	.tranche = "norikv_campaigns",
	.n_locks = 1,
};

void
NorikvCampaignInit(void)
{
	/*
	 * Campaigns of all databases that can be under way at a time. Each takes 10 kB of
	 * shared memory, and one of norikv.max_leases.
	 */
	DefineCustomIntVariable("norikv.max_campaigns",
							"Most campaigns that are under way at a time.",
							"Those of all databases of this PostgreSQL.", &max_campaigns,
							32, 1, 1000, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	NorikvShareMemory(&shared_memory);
}

int
NorikvCampaignSlots(void)
{
	return shared == NULL ? 0 : shared->n_slots;
}

NorikvCampaign *
NorikvCampaignSlot(int slot)
{
	return &shared->slots[slot];
}

void
NorikvCampaignLock(bool exclusive)
{
	LWLockAcquire(shared->lock, exclusive ? LW_EXCLUSIVE : LW_SHARED);
}

void
NorikvCampaignUnlock(void)
{
	LWLockRelease(shared->lock);
}

/* ---- Their lives ---- */

NorikvCampaign *
NorikvCampaignReserve(const NorikvCampaignPlan *plan, NorikvLease *lease)
{
	NorikvCampaign *found = NULL;

	NorikvCampaignLock(true);
	for (int i = 0; i < shared->n_slots && found == NULL; i++)
	{
		if (shared->slots[i].state == NORIKV_CAMPAIGN_FREE)
			found = &shared->slots[i];
	}
	if (found != NULL)
	{
		memset(found, 0, sizeof(*found));
		found->state = NORIKV_CAMPAIGN_PENDING;
		found->serial = ++shared->last_serial;
		found->plan = *plan;
		found->lease = lease;
	}
	NorikvCampaignUnlock();
	if (found == NULL)
		ereport(ERROR, errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("too many campaigns are under way"),
				errdetail("The limit is %d.", shared->n_slots),
				errhint("Raise \"norikv.max_campaigns\" and restart PostgreSQL."));
	return found;
}

void
NorikvCampaignStart(NorikvCampaign *campaign, uint64 serial)
{
	NorikvCampaignLock(true);
	if (campaign->serial == serial && campaign->state == NORIKV_CAMPAIGN_PENDING)
		campaign->state = NORIKV_CAMPAIGN_STANDING;
	NorikvCampaignUnlock();
	NorikvKeeperWake(0);
}

/* A lease that was never used is given back by the keeper as well: only it uses it. */
void
NorikvCampaignStop(NorikvCampaign *campaign, uint64 serial)
{
	NorikvCampaignLock(true);
	if (campaign->serial == serial && campaign->state != NORIKV_CAMPAIGN_FREE)
		campaign->state = NORIKV_CAMPAIGN_STOPPING;
	NorikvCampaignUnlock();
	NorikvKeeperWake(0);
}

void
NorikvCampaignStopAll(Oid database)
{
	bool any = false;

	if (shared == NULL)
		return;
	NorikvCampaignLock(true);
	for (int i = 0; i < shared->n_slots; i++)
	{
		NorikvCampaign *campaign = &shared->slots[i];

		if (campaign->state == NORIKV_CAMPAIGN_FREE ||
			(OidIsValid(database) && campaign->plan.database != database))
			continue;
		campaign->state = NORIKV_CAMPAIGN_STOPPING;
		campaign->plan.database = InvalidOid;
		any = true;
	}
	NorikvCampaignUnlock();
	if (any)
		NorikvKeeperWake(0);
}

void
NorikvCampaignStopServer(Oid database, const char *server)
{
	NorikvCampaignLock(true);
	for (int i = 0; i < shared->n_slots; i++)
	{
		NorikvCampaign *campaign = &shared->slots[i];

		if (campaign->state != NORIKV_CAMPAIGN_FREE &&
			campaign->plan.database == database &&
			strcmp(campaign->plan.server, server) == 0)
			campaign->state = NORIKV_CAMPAIGN_STOPPING;
	}
	NorikvCampaignUnlock();
	NorikvKeeperWake(0);
}

void
NorikvCampaignRenameServer(Oid database, const char *server, const char *renamed)
{
	NorikvCampaignLock(true);
	for (int i = 0; i < shared->n_slots; i++)
	{
		NorikvCampaignPlan *plan = &shared->slots[i].plan;

		if (shared->slots[i].state != NORIKV_CAMPAIGN_FREE &&
			plan->database == database && strcmp(plan->server, server) == 0)
			strlcpy(plan->server, renamed, sizeof(plan->server));
	}
	NorikvCampaignUnlock();
}

/* ---- Looking for one ---- */

static bool
is_like(const NorikvCampaignPlan *a, const NorikvCampaignPlan *b)
{
	return a->database == b->database && strcmp(a->server, b->server) == 0 &&
		   strcmp(a->tenant, b->tenant) == 0 && strcmp(a->election, b->election) == 0;
}

NorikvCampaign *
NorikvCampaignFind(const NorikvCampaignPlan *like, uint64 *serial, bool *pending)
{
	NorikvCampaign *found = NULL;

	if (shared == NULL)
		return NULL;
	NorikvCampaignLock(false);
	for (int i = 0; i < shared->n_slots; i++)
	{
		NorikvCampaign *campaign = &shared->slots[i];

		if ((campaign->state == NORIKV_CAMPAIGN_STANDING ||
			 (campaign->state == NORIKV_CAMPAIGN_PENDING && pending != NULL)) &&
			(found == NULL || campaign->serial > found->serial) &&
			is_like(&campaign->plan, like))
			found = campaign;
	}
	if (found != NULL)
		*serial = found->serial;
	if (found != NULL && pending != NULL)
		*pending = found->state == NORIKV_CAMPAIGN_PENDING;
	NorikvCampaignUnlock();
	return found;
}

/* The lock is held, so that the keeper does not free the lease meanwhile. */
bool
NorikvCampaignLeads(NorikvCampaign *campaign, uint64 serial)
{
	bool leads;

	NorikvCampaignLock(false);
	leads = campaign->serial == serial && campaign->state == NORIKV_CAMPAIGN_STANDING &&
			NorikvLeaseIsHeld(campaign->lease);
	NorikvCampaignUnlock();
	return leads;
}

/* Those of the same key are of the same row, which is locked: one follows the other. */
bool
NorikvCampaignNodeStands(const NorikvCampaignPlan *plan, int endpoint)
{
	bool stands = false;

	NorikvCampaignLock(false);
	for (int i = 0; i < shared->n_slots && !stands; i++)
	{
		NorikvCampaign *campaign = &shared->slots[i];

		stands = !is_like(&campaign->plan, plan) &&
				 (campaign->state == NORIKV_CAMPAIGN_STANDING ||
				  campaign->state == NORIKV_CAMPAIGN_PENDING) &&
				 campaign->lease->endpoint == endpoint &&
				 strcmp(campaign->plan.election, plan->election) == 0 &&
				 strcmp(campaign->plan.node, plan->node) == 0;
	}
	NorikvCampaignUnlock();
	return stands;
}

/* First its slot is the campaign's only, then the keeper's to delete. */
bool
NorikvCampaignGivesWay(const NorikvCampaignPlan *plan, norikv_slice meta)
{
	bool gives_way = false;

	NorikvCampaignLock(false);
	for (int i = 0; i < shared->n_slots && !gives_way; i++)
	{
		NorikvCampaign *campaign = &shared->slots[i];

		gives_way = campaign->state != NORIKV_CAMPAIGN_FREE && campaign->lease != NULL &&
					(campaign->state == NORIKV_CAMPAIGN_STOPPING ||
					 is_like(&campaign->plan, plan)) &&
					NorikvLeaseIsOurs(campaign->lease, meta);
	}
	NorikvCampaignUnlock();
	return gives_way || NorikvLeaseIsReleased(meta);
}

bool
NorikvCampaignsAreLoaded(void)
{
	return shared->loaded;
}

void
NorikvCampaignsLoaded(void)
{
	shared->loaded = true;
}

uint32
NorikvCampaignDatabases(void)
{
	uint32 n;

	NorikvCampaignLock(false);
	n = shared->n_databases;
	NorikvCampaignUnlock();
	return n;
}

void
NorikvCampaignDatabaseLoaded(void)
{
	NorikvCampaignLock(true);
	shared->n_databases++;
	NorikvCampaignUnlock();
}
