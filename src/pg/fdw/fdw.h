/*
 * fdw.h - what the files of the foreign-data wrapper share, grouped by file.
 *
 * A foreign table is a prefix of a store: a row for every key that starts with it. Or
 * it is a namespace of vectors: a row for every id, which stands for the key, with the
 * bytes of its vector for the value.
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
	NORIKV_EXPIRES_AT,
	NORIKV_VECTOR,
	NORIKV_DISTANCE	 /* from the vector that the query is ordered by */
} NorikvRole;

/* How a key is spelled, by the type of its column. */
typedef enum NorikvKeyKind
{
	NORIKV_KEY_TEXT,
	NORIKV_KEY_BYTEA,
	NORIKV_KEY_UUID,	/* in lower case with hyphens, as PostgreSQL shows it */
	NORIKV_KEY_INTEGER	/* decimal, without plus sign or leading zeros */
} NorikvKeyKind;

/* The option format, in the order of options.c. */
typedef enum NorikvFormat
{
	NORIKV_FORMAT_JSON,	 /* columns are fields of a document */
	NORIKV_FORMAT_JSONB, /* one column has the value: as jsonb or json, */
	NORIKV_FORMAT_TEXT,	 /* as text, or any type that is written as text, */
	NORIKV_FORMAT_BYTEA	 /* or as it is */
} NorikvFormat;

/* What becomes of bytes that are not of their column's type; option on_error. */
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
	Oid type;
	Oid base_type;		/* the type itself where it is no domain */
	int32 typmod;
} NorikvColumn;

/* The index behind a table of vectors, as the server said at estimated_at. */
typedef struct NorikvTableIndex
{
	bool exists; /* false: there is none, or the server was not reached */
	uint32 dimensions;
	norikv_distance distance;
	norikv_index_type type;
	norikv_index_state state;
	uint64 vectors;
	bool scannable; /* its server has scans of vectors */
} NorikvTableIndex;

typedef struct NorikvTable
{
	Oid relid;
	Oid serverid;
	const char *name;
	MemoryContext context; /* holds this description */
	bool valid;			   /* false: the next look makes a new one */
	struct NorikvTable *next_retired;

	/* Table options. */
	norikv_slice prefix;
	norikv_slice prefix_end; /* the first key behind the prefix; empty: there is none */
	norikv_slice space;		 /* the namespace of its vectors; empty: a table of keys */
	bool keep_prefix;		 /* the key column shows the prefix too */
	NorikvFormat format;
	NorikvOnError on_error;
	bool immediate;			 /* write_mode 'immediate' */
	bool replace;			 /* on_insert 'replace' */
	bool updatable;
	bool truncatable;		 /* default: there is a prefix */
	int batch_size;			 /* 0: the server's, as the next one */
	int fetch_size;

	int n_columns;			 /* as many as attributes, columns[attnum - 1] */
	NorikvColumn *columns;
	NorikvKeyKind key_kind;
	Oid key_type;			 /* its base type */
	AttrNumber key_attnum;
	AttrNumber value_attnum;	  /* 0: none, as the next three */
	AttrNumber version_attnum;
	AttrNumber ttl_attnum;
	AttrNumber expires_at_attnum;
	AttrNumber vector_attnum;
	AttrNumber distance_attnum;

	/* An estimate of the rows, asked from the server at most every now and then. */
	double estimated_rows;	 /* below 0: not known */
	TimestampTz estimated_at;
	char *estimated_for;	 /* norikv.tenant then; NULL: never */
	NorikvTableIndex index;	 /* asked at the same time */
} NorikvTable;

extern void NorikvTableInit(void);

/*
 * Cached until the definition changes; lives until the end of the transaction at
 * least. Raises where the columns do not make up a table of keys.
 */
extern NorikvTable *NorikvOpenTable(Relation relation);

/* ---- key.c: keys and the values of key columns ---- */

