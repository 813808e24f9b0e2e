/*
 * test_vector_beam.c - the beam of a search, narrow and wide, against a list that is
 * searched from end to end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/vectors.h"
#include "vector_beam.h"

#define MOST 6000

/* ---- The reference ---- */

typedef struct seen
{
	float		distance;
	uint32_t	slot;
	bool		found;			/* alive, and among the nearest */
	bool		open;			/* leads on, and was not followed */
} seen;

typedef struct model
{
	seen		rows[MOST];
	size_t		n;
	size_t		n_found;
	size_t		width;
} model;

static seen *
farthest_found(model *m)
{
	seen	   *farthest = NULL;

	for (size_t i = 0; i < m->n; i++)
		if (m->rows[i].found &&
			(farthest == NULL || m->rows[i].distance > farthest->distance))
			farthest = &m->rows[i];
	return farthest;
}

static bool
model_wants(model *m, float distance)
{
	return m->n_found < m->width || distance < farthest_found(m)->distance;
}

static void
model_add(model *m, float distance, uint32_t slot, unsigned is)
{
	if ((is & VECTOR_FOUND) && m->n_found == m->width)
		farthest_found(m)->found = false;
	else if (is & VECTOR_FOUND)
		m->n_found++;
	m->rows[m->n++] = (seen) {distance, slot, is & VECTOR_FOUND, is & VECTOR_LEADS};
}

static seen *
model_next(model *m)
{
	seen	   *nearest = NULL;

	for (size_t i = 0; i < m->n; i++)
		if (m->rows[i].open &&
			(nearest == NULL || m->rows[i].distance < nearest->distance))
			nearest = &m->rows[i];
	if (nearest == NULL || (m->n_found == m->width &&
							nearest->distance > farthest_found(m)->distance))
		return NULL;
	nearest->open = false;
	return nearest;
}

/* ---- Both side by side ---- */

/* Distances of all kinds: inner products are negative. All different, so that there is
 * one right order; a twin is as far as the row it follows, and no other. */
static float
some_distance(uint64_t *random, const model *m)
{
	for (;;)
	{
		float		distance = (float) (vectors_uniform(random) * 4 - 2);
		size_t		i = 0;

		while (i < m->n && m->rows[i].distance != distance)
			i++;
		if (i == m->n)
			return distance;
	}
}

static void
add_to_both(vector_beam *beam, model *m, float distance, unsigned is)
{
	assert_int_equal(vector_beam_wants(beam, distance), model_wants(m, distance));
	if (!model_wants(m, distance))
		return;
	assert_true(vector_beam_add(beam, distance, (uint32_t) m->n, is));
	model_add(m, distance, (uint32_t) m->n, is);
}

/* A row, alive or dead, and sometimes twins of it. */
static void
add_some(vector_beam *beam, model *m, uint64_t *random)
{
	float		distance = some_distance(random, m);
	bool		alive = vectors_random(random) % 4 != 0;

	add_to_both(beam, m, distance, alive ? VECTOR_LEADS | VECTOR_FOUND : VECTOR_LEADS);
	while (vectors_random(random) % 8 == 0)
		add_to_both(beam, m, distance, VECTOR_FOUND);
}

static int
by_distance(const void *a, const void *b)
{
	const vector_near *x = a;
	const vector_near *y = b;

	return x->distance != y->distance ? (x->distance < y->distance ? -1 : 1) : 0;
}

/* The same distances; of twins either may have been kept. */
static void
assert_same_found(const vector_beam *beam, const model *m)
{
	vector_near *expected = malloc((m->n_found + 1) * sizeof(*expected));
	vector_near *got = malloc((m->n_found + 1) * sizeof(*got));
	size_t		n = 0;

	for (size_t i = 0; i < m->n; i++)
		if (m->rows[i].found)
			expected[n++] = (vector_near) {m->rows[i].distance, m->rows[i].slot};
	assert_int_equal(n, m->n_found);
	assert_int_equal(beam->found.n, n);
	if (n > 0)
		memcpy(got, beam->found.items, n * sizeof(*got));
	qsort(expected, n, sizeof(*expected), by_distance);
	qsort(got, n, sizeof(*got), by_distance);
	for (size_t i = 0; i < n; i++)
	{
		assert_true(got[i].distance == expected[i].distance);
		assert_true(got[i].slot < m->n);
		assert_true(m->rows[got[i].slot].distance == got[i].distance);
		assert_true(m->rows[got[i].slot].slot == got[i].slot);
	}
	free(expected);
	free(got);
}

/* The search of a graph that is made up as it goes. */
static void
search(vector_beam *beam, model *m, size_t width, size_t rows, uint64_t *random)
{
	uint32_t	slot;
	seen	   *expected;

	m->n = m->n_found = 0;
	m->width = width;
	assert_true(vector_beam_begin(beam, width));
	add_some(beam, m, random);
	while ((expected = model_next(m)) != NULL)
	{
		assert_true(vector_beam_next(beam, &slot));
		assert_int_equal(slot, expected->slot);
		for (size_t i = vectors_random(random) % 8; i > 0 && m->n < rows; i--)
			add_some(beam, m, random);
	}
	assert_false(vector_beam_next(beam, &slot));
	vector_beam_end(beam);
	assert_same_found(beam, m);
}

/* One beam for all: what is left of a search must not be seen in the next. */
static void
follows_and_finds_what_is_nearest(void **state)
{
	static const size_t widths[] = {1, 2, 3, 10, 40, 100, 400};
	vector_beam beam = {0};
	model	   *m = malloc(sizeof(*m));
	uint64_t	random = 1;

	(void) state;
	for (int round = 0; round < 20; round++)
		for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
			search(&beam, m, widths[i], 40 + widths[i] * 2, &random);
	search(&beam, m, VECTOR_NARROW, MOST / 2, &random);
	search(&beam, m, VECTOR_NARROW + 1, MOST / 2, &random);
	search(&beam, m, 5, 100, &random);
	vector_beam_free(&beam);
	free(m);
}

/* More of one distance than the beam is wide; all marks are gone at the end. */
static void
ties_and_the_largest_number(void **state)
{
	static const size_t widths[] = {4, VECTOR_NARROW + 4};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		vector_beam beam = {0};
		uint32_t	slot;

		assert_true(vector_beam_begin(&beam, widths[i]));
		for (uint32_t j = 0; j < widths[i]; j++)
		{
			assert_true(vector_beam_wants(&beam, 1));
			assert_true(vector_beam_add(&beam, 1, VECTOR_MAX_ROWS - 1 - j,
										VECTOR_FOUND | VECTOR_LEADS));
		}
		assert_false(vector_beam_wants(&beam, 1));
		for (uint32_t j = 0; j < widths[i]; j++)
			assert_true(vector_beam_next(&beam, &slot));
		assert_false(vector_beam_next(&beam, &slot));
		vector_beam_end(&beam);
		for (uint32_t j = 0; j < widths[i]; j++)
		{
			assert_true(beam.found.items[j].slot < VECTOR_MAX_ROWS);
			assert_true(beam.found.items[j].distance == 1);
		}
		vector_beam_free(&beam);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_and_finds_what_is_nearest),
		cmocka_unit_test(ties_and_the_largest_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
