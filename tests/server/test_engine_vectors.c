/*
 * test_engine_vectors.c - vectors as data of an engine: written with their versions
 * and conditions together with keys, found from their answer on, there after a
 * restart, and refused where they are wrong or do not fit.
 */
#include "support/vector_calls.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DIMENSIONS 8

static const engine_index euclidean = {DIMENSIONS, ENGINE_EUCLIDEAN, ENGINE_HNSW};
static const engine_index cosine = {DIMENSIONS, ENGINE_COSINE, ENGINE_HNSW};
static const engine_index exact = {DIMENSIONS, ENGINE_EUCLIDEAN, ENGINE_BRUTE_FORCE};

/* A point on the first axis. */
static const float *
at(float place)
{
	static float points[8][DIMENSIONS];
	static int	next;
	float	   *point = points[next++ % 8];

	memset(point, 0, sizeof(points[0]));
	point[0] = place;
	return point;
}

static void
create(engine *on, const char *space, engine_index index)
{
	engine_status status;

	create_index(on, space, index, &status);
	assert_int_equal(status.code, ENGINE_OK);
}

/* The ids of all vectors, nearest to the origin first, with commas. */
static const char *
all_ids(engine *on, const char *space)
{
	static char text[512];
	found_vectors answered = search_nearest(on, space, at(0), DIMENSIONS, 1000);

	text[0] = '\0';
	for (size_t i = 0; i < answered.n_vectors; i++)
	{
		strcat(text, i > 0 ? "," : "");
		strcat(text, answered.vectors[i].id.data);
	}
	found_free(&answered);
	return text;
}

static engine_vector
get_vector(engine *on, const char *space, const char *id)
{
	static float floats[DIMENSIONS];
	engine_slice name = TEXT(id);
	found_vectors answered = get_vectors(on, space, &name, 1);
	engine_vector first;

	assert_int_equal(answered.status.code, ENGINE_OK);
	first = answered.vectors[0];
	if (first.floats != NULL)
		first.floats = memcpy(floats, first.floats, sizeof(floats));
	found_free(&answered);
	return first;
}

