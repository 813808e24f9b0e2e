/*
 * engine.h - the one interface between norikvd's services and storage.
 *
 * An engine keeps keys with versions and expiry, decides conditions, remembers
 * idempotency keys and knows store time. It may be a library in this process
 * (local.c over a table) or a distributed store of its own. So:
 *
 * - every answer comes by callback, perhaps before the call returns, perhaps
 *   later from a thread of the engine's;
 * - a commit hands over all conditions and writes at once;
 * - a scan is a sequence of pages; that they come from one snapshot is a
 *   property that a cursor can lose, and says so.
 *
 * Any thread may call any function. Callbacks must not block; they may read and
 * commit again.
 */
#ifndef NORIKVD_ENGINE_H
#define NORIKVD_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct engine engine;
typedef struct engine_outcome engine_outcome;

typedef struct engine_slice
{
	const char *data;
	size_t		size;
} engine_slice;

/* index 0: no version, absent. Later writes are greater by (term, index). */
typedef struct engine_version
{
	uint64_t	term;
	uint64_t	index;
} engine_version;

/* Numbers are those of gRPC, so that a service can pass them on. */
typedef enum engine_code
{
	ENGINE_OK = 0,
	ENGINE_CANCELLED = 1,
	ENGINE_INVALID_ARGUMENT = 3,
	ENGINE_DEADLINE_EXCEEDED = 4,
	ENGINE_NOT_FOUND = 5,
	ENGINE_ALREADY_EXISTS = 6,
	ENGINE_RESOURCE_EXHAUSTED = 8,
	ENGINE_FAILED_PRECONDITION = 9,
	ENGINE_ABORTED = 10,
	ENGINE_OUT_OF_RANGE = 11,
	ENGINE_UNIMPLEMENTED = 12,
	ENGINE_INTERNAL = 13,
	ENGINE_UNAVAILABLE = 14,
	ENGINE_DATA_LOSS = 15
} engine_code;

#define ENGINE_TEXT_SIZE 512

typedef struct engine_status
{
	engine_code code;
	char		text[ENGINE_TEXT_SIZE];
} engine_status;

/* ---- Reads ---- */

typedef struct engine_entry
{
	engine_slice key;
	engine_slice value;
	engine_version version;		/* index 0: absent */
	uint64_t	expires_at_ms;	/* store time, Unix epoch; 0: never */
} engine_entry;

/* How fresh a read must be. A local engine reads its newest state for all. */
typedef enum engine_consistency
{
	ENGINE_STRONG,
	ENGINE_EVENTUAL,
	ENGINE_BOUNDED_STALENESS
} engine_consistency;

/* Entries in the order asked; valid during the callback only. */
typedef void (*engine_read_done) (void *arg, const engine_status *status,
								  const engine_entry *entries, size_t n_entries);

typedef struct engine_scan
{
	/* Of the vectors of this namespace: their ids are the keys, floats as the machine
	 * has them, unaligned, the values. Empty: of keys. */
	engine_slice space;
	engine_slice start;			/* inclusive; empty: from the first key */
	engine_slice end;			/* exclusive; empty: to the last key */
	bool		reverse;
	uint64_t	max_rows;		/* 0: all */
	bool		keys_only;
	bool		count_only;
	bool		one_snapshot;	/* ABORTED rather than snapshot_moved */
	engine_consistency consistency;
} engine_scan;

typedef struct engine_cursor engine_cursor;

typedef struct engine_page
{
	const engine_entry *entries;
	size_t		n_entries;
	uint64_t	count;			/* count_only: rows seen so far */
	bool		snapshot_moved; /* this page starts in a later snapshot */
	bool		last;
} engine_page;

/* The page is valid during the callback only. */
typedef void (*engine_page_done) (void *arg, const engine_status *status,
								  const engine_page *page);

/* ---- Vectors ---- */

/* Numbers are those of norikv.v1, and what is stored. */
typedef enum engine_metric
{
	ENGINE_EUCLIDEAN = 1,		/* L2, not squared */
	ENGINE_COSINE = 2,			/* 1 - cosine similarity */
	ENGINE_INNER_PRODUCT = 3	/* the dot product, negated */
} engine_metric;

typedef enum engine_index_type
{
	ENGINE_BRUTE_FORCE = 1,
	ENGINE_HNSW = 2
} engine_index_type;

typedef struct engine_index
{
	uint32_t	dimensions;
	engine_metric metric;
	engine_index_type type;
} engine_index;

