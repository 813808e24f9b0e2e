/*
 * committer_upkeep.c - what the committer does beside batches: keeps store time going,
 * sweeps what expired, counts for quotas, gives room back, and brings the store back
 * after a failed write.
 */
#include "committer_state.h"

#include "meta.h"
#include "reserve.h"

#define TICK_MS 250
/* How often a store that failed is tried again. */
#define RETRY_MS 1000
#define RECLAIM_MS 10000
#define ROOM_MS 30000

/* ---- After a failed write ---- */

static bool
read_back(committer *self, engine_status *status)
{
	uint64_t	packed;

	if (!meta_get(self->options.table, META_LAST_VERSION, &packed, status))
		return false;
	/* Empty as yet: the term is what it was at start, and no index was given. */
	self->version = packed != 0 ? version_unpack(packed)
		: (engine_version) {self->version.term, 0};
	return sweep_count_records(&self->sweep, status) &&
		quotas_load(self->options.quotas, false, status);
}

void
committer_refuse_puts(committer *self)
{
	if (!self->full)
		self->options.log(ENGINE_LOG_ERROR,
						  "the disk is full: puts are refused until there is room, "
						  "reads and deletes go on. Free room on the disk, or delete "
						  "keys: their room is given back within seconds");
	self->full = true;
	/* There may be something to give back already. */
	self->deleted = true;
}

/* False: there was no room to make. */
static bool
make_room(committer *self)
{
	committer_refuse_puts(self);
	return self->options.directory != NULL &&
		reserve_release(directory_descriptor(self->options.directory));
}

/*
 * Opening the table anew shows whether the failed batch is in it; what is in it
 * then is on disk.
 */
static void
reopen(committer *self)
{
	bool		was_broken = self->broken;
	engine_status status;

	self->next_retry_ms = monotonic_ms() + RETRY_MS;
	slot_cache_clear(self->slots);
	self->broken = !self->options.table->methods->reopen(self->options.table, &status) ||
		!read_back(self, &status);
	if (!self->broken)
	{
		feed_reset(self->options.feed, self->version);
		return;
	}
	if (status.code == ENGINE_RESOURCE_EXHAUSTED && make_room(self))
	{
		reopen(self);
		return;
	}
	if (!was_broken)
		self->options.log(ENGINE_LOG_ERROR,
						  "the store cannot be opened again, next try in a second: %s",
						  status.text);
}

void
committer_recover(committer *self, const engine_status *failure)
{
	self->options.log(ENGINE_LOG_ERROR, "a write to the store failed: %s", failure->text);
	if (failure->code == ENGINE_RESOURCE_EXHAUSTED && !self->full)
		make_room(self);
	reopen(self);
}

/* ---- Store time, sweeps ---- */

static void
write_now(committer *self, bool sync)
{
	engine_status status;

	if (!self->options.table->methods->write(self->options.table, sync, &status))
		committer_recover(self, &status);
}

/* On disk first, with --sync=off as well: a revived lease is not a lost write. */
void
committer_extend_time(committer *self)
{
	store_time_mark mark;
	engine_status status;

	if (!store_time_next_bound(self->options.time, &mark) || self->broken)
		return;
	meta_put_time(self->options.table, &mark);
	if (self->options.table->methods->write(self->options.table, true, &status))
		store_time_set_bound(self->options.time, mark.bound_ms);
	else
		committer_recover(self, &status);
}

/*
 * Keys that expired go in a version of their own, so that who watches can tell what
 * came before and after. It need not be on disk: what is lost is swept once more.
 */
void
committer_write_swept(committer *self)
{
	const sweep *of = &self->sweep;
	engine_version version = self->version;
	engine_status status;

	version.index++;
	if (of->n_expired > 0)
	{
		quotas_put(self->options.quotas);
		meta_put(self->options.table, META_LAST_VERSION, version_pack(version));
		feed_expect(self->options.feed, version);
	}
	if (!self->options.table->methods->write(self->options.table, false, &status))
	{
		committer_recover(self, &status);
		return;
	}
	if (of->n_expired == 0)
		return;
	quotas_written(self->options.quotas);
	self->version = version;
	sweep_publish(of, version, self->options.feed);
}

