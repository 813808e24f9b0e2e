/*
 * store_time.h - the clock by which keys expire.
 *
 * It starts at the later of the wall clock and the bound the store kept, runs
 * by CLOCK_BOOTTIME, and is drawn towards the wall clock by at most 0.05 %. So a
 * step of the wall clock ends no lease early, and a restart revives nothing.
 *
 * It never passes its bound, which is on disk before it counts: after a crash
 * time goes on from a point at or after all that was ever shown.
 *
 * Any thread reads; one thread draws and extends.
 */
#ifndef NORIKVD_ENGINE_STORE_TIME_H
#define NORIKVD_ENGINE_STORE_TIME_H

#include <stdatomic.h>

#include "engine.h"

#define STORE_TIME_BOUND_AHEAD_MS 10000
#define STORE_TIME_MAX_PPM 500

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
							 uint64_t stored_bound_ms);
extern uint64_t store_time_now_ms(store_time *self);
/* How fast to go from here on. Often enough is once a second. */
extern void store_time_draw(store_time *self);
/* 0: no need yet. Otherwise the bound to store, and then to set. */
extern uint64_t store_time_next_bound(store_time *self);
extern void store_time_set_bound(store_time *self, uint64_t bound_ms);
/* Runs by CLOCK_BOOTTIME alone, for how long something lasted. */
extern uint64_t store_time_boot_ms(store_time *self);

#endif
