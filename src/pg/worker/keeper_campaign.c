/*
 * keeper_campaign.c - the keeper's part of campaigns: it stands, and tells of changes.
 *
 * leader:<election> holds the node's id, as programs in other languages expect it, and
 * leader-meta:<election> {node, nonce, token}. Both are written in one step, where there
 * is no leader, and then renewed as a lease (keeper_lease.c).
 *
 * While another leads, its key is watched, so that a leader that resigns, or whose lease
 * has run out, is followed at once. The keys are looked at when the watch begins, when it
 * tells that they may be free, and, since the server tells of an expired key when it has
 * got to it, when a lease like ours would be over. Where there is no watch, or nothing
 * is heard of it, they are looked at several times a second: a leader that died is
 * followed within its time to live and half a second in any case.
 *
 * Who leads is what the lease says, at any moment. Events follow it: each change is
 * queued once, and its commands are run one after the other, by a process each.
 */
#include "postgres.h"

#include "postmaster/bgworker.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "cache/cache.h"
#include "campaign.h"
#include "keeper.h"
#include "patterns/pattern.h"

#define LOOK_MS 300			 /* while another leads, and is not watched */
#define WATCHED_LOOK_MS 5000 /* while it is */
#define LATE_MS 100			 /* after the end of its lease */
#define HEARTBEAT_MS 1000	 /* signs of life in a watch */
#define SILENT_MS 1500		 /* without one it is not relied on, and begun again */
#define WATCH_PAUSE_MS 1000  /* after one that was refused */
#define NO_WATCH_PAUSE_MS (60 * 1000) /* where the server has none */
#define AGAIN_MS 20			 /* where another was faster: it may be gone at once */
#define PAUSE_MS 500		 /* after a failure */
#define NO_CLIENT_PAUSE_MS 50
#define WORKER_LOOK_MS 50	 /* while a process runs commands */
#define NO_WORKER_PAUSE_MS 1000 /* where PostgreSQL has no room for one */
#define LOAD_PAUSE_MS 1000
#define LONGEST_LOAD_PAUSE_MS (5 * 60 * 1000)

enum
{
	META, /* carries the nonce, so it is the lease's first key */
	LEADER
};

/* What the keeper does for the campaign in the slot of the same number. */
typedef struct Stand
{
	NorikvKeeperCall call;
	uint64 serial;	/* of the campaign; 0: none */
	NorikvCampaignState state; /* as it was when the step began */
	bool taking;	/* the call is a Commit, else a MultiGet */
	NorikvCacheWrite cache_write;
	int64 sent_at;
	int64 next_at; /* when the keys are read */
	NorikvKeeperCall watch; /* of the leader's key */
	bool watching;			/* it has begun */
	bool changed;			/* it has told of something that is not read yet */
	int64 heard_at;			/* its last page, or when it was asked for */
	int64 watch_at;			/* when it may be begun again */
	norikv_version seen;	/* of the leader's key */
	int64 renewed_at;		/* when that was new, at the latest */
	BackgroundWorkerHandle *worker; /* runs the commands of the first event */
	int64 worker_at;				/* when it is looked at, or tried to start */
} Stand;

static Stand *stands; /* one for each slot: calls in lists must not move */
static BackgroundWorkerHandle *loader = NULL;
static int64 load_at = 0;
static int64 load_pause = LOAD_PAUSE_MS;

static norikv_slice
key_of(const NorikvLease *lease, int i)
{
	return (norikv_slice){lease->puts[i].key, lease->puts[i].key_size};
}

/* ---- Watching who leads ---- */

static void
end_watch(Stand *stand)
{
	NorikvKeeperDrop(&stand->watch);
	stand->watching = false;
}

