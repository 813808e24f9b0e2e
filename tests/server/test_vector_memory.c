/*
 * Memory that runs out: at every allocation in turn, C's and C++'s. What fails says so
 * and changes nothing; what was there is found.
 *
 * malloc and its kin, and mmap, are this program's own here; operator new of the C++
 * library calls malloc and throws where it fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/vectors.h"
#include "vector_index.h"

#define WIDTH 4

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

/* Allocations until one fails, and from there on all; negative: none does. */
static _Atomic long left = -1;
static _Atomic unsigned long refused;

static bool
refuse(void)
{
	long		now = atomic_load(&left);

	if (now < 0)
		return false;
	if (now > 0)
	{
		atomic_fetch_sub(&left, 1);
		return false;
	}
	atomic_fetch_add(&refused, 1);
	errno = ENOMEM;
	return true;
}

void *
malloc(size_t size)
{
	return refuse() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *old, size_t size)
{
	return refuse() ? NULL : __libc_realloc(old, size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
	return refuse() ? NULL : __libc_memalign(alignment, size);
}

void *
mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
	static void *(*next) (void *, size_t, size_t, int, ...);

	if (next == NULL)
		next = (void *(*) (void *, size_t, size_t, int, ...)) dlsym(RTLD_NEXT, "mremap");
	return refuse() ? MAP_FAILED : next(old, old_size, size, flags);
}

static vector_code
put(vector_index *index, uint32_t number, const float *values)
{
	return vector_index_put(index, (const char *) &number, sizeof(number),
							(vector_version) {1, 1}, values, NULL);
}

static size_t
count_of(vector_index *index)
{
	vector_index_stats stats;

	vector_index_stats_of(index, &stats);
	return stats.count;
}

static void
creation_fails_cleanly(void **state)
{
	vector_index_options options = {VECTOR_COSINE, VECTOR_HNSW, WIDTH};
	vector_index *index = NULL;
	vector_status status;
	long		n = 0;

	(void) state;
	for (; index == NULL; n++)
	{
		atomic_store(&left, n);
		index = vector_index_create(&options, &status);
		atomic_store(&left, -1);
		assert_true(index || status.code == VECTOR_NO_MEMORY);
	}
	assert_true(n > 1);
	vector_index_destroy(index);
}

/* Each put first fails at each of its allocations: from nothing past growing often. */
static void
puts_fail_whole(void **state)
{
	vector_index_options options = {VECTOR_COSINE, VECTOR_HNSW, WIDTH, .m = 4,
		.ef_construction = 10};
	vector_index *index = vector_index_create(&options, NULL);
	float	   *vectors = vectors_clustered(31, 0, 6000, WIDTH, 20);

	(void) state;
	for (uint32_t i = 0; i < 6000; i++)
	{
		vector_code code = VECTOR_NO_MEMORY;

		for (long n = 0; code != VECTOR_OK; n++)
		{
			atomic_store(&left, n);
			code = put(index, i, vectors + i * WIDTH);
			atomic_store(&left, -1);
			assert_true(code == VECTOR_OK || code == VECTOR_NO_MEMORY);
			assert_int_equal(count_of(index), i + (code == VECTOR_OK));
		}
	}
	vector_index_destroy(index);
	free(vectors);
}

static void
what_was_reserved_is_there(void **state)
{
	vector_index_options options = {VECTOR_EUCLIDEAN, VECTOR_BRUTE_FORCE, WIDTH};
	vector_index *index = vector_index_create(&options, NULL);
	float	   *vectors = vectors_clustered(32, 0, 5000, WIDTH, 20);

	(void) state;
	for (uint32_t i = 0; i < 5000; i += 500)
	{
		assert_int_equal(vector_index_reserve(index, 500, 500 * sizeof(i)), VECTOR_OK);
		atomic_store(&left, 0);
		for (uint32_t j = i; j < i + 500; j++)
			assert_int_equal(put(index, j, vectors + j * WIDTH), VECTOR_OK);
		atomic_store(&left, -1);
	}
	vector_index_destroy(index);
	free(vectors);
}

