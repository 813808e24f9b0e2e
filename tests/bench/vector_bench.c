/*
 * vector_bench.c - norikvd's vector index against hnswlib in one process: building with
 * as many threads, searching at the same recall, reading all vectors against memory
 * alone, and loading a snapshot.
 *
 * Prints one JSON object. Both sides see the same vectors and queries; recall is
 * measured against a brute-force search in double precision.
 */
#include "bench.h"

#include "../server/support/vectors.h"
#include "hnswlib_peer.h"
#include "vector_index.h"

#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define K 10
#define CLUSTERS 200
#define MOST_EFS 16

static size_t n = 100000;
static uint32_t dimensions = 128;
static unsigned threads = 2;
static unsigned m = 16;
static unsigned ef_construction = 200;
static size_t n_queries = 1000;
static double wanted_recall = 0.98;
static bool only_search;

static float *vectors;
static float *queries;
static uint32_t *truth;
static vector_index *index_;
static hnswlib_peer *peer;
static _Atomic size_t next_one;
static _Atomic size_t hits;
static _Atomic uint64_t cpu_ns;
static uint32_t ef;

static double
seconds_since(uint64_t began_at)
{
	return (bench_now() - began_at) / 1e9;
}

/* Processor time of this thread: unlike the clock it does not count who else runs. */
static uint64_t
thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

/* Seconds that so many threads take for body. */
static double
run(void *(*body) (void *), unsigned n_threads)
{
	pthread_t	ids[64];
	uint64_t	began_at = bench_now();

	atomic_store(&next_one, 0);
	atomic_store(&hits, 0);
	atomic_store(&cpu_ns, 0);
	for (unsigned i = 0; i < n_threads; i++)
		pthread_create(&ids[i], NULL, body, NULL);
	for (unsigned i = 0; i < n_threads; i++)
		pthread_join(ids[i], NULL);
	return seconds_since(began_at);
}

static void *
peer_builds(void *arg)
{
	size_t		i;

	(void) arg;
	while ((i = atomic_fetch_add(&next_one, 1)) < n)
		hnswlib_peer_add(peer, vectors + i * dimensions, i);
	return NULL;
}

static uint32_t
number_of(const vector_match *match)
{
	uint32_t	number;

	memcpy(&number, match->id, sizeof(number));
	return number;
}

static bool
is_true(size_t query, uint32_t number)
{
	for (int i = 0; i < K; i++)
		if (truth[query * K + i] == number)
			return true;
	return false;
}

static void *
index_searches(void *arg)
{
	size_t		i;
	size_t		found = 0;
	uint64_t	began_at = thread_ns();

	(void) arg;
	while ((i = atomic_fetch_add(&next_one, 1)) < n_queries)
	{
		vector_query query = {.values = queries + i * dimensions, .ef = ef};
		vector_matches matches;

		vector_index_search(index_, &query, K, &matches, NULL);
		for (size_t j = 0; j < matches.count; j++)
			found += is_true(i, number_of(&matches.items[j]));
		vector_matches_free(&matches);
	}
	atomic_fetch_add(&hits, found);
	atomic_fetch_add(&cpu_ns, thread_ns() - began_at);
	return NULL;
}

static void *
peer_searches(void *arg)
{
	size_t		i;
	size_t		found = 0;
	uint64_t	began_at = thread_ns();

	(void) arg;
	while ((i = atomic_fetch_add(&next_one, 1)) < n_queries)
	{
		uint32_t	labels[K];
		size_t		n_found = hnswlib_peer_search(peer, queries + i * dimensions, K, labels);

		for (size_t j = 0; j < n_found; j++)
			found += is_true(i, labels[j]);
	}
	atomic_fetch_add(&hits, found);
	atomic_fetch_add(&cpu_ns, thread_ns() - began_at);
	return NULL;
}

static double cpu_us;			/* of one query, at best */

