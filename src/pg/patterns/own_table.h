/*
 * own_table.h - statements on the extension's own tables.
 *
 * Nobody needs rights on these tables, for they are written as their owner. What is run
 * then is fixed and names schemas throughout: no search_path has a part in it.
 */
#ifndef NORIKV_OWN_TABLE_H
#define NORIKV_OWN_TABLE_H

#include "pg_norikv.h"

#include "executor/spi.h"

typedef struct NorikvOwnRights
{
	Oid caller;
	int context;
} NorikvOwnRights;

/*
 * Between the two SPI is connected, and the owner of the table of norikv's is in charge.
 * An error leaves the caller's rights to the end of the (sub)transaction to restore.
 */
extern void NorikvBeginAsOwner(const char *table, NorikvOwnRights *rights);
extern void NorikvEndAsOwner(const NorikvOwnRights *rights);
/* How many rows it wrote, or returned into SPI_tuptable. The plan is kept. */
extern uint64 NorikvRunPlan(SPIPlanPtr *plan, const char *sql, int n_args,
							const Oid *types, Datum *args, const char *nulls);

#endif