static void
assert_refused(engine *on, engine_op op, engine_code code, const char *text)
{
	engine_status status;

	commit_op(on, op, &status);
	assert_int_equal(status.code, code);
	if (strstr(status.text, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", status.text, text);
}

/* ---- Indexes ---- */

static void
test_created_once(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_status status;
	engine_result first = create_index(on, "docs", euclidean, &status);
	engine_result again;
	engine_index_info info;

	assert_int_equal(status.code, ENGINE_OK);
	assert_false(first.existed);
	again = create_index(on, "docs", euclidean, &status);
	assert_int_equal(status.code, ENGINE_OK);
	assert_true(again.existed);
	assert_int_equal(again.version.index, first.version.index);
	create_index(on, "docs", cosine, &status);
	assert_int_equal(status.code, ENGINE_ALREADY_EXISTS);
	assert_non_null(strstr(status.text, "8 dimensions, EUCLIDEAN, HNSW"));
	create_index(on, "docs", exact, &status);
	assert_int_equal(status.code, ENGINE_ALREADY_EXISTS);
	assert_true(find_index(on, "docs", &info));
	assert_int_equal(info.version.index, first.version.index);
	assert_int_equal(info.index.dimensions, DIMENSIONS);
}

static void
test_absent_namespace(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_search search = {.space = TEXT("none"), .query = at(0),
		.dimensions = DIMENSIONS, .k = 1};
	engine_slice id = TEXT("a");
	engine_status status;
	found_vectors answered;

	assert_refused(on, vector_put_op("none", "a", at(1), DIMENSIONS), ENGINE_NOT_FOUND,
				   "namespace \"none\" has no vector index");
	assert_refused(on, vector_delete_op("none", "a"), ENGINE_NOT_FOUND, "\"none\"");
	answered = get_vectors(on, "none", &id, 1);
	assert_int_equal(answered.status.code, ENGINE_NOT_FOUND);
	found_free(&answered);
	answered = search_vectors(on, search);
	assert_int_equal(answered.status.code, ENGINE_NOT_FOUND);
	found_free(&answered);
	assert_false(drop_index(on, "none", &status).existed);
	assert_int_equal(status.code, ENGINE_OK);
}

/* Nothing of the first index is in the second, also after a restart. */
static void
test_dropped_and_created_again(void **state)
{
	fixture    *self = *state;
	engine	   *on = self->engine;
	engine_status status;

	create(on, "docs", euclidean);
	create(on, "docs:more", euclidean);
	put_vector(on, "docs", "ghost", at(1), DIMENSIONS);
	put_vector(on, "docs:more", "other", at(1), DIMENSIONS);
	assert_true(drop_index(on, "docs", &status).existed);
	assert_refused(on, vector_put_op("docs", "a", at(1), DIMENSIONS), ENGINE_NOT_FOUND,
				   "\"docs\"");
	create(on, "docs", cosine);
	assert_string_equal(all_ids(on, "docs:more"), "other");
	put_vector(on, "docs", "new", at(1), DIMENSIONS);
	assert_int_equal(get_vector(on, "docs", "ghost").version.index, 0);
	if (strcmp(self->name, "rocksdb") == 0)
	{
		found_vectors answered;

		fixture_reopen(self);
		answered = search_nearest(self->engine, "docs", at(1), DIMENSIONS, 10);
		assert_int_equal(answered.n_vectors, 1);
		assert_string_equal(answered.vectors[0].id.data, "new");
		found_free(&answered);
		assert_string_equal(all_ids(self->engine, "docs:more"), "other");
	}
}

/* ---- Vectors ---- */

static void
test_found_from_their_answer_on(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_version first;
	engine_version second;
	found_vectors answered;

	create(on, "docs", euclidean);
	first = put_vector(on, "docs", "b", at(2), DIMENSIONS);
	assert_string_equal(all_ids(on, "docs"), "b");
	put_vector(on, "docs", "a", at(1), DIMENSIONS);
	put_vector(on, "docs", "c", at(3), DIMENSIONS);
	assert_string_equal(all_ids(on, "docs"), "a,b,c");
	second = put_vector(on, "docs", "b", at(0.5), DIMENSIONS);
	assert_true(second.index > first.index);
	assert_string_equal(all_ids(on, "docs"), "b,a,c");
	assert_true(delete_vector(on, "docs", "a"));
	assert_false(delete_vector(on, "docs", "a"));
	assert_string_equal(all_ids(on, "docs"), "b,c");

	answered = search_nearest(on, "docs", at(1), DIMENSIONS, 1);
	assert_int_equal(answered.n_vectors, 1);
	assert_string_equal(answered.vectors[0].id.data, "b");
	assert_int_equal(answered.vectors[0].version.index, second.index);
	assert_true(fabsf(answered.vectors[0].distance - 0.5f) < 1e-6);
	assert_true(answered.exact);
	found_free(&answered);
}

static void
test_got_as_they_were_put(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	float		odd[DIMENSIONS] = {1e-30f, -0.0f, 3, 4, 5, 6, 7, 1e10f};
	engine_slice ids[] = {TEXT("a"), TEXT("none"), TEXT("a")};
	engine_version version;
	found_vectors answered;

	create(on, "docs", cosine);
	version = put_vector(on, "docs", "a", odd, DIMENSIONS);
	answered = get_vectors(on, "docs", ids, 3);
	assert_int_equal(answered.n_vectors, 3);
	assert_int_equal(answered.vectors[0].version.index, version.index);
	assert_memory_equal(answered.vectors[0].floats, odd, sizeof(odd));
	assert_int_equal(answered.vectors[1].version.index, 0);
	assert_null(answered.vectors[1].floats);
	assert_memory_equal(answered.vectors[2].floats, odd, sizeof(odd));
	found_free(&answered);
}

static void
test_conditions(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_op	put = vector_put_op("docs", "a", at(1), DIMENSIONS);
	engine_op	delete = vector_delete_op("docs", "a");
	engine_version version;
	engine_status status;

	create(on, "docs", euclidean);
	put.condition = ENGINE_IF_ABSENT;
	version = commit_op(on, put, &status).version;
	assert_int_equal(status.code, ENGINE_OK);
	assert_refused(on, put, ENGINE_FAILED_PRECONDITION, "expected absent, present 1/");
	put.condition = ENGINE_IF_VERSION;
	put.version = (engine_version) {version.term, version.index + 1};
	assert_refused(on, put, ENGINE_FAILED_PRECONDITION, "Version mismatch");
	put.version = version;
	put.value.data = (const char *) at(2);
	commit_op(on, put, &status);
	assert_int_equal(status.code, ENGINE_OK);
	delete.condition = ENGINE_IF_VERSION;
	delete.version = version;
	assert_refused(on, delete, ENGINE_FAILED_PRECONDITION, "Version mismatch");
	delete.condition = ENGINE_IF_ABSENT;
	assert_refused(on, delete, ENGINE_INVALID_ARGUMENT, "if_match");
	assert_string_equal(all_ids(on, "docs"), "a");
}

/* A check changes nothing, has no version of its own, and decides about the rest. */
static void
test_checks(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	const engine_version none = {0, 0};
	engine_op	ops[2] = {{.kind = ENGINE_PUT, .key = TEXT("k"), .value = TEXT("v")}};
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = 2};
	engine_version version;
	engine_status status;
	engine_result result;
	answer		done;

	create(on, "docs", euclidean);
	version = put_vector(on, "docs", "a", at(1), DIMENSIONS);
	result = commit_op(on, vector_check_op("docs", "a", version), &status);
	assert_int_equal(status.code, ENGINE_OK);
	assert_int_equal(result.version.index, version.index);
	assert_refused(on, vector_check_op("docs", "a", none), ENGINE_FAILED_PRECONDITION,
				   "expected absent, present 1/");
	commit_op(on, vector_check_op("docs", "b", none), &status);
	assert_int_equal(status.code, ENGINE_OK);
	assert_refused(on, vector_check_op("docs", "b", version), ENGINE_FAILED_PRECONDITION,
				   "present absent");

	ops[1] = vector_check_op("docs", "a", version);
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	assert_int_equal(done.results[0].version.index, version.index + 1);
	answer_free(&done);
	assert_string_equal(all_ids(on, "docs"), "a");
	put_vector(on, "docs", "a", at(1), DIMENSIONS);
	ops[0].value = TEXT("w");
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_FAILED_PRECONDITION);
	assert_int_equal(done.operation, 1);
	assert_int_equal(done.results[1].version.index, version.index + 2);
	answer_free(&done);
	assert_value(on, "k", "v");

	/* one vector has one operation */
	ops[0] = vector_put_op("docs", "a", at(1), DIMENSIONS);
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	answer_free(&done);
	ops[1].condition = ENGINE_IF_ANY;
	assert_refused(on, ops[1], ENGINE_INVALID_ARGUMENT, "needs if_match");
}

