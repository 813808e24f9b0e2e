/*
 * test_prefix.c - the option key_prefix: that a client never leaves its part of the
 * store, whatever it is asked for, and never notices that there is more.
 *
 * An observer without a prefix puts keys close around the part, and finds them as they
 * were, byte by byte and version by version, after everything.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "internal.h"
#include "support/fake.h"

#define MOST_KEYS 16
#define MANY 300

#define SLICE(array) ((norikv_slice) {array, sizeof(array) - 1})

static char long_prefix[NORIKV_MAX_KEY_PREFIX];
static char longest[NORIKV_MAX_KEY];

/* Those whose last bytes have no successor, zero bytes, escapes, the longest. */
static const norikv_slice prefixes[] = {
	SLICE("tenant:acme:"), SLICE("\0"), SLICE("\xff"), SLICE("\xff\xff"),
	SLICE("a\xff\0\xff"), SLICE("%/\"\\"), {long_prefix, sizeof(long_prefix)},
};

/* Of keys as bytes: each with its own memory. */
typedef struct key_set
{
	norikv_slice keys[MOST_KEYS];
	char		room[MOST_KEYS][2 * NORIKV_MAX_KEY];
	size_t		n;
} key_set;

typedef struct store_part
{
	fake_scene *scene;			/* its client is the one with the prefix */
	norikv_client *observer;
	norikv_slice prefix;
	key_set		outside;
	norikv_version versions[MOST_KEYS];
	bool		fallback;		/* the server has no norikv.ext.v1 */
} store_part;

