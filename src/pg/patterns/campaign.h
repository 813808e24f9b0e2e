/*
 * campaign.h - making campaigns, for the SQL functions and for those that are found
 * again after a restart.
 */
#ifndef NORIKV_PATTERNS_CAMPAIGN_H
#define NORIKV_PATTERNS_CAMPAIGN_H

#include "worker/campaign.h"

#define NORIKV_CAMPAIGNS_TABLE "campaigns"

/*
 * A slot for it, pending. 22023 and 0A000 where it does not fit, 55006 where the node
 * stands already.
 */
extern NorikvCampaign *NorikvMakeCampaign(NorikvConnection *connection,
										  const NorikvCampaignPlan *plan,
										  uint64 *serial);
/* An empty plan of this session's for an election: enough to find one. */
extern void NorikvPlanFor(const NorikvConnection *connection, const char *election,
						  NorikvCampaignPlan *plan);

/* ---- campaign_commit.c ---- */

extern void NorikvCampaignSqlInit(void);
/* At commit it starts, or stops; where the transaction aborts, what starts stops. */
extern void NorikvIntend(NorikvCampaign *campaign, uint64 serial, bool starts);
extern bool NorikvIsIntended(uint64 serial, bool starts);
/* Until the end of the transaction the server keeps its name: rows are found by it. */
extern void NorikvCampaignLockServer(const NorikvConnection *connection);

/* ---- election.c ---- */

/* The keys of an election: that of the document, and that of the leader. */
extern void NorikvElectionKeys(const char *election, norikv_slice keys[2]);
/* "host:port/database": what a node is called that has no name. palloc'd. */
extern char *NorikvNodeName(void);
/* Gives up what elect() has won in this session; whether there was something. */
extern bool NorikvResignByHand(NorikvConnection *connection, const norikv_slice keys[2]);

#endif
