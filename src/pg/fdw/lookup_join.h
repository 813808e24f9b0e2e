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

#include "fdw/fdw.h"

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

/* lookup_join_exec.c */
extern const CustomScanMethods norikv_lookup_join_methods;

/* lookup_join_plan.c: the setting and the hook */

extern void NorikvLookupJoinInit(void);

#endif
