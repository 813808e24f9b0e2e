/*
 * vector_background.c - linking and rebuilding while the index is in use.
 *
 * A rebuild copies the live rows into new ones and links those; puts and deletes go
 * on in the old rows. What they changed meanwhile is caught up in rounds, the last one
 * with the writer waiting: it copies rows, which the new rows' searches read one by
 * one until they are linked, and buries what died. So writers wait for about a
 * millisecond, and searches not at all.
 */
#include "vector_local.h"

#include <stdlib.h>
#include <string.h>

/* Links between two looks at what else is to do. */
#define LINKS_A_TURN 64
/* Fewer dead rows are never worth a rebuild. */
#define FEWEST_DEAD 64
/* How long an index has no change before it is at rest, and is then compacted if
 * more than one row in REST_SHARE is dead. */
#define REST_MS 10000
#define REST_SHARE 25
/* Rows that the writer waits for at the end of a rebuild, and rounds to get there. */
#define LAST_ROWS 512
#define MOST_ROUNDS 20
/* Rows copied under one hold of a lock. */
#define COPY_ROWS 256

vector_rows *
vector_index_pin(vector_index *index)
{
	vector_rows *rows;

	pthread_mutex_lock(&index->pinning);
	rows = index->current;
	atomic_fetch_add(&rows->references, 1);
	pthread_mutex_unlock(&index->pinning);
	return rows;
}

static vector_rows *
pin_next(vector_index *index)
{
	vector_rows *rows;

	pthread_mutex_lock(&index->pinning);
	rows = index->next;
	if (rows)
		atomic_fetch_add(&rows->references, 1);
	pthread_mutex_unlock(&index->pinning);
	return rows;
}

/* ---- Linking ---- */

/* Rows that nobody is linking yet, and that a search wants linked. */
static uint32_t
waiting(const vector_rows *rows)
{
	uint32_t	next = atomic_load(&rows->next_to_link);
	uint32_t	end = atomic_load(&rows->n_rows);

	if (rows->options.type != VECTOR_HNSW || atomic_load(&rows->broken) ||
		atomic_load(&rows->n_live) < VECTOR_LINK_FROM || end < next)
		return 0;
	return end - next;
}

/* Whether more could be linked. Once it has one it calls another worker in. */
static bool
link_some(vector_index *index, vector_rows *rows)
{
	for (int i = 0; i < LINKS_A_TURN; i++)
	{
		if (waiting(rows) == 0 || vector_rows_link(rows) != VECTOR_LINK_ONE)
			return false;
		if (i == 0 && index->options.workers && !atomic_load(&index->closing))
			vector_workers_submit(index->options.workers, &index->link_task, 0);
	}
	return true;
}

static void
run_links(void *arg)
{
	vector_index *index = arg;
	vector_rows *rows = vector_index_pin(index);
	vector_rows *next = pin_next(index);
	bool		more = link_some(index, rows);

	if (next && link_some(index, next))
		more = true;
	if (more && !atomic_load(&index->closing))
		vector_workers_submit(index->options.workers, &index->link_task, 0);
	vector_rows_release(rows);
	vector_rows_release(next);
}

/* Links all that is waiting, with the workers. False: the graph is broken, memory is
 * short or the index is closing. */
static bool
link_all(vector_index *index, vector_rows *rows)
{
	while (waiting(rows) > 0)
	{
		if (atomic_load(&index->closing) || vector_rows_link(rows) == VECTOR_LINK_BROKEN)
			return false;
		if (index->options.workers)
			vector_workers_submit(index->options.workers, &index->link_task, 0);
	}
	if (atomic_load(&rows->next_to_link) > 0)
		vector_rows_wait_linked(rows, atomic_load(&rows->next_to_link));
	return !atomic_load(&rows->broken);
}

/* ---- Rebuilding ---- */

typedef struct rebuild
{
	vector_index *index;
	vector_rows *old;
	vector_rows *next;
	uint32_t   *origins;		/* of next's rows: the old row */
	uint32_t	n_origins;
	uint32_t	from;			/* old rows before it are copied, or were dead */
} rebuild;

static bool
copy_row(rebuild *work, uint32_t slot)
{
	const vector_slot *row = &work->old->slots[slot];

	if (!(vector_row_state(work->old, slot) & VECTOR_LIVE))
		return true;
	if (!vector_rows_reserve(work->next, 1, row->id_size))
		return false;
	if (work->n_origins % COPY_ROWS == 0)
	{
		uint32_t   *grown = realloc(work->origins, (work->n_origins + COPY_ROWS) *
									sizeof(uint32_t));

		if (grown == NULL)
			return false;
		work->origins = grown;
	}
	work->origins[work->n_origins++] = slot;
	vector_rows_append(work->next, row->id, row->id_size, row->version,
					   (const float *) vector_row(work->old, slot));
	return true;
}

