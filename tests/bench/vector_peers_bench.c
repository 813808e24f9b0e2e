/*
 * vector_peers_bench.c - the peers of vector search, in one process that lives as long
 * as the comparison, so that each round can ask it again.
 *
 * A command a line comes in, a line of name=value goes out:
 *
 *   write DIRECTORY    vectors and queries, each query with its ten nearest, as files
 *                      for COPY (FORMAT binary)
 *   build PEER         hnswlib or faiss: a graph of all vectors, by all threads
 *   search PEER RECALL all queries, one after the other, with the narrowest beam that
 *                      reaches the recall
 *   exact              an exact search by faiss, the mean of 20
 *   read               reading the bytes of all vectors once, the mean of 20 times
 */
#include "bench.h"

#include "../server/support/vectors.h"
#include "faiss_peer.h"
#include "hnswlib_peer.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define K 10
#define CLUSTERS 200
#define M 16
#define EF_CONSTRUCTION 200
#define OID_TEXT 25
#define OID_REAL 700

static size_t n = 100000;
static uint32_t dimensions = 128;
static size_t n_queries = 1000;
static unsigned threads = 2;

static float *vectors;
static float *queries;
static uint32_t *truth;
static uint32_t *found;
static faiss_peer *flat;
static faiss_peer *faiss;
static hnswlib_peer *hnswlib;
static _Atomic size_t next_one;

static double
seconds_since(uint64_t began_at)
{
	return (double) (bench_now() - began_at) / 1e9;
}

/* ---- Files for COPY ---- */

static void
write_uint16(FILE *file, uint16_t value)
{
	value = htons(value);
	fwrite(&value, sizeof(value), 1, file);
}

static void
write_uint32(FILE *file, uint32_t value)
{
	value = htonl(value);
	fwrite(&value, sizeof(value), 1, file);
}

static FILE *
begin_copy(const char *directory, const char *name)
{
	static const char signature[11] = "PGCOPY\n\377\r\n";
	char		path[4096];
	FILE	   *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	if (file == NULL)
	{
		perror(path);
		exit(1);
	}
	fwrite(signature, sizeof(signature), 1, file);
	write_uint32(file, 0);
	write_uint32(file, 0);
	return file;
}

static void
end_copy(FILE *file)
{
	write_uint16(file, UINT16_MAX);
	if (fclose(file) != 0)
	{
		perror("COPY file");
		exit(1);
	}
}

static void
write_number(FILE *file, uint32_t number)
{
	char		text[16];
	int			size = snprintf(text, sizeof(text), "%u", number);

	write_uint32(file, (uint32_t) size);
	fwrite(text, (size_t) size, 1, file);
}

static void
write_array_head(FILE *file, uint32_t bytes, uint32_t type, uint32_t elements)
{
	const uint32_t head[] = {bytes + 20, 1, 0, type, elements, 1};

	for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++)
		write_uint32(file, head[i]);
}

static void
write_floats(FILE *file, const float *values)
{
	write_array_head(file, dimensions * 8, OID_REAL, dimensions);
	for (uint32_t i = 0; i < dimensions; i++)
	{
		uint32_t	bits;

		memcpy(&bits, &values[i], sizeof(bits));
		write_uint32(file, sizeof(bits));
		write_uint32(file, bits);
	}
}

static void
write_nearest(FILE *file, const uint32_t *numbers)
{
	uint32_t	bytes = 0;

	for (int i = 0; i < K; i++)
		bytes += 4 + (uint32_t) snprintf(NULL, 0, "%u", numbers[i]);
	write_array_head(file, bytes, OID_TEXT, K);
	for (int i = 0; i < K; i++)
		write_number(file, numbers[i]);
}

/* vectors (id text, embedding real[]); queries (n text, embedding real[], nearest text[]). */
static void
write_files(const char *directory)
{
	FILE	   *file = begin_copy(directory, "vectors");

	for (size_t i = 0; i < n; i++)
	{
		write_uint16(file, 2);
		write_number(file, (uint32_t) i);
		write_floats(file, vectors + i * dimensions);
	}
	end_copy(file);
	file = begin_copy(directory, "queries");
	for (size_t i = 0; i < n_queries; i++)
	{
		write_uint16(file, 3);
		write_number(file, (uint32_t) i);
		write_floats(file, queries + i * dimensions);
		write_nearest(file, truth + i * K);
	}
	end_copy(file);
	printf("vectors=%zu queries=%zu\n", n, n_queries);
}

/* ---- Building and searching ---- */

static void *
hnswlib_builds(void *arg)
{
	size_t		i;

	(void) arg;
	while ((i = atomic_fetch_add(&next_one, 1)) < n)
		hnswlib_peer_add(hnswlib, vectors + i * dimensions, i);
	return NULL;
}

static void
build_hnswlib(void)
{
	pthread_t	ids[64];

	hnswlib = hnswlib_peer_create(0, dimensions, n, M, EF_CONSTRUCTION);
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, hnswlib_builds, NULL);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
}

static void
build(bool with_faiss)
{
	uint64_t	began_at = bench_now();

	if (with_faiss)
	{
		faiss = faiss_peer_create(dimensions, M, EF_CONSTRUCTION);
		faiss_peer_add(faiss, vectors, n, threads);
	}
	else
		build_hnswlib();
	printf("per_second=%.0f\n", (double) n / seconds_since(began_at));
}

