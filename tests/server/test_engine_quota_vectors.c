/*
 * test_engine_quota_vectors.c - vectors under quotas: each counts as a key of the bytes
 * of its namespace, its id and its components, together with the keys under the prefix,
 * whatever becomes of it, of its index and of the server.
 */
#include "support/quota_calls.h"
#include "support/vector_calls.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "table.h"

#define DIMENSIONS 4
#define FLOATS (DIMENSIONS * sizeof(float))

static const engine_index points = {DIMENSIONS, ENGINE_EUCLIDEAN, ENGINE_HNSW};
static const float somewhere[DIMENSIONS] = {1, 2, 3, 4};

static engine *
engine_of(void **state)
{
	return ((fixture *) *state)->engine;
}

static void
create(engine *on, const char *space)
{
	engine_status status;

	create_index(on, space, points, &status);
	assert_int_equal(status.code, ENGINE_OK);
}

static engine_op
put_op(const char *space, const char *id)
{
	return vector_put_op(space, id, somewhere, DIMENSIONS);
}

static bool
is_there(engine *on, const char *space, const char *id)
{
	engine_slice name = TEXT(id);
	found_vectors answered = get_vectors(on, space, &name, 1);
	bool		present;

	assert_int_equal(answered.status.code, ENGINE_OK);
	present = answered.vectors[0].version.index != 0;
	found_free(&answered);
	return present;
}

/* ---- What is counted and refused ---- */

static void
test_limits_are_exact(void **state)
{
	engine	   *on = engine_of(state);

	create(on, "q/v");
	set_quota(on, "q/", 3, 3 * (4 + FLOATS) + 1);
	assert_usage(on, "q/", 0, 0);
	put_vector(on, "q/v", "a", somewhere, DIMENSIONS);
	assert_usage(on, "q/", 1, 4 + FLOATS);
	/* once more: nothing is added */
	put_vector(on, "q/v", "a", somewhere, DIMENSIONS);
	assert_usage(on, "q/", 1, 4 + FLOATS);
	put_vector(on, "q/v", "b", somewhere, DIMENSIONS);
	assert_over_quota(on, put_op("q/v", "too long"),
					  "quota of prefix \"q/\" exceeded: at most 61 bytes, 40 are used, "
					  "27 more were to be written");
	assert_false(is_there(on, "q/v", "too long"));
	put_vector(on, "q/v", "c", somewhere, DIMENSIONS);
	assert_over_quota(on, put_op("q/v", "d"),
					  "quota of prefix \"q/\" exceeded: at most 3 keys, 3 are used, "
					  "1 more were to be written");
	assert_false(is_there(on, "q/v", "d"));
	put_vector(on, "q/v", "c", somewhere, DIMENSIONS);
	assert_true(delete_vector(on, "q/v", "a"));
	assert_false(delete_vector(on, "q/v", "a"));
	assert_usage(on, "q/", 2, 2 * (4 + FLOATS));
	put_vector(on, "q/v", "d", somewhere, DIMENSIONS);
	assert_usage(on, "q/", 3, 3 * (4 + FLOATS));
}

/* By its namespace only, and together with keys. */
static void
test_which_prefixes_count(void **state)
{
	engine	   *on = engine_of(state);

	create(on, "t/a/v");
	create(on, "t/b");
	create(on, "u");
	set_quota(on, "", 0, 0);
	set_quota(on, "t/", 0, 0);
	set_quota(on, "t/a/", 0, 0);
	set_quota(on, "t/bx", 0, 0);
	set_quota(on, "u", 0, 0);
	put_vector(on, "t/a/v", "x", somewhere, DIMENSIONS);
	put_vector(on, "t/b", "x", somewhere, DIMENSIONS);
	put_vector(on, "u", "t/a/", somewhere, DIMENSIONS);
	put_text(on, "t/a/key", "value");
	assert_usage(on, "", 4, 6 + 4 + 5 + 3 * FLOATS + 12);
	assert_usage(on, "t/", 3, 6 + 4 + 2 * FLOATS + 12);
	assert_usage(on, "t/a/", 2, 6 + FLOATS + 12);
	assert_usage(on, "t/bx", 0, 0);
	assert_usage(on, "u", 1, 5 + FLOATS);
}

static void
test_units_are_judged_by_their_sum(void **state)
{
	engine	   *on = engine_of(state);
	engine_op	ops[3] = {
		vector_delete_op("s/v", "a"),
		{.kind = ENGINE_PUT, .key = TEXT("s/doc"), .value = TEXT("text")},
		put_op("s/v", "b"),
	};
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = 3};
	answer		done;

	create(on, "s/v");
	set_quota(on, "s/", 1, 0);
	put_vector(on, "s/v", "a", somewhere, DIMENSIONS);
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_RESOURCE_EXHAUSTED);
	assert_int_equal(done.operation, 1);
	answer_free(&done);
	assert_absent(on, "s/doc");
	assert_true(is_there(on, "s/v", "a"));
	assert_usage(on, "s/", 1, 4 + FLOATS);

	/* each on its own: the vector makes room for the document */
	unit.atomic = false;
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	assert_int_equal(done.results[1].code, ENGINE_OK);
	assert_int_equal(done.results[2].code, ENGINE_RESOURCE_EXHAUSTED);
	answer_free(&done);
	assert_usage(on, "s/", 1, 9);
}