static bool
copy_to(rebuild *work, uint32_t end)
{
	bool		copied = true;

	while (copied && work->from < end)
	{
		uint32_t	stop = end - work->from > COPY_ROWS ? work->from + COPY_ROWS : end;

		if (atomic_load(&work->index->closing))
			return false;
		pthread_rwlock_rdlock(&work->old->shape);
		for (; copied && work->from < stop; work->from++)
			copied = copy_row(work, work->from);
		pthread_rwlock_unlock(&work->old->shape);
	}
	return copied;
}

/* What was put is copied, what died is buried, and room that was reserved is there. */
static bool
catch_up(rebuild *work)
{
	vector_rows *old = work->old;
	uint32_t	n_rows = atomic_load(&old->n_rows);

	if (!copy_to(work, n_rows) ||
		!vector_rows_reserve(work->next, work->index->reserved_puts,
							 work->index->reserved_id_bytes))
		return false;
	for (uint32_t slot = 0; slot < work->n_origins; slot++)
		if (!(vector_row_state(old, work->origins[slot]) & VECTOR_LIVE) &&
			(vector_row_state(work->next, slot) & VECTOR_LIVE))
			vector_rows_kill(work->next, slot);
	return true;
}

static void
replace_current(vector_index *index, vector_rows *next)
{
	pthread_mutex_lock(&index->pinning);
	index->next = NULL;
	if (next)
		index->current = next;
	pthread_mutex_unlock(&index->pinning);
}

static bool
build(rebuild *work)
{
	vector_index *index = work->index;

	work->next = vector_rows_create(&index->options);
	if (work->next == NULL ||
		!vector_rows_reserve(work->next, atomic_load(&work->old->n_live), 0))
		return false;
	pthread_mutex_lock(&index->pinning);
	index->next = work->next;
	pthread_mutex_unlock(&index->pinning);
	for (int round = 0; round < MOST_ROUNDS; round++)
	{
		uint32_t	n_rows = atomic_load(&work->old->n_rows);

		if (round > 0 && n_rows - work->from <= LAST_ROWS)
			break;
		if (!copy_to(work, n_rows) || !link_all(index, work->next))
			return false;
	}
	return true;
}

/* With the lock of rebuilds, of which there is one at a time. */
static bool
rebuild_locked(vector_index *index)
{
	rebuild		work = {.index = index};
	bool		done;

	atomic_store(&index->rebuilding, true);
	work.old = vector_index_pin(index);
	done = build(&work);
	pthread_mutex_lock(&index->writer);
	done = done && catch_up(&work);
	replace_current(index, done ? work.next : NULL);
	if (done)
	{
		vector_rows_release(work.old);
		atomic_fetch_add(&index->rebuilds, 1);
	}
	else
	{
		vector_rows_release(work.next);
		index->rebuild_from = index->changes + atomic_load(&work.old->n_rows) / 10 + 1;
	}
	vector_background_wake(index);
	pthread_mutex_unlock(&index->writer);
	vector_rows_release(work.old);
	free(work.origins);
	atomic_store(&index->rebuilding, false);
	return done;
}

bool
vector_rebuild(vector_index *index)
{
	bool		done;

	pthread_mutex_lock(&index->rebuild);
	done = rebuild_locked(index);
	pthread_mutex_unlock(&index->rebuild);
	return done;
}

static uint32_t
dead_rows(const vector_rows *rows)
{
	uint32_t	live = atomic_load(&rows->n_live);
	uint32_t	n_rows = atomic_load(&rows->n_rows);

	return n_rows > live ? n_rows - live : 0;
}

/* Under the writer's lock. One dead row in `share` makes it due. */
static bool
rebuild_due(const vector_index *index, uint32_t share)
{
	const vector_rows *rows = index->current;
	uint64_t	dead = dead_rows(rows);

	if (atomic_load(&rows->broken))
		return true;
	return dead >= FEWEST_DEAD && dead * share >= atomic_load(&rows->n_rows);
}

/* While it waited for its turn, somebody else may have done it. */
static void
run_rebuild(void *arg)
{
	vector_index *index = arg;
	bool		due;

	pthread_mutex_lock(&index->rebuild);
	pthread_mutex_lock(&index->writer);
	due = rebuild_due(index, REST_SHARE);
	pthread_mutex_unlock(&index->writer);
	if (due)
		rebuild_locked(index);
	pthread_mutex_unlock(&index->rebuild);
}