/*
 * A graph whose links fail, and searches and rebuilds that do: the answers are right or
 * there is none.
 */
static void
broken_graphs_are_not_trusted(void **state)
{
	enum { N = 11000 };
	vector_index_options options = {VECTOR_EUCLIDEAN, VECTOR_HNSW, WIDTH, .m = 4,
		.ef_construction = 10, .max_unlinked = UINT32_MAX};
	float	   *vectors = vectors_clustered(33, 0, N, WIDTH, 20);

	(void) state;
	for (long n = 0; n < 3000; n = n * 5 / 4 + 1)
	{
		vector_index *index = vector_index_create(&options, NULL);
		vector_query query = {.values = vectors, .ef = 50};
		vector_matches matches;
		vector_code settled;

		vector_index_set_max_unlinked(index, UINT32_MAX);
		assert_int_equal(vector_index_reserve(index, N, N * sizeof(uint32_t)), VECTOR_OK);
		atomic_store(&left, 0);
		for (uint32_t i = 0; i < N; i++)
			assert_int_equal(put(index, i, vectors + i * WIDTH), VECTOR_OK);
		atomic_store(&left, n);
		settled = vector_index_settle(index, false);
		if (vector_index_search(index, &query, 5, &matches, NULL) == VECTOR_OK)
			assert_int_equal(matches.count, 5);
		vector_matches_free(&matches);
		atomic_store(&left, -1);
		assert_true(settled == VECTOR_OK || settled == VECTOR_NO_MEMORY);
		assert_int_equal(vector_index_search(index, &query, 5, &matches, NULL), VECTOR_OK);
		assert_int_equal(matches.count, 5);
		assert_true(matches.items[0].distance == 0);
		vector_matches_free(&matches);
		/* Memory is back, and so is the graph. */
		assert_int_equal(vector_index_settle(index, true), VECTOR_OK);
		assert_int_equal(vector_index_search(index, &query, 5, &matches, NULL), VECTOR_OK);
		assert_false(matches.exact);
		assert_true(matches.items[0].distance == 0);
		vector_matches_free(&matches);
		vector_index_destroy(index);
	}
	free(vectors);
}

static void
snapshots_fail_cleanly(void **state)
{
	vector_index_options options = {VECTOR_EUCLIDEAN, VECTOR_HNSW, WIDTH};
	char		path[] = "/tmp/norikv-vectors.XXXXXX";
	vector_index *index = vector_index_create(&options, NULL);
	vector_index *loaded = NULL;
	float	   *vectors = vectors_clustered(34, 0, 6000, WIDTH, 20);
	vector_version position;
	vector_status status;

	(void) state;
	close(mkstemp(path));
	for (uint32_t i = 0; i < 6000; i++)
		assert_int_equal(put(index, i, vectors + i * WIDTH), VECTOR_OK);
	assert_int_equal(vector_index_settle(index, false), VECTOR_OK);
	atomic_store(&left, 0);
	assert_int_equal(vector_index_save(index, path, (vector_version) {1, 1}, &status),
					 VECTOR_NO_MEMORY);
	atomic_store(&left, -1);
	assert_int_equal(vector_index_save(index, path, (vector_version) {1, 1}, &status),
					 VECTOR_OK);
	for (long n = 0; loaded == NULL; n = n < 50 ? n + 1 : n * 5 / 4)
	{
		atomic_store(&left, n);
		loaded = vector_index_load(path, &options, &position, &status);
		atomic_store(&left, -1);
		assert_true(loaded || status.code == VECTOR_NO_MEMORY);
	}
	assert_int_equal(count_of(loaded), 6000);
	unlink(path);
	vector_index_destroy(loaded);
	vector_index_destroy(index);
	free(vectors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creation_fails_cleanly),
		cmocka_unit_test(puts_fail_whole),
		cmocka_unit_test(what_was_reserved_is_there),
		cmocka_unit_test(broken_graphs_are_not_trusted),
		cmocka_unit_test(snapshots_fail_cleanly),
	};
	int			failed;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	puts("1..0 # skip the sanitizer has its own malloc");
	return 0;
#endif
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return failed ? failed : atomic_load(&refused) == 0;
}
