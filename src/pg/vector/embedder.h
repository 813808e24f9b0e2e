/*
 * embedder.h - texts to vectors. An embedder is one struct with one function; which
 * one, and how it is set, are options of the foreign server, or settings where the
 * embedded store is used without a server object.
 */
#ifndef NORIKV_EMBEDDER_H
#define NORIKV_EMBEDDER_H

#include "vector/vector.h"

/* The option embedder, in the order of options.c. */
typedef enum NorikvEmbedderKind
{
	NORIKV_EMBEDDER_LEXICAL,
	NORIKV_EMBEDDER_HTTP,
	NORIKV_EMBEDDER_FUNCTION
} NorikvEmbedderKind;

/* What an embedder is told. */
typedef struct NorikvEmbedderOptions
{
	NorikvEmbedderKind kind;
	const char *server;	  /* for messages */
	const char *url;	  /* NULL: not given, as the next three */
	const char *model;
	const char *function;
	const char *api_key;  /* must not get into any message */
	int dimensions;		  /* 0: not given */
	int timeout;		  /* milliseconds of one request, with its retries */
} NorikvEmbedderOptions;

typedef struct NorikvEmbedder
{
	const char *name;
	/*
	 * Fills n_texts rows of *values, which it allocates, and says how many elements a
	 * row has. Texts are text datums, none of them empty. Cancels come through.
	 */
	int (*embed)(const NorikvEmbedderOptions *options, const Datum *texts, int n_texts,
				 float **values);
} NorikvEmbedder;

extern const NorikvEmbedder NorikvLexicalEmbedder;	/* lexical.c */
extern const NorikvEmbedder NorikvHttpEmbedder;		/* http.c */
extern const NorikvEmbedder NorikvFunctionEmbedder; /* function.c */

/* ---- embedder.c: the one that is configured ---- */

extern void NorikvEmbedderInit(void);
/* Checked as other vectors are. */
extern NorikvVector NorikvEmbedText(NorikvConnection *connection, Datum text);
/* Its name, with its model or function, for people; the same text, the same vectors. */
extern char *NorikvDescribeEmbedder(NorikvConnection *connection);

/* ---- url.c: addresses of services ---- */

/* Whether an embedding_url has the form of one; NULL, or what is wrong with it. */
extern const char *NorikvCheckEmbeddingUrl(const char *url);
/* Host, and port or NULL, of a URL that has that form. */
extern void NorikvSplitUrl(const char *url, char **host, char **port, bool *secure);
extern bool NorikvIsLoopback(const char *host);

/* ---- casefold.c ---- */

extern uint32 NorikvFoldCase(uint32 code);

/* ---- transfer.c: POST by libcurl ---- */

typedef struct NorikvPost
{
	/* Makes the body, when its turn comes; it is freed after the answer. */
	void (*prepare)(struct NorikvPost *post);
	char *body;
	size_t body_size;
	/* Called with each answer of status 200, in the order in which they come. */
	void (*answered)(struct NorikvPost *post, const char *answer, size_t size);
	void *arg;
} NorikvPost;

/* All of them, some at a time; the first that fails raises its error. */
extern void NorikvPostAll(const NorikvEmbedderOptions *options, NorikvPost *posts,
						  int n_posts);

#endif