typedef enum engine_index_state
{
	ENGINE_INDEX_READY,
	ENGINE_INDEX_LOADING,		/* searches are UNAVAILABLE, and say how far it is */
	ENGINE_INDEX_TOO_LARGE		/* for the memory: it cannot be searched */
} engine_index_state;

typedef struct engine_index_info
{
	engine_slice space;
	engine_index index;
	engine_index_state state;
	uint64_t	vectors;
	uint64_t	memory_bytes;
	uint64_t	pending;		/* found by every search, and not in the graph yet */
	engine_version version;		/* when it was created */
} engine_index_info;

/* Indexes by namespace; valid during the callback only. */
typedef void (*engine_indexes_done) (void *arg, const engine_status *status,
									 const engine_index_info *indexes, size_t n_indexes);

typedef struct engine_vector
{
	engine_slice id;
	const void *floats;			/* as the machine has them, unaligned; NULL: not asked */
	uint32_t	dimensions;
	engine_version version;		/* index 0: absent */
	float		distance;		/* of a match */
} engine_vector;

/* In the order asked; valid during the callback only. NOT_FOUND: no such index. */
typedef void (*engine_vectors_done) (void *arg, const engine_status *status,
									 const engine_vector *vectors, size_t n_vectors);

typedef struct engine_search
{
	engine_slice space;
	const float *query;
	uint32_t	dimensions;
	uint32_t	k;
	uint32_t	ef;				/* width of the beam; 0: the engine's */
	bool		include_vectors;
	bool		exact;			/* reads every vector */
	bool		here;			/* a brief one may run on the caller's thread */
	engine_consistency consistency;
} engine_search;

typedef struct engine_matches
{
	const engine_vector *matches;	/* ascending by distance */
	size_t		n_matches;
	bool		exact;			/* the true nearest, ties by id */
} engine_matches;

/* Valid during the callback only; matches is NULL where status is not OK. */
typedef void (*engine_search_done) (void *arg, const engine_status *status,
									const engine_matches *found);

/* ---- Watching ---- */

typedef enum engine_change_kind
{
	ENGINE_CHANGE_PUT = 1,
	ENGINE_CHANGE_DELETE = 2,
	ENGINE_CHANGE_DELETE_RANGE = 3,
	ENGINE_CHANGE_EXPIRED = 4
} engine_change_kind;

typedef struct engine_change
{
	engine_change_kind kind;
	engine_version version;
	engine_slice key;
	engine_slice end_key;		/* delete range, exclusive; empty: to the last key */
} engine_change;

typedef struct engine_watch_request
{
	engine_slice start;			/* inclusive; empty: from the first key */
	engine_slice end;			/* exclusive; empty: to the last key */
	engine_version after;		/* term and index 0: from now on */
	uint64_t	history;		/* of after; 0: not known */
	uint32_t	heartbeat_ms;	/* an answer at least this often; 0: only with changes */
} engine_watch_request;

typedef struct engine_watch engine_watch;

typedef struct engine_changes
{
	const engine_change *changes;	/* in the order of commits */
	size_t		n_changes;
	/* All changes up to this version have been handed over. */
	engine_version known;
	/* Which history the version is of: another one is after a restart, say. */
	uint64_t	history;
	bool		reset;			/* changes before known may be missing */
	bool		current;		/* there is nothing more to tell at present */
} engine_changes;

/* Valid during the callback only; NULL where status is not OK. */
typedef void (*engine_changes_done) (void *arg, const engine_status *status,
									 const engine_changes *changes);

/* ---- Writes ---- */

typedef enum engine_op_kind
{
	ENGINE_PUT = 1,
	ENGINE_DELETE = 2,
	ENGINE_CHECK = 3,
	ENGINE_ADD = 4,
	/* Counts what it deletes: about a second for a million keys, and other writes
	 * of a local engine wait so long. */
	ENGINE_DELETE_RANGE = 5,
	/* key is an id in space, value its floats as the machine has them, aligned. */
	ENGINE_VECTOR_PUT = 6,
	ENGINE_VECTOR_DELETE = 7,
	/* Alone in their unit. */
	ENGINE_INDEX_CREATE = 8,
	ENGINE_INDEX_DROP = 9,
	/* key is a prefix, which may be empty. Alone in their unit. */
	ENGINE_QUOTA_SET = 10,
	ENGINE_QUOTA_REMOVE = 11,
	/* ENGINE_CHECK of a vector. Where there is no such space, it is absent. */
	ENGINE_VECTOR_CHECK = 12,
	/* ENGINE_DELETE_RANGE of ids in space. */
	ENGINE_VECTOR_DELETE_RANGE = 13
} engine_op_kind;

