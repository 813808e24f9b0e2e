/*
 * committer_defer.c - vectors that come faster than graphs grow.
 *
 * A vector is found from its answer on, and until it has its place in the graph every
 * search reads it. So where many wait for theirs, units with more of them wait before
 * they are begun, and nothing else does: not the committer, nor units of keys.
 *
 * They do not wait for long. A caller whose time is over does not know what became of
 * its unit; one that is told that nothing was done does, and comes again.
 */
#include "committer_state.h"
#include "words.h"

/* Less than clients give a request by default. */
#define LONGEST_WAIT_MS 500

/* A put that would have to wait; NULL: the unit can go on. */
static const engine_op *
find_obstacle(committer *self, const engine_unit *unit)
{
	for (size_t i = 0; i < unit->n_ops; i++)
	{
		vector_space *space;

		if (unit->ops[i].kind != ENGINE_VECTOR_PUT)
			continue;
		/* One is enough to know: a unit is seldom of several namespaces. */
		space = vectors_find(self->options.vectors, unit->ops[i].space);
		return space != NULL && vector_space_is_behind(space) ? &unit->ops[i] : NULL;
	}
	return NULL;
}

static void
send_back(engine_unit *unit, const engine_op *put)
{
	engine_outcome outcome = {.operation = -1};
	char		shown[SLICE_SHOWN];

	status_set(&outcome.status, ENGINE_UNAVAILABLE,
			   "the graph of namespace \"%s\" is thousands of vectors behind, "
			   WORDS_NOTHING_DONE WORDS_TRY_AGAIN,
			   slice_show(put->space, shown, sizeof(shown)));
	unit->done(unit->arg, &outcome);
}

typedef enum turn
{
	NOW,
	LATER,
	NOT_NOW						/* it has its answer, and is its caller's again */
} turn;

static turn
choose(committer *self, engine_unit *unit)
{
	const engine_op *put = find_obstacle(self, unit);
	uint64_t	now;

	if (put == NULL)
		return NOW;
	now = monotonic_ms();
	if (unit->deferred_ms == 0)
		unit->deferred_ms = now;
	if (now - unit->deferred_ms < LONGEST_WAIT_MS)
		return LATER;
	send_back(unit, put);
	return NOT_NOW;
}

engine_unit *
committer_choose(committer *self, engine_unit *units, bool closing)
{
	engine_unit *sources[] = {self->deferred, units};
	engine_unit *chosen = NULL;
	engine_unit **chosen_end = &chosen;
	engine_unit **deferred_end = &self->deferred;

	self->deferred = NULL;
	for (size_t i = 0; i < lengthof(sources); i++)
	{
		engine_unit *next;

		for (engine_unit *unit = sources[i]; unit != NULL; unit = next)
		{
			turn		its_turn = NOW;
			engine_unit ***end;

			next = unit->next;
			unit->next = NULL;
			if (unit->puts_vectors && !closing)
				its_turn = choose(self, unit);
			if (its_turn == NOT_NOW)
				continue;
			end = its_turn == LATER ? &deferred_end : &chosen_end;
			**end = unit;
			*end = &unit->next;
		}
	}
	return chosen;
}
