/*
 * store_time.h - the clock by which keys expire.
 *
 * It runs by CLOCK_BOOTTIME, and is drawn towards the wall clock by at most 0.05 %. So
 * a step of the wall clock ends no lease early.
 *
 * It never passes its bound, which is on disk before it counts, with the instant at
 * which it was made by both clocks. After a restart on a machine that has run all the
 * while, time goes on from there, as fast as it may have gone: at or after all that was
 * ever shown, and no lease ends more than 0.1 % early. On another one it starts at the
 * later of the wall clock and the bound.
 *
 * Any thread reads; one thread draws and extends.
 */
#ifndef NORIKVD_ENGINE_STORE_TIME_H
#define NORIKVD_ENGINE_STORE_TIME_H

#include <stdatomic.h>

#include "engine.h"

#define STORE_TIME_BOUND_AHEAD_MS 10000
#define STORE_TIME_MAX_PPM 500

/* What is kept of it; all 0: nothing is. */
typedef struct store_time_mark
{
	uint64_t	bound_ms;
	uint64_t	store_ms;		/* when the bound was made */
	uint64_t	boot_ms;		/* the same instant, by CLOCK_BOOTTIME */
	uint64_t	run;			/* of the machine; 0: not known */
} store_time_mark;

typedef struct store_time
{
	engine_clock clock;
	/* store = base + (boot - boot_base) * (1 + ppm / 1,000,000), in nanoseconds */
	_Atomic uint64_t sequence;	/* odd: being changed */
	_Atomic uint64_t base_ns;
	_Atomic uint64_t boot_base_ns;
	_Atomic int64_t ppm;
	_Atomic uint64_t bound_ms;
} store_time;

/* The bound stays where it was stored: time stands still until it is extended. */
extern void store_time_start(store_time *self, const engine_clock *clock,
							 const store_time_mark *stored);
extern uint64_t store_time_now_ms(store_time *self);
/* How fast to go from here on. Often enough is once a second. */
extern void store_time_draw(store_time *self);
/* False: no need yet. Otherwise what to store, and then the bound to set. */
extern bool store_time_next_bound(store_time *self, store_time_mark *next);
extern void store_time_set_bound(store_time *self, uint64_t bound_ms);
/* Runs by CLOCK_BOOTTIME alone, for how long something lasted. */
extern uint64_t store_time_boot_ms(store_time *self);

#endif
