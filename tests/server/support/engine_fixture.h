/*
 * engine_fixture.h - an engine under test: opened, called synchronously, with a
 * clock that stands still until it is moved, and a directory that goes away.
 */
#ifndef ENGINE_FIXTURE_H
#define ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine.h"
#include "util.h"

typedef struct fixture
{
	const char *name;			/* of the engine */
	char		root[40];		/* holds all a test makes */
	char		directory[64];
	bool		sync;
	bool		adopt;
	const char *owner;
	uint64_t	max_idempotency;
	uint64_t	max_memory;
	uint64_t	max_vector_memory;	/* 0: no limit */
	bool		system_clock;
	engine	   *engine;
	engine_clock clock;
	_Atomic uint64_t wall_ns;
	_Atomic uint64_t boot_ns;
} fixture;

/* With defaults, not opened. The directory is a new one. */
extern void fixture_init(fixture *self, const char *engine_name);
/* A clock of the fixture's own, at this instant. fixture_init() does it. */
extern void fixture_clock(fixture *self, uint64_t wall_ns);
extern bool fixture_try_open(fixture *self, engine_status *status);
extern void fixture_open(fixture *self);
extern void fixture_close(fixture *self);
extern void fixture_reopen(fixture *self);
/* Closes, and removes the root. */
extern void fixture_end(fixture *self);

/* Both clocks go on; then the wall clock alone is set. */
extern void fixture_pass_ms(fixture *self, uint64_t milliseconds);
extern void fixture_step_wall_ms(fixture *self, int64_t milliseconds);
extern uint64_t fixture_store_time(fixture *self);

/* cmocka's group set-up and tear-down for each engine; *state is the fixture. */
extern int	fixture_setup_memory(void **state);
extern int	fixture_setup_rocksdb(void **state);
extern int	fixture_teardown(void **state);

extern void remove_tree(const char *path);
extern void log_to_stderr(engine_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A tenth of the rounds, unless NORIKV_STRESS=1. At least one. */
extern unsigned rounds(unsigned full);
/* NORIKV_SEED, or a new one; printed. */
extern uint64_t seed(void);
extern uint64_t random_below(uint64_t *state, uint64_t limit);

/* ---- Calls that wait ---- */

#define TEXT(literal) ((engine_slice) {(literal), strlen(literal)})

/* Owns copies of what the outcome pointed to. */
typedef struct answer
{
	engine_status status;
	int64_t		operation;
	engine_result *results;
	size_t		n_results;
	bool		repeated;
	arena		memory;
} answer;

extern void commit_unit(engine *on, engine_unit *unit, answer *to);
extern void answer_free(answer *self);

/* One operation as an atomic unit; the answer's only result is returned. */
extern engine_result commit_op(engine *on, engine_op op, engine_status *status);
extern engine_version put_text(engine *on, const char *key, const char *value);
extern engine_version put_ttl(engine *on, const char *key, const char *value,
							  uint64_t ttl_ms);
extern bool delete_text(engine *on, const char *key);

/* A copy of the entry, value ended by NUL; version.index 0: absent. */
typedef struct got
{
	engine_version version;
	uint64_t	expires_at_ms;
	size_t		size;
	char		value[128];		/* as much as fits */
} got;

extern got	get_key(engine *on, engine_slice key);
extern got	get_text(engine *on, const char *key);
#define assert_absent(on, key) assert_int_equal(get_text((on), (key)).version.index, 0)
#define assert_value(on, key, text) \
	assert_string_equal(get_text((on), (key)).value, (text))

typedef struct page
{
	engine_status status;
	engine_entry *entries;
	size_t		n_entries;
	uint64_t	count;
	bool		snapshot_moved;
	bool		last;
	arena		memory;
} page;

extern void read_page(engine *on, engine_cursor *cursor, size_t max_bytes, page *to);
extern void page_free(page *self);
extern uint64_t count_keys(engine *on);

#endif
