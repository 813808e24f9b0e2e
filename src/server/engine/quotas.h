/*
 * quotas.h - prefixes whose keys and vectors are counted and limited.
 *
 * A vector counts where its namespace begins with the prefix, as one key: the bytes of
 * its namespace, its id and its components.
 *
 * Each quota is a record in the store, written in the same batch as what it counts, so
 * no crash parts the two. What has expired is counted until it is swept. A quota that
 * is new, or in doubt, counts step by step between batches: its keys, then its vectors
 * by namespace and id. Behind the place where it has come to, writes count, and before
 * it they will be found.
 *
 * All but quotas_usage() is the committer's.
 */
#ifndef NORIKVD_ENGINE_QUOTAS_H
#define NORIKVD_ENGINE_QUOTAS_H

#include "table.h"
#include "util.h"

#define QUOTAS_MAX 100000

typedef struct quota_count
{
	int64_t		keys;
	int64_t		bytes;
} quota_count;

/* What is counted. By space and key it is in the order of counting: no namespace is
 * empty, so keys come first. */
typedef struct quota_item
{
	engine_slice space;			/* of a vector; empty: it is a key */
	engine_slice key;			/* or the vector's id */
	size_t		value_size;
} quota_item;

typedef struct quota
{
	engine_slice prefix;
	struct quota *parent;		/* the longest other prefix that this one begins with */
	engine_quota limit;
	quota_count used;			/* the batch so far included */
	quota_count written;		/* in the table */
	bool		changed;		/* used is not what is written */
	struct quota *next_changed;
	bool		counting;
	bool		recounting;		/* what is shown of it */
	/* Counting: items from here on are not counted yet. */
	bytes		position_space;
	bytes		position_key;
	/* Of the unit being decided. */
	bool		charged;
	quota_count charge;			/* what it adds */
	size_t		keys_by;		/* the first operation that adds keys, or bytes */
	size_t		bytes_by;
	struct quota *next_charged;
} quota;

typedef struct quotas quotas;

extern quotas *quotas_new(table *in);
extern void quotas_free(quotas *self);

/* As the table has them; with recount, what they have counted is not believed, and
 * that is in the table's batch. */
extern bool quotas_load(quotas *self, bool recount, engine_status *status);

/* What a quota's prefix is compared with. */
static inline engine_slice
quota_item_name(const quota_item *item)
{
	return item->space.size > 0 ? item->space : item->key;
}

static inline int64_t
quota_item_bytes(const quota_item *item)
{
	return (int64_t) (item->space.size + item->key.size + item->value_size);
}

/* The quota of the longest prefix of this name, and by its parents all others; NULL. */
extern quota *quotas_find(const quotas *self, engine_slice name);
extern bool quotas_exist(const quotas *self);

extern bool quotas_has(const quotas *self, engine_slice prefix);
/* There are as many as there may be. */
extern bool quotas_are_full(const quotas *self);

/* Within a batch, and alone in it. */
extern void quotas_set(quotas *self, engine_slice prefix, const engine_quota *limit);
extern void quotas_remove(quotas *self, engine_slice prefix);

/* So much more, or less, is under the prefix. */
extern void quotas_count(quotas *self, quota *of, quota_count more);
/* A key with a value of this size is no longer in the table. */
extern void quotas_count_gone(quotas *self, engine_slice key, size_t value_size);

/* What has changed goes into the table's batch; then it was written, or it was not. */
extern void quotas_put(quotas *self);
extern void quotas_written(quotas *self);
extern void quotas_discard(quotas *self);

/* One step of counting. True where there is more; *changed: there is a batch to write. */
extern bool quotas_step(quotas *self, bool *changed);

/* Any thread. */
extern bool quotas_usage(quotas *self, engine_slice prefix, engine_usage *usage);

#endif
