/*
 * vector_beam.h - what a search of one layer keeps: the nearest rows it has found, as
 * many as the beam is wide, and those whose links it has still to follow.
 *
 * A narrow beam is one sorted array, as in NSG (Fu et al., "Fast approximate nearest
 * neighbor search with the navigating spreading-out graph", 2019): what was found and
 * leads on is what is to be followed, so one insertion does for two heaps. A wide one,
 * in which an insertion would move too much, is the two heaps of HNSW.
 */
#ifndef NORIKVD_VECTOR_BEAM_H
#define NORIKVD_VECTOR_BEAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C"
{
#endif

/* Rows have numbers below this: a narrow beam marks them by the bit above. */
#define VECTOR_MAX_ROWS (UINT32_C(1) << 31)
/* Beams up to here are sorted: from about 2,000 on moving costs more than heaps do. */
#define VECTOR_NARROW 1024

typedef struct vector_near
{
	float		distance;
	uint32_t	slot;
} vector_near;

typedef struct vector_nears
{
	vector_near *items;
	size_t		n;
	size_t		room;
} vector_nears;

typedef struct vector_beam
{
	size_t		width;
	float		bound;			/* what is not nearer is of no use any more */
	bool		narrow;
	/* Narrow: the nearest first. Wide: a heap of negated distances. */
	vector_nears found;
	size_t		next;			/* narrow: the first of found to be followed, else n */
	vector_nears open;			/* a heap, of rows to be followed; narrow: the dead */
} vector_beam;

/* What a row is to the beam; it may be both. */
#define VECTOR_FOUND 1			/* alive: may be among the found */
#define VECTOR_LEADS 2			/* has links to follow */

/* The memory is kept from one search to the next. Width: 1 or more. False: there is
 * no memory. */
extern bool vector_beam_begin(vector_beam *beam, size_t width);
extern void vector_beam_free(vector_beam *beam);

static inline bool
vector_beam_wants(const vector_beam *beam, float distance)
{
	return distance < beam->bound;
}

/* A row that is wanted. False: there is no memory. */
extern bool vector_beam_add(vector_beam *beam, float distance, uint32_t slot,
							unsigned is);

/* The row to be followed next; false: no link leads to anything nearer. */
extern bool vector_beam_next(vector_beam *beam, uint32_t *slot);

/* The row that it would be, the dead apart; a guess, for fetching its links. */
static inline bool
vector_beam_guess(const vector_beam *beam, uint32_t *slot)
{
	const vector_nears *from = beam->narrow ? &beam->found : &beam->open;
	size_t		at = beam->narrow ? beam->next : 0;

	if (at >= from->n)
		return false;
	*slot = from->items[at].slot;
	return true;
}

/* After the last row was followed: makes found.items plain rows, in no order. */
extern void vector_beam_end(vector_beam *beam);

#ifdef __cplusplus
}
#endif

#endif