static void
run_rest(void *arg)
{
	vector_index *index = arg;

	pthread_mutex_lock(&index->writer);
	if (index->changes != index->changes_at_rest_start)
	{
		index->changes_at_rest_start = index->changes;
		if (!atomic_load(&index->closing))
			vector_workers_submit(index->options.workers, &index->rest_task, REST_MS);
	}
	else
	{
		index->rest_watched = false;
		if (!atomic_load(&index->closing) && rebuild_due(index, REST_SHARE))
			vector_workers_submit(index->options.workers, &index->rebuild_task, 0);
	}
	pthread_mutex_unlock(&index->writer);
}

/* ---- When ---- */

void
vector_background_init(vector_index *index)
{
	index->link_task = (vector_task) {.run = run_links, .arg = index};
	index->rebuild_task = (vector_task) {.run = run_rebuild, .arg = index};
	index->rest_task = (vector_task) {.run = run_rest, .arg = index};
}

void
vector_background_wake(vector_index *index)
{
	vector_workers *workers = index->options.workers;

	if (workers == NULL || atomic_load(&index->closing))
		return;
	if (waiting(index->current) > 0)
		vector_workers_submit(workers, &index->link_task, 0);
	if (!atomic_load(&index->rebuilding) && index->changes >= index->rebuild_from &&
		rebuild_due(index, 4))
		vector_workers_submit(workers, &index->rebuild_task, 0);
	if (!index->rest_watched && rebuild_due(index, REST_SHARE))
	{
		index->rest_watched = true;
		index->changes_at_rest_start = index->changes;
		vector_workers_submit(workers, &index->rest_task, REST_MS);
	}
}

void
vector_index_give_back(vector_index *index)
{
	vector_workers *workers = index->options.workers;

	if (workers == NULL)
		return;
	pthread_mutex_lock(&index->writer);
	if (!atomic_load(&index->closing) && !atomic_load(&index->rebuilding) &&
		rebuild_due(index, REST_SHARE))
		vector_workers_submit(workers, &index->rebuild_task, 0);
	pthread_mutex_unlock(&index->writer);
}

/* So that writers without workers keep up: the graph starts with rows that wait. */
#define LINKS_A_PUT 4

/* From half of the limit on, one put in so many links: writers slow down in two steps,
 * and those that adapt to the pace do it before it is that of the graph. */
#define FIRST_STEP 4

/* How many a put links before it returns. */
static int
links_of_a_put(vector_index *index, const vector_rows *rows)
{
	uint32_t	limit = atomic_load(&index->max_unlinked);
	uint32_t	unlinked;

	if (index->options.workers == NULL)
		return LINKS_A_PUT;
	if (limit == UINT32_MAX)
		return 0;
	unlinked = waiting(rows);
	if (unlinked >= limit)
		return 1;
	return unlinked >= limit / 2 && atomic_load(&rows->n_rows) % FIRST_STEP == 0;
}

void
vector_background_help(vector_index *index)
{
	vector_rows *rows = vector_index_pin(index);
	int			links = links_of_a_put(index, rows);
	bool		due;

	while (links-- > 0 && waiting(rows) > 0 &&
		   vector_rows_link(rows) == VECTOR_LINK_ONE)
		;
	vector_rows_release(rows);
	if (index->options.workers)
		return;
	pthread_mutex_lock(&index->writer);
	due = index->changes >= index->rebuild_from && rebuild_due(index, 4) &&
		!atomic_load(&index->rebuilding);
	pthread_mutex_unlock(&index->writer);
	if (due)
		vector_rebuild(index);
}

void
vector_background_stop(vector_index *index)
{
	atomic_store(&index->closing, true);
	if (index->options.workers == NULL)
		return;
	/* The rebuild first: it queues links. What is queued while closing does nothing. */
	vector_workers_cancel(index->options.workers, &index->rest_task);
	vector_workers_cancel(index->options.workers, &index->rebuild_task);
	vector_workers_cancel(index->options.workers, &index->link_task);
}

vector_code
vector_index_settle(vector_index *index, bool compact)
{
	vector_rows *rows = vector_index_pin(index);
	bool		clear = !compact ||
		(dead_rows(rows) == 0 && !atomic_load(&rows->broken));

	if (!clear)
	{
		vector_rows_release(rows);
		if (!vector_rebuild(index))
			return VECTOR_NO_MEMORY;
		rows = vector_index_pin(index);
	}
	clear = link_all(index, rows);
	vector_rows_release(rows);
	return clear ? VECTOR_OK : VECTOR_NO_MEMORY;
}