static void
begin_watch(const NorikvLease *lease, Stand *stand, int64 now)
{
	char end[NORIKV_WATCH_END_SIZE];
	norikv_slice key = key_of(lease, LEADER);
	norikv_watch_request request = {.start = key,
									.end = norikv_key_end(key, end),
									.heartbeat_ms = HEARTBEAT_MS};
	NorikvKeeperClient *client = NorikvKeeperClientFor(lease->endpoint);

	stand->watch_at = now + NO_CLIENT_PAUSE_MS;
	if (client == NULL)
		return;
	stand->heard_at = now;
	NorikvKeeperTrack(&stand->watch, client,
					  norikv_watch(NorikvKeeperClientHandle(client), &request, NULL),
					  NORIKV_KEEPER_SLOW_STREAM_MS);
}

/* What was read before the watch began may be old by now, too. */
static void
take_page(Stand *stand, const norikv_changes *page, int64 now)
{
	stand->changed |= !stand->watching || page->reset;
	for (size_t i = 0; i < page->n_changes; i++)
	{
		stand->seen = page->changes[i].version;
		stand->renewed_at = now;
		stand->changed |= page->changes[i].kind != NORIKV_WATCH_PUT;
	}
	stand->watching = true;
	stand->heard_at = now;
}

static bool
is_watched(const Stand *stand, int64 now)
{
	return stand->watching && now < stand->heard_at + SILENT_MS &&
		   norikv_call_watching(stand->watch.call);
}

/*
 * When the keys are read again if nothing is heard: a leader of the same time to live
 * whose last renewal is known would then be over; others are not forgotten.
 */
static int64
next_look(const NorikvLease *lease, const Stand *stand, int64 now)
{
	int64 over_at = stand->renewed_at + (int64) lease->ttl_ms + LATE_MS;

	if (!is_watched(stand, now))
		return now + LOOK_MS;
	return over_at > now ? Min(over_at, now + WATCHED_LOOK_MS) : now + WATCHED_LOOK_MS;
}

/* While this node does not lead, and another does. */
static void
watch_leader(const NorikvLease *lease, Stand *stand, int64 now)
{
	norikv_call *call = stand->watch.call;
	const norikv_changes *page = NULL;

	if (call == NULL)
	{
		if (stand->seen.index != 0 && now >= stand->watch_at)
			begin_watch(lease, stand, now);
		return;
	}
	if (norikv_call_done(call))
	{
		page = norikv_call_changes(call);
		if (page == NULL)
		{
			bool none = norikv_call_error(call)->code == NORIKV_UNIMPLEMENTED;

			end_watch(stand);
			stand->watch_at = now + (none ? NO_WATCH_PAUSE_MS : WATCH_PAUSE_MS);
		}
		else
		{
			take_page(stand, page, now);
			(void) norikv_call_next(call);
			stand->next_at = stand->changed ? now : next_look(lease, stand, now);
		}
	}
	else if (now >= stand->heard_at + SILENT_MS)
	{
		end_watch(stand);
		stand->watch_at = now;
	}
	if (!is_watched(stand, now) && stand->next_at > now + PAUSE_MS)
		stand->next_at = now + LOOK_MS;
}

/* ---- Standing ---- */

static void
start_reading(NorikvCampaign *campaign, Stand *stand, int64 now)
{
	const norikv_call_options options = {.timeout_ms = campaign->lease->timeout,
										 .consistency = "strong"};
	norikv_slice keys[] = {key_of(campaign->lease, META), key_of(campaign->lease, LEADER)};
	NorikvKeeperClient *client = NorikvKeeperClientFor(campaign->lease->endpoint);

	if (client == NULL)
	{
		stand->next_at = now + NO_CLIENT_PAUSE_MS;
		return;
	}
	stand->taking = false;
	stand->changed = false;
	NorikvKeeperTrack(&stand->call, client,
					  norikv_multi_get(NorikvKeeperClientHandle(client), keys,
									   lengthof(keys), &options),
					  0);
}

