/*
 * fdw.h - what the files of the foreign-data wrapper share, grouped by file.
 *
 * A foreign table is a prefix of a store: a row for every key that starts with it.
 */
#ifndef NORIKV_FDW_H
#define NORIKV_FDW_H

#include "pg_norikv.h"

#include "access/attnum.h"
#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "foreign/fdwapi.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "utils/relcache.h"

#include "fdw/buffer.h"
#include "fdw/rowstore.h"

/* ---- table.c: a relation as the wrapper sees it ---- */

/* What a column shows of an entry. */
typedef enum NorikvRole
{
	NORIKV_DROPPED,	 /* nothing: the column was dropped */
	NORIKV_KEY,
	NORIKV_VALUE,	 /* the whole value */
	NORIKV_FIELD,	 /* a field of the JSON document that the value is */
	NORIKV_VERSION,
	NORIKV_TTL,		 /* the time it has left */
	NORIKV_EXPIRES_AT
} NorikvRole;

/* How a key is spelled, by the type of its column. */
typedef enum NorikvKeyKind
{
	NORIKV_KEY_TEXT,
	NORIKV_KEY_BYTEA,
	NORIKV_KEY_UUID,	/* in lower case with hyphens, as PostgreSQL shows it */
	NORIKV_KEY_INTEGER	/* decimal, without plus sign or leading zeros */
} NorikvKeyKind;

/* What a row does whose bytes are not of its column's type. */
typedef enum NorikvOnError
{
	NORIKV_ON_ERROR_RAISE,
	NORIKV_ON_ERROR_NULL,
	NORIKV_ON_ERROR_SKIP
} NorikvOnError;

typedef struct NorikvColumn
{
	AttrNumber attnum;
	NorikvRole role;
	const char *name;	/* for messages */
	const char *field;	/* NORIKV_FIELD: its name, in the database's encoding */
	int field_size;
	Oid type;
	Oid base_type;		/* the type itself where it is no domain */
	int32 typmod;
} NorikvColumn;

typedef struct NorikvTable
{
	Oid relid;
	Oid serverid;
	const char *name;
	MemoryContext context; /* holds this description */
	bool valid;			   /* false: retired, the next look makes a new one */

	/* Table options. */
	norikv_slice prefix;
	norikv_slice prefix_end; /* the first key behind the prefix; empty: there is none */
	bool keep_prefix;		 /* the key column shows the prefix too */
	bool json;				 /* columns are fields of a document */
	NorikvOnError on_error;
	bool immediate;			 /* write_mode 'immediate' */
	bool replace;			 /* on_insert 'replace' */
	bool updatable;			 /* default true */
	bool truncatable;		 /* default: there is a prefix */

	int n_columns;			 /* as many as attributes, columns[attnum - 1] */
	NorikvColumn *columns;
	NorikvKeyKind key_kind;
	Oid key_type;			 /* its base type */
	AttrNumber key_attnum;
	AttrNumber value_attnum;	  /* 0: none, as the next three */
	AttrNumber version_attnum;
	AttrNumber ttl_attnum;
	AttrNumber expires_at_attnum;

	/* An estimate of the rows, asked from the server at most every now and then. */
	double estimated_rows;	 /* below 0: not known */
	TimestampTz estimated_at;
} NorikvTable;

extern void NorikvTableInit(void);

/*
 * Cached until the definition changes; lives until the end of the transaction at
 * least. Raises where the columns do not make up a table of keys.
 */
extern NorikvTable *NorikvOpenTable(Relation relation);

/* connection.c: for a foreign table, on which privileges were checked already. */
extern NorikvConnection *NorikvGetTableConnection(Oid serverid, Oid userid);

/* ---- key.c: keys and the values of key columns ---- */

/*
 * The whole key, prefix included, of a value of the key column, in the current
 * memory context; raises where it is too long, empty, or without the prefix that
 * a table with keep_prefix demands.
 */
extern norikv_slice NorikvKeyOfColumn(const NorikvTable *table, Datum value);
/*
 * The same for any value of that base type that a condition compares with; false
 * where no key of the table can be equal to it. The slice is set in any case, as
 * the bound of a range.
 */
extern bool NorikvKeyOfCondition(const NorikvTable *table, Datum value, Oid type,
								 norikv_slice *key);
/* The column's value; false where the key is not of the column's type. */
extern bool NorikvKeyIsOfTable(const NorikvTable *table, norikv_slice key);
extern int NorikvCompareKeys(norikv_slice a, norikv_slice b);

/* ---- decode.c: from an entry to a row ---- */

typedef struct NorikvDecoder NorikvDecoder;

/*
 * attnums: the columns wanted, as in pull_varattnos; NULL with all set: every one.
 * on_error 'skip' makes it decode all, so that the same rows are left out by all
 * queries.
 */
extern NorikvDecoder *NorikvMakeDecoder(NorikvTable *table, NorikvConnection *connection,
										TupleDesc descriptor, Bitmapset *attnums,
										bool all);
/* Whether rows are made from values, or keys with what stands beside them do. */
extern bool NorikvDecoderNeedsValues(const NorikvDecoder *decoder);
/*
 * Stores the row of an entry as a virtual tuple; values are in the current memory
 * context. Version index 0: written by this transaction, so without a version
 * yet. False where the row is to be left out (on_error 'skip').
 */