static void
test_deleted_ranges_count_no_more(void **state)
{
	engine	   *on = engine_of(state);

	create(on, "e/v");
	create(on, "e/w");
	set_quota(on, "e/", 0, 0);
	put_vector(on, "e/v", "a", somewhere, DIMENSIONS);
	put_vector(on, "e/v", "b", somewhere, DIMENSIONS);
	put_vector(on, "e/v", "c", somewhere, DIMENSIONS);
	put_vector(on, "e/w", "b", somewhere, DIMENSIONS);
	assert_int_equal(try_op(on, vector_range_op("e/v", "b", "c")).code, ENGINE_OK);
	assert_usage(on, "e/", 3, 3 * (4 + FLOATS));
	assert_int_equal(try_op(on, vector_range_op("e/v", "", "")).code, ENGINE_OK);
	assert_usage(on, "e/", 1, 4 + FLOATS);
}

/* Of an index: what it counted is free, and its next life begins at nothing. */
static void
test_dropped_indexes_count_no_more(void **state)
{
	engine	   *on = engine_of(state);
	engine_status status;

	create(on, "d/v");
	create(on, "d/w");
	set_quota(on, "d/", 2, 0);
	set_quota(on, "d/v", 0, 0);
	put_vector(on, "d/v", "a", somewhere, DIMENSIONS);
	put_vector(on, "d/w", "a", somewhere, DIMENSIONS);
	assert_int_equal(try_op(on, put_op("d/v", "b")).code, ENGINE_RESOURCE_EXHAUSTED);
	assert_true(drop_index(on, "d/v", &status).existed);
	assert_usage(on, "d/", 1, 4 + FLOATS);
	assert_usage(on, "d/v", 0, 0);
	create(on, "d/v");
	assert_usage(on, "d/", 1, 4 + FLOATS);
	put_vector(on, "d/v", "b", somewhere, DIMENSIONS);
	assert_usage(on, "d/", 2, 2 * (4 + FLOATS));
	/* an empty one, and none */
	assert_true(drop_index(on, "d/w", &status).existed);
	create(on, "d/w");
	assert_true(drop_index(on, "d/w", &status).existed);
	assert_false(drop_index(on, "d/w", &status).existed);
	assert_usage(on, "d/", 1, 4 + FLOATS);
}

/* What a quota refuses holds no memory of the index. */
static void
test_what_is_refused_takes_no_memory(void **state)
{
	fixture    *fix = *state;
	enum {LARGE = 256, MANY = 500};
	const engine_index large = {LARGE, ENGINE_EUCLIDEAN, ENGINE_BRUTE_FORCE};
	static float floats[LARGE] = {1};
	static char ids[MANY][8];
	engine_op	ops[MANY];
	engine_unit unit = {.ops = ops, .n_ops = MANY};
	engine_status status;

	create_index(fix->engine, "m/v", large, &status);
	assert_int_equal(status.code, ENGINE_OK);
	set_quota(fix->engine, "m/", 1, 0);
	put_text(fix->engine, "m/full", "");
	for (unsigned i = 0; i < MANY; i++)
	{
		snprintf(ids[i], sizeof(ids[i]), "%u", i);
		ops[i] = vector_put_op("m/v", ids[i], floats, LARGE);
	}
	for (unsigned i = 0; i < 40; i++)
	{
		answer		done;

		unit.atomic = i % 2 == 0;
		commit_unit(fix->engine, &unit, &done);
		assert_int_equal(unit.atomic ? done.status.code : done.results[MANY - 1].code,
						 ENGINE_RESOURCE_EXHAUSTED);
		assert_non_null(strstr(unit.atomic ? done.status.text
							   : done.results[MANY - 1].text.data, "quota"));
		answer_free(&done);
	}
	assert_true(delete_text(fix->engine, "m/full"));
	put_vector(fix->engine, "m/v", "1", floats, LARGE);
}

/* ---- While many write ---- */

#define WRITERS 4

typedef struct writer
{
	engine	   *on;
	unsigned	number;
	unsigned	n;
	unsigned	accepted;
} writer;

