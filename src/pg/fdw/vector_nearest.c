/*
 * vector_nearest.c - rows in the order of their distance from a vector: those that the
 * server finds, page by page until there are no more, and those that the transaction
 * has put, merged.
 *
 * What must hold: an id that the transaction has changed, as far as the command sees
 * it, is taken from the buffer and never from the server.
 */
#include "fdw/vector_table.h"

#include <math.h>

#include "access/xact.h"
#include "utils/plancache.h"

/* A row that the transaction has put. */
typedef struct NorikvNearRow
{
	norikv_slice id;
	norikv_slice value;
	float distance;
} NorikvNearRow;

/* ---- Distances ---- */

static void
check_dimensions(const NorikvNearest *nearest, int dimensions)
{
	if (dimensions != nearest->query.dimensions)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("vectors must have the same number of dimensions, but they have "
					   "%d and %d", dimensions, nearest->query.dimensions));
}

static double
distance_of(const NorikvNearest *nearest, NorikvVector vector)
{
	check_dimensions(nearest, vector.dimensions);
	return NorikvVectorDistance(nearest->distance, vector, nearest->query);
}

/* ---- Vectors of matches ---- */

static const norikv_vector *
read_vector(NorikvNearest *nearest, size_t number)
{
	if (nearest->keys_only)
		return &nearest->matches[number];
	return NorikvVectorOfMatch(&nearest->reader, nearest->matches, nearest->n_matches,
							   number);
}

/* Whether the server measured what the plan counts on. */
static bool
is_as_planned(NorikvNearest *nearest, size_t number)
{
	const norikv_vector *match = &nearest->matches[number];
	const norikv_vector *read = read_vector(nearest, number);
	double expected;

	if (read->vector == NULL || !NorikvSameVersion(read->version, match->version))
		return true;
	expected = distance_of(nearest, (NorikvVector){read->dimensions, read->vector});
	return fabs(expected - match->distance) <= 1e-3 * Max(1, fabs(expected));
}

/*
 * The plan may be older than the index. What the server measures shows in its first
 * answer; before that is called an error, the index itself is asked for.
 */
static void
check_measure(NorikvNearest *nearest)
{
	NorikvTable *table = nearest->table;
	size_t n = nearest->n_matches;

	/* Vectors that are read a batch at a time are read from the first one on. */
	if (n == 0 || (is_as_planned(nearest, 0) && (nearest->matches[0].vector == NULL ||
												 is_as_planned(nearest, n - 1))))
		return;
	(void) NorikvAskForIndex(table, nearest->connection, true);
	if (table->index.distance == nearest->distance)
		return;
	ResetPlanCache();
	ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("vector index %s is another one than the query was planned for",
				   NorikvShowKey(table->space)),
			errdetail("It measures %s distances, and the plan counts on %s ones.",
					  NorikvDistanceName(table->index.distance),
					  NorikvDistanceName(nearest->distance)),
			errhint("Run the query again."));
}

/* What was known of the index may be old: before it is an error, it is asked again. */
static void
check_query(NorikvNearest *nearest)
{
	NorikvTable *table = nearest->table;
	int dimensions = nearest->query.dimensions;

	if (table->index.exists && dimensions == table->index.dimensions)
		return;
	(void) NorikvAskForIndex(table, nearest->connection, true);
	if (dimensions != table->index.dimensions)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("vector index %s has %u dimensions, but the vector that foreign "
					   "table \"%s\" is ordered by has %d", NorikvShowKey(table->space),
					   table->index.dimensions, table->name, dimensions));
}

/* ---- Rows of the buffer ---- */

static int
compare_rows(const void *a, const void *b)
{
	const NorikvNearRow *left = a;
	const NorikvNearRow *right = b;

	if (left->distance != right->distance)
		return left->distance < right->distance ? -1 : 1;
	return NorikvCompareKeys(left->id, right->id);
}

static void
measure_written(NorikvNearest *nearest)
{
	const norikv_slice none = {NULL, 0};
	NorikvBufferIterator iterator;
	const NorikvChange *change;
	norikv_slice id;
	size_t room = 64;

	nearest->written = palloc(sizeof(NorikvNearRow) * room);
	NorikvBufferIterate(&iterator, nearest->buffer, none, none, false, nearest->curcid);
	while ((change = NorikvBufferNext(&iterator, &id)) != NULL)
	{
		NorikvVector vector = NorikvVectorOfValue(change->value);

		if (change->kind != NORIKV_CHANGE_PUT)
			continue;
		if (nearest->n_written == room)
		{
			room *= 2;
			nearest->written =
				repalloc_huge(nearest->written, sizeof(NorikvNearRow) * room);
		}
		nearest->written[nearest->n_written++] =
			(NorikvNearRow){id, change->value, (float) distance_of(nearest, vector)};
	}
	if (nearest->n_written > 1)
		qsort(nearest->written, nearest->n_written, sizeof(NorikvNearRow), compare_rows);
}

/* ---- The server's ---- */