static double
search_all(bool with_faiss)
{
	uint64_t	began_at = bench_now();

	for (size_t i = 0; i < n_queries; i++)
	{
		const float *query = queries + i * dimensions;

		if (with_faiss)
			faiss_peer_search(faiss, query, 1, K, found + i * K, 1);
		else
			hnswlib_peer_search(hnswlib, query, K, found + i * K);
	}
	return (double) n_queries / seconds_since(began_at);
}

static double
recall(void)
{
	size_t		hits = 0;

	for (size_t i = 0; i < n_queries * K; i++)
		for (size_t j = i / K * K; j < (i / K + 1) * K; j++)
			hits += found[i] == truth[j];
	return (double) hits / (double) (n_queries * K);
}

static void
set_ef(bool with_faiss, size_t ef)
{
	if (with_faiss)
		faiss_peer_set_ef(faiss, ef);
	else
		hnswlib_peer_set_ef(hnswlib, ef);
}

/* The beam that was found for a peer is kept: later rounds measure, and nothing else. */
static void
search(bool with_faiss, double wanted)
{
	static const size_t efs[] = {10, 15, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 300,
		400, 600, 800};
	static size_t chosen[2];
	size_t	   *ef = &chosen[with_faiss];

	for (size_t i = 0; *ef == 0 && i < sizeof(efs) / sizeof(efs[0]); i++)
	{
		set_ef(with_faiss, efs[i]);
		search_all(with_faiss);
		if (recall() >= wanted)
			*ef = efs[i];
	}
	if (*ef == 0)
	{
		fprintf(stderr, "no beam reaches a recall of %g\n", wanted);
		exit(1);
	}
	set_ef(with_faiss, *ef);
	printf("per_second=%.0f", search_all(with_faiss));
	printf(" recall=%.4f ef=%zu\n", recall(), *ef);
}

/* ---- All of them ---- */

#define TIMES 20
#define HUGE_PAGE ((size_t) 2 << 20)

/* In huge pages, which is the best that memory can do. */
static float *
in_huge_pages(void)
{
	size_t		size = n * dimensions * sizeof(float);
	size_t		whole = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	float	   *copy = aligned_alloc(HUGE_PAGE, whole);

	madvise(copy, whole, MADV_HUGEPAGE);
	memcpy(copy, vectors, size);
	return copy;
}

/* With sums enough that memory, and not adding, is what takes the time. */
static void
read_all(void)
{
	typedef uint64_t words __attribute__((vector_size(64), may_alias));
	static float *copy;
	size_t		n_words = n * dimensions * sizeof(float) / sizeof(words);
	volatile uint64_t keep;
	uint64_t	began_at;

	if (copy == NULL)
		copy = in_huge_pages();
	began_at = bench_now();
	for (int time = 0; time < TIMES; time++)
	{
		const words *at = (const words *) copy;
		words		sums[4] = {{0}};

		for (size_t i = 0; i + 4 <= n_words; i += 4)
			for (int j = 0; j < 4; j++)
				sums[j] ^= at[i + j];
		sums[0] ^= sums[1] ^ sums[2] ^ sums[3];
		keep = sums[0][0];
	}
	(void) keep;
	printf("ms=%.3f\n", seconds_since(began_at) * 1e3 / TIMES);
}

static void
search_exactly(void)
{
	uint64_t	began_at = bench_now();

	for (size_t i = 0; i < TIMES; i++)
		faiss_peer_search(flat, queries + i * dimensions, 1, K, found, 1);
	printf("ms=%.3f\n", seconds_since(began_at) * 1e3 / TIMES);
}

/* ---- Commands ---- */

static void
obey(char *line)
{
	const char *command = strtok(line, " \n");
	const char *argument = strtok(NULL, " \n");
	const char *wanted = strtok(NULL, " \n");
	bool		with_faiss = argument && strcmp(argument, "faiss") == 0;

	if (command && argument && strcmp(command, "write") == 0)
		write_files(argument);
	else if (command && argument && strcmp(command, "build") == 0)
		build(with_faiss);
	else if (command && wanted && strcmp(command, "search") == 0)
		search(with_faiss, atof(wanted));
	else if (command && strcmp(command, "exact") == 0)
		search_exactly();
	else if (command && strcmp(command, "read") == 0)
		read_all();
	else
	{
		fprintf(stderr, "vector_peers_bench: what is that?\n");
		exit(2);
	}
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	char		line[4096];
	int			option;

	while ((option = getopt(argc, argv, "n:d:q:t:")) != -1)
	{
		switch (option)
		{
			case 'n': n = strtoul(optarg, NULL, 10); break;
			case 'd': dimensions = (uint32_t) atoi(optarg); break;
			case 'q': n_queries = strtoul(optarg, NULL, 10); break;
			case 't': threads = (unsigned) atoi(optarg); break;
			default:
				fprintf(stderr, "usage: vector_peers_bench [-n vectors] [-d dimensions]"
						" [-q queries] [-t threads]\n");
				return 2;
		}
	}
	vectors = vectors_clustered(1, 0, n, dimensions, CLUSTERS);
	queries = vectors_clustered(1, 1, n_queries, dimensions, CLUSTERS);
	truth = malloc(n_queries * K * sizeof(*truth));
	found = malloc(n_queries * K * sizeof(*found));
	flat = faiss_peer_create(dimensions, 0, 0);
	faiss_peer_add(flat, vectors, n, threads);
	faiss_peer_search(flat, queries, n_queries, K, truth, threads);
	while (fgets(line, sizeof(line), stdin))
		obey(line);
	return 0;
}
