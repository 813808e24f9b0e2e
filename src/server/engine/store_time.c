/*
 * store_time.c - a clock that runs evenly through steps and restarts.
 */
#include "store_time.h"

#include <time.h>

#define NS_PER_MS 1000000
#define NS_PER_S 1000000000
/* A difference is made good over this time, or as fast as the limit allows. */
#define DRAW_OVER_S 100

static uint64_t
system_clock_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t) now.tv_sec * NS_PER_S + (uint64_t) now.tv_nsec;
}

static uint64_t
system_wall_ns(void *arg)
{
	(void) arg;
	return system_clock_ns(CLOCK_REALTIME);
}

static uint64_t
system_boot_ns(void *arg)
{
	(void) arg;
	return system_clock_ns(CLOCK_BOOTTIME);
}

static const engine_clock system_clocks = {system_wall_ns, system_boot_ns, NULL};

static uint64_t
wall_ns(store_time *self)
{
	return self->clock.wall_ns(self->clock.arg);
}

static uint64_t
boot_ns(store_time *self)
{
	return self->clock.boot_ns(self->clock.arg);
}

/* Where the clock would be, had it no bound. */
static uint64_t
unbounded_ns(store_time *self, uint64_t boot)
{
	for (;;)
	{
		uint64_t	before = atomic_load(&self->sequence);
		uint64_t	base = atomic_load(&self->base_ns);
		uint64_t	boot_base = atomic_load(&self->boot_base_ns);
		int64_t		ppm = atomic_load(&self->ppm);
		uint64_t	passed;

		if ((before & 1) != 0 || atomic_load(&self->sequence) != before)
			continue;
		passed = boot > boot_base ? boot - boot_base : 0;
		/* Divided first: the product would overflow after half a year. */
		return base + passed + (uint64_t) ((int64_t) (passed / 1000000) * ppm);
	}
}

static void
set_pace(store_time *self, uint64_t base, uint64_t boot_base, int64_t ppm)
{
	atomic_fetch_add(&self->sequence, 1);
	atomic_store(&self->base_ns, base);
	atomic_store(&self->boot_base_ns, boot_base);
	atomic_store(&self->ppm, ppm);
	atomic_fetch_add(&self->sequence, 1);
}

void
store_time_start(store_time *self, const engine_clock *clock, uint64_t stored_bound_ms)
{
	uint64_t	wall;
	uint64_t	stored = stored_bound_ms * NS_PER_MS;

	self->clock = clock != NULL ? *clock : system_clocks;
	wall = wall_ns(self);
	atomic_init(&self->sequence, 0);
	atomic_init(&self->bound_ms, stored_bound_ms);
	set_pace(self, wall > stored ? wall : stored, boot_ns(self), 0);
}

uint64_t
store_time_now_ms(store_time *self)
{
	uint64_t	now = unbounded_ns(self, boot_ns(self)) / NS_PER_MS;
	uint64_t	bound = atomic_load(&self->bound_ms);

	return now < bound ? now : bound;
}

void
store_time_draw(store_time *self)
{
	uint64_t	boot = boot_ns(self);
	uint64_t	store = unbounded_ns(self, boot);
	int64_t		behind = (int64_t) (wall_ns(self) - store);
	int64_t		ppm = behind / (DRAW_OVER_S * (NS_PER_S / 1000000));

	if (ppm > STORE_TIME_MAX_PPM)
		ppm = STORE_TIME_MAX_PPM;
	if (ppm < -STORE_TIME_MAX_PPM)
		ppm = -STORE_TIME_MAX_PPM;
	set_pace(self, store, boot, ppm);
}

uint64_t
store_time_next_bound(store_time *self)
{
	uint64_t	now = unbounded_ns(self, boot_ns(self)) / NS_PER_MS;
	uint64_t	bound = atomic_load(&self->bound_ms);

	/* Half way, so that a slow disk does not stop the clock. */
	if (now + STORE_TIME_BOUND_AHEAD_MS / 2 < bound)
		return 0;
	return now + STORE_TIME_BOUND_AHEAD_MS;
}

void
store_time_set_bound(store_time *self, uint64_t bound_ms)
{
	atomic_store(&self->bound_ms, bound_ms);
}

uint64_t
store_time_boot_ms(store_time *self)
{
	return boot_ns(self) / NS_PER_MS;
}