/*
 * The whole key, prefix included, of a value of the key column, in the current
 * memory context; raises where it is too long, empty, or without the prefix that
 * a table with keep_prefix demands.
 */
extern norikv_slice NorikvKeyOfColumn(const NorikvTable *table, Datum value,
									  size_t max_key);
/*
 * The same for any value of that base type that a condition compares with; false
 * where no key of the table can be equal to it. The slice is set in any case, as
 * the bound of a range, and lives in the current memory context. max_key is the
 * connection's.
 */
extern bool NorikvKeyOfCondition(const NorikvTable *table, Datum value, Oid type,
								 size_t max_key, norikv_slice *key);
/* What the column shows of a key; false where the key is not of its type. */
extern bool NorikvColumnOfKey(const NorikvTable *table, norikv_slice key, Datum *value);
/* Bytes that a key, or the id of a vector, may have. */
extern size_t NorikvTableMaxKey(const NorikvTable *table,
								const NorikvConnection *connection);

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
/*
 * Whether there may be keys without a row: a key that is not of its column's type
 * is left out also under on_error 'null', for no row has a NULL key.
 */
extern bool NorikvMayLeaveOutRows(const NorikvTable *table);
/* Whether rows are made from values, or keys with what stands beside them do. */
extern bool NorikvDecoderNeedsValues(const NorikvDecoder *decoder);
/* Whether rows show when they expire, which the answer to a Get does not say. */
extern bool NorikvDecoderNeedsExpiry(const NorikvDecoder *decoder);
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

/* Whether the expression is the key column, in any of its binary-compatible forms. */
extern bool NorikvIsKey(Node *node, const RelOptInfo *relation, const NorikvTable *table);
/* Of a clause over the relation; NULL: not one for the server. */
extern NorikvCondition *NorikvMatchCondition(PlannerInfo *root, RelOptInfo *relation,
											 const NorikvTable *table, Expr *clause);
/* Whether text is in byte order under the collation, and equal only where bytes are. */
extern bool NorikvBytewiseOrder(const NorikvTable *table, Oid collation);

/* ---- keyset.c: conditions, evaluated ---- */

/* The keys that the conditions leave. */
typedef struct NorikvKeySet
{
	bool lookup;		/* keys, in byte order and each once; else the range */
	norikv_slice *keys;
	int n_keys;			/* 0 with lookup: none */
	norikv_slice start; /* inclusive */
	norikv_slice end;	/* exclusive; empty: to the last key */
	bool empty;			/* nothing can match */
	size_t max_key;		/* of the connection that they are for */
} NorikvKeySet;

/*
 * To be called with max_key set. kinds and types are those of the conditions that have
 * an operand, operands their ExprStates. What is found lives in the current memory
 * context.
 */
extern void NorikvEvaluateConditions(const NorikvTable *table, List *kinds, List *types,
									 List *operands, ExprContext *context,
									 NorikvKeySet *set);

/* ---- plan.c ---- */

/* Bits of a plan that execution looks at. */
#define NORIKV_PLAN_REVERSE 0x01  /* in descending order of keys */
#define NORIKV_PLAN_NUMBERED 0x02 /* rows have numbers, for UPDATE, DELETE, FOR UPDATE */
#define NORIKV_PLAN_VALUELESS 0x04 /* their values are not asked for again */
#define NORIKV_PLAN_EARLY 0x08	  /* the operands are known when the plan starts */
#define NORIKV_PLAN_COUNT 0x10	  /* one row: how many there are */
#define NORIKV_PLAN_ORDERED 0x20  /* the order is asked for; for EXPLAIN */
#define NORIKV_PLAN_LIMIT 0x40	  /* the operands end with the LIMIT's count */
#define NORIKV_PLAN_OFFSET 0x80	  /* and its offset behind it */
#define NORIKV_PLAN_NEAREST 0x100 /* in the order of distances, as the index has it */
#define NORIKV_PLAN_DISTANCE 0x200 /* the distance is computed here; both of these: */
#define NORIKV_PLAN_QUERY 0x300	  /* the operands end with the query vector */

