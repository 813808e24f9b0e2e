/*
 * bench.h - what the load generators share: the clock, keys and values, latencies
 * and the line of figures that each of them prints.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_KEY_SIZE 16

typedef struct bench_run
{
	uint32_t   *latencies;		/* ns */
	size_t		n_latencies;
	size_t		max_latencies;
	uint64_t	errors;
	uint64_t	started_at;		/* ns; what ends before is warming up */
	uint64_t	ends_at;
	uint64_t	random;
} bench_run;

static inline uint64_t
bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void
bench_start(bench_run *bench, double warm_up, double seconds)
{
	memset(bench, 0, sizeof(*bench));
	bench->max_latencies = 1 << 20;
	bench->latencies = malloc(bench->max_latencies * sizeof(*bench->latencies));
	bench->started_at = bench_now() + (uint64_t) (warm_up * 1e9);
	bench->ends_at = bench->started_at + (uint64_t) (seconds * 1e9);
}

/* One operation that began then has ended now. */
static inline void
bench_ended(bench_run *bench, uint64_t began_at, uint64_t ended_at, bool ok)
{
	uint64_t	latency = ended_at - began_at;

	if (!ok)
		bench->errors++;
	if (ended_at < bench->started_at || ended_at > bench->ends_at)
		return;
	if (bench->n_latencies == bench->max_latencies)
	{
		bench->max_latencies *= 2;
		bench->latencies = realloc(bench->latencies,
								   bench->max_latencies * sizeof(*bench->latencies));
	}
	bench->latencies[bench->n_latencies++] = latency < UINT32_MAX ? latency : UINT32_MAX;
}

/* A key out of n, all of BENCH_KEY_SIZE bytes. */
static inline void
bench_key(char *key, uint64_t number)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = BENCH_KEY_SIZE - 1; i >= 0; i--, number >>= 4)
		key[i] = digits[number & 15];
	memcpy(key, "bench:", 6);
}

static inline uint64_t
bench_random(bench_run *bench, uint64_t below)
{
	bench->random = bench->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (bench->random >> 33) % below;
}

static int
bench_compare(const void *a, const void *b)
{
	uint32_t	left = *(const uint32_t *) a;
	uint32_t	right = *(const uint32_t *) b;

	return (left > right) - (left < right);
}

/*
 * key=value pairs on one line. Each operation may stand for several items, as a
 * batch does. The exit status: 1 where nothing was measured or anything failed.
 */
static inline int
bench_report(bench_run *bench, uint64_t items)
{
	size_t		n = bench->n_latencies;
	double		seconds = (bench->ends_at - bench->started_at) / 1e9;
	double		total_ns = 0;
	const uint32_t *sorted = bench->latencies;

	if (n == 0)
	{
		fprintf(stderr, "nothing was measured; errors: %lu\n", bench->errors);
		return 1;
	}
	qsort(bench->latencies, n, sizeof(*bench->latencies), bench_compare);
	for (size_t i = 0; i < n; i++)
		total_ns += sorted[i];
	printf("operations=%zu errors=%lu per_second=%.0f mean_us=%.2f p50_us=%.2f"
		   " p90_us=%.2f p99_us=%.2f max_us=%.2f item_us=%.4f\n",
		   n, bench->errors, n * items / seconds, total_ns / n / 1e3, sorted[n / 2] / 1e3,
		   sorted[n * 9 / 10] / 1e3, sorted[n * 99 / 100] / 1e3, sorted[n - 1] / 1e3,
		   total_ns / n / 1e3 / items);
	free(bench->latencies);
	return bench->errors == 0 ? 0 : 1;
}

/* Text, as SQL reads it, that compresses little, so that no store gains by that. */
static inline char *
bench_value(size_t size)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char	   *value = malloc(size + 1);
	uint64_t	state = 88172645463325252;

	for (size_t i = 0; i < size; i++)
	{
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		value[i] = letters[state & 63];
	}
	return value;
}

#endif
