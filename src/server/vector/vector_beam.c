/*
 * vector_beam.c - the sorted array of a narrow beam, the heaps of a wide one.
 */
#include "vector_beam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* In a narrow beam: its links were followed, or it has none. */
#define FOLLOWED VECTOR_MAX_ROWS

static bool
make_room(vector_nears *nears, size_t needed)
{
	size_t		room = nears->room ? nears->room : 64;
	vector_near *grown;

	if (needed <= nears->room)
		return true;
	while (room < needed)
		room *= 2;
	grown = realloc(nears->items, room * sizeof(*grown));
	if (grown == NULL)
		return false;
	nears->items = grown;
	nears->room = room;
	return true;
}

/* ---- A heap, the least first ---- */

static bool
push(vector_nears *heap, vector_near added)
{
	size_t		at = heap->n;

	if (!make_room(heap, heap->n + 1))
		return false;
	heap->n++;
	for (size_t parent; at > 0; at = parent)
	{
		parent = (at - 1) / 2;
		if (heap->items[parent].distance <= added.distance)
			break;
		heap->items[at] = heap->items[parent];
	}
	heap->items[at] = added;
	return true;
}

/* To where no child is less, from the top, whose element is gone. */
static void
sink(vector_nears *heap, vector_near sinking)
{
	vector_near *items = heap->items;
	size_t		at = 0;

	for (size_t child; (child = 2 * at + 1) < heap->n; at = child)
	{
		if (child + 1 < heap->n && items[child + 1].distance < items[child].distance)
			child++;
		if (items[child].distance >= sinking.distance)
			break;
		items[at] = items[child];
	}
	items[at] = sinking;
}

static vector_near
pop(vector_nears *heap)
{
	vector_near first = heap->items[0];
	vector_near last = heap->items[--heap->n];

	if (heap->n > 0)
		sink(heap, last);
	return first;
}

/* ---- Narrow ---- */

/* Behind those that are as near. Without a branch on what is compared: which way it
 * goes cannot be foreseen. */
static size_t
place_of(const vector_nears *found, float distance)
{
	const vector_near *from = found->items;
	size_t		n = found->n;

	while (n > 0)
	{
		size_t		half = n / 2;

		from = from[half].distance <= distance ? from + (n - half) : from;
		n = half;
	}
	return (size_t) (from - found->items);
}

static void
skip_followed(vector_beam *beam)
{
	while (beam->next < beam->found.n &&
		   (beam->found.items[beam->next].slot & FOLLOWED) != 0)
		beam->next++;
}

/* There is room for one more than the beam is wide. */
static void
insert(vector_beam *beam, float distance, uint32_t slot, bool leads)
{
	vector_nears *found = &beam->found;
	size_t		place = place_of(found, distance);
	vector_near *at = &found->items[place];

	memmove(at + 1, at, (found->n - place) * sizeof(*at));
	*at = (vector_near) {distance, leads ? slot : slot | FOLLOWED};
	if (found->n < beam->width)
		found->n++;
	if (found->n == beam->width)
		beam->bound = found->items[found->n - 1].distance;
	if (place > beam->next)
		return;
	beam->next = place;
	skip_followed(beam);
}

static bool
next_narrow(vector_beam *beam, uint32_t *slot)
{
	const vector_near *dead = beam->open.n > 0 ? &beam->open.items[0] : NULL;
	vector_near *nearest = beam->next < beam->found.n ? &beam->found.items[beam->next]
		: NULL;

	if (dead && dead->distance <= beam->bound &&
		(nearest == NULL || dead->distance < nearest->distance))
	{
		*slot = pop(&beam->open).slot;
		return true;
	}
	if (nearest == NULL)
		return false;
	*slot = nearest->slot;
	nearest->slot |= FOLLOWED;
	skip_followed(beam);
	return true;
}

/* ---- Wide ---- */

static bool
add_wide(vector_beam *beam, float distance, uint32_t slot)
{
	vector_near added = {-distance, slot};

	if (beam->found.n == beam->width)
		sink(&beam->found, added);
	else if (!push(&beam->found, added))
		return false;
	if (beam->found.n == beam->width)
		beam->bound = -beam->found.items[0].distance;
	return true;
}

static bool
next_wide(vector_beam *beam, uint32_t *slot)
{
	if (beam->open.n == 0 || beam->open.items[0].distance > beam->bound)
		return false;
	*slot = pop(&beam->open).slot;
	return true;
}

/* ---- Both ---- */

bool
vector_beam_begin(vector_beam *beam, size_t width)
{
	beam->width = width;
	beam->bound = INFINITY;
	beam->narrow = width <= VECTOR_NARROW;
	beam->found.n = beam->open.n = beam->next = 0;
	return !beam->narrow || make_room(&beam->found, width + 1);
}

void
vector_beam_free(vector_beam *beam)
{
	free(beam->found.items);
	free(beam->open.items);
}

bool
vector_beam_add(vector_beam *beam, float distance, uint32_t slot, unsigned is)
{
	if ((is & VECTOR_LEADS) && !(beam->narrow && (is & VECTOR_FOUND)) &&
		!push(&beam->open, (vector_near) {distance, slot}))
		return false;
	if (!(is & VECTOR_FOUND))
		return true;
	if (!beam->narrow)
		return add_wide(beam, distance, slot);
	insert(beam, distance, slot, is & VECTOR_LEADS);
	return true;
}

bool
vector_beam_next(vector_beam *beam, uint32_t *slot)
{
	return beam->narrow ? next_narrow(beam, slot) : next_wide(beam, slot);
}

void
vector_beam_end(vector_beam *beam)
{
	for (size_t i = 0; i < beam->found.n; i++)
	{
		if (beam->narrow)
			beam->found.items[i].slot &= ~FOLLOWED;
		else
			beam->found.items[i].distance = -beam->found.items[i].distance;
	}
}