static bool
begins_with(norikv_slice key, norikv_slice prefix)
{
	return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

static bool
same(norikv_slice a, norikv_slice b)
{
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static void
add(key_set *set, norikv_slice first, norikv_slice second)
{
	char	   *room = set->room[set->n];
	norikv_slice key = {room, first.size + second.size};

	assert_true(set->n < MOST_KEYS);
	memcpy(room, first.data, first.size);
	memcpy(room + first.size, second.data, second.size);
	for (size_t i = 0; i < set->n; i++)
	{
		if (same(set->keys[i], key))
			return;
	}
	set->keys[set->n++] = key;
}

static norikv_call *
wait_on(norikv_client *client, norikv_call *call)
{
	assert_int_equal(norikv_wait(client, &call, 1, 60000), NORIKV_WAIT_DONE);
	if (norikv_call_error(call)->code != NORIKV_OK)
		fail_msg("%s", norikv_call_error(call)->text);
	return call;
}

/* ---- What is outside ---- */

static void
put_by(norikv_client *client, norikv_slice key, norikv_slice value)
{
	norikv_operation put = {.kind = NORIKV_OP_PUT, .key = key, .value = value};

	norikv_call_free(wait_on(client, norikv_write(client, &put, NULL)));
}

static void
add_outside(store_part *part, norikv_slice first, norikv_slice second)
{
	key_set    *set = &part->outside;
	size_t		before = set->n;
	norikv_slice key;

	add(set, first, second);
	key = set->keys[set->n - 1];
	if (key.size == 0 || (begins_with(key, part->prefix) && key.size > part->prefix.size))
		set->n = before;
}

static void
make_outside(store_part *part)
{
	norikv_slice prefix = part->prefix;
	norikv_slice shorter = {prefix.data, prefix.size - 1};
	char		end[NORIKV_MAX_KEY_PREFIX];
	norikv_slice after = {end, norikv_prefix_end(prefix, end)};

	add_outside(part, prefix, SLICE(""));
	add_outside(part, shorter, SLICE(""));
	add_outside(part, shorter, SLICE("\0"));
	add_outside(part, shorter, SLICE("\xff\xff\xff"));
	add_outside(part, after, SLICE(""));
	add_outside(part, after, SLICE("k"));
	add_outside(part, SLICE("k"), SLICE(""));
	add_outside(part, SLICE("k:"), SLICE("1"));
	add_outside(part, SLICE("\0\0"), SLICE(""));
	add_outside(part, SLICE("\xff\xff\xff\xff"), SLICE(""));
	assert_true(part->outside.n >= 5);
}

static const norikv_entry *
see_outside(store_part *part, norikv_call **call)
{
	size_t		n;

	*call = wait_on(part->observer,
					norikv_multi_get(part->observer, part->outside.keys, part->outside.n,
									 NULL));
	return norikv_call_entries(*call, &n);
}

static void
fill_outside(store_part *part)
{
	const norikv_entry *entries;
	norikv_call *call;

	for (size_t i = 0; i < part->outside.n; i++)
		put_by(part->observer, part->outside.keys[i], part->outside.keys[i]);
	entries = see_outside(part, &call);
	for (size_t i = 0; i < part->outside.n; i++)
		part->versions[i] = entries[i].version;
	norikv_call_free(call);
}

static void
check_outside(store_part *part)
{
	norikv_call *call;
	const norikv_entry *entries = see_outside(part, &call);

	for (size_t i = 0; i < part->outside.n; i++)
	{
		assert_true(same(entries[i].value, part->outside.keys[i]));
		assert_int_equal(entries[i].version.term, part->versions[i].term);
		assert_int_equal(entries[i].version.index, part->versions[i].index);
	}
	norikv_call_free(call);
}

/* ---- A part ---- */

static norikv_slice
full(const store_part *part, norikv_slice key, char room[NORIKV_MAX_KEY])
{
	memcpy(room, part->prefix.data, part->prefix.size);
	memcpy(room + part->prefix.size, key.data, key.size);
	return (norikv_slice) {room, part->prefix.size + key.size};
}

static void
open_part(store_part *part, fake_scene *scene, norikv_slice prefix, bool fallback)
{
	norikv_options options = scene->options;

	memset(part, 0, sizeof(*part));
	part->scene = scene;
	part->prefix = prefix;
	part->fallback = fallback;
	options.nodes = scene->nodes[0];
	part->observer = norikv_client_new(&options, NULL);
	assert_non_null(part->observer);
	scene->options.key_prefix = prefix;
	fake_open(scene, 0, 1);
	make_outside(part);
	fill_outside(part);
}

static void
close_part(store_part *part)
{
	check_outside(part);
	norikv_client_free(part->observer);
	part->scene->options.key_prefix = (norikv_slice) {NULL, 0};
}

/* The names a caller could try to get out with, all of them good keys. */
static void
make_keys(const store_part *part, key_set *set)
{
	norikv_slice rest = {longest, NORIKV_MAX_KEY - part->prefix.size};

	set->n = 0;
	add(set, SLICE("k"), SLICE(""));
	add(set, SLICE("\0"), SLICE(""));
	add(set, SLICE("\xff\xff\xff\xff"), SLICE(""));
	add(set, SLICE("../"), SLICE("k"));
	add(set, part->prefix, SLICE(""));
	add(set, part->prefix, SLICE("k"));
	add(set, SLICE(":"), SLICE(""));
	add(set, rest, SLICE(""));
}

/* The value at the full key, as the observer sees it; NULL: there is none. */
static void
expect(store_part *part, norikv_slice key, const char *value)
{
	char		room[NORIKV_MAX_KEY];
	norikv_call *call =
		wait_on(part->observer, norikv_get(part->observer, full(part, key, room), NULL));
	const norikv_entry *entry = norikv_call_entry(call);

	assert_int_equal(entry->version.index != 0, value != NULL);
	if (value != NULL)
		assert_true(same(entry->value, NORIKV_SLICE(value)));
	norikv_call_free(call);
}

/* ---- Single calls, alone and together ---- */

static void
check_single(store_part *part, const key_set *set)
{
	fake_scene *scene = part->scene;
	norikv_call *calls[MOST_KEYS];

	for (size_t i = 0; i < set->n; i++)
	{
		norikv_operation put = {.kind = NORIKV_OP_PUT, .key = set->keys[i],
		.value = SLICE("1")};

		norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &put, NULL)));
		expect(part, set->keys[i], "1");
	}
	for (size_t i = 0; i < set->n; i++)
		calls[i] = norikv_get(scene->client, set->keys[i], NULL);
	for (size_t i = 0; i < set->n; i++)
	{
		const norikv_entry *entry = norikv_call_entry(fake_wait_ok(scene, calls[i]));

		assert_true(same(entry->key, set->keys[i]));
		assert_true(same(entry->value, SLICE("1")));
		norikv_call_free(calls[i]);
	}
	/* what is outside is absent, whatever it is called here */
	for (size_t i = 0; i < part->outside.n; i++)
	{
		norikv_slice key = part->outside.keys[i];
		norikv_call *call;
		bool		known = false;

		if (key.size > norikv_max_key(scene->client))
			continue;
		for (size_t j = 0; j < set->n; j++)
			known |= same(key, set->keys[j]);
		call = fake_wait_ok(scene, norikv_get(scene->client, key, NULL));
		assert_int_equal(norikv_call_entry(call)->version.index != 0, known);
		norikv_call_free(call);
	}
}