static void
sweep_step(committer *self)
{
	uint64_t	now = store_time_now_ms(self->options.time);
	bool		keys_changed;
	bool		records_changed;
	bool		more_keys = sweep_keys(&self->sweep, now, &keys_changed);
	bool		more_records = sweep_records(&self->sweep, now, &records_changed);

	if (keys_changed || records_changed)
		committer_write_swept(self);
	self->deleted = self->deleted || keys_changed || records_changed;
	self->more_to_sweep = (more_keys || more_records) && !self->broken;
}

/* Keys of a quota that is new, or in doubt. */
static void
count_step(committer *self)
{
	bool		changed;
	engine_status status;

	self->more_to_count = quotas_step(self->options.quotas, &changed);
	if (!changed)
		return;
	if (self->options.table->methods->write(self->options.table, false, &status))
		quotas_written(self->options.quotas);
	else
		committer_recover(self, &status);
}

/*
 * At the limit: a whole round at once, lest a request be refused for records
 * that have expired. Not for every request, though, while none has.
 */
void
committer_reclaim_records(committer *self)
{
	uint64_t	now = store_time_now_ms(self->options.time);
	bool		more = true;
	bool		changed;

	if (self->count.records < self->count.limit && self->count.slots < self->count.limit)
		return;
	if (self->broken || now < self->next_reclaim_ms)
		return;
	self->next_reclaim_ms = now + RECLAIM_MS;
	self->sweep.position.size = 0;
	while (more && !self->broken)
	{
		more = sweep_records(&self->sweep, now, &changed);
		if (changed)
			write_now(self, false);
	}
}

/* Also now and then without deletions: what a scan still read may be free now. */
static void
reclaim_room(committer *self, uint64_t now)
{
	table	   *from = self->options.table;
	bool		due = self->deleted || !from->methods->reclaimed(from) ||
		now >= self->next_room_ms;

	if (!due || !from->methods->reclaim(from))
		return;
	self->deleted = false;
	self->next_room_ms = now + ROOM_MS;
}

/* The reserve has to do for the next time, so the last one must be over. */
static bool
is_room_again(const committer *self)
{
	table	   *in = self->options.table;

	return self->options.directory == NULL ||
		(in->methods->reclaimed(in) &&
		 reserve_restore(directory_descriptor(self->options.directory)));
}

static void
try_to_leave_failure(committer *self)
{
	uint64_t	now = monotonic_ms();

	if (now < self->next_retry_ms)
		return;
	self->next_retry_ms = now + RETRY_MS;
	if (!self->full && !self->broken)
	{
		/* It may have been made small, when there was little room. */
		if (self->options.directory != NULL)
			reserve_restore(directory_descriptor(self->options.directory));
		return;
	}
	if (self->broken)
	{
		reopen(self);
		/* What was being written when it broke may be in the store. */
		if (!self->broken)
			vectors_reload(self->options.vectors, self->version);
	}
	if (self->broken || !self->full)
		return;
	if (!is_room_again(self))
	{
		reclaim_room(self, now);
		return;
	}
	self->full = false;
	self->options.log(ENGINE_LOG_INFO, "there is room on the disk again: puts go on");
}

void
committer_tick(committer *self)
{
	uint64_t	now = monotonic_ms();

	if (self->more_to_count && !self->broken)
		count_step(self);
	if (now < self->next_tick_ms && !self->more_to_sweep)
		return;
	if (now >= self->next_tick_ms)
	{
		self->next_tick_ms = now + TICK_MS;
		store_time_draw(self->options.time);
		committer_extend_time(self);
		try_to_leave_failure(self);
	}
	if (!self->broken)
		sweep_step(self);
	if (!self->broken && !self->more_to_count)
		count_step(self);
}