/* On condition that both keys still are as they were read. */
static void
start_taking(NorikvCampaign *campaign, Stand *stand, const norikv_version *versions)
{
	NorikvLease *lease = campaign->lease;
	const norikv_call_options options = {.timeout_ms = Min(lease->timeout, lease->ttl_ms)};
	NorikvKeeperClient *client = NorikvKeeperClientFor(lease->endpoint);
	norikv_operation operations[2] = {0};

	if (client == NULL)
		return;
	for (int i = 0; i < lengthof(operations); i++)
	{
		operations[i].kind = NORIKV_OP_PUT;
		operations[i].condition =
			versions[i].index != 0 ? NORIKV_IF_VERSION : NORIKV_IF_ABSENT;
		operations[i].version = versions[i];
		operations[i].key = key_of(lease, i);
		operations[i].value =
			(norikv_slice){lease->puts[i].value, lease->puts[i].value_size};
		operations[i].ttl = NORIKV_TTL_SET;
		operations[i].ttl_ms = lease->ttl_ms;
	}
	NorikvCacheWriteStarts(&stand->cache_write, NorikvKeeperClientPrefix(client),
						   operations, lengthof(operations));
	stand->taking = true;
	stand->sent_at = NorikvLeaseSending(lease);
	NorikvKeeperTrack(&stand->call, client,
					  norikv_commit(NorikvKeeperClientHandle(client), operations,
									lengthof(operations), true, &options),
					  0);
}

norikv_slice
NorikvLeaderMeta(const char *node, const char *nonce, int64 token)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"node\":");
	escape_json(&json, node);
	appendStringInfo(&json, ",\"nonce\":\"%s\"", nonce);
	if (token != 0)
		appendStringInfo(&json, ",\"token\":" INT64_FORMAT, token);
	appendStringInfoChar(&json, '}');
	return (norikv_slice){json.data, json.len};
}

/*
 * No leader, or keys of ours that we had given up: an answer was late. Keys of another
 * nonce under our node's id may be those of our former self before a restart, or of
 * somebody with the same id: they end by themselves.
 */
static bool
may_take(const NorikvLease *lease, const norikv_entry *entries)
{
	if (entries[LEADER].version.index == 0)
		return true;
	return NorikvSameVersion(entries[META].version, entries[LEADER].version) &&
		   NorikvLeaseIsOurs(lease, entries[META].value);
}

/* A version that was not there before is one that was written since. */
static void
see_leader(Stand *stand, norikv_version version, int64 now)
{
	if (!NorikvSameVersion(stand->seen, version))
		stand->renewed_at = now;
	stand->seen = version;
}

static void
finish_reading(NorikvCampaign *campaign, Stand *stand, int64 now)
{
	const norikv_error *error = norikv_call_error(stand->call.call);
	norikv_version versions[2];
	const norikv_entry *entries;
	bool take = false;
	size_t n;

	stand->next_at = now + PAUSE_MS;
	if (error->code == NORIKV_OK)
	{
		entries = norikv_call_entries(stand->call.call, &n);
		see_leader(stand, entries[LEADER].version, now);
		stand->next_at =
			stand->changed ? now : next_look(campaign->lease, stand, now);
		take = n == lengthof(versions) && may_take(campaign->lease, entries);
		for (int i = 0; take && i < lengthof(versions); i++)
			versions[i] = entries[i].version;
	}
	NorikvKeeperDrop(&stand->call);
	if (take && stand->state == NORIKV_CAMPAIGN_STANDING)
		start_taking(campaign, stand, versions);
}

static void
finish_taking(NorikvCampaign *campaign, Stand *stand, int64 now)
{
	const norikv_error *error = norikv_call_error(stand->call.call);
	NorikvLease *lease = campaign->lease;
	size_t n;

	NorikvCacheWriteEnds(&stand->cache_write, !error->outcome_unknown);
	stand->next_at = now + PAUSE_MS;
	if (error->code == NORIKV_OK)
	{
		norikv_version version = norikv_call_results(stand->call.call, &n)->version;
		int64 token = (int64) ((version.term << 48) + version.index);
		norikv_slice values[2] = {
			NorikvLeaderMeta(campaign->plan.node, lease->nonce, token),
			{lease->puts[LEADER].value, lease->puts[LEADER].value_size}};

		NorikvLeaseTaken(lease, version, stand->sent_at, values);
	}
	else if (NorikvIsUnmetCondition(error))
	{
		NorikvLeaseRefused(lease);
		stand->next_at = now + AGAIN_MS;
	}
	NorikvKeeperDrop(&stand->call);
}