static void *
write_vectors(void *arg)
{
	writer	   *self = arg;
	char		id[24];

	for (unsigned i = 0; i < self->n; i++)
	{
		snprintf(id, sizeof(id), "%u/%u", self->number, i);
		if (try_op(self->on, put_op("w/v", id)).code == ENGINE_OK)
			self->accepted++;
		/* again, or refused again */
		try_op(self->on, put_op("w/v", id));
	}
	return NULL;
}

static void
test_writers_at_once_pass_no_limit(void **state)
{
	engine	   *on = engine_of(state);
	unsigned	n = rounds(1000);
	unsigned	limit = WRITERS * n / 2;
	unsigned	accepted = 0;
	engine_index_info info;
	writer		writers[WRITERS];
	pthread_t	threads[WRITERS];

	create(on, "w/v");
	set_quota(on, "w/", limit, 0);
	for (unsigned i = 0; i < WRITERS; i++)
	{
		writers[i] = (writer) {on, i, n, 0};
		pthread_create(&threads[i], NULL, write_vectors, &writers[i]);
	}
	for (unsigned i = 0; i < WRITERS; i++)
	{
		pthread_join(threads[i], NULL);
		accepted += writers[i].accepted;
	}
	assert_int_equal(accepted, limit);
	assert_int_equal(usage_of(on, "w/").keys, limit);
	wait_until_ready(on, "w/v");
	assert_true(find_index(on, "w/v", &info));
	assert_int_equal(info.vectors, limit);
}

/* ---- Counting what is there, and against a model ---- */

#define SPACES 4
#define IDS 1500

static const char *const spaces[SPACES] = {"c/0", "c/1", "c/1/x", "c/2"};
static char all_ids[IDS][8];
static engine_slice id_slices[IDS];

static void
name_ids(void)
{
	for (unsigned i = 0; i < IDS; i++)
	{
		snprintf(all_ids[i], sizeof(all_ids[i]), "%04u", i);
		id_slices[i] = TEXT(all_ids[i]);
	}
}

/* What the vectors under the prefix are, asked for one by one; and the key c/k. */
static engine_usage
count_live(engine *on, const char *prefix)
{
	engine_usage found = {0};
	got			key = get_text(on, "c/k");

	for (unsigned i = 0; i < SPACES; i++)
	{
		found_vectors answered;

		if (strncmp(spaces[i], prefix, strlen(prefix)) != 0)
			continue;
		answered = get_vectors(on, spaces[i], id_slices, IDS);
		for (size_t j = 0; j < answered.n_vectors; j++)
		{
			if (answered.vectors[j].version.index == 0)
				continue;
			found.keys++;
			found.bytes += strlen(spaces[i]) + 4 + FLOATS;
		}
		found_free(&answered);
	}
	if (strcmp(prefix, "c/") == 0 && key.version.index != 0)
	{
		found.keys++;
		found.bytes += 3 + key.size;
	}
	return found;
}

/* Indexes come and go, too. Nothing is asserted: of an absent one it is refused. */
static void
change_something(engine *on, uint64_t *random)
{
	const char *space = spaces[random_below(random, SPACES)];
	const char *id = all_ids[random_below(random, IDS)];
	engine_status status;

	switch (random_below(random, 40))
	{
		case 0:
			drop_index(on, space, &status);
			break;
		case 1:
		case 2:
			create_index(on, space, points, &status);
			break;
		case 4:
			try_op(on, vector_range_op(space, id, all_ids[random_below(random, IDS)]));
			break;
		case 3:
			try_op(on, (engine_op) {.kind = ENGINE_PUT, .key = TEXT("c/k"),
				   .value = TEXT(id)});
			break;
		default:
			try_op(on, random_below(random, 4) == 0 ? vector_delete_op(space, id)
				   : put_op(space, id));
			break;
	}
}

static bool
fill(engine *on)
{
	static engine_op ops[IDS];
	bool		good = true;

	for (unsigned i = 0; i < SPACES; i++)
	{
		engine_unit unit = {.ops = ops, .n_ops = IDS};
		engine_status status;
		answer		done;

		create_index(on, spaces[i], points, &status);
		for (unsigned j = 0; j < IDS; j++)
			ops[j] = put_op(spaces[i], all_ids[j]);
		commit_unit(on, &unit, &done);
		good = good && status.code == ENGINE_OK && done.status.code == ENGINE_OK;
		answer_free(&done);
	}
	return good;
}

/* Set on namespaces that are full, it counts them while writes go on, and comes out
 * right. */
static void
test_counting_while_writes_go_on(void **state)
{
	engine	   *on = engine_of(state);
	uint64_t	random = seed();

	for (unsigned round = 0; round < rounds(50); round++)
	{
		assert_true(fill(on));
		set_quota(on, "c/", 0, 0);
		set_quota(on, "c/1", 0, 0);
		for (int i = 0; i < 150; i++)
			change_something(on, &random);
		assert_true(is_usage(on, "c/", count_live(on, "c/")));
		assert_true(is_usage(on, "c/1", count_live(on, "c/1")));
		assert_true(remove_quota(on, "c/"));
		assert_true(remove_quota(on, "c/1"));
	}
}