/*
 * Of the live keys under a prefix, and of the vectors whose namespace begins with it: a
 * vector is one key more. 0: no limit.
 */
typedef struct engine_quota
{
	uint64_t	max_keys;
	uint64_t	max_bytes;		/* of keys and values; of namespaces, ids and floats */
} engine_quota;

typedef enum engine_condition
{
	ENGINE_IF_ANY,
	ENGINE_IF_ABSENT,
	ENGINE_IF_VERSION
} engine_condition;

typedef enum engine_ttl
{
	ENGINE_TTL_NONE,
	ENGINE_TTL_SET,
	ENGINE_TTL_KEEP
} engine_ttl;

typedef struct engine_op
{
	engine_op_kind kind;
	engine_condition condition;
	engine_version version;		/* ENGINE_IF_VERSION */
	engine_ttl	ttl;
	uint64_t	ttl_ms;
	int64_t		delta;			/* add */
	bool		blind;			/* put: nobody asks whether the key existed */
	engine_slice key;
	engine_slice value;
	engine_slice end_key;		/* delete range, exclusive; empty: to the last key */
	engine_slice space;			/* of vectors */
	engine_index index;			/* create */
	engine_quota quota;			/* quota set */
} engine_op;

typedef struct engine_result
{
	engine_code code;			/* ENGINE_OK: done */
	engine_version version;		/* the one written; on a mismatch the present one */
	/* Not to be relied on after a blind put. Create: it was there, with the same
	 * parameters. */
	bool		existed;
	int64_t		value;			/* add: the new value */
	uint64_t	deleted;		/* delete range: how many */
	engine_slice text;			/* where code is not ENGINE_OK */
} engine_result;

/*
 * What is written in one step. Atomic: one version, all or nothing. Otherwise
 * each operation on its own, in order, yet durable together and remembered
 * together under the one idempotency key.
 *
 * The unit and all it points to belong to the caller and stay until done.
 */
typedef struct engine_unit
{
	bool		atomic;
	engine_slice idempotency_key;	/* empty: none */
	engine_slice scope;			/* whose idempotency key: the credential */
	/*
	 * The same request gives the same fingerprint: 128 bits over verb, keys,
	 * values and conditions, made by engine_unit_fingerprint().
	 */
	uint64_t	fingerprint[2];
	const engine_op *ops;
	size_t		n_ops;
	/*
	 * Asked once, before the unit is started: ENGINE_OK to go on, or what to
	 * answer instead (DEADLINE_EXCEEDED, CANCELLED). NULL: always go on.
	 */
	engine_code (*may_start) (void *arg);
	void	   *arg;
	struct engine_unit *next;	/* these four are the engine's, while it has the unit */
	size_t		bytes;
	bool		puts_vectors;
	uint64_t	deferred_ms;	/* when it began to wait; 0: it does not */
	void		(*done) (void *arg, const engine_outcome *outcome);
} engine_unit;

struct engine_outcome
{
	/*
	 * What became of the unit as a whole. FAILED_PRECONDITION, OUT_OF_RANGE and
	 * the like of an atomic unit name the first operation that did not hold;
	 * a unit that is not atomic is OK and its results tell.
	 *
	 * After a failed write the engine looks what became of it. Only where it
	 * cannot is the outcome unknown: UNAVAILABLE, the text starts "outcome
	 * unknown". In all other cases that are not OK nothing was done.
	 */
	engine_status status;
	int64_t		operation;		/* at fault; -1: none */
	const engine_result *results;	/* n_ops of them where status is OK or a
									 * condition failed, else NULL */
	size_t		n_results;
	bool		repeated;		/* the remembered answer of an earlier request */
};

extern void engine_unit_fingerprint(engine_unit *unit);

/* ---- Quotas ---- */

typedef struct engine_usage
{
	uint64_t	keys;
	uint64_t	bytes;
	engine_quota quota;
	/* Not all has been counted yet; what has not is not limited. */
	bool		recounting;
} engine_usage;

/* Valid during the callback only; NULL where status is not OK. */
typedef void (*engine_usage_done) (void *arg, const engine_status *status,
								   const engine_usage *usage);

/* ---- The engine ---- */

typedef struct engine_info
{
	const char *name;			/* "rocksdb", "memory" */
	char		store_id[40];	/* a UUID as text */
	bool		durable;
	bool		transactions;
	bool		scan;
	bool		add;
	bool		vectors;
	bool		watch;
	bool		quotas;
	uint64_t	max_ops;		/* of one atomic unit; 0: no limit */
	uint64_t	max_conditions;
	uint64_t	max_bytes;
	uint64_t	expiry_granularity_ms;
	uint64_t	store_time_ms;
	engine_version latest;		/* none that was given out is greater; term 0: unknown */
} engine_info;