/* Started together, so that they go as one Commit where the server has it. */
static void
check_together(store_part *part)
{
	static char names[MANY][16];
	static norikv_call *calls[MANY];
	fake_scene *scene = part->scene;

	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < MANY; i++)
		{
			norikv_operation put = {.kind = pass == 0 ? NORIKV_OP_PUT : NORIKV_OP_DELETE};

			sprintf(names[i], "together:%03d", i);
			put.key = put.value = NORIKV_SLICE(names[i]);
			calls[i] = norikv_write(scene->client, &put, NULL);
		}
		for (int i = 0; i < MANY; i++)
			norikv_call_free(fake_wait_ok(scene, calls[i]));
		expect(part, NORIKV_SLICE(names[0]), pass == 0 ? names[0] : NULL);
		expect(part, NORIKV_SLICE(names[MANY - 1]), pass == 0 ? names[MANY - 1] : NULL);
	}
}

static norikv_version
version_of(store_part *part, norikv_slice key)
{
	norikv_call *call =
		fake_wait_ok(part->scene, norikv_get(part->scene->client, key, NULL));
	norikv_version version = norikv_call_entry(call)->version;

	norikv_call_free(call);
	return version;
}

/* Conditions, which servers without norikv.ext.v1 have to be helped with. */
static void
check_conditions(store_part *part)
{
	fake_scene *scene = part->scene;
	norikv_operation operation = {.kind = NORIKV_OP_PUT, .key = SLICE("new"),
	.value = SLICE("v"), .condition = NORIKV_IF_ABSENT};
	norikv_call *call;

	norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &operation, NULL)));
	expect(part, SLICE("new"), "v");
	operation.value = SLICE("w");
	call = fake_wait(scene, norikv_write(scene->client, &operation, NULL));
	assert_true(norikv_call_error(call)->version_mismatch);
	/* the caller's name for it, and not the server's */
	assert_non_null(strstr(norikv_call_error(call)->text, " of \"new\" on "));
	norikv_call_free(call);
	operation.condition = NORIKV_IF_VERSION;
	operation.version = version_of(part, SLICE("new"));
	operation.kind = NORIKV_OP_DELETE;
	norikv_call_free(fake_wait_ok(scene, norikv_write(scene->client, &operation, NULL)));
	assert_int_equal(version_of(part, SLICE("new")).index, 0);
}

/* ---- Batches ---- */

static void
check_multi_get(store_part *part, const key_set *set)
{
	fake_scene *scene = part->scene;
	norikv_call *call =
		fake_wait_ok(scene, norikv_multi_get(scene->client, set->keys, set->n, NULL));
	const norikv_entry *entries;
	size_t		n;

	entries = norikv_call_entries(call, &n);
	assert_int_equal(n, set->n);
	for (size_t i = 0; i < n; i++)
	{
		assert_true(same(entries[i].key, set->keys[i]));
		assert_true(same(entries[i].value, SLICE("1")));
	}
	norikv_call_free(call);
}

static void
check_commit(store_part *part, const key_set *set)
{
	fake_scene *scene = part->scene;
	norikv_operation operations[MOST_KEYS];
	norikv_call_options options = {.idempotency_key = SLICE("once")};

	for (int pass = 0; pass < 2; pass++)
	{
		bool		atomic = pass == 1 && !part->fallback;

		for (size_t i = 0; i < set->n; i++)
			operations[i] = (norikv_operation) {
				.kind = pass == 0 ? NORIKV_OP_PUT : NORIKV_OP_DELETE,
				.key = set->keys[i], .value = SLICE("c"),
			};
		norikv_call_free(fake_wait_ok(scene, norikv_commit(scene->client, operations,
															set->n, atomic,
															pass == 0 ? &options : NULL)));
		for (size_t i = 0; i < set->n; i++)
			expect(part, set->keys[i], pass == 0 ? "c" : NULL);
	}
}

