/*
 * window.c - what was used of a limit within a sliding window.
 *
 * Of small limits each request is remembered, as an array of instants, which is what
 * other programs keep. Of large ones 64 parts of the window are counted; a part counts
 * in full until all of it has left the window, so that a limit is never exceeded and at
 * most a 64th of it not used.
 */
#include "patterns/window.h"

#include <math.h>

#include "patterns/pattern.h"

/* {"buckets": [last instant, count, last instant, count, ...]} */
#define BUCKETS_START "{\"buckets\":["
#define BUCKETS_END "]}"

static void
append_use(NorikvWindow *window, int64 at, int64 count)
{
	if (window->n_uses == window->max_uses)
	{
		window->max_uses = Max(64, window->max_uses * 2);
		window->uses = window->uses == NULL
						   ? palloc(window->max_uses * sizeof(NorikvUse))
						   : repalloc(window->uses, window->max_uses * sizeof(NorikvUse));
	}
	window->uses[window->n_uses++] = (NorikvUse){at, count};
}

/* ---- Reading ---- */

/* Past what JSON takes for white space. */
static const char *
skip_space(const char *c)
{
	return c + strspn(c, " \t\r\n");
}

/*
 * A number of JSON that is a whole one, or next to it: an instant that another program
 * has in fractions is the end of its millisecond. NULL: it is none.
 */
static const char *
read_number(const char *c, int64 *number)
{
	const char *digits = *c == '-' ? c + 1 : c;
	double value;
	char *end;

	/* strtod reads more than JSON has: 0x, inf, nan, a plus */
	if (*digits < '0' || *digits > '9' || digits[1] == 'x' || digits[1] == 'X')
		return NULL;
	value = ceil(strtod(c, &end));
	if (fabs(value) > NORIKV_MAX_SAFE_INTEGER)
		return NULL;
	*number = (int64) value;
	return skip_space(end);
}

/* An array of numbers from [ to behind ]; in pairs: each has a count. */
static const char *
read_uses(NorikvWindow *window, const char *c)
{
	if (*c != '[')
		return NULL;
	c = skip_space(c + 1);
	if (*c == ']')
		return skip_space(c + 1);
	for (;; c = skip_space(c + 1))
	{
		int64 at;
		int64 count = 1;

		c = read_number(c, &at);
		if (c != NULL && window->in_buckets)
			c = *c == ',' ? read_number(skip_space(c + 1), &count) : NULL;
		if (c == NULL || count < 0)
			return NULL;
		append_use(window, at, count);
		if (*c == ']')
			return skip_space(c + 1);
		if (*c != ',')
			return NULL;
	}
}

static const char *
read_buckets(NorikvWindow *window, const char *c)
{
	if (*c != '{')
		return NULL;
	c = skip_space(c + 1);
	if (strncmp(c, "\"buckets\"", 9) != 0)
		return NULL;
	c = skip_space(c + 9);
	if (*c != ':')
		return NULL;
	c = read_uses(window, skip_space(c + 1));
	return c != NULL && *c == '}' ? skip_space(c + 1) : NULL;
}

static int
compare_uses(const void *a, const void *b)
{
	int64 first = ((const NorikvUse *) a)->at;
	int64 second = ((const NorikvUse *) b)->at;

	return (first > second) - (first < second);
}

void
NorikvReadWindow(NorikvWindow *window, bool in_buckets, const NorikvDocument *document,
				 const NorikvConnection *connection)
{
	const char *start = document->value.data;
	const char *end;

	*window = (NorikvWindow){.in_buckets = in_buckets};
	if (!document->present)
		return;
	start = skip_space(start);
	end = in_buckets ? read_buckets(window, start) : read_uses(window, start);
	if (end != (const char *) document->value.data + document->value.size)
		NorikvRaiseBroken(connection, document->key, "rate limit",
						  in_buckets ? "It must be an object of counted instants."
									 : "It must be a JSON array of instants in "
									   "milliseconds.");
	/* Clocks of several programs are in it. */
	qsort(window->uses, window->n_uses, sizeof(NorikvUse), compare_uses);
}

norikv_slice
NorikvWriteWindow(const NorikvWindow *window)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, window->in_buckets ? BUCKETS_START : "[");
	for (int i = 0; i < window->n_uses; i++)
	{
		if (i > 0)
			appendStringInfoChar(&json, ',');
		appendStringInfo(&json, INT64_FORMAT, window->uses[i].at);
		if (window->in_buckets)
			appendStringInfo(&json, "," INT64_FORMAT, window->uses[i].count);
	}
	appendStringInfoString(&json, window->in_buckets ? BUCKETS_END : "]");
	return (norikv_slice){json.data, json.len};
}

/* ---- What is in it ---- */

void
NorikvForgetUses(NorikvWindow *window, int64 until)
{
	int forgotten = 0;

	while (forgotten < window->n_uses && window->uses[forgotten].at <= until)
		forgotten++;
	window->n_uses -= forgotten;
	if (forgotten > 0)
		memmove(window->uses, window->uses + forgotten,
				window->n_uses * sizeof(NorikvUse));
}

/* Documents of others may hold counts whose sum is out of range: as much as can be told. */
int64
NorikvCountUses(const NorikvWindow *window)
{
	int64 count = 0;

	for (int i = 0; i < window->n_uses && count <= NORIKV_MAX_SAFE_INTEGER; i++)
		count += window->uses[i].count;
	return count;
}

/* The last millisecond of the 64th of the window that an instant is in. */
static int64
end_of_bucket(int64 at, int64 length_ms)
{
	int64 width = Max(length_ms / NORIKV_BUCKETS, 1);

	return at - at % width + width - 1;
}

void
NorikvAddUse(NorikvWindow *window, int64 at, int64 count, int64 length_ms)
{
	NorikvUse *newest = window->n_uses > 0 ? &window->uses[window->n_uses - 1] : NULL;

	if (window->in_buckets)
	{
		at = end_of_bucket(at, length_ms);
		if (newest != NULL && newest->at >= at)
			newest->count += count;
		else
			append_use(window, at, count);
		return;
	}
	if (newest != NULL)
		at = Max(at, newest->at);
	for (int64 i = 0; i < count; i++)
		append_use(window, at, 1);
}

int64
NorikvWhenFreed(const NorikvWindow *window, int64 count)
{
	int i = 0;

	while (i < window->n_uses - 1 && (count -= window->uses[i].count) > 0)
		i++;
	return window->uses[i].at;
}
