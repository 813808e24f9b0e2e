/*
 * vector_search.c - the nearest of one generation of rows.
 *
 * A search takes no part in locking out writers, so rows can be replaced while it
 * looks. It stays right by this: it collects candidates, in the graph first if it uses
 * one, then of the rows not linked when it began and those appended since; and at
 * the end it asks, at one instant, whether those it would return are all still live.
 * A row that is dead when it is seen was replaced by one appended before, which is
 * read afterwards. A row that died later makes the search start again; the last
 * attempt holds writers up.
 */
#include "vector_local.h"

#include <stdlib.h>
#include <string.h>

/* Collected beyond k: floats may order near ties otherwise than doubles do. */
#define SLACK 8
#define ATTEMPTS 4
/* Bytes of rows that are read under one hold of shape. */
#define BYTES_A_HOLD ((size_t) 4 << 20)

typedef struct candidate
{
	float		distance;		/* collecting: the kernel's; then the one told */
	uint32_t	slot;
} candidate;

typedef struct search
{
	vector_rows *rows;
	const vector_search_options *options;
	float	   *point;			/* the query */
	size_t		most;			/* candidates to keep */
	candidate  *candidates;		/* a heap, the farthest first, once there are `most` */
	size_t		n;
	size_t		room;
	bool		exact;
	bool		no_memory;
} search;

/* Whether a comes after b. */
static bool
after(const search *s, const candidate *a, const candidate *b)
{
	const vector_slot *x;
	const vector_slot *y;
	int			order;

	if (a->distance != b->distance)
		return a->distance > b->distance;
	x = &s->rows->slots[a->slot];
	y = &s->rows->slots[b->slot];
	order = memcmp(x->id, y->id, x->id_size < y->id_size ? x->id_size : y->id_size);
	return order != 0 ? order > 0 : x->id_size > y->id_size;
}

/* Down from `at`, until no child comes after the candidate that sinks. */
static void
sink(search *s, size_t at)
{
	candidate	sinking = s->candidates[at];

	for (size_t child; (child = 2 * at + 1) < s->n; at = child)
	{
		if (child + 1 < s->n && after(s, &s->candidates[child + 1], &s->candidates[child]))
			child++;
		if (!after(s, &s->candidates[child], &sinking))
			break;
		s->candidates[at] = s->candidates[child];
	}
	s->candidates[at] = sinking;
}

static bool
make_room(search *s)
{
	size_t		room = s->room ? s->room * 2 : 256;
	candidate  *grown;

	if (room > s->most)
		room = s->most;
	grown = realloc(s->candidates, room * sizeof(*grown));
	if (grown == NULL)
	{
		s->no_memory = true;
		return false;
	}
	s->candidates = grown;
	s->room = room;
	return true;
}

static void
offer(search *s, float distance, uint32_t slot)
{
	candidate	offered = {distance, slot};

	if (s->n == s->most && !after(s, &s->candidates[0], &offered))
		return;
	if (s->n < s->most)
	{
		if (s->n == s->room && !make_room(s))
			return;
		s->candidates[s->n++] = offered;
		if (s->n == s->most)
			for (size_t i = s->n / 2; i-- > 0;)
				sink(s, i);
		return;
	}
	s->candidates[0] = offered;
	sink(s, 0);
}

/* Reads all live rows of [from, to). */
static void
scan(search *s, uint32_t from, uint32_t to)
{
	vector_rows *rows = s->rows;
	uint32_t	rows_a_hold = (uint32_t) (BYTES_A_HOLD / rows->row_size);

	while (from < to)
	{
		uint32_t	stop = to - from > rows_a_hold ? from + rows_a_hold : to;

		pthread_rwlock_rdlock(&rows->shape);
		for (; from < stop; from++)
		{
			float		distance;

			if (!(vector_row_state(rows, from) & VECTOR_LIVE))
				continue;
			distance = rows->distance(s->point, vector_row(rows, from), &rows->padded);
			if (s->n < s->most || distance <= s->candidates[0].distance)
				offer(s, distance, from);
		}
		pthread_rwlock_unlock(&rows->shape);
	}
}

