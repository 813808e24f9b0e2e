/*
 * convert.c - values of SQL to and from those of the wire.
 *
 * Text is UTF-8 on the wire, whatever the encoding of the database. What comes
 * from a server is bytes until it has been checked here.
 */
#include "pg_norikv.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

norikv_slice
NorikvToUtf8(norikv_slice text)
{
	char *utf8 = pg_server_to_any(text.data, text.size, PG_UTF8);

	return utf8 == text.data ? text : NORIKV_SLICE(utf8);
}

char *
NorikvCStringToUtf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

norikv_slice
NorikvBytesFromDatum(Datum datum, bool is_text)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(datum);
	norikv_slice slice = {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};

	return is_text ? NorikvToUtf8(slice) : slice;
}

norikv_slice
NorikvKeyFromDatum(Datum datum, bool is_text, const char *argument)
{
	norikv_slice key = NorikvBytesFromDatum(datum, is_text);

	if (key.size == 0 || key.size > NORIKV_MAX_KEY)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must be 1 to %d bytes, but it is %zu", argument,
					   NORIKV_MAX_KEY, key.size));
	return key;
}

norikv_slice
NorikvValueFromDatum(Datum datum, Oid type)
{
	norikv_slice value;

	if (type == JSONBOID)
	{
		Jsonb *jsonb = DatumGetJsonbP(datum);
		char *string = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));

		value = NorikvToUtf8(NORIKV_SLICE(string));
	}
	else
		value = NorikvBytesFromDatum(datum, type != BYTEAOID);

	if (value.size > NORIKV_MAX_VALUE)
		ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("a value must be at most %d bytes, but it is %zu",
					   NORIKV_MAX_VALUE, value.size));
	return value;
}

bool
NorikvArgumentIsText(FunctionCallInfo fcinfo, int argument)
{
	return get_fn_expr_argtype(fcinfo->flinfo, argument) != BYTEAOID;
}

/* In years and months there is no number of milliseconds. */
uint64
NorikvMillisecondsFromInterval(Interval *interval, const char *argument)
{
	const char *fault = NULL;
	int64 ms = 0;

	if (interval->month != 0)
		fault = "Years and months have no fixed length: use days, hours or seconds.";
	else
	{
		ms = (int64) interval->day * (SECS_PER_DAY * 1000) + interval->time / 1000;
		if (ms < 1)
			fault = "It must be at least 1 millisecond.";
		else if (ms > NORIKV_MAX_TTL_MS)
			fault = "It must be at most 100 years.";
	}
	if (fault != NULL)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid value for argument \"%s\": \"%s\"", argument,
					   DatumGetCString(DirectFunctionCall1(interval_out,
														   IntervalPGetDatum(interval)))),
				errdetail("%s", fault));
	return ms;
}

Datum
NorikvByteaFromSlice(norikv_slice slice)
{
	bytea *result = palloc(VARHDRSZ + slice.size);

	SET_VARSIZE(result, VARHDRSZ + slice.size);
	memcpy(VARDATA(result), slice.data, slice.size);
	return PointerGetDatum(result);
}

/* ---- Instants ---- */

#define UNIX_EPOCH_DAYS ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE))

/* Whatever a document says: what PostgreSQL has no name for is an infinity. */
Datum
NorikvTimestampFromInstant(int64 epoch_ms)
{
	TimestampTz timestamp;

	if (pg_mul_s64_overflow(epoch_ms, 1000, &timestamp) ||
		pg_sub_s64_overflow(timestamp, UNIX_EPOCH_DAYS * USECS_PER_DAY, &timestamp) ||
		!IS_VALID_TIMESTAMP(timestamp))
		timestamp = epoch_ms < 0 ? DT_NOBEGIN : DT_NOEND;
	return TimestampTzGetDatum(timestamp);
}

Datum
NorikvTimestampFromMilliseconds(uint64 ms, bool *is_null)
{
	*is_null = ms == 0;
	return *is_null ? (Datum) 0 : NorikvTimestampFromInstant(Min(ms, PG_INT64_MAX));
}

int64
NorikvMillisecondsFromTimestamp(TimestampTz instant)
{
	return instant / 1000 + UNIX_EPOCH_DAYS * SECS_PER_DAY * 1000;
}