/* ---- Events ---- */

static bool
has_room(const NorikvCampaign *campaign)
{
	return campaign->next_event - campaign->first_event < NORIKV_CAMPAIGN_EVENTS;
}

/*
 * What has not been told yet of who leads. Without room it waits: a change and its
 * opposite that fall into that time are not told.
 */
static void
queue_change(NorikvCampaign *campaign, bool leads)
{
	NorikvCampaignLock(true);
	if (campaign->leads != leads && has_room(campaign))
	{
		campaign->leads = leads;
		if (leads)
			campaign->token = campaign->lease->token;
		campaign->events[campaign->next_event % NORIKV_CAMPAIGN_EVENTS] =
			(NorikvCampaignEvent){.elected = leads, .token = campaign->token};
		campaign->next_event++;
	}
	NorikvCampaignUnlock();
}

/* One process at a time, so that commands are run in the order of the changes. */
static int64
run_events(NorikvCampaign *campaign, Stand *stand, int slot, int64 now)
{
	pid_t pid;

	if (stand->worker != NULL && now >= stand->worker_at)
	{
		stand->worker_at = now + WORKER_LOOK_MS;
		if (GetBackgroundWorkerPid(stand->worker, &pid) == BGWH_STOPPED)
		{
			pfree(stand->worker);
			stand->worker = NULL;
			NorikvCampaignLock(true);
			campaign->first_event++;
			NorikvCampaignUnlock();
		}
	}
	if (campaign->first_event == campaign->next_event)
		return NORIKV_KEEPER_NEVER;
	if (stand->worker == NULL && campaign->plan.database == InvalidOid)
	{
		NorikvCampaignLock(true);
		campaign->first_event = campaign->next_event;
		NorikvCampaignUnlock();
		return NORIKV_KEEPER_NEVER;
	}
	if (stand->worker == NULL && now >= stand->worker_at)
	{
		bool started = NorikvStartEventWorker(slot, &stand->worker);

		stand->worker_at = now + (started ? WORKER_LOOK_MS : NO_WORKER_PAUSE_MS);
	}
	return stand->worker_at;
}

/* ---- Deciding ---- */

static void
free_campaign(NorikvCampaign *campaign, Stand *stand)
{
	stand->serial = 0;
	NorikvCampaignLock(true);
	campaign->state = NORIKV_CAMPAIGN_FREE;
	NorikvCampaignUnlock();
}

/* Its keys go first, so that another can lead while commands are still run. */
static int64
end_campaign(NorikvCampaign *campaign, Stand *stand, int64 at)
{
	end_watch(stand);
	if (stand->call.call != NULL)
		return at;
	if (campaign->lease != NULL)
	{
		NorikvLeaseRelease(campaign->lease);
		NorikvCampaignLock(true);
		campaign->lease = NULL;
		NorikvCampaignUnlock();
	}
	if (campaign->first_event == campaign->next_event)
		free_campaign(campaign, stand);
	return at;
}

static int64
look_after(NorikvCampaign *campaign, Stand *stand, int slot, int64 now)
{
	bool leads;
	int64 at;

	if (stand->call.call != NULL && norikv_call_done(stand->call.call))
	{
		if (stand->taking)
			finish_taking(campaign, stand, now);
		else
			finish_reading(campaign, stand, now);
	}
	leads = stand->state == NORIKV_CAMPAIGN_STANDING &&
			NorikvLeaseIsHeld(campaign->lease);
	queue_change(campaign, leads);
	at = run_events(campaign, stand, slot, now);
	if (stand->state == NORIKV_CAMPAIGN_STOPPING)
		return end_campaign(campaign, stand, at);
	if (leads)
	{
		end_watch(stand);
		return Min(at, campaign->lease->deadline);
	}
	watch_leader(campaign->lease, stand, now);
	if (stand->call.call == NULL && NorikvLeaseRearm(campaign->lease) &&
		now >= stand->next_at)
		start_reading(campaign, stand, now);
	if (stand->call.call == NULL)
		at = Min(at, Max(stand->next_at, now + AGAIN_MS));
	return at;
}