extern bool NorikvDecode(NorikvDecoder *decoder, const norikv_entry *entry,
						 TupleTableSlot *slot);
extern int64 NorikvDecoderSkipped(const NorikvDecoder *decoder);
/* The NOTICE about rows left out, if there were any. */
extern void NorikvReportSkipped(const NorikvDecoder *decoder);

/* ---- encode.c: from a row to a value ---- */

typedef struct NorikvEncoder NorikvEncoder;

extern NorikvEncoder *NorikvMakeEncoder(NorikvTable *table, TupleDesc descriptor);
/*
 * The value of a row, UTF-8 where it is text, in the current memory context. old
 * is the value that the row has now, or has no data: then all columns count.
 * With old, only the columns of changed count (bit = attnum -
 * FirstLowInvalidHeapAttributeNumber, as in ExecGetUpdatedCols), the rest of old
 * stays as it is, byte by byte, fields that the table does not know included.
 */
extern norikv_slice NorikvEncodeValue(NorikvEncoder *encoder, TupleTableSlot *slot,
									  const Bitmapset *changed, norikv_slice old);

/*
 * What a row says of its expiry: NONE where it says NULL, KEEP for an UPDATE that
 * names neither column. *ms is that of TTL or AT. changed as above; NULL: an
 * INSERT. ttl wins over expires_at where both are given.
 */
extern NorikvExpiry NorikvExpiryOfRow(const NorikvTable *table, TupleTableSlot *slot,
									  const Bitmapset *changed, uint64 *ms);

/* ---- conditions.c: what of a query's conditions the server answers ---- */

typedef enum NorikvConditionKind
{
	NORIKV_CONDITION_EQUAL,	 /* key = expression */
	NORIKV_CONDITION_ANY,	 /* key = ANY(array) */
	NORIKV_CONDITION_LESS,
	NORIKV_CONDITION_LESS_EQUAL,
	NORIKV_CONDITION_GREATER_EQUAL,
	NORIKV_CONDITION_GREATER,
	NORIKV_CONDITION_PREFIX, /* key ^@ expression, starts_with(key, expression) */
	NORIKV_CONDITION_LIKE,	 /* the fixed start of the pattern */
	NORIKV_CONDITION_NOT_NULL /* holds always */
} NorikvConditionKind;

typedef struct NorikvCondition
{
	NorikvConditionKind kind;
	Expr *operand;		/* NULL: NORIKV_CONDITION_NOT_NULL */
	Oid operand_type;	/* of an array: of its elements */
	bool exact;			/* the server's answer needs no second look */
} NorikvCondition;

/* Of a clause over the relation; NULL: not one for the server. */
extern NorikvCondition *NorikvMatchCondition(PlannerInfo *root, RelOptInfo *relation,
											 const NorikvTable *table, Expr *clause);
/* Whether text is in byte order under the collation, and equal only where bytes are. */
extern bool NorikvBytewiseOrder(const NorikvTable *table, Oid collation);
extern bool NorikvBytewiseEquality(const NorikvTable *table, Oid collation);

/* ---- range.c: conditions, evaluated ---- */

/* The keys that the conditions leave. */
typedef struct NorikvKeySet
{
	bool lookup;		/* keys, in byte order and each once; else the range */
	norikv_slice *keys;
	int n_keys;			/* 0 with lookup: none */
	norikv_slice start; /* inclusive */
	norikv_slice end;	/* exclusive; empty: to the last key */
	bool empty;			/* nothing can match */
} NorikvKeySet;

/* ---- plan.c ---- */

extern void NorikvGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel,
									Oid foreigntableid);
extern void NorikvGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel,
								  Oid foreigntableid);
extern ForeignScan *NorikvGetForeignPlan(PlannerInfo *root, RelOptInfo *foreignrel,
										 Oid foreigntableid, ForeignPath *best_path,
										 List *tlist, List *scan_clauses,
										 Plan *outer_plan);

/* ---- count.c: count(*) as a path of its own ---- */

extern void NorikvGetForeignUpperPaths(PlannerInfo *root, UpperRelationKind stage,
									   RelOptInfo *input_rel, RelOptInfo *output_rel,
									   void *extra);

/* ---- scan.c: execution ---- */

extern void NorikvBeginForeignScan(ForeignScanState *node, int eflags);
extern TupleTableSlot *NorikvIterateForeignScan(ForeignScanState *node);
extern void NorikvReScanForeignScan(ForeignScanState *node);
extern void NorikvEndForeignScan(ForeignScanState *node);

/* ---- explain.c ---- */

extern void NorikvExplainForeignScan(ForeignScanState *node, struct ExplainState *es);

/* ---- analyze.c, import.c ---- */

extern bool NorikvAnalyzeForeignTable(Relation relation, AcquireSampleRowsFunc *func,
									  BlockNumber *totalpages);
extern List *NorikvImportForeignSchema(ImportForeignSchemaStmt *stmt, Oid serverOid);

/* ---- modify.c and beside it: writing; set by the handler ---- */

extern void NorikvSetModifyRoutines(FdwRoutine *routine);

#endif
