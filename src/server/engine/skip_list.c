/*
 * skip_list.c - a skip list of keys with versions.
 */
#include "skip_list.h"

#include <stdlib.h>

#define MAX_HEIGHT 20

static node *
node_create(skip_list *list, engine_slice key, unsigned height)
{
	size_t		links = height * sizeof(node *);
	node	   *self = engine_calloc(sizeof(node) + links + key.size);
	char	   *copy = (char *) self + sizeof(node) + links;

	if (key.size > 0)
		memcpy(copy, key.data, key.size);
	self->key = slice_of(copy, key.size);
	self->list = list;
	self->height = height;
	return self;
}

static void
node_free(node *self)
{
	while (self->newest != NULL)
	{
		stored	   *version = self->newest;

		self->newest = version->older;
		free(version);
	}
	free(self);
}

void
skip_list_init(skip_list *self)
{
	self->random = 0x9e3779b97f4a7c15;
	self->head = node_create(self, slice_of(NULL, 0), MAX_HEIGHT);
}

void
skip_list_free(skip_list *self)
{
	while (self->head != NULL)
	{
		node	   *gone = self->head;

		self->head = gone->next[0];
		node_free(gone);
	}
}

/* One node in four is a level higher. */
static unsigned
random_height(skip_list *self)
{
	unsigned	height = 1;

	self->random ^= self->random << 13;
	self->random ^= self->random >> 7;
	self->random ^= self->random << 17;
	for (uint64_t bits = self->random; height < MAX_HEIGHT && (bits & 3) == 0; bits >>= 2)
		height++;
	return height;
}

/* before[] gets the last node before key on each level. */
static node *
find_before(skip_list *self, engine_slice key, node *before[MAX_HEIGHT])
{
	node	   *at = self->head;

	for (int level = MAX_HEIGHT - 1; level >= 0; level--)
	{
		while (at->next[level] != NULL && slice_compare(at->next[level]->key, key) < 0)
			at = at->next[level];
		before[level] = at;
	}
	return at;
}

node *
skip_list_before(skip_list *self, engine_slice key)
{
	node	   *before[MAX_HEIGHT];

	return find_before(self, key, before);
}

node *
skip_list_last(skip_list *self)
{
	node	   *at = self->head;

	for (int level = MAX_HEIGHT - 1; level >= 0; level--)
	{
		while (at->next[level] != NULL)
			at = at->next[level];
	}
	return at;
}

node *
skip_list_find(skip_list *self, engine_slice key)
{
	node	   *found = skip_list_before(self, key)->next[0];

	return found != NULL && slice_equal(found->key, key) ? found : NULL;
}

node *
skip_list_find_or_insert(skip_list *self, engine_slice key)
{
	node	   *before[MAX_HEIGHT];
	node	   *found = find_before(self, key, before)->next[0];

	if (found != NULL && slice_equal(found->key, key))
		return found;
	found = node_create(self, key, random_height(self));
	for (unsigned level = 0; level < found->height; level++)
	{
		found->next[level] = before[level]->next[level];
		before[level]->next[level] = found;
	}
	return found;
}

void
node_remove(node *self)
{
	node	   *before[MAX_HEIGHT];

	find_before(self->list, self->key, before);
	for (unsigned level = 0; level < self->height; level++)
		before[level]->next[level] = self->next[level];
	node_free(self);
}

/* ---- Versions ---- */

const stored *
node_visible(const node *self, uint64_t sequence)
{
	const stored *version = self->newest;

	while (version != NULL && version->sequence > sequence)
		version = version->older;
	return version != NULL && !version->deleted ? version : NULL;
}

void
node_add_version(node *self, uint64_t sequence, bool deleted, engine_slice value)
{
	stored	   *version = engine_malloc(sizeof(stored) + value.size);

	version->sequence = sequence;
	version->deleted = deleted;
	version->size = value.size;
	if (value.size > 0)
		memcpy(version->data, value.data, value.size);
	version->older = self->newest;
	self->newest = version;
}

void
node_prune(node *self, uint64_t oldest)
{
	stored	   *version = self->newest;
	stored	   *unseen;

	while (version->sequence > oldest && version->older != NULL)
		version = version->older;
	unseen = version->older;
	version->older = NULL;
	while (unseen != NULL)
	{
		stored	   *older = unseen->older;

		free(unseen);
		unseen = older;
	}
}
