/*
 * chance.c - which fault strikes, and when.
 */
#include "faults.h"

#include <stdlib.h>

typedef struct timer
{
	struct timer *next;
	gpr_timespec at;
	event		due;
} timer;

static timer *timers;

uint64_t
random_next(uint64_t *state)
{
	uint64_t	z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

bool
happens(fault_rate fault, uint64_t *state)
{
	return (random_next(state) >> 11) * 0x1.0p-53 < fault.rate;
}

gpr_timespec
after_ms(uint32_t ms)
{
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
						gpr_time_from_millis(ms, GPR_TIMESPAN));
}

void
timer_start(uint32_t ms, void (*handle) (void *of, bool ok), void *of)
{
	timer	   *added = calloc(1, sizeof(*added));
	timer	  **link = &timers;

	added->at = after_ms(ms);
	added->due = (event) {handle, of};
	while (*link != NULL && gpr_time_cmp((*link)->at, added->at) <= 0)
		link = &(*link)->next;
	added->next = *link;
	*link = added;
}

void
timers_fire(bool stopping)
{
	gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);

	while (timers != NULL && (stopping || gpr_time_cmp(timers->at, now) <= 0))
	{
		timer	   *fired = timers;

		timers = fired->next;
		fired->due.handle(fired->due.of, !stopping);
		free(fired);
	}
}

gpr_timespec
timers_next(void)
{
	gpr_timespec latest = after_ms(1000);

	return timers == NULL ? latest : gpr_time_min(timers->at, latest);
}
