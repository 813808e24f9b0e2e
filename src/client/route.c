/*
 * route.c - which node a request goes to.
 *
 * Without a view of the cluster: to the node that answered last, and to the next
 * one in the order configured when it fails. With one that can be trusted: to the
 * leader of the key's shard.
 */
#include "internal.h"

#include <xxhash.h>

uint64_t
nk_key_hash(norikv_slice key)
{
	return XXH64(key.data, key.size, 0);
}

/* Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm". */
uint32_t
nk_jump_hash(uint64_t key, uint32_t buckets)
{
	int64_t		bucket = -1;
	int64_t		next = 0;

	while (next < (int64_t) buckets)
	{
		bucket = next;
		key = key * UINT64_C(2862933555777941757) + 1;
		next = (int64_t) ((double) (bucket + 1) *
						  ((double) (INT64_C(1) << 31) / (double) ((key >> 33) + 1)));
	}
	return bucket < 0 ? 0 : (uint32_t) bucket;
}

uint32_t
norikv_shard_of(norikv_slice key, uint32_t total_shards)
{
	return nk_jump_hash(nk_key_hash(key), total_shards);
}

size_t
norikv_prefix_end(norikv_slice prefix, void *end)
{
	size_t		size = prefix.size;
	unsigned char *out = end;

	/* the last byte that can be raised is the end's last */
	while (size > 0 && ((const unsigned char *) prefix.data)[size - 1] == 0xff)
		size--;
	if (size == 0)
		return 0;
	memmove(out, prefix.data, size);
	out[size - 1]++;
	return size;
}

/* How long a node that failed is not the first choice. */
#define AWAY_US 1000000

static nk_node *
leader_of(norikv_client *client, norikv_slice key)
{
	nk_node    *node;

	if (key.size == 0 || client->view.n_shards == 0)
		return NULL;
	node = client->view.leaders[nk_jump_hash(nk_key_hash(key), client->view.n_shards)];
	if (node == NULL || (node->away_until != 0 && node->away_until > nk_now()))
		return NULL;
	return node;
}

nk_node *
nk_route(norikv_client *client, norikv_slice key)
{
	nk_node    *leader = leader_of(client, key);

	return leader != NULL ? leader : &client->nodes[client->preferred];
}

nk_node *
nk_route_next(norikv_client *client, nk_node *failed)
{
	uint32_t	next = (uint32_t) (failed - client->nodes + 1) % client->n_nodes;

	failed->away_until = nk_now() + AWAY_US;
	if (failed == &client->nodes[client->preferred])
		client->preferred = next;
	return &client->nodes[next];
}

void
nk_route_answered(norikv_client *client, nk_node *node)
{
	node->away_until = 0;
	if (client->view.n_shards == 0)
		client->preferred = (uint32_t) (node - client->nodes);
	if (client->n_nodes > 1)
		nk_follow(client);
}
