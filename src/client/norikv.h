/*
 * norikv.h - libnorikv, the C client of NoriKV key-value servers.
 *
 * Caveats first.
 *
 * - A client belongs to one thread at a time. Nothing happens on it between
 *   calls of this library, except that gRPC's own threads move bytes.
 * - A process that forks must not use, before the fork, anything of this
 *   library in the parent that the child will use: gRPC does not survive fork.
 * - gRPC starts threads, and they inherit the signal mask. norikv_client_new() and
 *   the opening of a connection block all signals meanwhile; a host whose
 *   handlers must never run in another thread does well to block them around its
 *   first call too.
 * - gRPC's log lines are switched off for the whole process, unless GRPC_VERBOSITY or
 *   GRPC_TRACE is set in the environment.
 * - Keys and values are bytes with a length. A value may be empty; a key is 1 to
 *   1,024 bytes.
 * - A write whose answer was lost is repeated under the same idempotency key,
 *   so it takes effect once. Where that key was forgotten by the server (NoriKV's
 *   own server forgets it at restart) a repeat can take effect twice.
 * - When a write ends with outcome_unknown it may have taken effect, or may
 *   still do so. Only reading tells.
 *
 * Servers other than norikvd. What they lack is done in another way where one exists:
 *
 * - MultiGet and Commits that need not be atomic become pipelined single calls;
 *   Scan, atomic Commits of more than one operation, checks, additions, ranges and a
 *   ttl to keep are UNIMPLEMENTED.
 * - NORIKV_IF_ABSENT becomes an unconditional put under an idempotency key that all
 *   who create this key share, and a look at whose value won. Creators that must be
 *   told apart must write different values.
 * - A delete on a version becomes a put, on that version, of a value that this
 *   library takes for absent, which lives for a second. Until then other programs see
 *   "\xff\0norikv:tombstone\0\xff".
 * - Versions are opaque there, and what a put returned need not be what a get returns:
 *   conditions must be fed from gets.
 * - Their compare-and-swap is believed to be atomic only where norikv_info says so.
 *
 * A call is started by one of the functions that return norikv_call *, made to
 * progress and awaited by norikv_wait(), inspected, and freed. Starting never
 * blocks and never fails: a bad argument is an error of the call. Freeing a call that
 * is under way cancels it.
 *
 * Calls started together travel together: single gets and writes may stay here until
 * the next norikv_wait() (of 0 ms, if need be), and go with it, several of them in one
 * request where the server takes that. So it pays to look at every call that a wait
 * has ended, and to start what follows them, before the next wait. Writes of one key
 * keep the order in which they were started.
 *
 *     norikv_options options;
 *     norikv_options_init(&options);
 *     options.nodes = "unix:/run/norikv.sock";
 *     norikv_client *client = norikv_client_new(&options, &error);
 *     norikv_call *call = norikv_get(client, NORIKV_SLICE("user:1"), NULL);
 *     norikv_wait(client, &call, 1, -1);
 *     if (norikv_call_error(call)->code == NORIKV_OK)
 *         ... norikv_call_entry(call)->value ...
 *     norikv_call_free(call);
 */
