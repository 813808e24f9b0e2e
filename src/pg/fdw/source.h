/*
 * source.h - the entries that a scan reads, from the server and from what the
 * transaction has written, merged and in the order of their keys.
 */
#ifndef NORIKV_FDW_SOURCE_H
#define NORIKV_FDW_SOURCE_H

#include "fdw/fdw.h"

/* For EXPLAIN ANALYZE. */
typedef struct NorikvSourceStats
{
	uint64 round_trips;
	uint64 bytes_sent;
	uint64 bytes_received;
	uint64 keys_asked; /* by name */
	uint64 keys_found; /* of those, or of the range */
} NorikvSourceStats;

typedef struct NorikvSource
{
	/* What is read: set by the caller, and borrowed. */
	NorikvTable *table;
	NorikvConnection *connection;
	NorikvKeySet *keys;
	CommandId curcid;
	bool reverse;
	bool keys_only;
	bool expiry;	  /* is wanted: the answer of a Get does not have it */
	uint64 max_rows;  /* 0: all; the server is asked for no more */
	int batch;		  /* keys of one MultiGet */
	/* The rest is source.c's. */
	NorikvBuffer *buffer;
	bool record_reads; /* they become checks at COMMIT */
	NorikvCall *call;
	const norikv_entry *entries; /* the page at hand */
	size_t n_entries;
	size_t next_entry;
	bool first_page;			   /* is still to come */
	bool repeated;				   /* the first batch was asked for again */
	int next_key;				   /* of keys by name: the first that is in no batch */
	int batch_start;			   /* the batch at hand */
	int batch_end;
	norikv_slice *asked;		   /* keys of the batch that the server is asked for */
	const NorikvChange **changes;  /* of the others; NULL: asked, or not there */
	bool *is_asked;
	norikv_entry one;			   /* the answer of a Get */
	NorikvKeySet ids;			   /* of a table of vectors: those of its range */
	MemoryContext context;		   /* the one that it was started in */
	NorikvBufferIterator iterator; /* over a range */
	const NorikvChange *change;	   /* its next one */
	norikv_slice change_key;
	norikv_entry current;
	NorikvSourceStats *stats;
} NorikvSource;

/* Sends the first request; the members above the line are set. */
extern void NorikvSourceStart(NorikvSource *source);
/* Valid until the next call; NULL at the end. */
extern const norikv_entry *NorikvSourceNext(NorikvSource *source);
/* How many entries there are in all, instead of reading them. */
extern uint64 NorikvSourceCount(NorikvSource *source);
/* Adds what the call has done that is under way. */
extern void NorikvSourceAddStats(const NorikvSource *source, NorikvSourceStats *sum);
/* Frees what is under way. Nothing happens where nothing was started. */
extern void NorikvSourceEnd(NorikvSource *source);

/* scan.c: of one foreign scan. */
extern NorikvSourceStats NorikvScanStats(ForeignScanState *node);
extern const NorikvTable *NorikvScanTable(ForeignScanState *node);
extern int64 NorikvScanSkipped(ForeignScanState *node);

/* ---- explain.c ---- */

/* What sources took; by_name: they asked for keys by their names, too. */
extern void NorikvExplainWork(const NorikvSourceStats *stats, int64 skipped, bool by_name,
							  struct ExplainState *es);

#endif
