/*
 * store_time.c - a clock that runs evenly through steps and restarts.
 */
#include "store_time.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

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

/* A namespace may have moved the clock. */
static uint64_t
system_run(void)
{
	static const char *const names[] = {
		"/proc/sys/kernel/random/boot_id", "/proc/self/timens_offsets"
	};
	char		text[512];
	size_t		size = 0;
	uint64_t	run;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		int			file = open(names[i], O_RDONLY | O_CLOEXEC);
		ssize_t		n = file < 0 ? -1 : read(file, text + size, sizeof(text) / 2);

		if (file >= 0)
			close(file);
		/* kernels without namespaces of time have no such file */
		if (n <= 0 && i == 0)
			return 0;
		size += n > 0 ? (size_t) n : 0;
	}
	run = XXH3_64bits(text, size);
	return run != 0 ? run : 1;
}

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

/* Where time goes on, in milliseconds. */
static uint64_t
first_instant(store_time *self, const store_time_mark *stored)
{
	uint64_t	wall = wall_ns(self) / NS_PER_MS;
	uint64_t	boot = boot_ns(self) / NS_PER_MS;
	uint64_t	passed;

	if (stored->run == 0 || stored->run != self->clock.run || boot < stored->boot_ms)
		return wall > stored->bound_ms ? wall : stored->bound_ms;
	/* what was cut off of either instant, and of what passed */
	passed = boot - stored->boot_ms + 1;
	return stored->store_ms + passed + passed * STORE_TIME_MAX_PPM / 1000000 + 2;
}

void
store_time_start(store_time *self, const engine_clock *clock,
				 const store_time_mark *stored)
{
	if (clock != NULL)
		self->clock = *clock;
	else
		self->clock = (engine_clock) {system_wall_ns, system_boot_ns, NULL, system_run()};
	atomic_init(&self->sequence, 0);
	atomic_init(&self->bound_ms, stored->bound_ms);
	set_pace(self, first_instant(self, stored) * NS_PER_MS, boot_ns(self), 0);
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

bool
store_time_next_bound(store_time *self, store_time_mark *next)
{
	uint64_t	boot = boot_ns(self);
	uint64_t	now = unbounded_ns(self, boot) / NS_PER_MS;

	*next = (store_time_mark) {
		.bound_ms = now + STORE_TIME_BOUND_AHEAD_MS,
		.store_ms = now,
		.boot_ms = boot / NS_PER_MS,
		.run = self->clock.run,
	};
	/* Half way, so that a slow disk does not stop the clock. */
	return now + STORE_TIME_BOUND_AHEAD_MS / 2 >= atomic_load(&self->bound_ms);
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
