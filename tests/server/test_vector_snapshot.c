/*
 * Snapshots: what was saved comes back, also out of the middle of changes; and a file
 * that is torn or corrupt is refused, wherever it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/vectors.h"
#include "vector_index.h"
#include "vector_snapshot.h"

#define WIDTH 8

static char directory[] = "/tmp/norikv-vectors.XXXXXX";
static char path[64];
static vector_workers *workers;

static int
make_directory(void **state)
{
	(void) state;
	workers = vector_workers_start(2);
	if (workers == NULL || mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/index", directory);
	return 0;
}

static int
remove_directory(void **state)
{
	(void) state;
	vector_workers_stop(workers);
	unlink(path);
	return rmdir(directory);
}

static vector_index_options
options_of(vector_metric metric, vector_index_type type)
{
	return (vector_index_options) {metric, type, WIDTH, .workers = workers};
}

static void
put(vector_index *index, uint32_t number, uint64_t version, const float *values)
{
	assert_int_equal(vector_index_put(index, (const char *) &number, sizeof(number),
									  (vector_version) {1, version}, values, NULL),
					 VECTOR_OK);
}

/* Every seventh is dead, every third a twin of the first. */
static vector_index *
filled(const vector_index_options *options, const float *vectors, uint32_t n)
{
	vector_index *index = vector_index_create(options, NULL);

	assert_non_null(index);
	for (uint32_t i = 0; i < n; i++)
		put(index, i, i + 1, vectors + (i % 3 ? i * WIDTH : 0));
	for (uint32_t i = 0; i < n; i += 7)
		assert_true(vector_index_delete(index, (const char *) &i, sizeof(i)));
	assert_int_equal(vector_index_settle(index, false), VECTOR_OK);
	return index;
}

static void
assert_same_matches(vector_index *a, vector_index *b, const float *values, size_t k)
{
	vector_query query = {.values = values};
	vector_matches x;
	vector_matches y;

	assert_int_equal(vector_index_search(a, &query, k, &x, NULL), VECTOR_OK);
	assert_int_equal(vector_index_search(b, &query, k, &y, NULL), VECTOR_OK);
	assert_int_equal(x.count, y.count);
	assert_int_equal(x.exact, y.exact);
	for (size_t i = 0; i < x.count; i++)
	{
		assert_true(x.items[i].distance == y.items[i].distance);
		assert_int_equal(x.items[i].id_size, y.items[i].id_size);
	}
	vector_matches_free(&x);
	vector_matches_free(&y);
}

static void
what_was_saved_comes_back(void **state)
{
	uint32_t	n = 14000;
	float	   *vectors = vectors_clustered(11, 0, n, WIDTH, 30);

	(void) state;
	for (int type = 1; type <= 2; type++)
		for (int metric = 1; metric <= 2; metric++)
		{
			vector_index_options options = options_of((vector_metric) metric,
													  (vector_index_type) type);
			vector_index *index = filled(&options, vectors, n);
			vector_index *loaded;
			vector_version position = {0, 0};
			vector_index_stats stats;
			float		values[WIDTH];
			vector_version version;
			uint32_t	id = 4;

			assert_int_equal(vector_index_save(index, path, (vector_version) {2, 9}, NULL),
							 VECTOR_OK);
			loaded = vector_index_load(path, &options, &position, NULL);
			assert_non_null(loaded);
			assert_int_equal(position.term, 2);
			assert_int_equal(position.index, 9);
			vector_index_stats_of(loaded, &stats);
			assert_int_equal(stats.count, n - (n + 6) / 7);
			assert_int_equal(stats.unlinked, 0);
			assert_true(vector_index_get(loaded, (const char *) &id, sizeof(id), &version,
										 values));
			assert_memory_equal(values, vectors + id * WIDTH, sizeof(values));
			assert_int_equal(version.index, id + 1);
			id = 7;
			assert_false(vector_index_get(loaded, (const char *) &id, sizeof(id), NULL,
										  NULL));
			for (uint32_t q = 0; q < 50; q++)
				assert_same_matches(index, loaded, vectors + q * WIDTH, 10);
			assert_same_matches(index, loaded, vectors, n);

			/* And it goes on as an index does. */
			for (uint32_t i = 0; i < 2000; i++)
				put(loaded, n + i, n + i + 1, vectors + i * WIDTH);
			assert_int_equal(vector_index_settle(loaded, true), VECTOR_OK);
			vector_index_stats_of(loaded, &stats);
			assert_int_equal(stats.count, n - (n + 6) / 7 + 2000);
			vector_index_destroy(index);
			vector_index_destroy(loaded);
		}
	free(vectors);
}