/* What was in an index that is gone is absent; nothing of it is in the next one. */
static void
test_checks_without_index(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	const engine_version none = {0, 0};
	engine_version version;
	engine_status status;

	commit_op(on, vector_check_op("docs", "a", none), &status);
	assert_int_equal(status.code, ENGINE_OK);
	create(on, "docs", euclidean);
	version = put_vector(on, "docs", "a", at(1), DIMENSIONS);
	assert_true(drop_index(on, "docs", &status).existed);
	assert_refused(on, vector_check_op("docs", "a", version), ENGINE_FAILED_PRECONDITION,
				   "present absent");
	create(on, "docs", euclidean);
	assert_refused(on, vector_check_op("docs", "a", version), ENGINE_FAILED_PRECONDITION,
				   "present absent");
	commit_op(on, vector_check_op("docs", "a", none), &status);
	assert_int_equal(status.code, ENGINE_OK);
}

/* Document and vector in one unit: both, in one version, or neither. */
static void
test_with_keys_in_one_unit(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_op	ops[] = {
		{.kind = ENGINE_PUT, .key = TEXT("a"), .value = TEXT("text"),
		.condition = ENGINE_IF_ABSENT},
		vector_put_op("docs", "a", at(1), DIMENSIONS),
		vector_put_op("more", "a", at(2), DIMENSIONS),
		vector_delete_op("docs", "gone"),
	};
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = 4};
	answer		done;

	create(on, "docs", euclidean);
	create(on, "more", euclidean);
	put_vector(on, "docs", "gone", at(3), DIMENSIONS);
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(done.results[i].version.index, done.results[0].version.index);
	assert_true(done.results[3].existed);
	answer_free(&done);
	assert_string_equal(all_ids(on, "docs"), "a");
	assert_string_equal(all_ids(on, "more"), "a");
	assert_int_equal(get_vector(on, "docs", "a").version.index,
					 get_text(on, "a").version.index);

	ops[1].key = ops[2].key = TEXT("b");
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_FAILED_PRECONDITION);
	assert_int_equal(done.operation, 0);
	answer_free(&done);
	assert_string_equal(all_ids(on, "docs"), "a");
	assert_int_equal(get_vector(on, "more", "b").version.index, 0);
}