/* Checks, additions and their errors; of norikvd alone. */
static void
check_kinds(store_part *part)
{
	fake_scene *scene = part->scene;
	norikv_operation operations[] = {
		{.kind = NORIKV_OP_ADD, .key = SLICE("n"), .delta = 5},
		{.kind = NORIKV_OP_CHECK, .key = SLICE("k"), .condition = NORIKV_IF_ABSENT},
	};
	norikv_operation add_to_text = {.kind = NORIKV_OP_ADD, .key = SLICE("text")};
	norikv_call *call;

	norikv_call_free(fake_wait_ok(scene, norikv_commit(scene->client, operations, 2, true,
														NULL)));
	expect(part, SLICE("n"), "5");
	put_by(scene->client, SLICE("text"), SLICE("t"));
	call = fake_wait(scene, norikv_commit(scene->client, &add_to_text, 1, true, NULL));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_INVALID_ARGUMENT);
	/* the server shows no more than the beginning of a long key */
	if (part->prefix.size < NORIKV_MAX_KEY_PREFIX)
		assert_non_null(strstr(norikv_call_error(call)->text, "key \"text\" holds"));
	norikv_call_free(call);
}

/* ---- Ranges ---- */

static size_t
scan_keys(store_part *part, norikv_scan_request request, norikv_slice *first, char *room)
{
	fake_scene *scene = part->scene;
	norikv_call *call = norikv_scan(scene->client, &request, NULL);
	size_t		total = 0;

	do
	{
		const norikv_entry *entries;
		size_t		n;

		fake_wait_ok(scene, call);
		entries = norikv_call_entries(call, &n);
		if (total == 0 && n > 0)
			*first = (norikv_slice) {memcpy(room, entries[0].key.data,
											 entries[0].key.size), entries[0].key.size};
		total += n;
	} while (norikv_call_next(call));
	assert_int_equal(norikv_call_error(call)->code, NORIKV_OK);
	if (request.count_only)
		total = norikv_call_count(call);
	norikv_call_free(call);
	return total;
}

static void
check_scan(store_part *part, const key_set *set)
{
	char		room[NORIKV_MAX_KEY];
	norikv_slice first = {NULL, 0};
	norikv_scan_request all = {.start = {NULL, 0}};
	norikv_scan_request reverse = {.reverse = true};
	norikv_scan_request last = {.reverse = true, .max_rows = 1, .keys_only = true};
	norikv_scan_request count = {.count_only = true};
	norikv_scan_request from = {.start = SLICE("\xff")};
	norikv_scan_request until = {.end = SLICE("\0\0")};

	for (size_t i = 0; i < set->n; i++)
		put_by(part->scene->client, set->keys[i], SLICE("s"));
	assert_int_equal(scan_keys(part, all, &first, room), set->n);
	assert_true(same(first, SLICE("\0")));
	assert_int_equal(scan_keys(part, reverse, &first, room), set->n);
	assert_true(begins_with(first, SLICE("\xff\xff")));
	assert_int_equal(scan_keys(part, last, &first, room), 1);
	assert_true(begins_with(first, SLICE("\xff\xff")));
	assert_int_equal(scan_keys(part, count, &first, room), set->n);
	assert_true(scan_keys(part, from, &first, room) >= 1);
	assert_true(scan_keys(part, until, &first, room) >= 1);
	assert_true(same(first, SLICE("\0")));
}

static void
delete_range(store_part *part, norikv_slice start, norikv_slice end, size_t expected)
{
	fake_scene *scene = part->scene;
	norikv_operation range = {.kind = NORIKV_OP_DELETE_RANGE, .key = start,
	.end_key = end};
	norikv_call *call =
		fake_wait_ok(scene, norikv_commit(scene->client, &range, 1, true, NULL));
	size_t		n;

	assert_int_equal(norikv_call_results(call, &n)->deleted, expected);
	norikv_call_free(call);
	check_outside(part);
}

static void
check_delete_range(store_part *part, const key_set *set)
{
	norikv_slice longest_bound = {longest, norikv_max_key(part->scene->client)};

	delete_range(part, SLICE("zzz"), SLICE("a"), 0);
	delete_range(part, SLICE(""), SLICE("\0\0"), 1);
	delete_range(part, SLICE("\xff\xff\xff\xff"), SLICE(""), 1);
	delete_range(part, longest_bound, longest_bound, 0);
	delete_range(part, SLICE(""), SLICE(""), set->n - 2);
	for (size_t i = 0; i < set->n; i++)
		expect(part, set->keys[i], NULL);
}

static void
check_ranges(store_part *part, const key_set *set)
{
	delete_range(part, SLICE(""), SLICE("n"), 0);
	delete_range(part, SLICE(""), SLICE(""), 2);
	check_scan(part, set);
	check_delete_range(part, set);
}