/* ---- Loading ---- */

/* After a start of PostgreSQL the rows of all databases are read. */
static int64
load_campaigns(int64 now)
{
	pid_t pid;

	if (NorikvCampaignsAreLoaded())
		return NORIKV_KEEPER_NEVER;
	if (loader != NULL)
	{
		if (GetBackgroundWorkerPid(loader, &pid) != BGWH_STOPPED)
			return now + WORKER_LOOK_MS;
		pfree(loader);
		loader = NULL;
		if (NorikvCampaignsAreLoaded())
			return NORIKV_KEEPER_NEVER;
		load_at = now + load_pause;
		load_pause = Min(load_pause * 2, LONGEST_LOAD_PAUSE_MS);
	}
	if (now >= load_at)
	{
		load_at = now + load_pause;
		if (NorikvStartLoadWorker(&loader))
			return now + WORKER_LOOK_MS;
	}
	return load_at;
}

/* ---- The module ---- */

/*
 * A keeper before this one may have ended while it was taking leadership: then the
 * keys, where they are there, have the lease's nonce. What ran commands is not waited
 * for: its event is run again, rather than never.
 */
static void
start_campaigns(void)
{
	stands = MemoryContextAllocZero(TopMemoryContext,
									NorikvCampaignSlots() * sizeof(Stand));
}

/*
 * Only this process frees a campaign that stands or stops: what has been seen so stays
 * so while the step lasts.
 */
static void
look_at_states(void)
{
	NorikvCampaignLock(false);
	for (int i = 0; i < NorikvCampaignSlots(); i++)
	{
		NorikvCampaign *campaign = NorikvCampaignSlot(i);
		Stand *stand = &stands[i];

		stand->state = campaign->state;
		if (stand->state == NORIKV_CAMPAIGN_FREE ||
			stand->state == NORIKV_CAMPAIGN_PENDING || stand->serial == campaign->serial)
			continue;
		stand->serial = campaign->serial;
		stand->next_at = stand->watch_at = stand->worker_at = 0;
		stand->seen = (norikv_version){0, 0};
		stand->renewed_at = 0;
	}
	NorikvCampaignUnlock();
}

static int64
step_campaigns(int64 now)
{
	int64 next = load_campaigns(now);

	look_at_states();
	for (int i = 0; i < NorikvCampaignSlots(); i++)
	{
		NorikvCampaign *campaign = NorikvCampaignSlot(i);
		Stand *stand = &stands[i];
		int64 at;

		if (stand->state != NORIKV_CAMPAIGN_STANDING &&
			stand->state != NORIKV_CAMPAIGN_STOPPING)
			continue;
		at = look_after(campaign, stand, i, now);
		next = Min(next, at);
	}
	return next;
}

/*
 * Where only the keeper ends, its successor goes on. Where PostgreSQL does, another can
 * lead at once: the rows stay, and commands are not run any more.
 */
static bool
campaigns_are_busy(int64 now, int64 asked_at)
{
	static bool stopped = false;
	bool busy = false;

	if (!stopped && NorikvPostgresStops())
	{
		NorikvCampaignStopAll(InvalidOid);
		stopped = true;
	}
	for (int i = 0; stopped && i < NorikvCampaignSlots(); i++)
	{
		const NorikvCampaign *campaign = NorikvCampaignSlot(i);

		busy |= campaign->state == NORIKV_CAMPAIGN_STOPPING && campaign->lease != NULL;
	}
	return busy;
}

const NorikvKeeperModule NorikvCampaignModule = {
	.start = start_campaigns,
	.step = step_campaigns,
	.busy = campaigns_are_busy,
};
