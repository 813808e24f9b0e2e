/*
 * prefix.h - the part of the store that a client sees.
 *
 * Inside the library a key is a full one, as the server has it: in requests, for
 * routing, grouping and hashing. What a caller gives becomes full when its call is
 * started, by one of the functions below, and what a caller is shown is stripped by
 * one of them, so that there is one place to get wrong. A new kind of call that names
 * keys in any way (bounds, prefixes, namespaces) must do both.
 *
 * A caller's key is never empty, so the key that is the prefix and nothing else is
 * not in the part.
 */
#ifndef NORIKV_PREFIX_H
#define NORIKV_PREFIX_H

#include "norikv.h"

typedef struct nk_prefix
{
	norikv_slice key;			/* data is never NULL */
	norikv_slice end;			/* the first key after the part; empty: there is none */
	char	   *quoted;			/* after a quote, as servers show it in texts */
	char	   *scope;			/* in front of callers' idempotency keys */
	size_t		scope_size;
} nk_prefix;

/* False with *error set. What it takes is the client's, nk_prefix_free() or not. */
extern bool nk_prefix_init(nk_prefix *prefix, norikv_slice key, norikv_error *error);
extern void nk_prefix_free(nk_prefix *prefix);
/* The bytes that a key, bound or namespace of a caller has more when it is full. */
#define NK_PREFIX_ROOM(client) ((client)->prefix.key.size + 1)
/*
 * All three write to room what the server is to get, NK_PREFIX_ROOM more at most. The
 * first is for keys, namespaces (whose limit it takes from as well, and which may be
 * empty where a prefix of them is meant) and the prefixes of quotas (not to be set for
 * an empty one where the client has a prefix: a part does not lift its own limits).
 */
extern norikv_slice nk_full_key(const norikv_client *client, norikv_slice key,
								char *room);
/* Of a range: the first key in it; empty: from the first key of the part. */
extern norikv_slice nk_full_start(const norikv_client *client, norikv_slice start,
								  char *room);
/* Of a range: the first key after it; empty: to the last key of the part. */
extern norikv_slice nk_full_end(const norikv_client *client, norikv_slice end,
								char *room);
/*
 * From a full key or namespace to the caller's; false: it is none of the part, and not
 * to be shown. To be used on all that a server answers on its own: entries of scans,
 * changes, lists of indexes.
 */
extern bool nk_strip_key(const norikv_client *client, norikv_slice *key);
/*
 * The same of a range, as a change can name it, which may begin before the part and end
 * after it; false: nothing of it is left.
 */
extern bool nk_strip_range(const norikv_client *client, norikv_slice *start,
						   norikv_slice *end);
/* The caller's key of a full one, where it is known to be that: for messages. */
extern norikv_slice nk_own_key(const norikv_client *client, norikv_slice key);
/* What a server says in quotes of a key: there, the prefix is taken out of the text. */
extern void nk_strip_text(const norikv_client *client, char *text);

#endif
