/*
 * keeper.h - the background worker that works for other processes.
 *
 * "norikv keeper" is connected to no database. What it is to do stands in shared
 * memory, left there by backends; modules in it do it, each in steps that never
 * block: a step looks at its calls and at shared memory, starts what is due, and
 * says when it wants to be called again. A module is a line in keeper.c.
 */
#ifndef NORIKV_KEEPER_H
#define NORIKV_KEEPER_H

#include "pg_norikv.h"

#include "endpoint.h"

/* ---- In every process ---- */

/* Asks for shared memory and registers the worker; while libraries are preloaded. */
extern void NorikvKeeperInit(void);
/* Something is to be done at that NorikvBootMilliseconds(); 0: now. Never throws. */
extern void NorikvKeeperWake(int64 at);
/* Whether it runs; while PostgreSQL shuts down: it has something to finish. */
extern bool NorikvKeeperRuns(void);

/* ---- In the keeper: all signals are blocked while a step runs ---- */

/* Whether the whole of PostgreSQL is shutting down. */
extern bool NorikvPostgresStops(void);

#define NORIKV_KEEPER_NEVER PG_INT64_MAX

typedef struct NorikvKeeperModule
{
	/* Once, before the first step: takes over what an earlier keeper left. */
	void (*start)(void);
	/*
	 * Does what is due at this boot time, now or in one of the next steps; returns
	 * the boot time at which there is more to do, whatever happens to its calls.
	 */
	int64 (*step)(int64 now);
	/* Asked to end then: is there something that should be finished first? */
	bool (*busy)(int64 now, int64 asked_at);
} NorikvKeeperModule;

/* A client for an endpoint, shared by the modules. */
typedef struct NorikvKeeperClient NorikvKeeperClient;

/* A call of a module's, part of what the module keeps about it. */
typedef struct NorikvKeeperCall
{
	dlist_node node; /* in the list of the client's calls */
	NorikvKeeperClient *client;
	norikv_call *call; /* NULL: none */
	int stream_ms;	   /* 0: it is no stream */
} NorikvKeeperCall;

/*
 * The client to start calls with; NULL: there is none at present, because the
 * embedded server has not become ready yet. Of the call, hand the client over to
 * NorikvKeeperTrack.
 */
extern NorikvKeeperClient *NorikvKeeperClientFor(int endpoint);
extern norikv_client *NorikvKeeperClientHandle(const NorikvKeeperClient *client);
/* What it puts in front of its keys: of the tenant. */
extern norikv_slice NorikvKeeperClientPrefix(const NorikvKeeperClient *client);
/*
 * Started calls are looked at in short slices. A stream (a watch) may be quiet for
 * hours: it is looked at every stream_ms. 0: it ends soon.
 */
#define NORIKV_KEEPER_STREAM_MS 5
#define NORIKV_KEEPER_SLOW_STREAM_MS 20
extern void NorikvKeeperTrack(NorikvKeeperCall *call, NorikvKeeperClient *client,
							  norikv_call *started, int stream_ms);
/* Cancels it where it is under way, and frees it. */
extern void NorikvKeeperDrop(NorikvKeeperCall *call);

/* ---- The modules ---- */

extern const NorikvKeeperModule NorikvLeaseModule;	  /* keeper_lease.c */
extern const NorikvKeeperModule NorikvCampaignModule; /* keeper_campaign.c */
extern const NorikvKeeperModule NorikvCacheModule; /* cache/watch.c */

#endif
