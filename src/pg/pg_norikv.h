/*
 * pg_norikv.h - what the files of the extension share, grouped by file.
 *
 * Names in CamelCase are the extension's, norikv_* are libnorikv's, and
 * norikv_sql_* are what CREATE FUNCTION names.
 */
#ifndef PG_NORIKV_H
#define PG_NORIKV_H

#include "postgres.h"

#include <signal.h>

#include "fmgr.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "portability/instr_time.h"
#include "storage/lwlock.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "norikv.h"

#define NORIKV_FDW_NAME "norikv"
#define NORIKV_DEFAULT_SERVER "norikv"

/* What is raised where the standard has no code; see docs/reference.md. */
#define ERRCODE_NORIKV_NOT_ENOUGH_STOCK MAKE_SQLSTATE('N', 'K', '0', '0', '1')
#define ERRCODE_NORIKV_LEASE_LOST MAKE_SQLSTATE('N', 'K', '0', '0', '2')
#define ERRCODE_NORIKV_READ_TIMEOUT MAKE_SQLSTATE('N', 'K', '0', '0', '3')

/* ---- Bytes ---- */

/* In the order of keys: what another one begins with comes before it. */
static inline int
NorikvCompareKeys(norikv_slice a, norikv_slice b)
{
	int order = memcmp(a.data, b.data, Min(a.size, b.size));

	return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static inline bool
NorikvSameBytes(norikv_slice a, norikv_slice b)
{
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static inline bool
NorikvSameVersion(norikv_version a, norikv_version b)
{
	return a.term == b.term && a.index == b.index;
}

/* ---- norikv.c: module, settings ---- */

extern char *norikv_server;		 /* norikv.server */
extern char *norikv_tenant;		 /* norikv.tenant; not checked; empty: none */
extern char *norikv_allowed_nodes; /* norikv.allowed_nodes */

/* ---- options.c: the one table of options ---- */

/* What the options of a server and of a user mapping come to, with defaults. */
typedef struct NorikvSettings
{
	char *nodes; /* NULL: the embedded server */
	char *token; /* NULL: none; from the user mapping */
	int timeout; /* milliseconds, as the next two */
	int attempt_timeout;
	int connect_timeout;
	int max_retries;
	char *consistency;
	bool trust_cas;
	int batch_size; /* operations of one Commit */
	int fetch_size; /* keys of one MultiGet */
	bool keep_connections;
	bool read_only;
	char *tenant; /* NULL: none, the whole store */
	int embedder; /* NorikvEmbedderKind */
	char *embedding_url; /* NULL: not given, as the others of type char * */
	char *embedding_model;
	int embedding_dimensions; /* 0: not given */
	char *embedding_function;
	int embedding_timeout; /* milliseconds */
	char *embedding_api_key; /* from the user mapping */
} NorikvSettings;

/* What the options of a foreign table come to. */
typedef struct NorikvTableOptions
{
	char *prefix;	  /* in the database's encoding */
	char *space;	  /* option "namespace", the same; NULL: a table of keys */
	bool keep_prefix; /* the key column shows the prefix too */
	int format;		  /* NorikvFormat; -1: the columns tell */
	int on_error;	  /* NorikvOnError */
	int write_mode;	  /* NorikvWriteMode */
	int on_insert;	  /* NorikvOnInsert */
	bool updatable;
	bool truncatable; /* false where it is not given, too */
	int batch_size;	  /* 0: the server's, as the next one */
	int fetch_size;
} NorikvTableOptions;

/* Of a column of one: its role, or the field of the document where it has none. */
typedef struct NorikvColumnOptions
{
	bool key;
	bool value;
	bool version;
	bool ttl;
	bool expires_at;
	bool vector;
	bool distance;
	char *field; /* NULL: the column's name */
} NorikvColumnOptions;

/* Strings are allocated in the current memory context. */
extern void NorikvLoadSettings(NorikvSettings *settings, List *server_options,
							   List *user_options);
extern void NorikvLoadTableOptions(NorikvTableOptions *table, List *given);
extern void NorikvLoadColumnOptions(NorikvColumnOptions *column, List *given);
/* The name as libnorikv takes it; NULL where it is none of the three. */
extern const char *NorikvCheckConsistency(const char *consistency);

/* ---- tenancy.c: ids of tenants ---- */

/* What is wrong with an id, as a sentence; NULL: nothing. */
extern const char *NorikvTenantFault(const char *id);
/* What the keys of the tenant begin with, as UTF-8. */
extern void NorikvAppendTenantPrefix(StringInfo prefix, const char *id);
/*
 * The same of a connection: the tenant of its server (NULL: none), and the setting
 * norikv.tenant. Raises where they are no ids.
 */
extern norikv_slice NorikvConnectionPrefix(const char *server, const char *server_tenant,
										   const char *session_tenant);

/* ---- version.c: the type norikv.version ---- */

/* Stored as is, 16 bytes, double-aligned; compared by term, then index. */
typedef norikv_version NorikvVersion;

#define DatumGetVersionP(datum) ((NorikvVersion *) DatumGetPointer(datum))
#define VersionPGetDatum(version) PointerGetDatum(version)
#define PG_GETARG_VERSION_P(n) DatumGetVersionP(PG_GETARG_DATUM(n))

extern Datum NorikvVersionGetDatum(norikv_version version);
extern bool NorikvVersionIsAny(const NorikvVersion *version);
/* As a fencing token; -1: it is too large for one. */
extern int64 NorikvVersionToken(const NorikvVersion *version);

/* ---- stat.c: statistics in shared memory ---- */

/* What stat_calls counts apart; the names are in stat.c. */
typedef enum NorikvOperation
{
	NORIKV_CALL_GET,
	NORIKV_CALL_MGET,
	NORIKV_CALL_PUT,
	NORIKV_CALL_DELETE,
	NORIKV_CALL_COMMIT,
	NORIKV_CALL_SCAN,
	NORIKV_CALL_INFO,
	NORIKV_CALL_PING,
	NORIKV_CALL_VIEW,
	NORIKV_CALL_WATCH,
	NORIKV_CALL_QUOTA,
	NORIKV_CALL_USAGE,
	NORIKV_CALL_VECTOR_INDEX, /* creates, drops or lists */
	NORIKV_CALL_VECTOR_INSERT,
	NORIKV_CALL_VECTOR_DELETE,
	NORIKV_CALL_VECTOR_GET,
	NORIKV_CALL_VECTOR_SEARCH,
	NORIKV_CALL_VECTOR_SCAN,
	NORIKV_CALL_OPERATIONS /* how many there are */
} NorikvOperation;

typedef struct NorikvStatServer NorikvStatServer;

extern void NorikvStatInit(void);
/* The server's records; NULL: no shared memory, or too many servers. */
extern NorikvStatServer *NorikvStatAttach(Oid database, const char *server);
extern void NorikvStatCount(NorikvStatServer *server, NorikvOperation operation,
							bool failed, bool unknown, const norikv_call_stats *stats,
							uint64 elapsed_us);
extern const char *NorikvOperationName(NorikvOperation operation);

/* ---- shmem.c: memory that all processes share ---- */

typedef struct NorikvSharedMemory
{
	const char *name;	 /* "norikv leases" */
	Size (*size)(void);	 /* asked when settings are known */
	void (*attach)(void); /* in every process, before the next; NULL: nothing to do */
	/* Once; the memory is zero, unless it is sparse: then it is as it came. */
	void (*init)(LWLockPadded *locks);
	void **memory;		 /* set in every process */
	const char *tranche; /* of the locks */
	int n_locks;
	bool sparse; /* not to be touched before it is used */
} NorikvSharedMemory;

/* While shared_preload_libraries are loaded; part lives as long as the process. */
extern void NorikvShareMemory(const NorikvSharedMemory *part);

/* ---- connection.c: this backend's clients ---- */

/* What Info says of a server, kept as long as its client. */
typedef struct NorikvCapabilities
{
	bool known; /* Info was asked */
	bool named; /* the server has Info */
	bool atomic_cas; /* the server says so, or trust_cas does */
	bool transactions;
	bool add;
	bool watch;
	bool quotas;
	bool vectors;
	bool vector_checks; /* a Commit may check vectors that it does not write */
	bool vector_scan;
	bool vector_ranges; /* a Commit may delete a range of vectors */
	char *store_id; /* empty: the server does not say */
	bool tells_latest;	/* how far its versions have got */
	int64 latest_token; /* it had given out that one, at least */
	uint64 commit_operations; /* limits; 0: none */
	uint64 commit_conditions;
	uint64 commit_bytes;
	uint64 multi_get_keys;
} NorikvCapabilities;

typedef struct NorikvConnection
{
	dlist_node node; /* in the list of connections */
	Oid serverid;	 /* InvalidOid: the embedded server without a server object */
	Oid umid;		 /* the user mapping; InvalidOid: none */
	uint32 server_hash; /* hash values of the two in the system caches */
	uint32 um_hash;
	char name[NAMEDATALEN]; /* for messages and statistics */
	MemoryContext context;	/* holds this struct and the settings */
	NorikvSettings settings;
	/*
	 * The part of the store it is for, as UTF-8; empty: the whole. The client has it:
	 * keys are relative to it here, and none outside can be reached. What is kept of
	 * keys beyond the connection is to be kept apart by it.
	 */
	norikv_slice key_prefix;
	char *session_tenant; /* norikv.tenant, when it was made */
	size_t max_key;		  /* the longest key, NORIKV_MAX_KEY less the prefix */
	bool embedded;
	uint32 generation; /* of the embedded server, when the client was made */
	bool invalidated;  /* its definition changed: not to be used again */
	norikv_client *client;
	int live_calls;
	NorikvCapabilities capabilities;
	/* Of the tenant functions: the one found last, and when (CLOCK_BOOTTIME). */
	char *known_tenant;
	int64 known_tenant_us;
	List *indexes; /* of NorikvKnownIndex: those of patterns that are known to be there */
	/* Store time was between these two at that CLOCK_BOOTTIME; 0: not asked */
	int64 store_earliest_ms;
	int64 store_latest_ms;
	int64 store_times_at_us;
	NorikvStatServer *stat; /* NULL: nothing is counted */
	struct NorikvCacheScope *cache_scope; /* cache/scope.c's; NULL: not looked for yet */
	uint32 cache_scope_serial;
} NorikvConnection;

extern void NorikvConnectionInit(void);
/* The next function call looks up again which connection is meant. */
extern void NorikvForgetTarget(void);
/* Of the server that norikv.server names, for the current user; USAGE checked. */
extern NorikvConnection *NorikvGetConnection(void);
/* The same, where the function is going to write; sql_name is for the error. */
extern NorikvConnection *NorikvGetWriteConnection(const char *sql_name);
/* For a foreign table, whose own privileges were checked: USAGE does not matter. */
extern NorikvConnection *NorikvGetTableConnection(Oid serverid, Oid userid);
/* Of the server named; NULL: as NorikvGetConnection. */
extern NorikvConnection *NorikvGetNamedConnection(const char *name);
extern const NorikvCapabilities *NorikvGetCapabilities(NorikvConnection *connection);
/* 0A000, naming function and server, where it lacks them. */
extern void NorikvRequireAtomicCas(NorikvConnection *connection, const char *sql_name);
extern void NorikvRequireTransactions(NorikvConnection *connection, const char *sql_name);
extern void NorikvRequireQuotas(NorikvConnection *connection, const char *sql_name);
/* Asks Info anew. */
extern void NorikvAskInfo(NorikvConnection *connection);
/*
 * All, or those of one server (InvalidOid: the embedded); whether there was one.
 * Nobody gets them any more; they close with the transaction, for scans, buffered
 * writes and compare-and-swap loops may have them.
 */
extern bool NorikvCloseConnections(bool all, Oid serverid);
/* The list of NorikvConnection. */
extern dlist_head *NorikvConnections(void);

/* ---- call.c: calls and the one wait ---- */

/* What a call is about, for statistics and messages. */
typedef struct NorikvSubject
{
	NorikvConnection *connection;
	NorikvOperation operation;
	norikv_slice key; /* borrowed; size 0: about no one key */
	bool write;
	norikv_condition condition; /* of a write */
} NorikvSubject;

/* What a write may change of what the cache holds: see cache/cache.h. */
typedef struct NorikvCacheWrite
{
	uint64 *keys; /* hash values; &only, or of the TopMemoryContext */
	uint64 only;
	size_t n_keys;
	bool started;
	bool everything; /* a range, or keys that were not looked at */
} NorikvCacheWrite;

typedef struct NorikvCall
{
	dlist_node node; /* in the list of live calls */
	NorikvSubject subject;
	norikv_call *call;
	ResourceOwner owner; /* whose release frees the call */
	instr_time start;
	NorikvCacheWrite cache_write;
} NorikvCall;

extern void NorikvCallInit(void);

extern NorikvCall *NorikvStartGet(NorikvConnection *connection, norikv_slice key,
								  const char *consistency);
extern NorikvCall *NorikvStartMultiGet(NorikvConnection *connection,
									   const norikv_slice *keys, size_t n_keys,
									   const char *consistency);
extern NorikvCall *NorikvStartScan(NorikvConnection *connection,
								   const norikv_scan_request *request);
extern NorikvCall *NorikvStartWrite(NorikvConnection *connection,
									const norikv_operation *operation,
									norikv_slice idempotency_key);
extern NorikvCall *NorikvStartCommit(NorikvConnection *connection,
									 const norikv_operation *operations,
									 size_t n_operations, bool atomic);
/* An atomic one, with the caller's key; empty: the library makes one. */
extern NorikvCall *NorikvStartKeyedCommit(NorikvConnection *connection,
										  const norikv_operation *operations,
										  size_t n_operations,
										  norikv_slice idempotency_key);
/* Of vectors; space is the namespace. Finished by NorikvFinishVectors(). */
extern NorikvCall *NorikvStartCreateIndex(NorikvConnection *connection,
										  norikv_slice space, uint32 dimensions,
										  norikv_distance distance,
										  norikv_index_type type);
extern NorikvCall *NorikvStartDropIndex(NorikvConnection *connection, norikv_slice space);
/* Those whose namespace begins with the prefix. */
extern NorikvCall *NorikvStartListIndexes(NorikvConnection *connection,
										  norikv_slice prefix);
extern NorikvCall *NorikvStartVectorInsert(NorikvConnection *connection,
										   norikv_slice space, norikv_slice id,
										   const float *vector, uint32 dimensions);
extern NorikvCall *NorikvStartVectorDelete(NorikvConnection *connection,
										   norikv_slice space, norikv_slice id);
extern NorikvCall *NorikvStartVectorGet(NorikvConnection *connection, norikv_slice space,
										norikv_slice id);
/* With their versions, which a single get does not have. */
extern NorikvCall *NorikvStartVectorGetMany(NorikvConnection *connection,
											norikv_slice space, const norikv_slice *ids,
											size_t n_ids);
/* A continued one is a stream: see NorikvNextPage(). */
extern NorikvCall *NorikvStartVectorSearch(NorikvConnection *connection,
										   const norikv_search_request *request);
/* A stream: see NorikvNextPage(). */
extern NorikvCall *NorikvStartVectorScan(NorikvConnection *connection,
										 const norikv_vector_scan_request *request);
extern NorikvCall *NorikvStartInfo(NorikvConnection *connection);
extern NorikvCall *NorikvStartHealth(NorikvConnection *connection);
extern NorikvCall *NorikvStartWatchCluster(NorikvConnection *connection);
/* Of one key, from now on. */
extern NorikvCall *NorikvStartWatch(NorikvConnection *connection, norikv_slice key);
extern NorikvCall *NorikvStartSetQuota(NorikvConnection *connection,
									   const norikv_quota *quota);
extern NorikvCall *NorikvStartUsage(NorikvConnection *connection, norikv_slice prefix);

/* Until it is done; its error is the caller's to look at. */
extern const norikv_error *NorikvAwait(NorikvCall *call);
/* The same until an instant of NorikvBootMicroseconds; false: it is not done. */
extern bool NorikvAwaitUntil(NorikvCall *call, int64 until_us);
/* Gives the page at hand back: the call is not done until the next one is there. */
extern bool NorikvAskNextPage(NorikvCall *call);
/* Until it is done; raises its error. */
extern void NorikvFinish(NorikvCall *call);
/* The same; its entries, one for each key. */
extern const norikv_entry *NorikvFinishMultiGet(NorikvCall *call, size_t n_keys);
/* The next page of a scan; false at its end. Raises its error. */
extern bool NorikvNextPage(NorikvCall *call);
/* Cancels it where it is under way; counts it. Never throws. */
extern void NorikvFree(NorikvCall *call);
extern void NorikvFreeCalls(NorikvConnection *connection);
/* Sleeps; a cancel ends it by an error. */
extern void NorikvSleep(long milliseconds);

/*
 * Everything of libnorikv that can enter gRPC is called between these two: gRPC
 * starts threads when it likes, a thread inherits the mask of its creator, and a
 * signal delivered to a foreign thread would run a backend's handler there.
 */
extern void NorikvBlockSignals(sigset_t *saved);
extern void NorikvRestoreSignals(const sigset_t *saved);

/* ---- error.c: the one place that maps errors ---- */

/* Whether a write was refused because its condition did not hold. */
extern bool NorikvIsUnmetCondition(const norikv_error *error);
extern void NorikvRaise(const norikv_error *error, const NorikvSubject *subject)
	pg_attribute_noreturn();
/* Of one operation of a batch; the subject has its key. */
extern void NorikvRaiseResult(const norikv_operation_result *result,
							  const NorikvSubject *subject) pg_attribute_noreturn();
/* In an error context callback: the DETAIL of a cancel in the middle of a write. */
extern void NorikvWriteInterrupted(void *subject);
/* A key for people: as text where it is some, in hexadecimal where not, cut. */
extern char *NorikvShowKey(norikv_slice key);

/* ---- convert.c: values of SQL to and from those of the wire ---- */

/* As key of a call: UTF-8 for text (is_text), raw for bytea; length checked. */
extern norikv_slice NorikvKeyFromDatum(Datum datum, bool is_text, const char *argument);
/* The same without the check of the length: prefixes and bounds. */
extern norikv_slice NorikvBytesFromDatum(Datum datum, bool is_text);
extern norikv_slice NorikvValueFromDatum(Datum datum, Oid type);
/* Whether the argument of the running function is text (and not bytea). */
extern bool NorikvArgumentIsText(FunctionCallInfo fcinfo, int argument);
extern uint64 NorikvMillisecondsFromInterval(Interval *interval, const char *argument);

extern Datum NorikvTextFromKey(norikv_slice key, const NorikvConnection *connection);
/* Of the id of a vector, or of a namespace: there is no reading them as bytea. */
extern Datum NorikvTextFromId(norikv_slice id, const NorikvConnection *connection);
extern Datum NorikvTextFromValue(const norikv_entry *entry,
								 const NorikvConnection *connection);
extern Datum NorikvJsonbFromValue(const norikv_entry *entry,
								  const NorikvConnection *connection);
extern Datum NorikvByteaFromSlice(norikv_slice slice);
/* Pushed while bytes of a value become text or JSON: errors then name its key. */
typedef struct NorikvDecoding
{
	const NorikvConnection *connection;
	norikv_slice key;
	bool is_key; /* it is the key that becomes text */
	bool is_id;	 /* of a vector, not of an entry */
	ErrorContextCallback callback;
} NorikvDecoding;

extern void NorikvBeginDecoding(NorikvDecoding *decoding);
extern void NorikvEndDecoding(NorikvDecoding *decoding);
/* Checked, in the database's encoding; the input itself where that is UTF-8. */
extern norikv_slice NorikvFromUtf8(norikv_slice utf8);
/* Both of text in the database's encoding; the input itself where that is UTF-8. */
extern norikv_slice NorikvToUtf8(norikv_slice text);
extern char *NorikvCStringToUtf8(const char *text);
/* Of an instant as the store has it; 0 is NULL. */
extern Datum NorikvTimestampFromMilliseconds(uint64 ms, bool *is_null);
/* Of one as documents have it: milliseconds since 1970, also before. */
extern Datum NorikvTimestampFromInstant(int64 epoch_ms);
extern int64 NorikvMillisecondsFromTimestamp(TimestampTz instant);
/* UTF-8 of the server's for a message: bytes that are no text become '?'. */
extern char *NorikvTextForMessage(const char *text);

/* ---- keys.c: one key; arguments that other functions take too ---- */

extern void NorikvRequireArgument(FunctionCallInfo fcinfo, int argument,
								  const char *name);
/* NULL: the server's option decides. */
extern const char *NorikvConsistencyArgument(FunctionCallInfo fcinfo, int argument);
/* The argument "idempotency_key"; empty: it is NULL. */
extern norikv_slice NorikvIdempotencyKeyArgument(FunctionCallInfo fcinfo, int argument);

/* The arguments of a put, or a delete, from key on; without idempotency_key. */
extern norikv_slice NorikvKeyArgument(FunctionCallInfo fcinfo, int argument);
extern norikv_operation NorikvPutArguments(FunctionCallInfo fcinfo, int first);
extern norikv_operation NorikvDeleteArguments(FunctionCallInfo fcinfo, int first);
/* What they return; the delete is awaited, the put has been. The call is freed. */
extern Datum NorikvFinishPut(NorikvCall *call);
extern Datum NorikvFinishDelete(NorikvCall *call);

/* ---- array.c: arrays of keys and values ---- */

typedef struct NorikvElements
{
	Oid type; /* text or one like it, bytea, json or jsonb; never a domain */
	Datum *values;
	bool *nulls;
	int count;
} NorikvElements;

/* The arguments "keys", the first, and "vals", the second, taken apart. */
extern void NorikvKeysArgument(FunctionCallInfo fcinfo, NorikvElements *elements);
extern void NorikvValuesArgument(FunctionCallInfo fcinfo, NorikvElements *elements);
/* An element of "keys", which must not be null, as key of a call. */
extern norikv_slice NorikvElementKey(const NorikvElements *elements, int i);
/* Of equal keys the last one: fills chosen with the others' positions; how many. */
extern int NorikvLastOfEqualKeys(const norikv_slice *keys, int count, int *chosen);

/* ---- bulk.c: reading many keys ---- */

/* Of the first request for many: how large their values are is not known. */
#define NORIKV_FIRST_KEYS 100
/* How many keys to ask for after n keys had values of that many bytes. */
extern int NorikvNextKeys(int n, size_t bytes, int fetch_size);

/* ---- clock.c: store time ---- */

/*
 * Milliseconds since 1970 by the clock of the store, which is asked every few
 * seconds and drawn on with CLOCK_BOOTTIME. It may ask: not where nothing may fail.
 * A server that does not tell its time is taken to have this machine's.
 */
extern int64 NorikvStoreTime(NorikvConnection *connection);

/* What store time is at least and at most, whatever the network did to the answer. */
typedef struct NorikvStoreTimes
{
	int64 earliest;
	int64 latest;
} NorikvStoreTimes;

extern NorikvStoreTimes NorikvGetStoreTimes(NorikvConnection *connection);
/* Of an Info that has ended: its store time, and when it was asked and answered. */
extern void NorikvKeepStoreTime(NorikvConnection *connection, uint64 store_time_ms,
								int64 asked_us, int64 answered_us);
/* CLOCK_BOOTTIME: goes on while the machine sleeps, and nobody sets it. */
extern int64 NorikvBootMicroseconds(void);
extern int64 NorikvBootMilliseconds(void);

/* ---- updater.c: functions of the user's, handed over by name ---- */

/* What such a function must be. */
typedef struct NorikvSignature
{
	int n_args;
	Oid args[4];
	Oid result;
	const char *shown; /* "(old jsonb, args jsonb) that returns jsonb" */
} NorikvSignature;

/*
 * That it is one, and that the current user may execute it: the name was handed over
 * as data. Returns whether it is strict.
 */
extern bool NorikvCheckFunction(Oid function, const char *argument,
								const NorikvSignature *signature);

/* updater(old jsonb, args jsonb) returns jsonb, with the args of this call. */
typedef struct NorikvUpdater
{
	FmgrInfo function;
	Oid collation;
	Datum args;
	bool args_is_null;
} NorikvUpdater;

/* Of the arguments "updater" and "args" of the running SQL function. */
extern void NorikvPrepareUpdater(NorikvUpdater *updater, FunctionCallInfo fcinfo,
								 int updater_argument, int args_argument);
/* NULL (is_null): what it returned; a jsonb, in the current memory context. */
extern Datum NorikvCallUpdater(NorikvUpdater *updater, Datum old, bool old_is_null,
							   bool *is_null);

#endif
