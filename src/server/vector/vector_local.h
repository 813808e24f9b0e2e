/*
 * vector_local.h - what the files of an index share with each other.
 */
#ifndef NORIKVD_VECTOR_LOCAL_H
#define NORIKVD_VECTOR_LOCAL_H

#include "vector_rows.h"
#include "vector_workers.h"

/* Below so many vectors every search is exact, ... */
#define VECTOR_EXACT_BELOW 10000
/* ... and below so many nothing is linked. */
#define VECTOR_LINK_FROM (VECTOR_EXACT_BELOW / 2)

struct vector_index
{
	vector_index_options options;
	_Atomic uint32_t max_unlinked;

	pthread_mutex_t writer;		/* held to change rows, and to replace `current` */
	uint64_t	changes;		/* this and the next three under writer */
	size_t		reserved_puts;	/* and not made yet: a rebuild leaves room for them */
	size_t		reserved_id_bytes;
	uint64_t	rebuild_from;	/* changes: not before, one failed */

	pthread_mutex_t pinning;	/* held to take a reference on current */
	vector_rows *current;

	/* A rebuild: rows that will be current. Under pinning; links of it are made by
	 * all workers. */
	vector_rows *next;
	_Atomic bool rebuilding;
	_Atomic uint64_t rebuilds;
	pthread_mutex_t rebuild;	/* held by whoever rebuilds */

	pthread_mutex_t saving;

	_Atomic bool closing;
	vector_task link_task;
	vector_task rebuild_task;
	vector_task rest_task;		/* looks whether the index came to rest */
	uint64_t	changes_at_rest_start;
	bool		rest_watched;	/* both under writer */
};

extern vector_code vector_fail(vector_status *status, vector_code code,
							   const char *format, ...)
	__attribute__((format(printf, 3, 4)));

extern bool vector_check_options(const vector_index_options *options,
								 vector_status *status);

/* Empty rows for an index of these options, the defaults filled in. */
extern vector_rows *vector_rows_for(const vector_index_options *options,
									vector_index_options *filled, vector_status *status);

/* An index around rows, of which it takes the caller's reference. */
extern vector_index *vector_index_of_rows(vector_rows *rows,
										  const vector_index_options *options);

/* The current rows, with a reference to be released. */
extern vector_rows *vector_index_pin(vector_index *index);

/* ---- vector_background.c ---- */

extern void vector_background_init(vector_index *index);

/* After a change; the writer's lock is held, or nobody else knows the index. */
extern void vector_background_wake(vector_index *index);

/* After a change, without a lock: links where too many rows wait for it, and does what
 * workers would do where there are none. */
extern void vector_background_help(vector_index *index);

extern void vector_background_stop(vector_index *index);

/* Clears dead rows away. False: out of memory, or the index is closing. */
extern bool vector_rebuild(vector_index *index);

/* ---- vector_search.c ---- */

typedef struct vector_search_options
{
	const vector_query *query;
	size_t		k;
	bool		exact;
} vector_search_options;

extern vector_code vector_search(vector_index *index, const vector_search_options *options,
								 vector_matches *matches, vector_status *status);

#endif
