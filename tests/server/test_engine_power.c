/*
 * test_engine_power.c - the power goes while a store is being written.
 *
 * A child process writes with the journaling shim preloaded, and notes in the same
 * journal what it was about to write and what was acknowledged. From any point of
 * the journal an image of the disk is made that keeps only what was synced and a
 * torn part of the rest. Opened, it must have all that was acknowledged.
 */
#include "support/vector_calls.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../tools/shims/disk_journal.h"
#include "support/disk_image.h"
#include "support/preload.h"

#define THREADS 4
#define KEYS 40					/* of each thread */
#define BRIEF_KEYS 5			/* of each thread, the last ones: they expire */
#define OPS 800					/* of each thread */
#define VALUE_SIZE 1500
#define BRIEF_MS 5
#define DIMENSIONS 4

typedef enum note_kind
{
	NOTE_BEGIN, NOTE_DONE, NOTE_EXPIRED
} note_kind;

typedef struct note
{
	note_kind	kind;
	unsigned	thread;
	unsigned	key;
	uint64_t	counter;		/* the value; 0: deleted */
	uint64_t	sequence;		/* of the thread's slot */
	engine_version version;
} note;

static void
name_of(unsigned thread, unsigned key, char text[24])
{
	snprintf(text, 24, "thread%u-%02u", thread, key);
}

static void
slot_key(unsigned thread, uint64_t sequence, char text[96])
{
	snprintf(text, 96, "~nk1/00112233-4455-6677-8899-aabbccddeeff/%u/%" PRIu64, thread,
			 sequence);
}

/* The same request for the same numbers, so that it can be repeated. */
static engine_result
send_request(engine *on, const note *what, engine_status *status, bool *repeated)
{
	bool		brief = what->key >= KEYS - BRIEF_KEYS;
	char		key[24];
	char		slot[96];
	char		value[VALUE_SIZE];
	float		vector[DIMENSIONS] = {(float) what->counter, 1};
	engine_op	ops[2] = {{.kind = what->counter == 0 ? ENGINE_DELETE : ENGINE_PUT}};
	engine_op  *op = &ops[0];
	/* With the key a vector of the same name, unless it expires. */
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = brief ? 1 : 2};
	engine_result result = {0};
	uint64_t	filler = what->counter;
	answer		done;

	name_of(what->thread, what->key, key);
	slot_key(what->thread, what->sequence, slot);
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (char) random_below(&filler, 256);
	snprintf(value, 24, "%" PRIu64, what->counter);
	op->key = TEXT(key);
	if (op->kind == ENGINE_PUT)
		op->value = slice_of(value, 24 + what->counter % (VALUE_SIZE - 24));
	if (brief && op->kind == ENGINE_PUT)
	{
		op->ttl = ENGINE_TTL_SET;
		op->ttl_ms = BRIEF_MS;
	}
	ops[1] = what->counter == 0 ? vector_delete_op("vectors", key)
		: vector_put_op("vectors", key, vector, DIMENSIONS);
	unit.idempotency_key = TEXT(slot);
	commit_unit(on, &unit, &done);
	*status = done.status;
	*repeated = done.repeated;
	if (done.n_results > 0)
		result = done.results[0];
	answer_free(&done);
	return result;
}

/* ---- The child ---- */

typedef struct writer
{
	pthread_t	thread;
	engine	   *on;
	unsigned	number;
	uint64_t	first;			/* number of its first request */
	void		(*journal) (const void *data, size_t size);
} writer;

static void
write_one(writer *self, note what)
{
	engine_status status;
	bool		repeated;

	what.kind = NOTE_BEGIN;
	self->journal(&what, sizeof(what));
	what.version = send_request(self->on, &what, &status, &repeated).version;
	if (status.code != ENGINE_OK)
	{
		fprintf(stderr, "writer: %s\n", status.text);
		_exit(1);
	}
	what.kind = NOTE_DONE;
	self->journal(&what, sizeof(what));
}