static void
test_each_on_its_own(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_op	ops[] = {
		vector_put_op("docs", "a", at(1), DIMENSIONS),
		vector_put_op("none", "a", at(1), DIMENSIONS),
		vector_put_op("docs", "b", at(2), DIMENSIONS - 1),
		vector_put_op("docs", "c", at(3), DIMENSIONS),
	};
	engine_unit unit = {.atomic = false, .ops = ops, .n_ops = 4};
	answer		done;

	create(on, "docs", euclidean);
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	assert_int_equal(done.results[0].code, ENGINE_OK);
	assert_int_equal(done.results[1].code, ENGINE_NOT_FOUND);
	assert_int_equal(done.results[2].code, ENGINE_INVALID_ARGUMENT);
	assert_int_equal(done.results[3].code, ENGINE_OK);
	assert_true(done.results[3].version.index > done.results[0].version.index);
	answer_free(&done);
	assert_string_equal(all_ids(on, "docs"), "a,c");
}

static void
test_no_vector_twice(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_op	ops[] = {
		vector_put_op("docs", "a", at(1), DIMENSIONS),
		{.kind = ENGINE_DELETE_RANGE},
		vector_put_op("more", "a", at(1), DIMENSIONS),
		vector_delete_op("docs", "a"),
	};
	engine_unit unit = {.atomic = true, .ops = ops, .n_ops = 3};
	answer		done;

	create(on, "docs", euclidean);
	create(on, "more", euclidean);
	/* A key, a vector and a vector elsewhere may have one name. */
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_OK);
	answer_free(&done);
	unit.n_ops = 4;
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	assert_non_null(strstr(done.status.text, "two operations on vector \"a\""));
	answer_free(&done);
	ops[1] = (engine_op) {.kind = ENGINE_INDEX_DROP, .space = TEXT("docs")};
	unit.n_ops = 2;
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	assert_int_equal(done.operation, 1);
	answer_free(&done);
}

/* ---- What is wrong ---- */

