/*
 * vector_index.h - vectors in memory, and those nearest to a given one.
 *
 * A library of its own: it knows no engine, no gRPC and no PostgreSQL. What is
 * durable is its caller's; what is in here can be made again by putting every
 * vector again, or faster from a snapshot and what was written after it.
 *
 * - Any thread may call any function at any time, except that nobody may use an
 *   index while, or after, it is destroyed.
 * - A put is found by every search that starts after it returned. The graph of an
 *   HNSW index is extended later, by the workers; until then a search reads the
 *   vectors that are not linked yet one by one, so it never misses one for that.
 * - Searches do not wait for puts, nor for the graph being rebuilt.
 * - Nothing is thrown and nothing aborts: what a function needs and does not get
 *   is VECTOR_NO_MEMORY, with nothing changed.
 *
 * Distances, ascending: EUCLIDEAN is L2, not squared; COSINE is 1 - similarity;
 * INNER_PRODUCT is the negated dot product. They are summed in double precision
 * for what is returned. Ties are ordered by id, byte by byte.
 */
#ifndef NORIKVD_VECTOR_INDEX_H
#define NORIKVD_VECTOR_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C"
{
#endif

typedef struct vector_index vector_index;

#define VECTOR_MAX_DIMENSIONS 4096
#define VECTOR_MAX_ID_SIZE 512

/* Numbers are those of the protocol. */
typedef enum vector_metric
{
	VECTOR_EUCLIDEAN = 1,
	VECTOR_COSINE = 2,
	VECTOR_INNER_PRODUCT = 3
} vector_metric;

typedef enum vector_index_type
{
	VECTOR_BRUTE_FORCE = 1,		/* every search reads every vector */
	VECTOR_HNSW = 2
} vector_index_type;

typedef enum vector_code
{
	VECTOR_OK = 0,
	VECTOR_INVALID,				/* the caller's argument; the text says which */
	VECTOR_NO_MEMORY,
	VECTOR_IO,					/* a file could not be read or written */
	VECTOR_REFUSED				/* a snapshot that is torn, corrupt or another index's */
} vector_code;

#define VECTOR_TEXT_SIZE 256

/* Where a function takes one, NULL means that nobody wants the text. */
typedef struct vector_status
{
	vector_code code;
	char		text[VECTOR_TEXT_SIZE];
} vector_status;

typedef struct vector_version
{
	uint64_t	term;
	uint64_t	index;
} vector_version;

/* ---- Workers ---- */

/*
 * Threads that link vectors into graphs and rebuild graphs, for as many indexes as
 * share them. The calling thread's signal mask is not theirs: they block all
 * signals. NULL: out of memory, or no thread could be started.
 */
typedef struct vector_workers vector_workers;

extern vector_workers *vector_workers_start(unsigned threads);

/* After every index that uses them was destroyed. */
extern void vector_workers_stop(vector_workers *workers);

/* ---- An index ---- */

typedef struct vector_index_options
{
	vector_metric metric;
	vector_index_type type;
	uint32_t	dimensions;
	/* NULL: a put links its vector itself, and a rebuild is done by the put or
	 * delete that made it due. */
	vector_workers *workers;
	/*
	 * While so many vectors wait to be linked, a put links one itself before it
	 * returns, so that writers go no faster than the graph grows; from half as many
	 * on, some puts do. 0: the default, 10,000. UINT32_MAX: never (loading: searches are exact meanwhile).
	 */
	uint32_t	max_unlinked;
	uint32_t	m;				/* links of a vector in a layer; 0: the default */
	uint32_t	ef_construction;	/* 0: the default */
	uint32_t	ef;				/* beam width of a search that names none; 0: the default */
} vector_index_options;

extern vector_index *vector_index_create(const vector_index_options *options,
										 vector_status *status);

/* Waits for the background work under way. NULL is nothing. */
extern void vector_index_destroy(vector_index *index);

/* As created, the defaults filled in. */
extern const vector_index_options *vector_index_options_of(const vector_index *index);

extern void vector_index_set_max_unlinked(vector_index *index, uint32_t max_unlinked);

/*
 * Whether an index of these takes the vector: the right number of dimensions, every
 * component a finite number, a length (L2) below 1e18, and with COSINE above 1e-18.
 * Ask before anything is written: a put asks again and says VECTOR_INVALID.
 */
extern vector_code vector_check(vector_metric metric, uint32_t dimensions,
								const float *values, size_t n_values,
								vector_status *status);

/* ---- Changes ---- */

/*
 * Room for so many puts more, whose ids have so many bytes together: after that they
 * cannot fail for memory. Ask before the write is made durable. Room is not counted
 * per caller: one writer reserves and puts at a time.
 */
extern vector_code vector_index_reserve(vector_index *index, size_t puts,
										size_t id_bytes);

/* Bytes that so many puts more may add to the index's own. */
extern uint64_t vector_index_bytes_needed(vector_index *index, size_t puts,
										  size_t id_bytes);

/*
 * Inserts or replaces. Of two puts of one id the later call wins, whatever their
 * versions. *replaced (may be NULL) says whether the id was there.
 */
extern vector_code vector_index_put(vector_index *index, const char *id, size_t id_size,
									vector_version version, const float *values,
									bool *replaced);

/* Whether it was there. */
extern bool vector_index_delete(vector_index *index, const char *id, size_t id_size);

/* ---- Reads ---- */

/*
 * Whether it is there; its version and its `dimensions` components, bit by bit as
 * they were put, where those are not NULL.
 */
extern bool vector_index_get(vector_index *index, const char *id, size_t id_size,
							 vector_version *version, float *values);

typedef struct vector_match
{
	const char *id;				/* not terminated */
	size_t		id_size;
	float		distance;
	vector_version version;
	const float *values;		/* NULL unless asked for */
} vector_match;

/* One allocation; free with vector_matches_free. */
typedef struct vector_matches
{
	vector_match *items;
	size_t		count;
	bool		exact;			/* nothing nearer was left out */
} vector_matches;

typedef struct vector_query
{
	const float *values;		/* checked as by vector_check */
	uint32_t	ef;				/* beam width; 0: the index's. Raised to k */
	bool		exact;			/* read every vector */
	bool		with_values;
} vector_query;

/*
 * The k nearest, or all where there are fewer. Exact for BRUTE_FORCE, for fewer than
 * 10,000 vectors, and for k above a tenth of them.
 */
extern vector_code vector_index_search(vector_index *index, const vector_query *query,
									   size_t k, vector_matches *matches,
									   vector_status *status);
extern void vector_matches_free(vector_matches *matches);

typedef struct vector_index_stats
{
	uint64_t	count;			/* vectors there are */
	uint64_t	dead;			/* replaced or deleted, not cleared away yet */
	uint64_t	unlinked;		/* not in the graph yet */
	uint64_t	bytes;			/* all memory of the index */
	uint64_t	rebuilds;		/* since it was created */
	bool		rebuilding;
} vector_index_stats;

extern void vector_index_stats_of(vector_index *index, vector_index_stats *stats);

/*
 * Waits until everything is linked and, with compact, nothing dead is left (which
 * rebuilds the graph where anything is dead). VECTOR_NO_MEMORY: could not be done;
 * searches are right all the same.
 */
extern vector_code vector_index_settle(vector_index *index, bool compact);

/*
 * Memory is short: what is dead is taken out soon, in the background, if it is as much as
 * would be taken out of an index at rest. Without workers nothing happens.
 */
extern void vector_index_give_back(vector_index *index);

/* ---- Snapshots ---- */

/*
 * Writes the index to a file: a temporary one beside it, synced, then renamed, then
 * the directory synced. All changes up to `position` must have been made; later ones
 * may or may not be in it, so whoever loads it makes every change after position
 * again. Changes and searches go on meanwhile.
 */
extern vector_code vector_index_save(vector_index *index, const char *path,
									 vector_version position, vector_status *status);

/*
 * NULL with status VECTOR_REFUSED where the file is not a whole snapshot of an index
 * with these options (metric, type, dimensions, m), VECTOR_IO where it cannot be
 * read, also where there is none. Checksums of all bytes are compared and all numbers
 * checked before any is used.
 */
extern vector_index *vector_index_load(const char *path,
									   const vector_index_options *options,
									   vector_version *position, vector_status *status);

/* ---- For tests and benchmarks ---- */

/* The name of the distance functions in use: "avx512", "avx2", "baseline". */
extern const char *vector_kernel_name(void);

#ifdef __cplusplus
}
#endif

#endif
