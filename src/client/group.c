/*
 * group.c - calls that are started together travel together.
 *
 * A request costs gRPC and the kernel far more than a key costs the server. So a
 * request for one key is not sent at once but gathered, and goes with the next poll:
 * alone, just as it would have gone, or with the others that were gathered meanwhile
 * for the same node, as one MultiGet or one Commit whose answers are dealt out
 * again. No timer holds anything back. Nobody need know: each call has its own
 * retries, error, statistics and end, and may be freed while the others go on.
 *
 * Writes of one key keep their order: a write whose key is in a group under way
 * waits until that has ended, also where the call in the group has been freed.
 */
#include "group.h"

#include <stdlib.h>

/* ---- Gathering ---- */

static nk_gathered *
list_of(const nk_rpc *rpc)
{
	return rpc->type->write ? &rpc->node->writes : &rpc->node->reads;
}

void
nk_gather(nk_rpc *rpc)
{
	nk_gathered *list = list_of(rpc);

	rpc->state = NK_RPC_GATHERED;
	rpc->wait_next = NULL;
	rpc->wait_link = list->last;
	*list->last = rpc;
	list->last = &rpc->wait_next;
	list->count++;
	rpc->client->n_gathered++;
}

void
nk_gathered_remove(nk_rpc *rpc)
{
	nk_gathered *list = list_of(rpc);

	*rpc->wait_link = rpc->wait_next;
	if (rpc->wait_next != NULL)
		rpc->wait_next->wait_link = rpc->wait_link;
	else
		list->last = rpc->wait_link;
	rpc->wait_next = NULL;
	rpc->wait_link = NULL;
	rpc->state = NK_RPC_IDLE;
	list->count--;
	rpc->client->n_gathered--;
	nk_timer_clear(&rpc->client->timers, &rpc->timer);
}

/* ---- Who goes together ---- */

/*
 * A write under the caller's own idempotency key must be a request of its own, and
 * so must a repeated one: the key it was sent under is what makes it safe.
 */
static bool
can_share(const nk_rpc *rpc)
{
	if (rpc->alone || !rpc->type->gathers || rpc->node->abilities.known != NK_YES)
		return false;
	return !rpc->type->write || (rpc->slot != NK_NO_SLOT && rpc->attempts == 0);
}

/* Their request ends when the time of the first of them is up. */
static bool
same_terms(const nk_rpc *a, const nk_rpc *b)
{
	nk_time		apart = a->deadline - b->deadline;
	nk_time		timeout = (nk_time) a->call->timeout_ms * 1000;

	return a->call->timeout_ms == b->call->timeout_ms &&
		a->call->consistency == b->call->consistency &&
		apart < timeout / 64 && -apart < timeout / 64;
}

static bool
contains(const uint64_t *keys, size_t n_keys, uint64_t key)
{
	for (size_t i = 0; i < n_keys; i++)
	{
		if (keys[i] == key)
			return true;
	}
	return false;
}

static bool
is_under_way(const norikv_client *client, uint64_t key)
{
	for (const nk_group *group = client->write_groups; group != NULL; group = group->next)
	{
		if (contains(group->keys, group->n_members, key))
			return true;
	}
	return false;
}

/* A later write of a key that has not been settled. */
static bool
must_wait(const nk_rpc *rpc, uint64_t key)
{
	if (!rpc->type->gathers && rpc->client->n_orphans > 0)
		return true;
	return is_under_way(rpc->client, key);
}

typedef struct party
{
	nk_rpc	   *members[GROUP_MEMBERS];
	uint64_t	keys[GROUP_MEMBERS];	/* of writes */
	size_t		n_members;
	size_t		most;
	size_t		bytes;
} party;

/* True where others may still join it. */
static bool
join(party *group, nk_rpc *rpc, uint64_t key)
{
	size_t		room = nk_group_room(rpc);

	if (group->n_members > 0 &&
		(group->n_members == group->most || group->bytes + room > GROUP_BYTES ||
		 !can_share(rpc) || !same_terms(rpc, group->members[0])))
		return false;
	nk_gathered_remove(rpc);
	group->bytes += room;
	group->keys[group->n_members] = key;
	group->members[group->n_members++] = rpc;
	return can_share(rpc);
}

/* Takes from the list those that go together, or one that goes alone, or none. */
static void
assemble(nk_gathered *list, party *group, const nk_node *node)
{
	uint64_t	limit = node->abilities.multi_get_keys;
	uint64_t	key = 0;
	nk_rpc	   *next;

	group->n_members = group->bytes = 0;
	group->most = GROUP_MEMBERS;
	if (limit > 0 && limit < group->most)
		group->most = limit;
	for (nk_rpc *rpc = list->first; rpc != NULL; rpc = next)
	{
		next = rpc->wait_next;
		if (rpc->type->write)
		{
			key = nk_key_hash(rpc->key);
			if (contains(group->keys, group->n_members, key) || must_wait(rpc, key))
			{
				if (rpc->timer.position == 0)
					nk_timer_set(&node->client->timers, &rpc->timer, rpc->deadline);
				/* of a Commit it is not known here which keys it has */
				if (!rpc->type->gathers)
					break;
				continue;
			}
		}
		if (!join(group, rpc, key))
			break;
	}
}