/* The members of fdw_private. */
enum
{
	NORIKV_PRIVATE_FLAGS, /* Integer: the bits above */
	NORIKV_PRIVATE_KINDS, /* of conditions with an operand, as NorikvConditionKind */
	NORIKV_PRIVATE_TYPES, /* of their operands */
	NORIKV_PRIVATE_ATTNUMS, /* of the columns that are needed, 0: all */
	NORIKV_PRIVATE_VECTOR, /* see vector_table.h; NIL: the order is no distance */
	NORIKV_PRIVATE_COUNTED /* the conditions of a count, over relation 1; for EXPLAIN */
};

typedef struct NorikvVectorOrder NorikvVectorOrder;

/* What is known of a relation while it is planned; its fdw_private. */
typedef struct NorikvRelation
{
	NorikvTable *table;
	List *remote; /* RestrictInfos that the server answers, */
	List *local;  /* and those it does not, or not exactly */
	bool by_name; /* some condition gives the keys */
	double keys;  /* how many keys the server will look at */
	double rows;
	Cost startup_cost;
	Cost total_cost;
	NorikvVectorOrder *order; /* NULL: the query is ordered by no distance of it */
} NorikvRelation;

/* What the server answers, on its way into a plan. */
typedef struct NorikvRemote
{
	List *recheck; /* the clauses themselves */
	List *kinds;   /* of those with an operand, as the next two */
	List *types;
	List *operands;
	bool known_at_start; /* the operands are constants or came with the query */
} NorikvRemote;

/* Returns the clauses that stay with PostgreSQL. */
extern List *NorikvSplitClauses(PlannerInfo *root, RelOptInfo *baserel,
								const NorikvTable *table, List *clauses,
								NorikvRemote *remote);
extern ForeignPath *NorikvMakeScanPath(PlannerInfo *root, RelOptInfo *baserel,
									   double rows, Cost startup_cost, Cost total_cost,
									   List *pathkeys, Relids required_outer,
									   List *private);
extern void NorikvGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel,
									Oid foreigntableid);
extern void NorikvGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel,
								  Oid foreigntableid);
extern ForeignScan *NorikvGetForeignPlan(PlannerInfo *root, RelOptInfo *foreignrel,
										 Oid foreigntableid, ForeignPath *best_path,
										 List *tlist, List *scan_clauses,
										 Plan *outer_plan);

/* ---- order.c: the order of keys ---- */

extern List *NorikvPathkeysByKey(PlannerInfo *root, RelOptInfo *baserel,
								 const NorikvTable *table);
extern List *NorikvPathkeysForMerge(PlannerInfo *root, RelOptInfo *baserel,
									const NorikvTable *table);

/* ---- estimate.c: rows and costs ---- */

extern void NorikvEstimateInit(void);
/* How many rows there are, as of ANALYZE or as the server says. */
extern double NorikvTableRows(PlannerInfo *root, RelOptInfo *baserel, NorikvTable *table);
extern void NorikvNoteEstimate(NorikvTable *table, double rows);
/* Asks the server for that, and for a table's index, where it was asked long ago. */
extern void NorikvRefreshEstimate(PlannerInfo *root, RelOptInfo *baserel,
								  NorikvTable *table);
/* Of reading so many keys by name or in a range. */
extern void NorikvCostKeys(const NorikvTable *table, bool by_name, double keys,
						   Cost *startup_cost, Cost *total_cost);

/* ---- count.c: count(*) as a path of its own ---- */

extern void NorikvGetForeignUpperPaths(PlannerInfo *root, UpperRelationKind stage,
									   RelOptInfo *input_rel, RelOptInfo *output_rel,
									   void *extra);

extern ForeignScan *NorikvGetCountPlan(PlannerInfo *root, ForeignPath *path,
									   List *tlist);

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
