/*
 * vector.h - vectors as SQL has them, for the files of this directory, the patterns
 * that search, and foreign tables; grouped by file.
 */
#ifndef NORIKV_VECTOR_H
#define NORIKV_VECTOR_H

#include "pg_norikv.h"

#include "utils/array.h"

typedef struct NorikvVector
{
	int dimensions;
	const float *values;
} NorikvVector;

/* ---- values.c: vectors from and to SQL ---- */

/* Whether values of the type can be read as vectors. */
extern bool NorikvIsVectorType(Oid type);
/*
 * Of real[], double precision[], numeric[], integer[], domains over them, or the type
 * "vector" of pgvector. "what" is how an error calls it: argument "query". The values
 * may be those of the datum itself.
 */
extern NorikvVector NorikvVectorFromDatum(Datum datum, Oid type, const char *what);
/* The same for an array whose type is known to be one of these. */
extern NorikvVector NorikvVectorFromArray(ArrayType *array, const char *what);
/* The checks of these, of numbers that come from elsewhere. */
extern void NorikvCheckVector(NorikvVector vector, const char *what);
/* As real[]. */
extern Datum NorikvVectorGetDatum(NorikvVector vector);
/* As real[][], of n_vectors vectors that stand one behind the other. */
extern Datum NorikvVectorsGetDatum(const float *values, int n_vectors, int dimensions);

/* Many vectors of one number of dimensions, one behind the other. */
typedef struct NorikvVectors
{
	int count;
	int dimensions; /* 0 where there is no vector */
	const float *values;
} NorikvVectors;

/*
 * Of an array of two dimensions of the element types above, or of one dimension of
 * pgvector's "vector".
 */
extern NorikvVectors NorikvVectorsFromDatum(Datum datum, Oid type, const char *what);

/* ---- distance.c: the three distances ---- */

extern double NorikvEuclideanDistance(NorikvVector a, NorikvVector b);
/* 1 - cosine similarity; NaN where one of the two is zero. */
extern double NorikvCosineDistance(NorikvVector a, NorikvVector b);
extern double NorikvNegativeInnerProduct(NorikvVector a, NorikvVector b);

/* ---- index.c: namespaces ---- */

extern int norikv_ef_search; /* norikv.ef_search; 0: the server's */

extern void NorikvVectorInit(void);
/* The argument "namespace", the first one, as it is on the wire. */
extern norikv_slice NorikvNamespaceArgument(FunctionCallInfo fcinfo);
extern norikv_slice NorikvVectorIdFromDatum(Datum datum, const char *argument);
/*
 * As NorikvFinish(): P0002 where there is no such index, 0A000 where the server has no
 * vectors.
 */
extern void NorikvFinishVectors(NorikvCall *call, norikv_slice space);
extern void NorikvRaiseVectors(const norikv_error *error, const NorikvCall *call,
							   norikv_slice space) pg_attribute_noreturn();

/* In patterns/semantic.c: the key that says which embedder made the index. */
extern void NorikvForgetIndexMaker(NorikvConnection *connection, norikv_slice space);

/* ---- matches.c: vectors of matches that came without them ---- */

typedef struct NorikvMatchReader
{
	/* Set by the caller, and borrowed. */
	NorikvConnection *connection;
	norikv_slice space;
	int dimensions;
	/* What the batches took that have ended. */
	norikv_call_stats done;
	/* The rest is matches.c's. */
	NorikvCall *call; /* NULL: there is no batch */
	const norikv_vector *vectors;
	size_t first; /* of the matches */
	size_t n_vectors;
} NorikvMatchReader;

/* Whether so many vectors are too much for one answer. */
extern bool NorikvLeaveOutVectors(size_t n_matches, int dimensions);
/*
 * One of the matches, with its vector; where that is read now, as it is now: found and
 * version say whether it is the same. Valid until the next call.
 */
extern const norikv_vector *NorikvVectorOfMatch(NorikvMatchReader *reader,
												const norikv_vector *matches,
												size_t n_matches, size_t number);
/* Frees what is at hand: the matches to come are others. */
extern void NorikvEndBatch(NorikvMatchReader *reader);

/* ---- search.c ---- */

/* The argument "k": 1 or more. */
extern int NorikvNeighboursArgument(FunctionCallInfo fcinfo, int argument);

#endif