/* ---- Text, checked ---- */

/*
 * The errors of the conversions and of jsonb's parser, plus what the caller can
 * do. A callback instead of PG_TRY costs nothing where all goes well.
 */
static void
decoding_context(void *arg)
{
	const NorikvDecoding *decoding = arg;
	const char *name = decoding->connection->name;
	char *key;
	int code = geterrcode();

	/* The last two are what jsonb has no room for, and what is nested too deeply. */
	if (code != ERRCODE_CHARACTER_NOT_IN_REPERTOIRE &&
		code != ERRCODE_UNTRANSLATABLE_CHARACTER &&
		code != ERRCODE_INVALID_TEXT_REPRESENTATION &&
		code != ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE &&
		code != ERRCODE_PROGRAM_LIMIT_EXCEEDED && code != ERRCODE_STATEMENT_TOO_COMPLEX)
		return;
	key = NorikvShowKey(decoding->key);
	if (decoding->is_id)
	{
		errhint("It can be shown in a database with encoding UTF8.");
		errcontext("id %s on server \"%s\"", key, name);
	}
	else if (decoding->is_key)
	{
		errhint("This key is no text: use the functions with a bytea key or prefix.");
		errcontext("key %s on server \"%s\"", key, name);
	}
	else if (code == ERRCODE_STATEMENT_TOO_COMPLEX)
	{
		errhint("Use get_bytes() to read this value, or raise \"max_stack_depth\".");
		errcontext("value of key %s on server \"%s\"", key, name);
	}
	else
	{
		errhint("Use get_bytes(), or the function's _bytes form, to read this value.");
		errcontext("value of key %s on server \"%s\"", key, name);
	}
}

void
NorikvBeginDecoding(NorikvDecoding *decoding)
{
	decoding->callback = (ErrorContextCallback){error_context_stack, decoding_context,
												decoding};
	error_context_stack = &decoding->callback;
}

void
NorikvEndDecoding(NorikvDecoding *decoding)
{
	error_context_stack = decoding->callback.previous;
}

/* Also for zero bytes. */
norikv_slice
NorikvFromUtf8(norikv_slice utf8)
{
	char *converted = pg_any_to_server(utf8.data, utf8.size, PG_UTF8);

	return converted == utf8.data ? utf8 : NORIKV_SLICE(converted);
}

static Datum
decode(norikv_slice bytes, NorikvDecoding *decoding, bool as_jsonb)
{
	norikv_slice string;
	Datum result;

	NorikvBeginDecoding(decoding);
	string = NorikvFromUtf8(bytes);
	if (as_jsonb)
	{
		char *cstring = pnstrdup(string.data, string.size);

		result = DirectFunctionCall1(jsonb_in, CStringGetDatum(cstring));
		pfree(cstring);
	}
	else
		result = PointerGetDatum(cstring_to_text_with_len(string.data, string.size));
	NorikvEndDecoding(decoding);
	return result;
}

Datum
NorikvTextFromKey(norikv_slice key, const NorikvConnection *connection)
{
	NorikvDecoding decoding = {connection, key, true};

	return decode(key, &decoding, false);
}

Datum
NorikvTextFromId(norikv_slice id, const NorikvConnection *connection)
{
	NorikvDecoding decoding = {connection, id, .is_id = true};

	return decode(id, &decoding, false);
}

Datum
NorikvTextFromValue(const norikv_entry *entry, const NorikvConnection *connection)
{
	NorikvDecoding decoding = {connection, entry->key, false};

	return decode(entry->value, &decoding, false);
}

Datum
NorikvJsonbFromValue(const norikv_entry *entry, const NorikvConnection *connection)
{
	NorikvDecoding decoding = {connection, entry->key, false};

	return decode(entry->value, &decoding, true);
}

char *
NorikvTextForMessage(const char *text)
{
	char *result = pstrdup(text);
	size_t size = strlen(result);
	bool keep_utf8 = GetDatabaseEncoding() == PG_UTF8 &&
					 pg_verify_mbstr(PG_UTF8, result, size, true);

	for (char *c = result; *c != '\0'; c++)
	{
		if ((IS_HIGHBIT_SET(*c) && !keep_utf8) || (unsigned char) *c < ' ')
			*c = '?';
	}
	return result;
}