static void
wait_for_expiry(writer *self, note what)
{
	char		key[24];

	name_of(what.thread, what.key, key);
	while (get_text(self->on, key).version.index != 0)
		usleep(1000);
	what.kind = NOTE_EXPIRED;
	self->journal(&what, sizeof(what));
}

static void *
write_all(void *arg)
{
	writer	   *self = arg;
	uint64_t	random = self->number + 1;

	for (uint64_t i = self->first; i < self->first + OPS; i++)
	{
		note		what = {.thread = self->number, .sequence = i};

		what.key = (unsigned) random_below(&random, KEYS);
		what.counter = random_below(&random, 5) == 0 ? 0 : i;
		write_one(self, what);
		if (what.key >= KEYS - BRIEF_KEYS && random_below(&random, 4) == 0)
			wait_for_expiry(self, what);
	}
	return NULL;
}

static void
note_nothing(const void *data, size_t size)
{
	(void) data;
	(void) size;
}

static void
make_index(engine *on)
{
	engine_index index = {DIMENSIONS, ENGINE_EUCLIDEAN, ENGINE_HNSW};
	engine_status status;

	create_index(on, "vectors", index, &status);
	if (status.code != ENGINE_OK)
		fail_msg("%s", status.text);
}

/* Ends without closing the store. Silent: promises nothing of what it writes. */
static int
run_writer(const char *root, bool sync, bool silent)
{
	fixture		fix = {.name = "rocksdb", .sync = sync, .system_clock = true};
	writer		writers[THREADS];

	fix.max_idempotency = 1000;
	fix.max_memory = 1;
	snprintf(fix.directory, sizeof(fix.directory), "%.50s/data", root);
	fixture_open(&fix);
	make_index(fix.engine);
	for (unsigned i = 0; i < THREADS; i++)
	{
		writers[i] = (writer) {.on = fix.engine, .number = i};
		writers[i].first = silent ? 1 : OPS + 1;
		writers[i].journal = silent ? note_nothing : (void (*) (const void *, size_t))
			dlsym(RTLD_DEFAULT, DISK_JOURNAL_SYMBOL);
		if (writers[i].journal == NULL ||
			pthread_create(&writers[i].thread, NULL, write_all, &writers[i]) != 0)
			_exit(1);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(writers[i].thread, NULL);
	_exit(0);
}

/* ---- What must be there ---- */

typedef struct expected_key
{
	bool		known;			/* acknowledged, or seen expired */
	uint64_t	counter;		/* 0: absent */
	bool		under_way;
	uint64_t	next_counter;
} expected_key;

typedef struct expectation
{
	expected_key keys[THREADS][KEYS];
	note		last_done[THREADS];
	note		last_begun[THREADS];
	bool		under_way[THREADS];
	uint64_t	last_index;
} expectation;

static void
take_note(void *arg, const void *data, size_t size)
{
	expectation *self = arg;
	expected_key *key;
	note		what;

	assert_int_equal(size, sizeof(what));
	memcpy(&what, data, size);
	key = &self->keys[what.thread][what.key];
	self->under_way[what.thread] = what.kind == NOTE_BEGIN;
	switch (what.kind)
	{
		case NOTE_BEGIN:
			key->under_way = true;
			key->next_counter = what.counter;
			self->last_begun[what.thread] = what;
			break;
		case NOTE_DONE:
			key->under_way = false;
			/* One that expires soon is known once it did. */
			key->known = what.key < KEYS - BRIEF_KEYS || what.counter == 0;
			key->counter = what.counter;
			self->last_done[what.thread] = what;
			if (what.version.index > self->last_index)
				self->last_index = what.version.index;
			break;
		case NOTE_EXPIRED:
			key->known = true;
			key->counter = 0;
			break;
	}
}

static bool
key_is_as_expected(engine *on, const expected_key *expected, unsigned thread,
				   unsigned key)
{
	char		name[24];
	got			found;
	uint64_t	counter;

	name_of(thread, key, name);
	found = get_text(on, name);
	counter = found.version.index == 0 ? 0 : strtoull(found.value, NULL, 10);
	if (!expected->known)
		return true;
	return counter == expected->counter ||
		(expected->under_way && (counter == expected->next_counter || counter == 0));
}

/* The last acknowledged request of each slot, sent once more. */
static bool
repeats_are_recognised(engine *on, const expectation *expected)
{
	for (unsigned i = 0; i < THREADS; i++)
	{
		const note *last = &expected->last_done[i];
		engine_status status;
		engine_result result;
		bool		repeated;

		/* What changed nothing is remembered too, but nobody waits for the disk. */
		if (last->sequence == 0 || last->version.index == 0)
			continue;
		result = send_request(on, last, &status, &repeated);
		/* The next one may have made it to the disk, unacknowledged. */
		if (status.code == ENGINE_ABORTED && expected->under_way[i])
			continue;
		if (!repeated || result.version.index != last->version.index)
			return false;
	}
	return true;
}

/*
 * What was put is there, acknowledged or not: then it is remembered as well. And
 * where it is not remembered, it was not there.
 */
static bool
writes_and_records_agree(engine *on, const expectation *expected)
{
	for (unsigned i = 0; i < THREADS; i++)
	{
		const note *begun = &expected->last_begun[i];
		engine_status status;
		engine_result result;
		bool		repeated;
		char		name[24];
		got			found;

		if (!expected->under_way[i] || begun->counter == 0 ||
			begun->key >= KEYS - BRIEF_KEYS)
			continue;
		name_of(i, begun->key, name);
		found = get_text(on, name);
		if (found.version.index != 0 &&
			strtoull(found.value, NULL, 10) != begun->counter)
			found.version.index = 0;
		result = send_request(on, begun, &status, &repeated);
		if (status.code != ENGINE_OK || repeated != (found.version.index != 0) ||
			(repeated && result.version.index != found.version.index))
			return false;
	}
	return true;
}

/* Each vector is that of its key: for gets, and for a search that finds them all. */
static bool
vectors_agree(engine *on)
{
	float		query[DIMENSIONS] = {1};
	found_vectors all = search_nearest(on, "vectors", query, DIMENSIONS, THREADS * KEYS + 1);
	size_t		expected = 0;
	bool		good = true;

	for (unsigned i = 0; i < THREADS * KEYS; i++)
	{
		char		name[24];
		engine_slice id;
		found_vectors vector;
		got			key;

		if (i % KEYS >= KEYS - BRIEF_KEYS)
			continue;
		name_of(i / KEYS, i % KEYS, name);
		id = TEXT(name);
		key = get_text(on, name);
		vector = get_vectors(on, "vectors", &id, 1);
		good = good && vector.n_vectors == 1 &&
			vector.vectors[0].version.index == key.version.index;
		expected += key.version.index != 0;
		found_free(&vector);
	}
	good = good && all.n_vectors == expected;
	for (size_t i = 0; i < all.n_vectors && good; i++)
		good = all.vectors[i].version.index ==
			get_key(on, all.vectors[i].id).version.index;
	found_free(&all);
	return good;
}

/* True where nothing acknowledged is missing. */
static bool
check_image(const char *root, const expectation *expected, const char **failure)
{
	fixture		fix = {.name = "rocksdb", .sync = true, .adopt = true};
	engine_status status;
	unsigned	wrong = 0;
	static char text[ENGINE_TEXT_SIZE];

	fix.max_idempotency = 1000;
	fix.max_memory = 1;
	fixture_clock(&fix, (uint64_t) (time(NULL) - 3600) * 1000000000);
	snprintf(fix.directory, sizeof(fix.directory), "%.50s/data", root);
	if (!fixture_try_open(&fix, &status))
	{
		snprintf(text, sizeof(text), "%s", status.text);
		*failure = text;
		return false;
	}
	/* The power may have gone before there was one. */
	make_index(fix.engine);
	if (!vectors_agree(fix.engine))
		wrong++;
	for (unsigned thread = 0; thread < THREADS; thread++)
	{
		for (unsigned key = 0; key < KEYS; key++)
			wrong += !key_is_as_expected(fix.engine, &expected->keys[thread][key], thread,
										 key);
	}
	*failure = wrong > 0 ? "keys or vectors are not as acknowledged" : NULL;
	if (*failure == NULL && !repeats_are_recognised(fix.engine, expected))
		*failure = "a repeated request was not recognised";
	if (*failure == NULL && !writes_and_records_agree(fix.engine, expected))
		*failure = "a write is there without its record, or a record without its write";
	if (*failure == NULL && put_text(fix.engine, "new", "").index <= expected->last_index)
		*failure = "a version was given twice";
	fixture_close(&fix);
	return *failure == NULL;
}

/* ---- Runs ---- */

static void
spawn_writer(const char *root, const char *journal, const char *sync, const char *notes)
{
	pid_t		child = fork();
	int			status;

	if (child == 0)
	{
		setenv("NORIKV_JOURNAL", journal, 1);
		setenv("NORIKV_JOURNAL_DIRECTORY", root, 1);
		preload_set("disk_journal");
		execl("/proc/self/exe", "writer", root, sync, notes, (char *) NULL);
		_exit(127);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static int
compare_cuts(const void *a, const void *b)
{
	const size_t *left = a;
	const size_t *right = b;

	return (*left > *right) - (*left < *right);
}

/*
 * How many of the images lack something. With a first writer: one that ended, its
 * last writes not on disk, before the one that counts opened the store.
 */
static unsigned
count_bad_images(const char *root, bool sync, bool first_writer, unsigned n, bool tell)
{
	uint64_t	random = seed();
	char		written[64];
	char		journal[64];
	char		image[64];
	size_t	   *cuts = calloc(n, sizeof(*cuts));
	expectation *expected = calloc(1, sizeof(*expected));
	unsigned	bad = 0;
	const char *failure;
	disk	   *found;

	snprintf(written, sizeof(written), "%s/written", root);
	snprintf(journal, sizeof(journal), "%s/journal", root);
	snprintf(image, sizeof(image), "%s/image", root);
	assert_int_equal(mkdir(written, 0700), 0);
	if (first_writer)
		spawn_writer(written, journal, "off", "silent");
	spawn_writer(written, journal, sync ? "on" : "off", "notes");
	found = disk_open(journal);
	assert_non_null(found);
	for (unsigned i = 0; i < n; i++)
		cuts[i] = random_below(&random, disk_records(found)) + 1;
	qsort(cuts, n, sizeof(*cuts), compare_cuts);
	for (unsigned i = 0; i < n; i++)
	{
		disk_advance(found, cuts[i], take_note, expected);
		assert_int_equal(mkdir(image, 0700), 0);
		disk_image(found, image, &random);
		if (!check_image(image, expected, &failure))
		{
			bad++;
			if (tell)
				print_message("image at record %zu of %zu: %s\n", cuts[i],
							  disk_records(found), failure);
		}
		remove_tree(image);
	}
	disk_close(found);
	free(cuts);
	free(expected);
	return bad;
}

static int
setup(void **state)
{
	static char root[32];

	strcpy(root, "/tmp/norikv-power-XXXXXX");
	*state = mkdtemp(root);
	return *state != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	remove_tree(*state);
	return 0;
}

static void
test_acknowledged_writes_survive(void **state)
{
	assert_int_equal(count_bad_images(*state, true, false, rounds(200), true), 0);
}

/* What an earlier process left in memory must not leave a gap in front of them. */
static void
test_acknowledged_writes_survive_an_earlier_crash(void **state)
{
	assert_int_equal(count_bad_images(*state, true, true, rounds(200), true), 0);
}

/* That the test above can fail: without syncs, it would. */
static void
test_without_sync_they_do_not(void **state)
{
	assert_true(count_bad_images(*state, false, false, rounds(100), false) > 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_acknowledged_writes_survive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acknowledged_writes_survive_an_earlier_crash,
										setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_sync_they_do_not, setup, teardown),
	};

	if (argc == 4 && strcmp(argv[0], "writer") == 0)
		return run_writer(argv[1], strcmp(argv[2], "on") == 0,
						  strcmp(argv[3], "silent") == 0);
	return cmocka_run_group_tests_name("engine and power loss", tests, NULL, NULL);
}
