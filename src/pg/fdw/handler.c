/*
 * handler.c - what the foreign-data wrapper offers PostgreSQL.
 */
#include "fdw/fdw.h"

PG_FUNCTION_INFO_V1(norikv_sql_handler);

/*
 * A worker of a parallel query would have a connection of its own, and none of
 * the writes that wait for COMMIT in the leader.
 */
static bool
is_parallel_safe(PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *rte)
{
	return false;
}

Datum
norikv_sql_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = NorikvGetForeignRelSize;
	routine->GetForeignPaths = NorikvGetForeignPaths;
	routine->GetForeignPlan = NorikvGetForeignPlan;
	routine->GetForeignUpperPaths = NorikvGetForeignUpperPaths;
	routine->BeginForeignScan = NorikvBeginForeignScan;
	routine->IterateForeignScan = NorikvIterateForeignScan;
	routine->ReScanForeignScan = NorikvReScanForeignScan;
	routine->EndForeignScan = NorikvEndForeignScan;
	routine->IsForeignScanParallelSafe = is_parallel_safe;
	routine->ExplainForeignScan = NorikvExplainForeignScan;
	routine->AnalyzeForeignTable = NorikvAnalyzeForeignTable;
	routine->ImportForeignSchema = NorikvImportForeignSchema;
	NorikvSetModifyRoutines(routine);
	PG_RETURN_POINTER(routine);
}