typedef struct engine_methods
{
	void		(*info) (engine *self, engine_info *info);
	/* Entries of absent and expired keys have version index 0. */
	void		(*get) (engine *self, const engine_slice *keys, size_t n_keys,
						engine_consistency consistency, engine_read_done done, void *arg);
	void		(*commit) (engine *self, engine_unit *unit);
	/* The scan's slices are copied. NULL with *status set where it is refused:
	 * NOT_FOUND where there is no such namespace. */
	engine_cursor *(*scan_open) (engine *self, const engine_scan *scan,
								 engine_status *status);
	/* One page of about max_bytes; one at a time per cursor. */
	void		(*scan_page) (engine_cursor *cursor, size_t max_bytes,
							  engine_page_done done, void *arg);
	void		(*scan_close) (engine_cursor *cursor);
	void		(*list_indexes) (engine *self, engine_slice prefix,
								 engine_indexes_done done, void *arg);
	void		(*get_vectors) (engine *self, engine_slice space, const engine_slice *ids,
								size_t n_ids, engine_consistency consistency,
								engine_vectors_done done, void *arg);
	/*
	 * The search and what it points to are the caller's, and stay until done. Finds
	 * every vector whose unit was answered before.
	 */
	void		(*search) (engine *self, const engine_search *search,
						   engine_search_done done, void *arg);
	/* The request's slices are copied. NULL with *status set where it is refused. */
	engine_watch *(*watch_open) (engine *self, const engine_watch_request *request,
								 engine_status *status);
	/*
	 * Hands over what changed, about max_bytes of it, as soon as there is something:
	 * the first time at once, with no changes. One at a time per watch.
	 */
	void		(*watch_next) (engine_watch *watch, size_t max_bytes,
							   engine_changes_done done, void *arg);
	/* What watch_next() still owes is answered with CANCELLED, before this returns. */
	void		(*watch_cancel) (engine_watch *watch);
	/* With no answer owed; also from within a callback. Before the engine's close. */
	void		(*watch_close) (engine_watch *watch);
	/* NOT_FOUND where the prefix has no quota. */
	void		(*usage) (engine *self, engine_slice prefix, engine_usage_done done,
						  void *arg);
	/* Refuses new units, finishes those it has, lets go of everything. */
	void		(*close) (engine *self);
} engine_methods;

struct engine
{
	const engine_methods *methods;
};

/* ---- The engines of this program ---- */

typedef enum engine_log_level
{
	ENGINE_LOG_ERROR,
	ENGINE_LOG_WARNING,
	ENGINE_LOG_INFO,
	ENGINE_LOG_DEBUG
} engine_log_level;

/* Never called with keys or values above ENGINE_LOG_DEBUG. */
typedef void (*engine_log) (engine_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Where time comes from: CLOCK_REALTIME and CLOCK_BOOTTIME, or a test's own. */
typedef struct engine_clock
{
	uint64_t	(*wall_ns) (void *arg);
	uint64_t	(*boot_ns) (void *arg);
	void	   *arg;
	uint64_t	run;			/* names what boot_ns counts from; 0: nothing does */
} engine_clock;

typedef struct engine_options
{
	const char *data_dir;		/* NULL: memory only */
	bool		sync;			/* answer a write only when it is on disk */
	bool		adopt;			/* take over a directory that was copied; term rises */
	uint64_t	max_memory;		/* bytes for caches and write buffers */
	uint64_t	max_vector_memory;	/* bytes for vector indexes */
	uint64_t	max_idempotency;	/* records */
	/*
	 * What else the directory belongs to (PostgreSQL's system identifier and
	 * timeline); compared with what the store recorded. NULL: not compared.
	 */
	const char *owner;
	engine_log	log;			/* NULL: nothing is logged */
	const engine_clock *clock;	/* NULL: the system's */
} engine_options;

/*
 * "rocksdb" or "memory"; NULL with *status set where it cannot be opened: ABORTED
 * where another process has the directory, FAILED_PRECONDITION where the directory
 * is refused.
 */
extern engine *engine_open(const char *name, const engine_options *options,
						   engine_status *status);

/* Copies the store, consistent at one instant, into a directory that must not exist. */
extern bool engine_backup(engine *self, const char *directory, engine_status *status);

#endif