static void
test_wrong_vectors(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	float		wrong[DIMENSIONS] = {1, 2, 3, NAN, 5, 6, 7, 8};
	char		long_id[514];

	memset(long_id, 'x', 513);
	long_id[513] = '\0';
	create(on, "docs", cosine);
	assert_refused(on, vector_put_op("docs", "a", wrong, DIMENSIONS),
				   ENGINE_INVALID_ARGUMENT, "component 4 is NaN");
	wrong[3] = -INFINITY;
	assert_refused(on, vector_put_op("docs", "a", wrong, DIMENSIONS),
				   ENGINE_INVALID_ARGUMENT, "component 4 is infinite");
	assert_refused(on, vector_put_op("docs", "a", at(0), DIMENSIONS),
				   ENGINE_INVALID_ARGUMENT, "zero");
	assert_refused(on, vector_put_op("docs", "a", at(1), 3), ENGINE_INVALID_ARGUMENT,
				   "3 dimensions, namespace \"docs\" has 8");
	assert_refused(on, vector_put_op("docs", "a", at(1), 0), ENGINE_INVALID_ARGUMENT,
				   "0 dimensions");
	assert_refused(on, vector_put_op("docs", "", at(1), DIMENSIONS),
				   ENGINE_INVALID_ARGUMENT, "id: 0 bytes");
	assert_refused(on, vector_put_op("docs", long_id, at(1), DIMENSIONS),
				   ENGINE_INVALID_ARGUMENT, "id: 513 bytes, must be 1 to 512");
	assert_refused(on, vector_put_op("docs", "\xff", at(1), DIMENSIONS),
				   ENGINE_INVALID_ARGUMENT, "UTF-8");
	assert_refused(on, vector_put_op("", "a", at(1), DIMENSIONS),
				   ENGINE_INVALID_ARGUMENT, "namespace: 0 bytes");
	assert_refused(on, vector_put_op(long_id, "a", at(1), DIMENSIONS),
				   ENGINE_INVALID_ARGUMENT, "must be 1 to 256");
}

static void
test_wrong_indexes(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_index wrong[] = {
		{0, ENGINE_COSINE, ENGINE_HNSW}, {4097, ENGINE_COSINE, ENGINE_HNSW},
		{8, 0, ENGINE_HNSW}, {8, 4, ENGINE_HNSW}, {8, ENGINE_COSINE, 0},
		{8, ENGINE_COSINE, 3},
	};
	engine_status status;
	engine_index_info info;

	for (size_t i = 0; i < lengthof(wrong); i++)
	{
		create_index(on, "docs", wrong[i], &status);
		assert_int_equal(status.code, ENGINE_INVALID_ARGUMENT);
	}
	assert_false(find_index(on, "docs", &info));
}

static void
test_wrong_searches(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_search search = {.space = TEXT("docs"), .query = at(0),
		.dimensions = DIMENSIONS, .k = 1};
	engine_search wrong[4];

	create(on, "docs", cosine);
	for (size_t i = 0; i < lengthof(wrong); i++)
		wrong[i] = search;
	wrong[1].query = at(1);
	wrong[1].k = 0;
	wrong[2].query = at(NAN);
	wrong[3].query = at(1);
	wrong[3].dimensions = 7;
	for (size_t i = 0; i < lengthof(wrong); i++)
	{
		found_vectors answered = search_vectors(on, wrong[i]);

		assert_int_equal(answered.status.code, ENGINE_INVALID_ARGUMENT);
		found_free(&answered);
	}
}

/* ---- Idempotency ---- */

static void
test_repeated_requests(void **state)
{
	engine	   *on = ((fixture *) *state)->engine;
	engine_op	op = vector_put_op("docs", "a", at(1), DIMENSIONS);
	engine_unit unit = {.atomic = true, .ops = &op, .n_ops = 1,
		.idempotency_key = TEXT("once")};
	engine_version first;
	answer		done;

	create(on, "docs", euclidean);
	commit_unit(on, &unit, &done);
	first = done.results[0].version;
	answer_free(&done);
	assert_true(delete_vector(on, "docs", "a"));
	commit_unit(on, &unit, &done);
	assert_true(done.repeated);
	assert_int_equal(done.results[0].version.index, first.index);
	answer_free(&done);
	assert_string_equal(all_ids(on, "docs"), "");
	op.value.data = (const char *) at(2);
	commit_unit(on, &unit, &done);
	assert_int_equal(done.status.code, ENGINE_INVALID_ARGUMENT);
	answer_free(&done);
	op = (engine_op) {.kind = ENGINE_INDEX_DROP, .space = TEXT("docs")};
	unit.idempotency_key = TEXT("drop");
	commit_unit(on, &unit, &done);
	answer_free(&done);
	create(on, "docs", euclidean);
	commit_unit(on, &unit, &done);
	assert_true(done.repeated && done.results[0].existed);
	answer_free(&done);
	assert_string_equal(all_ids(on, "docs"), "");
}