/* ---- Idempotency ---- */

/* The same key of two clients: each one's request is done, and none answers the other. */
static void
check_idempotency(store_part *part)
{
	norikv_call_options options = {.idempotency_key = SLICE("shared")};
	norikv_operation put = {.kind = NORIKV_OP_PUT, .key = SLICE("i"),
	.value = SLICE("1")};
	char		room[NORIKV_MAX_KEY];
	norikv_operation same_key = put;

	same_key.key = full(part, put.key, room);
	for (int i = 0; i < 2; i++)
		norikv_call_free(fake_wait_ok(part->scene, norikv_write(part->scene->client, &put,
																 &options)));
	put.value = SLICE("2");
	norikv_call_free(fake_wait(part->scene, norikv_write(part->scene->client, &put,
														  &options)));
	expect(part, SLICE("i"), "1");
	same_key.value = SLICE("3");
	norikv_call_free(wait_on(part->observer, norikv_write(part->observer, &same_key,
														   &options)));
	expect(part, SLICE("i"), "3");
}

/* ---- Limits ---- */

static void
refused(store_part *part, norikv_call *call, const char *words)
{
	fake_wait(part->scene, call);
	assert_int_equal(norikv_call_error(call)->code, NORIKV_INVALID_ARGUMENT);
	assert_true(norikv_call_error(call)->never_sent);
	assert_non_null(strstr(norikv_call_error(call)->text, words));
	norikv_call_free(call);
}

static void
check_limits(store_part *part)
{
	norikv_client *client = part->scene->client;
	size_t		limit = norikv_max_key(client);
	norikv_slice key = {longest, limit + 1};
	norikv_operation put = {.kind = NORIKV_OP_PUT, .key = key};
	norikv_operation range = {.kind = NORIKV_OP_DELETE_RANGE, .key = {longest, limit + 2}};
	norikv_scan_request scan = {.end = {longest, limit + 2}};
	norikv_call_options options = {.idempotency_key = {longest, 512}};
	norikv_operation small = {.kind = NORIKV_OP_PUT, .key = SLICE("k")};

	assert_int_equal(limit, NORIKV_MAX_KEY - part->prefix.size);
	if (limit + 2 > sizeof(longest))
		range.key.size = scan.end.size = 0;
	refused(part, norikv_get(client, key, NULL), "key prefix takes");
	refused(part, norikv_get(client, SLICE(""), NULL), "key of 0 bytes");
	refused(part, norikv_multi_get(client, &key, 1, NULL), "key prefix takes");
	refused(part, norikv_write(client, &put, NULL), "key prefix takes");
	refused(part, norikv_commit(client, &put, 1, true, NULL), "key prefix takes");
	if (range.key.size > 0)
	{
		refused(part, norikv_commit(client, &range, 1, true, NULL), "start of the range");
		refused(part, norikv_scan(client, &scan, NULL), "end of a scan");
	}
	refused(part, norikv_write(client, &small, &options), "key prefix takes");
}

/* ---- Programs ---- */

static void
try_everything(fake_scene *scene, norikv_slice prefix, bool fallback)
{
	key_set    *set = calloc(1, sizeof(*set));
	store_part *one = calloc(1, sizeof(*one));

	open_part(one, scene, prefix, fallback);
	make_keys(one, set);
	check_single(one, set);
	check_multi_get(one, set);
	check_together(one);
	check_conditions(one);
	check_commit(one, set);
	if (!fallback)
	{
		check_kinds(one);
		check_ranges(one, set);
	}
	check_idempotency(one);
	check_limits(one);
	close_part(one);
	free(one);
	free(set);
}

static void
test_norikvd(void **state)
{
	fake_scene *scene = *state;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
	{
		fake_start_norikvd(scene);
		try_everything(scene, prefixes[i], false);
		fake_stop(scene, 0);
	}
}

/* Servers that have nothing but norikv.v1. */
static void
test_fallback(void **state)
{
	fake_scene *scene = *state;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
	{
		fake_start(scene, 0, "--ignore-delete-condition", "1", NULL);
		try_everything(scene, prefixes[i], true);
		fake_stop(scene, 0);
	}
}

