/*
 * vector_table.h - what the files share that are about tables of vectors, grouped by
 * file.
 */
#ifndef NORIKV_FDW_VECTOR_TABLE_H
#define NORIKV_FDW_VECTOR_TABLE_H

#include "fdw/source.h"
#include "vector/vector.h"

/* ---- In table.c: for what follows ---- */

/* The attribute number of the one column of the role; 0: there is none. */
extern AttrNumber NorikvOnlyColumn(const NorikvTable *table, NorikvRole role,
								   const char *option);
extern void NorikvRejectColumnType(const NorikvTable *table, const NorikvColumn *column,
								   const char *role, const char *expected);

/* ---- vector_table.c: options and columns ---- */

extern NorikvRole NorikvVectorRoleByName(const char *name);
/* Refuses options of a table of keys. */
extern void NorikvCheckVectorOptions(const NorikvTable *table, List *given);
/* Finds the columns of the vector and the distance, and refuses what is none. */
extern void NorikvCheckVectorColumns(NorikvTable *table);
/* Refuses their roles in a table of keys. */
extern void NorikvCheckNoVectors(const NorikvTable *table);
/* The bytes of a row's vector as one; where they lie is good for floats. */
extern NorikvVector NorikvVectorOfValue(norikv_slice value);
extern norikv_slice NorikvValueOfVector(NorikvVector vector);
/*
 * Of a row that is to be written: raises 22023 where the index would not take it, and
 * P0002 where there is no index.
 */
extern void NorikvCheckVectorFits(NorikvTable *table, NorikvConnection *connection,
								  norikv_slice value);
extern double NorikvVectorDistance(norikv_distance distance, NorikvVector a,
								   NorikvVector b);
/* As SQL calls it. */
extern const char *NorikvDistanceName(norikv_distance distance);

/* ---- vector_index.c: the index behind a table ---- */

/*
 * Asks the server for it. False where it could not be asked, or there is no index: with
 * raise that is an error.
 */
extern bool NorikvAskForIndex(NorikvTable *table, NorikvConnection *connection,
							  bool raise);
extern void NorikvRaiseNoIndex(const NorikvTable *table,
							   const NorikvConnection *connection)
	pg_attribute_noreturn();

/* ---- vector_read.c: rows by name, of either kind of table ---- */

/* space: the namespace of vectors; empty: of keys. consistency: of keys, or NULL. */
extern NorikvCall *NorikvStartEntries(NorikvConnection *connection, norikv_slice space,
									  const norikv_slice *keys, size_t n_keys,
									  const char *consistency);
/*
 * One for each key, in their order, in the current memory context; version index 0:
 * absent.
 */
extern const norikv_entry *NorikvFinishEntries(NorikvCall *call, norikv_slice space,
											   size_t n_keys);
extern void NorikvFreeEntries(const norikv_entry *entries, norikv_slice space);
/* The first page of a scan of either kind of table. */
extern void NorikvFinishScan(NorikvCall *call, NorikvTable *table);
/* A page of vectors, in the current memory context. */
extern const norikv_entry *NorikvEntriesOfPage(const NorikvCall *call, size_t *n_entries);
extern norikv_entry NorikvEntryOfVector(const norikv_vector *vector);

/* ---- vector_list.c: all ids of a namespace ---- */

/*
 * Without their vectors, in the order of the ids, in the current memory context. By a
 * scan, or what a server has instead of it.
 */
extern norikv_entry *NorikvListVectors(NorikvTable *table, NorikvConnection *connection,
									   NorikvSourceStats *stats, size_t *n_entries);

/* ---- vector_nearest.c: rows in the order of their distance ---- */

typedef struct NorikvNearest
{
	/* Set by the caller, and borrowed. */
	NorikvTable *table;
	NorikvConnection *connection;
	NorikvVector query;
	norikv_distance distance; /* that the plan counts on */
	CommandId curcid;
	uint32 first_page; /* rows that are asked for at first */
	bool keys_only;
	NorikvSourceStats *stats;
	/* The rest is vector_nearest.c's. */
	NorikvBuffer *buffer;
	NorikvCall *call; /* NULL: the server has no more */
	bool awaited;
	const norikv_vector *matches; /* the page at hand */
	size_t n_matches;
	size_t next_match;
	NorikvMatchReader reader; /* of a page without vectors */
	norikv_vector found;	  /* a match, with the vector that was read */
	struct NorikvNearRow *written; /* rows of the buffer, the nearest first */
	size_t n_written;
	size_t next_written;
	norikv_entry current;
} NorikvNearest;

/* Sends the first request. */
extern void NorikvNearestStart(NorikvNearest *nearest);
/* Valid until the next call; NULL at the end. */
extern const norikv_entry *NorikvNearestNext(NorikvNearest *nearest, float *distance);
extern void NorikvNearestAddStats(const NorikvNearest *nearest, NorikvSourceStats *sum);
extern void NorikvNearestEnd(NorikvNearest *nearest);

/* ---- vector_plan.c: ORDER BY a distance ---- */

/* What a query is ordered by, if that is the distance of a table's vectors. */
struct NorikvVectorOrder
{
	norikv_distance distance;
	Expr *query; /* NULL: it is no vector for the whole scan */
	Oid query_type;
	const char *obstacle; /* why the index does not give this order; NULL: it does */
};

/* NULL: the query is not ordered so. */
extern NorikvVectorOrder *NorikvMatchVectorOrder(PlannerInfo *root, RelOptInfo *baserel,
												 NorikvTable *table);
extern void NorikvAddNearestPath(PlannerInfo *root, RelOptInfo *baserel,
								 const NorikvRelation *relation);
/* What execution and EXPLAIN are told of the order: member NORIKV_PRIVATE_VECTOR. */
extern List *NorikvVectorPrivate(const NorikvVectorOrder *order, int first_page);

enum
{
	NORIKV_VECTOR_DISTANCE, /* Integer: norikv_distance */
	NORIKV_VECTOR_TYPE,		/* OidList of one: of the query vector */
	NORIKV_VECTOR_PAGE,		/* Integer: rows to be asked for at first */
	NORIKV_VECTOR_OBSTACLE	/* String, empty: there is none */
};

/* ---- vector_import.c ---- */

/* Commands that create a table for each index, behind those for prefixes of keys. */
extern List *NorikvImportIndexes(NorikvConnection *connection, const char *server,
								 const char *schema);

/* ---- vector_truncate.c ---- */

extern void NorikvTruncateListed(NorikvTable *table, NorikvConnection *connection,
								 CommandId cid);

#endif