/* The best of three: queries per second; *recall and cpu_us are measured too. */
static double
rate(void *(*body) (void *), unsigned n_threads, double *recall)
{
	double		best = 0;

	cpu_us = 1e9;
	for (int i = 0; i < 3; i++)
	{
		double		per_second = n_queries / run(body, n_threads);
		double		us = atomic_load(&cpu_ns) / 1e3 / n_queries;

		cpu_us = us < cpu_us ? us : cpu_us;

		best = per_second > best ? per_second : best;
	}
	*recall = (double) atomic_load(&hits) / (n_queries * K);
	return best;
}

static const uint32_t efs[MOST_EFS] = {10, 15, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200,
	300, 400, 600, 800};

/* Both at the narrowest beam that reaches the recall. */
static void
bench_search(void)
{
	double		recall = 0;
	double		one = 0;
	double		all;

	for (int i = 0; i < MOST_EFS && recall < wanted_recall; i++)
	{
		ef = efs[i];
		one = rate(index_searches, 1, &recall);
	}
	printf(", \"index_cpu_us\": %.1f", cpu_us);
	all = rate(index_searches, threads, &recall);
	printf(", \"index_ef\": %u, \"index_recall\": %.4f, \"index_qps\": %.0f,"
		   " \"index_qps_threads\": %.0f", ef, recall, one, all);
	ef = 0;
	one = rate(index_searches, 1, &recall);
	printf(", \"default_recall\": %.4f, \"default_qps\": %.0f", recall, one);
	ef = 400;
	one = rate(index_searches, 1, &recall);
	printf(", \"wide_recall\": %.4f, \"wide_qps\": %.0f", recall, one);
	recall = 0;
	for (int i = 0; peer && i < MOST_EFS && recall < wanted_recall; i++)
	{
		ef = efs[i];
		hnswlib_peer_set_ef(peer, ef);
		one = rate(peer_searches, 1, &recall);
	}
	if (peer == NULL)
		return;
	printf(", \"hnswlib_cpu_us\": %.1f", cpu_us);
	all = rate(peer_searches, threads, &recall);
	printf(", \"hnswlib_ef\": %u, \"hnswlib_recall\": %.4f, \"hnswlib_qps\": %.0f,"
		   " \"hnswlib_qps_threads\": %.0f", ef, recall, one, all);
}

static void
put_all(void)
{
	for (size_t i = 0; i < n; i++)
	{
		uint32_t	number = (uint32_t) i;

		if (vector_index_put(index_, (const char *) &number, sizeof(number),
							 (vector_version) {1, i + 1}, vectors + i * dimensions,
							 NULL) != VECTOR_OK)
			abort();
	}
}

static void
bench_build(vector_workers *workers)
{
	vector_index_options options = {VECTOR_EUCLIDEAN, VECTOR_HNSW, dimensions,
		.workers = workers, .m = m, .ef_construction = ef_construction};
	vector_index_stats stats;
	uint64_t	began_at;
	double		index_seconds;
	double		put_seconds;

	if (!only_search)
	{
		double		peer_seconds;

		peer = hnswlib_peer_create(0, dimensions, n, m, ef_construction);
		peer_seconds = run(peer_builds, threads);
		printf(", \"hnswlib_build_per_second\": %.0f", n / peer_seconds);
	}
	/* Every put returns at once, the workers link: threads of them, as hnswlib has. */
	options.max_unlinked = UINT32_MAX;
	index_ = vector_index_create(&options, NULL);
	began_at = bench_now();
	put_all();
	put_seconds = seconds_since(began_at);
	while (vector_index_stats_of(index_, &stats), stats.unlinked > 0)
		usleep(1000);
	index_seconds = seconds_since(began_at);
	printf(", \"index_build_per_second\": %.0f, \"index_put_per_second\": %.0f,"
		   " \"index_bytes\": %lu", n / index_seconds, n / put_seconds,
		   (unsigned long) stats.bytes);
}

/* Reads the vectors' bytes once, as fast as a plain loop of sums does. */
static double
read_once(const float *bytes, size_t size)
{
	typedef uint64_t words __attribute__((vector_size(64), aligned(16), may_alias));
	const words *at = (const words *) bytes;
	words		sums[4] = {{0}};
	uint64_t	began_at = bench_now();
	volatile uint64_t keep;

	for (size_t i = 0; i + 4 <= size / sizeof(words); i += 4)
		for (int j = 0; j < 4; j++)
			sums[j] ^= at[i + j];
	sums[0] ^= sums[1] ^ sums[2] ^ sums[3];
	keep = sums[0][0];
	(void) keep;
	return seconds_since(began_at);
}