/* ---- Memory ---- */

/* Refused when there is no room, and room again when an index is gone. */
static void
test_memory_is_limited(void **state)
{
	fixture    *self = *state;
	float		floats[256] = {1};
	char		id[24];
	engine_status status = {0};
	unsigned	n = 0;

	self->max_vector_memory = 4 << 20;
	fixture_reopen(self);
	create(self->engine, "large", (engine_index) {256, ENGINE_COSINE, ENGINE_HNSW});
	while (status.code == ENGINE_OK && n < 10000)
	{
		snprintf(id, sizeof(id), "%u", n++);
		commit_op(self->engine, vector_put_op("large", id, floats, 256), &status);
	}
	assert_int_equal(status.code, ENGINE_RESOURCE_EXHAUSTED);
	assert_non_null(strstr(status.text, "--max-memory"));
	assert_true(n > 500 && n < 4096);
	put_text(self->engine, "key", "value");
	assert_true(delete_vector(self->engine, "large", "0"));
	drop_index(self->engine, "large", &status);
	create(self->engine, "large", (engine_index) {256, ENGINE_COSINE, ENGINE_HNSW});
	/* The memory is given back in the background. */
	for (n = 0; n < 1000; n++)
	{
		commit_op(self->engine, vector_put_op("large", "a", floats, 256), &status);
		if (status.code == ENGINE_OK)
			break;
		usleep(1000);
	}
	assert_int_equal(status.code, ENGINE_OK);
}

/* ---- After a restart ---- */

static void
fill(engine *on, const char *space, unsigned first, unsigned n)
{
	char		id[24];

	for (unsigned i = first; i < first + n; i++)
	{
		snprintf(id, sizeof(id), "%03u", i);
		put_vector(on, space, id, at((float) i + 1), DIMENSIONS);
	}
}

static unsigned
count(engine *on, const char *space)
{
	found_vectors answered = search_nearest(on, space, at(1), DIMENSIONS, 10000);
	unsigned	n = (unsigned) answered.n_vectors;

	found_free(&answered);
	return n;
}

static unsigned
snapshots(const fixture *self)
{
	char		command[160];
	FILE	   *lines;
	unsigned	n = 0;

	snprintf(command, sizeof(command), "ls %s/vectors 2>/dev/null | wc -l",
			 self->directory);
	lines = popen(command, "r");
	assert_int_equal(fscanf(lines, "%u", &n), 1);
	pclose(lines);
	return n;
}

static void
remove_snapshots(const fixture *self)
{
	char		path[160];

	snprintf(path, sizeof(path), "%s/vectors", self->directory);
	remove_tree(path);
}

static void
test_there_after_a_restart(void **state)
{
	fixture    *self = *state;
	engine_version version;

	create(self->engine, "docs", euclidean);
	fill(self->engine, "docs", 0, 50);
	version = put_vector(self->engine, "docs", "000", at(0.5), DIMENSIONS);
	fixture_reopen(self);
	assert_int_equal(snapshots(self), 1);
	assert_int_equal(count(self->engine, "docs"), 50);
	assert_int_equal(get_vector(self->engine, "docs", "000").version.index,
					 version.index);
	/* Without a snapshot: from the store. */
	fixture_close(self);
	remove_snapshots(self);
	fixture_open(self);
	assert_int_equal(count(self->engine, "docs"), 50);
}