/* A scan that breaks goes on where it was, in the part. */
static void
test_broken_scan(void **state)
{
	fake_scene *scene = *state;
	norikv_slice first;
	char		room[NORIKV_MAX_KEY];
	char		name[16];
	norikv_scan_request all = {.start = {NULL, 0}};
	store_part *one = calloc(1, sizeof(*one));

	fake_start(scene, 0, "--ext", "1", "--chunk", "7", "--break-stream", "3", NULL);
	open_part(one, scene, SLICE("tenant:acme:"), false);
	for (int i = 0; i < 100; i++)
	{
		sprintf(name, "%03d", i);
		put_by(scene->client, NORIKV_SLICE(name), SLICE("v"));
	}
	assert_int_equal(scan_keys(one, all, &first, room), 100);
	assert_true(same(first, SLICE("000")));
	close_part(one);
	free(one);
}

static void
test_option(void **state)
{
	norikv_options options;
	norikv_error error;

	(void) state;
	norikv_options_init(&options);
	options.nodes = "unix:/nowhere";
	options.key_prefix = (norikv_slice) {longest, NORIKV_MAX_KEY_PREFIX + 1};
	assert_null(norikv_client_new(&options, &error));
	assert_int_equal(error.code, NORIKV_INVALID_ARGUMENT);
	assert_non_null(strstr(error.text, "key_prefix"));
}

/* ---- Units: what watches need, and scopes that never meet ---- */

static norikv_client
with_prefix(norikv_slice prefix)
{
	norikv_client client = {0};
	norikv_error error;

	assert_true(nk_prefix_init(&client.prefix, prefix, &error));
	return client;
}

static void
check_range(const norikv_client *client, norikv_slice start, norikv_slice end,
			const char *own_start, const char *own_end)
{
	bool		left = nk_strip_range(client, &start, &end);

	assert_int_equal(left, own_start != NULL);
	if (!left)
		return;
	assert_true(same(start, NORIKV_SLICE(own_start)));
	assert_true(same(end, NORIKV_SLICE(own_end)));
}

static void
test_ranges_of_others(void **state)
{
	norikv_client client = with_prefix(SLICE("b:"));
	norikv_client last = with_prefix(SLICE("\xff"));

	(void) state;
	check_range(&client, SLICE(""), SLICE(""), "", "");
	check_range(&client, SLICE("a"), SLICE("b:"), NULL, NULL);
	check_range(&client, SLICE("a"), SLICE("b:k"), "", "k");
	check_range(&client, SLICE("b:k"), SLICE("c"), "k", "");
	check_range(&client, SLICE("b:k"), SLICE("b:l"), "k", "l");
	check_range(&client, SLICE("b;"), SLICE(""), NULL, NULL);
	check_range(&client, SLICE("b:"), SLICE("b;"), "", "");
	check_range(&last, SLICE("\xfe"), SLICE(""), "", "");
	check_range(&last, SLICE("\xfe"), SLICE("\xff"), NULL, NULL);
	check_range(&last, SLICE("\xff" "a"), SLICE(""), "a", "");
	nk_prefix_free(&client.prefix);
	nk_prefix_free(&last.prefix);
}

static void
scoped(norikv_slice prefix, const char *key, char out[NK_IDEMPOTENCY_KEY_SIZE])
{
	norikv_client client = with_prefix(prefix);
	norikv_call_options options = {.idempotency_key = NORIKV_SLICE(key)};

	assert_true(nk_idempotency_key(&client, &options, out));
	nk_prefix_free(&client.prefix);
}

static void
test_scopes(void **state)
{
	char		a[NK_IDEMPOTENCY_KEY_SIZE];
	char		b[NK_IDEMPOTENCY_KEY_SIZE];

	(void) state;
	scoped(SLICE("a:"), "b:k", a);
	scoped(SLICE("a:b:"), "k", b);
	assert_string_not_equal(a, b);
	scoped(SLICE("a"), "/k", a);
	scoped(SLICE("a/"), "k", b);
	assert_string_not_equal(a, b);
	scoped(SLICE("a\0"), "k", a);
	scoped(SLICE("a%00"), "k", b);
	assert_string_not_equal(a, b);
	scoped(SLICE(""), "k", a);
	assert_string_equal(a, "k");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_norikvd), TEST(test_fallback), TEST(test_broken_scan),
		cmocka_unit_test(test_option), cmocka_unit_test(test_ranges_of_others),
		cmocka_unit_test(test_scopes),
	};

	memset(long_prefix, 'p', sizeof(long_prefix));
	memset(longest, 'x', sizeof(longest));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