static char *
read_file(size_t *size)
{
	struct stat stat;
	int			fd = open(path, O_RDONLY);
	char	   *bytes;

	assert_true(fd >= 0 && fstat(fd, &stat) == 0);
	*size = (size_t) stat.st_size;
	bytes = malloc(*size);
	assert_int_equal(read(fd, bytes, *size), *size);
	close(fd);
	return bytes;
}

static void
write_file(const char *bytes, size_t size)
{
	int			fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	close(fd);
}

static void
assert_refused(const vector_index_options *options)
{
	vector_version position;
	vector_status status = {VECTOR_OK};

	assert_null(vector_index_load(path, options, &position, &status));
	assert_int_equal(status.code, VECTOR_REFUSED);
	assert_non_null(strstr(status.text, path));
}

static void
torn_files_are_refused(void **state)
{
	vector_index_options options = options_of(VECTOR_COSINE, VECTOR_HNSW);
	float	   *vectors = vectors_clustered(12, 0, 6000, WIDTH, 30);
	vector_index *index = filled(&options, vectors, 6000);
	size_t		size;
	char	   *bytes;
	uint64_t	random = 1;

	(void) state;
	assert_int_equal(vector_index_save(index, path, (vector_version) {1, 1}, NULL),
					 VECTOR_OK);
	bytes = read_file(&size);
	for (int i = 0; i < 60; i++)
	{
		write_file(bytes, i < 20 ? size - 1 - (size_t) i : vectors_random(&random) % size);
		assert_refused(&options);
	}
	/* One bit anywhere, headers of blocks included. */
	for (int i = 0; i < 120; i++)
	{
		size_t		at = i < 80 ? (size_t) i : vectors_random(&random) % size;

		bytes[at] ^= (char) (1 << i % 8);
		write_file(bytes, size);
		assert_refused(&options);
		bytes[at] ^= (char) (1 << i % 8);
	}
	/* More than there was. */
	bytes = realloc(bytes, size + 1);
	bytes[size] = 0;
	write_file(bytes, size + 1);
	assert_refused(&options);
	write_file("", 0);
	assert_refused(&options);
	free(bytes);
	vector_index_destroy(index);
	free(vectors);
}

static void
other_indexes_are_refused(void **state)
{
	vector_index_options options = options_of(VECTOR_COSINE, VECTOR_HNSW);
	vector_index *index = vector_index_create(&options, NULL);
	float		values[WIDTH] = {1};
	vector_version position;
	vector_status status;

	(void) state;
	put(index, 1, 1, values);
	assert_int_equal(vector_index_save(index, path, (vector_version) {1, 1}, NULL),
					 VECTOR_OK);
	options.metric = VECTOR_EUCLIDEAN;
	assert_refused(&options);
	options = options_of(VECTOR_COSINE, VECTOR_BRUTE_FORCE);
	assert_refused(&options);
	options = options_of(VECTOR_COSINE, VECTOR_HNSW);
	options.dimensions = WIDTH - 1;
	assert_refused(&options);
	options.dimensions = WIDTH;
	options.m = 8;
	assert_refused(&options);
	unlink(path);
	assert_null(vector_index_load(path, &options, &position, &status));
	assert_int_equal(status.code, VECTOR_IO);
	assert_int_equal(vector_index_save(index, "/nowhere/at/all", (vector_version) {1, 1},
									   &status), VECTOR_IO);
	vector_index_destroy(index);
}