/* Between two runs the caches are filled with something else. */
static void
spoil_caches(void)
{
	static float *other;
	size_t		size = (size_t) 512 << 20;

	if (other == NULL)
	{
		other = malloc(size);
		memset(other, 1, size);
	}
	read_once(other, size);
}

static void
bench_exact(void)
{
	size_t		size = n * dimensions * sizeof(float);
	double		exact = 1e9;
	double		memory = 1e9;

	for (int i = 0; i < 7; i++)
	{
		vector_query query = {.values = queries, .exact = true};
		vector_matches matches;
		double		seconds;
		uint64_t	began_at;

		spoil_caches();
		seconds = read_once(vectors, size);
		memory = seconds < memory ? seconds : memory;
		spoil_caches();
		began_at = bench_now();
		vector_index_search(index_, &query, K, &matches, NULL);
		seconds = seconds_since(began_at);
		exact = seconds < exact ? seconds : exact;
		vector_matches_free(&matches);
	}
	printf(", \"exact_ms\": %.3f, \"memory_ms\": %.3f", exact * 1e3, memory * 1e3);
}

static void
bench_snapshot(vector_workers *workers)
{
	char		path[] = "/tmp/vector_bench.XXXXXX";
	vector_index_options options = *vector_index_options_of(index_);
	vector_version position;
	vector_query query = {.values = queries};
	vector_matches matches;
	uint64_t	began_at = bench_now();
	vector_status status;
	double		save;

	options.workers = workers;
	close(mkstemp(path));
	if (vector_index_save(index_, path, (vector_version) {1, n}, &status) != VECTOR_OK)
		abort();
	save = seconds_since(began_at);
	vector_index_destroy(index_);
	began_at = bench_now();
	index_ = vector_index_load(path, &options, &position, &status);
	if (index_ == NULL)
		abort();
	vector_index_search(index_, &query, K, &matches, NULL);
	printf(", \"save_seconds\": %.3f, \"load_seconds\": %.3f", save,
		   seconds_since(began_at));
	vector_matches_free(&matches);
	unlink(path);
}

int
main(int argc, char **argv)
{
	vector_workers *workers;
	int			option;

	while ((option = getopt(argc, argv, "n:d:t:m:c:q:r:o")) != -1)
	{
		switch (option)
		{
			case 'n': n = strtoul(optarg, NULL, 10); break;
			case 'd': dimensions = (uint32_t) atoi(optarg); break;
			case 't': threads = (unsigned) atoi(optarg); break;
			case 'm': m = (unsigned) atoi(optarg); break;
			case 'c': ef_construction = (unsigned) atoi(optarg); break;
			case 'q': n_queries = strtoul(optarg, NULL, 10); break;
			case 'r': wanted_recall = atof(optarg); break;
			case 'o': only_search = true; break;
			default:
				fprintf(stderr, "usage: vector_bench [-n vectors] [-d dimensions]"
						" [-t threads] [-m m] [-c ef_construction] [-q queries]"
						" [-r recall] [-o]\n");
				return 2;
		}
	}
	vectors = vectors_clustered(1, 0, n, dimensions, CLUSTERS);
	queries = vectors_clustered(1, 1, n_queries, dimensions, CLUSTERS);
	truth = malloc(n_queries * K * sizeof(*truth));
	for (size_t i = 0; i < n_queries; i++)
		vectors_nearest(1, queries + i * dimensions, vectors, n, dimensions, K,
						truth + i * K);
	printf("{\"kernel\": \"%s\"", vector_kernel_name());
	workers = vector_workers_start(threads);
	bench_build(workers);
	bench_search();
	bench_exact();
	bench_snapshot(workers);
	printf("}\n");
	vector_index_destroy(index_);
	vector_workers_stop(workers);
	if (peer)
		hnswlib_peer_destroy(peer);
	return 0;
}