/*
 * Collects rows before `linked`; those from there on are read anyway. False: the graph
 * is no use here.
 */
static bool
search_graph(search *s, uint32_t ef, uint32_t linked)
{
	vector_rows *rows = s->rows;
	vector_near *found = malloc(ef * sizeof(*found));
	uint32_t	n_found = 0;
	bool		searched = false;

	if (found == NULL)
		return false;
	pthread_rwlock_rdlock(&rows->shape);
	if (rows->graph && !atomic_load(&rows->broken))
		searched = vector_graph_search(rows->graph, s->point, ef, found, &n_found);
	for (uint32_t i = 0; i < n_found; i++)
		if (found[i].slot < linked)
			offer(s, found[i].distance, found[i].slot);
	pthread_rwlock_unlock(&rows->shape);
	free(found);
	return searched && n_found >= s->options->k;
}

static bool
graph_is_worth_it(const search *s)
{
	const vector_rows *rows = s->rows;
	uint32_t	live = atomic_load(&rows->n_live);

	return rows->options.type == VECTOR_HNSW && !s->options->exact &&
		!s->options->query->exact && !atomic_load(&rows->broken) &&
		live >= VECTOR_EXACT_BELOW && s->options->k <= live / 10 &&
		atomic_load(&rows->n_linked) >= atomic_load(&rows->n_rows) / 2;
}

static void
collect(search *s)
{
	uint32_t	ef = s->options->query->ef ? s->options->query->ef : s->rows->options.ef;
	uint32_t	read = 0;
	uint32_t	end;

	s->n = 0;
	s->exact = true;
	if (graph_is_worth_it(s))
	{
		uint32_t	live = atomic_load(&s->rows->n_live);
		uint32_t	linked = atomic_load(&s->rows->n_linked);

		if (ef < s->options->k)
			ef = (uint32_t) s->options->k;
		if (ef > live)
			ef = live;
		if (search_graph(s, ef, linked))
		{
			s->exact = false;
			read = linked;
		}
		else
			s->n = 0;
	}
	while (read < (end = atomic_load(&s->rows->n_rows)))
	{
		scan(s, read, end);
		read = end;
	}
}

/* ---- The answer ---- */

/* Sorting all of a large index takes long: shape is held for ties only. */
static int
by_distance(const void *a, const void *b, void *arg)
{
	const candidate *x = a;
	const candidate *y = b;
	search	   *s = arg;
	int			order;

	if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	pthread_rwlock_rdlock(&s->rows->shape);
	order = after(s, x, y) ? 1 : after(s, y, x) ? -1 : 0;
	pthread_rwlock_unlock(&s->rows->shape);
	return order;
}

static void
tell_distances(search *s)
{
	vector_rows *rows = s->rows;
	size_t		i = 0;
	size_t		rows_a_hold = BYTES_A_HOLD / rows->row_size;

	while (i < s->n)
	{
		size_t		stop = s->n - i > rows_a_hold ? i + rows_a_hold : s->n;

		pthread_rwlock_rdlock(&rows->shape);
		for (; i < stop; i++)
			s->candidates[i].distance =
				vector_distance_told(rows->options.metric, rows->options.dimensions,
									 s->point,
									 (const float *) vector_row(rows, s->candidates[i].slot));
		pthread_rwlock_unlock(&rows->shape);
	}
	if (s->n > 0)
		qsort_r(s->candidates, s->n, sizeof(candidate), by_distance, s);
	if (s->n > s->options->k)
		s->n = s->options->k;
}

/* Under table. */
static bool
all_live(search *s)
{
	bool		live = true;

	pthread_rwlock_rdlock(&s->rows->shape);
	for (size_t i = 0; i < s->n && live; i++)
		live = vector_row_state(s->rows, s->candidates[i].slot) & VECTOR_LIVE;
	pthread_rwlock_unlock(&s->rows->shape);
	return live;
}

static void
attempt(search *s)
{
	collect(s);
	tell_distances(s);
}