/* A copy has the vectors of its instant, without a snapshot; its versions go on. */
static void
test_backup(void **state)
{
	fixture    *self = *state;
	fixture		copy = *self;
	engine_version version;
	engine_status status;

	create(self->engine, "docs", euclidean);
	fill(self->engine, "docs", 0, 20);
	fixture_reopen(self);
	snprintf(copy.directory, sizeof(copy.directory), "%.40s/copy", self->root);
	if (!engine_backup(self->engine, copy.directory, &status))
		fail_msg("%s", status.text);
	version = put_vector(self->engine, "docs", "000", at(100), DIMENSIONS);
	copy.engine = NULL;
	copy.adopt = true;
	fixture_open(&copy);
	assert_int_equal(count(copy.engine, "docs"), 20);
	assert_int_equal(get_vector(copy.engine, "docs", "000").version.term, version.term);
	assert_true(put_vector(copy.engine, "docs", "000", at(0.5), DIMENSIONS).term >
				version.term);
	assert_int_equal(strncmp(all_ids(copy.engine, "docs"), "000,", 4), 0);
	fixture_close(&copy);
	assert_int_equal(count(self->engine, "docs"), 20);
}

/* A snapshot goes with its index. */
static void
test_dropped_with_its_snapshot(void **state)
{
	fixture    *self = *state;
	engine_status status;

	create(self->engine, "docs", euclidean);
	fill(self->engine, "docs", 0, 10);
	fixture_reopen(self);
	assert_int_equal(snapshots(self), 1);
	wait_until_ready(self->engine, "docs");
	drop_index(self->engine, "docs", &status);
	for (int i = 0; i < 2000 && snapshots(self) > 0; i++)
		usleep(1000);
	assert_int_equal(snapshots(self), 0);
}

/* An older snapshot is put back: what was written since is in the store only. */
static void
test_snapshot_is_compared_with_the_store(void **state)
{
	fixture    *self = *state;
	char		command[400];

	create(self->engine, "docs", euclidean);
	fill(self->engine, "docs", 0, 20);
	fixture_close(self);
	snprintf(command, sizeof(command), "cp -r %s/vectors %s/kept", self->directory,
			 self->root);
	assert_int_equal(system(command), 0);
	fixture_open(self);
	assert_true(delete_vector(self->engine, "docs", "003"));
	assert_true(delete_vector(self->engine, "docs", "004"));
	put_vector(self->engine, "docs", "005", at(0.25), DIMENSIONS);
	put_vector(self->engine, "docs", "new", at(0.5), DIMENSIONS);
	fixture_close(self);
	remove_snapshots(self);
	snprintf(command, sizeof(command), "cp -r %s/kept %s/vectors", self->root,
			 self->directory);
	assert_int_equal(system(command), 0);
	fixture_open(self);
	assert_string_equal(all_ids(self->engine, "docs"),
						"005,new,000,001,002,006,007,008,009,010,011,012,013,014,015,"
						"016,017,018,019");
}

static void
test_damaged_snapshot(void **state)
{
	fixture    *self = *state;
	char		command[400];

	create(self->engine, "docs", euclidean);
	fill(self->engine, "docs", 0, 20);
	fixture_close(self);
	snprintf(command, sizeof(command),
			 "for f in %s/vectors/*; do printf x | dd of=$f bs=1 seek=700 conv=notrunc "
			 "2>/dev/null; done", self->directory);
	assert_int_equal(system(command), 0);
	fixture_open(self);
	assert_int_equal(count(self->engine, "docs"), 20);
}

/* The keys are served; the vectors are in the store, and wait for more memory. */
static void
test_too_large_at_the_start(void **state)
{
	fixture    *self = *state;
	engine_search search = {.space = TEXT("docs"), .query = at(1),
		.dimensions = DIMENSIONS, .k = 1};
	engine_index_info info;
	found_vectors answered;

	create(self->engine, "docs", euclidean);
	fill(self->engine, "docs", 0, 50);
	fixture_close(self);
	self->max_vector_memory = 1000;
	fixture_open(self);
	put_text(self->engine, "key", "value");
	wait_until_ready(self->engine, "docs");
	assert_true(find_index(self->engine, "docs", &info));
	assert_int_equal(info.state, ENGINE_INDEX_TOO_LARGE);
	answered = search_vectors(self->engine, search);
	assert_int_equal(answered.status.code, ENGINE_RESOURCE_EXHAUSTED);
	found_free(&answered);
	assert_refused(self->engine, vector_put_op("docs", "a", at(1), DIMENSIONS),
				   ENGINE_RESOURCE_EXHAUSTED, "--max-memory");
	assert_int_not_equal(get_vector(self->engine, "docs", "007").version.index, 0);
	assert_true(delete_vector(self->engine, "docs", "007"));
	fixture_close(self);
	self->max_vector_memory = 0;
	fixture_open(self);
	assert_int_equal(count(self->engine, "docs"), 49);
}

