/*
 * lookup_join.h - what planning and execution of lookup joins share.
 *
 * A lookup join reads the other side of a join in batches and asks for the keys of
 * a batch in one round trip. Its plan is a CustomScan with the outer plan below it.
 * The tuple that its expressions see is what the outer plan returns, then columns
 * of the foreign table, the key first, then what is computed below the join from
 * those (PlaceHolderVars of the planner's).
 */
#ifndef NORIKV_FDW_LOOKUP_JOIN_H
#define NORIKV_FDW_LOOKUP_JOIN_H

#include "fdw/key_batch.h"

#include "nodes/extensible.h"

/* The members of custom_private, a list of integers. */
enum
{
	NORIKV_LOOKUP_JOIN_TYPE,	/* as JoinType: inner, left, semi, anti */
	NORIKV_LOOKUP_OUTER,		/* how many columns the outer plan has */
	NORIKV_LOOKUP_FILTERS,		/* how many conditions a match must hold */
	NORIKV_LOOKUP_BATCH,		/* outer rows of a batch */
	NORIKV_LOOKUP_FIRST_BATCH,	/* and of the first one */
	NORIKV_LOOKUP_OPERAND_TYPE, /* of what the key is compared with */
	NORIKV_LOOKUP_USER			/* who reads; 0: the current user */
};

/*
 * The members of custom_exprs: the operand of the key, the condition on the key (for
 * EXPLAIN, and for rows that do not come from the server), the conditions of a match,
 * the computed columns.
 */
enum
{
	NORIKV_LOOKUP_OPERAND,
	NORIKV_LOOKUP_KEY_CONDITION,
	NORIKV_LOOKUP_FIRST_FILTER
};

typedef struct NorikvOuterRow
{
	MinimalTuple tuple;
	int key; /* its number in the batch of keys; -1: no key can be equal */
} NorikvOuterRow;

typedef struct NorikvLookupJoinState
{
	CustomScanState css; /* must stay first */
	JoinType jointype;
	int batch_size;
	int first_batch;
	Oid operand_type;
	Index rti; /* of the foreign table */
	NorikvTable *table;
	NorikvConnection *connection;
	NorikvDecoder *decoder;
	NorikvRowStore *numbered; /* NULL: rows need no numbers */

	/* The tuple that expressions see. */
	int n_outer;
	int n_columns;		 /* of the foreign table, behind those */
	AttrNumber *attnums; /* theirs */
	int n_computed;		 /* and of those that are computed */
	ExprState **computed;
	ExprState *operand;
	ExprState *key_condition;
	ExprState *filter;
	TupleTableSlot *outer_slot;
	TupleTableSlot *foreign_slot;

	/* The batch at hand. */
	MemoryContext context;
	NorikvKeyBatch *keys;
	NorikvOuterRow *rows;
	int n_rows;
	int next_row;
	int wanted_rows; /* of the next batch */
	bool outer_ended;

	/* For EXPLAIN ANALYZE. */
	NorikvSourceStats stats;
	uint64 batches;
	uint64 filtered;
} NorikvLookupJoinState;

/* lookup_join_plan.c: the setting and the hook */
extern void NorikvLookupJoinInit(void);

/* lookup_join_exec.c */
extern const CustomScanMethods norikv_lookup_join_methods;

/* lookup_join_explain.c */
extern void NorikvExplainLookupJoin(CustomScanState *node, List *ancestors,
									struct ExplainState *es);

#endif
