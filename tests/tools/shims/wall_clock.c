/*
 * wall_clock.c - preloaded: a machine whose wall clock is off by
 * NORIKV_WALL_CLOCK_OFFSET seconds. Other clocks go on as they are.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

#define REAL(name) \
	static __typeof__(&name) real; \
	if (real == NULL) \
		real = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

static time_t
offset(void)
{
	static time_t seconds;
	static int	known;

	if (!known)
	{
		const char *given = getenv("NORIKV_WALL_CLOCK_OFFSET");

		seconds = given != NULL ? atol(given) : 0;
		known = 1;
	}
	return seconds;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	REAL(clock_gettime);
	int			result = real(clock, now);

	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		now->tv_sec += offset();
	return result;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	REAL(gettimeofday);
	int			result = real(now, zone);

	now->tv_sec += offset();
	return result;
}

time_t
time(time_t *into)
{
	REAL(time);
	time_t		now = real(NULL) + offset();

	if (into != NULL)
		*into = now;
	return now;
}