static uint64_t
memory_of(engine *store, const char *space)
{
	engine_index_info info;

	assert_true(find_index(store, space, &info));
	return info.memory_bytes;
}

static void
wait_for_state(engine *store, const char *space, engine_index_state wanted)
{
	engine_index_info info;

	for (int i = 0; i < 3000; i++)
	{
		assert_true(find_index(store, space, &info));
		if (info.state == wanted)
			return;
		usleep(10000);
	}
	fail_msg("%s is in state %d", space, (int) info.state);
}

/* What is changed while there is no room is not there when there is. */
static void
test_too_large_until_there_is_room(void **state)
{
	fixture    *self = *state;
	engine_status status;

	create(self->engine, "big", euclidean);
	create(self->engine, "small", euclidean);
	fill(self->engine, "big", 0, 3000);
	fill(self->engine, "small", 0, 2000);
	self->max_vector_memory = memory_of(self->engine, "big") / 4 * 5;
	fixture_close(self);
	remove_snapshots(self);
	fixture_open(self);
	wait_for_state(self->engine, "big", ENGINE_INDEX_READY);
	wait_for_state(self->engine, "small", ENGINE_INDEX_TOO_LARGE);
	assert_true(delete_vector(self->engine, "small", "007"));
	(void) drop_index(self->engine, "big", &status);
	assert_int_equal(status.code, ENGINE_OK);
	wait_for_state(self->engine, "small", ENGINE_INDEX_READY);
	assert_int_equal(count(self->engine, "small"), 1999);
	put_vector(self->engine, "small", "new", at(0.5), DIMENSIONS);
	assert_int_equal(count(self->engine, "small"), 2000);
	fixture_close(self);
	fixture_open(self);
	assert_int_equal(count(self->engine, "small"), 2000);
}

/* ---- Which ---- */

#define EACH(test) {#test, test, fixture_setup, fixture_teardown, NULL}

static int
run_on(const char *name, CMFixtureFunction fixture_setup)
{
	const struct CMUnitTest tests[] = {
		EACH(test_created_once),
		EACH(test_absent_namespace),
		EACH(test_dropped_and_created_again),
		EACH(test_found_from_their_answer_on),
		EACH(test_got_as_they_were_put),
		EACH(test_conditions),
		EACH(test_checks),
		EACH(test_checks_without_index),
		EACH(test_with_keys_in_one_unit),
		EACH(test_each_on_its_own),
		EACH(test_no_vector_twice),
		EACH(test_wrong_vectors),
		EACH(test_wrong_indexes),
		EACH(test_wrong_searches),
		EACH(test_repeated_requests),
		EACH(test_memory_is_limited),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static int
run_on_disk(CMFixtureFunction fixture_setup)
{
	const struct CMUnitTest tests[] = {
		EACH(test_there_after_a_restart),
		EACH(test_backup),
		EACH(test_dropped_with_its_snapshot),
		EACH(test_snapshot_is_compared_with_the_store),
		EACH(test_damaged_snapshot),
		EACH(test_too_large_at_the_start),
		EACH(test_too_large_until_there_is_room),
	};

	return cmocka_run_group_tests_name("restart", tests, NULL, NULL);
}

int
main(void)
{
	return run_on("memory", fixture_setup_memory) +
		run_on("rocksdb", fixture_setup_rocksdb) +
		run_on_disk(fixture_setup_rocksdb);
}