static void
find(search *s)
{
	bool		live;

	for (int i = 1; i < ATTEMPTS; i++)
	{
		attempt(s);
		pthread_rwlock_rdlock(&s->rows->table);
		live = all_live(s);
		pthread_rwlock_unlock(&s->rows->table);
		if (live || s->no_memory)
			return;
	}
	pthread_rwlock_rdlock(&s->rows->table);
	attempt(s);
	pthread_rwlock_unlock(&s->rows->table);
}

/* What the answer copies of one candidate; NULL values: nobody asked for them. */
static void
copy_match(const vector_rows *rows, const candidate *from, vector_match *match, char *id,
		   float *values)
{
	const vector_slot *row = &rows->slots[from->slot];

	*match = (vector_match) {id, row->id_size, from->distance, row->version, values};
	memcpy(id, row->id, row->id_size);
	if (values)
		memcpy(values, vector_row(rows, from->slot),
			   rows->options.dimensions * sizeof(float));
}

static size_t
ids_size(search *s)
{
	size_t		size = 0;

	pthread_rwlock_rdlock(&s->rows->shape);
	for (size_t i = 0; i < s->n; i++)
		size += s->rows->slots[s->candidates[i].slot].id_size;
	pthread_rwlock_unlock(&s->rows->shape);
	return size;
}

/* One allocation: matches, values, ids. Rows do not change once they are there. */
static vector_code
answer(search *s, vector_matches *matches)
{
	vector_rows *rows = s->rows;
	size_t		dimensions = s->options->query->with_values ? rows->options.dimensions : 0;
	size_t		rows_a_hold = BYTES_A_HOLD / rows->row_size;
	size_t		size = s->n * (sizeof(vector_match) + dimensions * sizeof(float));
	float	   *values;
	char	   *id;
	size_t		i = 0;

	size += ids_size(s);
	matches->items = malloc(size ? size : 1);
	if (matches->items == NULL)
		return VECTOR_NO_MEMORY;
	values = (float *) (matches->items + s->n);
	id = (char *) (values + s->n * dimensions);
	while (i < s->n)
	{
		size_t		stop = s->n - i > rows_a_hold ? i + rows_a_hold : s->n;

		pthread_rwlock_rdlock(&rows->shape);
		for (; i < stop; i++)
		{
			copy_match(rows, &s->candidates[i], &matches->items[i], id,
					   dimensions ? values + i * dimensions : NULL);
			id += matches->items[i].id_size;
		}
		pthread_rwlock_unlock(&rows->shape);
	}
	matches->count = s->n;
	matches->exact = s->exact;
	return VECTOR_OK;
}

vector_code
vector_search(vector_index *index, const vector_search_options *options,
			  vector_matches *matches, vector_status *status)
{
	const vector_index_options *of = &index->options;
	search		s = {.options = options};
	vector_code code;

	memset(matches, 0, sizeof(*matches));
	s.rows = vector_index_pin(index);
	s.most = options->k > UINT32_MAX - SLACK ? UINT32_MAX : options->k + SLACK;
	s.point = aligned_alloc(VECTOR_ALIGNMENT, s.rows->padded * sizeof(float) +
							VECTOR_ALIGNMENT);
	if (s.point)
	{
		vector_point_fill(of->metric, of->dimensions, options->query->values, s.point);
		find(&s);
	}
	code = s.point && !s.no_memory ? answer(&s, matches) : VECTOR_NO_MEMORY;
	vector_rows_release(s.rows);
	free(s.point);
	free(s.candidates);
	if (code != VECTOR_OK)
		return vector_fail(status, code, "out of memory");
	if (status)
		status->code = VECTOR_OK;
	return VECTOR_OK;
}

vector_code
vector_index_search(vector_index *index, const vector_query *query, size_t k,
					vector_matches *matches, vector_status *status)
{
	const vector_index_options *of = &index->options;
	vector_search_options options = {.query = query, .k = k, .exact = query->exact};
	vector_code code = vector_check(of->metric, of->dimensions, query->values,
									of->dimensions, status);

	if (code != VECTOR_OK)
		return code;
	return vector_search(index, &options, matches, status);
}

void
vector_matches_free(vector_matches *matches)
{
	free(matches->items);
	memset(matches, 0, sizeof(*matches));
}
