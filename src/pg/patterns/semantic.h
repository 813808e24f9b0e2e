/*
 * semantic.h - what the systems that are built on embeddings share: the index of their
 * namespace, made at its first use, and searches that bring documents.
 */
#ifndef NORIKV_SEMANTIC_H
#define NORIKV_SEMANTIC_H

#include "patterns/pattern.h"
#include "vector/embedder.h"

/*
 * The index of vectors of the embedder with as many dimensions: made where there is
 * none. 22023 where it has another number of dimensions; says which embedder made it.
 */
extern void NorikvMakeIndex(NorikvConnection *connection, const char *space,
							int dimensions);
/* The same check, for who only reads; that there is no index is no error. */
extern void NorikvCheckIndex(NorikvConnection *connection, const char *space,
							 int dimensions);

/*
 * Pushed while something is written to an index that was there a moment ago: where it
 * is not (P0002), it is made again at the next use.
 */
typedef struct NorikvIndexUse
{
	NorikvConnection *connection;
	const char *space;
	ErrorContextCallback callback;
} NorikvIndexUse;

extern void NorikvBeginIndexUse(NorikvIndexUse *use, NorikvConnection *connection,
								const char *space);
extern void NorikvEndIndexUse(NorikvIndexUse *use);

/* What is to be stored of a document: its record, and the vector of its text. */
typedef struct NorikvIndexing
{
	const char *sql_name;
	const char *space;
	const char *prefix; /* of the key of an id's document */
	const NorikvDocumentRule *rule;
	const void *record;
	const char *text; /* in the database's encoding */
} NorikvIndexing;

/* Both in one Commit, over what was there; a broken document is an error. */
extern void NorikvIndexDocument(NorikvConnection *connection, Datum id,
								const NorikvIndexing *indexing);

/* A vector that was found. */
typedef struct NorikvHit
{
	norikv_slice id;
	double similarity; /* 1 - cosine distance */
	norikv_version version;
	NorikvDocument document; /* where documents were asked for */
} NorikvHit;

typedef struct NorikvHits
{
	NorikvHit *hits; /* nearest first */
	int count;
} NorikvHits;

typedef struct NorikvHitRequest
{
	const char *space;
	NorikvVector query;
	int k;
	int min_ef;			/* beam of the search at least; 0: what is set */
	const char *prefix; /* of the key of an id's document; NULL: no documents */
} NorikvHitRequest;

/* None where there is no index. One search, and one MultiGet for all documents. */
extern NorikvHits NorikvSearchHits(NorikvConnection *connection,
								   const NorikvHitRequest *request);

/* One vector, with its version; dimensions 0: there is none, or no index. */
typedef struct NorikvStoredVector
{
	NorikvVector vector;
	norikv_version version;
} NorikvStoredVector;

extern NorikvCall *NorikvStartReadVector(NorikvConnection *connection, const char *space,
										 norikv_slice id);
extern NorikvStoredVector NorikvFinishReadVector(NorikvCall *call, const char *space);

/*
 * Deletes the document at prefix and id, and the vector of id, in one Commit; whether
 * there was one of the two.
 */
extern bool NorikvDeleteIndexed(NorikvConnection *connection, const char *space,
								const char *prefix, Datum id, const char *argument);

#endif
