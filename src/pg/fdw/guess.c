/*
 * guess.c - what a sample of values looks like, for IMPORT FOREIGN SCHEMA.
 *
 * A type is taken only where every value of the sample is of it in its plainest
 * form: a guess that is too narrow makes reading fail, one that is too wide costs
 * a cast.
 */
#include "fdw/guess.h"

#include "mb/pg_wchar.h"
#include "utils/datetime.h"

#include "fdw/document.h"

/* A document with more fields than this is none of a table's. */
#define MAX_FIELDS 400
/* Digits that always fit a bigint. */
#define MAX_DIGITS 18

/* What was seen of a field, a bit each. */
#define SEEN_BOOLEAN 0x01
#define SEEN_INTEGER 0x02
#define SEEN_NUMBER 0x04
#define SEEN_INSTANT 0x08
#define SEEN_UUID 0x10
#define SEEN_STRING 0x20
#define SEEN_NESTED 0x40

/* ---- Shapes of text ---- */

/*
 * 9 stands for a digit, x for one of lower-case hexadecimal; other characters for
 * themselves.
 */
static bool
has_shape(const char *text, size_t size, const char *shape)
{
	if (size < strlen(shape))
		return false;
	for (; *shape != '\0'; shape++, text++)
	{
		bool digit = *text >= '0' && *text <= '9';

		if (*shape == '9' ? !digit
			: *shape == 'x' ? !digit && !(*text >= 'a' && *text <= 'f')
							: *text != *shape)
			return false;
	}
	return true;
}

static bool
is_integer(norikv_slice text)
{
	const char *c = text.data;
	const char *end = c + text.size;

	if (c < end && *c == '-')
		c++;
	if (c == end || end - c > MAX_DIGITS || (*c == '0' && end - c > 1))
		return false;
	while (c < end && *c >= '0' && *c <= '9')
		c++;
	return c == end;
}

static bool
is_uuid(norikv_slice text)
{
	return text.size == 36 &&
		   has_shape(text.data, text.size, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
}

static int
number_at(const char *digits, int n)
{
	int number = 0;

	while (n-- > 0)
		number = number * 10 + (*digits++ - '0');
	return number;
}

/* Whether there is such a day and time; programs write zeros for none. */
static bool
is_in_calendar(const char *text)
{
	int year = number_at(text, 4);
	int month = number_at(text + 5, 2);
	int day = number_at(text + 8, 2);

	return year > 0 && month >= 1 && month <= MONTHS_PER_YEAR && day >= 1 &&
		   day <= day_tab[isleap(year)][month - 1] &&
		   number_at(text + 11, 2) < HOURS_PER_DAY &&
		   number_at(text + 14, 2) < MINS_PER_HOUR &&
		   number_at(text + 17, 2) < SECS_PER_MINUTE;
}

/* An instant as programs write it into JSON: with date, time and zone. */
static bool
is_instant(norikv_slice text)
{
	static const char shape[] = "9999-99-99T99:99:99";
	const char *c = text.data;
	const char *end = c + text.size;

	if (!has_shape(c, text.size, shape) || !is_in_calendar(c))
		return false;
	c += sizeof(shape) - 1;
	if (c < end && *c == '.')
	{
		const char *fraction = ++c;

		while (c < end && *c >= '0' && *c <= '9')
			c++;
		if (c == fraction)
			return false;
	}
	if (end - c == 1)
		return *c == 'Z';
	return end - c == 6 && (*c == '+' || *c == '-') && has_shape(c + 1, 5, "99:99") &&
		   number_at(c + 1, 2) <= MAX_TZDISP_HOUR && number_at(c + 4, 2) < MINS_PER_HOUR;
}

/* ---- Fields ---- */

static uint32
kind_of_json(norikv_slice json)
{
	const char *text = json.data;
	norikv_slice inside = {text + 1, json.size - 2};

	switch (text[0])
	{
		case 'n':
			return 0;
		case 't':
		case 'f':
			return SEEN_BOOLEAN;
		case '{':
		case '[':
			return SEEN_NESTED;
		case '"':
			return is_instant(inside) ? SEEN_INSTANT
				   : is_uuid(inside)  ? SEEN_UUID
									  : SEEN_STRING;
		default:
			return is_integer(json) ? SEEN_INTEGER : SEEN_NUMBER;
	}
}

static const char *
type_of_kinds(uint32 kinds)
{
	switch (kinds)
	{
		case SEEN_BOOLEAN:
			return "boolean";
		case SEEN_INTEGER:
			return "bigint";
		case SEEN_NUMBER:
		case SEEN_NUMBER | SEEN_INTEGER:
			return "numeric";
		case SEEN_INSTANT:
			return "timestamp with time zone";
		case SEEN_UUID:
			return "uuid";
		default:
			return kinds != 0 && (kinds & ~(SEEN_INSTANT | SEEN_UUID | SEEN_STRING)) == 0
					   ? "text"
					   : "jsonb";
	}
}

static void
add_field(void *arg, const char *name, norikv_slice json)
{
	NorikvGuess *guess = arg;
	int n = 0;

	while (n < guess->n_fields && strcmp(guess->fields[n].name, name) != 0)
		n++;
	if (n == MAX_FIELDS)
	{
		/* From here on it is a value of some document. */
		guess->n_arrays++;
		return;
	}
	if (n == guess->n_fields)
	{
		guess->fields[n] = (NorikvGuessedField){.name = pstrdup(name)};
		guess->n_fields++;
	}
	guess->fields[n].kinds |= kind_of_json(json);
}

/* ---- Values ---- */

void
NorikvGuessInit(NorikvGuess *guess)
{
	memset(guess, 0, sizeof(NorikvGuess));
	guess->keys_are_text = true;
	guess->fields = palloc(sizeof(NorikvGuessedField) * MAX_FIELDS);
}

static bool
is_text(norikv_slice bytes)
{
	return pg_verify_mbstr(PG_UTF8, bytes.data, bytes.size, true);
}

static norikv_slice
to_server(norikv_slice utf8)
{
	char *string = pg_any_to_server((char *) utf8.data, utf8.size, PG_UTF8);

	return string == utf8.data ? utf8 : NORIKV_SLICE(string);
}

void
NorikvGuessAdd(NorikvGuess *guess, norikv_slice shown_key, norikv_slice value)
{
	guess->any_key = true;
	guess->n_values++;
	guess->keys_are_text &= is_text(shown_key);
	if (!is_text(value))
		return;
	guess->n_texts++;
	value = to_server(value);
	switch (NorikvVisitFields(value, add_field, guess, true))
	{
		case NORIKV_DOCUMENT_READ:
			guess->n_objects++;
			break;
		case NORIKV_DOCUMENT_NO_OBJECT:
			if (is_integer(value))
				guess->n_integers++;
			else if (*(const char *) value.data == '[')
				guess->n_arrays++;
			break;
		case NORIKV_DOCUMENT_INVALID:
			break;
	}
}

void
NorikvGuessFinish(NorikvGuess *guess)
{
	guess->documents = guess->n_objects == guess->n_values && guess->n_arrays == 0;
	for (int i = 0; i < guess->n_fields; i++)
		guess->fields[i].type = type_of_kinds(guess->fields[i].kinds);
	if (guess->n_texts < guess->n_values)
		guess->value_type = "bytea";
	else if (guess->n_integers == guess->n_values)
		guess->value_type = "bigint";
	else if (guess->n_objects + guess->n_arrays >= guess->n_values)
		guess->value_type = "jsonb";
	else
		guess->value_type = "text";
}