/* Right checksums over wrong numbers: a defect's file, not a disk's. */
static void
nonsense_is_refused(void **state)
{
	vector_index_options options = options_of(VECTOR_EUCLIDEAN, VECTOR_HNSW);
	float	   *vectors = vectors_clustered(13, 0, 6000, WIDTH, 30);
	vector_index *index = filled(&options, vectors, 6000);
	size_t		size;
	char	   *bytes;
	char	   *original;
	size_t		ids_at = sizeof(snapshot_header);
	snapshot_block head;
	size_t		rows_at;

	(void) state;
	assert_int_equal(vector_index_save(index, path, (vector_version) {1, 1}, NULL),
					 VECTOR_OK);
	original = read_file(&size);
	bytes = malloc(size);
	memcpy(&head, original + ids_at, sizeof(head));
	rows_at = ids_at + sizeof(head) + head.size;
	for (int i = 0; i < 4; i++)
	{
		size_t		at = i < 2 ? ids_at : rows_at;
		snapshot_header *header = (snapshot_header *) bytes;
		char	   *block = bytes + at + sizeof(head);
		snapshot_row *records = (snapshot_row *) block;
		float		nan = (float) (0.0 / 0.0);
		uint32_t	link = 6000;

		memcpy(bytes, original, size);
		memcpy(&head, bytes + at, sizeof(head));
		if (i == 0)
			records[1].id_size = 5;
		else if (i == 1)		/* two live rows of one id */
			memcpy(block + 6000 * sizeof(*records) + 4 * 4,
				   block + 6000 * sizeof(*records) + 5 * 4, 4);
		else if (i == 2)
			memcpy(block, &nan, sizeof(nan));
		else					/* the first link of row 1 */
			memcpy(block + header->row_size + 64 + 4, &link, sizeof(link));
		head.checksum = snapshot_checksum(block, head.size, i < 2 ? 0 : 1);
		memcpy(bytes + at, &head, sizeof(head));
		write_file(bytes, size);
		assert_refused(&options);
	}
	free(bytes);
	free(original);
	vector_index_destroy(index);
	free(vectors);
}

typedef struct changer
{
	vector_index *index;
	const float *vectors;
	uint32_t	n;
	_Atomic bool stop;
} changer;

/* Upserts in rounds: versions of a round are its number. */
static void *
change(void *arg)
{
	changer    *c = arg;

	for (uint64_t round = 2; !atomic_load(&c->stop); round++)
		for (uint32_t i = 0; i < c->n && !atomic_load(&c->stop); i += 3)
			put(c->index, i, round, c->vectors + ((i + round) % c->n) * WIDTH);
	return NULL;
}

static void
snapshots_are_whole_in_the_middle_of_changes(void **state)
{
	enum { N = 9000 };
	vector_index_options options = options_of(VECTOR_EUCLIDEAN, VECTOR_HNSW);
	float	   *vectors = vectors_clustered(14, 0, N, WIDTH, 30);
	changer		c = {vector_index_create(&options, NULL), vectors, N};
	pthread_t	thread;

	(void) state;
	for (uint32_t i = 0; i < N; i++)
		put(c.index, i, 1, vectors + i * WIDTH);
	assert_int_equal(pthread_create(&thread, NULL, change, &c), 0);
	for (int i = 0; i < 10; i++)
	{
		vector_version position;
		vector_index *loaded;
		vector_index_stats stats;
		uint32_t	missing = 0;

		assert_int_equal(vector_index_save(c.index, path, (vector_version) {1, 1}, NULL),
						 VECTOR_OK);
		loaded = vector_index_load(path, &options, &position, NULL);
		assert_non_null(loaded);
		vector_index_stats_of(loaded, &stats);
		for (uint32_t id = 0; id < N; id++)
		{
			bool		there = vector_index_get(loaded, (const char *) &id, sizeof(id),
												 NULL, NULL);

			/* Missing: replaced after the position, which is made again. */
			assert_true(there || id % 3 == 0);
			missing += !there;
		}
		assert_int_equal(stats.count, N - missing);
		/* A graph like any: searches find what is there, and no row twice. */
		assert_int_equal(vector_index_settle(loaded, false), VECTOR_OK);
		for (uint32_t q = 0; q < 5; q++)
		{
			vector_query query = {.values = vectors + q * WIDTH};
			vector_matches matches;

			assert_int_equal(vector_index_search(loaded, &query, N, &matches, NULL),
							 VECTOR_OK);
			assert_int_equal(matches.count, stats.count);
			vector_matches_free(&matches);
		}
		vector_index_destroy(loaded);
	}
	atomic_store(&c.stop, true);
	pthread_join(thread, NULL);
	vector_index_destroy(c.index);
	free(vectors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_saved_comes_back),
		cmocka_unit_test(torn_files_are_refused),
		cmocka_unit_test(other_indexes_are_refused),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(snapshots_are_whole_in_the_middle_of_changes),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