void
NorikvNearestAddStats(const NorikvNearest *nearest, NorikvSourceStats *sum)
{
	norikv_call_stats stats;

	if (nearest->call == NULL)
		return;
	stats = norikv_call_get_stats(nearest->call->call);
	sum->round_trips += stats.round_trips + nearest->reader.done.round_trips;
	sum->bytes_sent += stats.bytes_sent + nearest->reader.done.bytes_sent;
	sum->bytes_received += stats.bytes_received + nearest->reader.done.bytes_received;
}

void
NorikvNearestEnd(NorikvNearest *nearest)
{
	if (nearest->call == NULL)
		return;
	NorikvEndBatch(&nearest->reader);
	NorikvNearestAddStats(nearest, nearest->stats);
	NorikvFree(nearest->call);
	nearest->call = NULL;
	nearest->n_matches = nearest->next_match = 0;
}

void
NorikvNearestStart(NorikvNearest *nearest)
{
	norikv_search_request request = {
		.space = nearest->table->space,
		.query = nearest->query.values,
		.dimensions = nearest->query.dimensions,
		.k = nearest->first_page,
		.include_vectors =
			!nearest->keys_only &&
			!NorikvLeaveOutVectors(nearest->first_page, nearest->query.dimensions),
		.ef = norikv_ef_search,
		.continued = true,
	};

	check_query(nearest);
	nearest->reader = (NorikvMatchReader){nearest->connection, nearest->table->space,
										  nearest->query.dimensions};
	nearest->buffer = NorikvBufferFor(nearest->connection, nearest->table->space);
	nearest->awaited = false;
	nearest->n_matches = nearest->next_match = 0;
	nearest->n_written = nearest->next_written = 0;
	nearest->call = NorikvStartVectorSearch(nearest->connection, &request);
	if (nearest->buffer != NULL)
		measure_written(nearest);
}

static bool
is_changed(const NorikvNearest *nearest, norikv_slice id)
{
	return nearest->buffer != NULL &&
		   NorikvBufferFind(nearest->buffer, id, nearest->curcid) != NULL;
}

static bool
next_page(NorikvNearest *nearest)
{
	NorikvEndBatch(&nearest->reader);
	if (!nearest->awaited)
		NorikvFinishVectors(nearest->call, nearest->table->space);
	else if (!NorikvNextPage(nearest->call))
	{
		NorikvNearestEnd(nearest);
		return false;
	}
	nearest->next_match = 0;
	nearest->matches = norikv_call_vectors(nearest->call->call, &nearest->n_matches);
	nearest->stats->keys_found += nearest->n_matches;
	if (!nearest->awaited)
		check_measure(nearest);
	nearest->awaited = true;
	return true;
}

/*
 * The match at hand, with its vector; NULL: it has gone since. One that was replaced
 * since is as far as it is now, and comes where it was.
 */
static const norikv_vector *
match_at_hand(NorikvNearest *nearest)
{
	const norikv_vector *match = &nearest->matches[nearest->next_match];
	const norikv_vector *read = read_vector(nearest, nearest->next_match);

	if (read == match || !read->found)
		return read == match ? match : NULL;
	nearest->found = *read;
	nearest->found.distance = match->distance;
	if (!NorikvSameVersion(read->version, match->version))
		nearest->found.distance = (float) distance_of(
			nearest, (NorikvVector){read->dimensions, read->vector});
	return &nearest->found;
}

/* The next match that counts, not yet taken; NULL at the end. */
static const norikv_vector *
peek_match(NorikvNearest *nearest)
{
	const norikv_vector *match;

	for (;;)
	{
		if (nearest->next_match == nearest->n_matches)
		{
			if (nearest->call == NULL || !next_page(nearest))
				return NULL;
		}
		else if (!is_changed(nearest, nearest->matches[nearest->next_match].id) &&
				 (match = match_at_hand(nearest)) != NULL)
			return match;
		else
			nearest->next_match++;
	}
}

/* ---- Both ---- */

const norikv_entry *
NorikvNearestNext(NorikvNearest *nearest, float *distance)
{
	const norikv_vector *match = peek_match(nearest);
	const NorikvNearRow *row = NULL;

	if (nearest->next_written < nearest->n_written)
		row = &nearest->written[nearest->next_written];
	if (match == NULL && row == NULL)
		return NULL;
	if (match != NULL && row != NULL)
	{
		NorikvNearRow found = {.id = match->id, .distance = match->distance};

		if (compare_rows(&found, row) <= 0)
			row = NULL;
	}
	if (row == NULL)
	{
		nearest->current = NorikvEntryOfVector(match);
		*distance = match->distance;
		nearest->next_match++;
		if (IsolationUsesXactSnapshot())
			NorikvBufferRecordRead(nearest->connection, nearest->table->space, match->id,
								   match->version);
		return &nearest->current;
	}
	nearest->current = (norikv_entry){.key = row->id, .value = row->value};
	*distance = row->distance;
	nearest->next_written++;
	return &nearest->current;
}
