/*
 * stat.c - statistics of calls, in shared memory.
 *
 * A fixed number of servers (database and name), each with one record for every
 * operation; a record has a spinlock, held for a few additions. Times go to
 * buckets four to an octave, so a percentile is off by a tenth at most. Servers
 * past the fixed number are not counted.
 */
#include "pg_norikv.h"

#include <math.h>

#include "funcapi.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#define MAX_SERVERS 128
#define BUCKETS_PER_OCTAVE 4
/* The last bucket is for everything from 2^31 microseconds (36 minutes) on. */
#define BUCKETS (BUCKETS_PER_OCTAVE * 32)

typedef struct Record
{
	slock_t lock;
	int64 calls;
	int64 errors;
	int64 retries;
	int64 unknown;
	int64 bytes_in;
	int64 bytes_out;
	int64 total_us;
	int64 min_us;
	int64 max_us;
	uint32 buckets[BUCKETS];
} Record;

struct NorikvStatServer
{
	Oid database; /* InvalidOid: the slot is free */
	NameData name;
	Record records[NORIKV_CALL_OPERATIONS];
};

typedef struct SharedStats
{
	LWLock *lock; /* held to take slots; nobody gives one back */
	NorikvStatServer servers[MAX_SERVERS];
} SharedStats;

static const char *const operation_names[NORIKV_CALL_OPERATIONS] = {
	[NORIKV_CALL_GET] = "get",	   [NORIKV_CALL_MGET] = "mget",
	[NORIKV_CALL_PUT] = "put",	   [NORIKV_CALL_DELETE] = "delete",
	[NORIKV_CALL_COMMIT] = "commit", [NORIKV_CALL_SCAN] = "scan",
	[NORIKV_CALL_INFO] = "info",   [NORIKV_CALL_PING] = "ping",
	[NORIKV_CALL_VIEW] = "cluster_view", [NORIKV_CALL_WATCH] = "watch",
	[NORIKV_CALL_QUOTA] = "set_quota",
	[NORIKV_CALL_USAGE] = "usage",
	[NORIKV_CALL_VECTOR_INDEX] = "vector_index",
	[NORIKV_CALL_VECTOR_INSERT] = "vector_insert",
	[NORIKV_CALL_VECTOR_DELETE] = "vector_delete",
	[NORIKV_CALL_VECTOR_GET] = "vector_get",
	[NORIKV_CALL_VECTOR_SEARCH] = "vector_search",
	[NORIKV_CALL_VECTOR_SCAN] = "vector_scan",
};

static SharedStats *shared = NULL;

PG_FUNCTION_INFO_V1(norikv_sql_stat_calls);
PG_FUNCTION_INFO_V1(norikv_sql_stat_reset);

const char *
NorikvOperationName(NorikvOperation operation)
{
	return operation_names[operation];
}

/* ---- Shared memory ---- */

static Size
shared_size(void)
{
	return sizeof(SharedStats);
}

static void
init_shared(LWLockPadded *locks)
{
	shared->lock = &locks->lock;
	for (int i = 0; i < MAX_SERVERS; i++)
	{
		for (int j = 0; j < NORIKV_CALL_OPERATIONS; j++)
			SpinLockInit(&shared->servers[i].records[j].lock);
	}
}

static const NorikvSharedMemory shared_memory = {
	.name = "norikv statistics",
	.size = shared_size,
	.init = init_shared,
	.memory = (void **) &shared,
	.tranche = "norikv_stat",
	.n_locks = 1,
};

void
NorikvStatInit(void)
{
	NorikvShareMemory(&shared_memory);
}

static SharedStats *
require_shared(void)
{
	if (shared == NULL)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("norikv's statistics need shared memory"),
				errhint("Add norikv to \"shared_preload_libraries\" and restart "
						"PostgreSQL."));
	return shared;
}

/* The server's slot, taken where it has none; NULL: there is no shared memory. */
NorikvStatServer *
NorikvStatAttach(Oid database, const char *name)
{
	NorikvStatServer *found = NULL;

	if (shared == NULL)
		return NULL;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_SERVERS && found == NULL; i++)
	{
		NorikvStatServer *server = &shared->servers[i];

		if (!OidIsValid(server->database))
		{
			namestrcpy(&server->name, name);
			server->database = database;
		}
		if (server->database == database && strcmp(NameStr(server->name), name) == 0)
			found = server;
	}
	LWLockRelease(shared->lock);
	return found;
}

/* ---- Counting ---- */

