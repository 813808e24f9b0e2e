/*
 * vector_link.c - which rows are in the graph, and putting the others into it.
 *
 * Rows are linked in their order, by any number of threads at once, so that the rows
 * not linked yet are the last ones: a search reads those one by one.
 */
#include "vector_rows.h"

bool
vector_rows_make_graph(vector_rows *rows)
{
	bool		made = true;

	pthread_rwlock_wrlock(&rows->shape);
	if (rows->graph == NULL)
	{
		vector_graph_options options = {rows->distance, rows->padded, rows->row_size,
			rows->links_offset, rows->options.m, rows->options.ef_construction};
		vector_graph_rows grown = {rows->rows, rows->states, rows->twins, rows->capacity};
		vector_graph *graph = vector_graph_create(&options);

		made = graph && vector_graph_grow(graph, &grown);
		if (made)
			rows->graph = graph;
		else if (graph)
			vector_graph_destroy(graph);
	}
	pthread_rwlock_unlock(&rows->shape);
	return made;
}

/* Under shape and linking. */
static void
mark_linked(vector_rows *rows, uint32_t slot)
{
	uint32_t	n = atomic_load_explicit(&rows->n_linked, memory_order_relaxed);

	__atomic_or_fetch(&rows->states[slot], VECTOR_LINKED, __ATOMIC_RELEASE);
	while (n < rows->next_to_link && (vector_row_state(rows, n) & VECTOR_LINKED))
		n++;
	atomic_store(&rows->n_linked, n);
}

static bool
claim(vector_rows *rows, uint32_t *slot)
{
	uint32_t	n_rows = atomic_load(&rows->n_rows);
	bool		claimed = false;

	pthread_mutex_lock(&rows->linking);
	while (!claimed && rows->next_to_link < n_rows)
	{
		*slot = rows->next_to_link++;
		if (vector_row_state(rows, *slot) & VECTOR_TWIN)
			mark_linked(rows, *slot);
		else
			claimed = true;
	}
	if (claimed)
		rows->being_linked++;
	else
		pthread_cond_broadcast(&rows->linked_one);
	pthread_mutex_unlock(&rows->linking);
	return claimed;
}

static vector_link_step
link_claimed(vector_rows *rows, uint32_t slot)
{
	bool		linked = vector_graph_link(rows->graph, slot);

	pthread_mutex_lock(&rows->linking);
	if (linked)
		mark_linked(rows, slot);
	else
		atomic_store(&rows->broken, true);
	rows->being_linked--;
	pthread_cond_broadcast(&rows->linked_one);
	pthread_mutex_unlock(&rows->linking);
	return linked ? VECTOR_LINK_ONE : VECTOR_LINK_BROKEN;
}

vector_link_step
vector_rows_link(vector_rows *rows)
{
	vector_link_step step = VECTOR_LINK_NOTHING;
	uint32_t	slot;

	pthread_rwlock_rdlock(&rows->shape);
	if (rows->graph == NULL)
	{
		pthread_rwlock_unlock(&rows->shape);
		if (!vector_rows_make_graph(rows))
			return VECTOR_LINK_BROKEN;
		pthread_rwlock_rdlock(&rows->shape);
	}
	if (atomic_load(&rows->broken))
		step = VECTOR_LINK_BROKEN;
	else if (claim(rows, &slot))
		step = link_claimed(rows, slot);
	pthread_rwlock_unlock(&rows->shape);
	return step;
}

void
vector_rows_wait_linked(vector_rows *rows, uint32_t end)
{
	pthread_mutex_lock(&rows->linking);
	while (atomic_load(&rows->n_linked) < end && rows->being_linked > 0 &&
		   !atomic_load(&rows->broken))
		pthread_cond_wait(&rows->linked_one, &rows->linking);
	pthread_mutex_unlock(&rows->linking);
}
