/*
 * skip_list.h - keys in order, each with a chain of versions, newest first: what
 * the table in memory is made of. Whoever uses it keeps readers and the writer
 * apart.
 */
#ifndef NORIKVD_ENGINE_SKIP_LIST_H
#define NORIKVD_ENGINE_SKIP_LIST_H

#include "util.h"

/* One version of a key; seen by snapshots from its sequence number on. */
typedef struct stored
{
	struct stored *older;
	uint64_t	sequence;
	bool		deleted;
	size_t		size;
	char		data[];
} stored;

typedef struct node
{
	stored	   *newest;
	struct skip_list *list;
	struct node *next_stale;	/* has versions that a snapshot may keep alive */
	bool		stale;
	unsigned	height;
	engine_slice key;			/* points behind next[] */
	struct node *next[];
} node;

typedef struct skip_list
{
	node	   *head;			/* before all keys */
	uint64_t	random;
} skip_list;

extern void skip_list_init(skip_list *self);
extern void skip_list_free(skip_list *self);

/* The last node before key: the head where there is none. */
extern node *skip_list_before(skip_list *self, engine_slice key);
/* The last node of all: the head where there is none. */
extern node *skip_list_last(skip_list *self);
/* NULL where there is none. */
extern node *skip_list_find(skip_list *self, engine_slice key);
extern node *skip_list_find_or_insert(skip_list *self, engine_slice key);
/* Out of its list, and freed with its one version. */
extern void node_remove(node *self);

/* The version that a snapshot sees; NULL: the key is absent to it. */
extern const stored *node_visible(const node *self, uint64_t sequence);
extern void node_add_version(node *self, uint64_t sequence, bool deleted,
							 engine_slice value);
/* Frees what no snapshot from the oldest on can see. */
extern void node_prune(node *self, uint64_t oldest);

#endif
