/*
 * timer.c - a binary heap of what is due when: backoffs, waits for a
 * connection, pages that do not come.
 */
#include "internal.h"

#include <stdlib.h>
#include <time.h>

nk_time
nk_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (nk_time) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

gpr_timespec
nk_timespec(nk_time time)
{
	gpr_timespec spec;

	if (time == NK_NEVER)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	spec.tv_sec = time / 1000000;
	spec.tv_nsec = (int32_t) (time % 1000000) * 1000;
	spec.clock_type = GPR_CLOCK_MONOTONIC;
	return spec;
}

static void
put_at(nk_timers *timers, size_t position, nk_timer *timer)
{
	timers->heap[position] = timer;
	timer->position = position;
}

static void
sift(nk_timers *timers, size_t position, nk_timer *timer)
{
	while (position > 1 && timers->heap[position / 2]->due > timer->due)
	{
		put_at(timers, position, timers->heap[position / 2]);
		position /= 2;
	}
	for (;;)
	{
		size_t		child = position * 2;

		if (child > timers->count)
			break;
		if (child < timers->count &&
			timers->heap[child + 1]->due < timers->heap[child]->due)
			child++;
		if (timers->heap[child]->due >= timer->due)
			break;
		put_at(timers, position, timers->heap[child]);
		position = child;
	}
	put_at(timers, position, timer);
}

bool
nk_timer_set(nk_timers *timers, nk_timer *timer, nk_time due)
{
	timer->due = due;
	if (timer->position == 0)
	{
		/* heap[0] stays empty, so that position 0 can mean "not set" */
		if (timers->count + 2 > timers->capacity)
		{
			size_t		capacity = timers->capacity ? timers->capacity * 2 : 16;
			nk_timer  **heap = realloc(timers->heap, capacity * sizeof(*heap));

			if (heap == NULL)
				return false;
			timers->heap = heap;
			timers->capacity = capacity;
		}
		timer->position = ++timers->count;
	}
	sift(timers, timer->position, timer);
	return true;
}

void
nk_timer_clear(nk_timers *timers, nk_timer *timer)
{
	size_t		position = timer->position;
	nk_timer   *last;

	if (position == 0)
		return;
	timer->position = 0;
	last = timers->heap[timers->count--];
	if (last != timer)
		sift(timers, position, last);
}

nk_timer *
nk_timers_first(const nk_timers *timers)
{
	return timers->count > 0 ? timers->heap[1] : NULL;
}

void
nk_timers_free(nk_timers *timers)
{
	free(timers->heap);
	timers->heap = NULL;
	timers->count = timers->capacity = 0;
}
