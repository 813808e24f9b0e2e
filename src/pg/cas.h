/*
 * cas.h - the one compare-and-swap loop, the one builder of Commits.
 */
#ifndef NORIKV_CAS_H
#define NORIKV_CAS_H

#include "pg_norikv.h"

/* A key as the loop has read it. */
typedef struct NorikvDocument
{
	bool present;
	bool settled; /* the step has said what becomes of it: the builder's */
	norikv_slice key;
	norikv_slice value; /* with a zero byte after it, which does not count */
	norikv_version version;
	uint64 expires_at_ms; /* 0: never, or not known */
} NorikvDocument;

typedef struct NorikvCommit NorikvCommit;

/* One try: what was read, and what the step wants of it. */
typedef struct NorikvAttempt
{
	NorikvConnection *connection;
	NorikvDocument *documents; /* in the order of the keys */
	int n_documents;
	NorikvCommit *commit;
} NorikvAttempt;

/*
 * From the documents that are to what becomes of them, said by the functions below:
 * called once per try, in a memory context of the try, with no call under way. A step
 * that says nothing ends the loop and writes nothing. What it leaves in arg is of the
 * last try, so each try must set all of it.
 */
typedef void (*NorikvStep)(NorikvAttempt *attempt, void *arg);

/*
 * Both on condition that the document is as it was read. A step that writes has the same
 * condition on each document of which it says nothing.
 */
extern void NorikvPutDocument(NorikvAttempt *attempt, NorikvDocument *document,
							  norikv_slice value, norikv_ttl ttl, uint64 ttl_ms);
extern void NorikvDeleteDocument(NorikvAttempt *attempt, NorikvDocument *document);
/* A vector, on a condition of its own: the loop reads none. */
extern void NorikvPutVector(NorikvAttempt *attempt, norikv_slice space, norikv_slice id,
							const float *vector, uint32 dimensions,
							norikv_condition condition, norikv_version version);
/* A key that was not read, on condition that there is none. */
extern void NorikvCreateDocument(NorikvAttempt *attempt, norikv_slice key,
								 norikv_slice value, norikv_ttl ttl, uint64 ttl_ms);
/* The same whatever is there: for a key that only the other conditions give a meaning. */
extern void NorikvOverwriteDocument(NorikvAttempt *attempt, norikv_slice key,
									norikv_slice value);
/* The document of this key; NULL: it was not read. */
extern NorikvDocument *NorikvFindDocument(NorikvAttempt *attempt, norikv_slice key);
/*
 * Another key whose name only a document tells: the step is called again with one
 * document more, and what it said before is forgotten. Later tries read it at once, so
 * a step finds its document by the key.
 */
extern void NorikvReadAlso(NorikvAttempt *attempt, norikv_slice key);

typedef struct NorikvStepOptions
{
	const char *sql_name; /* "inventory_reserve()", for errors */
	int max_retries;	  /* -1: until it is done or cancelled */
	bool with_expiry;	  /* the step looks at expires_at_ms */
	bool keeps_ttl;		  /* the step puts with NORIKV_TTL_KEEP */
} NorikvStepOptions;

/*
 * The version written; index 0: nothing was. 40001 with both versions after the last
 * retry, 0A000 where several documents are to change and the server has no Commit.
 */
extern norikv_version NorikvRunStep(NorikvConnection *connection,
									const norikv_slice *keys, int n_keys, NorikvStep step,
									void *arg, const NorikvStepOptions *options);

/* The pause after a try that met another writer; a cancel ends it by an error. */
extern void NorikvBackOff(int tries);

/* The same for one key, where that is all there is to say. */
typedef enum NorikvCasAction
{
	NORIKV_CAS_LEAVE, /* write nothing: the loop is over */
	NORIKV_CAS_PUT,
	NORIKV_CAS_DELETE
} NorikvCasAction;

typedef NorikvCasAction (*NorikvCasStep)(const NorikvDocument *old, norikv_slice *value,
										 void *arg);

typedef struct NorikvCasOptions
{
	norikv_ttl ttl; /* of a put: KEEP, SET or NONE */
	uint64 ttl_ms;
	int max_retries;
} NorikvCasOptions;

extern void NorikvCompareAndSwap(NorikvConnection *connection, norikv_slice key,
								 NorikvCasStep step, void *arg,
								 const NorikvCasOptions *options);

#endif