static int
bucket_of(uint64 us)
{
	int octave;
	int quarter;

	if (us < BUCKETS_PER_OCTAVE)
		return (int) us;
	octave = pg_leftmost_one_pos64(us);
	quarter = (us >> (octave - 2)) & (BUCKETS_PER_OCTAVE - 1);
	return Min((octave - 1) * BUCKETS_PER_OCTAVE + quarter, BUCKETS - 1);
}

/* The middle of a bucket. */
static double
bucket_us(int bucket)
{
	int octave = bucket / BUCKETS_PER_OCTAVE + 1;
	int quarter = bucket % BUCKETS_PER_OCTAVE;

	if (bucket < BUCKETS_PER_OCTAVE)
		return bucket;
	return ldexp(BUCKETS_PER_OCTAVE + quarter + 0.5, octave - 2);
}

/* Never throws, for aborts count too. */
void
NorikvStatCount(NorikvStatServer *server, NorikvOperation operation, bool failed,
				bool unknown, const norikv_call_stats *stats, uint64 elapsed_us)
{
	Record *record = &server->records[operation];
	int bucket = bucket_of(elapsed_us);

	SpinLockAcquire(&record->lock);
	if (record->calls == 0 || elapsed_us < record->min_us)
		record->min_us = elapsed_us;
	if (elapsed_us > record->max_us)
		record->max_us = elapsed_us;
	record->calls++;
	record->errors += failed;
	record->unknown += unknown;
	record->retries += stats->retries;
	record->bytes_in += stats->bytes_received;
	record->bytes_out += stats->bytes_sent;
	record->total_us += elapsed_us;
	record->buckets[bucket]++;
	SpinLockRelease(&record->lock);
}

/* ---- Showing ---- */

/* In milliseconds: what this part of the calls was done in, or faster. */
static double
percentile(const Record *record, double part)
{
	int64 total = 0;
	int64 seen = 0;

	for (int i = 0; i < BUCKETS; i++)
		total += record->buckets[i];
	for (int i = 0; i < BUCKETS; i++)
	{
		seen += record->buckets[i];
		if (seen > 0 && seen >= ceil(total * part))
		{
			double us = bucket_us(i);

			us = Max(us, record->min_us);
			return Min(us, record->max_us) / 1000.0;
		}
	}
	return 0;
}

static void
put_record(ReturnSetInfo *result, const NorikvStatServer *server, int operation,
		   const Record *record)
{
	Datum values[15];
	bool nulls[15] = {false};
	int n = 0;

	values[n++] = CStringGetTextDatum(NameStr(server->name));
	values[n++] = CStringGetTextDatum(operation_names[operation]);
	values[n++] = Int64GetDatum(record->calls);
	values[n++] = Int64GetDatum(record->errors);
	values[n++] = Int64GetDatum(record->retries);
	values[n++] = Int64GetDatum(record->unknown);
	values[n++] = Int64GetDatum(record->bytes_in);
	values[n++] = Int64GetDatum(record->bytes_out);
	values[n++] = Float8GetDatum(record->total_us / 1000.0);
	values[n++] = Float8GetDatum(record->min_us / 1000.0);
	values[n++] = Float8GetDatum(record->max_us / 1000.0);
	values[n++] = Float8GetDatum(record->total_us / 1000.0 / record->calls);
	values[n++] = Float8GetDatum(percentile(record, 0.50));
	values[n++] = Float8GetDatum(percentile(record, 0.95));
	values[n++] = Float8GetDatum(percentile(record, 0.99));
	Assert(n == lengthof(values));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Of the current database. */
Datum
norikv_sql_stat_calls(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	SharedStats *stats = require_shared();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < MAX_SERVERS; i++)
	{
		NorikvStatServer *server = &stats->servers[i];

		if (server->database != MyDatabaseId)
			continue;
		for (int j = 0; j < NORIKV_CALL_OPERATIONS; j++)
		{
			Record copy;

			SpinLockAcquire(&server->records[j].lock);
			copy = server->records[j];
			SpinLockRelease(&server->records[j].lock);
			if (copy.calls > 0)
				put_record(result, server, j, &copy);
		}
	}
	return (Datum) 0;
}

Datum
norikv_sql_stat_reset(PG_FUNCTION_ARGS)
{
	SharedStats *stats = require_shared();

	for (int i = 0; i < MAX_SERVERS; i++)
	{
		if (stats->servers[i].database != MyDatabaseId)
			continue;
		for (int j = 0; j < NORIKV_CALL_OPERATIONS; j++)
		{
			Record *record = &stats->servers[i].records[j];

			SpinLockAcquire(&record->lock);
			memset(&record->calls, 0, sizeof(Record) - offsetof(Record, calls));
			SpinLockRelease(&record->lock);
		}
	}
	PG_RETURN_VOID();
}