/* ---- Restarts ---- */

static void
test_counts_survive_a_restart(void **state)
{
	fixture    *fix = *state;

	create(fix->engine, "r/v");
	set_quota(fix->engine, "r/", 2, 0);
	put_vector(fix->engine, "r/v", "a", somewhere, DIMENSIONS);
	fixture_reopen(fix);
	assert_usage(fix->engine, "r/", 1, 4 + FLOATS);
	put_vector(fix->engine, "r/v", "b", somewhere, DIMENSIONS);
	assert_int_equal(try_op(fix->engine, put_op("r/v", "c")).code,
					 ENGINE_RESOURCE_EXHAUSTED);
	put_vector(fix->engine, "r/v", "b", somewhere, DIMENSIONS);
	assert_true(delete_vector(fix->engine, "r/v", "a"));
	put_vector(fix->engine, "r/v", "c", somewhere, DIMENSIONS);
}

/* The record of a quota as it was when vectors were not counted. */
static void
make_record_old(fixture *fix, const char *name)
{
	engine_status status;
	table_rocksdb_options options = {fix->directory, fix->max_memory, log_to_stderr};
	char		directory[sizeof(fix->directory) + 8];
	char		record[64];
	table	   *in;
	table_value value;

	snprintf(directory, sizeof(directory), "%s/db", fix->directory);
	options.directory = directory;
	in = table_rocksdb_open(&options, &status);
	assert_non_null(in);
	assert_true(in->methods->read_begin(in, &status));
	assert_true(in->methods->get(in, TABLE_META, TEXT(name), &value, &status));
	assert_true(value.found && value.bytes.size <= sizeof(record));
	memcpy(record, value.bytes.data, value.bytes.size);
	record[0] = 1;
	in->methods->put(in, TABLE_META, TEXT(name), slice_of(record, value.bytes.size),
					 slice_of(NULL, 0));
	in->methods->release(in, &value, 1);
	in->methods->read_end(in);
	assert_true(in->methods->write(in, true, &status));
	in->methods->close(in);
}

static void
test_quotas_of_keys_count_their_vectors(void **state)
{
	fixture    *fix = *state;

	create(fix->engine, "o/v");
	put_vector(fix->engine, "o/v", "a", somewhere, DIMENSIONS);
	put_text(fix->engine, "o/k", "v");
	set_quota(fix->engine, "o/", 2, 0);
	fixture_close(fix);
	make_record_old(fix, "quota/o/");
	fixture_open(fix);
	assert_usage(fix->engine, "o/", 2, 4 + FLOATS + 4);
	assert_int_equal(try_op(fix->engine, put_op("o/v", "b")).code,
					 ENGINE_RESOURCE_EXHAUSTED);
}

static void
test_counts_survive_crashes(void **state)
{
	const quota_model model = {"c/1", fill, change_something, count_live,
		.refills = true};

	assert_counts_survive_crashes(*state, &model);
}

static int
setup_closed(void **state)
{
	*state = calloc(1, sizeof(fixture));
	fixture_init(*state, "rocksdb");
	return 0;
}

/* Room for some 4,000 vectors of 256 dimensions. */
static int
setup_little_memory(void **state)
{
	setup_closed(state);
	((fixture *) *state)->max_vector_memory = 6 << 20;
	fixture_open(*state);
	return 0;
}

#define ON(test, fixture_setup) {#test, test, fixture_setup, fixture_teardown, NULL}

static int
run_on(const char *name, CMFixtureFunction fixture_setup)
{
	const struct CMUnitTest tests[] = {
		ON(test_limits_are_exact, fixture_setup),
		ON(test_which_prefixes_count, fixture_setup),
		ON(test_units_are_judged_by_their_sum, fixture_setup),
		ON(test_deleted_ranges_count_no_more, fixture_setup),
		ON(test_dropped_indexes_count_no_more, fixture_setup),
		ON(test_writers_at_once_pass_no_limit, fixture_setup),
		ON(test_counting_while_writes_go_on, fixture_setup),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
	const struct CMUnitTest on_disk[] = {
		ON(test_counts_survive_crashes, setup_closed),
		ON(test_counts_survive_a_restart, fixture_setup_rocksdb),
		ON(test_quotas_of_keys_count_their_vectors, fixture_setup_rocksdb),
		ON(test_what_is_refused_takes_no_memory, setup_little_memory),
	};

	name_ids();
	/* First: no thread of this process is lost to its children. */
	return cmocka_run_group_tests_name("restarts", on_disk, NULL, NULL) +
		run_on("memory", fixture_setup_memory) +
		run_on("rocksdb", fixture_setup_rocksdb);
}
