/*
 * committer_defer.c - vectors that come faster than graphs grow.
 *
 * A vector is found from its answer on, and until it has its place in the graph every
 * search reads it. So where many wait for theirs, units with more of them wait before
 * they are begun, and nothing else does: not the committer, nor units of keys.
 */
#include "committer_state.h"

static bool
must_wait(committer *self, const engine_unit *unit)
{
	for (size_t i = 0; i < unit->n_ops; i++)
	{
		vector_space *space;

		if (unit->ops[i].kind != ENGINE_VECTOR_PUT)
			continue;
		/* One is enough to know: a unit is seldom of several namespaces. */
		space = vectors_find(self->options.vectors, unit->ops[i].space);
		return space != NULL && vector_space_is_behind(space);
	}
	return false;
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
			bool		waits = unit->puts_vectors && !closing && must_wait(self, unit);
			engine_unit ***end = waits ? &deferred_end : &chosen_end;

			next = unit->next;
			unit->next = NULL;
			**end = unit;
			*end = &unit->next;
		}
	}
	return chosen;
}