#ifndef NORIKV_H
#define NORIKV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C"
{
#endif

/* The shared library shows what is declared here, and nothing else. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define NORIKV_VERSION_STRING "0.1.0"

#define NORIKV_MAX_KEY 1024
#define NORIKV_MAX_VALUE (1024 * 1024)
#define NORIKV_MAX_NAMESPACE 256
#define NORIKV_MAX_VECTOR_ID 512
#define NORIKV_MAX_DIMENSIONS 4096
/* 100 years of 365.25 days. */
#define NORIKV_MAX_TTL_MS (INT64_C(36525) * 24 * 3600 * 1000)
/* Of what is put in front of the keys of a client: the option key_prefix. */
#define NORIKV_MAX_KEY_PREFIX 256

typedef struct norikv_slice
{
	const void *data;
	size_t		size;
} norikv_slice;

/* A slice over a C string, without its terminating zero byte. */
#define NORIKV_SLICE(string) ((norikv_slice) {(string), strlen(string)})

/* The version of a key. index 0: there is none, the key is absent. */
typedef struct norikv_version
{
	uint64_t	term;
	uint64_t	index;
} norikv_version;

/* Numbers are those of gRPC. */
typedef enum norikv_code
{
	NORIKV_OK = 0,
	NORIKV_CANCELLED = 1,
	NORIKV_UNKNOWN = 2,
	NORIKV_INVALID_ARGUMENT = 3,
	NORIKV_DEADLINE_EXCEEDED = 4,
	NORIKV_NOT_FOUND = 5,
	NORIKV_ALREADY_EXISTS = 6,
	NORIKV_PERMISSION_DENIED = 7,
	NORIKV_RESOURCE_EXHAUSTED = 8,
	NORIKV_FAILED_PRECONDITION = 9,
	NORIKV_ABORTED = 10,
	NORIKV_OUT_OF_RANGE = 11,
	NORIKV_UNIMPLEMENTED = 12,
	NORIKV_INTERNAL = 13,
	NORIKV_UNAVAILABLE = 14,
	NORIKV_DATA_LOSS = 15,
	NORIKV_UNAUTHENTICATED = 16
} norikv_code;

typedef struct norikv_error
{
	norikv_code code;
	/* The same request may succeed if it is made again, and repeating is safe. */
	bool		retriable;
	/*
	 * A write was sent and whether it took effect is not known: an answer was lost,
	 * could not be read, or is one that servers give with the write still under
	 * way. Neither this nor never_sent: a server answered, and did not execute it.
	 */
	bool		outcome_unknown;
	/* No try reached a server: nothing happened. */
	bool		never_sent;
	/*
	 * FAILED_PRECONDITION of a version: expected and present are set, as far as the
	 * server says them (index 0: absent, or it did not say).
	 */
	bool		version_mismatch;
	norikv_version expected;
	norikv_version present;
	/* RESOURCE_EXHAUSTED: a quota refuses it; text names its prefix and limit. */
	bool		quota_exceeded;
	/* The operation of a Commit, or the key of a batch, at fault; -1: none. */
	int64_t		operation;
	/* The server, as it was configured; empty where none was reached. */
	char		node[256];
	/* Zero-terminated, for people; bytes of the server's in it are not checked. */
	char		text[768];
} norikv_error;

/* ---- Client ---- */

typedef struct norikv_client norikv_client;

/*
 * Looks, at least every wait_slice_ms of a wait, whether the host wants to stop
 * waiting: true ends the wait. Must not jump out of the library.
 */
typedef bool (*norikv_wait_hook) (void *arg);

typedef struct norikv_options
{
	/* "host:port", "[::1]:7447", "unix:/path" or "unix:path"; several with commas. */
	const char *nodes;
	/* Sent as "authorization: Bearer ..." with every call; NULL: not sent. */
	const char *token;
	/*
	 * The part of the store that the client sees: keys that begin with these bytes, at
	 * most NORIKV_MAX_KEY_PREFIX of them. Copied; empty: the whole store. Whatever
	 * names keys - keys, bounds and prefixes of ranges, namespaces - is taken and shown
	 * relative to it, in errors too; an empty bound means the first or the last key of
	 * the part; idempotency keys are the part's own. Of changes and indexes, those of
	 * the part are shown. A quota of the part as a whole can be looked at, and not be
	 * set: it is for whoever has more than the part. No call of the client reads,
	 * changes or learns of a key outside, whatever bytes it is given.
	 */
	norikv_slice key_prefix;
	uint32_t	timeout_ms;		/* a call with its retries, a page of a scan; 5000 */
	uint32_t	attempt_timeout_ms; /* one try, or a pause within a stream; 1000 */
	uint32_t	connect_timeout_ms; /* one connection; 1000 */
	uint32_t	max_retries;	/* after the first try; 100: the deadline decides */
	/* For calls that do not say: "strong" (NULL), "eventual", "bounded_staleness". */
	const char *consistency;
	/* Believe that if_match is atomic where the server does not say so. */
	bool		trust_cas;
	uint32_t	max_in_flight;	/* pipelined calls of one batch; 64 */
	uint32_t	wait_slice_ms;	/* 10 */
	norikv_wait_hook wait_hook; /* NULL: none */
	void	   *wait_hook_arg;
} norikv_options;

/* The defaults above; nodes is left to the caller. */
extern void norikv_options_init(norikv_options *options);

/*
 * Opens nothing: connections are made by calls. The options and what they point to
 * may go afterwards. Where several nodes are given they are taken for one cluster: a
 * call moves on to the next one where one is away, hangs or answers that it is not
 * the leader, and goes to the leader of its key's shard where the cluster's view
 * names one of them. Addresses that only a view names are never used. NULL with *error
 * set (INVALID_ARGUMENT naming the option) where the options are wrong.
 */
extern norikv_client *norikv_client_new(const norikv_options *options,
										norikv_error *error);

/* Checks a nodes string as norikv_client_new() would. */
extern bool norikv_nodes_valid(const char *nodes, norikv_error *error);

/* The longest key that the client takes: NORIKV_MAX_KEY, less its key_prefix. */
extern size_t norikv_max_key(const norikv_client *client);

/*
 * Cancels what is under way, waits for gRPC to let go of it (a second at most),
 * and closes the connections. Calls not yet freed are freed.
 */
extern void norikv_client_free(norikv_client *client);

/* ---- Calls ---- */

/* Arguments are copied or packed when a call is started, and may go then. */
typedef struct norikv_call norikv_call;

typedef struct norikv_call_options
{
	uint32_t	timeout_ms;		/* 0: the client's */
	const char *consistency;	/* reads; NULL: the client's */
	/*
	 * Writes; at most 512 bytes, fewer where the client has a key_prefix, none of them
	 * zero; empty: the client makes one of its own. A Commit that travels as single
	 * calls adds the operation's number to it.
	 * One of the form ~nk1/<uuid>/<slot>/<seq> is the caller's own slot: one request at
	 * a time, of a uuid that nobody else uses, each with a greater seq than the one
	 * before; norikvd then keeps one record for all of them.
	 */
	norikv_slice idempotency_key;
} norikv_call_options;

typedef struct norikv_entry
{
	norikv_slice key;
	norikv_slice value;			/* data is never NULL where there is one */
	norikv_version version;		/* index 0: absent */
	/* Store time, Unix epoch; 0: never, or the server did not say. */
	uint64_t	expires_at_ms;
} norikv_entry;

typedef enum norikv_wait_result
{
	NORIKV_WAIT_DONE,			/* every call has ended, or has a page to read */
	NORIKV_WAIT_TIMEOUT,
	NORIKV_WAIT_INTERRUPTED		/* the wait hook said so; the calls go on */
} norikv_wait_result;

/*
 * Lets the calls progress until all of them are done or timeout_ms has passed
 * (-1: until they are done, which their own deadlines bound; 0: only what is
 * already there). Calls not in the list progress too.
 */
extern norikv_wait_result norikv_wait(norikv_client *client, norikv_call *const *calls,
									  size_t n_calls, int64_t timeout_ms);

extern bool norikv_call_done(const norikv_call *call);
/* Never NULL; code NORIKV_OK where the call went well or is under way. */
extern const norikv_error *norikv_call_error(const norikv_call *call);
/*
 * Cancels what is under way, and returns at once. A write that is freed before it is
 * done may or may not take effect; a later write of the client settles it, as
 * norikvd then refuses what is late. NULL is allowed.
 */
extern void norikv_call_free(norikv_call *call);

typedef struct norikv_call_stats
{
	/* Requests sent; a batch may take several, and calls may share one. */
	uint32_t	attempts;
	uint32_t	retries;		/* how many of them repeated an earlier one */
	uint64_t	bytes_sent;		/* messages, without HTTP/2's framing */
	uint64_t	bytes_received;
	uint64_t	round_trips;
} norikv_call_stats;

extern norikv_call_stats norikv_call_get_stats(const norikv_call *call);

/* Reads. What a call returns lives until norikv_call_free() or norikv_call_next(). */

extern norikv_call *norikv_get(norikv_client *client, norikv_slice key,
							   const norikv_call_options *options);

/*
 * One entry for each key, in the order asked; absent ones have version index 0. All
 * or an error: where one key could not be read, error->operation may name it.
 */
extern norikv_call *norikv_multi_get(norikv_client *client, const norikv_slice *keys,
									 size_t n_keys, const norikv_call_options *options);

typedef struct norikv_scan_request
{
	norikv_slice start;			/* inclusive; empty: from the first key */
	norikv_slice end;			/* exclusive; empty: to the last key */
	bool		reverse;
	uint64_t	max_rows;		/* 0: all */
	bool		keys_only;
	bool		count_only;		/* no entries, norikv_call_count() */
	bool		one_snapshot;	/* ABORTED where one snapshot cannot be kept */
} norikv_scan_request;

/*
 * A stream of pages. The call is done when a page is there or the scan has
 * ended; norikv_call_next() gives the page back and asks for the next one. Not
 * reading holds the server back: at most one page is read ahead. A scan whose
 * connection breaks goes on after the last key, in a later snapshot.
 *
 *     norikv_call *call = norikv_scan(client, &request, NULL);
 *     do
 *     {
 *         norikv_wait(client, &call, 1, -1);
 *         ... norikv_call_entries(call, &n) ..., none of them at the end
 *     } while (norikv_call_next(call));
 *     ... norikv_call_error(call) ...
 */
extern norikv_call *norikv_scan(norikv_client *client, const norikv_scan_request *request,
								const norikv_call_options *options);
/*
 * False where the stream has ended, or the page at hand has not come yet. True: wait
 * again, for a page, or to learn that there is none.
 */
extern bool norikv_call_next(norikv_call *call);
/* The page at hand starts in a later snapshot than the one before it. */
extern bool norikv_call_snapshot_moved(const norikv_call *call);

/* Get: its entry. Absent: version index 0. */
extern const norikv_entry *norikv_call_entry(const norikv_call *call);
/* MultiGet: all; Scan: the page at hand. */
extern const norikv_entry *norikv_call_entries(const norikv_call *call,
											   size_t *n_entries);
extern uint64_t norikv_call_count(const norikv_call *call);

/* Writes. */

typedef enum norikv_condition
{
	NORIKV_IF_ANY,
	NORIKV_IF_ABSENT,
	NORIKV_IF_VERSION
} norikv_condition;

typedef enum norikv_ttl
{
	NORIKV_TTL_NONE,
	NORIKV_TTL_SET,
	NORIKV_TTL_KEEP				/* Commit only */
} norikv_ttl;

typedef enum norikv_operation_kind
{
	NORIKV_OP_PUT = 1,
	NORIKV_OP_DELETE = 2,
	NORIKV_OP_CHECK = 3,
	NORIKV_OP_ADD = 4,
	NORIKV_OP_DELETE_RANGE = 5,
	NORIKV_OP_VECTOR_PUT = 6,	/* key is the vector's id in vector_namespace */
	NORIKV_OP_VECTOR_DELETE = 7,
	/* UNIMPLEMENTED where the server has none. */
	NORIKV_OP_VECTOR_CHECK = 8,
	NORIKV_OP_VECTOR_DELETE_RANGE = 9	/* of ids, like DELETE_RANGE */
} norikv_operation_kind;

typedef struct norikv_operation
{
	norikv_operation_kind kind;
	norikv_condition condition;
	norikv_version version;		/* NORIKV_IF_VERSION */
	norikv_slice key;
	norikv_slice value;			/* put */
	norikv_slice end_key;		/* delete range, exclusive; empty: to the last key */
	norikv_ttl	ttl;
	uint64_t	ttl_ms;			/* NORIKV_TTL_SET; 1 ms to 100 years */
	int64_t		delta;			/* add */
	norikv_slice vector_namespace;	/* of operations on vectors */
	const float *vector;		/* vector put */
	uint32_t	dimensions;
} norikv_operation;

typedef struct norikv_operation_result
{
	norikv_code code;			/* NORIKV_OK: done */
	bool		outcome_unknown;
	bool		version_mismatch;
	bool		quota_exceeded;
	const char *text;			/* empty where done */
	norikv_version version;		/* done: the one written; mismatch: the one present */
	/* Delete: there was one. Creation and drop of an index: it was there. */
	bool		existed;
	int64_t		value;			/* add: the new value */
	uint64_t	deleted;		/* delete range: how many */
} norikv_operation_result;

/* kind is NORIKV_OP_PUT or NORIKV_OP_DELETE: the unary calls of norikv.v1. */
extern norikv_call *norikv_write(norikv_client *client, const norikv_operation *operation,
								 const norikv_call_options *options);

/*
 * Atomic: all conditions hold and everything takes effect in one version, or
 * nothing does, and the call's error names the first unmet condition. Not atomic:
 * each on its own; the call ends well, results tell, and on a server without
 * Commit the operations travel as pipelined unary calls.
 */
extern norikv_call *norikv_commit(norikv_client *client,
								  const norikv_operation *operations, size_t n_operations,
								  bool atomic, const norikv_call_options *options);

/* Write: one result. Commit: one for each operation, in order. */
extern const norikv_operation_result *norikv_call_results(const norikv_call *call,
														   size_t *n_results);

/*
 * Vectors: ids of 1 to 512 bytes of UTF-8 in namespaces of 1 to 256, with up to 4,096
 * finite components and a length (L2) below 1e18, with NORIKV_COSINE also above 1e-18:
 * norikvd says INVALID_ARGUMENT of others, also where they are to be searched for. A
 * namespace is there once its index has been created; before, all but
 * norikv_vector_drop_index() are NOT_FOUND. Servers without norikv.v1.Vector:
 * UNIMPLEMENTED. Those without norikv.ext.v1: no list of indexes, no versions, no
 * conditions, no ef, no exact search.
 */

typedef enum norikv_distance
{
	NORIKV_EUCLIDEAN = 1,		/* L2, not squared */
	NORIKV_COSINE = 2,			/* 1 - cosine similarity */
	NORIKV_INNER_PRODUCT = 3	/* the dot product, negated */
} norikv_distance;

typedef enum norikv_index_type
{
	NORIKV_BRUTE_FORCE = 1,		/* exact, reads all vectors for each search */
	NORIKV_HNSW = 2				/* a graph: approximate */
} norikv_index_type;

/*
 * One result: existed says that it was there with the same parameters. With others:
 * ALREADY_EXISTS.
 */
extern norikv_call *norikv_vector_create_index(norikv_client *client, norikv_slice space,
											   uint32_t dimensions,
											   norikv_distance distance,
											   norikv_index_type type,
											   const norikv_call_options *options);
/* With all its vectors. One result: existed says whether it was there. */
extern norikv_call *norikv_vector_drop_index(norikv_client *client, norikv_slice space,
											 const norikv_call_options *options);

/* Replaces the vector of this id where there is one. One result, with the version. */
extern norikv_call *norikv_vector_insert(norikv_client *client, norikv_slice space,
										 norikv_slice id, const float *vector,
										 uint32_t dimensions,
										 const norikv_call_options *options);
/* One result: existed says whether there was one. */
extern norikv_call *norikv_vector_delete(norikv_client *client, norikv_slice space,
										 norikv_slice id,
										 const norikv_call_options *options);

typedef struct norikv_vector
{
	norikv_slice id;
	const float *vector;		/* NULL: absent, or not asked for */
	uint32_t	dimensions;		/* of vector */
	bool		found;
	norikv_version version;		/* index 0: the server does not say */
	float		distance;		/* of a match */
} norikv_vector;

extern norikv_call *norikv_vector_get(norikv_client *client, norikv_slice space,
									  norikv_slice id,
									  const norikv_call_options *options);
/* One for each id, in the order asked. */
extern norikv_call *norikv_vector_get_many(norikv_client *client, norikv_slice space,
										   const norikv_slice *ids, size_t n_ids,
										   const norikv_call_options *options);

/* Bytes of vectors that a page of a continued search has at most, from the second on. */
#define NORIKV_PAGE_VECTORS (4 * 1024 * 1024)

typedef struct norikv_search_request
{
	norikv_slice space;
	const float *query;
	uint32_t	dimensions;
	uint32_t	k;				/* of a continued search: of the first page */
	bool		include_vectors;
	uint32_t	ef;				/* width of the beam; 0: the server's */
	bool		exact;			/* no approximation: reads all vectors */
	/*
	 * Goes on past k until there are no more vectors: pages, read like those of a
	 * scan, each asked for when the one before it is given back, and larger than it.
	 * No id comes twice. Distances ascend within a page; from the second one on
	 * searches are exact, so that there can be nearer vectors in the second that the
	 * first, if it was approximate, has missed. Pages for whose vectors
	 * NORIKV_PAGE_VECTORS are too few come without them, whatever include_vectors
	 * says: for those, norikv_vector_get_many().
	 */
	bool		continued;
} norikv_search_request;

extern norikv_call *norikv_vector_search(norikv_client *client,
										 const norikv_search_request *request,
										 const norikv_call_options *options);
typedef struct norikv_vector_scan_request
{
	norikv_slice space;
	/* Need not be ids; like those of a scan of keys. */
	norikv_slice start;			/* inclusive; empty: from the first id */
	norikv_slice end;			/* exclusive; empty: to the last id */
	bool		reverse;
	uint64_t	max_rows;		/* 0: all */
	bool		ids_only;
	bool		one_snapshot;	/* ABORTED rather than snapshot_moved */
} norikv_vector_scan_request;

/*
 * In the order of ids, as bytes; read like a scan of keys: pages of norikv_vector, and
 * norikv_call_snapshot_moved(). UNIMPLEMENTED where the server has none.
 */
extern norikv_call *norikv_vector_scan(norikv_client *client,
									   const norikv_vector_scan_request *request,
									   const norikv_call_options *options);
/* Get: one; get many: all; search, scan: the matches, or the page at hand. */
extern const norikv_vector *norikv_call_vectors(const norikv_call *call,
												size_t *n_vectors);
/* Search: the page at hand is exact. */
extern bool norikv_call_exact(const norikv_call *call);

typedef enum norikv_index_state
{
	NORIKV_INDEX_READY,
	NORIKV_INDEX_LOADING,		/* searches are UNAVAILABLE, and say how far it is */
	NORIKV_INDEX_TOO_LARGE		/* for the server's memory: it cannot be searched */
} norikv_index_state;

typedef struct norikv_vector_index
{
	norikv_slice space;
	uint32_t	dimensions;
	norikv_distance distance;
	norikv_index_type type;
	uint64_t	vectors;
	uint64_t	memory_bytes;
	uint64_t	pending;		/* stored and found, and not in the graph yet */
	norikv_index_state state;
	norikv_version version;		/* when it was created */
} norikv_vector_index;

/* Those whose namespace begins with prefix, by namespace. */
extern norikv_call *norikv_vector_list(norikv_client *client, norikv_slice prefix,
									   const norikv_call_options *options);
extern const norikv_vector_index *norikv_call_indexes(const norikv_call *call,
													   size_t *n_indexes);

/* Watching. */

typedef enum norikv_change_kind
{
	NORIKV_WATCH_PUT = 1,
	NORIKV_WATCH_DELETE = 2,
	NORIKV_WATCH_DELETE_RANGE = 3,
	NORIKV_WATCH_EXPIRED = 4
} norikv_change_kind;

typedef struct norikv_change
{
	norikv_change_kind kind;
	norikv_slice key;
	norikv_slice end_key;		/* delete range, exclusive; empty: to the last key */
	norikv_version version;		/* the commit's; expired: the sweep's */
} norikv_change;

typedef struct norikv_watch_request
{
	norikv_slice start;			/* inclusive; empty: from the first key */
	norikv_slice end;			/* exclusive; empty: to the last key */
	norikv_version after;		/* term and index 0: from now on */
	uint64_t	history;		/* of after, as norikv_changes says; 0: not known */
	/*
	 * A page at least this often, without changes where there are none: what was known
	 * still holds. So silence tells that the server is out of reach. 100 or more; 0:
	 * only with changes. Servers of versions that do not know it never send one.
	 */
	uint32_t	heartbeat_ms;
} norikv_watch_request;

/* What a key is watched by: [key, key and a zero byte). The key is copied to end. */
#define NORIKV_WATCH_END_SIZE (NORIKV_MAX_KEY + 1)
extern norikv_slice norikv_key_end(norikv_slice key, char end[NORIKV_WATCH_END_SIZE]);

typedef struct norikv_changes
{
	const norikv_change *changes;	/* in the order of commits */
	size_t		n_changes;
	/*
	 * All changes up to this version have been shown; of a later one there may be
	 * more on the next page. With history it is where another watch can go on.
	 */
	norikv_version known;
	uint64_t	history;
	/*
	 * Changes before known may be missing: what rests on what was watched must be
	 * read anew. So it is after a restart of the server, and where changes are not
	 * read for so long that the server has forgotten them.
	 */
	bool		reset;
	/* When the server made the page it had nothing more to tell. */
	bool		current;
} norikv_changes;

/*
 * A stream of changes without values, read like a scan: each page is norikv_changes.
 * The first page comes at once, without changes, and says from which version on is
 * watched: who reads the keys after it misses nothing. Then the call is done again
 * whenever something has changed, which may be never. Only the first page has a
 * deadline. A watch whose connection breaks goes on by itself from the version known,
 * for ever, and the changes of one version may be shown again then. It ends only
 * where the server refuses it, or has no Watch (UNIMPLEMENTED).
 *
 * A server allows 1,024 streams a connection, which a client's calls share: at most
 * NORIKV_MAX_WATCHES a client may be open, one more is RESOURCE_EXHAUSTED.
 */
#define NORIKV_MAX_WATCHES 960

extern norikv_call *norikv_watch(norikv_client *client,
								 const norikv_watch_request *request,
								 const norikv_call_options *options);
/* The page at hand; NULL: there is none. */
extern const norikv_changes *norikv_call_changes(const norikv_call *call);
/*
 * As far as is known the server would tell of a change now. False between a
 * connection that broke, or a server that went, and the next one: what is kept in
 * the belief that a change would have been told must not be relied on then.
 */
extern bool norikv_call_watching(const norikv_call *call);

/* Quotas. */

typedef struct norikv_quota
{
	norikv_slice prefix;		/* empty: the whole store */
	uint64_t	max_keys;		/* 0: no limit */
	uint64_t	max_bytes;		/* of keys, values and vectors; 0: no limit */
} norikv_quota;

/*
 * Counts live keys and their bytes under a prefix, and limits them. A vector whose
 * namespace begins with the prefix is a key, of the bytes of its namespace, its id and
 * its components. A write that would pass a limit is refused, with quota_exceeded in
 * its error. All quotas whose prefix a key has count it. Without limits they are only
 * counted.
 */
extern norikv_call *norikv_set_quota(norikv_client *client, const norikv_quota *quota,
									 const norikv_call_options *options);
/* No longer counted, nor limited. Where there is no such quota nothing happens. */
extern norikv_call *norikv_remove_quota(norikv_client *client, norikv_slice prefix,
										const norikv_call_options *options);

typedef struct norikv_usage_counts
{
	uint64_t	keys;
	uint64_t	bytes;
	uint64_t	max_keys;		/* 0: no limit */
	uint64_t	max_bytes;		/* 0: no limit */
	/* Keys are still being counted: keys and bytes are too low as yet. */
	bool		recounting;
} norikv_usage_counts;

/* NOT_FOUND where the prefix has no quota. */
extern norikv_call *norikv_usage(norikv_client *client, norikv_slice prefix,
								 const norikv_call_options *options);
extern const norikv_usage_counts *norikv_call_usage(const norikv_call *call);

/* The server. */

typedef struct norikv_info
{
	const char *name;			/* empty where the server has no Info */
	const char *version;
	const char *engine;
	const char *store_id;
	bool		atomic_cas;
	bool		create;
	bool		conditional_delete;
	bool		ttl;
	bool		scan;
	bool		batch;
	bool		transactions;
	bool		add;
	bool		watch;
	bool		quotas;
	bool		vectors;
	bool		vector_checks;	/* NORIKV_OP_VECTOR_CHECK */
	bool		vector_scan;
	bool		vector_ranges;	/* NORIKV_OP_VECTOR_DELETE_RANGE */
	bool		durable;
	uint64_t	commit_operations;	/* limits; 0: none */
	uint64_t	commit_conditions;
	uint64_t	commit_bytes;
	uint64_t	key_bytes;
	uint64_t	value_bytes;
	uint64_t	message_bytes;
	uint64_t	multi_get_keys;
	uint64_t	expiry_granularity_ms;
	uint64_t	store_time_ms;
	norikv_version latest;		/* none given out by now is greater; term 0: not known */
} norikv_info;

/* A server without Info is no error: name is empty and only ttl is true. */
extern norikv_call *norikv_get_info(norikv_client *client,
									const norikv_call_options *options);
extern const norikv_info *norikv_call_info(const norikv_call *call);

/*
 * UNAVAILABLE where the server answers that it is not serving, UNIMPLEMENTED where it
 * has no health service.
 */
extern norikv_call *norikv_health(norikv_client *client,
								  const norikv_call_options *options);

typedef struct norikv_replica
{
	uint32_t	shard;
	const char *node;
	const char *addr;			/* empty where the view names no such node */
	bool		leader;
} norikv_replica;

typedef struct norikv_cluster_view
{
	uint64_t	epoch;
	const norikv_replica *replicas;
	size_t		n_replicas;
} norikv_cluster_view;

/*
 * A stream, read like a scan: one view at once, then one whenever it changes, which
 * may be never; only the first has a deadline.
 */
extern norikv_call *norikv_watch_cluster(norikv_client *client,
										 const norikv_call_options *options);
extern const norikv_cluster_view *norikv_call_view(const norikv_call *call);

/* ---- Helpers ---- */

/* The shard of a key, with the key_prefix, if there is one: jump consistent hash (Lamping and Veach) of its XXH64. */
extern uint32_t norikv_shard_of(norikv_slice key, uint32_t total_shards);

/*
 * The first key after all keys with this prefix, into end (at least prefix.size
 * bytes); its size, or 0 where there is none (empty, or 0xff bytes only).
 */
extern size_t norikv_prefix_end(norikv_slice prefix, void *end);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