/* ---- Going ---- */

/* Calls that nobody waited for in time. */
static void
end_late(nk_gathered *list)
{
	nk_time		now = nk_now();
	nk_rpc	   *next;

	for (nk_rpc *rpc = list->first; rpc != NULL; rpc = next)
	{
		next = rpc->wait_next;
		if (rpc->deadline > now)
			continue;
		nk_gathered_remove(rpc);
		nk_rpc_too_late(rpc);
	}
}

static void
send_list(nk_node *node, nk_gathered *list)
{
	party		group;
	bool		together;

	end_late(list);
	/* who travels alone now need not another time, once the server is known */
	if (list->count > 1 && node->abilities.known == NK_UNKNOWN)
		nk_abilities_ask(node);
	while (list->count > 0)
	{
		assemble(list, &group, node);
		if (group.n_members == 0)
			break;
		together = group.n_members > 1 &&
			(list == &node->writes
			 ? nk_group_write(node, group.members, group.n_members, group.keys)
			 : nk_group_read(node, group.members, group.n_members));
		for (size_t i = 0; !together && i < group.n_members; i++)
			nk_rpc_send(group.members[i]);
	}
}

/* The node has gone away since: they wait for it, as they would have. */
static void
try_list(nk_gathered *list)
{
	for (size_t left = list->count; left > 0 && list->first != NULL; left--)
	{
		nk_rpc	   *rpc = list->first;

		nk_gathered_remove(rpc);
		nk_rpc_try(rpc);
	}
}

void
nk_gathered_send(norikv_client *client)
{
	for (uint32_t i = 0; client->n_gathered > 0 && i < client->n_nodes; i++)
	{
		nk_node    *node = &client->nodes[i];

		if (node->reads.count + node->writes.count == 0)
			continue;
		if (nk_node_ready(node))
		{
			send_list(node, &node->writes);
			send_list(node, &node->reads);
		}
		else
		{
			try_list(&node->writes);
			try_list(&node->reads);
		}
	}
}

/* ---- Groups ---- */

nk_group *
nk_group_new(nk_node *node, const nk_rpc_type *type, nk_rpc **members, size_t n_members)
{
	nk_group   *group = calloc(1, sizeof(*group));
	nk_rpc	  **copy = malloc(n_members * sizeof(*copy));

	if (group == NULL || copy == NULL)
	{
		free(group);
		free(copy);
		return NULL;
	}
	nk_rpc_init(&group->rpc, node->client, NULL, type);
	group->rpc.node = node;
	group->rpc.deadline = NK_NEVER;
	group->members = copy;
	group->n_members = group->n_left = n_members;
	wire_arena_init(&group->arena);
	for (size_t i = 0; i < n_members; i++)
	{
		nk_rpc	   *member = members[i];

		copy[i] = member;
		member->group = group;
		member->place = (uint32_t) i;
		member->state = NK_RPC_CARRIED;
		if (member->deadline < group->rpc.deadline)
			group->rpc.deadline = member->deadline;
	}
	return group;
}

/* Its request has ended, or never began. */
void
nk_group_free(nk_group *group)
{
	nk_rpc_drop_attempt(&group->rpc);
	nk_rpc_release(&group->rpc);
	if (group->link != NULL)
	{
		*group->link = group->next;
		if (group->next != NULL)
			group->next->link = group->link;
	}
	group->rpc.client->n_orphans -= group->n_orphans;
	wire_arena_free(&group->arena);
	free(group->results);
	free(group->keys);
	free(group->members);
	free(group);
}

void
nk_group_sent(nk_rpc *rpc)
{
	nk_group   *group = (nk_group *) rpc;

	for (size_t i = 0; i < group->n_members; i++)
	{
		nk_rpc	   *member = group->members[i];

		if (member == NULL)
			continue;
		nk_note_attempt(member);
		member->call->stats.bytes_sent += nk_group_room(member);
	}
}

nk_rpc *
nk_group_take(nk_group *group, size_t place)
{
	nk_rpc	   *member = group->members[place];

	if (member == NULL)
		return NULL;
	group->members[place] = NULL;
	group->n_left--;
	member->group = NULL;
	member->state = NK_RPC_IDLE;
	member->node = group->rpc.node;
	member->maybe_applied |= group->rpc.maybe_applied;
	return member;
}

void
nk_group_leave(nk_rpc *member)
{
	nk_group   *group = member->group;

	nk_group_take(group, member->place);
	if (member->type->write)
	{
		group->n_orphans++;
		member->client->n_orphans++;
	}
	if (group->n_left == 0 && nk_rpc_abandon(&group->rpc))
		nk_group_free(group);
}

void
nk_group_alone(nk_rpc *member)
{
	member->alone = true;
	nk_rpc_try(member);
}
